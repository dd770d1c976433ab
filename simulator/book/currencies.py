"""An account in several currencies: each balance in its own, valued in one base currency at the rate of the instant.

A rate is an instrument of kind "rate" whose symbol is a currency and the base: EURUSD is one euro in dollars. All are quoted in the base, which
starting cash, commissions and slippage are in; prices are in an instrument's own currency, and so are its average cost and its profit. What is
bought in another currency is owed in that one, as in a margin loan; a position in a rate is a holding of that currency. Source: market-rules.md,
section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import fsum, nan
from typing import NamedTuple

import numpy as np

from simulator.book.fills import Booked, Booking, Event, Fill, FillBatch, Rescaled
from simulator.book.portfolio import Portfolio
from simulator.book.positions import Position
from simulator.errors import DataError
from simulator.kernels.rules import after
from simulator.market.tape import Bars, Tape


class Currencies(NamedTuple):
    """The currencies of a tape, its base first: which of them each instrument is in, and the instrument that is each one's rate (the base: -1)."""

    names: tuple[str, ...]
    of: tuple[int, ...]
    rates: tuple[int, ...]


def currencies_of(tape: Tape) -> Currencies | None:
    """The currencies of a tape; None where there is one only. Raises DataError where a rate is missing, or not known when it is needed."""
    instruments = tape.instruments
    if len({x.currency for x in instruments}) < 2:
        return None
    bases = sorted({x.currency for x in instruments if x.kind == "rate"})
    if len(bases) != 1:
        said = f"rates are quoted in {', '.join(bases)}" if bases else "there is no rate among them"
        raise DataError(f"instruments in several currencies need rates that are all quoted in one base currency (kind 'rate', EURUSD): {said}")
    foreign = sorted({x.currency for x in instruments} - set(bases))
    names = (bases[0], *foreign)
    rates = [-1]
    for name in foreign:
        symbol = name + bases[0]
        at = tape.index.get(symbol)
        if at is None or instruments[at].kind != "rate":
            raise DataError(f"instruments in {name} need the rate {symbol!r}: an instrument of kind 'rate' with that symbol")
        own = [i for i, x in enumerate(instruments) if x.currency == name]
        for first, end in tape.spans(0, len(tape)):
            known = np.isfinite(tape.marks[first:end])
            early = np.flatnonzero(known[:, own].any(axis=1) & ~known[:, at])
            if len(early):
                raise DataError(f"the rate {symbol!r} must be known from the first bar in {name} on, and is not at bar {first + early[0]}")
        rates.append(at)
    return Currencies(names, tuple(names.index(x.currency) for x in instruments), tuple(rates))


