"""How instruments move together: estimates of the covariance matrix of returns, and what they are worth.

An estimator takes *returns*, (rows, instruments), simple returns of one period each, oldest first, and gives their covariance per period,
(instruments, instruments): symmetric, without negative eigenvalues but for rounding, and never annualised. All of the rows are used: pass what has
closed, or let `rolling` do so. An estimator raises DataError for anything but a table, for a return that is no number, and for too few rows.

Each says whether it divides squares by the rows less one, as all else here does (ddof 1), or by the rows (ddof 0), as scikit-learn does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, log, nan, pi, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, ScenarioError

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

Estimator = Callable[["FloatArray"], "FloatArray"]
"""Returns in, (rows, instruments), covariance out, (instruments, instruments)."""
Weighting = Callable[["FloatArray"], "FloatArray"]
"""Covariance in, weights out, (instruments,): a sizer."""

ROOT5: Final = sqrt(5.0)
LEAST_NONLINEAR: Final = 13


# --- Estimators


def sample(returns: npt.ArrayLike, ddof: int = 1) -> FloatArray:
    """The sample covariance: products of what is left after the mean, summed, over the rows less *ddof*; 0 is scikit-learn's EmpiricalCovariance."""
    if ddof not in (0, 1):
        raise ScenarioError(f"covariance: ddof must be 0 or 1, was {ddof!r}")
    return _products(_centred(_rows(returns)), ddof)


def ewma(returns: npt.ArrayLike, decay: float | None = None, halflife: float | None = None) -> FloatArray:
    """Exponentially weighted products: the last row weighs 1, each before it *decay* times the next, or half after *halflife* rows; one of the two.

    Weights are scaled to sum to 1, and the mean is taken to be 0, which over a few days of daily returns is nearer than an estimate. The usual
    decay of daily returns is 0.94. Source: J.P. Morgan and Reuters, RiskMetrics technical document (1996), section 5.2.
    """
    if (decay is None) == (halflife is None):
        raise ScenarioError(f"covariance: ewma takes either a decay or a halflife, was given decay {decay!r} and halflife {halflife!r}")
    if halflife is not None:
        if not 0.0 < halflife < inf:
            raise ScenarioError(f"covariance: halflife must be a number of rows above 0, was {halflife!r}")
        decay = 0.5 ** (1.0 / halflife)
    assert decay is not None
    if not 0.0 < decay <= 1.0:
        raise ScenarioError(f"covariance: decay must be above 0 and at most 1, was {decay!r}")
    x = _rows(returns, 1)
    weights = decay ** np.arange(len(x) - 1.0, -1.0, -1.0)
    return _products(x * np.sqrt(weights / weights.sum())[:, None] * sqrt(len(x)), 0)


def ledoit_wolf(returns: npt.ArrayLike) -> FloatArray:
    """The sample covariance (ddof 0) drawn linearly towards a multiple of the identity, as far as minimises the expected squared error.

    It is scikit-learn's LedoitWolf. Source: Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices".
    """
    x = _centred(_rows(returns))
    n, covariance = len(x), _products(x, 0)
    # How far the products of single rows scatter about their mean, the covariance: its squared error, over the rows.
    error = float(((x**2).sum(axis=1) ** 2).sum()) / n**2 - float((covariance**2).sum()) / n
    return _drawn(covariance, error)


def oas(returns: npt.ArrayLike) -> FloatArray:
    """The sample covariance (ddof 0) drawn linearly towards a multiple of the identity, as far as is best if returns are normal.

    It is scikit-learn's OAS, which leaves out the terms in 2 / instruments of the source: Chen, Wiesel, Eldar and Hero (2010), "Shrinkage algorithms
    for MMSE covariance estimation", equation 23.
    """
    covariance = _products(_centred(_rows(returns)), 0)
    error = (float((covariance**2).sum()) + float(np.trace(covariance)) ** 2) / (len(np.asarray(returns)) + 1)
    return _drawn(covariance, error)


