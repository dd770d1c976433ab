"""When a session opens and closes, and what a local time or a length of time is in nanoseconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.market.tape import DAY, SECOND, IntArray

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
EPOCH = datetime(1970, 1, 1)

INTERVAL = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
EXCHANGE = re.compile(r"[A-Z0-9/]{3,5}", re.ASCII)
HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]:[0-5][0-9]|2[0-3]:[0-5][0-9]|24:00) (\S+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hours:
    """The local times between which a session trades, in nanoseconds after midnight, and their zone."""

    opens: int
    closes: int
    zone: ZoneInfo


def session_times(dates: npt.ArrayLike, hours: str | None = None) -> tuple[IntArray, IntArray]:
    """When the sessions of *dates* (days since 1970, or datetime64) open and close: two (n,) arrays of UTC nanoseconds.

    Without *hours* a session is the UTC day from 00:00 to 24:00. With hours such as "09:30-16:00 America/New_York" it lies between these local
    times of its date, whatever daylight saving does to the UTC ones; with an exchange such as "XNYS" it is that of its calendar. Raises DataError for
    hours that cannot be read, or that a date does not have.
    """
    if hours is not None and is_exchange(hours):
        from simulator.market.exchanges import Exchange

        return Exchange(hours).times(np.asarray(dates, "datetime64[D]").astype(np.int64))
    midnights = np.asarray(dates, "datetime64[D]").astype(np.int64) * DAY
    if hours is None:
        return midnights, midnights + DAY
    told = parse_hours(hours)
    opened_at, closed_at = utc_of(np.stack([midnights + told.opens, midnights + told.closes]), told.zone)
    return opened_at, closed_at


def is_exchange(hours: str) -> bool:
    """Whether *hours* look like the code of an exchange, such as XNYS, and not like times of day."""
    return EXCHANGE.fullmatch(hours) is not None


def parse_interval(text: str, name: str = "interval") -> int:
    """Nanoseconds in "30s", "5m", "1h" or "1d". Raises DataError, naming the setting *name*, for anything else."""
    found = INTERVAL.fullmatch(text)
    if not found:
        raise DataError(f"{name} must be a whole number of s, m, h or d such as '5m' or '1d', was {text!r}")
    return int(found[1]) * UNITS[found[2]]


def parse_hours(text: str, name: str = "hours") -> Hours:
    """The session hours in "09:30-16:00 America/New_York". Raises DataError, naming the setting *name*, for anything else."""
    found = HOURS.fullmatch(text)
    if not found:
        raise DataError(f"{name} must look like '09:30-16:00 America/New_York', was {text!r}; or name an exchange such as 'XNYS'")
    closing_hour, closing_minute = found[3].split(":")
    opens, closes = int(found[1]) * HOUR + int(found[2]) * MINUTE, int(closing_hour) * HOUR + int(closing_minute) * MINUTE
    if not opens < closes:
        raise DataError(f"{name} must open before they close, were {text!r}")
    return Hours(opens, closes, parse_zone(found[4], name))


def parse_zone(text: str, name: str = "timezone") -> ZoneInfo:
    """The time zone *text*. Raises DataError, naming the setting *name*, where there is none of that name."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(f"{name}: there is no time zone {text!r}; write one such as 'UTC' or 'America/New_York'") from None


def utc_of(local: IntArray, zone: ZoneInfo, where: Callable[[int], str] = lambda row: "") -> IntArray:
    """UTC nanoseconds of *local* ones (what the clocks of *zone* show, counted from 1970).

    Raises DataError for a time that these clocks skip in spring or show twice in autumn: nobody can say which instant was meant. *where* puts the
    place of that row before the message.
    """
    days, which = np.unique(local // DAY, return_inverse=True)
    around = {day: _offsets(EPOCH + timedelta(days=day), zone) for day in {*days.tolist(), *(days + 1).tolist()}}
    offsets = np.array([_nanoseconds(min(around[day])) for day in days.tolist()], np.int64)
    changing = np.array([len(around[day] | around[day + 1]) > 1 for day in days.tolist()], np.bool_)
    utc = local - offsets[which]
    # On the few days when the clocks change, each time is asked for by itself.
    for place in np.argwhere(changing[which]).tolist():
        at = tuple(place)
        told = EPOCH + timedelta(microseconds=int(local[at]) // 1000)
        either = _offsets(told, zone)
        if len(either) > 1:
            skipped = _offset(told, zone) < _offset(told.replace(fold=1), zone)
            why = "does not exist (the clocks skip it)" if skipped else "is ambiguous (the clocks show it twice)"
            raise DataError(f"{where(at[-1])}{told} {why} in {zone.key}; give stamps in UTC")
        utc[at] = local[at] - _nanoseconds(min(either))
    return utc


def local_date(utc: IntArray, zone: ZoneInfo) -> IntArray:
    """The dates, in days since 1970, that the clocks of *zone* show at *utc* nanoseconds: (n,)."""
    days, which = np.unique(utc // DAY, return_inverse=True)
    around = {day: _offset_at(day * 86_400, zone) for day in {*days.tolist(), *(days + 1).tolist()}}
    offsets = np.array([around[day] for day in days.tolist()], np.int64)[which]
    changing = np.array([around[day] != around[day + 1] for day in days.tolist()], np.bool_)
    for row in np.flatnonzero(changing[which]).tolist():
        offsets[row] = _offset_at(int(utc[row]) // SECOND, zone)
    return (utc + offsets) // DAY


def day_text(day: int) -> str:
    """The ISO date of *day*, in days since 1970."""
    return str(np.datetime64(int(day), "D"))


def instant_text(at: int) -> str:
    """The ISO text of *at* UTC nanoseconds, to the second if it lies on one."""
    exact = np.datetime64(int(at), "ns")
    return f"{exact.astype('datetime64[s]') if at % SECOND == 0 else exact}Z"


def _offsets(local: datetime, zone: ZoneInfo) -> set[timedelta]:
    """The offsets that *local* can have: two of them where the clocks skip it or show it twice."""
    return {_offset(local, zone), _offset(local.replace(fold=1), zone)}


def _offset(local: datetime, zone: ZoneInfo) -> timedelta:
    offset = zone.utcoffset(local)
    assert offset is not None, "a named zone always has an offset"
    return offset


def _offset_at(second: int, zone: ZoneInfo) -> int:
    return _nanoseconds(_offset((EPOCH + timedelta(seconds=second)).replace(tzinfo=UTC).astimezone(zone), zone))


def _nanoseconds(offset: timedelta) -> int:
    return offset // timedelta(microseconds=1) * 1000
