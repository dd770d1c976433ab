"""What a live session costs: from the bars of an instant that arrive to the orders that they caused being on the disk, and memory, for a while.

    python tests/bench/live.py [--symbols 20] [--rate 100] [--seconds 600] [--folder DIR]

Bars of a made-up market come at *rate* a second, all symbols of an instant in one frame, and an order goes out at each. Beside it stands what the
disk itself takes for as much (a write and an fsync), halfway between the bars, how late the machine wakes a thread that sleeps, and how much memory
grew after the first tenth.
With a folder in memory (/dev/shm) only what is our own is left.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import BinaryIO

import numpy as np
from workloads import resident_mib

import simulator
from simulator.feeds.live import Put, Said, messages_of
from simulator.market.tape import Tape
from simulator.paper import LiveSession, Terms, paper

COMMIT_BYTES = 16_480
"""What SQLite writes for the rows of an instant: four pages of its log."""
STRATEGY = """
class Always:
    def on_bars(self, view):
        return [view.order(-1 if view.lots[0] else 1)]
"""
SCENARIO = """
[feed]
kind = "walks"
symbols = {symbols}
bars = {bars}
[strategy]
name = "always.py:Always"
"""


class Paced:
    """A source that sends a row of *tape* each *pause* seconds, and knows when it did. Halfway between, it sees what the disk takes for as much."""

    def __init__(self, tape: Tape, pause: float, beside: BinaryIO) -> None:
        self.tape, self.pause, self.beside = tape, pause, beside
        self.sent, self.flushed, self.late = (np.zeros(len(tape)) for _ in range(3))

    def run(self, put: Put, since: Callable[[], int], stopping: Event) -> None:
        """All rows, one after another."""
        put(Said("connected"))
        began = time.perf_counter()
        for row in range(len(self.tape)):
            due = began + row * self.pause
            time.sleep(max(0.0, due - time.perf_counter()))
            self.late[row] = time.perf_counter() - due
            frame = messages_of(self.tape, row)
            self.sent[row] = time.perf_counter()
            put(frame)
            time.sleep(0.5 * self.pause)
            flushing = time.perf_counter()
            self.beside.write(bytes(COMMIT_BYTES))
            self.beside.flush()
            os.fsync(self.beside.fileno())
            self.flushed[row] = time.perf_counter() - flushing
            if stopping.is_set():
                return
        put(Said("over"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--rate", type=float, default=100.0, help="bars a second, of all symbols together")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--folder", type=Path, help="where the journal is for the while")
    asked = parser.parse_args()
    pause = asked.symbols / asked.rate
    with TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        (folder / "always.py").write_text(STRATEGY)
        symbols = [f"S{k:02d}" for k in range(asked.symbols)]
        (folder / "live.toml").write_text(SCENARIO.format(symbols=symbols, bars=max(20, round(asked.seconds / pause))))
        scenario = simulator.load(folder / "live.toml")
        tape = simulator.run(scenario).tape
        done, memory = np.zeros(len(tape)), list[float]()

        def watch(live: LiveSession) -> None:
            row = live.tape.rows - 1
            if row >= 0 and not done[row]:
                done[row] = time.perf_counter()
                memory.append(resident_mib())

        with (folder / "beside").open("wb") as file:
            source, terms = Paced(tape, pause, file), Terms(stale_bars=float("inf"), silent_seconds=60.0)
            _, status = paper(scenario, source, folder / "journal", past=tape.cut(0), terms=terms, watch=watch)
    took, warm = (done - source.sent)[done > 0.0], len(memory) // 10
    print(f"{status.bars:,} instants of {asked.symbols} symbols, {asked.rate:g} bars a second")
    for words, seconds in (
        ("bars received to orders on the disk", took[warm:]),
        ("write and fsync", source.flushed[warm:]),
        ("a thread woken late by", source.late[warm:]),
    ):
        p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
        print(f"{words}: median {p50:.2f} ms, p99 {p99:.2f} ms")
    print(f"memory: {memory[warm]:.1f} MiB after the first tenth, {memory[-1]:.1f} at the end, {memory[-1] - memory[warm]:+.1f}")


if __name__ == "__main__":
    main()
