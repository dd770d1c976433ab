"""The judgement of forecasts: equal to independent formulas, and honest about overlap."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.inspection import permutation_importance as sklearn_importance
from sklearn.metrics import mean_squared_error, r2_score

from simulator import DataError, ScenarioError
from simulator.models.forecast_quality import (
    attribute_returns,
    estimate,
    forecast_correlations,
    impurity_importance,
    information_coefficients,
    judge_forecasts,
    newey_west,
    permutation_importance,
    predicted_against_actual,
    ranks,
)
from simulator.models.forecasts import ForecastPlan, fit_forecaster


def sample(rows: int = 300, width: int = 8, skill: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    y = 0.02 * rng.standard_normal((rows, width))
    return skill * y + 0.01 * rng.standard_normal(y.shape), y


def test_errors_and_r2_are_those_of_scikit_learn() -> None:
    forecast, actual = sample()
    found = judge_forecasts(forecast, actual, 1)
    assert found.mse.value == pytest.approx(mean_squared_error(actual.ravel(), forecast.ravel()))
    assert found.r2_mean == pytest.approx(r2_score(actual.ravel(), forecast.ravel()))
    assert found.r2 == pytest.approx(1.0 - ((actual - forecast) ** 2).sum() / (actual**2).sum())
    assert found.hits.value == pytest.approx((np.sign(forecast) == np.sign(actual)).mean())
    assert found.gain.t > 2.0
    assert found.samples == actual.size


def test_information_coefficients_are_rank_correlations_also_with_ties_and_gaps() -> None:
    forecast, actual = sample(rows=30)
    forecast[:, 2] = forecast[:, 1]
    actual[5, 3] = nan
    found = information_coefficients(forecast, actual)
    for row in range(30):
        known = np.isfinite(actual[row])
        assert found[row] == pytest.approx(spearmanr(forecast[row, known], actual[row, known]).statistic)
    assert ranks(np.array([3.0, 1.0, 3.0])).tolist() == [0.5, -1.0, 0.5]


def test_a_perfect_forecast_scores_one_exactly() -> None:
    _, actual = sample()
    found = judge_forecasts(actual, actual, 1)
    assert (found.mse.value, found.r2, found.hits.value) == (0.0, 1.0, 1.0)
    assert found.ic.value == pytest.approx(1.0, abs=1e-12)


def test_the_error_of_a_mean_is_statsmodels() -> None:
    import statsmodels.api as sm

    values = np.convolve(np.random.default_rng(1).standard_normal(400), np.ones(5))[:400]
    fit = sm.OLS(values, np.ones(400)).fit(cov_type="HAC", cov_kwds={"maxlags": 8, "use_correction": False})
    assert newey_west(values, 8) == pytest.approx(float(fit.bse[0]))
    assert estimate(values, 5).error == pytest.approx(float(fit.bse[0]))


@pytest.mark.parametrize("horizon", [5, 21])
def test_a_signal_that_says_nothing_is_not_significant_because_returns_overlap(horizon: int) -> None:
    """The founding text's t statistics had deviations of 2.0 and 4.2 here, and should have 1."""
    rng, honest, naive = np.random.default_rng(horizon), [], []
    for _ in range(100):
        closes = np.vstack([np.zeros((1, 10)), rng.standard_normal((1_200, 10)).cumsum(axis=0)])
        actual = closes[horizon:] - closes[:-horizon]
        ic = (actual - actual.mean(axis=1, keepdims=True)) @ ranks(rng.standard_normal(10))
        honest.append(estimate(ic, horizon).t)
        naive.append(estimate(ic, 1).t)
    assert np.std(honest) < 1.4
    assert np.std(naive) > 1.8


def test_too_few_rows_have_no_error() -> None:
    assert isnan(estimate(np.ones(10), 21).error)
    assert estimate(np.full(5, nan)).rows == 0
    with pytest.raises(DataError, match="no forecast has come to its end"):
        judge_forecasts(np.full((3, 2), nan), np.zeros((3, 2)), 1)


def test_correlations_name_what_a_forecast_is() -> None:
    forecast, actual = sample()
    found = forecast_correlations(
        forecast, {"itself": 2.0 * forecast + 1.0, "opposite": -forecast, "nothing": np.random.default_rng(9).random(actual.shape)}
    )
    assert found["itself"].value == pytest.approx(1.0)
    assert found["opposite"].value == pytest.approx(-1.0)
    assert abs(found["nothing"].value) < 4.0 * found["nothing"].error


def test_permutation_finds_the_feature_that_matters_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2_000, 3))
    y = x @ np.array([1.0, 0.3, 0.0]) + 0.1 * rng.standard_normal(2_000)
    model = fit_forecaster(x[:1_000], y[:1_000], ForecastPlan("linear", winsorise=0.0))
    found = permutation_importance(model, x[1_000:], y[1_000:], repeats=20)

    from sklearn.linear_model import LinearRegression

    theirs = sklearn_importance(
        LinearRegression().fit(x[:1_000], y[:1_000]), x[1_000:], y[1_000:], scoring="neg_mean_squared_error", n_repeats=20, random_state=0
    )
    assert found.value == pytest.approx(theirs.importances_mean, rel=0.03, abs=1e-4)
    assert found.value[0] > found.value[1] > 10.0 * abs(found.value[2])


def test_impurity_is_for_trees() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((500, 3))
    shares = impurity_importance(fit_forecaster(x, x[:, 1], ForecastPlan("random_forest", {"n_estimators": 5})))
    assert shares.sum() == pytest.approx(1.0)
    assert shares.argmax() == 1
    with pytest.raises(ScenarioError, match="a ridge has no impurities"):
        impurity_importance(fit_forecaster(x, x[:, 1], ForecastPlan("ridge")))


def test_what_was_earned_is_split_without_a_rest() -> None:
    """Weights that are one feature earn by that feature's group, and all parts sum to what was earned."""
    rng = np.random.default_rng(8)
    features = rng.standard_normal((120, 30, 3))
    returns = 0.01 + 0.02 * features[:, :, 0] + 0.001 * rng.standard_normal((120, 30))
    weights = features[:, :, 0] / 30.0
    returns[7, 3], features[9, 2, 1] = nan, nan
    parts = attribute_returns(weights, returns, features, {"signal": [0], "others": [1, 2]})
    assert set(parts) == {"signal", "others", "market", "residual"}
    earned = np.nansum(weights * returns, axis=1)
    assert sum(parts.values()) == pytest.approx(earned, abs=1e-15)
    assert parts["signal"].mean() == pytest.approx(0.02, rel=0.1)
    for name in ("others", "residual"):
        assert abs(parts[name].mean()) < 0.001
    with pytest.raises(ScenarioError, match="a feature may be in one group only"):
        attribute_returns(weights, returns, features, {"a": [0], "b": [0, 1]})


def test_predicted_against_actual_lies_on_the_line() -> None:
    rng = np.random.default_rng(5)
    forecast = rng.standard_normal((400, 10))
    actual = 0.5 * forecast + rng.standard_normal(forecast.shape)
    means, outcomes, errors = predicted_against_actual(forecast, actual, bins=10)
    assert (np.abs(outcomes - 0.5 * means) < 4.0 * errors).all()
    assert (np.diff(means) > 0.0).all()
    with pytest.raises(ScenarioError, match="bins must be from 2 to half of the 4000 samples, was 1"):
        predicted_against_actual(forecast, actual, bins=1)
