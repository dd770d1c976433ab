"""The journal of a run that streams: its rows leave memory for a file, stretch by stretch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from simulator.loop.journal import PART, ROW, MemoryJournal


class SpooledJournal(MemoryJournal):
    """A journal whose rows are in memory until `spill` puts them into a nameless file in *folder*; names of orders, and remarks, stay in memory."""

    __slots__ = ("_file", "_spilled")

    def __init__(self, header: str = "", folder: Path | None = None) -> None:
        super().__init__(header)
        self._file, self._spilled = TemporaryFile(dir=folder), 0  # noqa: SIM115  # it lives as long as the journal

    def __del__(self) -> None:
        self._file.close()

    def spill(self) -> np.ndarray:
        """Put what was recorded since the last time into the file; the rows, as `table` has them."""
        fresh = np.frombuffer(bytes(self.rows), ROW)
        self._file.seek(0, 2)
        self._file.write(self.rows)
        self._file.flush()
        self._spilled += len(fresh)
        self.rows.clear()
        return fresh

    def parts(self) -> Iterator[np.ndarray]:
        """All rows so far, so many at a time."""
        for first in range(0, self._spilled, PART):
            self._file.seek(first * ROW.itemsize)
            yield np.frombuffer(self._file.read(min(PART, self._spilled - first) * ROW.itemsize), ROW)
        if self.rows or not self._spilled:
            yield np.frombuffer(bytes(self.rows), ROW)

    def read(self) -> bytes:
        """All rows so far."""
        return b"".join(part.tobytes() for part in self.parts())

    def table(self) -> np.ndarray:
        """All rows so far as a structured array of dtype ROW, which lies in the file."""
        self.spill()
        return np.memmap(self._file, ROW, "r", shape=(self._spilled,)) if self._spilled else np.empty(0, ROW)

    def hash(self, closing: str = "") -> str:
        """SHA-256 as `MemoryJournal.hash` defines it."""
        seen = hashlib.sha256(self.header.encode())
        for part in self.parts():
            seen.update(part.data)
        return self._closed(seen, closing)
