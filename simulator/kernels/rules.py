"""The rules of the market on plain numbers: one order meets one bar. Source of every rule: market-rules.md, sections 2 and 3.

No numba here. The loop calls these functions as Python, or compiled where one order needs many of them; batches and whole tapes call the compiled
form of the very same functions, so that all agree to the last bit. That holds while they keep to + - * / sqrt, comparisons and int(), in a fixed
order: a test over the syntax tree says so.

Prices are written for buys. A sell is a buy in the mirror (prices negated, high and low exchanged), and negation is exact. Guards are
written so that NaN refuses: `not (x <= limit)`, never `x > limit`.
"""

from __future__ import annotations

from math import floor, inf, nan, sqrt
from typing import Final

# Kinds of order.
MARKET: Final = 0
LIMIT: Final = 1
STOP: Final = 2
STOP_LIMIT: Final = 3
TRAILING_STOP: Final = 4
MARKET_ON_OPEN: Final = 5
MARKET_ON_CLOSE: Final = 6

# How long an order lives.
GTC: Final = 0
DAY: Final = 1
IOC: Final = 2
FOK: Final = 3
GTD: Final = 4

# When a market order that was decided at a close is filled.
NEXT_OPEN: Final = 0
NEXT_CLOSE: Final = 1
SAME_CLOSE: Final = 2

# The moment in a bar at which an order fills. Earlier moments take their share of the volume first.
AT_OPEN: Final = 0
INSIDE: Final = 1
AT_CLOSE: Final = 2

# Why an order waits, ended or was refused. The closed list: simulator.book.orders.Reason gives the words.
FILLED: Final = 0
NOT_TOUCHED: Final = 1
NOT_THROUGH: Final = 2
VOLUME_CAP: Final = 3
NO_BAR: Final = 4
ZERO_VOLUME: Final = 5
BUYING_POWER: Final = 7
SHORT_SALE: Final = 8
SESSION_END: Final = 9
GROSS: Final = 10
NET: Final = 11
NAME: Final = 12
NOTIONAL: Final = 13
RATE: Final = 14
LEVERAGE: Final = 15
HALTED: Final = 16
EMPTY: Final = 17
NO_PRICE: Final = 18
BAD_PRICE: Final = 19
PARENT: Final = 27
PARENT_ENDED: Final = 28
OCO: Final = 29
AUCTION: Final = 30
GOOD_TILL: Final = 31

# The volume of a bar in which trading was halted: below 0, so that nothing trades in it, and so little that no sum of volumes notices.
HALT_VOLUME: Final = -1e-300

# How an order ended.
OPEN: Final = 0
CANCELLED: Final = 1
EXPIRED: Final = 2
REJECTED: Final = 3
REPLACED: Final = 4

# Models of slippage.
NO_SLIPPAGE: Final = 0
BPS: Final = 1
HALF_SPREAD: Final = 2
VOLUME_SHARE: Final = 3
SQUARE_ROOT: Final = 4

NO_CAP: Final = 2**62


def units(lots: int, lot_up: float, lot_down: float) -> float:
    """Shares in *lots*, where a lot is lot_up / lot_down shares: the product is exact below 2**53, so that it is rounded once."""
    return lots * lot_up / lot_down


def size_of(lots: int, lot_up: float, lot_down: float, multiplier: float) -> float:
    """What *lots* count in money per unit of price: their units times the contract's multiplier."""
    return lots * lot_up / lot_down * multiplier


def whole_lots(quantity: float, lot_up: float, lot_down: float) -> int:
    """Lots in *quantity* units, rounded toward zero; what is within 1e-9 of a lot is that lot."""
    exact = quantity * lot_down / lot_up
    return int(exact + 1e-9) if exact > 0.0 else int(exact - 1e-9)


def on_grid(price: float, tick_up: float, tick_down: float, up: bool) -> float:
    """*price* on the grid whose tick is tick_up / tick_down (0: no grid), rounded up or down.

    Within 1e-9 ticks of the grid it is on it, and passes unchanged.
    """
    if not tick_up > 0.0:
        return price
    steps = price * tick_down / tick_up
    below = floor(steps)
    nearest = floor(steps + 0.5)
    # On a fine grid the division itself is off by more than 1e-9 ticks; then the grid's own price tells.
    if abs(steps - nearest) <= 1e-9 or nearest * tick_up / tick_down == price:
        return price
    return (below + 1.0) * tick_up / tick_down if up else below * tick_up / tick_down


