"""The simulated market of one session: what a bar gives to orders that meet it, out of its volume and within the account."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from brokers.costs import FREE, Commission
from brokers.slippage import NO_SLIPPAGE, Slippage
from simulator import DAY, SECOND, Account, Ended, Event, Fill, FillBatch, FloatArray, IntArray, Order, Portfolio, Tape, Waited
from simulator.kernels import batches, rules, tapes
from simulator.kernels.compiled import direct

if TYPE_CHECKING:
    from brokers.simulated import Simulated
    from brokers.ties import Group

_new = tuple.__new__
UNFILLED = 0.0, 0.0, 0.0
UNTOUCHED = -1, 0, 0
NOTHING_USED = np.empty((4, 0), np.int64)
NO_ORDERS = np.empty((batches.INTS, 0), np.int64), np.empty((batches.FLOATS, 0))


class Working:
    """An accepted order and how far it is. *limit* and *stop* are on the price grid.

    It waits for *reason* since the row *since*; *until* is the last row that was looked at, *now* what the newest one said.
    """

    # How every order begins. Most never change these, and an order is made quicker without them.
    triggered = met = refused = withdrawn = False
    # Units and money that it traded, the commission that it paid, and what the tiers of the tariff asked of it apart from rebates.
    shares = notional = paid = extra = 0.0
    now: int = rules.FILLED
    session = -1
    # Of orders that hang together, see brokers.ties: lots that wait for the parent, that it let go so far, that were lost to others in this bar, why
    # any ever were, that have traded, and that count as on their way.
    released = lost = why_lost = done = counted = whole = 0
    # Whether it would add to what is held when it was sent, and what it was worth.
    adds = False
    worth = 0.0
    parent: Working | None = None
    children: tuple[Working, ...] = ()
    group: Group | None = None
    # On its way through a bar: whether it has had its turn, and whether the price is new to it.
    blocked = fresh = False
    extreme = nan
    accepted_at = 0

    def __init__(self, order: Order, limit: float, stop: float, sequence: int, row: int) -> None:
        self.order = order
        self.id, self.instrument, self.remaining, self.kind, _, _, self.tif, _, _, self.conditions = order
        self.limit, self.stop, self.sequence = limit, stop, sequence
        self.since = self.until = row
        self.reason = self.dormant = 0
        # Any bar may fill or end it, wherever its prices are.
        self.is_eager = self.kind == rules.MARKET or self.tif != rules.GTC or self.conditions is not None or self.kind > rules.STOP_LIMIT

    @property
    def is_special(self) -> bool:
        """Whether only a walk through the bar can tell what becomes of it."""
        return self.conditions is not None or self.kind > rules.STOP_LIMIT or bool(self.children)


class Bill:
    """What an order that is cut in time has traded and paid: to the tariff its slices are one order."""

    __slots__ = ("extra", "notional", "paid", "shares")

    def __init__(self) -> None:
        self.shares = self.notional = self.paid = self.extra = 0.0


class Slice(Working):
    """A child of an order that is cut in time, on that order's *bill*."""

    def __init__(self, bill: Bill, order: Order, limit: float, stop: float, sequence: int, row: int) -> None:
        super().__init__(order, limit, stop, sequence, row)
        self.bill = bill

    @property
    def shares(self) -> float:
        """Units that the parent has traded."""
        return self.bill.shares

    @shares.setter
    def shares(self, units: float) -> None:
        self.bill.shares = units

    @property
    def notional(self) -> float:
        """Money for which the parent has traded."""
        return self.bill.notional

    @notional.setter
    def notional(self, money: float) -> None:
        self.bill.notional = money

    @property
    def paid(self) -> float:
        """Commission that the parent has paid."""
        return self.bill.paid

    @paid.setter
    def paid(self, money: float) -> None:
        self.bill.paid = money

    @property
    def extra(self) -> float:
        """What the tiers of the tariff have asked of the parent."""
        return self.bill.extra

    @extra.setter
    def extra(self, money: float) -> None:
        self.bill.extra = money


