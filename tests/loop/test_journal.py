"""The journal: fixed rows of bytes, whose fold is the state."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, Script, daily, flat, market_orders, markets, plain, run

from brokers.costs import Commission
from brokers.slippage import Slippage
from simulator import Limits, OrderKind, Replace, TimeInForce, Twap, View
from simulator.assembly import assemble, drive
from simulator.book.orders import Reason
from simulator.kernels import rules
from simulator.loop import journal as rows
from simulator.loop.journal import MemoryJournal, fold, times_to_rows

DAY_NS = 86_400 * 10**9
LIMIT, STOP = OrderKind.LIMIT, OrderKind.STOP


def decoded(table: np.ndarray, kind: int) -> list[dict[str, Any]]:
    """All rows of a kind, by the names of their columns."""
    return [dict(zip(table.dtype.names or (), row, strict=True)) for row in table[table["kind"] == kind].tolist()]


def test_an_order_is_one_row_of_72_bytes() -> None:
    result = run(daily(QUIET, QUIET), {0: lambda view: [view.order(-5, kind=LIMIT, limit=11.0, tif=TimeInForce.DAY)]})
    assert (rows.ROW.itemsize, len(result.journal.read()) % 72) == (72, 0)
    (order,) = decoded(result.journal_table(), rows.ORDER)
    assert isnan(order.pop("b"))
    assert order == {
        "at": DAY_NS,
        "phase": rows.SEND,
        "kind": rows.ORDER,
        "instrument": 0,
        "order": 1,
        "lots": -5,
        "a": 11.0,
        "c": 0.0,
        "d": LIMIT + 256 * TimeInForce.DAY,
        "e": 0,
    }


def test_a_batch_is_written_as_the_same_rows() -> None:
    """A little machine order: whole words of eight bytes, two of them halved."""
    tape = markets(X=[QUIET] * 3, Y=[flat(20)] * 3)
    table = run(tape, {0: lambda view: market_orders(view, (1, 7), (0, -3))}).journal_table()
    assert [(row["order"], row["instrument"], row["lots"], row["phase"]) for row in decoded(table, rows.ORDER)] == [(1, 1, 7, 7), (2, 0, -3, 7)]
    assert [(row["order"], row["instrument"], row["lots"], row["phase"], row["a"], row["d"]) for row in decoded(table, rows.FILL)] == [
        (1, 1, 7, 3, 20.0, 1),
        (2, 0, -3, 3, 10.0, 1),
    ]


def test_a_fill_tells_price_slippage_commission_and_who_took() -> None:
    broker = plain(commission=Commission(0.0, 1.5, 0.0, 0.0), slippage=Slippage("bps", bps=100.0))
    table = run(
        daily(QUIET, (10, 10, 9, 10, 1000)), {0: lambda view: [view.order(10), view.order(10, kind=LIMIT, limit=9.0)]}, broker
    ).journal_table()
    assert [(row["a"], row["b"], row["c"], row["d"]) for row in decoded(table, rows.FILL)] == [
        (10.1, pytest.approx(1.0), 1.5, 1),
        (9.0, 0.0, 1.5, 0),
    ]


def test_refusals_ends_and_halts_tell_their_reasons() -> None:
    limits = Limits(notional_max=2000.0, drawdown_max=0.1)
    steps: dict[int, Any] = {0: lambda view: [view.order(100), view.order(201), view.order(1, kind=LIMIT)]}
    table = run(daily(QUIET, QUIET, flat(8.9), flat(8.9)), steps, cash=1000.0, limits=limits).journal_table()
    assert [(row["order"], row["c"]) for row in decoded(table, rows.REFUSED)] == [(2, float(Reason.NOTIONAL))]
    assert [(row["order"], row["d"], row["e"]) for row in decoded(table, rows.ENDED)] == [(3, rules.REJECTED, Reason.BAD_PRICE)]
    assert [(row["phase"], row["order"], row["a"], row["b"]) for row in decoded(table, rows.HALT)] == [(rows.RISK, 1, 890.0, 900.0)]


def test_a_wait_tells_from_when_to_when() -> None:
    table = run(daily(QUIET, QUIET, flat(9)), {0: lambda view: [view.order(1, kind=LIMIT, limit=9.0)]}).journal_table()
    assert [(row["at"], row["lots"], row["d"], row["e"]) for row in decoded(table, rows.WAITED)] == [
        (3 * DAY_NS, 2 * DAY_NS, 2 * DAY_NS, Reason.NOT_TOUCHED)
    ]


def test_a_refused_batch_row_tells_the_order_and_the_reason() -> None:
    table = run(daily(QUIET, QUIET), {0: lambda view: market_orders(view, (0, 5), (0, 500))}, limits=Limits(notional_max=100.0)).journal_table()
    assert [(row["order"], row["lots"], row["c"]) for row in decoded(table, rows.REFUSED)] == [(2, 500, float(Reason.NOTIONAL))]


def busy(view: View) -> list[Any]:
    """Something of everything, some of it refused, cancelled, replaced or cut."""
    made: list[Any] = [
        view.order(12, 0),
        view.order(-7, 1, STOP, stop=19.0),
        view.order(9, 0, LIMIT, limit=9.5),
        view.order(6, 1, schedule=Twap(3, 86_400.0)),
        view.order(10**6, 0),
        market_orders(view, (0, 30), (1, -4)),
    ]
    if view.row % 2:
        made += [view.cancel(made[2].id), Replace(view.ids.next(), made[1].id, -5, nan, 19.5)]
    if view.row == 4:
        made.append(view.rebalance(np.array([0.1, nan])))
    return made


def everything() -> tuple[Any, Any]:
    """A session after some busy days, and its tape."""
    tape = markets(X=[(10, 11, 9, 10 + n % 2, 60) for n in range(9)], Y=[(20, 21, 19, 20 - n % 2, 40) for n in range(9)])
    broker = plain(participation=0.1, commission=Commission(), slippage=Slippage("volume_share"))
    session, feed = assemble(tape, Script(dict.fromkeys(range(7), busy)), broker=broker, limits=Limits(notional_max=1e5))
    drive(session, feed, len(tape))
    return session, tape


def test_the_fold_of_a_journal_is_the_state_of_its_session() -> None:
    session, tape = everything()
    state, portfolio = fold(session.journal, tape, 1_000_000.0), session.portfolio
    assert state.cash == portfolio.cash
    assert (state.lots, state.averages, state.realised) == tuple(x.tobytes() for x in (portfolio.lots, portfolio.averages, portfolio.realised))
    standing = {order: session.broker.standing(order).remaining for order in session.broker.open_ids()}
    assert {order: left for order, left in state.open_orders.items() if order in standing} == standing
    assert len(standing) > 3


def test_the_fold_knows_what_an_order_has_lost_with_its_slices() -> None:
    """Of 30 in three slices the first two took 4 of 10 each, at once or never: 10 are still to come."""
    tape = daily(*[flat(10, 40)] * 3)
    send = {0: lambda view: [view.order(30, tif=TimeInForce.IOC, schedule=Twap(3, 86_400.0 * 1.01))]}
    session, feed = assemble(tape, Script(send), broker=plain(participation=0.1))
    drive(session, feed, len(tape))
    assert isinstance(session.journal, MemoryJournal)
    standing = session.broker.standing(1)
    assert standing is not None
    assert (standing.filled, standing.remaining) == (4, 20)
    assert fold(session.journal, tape, 1_000_000.0).open_orders[1] == 20


def test_a_journal_hash_changes_with_every_byte_of_it() -> None:
    session, tape = everything()
    journal: MemoryJournal = session.journal
    whole = journal.hash(tape.digest())
    assert journal.hash(tape.digest()) == whole
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(journal.rows), 50).tolist():
        journal.rows[at] ^= 1
        assert journal.hash(tape.digest()) != whole
        journal.rows[at] ^= 1
    assert journal.hash(tape.digest()) == whole
    assert journal.hash(tape.cut(8).digest()) != whole


def test_a_journal_hash_counts_the_header_and_the_callers_ids() -> None:
    """The ids in the order of their orders, not of their arrival."""
    hashes = set()
    for header, ids in (("", {}), ("a", {}), ("", {1: "a"}), ("", {1: "b"}), ("", {2: "a"})):
        journal = MemoryJournal(header)
        journal.client_ids.update(ids)
        hashes.add(journal.hash())
    assert len(hashes) == 5
    there, back = MemoryJournal(), MemoryJournal()
    there.client_ids.update({1: "a", 2: "b"})
    back.client_ids.update({2: "b", 1: "a"})
    assert there.hash() == back.hash()


def test_a_callers_id_is_kept_even_of_an_order_that_is_refused() -> None:
    steps = {0: lambda view: [view.order(1, client_id="mine"), view.order(500, client_id="other")]}
    result = run(daily(QUIET, QUIET), steps, limits=Limits(notional_max=100.0))
    assert result.journal.client_ids == {1: "mine", 2: "other"}


def test_times_become_rows_again() -> None:
    tape = daily(QUIET, QUIET, QUIET)
    assert times_to_rows(tape, np.array([3 * DAY_NS, DAY_NS])).tolist() == [2, 0]
