"""Stressed markets: bars and terms that are worse than history's, by rule and by seed.

Each transform takes values and gives values, and gives back what it was given where it is off. They are applied in the order of the fields of
`Stress`: first what the history is, then how prices move, what happens in it and what can be traded of it, and last what is wrong with its bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import inf
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import ScenarioError, nearest
from simulator.loop.randomness import Generator, blocks, stream
from simulator.market.actions import Actions, Suspension
from simulator.market.calendars import day_text
from simulator.market.instruments import NEVER, Future
from simulator.market.tape import FIELDS, FloatArray, IntArray, Tape

EPOCH: Final = date(1970, 1, 1)
TIMES_MAX: Final = 1_000.0
LEAST: Final = 1e-12
"""Two moves that differ by less, against their size, are one."""


@dataclass(frozen=True, slots=True)
class Gap:
    """From the first bar of the session *at* on (None: drawn by the seed) all prices are higher by the share *size*: -0.2 is a fall by a fifth.

    *symbols* are those that it happens to, all where there are none.
    """

    size: float
    at: date | None = None
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not -1.0 < self.size < inf:
            raise ScenarioError(f"size must be above -1, a share of the price, was {self.size!r}")


@dataclass(frozen=True, slots=True)
class Stop:
    """No trading in *symbols* (all where there are none) for so many *sessions*, from *at* on (None: drawn by the seed)."""

    sessions: int = 1
    at: date | None = None
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sessions < 1:
            raise ScenarioError(f"sessions must be at least 1, was {self.sessions}")


@dataclass(frozen=True, slots=True)
class Squeeze:
    """From the session *at* on (None: drawn by the seed) *symbols* (all where there are none) cost at least *rate* a year to borrow, and no more than
    *available* shares of each are to be had: what is short beyond them is recalled.
    """

    rate: float = 0.5
    available: float = inf
    at: date | None = None
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < inf:
            raise ScenarioError(f"rate must be a yearly rate of 0 or above, was {self.rate!r}")
        if not self.available >= 0.0:
            raise ScenarioError(f"available must be 0 shares or more, inf is any, was {self.available!r}")


@dataclass(frozen=True, slots=True)
class Stress:
    """What a market is put under, in this order; by default nothing.

    *bootstrap* is the mean length, in sessions, of the blocks of which another history is made (0: history as it was). *volatility* is how many
    times as far prices move, around the mean that they have, and *correlation* how far they move as one: 0 is as they did, 1 all alike. *gaps* are
    sudden falls or rises. *spread* multiplies slippage, and *liquidity* divides volume. *missing* is the share of bars that are not there, *late*
    the share of instants whose bars come only with the next ones', and are one with them. *halts* stop trading, and *squeezes* make borrowed shares
    dear. Another *seed* is another draw of all that is drawn.
    """

    bootstrap: float = 0.0
    volatility: float = 1.0
    correlation: float = 0.0
    gaps: tuple[Gap, ...] = ()
    spread: float = 1.0
    liquidity: float = 1.0
    missing: float = 0.0
    late: float = 0.0
    halts: tuple[Stop, ...] = ()
    squeezes: tuple[Squeeze, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.bootstrap == 0.0 or 1.0 <= self.bootstrap < inf):
            raise ScenarioError(f"bootstrap must be a mean block of at least 1 session, or 0 (off), was {self.bootstrap!r}")
        for name in ("volatility", "spread", "liquidity"):
            if not 0.0 < getattr(self, name) <= TIMES_MAX:
                raise ScenarioError(f"{name} must be above 0 and at most {TIMES_MAX:g}, 1 is off, was {getattr(self, name)!r}")
        if not 0.0 <= self.correlation <= 1.0:
            raise ScenarioError(f"correlation must be in [0, 1], 0 is off, was {self.correlation!r}")
        for name in ("missing", "late"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ScenarioError(f"{name} must be a share in [0, 1), 0 is off, was {getattr(self, name)!r}")
        if not 0 <= self.seed < 2**63:
            raise ScenarioError(f"seed must be in 0..{2**63 - 1}, was {self.seed}")

    def tape(self, tape: Tape, seed: int) -> Tape:
        """The bars under this stress; *seed* is the scenario's. Raises ScenarioError for symbols and dates that are not there."""
        if tape.room:
            raise ScenarioError("stress: a worse market is a copy of all bars, in memory: a dataset that streams can have none; read it with 'files'")
        random = Draws(seed, self.seed)
        found = bootstrapped(tape, self.bootstrap, random)
        found = more_volatile(found, self.volatility)
        found = correlated(found, self.correlation)
        for k, gap in enumerate(self.gaps):
            found = gapped(found, gap, random, f"stress.gaps[{k}]")
        found = thinner(found, self.liquidity)
        found = with_missing(found, self.missing, random)
        found = with_late(found, self.late, random)
        for k, stop in enumerate(self.halts):
            found = halted(found, stop, random, f"stress.halts[{k}]")
        return found

    def squeezed(self, tape: Tape, seed: int) -> tuple[tuple[tuple[str, ...], float, float, date], ...]:
        """The squeezes on the bars that they are for: symbols, rate, shares available, and the first session."""
        random = Draws(seed, self.seed)
        return tuple(
            (_symbols(tape, x.symbols, f"stress.squeezes[{k}]"), x.rate, x.available, _dated(_session(tape, x.at, random, f"stress.squeezes[{k}]")))
            for k, x in enumerate(self.squeezes)
        )

    def words(self) -> list[str]:
        """What it does, one sentence each, in the order in which it is done."""

        def at(event: Gap | Stop | Squeeze) -> str:
            where = f" in {', '.join(event.symbols)}" if event.symbols else ""
            return f"from {event.at or 'a session drawn by the seed'} on{where}"

        told = [
            (self.bootstrap > 0.0, f"History is resampled in blocks of whole sessions, {self.bootstrap:g} long on average."),
            (self.volatility != 1.0, f"Prices move {self.volatility:g} times as far around their mean."),
            (self.correlation > 0.0, f"Instruments move as one, by {self.correlation:.0%}: all prices of a bar are moved by the same share."),
            *((True, f"All prices are {gap.size:+.1%} {at(gap)}.") for gap in self.gaps),
            (self.spread != 1.0, f"Slippage is {self.spread:g} times what the broker's settings say."),
            (self.liquidity != 1.0, f"Volume is divided by {self.liquidity:g}."),
            (self.missing > 0.0, f"{self.missing:.1%} of bars are missing."),
            (self.late > 0.0, f"At {self.late:.1%} of instants bars are late: they come with the next ones, and are one with them."),
            *((True, f"No trading for {stop.sessions} sessions {at(stop)}.") for stop in self.halts),
            *((True, f"Shares cost {x.rate:.0%} a year to borrow {at(x)}, and {x.available:g} of each are to be had.") for x in self.squeezes),
        ]
        return [f"Stress: {sentence}" for holds, sentence in told if holds]


