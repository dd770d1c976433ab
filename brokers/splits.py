"""Open orders through a split: quantities and prices are those of the new shares, re-rounded. Source: market-rules.md, section 4."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from simulator import Adjusted, Order, Reason
from simulator.kernels import rules

if TYPE_CHECKING:
    from brokers.matching import Working

Terms = tuple[float, ...]


def scaled(lots: int, up: int, down: int) -> int:
    """So many lots after a split of *up* for *down*, rounded toward zero."""
    whole = abs(lots) * up // down
    return whole if lots >= 0 else -whole


def rescaled(order: Order, change: int, up: int, down: int) -> Order:
    """The same order for so many lots more, at the prices of the new shares, not yet on the grid."""
    conditions = order.conditions._replace(trail=order.conditions.trail * down / up) if order.conditions else None
    return order._replace(lots=order.lots + change, limit=order.limit * down / up, stop=order.stop * down / up, conditions=conditions)


def rescale(working: Working, up: int, down: int, terms: Terms) -> Adjusted | int:
    """Take an open order through a split: what changed, or, where nothing or no price would be left of it, the reason."""
    _, _, _, _, tick_up, tick_down = terms
    old = working.remaining, working.dormant
    remaining, dormant = (scaled(lots, up, down) for lots in old)
    if not (remaining or dormant):
        return Reason.EMPTY
    # The level of a trailing stop moves, so that it is not the one that was sent; it has none before there was a price.
    kind, stop = working.kind, working.stop * down / up
    if kind == rules.TRAILING_STOP:
        kind = rules.STOP if stop == stop else rules.MARKET
    limit, stop, reason = rules.place(working.order.lots, kind, working.limit * down / up, stop, tick_up, tick_down)
    if reason:
        return reason
    change = remaining + dormant - sum(old)
    working.order = rescaled(working.order, change, up, down)
    working.conditions = working.order.conditions
    working.limit, working.stop, working.extreme = limit, stop, working.extreme * down / up
    working.remaining, working.dormant = remaining, dormant
    # What hangs on others is counted in the new shares from here on, as if it had always been.
    working.whole, working.released, working.done = (scaled(lots, up, down) for lots in (working.whole, working.released, working.done))
    trail = working.conditions.trail if working.conditions else nan
    return Adjusted(working.id, working.instrument, change, limit, stop, trail)
