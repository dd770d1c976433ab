"""Options: closed forms, independent values, limits, and what must hold between prices."""

from __future__ import annotations

from math import exp, isnan, log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from simulator.errors import DataError, ScenarioError
from simulator.models.options import basket_deltas, basket_moments, basket_price, black_scholes

# The founding document's basket: three assets, of which the option is far in the money.
SEED: dict[str, Any] = {
    "spots": [100.0, 50.0, 150.0],
    "weights": [0.5, 1.0, 0.8],
    "strike": 200.0,
    "vols": [0.2, 0.25, 0.3],
    "dividends": 0.0,
    "rate": 0.01,
    "maturity": 1.0,
    "correlation": 0.5,
}
TWO: dict[str, Any] = SEED | {
    "spots": [100.0, 80.0],
    "weights": [0.6, 0.5],
    "strike": 101.0,
    "vols": [0.25, 0.35],
    "dividends": [0.01, 0.03],
    "rate": 0.04,
    "maturity": 0.75,
    "correlation": [[1.0, 0.4], [0.4, 1.0]],
}


def by_quadrature(
    spots: Any, weights: Any, strike: float, vols: Any, dividends: Any, rate: float, maturity: float, correlation: Any, sign: float = 1.0
) -> float:
    """Two assets: Black's formula in the second, given the first, by Gauss and Hermite."""
    s, w, v, q = (np.asarray(x, float) for x in (spots, weights, vols, dividends))
    rho = float(np.asarray(correlation)[0, 1])
    nodes, masses = np.polynomial.hermite_e.hermegauss(180)
    first = w[0] * s[0] * np.exp((rate - q[0] - 0.5 * v[0] ** 2) * maturity + v[0] * sqrt(maturity) * nodes)
    own = v[1] * sqrt((1.0 - rho**2) * maturity)
    mean = w[1] * s[1] * np.exp((rate - q[1] - 0.5 * (rho * v[1]) ** 2) * maturity + rho * v[1] * sqrt(maturity) * nodes)
    left = strike - first
    safe = np.where(left > 0.0, left, 1.0)
    d1 = np.log(mean / safe) / own + 0.5 * own
    call = np.where(left > 0.0, mean * ndtr(d1) - safe * ndtr(d1 - own), mean - left)
    payoff = call if sign > 0 else call - (mean - left)
    return exp(-rate * maturity) * float(masses @ payoff) / sqrt(2.0 * np.pi)


def test_the_founding_basket_costs_what_exact_integration_says_and_not_what_its_code_printed() -> None:
    """31.77276 discounted, by two-dimensional quadrature; the toy printed 15.65, below the no-arbitrage bound of 22.2."""
    price, error = basket_price(**SEED)
    assert error < 0.01
    assert abs(price - 31.77276) < 4.0 * error
    assert basket_moments(**SEED) == pytest.approx(31.9018, abs=1e-4)


@pytest.mark.parametrize("kind", ["call", "put"])
@pytest.mark.parametrize("change", [{}, {"strike": 70.0}, {"strike": 140.0}, {"maturity": 3.0}, {"correlation": [[1.0, -0.9], [-0.9, 1.0]]}])
def test_two_assets_agree_with_quadrature(kind: Any, change: dict[str, Any]) -> None:
    basket = TWO | change
    exact = by_quadrature(**basket, sign=1.0 if kind == "call" else -1.0)
    price, error = basket_price(**basket, kind=kind)
    assert 0.0 < error < 0.02
    assert abs(price - exact) < 4.0 * error


def test_the_standard_error_is_honest() -> None:
    exact = by_quadrature(**TWO)
    scores = [(found.price - exact) / found.error for found in (basket_price(**TWO, paths=2_000, seed=seed) for seed in range(150))]
    assert abs(np.mean(scores)) < 4.0 / sqrt(150.0)
    assert 0.8 < np.std(scores) < 1.2


def test_control_variates_are_worth_their_while() -> None:
    """A plain estimate from as many paths has an error of about 0.1."""
    assert basket_price(**TWO).error < 0.005


def test_calls_and_puts_keep_parity_path_by_path() -> None:
    call, put = basket_price(**TWO, kind="call"), basket_price(**TWO, kind="put")
    forwards = np.array(TWO["spots"]) * np.exp((0.04 - np.array(TWO["dividends"])) * 0.75) @ np.array(TWO["weights"])
    assert call.price - put.price == pytest.approx(exp(-0.04 * 0.75) * (forwards - 101.0), abs=1e-10)
    assert call.error == pytest.approx(put.error)