class Draws(NamedTuple):
    """Where what a stress draws comes from: the scenario's seed, and the stress's own."""

    seed: int
    own: int

    def of(self, what: str, instrument: str = "") -> Generator:
        """The random numbers of one transform, for one instrument."""
        return stream(self.seed, f"stress {self.own}, {what}", instrument)


# --- How prices move


def bootstrapped(tape: Tape, block: float, random: Draws) -> Tape:
    """Another history of as many sessions, made of blocks of whole sessions that are *block* long on average: the stationary bootstrap.

    Each price keeps its ratio to the last close before it, so that prices go on where the block before left them. A session keeps its place in time.
    Raises ScenarioError for what belongs to dates: corporate actions, as-of tables, contracts that expire.
    """
    if not block:
        return tape
    dated = tape.actions is not None and len(tape.actions), tape.known is not None, any(x.expiry < NEVER for x in _futures(tape))
    for there, what in zip(dated, ("corporate actions belong", "as-of tables belong", "a contract that expires belongs"), strict=True):
        if there:
            raise ScenarioError(f"stress.bootstrap changes which session comes when, and {what} to dates: leave one out")
    n = len(tape)
    firsts = np.flatnonzero(np.diff(tape.sessions[:n], prepend=-1))
    lengths = np.diff(firsts, append=n)
    drawn = blocks(random.of("bootstrap"), (1, len(firsts)), block)[0]
    rows = np.concatenate([np.arange(firsts[k], firsts[k] + lengths[k]) for k in drawn.tolist()])
    # A session that is longer or shorter than the one in whose place it comes brings its own hours of the day.
    times = [
        tape.closed_at[firsts[slot] + np.arange(lengths[slot])]
        if lengths[slot] == lengths[k]
        else tape.closed_at[firsts[k] + np.arange(lengths[k])] + (tape.opened_at[firsts[slot]] - tape.opened_at[firsts[k]])
        for slot, k in enumerate(drawn.tolist())
    ]
    closed_at, spans = np.concatenate(times), (tape.closed_at[:n] - tape.opened_at[:n])[rows]
    moves = _moves(tape)
    open_, high, low, close = _prices(tape, moves[:, rows])
    volume = np.where(np.isnan(close), np.nan, tape.volume[:n][rows])
    sessions = np.repeat(tape.sessions[firsts], lengths[drawn])
    made = Tape.of(
        tape.instruments,
        closed_at,
        open_,
        high,
        low,
        close,
        volume,
        interval=tape.interval,
        opened_at=closed_at - spans,
        sessions=sessions,
        truth=tape.truth,
        notes=tape.notes,
    )
    made.actions = tape.actions
    return made


