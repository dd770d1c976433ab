"""Runs read back: a run folder or a journal file, whole and unchanged, or refused by the file or row that is not."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from simulator.book.fills import Booking, venue_code
from simulator.book.orders import FloatArray, IntArray, OrderKind, Reason, TimeInForce
from simulator.errors import DataError, ScenarioError, SimulatorError
from simulator.loop import journal as rows
from simulator.loop import recording
from simulator.loop.journal import KINDS, ROW, MemoryJournal, times_to_rows
from simulator.loop.store import Header, recorded
from simulator.report.results import STATE_OF
from simulator.risk.engine import Measure

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.market.tape import Tape

PRICED: Final = (rows.ORDER, rows.BATCHED, rows.REPLACE, rows.REFUSED, rows.SLICED, rows.REPLACED)
"""The kinds of rows that have a limit and a stop, which are NaN where they are not given."""


class Wait(NamedTuple):
    """For what an order waited, and from which bar to which."""

    reason: str
    first: int
    last: int


class Record(NamedTuple):
    """A run as it was kept.

    *header* is None where the run had no scenario. *bars* of the tape with this *digest* were run; both are None for a journal whose run has not
    ended. *waiting* tells of the orders that were open at the end what they waited for, which a journal file does not know.
    """

    path: Path
    header: Header | None
    journal: MemoryJournal
    bars: int | None
    digest: str | None
    symbols: tuple[str, ...] = ()
    waiting: Mapping[int, tuple[Wait, ...]] = {}

    def words(self) -> str:
        """The run in a line."""
        name = f" of {self.scenario['name']}" if self.header else ""
        end = "not ended" if self.bars is None else f"{self.bars:,} bars"
        return f"{self.path}{name}, {len(self.journal.table()):,} events, {end}"

    @property
    def scenario(self) -> dict[str, Any]:
        """The tables of the scenario that was run. Raises ScenarioError where there was none, or what the header has is none."""
        if self.header is None:
            raise ScenarioError(f"{self.path} is of a run without a scenario, so that its bars cannot be loaded anew")
        try:
            found = tomllib.loads(self.header.scenario)
        except ValueError as error:
            raise ScenarioError(f"{self.path}: what its header has is no scenario: {error}") from None
        missing = [key for key in ("name", "seed", "feed", "account", "risk") if key not in found]
        if missing:
            raise ScenarioError(f"{self.path}: what its header has is no scenario: it has no {missing[0]}")
        return found


def read(path: Path) -> Record:
    """The run in the folder of `tradewind run --out` or in the journal file of `tradewind rehearse`, which may go on meanwhile.

    Raises SimulatorError where there is none, DataError where it was changed: a folder by its file, a journal file by its row.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise SimulatorError(f"{path}: there is no such run: give the folder of `tradewind run --out`, or the file of `tradewind rehearse --journal`")
    if (path.parent / "summary.json").is_file() and path.name in ("summary.json", "journal.parquet", "scenario.toml", "report.html"):
        raise SimulatorError(f"{path} is a file of a run folder: give the folder, {path.parent}")
    found = recorded(path)
    end = found.closing
    # A live session that was stopped went as far as its last bar, and may go on: its bars are its own.
    bars = end.bars if end else len(recording.read(path).bars) if recording.has_bars(path) else None
    return Record(path, found.header, found.journal, bars, end and end.tape)


def load_tape(record: Record) -> Tape:
    """The bars of a run, loaded anew by the feed of its scenario.

    What is relative in the scenario is looked for beside the run, in the folders above it, in the current one, and beside the bundled scenarios.
    Raises ScenarioError where the run has no scenario, or its feed gives no bars; DataError where these are not the bars that were run.
    """
    scenario, failed, others = record.scenario, "", list[str]()
    bars = recording.read(record.path).bars if record.path.is_file() and recording.has_bars(record.path) else None
    for folder in folders_of(record.path.resolve()):
        try:
            tape = _feed(scenario, folder)
            tape = tape if bars is None else recording.tape_of(bars, tape)
        except SimulatorError as error:
            failed = failed or str(error)
            continue
        wrong = _unlike(record, tape)
        if not wrong:
            return tape
        # Where another folder gives the same bars, its paths are not relative.
        if wrong in others:
            break
        others.append(wrong)
    if others:
        raise DataError(f"{record.path}: {others[0]}: put the data back as they were, or run the scenario again")
    tried = "its paths are looked for beside the run, in the folders above it, and in the current folder: go to that of its scenario"
    raise ScenarioError(f"{record.path}: its bars cannot be loaded: {failed} ({tried})")


