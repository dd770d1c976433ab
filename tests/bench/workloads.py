"""The workloads of the published baseline: deterministic data, strategies, settings, and how a run is timed.

Data are re-created here and must have the checksums that the baseline states. W1: one symbol, moving averages 20/50, one share. W2: 500 symbols, the
top 50 by 20-day momentum, rebalanced daily. W4: one symbol, an empty callback. Times are CPU, the best of several, and a multiple of *calibration*:
the cost of one empty method call with five arguments in the same process, so that machines can be compared. `compare.py` prints the table.
"""

from __future__ import annotations

import gc
import hashlib
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brokers.costs import Commission
from brokers.simulated import Simulated
from brokers.slippage import Slippage
from simulator import DAY, SECOND, Account, Crossing, FloatArray, Indicator, Instrument, Limits, Past, Proposal, Result, Tape, View, simulate, sma
from simulator.loop.whole import run_whole
from simulator.market.indicators import Readings
from strategies.momentum import Momentum

MINUTE = 60 * SECOND
CHECKSUMS = {"minute 100000": "f85aeda75f537c71", "minute 1000000": "9f27b5fb0e410782", "panel 2520 x 500": "efe4856f00581258"}
FIELDS = ("open", "high", "low", "close", "volume")
Columns = dict[str, FloatArray]


def minute_bars(count: int) -> Columns:
    """One symbol's minute bars: a geometric random walk, rounded to six decimals."""
    rng = np.random.Generator(np.random.PCG64(7))
    moves, gaps = rng.standard_normal(count) * 0.0005, rng.standard_normal(count) * 0.0001
    above, below = np.abs(rng.standard_normal(count)) * 0.0002, np.abs(rng.standard_normal(count)) * 0.0002
    close = 100.0 * np.exp(np.cumsum(moves))
    open_ = np.concatenate(([100.0], close[:-1] * np.exp(gaps[1:])))
    return shaped(open_, close, above, below, rng.integers(1_000, 10_000, count).astype(np.float64), digits=6, least=0.0)


def panel(rows: int = 2520, width: int = 500) -> Columns:
    """Daily bars of many symbols with one common factor, rounded to four decimals."""
    rng = np.random.Generator(np.random.PCG64(11))
    first, sigma, drift = rng.uniform(20, 200, width), rng.uniform(0.008, 0.025, width), rng.normal(0.0002, 0.0002, width)
    market = rng.standard_normal((rows, 1)) * 0.008
    moves = drift + market + rng.standard_normal((rows, width)) * sigma
    gaps = rng.standard_normal((rows, width)) * 0.003
    close = first * np.exp(np.cumsum(moves, axis=0))
    open_ = np.vstack((first[None, :], close[:-1] * np.exp(gaps[1:])))
    above, below = np.abs(rng.standard_normal((rows, width))) * 0.004, np.abs(rng.standard_normal((rows, width))) * 0.004
    return shaped(open_, close, above, below, rng.integers(1_000_000, 10_000_000, (rows, width)).astype(np.float64), digits=4, least=0.01)


def shaped(open_: FloatArray, close: FloatArray, above: FloatArray, below: FloatArray, volume: FloatArray, *, digits: int, least: float) -> Columns:
    """Round to *digits* decimals and put high and low around open and close, as the baseline's generator does, in its order of operations."""
    if least:
        open_, close = np.maximum(np.round(open_, digits), least), np.maximum(np.round(close, digits), least)
        top, bottom = np.maximum(open_, close) * (1 + above), np.minimum(open_, close) * (1 - below)
    else:
        top, bottom = np.maximum(open_, close) * (1 + above), np.minimum(open_, close) * (1 - below)
        open_, close = np.round(open_, digits), np.round(close, digits)
    high = np.maximum(np.round(top, digits), np.maximum(open_, close))
    low = np.minimum(np.round(bottom, digits), np.minimum(open_, close))
    return {"open": open_, "high": high, "low": low, "close": close, "volume": volume}


def checksum(columns: Columns) -> str:
    """The baseline's digest of a data set."""
    seen = hashlib.sha256()
    for name in FIELDS:
        seen.update(np.ascontiguousarray(columns[name]).tobytes())
    return seen.hexdigest()[:16]


