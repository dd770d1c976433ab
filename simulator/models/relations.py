"""Relations between series: hedge ratios, tests of unit roots and cointegration, mean reversion, who leads whom.

Each function takes what is known, oldest first and up to now, and takes all of it for the past: pass nothing that comes later. The tests are
statsmodels', with its lag options.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, nan, sqrt
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, ScenarioError

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray, IntArray

Criterion = Literal["AIC", "BIC", "t-stat"]

LEVELS: Final = ("1%", "5%", "10%")
SAME: Final = 100.0 * sqrt(np.finfo(np.float64).eps)
"""The share of a series that a regression must leave unexplained, or the two are one series: statsmodels' bound."""
STILL: Final = 1e-12
"""What varies by less than this share of its size is rounding."""


class UnitRoot(NamedTuple):
    """An augmented Dickey-Fuller test, in the order of statsmodels' adfuller: its null hypothesis is a unit root. *lags* is how many it used."""

    statistic: float
    pvalue: float
    lags: int
    rows: int
    critical: dict[str, float]


class Cointegration(NamedTuple):
    """An Engle-Granger test, in the order of statsmodels' coint: its null hypothesis is that no combination is stationary.

    *critical* are the values at 1, 5 and 10 %. The spread is y - intercept - x @ hedge_ratios, of which *hedge_ratios* are (others,).
    """

    statistic: float
    pvalue: float
    critical: FloatArray
    hedge_ratios: FloatArray
    intercept: float


@dataclass(frozen=True, slots=True, eq=False)
class Johansen:
    """Johansen's test of *n* series. *vectors*, (n, n), has a cointegrating vector in each column, of the largest eigenvalue first.

    *trace* and *largest* are his two statistics for at most 0, 1, ... relations, (n,), with critical values at 10, 5 and 1 %, (n, 3).
    """

    eigenvalues: FloatArray
    vectors: FloatArray
    trace: FloatArray
    trace_critical: FloatArray
    largest: FloatArray
    largest_critical: FloatArray

    def rank(self, level: Literal["10%", "5%", "1%"] = "5%") -> int:
        """How many relations the trace test finds: it stops at the first hypothesis that it cannot reject."""
        if level not in LEVELS:
            raise ScenarioError(f"johansen: level must be one of {', '.join(LEVELS)}, was {level!r}")
        rejected = self.trace > self.trace_critical[:, ("10%", "5%", "1%").index(level)]
        return len(rejected) if rejected.all() else int(rejected.argmin())


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """Ordinary least squares. *params*, their standard *errors*, *tvalues* and *pvalues* begin with the constant, if there is one."""

    params: FloatArray
    errors: FloatArray
    tvalues: FloatArray
    pvalues: FloatArray
    rsquared: float
    residuals: FloatArray
    rows: int


class LjungBox(NamedTuple):
    """Ljung and Box's test that there is no autocorrelation up to each of *lags*: all (lags,)."""

    lags: IntArray
    statistics: FloatArray
    pvalues: FloatArray


@dataclass(frozen=True, slots=True)
class OrnsteinUhlenbeck:
    """dx = speed (mean - x) dt + volatility dW, fitted; *deviation* is the standard deviation in the long run, *half_life* in units of the step.

    *slope* is that of each value on the one before, and *slope_error* its standard error. Where *why_not* says that the series does not revert, all
    else is None: there is no half-life to give.
    """

    slope: float
    slope_error: float
    rows: int
    why_not: str = ""
    speed: float | None = None
    mean: float | None = None
    volatility: float | None = None
    deviation: float | None = None
    half_life: float | None = None

    @property
    def reverts(self) -> bool:
        """Whether the series returns to a mean at all."""
        return not self.why_not


