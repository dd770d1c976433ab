"""Open orders that hang on others: who waits for whom, which of them cancel each other, and what one loses when another trades or ends.

What their prices do on the way through a bar is for `brokers.paths`. Source: market-rules.md, section 2.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from copy import copy
from math import inf, nan
from typing import TYPE_CHECKING

from simulator import Adjusted, Order, Reason
from simulator.kernels import rules

if TYPE_CHECKING:
    from brokers.matching import Market, Working


def admit(market: Market, order: Order, parent: Working | None) -> tuple[float, float, int]:
    """Limit and stop, on the price grid, of an order that hangs on others, follows the price, or waits for an auction; or why it is rejected."""
    _, i, lots, kind, limit, stop, _, _, _, conditions = order
    _, _, _, _, tick_up, tick_down = market.terms[i]
    reason = 0
    if kind == rules.TRAILING_STOP:
        # A trailing stop needs a distance, and may have a stop to begin with.
        amount, fraction = (conditions.trail, conditions.trail_fraction) if conditions else (nan, nan)
        if not (0.0 < amount < inf) and not (0.0 < fraction < 1.0):
            reason = rules.BAD_PRICE
        elif stop == stop:
            _, stop, reason = rules.place(lots, rules.STOP, limit, stop, tick_up, tick_down)
    else:
        limit, stop, reason = rules.place(lots, kind, limit, stop, tick_up, tick_down)
    if conditions and conditions.parent and (parent is None or not (parent.remaining or parent.dormant)):
        reason = Reason.PARENT_ENDED
    elif kind == rules.MARKET_ON_CLOSE and not market.knows_closes:
        reason = Reason.NO_AUCTION
    return limit, stop, reason


class Group:
    """Orders of which one cancels the other, or one alone that waits for its parent. Only one that is left counts as on its way: that which was worth
    most when it came, of equals the first. Where it adds to what is held, it counts while it waits for its parent too.

    Where all are for as many lots of one instrument they share what is left; else the first that trades ends the others.
    """

    __slots__ = ("members", "pending", "shares")

    def __init__(self, pending: memoryview[int]) -> None:
        self.members: list[Working] = []
        self.pending, self.shares = pending, True

    def add(self, working: Working) -> None:
        """One more member."""
        self.members.append(working)
        first = self.members[0]
        self.shares = self.shares and (first.instrument, first.whole) == (working.instrument, working.whole)
        self.recount()

    def recount(self) -> None:
        """See to it that what is on its way is what one of those that are left has left."""
        lead = max((working for working in self.members if working.remaining or working.dormant), key=_worth, default=None)
        for working in self.members:
            counts = 0 if working is not lead else working.remaining + working.dormant if working.adds else working.remaining
            self.pending[working.instrument] += counts - working.counted
            working.counted = counts

    def counted(self, instrument: int) -> int:
        """Lots of an instrument that count as on their way."""
        return sum(working.counted for working in self.members if working.instrument == instrument)

    def traded(self, trader: Working, lots: int) -> None:
        """One of them has traded: what that takes from the others."""
        trader.counted -= lots
        for working in self.members:
            if working is trader or not (working.remaining or working.dormant):
                continue
            # What can trade goes first: both had as much of it.
            loss = lots if self.shares else working.remaining + working.dormant
            from_remaining = loss if abs(loss) <= abs(working.remaining) else working.remaining
            working.remaining -= from_remaining
            working.dormant -= loss - from_remaining
            working.lost += loss
            working.why_lost = rules.OCO
        self.recount()


def _worth(working: Working) -> float:
    return working.worth


def due(parent: Working | None, instrument: int) -> int:
    """Lots of an instrument that do not count as on their way, and would if *parent*, and what that waits for, had traded."""
    lots = 0
    while parent is not None:
        if parent.group and not parent.counted:
            lots -= parent.group.counted(instrument)
            lots += parent.remaining + parent.dormant if parent.instrument == instrument else 0
        parent = parent.parent
    return lots


def join(market: Market, working: Working, group: Group, parent: Working | None) -> None:
    """Put an order into its group, and say what it would add when it comes to trade."""
    i, lots, portfolio = working.instrument, working.order.lots, market.portfolio
    held = int(portfolio.lots[i]) + int(market.pending[i]) - group.counted(i) + due(parent, i)
    working.adds, value = not rules.reduces(held, lots), abs(lots) * portfolio.lot_values[i] * portfolio.mark_of(i)
    working.group, working.worth = group, value if value > 0.0 else 0.0
    group.add(working)


def abandon(parent: Working) -> None:
    """What the children of an order that ended still wait for will not come."""
    for child in parent.children:
        if child.dormant:
            child.lost, child.dormant, child.why_lost = child.lost + child.dormant, 0, rules.PARENT_ENDED
            if child.group:
                child.group.recount()


def losses(orders: Iterable[Working], still_open: Container[int]) -> Iterator[Adjusted]:
    """What those that are open have lost to others, told with the bar that took it. From here on they are orders for that much less."""
    for working in orders:
        lost = working.lost
        if lost and working.id in still_open:
            trail = working.conditions.trail if working.conditions else nan
            yield Adjusted(working.id, working.instrument, -lost, working.limit, working.stop, trail, working.why_lost)
            working.order, working.lost = working.order._replace(lots=working.order.lots - lost), 0


def successor(market: Market, old: Working, order: Order, sequence: int, row: int) -> Working:
    """The order that takes the place of an *old* one that others hang on: with prices of its own, what the old one has left, and its ties."""
    new = copy(old)
    new.order, new.id, new.sequence, new.since, new.until, new.lost, new.why_lost = order, order.id, sequence, row, row, 0, 0
    _, _, _, _, tick_up, tick_down = market.terms[old.instrument]
    new.limit, new.stop, _ = rules.place(old.whole, min(old.kind, rules.TRAILING_STOP), order.limit, order.stop, tick_up, tick_down)
    for child in new.children:
        child.parent = new
    if new.parent is not None:
        new.parent.children = tuple(new if child is old else child for child in new.parent.children)
    if new.group:
        new.group.members = [new if member is old else member for member in new.group.members]
    return new


def follows(order: Order) -> bool:
    """Whether an order counts as on its way only with another: one that waits for a parent, and all of an OCO but the first."""
    conditions = order.conditions
    return conditions is not None and (conditions.parent != 0 or conditions.oco not in (0, order.id))
