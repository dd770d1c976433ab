"""Cross-sectional momentum: what rose most goes on rising, for a while (Jegadeesh and Titman, 1993)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import Indicator, Proposal, View, returns


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
        momentum = view["momentum"]
        # Of equals the first in the list, on every machine; what has no history yet comes last.
        best = np.argsort(-momentum, kind="stable")[: self.top]
        weights = np.zeros(len(momentum))
        weights[best] = self.invest / self.top
        unknown = (momentum != momentum) | (view.ages != 0)
        if unknown.any():
            # What has no bar now cannot be traded at a known price: it is left alone.
            weights[unknown] = np.where(view.ages[unknown] == 0, 0.0, np.nan)
        return view.rebalance(weights)