class Book:
    """The resting orders of one instrument, oldest first. A bar strictly between *below* and *above* touches none of them."""

    __slots__ = ("above", "below", "instrument", "orders")

    def __init__(self, instrument: int) -> None:
        self.instrument = instrument
        self.orders: list[Working] = []
        self.below, self.above = -inf, inf

    def add(self, working: Working) -> None:
        """One more order, behind those that are there."""
        self.orders.append(working)
        self.listen(working)

    def listen(self, working: Working) -> None:
        """Widen the triggers to this order's price."""
        kind = working.kind
        if kind == rules.STOP and working.triggered:
            # The rest of it waits for volume, and trades in any bar.
            self.below = inf
            return
        rests = kind == rules.LIMIT or working.triggered
        price = working.limit if rests else working.stop
        # Buy limits and sell stops wait below the market, the others above it.
        if rests == (working.remaining > 0):
            if price > self.below:
                self.below = price
        elif price < self.above:
            self.above = price

    def tidy(self) -> bool:
        """Forget what is done and set the triggers anew; whether any order is left."""
        self.orders = [working for working in self.orders if working.remaining]
        self.below, self.above = -inf, inf
        for working in self.orders:
            self.listen(working)
        return bool(self.orders)


class Table:
    """Open orders as columns, for compiled code: see simulator.kernels.batches for the rows. Always in order of acceptance."""

    __slots__ = ("count", "floats", "ints")

    def __init__(self, ints: IntArray | None = None, floats: FloatArray | None = None) -> None:
        if ints is None or floats is None:
            ints, floats = NO_ORDERS
        self.hold(ints, floats)

    def hold(self, ints: IntArray, floats: FloatArray) -> None:
        """From here on these are the orders."""
        self.count, self.ints, self.floats = ints.shape[1], np.ascontiguousarray(ints), np.ascontiguousarray(floats)

    @property
    def ids(self) -> IntArray:
        """The orders' ids, oldest first."""
        ids: IntArray = self.ints[batches.ID]
        return ids

    def join(self, other: Table) -> None:
        """Take more orders in, in their place by sequence."""
        if not self.count:
            self.count, self.ints, self.floats = other.count, other.ints, other.floats
            return
        ints, floats = np.concatenate((self.ints, other.ints), axis=1), np.concatenate((self.floats, other.floats), axis=1)
        by_sequence = np.argsort(ints[batches.SEQUENCE], kind="stable")
        self.hold(ints[:, by_sequence], floats[:, by_sequence])

    def split(self, rows: np.ndarray) -> Table:
        """Take these orders out (a mask), as a table of their own."""
        out = Table(self.ints[:, rows], self.floats[:, rows])
        self.hold(self.ints[:, ~rows], self.floats[:, ~rows])
        return out

    @classmethod
    def of(cls, orders: Sequence[Working]) -> Table:
        """Single orders as columns, whose waits are known up to the row before."""
        ints, floats = np.zeros((batches.INTS, len(orders)), np.int64), np.zeros((batches.FLOATS, len(orders)))
        for k, x in enumerate(orders):
            ints[:, k] = (*(x.id, x.instrument, x.remaining, x.kind, x.tif, x.triggered, x.reason, x.since, x.session, x.sequence, x.order.lots, 1),)
            floats[:, k] = x.limit, x.stop, x.shares, x.notional, x.paid
        return cls(ints, floats)


def tariff(settings: Simulated) -> tuple[float, float, float, float, float, bool]:
    """The commission as the rules take it. One that is no plain numbers is asked by an ItemisedMarket, which looks at none of these."""
    terms = settings.commission if isinstance(settings.commission, Commission) else FREE
    return terms.per_share, terms.per_order, terms.bps / 10_000.0, terms.minimum, terms.maximum, terms.round_to_cents


def slipping(settings: Simulated) -> tuple[int, float, int]:
    """The slippage as the rules take it: see `tariff`."""
    model = settings.slippage if isinstance(settings.slippage, Slippage) else NO_SLIPPAGE
    return model.code, model.amount, model.window


def numbers(settings: Simulated, tape: Tape, account: Account) -> FloatArray:
    """The settings as compiled code takes them, see simulator.kernels.batches."""
    window = settings.volume_window if settings.volume_basis == "trailing" else 0
    costs = (*tariff(settings), *slipping(settings))
    row = np.array(
        (*costs, settings.participation, window, settings.limit_through_ticks, account.kind == "cash", account.leverage_max, tape.interval >= DAY),
        np.float64,
    )
    assert len(row) == batches.SETTINGS
    return row


