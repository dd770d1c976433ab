"""What each assumption about costs took from a run, or gave to it, in money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from simulator.book.fills import Booking
from simulator.loop import journal as rows

if TYPE_CHECKING:
    from simulator.report.results import Result


class Cost(NamedTuple):
    """One kind of cost: its *money*, below 0 where it was earned, and what was *assumed*, in words, where the broker says so."""

    name: str
    money: float
    assumed: str


class Statement(NamedTuple):
    """All costs of a run, and what they are measured by: *traded*, the value of all fills at the prices paid, and *equity*, the average at closes."""

    costs: tuple[Cost, ...]
    traded: float
    equity: float

    @property
    def total(self) -> float:
        """All of them together."""
        return float(sum(cost.money for cost in self.costs))

    def of_turnover(self, money: float) -> float:
        """*money* in basis points of the traded value; NaN where nothing was traded."""
        return 1e4 * money / self.traded if self.traded > 0.0 else nan

    def of_equity(self, money: float) -> float:
        """*money* in basis points of the average equity; NaN where that is not above 0."""
        return 1e4 * money / self.equity if self.equity > 0.0 else nan


SLIPPAGE: Final = {
    "none": "Slippage",
    "bps": "Spread and slippage",
    "half_spread": "Spread",
    "volume_share": "Impact, temporary",
    "square_root": "Impact, temporary",
}
"""What the slippage of a model stands for."""

BOOKED: Final[tuple[tuple[str, tuple[Booking, ...], Callable[[np.ndarray], np.ndarray]], ...]] = (
    ("Borrow fees", (Booking.BORROW,), np.isfinite),
    ("Short rebates", (Booking.REBATE,), np.isfinite),
    ("Interest paid", (Booking.INTEREST,), lambda money: money < 0.0),
    ("Interest received", (Booking.INTEREST,), lambda money: money > 0.0),
    ("Dividends received", (Booking.DIVIDEND, Booking.PAYMENT), lambda money: money > 0.0),
    ("Dividends paid on shorts", (Booking.DIVIDEND, Booking.PAYMENT), lambda money: money < 0.0),
    ("Other fees", (Booking.FEE,), np.isfinite),
)
"""Costs that are booked without a trade: their names, their kinds in the journal, and which of their amounts."""


def statement(result: Result) -> Statement:
    """What commission, spread and impact, fees, borrow, interest and dividends cost: the parts of the fills sum to their commissions and slippages.

    A dividend counts when it is owed: its receivable, and not again when it is paid. Price changes, variation margin and what was paid for positions
    that were closed without a trade are no costs.
    """
    traded = commission = slippage = regulatory = venue = permanent = 0.0
    for fills, _, values in result.fill_columns():
        traded = sum(values.tolist(), traded)
        commission, slippage = sum(fills["c"].tolist(), commission), sum(fills["b"].tolist(), slippage)
    for items in result.parts_of(rows.ITEMISED):
        regulatory, venue, permanent = (sum(items[name].tolist(), so_far) for name, so_far in zip("abc", (regulatory, venue, permanent), strict=True))
    found = [Cost("Commission", commission - regulatory - venue, _assumed(result, "Commission: "))]
    if regulatory:
        found.append(Cost("Regulatory fees", regulatory, _assumed(result, "Fees of regulators, by dated schedules: ")))
    if venue:
        found.append(Cost("Venue fees less rebates", venue, _assumed(result, "Fills are split over ")))
    found.append(Cost(_slippage(result), slippage - permanent, _assumed(result, "Slippage of takers: ")))
    if permanent:
        found.append(Cost("Impact, permanent", permanent, ""))
    booked = result.rows_of(rows.BOOKED)
    moved = booked["a"] + booked["b"]
    for name, kinds, which in BOOKED:
        of = np.isin(booked["d"], kinds) & which(moved)
        if of.any():
            found.append(Cost(name, -float(sum(moved[of].tolist())), ""))
    return Statement(tuple(found), traded, float(np.mean(result.equity)) if result.rows else nan)


def _slippage(result: Result) -> str:
    """What the slippage of this run stands for, where its scenario says so and no instrument has terms of its own."""
    given = result.scenario.broker.parameters if result.scenario and result.scenario.broker.name == "simulated" else {"overrides": True}
    model = given.get("slippage", {})
    if given.get("overrides") or not isinstance(model, Mapping):
        return "Slippage"
    return SLIPPAGE.get(str(model.get("model", "bps")), "Slippage")


def _assumed(result: Result, start: str) -> str:
    """The rest of the broker's sentence that starts so."""
    return next((sentence.removeprefix(start).rstrip(".") for sentence in result.assumptions if sentence.startswith(start)), "")
