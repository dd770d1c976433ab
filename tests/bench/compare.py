"""What this simulator costs, beside its targets and beside other engines, as one table.

    python tests/bench/compare.py [--rounds N] [--large] [--cold] [--growth] [--peers DIR --scripts DIR]

Times are CPU, the best of three runs in each of several rounds, and are compared as multiples of a calibration (an empty method call) taken in the
same process, also the best of all rounds: see workloads.py. A busy machine can cost the calibration a fifth and the work nothing, or the other way
round, so take rounds enough that both had a quiet moment. `--large` adds 5,000 symbols, `--cold` the first compile and a start with compiled code on
disk (in brackets: in seconds of a machine whose calibration is 40 ns). Memory is that of a fresh process which is given the data as arrays, its
imports and those arrays included.

`--growth` adds what more bars, instruments, orders a bar, trials and workers cost; with `--large` up to 100 million bars (12 GB of memory) and 5,000
instruments.

`--peers` names a folder of virtual environments, one an engine (backtesting, bt, vectorbt, ...), and `--scripts` the folder of the published
baseline's peer_*.py. Those that are there run W1 and W4 on 100,000 bars, and W2 where that takes seconds, in turn between our own rounds. A ratio
is the engine's multiple of its own calibration over ours.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from growth import shared, table
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from workloads import LARGE, LARGE_WORK, PAIRS, QUIET, W1, W2, W3, W4, WORKS, Work, best_of, calibration

HERE = Path(__file__).resolve().parent


class Peer(NamedTuple):
    """Another engine: its virtual environment, its script in the baseline, the workloads it is asked for, and environment variables."""

    environment: str
    script: str
    asked: tuple[str, ...] = ("w1", "w4")
    variables: tuple[tuple[str, str], ...] = ()


PEERS = (
    Peer("backtesting", "peer_backtesting.py"),
    Peer("bt", "peer_bt.py", ("w1", "w4", "w2")),
    Peer("vectorbt", "peer_vectorbt.py", ("w1", "w4", "w2")),
    Peer("vectorbt", "peer_vectorbt.py", ("w1", "w2"), (("VBT_ENGINE", "rust"),)),
    Peer("nautilus", "peer_nautilus.py"),
    Peer("nautilus312", "peer_nautilus.py"),
    Peer("pybroker", "peer_pybroker.py"),
    Peer("backtrader", "peer_backtrader.py"),
    Peer("zipline", "peer_zipline.py"),
)
# The baseline's names of what we run too, for the same number of bars.
SAME = {("W1", 100_000): W1, ("W4", 100_000): W4, ("W2-daily", 1_260_000): W2}
PATIENCE = 1_800.0


@dataclass
class Figures:
    """The best of all rounds so far: CPU seconds of each work, and nanoseconds of a calibration."""

    seconds: dict[str, float] = field(default_factory=dict)
    calibration: float = inf

    def take(self, name: str, work: Work) -> None:
        """Measure one work three times more, as the baseline does, right after one more calibration."""
        tape = work.tape()
        self.calibration = min(self.calibration, calibration())
        seconds, _ = best_of(lambda: work.run(tape), 3)
        self.seconds[name] = min(seconds, self.seconds.get(name, inf))

    def per_bar(self, name: str, work: Work) -> float:
        """Nanoseconds a bar of one symbol; beyond another work's, if it is measured so."""
        tape = work.tape()
        whole = self.seconds[name] / work.bars(tape) * 1e9
        return whole - self.per_bar(work.beyond, WORKS[work.beyond]) if work.beyond else whole

    def multiple(self, name: str) -> float:
        """How many calibrations a bar of one symbol costs."""
        return self.per_bar(name, WORKS[name]) / self.calibration


# Processes of their own.

DRAW = """
import sys
import numpy as np
from workloads import FIELDS, panel
columns = panel(2520, int(sys.argv[2]))
np.save(sys.argv[1], [columns[name] for name in FIELDS])
"""

ALONE = """
import json, resource, sys
import numpy as np
from simulator import DAY
from workloads import FIELDS, WORKS, LARGE, LARGE_WORK, best_of, calibration, peak_mib, tape_of
work = LARGE_WORK if sys.argv[1] == LARGE else WORKS[sys.argv[1]]
columns = np.load(sys.argv[2])
tape = tape_of(dict(zip(FIELDS, columns, strict=True)), DAY)
del columns
work.run(tape)
peak = peak_mib()
calibrated, seconds = calibration(), []
for _ in range(int(sys.argv[3])):
    seconds.append(best_of(lambda: work.run(tape), 1)[0])
    calibrated = min(calibrated, calibration())
print(json.dumps({"peak": peak, "seconds": min(seconds, default=0.0), "calibration": calibrated}))
"""

