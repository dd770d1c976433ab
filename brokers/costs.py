"""What a trade costs apart from its price: commissions by share, order, value and tier, fees of regulators, and models of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol

from simulator import Instrument
from simulator.kernels import rules


@dataclass(frozen=True, slots=True)
class Trade:
    """What a model of costs or of slippage may know of a trade while it is done.

    *quantity* is signed, in units, and *price* the bar's (for slippage) or the one paid (for costs). *at* is the close of its bar in UTC nanoseconds,
    *session* its day since 1970-01-01. *share* is what our fills have taken of the bar's volume, this one included, and *held* our position before
    it, in units. *order_units*, *order_value* and *order_paid* are what its order had traded and paid before.
    """

    instrument: Instrument
    at: int
    session: int
    quantity: float
    price: float
    taker: bool
    share: float
    held: float
    order_units: float
    order_value: float
    order_paid: float
    known: Callable[[int], tuple[float, float]]

    def recent(self, window: int) -> tuple[float, float]:
        """Daily volatility (a fraction) and average daily volume (units) of the *window* sessions before this one; NaN where it cannot be known."""
        return self.known(window)


class CostModel(Protocol):
    """A tariff of one's own: a plug-in of the group `tradewind.costs`, or `path/to/file.py:Name`, in place of a `Commission`."""

    def charge(self, trade: Trade) -> float:
        """The commission on this fill, in money; below 0 it is a rebate."""


@dataclass(frozen=True, slots=True)
class Tier:
    """What takers and makers pay from a trailing *volume* on; rates below 0 are rebates."""

    volume: float = 0.0
    taker_bps: float = 0.0
    maker_bps: float = 0.0
    taker_per_share: float = 0.0
    maker_per_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.volume < inf:
            raise ValueError(f"volume must be 0 or above, was {self.volume!r}")
        check_rates(self, ("taker_bps", "maker_bps"), ("taker_per_share", "maker_per_share"))

    def charge(self, taker: bool, value: float, units: float) -> float:
        """Money for *units* worth *value*."""
        if taker:
            return self.taker_bps / 10_000.0 * value + self.taker_per_share * units
        return self.maker_bps / 10_000.0 * value + self.maker_per_share * units


@dataclass(frozen=True, slots=True)
class Commission:
    """A commission per share, per order and in basis points of the traded value, and by tiers, between *minimum* and *maximum*.

    Both bounds are per order, across its partial fills and its slices: the minimum comes with the first fill, later fills pay only the excess.
    Amounts are money in the instrument's currency, unrounded unless *round_to_cents*. The defaults are a large US retail broker's fixed tariff; zero
    is off.

    With *tiers* a fill pays the rates of the highest tier whose volume was reached over the *tier_days* days before its session, in all instruments
    together, as money ("value") or units ("shares"). A rebate is paid out apart: no minimum takes it back. Source: market-rules.md, section 3.
    """

    per_share: float = 0.005
    per_order: float = 0.0
    bps: float = 0.0
    minimum: float = 1.0
    maximum: float = inf
    round_to_cents: bool = False
    tiers: tuple[Tier, ...] = ()
    tier_days: int = 30
    tier_unit: Literal["value", "shares"] = "value"

    def __post_init__(self) -> None:
        for name in ("per_share", "per_order", "bps", "minimum"):
            if not 0.0 <= getattr(self, name) < inf:
                raise ValueError(f"commission.{name} must be 0 (off) or above, was {getattr(self, name)!r}")
        if not self.maximum >= self.minimum:
            raise ValueError(f"commission.maximum must be at least the minimum of {self.minimum}, was {self.maximum!r}")
        volumes = [tier.volume for tier in self.tiers]
        if volumes and (volumes[0] != 0.0 or sorted(set(volumes)) != volumes):
            raise ValueError(f"commission.tiers must begin at volume 0 and rise, were at {', '.join(f'{volume:g}' for volume in volumes)}")
        if not 1 <= self.tier_days <= 366:
            raise ValueError(f"commission.tier_days must be 1 to 366, was {self.tier_days!r}")

    def tier(self, volume: float) -> Tier:
        """The tier of somebody who traded so much. There must be tiers."""
        return next(tier for tier in reversed(self.tiers) if tier.volume <= volume)

    def words(self) -> str:
        """The tariff as a person would say it."""
        parts = [
            f"{self.per_share:g} a share" if self.per_share else "",
            f"{self.per_order:g} an order" if self.per_order else "",
            f"{self.bps:g} bps of value" if self.bps else "",
            f"by {len(self.tiers)} tiers of {self.tier_days} days' volume" if self.tiers else "",
        ]
        bounds = (f", at least {self.minimum:g} an order" if self.minimum else "") + (f", at most {self.maximum:g}" if self.maximum < inf else "")
        return (" + ".join(part for part in parts if part) or "none") + bounds


@dataclass(frozen=True, slots=True)
class Levy:
    """A fee that somebody other than the broker asks from a day on: one line of a dated schedule.

    From *since* (YYYY-MM-DD) to the next line of the same *name*, trades of that *side* pay *bps* of their value and *per_share*, at most *maximum* a
    fill. An end is a line of zeros.
    """

    name: str
    since: str
    bps: float = 0.0
    per_share: float = 0.0
    maximum: float = inf
    side: Literal["sell", "buy", "both"] = "sell"

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must be given")
        if day_of(self.since) is None:
            raise ValueError(f"since must be a day, YYYY-MM-DD, was {self.since!r}")
        for name in ("bps", "per_share"):
            if not 0.0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be 0 or above, was {getattr(self, name)!r}")
        if not self.maximum >= 0.0:
            raise ValueError(f"maximum must be 0 or above, was {self.maximum!r}")

    def charge(self, buying: bool, value: float, units: float) -> float:
        """Money for *units* worth *value*."""
        if self.side != "both" and buying != (self.side == "buy"):
            return 0.0
        return min(self.bps / 10_000.0 * value + self.per_share * units, self.maximum)


