"""Compiled runs: a strategy that is stated as arrays goes over its whole tape in one call, by the kernels that the loop calls bar by bar.

Each instant takes the steps of loop.session.step in their order: open orders meet the bars, fills are booked, values are marked, limits are watched,
the plan is read, orders are reviewed and accepted. What a run cannot decide for itself it leaves to the loop, and says so in its status.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np

from simulator.kernels.batches import (
    BASIS_WINDOW,
    CAP,
    CASH_ACCOUNT,
    FLOATS,
    ID,
    INSTRUMENT,
    INTS,
    KIND,
    LEVERAGE_MAX,
    REMAINING,
    SLIP_AMOUNT,
    SLIP_MODEL,
    SLIP_WINDOW,
    accept,
    billed,
    book,
    entries,
    hold,
    rebalance,
    review,
    tariff_of,
    work,
)
from simulator.kernels.charges import ACCRUES, CREDIT, WATCHED, accrued, accrued_alone, is_called, is_called_alone
from simulator.kernels.compiled import released, rule
from simulator.kernels.rules import AT_CLOSE, FILLED, MARKET, SQUARE_ROOT, VOLUME_SHARE, afford, after, budget, permit, size_of, slip, whole_lots
from simulator.kernels.tapes import LOT_DOWN, LOT_UP, MULTIPLIER, SIZE, impact_of, trailing_volume, worth

Array = Any
# Orders as columns: instruments, lots, kinds, times in force, limits, stops, and the instruments in which older ones are cancelled.
Proposed = tuple[Array, Array, Array, Array, Array, Array, Array]

# What a plan says: shares of equity at every bar, shares of equity to enter with, units to hold, or orders.
WEIGHTS, SIGNALS, HOLDINGS, ORDERS = 0, 1, 2, 3

# How a run ended: at the end of the tape, or where only the loop can tell what happens next.
DONE, CROWDED, UNCOUNTABLE, CALLED = 0, 1, 2, 3

# What halts a run, and what a halt does, as one row of numbers.
DRAWDOWN_MAX, DAILY_LOSS_MAX, ON_HALT, RESUME_AFTER = 0, 1, 2, 3
FREEZE, CANCEL, FLATTEN = 0, 1, 2

# What the watch remembers, as one row of numbers.
PEAK, FLOOR, LAST, DAY_FLOOR, TODAY, HALTED, SERVED, ACTING, WATCHES = 0, 1, 2, 3, 4, 5, 6, 7, 8
WATCH = 9

# The columns of an order list, and of fills: whole numbers, then prices and money.
AT_ROW, OF, LOTS, OF_KIND, OF_TIF = 0, 1, 2, 3, 4
FILL_ROW, FILL_ORDER, FILL_INSTRUMENT, FILL_LOTS, FILL_TAKER = 0, 1, 2, 3, 4

NO_QUOTA = 2**62

# In compiled code a number that is written out is a type of its own, for which numba would compile each kernel that it is given to once more.
whole: Any = np.int64
# A place that cannot be below 0, which Python would count from the end: nothing is to be looked up before it is used.
at: Any = np.uint64


@rule
def floor_of(equity: float, loss_max: float) -> float:
    """The equity below which a loss of the share *loss_max* is exceeded; an infinite share is never."""
    return equity * (1.0 - loss_max) if loss_max < inf else -inf


@rule
def begin_watch(cash: float, halts: Array) -> Array:
    """The watch before the first bar: the starting capital is the highest equity so far, and the end of the session before."""
    watch = np.zeros(WATCH)
    watch[PEAK] = watch[LAST] = cash
    watch[FLOOR], watch[DAY_FLOOR] = floor_of(cash, halts[DRAWDOWN_MAX]), floor_of(cash, halts[DAILY_LOSS_MAX])
    watch[TODAY] = -1.0
    watch[WATCHES] = 1.0 if halts[DRAWDOWN_MAX] < inf or halts[DAILY_LOSS_MAX] < inf else 0.0
    return watch


@rule
def look(watch: Array, halts: Array, day: int, equity: float) -> bool:
    """Watch one close, as RiskEngine.watch does: whether a halt began or ended with it."""
    daily = halts[DAILY_LOSS_MAX] < inf or halts[RESUME_AFTER] > 0.0
    if daily and day != watch[TODAY]:
        watch[TODAY] = day
        watch[DAY_FLOOR] = floor_of(watch[LAST], halts[DAILY_LOSS_MAX])
        if watch[HALTED] != 0.0:
            watch[SERVED] += 1.0
            if halts[RESUME_AFTER] > 0.0 and watch[SERVED] >= halts[RESUME_AFTER]:
                watch[HALTED] = 0.0
                watch[PEAK] = watch[LAST] = equity
                watch[FLOOR], watch[DAY_FLOOR] = floor_of(equity, halts[DRAWDOWN_MAX]), floor_of(equity, halts[DAILY_LOSS_MAX])
                return True
    watch[LAST] = equity
    if equity > watch[PEAK]:
        watch[PEAK] = equity
        watch[FLOOR] = floor_of(equity, halts[DRAWDOWN_MAX])
    elif not (equity >= watch[FLOOR]) and watch[HALTED] == 0.0:
        return halt(watch, halts)
    if daily and not (equity >= watch[DAY_FLOOR]) and watch[HALTED] == 0.0:
        return halt(watch, halts)
    return False


@rule
def halt(watch: Array, halts: Array) -> bool:
    """Trading stops."""
    watch[HALTED] = watch[ACTING] = 1.0
    watch[SERVED] = 0.0
    watch[WATCHES] = 1.0 if halts[RESUME_AFTER] > 0.0 else 0.0
    return True


@rule
def is_crowded(row: int, panel: Array, ints: Array) -> bool:
    """Whether two orders with prices of their own meet the bar of one instrument: their order in it is then a matter of its path."""
    priced = np.zeros(panel.shape[2], np.int64)
    for k in range(ints.shape[1]):
        i = ints[INSTRUMENT, k]
        if ints[KIND, k] != MARKET and panel[4, row, i] > 0.0:
            priced[i] += 1
            if priced[i] > 1:
                return True
    return False


@rule
def chosen(ints: Array, floats: Array, keep: Array) -> tuple[Array, Array]:
    """The orders of a working batch that are to stay."""
    n = 0
    for k in range(keep.shape[0]):
        n += keep[k]
    some_ints, some_floats = np.empty((INTS, n), np.int64), np.empty((FLOATS, n))
    n = 0
    for k in range(keep.shape[0]):
        if keep[k] != 0:
            some_ints[:, n], some_floats[:, n] = ints[:, k], floats[:, k]
            n += 1
    return some_ints, some_floats


@rule
def joined(ints: Array, floats: Array, more_ints: Array, more_floats: Array, m: int) -> tuple[Array, Array]:
    """A working batch with *m* orders behind it."""
    n = ints.shape[1]
    all_ints, all_floats = np.empty((INTS, n + m), np.int64), np.empty((FLOATS, n + m))
    all_ints[:, :n], all_floats[:, :n] = ints, floats
    all_ints[:, n:], all_floats[:, n:] = more_ints[:, :m], more_floats[:, :m]
    return all_ints, all_floats


@rule
def withdraw(ints: Array, floats: Array, instruments: Array, newer: int, pending: Array, open_orders: Array) -> tuple[Array, Array]:
    """Take back the orders older than *newer* in these instruments."""
    goes = np.zeros(pending.shape[0], np.int64)
    goes[instruments] = 1
    keep = np.ones(ints.shape[1], np.int64)
    for k in range(ints.shape[1]):
        i = ints[INSTRUMENT, k]
        if goes[i] != 0 and ints[ID, k] < newer:
            keep[k] = 0
            pending[i] -= ints[REMAINING, k]
            open_orders[i] -= 1
    return chosen(ints, floats, keep)


@rule
def grown(ints: Array, floats: Array, n: int, more: int) -> tuple[Array, Array]:
    """Room for *more* fills behind the first *n*."""
    size = max(n + more, 2 * ints.shape[1])
    wide_ints, wide_floats = np.empty((ints.shape[0], size), np.int64), np.empty((floats.shape[0], size))
    wide_ints[:, :n], wide_floats[:, :n] = ints[:, :n], floats[:, :n]
    return wide_ints, wide_floats


@rule
def worked(
    t: int,
    market_at: int,
    market: tuple[Array, Array, Array, Array],
    account: tuple[Array, Array, Array, Array],
    waiting: tuple[Array, Array],
    cash: float,
    ints: Array,
    floats: Array,
) -> tuple[float, Array, Array, Array, Array]:
    """Open orders meet a row, and what they traded is booked: (cash, the orders that are left, their prices and money, and fills as `run` has them).

    The *market* is panel, sessions, terms and settings; the *account* lots, sizes, averages and realised profits; *waiting* are the lots on their way
    and the open orders of each instrument.
    """
    panel, sessions, terms, settings = market
    lots, sizes, averages, realised = account
    m, width = ints.shape[1], panel.shape[2]
    value, gross = worth(cash, sizes, panel[5], t - 1)
    new_ints, new_floats, notes = np.empty((4, m), np.int64), np.empty((3, m)), np.empty((6, 3 * m), np.int64)
    orders = (ints, floats, lots, np.empty((4, 0), np.int64), np.empty((3, width), np.int64), waiting[0], waiting[1])
    found = (new_ints, new_floats, notes)
    fills, _, left = work(t, t - 1, market_at, panel, sessions, terms, settings, *orders, cash, value, gross, *found)
    if fills:
        of, traded, got, paid = new_ints[1, :fills], new_ints[2, :fills], new_floats[0, :fills], new_floats[2, :fills]
        cash = book(cash, lots, sizes, averages, realised, terms, of, traded, got, paid)
    fill_ints = np.empty((5, fills), np.int64)
    fill_ints[0] = t
    fill_ints[1:] = new_ints[:, :fills]
    return cash, ints[:, :left].copy(), floats[:, :left].copy(), fill_ints, new_floats[:, :fills].copy()


@rule
def read_orders(t: int, orders: Array, prices: Array, given: int) -> tuple[int, Proposed]:
    """The orders of an order list that are sent at a row, from the *given* one on: (how many are given then, and they)."""
    end = given
    while end < orders.shape[1] and orders[AT_ROW, end] == t:
        end += 1
    of, change = orders[OF, given:end].copy(), orders[LOTS, given:end].copy()
    kinds, tifs = orders[OF_KIND, given:end].copy(), orders[OF_TIF, given:end].copy()
    return end, (of, change, kinds, tifs, prices[0, given:end].copy(), prices[1, given:end].copy(), np.empty(0, np.int64))


@rule
def read_targets(
    t: int,
    form: int,
    wanted: Array,
    value: float,
    lots: Array,
    open_orders: Array,
    terms: Array,
    marks: Array,
) -> tuple[bool, Proposed]:
    """The market orders that bring holdings to what a plan's row asks for: (whether it can be counted in lots, and they)."""
    width = lots.shape[0]
    instruments, change, clears = np.empty(2 * width, np.int64), np.empty(2 * width, np.int64), np.empty(2 * width, np.int64)
    n, cleared = 0, 0
    if form == HOLDINGS:
        n, _ = hold(wanted, lots, open_orders, terms, instruments, change)
    else:
        shares = wanted if form == WEIGHTS else entries(wanted, lots)
        n, cleared = rebalance(shares, max(value, 0.0), lots, open_orders, terms, marks, t, instruments, change, clears)
    k, c = max(n, 0), max(cleared, 0) if n >= 0 else 0
    none, no_price = np.zeros(k, np.int64), np.full(k, nan)
    return n >= 0, (instruments[:k].copy(), change[:k].copy(), none, none, no_price, no_price, clears[:c].copy())


