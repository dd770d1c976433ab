"""What returns say of a run: one definition of each metric. Source of every convention: the table of metrics that the report prints.

A metric is called as `sharpe(returns, benchmark=None, rf=0.0, periods=252)` and gives a float. *returns* and *benchmark* are simple net returns,
one a session, oldest first, (sessions,); *rf* is the risk-free return a year, *periods* the sessions in a year (252 on an exchange, 365 where
trading never stops). sortino, omega and downside_risk also take `mar`, the minimum acceptable return a year, and cagr takes `days`.

What is undefined is NaN, never 0 and never infinity, and `sharpe.measured(...)` says why beside the value. A return that is no number makes every
metric NaN, and its row is named; a standard deviation of at most 1e-12 of the largest return is zero; ratios and regressions need two returns.

In the formulas r are the returns, m the benchmark's, N their count, n the periods in a year, rf and mar the yearly rates as (1 + rate)^(1/n) - 1,
and V the equity, which begins with the starting capital V0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.risk import measures as risk
from simulator.risk.measures import TAIL

if TYPE_CHECKING:
    from simulator.report.results import Result

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NO_NUMBERS: Final[FloatArray] = np.empty(0)


class Measured(NamedTuple):
    """A metric's value, or NaN and the reason why there is none."""

    value: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What every formula sees: returns r, benchmark m (empty: none), the risk-free return a period, and the periods in a year."""

    r: FloatArray
    m: FloatArray
    rf: float
    n: float

    @property
    def excess(self) -> FloatArray:
        """Returns above the risk-free one."""
        return self.r - self.rf

    @property
    def active(self) -> FloatArray:
        """Returns above the benchmark's."""
        return self.r - self.m

    def below(self, mar: float) -> FloatArray:
        """min(r - mar, 0), with *mar* given per year."""
        return np.minimum(self.r - per_period(mar, self.n, "mar"), 0.0)

    def no_less(self, spread: float) -> float:
        """*spread*, or zero where it is nothing but rounding."""
        largest = max(np.abs(self.r).max(), np.abs(self.m).max() if len(self.m) else 0.0)
        return 0.0 if spread <= 1e-12 * largest else spread

    def std(self, values: FloatArray) -> float:
        """The sample standard deviation (ddof 1)."""
        return self.no_less(float(values.std(ddof=1)))


Formula = Callable[..., float | str]
"""Takes a sample, gives a number or the reason why there is none."""


class Metric:
    """A formula with what it needs: at least so many returns, and perhaps a benchmark. Call it for the number."""

    def __init__(self, formula: Formula, least: int, relative: bool) -> None:
        self.formula, self.least, self.relative = formula, least, relative
        self.name = self.__name__ = formula.__name__
        self.__doc__ = formula.__doc__
        self.convention = " ".join((formula.__doc__ or "").split("\n\n")[0].split())

    def __call__(
        self, returns: npt.ArrayLike, benchmark: npt.ArrayLike | None = None, rf: float = 0.0, periods: float = 252, **choices: float
    ) -> float:
        return self.measured(returns, benchmark, rf, periods, **choices).value

    def measured(
        self, returns: npt.ArrayLike, benchmark: npt.ArrayLike | None = None, rf: float = 0.0, periods: float = 252, **choices: float
    ) -> Measured:
        """The value, and the reason if it is NaN.

        Raises DataError where a rate or the periods are impossible, or the benchmark is not as long as the returns.
        """
        r, m = as_column("returns", returns), NO_NUMBERS if benchmark is None else as_column("benchmark", benchmark)
        sample = Sample(r, m, per_period(rf, periods, "rf"), periods)
        if benchmark is not None and len(m) != len(r):
            raise DataError(f"benchmark must have {len(r)} returns, one for each of the run's, had {len(m)}")
        reason = undefined(r) or (benchmark is not None and undefined(m, "the benchmark's return"))
        if reason:
            return Measured(nan, reason)
        if self.relative and benchmark is None:
            return Measured(nan, "it needs a benchmark")
        if len(r) < self.least:
            return Measured(nan, f"it needs at least {self.least} returns, and there is {len(r)}")
        try:
            found = self.formula(sample, **choices)
        except OverflowError:
            found = "it is too large for a number"
        return Measured(nan, found) if isinstance(found, str) else Measured(float(found))


def metric(least: int = 2, relative: bool = False) -> Callable[[Formula], Metric]:
    """Make a metric of a formula."""
    return lambda formula: Metric(formula, least, relative)