class Schedule:
    """Dated fees: which are in force on a day."""

    def __init__(self, levies: tuple[Levy, ...]) -> None:
        by_name: dict[str, list[tuple[int, Levy]]] = {}
        for levy in levies:
            since = day_of(levy.since)
            assert since is not None
            by_name.setdefault(levy.name, []).append((since, levy))
        self.lines = [sorted(lines, key=lambda line: line[0]) for lines in by_name.values()]
        self._day, self._now = -1, list[Levy]()

    def charge(self, day: int, buying: bool, value: float, units: float) -> float:
        """All fees on a trade of that day (since 1970-01-01), in money. Before the first line of a fee there is none."""
        if day != self._day:
            found = [[levy for since, levy in lines if since <= day] for lines in self.lines]
            self._day, self._now = day, [lines[-1] for lines in found if lines]
        total = 0.0
        for levy in self._now:
            total += levy.charge(buying, value, units)
        return total


def day_of(text: str) -> int | None:
    """Days since 1970-01-01 of YYYY-MM-DD; None where it is none."""
    from datetime import date

    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)).days if len(text) == 10 else None
    except ValueError:
        return None


def cents(money: float) -> float:
    """Money rounded to cents, half up, as the commission is."""
    rounded: float = rules.fee(0.0, 0.0, 0.0, 0.0, money, 0.0, -inf, inf, True)
    return rounded


def check_rates(part: object, in_bps: tuple[str, ...], in_money: tuple[str, ...]) -> None:
    """Refuse rates that are none. They may be below 0, which is a rebate."""
    for name in in_bps:
        if not -10_000.0 < getattr(part, name) < 10_000.0:
            raise ValueError(f"{name} must be between -10000 and 10000, was {getattr(part, name)!r}")
    for name in in_money:
        if not -inf < getattr(part, name) < inf:
            raise ValueError(f"{name} must be a number, was {getattr(part, name)!r}")


FREE = Commission(0.0, 0.0, 0.0, 0.0)

US_EQUITIES: tuple[Levy, ...] = (
    # SEC, Section 31 of the Securities Exchange Act: on sales, in dollars a million. Source: the Commission's orders "Making Fiscal Year ... Annual
    # Adjustments to Transaction Fee Rates" in the Federal Register, and its fee rate advisories. A rate begins 60 days after the year's appropriation
    # was enacted. Read for amounts: FINRA's Information Notices of 3/10/10 (12.70, 16.90), 3/3/14 (17.40, 22.10), 1/20/15 (18.40), 3/15/16 (21.80),
    # 5/7/18 (23.10, 13.00) and 4/24/25 (27.80, nothing); SEC press releases 2010-255 (19.20) and 2012-232 (22.40); Fee Rate Advisories #5 for 2012
    # (18.00), #2 for 2019 (20.70), 2020 (22.10) and 2021 (5.10), and that of January 2023 (22.90, 8.00); Order 34-104909 of 2026 (20.60). The first
    # days of 17.40, 18.40, 21.80, 22.90 and 27.80 are reckoned by the 60 days; April 1, 2012 is the day of all mid-year rates.
    *(
        Levy("SEC Section 31", since, bps=a_million / 100.0)
        for since, a_million in (
            ("2010-01-15", 12.70),
            ("2010-04-01", 16.90),
            ("2011-01-21", 19.20),
            ("2012-02-21", 18.00),
            ("2012-04-01", 22.40),
            ("2013-05-25", 17.40),
            ("2014-03-18", 22.10),
            ("2015-02-14", 18.40),
            ("2016-02-16", 21.80),
            ("2017-07-04", 23.10),
            ("2018-05-22", 13.00),
            ("2019-04-16", 20.70),
            ("2020-02-18", 22.10),
            ("2021-02-25", 5.10),
            ("2022-05-14", 22.90),
            ("2023-02-27", 8.00),
            ("2024-05-22", 27.80),
            ("2025-05-14", 0.00),
            ("2026-04-04", 20.60),
        )
    ),
    # FINRA, Trading Activity Fee: on sales, in dollars a share and at most a trade. Source: Section 1 of Schedule A to FINRA's By-Laws; Regulatory
    # Notices 11-27 and 12-06, the notice of May 10, 2012 (77 FR 27527), and the schedules of SR-FINRA-2020-032 and SR-FINRA-2024-019. By
    # SR-FINRA-2026-021 (Release 34-106409) nothing is asked in the last quarter of 2026, and by SR-FINRA-2026-020 the same rates after it, to the end
    # of 2028. The maximum of 2022 was read in none of these.
    *(
        Levy("FINRA TAF", since, per_share=a_share, maximum=most)
        for since, a_share, most in (
            ("2011-07-01", 0.000090, 4.50),
            ("2012-03-01", 0.000095, 4.75),
            ("2012-07-01", 0.000119, 5.95),
            ("2022-01-01", 0.000130, 6.49),
            ("2023-01-01", 0.000145, 7.27),
            ("2024-01-01", 0.000166, 8.30),
            ("2026-01-01", 0.000195, 9.79),
            ("2026-10-01", 0.0, 0.0),
            ("2027-01-01", 0.000195, 9.79),
        )
    ),
)
"""What US regulators ask of sales of listed shares, which brokers pass on; from 2010 on, as of November 2026."""
