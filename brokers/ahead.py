"""What happens between two bars: the processes of what takes time, run ahead to a moment that no bar has reached.

Somebody who watches a live session sees an order arrive when it does, and a slice go when it goes. For the session itself that counts with the bar
that comes next, which the broker's own processes meet as they do in a replay: so it is another SimPy environment in which these run, with the same
processes, and nothing of the broker is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import simpy

from brokers.latency import Clear, Sent, arrive
from brokers.slicing import Parent, Seen, execute
from simulator import Cancel, Due, Order, OrderKind, Replace, Schedule, Standing, Tape

if TYPE_CHECKING:
    from brokers.matching import Working


def expiring(orders: Iterable[Working], now: int, at: int) -> list[Due]:
    """The orders that live to a moment of their own after *now* and by *at*. DAY orders end with a bar."""
    timed = [(working.conditions.until, working) for working in orders if working.conditions and now < working.conditions.until <= at]
    return [Due(until, working.id, working.instrument, working.remaining + working.dormant, "expired") for until, working in timed]


class Ahead:
    """One look ahead of the bar *row*, the last that has closed: at orders that are *flying*, at *parents*, and at all as they are *standing*.

    Market orders without a schedule of their own get that of the broker, *slicing*.
    """

    def __init__(
        self,
        tape: Tape,
        row: int,
        slicing: Schedule | None,
        flying: Mapping[int, Order],
        parents: Mapping[int, Parent],
        standing: Callable[[int], Standing | None],
    ) -> None:
        self._tape, self._row, self._slicing, self._standing = tape, row, slicing, standing
        self._flying = dict(flying)
        self._now = tape.ats[row]
        self._env = simpy.Environment(initial_time=self._now)
        self._working: dict[int, tuple[Order, simpy.Process]] = {}
        self._found: list[Due] = []
        for parent in parents.values():
            if parent.process is not None and parent.process.is_alive:
                mine = copy(parent)
                mine.plan = list(parent.plan)
                self._cut(mine)

    def run(self, under_way: Iterable[tuple[int, Sent]], at: int) -> list[Due]:
        """What is due after the row's close and by *at*, in turn."""
        for arrives, wish in under_way:
            self._env.process(arrive(self._env, arrives, partial(self._land, wish)))
        while self._env.peek() <= at:
            self._env.step()
        return self._found

    def _tell(self, order: Order, kind: str, lots: int = 0) -> None:
        if self._env.now > self._now:
            self._found.append(Due(int(self._env.now), order.id, order.instrument, lots, kind))

    def _land(self, wish: Sent) -> None:
        if isinstance(wish, Order):
            order = self._flying.pop(wish.id, None)
            if order:
                self._tell(order, "arrived", order.lots)
                schedule = (order.schedule or self._slicing) if order.kind == OrderKind.MARKET and order.conditions is None else None
                if schedule:
                    self._cut(Parent(order, schedule, int(self._env.now)))
        elif isinstance(wish, Clear):
            gone = set(wish.instruments.tolist())
            for order in [*self._flying.values(), *(order for order, _ in self._working.values())]:
                if order.instrument in gone and order.id < wish.newer:
                    self._tell(order, "cancel")
                    self._stop(order.id)
        else:
            self._change(wish)

    def _change(self, wish: Cancel | Replace) -> None:
        standing = self._standing(wish.order)
        if standing is None:
            return
        old, (flying, cut) = standing.order, (wish.order in self._flying, wish.order in self._working)
        self._stop(wish.order)
        if isinstance(wish, Cancel):
            self._tell(old, "cancel")
            return
        self._tell(old, "replace", wish.lots)
        left = wish.lots - standing.filled
        schedule = old.schedule or self._slicing
        if schedule and (flying or cut) and left and (left > 0) == (old.lots > 0):
            self._cut(Parent(old._replace(id=wish.id, lots=left), schedule, int(self._env.now)))

    def _stop(self, order: int) -> None:
        self._flying.pop(order, None)
        if order in self._working:
            _, process = self._working.pop(order)
            if process.is_alive:
                process.interrupt()

    def _cut(self, parent: Parent) -> None:
        """Have a schedule tell of its slices. No bar closes meanwhile."""
        order = parent.order

        def seen(now: int) -> Seen:
            return Seen(self._tape, order.instrument, int(np.searchsorted(self._tape.closed_at[: self._row + 1], now, "right")) - 1)

        send, cancel = partial(self._tell, order, "slice"), partial(self._tell, order, "deadline")
        self._working[order.id] = order, self._env.process(execute(self._env, parent, seen, self._env.event, send, cancel))