START = """
import numpy as np
from simulator import DAY, Account, Instrument, Limits, Tape, simulate
from strategies.momentum import Momentum
close = 100.0 + np.arange(40.0)[:, None] * np.array([0.1, -0.1, 0.2, 0.3])
volume = np.full(close.shape, 1e6)
tape = Tape.of([Instrument(f"S{i}") for i in range(4)], np.arange(1, 41) * DAY, close, close, close, close, volume, interval=DAY)
result = simulate(tape, Momentum(lookback=20, top=2, every=1), account=Account(1e6), limits=Limits(gross_max=1.0, drawdown_max=0.5))
assert len(result.equity) == 40 and result.fills
"""


def python(code: str, *arguments: str, **variables: str) -> str:
    """Run *code* in a fresh process that finds the workloads; what it printed."""
    environment = os.environ | {"PYTHONPATH": str(HERE)} | variables
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, cwd=HERE.parent.parent)
    if done.returncode:
        sys.exit(f"a process of the benchmark failed:\n{done.stderr}")
    return done.stdout


def alone(name: str, width: int, rounds: int = 0) -> dict[str, float]:
    """Run a work over a panel in a process of its own: peak MiB of one run, then CPU seconds of the best of *rounds* more, and calibration.

    The data come from a file, and compiled code from disk, since drawing the one and compiling the other take more memory than the run.
    """
    python(START)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "panel.npy"))
        python(DRAW, file, str(width))
        seen: dict[str, float] = json.loads(python(ALONE, name, file, str(rounds)))
        return seen


def cpu_of_start(cache: str, bytecode: str = "") -> float:
    """CPU seconds of a process that imports the simulator and runs a small panel, with compiled code kept in *cache*.

    Python's own bytecode of all modules is kept in the folder *bytecode*, if named. Installed programs have theirs on disk, whatever this environment
    says of writing it.
    """
    kept = {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""} if bytecode else {}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python(START, NUMBA_CACHE_DIR=cache, **kept)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Outcome(NamedTuple):
    """What a peer's script printed, and why it ended badly, if it did."""

    peer: Peer
    records: list[dict[str, Any]]
    failure: str


def ask(peer: Peer, environments: Path, scripts: Path) -> Outcome:
    """Run a peer's script. What goes wrong there is a line in the table, not the end of the comparison."""
    command = [str(environments / peer.environment / "bin" / "python"), str(scripts / peer.script), *peer.asked, "--small"]
    with tempfile.TemporaryDirectory() as folder:
        variables = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONDONTWRITEBYTECODE": "1"} | dict(peer.variables)
        variables.pop("PYTHONPATH", None)
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=folder, timeout=PATIENCE)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Outcome(peer, [], str(error))
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    wrong = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
    return Outcome(peer, records, wrong[-1] if done.returncode else "" if records else "printed no measurements")


# The tables.


def ours(
    figures: Figures,
    workers: dict[int, float],
    large: dict[str, float],
    peaks: dict[str, tuple[float, float]],
    starts: dict[str, tuple[float, float]],
) -> Table:
    """Our own figures beside their targets."""
    table = Table("work", "CPU a bar", "calibration", "multiple", "target", "met", title="tradewind (a bar is one symbol's)")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = [(name, work, figures.per_bar(name, work), figures.calibration) for name, work in WORKS.items()]
    if large:
        rows.append((LARGE, LARGE_WORK, large["seconds"] / (2520 * 5_000) * 1e9, large["calibration"]))
    for name, work, per_bar, calibrated in rows:
        multiple, target = per_bar / calibrated, work.target / QUIET
        label = f"{name}, beyond {work.beyond}" if work.beyond else name
        table.add_row(label, f"{per_bar:,.0f} ns", f"{calibrated:.1f} ns", f"{multiple:.2f}", f"{target:.2f}", verdict(multiple, target))
    times = f"{workers[1] / workers[2]:.2f}x"
    label = f"{W3}: 2 workers beside 1, wall time (load {os.getloadavg()[0]:.1f})"
    table.add_row(label, f"{workers[2] / len(PAIRS) * 1e3:.2f} ms a run", "", times, "1.6x", verdict(1.6, workers[1] / workers[2]))
    for name, (seen, bound) in peaks.items():
        table.add_row(f"{name}: peak memory", f"{seen:,.0f} MiB", "", "", f"{bound:,.0f} MiB", verdict(seen, bound))
    for name, (seen, bound) in starts.items():
        quiet = seen * QUIET / figures.calibration
        table.add_row(name, f"{seen:.2f} s", f"{figures.calibration:.1f} ns", f"({quiet:.2f} s)", f"{bound:g} s", verdict(quiet, bound))
    return table


