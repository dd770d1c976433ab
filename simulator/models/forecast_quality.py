"""How good forecasts were, out of sample, with errors that know that returns over several rows overlap.

Statistics are taken a row at a time, across instruments, and then averaged over rows: instruments of one row move together, so that each row counts
once. Means have the standard error of Newey and West with Bartlett's weights: returns over *horizon* rows, observed at each, share all but one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, ScenarioError
from simulator.loop.randomness import stream
from simulator.models.forecasts import KINDS, means_by_row

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray
    from simulator.models.forecasts import Forecaster


class Estimate(NamedTuple):
    """A mean over rows, its standard error, and how many rows there were. NaN where there are too few."""

    value: float
    error: float
    rows: int

    @property
    def t(self) -> float:
        """The value in standard errors."""
        return self.value / self.error if self.error > 0.0 else nan


class ForecastQuality(NamedTuple):
    """How good forecasts were.

    *mse* is the mean squared error. *r2* is 1 - squared errors / squared targets: against a forecast of 0, as is usual for returns (Gu, Kelly and
    Xiu, 2020, "Empirical asset pricing via machine learning"); *r2_mean* is against the mean of what happened, as regressions have it. *gain* is by
    how much the squared error of a row was below that of a forecast of 0: its t is the honest one of *r2*. *ic* is the rank correlation across
    instruments, and *hits* the share of signs that were right, both by row.
    """

    mse: Estimate
    r2: float
    r2_mean: float
    gain: Estimate
    ic: Estimate
    hits: Estimate
    samples: int


def judge_forecasts(forecast: npt.ArrayLike, actual: npt.ArrayLike, horizon: int) -> ForecastQuality:
    """Judge *forecast* by *actual*, both (rows, instruments), where both are known. *horizon* is over how many rows the actual ones reach.

    For forecasts 2 P - 1 of classifiers, hits and ic mean something, and the errors do not. Raises DataError where nothing can be compared.
    """
    f, y = _both(forecast, actual)
    known = np.isfinite(f) & np.isfinite(y)
    if not known.any():
        raise DataError("forecasts: no forecast has come to its end, so there is nothing to judge")
    errors, squares = np.where(known, (y - f) ** 2, nan), np.where(known, y**2, nan)
    mean = y[known].mean()
    total, around = squares[known].sum(), ((y[known] - mean) ** 2).sum()
    right = np.where(known & (y != 0.0) & (f != 0.0), np.sign(f) == np.sign(y), nan)
    return ForecastQuality(
        mse=estimate(means_by_row(errors), horizon),
        r2=1.0 - errors[known].sum() / total if total > 0.0 else nan,
        r2_mean=1.0 - errors[known].sum() / around if around > 0.0 else nan,
        gain=estimate(means_by_row(squares - errors), horizon),
        ic=estimate(information_coefficients(f, y), horizon),
        hits=estimate(means_by_row(right), horizon),
        samples=int(known.sum()),
    )


def information_coefficients(forecast: npt.ArrayLike, actual: npt.ArrayLike) -> FloatArray:
    """The rank correlation (Spearman) across instruments of each row: (rows,), NaN where fewer than three are known or all are equal."""
    f, y = _both(forecast, actual)
    found = np.full(len(f), nan)
    for row in range(len(f)):
        known = np.isfinite(f[row]) & np.isfinite(y[row])
        if known.sum() >= 3:
            a, b = ranks(f[row, known]), ranks(y[row, known])
            spread = sqrt(float((a * a).sum()) * float((b * b).sum()))
            found[row] = float((a * b).sum()) / spread if spread > 0.0 else nan
    return found


def ranks(values: FloatArray) -> FloatArray:
    """Ranks around 0, equal ones in the middle of theirs."""
    ordered = np.sort(values)
    middle = 0.5 * (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right") - 1.0)
    around: FloatArray = np.asarray(middle - 0.5 * (len(values) - 1), dtype=np.float64)
    return around


def estimate(values: npt.ArrayLike, horizon: int = 1) -> Estimate:
    """The mean of *values* by row, (rows,), and its standard error: Newey and West (1987) with as many lags as twice the overlap.

    Twice, since Bartlett's weights count the last lags hardly at all. NaN rows are left out. No error where there are fewer than 3 x lags rows. Still
    it is somewhat small where few stretches do not overlap: for a signal that says nothing, over 1,500 rows, t has a deviation of 1.06, 1.19 and 1.34
    at horizons of 5, 21 and 63, where without lags it has 2.0, 4.2 and 6.9.
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    lags = 2 * (horizon - 1)
    if not len(x):
        return Estimate(nan, nan, 0)
    mean = float(x.mean())
    if len(x) < max(3 * lags, 3):
        return Estimate(mean, nan, len(x))
    return Estimate(mean, newey_west(x, lags), len(x))


def newey_west(values: FloatArray, lags: int) -> float:
    """The standard error of a mean whose terms are correlated up to *lags* rows apart."""
    away = values - values.mean()
    variance = float((away * away).sum())
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float((away[lag:] * away[:-lag]).sum())
    return sqrt(max(variance, 0.0)) / len(values)


def forecast_correlations(forecast: npt.ArrayLike, characteristics: Mapping[str, npt.ArrayLike], horizon: int = 1) -> dict[str, Estimate]:
    """What the forecast resembles: its mean rank correlation across instruments with each of *characteristics*, (rows, instruments) as known then.

    Such are the beta to the market, size, and momentum: a forecast that is one of them says nothing new. *horizon* is over how many rows they change.
    """
    return {name: estimate(information_coefficients(forecast, values), horizon) for name, values in characteristics.items()}