def nonlinear_shrinkage(returns: npt.ArrayLike) -> FloatArray:
    """Sample eigenvectors (ddof 1) with each eigenvalue moved to what it is worth in large samples: small ones up, large ones down.

    The spectral density and its Hilbert transform come from an Epanechnikov kernel with bandwidth n^(-1/3) in proportion to each eigenvalue; n is the
    rows less one, for the mean. There may be more instruments than rows: the eigenvalues that are 0 for want of rows are then raised to one level.
    Where instruments are constant or combine to nothing, which rows do not explain, that combination keeps its variance of 0 and the others are
    treated alone. At least 13 rows. Source: Ledoit and Wolf (2020), "Analytical nonlinear shrinkage of large-dimensional covariance matrices",
    equations 4.3 to 4.9 and appendix C.
    """
    table = _rows(returns, LEAST_NONLINEAR)
    n, width = len(table) - 1, table.shape[1]
    values, vectors = np.linalg.eigh(_products(_centred(table), 1))
    floor = max(values[-1] * np.finfo(np.float64).eps * max(n, width), (1e-12 * float(np.abs(table).max())) ** 2)
    rank = int((values > floor).sum())
    if not rank:
        return np.zeros((width, width))
    p = width if rank == min(width, n) else rank
    known, h, shrunk = values[-rank:], n ** (-1.0 / 3.0), np.zeros(width)

    scales = h * known
    distances = (known[:, None] - known) / scales
    density = (0.75 / ROOT5 * np.maximum(1.0 - distances**2 / 5.0, 0.0) / scales).mean(axis=1)
    hilbert = (_hilbert(distances) / scales).mean(axis=1)
    if p <= n:
        c = p / n
        shrunk[-rank:] = known / ((pi * c * known * density) ** 2 + (1.0 - c - pi * c * known * hilbert) ** 2)
    else:
        reach = log((1.0 + ROOT5 * h) / (1.0 - ROOT5 * h))
        at_zero = (0.3 / h**2 + 0.75 / ROOT5 / h * (1.0 - 0.2 / h**2) * reach) * float((1.0 / known).mean()) / pi
        shrunk[: p - n] = n / (pi * (p - n) * at_zero)
        shrunk[-rank:] = 1.0 / (pi**2 * known * (density**2 + hilbert**2))
    return _symmetric((vectors * shrunk) @ vectors.T)


def marchenko_pastur(returns: npt.ArrayLike) -> FloatArray:
    """The sample correlation with the eigenvalues that noise alone explains all set to their average; the sample deviations (ddof 1) are kept.

    Noise reaches to (1 + sqrt(instruments / rows))^2, the edge of the Marchenko-Pastur law with variance 1. The cleaned matrix is scaled back to a
    unit diagonal. Raises DataError for an instrument that does not vary: it has no correlation. Source: Laloux, Cizeau, Bouchaud and Potters (2000),
    "Random matrix theory and financial correlations".
    """
    x = _rows(returns)
    covariance = _products(_centred(x), 1)
    deviations = np.sqrt(np.diagonal(covariance))
    for still in np.flatnonzero(deviations <= 1e-12 * np.abs(x).max(axis=0)):
        raise DataError(f"covariance: instrument {still} is {x[0, still]} in all {len(x)} rows, which has no correlation; leave it out")
    values, vectors = np.linalg.eigh(covariance / np.outer(deviations, deviations))
    noise = values < (1.0 + sqrt(x.shape[1] / len(x))) ** 2
    # Eigenvalues average 1, so that there always is noise; where it is nothing, its mean is rounding and may be below 0.
    values[noise] = max(float(values[noise].mean()), 0.0)
    cleaned = (vectors * values) @ vectors.T
    scales = deviations / np.sqrt(np.diagonal(cleaned))
    return _symmetric(cleaned * np.outer(scales, scales))