def test_common_random_numbers_let_prices_be_compared() -> None:
    """A hundredth more of a spot moves the price by its delta, though the error of each price is as large as the move."""
    up = TWO | {"spots": [100.01, 80.0]}
    move = basket_price(**up, paths=20_000).price - basket_price(**TWO, paths=20_000).price
    assert move == pytest.approx(0.01 * float(basket_deltas(**TWO)[0]), rel=0.02)
    assert basket_price(**TWO) == basket_price(**TWO)
    assert basket_price(**TWO, seed=1) != basket_price(**TWO)


@pytest.mark.parametrize("kind", ["call", "put"])
@pytest.mark.parametrize("weights", [[2.0], [2.0, 0.0]])
def test_one_asset_is_black_and_scholes(kind: Any, weights: list[float]) -> None:
    n = len(weights)
    price, error = basket_price([100.0] * n, weights, 190.0, [0.3] * n, 0.02, 0.05, 0.5, 0.2 if n > 1 else 1.0, kind)
    assert error == 0.0
    assert price == pytest.approx(2.0 * black_scholes(100.0, 95.0, 0.3, 0.05, 0.02, 0.5, kind).price, abs=1e-12)
    assert basket_moments([100.0] * n, weights, 190.0, [0.3] * n, 0.02, 0.05, 0.5, 0.2 if n > 1 else 1.0, kind) == price


@pytest.mark.parametrize("price", [lambda **terms: basket_price(**terms).price, basket_moments])
def test_limits_are_exact(price: Any) -> None:
    discount = exp(-0.04 * 0.75)
    forward = float(np.array(TWO["spots"]) * np.exp((0.04 - np.array(TWO["dividends"])) * 0.75) @ np.array(TWO["weights"]))
    assert price(**TWO | {"vols": 0.0}) == pytest.approx(max(discount * (forward - 101.0), 0.0), abs=1e-12)
    assert price(**TWO | {"vols": 0.0, "strike": 110.0}, kind="put") == pytest.approx(discount * (110.0 - forward), abs=1e-12)
    assert price(**TWO | {"maturity": 0.0, "strike": 90.0}) == 10.0
    assert price(**TWO | {"maturity": 0.0, "strike": 90.0}, kind="put") == 0.0
    assert price(**TWO | {"strike": 0.0}) == pytest.approx(discount * forward, abs=1e-12)
    assert price(**TWO | {"strike": 0.0}, kind="put") == 0.0


def test_assets_that_move_as_one_are_one_asset() -> None:
    """A singular correlation is one all the same."""
    alike = TWO | {"vols": 0.25, "dividends": 0.0, "correlation": 1.0}
    price, error = basket_price(**alike)
    assert price == pytest.approx(black_scholes(100.0, 101.0, 0.25, 0.04, 0.0, 0.75).price, abs=1e-6)
    assert error < 1e-6


def test_a_spread_has_a_price_though_not_by_moments() -> None:
    """Exchanging one asset for another: Margrabe's closed form."""
    price, error = basket_price([100.0, 95.0], [1.0, -1.0], 0.0, [0.2, 0.3], 0.0, 0.03, 1.0, 0.5)
    spread = sqrt(0.04 + 0.09 - 2 * 0.5 * 0.06)
    d1 = log(100.0 / 95.0) / spread + 0.5 * spread
    assert abs(price - (100.0 * ndtr(d1) - 95.0 * ndtr(d1 - spread))) < 4.0 * error
    with pytest.raises(DataError, match="moment matching needs weights of at least 0"):
        basket_moments([100.0, 95.0], [1.0, -1.0], 0.0, [0.2, 0.3], 0.0, 0.03, 1.0, 0.5)


@pytest.mark.parametrize("kind", ["call", "put"])
def test_deltas_are_the_slopes_of_the_price(kind: Any) -> None:
    deltas = basket_deltas(**TWO, kind=kind)
    for k, step in enumerate(np.eye(2) * 1e-4):
        up, down = (basket_moments(**TWO | {"spots": np.array(TWO["spots"]) + side * step}, kind=kind) for side in (1.0, -1.0))
        assert deltas[k] == pytest.approx((up - down) / 2e-4, rel=1e-6)
    sure = basket_deltas(**TWO | {"strike": 0.0}, kind=kind)
    assert sure == pytest.approx(np.array(TWO["weights"]) * np.exp(-np.array(TWO["dividends"]) * 0.75) if kind == "call" else [0.0, 0.0])


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"correlation": [[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]}, "positive semi-definite; its smallest eigenvalue is -0.8"),
        ({"correlation": -0.6}, "positive semi-definite"),
        ({"correlation": np.array([[1.0, 0.2, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 1.0]])}, "symmetric with ones"),
        ({"correlation": np.eye(2)}, r"must be \(3, 3\)"),
        ({"vols": [0.2, 0.2]}, "vols must be one number for each of 3 assets"),
        ({"vols": -0.2}, "vols at least 0"),
        ({"spots": [100.0, 0.0, 1.0]}, "spots must be above 0"),
        ({"dividends": float("nan")}, "dividends must be finite"),
    ],
)
def test_what_cannot_be_is_refused(terms: dict[str, Any], words: str) -> None:
    for price in (basket_price, basket_moments, basket_deltas):
        with pytest.raises(DataError, match=words):
            price(**SEED | terms)