def verdict(seen: float, bound: float) -> str:
    return "yes" if seen <= bound else f"no: {seen / bound:.2f}x"


def theirs(outcomes: list[Outcome], figures: Figures) -> Table:
    """The peers' figures, and how many times ours they are."""
    table = Table("engine", "work", "CPU a bar", "calibration", "multiple", "ours", "ratio", "ends at", "variant", title="peers")
    for column in table.columns[2:7]:
        column.justify = "right"
    for peer, records, failure in outcomes:
        for record in records:
            work = SAME.get((record.get("workload", ""), record.get("bars", 0)))
            if work is None:
                continue
            multiple, our = record["ns_per_bar"] / record["calib_ns"], figures.multiple(work)
            end = record.get("final_equity")
            table.add_row(
                f"{record['peer']} {record['version']}",
                work,
                f"{record['ns_per_bar']:,.0f} ns",
                f"{record['calib_ns']:.1f} ns",
                f"{multiple:,.1f}",
                f"{our:,.2f}",
                f"{multiple / our:,.1f}x",
                "" if end is None else f"{end:.6f}" if work == W1 else f"{end:,.2f}",
                record.get("variant", ""),
            )
        if failure:
            table.add_row(f"{peer.environment} {peer.script}", "failed", "", "", "", "", "", "", failure[-100:])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="of our own works; with peers at least one between any two of them")
    parser.add_argument("--large", action="store_true", help="5,000 symbols over 2,520 days, too")
    parser.add_argument("--cold", action="store_true", help="the first compile and a start from compiled code, too")
    parser.add_argument("--growth", action="store_true", help="how the cost grows with bars, instruments, orders, trials and workers, too")
    parser.add_argument("--peers", type=Path, help="folder of virtual environments, one a peer")
    parser.add_argument("--scripts", type=Path, help="folder of the baseline's peer_*.py")
    asked = parser.parse_args()
    if (asked.peers is None) != (asked.scripts is None):
        parser.error("--peers and --scripts go together")
    if asked.rounds < 1:
        parser.error(f"--rounds must be at least 1, was {asked.rounds}")
    there = [peer for peer in PEERS if asked.peers and (asked.peers / peer.environment / "bin" / "python").exists()]
    if asked.peers and not there:
        parser.error(f"--peers: none of {', '.join(dict.fromkeys(peer.environment for peer in PEERS))} is in {asked.peers}")

    figures, outcomes = Figures(), list[Outcome]()
    console = Console(width=max(Console().width, 140))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        rounds = max(asked.rounds, len(there) + 1)
        task = progress.add_task("", total=rounds * len(WORKS) + len(there))
        for turn in range(rounds):
            for name, work in WORKS.items():
                progress.update(task, description=name)
                figures.take(name, work)
                progress.advance(task)
            if turn < len(there):
                progress.update(task, description=there[turn].environment)
                outcomes.append(ask(there[turn], asked.peers, asked.scripts))
                progress.advance(task)
    peaks = {W2: (alone(W2, 500)["peak"], 300.0)}
    large: dict[str, float] = {}
    if asked.large:
        large = alone(LARGE, 5_000, min(asked.rounds, 3))
        peaks[LARGE] = large["peak"], 1.5 * 1024.0
    starts: dict[str, tuple[float, float]] = {}
    if asked.cold:
        with tempfile.TemporaryDirectory() as cache:
            starts["first compile"] = cpu_of_start(cache), 10.0
            bytecode = str(Path(cache, "bytecode"))
            cpu_of_start(cache, bytecode)
            starts["cached start"] = min(cpu_of_start(cache, bytecode) for _ in range(3)), 1.0
    console.print(ours(figures, shared(2 * rounds), large, peaks, starts))
    if asked.growth:
        console.print(table(asked.large))
    if outcomes:
        console.print(theirs(outcomes, figures))


if __name__ == "__main__":
    main()
