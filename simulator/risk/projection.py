"""Weights brought within all limits at once: the nearest ones that a mandate allows, and the nearest whole lots.

One limit after another does not do: what a cap takes from one name breaks the net exposure, and scaling to a volatility breaks the caps again. So all
are kept jointly, after the last transform, to rounding; where no weights can, the limits in conflict are named.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.risk import interior, programme
from simulator.risk.interior import Start
from simulator.risk.mandate import TOLERANCE, Conflict, Mandate, Objective
from simulator.risk.measures import as_vector

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray, IntArray

EXACT: Final = 1e-13
"""What `settle` leaves of a breach: rounding."""


class Allowed(NamedTuple):
    """Weights that keep every limit, (instruments,), or the *conflict* for which there are none: weights are then NaN, which trades nothing."""

    weights: FloatArray
    conflict: Conflict | None = None


class AllowedLots(NamedTuple):
    """Signed whole lots whose weights keep every limit, (instruments,), or the *conflict*: lots are then those before any was moved."""

    lots: IntArray
    conflict: Conflict | None = None


def project(weights: npt.ArrayLike, mandate: Mandate) -> Allowed:
    """The weights nearest to *weights*, by squared distance, that keep every limit of *mandate*. Those that keep them all come back as they are."""
    w = as_vector("weights", weights, mandate.count)
    if not mandate.breaches(w, EXACT):
        return Allowed(w.copy())
    return Search().best(mandate, Objective(w, nearness=1.0))


class Search:
    """Looks for the best weights, and remembers where it ended: the next rebalance begins there."""

    __slots__ = ("_start",)

    def __init__(self) -> None:
        self._start: Start | None = None

    def best(self, mandate: Mandate, objective: Objective) -> Allowed:
        """The weights that are best by *objective* within *mandate*, every limit kept to rounding, or the limits in conflict.

        The quick search comes first. What it does not find is either not there, or hard: the careful programme says which.
        """
        found = interior.search(mandate, objective, self._start)
        self._start = found[1] if found else None
        if found:
            for weights in (_still(found[0], mandate, objective), found[0]):
                if not mandate.breaches(settled := settle(weights, mandate)):
                    return Allowed(settled)
        relaxed, conflict = programme.relax(mandate)
        if conflict is None:
            for solved in (programme.solve(mandate, objective), relaxed):
                if solved is not None and not mandate.breaches(settled := settle(solved, mandate)):
                    return Allowed(settled)
            # Weights exist within what the solver takes for nothing, and not to rounding.
            broken = mandate.breaches(settle(relaxed, mandate))
            conflict = Conflict(tuple(name for name, _ in broken), broken)
        return Allowed(np.full(mandate.count, np.nan), conflict)


def _still(weights: FloatArray, mandate: Mandate, objective: Objective) -> FloatArray:
    """Weights without the trades that a search leaves of nothing, where each trade has its price."""
    if mandate.held is None or objective.linear is None:
        return weights
    return np.where(np.abs(weights - mandate.held) < 1e-5 / mandate.count, mandate.held, weights)


def settle(weights: FloatArray, mandate: Mandate) -> FloatArray:
    """Weights that are within the limits but for a solver's tolerance, moved by as little as that until they are within to rounding.

    Each round clips to the boxes, and then takes the smallest step (Newton's, for the curved limits) by which the weights off their bounds meet all
    limits that are or were broken.
    """
    w, low, high = weights.copy(), mandate.low, mandate.high
    broken: set[str] = set()
    for _ in range(60):
        w = np.clip(w, low, high)
        levels = list(mandate.levels(w))
        beyond = [name for name, least, level, most in levels if max(least - level, level - most) > EXACT]
        if not beyond:
            return w
        broken |= set(beyond)
        # A limit once met stays met: it is part of every later step, as an equation.
        rows, gaps = [], []
        for (name, least, level, most), slope in zip(levels, _slopes(mandate, w), strict=True):
            if name in broken:
                rows.append(slope)
                gaps.append((least if least > -inf and level - least < most - level else most) - level)
        table, gap = np.array(rows), np.array(gaps)
        free = (w > low) & (w < high)
        step = _smallest(table[:, free], gap)
        if np.abs(table[:, free] @ step - gap).max() <= 1e-3 * np.abs(gap).max():
            w[free] += step
        else:
            w += _smallest(table, gap)
    return w


def _slopes(mandate: Mandate, w: FloatArray) -> list[FloatArray]:
    """What one more unit of each weight adds to each level, in the order of `Mandate.levels`. At an edge of an absolute value a weight stays."""
    found = [limit.loadings * np.sign(w) if limit.absolute else limit.loadings for limit in mandate.exposures]
    if mandate.turnover_max < inf:
        assert mandate.held is not None
        found.append(np.sign(w - mandate.held))
    if mandate.volatility_max < inf:
        assert mandate.covariance is not None
        pull = mandate.covariance @ w
        found.append(pull / np.sqrt(max(float(w @ pull), 1e-300)))
    return found


def _smallest(table: FloatArray, wanted: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.lstsq(table, wanted, rcond=1e-12)[0])


def whole_lots(weights: npt.ArrayLike, lot_weights: npt.ArrayLike, mandate: Mandate) -> AllowedLots:
    """Signed whole lots near *weights*, both (instruments,), with which every limit still holds; *lot_weights* is what one lot of each is worth over
    equity.

    Weights are first brought within the limits, then rounded toward zero; where that breaks a limit (a net exposure, a factor), single lots are
    moved, each the one that mends most, and of equals the one that leads least away. Where no lot mends anything the limits that stay broken are
    named: such a limit must leave room for a lot.
    """
    unit = as_vector("lot_weights", lot_weights, mandate.count)
    if not (unit > 0.0).all():
        raise DataError(f"projection: lot_weights must be above 0, one was {unit.min()}")
    allowed = project(weights, mandate)
    if allowed.conflict:
        return AllowedLots(np.zeros(mandate.count, np.int64), allowed.conflict)
    first: IntArray | None = None
    for lots_inside in (0.0, 1.0, 3.0, 9.0):
        # Where the mending comes to nothing, begin further inside: limits made tighter by so many lots leave room for the rounding.
        near = project(allowed.weights, _tighter(mandate, unit, lots_inside))
        if near.conflict is None:
            lots = _mended(near.weights, unit, mandate)
            if not mandate.breaches(lots * unit):
                return AllowedLots(lots)
            first = lots if first is None else first
    assert first is not None
    broken = mandate.breaches(first * unit)
    return AllowedLots(first, Conflict((*(name for name, _ in broken), "whole lots"), broken))


def _mended(weights: FloatArray, unit: FloatArray, mandate: Mandate) -> IntArray:
    """Lots rounded toward zero, and moved one by one while that makes the breaches smaller."""
    lots = np.trunc(weights / unit + np.copysign(TOLERANCE, weights))
    at, moves = np.tile(np.arange(mandate.count), 2), np.concatenate([unit, -unit])
    for _ in range(20 * mandate.count):
        w = lots * unit
        if not mandate.breaches(w):
            break
        mends = _excess(mandate, w, np.zeros(1), at[:1])[0] - _excess(mandate, w, moves, at)
        away = np.abs(w[at] + moves - weights[at]) - np.abs(w - weights)[at]
        mends[mends <= 1e-15] = 0.0
        if not mends.any():
            break
        chosen = int(np.lexsort((away, -mends))[0])
        lots[chosen % mandate.count] += 1.0 if chosen < mandate.count else -1.0
    return lots.astype(np.int64)


def _tighter(mandate: Mandate, unit: FloatArray, lots: float) -> Mandate:
    """The mandate with each limit on a sum nearer to its middle by what some *lots* of the largest are to it, at most by most of the way."""
    if not lots:
        return mandate
    exposures = []
    for limit in mandate.exposures:
        by = lots * float(np.abs(limit.loadings * unit).max())
        by = min(by, 0.45 * (limit.high - limit.low), 0.45 * limit.high if limit.absolute else inf)
        exposures.append(replace(limit, low=limit.low + by, high=limit.high - by))
    step = lots * float(unit.max())
    volatility = mandate.volatility_max
    if mandate.covariance is not None and volatility < inf:
        volatility -= min(step * float(np.sqrt(np.diagonal(mandate.covariance).max())), 0.45 * volatility)
    turnover = mandate.turnover_max - (min(step, 0.45 * mandate.turnover_max) if mandate.turnover_max < inf else 0.0)
    return replace(mandate, exposures=tuple(exposures), turnover_max=turnover, volatility_max=volatility)


def _excess(mandate: Mandate, w: FloatArray, moves: FloatArray, at: IntArray) -> FloatArray:
    """By how much all limits together are broken once the weight *at* is moved, for each of the *moves*: (moves,)."""
    before, after = w[at], w[at] + moves
    total = np.zeros(len(moves))
    for box in mandate.boxes:
        own = np.maximum(box.low - w, 0.0) + np.maximum(w - box.high, 0.0)
        total += float(own.sum()) - own[at] + np.maximum(box.low[at] - after, 0.0) + np.maximum(after - box.high[at], 0.0)
    for limit in mandate.exposures:
        if limit.absolute:
            level = float(limit.loadings @ np.abs(w)) + limit.loadings[at] * (np.abs(after) - np.abs(before))
        else:
            level = float(limit.loadings @ w) + limit.loadings[at] * moves
        total += np.maximum(limit.low - level, 0.0) + np.maximum(level - limit.high, 0.0)
    if mandate.turnover_max < inf:
        assert mandate.held is not None
        level = float(np.abs(w - mandate.held).sum()) + np.abs(after - mandate.held[at]) - np.abs(before - mandate.held[at])
        total += np.maximum(level - mandate.turnover_max, 0.0)
    if mandate.volatility_max < inf:
        assert mandate.covariance is not None
        pull = mandate.covariance @ w
        variance = float(w @ pull) + 2.0 * moves * pull[at] + moves**2 * np.diagonal(mandate.covariance)[at]
        total += np.maximum(np.sqrt(np.maximum(variance, 0.0)) - mandate.volatility_max, 0.0)
    return total
