"""What is in a dataset, or in files of bars: the words of `tradewind data describe`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.errors import DataError
from simulator.feeds.checks import Stamps
from simulator.feeds.datasets import MANIFEST, read_manifest, streamed
from simulator.feeds.files import files_of, read_table
from simulator.feeds.frames import Declared, Table
from simulator.market.calendars import day_text, instant_text
from simulator.market.tape import DAY, SECOND, Tape
from simulator.report.telling import Columns

if TYPE_CHECKING:
    from simulator.report.telling import Part

FORMS: Final = {"date": "dates", "midnight": "dates", "naive": "times without a zone", "utc": "times in UTC"}


def describe(path: Path) -> list[Part]:
    """What is at *path*, a dataset or files of bars, as labels with their values and a table of its symbols. Raises DataError where it is neither."""
    if (path / MANIFEST).is_file():
        return _dataset(path)
    files = [*files_of(path, "")]
    return [
        ("files", f"{len(files):,}, {_size(files)}"),
        ("to run them", "feed 'files', or tradewind data convert; of times say --stamps and --interval, and without a zone --timezone if not UTC"),
        Columns("symbols", ("file", "symbol", "bars", "from", "to", "stamps"), [row for file in files for row in _file(file)], (0, 1, 5)),
    ]


def _file(path: Path) -> Iterator[tuple[str, ...]]:
    """What one file says of each of its symbols, without any declaration."""
    table = _undeclared(path)
    ends = np.arange(len(table.stamps.at))
    which = np.zeros(len(ends), np.int64) if table.which is None else table.which
    for i, symbol in enumerate(table.symbols):
        at = np.sort(table.stamps.at[which == i])
        yield path.name, symbol, f"{len(at):,}", _stamp(table.stamps, at[0]), _stamp(table.stamps, at[-1]), FORMS[table.stamps.form]


def _undeclared(path: Path) -> Table:
    """The columns of a file, whichever prices and volume it has."""
    for opens, volume in (("traded", "shares"), ("traded", "none"), ("close_only", "shares")):
        try:
            return read_table(path, None, Declared(opens=opens, volume=volume))
        except DataError as error:
            if "has no column" not in str(error):
                raise
    return read_table(path, None, Declared(opens="close_only", volume="none"))


def _stamp(told: Stamps, at: int) -> str:
    return day_text(at // DAY) if told.form in ("date", "midnight") else instant_text(at).replace("Z", "" if told.form == "naive" else "Z")


def _dataset(folder: Path) -> list[Part]:
    manifest = read_manifest(folder)
    truth = manifest.truth
    tape = streamed(folder)
    bars, first, last = np.zeros(tape.width, np.int64), np.full(tape.width, len(tape)), np.full(tape.width, -1)
    for begin, end in tape.spans(0, len(tape)):
        there = ~np.isnan(tape.close[begin:end])
        bars += there.sum(axis=0)
        some = there.any(axis=0)
        first = np.where(some & (last < 0), begin + there.argmax(axis=0), first)
        last = np.where(some, end - 1 - there[::-1].argmax(axis=0), last)
    days = tape.sessions
    rows: list[tuple[str, ...]] = [
        (x.symbol, x.kind, f"{n:,}", _when(tape, a), _when(tape, b), f"{1.0 - n / (b - a + 1):.2%}" if n else "")
        for x, n, a, b in zip(tape.instruments, bars.tolist(), first.tolist(), last.tolist(), strict=True)
    ]
    gaps = int((np.diff(days) > 4).sum())
    missing = 1.0 - manifest.bars / int(np.maximum(last - first + 1, 0).sum())
    prices = "adjusted for splits and dividends" if truth.adjusted else "as they were traded"
    return [
        ("dataset", f"{folder}, by {manifest.by}"),
        ("symbols", f"{tape.width:,}"),
        ("bars", f"{manifest.bars:,} at {manifest.rows:,} instants"),
        ("period", f"{day_text(days[0])} to {day_text(days[-1])}, {len(np.unique(days)):,} sessions; {gaps:,} times more than four days apart"),
        ("interval", "1d" if tape.interval == DAY else f"{tape.interval / SECOND:g} s"),
        ("missing", f"{missing:.2%} of the bars between each symbol's first and last"),
        ("source", f"{truth.source}: prices {prices}; opens: {truth.opens.replace('_', ' ')}; volume: {truth.volume}"),
        ("size", _size([path for path in folder.rglob("*") if path.is_file()])),
        *((("notes", f"{len(manifest.notes):,}, the first: {manifest.notes[0]}"),) if manifest.notes else ()),
        Columns("symbols", ("symbol", "kind", "bars", "from", "to", "missing"), rows, (0, 1)),
    ]


def _when(tape: Tape, row: int) -> str:
    return "" if not 0 <= row < len(tape) else day_text(tape.days[row]) if tape.interval >= DAY else instant_text(tape.ats[row])


def _size(files: list[Path]) -> str:
    count = float(sum(path.stat().st_size for path in files))
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024.0:
            return f"{count:,.4g} {unit}"
        count /= 1024.0
    return f"{count:,.1f} GiB"
