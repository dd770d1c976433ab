"""A change that takes time meets what has happened by the time it arrives."""

from __future__ import annotations

import numpy as np

from brokers.costs import FREE
from brokers.simulated import Simulated
from brokers.slippage import NO_SLIPPAGE
from simulator import SECOND, Instrument, Proposal, Replace, Tape, Twap, View, simulate

HALF_HOUR = 1800 * SECOND


class Shrink:
    """Sells 21 in three slices, and after the next bar wants 12 in all."""

    def on_bars(self, view: View) -> Proposal:
        if view.row == 0:
            return [view.order(-21)]
        return [Replace(view.ids.next(), 1, -12)] if view.row == 1 else ()


def test_a_replacement_counts_the_slices_that_filled_before_it_arrived() -> None:
    price = np.full(10, 100.0)
    tape = Tape.of([Instrument("A")], np.arange(1, 11) * HALF_HOUR, price, price, price, price, price * 10, interval=HALF_HOUR)
    broker = Simulated(commission=FREE, slippage=NO_SLIPPAGE, latency_seconds=60.0, slicing=Twap(3, 1800.0))
    result = simulate(tape, Shrink(), broker=broker, check=True)
    # The first slice of 7 fills at the open of bar 2. The replacement, sent at the close of bar 1, arrives a minute into bar 2 and finds it filled.
    replaced = next(order for order in result.orders if order.order == 1)
    assert (replaced.state, replaced.filled) == ("replaced", -7.0)
    assert sum(fill.quantity for fill in result.fills) == -12.0
    assert next(fill.quantity for fill in result.fills) == -7.0
