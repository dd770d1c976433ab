"""No market order goes out on stale data: what a live session puts before its risk engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.book.fills import Event
from simulator.book.orders import Order, OrderBatch, OrderKind, Proposal, Reason, Refusal, Wish
from simulator.book.portfolio import Portfolio
from simulator.risk.engine import RiskEngine
from simulator.risk.switch import Switched


class Fresh:
    """Stands where a risk engine will, and refuses market orders in instruments whose last bar closed more than *longest* nanoseconds ago, exits too.

    What a halt does by itself is not asked. Everything else goes through the engine.
    """

    __slots__ = ("_longest", "engine")

    def __init__(self, engine: RiskEngine | Switched, longest: int) -> None:
        self.engine, self._longest = engine, longest

    @property
    def watches(self) -> bool:
        """Whether equity is looked at on each bar."""
        return self.engine.watches

    def watch(self, portfolio: Portfolio) -> tuple[Event, ...]:
        """As the engine does."""
        return self.engine.watch(portfolio)

    def review(self, proposed: Proposal, portfolio: Portfolio) -> tuple[Sequence[Wish], Sequence[Refusal]]:
        """As the engine does, of what is not stale."""
        stale = self._stale(portfolio) if proposed else ()
        if not len(stale):
            return self.engine.review(proposed, portfolio)
        kept: list[Wish] = []
        refused: list[Refusal] = []
        for wish in [proposed] if isinstance(proposed, OrderBatch) else proposed or ():
            if isinstance(wish, OrderBatch):
                late = (wish.kinds == OrderKind.MARKET) & np.isin(wish.instruments, stale)
                gone = wish.chosen(late)
                columns = (gone.ids, gone.instruments, gone.lots, gone.kinds, gone.limits, gone.stops, gone.tifs)
                refused += [Refusal(Order(*each), Reason.STALE) for each in zip(*(column.tolist() for column in columns), strict=True)]
                kept.append(wish.chosen(~late))
            elif isinstance(wish, Order) and wish.kind == OrderKind.MARKET and wish.instrument in stale:
                refused.append(Refusal(wish, Reason.STALE))
            else:
                kept.append(wish)
        # One batch stays one: a batch in a list is reviewed order by order.
        approved, more = self.engine.review(kept[0] if isinstance(proposed, OrderBatch) and isinstance(kept[0], OrderBatch) else kept, portfolio)
        return approved, (*refused, *more)

    def _stale(self, portfolio: Portfolio) -> Sequence[int]:
        bars = portfolio.bars
        ages = bars.tape.ages[bars.row]
        last = np.where(ages < 0, bars.closed_at, bars.tape.closed_at[bars.row - np.maximum(ages, 0)])
        found: list[int] = np.flatnonzero(bars.closed_at - last > self._longest).tolist()
        return found
