"""Sizers that a scenario names: they turn the weights that a strategy asks for into weights of the right size.

Of what a strategy gives to `view.rebalance` or `view.enter` a sizer takes the signs, and most kinds the gross exposure that they come to together;
0 stays 0 and NaN stays NaN. Volatilities and covariances are of the *window* returns that end now. An instrument that has fewer is left alone until
it has them. None turns a long position into a short one: returns are counted in the direction that was asked for, and none is held against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

import numpy as np

from simulator.models import covariance as estimators
from simulator.risk import sizing

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray
    from simulator.market.view import View

Covariance = Literal["sample", "ewma", "ledoit_wolf", "oas", "nonlinear_shrinkage", "marchenko_pastur"]


@dataclass(frozen=True)
class FixedFraction:
    """A fixed *fraction* of equity in each direction; with a *stop* (a share of the price), the fraction that is lost where it is hit."""

    fraction: float = 0.1
    stop: float | None = None

    def __post_init__(self) -> None:
        _above_0(self, "fraction", *([] if self.stop is None else ["stop"]))

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        sized = wanted.copy()
        on = _asked(wanted)
        if on.any():
            sized[on] = sizing.fixed_fraction(wanted[on], self.fraction, self.stop)
        return sized


@dataclass(frozen=True)
class InverseVolatility:
    """The gross exposure asked for, shared out in proportion to 1 / volatility."""

    window: int = 63

    def __post_init__(self) -> None:
        _long_enough(self.window)

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        return _sized(wanted, view, self.window, lambda w, r: _gross(w) * sizing.inverse_volatility(r.std(axis=0, ddof=1)))


@dataclass(frozen=True)
class EqualRisk:
    """The gross exposure asked for, shared out so that each contributes the same share of the book's volatility."""

    window: int = 126
    covariance: Covariance = "ledoit_wolf"

    def __post_init__(self) -> None:
        _long_enough(self.window)

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        return _sized(wanted, view, self.window, lambda w, r: _gross(w) * sizing.equal_risk(_estimate(self.covariance, r)))


@dataclass(frozen=True)
class VolatilityTarget:
    """The weights asked for, all times the same number, so that the book's volatility is *target* a year, or its gross exposure *gross_max*."""

    target: float = 0.1
    window: int = 63
    covariance: Covariance = "ledoit_wolf"
    periods: float = 252.0
    gross_max: float = 2.0

    def __post_init__(self) -> None:
        _long_enough(self.window)
        _above_0(self, "target", "periods", "gross_max")

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        def scaled(w: FloatArray, r: FloatArray) -> FloatArray:
            return sizing.volatility_target(np.abs(w), _estimate(self.covariance, r), self.target, self.periods, self.gross_max)

        return _sized(wanted, view, self.window, scaled)


@dataclass(frozen=True)
class AlphaOverVolatility:
    """*scale* times what is asked for, taken as alpha, over volatility, at most *name_max* each."""

    scale: float = 0.05
    name_max: float = 0.1
    window: int = 63

    def __post_init__(self) -> None:
        _long_enough(self.window)
        _above_0(self, "scale", "name_max")

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        def scaled(w: FloatArray, r: FloatArray) -> FloatArray:
            return sizing.alpha_over_volatility(np.abs(w), r.std(axis=0, ddof=1), self.scale, self.name_max)

        return _sized(wanted, view, self.window, scaled)


@dataclass(frozen=True)
class Kelly:
    """*fraction* of the weights under which equity grew fastest in the window, with correlations shrunk by *shrink* and limits on names and gross."""

    fraction: float = 0.5
    shrink: float = 0.5
    name_max: float = 0.5
    gross_max: float = 2.0
    window: int = 252
    covariance: Covariance = "ledoit_wolf"

    def __post_init__(self) -> None:
        _long_enough(self.window)
        _above_0(self, "fraction", "name_max", "gross_max")
        if not 0.0 <= self.shrink <= 1.0:
            raise ValueError(f"shrink must be from 0 to 1, was {self.shrink!r}")

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        def grown(w: FloatArray, r: FloatArray) -> FloatArray:
            estimate = _estimate(self.covariance, r)
            return sizing.kelly_many(r.mean(axis=0), estimate, self.fraction, self.shrink, self.name_max, self.gross_max)

        return _sized(wanted, view, self.window, grown)