class CurrencyPortfolio(Portfolio):
    """Cash by currency in *balances*; *cash*, *receivable*, *sizes* and *terms* are in the base currency, at the rates of the last marks.

    *local* is by currency what prices did, at the rate that they came to, and *exchange* what rates did to what was held before: together all profit.
    """

    __slots__ = ("_known", "_plain", "balances", "currencies", "exchange", "local", "owed", "rates")

    def __init__(self, bars: Bars, cash: float, currencies: Currencies) -> None:
        super().__init__(bars, cash)
        n = len(currencies.names)
        self.currencies = currencies
        self.balances, self.owed = [cash, *[0.0] * (n - 1)], [0.0] * n
        self.rates = [1.0, *[nan] * (n - 1)]
        # What each currency was worth in itself at the last marks.
        self._known = list(self.balances)
        self.local, self.exchange = [0.0] * n, [0.0] * n
        self._plain, self.terms = self.terms, self.terms.copy()
        self._alone = False

    def book(self, events: Iterable[Event]) -> None:
        """Take fills into account, in order: each pays in the currency of its instrument, and commissions in the base."""
        for event in events:
            if isinstance(event, FillBatch):
                columns = (column.tolist() for column in event)
                self.book([Fill(*values) for values in zip(*columns, strict=True)])
            elif isinstance(event, Fill):
                i, c = event.instrument, self.currencies.of[event.instrument]
                self.balances[c] = self.balances[c] + self._trade(i, event.lots, event.price)
                self.balances[0] = self.balances[0] - event.commission
        self._value()

    def _trade(self, i: int, lots: int, price: float) -> float:
        """Change a position, and say what that brings in its own currency, commission apart."""
        self._change(i, lots, price)
        up, down, multiplier, _, _, _ = self._terms[i]
        brought: float = -lots * up / down * multiplier * price
        return brought

    def settle(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Take what fell due into account, each event before the next is made; all of them."""
        settled = []
        for event in events:
            if isinstance(event, Booked):
                self._move(event)
            elif isinstance(event, Rescaled):
                self._split(event)
                self._resize(event.instrument)
            self._value()
            settled.append(event)
        return tuple(settled)

    def _move(self, booked: Booked) -> None:
        kind, i, amount, receivable, lots, price = booked
        c = self.currencies.of[i] if i >= 0 else 0
        self.balances[c] = self.balances[c] + amount
        self.owed[c] = self.owed[c] + receivable
        if lots:
            self._change(i, lots, price)
        elif kind == Booking.FRACTION:
            self._realised[i] = self._realised[i] + amount - amount / price * self._averages[i]

    def _change(self, i: int, lots: int, price: float) -> None:
        """Change a position, whose average cost and profit are in its own currency."""
        size = self._terms[i][3]
        held, self._averages[i], self._realised[i] = after(self._lots[i], self._averages[i], self._realised[i], lots, price, size)
        self._lots[i] = held
        self._resize(i)

    def _resize(self, i: int) -> None:
        up, down, multiplier, _, _, _ = self._terms[i]
        self._sizes[i] = self._lots[i] * up / down * multiplier * self.rate_of(i) if self._lots[i] else 0.0

    def rate_of(self, instrument: int) -> float:
        """What an instrument's currency is worth in the base at the last marks."""
        return self.rates[self.currencies.of[instrument]]

    def _worth_of(self, i: int, mark: float) -> float:
        """What a position counts at this mark, in its own currency."""
        up, down, multiplier, _, _, _ = self._terms[i]
        worth: float = self._lots[i] * up / down * multiplier * mark
        return worth

    def mark(self, bars: Bars) -> None:
        """From here on values are taken at this instant's closes and rates."""
        self.row = bars.row
        self.restated.clear()
        marked, base = bars.tape.marked, bars.row * self.width
        before, self.rates = self.rates, [1.0, *(marked[base + at] for at in self.currencies.rates[1:])]
        by_instrument = np.array([self.rate_of(i) for i in range(self.width)])
        self.terms[:, 2:4] = self._plain[:, 2:4] * by_instrument[:, None]
        self.lot_values[:] = self.terms[:, 3].tolist()
        for i in range(self.width):
            self._resize(i)
        self._value()
        now = [balance + owed for balance, owed in zip(self.balances, self.owed, strict=True)]
        for i, c in enumerate(self.currencies.of):
            if self._lots[i]:
                now[c] += self._worth_of(i, marked[base + i])
        for c, (then, worth) in enumerate(zip(self._known, now, strict=True)):
            if worth or then:
                self.local[c] += (worth - then) * self.rates[c]
                self.exchange[c] += then * (self.rates[c] - before[c]) if then else 0.0
        self._known = now

    def _value(self) -> None:
        """Add up what there is, in the base currency."""
        self._worth = None
        self.cash = fsum(balance * rate for balance, rate in zip(self.balances, self.rates, strict=True) if balance)
        self.receivable = fsum(owed * rate for owed, rate in zip(self.owed, self.rates, strict=True) if owed)

    def position(self, instrument: int) -> Position:
        """One position, valued at the last mark, in its own currency."""
        found = super().position(instrument)
        rate = self.rate_of(instrument)
        return replace(found, unrealised=found.unrealised / rate) if found.unrealised else found
