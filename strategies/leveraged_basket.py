"""A leveraged basket: hold a weighted basket with more than one's own money, on margin or through calls on it, at a steady risk."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Literal, NamedTuple

import numpy as np

from simulator import CallTerms, FloatArray, IntArray, OrderBatch, Proposal, Rescaled, View

CALL = "CALL."
BASKET = "BASKET"


class Listed(NamedTuple):
    """A call that was listed: its instrument, the bar of its listing, and what is in its basket."""

    instrument: int
    row: int
    units: FloatArray


def split_lots(lots: int, up: int, down: int) -> int:
    """What becomes of lots when each *down* become *up*: whole ones, the rest is paid out."""
    return lots * up // down if lots >= 0 else -(-lots * up // down)


@dataclass
class Plan:
    """Lots to hold after the last of some slices, and those held before the first."""

    before: IntArray
    after: IntArray
    slices: int
    done: int = 0

    def split(self, instrument: int, up: int, down: int) -> None:
        """Count *up* lots of an instrument for each *down* of them."""
        for lots in (self.before, self.after):
            lots[instrument] = split_lots(int(lots[instrument]), up, down)

    def next(self) -> IntArray:
        """The lots to hold after one slice more: what does not divide evenly is spread over all of them."""
        self.done += 1
        return self.before + (self.after - self.before) * self.done // self.slices

    @property
    def over(self) -> bool:
        """Whether all slices were sent."""
        return self.done >= self.slices


@dataclass
class LeveragedBasket:
    """Hold a basket of *weights* (equal unless given) at a leverage of *volatility_target* / its volatility over *window* bars, at most
    *leverage_max*.

    Way "margin" buys the stocks with borrowed money. Way "calls" buys the newest call of a feed of `basket_calls`, as many as have deltas worth the
    same exposure, and leaves the rest in cash; *terms* are those of the feed. Way "both" gives each way one half, and plots the two side by side (the
    sleeves' own costs and interest apart).

    A stock that has no price over all of the last *window* bars is left out, and its share goes to the others.

    Every *every* bars, where leverage is *band* away from what it should be, and whenever a new call is listed, holdings move to their targets in
    *slices* equal parts, one a bar. What is left of a call when it expires is settled in cash.

    The idea is that of the volatility-targeted fund (Moreira and Muir, "Volatility-managed portfolios", 2017), and of basket options as leverage (the
    founding document, after the hearings on Renaissance's). Risks: leverage multiplies losses and costs, and trailing volatility is late for a crash;
    margin can be called at the worst moment; a call's time value is lost if nothing happens, it is priced by a model here, and its dealer may fail.
    """

    way: Literal["margin", "calls", "both"] = "margin"
    weights: tuple[float, ...] = ()
    volatility_target: float = 0.2
    leverage_max: float = 2.0
    window: int = 63
    every: int = 21
    band: float = 0.1
    slices: int = 5
    periods: int = 252
    terms: CallTerms = field(default_factory=CallTerms)

    listed: list[Listed] = field(default_factory=list, init=False, repr=False)
    plan: Plan | None = field(default=None, init=False, repr=False)
    asked: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), init=False, repr=False)
    cash: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, least in (("window", 2), ("every", 1), ("slices", 1), ("periods", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, was {getattr(self, name)!r}")
        for name in ("volatility_target", "leverage_max"):
            if not 0.0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0, was {getattr(self, name)!r}")
        if not 0.0 <= self.band < inf:
            raise ValueError(f"band must be at least 0, was {self.band!r}")
        if self.way != "margin" and self.slices > self.terms.overlap:
            raise ValueError(
                f"slices must be at most terms.overlap ({self.terms.overlap}), or a call expires before it is rolled; was {self.slices!r}"
            )
        if any(not 0.0 <= weight < inf for weight in self.weights) or (self.weights and not sum(self.weights) > 0.0):
            raise ValueError(f"weights must be at least 0 and not all 0, were {self.weights!r}")

    def on_bars(self, view: View) -> Proposal:
        stocks = [i for i, symbol in enumerate(view.symbols) if symbol != BASKET and not symbol.startswith(CALL)]
        if not len(self.asked):
            self.asked, self.cash = np.zeros(len(view.symbols), np.int64), view.cash
            if self.weights and len(self.weights) != len(stocks):
                raise ValueError(f"weights must be one for each of {len(stocks)} stocks, were {len(self.weights)}")
        for event in view.events:
            if isinstance(event, Rescaled):
                self._split(event.instrument, event.up, event.down)
        fresh = self._look(view, stocks)
        if view.row < max(self.window, self.terms.window):
            return ()
        remarks = []
        # What moves with a split is no move: prices are those of now, and returns the adjusted ones.
        closes = (view.history("marks", max(self.window, self.terms.window) + 1, adjusted=True) / view.factor)[:, stocks]
        if not self._known(closes).any():
            return ()
        due = fresh or (self.plan is None and (view.row - self.window) % self.every == 0)
        if due:
            wanted, leverage = self.targets(view, stocks, closes)
            held = self._leverage(view, stocks, closes)
            if fresh or abs(held - leverage) >= self.band:
                self.plan = Plan(self.asked, wanted, self.slices)
                remarks.append(view.remark(f"leverage was {held:.2f} and shall be {leverage:.2f}, in {self.slices} slices"))
        self._plot(view, stocks, closes)
        orders = self._orders(view)
        return [*remarks, orders] if orders else remarks

    def _split(self, instrument: int, up: int, down: int) -> None:
        self.asked[instrument] = split_lots(int(self.asked[instrument]), up, down)
        if self.plan is not None:
            self.plan.split(instrument, up, down)

    def _known(self, closes: FloatArray) -> np.ndarray:
        """Which stocks have a price over all of the window: (stocks,)."""
        return np.asarray(np.isfinite(closes[-self.window - 1 :]).all(axis=0))

    def _look(self, view: View, stocks: list[int]) -> bool:
        """Take note of a call that was listed with this bar; whether one was, and is to be bought."""
        known = len(self.listed)
        for i, symbol in enumerate(view.symbols):
            if symbol.startswith(CALL) and view.ages[i] == 0 and all(call.instrument != i for call in self.listed):
                self.listed.append(Listed(i, view.row, self.terms.units(view["close"][stocks], self._shares(len(stocks)))))
        return len(self.listed) > known and self.way != "margin"

    def _shares(self, count: int, known: np.ndarray | None = None) -> FloatArray:
        """The weights of so many stocks, as shares of those that are *known*: all of them, unless given."""
        shares = np.asarray(self.weights or (1.0,) * count, np.float64)
        shares = shares if known is None else np.where(known, shares, 0.0)
        return np.asarray(shares / shares.sum()) if shares.any() else shares

    def leverage(self, closes: FloatArray) -> float:
        """What leverage gives the basket its volatility: from the last *window* returns of *closes*, (rows, stocks)."""
        known = self._known(closes)
        seen = closes[-self.window - 1 :, known]
        moves = (seen[1:] / seen[:-1] - 1.0) @ self._shares(closes.shape[1], known)[known]
        volatility = float(moves.std(ddof=1)) * sqrt(self.periods)
        return min(self.volatility_target / volatility, self.leverage_max) if volatility > 0.0 else self.leverage_max

    def targets(self, view: View, stocks: list[int], closes: FloatArray) -> tuple[IntArray, float]:
        """The lots to hold of everything, and the leverage that they are for."""
        leverage = self.leverage(closes)
        wanted, traded = np.zeros(len(view.symbols), np.int64), view.bars.tape.instruments
        equities = self.equities(view, stocks)
        if "margin" in equities:
            money = leverage * equities["margin"] * self._shares(len(stocks), self._known(closes))
            for i, amount, price in zip(stocks, money.tolist(), closes[-1].tolist(), strict=True):
                if not amount:
                    continue
                wanted[i] = traded[i].lots(amount / (price * traded[i].multiplier))
        if "calls" in equities and self.listed:
            call = self.listed[-1]
            exposure = self._exposure(view, call, closes) * traded[call.instrument].multiplier
            # A call that moves with nothing can give no leverage.
            if exposure > 0.0:
                wanted[call.instrument] = traded[call.instrument].lots(leverage * equities["calls"] / exposure)
        return wanted, leverage

    def equities(self, view: View, stocks: list[int]) -> dict[str, float]:
        """What each way has now: all there is, or for both its half of the cash and what its instruments earned, before costs."""
        if self.way != "both":
            return {self.way: max(view.equity, 0.0)}
        earned = {"margin": 0.0, "calls": 0.0}
        own = set(stocks)
        for i in range(len(view.symbols)):
            held = view.holding(i)
            earned["margin" if i in own else "calls"] += held.realised + held.unrealised
        return {way: max(0.5 * self.cash + gain, 0.0) for way, gain in earned.items()}

    def _exposure(self, view: View, call: Listed, closes: FloatArray) -> float:
        left = call.row + self.terms.life - view.row
        return self.terms.exposure(closes[-self.terms.window - 1 :], call.units, left) if left > 0 else 0.0

    def _leverage(self, view: View, stocks: list[int], closes: FloatArray) -> float:
        """The leverage of what is held: the stocks' value and the calls' deltas, over equity."""
        held, traded = view.position, view.bars.tape.instruments
        exposure = sum(held[i] * traded[i].multiplier * price for i, price in zip(stocks, closes[-1].tolist(), strict=True) if held[i])
        for call in self.listed[-2:]:
            if held[call.instrument]:
                exposure += held[call.instrument] * traded[call.instrument].multiplier * self._exposure(view, call, closes)
        return float(exposure / view.equity) if view.equity > 0.0 else inf

    def _plot(self, view: View, stocks: list[int], closes: FloatArray) -> None:
        view.plot("leverage", "held", self._leverage(view, stocks, closes))
        if self.way == "both":
            for way, equity in self.equities(view, stocks).items():
                view.plot("sleeves", way, equity)

    def _orders(self, view: View) -> OrderBatch | None:
        """The next slice, and what came to nothing of those before."""
        wanted = self.asked
        if self.plan is not None:
            wanted = self.plan.next()
            self.plan = None if self.plan.over else self.plan
        lots = np.array(view.lots, np.int64)
        due = (wanted != self.asked) & (view.ages == 0)
        if not view.open_orders:
            due |= (wanted != lots) & (view.ages == 0)
        self.asked = wanted
        missing = np.where(due, wanted - lots, 0)
        order = np.concatenate([np.flatnonzero(missing < 0), np.flatnonzero(missing > 0)])
        return OrderBatch(view.ids.block(len(order)), order, missing[order], clears=np.flatnonzero(due)) if due.any() else None
