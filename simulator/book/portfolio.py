"""Cash and positions, changed only by booking."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum, nan

import numpy as np

from simulator.book.fills import Booked, Booking, Event, Fill, FillBatch, Rescaled
from simulator.book.orders import FloatArray, IntArray
from simulator.book.positions import Position
from simulator.kernels import batches, tapes
from simulator.kernels.compiled import direct
from simulator.kernels.rules import after
from simulator.market.tape import Bars, quick


class Portfolio:
    """Holdings are exact lots at average cost. Arrays serve compiled code and memoryviews Python: one buffer, no copies.

    Values are taken at the marks of the row that `mark` was last given: during `work` these are still the closes before, but for what has been split
    since, whose rescaled marks are in *restated*. *receivable* is what is owed to us (below 0: by us) and not yet cash: it is part of equity.
    *unsettled* is the part of cash, in a cash account, that sales brought and that has not settled: it may buy. *settles* says whether that is kept.
    """

    __slots__ = (
        "_alone",
        "_averages",
        "_book",
        "_lots",
        "_passing",
        "_realised",
        "_sizes",
        "_terms",
        "_valued",
        "_worth",
        "averages",
        "bars",
        "cash",
        "lot_values",
        "lots",
        "realised",
        "receivable",
        "restated",
        "row",
        "settles",
        "sizes",
        "start",
        "terms",
        "unsettled",
        "width",
    )

    def __init__(self, bars: Bars, cash: float) -> None:
        n = bars.tape.width
        self.bars, self.cash, self.start, self.width, self.row = bars, cash, cash, n, -1
        self.terms = bars.tape.terms
        # What a lot is worth at a price of 1.
        self.lot_values: list[float] = self.terms[:, 3].tolist()
        self.lots, self.sizes, self.averages, self.realised = np.zeros(n, np.int64), np.zeros(n), np.zeros(n), np.zeros(n)
        self._lots = self.lots.data
        self._sizes, self._averages, self._realised = quick(self.sizes), quick(self.averages), quick(self.realised)
        self._terms = [tuple(row) for row in self.terms.tolist()]
        self._valued = direct(tapes.worth, tapes.WORTH)
        self._book = direct(batches.book_one, batches.BOOK_ONE)
        # What `worth` found last, until something is booked or marked.
        self._worth: tuple[float, float] | None = None
        # Whether there is something that ends with the next mark: that, or what is restated.
        self._passing = False
        self.receivable = self.unsettled = 0.0
        self.settles = False
        self.restated: dict[int, float] = {}
        # One instrument, nothing owed and nothing restated: then the values take one line each.
        self._alone = n == 1

    def book(self, events: Iterable[Event]) -> None:
        """Take fills, one or a batch, into account, in order. What else happened to orders changes nothing here."""
        self._worth = None
        for event in events:
            if type(event) is Fill:
                _, i, traded, price, _, commission, _, _ = event
                self.cash = self._book(self.cash, i, traded, price, commission, self.lots, self.sizes, self.averages, self.realised, self.terms)
            elif isinstance(event, FillBatch):
                self.cash = batches.book(
                    self.cash,
                    self.lots,
                    self.sizes,
                    self.averages,
                    self.realised,
                    self.terms,
                    event.instruments,
                    event.lots,
                    event.prices,
                    event.commissions,
                )

    def settle(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take what fell due into account, each event before the next is made; all of them."""
        settled = []
        for event in events:
            self._worth = None
            if isinstance(event, Booked):
                self._move(event)
            elif isinstance(event, Rescaled):
                self._split(event)
            settled.append(event)
        self._alone = self.width == 1 and not self.receivable and not self.restated
        return tuple(settled)

    def _move(self, booked: Booked) -> None:
        kind, i, amount, receivable, lots, price = booked
        self.cash = self.cash + amount
        self.receivable = self.receivable + receivable
        if lots:
            up, down, multiplier, size, _, _ = self._terms[i]
            held, self._averages[i], self._realised[i] = after(self._lots[i], self._averages[i], self._realised[i], lots, price, size)
            self._lots[i] = held
            self._sizes[i] = held * up / down * multiplier
        elif kind == Booking.FRACTION:
            # The cost of what was given away is in the amount, at the same average.
            self._realised[i] = self._realised[i] + amount - amount / price * self._averages[i]

    def _split(self, split: Rescaled) -> None:
        i, up, down, lots, mark = split
        lot_up, lot_down, multiplier, _, _, _ = self._terms[i]
        self._lots[i] = held = self._lots[i] + lots
        self._sizes[i] = held * lot_up / lot_down * multiplier
        self._averages[i] = self._averages[i] * down / up
        self.restated[i], self._passing = mark, True

    def mark(self, bars: Bars) -> None:
        """From here on values are taken at this instant's closes."""
        self.row = bars.row
        if self._passing:
            self._worth, self._passing = None, False
            if self.restated:
                self.restated.clear()
                self._alone = self.width == 1 and not self.receivable

    @property
    def equity(self) -> float:
        """Cash and receivables, and the value of all positions at the last marks."""
        if self._alone:
            size = self._sizes[0]
            return self.cash + size * self.bars.tape.marked[self.row] if size else self.cash
        return self.worth()[0]

    def exposure(self, pending: IntArray) -> tuple[float, float]:
        """Gross and net exposure of what is held and *pending* (lots by instrument), at the last marks. What has no price yet counts nothing."""
        if self.width == 1:
            total = self._lots[0] + pending.item(0)
            if not total:
                return 0.0, 0.0
            value = total * self._terms[0][3] * self.bars.tape.marked[self.row]
            return (abs(value), value) if value == value else (0.0, 0.0)
        return tapes.exposure(self.lots, pending, self.terms, self.bars.tape.panel_marks, self.row)

    def prospects(self, pending: IntArray) -> tuple[float, float, float]:
        """Equity, and gross and net exposure of what is held and *pending*: the two above at once."""
        if self._alone:
            mark, size = self.bars.tape.marked[self.row], self._sizes[0]
            value = (self._lots[0] + pending.item(0)) * self._terms[0][3] * mark
            if value != value:
                value = 0.0
            return (self.cash + size * mark if size else self.cash), abs(value), value
        return self.worth()[0], *tapes.exposure(self.lots, pending, self.terms, self.bars.tape.panel_marks, self.row)

    def worth(self) -> tuple[float, float]:
        """Equity and gross exposure of what is held, at the last marks."""
        if self.restated:
            values = [size * self.mark_of(i) for i, size in enumerate(self._sizes) if size]
            return fsum([self.cash, *values, self.receivable]), fsum(abs(value) for value in values)
        if self._alone:
            size = self._sizes[0]
            if not size:
                return self.cash, 0.0
            value = size * self.bars.tape.marked[self.row]
            return self.cash + value, abs(value)
        if self._worth is None:
            equity, gross = self._valued(self.cash, self.sizes, self.bars.tape.panel_marks, self.row)
            self._worth, self._passing = (equity + self.receivable, gross), True
        return self._worth

    def values(self, first: int, end: int) -> FloatArray:
        """Equity at the closes of the rows from *first* up to but not *end*, as long as nothing is booked: (end - first,)."""
        bars, found = Bars(self.bars.tape), np.empty(end - first)
        for bars.row in range(first, end):
            self.mark(bars)
            found[bars.row - first] = self.equity
        return found

    def rate_of(self, instrument: int) -> float:
        """What an instrument's currency is worth in the account's at the last marks: 1, where there is but one."""
        return 1.0

    def mark_of(self, instrument: int) -> float:
        """An instrument's last mark, rescaled where it was split since; NaN before its first."""
        if instrument in self.restated:
            return self.restated[instrument]
        return self.bars.tape.marked[self.row * self.width + instrument] if self.row >= 0 else nan

    def position(self, instrument: int) -> Position:
        """One position, valued at the last mark."""
        lots, size, average = self._lots[instrument], self._sizes[instrument], self._averages[instrument]
        traded = self.bars.tape.instruments[instrument]
        mark = self.bars.tape.marked[self.row * self.width + instrument] if self.row >= 0 else average
        unrealised = size * (mark - average) if lots else 0.0
        return Position(traded.symbol, lots, traded.units(lots), average, self._realised[instrument], unrealised)

    def proceeds(self, events: Iterable[Event]) -> float:
        """What the sales among these events brought, less their commissions."""
        brought = []
        for event in events:
            if isinstance(event, Fill) and event.lots < 0:
                up, down, multiplier = self.terms[event.instrument, :3].tolist()
                brought.append(-event.lots * up / down * multiplier * event.price - event.commission)
            elif isinstance(event, FillBatch):
                sold = event.lots < 0
                ups, downs, multipliers = self.terms[event.instruments[sold], :3].T
                brought += (-event.lots[sold] * ups / downs * multipliers * event.prices[sold] - event.commissions[sold]).tolist()
        return fsum(brought)
