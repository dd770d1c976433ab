"""How the cost of a run grows: with bars, instruments, orders a bar, trials and workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from rich.table import Table
from workloads import CASH, PAIRS, PANEL_CASH, TARIFF, W3, WORKS, Cross, Woken, best_of, calibration, minutes, momentum, panel, tape_of

from simulator import DAY, Account, Proposal, View, simulate


class Grown(NamedTuple):
    """One size of one dimension: seconds in all, and of one *unit* of it."""

    dimension: str
    size: int
    seconds: float
    unit: str
    each: float


@dataclass(frozen=True)
class Several:
    """So many orders every bar, one share in and one share out, each in another instrument."""

    count: int

    def on_bars(self, view: View) -> Proposal:
        return [view.order(-1 if view.lots[i] else 1, i) for i in range(self.count)]


def grown(bars: tuple[int, ...], widths: tuple[int, ...]) -> Iterator[Grown]:
    """The cost of each size, CPU, the best of three; of workers it is wall time."""
    for count in bars:
        tape = minutes(count)
        for name, strategy in (("bars, W1", Cross()), ("bars, W1 with wake-ups", Woken())):
            seconds, _ = best_of(lambda t=tape, s=strategy: simulate(t, s, broker=TARIFF, account=Account(CASH)).equity, 3)
            yield Grown(name, count, seconds, "bar", seconds / count)
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
                began = time.perf_counter()
                list(pool.map(lambda part: part.sweep(tape), several))
                best[count] = min(best[count], time.perf_counter() - began)
    return best


def table(large: bool) -> Table:
    """The growth of all, with how many times as much as the size before each costs; *large* ones take minutes."""
    found = Table("what grows", "size", "seconds", "each", "of the size before", title=f"growth (calibration {calibration():.1f} ns)")
    for column in found.columns[1:]:
        column.justify = "right"
    bars = (100_000, 1_000_000) + ((10_000_000,) if large else ())
    last: dict[str, Grown] = {}
    for one in grown(bars, (10, 100, 500, 2_000) + ((5_000,) if large else ())):
        before = last.get(one.dimension)
        ratio = f"{one.seconds / before.seconds:.2f}x" if before else ""
        each = f"{one.each * 1e9:,.0f} ns a {one.unit}" if one.each < 1e-5 else f"{one.each * 1e6:,.0f} us a {one.unit}"
        found.add_row(one.dimension, f"{one.size:,}", f"{one.seconds:.3f}", each, ratio)
        last[one.dimension] = one
    return found
