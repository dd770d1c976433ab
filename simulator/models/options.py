"""European options: Black and Scholes with greeks for one asset, and calls and puts on a basket of assets.

Rates, dividends and volatilities are a year's, continuously compounded; maturities are in years. A basket is worth sum(weights x spots): weights are
units of each asset, and its assets are lognormal with constant correlation under the measure at which options are priced.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, isfinite, log, nan, pi, sqrt
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, ScenarioError
from simulator.loop.randomness import stream

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

Kind = Literal["call", "put"]

ROUNDING: Final = 1e-10
"""How far below 0 an eigenvalue of a correlation may lie by rounding alone."""


class Greeks(NamedTuple):
    """What an option is worth and how that moves: with the spot (*delta*, *gamma*), volatility (*vega*), a year less (*theta*) and the rate (*rho*).

    *vega* and *rho* are for a move of 1, that is 100 %. NaN where a derivative does not exist.
    """

    price: float
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


class MonteCarlo(NamedTuple):
    """A price and its standard error, which is 0 where the price is exact."""

    price: float
    error: float


def black_scholes(spot: float, strike: float, vol: float, rate: float, dividend: float, maturity: float, kind: Kind = "call") -> Greeks:
    """A European option on one asset. Without volatility, time or strike its value is that of a certain payment.

    Source: Black and Scholes (1973), Merton (1973). Raises ScenarioError for what cannot be priced.
    """
    for name, value in (("spot", spot), ("strike", strike), ("vol", vol), ("maturity", maturity)):
        if not 0.0 <= value < inf:
            raise ScenarioError(f"black_scholes: {name} must be a number of at least 0, was {value!r}")
    for name, value in (("rate", rate), ("dividend", dividend)):
        if not isfinite(value):
            raise ScenarioError(f"black_scholes: {name} must be a number, was {value!r}")
    sign = _sign(kind, "black_scholes")
    discount, carry, root = exp(-rate * maturity), exp(-dividend * maturity), vol * sqrt(maturity)
    held, owed = spot * carry, strike * discount
    if root == 0.0 or spot == 0.0 or strike == 0.0:
        # What is paid is known now. At the money to the last digit, it has a kink.
        worth = sign * (held - owed)
        if worth == 0.0 and spot > 0.0:
            return Greeks(0.0, nan, nan, nan, nan, nan)
        used = 1.0 if worth > 0.0 else 0.0
        grows = sign * used * (dividend * held - rate * owed)
        return Greeks(max(worth, 0.0), sign * used * carry, 0.0, 0.0, grows, sign * used * maturity * owed)
    d1 = (log(spot / strike) + (rate - dividend) * maturity) / root + 0.5 * root
    d2 = d1 - root
    price = sign * (held * _normal(sign * d1) - owed * _normal(sign * d2))
    density = exp(-0.5 * d1 * d1) / sqrt(2.0 * pi)
    decay = -held * density * vol / (2.0 * sqrt(maturity))
    return Greeks(
        max(price, 0.0),
        sign * carry * _normal(sign * d1),
        carry * density / (spot * root),
        held * density * sqrt(maturity),
        decay + sign * (dividend * held * _normal(sign * d1) - rate * owed * _normal(sign * d2)),
        sign * maturity * owed * _normal(sign * d2),
    )


def basket_price(
    spots: npt.ArrayLike,
    weights: npt.ArrayLike,
    strike: float,
    vols: npt.ArrayLike,
    dividends: npt.ArrayLike,
    rate: float,
    maturity: float,
    correlation: npt.ArrayLike,
    kind: Kind = "call",
    *,
    paths: int = 100_000,
    seed: int = 0,
) -> MonteCarlo:
    """A European call or put on a basket, and the standard error of its price: both in the money of *spots*.

    *spots*, *weights*, *vols* and *dividends* are (assets,), or one number for all; *correlation* is (assets, assets), or one number for all pairs.
    Half of *paths* normals are drawn and half are their mirror images; the basket's own forward and, where no weight is negative, a call on its
    geometric mean are the control variates (Kemna and Vorst, 1990). The normals depend on *seed*, the number of paths and the asset's place alone,
    so that prices at other spots, strikes or volatilities differ by what the option does and not by chance; calls and puts keep parity.

    Without volatility, time or (for positive weights) strike, and for one asset, it is exact and the error 0. The error is that of the sample: it
    is 0 as well where no path comes near the strike. Raises DataError for a correlation that is not positive semi-definite, and for shapes that do
    not fit.
    """
    basket = _Basket.of(spots, weights, strike, vols, dividends, rate, maturity, correlation)
    sign = _sign(kind, "basket_price")
    if paths < 8 or paths % 2:
        raise ScenarioError(f"basket_price: paths must be an even number of at least 8, was {paths!r}")
    exact = basket.exactly(sign)
    if exact is not None:
        return MonteCarlo(exact, 0.0)
    moves = (_normals(seed, paths // 2, len(basket.forwards)) @ basket.root) * sqrt(maturity)
    drift = -0.5 * basket.variances
    ends = [np.exp(drift + side * moves) @ basket.money for side in (1.0, -1.0)]
    means = [np.maximum(sign * (end - strike), 0.0) for end in ends]
    payoff, controls = 0.5 * (means[0] + means[1]), [0.5 * (ends[0] + ends[1]) - basket.forward]
    if (basket.money >= 0.0).all():
        shares = basket.money / basket.forward
        level, spread = log(basket.forward) + float(shares @ drift), moves @ shares
        # The same call for calls and puts: their difference is then the forward's, path by path.
        calls = [np.maximum(np.exp(level + side * spread) - strike, 0.0) for side in (1.0, -1.0)]
        variance = float(shares @ basket.covariance @ shares)
        controls.append(0.5 * (calls[0] + calls[1]) - _black(exp(level + 0.5 * variance), strike, variance, 1.0))
    x = np.column_stack(controls)
    centred = x - x.mean(axis=0)
    size = centred.std(axis=0)
    used = size > 1e-15 * basket.size
    slopes = np.linalg.lstsq(centred[:, used] / size[used], payoff - payoff.mean(), rcond=None)[0] / size[used]
    left = payoff - x[:, used] @ slopes
    error = float(left.std(ddof=1 + int(used.sum()))) / sqrt(len(left))
    return MonteCarlo(basket.discount * max(float(left.mean()), 0.0), basket.discount * error)


def basket_moments(
    spots: npt.ArrayLike,
    weights: npt.ArrayLike,
    strike: float,
    vols: npt.ArrayLike,
    dividends: npt.ArrayLike,
    rate: float,
    maturity: float,
    correlation: npt.ArrayLike,
    kind: Kind = "call",
) -> float:
    """The same price by moment matching: Black's formula for a lognormal with the basket's mean and variance. Weights must not be negative.

    Within a percent of the true price for volatilities up to about 40 % a year and a year's maturity. Source: Levy (1992), "Pricing European average
    rate currency options".
    """
    basket = _Basket.of(spots, weights, strike, vols, dividends, rate, maturity, correlation)
    sign = _sign(kind, "basket_moments")
    exact = basket.exactly(sign)
    return exact if exact is not None else basket.discount * _black(basket.forward, strike, basket.matched(), sign)


def basket_deltas(
    spots: npt.ArrayLike,
    weights: npt.ArrayLike,
    strike: float,
    vols: npt.ArrayLike,
    dividends: npt.ArrayLike,
    rate: float,
    maturity: float,
    correlation: npt.ArrayLike,
    kind: Kind = "call",
) -> FloatArray:
    """How the price by moment matching moves with each spot: (assets,). Weights must not be negative; NaN at a kink of a certain payment."""
    basket = _Basket.of(spots, weights, strike, vols, dividends, rate, maturity, correlation)
    sign = _sign(kind, "basket_deltas")
    per_spot = np.asarray(basket.money / np.broadcast_to(np.asarray(spots, np.float64), basket.money.shape), np.float64)
    if basket.exactly(sign) is not None and basket.certain:
        worth = sign * (basket.forward - strike)
        share = nan if worth == 0.0 else float(worth > 0.0)
        certain: FloatArray = basket.discount * sign * share * per_spot
        return certain
    first, variance = basket.forward, basket.matched()
    root = sqrt(variance)
    d1 = log(first / strike) / root + 0.5 * root
    # Black's price moves with the mean and with the variance, and both with the spot.
    grown = np.exp(basket.covariance) @ basket.money
    second = float(basket.money @ grown)
    by_variance = first * exp(-0.5 * d1 * d1) / sqrt(2.0 * pi) / (2.0 * root)
    moved = sign * _normal(sign * d1) * per_spot + by_variance * (2.0 * grown / second - 2.0 / first) * per_spot
    return np.asarray(basket.discount * moved, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Basket:
    """A basket at maturity: each asset's *forwards* and its *money* (weight x forward), their log *covariance* over the whole time, and its *root*
    per square root of a year."""

    forwards: FloatArray
    money: FloatArray
    covariance: FloatArray
    root: FloatArray
    strike: float
    discount: float

    @classmethod
    def of(
        cls,
        spots: npt.ArrayLike,
        weights: npt.ArrayLike,
        strike: float,
        vols: npt.ArrayLike,
        dividends: npt.ArrayLike,
        rate: float,
        maturity: float,
        correlation: npt.ArrayLike,
    ) -> _Basket:
        """From what a user gives, all of it checked."""
        s, w, v, q = (np.atleast_1d(np.asarray(x, np.float64)) for x in (spots, weights, vols, dividends))
        n = max(len(s), len(w))
        for name, values in (("spots", s), ("weights", w), ("vols", v), ("dividends", q)):
            if values.ndim != 1 or len(values) not in (1, n):
                raise DataError(f"basket: {name} must be one number for each of {n} assets, were {values.shape}")
            if not np.isfinite(values).all():
                raise DataError(f"basket: {name} must be finite numbers, were {values.tolist()}")
        if not (s > 0.0).all() or not (v >= 0.0).all():
            raise DataError(f"basket: spots must be above 0 and vols at least 0, were {s.tolist()} and {v.tolist()}")
        s, w, v, q = (np.broadcast_to(x, (n,)) for x in (s, w, v, q))
        if not 0.0 <= maturity < inf:
            raise ScenarioError(f"basket: maturity must be a number of at least 0, was {maturity!r}")
        if not isfinite(strike) or not isfinite(rate):
            raise ScenarioError(f"basket: strike and rate must be numbers, were {strike!r} and {rate!r}")
        relation = _correlation(correlation, n)
        levels, vectors = np.linalg.eigh(relation)
        # The symmetric root is the only one that moves smoothly with the correlation, as common random numbers want.
        root = (vectors * np.sqrt(np.maximum(levels, 0.0))) @ vectors.T * v
        forwards = s * np.exp((rate - q) * maturity)
        return cls(forwards, w * forwards, relation * np.outer(v, v) * maturity, root, strike, exp(-rate * maturity))

    @property
    def forward(self) -> float:
        """What the basket is worth at maturity on average."""
        return float(self.money.sum())

    @property
    def size(self) -> float:
        """The sum of the assets' money, whatever their sides."""
        return float(np.abs(self.money).sum())

    @property
    def variances(self) -> FloatArray:
        """Each asset's log variance at maturity."""
        return np.ascontiguousarray(np.diagonal(self.covariance))

    @property
    def certain(self) -> bool:
        """Whether it is known now if the option will be used: nothing moves, or its strike cannot be missed."""
        still = not (self.variances[self.money != 0.0] > 0.0).any()
        return still or (self.strike <= 0.0 and bool((self.money >= 0.0).all()))

    def exactly(self, sign: float) -> float | None:
        """The price where it is known in closed form: a certain payment, or one asset that matters."""
        if self.certain:
            return self.discount * max(sign * (self.forward - self.strike), 0.0)
        held = np.flatnonzero(self.money)
        if len(held) == 1 and self.money[held[0]] > 0.0:
            return self.discount * _black(self.forward, self.strike, float(self.variances[held[0]]), sign)
        return None

    def matched(self) -> float:
        """The log variance of the lognormal with the basket's mean and variance."""
        if (self.money < 0.0).any():
            raise DataError(f"basket: moment matching needs weights of at least 0, since a lognormal is; were {self.money.tolist()} in money")
        return log(float(self.money @ np.exp(self.covariance) @ self.money) / self.forward**2)


