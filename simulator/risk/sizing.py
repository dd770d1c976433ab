"""How much of each: sizers, which turn what is known of instruments into weights, as multiples of equity.

A sizer is a function of arrays: *mu*, (instruments,), are expected returns above the risk-free one and *covariance*, (instruments, instruments),
theirs, both per period and of the same one. It changes nothing that it is given, and raises DataError for what cannot be sized. None looks at what is
held or at the limits of a session; where a sizer has a limit of its own, the weights keep it.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.risk.measures import as_covariance, as_vector

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

FLAT: Final = 1e-13
"""A book whose variance is at most this part of the largest one around is without risk: the rest is rounding."""


# --- Each by itself


def fixed_fraction(directions: npt.ArrayLike, fraction: float, stop: npt.ArrayLike | None = None) -> FloatArray:
    """A fixed *fraction* of equity in each direction, (instruments,), of which only the sign counts.

    With a *stop*, the distance to each stop as a share of the price, one or (instruments,), it is the fraction that is lost where the stop is hit:
    the weight is fraction / stop.
    """
    d = as_vector("directions", directions)
    _positive("fraction", fraction)
    if stop is None:
        return np.sign(d) * fraction
    distances = np.asarray(stop, dtype=np.float64)
    distances = as_vector("stop", np.full(len(d), distances) if distances.ndim == 0 else distances, len(d))
    return np.sign(d) * fraction / _all_positive("stop", distances)


def inverse_volatility(volatilities: npt.ArrayLike) -> FloatArray:
    """Weights in proportion to 1 / volatility, which sum to 1: equal risk where nothing correlates, and not else; see `equal_risk`."""
    inverse = 1.0 / _all_positive("volatilities", as_vector("volatilities", volatilities))
    shares: FloatArray = inverse / inverse.sum()
    return shares


def alpha_over_volatility(alpha: npt.ArrayLike, volatilities: npt.ArrayLike, scale: float = 0.05, name_max: float = 0.1) -> FloatArray:
    """*scale* alpha / volatility, each clipped to -name_max and name_max. Both are (instruments,) and of the same period."""
    a = as_vector("alpha", alpha)
    v = _all_positive("volatilities", as_vector("volatilities", volatilities, len(a)))
    _positive("scale", scale)
    _positive("name_max", name_max, inf)
    return np.clip(scale * a / v, -name_max, name_max)


def kelly(win_probability: float, win_loss_ratio: float, fraction: float = 1.0, name_max: float = 0.25) -> float:
    """The share of equity to risk on one bet: *fraction* (p - (1 - p) / b), at least 0 and at most *name_max*, for a win of b times the loss.

    Where no loss has been seen yet the ratio is infinite and the share is *fraction* p, not nothing; name_max then says how far to trust that.
    Source: Kelly (1956), "A new interpretation of information rate".
    """
    if not 0.0 <= win_probability <= 1.0:
        raise DataError(f"sizing: win_probability must be from 0 to 1, was {win_probability!r}")
    if not win_loss_ratio >= 0.0:
        raise DataError(f"sizing: win_loss_ratio must be at least 0 (infinite where no loss was seen), was {win_loss_ratio!r}")
    _positive("fraction", fraction)
    _positive("name_max", name_max, inf)
    if win_loss_ratio == 0.0:
        return 0.0
    return min(max(fraction * (win_probability - (1.0 - win_probability) / win_loss_ratio), 0.0), name_max)


# --- Together, by risk


def volatility_target(weights: npt.ArrayLike, covariance: npt.ArrayLike, target: float, periods: float = 252, gross_max: float = inf) -> FloatArray:
    """*weights* times what brings the book's volatility to *target* a year, or its gross exposure to *gross_max* if that is less.

    The covariance is per period, with *periods* in a year. A book of nothing stays one. Raises DataError for a book that no multiple brings to risk.
    """
    c = as_covariance(covariance)
    w = as_vector("weights", weights, len(c))
    _positive("target", target)
    _positive("periods", periods)
    _positive("gross_max", gross_max, inf)
    gross = float(np.abs(w).sum())
    if gross == 0.0:
        return w.copy()
    variance = float(w @ c @ w)
    if not variance > FLAT * float(np.max(np.diagonal(c) * w**2)):
        raise DataError("sizing: these weights have no risk in this covariance, so that no multiple of them reaches a target; size them another way")
    return _within(w * (target / sqrt(variance * periods)), inf, gross_max)


def equal_risk(covariance: npt.ArrayLike, budgets: npt.ArrayLike | None = None) -> FloatArray:
    """Long weights that sum to 1, of which each contributes the same share of the book's volatility, or shares in proportion to *budgets*,
    (instruments,).

    The minimum of x' C x / 2 - sum of budgets log x is found by damped Newton steps, which reach it from anywhere for every covariance that gives
    each long book some risk, singular ones too. Raises DataError where a long book has none, since nothing of it can be shared. Source: Maillard,
    Roncalli and Teïletche (2010), "The properties of equally weighted risk contribution portfolios"; Spinu (2013), "An algorithm for computing risk
    parity weights".
    """
    c = as_covariance(covariance)
    deviations = np.sqrt(np.maximum(np.diagonal(c), 0.0))
    for still in np.flatnonzero(deviations <= 1e-12 * deviations.max()):
        raise DataError(f"sizing: instrument {still} has no risk that it could contribute; leave it out")
    b = np.ones(len(c)) if budgets is None else _all_positive("budgets", as_vector("budgets", budgets, len(c)))
    # In units of each deviation, and budgets of at least 1, for which Newton's steps are known to converge (the function is self-concordant).
    correlation, b = c / np.outer(deviations, deviations), b / b.min()
    y = np.full(len(b), sqrt(float(b.sum()) / max(float(correlation.sum()), 1.0)))
    settled = inf
    for _ in range(1_000):
        pull = correlation @ y
        # In steps relative to y, the curvature of the logarithms is the budgets themselves, so that nothing is divided by a small square.
        slope = y * pull - b
        error = float(np.max(np.abs(slope) / b))
        if error <= 1e-15 or (error < 1e-9 and error >= settled):
            weights = y / deviations
            shares: FloatArray = weights / weights.sum()
            return shares
        settled = error
        step = -np.linalg.solve(correlation * np.outer(y, y) + np.diag(b), slope)
        decrement = sqrt(max(float(-slope @ step), 0.0))
        y = y * (1.0 + (step if decrement < 0.25 else step * _damped(correlation, b, y, step, slope, decrement)))
        # A mix without risk can be held without end: the search runs off towards it, where its true minimum would never be.
        if not float(y.max()) < 1e7 * sqrt(float(b.sum())):
            break
    raise DataError(
        "sizing: a long mix of these instruments has next to no risk, so that none can be shared; shrink the covariance, or leave one out"
    )


def _damped(correlation: FloatArray, b: FloatArray, y: FloatArray, step: FloatArray, slope: FloatArray, decrement: float) -> float:
    """How much of a relative *step* to take: halved until the function falls as it should, down to what is always safe."""
    share, safe = 1.0, 1.0 / (1.0 + decrement)
    while share > safe:
        grown = 1.0 + share * step
        if float(grown.min()) > 0.0:
            z = share * step * y
            fall = float(z @ correlation @ (y + z / 2.0)) - float(b @ np.log(grown))
            if fall <= 0.25 * share * float(slope @ step):
                return share
        share /= 2.0
    return safe


# --- Together, by return and risk


def kelly_many(
    mu: npt.ArrayLike, covariance: npt.ArrayLike, fraction: float = 1.0, shrink: float = 0.0, name_max: float = inf, gross_max: float = inf
) -> FloatArray:
    """*fraction* of the weights that make equity grow fastest, inverse(C) mu, scaled down as a whole until no name and not the gross is beyond its
    limit.

    *shrink*, from 0 to 1, moves correlations towards 0 before; at 1 each name is mu / variance by itself. Weights add up to whatever they do: what
    they leave of equity is in cash, or borrowed. Source: Thorp (2006), "The Kelly criterion in blackjack, sports betting, and the stock market",
    section 8.
    """
    c = as_covariance(covariance)
    m = as_vector("mu", mu, len(c))
    _positive("fraction", fraction)
    _positive("name_max", name_max, inf)
    _positive("gross_max", gross_max, inf)
    if not 0.0 <= shrink <= 1.0:
        raise DataError(f"sizing: shrink must be from 0 to 1, was {shrink!r}")
    shrunk = (1.0 - shrink) * c
    np.fill_diagonal(shrunk, np.diagonal(c))
    return _within(fraction * _unconstrained(shrunk, m), name_max, gross_max)


def minimum_variance(covariance: npt.ArrayLike, long_only: bool = False) -> FloatArray:
    """Weights that sum to 1 with the least variance: inverse(C) 1 over its sum, or the best without short positions."""
    c = as_covariance(covariance)
    return _best(c, np.zeros(len(c)), np.ones((1, len(c))), np.ones(1), long_only)


def mean_variance(mu: npt.ArrayLike, covariance: npt.ArrayLike, aversion: float, long_only: bool = False) -> FloatArray:
    """Weights that sum to 1 with the largest w' mu - aversion / 2 w' C w, or the best without short positions.

    Source: Markowitz (1952), "Portfolio selection".
    """
    c = as_covariance(covariance)
    m = as_vector("mu", mu, len(c))
    _positive("aversion", aversion)
    return _best(aversion * c, m, np.ones((1, len(c))), np.ones(1), long_only)


def target_return(mu: npt.ArrayLike, covariance: npt.ArrayLike, target: float, long_only: bool = False) -> FloatArray:
    """Weights that sum to 1 and expect exactly *target*, per period as *mu* is, with the least variance, or the best without short positions.

    Raises DataError for a target that no such weights expect.
    """
    c = as_covariance(covariance)
    m = as_vector("mu", mu, len(c))
    low, high = float(m.min()), float(m.max())
    reached = low <= target <= high if long_only or low == high else -inf < target < inf
    if not reached:
        raise DataError(f"sizing: target must be from {low} to {high}, which is what these instruments are expected to return, was {target!r}")
    # In units of the spread of mu about the target, so that both sums are of one size.
    spread = float(np.abs(m - target).max())
    sums = np.ones((1, len(c))) if spread == 0.0 else np.stack([np.ones(len(c)), (m - target) / spread])
    return _best(c, np.zeros(len(c)), sums, np.array([1.0, 0.0])[: len(sums)], long_only)


def _best(q: FloatArray, gain: FloatArray, sums: FloatArray, wanted: FloatArray, long_only: bool) -> FloatArray:
    """The w with the least w' q w / 2 - gain' w where sums w = wanted, (1 or 2, instruments): of all w, or of those that are nowhere below 0."""
    if long_only:
        return _long_only(q, gain, sums, _start(q, gain, sums, wanted))
    w = _least(sums, wanted)
    found = _step(q, sums, q @ w - gain, _rounding(q, gain, w))
    if not found.unique:
        raise DataError("sizing: the covariance is singular, so that no book is the only best one; shrink it, or take long_only")
    return w + found.change


class _Step(NamedTuple):
    """A change of weights, how much of it to make at most (infinite: on and on), and whether no other is as good."""

    change: FloatArray
    length: float
    unique: bool


def _step(q: FloatArray, sums: FloatArray, slope: FloatArray, rounding: FloatArray) -> _Step:
    """The change that leads to the minimum and leaves the sums as they are, from where the function has this *slope*, known up to *rounding*."""
    _, sizes, right = np.linalg.svd(sums)
    inside = right[int((sizes > 1e-12 * sizes[0]).sum()) :].T
    curvature, downhill = inside.T @ q @ inside, -inside.T @ slope
    floor = FLAT * float(np.diagonal(q).max())
    try:
        # It succeeds where every curvature is above the floor, and is much quicker than to look at each.
        np.linalg.cholesky(curvature - floor * np.eye(len(curvature)))
        return _Step(inside @ np.linalg.solve(curvature, downhill), 1.0, True)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(curvature)
    along, flat = vectors.T @ downhill, values <= floor
    # Where there is no risk to stop it, whatever gains anything is done without end.
    if (np.abs(along[flat]) > rounding.max()).any():
        free = inside @ (vectors[:, flat] @ along[flat])
        return _Step(free / np.abs(free).max(), inf, False)
    return _Step(inside @ (vectors[:, ~flat] @ (along[~flat] / values[~flat])), 1.0, False)


def _start(q: FloatArray, gain: FloatArray, sums: FloatArray, wanted: FloatArray) -> FloatArray:
    """Long weights with these sums, which often are the best already: those of both signs, without what is below 0, until nothing is."""
    w, free = np.zeros(len(gain)), np.arange(len(gain))
    while len(free):
        some, part = sums[:, free], q[np.ix_(free, free)]
        x = _least(some, wanted)
        found = _step(part, some, part @ x - gain[free], _rounding(part, gain[free], x))
        x += found.change
        if found.length == inf or np.abs(some @ x - wanted).max() > 1e-12:
            break
        if (x >= 0.0).all():
            w[free] = x
            return w
        free = free[x > 0.0]
    # What is left cannot have these sums: begin with the best single instrument, or with the two whose returns are furthest to either side.
    if len(sums) == 1:
        w[np.argmin(np.diagonal(q) / 2.0 - gain)] = 1.0
        return w
    high, low = int(np.argmax(sums[1])), int(np.argmin(sums[1]))
    w[high] = -sums[1, low] / (sums[1, high] - sums[1, low])
    w[low] = 1.0 - w[high]
    return w


def _long_only(q: FloatArray, gain: FloatArray, sums: FloatArray, start: FloatArray) -> FloatArray:
    """The best long weights from *start*, by the primal active set method: the best on one face, then on the next that is better.

    Source: Nocedal and Wright (2006), "Numerical Optimization", algorithm 16.3.
    """
    w, free = start.copy(), start > 0.0
    for _ in range(100 + 20 * len(w)):
        on = np.flatnonzero(free)
        slope, rounding = q @ w - gain, _rounding(q, gain, w)
        change, length, _ = _step(q[np.ix_(on, on)], sums[:, on], slope[on], rounding[on])
        room = np.full(len(on), inf)
        # A change as small as rounding does not stop a weight at 0 that has just been let in, which would be let in and stopped for ever.
        np.divide(-w[on], change, out=room, where=change < -1e-14)
        reach = float(room.min())
        if reach < length:
            w[on] = np.maximum(w[on] + reach * change, 0.0)
            stopped = on[room <= reach]
            w[stopped], free[stopped] = 0.0, False
            continue
        w[on] = np.maximum(w[on] + change, 0.0)
        slope = q @ w - gain
        reduced = slope - _least(sums[:, on].T, slope[on]) @ sums
        if len(sums) == 2 and not np.abs(sums[1, on]).max() > 1e-12:
            reduced -= _price(reduced, sums[1]) * sums[1]
        reduced[on] = 0.0
        better = np.flatnonzero(reduced < -rounding - rounding[on].max())
        if not len(better):
            return w
        free[better[np.argmin(reduced[better])]] = True
    raise AssertionError("each face is better than the one before, and there are not so many")


def _price(reduced: FloatArray, row: FloatArray) -> float:
    """The price of a sum that no free weight enters: one at which nothing outside would be better, or else the middle of those asked for."""
    up, down = row > 1e-12, row < -1e-12
    most, least = float(np.min(reduced[up] / row[up], initial=inf)), float(np.max(reduced[down] / row[down], initial=-inf))
    if -inf < least and most < inf:
        return (least + most) / 2.0
    return most if most < inf else least if -inf < least else 0.0


def _rounding(q: FloatArray, gain: FloatArray, w: FloatArray) -> FloatArray:
    """What the slope q w - gain may be off by, and not less than 1e-12 of its terms."""
    return 1e-12 * (np.abs(q) @ np.abs(w) + np.abs(gain))


def _least(table: FloatArray, wanted: FloatArray) -> FloatArray:
    """The smallest x with table x = wanted, as nearly as can be."""
    return np.asarray(np.linalg.lstsq(table, wanted, rcond=None)[0], dtype=np.float64)


def _unconstrained(q: FloatArray, gain: FloatArray) -> FloatArray:
    """inverse(q) gain."""
    values, vectors = np.linalg.eigh(q)
    if not float(values[0]) > FLAT * float(values[-1]):
        raise DataError("sizing: the covariance is singular, so that a bet without risk could grow without end; shrink it")
    bets: FloatArray = vectors @ ((vectors.T @ gain) / values)
    return bets


def _within(weights: FloatArray, name_max: float, gross_max: float) -> FloatArray:
    """Weights as they are, or made smaller all alike until the largest and their gross are within the limits."""
    largest, gross = float(np.abs(weights).max()), float(np.abs(weights).sum())
    if largest <= name_max and gross <= gross_max:
        return weights
    within = weights * min(name_max / largest, gross_max / gross)
    # A product of rounded numbers may be beyond a limit by its last bit.
    while float(np.abs(within).max()) > name_max or float(np.abs(within).sum()) > gross_max:
        within = within * (1.0 - 1e-15)
    return within


def _positive(name: str, value: float, most: float = 1e300) -> None:
    if not 0.0 < value <= most:
        raise DataError(f"sizing: {name} must be above 0, was {value!r}")


def _all_positive(name: str, values: FloatArray) -> FloatArray:
    for wrong in np.flatnonzero(values <= 0.0):
        raise DataError(f"sizing: {name}[{wrong}] must be above 0, was {values[wrong]}")
    return values