class LeadLag(NamedTuple):
    """The correlation of y with x *lags* rows earlier: where it is largest at a lag above 0, x leads y.

    *errors* are the standard errors where there is no relation and no autocorrelation.
    """

    lags: IntArray
    correlations: FloatArray
    errors: FloatArray

    @property
    def best(self) -> int:
        """The lag of the largest correlation, by size; of equals the nearest to 0."""
        order = np.lexsort((np.abs(self.lags), -np.abs(self.correlations)))
        return int(self.lags[order[0]])


def adf(
    x: npt.ArrayLike,
    maxlag: int | None = None,
    regression: Literal["c", "ct", "ctt", "n"] = "c",
    autolag: Criterion | None = "AIC",
) -> UnitRoot:
    """The augmented Dickey-Fuller test of *x*, (rows,), by statsmodels. With *autolag* None exactly *maxlag* lags are taken.

    Raises DataError for values that are no numbers or do not vary, and for too few rows.
    """
    from statsmodels.tsa.stattools import adfuller

    series = _series(x, "adf")
    check_lags("adf", maxlag, autolag)
    if not np.ptp(series) > 0.0:
        raise DataError(f"adf: the value is {series[0]} in all {len(series)} rows; a constant has no root to test")
    found = _asked("adf", adfuller, series, maxlag=maxlag, regression=regression, autolag=autolag, result_object=True)
    critical = {name: float(found.critical_values[name]) for name in LEVELS}
    return UnitRoot(float(found.statistic), float(found.pvalue), int(found.lags), int(found.nobs), critical)


def cointegration(
    y: npt.ArrayLike,
    x: npt.ArrayLike,
    trend: Literal["c", "ct", "ctt", "n"] = "c",
    maxlag: int | None = None,
    autolag: Criterion | None = "AIC",
) -> Cointegration:
    """Engle and Granger's test of *y*, (rows,), with *x*, (rows,) or (rows, others), by statsmodels. It matters which of them is y.

    With *autolag* None exactly *maxlag* lags are taken. Raises DataError for rows that do not fit, and for a y that x explains without a rest: those
    are one series, and nothing is to be earned between them.
    """
    from statsmodels.tsa.stattools import coint

    target, others = _pair(y, x, "cointegration")
    check_lags("cointegration", maxlag, autolag)
    hedge = _least_squares(_design(others, trend), target)
    residuals = target - _design(others, trend) @ hedge
    _distinct(target, residuals, "cointegration")
    statistic, pvalue, critical = _asked(
        "cointegration", coint, target, others, trend=trend, maxlag=maxlag, autolag=None if autolag is None else autolag.lower()
    )
    width = others.shape[1]
    return Cointegration(float(statistic), float(pvalue), np.array(critical, np.float64), hedge[:width], float(hedge[width]) if trend != "n" else 0.0)


def johansen(x: npt.ArrayLike, order: Literal[-1, 0, 1] = 0, lags: int = 1) -> Johansen:
    """Johansen's test of the columns of *x*, (rows, n), n up to 12, by statsmodels.

    *order* is that of the deterministic part: -1 none, 0 a constant, 1 a trend; *lags* are those of the differences. Raises DataError for
    columns that depend on each other exactly.
    """
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    columns = _columns(x, "johansen")
    rows, n = columns.shape
    if not 2 <= n <= 12:
        raise DataError(f"johansen: it tests 2 to 12 series, were {n}")
    if lags < 0 or order not in (-1, 0, 1):
        raise ScenarioError(f"johansen: order must be -1, 0 or 1 and lags at least 0, were {order!r} and {lags!r}")
    if rows < 2 * n * (lags + 1) + 10:
        raise DataError(f"johansen: {n} series with {lags} lags need at least {2 * n * (lags + 1) + 10} rows, were {rows}")
    changes = np.diff(columns, axis=0)
    scale = changes.std(axis=0)
    if not (scale > 0.0).all() or np.linalg.matrix_rank((changes - changes.mean(axis=0)) / scale, tol=1e-9 * sqrt(rows)) < n:
        raise DataError("johansen: a series is constant, or a combination of the others; leave it out")
    found = _asked("johansen", coint_johansen, columns, order, lags)
    return Johansen(*(np.array(part, np.float64) for part in (found.eig, found.evec, found.lr1, found.cvt, found.lr2, found.cvm)))