def as_column(name: str, values: npt.ArrayLike) -> FloatArray:
    """*values* as one column of floats. Raises DataError where they are none."""
    column = np.asarray(values, np.float64)
    if column.ndim != 1:
        raise DataError(f"{name} must be one column of numbers, was {column.shape}")
    return column


def undefined(returns: FloatArray, name: str = "return") -> str | None:
    """Why nothing can be measured of these returns, naming the first row that is no number; None if all is well."""
    if not len(returns):
        return "there are no returns"
    wrong = np.flatnonzero(~np.isfinite(returns))
    return f"{name} {wrong[0]} is {returns[wrong[0]]}" if len(wrong) else None


def per_period(rate: float, periods: float, name: str = "rate") -> float:
    """A yearly *rate* as (1 + rate)^(1/periods) - 1.

    Raises DataError unless the rate is above -1 and there are periods in a year.
    """
    if not 0.0 < periods < inf:
        raise DataError(f"periods must be above 0 a year, was {periods!r}")
    if not -1.0 < rate < inf:
        raise DataError(f"{name} must be above -1 a year, was {rate!r}")
    return float((1.0 + rate) ** (1.0 / periods) - 1.0)


def wealth(returns: FloatArray) -> FloatArray:
    """What 1 becomes: (N + 1,), the 1 itself first."""
    return np.concatenate(([1.0], np.cumprod(1.0 + returns)))


def _annual(returns: FloatArray, n: float) -> float | str:
    if (returns < -1.0).any():
        return f"return {int(np.argmax(returns < -1.0))} lost more than everything"
    left = float(np.prod(1.0 + returns))
    return float(left ** (n / len(returns))) - 1.0


# --- Return and risk


@metric(least=1)
def cumulative_return(x: Sample) -> float | str:
    """prod(1 + r) - 1."""
    return float(np.prod(1.0 + x.r)) - 1.0


@metric(least=1)
def annual_return(x: Sample) -> float | str:
    """prod(1 + r)^(n / N) - 1: compounded, by the count of sessions."""
    return _annual(x.r, x.n)


@metric(least=1)
def cagr(x: Sample, days: float = nan) -> float | str:
    """prod(1 + r)^(365.25 / days) - 1: compounded, by the calendar, over the days from the first bar's open to the last one's close."""
    if not days > 0.0:
        return "it needs the calendar days that the returns cover"
    return _annual(x.r, 365.25 * len(x.r) / days)


@metric()
def volatility(x: Sample) -> float | str:
    """std(r, ddof 1) sqrt(n)."""
    return x.std(x.r) * sqrt(x.n)


@metric()
def downside_risk(x: Sample, mar: float = 0.0) -> float | str:
    """sqrt(mean(min(r - mar, 0)^2)) sqrt(n), the mean over all N returns, gains counting as 0.

    Source: Sortino and Price (1994), "Performance measurement in a downside risk framework".
    """
    return x.no_less(sqrt(float(np.mean(x.below(mar) ** 2)))) * sqrt(x.n)


@metric()
def skew(x: Sample) -> float | str:
    """m3 / m2^(3/2) of central moments over N (biased, as in scipy)."""
    centred = x.r - x.r.mean()
    if x.std(x.r) == 0.0:
        return "the returns do not vary"
    return float(np.mean(centred**3) / np.mean(centred**2) ** 1.5)


@metric()
def kurtosis(x: Sample) -> float | str:
    """m4 / m2^2 - 3 of central moments over N: excess kurtosis, 0 for a normal distribution (biased, as in scipy)."""
    centred = x.r - x.r.mean()
    if x.std(x.r) == 0.0:
        return "the returns do not vary"
    return float(np.mean(centred**4) / np.mean(centred**2) ** 2) - 3.0


@metric(least=1)
def var_historical(x: Sample) -> float | str:
    """The 5th percentile of r, interpolated linearly. A return: a loss is negative."""
    return risk.var_historical(x.r)


@metric()
def var_normal(x: Sample) -> float | str:
    """mean(r) + z std(r, ddof 1), z the normal 5 % quantile, -1.645. A return: a loss is negative."""
    return risk.var_normal(x.r)


@metric(least=1)
def expected_shortfall(x: Sample) -> float | str:
    """The mean of the worst floor((N - 1) 5 %) + 1 returns. A return: a loss is negative."""
    return risk.expected_shortfall(x.r)


