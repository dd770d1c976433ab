"""Cash accounts: what sales bring settles a business day later, and may buy before that. Source: market-rules.md, section 3."""

from __future__ import annotations

from typing import Any

import pytest
from small_markets import QUIET, daily, market_orders, plain, run

from simulator import Account, ScenarioError, View, run_orders
from simulator.loop.journal import MemoryJournal
from simulator.report.telling import Telling

DATES = ["2024-12-20", "2024-12-23", "2024-12-24", "2024-12-26", "2024-12-27", "2024-12-30", "2024-12-31"]


def settled(sold_after: int, **terms: Any) -> list[tuple[int, float]]:
    """The bars at which a sale settles that was decided after a bar, and its proceeds. Bar 2 is Christmas Eve, 4 a Friday."""
    columns = {"date": DATES, **{name: [10.0] * len(DATES) for name in ("open", "high", "low", "close")}}
    orders = [{"symbol": "X", "quantity": 10, "bar": 0}, {"symbol": "X", "quantity": -10, "bar": sold_after}]
    account = {"account": "cash", "settlement_days": 1, **terms}
    result = run_orders({"X": columns}, orders, cash=100.0, check=True, **account)
    return [(row.bar, row.price) for row in result.bookings if row.kind == "settlement"]


def test_a_sale_settles_on_the_next_business_day() -> None:
    assert settled(2) == [(4, 100.0)]


def test_a_sale_on_a_friday_settles_on_monday() -> None:
    assert settled(3) == [(5, 100.0)]


def test_a_holiday_of_the_exchange_is_no_business_day() -> None:
    """Sold on the 24th: T+2 counts Christmas where nobody said otherwise, and is the 26th; in New York it is the 27th."""
    assert settled(1, settlement_days=2) == [(3, 100.0)]
    assert settled(1, settlement_days=2, hours="XNYS") == [(4, 100.0)]


def test_margin_accounts_and_zero_days_settle_nothing() -> None:
    assert settled(2, account="margin") == []
    assert settled(2, settlement_days=0) == []


def test_unsettled_proceeds_may_buy() -> None:
    seen: list[tuple[float, float]] = []

    def note(view: View) -> tuple[()]:
        seen.append((view.cash, view.settled_cash))
        return ()

    def sell(view: View) -> Any:
        note(view)
        return [view.order(-10)]

    def buy(view: View) -> Any:
        note(view)
        return [view.order(10)]

    result = run(daily(*[QUIET] * 6), {0: lambda view: [view.order(10)], 1: sell, 2: buy, 3: note, 4: note}, account=Account(100.0, "cash"))
    # Session 1 is a Friday, since 1970 began on a Thursday: what is sold on Saturday, session 2, settles on Monday, session 4.
    assert [fill.bar for fill in result.fills] == [1, 2, 3]
    assert seen == [(0.0, 0.0), (100.0, 0.0), (0.0, -100.0), (0.0, 0.0)]


def test_sales_in_a_batch_settle_too_and_are_told_in_words() -> None:
    steps = {0: lambda view: market_orders(view, (0, 10)), 1: lambda view: market_orders(view, (0, -10))}
    result = run(daily(*[QUIET] * 6), steps, plain(), account=Account(100.0, "cash"))
    assert isinstance(result.journal, MemoryJournal)
    telling = Telling(result.journal, result.tape)
    assert "settlement of the account: 100.00 that sales brought" in [telling.event(entry) for entry in telling.entries(slice(None))]


def test_settlement_days_that_cannot_be_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"account\.settlement_days must be in 0\.\.30, was -1"):
        Account(settlement_days=-1)
