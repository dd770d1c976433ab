"""Corporate actions as they fall due: what a split, a dividend or a delisting does to the account and to open orders.

Source: market-rules.md, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Protocol

from simulator.book.fills import Booked, Booking, Event, Rescaled
from simulator.book.portfolio import Portfolio
from simulator.market.actions import Actions, Delisting, Dividend, Split
from simulator.market.tape import Bars, Tape
from simulator.ports import Broker

NEVER = 2**62


class Registrar(Protocol):
    """What corporate actions ask of a broker."""

    def split(self, instrument: int, up: int, down: int, row: int) -> Sequence[Event]:
        """Rescale the open orders in an instrument by *up* for *down*, before they meet *row*: what became of each."""

    def delist(self, instrument: int, row: int) -> Sequence[Event]:
        """Cancel all open orders in an instrument, before they meet *row*."""


class CorporateActions:
    """The calendar of what is due by session: actions, each with the first bar of its instrument from its session on, and payments.

    An instrument without a bar waits for its next one, since before that no price is known that its split or dividend would have changed. A
    delisting waits for nothing, and takes what waited before it first.
    """

    __slots__ = ("_broker", "_coming", "_gone", "_next", "_payments", "_portfolio", "_registrar", "_tape", "_waiting")

    def __init__(self, actions: Actions, tape: Tape, portfolio: Portfolio, broker: Broker, registrar: Registrar) -> None:
        self._tape, self._portfolio, self._broker, self._registrar = tape, portfolio, broker, registrar
        # Prices that are adjusted have their splits and dividends in them.
        kept = [x for x in actions.dated if isinstance(x, Delisting) or not tape.truth.adjusted]
        self._coming: list[Split | Dividend | Delisting] = kept[::-1]
        # By instrument: what waits for a bar.
        self._waiting: dict[int, list[Split | Dividend]] = {}
        self._payments: list[tuple[int, int, float]] = []
        self._gone: set[int] = set()
        self._look_ahead()

    def due(self, bars: Bars) -> bool:
        """Whether anything happens with these bars, or orders stand in what is gone."""
        day = self._tape.days[bars.row]
        if day >= self._next:
            return True
        return bool(self._gone) and any(self._broker.open_orders[i] for i in self._gone)

    def skip(self, day: int) -> None:
        """Let pass what was due up to the session *day*, through which nothing was held or sent."""
        while self._coming and self._coming[-1].ex <= day:
            action = self._coming.pop()
            if isinstance(action, Delisting):
                self._gone.add(self._tape.index[action.symbol])
        self._look_ahead()

    def take(self, bars: Bars) -> Iterator[Event]:
        """Actions in their order, instrument by instrument, and then what is paid."""
        day, row, tape = self._tape.days[bars.row], bars.row, self._tape
        while self._coming and self._coming[-1].ex <= day:
            action = self._coming.pop()
            i = tape.index[action.symbol]
            if isinstance(action, Delisting):
                for earlier in self._waiting.pop(i, ()):
                    yield from self._take(i, earlier, day, row)
                yield from self._delist(i, action, row)
            elif i not in self._gone:
                self._waiting.setdefault(i, []).append(action)
        for i in sorted(self._waiting):
            if tape.close[row, i] == tape.close[row, i]:
                for waited in self._waiting.pop(i):
                    yield from self._take(i, waited, day, row)
        while self._payments and self._payments[0][0] <= day:
            _, i, amount = heappop(self._payments)
            yield Booked(Booking.PAYMENT, i, amount, -amount)
        for i in sorted(self._gone):
            if self._broker.open_orders[i]:
                yield from self._registrar.delist(i, row)
        self._look_ahead()

    def _look_ahead(self) -> None:
        days = [0] if self._waiting else []
        days += [self._coming[-1].ex] if self._coming else []
        days += [self._payments[0][0]] if self._payments else []
        self._next = min(days, default=NEVER)

    def _take(self, i: int, action: Split | Dividend, day: int, row: int) -> Iterator[Event]:
        return self._split(i, action, row) if isinstance(action, Split) else self._pay(i, action, day)

    def _split(self, i: int, split: Split, row: int) -> Iterator[Event]:
        """A split: whole lots are kept, rounded toward zero on either side, and the fraction becomes cash at the last price."""
        held, instrument = int(self._portfolio.lots[i]), self._tape.instruments[i]
        whole, rest = divmod(abs(held) * split.up, split.down)
        sign = 1 if held >= 0 else -1
        mark = self._portfolio.mark_of(i) * split.down / split.up
        yield Rescaled(i, split.up, split.down, sign * whole - held, mark)
        if rest:
            amount = sign * rest / split.down * instrument.units(1) * instrument.multiplier * mark
            yield Booked(Booking.FRACTION, i, amount, price=mark)
        yield from self._registrar.split(i, split.up, split.down, row)

    def _pay(self, i: int, dividend: Dividend, day: int) -> Iterator[Event]:
        """A dividend on what is held before the first bar ex: owed from now on, and cash when it is paid. Who is short owes it."""
        held, instrument = int(self._portfolio.lots[i]), self._tape.instruments[i]
        amount = instrument.units(held) * instrument.multiplier * dividend.amount
        if not held:
            return
        if dividend.pay is None or dividend.pay <= day:
            yield Booked(Booking.DIVIDEND, i, amount, price=dividend.amount)
        else:
            heappush(self._payments, (dividend.pay, i, amount))
            yield Booked(Booking.DIVIDEND, i, 0.0, amount, price=dividend.amount)

    def _delist(self, i: int, delisting: Delisting, row: int) -> Iterator[Event]:
        """A delisting: orders end, and the position becomes cash."""
        yield from self._registrar.delist(i, row)
        held, instrument = int(self._portfolio.lots[i]), self._tape.instruments[i]
        self._gone.add(i)
        if held:
            told = delisting.price == delisting.price
            price = delisting.price if told else self._portfolio.mark_of(i) * (1.0 - delisting.haircut)
            yield Booked(Booking.DELISTING, i, instrument.units(held) * instrument.multiplier * price, lots=-held, price=price)
