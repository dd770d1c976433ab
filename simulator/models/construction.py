"""Which book to hold: alpha less risk and costs at its largest, with every limit inside the optimisation and none applied after it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.risk.mandate import Mandate, Objective
from simulator.risk.measures import as_vector
from simulator.risk.projection import Allowed, Search

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray


class Constructor:
    """Finds the weights with the largest alpha' w - aversion / 2 w' C w - linear' |w - held| - square_root' |w - held|^(3/2) inside a mandate.

    C is the mandate's covariance, and held what it holds. *linear* is the cost of trading as a share of what is traded, one or (instruments,): half a
    spread and a commission. *square_root* is what makes the impact: a trade of weight x costs square_root x^(3/2), which by the square-root law is
    Y sigma sqrt(equity / average daily value); see `impact_costs`. All are of the period that alpha is of.

    Keep it from one rebalance to the next: it begins where the last one ended.
    """

    __slots__ = ("_aversion", "_linear", "_power", "_search")

    def __init__(self, aversion: float = 1.0, linear: float | npt.ArrayLike = 0.0, square_root: float | npt.ArrayLike = 0.0) -> None:
        if not 0.0 <= aversion < inf:
            raise DataError(f"construction: aversion must be at least 0, was {aversion!r}")
        self._aversion, self._search = aversion, Search()
        self._linear, self._power = _costs("linear", linear), _costs("square_root", square_root)

    def weights(self, alpha: npt.ArrayLike, mandate: Mandate) -> Allowed:
        """The best weights for *alpha*, (instruments,), every limit of *mandate* kept to rounding, or the limits that are in conflict.

        Raises DataError where alpha without risk or limits has no best, and where costs or risk are asked for and the mandate lacks `held` or
        `covariance`.
        """
        a = as_vector("alpha", alpha, mandate.count)
        if mandate.covariance is None and self._aversion > 0.0:
            raise DataError("construction: an aversion to risk needs the mandate's covariance")
        linear, power = _spread(self._linear, mandate.count), _spread(self._power, mandate.count)
        if mandate.held is None and (linear is not None or power is not None):
            raise DataError("construction: costs of trading need the mandate's held weights, zeros if there are none")
        return self._search.best(mandate, Objective(a, self._aversion, 0.0, linear, power))


def construct(
    alpha: npt.ArrayLike, mandate: Mandate, aversion: float = 1.0, linear: float | npt.ArrayLike = 0.0, square_root: float | npt.ArrayLike = 0.0
) -> Allowed:
    """One book by a `Constructor` that is not kept: see there."""
    return Constructor(aversion, linear, square_root).weights(alpha, mandate)


def impact_costs(volatilities: npt.ArrayLike, daily_values: npt.ArrayLike, equity: float, y: float = 1.0) -> FloatArray:
    """The square-root costs of a `Constructor`, (instruments,): y sigma sqrt(equity / average daily value), sigma per day and values in money.

    Source: Almgren, Thum, Hauptmann and Li (2005), "Direct estimation of equity market impact"; the broker's square-root slippage is the same law.
    """
    v = as_vector("volatilities", volatilities)
    values = as_vector("daily_values", daily_values, len(v))
    if not (values > 0.0).all() or not equity > 0.0 or not (v >= 0.0).all():
        raise DataError("construction: daily values and equity must be above 0, and volatilities not below")
    costs: FloatArray = y * v * np.sqrt(equity / values)
    return costs


def _costs(name: str, given: float | npt.ArrayLike) -> FloatArray | None:
    costs = np.asarray(given, dtype=np.float64)
    if costs.ndim > 1 or not (costs >= 0.0).all() or not np.isfinite(costs).all():
        raise DataError(f"construction: {name} must be at least 0, one or one an instrument, was {given!r}")
    return costs if (costs > 0.0).any() else None


def _spread(costs: FloatArray | None, count: int) -> FloatArray | None:
    if costs is None:
        return None
    if costs.ndim and len(costs) != count:
        raise DataError(f"construction: costs must be one or ({count},), were {costs.shape}")
    return np.broadcast_to(costs, (count,)).copy()
