"""Where two runs part: the first event that differs, and what fed it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.errors import SimulatorError
from simulator.loop import journal as rows
from simulator.loop.journal import ROW, MemoryJournal
from simulator.loop.store import Header
from simulator.market.tape import FIELDS, Tape
from simulator.report.records import Record, load_tape
from simulator.report.telling import Columns, Part, Telling, closing

SHARED: Final = 3
"""So many of the events that differ in nothing are told, the last ones."""
MANY: Final = 8
"""So many instruments are shown where an event is about the whole account."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What two runs do not have in common: from which *row* on their events differ, or one has more of them, None if nowhere.

    *ends* says that all events agree, and yet the runs did not go equally far.
    """

    row: int | None
    ends: bool

    def __bool__(self) -> bool:
        return self.row is not None or self.ends


def compare(first: Record, second: Record) -> Difference:
    """Compare two journals event by event: their rows, the client_id of each order, and how far they were run. Headers are no events."""
    row = first_unlike(first.journal, second.journal)
    return Difference(row, row is None and first.bars != second.bars)


def first_unlike(first: MemoryJournal, second: MemoryJournal) -> int | None:
    """The first row that is not the same in both, byte for byte or in the client_id of its order; None if there is none."""
    ours, theirs = (journal.table().view(np.uint8).reshape(-1, ROW.itemsize) for journal in (first, second))
    same = min(len(ours), len(theirs))
    found = np.flatnonzero((ours[:same] != theirs[:same]).any(axis=1))[:1].tolist()
    names = first.client_ids, second.client_ids
    renamed = [order for order in names[0].keys() | names[1].keys() if names[0].get(order) != names[1].get(order)]
    if renamed:
        for table in (first.table(), second.table()):
            found += np.flatnonzero(np.isin(table["order"], renamed) & (table["kind"] != rows.HALT))[:1].tolist()
    if len(ours) != len(theirs):
        found.append(same)
    return min(found) if found else None


def difference(first: Record, second: Record) -> Iterator[Part]:
    """What `compare` finds, to be printed."""
    found = compare(first, second)
    yield "run 1", first.words()
    yield "run 2", second.words()
    if found.row is not None:
        yield from _parting(found.row, (first, second))
    elif found.ends:
        yield "same", f"all {len(first.journal.table()):,} events"
        yield "differ", f"run 1 {_extent(first)}, run 2 {_extent(second)}"
    else:
        yield "same", f"all {len(first.journal.table()):,} events, and how far both were run"
    changes = list(_changes(first.header, second.header))
    yield from (("fed by" if found else "note", change) for change in changes)
    if not found and first.digest and second.digest and first.digest != second.digest:
        yield "note", "the bars are not the same, so that what is held may be worth something else"


def _extent(record: Record) -> str:
    return "has not ended" if record.bars is None else f"ended after {record.bars:,} bars"


def _parting(row: int, records: tuple[Record, Record]) -> Iterator[Part]:
    """The events before and at the parting, and the bars of that instant."""
    tapes = _tapes(records)
    tellings = [Telling(x.journal, tape if isinstance(tape, Tape) else None, x.symbols) for x, tape in zip(records, tapes, strict=True)]
    shared = tellings[0].entries(slice(max(0, row - SHARED), row))
    yield "same", f"the first {row:,} event{'s' * (row != 1)}{', the last of them:' if shared else ''}"
    yield from (("", f"{tellings[0].when(entry.at)}  {tellings[0].event(entry)}") for entry in shared)
    yield "differ", f"from row {row:,} on:"
    parting = [telling.entries(slice(row, row + 1)) for telling in tellings]
    for k, (entries, telling, record) in enumerate(zip(parting, tellings, records, strict=True), 1):
        yield f"run {k}", f"{telling.when(entries[0].at)}  {telling.event(entries[0])}" if entries else _stop(telling, record)
    at = min(entry.at for entries in parting for entry in entries)
    about = {telling.instrument(entry) for entries, telling in zip(parting, tellings, strict=True) for entry in entries if entry.at == at}
    bars = [_bars(telling, at, about) for telling in tellings]
    lines = [("both", *line) for line in bars[0]] if bars[0] == bars[1] else [(f"run {k}", *line) for k, of in enumerate(bars, 1) for line in of]
    if lines:
        yield Columns(f"bars of {tellings[0].when(at)}", ("", "", *FIELDS), lines, (0, 1))
    yield from (("bars", f"not shown: {failure}") for failure in tapes if isinstance(failure, str))
    if isinstance(tapes[0], Tape) and isinstance(tapes[1], Tape):
        yield "fed by", _bars_differ(tapes[0], tapes[1], at)


def _stop(telling: Telling, record: Record) -> str:
    """How a journal ends that has no more events."""
    last = telling.entries(slice(-1, None))
    return f"nothing more: it ends {f'after the bar {telling.when(last[0].at)}' if last else 'before its first event'}, and {_extent(record)}"


def _tapes(records: tuple[Record, Record]) -> tuple[Tape | str, Tape | str]:
    """The bars of both runs, or why they cannot be had."""

    def loaded(record: Record) -> Tape | str:
        try:
            return load_tape(record)
        except SimulatorError as error:
            return str(error)

    first, second = records
    tape = loaded(first)
    same = isinstance(tape, Tape) and first.digest is not None and first.digest == second.digest
    return tape, tape if same else loaded(second)


def _bars(telling: Telling, at: int, instruments: set[int | None]) -> list[tuple[str, ...]]:
    """The bars that closed at that time: of these *instruments*, or of the first ones where the whole account is meant."""
    tape = telling.tape
    if tape is None:
        return []
    row = telling.row(at)
    if row == len(tape) or tape.ats[row] != at:
        return [("none", *("",) * len(FIELDS))]
    wanted = range(min(tape.width, MANY)) if None in instruments else sorted(i for i in instruments if i is not None and i < tape.width)
    return [(telling.symbol(i), *telling.prices(row, i)) for i in wanted]


def _bars_differ(first: Tape, second: Tape, at: int) -> str:
    """From where on two tapes differ, up to the bar that closed at that time."""
    if first.instruments != second.instruments:
        return "other instruments, or other terms of theirs"
    ends = [int(np.searchsorted(tape.closed_at[: len(tape)], at, side="right")) for tape in (first, second)]
    n = min(ends)
    unlike = [np.flatnonzero(first.closed_at[:n] != second.closed_at[:n])]
    for name in FIELDS:
        ours, theirs = getattr(first, name)[:n], getattr(second, name)[:n]
        unlike.append(np.flatnonzero(((ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))).any(axis=1)))
    rows_unlike = [*(int(found[0]) for found in unlike if len(found)), *([n] if ends[0] != ends[1] else [])]
    if not rows_unlike:
        return "the same bars up to there"
    row = min(rows_unlike)
    return f"other bars from bar {row:,} on: {closing(first if row < len(first) else second, row)}"


def _changes(first: Header | None, second: Header | None) -> Iterator[str]:
    """What is not the same in the headers of two journals, by the keys of their scenarios."""
    if first is None or second is None:
        if first != second:
            yield f"run {1 if first is None else 2} had no scenario"
        return
    ours, theirs = _settings(first.scenario), _settings(second.scenario)
    for key in dict.fromkeys((*ours, *theirs)):
        was, became = ours.get(key, "not there"), theirs.get(key, "not there")
        if was != became:
            yield f"{key}: {was} in run 1, {became} in run 2"
    if first.code != second.code:
        yield f"code: {first.code} in run 1, {second.code} in run 2"


def _settings(text: str) -> dict[str, str]:
    """A scenario's canonical text as values by dotted keys. What stands behind the name of a table is the digest of its plug-in's file."""
    found, table = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            table, _, digest = line[1:].partition("]")
            table += "."
            if digest:
                found[f"{table}file"] = digest.removeprefix(" # ")
        elif line:
            key, _, value = line.partition(" = ")
            found[table + key] = value
    return found
