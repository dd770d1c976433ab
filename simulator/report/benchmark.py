"""What doing nothing would have brought: the market bought once and held, to compare a run with."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray
    from simulator.report.results import Result


class Benchmark(NamedTuple):
    """What a run is compared with: its name, what was assumed, and its equity at the close of each bar, (rows,)."""

    name: str
    words: str
    equity: FloatArray


class Since(NamedTuple):
    """What the strategy and its benchmark returned from the close of bar *row*, the last one before the first fill, to the end."""

    row: int
    strategy: float
    benchmark: float


def benchmark(result: Result) -> Benchmark:
    """The starting capital in the instrument that the scenario names, or in equal parts in all where it names none: see `held`."""
    tape, chosen = result.tape, result.scenario.benchmark if result.scenario else None
    if chosen is None and tape.width > 1:
        name, cash, its = f"all {tape.width} instruments held", f"equal cash in each of the {tape.width} instruments", slice(None)
    else:
        symbol = chosen or tape.instruments[0].symbol
        name, cash, its = f"{symbol} held", f"all cash in {symbol}", slice(tape.index[symbol], tape.index[symbol] + 1)
    words = f"The benchmark puts {cash} at its first known close and holds it to the end: never rebalanced, in fractions of a unit, without costs."
    firsts = np.full(tape.width, nan)[its]
    return Benchmark(name, words, np.concatenate([held(tape.marks[a:b, its], result.cash_start, firsts) for a, b in tape.spans(0, result.rows)]))


def held(marks: FloatArray, cash: float, firsts: FloatArray | None = None) -> FloatArray:
    """Equity of *cash* in equal parts, each in one instrument from its first price on: (rows,) of *marks* (rows, instruments). Before, it is cash.

    *firsts* are the first prices where they came before these rows, else NaN, and are brought up to them: (instruments,).
    """
    equity, part = np.zeros(len(marks)), cash / marks.shape[1]
    bought = np.full(marks.shape[1], nan) if firsts is None else firsts
    for i, prices in enumerate(marks.T):
        first = 0
        if bought[i] != bought[i]:
            # What costs nothing, or less, cannot be bought with a part of the cash.
            known = np.flatnonzero(prices > 0.0)
            first = int(known[0]) if len(known) else len(prices)
            equity[:first] += part
            bought[i] = prices[first] if len(known) else nan
        equity[first:] += part * (prices[first:] / bought[i])
    return equity


def since_first_fill(result: Result, against: Benchmark) -> Since | None:
    """Both from the close before the first fill on, where the first bar's is not that: a strategy that must first learn is in cash until then."""
    row = result.fills[0].bar - 1 if result.fills else 0
    if not 1 <= row < result.rows:
        return None
    return Since(row, *(_gain(float(path[row]), float(path[result.rows - 1])) for path in (result.equity, against.equity)))


def _gain(before: float, after: float) -> float:
    return after / before - 1.0 if before > 0.0 else nan