def factor_model(returns: npt.ArrayLike, factors: npt.ArrayLike | None = None, k: int | None = None) -> FloatArray:
    """What common factors explain, and on the diagonal each instrument's own variance besides: loadings cov(factors) loadings' + diag(specific).

    Either *factors* are given, returns of (rows, factors) or (rows,), and loadings are least squares with an intercept; or the *k* principal
    components of the sample covariance are the factors. All parts are of ddof 1, so that the diagonal is the sample variance.
    """
    x = _rows(returns)
    covariance = _products(_centred(x), 1)
    if (factors is None) == (k is None):
        raise ScenarioError("covariance: factor_model takes either factors, or a number k of principal components")
    if factors is None:
        most = min(len(x) - 1, x.shape[1])
        if k is None or not 1 <= k <= most:
            raise ScenarioError(f"covariance: k must be from 1 to {most}, the components that {x.shape} returns have, was {k!r}")
        values, vectors = np.linalg.eigh(covariance)
        common = _symmetric((vectors[:, -k:] * np.maximum(values[-k:], 0.0)) @ vectors[:, -k:].T)
    else:
        given = np.asarray(factors, dtype=np.float64)
        f = _rows(given[:, None] if given.ndim == 1 else given, what="factors")
        if len(f) != len(x):
            raise DataError(f"covariance: factors must have {len(x)} rows, as the returns have, had {len(f)}")
        if not len(x) > f.shape[1] + 1:
            raise DataError(f"covariance: {f.shape[1]} factors need at least {f.shape[1] + 2} rows, and there are {len(x)}")
        f = _centred(f)
        common = _products(f @ np.linalg.lstsq(f, _centred(x), rcond=None)[0], 1)
    # What is left of each instrument does not correlate with what is common, so that both variances add up to its own.
    np.fill_diagonal(common, np.diagonal(covariance))
    return common


# --- Through time


def rolling(returns: npt.ArrayLike, window: int, estimator: Estimator, every: int = 1) -> Iterator[tuple[int, FloatArray]]:
    """Each row with the covariance of the *window* rows that end with it, which is what was known at its close; one in *every* rows, from the first.

    One matrix at a time: those of 500 instruments over ten years are 5 GB. Raises DataError as the estimators do, at once and with the row as it
    counts in *returns*, and ScenarioError for a window or step that cannot be meant.
    """
    x = _rows(returns, 1)
    if not 1 <= window <= len(x):
        raise ScenarioError(f"covariance: window must be from 1 to the {len(x)} rows that there are, was {window!r}")
    if every < 1:
        raise ScenarioError(f"covariance: every must be at least 1 row, was {every!r}")
    return ((end - 1, estimator(x[end - window : end])) for end in range(window, len(x) + 1, every))


class Diagnostics(NamedTuple):
    """What a covariance matrix is like: *condition* is its largest eigenvalue over its smallest, infinite if that is 0 (to rounding).

    *effective_rank* is e to the entropy of the eigenvalues as shares of their sum: the instruments for an identity, 1 where all move as one. NaN for
    a matrix of zeros. Source: Roy and Vetterli (2007), "The effective rank: a measure of effective dimensionality".
    """

    condition: float
    effective_rank: float


def diagnostics(covariance: npt.ArrayLike) -> Diagnostics:
    """`Diagnostics` of a *covariance*, (instruments, instruments). Raises DataError for one that is not square, symmetric and of numbers."""
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix) or not np.isfinite(matrix).all():
        raise DataError(f"covariance: a matrix must be square and of numbers only, was {matrix.shape}")
    if not np.abs(matrix - matrix.T).max() <= 1e-10 * np.abs(matrix).max():
        raise DataError("covariance: a matrix must be symmetric; take (matrix + matrix.T) / 2 if that is what is meant")
    values = np.linalg.eigvalsh(matrix)
    rounding = np.finfo(np.float64).eps * len(values) * float(np.abs(values).max())
    if values[0] < -rounding:
        raise DataError(f"covariance: a matrix must have no eigenvalue below 0, had {values[0]}")
    if not rounding > 0.0:
        return Diagnostics(nan, nan)
    shares = values[values > rounding] / values[values > rounding].sum()
    condition = float(values[-1] / values[0]) if values[0] > rounding else inf
    return Diagnostics(condition, float(np.exp(-(shares * np.log(shares)).sum())))


class ForecastBias(NamedTuple):
    """How a book's volatility came out against what was predicted of it, per period, over *rows* returns that came after.

    *realised* is the deviation of the book's returns (ddof 1); *predicted* the root of the mean predicted variance; *bias* the deviation (ddof 1) of
    returns that are each divided by the volatility predicted for them: 1 is right, above 1 the risk was underestimated. NaN where a book was
    predicted to have no risk at all. Source of the bias: Connor, Goldberg and Korajczyk (2010), "Portfolio Risk Analysis", section 14.
    """

    realised: float
    predicted: float
    bias: float
    rows: int