def folders_of(place: Path) -> list[Path]:
    """Where the scenario of a run may have been, the likeliest first. The digest of the bars tells whether it was."""
    from simulator import scenarios

    bundled = [path.parent for path in scenarios.bundled().values()]
    return list(dict.fromkeys((*([place] if place.is_dir() else []), *place.parents, Path().resolve(), *bundled)))


def _feed(scenario: Mapping[str, Any], folder: Path) -> Tape:
    """What the feed of a scenario gives now. Its strategy and broker need not be there any more."""
    from simulator import plugins, scenarios
    from simulator.feeds.tables import with_tables

    keys = dict(scenario["feed"])
    feed: Any = plugins.build(plugins.find(plugins.FEEDS, keys.pop("kind"), folder), keys, "feed")
    tape: Tape = feed.load(seed=scenario["seed"], folder=folder)
    actions, known = (scenarios.files(table, scenario) for table in scenarios.FILES)
    if actions or known:
        tape = with_tables(tape, folder, actions, known)
    stress = scenarios.stress_of(scenario)
    return stress.tape(tape, scenario["seed"]) if stress and len(tape) else tape


def _unlike(record: Record, tape: Tape) -> str:
    """Why these are not the bars that were run; empty if they are, or if nothing says that they are not."""
    digest = tape.digest()
    if record.digest is not None and digest != record.digest:
        return f"the bars that its feed gives now ({len(tape):,}, digest {digest[:12]}) are not those that were run (digest {record.digest[:12]})"
    # Without a digest, since the run has not ended, at least each event is at the close of a bar.
    times = record.journal.table()["at"]
    found = times_to_rows(tape, times)
    strange = (
        np.flatnonzero((found == len(tape)) | (tape.closed_at[np.minimum(found, len(tape) - 1)] != times)) if len(tape) else np.arange(len(times))
    )
    if len(strange):
        return f"of the bars that its feed gives now none closed at {times[strange[0]]} ns, when row {strange[0]} was written"
    return ""


# --- Run folders


def _folder(folder: Path) -> Record:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = _summary(folder / "summary.json")
    if not kept:
        raise SimulatorError(f"{folder} is no run folder: it has no summary.json")
    try:
        header = None
        if kept["scenario"] is not None:
            header = Header(_text(folder / "scenario.toml"), str(kept["code"]), int(kept["scenario"]["seed"]))
        run, digest, bars, written = (str(kept["run_id"]), str(kept["tape"]["digest"]), int(kept["bars"]["rows"]), str(kept["journal_hash"]))
        symbols = tuple(map(str, kept["tape"]["symbols"]))
        waiting: dict[int, tuple[Wait, ...]] = {}
        for wait in kept["waiting"]:
            order = int(wait["order"])
            waiting[order] = (*waiting.get(order, ()), Wait(str(wait["reason"]), int(wait["first_bar"]), int(wait["last_bar"])))
    except (KeyError, TypeError, ValueError) as error:
        said = f"has no {error}" if isinstance(error, KeyError) else f"is not as it was written: {error}"
        raise DataError(f"{folder / 'summary.json'} {said}: it was changed, or an older version wrote it: run the scenario again") from None
    if header is not None and header.run != run:
        raise DataError(
            f"{folder / 'scenario.toml'} is not the scenario that was run: with the code and seed of summary.json it does not give {run[:12]}"
        )
    path = folder / "journal.parquet"
    try:
        journal = journal_of(pq.read_table(path), symbols)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    journal.header = header.text if header else ""
    found = journal.hash(f"{digest} {bars}")
    if found != written:
        raise DataError(f"{path} is not the journal that was written: its hash is {found[:12]}, and summary.json has {written[:12]}")
    return Record(folder, header, journal, bars, digest, symbols, waiting)


def _summary(path: Path) -> dict[str, Any]:
    """What summary.json says; nothing if it is not there."""
    try:
        found = json.loads(_text(path)) if path.exists() else {}
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} was changed: it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} was changed: it is not the summary of a run")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} was changed: it is not UTF-8 text: {error.reason} at byte {error.start}") from None


