"""The columnar, append-only history of bars, and the cursor that walks it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.kernels import tapes
from simulator.market.instruments import Instrument

if TYPE_CHECKING:
    from simulator.market.actions import Actions, Chain
    from simulator.market.known import Known
    from simulator.market.rooms import Room

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SECOND: Final = 1_000_000_000
DAY: Final = 86_400 * SECOND
FIELDS: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Truth:
    """What a data source says of itself.

    *opens* is "traded" (a real first price), "previous_close" (many opens merely repeat the close before) or "close_only" (the source has closes
    alone, so O = H = L = C). *volume* is "shares" or "none". *adjusted* data has splits and dividends worked into its prices. *calendar* is the
    code of the exchange whose sessions these are, such as "XNYS"; empty where nobody said.
    """

    source: str = "given"
    adjusted: bool = False
    volume: str = "shares"
    opens: str = "traded"
    caveats: tuple[str, ...] = ()
    calendar: str = field(default="", repr=False)


class Tape:
    """Bars as time x instrument columns: open, high, low, close, volume, and marks (the last known close), all (rows, instruments) float64.

    A missing bar is NaN in all five fields; a source without volume has infinite volume. `closed_at`, `opened_at` are UTC nanoseconds and
    `sessions` days since 1970, all (rows,) int64. `ages` counts the rows since an instrument's last bar (-1: none yet). A file fills a tape at once
    (`Tape.of`), a live feed row by row (`append`). The columns that it hands out are read-only. *actions* is what happens to its instruments beside
    trading, and *known* what was published. With a *room* its columns lie in files, and may be larger than memory.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        interval: int,
        capacity: int = 1024,
        truth: Truth | None = None,
        room: Room | None = None,
    ) -> None:
        self.instruments = tuple(instruments)
        self.index = {instrument.symbol: i for i, instrument in enumerate(self.instruments)}
        if not self.instruments or len(self.index) != len(self.instruments):
            raise DataError(f"a tape needs instruments of different symbols, had {[x.symbol for x in self.instruments]}")
        if interval <= 0:
            raise DataError(f"interval must be above 0 nanoseconds, was {interval}")
        self.width, self.interval, self.truth = len(self.instruments), int(interval), truth or Truth()
        self.terms = np.array([[x.lot_up, x.lot_down, x.multiplier, x.units(1) * x.multiplier, x.tick_up, x.tick_down] for x in self.instruments])
        self.notes: tuple[str, ...] = ()
        self.actions: Actions | None = None
        self.known: Known | None = None
        self._chain: tuple[Actions, Chain] | None = None
        self.rows, self.room = 0, room
        self._times: IntArray = self._empty((3, max(capacity, 1)), np.int64, 1)
        self._prices: FloatArray = self._empty((6, max(capacity, 1), self.width), np.float64, 1)
        self._ages: npt.NDArray[np.int32] = self._empty((max(capacity, 1), self.width), np.int32, 0)
        self._look()

    def _empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike, axis: int) -> npt.NDArray[Any]:
        return np.empty(shape, dtype) if self.room is None else self.room.empty(shape, dtype, axis)

    def column(self) -> FloatArray:
        """Room for one more column beside ours: (capacity, instruments)."""
        return self._empty(self.close.shape, np.float64, 0)

    def spans(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """The rows from *first* up to *end* in stretches that fit into memory, which they leave when they are passed; in one where all are there."""
        if self.room is None:
            yield first, end
            return
        step = self.room.rows
        for start in range(first, end, step):
            yield start, min(start + step, end)
            self.room.release(min(start + step, end))

    def _look(self) -> None:
        """Hand out the buffers anew. Flat memoryviews give Python a float in 20 ns, where a numpy scalar takes 80."""

        def read_only(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
            seen = column.view()
            seen.flags.writeable = False
            return seen

        self.closed_at, self.opened_at, self.sessions = (read_only(column) for column in self._times)
        self.open, self.high, self.low, self.close, self.volume, self.marks = (read_only(column) for column in self._prices)
        self.ages = read_only(self._ages)
        # For compiled code, which takes read-only arrays for another type: all fields, the marks, the sessions. Nobody writes to them.
        self.panel, self.panel_marks, self.panel_days = self._prices, self._prices[5], self._times[2]
        self.opens, self.highs, self.lows, self.closes, self.volumes, self.marked = (quick(column) for column in self._prices)
        self.ats, self.starts, self.days = (cast("memoryview[int]", column.data) for column in self._times)

    @classmethod
    def of(
        cls,
        instruments: Sequence[Instrument],
        closed_at: npt.ArrayLike,
        open: npt.ArrayLike,
        high: npt.ArrayLike,
        low: npt.ArrayLike,
        close: npt.ArrayLike,
        volume: npt.ArrayLike | None = None,
        *,
        interval: int,
        opened_at: npt.ArrayLike | None = None,
        sessions: npt.ArrayLike | None = None,
        truth: Truth | None = None,
        notes: Sequence[str] = (),
    ) -> Tape:
        """A full tape. Columns are (rows,) for one instrument or (rows, instruments), and are copied.

        Bars open *interval* before they close unless *opened_at* says otherwise; a session is the UTC date of the open unless *sessions* (days since
        1970) say otherwise. Raises DataError where lengths differ, times do not increase or bars overlap. Prices are the feeds' to check.
        """
        ends = np.asarray(closed_at, np.int64)
        tape = cls(instruments, interval, len(ends), truth)
        starts = ends - interval if opened_at is None else np.asarray(opened_at, np.int64)
        days = starts // DAY if sessions is None else np.asarray(sessions, np.int64)
        columns: list[npt.ArrayLike] = [open, high, low, close, np.full(np.shape(close), np.inf) if volume is None else volume]
        for name, times in (("opened_at", starts), ("sessions", days)):
            if times.shape != ends.shape:
                raise DataError(f"{name} must have {len(ends)} values, one a bar, had {times.shape}")
        check_times(ends, starts, days)
        for k, (name, column) in enumerate(zip(FIELDS, columns, strict=True)):
            values = np.asarray(column, np.float64)
            if values.shape != (len(ends), tape.width) and not (tape.width == 1 and values.shape == ends.shape):
                raise DataError(f"{name} must be {len(ends)} bars x {tape.width} instruments, was {values.shape}")
            tape._prices[k, : len(ends)] = values.reshape(len(ends), tape.width)
        tape._times[:, : len(ends)] = ends, starts, days
        if volume is None:
            tape._prices[4][np.isnan(tape._prices[3])] = np.nan
        tapes.carry(tape._prices[3], tape._prices[5], tape._ages, 0, len(ends))
        tape.rows, tape.notes = len(ends), tuple(notes)
        return tape

    def picked(self, field: str, instrument: int, rows: int) -> FloatArray:
        """One instrument's column of a field, or of the marks, up to a row: (rows,)."""
        column: FloatArray = getattr(self, field)
        if self.room is None:
            return column[:rows, instrument]
        # Copied before what was passed leaves memory.
        return np.concatenate([np.array(column[first:end, instrument]) for first, end in self.spans(0, rows)])

    def taken(self, field: str, at: IntArray) -> FloatArray:
        """A field, or the marks, at these rows, in order: (n, instruments)."""
        column: FloatArray = getattr(self, field)
        found = np.empty((len(at), self.width))
        for first, end in self.spans(0, self.rows):
            here = slice(*np.searchsorted(at, [first, end]))
            found[here] = column[at[here]]
        return found

    def fill(self, times: tuple[IntArray, IntArray, IntArray], whole: Iterator[int]) -> None:
        """Take *times* (closed_at, opened_at and sessions, each (capacity,)) as those of all rows, and let *whole* fill `panel` with fields: it says
        each time how many rows are done, which then leave memory.
        """
        assert self.room is not None, "what is filled stretch by stretch lies in a room"
        self._times[:] = times
        done = 0
        for end in whole:
            tapes.carry(self._prices[3], self._prices[5], self._ages, done, end)
            self.room.release(end)
            done = end
        self.rows = done

    def __len__(self) -> int:
        return self.rows

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: the bars, and not the room behind them."""
        columns = [np.ascontiguousarray(block[:, : self.rows]) for block in (self._times, self._prices[:5])]
        return _unpacked, (self.instruments, self.interval, self.truth, *columns, self.notes, self.actions, self.known)

    def append(
        self,
        closed_at: int,
        open: npt.ArrayLike,
        high: npt.ArrayLike,
        low: npt.ArrayLike,
        close: npt.ArrayLike,
        volume: npt.ArrayLike,
        opened_at: int | None = None,
        session: int | None = None,
    ) -> None:
        """Put the bars of one more instant at the end: a number for one instrument, (instruments,) for many, NaN where there is none."""
        row = self.rows
        start = closed_at - self.interval if opened_at is None else opened_at
        day = start // DAY if session is None else session
        if not start < closed_at:
            raise DataError(f"a bar that closes at {closed_at} must open before that, not at {start}")
        if row and not (start >= self.ats[row - 1] and day >= self.days[row - 1]):
            before = f"the one that closed at {self.ats[row - 1]} in session {self.days[row - 1]}"
            raise DataError(f"a bar from {start} to {closed_at} in session {day} does not follow {before}")
        if row == self._times.shape[1]:
            self._grow()
        self._times[:, row] = closed_at, start, day
        for k, values in enumerate((open, high, low, close, volume)):
            self._prices[k, row] = values
        tapes.carry(self._prices[3], self._prices[5], self._ages, row, row + 1)
        self.rows = row + 1

    def _grow(self) -> None:
        grown = 2 * self._times.shape[1]
        for name in ("_times", "_prices", "_ages"):
            old = getattr(self, name)
            shape = list(old.shape)
            axis = 0 if name == "_ages" else 1
            shape[axis] = grown
            new = np.empty(shape, old.dtype)
            new[(slice(None),) * axis + (slice(self.rows),)] = old[(slice(None),) * axis + (slice(self.rows),)]
            setattr(self, name, new)
        self._look()

    def cut(self, rows: int) -> Tape:
        """The first *rows* bars as a tape of their own, with nothing behind them."""
        kept = slice(rows)
        o, h, low, c, v = (column[kept] for column in (self.open, self.high, self.low, self.close, self.volume))
        return self.like(o, h, low, c, v)

    def like(
        self, open: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, *, kept: IntArray | None = None
    ) -> Tape:
        """A tape of the same instruments and times with other bars: as many rows as are given, or those that are *kept*."""
        rows = slice(len(close)) if kept is None else kept
        times = {"opened_at": self.opened_at[rows], "sessions": self.sessions[rows]}
        made = Tape.of(
            self.instruments,
            self.closed_at[rows],
            open,
            high,
            low,
            close,
            volume,
            interval=self.interval,
            opened_at=times["opened_at"],
            sessions=times["sessions"],
            truth=self.truth,
            notes=self.notes,
        )
        made.actions, made.known = self.actions, self.known
        return made

    @property
    def chain(self) -> Chain | None:
        """The factors of forward-chained prices; None where no actions are known, or are in the prices already."""
        if self.actions is None or self.truth.adjusted:
            return None
        if self._chain is None or self._chain[0] is not self.actions:
            self._chain = self.actions, self.actions.chain(self)
        return self._chain[1]

    def restate(self, instrument: int, up: int, down: int, row: int) -> None:
        """Say all bars before *row* in the shares that *up* for *down* has made: only for a tape that nobody else looks at."""
        past = self._prices[:, :row, instrument]
        volumes = past[4] * up / down
        past[:] = past * down / up
        past[4] = volumes

    def digest(self) -> str:
        """SHA-256 of all that a run can see of this tape."""
        seen = hashlib.sha256(repr((self.instruments, self.interval, self.truth, self.rows)).encode())
        for column in (*self._times, *self._prices[:5]):
            for first, end in self.spans(0, self.rows):
                seen.update(column[first:end].data)
        seen.update(self.truth.calendar.encode())
        if self.actions is not None:
            seen.update(repr((self.actions.signals, *self.actions)).encode())
        if self.known is not None:
            seen.update(repr(self.known.rows).encode())
        return seen.hexdigest()


def _unpacked(
    instruments: Sequence[Instrument],
    interval: int,
    truth: Truth,
    times: IntArray,
    prices: FloatArray,
    notes: tuple[str, ...],
    actions: Actions | None,
    known: Known | None,
) -> Tape:
    """A tape as it came from another process."""
    tape = Tape.of(instruments, times[0], *prices, interval=interval, opened_at=times[1], sessions=times[2], truth=truth, notes=notes)
    tape.actions, tape.known = actions, known
    return tape


def quick(column: FloatArray) -> memoryview[float]:
    """The same numbers, row after row, for Python to read one float at a time."""
    return cast("memoryview[float]", column.reshape(-1).data)


def check_times(ends: IntArray, starts: IntArray, days: IntArray) -> None:
    """Refuse bars that end before they begin, overlap, or run backwards."""
    wrong = np.flatnonzero(starts >= ends)
    if len(wrong):
        raise DataError(f"bar {wrong[0]} closes at {ends[wrong[0]]}, which is not after its open at {starts[wrong[0]]}")
    wrong = np.flatnonzero(ends[1:] <= ends[:-1])
    if len(wrong):
        raise DataError(f"bar {wrong[0] + 1} closes at {ends[wrong[0] + 1]}, not after the bar before it ({ends[wrong[0]]}): times must increase")
    wrong = np.flatnonzero(starts[1:] < ends[:-1])
    if len(wrong):
        raise DataError(f"bar {wrong[0] + 1} opens at {starts[wrong[0] + 1]}, before the bar before it closed ({ends[wrong[0]]})")
    wrong = np.flatnonzero(days[1:] < days[:-1])
    if len(wrong):
        raise DataError(f"bar {wrong[0] + 1} belongs to an earlier session than the bar before it")


class Bars:
    """All bars that close at one instant: a cursor on a tape, moved by its feed. Keep none: the next instant is the same object."""

    __slots__ = ("closed_at", "row", "tape")

    def __init__(self, tape: Tape) -> None:
        self.tape, self.row, self.closed_at = tape, -1, 0

    @property
    def opened_at(self) -> int:
        """When these bars opened, in UTC nanoseconds."""
        return int(self.tape.starts[self.row])

    @property
    def session(self) -> int:
        """The session that these bars belong to, in days since 1970."""
        return int(self.tape.days[self.row])


class Replay:
    """The feed that walks a full tape, or its rows up to *end*."""

    __slots__ = ("bars", "end", "tape")

    def __init__(self, tape: Tape) -> None:
        self.tape, self.bars, self.end = tape, Bars(tape), tape.rows

    def __iter__(self) -> Iterator[Bars]:
        bars = self.bars
        for bars.row, bars.closed_at in enumerate(self.tape.ats[: self.end]):
            yield bars