def more_volatile(tape: Tape, times: float) -> Tape:
    """Prices whose log returns from close to close are *times* as far from their mean, shifted so that the mean simple return stays what it was.

    So the average bet pays what it did, and holding on pays less. All four prices of a bar are moved alike from the close before: their order stays.
    """
    if times == 1.0:
        return tape
    moves = _moves(tape)
    returned = _returned(moves[3])
    moves *= times
    for own, there in zip(np.moveaxis(moves, 2, 0), returned.T, strict=True):
        # The first bar has no close before it: there is no mean to keep.
        if there.any():
            wild = own[3, there]
            most = float(wild.max())
            # In logs, the largest taken out, since an exponential of it may be more than a number holds.
            mean = most + float(np.log(np.exp(wild - most).mean()))
            own[:, there] += float(np.log(np.exp(wild / times).mean())) - mean
    return _moved(tape, moves, "stress.volatility")


def correlated(tape: Tape, share: float) -> Tape:
    """Log returns of which each is by this *share* the one of all, at its own mean and volatility: with 1, all are perfectly correlated.

    The one of all is the mean of the standardised returns. All four prices of a bar are moved by as much as its close. Raises ScenarioError for a
    single instrument, and where returns have nothing in common.
    """
    if not share:
        return tape
    if tape.width < 2:
        raise ScenarioError(f"stress.correlation needs at least 2 instruments, there is {tape.instruments[0].symbol} only")
    moves = _moves(tape)
    returned = _returned(moves[3])
    means, own = _means(moves[3]), np.where(returned, moves[3], np.nan)
    sizes = np.array([column[~np.isnan(column)].std() if (~np.isnan(column)).any() else 0.0 for column in own.T])
    scores = np.divide(own - means, sizes, out=np.full(own.shape, np.nan), where=sizes > 0.0)
    known = ~np.isnan(scores)
    common = np.divide(np.where(known, scores, 0.0).sum(axis=1), known.sum(axis=1), out=np.zeros(len(own)), where=known.any(axis=1))
    spread = float(common[known.any(axis=1)].std()) if known.any() else 0.0
    if spread < LEAST:
        raise ScenarioError("stress.correlation: the returns of these instruments have nothing in common, or do not vary")
    mixed = (1.0 - share) * scores + share * (common / spread)[:, None]
    for column, there in zip(mixed.T, known.T, strict=True):
        if there.any():
            column[there] *= 1.0 / max(float(column[there].std()), LEAST)
    moves += np.where(known, means + sizes * mixed - moves[3], 0.0)
    return _moved(tape, moves, "stress.correlation")


def gapped(tape: Tape, gap: Gap, random: Draws, place: str = "gap") -> Tape:
    """Prices that are higher by a share from some session on. What was before it stays to the bit."""
    if not gap.size:
        return tape
    row = int(np.searchsorted(tape.sessions[: len(tape)], _session(tape, gap.at, random, place)))
    factors = np.ones((len(tape), tape.width))
    factors[row:, [tape.index[symbol] for symbol in _symbols(tape, gap.symbols, place)]] = 1.0 + gap.size
    columns = [np.array(getattr(tape, name)[: len(tape)]) for name in FIELDS]
    for column in columns[:4]:
        column[row:] = _on_grid(tape, column[row:] * factors[row:], column[row:])
    return tape.like(*columns)


# --- What can be traded


