"""The closed form of Almgren and Chriss against its own formulas, an independent minimum, and its limits."""

from __future__ import annotations

from itertools import pairwise
from math import acosh, cosh, inf, nan, sinh, sqrt, tanh
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brokers.slicing import almgren_chriss
from simulator import FloatArray

# The example of the paper's section 3: a million shares at 50 over five days; 30 % annual volatility is 0.95 a share and square root of day.
PAPER = {"quantity": 1e6, "intervals": 5, "tau": 1.0, "sigma": 0.95, "eta": 2.5e-6, "gamma": 2.5e-7, "epsilon": 0.0625}
positive = st.floats(0.05, 5.0)
problems = st.builds(
    dict,
    quantity=st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1.0),
    intervals=st.integers(1, 30),
    tau=positive,
    sigma=positive,
    eta=positive,
    gamma=st.floats(0.0, 0.015),
    epsilon=st.floats(0.0, 1.0),
    risk_aversion=st.floats(1e-3, 10.0),
)


def near(found: Any, expected: Any, rel: float = 1e-9) -> None:
    np.testing.assert_allclose(found, expected, rtol=rel, atol=rel)


def test_without_risk_aversion_it_is_the_straight_line_at_the_papers_cost() -> None:
    """E = gamma X² (1 - 1/N) / 2 + epsilon X + eta X² / T, V = sigma² X² T (1 - 1/N) (1 - 1/2N) / 3."""
    holdings, cost, variance = almgren_chriss(**PAPER)
    near(holdings, [1e6, 8e5, 6e5, 4e5, 2e5, 0.0])
    near(cost, 100_000.0 + 62_500.0 + 500_000.0)
    near(variance, 0.95**2 * 1e12 * 5.0 * 0.8 * 0.9 / 3.0)


def test_the_papers_trader_trades_at_a_kappa_of_six_tenths_a_day() -> None:
    """lambda = 1e-6: kappa is close to sqrt(lambda sigma² / eta) = 0.6 a day."""
    holdings, _, _ = almgren_chriss(**PAPER, risk_aversion=1e-6)
    eased = 2.5e-6 - 0.5 * 2.5e-7
    kappa = acosh(1.0 + 1e-6 * 0.95**2 / eased / 2.0)
    assert kappa == pytest.approx(0.607, abs=0.001)
    near(holdings, [1e6 * sinh(kappa * (5 - j)) / sinh(5 * kappa) for j in range(6)])


@given(problems)
def test_cost_and_variance_are_those_of_the_papers_closed_forms(problem: dict[str, Any]) -> None:
    _, cost, variance = almgren_chriss(**problem)
    x, n, tau, sigma = abs(problem["quantity"]), problem["intervals"], problem["tau"], problem["sigma"]
    eased = problem["eta"] - problem["gamma"] * tau / 2.0
    kappa = acosh(1.0 + problem["risk_aversion"] * sigma**2 * tau**2 / eased / 2.0) / tau
    total = n * tau
    assume(1e-4 < kappa * total < 300.0)
    spread = tanh(kappa * tau / 2.0) * (tau * sinh(2.0 * kappa * total) + 2.0 * total * sinh(kappa * tau)) / (2.0 * (tau * sinh(kappa * total)) ** 2)
    near(cost, 0.5 * problem["gamma"] * x * x + problem["epsilon"] * x + eased * x * x * spread, 1e-6)
    risk = (tau * sinh(kappa * total) * cosh(kappa * (total - tau)) - total * sinh(kappa * tau)) / (sinh(kappa * total) ** 2 * sinh(kappa * tau))
    near(variance, 0.5 * sigma**2 * x * x * risk, 1e-5)


def cheapest(quantity: float, intervals: int, tau: float, sigma: float, eta: float, gamma: float, risk_aversion: float) -> FloatArray:
    """The same minimum from its first-order conditions, one linear equation for each holding between the ends."""
    inner, eased = intervals - 1, eta - gamma * tau / 2.0
    bend = 2.0 * eased / tau + risk_aversion * sigma**2 * tau
    system = np.diag(np.full(inner, bend)) - (np.eye(inner, k=1) + np.eye(inner, k=-1)) * eased / tau
    wanted = np.zeros(inner)
    if inner:
        wanted[0] = eased / tau * quantity
    return np.concatenate(([quantity], np.linalg.solve(system, wanted), [0.0]))