class Importance(NamedTuple):
    """By how much each feature matters: *value* and *deviation* over repeats, both (features,)."""

    value: FloatArray
    deviation: FloatArray


def permutation_importance(model: Forecaster, features: npt.ArrayLike, actual: npt.ArrayLike, repeats: int = 5, seed: int = 0) -> Importance:
    """By how much the mean squared error grows when a feature is shuffled among the samples, (samples, features) and (samples,).

    On samples that the model was not fitted to it says what helped; on others, what was learnt. For classifiers the error is that of the sign.
    """
    if repeats < 1:
        raise ScenarioError(f"permutation_importance: repeats must be at least 1, was {repeats}")
    x, y = np.asarray(features, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    known = np.isfinite(x).all(axis=1) & np.isfinite(y)
    x, y = x[known], y[known]
    if not len(y):
        raise DataError("permutation_importance: no sample is known whole")
    aim = np.sign(y) if KINDS[model.kind].classifies else y

    def error(of: FloatArray) -> float:
        return float(((aim - model.predict(of)) ** 2).mean())

    base, grown = error(x), np.empty((repeats, x.shape[1]))
    for feature in range(x.shape[1]):
        rng = stream(seed, "permutation importance", str(feature))
        for repeat in range(repeats):
            other = x.copy()
            other[:, feature] = x[rng.permutation(len(x)), feature]
            grown[repeat, feature] = error(other) - base
    return Importance(grown.mean(axis=0), grown.std(axis=0, ddof=1) if repeats > 1 else np.full(x.shape[1], nan))


def impurity_importance(model: Forecaster) -> FloatArray:
    """The share of the impurity, for regressions the variance, that splits on each feature took away while a forest or boosting was fitted.

    It is about the training sample, and likes features of many values. Raises ScenarioError for other models; of lines, look at the slopes.
    """
    shares = getattr(model.learner, "feature_importances_", None)
    if shares is None:
        raise ScenarioError(f"impurity_importance: a {model.kind} has no impurities: take permutation_importance")
    found = np.asarray(shares, dtype=np.float64)
    return found / found.sum() if found.sum() > 0.0 else found


def attribute_returns(
    weights: npt.ArrayLike, returns: npt.ArrayLike, features: npt.ArrayLike, groups: Mapping[str, Sequence[int]]
) -> dict[str, FloatArray]:
    """What a portfolio earned in each row, split over the groups of features that it leaned on, what all instruments share, and the residual.

    *weights* and *returns* are (rows, instruments), *features* (rows, instruments, features), *groups* the numbers of the features of each group.
    Returns are regressed across the instruments of each row on the features, standardised, and a constant ("market"); the portfolio's exposure times
    what a feature earned is the feature's part, and "residual" the rest. The parts of a row sum to weights x returns. Rows with too few instruments
    are residual whole. Source: Grinold and Kahn, Active Portfolio Management (2nd edition), chapter 17.
    """
    w, r, x = (np.asarray(given, dtype=np.float64) for given in (weights, returns, features))
    if w.shape != r.shape or x.shape[:2] != r.shape:
        raise DataError(
            f"attribute_returns: weights, returns and features must have the same rows and instruments, were {w.shape}, {r.shape}, {x.shape}"
        )
    parts = {name: np.zeros(len(r)) for name in (*groups, "market", "residual")}
    used = [feature for members in groups.values() for feature in members]
    if len(set(used)) != len(used) or set(groups) & {"market", "residual"}:
        raise ScenarioError("attribute_returns: a feature may be in one group only, and no group can be called 'market' or 'residual'")
    for row in range(len(r)):
        known = np.isfinite(r[row]) & np.isfinite(x[row]).all(axis=1) & np.isfinite(w[row])
        held = np.isfinite(r[row]) & np.isfinite(w[row])
        whole = float((w[row, held] * r[row, held]).sum())
        explained = 0.0
        if known.sum() > len(used) + 1:
            z = x[row][known][:, used]
            spread = z.std(axis=0)
            z = np.divide(z - z.mean(axis=0), spread, out=np.zeros_like(z), where=spread > 0.0)
            lean = np.column_stack([np.ones(len(z)), z])
            earned = np.linalg.lstsq(lean, r[row, known], rcond=None)[0]
            given = (w[row, known, None] * lean).sum(axis=0) * earned
            parts["market"][row] = given[0]
            for name, members in groups.items():
                parts[name][row] = sum(float(given[1 + used.index(feature)]) for feature in members)
            explained = float(given.sum())
        parts["residual"][row] = whole - explained
    return parts


def predicted_against_actual(forecast: npt.ArrayLike, actual: npt.ArrayLike, bins: int = 20) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean forecast, mean outcome, and its standard deviation of the mean, in *bins* of equally many samples by their forecast: each (bins,).

    What a plot of both should show: the cloud of single returns hides any line.
    """
    f, y = _both(forecast, actual)
    known = np.isfinite(f) & np.isfinite(y)
    f, y = f[known], y[known]
    if not 2 <= bins <= len(f) // 2:
        raise ScenarioError(f"predicted_against_actual: bins must be from 2 to half of the {len(f)} samples, was {bins}")
    cells = np.array_split(np.argsort(f, kind="stable"), bins)
    rows = [(f[cell].mean(), y[cell].mean(), y[cell].std(ddof=1) / sqrt(len(cell))) for cell in cells]
    means, outcomes, errors = np.array(rows).T
    return means, outcomes, errors


def _both(forecast: npt.ArrayLike, actual: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    f, y = np.asarray(forecast, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if f.shape != y.shape or f.ndim != 2:
        raise DataError(f"forecasts: forecast and outcome must both be (rows, instruments), were {f.shape} and {y.shape}")
    return f, y