def ols(
    y: npt.ArrayLike,
    x: npt.ArrayLike,
    constant: bool = True,
    covariance: Literal["nonrobust", "HC0", "HC1", "HC2", "HC3", "HAC"] = "nonrobust",
    maxlags: int | None = None,
) -> Regression:
    """Least squares of *y*, (rows,), on *x*, (rows,) or (rows, k), by statsmodels, with a *constant* before x unless it is off.

    *covariance* is that of the parameters; HAC (Newey-West) takes *maxlags*, or, where None, 4 (rows / 100)^(2/9) rounded down.
    """
    from statsmodels.regression.linear_model import OLS

    target, others = _pair(y, x, "ols")
    design = np.column_stack([np.ones(len(target)), others]) if constant else others
    if len(target) <= design.shape[1]:
        raise DataError(f"ols: {design.shape[1]} parameters need more than {len(target)} rows")
    options: dict[str, Any] = {}
    if covariance == "HAC":
        options = {"cov_kwds": {"maxlags": int(4 * (len(target) / 100) ** (2 / 9)) if maxlags is None else maxlags}}
    elif maxlags is not None:
        raise ScenarioError(f"ols: maxlags is for covariance 'HAC', was {maxlags} with {covariance!r}")
    fit = _asked("ols", OLS(target, design).fit, cov_type=covariance, **options)
    params, errors, tvalues, pvalues = (np.array(part, np.float64) for part in (fit.params, fit.bse, fit.tvalues, fit.pvalues))
    return Regression(params, errors, tvalues, pvalues, float(fit.rsquared), np.array(fit.resid, np.float64), len(target))


def ljung_box(x: npt.ArrayLike, lags: int | npt.ArrayLike | None = None, model_df: int = 0) -> LjungBox:
    """The Ljung-Box test of *x*, (rows,), by statsmodels, at each lag from 1 to *lags*, at the lags given, or (None) to min(10, rows // 5).

    *model_df* is the number of parameters that were fitted before, if x are the residuals of a model: p-values of lags up to it are NaN.
    """
    from statsmodels.stats.diagnostic import acorr_ljungbox

    series = _series(x, "ljung_box")
    asked = None if lags is None else int(lags) if isinstance(lags, int | np.integer) else np.asarray(lags, np.int64)
    most = np.max(asked) if asked is not None else 1
    if not 1 <= (np.min(asked) if asked is not None else 1) <= most < len(series):
        raise ScenarioError(f"ljung_box: lags must be from 1 to {len(series) - 1}, one below the rows, were {lags!r}")
    table = _asked("ljung_box", acorr_ljungbox, series, lags=asked, model_df=model_df)
    return LjungBox(table.index.to_numpy(np.int64), table["lb_stat"].to_numpy(np.float64), table["lb_pvalue"].to_numpy(np.float64))


def rolling_hedge(y: npt.ArrayLike, x: npt.ArrayLike, window: int) -> FloatArray:
    """The constant and the slopes of *y* on *x* over the last *window* rows, this one included: (rows, 1 + k), NaN before there are so many.

    Each window is regressed by itself, so that a row depends on its own window alone. Windows in which x does not vary are NaN.
    """
    target, others = _pair(y, x, "rolling_hedge")
    rows, k = others.shape
    if window < k + 2:
        raise ScenarioError(f"rolling_hedge: window must be at least {k + 2}, was {window}")
    found = np.full((rows, 1 + k), nan)
    if rows < window:
        return found
    # (windows, k, window), each measured from its own mean.
    xs = np.lib.stride_tricks.sliding_window_view(others, window, axis=0)
    ys = np.lib.stride_tricks.sliding_window_view(target, window)
    for t in range(rows - window + 1):
        centre, level = xs[t].mean(axis=1), ys[t].mean()
        found[t + window - 1] = _slopes(
            (xs[t] - centre[:, None]) @ (xs[t] - centre[:, None]).T, (xs[t] - centre[:, None]) @ (ys[t] - level), centre, level
        )
    return found


