"""Compiled batches: many orders reviewed, accepted, worked and booked in one call, by the rules that the loop runs as Python.

An order batch that the broker works is two tables, one column an order: `ints` and `floats`, with the rows named below.
"""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np

from simulator.kernels.compiled import compiled, rule
from simulator.kernels.rules import (
    AT_CLOSE,
    AT_OPEN,
    BAD_PRICE,
    DAY,
    EXPIRED,
    FILLED,
    FOK,
    INSIDE,
    LIMIT,
    NO_SLIPPAGE,
    OPEN,
    RATE,
    REJECTED,
    SESSION_END,
    SQUARE_ROOT,
    STOP_LIMIT,
    VOLUME_CAP,
    afford,
    after,
    budget,
    ends_now,
    fee,
    idle,
    match,
    permit,
    place,
    reach,
    reduces,
    size_of,
    slip,
    whole_lots,
)
from simulator.kernels.tapes import LOT_DOWN, LOT_UP, MULTIPLIER, SIZE, TICK_DOWN, TICK_UP, exposure, in_days, trailing, trailing_volume

Array = Any

# Rows of a working batch: whole numbers, then prices and money.
ID, INSTRUMENT, REMAINING, KIND, TIF, TRIGGERED, REASON, SINCE, SESSION, SEQUENCE, WANTED, HAS_WAITED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
INTS = 12
AT_LIMIT, AT_STOP, SHARES, NOTIONAL, PAID = 0, 1, 2, 3, 4
FLOATS = 5

# What one row says of each order, while it is worked.
WHY, MOMENT, TAKER, MET, REFUSED = 0, 1, 2, 3, 4
LOOKS = 5

# The broker's settings, as one row of numbers.
PER_SHARE, PER_ORDER, FEE_RATE, LEAST, MOST, CENTS, SLIP_MODEL, SLIP_AMOUNT, SLIP_WINDOW, CAP, BASIS_WINDOW, THROUGH_TICKS = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
)
CASH_ACCOUNT, LEVERAGE_MAX, DAILY = 12, 13, 14
SETTINGS = 15

# What is noted of an order after a bar: that a wait ended, that it is filled after all its waits, or (by the codes of an ending) how it ended.
WAITED, DONE = 0, 5


@compiled
def rebalance(
    weights: Array,
    equity: float,
    lots: Array,
    open_orders: Array,
    terms: Array,
    marks: Array,
    row: int,
    instruments: Array,
    wanted: Array,
    clears: Array,
) -> tuple[int, int]:
    """Whole lots that bring holdings to *weights* of equity, sells first: fills in columns, returns how many orders and how many clears.

    Columns have room for twice as many orders as there are instruments. A weight that gives no countable number of lots is reported as (-1, its
    instrument).
    """
    width = weights.shape[0]
    sells, buys, cleared = 0, width, 0
    for i in range(width):
        weight = weights[i]
        if weight != weight:
            continue
        if open_orders[i] > 0:
            clears[cleared] = i
            cleared += 1
        change = -lots[i]
        if weight != 0.0:
            price = marks[row, i]
            if not price > 0.0:
                continue
            exact = equity * weight / (price * terms[i, SIZE])
            if not abs(exact) < 9.0e18:
                return -1, i
            change += int(exact)
        if change < 0:
            instruments[sells] = i
            wanted[sells] = change
            sells += 1
        elif change > 0:
            instruments[buys] = i
            wanted[buys] = change
            buys += 1
    for k in range(width, buys):
        instruments[sells + k - width] = instruments[k]
        wanted[sells + k - width] = wanted[k]
    return sells + buys - width, cleared


REBALANCE = "float64[::1], float64, int64[::1], int64[::1], float64[:, ::1], float64[:, ::1], int64, int64[::1], int64[::1], int64[::1]"


@rule
def entries(weights: Array, lots: Array) -> Array:
    """The weights of what is to change sides, long, short or out; NaN for what is on its side already."""
    out = np.empty(weights.shape[0])
    for i in range(weights.shape[0]):
        side = 1 if weights[i] > 0.0 else (-1 if weights[i] < 0.0 else 0)
        held = 1 if lots[i] > 0 else (-1 if lots[i] < 0 else 0)
        out[i] = nan if side == held else weights[i]
    return out