def forecast_bias(
    returns: npt.ArrayLike, window: int, estimator: Estimator, weights: npt.ArrayLike | Weighting | None = None, every: int = 1
) -> ForecastBias:
    """Predicted against realised volatility out of sample: each matrix judges the returns of the rows after it, up to the next, *every* rows on.

    *weights*, (instruments,), are the book's, equal ones by default, or a sizer that is called with each matrix. Only a sizer that looks for little
    risk shows what errors of the matrix it finds. Raises what `rolling` does, and DataError where fewer than two returns follow the first window.
    """
    x = _rows(returns, 1)
    if len(x) < window + 2:
        raise DataError(f"covariance: a forecast over a window of {window!r} needs at least {window + 2} rows, and there are {len(x)}")
    fixed = None if callable(weights) else np.full(x.shape[1], 1.0 / x.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    if fixed is not None and (fixed.shape != x.shape[1:] or not np.isfinite(fixed).all()):
        raise DataError(f"covariance: weights must be {x.shape[1]} numbers, one an instrument, were {fixed.shape}")
    earned, variances = [], []
    for row, matrix in rolling(x[:-1], window, estimator, every):
        book = weights(matrix) if callable(weights) else fixed
        assert book is not None
        after = x[row + 1 : row + 1 + every] @ book
        earned.append(after)
        variances.append(np.full(len(after), max(float(book @ matrix @ book), 0.0)))
    r, predicted = np.concatenate(earned), np.concatenate(variances)
    bias = float((r / np.sqrt(predicted)).std(ddof=1)) if (predicted > 0.0).all() else nan
    return ForecastBias(float(r.std(ddof=1)), sqrt(float(predicted.mean())), bias, len(r))


# --- The pieces


def _rows(returns: npt.ArrayLike, least: int = 2, what: str = "returns") -> FloatArray:
    """Returns as (rows, instruments), all finite, at least so many rows."""
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise DataError(
            f"covariance: {what} must be (rows, instruments) with something in it, were {x.shape}; one instrument alone is returns[:, None]"
        )
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise DataError(f"covariance: {what} must be numbers, was {x[row, column]} in row {row}, column {column}; leave out what is not known")
    if len(x) < least:
        raise DataError(f"covariance: it needs at least {least} rows of {what}, and there are {len(x)}")
    return x


def _centred(x: FloatArray) -> FloatArray:
    centred: FloatArray = x - x.mean(axis=0)
    return centred


def _products(x: FloatArray, ddof: int) -> FloatArray:
    """Products of columns, summed over rows, over the rows less *ddof*. A matrix times its own transpose is symmetric to the last bit."""
    products: FloatArray = x.T @ x / (len(x) - ddof)
    return products


def _symmetric(matrix: FloatArray) -> FloatArray:
    """What rounding made of a symmetric matrix, symmetric again."""
    return (matrix + matrix.T) / 2.0


def _drawn(covariance: FloatArray, error: float) -> FloatArray:
    """A covariance drawn towards its mean variance times the identity, by its squared *error* over its squared distance from there, at most all the
    way.

    A distance of nothing is reached in any case.
    """
    target = np.eye(len(covariance)) * (np.trace(covariance) / len(covariance))
    distance = float(((covariance - target) ** 2).sum())
    share = min(max(error / distance, 0.0), 1.0) if distance > 0.0 else 1.0
    drawn: FloatArray = (1.0 - share) * covariance + share * target
    return drawn


def _hilbert(x: FloatArray) -> FloatArray:
    """The Hilbert transform of the Epanechnikov kernel of variance 1."""
    edge, far = np.abs(x) == ROOT5, np.abs(x) > 20.0
    near = np.where(edge | far, 0.0, x)
    whole = -0.3 / pi * np.where(edge, x, near)
    whole += np.where(edge, 0.0, 0.75 / (ROOT5 * pi) * (1.0 - near**2 / 5.0) * np.log(np.abs((ROOT5 - near) / (ROOT5 + near))))
    # Far out the two terms grow and cancel, to nothing but rounding for an eigenvalue far below the others; the kernel's moments do not.
    distant = np.where(far, x, inf)
    moments = sum(3.0 / ((2 * k + 1) * (2 * k + 3)) * (5.0 / distant**2) ** k for k in range(9))
    return np.where(far, -moments / (pi * distant), whole)
