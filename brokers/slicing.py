"""Cutting an order in time: a parent becomes children, each sent at its moment by a SimPy process in integer nanoseconds.

How much goes when is decided by the plain functions that come first; the process sends it, and `Parents` keeps the books of who belongs to whom.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import asinh, exp, expm1, fsum, inf, sqrt
from numbers import Integral
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import simpy

from brokers.matching import Bill
from brokers.splits import scaled
from simulator import DAY, SECOND, AlmgrenChriss, Ended, Event, Fill, FillBatch, FloatArray, IntArray, Order, Pov, Schedule, Tape, Twap, Vwap
from simulator.kernels import rules, tapes

Number = TypeVar("Number", int, float)

# How much goes when.


def split(quantity: Number, weights: Sequence[float] | FloatArray, lot: Number | int = 1) -> list[Number]:
    """Cut *quantity* (signed) into one child a weight: whole round lots of *lot*, except one child that carries an odd remainder.

    *lot* is the round lot, in the units of *quantity* (100 shares, 0.01 of a coin). Children sum to the quantity and follow the cumulative weights
    within one lot; a weight of zero gets nothing. They are ints where quantity and lot are; floats are taken for the decimals that they were written
    as, and in decimals the children sum exactly. Raises ValueError where weights are negative, not numbers, or all zero, and where quantity or lot
    cannot be meant. Source: market-rules.md, section 6.
    """
    if not 0 < lot < inf:
        raise ValueError(f"lot must be a number above 0, was {lot!r}")
    if not -inf < quantity < inf:
        raise ValueError(f"quantity must be a number, was {quantity!r}")
    if any(not 0.0 <= weight < inf for weight in weights) or not any(weights):
        raise ValueError(f"weights must be numbers of 0 or above, not all of them 0, were {list(weights)}")
    exact = [Fraction(float(weight)) for weight in weights]
    total, last = sum(exact), max(k for k, weight in enumerate(exact) if weight)
    wanted, size = abs(_as_written(quantity)), _as_written(lot)
    sign, rounds = (1 if quantity >= 0 else -1), int(wanted / size)
    children, sent, due = [], 0, Fraction(0)
    for k, weight in enumerate(exact):
        due += weight
        # Nearest whole lot to the cumulative target, which keeps every child within one lot of it.
        target = rounds if k == last else int(wanted * due / (total * size) + Fraction(1, 2))
        target = max(sent, min(target, rounds)) if weight else sent
        odd = wanted - rounds * size if k == last else 0
        children.append(sign * ((target - sent) * size + odd))
        sent = target
    kind = int if _whole(quantity) and _whole(lot) else float
    return cast("list[Number]", [kind(child) for child in children])


def _as_written(number: float) -> Fraction:
    """0.1 is a tenth, and not the float beside it."""
    return Fraction(int(number)) if _whole(number) else Fraction(Decimal(repr(float(number))))


def _whole(number: object) -> bool:
    return isinstance(number, Integral)


def participate(quantity: int, volumes: Sequence[float] | FloatArray, rate: float, lot: int = 1) -> tuple[list[int], int]:
    """Take part in *volumes* at *rate* until *quantity* (signed, whole units) is done: (one child a volume, what is unfilled at the end).

    A child is at most floor(rate x volume + 1e-9), the budget of the market's own volume cap, and a whole number of round lots of *lot*, except the
    one that completes the quantity. A volume that is not known (NaN) gives nothing. Raises ValueError where volumes are negative, or rate is not in
    [0, 1]. Source: market-rules.md, sections 3 and 6.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate must be in [0, 1], was {rate!r}")
    if not lot >= 1:
        raise ValueError(f"lot must be at least 1, was {lot!r}")
    if any(volume < 0.0 for volume in volumes):
        raise ValueError(f"volumes must be 0 or above, were {list(volumes)}")
    children, left = [], quantity
    for volume in volumes:
        child = next_child(left, allowance(volume, rate, 1.0, 1.0), lot)
        children.append(child)
        left -= child
    return children, left


def allowance(volume: float, rate: float, lot_up: float, lot_down: float) -> int:
    """The whole lots in a share *rate* of *volume*, where a lot is lot_up / lot_down units; none where the volume is not known."""
    return rules.budget(volume, rate, lot_up, lot_down) if volume > 0.0 else 0