@rule
def foreseen(acting: bool, on_halt: float, lots: Array, pending: Array, open_orders: Array) -> tuple[Array, Array]:
    """What is on its way once a halt has done what it does: (lots by instrument, and the instruments whose positions it closes)."""
    on_the_way, closing = pending.copy(), np.empty(0, np.int64)
    if acting and on_halt != FREEZE:
        for i in range(lots.shape[0]):
            if open_orders[i] > 0:
                on_the_way[i] = 0
        if on_halt == FLATTEN:
            closing = np.flatnonzero(lots)
            on_the_way[closing] = -lots[closing]
    return on_the_way, closing


@released
def run(
    panel: Array,
    sessions: Array,
    terms: Array,
    settings: Array,
    market_at: int,
    maxima: Array,
    halts: Array,
    charges: Array,
    borrow: Array,
    cash: float,
    first: int,
    form: int,
    plan: Array,
    orders: Array,
    prices: Array,
) -> tuple[int, int, Array, Array, Array, Array]:
    """A whole run from the row *first* on: (status, the row that it stopped at, fills, their prices and money, equity, counts).

    For WEIGHTS, SIGNALS and HOLDINGS *plan* is (rows, instruments). For ORDERS *orders* are (5, n) whole numbers in the order of their rows, and
    *prices* their limits and stops, (2, n). Fills are (5, n) whole numbers, and (3, n) of price, slippage and commission. Counts are of the orders
    that were refused, and of the times that trading was halted or went on. *charges* are those of simulator.kernels.charges, with the yearly rate at
    which each instrument can be borrowed.
    """
    rows, width = panel.shape[1], panel.shape[2]
    marks, market = panel[5], (panel, sessions, terms, settings)
    lots, sizes = np.zeros(width, np.int64), np.zeros(width)
    account = (lots, sizes, np.zeros(width), np.zeros(width))
    pending, open_orders = np.zeros(width, np.int64), np.zeros(width, np.int64)
    everything = np.arange(width)
    ints, floats = np.empty((INTS, 0), np.int64), np.empty((FLOATS, 0))
    fill_ints, fill_floats = np.empty((5, 1024), np.int64), np.empty((3, 1024))
    equity, counts = np.empty(rows), np.zeros(2, np.int64)
    watch = begin_watch(cash, halts)
    status, stopped, filled, last_id, sequence, given = DONE, rows, 0, 0, 0, 0
    accrues, watched = charges[ACCRUES] != 0.0, charges[WATCHED] != 0.0
    for t in range(rows):
        if accrues and t > 0 and sessions[t] != sessions[t - 1]:
            cash = accrued(cash, sessions[t] - sessions[t - 1], lots, marks, t - 1, terms, charges, borrow)
        if ints.shape[1]:
            if form == ORDERS and is_crowded(t, panel, ints):
                status, stopped = CROWDED, t
                break
            cash, ints, floats, new_ints, new_floats = worked(t, market_at, market, account, (pending, open_orders), cash, ints, floats)
            fills = new_ints.shape[1]
            if filled + fills > fill_ints.shape[1]:
                fill_ints, fill_floats = grown(fill_ints, fill_floats, whole(filled), fills)
            fill_ints[:, filled : filled + fills], fill_floats[:, filled : filled + fills] = new_ints, new_floats
            filled += fills
        value, gross = worth(cash, sizes, marks, t)
        equity[t] = value
        if watched and is_called(value, gross, lots, marks, t, terms, charges):
            status, stopped = CALLED, t
            break
        if watch[WATCHES] != 0.0 and look(watch, halts, sessions[t], value):
            counts[1] += 1

        # What the strategy proposes.
        acting, countable = watch[ACTING] != 0.0, True
        if form == ORDERS:
            given, proposed = read_orders(t, orders, prices, given)
        elif t >= first:
            countable, proposed = read_targets(t, form, plan[t], value, lots, open_orders, terms, marks)
        elif not acting:
            continue
        else:
            _, proposed = read_orders(t, orders, prices, given)
        if not countable:
            status, stopped = UNCOUNTABLE, t
            break
        of, change, kinds, tifs, limits, stops, clears = proposed
        n = len(of)
        if n == 0 and len(clears) == 0 and not acting:
            continue
        ids = np.arange(last_id + 1, last_id + 1 + n)
        last_id += n

        # What a halt does itself comes first: the proposals are looked at as if it were done.
        on_the_way, closing = foreseen(acting, halts[ON_HALT], lots, pending, open_orders)
        reasons = np.empty(n, np.int64)
        halted = watch[HALTED] != 0.0
        refused, _ = review(of, change, clears, lots, on_the_way, terms, marks, t, value, maxima, halted, whole(NO_QUOTA), reasons)
        counts[0] += refused

        # What goes to the broker: cancels, what a halt closes, cancels for new targets, and new orders.
        watch[ACTING] = 0.0
        if acting and halts[ON_HALT] != FREEZE:
            ints, floats = withdraw(ints, floats, everything, last_id + 1, pending, open_orders)
            k = len(closing)
            none, no_price = np.zeros(k, np.int64), np.full(k, nan)
            sold = (np.arange(last_id + 1, last_id + 1 + k), closing, -lots[closing], none, no_price, no_price, none)
            ints, floats = taken_in(*sold, ints, floats, sequence + 1, terms, pending, open_orders)
            last_id, sequence = last_id + k, sequence + k
        sent = np.flatnonzero(reasons == FILLED)
        if form == ORDERS and settings[CASH_ACCOUNT] != 0.0:
            # What is sold can pay for what is bought.
            sent = np.concatenate((sent[change[sent] < 0], sent[change[sent] > 0]))
        if len(clears):
            ints, floats = withdraw(ints, floats, clears, ids[sent[0]] if len(sent) else last_id + 1, pending, open_orders)
        new = (ids[sent], of[sent], change[sent], kinds[sent], limits[sent], stops[sent], tifs[sent])
        ints, floats = taken_in(*new, ints, floats, sequence + 1, terms, pending, open_orders)
        sequence += len(sent)
    return status, stopped, fill_ints[:, :filled].copy(), fill_floats[:, :filled].copy(), equity, counts