def reach(lots: int, limit: float, ticks: float, tick_up: float, tick_down: float) -> float:
    """The price that a bar must trade at before an order with this limit fills: *ticks* beyond it on the grid, exactly as the grid has it."""
    if ticks == 0.0 or not (tick_up > 0.0 and limit > 0.0):
        return limit
    nearest = floor(limit * tick_down / tick_up + 0.5)
    return (nearest - ticks if lots > 0 else nearest + ticks) * tick_up / tick_down


def place(lots: int, kind: int, limit: float, stop: float, tick_up: float, tick_down: float) -> tuple[float, float, int]:
    """An order's limit and stop on the price grid, never to the worse, and FILLED or why they are no prices: (limit, stop, reason)."""
    buying = lots > 0
    reason = FILLED
    if kind == LIMIT or kind == STOP_LIMIT:
        if not (limit > 0.0 and limit < inf):
            return limit, stop, BAD_PRICE
        limit = on_grid(limit, tick_up, tick_down, not buying)
        if not limit > 0.0:
            reason = BAD_PRICE
    if kind == STOP or kind == STOP_LIMIT:
        if not (stop > 0.0 and stop < inf):
            return limit, stop, BAD_PRICE
        stop = on_grid(stop, tick_up, tick_down, buying)
        if not stop > 0.0:
            reason = BAD_PRICE
    return limit, stop, reason


def trail(lots: int, extreme: float, amount: float, fraction: float, tick_up: float, tick_down: float) -> float:
    """Where a trailing stop stands when the best price since it was sent is *extreme* (the lowest for a buy): *amount*, or *fraction* of the
    extreme, behind it, on the grid, rounded away from the market as stops are not: buys up, sells down.
    """
    behind = extreme * fraction if fraction > 0.0 else amount
    level = extreme + behind if lots > 0 else extreme - behind
    # A sum of decimal numbers is a decimal number: what only rounding keeps from the grid, or without one from nine decimals, is on it.
    up, down = (tick_up, tick_down) if tick_up > 0.0 else (1.0, 1e9)
    nearest = floor(level * down / up + 0.5) * up / down
    if abs(level - nearest) <= 1e-9 * up / down if tick_up > 0.0 else abs(level - nearest) <= 4e-16 * (extreme + behind):
        return nearest
    return on_grid(level, tick_up, tick_down, lots > 0)


def meet(
    kind: int,
    limit: float,
    stop: float,
    triggered: bool,
    reached: float,
    open_: float,
    high: float,
    low: float,
    close: float,
) -> tuple[float, int, bool, bool, int]:
    """Where a buy with a price of its own meets a bar: (price before slippage or NaN, moment, is taker, is triggered, reason).

    *reached* is where the bar must trade before a limit fills, see reach: the limit itself, or some ticks beyond it.
    """
    if kind == STOP:
        # Triggered on an earlier bar, the rest of it waited for volume: by now it is a market order at the open.
        if triggered or open_ >= stop:
            return open_, AT_OPEN, True, True, FILLED
        if high >= stop:
            return stop, INSIDE, True, True, FILLED
        return nan, INSIDE, True, False, NOT_TOUCHED
    if kind == STOP_LIMIT and not triggered and not open_ >= stop:
        if not high >= stop:
            return nan, INSIDE, True, False, NOT_TOUCHED
        if stop <= limit:
            return stop, INSIDE, True, True, FILLED
        # The bar rose to the stop, which is above the limit. Only its close can prove that it then came back to the limit.
        if close <= reached:
            return limit, INSIDE, False, True, FILLED
        return nan, INSIDE, False, True, (NOT_THROUGH if close <= limit else NOT_TOUCHED)
    # A limit, or a stop-limit that was triggered earlier or at this open.
    triggered = triggered or kind == STOP_LIMIT
    if open_ <= limit:
        return open_, AT_OPEN, True, triggered, FILLED
    if low <= reached:
        return limit, INSIDE, False, triggered, FILLED
    # A limit touched but not crossed by enough does not fill: we were last in the queue.
    return nan, INSIDE, False, triggered, (NOT_THROUGH if low <= limit else NOT_TOUCHED)