@compiled
def hold(quantities: Array, lots: Array, open_orders: Array, terms: Array, instruments: Array, wanted: Array) -> tuple[int, int]:
    """Market orders that bring holdings to *quantities* in units where nothing is open, sells first: (how many, no instrument).

    A quantity that gives no countable number of lots is reported as (-1, its instrument).
    """
    n = 0
    for side in range(2):
        for i in range(quantities.shape[0]):
            quantity = quantities[i]
            if quantity != quantity or open_orders[i] > 0:
                continue
            if not abs(quantity * terms[i, LOT_DOWN] / terms[i, LOT_UP]) < 9.0e18:
                return -1, i
            change = whole_lots(quantity, terms[i, LOT_UP], terms[i, LOT_DOWN]) - lots[i]
            if (side == 0 and change < 0) or (side == 1 and change > 0):
                instruments[n] = i
                wanted[n] = change
                n += 1
    return n, -1


@compiled
def review(
    instruments: Array,
    wanted: Array,
    clears: Array,
    lots: Array,
    pending: Array,
    terms: Array,
    marks: Array,
    row: int,
    equity: float,
    limits: Array,
    halted: bool,
    quota: int,
    reasons: Array,
) -> tuple[int, int]:
    """The rule `permit` on each order of a batch in turn, and at most *quota* that are no exits: (how many were refused, how many counted).

    Where there is no such instrument, -1 were refused.
    """
    for column in (instruments, clears):
        for k in range(column.shape[0]):
            if column[k] < 0 or column[k] >= lots.shape[0]:
                return -1, 0
    waiting = pending.copy()
    for k in range(clears.shape[0]):
        waiting[clears[k]] = 0
    gross, net = exposure(lots, waiting, terms, marks, row)
    refused = 0
    counted = 0
    for k in range(instruments.shape[0]):
        i = instruments[k]
        held = lots[i] + waiting[i]
        before = gross, net
        reason, gross, net = permit(
            wanted[k], held, marks[row, i], terms[i, SIZE], gross, net, equity, limits[0], limits[1], limits[2], limits[3], limits[4], halted
        )
        if reason == FILLED and not reduces(held, wanted[k]):
            if counted == quota:
                reason = RATE
                gross, net = before
            else:
                counted += 1
        reasons[k] = reason
        if reason == FILLED:
            waiting[i] += wanted[k]
        else:
            refused += 1
    return refused, counted


@compiled
def review_one(
    i: int, wanted: int, row: int, equity: float, lots: Array, pending: Array, terms: Array, marks: Array, limits: Array, halted: bool
) -> int:
    """The rule `permit` on one order for *wanted* lots of the instrument *i*: FILLED, the reason against it, or -1: there is no such instrument."""
    if i < 0 or i >= lots.shape[0]:
        return -1
    gross, net = exposure(lots, pending, terms, marks, row)
    reason, _, _ = permit(
        wanted,
        lots[i] + pending[i],
        marks[row, i],
        terms[i, SIZE],
        gross,
        net,
        equity,
        limits[0],
        limits[1],
        limits[2],
        limits[3],
        limits[4],
        halted,
    )
    return reason


REVIEW_ONE = "int64, int64, int64, float64, int64[::1], int64[::1], float64[:, ::1], float64[:, ::1], float64[::1], boolean"


@compiled
def accept(
    ids: Array,
    instruments: Array,
    lots: Array,
    kinds: Array,
    limits: Array,
    stops: Array,
    tifs: Array,
    sequence: int,
    terms: Array,
    pending: Array,
    open_orders: Array,
    ints: Array,
    floats: Array,
    rejected: Array,
) -> tuple[int, int]:
    """Fill a working batch from columns, prices on the grid: (how many were accepted, how many rejected)."""
    n = 0
    bad = 0
    for k in range(ids.shape[0]):
        i = instruments[k]
        limit, stop, reason = place(lots[k], kinds[k], limits[k], stops[k], terms[i, TICK_UP], terms[i, TICK_DOWN])
        if reason == BAD_PRICE:
            rejected[bad] = k
            bad += 1
            continue
        for r in range(INTS):
            ints[r, n] = 0
        for r in range(FLOATS):
            floats[r, n] = 0.0
        ints[ID, n] = ids[k]
        ints[INSTRUMENT, n] = i
        ints[REMAINING, n] = lots[k]
        ints[WANTED, n] = lots[k]
        ints[KIND, n] = kinds[k]
        ints[TIF, n] = tifs[k]
        ints[SESSION, n] = -1
        ints[SEQUENCE, n] = sequence + k
        floats[AT_LIMIT, n] = limit
        floats[AT_STOP, n] = stop
        pending[i] += lots[k]
        open_orders[i] += 1
        n += 1
    return n, bad


