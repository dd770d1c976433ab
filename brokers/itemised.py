"""The market where costs are more than a few numbers: tiers and rebates, fees of regulators and of venues, models of one's own, impact that lasts,
and terms that differ by instrument. Each fill tells what is behind its costs. A run that has none of these never comes here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum, isfinite, nan, sqrt
from typing import TYPE_CHECKING, Any, Literal

from brokers.costs import US_EQUITIES, Commission, CostModel, Levy, Schedule, Trade, cents
from brokers.matching import Market, Working
from brokers.slippage import Slippage, SlippageModel
from brokers.venues import Router, Venue, capacities, check, route
from simulator import Account, Event, Fill, Itemised, PluginError, Portfolio, Tape
from simulator.kernels import rules, tapes

if TYPE_CHECKING:
    from brokers.simulated import Simulated

COSTS, SLIPPAGES = {"plugin": "tradewind.costs"}, {"plugin": "tradewind.slippage"}
Regulation = Literal["none", "us_equities"]


@dataclass(frozen=True)
class Terms:
    """What trading one instrument costs where it is not what the others cost; None is as for all."""

    commission: Commission | CostModel | None = field(default=None, metadata=COSTS)
    slippage: Slippage | SlippageModel | None = field(default=None, metadata=SLIPPAGES)
    venues: tuple[Venue, ...] | None = None
    regulation: Regulation | None = None
    levies: tuple[Levy, ...] | None = None
    participation: float | None = None

    def __post_init__(self) -> None:
        check(self.venues or ())
        if self.participation is not None and not self.participation > 0.0:
            raise ValueError(f"participation must be above 0 (inf is off), was {self.participation!r}")


class Desk:
    """All terms of one instrument."""

    __slots__ = ("commission", "levies", "participation", "slippage", "venues")

    def __init__(self, settings: Simulated, own: Terms) -> None:
        self.commission = settings.commission if own.commission is None else own.commission
        self.slippage = settings.slippage if own.slippage is None else own.slippage
        self.venues = settings.venues if own.venues is None else own.venues
        self.participation = settings.participation if own.participation is None else own.participation
        regulation = settings.regulation if own.regulation is None else own.regulation
        levies = settings.levies if own.levies is None else own.levies
        self.levies = Schedule(((*US_EQUITIES,) if regulation == "us_equities" else ()) + levies)


class ItemisedMarket(Market):
    """A market that reckons each fill from the terms of its instrument. Orders meet it one by one, by the rules of `Market`."""

    def __init__(self, settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account) -> None:
        super().__init__(settings, tape, portfolio, account)
        self._desks = [Desk(settings, settings.overrides.get(instrument.symbol, Terms())) for instrument in tape.instruments]
        self._router: Router = settings.router
        # What each venue still has for us in the row that is worked, by instrument.
        self._left: dict[int, tuple[int, ...]] = {}
        # Value and units that were traded by session, as far back as any tariff looks.
        self._traded: dict[int, tuple[float, float]] = {}
        self._days_kept = max((desk.commission.tier_days for desk in self._desks if isinstance(desk.commission, Commission)), default=0)

    def begin(self, row: int) -> None:
        """As for any market, and every venue's volume is new, too."""
        if row != self.row:
            self._left.clear()
        super().begin(row)

    def kept(self) -> Any:
        """Everything that trading in a row changes of the market, as it is now."""
        return super().kept(), dict(self._left), dict(self._traded)

    def bring_back(self, kept: Any) -> None:
        """Make it as it was kept."""
        plain, left, traded = kept
        super().bring_back(plain)
        self._left, self._traded = dict(left), dict(traded)

    def trade(self, working: Working, k: int, price: float, taker: bool, events: list[Event]) -> None:
        """Fill as much of an order as the volume of the bar at place *k* of the tape and the account allow, at one price on one or more venues."""
        i, lots, tape = working.instrument, working.remaining, self.tape
        up, down, _, _, _, _ = self.terms[i]
        volume, desk = tape.volumes[k], self._desks[i]
        if i not in self.used:
            self.used[i] = self._budget(i, k), 0, 0
        budget, taken, change = self.used[i]
        take = abs(lots)
        if budget < take:
            working.now = rules.VOLUME_CAP
            take = budget
            if take == 0 or working.tif == rules.FOK:
                return
        share = (taken + take) * up / down / volume
        moved, got = self._price(working, desk, price, taker, take, share, change)
        pieces = route(take, self._left[i], desk.venues, self._router, taker, got) if desk.venues else [(-1, take)]
        for venue, part in pieces:
            if not self._fill(working, desk, venue, part, (price, moved, got), taker, share, events):
                return

    def _budget(self, i: int, k: int) -> int:
        """Lots that the bar at place *k* of the tape still has for us, on all venues."""
        if i in self.used:
            return self.used[i][0]
        up, down, _, _, _, _ = self.terms[i]
        tape, desk = self.tape, self._desks[i]
        basis = tapes.trailing_volume(tape.panel[4], i, self.row, self.volume_window) if self.volume_window else tape.volumes[k]
        budget: int = rules.budget(basis, desk.participation, up, down)
        if not desk.venues:
            return budget
        self._left[i] = tuple(capacities(budget, desk.venues))
        return sum(self._left[i])

    def _price(self, working: Working, desk: Desk, price: float, taker: bool, take: int, share: float, change: int) -> tuple[float, float]:
        """What a fill of *take* lots pays: (the bar's price as moved by what we hold, that after slippage). Makers get the bar's."""
        if not taker:
            return price, price
        i, buying, slippage = working.instrument, working.remaining > 0, desk.slippage
        capped, limit = working.kind in (rules.LIMIT, rules.STOP_LIMIT), working.limit
        if not isinstance(slippage, Slippage):
            got = slippage.slipped(self._trade(working, take if buying else -take, price, taker, share, change))
            if not isfinite(got):
                raise PluginError(f"slippage model {type(slippage).__name__}.slipped must give a price, gave {got!r}")
            return price, self._bounded(got, buying, capped, limit)
        up, down, _, _, _, _ = self.terms[i]
        moved, sigma, days = price, nan, nan
        if slippage.code == rules.SQUARE_ROOT:
            tape, held = self.tape, (self._lots[i] + change) * up / down
            sigma, days = tapes.impact_of(tape.panel_days, tape.panel, i, self.row, slippage.window, take * up / down)
            if slippage.permanent and held:
                lasting = slippage.permanent * slippage.y * sigma * sqrt(days * abs(held) / (take * up / down))
                moved = self._bounded(price * (1.0 + lasting if held > 0 else 1.0 - lasting), buying, capped, limit)
        return moved, rules.slip(moved, buying, capped, limit, slippage.code, slippage.amount, share, sigma, days)

    @staticmethod
    def _bounded(price: float, buying: bool, capped: bool, limit: float) -> float:
        """A price that is not below 0, and no worse than a limit."""
        worse: float = rules.slip(max(price, 0.0), buying, capped, limit, rules.BPS, 0.0, nan, nan, nan)
        return worse

    def _fill(
        self,
        working: Working,
        desk: Desk,
        venue: int,
        part: int,
        prices: tuple[float, float, float],
        taker: bool,
        share: float,
        events: list[Event],
    ) -> bool:
        """Trade *part* lots on one venue, with all that they cost; whether the account can pay for them."""
        i, lots, (price, moved, got) = working.instrument, working.remaining, prices
        up, down, multiplier, _, _, _ = self.terms[i]
        budget, taken, change = self.used[i]
        buying, tariff = lots > 0, desk.commission
        traded, units = part if buying else -part, part * up / down
        worth = units * multiplier * got
        shares, notional, extra = working.shares + units, working.notional + worth, working.extra
        if isinstance(tariff, Commission):
            charged = tariff.tier(self._volume(tariff)).charge(taker, worth, units) if tariff.tiers else 0.0
            rebate, extra = min(charged, 0.0), extra + max(charged, 0.0)
            rate = tariff.bps / 10_000.0
            due = rules.fee(
                shares,
                notional,
                working.paid,
                tariff.per_share,
                tariff.per_order + extra,
                rate,
                tariff.minimum,
                tariff.maximum,
                tariff.round_to_cents,
            )
        else:
            rebate, due = 0.0, tariff.charge(self._trade(working, traded, got, taker, share, change))
            if not isfinite(due):
                raise PluginError(f"cost model {type(tariff).__name__}.charge must give money, gave {due!r}")
        regulatory = desk.levies.charge(self.tape.days[self.row], buying, worth, units)
        venue_fee = desk.venues[venue].charge(taker, worth, units) if venue >= 0 else 0.0
        if isinstance(tariff, Commission) and tariff.round_to_cents:
            rebate, regulatory, venue_fee = cents(rebate), cents(regulatory), cents(venue_fee)
        commission = due + rebate + regulatory + venue_fee
        value = traded * up / down * multiplier
        held = self._lots[i] + change
        mark_row = self.portfolio.row
        mark = self.tape.marked[mark_row * self.tape.width + i] if mark_row >= 0 else nan
        if self.restated:
            mark = self.restated.get(i, mark)
        size, size_then = held * up / down * multiplier, (held + traded) * up / down * multiplier
        reason, self.equity, self.gross = rules.afford(
            self.cash_account, self.leverage_max, held, traded, size, size_then, value, got, commission, mark, self.cash, self.equity, self.gross
        )
        if reason:
            working.now, working.refused = reason, True
            return False
        self.used[i] = budget - part, taken + part, change + traded
        if venue >= 0:
            self._left[i] = tuple(there - part if at == venue else there for at, there in enumerate(self._left[i]))
        self._pending[i] -= traded
        self.cash = self.cash - value * got - commission
        working.shares, working.notional, working.paid, working.extra = shares, notional, working.paid + due, extra
        working.remaining = lots - traded
        day = self.tape.days[self.row]
        so_far, units_so_far = self._traded.get(day, (0.0, 0.0))
        self._traded[day] = so_far + worth, units_so_far + units
        events.append(Fill(working.id, i, traded, got, value * (got - price) + 0.0, commission, taker))
        name = desk.venues[venue].name if venue >= 0 else ""
        events.append(Itemised(working.id, i, name, regulatory, venue_fee, value * (moved - price) + 0.0))
        return True

    def _volume(self, tariff: Commission) -> float:
        """What was traded over the days before this session, as far as the tariff looks."""
        today = self.tape.days[self.row]
        for day in [day for day in self._traded if day < today - self._days_kept]:
            del self._traded[day]
        which = 0 if tariff.tier_unit == "value" else 1
        return fsum(traded[which] for day, traded in self._traded.items() if today - tariff.tier_days <= day < today)

    def _trade(self, working: Working, traded: int, price: float, taker: bool, share: float, change: int) -> Trade:
        """A trade as a model of one's own sees it."""
        i, tape, row = working.instrument, self.tape, self.row
        up, down, _, _, _, _ = self.terms[i]

        def known(window: int) -> tuple[float, float]:
            sigma, volume = tapes.trailing(tape.panel_days, tape.panel[3], tape.panel[4], i, row, window)
            return float(sigma), float(volume)

        return Trade(
            tape.instruments[i],
            tape.ats[row],
            tape.days[row],
            traded * up / down,
            price,
            taker,
            share,
            (self._lots[i] + change) * up / down,
            working.shares,
            working.notional,
            working.paid,
            known,
        )