def journal_of(table: pa.Table, symbols: Sequence[str]) -> MemoryJournal:
    """The journal that `tables.journal_table` decoded, byte for byte, where *symbols* are those of the tape. Its header is not in the table.

    Raises KeyError for a column that is missing, DataError for a word that is none of ours.
    """
    columns = _Columns(table)
    kind = columns.codes("kind", _first(enumerate(KINDS)))
    fill, ended, waited, halt, refused = (kind == x for x in (rows.FILL, rows.ENDED, rows.WAITED, rows.HALT, rows.REFUSED))
    items = kind == rows.ITEMISED
    priced, conditions = np.isin(kind, PRICED), kind == rows.CONDITIONS
    booked, split, adjusted, forced = (kind == x for x in (rows.BOOKED, rows.RESCALED, rows.ADJUSTED, rows.FORCED))
    reason = columns.codes("reason", {x.words: int(x) for x in Reason})
    instrument = columns.codes("symbol", _first(enumerate(symbols)), -1)
    form = columns.codes("order_kind", {x.name.lower(): int(x) for x in OrderKind}) + 256 * columns.codes(
        "tif", {x.name: int(x) for x in TimeInForce}
    )
    state = columns.codes("state", {str(state): code for code, state in STATE_OF.items()})
    made = np.zeros(len(table), ROW)
    made["at"], made["kind"] = columns.whole("at"), kind
    made["phase"] = columns.codes("phase", {word: code for code, word in rows.PHASES.items()})
    # A remark may be about no instrument, and so is the end of what never was an order; other rows without one have the first.
    made["instrument"] = np.where((instrument < 0) & ~(ended | booked) & (kind != rows.REMARK), 0, instrument)
    made["order"] = np.where(halt, columns.codes("measure", {x.name.lower(): int(x) for x in Measure}), columns.whole("order"))
    made["lots"] = np.select([waited, conditions], [columns.whole("first"), columns.whole("oco")], columns.whole("lots"))
    limit, stop, trail, fraction = (columns.real(name, np.nan) for name in ("limit", "stop", "trail", "trail_fraction"))
    shapes = [priced | adjusted, conditions, fill | split, items, halt, booked, forced]
    regulatory, venue_fee, permanent = (columns.real(name) for name in ("regulatory", "venue_fee", "permanent"))
    price, slippage, equity, floor = (columns.real(name) for name in ("price", "slippage", "equity", "floor"))
    made["a"] = np.select(shapes, [limit, trail, price, regulatory, equity, columns.real("amount"), columns.real("had")])
    made["b"] = np.select(shapes, [stop, fraction, slippage, venue_fee, floor, columns.real("receivable"), columns.real("needed")])
    made["c"] = np.select(
        [fill, items, refused, booked, adjusted],
        [columns.real("commission"), permanent, reason.astype(float), columns.real("price", np.nan), trail],
    )
    booking = columns.codes("booking", {x.words: int(x) for x in Booking})
    made["d"] = np.select(
        [fill, items, ended, waited, conditions, booked, split],
        [
            columns.whole("taker"),
            columns.codes("venue", _Venues()),
            state,
            columns.whole("last"),
            columns.whole("until"),
            booking,
            columns.whole("up"),
        ],
        form,
    )
    made["e"] = np.select(
        [ended | waited | forced | adjusted, fill, split],
        [reason, columns.whole("ambiguous"), columns.whole("down")],
        columns.whole("parent") + columns.whole("replaces"),
    )
    journal = MemoryJournal()
    journal.rows += made.tobytes()
    journal.client_ids.update(columns.words_by(made["order"], "client_id"))
    return journal


def _first(numbered: Iterator[tuple[int, str]] | enumerate[str]) -> dict[str, int]:
    """The first number of each word."""
    found: dict[str, int] = {}
    for code, word in numbered:
        found.setdefault(word, code)
    return found


class _Venues(dict[str, int]):
    """The number of each venue, whatever its name."""

    def __missing__(self, name: str) -> int:
        self[name] = venue_code(name)
        return self[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and len(name) <= 8 and name.isascii()


class _Columns:
    """The columns of a table as arrays, in which a null is a number."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def codes(self, name: str, known: Mapping[str, int], otherwise: int = 0) -> IntArray:
        """The number of each word."""
        column = self.table[name].combine_chunks().dictionary_encode()
        words = column.dictionary.to_pylist()
        for word in words:
            if word not in known:
                raise DataError(f"the column {name} of journal.parquet has {word!r}, which this version of the program does not know")
        numbers = np.array([*(known[word] for word in words), otherwise], np.int64)
        codes: IntArray = numbers[column.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)]
        return codes

    def whole(self, name: str) -> IntArray:
        """Whole numbers, times, or flags, 0 for null."""
        found: IntArray = self.table[name].combine_chunks().cast("int64").fill_null(0).to_numpy(zero_copy_only=False)
        return found

    def real(self, name: str, otherwise: float = 0.0) -> FloatArray:
        """Numbers."""
        found: FloatArray = self.table[name].combine_chunks().fill_null(otherwise).to_numpy(zero_copy_only=False)
        return found

    def words_by(self, keys: np.ndarray, name: str) -> dict[int, str]:
        """The words that are there, by *keys*."""
        column = self.table[name].combine_chunks()
        there = column.is_valid().to_numpy(zero_copy_only=False)
        return dict(zip(keys[there].tolist(), column.drop_null().to_pylist(), strict=True))
