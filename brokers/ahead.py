"""What happens between two bars: the processes of what takes time, run ahead to a moment that no bar has reached.

Somebody who watches a live session sees an order arrive when it does, and a slice go when it goes. For the session itself that counts with the bar
that comes next, which the broker's own processes meet as they do in a replay: so it is another SimPy environment in which these run, with the same
processes, and nothing of the broker is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from brokers.latency import Clear, Sent, arrive
from brokers.slicing import Parent, Parents, Seen, execute
from simulator import Cancel, Due, Order, OrderKind, Schedule, Standing, Tape

if TYPE_CHECKING:
    from brokers.matching import Working


def expiring(orders: Iterable[Working], now: int, at: int) -> list[Due]:
    """The orders that live to a moment of their own after *now* and by *at*. DAY orders end with a bar."""
    timed = [(working.conditions.until, working) for working in orders if working.conditions and now < working.conditions.until <= at]
    return [Due(until, working.id, working.instrument, working.remaining + working.dormant, "expired") for until, working in timed]


class Ahead:
    """One look ahead of the bar *row*, the last that has closed: at orders that are *flying*, at *parents*, and at all as they are *standing*.

    Market orders without a schedule of their own get that of the broker, *slicing*. Where wishes take no time, *at_once*, schedules begin after the
    bar at whose close they were sent has closed.
    """

    def __init__(
        self,
        tape: Tape,
        row: int,
        slicing: Schedule | None,
        flying: Mapping[int, Order],
        parents: Mapping[int, Parent],
        standing: Callable[[int], Standing | None],
        *,
        at_once: bool,
    ) -> None:
        self._tape, self._row, self._slicing, self._standing = tape, row, slicing, standing
        self._flying = dict(flying)
        self._now = tape.ats[row]
        # Schedules that have begun are gone through from their beginning: how much of the volume they took so far only their process knew.
        begun = min([self._now, *(parent.start for parent in parents.values())])
        self._env = simpy.Environment(initial_time=begun)
        self._bells = Parents()
        self._working: dict[int, tuple[Order, simpy.Process]] = {}
        self._found: list[Due] = []
        for parent in parents.values():
            if parent.process is not None and parent.process.is_alive:
                self._cut(parent.order, parent.schedule, parent.start, after_close=at_once)
        self._env.process(self._closes(begun))

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

    def _closes(self, begun: int) -> Generator[Any, None, None]:
        """The closes of the bars that have been. Whatever else is due at one of them comes before it."""
        ats = self._tape.closed_at[: self._row + 1]
        for close in ats[np.searchsorted(ats, begun) :].tolist():
            yield self._env.timeout(close - self._env.now)
            yield self._env.timeout(0)
            self._bells.ring()

    def _land(self, wish: Sent) -> None:
        if isinstance(wish, Order):
            order = self._flying.pop(wish.id, None)
            if order:
                self._tell(order, "arrived", order.lots)
                schedule = (order.schedule or self._slicing) if order.kind == OrderKind.MARKET and order.conditions is None else None
                if schedule:
                    self._cut(order, schedule, int(self._env.now))
        elif isinstance(wish, Clear):
            gone = set(wish.instruments.tolist())
            for order in [*self._flying.values(), *(order for order, _ in self._working.values())]:
                if order.instrument in gone and order.id < wish.newer:
                    self._tell(order, "cancel")
                    self._stop(order.id)
        else:
            self._change(wish)

    def _change(self, wish: Any) -> None:
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
            self._cut(old._replace(id=wish.id, lots=left), schedule, int(self._env.now))

    def _stop(self, order: int) -> None:
        self._flying.pop(order, None)
        if order in self._working:
            _, process = self._working.pop(order)
            if process.is_alive:
                process.interrupt()

    def _cut(self, order: Order, schedule: Schedule, start: int, *, after_close: bool = False) -> None:
        """Have a schedule tell of its slices. *after_close* it does not hear the bell of bars that close as it begins."""

        def seen(now: int) -> Seen:
            return Seen(self._tape, order.instrument, int(np.searchsorted(self._tape.closed_at[: self._row + 1], now, "right")) - 1)

        closes = partial(self._bells.next_close, self._env)
        send, cancel = partial(self._tell, order, "slice"), partial(self._tell, order, "deadline")
        work = execute(self._env, start, order.lots, schedule, seen, closes, send, cancel)
        process = self._env.process(self._after(start, work) if after_close else work)
        self._working[order.id] = order, process

    def _after(self, start: int, work: Generator[Any, None, None]) -> Generator[Any, None, None]:
        yield self._env.timeout(start - self._env.now)
        # Behind the bell of that moment, see _closes.
        yield self._env.timeout(0)
        yield self._env.timeout(0)
        yield from work
