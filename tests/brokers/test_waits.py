"""What orders wait for, as runs of (reason, first bar, last bar): also over bars that nobody looked at."""

from __future__ import annotations

from small_markets import QUIET, Script, daily, flat, market_orders, markets, plain, run, waits

from brokers.desk import SimulatedBroker
from simulator import Order, OrderBatch, OrderKind, View, Waited
from simulator.assembly import assemble, drive
from simulator.loop.journal import WAITED
from simulator.loop.session import step

LIMIT, STOP = OrderKind.LIMIT, OrderKind.STOP


def bid(view: View) -> list[Order]:
    return [view.order(100, kind=LIMIT, limit=9.0)]


def test_an_order_that_fills_at_once_waited_for_nothing() -> None:
    assert waits(run(daily(QUIET, QUIET), {0: lambda view: [view.order(100)]})) == {1: []}


def test_a_wait_runs_from_the_first_bar_to_the_last_before_the_fill() -> None:
    result = run(daily(QUIET, QUIET, QUIET, flat(9)), {0: bid})
    assert waits(result) == {1: [("price not touched", 1, 2)]}


def test_bars_that_nobody_looked_at_are_told_apart_by_their_volume() -> None:
    tape = daily(QUIET, QUIET, flat(10, 0), flat(10, 0), QUIET, flat(9, 0), flat(9))
    assert waits(run(tape, {0: bid})) == {1: [("price not touched", 1, 1), ("zero volume", 2, 3), ("price not touched", 4, 4), ("zero volume", 5, 5)]}


def test_missing_bars_are_a_wait_of_their_own() -> None:
    tape = markets(X=[QUIET, None, None, QUIET, flat(9)], Y=[QUIET] * 5)
    assert waits(run(tape, {0: bid})) == {1: [("no bar", 1, 2), ("price not touched", 3, 3)]}


def test_a_touch_that_is_not_through_is_told() -> None:
    tape = daily(QUIET, (10.0, 10.0, 9.0, 10.0, 1000.0), (10.0, 10.0, 8.98, 10.0, 1000.0), tick="0.01")
    assert waits(run(tape, {0: bid}, plain(limit_through_ticks=2))) == {1: [("price touched but not through", 1, 1)]}


def test_what_the_volume_cap_leaves_over_waits_for_volume() -> None:
    result = run(daily(*[QUIET] * 4), {0: lambda view: [view.order(100)]}, plain(participation=0.04))
    assert waits(result) == {1: [("volume cap", 1, 2)]}


def test_a_wait_that_goes_on_at_the_end_is_told_too() -> None:
    """Once by a single order that nobody looked at, and once by one in a table."""
    tape = daily(QUIET, QUIET, flat(10, 0), QUIET, QUIET)
    for send in (lambda view: [view.order(100, kind=STOP, stop=11.0)], stop_in_a_batch):
        assert waits(run(tape, {0: send})) == {1: [("price not touched", 1, 1), ("zero volume", 2, 2), ("price not touched", 3, 4)]}


def stop_in_a_batch(view: View) -> OrderBatch:
    batch = market_orders(view, (0, 100))
    batch.kinds[:], batch.stops[:] = STOP, 11.0
    return batch


def test_an_order_sent_after_the_last_bar_has_waited_for_nothing_yet() -> None:
    result = run(daily(QUIET, QUIET), {1: bid})
    assert waits(result) == {1: []}
    assert [str(order.state) for order in result.orders] == ["accepted"]


def test_asking_what_orders_wait_for_changes_nothing() -> None:
    tape = daily(QUIET, QUIET, flat(10, 0), QUIET, flat(9))
    session, feed = assemble(tape, Script({0: bid}), broker=plain())
    asked: list[list[Waited]] = []
    assert isinstance(session.broker, SimulatedBroker)
    for bars in feed:
        step(session, bars)
        asked.append(session.broker.waiting())
        assert session.broker.waiting() == asked[-1]
    other, again = assemble(tape, Script({0: bid}), broker=plain())
    drive(other, again, len(tape))
    assert session.journal.read() == other.journal.read()
    assert [len(waited) for waited in asked] == [0, 1, 2, 3, 0]


def test_waits_are_journalled_when_the_order_leaves() -> None:
    table = run(daily(QUIET, QUIET, QUIET, flat(9)), {0: bid}).journal_table()
    assert table[table["kind"] == WAITED][["at", "order"]].tolist() == [(4 * 86_400 * 10**9, 1)]


def test_a_stop_that_waits_for_volume_is_looked_at_in_every_bar() -> None:
    """Triggered at 11 in a bar that leaves it nothing; the price never comes back, and the next bar fills it all the same."""
    tape = daily(QUIET, (10.0, 11.0, 10.0, 10.0, 5.0), flat(10, 0), flat(10))
    result = run(tape, {0: lambda view: [view.order(50, kind=STOP, stop=11.0)]}, plain(participation=0.1))
    assert waits(result) == {1: [("volume cap", 1, 1), ("zero volume", 2, 2)]}
    assert [fill.bar for fill in result.fills] == [3]