@dataclass(frozen=True)
class MeanVariance:
    """The gross exposure asked for, shared out for the largest mean return less *aversion* / 2 times the variance."""

    aversion: float = 5.0
    window: int = 252
    covariance: Covariance = "ledoit_wolf"

    def __post_init__(self) -> None:
        _long_enough(self.window)
        _above_0(self, "aversion")

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        def shared(w: FloatArray, r: FloatArray) -> FloatArray:
            return _gross(w) * sizing.mean_variance(r.mean(axis=0), _estimate(self.covariance, r), self.aversion, long_only=True)

        return _sized(wanted, view, self.window, shared)


@dataclass(frozen=True)
class MinimumVariance:
    """The gross exposure asked for, shared out for the least variance."""

    window: int = 126
    covariance: Covariance = "ledoit_wolf"

    def __post_init__(self) -> None:
        _long_enough(self.window)

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        return _sized(wanted, view, self.window, lambda w, r: _gross(w) * sizing.minimum_variance(_estimate(self.covariance, r), long_only=True))


@dataclass(frozen=True)
class TargetReturn:
    """The gross exposure asked for, shared out for the least variance at a mean return of *target* a period, or the nearest that there is."""

    target: float = 0.0005
    window: int = 252
    covariance: Covariance = "ledoit_wolf"

    def __post_init__(self) -> None:
        _long_enough(self.window)
        if not -inf < self.target < inf:
            raise ValueError(f"target must be a number, was {self.target!r}")

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        def shared(w: FloatArray, r: FloatArray) -> FloatArray:
            mu = r.mean(axis=0)
            target = min(max(self.target, float(mu.min())), float(mu.max()))
            return _gross(w) * sizing.target_return(mu, _estimate(self.covariance, r), target, long_only=True)

        return _sized(wanted, view, self.window, shared)


def _sized(wanted: FloatArray, view: View, window: int, share: Callable[[FloatArray, FloatArray], FloatArray]) -> FloatArray:
    """*share* of what is asked for, in its own directions: it takes weights and returns, (window, instruments asked for), as if all were long."""
    sized, on = wanted.copy(), _asked(wanted)
    if view.row < window:
        sized[on] = np.nan
        return sized
    marks = view.history("marks", window + 1)
    returns = marks[1:] / marks[:-1] - 1.0
    known = np.isfinite(returns).all(axis=0)
    sized[on & ~known] = np.nan
    on &= known
    if on.any():
        direction = np.sign(wanted[on])
        # None is held against the direction that was asked for.
        sized[on] = direction * np.maximum(share(np.abs(wanted[on]), returns[:, on] * direction), 0.0)
    return sized


def _asked(wanted: FloatArray) -> np.ndarray:
    asked: np.ndarray = np.isfinite(wanted) & (wanted != 0.0)
    return asked


def _gross(weights: FloatArray) -> float:
    return float(np.abs(weights).sum())


def _estimate(name: Covariance, returns: FloatArray) -> FloatArray:
    if name == "ewma":
        return estimators.ewma(returns, decay=0.94)
    estimate: FloatArray = getattr(estimators, name)(returns)
    return estimate


def _long_enough(window: int) -> None:
    if window < estimators.LEAST_NONLINEAR:
        raise ValueError(f"window must be at least {estimators.LEAST_NONLINEAR} returns, was {window!r}")


def _above_0(sizer: object, *names: str) -> None:
    for name in names:
        if not 0.0 < getattr(sizer, name) < inf:
            raise ValueError(f"{name} must be above 0, was {getattr(sizer, name)!r}")
