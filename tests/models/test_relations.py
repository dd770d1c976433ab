"""Relations between series: equal to statsmodels where it has the same, right where the truth is known, and said where there is none."""

from __future__ import annotations

import warnings
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.regression.rolling import RollingOLS
from statsmodels.stats.diagnostic import acorr_ljungbox
from statsmodels.stats.multitest import multipletests
from statsmodels.tools import add_constant
from statsmodels.tsa.stattools import adfuller, coint
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from simulator.errors import DataError, ScenarioError
from simulator.feeds.synthetic import Cointegrated, Walks
from simulator.loop.randomness import stream
from simulator.models.relations import (
    adf,
    cointegration,
    johansen,
    lead_lag,
    ljung_box,
    ols,
    ornstein_uhlenbeck,
    recursive_hedge,
    rolling_hedge,
)
from simulator.models.screening import adjusted, screen_baskets, screen_pairs

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def walks(rows: int = 400, width: int = 3, seed: int = 1) -> FloatArray:
    """Random walks of which the second follows the first."""
    steps = stream(seed, "test.relations").standard_normal((rows, width))
    x = np.cumsum(steps, axis=0) + 100.0
    x[:, 1] = 0.7 * x[:, 0] + 5.0 + reverting(rows, seed=seed)
    return x


def reverting(rows: int, slope: float = 0.8, spread: float = 1.0, seed: int = 1) -> FloatArray:
    """An AR(1) around 0 with a long-run standard deviation of *spread*."""
    draws = stream(seed, "test.relations.reverting").standard_normal(rows) * spread
    x = [draws[0]]
    for draw in draws[1:]:
        x.append(slope * x[-1] + sqrt(1.0 - slope**2) * draw)
    return np.array(x)


# Equal to statsmodels.


@pytest.mark.parametrize(
    "options", [{}, {"autolag": "BIC"}, {"autolag": "t-stat", "maxlag": 6}, {"autolag": None, "maxlag": 3}, {"regression": "ctt"}]
)
def test_adf_is_that_of_statsmodels(options: dict[str, Any]) -> None:
    x = walks()[:, 0]
    ours, theirs = adf(x, **options), adfuller(x, result_object=False, **options)
    assert (ours.statistic, ours.pvalue, ours.lags, ours.rows, ours.critical) == theirs[:5]


@pytest.mark.parametrize("options", [{}, {"autolag": "BIC"}, {"autolag": None, "maxlag": 2}, {"trend": "ct"}])
@pytest.mark.parametrize("others", [1, 2])
def test_cointegration_is_that_of_statsmodels(options: dict[str, Any], others: int) -> None:
    x = walks()
    lags = options.get("autolag", "AIC")
    ours = cointegration(x[:, 0], x[:, 1 : 1 + others], **options)
    theirs = coint(x[:, 0], x[:, 1 : 1 + others], **options | {"autolag": lags and lags.lower()})
    assert (ours.statistic, ours.pvalue) == tuple(theirs)[:2]
    assert ours.critical.tolist() == list(theirs[2])


def test_the_hedge_ratio_of_a_cointegration_is_that_of_the_regression() -> None:
    x = walks()
    fit = OLS(x[:, 0], add_constant(x[:, 1:])).fit()
    found = cointegration(x[:, 0], x[:, 1:])
    np.testing.assert_allclose([found.intercept, *found.hedge_ratios], fit.params, rtol=1e-9)


def test_the_founding_documents_pair_is_none() -> None:
    """Its prices are two random walks: the slope is below 0, so that both legs would be long, and no test finds a relation."""
    draws = np.random.RandomState(42)
    a = 100.0 + np.cumsum(draws.normal(0, 1, 300))
    b = 200.0 + np.cumsum(0.8 * draws.normal(0, 1, 300) + 0.2 * (a - 100.0) / 10.0)
    found = cointegration(b, a)
    assert (found.intercept, found.hedge_ratios[0]) == pytest.approx((315.9576, -1.41949), rel=1e-5)
    assert (found.statistic, found.pvalue) == pytest.approx((-1.42, 0.79), abs=0.005)
    assert not any(test.passed for test in screen_pairs(np.column_stack([a, b])))


@pytest.mark.parametrize("order", [-1, 0, 1])
def test_johansen_is_that_of_statsmodels(order: Any) -> None:
    ours, theirs = johansen(walks(), order, 2), coint_johansen(walks(), order, 2)
    for mine, other in zip(
        (ours.eigenvalues, ours.vectors, ours.trace, ours.largest), (theirs.eig, theirs.evec, theirs.lr1, theirs.lr2), strict=True
    ):
        assert np.array_equal(mine, other)
    assert np.array_equal(ours.trace_critical, theirs.cvt)
    assert np.array_equal(ours.largest_critical, theirs.cvm)


