"""A batch of orders and the same orders one by one are the same orders: same fills, same journal, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, Row, Script, daily, fills, flat, market_orders, markets, plain, run, states, waits

from brokers.costs import Commission
from brokers.simulated import Simulated
from brokers.slippage import Slippage
from simulator import Order, OrderBatch, OrderKind, TimeInForce, View
from simulator.assembly import assemble, drive
from simulator.loop.journal import CLEARED, ENDED

LIMIT, STOP, STOP_LIMIT = OrderKind.LIMIT, OrderKind.STOP, OrderKind.STOP_LIMIT
DAY, FOK, IOC = TimeInForce.DAY, TimeInForce.FOK, TimeInForce.IOC
Wanted = Sequence[tuple[Any, ...]]


def batch(orders: Sequence[Order]) -> OrderBatch:
    """Orders as columns."""
    ids, instruments, lots, kinds, limits, stops, tifs = zip(*[order[:7] for order in orders], strict=True)
    numbers, places, sizes, sorts, lives = (np.array(column, np.int64) for column in (ids, instruments, lots, kinds, tifs))
    return OrderBatch(numbers, places, sizes, sorts, np.array(limits, float), np.array(stops, float), lives)


def make(view: View, wanted: Wanted) -> list[Order]:
    """Orders from (lots, instrument, kind, limit, stop, time in force)."""
    return [view.order(lots, *terms) for lots, *terms in wanted]


# A little of everything: gaps, a bar without volume, a missing bar, and too little volume for all.
X: list[Row] = [QUIET, (10, 11, 9, 10, 300), flat(10, 0), (10.4, 11, 10, 10.6, 500), (9, 9.5, 8, 8.5, 400), QUIET, QUIET]
Y: list[Row] = [flat(20), flat(20, 300), None, (21, 22, 19, 20, 900), flat(18, 700), flat(18), QUIET]

EVERYTHING: Wanted = [
    (60, 0),
    (-40, 1),
    (50, 0, LIMIT, 9.5),
    (-50, 0, LIMIT, 10.5),
    (30, 1, STOP, nan, 21.0),
    (-30, 1, STOP, nan, 19.0),
    (30, 0, STOP_LIMIT, 10.8, 10.5),
    (-30, 0, STOP_LIMIT, 8.9, 9.0),
    (20, 1, LIMIT, 18.5, nan, DAY),
    (200, 0, LIMIT, 10.0, nan, IOC),
    (200, 1, 0, nan, nan, FOK),
    (25, 1, 0, nan, nan, IOC),
]
COSTS: dict[str, Simulated] = {
    "plain": plain(participation=0.1),
    "all costs": Simulated(participation=0.1, commission=Commission(0.01, 0.5, 3.0, 1.0, 4.0, True), slippage=Slippage("volume_share")),
    "impact": plain(participation=0.2, slippage=Slippage("square_root", window=3), volume_basis="trailing", volume_window=2),
    "at the close": plain(participation=0.1, timing="next_close", slippage=Slippage("half_spread", spread=0.02)),
    "at this close": plain(participation=0.1, timing="same_close", slippage=Slippage("bps", bps=5.0)),
}


@pytest.mark.parametrize("broker", COSTS.values(), ids=COSTS.keys())
def test_a_batch_is_the_same_as_its_orders_one_by_one(broker: Simulated) -> None:
    tape = markets(X=X, Y=Y)
    steps: Callable[[Callable[[View], Any]], Any] = lambda send: {0: send, 3: send}  # noqa: E731  # a name for two bars
    singles = run(tape, steps(lambda view: make(view, EVERYTHING)), broker)
    batches = run(tape, steps(lambda view: batch(make(view, EVERYTHING))), broker)
    assert len(singles.fills) > 8
    assert singles.journal.read() == batches.journal.read()
    assert repr((singles.fills, singles.orders)) == repr((batches.fills, batches.orders))


@pytest.mark.parametrize("broker", COSTS.values(), ids=COSTS.keys())
def test_a_batch_among_resting_orders_shares_the_bar_with_them(broker: Simulated) -> None:
    """First and last single, the middle a batch: the same as all single."""
    first, middle, last = EVERYTHING[:4], EVERYTHING[4:8], EVERYTHING[8:]

    def mixed(view: View) -> list[Any]:
        return [*make(view, first), batch(make(view, middle)), *make(view, last)]

    tape = markets(X=X, Y=Y)
    singles = run(tape, {0: lambda view: make(view, EVERYTHING)}, broker)
    assert singles.journal.read() == run(tape, {0: mixed}, broker).journal.read()


def test_what_is_left_of_a_batch_waits_over_several_bars() -> None:
    result = run(markets(X=[QUIET] * 5, Y=[flat(20)] * 5), {0: lambda view: batch(make(view, [(250, 0), (50, 1)]))}, plain(participation=0.1))
    assert [fill[:3] for fill in fills(result)] == [(1, 1, 100), (2, 1, 50), (1, 2, 100), (1, 3, 50)]
    assert waits(result) == {1: [("volume cap", 1, 2)], 2: []}


def test_an_older_order_is_served_before_what_is_left_of_a_batch_and_a_newer_one_after() -> None:
    def middle(view: View) -> OrderBatch:
        return batch(make(view, [(90, 0)]))

    steps = {0: lambda view: [view.order(40), middle(view), view.order(40)]}
    result = run(daily(*[QUIET] * 4), steps, plain(participation=0.1))
    assert [fill[:3] for fill in fills(result)] == [(1, 1, 40), (2, 1, 60), (2, 2, 30), (3, 2, 40)]


def test_an_order_of_a_batch_at_no_price_is_rejected_and_the_others_go_on() -> None:
    wanted: Wanted = [(10, 0, LIMIT, nan), (20, 0), (30, 0, STOP, nan, -1.0)]
    result = run(daily(QUIET, QUIET), {0: lambda view: batch(make(view, wanted))})
    assert fills(result) == [(2, 1, 20, 10.0)]
    assert states(result) == {
        1: "rejected: its limit or stop is not a price above 0",
        2: "filled: filled",
        3: "rejected: its limit or stop is not a price above 0",
    }


def test_a_batch_of_nothing_but_bad_prices_leaves_nothing_open() -> None:
    script = Script({0: lambda view: batch(make(view, [(10, 0, LIMIT, nan)]))})
    session, feed = assemble(daily(QUIET, QUIET), script, broker=plain())
    drive(session, feed, 2)
    assert [open_orders for _, _, _, open_orders in script.seen] == [[], []]


def test_an_empty_batch_is_nothing() -> None:
    result = run(daily(QUIET, QUIET), {0: lambda view: market_orders(view)})
    assert len(result.journal_table()) == 0


def test_a_new_target_cancels_what_is_left_of_the_last_one() -> None:
    """All of it at once, oldest first, and nothing in the instrument that is left alone."""
    tape = markets(X=[QUIET] * 5, Y=[flat(20)] * 5, Z=[QUIET] * 5)
    steps = {
        0: lambda view: [view.order(1, 0, LIMIT, 5.0), view.order(1, 2, LIMIT, 5.0), batch(make(view, [(300, 0), (300, 1), (300, 2)]))],
        1: lambda view: view.rebalance(np.array([0.0, 0.0, nan])),
    }
    result = run(tape, steps, plain(participation=0.1))
    table = result.journal_table()
    assert table[table["kind"] == CLEARED]["instrument"].tolist() == [0, 1]
    assert table[table["kind"] == ENDED]["order"].tolist() == [1, 3, 4]
    assert states(result)[3] == "cancelled: replaced by a new target"
    assert waits(result)[3] == [("volume cap", 1, 1)]
    assert result.positions == {"Z": 300}


def test_a_new_target_that_is_there_already_still_cancels() -> None:
    """No order is needed to stay flat; the bid goes all the same."""
    steps = {0: lambda view: [view.order(1, kind=LIMIT, limit=9.0)], 1: lambda view: view.rebalance(np.array([0.0]))}
    result = run(daily(QUIET, QUIET, flat(9)), steps)
    assert states(result) == {1: "cancelled: replaced by a new target"}


def test_an_order_that_is_touched_beside_a_batch_still_counts_once() -> None:
    """It moves into the table with its wait; what it does there is told of one order."""
    steps: dict[int, Callable[[View], Any]] = {0: lambda view: [view.order(150, kind=LIMIT, limit=9.0)], 2: lambda view: batch(make(view, [(10, 0)]))}
    result = run(daily(QUIET, QUIET, QUIET, flat(9), flat(9)), steps, plain(participation=0.1))
    assert fills(result) == [(1, 3, 100, 9.0), (1, 4, 50, 9.0), (2, 4, 10, 9.0)]
    assert waits(result)[1] == [("price not touched", 1, 2), ("volume cap", 3, 3)]


def test_an_order_that_is_touched_beside_a_batch_goes_on_as_it_began() -> None:
    """The same in Python alone: a table changes nothing."""
    tape = daily(QUIET, QUIET, (10, 11, 9.5, 10, 90), flat(9), QUIET)
    wanted: Wanted = [(5, 0, LIMIT, 9.2), (20, 0, STOP, nan, 11.0), (-3, 0, LIMIT, 10.8, nan, DAY)]
    alone = run(tape, {0: lambda view: make(view, wanted), 1: lambda view: make(view, [(7, 0)])}, plain(participation=0.1))
    beside = run(tape, {0: lambda view: make(view, wanted), 1: lambda view: batch(make(view, [(7, 0)]))}, plain(participation=0.1))
    assert alone.journal.read() == beside.journal.read()
