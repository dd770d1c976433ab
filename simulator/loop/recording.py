"""What a live session adds to its journal file: the bars that reached the loop, and what was said of the feed.

| table | what |
| --- | --- |
| bars | id from 0 on, close, open, session, O, H, L, C, V of all instruments (float64), hash chained to the row before, live (0: history) |
| said | id from 1 on, close of the last bar then, kind, words: settings, gaps, bars that were ignored, alarms, a strategy's end |

A bar is committed with the rows that it caused: what is in one table is in the other.
"""

from __future__ import annotations

import json
import sqlite3
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple

import numpy as np

from simulator.errors import DataError
from simulator.loop.store import SqliteJournal, connect
from simulator.market.tape import FloatArray, Tape

TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS bars (id INTEGER PRIMARY KEY, closed_at INTEGER NOT NULL, opened_at INTEGER NOT NULL, session INTEGER NOT NULL,"
    " body BLOB NOT NULL, hash BLOB NOT NULL, live INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS said (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, words TEXT NOT NULL)",
)
HEAD: Final = Struct("<qqqq")
FIRST: Final = bytes(32)
SETTINGS: Final = "settings"
TIDY_BARS: Final = 100
"""After so many bars the log is moved into the file; SQLite itself would do it after about 250."""
FAILED: Final = "strategy"
"""The kind of what is said when a strategy is stopped: it raised, or took too long, at this bar."""


class Bar(NamedTuple):
    """One recorded instant: *fields* is (5, instruments)."""

    closed_at: int
    opened_at: int
    session: int
    fields: FloatArray


class Words(NamedTuple):
    """What was said when the last bar had closed *at*."""

    at: int
    kind: str
    words: str


class Recorded(NamedTuple):
    """The bars of a live session, of which the first *history* were there before, and what was said. *last* is the hash to go on from."""

    bars: list[Bar]
    history: int
    said: list[Words]
    last: bytes

    @property
    def settings(self) -> dict[str, Any]:
        """What the session was told at its beginning."""
        return next((json.loads(x.words) for x in self.said if x.kind == SETTINGS), {})

    @property
    def failed_at(self) -> int | None:
        """The close of the bar at which the strategy was stopped."""
        return next((x.at for x in self.said if x.kind == FAILED), None)


class Recording:
    """The writer of both tables, in the transactions of *journal*."""

    __slots__ = ("_count", "_file", "_last", "_tidied", "found")

    def __init__(self, journal: SqliteJournal) -> None:
        self._file = journal.file
        with self._file:
            self._file.execute("BEGIN")
            for sql in TABLES:
                self._file.execute(sql)
        self.found = read(journal.path)
        self._count, self._last = len(self.found.bars), self.found.last
        self._tidied = self._count

    def bar(self, closed_at: int, opened_at: int, session: int, fields: FloatArray, *, live: bool) -> None:
        """Write the bars of an instant, to be committed with what they cause, or by `commit`."""
        body = np.ascontiguousarray(fields).tobytes()
        self._last = _link(self._last, closed_at, opened_at, session, live, body)
        row = (self._count, closed_at, opened_at, session, body, self._last, int(live))
        self._file.execute("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._count += 1

    def say(self, at: int, kind: str, words: str) -> None:
        """Write what is to be said of the feed or the strategy, to be committed as bars are."""
        self._file.execute("INSERT INTO said (at, kind, words) VALUES (?, ?, ?)", (at, kind, words))

    def commit(self) -> None:
        """Have it on the disk, if it is not yet."""
        if self._file.in_transaction:
            self._file.commit()

    def tidy(self) -> None:
        """Move SQLite's log into the file once it is worth it. While nothing else is to be done: at a commit it would hold up a bar."""
        if self._count - self._tidied >= TIDY_BARS:
            self._tidied = self._count
            self._file.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def has_bars(path: Path) -> bool:
    """Whether a journal file is that of a live session."""
    if not path.is_file():
        return False
    try:
        file = connect(path, "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1")
        try:
            return bool(file.execute("SELECT 1 FROM sqlite_master WHERE name = 'bars'").fetchall())
        finally:
            file.close()
    except sqlite3.Error:
        return False


def read(path: Path) -> Recorded:
    """Read both tables. Raises DataError, naming the bar, where one is missing or was changed."""
    bars: list[Bar] = []
    last, history = FIRST, 0
    if not path.is_file():
        raise DataError(f"{path}: there is no journal here")
    try:
        file = connect(path, "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1")
        try:
            for id, closed_at, opened_at, session, body, hash, live in file.execute("SELECT * FROM bars ORDER BY id"):
                last = _link(last, closed_at, opened_at, session, live, body)
                if id != len(bars) or hash != last:
                    raise DataError(f"{path}: bar {len(bars)} is missing or was changed: its bytes do not give its hash")
                bars.append(Bar(closed_at, opened_at, session, np.frombuffer(body).reshape(5, -1)))
                history += not live
            said = [Words(*row) for row in file.execute("SELECT at, kind, words FROM said ORDER BY id")]
        finally:
            file.close()
    except sqlite3.Error as error:
        raise DataError(f"{path}: its bars cannot be read: {error}: it is not the journal of `tradewind paper`, or it is damaged") from error
    return Recorded(bars, history, said, last)


def tape_of(bars: list[Bar], like: Tape) -> Tape:
    """The recorded bars as a tape of the instruments, and with the actions and tables, of another."""
    empty = like.cut(0)
    if bars and bars[0].fields.shape[1] != like.width:
        raise DataError(f"the recorded bars are of {bars[0].fields.shape[1]} instruments, and the scenario's feed now has {like.width}")
    fields = np.array([bar.fields for bar in bars]).reshape(len(bars), 5, like.width)
    times = np.array([bar[:3] for bar in bars], np.int64).reshape(len(bars), 3)
    columns = (np.ascontiguousarray(fields[:, k]) for k in range(5))
    made = Tape.of(
        like.instruments,
        times[:, 0],
        *columns,
        interval=like.interval,
        opened_at=times[:, 1],
        sessions=times[:, 2],
        truth=like.truth,
        notes=like.notes,
    )
    made.actions, made.known = empty.actions, empty.known
    return made


def _link(last: bytes, closed_at: int, opened_at: int, session: int, live: int, body: bytes) -> bytes:
    return sha256(last + HEAD.pack(closed_at, opened_at, session, int(live)) + body).digest()
