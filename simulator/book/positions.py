"""What is owned or owed of one instrument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """*quantity* units at *average* cost, in *lots* (exact).

    *realised* is the profit of what was closed, commissions apart, and *unrealised* that of what is open at the last mark.
    """

    symbol: str
    lots: int
    quantity: float
    average: float
    realised: float
    unrealised: float