@compiled
def work(
    row: int,
    mark_row: int,
    market_at: int,
    panel: Array,
    sessions: Array,
    terms: Array,
    settings: Array,
    ints: Array,
    floats: Array,
    lots: Array,
    used: Array,
    here: Array,
    pending: Array,
    open_orders: Array,
    cash: float,
    equity: float,
    gross: float,
    fill_ints: Array,
    fill_floats: Array,
    notes: Array,
) -> tuple[int, int, int]:
    """Match a working batch, in order of acceptance, against one row: (how many fills, how many notes, how many orders are left).

    Fills come in order of their moment in the bar, then of acceptance. Orders that are done leave the tables, which close up in place.
    Of this row the volume was *used* already: columns of instrument, lots that are still to be had, lots that were taken, and how the position
    changed. *here* is room for three rows of an instrument each: lots held by now, lots still to be had (-1: not yet asked), and lots taken. Values
    are taken at the marks of mark_row.
    """
    held, budgets, taken = here[0], here[1], here[2]
    for i in range(lots.shape[0]):
        held[i], budgets[i], taken[i] = lots[i], -1, 0
    for k in range(used.shape[1]):
        i = used[0, k]
        held[i], budgets[i], taken[i] = held[i] + used[3, k], used[1, k], used[2, k]
    looks, prices = np.zeros((LOOKS, ints.shape[1]), np.int64), np.empty(ints.shape[1])
    meet_row(row, market_at, panel, sessions, terms, settings, ints, floats, looks, prices)
    account = (cash, equity, gross)
    n = trade_row(
        row, mark_row, panel, sessions, terms, settings, ints, floats, held, pending, budgets, taken, account, looks, prices, fill_ints, fill_floats
    )
    noted, kept = look_back(row, sessions, settings, ints, floats, pending, open_orders, looks, notes)
    return n, noted, kept


WORK = (
    "int64, int64, int64, float64[:, :, ::1], int64[::1], float64[:, ::1], float64[::1], int64[:, ::1], float64[:, ::1], int64[::1], int64[:, ::1], "
    "int64[:, ::1], int64[::1], int64[::1], float64, float64, float64, int64[:, ::1], float64[:, ::1], int64[:, ::1]"
)


@rule
def meet_row(
    row: int,
    market_at: int,
    panel: Array,
    sessions: Array,
    terms: Array,
    settings: Array,
    ints: Array,
    floats: Array,
    looks: Array,
    prices: Array,
) -> None:
    """Where each order meets the row: its price and moment if it can trade, else why not."""
    for k in range(ints.shape[1]):
        looks[MOMENT, k] = -1
        i = ints[INSTRUMENT, k]
        close = panel[3, row, i]
        if ints[SESSION, k] < 0:
            ints[SESSION, k] = sessions[row]
        if ints[TIF, k] == DAY and ints[SESSION, k] < sessions[row]:
            looks[WHY, k] = SESSION_END
            continue
        if not panel[4, row, i] > 0.0:
            looks[WHY, k] = idle(close, panel[4, row, i])
            continue
        looks[MET, k] = 1
        reached = reach(ints[REMAINING, k], floats[AT_LIMIT, k], settings[THROUGH_TICKS], terms[i, TICK_UP], terms[i, TICK_DOWN])
        price, moment, taker, triggered, reason = match(
            ints[REMAINING, k],
            ints[KIND, k],
            floats[AT_LIMIT, k],
            floats[AT_STOP, k],
            ints[TRIGGERED, k] != 0,
            reached,
            market_at,
            panel[0, row, i],
            panel[1, row, i],
            panel[2, row, i],
            close,
        )
        ints[TRIGGERED, k] = 1 if triggered else 0
        looks[WHY, k] = reason
        if reason == FILLED:
            prices[k] = price
            looks[MOMENT, k] = moment
            looks[TAKER, k] = 1 if taker else 0