def _correlation(given: npt.ArrayLike, n: int) -> FloatArray:
    """A correlation matrix, checked."""
    relation = np.asarray(given, np.float64)
    if relation.ndim == 0:
        relation = np.full((n, n), float(relation)) + (1.0 - float(relation)) * np.eye(n)
    if relation.shape != (n, n):
        raise DataError(f"basket: correlation must be ({n}, {n}), or one number for all pairs, was {relation.shape}")
    if not np.isfinite(relation).all() or np.abs(relation - relation.T).max() > ROUNDING or np.abs(np.diagonal(relation) - 1.0).max() > ROUNDING:
        raise DataError("basket: correlation must be symmetric with ones on its diagonal")
    smallest = float(np.linalg.eigvalsh(relation)[0])
    if smallest < -ROUNDING * n:
        raise DataError(
            f"basket: correlation must be positive semi-definite; its smallest eigenvalue is {smallest:.6g}, so that no assets can have it"
        )
    return relation


@lru_cache(maxsize=4)
def _normals(seed: int, rows: int, assets: int) -> FloatArray:
    """Standard normals, (rows, assets): each asset has a stream of its own."""
    drawn = np.column_stack([stream(seed, "basket option", str(k)).standard_normal(rows) for k in range(assets)])
    drawn.flags.writeable = False
    return drawn


def _black(forward: float, strike: float, variance: float, sign: float) -> float:
    """Black's undiscounted price of an option on a forward with this log variance."""
    if strike <= 0.0 or variance <= 0.0:
        return max(sign * (forward - strike), 0.0)
    root = sqrt(variance)
    d1 = log(forward / strike) / root + 0.5 * root
    return max(sign * (forward * _normal(sign * d1) - strike * _normal(sign * (d1 - root))), 0.0)


def _normal(x: float) -> float:
    """The standard normal's distribution function, right in its far tail too."""
    from scipy.special import ndtr

    return float(ndtr(x))


def _sign(kind: str, where: str) -> float:
    if kind not in ("call", "put"):
        raise ScenarioError(f"{where}: kind must be 'call' or 'put', was {kind!r}")
    return 1.0 if kind == "call" else -1.0
