"""What a live session costs: from the bars of an instant that arrive to the orders that they caused being on the disk, and memory, for a while.

    python tests/bench/live.py [--symbols 20] [--rate 100] [--seconds 600]

Bars of a made-up market come at *rate* a second, all symbols of an instant in one frame, and an order goes out at each. Beside it stands what the
disk itself needs for as much (a write and an fsync), taken between the bars, and how much memory grew after the first tenth.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import numpy as np
from workloads import resident_mib

import simulator
from simulator.feeds.live import Put, Said, messages_of
from simulator.market.tape import Tape
from simulator.paper import LiveSession, Terms, paper

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
    """A source that sends a row of *tape* each *pause* seconds, and knows when it did."""

    def __init__(self, tape: Tape, pause: float) -> None:
        self.tape, self.pause, self.sent = tape, pause, np.zeros(len(tape))

    def run(self, put: Put, since: Callable[[], int], stopping: Event) -> None:
        """All rows, one after another."""
        put(Said("connected"))
        began = time.perf_counter()
        for row in range(len(self.tape)):
            time.sleep(max(0.0, began + row * self.pause - time.perf_counter()))
            frame = messages_of(self.tape, row)
            self.sent[row] = time.perf_counter()
            put(frame)
            if stopping.is_set():
                return
        put(Said("over"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--rate", type=float, default=100.0, help="bars a second, of all symbols together")
    parser.add_argument("--seconds", type=float, default=600.0)
    asked = parser.parse_args()
    pause = asked.symbols / asked.rate
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "always.py").write_text(STRATEGY)
        symbols = [f"S{k:02d}" for k in range(asked.symbols)]
        (folder / "live.toml").write_text(SCENARIO.format(symbols=symbols, bars=max(20, round(asked.seconds / pause))))
        scenario = simulator.load(folder / "live.toml")
        tape = simulator.run(scenario).tape
        source, past = Paced(tape, pause), tape.cut(0)
        done, flushed, memory = np.zeros(len(tape)), [], []
        with (folder / "beside").open("wb") as file:

            def watch(live: LiveSession) -> None:
                row = live.tape.rows - 1
                if row < 0 or done[row]:
                    return
                done[row] = time.perf_counter()
                memory.append(resident_mib())
                file.write(b"x" * 4096)
                file.flush()
                began = time.perf_counter()
                os.fsync(file.fileno())
                flushed.append(time.perf_counter() - began)

            _, status = paper(scenario, source, folder / "journal", past=past, terms=Terms(stale_bars=float("inf"), silent_seconds=60.0), watch=watch)
    took, warm = (done - source.sent)[done > 0.0], len(memory) // 10
    print(f"{status.bars:,} instants of {asked.symbols} symbols, {asked.rate:g} bars a second")
    for words, seconds in (("bars received to orders on the disk", took[warm:]), ("write and fsync", np.array(flushed[warm:]))):
        p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
        print(f"{words}: median {p50:.2f} ms, p99 {p99:.2f} ms")
    print(f"memory: {memory[warm]:.1f} MiB after the first tenth, {memory[-1]:.1f} at the end, {memory[-1] - memory[warm]:+.1f}")


if __name__ == "__main__":
    main()