@rule
def tariff_of(settings: Array) -> tuple[float, float, float, float, float, bool]:
    """The numbers of a commission: per share, per order, rate, minimum, maximum, and whether it is in whole cents."""
    return settings[PER_SHARE], settings[PER_ORDER], settings[FEE_RATE], settings[LEAST], settings[MOST], settings[CENTS] != 0.0


@rule
def billed(
    traded: int,
    price: float,
    bill: tuple[float, float, float],
    up: float,
    down: float,
    multiplier: float,
    tariff: tuple[float, float, float, float, float, bool],
) -> tuple[float, float, float, float]:
    """What a fill puts on the bill of its order: (commission due, value at a price of 1, shares and notional of the order by now)."""
    take = abs(traded)
    shares = bill[0] + size_of(take, up, down, 1.0)
    notional = bill[1] + size_of(take, up, down, multiplier) * price
    due = fee(shares, notional, bill[2], tariff[0], tariff[1], tariff[2], tariff[3], tariff[4], tariff[5])
    return due, size_of(traded, up, down, multiplier), shares, notional


@rule
def market_of(settings: Array) -> tuple[tuple[float, float, float, float, float, bool], int, float, float, bool, float]:
    """The numbers that a fill goes by: the tariff, model and amount of slippage, our share of the volume, whether it is a cash account, leverage."""
    cash_account, leverage = settings[CASH_ACCOUNT] != 0.0, settings[LEVERAGE_MAX]
    return tariff_of(settings), int(settings[SLIP_MODEL]), settings[SLIP_AMOUNT], settings[CAP], cash_account, leverage


@rule
def traded_of(
    lots: int,
    price: float,
    taker: bool,
    limit: float,
    whole: bool,
    bill: tuple[float, float, float],
    offer: tuple[float, float, float, float, int, int],
    held: int,
    mark: float,
    account: tuple[float, float, float],
    lot: tuple[float, float, float],
    market: tuple[tuple[float, float, float, float, float, bool], int, float, float, bool, float],
) -> tuple[int, int, int, float, float, float, tuple[float, float, float], tuple[float, float, float]]:
    """How many of an order's *lots* trade at the bar's *price*, or if *whole* all or none, as far as volume and account allow, and for what.

    A *limit* bounds what it pays, NaN does not. The *bill* of the order so far is its shares, its notional, and the commission it has paid. The
    *offer* is the bar's volume, the basis that our share is taken of, what `trailing` knows of volatility and daily volume where slippage asks for
    it, and the lots that the volume still has for us (-1: not yet asked) and gave. *held* is the position by now, the *account* cash, equity and
    gross exposure, the *lot* its terms. Returns (FILLED or why not all trades, lots that trade, lots that the volume still has, price after
    slippage, commission, value at a price of 1, the bill, the account).
    """
    up, down, multiplier = lot
    tariff, model, amount, cap, cash_account, leverage = market
    cash, equity, gross = account
    volume, basis, sigma, daily, left, taken = offer
    if left < 0:
        left = budget(basis, cap, up, down)
    take = min(abs(lots), left)
    reason = FILLED if take == abs(lots) else VOLUME_CAP
    if take == 0 or (whole and reason != FILLED):
        return reason, 0, left, nan, nan, nan, bill, account
    traded, got = take if lots > 0 else -take, price
    if taker and model != NO_SLIPPAGE:
        share = size_of(taken + take, up, down, 1.0) / volume
        sigma, days = in_days(sigma, daily, size_of(take, up, down, 1.0))
        got = slip(price, lots > 0, limit == limit, limit, model, amount, share, sigma, days)
    due, value, shares, notional = billed(traded, got, bill, up, down, multiplier, tariff)
    size, size_then = size_of(held, up, down, multiplier), size_of(held + traded, up, down, multiplier)
    verdict, equity, gross = afford(cash_account, leverage, held, traded, size, size_then, value, got, due, mark, cash, equity, gross)
    if verdict != FILLED:
        return verdict, 0, left, nan, nan, nan, bill, account
    return reason, traded, left - take, got, due, value, (shares, notional, bill[2] + due), (cash - value * got - due, equity, gross)


