"""Futures and several currencies in one account: a future is settled in its own currency, and counts at the rate of the instant."""

from __future__ import annotations

from math import fsum, inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import Script, plain

from brokers.costs import Commission
from simulator import DAY, Account, CurrencyPortfolio, Financing, Future, Instrument, Limits, Margin, Order, Result, Tape, View, simulate
from simulator.assembly import assemble, drive
from simulator.loop.audit import Audit
from simulator.loop.journal import MemoryJournal, accounted, fold

BUND = Future("BUND", currency="EUR", tick="0", multiplier=10.0, initial_margin=500.0, maintenance_margin=400.0)
HERE = Future("HERE", currency="USD", tick="0", multiplier=5.0)
SAP, EURUSD = Instrument("SAP", currency="EUR", tick="0"), Instrument("EURUSD", kind="rate", tick="0")


def priced(*columns: list[float], instruments: tuple[Instrument, ...] = (BUND, EURUSD)) -> Tape:
    """Daily bars in which nothing moves, by instrument."""
    prices = np.array(columns).T
    return Tape.of(instruments, np.arange(1, len(prices) + 1) * DAY, *[prices] * 4, np.where(np.isnan(prices), nan, 1e6), interval=DAY)


def run(tape: Tape, steps: dict[int, object], cash: float = 10_000.0, leverage: float = inf, **terms: object) -> Result:
    broker = terms.pop("broker", plain())
    made: Result = simulate(tape, Script(steps), broker=broker, account=Account(cash, leverage_max=leverage), check=True, **terms)  # type: ignore[arg-type]
    assert isinstance(made.journal, MemoryJournal)
    assert fold(made.journal, tape, cash).cash == made.cash
    return made


def buy(lots: int) -> dict[int, object]:
    return {0: lambda view: [view.order(lots, 0)]}


def test_a_future_abroad_costs_nothing_and_is_settled_in_its_own_currency() -> None:
    """Two contracts of ten gain 5 at a rate of 2: 100 euros, which are 200 dollars, and 300 once a euro is 3."""
    result = run(priced([100.0, 100.0, 105.0, 105.0], [2.0, 2.0, 2.0, 3.0]), buy(2))
    assert result.equity.tolist() == [10_000.0, 10_000.0, 10_200.0, 10_300.0]
    assert [(row.bar, row.kind, row.amount) for row in result.bookings] == [(3, "variation", 100.0)]
    assert [row[:2] for row in result.currencies] == [("USD", 10_000.0), ("EUR", 100.0)]


def test_what_was_gained_but_not_settled_goes_with_the_rate_too() -> None:
    """Only the gain is in euros: the contract's value is not."""
    result = run(priced([100.0, 100.0, 105.0], [2.0, 4.0, 2.0]), buy(2))
    assert result.equity.tolist() == [10_000.0, 10_000.0, 10_200.0]


def test_the_profit_of_a_future_abroad_is_split_into_local_and_fx() -> None:
    """100 euros by the price at a rate of 2, and then another dollar a euro."""
    result = run(priced([100.0, 100.0, 105.0, 105.0], [2.0, 2.0, 2.0, 3.0]), buy(2))
    assert [(row.local, row.fx) for row in result.currencies] == [(0.0, 0.0), (200.0, 100.0)]


def test_closing_realises_in_the_futures_currency() -> None:
    steps = {**buy(2), 1: lambda view: [view.order(-2, 0)]}
    result = run(priced([100.0, 100.0, 103.0], [2.0] * 3), steps)
    assert result.currencies[1].cash == 60.0
    assert result.positions == {}


def test_a_contract_abroad_that_ends_is_settled_in_its_own_currency() -> None:
    ending = Future("BUND", currency="EUR", tick="0", multiplier=10.0, expires="1970-01-03")
    result = run(priced([100.0, 100.0, 104.0, nan, nan], [2.0] * 5, instruments=(ending, EURUSD)), buy(2))
    assert [(row.bar, row.kind, row.amount) for row in result.bookings] == [(3, "expiry", 80.0)]
    assert result.equity.tolist()[-1] == 10_160.0