def test_johansen_counts_the_relations() -> None:
    x = walks()
    assert johansen(x).rank() == 1
    assert johansen(x[:, [0, 2]]).rank("1%") == 0
    assert johansen(np.column_stack([reverting(400, seed=k) for k in range(2)])).rank() == 2


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"covariance": "HC1"}, {"cov_type": "HC1"}),
        ({"covariance": "HAC", "maxlags": 5}, {"cov_type": "HAC", "cov_kwds": {"maxlags": 5}}),
        ({"covariance": "HAC"}, {"cov_type": "HAC", "cov_kwds": {"maxlags": 5}}),
    ],
)
def test_ols_is_that_of_statsmodels(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    x = walks()
    found, fit = ols(x[:, 0], x[:, 1:], **ours), OLS(x[:, 0], add_constant(x[:, 1:])).fit(**theirs)
    for mine, other in zip((found.params, found.errors, found.tvalues, found.pvalues), (fit.params, fit.bse, fit.tvalues, fit.pvalues), strict=True):
        assert np.array_equal(mine, other)
    assert found.rsquared == fit.rsquared
    assert np.array_equal(found.residuals, fit.resid)
    assert ols(x[:, 0], x[:, 1], constant=False).params.shape == (1,)


@pytest.mark.parametrize("lags", [None, 1, 7, [2, 5, 11]])
@pytest.mark.parametrize("fitted", [0, 2])
def test_ljung_box_is_that_of_statsmodels(lags: Any, fitted: int) -> None:
    x = reverting(300)
    ours, theirs = ljung_box(x, lags, model_df=fitted), acorr_ljungbox(x, lags, model_df=fitted)
    assert ours.lags.tolist() == theirs.index.tolist()
    assert np.array_equal(ours.statistics, theirs["lb_stat"])
    assert np.array_equal(ours.pvalues, theirs["lb_pvalue"], equal_nan=True)


@pytest.mark.parametrize(("control", "method"), [("benjamini_hochberg", "fdr_bh"), ("holm", "holm")])
def test_p_values_are_adjusted_as_by_statsmodels(control: Any, method: str) -> None:
    values = stream(2, "test.relations.pvalues").random(30) ** 3
    assert np.array_equal(adjusted(values, control), multipletests(values, method=method)[1])
    with_gap = adjusted([*values, float("nan")], control)
    assert np.array_equal(with_gap[:-1], adjusted(values, control))
    assert np.isnan(with_gap[-1])


# Hedge ratios as of each row.


def test_a_rolling_hedge_is_the_regression_of_each_window() -> None:
    x = walks(200)
    ours = rolling_hedge(x[:, 0], x[:, 1:], 40)
    np.testing.assert_allclose(ours, RollingOLS(x[:, 0], add_constant(x[:, 1:]), 40).fit().params, rtol=1e-8)


def test_a_recursive_hedge_is_the_regression_of_all_rows_so_far() -> None:
    x = walks(150)
    ours = recursive_hedge(x[:, 0], x[:, 1:], minimum=20)
    assert np.isnan(ours[:19]).all()
    for t in (19, 60, 149):
        np.testing.assert_allclose(ours[t], OLS(x[: t + 1, 0], add_constant(x[: t + 1, 1:])).fit().params, rtol=1e-8)


@pytest.mark.parametrize("hedge", [lambda y, x: rolling_hedge(y, x, 30), recursive_hedge])
def test_hedge_ratios_do_not_know_what_comes_later(hedge: Any) -> None:
    x = walks(120)
    assert hedge(x[:80, 0], x[:80, 1:]).tobytes() == hedge(x[:, 0], x[:, 1:])[:80].tobytes()


def test_a_hedge_on_what_does_not_move_is_not_known() -> None:
    y = walks(60)[:, 0]
    assert np.isnan(rolling_hedge(y, np.full(60, 3.0), 20)).all()
    assert np.isnan(recursive_hedge(y, np.full(60, 3.0))).all()


# Mean reversion.


@pytest.mark.parametrize("step", [1.0, 1.0 / 252.0])
def test_a_reverting_process_is_found_again(step: float) -> None:
    slope = exp(-log(2.0) / 5.0)
    fit = ornstein_uhlenbeck(7.0 + reverting(40_000, slope, 0.3), step)
    assert fit.reverts
    assert abs(fit.slope - slope) < 4.0 * fit.slope_error
    assert fit.half_life == pytest.approx(5.0 * step, rel=0.05)
    assert fit.mean == pytest.approx(7.0, abs=0.03)
    assert fit.deviation == pytest.approx(0.3, rel=0.03)
    assert fit.volatility == pytest.approx(0.3 * sqrt(2.0 * log(2.0) / (5.0 * step)), rel=0.05)


def test_the_fit_is_the_regression_on_the_value_before() -> None:
    x = reverting(300)
    fit, regression = ornstein_uhlenbeck(x), OLS(x[1:], add_constant(x[:-1])).fit()
    assert fit.slope == pytest.approx(regression.params[1], rel=1e-10)
    assert fit.slope_error == pytest.approx(regression.bse[1], rel=1e-10)
    assert fit.half_life == pytest.approx(-log(2.0) / log(regression.params[1]), rel=1e-9)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (np.cumsum(np.arange(50.0)), "at least as far from any mean"),
        (np.tile([1.0, -1.0], 30) * np.linspace(1.0, 0.9, 60), "swings to the other side"),
        (np.full(40, 0.1), "0.1 in all 40 rows"),
    ],
)
def test_what_does_not_revert_is_said_and_has_no_half_life(series: FloatArray, words: str) -> None:
    fit = ornstein_uhlenbeck(series)
    assert not fit.reverts
    assert words in fit.why_not
    assert (fit.half_life, fit.speed, fit.mean, fit.deviation, fit.volatility) == (None,) * 5


