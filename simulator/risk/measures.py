"""What a book can lose: value at risk and expected shortfall, who contributes to them, whether forecasts of them held, and stress.

All are returns, so that a loss is negative: a value at risk of -0.02 says that all but a share *tail* of returns are better than -2 %. *returns* is
(rows,), or (rows, instruments) where a book's parts are asked for, simple returns of one period, oldest first; *weights*, (instruments,), are
multiples of equity, negative for a short position. What cannot be measured raises DataError, with the row and instrument.

For a VaR that follows the volatility of now, measure what `models.garch.garch_filter(returns).rescaled` gives instead of the returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import erfc, exp, inf, log, nan, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, nearest

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

TAIL: Final = 0.05
OTHERS: Final = "*"
"""In a shock: every symbol that it does not name."""
CRISES: Final = {
    "1987 crash": ("1987-10-13", "1987-10-19"),
    "dot-com bust": ("2000-03-24", "2002-10-09"),
    "Lehman": ("2008-09-12", "2009-03-09"),
    "downgrade of the US": ("2011-07-22", "2011-08-08"),
    "Covid": ("2020-02-19", "2020-03-23"),
    "rates of 2022": ("2022-01-03", "2022-10-12"),
}
"""Falls of the S&P 500, by the dates of the close before the first one and of the last one."""


# --- Value at risk and expected shortfall


def var_historical(returns: npt.ArrayLike, tail: float = TAIL) -> float:
    """The *tail* quantile of the returns, interpolated linearly."""
    return float(np.quantile(_column(returns, 1), _share(tail)))


def var_normal(returns: npt.ArrayLike, tail: float = TAIL) -> float:
    """mean + z deviation (ddof 1), z the normal *tail* quantile, -1.645 for 5 %. At least two returns."""
    r = _column(returns, 2)
    return float(r.mean()) + NormalDist().inv_cdf(_share(tail)) * _deviation(r)


def expected_shortfall(returns: npt.ArrayLike, tail: float = TAIL) -> float:
    """The mean of the worst floor((rows - 1) tail) + 1 returns."""
    r = _column(returns, 1)
    return float(np.sort(r)[: _worst(len(r), tail)].mean())


def expected_shortfall_normal(returns: npt.ArrayLike, tail: float = TAIL) -> float:
    """mean - deviation (ddof 1) phi(z) / tail, z the normal *tail* quantile and phi the normal density. At least two returns.

    Source: McNeil, Frey and Embrechts (2015), "Quantitative Risk Management", example 2.14.
    """
    r, normal = _column(returns, 2), NormalDist()
    return float(r.mean()) - _deviation(r) * normal.pdf(normal.inv_cdf(_share(tail))) / tail


# --- Who contributes


class Contributions(NamedTuple):
    """A measure of a book, *total*, in parts: *component*, (instruments,), sums to it; *marginal* is what one more unit of each weight would add.

    A component is a weight times its marginal. Source: Litterman (1996), "Hot spots and hedges"; Tasche (2000), "Risk contributions and performance
    measurement".
    """

    total: float
    marginal: FloatArray
    component: FloatArray


def volatility_contributions(weights: npt.ArrayLike, covariance: npt.ArrayLike) -> Contributions:
    """Of sqrt(w' C w), with the *covariance*, (instruments, instruments): marginals are C w over it.

    A book without risk has components of 0 and marginals of NaN: at 0 volatility has an edge and no slope.
    """
    c = as_covariance(covariance)
    w = as_vector("weights", weights, len(c))
    pull = c @ w
    total = sqrt(max(float(w @ pull), 0.0))
    if total == 0.0:
        return Contributions(0.0, np.full(len(w), nan), np.zeros(len(w)))
    return Contributions(total, pull / total, w * pull / total)


def var_normal_contributions(weights: npt.ArrayLike, mean: npt.ArrayLike, covariance: npt.ArrayLike, tail: float = TAIL) -> Contributions:
    """Of w' mean + z sqrt(w' C w), z the normal *tail* quantile: the VaR of a book whose instruments have these means and this covariance."""
    risk, z = volatility_contributions(weights, covariance), NormalDist().inv_cdf(_share(tail))
    m = as_vector("mean", mean, len(risk.component))
    w = np.asarray(weights, dtype=np.float64)
    return Contributions(float(w @ m) + z * risk.total, m + z * risk.marginal, w * m + z * risk.component)


def var_historical_contributions(weights: npt.ArrayLike, returns: npt.ArrayLike, tail: float = TAIL) -> Contributions:
    """Of the historical VaR of a book rebalanced to *weights* each period: what each earned in the one or two rows that it is read from."""
    r = _table(returns)
    w = as_vector("weights", weights, r.shape[1])
    order = np.argsort(r @ w, kind="stable")
    place = _share(tail) * (len(r) - 1)
    below = int(place)
    above = min(below + 1, len(r) - 1)
    marginal = r[order[below]] + (place - below) * (r[order[above]] - r[order[below]])
    return Contributions(float(marginal @ w), marginal, w * marginal)


def shortfall_contributions(weights: npt.ArrayLike, returns: npt.ArrayLike, tail: float = TAIL) -> Contributions:
    """Of the expected shortfall of a book rebalanced to *weights* each period: what each earned on average in its worst rows."""
    r = _table(returns)
    w = as_vector("weights", weights, r.shape[1])
    marginal = r[np.argsort(r @ w, kind="stable")[: _worst(len(r), tail)]].mean(axis=0)
    return Contributions(float(marginal @ w), marginal, w * marginal)


# --- Whether forecasts held


def rolling_forecasts(returns: npt.ArrayLike, window: int, measure: Callable[[FloatArray], float] = var_historical) -> FloatArray:
    """A *measure* of the *window* returns before each row, which is a forecast of that row: (rows - window,), the first for row *window*."""
    r = _column(returns, 1)
    if not 1 <= window < len(r):
        raise DataError(f"risk: window must be from 1 to {len(r) - 1}, so that some of the {len(r)} returns come after it, was {window!r}")
    return np.array([measure(r[end - window : end]) for end in range(window, len(r))])


def breaches(returns: npt.ArrayLike, forecasts: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which returns were worse than was forecast for them, both (rows,)."""
    r = _column(returns, 1)
    f = as_vector("forecasts", forecasts, len(r))
    return r < f