def next_child(left: int, allowed: int, lot: int) -> int:
    """The next child of what is *left* (signed): all of it if that is *allowed*, else whole round lots."""
    if abs(left) <= allowed:
        return left
    return (1 if left > 0 else -1) * (allowed // lot * lot)


def volume_curve(sessions: IntArray, starts: IntArray, volumes: FloatArray, session: int, window: int = 20) -> tuple[IntArray, FloatArray]:
    """The average volume by time of session, over the *window* sessions before *session*: (offsets, averages), both (slots,).

    A bar's slot is its offset: from the first bar of its session to its own *starts*, in their unit (nanoseconds). *sessions* (rows,) increase, and
    *volumes* (rows,) are NaN where there was no bar, which counts as no volume. Nothing of *session* itself or later is looked at.
    """
    begin, end, days = _before(sessions, session, window)
    if not days:
        return np.empty(0, np.int64), np.empty(0)
    past = sessions[begin:end]
    opens = np.asarray(starts)[np.searchsorted(sessions, past)]
    offsets, slots = np.unique(starts[begin:end] - opens, return_inverse=True)
    traded = np.where(np.isnan(volumes[begin:end]), 0.0, volumes[begin:end])
    return offsets.astype(np.int64), np.bincount(slots, traded, len(offsets)) / days


def _before(sessions: IntArray, session: int, window: int) -> tuple[int, int, int]:
    """Where the rows of the last *window* sessions before *session* begin and end, and how many sessions these are."""
    end = begin = int(np.searchsorted(sessions, session))
    days = 0
    while begin and days < window:
        begin, days = int(np.searchsorted(sessions, sessions[begin - 1])), days + 1
    return begin, end, days


def curve_weights(offsets: IntArray, averages: FloatArray, length: int, start: int, gap: int, slices: int) -> FloatArray:
    """The volume that a curve expects in each of *slices* spans of *gap* from *start* (an offset in the session) on: (slices,).

    A slot lasts *length* from its offset, and trades evenly; a day later, of DAY nanoseconds, the curve begins again.
    """
    edges = start + gap * np.arange(slices + 1, dtype=np.int64)
    before, within = np.divmod(edges, DAY)
    elapsed = np.clip((within[:, None] - offsets[None, :]) / length, 0.0, 1.0)
    # Sums in a fixed order: a slice must not depend on how a machine adds.
    sums = np.cumsum(np.hstack((np.zeros((slices + 1, 1)), elapsed * averages)), axis=1)[:, -1]
    whole = np.cumsum(np.append(0.0, averages))[-1]
    expected: FloatArray = np.maximum(np.diff(before * whole + sums), 0.0)
    return expected


def almgren_chriss(
    quantity: float,
    intervals: int,
    tau: float,
    sigma: float,
    eta: float,
    gamma: float = 0.0,
    epsilon: float = 0.0,
    risk_aversion: float = 0.0,
) -> tuple[FloatArray, float, float]:
    """The cheapest way to trade *quantity* in *intervals* of *tau*, where risk has a price: (holdings, expected cost, variance).

    Holdings x_0 ... x_N (intervals + 1,) are what is still to trade, signed as *quantity* in shares; x_0 is all of it and x_N nothing. They are the
    minimum of expected cost + risk_aversion x variance, where, in money and units of time of *tau*'s (days, say):

    * *sigma* is the volatility of the price, money a share and square root of time (not a fraction);
    * *gamma* the permanent impact, money a share for each share traded;
    * *eta* the temporary impact, money a share for each share a unit of time, and *epsilon* its fixed part (half the spread and fees), money a share;
    * *risk_aversion* (lambda) is per unit of money; 0 is the straight line.

    Expected cost and variance of the cost against the first price are in money and money squared. Raises ValueError for what cannot be meant, and
    where *eta* does not exceed gamma tau / 2. Source: Almgren and Chriss, Optimal execution of portfolio transactions, Journal of Risk 3 (2000):
    x_j = sinh(kappa (T - t_j)) / sinh(kappa T) X with 2 (cosh(kappa tau) - 1) / tau² = lambda sigma² / (eta - gamma tau / 2), and with
    n_k = x_{k-1} - x_k a cost of gamma X² / 2 + epsilon sum(abs(n)) + (eta - gamma tau / 2) sum(n²) / tau and a variance of sigma² tau sum(x²).
    """
    if intervals < 1:
        raise ValueError(f"intervals must be at least 1, was {intervals!r}")
    for name, value in (("tau", tau), ("eta", eta)):
        if not 0.0 < value < inf:
            raise ValueError(f"{name} must be a number above 0, was {value!r}")
    for name, value in (("sigma", sigma), ("gamma", gamma), ("epsilon", epsilon), ("risk_aversion", risk_aversion)):
        if not 0.0 <= value < inf:
            raise ValueError(f"{name} must be a number of 0 or above, was {value!r}")
    if not -inf < quantity < inf:
        raise ValueError(f"quantity must be a number, was {quantity!r}")
    eased = eta - gamma * tau / 2.0
    if not eased > 0.0:
        raise ValueError(f"eta must be above gamma tau / 2 = {gamma * tau / 2.0!r}, was {eta!r}")
    # kappa tau is arcosh(1 + z / 2) for z = lambda sigma² tau² / eased. In this form a small z keeps its digits, and none overflows.
    pace = 2.0 * asinh(sqrt(risk_aversion / eased) * sigma * tau / 2.0) if risk_aversion and sigma else 0.0
    holdings = np.array([quantity * _left(pace, k, intervals) for k in range(intervals + 1)])
    trades = np.diff(-holdings).tolist()
    cost = fsum((0.5 * gamma * quantity * quantity, epsilon * fsum(abs(n) for n in trades), eased / tau * fsum(n * n for n in trades)))
    return holdings, cost, sigma * sigma * tau * fsum(x * x for x in holdings.tolist()[1:])


def _left(pace: float, k: int, intervals: int) -> float:
    """sinh(pace (intervals - k)) / sinh(pace intervals), without its overflow where *pace* is large, or its 0 / 0 where it is nothing."""
    if k in (0, intervals):
        return 1.0 if k == 0 else 0.0
    if pace * intervals < 1e-8:
        return (intervals - k) / intervals
    return exp(-pace * k) * expm1(-2.0 * pace * (intervals - k)) / expm1(-2.0 * pace * intervals)


# What sends it.


class Seen(NamedTuple):
    """What had happened in one *instrument* by the close of the bar *row*, the last one that has closed: a schedule may look no further."""

    tape: Tape
    instrument: int
    row: int

    def allows(self, rate: float) -> int:
        """Lots in a share of this bar's volume."""
        instrument = self.tape.instruments[self.instrument]
        return allowance(float(self.tape.volume[self.row, self.instrument]), rate, instrument.lot_up, instrument.lot_down)

    def curve(self, window: int) -> tuple[IntArray, FloatArray]:
        """The volume by time of session in the *window* sessions before this bar's."""
        tape, known = self.tape, slice(self.row + 1)
        return volume_curve(tape.sessions[known], tape.opened_at[known], tape.volume[known, self.instrument], tape.days[self.row], window)

    def offset(self, at: int) -> int:
        """Nanoseconds from the first bar of this bar's session to *at*."""
        tape = self.tape
        return at - tape.starts[int(np.searchsorted(tape.sessions[: self.row + 1], tape.days[self.row]))]

    def session_length(self, window: int) -> float:
        """Nanoseconds for which an average one of the last *window* sessions, this one apart, had bars; 0 where there is none."""
        begin, end, sessions = _before(self.tape.sessions[: self.row + 1], self.tape.days[self.row], window)
        return (end - begin) * self.tape.interval / sessions if sessions else 0.0


def proportions(schedule: Twap | Vwap | AlmgrenChriss, start: int, lots: int, seen: Seen) -> list[float]:
    """What the slices of an order that reaches the market at *start* are in proportion to, by what was *seen*: (slices,).

    They are equal where that tells nothing.
    """
    equal, gap = [1.0] * schedule.slices, round(schedule.seconds * SECOND)
    if isinstance(schedule, Vwap):
        offsets, averages = seen.curve(schedule.sessions)
        if np.isfinite(averages).all():
            expected = curve_weights(offsets, averages, seen.tape.interval, seen.offset(start), gap, schedule.slices)
            return [float(volume) for volume in expected] if expected.any() else equal
    if isinstance(schedule, AlmgrenChriss):
        tape, i = seen.tape, seen.instrument
        units = abs(tape.instruments[i].units(lots))
        sigma, days = tapes.impact_of(tape.panel_days, tape.panel, i, seen.row, schedule.sessions, units)
        sigma *= float(tape.marks[seen.row, i])
        if sigma > 0.0 and days > 0.0:
            tau = gap / seen.session_length(schedule.sessions)
            holdings, _, _ = almgren_chriss(
                units, schedule.slices, tau, sigma, schedule.impact * sigma * days / units, risk_aversion=schedule.risk_aversion
            )
            return [max(before - after, 0.0) for before, after in pairwise(holdings.tolist())]
    return equal


class Parent:
    """An order that is cut in time from *start* on: lots not yet filled, lots lost with children that ended, its bill, and its process.

    The *plan* is what is to be sent, in turn: all of it until the schedule has *begun*, and always what is left, so that a split can rescale it.
    """

    __slots__ = ("begun", "bill", "children", "lost", "order", "plan", "process", "remaining", "schedule", "start")

    def __init__(self, order: Order, schedule: Schedule, start: int) -> None:
        self.order, self.remaining, self.lost, self.plan = order, order.lots, 0, [order.lots]
        self.schedule, self.start, self.begun = schedule, start, False
        self.children: list[int] = []
        self.bill = Bill()
        self.process: simpy.Process | None = None

    def rescale(self, up: int, down: int, round_lot: int) -> int:
        """Take what is not sent yet through a split: how many lots that changed. Slices stay in proportion, and whole round lots."""
        before = sum(self.plan)
        if before:
            self.plan[:] = split(scaled(before, up, down), [float(abs(child)) for child in self.plan], round_lot)
        return sum(self.plan) - before


def execute(
    environment: simpy.Environment,
    parent: Parent,
    seen: Callable[[int], Seen],
    closes: Callable[[], simpy.Event],
    send: Callable[[int], None],
    cancel: Callable[[], None],
) -> Generator[Any, None, None]:
    """A process that works an order, which is at the market by the parent's start (UTC nanoseconds), by its schedule; one that has begun goes on.

    *seen* is what is known at a moment, and *closes* the event that bars have closed. It calls *send* for each child, and *cancel* at the deadline
    where the schedule would have that.
    """
    schedule, start, plan, begun = parent.schedule, parent.start, parent.plan, parent.begun
    gap, parent.begun = round(schedule.seconds * SECOND), True
    # Delays count from the event's own time: an idle environment's clock lags behind.
    try:
        if isinstance(schedule, Pov):
            if not begun:
                yield environment.timeout(start - environment.now)
            deadline = start + gap
            over = environment.timeout(deadline - environment.now)
            if begun and plan[0]:
                yield over | closes()
            while plan[0] and not over.processed:
                child = next_child(plan[0], seen(int(environment.now)).allows(schedule.rate), schedule.round_lot)
                if child:
                    plan[0] -= child
                    send(child)
                if plan[0]:
                    yield over | closes()
        else:
            if not begun:
                plan[:] = split(plan[0], proportions(schedule, start, plan[0], seen(start)), schedule.round_lot)
            for k in range(schedule.slices - len(plan), schedule.slices):
                yield environment.timeout(start + k * gap - environment.now)
                child = plan.pop(0)
                if child:
                    send(child)
            deadline = start + gap * schedule.slices
        if schedule.residual == "cancel":
            yield environment.timeout(deadline - environment.now)
            cancel()
        elif plan and plan[0]:
            send(plan.pop())
    except simpy.Interrupt:
        # The parent was taken back: what is not sent yet never will be.
        return


class Parents:
    """The *open* orders that are cut in time, by id, and *of* which of them each child is. Those that follow the volume wait for the *bell*."""

    __slots__ = ("bell", "of", "open")

    def __init__(self) -> None:
        self.open: dict[int, Parent] = {}
        self.of: dict[int, int] = {}
        self.bell: simpy.Event | None = None

    def next_close(self, environment: simpy.Environment) -> simpy.Event:
        """The event that bars have closed."""
        if self.bell is None:
            self.bell = environment.event()
        return self.bell

    def ring(self) -> None:
        """Bars have closed now."""
        bell, self.bell = self.bell, None
        if bell is not None:
            bell.succeed()

    def begin(self, order: Order, schedule: Schedule, start: int) -> Parent:
        """From here on this order is one of them."""
        parent = self.open[order.id] = Parent(order, schedule, start)
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
