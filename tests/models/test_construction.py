"""Construction: the best book inside its limits, against an independent modelling of the same problem in cvxpy."""

from __future__ import annotations

import os
from math import inf

import cvxpy as cp
import numpy as np
import pytest
from random_mandates import only, random_problem
from skfolio.optimization import MeanRisk, ObjectiveFunction  # type: ignore[import-untyped]

from simulator.errors import DataError
from simulator.models.construction import Constructor, construct, impact_costs
from simulator.risk.mandate import Mandate, mandate
from simulator.risk.projection import project
from simulator.risk.sizing import minimum_variance

NIGHTLY = os.environ.get("TRADEWIND_HYPOTHESIS") == "nightly"
TWO = np.array([[0.04, 0.006], [0.006, 0.01]])


def modelled(limits: Mandate, alpha: np.ndarray, aversion: float, linear: float, square_root: float) -> tuple[float, cp.Problem]:
    """The same problem said in cvxpy's words: the best objective (-inf if there is none)."""
    w = cp.Variable(limits.count)
    change = w - limits.held
    root = np.linalg.svd(limits.covariance, hermitian=True)
    risk = cp.norm(np.sqrt(root.S)[:, None] * root.Vh @ w)
    said = []
    for box in limits.boxes:
        for i in range(limits.count):
            said += [w[i] >= box.low[i]] * bool(box.low[i] > -inf) + [w[i] <= box.high[i]] * bool(box.high[i] < inf)
    for limit in limits.exposures:
        level = limit.loadings @ (cp.abs(w) if limit.absolute else w)
        said += [level >= limit.low] * (limit.low > -inf) + [level <= limit.high] * (limit.high < inf)
    if limits.turnover_max < inf:
        said.append(cp.norm1(change) <= limits.turnover_max)
    if limits.volatility_max < inf:
        said.append(risk <= limits.volatility_max)
    costs = linear * cp.norm1(change) + square_root * cp.sum(cp.power(cp.abs(change), 1.5))
    problem = cp.Problem(cp.Maximize(1e3 * (alpha @ w - aversion / 2 * cp.square(risk) - costs)), said)
    best = problem.solve(solver=cp.CLARABEL)
    return best / 1e3 if problem.status in ("optimal", "optimal_inaccurate") else -inf, problem


def objective(limits: Mandate, w: np.ndarray, alpha: np.ndarray, aversion: float, linear: float, square_root: float) -> float:
    assert limits.covariance is not None
    assert limits.held is not None
    change = np.abs(w - limits.held)
    return float(alpha @ w - aversion / 2 * w @ limits.covariance @ w - linear * change.sum() - square_root * (change**1.5).sum())


# --- By hand


def test_without_limits_it_is_the_inverse_covariance_times_alpha() -> None:
    alpha = np.array([0.02, 0.01])
    book = construct(alpha, mandate(2, covariance=TWO), aversion=2.0).weights
    assert book == pytest.approx(np.linalg.solve(TWO, alpha) / 2.0, abs=1e-8)


def test_a_cost_larger_than_what_a_trade_gains_leaves_what_is_held() -> None:
    """At the best book every slope is 0, so that a cost of any size keeps it; a cost below the slope is overcome."""
    held = np.array([0.5, 0.25])
    alpha = 2.0 * TWO @ held
    assert construct(alpha + 0.0009, mandate(2, covariance=TWO, held=held), 2.0, linear=0.001).weights == pytest.approx(held, abs=1e-7)
    assert construct(alpha + 0.0020, mandate(2, covariance=TWO, held=held), 2.0, linear=0.001).weights[1] > held[1] + 0.01


def test_a_square_root_cost_is_paid_at_the_power_of_three_halves() -> None:
    """alpha = aversion variance w + 1.5 k sqrt(w), for one name that starts from nothing."""
    limits = mandate(1, covariance=[[0.04]], held=[0.0])
    (w,) = construct([0.02], limits, aversion=1.0, square_root=0.01).weights
    assert 0.04 * w + 1.5 * 0.01 * np.sqrt(w) == pytest.approx(0.02, abs=1e-8)


def test_impact_is_sigma_times_the_root_of_the_share_of_a_day() -> None:
    """A twentieth of 100 million in a name that trades 20 million a day: a quarter of a day, half of its 2 %."""
    (cost,) = impact_costs([0.02], [20e6], equity=100e6)
    assert cost * 0.05**1.5 / 0.05 == pytest.approx(0.02 * 0.5)


