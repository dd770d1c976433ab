"""The journal on disk: an SQLite file whose rows survive whatever ends their process, and tell whether anybody touched them.

| table | what |
| --- | --- |
| header | scenario, code, seed, and run: SHA-256 of the three |
| rows | id from 0 on, close of the bar, client_id of an order that has one, the 72 bytes of loop.journal.ROW, and the hash that chains them |
| closing | one row, when the run has ended: rows, bars, digest of the tape, hash |

A row's hash is SHA-256 of the hash before it, its bytes and its client_id; the first follows the header's. All rows of a bar are one transaction
(what fell due with it is one of its own), which is on the disk (WAL, synchronous=FULL) before the next bar begins.

Beside FILE stand, until the run has ended, SQLite's own FILE-wal and FILE-shm, and FILE.lock: the pid of its writer, and how many rows it has
committed up to which hash. SQLite takes a log that was cut for one that was never longer; by the second line of FILE.lock we know better.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from simulator.errors import DataError, ScenarioError, SimulatorError
from simulator.loop.journal import ORDER, REFUSED, REMARK, ROW, MemoryJournal, describe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from simulator.book.fills import Event
    from simulator.book.orders import Refusal, Wish
    from simulator.market.tape import Bars

FORMAT: Final = 1
MAGIC: Final = 0x74776A31
"""What SQLite calls an application id: twj1."""

SCHEMA: Final = (
    "CREATE TABLE header (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, client_id TEXT NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL)",
    "CREATE TABLE closing (rows INTEGER NOT NULL, bars INTEGER NOT NULL, tape TEXT NOT NULL, hash BLOB NOT NULL)",
    f"PRAGMA application_id = {MAGIC}",
    f"PRAGMA user_version = {FORMAT}",
)
SIZE: Final = ROW.itemsize
read_head: Final = Struct("<qhhiq").unpack_from
MARK: Final = re.compile(rb"\A[0-9]+\n([0-9]+) ([0-9a-f]{64})\n")


class Header(NamedTuple):
    """What decides a run: the scenario's text, the version of the code, the seed."""

    scenario: str
    code: str
    seed: int

    @property
    def text(self) -> str:
        """The header as a journal's hash takes it."""
        return f"{self.scenario}\n{self.code}\n{self.seed}\n"

    @property
    def run(self) -> str:
        """The run id: SHA-256 of scenario, code version and seed."""
        return sha256(self.text.encode()).hexdigest()


class Closing(NamedTuple):
    """What the last row of a run that has ended says: how many rows and bars there were, and the digest of the tape."""

    rows: int
    bars: int
    tape: str

    @property
    def text(self) -> bytes:
        """What its hash is of."""
        return f"{self.rows} {self.bars} {self.tape}".encode()


class Recorded(NamedTuple):
    """What a journal file holds. *last* is the hash that its next row would follow; *closing* is None while the run has not ended."""

    header: Header
    journal: MemoryJournal
    last: bytes
    closing: Closing | None