@rule
def trade_row(
    row: int,
    mark_row: int,
    panel: Array,
    sessions: Array,
    terms: Array,
    settings: Array,
    ints: Array,
    floats: Array,
    held: Array,
    pending: Array,
    budgets: Array,
    taken: Array,
    account: tuple[float, float, float],
    looks: Array,
    prices: Array,
    fill_ints: Array,
    fill_floats: Array,
) -> int:
    """Fill what can trade, as far as the row's volume and the account (cash, equity, gross exposure) allow: how many fills."""
    market = market_of(settings)
    slips, trails = int(settings[SLIP_MODEL]) == SQUARE_ROOT, settings[BASIS_WINDOW] > 0.0
    n = 0
    for moment in (AT_OPEN, INSIDE, AT_CLOSE):
        for k in range(ints.shape[1]):
            if looks[MOMENT, k] != moment:
                continue
            i = ints[INSTRUMENT, k]
            price, volume, taker = prices[k], panel[4, row, i], looks[TAKER, k] != 0
            basis, sigma, daily = volume, nan, nan
            if trails and budgets[i] < 0:
                basis = trailing_volume(panel[4], i, row, int(settings[BASIS_WINDOW]))
            if slips and taker:
                sigma, daily = trailing(sessions, panel[3], panel[4], i, row, int(settings[SLIP_WINDOW]))
            limit = floats[AT_LIMIT, k] if ints[KIND, k] == LIMIT or ints[KIND, k] == STOP_LIMIT else nan
            bill, lot = (floats[SHARES, k], floats[NOTIONAL, k], floats[PAID, k]), (terms[i, LOT_UP], terms[i, LOT_DOWN], terms[i, MULTIPLIER])
            reason, traded, budgets[i], got, due, value, bill, account = traded_of(
                ints[REMAINING, k],
                price,
                taker,
                limit,
                ints[TIF, k] == FOK,
                bill,
                (volume, basis, sigma, daily, budgets[i], taken[i]),
                held[i],
                panel[5, mark_row, i] if mark_row >= 0 else nan,
                account,
                lot,
                market,
            )
            if reason != FILLED:
                looks[WHY, k] = reason
                looks[REFUSED, k] = 0 if reason == VOLUME_CAP else 1
            if traded == 0:
                continue
            taken[i] += abs(traded)
            held[i] += traded
            floats[SHARES, k], floats[NOTIONAL, k], floats[PAID, k] = bill
            ints[REMAINING, k] -= traded
            pending[i] -= traded
            fill_ints[0, n], fill_ints[1, n], fill_ints[2, n], fill_ints[3, n] = ints[ID, k], i, traded, looks[TAKER, k]
            fill_floats[0, n], fill_floats[1, n], fill_floats[2, n] = got, value * (got - price) + 0.0, due
            n += 1
    return n


@compiled
def trade_one(
    i: int,
    lots: int,
    price: float,
    taker: bool,
    limit: float,
    whole: bool,
    shares: float,
    notional: float,
    paid: float,
    volume: float,
    basis: float,
    sigma: float,
    daily: float,
    left: int,
    taken: int,
    held: int,
    mark: float,
    cash: float,
    equity: float,
    gross: float,
    terms: Array,
    settings: Array,
) -> tuple[int, int, int, float, float, float, tuple[float, float, float], tuple[float, float, float]]:
    """`traded_of` for one order alone."""
    bill, account, lot = (shares, notional, paid), (cash, equity, gross), (terms[i, LOT_UP], terms[i, LOT_DOWN], terms[i, MULTIPLIER])
    offer = volume, basis, sigma, daily, left, taken
    return traded_of(lots, price, taker, limit, whole, bill, offer, held, mark, account, lot, market_of(settings))


TRADE_ONE = (
    "int64, int64, float64, boolean, float64, boolean, float64, float64, float64, float64, float64, float64, float64, int64, int64, int64, float64, "
    "float64, float64, float64, float64[:, ::1], float64[::1]"
)


@rule
def note(notes: Array, noted: int, what: int, order: int, i: int, reason: int, first: int, last: int) -> int:
    """Write one note; how many there are by now."""
    notes[0, noted], notes[1, noted], notes[2, noted], notes[3, noted], notes[4, noted], notes[5, noted] = what, order, i, reason, first, last
    return noted + 1