class LikelihoodRatio(NamedTuple):
    """A test's *statistic* and its *p_value*, the chance of one at least as large where the forecasts are right; NaN where there is none."""

    statistic: float
    p_value: float


class Coverage(NamedTuple):
    """How breaches of a VaR follow on each other: *independence* (chi squared, 1 degree of freedom), and with their number *conditional* (2).

    Independence is NaN where no breach, or nothing but breaches, came before another row: such a record cannot tell.
    """

    independence: LikelihoodRatio
    conditional: LikelihoodRatio


def kupiec(breached: npt.ArrayLike, tail: float = TAIL) -> LikelihoodRatio:
    """Whether breaches are as many as a share *tail* of rows: likelihood ratio of the observed share against it, chi squared with 1 degree of
    freedom.

    *breached* is (rows,) of bools. Source: Kupiec (1995), "Techniques for verifying the accuracy of risk measurement models".
    """
    hits = _hits(breached)
    count = int(hits.sum())
    return _one_degree(_likelihood(count, len(hits), count / len(hits)) - _likelihood(count, len(hits), _share(tail)))


def christoffersen(breached: npt.ArrayLike, tail: float = TAIL) -> Coverage:
    """Whether a breach makes the next row's more or less likely, by a first-order Markov chain against none; and that with Kupiec's statistic added.

    *breached* is (rows,) of bools, at least two. Both take the first row as given, so that they judge the same rows - 1 others. Source:
    Christoffersen (1998), "Evaluating interval forecasts".
    """
    hits = _hits(breached)
    if len(hits) < 2:
        raise DataError("risk: whether breaches follow on each other needs at least 2 rows, and there is 1")
    before, after = hits[:-1], hits[1:]
    rows = [int((~before).sum()), int(before.sum())]
    if 0 in rows:
        return Coverage(LikelihoodRatio(nan, nan), LikelihoodRatio(nan, nan))
    counts = [int(after[~before].sum()), int(after[before].sum())]
    chained = sum(_likelihood(count, n, count / n) for count, n in zip(counts, rows, strict=True))
    independence = _one_degree(chained - _likelihood(sum(counts), sum(rows), sum(counts) / sum(rows)))
    both = independence.statistic + kupiec(after, tail).statistic
    return Coverage(independence, LikelihoodRatio(both, exp(-both / 2.0)))