@given(problems)
def test_no_other_path_is_cheaper(problem: dict[str, Any]) -> None:
    terms = {key: value for key, value in problem.items() if key != "epsilon"}
    near(almgren_chriss(**problem)[0] / problem["quantity"], cheapest(**terms) / problem["quantity"], 1e-9)


@given(problems)
def test_holdings_fall_from_all_to_nothing_and_the_more_quickly_the_more_risk_weighs(problem: dict[str, Any]) -> None:
    held = almgren_chriss(**problem)[0] / problem["quantity"]
    hurried = almgren_chriss(**(problem | {"risk_aversion": 2.0 * problem["risk_aversion"]}))[0] / problem["quantity"]
    assert (held[0], held[-1], len(held)) == (1.0, 0.0, problem["intervals"] + 1)
    assert all(before >= after >= 0.0 for before, after in pairwise(held))
    assert (hurried <= held + 1e-12).all()


@given(problems)
def test_a_sale_is_a_purchase_in_the_mirror(problem: dict[str, Any]) -> None:
    bought, sold = almgren_chriss(**problem), almgren_chriss(**(problem | {"quantity": -problem["quantity"]}))
    assert np.array_equal(bought[0], -sold[0])
    assert bought[1:] == sold[1:]


@pytest.mark.parametrize("risk_aversion", [0.0, 5e-324, 1e-300, 1e-30, 1e-20, 1e-18])
def test_ever_less_risk_aversion_becomes_the_straight_line(risk_aversion: float) -> None:
    holdings, cost, _ = almgren_chriss(**PAPER, risk_aversion=risk_aversion)
    near(holdings, [1e6, 8e5, 6e5, 4e5, 2e5, 0.0])
    near(cost, 662_500.0)


def test_nothing_jumps_where_the_straight_line_takes_over() -> None:
    """kappa T = 1e-8 is where it does."""
    paths = [almgren_chriss(**PAPER, risk_aversion=(1e-8 * f / 5.0) ** 2 * 2.375e-6 / 0.95**2)[0] for f in (0.99, 1.01)]
    near(paths[0], paths[1], 1e-14)


@pytest.mark.parametrize("risk_aversion", [1e3, 1e100, 1.7e308])
def test_the_most_risk_averse_trade_at_once(risk_aversion: float) -> None:
    holdings, cost, variance = almgren_chriss(**(PAPER | {"intervals": 10_000}), risk_aversion=risk_aversion)
    near(holdings / 1e6, [1.0, *[0.0] * 10_000], 1e-3)
    assert np.isfinite(holdings).all()
    near(cost, 0.5 * 2.5e-7 * 1e12 + 62_500.0 + 2.375e-6 * 1e12, 1e-3)
    assert 0.0 <= variance < 1e6


def test_a_price_that_does_not_move_leaves_no_hurry() -> None:
    holdings, _, variance = almgren_chriss(**(PAPER | {"sigma": 0.0}), risk_aversion=1.7e308)
    near(holdings, [1e6, 8e5, 6e5, 4e5, 2e5, 0.0])
    assert variance == 0.0


def test_one_interval_trades_all_and_bears_no_risk() -> None:
    holdings, cost, variance = almgren_chriss(100.0, 1, 0.5, 1.0, 0.01, risk_aversion=sqrt(2.0))
    assert (holdings.tolist(), cost, variance) == ([100.0, 0.0], 0.01 / 0.5 * 1e4, 0.0)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"intervals": 0}, "intervals must be at least 1, was 0"),
        ({"tau": 0.0}, "tau must be a number above 0, was 0.0"),
        ({"eta": nan}, "eta must be a number above 0, was nan"),
        ({"sigma": -1.0}, "sigma must be a number of 0 or above, was -1.0"),
        ({"risk_aversion": inf}, "risk_aversion must be a number of 0 or above, was inf"),
        ({"quantity": nan}, "quantity must be a number, was nan"),
        ({"gamma": 5e-6}, "eta must be above gamma tau / 2 = 2.5e-06, was 2.5e-06"),
    ],
)
def test_problems_that_make_no_sense_are_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        almgren_chriss(**(PAPER | terms))
