"""Indicators on plain numbers: one step each, from the bars so far and one bar more to the next value.

A step is `step(state, a, b, c, d) -> value`; inputs that it has no use for are ignored. The state holds floats alone (a list, a memoryview or a
row of an array), so that Python takes one bar and compiled code takes a whole tape by the very same functions, with the same bits. That holds
while they keep to + - * / sqrt, comparisons and int(), in a fixed order: a test over the syntax tree says so.

A finite window depends on its own values alone, not on where history began: its sum is kept without loss, or it is summed again, oldest first.
"""

from __future__ import annotations

from math import inf, nan, sqrt
from typing import Any, Final

State = Any

# What can be folded. The comment gives the inputs where they are not one series.
SMA: Final = 0
EMA: Final = 1
STD: Final = 2
ZSCORE: Final = 3
RETURNS: Final = 4
POWER: Final = 5
RSI: Final = 6
ATR: Final = 7  # high, low, close
EXTREME: Final = 8
CORRELATION: Final = 9  # close, close of the other
BETA: Final = 10  # close, close of the other
TURNOVER: Final = 11  # high, low, close, volume
VWAP_DEVIATION: Final = 12  # mean turnover, mean volume, close
GAP: Final = 13  # open, close
LAST: Final = 14
SKEWNESS: Final = 15
QUANTILE: Final = 16
FLIGHT: Final = 17  # change of the safe one, our change

# Where things lie in a state: the window, one more parameter, bars seen, the place of the oldest value in the ring, a few values, the ring itself.
WINDOW: Final = 0
OPTION: Final = 1
SEEN: Final = 2
AT: Final = 3
VALUES: Final = 4
RING: Final = 10


def start(code: int, window: int, option: float) -> list[float]:
    """The state of a fold before its first bar."""
    rings = 2 if code == CORRELATION or code == BETA or code == QUANTILE or code == FLIGHT else 1
    return [float(window), option] + [0.0] * (RING - 2 + rings * window)


def take(code: int, state: State, gate: float, a: float, b: float, c: float, d: float, before: float) -> float:
    """The value after a bar, or the value *before* it if the bar gives nothing to take."""
    return known(advance(code, state, a, b, c, d)) if usable(gate, a, b, c, d) else before


def usable(gate: float, a: float, b: float, c: float, d: float) -> bool:
    """Whether there is a bar (*gate* is a number) and all inputs are finite numbers."""
    return gate == gate and abs(a) < inf and abs(b) < inf and abs(c) < inf and abs(d) < inf


def known(value: float) -> float:
    """There are many NaNs, and which one comes out of an operation depends on the machine. This lets only one through."""
    return value if value == value else nan


def advance(code: int, state: State, a: float, b: float, c: float, d: float) -> float:
    """Take one step of the fold that *code* names."""
    if code == SMA:
        return sma(state, a, b, c, d)
    if code == EMA:
        return ema(state, a, b, c, d)
    if code == STD:
        return std(state, a, b, c, d)
    if code == ZSCORE:
        return zscore(state, a, b, c, d)
    if code == RETURNS:
        return returns(state, a, b, c, d)
    if code == POWER:
        return power(state, a, b, c, d)
    if code == RSI:
        return rsi(state, a, b, c, d)
    if code == ATR:
        return atr(state, a, b, c, d)
    if code == EXTREME:
        return extreme(state, a, b, c, d)
    if code == CORRELATION:
        return correlation(state, a, b, c, d)
    if code == BETA:
        return beta(state, a, b, c, d)
    if code == TURNOVER:
        return turnover(state, a, b, c, d)
    if code == VWAP_DEVIATION:
        return vwap_deviation(state, a, b, c, d)
    if code == GAP:
        return gap(state, a, b, c, d)
    if code == SKEWNESS:
        return skewness(state, a, b, c, d)
    if code == QUANTILE:
        return quantile(state, a, b, c, d)
    if code == FLIGHT:
        return flight(state, a, b, c, d)
    return a