@rule
def taken_in(
    ids: Array,
    instruments: Array,
    lots: Array,
    kinds: Array,
    limits: Array,
    stops: Array,
    tifs: Array,
    ints: Array,
    floats: Array,
    sequence: int,
    terms: Array,
    pending: Array,
    open_orders: Array,
) -> tuple[Array, Array]:
    """A working batch with these orders behind it, those apart that have no prices to stand at."""
    n = ids.shape[0]
    more_ints, more_floats, bad = np.empty((INTS, n), np.int64), np.empty((FLOATS, n)), np.empty(n, np.int64)
    m, _ = accept(ids, instruments, lots, kinds, limits, stops, tifs, sequence, terms, pending, open_orders, more_ints, more_floats, bad)
    return joined(ints, floats, more_ints, more_floats, m)


# Bars that are looked at together in the search for the next one that matters.
STRIDE = 16


@rule
def passed(plan: Array, has: float, row: int, cash: float, worth_of: float, marks: Array, equity: Array) -> int:
    """Note equity from *row* on, up to the row at which a plan asks for something else than there is; the number of rows where none does.

    Bars are taken several at a time, with no way out in between: so the compiler makes vector instructions of them, and the processor has less to
    guess. What is noted of rows beyond the one that is returned means nothing.
    """
    rows = plan.shape[0]
    while row + STRIDE <= rows:
        if has != 0.0:
            for k in range(STRIDE):
                equity[at(row + k)] = cash + worth_of * marks[at(row + k)]
        else:
            for k in range(STRIDE):
                equity[at(row + k)] = cash
        changes = 0
        for k in range(STRIDE):
            changes += int(plan[at(row + k)] < has) | int(plan[at(row + k)] > has)
        if changes != 0:
            break
        row += STRIDE
    while row < rows and (plan[row] == has or not plan[row] == plan[row]):
        equity[row] = cash + worth_of * marks[row] if has != 0.0 else cash
        row += 1
    return row


