"""The market where some instruments are futures: a fill needs initial margin, which for them is money a contract and no share of the price."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from brokers import sessions
from brokers.matching import Market, Working
from brokers.sessions import WideMarket
from simulator import Account, Event, Future, Portfolio, Requirement, Tape
from simulator.kernels import rules, tapes

if TYPE_CHECKING:
    from brokers.simulated import Simulated


def market_of(settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account) -> Market:
    """The market for what is on the tape."""
    margined = MarginedMarket if any(isinstance(x, Future) for x in tape.instruments) else None
    return sessions.market_of(settings, tape, portfolio, account, margined)


class MarginedMarket(WideMarket):
    """Initial margin is checked at each fill: of all that is held then, against equity at the last marks. Source: market-rules.md, section 3."""

    __slots__ = ("needed",)

    is_margined = True

    def __init__(self, settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account) -> None:
        super().__init__(settings, tape, portfolio, replace(account, leverage_max=inf))
        self.needed = Requirement.initial(portfolio, account)

    def trade(self, working: Working, k: int, price: float, taker: bool, events: list[Event]) -> None:
        """Fill as much of an order as the volume of the bar allows, if the margin is there for that much."""
        i, lots = working.instrument, working.remaining
        take = min(abs(lots), self._budget(i, k))
        traded = take if lots > 0 else -take
        if traded and not rules.reduces(self._held(i), traded):
            needed = self.needed.of(
                ((j, self._held(j) + (traded if j == i else 0)) for j in range(self.tape.width)), lambda j: self._mark(j, i, price)
            )
            if not needed <= self.equity:
                working.now, working.refused = rules.BUYING_POWER, True
                return
        super().trade(working, k, price, taker, events)

    def _held(self, i: int) -> int:
        return int(self._lots[i]) + (self.used[i][2] if i in self.used else 0)

    def _mark(self, i: int, traded: int, price: float) -> float:
        """The last mark, or for what trades for the first time its price."""
        mark = self.portfolio.mark_of(i)
        return price if i == traded and not mark > 0.0 else mark

    def _budget(self, i: int, k: int) -> int:
        """Lots that the bar at place *k* of the tape still has for us."""
        if i in self.used:
            return self.used[i][0]
        up, down, _, _, _, _ = self.terms[i]
        volume = self.tape.volumes[k]
        basis = tapes.trailing_volume(self.tape.panel[4], i, self.row, self.volume_window) if self.volume_window else volume
        return rules.budget(basis, self.cap, up, down)
