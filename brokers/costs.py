"""What a trade costs apart from its price."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Commission:
    """A commission per share, per order and in basis points of the traded value, between *minimum* and *maximum*.

    Both bounds are per order, across its partial fills: the minimum comes with the first fill, later fills pay only the excess. Amounts are money in
    the instrument's currency, unrounded unless *round_to_cents*. The defaults are a large US retail broker's fixed tariff; zero is off.
    """

    per_share: float = 0.005
    per_order: float = 0.0
    bps: float = 0.0
    minimum: float = 1.0
    maximum: float = inf
    round_to_cents: bool = False

    def __post_init__(self) -> None:
        for name in ("per_share", "per_order", "bps", "minimum"):
            if not 0.0 <= getattr(self, name) < inf:
                raise ValueError(f"commission.{name} must be 0 (off) or above, was {getattr(self, name)!r}")
        if not self.maximum >= self.minimum:
            raise ValueError(f"commission.maximum must be at least the minimum of {self.minimum}, was {self.maximum!r}")

    def words(self) -> str:
        """The tariff as a person would say it."""
        parts = [
            f"{self.per_share:g} a share" if self.per_share else "",
            f"{self.per_order:g} an order" if self.per_order else "",
            f"{self.bps:g} bps of value" if self.bps else "",
        ]
        bounds = (f", at least {self.minimum:g} an order" if self.minimum else "") + (f", at most {self.maximum:g}" if self.maximum < inf else "")
        return (" + ".join(part for part in parts if part) or "none") + bounds


FREE = Commission(0.0, 0.0, 0.0, 0.0)