def recursive_hedge(y: npt.ArrayLike, x: npt.ArrayLike, minimum: int = 30) -> FloatArray:
    """The constant and the slopes of *y* on *x* over all rows so far: (rows, 1 + k), NaN before there are *minimum*.

    Means and products are updated row by row (Welford), so that a row depends on nothing after it.
    """
    target, others = _pair(y, x, "recursive_hedge")
    rows, k = others.shape
    if minimum < k + 2:
        raise ScenarioError(f"recursive_hedge: minimum must be at least {k + 2}, was {minimum}")
    found = np.full((rows, 1 + k), nan)
    centre, level, squares, products = np.zeros(k), 0.0, np.zeros((k, k)), np.zeros(k)
    for t in range(rows):
        away = others[t] - centre
        centre = centre + away / (t + 1)
        up = target[t] - level
        level += up / (t + 1)
        squares += np.outer(away, others[t] - centre)
        products += away * (target[t] - level)
        if t + 1 >= minimum:
            found[t] = _slopes(squares, products, centre, level)
    return found


def ornstein_uhlenbeck(x: npt.ArrayLike, step: float = 1.0) -> OrnsteinUhlenbeck:
    """Fit an Ornstein-Uhlenbeck process to *x*, (rows,), observed every *step*, by its exact discretisation.

    x' = mean + slope (x - mean) + e with slope = exp(-speed step) and var e = volatility^2 (1 - slope^2) / (2 speed), by conditional maximum
    likelihood, which is least squares. Source: Tang and Chen (2009), "Parameter estimation and bias correction for diffusion processes"; the speed
    of so few reversions is overstated, as it says. Whether a slope below 1 means anything is for `adf` to say.
    """
    series = _series(x, "ornstein_uhlenbeck")
    if not step > 0.0:
        raise ScenarioError(f"ornstein_uhlenbeck: step must be above 0, was {step!r}")
    before, after = series[:-1], series[1:]
    n = len(before)
    if n < 4:
        raise DataError(f"ornstein_uhlenbeck: it needs at least 5 rows, were {len(series)}")
    away = before - before.mean()
    squares = float(away @ away)
    if not sqrt(squares / n) > STILL * float(np.abs(series).max()):
        return OrnsteinUhlenbeck(nan, nan, len(series), f"it is {series[0]:g} in all {len(series)} rows")
    slope = float(away @ (after - after.mean())) / squares
    intercept = float(after.mean()) - slope * float(before.mean())
    left = after - intercept - slope * before
    error = sqrt(float(left @ left) / (n - 2) / squares)
    if not 0.0 < slope < 1.0:
        why = "each value is on average at least as far from any mean as the one before" if slope >= 1.0 else "it swings to the other side each step"
        return OrnsteinUhlenbeck(slope, error, len(series), f"{why}: slope {slope:.4f}, and a process that reverts has one in (0, 1)")
    speed, mean, variance = -log(slope) / step, intercept / (1.0 - slope), float(left @ left) / n
    deviation = sqrt(variance / (1.0 - slope * slope))
    return OrnsteinUhlenbeck(slope, error, len(series), "", speed, mean, deviation * sqrt(2.0 * speed), deviation, log(2.0) / speed)


