"""The moving average cross on a few bars, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from small_markets import Row, flat, markets, plain

from simulator import Result, Tape, simulate
from strategies.moving_average_cross import MovingAverageCross


def run(tape: Tape, **terms: Any) -> Result:
    return simulate(tape, MovingAverageCross(1, 2, **terms), cash=1000.0, broker=plain(), check=True)


def trades(result: Result) -> list[tuple[str, int, float]]:
    return [(fill.symbol, fill.bar, fill.quantity) for fill in result.fills]


def test_it_buys_what_begins_to_rise_and_sells_what_begins_to_fall() -> None:
    """The last close against the mean of two: above it from bar 2 to bar 3, and below from bar 4. 1,000 at 11 are 90 shares."""
    rows: list[Row] = [flat(price) for price in (10, 9, 11, 12, 10, 9)]
    assert trades(run(markets(X=rows))) == [("X", 3, 90), ("X", 5, -90)]


def test_it_trades_only_when_an_instrument_changes_sides() -> None:
    """X rises on and on, and its share drifts."""
    rows: list[Row] = [flat(price) for price in (10, 20, 30, 40, 50)]
    assert trades(run(markets(X=rows))) == [("X", 2, 50)]


def test_each_instrument_has_an_equal_share_of_what_is_invested() -> None:
    """Half of 80 % of 1,000 at 20, and at 5."""
    tape = markets(X=[flat(10), flat(20), flat(21)], Y=[flat(4), flat(5), flat(6)])
    assert trades(run(tape, weight=0.8)) == [("X", 2, 20), ("Y", 2, 80)]


def test_what_is_not_warm_yet_is_left_alone() -> None:
    tape = markets(X=[flat(10), flat(20), flat(21), flat(22)], Y=[None, None, flat(5), flat(6)])
    assert trades(run(tape)) == [("X", 2, 25)]


def test_a_price_that_stands_still_does_not_rise() -> None:
    assert trades(run(markets(X=[flat(10)] * 5))) == []


@pytest.mark.parametrize(("fast", "slow"), [(0, 2), (2, 2), (3, 2)])
def test_the_fast_average_is_faster_than_the_slow_one(fast: int, slow: int) -> None:
    with pytest.raises(ValueError, match=f"fast must be at least 1 and below slow, were {fast} and {slow}"):
        MovingAverageCross(fast, slow)


def test_a_weight_is_above_nothing() -> None:
    with pytest.raises(ValueError, match="weight must be above 0, was 0"):
        MovingAverageCross(weight=0.0)
