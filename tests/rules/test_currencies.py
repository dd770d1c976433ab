"""Several currencies: each balance in its own, converted at the instant's rate; profit split into what prices and what rates did."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import Script, market_orders, plain, run

from brokers.costs import Commission
from brokers.slippage import Slippage
from simulator import DAY, Account, Actions, DataError, Dividend, Instrument, Limits, OrderKind, Result, Split, Tape, View, read_bars, simulate
from simulator.feeds.tables import attach
from simulator.loop.journal import MemoryJournal, fold

EURO = (Instrument("SAP", currency="EUR", tick="0"), Instrument("EURUSD", kind="rate", tick="0"))


def priced(*columns: list[float], instruments: tuple[Instrument, ...] = EURO) -> Tape:
    """Daily bars in which nothing moves, by instrument."""
    prices = np.array(columns).T
    times = np.arange(1, len(prices) + 1) * DAY
    return Tape.of(instruments, times, prices, prices, prices, prices, np.where(np.isnan(prices), nan, 1e6), interval=DAY)


def bought(tape: Tape, quantity: int = 10, **terms: float) -> Result:
    return run(tape, {0: lambda view: [view.order(quantity, 0)]}, plain(**terms), cash=10_000.0)


def test_a_purchase_is_owed_in_its_own_currency_and_valued_at_the_rate_of_the_instant() -> None:
    """10 at 100 EUR: what rates then do to share and debt cancels out; what the price does is worth what a euro is worth."""
    result = bought(priced([100.0, 100.0, 100.0, 110.0], [1.0, 1.0, 1.5, 1.5]))
    assert [row[:2] for row in result.currencies] == [("USD", 10_000.0), ("EUR", -1_000.0)]
    assert result.equity.tolist() == [10_000.0, 10_000.0, 10_000.0, 10_150.0]
    assert result.cash == 10_000.0 - 1_500.0


def test_profit_is_split_into_local_and_fx_and_the_two_sum_to_it() -> None:
    """A gain of 100 EUR at a rate of 1, and then the rate rises by a tenth: 100 by prices, 10 by rates."""
    result = bought(priced([100.0, 100.0, 110.0, 110.0], [1.0, 1.0, 1.0, 1.1]))
    euro = result.currencies[1]
    assert (euro.local, euro.fx) == pytest.approx((100.0, 10.0))
    assert result.equity[-1] - 10_000.0 == pytest.approx(110.0)


def test_a_position_in_the_rate_is_a_holding_of_the_currency() -> None:
    """Bought for what the share cost, it leaves the price of the share, and the rate, both to win or lose by."""
    steps = {0: lambda view: [view.order(10, 0), view.order(1_000, 1)]}
    result = run(priced([100.0] * 3, [1.0, 1.0, 1.5]), steps, cash=10_000.0)
    assert result.equity[-1] == 10_500.0


def test_commissions_and_slippage_are_in_the_base_currency() -> None:
    tape = priced([100.0] * 3, [2.0] * 3)
    result = run(
        tape,
        {0: lambda view: [view.order(10, 0)]},
        plain(commission=Commission(per_share=0.0, bps=10.0, minimum=0.0), slippage=Slippage(model="bps", bps=10.0)),
    )
    assert result.fills[0].slippage == pytest.approx(2.0)
    assert result.fills[0].commission == pytest.approx(2.002, rel=1e-3)


@pytest.mark.parametrize("batch", [False, True])
def test_leverage_counts_foreign_positions_at_the_rate(batch: bool) -> None:
    """At a rate of 2 an account of 1,000 dollars holds 5 shares of 100 euros, and no 6."""
    for lots, fills in ((5, 1), (6, 0)):
        steps = {0: (lambda view, n=lots: market_orders(view, (0, n)) if batch else [view.order(n, 0)])}
        result = run(priced([100.0] * 3, [2.0] * 3), steps, account=Account(1_000.0, "margin", 1.0))
        assert len(result.fills) == fills


def test_a_cash_account_buys_for_what_all_its_currencies_are_worth() -> None:
    for lots, fills in ((5, 1), (6, 0)):
        result = run(priced([100.0] * 3, [2.0] * 3), {0: lambda view, n=lots: [view.order(n, 0)]}, account=Account(1_000.0, "cash"))
        assert len(result.fills) == fills


def test_weights_and_limits_are_of_the_base_currency() -> None:
    result = run(priced([100.0] * 3, [2.0] * 3), {0: lambda view: [view.rebalance(np.array([1.0, nan]))]}, account=Account(1_000.0, "margin", inf))
    assert [fill.quantity for fill in result.fills] == [5.0]
    steps = {0: lambda view: [view.order(5, 0)]}
    limited = run(priced([100.0] * 3, [2.0] * 3), steps, account=Account(1_000.0, "margin", inf), limits=Limits(notional_max=999.0))
    assert limited.orders[0].reason == "order notional limit"


def test_a_position_tells_its_cost_and_profit_in_its_own_currency() -> None:
    seen = []

    def note(view: View) -> tuple[()]:
        held = view.holding("SAP")
        seen.append((held.average, held.unrealised))
        return ()

    run(priced([100.0, 100.0, 110.0], [1.0, 2.0, 2.0]), {0: lambda view: [view.order(10, 0)], 2: note})
    assert seen == [(100.0, 100.0)]


def test_a_dividend_is_owed_and_paid_in_the_currency_of_its_share() -> None:
    tape = attach(priced([100.0, 100.0, 99.0, 99.0], [1.0, 1.0, 1.0, 2.0]), Actions([Dividend("SAP", 2, 1.0, 3)]))
    result = bought(tape)
    assert [(row.kind, row.amount, row.receivable) for row in result.bookings] == [("dividend", 0.0, 10.0), ("payment", 10.0, -10.0)]
    assert result.currencies[1].cash == -990.0
    assert result.equity.tolist() == [10_000.0] * 4


def test_a_split_leaves_equity_alone_in_any_currency() -> None:
    result = bought(attach(priced([100.0, 100.0, 50.0], [2.0] * 3), Actions([Split("SAP", 2, 2, 1)])))
    assert (result.positions, result.equity.tolist()) == ({"SAP": 20.0}, [10_000.0] * 3)


@pytest.mark.parametrize(
    ("instruments", "columns", "reason"),
    [
        ((Instrument("SAP", currency="EUR"), Instrument("IBM")), ([1.0], [1.0]), "need rates .* there is no rate among them"),
        ((EURO[0], EURO[1], Instrument("7203", currency="JPY")), ([1.0], [1.0], [1.0]), "instruments in JPY need the rate 'JPYUSD'"),
        (EURO, ([1.0, 1.0], [nan, 1.0]), "'EURUSD' must be known from the first bar in EUR on, and is not at bar 0"),
        (
            (EURO[0], EURO[1], Instrument("USDJPY", kind="rate", currency="JPY")),
            ([1.0], [1.0], [1.0]),
            "rates are quoted in JPY, USD",
        ),
    ],
)
def test_currencies_that_cannot_be_converted_are_refused(instruments: tuple[Instrument, ...], columns: tuple[list[float], ...], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        run(priced(*columns, instruments=instruments), {})


def test_one_currency_needs_no_rate_whichever_it_is() -> None:
    result = run(priced([100.0, 100.0], [2.0, 2.0], instruments=(EURO[0], Instrument("BMW", currency="EUR"))), {})
    assert result.currencies == []


prices = st.lists(st.floats(5.0, 20.0), min_size=6, max_size=6)
orders = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(-40, 40).filter(bool), st.sampled_from(["market", "limit", "batch"])), max_size=8
)


@given(prices, prices, st.lists(st.floats(0.2, 3.0), min_size=6, max_size=6), orders, st.booleans())
def test_the_split_of_profit_is_exact_and_the_journal_folds_to_the_account(
    euro: list[float], dollar: list[float], rate: list[float], wishes: list[tuple[int, int, int, str]], costs: bool
) -> None:
    """The audit checks cash, positions and equity after every bar; local and FX parts sum to all profit."""
    tape = priced(euro, rate, dollar, instruments=(*EURO, Instrument("IBM", tick="0")))
    attach(tape, Actions([Split("SAP", 3, 3, 2), Dividend("IBM", 2, 0.5, 4), Dividend("SAP", 4, 0.5)]))

    def send(view: View, row: int) -> list[object]:
        made: list[object] = []
        for at, i, lots, kind in wishes:
            if at == row and kind == "batch":
                made.append(market_orders(view, (i, lots)))
            elif at == row:
                limit = float(view["close"][i])
                made.append(view.order(lots, i) if kind == "market" else view.order(lots, i, OrderKind.LIMIT, limit=limit))
        return made

    steps = {row: (lambda view, row=row: send(view, row)) for row in range(5)}
    script = Script(steps)
    account = Account(1_000.0, "margin", inf)
    result = simulate(tape, script, broker=None if costs else plain(), account=account, check=True)
    assert isinstance(result.journal, MemoryJournal)
    profit = sum(row.local + row.fx for row in result.currencies)
    assert result.equity[-1] - 1_000.0 == pytest.approx(profit, abs=1e-9 * max(1_000.0, abs(result.equity).max()))
    assert result.equity.tolist() == pytest.approx([equity for _, equity, _, _ in script.seen], rel=1e-12, abs=1e-9)
    assert fold(result.journal, tape, 1_000.0).cash == pytest.approx(result.cash, rel=1e-12, abs=1e-9)


def test_files_say_which_symbols_are_in_which_currency_and_which_are_rates(tmp_path: Path) -> None:
    for symbol in ("SAP", "EURUSD"):
        (tmp_path / f"{symbol}.csv").write_text("date,open,high,low,close,volume\n2024-01-02,1,1,1,1,1\n")
    tape = read_bars(tmp_path, currencies={"SAP": "EUR"}, rates=["EURUSD"])
    assert {x.symbol: (x.kind, x.currency) for x in tape.instruments} == {"SAP": ("equity", "EUR"), "EURUSD": ("rate", "USD")}
    with pytest.raises(DataError, match="currencies: there are no bars of 'SAPP'; did you mean 'SAP'"):
        read_bars(tmp_path, currencies={"SAPP": "EUR"}, rates=["EURUSD"])
