"""Compiled loops over a tape: carried marks, equity, exposure, and what is known of volatility and volume."""

from __future__ import annotations

from math import nan, sqrt
from typing import Any

import numpy as np

from simulator.kernels.compiled import compiled, rule
from simulator.kernels.rules import size_of

Array = Any

# Columns of an instrument's terms, one row an instrument.
LOT_UP, LOT_DOWN, MULTIPLIER, SIZE, TICK_UP, TICK_DOWN = 0, 1, 2, 3, 4, 5


@compiled
def carry(close: Array, marks: Array, ages: Array, first: int, last: int) -> None:
    """Fill marks (the last known close) and ages (bars since it) for the rows from *first* to *last*."""
    for t in range(first, last):
        for i in range(close.shape[1]):
            x = close[t, i]
            if x == x:
                marks[t, i] = x
                ages[t, i] = 0
            elif t > 0:
                marks[t, i] = marks[t - 1, i]
                ages[t, i] = ages[t - 1, i] + 1 if ages[t - 1, i] >= 0 else -1
            else:
                marks[t, i] = nan
                ages[t, i] = -1


@compiled
def worth(cash: float, sizes: Array, marks: Array, row: int) -> tuple[float, float]:
    """Equity and gross exposure of what is held, summed in instrument order."""
    total = cash
    gross = 0.0
    for i in range(sizes.shape[0]):
        if sizes[i] != 0.0:
            value = sizes[i] * marks[row, i]
            total += value
            gross += abs(value)
    return total, gross


WORTH = "float64, float64[::1], float64[:, ::1], int64"


@compiled
def exposure(lots: Array, pending: Array, terms: Array, marks: Array, row: int) -> tuple[float, float]:
    """Gross and net exposure of what is held and on its way, summed in instrument order. What has no price yet counts nothing."""
    gross = 0.0
    net = 0.0
    for i in range(lots.shape[0]):
        total = lots[i] + pending[i]
        if total != 0 and marks[row, i] > 0.0:
            value = total * terms[i, SIZE] * marks[row, i]
            gross += abs(value)
            net += value
    return gross, net


@compiled
def equity_curve(
    cash: float,
    owed: float,
    held: Array,
    sizes: Array,
    terms: Array,
    marks: Array,
    ats: Array,
    first: int,
    last: int,
    ints: Array,
    reals: Array,
    k: int,
    fill: int,
    booked: int,
    rescaled: int,
    out: Array,
) -> tuple[float, float, int]:
    """Equity at the close of the rows from *first* to *last*, whose closes are *ats*: from the journal, two views of the same bytes (see
    loop.journal.ROW), from its row *k* on. *fill*, *booked* and *rescaled* are the kinds of its rows that change an account.

    What is *held* in lots and its *sizes*, and the cash, what is *owed* and the row of the journal that it returns, are to go on with.
    """
    for t in range(first, last):
        falls_due = 0.0
        while k < ints.shape[0] and ints[k, 0] <= ats[t]:
            kind = (ints[k, 1] >> 16) & 0xFFFF
            if kind == fill or kind == booked or kind == rescaled:
                i = max(ints[k, 1] >> 32, 0)
                lots = ints[k, 3]
                price = 0.0
                paid = 0.0
                if kind == fill:
                    price = reals[k, 4]
                    paid = reals[k, 6]
                elif kind == booked:
                    # As a trade at no price with a commission of the amount, the other way round.
                    paid = -reals[k, 4]
                    falls_due += reals[k, 5]
                cash = cash - size_of(lots, terms[i, LOT_UP], terms[i, LOT_DOWN], terms[i, MULTIPLIER]) * price - paid
                held[i] += lots
                sizes[i] = size_of(held[i], terms[i, LOT_UP], terms[i, LOT_DOWN], terms[i, MULTIPLIER])
            k += 1
        owed += falls_due
        total = cash
        for i in range(sizes.shape[0]):
            if sizes[i] != 0.0:
                total += sizes[i] * marks[t, i]
        out[t] = total + owed
    return cash, owed, k