def thinner(tape: Tape, divisor: float) -> Tape:
    """Volume divided by *divisor*, in whole lots. A source without volume has no less of it."""
    if divisor == 1.0:
        return tape
    lots = np.array([x.lot_up / x.lot_down for x in tape.instruments])
    volume = tape.volume[: len(tape)]
    there = np.isfinite(volume)
    less = np.where(there, np.floor(np.where(there, volume, 0.0) / divisor / lots) * lots, volume)
    n = len(tape)
    return tape.like(tape.open[:n], tape.high[:n], tape.low[:n], tape.close[:n], less)


def halted(tape: Tape, stop: Stop, random: Draws, place: str = "halt") -> Tape:
    """The same bars, in some of whose sessions nothing trades."""
    days = np.unique(tape.sessions[: len(tape)])
    first = int(np.searchsorted(days, _session(tape, stop.at, random, place)))
    last = int(days[min(first + stop.sessions, len(days)) - 1])
    halts = [Suspension(symbol, int(days[first]), last) for symbol in _symbols(tape, stop.symbols, place)]
    made = tape.like(*(getattr(tape, name)[: len(tape)] for name in FIELDS))
    made.actions = Actions([*(tape.actions or ()), *halts], tape.actions.signals if tape.actions else "raw")
    return made


# --- What is wrong with the bars


def with_missing(tape: Tape, share: float, random: Draws) -> Tape:
    """Bars of which this *share* is not there, each drawn by itself. An instant at which nothing has a bar is none."""
    if not share:
        return tape
    n = len(tape)
    gone = np.column_stack([random.of("missing", x.symbol).random(n) < share for x in tape.instruments])
    columns = [np.where(gone, np.nan, getattr(tape, name)[:n]) for name in FIELDS]
    kept = np.flatnonzero(~np.isnan(columns[3]).all(axis=1))
    if not len(kept):
        raise ScenarioError(f"stress.missing: of {n} bars none is left with a share of {share:g}; make it smaller")
    return tape.like(*(column[kept] for column in columns), kept=kept)


def with_late(tape: Tape, share: float, random: Draws) -> Tape:
    """At this *share* of instants bars come only with the next ones, and are one with them: the first open, the extremes, the last close, all volume.

    Nobody is asked in between, so that nobody can trade at a price that is known already. Bars are not joined over a corporate action or an expiry.
    """
    n = len(tape)
    if not share or n < 2:
        return tape
    late = random.of("late").random(n - 1) < share
    # What happens with a session must find it.
    barriers = [action.ex for action in (tape.actions.dated if tape.actions else ())] + [x.expiry + 1 for x in _futures(tape)]
    for day in barriers:
        late &= ~((tape.sessions[: n - 1] < day) & (tape.sessions[1:n] >= day))
    firsts = np.flatnonzero(np.concatenate(([True], ~late)))
    lasts = np.append(firsts[1:], n) - 1
    there = ~np.isnan(tape.close[:n])
    places = np.arange(n)[:, None]
    # Where in its stretch each instrument has its first and its last bar.
    earliest = np.minimum.reduceat(np.where(there, places, n), firsts, axis=0)
    latest = np.maximum.reduceat(np.where(there, places, -1), firsts, axis=0)
    none, column = latest < 0, np.arange(tape.width)
    open_, close = (
        np.where(none, np.nan, getattr(tape, name)[np.clip(at, 0, n - 1), column]) for name, at in (("open", earliest), ("close", latest))
    )
    high, low = np.fmax.reduceat(tape.high[:n], firsts, axis=0), np.fmin.reduceat(tape.low[:n], firsts, axis=0)
    volume = np.where(none, np.nan, np.add.reduceat(np.where(there, tape.volume[:n], 0.0), firsts, axis=0))
    made = Tape.of(
        tape.instruments,
        tape.closed_at[lasts],
        open_,
        high,
        low,
        close,
        volume,
        interval=tape.interval,
        opened_at=tape.opened_at[firsts],
        sessions=tape.sessions[lasts],
        truth=tape.truth,
        notes=tape.notes,
    )
    made.actions, made.known = tape.actions, tape.known
    return made


# --- Moves: log prices over the close before


def _moves(tape: Tape) -> FloatArray:
    """The log of each price over the last close before it, or, of a first bar, over its own open: (4, rows, instruments), NaN where there is no bar.

    Prices are chained where there are corporate actions, so that these are no moves.
    """
    n = len(tape)
    prices = np.array([getattr(tape, name)[:n] for name in FIELDS[:4]])
    marks = np.array(tape.marks[:n])
    if tape.chain is not None:
        factors, _ = tape.chain.factors(0, n)
        prices *= factors
        marks = _carried(prices[3])
    before = np.vstack([np.full((1, tape.width), np.nan), marks[:-1]])
    return np.asarray(np.log(prices / np.where(np.isnan(before), prices[0], before)))


