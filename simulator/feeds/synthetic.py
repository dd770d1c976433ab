"""Made-up markets, some with answers known in closed form: what they do is stated, seeded and rounded to the tick.

With an interval of "1d" bars are business days (Monday to Friday, each a whole UTC day); shorter ones run round the clock from midnight UTC of
*start*. Every market is a function of its settings and the seed, a longer one begins as the shorter one does, and each instrument has its own stream
of random numbers, keyed by its symbol, so that one more disturbs no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.errors import ScenarioError
from simulator.feeds.checks import PRICES, Read, passed
from simulator.loop.randomness import stream
from simulator.market.calendars import parse_interval, session_times
from simulator.market.instruments import Instrument
from simulator.market.tape import DAY, FloatArray, IntArray, Tape, Truth

START: Final = date(2020, 1, 1)


@dataclass(frozen=True)
class Flat:
    """One price forever, O = H = L = C. Buying and holding earns exactly 0, less costs."""

    bars: int = 252
    price: float = 100.0
    volume: float = 1_000_000.0
    symbol: str = "FLAT"
    start: date = START
    interval: str = "1d"
    tick: str = "0.01"

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape, the same for every *seed*. Raises ScenarioError for settings that cannot be meant."""
        _at_least("price", self.price)
        _at_least("volume", self.volume)
        return _one_price(np.full(_count(self.bars), self.price), self.volume, self.symbol, self.start, self.interval, self.tick, "one price forever")


@dataclass(frozen=True)
class Trend:
    """A price that grows by the same fraction each bar, O = H = L = C: bar t has price x (1 + growth)^t, rounded to the tick.

    What is bought in bar k and held to the last one, n - 1, earns (1 + growth)^(n - 1 - k) - 1, up to that rounding and less costs. A market order
    sent after the first bar is filled in bar 1. With tick "0" nothing is rounded.
    """

    bars: int = 252
    price: float = 100.0
    growth: float = 0.001
    volume: float = 1_000_000.0
    symbol: str = "TREND"
    start: date = START
    interval: str = "1d"
    tick: str = "0.01"

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape, the same for every *seed*. Raises ScenarioError for settings that cannot be meant."""
        _at_least("price", self.price)
        _at_least("volume", self.volume)
        if not -1.0 < self.growth < float("inf"):
            raise ScenarioError(f"feed.growth must be above -1, since a price stays above 0, was {self.growth}")
        try:
            prices = [self.price * (1.0 + self.growth) ** t for t in range(_count(self.bars))]
        except OverflowError:
            raise ScenarioError(f"feed.growth of {self.growth} over {self.bars} bars is more than a number can hold; take less of either") from None
        return _one_price(np.array(prices), self.volume, self.symbol, self.start, self.interval, self.tick, f"grows by {self.growth} a bar")


@dataclass(frozen=True)
class Jump:
    """One price, and from bar *at* on (counted from 0) price x (1 + size), O = H = L = C.

    What was bought before bar *at* and is held earns exactly *size*, up to the tick and less costs; what is bought later earns 0.
    """

    bars: int = 252
    price: float = 100.0
    at: int = 126
    size: float = -0.2
    volume: float = 1_000_000.0
    symbol: str = "JUMP"
    start: date = START
    interval: str = "1d"
    tick: str = "0.01"

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape, the same for every *seed*. Raises ScenarioError for settings that cannot be meant."""
        _at_least("price", self.price)
        _at_least("volume", self.volume)
        if not -1.0 < self.size < float("inf"):
            raise ScenarioError(f"feed.size must be above -1, since a price stays above 0, was {self.size}")
        if not 0 < self.at < _count(self.bars):
            raise ScenarioError(f"feed.at must be a bar from 1 to {self.bars - 1}, was {self.at}")
        prices = np.where(np.arange(self.bars) < self.at, self.price, self.price * (1.0 + self.size))
        return _one_price(prices, self.volume, self.symbol, self.start, self.interval, self.tick, f"jumps by {self.size} at bar {self.at}")


