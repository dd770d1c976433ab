"""Buy once, and never sell: what every other idea is measured against."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulator import Proposal, View


@dataclass
class BuyAndHold:
    """Hold *weight* of equity in equal parts of all instruments, bought once, as soon as each has a price, and never traded again."""

    weight: float = 1.0
    bought: np.ndarray | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.weight < float("inf"):
            raise ValueError(f"weight must be above 0, was {self.weight!r}")

    def on_bars(self, view: View) -> Proposal:
        if self.bought is None:
            self.bought = np.zeros(len(view.symbols), bool)
        fresh = ~self.bought & (view["close"] > 0.0)
        if not fresh.any():
            return ()
        self.bought |= fresh
        return view.rebalance(np.where(fresh, self.weight / len(fresh), np.nan))
