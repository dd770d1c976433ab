"""Sessions and local times, above all in the weeks when clocks change."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from simulator.errors import DataError
from simulator.market.calendars import instant_text, local_date, parse_hours, parse_interval, parse_zone, session_times, utc_of
from simulator.market.tape import DAY, SECOND

NEW_YORK = ZoneInfo("America/New_York")
HOUR = 3600 * SECOND


def days(*dates: str) -> np.ndarray:
    return np.array(dates, "datetime64[D]").astype(np.int64)


def at(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[ns]").astype(np.int64)


def test_a_session_without_hours_is_the_utc_day() -> None:
    opened, closed = session_times(days("2020-03-02", "2020-03-03"))
    assert opened.tolist() == at("2020-03-02", "2020-03-03").tolist()
    assert (closed - opened == DAY).all()


def test_a_session_keeps_its_local_hours_through_both_clock_changes() -> None:
    dates = ("2020-03-06", "2020-03-09", "2020-10-30", "2020-11-02")
    opened, closed = session_times(days(*dates), "09:30-16:00 America/New_York")
    assert opened.tolist() == at("2020-03-06T14:30", "2020-03-09T13:30", "2020-10-30T13:30", "2020-11-02T14:30").tolist()
    assert closed.tolist() == at("2020-03-06T21:00", "2020-03-09T20:00", "2020-10-30T20:00", "2020-11-02T21:00").tolist()


def test_a_local_day_is_23_or_25_hours_long_when_the_clocks_change() -> None:
    opened, closed = session_times(days("2020-03-08", "2020-03-09", "2020-11-01"), "00:00-24:00 America/New_York")
    assert ((closed - opened) // HOUR).tolist() == [23, 24, 25]


def test_dates_may_be_given_as_datetimes() -> None:
    assert session_times(np.array(["2020-03-06"], "datetime64[D]"))[0].tolist() == at("2020-03-06").tolist()


def test_local_times_around_a_clock_change_are_told_apart() -> None:
    local = at("2020-03-08T01:59", "2020-03-08T03:00", "2020-11-01T00:59", "2020-11-01T02:00")
    utc = at("2020-03-08T06:59", "2020-03-08T07:00", "2020-11-01T04:59", "2020-11-01T07:00")
    assert utc_of(local, NEW_YORK).tolist() == utc.tolist()


@pytest.mark.parametrize(("told", "reason"), [("2020-03-08T02:30", "does not exist"), ("2020-11-01T01:30", "is ambiguous")])
def test_a_time_that_the_clocks_skip_or_repeat_is_refused(told: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"{told.replace('T', ' ')}:00 {reason} .* in America/New_York"):
        utc_of(at(told), NEW_YORK)


def test_a_zone_may_change_its_clocks_at_midnight() -> None:
    """Havana went from 2020-03-07 24:00 straight to 2020-03-08 01:00."""
    havana = ZoneInfo("America/Havana")
    assert utc_of(at("2020-03-07T23:59", "2020-03-08T01:00"), havana).tolist() == at("2020-03-08T04:59", "2020-03-08T05:00").tolist()
    with pytest.raises(DataError, match="2020-03-08 00:30:00 does not exist"):
        utc_of(at("2020-03-08T00:30"), havana)


def test_every_hour_of_two_years_lies_in_the_local_day_of_its_date() -> None:
    utc = np.arange(at("2019-01-01")[0], at("2021-01-01")[0], HOUR)
    dates = local_date(utc, NEW_YORK)
    opened, closed = session_times(dates, "00:00-24:00 America/New_York")
    assert ((opened <= utc) & (utc < closed)).all()


@pytest.mark.parametrize(("text", "nanoseconds"), [("30s", 30 * SECOND), ("5m", 300 * SECOND), ("1h", HOUR), ("1d", DAY), ("10d", 10 * DAY)])
def test_an_interval_is_read(text: str, nanoseconds: int) -> None:
    assert parse_interval(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "d", "1", "0d", "1.5h", "-1d", "1 d", "1D", "1w", "١d", "9999999s"])
def test_anything_else_is_no_interval(text: str) -> None:
    with pytest.raises(DataError, match=r"feed\.interval must be a whole number of s, m, h or d such as '5m' or '1d', was "):
        parse_interval(text, "feed.interval")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("09:30-16:00", "hours must look like '09:30-16:00 America/New_York', was '09:30-16:00'"),
        ("9:30-16:00 UTC", "hours must look like"),
        ("09:30-25:00 UTC", "hours must look like"),
        ("09:60-10:00 UTC", "hours must look like"),
        ("17:00-16:00 UTC", "hours must open before they close, were '17:00-16:00 UTC'"),
        ("09:30-16:00 America/NewYork", "hours: there is no time zone 'America/NewYork'"),
        ("09:30-16:00 ../etc", "hours: there is no time zone '../etc'"),
    ],
)
def test_hours_that_cannot_be_read_are_refused(text: str, reason: str) -> None:
    with pytest.raises(DataError) as refused:
        parse_hours(text)
    assert reason in str(refused.value)


def test_a_zone_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"timezone: there is no time zone 'Mars'; write one such as"):
        parse_zone("Mars")


def test_an_instant_is_written_to_the_second_where_it_can_be() -> None:
    assert instant_text(at("2020-01-02T09:30")[0]) == "2020-01-02T09:30:00Z"
    assert instant_text(at("2020-01-02T09:30")[0] + 1) == "2020-01-02T09:30:00.000000001Z"