def test_settings_that_cannot_be_meant_are_refused() -> None:
    for terms, words in (
        ({"kind": "cal"}, "kind must be 'call' or 'put'"),
        ({"maturity": -1.0}, "maturity must be a number of at least 0"),
        ({"paths": 101}, "even number"),
        ({"strike": float("inf")}, "strike and rate must be numbers"),
    ):
        with pytest.raises(ScenarioError, match=words):
            basket_price(**SEED | terms)
    with pytest.raises(ScenarioError, match=r"vol must be a number of at least 0, was -0\.1"):
        black_scholes(100.0, 100.0, -0.1, 0.0, 0.0, 1.0)


# Black and Scholes.


def test_black_scholes_agrees_with_hulls_example() -> None:
    """Hull, Options, Futures and Other Derivatives, example 15.6: S 42, K 40, r 10 %, sigma 20 %, six months."""
    assert black_scholes(42.0, 40.0, 0.2, 0.1, 0.0, 0.5).price == pytest.approx(4.76, abs=0.005)
    assert black_scholes(42.0, 40.0, 0.2, 0.1, 0.0, 0.5, "put").price == pytest.approx(0.81, abs=0.005)


@given(
    spot=st.floats(50, 200),
    vol=st.floats(0.05, 0.8),
    rate=st.floats(-0.02, 0.1),
    dividend=st.floats(0, 0.08),
    years=st.floats(0.05, 3),
    put=st.booleans(),
)
def test_greeks_are_the_slopes_of_the_price(spot: float, vol: float, rate: float, dividend: float, years: float, put: bool) -> None:
    kind: Any = "put" if put else "call"
    at = black_scholes(spot, 100.0, vol, rate, dividend, years, kind)

    def price(ds: float = 0.0, dv: float = 0.0, dt: float = 0.0, dr: float = 0.0) -> float:
        return black_scholes(spot + ds, 100.0, vol + dv, rate + dr, dividend, years + dt, kind).price

    h = 1e-4
    assert at.delta == pytest.approx((price(ds=h) - price(ds=-h)) / (2 * h), abs=1e-5)
    assert at.gamma == pytest.approx((price(ds=0.01) - 2 * price() + price(ds=-0.01)) / 1e-4, abs=1e-4)
    assert at.vega == pytest.approx((price(dv=h) - price(dv=-h)) / (2 * h), rel=1e-4, abs=1e-3)
    assert at.theta == pytest.approx(-(price(dt=h) - price(dt=-h)) / (2 * h), rel=1e-3, abs=1e-2)
    assert at.rho == pytest.approx((price(dr=h) - price(dr=-h)) / (2 * h), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize(("vol", "years", "strike"), [(0.0, 1.0, 90.0), (0.2, 0.0, 90.0), (0.2, 1.0, 0.0)])
def test_black_scholes_at_its_limits_is_a_certain_payment(vol: float, years: float, strike: float) -> None:
    call, put = (black_scholes(100.0, strike, vol, 0.05, 0.02, years, kind) for kind in ("call", "put"))  # type: ignore[arg-type]
    assert call.price == pytest.approx(100.0 * exp(-0.02 * years) - strike * exp(-0.05 * years), abs=1e-12)
    assert call.delta == pytest.approx(exp(-0.02 * years), abs=1e-12)
    assert (put.price, put.delta, call.gamma, call.vega) == (0.0, 0.0, 0.0, 0.0)
    near = black_scholes(100.0, strike or 1e-12, vol or 1e-6, 0.05, 0.02, years or 1e-12)
    assert near.price == pytest.approx(call.price, abs=1e-6)
    assert near.theta == pytest.approx(call.theta, abs=1e-6)
    assert near.rho == pytest.approx(call.rho, abs=1e-6)


def test_at_a_kink_there_is_no_delta() -> None:
    assert isnan(black_scholes(100.0, 100.0, 0.2, 0.0, 0.0, 0.0).delta)
    assert np.isnan(basket_deltas(**TWO | {"maturity": 0.0, "strike": 100.0})).all()