def tape_of(columns: Columns, interval: int) -> Tape:
    """A tape of these columns; symbols are numbered."""
    rows = len(columns["close"])
    width = columns["close"].size // rows
    instruments, closed_at = [Instrument(f"S{i}") for i in range(width)], np.arange(1, rows + 1) * interval
    return Tape.of(instruments, closed_at, *(columns[name] for name in FIELDS), interval=interval)


@cache
def minutes(count: int) -> Tape:
    """The tape of W1 and W4."""
    return tape_of(minute_bars(count), MINUTE)


@cache
def days() -> Tape:
    """The tape of W2."""
    return tape_of(panel(), DAY)


class Empty:
    """W4: a callback that does nothing."""

    def on_bars(self, view: View) -> Proposal:
        return ()


@dataclass(frozen=True)
class Cross:
    """W1: one share while the fast average is above the slow one."""

    fast: int = 20
    slow: int = 50

    def indicators(self) -> dict[str, Indicator]:
        return {"fast": sma(self.fast), "slow": sma(self.slow)}

    def holdings(self, past: Past) -> FloatArray:
        fast, slow = past["fast"], past["slow"]
        wanted = (fast > slow).astype(np.float64)
        wanted[fast == slow] = np.nan
        return wanted

    def on_bars(self, view: View) -> Proposal:
        fast, slow = view.value("fast"), view.value("slow")
        if fast > slow:
            if not view.held:
                return (view.order(1),)
        elif fast < slow and view.held:
            return (view.order(-1),)
        return ()


@dataclass(frozen=True)
class Trend(Cross):
    """W1 by one indicator that combines the two, compared with 0: the same orders."""

    def indicators(self) -> dict[str, Indicator]:
        return {"trend": sma(self.fast) - sma(self.slow)}

    def on_bars(self, view: View) -> Proposal:
        trend = view.value("trend")
        if trend > 0.0:
            if not view.held:
                return (view.order(1),)
        elif trend < 0.0 and view.held:
            return (view.order(-1),)
        return ()


@dataclass(frozen=True)
class Woken(Cross):
    """W1 by a strategy that is called only when its averages cross: the same orders."""

    def wakes(self) -> Crossing:
        return Crossing("fast", "slow")


class EveryBar:
    """An order every bar: one share in, one share out."""

    def on_bars(self, view: View) -> Proposal:
        return (view.order(-1 if view.held else 1),)


@dataclass
class Resting:
    """Ten limit orders far below the market, which no bar reaches."""

    count: int = 10
    sent: bool = False

    def on_bars(self, view: View) -> Proposal:
        if self.sent:
            return ()
        self.sent = True
        return [view.order(1, 0, 1, 1.0 - k * 0.01) for k in range(self.count)]


