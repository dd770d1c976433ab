"""The settlement of a cash account: what a sale brings is ours to spend at once, and settled some business days later.

Source: market-rules.md, section 3: sale proceeds settle T+1 business day, and unsettled proceeds may buy. (SEC rule 15c6-1: one day since
28 May 2024.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import fsum

from simulator.book.fills import Booked, Booking, Event
from simulator.book.portfolio import Portfolio
from simulator.market.exchanges import Exchange, business_day_after
from simulator.market.tape import Bars
from simulator.market.view import View


class Settlement:
    """The calendar that settles the sales of a session so many business *days* later: those of the exchange, or Mondays to Fridays.

    A settlement moves no money that could be spent; it lowers `Portfolio.unsettled`.
    """

    __slots__ = ("_days", "_exchange", "_portfolio", "_unsettled", "_view")

    def __init__(self, view: View, portfolio: Portfolio, days: int) -> None:
        code = portfolio.bars.tape.truth.calendar
        self._view, self._portfolio, self._days = view, portfolio, days
        self._exchange = Exchange(code) if code else None
        # What each session's sales brought, and the day on which it settles.
        self._unsettled: deque[tuple[int, float]] = deque()

    def due(self, bars: Bars) -> bool:
        """Whether sales of the bar before are to be noted, or any settle."""
        return bool(self._view.happened(bars.row - 1)) or bool(self._unsettled and self._unsettled[0][0] <= bars.session)

    def rests(self) -> bool:
        """Whether nothing waits to be settled."""
        return not self._unsettled

    def take(self, bars: Bars) -> Iterator[Event]:
        """Note what the bar before sold, and settle what is due."""
        sold = self._portfolio.proceeds(self._view.happened(bars.row - 1))
        if sold > 0.0:
            traded = int(bars.tape.days[bars.row - 1])
            self._unsettled.append((business_day_after(traded, self._days, self._exchange), sold))
        while self._unsettled and self._unsettled[0][0] <= bars.session:
            _, amount = self._unsettled.popleft()
            yield Booked(Booking.SETTLEMENT, -1, 0.0, price=amount)
        self._portfolio.unsettled = fsum(amount for _, amount in self._unsettled)
