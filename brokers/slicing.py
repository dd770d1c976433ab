"""Cutting an order in time: a parent becomes children, each sent at its moment by a SimPy process in integer nanoseconds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from fractions import Fraction
from typing import Any

import simpy

from simulator import Twap


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
