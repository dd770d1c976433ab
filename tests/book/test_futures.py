"""Futures: nothing is paid for them, each session settles them in cash, and they end. Rules: market-rules.md, sections 3 and 5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import HOUR, QUIET, Row, Script, flat, market_orders, plain

from brokers.costs import Commission
from simulator import (
    DAY,
    Account,
    DataError,
    Financing,
    Future,
    Instrument,
    Limits,
    Margin,
    Proposal,
    Result,
    ScenarioError,
    Tape,
    View,
    read_bars,
    run_orders,
    simulate,
)
from simulator.assembly import assemble, drive
from simulator.loop.journal import fold

ES = Future("ES", tick="0.25", multiplier=50.0, initial_margin=1_000.0, maintenance_margin=800.0, expires="1970-01-05")
Steps = Mapping[int, Callable[[View], Proposal]]


def future_bars(*rows: Row, future: Future = ES, share: list[Row] | None = None, interval: int = DAY) -> Tape:
    tables = [list(rows), share] if share else [list(rows)]
    columns = np.array([[(nan,) * 5 if row is None else row for row in table] for table in tables], float).transpose(2, 1, 0)
    instruments: list[Instrument] = [future, Instrument("X", tick="0")][: len(tables)]
    return Tape.of(instruments, (np.arange(columns.shape[1]) + 1) * interval, *columns, interval=interval)


def run(tape: Tape, steps: Steps, cash: float = 100_000.0, leverage: float = inf, **terms: Any) -> Result:
    broker = terms.pop("broker", plain())
    return simulate(tape, Script(steps), broker=broker, account=Account(cash, leverage_max=leverage), check=True, **terms)


def bookings(result: Result) -> list[tuple[int, str, float, float]]:
    return [(row.bar, row.kind, row.amount, row.quantity) for row in result.bookings]


def states(result: Result) -> list[str]:
    return [f"{order.state}: {order.reason}" for order in result.orders]


def test_a_contract_is_not_paid_for_and_gains_count_from_the_fill() -> None:
    """Two bought at 100 and worth 103: 2 x 50 x 3 is owed to us, and cash is as it was, but for the commission."""
    tape = future_bars(QUIET, (100.0, 103.0, 100.0, 103.0, 1000.0), flat(103))
    script = Script({0: lambda view: [view.order(2)]})
    result = simulate(tape, script, broker=plain(commission=Commission(0.0, 2.0, 0.0, 0.0)), account=Account(1e5, leverage_max=inf), check=True)
    assert [(cash, equity) for cash, equity, _, _ in script.seen[:2]] == [(1e5, 1e5), (99_998.0, 100_298.0)]
    assert result.equity.tolist() == [1e5, 100_298.0, 100_298.0]


def test_each_session_moves_what_the_one_before_it_brought_into_cash() -> None:
    tape = future_bars(QUIET, flat(100), flat(103), flat(101))
    script = Script({0: lambda view: [view.order(2)]})
    result = simulate(tape, script, broker=plain(), account=Account(1e5, leverage_max=inf), check=True)
    assert bookings(result) == [(3, "variation", 300.0, 0.0)]
    assert result.bookings[0].price == 103.0
    assert [equity for _, equity, _, _ in script.seen] == [1e5, 1e5, 100_300.0, 100_100.0]
    assert [cash for cash, _, _, _ in script.seen] == [1e5, 1e5, 1e5, 100_300.0]


def test_bars_within_a_session_settle_nothing() -> None:
    tape = future_bars(*[flat(100 + k) for k in range(50)], future=Future("ES", tick="0", multiplier=50.0), interval=HOUR)
    result = run(tape, {0: lambda view: [view.order(1)]})
    assert [(row.bar, row.amount) for row in result.bookings] == [(24, 50.0 * 22), (48, 50.0 * 24)]


def test_what_is_closed_is_realised_at_once_and_a_flip_opens_the_rest_at_its_fill() -> None:
    tape = future_bars(QUIET, flat(100), flat(104), flat(102), flat(102))
    result = run(tape, {0: lambda view: [view.order(3)], 1: lambda view: [view.order(-5)], 2: lambda view: [view.order(2)]})
    assert result.cash == 100_000 + 3 * 50 * 4 + 2 * 50 * 2
    assert (result.equity.tolist()[-1], result.positions) == (result.cash, {})


def test_a_contract_is_settled_in_cash_after_the_session_in_which_it_expires() -> None:
    """5 January is the fifth bar: at the first instant of the sixth what is held goes at its last close, and what is open is cancelled."""
    tape = future_bars(*[flat(100)] * 4, flat(107), None, None)
    steps: Steps = {0: lambda view: [view.order(-2)], 3: lambda view: [view.order(1, limit=50.0, kind=1)], 6: lambda view: [view.order(1)]}
    result = run(tape, steps)
    assert bookings(result) == [(5, "expiry", -700.0, 2.0)]
    assert (result.cash, result.positions, result.equity[-1]) == (99_300.0, {}, 99_300.0)
    assert states(result) == ["filled: filled", "cancelled: the contract has expired", "rejected: the contract has expired"]


def test_a_contract_that_is_held_to_the_end_of_the_data_keeps_its_open_gain() -> None:
    result = run(future_bars(QUIET, flat(100), flat(110)), {0: lambda view: [view.order(1)]})
    assert (result.cash, result.equity[-1], result.positions) == (1e5, 100_500.0, {"ES": 1.0})


def test_exposure_of_a_future_is_its_contract_value() -> None:
    result = run(future_bars(QUIET, flat(100)), {0: lambda view: [view.order(2)]})
    assert result.exposure[0].tolist() == [0.0, pytest.approx(2 * 50 * 100 / 1e5)]


def test_initial_margin_is_checked_when_an_order_is_accepted() -> None:
    """10,000 carries ten contracts at 1,000, whatever they are worth; with what is on its way counted."""
    steps: Steps = {0: lambda view: [view.order(11), view.order(10), view.order(1), view.order(-10)]}
    result = run(future_bars(QUIET, flat(10)), steps, cash=10_000.0)
    assert states(result) == ["rejected: initial margin", "filled: filled", "rejected: initial margin", "filled: filled"]


def test_initial_margin_is_checked_again_when_an_order_would_fill() -> None:
    """Enough for ten when both were accepted, and for nine when the second is touched."""
    tape = future_bars(QUIET, flat(100), (90.0, 90.0, 80.0, 80.0, 1000.0), future=Future("ES", tick="0", initial_margin=1_000.0))
    steps: Steps = {0: lambda view: [view.order(9), view.order(1, kind=1, limit=85.0)]}
    assert states(run(tape, steps, cash=10_000.0)) == ["filled: filled", "filled: filled"]
    falling = future_bars(QUIET, flat(100), flat(80), flat(80), future=Future("ES", tick="0", initial_margin=1_000.0))
    steps = {0: lambda view: [view.order(9), view.order(1, kind=1, limit=79.0)]}
    lower = run(future_bars(QUIET, flat(100), flat(80), flat(79), future=Future("ES", tick="0", initial_margin=1_000.0)), steps, cash=10_000.0)
    assert states(lower) == ["filled: filled", "rejected: buying power"]
    assert states(run(falling, steps, cash=10_000.0))[1].startswith("accepted")


def test_shares_and_futures_draw_on_the_same_margin() -> None:
    """At 50 % 1,000 shares at 10 need 5,000: five contracts are left."""
    tape = future_bars(QUIET, flat(10), share=[QUIET, flat(10, 1e6)])
    steps: Steps = {0: lambda view: [view.order(1_000, "X"), view.order(6, "ES"), view.order(5, "ES"), view.order(1, "X")]}
    result = run(tape, steps, cash=10_000.0, leverage=2.0)
    assert states(result) == ["filled: filled", "rejected: initial margin", "filled: filled", "rejected: initial margin"]


def test_a_batch_of_futures_trades_like_single_orders() -> None:
    tape = future_bars(QUIET, flat(10), flat(11), share=[QUIET, flat(10, 1e6), flat(9)])
    batch = run(tape, {0: lambda view: market_orders(view, (1, 1_000), (0, 6), (0, 5))}, cash=10_000.0, leverage=2.0)
    single = run(tape, {0: lambda view: [view.order(1_000, "X"), view.order(6, "ES"), view.order(5, "ES")]}, cash=10_000.0, leverage=2.0)
    assert (batch.equity.tolist(), states(batch)) == (single.equity.tolist(), states(single))
    assert batch.equity[-1] == 10_000 - 1_000 + 5 * 50


def test_maintenance_margin_of_a_future_is_its_own() -> None:
    """Ten need 8,000. After a fall of 5 a contract 7,500 are left, for eight with a buffer of 5 %: 8 x 840 = 6,720."""
    tape = future_bars(QUIET, flat(100), flat(95), flat(95), flat(95))
    result = run(tape, {0: lambda view: [view.order(10)]}, cash=10_000.0, margin=Margin())
    assert [(row.quantity, row.reason, row.had, row.needed) for row in result.forced] == [(-2.0, "margin call", 7_500.0, 8_000.0)]
    assert (result.positions, result.cash) == ({"ES": 8.0}, 7_500.0)


def test_a_cash_account_holds_no_futures() -> None:
    with pytest.raises(ScenarioError, match=r"account.kind must be 'margin' to trade futures, and ES is one; was 'cash'"):
        simulate(future_bars(QUIET), Script({}), account=Account(1e4, "cash"))


def test_a_contract_that_cannot_be_is_refused() -> None:
    for terms, words in (
        ({"initial_margin": -1.0}, "future 'ES': initial_margin must be money a contract, 0 or above, was -1.0"),
        ({"maintenance_margin": 5.0, "initial_margin": 4.0}, "maintenance_margin must be at most initial_margin, 4, was 5.0"),
        ({"expires": "March"}, "expires must be a date such as '2020-03-20', was 'March'"),
        ({"multiplier": 0.0}, "multiplier must be a number above 0"),
    ):
        with pytest.raises(DataError) as error:
            Future("ES", **terms)
        assert words in str(error.value)


def test_a_file_may_be_declared_to_be_of_a_future(tmp_path: Path) -> None:
    path = tmp_path / "ES.csv"
    path.write_text("date,open,high,low,close,volume\n2024-01-02,10,10,10,10,5\n")
    terms: dict[str, float | str] = {"multiplier": 50, "initial_margin": 900, "expires": "2024-03-15"}
    (traded,) = read_bars(path, futures={"ES": terms}).instruments
    assert traded == Future("ES", multiplier=50, initial_margin=900, expires="2024-03-15")
    for futures, words in (
        ({"EZ": terms}, "futures: there are no bars of 'EZ'; there is: ES"),
        ({"ES": {"multiplyer": 5}}, "futures.ES: no such key 'multiplyer'; did you mean 'multiplier'?"),
        ({"ES": {"multiplier": "5"}}, "futures.ES: multiplier must be a number, was '5'"),
    ):
        with pytest.raises(DataError) as error:
            read_bars(path, futures=futures)
        assert words in str(error.value)


def test_plain_orders_trade_futures_too() -> None:
    bars = {"ES": {"date": ["2024-01-02", "2024-01-03", "2024-01-04"], **{x: [100.0, 100.0, 110.0] for x in ("open", "high", "low", "close")}}}
    result = run_orders(bars, [{"symbol": "ES", "quantity": 2}], cash=1e4, instruments={"ES": Future("ES", multiplier=50.0)}, check=True)
    assert (result.cash, result.equity.tolist()) == (1e4, [1e4, 1e4, 11_000.0])


moves = st.lists(st.tuples(st.integers(-4, 4), st.integers(-20, 20), st.integers(-9, 9)), min_size=2, max_size=12)


@given(moves, st.booleans())
def test_cash_and_open_gains_are_the_equity_and_the_journal_tells_all_of_it(steps: list[tuple[int, int, int]], ends: bool) -> None:
    """Random trades in a future and a share, with financing and margin: audited after each bar, folded, and told again by the result."""
    prices = 100.0 + np.cumsum([move for _, _, move in steps])
    prices = np.maximum(prices, 20.0)
    future = Future("ES", tick="0", multiplier=50.0, initial_margin=2_000.0, maintenance_margin=1_500.0, expires="1970-01-06" if ends else "")
    tape = future_bars(*[flat(float(x)) for x in prices], future=future, share=[flat(float(x) / 2) for x in prices[::-1]])

    def trade(wished: tuple[int, int, int]) -> Callable[[View], Proposal]:
        return lambda view: [view.order(wished[0], "ES"), view.order(wished[1] * 10, "X")]

    script = Script({k: trade(wished) for k, wished in enumerate(steps)})
    terms = Financing(borrow=0.5, debit=0.3, credit=0.1)
    session, feed = assemble(
        tape, script, broker=plain(), account=Account(20_000.0), limits=Limits(drawdown_max=0.8), financing=terms, margin=Margin()
    )
    assert drive(session, feed, len(tape)) == len(tape)
    portfolio = session.portfolio
    state = fold(session.journal, tape, 20_000.0)  # type: ignore[arg-type]  # a MemoryJournal
    assert (state.cash, state.receivable) == (portfolio.cash, portfolio.receivable)
    assert (state.lots, state.averages, state.realised) == tuple(x.tobytes() for x in (portfolio.lots, portfolio.averages, portfolio.realised))
    result = simulate(
        tape,
        Script(script.steps),
        broker=plain(),
        account=Account(20_000.0),
        limits=Limits(drawdown_max=0.8),
        financing=terms,
        margin=Margin(),
        check=True,
    )
    assert result.equity.tolist() == [equity for _, equity, _, _ in script.seen]
    assert result.cash == portfolio.cash
