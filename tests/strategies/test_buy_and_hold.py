"""Buy and hold on a few bars, worked out by hand."""

from __future__ import annotations

import pytest
from small_markets import flat, markets, plain

from simulator import simulate
from strategies.buy_and_hold import BuyAndHold


def test_it_buys_equal_parts_at_once_and_never_again() -> None:
    """500 of each at their closes of 10 and 20 are 50 and 25 shares, at whatever the next open is."""
    tape = markets(X=[flat(10), flat(11), flat(50)], Y=[flat(20), flat(19), flat(1)])
    result = simulate(tape, BuyAndHold(), cash=1000.0, broker=plain(), check=True)
    assert [(fill.symbol, fill.bar, fill.quantity, fill.price) for fill in result.fills] == [("X", 1, 50, 11.0), ("Y", 1, 25, 19.0)]
    assert result.equity.tolist() == [1000.0, 1000.0 - 550 - 475 + 550 + 475, -25.0 + 2500 + 25]


def test_what_begins_later_is_bought_when_it_begins() -> None:
    tape = markets(X=[flat(10)] * 4, Y=[None, None, flat(20), flat(20)])
    result = simulate(tape, BuyAndHold(0.5), cash=1000.0, broker=plain(), check=True)
    assert [(fill.symbol, fill.bar, fill.quantity) for fill in result.fills] == [("X", 1, 25), ("Y", 3, 12)]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_above_nothing(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be above 0, was"):
        BuyAndHold(weight)
