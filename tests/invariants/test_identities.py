"""What must always hold: market-rules.md, section 5, in random markets with random orders, costs, limits, gaps and missing bars."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
from hypothesis import given
from random_markets import Case, Random, random_cases

from simulator import Instrument, Limits, Tape
from simulator.assembly import assemble, drive
from simulator.loop.audit import Audit
from simulator.loop.journal import FILL, MemoryJournal, fold
from simulator.loop.session import Session, step


def run(case: Case, tape: Tape, strategy: Random, audited: bool = True) -> Session:
    session, feed = assemble(tape, strategy, broker=case.broker(), account=case.owner(), limits=case.limits)
    assert drive(session, feed, len(tape), audit=Audit(session) if audited else None)
    return session


def rows(session: Session) -> bytes:
    return session.journal.read()


@given(random_cases())
def test_identities_hold_after_every_bar(case: Case) -> None:
    """Equity is cash and positions, its changes are explained, fills stay within orders and bars: Audit checks each bar (1 to 4)."""
    run(case, case.tape(), Random(case))


@given(random_cases())
def test_folding_the_journal_over_the_tape_gives_the_state(case: Case) -> None:
    """Identity 5, byte for byte: cash, positions, and what is left of each open order."""
    tape = case.tape()
    session = run(case, tape, Random(case))
    assert isinstance(session.journal, MemoryJournal)
    state, portfolio, broker = fold(session.journal, tape, case.cash), session.portfolio, session.broker
    assert (state.cash, state.lots, state.averages, state.realised) == (
        portfolio.cash,
        portfolio.lots.tobytes(),
        portfolio.averages.tobytes(),
        portfolio.realised.tobytes(),
    )
    open_ids = broker.open_ids()
    standing = {order: broker.standing(order) for order in open_ids}
    assert {order: x.remaining for order, x in standing.items() if x} == {k: v for k, v in state.open_orders.items() if k in open_ids}
    # Only children of open parents are open without being named.
    assert len(state.open_orders) >= len(open_ids)
    assert (broker.open_orders > 0).tolist() == [any(x is not None and x.order.instrument == i for x in standing.values()) for i in range(tape.width)]


@given(random_cases())
def test_what_is_on_its_way_is_what_open_orders_have_left(case: Case) -> None:
    """Orders that hang together, which count once, apart."""
    tape = case.tape()
    broker = run(case, tape, Random(case, links=False)).broker
    waiting = np.zeros(tape.width, np.int64)
    for x in (broker.standing(order) for order in broker.open_ids()):
        assert x is not None
        waiting[x.order.instrument] += x.remaining
    assert waiting.tolist() == broker.pending.tolist()


@given(random_cases())
def test_orders_sent_as_a_batch_trade_exactly_like_single_ones(case: Case) -> None:
    """The compiled rules and the plain ones are the same source: the journals are the same bytes."""
    case = replace(case, latency=0.0, slicing=None, account="margin", limits=replace(case.limits, on_halt="freeze"))
    tape = case.tape()
    assert rows(run(case, tape, Random(case, plain=True))) == rows(run(case, tape, Random(case, as_batches=True)))


@given(random_cases())
def test_a_tape_that_grows_bar_by_bar_gives_the_same_journal(case: Case) -> None:
    full = case.tape()
    whole = run(case, full, Random(case))
    tape = Tape(full.instruments, full.interval, capacity=1, truth=full.truth)
    session, feed = assemble(tape, Random(case), broker=case.broker(), account=case.owner(), limits=case.limits, growing=True)
    for t in range(len(full)):
        tape.append(
            full.ats[t], full.open[t], full.high[t], full.low[t], full.close[t], full.volume[t], opened_at=full.starts[t], session=full.days[t]
        )
        feed.bars.row, feed.bars.closed_at = t, full.ats[t]
        step(session, feed.bars)
    assert rows(session) == rows(whole)


@given(random_cases())
def test_what_comes_after_changes_nothing_before(case: Case) -> None:
    """Identity 7: with other bars from the middle on, the journal up to there is the same bytes."""
    tape = case.tape()
    cut = len(tape) // 2
    columns = [np.array(column[: len(tape)]) for column in (tape.open, tape.high, tape.low, tape.close, tape.volume)]
    for column in columns[:4]:
        column[cut:] *= 1.37
    other = tape.like(*columns)
    before = tape.ats[cut - 1] if cut else -1
    kept = []
    for history in (tape, other):
        journal = run(case, history, Random(case)).journal
        assert isinstance(journal, MemoryJournal)
        table = journal.table()
        kept.append(table[table["at"] <= before].tobytes())
    assert kept[0] == kept[1]


@given(random_cases())
def test_an_untraded_instrument_changes_nothing(case: Case) -> None:
    strategy = replace(case, busy=case.busy)
    alone = run(case, case.tape(), Random(strategy, plain=True))
    beside = run(case, case.tape(case.width + 1), Random(strategy, plain=True))
    assert rows(alone) == rows(beside)


@given(random_cases())
def test_doubling_prices_and_cash_doubles_money_and_changes_no_decision(case: Case) -> None:
    """Identity 6. Costs in shares, minimum fees and limits in money do not scale, so they are off; doubling is exact in binary."""
    case = replace(
        case,
        commission=replace(case.commission, per_share=0.0, per_order=0.0, minimum=0.0, maximum=inf, round_to_cents=False),
        slippage=replace(case.slippage, model="bps"),
        limits=replace(case.limits, notional_max=inf),
    )
    tape = case.tape()
    doubled = [Instrument(x.symbol, tick=str(float(x.tick) * 2), lot=x.lot) for x in tape.instruments]
    n = len(tape)
    bigger = Tape.of(
        doubled,
        tape.closed_at[:n],
        *(column[:n] * 2.0 for column in (tape.open, tape.high, tape.low, tape.close)),
        tape.volume[:n],
        interval=tape.interval,
        opened_at=tape.opened_at[:n],
        sessions=tape.sessions[:n],
    )
    once, twice = (table_of(run(each, history, Doubled(each, factor=factor, plain=True))) for each, history, factor in (
        (case, tape, 1.0),
        (replace(case, cash=case.cash * 2.0), bigger, 2.0),
    ))  # fmt: skip
    assert (once[["at", "kind", "order", "instrument", "lots"]] == twice[["at", "kind", "order", "instrument", "lots"]]).all()
    fills = once["kind"] == FILL
    for money in ("a", "b", "c"):
        assert (once[fills][money] * 2.0 == twice[fills][money]).all()


class Doubled(Random):
    """Random orders whose prices are scaled."""

    def __init__(self, case: Case, factor: float, plain: bool) -> None:
        super().__init__(case, plain=plain)
        self.factor = factor

    def order(self, view, rng):  # type: ignore[no-untyped-def]  # as in Random
        order = super().order(view, rng)
        return order._replace(limit=order.limit * self.factor, stop=order.stop * self.factor)


def table_of(session: Session) -> np.ndarray:
    assert isinstance(session.journal, MemoryJournal)
    return session.journal.table()


@given(random_cases())
def test_renaming_and_reordering_instruments_renames_and_reorders_the_result(case: Case) -> None:
    """Identity 6. Each instrument is traded by itself: without limits on the whole account no decision depends on the others."""
    case = replace(case, limits=Limits(), leverage=inf, account="margin")
    tape = case.tape()
    n, order = len(tape), list(range(tape.width))[::-1]
    mirrored = Tape.of(
        [replace(tape.instruments[i], symbol=f"other {i}") for i in order],
        tape.closed_at[:n],
        *(column[:n, order] for column in (tape.open, tape.high, tape.low, tape.close, tape.volume)),
        interval=tape.interval,
        opened_at=tape.opened_at[:n],
        sessions=tape.sessions[:n],
    )
    first, second = table_of(run(case, tape, Random(case, plain=True))), table_of(run(case, mirrored, Mirrored(case)))
    renamed = second.copy()
    renamed["instrument"] = tape.width - 1 - second["instrument"]
    # As text, in which a price that is not there (NaN) equals itself.
    assert sorted(map(repr, first.tolist())) == sorted(map(repr, renamed.tolist()))


class Mirrored(Random):
    """The same random orders for instruments that stand the other way round."""

    def __init__(self, case: Case) -> None:
        super().__init__(case, plain=True)

    def order(self, view, rng):  # type: ignore[no-untyped-def]  # as in Random
        order = super().order(view, rng)
        return order._replace(instrument=self.case.width - 1 - order.instrument)
