"""What must hold with financing, locates, recalls, margin calls and bankruptcy in random markets: market-rules.md, section 5."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from math import inf
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_markets import Case, Random, random_cases
from small_markets import Script

from simulator import Account, Financing, Instrument, Loan, Margin, Order, Tape, View
from simulator.assembly import assemble, drive
from simulator.loop.audit import Audit
from simulator.loop.journal import BOOKED, FILL, FORCED, HALT, MemoryJournal, fold
from simulator.loop.session import Session, step


@st.composite
def lent_cases(draw: st.DrawFn) -> tuple[Case, dict[str, Any]]:
    """A random market with an account that borrows in it: little cash, much leverage, and shares that run out."""
    case = draw(random_cases())
    case = replace(case, account="margin", leverage=draw(st.sampled_from([2.0, 4.0])), cash=draw(st.sampled_from([2_000.0, 20_000.0])))
    rates = st.sampled_from([0.0, 0.05, 2.0])
    day = date(1970, 1, draw(st.integers(2, 20)))
    few = draw(st.sampled_from([0.0, 7.5, 300.0]))
    loans = draw(st.sampled_from([(), (Loan("S0", 3.0, since=day),), (Loan("S0", 0.5, 50.0), Loan("S0", 1.5, few, day))]))
    financing = Financing(draw(rates), draw(rates), draw(rates), draw(rates), draw(st.sampled_from(["act/360", "act/365"])), loans)
    return case, {"financing": financing, "margin": Margin(0.25, 0.3, draw(st.sampled_from([0.0, 0.2])))}


def run(case: Case, tape: Tape, terms: dict[str, Any], strategy: Random | None = None) -> Session:
    session, feed = assemble(tape, strategy or Random(case), broker=case.broker(), account=case.owner(), limits=case.limits, **terms)
    assert drive(session, feed, len(tape), audit=Audit(session))
    return session


def table_of(session: Session) -> np.ndarray:
    assert isinstance(session.journal, MemoryJournal)
    return session.journal.table()


@given(lent_cases())
def test_identities_hold_after_every_bar_and_the_journal_folds_to_the_state(given_: tuple[Case, dict[str, Any]]) -> None:
    """1, 2, 3 and 5: equity is cash, receivables and positions; its change is gains less costs, fees and interest."""
    case, terms = given_
    tape = case.tape()
    session = run(case, tape, terms)
    portfolio = session.portfolio
    assert isinstance(session.journal, MemoryJournal)
    state = fold(session.journal, tape, case.cash)
    assert (state.cash, state.receivable) == (portfolio.cash, portfolio.receivable)
    assert (state.lots, state.averages, state.realised) == tuple(x.tobytes() for x in (portfolio.lots, portfolio.averages, portfolio.realised))
    open_ids = session.broker.open_ids()
    standing = {order: session.broker.standing(order) for order in open_ids}
    assert {order: x.remaining for order, x in standing.items() if x} == {k: v for k, v in state.open_orders.items() if k in open_ids}


@given(lent_cases())
def test_what_comes_after_changes_nothing_before(given_: tuple[Case, dict[str, Any]]) -> None:
    """7: with other bars from the middle on, the journal up to there is the same bytes."""
    case, terms = given_
    tape = case.tape()
    cut = len(tape) // 2
    columns = [np.array(column[: len(tape)]) for column in (tape.open, tape.high, tape.low, tape.close, tape.volume)]
    for column in columns[:4]:
        column[cut:] *= 1.37
    before = tape.ats[cut - 1] if cut else -1
    kept = [table_of(run(case, history, terms)) for history in (tape, tape.like(*columns))]
    assert kept[0][kept[0]["at"] <= before].tobytes() == kept[1][kept[1]["at"] <= before].tobytes()


@given(lent_cases())
def test_a_tape_that_grows_bar_by_bar_gives_the_same_journal(given_: tuple[Case, dict[str, Any]]) -> None:
    case, terms = given_
    full = case.tape()
    tape = Tape(full.instruments, full.interval, capacity=1, truth=full.truth)
    session, feed = assemble(tape, Random(case), broker=case.broker(), account=case.owner(), limits=case.limits, growing=True, **terms)
    for t in range(len(full)):
        tape.append(
            full.ats[t], full.open[t], full.high[t], full.low[t], full.close[t], full.volume[t], opened_at=full.starts[t], session=full.days[t]
        )
        feed.bars.row, feed.bars.closed_at = t, full.ats[t]
        step(session, feed.bars)
    assert session.journal.read() == run(case, full, terms).journal.read()


@given(lent_cases())
def test_a_bankrupt_account_only_closes(given_: tuple[Case, dict[str, Any]]) -> None:
    """After it nothing is sent but by the account's broker, and no position grows or turns."""
    case, terms = given_
    session = run(case, case.tape(), terms)
    table = table_of(session)
    ends = table[(table["kind"] == HALT) & (table["order"] == 4)]
    if not len(ends):
        return
    after = table[table["at"] > ends["at"][0]]
    sent = set(after[after["kind"] == 1]["order"].tolist())
    assert sent <= set(table[table["kind"] == FORCED]["order"].tolist())
    trades = after[after["kind"] == 6]
    for i in np.unique(trades["instrument"]).tolist():
        lots = trades[trades["instrument"] == i]["lots"]
        assert (np.sign(lots) == np.sign(lots[0])).all()


