"""Wake-ups: a strategy that says when it wants to be called, and the feed that passes over what lies between.

Besides `on_bars` such a strategy has `wakes()`, which returns one of these conditions or several of them, any of which wakes it:

| condition | when |
| --- | --- |
| `EveryBars(n)` | at every n-th instant, from the first on |
| `AtTimes("15:30", zone="America/New_York")` | at the first close that is not before a time of day |
| `AtSessionClose()` | at the close of a session, by the calendar of the exchange; at every close where bars are whole sessions |
| `Crossing("fast", "slow")` | when one indicator or field crosses another, or a number, in any instrument; and where it is first on a side |

It is called at these closes alone, from the first on at which some instrument has all indicators: the run is that of the same strategy that is called
at every close and returns nothing at all others. Each condition uses what could be known at that close. What lies between is passed over, but for
bars that meet open orders, in which a calendar (corporate actions, settlement, financing) may be due, or at whose mark a limit or the margin of the
account would have something done: these are looked for in compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from simulator.book.orders import FloatArray, IntArray, Proposal
from simulator.errors import PluginError, ScenarioError, nearest
from simulator.market.calendars import local_date, parse_zone, utc_of
from simulator.market.exchanges import Exchange
from simulator.market.tape import DAY, FIELDS, SECOND, Replay, Tape

if TYPE_CHECKING:
    from simulator.loop.session import Session
    from simulator.market.indicators import Readings
    from simulator.market.tape import Bars
    from simulator.market.view import View
    from simulator.ports import Strategy

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EveryBars:
    """At every *count*-th instant, from the first on. Raises ScenarioError for a count below 1."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ScenarioError(f"EveryBars: count must be at least 1, was {self.count}")

    def find(self, tape: Tape, readings: Readings, first: int, end: int, state: dict[Any, Any]) -> BoolArray:
        """Which rows from *first* up to *end* wake."""
        found: BoolArray = np.arange(first, end) % self.count == 0
        return found


@dataclass(frozen=True, slots=True, init=False)
class AtTimes:
    """At the first close of a day that is not before each of these *times* ("HH:MM", as the clocks of *zone* show). A day without one is left out.

    Raises ScenarioError for what is no time of day, DataError for a time zone that there is none of.
    """

    times: tuple[str, ...]
    zone: str = "UTC"

    def __init__(self, *times: str, zone: str = "UTC") -> None:
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "zone", zone)
        if not times:
            raise ScenarioError("AtTimes needs at least one time of day, such as AtTimes('15:30')")
        for time in times:
            _seconds(time)
        parse_zone(zone, "AtTimes: zone")

    def find(self, tape: Tape, readings: Readings, first: int, end: int, state: dict[Any, Any]) -> BoolArray:
        """Which rows from *first* up to *end* wake."""
        zone, ends = parse_zone(self.zone), tape.closed_at[:end]
        found = np.zeros(end - first, bool)
        # A bar that closes at midnight belongs to the day that ends then.
        dates = local_date(ends[first:] - 1, zone)
        days = np.unique(dates)
        for time in self.times:
            instants = utc_of(days * DAY + _seconds(time) * SECOND, zone)
            rows = np.searchsorted(ends, instants)
            there = (rows >= first) & (rows < end)
            rows, of = rows[there], days[there]
            found[rows[dates[rows - first] == of] - first] = True
        return found


@dataclass(frozen=True, slots=True)
class AtSessionClose:
    """At the close of a session, half days included, by the calendar of the tape's exchange; at every close where bars are whole sessions.

    Raises ScenarioError where bars are shorter and no calendar is known: which bar is a session's last would show only after it.
    """

    def find(self, tape: Tape, readings: Readings, first: int, end: int, state: dict[Any, Any]) -> BoolArray:
        """Which rows from *first* up to *end* wake."""
        if tape.interval >= DAY:
            return np.ones(end - first, bool)
        if not tape.truth.calendar:
            raise ScenarioError(
                "AtSessionClose needs the calendar of an exchange (hours = 'XNYS') for bars within a session: or say AtTimes('16:00')"
            )
        exchange = state.setdefault("exchange", Exchange(tape.truth.calendar))
        days, which = np.unique(tape.sessions[max(first - 1, 0) : end], return_inverse=True)
        closes = np.array([(exchange.session(int(day)) or (0, np.iinfo(np.int64).max))[1] for day in days.tolist()], np.int64)[which]
        over = tape.closed_at[max(first - 1, 0) : end] >= closes
        sessions = tape.sessions[max(first - 1, 0) : end]
        fresh = np.append(True, ~over[:-1] | (sessions[1:] != sessions[:-1]))
        found: BoolArray = (over & fresh)[min(first, 1) :]
        return found


@dataclass(frozen=True, slots=True)
class Crossing:
    """When *line* (an indicator or a field) comes to the other side of *other* (another, or a number) in any instrument, or is first on one.

    Equal values, and those that are not warm, are on neither side. Raises ViewError for a name that there is none of.
    """

    line: str
    other: str | float = 0.0

    def find(self, tape: Tape, readings: Readings, first: int, end: int, state: dict[Any, Any]) -> BoolArray:
        """Which rows from *first* up to *end* wake."""
        line = _column(self.line, tape, readings, first, end)
        other = _column(self.other, tape, readings, first, end) if isinstance(self.other, str) else self.other
        sides = (line > other).astype(np.int8) - (line < other)
        last = state.setdefault(self, np.zeros(tape.width, np.int8))
        found = np.zeros(end - first, bool)
        for i in range(tape.width):
            rows = np.flatnonzero(sides[:, i])
            if len(rows):
                on = sides[rows, i]
                found[rows[on != np.append(last[i], on[:-1])]] = True
                last[i] = on[-1]
        return found