@pytest.mark.parametrize(("rate", "fills"), [(2.0, 1), (2.1, 0)])
def test_initial_margin_is_in_the_futures_currency(rate: float, fills: int) -> None:
    """Ten contracts need 5,000 euros: an account of 10,000 dollars has them while a euro costs 2."""
    result = run(priced([100.0] * 3, [rate] * 3), buy(10))
    assert len(result.fills) == fills
    assert fills or result.orders[0].reason == "initial margin"


def test_a_dearer_currency_calls_for_margin() -> None:
    """Ten contracts must keep 4,000 euros; at a rate of 2.6 the account of 10,000 dollars has them no more."""
    result = run(priced([100.0] * 5, [2.0, 2.0, 2.6, 2.6, 2.6]), buy(10), margin=Margin(buffer=0.0))
    assert [(row.bar, row.symbol, row.reason) for row in result.forced] == [(2, "BUND", "margin call")]
    assert [fill.quantity for fill in result.fills] == [10.0, -1.0]


def test_gross_exposure_counts_contracts_at_the_rate() -> None:
    result = run(priced([100.0] * 3, [2.0] * 3), {0: lambda view: [view.order(6, 0), view.order(5, 0)]}, limits=Limits(gross_max=1.0))
    assert [order.reason for order in result.orders] == ["gross exposure limit", "filled"]


def test_interest_is_of_the_money_that_variation_left() -> None:
    """A loss of 600 euros at 2 leaves 8,800 dollars in all."""
    result = run(priced([100.0, 100.0, 70.0, 70.0, 70.0], [2.0] * 5), buy(2), financing=Financing(borrow=0.0, debit=0.0, credit=0.036))
    paid = [(row.bar, row.amount) for row in result.bookings if row.kind == "interest"]
    assert paid[-1] == (4, pytest.approx(8_800.0 * 0.0001, rel=1e-3))


prices = st.lists(st.tuples(*[st.floats(5.0, 20.0)] * 3, st.floats(0.5, 2.0)), min_size=6, max_size=6)
wishes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(-9, 9).filter(bool)), max_size=10)


@given(prices, wishes)
def test_equity_is_all_balances_and_open_gains_at_the_rates_and_its_change_is_explained(
    table: list[tuple[float, float, float, float]], orders: list[tuple[int, int, int]]
) -> None:
    """Identity 1 to the last bits, in exact sums; Audit checks identities 1, 2 and 5 at every bar."""
    tape = priced(*map(list, zip(*table, strict=True)), instruments=(BUND, HERE, SAP, EURUSD))

    def orders_of(view: View) -> list[Order]:
        return [view.order(lots, i) for row, i, lots in orders if row == view.row]

    session, feed = assemble(
        tape,
        Script(dict.fromkeys(range(6), orders_of)),
        broker=plain(commission=Commission(per_share=0.01, minimum=0.0)),
        account=Account(1e6, leverage_max=1e9),
    )
    assert drive(session, feed, len(tape), audit=Audit(session))
    account = session.portfolio
    assert isinstance(account, CurrencyPortfolio)
    rates = [account.rate_of(i) for i in range(4)]
    gains = [
        int(account.lots[i]) * x.multiplier * (account.mark_of(i) - (account.averages[i] if isinstance(x, Future) else 0.0)) * rates[i]
        for i, x in enumerate(tape.instruments)
    ]
    balances = [balance * rate for balance, rate in zip(account.balances, account.rates, strict=True)]
    assert account.equity == pytest.approx(fsum([*balances, *gains]), rel=1e-13)
    assert account.equity == pytest.approx(fsum([1e6, *account.local, *account.exchange]), rel=1e-13)
    assert isinstance(session.journal, MemoryJournal)
    folded, _ = accounted(session.journal, tape, 1e6)
    assert isinstance(folded, CurrencyPortfolio)
    assert (folded.balances, folded.equity) == (account.balances, account.equity)
