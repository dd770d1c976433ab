"""Forecasts: what is fitted, on which rows, and that nothing later is among them."""

from __future__ import annotations

from importlib.util import find_spec
from math import nan
from pathlib import Path

import numpy as np
import pytest

from simulator import DataError, ScenarioError
from simulator.models.forecasts import (
    KINDS,
    FeaturePanel,
    ForecastPlan,
    fit_as_of,
    fit_forecaster,
    forecast_targets,
    forward,
    learner_of,
    load_forecaster,
    save_forecaster,
    walk_forward,
)

INSTALLED = [name for name, kind in KINDS.items() if find_spec(kind.home.partition(".")[0])]


def line(rows: int = 200, width: int = 5, slopes: tuple[float, ...] = (0.5, -0.2, 0.0), noise: float = 0.0, horizon: int = 1) -> FeaturePanel:
    """A panel whose target is a line in its features."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((rows, width, len(slopes)))
    y = x @ np.array(slopes) + noise * rng.standard_normal((rows, width))
    y[-horizon:] = nan
    return FeaturePanel(x, y, horizon)


# --- Targets


def test_the_raw_target_is_the_return_to_come_and_unknown_at_the_end() -> None:
    closes = np.array([[100.0], [110.0], [99.0], [99.0]])
    assert forecast_targets(closes, 1)[:, 0].tolist()[:3] == pytest.approx([0.1, -0.1, 0.0])
    assert np.isnan(forecast_targets(closes, 2)[2:]).all()
    assert forecast_targets(closes, 2)[0, 0] == pytest.approx(-0.01)


def test_the_risk_adjusted_target_is_in_trailing_deviations() -> None:
    closes = 100.0 * np.exp(np.cumsum(np.random.default_rng(1).standard_normal((80, 2)) * 0.02, axis=0))
    got = forecast_targets(closes, 4, "risk_adjusted", window=20)
    moves = closes[1:] / closes[:-1] - 1.0
    assert got[50, 1] == pytest.approx((closes[54, 1] / closes[50, 1] - 1.0) / (moves[30:50, 1].std(ddof=1) * 2.0))
    assert np.isnan(got[:20]).all()


def test_the_residual_target_has_no_market_in_it() -> None:
    """Instruments that are multiples of the market have nothing left."""
    moves = np.random.default_rng(2).standard_normal(120) * 0.001
    market = 100.0 * np.cumprod(1.0 + moves)
    closes = 100.0 * np.cumprod(1.0 + moves[:, None] * np.array([0.5, 1.5]), axis=0)
    left = forecast_targets(closes, 1, "market_residual", window=30, market=market)
    assert np.abs(left[30:-1]).max() < 1e-12
    own = forecast_targets(closes, 1, "market_residual", window=30)
    assert np.abs(own[31:-1]).max() < 1e-12


@pytest.mark.parametrize("kind", ["raw", "risk_adjusted", "market_residual"])
def test_a_target_knows_its_own_horizon_and_no_more(kind: str) -> None:
    closes = 100.0 * np.exp(np.cumsum(np.random.default_rng(1).standard_normal((80, 3)) * 0.02, axis=0))
    later = closes.copy()
    later[61:] *= 3.0
    ours, theirs = (forecast_targets(some, 5, kind, window=10) for some in (closes, later))  # type: ignore[arg-type]
    assert ours[:56].tobytes() == theirs[:56].tobytes()


# --- Fitting


def test_a_line_is_found_and_forecast() -> None:
    panel = line()
    fit = fit_forecaster(panel.features[:150].reshape(-1, 3), panel.target[:150].ravel(), ForecastPlan("linear", winsorise=0.0))
    assert fit.predict(panel.features[160]) == pytest.approx(panel.target[160], abs=1e-9)


@pytest.mark.parametrize("name", INSTALLED)
def test_every_learner_that_is_installed_finds_what_is_plain(name: str) -> None:
    few: dict[str, object] = {"n_estimators": 20} if "n_estimators" in KINDS[name].settings else {}
    panel = line(noise=0.1)
    made = walk_forward(panel, ForecastPlan(name, few, minimum=100, refit=200))
    known = slice(101, 199)
    assert np.corrcoef(made.values[known].ravel(), panel.target[known].ravel())[0, 1] > 0.5
    again = walk_forward(panel, ForecastPlan(name, few, minimum=100, refit=200))
    assert again.values.tobytes() == made.values.tobytes()


@pytest.mark.parametrize("name", [name for name in KINDS if name not in INSTALLED])
def test_a_learner_that_is_not_installed_says_what_to_install(name: str) -> None:
    with pytest.raises(ScenarioError, match=f"needs {name}, which is not installed: pip install {name}"):
        learner_of(ForecastPlan(name))


def test_the_fit_leaves_out_what_was_not_known_and_the_embargo() -> None:
    """At row 100 with a horizon of 5, row 95 is the last whose target is known; with an embargo of 3 it is row 92."""
    panel = line(horizon=5)
    for embargo, last in ((0, 95), (3, 92)):
        plan = ForecastPlan("linear", minimum=100, embargo=embargo, winsorise=0.0)
        poisoned = FeaturePanel(panel.features, panel.target.copy(), 5)
        poisoned.target[last + 1 :] = 1e6
        ours, theirs = (fit_as_of(some, 100, plan).models[0] for some in (panel, poisoned))
        assert ours.samples == (last + 1) * 5
        assert (ours.level, ours.slopes.tolist()) == (theirs.level, theirs.slopes.tolist())  # type: ignore[union-attr]
        poisoned.target[last] = 1e6
        assert fit_as_of(poisoned, 100, plan).models[0].level != ours.level


def test_a_window_and_a_stride_take_the_latest_rows() -> None:
    panel = line()
    model = fit_as_of(panel, 150, ForecastPlan("linear", minimum=100, window=51, stride=10)).models[0]
    assert model.samples == 5 * 5


def test_bounds_centre_and_scale_are_those_of_the_fold() -> None:
    panel = line()
    later = panel.features.copy()
    later[120:] *= 50.0
    ours, theirs = (fit_as_of(FeaturePanel(x, panel.target, 1), 119, ForecastPlan(minimum=100, refit=19)).models[0] for x in (panel.features, later))
    for name in ("low", "high", "centre", "scale"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes()
    x = panel.features[:119].reshape(-1, 3)
    assert ours.high == pytest.approx(np.quantile(x, 0.99, axis=0))
    assert ours.prepared(np.full((1, 3), 1e9)) == pytest.approx((ours.high - ours.centre)[None] / ours.scale)


@pytest.mark.parametrize("by_regime", ["none", "each", "mixed"])
def test_no_later_row_changes_a_forecast(by_regime: str) -> None:
    panel = line(noise=1.0, horizon=3)
    rng = np.random.default_rng(5)
    chances = rng.dirichlet((1.0, 1.0), size=len(panel))
    plan = ForecastPlan("ridge", minimum=60, refit=20, by_regime=by_regime, least=20)  # type: ignore[arg-type]
    before = walk_forward(panel, plan, chances).values
    features, target, other = panel.features.copy(), panel.target.copy(), chances.copy()
    features[131:], target[128:], other[131:] = 9.0, -9.0, 0.5
    after = walk_forward(FeaturePanel(features, target, 3), plan, other).values
    assert before[:131].tobytes() == after[:131].tobytes()
    assert np.isnan(before[:60]).all()
    assert np.isfinite(before[60:]).all()


def test_each_regime_has_its_own_model_by_what_was_known_a_row_before() -> None:
    rng = np.random.default_rng(6)
    x, state = rng.standard_normal((400, 4, 1)), (np.arange(400) // 10) % 2
    y = x[:, :, 0] * np.where(state == 0, 1.0, -1.0)[:, None]
    chances = np.eye(2)[np.append(state[1:], 0)]  # at the close before, the regime of a row was certain
    panel = FeaturePanel(x, y, 1)
    for by_regime in ("each", "mixed"):
        made = walk_forward(panel, ForecastPlan("linear", minimum=200, by_regime=by_regime, winsorise=0.0), chances)  # type: ignore[arg-type]
        assert made.values[201:] == pytest.approx(y[201:], abs=1e-9)
        assert len(made.fits[0].models) == 3
    alone = walk_forward(panel, ForecastPlan("linear", minimum=200)).values
    assert np.abs(alone[201:] - y[201:]).mean() > 0.3


def test_regimes_mix_by_their_probabilities() -> None:
    rng = np.random.default_rng(6)
    x, state = rng.standard_normal((300, 4, 1)), (np.arange(300) // 10) % 2
    panel = FeaturePanel(x, x[:, :, 0] * np.where(state == 0, 1.0, -1.0)[:, None], 1)
    chances = np.eye(2)[np.append(state[1:], 0)]
    chances[250:] = 0.75, 0.25
    made = walk_forward(panel, ForecastPlan("linear", minimum=200, by_regime="mixed", winsorise=0.0), chances)
    assert made.values[260] == pytest.approx(0.5 * x[260, :, 0], abs=1e-9)


def test_a_feature_that_is_missing_gives_no_forecast_and_no_sample() -> None:
    panel = line()
    panel.features[:, 2, 1] = nan
    made = walk_forward(panel, ForecastPlan(minimum=100))
    assert np.isnan(made.values[:, 2]).all()
    assert np.isfinite(made.values[100:, [0, 1, 3, 4]]).all()
    assert made.fits[0].models[0].samples == 100 * 4


def test_a_feature_that_never_changes_does_no_harm() -> None:
    panel = line()
    panel.features[:, :, 2] = 7.0
    assert np.isfinite(walk_forward(panel, ForecastPlan(minimum=100)).values[100:]).all()


# --- Keeping


@pytest.mark.parametrize("winsorise", [0.0, 0.01])
@pytest.mark.parametrize("name", ["linear", "ridge", "lasso", "logistic"])
def test_a_line_is_kept_as_json_and_comes_back_bit_for_bit(name: str, winsorise: float, tmp_path: Path) -> None:
    panel = line(noise=0.5)
    panel.features[:, :, 2] = 7.0
    model = fit_forecaster(panel.features.reshape(-1, 3), panel.target.ravel(), ForecastPlan(name, winsorise=winsorise), ("a", "b", "c"))
    save_forecaster(model, tmp_path / "model.json")
    back = load_forecaster(tmp_path / "model.json")
    assert back.predict(panel.features[3]).tobytes() == model.predict(panel.features[3]).tobytes()
    assert (back.names, back.samples) == (("a", "b", "c"), model.samples)


def test_a_classifier_that_is_a_line_says_what_its_library_says() -> None:
    panel = line(noise=0.5)
    x, y = panel.features[:150].reshape(-1, 3), panel.target[:150].ravel()
    model, learner = fit_forecaster(x, y, ForecastPlan("logistic")), learner_of(ForecastPlan("logistic"))
    learner.fit(model.prepared(x), (y > 0.0).astype(int))
    assert model.predict(x) == pytest.approx(2.0 * learner.predict_proba(model.prepared(x))[:, 1] - 1.0, abs=1e-12)


def test_what_is_no_data_is_not_kept(tmp_path: Path) -> None:
    panel = line()
    model = fit_forecaster(panel.features.reshape(-1, 3), panel.target.ravel(), ForecastPlan("random_forest", {"n_estimators": 2}))
    with pytest.raises(ScenarioError, match="a random_forest cannot be kept as data, only linear, ridge, lasso, logistic can"):
        save_forecaster(model, tmp_path / "model.json")
    (tmp_path / "bad.json").write_text('{"kind": "ridge"}')
    for place, said in (("bad.json", "no model that tradewind kept"), ("none.json", "cannot read this model")):
        with pytest.raises(DataError, match=said):
            load_forecaster(tmp_path / place)


# --- What cannot be meant


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "rigde"}, r"model must be one of .* was 'rigde'; did you mean 'ridge'"),
        ({"refit": 0}, "refit must be at least 1, was 0"),
        ({"winsorise": 0.5}, r"winsorise must be in \[0, 0.5\), was 0.5"),
        ({"by_regime": "all"}, "by_regime must be 'none', 'each' or 'mixed', was 'all'"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        ForecastPlan(**wrong)  # type: ignore[arg-type]


def test_what_cannot_be_fitted_says_why() -> None:
    panel = line()
    with pytest.raises(DataError, match="3 features need at least 10 samples, were 4"):
        fit_forecaster(panel.features[0, :4], panel.target[0, :4])
    with pytest.raises(DataError, match=r"the target is 0\.0 in all 1000 samples"):
        fit_forecaster(panel.features.reshape(-1, 3), np.zeros(1000))
    with pytest.raises(ScenarioError, match=r"ridge: .*unexpected keyword argument 'alhpa'"):
        fit_forecaster(panel.features.reshape(-1, 3), panel.target.ravel(), ForecastPlan("ridge", {"alhpa": 1.0}))
    with pytest.raises(ScenarioError, match="ridge cannot be fitted with these settings"):
        fit_forecaster(panel.features.reshape(-1, 3), panel.target.ravel(), ForecastPlan("ridge", {"alpha": -1.0}))
    with pytest.raises(DataError, match="200 rows are too few for a first fit at row 500"):
        walk_forward(panel, ForecastPlan(minimum=500))
    with pytest.raises(ScenarioError, match="by_regime needs the probabilities"):
        walk_forward(panel, ForecastPlan(minimum=100, by_regime="each"))
    with pytest.raises(DataError, match=r"target \(rows, instruments\), were \(200, 5, 3\) and \(200, 4\)"):
        FeaturePanel(panel.features, panel.target[:, :4], 1)


def test_forward_of_a_short_history_is_unknown() -> None:
    assert np.isnan(forward(np.ones((3, 2)), 5)).all()
