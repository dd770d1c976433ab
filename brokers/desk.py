"""The simulated broker: takes orders, works them against bars, gives fills. Rules and sources: market-rules.md, sections 2 and 3."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from copy import copy
from functools import partial
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from brokers import paths, splits, ties
from brokers.ahead import Ahead, expiring
from brokers.latency import Clear, Sent, arrive
from brokers.margined import market_of
from brokers.matching import Bill, Book, Market, Slice, Table, Working
from brokers.paths import NAMED
from brokers.slicing import Parents, Seen, execute
from brokers.ties import Group
from simulator import (
    SECOND,
    Account,
    Adjusted,
    Bars,
    Cancel,
    Due,
    Ended,
    Event,
    IntArray,
    Order,
    OrderBatch,
    OrderIds,
    Portfolio,
    Reason,
    Remark,
    Replace,
    Replaced,
    Schedule,
    Sliced,
    Standing,
    Tape,
    Waited,
    Wish,
)
from simulator.kernels import batches, rules

if TYPE_CHECKING:
    from brokers.simulated import Simulated

NOTHING: tuple[Event, ...] = ()


class SimulatedBroker:
    """Keeps the open orders of a session and works them against bars.

    Single orders rest in one book an instrument, which looks only at bars that reach a trigger. Order batches are tables, worked by compiled code
    with the very same rules; a single order that is touched in the same bar joins the table, so that all share the volume in one order.
    """

    __slots__ = (
        "_all_rest",
        "_arrivals",
        "_books",
        "_eager",
        "_env",
        "_fills_at_once",
        "_flying",
        "_fresh",
        "_groups",
        "_heard",
        "_latency",
        "_market_at",
        "_one_by_one",
        "_open",
        "_open_at_all",
        "_parents",
        "_path",
        "_path_named",
        "_pending",
        "_row",
        "_same_close",
        "_sequence",
        "_singles",
        "_slicing",
        "_special",
        "_table",
        "_timed",
        "_under_way",
        "ids",
        "market",
        "open_orders",
        "pending",
        "portfolio",
        "tape",
    )

    def __init__(self, settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account, ids: OrderIds) -> None:
        self.tape, self.portfolio, self.ids = tape, portfolio, ids
        # Costs that compiled code does not know are reckoned order by order.
        self.market = market_of(settings, tape, portfolio, account)
        self._one_by_one = settings.itemises or self.market.is_margined
        self.pending, self.open_orders = self.market.pending, self.market.open_orders
        self._pending, self._open = self.pending.data, self.open_orders.data
        self._market_at = rules.AT_CLOSE if settings.timing == "next_close" else rules.AT_OPEN
        self._same_close, self._slicing, self._path = settings.timing == "same_close", settings.slicing, settings.path
        self._path_named = settings.path != "pessimistic"
        # Open orders whose way through a bar has to be walked, and groups of which one cancels the other.
        self._special: dict[int, Working] = {}
        self._groups: dict[int, Group] = {}
        self._latency = round(settings.latency_seconds * SECOND)
        # Whether any order is open, and whether all that are wait for their prices.
        self._open_at_all = self._all_rest = False
        self._sequence = 0
        self._books: dict[int, Book] = {}
        self._eager: list[Working] = []
        self._singles: dict[int, Working] = {}
        self._table = Table()
        # Plain market orders that no bar has met yet, the last that were accepted: most are filled by the next bar, and never more than this.
        self._fresh: list[Order] = []
        self._fills_at_once = type(self.market).trade is Market.trade and not (self._latency or self._slicing or self._same_close)
        # The last row that open orders have met.
        self._row = -1
        # How many events of the bar that is worked the parents have heard of.
        self._heard = 0
        # What takes time: orders on their way, parents and whose child is which; their processes put events here.
        self._timed = False
        self._env = simpy.Environment(initial_time=int(tape.starts[0]) if len(tape) else 0)
        self._flying: dict[int, Order] = {}
        self._under_way: deque[tuple[int, Sent]] = deque()
        self._parents = Parents()
        self._arrivals: list[Event] = []

    # Taking orders.

    def submit(self, approved: Sequence[Wish]) -> tuple[Event, ...]:
        """Take these wishes in turn. A cash account's sells go before its buys, so that what is sold can pay for what is bought."""
        if not approved:
            return NOTHING
        if len(approved) > 1 and self.market.cash_account:
            approved = _sells_first(approved)
        self._row = self.portfolio.row
        self._open_at_all, self._all_rest = True, False
        if self._fills_at_once:
            taken = 0
            for wish in approved:
                if type(wish) is not Order:
                    break
                _, i, lots, kind, _, _, tif, _, schedule, conditions = wish
                if kind or tif or schedule or conditions:
                    break
                self._pending[i] += lots
                self._open[i] += 1
                self._fresh.append(wish)
                taken += 1
            self._sequence += taken
            if taken == len(approved):
                return NOTHING
            approved = approved[taken:]
        return self._take_each(approved)

    def _take_each(self, approved: Sequence[Wish]) -> tuple[Event, ...]:
        """Take these wishes in turn: what the market says to them at once."""
        if self._fresh:
            self._unfold()
        answers: list[Event] = []
        row, first = self._row, self._sequence
        now = self.tape.ats[row]
        for wish in approved:
            if isinstance(wish, Order):
                if wish.conditions is None or not ties.follows(wish):
                    self._pending[wish.instrument] += wish.lots
                self._open[wish.instrument] += 1
                if self._latency:
                    self._send(wish, now)
                else:
                    self._take(wish, now, row, answers)
            elif isinstance(wish, OrderBatch):
                self._take_batch(wish, now, row, answers)
            elif isinstance(wish, Remark):
                continue
            elif self._latency:
                self._send(wish, now)
            else:
                self._change(wish, now, answers)
        if self._parents.of:
            # A slice that was taken back is lost to its parent.
            self._settle_parents(answers)
        if self._same_close and self._sequence > first:
            self._fill_at_this_close(first, row, answers)
        return tuple(answers) if answers else NOTHING

    def _take(self, order: Order, at: int, row: int, answers: list[Event], kind_of: Callable[..., Working] = Working) -> None:
        """Accept one order that is at the market by *at*, or reject it for its prices."""
        id, i, lots, kind, limit, stop, _, _, schedule, conditions = order
        if conditions is not None or kind > rules.STOP_LIMIT:
            self._take_special(order, at, row, answers)
            return
        if kind == rules.MARKET:
            if schedule is None and self._slicing and id not in self._parents.of:
                schedule = self._slicing
        else:
            _, _, _, _, tick_up, tick_down = self.market.terms[i]
            limit, stop, reason = rules.place(lots, kind, limit, stop, tick_up, tick_down)
            if reason:
                self._close(id, i, lots, rules.REJECTED, reason, answers)
                return
        if schedule:
            self._slice(order, schedule, at)
            return
        self._sequence += 1
        working = self._singles[id] = kind_of(order, limit, stop, self._sequence, row)
        if working.is_eager:
            self._eager.append(working)
        else:
            if i not in self._books:
                self._books[i] = Book(i)
            self._books[i].add(working)

    def _unfold(self) -> None:
        """Have the fresh orders wait as all others do."""
        first, row = self._sequence + 1 - len(self._fresh), self.portfolio.row
        for sequence, order in enumerate(self._fresh, first):
            working = self._singles[order.id] = Working(order, order.limit, order.stop, sequence, row)
            self._eager.append(working)
        self._fresh.clear()

    def _take_special(self, order: Order, at: int, row: int, answers: list[Event]) -> None:
        """Accept an order that hangs on others, follows the price, or waits for an auction; or reject it."""
        id, i, lots, kind, _, _, _, _, _, conditions = order
        on_its_way = 0 if ties.follows(order) else lots
        parent = self._singles.get(conditions.parent) if conditions and conditions.parent else None
        limit, stop, reason = ties.admit(self.market, order, parent)
        if reason:
            self._close(id, i, on_its_way, rules.REJECTED, reason, answers, of=lots)
            return
        self._sequence += 1
        working = self._singles[id] = self._special[id] = Working(order, limit, stop, self._sequence, row)
        working.accepted_at, working.counted, working.whole = at, on_its_way, lots
        self._eager.append(working)
        if parent is not None:
            working.parent, parent.children = parent, (*parent.children, working)
            working.remaining, working.dormant = 0, lots
            self._special[parent.id], parent.whole = parent, parent.order.lots
        elif kind == rules.TRAILING_STOP and self.tape.marked[row * self.tape.width + i] > 0.0:
            paths.ratchet(self.market, working, self.tape.marked[row * self.tape.width + i])
        if conditions and (conditions.oco or parent is not None):
            group = self._groups.setdefault(conditions.oco or id, Group(self._pending))
            ties.join(self.market, working, group, parent)

    def _take_batch(self, batch: OrderBatch, at: int, row: int, answers: list[Event]) -> None:
        """Accept a batch as columns; where orders take time or are cut, one by one."""
        n = len(batch)
        if len(batch.clears):
            newer = int(batch.ids[0]) if n else self.ids.last + 1
            if self._latency:
                self._send(Clear(batch.clears, newer), at)
            else:
                self._clear(batch.clears, newer, answers)
        columns = (batch.ids, batch.instruments, batch.lots, batch.kinds, batch.limits, batch.stops, batch.tifs)
        if self._latency or self._slicing or self._one_by_one or np.count_nonzero(batch.kinds):
            # What has prices of its own may hang on the path through a bar, which is walked order by order.
            for values in zip(*(column.tolist() for column in columns), strict=True):
                order = Order(*values)
                self._pending[order.instrument] += order.lots
                self._open[order.instrument] += 1
                if self._latency:
                    self._send(order, at)
                else:
                    self._take(order, at, row, answers)
            return
        if not n:
            return
        ints, floats, rejected = np.empty((batches.INTS, n), np.int64), np.empty((batches.FLOATS, n)), np.empty(n, np.int64)
        taken, bad = batches.accept(*columns, self._sequence + 1, self.tape.terms, self.pending, self.open_orders, ints, floats, rejected)
        self._sequence += n
        if bad:
            these = zip(*(column[rejected[:bad]].tolist() for column in (batch.ids, batch.instruments, batch.lots)), strict=True)
            answers += [Ended(id, i, lots, rules.REJECTED, rules.BAD_PRICE) for id, i, lots in these]
            ints, floats = ints[:, :taken], floats[:, :taken]
        self._table.join(Table(ints, floats))

    def _fill_at_this_close(self, first: int, row: int, answers: list[Event]) -> None:
        """`same_close`, the labelled exception: market orders sent just now trade at the close that they were decided on."""
        singles = [working for working in self._singles.values() if working.sequence > first and working.kind == rules.MARKET]
        new = (self._table.ints[batches.SEQUENCE] > first) & (self._table.ints[batches.KIND] == rules.MARKET)
        self.market.begin(row)
        if self._special and new.any():
            self._from_table(row)
            singles = [working for working in self._eager if working.sequence > first and working.kind == rules.MARKET]
            new = new[:0]
        if new.any():
            table = self._table.split(new)
            for working in singles:
                self._eager.remove(working)
                del self._singles[working.id]
            if singles:
                table.join(Table.of(singles))
            self.market.meet_table(table, rules.AT_CLOSE, answers)
            self._table.join(table)
        elif self._special:
            waiting = [working for working in self._eager if working not in singles]
            paths.meet(self.market, singles, rules.AT_CLOSE, self._path, answers)
            self._put_away(singles, ())
            self._eager = sorted([*waiting, *self._eager], key=_by_sequence)
            self._bury(singles, answers)
        else:
            self.market.meet(singles, rules.AT_CLOSE, answers)
            self._put_away(self._eager, ())

    # What takes time: processes in integer nanoseconds.

    def _send(self, wish: Sent, now: int) -> None:
        """Send one wish on its way."""
        at = now + self._latency
        if isinstance(wish, Order):
            self._flying[wish.id] = wish
        self._under_way.append((at, wish))
        self._later(arrive(self._env, at, self._land))

    def _land(self) -> None:
        """All take as long, so that the wish that was sent first is the one that is there."""
        at, wish = self._under_way.popleft()
        if isinstance(wish, Order):
            landed = self._flying.pop(wish.id, None)
            if landed:
                self._take(landed, at, self._row, self._arrivals)
        elif isinstance(wish, Clear):
            self._clear(wish.instruments, wish.newer, self._arrivals)
        else:
            self._change(wish, at, self._arrivals)

    def _later(self, process: Generator[Any, None, None]) -> simpy.Process:
        self._timed = True
        return self._env.process(process)

    def _slice(self, order: Order, schedule: Schedule, at: int) -> None:
        """Start the process that cuts an order in time."""
        parent = self._parents.begin(order, schedule, at)

        def send(lots: int) -> None:
            child = parent.order._replace(id=self.ids.next(), lots=lots, client_id="", schedule=None)
            self._parents.adopt(child.id, parent)
            self._open[order.instrument] += 1
            self._arrivals.append(Sliced(child, order.id))
            self._take(child, int(self._env.now), self._row, self._arrivals, partial(Slice, parent.bill))

        def cancel() -> None:
            if order.id in self._parents.open:
                # The process that asks for this ends by itself.
                parent.process = None
                self._withdraw(order.id, rules.CANCELLED, Reason.DEADLINE, self._arrivals)

        def seen(now: int) -> Seen:
            return Seen(self.tape, order.instrument, self._row if self.tape.ats[self._row] <= now else self._row - 1)

        closes = partial(self._parents.next_close, self._env)
        parent.process = self._later(execute(self._env, parent, seen, closes, send, cancel))

    def _run_to(self, at: int, row: int) -> list[Event]:
        """Let processes run up to *at*, when orders have met the bars up to *row*."""
        self._row = row
        while self._env.peek() <= at:
            self._env.step()
        self._timed = self._env.peek() < inf
        events, self._arrivals = self._arrivals, []
        return events

    def next_at(self) -> float:
        """When something will next reach the market: see brokers.paths.Arrivals."""
        return float(self._env.peek())

    def arrive(self, at: int, events: list[Event]) -> Sequence[Working]:
        """Let in what reaches the market inside the bar that is worked, by *at*; the new orders."""
        first = self._sequence
        self._settle_parents(events, self._heard)
        self._heard = len(events)
        for working in [working for working in self._singles.values() if not (working.remaining or working.dormant)]:
            # Too late to change it.
            del self._singles[working.id]
            self._open[working.instrument] -= 1
            self._special.pop(working.id, None)
        events += self._run_to(at, self._row)
        return [working for working in self._singles.values() if working.sequence > first]

    def _settle_parents(self, events: list[Event], since: int = 0) -> None:
        """Parents follow their children, in the events *since* some. One is done when nothing of it is left to come."""
        for parent in self._parents.follow(events[since:] if since else events):
            self._open[parent.order.instrument] -= 1
            if parent.lost:
                events.append(Ended(parent.order.id, parent.order.instrument, parent.lost, rules.CANCELLED, Reason.CHILDREN_ENDED))

    # Taking orders back.

    def standing(self, order: int) -> Standing | None:
        """The open order with this id, if there is one."""
        if order in self._singles:
            working = self._singles[order]
            left = working.remaining + working.dormant
            return Standing(working.order, working.order.lots - working.lost - left, left)
        if order in self._parents.open:
            parent = self._parents.open[order]
            return Standing(parent.order, parent.order.lots - parent.remaining, parent.remaining - parent.lost)
        if order in self._flying:
            return Standing(self._flying[order], 0, self._flying[order].lots)
        for fresh in self._fresh:
            if fresh.id == order:
                return Standing(fresh, 0, fresh.lots)
        for k in np.flatnonzero(self._table.ids == order).tolist():
            ints, floats = self._table.ints[:, k].tolist(), self._table.floats[:, k].tolist()
            limit, stop = floats[batches.AT_LIMIT], floats[batches.AT_STOP]
            plain = Order(order, ints[batches.INSTRUMENT], ints[batches.WANTED], ints[batches.KIND], limit, stop, ints[batches.TIF])
            return Standing(plain, plain.lots - ints[batches.REMAINING], ints[batches.REMAINING])
        return None

    def open_ids(self) -> list[int]:
        """The ids of all open orders, children of a parent apart, oldest first."""
        every = [*self._singles, *(order.id for order in self._fresh), *self._parents.open, *self._flying, *self._table.ids.tolist()]
        return sorted(order for order in every if order not in self._parents.of)

    def waiting(self) -> list[Waited]:
        """What each open order waits for, up to the last bar: nothing here is changed by asking."""
        row, ats, runs = self.portfolio.row, self.tape.ats, self.market.runs
        told = {order: list(waits) for order, waits in runs.items()}
        waits: list[Waited] = []
        for working in self._singles.values():
            waits += self.market.take_back(copy(working), row)
        for ints in self._table.ints.T.tolist():
            waits += runs.get(ints[batches.ID], ())
            if ints[batches.REASON]:
                waits.append(Waited(ints[batches.ID], ints[batches.INSTRUMENT], ints[batches.REASON], ats[ints[batches.SINCE]], ats[row]))
        self.market.runs = told
        return waits

    def ahead(self, at: int) -> list[Due]:
        """What reaches the market between the last bar and the moment *at*, in the order of its moments, if no bar comes before.

        The bar that comes may still change it. Nothing here is changed by asking: the processes themselves go on with the next bar, as in a replay.
        """
        row = self.portfolio.row
        found = expiring(self._singles.values(), self.tape.ats[row], at)
        if self._env.peek() <= at:
            look = Ahead(self.tape, row, self._slicing, self._flying, self._parents.open, self.standing)
            found += look.run(self._under_way, at)
        return sorted(found, key=attrgetter("at"))

    def _change(self, wish: Cancel | Replace, at: int, answers: list[Event]) -> None:
        """Cancel or replace at *at*, or say that there is nothing to change."""
        standing = self.standing(wish.order)
        if standing is None:
            id = wish.id if isinstance(wish, Replace) else wish.order
            answers.append(Ended(id, -1, 0, rules.REJECTED, Reason.UNKNOWN_ORDER))
            return
        if isinstance(wish, Cancel):
            self._withdraw(wish.order, rules.CANCELLED, Reason.ASKED, answers)
            return
        old, lots = standing.order, wish.lots - standing.filled
        limit = wish.limit if wish.limit == wish.limit else old.limit
        stop = wish.stop if wish.stop == wish.stop else old.stop
        _, _, _, _, tick_up, tick_down = self.market.terms[old.instrument]
        if rules.place(old.lots, old.kind, limit, stop, tick_up, tick_down)[2]:
            # What cannot stand leaves the order that it was to replace alone.
            answers.append(Ended(wish.id, old.instrument, lots, rules.REJECTED, Reason.BAD_PRICE))
            return
        if wish.order in self._special:
            self._change_linked(wish, self._special[wish.order], limit, stop, answers)
            return
        had = self._traded(wish.order)
        self._withdraw(wish.order, rules.REPLACED, Reason.ASKED, answers)
        self._open[old.instrument] += 1
        if lots == 0 or (lots > 0) != (old.lots > 0):
            # No more is wanted than was had already.
            self._close(wish.id, old.instrument, 0, rules.REJECTED, Reason.EMPTY, answers)
            return
        new = old._replace(id=wish.id, lots=lots, limit=limit, stop=stop, client_id="")
        self._pending[old.instrument] += lots
        answers.append(Replaced(new, wish.order))
        self._take(new, at, self._row, answers)
        if wish.id in self._singles:
            # One order to the tariff: what it has paid counts toward its minimum.
            after: Working | Bill = self._singles[wish.id]
        elif wish.id in self._parents.open:
            after = self._parents.open[wish.id].bill
        else:
            return
        after.shares, after.notional, after.paid, after.extra = had

    def _traded(self, order: int) -> tuple[float, float, float, float]:
        """Shares and notional that an open order has traded, the commission that it has paid, and what tiers asked of it."""
        if order in self._singles or order in self._parents.open:
            on = self._singles[order] if order in self._singles else self._parents.open[order].bill
            return on.shares, on.notional, on.paid, on.extra
        for k in np.flatnonzero(self._table.ids == order).tolist():
            shares, notional, paid = self._table.floats[batches.SHARES :, k].tolist()
            return shares, notional, paid, 0.0
        return 0.0, 0.0, 0.0, 0.0

    def _withdraw(self, order: int, state: int, reason: int, answers: list[Event]) -> None:
        """End an open order of whatever sort, with what belongs to it."""
        if order in self._flying:
            flying = self._flying.pop(order)
            on_its_way = 0 if ties.follows(flying) else flying.lots
            self._close(order, flying.instrument, on_its_way, state, reason, answers, of=flying.lots)
        elif order in self._parents.open:
            parent = self._parents.forget(order)
            if parent.process is not None and parent.process.is_alive:
                parent.process.interrupt()
            for child in parent.children:
                standing = self.standing(child)
                if standing:
                    self._withdraw(child, state, reason, answers)
                    parent.lost += standing.remaining
            self._close(order, parent.order.instrument, parent.remaining - parent.lost, state, reason, answers, of=parent.remaining)
        elif order in self._singles:
            working = self._singles.pop(order)
            self._special.pop(order, None)
            answers += self.market.take_back(working, self._row)
            left = working.remaining + working.dormant + working.lost
            self.market.empty(working)
            working.withdrawn = True
            self._forget(working)
            self._close(order, working.instrument, 0, state, reason, answers, of=left)
            self._orphan(working, answers)
        else:
            self._end_column(self._table.split(self._table.ids == order).ints[:, 0].tolist(), state, reason, answers)

    def _forget(self, working: Working) -> None:
        """Take an order out of where it waits for bars."""
        if working in self._eager:
            self._eager.remove(working)
        else:
            self._sweep((self._books[working.instrument],))

    def _bury(self, met: Sequence[Working], answers: list[Event]) -> None:
        """End what hung on those that traded or ended in the bar that they *met*, and has not met it itself."""
        for working in met:
            if working.children and not (working.remaining or working.dormant):
                self._orphan(working, answers)
            if working.group:
                for member in working.group.members:
                    self._end_empty(member, answers)
        answers += ties.losses(self._special.values(), self._special)

    def _orphan(self, parent: Working, answers: list[Event]) -> None:
        """What children of an order that ended still wait for will not come; those that have nothing else end."""
        ties.abandon(parent)
        for child in parent.children:
            self._end_empty(child, answers)
        answers += ties.losses(parent.children, self._special)

    def _end_empty(self, working: Working, answers: list[Event]) -> None:
        """End an open order that has nothing left to trade."""
        if working.id in self._singles and not (working.remaining or working.dormant):
            self._withdraw(working.id, rules.CANCELLED, working.why_lost, answers)

    def _change_linked(self, wish: Replace, old: Working, limit: float, stop: float, answers: list[Event]) -> None:
        """Give an order that others hang on new prices: the one that takes its place keeps its ties, and its quantity."""
        if wish.lots not in (old.order.lots, old.whole):
            answers.append(Ended(wish.id, old.instrument, wish.lots, rules.REJECTED, Reason.LINKED))
            return
        left, lost = old.remaining + old.dormant, old.lost
        answers += self.market.take_back(old, self._row)
        self._sequence += 1
        order = old.order._replace(id=wish.id, lots=left, limit=limit, stop=stop, client_id="")
        new = ties.successor(self.market, old, order, self._sequence, self._row)
        del self._singles[old.id], self._special[old.id]
        old.remaining = old.dormant = 0
        old.withdrawn = True
        self._forget(old)
        self._singles[new.id] = self._special[new.id] = new
        self._eager.append(new)
        new.is_eager = True
        answers += (Ended(old.id, old.instrument, left + lost, rules.REPLACED, Reason.ASKED), Replaced(new.order, old.id))

    def _end_column(self, ints: list[int], state: int, reason: int, answers: list[Event]) -> None:
        """End an order that was taken out of the table."""
        order, i, ats = ints[batches.ID], ints[batches.INSTRUMENT], self.tape.ats
        answers += self.market.runs.pop(order, ())
        if ints[batches.REASON]:
            answers.append(Waited(order, i, ints[batches.REASON], ats[ints[batches.SINCE]], ats[self._row]))
        self._close(order, i, ints[batches.REMAINING], state, reason, answers)

    def _clear(self, instruments: IntArray, newer: int, answers: list[Event]) -> None:
        """Cancel our orders in these instruments that are older than the id *newer*, oldest first: new targets take their place."""
        cleared = set(instruments.tolist())
        columns: dict[int, list[int]] = {}
        if self._table.count:
            # All at once: after a bar with little volume most orders of the last target are still there.
            mine = np.isin(self._table.ints[batches.INSTRUMENT], instruments) & ~np.isin(self._table.ids, list(self._parents.of))
            mine &= self._table.ids < newer
            columns = {ints[batches.ID]: ints for ints in self._table.split(mine).ints.T.tolist()}
        plain = [working.order for working in self._singles.values()] + [parent.order for parent in self._parents.open.values()]
        plain += self._flying.values()
        others = [order.id for order in plain if order.instrument in cleared and order.id < newer and order.id not in self._parents.of]
        for order in sorted([*columns, *others]):
            if order in columns:
                self._end_column(columns[order], rules.CANCELLED, Reason.TARGET, answers)
            elif self.standing(order):
                # One that waited for another went with it.
                self._withdraw(order, rules.CANCELLED, Reason.TARGET, answers)

    def _close(self, id: int, i: int, left: int, state: int, reason: int, answers: list[Event], of: int | None = None) -> None:
        """Book-keeping for an order that ended with *left* lots on their way, and *of* unfilled in all."""
        answers.append(Ended(id, i, left if of is None else of, state, reason))
        self._open[i] -= 1
        self._pending[i] -= left

    # Corporate actions, and contracts that end.

    def split(self, instrument: int, up: int, down: int, row: int) -> list[Event]:
        """Rescale the open orders in an instrument by *up* for *down*, before they meet *row*: what became of each."""
        events: list[Event] = []
        if self._fresh:
            self._unfold()
        self._row = row - 1
        if self.tape is not self.portfolio.bars.tape:
            # Average volumes and volatilities are of today's shares, and so are the last prices.
            self.tape.restate(instrument, up, down, row)
        if self._table.count:
            self._from_table(row)
        for id, flying in list(self._flying.items()):
            if flying.instrument == instrument:
                new = splits.rescaled(flying, splits.scaled(flying.lots, up, down) - flying.lots, up, down)
                if not new.lots:
                    self._withdraw(id, rules.CANCELLED, Reason.EMPTY, events)
                    continue
                self._flying[id] = new
                if not ties.follows(new):
                    self._pending[instrument] += new.lots - flying.lots
                events.append(Adjusted(id, instrument, new.lots - flying.lots, new.limit, new.stop))
        for working in sorted(self._singles.values(), key=_by_sequence):
            if working.instrument != instrument or working.id not in self._singles:
                continue
            left = working.remaining
            changed = splits.rescale(working, up, down, self.market.terms[instrument])
            if not isinstance(changed, Adjusted):
                self._withdraw(working.id, rules.CANCELLED, changed, events)
                continue
            events.append(changed)
            if working.group:
                working.group.recount()
            else:
                self._pending[instrument] += working.remaining - left
        if instrument in self._books:
            self._sweep((self._books[instrument],))
        if self._parents.open:
            self._split_parents(instrument, up, down, events)
        return events

    def _split_parents(self, instrument: int, up: int, down: int, events: list[Event]) -> None:
        """Orders that are cut in time, after their slices: what is not sent yet is rounded toward zero by itself, as each slice was."""
        parents = self._parents
        changes: dict[int, int] = {}
        for id, parent in parents.open.items():
            if parent.order.instrument == instrument:
                schedule = parent.order.schedule or self._slicing
                assert schedule
                changes[id] = parent.rescale(up, down, schedule.round_lot)
        for event in events:
            if isinstance(event, Adjusted) and event.order in parents.of:
                changes[parents.of[event.order]] += event.lots
        for id, change in changes.items():
            parent = parents.open[id]
            parent.order, parent.remaining = splits.rescaled(parent.order, change, up, down), parent.remaining + change
            events.append(Adjusted(id, instrument, change, parent.order.limit, parent.order.stop))
        self._settle_parents(events)
        for id in changes:
            if id in parents.open and parents.open[id].remaining == parents.open[id].lost:
                self._withdraw(id, rules.CANCELLED, Reason.EMPTY, events)

    def delist(self, instrument: int, row: int) -> list[Event]:
        """Cancel all open orders in an instrument, before they meet *row*."""
        return self._drop(instrument, row - 1, Reason.DELISTED)

    def expire(self, instrument: int) -> list[Event]:
        """Cancel all open orders in a contract that has ended, before they meet the next row."""
        return self._drop(instrument, self.portfolio.row, Reason.CONTRACT_ENDED)

    def _drop(self, instrument: int, row: int, reason: Reason) -> list[Event]:
        events: list[Event] = []
        if self._fresh:
            self._unfold()
        self._row = row
        for id in self.open_ids():
            standing = self.standing(id)
            if standing and standing.order.instrument == instrument:
                self._withdraw(id, rules.CANCELLED, reason, events)
        return events

    # Working orders.

    @property
    def is_idle(self) -> bool:
        """Whether no order is open or on its way, so that no bar can change anything."""
        return not self._open_at_all

    def work(self, bars: Bars) -> tuple[Event, ...]:
        """What happened to open orders in these bars."""
        if not self._open_at_all:
            return NOTHING
        tape, row, touched = bars.tape, bars.row, None
        events = self._run_to(bars.opened_at, row - 1) if self._timed else []
        for i, book in self._books.items():
            # A missing bar is NaN and compares false, so that its orders are looked at too.
            k = row * tape.width + i
            if not (tape.lows[k] > book.below and tape.highs[k] < book.above):
                touched = [book] if touched is None else [*touched, book]
        if touched is None and self._all_rest:
            return NOTHING
        self.market.begin(row)
        if self._fresh:
            if touched is None and not (self._eager or self._special or self._table.count or self._timed):
                del self._fresh[: self.market.fill_whole(self._fresh, self._market_at, events)]
                if not self._fresh:
                    self._all_rest, self._open_at_all = True, bool(self._books)
                    return tuple(events)
            self._unfold()
        within = self._timed and self._path in NAMED and self._env.peek() < bars.closed_at
        if self._table.count:
            joined = within or self._special or self._parents.of or touched is not None or self.portfolio.restated
            if joined or any(working.kind for working in self._eager):
                self._from_table(row)
        orders = self._eager
        if touched is not None:
            orders = sorted([*orders, *(working for book in touched for working in book.orders)], key=_by_sequence)
        if self._table.count:
            self._into_table(orders, row)
            self.market.meet_table(self._table, self._market_at, events)
        elif orders or within:
            if within or self._special or ((self._path_named or len(orders) > 1) and paths.crowded(orders, self._path)):
                self._row, self._heard = row - 1, 0
                orders = paths.meet(self.market, orders, self._market_at, self._path, events, self if within else None)
                self._row = row
                if within:
                    touched = list(self._books.values())
            else:
                self.market.meet(orders, self._market_at, events)
            self._put_away(orders, touched or ())
            if self._special:
                self._bury(orders, events)
        if self._parents.of:
            self._settle_parents(events, self._heard)
        self._heard = 0
        if self._timed:
            # What reaches the market inside a bar, be it an order or a cancel, is too late for it, unless the path through it is named.
            late = self._run_to(bars.closed_at, row)
            if self._parents.bell:
                # Orders that follow the volume hear that these bars have closed.
                self._later(arrive(self._env, bars.closed_at, self._parents.ring))
                late += self._run_to(bars.closed_at, row)
            self._settle_parents(late)
            events += late
        self._all_rest = not (self._eager or self._table.count or self._timed)
        self._open_at_all = bool(self._books) or not self._all_rest
        return tuple(events)

    def _from_table(self, row: int) -> None:
        """Move the table's orders out, so that each can meet the row on its path: what is in one bar shares its volume in one order."""
        for ints, floats in zip(self._table.ints.T.tolist(), self._table.floats.T.tolist(), strict=True):
            id, i, remaining, kind, tif, triggered, reason, since, session, sequence, wanted, _ = ints
            limit, stop, shares, notional, paid = floats
            working = self._singles[id] = Working(Order(id, i, wanted, kind, limit, stop, tif), limit, stop, sequence, row - 1)
            working.remaining, working.triggered, working.reason, working.since, working.session = remaining, bool(triggered), reason, since, session
            working.shares, working.notional, working.paid = shares, notional, paid
            self._eager.append(working)
        self._eager.sort(key=_by_sequence)
        self._table = Table()

    def _into_table(self, orders: Sequence[Working], row: int) -> None:
        """Move single orders into the table, in their place."""
        if not orders:
            return
        for working in orders:
            self.market.pass_over(working, row)
        self._table.join(Table.of(orders))
        for working in orders:
            del self._singles[working.id]
            working.remaining = 0
        self._eager = []
        self._sweep([self._books[i] for i in dict.fromkeys(working.instrument for working in orders if not working.is_eager)])

    def _put_away(self, orders: Sequence[Working], touched: Sequence[Book]) -> None:
        """Forget the orders that are done, and have the books that were touched set their triggers anew. All eager ones are among *orders*."""
        eager: list[Working] = []
        singles, special = self._singles, self._special
        for working in orders:
            if working.remaining or working.dormant:
                if working.is_eager:
                    eager.append(working)
            elif working.id in singles:
                del singles[working.id]
                self._open[working.instrument] -= 1
                if special:
                    special.pop(working.id, None)
        self._eager = eager
        if touched:
            self._sweep(touched)

    def _sweep(self, books: Iterable[Book]) -> None:
        """Set triggers anew, and put books away in which nothing is left."""
        for book in books:
            if not book.tidy() and self._books.get(book.instrument) is book:
                del self._books[book.instrument]


def _sells_first(wishes: Sequence[Wish]) -> list[Wish]:
    """Single buys last, and with them what changes them or hangs on them; else as they were."""
    first: list[Wish] = []
    last: list[Wish] = []
    buys: set[int] = set()
    for wish in wishes:
        if isinstance(wish, Order):
            waits = wish.lots > 0 or (wish.conditions is not None and not buys.isdisjoint((wish.conditions.parent, wish.conditions.oco)))
        else:
            waits = isinstance(wish, Cancel | Replace) and wish.order in buys
        if waits and isinstance(wish, Order | Replace):
            buys.add(wish.id)
        (last if waits else first).append(wish)
    return first + last


def _by_sequence(working: Working) -> int:
    return working.sequence
