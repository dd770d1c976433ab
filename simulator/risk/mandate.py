"""What a book may be: limits on weights, all of which hold at once or are named.

Weights are multiples of equity, (instruments,), negative for a short position. A mandate only says; `risk.projection` brings weights within it, and
`models.construction` looks for the best ones inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.risk.measures import as_covariance, as_vector

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

TOLERANCE: Final = 1e-9
"""By how much of equity a limit may be broken before it counts: what rounding does to a sum of weights is far below."""


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """A limit on a sum: *loadings* times the weights, or, if *absolute*, times their absolute values, from *low* to *high*.

    An absolute one has loadings of 0 or more, and no *low*: at least so much of something long or short is no convex wish.
    """

    name: str
    loadings: FloatArray
    low: float = -inf
    high: float = inf
    absolute: bool = False

    def __post_init__(self) -> None:
        as_vector(f"the loadings of {self.name}", self.loadings)
        if not self.low <= self.high:
            raise DataError(f"mandate: {self.name} must be from a low to a high, were {self.low!r} and {self.high!r}")
        if self.absolute and not (self.low == -inf and self.high >= 0.0 and (self.loadings >= 0.0).all()):
            raise DataError(f"mandate: {self.name} limits absolute weights, so that loadings and high must be at least 0, and low infinite")


class Box(NamedTuple):
    """A limit on each weight, from *low* to *high*, both (instruments,)."""

    name: str
    low: FloatArray
    high: FloatArray


class Breach(NamedTuple):
    """A limit that weights break, and *by* how much: in weights, or in volatility per period for that one."""

    limit: str
    by: float


class Conflict(NamedTuple):
    """Limits that cannot all hold. *limits* contradict each other; *giving* are those of them that, moved by so much, would end it most cheaply."""

    limits: tuple[str, ...]
    giving: tuple[Breach, ...]

    @property
    def words(self) -> str:
        """The conflict as a person would say it."""
        ways = " and ".join(f"{name} by {by:.3g}" for name, by in self.giving)
        return f"these limits cannot all hold: {', '.join(self.limits)}" + (f"; move {ways}" if ways else "")


@dataclass(frozen=True, slots=True, eq=False)
class Mandate:
    """Limits on a book of *count* instruments; see `mandate` for how to say them.

    *turnover_max* is the sum of absolute changes from *held*; *volatility_max* is per period, as *covariance* is.
    """

    count: int
    boxes: tuple[Box, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    held: FloatArray | None = None
    turnover_max: float = inf
    covariance: FloatArray | None = None
    volatility_max: float = inf

    @property
    def low(self) -> FloatArray:
        """The highest low of all boxes, (instruments,)."""
        low: FloatArray = np.max([np.full(self.count, -inf), *(box.low for box in self.boxes)], axis=0)
        return low

    @property
    def high(self) -> FloatArray:
        """The lowest high of all boxes, (instruments,)."""
        high: FloatArray = np.min([np.full(self.count, inf), *(box.high for box in self.boxes)], axis=0)
        return high

    def levels(self, weights: FloatArray) -> Iterator[tuple[str, float, float, float]]:
        """Every limit but the boxes: its name, its low, where *weights* are, and its high."""
        for limit in self.exposures:
            yield limit.name, limit.low, float(limit.loadings @ (np.abs(weights) if limit.absolute else weights)), limit.high
        if self.turnover_max < inf:
            assert self.held is not None
            yield "turnover", -inf, float(np.abs(weights - self.held).sum()), self.turnover_max
        if self.volatility_max < inf:
            assert self.covariance is not None
            yield "volatility", -inf, sqrt(max(float(weights @ self.covariance @ weights), 0.0)), self.volatility_max

    def breaches(self, weights: npt.ArrayLike, tolerance: float = TOLERANCE) -> tuple[Breach, ...]:
        """The limits that *weights* break by more than *tolerance*, in the order in which they were said."""
        w = as_vector("weights", weights, self.count)
        beyond = [Breach(box.name, float(max((box.low - w).max(), (w - box.high).max()))) for box in self.boxes]
        beyond += [Breach(name, max(low - level, level - high)) for name, low, level, high in self.levels(w)]
        return tuple(breach for breach in beyond if breach.by > tolerance)


class Objective(NamedTuple):
    """What to maximise inside: alpha' w - aversion / 2 w' C w - nearness / 2 w' w - linear' |w - held| - power' |w - held|^(3/2).

    C is the mandate's covariance; all vectors are (instruments,); None is no such cost.
    """

    alpha: FloatArray
    aversion: float = 0.0
    nearness: float = 0.0
    linear: FloatArray | None = None
    power: FloatArray | None = None

    def slope(self, covariance: FloatArray | None) -> float:
        """The largest of the slopes that meet at typical weights of 1 / instruments: in units of it a solver's tolerances mean something."""
        costs = [float(x.max()) for x in (self.linear, self.power) if x is not None]
        variance = 0.0 if covariance is None else float(np.diagonal(covariance).mean())
        return max(float(np.abs(self.alpha).max()), *costs, (self.aversion * variance + self.nearness) / len(self.alpha), 1e-300)