def _carried(closes: FloatArray) -> FloatArray:
    """The last close known at each row."""
    last = np.maximum.accumulate(np.where(np.isnan(closes), -1, np.arange(len(closes))[:, None]), axis=0)
    return np.where(last < 0, np.nan, np.take_along_axis(closes, np.maximum(last, 0), axis=0))


def _returned(closes: FloatArray) -> npt.NDArray[np.bool_]:
    """Where there is a return from close to close: a bar that is not its instrument's first."""
    there = ~np.isnan(closes)
    return there & (np.cumsum(there, axis=0) > 1)


def _means(closes: FloatArray) -> FloatArray:
    """The mean log return of each instrument, 0 where it has none."""
    returned = _returned(closes)
    sums = np.where(returned, closes, 0.0).sum(axis=0)
    means = np.zeros(closes.shape[1])
    np.divide(sums, returned.sum(axis=0), out=means, where=returned.any(axis=0))
    return means


def _prices(tape: Tape, moves: FloatArray) -> list[FloatArray]:
    """The four prices of bars that move so, from each instrument's first open on, on the price grid."""
    n = len(tape)
    starts = np.array([column[~np.isnan(column)][0] if (~np.isnan(column)).any() else np.nan for column in tape.open[:n].T])
    level = np.cumsum(np.where(np.isnan(moves[3]), 0.0, moves[3]), axis=0)
    before = np.vstack([np.zeros((1, tape.width)), level[:-1]])
    with np.errstate(over="ignore"):
        columns = [_on_grid(tape, starts * np.exp(before + move), None) for move in moves]
    # An exponential is right to its last bit or the one before: the extremes stay extremes.
    columns[1], columns[2] = np.maximum.reduce(columns), np.minimum.reduce(columns)
    return columns


def _moved(tape: Tape, moves: FloatArray, place: str) -> Tape:
    """A tape of the same times whose bars move so."""
    columns = _prices(tape, moves)
    if tape.chain is not None:
        factors, _ = tape.chain.factors(0, len(tape))
        columns = [_on_grid(tape, column / factors, None) for column in columns]
    if any(np.isinf(column).any() for column in columns):
        raise ScenarioError(f"{place}: prices grow beyond what a number holds; ask for less")
    open_, high, low, close = columns
    return tape.like(open_, high, low, close, tape.volume[: len(tape)])


def _on_grid(tape: Tape, prices: FloatArray, unchanged: FloatArray | None) -> FloatArray:
    """The nearest prices on each instrument's grid, at least a tick, so that their order stays. What equals *unchanged* stays as it is."""
    up, down = (np.array([getattr(x, name) for x in tape.instruments]) for name in ("tick_up", "tick_down"))
    ticked = np.where(up > 0.0, np.maximum(np.round(prices * down / np.where(up > 0.0, up, 1.0)), 1.0) * up / down, prices)
    found = np.where(np.isnan(prices), np.nan, ticked)
    return found if unchanged is None else np.where(prices == unchanged, unchanged, found)


# --- Places


def _futures(tape: Tape) -> list[Future]:
    return [x for x in tape.instruments if isinstance(x, Future)]


def _symbols(tape: Tape, wanted: Sequence[str], place: str) -> tuple[str, ...]:
    for symbol in wanted:
        if symbol not in tape.index:
            raise ScenarioError(f"{place}.symbols: there are no bars of {symbol!r}{nearest(symbol, tape.index)}")
    return tuple(wanted) or tuple(x.symbol for x in tape.instruments)


def _session(tape: Tape, at: date | None, random: Draws, place: str) -> int:
    """The first session from *at* on; without it, one drawn from the middle half, so that something comes before it and after."""
    days: IntArray = np.unique(tape.sessions[: len(tape)])
    if at is None:
        low, high = len(days) // 4, max(len(days) - len(days) // 4, 1)
        return int(days[int(random.of(place).integers(low, high))])
    day = (at - EPOCH).days
    if not days[0] <= day <= days[-1]:
        raise ScenarioError(f"{place}.at must be within the bars, {day_text(int(days[0]))} to {day_text(int(days[-1]))}, was {at}")
    return int(days[np.searchsorted(days, day)])


def _dated(day: int) -> date:
    return date.fromordinal(EPOCH.toordinal() + day)