@metric()
def expected_shortfall_normal(x: Sample) -> float | str:
    """mean(r) - std(r, ddof 1) phi(z) / 5 %, z the normal 5 % quantile and phi the normal density. A return: a loss is negative.

    Source: McNeil, Frey and Embrechts (2015), "Quantitative Risk Management", example 2.14.
    """
    return risk.expected_shortfall_normal(x.r)


@metric()
def tail_ratio(x: Sample) -> float | str:
    """abs(95th percentile) / abs(5th percentile) of r, interpolated linearly."""
    low, high = np.percentile(x.r, [100.0 * TAIL, 100.0 - 100.0 * TAIL])
    return abs(high) / abs(low) if x.no_less(abs(low)) > 0.0 else "the 5th percentile is 0"


@metric()
def stability(x: Sample) -> float | str:
    """R squared of the sum of log(1 + r) on time: 1 is a straight line on a log scale."""
    if (x.r <= -1.0).any():
        return f"return {int(np.argmax(x.r <= -1.0))} lost everything, which has no logarithm"
    path = np.cumsum(np.log1p(x.r))
    if x.std(path) == 0.0:
        return "the cumulative return does not vary"
    return float(np.corrcoef(np.arange(len(path)), path)[0, 1]) ** 2


# --- Ratios


@metric()
def sharpe(x: Sample) -> float | str:
    """mean(r - rf) / std(r - rf, ddof 1) sqrt(n).

    Source: Sharpe (1994), "The Sharpe ratio".
    """
    spread = x.std(x.excess)
    return float(x.excess.mean()) / spread * sqrt(x.n) if spread > 0.0 else "the returns do not vary"


@metric()
def sharpe_lo(x: Sample) -> float | str:
    """mean(r - rf) / std(r - rf, ddof 1) times n / sqrt(n + 2 sum of (n - k) rho_k for k = 1 to n - 1): corrected for autocorrelation.

    rho_k is the sample autocorrelation at lag k, with the mean and the variance of all N returns. Without autocorrelation it is the Sharpe ratio.
    It reaches over a year of lags, so that it needs more than a year of returns and is noisy on a few: by about sqrt(n / 3 N) of itself.
    Source: Lo (2002), "The statistics of Sharpe ratios", equation 20.
    """
    lags = round(x.n)
    if len(x.r) <= lags:
        return f"its autocorrelations reach over a year: it needs more than {lags} returns, and there are {len(x.r)}"
    spread = x.std(x.excess)
    if spread == 0.0:
        return "the returns do not vary"
    centred = x.r - x.r.mean()
    rho = np.array([centred[k:] @ centred[:-k] for k in range(1, lags)]) / (centred @ centred)
    scale = lags + 2.0 * float(np.sum((lags - np.arange(1, lags)) * rho))
    # With these autocorrelations the sum is the variance of a sum, so it is never below 0; at 0 the year as a whole does not vary.
    return float(x.excess.mean()) / spread * lags / sqrt(scale) if scale > 1e-12 * lags else "the returns of a whole year do not vary"


@metric()
def sortino(x: Sample, mar: float = 0.0) -> float | str:
    """mean(r - mar) n / sqrt(n mean(min(r - mar, 0)^2)), the mean under the root over all N returns, gains counting as 0.

    Source: Sortino and Price (1994), "Performance measurement in a downside risk framework".
    """
    risk = x.no_less(sqrt(float(np.mean(x.below(mar) ** 2))))
    if risk == 0.0:
        return "no return is below the minimum acceptable one"
    return float(np.mean(x.r - per_period(mar, x.n, "mar"))) / risk * sqrt(x.n)


@metric(least=1)
def max_drawdown(x: Sample) -> float | str:
    """min(V / max of V so far - 1) at session closes, the starting capital counting as a peak. A loss is negative."""
    path = wealth(x.r)
    return float(np.min(path / np.maximum.accumulate(path))) - 1.0


@metric()
def calmar(x: Sample) -> float | str:
    """annual return / abs(max drawdown).

    Source: Young (1991), "Calmar ratio: a smoother tool"; here over the whole run instead of three years.
    """
    annual, worst = _annual(x.r, x.n), max_drawdown(x.r)
    if isinstance(annual, str):
        return annual
    return annual / abs(worst) if x.no_less(abs(worst)) > 0.0 else "equity never fell"


