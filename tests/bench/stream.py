"""Bars that are more than memory holds: `python tests/bench/stream.py [--by date|symbol] [--every N] [--millions 10 100] [--folder DIR]`.

Makes datasets of 500 symbols' minute bars, runs W2's strategy (the top 50 by momentum, as batches) over each in a process of its own, keeps the run
folder, and prints seconds, nanoseconds a symbol-bar and the most memory that the process had, beside the targets.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from workloads import MINUTE, PANEL_CASH, WATCHED, calibration, peak_mib

from brokers.costs import Commission
from brokers.simulated import Simulated
from brokers.slippage import Slippage
from simulator import DAY, Account, Instrument, simulate
from simulator.feeds.datasets import By, Codes, Columns, Writer, making, streamed
from simulator.market.tape import IntArray, Truth
from simulator.report import folders
from strategies.momentum import Momentum

WIDTH, SESSION = 500, 390
SECONDS_MAX, MIB_MAX = 60.0, 1024.0
EPOCH = 18_262
# W2's costs, paid every minute, would leave nothing to trade with.
FREE = Simulated(participation=0.1, commission=Commission(0.0, 0.0, 0.0, 0.0), slippage=Slippage("none"))


def month_of(session: int) -> str:
    return str(np.datetime64(session, "D").astype("datetime64[M]"))


def walk(sessions: int) -> Iterator[tuple[int, IntArray, Columns]]:
    """Session after session: its day, the closes of its bars and their fields, each (390, 500). A random walk in cents."""
    rng, last = np.random.default_rng(11), np.full(WIDTH, 100.0)
    for day in range(EPOCH, EPOCH + sessions):
        close = last * np.exp(np.cumsum(rng.standard_normal((SESSION, WIDTH), np.float32) * np.float32(5e-4), axis=0, dtype=np.float64))
        open_, last = np.round(np.vstack((last[None], close[:-1])), 2), close[-1]
        close = np.round(close, 2)
        high, low = np.maximum(open_, close) + 0.01, np.minimum(open_, close) - 0.01
        volume = np.floor(rng.random((SESSION, WIDTH), np.float32) * 900_000.0) + 100_000.0
        yield day, day * DAY + (870 + np.arange(1, SESSION + 1)) * MINUTE, (open_, high, low, close, volume)


def make(out: Path, by: By, bars: int) -> None:
    """A dataset of so many bars."""
    sessions = max(1, bars // (SESSION * WIDTH))
    instruments = [Instrument(f"S{i:03}") for i in range(WIDTH)]
    with making(out) as folder:
        writer = Writer(folder, by, instruments, MINUTE, Truth("walks"))
        if by == "date":
            by_date(writer, sessions)
        else:
            by_symbol(writer, folder, sessions)
        writer.close()


def by_date(writer: Writer, sessions: int) -> None:
    month: list[tuple[IntArray, Codes, Columns]] = []
    which = np.tile(np.arange(WIDTH, dtype=np.int32), SESSION)
    key = month_of(EPOCH)
    for day, ends, columns in track(walk(sessions), "by date", sessions, transient=True):
        writer.instants(ends, ends - MINUTE, np.full(SESSION, day))
        if month_of(day) != key:
            writer.part(key, iter(month))
            month, key = [], month_of(day)
        o, h, low, c, v = (column.reshape(-1) for column in columns)
        month.append((np.repeat(ends, WIDTH), which, (o, h, low, c, v)))
    writer.part(key, iter(month))


def by_symbol(writer: Writer, folder: Path, sessions: int) -> None:
    """By way of a file that has each symbol's bars together."""
    rows = sessions * SESSION
    raw = np.memmap(folder / ".raw", np.float64, "w+", shape=(WIDTH, 5, rows))
    ats = np.empty(rows, np.int64)
    for k, (day, ends, columns) in enumerate(track(walk(sessions), "by symbol", sessions, transient=True)):
        writer.instants(ends, ends - MINUTE, np.full(SESSION, day))
        here = slice(k * SESSION, (k + 1) * SESSION)
        ats[here] = ends
        for field, column in enumerate(columns):
            raw[:, field, here] = column.T
    for i in range(WIDTH):
        o, h, low, c, v = np.array(raw[i])
        writer.part(f"S{i:03}", iter([(ats, np.full(rows, i, np.int32), (o, h, low, c, v))]))
    (folder / ".raw").unlink()


def measure(dataset: Path, out: Path, every: int) -> dict[str, Any]:
    """One run, in this process: seconds of CPU and of the clock, bars, orders, and memory before and after the run folder is written."""
    begun, cpu = time.perf_counter(), time.process_time()
    tape = streamed(dataset)
    loaded, loaded_cpu = time.perf_counter() - begun, time.process_time() - cpu
    strategy = Momentum(lookback=20, top=50, every=every, invest=0.95)
    result = simulate(tape, strategy, broker=FREE, account=Account(PANEL_CASH), limits=WATCHED)
    equity = float(result.equity[-1])
    found = {
        "bars": len(tape) * tape.width,
        "load": loaded,
        "load_cpu": loaded_cpu,
        "all": time.perf_counter() - begun,
        "all_cpu": time.process_time() - cpu,
        "peak": peak_mib(),
        "equity": equity,
    }
    folders.write(result, out)
    written = {"written": time.perf_counter() - begun, "written_cpu": time.process_time() - cpu, "written_peak": peak_mib()}
    return found | written | {"fills": len(result.fills)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", choices=("date", "symbol"), default="date")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--millions", type=float, nargs="+", default=[10.0, 100.0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", type=Path, nargs=2)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure, given.every)))
        return
    table = Table("symbol-bars", "s", "CPU s", "load CPU s", "ns a symbol-bar", "peak MiB", "fills", "with run folder: s", "CPU s", "peak MiB")
    for millions in given.millions:
        with TemporaryDirectory(dir=given.folder) as folder:
            make(Path(folder) / "dataset", given.by, int(millions * 1e6))
            arguments = ("--every", str(given.every), "--measure", f"{folder}/dataset", f"{folder}/run")
            done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
        seen = json.loads(done.stdout)
        each = seen["all_cpu"] / seen["bars"] * 1e9
        parts = (seen["all"], seen["all_cpu"], seen["load_cpu"]), (seen["written"], seen["written_cpu"], seen["written_peak"])
        cells = [*(f"{x:.1f}" for x in parts[0]), f"{each:.0f}", f"{seen['peak']:.0f}", f"{seen['fills']:,}", *(f"{x:.1f}" for x in parts[1])]
        table.add_row(f"{seen['bars']:,}", *cells)
    console = Console()
    console.print(table)
    console.print(
        f"wanted: 100 M in {SECONDS_MAX:.0f} s and {MIB_MAX:.0f} MiB, which do not grow from 10 M on; calib_ns {calibration():.0f} (quiet: 40)"
    )


if __name__ == "__main__":
    main()
