"""What a session held, and why an order did what it did: in small markets whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from random_markets import Case, Random, random_cases
from small_markets import QUIET, Row, daily, flat, hourly, market_orders, markets, plain, run

from brokers.costs import Commission
from brokers.slippage import Slippage
from simulator import DAY, Limits, Order, OrderKind, Proposal, Replace, Result, SimulatorError, Tape, TimeInForce, Twap, View
from simulator.assembly import assemble, drive
from simulator.loop.journal import KINDS, MemoryJournal
from simulator.loop.store import Header
from simulator.report import explain
from simulator.report.records import Record, Wait
from simulator.report.telling import EVENTS, Columns, Entry, Part, Telling, price, quantity

LIMIT, STOP = OrderKind.LIMIT, OrderKind.STOP
SCENARIO = 'name = "small"\nseed = 0\n[feed]\n[account]\ncash = {cash!r}\n\n[risk]\nnotional_max = 2000.0\n'


def kept(result: Result, *, bars: int | None = -1, path: Path = Path("run")) -> Record:
    """The run as it would be read back, with what open orders waited for."""
    waiting = {
        order.order: tuple(Wait(why, *(result.tape.ats.tolist().index(at) for at in ends)) for why, *ends in order.waits)
        for order in result.orders
        if order.state in ("accepted", "partially_filled") and order.waits
    }
    header = Header(SCENARIO.format(cash=float(result.cash_start)), "code", 0)
    return Record(path, header, result.journal, result.rows if bars == -1 else bars, "", (), waiting)


def labels(parts: Any) -> dict[str, str]:
    """The labels of an explanation and their values; of one that comes again, all of them."""
    found: dict[str, str] = {}
    for part in parts:
        if not isinstance(part, Columns):
            found[part[0]] = f"{found[part[0]]}\n{part[1]}" if part[0] in found else part[1]
    return found


def tables(parts: list[Part]) -> dict[str, list[tuple[str, ...]]]:
    return {part.title: part.rows for part in parts if isinstance(part, Columns)}


def story(result: Result, order: int, **kind: Any) -> list[Part]:
    return list(explain.story(kept(result, **kind), result.tape, order))


def held(result: Result, time: str = "end", **kind: Any) -> list[Part]:
    return list(explain.state(kept(result, **kind), result.tape, time))


# --- State


@given(random_cases())
def test_the_state_of_each_bar_is_what_the_strategy_saw_there(case: Case) -> None:
    """Cash, equity and positions, bit for bit."""
    # Under `same_close` a strategy's orders fill after it has looked.
    case = replace(case, timing="next_close" if case.timing == "same_close" else case.timing)
    tape, seen = case.tape(), []

    class Watching(Random):
        def on_bars(self, view: View) -> Proposal:
            seen.append((view.row, view.cash, view.equity, view.lots.tolist()))
            return super().on_bars(view)

    session, feed = assemble(tape, Watching(case), broker=case.broker(), account=case.owner(), limits=case.limits)
    drive(session, feed, len(tape))
    assert isinstance(session.journal, MemoryJournal)
    record = kept(Result(tape, session.journal, case.cash, len(tape)))
    for row, *account in seen:
        found = explain.holdings(record, tape, row)
        assert [found.portfolio.cash, found.portfolio.equity, found.portfolio.lots.tolist()] == account
    assert (found.halt is not None) == session.risk.halted
    open_ids = session.broker.open_ids()
    assert {order: left for order, left in found.open_orders.items() if order in open_ids} == {
        order: standing.remaining for order in open_ids if (standing := session.broker.standing(order))
    }


def traded() -> Result:
    """Bought 100 X and sold 40 of them; 10 Y sold short; an order that waits, one that ended, and a bar without X."""
    steps: dict[int, Any] = {
        0: lambda view: [view.order(100, "X"), view.order(-10, "Y"), view.order(5, "X", LIMIT, 5.0), view.order(7, "Y", LIMIT, 18.0)],
        2: lambda view: [view.order(-40, "X", client_id="half")],
    }
    broker = plain(commission=Commission(0.0, 1.0, 0.0, 0.0))
    return run(markets(X=[QUIET, QUIET, flat(11), None, flat(12)], Y=[flat(20)] * 3 + [flat(18), flat(21)]), steps, broker)


def test_a_state_tells_account_positions_and_open_orders() -> None:
    parts = held(traded())
    assert labels(parts) | {"run": ""} == {
        "run": "",
        "at": "bar 4: 1970-01-05 (closed 1970-01-06 00:00 UTC)",
        "equity": f"{100_000 + 2 * 40 + 2 * 60 - 10 + 7 * 3 - 4:,.2f}",
        "cash": f"{100_000 - 1000 + 200 + 40 * 12 - 7 * 18 - 4:,.2f}",
        "realised": f"{40 * 2 + 7 * 2:,.2f}, commissions of 4.00 apart",
        "unrealised": f"{60 * 2 - 3:,.2f}",
        "halts": "none in force",
    }
    assert tables(parts) == {
        "positions": [("X", "60", "10.00", "12.00", "720.00", "120.00", "80.00"), ("Y", "-3", "20.00", "21.00", "-63.00", "-3.00", "14.00")],
        "open orders": [("3", "buy 5 X limit 5.00, GTC", "5", "price not touched")],
    }


def test_what_an_order_waited_for_then_is_told_by_what_came_later() -> None:
    result = traded()
    waiting = [{row[0]: row[3] for row in tables(held(result, f"1970-01-0{day}"))["open orders"]} for day in (1, 2, 3, 4)]
    assert waiting == [
        {"1": "its next bar", "2": "its next bar", "3": "its next bar", "4": "its next bar"},
        {"3": "price not touched", "4": "price not touched"},
        {"3": "price not touched", "4": "price not touched", "5 'half'": "its next bar"},
        {"3": "no bar", "5 'half'": "no bar"},
    ]


def test_a_journal_that_goes_on_says_what_it_does_not_know() -> None:
    result = traded()
    record = kept(result, bars=None)._replace(waiting={})
    parts = list(explain.state(record, result.tape, "end"))
    assert labels(parts)["note"].startswith("the run has not ended")
    assert tables(parts)["open orders"] == [("3", "buy 5 X limit 5.00, GTC", "5", "not on record: a wait is told when it is over")]


def test_a_journal_without_events_has_nothing_to_tell() -> None:
    result = run(daily(QUIET), {})
    with pytest.raises(SimulatorError, match="it has no event yet, so that there is nothing to tell"):
        held(result, bars=None)
    with pytest.raises(SimulatorError, match="no bar was run"):
        held(result, bars=0)


def test_a_halt_is_in_force_until_trading_goes_on() -> None:
    limits = Limits(drawdown_max=0.1, on_halt="freeze", resume_after=2)
    result = run(daily(QUIET, QUIET, flat(8), flat(8), flat(8)), {0: lambda view: [view.order(100)]}, cash=1_000.0, limits=limits)
    assert [labels(held(result, f"1970-01-0{day}"))["halts"] for day in (2, 3, 4, 5)] == [
        "none in force",
        "since 1970-01-03, drawdown: equity 800.00 fell below 900.00",
        "since 1970-01-03, drawdown: equity 800.00 fell below 900.00",
        "none in force",
    ]


@pytest.mark.parametrize(
    ("time", "row"),
    [
        ("end", 59),
        ("1970-01-01", 23),
        ("1970-01-02", 47),
        ("1970-01-03", 59),
        ("1970-01-01T01:00", 0),
        ("1970-01-01 01:59:59", 0),
        ("1970-01-01T03:00:00+01:00", 1),
        ("1970-01-02T00:00Z", 23),
        ("19700103T12:00", 59),
    ],
)
def test_a_time_is_that_of_the_last_bar_that_had_closed(time: str, row: int) -> None:
    """60 hourly bars: sessions are days of 24, of which the last bar closes at midnight."""
    result = run(hourly(*[QUIET] * 60), {0: lambda view: [view.order(1)]})
    assert explain.bar_at(kept(result), result.tape, time) == row


def test_a_day_without_bars_is_the_end_of_the_session_before() -> None:
    tape = Tape.of(daily(QUIET).instruments, np.array([3, 4, 7]) * DAY, *np.full((5, 3), 10.0), interval=DAY)
    result = run(tape, {0: lambda view: [view.order(1)]})
    assert explain.bar_at(kept(result), tape, "1970-01-05") == 1


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("1969-12-31", "--at 1969-12-31 is before the first bar of run, which has bars from 1970-01-01 .closed 1970-01-02 00:00 UTC. to 1970-01-03"),
        ("1970-01-01T23:59", "is before the first bar"),
        ("1970-01-04", "is after the last bar of run, .*; 'end' is the last"),
        ("9999-12-31T23:59:59", "is after the last bar"),
        ("0001-01-01", "is before the first bar"),
        ("yesterday", r"--at must be a date \(2001-09-17\), a date and time in UTC \(2001-09-17T14:30\), or end, was 'yesterday'"),
        ("2001-02-30", "--at must be a date"),
        ("", "--at must be a date"),
    ],
)
def test_a_time_that_cannot_be_is_refused(time: str, said: str) -> None:
    result = run(daily(QUIET, QUIET, QUIET), {0: lambda view: [view.order(1)]})
    with pytest.raises(SimulatorError, match=said):
        held(result, time)


# --- The story of an order


def test_a_story_tells_decision_waits_fills_end_and_costs() -> None:
    """250 at most 100 a bar, with a missing bar and one without volume between."""
    broker = plain(participation=0.1, commission=Commission(0.0, 2.0, 0.0, 0.0), slippage=Slippage("bps", bps=100.0))
    tape = daily((10, 12, 9, 11, 500), QUIET, None, flat(10, 0), flat(20), flat(20))
    result = run(tape, {0: lambda view: [view.order(250, client_id="mine")]}, broker)
    parts = story(result, 1)
    assert labels(parts) == {
        "run": f"run of small, {len(result.journal_table())} events, 6 bars",
        "order": "1 'mine'",
        "wish": "buy 250 X at market, GTC",
        "decided": "bar 0: 1970-01-01 (closed 1970-01-02 00:00 UTC)",
        "bar": "open 10.00, high 12.00, low 9.00, close 11.00, volume 500",
        "checks": "approved",
        "end": "filled 1970-01-06, 5 bars later",
        "cost": "42.00: slippage 40.00, commission 2.00, 103.96 bps of the 4,040.00 traded",
    }
    assert tables(parts) == {
        "bars": [
            ("1970-01-02", "10.00", "10.00", "10.00", "10.00", "1,000", "bought 100; volume cap"),
            ("1970-01-03", "", "", "", "", "", "no bar"),
            ("1970-01-04", "10.00", "10.00", "10.00", "10.00", "0", "zero volume"),
            ("1970-01-05", "20.00", "20.00", "20.00", "20.00", "1,000", "bought 100; volume cap"),
            ("1970-01-06", "20.00", "20.00", "20.00", "20.00", "1,000", "bought 50"),
        ],
        "fills": [
            ("1970-01-02", "100", "10.10", "10.00", "10.00", "2.00", "taker"),
            ("1970-01-05", "100", "20.20", "20.00", "20.00", "0.00", "taker"),
            ("1970-01-06", "50", "20.20", "20.00", "10.00", "0.00", "taker"),
        ],
    }


def test_of_a_long_wait_only_the_ends_are_told() -> None:
    rows: list[Row] = [(10, 10 + n, 10 - n / 10, 10, 1000) for n in range(20)]
    result = run(daily(QUIET, *rows, (10, 10, 4, 5, 1000)), {0: lambda view: [view.order(1, kind=LIMIT, limit=5.0)]})
    bars = tables(story(result, 1))["bars"]
    assert [line[0] for line in bars] == ["1970-01-02", "1970-01-03", "1970-01-04", "14 more", "1970-01-19", "1970-01-20", "1970-01-21", "1970-01-22"]
    assert bars[3] == ("14 more", "", "26.00", "8.40", "", "", "price not touched")
    assert bars[-1][-1] == "bought 1"


def test_an_order_that_is_still_open_tells_what_it_waits_for() -> None:
    result = run(daily(*[QUIET] * 4), {0: lambda view: [view.order(3, kind=STOP, stop=11.0)]})
    parts = story(result, 1)
    assert labels(parts)["end"] == "still open after the last bar, 3 of 3 unfilled: price not touched"
    assert labels(parts)["cost"] == "nothing"
    assert len(tables(parts)["bars"]) == 3
    unknown = labels(explain.story(kept(result)._replace(waiting={}), result.tape, 1))
    assert unknown["end"] == "still open after the last bar, 3 of 3 unfilled; what it waited for is told when a wait is over"


def test_an_order_that_ends_unfilled_tells_why() -> None:
    steps: dict[int, Any] = {
        0: lambda view: [view.order(3, kind=LIMIT, limit=9.0, tif=TimeInForce.DAY), view.order(3, kind=LIMIT, limit=9.0), view.order(1, kind=LIMIT)],
        1: lambda view: [view.cancel(2)],
        2: lambda view: [view.cancel(2)],
    }
    result = run(daily(*[QUIET] * 4), steps)
    expired, cancelled, bad = (story(result, order) for order in (1, 2, 3))
    assert labels(expired)["end"] == "expired 1970-01-02: end of session, 3 of 3 unfilled"
    assert [line[-1] for line in tables(expired)["bars"]] == ["price not touched; expired"]
    assert labels(cancelled)["end"] == "cancelled 1970-01-02: cancelled on request, 3 of 3 unfilled"
    assert labels(cancelled)["change"].splitlines() == [
        "1970-01-02: order 2 is to be cancelled",
        "1970-01-03: order 2 is to be cancelled",
        "1970-01-03: it was gone, so that there was nothing to cancel",
    ]
    assert labels(bad)["wish"] == "buy 1 X at no price, GTC"
    assert labels(bad)["end"] == "rejected 1970-01-01: its limit or stop is not a price above 0, 1 of 1 unfilled"


def test_a_refusal_tells_the_limit_that_it_goes_by() -> None:
    limits = Limits(notional_max=2000.0, drawdown_max=0.1)
    steps: dict[int, Any] = {0: lambda view: [view.order(201), view.order(100)], 2: lambda view: [view.order(1)]}
    result = run(daily(QUIET, QUIET, flat(8)), steps, cash=1_000.0, limits=limits)
    refused, halted = labels(story(result, 1)), labels(story(result, 3))
    assert refused["checks"] == "refused: order notional limit (risk.notional_max is 2000)"
    assert (refused["end"], refused["cost"]) == ("rejected", "nothing")
    assert (halted["checks"], halted["halt"]) == ("refused: trading halted", "drawdown: equity 800.00 fell below 900.00")


def test_an_order_that_was_sent_again_is_told_once_more() -> None:
    send = {n: lambda view: [view.order(5, client_id="mine")] for n in range(2)}
    result = run(daily(*[QUIET] * 3), send)
    assert labels(story(result, 1))["change"] == "1970-01-02: order 2 'mine': buy 5 X at market, GTC: refused: sent before: the first answer stands"
    assert labels(story(result, 2))["checks"] == "refused: sent before: the first answer stands (order 1)"


def test_replacements_are_told_from_both_sides() -> None:
    steps: dict[int, Any] = {
        0: lambda view: [view.order(5, kind=LIMIT, limit=5.0)],
        1: lambda view: [Replace(view.ids.next(), 1, 8, 6.0, nan)],
        2: lambda view: [Replace(view.ids.next(), 1, 9), Replace(view.ids.next(), 2, 900)],
    }
    result = run(daily(*[QUIET] * 3, flat(6)), steps, limits=Limits(notional_max=2000.0))
    old, new, late, big = (labels(story(result, order)) for order in (1, 2, 3, 4))
    assert old["end"] == "replaced 1970-01-02: as asked, 5 of 5 unfilled"
    assert old["change"].splitlines()[0] == "1970-01-02: order 2 is to replace order 1: +8 lots in all, limit 6.00"
    assert (new["replaces"], new["wish"]) == ("order 1: buy 5 X limit 5.00, GTC", "buy 8 X limit 6.00, GTC")
    assert (new["decided"][:17], new["end"]) == ("bar 1: 1970-01-02", "filled 1970-01-04, 2 bars later")
    assert (late["wish"], late["end"]) == ("+9 lots in all", "rejected 1970-01-03: no such open order")
    assert (big["wish"], big["end"]) == ("+900 lots in all", "rejected")
    assert big["bar"] == "open 10.00, high 10.00, low 10.00, close 10.00, volume 1,000"


def test_a_parent_tells_of_its_slices_and_a_slice_of_its_parent() -> None:
    send = {0: lambda view: [view.order(30, client_id="cut", schedule=Twap(3, 86_400.0))]}
    result = run(daily(*[flat(10, 150)] * 6), send, plain(participation=0.1))
    parent, first, second = (story(result, order) for order in (1, 2, 3))
    assert tables(parent)["slices"] == [
        ("2", "1970-01-02", "10", "10", "filled"),
        ("3", "1970-01-02", "10", "10", "filled"),
        ("4", "1970-01-03", "10", "10", "filled"),
    ], "what is sent at a close meets the next bar"
    assert labels(parent)["end"] == "filled 1970-01-04, 3 bars later"
    assert [line[-1] for line in tables(parent)["fills"]] == ["taker, slice 2", "taker, slice 3", "taker, slice 4"]
    assert (labels(second)["slice of"], labels(second)["sent in"][:17]) == ("order 1 'cut': buy 30 X at market, GTC", "bar 1: 1970-01-02")
    assert [labels(child)["end"] for child in (first, second)] == ["filled 1970-01-02, in that very bar", "filled 1970-01-03, one bar later"]
    assert tables(held(result, "1970-01-02"))["open orders"] == [
        ("1 'cut'", "buy 30 X at market, GTC", "20", "its slices: 2 sent so far"),
        ("3", "buy 10 X at market, GTC, a slice of order 1 'cut'", "10", "its next bar"),
    ]


def test_a_remark_at_the_decision_is_part_of_the_story() -> None:
    steps: dict[int, Any] = {0: lambda view: [view.remark("all is new"), view.remark("of Y", "Y"), view.remark("of X", "X"), view.order(1, "X")]}
    result = run(markets(X=[QUIET] * 2, Y=[QUIET] * 2), steps)
    order = result.orders[0].order
    assert labels(story(result, order))["remark"].splitlines() == ["all is new", "of X"]


def test_a_batch_and_a_new_target_are_told_like_others() -> None:
    steps: dict[int, Any] = {
        0: lambda view: market_orders(view, (0, 5000)),
        1: lambda view: [view.rebalance(np.array([0.0]))],
    }
    result = run(daily(*[QUIET] * 4), steps, plain(participation=0.1))
    assert labels(story(result, 1))["end"] == "cancelled 1970-01-02: replaced by a new target, 4,900 of 5,000 unfilled"


def named(*client_ids: str) -> Record:
    return kept(run(daily(QUIET, QUIET), {0: lambda view: [view.order(1, client_id=x) for x in client_ids]}))


def test_an_order_is_found_by_its_id_and_then_by_its_client_id() -> None:
    record = named("a", "2", "77")
    assert [explain.find_order(record, given) for given in ("1", "a", "2", "77")] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("4", "run has no order '4': there are 3, from 1 to 3"),
        ("-1", "run has no order '-1'"),
        ("9" * 30, "there are 3, from 1 to 3"),
        ("alhpa", "there are 3, from 1 to 3; did you mean 'alpha'[?]"),
        ("", "run has no order ''"),
    ],
)
def test_an_order_that_is_not_there_is_said_with_what_is(given: str, said: str) -> None:
    with pytest.raises(SimulatorError, match=said):
        explain.find_order(named("alpha", "beta", "gamma"), given)


def test_a_remark_is_no_order() -> None:
    result = run(daily(QUIET, QUIET), {0: lambda view: [view.remark("hello")]})
    for word in ("1", "hello"):
        with pytest.raises(SimulatorError, match=f"run has no order '{word}': it has none"):
            explain.find_order(kept(result), word)


@given(random_cases())
def test_every_order_has_a_story_and_every_event_has_words(case: Case) -> None:
    tape = case.tape()
    session, feed = assemble(tape, Random(case), broker=case.broker(), account=case.owner(), limits=case.limits)
    drive(session, feed, len(tape))
    assert isinstance(session.journal, MemoryJournal)
    result = Result(tape, session.journal, case.cash, len(tape), still_waiting=session.broker.waiting())
    limits = "".join(f"{key}_max = 1.0\n" for key in ("gross", "net", "name", "notional", "rate"))
    header = Header(f'name = "x"\nseed = 0\n[feed]\n[account]\ncash = 1.0\nleverage_max = 1.0\n[risk]\n{limits}', "", 0)
    record = kept(result)._replace(header=header)
    telling = Telling(session.journal, tape)
    assert all(telling.event(entry) for entry in telling.entries(slice(None)))
    whose = {order.order: {order.order, order.parent} for order in result.orders}
    for order in result.orders:
        told = list(explain.story(record, tape, order.order))
        assert len(tables(told).get("fills", ())) == sum(order.order in whose[fill.order] for fill in result.fills)
        assert labels(told)["end"].split()[0] == {"accepted": "still", "partially_filled": "still"}.get(order.state, order.state)


# --- Words


def test_every_kind_of_row_has_words() -> None:
    assert {KINDS[kind] for kind in EVENTS} == set(KINDS) - {""}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((0, nan, nan, 0, 0), "order 5 has no conditions"),
        ((0, 2.0, nan, DAY, 0), "order 5 trails by 2.00, is good until 1970-01-02 00:00 UTC"),
        ((4, nan, 0.05, 0, 3), "order 5 trails by the share 0.05, waits for order 3, is one of those of which one cancels the other, with order 4"),
    ],
)
def test_conditions_have_words(row: tuple[Any, ...], words: str) -> None:
    lots, a, b, d, e = row
    telling = Telling(run(daily(QUIET), {}).journal)
    assert telling.event(Entry(0, 7, KINDS.index("conditions"), 0, 5, lots, a, b, 0.0, d, e)) == words


def test_a_kind_that_is_not_known_is_named() -> None:
    telling = Telling(run(daily(QUIET), {}).journal)
    assert telling.event(Entry(0, 7, 99, 0, 5, 0, 0.0, 0.0, 0.0, 0, 0)) == "kind 99 5"


def test_without_a_tape_there_are_lots_and_numbers() -> None:
    journal = run(markets(X=[QUIET] * 2, Y=[QUIET] * 2), {0: lambda view: [Order(1, 1, -7)]}).journal
    plainly, named = Telling(journal), Telling(journal, None, ("X", "Y"))
    assert [telling.event(telling.entries(slice(1))[0]) for telling in (plainly, named)] == [
        "order 1: sell 7 lots of instrument 1 at market, GTC",
        "order 1: sell 7 lots of Y at market, GTC",
    ]
    assert plainly.when(DAY) == "1970-01-02 00:00"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0.00"), (98.1, "98.10"), (98.123, "98.123"), (2345.678, "2,345.68"), (0.00001234567, "0.0000123457"), (-5.25, "-5.25"), (nan, "none")],
)
def test_a_price_has_the_digits_that_tell_it(value: float, words: str) -> None:
    assert price(value) == words


def test_units_have_the_digits_that_they_have() -> None:
    assert [quantity(value) for value in (1200.0, 0.5, 1e-8, -3.0)] == ["1,200", "0.5", "0.00000001", "-3"]