@rule
def look_back(
    row: int,
    sessions: Array,
    settings: Array,
    ints: Array,
    floats: Array,
    pending: Array,
    open_orders: Array,
    looks: Array,
    notes: Array,
) -> tuple[int, int]:
    """What the row means for orders that are not done, or that had waited: (how many notes, how many orders are left)."""
    noted = 0
    kept = 0
    for k in range(ints.shape[1]):
        i = ints[INSTRUMENT, k]
        left = ints[REMAINING, k]
        reason = looks[WHY, k]
        over = reason == SESSION_END
        waits = left != 0 and looks[REFUSED, k] == 0 and not over
        # What it waited for until this bar, if that is over.
        if ints[REASON, k] != FILLED and (not waits or reason != ints[REASON, k]):
            noted = note(notes, noted, WAITED, ints[ID, k], i, ints[REASON, k], ints[SINCE, k], row - 1)
            ints[REASON, k] = FILLED
            ints[HAS_WAITED, k] = 1
        ending = OPEN
        if waits:
            if ints[REASON, k] == FILLED:
                ints[REASON, k] = reason
                ints[SINCE, k] = row
            ending = ends_now(ints[TIF, k], looks[MET, k] != 0, ints[SESSION, k] >= 0, settings[DAILY] != 0.0)
            if ending != OPEN:
                noted = note(notes, noted, WAITED, ints[ID, k], i, reason, ints[SINCE, k], row)
        elif looks[REFUSED, k] != 0:
            ending = REJECTED
        elif over:
            ending = EXPIRED
        if ending != OPEN:
            noted = note(notes, noted, ending, ints[ID, k], i, SESSION_END if ending == EXPIRED else reason, left, 0)
        elif left == 0 and ints[HAS_WAITED, k] != 0:
            noted = note(notes, noted, DONE, ints[ID, k], i, FILLED, 0, 0)
        if ending != OPEN or left == 0:
            pending[i] -= left
            open_orders[i] -= 1
            continue
        if kept != k:
            for r in range(INTS):
                ints[r, kept] = ints[r, k]
            for r in range(FLOATS):
                floats[r, kept] = floats[r, k]
        kept += 1
    return noted, kept


@compiled
def book(
    cash: float,
    lots: Array,
    sizes: Array,
    averages: Array,
    realised: Array,
    terms: Array,
    instruments: Array,
    traded: Array,
    prices: Array,
    commissions: Array,
) -> float:
    """Book many fills in order; returns the cash that is left."""
    for k in range(instruments.shape[0]):
        i = instruments[k]
        up, down, multiplier = terms[i, LOT_UP], terms[i, LOT_DOWN], terms[i, MULTIPLIER]
        cash = cash - size_of(traded[k], up, down, multiplier) * prices[k] - commissions[k]
        lots[i], averages[i], realised[i] = after(lots[i], averages[i], realised[i], traded[k], prices[k], terms[i, SIZE])
        sizes[i] = size_of(lots[i], up, down, multiplier)
    return cash


@compiled
def book_one(
    cash: float,
    i: int,
    traded: int,
    price: float,
    commission: float,
    lots: Array,
    sizes: Array,
    averages: Array,
    realised: Array,
    terms: Array,
) -> float:
    """Book one fill; returns the cash that is left."""
    up, down, multiplier = terms[i, LOT_UP], terms[i, LOT_DOWN], terms[i, MULTIPLIER]
    lots[i], averages[i], realised[i] = after(lots[i], averages[i], realised[i], traded, price, terms[i, SIZE])
    sizes[i] = size_of(lots[i], up, down, multiplier)
    return cash - size_of(traded, up, down, multiplier) * price - commission


BOOK_ONE = "float64, int64, int64, float64, float64, int64[::1], float64[::1], float64[::1], float64[::1], float64[:, ::1]"


@compiled
def journal_rows(
    at: int,
    phase: int,
    kind: int,
    ids: Array,
    instruments: Array,
    lots: Array,
    a: Array,
    b: Array,
    c: Array,
    d: Array,
    tifs: Array,
    ints: Array,
    reals: Array,
) -> None:
    """Write one journal row an order into two views of the same bytes, see loop.journal.ROW."""
    for k in range(ids.shape[0]):
        ints[k, 0] = at
        ints[k, 1] = phase + (kind << 16) + (instruments[k] << 32)
        ints[k, 2] = ids[k]
        ints[k, 3] = lots[k]
        reals[k, 4] = a[k]
        reals[k, 5] = b[k]
        reals[k, 6] = c[k]
        ints[k, 7] = d[k] + 256 * tifs[k]
        ints[k, 8] = 0
