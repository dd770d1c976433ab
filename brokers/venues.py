"""Where a symbol trades: venues with fees, rebates and a share of the volume, and the router that splits a fill among them.

On bars this is a cost and capacity model. A bar tells the volume of all venues together and no book of any, so that the price is the same everywhere;
what a venue decides is how much can be had there, and for which fee.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor
from typing import Literal

from brokers.costs import check_rates

Router = Literal["cheapest", "pro_rata"]


@dataclass(frozen=True, slots=True)
class Venue:
    """A place to trade: its *share* of the volume of a bar, and what takers and makers pay there; rates below 0 are rebates.

    *name* is at most eight ASCII letters or digits, such as a market identifier code of ISO 10383.
    """

    name: str
    share: float
    taker_bps: float = 0.0
    maker_bps: float = 0.0
    taker_per_share: float = 0.0
    maker_per_share: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < len(self.name) <= 8 and self.name.isascii() and self.name.isalnum()):
            raise ValueError(f"name must be 1 to 8 ASCII letters or digits, was {self.name!r}")
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share must be in (0, 1], was {self.share!r}")
        check_rates(self, ("taker_bps", "maker_bps"), ("taker_per_share", "maker_per_share"))

    def charge(self, taker: bool, value: float, units: float) -> float:
        """Money for *units* worth *value*."""
        if taker:
            return self.taker_bps / 10_000.0 * value + self.taker_per_share * units
        return self.maker_bps / 10_000.0 * value + self.maker_per_share * units


def check(venues: Sequence[Venue]) -> None:
    """Refuse venues of one name, or whose shares are more than there is."""
    names = [venue.name for venue in venues]
    if len(set(names)) < len(names):
        raise ValueError(f"venues must have names of their own, were {', '.join(names)}")
    if sum(venue.share for venue in venues) > 1.0 + 1e-9:
        raise ValueError(f"venues must have shares that sum to 1 at most, were {', '.join(f'{venue.share:g}' for venue in venues)}")


def capacities(budget: int, venues: Sequence[Venue]) -> list[int]:
    """The lots of a bar's *budget* that each venue has: whole lots, whose sum is floor(budget x sum of shares + 1e-9).

    Each cumulative sum is rounded down, so that none is off by more than one lot.
    """
    edges, so_far = [0], 0.0
    for venue in venues:
        so_far += venue.share
        edges.append(min(floor(budget * so_far + 1e-9), budget))
    return [after - before for before, after in pairwise(edges)]


def route(lots: int, left: Sequence[int], venues: Sequence[Venue], router: Router, taker: bool, price: float) -> list[tuple[int, int]]:
    """How *lots* (above 0, at most what is *left* in all) are split: (venue, lots) of each that gets any.

    "cheapest" fills the venue that asks least at this *price* first, of equals the first; "pro_rata" gives each its part of what is left. Lots sum
    exactly, and no venue gets more than it has left.
    """
    if not lots:
        return []
    if router == "cheapest":
        pieces = []
        for k in sorted(range(len(venues)), key=lambda k: (venues[k].charge(taker, price, 1.0), k)):
            part = min(lots, left[k])
            if part:
                pieces.append((k, part))
                lots -= part
        return pieces
    total, so_far, sent, pieces = sum(left), 0, 0, []
    for k, there in enumerate(left):
        so_far += there
        # Whole numbers: the last edge is all of it, and no part exceeds what is there.
        upto = lots * so_far // total
        if upto > sent:
            pieces.append((k, upto - sent))
        sent = upto
    return pieces