@given(lent_cases())
def test_an_untraded_instrument_changes_nothing(given_: tuple[Case, dict[str, Any]]) -> None:
    """6: to the byte."""
    case, terms = given_
    alone, beside = (run(case, case.tape(width), terms, Random(case, plain=True)) for width in (case.width, case.width + 1))
    assert alone.journal.read() == beside.journal.read()


@given(lent_cases(), st.sampled_from([0.5, 4.0]))
def test_money_in_another_unit_changes_no_decision(given_: tuple[Case, dict[str, Any]], unit: float) -> None:
    """6: prices and cash times a power of two, which is exact: market orders, bookings, calls and recalls are the same, in the other unit."""
    case, terms = given_
    free = replace(case.commission, per_share=0.0, per_order=0.0, minimum=0.0, maximum=inf, round_to_cents=False)
    case = replace(case, commission=free, slippage=replace(case.slippage, model="bps"), limits=replace(case.limits, notional_max=inf), through=0)
    tape = case.tape()
    n = len(tape)
    other = Tape.of(
        [Instrument(x.symbol, tick="0", lot=x.lot) for x in tape.instruments],
        tape.closed_at[:n],
        *(column[:n] * unit for column in (tape.open, tape.high, tape.low, tape.close)),
        tape.volume[:n],
        interval=tape.interval,
        opened_at=tape.opened_at[:n],
        sessions=tape.sessions[:n],
    )
    once, again = (
        table_of(run(each, history, terms, AtMarket(each))) for each, history in ((case, tape), (replace(case, cash=case.cash * unit), other))
    )
    names = ["at", "phase", "kind", "instrument", "order", "lots"]
    assert (once[names] == again[names]).all()
    money = np.isin(once["kind"], (BOOKED, FILL))
    assert np.array_equal(once[money]["a"] * unit, again[money]["a"])


class AtMarket(Random):
    """Random market orders."""

    def __init__(self, case: Case) -> None:
        super().__init__(case, plain=True)

    def order(self, view: View, rng: np.random.Generator) -> Order:
        return Order(view.ids.next(), int(rng.integers(self.case.width)), int(rng.integers(-60, 61)))


@given(random_cases())
def test_terms_that_are_all_off_change_nothing(case: Case) -> None:
    """To the byte."""
    case = replace(case, account="margin")
    tape = case.tape()
    plain = assemble(tape, Random(case), broker=case.broker(), account=case.owner(), limits=case.limits)
    drive(*plain, len(tape))
    off = {"financing": Financing(0.0, 0.0, 0.0, 0.0)}
    assert run(case, tape, off).journal.read() == plain[0].journal.read()
    assert plain[0].calendar is None


def test_a_cash_account_is_never_called() -> None:
    """It owes nothing, so that nobody watches it."""
    tape = Tape.of([Instrument("X")], [1, 2], *[[10.0, 1.0]] * 4, interval=1)
    session, _ = assemble(tape, Script({}), account=Account(1_000.0, "cash"), margin=Margin())
    assert not session.risk.watches