def lead_lag(x: npt.ArrayLike, y: npt.ArrayLike, most: int = 10) -> LeadLag:
    """The correlation of *y* with *x* shifted by -most to most rows, both (rows,), such as returns; rows in which either is NaN are left out.

    A correlation is NaN where one of the two does not vary.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise DataError(f"lead_lag: x and y must be columns of the same rows, were {first.shape} and {second.shape}")
    if not 0 <= most <= len(first) - 3:
        raise ScenarioError(f"lead_lag: most must be from 0 to {len(first) - 3}, three below the rows, was {most}")
    lags = np.arange(-most, most + 1)
    found, errors = np.full(len(lags), nan), np.full(len(lags), nan)
    for k, lag in enumerate(lags.tolist()):
        a, b = (first[: len(first) - lag], second[lag:]) if lag >= 0 else (first[-lag:], second[:lag])
        known = np.isfinite(a) & np.isfinite(b)
        a, b = a[known], b[known]
        if len(a) >= 3 and np.ptp(a) > 0.0 and np.ptp(b) > 0.0:
            found[k], errors[k] = np.corrcoef(a, b)[0, 1], 1.0 / sqrt(len(a))
    return LeadLag(lags, found, errors)


def _slopes(squares: FloatArray, products: FloatArray, centre: FloatArray, level: float) -> FloatArray:
    """The constant and the slopes from sums about the means; NaN where the others do not vary."""
    try:
        slopes = np.linalg.solve(squares, products) if (np.diagonal(squares) > 0.0).all() else np.full(len(centre), nan)
    except np.linalg.LinAlgError:
        slopes = np.full(len(centre), nan)
    return np.concatenate([[level - centre @ slopes], slopes])


def _design(others: FloatArray, trend: str) -> FloatArray:
    """The others, and after them the deterministic terms of *trend*, as statsmodels' coint has them."""
    rows = len(others)
    time = np.arange(1.0, rows + 1)
    terms: dict[str, list[FloatArray]] = {"n": [], "c": [np.ones(rows)], "ct": [np.ones(rows), time], "ctt": [np.ones(rows), time, time**2]}
    if trend not in terms:
        raise ScenarioError(f"cointegration: trend must be one of {', '.join(terms)}, was {trend!r}")
    return np.column_stack([others, *terms[trend]])


def _least_squares(design: FloatArray, target: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0], np.float64)


def _distinct(target: FloatArray, residuals: FloatArray, where: str) -> None:
    spread = target - target.mean()
    if not float(residuals @ residuals) > SAME * float(spread @ spread):
        raise DataError(f"{where}: the others explain y without a rest; they are the same series, which leaves nothing to test")


def check_lags(where: str, maxlag: int | None, autolag: str | None) -> None:
    """Refuse lags that there are none of."""
    if maxlag is not None and maxlag < 0:
        raise ScenarioError(f"{where}: maxlag must be at least 0, was {maxlag!r}")
    if autolag not in (None, "AIC", "BIC", "t-stat"):
        raise ScenarioError(f"{where}: autolag must be AIC, BIC, t-stat or None, was {autolag!r}")


def _series(x: npt.ArrayLike, where: str) -> FloatArray:
    series = np.asarray(x, np.float64)
    if series.ndim != 1 or len(series) < 3:
        raise DataError(f"{where}: x must be one column of at least 3 rows, was {series.shape}")
    return _finite(series, where)


def _columns(x: npt.ArrayLike, where: str) -> FloatArray:
    columns = np.asarray(x, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or 0 in columns.shape:
        raise DataError(f"{where}: x must be (rows, series) with something in it, was {columns.shape}")
    return _finite(columns, where)


def _pair(y: npt.ArrayLike, x: npt.ArrayLike, where: str) -> tuple[FloatArray, FloatArray]:
    target, others = _series(y, where), _columns(x, where)
    if len(target) != len(others):
        raise DataError(f"{where}: y and x must have the same rows, were {len(target)} and {len(others)}")
    return target, others


def _finite(x: FloatArray, where: str) -> FloatArray:
    wrong = np.argwhere(~np.isfinite(x))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise DataError(f"{where}: row {place[0]} is {x[place]}; leave out rows that are not known")
    return x


def _asked(where: str, function: Any, *args: Any, **options: Any) -> Any:
    """What statsmodels says, or what it has against it in the words of an error of ours."""
    try:
        return function(*args, **options)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise DataError(f"{where}: {error}") from error
