"""The step: in which order things happen, as a strategy and the journal see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from small_markets import QUIET, Script, daily, fills, flat, hourly, market_orders, markets, plain, run

from simulator import Account, Ended, Event, Fill, Halt, Indicator, Limits, Order, OrderKind, Proposal, Sliced, Tape, Twap, View, sma
from simulator.assembly import assemble, drive
from simulator.loop.clocks import ReplayClock
from simulator.loop.journal import FILL, HALT, ORDER, RISK, SEND, WORK
from simulator.loop.session import step

RISING = daily(flat(10), flat(11), flat(12), flat(13))


def watched(tape: Tape, steps: dict[int, Callable[[View], Any]], **terms: Any) -> Script:
    """A script after its run."""
    script = Script(steps)
    session, feed = assemble(tape, script, broker=plain(**terms))
    assert drive(session, feed, len(tape)) == len(tape)
    return script


def test_nothing_that_is_sent_fills_in_the_bar_that_it_was_decided_on() -> None:
    every: dict[int, Callable[[View], Any]] = dict.fromkeys(range(4), lambda view: [view.order(1)])
    assert [fill[:2] for fill in fills(run(RISING, every))] == [(1, 1), (2, 2), (3, 3)]


def test_a_strategy_sees_its_fills_booked_and_marked_at_this_close() -> None:
    """Bought at the open of 11 and marked at the close of 14."""
    script = watched(daily(QUIET, (11, 15, 11, 14, 1000), QUIET), {0: lambda view: [view.order(100)]})
    assert [(cash - 1e6, equity - 1e6, held) for cash, equity, held, _ in script.seen[:2]] == [(0, 0, [0.0]), (-1100, 300, [100.0])]


def test_a_strategy_sees_which_of_its_orders_are_open() -> None:
    script = watched(daily(*[QUIET] * 4), {0: lambda view: [view.order(250), view.order(5, kind=OrderKind.LIMIT, limit=9.0)]}, participation=0.1)
    assert [open_orders for _, _, _, open_orders in script.seen] == [[], [1, 2], [1, 2], [2]]


def test_the_clock_is_at_the_close_that_the_strategy_sees() -> None:
    session, feed = assemble(RISING, Script({}), broker=plain())
    times = []
    for bars in feed:
        step(session, bars)
        times.append((session.clock.now, session.view.now))
    assert times == [(at, at) for at in RISING.ats]
    assert ReplayClock().now == 0


@dataclass
class Listener:
    """Sends what it is told, and keeps what it hears of its orders."""

    steps: dict[int, Callable[[View], Any]]
    heard: list[tuple[int, list[type]]] = field(default_factory=list)

    def on_bars(self, view: View) -> Proposal:
        if view.events:
            self.heard.append((view.row, [type(event) for event in view.events]))
        return self.steps[view.row](view) if view.row in self.steps else ()


def heard(tape: Tape, steps: dict[int, Callable[[View], Any]], **terms: Any) -> list[tuple[int, list[type[Event]]]]:
    listener = Listener(steps)
    session, feed = assemble(tape, listener, broker=plain(**terms))
    drive(session, feed, len(tape))
    return listener.heard


def test_a_strategy_hears_what_happened_to_its_orders() -> None:
    assert heard(RISING, {0: lambda view: [view.order(1)]}) == [(1, [Fill])]


def test_what_the_broker_answers_at_once_is_heard_at_the_next_bar() -> None:
    assert heard(RISING, {1: lambda view: [view.cancel(7)]}) == [(2, [Ended])]


def test_a_strategy_hears_of_a_halt_in_the_bar_that_brought_it() -> None:
    tape = daily(QUIET, (10, 10, 5, 5, 1000), flat(5))
    listener = Listener({0: lambda view: [view.order(100)]})
    session, feed = assemble(tape, listener, broker=plain(), account=Account(1000.0), limits=Limits(drawdown_max=0.1, on_halt="freeze"))
    drive(session, feed, len(tape))
    assert listener.heard == [(1, [Fill, Halt])]


def test_a_strategy_hears_of_its_slices() -> None:
    assert heard(RISING, {0: lambda view: [view.order(2, schedule=Twap(2, 86_400.0))]}) == [(1, [Sliced, Fill, Sliced]), (2, [Fill])]


def test_the_rows_of_an_instant_are_in_the_order_of_their_phases() -> None:
    """Fills, then the halt that they cause, then what is sent."""
    steps: dict[int, Callable[[View], Any]] = {0: lambda view: [view.order(100)], 1: lambda view: [view.order(-100)]}
    tape = daily(QUIET, (10, 10, 5, 5, 1000), flat(5))
    table = run(tape, steps, cash=1000.0, limits=Limits(drawdown_max=0.1)).journal_table()
    assert table[["at", "phase", "kind"]].tolist() == [
        (tape.ats[0], SEND, ORDER),
        (tape.ats[1], WORK, FILL),
        (tape.ats[1], RISK, HALT),
        (tape.ats[1], SEND, ORDER),
        (tape.ats[2], WORK, FILL),
    ]


def test_a_bar_in_which_nothing_happens_leaves_no_row() -> None:
    assert len(run(RISING, {}).journal_table()) == 0


@dataclass
class Warm:
    """Notes at which rows it is called, and buys at the first."""

    window: int
    called: list[int] = field(default_factory=list)

    def indicators(self) -> dict[str, Indicator]:
        return {"mean": sma(self.window)}

    def on_bars(self, view: View) -> Proposal:
        self.called.append(view.row)
        return [view.order(1)] if len(self.called) == 1 else ()


def test_a_strategy_is_first_called_when_one_of_its_instruments_is_warm() -> None:
    """Y is warm with its third bar, at row 2; X, which misses one, at row 3."""
    tape = markets(X=[QUIET, None, *[QUIET] * 4], Y=[QUIET] * 6)
    strategy = Warm(3)
    session, feed = assemble(tape, strategy, broker=plain())
    drive(session, feed, len(tape))
    assert strategy.called == [2, 3, 4, 5]


def test_a_strategy_that_is_never_warm_is_never_called() -> None:
    strategy = Warm(9)
    session, feed = assemble(RISING, strategy, broker=plain())
    assert drive(session, feed, len(RISING)) == 4
    assert strategy.called == []


def test_a_tape_that_grows_row_by_row_gives_the_same_journal() -> None:
    """Indicators, orders, a batch and all: each bar is appended just before its step."""
    rows = [(10 + n % 3, 11 + n % 3, 9 + n % 2, 10 + n % 2, 1000.0) for n in range(12)]

    class Trader(Warm):
        """Its first call is at row 2 in either way."""

        def on_bars(self, view: View) -> Proposal:
            near = view.value("mean")
            self.called.append(view.row)
            return [view.order(3, kind=OrderKind.LIMIT, limit=near - 1), market_orders(view, (0, 2)), view.order(-1, kind=OrderKind.STOP, stop=near)]

    full = daily(*rows)
    session, feed = assemble(full, Trader(3), broker=plain(participation=0.002))
    drive(session, feed, len(full))
    tape = Tape(full.instruments, full.interval, capacity=1)
    trader = Trader(3)
    live, cursor = assemble(tape, trader, broker=plain(participation=0.002), growing=True)
    for t in range(len(full)):
        tape.append(full.ats[t], *(column[t] for column in (full.open, full.high, full.low, full.close, full.volume)))
        cursor.bars.row, cursor.bars.closed_at = t, full.ats[t]
        step(live, cursor.bars)
    assert len(session.journal.read()) > 0
    assert live.journal.read() == session.journal.read()
    assert live.portfolio.cash == session.portfolio.cash
    assert trader.called == list(range(2, 12))


def test_a_strategy_may_return_nothing_at_all() -> None:
    steps: dict[int, Callable[[View], Any]] = {0: lambda view: [view.order(150)], 1: lambda view: None, 2: lambda view: None}
    assert [fill[1] for fill in fills(run(daily(*[QUIET] * 3), steps, plain(participation=0.1)))] == [1, 2]


def test_orders_under_way_are_open_orders() -> None:
    def send(view: View) -> list[Order]:
        return [view.order(1)]

    script = watched(hourly(*[QUIET] * 4), {0: send}, latency_seconds=5000.0)
    assert [open_orders for _, _, _, open_orders in script.seen] == [[], [1], [1], []]


def test_equity_is_the_same_whether_it_is_asked_for_or_folded_afterwards() -> None:
    script = Script({0: lambda view: view.rebalance(np.array([0.5, -0.4])), 2: lambda view: view.rebalance(np.array([-0.2, 0.7]))})
    tape = markets(X=[flat(10 + n) for n in range(6)], Y=[flat(20 - n) for n in range(6)])
    session, feed = assemble(tape, script, broker=plain())
    drive(session, feed, len(tape))
    result = run(tape, script.steps, cash=1e6)
    assert [equity for _, equity, _, _ in script.seen] == result.equity.tolist()
