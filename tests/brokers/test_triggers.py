"""Resting orders are looked at only in bars that reach a trigger: nothing else may show it."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from small_markets import QUIET, daily, fills, flat, plain, run, waits

from simulator import Order, OrderBatch, OrderKind, View

LIMIT, STOP, STOP_LIMIT = OrderKind.LIMIT, OrderKind.STOP, OrderKind.STOP_LIMIT
prices = st.integers(1, 12).map(float)


@st.composite
def rows(draw: Any) -> list[tuple[float, float, float, float, float]]:
    """A few bars on a coarse grid of prices, so that touches are common."""
    made = []
    for _ in range(draw(st.integers(3, 10))):
        path = [draw(prices) for _ in range(4)]
        made.append((path[0], max(path), min(path), path[3], draw(st.sampled_from([0.0, 40.0, 1000.0]))))
    return made


orders = st.tuples(st.integers(0, 3), st.sampled_from([LIMIT, STOP, STOP_LIMIT]), st.sampled_from([-7, -3, 3, 7]), prices, prices)


def as_batch(view: View, wanted: list[Order]) -> OrderBatch:
    """The same orders as a table, which is looked at in every bar."""
    _, instruments, lots, kinds = (np.array(column, np.int64) for column in zip(*[order[:4] for order in wanted], strict=True))
    return OrderBatch(
        np.array([order.id for order in wanted]),
        instruments,
        lots,
        kinds,
        np.array([order.limit for order in wanted]),
        np.array([order.stop for order in wanted]),
    )


@given(rows(), st.lists(orders, min_size=1, max_size=6), st.sampled_from([0.1, 1.0]), st.sampled_from([0, 1]))
def test_an_order_that_is_looked_at_when_touched_does_as_one_that_is_always_looked_at(
    table: list[Any], wanted: list[Any], participation: float, through: int
) -> None:
    """Same journals, byte for byte: the same fills, ends and waits."""

    def sent(view: View) -> list[Order]:
        return [
            view.order(lots, 0, kind, limit if kind != STOP else nan, stop if kind != LIMIT else nan)
            for bar, kind, lots, limit, stop in wanted
            if bar == view.row
        ]

    def tabled(view: View) -> Any:
        made = sent(view)
        return as_batch(view, made) if made else ()

    tape, broker = daily(*table, tick="1"), plain(participation=participation, limit_through_ticks=through)
    singles, batches = (run(tape, dict.fromkeys(range(4), send), broker) for send in (sent, tabled))
    assert singles.journal.read() == batches.journal.read()
    assert waits(singles) == waits(batches)


def test_orders_on_both_sides_of_the_market_each_have_their_trigger() -> None:
    """A bid, an offer, and stops on either side: bar 2 reaches down to the bid and the sell stop, bar 3 up to the others."""

    def send(view: View) -> list[Order]:
        return [
            view.order(1, kind=LIMIT, limit=9.0),
            view.order(-2, kind=LIMIT, limit=11.0),
            view.order(3, kind=STOP, stop=11.0),
            view.order(-4, kind=STOP, stop=9.0),
        ]

    result = run(daily(QUIET, QUIET, (10, 10, 9, 10, 1000), (10, 11, 10, 10, 1000)), {0: send})
    assert fills(result) == [(1, 2, 1, 9.0), (4, 2, -4, 9.0), (2, 3, -2, 11.0), (3, 3, 3, 11.0)]


def test_a_price_that_rounds_to_nothing_on_the_grid_is_no_price() -> None:
    def send(view: View) -> list[Order]:
        return [view.order(1, kind=LIMIT, limit=0.004), view.order(-1, kind=STOP, stop=0.004), view.order(-1, kind=LIMIT, limit=0.004)]

    result = run(daily(QUIET, QUIET, tick="0.01"), {0: send})
    assert [str(order.state) for order in result.orders] == ["rejected", "rejected", "filled"]


def test_a_trigger_goes_when_its_order_goes() -> None:
    """The higher bid is cancelled; the lower one still waits, and fills at its own price."""
    steps: Any = {
        0: lambda view: [view.order(1, kind=LIMIT, limit=9.5), view.order(2, kind=LIMIT, limit=9.0)],
        1: lambda view: [view.cancel(1)],
    }
    assert fills(run(daily(QUIET, QUIET, flat(9.4), flat(9.0)), steps)) == [(2, 3, 2, 9.0)]


def test_a_stop_limit_once_triggered_waits_at_its_limit() -> None:
    """Bar 1 touches the stop at 11 and closes above the limit of 10.5; bar 3 comes back to it."""
    send = {0: lambda view: [view.order(1, kind=STOP_LIMIT, limit=10.5, stop=11.0)]}
    assert fills(run(daily(QUIET, (10, 11, 10, 10.8, 1000), flat(10.8), (10.8, 10.8, 10.5, 10.6, 1000)), send)) == [(1, 3, 1, 10.5)]


def test_two_orders_share_a_bars_volume_by_their_moment_and_then_by_acceptance() -> None:
    """The bar gives 100. The third is first at the open; of the other two, every path comes by 9.5 before 9.0."""

    def send(view: View) -> list[Order]:
        return [view.order(60, kind=LIMIT, limit=9.0), view.order(30, kind=LIMIT, limit=9.5), view.order(50)]

    result = run(daily(QUIET, (10, 10, 9, 9, 1000)), {0: send}, plain(participation=0.1))
    assert fills(result) == [(3, 1, 50, 10.0), (2, 1, 30, 9.5), (1, 1, 20, 9.0)]
    assert waits(result) == {1: [("volume cap", 1, 1)], 2: [], 3: []}


def test_of_two_orders_at_one_price_the_older_takes_the_volume_first() -> None:
    def send(view: View) -> list[Order]:
        return [view.order(60, kind=LIMIT, limit=9.0), view.order(70, kind=LIMIT, limit=9.0)]

    result = run(daily(QUIET, (10, 10, 9, 9, 1000)), {0: send}, plain(participation=0.1))
    assert fills(result) == [(1, 1, 60, 9.0), (2, 1, 40, 9.0)]
