"""Futures in the account: positions that cost nothing, are settled in cash each day, and end.

A position's average is the price at which it was last settled, or at which it was traded since, so that (mark - average) x size is what the next
settlement brings. Source: market-rules.md, section 5: a future counts (mark - last settlement) x multiplier.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from math import fsum
from typing import Any

from simulator.book.currencies import Currencies, CurrencyPortfolio, currencies_of
from simulator.book.fills import Booked, Booking, Event, Fill, FillBatch
from simulator.book.portfolio import Portfolio
from simulator.kernels.rules import after
from simulator.market.instruments import NEVER, Future
from simulator.market.tape import Bars, Tape


def open_portfolio(bars: Bars, cash: float) -> Portfolio:
    """An account for what is on the tape: one of futures, of several currencies, or of both."""
    known = currencies_of(bars.tape)
    if not futures_of(bars.tape):
        return Portfolio(bars, cash) if known is None else CurrencyPortfolio(bars, cash, known)
    return FuturesPortfolio(bars, cash) if known is None else FuturesCurrencyPortfolio(bars, cash, known)


def futures_of(tape: Tape) -> dict[int, Future]:
    """The futures of a tape, by their index."""
    return {i: x for i, x in enumerate(tape.instruments) if isinstance(x, Future)}


class FuturesPortfolio(Portfolio):
    """An account with futures in it: trading one moves no cash but its commission and what it realises."""

    __slots__ = ("_futures",)

    def __init__(self, bars: Bars, cash: float) -> None:
        super().__init__(bars, cash)
        self._futures = tuple(futures_of(bars.tape))
        self._alone = False

    def book(self, events: Iterable[Event]) -> None:
        """Take fills into account, in order."""
        for event in events:
            if isinstance(event, FillBatch):
                columns = (column.tolist() for column in event)
                rows: list[tuple[Any, ...]] = list(zip(*columns, strict=True))
                self.book([Fill(*values) for values in rows])
            elif isinstance(event, Fill) and event.instrument in self._futures:
                self._worth = None
                self.cash = self.cash + self._trade(event.instrument, event.lots, event.price) - event.commission
            else:
                super().book((event,))

    def _trade(self, i: int, traded: int, price: float) -> float:
        """Change a position, and say what that realised."""
        up, down, multiplier, size, _, _ = self._terms[i]
        before = self._realised[i]
        self._lots[i], self._averages[i], self._realised[i] = after(self._lots[i], self._averages[i], before, traded, price, size)
        self._sizes[i] = self._lots[i] * up / down * multiplier
        return self._realised[i] - before

    def settle(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take what fell due into account, each event before the next is made; all of them."""
        settled = super().settle(events)
        self._alone = False
        return settled

    def _move(self, booked: Booked) -> None:
        if booked.kind == Booking.VARIATION:
            i = booked.instrument
            self.cash = self.cash + booked.amount
            self._realised[i] = self._realised[i] + booked.amount
            self._averages[i] = booked.price
        else:
            super()._move(booked)

    def mark(self, bars: Bars) -> None:
        """From here on values are taken at this instant's closes."""
        super().mark(bars)
        self._alone = False

    def worth(self) -> tuple[float, float]:
        """Equity, and gross exposure of what is held (of a future its contract value), at the last marks."""
        if self._worth is None:
            self._worth, self._passing = worth_of(self, self._futures), True
        return self._worth


def worth_of(portfolio: Portfolio, futures: Collection[int]) -> tuple[float, float]:
    """Equity, to which a future adds what it gained since its last settlement, and gross exposure of what is held, at the last marks."""
    sizes, averages = portfolio.sizes.tolist(), portfolio.averages.tolist()
    marks = [(size, portfolio.mark_of(i), i) for i, size in enumerate(sizes) if size]
    values = [size * ((mark - averages[i]) if i in futures else mark) for size, mark, i in marks]
    return fsum([portfolio.cash, *values, portfolio.receivable]), fsum(abs(size * mark) for size, mark, _ in marks)


class FuturesCurrencyPortfolio(CurrencyPortfolio):
    """An account with futures and several currencies in it: what a future gains or loses moves in its own currency, and is worth what that is."""

    __slots__ = ("_futures",)

    def __init__(self, bars: Bars, cash: float, currencies: Currencies) -> None:
        super().__init__(bars, cash, currencies)
        self._futures = frozenset(futures_of(bars.tape))

    def _trade(self, i: int, lots: int, price: float) -> float:
        if i not in self._futures:
            return super()._trade(i, lots, price)
        before = self._realised[i]
        self._change(i, lots, price)
        return self._realised[i] - before

    def _move(self, booked: Booked) -> None:
        if booked.kind == Booking.VARIATION:
            i = booked.instrument
            c = self.currencies.of[i]
            self.balances[c] = self.balances[c] + booked.amount
            self._realised[i] = self._realised[i] + booked.amount
            self._averages[i] = booked.price
        else:
            super()._move(booked)

    def _worth_of(self, i: int, mark: float) -> float:
        return super()._worth_of(i, mark - self._averages[i] if i in self._futures else mark)

    def worth(self) -> tuple[float, float]:
        """Equity, and gross exposure of what is held (of a future its contract value), at the last marks and rates."""
        if self._worth is None:
            self._worth = worth_of(self, self._futures)
        return self._worth


class Settlements:
    """The calendar of futures: at the first instant of each session what ended is settled for good, and then every position at the last close.

    *drop* takes the open orders in an instrument back.
    """

    __slots__ = ("_day", "_futures", "_left", "_sizes", "drop", "portfolio")

    def __init__(self, portfolio: Portfolio, drop: Callable[[int], Iterable[Event]]) -> None:
        self.portfolio, self.drop = portfolio, drop
        self._futures = futures_of(portfolio.bars.tape)
        self._sizes = [tuple(row) for row in portfolio.bars.tape.terms[:, :3].tolist()]
        self._left = {i: x.expiry for i, x in self._futures.items() if x.expiry < NEVER}
        self._day: int | None = None

    def due(self, bars: Bars) -> bool:
        """Whether a new session begins."""
        return bars.tape.days[bars.row] != self._day

    def take(self, bars: Bars) -> Iterator[Event]:
        """Expiries, with the ends of orders, and then the variation margin of what is held."""
        self._day = bars.session
        portfolio = self.portfolio
        for i in [i for i, expiry in self._left.items() if expiry < bars.session]:
            del self._left[i]
            yield from self.drop(i)
            lots = int(portfolio.lots[i])
            if lots:
                price, amount = self._gain(i, lots)
                yield Booked(Booking.EXPIRY, i, amount, lots=-lots, price=price)
        for i in self._futures:
            lots = int(portfolio.lots[i])
            if lots:
                price, amount = self._gain(i, lots)
                if amount:
                    yield Booked(Booking.VARIATION, i, amount, price=price)

    def _gain(self, i: int, lots: int) -> tuple[float, float]:
        """The last mark of a position, and what it gained since its last settlement, in its own currency."""
        price = self.portfolio.mark_of(i)
        up, down, multiplier = self._sizes[i]
        return price, lots * up / down * multiplier * (price - float(self.portfolio.averages[i]))
