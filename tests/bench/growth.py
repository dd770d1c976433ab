"""How the cost of a run grows: with bars, instruments, orders a bar, trials and workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from rich.table import Table
from workloads import (
    CASH,
    MINUTE,
    PAIRS,
    PANEL_CASH,
    TARIFF,
    W3,
    WORKS,
    Cross,
    Empty,
    Woken,
    best_of,
    calibration,
    minutes,
    momentum,
    panel,
    peak_mib,
    tape_of,
)

from simulator import DAY, Account, Instrument, Margin, Proposal, Tape, View, simulate
from simulator.market.indicators import Readings


class Grown(NamedTuple):
    """One size of one dimension: seconds in all, and of one *unit* of it; and the most memory so far, in MiB, where that is of interest."""

    dimension: str
    size: int
    seconds: float
    unit: str
    each: float
    peak: float = 0.0


@dataclass(frozen=True)
class Several:
    """So many orders every bar, one share in and one share out, each in another instrument."""

    count: int

    def on_bars(self, view: View) -> Proposal:
        return [view.order(-1 if view.lots[i] else 1, i) for i in range(self.count)]


MANY: Final = 10_000_000
"""So many bars are made with few copies, and run once."""


def walk(count: int) -> Tape:
    """A walk of minute closes in which nothing else happens: a column, not five, since 100 million bars are 0.8 GB a column."""
    close = np.random.Generator(np.random.PCG64(7)).standard_normal(count)
    close *= 0.0005
    np.cumsum(close, out=close)
    np.exp(close, out=close)
    close *= 100.0
    np.round(close, 6, out=close)
    return Tape.of([Instrument("S0")], np.arange(1, count + 1) * MINUTE, close, close, close, close, interval=MINUTE)


def grown(bars: tuple[int, ...], widths: tuple[int, ...]) -> Iterator[Grown]:
    """The cost of each size, CPU, the best of three; of workers it is wall time."""
    works = {"bars, W4": Empty(), "bars, W1": Cross(), "bars, W1 with wake-ups": Woken(), "bars, W1 with wake-ups, on margin": Woken()}
    for count in bars:
        tape = minutes(count) if count < MANY else walk(count)
        for name, strategy in works.items():
            if count >= 10 * MANY and not isinstance(strategy, Empty):
                continue
            margin = Margin() if "margin" in name else None
            run = lambda t=tape, s=strategy, m=margin: simulate(t, s, broker=TARIFF, account=Account(CASH), margin=m).equity  # noqa: E731
            seconds, _ = best_of(run, 3 if count < MANY else 1)
            yield Grown(name, count, seconds, "bar", seconds / count, peak_mib())
        del tape
    for width in widths:
        tape = tape_of(panel(252, width), DAY)
        seconds, _ = best_of(lambda t=tape, w=width: simulate(t, momentum(max(w, 10)), broker=TARIFF, account=Account(PANEL_CASH)).equity, 3)
        yield Grown("instruments, 252 days of W2", width, seconds, "symbol-bar", seconds / (252 * width))
    tape = tape_of(panel(1_000, 100), DAY)
    for count in (0, 1, 10, 100):
        seconds, _ = best_of(lambda n=count: simulate(tape, Several(n), broker=TARIFF, account=Account(PANEL_CASH)).equity, 3)
        yield Grown("orders a bar, 1,000 bars", count, seconds, "order", seconds / (1_000 * max(count, 1)))
    work, long = WORKS[W3], minutes(100_000)
    for count in (1, 10, 100):
        some = work._replace(compiled=PAIRS[:count], equity=None)
        seconds, _ = best_of(lambda w=some: w.sweep(long), 3)
        yield Grown("trials of W3, compiled", count, seconds, "trial", seconds / count)
    for count, best in shared(3).items():
        yield Grown("workers, 100 trials of W3, wall time", count, best, "trial", best / len(PAIRS))


def shared(rounds: int) -> dict[int, float]:
    """Wall seconds of W3 by one thread and by two, taken in turn, the best of so many rounds: what else the machine does counts against the two."""
    tape, best = minutes(100_000), {1: float("inf"), 2: float("inf")}
    parts = {count: [WORKS[W3]._replace(compiled=PAIRS[k::count], equity=None) for k in range(count)] for count in best}
    with ThreadPoolExecutor(max(best)) as pool:
        for _ in range(rounds):
            for count, several in parts.items():
                began, known = time.perf_counter(), Readings(tape, {})
                list(pool.map(lambda part, known=known: part.sweep(tape, known), several))
                best[count] = min(best[count], time.perf_counter() - began)
    return best


def table(large: bool) -> Table:
    """The growth of all, with how many times as much as the size before each costs; *large* ones take minutes."""
    found = Table("what grows", "size", "seconds", "each", "of the size before", "peak", title=f"growth (calibration {calibration():.1f} ns)")
    for column in found.columns[1:]:
        column.justify = "right"
    bars = (100_000, 1_000_000) + ((MANY, 10 * MANY) if large else ())
    last: dict[str, Grown] = {}
    for one in grown(bars, (1, 10, 100, 500, 2_000) + ((5_000,) if large else ())):
        before = last.get(one.dimension)
        ratio = f"{one.seconds / before.seconds:.2f}x" if before else ""
        each = f"{one.each * 1e9:,.0f} ns a {one.unit}" if one.each < 1e-5 else f"{one.each * 1e6:,.0f} us a {one.unit}"
        found.add_row(one.dimension, f"{one.size:,}", f"{one.seconds:.3f}", each, ratio, f"{one.peak:,.0f} MiB" if one.peak else "")
        last[one.dimension] = one
    return found