def sma(state: State, a: float, b: float, c: float, d: float) -> float:
    """The mean of the window. The state keeps the window's sum and, apart, its rounding error, see `moved`."""
    window, slot = state[WINDOW], RING + int(state[AT])
    old = state[slot]
    state[slot] = a
    total, error, exact = moved(state[VALUES], state[VALUES + 1], a, old)
    if not (exact and state[VALUES + 2] == 0.0):
        total, error, state[VALUES + 2] = summed(state, slot)
    state[VALUES] = total
    state[VALUES + 1] = error
    at, seen = state[AT] + 1.0, state[SEEN] + 1.0
    state[AT] = at if at < window else 0.0
    state[SEEN] = seen
    return (total + error) / window if seen >= window else nan


def moved(total: float, error: float, new: float, old: float) -> tuple[float, float, bool]:
    """A window's sum and its rounding error when *new* has come and *old* is gone, and whether they are exact.

    The error of each addition is recovered by Knuth's two-sum. Together both are exact, until a rounding error is itself rounded.
    """
    more = total + new
    back = more - total
    gained = (total - (more - back)) + (new - back)
    less = more - old
    back = less - more
    dropped = (more - (less - back)) - (old + back)
    slip = gained + dropped
    kept = error + slip
    # A sum is exact if and only if either summand comes back when the other is taken away.
    return less, kept, slip - gained == dropped and slip - dropped == gained and kept - error == slip and kept - slip == error


def summed(state: State, slot: int) -> tuple[float, float, float]:
    """The sum of the window whose newest value is at *slot*, oldest first: (sum, rounding error, 1 where even these two cannot hold it)."""
    total, error, lossy, count = 0.0, 0.0, 0.0, int(state[WINDOW])
    for k in range(count):
        j = slot + 1 + k
        x = state[j if j < RING + count else j - count]
        before = total
        total = before + x
        back = total - before
        slip = (before - (total - back)) + (x - back)
        was = error
        error = was + slip
        # What is lost must not linger: the next window is summed as well.
        if not (error - was == slip and error - slip == was):
            lossy = 1.0
    return total, error, lossy


def ema(state: State, a: float, b: float, c: float, d: float) -> float:
    """The exponential mean with alpha = 2 / (window + 1), begun at the first value and shown after *window* of them."""
    window, seen, value = state[WINDOW], state[SEEN] + 1.0, state[VALUES]
    value = a if seen == 1.0 else value + (a - value) * (2.0 / (window + 1.0))
    state[SEEN] = seen
    state[VALUES] = value
    return value if seen >= window else nan


def std(state: State, a: float, b: float, c: float, d: float) -> float:
    """The standard deviation of the window, with ddof 1."""
    _, squares = deviation(state, a)
    return sqrt(squares / (state[WINDOW] - 1.0)) if squares >= 0.0 else nan


def zscore(state: State, a: float, b: float, c: float, d: float) -> float:
    """How many standard deviations (ddof 1) the newest value lies above the mean of the window; NaN where nothing varies."""
    distance, squares = deviation(state, a)
    spread = sqrt(squares / (state[WINDOW] - 1.0)) if squares > 0.0 else 0.0
    return distance / spread if spread > 0.0 else nan


def returns(state: State, a: float, b: float, c: float, d: float) -> float:
    """The change over *window* bars, as a fraction of the older value."""
    slot = RING + int(state[AT])
    old = state[slot]
    state[slot] = a
    turn(state)
    return a / old - 1.0 if state[SEEN] > state[WINDOW] and old != 0.0 else nan


def power(state: State, a: float, b: float, c: float, d: float) -> float:
    """The square root (option 0.5) or the square (option 2) of the size, with the sign kept."""
    size = sqrt(abs(a)) if state[OPTION] < 1.0 else a * abs(a)
    return -size if a < 0.0 and size > 0.0 else size


def rsi(state: State, a: float, b: float, c: float, d: float) -> float:
    """Wilder's relative strength: 100 x mean gain / (mean gain + mean loss), 50 where nothing moved."""
    before, began = state[VALUES + 2], state[VALUES + 3]
    state[VALUES + 2] = a
    state[VALUES + 3] = 1.0
    if began == 0.0:
        return nan
    change = a - before
    state[SEEN] = state[SEEN] + 1.0
    gain = smooth(state, VALUES, change if change > 0.0 else 0.0)
    loss = smooth(state, VALUES + 1, -change if change < 0.0 else 0.0)
    if state[SEEN] < state[WINDOW]:
        return nan
    return 100.0 * gain / (gain + loss) if gain + loss > 0.0 else 50.0