def _likelihood(count: int, rows: int, share: float) -> float:
    """The log likelihood of *count* breaches in *rows* at a *share*; 0 log 0 is 0."""
    return (count * log(share) if count else 0.0) + ((rows - count) * log(1.0 - share) if rows > count else 0.0)


def _one_degree(gain: float) -> LikelihoodRatio:
    """Twice a *gain* in log likelihood, which is never below 0 but for rounding, and the upper tail of chi squared with one degree of freedom."""
    statistic = max(2.0 * gain, 0.0)
    return LikelihoodRatio(statistic, erfc(sqrt(statistic / 2.0)))


# --- Stress


class Stress(NamedTuple):
    """What a book would return under a shock or in a window, *by* instrument, (instruments,), and in all, as multiples of equity now.

    *worst* is its largest drawdown on the way, of equity that begins with all of it; under a shock, which has no way, a loss itself, or 0.
    """

    name: str
    total: float
    worst: float
    by: FloatArray


def stress(weights: npt.ArrayLike, symbols: Sequence[str], shocks: Mapping[str, Mapping[str, float]]) -> tuple[Stress, ...]:
    """A book under named shocks, in the order given: *shocks* maps a name to returns by symbol, with "*" for every symbol not named, else 0.

    *symbols* names the *weights*. Raises DataError for a symbol that the book does not know, so that a misspelt shock is not a harmless one.
    """
    w = as_vector("weights", weights, len(symbols))
    found = []
    for name, shock in shocks.items():
        for symbol, move in shock.items():
            if symbol != OTHERS and symbol not in symbols:
                raise DataError(f"risk: shock {name!r}: no such symbol {symbol!r}{nearest(symbol, symbols)}")
            if not -inf < move < inf:
                raise DataError(f"risk: shock {name!r}: the return of {symbol!r} must be a number, was {move!r}")
        by = w * np.array([shock.get(symbol, shock.get(OTHERS, 0.0)) for symbol in symbols])
        found.append(Stress(name, float(by.sum()), min(float(by.sum()), 0.0), by))
    return tuple(found)


def crisis_windows(sessions: npt.ArrayLike, crises: Mapping[str, tuple[str, str]] = CRISES) -> dict[str, tuple[int, int]]:
    """The rows of each crisis that history holds whole, as `replay` takes them: returns of the sessions after its first date, up to its last.

    *sessions*, (rows,), are the days since 1970 of the returns. Raises DataError unless they rise.
    """
    days = np.asarray(sessions)
    if days.ndim != 1 or not len(days) or not (np.diff(days) > 0).all():
        raise DataError(f"risk: sessions must be (rows,) of days since 1970 that rise, were {days.shape}")
    found = {}
    for name, dates in crises.items():
        start, last = np.array(dates, "datetime64[D]").astype(np.int64)
        first, end = int(np.searchsorted(days, start, side="right")), int(np.searchsorted(days, last, side="right"))
        # The close before the first return is part of history too: it is on or after the day before a long weekend.
        if first < end and days[0] <= start + 4 and days[-1] >= last:
            found[name] = first, end
    return found


def replay(weights: npt.ArrayLike, returns: npt.ArrayLike, windows: Mapping[str, tuple[int, int]]) -> tuple[Stress, ...]:
    """A book held through windows of *returns*, (rows, instruments), each from its first row up to but without its end, in the order given.

    The positions that *weights* are at the start are held and not traded: rebalancing back to weights each day is no loss that a book would have had.
    Cash earns nothing. Raises DataError for a window beyond the rows, and for a return in it that is not known.
    """
    table = np.asarray(returns, dtype=np.float64)
    if table.ndim != 2:
        raise DataError(f"risk: returns must be (rows, instruments), were {table.shape}")
    w = as_vector("weights", weights, table.shape[1])
    found = []
    for name, (first, end) in windows.items():
        if not 0 <= first < end <= len(table):
            raise DataError(f"risk: window {name!r} must lie within the {len(table)} rows, was {first} to {end}")
        r = table[first:end]
        if not np.isfinite(r).all():
            row, column = np.argwhere(~np.isfinite(r))[0]
            raise DataError(f"risk: window {name!r}: the return of instrument {column} is {r[row, column]} in row {first + row}; take another for it")
        gains = w * (np.cumprod(1.0 + r, axis=0) - 1.0)
        path = np.concatenate(([1.0], 1.0 + gains.sum(axis=1)))
        found.append(Stress(name, float(path[-1]) - 1.0, float(np.min(path / np.maximum.accumulate(path))) - 1.0, gains[-1]))
    return tuple(found)