@dataclass(frozen=True)
class Walks:
    """Geometric random walks, correlated through one common factor, with occasional jumps.

    Each bar a log price gains *drift* + *volatility* x normal, of which the share *overnight* of the variance falls between the close before and the
    open. Any two instruments have the same *correlation*. With *jump_chance* a bar opens on a jump, whose log is normal with standard deviation
    *jump_size*. High and low are the extremes of a Brownian bridge from open to close, drawn from their exact distributions.
    """

    bars: int = 252
    symbols: tuple[str, ...] = ("WALK",)
    price: float = 100.0
    drift: float = 0.0003
    volatility: float = 0.01
    correlation: float = 0.3
    overnight: float = 0.25
    jump_chance: float = 0.0
    jump_size: float = 0.05
    volume: float = 1_000_000.0
    start: date = START
    interval: str = "1d"
    tick: str = "0.01"

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape of *seed*. Raises ScenarioError for settings that cannot be meant."""
        _at_least("price", self.price)
        _at_least("volume", self.volume)
        _within("volatility", self.volatility, 0.0, 1.0)
        _within("drift", self.drift, -1.0, 1.0)
        for name in ("correlation", "overnight", "jump_chance", "jump_size"):
            _within(name, getattr(self, name), 0.0, 1.0)
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise ScenarioError(f"feed.symbols must be different and at least one, was {list(self.symbols)}")
        n = _count(self.bars)
        common = stream(seed, "walks").standard_normal((n, 2))
        inside = self.volatility * np.sqrt(1.0 - self.overnight)
        reads = []
        for symbol in self.symbols:
            own = stream(seed, "walks", symbol).standard_normal((n, 2))
            shocks = np.sqrt(self.correlation) * common + np.sqrt(1.0 - self.correlation) * own
            dice = stream(seed, "walks.jumps", symbol)
            strikes, sizes = dice.random((n, 2)), stream(seed, "walks.jump_sizes", symbol).standard_normal(n)
            gaps = self.volatility * np.sqrt(self.overnight) * shocks[:, 0] + np.where(strikes[:, 0] < self.jump_chance, self.jump_size * sizes, 0.0)
            moves = self.drift + inside * shocks[:, 1]
            reads.append(_drawn(seed, "walks", symbol, self, gaps, moves, np.full(n, inside)))
        return _tape(reads, self.tick, f"random walks, seed {seed}")


@dataclass(frozen=True)
class Markov:
    """A random walk whose drift and volatility depend on a hidden regime, bear (0) or bull (1), that a Markov chain switches.

    A regime stays for another bar with the probability *bear_stay* or *bull_stay*; the first is drawn from the chain's stationary distribution. A log
    price gains drift + volatility x normal of its bar's regime; a bar opens where the one before closed. `states` gives the true regimes.
    """

    bars: int = 1000
    symbol: str = "MARKOV"
    price: float = 100.0
    bear_drift: float = -0.001
    bear_volatility: float = 0.02
    bear_stay: float = 0.95
    bull_drift: float = 0.0008
    bull_volatility: float = 0.007
    bull_stay: float = 0.98
    volume: float = 1_000_000.0
    start: date = START
    interval: str = "1d"
    tick: str = "0.01"

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape of *seed*. Raises ScenarioError for settings that cannot be meant."""
        _at_least("price", self.price)
        _at_least("volume", self.volume)
        for name in ("bear_volatility", "bull_volatility"):
            _within(name, getattr(self, name), 0.0, 1.0)
        for name in ("bear_drift", "bull_drift"):
            _within(name, getattr(self, name), -1.0, 1.0)
        if not self.bear_drift < self.bull_drift:
            raise ScenarioError(f"feed.bear_drift must be below feed.bull_drift, was {self.bear_drift} and {self.bull_drift}")
        states = self.states(seed)
        drifts = np.array([self.bear_drift, self.bull_drift])[states]
        spreads = np.array([self.bear_volatility, self.bull_volatility])[states]
        moves = drifts + spreads * stream(seed, "markov", self.symbol).standard_normal(len(states))
        return _tape([_drawn(seed, "markov", self.symbol, self, np.zeros(len(states)), moves, spreads)], self.tick, f"Markov regimes, seed {seed}")

    def states(self, seed: int) -> IntArray:
        """The true regime of each bar of the tape of *seed*, 0 bear and 1 bull: (bars,)."""
        for name in ("bear_stay", "bull_stay"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ScenarioError(f"feed.{name} must be in (0, 1), was {getattr(self, name)}")
        draws = stream(seed, "markov.states", self.symbol).random(_count(self.bars)).tolist()
        stays = (self.bear_stay, self.bull_stay)
        state = int(draws[0] < (1.0 - self.bear_stay) / (2.0 - self.bear_stay - self.bull_stay))
        states = [state]
        for draw in draws[1:]:
            state = state if draw < stays[state] else 1 - state
            states.append(state)
        return np.array(states, np.int64)


@dataclass(frozen=True)
class Cointegrated:
    """Pairs of instruments whose log prices part and come back: log A = beta x log B + spread, each from *price*.

    B is a random walk of *volatility*. The spread is an AR(1) process around 0 with standard deviation *spread*, of which *half_life* bars take half
    away; it starts in its stationary distribution. The pair called X has the symbols X.A and X.B. A bar opens where the one before closed.
    """

    bars: int = 1000
    pairs: tuple[str, ...] = ("PAIR",)
    price: float = 100.0
    beta: float = 1.0
    volatility: float = 0.01
    spread: float = 0.03
    half_life: float = 10.0
    volume: float = 1_000_000.0
    start: date = START
    interval: str = "1d"
    tick: str = "0.01"

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape of *seed*, A before B in each pair. Raises ScenarioError for settings that cannot be meant."""
        for name in ("price", "volume", "beta", "half_life"):
            _at_least(name, getattr(self, name))
        for name in ("volatility", "spread"):
            _within(name, getattr(self, name), 0.0, 1.0)
        if not self.pairs or len(set(self.pairs)) != len(self.pairs):
            raise ScenarioError(f"feed.pairs must be different and at least one, was {list(self.pairs)}")
        n = _count(self.bars)
        kept = 0.5 ** (1.0 / self.half_life)
        news = self.spread * np.sqrt(1.0 - kept * kept)
        reads = []
        for pair in self.pairs:
            b = self.volatility * stream(seed, "cointegrated.walk", pair).standard_normal(n)
            draws = stream(seed, "cointegrated.spread", pair).standard_normal(n).tolist()
            spreads = [self.spread * draws[0]]
            for draw in draws[1:]:
                spreads.append(kept * spreads[-1] + news * draw)
            a = self.beta * b + np.diff(np.array(spreads), prepend=0.0)
            # The first spread is where the pair starts from, not a move of its first bar.
            gaps = np.zeros(n)
            gaps[0], a[0] = spreads[0], self.beta * b[0]
            inside = np.hypot(self.beta * self.volatility, news)
            reads.append(_drawn(seed, "cointegrated", f"{pair}.A", self, gaps, a, np.full(n, inside)))
            reads.append(_drawn(seed, "cointegrated", f"{pair}.B", self, np.zeros(n), b, np.full(n, self.volatility)))
        return _tape(reads, self.tick, f"cointegrated pairs, seed {seed}")


def _one_price(prices: FloatArray, volume: float, symbol: str, start: date, interval: str, tick: str, what: str) -> Tape:
    rounded = _on_grid(prices, _instrument(symbol, tick))
    fields = dict.fromkeys(PRICES, rounded) | {"volume": np.full(len(prices), volume)}
    return _tape([_read(symbol, start, interval, fields)], tick, what)


def _drawn(
    seed: int, component: str, symbol: str, settings: Walks | Markov | Cointegrated, gaps: FloatArray, moves: FloatArray, inside: FloatArray
) -> Read:
    """Bars whose logs open *gaps* after the close before and close *moves* later, with a volatility of *inside* between, all (n,).

    The highest point of a Brownian bridge from o to c with variance v is (o + c + sqrt((c - o)^2 - 2 v ln U)) / 2, and the lowest likewise.
    Source: Glasserman, Monte Carlo Methods in Financial Engineering (2003), section 6.4.
    """
    n = len(moves)
    closes = np.cumsum(gaps + moves)
    opens = closes - moves
    chances = 1.0 - stream(seed, f"{component}.ranges", symbol).random((n, 2))
    reach = np.sqrt(moves[:, None] ** 2 - 2.0 * inside[:, None] ** 2 * np.log(chances))
    highs, lows = (opens + closes + reach[:, 0]) / 2.0, (opens + closes - reach[:, 1]) / 2.0
    instrument = _instrument(symbol, settings.tick)
    # Settings that carry a price beyond what a float holds are refused with the bar at which they do.
    with np.errstate(over="ignore"):
        o, h, low, c = (_on_grid(settings.price * np.exp(logs), instrument) for logs in (opens, highs, lows, closes))
    busy = stream(seed, f"{component}.volumes", symbol).standard_normal(n)
    volume = np.maximum(np.floor(settings.volume * np.exp(0.3 * busy - 0.045)), 1.0)
    # Rounding keeps the order of prices, but the logs of two equal ones may differ in their last bit.
    fields = {"open": o, "high": np.maximum(h, np.maximum(o, c)), "low": np.minimum(low, np.minimum(o, c)), "close": c, "volume": volume}
    return _read(symbol, settings.start, settings.interval, fields)


def _on_grid(prices: FloatArray, instrument: Instrument) -> FloatArray:
    """Each price at the nearest tick, and at one tick at least."""
    if instrument.tick_up == 0.0:
        return prices
    ticks = np.maximum(np.rint(prices * instrument.tick_down / instrument.tick_up), 1.0)
    return ticks * instrument.tick_up / instrument.tick_down


def _read(symbol: str, start: date, interval: str, fields: dict[str, npt.NDArray[np.float64]]) -> Read:
    n, length = len(fields["close"]), parse_interval(interval, "feed.interval")
    first = np.datetime64(start, "D")
    if length > DAY:
        raise ScenarioError(f"feed.interval must be '1d' or shorter, was {interval!r}")
    if length == DAY:
        sessions = np.busday_offset(first, np.arange(n), roll="forward").astype(np.int64)
        opened_at, closed_at = session_times(sessions)
    else:
        opened_at = int(first.astype(np.int64)) * DAY + np.arange(n) * length
        closed_at, sessions = opened_at + length, opened_at // DAY
    return Read(symbol, "synthetic", np.arange(n), opened_at, closed_at, sessions, fields, length)


def _tape(reads: Sequence[Read], tick: str, what: str) -> Tape:
    return passed(reads, [_instrument(read.symbol, tick) for read in reads], truth=Truth(f"synthetic: {what}"))


def _instrument(symbol: str, tick: str) -> Instrument:
    return Instrument(symbol, tick=tick)


def _count(bars: int) -> int:
    if not 1 <= bars <= 100_000_000:
        raise ScenarioError(f"feed.bars must be from 1 to 100 million, was {bars}")
    return bars


def _at_least(name: str, value: float) -> None:
    if not 0.0 < value < float("inf"):
        raise ScenarioError(f"feed.{name} must be a number above 0, was {value}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ScenarioError(f"feed.{name} must be from {low} to {high}, was {value}")
