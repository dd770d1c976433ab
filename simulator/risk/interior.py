"""The quick way through a mandate: an interior-point method for this one structure, with one dense factorisation, of the covariance's size, a step.

What a general conic solver does with thousands of sparse rows is here a diagonal: each absolute value couples two variables of one instrument, which
are eliminated by hand; the few limits on sums are a small Schur complement, and a limit on volatility only scales the covariance. It starts from
where the last rebalance ended. Where it does not arrive (nothing is promised for limits that conflict) it says so, and `risk.programme` decides.

Source: Mehrotra (1992), "On the implementation of a primal-dual interior point method"; Boyd and Vandenberghe (2004), "Convex Optimization", 11.7.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from simulator.risk.mandate import Mandate, Objective

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

STEPS: Final = 60
ENOUGH: Final = 1e-8
"""Residuals and mean complementarity, in units of a typical weight and a typical slope, at which a search has arrived."""


class Start(NamedTuple):
    """Where a search ended: its variables and the prices of its limits, from which the next one of the same shape may begin."""

    x: FloatArray
    z: FloatArray


class _Layout:
    """The rows of a mandate and objective, in units of a typical weight: boxes, pairs |w - held| <= u and |w| <= v, sums, and volatility."""

    def __init__(self, mandate: Mandate, objective: Objective) -> None:
        n = self.n = mandate.count
        self.unit = 1.0 / n
        costs = [x for x in (objective.linear, objective.power) if x is not None]
        variance = 0.0 if mandate.covariance is None else float(np.diagonal(mandate.covariance).mean())
        slope = objective.slope(mandate.covariance)
        self.covariance = None if mandate.covariance is None else mandate.covariance / (variance or 1.0)
        self.alpha = objective.alpha / slope
        self.aversion = objective.aversion * variance * self.unit / slope
        self.nearness = objective.nearness * self.unit / slope
        self.linear = None if objective.linear is None else objective.linear / slope
        self.power = None if objective.power is None else objective.power * self.unit**0.5 / slope
        self.held = (np.zeros(n) if mandate.held is None else mandate.held) / self.unit

        self.has_u = bool(costs) or mandate.turnover_max < inf
        self.has_v = any(limit.absolute for limit in mandate.exposures)
        self.parts = 1 + self.has_u + self.has_v
        low, high = mandate.low / self.unit, mandate.high / self.unit
        self.low_at, self.high_at = np.flatnonzero(low > -inf), np.flatnonzero(high < inf)
        equal, equal_to, rows, most = [], [], [], []
        for limit in mandate.exposures:
            # Each row over its length, so that slacks are of one size.
            length = float(np.linalg.norm(limit.loadings)) or 1.0
            row = self._row(limit.loadings / length, 1 + self.has_u if limit.absolute else 0)
            if limit.low == limit.high:
                equal.append(row)
                equal_to.append(limit.low / length / self.unit)
                continue
            for sign, bound in ((1.0, limit.high), (-1.0, -limit.low)):
                if bound < inf:
                    rows.append(sign * row)
                    most.append(bound / length / self.unit)
        if mandate.turnover_max < inf:
            rows.append(self._row(np.full(n, n**-0.5), 1))
            most.append(mandate.turnover_max * n**-0.5 / self.unit)
        wide = n * self.parts
        self.equal, self.equal_to = np.array(equal).reshape(-1, wide), np.array(equal_to)
        self.rows = np.array(rows).reshape(-1, wide)
        pairs = [self.held, -self.held] * self.has_u + [np.zeros(2 * n)] * self.has_v
        self.most = np.concatenate([high[self.high_at], -low[self.low_at], *pairs, most])
        # Half the squared volatility over n, which is of order 1.
        self.variance_max = (mandate.volatility_max**2 / (variance or 1.0) / self.unit**2) / 2.0 / n if mandate.volatility_max < inf else inf
        self.count = len(self.most) + (self.variance_max < inf)
        self.share = 1.0 / max(self.count, 1)

        # The sums: equations, inequalities, and the volatility's slope, which changes with each step.
        self.table = np.concatenate([self.equal, self.rows, np.zeros((int(self.variance_max < inf), wide))])

    def _row(self, loadings: FloatArray, part: int) -> FloatArray:
        row = np.zeros((self.parts, self.n))
        row[part] = loadings
        return row.ravel()

    def slope(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        """What is to be made small: its slope, the curvature in u, and the covariance times the weights where that counts."""
        n, w = self.n, x[: self.n]
        pull = self.covariance @ w if self.covariance is not None and (self.aversion > 0.0 or self.variance_max < inf) else None
        slope, curve = np.zeros(len(x)), np.zeros(n)
        slope[:n] = self.nearness * w - self.alpha
        if pull is not None:
            slope[:n] += self.aversion * pull
        if self.linear is not None:
            slope[n : 2 * n] += self.linear
        if self.power is not None:
            root = np.sqrt(x[n : 2 * n])
            slope[n : 2 * n] += 1.5 * self.power * root
            curve = 0.75 * self.power / root
        return slope, curve, pull

    def levels(self, x: FloatArray, pull: FloatArray | None) -> FloatArray:
        """What each inequality comes to: at most 0 within it."""
        n, w = self.n, x[: self.n]
        found = [w[self.high_at], -w[self.low_at]]
        for part in range(1, self.parts):
            beside = x[part * n : (part + 1) * n]
            found += [w - beside, -w - beside]
        found.append(self.rows @ x)
        level: FloatArray = np.concatenate(found) - self.most
        if pull is None:
            return level
        return np.append(level, float(w @ pull) / (2.0 * n) - self.variance_max)

    def moved(self, dx: FloatArray, pull: FloatArray | None) -> FloatArray:
        """What a step adds to each level, to first order."""
        n, dw = self.n, dx[: self.n]
        found = [dw[self.high_at], -dw[self.low_at]]
        for part in range(1, self.parts):
            beside = dx[part * n : (part + 1) * n]
            found += [dw - beside, -dw - beside]
        found.append(self.rows @ dx)
        if pull is not None:
            found.append(np.array([float(dw @ pull) / n]))
        return np.concatenate(found)

    def pressed(self, z: FloatArray, pull: FloatArray | None) -> FloatArray:
        """What prices of the inequalities add to the slope of each variable: the transpose of `moved`."""
        n, at = self.n, len(self.high_at)
        out = np.zeros(n * self.parts)
        out[self.high_at] += z[:at]
        out[self.low_at] -= z[at : at + len(self.low_at)]
        at += len(self.low_at)
        for part in range(1, self.parts):
            first, second = z[at : at + n], z[at + n : at + 2 * n]
            out[:n] += first - second
            out[part * n : (part + 1) * n] -= first + second
            at += 2 * n
        out += z[at : at + len(self.rows)] @ self.rows
        if pull is not None:
            out[:n] += z[-1] / n * pull
        return out


def search(mandate: Mandate, objective: Objective, start: Start | None = None) -> tuple[FloatArray, Start] | None:
    """The best weights, (instruments,), to `ENOUGH`, with where the search ended; None if it did not arrive."""
    lay = _Layout(mandate, objective)
    n = lay.n
    x, s, z, y = _begin(lay, start)
    for _ in range(STEPS):
        slope, curve, pull = lay.slope(x)
        bend = pull if lay.variance_max < inf else None
        dual = slope + lay.pressed(z, bend) + y @ lay.equal
        primal = lay.levels(x, bend) + s
        off = lay.equal @ x - lay.equal_to
        mean = float(s @ z) * lay.share
        rest = float(np.abs(dual).max())
        worst = max(rest, float(np.abs(primal).max(initial=0.0)), float(np.abs(off).max(initial=0.0)))
        if worst <= 10.0 * ENOUGH and mean <= ENOUGH:
            return x[:n] * lay.unit, Start(x, z)
        if not worst < 1e12:
            return None
        try:
            newton = _Newton(lay, z / s, 0.0 if bend is None else float(z[-1]), curve, bend)
            _, ds, dz, _ = newton.step(s, z, dual, primal, off, s * z)
            reach = min(_reach(s, ds), _reach(z, dz))
            aim = (float((s + reach * ds) @ (z + reach * dz)) * lay.share / max(mean, 1e-300)) ** 3 * mean
            # Not nearer to the bounds than the slopes are to rest: the square-root costs are no quadratic, and lag behind.
            aim = max(aim, min(mean, 1e-2 * rest), 0.1 * ENOUGH)
            dx, ds, dz, dy = newton.step(s, z, dual, primal, off, s * z + ds * dz - aim)
        except np.linalg.LinAlgError:
            return None
        reach = min(_reach(s, ds), _reach(z, dz))
        if lay.has_u:
            reach = min(reach, _reach(x[n : 2 * n], dx[n : 2 * n]))
        share = min(1.0, max(0.99, 1.0 - mean) * reach)
        x, s, z, y = x + share * dx, s + share * ds, z + share * dz, y + share * dy
    return None


class _Newton:
    """The equations of one step, factorised: each instrument's own block, the covariance, and then the few sums over all.

    Raises LinAlgError where they have no one solution.
    """

    def __init__(self, lay: _Layout, d: FloatArray, price: float, curve: FloatArray, bend: FloatArray | None) -> None:
        from scipy.linalg.lapack import dpotrf, dpotrs

        n, self.lay, self.d, self.bend, self.sides, self._solve = lay.n, lay, d, bend, len(lay.equal), dpotrs
        at = len(lay.high_at)
        own = np.full(n, lay.nearness)
        own[lay.high_at] += d[:at]
        own[lay.low_at] += d[at : at + len(lay.low_at)]
        at += len(lay.low_at)
        # u and v touch their own instrument only: they are eliminated from its diagonal.
        self.ties = []
        for part in range(1, lay.parts):
            first, second = d[at : at + n], d[at + n : at + 2 * n]
            both, tie = first + second, second - first
            beside = both + curve if lay.has_u and part == 1 else both
            own += both - tie * tie / beside
            self.ties.append((slice(part * n, (part + 1) * n), tie, beside))
            at += 2 * n
        weight = lay.aversion + (price / n if bend is not None else 0.0)
        matrix = weight * lay.covariance if lay.covariance is not None and weight else np.zeros((n, n))
        matrix.flat[:: n + 1] += own
        self.factor, failed = dpotrf(matrix, lower=1, overwrite_a=1, clean=0)
        if failed:
            raise np.linalg.LinAlgError("no positive curvature")
        self.table = lay.table
        if bend is not None:
            self.table[-1, :n] = bend / n
        self.behind = self._base(self.table.T.copy())
        self.small = self.table @ self.behind
        self.many = len(self.table) - self.sides
        # A trace on the equations lets two that say the same stand side by side.
        self.small.flat[:: len(self.small) + 1] += np.concatenate([np.full(self.sides, 1e-14), 1.0 / d[len(d) - self.many :]])

    def _base(self, right: FloatArray) -> FloatArray:
        """Solve with all but the sums: (variables, columns)."""
        n, out = self.lay.n, np.empty_like(right)
        reduced = right[:n].copy()
        for place, tie, beside in self.ties:
            reduced -= (tie / beside)[:, None] * right[place]
        out[:n] = self._solve(self.factor, reduced, lower=1)[0]
        for place, tie, beside in self.ties:
            out[place] = (right[place] - tie[:, None] * out[:n]) / beside[:, None]
        return out

    def step(
        self, s: FloatArray, z: FloatArray, dual: FloatArray, primal: FloatArray, off: FloatArray, complement: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The step of x, s, z and y that ends these residuals and takes *complement* off the products s z."""
        lay, first = self.lay, len(self.d) - self.many
        own_rows = self.d * primal - complement / s
        own_rows[first:] = 0.0
        plain = self._base((-dual - lay.pressed(own_rows, self.bend))[:, None])[:, 0]
        aims = np.concatenate([-off, complement[first:] / z[first:] - primal[first:]])
        pushed = np.linalg.solve(self.small, self.table @ plain - aims) if len(self.table) else np.empty(0)
        dx = plain - self.behind @ pushed
        ds = -primal - lay.moved(dx, self.bend)
        return dx, ds, -(complement + z * ds) / s, pushed[: self.sides]


def _begin(lay: _Layout, start: Start | None) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The first point: everything well inside of its bounds; from where the last search ended, if that was of this shape, less so."""
    n = lay.n
    if start is not None and start.x.shape == (n * lay.parts,) and start.z.shape == (lay.count,):
        x, room = start.x.copy(), 0.3
    else:
        x, room, start = np.zeros(n * lay.parts), 1.0, None
        x[:n] = lay.held
    w = x[:n]
    if lay.has_u:
        x[n : 2 * n] = np.abs(w - lay.held) + room
    if lay.has_v:
        x[(lay.parts - 1) * n :] = np.abs(w) + room
    pull = lay.covariance @ w if lay.variance_max < inf and lay.covariance is not None else None
    s = np.maximum(-lay.levels(x, pull), room)
    z = np.full(lay.count, room) if start is None else np.maximum(start.z, 0.03)
    return x, s, z, np.zeros(len(lay.equal))


def _reach(values: FloatArray, steps: FloatArray) -> float:
    """How much of a step leaves all values above 0: at most 1."""
    shrinking = steps < 0.0
    return min(1.0, float(np.min(-values[shrinking] / steps[shrinking], initial=1.0)))