# Screening.


def logs(tape: Any) -> FloatArray:
    found: FloatArray = np.log(tape.close)
    return found


def test_screening_finds_the_pairs_that_belong_together_and_no_others() -> None:
    """Three pairs among six instruments, of which no two pairs have anything to do with each other; slope 2 either way about."""
    feed = Cointegrated(bars=600, pairs=("X", "Y", "Z"), beta=2.0, half_life=6.0)
    tests = screen_pairs(logs(feed.load(seed=4, folder=Path())), level=0.01, maxlag=1, autolag=None)
    passed = [test for test in tests if test.passed]
    assert len(tests) == 15
    assert sorted(sorted(test.members) for test in passed) == [[0, 1], [2, 3], [4, 5]]
    for test in passed:
        hedge = -test.weights[1] if test.members[0] % 2 == 0 else -1.0 / test.weights[1]
        assert hedge == pytest.approx(2.0, rel=0.15)
        assert test.reversion.half_life == pytest.approx(6.0, rel=0.6)


@pytest.mark.parametrize("control", ["benjamini_hochberg", "holm"])
def test_control_keeps_false_discoveries_rare_where_there_is_nothing(control: Any) -> None:
    """Random walks: of 45 pairs a screening, some look related by themselves in nearly every one, and hardly any after the control."""
    alone = controlled = 0
    for seed in range(12):
        x = logs(Walks(bars=300, symbols=tuple("ABCDEFGHIJ"), correlation=0.0).load(seed=seed, folder=Path()))
        tests = screen_pairs(x, control=control, maxlag=1, autolag=None)
        alone += any(test.pvalue <= 0.05 for test in tests)
        controlled += any(test.passed for test in tests)
    assert alone >= 6
    assert controlled <= 3


@pytest.mark.parametrize("lags", [0, 1, 4])
def test_a_screening_with_fixed_lags_tests_as_statsmodels_does(lags: int) -> None:
    """The better of two directions, doubled; and a basket of three has the first on the others."""
    x = walks()
    for test in screen_pairs(x, control="none", maxlag=lags, autolag=None):
        a, b = test.members
        both = [coint(x[:, i], x[:, j], maxlag=lags, autolag=None) for i, j in ((a, b), (b, a))]
        assert test.statistic == pytest.approx(both[0][0], rel=1e-9)
        assert test.pvalue == pytest.approx(min(1.0, 2.0 * both[0][1]), rel=1e-8)
        assert both[0][1] <= both[1][1]
        assert test.weights[1] == pytest.approx(-cointegration(x[:, a], x[:, b]).hedge_ratios[0], rel=1e-9)
    (basket,) = screen_baskets(x, 3, maxlag=lags, autolag=None)
    assert (basket.statistic, basket.pvalue) == pytest.approx(coint(x[:, 0], x[:, 1:], maxlag=lags, autolag=None)[:2], rel=1e-8)


