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
    steps.moved,
    steps.summed,
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

take, usable, known, returns, moved, summed = steps.take, steps.usable, steps.known, steps.returns, steps.moved, steps.summed
SMA, RETURNS = steps.SMA, steps.RETURNS
WINDOW, SEEN, AT, VALUES, RING = steps.WINDOW, steps.SEEN, steps.AT, steps.VALUES, steps.RING


def run(code: int, states: Array, gate: Array, a: Array, b: Array, c: Array, d: Array, out: Array, first: int, last: int) -> None:
    """Take the bars of the rows from *first* to *last*; *out* holds the values before them, and gets theirs.

    All arrays are C-contiguous float64: *states* (instruments, size), which is carried on, the others (rows, instruments). *gate* and the inputs
    are read-only views, always, so that there is one compiled form.
    """
    # Two kernels: most strategies ask for means and returns of one series alone, and need not wait until all the others are compiled.
    if (code == SMA or code == RETURNS) and b is a and c is a and d is a:
        run_common(code, states, gate, a, out, first, last)
    else:
        run_any(code, states, gate, a, b, c, d, out, first, last)


@released
def run_common(code: int, states: Array, gate: Array, a: Array, out: Array, first: int, last: int) -> None:
    """`run` for means and returns of one series: what `take` does, without its calls, which halves their cost."""
    for block in range(first, last, BLOCK):
        end = block + BLOCK if block + BLOCK < last else last
        for i in range(states.shape[0]):
            value = out[block - 1, i] if block > 0 else nan
            if code == SMA:
                means(states[i], gate[block:end, i], a[block:end, i], out[block:end, i], value)
            else:
                changes(states[i], gate[block:end, i], a[block:end, i], out[block:end, i], value)


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


@rule
def put(state: Array, at: int, window: float, x: float) -> tuple[float, int]:
    """Put *x* into the ring, at *at*: (the value that it takes the place of, where the next goes)."""
    old = state[RING + at]
    state[RING + at] = x
    return old, at + 1 if at + 1 < window else 0


@rule
def changes(state: Array, gate: Array, a: Array, out: Array, value: float) -> None:
    """`steps.returns` bar by bar, with all but the ring kept out of memory in between: *value* is the last one before."""
    window, at, seen = state[WINDOW], int(state[AT]), state[SEEN]
    for t in range(out.shape[0]):
        x = a[t]
        if usable(gate[t], x, x, x, x):
            old, at = put(state, at, window, x)
            seen += 1.0
            value = known(x / old - 1.0 if seen > window and old != 0.0 else nan)
        out[t] = value
    state[AT], state[SEEN] = at, seen


@rule
def means(state: Array, gate: Array, a: Array, out: Array, value: float) -> None:
    """`steps.sma` bar by bar, with all but the ring kept out of memory in between: *value* is the last one before."""
    window, at, seen = state[WINDOW], int(state[AT]), state[SEEN]
    total, error, lossy = state[VALUES], state[VALUES + 1], state[VALUES + 2]
    for t in range(out.shape[0]):
        x = a[t]
        if usable(gate[t], x, x, x, x):
            slot = RING + at
            old, at = put(state, at, window, x)
            total, error, exact = moved(total, error, x, old)
            if not (exact and lossy == 0.0):
                total, error, lossy = summed(state, slot)
            seen += 1.0
            value = known((total + error) / window if seen >= window else nan)
        out[t] = value
    state[AT], state[SEEN] = at, seen
    state[VALUES], state[VALUES + 1], state[VALUES + 2] = total, error, lossy
