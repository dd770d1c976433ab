"""What tests of live sessions share: a feed from memory, and a session's two journals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from simulator.feeds.live import Put, Said, messages_of
from simulator.market.tape import Tape
from simulator.report import differences, records
from simulator.report.folders import write

Frame = Sequence[Mapping[str, Any]] | Said


class Given:
    """A source of frames that are there already. Whatever *until* is waits before what follows; without an end it stays connected."""

    def __init__(self, frames: Sequence[Frame], *, ends: bool = True, backfilled: bool = True) -> None:
        self.frames, self.ends, self.backfilled = frames, ends, backfilled

    def run(self, put: Put, since: Callable[[], int], stopping: Event) -> None:
        """All frames at once."""
        put(Said("connected", backfilled=self.backfilled))
        for frame in self.frames:
            put(frame)
        if self.ends:
            put(Said("over"))
        else:
            stopping.wait()


def frames_of(tape: Tape, first: int = 0, end: int | None = None) -> list[list[dict[str, Any]]]:
    """The rows of a tape as frames."""
    return [messages_of(tape, row) for row in range(first, len(tape) if end is None else end)]


def assert_replays(path: Path, out: Path) -> None:
    """What `tradewind replay` makes of a journal, `tradewind diff` cannot tell from it."""
    from simulator.paper import replay

    write(replay(path), out)
    assert not differences.compare(records.read(path), records.read(out))
