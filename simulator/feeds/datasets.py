"""Datasets: bars in Parquet, checked once and put in order, which stream into a tape that is larger than memory.

A dataset is a folder. `dataset.json` is its manifest: what its source declares, and each file with its bars, its times and its SHA-256.
`instants.parquet` has closed_at, opened_at and session of each instant at which there are bars. The bars are parts by month of session
(`month=2020-01/part-0.parquet`, in the order of closed_at, and of the instruments in the manifest) or by symbol (`symbol=SPY/part-0.parquet`, in the
order of closed_at): closed_at, symbol, open, high, low, close and volume. `tradewind data convert` makes one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, ScenarioError, SimulatorError
from simulator.feeds.checks import Read, troubles
from simulator.kernels import tapes
from simulator.market.calendars import day_text, instant_text
from simulator.market.instruments import Future, Instrument
from simulator.market.rooms import Room
from simulator.market.tape import FIELDS, FloatArray, IntArray, Tape, Truth, check_times

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

By = Literal["date", "symbol"]
Codes = npt.NDArray[np.int32]
Columns = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]
"""Open, high, low, close and volume, each (bars,)."""

MANIFEST: Final = "dataset.json"
INSTANTS: Final = "instants.parquet"
FORMAT: Final = "tradewind dataset"
VERSION: Final = 1
GROUPS: Final = {"date": 1 << 19, "symbol": 1 << 12, "instants": 1 << 19}
"""Bars that are written, and read, together. Of datasets by symbol those of all symbols are in memory at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file: its path in the dataset, its symbol where it has one, how many bars it has, when the first and the last close, and its SHA-256."""

    path: str
    bars: int
    first: int
    last: int
    sha256: str
    symbol: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a dataset says of itself. *rows* counts the instants, *bars* the bars of all instruments; *interval* is in nanoseconds."""

    by: By
    instruments: tuple[Instrument, ...]
    interval: int
    truth: Truth
    rows: int
    bars: int
    instants: Part
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The manifest as JSON."""
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "by": self.by,
            "interval": self.interval,
            "rows": self.rows,
            "bars": self.bars,
            "truth": asdict(self.truth),
            "instruments": [{each.name: getattr(x, each.name) for each in fields(x) if each.init} for x in self.instruments],
            "instants": asdict(self.instants),
            "parts": [asdict(part) for part in self.parts],
            "notes": list(self.notes),
        }
        return json.dumps(facts, indent=1) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """What the dataset in *folder* says of itself. Raises DataError where it is none, or is damaged."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DataError(f"there is no dataset {folder}: it must be a folder that `tradewind data convert` made")
    if not path.is_file():
        raise DataError(f"{folder} is no dataset: it has no {MANIFEST}; convert it first: tradewind data convert {folder} OUT")
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if facts["format"] != FORMAT or facts["version"] != VERSION:
            raise DataError(f"{path}: must be a {FORMAT!r} of version {VERSION}, was {facts['format']!r} of version {facts['version']!r}")
        if facts["by"] not in ("date", "symbol"):
            raise DataError(f"{path}: by must be 'date' or 'symbol', was {facts['by']!r}")
        truth = facts["truth"]
        return Manifest(
            facts["by"],
            tuple((Future if each["kind"] == "future" else Instrument)(**each) for each in facts["instruments"]),
            int(facts["interval"]),
            Truth(**(truth | {"caveats": tuple(truth["caveats"])})),
            int(facts["rows"]),
            int(facts["bars"]),
            Part(**facts["instants"]),
            tuple(Part(**part) for part in facts["parts"]),
            tuple(facts["notes"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as broken:
        raise DataError(f"{path}: is damaged ({type(broken).__name__}: {broken}); convert the source again") from None


# Writing.


class Writer:
    """Writes the parts of a dataset, and its instants, in the order of time; each part is as large as whoever calls it has in memory."""

    def __init__(self, folder: Path, by: By, instruments: Sequence[Instrument], interval: int, truth: Truth, notes: Sequence[str] = ()) -> None:
        self._folder, self._by, self._instruments, self._interval, self._truth = folder, by, tuple(instruments), interval, truth
        self._notes, self._parts, self._rows = tuple(notes), list[Part](), 0
        self._times: pq.ParquetWriter | None = None
        self._ends: tuple[int, int] = (0, 0)

    def instants(self, closed_at: IntArray, opened_at: IntArray, sessions: IntArray) -> None:
        """The next instants: each (n,), in the order of time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        days = pa.array(sessions.astype(np.int32)).cast(pa.date32())
        table = pa.table({"closed_at": _stamps(closed_at), "opened_at": _stamps(opened_at), "session": days})
        self._times = self._times or pq.ParquetWriter(self._folder / INSTANTS, table.schema, compression="lz4", use_dictionary=False)
        self._times.write_table(table, row_group_size=GROUPS["instants"])
        self._ends = (self._ends[0] if self._rows else int(closed_at[0])), int(closed_at[-1])
        self._rows += len(closed_at)

    def part(self, key: str, bars: Iterator[tuple[IntArray, Codes, Columns]]) -> None:
        """The part of a month ("2020-01") or of a symbol, as several pieces in the order of time: closes, instruments by their index, and fields."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self._folder / f"{'month' if self._by == 'date' else 'symbol'}={quote(key, safe='')}"
        folder.mkdir()
        path, names, count = folder / "part-0.parquet", pa.array([x.symbol for x in self._instruments]), 0
        ends: list[int] = []
        kinds = {"closed_at": pa.timestamp("ns", "UTC"), "symbol": pa.dictionary(pa.int32(), pa.string()), **dict.fromkeys(FIELDS, pa.float64())}
        with pq.ParquetWriter(path, pa.schema(list(kinds.items())), compression="lz4", use_dictionary=["symbol"]) as file:
            for at, which, columns in bars:
                coded = pa.DictionaryArray.from_arrays(pa.array(which), names)
                table = pa.table([_stamps(at), coded, *(pa.array(np.ascontiguousarray(x)) for x in columns)], schema=file.schema)
                file.write_table(table, row_group_size=GROUPS[self._by])
                count += len(at)
                ends += [int(at[0]), int(at[-1])]
        place = path.relative_to(self._folder).as_posix()
        self._parts.append(Part(place, count, ends[0], ends[-1], digest_of(path), key if self._by == "symbol" else ""))

    def close(self) -> Manifest:
        """Write the manifest."""
        assert self._times is not None, "a dataset has instants"
        self._times.close()
        times = Part(INSTANTS, self._rows, *self._ends, digest_of(self._folder / INSTANTS))
        bars = sum(part.bars for part in self._parts)
        made = Manifest(self._by, self._instruments, self._interval, self._truth, self._rows, bars, times, tuple(self._parts), self._notes)
        (self._folder / MANIFEST).write_text(made.text(), encoding="utf-8", newline="\n")
        return made


@contextmanager
def making(out: Path) -> Iterator[Path]:
    """A hidden folder beside *out* that becomes it at the end, or goes away. Raises SimulatorError where there is something, or where nothing can be
    written.
    """
    if out.exists() or out.is_symlink():
        raise SimulatorError(f"there is something at {out} already: choose another place, or delete it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as hidden:
            (Path(hidden) / out.name).mkdir()
            yield Path(hidden) / out.name
            (Path(hidden) / out.name).replace(out)
    except OSError as error:
        raise SimulatorError(f"cannot write the dataset {out}: {error.strerror or error}") from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamps(values: IntArray) -> pa.Array:
    import pyarrow as pa

    return pa.array(values).cast(pa.timestamp("ns", "UTC"))


# Reading.


@dataclass(frozen=True)
class Dataset:
    """Bars from a dataset that `tradewind data convert` made. They stream into a file, in which the tape lies, and may be more than memory holds.

    *path* is its folder, starting in the scenario's; *start* and *end* are the first and the last session. *spool* is the folder for that file, on a
    disk that has room for 52 bytes a bar, and 8 more for each indicator (default: where the system has its temporary files). So much of it as
    *memory_mib* says is walked through at a time.
    """

    path: str
    start: date | None = None
    end: date | None = None
    spool: str = ""
    memory_mib: int = 64

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape of the dataset. *seed* changes nothing. Raises DataError for a dataset that is damaged or is none."""
        if not self.path:
            raise DataError("feed.path must be the folder of a dataset, was empty")
        spool = folder / self.spool if self.spool else None
        if spool is not None and not spool.is_dir():
            raise DataError(f"feed.spool must be a folder, and there is none at {spool}")
        if self.memory_mib < 1:
            raise DataError(f"feed.memory_mib must be at least 1, was {self.memory_mib}")
        return streamed(folder / self.path, self.start, self.end, Room(spool, self.memory_mib << 20))


def streamed(folder: Path, start: date | None = None, end: date | None = None, room: Room | None = None) -> Tape:
    """The tape of the dataset in *folder*, from the session *start* to the session *end*, in the files of a *room*; see `Dataset`."""
    manifest = read_manifest(folder)
    times = _times(folder, manifest)
    check_times(*times)
    kept = _kept(times[2], start, end)
    rows = kept.stop - kept.start
    tape = Tape(manifest.instruments, manifest.interval, rows, manifest.truth, room or Room())
    reading = _Filling(folder, manifest, tape)
    tape.fill((times[0][kept], times[1][kept], times[2][kept]), reading.stretches())
    tape.notes = manifest.notes
    if rows == manifest.rows and reading.placed != manifest.bars:
        raise DataError(f"{folder / MANIFEST}: must have {manifest.bars} bars as it says, has {reading.placed}; {CHECK}")
    return tape


CHECK: Final = "tell more with: tradewind data check"


def _times(folder: Path, manifest: Manifest) -> tuple[IntArray, IntArray, IntArray]:
    """closed_at, opened_at and session of all instants."""
    columns = [np.empty(manifest.rows, np.int64) for _ in range(3)]
    with _opened(folder, manifest.instants, ("closed_at", "opened_at", "session")) as file:
        done = 0
        for group in range(file.num_row_groups):
            table = _read(file, group, None, folder / INSTANTS)
            for column, name in zip(columns, ("closed_at", "opened_at", "session"), strict=True):
                column[done : done + table.num_rows] = _whole(table, name, folder / INSTANTS)
            done += table.num_rows
    return columns[0], columns[1], columns[2]


def _kept(sessions: IntArray, start: date | None, end: date | None) -> slice:
    """The rows from *start* to *end*."""
    first, last, epoch = int(sessions[0]), int(sessions[-1]), date(1970, 1, 1)
    days = (first if start is None else (start - epoch).days), (last if end is None else (end - epoch).days)
    kept = slice(int(np.searchsorted(sessions, days[0])), int(np.searchsorted(sessions, days[1], side="right")))
    if kept.start >= kept.stop:
        raise ScenarioError(f"feed.start and feed.end must have bars between them: there are some from {day_text(first)} to {day_text(last)}")
    return kept


class _Filling:
    """Puts the bars of a dataset into the rows of a tape, whose times are there already."""

    def __init__(self, folder: Path, manifest: Manifest, tape: Tape) -> None:
        self.folder, self.manifest, self.tape, self.placed = folder, manifest, tape, 0

    @cached_property
    def ats(self) -> IntArray:
        return self.tape.closed_at[: self._rows]

    @cached_property
    def _rows(self) -> int:
        return len(self.tape.closed_at)

    @cached_property
    def wanted(self) -> list[Part]:
        """The parts that have bars of these rows."""
        first, last = int(self.ats[0]), int(self.ats[-1])
        return [part for part in self.manifest.parts if part.last >= first and part.first <= last]

    def stretches(self) -> Iterator[int]:
        """Fill row after row; each time, how many are whole."""
        return self._by_date() if self.manifest.by == "date" else self._by_symbol()

    def _by_date(self) -> Iterator[int]:
        """One part after the other. What comes later may have more bars of the last instant."""
        index, done, before = self.tape.index, 0, -(2**63)
        for part in self.wanted:
            place = self.folder / part.path
            with _opened(self.folder, part, ("closed_at", "symbol", *FIELDS)) as file:
                first = 0
                for group in range(file.num_row_groups):
                    table = _read(file, group, None, place)
                    at, which = _whole(table, "closed_at", place), _codes(table, index, place)
                    if at[0] < before:
                        raise DataError(
                            f"{place}, row {first + 1}: date must increase, but this row comes before those that were read before; {CHECK}"
                        )
                    # The bars of the last instant that came before belong to a row that is begun already.
                    begun, last = max(done - 1, 0), int(np.searchsorted(self.ats, at.max(), side="right"))
                    if last > begun:
                        self._blank(done, last)
                        self._put(begun, last, at, which, _fields(table, place), place, first)
                        done = last
                        yield done - 1
                    first, before = first + table.num_rows, int(at[-1])
        self._blank(done, self._rows)
        yield self._rows

    def _by_symbol(self) -> Iterator[int]:
        """A stretch of time after the other, of all symbols."""
        lanes = [(_Lane(self.folder, part), self.tape.index.get(part.symbol, -1)) for part in self.wanted]
        for lane, i in lanes:
            if i < 0:
                raise DataError(f"{lane.place}: {lane.part.symbol!r} is no instrument of the dataset; {CHECK}")
        step = max(1, self.tape.room.rows if self.tape.room else self._rows)
        for done in range(0, self._rows, step):
            last = min(done + step, self._rows)
            self._blank(done, last)
            for lane, i in lanes:
                for at, columns, first in lane.until(int(self.ats[last - 1])):
                    self._put(done, last, at, np.full(len(at), i, np.int32), columns, lane.place, first)
            yield last

    def _blank(self, first: int, last: int) -> None:
        self.tape.panel[: len(FIELDS), first:last] = np.nan

    def _put(self, begun: int, last: int, at: IntArray, which: Codes, columns: Columns, place: Path, first: int) -> None:
        o, h, low, c, v = (_frozen(column) for column in columns)
        shares = self.tape.truth.volume == "shares"
        placed, wrong = tapes.place(self.ats, begun, last, _frozen(at), _frozen(which), o, h, low, c, v, self.tape.panel, shares)
        self.placed += placed
        if wrong >= 0:
            raise DataError(self._reason(wrong, at, which, columns, place, first))

    def _reason(self, k: int, at: IntArray, which: Codes, columns: Columns, place: Path, first: int) -> str:
        """Why bar *k* cannot be."""
        symbol, moment, where = self.tape.instruments[which[k]].symbol, instant_text(at[k]), f"{place}, row {first + k + 1}"
        told = dict(zip(FIELDS, (column[k : k + 1] for column in columns), strict=True))
        if self.tape.truth.volume == "none":
            del told["volume"]
        one, zero = at[k : k + 1], np.zeros(1, np.int64)
        wrong = troubles(Read(symbol, str(place), zero + first + k + 1, one - self.tape.interval, one, zero, told, 0))
        if wrong:
            return f"{wrong[0]}; {CHECK}"
        if k and at[k] < at[k - 1]:
            return f"{where}: date must increase, but {moment} is out of order: it comes after {instant_text(at[k - 1])} ({symbol}); {CHECK}"
        row = int(np.searchsorted(self.ats, at[k]))
        if row == self._rows or self.ats[row] != at[k]:
            return f"{where}: {moment} must be one of the dataset's instants, and is none ({symbol}); {CHECK}"
        return f"{where}: date must increase, but {symbol} has a bar at {moment} already, or one that comes too late; {CHECK}"


class _Lane:
    """The bars of one symbol, read as they are wanted."""

    def __init__(self, folder: Path, part: Part) -> None:
        self._folder, self.part, self.place = folder, part, folder / part.path
        self._group = self._row = 0
        self._known: pq.FileMetaData | None = None
        self._left: tuple[IntArray, Columns, int] | None = None

    def until(self, at: int) -> Iterator[tuple[IntArray, Columns, int]]:
        """The next bars that close by *at*, and the number of the first of them in its file, counted from 0."""
        while (piece := self._left or self._next()) is not None:
            ends, columns, first = piece
            count = int(np.searchsorted(ends, at, side="right"))
            if count:
                yield ends[:count], _cut(columns, slice(count)), first
            self._left = (ends[count:], _cut(columns, slice(count, None)), first + count) if count < len(ends) else None
            if self._left:
                return

    def _next(self) -> tuple[IntArray, Columns, int] | None:
        if self._known is not None and self._group == self._known.num_row_groups:
            return None
        with _opened(self._folder, self.part, ("closed_at", *FIELDS), self._known) as file:
            self._known = file.metadata
            if self._group == file.num_row_groups:
                return None
            table = _read(file, self._group, ["closed_at", *FIELDS], self.place)
        self._group, first = self._group + 1, self._row
        self._row += table.num_rows
        return _whole(table, "closed_at", self.place), _fields(table, self.place), first


def _cut(columns: Columns, kept: slice) -> Columns:
    o, h, low, c, v = (column[kept] for column in columns)
    return o, h, low, c, v


@contextmanager
def _opened(folder: Path, part: Part, names: Sequence[str], known: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    """A file of a dataset, whose columns and length are what they must be."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / part.path
    if not path.is_file():
        raise DataError(f"{path}: the file is not there, and the manifest names it; convert the source again")
    try:
        file = pq.ParquetFile(path, metadata=known)
    except (pa.ArrowException, OSError) as broken:
        raise DataError(f"{path}: must be a Parquet file, cannot be read ({str(broken).splitlines()[0]}); convert the source again") from None
    with file:
        if known is None:
            for name in names:
                if name not in file.schema_arrow.names:
                    raise DataError(f"{path}: has no column {name!r}; convert the source again")
                kind, wanted = file.schema_arrow.field(name).type, _kind_of(name)
                if kind != wanted:
                    raise DataError(f"{path}: {name} must be a column of {wanted}, was {kind}; convert the source again")
            if file.metadata.num_rows != part.bars:
                raise DataError(f"{path}: must have {part.bars} rows as the manifest says, has {file.metadata.num_rows}; {CHECK}")
        yield file


def _kind_of(name: str) -> pa.DataType:
    import pyarrow as pa

    others = {"symbol": pa.dictionary(pa.int32(), pa.string()), "session": pa.date32(), **dict.fromkeys(FIELDS, pa.float64())}
    return others.get(name, pa.timestamp("ns", "UTC"))


def _read(file: pq.ParquetFile, group: int, names: list[str] | None, place: Path) -> pa.Table:
    import pyarrow as pa

    try:
        return file.read_row_group(group, columns=names)
    except (pa.ArrowException, OSError) as broken:
        raise DataError(f"{place}: cannot be read in row group {group} ({str(broken).splitlines()[0]}); convert the source again") from None


def _whole(table: pa.Table, name: str, place: Path) -> IntArray:
    """Times or days as whole numbers."""
    import pyarrow as pa

    column = table.column(name)
    _complete(column, name, place)
    numbers: IntArray = column.cast(pa.int32() if pa.types.is_date(column.type) else pa.int64()).to_numpy()
    return numbers


def _complete(column: pa.ChunkedArray, name: str, place: Path) -> None:
    if column.null_count:
        raise DataError(f"{place}: {name} must be there in each row, was empty in {column.null_count}; {CHECK}")


def _fields(table: pa.Table, place: Path) -> Columns:
    found = []
    for name in FIELDS:
        _complete(table.column(name), name, place)
        found.append(table.column(name).to_numpy())
    return found[0], found[1], found[2], found[3], found[4]


def _codes(table: pa.Table, index: dict[str, int], place: Path) -> Codes:
    """The instrument of each bar by its index."""
    column = table.column("symbol")
    _complete(column, "symbol", place)
    parts = []
    for chunk in column.chunks:
        names = chunk.dictionary.to_pylist()
        strange = next((name for name in names if name not in index), None)
        if strange is not None:
            raise DataError(f"{place}: {strange!r} is no instrument of the dataset; {CHECK}")
        parts.append(np.array([index[name] for name in names], np.int32)[chunk.indices.to_numpy()])
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.int32)


def _frozen(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As compiled code takes it: contiguous and read-only, always."""
    made = np.ascontiguousarray(column).view()
    made.flags.writeable = False
    return made