def match(
    lots: int,
    kind: int,
    limit: float,
    stop: float,
    triggered: bool,
    reached: float,
    market_at: int,
    open_: float,
    high: float,
    low: float,
    close: float,
) -> tuple[float, int, bool, bool, int]:
    """Where an order of *lots* (signed) meets a bar, see meet. *market_at* is the moment at which market orders trade."""
    if kind == MARKET:
        return (close if market_at == AT_CLOSE else open_), market_at, True, triggered, FILLED
    if lots > 0:
        return meet(kind, limit, stop, triggered, reached, open_, high, low, close)
    price, moment, taker, triggered, reason = meet(kind, -limit, -stop, triggered, -reached, -open_, -low, -high, -close)
    return -price, moment, taker, triggered, reason


def budget(volume: float, cap: float, lot_up: float, lot_down: float) -> int:
    """Lots that all our orders together may trade in a bar: floor(cap x volume + 1e-9), to lots. Unknown volume is infinite: no cap."""
    if cap == inf:
        return NO_CAP
    share = (cap * volume + 1e-9) * lot_down / lot_up
    return int(share) if share < 4.0e18 else NO_CAP


def idle(close: float, volume: float) -> int:
    """Why nothing trades in a bar whose volume is not above 0."""
    if close != close:
        return NO_BAR
    return HALTED if volume < 0.0 else ZERO_VOLUME


def ends_now(tif: int, met: bool, due: bool, daily: bool) -> int:
    """Whether what is left of an order ends with this bar, and how.

    *met*: the bar had volume, and the order was there. *due*: it has had a session to trade in. *daily*: each bar is a session of its own.
    The bar is the smallest instant there is, so that IOC and FOK orders live for the one bar that they meet.
    """
    if met and (tif == IOC or tif == FOK):
        return CANCELLED
    if due and daily and tif == DAY:
        return EXPIRED
    return OPEN


def slip(
    price: float,
    buying: bool,
    capped: bool,
    limit: float,
    model: int,
    amount: float,
    share: float,
    sigma: float,
    days: float,
) -> float:
    """What a taker pays instead of *price*; an order with a limit (*capped*) never does worse than it.

    *amount* is the model's own number: a fraction (BPS), half a spread in price (HALF_SPREAD), k (VOLUME_SHARE), Y (SQUARE_ROOT). *share* is
    how much of the bar's volume we have taken so far, this fill included; *sigma* the daily volatility, *days* the quantity in average days.
    """
    if model == NO_SLIPPAGE:
        return price
    if model == HALF_SPREAD:
        worse = price + amount if buying else price - amount
    else:
        if model == BPS:
            fraction = amount
        elif model == VOLUME_SHARE:
            fraction = amount * (share * share)
        else:
            fraction = amount * sigma * sqrt(days)
        worse = price * (1.0 + fraction) if buying else price * (1.0 - fraction)
    # However much is sold into however little, nobody pays to be rid of it.
    if worse < 0.0:
        worse = 0.0
    if capped and (worse > limit if buying else worse < limit):
        return limit
    return worse


def fee(
    shares: float,
    notional: float,
    paid: float,
    per_share: float,
    per_order: float,
    rate: float,
    least: float,
    most: float,
    cents: bool,
) -> float:
    """The commission owed now on an order that has traded *shares* for *notional* and has *paid* so far.

    Minimum and maximum are per order: the minimum comes with the first fill, later fills pay only the excess.
    """
    due = per_order + per_share * shares + rate * notional
    if due < least:
        due = least
    if due > most:
        due = most
    if cents:
        due = floor(due * 100.0 + 0.5) / 100.0
    return due - paid


def after(lots: int, average: float, realised: float, traded: int, price: float, size: float) -> tuple[int, float, float]:
    """A position after a fill: (lots, average price, realised profit). *size* is what one lot counts in money per unit of price.

    A flip closes first and opens the rest at the fill's price.
    """
    if lots == 0:
        return traded, price, realised
    total = lots + traded
    if (lots > 0) == (traded > 0):
        return total, (lots * average + traded * price) / total, realised
    closed = -traded if abs(traded) <= abs(lots) else lots
    realised = realised + closed * size * (price - average)
    if total == 0:
        return 0, 0.0, realised
    if (total > 0) == (lots > 0):
        return total, average, realised
    return total, price, realised