class Rotates:
    """Holds another four of its instruments each month."""

    def on_bars(self, view: View) -> Proposal:
        if view.row % 21:
            return ()
        weights = np.zeros(len(view.symbols))
        weights[(view.row // 21 + np.arange(4)) % len(weights)] = 0.2
        return view.rebalance(weights)


TARIFF = Simulated(participation=0.1, commission=Commission(0.0, 0.0, 10.0, 0.0), slippage=Slippage("none"))
CASH, PANEL_CASH = 10_000.0, 10_000_000.0
LIMITS = Limits(gross_max=1.0, net_max=1.0, name_max=1.0)
WATCHED = Limits(gross_max=1.0, net_max=1.0, name_max=1.0, drawdown_max=0.99)
RESTED = Limits(gross_max=2.0, net_max=2.0, name_max=2.0)


class Work(NamedTuple):
    """A workload, with what it may cost: *target* is in nanoseconds a bar of one symbol, where calibration is QUIET.

    The cost of each bar of the work *beyond*, if named, is taken off first. *equity* is how it ends, as independent engines agree, to *digits*.
    *compiled* strategies are run one after another without the loop, as a sweep does; then a bar is one of each, and the equity their sum.
    """

    tape: Callable[[], Tape]
    strategy: Callable[[], Any]
    target: float
    beyond: str = ""
    limits: Limits = LIMITS
    cash: float = CASH
    equity: float | None = None
    digits: int = 6
    compiled: tuple[Cross, ...] = ()

    def run(self, tape: Tape | None = None) -> Result | None:
        """A whole run, as a user would have it: session, indicators, loop, equity curve."""
        tape, result = tape or self.tape(), None
        if self.compiled:
            last = self.sweep(tape)
        else:
            result = simulate(tape, self.strategy(), broker=TARIFF, account=Account(self.cash), limits=self.limits)
            last = float(result.equity[-1])
        assert self.equity is None or round(last, self.digits) == self.equity, last
        return result

    def sweep(self, tape: Tape, known: Readings | None = None) -> float:
        """The final equities of all compiled strategies, which share their indicators, with others in *known* too: their sum."""
        total = 0.0
        for strategy in self.compiled:
            known = Readings(tape, strategy.indicators(), known)
            known.catch_up()
            whole = run_whole(tape, strategy, TARIFF, Account(self.cash), self.limits, known)
            assert whole is not None
            total += float(whole.equity[-1])
        return total

    def bars(self, tape: Tape) -> int:
        """How many bars of one symbol a run goes over."""
        return len(tape) * tape.width * max(1, len(self.compiled))


def momentum(width: int = 500) -> Momentum:
    """W2's strategy."""
    return Momentum(lookback=20, top=width // 10, every=1, invest=0.95)


QUIET = 40.0
W4, W1, W1_WATCHED, ORDERS, RESTING, W2 = "W4", "W1", "W1, drawdown limit", "an order every bar", "10 resting limits", "W2"
WOKEN = "W1, with wake-ups"
COMPILED, W3 = "W1, compiled", "W3, 100 pairs compiled"
PAIRS = tuple(Cross(fast, slow) for fast in range(5, 55, 5) for slow in range(60, 160, 10))
WORKS = {
    "W4, 1 M bars": Work(lambda: minutes(1_000_000), Empty, 350.0, equity=CASH),
    W4: Work(lambda: minutes(100_000), Empty, 350.0, equity=CASH),
    "W1, 1 M bars": Work(lambda: minutes(1_000_000), Cross, 650.0, equity=7451.827894),
    W1: Work(lambda: minutes(100_000), Cross, 650.0, equity=9801.241187),
    "W1, one indicator": Work(lambda: minutes(100_000), Trend, 650.0, equity=9801.241187),
    WOKEN: Work(lambda: minutes(100_000), Woken, 250.0, equity=9801.241187),
    W1_WATCHED: Work(lambda: minutes(100_000), Cross, 900.0, limits=WATCHED, equity=9801.241187),
    # Cash enough that no order is refused.
    ORDERS: Work(lambda: minutes(100_000), EveryBar, 7_000.0, beyond=W4, cash=PANEL_CASH),
    RESTING: Work(lambda: minutes(100_000), Resting, 300.0, beyond=W4, limits=RESTED, equity=CASH),
    COMPILED: Work(lambda: minutes(100_000), Cross, 35.0, equity=9801.241187, compiled=(Cross(),)),
    # 1,500 backtests a second on one core.
    W3: Work(lambda: minutes(100_000), Cross, 1e9 / 1_500 / 100_000, limits=Limits(), equity=985_774.2553, digits=4, compiled=PAIRS),
    # 0.15 s for all.
    W2: Work(days, momentum, 0.15e9 / (2520 * 500), limits=WATCHED, cash=PANEL_CASH, equity=16_850_242.06, digits=2),
}
LARGE = "5,000 symbols, top 500"
LARGE_WORK = Work(lambda: tape_of(panel(2520, 5_000), DAY), lambda: momentum(5_000), 1e9 / (2520 * 5_000), limits=WATCHED, cash=10 * PANEL_CASH)


def calibration() -> float:
    """Nanoseconds of one empty method call with five arguments: the baseline's yardstick."""

    class Callee:
        def on_bar(self, t: int, o: float, h: float, low: float, c: float) -> None:
            pass

    call, best = Callee().on_bar, float("inf")
    for _ in range(5):
        start = time.process_time()
        for i in range(300_000):
            call(i, 1.0, 2.0, 3.0, 4.0)
        best = min(best, time.process_time() - start)
    return best / 300_000 * 1e9


def best_of(run: Callable[[], Any], rounds: int = 5) -> tuple[float, Any]:
    """(CPU seconds of the quickest of several runs, what the last one returned)."""
    best, outcome = float("inf"), None
    for _ in range(rounds):
        outcome = None
        gc.collect()
        start = time.process_time()
        outcome = run()
        best = min(best, time.process_time() - start)
    return best, outcome


def resident_mib() -> float:
    """The memory that this process has now."""
    return float(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))) / 1024.0


def peak_mib() -> float:
    """The most memory that this process has had so far: where the system tells, without that of the process which started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))) / 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
