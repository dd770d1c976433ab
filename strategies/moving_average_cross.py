"""Moving averages that cross: the oldest trend rule there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import FloatArray, Indicator, Past, Proposal, View, sma


@dataclass(frozen=True)
class MovingAverageCross:
    """Hold what is rising: an equal share of equity in each instrument whose fast average is above its slow one, and nothing in the others.

    Trades only when an instrument changes sides, so that its share then drifts with its price.
    """

    fast: int = 20
    slow: int = 100
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise ValueError(f"fast must be at least 1 and below slow, were {self.fast} and {self.slow}")
        if not 0.0 < self.weight < float("inf"):
            raise ValueError(f"weight must be above 0, was {self.weight!r}")

    def indicators(self) -> dict[str, Indicator]:
        return {"trend": sma(self.fast) - sma(self.slow)}

    def on_bars(self, view: View) -> Proposal:
        return view.enter(self._wanted(view["trend"]))

    def signals(self, past: Past) -> FloatArray:
        return self._wanted(past["trend"])

    def _wanted(self, trend: FloatArray) -> FloatArray:
        """The share of each instrument, now or at every bar: NaN until there is a trend."""
        return np.where(np.isnan(trend), np.nan, np.where(trend > 0.0, self.weight / trend.shape[-1], 0.0))