@rule
def looked_over(
    row: int,
    end: int,
    cash: float,
    held: int,
    worth_of: float,
    size: float,
    sessions: Array,
    marks: Array,
    charges: Array,
    borrow: Array,
    equity: Array,
) -> tuple[float, int, int]:
    """Note equity from *row* up to *end*, where nothing trades, with what accrues: (cash, the row that it came to, and CALLED if margin is short)."""
    for t in range(row, end):
        if charges[ACCRUES] != 0.0 and t > 0 and sessions[t] != sessions[t - 1]:
            cash = accrued_alone(cash, sessions[t] - sessions[t - 1], worth_of, marks[t - 1], charges, borrow)
        exposed = worth_of * marks[t] if held != 0 else 0.0
        value = cash + exposed if held != 0 else cash
        equity[t] = value
        if charges[WATCHED] != 0.0 and is_called_alone(value, abs(exposed), held, size, marks[t], charges):
            return cash, t, CALLED
    return cash, end, DONE


@released
def run_single(
    panel: Array,
    sessions: Array,
    terms: Array,
    settings: Array,
    market_at: int,
    maxima: Array,
    halts: Array,
    charges: Array,
    borrow: Array,
    cash: float,
    first: int,
    plan: Array,
) -> tuple[int, int, Array, Array, Array, Array]:
    """`run` for HOLDINGS of one instrument, where one order at most is open: *plan* is (rows,). The same result in a twentieth of the time."""
    rows = panel.shape[1]
    # One after another in memory, and known to be: then a stretch without orders is a vector instruction for several bars.
    columns = panel.reshape((panel.shape[0], rows))
    opens, closes, volumes, marks = columns[0], columns[3], columns[4], columns[5]
    at_market = closes if market_at == AT_CLOSE else opens
    up, down, multiplier, size = terms[0, LOT_UP], terms[0, LOT_DOWN], terms[0, MULTIPLIER], terms[0, SIZE]
    cap, window = settings[CAP], int(settings[BASIS_WINDOW])
    cash_account = settings[CASH_ACCOUNT] != 0.0
    model, amount, slip_window, tariff = int(settings[SLIP_MODEL]), settings[SLIP_AMOUNT], int(settings[SLIP_WINDOW]), tariff_of(settings)
    fill_ints, fill_floats = np.empty((5, 1024), np.int64), np.empty((3, 1024))
    equity, counts = np.empty(rows), np.zeros(2, np.int64)
    watch = begin_watch(cash, halts)
    status, stopped, filled, last_id = DONE, rows, 0, 0
    accrues, watched = charges[ACCRUES] != 0.0, charges[WATCHED] != 0.0
    looked_at = accrues or watched
    held, remaining, order = 0, 0, 0
    shares, notional, paid = 0.0, 0.0, 0.0
    worth_of = 0.0
    average, realised = 0.0, 0.0
    t = 0
    while t < rows:
        if remaining == 0 and watch[WATCHES] == 0.0:
            # Nothing is open and nothing watched: on to the next close that asks for something else.
            end = t
            while end < first and end < rows:
                equity[end] = cash
                end += 1
            end = passed(plan, size_of(held, up, down, 1.0), end, cash, worth_of, marks, equity)
            if looked_at and (held < 0 or not cash > 0.0 or charges[CREDIT] != 0.0):
                cash, end, status = looked_over(t, end, cash, held, worth_of, size, sessions, marks, charges, borrow, equity)
            t = end
            if t == rows or status != DONE:
                stopped = t
                break
        if accrues and t > 0 and sessions[t] != sessions[t - 1]:
            cash = accrued_alone(cash, sessions[t] - sessions[t - 1], worth_of, marks[t - 1], charges, borrow)
        volume = volumes[t]
        if remaining != 0 and volume > 0.0:
            basis = trailing_volume(panel[4], whole(0), t, window) if window > 0 else volume
            take = min(abs(remaining), budget(basis, cap, up, down))
            if take > 0:
                traded = take if remaining > 0 else -take
                price, bill = at_market[t], (shares, notional, paid)
                share, sigma, days = nan, nan, nan
                if model == VOLUME_SHARE:
                    share = size_of(take, up, down, 1.0) / volume
                elif model == SQUARE_ROOT:
                    sigma, days = impact_of(sessions, panel, whole(0), t, slip_window, size_of(take, up, down, 1.0))
                got = slip(price, traded > 0, False, nan, model, amount, share, sigma, days)
                due, value, shares_then, notional_then = billed(traded, got, bill, up, down, multiplier, tariff)
                mark = marks[t - 1]
                verdict, _, _ = afford(
                    cash_account,
                    settings[LEVERAGE_MAX],
                    held,
                    traded,
                    worth_of,
                    size_of(held + traded, up, down, multiplier),
                    value,
                    got,
                    due,
                    mark,
                    cash,
                    cash + worth_of * mark if held != 0 else cash,
                    abs(worth_of * mark) if held != 0 else 0.0,
                )
                if verdict != FILLED:
                    remaining = 0
                else:
                    shares, notional, paid = shares_then, notional_then, paid + due
                    remaining -= traded
                    cash = cash - value * got - due
                    held, average, realised = after(held, average, realised, traded, got, size)
                    worth_of = size_of(held, up, down, multiplier)
                    if filled == fill_ints.shape[1]:
                        fill_ints, fill_floats = grown(fill_ints, fill_floats, whole(filled), whole(1))
                    fill_ints[FILL_ROW, filled], fill_ints[FILL_ORDER, filled], fill_ints[FILL_INSTRUMENT, filled] = t, order, 0
                    fill_ints[FILL_LOTS, filled], fill_ints[FILL_TAKER, filled] = traded, 1
                    fill_floats[0, filled], fill_floats[1, filled], fill_floats[2, filled] = got, value * (got - price) + 0.0, due
                    filled += 1
        mark = marks[t]
        exposed = worth_of * mark if held != 0 else 0.0
        value = cash + exposed if held != 0 else cash
        equity[t] = value
        if watched and is_called_alone(value, abs(exposed), held, size, mark, charges):
            status, stopped = CALLED, t
            break
        if watch[WATCHES] != 0.0 and look(watch, halts, sessions[t], value):
            counts[1] += 1
        change = 0
        if t >= first and remaining == 0 and plan[t] == plan[t]:
            if not abs(plan[t] * down / up) < 9.0e18:
                status, stopped = UNCOUNTABLE, t
                break
            change = whole_lots(plan[t], up, down) - held
        if change != 0:
            last_id += 1
            # A halt that closes the position leaves nothing that could be added to or reduced.
            closing = watch[ACTING] != 0.0 and halts[ON_HALT] == FLATTEN
            seen = 0 if closing else held
            exposed = seen * size * mark if mark > 0.0 else 0.0
            reason, _, _ = permit(
                change,
                seen,
                mark,
                size,
                abs(exposed),
                exposed,
                value,
                maxima[0],
                maxima[1],
                maxima[2],
                maxima[3],
                maxima[4],
                watch[HALTED] != 0.0,
            )
            if reason == FILLED:
                remaining, order = change, last_id
                shares, notional, paid = 0.0, 0.0, 0.0
            else:
                counts[0] += 1
        if watch[ACTING] != 0.0:
            watch[ACTING] = 0.0
            if halts[ON_HALT] != FREEZE and change == 0:
                remaining = 0
            if halts[ON_HALT] == FLATTEN and held != 0:
                last_id += 1
                remaining, order = -held, last_id
                shares, notional, paid = 0.0, 0.0, 0.0
        t += 1
    return status, stopped, fill_ints[:, :filled].copy(), fill_floats[:, :filled].copy(), equity, counts
