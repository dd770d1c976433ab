"""The simulated broker: takes orders, works them against bars, gives fills. Rules and sources: market-rules.md, sections 2 and 3."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, Literal

import numpy as np
import simpy

from brokers.costs import Commission
from brokers.latency import arrive
from brokers.matching import Book, Market, Table, Working
from brokers.slicing import Parents, twap
from brokers.slippage import Slippage
from simulator import (
    SECOND,
    Account,
    Bars,
    Cancel,
    Ended,
    Event,
    IntArray,
    Order,
    OrderBatch,
    OrderIds,
    Portfolio,
    Reason,
    Replace,
    Replaced,
    Sliced,
    Standing,
    Tape,
    Twap,
    Waited,
    Wish,
)
from simulator.kernels import batches, rules

NOTHING: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Simulated:
    """How the simulated market treats orders. All costs are on by default, and each has an off value (0, `none`, or inf for *participation*).

    *timing*: a market order that was decided at a close fills at the next open, the next close or, with a warning, that same close.
    *participation*: the share of a bar's volume that all our orders in an instrument may take together; *volume_basis* "trailing" takes it of the
    average volume of the *volume_window* bars before, which could be known at the open. *limit_through_ticks*: how far beyond a limit the bar must
    trade before it fills. *latency_seconds* is from a decision to its arrival. *slicing* cuts every plain market order in time.
    """

    timing: Literal["next_open", "next_close", "same_close"] = "next_open"
    participation: float = 0.1
    volume_basis: Literal["bar", "trailing"] = "bar"
    volume_window: int = 20
    limit_through_ticks: int = 0
    commission: Commission = field(default_factory=Commission)
    slippage: Slippage = field(default_factory=Slippage)
    latency_seconds: float = 0.0
    slicing: Twap | None = None

    def __post_init__(self) -> None:
        if not self.participation > 0.0:
            raise ValueError(f"participation must be above 0 (inf is off), was {self.participation!r}")
        if self.limit_through_ticks < 0:
            raise ValueError(f"limit_through_ticks must be 0 or above, was {self.limit_through_ticks!r}")
        if self.volume_window < 1:
            raise ValueError(f"volume_window must be at least 1 bar, was {self.volume_window!r}")
        if not 0.0 <= self.latency_seconds < inf:
            raise ValueError(f"latency_seconds must be 0 (off) or above, was {self.latency_seconds!r}")
        if self.timing == "same_close" and (self.latency_seconds or self.slicing):
            raise ValueError("timing 'same_close' leaves no time for latency_seconds or slicing: take these out, or use 'next_open'")

    def connect(self, tape: Tape, portfolio: Portfolio, account: Account, ids: OrderIds) -> SimulatedBroker:
        """The broker of one session."""
        return SimulatedBroker(self, tape, portfolio, account, ids)

    def caveats(self, tape: Tape) -> tuple[str, ...]:
        """What is wrong with these settings on this tape, to be printed as warnings."""
        found = []
        if self.timing == "same_close":
            found.append("warning: timing 'same_close' fills orders at the very close that they were decided on, which no market does")
        gridless = [instrument.symbol for instrument in tape.instruments if not instrument.tick_size]
        if self.limit_through_ticks and gridless:
            found.append(f"warning: limit_through_ticks does nothing for {', '.join(gridless)}: no price grid, since tick is '0'")
        return tuple(found)

    def words(self) -> list[str]:
        """The assumptions, one sentence each."""
        when = {
            "next_open": "the open of the next bar",
            "next_close": "the close of the next bar",
            "same_close": "the close that they were decided on",
        }
        touch = "as soon as a bar touches them" if not self.limit_through_ticks else f"when a bar goes {self.limit_through_ticks} ticks through them"
        of = "the bar's volume" if self.volume_basis == "bar" else f"the average volume of the {self.volume_window} bars before"
        sentences = [
            f"Market orders fill at {when[self.timing]}; limits {touch}.",
            f"All our orders together take at most {self.participation:.0%} of {of}."
            if self.participation < inf
            else "Volume sets no bound to what we trade.",
            f"Commission: {self.commission.words()}.",
            f"Slippage of takers: {self.slippage.words()}.",
        ]
        if self.latency_seconds:
            sentences.append(f"An order reaches the market {self.latency_seconds:g} s after the decision.")
        if self.slicing:
            sentences.append(f"Market orders are cut into {self.slicing.slices} slices, one every {self.slicing.seconds:g} s.")
        return sentences


class SimulatedBroker:
    """Keeps the open orders of a session and works them against bars.

    Single orders rest in one book an instrument, which looks only at bars that reach a trigger. Order batches are tables, worked by compiled code
    with the very same rules; a single order that is touched in the same bar joins the table, so that all share the volume in one order.
    """

    def __init__(self, settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account, ids: OrderIds) -> None:
        self.tape, self.portfolio, self.ids = tape, portfolio, ids
        self.market = Market(settings, tape, portfolio, account)
        self.pending, self.open_orders = self.market.pending, self.market.open_orders
        self._pending, self._open = self.pending.data, self.open_orders.data
        self._market_at = rules.AT_CLOSE if settings.timing == "next_close" else rules.AT_OPEN
        self._same_close, self._slicing = settings.timing == "same_close", settings.slicing
        self._latency = round(settings.latency_seconds * SECOND)
        # Whether any order is open, and whether all that are wait for their prices.
        self._open_at_all = self._all_rest = False
        self._sequence = 0
        self._books: dict[int, Book] = {}
        self._eager: list[Working] = []
        self._singles: dict[int, Working] = {}
        self._table = Table()
        # The last row that open orders have met.
        self._row = -1
        # What takes time: orders on their way, parents and whose child is which; their processes put events here.
        self._timed = False
        self._env = simpy.Environment(initial_time=int(tape.starts[0]) if len(tape) else 0)
        self._flying: dict[int, Order] = {}
        self._parents = Parents()
        self._arrivals: list[Event] = []

    # Taking orders.

    def submit(self, approved: Sequence[Wish]) -> tuple[Event, ...]:
        """Take these wishes in turn. A cash account's sells go before its buys, so that what is sold can pay for what is bought."""
        if not approved:
            return NOTHING
        answers: list[Event] = []
        if len(approved) > 1 and self.market.cash_account:
            approved = _sells_first(approved)
        row = self.portfolio.row
        now, first, self._row = self.tape.ats[row], self._sequence, row
        self._open_at_all, self._all_rest = True, False
        for wish in approved:
            if isinstance(wish, Order):
                self._pending[wish.instrument] += wish.lots
                self._open[wish.instrument] += 1
                if self._latency:
                    self._fly(wish, now)
                else:
                    self._take(wish, now, row, answers)
            elif isinstance(wish, OrderBatch):
                self._take_batch(wish, now, row, answers)
            elif self._latency:
                self._later(arrive(self._env, now + self._latency, partial(self._change_late, wish)))
            else:
                self._change(wish, now, answers)
        if self._parents.of:
            # A slice that was taken back is lost to its parent.
            self._settle_parents(answers)
        if self._same_close and self._sequence > first:
            self._fill_at_this_close(first, row, answers)
        return tuple(answers) if answers else NOTHING

    def _take(self, order: Order, at: int, row: int, answers: list[Event]) -> None:
        """Accept one order that is at the market by *at*, or reject it for its prices."""
        id, i, lots, kind, limit, stop, _, _, schedule = order
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
        working = self._singles[id] = Working(order, limit, stop, self._sequence, row)
        if working.is_eager:
            self._eager.append(working)
        else:
            if i not in self._books:
                self._books[i] = Book(i)
            self._books[i].add(working)

    def _take_batch(self, batch: OrderBatch, at: int, row: int, answers: list[Event]) -> None:
        """Accept a batch as columns; where orders take time or are cut, one by one."""
        n = len(batch)
        if len(batch.clears):
            newer = int(batch.ids[0]) if n else self.ids.last + 1
            if self._latency:
                self._later(arrive(self._env, at + self._latency, partial(self._clear_late, batch.clears, newer)))
            else:
                self._clear(batch.clears, newer, answers)
        columns = (batch.ids, batch.instruments, batch.lots, batch.kinds, batch.limits, batch.stops, batch.tifs)
        if self._latency or self._slicing:
            for values in zip(*(column.tolist() for column in columns), strict=True):
                order = Order(*values)
                self._pending[order.instrument] += order.lots
                self._open[order.instrument] += 1
                if self._latency:
                    self._fly(order, at)
                else:
                    self._take(order, at, row, answers)
            return
        if not n:
            return
        ints, floats, rejected = np.empty((batches.INTS, n), np.int64), np.empty((batches.FLOATS, n)), np.empty(n, np.int64)
        taken, bad = batches.accept(*columns, self._sequence + 1, self.tape.terms, self.pending, self.open_orders, ints, floats, rejected)
        self._sequence += n
        answers.extend(
            Ended(int(batch.ids[k]), int(batch.instruments[k]), int(batch.lots[k]), rules.REJECTED, rules.BAD_PRICE) for k in rejected[:bad].tolist()
        )
        self._table.join(Table(ints[:, :taken], floats[:, :taken]))

    def _fill_at_this_close(self, first: int, row: int, answers: list[Event]) -> None:
        """`same_close`, the labelled exception: market orders sent just now trade at the close that they were decided on."""
        singles = [working for working in self._singles.values() if working.sequence > first and working.kind == rules.MARKET]
        new = (self._table.ints[batches.SEQUENCE] > first) & (self._table.ints[batches.KIND] == rules.MARKET)
        self.market.begin(row)
        if new.any():
            table = self._table.split(new)
            for working in singles:
                self._eager.remove(working)
                del self._singles[working.id]
            if singles:
                table.join(Table.of(singles))
            self.market.meet_table(table, rules.AT_CLOSE, answers)
            self._table.join(table)
        else:
            self.market.meet(singles, rules.AT_CLOSE, answers)
            self._put_away(self._eager, ())

    # What takes time: processes in integer nanoseconds.

    def _fly(self, order: Order, now: int) -> None:
        """Send one order on its way."""
        self._flying[order.id] = order

        def land() -> None:
            if self._flying.pop(order.id, None):
                self._take(order, int(self._env.now), self._row, self._arrivals)

        self._later(arrive(self._env, now + self._latency, land))

    def _later(self, process: Generator[Any, None, None]) -> simpy.Process:
        self._timed = True
        return self._env.process(process)

    def _change_late(self, wish: Cancel | Replace) -> None:
        self._change(wish, int(self._env.now), self._arrivals)

    def _clear_late(self, instruments: IntArray, newer: int) -> None:
        self._clear(instruments, newer, self._arrivals)

    def _slice(self, order: Order, schedule: Twap, at: int) -> None:
        """Start the process that cuts an order in time."""
        parent = self._parents.begin(order)

        def send(lots: int) -> None:
            child = order._replace(id=self.ids.next(), lots=lots, client_id="", schedule=None)
            self._parents.adopt(child.id, parent)
            self._open[order.instrument] += 1
            self._arrivals.append(Sliced(child, order.id))
            self._take(child, int(self._env.now), self._row, self._arrivals)

        parent.process = self._later(twap(self._env, at, order.lots, schedule, send))

    def _run_to(self, at: int, row: int) -> list[Event]:
        """Let processes run up to *at*, when orders have met the bars up to *row*."""
        self._row = row
        while self._env.peek() <= at:
            self._env.step()
        self._timed = self._env.peek() < inf
        events, self._arrivals = self._arrivals, []
        return events

    def _settle_parents(self, events: list[Event]) -> None:
        """Parents follow their children. One is done when nothing of it is left to come."""
        for parent in self._parents.follow(events):
            self._open[parent.order.instrument] -= 1
            if parent.lost:
                events.append(Ended(parent.order.id, parent.order.instrument, parent.lost, rules.CANCELLED, Reason.CHILDREN_ENDED))

    # Taking orders back.

    def standing(self, order: int) -> Standing | None:
        """The open order with this id, if there is one."""
        if order in self._singles:
            working = self._singles[order]
            return Standing(working.order, working.order.lots - working.remaining, working.remaining)
        if order in self._parents.open:
            parent = self._parents.open[order]
            return Standing(parent.order, parent.order.lots - parent.remaining, parent.remaining - parent.lost)
        if order in self._flying:
            return Standing(self._flying[order], 0, self._flying[order].lots)
        for k in np.flatnonzero(self._table.ids == order).tolist():
            ints, floats = self._table.ints[:, k].tolist(), self._table.floats[:, k].tolist()
            limit, stop = floats[batches.AT_LIMIT], floats[batches.AT_STOP]
            plain = Order(order, ints[batches.INSTRUMENT], ints[batches.WANTED], ints[batches.KIND], limit, stop, ints[batches.TIF])
            return Standing(plain, plain.lots - ints[batches.REMAINING], ints[batches.REMAINING])
        return None

    def open_ids(self) -> list[int]:
        """The ids of all open orders, children of a parent apart, oldest first."""
        every = [*self._singles, *self._parents.open, *self._flying, *self._table.ids.tolist()]
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
            after = self._singles[wish.id]
            after.shares, after.notional, after.paid = had

    def _traded(self, order: int) -> tuple[float, float, float]:
        """Shares and notional that an open order has traded, and the commission that it has paid."""
        if order in self._singles:
            working = self._singles[order]
            return working.shares, working.notional, working.paid
        for k in np.flatnonzero(self._table.ids == order).tolist():
            shares, notional, paid = self._table.floats[batches.SHARES :, k].tolist()
            return shares, notional, paid
        return 0.0, 0.0, 0.0

    def _withdraw(self, order: int, state: int, reason: int, answers: list[Event]) -> None:
        """End an open order of whatever sort, with what belongs to it."""
        if order in self._flying:
            flying = self._flying.pop(order)
            self._close(order, flying.instrument, flying.lots, state, reason, answers)
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
            answers += self.market.take_back(working, self._row)
            left, working.remaining = working.remaining, 0
            if working.is_eager:
                self._eager.remove(working)
            else:
                self._sweep((self._books[working.instrument],))
            self._close(order, working.instrument, left, state, reason, answers)
        else:
            self._end_column(self._table.split(self._table.ids == order).ints[:, 0].tolist(), state, reason, answers)

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
            else:
                self._withdraw(order, rules.CANCELLED, Reason.TARGET, answers)

    def _close(self, id: int, i: int, left: int, state: int, reason: int, answers: list[Event], of: int | None = None) -> None:
        """Book-keeping for an order that ended with *left* lots on their way, and *of* unfilled in all."""
        answers.append(Ended(id, i, left if of is None else of, state, reason))
        self._open[i] -= 1
        self._pending[i] -= left

    # Working orders.

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
        orders = self._eager
        if touched is not None:
            orders = sorted([*orders, *(working for book in touched for working in book.orders)], key=_by_sequence)
        if self._table.count:
            self._into_table(orders, row)
            self.market.begin(row)
            self.market.meet_table(self._table, self._market_at, events)
        elif orders:
            self.market.begin(row)
            self.market.meet(orders, self._market_at, events)
            self._put_away(orders, touched or ())
        if self._parents.of:
            self._settle_parents(events)
        if self._timed:
            # What reaches the market inside a bar, be it an order or a cancel, is too late for it: no path through the bar is named.
            late = self._run_to(bars.closed_at, row)
            self._settle_parents(late)
            events += late
        self._all_rest = not (self._eager or self._table.count or self._timed)
        self._open_at_all = bool(self._books) or not self._all_rest
        return tuple(events)

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
        for working in orders:
            if not working.remaining:
                del self._singles[working.id]
                self._open[working.instrument] -= 1
            elif working.is_eager:
                eager.append(working)
        self._eager = eager
        if touched:
            self._sweep(touched)

    def _sweep(self, books: Iterable[Book]) -> None:
        """Set triggers anew, and put books away in which nothing is left."""
        for book in books:
            if not book.tidy():
                del self._books[book.instrument]


def _sells_first(wishes: Sequence[Wish]) -> list[Wish]:
    """Single buys last, and with them what changes them; else as they were."""
    first: list[Wish] = []
    last: list[Wish] = []
    buys: set[int] = set()
    for wish in wishes:
        waits = wish.lots > 0 if isinstance(wish, Order) else isinstance(wish, Cancel | Replace) and wish.order in buys
        if waits and isinstance(wish, Order | Replace):
            buys.add(wish.id)
        (last if waits else first).append(wish)
    return first + last


def _by_sequence(working: Working) -> int:
    return working.sequence
