"""What was held and how much of it was turned over: exposure, time in the market, turnover."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.loop.journal import times_to_rows
from simulator.report.metrics import FloatArray, Measured, session_ends
from simulator.report.statistic import statistic

if TYPE_CHECKING:
    from simulator.report.results import Result


def gross_exposure(values: npt.ArrayLike, equity: npt.ArrayLike) -> FloatArray:
    """sum(abs(position value)) / equity: (rows,) of *values* (rows, instruments) and *equity* (rows,), in money. NaN where equity is not above 0."""
    return _over(np.abs(np.asarray(values, np.float64)), equity)


def net_exposure(values: npt.ArrayLike, equity: npt.ArrayLike) -> FloatArray:
    """sum(position value) / equity, as `gross_exposure` takes them: a short position's value is below 0."""
    return _over(np.asarray(values, np.float64), equity)


def _over(values: FloatArray, equity: npt.ArrayLike) -> FloatArray:
    money = np.asarray(equity, np.float64)
    if values.ndim != 2 or money.shape != (len(values),):
        raise DataError(f"values must be (rows, instruments) and equity (rows,), were {values.shape} and {money.shape}")
    found = np.full(len(values), nan)
    np.divide(values.sum(axis=1), money, out=found, where=money > 0.0)
    return found


@statistic()
def leverage(exposure: FloatArray) -> float | str:
    """mean(exposure) over all rows, those without a position counting as 0."""
    return float(exposure.mean())


@statistic()
def time_in_market(exposure: FloatArray) -> float | str:
    """The share of rows in which something is held: exposure is not 0."""
    return float(np.mean(exposure != 0.0))


@statistic()
def turnover(traded: FloatArray, gross: FloatArray) -> float | str:
    """mean over days of abs(traded value) / mean(gross market value at the close before, at the close), two-sided: buys and sells both count.

    Before the first day nothing is held. A day on which nothing is held and nothing traded counts as 0.
    """
    base = (gross + np.concatenate(([0.0], gross[:-1]))) / 2.0
    # What was bought and sold within a day has no market value at either close to be set against.
    wrong = np.flatnonzero((traded != 0.0) & (base <= 0.0))
    if len(wrong):
        return f"on day {wrong[0]} there was trading, and nothing was held at either close"
    return float(np.mean(np.divide(np.abs(traded), base, out=np.zeros(len(traded)), where=base > 0.0)))


def turnover_of(result: Result) -> Measured:
    """The turnover of a run, a session a day. One-sided it is half of that."""
    sessions = result.tape.sessions[: result.rows]
    ends = session_ends(sessions)
    traded = np.zeros(len(ends))
    rates = [result.rates(i) for i in range(result.tape.width)]
    for fills, _, values in result.fill_columns():
        bars = times_to_rows(result.tape, fills["at"])
        known = bars < result.rows
        bars, values, instruments = bars[known], values[known], fills["instrument"][known]
        for i, column in enumerate(rates):
            if column is not None:
                own = instruments == i
                values[own] *= column[bars[own]]
        np.add.at(traded, np.searchsorted(ends, bars), values)
    return turnover.measured(traded, result.held[0][ends])