def mandate(
    count: int,
    *,
    net: tuple[float, float] = (-inf, inf),
    gross_max: float = inf,
    name_max: float | npt.ArrayLike = inf,
    long_only: bool = False,
    groups: Mapping[str, Sequence[int]] | None = None,
    group_max: float | Mapping[str, float] = inf,
    factors: Mapping[str, npt.ArrayLike] | None = None,
    factor_max: float | Mapping[str, float] = 0.0,
    liquidity: npt.ArrayLike | None = None,
    held: npt.ArrayLike | None = None,
    turnover_max: float = inf,
    covariance: npt.ArrayLike | None = None,
    volatility_max: float = inf,
) -> Mandate:
    """Say a mandate for *count* instruments; what is not given is no limit.

    *net* is the sum of weights, from and to; *gross_max* that of absolute weights; *name_max* the largest absolute weight, one or (instruments,).
    *groups* has the instruments of each group, whose gross exposure is at most *group_max*; *factors* has each factor's loadings, (instruments,),
    to which the exposure is at most *factor_max* either way, 0 for neutral: betas are such loadings. *liquidity* has the largest absolute weights
    that can be left in time, (instruments,), see `liquidity_weights`. *turnover_max* is the sum of absolute changes from *held*, which it needs,
    and *volatility_max* is per period of *covariance*, which it needs. Raises DataError, naming the limit.
    """
    if count < 1:
        raise DataError(f"mandate: there must be at least 1 instrument, were {count!r}")
    boxes = []
    if long_only:
        boxes.append(Box("long only", np.zeros(count), np.full(count, inf)))
    for name, most in (("name", name_max), ("liquidity", liquidity)):
        caps = np.asarray(inf if most is None else most, dtype=np.float64)
        caps = np.full(count, caps) if caps.ndim == 0 else caps
        if caps.shape != (count,) or not (caps >= 0.0).all():
            raise DataError(f"mandate: {name} must be at least 0, one or ({count},), was {most!r}")
        if (caps < inf).any():
            boxes.append(Box(name, -caps, caps))
    limits = []
    if net != (-inf, inf):
        limits.append(Exposure("net", np.ones(count), *net))
    if _limited("gross_max", gross_max):
        limits.append(Exposure("gross", np.ones(count), -inf, gross_max, absolute=True))
    for group, members in (groups or {}).items():
        if _limited(f"group_max of {group}", most := group_max[group] if isinstance(group_max, Mapping) else group_max):
            limits.append(Exposure(f"group {group}", _members(group, members, count), -inf, most, absolute=True))
    for factor, loadings in (factors or {}).items():
        if _limited(f"factor_max of {factor}", most := factor_max[factor] if isinstance(factor_max, Mapping) else factor_max):
            limits.append(Exposure(f"factor {factor}", as_vector(f"the loadings of {factor}", loadings, count), -most, most))
    before = None if held is None else as_vector("held", held, count)
    if _limited("turnover_max", turnover_max) and before is None:
        raise DataError("mandate: turnover_max needs the weights that are held: give them as held")
    risk = None if covariance is None else as_covariance(covariance)
    if risk is not None and len(risk) != count:
        raise DataError(f"mandate: the covariance must be of {count} instruments, was of {len(risk)}")
    if _limited("volatility_max", volatility_max) and risk is None:
        raise DataError("mandate: volatility_max needs a covariance")
    return Mandate(count, tuple(boxes), tuple(limits), before, turnover_max, risk, volatility_max)


def liquidity_weights(
    volumes: npt.ArrayLike, prices: npt.ArrayLike, equity: float, days: float, share: float = 0.1, multipliers: float | npt.ArrayLike = 1.0
) -> FloatArray:
    """The largest absolute weights that can be left in *days*, trading a *share* of each average daily volume (in units): (instruments,).

    It is days x share x volume x price x multiplier over *equity*.
    """
    v, p = as_vector("volumes", volumes), as_vector("prices", prices)
    if not (equity > 0.0 and days > 0.0 and share > 0.0):
        raise DataError(f"mandate: equity, days and share must be above 0, were {equity!r}, {days!r} and {share!r}")
    caps: FloatArray = days * share * v * p * np.asarray(multipliers, dtype=np.float64) / equity
    return caps


def _members(group: str, members: Sequence[int], count: int) -> FloatArray:
    inside = np.zeros(count)
    for i in members:
        if not 0 <= i < count:
            raise DataError(f"mandate: group {group} has no instrument {i}: there are {count}, from 0")
        inside[i] = 1.0
    return inside


def _limited(name: str, most: Any) -> bool:
    """Whether there is such a limit at all."""
    if not most >= 0.0:
        raise DataError(f"mandate: {name} must be at least 0 (inf is off), was {most!r}")
    return bool(most < inf)