# --- What measures and sizers take


def as_vector(name: str, values: npt.ArrayLike, count: int | None = None) -> FloatArray:
    """*values* as (instruments,) of numbers, *count* of them. Raises DataError, naming the first that is none."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or not len(vector) or (count is not None and len(vector) != count):
        raise DataError(f"risk: {name} must be ({'instruments' if count is None else count},), one number for each, was {vector.shape}")
    wrong = np.flatnonzero(~np.isfinite(vector))
    if len(wrong):
        raise DataError(f"risk: {name}[{wrong[0]}] must be a number, was {vector[wrong[0]]}")
    return vector


def as_covariance(covariance: npt.ArrayLike) -> FloatArray:
    """A covariance, (instruments, instruments). Raises DataError unless it is of numbers, symmetric, and gives no book a variance below 0.

    Rounding is let through, up to 1e-10 of the largest variance.
    """
    c = np.asarray(covariance, dtype=np.float64)
    if c.ndim != 2 or c.shape[0] != c.shape[1] or not len(c):
        raise DataError(f"risk: a covariance must be (instruments, instruments), was {c.shape}")
    if not np.isfinite(c).all():
        row, column = np.argwhere(~np.isfinite(c))[0]
        raise DataError(f"risk: covariance[{row}, {column}] must be a number, was {c[row, column]}")
    slack = 1e-10 * float(np.abs(c).max())
    uneven = np.abs(c - c.T)
    if uneven.max() > slack:
        row, column = np.unravel_index(int(uneven.argmax()), c.shape)
        raise DataError(f"risk: a covariance must be symmetric, but [{row}, {column}] is {c[row, column]} and [{column}, {row}] {c[column, row]}")
    if slack > 0.0:
        try:
            np.linalg.cholesky(c + slack * np.eye(len(c)))
        except np.linalg.LinAlgError:
            low = float(np.linalg.eigvalsh(c)[0])
            raise DataError(f"risk: a covariance must have no eigenvalue below 0, had {low}; estimate it over rows that are all known") from None
    return c


def _column(returns: npt.ArrayLike, least: int) -> FloatArray:
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 1 or len(r) < least:
        raise DataError(f"risk: it needs one column of at least {least} returns, was {r.shape}")
    return as_vector("returns", r)


def _table(returns: npt.ArrayLike) -> FloatArray:
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 2 or 0 in r.shape:
        raise DataError(f"risk: returns must be (rows, instruments) with something in it, were {r.shape}")
    if not np.isfinite(r).all():
        row, column = np.argwhere(~np.isfinite(r))[0]
        raise DataError(f"risk: the return of instrument {column} is {r[row, column]} in row {row}; leave out what is not known")
    return r


def _hits(breached: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    hits = np.asarray(breached)
    if hits.ndim != 1 or not len(hits) or hits.dtype != np.bool_:
        raise DataError(f"risk: breached must be one column of bools, one a row, was {hits.dtype} of {hits.shape}")
    return hits


def _share(tail: float) -> float:
    if not 0.0 < tail < 1.0:
        raise DataError(f"risk: tail must be a share between 0 and 1, such as 0.05, was {tail!r}")
    return tail


def _worst(rows: int, tail: float) -> int:
    """How many returns are the tail. The 1e-9 keeps a product like 20 x 5 % from falling under the whole number that it is."""
    return int((rows - 1) * _share(tail) + 1e-9) + 1


def _deviation(r: FloatArray) -> float:
    """The sample deviation (ddof 1); what is nothing but rounding is 0."""
    spread = float(r.std(ddof=1))
    return 0.0 if spread <= 1e-12 * float(np.abs(r).max()) else spread
