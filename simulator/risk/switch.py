"""A kill switch: trading stops because somebody outside says so, and goes on when they say so."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.book.fills import Event
from simulator.book.orders import Proposal, Refusal, Wish
from simulator.book.portfolio import Portfolio
from simulator.ports import Switch
from simulator.risk.engine import RiskEngine


class Switched:
    """Stands where a risk engine will, with a switch in front of it that is looked at on each bar. What it finds goes through the engine."""

    __slots__ = ("_switch", "engine")

    watches = True

    def __init__(self, engine: RiskEngine, switch: Switch) -> None:
        self.engine, self._switch = engine, switch

    def watch(self, portfolio: Portfolio) -> tuple[Event, ...]:
        """The switch first, and then the limits."""
        found: tuple[Event, ...] = ()
        if self._switch.thrown(portfolio.bars.closed_at) != self.engine.killed:
            found = self.engine.release(portfolio.equity) if self.engine.killed else self.engine.kill(portfolio.equity)
        return found + self.engine.watch(portfolio) if self.engine.watches else found

    def review(self, proposed: Proposal, portfolio: Portfolio) -> tuple[Sequence[Wish], Sequence[Refusal]]:
        """As the engine does."""
        return self.engine.review(proposed, portfolio)
