"""The careful way through a mandate: as a conic programme, which Clarabel solves, https://clarabel.org (Goulart and Chen, 2024).

It takes ten times as long as `risk.interior`, and answers what that one cannot: whether any weights keep all limits, and, if none do, which limits
are in conflict and which of them had to give least. For that each limit gets a slack, and the sum of slacks is made as small as it can be.

Variables: weights w; where risk counts y = root w, with root' root the covariance; where trading counts u >= |w - held|; for square-root costs s and
t with t s >= u^2 and s^2 <= u, so that t >= u^(3/2); where gross or group exposure is limited v >= |w|; and, if elastic, one slack for each limit.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from simulator.errors import DataError
from simulator.risk.mandate import Breach, Conflict, Mandate, Objective

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

GIVEN: Final = 1e-7
"""A slack below this is what a solver leaves of nothing."""


class _Rows(NamedTuple):
    """Rows of one limit, or of none (a definition): a matrix for each part of the variables, and what they come to at most."""

    limit: str
    blocks: dict[str, Any]
    most: FloatArray


def solve(mandate: Mandate, objective: Objective) -> FloatArray | None:
    """The best weights, (instruments,), as near as the solver came to them; None if it takes the limits for contradictory.

    Raises DataError where there are no best ones, because nothing stops what gains.
    """
    found, _ = _solve(mandate, objective, elastic=False)
    status = str(found.status)
    if "DualInfeasible" in status:
        raise DataError("mandate: what is to be maximised grows without end inside it; limit gross, names or volatility")
    return None if "PrimalInfeasible" in status else np.array(found.x)[: mandate.count]


def relax(mandate: Mandate) -> tuple[FloatArray, Conflict | None]:
    """Weights that break the limits least, (instruments,), and the conflict if they break any."""
    found, rows = _solve(mandate, Objective(np.zeros(mandate.count)), elastic=True)
    names, risk = _names(mandate), _typical_risk(mandate)
    x, z = np.array(found.x), np.abs(found.z)
    slacks = x[len(x) - len(names) :].tolist()
    giving = tuple(Breach(name, by * (risk if name == "volatility" else 1.0)) for name, by in zip(names, slacks, strict=True) if by > GIVEN)
    if not giving:
        return x[: mandate.count], None
    # What a limit's rows cost, of at most 1 for a limit that gives: nothing, if it is not part of the contradiction.
    prices = {name: float(z[rows == name].sum()) for name in names}
    return x[: mandate.count], Conflict(tuple(name for name in names if prices[name] > 1e-3), giving)


def _names(mandate: Mandate) -> list[str]:
    return [box.name for box in mandate.boxes] + [name for name, *_ in mandate.levels(np.zeros(mandate.count))]


def _typical_risk(mandate: Mandate) -> float:
    """The volatility of a typical name, in units of which volatility is counted."""
    return 1.0 if mandate.covariance is None else float(np.sqrt(np.diagonal(mandate.covariance).mean())) or 1.0


def _curved(mandate: Mandate, starts: dict[str, int], risk: float, trade: float) -> tuple[list[_Rows], list[Any]]:
    """The limits that are no straight lines, and the cones that they are: volatility, and the 3/2 power of costs."""
    import clarabel
    from scipy import sparse

    n = mandate.count
    whole, zeros = sparse.identity(n, format="csr"), np.zeros(n)
    cones: list[_Rows] = []
    shapes: list[Any] = []
    if mandate.volatility_max < inf:
        level = np.concatenate([[mandate.volatility_max / risk], zeros])
        cones.append(_Rows("volatility", {"y": sparse.vstack([sparse.csr_matrix((1, n)), -whole])}, level))
        shapes.append(clarabel.SecondOrderConeT(n + 1))
    if "s" in starts:
        first, second, third = (np.eye(3)[:, k : k + 1] for k in range(3))
        cones.append(
            _Rows(
                "",
                {
                    "t": sparse.kron(whole, -first - second),
                    "s": sparse.kron(whole, second - first),
                    "u": sparse.kron(whole, -2.0 / trade * third),
                },
                np.zeros(3 * n),
            )
        )
        edge = {"u": sparse.kron(whole, -(first + second) / trade), "s": sparse.kron(whole, -2.0 * third)}
        cones.append(_Rows("", edge, np.tile([1.0, -1.0, 0.0], n)))
        shapes += [clarabel.SecondOrderConeT(3)] * (2 * n)
    return cones, shapes


def _costs(
    mandate: Mandate, objective: Objective | None, starts: dict[str, int], width: int, risk: float, trade: float
) -> tuple[np.ndarray, np.ndarray]:
    """What the programme minimises, as linear and square costs of its unknowns: the slack of limits where there is no *objective*."""
    n = mandate.count
    linear, square = np.zeros(width), np.zeros(width)
    if objective is None:
        # The cheapest way out; a trace of the rest keeps weights that nothing limits from drifting.
        linear[starts["slack"] :] = 1.0
        square[:n] = 1e-6
    else:
        scale = 1.0 / objective.slope(mandate.covariance)
        linear[:n], square[:n] = -objective.alpha * scale, objective.nearness * scale
        if "y" in starts:
            square[starts["y"] : starts["y"] + n] = objective.aversion * risk**2 * scale
        if objective.linear is not None:
            linear[starts["u"] : starts["u"] + n] = objective.linear * scale
        if objective.power is not None:
            linear[starts["t"] : starts["t"] + n] = objective.power * scale * trade**1.5
    return linear, square


def _solve(mandate: Mandate, objective: Objective, elastic: bool) -> tuple[Any, np.ndarray]:
    """What the solver says, and the limit that each row is of."""
    import clarabel
    from scipy import sparse

    n, risk, trade = mandate.count, _typical_risk(mandate), 1.0 / mandate.count
    names, whole, zeros = _names(mandate), sparse.identity(n, format="csr"), np.zeros(n)
    starts, width = _starts(mandate, objective), 0
    for part in starts:
        starts[part], width = width, width + n
    if elastic:
        starts["slack"], width = width, width + len(names)

    equations, most = _linear(mandate, elastic, starts)
    if "y" in starts:
        assert mandate.covariance is not None
        equations.append(_Rows("", {"w": sparse.csr_matrix(_root(mandate.covariance) / risk), "y": -whole}, zeros))
    for part, centre in (("u", zeros if mandate.held is None else mandate.held), ("v", zeros)):
        if part in starts:
            most += [_Rows("", {"w": whole, part: -whole}, centre), _Rows("", {"w": -whole, part: -whole}, -centre)]
    if elastic:
        most.append(_Rows("", {"slack": -sparse.identity(len(names), format="csr")}, np.zeros(len(names))))
    cones, shapes = _curved(mandate, starts, risk, trade)
    blocks = [_wide(rows, starts, width, names.index(rows.limit) if elastic and rows.limit else None) for rows in equations + most + cones]
    heights = [block.shape[0] for block in blocks]
    equal, unequal = sum(heights[: len(equations)]), sum(heights[len(equations) : len(equations) + len(most)])
    shapes = [clarabel.ZeroConeT(equal)] * (equal > 0) + [clarabel.NonnegativeConeT(unequal)] * (unequal > 0) + shapes
    levels = np.concatenate([rows.most for rows in equations + most + cones])
    owners = np.repeat([rows.limit for rows in equations + most + cones], heights)

    linear, square = _costs(mandate, objective if not elastic else None, starts, width, risk, trade)
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads = False, 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-9
    each = np.arange(width + 1)
    curvature = sparse.csc_matrix((square, each[:-1], each))
    return clarabel.DefaultSolver(curvature, linear, sparse.vstack(blocks, format="csc"), levels, shapes, settings).solve(), owners


def _starts(mandate: Mandate, objective: Objective) -> dict[str, int]:
    """Which parts the variables have, in their order."""
    parts = ["w"]
    if objective.aversion > 0.0 or mandate.volatility_max < inf:
        parts.append("y")
    if mandate.turnover_max < inf or objective.linear is not None or objective.power is not None:
        parts.append("u")
    if objective.power is not None:
        parts += ["t", "s"]
    if any(limit.absolute for limit in mandate.exposures):
        parts.append("v")
    return dict.fromkeys(parts, 0)


def _linear(mandate: Mandate, elastic: bool, starts: dict[str, int]) -> tuple[list[_Rows], list[_Rows]]:
    """The limits that are equations, and those that are inequalities. What may give is an inequality to either side."""
    from scipy import sparse

    whole, equations, most = sparse.identity(mandate.count, format="csr"), [], []
    for box in mandate.boxes:
        for sign, side in ((1.0, box.high), (-1.0, -box.low)):
            if len(rows := np.flatnonzero(side < inf)):
                most.append(_Rows(box.name, {"w": sign * whole[rows]}, side[rows]))
    for limit in mandate.exposures:
        part, row = "v" if limit.absolute else "w", sparse.csr_matrix(limit.loadings[None, :])
        if limit.low == limit.high and not elastic:
            equations.append(_Rows(limit.name, {part: row}, np.array([limit.low])))
            continue
        for sign, bound in ((1.0, limit.high), (-1.0, -limit.low)):
            if bound < inf:
                most.append(_Rows(limit.name, {part: sign * row}, np.array([bound])))
    if "u" in starts and mandate.turnover_max < inf:
        most.append(_Rows("turnover", {"u": sparse.csr_matrix(np.ones((1, mandate.count)))}, np.array([mandate.turnover_max])))
    return equations, most


def _wide(rows: _Rows, starts: dict[str, int], width: int, slack: int | None) -> Any:
    """Rows over all variables; those of a limit that may give have its slack: of a cone, its first row."""
    from scipy import sparse

    height = len(rows.most)
    blocks = [sparse.coo_matrix(block) for block in rows.blocks.values()]
    r = [block.row for block in blocks]
    c = [block.col + starts[part] for part, block in zip(rows.blocks, blocks, strict=True)]
    v = [block.data for block in blocks]
    if slack is not None:
        own = np.arange(1 if rows.limit == "volatility" else height)
        r.append(own)
        c.append(np.full(len(own), starts["slack"] + slack))
        v.append(np.full(len(own), -1.0))
    return sparse.coo_matrix((np.concatenate(v), (np.concatenate(r), np.concatenate(c))), (height, width))


def _root(covariance: FloatArray) -> FloatArray:
    """A matrix with root' root = covariance; a singular covariance has one too."""
    try:
        return np.asarray(np.linalg.cholesky(covariance).T)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))).T)
