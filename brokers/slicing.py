"""Cutting an order in time: a parent becomes children, each sent at its moment by a SimPy process in integer nanoseconds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from fractions import Fraction
from typing import Any

import simpy

from simulator import Ended, Event, Fill, FillBatch, Order, Twap


def split(quantity: int, weights: Sequence[float], lot: int = 1) -> list[int]:
    """Cut *quantity* (signed) into one child a weight: whole round lots of *lot*, except one child that carries an odd remainder.

    Children sum to the quantity and follow the cumulative weights within one lot; a weight of zero gets nothing. Raises ValueError where weights are
    negative, not numbers, or all zero. Source: market-rules.md, section 6.
    """
    if lot < 1:
        raise ValueError(f"a round lot must be at least 1, was {lot}")
    if any(not 0.0 <= weight < float("inf") for weight in weights) or not any(weights):
        raise ValueError(f"weights must be numbers of 0 or above, not all of them 0, were {list(weights)}")
    exact = [Fraction(weight) for weight in weights]
    total, last = sum(exact), max(k for k, weight in enumerate(exact) if weight)
    sign, rounds, odd = (1 if quantity >= 0 else -1), *divmod(abs(quantity), lot)
    children, sent, due = [], 0, Fraction(0)
    for k, weight in enumerate(exact):
        due += weight
        # Nearest whole lot to the cumulative target, which keeps every child within one lot of it.
        target = rounds if k == last else int(abs(quantity) * due / (total * lot) + Fraction(1, 2))
        target = max(sent, min(target, rounds)) if weight else sent
        children.append(sign * ((target - sent) * lot + (odd if k == last else 0)))
        sent = target
    return children


def twap(environment: simpy.Environment, start: int, lots: int, schedule: Twap, send: Callable[[int], None]) -> Generator[Any, None, None]:
    """A process that sends equal slices, the first at *start* (UTC nanoseconds) and one every schedule.seconds after it."""
    gap = round(schedule.seconds * 1e9)
    try:
        for k, child in enumerate(split(lots, [1.0] * schedule.slices)):
            # Delays count from the event's own time: an idle environment's clock lags behind.
            yield environment.timeout(start + k * gap - environment.now)
            if child:
                send(child)
    except simpy.Interrupt:
        # The parent was taken back: what is not sent yet never will be.
        return


class Parent:
    """An order that is cut in time: lots not yet filled, lots lost with children that ended, and its process."""

    __slots__ = ("children", "lost", "order", "process", "remaining")

    def __init__(self, order: Order) -> None:
        self.order, self.remaining, self.lost = order, order.lots, 0
        self.children: list[int] = []
        self.process: simpy.Process | None = None


class Parents:
    """The *open* orders that are cut in time, by id, and *of* which of them each child is."""

    __slots__ = ("of", "open")

    def __init__(self) -> None:
        self.open: dict[int, Parent] = {}
        self.of: dict[int, int] = {}

    def begin(self, order: Order) -> Parent:
        """From here on this order is one of them."""
        parent = self.open[order.id] = Parent(order)
        return parent

    def adopt(self, child: int, parent: Parent) -> None:
        """From here on the order *child* is a slice of *parent*."""
        parent.children.append(child)
        self.of[child] = parent.order.id

    def forget(self, id: int) -> Parent:
        """Take a parent out, with its children."""
        parent = self.open.pop(id)
        for child in parent.children:
            self.of.pop(child, None)
        return parent

    def follow(self, events: Sequence[Event]) -> list[Parent]:
        """Count what children filled or lost in these events; the parents of which nothing is left to come are taken out and returned."""
        changed: dict[int, None] = {}
        for event in events:
            if isinstance(event, FillBatch):
                traded = [*zip(event.orders.tolist(), event.lots.tolist(), strict=True)]
            elif isinstance(event, Fill):
                traded = [(event.order, event.lots)]
            elif isinstance(event, Ended) and event.order in self.of:
                id = self.of.pop(event.order)
                self.open[id].lost += event.lots
                changed[id] = None
                continue
            else:
                continue
            for child, lots in traded:
                if child in self.of:
                    self.open[self.of[child]].remaining -= lots
                    changed[self.of[child]] = None
        return [self.forget(id) for id in changed if self.open[id].remaining == self.open[id].lost]
