"""Sizers: weights by hand, the best by their own conditions, and what holds for any covariance."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, nan, sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize_scalar  # type: ignore[import-untyped]
from skfolio import RiskMeasure  # type: ignore[import-untyped]
from skfolio.optimization import InverseVolatility, MeanRisk, ObjectiveFunction, RiskBudgeting  # type: ignore[import-untyped]

from simulator.errors import DataError
from simulator.loop.randomness import stream
from simulator.risk.measures import volatility_contributions
from simulator.risk.sizing import (
    alpha_over_volatility,
    equal_risk,
    fixed_fraction,
    inverse_volatility,
    kelly,
    kelly_many,
    mean_variance,
    minimum_variance,
    target_return,
    volatility_target,
)

seeds = st.integers(0, 100_000)
fewer = settings(max_examples=settings().max_examples // 3)
TWO = np.array([[0.04, 0.006], [0.006, 0.01]])


def market(seed: int, rows: int = 60, width: int = 8) -> np.ndarray:
    """Returns of instruments with a factor in common, of unlike volatilities."""
    rng = stream(seed, "test.sizing")
    own = rng.standard_normal((rows, width)) * np.exp(rng.standard_normal(width))
    return 0.01 * (own + rng.uniform(0.0, 3.0) * rng.standard_normal((rows, 1)))


def covariance(seed: int, rows: int = 60, width: int = 8) -> np.ndarray:
    return np.atleast_2d(np.cov(market(seed, rows, width).T))


def means(seed: int, width: int = 8) -> np.ndarray:
    return 0.001 * stream(seed, "test.means").standard_normal(width)


# --- Each by itself


def test_a_fixed_fraction_goes_in_each_direction() -> None:
    assert fixed_fraction([3.0, -0.1, 0.0], 0.02).tolist() == [0.02, -0.02, 0.0]


def test_a_fixed_fraction_is_what_a_stop_loses() -> None:
    assert fixed_fraction([1.0, -1.0], 0.01, stop=[0.05, 0.1]) == pytest.approx([0.2, -0.1])
    assert fixed_fraction([1.0, -1.0], 0.01, stop=0.05) == pytest.approx([0.2, -0.2])


def test_inverse_volatility_is_by_hand_and_as_skfolio_says() -> None:
    assert inverse_volatility([0.1, 0.2, 0.4]) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    x = market(1)
    assert inverse_volatility(x.std(axis=0, ddof=1)) == pytest.approx(InverseVolatility().fit(x).weights_, abs=1e-12)


def test_alpha_over_volatility_is_clipped_to_its_limit() -> None:
    assert alpha_over_volatility([0.01, -0.01, 0.1], [0.2, 0.4, 0.2], scale=1.0, name_max=0.1) == pytest.approx([0.05, -0.025, 0.1])


def test_kelly_on_an_even_bet_is_twice_the_edge() -> None:
    assert kelly(0.55, 1.0) == pytest.approx(0.1)
    assert kelly(0.55, 1.0, fraction=0.5) == pytest.approx(0.05)


@fewer
@given(p=st.floats(0.01, 0.99), ratio=st.floats(0.05, 20.0))
def test_kelly_makes_the_expected_logarithm_largest(p: float, ratio: float) -> None:
    best = minimize_scalar(lambda f: -p * log(1 + ratio * f) - (1 - p) * log(1 - f), bounds=(0.0, 1.0 - 1e-9), method="bounded").x
    assert kelly(p, ratio, name_max=1.0) == pytest.approx(best, abs=1e-4)


def test_kelly_without_a_loss_yet_is_not_nothing() -> None:
    assert kelly(0.6, inf, name_max=1.0) == pytest.approx(0.6)
    assert kelly(1.0, inf) == 0.25


def test_kelly_takes_no_bet_that_loses() -> None:
    assert kelly(0.4, 1.0) == 0.0
    assert kelly(0.9, 0.0) == 0.0
    assert kelly(0.0, inf) == 0.0


# --- Together, by risk


def test_a_book_is_brought_to_its_volatility() -> None:
    w = volatility_target([1.0, 1.0], TWO / 252, 0.1)
    assert sqrt(w @ TWO @ w) == pytest.approx(0.1)
    assert w[0] == w[1]


def test_a_book_is_brought_as_near_to_its_volatility_as_its_gross_allows() -> None:
    assert volatility_target([1.0, -1.0], TWO / 252, 10.0, gross_max=1.5) == pytest.approx([0.75, -0.75])


def test_a_book_of_nothing_stays_one_and_one_without_risk_is_refused() -> None:
    assert volatility_target([0.0, 0.0], TWO, 0.1).tolist() == [0.0, 0.0]
    with pytest.raises(DataError, match="no multiple of them reaches a target"):
        volatility_target([1.0, -1.0], np.ones((2, 2)), 0.1)


def test_equal_risk_of_two_is_inverse_volatility_whatever_their_correlation() -> None:
    for correlation in (-0.99, 0.0, 0.7, 1.0):
        c = np.array([[0.04, 0.02 * correlation], [0.02 * correlation, 0.01]])
        assert equal_risk(c) == pytest.approx([1 / 3, 2 / 3])


def test_equal_risk_is_skfolios() -> None:
    x = market(2)
    assert equal_risk(np.cov(x.T)) == pytest.approx(RiskBudgeting(risk_measure=RiskMeasure.VARIANCE).fit(x).weights_, abs=1e-4)


def test_equal_risk_of_a_published_example() -> None:
    """Maillard, Roncalli and Teïletche (2010), section 4.1: four assets of 10, 20, 30 and 40 % with these correlations."""
    correlation = np.array([[1.0, 0.8, 0.0, 0.0], [0.8, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -0.5], [0.0, 0.0, -0.5, 1.0]])
    spreads = np.array([0.1, 0.2, 0.3, 0.4])
    assert equal_risk(correlation * np.outer(spreads, spreads)) == pytest.approx([0.384, 0.192, 0.243, 0.182], abs=5e-4)


@given(seed=seeds, rows=st.integers(12, 60), width=st.integers(1, 10))
def test_equal_risk_shares_the_risk_equally(seed: int, rows: int, width: int) -> None:
    c = covariance(seed, rows, width)
    w = equal_risk(c)
    risk = volatility_contributions(w, c)
    assert (w > 0.0).all()
    assert w.sum() == pytest.approx(1.0)
    assert risk.component / risk.total == pytest.approx(np.full(width, 1.0 / width), abs=1e-10)


@given(seed=seeds, width=st.integers(2, 12))
def test_equal_risk_shares_the_risk_of_a_singular_covariance_too(seed: int, width: int) -> None:
    """Fewer factors than instruments, all of them long, so that no long book is without risk."""
    rng = stream(seed, "test.singular")
    loadings = rng.uniform(0.1, 1.0, (width, max(width // 3, 1)))
    c = loadings @ loadings.T
    risk = volatility_contributions(equal_risk(c), c)
    assert risk.component / risk.total == pytest.approx(np.full(width, 1.0 / width), abs=1e-10)


@given(seed=seeds)
def test_risk_is_shared_by_budget(seed: int) -> None:
    c, budgets = covariance(seed), stream(seed, "test.budgets").uniform(0.01, 5.0, 8)
    risk = volatility_contributions(equal_risk(c, budgets), c)
    assert risk.component / risk.total == pytest.approx(budgets / budgets.sum(), abs=1e-10)


def test_a_long_mix_without_risk_cannot_share_any() -> None:
    with pytest.raises(DataError, match="a long mix of these instruments has next to no risk"):
        equal_risk([[0.04, -0.02], [-0.02, 0.01]])
    with pytest.raises(DataError, match="instrument 1 has no risk that it could contribute; leave it out"):
        equal_risk([[0.04, 0.0], [0.0, 0.0]])


# --- Together, by return and risk


def test_kelly_for_one_is_its_return_over_its_variance() -> None:
    """An excess return of 5 % at 15 %: 2.22 times equity."""
    assert kelly_many([0.05], [[0.0225]]) == pytest.approx([0.05 / 0.0225])


@given(seed=seeds)
def test_kelly_for_many_has_the_largest_growth(seed: int) -> None:
    c, m = covariance(seed), means(seed)
    w = kelly_many(m, c)
    for other in w + 0.1 * stream(seed, "test.others").standard_normal((20, 8)):
        assert w @ m - w @ c @ w / 2 >= other @ m - other @ c @ other / 2 - 1e-12


def test_kelly_without_correlations_is_each_for_itself() -> None:
    assert kelly_many([0.1, 0.05], TWO, shrink=1.0) == pytest.approx([2.5, 5.0])


@given(seed=seeds, name_max=st.floats(0.01, 2.0), gross_max=st.floats(0.01, 5.0))
def test_kelly_keeps_its_limits_and_its_proportions(seed: int, name_max: float, gross_max: float) -> None:
    free, w = kelly_many(means(seed), covariance(seed)), kelly_many(means(seed), covariance(seed), 0.5, 0.0, name_max, gross_max)
    assert np.abs(w).max() <= name_max
    assert np.abs(w).sum() <= gross_max
    assert w / np.abs(w).sum() == pytest.approx(free / np.abs(free).sum(), abs=1e-9)


def test_kelly_without_an_edge_is_no_bet() -> None:
    assert kelly_many([0.0, 0.0], TWO, name_max=0.1).tolist() == [0.0, 0.0]


def test_a_singular_covariance_allows_no_bet_without_limit_until_it_is_shrunk() -> None:
    with pytest.raises(DataError, match="a bet without risk could grow without end; shrink it"):
        kelly_many([0.1, 0.05], np.ones((2, 2)))
    assert kelly_many([0.1, 0.05], np.ones((2, 2)), shrink=0.5) == pytest.approx(np.linalg.solve([[1.0, 0.5], [0.5, 1.0]], [0.1, 0.05]))


def test_the_least_variance_of_two_is_by_hand() -> None:
    assert minimum_variance(TWO) == pytest.approx([(0.01 - 0.006) / (0.05 - 0.012), (0.04 - 0.006) / (0.05 - 0.012)])


@given(seed=seeds, aversion=st.floats(0.1, 1000.0))
def test_both_ways_the_best_are_the_textbooks_closed_forms(seed: int, aversion: float) -> None:
    c, m, ones = covariance(seed), means(seed), np.ones(8)
    inverse = np.linalg.inv(c)
    least = inverse @ ones / (ones @ inverse @ ones)
    assert minimum_variance(c) == pytest.approx(least, abs=1e-9)
    tilt = inverse @ (m - ones * (ones @ inverse @ m) / (ones @ inverse @ ones))
    assert mean_variance(m, c, aversion) == pytest.approx(least + tilt / aversion, rel=1e-8, abs=1e-8)
    assert target_return(m, c, 0.002) == pytest.approx(least + tilt * (0.002 - least @ m) / (tilt @ m), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("singular", [False, True])
@given(seed=seeds, aversion=st.floats(0.1, 1000.0), width=st.integers(1, 16))
def test_the_best_long_books_cannot_be_bettered(singular: bool, seed: int, aversion: float, width: int) -> None:
    """The variance and gain are convex: a book is the best if no other is better by the slope where it stands."""
    c, m = covariance(seed, 6 if singular else 60, width), means(seed, width)
    least, useful = minimum_variance(c, long_only=True), mean_variance(m, c, aversion, long_only=True)
    for w, slope in ((least, c @ least), (useful, aversion * c @ useful - m)):
        assert w.min() >= 0.0
        assert w.sum() == pytest.approx(1.0, abs=1e-12)
        assert w @ slope - slope.min() <= 1e-12 * (1.0 + aversion)


@given(seed=seeds, width=st.integers(2, 16), place=st.sampled_from([0.0, 0.1, 0.5, 1.0]), coarse=st.booleans())
def test_the_best_long_book_of_a_return_cannot_be_bettered(seed: int, width: int, place: float, coarse: bool) -> None:
    """Coarse returns are often the same, and then often the target: few books are then possible, and none of those with some instruments."""
    c, m = covariance(seed, width=width), means(seed, width).round(3 if coarse else 9)
    target = float(np.quantile(m, place, method="nearest"))
    assume(np.ptp(m) > 0.0)
    w = target_return(m, c, target, long_only=True)
    assert w.min() >= 0.0
    assert w.sum() == pytest.approx(1.0, abs=1e-12)
    assert w @ m == pytest.approx(target, abs=1e-15)
    slope = c @ w
    other = linprog(slope / slope.max(), A_eq=np.stack([np.ones(width), (m - target) / np.abs(m - target).max()]), b_eq=[1.0, 0.0])
    assert other.status == 0
    assert w @ slope <= other.fun * slope.max() + 1e-7 * slope.max()


def test_the_best_long_books_are_skfolios_and_a_little_better() -> None:
    """Its interior point solver ends near the best, ours at it."""
    x = market(3)
    c, m = np.cov(x.T), x.mean(axis=0)
    least, theirs = minimum_variance(c, long_only=True), MeanRisk().fit(x).weights_
    assert least == pytest.approx(theirs, abs=1e-3)
    assert least @ c @ least <= theirs @ c @ theirs
    useful = mean_variance(m, c, 5.0, long_only=True)
    theirs = MeanRisk(objective_function=ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=2.5).fit(x).weights_
    assert useful == pytest.approx(theirs, abs=1e-3)
    assert useful @ m - 2.5 * useful @ c @ useful >= theirs @ m - 2.5 * theirs @ c @ theirs - 1e-9
    goal = (float(m.max()) + float(least @ m)) / 2.0
    assert target_return(m, c, goal, long_only=True) == pytest.approx(MeanRisk(min_return=goal).fit(x).weights_, abs=1e-3)


def test_where_every_return_is_the_target_the_least_variance_is_the_best() -> None:
    assert target_return([0.1, 0.1], TWO, 0.1) == pytest.approx(minimum_variance(TWO))
    assert target_return([0.1, 0.1], TWO, 0.1, long_only=True) == pytest.approx(minimum_variance(TWO))


def test_a_return_that_no_book_expects_is_refused() -> None:
    with pytest.raises(DataError, match=r"target must be from 0\.1 to 0\.2, .* was 0\.3"):
        target_return([0.1, 0.2], TWO, 0.3, long_only=True)
    assert target_return([0.1, 0.2], TWO, 0.3) == pytest.approx([-1.0, 2.0])
    with pytest.raises(DataError, match=r"target must be from 0\.1 to 0\.1"):
        target_return([0.1, 0.1], TWO, 0.2)


def test_a_singular_covariance_has_no_only_best_book_but_a_long_one() -> None:
    with pytest.raises(DataError, match="no book is the only best one; shrink it, or take long_only"):
        minimum_variance(np.ones((3, 3)))
    assert minimum_variance(np.ones((3, 3)), long_only=True).sum() == pytest.approx(1.0)
    assert mean_variance([0.1, 0.2, 0.3], np.ones((3, 3)), 1.0, long_only=True).tolist() == [0.0, 0.0, 1.0]


# --- What holds for all

SIZERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "inverse_volatility": lambda m, c: inverse_volatility(np.sqrt(np.diagonal(c))),
    "alpha_over_volatility": lambda m, c: alpha_over_volatility(m, np.sqrt(np.diagonal(c))),
    "volatility_target": lambda m, c: volatility_target(m, c, 0.1),
    "equal_risk": lambda m, c: equal_risk(c),
    "kelly_many": lambda m, c: kelly_many(m, c, name_max=0.5),
    "minimum_variance": lambda m, c: minimum_variance(c),
    "minimum_variance, long": lambda m, c: minimum_variance(c, long_only=True),
    "mean_variance": lambda m, c: mean_variance(m, c, 5.0),
    "mean_variance, long": lambda m, c: mean_variance(m, c, 5.0, long_only=True),
    "target_return": lambda m, c: target_return(m, c, 0.0005),
    "target_return, long": lambda m, c: target_return(m, c, float(m.mean()), long_only=True),
}


@pytest.mark.parametrize("name", SIZERS)
@fewer
@given(seed=st.integers(0, 200))
def test_instruments_in_another_order_have_the_same_weights_in_that_order_and_nothing_given_changes(name: str, seed: int) -> None:
    c, m, order = covariance(seed), means(seed), stream(seed, "test.order").permutation(8)
    given_c, given_m = c.copy(), m.copy()
    w = SIZERS[name](m, c)
    assert (c == given_c).all()
    assert (m == given_m).all()
    assert SIZERS[name](m[order], c[np.ix_(order, order)]) == pytest.approx(w[order], rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("name", ["equal_risk", "minimum_variance", "minimum_variance, long", "target_return", "inverse_volatility"])
@fewer
@given(seed=st.integers(0, 200), scale=st.sampled_from([1e-8, 252.0, 1e8]))
def test_a_covariance_in_another_unit_has_the_same_weights(name: str, seed: int, scale: float) -> None:
    c, m = covariance(seed), means(seed)
    assert SIZERS[name](m, scale * c) == pytest.approx(SIZERS[name](m, c), rel=1e-7, abs=1e-7)


def test_what_cannot_be_sized_says_why() -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: fixed_fraction([1.0], 0.0), "fraction must be above 0, was 0.0"),
        (lambda: fixed_fraction([1.0, nan], 0.1), r"directions\[1\] must be a number, was nan"),
        (lambda: fixed_fraction([1.0, 1.0], 0.1, stop=[0.1, 0.0]), r"stop\[1\] must be above 0, was 0.0"),
        (lambda: fixed_fraction([1.0, 1.0], 0.1, stop=[0.1]), r"stop must be \(2,\), one number for each, was \(1,\)"),
        (lambda: inverse_volatility([0.1, 0.0]), r"volatilities\[1\] must be above 0, was 0.0"),
        (lambda: alpha_over_volatility([0.1], [0.1, 0.2]), r"volatilities must be \(1,\)"),
        (lambda: alpha_over_volatility([0.1], [0.1], name_max=0.0), "name_max must be above 0, was 0.0"),
        (lambda: kelly(1.1, 1.0), "win_probability must be from 0 to 1, was 1.1"),
        (lambda: kelly(0.5, nan), "win_loss_ratio must be at least 0"),
        (lambda: kelly(0.5, 1.0, fraction=nan), "fraction must be above 0, was nan"),
        (lambda: kelly_many([0.1, 0.1], TWO, shrink=1.5), "shrink must be from 0 to 1, was 1.5"),
        (lambda: kelly_many([0.1], TWO), r"mu must be \(2,\)"),
        (lambda: mean_variance([0.1, 0.1], TWO, 0.0), "aversion must be above 0, was 0.0"),
        (lambda: equal_risk(TWO, [1.0, 0.0]), r"budgets\[1\] must be above 0, was 0.0"),
        (lambda: minimum_variance([[1.0, 0.5], [0.2, 1.0]]), r"symmetric, but \[0, 1\] is 0.5 and \[1, 0\] 0.2"),
        (lambda: minimum_variance([[1.0, 2.0], [2.0, 1.0]]), "no eigenvalue below 0, had -1"),
        (lambda: minimum_variance([[1.0, nan], [nan, 1.0]]), r"covariance\[0, 1\] must be a number, was nan"),
        (lambda: minimum_variance([1.0, 1.0]), r"must be \(instruments, instruments\), was \(2,\)"),
    ]
    for call, message in wrong:
        with pytest.raises(DataError, match=message):
            call()