class Market:
    """Trades orders against bars. Single orders go through the rules as Python, tables through the compiled form of the same rules."""

    # Whether single orders meet more here than compiled code knows.
    is_margined = False

    __slots__ = (
        "_lots",
        "_opened",
        "_pending",
        "cap",
        "cash",
        "cash_account",
        "close_cutoff",
        "columns",
        "daily",
        "equity",
        "gross",
        "here",
        "impact_window",
        "keeps_row",
        "knows_closes",
        "leverage_max",
        "open_cutoff",
        "open_orders",
        "opening",
        "pending",
        "portfolio",
        "restated",
        "row",
        "runs",
        "settings",
        "tape",
        "terms",
        "through_ticks",
        "trade_one",
        "used",
        "volume_window",
        "work_table",
    )

    def __init__(self, settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account) -> None:
        n = tape.width
        self.tape, self.portfolio, self.terms = tape, portfolio, [tuple(row) for row in tape.terms.tolist()]
        # The same for compiled code.
        self.columns = tape.terms
        self.pending, self.open_orders = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._pending, self._lots, self.restated = self.pending.data, portfolio.lots.data, portfolio.restated
        self._opened, self.trade_one = self.open_orders.data, direct(batches.trade_one, batches.TRADE_ONE)
        self.work_table, self.here = direct(batches.work, batches.WORK), np.empty((3, n), np.int64)
        # By instrument, for the row that is worked: lots that its volume still has for us, lots that we took, and how the position changed.
        self.used: dict[int, tuple[int, int, int]] = {}
        self.cash_account, self.leverage_max = account.kind == "cash", account.leverage_max
        self.settings = numbers(settings, tape, account)
        model, _, window = slipping(settings)
        self.impact_window = window if model == rules.SQUARE_ROOT else 0
        self.cap, self.through_ticks = settings.participation, float(settings.limit_through_ticks)
        self.volume_window = settings.volume_window if settings.volume_basis == "trailing" else 0
        # Where each bar is a session of its own, DAY orders end with the bar that they met.
        self.daily = tape.interval >= DAY
        self.knows_closes = self.daily
        # Whether the row that is worked has the opening auction; None: the first bar of a session has it.
        self.opening: bool | None = None
        self.open_cutoff, self.close_cutoff = round(settings.open_cutoff_seconds * SECOND), round(settings.close_cutoff_seconds * SECOND)
        # The waits of open orders that are over.
        self.runs: dict[int, list[Waited]] = {}
        # Only `same_close` comes back to a row that was worked already.
        self.keeps_row = settings.timing == "same_close"
        self.row = -1
        self.cash = self.equity = self.gross = 0.0

    def begin(self, row: int) -> None:
        """Before orders meet a row: the account stands as booked, and of a new row's volume nothing is taken."""
        portfolio = self.portfolio
        if row != self.row:
            self.row = row
            if self.used:
                self.used.clear()
        elif self.used:
            # Back in the same row: what was taken of it stays taken, and is booked by now.
            self.used = {i: (budget, taken, 0) for i, (budget, taken, _) in self.used.items()}
        self.cash = portfolio.cash
        self.equity, self.gross = portfolio.worth()

    def kept(self) -> Any:
        """Everything that trading in a row changes of the market, as it is now."""
        return self.cash, self.equity, self.gross, dict(self.used), self.pending.copy()

    def bring_back(self, kept: Any) -> None:
        """Make it as it was kept. The same can be brought back many times."""
        self.cash, self.equity, self.gross, used, pending = kept
        self.used = dict(used)
        self.pending[:] = pending

    def meet(self, orders: Sequence[Working], market_at: int, events: list[Event]) -> None:
        """These orders, oldest first, meet the row: fills by their moment in the bar, then what became of each. Done ones have none remaining."""
        tape = self.tape
        base, before = self.row * tape.width, self.row - 1
        at_market = tape.closes if market_at == rules.AT_CLOSE else tape.opens
        later: list[tuple[int, float, bool, int, Working]] = []
        for working in orders:
            k = base + working.instrument
            working.met = False
            if working.tif == rules.DAY:
                day = tape.days[self.row]
                if working.session < 0:
                    working.session = day
                elif working.session < day:
                    working.now = rules.SESSION_END
                    continue
            # A missing bar has NaN for its volume, too.
            if not tape.volumes[k] > 0.0:
                working.now = rules.idle(tape.closes[k], tape.volumes[k])
                continue
            working.met = True
            if working.kind == rules.MARKET:
                price, moment, taker, working.now = at_market[k], market_at, True, rules.FILLED
            else:
                price, moment, taker = self.match(working, k)
            if working.now == rules.FILLED:
                if moment == rules.AT_OPEN:
                    self.trade(working, k, price, taker, events)
                else:
                    later.append((moment, price, taker, k, working))
        if later:
            later.sort(key=lambda meeting: meeting[0])
            for _, price, taker, k, working in later:
                self.trade(working, k, price, taker, events)
        for working in orders:
            if working.remaining or working.until != before or working.reason or working.id in self.runs:
                self.look_back(working, events)

    def match(self, working: Working, k: int) -> tuple[float, int, bool]:
        """Where an order with a price of its own meets the bar at place *k* of the tape: (price, moment, is taker)."""
        tape = self.tape
        _, _, _, _, tick_up, tick_down = self.terms[working.instrument]
        price, moment, taker, working.triggered, working.now = rules.match(
            working.remaining,
            working.kind,
            working.limit,
            working.stop,
            working.triggered,
            rules.reach(working.remaining, working.limit, self.through_ticks, tick_up, tick_down),
            rules.AT_OPEN,
            tape.opens[k],
            tape.highs[k],
            tape.lows[k],
            tape.closes[k],
        )
        return price, moment, taker

    def fill_whole(self, orders: Sequence[Order], market_at: int, events: list[Event]) -> int:
        """Fill market orders that alone meet the row, and no bar before, oldest first, as long as each can be filled as a whole: how many were."""
        tape, filled = self.tape, 0
        base, at_market = self.row * tape.width, tape.closes if market_at == rules.AT_CLOSE else tape.opens
        for order in orders:
            i = order[1]
            k = base + i
            # A missing bar has NaN for its volume, too.
            if not tape.volumes[k] > 0.0 or self.fill(order[0], i, order[2], k, at_market[k], True, nan, UNFILLED, True, events)[0]:
                break
            self._opened[i] -= 1
            filled += 1
        return filled

    def trade(self, working: Working, k: int, price: float, taker: bool, events: list[Event]) -> None:
        """Fill as much of an order as the volume of the bar at place *k* of the tape and the account allow."""
        limit = working.limit if working.kind == rules.LIMIT or working.kind == rules.STOP_LIMIT else nan
        so_far, whole = (working.shares, working.notional, working.paid), working.tif == rules.FOK
        reason, traded, so_far = self.fill(working.id, working.instrument, working.remaining, k, price, taker, limit, so_far, whole, events)
        if reason:
            working.now, working.refused = reason, reason != rules.VOLUME_CAP
        if traded:
            working.shares, working.notional, working.paid = so_far
            working.remaining -= traded

    def fill(
        self,
        id: int,
        i: int,
        lots: int,
        k: int,
        price: float,
        taker: bool,
        limit: float,
        so_far: tuple[float, float, float],
        whole: bool,
        events: list[Event],
    ) -> tuple[int, int, tuple[float, float, float]]:
        """Fill *lots* of the instrument *i* as far as volume and account allow, or if *whole* all or none. Its bar is at place *k* of the tape.

        A *limit* bounds what it pays, NaN does not. *so_far* are the shares that the order has traded, for how much, and the commission that it paid.
        Returns (FILLED or why not all of it, the lots that traded, how far it is now).
        """
        tape, mark_row, (shares, notional, paid) = self.tape, self.portfolio.row, so_far
        volume = tape.volumes[k]
        basis = tapes.trailing_volume(tape.panel[4], i, self.row, self.volume_window) if self.volume_window else volume
        sigma = daily = nan
        if taker and self.impact_window:
            sigma, daily = tapes.trailing(tape.panel_days, tape.panel[3], tape.panel[4], i, self.row, self.impact_window)
        mark = tape.marked[mark_row * tape.width + i] if mark_row >= 0 else nan
        if self.restated:
            mark = self.restated.get(i, mark)
        budget, taken, change = self.used.get(i, UNTOUCHED)
        reason, traded, budget, got, due, value, so_far, (self.cash, self.equity, self.gross) = self.trade_one(
            i,
            lots,
            price,
            taker,
            limit,
            whole,
            shares,
            notional,
            paid,
            volume,
            basis,
            sigma,
            daily,
            budget,
            taken,
            self._lots[i] + change,
            mark,
            self.cash,
            self.equity,
            self.gross,
            self.columns,
            self.settings,
        )
        if traded:
            self.used[i] = budget, taken + abs(traded), change + traded
            self._pending[i] -= traded
            events.append(_new(Fill, (id, i, traded, got, value * (got - price) + 0.0, due, taker, False)))
        return reason, traded, so_far

    def look_back(self, working: Working, events: list[Event]) -> None:
        """What this bar means for an order that is not done, or that had waited: its wait goes on, changes or ends, and so may the order."""
        reason, row = working.now, self.row
        self.pass_over(working, row)
        over = reason == rules.SESSION_END or reason == rules.GOOD_TILL
        left = working.remaining + working.dormant
        waits = left != 0 and not working.refused and not over
        if working.reason and (not waits or reason != working.reason):
            self._note(working, row - 1)
        ending = rules.OPEN
        if waits:
            if not working.reason:
                working.reason, working.since = reason, row
            working.until = row
            ending = rules.ends_now(working.tif, working.met, working.session >= 0, self.daily)
            if working.conditions and working.conditions.until and self.tape.ats[row] >= working.conditions.until:
                ending = rules.EXPIRED
            if ending:
                self._note(working, row)
        elif working.refused:
            ending = rules.REJECTED
        elif over:
            ending = rules.EXPIRED
        if ending:
            self.empty(working)
        elif working.why_lost and not left:
            # What others took from it.
            ending, reason = rules.CANCELLED, working.why_lost
        if not (working.remaining or working.dormant):
            events += self.runs.pop(working.id, ())
        if ending:
            why = (rules.SESSION_END if working.tif == rules.DAY else rules.GOOD_TILL) if ending == rules.EXPIRED else reason
            events.append(Ended(working.id, working.instrument, left + working.lost, ending, why))

    def empty(self, working: Working) -> None:
        """Nothing of an order is left, nor on its way."""
        left, working.remaining, working.dormant = working.remaining, 0, 0
        if working.group:
            working.group.recount()
        else:
            self._pending[working.instrument] -= left

    def _note(self, working: Working, last: int) -> None:
        """A wait is over. Waits are told when the order leaves, so that it does not matter which bars were looked at."""
        ats = self.tape.ats
        wait = Waited(working.id, working.instrument, working.reason, ats[working.since], ats[last])
        self.runs.setdefault(working.id, []).append(wait)
        working.reason = rules.FILLED

    def pass_over(self, working: Working, row: int) -> None:
        """The bars before *row* that nobody looked at, since they did not reach its trigger: they did not touch it, or had no volume."""
        first = working.until + 1
        if first >= row:
            return
        volumes = self.tape.volume[first:row, working.instrument]
        reasons = np.where(volumes > 0.0, rules.NOT_TOUCHED, np.where(volumes < 0.0, rules.HALTED, rules.ZERO_VOLUME))
        edges = [0, *(np.flatnonzero(reasons[1:] != reasons[:-1]) + 1).tolist(), row - first]
        for start, end in pairwise(edges):
            reason = int(reasons[start])
            if working.reason and working.reason != reason:
                self._note(working, first + start - 1)
            if not working.reason:
                working.reason, working.since = reason, first + start
            working.until = first + end - 1

    def take_back(self, working: Working, row: int) -> list[Waited]:
        """The waits of an order that is taken back after *row*."""
        self.pass_over(working, row + 1)
        if working.reason:
            self._note(working, row)
        return self.runs.pop(working.id, [])

    def meet_table(self, table: Table, market_at: int, events: list[Event]) -> None:
        """The orders of a table meet the row in one compiled call; what is done leaves it."""
        tape, m = self.tape, table.count
        used = np.array([(i, *use) for i, use in self.used.items()], np.int64).T.copy() if self.used else NOTHING_USED
        fill_ints, fill_floats, notes = np.empty((4, m), np.int64), np.empty((3, m)), np.empty((6, 3 * m), np.int64)
        fills, noted, left = self.work_table(
            self.row,
            self.portfolio.row,
            market_at,
            tape.panel,
            tape.panel_days,
            self.columns,
            self.settings,
            table.ints,
            table.floats,
            self.portfolio.lots,
            used,
            self.here,
            self.pending,
            self.open_orders,
            self.cash,
            self.equity,
            self.gross,
            fill_ints,
            fill_floats,
            notes,
        )
        if fills:
            ids, instruments, lots, takers = fill_ints if fills == m else fill_ints[:, :fills]
            prices, slippages, commissions = fill_floats if fills == m else fill_floats[:, :fills]
            if self.keeps_row:
                _, budgets, taken = self.here
                self.used = {i: (int(budgets[i]), int(taken[i]), 0) for i in np.flatnonzero(taken).tolist()}
            events.append(FillBatch(ids, instruments, lots, prices, slippages, commissions, takers))
        ats = tape.ats
        for what, id, i, reason, first, last in notes[:, :noted].T.tolist() if noted else ():
            if what == batches.WAITED:
                self.runs.setdefault(id, []).append(Waited(id, i, reason, ats[first], ats[last]))
                continue
            events += self.runs.pop(id, ())
            if what != batches.DONE:
                events.append(Ended(id, i, first, what, reason))
        if left < m:
            table.hold(*((table.ints[:, :left], table.floats[:, :left]) if left else NO_ORDERS))