def reduces(lots: int, traded: int) -> bool:
    """An exit: it brings a position nearer to zero and does not cross it."""
    return (lots > 0 and traded < 0 and lots + traded >= 0) or (lots < 0 and traded > 0 and lots + traded <= 0)


def afford(
    cash_account: bool,
    leverage_max: float,
    lots: int,
    traded: int,
    size: float,
    size_then: float,
    value: float,
    price: float,
    due: float,
    mark: float,
    cash: float,
    equity: float,
    gross: float,
) -> tuple[int, float, float]:
    """Whether the account can pay for a fill: (FILLED or the reason against it, equity and gross exposure after it).

    *size* and *size_then* are the position before and after and *value* what is traded, in money per unit of price. A cash account holds no
    shorts and owes nothing. A margin account keeps gross exposure within leverage_max of equity, both at the last marks; exits always pass.
    """
    if cash_account:
        if traded < 0 and lots + traded < 0:
            return SHORT_SALE, equity, gross
        if traded > 0 and not (value * price + due <= cash):
            return BUYING_POWER, equity, gross
        return FILLED, equity, gross
    if not mark > 0.0:
        mark = price
    equity_then = equity + value * (mark - price) - due
    gross_then = gross - abs(size) * mark + abs(size_then) * mark
    if leverage_max < inf and not (gross_then <= leverage_max * equity_then) and not reduces(lots, traded):
        return BUYING_POWER, equity, gross
    return FILLED, equity_then, gross_then


def permit(
    lots: int,
    held: int,
    mark: float,
    size: float,
    gross: float,
    net: float,
    equity: float,
    gross_max: float,
    net_max: float,
    name_max: float,
    notional_max: float,
    leverage_max: float,
    halted: bool,
) -> tuple[int, float, float]:
    """Whether an order may be sent: (FILLED or the reason against it, gross and net exposure if it trades).

    *held* counts what is already on its way. Exposure limits are multiples of *equity*, notional_max is money. Exits always pass.
    """
    if lots == 0:
        return EMPTY, gross, net
    before = held * size * mark
    then = (held + lots) * size * mark
    if held != 0 and reduces(held, lots):
        if mark > 0.0:
            return FILLED, gross - abs(before) + abs(then), net + then - before
        return FILLED, gross, net
    if halted:
        return HALTED, gross, net
    if not mark > 0.0:
        # Nothing is known of its price yet. That matters only to somebody who set a limit.
        if gross_max == inf and net_max == inf and name_max == inf and notional_max == inf and leverage_max == inf:
            return FILLED, gross, net
        return NO_PRICE, gross, net
    gross_then = gross - abs(before) + abs(then)
    net_then = net + then - before
    # A limit that is off is not compared: the equity may be negative, and infinity times nothing is no number.
    if notional_max < inf and not (abs(lots * size * mark) <= notional_max):
        return NOTIONAL, gross, net
    if name_max < inf and not (abs(then) <= name_max * equity):
        return NAME, gross, net
    if gross_max < inf and not (gross_then <= gross_max * equity):
        return GROSS, gross, net
    if net_max < inf and not (abs(net_then) <= net_max * equity):
        return NET, gross, net
    if leverage_max < inf and not (gross_then <= leverage_max * equity):
        return LEVERAGE, gross, net
    return FILLED, gross_then, net_then


def lending(value: float, rate_days: float, rebate: float, years: float, basis: float) -> tuple[float, float]:
    """What a short position of this market value costs and earns over some days: (fee, rebate).

    *rate_days* is the fee's yearly rate added up over the days, *basis* how many days are a year, and *years* the days in these.
    """
    return value * rate_days / basis, value * rebate * years


def interest(free: float, debit: float, credit: float, years: float) -> float:
    """What cash earns, or below 0 costs: *free* is cash less the value of what is short."""
    return free * (credit if free > 0.0 else debit) * years


def margin_of_lot(share: float, size: float, mark: float) -> float:
    """The margin of one lot, as a *share* of its value. What has no price yet needs nothing."""
    value = share * size * mark
    return value if value > 0.0 else 0.0
