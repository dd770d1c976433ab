"""A session that anything may happen to, one step at a time: the identities of market-rules.md, section 5, hold after every bar.

All prices and costs are whole 64ths, so that floats add them up exactly, and books kept in fractions must agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import isnan, nan
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from brokers.costs import Commission
from brokers.simulated import Simulated
from brokers.slippage import Slippage
from simulator import DAY, Account, Bars, Event, Instrument, Limits, Order, OrderKind, Proposal, Tape, TimeInForce, View
from simulator.assembly import assemble
from simulator.book.fills import Booked, Booking, Rescaled
from simulator.loop import journal as rows
from simulator.loop.journal import ROW, MemoryJournal, OpenOrders, fold
from simulator.loop.session import step

CASH = 100_000.0
CAP = 0.25
KINDS = [*OrderKind]
LIFE = [TimeInForce.GTC, TimeInForce.GTC, TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD]

instruments = st.integers(0, 1)
offsets = st.integers(-8, 8)
sizes = st.sampled_from([-100, -40, -7, -1, 1, 7, 40, 100])
volumes = st.sampled_from([0.0, 8.0, 40.0, 400.0, 4000.0])
bars = st.none() | st.tuples(offsets, offsets, offsets, offsets, volumes)
wishes = st.tuples(instruments, sizes, st.sampled_from(KINDS), offsets, offsets, st.integers(1, 8), st.sampled_from(LIFE), st.integers(0, 4))


@dataclass
class Puppet:
    """Proposes what it was last told."""

    told: list[Callable[[View], list[Any]]] = field(default_factory=list)

    def on_bars(self, view: View) -> Proposal:
        told, self.told = self.told, []
        return [wish for tell in told for wish in tell(view)]


@dataclass
class Agenda:
    """What falls due with the next bars."""

    events: list[Event] = field(default_factory=list)

    def due(self, bars: Bars) -> bool:
        return bool(self.events)

    def take(self, bars: Bars) -> Iterator[Event]:
        while self.events:
            yield self.events.pop(0)


class AccountMachine(RuleBasedStateMachine):
    """Submits, cancels, replaces, brackets, lets bars pass, splits, pays, recalls and liquidates."""

    @initialize(
        path=st.sampled_from(["pessimistic", "optimistic", "ohlc", "olhc", "nearest"]),
        timing=st.sampled_from(["next_open", "next_open", "next_close"]),
        account=st.sampled_from(["margin", "margin", "cash"]),
        latency=st.sampled_from([0.0, 0.0, 43_200.0]),
    )
    def begin(self, path: Any, timing: Any, account: Any, latency: float) -> None:
        slippage = Slippage("half_spread", spread=1 / 32)
        commission = Commission(1 / 64, 0.25, 0.0, 0.5)
        broker = Simulated(timing=timing, path=path, latency_seconds=latency, participation=CAP, commission=commission, slippage=slippage)
        self.tape = Tape([Instrument(symbol, tick="0.015625") for symbol in "AB"], DAY, capacity=1)
        self.puppet, self.agenda = Puppet(), Agenda()
        self.session, self.feed = assemble(self.tape, self.puppet, broker=broker, account=Account(CASH, account), limits=Limits(), growing=True)
        self.session.calendar = self.agenda
        self.unit = [Fraction(1, 4), Fraction(1, 4)]
        self.cash = self.explained = Fraction(CASH)
        self.receivable = Fraction(0)
        self.lots, self.marks = [0, 0], [Fraction(0), Fraction(0)]
        self.read = 0
        self.wanted: dict[int, tuple[int, int, float, int]] = {}
        self.filled: dict[int, int] = {}
        # Of each order the one that it took the place of, if any, back to the first; and what all of these have filled.
        self.first: dict[int, int] = {}
        self.in_all: dict[int, int] = {}
        self.followed: dict[int, int] = {}
        self.orders = OpenOrders()
        self.sent: dict[int, int] = {}
        self.let_pass(((0, 2, -2, 1, 400.0), (0, 2, -2, 1, 400.0)))

    # What may happen.

    def order(self, view: View, wish: tuple[int, int, OrderKind, int, int, int, TimeInForce, int]) -> Order:
        i, lots, kind, limit, stop, trail, tif, days = wish
        unit = float(self.unit[i])
        at = {"limit": (80 + limit) * unit} if kind in (OrderKind.LIMIT, OrderKind.STOP_LIMIT) else {}
        at |= {"stop": (80 + stop) * unit} if kind in (OrderKind.STOP, OrderKind.STOP_LIMIT) else {}
        at |= {"trail": trail * unit} if kind == OrderKind.TRAILING_STOP else {}
        until = self.tape.ats[len(self.tape) - 1] + days * DAY + DAY if tif == TimeInForce.GTD else 0
        return view.order(lots, i, kind, at.get("limit", nan), at.get("stop", nan), tif, trail=at.get("trail", nan), until=until)

    @rule(wish=wishes)
    def submit(self, wish: Any) -> None:
        self.puppet.told.append(lambda view: [self.order(view, wish)])

    @rule(first=wishes, then=st.lists(wishes, min_size=1, max_size=2), pair=st.booleans(), same=st.booleans())
    def submit_together(self, first: Any, then: Any, pair: bool, same: bool) -> None:
        """One triggers the others, or all are one of which one cancels the others; of the *same* size and instrument they share it."""
        if same:
            then = [(first[0], first[1], *wish[2:]) for wish in then]
        self.puppet.told.append(lambda view: (view.oco if pair else view.oto)(self.order(view, first), *[self.order(view, wish) for wish in then]))

    @rule(i=instruments, lots=sizes, near=st.integers(1, 6), far=st.integers(1, 6))
    def bracket(self, i: int, lots: int, near: int, far: int) -> None:
        unit, side = float(self.unit[i]), 1 if lots > 0 else -1
        self.puppet.told.append(lambda view: view.bracket(lots, i, take_profit=(80 + side * near) * unit, stop_loss=(80 - side * far) * unit))

    @rule(which=st.integers(0, 400))
    def cancel(self, which: int) -> None:
        self.puppet.told.append(lambda view: [view.cancel(which % (view.ids.last + 1))])

    @rule(which=st.integers(0, 400), lots=sizes, limit=offsets)
    def replace(self, which: int, lots: int, limit: int) -> None:
        """Another price, and half of the time another size, for an order that may be open."""

        def tell(view: View) -> list[Any]:
            open_ids = view.open_orders
            standing = self.session.broker.standing(open_ids[which % len(open_ids)]) if open_ids else None
            if standing is None:
                return []
            order = standing.order
            price = nan if isnan(order.limit) else (80 + limit) * float(self.unit[order.instrument])
            return [view.replace(order.id, abs(lots) * (1 if order.lots > 0 else -1) if which % 2 else order.lots, limit=price)]

        self.puppet.told.append(tell)

    @rule(two=st.tuples(bars, bars))
    def let_pass(self, two: Any) -> None:
        """A bar of each instrument, with gaps; there may be none, or one without volume."""
        made = np.full((5, 2), nan)
        for i, bar in enumerate(two):
            if bar is not None:
                *path, volume = bar
                prices = [float((80 + x) * self.unit[i]) for x in path]
                made[:, i] = prices[0], max(prices), min(prices), prices[3], volume
        t = len(self.tape)
        self.tape.append((t + 1) * DAY, made[0], made[1], made[2], made[3], made[4], opened_at=t * DAY, session=t)
        self.feed.bars.row, self.feed.bars.closed_at = t, (t + 1) * DAY
        before = self.marks.copy()
        step(self.session, self.feed.bars)
        self.check(t, before)

    @rule(two=st.tuples(bars, bars), more=bars)
    def let_two_pass(self, two: Any, more: Any) -> None:
        self.let_pass(two)
        self.let_pass((more, more))

    @rule(i=st.sampled_from([-1, 0, 1]), kind=st.sampled_from([Booking.DIVIDEND, Booking.BORROW, Booking.INTEREST]), amount=st.integers(-640, 640))
    def pay(self, i: int, kind: Booking, amount: int) -> None:
        """Money comes or goes with the next bar; a dividend is owed first, and paid a bar later."""
        money = amount / 64
        if kind == Booking.DIVIDEND:
            self.agenda.events.append(Booked(kind, max(i, 0), 0.0, receivable=money))
            self.let_pass((None, (0, 1, -1, 0, 400.0)))
            self.agenda.events.append(Booked(Booking.PAYMENT, max(i, 0), money, receivable=-money))
        else:
            self.agenda.events.append(Booked(kind, i, money))

    @rule(i=instruments, up=st.sampled_from([1, 2]))
    def split(self, i: int, up: int) -> None:
        """Two for one, or one for two with what is left over paid out; orders were taken back before."""
        down = 3 - up
        if not Fraction(1, 16) <= self.unit[i] * down / up <= 1:
            return
        self.puppet.told = [lambda view: [view.cancel(order) for order in view.open_orders]]
        # With latency the cancels take a bar.
        self.let_pass((None, (0, 1, -1, 0, 400.0)))
        self.let_pass((None, None))
        held, mark = self.lots[i], self.marks[i] * down / up
        now = int(Fraction(held * up, down))
        left = Fraction(held * up, down) - now
        self.unit[i] *= Fraction(down, up)
        self.agenda.events.append(Rescaled(i, up, down, now - held, float(mark)))
        if left:
            self.agenda.events.append(Booked(Booking.FRACTION, i, float(left * mark), price=float(mark)))
        self.let_pass(((1, 2, 0, 1, 400.0), (1, 2, 0, 1, 400.0)))

    @rule(i=instruments)
    def recall(self, i: int) -> None:
        """What was sold short is bought back."""
        self.puppet.told.append(lambda view: [view.order(-int(view.lots[i]), i)] if view.lots[i] < 0 else [])

    @rule()
    def liquidate(self) -> None:
        """All orders are taken back, and all positions sent to the market."""
        self.puppet.told = [
            lambda view: [view.cancel(order) for order in view.open_orders],
            lambda view: [view.order(-int(lots), i) for i, lots in enumerate(view.lots.tolist()) if lots],
        ]

    # What always holds.

    def check(self, t: int, before: list[Fraction]) -> None:
        """Read what was journalled with this bar into books of our own, and compare."""
        assert isinstance(self.session.journal, MemoryJournal)
        new = np.frombuffer(bytes(self.session.journal.rows[self.read :]), ROW).tolist()
        self.read = len(self.session.journal.rows)
        taken = [0, 0]
        for row in new:
            at, _, kind, i, order, lots, a, b, c, d, e = row
            self.orders.take(row)
            if kind in (rows.ORDER, rows.REPLACED):
                assert order not in self.wanted
                self.wanted[order], self.filled[order], self.sent[order] = (i, lots, a, d % 256), 0, self.sent.get(e, at)
                self.first[order] = self.first.get(e, order)
                self.in_all.setdefault(order, 0)
            elif kind == rows.CONDITIONS and e:
                self.followed[order] = e
            elif kind == rows.FILL:
                taken[i] += abs(lots)
                self.trade(t, at, i, order, lots, a, b, c, bool(d))
            elif kind == rows.BOOKED:
                self.cash += Fraction(a)
                self.receivable += Fraction(b)
                self.explained += Fraction(a) + Fraction(b)
            elif kind == rows.RESCALED:
                mark = Fraction(a)
                self.explained += (self.lots[i] + lots) * mark - self.lots[i] * self.marks[i]
                self.lots[i] += lots
                self.marks[i] = mark
        self.limits_hold(taken, t)
        for i in range(2):
            mark = Fraction(self.tape.marks[t, i]) if self.tape.marks[t, i] == self.tape.marks[t, i] else self.marks[i]
            if self.tape.ages[t, i] == 0:
                self.explained += self.lots[i] * (mark - self.marks[i])
                self.marks[i] = mark
        self.state_agrees()

    def trade(self, t: int, at: int, i: int, order: int, lots: int, price: float, slippage: float, commission: float, taker: bool) -> None:
        """One fill: inside its bar, its order and its limit, and after it was sent."""
        instrument, whole, limit, kind = self.wanted[order]
        self.filled[order] += lots
        self.in_all[self.first[order]] += lots
        assert (instrument, lots * whole > 0) == (i, True)
        assert abs(self.filled[order]) <= abs(whole)
        assert self.sent[order] < at
        reference = Fraction(price) - Fraction(slippage) / lots
        assert self.tape.low[t, i] <= reference <= self.tape.high[t, i]
        assert self.tape.volume[t, i] > 0
        assert taker or not slippage
        assert commission >= 0.0
        if kind in (OrderKind.LIMIT, OrderKind.STOP_LIMIT):
            assert price <= limit if lots > 0 else price >= limit
        self.cash -= lots * Fraction(price) + Fraction(commission)
        self.explained += lots * (self.marks[i] - reference) - Fraction(slippage) - Fraction(commission)
        self.lots[i] += lots

    def limits_hold(self, taken: list[int], t: int) -> None:
        """No more than our share of a bar is traded; no child has more than its part of what its parent has."""
        for i in range(2):
            assert taken[i] <= CAP * self.tape.volume[t, i] or not taken[i]
        for child, parent in self.followed.items():
            if child in self.wanted and parent in self.wanted:
                part = abs(self.wanted[child][1] * self.in_all[parent]) // abs(self.wanted[parent][1])
                assert abs(self.in_all[child]) <= part

    def state_agrees(self) -> None:
        """Cash, positions, equity, what is on its way, and the journal's fold."""
        portfolio, broker = self.session.portfolio, self.session.broker
        assert Fraction(portfolio.cash) == self.cash
        assert Fraction(portfolio.receivable) == self.receivable
        assert portfolio.lots.tolist() == self.lots
        value = self.cash + self.receivable + sum(lots * mark for lots, mark in zip(self.lots, self.marks, strict=True))
        assert Fraction(portfolio.equity) == value == self.explained
        standing = [broker.standing(order) for order in broker.open_ids()]
        assert {x.order.id: x.remaining for x in standing if x} == {order: lots for order, lots in self.orders.left.items() if lots}
        assert all(x is not None and x.remaining and abs(x.filled) + abs(x.remaining) <= abs(x.order.lots) for x in standing)
        assert broker.open_orders.tolist() == [sum(x is not None and x.order.instrument == i for x in standing) for i in range(2)]

    def teardown(self) -> None:
        if hasattr(self, "session"):
            assert isinstance(self.session.journal, MemoryJournal)
            state = fold(self.session.journal, self.tape, CASH)
            assert (state.cash, state.lots) == (self.session.portfolio.cash, self.session.portfolio.lots.tobytes())
            standing = {order: self.session.broker.standing(order) for order in self.session.broker.open_ids()}
            assert state.open_orders == {order: x.remaining for order, x in standing.items() if x}


# A thousand steps, and ten thousand at night.
_LONG = settings().max_examples > 1_000
TestAccount = AccountMachine.TestCase
TestAccount.settings = settings(max_examples=100 if _LONG else 20, stateful_step_count=100 if _LONG else 50, deadline=None)
