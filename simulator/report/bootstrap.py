"""How much of a result is chance: intervals of its figures over histories that could have been, made of blocks of its own returns.

The stationary bootstrap joins blocks of random length, whose mean fits how far the returns depend on each other, so that volatility that clusters and
returns that trend stay what they are; drawing single returns would break them up. Source: Politis and Romano (1994), "The stationary bootstrap".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, log10, nan, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.loop.randomness import blocks, stream
from simulator.report import metrics
from simulator.report.metrics import FloatArray, IntArray, Metric, Sample, as_column
from simulator.report.uncertainty import FIGURES, Interval

if TYPE_CHECKING:
    from simulator.report.results import Result

LEVEL: Final = 0.90
COUNT: Final = 1_000
SESSIONS_LEAST: Final = 20
"""Fewer returns than these say too little of how they depend on each other."""
POINTS: Final = 250
"""At so many sessions, evenly spaced, the band of wealth is known."""


class Intervals(NamedTuple):
    """Each figure between the ends of its interval at *level*, by name; *block* is the mean length of a block, *histories* how many were resampled.

    *low* and *high* are the ends of the band of what 1 becomes after session *at* (counted from 0), at the same level, each for itself. Where there
    is a *reason* why nothing can be resampled, there are no figures.
    """

    level: float
    block: float
    histories: int
    figures: Mapping[str, Interval]
    at: IntArray
    low: FloatArray
    high: FloatArray
    reason: str | None = None


def intervals(
    returns: npt.ArrayLike,
    seed: int = 0,
    *,
    figures: Sequence[str] = FIGURES,
    level: float = LEVEL,
    count: int = COUNT,
    block: float | None = None,
    periods: float = 252,
) -> Intervals:
    """The interval of each of these metrics over *count* histories resampled from *returns*, (N,): percentiles, the same share cut off at both ends.

    *block* is the mean block length in returns (None: chosen by `block_length`). The same seed gives the same interval. A history in which a figure
    is undefined counts nothing for it. Raises DataError for a level outside (0, 1), a count below 1, or a block below 1.
    """
    r = as_column("returns", returns)
    if not 0.0 < level < 1.0:
        raise DataError(f"level must be in (0, 1), was {level!r}")
    if count < 1:
        raise DataError(f"count must be at least 1 history, was {count}")
    if block is not None and not block >= 1.0:
        raise DataError(f"block must be at least 1 return, was {block!r}")
    reason = metrics.undefined(r) or _too_little(r)
    if reason:
        return Intervals(level, nan, 0, {}, np.empty(0, np.int64), np.empty(0), np.empty(0), reason)
    length = block_length(r) if block is None else block
    chosen: list[Metric] = [getattr(metrics, name) for name in figures]
    at = np.unique(np.linspace(0, len(r) - 1, POINTS).astype(np.int64))
    found, wealth = np.empty((count, len(chosen))), np.empty((count, len(at)))
    for k, drawn in enumerate(resamples(r, count, length, seed)):
        sample = Sample(drawn, metrics.NO_NUMBERS, 0.0, periods)
        for column, metric in enumerate(chosen):
            value = metric.formula(sample)
            found[k, column] = nan if isinstance(value, str) else value
        wealth[k] = np.cumprod(1.0 + drawn)[at]
    ends = (1.0 - level) / 2.0, (1.0 + level) / 2.0
    low, high = np.quantile(wealth, ends, axis=0)
    spans = {metric.name: _interval(metric(r, periods=periods), found[:, column], ends) for column, metric in enumerate(chosen)}
    return Intervals(level, length, count, spans, at, low, high)


def _too_little(r: FloatArray) -> str | None:
    if len(r) < SESSIONS_LEAST:
        return f"it needs at least {SESSIONS_LEAST} returns to resample, and there are {len(r)}"
    return None if Sample(r, metrics.NO_NUMBERS, 0.0, 1.0).std(r) > 0.0 else "the returns do not vary"


def _interval(value: float, found: FloatArray, ends: tuple[float, float]) -> Interval:
    known = found[np.isfinite(found)]
    if 2 * len(known) < len(found):
        return Interval(nan, value, nan)
    low, high = np.quantile(known, ends)
    return Interval(float(low), value, float(high))


def of(result: Result) -> Intervals:
    """The intervals of a run's session returns; its scenario's seed draws the blocks. `Result.intervals` keeps them."""
    sessions = result.tape.sessions[: result.rows]
    r = metrics.session_returns(result.equity, sessions, result.cash_start)
    return intervals(r, result.scenario.seed if result.scenario else 0, periods=metrics.periods_of(sessions))


def resamples(returns: FloatArray, count: int, block: float, seed: int) -> Iterator[FloatArray]:
    """*count* histories as long as *returns*: each return is followed by the one that followed it, or, once in *block* times, by any.

    After the last return comes the first.
    """
    random, n = stream(seed, "bootstrap"), len(returns)
    many = max(1, 2**15 // n)
    for begun in range(0, count, many):
        yield from returns[blocks(random, (min(many, count - begun), n), block)]


def block_length(returns: npt.ArrayLike) -> float:
    """The mean block length with the least mean squared error of a resampled mean's variance, at least 1 and at most min(3 sqrt(N), N / 3).

    It is (G^2 / s^2)^(1/3) N^(1/3), where s is the sum of the autocovariances at all lags and G that of abs(lag) times them, each weighted by a flat
    top: 1 up to half of the last lag, and then falling to 0. The last lag is twice that after which autocorrelations are insignificant.
    Source: Politis and White (2004), "Automatic block-length selection for the dependent bootstrap", corrected by Patton, Politis and White (2009).
    Returns that do not vary have a block of 1.
    """
    r = as_column("returns", returns)
    n = len(r)
    if n < SESSIONS_LEAST:
        raise DataError(f"a block length needs at least {SESSIONS_LEAST} returns, there were {n}")
    centred = r - r.mean()
    if not centred.any():
        return 1.0
    quiet = max(5, int(log10(n)))
    most = ceil(sqrt(n)) + quiet
    covariances = np.array([centred[k:] @ centred[: n - k] for k in range(most + 1)]) / n
    squares = np.concatenate(([0.0], np.cumsum(centred**2)))
    # The squares of what two autocorrelated columns have left: all but the first k + 1, and all but the last k + 1.
    left = np.array([(squares[n] - squares[k + 1]) * squares[n - k - 1] for k in range(most + 1)])
    loud = n * np.abs(covariances) >= 2.0 * sqrt(log10(n) / n) * np.sqrt(left)
    runs = (k for k in range(most - quiet + 1) if not loud[k : k + quiet].any())
    last = next(runs, None)
    lags = most if last is None else min(2 * max(last, 1), most)
    k = np.arange(1, lags + 1)
    weights = np.minimum(1.0, 2.0 * (1.0 - k / lags)) * covariances[1 : lags + 1]
    spread, slope = covariances[0] + 2.0 * weights.sum(), 2.0 * (k * weights).sum()
    if spread == 0.0:
        return 1.0
    best = ((slope / spread) ** 2 * n) ** (1.0 / 3.0)
    return float(min(max(best, 1.0), ceil(min(3.0 * sqrt(n), n / 3.0))))
