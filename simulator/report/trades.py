"""Round trips: what was bought and sold again, lot by lot, first in first out, and what each brought after all fees."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isclose
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from simulator.book.fills import Booking
from simulator.loop import journal as rows
from simulator.loop.journal import times_to_rows
from simulator.report.metrics import FloatArray, Measured
from simulator.report.statistic import Statistic, statistic

if TYPE_CHECKING:
    from simulator.report.results import Result

DAY_NS: Final = 86_400_000_000_000
SIDES: Final = ("all", "long", "short")


class RoundTrip(NamedTuple):
    """A lot from the fill that opened it to the fill that closed it, or a part of one: *quantity* units, below 0 for a short one.

    *entry* and *exit* are the prices paid; *gross* is the profit in money between them, *fees* the parts of both fills' commissions by quantity, and
    *pnl* what is left. *mae* and *mfe*, the maximum adverse and favourable excursions, are the worst and the best that *gross* was meanwhile (never
    above, and never below 0), at prices that the position certainly saw: a bar's whole range where it was held from its open to its close, else only
    what is known of it. Prices are in the instrument's currency and money in the base one, at the rate of the bar that closed it. *opened* and
    *closed* are bars, the times their closes in UTC ns. Across a split, units and prices are those after it.
    """

    symbol: str
    quantity: float
    opened: int
    closed: int
    opened_at: int
    closed_at: int
    entry: float
    exit: float
    gross: float
    fees: float
    pnl: float
    mae: float
    mfe: float
    opening_order: int
    closing_order: int

    @property
    def bars(self) -> int:
        """How many bars it was held."""
        return self.closed - self.opened

    @property
    def days(self) -> float:
        """How many calendar days it was held."""
        return (self.closed_at - self.opened_at) / DAY_NS


class Trips(NamedTuple):
    """All lots of a run: those that were *closed*, in that order, and those that are *open* at the end, oldest first by instrument.

    An open one is as if it were closed at the last mark, without fees for that; its closing order is 0. The profits of both together are the change
    of equity, but for money that moved without a trade.
    """

    closed: list[RoundTrip]
    open: list[RoundTrip]


def round_trips(result: Result) -> list[RoundTrip]:
    """All round trips of a run, in the order in which they were closed: one for each pair of an opening and a closing fill.

    Lots are closed first in, first out; a fill that goes through zero closes first, and opens with the rest. What is open at the end is no round
    trip yet: see `trips`.
    """
    return result.trips.closed


# --- What round trips brought: each takes their profits, (trips,), in money after all fees


@statistic()
def win_rate(profits: FloatArray) -> float | str:
    """The share of all round trips whose profit is above 0."""
    return float(np.mean(profits > 0.0))


@statistic()
def profit_factor(profits: FloatArray) -> float | str:
    """sum of the wins / sum of the losses, in money."""
    lost = -float(np.minimum(profits, 0.0).sum())
    return float(np.maximum(profits, 0.0).sum()) / lost if lost > 0.0 else "no round trip lost"


@statistic()
def expectancy(profits: FloatArray) -> float | str:
    """The mean profit of a round trip, in money."""
    return float(profits.mean())


@statistic()
def payoff(profits: FloatArray) -> float | str:
    """mean win / mean loss."""
    won, lost = profits[profits > 0.0], profits[profits < 0.0]
    if not len(won) or not len(lost):
        return f"no round trip {'lost' if len(won) else 'won'}"
    return float(won.mean()) / -float(lost.mean())


STATISTICS: Final[tuple[Statistic, ...]] = (win_rate, profit_factor, expectancy, payoff)


class TripSummary(NamedTuple):
    """Round trips of one side in numbers: *pnl* in all; means of days and bars held and of the excursions; the four statistics."""

    trips: int
    pnl: float
    fees: float
    win_rate: Measured
    profit_factor: Measured
    expectancy: Measured
    payoff: Measured
    days: Measured
    bars: Measured
    mae: Measured
    mfe: Measured


def summarise(some: Sequence[RoundTrip]) -> dict[str, TripSummary]:
    """What round trips brought: all of them, the long and the short ones."""
    sides = (some, [trip for trip in some if trip.quantity > 0], [trip for trip in some if trip.quantity < 0])
    return {name: _summary(side) for name, side in zip(SIDES, sides, strict=True)}


def _summary(some: Sequence[RoundTrip]) -> TripSummary:
    profits = np.array([trip.pnl for trip in some])
    means = (expectancy.measured(np.array(column, float)) for column in ([getattr(x, name) for x in some] for name in ("days", "bars", "mae", "mfe")))
    return TripSummary(
        len(some), float(profits.sum()), float(sum(trip.fees for trip in some)), *(each.measured(profits) for each in STATISTICS), *means
    )


# --- Matching


Lots = int | Fraction
"""Whole lots; in parts where a split left parts."""


def _size(lots: Lots) -> Lots:
    return lots if lots > 0 else -lots


@dataclass(slots=True)
class _Lot:
    """What one fill opened and nobody closed yet; *low* and *high* are the prices seen so far, up to bar *seen*, of which *inside* is only a part."""

    lots: Lots
    price: float
    fee: float
    bar: int
    order: int
    low: float
    high: float
    seen: int
    inside: bool


class _Book:
    """The open lots of one instrument, oldest first."""

    def __init__(self, result: Result, instrument: int) -> None:
        tape = result.tape
        self.tape, self.symbol, self.size = tape, tape.instruments[instrument].symbol, float(tape.terms[instrument, 3])
        self.unit = self.size / float(tape.terms[instrument, 2])
        self.opens, self.highs, self.lows, self.closes = (column[:, instrument] for column in (tape.open, tape.high, tape.low, tape.close))
        self.open: deque[_Lot] = deque()
        self.rates = result.rates(instrument)

    @property
    def held(self) -> Lots:
        return sum((lot.lots for lot in self.open), 0)

    def trade(self, lots: Lots, price: float, reference: float, fee: float, bar: int, order: int) -> Iterator[RoundTrip]:
        """Close what is open the other way round, and open with the rest; each takes its share of the fee."""
        at_open, at_close = (isclose(reference, float(column[bar]), rel_tol=1e-9) for column in (self.opens, self.closes))
        while lots and self.open and (self.open[0].lots > 0) != (lots > 0):
            lot = self.open[0]
            part = min(_size(lot.lots), _size(lots))
            share = 1.0 if part == _size(lots) else float(part) / float(_size(lots))
            paid, fee = fee * share, fee - fee * share
            self.look(lot, bar, whole=at_close and not at_open)
            yield self.close(lot, part, price, paid, bar, order)
            lots += part if lots < 0 else -part
        if lots:
            # Where open and close are one price, it may have been either: then of its bar only the close was certainly seen.
            self.open.append(_Lot(lots, price, fee, bar, order, price, price, bar, inside=at_close or not at_open))

    def look(self, lot: _Lot, bar: int, whole: bool) -> None:
        """The lot lives to see *bar*: its open, or the *whole* of it."""
        self.past(lot, bar)
        if lot.bar < bar:
            self.met(lot, self.opens[bar], self.opens[bar])
        if whole and not lot.inside and lot.seen == bar:
            self.met(lot, self.lows[bar], self.highs[bar])
            lot.seen = bar + 1

    def past(self, lot: _Lot, bar: int) -> None:
        """The lot has seen all bars before *bar*."""
        if lot.inside and lot.seen < bar:
            self.met(lot, self.closes[lot.seen], self.closes[lot.seen])
            lot.seen, lot.inside = lot.seen + 1, False
        if lot.seen < bar:
            self.met(lot, np.fmin.reduce(self.lows[lot.seen : bar]), np.fmax.reduce(self.highs[lot.seen : bar]))
            lot.seen = bar

    @staticmethod
    def met(lot: _Lot, low: float, high: float) -> None:
        """Prices that a lot has seen; a missing bar has none."""
        lot.low, lot.high = (float(low) if low < lot.low else lot.low), (float(high) if high > lot.high else lot.high)

    def close(self, lot: _Lot, part: Lots, price: float, paid: float, bar: int, order: int) -> RoundTrip:
        """Take *part* lots from the oldest one, at this price."""
        sign = 1 if lot.lots > 0 else -1
        whole = part == _size(lot.lots)
        fee = lot.fee if whole else lot.fee * (float(part) / float(_size(lot.lots)))
        lot.lots, lot.fee = lot.lots - sign * part, lot.fee - fee
        if whole:
            self.open.popleft()
        value = sign * float(part) * self.size * self.rate(bar)
        gross = value * (price - lot.price)
        reached = [value * (extreme - lot.price) for extreme in (min(lot.low, price), max(lot.high, price))]
        opened_at, closed_at = (int(self.tape.closed_at[row]) for row in (lot.bar, bar))
        times = lot.bar, bar, opened_at, closed_at
        money = gross, fee + paid, gross - (fee + paid), min(0.0, *reached), max(0.0, *reached)
        return RoundTrip(self.symbol, sign * float(part) * self.unit, *times, lot.price, price, *money, lot.order, order)

    def rate(self, bar: int) -> float:
        """What the instrument's currency is worth in the base one."""
        return 1.0 if self.rates is None else float(self.rates[bar])

    def split(self, up: int, down: int, bar: int) -> None:
        """*up* for each *down*: more lots at a lower price, and of what was seen too."""
        for lot in self.open:
            self.past(lot, bar)
            ratio = down / up
            lot.lots, lot.price, lot.low, lot.high = lot.lots * Fraction(up, down), lot.price * ratio, lot.low * ratio, lot.high * ratio


