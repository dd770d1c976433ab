"""Calendars of exchanges, from the library exchange_calendars: sessions, half days, holidays, and what daylight saving does to them.

It is imported where the first exchange is asked for, since that takes a second.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Final

import numpy as np

from simulator.errors import DataError, nearest
from simulator.market.calendars import day_text
from simulator.market.tape import DAY, IntArray

MARGIN: Final = 40
"""Days around what is asked for that are loaded too: longer than any exchange has been closed in a row."""


class Exchange:
    """The sessions of the exchange with a code such as "XNYS" (a MIC), "CMES" or "24/7". Raises DataError where there is none of that code."""

    __slots__ = ("_closes", "_days", "_first", "_last", "_opens", "code")

    def __init__(self, code: str) -> None:
        self.code = code
        self._first = self._last = 0
        self._days, self._opens, self._closes = (np.empty(0, np.int64) for _ in range(3))

    def times(self, dates: IntArray) -> tuple[IntArray, IntArray]:
        """When the sessions of *dates* (days since 1970) open and close, in UTC nanoseconds: both (n,). Raises DataError for a date that is none."""
        if not len(dates):
            return dates.copy(), dates.copy()
        self._cover(int(dates.min()), int(dates.max()))
        at = np.minimum(np.searchsorted(self._days, dates), len(self._days) - 1)
        closed = np.flatnonzero(self._days[at] != dates)
        if len(closed):
            raise DataError(f"{day_text(dates[closed[0]])} is no session of {self.code}: the exchange was closed")
        return self._opens[at], self._closes[at]

    def session(self, day: int) -> tuple[int, int] | None:
        """When the session of one day opens and closes, in UTC nanoseconds; None where the exchange is closed."""
        self._cover(day, day)
        k = int(np.searchsorted(self._days, day))
        return (int(self._opens[k]), int(self._closes[k])) if k < len(self._days) and self._days[k] == day else None

    def sessions_of(self, instants: IntArray) -> IntArray:
        """The last session that had opened by each of these UTC nanoseconds, in days since 1970: (n,)."""
        if not len(instants):
            return instants.copy()
        self._cover(int(instants.min()) // DAY, int(instants.max()) // DAY)
        found: IntArray = self._days[np.maximum(np.searchsorted(self._opens, instants, "right") - 1, 0)]
        return found

    def after(self, day: int, sessions: int) -> int:
        """The day of the session that is so many *sessions* after *day*."""
        self._cover(day, day + 2 * sessions)
        k = int(np.searchsorted(self._days, day, "right")) + sessions - 1
        return int(self._days[k])

    def _cover(self, first: int, last: int) -> None:
        """Load the years around these days, if they are not there yet."""
        if self._first <= first - MARGIN and last + MARGIN <= self._last:
            return
        years = [int(str(np.datetime64(day, "D"))[:4]) for day in (first - MARGIN, last + MARGIN)]
        self._days, self._opens, self._closes = _sessions(self.code, *years)
        self._first, self._last = (int(np.datetime64(f"{year}-01-01", "D").astype(np.int64)) for year in (years[0], years[1] + 1))


@lru_cache(maxsize=8)
def _sessions(code: str, first_year: int, last_year: int) -> tuple[IntArray, IntArray, IntArray]:
    """The sessions of whole years: (days since 1970, opens, closes)."""
    import exchange_calendars

    known = exchange_calendars.get_calendar_names()
    if code not in known:
        raise DataError(f"there is no exchange {code!r}{nearest(code, known)}")
    # Both ends are said, since the library counts from today where they are not.
    try:
        with warnings.catch_warnings():
            # What pandas says of the library's own code is not for our users.
            warnings.simplefilter("ignore")
            calendar = exchange_calendars.get_calendar(code, start=f"{first_year}-01-01", end=f"{last_year}-12-31")
    except ValueError as broken:
        raise DataError(f"the calendar of {code} does not reach from {first_year} to {last_year}: {str(broken).splitlines()[0]}") from None
    schedule = calendar.schedule
    days = schedule.index.to_numpy().astype("datetime64[D]").astype(np.int64)
    opens, closes = (schedule[name].dt.tz_convert(None).to_numpy().astype("datetime64[ns]").astype(np.int64) for name in ("open", "close"))
    return days, opens, closes


def business_day_after(day: int, count: int, exchange: Exchange | None) -> int:
    """The *count*-th business day after *day* (days since 1970): sessions of the exchange, or, without one, Mondays to Fridays."""
    if exchange is not None:
        return exchange.after(day, count)
    return int(np.busday_offset(np.datetime64(day, "D"), count, roll="backward").astype(np.int64))