class SqliteJournal:
    """A journal that is on the disk before its session goes on. `memory` holds the same rows, for a Result.

    With *resume* it goes on with a file that is there: rows that its session records again are compared with the committed ones, which are never
    written again, and new rows follow the last of them. Only one can write to a file; the claim to it ends with the process. Use it in a `with`.

    Raises SimulatorError where another process writes to *path*, where there is a file and no *resume* or the reverse, and where the
    run has ended; ScenarioError, naming the key, where the file is of another run; DataError where it is damaged.
    """

    __slots__ = ("_claim", "_committed", "_ended", "_file", "_last", "memory", "path")

    def __init__(self, path: Path, header: Header, *, resume: bool = False) -> None:
        self.path, self.memory, self._ended = path, MemoryJournal(header.text), False
        self._claim = Claim(path)
        try:
            if resume and not path.exists():
                raise SimulatorError(f"{path} does not exist: leave out --resume to begin it")
            if not resume:
                create(path, header)
                self._claim.note(0, bytes.fromhex(header.run))
            found = recorded(path)
            self._ended = found.closing is not None
            agree(path, found, header)
            self._committed, self._last = found.journal, found.last
            self._file = connect(path, "mode=rw")
        except BaseException as error:
            self._claim.release(keep=not self._ended)
            if isinstance(error, sqlite3.Error):
                raise SimulatorError(f"cannot write the journal {path}: {error}") from error
            raise

    @property
    def file(self) -> sqlite3.Connection:
        """The open file, for what a live session keeps beside the rows."""
        return self._file

    @property
    def committed(self) -> MemoryJournal:
        """The rows that were committed before this session."""
        return self._committed

    @property
    def reached(self) -> int:
        """The close of the last bar of which rows were committed before this session, in UTC nanoseconds; 0 if there are none."""
        rows = self._committed.rows
        return int(read_head(rows, len(rows) - SIZE)[0]) if rows else 0

    def record(
        self,
        bars: Bars,
        events: Sequence[Event],
        approved: Sequence[Wish],
        refused: Sequence[Refusal],
        answers: Sequence[Event],
    ) -> None:
        """Append one instant, as MemoryJournal does, and have it on the disk. Raises DataError where what is committed says otherwise."""
        before = len(self.memory.rows)
        self.memory.record(bars, events, approved, refused, answers)
        self._keep(before)

    def note(self, bars: Bars, settled: Sequence[Event]) -> None:
        """Append what fell due with these bars, as `record` does."""
        before = len(self.memory.rows)
        self.memory.note(bars, settled)
        self._keep(before)

    def _keep(self, before: int) -> None:
        if before < len(self._committed.rows):
            self._compare(before)
        elif before < len(self.memory.rows):
            self._append(before)

    def read(self) -> bytes:
        """All rows so far."""
        return self.memory.read()

    def finish(self, tape: str, bars: int) -> None:
        """Write the closing row: all *bars* of the *tape* with this digest were run. Raises DataError where more was committed than came now."""
        if len(self.memory.rows) < len(self._committed.rows):
            raise DataError(self._difference(len(self.memory.rows) // SIZE))
        end = Closing(len(self.memory.rows) // SIZE, bars, tape)
        self._commit("INSERT INTO closing VALUES (?, ?, ?, ?)", [(*end, link(self._last, end.text))])
        self._ended = True

    def close(self) -> None:
        """Leave the file to others. What was committed stays."""
        self._file.close()
        self._claim.release(keep=not self._ended)

    def __enter__(self) -> SqliteJournal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _append(self, before: int) -> None:
        made, last = [], self._last
        for k, at, client_id, body in entries(self.memory, before):
            last = link(last, body, client_id)
            made.append((k, at, client_id, body, last))
        self._commit("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", made)

    def _commit(self, sql: str, made: list[Any]) -> None:
        """One transaction, and then the mark, which may lag behind the file and never runs ahead of it."""
        try:
            with self._file:
                self._file.executemany(sql, made)
        except sqlite3.Error as error:
            raise DataError(f"{self.path}: row {made[0][0]} cannot be written: {error}") from error
        self._last = made[-1][-1]
        self._claim.note(made[-1][0] + 1, self._last)

    def _compare(self, before: int) -> None:
        """What is recorded at once is committed together: where the file has some of it, it has all."""
        ours, theirs = list(entries(self.memory, before)), list(entries(self._committed, before, len(self.memory.rows)))
        if ours != theirs:
            unlike = (n for n, (was, became) in enumerate(zip(theirs, ours, strict=False)) if was != became)
            raise DataError(self._difference(before // SIZE + next(unlike, len(theirs))))

    def _difference(self, k: int) -> str:
        was, became = self._committed, self.memory
        theirs, ours = was.table(), became.table()
        said = f"{self.path}: row {k} differs: {describe(theirs, k)} became {describe(ours, k)}"
        if k < min(len(theirs), len(ours)):
            named = [f"{x} {theirs[k][x]} became {ours[k][x]}" for x in ROW.names or () if theirs[k][x].tobytes() != ours[k][x].tobytes()]
            order = int(ours[k]["order"])
            ids = f"client_id {was.client_ids.get(order, '')!r} became {became.client_ids.get(order, '')!r}"
            said += f": {', '.join(named) or ids}"
        return f"{said}. The data changed, or a file that a plug-in reads: put it back, or begin a new journal"


def verify(path: Path) -> int:
    """How many rows a journal file holds, the closing one apart, all of them unchanged. Raises DataError naming one that is not; see `recorded`."""
    return len(recorded(path).journal.rows) // SIZE


def read_journal(path: Path) -> MemoryJournal:
    """The journal in a file, for `fold` and Result. Raises DataError; see `recorded`."""
    return recorded(path).journal


def recorded(path: Path) -> Recorded:
    """Read a journal file from its first row to its last, while another process writes to it or after.

    Raises DataError where the file is no journal; where a row is missing, changed, or was committed and is gone, naming it; and where SQLite finds
    a page damaged, naming the first row that could not be read.
    """
    # Before the rows: a writer who goes on meanwhile makes more of them, and never fewer.
    mark = read_mark(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no journal here")
    journal = MemoryJournal()
    # Without a log nobody writes, and the file can be read where it lies, on a disk that is read-only too.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    try:
        file = connect(path, mode)
        try:
            return read_all(path, file, journal, mark)
        finally:
            file.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # The second is sqlite3's own: its message quotes bytes of the file, and they may be anything.
        raise DataError(f"{path}: not a journal, or damaged at page level (row {len(journal.rows) // SIZE} cannot be read: {error})") from error


def read_all(path: Path, file: sqlite3.Connection, journal: MemoryJournal, mark: tuple[int, bytes] | None) -> Recorded:
    """Fill *journal* from *file*, and check all there is to check."""
    header = read_header(path, file)
    journal.header = header.text
    count, last = 0, bytes.fromhex(header.run)
    for id, at, client_id, body, hash in file.execute("SELECT id, at, client_id, body, hash FROM rows ORDER BY id"):
        if id != count:
            raise DataError(f"{path}: row {count} is missing: after row {count - 1} comes {id}")
        if not isinstance(client_id, str) or not isinstance(body, bytes) or len(body) != SIZE:
            raise DataError(f"{path}: row {count} was changed: it is not a row's {SIZE} bytes and a client_id")
        then, _, _, _, order = read_head(body)
        last = link(last, body, client_id)
        if hash != last or at != then:
            raise DataError(f"{path}: row {count} was changed: its bytes do not give its hash")
        journal.rows += body
        if client_id:
            journal.client_ids[order] = client_id
        count += 1
        if mark and mark[0] == count and mark[1] != last:
            raise DataError(f"{path}: row {id} is not the one that was committed: {path.name}.lock has another hash for it")
    end = None
    for rows, bars, tape, hash in file.execute("SELECT rows, bars, tape, hash FROM closing"):
        if isinstance(rows, int) and rows > count:
            raise DataError(f"{path}: row {count} is missing: the closing row counts {rows}")
        if end or hash != link(last, Closing(rows, bars, tape).text):
            raise DataError(f"{path}: the closing row was changed: its bytes do not give its hash")
        end = Closing(rows, bars, tape)
    if mark and mark[0] > count + (end is not None):
        raise DataError(f"{path}: row {count} was committed and is gone: the file or its -wal was cut, and had {mark[0]} rows with the closing one")
    ((words,),) = file.execute("PRAGMA integrity_check(1)")
    if words != "ok":
        raise DataError(f"{path}: damaged at page level, its {count} rows can still be read: {' '.join(words.split())}")
    return Recorded(header, journal, last, end)


def read_header(path: Path, file: sqlite3.Connection) -> Header:
    """The header of a journal file, if it is one."""
    ((magic,),), ((version,),) = file.execute("PRAGMA application_id"), file.execute("PRAGMA user_version")
    if magic != MAGIC:
        raise DataError(f"{path}: not a journal, or damaged at page level (its application id is {magic})")
    if version != FORMAT:
        raise DataError(f"{path}: a journal of format {version}, and this program reads format {FORMAT}")
    keys = dict(file.execute("SELECT key, value FROM header"))
    missing = [key for key in (*Header._fields, "run") if key not in keys]
    if missing:
        raise DataError(f"{path}: the header was changed: {missing[0]} is missing")
    header = Header(*(keys[key] for key in Header._fields))
    if header.run != keys["run"]:
        raise DataError(f"{path}: the header was changed: run is not the hash of scenario, code and seed")
    return header


def read_mark(path: Path) -> tuple[int, bytes] | None:
    """How many rows were committed, the closing one among them, and the hash of the last, as FILE.lock says; None where it does not."""
    try:
        found = MARK.search(Path(f"{path}.lock").read_bytes())
    except OSError:
        return None
    return (int(found[1]), bytes.fromhex(found[2].decode())) if found else None


def create(path: Path, header: Header) -> None:
    """Make a journal without rows: whole or not there at all. Raises SimulatorError where there is something already."""
    if path.exists() or path.is_symlink():
        raise SimulatorError(f"{path} is there already: --resume goes on with a journal; or choose another file")
    new = Path(f"{path}.new")
    try:
        # What a process that was killed left behind; SQLite would take an old log for this file's own.
        for left in (new, *(Path(f"{name}{end}") for name in (new, path) for end in ("-wal", "-shm", "-journal"))):
            left.unlink(missing_ok=True)
        file = connect(new, "mode=rwc")
        try:
            with file:
                file.execute("BEGIN")
                for sql in SCHEMA:
                    file.execute(sql)
                file.executemany("INSERT INTO header VALUES (?, ?)", [*zip(Header._fields, header, strict=True), ("run", header.run)])
            file.execute("PRAGMA journal_mode = WAL")
        finally:
            file.close()
        new.replace(path)
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except (OSError, sqlite3.Error) as error:
        raise SimulatorError(f"cannot write the journal {path}: {error}") from error


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection on which a commit returns when it is on the disk. Raises sqlite3.Error."""
    file = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
    try:
        file.execute("PRAGMA synchronous = FULL")
    except BaseException:
        file.close()
        raise
    return file


def agree(path: Path, found: Recorded, header: Header) -> None:
    """Refuse to go on with the journal of another run, and with one that has ended."""
    for key, was, now in zip(Header._fields, found.header, header, strict=True):
        if was != now:
            said = changed_line(str(was), str(now)) if key == "scenario" else f"{key} was {was} and is {now}"
            raise ScenarioError(f"{path} is the journal of another run: {said}: choose another file")
    if found.closing:
        raise SimulatorError(f"{path} is finished: {found.closing.rows:,} rows over {found.closing.bars:,} bars, and nothing to resume")


def changed_line(was: str, now: str) -> str:
    """The first line in which two scenarios differ, with its table."""
    table = ""
    for old, new in zip_longest(was.splitlines(), now.splitlines(), fillvalue="nothing"):
        if old != new:
            break
        table = f"{old} " if old.startswith("[") else table
    return f"{table}{old} is now {new}"


def entries(journal: MemoryJournal, start: int, end: int | None = None) -> Iterator[tuple[int, int, str, bytes]]:
    """The rows in these bytes of a journal: number, close, client_id, and the row itself."""
    fresh = bytes(journal.rows[start:end])
    for offset in range(0, len(fresh), SIZE):
        at, _, kind, _, order = read_head(fresh, offset)
        client_id = journal.client_ids.get(order, "") if kind in (ORDER, REFUSED, REMARK) else ""
        yield (start + offset) // SIZE, at, client_id, fresh[offset : offset + SIZE]


def link(last: bytes, body: bytes, client_id: str = "") -> bytes:
    """The hash of a row that follows the one with hash *last*. A row has a fixed length, so that what comes after it can only be its client_id."""
    return sha256(last + body + client_id.encode()).digest()


class Claim:
    """The right to write to a journal: a lock on FILE.lock, which ends with the process that has it."""

    __slots__ = ("_path", "_place")

    def __init__(self, journal: Path) -> None:
        try:
            import fcntl
        except ImportError:
            raise SimulatorError(f"{journal}: a journal file needs fcntl, which this platform does not have") from None
        self._path = Path(f"{journal}.lock")
        while True:
            try:
                self._place = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise SimulatorError(f"cannot write the journal {journal}: {error.strerror or error}") from error
            try:
                fcntl.flock(self._place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.pread(self._place, 32, 0).partition(b"\n")[0].decode("ascii", "replace")
                os.close(self._place)
                if not isinstance(error, BlockingIOError):
                    raise SimulatorError(f"cannot lock {self._path}: {error.strerror or error}") from error
                raise SimulatorError(f"{journal} is being written by process {owner or 'unknown'}: wait for it, or stop it") from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._place), self._path.stat()):
                    break
            # Its last owner took the file away between our opening it and our having it.
            os.close(self._place)
        # That of a journal which somebody deleted says nothing of the next one.
        mark = read_mark(journal) if journal.exists() else None
        self._write(f"{mark[0]} {mark[1].hex()}\n" if mark else "")

    def note(self, count: int, last: bytes) -> None:
        """So many rows are committed, up to this hash. There is no fsync: if the machine fails the mark may be old, which is less and never wrong."""
        # Counts only grow, so that nothing of the mark before is left behind this one.
        os.pwrite(self._place, f"{os.getpid()}\n{count} {last.hex()}\n".encode(), 0)

    def _write(self, mark: str) -> None:
        text = f"{os.getpid()}\n{mark}".encode()
        os.pwrite(self._place, text, 0)
        os.ftruncate(self._place, len(text))

    def release(self, *, keep: bool) -> None:
        """Let others write. The mark of a run that has not ended is kept, if there is one."""
        if not keep or not MARK.search(os.pread(self._place, 1024, 0)):
            self._path.unlink(missing_ok=True)
        os.close(self._place)