def atr(state: State, a: float, b: float, c: float, d: float) -> float:
    """Wilder's mean of the true range. The first bar has no close before it, and so no true range."""
    before, began = state[VALUES + 2], state[VALUES + 3]
    state[VALUES + 2] = c
    state[VALUES + 3] = 1.0
    if began == 0.0:
        return nan
    reach = a - b
    if abs(a - before) > reach:
        reach = abs(a - before)
    if abs(b - before) > reach:
        reach = abs(b - before)
    state[SEEN] = state[SEEN] + 1.0
    mean = smooth(state, VALUES, reach)
    return mean if state[SEEN] >= state[WINDOW] else nan


def extreme(state: State, a: float, b: float, c: float, d: float) -> float:
    """The largest (option 1) or smallest (option -1) value of the window."""
    window, side, best = int(state[WINDOW]), state[OPTION], state[VALUES]
    slot = RING + int(state[AT])
    old = state[slot]
    state[slot] = a
    turn(state)
    if state[SEEN] == 1.0 or side * a >= side * best:
        best = a
    elif state[SEEN] > state[WINDOW] and old == best:
        best = a
        for k in range(window):
            x = state[RING + k]
            if side * x > side * best:
                best = x
    state[VALUES] = best
    return best if state[SEEN] >= state[WINDOW] else nan


def correlation(state: State, a: float, b: float, c: float, d: float) -> float:
    """The correlation of two series' returns over the window; NaN where one of them does not vary."""
    products, mine, others = relation(state, a, b)
    scale = sqrt(mine) * sqrt(others) if mine > 0.0 and others > 0.0 else 0.0
    if not scale > 0.0:
        return nan
    value = products / scale
    # Rounding may carry a perfect correlation beyond 1.
    if value > 1.0:
        return 1.0
    return -1.0 if value < -1.0 else value


def beta(state: State, a: float, b: float, c: float, d: float) -> float:
    """The slope of our returns on the other's, over the window; NaN where the other does not vary."""
    products, _, others = relation(state, a, b)
    return products / others if others > 0.0 else nan


def turnover(state: State, a: float, b: float, c: float, d: float) -> float:
    """What a bar traded, in money: typical price x volume."""
    return (a + b + c) / 3.0 * d


def vwap_deviation(state: State, a: float, b: float, c: float, d: float) -> float:
    """How far the close lies from turnover / volume, as a fraction of that; NaN where nothing was traded."""
    vwap = a / b if b > 0.0 else nan
    return (c - vwap) / vwap if vwap > 0.0 else nan


def gap(state: State, a: float, b: float, c: float, d: float) -> float:
    """The open against the close before it, as a fraction."""
    before = state[VALUES]
    state[VALUES] = b
    return a / before - 1.0 if before != 0.0 else nan


def skewness(state: State, a: float, b: float, c: float, d: float) -> float:
    """The skewness of the window, adjusted for its length (Fisher and Pearson's G1); NaN where nothing varies."""
    _, squares = deviation(state, a)
    if not squares > 0.0:
        return nan
    window, at = int(state[WINDOW]), int(state[AT])
    base = state[RING + at]
    mean = mean_of(state, RING, base)
    cubes = 0.0
    for k in range(window):
        j = at + k
        distance = (state[RING + (j if j < window else j - window)] - base) - mean
        cubes += distance * distance * distance
    scale = squares * sqrt(squares)
    # So small a spread has a square that is none.
    if not scale > 0.0:
        return nan
    n: float = state[WINDOW]
    return cubes / scale * (n * sqrt(n - 1.0) / (n - 2.0))


def quantile(state: State, a: float, b: float, c: float, d: float) -> float:
    """The quantile (option) of the window, linear between neighbours."""
    arrange(state, a)
    return at_level(state) if state[SEEN] >= state[WINDOW] else nan


def flight(state: State, a: float, b: float, c: float, d: float) -> float:
    """1 where the safe one rises beyond the quantile (option) of the window before, and we fall; else 0."""
    bound = at_level(state) if state[SEEN] >= state[WINDOW] else nan
    arrange(state, a)
    if bound != bound:
        return nan
    return 1.0 if a > bound and b < 0.0 else 0.0