def trips(result: Result) -> Trips:
    """Every lot of a run, matched anew from its journal; `Result.trips` keeps them."""
    books: dict[int, _Book] = {}
    closed: list[RoundTrip] = []
    for _, end, moves in result.stretches():
        for bar, row in zip(times_to_rows(result.tape, moves["at"]).tolist(), moves.tolist(), strict=True):
            if row[3] >= 0:
                book = books.get(row[3]) or books.setdefault(row[3], _Book(result, row[3]))
                closed += _moved(book, bar, row)
        # What leaves memory has been seen by then.
        for book in books.values() if end < result.rows else ():
            for lot in book.open:
                book.past(lot, end)
    last = result.rows - 1
    return Trips(closed, [trip for i in sorted(books) for trip in _still_open(books[i], float(result.tape.marks[last, i]), last)])


def _moved(book: _Book, bar: int, row: tuple[Any, ...]) -> Iterator[RoundTrip]:
    """The round trips that a row of the journal closes."""
    _, _, kind, _, order, lots, a, b, c, d, e = row
    if kind == rows.FILL:
        yield from book.trade(lots, a, a - b / (lots * book.size * book.rate(bar)), c, bar, order)
    elif kind == rows.RESCALED:
        book.split(d, e, bar)
    elif lots:
        yield from book.trade(lots, c, inf, 0.0, bar, 0)
    elif d == Booking.FRACTION:
        held = book.held
        left = held - int(held)
        yield from book.trade(-left, c, inf, 0.0, bar, 0) if left else ()


def _still_open(book: _Book, mark: float, bar: int) -> Iterator[RoundTrip]:
    while book.open:
        lot = book.open[0]
        book.look(lot, bar, whole=True)
        yield book.close(lot, _size(lot.lots), mark, 0.0, bar, 0)
