"""Indicators over many bars: the compiled form of the steps."""

from __future__ import annotations

from math import nan
from typing import Any

from simulator.kernels import steps
from simulator.kernels.compiled import released, rule

Array = Any

# Rows that are taken for one instrument before the next gets its turn: a state stays in the fastest memory, and so do the rows.
BLOCK = 64

for _step in (
    steps.turn,
    steps.arrange,
    steps.at_level,
    steps.mean_of,
    steps.deviation,
    steps.relation,
    steps.smooth,
    steps.sma,
    steps.ema,
    steps.std,
    steps.zscore,
    steps.returns,
    steps.power,
    steps.rsi,
    steps.atr,
    steps.extreme,
    steps.correlation,
    steps.beta,
    steps.turnover,
    steps.vwap_deviation,
    steps.gap,
    steps.skewness,
    steps.quantile,
    steps.flight,
    steps.advance,
    steps.known,
    steps.usable,
    steps.take,
):
    rule(_step)

take, usable, known, sma, returns = steps.take, steps.usable, steps.known, steps.sma, steps.returns
SMA, RETURNS = steps.SMA, steps.RETURNS


def run(code: int, states: Array, gate: Array, a: Array, b: Array, c: Array, d: Array, out: Array, first: int, last: int) -> None:
    """Take the bars of the rows from *first* to *last*; *out* holds the values before them, and gets theirs.

    All arrays are C-contiguous float64: *states* (instruments, size), which is carried on, the others (rows, instruments). *gate* and the inputs
    are read-only views, always, so that there is one compiled form.
    """
    # Two kernels: most strategies ask for means and returns alone, and need not wait until all the others are compiled.
    (run_common if code == SMA or code == RETURNS else run_any)(code, states, gate, a, b, c, d, out, first, last)


@released
def run_common(code: int, states: Array, gate: Array, a: Array, b: Array, c: Array, d: Array, out: Array, first: int, last: int) -> None:
    """`run` for means and returns: what `take` does, without its calls, which halves their cost."""
    for block in range(first, last, BLOCK):
        end = block + BLOCK if block + BLOCK < last else last
        for i in range(states.shape[0]):
            state = states[i]
            value = out[block - 1, i] if block > 0 else nan
            if code == SMA:
                for t in range(block, end):
                    if usable(gate[t, i], a[t, i], b[t, i], c[t, i], d[t, i]):
                        value = known(sma(state, a[t, i], b[t, i], c[t, i], d[t, i]))
                    out[t, i] = value
            else:
                for t in range(block, end):
                    if usable(gate[t, i], a[t, i], b[t, i], c[t, i], d[t, i]):
                        value = known(returns(state, a[t, i], b[t, i], c[t, i], d[t, i]))
                    out[t, i] = value


@released
def run_any(code: int, states: Array, gate: Array, a: Array, b: Array, c: Array, d: Array, out: Array, first: int, last: int) -> None:
    """`run` for every step."""
    for block in range(first, last, BLOCK):
        end = block + BLOCK if block + BLOCK < last else last
        for i in range(states.shape[0]):
            state = states[i]
            value = out[block - 1, i] if block > 0 else nan
            for t in range(block, end):
                value = take(code, state, gate[t, i], a[t, i], b[t, i], c[t, i], d[t, i], value)
                out[t, i] = value
