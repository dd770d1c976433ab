"""Metrics through time and by state: of each window of so many returns, and of the returns in each regime."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.report import metrics
from simulator.report.metrics import FloatArray, IntArray, Measured, Metric, as_column

if TYPE_CHECKING:
    from simulator.report.results import Result


def rolling(
    metric: Metric,
    returns: npt.ArrayLike,
    window: int,
    benchmark: npt.ArrayLike | None = None,
    rf: float = 0.0,
    periods: float = 252,
    **choices: float,
) -> FloatArray:
    """*metric* of each *window* of returns, oldest first: (N - window + 1,), the first of returns 0 to window - 1; empty where there are fewer.

    A window in which the metric is undefined is NaN. Raises DataError where the window is not at least 1.
    """
    if window < 1:
        raise DataError(f"window must be at least 1 return, was {window}")
    r, m = as_column("returns", returns), None if benchmark is None else as_column("benchmark", benchmark)
    if m is not None and len(m) != len(r):
        raise DataError(f"benchmark must have {len(r)} returns, one for each of the run's, had {len(m)}")
    spans = [slice(k, k + window) for k in range(len(r) - window + 1)]
    return np.array([metric(r[span], None if m is None else m[span], rf, periods, **choices) for span in spans], np.float64)


def conditional(
    metric: Metric,
    returns: npt.ArrayLike,
    states: npt.ArrayLike,
    benchmark: npt.ArrayLike | None = None,
    rf: float = 0.0,
    periods: float = 252,
    **choices: float,
) -> dict[int, float]:
    """*metric* of the returns in each of *states*, (N,) whole numbers: by state, lowest first. Those below 0 are no state.

    The returns of a state are put one after the other, so that what depends on their order, as a drawdown does, is of a path that nobody walked.
    A state must have been known before its return was earned, or the table looks ahead. Raises DataError where lengths differ.
    """
    r, labels = as_column("returns", returns), np.asarray(states)
    m = None if benchmark is None else as_column("benchmark", benchmark)
    for name, column in (("states", labels), ("benchmark", m)):
        if column is not None and column.shape != r.shape:
            raise DataError(f"{name} must have {len(r)} values, one for each return, had {column.shape}")
    known = [int(state) for state in np.unique(labels) if state >= 0]
    return {state: metric(r[labels == state], None if m is None else m[labels == state], rf, periods, **choices) for state in known}


class Rolled(NamedTuple):
    """Sharpe ratio and volatility a year of the last *window* session returns, at the sessions *at* (counted from 0): each (n,)."""

    window: int
    at: IntArray
    sharpe: FloatArray
    volatility: FloatArray


WINDOW: Final = 126
"""Half a year."""
POINTS: Final = 600


def rolled(result: Result) -> Rolled | None:
    """The run through time, at no more than so many sessions; None where there are fewer than two windows of half a year, or of 20 sessions."""
    sessions = result.tape.sessions[: result.rows]
    r = metrics.session_returns(result.equity, sessions, result.cash_start)
    window = WINDOW if len(r) >= 2 * WINDOW else 20
    if len(r) < 2 * window:
        return None
    at = np.unique(np.linspace(window - 1, len(r) - 1, min(POINTS, len(r) - window + 1)).astype(np.int64))
    spans = np.lib.stride_tricks.sliding_window_view(r, window)[at - window + 1]
    yearly = np.sqrt(metrics.periods_of(sessions))
    # What no window varies has no ratio: rounding leaves more than 0 of equal returns.
    moved = spans.max(axis=1) > spans.min(axis=1)
    mean, deviation = spans.mean(axis=1), np.where(moved, spans.std(axis=1, ddof=1), 0.0)
    ratio = np.full(len(at), nan)
    np.divide(mean, deviation, out=ratio, where=deviation > 0.0)
    return Rolled(window, at, ratio * yearly, deviation * yearly)


class InRegime(NamedTuple):
    """How a run did while it took the market to be in one regime: sessions, their share of all, and what they returned, the benchmark's beside it."""

    name: str
    sessions: int
    share: float
    returned: Measured
    benchmark: Measured
    annual: Measured
    volatility: Measured
    sharpe: Measured
    worst: float


UNKNOWN: Final = "before the first fit"


def by_regime(result: Result, benchmark: FloatArray, chart: str = "regime") -> list[InRegime]:
    """The sessions of a run by the most probable state at the close before each, as the strategy plotted it on *chart*, in the chart's order.

    *benchmark* is equity at the close of each bar, (rows,). Sessions before the first plot are by themselves, at the end. Without such a chart there
    is nothing.
    """
    lines = result.plots.get(chart, {})
    if not lines or not result.rows:
        return []
    sessions = result.tape.sessions[: result.rows]
    ends, names, periods = metrics.session_ends(sessions), [*lines, UNKNOWN], metrics.periods_of(sessions)
    r, m = (metrics.session_returns(path[: result.rows], sessions, result.cash_start) for path in (result.equity, benchmark))
    states = known_before(lines, ends)
    states[states < 0] = len(lines)
    return [_in_regime(names[state], r[states == state], m[states == state], len(r), periods) for state in np.unique(states).tolist()]


def known_before(lines: dict[str, tuple[IntArray, FloatArray]], ends: IntArray) -> IntArray:
    """For each session, whose last bars are *ends*, the most probable state at the last close before it; -1 where nothing had been plotted."""
    plotted = np.unique(np.concatenate([bars for bars, _ in lines.values()]))
    chances = np.full((len(lines), len(plotted)), -1.0)
    for k, (bars, values) in enumerate(lines.values()):
        chances[k, np.searchsorted(plotted, bars)] = values
    before = np.concatenate(([-1], ends[:-1]))
    last = np.searchsorted(plotted, before, side="right") - 1
    return np.where(last >= 0, chances.argmax(axis=0)[last], -1).astype(np.int64)


def _in_regime(name: str, r: FloatArray, m: FloatArray, count: int, periods: int) -> InRegime:
    annual, volatility, sharpe = (x.measured(r, periods=periods) for x in (metrics.annual_return, metrics.volatility, metrics.sharpe))
    returned, its = metrics.cumulative_return.measured(r), metrics.cumulative_return.measured(m)
    return InRegime(name, len(r), len(r) / count, returned, its, annual, volatility, sharpe, float(r.min()) if np.isfinite(r).all() else nan)
