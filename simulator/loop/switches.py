"""Kill switches: a file that is there or not, and what a journal says of one, so that a run with it can be run again."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

from simulator.loop.journal import HALT, MemoryJournal
from simulator.ports import Switch
from simulator.risk.engine import Measure


class FileSwitch:
    """Thrown as long as the file *path* is there, whoever made it: a person, a monitor, or a signal's handler."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def thrown(self, at: int) -> bool:
        """Whether the file is there now; *at* is when the bar closed."""
        return self.path.exists()


class RecordedSwitch:
    """Up to the moment *through*, in UTC nanoseconds, thrown when *journal* says that it was; after that, as *then* says.

    Whoever throws a switch does so at a moment that no scenario knows, so that running again what is recorded must take it from the record.
    """

    __slots__ = ("_moments", "_states", "_then", "_through")

    def __init__(self, journal: MemoryJournal, through: int, then: Switch) -> None:
        table = journal.table()
        table = table[table["kind"] == HALT]
        turns = [(int(row["at"]), row["order"] == Measure.KILLED) for row in table if row["order"] in (Measure.KILLED, Measure.RELEASED)]
        self._moments, self._states = [at for at, _ in turns], [state for _, state in turns]
        self._through, self._then = through, then

    def thrown(self, at: int) -> bool:
        """Whether it was, or is, thrown at the bar that closed *at*."""
        if at > self._through:
            return self._then.thrown(at)
        turn = bisect_right(self._moments, at)
        return self._states[turn - 1] if turn else False