def test_minimum_variance_is_skfolios() -> None:
    returns = np.random.default_rng(1).normal(size=(300, 6)) * np.array([1, 2, 3, 1, 2, 3]) / 100
    theirs = MeanRisk(objective_function=ObjectiveFunction.MINIMIZE_RISK).fit(returns).weights_
    limits = mandate(6, net=(1.0, 1.0), long_only=True, covariance=np.cov(returns.T))
    ours = construct(np.zeros(6), limits).weights
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert ours == pytest.approx(minimum_variance(np.cov(returns.T), long_only=True), abs=1e-7)


def test_one_more_unit_of_a_limit_never_makes_the_best_worse() -> None:
    _, alpha, how = random_problem(3)
    n = len(alpha)
    covariance = np.diag(np.linspace(1e-4, 4e-4, n))
    found = [
        objective(limits, construct(alpha, limits, **how).weights, alpha, **how)
        for gross in (0.2, 0.5, 1.0)
        for limits in [mandate(n, net=(0.0, 0.0), gross_max=gross, held=np.zeros(n), covariance=covariance)]
    ]
    assert found == sorted(found)


# --- Against another modelling of it


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("seed", range(200 if NIGHTLY else 25))
def test_it_finds_what_cvxpy_finds(seed: int) -> None:
    limits, alpha, how = random_problem(seed)
    best, problem = modelled(limits, alpha, **how)
    found = construct(alpha, limits, **how)
    assert (found.conflict is None) == (best > -inf), (problem.status, found.conflict)
    if found.conflict is None:
        ours = objective(limits, found.weights, alpha, **how)
        assert ours == pytest.approx(best, abs=2e-6 * max(abs(best), float(np.abs(alpha).max())))


def test_over_many_problems_every_limit_holds_or_the_conflict_is_named() -> None:
    """To rounding, and not to a solver's tolerance. What is named is a conflict by itself, and would be none if it gave as much as is said."""
    conflicts = 0
    count = 1000 if NIGHTLY else 200
    for seed in range(count):
        limits, alpha, how = random_problem(seed)
        allowed = construct(alpha, limits, **how)
        if allowed.conflict is None:
            assert limits.breaches(allowed.weights, 1e-9) == (), seed
            continue
        conflicts += 1
        assert allowed.conflict.limits, seed
        if seed % 8 == 0 or NIGHTLY:
            assert project(limits.held if limits.held is not None else alpha, only(limits, allowed.conflict.limits)).conflict, seed
    assert 0.1 < conflicts / count < 0.6


# --- What cannot be


def test_limits_in_conflict_trade_nothing_and_are_named() -> None:
    allowed = construct([0.01, 0.02], mandate(2, net=(1.0, 1.0), name_max=0.3, gross_max=5.0, covariance=TWO))
    assert np.isnan(allowed.weights).all()
    assert allowed.conflict is not None
    assert allowed.conflict.limits == ("name", "net")


def test_a_constructor_goes_on_after_a_conflict() -> None:
    constructor, alpha = Constructor(1.0), np.array([0.01, 0.02])
    fine = mandate(2, net=(1.0, 1.0), covariance=TWO)
    before = constructor.weights(alpha, fine).weights
    assert constructor.weights(alpha, mandate(2, net=(1.0, 1.0), name_max=0.3, covariance=TWO)).conflict is not None
    assert constructor.weights(alpha, fine).weights == pytest.approx(before, abs=1e-7)


def test_what_it_needs_and_does_not_get_is_named() -> None:
    with pytest.raises(DataError, match="aversion to risk needs the mandate's covariance"):
        construct([0.01], mandate(1, gross_max=1.0))
    with pytest.raises(DataError, match="held weights, zeros if there are none"):
        construct([0.01], mandate(1, covariance=[[0.04]]), linear=0.001)
    with pytest.raises(DataError, match="linear must be at least 0"):
        Constructor(linear=-0.1)
    with pytest.raises(DataError, match="aversion must be at least 0"):
        Constructor(-1.0)
    with pytest.raises(DataError, match="grows without end"):
        construct([0.01, 0.0], mandate(2, net=(0.0, 0.0)), aversion=0.0)
