"""One model for all instruments: what it forecasts is what a walk-forward gives, and ranks become weights within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator import Account, FeaturePanel, Tape, View, forecast_targets, load, prove, simulate, walk_forward
from simulator.feeds.synthetic import Walks
from simulator.scenarios import check
from strategies.one_model import OneModel

SMALL: dict[str, Any] = {
    "horizons": (1, 3, 8),
    "spreads": (5,),
    "horizon": 3,
    "every": 3,
    "minimum": 30,
    "refit": 20,
    "stride": 2,
    "target_window": 10,
}


class Watched(OneModel):
    """Keeps the weights that it asks for, and what it could have traded at."""

    asked: list[tuple[np.ndarray, np.ndarray]]

    def weights(self, view: View, forecast: np.ndarray) -> np.ndarray:
        weights = super().weights(view, forecast)
        held = view.position * view["close"] / view.equity
        self.__dict__.setdefault("asked", []).append((weights, held))
        return weights


def walk(bars: int = 160, width: int = 6, seed: int = 3) -> Tape:
    return Walks(bars=bars, symbols=tuple("ABCDEFGH"[:width]), volatility=0.02).load(seed=seed, folder=Path())


@pytest.mark.parametrize("model", ["ridge", "gradient_boosting"])
@pytest.mark.parametrize("target", ["raw", "market_residual"])
def test_its_forecasts_are_those_of_a_walk_forward_over_the_whole_history(model: str, target: str) -> None:
    tape, strategy = walk(), OneModel(model=model, target=target, **SMALL)  # type: ignore[arg-type]
    simulate(tape, strategy)
    features = np.array(strategy.features)
    truth = forecast_targets(tape.close[: len(tape)], 3, target, 10)[-len(features) :]  # type: ignore[arg-type]
    whole = walk_forward(FeaturePanel(features, truth, 3, strategy.names), strategy.plan)
    assert np.array(strategy.forecasts) == pytest.approx(whole.values, rel=1e-9, abs=1e-12, nan_ok=True)
    assert len(whole.fits) > 3


def test_ranks_are_weights_without_a_net_and_the_best_is_held_most() -> None:
    strategy = Watched(turnover=9.0, **SMALL)
    simulate(walk(), strategy)
    for weights, _ in strategy.asked:
        assert np.abs(weights).sum() == pytest.approx(0.95)
        assert weights.sum() == pytest.approx(0.0, abs=1e-12)
    last = np.array(strategy.forecasts)[30 :: SMALL["every"]][-1]
    assert strategy.asked[-1][0].argsort().tolist() == last.argsort().tolist()


def test_long_only_is_never_short() -> None:
    strategy = Watched(turnover=9.0, side="long_only", **SMALL)
    result = simulate(walk(), strategy, account=Account(1e6, "cash"))
    assert result.fills
    for weights, _ in strategy.asked:
        assert (weights >= 0.0).all()
        assert weights.sum() == pytest.approx(0.95)
    assert min(result.positions.values()) >= 0.0


def test_turnover_is_bounded_at_each_rebalance() -> None:
    strategy = Watched(turnover=0.2, **SMALL)
    simulate(walk(), strategy)
    assert len(strategy.asked) > 20
    for weights, held in strategy.asked:
        assert np.abs(weights - held).sum() <= 0.2 + 1e-12


def test_it_says_at_each_refit_how_good_it_has_been() -> None:
    result = simulate(walk(bars=300), OneModel(**SMALL))
    told = [words for words in result.journal.client_ids.values() if words.startswith("the model is fitted anew to")]
    assert len(told) == 1 + (300 - 19 - 30 - 1) // 20
    assert all("out of sample so far: rank correlation" in words for words in told[1:])


def test_what_has_no_bar_is_left_alone() -> None:
    tape = walk()
    columns = [np.array(column[:160]) for column in (tape.open, tape.high, tape.low, tape.close, tape.volume)]
    for column in columns:
        column[100:, 2] = np.nan
    strategy = Watched(turnover=9.0, **SMALL)
    result = simulate(tape.like(*columns), strategy)
    assert np.isnan(strategy.asked[-1][0][2])
    assert np.isfinite(np.delete(strategy.asked[-1][0], 2)).all()
    assert not [fill for fill in result.fills if fill.symbol == "C" and fill.bar >= 101]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"every": 0}, "every must be at least 1, was 0"),
        ({"gross": 0.0}, "gross must be above 0, was 0.0"),
        ({"horizons": ()}, r"horizons must be whole numbers of at least 1, were \(\)"),
        ({"minimum": 21}, "minimum must be above horizon and embargo together, 21, was 21"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OneModel(**wrong)


def test_an_unknown_learner_is_refused_by_the_scenario() -> None:
    with pytest.raises(Exception, match=r"strategy.model must be one of linear, ridge, .* was 'rigde'; did you mean 'ridge'"):
        check(load("one_model", ["strategy.model=rigde"]))


def test_a_constructed_book_keeps_its_limits_and_beats_the_ranks_for_its_own_alphas() -> None:
    """Every book that it asks for is within gross, name, net and turnover; where they leave none it says so."""

    class Kept(OneModel):
        def constructed(self, view: View, forecast: np.ndarray, remarks: list[Any]) -> np.ndarray:
            weights = super().constructed(view, forecast, remarks)
            books.append((weights, view.position * view["close"] / view.equity, bool(remarks)))
            return weights

    books: list[tuple[np.ndarray, np.ndarray, bool]] = []
    simulate(walk(240), Kept(book="construction", name_max=0.3, turnover=0.6, risk_window=40, **SMALL))
    told = [(weights, held) for weights, held, _ in books if np.isfinite(weights).all()]
    assert len(told) > 30
    for weights, held in told:
        assert np.abs(weights).sum() <= 0.95 + 1e-8
        assert np.abs(weights).max() <= 0.3 + 1e-8
        assert abs(weights.sum()) <= 0.95 / 20 + 1e-8
        assert np.abs(weights - held).sum() <= 0.6 + 1e-8
    assert max(np.abs(weights).sum() for weights, _ in told) > 0.5


def test_a_constructed_book_does_not_look_ahead(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[feed]\nkind = "walks"\nbars = 160\n[strategy]\nname = "one_model"\nbook = "construction"\nhorizons = [1, 3, 8]\nspreads = [5]\n'
        "horizon = 3\nevery = 3\nminimum = 30\nrefit = 20\nstride = 2\ntarget_window = 10\nrisk_window = 40\nname_max = 0.3\n"
    )
    assert prove(load(tmp_path / "s.toml"), points=3).passed