def arrange(state: State, x: float) -> None:
    """Put *x* in the place of the oldest value of the window, and in its place among the sorted values, which lie behind the ring."""
    window = int(state[WINDOW])
    slot, first = RING + int(state[AT]), RING + window
    old, count = state[slot], int(state[SEEN])
    # A zero has one sign here, so that the order of equals cannot be seen.
    new = x + 0.0
    state[slot] = new
    at = count
    if count >= window:
        at = 0
        for k in range(window):
            if state[first + k] < old:
                at = k + 1
        count = window
    else:
        count = count + 1
    state[first + at] = new
    for k in range(at, 0, -1):
        if state[first + k] < state[first + k - 1]:
            state[first + k] = state[first + k - 1]
            state[first + k - 1] = new
    for k in range(at, count - 1):
        if state[first + k] > state[first + k + 1]:
            state[first + k] = state[first + k + 1]
            state[first + k + 1] = new
    turn(state)


def at_level(state: State) -> float:
    """The quantile (option) of a full window of sorted values."""
    window = int(state[WINDOW])
    place: float = state[OPTION] * (state[WINDOW] - 1.0)
    below = int(place)
    above = below + 1 if below + 1 < window else below
    low: float = state[RING + window + below]
    high: float = state[RING + window + above]
    return low + (place - below) * (high - low)


def turn(state: State) -> None:
    """Count a bar, and move on in the ring to what is now its oldest value."""
    at = state[AT] + 1.0
    state[AT] = 0.0 if at == state[WINDOW] else at
    state[SEEN] = state[SEEN] + 1.0


def deviation(state: State, x: float) -> tuple[float, float]:
    """How far *x* lies from the mean of the window that it completes, and the sum of all squared distances from it; NaN while there are too few."""
    window = int(state[WINDOW])
    state[RING + int(state[AT])] = x
    turn(state)
    if state[SEEN] < state[WINDOW]:
        return nan, nan
    at = int(state[AT])
    # Measured from the oldest value, so that a window of equal values has no spread at all.
    base = state[RING + at]
    mean = mean_of(state, RING, base)
    squares = 0.0
    for k in range(window):
        j = at + k
        distance = (state[RING + (j if j < window else j - window)] - base) - mean
        squares += distance * distance
    return (x - base) - mean, squares


def relation(state: State, a: float, b: float) -> tuple[float, float, float]:
    """Sums over the window of returns from bar to bar, about their means: products, squares of the first, squares of the second."""
    before, other_before, began = state[VALUES], state[VALUES + 1], state[VALUES + 2]
    state[VALUES] = a
    state[VALUES + 1] = b
    state[VALUES + 2] = 1.0
    if began == 0.0 or before == 0.0 or other_before == 0.0:
        return nan, nan, nan
    window = int(state[WINDOW])
    slot, other = RING + int(state[AT]), RING + window
    state[slot] = a / before - 1.0
    state[slot + window] = b / other_before - 1.0
    turn(state)
    if state[SEEN] < state[WINDOW]:
        return nan, nan, nan
    at = int(state[AT])
    base, other_base = state[RING + at], state[other + at]
    mean, other_mean = mean_of(state, RING, base), mean_of(state, other, other_base)
    products, squares, other_squares = 0.0, 0.0, 0.0
    for k in range(window):
        j = at + k if at + k < window else at + k - window
        x = (state[RING + j] - base) - mean
        y = (state[other + j] - other_base) - other_mean
        products += x * y
        squares += x * x
        other_squares += y * y
    return products, squares, other_squares


def mean_of(state: State, ring: int, base: float) -> float:
    """The mean of a full window as measured from *base*, summed oldest first."""
    window, at = int(state[WINDOW]), int(state[AT])
    total = 0.0
    for k in range(window):
        j = at + k
        total += state[ring + (j if j < window else j - window)] - base
    return total / window


def smooth(state: State, mean_at: int, x: float) -> float:
    """Wilder's mean with *x* in it: the plain mean of the first *window* values, then each new one has the weight 1 / window."""
    window, seen = state[WINDOW], state[SEEN]
    mean: float = state[mean_at]
    if seen > window:
        mean = (mean * (window - 1.0) + x) / window
    else:
        mean = (mean + x) / window if seen == window else mean + x
    state[mean_at] = mean
    return mean