@metric()
def omega(x: Sample, mar: float = 0.0) -> float | str:
    """sum(max(r - mar, 0)) / sum(max(mar - r, 0)).

    Source: Keating and Shadwick (2002), "A universal performance measure".
    """
    above = x.r - per_period(mar, x.n, "mar")
    lost = x.no_less(float(-np.minimum(above, 0.0).sum()))
    return float(np.maximum(above, 0.0).sum()) / lost if lost > 0.0 else "no return is below the minimum acceptable one"


# --- Against a benchmark


def _slope(x: Sample) -> float | str:
    spread = x.std(x.m)
    if spread == 0.0:
        return "the benchmark does not vary"
    return float(np.cov(x.r, x.m, ddof=1)[0, 1]) / spread**2


@metric(relative=True)
def beta(x: Sample) -> float | str:
    """cov(r - rf, m - rf) / var(m - rf)."""
    return _slope(x)


@metric(relative=True)
def alpha(x: Sample) -> float | str:
    """(1 + mean((r - rf) - beta (m - rf)))^n - 1.

    Source: Jensen (1968), "The performance of mutual funds in the period 1945-1964", annualised by compounding.
    """
    slope = _slope(x)
    if isinstance(slope, str):
        return slope
    left = 1.0 + float(np.mean(x.excess - slope * (x.m - x.rf)))
    return float(left**x.n) - 1.0 if left >= 0.0 else "it lost more than everything in a session"


@metric(relative=True)
def tracking_error(x: Sample) -> float | str:
    """std(r - m, ddof 1) sqrt(n)."""
    return x.std(x.active) * sqrt(x.n)


@metric(relative=True)
def information_ratio(x: Sample) -> float | str:
    """mean(r - m) / std(r - m, ddof 1) sqrt(n).

    Source: Grinold and Kahn (2000), "Active Portfolio Management".
    """
    spread = x.std(x.active)
    return float(x.active.mean()) / spread * sqrt(x.n) if spread > 0.0 else "the returns do not differ from the benchmark's in a way that varies"


@metric(relative=True)
def treynor(x: Sample) -> float | str:
    """mean(r - rf) n / beta.

    Source: Treynor (1965), "How to rate management of investment funds".
    """
    slope = _slope(x)
    if isinstance(slope, str):
        return slope
    return float(x.excess.mean()) * x.n / slope if abs(slope) > 1e-12 else "beta is 0"


def _capture(x: Sample, chosen: npt.NDArray[np.bool_], direction: str) -> float | str:
    if not chosen.any():
        return f"the benchmark never {direction}"
    ours, its = _annual(x.r[chosen], x.n), _annual(x.m[chosen], x.n)
    if isinstance(ours, str) or isinstance(its, str):
        return ours if isinstance(ours, str) else f"of the benchmark {its}"
    return ours / its


@metric(relative=True)
def up_capture(x: Sample) -> float | str:
    """annual return of r / annual return of m, both over the periods in which m > 0."""
    return _capture(x, x.m > 0.0, "rose")


@metric(relative=True)
def down_capture(x: Sample) -> float | str:
    """annual return of r / annual return of m, both over the periods in which m < 0."""
    return _capture(x, x.m < 0.0, "fell")


@metric(least=1, relative=True)
def batting_average(x: Sample) -> float | str:
    """The share of periods with r > m."""
    return float(np.mean(x.r > x.m))


METRICS: Final[tuple[Metric, ...]] = (
    cumulative_return,
    annual_return,
    cagr,
    volatility,
    sharpe,
    sharpe_lo,
    sortino,
    calmar,
    omega,
    max_drawdown,
    downside_risk,
    var_historical,
    var_normal,
    expected_shortfall,
    expected_shortfall_normal,
    tail_ratio,
    skew,
    kurtosis,
    stability,
    beta,
    alpha,
    tracking_error,
    information_ratio,
    treynor,
    up_capture,
    down_capture,
    batting_average,
)


def summary(
    returns: npt.ArrayLike, benchmark: npt.ArrayLike | None = None, rf: float = 0.0, periods: float = 252, days: float = nan
) -> dict[str, Measured]:
    """Every metric by name, with the reason for each that is undefined; those against a benchmark only where there is one."""
    wanted = [x for x in METRICS if benchmark is not None or not x.relative]
    return {x.name: x.measured(returns, benchmark, rf, periods, **({"days": days} if x is cagr else {})) for x in wanted}


# --- From equity


