"""A programme of calls on a basket: listed one after another, marked each day from the past alone, settled in cash when they expire."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.errors import ScenarioError
from simulator.models.options import MonteCarlo, basket_deltas, basket_price

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

BASE: Final = 100.0
"""What a basket is worth when a call on it is listed."""


@dataclass(frozen=True, slots=True)
class CallTerms:
    """A call on a basket worth 100 at its listing, struck at *moneyness* x 100, is listed every *days* bars and lives for *days* + *overlap*, so that
    it can be rolled into the next.

    It is priced at the volatilities and correlations of the last *window* returns, volatilities raised by the share *markup* (what a dealer wants),
    at the yearly *rate*, which is also what the dealer's financing of the basket costs. A year has *periods* bars.
    """

    days: int = 63
    overlap: int = 5
    moneyness: float = 0.9
    window: int = 63
    markup: float = 0.1
    rate: float = 0.02
    periods: int = 252

    def __post_init__(self) -> None:
        for name, least in (("days", 2), ("overlap", 1), ("window", 3), ("periods", 1)):
            if getattr(self, name) < least:
                raise ScenarioError(f"terms.{name} must be at least {least}, was {getattr(self, name)!r}")
        if not self.overlap < self.days:
            raise ScenarioError(f"terms.overlap must be below days ({self.days}), was {self.overlap!r}")
        if not 0.0 <= self.moneyness < inf:
            raise ScenarioError(f"terms.moneyness must be at least 0, was {self.moneyness!r}")
        if not -1.0 < self.markup < inf:
            raise ScenarioError(f"terms.markup must be above -1, was {self.markup!r}")

    @property
    def life(self) -> int:
        """Bars from listing to expiry."""
        return self.days + self.overlap

    def listings(self, rows: int) -> range:
        """The rows at which calls are listed on a tape of *rows*: from the first at which the window is full."""
        return range(self.window, rows, self.days)

    def units(self, spots: FloatArray, weights: FloatArray) -> FloatArray:
        """How much of each asset is in a basket that is listed at these *spots*: (assets,)."""
        return BASE * weights / spots

    def moves(self, closes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Yearly volatilities, markup included, (assets,), and correlations, (assets, assets), of *closes*, (window + 1, assets)."""
        logs = np.diff(np.log(closes), axis=0)
        away = logs - logs.mean(axis=0)
        spread = np.sqrt((away**2).sum(axis=0))
        safe = np.where(spread > 0.0, spread, 1.0)
        related = (away / safe).T @ (away / safe)
        # What did not move is related to nothing but itself.
        np.fill_diagonal(related, 1.0)
        return spread / sqrt(len(logs) - 1) * sqrt(self.periods) * (1.0 + self.markup), 0.5 * (related + related.T)

    def mark(self, closes: FloatArray, units: FloatArray, left: int, paths: int, seed: int) -> MonteCarlo:
        """What a call on *units* is worth *left* bars before it expires, given the last window + 1 *closes*."""
        vols, related = self.moves(closes)
        strike, years = self.moneyness * BASE, left / self.periods
        return basket_price(closes[-1], units, strike, vols, 0.0, self.rate, years, related, paths=paths, seed=seed)

    def exposure(self, closes: FloatArray, units: FloatArray, left: int) -> float:
        """What a call moves with, in money: the sum of its deltas x spots, by moment matching."""
        vols, related = self.moves(closes)
        deltas = basket_deltas(closes[-1], units, self.moneyness * BASE, vols, 0.0, self.rate, left / self.periods, related)
        return float(deltas @ closes[-1])