Wake = EveryBars | AtTimes | AtSessionClose | Crossing


def _seconds(time: str) -> int:
    hour, colon, minute = time.partition(":")
    if not (colon and len(hour) == len(minute) == 2 and hour.isdecimal() and minute.isdecimal() and int(hour) < 24 and int(minute) < 60):
        raise ScenarioError(f"AtTimes: a time of day must be HH:MM, such as '15:30', was {time!r}")
    return int(hour) * 3600 + int(minute) * 60


def _column(name: str, tape: Tape, readings: Readings, first: int, end: int) -> FloatArray:
    if name in readings.names:
        return readings.column(name)[first:end]
    if name not in FIELDS:
        raise ScenarioError(f"Crossing: there is no indicator or field '{name}'{nearest(name, [*readings.names, *FIELDS])}")
    column: FloatArray = getattr(tape, name)[first:end]
    return column


@dataclass
class Alarm:
    """Which rows of a tape wake a strategy: brought up to the tape's last row by `catch_up`."""

    conditions: tuple[Wake, ...]
    tape: Tape
    readings: Readings
    rows: int = 0
    _state: dict[Any, Any] = field(default_factory=dict)

    def catch_up(self) -> BoolArray:
        """Which of the rows since the last time wake: (new rows,)."""
        before, self.rows = self.rows, self.tape.rows
        found = np.zeros(self.rows - before, bool)
        for first, end in self.tape.spans(before, self.rows):
            for condition in self.conditions:
                found[first - before : end - before] |= condition.find(self.tape, self.readings, first, end, self._state)
        return found


def alarm_of(strategy: Strategy, tape: Tape, readings: Readings) -> Alarm | None:
    """What wakes a strategy; None for one that wants every bar. Raises PluginError where `wakes` returns something else than conditions."""
    if not hasattr(strategy, "wakes"):
        return None
    wanted = strategy.wakes()
    conditions: Sequence[Wake] = (wanted,) if isinstance(wanted, Wake) else wanted
    if not isinstance(conditions, tuple | list) or not conditions or not all(isinstance(one, Wake) for one in conditions):
        raise PluginError(f"{type(strategy).__name__}.wakes must return EveryBars, AtTimes, AtSessionClose or Crossing, or several, was {wanted!r}")
    return Alarm(tuple(conditions), tape, readings)


class Waking:
    """Stands before a strategy that says when to call it."""

    __slots__ = ("_awake", "strategy")

    def __init__(self, strategy: Strategy, awake: BoolArray) -> None:
        self.strategy, self._awake = strategy, awake.data

    def on_bars(self, view: View) -> Proposal:
        return self.strategy.on_bars(view) if self._awake[view.bars.row] else ()


def calls_of(awake: BoolArray, first: int | None) -> IntArray:
    """The rows that have to be walked whatever is open: those that wake, from the *first* warm one on."""
    wanted = awake.copy()
    wanted[: len(wanted) if first is None else first] = False
    if first is not None:
        # There the strategy takes its place.
        wanted[first] = True
    return np.flatnonzero(wanted).astype(np.int64)


def never() -> bool:
    """For what goes by sessions and never rests."""
    return False


class Sleep:
    """How long a session may sleep after a bar, and what is kept meanwhile from mark to mark.

    Where something goes by sessions (calendars, limits on a day's loss), the first and last bars of sessions are walked: what falls due does so with
    the one, on what stood at the other; unless each of these says that it *rests* now.
    """

    __slots__ = ("_edges", "_rests", "_session")

    def __init__(self, session: Session, tape: Tape, rests: Sequence[Callable[[], bool]]) -> None:
        self._session, self._rests = session, rests
        self._edges: memoryview | None = None
        if rests:
            rows, days = np.arange(len(tape)), tape.sessions[: len(tape)]
            starts = np.flatnonzero(days[1:] != days[:-1]) + 1
            edges = np.unique(np.concatenate([starts - 1, starts, [len(tape)]]))
            self._edges = edges[np.searchsorted(edges, rows)].data

    def until(self, row: int, call: int) -> int:
        """The first of the rows from *row* up to *call* in which something can happen, or *call*."""
        session = self._session
        market: Any = session.broker
        if not market.is_idle:
            return row
        if self._edges is not None:
            # What has just happened is for calendars to note.
            if session.view.happened(session.view.row):
                return row
            if not all(rests() for rests in self._rests):
                call = min(call, self._edges[row])
        engine = session.risk
        return engine.pass_over(session.portfolio, row, call) if engine.watches and row < call else call  # type: ignore[union-attr]  # no switch


class Sleeping(Replay):
    """The feed that walks the rows of a full tape in which something can happen, and passes over the others.

    *calls* are the rows to be walked in any case, and *sleep* says, after each, which is the next one.
    """

    __slots__ = ("calls", "sleep")

    def __init__(self, plain: Replay, calls: IntArray, sleep: Sleep) -> None:
        self.tape, self.bars, self.end = plain.tape, plain.bars, plain.end
        self.calls, self.sleep = calls, sleep

    def __iter__(self) -> Iterator[Bars]:
        bars, ats, until, end = self.bars, self.tape.ats, self.sleep.until, self.end
        calls = iter([*self.calls[self.calls < end].tolist(), end])
        row, call = 0, next(calls)
        while row < end:
            bars.row, bars.closed_at = row, ats[row]
            yield bars
            row += 1
            while call < row:
                call = next(calls)
            if row < call:
                row = until(row, call)
        if end:
            bars.row, bars.closed_at = end - 1, ats[end - 1]