class Drawdown(NamedTuple):
    """A fall of equity below its peak: *start*, *trough* and *recovery* are indices of V, where 0 is the starting capital.

    *depth* is V[trough] / V[start] - 1. An open one has no recovery yet. *duration* counts sessions from the peak to the recovery, or to the end.
    """

    depth: float
    start: int
    trough: int
    recovery: int | None
    duration: int

    @property
    def open(self) -> bool:
        """Whether equity has not come back to its peak."""
        return self.recovery is None


def drawdowns(equity: npt.ArrayLike, count: int = 5) -> tuple[Drawdown, ...]:
    """The *count* deepest drawdowns, the deepest first, of *equity* (N + 1,), which begins with the starting capital.

    A drawdown starts at the last row of a peak and ends at the first row that is as high again. Raises DataError where equity is not a number or
    does not begin above 0.
    """
    path = as_column("equity", equity)
    wrong = np.flatnonzero(~np.isfinite(path))
    if len(wrong):
        raise DataError(f"equity {wrong[0]} must be a number, was {path[wrong[0]]}")
    if len(path) and not path[0] > 0.0:
        raise DataError(f"equity must begin with a capital above 0, was {path[0]}")
    peaks = np.maximum.accumulate(path)
    under = np.concatenate(([False], path < peaks, [False]))
    edges = np.flatnonzero(under[1:] != under[:-1])
    found = []
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        trough = first + int(np.argmin(path[first:end]))
        recovery = end if end < len(path) else None
        duration = (end if recovery is not None else len(path) - 1) - (first - 1)
        found.append(Drawdown(float(path[trough] / peaks[trough]) - 1.0, first - 1, trough, recovery, duration))
    return tuple(sorted(found, key=lambda x: (x.depth, x.start))[:count])


def session_ends(sessions: IntArray) -> IntArray:
    """The last row of each session: *sessions* (rows,) are days since 1970."""
    days = np.asarray(sessions)
    return np.flatnonzero(np.append(days[1:] != days[:-1], [True])).astype(np.int64) if len(days) else np.empty(0, np.int64)


def session_returns(equity: npt.ArrayLike, sessions: IntArray, cash_start: float) -> FloatArray:
    """One return a session at any bar interval: V at a session's last bar over V at the one before, *cash_start* before the first, - 1.

    *equity* and *sessions* are (rows,). A return on equity that is not above 0 is NaN: nothing was left to earn it on.
    """
    path = as_column("equity", equity)
    if len(path) != len(sessions):
        raise DataError(f"equity must have {len(sessions)} values, one for each bar's session, had {len(path)}")
    closes = np.concatenate(([cash_start], path[session_ends(sessions)]))
    returns = np.full(len(closes) - 1, nan)
    np.divide(closes[1:], closes[:-1], out=returns, where=closes[:-1] > 0.0)
    return returns - 1.0


def periods_of(sessions: IntArray) -> int:
    """Sessions in a year: 365 where Saturdays and Sundays are among them, as in markets that never close, else 252; as days since 1970."""
    # 1970-01-01 was a Thursday, so that 2 and 3 are a weekend.
    weekdays = np.asarray(sessions) % 7
    return 365 if bool((weekdays == 2).any() and (weekdays == 3).any()) else 252


def calendar_returns(equity: npt.ArrayLike, sessions: IntArray, cash_start: float, unit: Literal["M", "Y"]) -> dict[int, float]:
    """One return a month ("M", counted from January 1970) or a year ("Y", counted from 1970), oldest first, as `session_returns` are made.

    The first and the last may be parts of one.
    """
    periods = np.asarray(sessions).astype("datetime64[D]").astype(f"datetime64[{unit}]").astype(np.int64)
    return dict(zip(periods[session_ends(periods)].tolist(), session_returns(equity, periods, cash_start).tolist(), strict=True))


def measures(result: Result, equity: FloatArray | None = None, benchmark: FloatArray | None = None) -> dict[str, Measured]:
    """Every metric of a run: session returns, no risk-free rate, the sessions in a year as its calendar shows them.

    *equity* (default: the run's own) and *benchmark* are equity at the close of each of the run's bars, (rows,). Without a benchmark there are no
    metrics against one.
    """
    tape, rows = result.tape, result.rows
    sessions = tape.sessions[:rows]
    days = float(tape.closed_at[rows - 1] - tape.opened_at[0]) / 86_400e9 if rows else nan
    r, m = (
        None if path is None else session_returns(path[:rows], sessions, result.cash_start)
        for path in (result.equity if equity is None else equity, benchmark)
    )
    assert r is not None
    return summary(r, m, periods=periods_of(sessions), days=days)
