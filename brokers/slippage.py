"""How much worse than the bar's price a taker trades."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Literal, Protocol

from brokers.costs import Trade
from simulator.kernels import rules


class SlippageModel(Protocol):
    """A model of one's own: a plug-in of the group `tradewind.slippage`, or `path/to/file.py:Name`, in place of a `Slippage`."""

    def slipped(self, trade: Trade) -> float:
        """What a taker pays instead of *trade.price*. The market sees to it that no limit is passed, and that no price is below 0."""


@dataclass(frozen=True, slots=True)
class Slippage:
    """A model of slippage for takers; makers and limits pay none beyond their limit.

    `bps`: a fixed fraction. `half_spread`: half of *spread*, in price. `volume_share`: price x (1 + k share²), where share is what our fills have
    taken of the bar's volume so far (Zipline's VolumeShareSlippage). `square_root`: price x (1 + y sigma sqrt(quantity / ADV)), with daily
    volatility and average daily volume over the *window* sessions before (Almgren and others, 2005); nothing while these are not known yet.

    A share *permanent* of the square root's impact stays: while we hold a position of h, later takers find the price moved by permanent y sigma
    sqrt(h / ADV) in its direction, and pay their own impact on top. It goes as the position goes and does not decay otherwise; the rest of the
    impact is temporary, and over with its fill. Since it depends on the position alone, no round trip earns by its own impact (Huberman and Stanzl,
    Price manipulation and quasi-arbitrage, Econometrica 72, 2004). Marks stay those of history.
    """

    model: Literal["none", "bps", "half_spread", "volume_share", "square_root"] = "bps"
    bps: float = 1.0
    spread: float = 0.02
    k: float = 0.1
    y: float = 1.0
    window: int = 20
    permanent: float = 0.0

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"slippage.model must be one of {', '.join(MODELS)}, was {self.model!r}")
        for name in ("bps", "spread", "k", "y"):
            if not 0.0 <= getattr(self, name) < inf:
                raise ValueError(f"slippage.{name} must be 0 (off) or above, was {getattr(self, name)!r}")
        if not 0.0 <= self.bps < 10_000.0:
            raise ValueError(f"slippage.bps must be below 10000, was {self.bps!r}")
        if self.window < 3:
            raise ValueError(f"slippage.window must be at least 3 sessions, was {self.window!r}")
        if not 0.0 <= self.permanent <= 1.0:
            raise ValueError(f"slippage.permanent must be in [0, 1], was {self.permanent!r}")
        if self.permanent and self.model != "square_root":
            raise ValueError(f"slippage.permanent needs the model 'square_root', which alone has an impact that lasts; the model was {self.model!r}")

    @property
    def code(self) -> int:
        """The number of the model in simulator.kernels.rules."""
        return MODELS[self.model]

    @property
    def amount(self) -> float:
        """The model's own number, as simulator.kernels.rules.slip takes it."""
        return {"none": 0.0, "bps": self.bps / 10_000.0, "half_spread": self.spread / 2.0, "volume_share": self.k, "square_root": self.y}[self.model]

    def widened(self, times: float) -> Slippage:
        """The same model, which costs so many *times* as much."""
        return replace(self, bps=min(self.bps * times, 9_999.0), spread=self.spread * times, k=self.k * times, y=self.y * times)

    def words(self) -> str:
        """The model as a person would say it."""
        lasting = f", of which {self.permanent:.0%} stays while the position does" if self.permanent else ""
        return {
            "none": "none",
            "bps": f"{self.bps:g} bps",
            "half_spread": f"half of a spread of {self.spread:g}",
            "volume_share": f"{self.k:g} x (share of the bar's volume)²",
            "square_root": f"{self.y:g} x daily volatility x sqrt(quantity / average daily volume), over {self.window} sessions{lasting}",
        }[self.model]


def square_root_impact(quantity: float, adv: float, sigma: float, y: float = 1.0) -> float:
    """What an order of *quantity* (signed) moves the price by against itself, as a fraction of the price: y sigma sqrt(abs(quantity) / adv).

    *adv* is the average daily volume, in the same units, and *sigma* the daily volatility, a fraction. It is what the model "square_root" takes.
    Raises ValueError where *adv* is not above 0, or the others are not numbers (of 0 or above). Source: Almgren, Thum, Hauptmann and Li, Direct
    estimation of equity market impact, Risk 18 (2005); the square root in place of their power of 0.6 is Barra's and most desks'.
    """
    if not 0.0 < adv < inf:
        raise ValueError(f"adv must be a number above 0, was {adv!r}")
    for name, value in (("sigma", sigma), ("y", y)):
        if not 0.0 <= value < inf:
            raise ValueError(f"{name} must be a number of 0 or above, was {value!r}")
    if not -inf < quantity < inf:
        raise ValueError(f"quantity must be a number, was {quantity!r}")
    return y * sigma * sqrt(abs(quantity) / adv)


MODELS = {
    "none": rules.NO_SLIPPAGE,
    "bps": rules.BPS,
    "half_spread": rules.HALF_SPREAD,
    "volume_share": rules.VOLUME_SHARE,
    "square_root": rules.SQUARE_ROOT,
}
NO_SLIPPAGE = Slippage("none")
