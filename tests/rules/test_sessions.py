"""Sessions as the calendar of an exchange has them: half days, holidays, daylight saving; DAY orders and auctions inside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brokers.simulated import Simulated
from simulator import DAY, SECOND, DataError, Exchange, OrderKind, Proposal, Result, View, read_bars, run_orders, simulate, tape_from_columns
from simulator.market.exchanges import business_day_after

HOUR = 3600 * SECOND


def day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(np.int64))


def half_hours(*sessions: tuple[str, str, str]) -> dict[str, list[Any]]:
    """Bars of half an hour at a price of 10, stamped at their closes: (date, first open, last close) in UTC."""
    stamps: list[str] = []
    for date, first, last in sessions:
        opens = np.arange(np.datetime64(f"{date}T{first}"), np.datetime64(f"{date}T{last}"), np.timedelta64(30, "m"))
        stamps += [f"{stamp}:00Z" for stamp in (opens + np.timedelta64(30, "m")).astype(str)]
    prices = [10.0 + 0.01 * k for k in range(len(stamps))]
    return {"date": stamps, "open": prices, "high": prices, "low": prices, "close": prices, "volume": [1000.0] * len(stamps)}


def traded(bars: dict[str, list[Any]], orders: Sequence[dict[str, Any]], **terms: Any) -> Result:
    return run_orders(
        {"X": bars}, [{"symbol": "X", "quantity": 1, **order} for order in orders], cash=1000.0, interval="30m", stamps="close", check=True, **terms
    )


WINTER = ("2024-03-08", "14:30", "21:00")
SUMMER = ("2024-03-11", "13:30", "20:00")
HALF = ("2024-11-29", "14:30", "18:00")


# The calendar.


def test_hours_of_an_exchange_follow_daylight_saving_and_half_days() -> None:
    """New York put its clocks forward on 10 March 2024, and closed at 13:00 on 29 November."""
    opens, closes = Exchange("XNYS").times(np.array([day("2024-03-08"), day("2024-03-11"), day("2024-11-29")]))
    assert ((opens % DAY) / HOUR).tolist() == [14.5, 13.5, 14.5]
    assert ((closes % DAY) / HOUR).tolist() == [21.0, 20.0, 18.0]


def test_a_holiday_is_no_session() -> None:
    assert Exchange("XNYS").session(day("2024-12-25")) is None
    with pytest.raises(DataError, match="2024-12-25 is no session of XNYS"):
        Exchange("XNYS").times(np.array([day("2024-12-24"), day("2024-12-25")]))


def test_business_days_skip_weekends_and_the_holidays_of_the_exchange() -> None:
    friday, christmas_eve = day("2024-03-08"), day("2024-12-24")
    assert business_day_after(friday, 1, None) == day("2024-03-11")
    assert business_day_after(christmas_eve, 1, None) == day("2024-12-25")
    assert business_day_after(christmas_eve, 1, Exchange("XNYS")) == day("2024-12-26")
    assert Exchange("XNYS").after(christmas_eve, 2) == day("2024-12-27")


def test_an_exchange_that_there_is_not_is_refused() -> None:
    with pytest.raises(DataError, match="there is no exchange 'XNYZ'; did you mean"):
        Exchange("XNYZ").session(day("2024-12-24"))


# Data.


def test_daily_bars_close_when_their_exchange_does(tmp_path: Path) -> None:
    (tmp_path / "X.csv").write_text("date,open,high,low,close,volume\n2024-11-27,1,1,1,1,1\n2024-11-29,1,1,1,1,1\n")
    tape = read_bars(tmp_path / "X.csv", hours="XNYS")
    assert [at % DAY / HOUR for at in tape.ats] == [21.0, 18.0]
    assert tape.truth.calendar == "XNYS"


def test_bars_on_holidays_or_after_the_close_of_a_half_day_are_refused(tmp_path: Path) -> None:
    (tmp_path / "X.csv").write_text("date,open,high,low,close,volume\n2024-11-28,1,1,1,1,1\n")
    with pytest.raises(DataError, match="2024-11-28 is no session of XNYS"):
        read_bars(tmp_path / "X.csv", hours="XNYS")
    with pytest.raises(DataError, match="must lie within hours, XNYS"):
        tape_from_columns({"X": half_hours(("2024-11-29", "14:30", "18:30"))}, interval="30m", stamps="close", hours="XNYS")


def test_sessions_are_dates_of_the_exchange() -> None:
    """Tokyo's session of the 5th begins at midnight UTC, and Sydney's before it."""
    tape = tape_from_columns({"X": half_hours(("2024-03-04", "23:00", "23:30"), ("2024-03-05", "00:00", "00:30"))}, interval="30m", hours="XASX")
    assert tape.days[0] == tape.days[1] == day("2024-03-05")


# DAY orders.


@pytest.mark.parametrize(("session", "bars"), [(WINTER, 13), (SUMMER, 13), (HALF, 7)])
def test_a_day_order_ends_at_the_close_of_its_session(session: tuple[str, str, str], bars: int) -> None:
    result = traded(half_hours(session), [{"bar": 0, "kind": "limit", "limit": 1.0, "tif": "DAY"}], hours="XNYS")
    order = result.orders[0]
    assert (order.state, order.reason, order.waits[0][2]) == ("expired", "end of session", result.tape.ats[bars - 1])
    ended = result.journal_table()[-1]
    assert ended["at"] == result.tape.ats[bars - 1]


def test_a_day_order_in_a_batch_or_sent_at_the_last_close_has_the_next_session() -> None:
    result = traded(half_hours(WINTER, SUMMER), [{"bar": 12, "kind": "limit", "limit": 1.0, "tif": "DAY"}], hours="XNYS")
    assert result.journal_table()[-1]["at"] == result.tape.ats[25]


def test_without_a_calendar_a_day_order_ends_when_the_next_session_shows() -> None:
    result = traded(half_hours(WINTER, SUMMER), [{"bar": 0, "kind": "limit", "limit": 1.0, "tif": "DAY"}])
    assert result.journal_table()[-1]["at"] == result.tape.ats[13]


# Auctions.


def test_a_market_on_close_order_fills_at_the_close_of_the_session() -> None:
    bars = half_hours(WINTER, SUMMER)
    result = traded(bars, [{"bar": 0, "kind": "market_on_close"}, {"bar": 13, "kind": "market_on_close"}], hours="XNYS")
    assert [(fill.bar, fill.price) for fill in result.fills] == [(12, bars["close"][12]), (25, bars["close"][25])]
    assert [reason for reason, _, _ in result.orders[0].waits] == ["not its auction yet"]


def test_on_a_half_day_the_closing_auction_is_early() -> None:
    assert [fill.bar for fill in traded(half_hours(HALF), [{"bar": 0, "kind": "market_on_close"}], hours="XNYS").fills] == [6]


def test_a_market_on_close_order_after_the_cut_off_waits_for_the_next_close() -> None:
    """Half an hour before the close is in time for a cut-off of ten minutes, and late for one of an hour."""
    assert [fill.bar for fill in traded(half_hours(WINTER, SUMMER), [{"bar": 11, "kind": "market_on_close"}], hours="XNYS").fills] == [12]
    tape = tape_from_columns({"X": half_hours(WINTER, SUMMER)}, interval="30m", stamps="close", hours="XNYS")

    class Late:
        def on_bars(self, view: View) -> Proposal:
            return [view.order(1, kind=OrderKind.MARKET_ON_CLOSE)] if view.row == 11 else ()

    late = simulate(tape, Late(), broker=Simulated(close_cutoff_seconds=3600.0), check=True)
    assert [fill.bar for fill in late.fills] == [25]


def test_a_market_on_open_order_fills_at_the_bar_with_the_opening_auction() -> None:
    bars = half_hours(WINTER, SUMMER)
    assert [fill.bar for fill in traded(bars, [{"bar": 0, "kind": "market_on_open"}], hours="XNYS").fills] == [13]
    late = {key: values[:13] + values[14:] for key, values in bars.items()}
    assert traded(late, [{"bar": 0, "kind": "market_on_open"}], hours="XNYS").fills == [], "the auction is not in these bars"


def test_without_a_calendar_a_closing_auction_inside_a_session_is_refused() -> None:
    assert traded(half_hours(WINTER), [{"bar": 0, "kind": "market_on_close"}]).orders[0].state == "rejected"


def test_cut_offs_are_not_negative() -> None:
    with pytest.raises(ValueError, match="close_cutoff_seconds must be 0 or above, was -1"):
        Simulated(close_cutoff_seconds=-1.0)