def test_a_basket_of_three_is_found_with_johansens_weights() -> None:
    x = np.cumsum(stream(3, "test.relations.basket").standard_normal((500, 4)) * 0.01, axis=0)
    x[:, 0] = 0.5 * x[:, 1] + 0.5 * x[:, 2] + 0.01 * reverting(500)
    best = screen_baskets(x, 3, maxlag=1, autolag=None)[0]
    assert best.passed
    assert best.members == (0, 1, 2)
    np.testing.assert_allclose(best.weights, [1.0, -0.5, -0.5], atol=0.05)


def test_a_series_with_gaps_and_one_that_is_another_take_no_part() -> None:
    x = walks(200, 4)
    x[50, 2] = np.nan
    x[:, 3] = 2.0 * x[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(sorted(test.members) for test in screen_pairs(x, maxlag=1, autolag=None)) == [[0, 1], [1, 3]]


def test_screening_nothing_finds_nothing() -> None:
    assert screen_pairs(np.empty((0, 3))) == []
    assert screen_pairs(walks(50)[:, :1]) == []


# Who leads.


def test_who_leads_is_told_by_the_sign_of_the_lag() -> None:
    x = stream(5, "test.relations.lead").standard_normal(500)
    found = lead_lag(x[3:], x[:-3], 5)
    assert found.best == 3
    assert lead_lag(x[:-3], x[3:], 5).best == -3
    assert found.correlations[found.lags == 3] == pytest.approx(1.0)
    assert found.correlations[found.lags == 1] == pytest.approx(np.corrcoef(x[3:-1], x[1:-3])[0, 1])


def test_gaps_are_left_out_of_a_lead() -> None:
    x = stream(5, "test.relations.lead").standard_normal(100)
    x[20] = np.nan
    found = lead_lag(x, np.roll(x, 1), 1)
    assert found.correlations[2] == pytest.approx(1.0)
    assert found.errors[2] == pytest.approx(1.0 / sqrt(98))


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda: adf([1.0, float("nan"), 2.0, 3.0]), DataError, "adf: row 1 is nan; leave out rows that are not known"),
        (lambda: adf(np.ones(30)), DataError, "a constant has no root"),
        (lambda: adf(walks()[:, 0], maxlag=-1), ScenarioError, "maxlag must be at least 0, was -1"),
        (lambda: adf(walks()[:, 0], autolag="AICC"), ScenarioError, "autolag must be AIC, BIC, t-stat or None, was 'AICC'"),  # type: ignore[arg-type]
        (lambda: adf(walks(12)[:, 0], maxlag=30), DataError, "adf: maxlag"),
        (lambda: cointegration(walks()[:, 0], 2.0 * walks()[:, 0]), DataError, "they are the same series"),
        (lambda: cointegration(walks()[:, 0], walks(300)), DataError, "must have the same rows, were 400 and 300"),
        (lambda: johansen(walks()[:, [0, 0]]), DataError, "a combination of the others"),
        (lambda: johansen(walks(10)), DataError, "need at least 22 rows, were 10"),
        (lambda: johansen(walks()[:, 0]), DataError, "tests 2 to 12 series, were 1"),
        (lambda: ols([1.0, 2.0, 3.0], walks(3)), DataError, "4 parameters need more than 3 rows"),
        (lambda: ols(walks()[:, 0], walks()[:, 1], maxlags=3), ScenarioError, "maxlags is for covariance 'HAC'"),
        (lambda: ljung_box(walks()[:, 0], 400), ScenarioError, "lags must be from 1 to 399"),
        (lambda: rolling_hedge(walks()[:, 0], walks()[:, 1], 2), ScenarioError, "window must be at least 3, was 2"),
        (lambda: ornstein_uhlenbeck([1.0, 2.0, 3.0]), DataError, "at least 5 rows, were 3"),
        (lambda: adjusted([0.5, 1.5]), DataError, "numbers from 0 to 1"),
        (lambda: adjusted([0.5], "bonferroni"), ScenarioError, "no such control 'bonferroni'"),  # type: ignore[arg-type]
        (lambda: screen_pairs(walks(), level=0.0), ScenarioError, "level must be in"),
        (lambda: screen_baskets(walks(), 1), ScenarioError, "legs must be from 2 to 12, was 1"),
        (lambda: lead_lag([1.0] * 9, [1.0] * 9, 7), ScenarioError, "most must be from 0 to 6"),
    ],
)
def test_a_mistake_is_told_with_place_value_and_way_out(ask: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ask()
