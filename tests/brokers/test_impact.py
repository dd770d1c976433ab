"""The square root of impact, as a plain function and as the market's rule."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.slippage import square_root_impact
from simulator.kernels import rules


def test_a_hundredth_of_a_days_volume_costs_a_tenth_of_a_days_volatility() -> None:
    assert square_root_impact(10_000, 1e6, 0.02) == 0.02 * 0.1
    assert square_root_impact(-10_000, 1e6, 0.02, y=0.5) == 0.5 * 0.02 * 0.1
    assert square_root_impact(0, 1e6, 0.02) == 0.0


@given(st.floats(0, 1e9), st.floats(1, 1e12), st.floats(0, 0.1), st.floats(0, 5), st.floats(0.01, 1e5))
def test_it_is_what_the_market_charges(quantity: float, adv: float, sigma: float, y: float, price: float) -> None:
    fraction = square_root_impact(quantity, adv, sigma, y)
    for sign in (1.0, -1.0):
        paid = rules.slip(price, sign > 0, False, nan, rules.SQUARE_ROOT, y, 0.0, sigma, quantity / adv)
        assert paid == max(price * (1.0 + sign * fraction), 0.0)


@given(st.floats(1, 1e9), st.floats(1, 1e12), st.floats(1e-6, 0.1))
def test_four_times_the_quantity_costs_twice_as_much(quantity: float, adv: float, sigma: float) -> None:
    assert square_root_impact(4.0 * quantity, adv, sigma) == pytest.approx(2.0 * square_root_impact(quantity, adv, sigma), rel=1e-12)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ((1.0, 0.0, 0.02), "adv must be a number above 0, was 0.0"),
        ((1.0, nan, 0.02), "adv must be a number above 0, was nan"),
        ((1.0, 1e6, -0.02), "sigma must be a number of 0 or above, was -0.02"),
        ((1.0, 1e6, 0.02, inf), "y must be a number of 0 or above, was inf"),
        ((nan, 1e6, 0.02), "quantity must be a number, was nan"),
    ],
)
def test_impact_of_what_makes_no_sense_is_refused(terms: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        square_root_impact(*terms)