@compiled
def trailing(sessions: Array, close: Array, volume: Array, instrument: int, row: int, window: int) -> tuple[float, float]:
    """What was known before the session of *row*: (daily volatility, average daily volume) of the last *window* whole sessions.

    Volatility is the standard deviation (ddof 1) of close-to-close returns and needs two of them; NaN where it cannot be known.
    """
    today = sessions[row]
    returns = np.empty(window)
    volumes = 0.0
    days = 0
    found = 0
    later = nan
    t = row
    while t >= 0 and sessions[t] == today:
        t -= 1
    while t >= 0 and found <= window:
        day = sessions[t]
        last = nan
        total = 0.0
        traded = False
        while t >= 0 and sessions[t] == day:
            x = close[t, instrument]
            if x == x:
                if not traded:
                    last = x
                traded = True
                total += volume[t, instrument]
            t -= 1
        if not traded:
            continue
        if found > 0:
            returns[found - 1] = later / last - 1.0
        if days < window:
            volumes += total
            days += 1
        found += 1
        later = last
    n = found - 1
    sigma = nan
    if n >= 2:
        mean = 0.0
        for k in range(n):
            mean += returns[k]
        mean = mean / n
        spread = 0.0
        for k in range(n):
            spread += (returns[k] - mean) * (returns[k] - mean)
        sigma = sqrt(spread / (n - 1))
    return sigma, (volumes / days if days > 0 else nan)


@rule
def in_days(sigma: float, volume: float, quantity: float) -> tuple[float, float]:
    """(daily volatility, *quantity* in days of average *volume*); zeros where nothing is known."""
    if not (sigma > 0.0 and volume > 0.0):
        return 0.0, 0.0
    return sigma, quantity / volume


@compiled
def impact_of(sessions: Array, panel: Array, instrument: int, row: int, window: int, quantity: float) -> tuple[float, float]:
    """(daily volatility, *quantity* in average days' volume) as known before the session of *row*; zeros where nothing is known yet."""
    sigma, volume = trailing(sessions, panel[3], panel[4], instrument, row, window)
    return in_days(sigma, volume, quantity)


@compiled
def trailing_volume(volume: Array, instrument: int, row: int, window: int) -> float:
    """The average volume of the last *window* bars before *row* (fewer at the start; 0 before the first)."""
    total = 0.0
    seen = 0
    t = row - 1
    while t >= 0 and seen < window:
        x = volume[t, instrument]
        if x == x:
            total += x
            seen += 1
        t -= 1
    return total / seen if seen > 0 else 0.0


@compiled
def place(
    ats: Array, first: int, last: int, at: Array, which: Array, o: Array, h: Array, low: Array, c: Array, v: Array, panel: Array, shares: bool
) -> tuple[int, int]:
    """Put bars, ordered by time, into the rows from *first* to *last*; those of earlier and later instants are passed over.

    Returns how many were placed, and the first that cannot be true, that has no instant, or that is not in order; -1 if there is none.
    """
    row = first
    placed = 0
    for k in range(at.shape[0]):
        moment = at[k]
        if k > 0 and moment < at[k - 1]:
            return placed, k
        if moment < ats[first] or moment > ats[last - 1]:
            continue
        while ats[row] < moment:
            row += 1
        i = which[k]
        if ats[row] != moment or panel[3, row, i] == panel[3, row, i]:
            return placed, k
        good = low[k] > 0.0 and h[k] < np.inf and low[k] <= o[k] and o[k] <= h[k] and low[k] <= c[k] and c[k] <= h[k]
        if not (good and v[k] >= 0.0 and (not shares or v[k] < np.inf)):
            return placed, k
        panel[0, row, i] = o[k]
        panel[1, row, i] = h[k]
        panel[2, row, i] = low[k]
        panel[3, row, i] = c[k]
        panel[4, row, i] = v[k]
        placed += 1
    return placed, -1
