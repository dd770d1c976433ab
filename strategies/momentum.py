"""Cross-sectional momentum: what rose most goes on rising, for a while (Jegadeesh and Titman, 1993)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import FloatArray, Indicator, IntArray, Past, Proposal, View, highest, returns


@dataclass(frozen=True)
class Momentum:
    """Every *every* bars, hold the *top* instruments by their return over *lookback* bars: equal shares of *invest* of equity."""

    lookback: int = 126
    top: int = 5
    every: int = 21
    invest: float = 0.95

    def __post_init__(self) -> None:
        for name in ("lookback", "top", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, was {getattr(self, name)!r}")
        if not 0.0 < self.invest < float("inf"):
            raise ValueError(f"invest must be above 0, was {self.invest!r}")

    def indicators(self) -> dict[str, Indicator]:
        return {"momentum": returns(self.lookback)}

    def on_bars(self, view: View) -> Proposal:
        if (view.row - self.lookback) % self.every:
            return ()
        return view.rebalance(self._wanted(view["momentum"], view.ages))

    def weights(self, past: Past) -> FloatArray:
        momentum, ages = past["momentum"], past.ages
        weights = np.full(momentum.shape, np.nan)
        for row in range(self.lookback, len(momentum), self.every):
            weights[row] = self._wanted(momentum[row], ages[row])
        return weights

    def _wanted(self, momentum: FloatArray, ages: IntArray) -> FloatArray:
        """The share of each instrument at one bar."""
        weights = highest(momentum, self.top) * (self.invest / self.top)
        if np.count_nonzero(ages):
            # What has no bar now cannot be traded at a known price: it is left alone.
            weights[ages != 0] = np.nan
        return weights
