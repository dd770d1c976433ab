"""How files of bars become a dataset: by the checks of the feed `files`, one file in memory at a time, and then one part.

What has passed the checks is put into plain files, one for each part to come, and from there into the parts in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from typing import Final

import numpy as np

from simulator.errors import DataError
from simulator.feeds.checks import PRICES, Passing, Read, apart
from simulator.feeds.datasets import By, Codes, Columns, Manifest, Writer, making
from simulator.feeds.files import files_of, named, read_table
from simulator.feeds.frames import Declared
from simulator.market.calendars import day_text
from simulator.market.tape import FIELDS, IntArray

Progress = Callable[[int, int], None]

INSTANT: Final = np.dtype([("at", "<i8"), ("which", "<i4"), ("opened", "<i8"), ("session", "<i8")])
BAR: Final = np.dtype([*INSTANT.descr, *((name, "<f8") for name in FIELDS)])
PIECE: Final = 1 << 18
"""Bars that are put in order together."""


def convert(
    paths: Sequence[Path], out: Path, declared: Declared, *, by: By = "date", symbol: str | None = None, progress: Progress | None = None
) -> Manifest:
    """Write the bars of these files, or folders of them, as a dataset in the folder *out*, which is whole or not there at all.

    Beside one file, the instants and the order of one part are in memory: about 32 bytes for each bar of a month. Raises DataError for bars that do
    not pass the checks of the feed `files`, SimulatorError where *out* is there already or cannot be written.
    """
    files = [file for path in paths for file in files_of(path, "")]
    if not files:
        raise DataError("there must be at least one file to convert")
    with making(out) as folder:
        raw = folder / ".raw"
        raw.mkdir()
        sorting, passing = _Sorting(raw, by), Passing(declared.on_bad_bar)
        for done, file in enumerate(files):
            if progress:
                progress(done, len(files))
            for read in read_table(file, symbol, declared).by_instrument(declared):
                sorting.take(passing.take(read), read.symbol)
        if progress:
            progress(len(files), len(files))
        if not sorting.bars:
            raise DataError(f"{named(files)}: no bar is left, all are bad")
        symbols = list(sorting.index)
        instruments = declared.instruments(symbols)
        writer = Writer(folder, by, instruments, sorting.interval, declared.truth(named(files)), passing.notes(symbols))
        before: IntArray = np.empty(0, np.int64)
        for month in sorted(raw.glob("instants-*")):
            before = _write_instants(writer, month, before)
        for key, path in sorting.parts():
            writer.part(key, _ordered(path))
        manifest = writer.close()
        rmtree(raw)
    return manifest


class _Sorting:
    """Bars on their way into the plain files of their parts."""

    def __init__(self, folder: Path, by: By) -> None:
        self._folder, self._by, self.index, self._months = folder, by, dict[str, int](), set[str]()
        self.interval, self.bars = 2**62, 0

    def take(self, read: Read, symbol: str) -> None:
        which = self.index.setdefault(symbol, len(self.index))
        self.interval, self.bars = min(self.interval, read.interval), self.bars + len(read.rows)
        rows = np.empty(len(read.rows), BAR)
        rows["at"], rows["which"], rows["opened"], rows["session"] = read.closed_at, which, read.opened_at, read.sessions
        for name in PRICES:
            rows[name] = read.fields.get(name, read.fields["close"])
        rows["volume"] = read.fields.get("volume", np.inf)
        if self._by == "symbol":
            _append(self._folder / f"bars-{which:08}", rows)
        months = read.sessions.astype("datetime64[D]").astype("datetime64[M]")
        cuts = [0, *(np.flatnonzero(months[1:] != months[:-1]) + 1).tolist(), len(rows)]
        for first, end in pairwise(cuts):
            if end > first:
                month = str(months[first])
                self._months.add(month)
                _append(self._folder / f"instants-{month}", rows[first:end][list(INSTANT.names or ())].astype(INSTANT))
                if self._by == "date":
                    _append(self._folder / f"bars-{month}", rows[first:end])

    def parts(self) -> Iterator[tuple[str, Path]]:
        """The key of each part, and the file of its bars."""
        if self._by == "date":
            yield from ((month, self._folder / f"bars-{month}") for month in sorted(self._months))
        else:
            found = ((symbol, self._folder / f"bars-{which:08}") for symbol, which in self.index.items())
            yield from ((symbol, path) for symbol, path in found if path.stat().st_size)


def _append(path: Path, rows: np.ndarray) -> None:
    with path.open("ab") as file:
        file.write(rows.tobytes())


def _write_instants(writer: Writer, path: Path, before: IntArray) -> IntArray:
    """The instants of a month after those of the month before, whose last one is *before*; its own last one."""
    rows = np.fromfile(path, INSTANT)
    rows = rows[np.lexsort((rows["which"], rows["at"]))]
    # Where instruments disagree on when a bar opened, the last of them is right, as on any tape.
    rows = rows[np.append(rows["at"][1:] != rows["at"][:-1], True)]
    ends, starts, days = (np.ascontiguousarray(rows[name]) for name in ("at", "opened", "session"))
    apart(np.concatenate((before, ends)), np.concatenate((before, starts)))
    late = np.flatnonzero(days[1:] < days[:-1])
    if len(late):
        raise DataError(
            f"bars of different instruments disagree on their session: {day_text(days[late[0] + 1])} comes after {day_text(days[late[0]])}"
        )
    writer.instants(ends, starts, days)
    return ends[-1:]


def _ordered(path: Path) -> Iterator[tuple[IntArray, Codes, Columns]]:
    """The bars of a part by time, and those of an instant by instrument."""
    rows = np.memmap(path, BAR, "r")
    order = np.lexsort((rows["which"], rows["at"]))
    for first in range(0, len(rows), PIECE):
        piece = rows[order[first : first + PIECE]]
        o, h, low, c, v = (np.ascontiguousarray(piece[name]) for name in FIELDS)
        yield np.ascontiguousarray(piece["at"]), np.ascontiguousarray(piece["which"]), (o, h, low, c, v)
