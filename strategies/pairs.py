"""Pairs: trade the spread of what belongs together when it has gone too far, and wait for it to come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal

import numpy as np

from simulator import FloatArray, IntArray, OrderBatch, PairTest, Proposal, Rescaled, View, screen_baskets, screen_pairs


def logs(prices: FloatArray) -> FloatArray:
    """Log prices, NaN where there is no price or one that has no log."""
    return np.log(prices, out=np.full(prices.shape, np.nan), where=prices > 0.0)


def split_lots(lots: IntArray, up: int, down: int) -> IntArray:
    """What becomes of lots when each *down* become *up*: whole ones, the rest is paid out."""
    return np.asarray(np.sign(lots) * (np.abs(lots) * up // down))


@dataclass
class Spread:
    """A combination of log prices that passed a screening: *weights* of money in *members*, and what was fitted then.

    *side* is 1 while it is held, -1 while it is sold short, 0 while it is watched; *lots* are those that it is to hold of its members, for *since*
    bars now. A spread that was stopped is not *ready* before it has been near its mean. Until the market has filled all legs it is not *settled*, and
    *uneven* counts the bars on which it had filled one and not the other.
    """

    members: tuple[int, ...]
    weights: FloatArray
    mean: float
    deviation: float
    half_life: float
    side: int = 0
    lots: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    since: int = 0
    uneven: int = 0
    ready: bool = True
    settled: bool = True

    def turn(self, side: int, lots: IntArray) -> None:
        """Be held, sold short or only watched from now on."""
        self.side, self.lots, self.since, self.uneven, self.settled = side, lots, 0, 0, False

    def split(self, instrument: int, up: int, down: int) -> None:
        """Hold *up* lots of an instrument for each *down* of them. What was fitted stands, since it goes by adjusted prices."""
        self.lots = np.where(np.array(self.members) == instrument, split_lots(self.lots, up, down), self.lots) if self.open else self.lots

    @property
    def open(self) -> bool:
        """Whether it is traded now."""
        return self.side != 0


@dataclass
class Pairs:
    """Every *rescreen* bars all groups of *legs* instruments are tested for cointegration of their log prices over the last *formation* bars, with
    control for so many tests; up to *most* that pass, with legs on both sides and a half-life of *half_life_min* to *half_life_max* bars, are traded
    until the next screening.

    A spread is bought when its score is at or below -*entry*, and sold short at or above *entry*; closed when the score is back within *exit* of its
    mean, or beyond *stop*, or after *patience* half-lives. Signal "ou" scores by the mean and long-run deviation of an Ornstein-Uhlenbeck process,
    fitted at the screening; "zscore" by those of the last *window* bars. Legs are sized by the hedge ratio: each spread gets the share *invest* /
    *most* of equity, divided among its legs in proportion to their weights, in lots that are then held.

    A spread that is open when a new screening drops it is held to its own end. While the market fills one leg and not the other, that is put on
    record as a remark; after *uneven_max* such bars the spread is closed.

    The idea is that of Gatev, Goetzmann and Rouwenhorst, "Pairs trading: performance of a relative-value arbitrage rule" (2006), and of Vidyamurthy,
    "Pairs Trading" (2004). Risks: what was cointegrated need not stay so, and then the stop is a loss; a screening of many pairs finds some by
    chance; the spread of a pair is thin beside the costs of four trades; short legs pay borrow and can be recalled.
    """

    legs: int = 2
    formation: int = 504
    rescreen: int = 63
    level: float = 0.05
    control: Literal["benjamini_hochberg", "holm", "none"] = "benjamini_hochberg"
    maxlag: int = 1
    most: int = 10
    signal: Literal["ou", "zscore"] = "ou"
    window: int = 60
    entry: float = 2.0
    exit: float = 0.0
    stop: float = 4.0
    patience: float = 3.0
    half_life_min: float = 2.0
    half_life_max: float = 63.0
    invest: float = 1.0
    uneven_max: int = 3

    spreads: list[Spread] = field(default_factory=list, init=False, repr=False)
    asked: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), init=False, repr=False)

    def __post_init__(self) -> None:
        for name, least in (("legs", 2), ("rescreen", 1), ("maxlag", 0), ("most", 1), ("window", 3), ("uneven_max", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, was {getattr(self, name)!r}")
        least = max(20 * self.legs, self.window)
        if self.formation < least:
            raise ValueError(f"formation must be at least {least} for {self.legs} legs and a window of {self.window}, was {self.formation!r}")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level must be in (0, 1), was {self.level!r}")
        if not -self.entry < self.exit < self.entry < self.stop:
            raise ValueError(f"exit, entry and stop must rise, and exit be above -entry; were {self.exit!r}, {self.entry!r} and {self.stop!r}")
        for name in ("patience", "half_life_min", "invest"):
            if not 0.0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0, was {getattr(self, name)!r}")
        if not self.half_life_max > self.half_life_min:
            raise ValueError(f"half_life_max must be above half_life_min ({self.half_life_min}), was {self.half_life_max!r}")

    def on_bars(self, view: View) -> Proposal:
        remarks = []
        seen = view.row + 1
        if seen >= self.formation and (seen - self.formation) % self.rescreen == 0:
            remarks += [view.remark(words) for words in self._screen(view)]
        if not len(self.asked):
            self.asked = np.zeros(len(view.symbols), np.int64)
        for event in view.events:
            if isinstance(event, Rescaled):
                i, up, down = event.instrument, event.up, event.down
                self.asked[i] = split_lots(self.asked[i : i + 1], up, down)[0]
                for spread in self.spreads:
                    spread.split(i, up, down)
        late = self.asked != np.array(view.lots, np.int64)
        marks = view.history("marks", min(self.window, seen), adjusted=True) if self.spreads else np.zeros((0, 0))
        fresh = view.ages == 0
        for spread in self.spreads:
            words = [self._legs(view, spread, late), *self._follow(view, spread, logs(marks[:, spread.members]), fresh)]
            remarks += [view.remark(told) for told in words if told]
        orders = self._orders(view, late, fresh)
        return [*remarks, orders] if orders else remarks

    def _screen(self, view: View) -> list[str]:
        """Watch what passes on the past up to this close; what is open stays as it was fitted."""
        past = logs(view.history("marks", self.formation, adjusted=True))
        if self.legs == 2:
            tests = screen_pairs(past, self.level, self.control, self.maxlag, None)
        else:
            tests = screen_baskets(past, self.legs, self.level, self.control, self.maxlag, None)
        held = [spread for spread in self.spreads if spread.open]
        busy = {frozenset(spread.members) for spread in held}
        passed = [test for test in tests if test.passed]
        # A combination that is long of everything is no spread: it is held or shorted with the market.
        spread = [test for test in passed if min(test.weights) < 0.0 < max(test.weights)]
        fit = [test for test in spread if self.half_life_min <= (test.reversion.half_life or inf) <= self.half_life_max]
        fresh = [self._watched(test) for test in fit if frozenset(test.members) not in busy]
        self.spreads = held + fresh[: max(self.most - len(held), 0)]
        best = f"; the best, {self._names(view, tests[0].members)}, has p {tests[0].pvalue:.2g}, {tests[0].adjusted:.2g} adjusted" if tests else ""
        found = f"of {len(tests)} groups {len(passed)} pass and {len(fit)} have two sides and revert in time"
        return [f"screening: {found}; {len(self.spreads)} are watched or held{best}"]

    def _watched(self, test: PairTest) -> Spread:
        fit = test.reversion
        assert fit.mean is not None
        assert fit.deviation is not None
        assert fit.half_life is not None
        return Spread(test.members, np.array(test.weights), fit.mean, fit.deviation, fit.half_life)

    def score(self, spread: Spread, levels: FloatArray) -> float:
        """How many deviations the spread lies from its mean now, by log prices, (bars, members); NaN where nothing varies."""
        values = levels @ spread.weights
        if self.signal == "ou":
            return float((values[-1] - spread.mean) / spread.deviation)
        deviation = float(values.std(ddof=1)) if len(values) == self.window else 0.0
        return float((values[-1] - values.mean()) / deviation) if deviation > 0.0 else np.nan

    def _follow(self, view: View, spread: Spread, levels: FloatArray, fresh: np.ndarray) -> list[str]:
        """Open or close a spread, if its score says so and all of its legs have a bar now; what is worth a remark."""
        members = list(spread.members)
        spread.since += 1
        if not fresh[members].all():
            return []
        score = self.score(spread, levels)
        if not spread.open:
            spread.ready = spread.ready or abs(score) <= max(self.exit, 0.5 * self.entry)
            if not (spread.ready and self.entry <= abs(score) < self.stop):
                return []
            return [self._opened(view, spread, score)]
        toward = -spread.side * score
        why = ""
        if toward <= self.exit:
            why = "it is back"
        elif toward >= self.stop:
            why = "it went on: stopped"
        elif spread.since >= self.patience * spread.half_life:
            why = f"it took longer than {self.patience:g} half-lives"
        elif spread.uneven >= self.uneven_max:
            why = f"one leg stood alone for {spread.uneven} bars"
        if not why:
            return []
        spread.ready = toward <= self.exit
        spread.turn(0, np.zeros(0, np.int64))
        return [f"closes {self._names(view, spread.members)} at a score of {score:+.2f}: {why}"]

    def _opened(self, view: View, spread: Spread, score: float) -> str:
        """Take the side that gains when the spread comes back, in lots of the hedge ratio's money."""
        side = -1 if score > 0.0 else 1
        money = side * spread.weights / np.abs(spread.weights).sum() * max(view.equity, 0.0) * self.invest / self.most
        traded = view.bars.tape.instruments
        marks = view.history("marks", 1)[0]
        sizes = [money[k] / (marks[i] * traded[i].multiplier) for k, i in enumerate(spread.members)]
        lots = np.array([traded[i].lots(size) for i, size in zip(spread.members, sizes, strict=True)], np.int64)
        if not lots.all():
            # A leg of no lots would leave the others without their hedge.
            spread.ready = False
            return f"leaves {self._names(view, spread.members)} alone: a leg of it is less than a lot"
        spread.turn(side, lots)
        hedge = ", ".join(f"{weight:+.3f}" for weight in spread.weights)
        word = "buys" if side > 0 else "sells"
        return f"{word} {self._names(view, spread.members)} ({hedge}) at a score of {score:+.2f}, half-life {spread.half_life:.1f} bars"

    def _legs(self, view: View, spread: Spread, late: np.ndarray) -> str:
        """What the market has filled of some legs and not of others, said once."""
        if spread.settled:
            return ""
        open_legs = [i for i in spread.members if late[i]]
        spread.settled = not open_legs
        if not 0 < len(open_legs) < len(spread.members):
            spread.uneven += bool(open_legs)
            return ""
        spread.uneven += 1
        missing, marks = (self.asked - np.array(view.lots, np.int64)).tolist(), view.history("marks", 1)[0].tolist()
        short = ", ".join(f"{missing[i]:+d} lots of {view.symbols[i]} at {marks[i]:g}" for i in open_legs)
        return f"one leg alone: {self._names(view, spread.members)} still lacks {short}" if spread.uneven == 1 else ""

    def _orders(self, view: View, late: np.ndarray, fresh: np.ndarray) -> OrderBatch | None:
        """What is missing of the spreads' lots, netted over all of them, sells first: where it changed, and where an order came to nothing."""
        wanted = np.zeros(len(view.symbols), np.int64)
        for spread in self.spreads:
            if spread.open:
                wanted[list(spread.members)] += spread.lots
        due = wanted != self.asked
        if late.any() and not view.open_orders:
            due |= late
        due &= fresh
        if not due.any():
            return None
        self.asked = np.where(due, wanted, self.asked)
        missing = np.where(due, wanted - np.array(view.lots, np.int64), 0)
        order = np.concatenate([np.flatnonzero(missing < 0), np.flatnonzero(missing > 0)])
        return OrderBatch(view.ids.block(len(order)), order, missing[order], clears=np.flatnonzero(due))

    @staticmethod
    def _names(view: View, members: tuple[int, ...]) -> str:
        return "/".join(view.symbols[i] for i in members)
