"""Orders that meet the inside of a bar: what they do depends on the path that its prices took, of which a bar tells four points.

Each instrument is walked along both paths on copies, O-H-L-C and O-L-H-C, and the policy says which of the two stands. Where the policy names the
path by the bar alone, each of its three legs takes a third of the bar's time, and what reaches the market inside the bar finds the price of its
moment. Source: market-rules.md, section 2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any, Literal, Protocol

from brokers.matching import Slice
from brokers.ties import abandon
from simulator import DAY, Event, Fill, Tape
from simulator.kernels import rules

if TYPE_CHECKING:
    from brokers.matching import Market, Working

Policy = Literal["pessimistic", "optimistic", "ohlc", "olhc", "nearest"]
NAMED: tuple[Policy, ...] = ("ohlc", "olhc", "nearest")
"""The policies that know the path before any order has met it."""


class Arrivals(Protocol):
    """What is to reach the market inside the bar."""

    def next_at(self) -> float:
        """When the next does, in UTC nanoseconds; inf for none."""

    def arrive(self, at: int, events: list[Event]) -> Sequence[Working]:
        """Let in what arrives by *at*, after these events; the new orders, oldest first."""


def release(market: Market, parent: Working, price: float, inside: bool) -> None:
    """Let the children of an order trade what it has filled by now, in proportion, where its price stands at *price*.

    *inside* its bar that is for those of its own instrument; when the bar is over it is for all. No bar tells what of two instruments came first.
    """
    filled = abs(parent.done)
    for child in parent.children:
        same = child.instrument == parent.instrument
        if inside and not same:
            continue
        due = abs(child.whole) * filled // abs(parent.whole) - child.released
        fresh = min(due, abs(child.dormant))
        if fresh > 0:
            child.released += due
            child.remaining += fresh if child.dormant > 0 else -fresh
            child.dormant -= fresh if child.dormant > 0 else -fresh
            if inside:
                child.fresh = child.met = True
                child.blocked = False
            if same and child.kind == rules.TRAILING_STOP:
                ratchet(market, child, price)
            if child.group:
                child.group.recount()


def crowded(orders: Sequence[Working], policy: Policy) -> bool:
    """Whether the path through the bar may matter to these plain orders: two with prices of their own in one instrument, or, under a named path, a
    stop-limit, which alone hangs on it.
    """
    priced = [working.instrument for working in orders if working.kind != rules.MARKET]
    if len(priced) > 1 and len(set(priced)) < len(priced):
        return True
    return policy != "pessimistic" and any(working.kind == rules.STOP_LIMIT for working in orders)


def meet(
    market: Market, orders: Sequence[Working], market_at: int, policy: Policy, events: list[Event], arrivals: Arrivals | None = None
) -> list[Working]:
    """These orders, oldest first, meet the market's row along the paths through its bars. Returns them, with those that arrived inside the row."""
    tape, opens = market.tape, market.row * market.tape.width
    met = list(orders)
    closing: list[Working] = []
    crowds: dict[int, list[Working]] = {}
    for working in [working for working in met if enter(market, working, market_at, crowds, closing)]:
        k = opens + working.instrument
        if working.remaining:
            at_once(market, working, k, tape.opens[k], events)
    elsewhere: dict[int, Counter[Trade]] = {}
    if arrivals:
        met += in_time(market, crowds, closing, market_at, policy, arrivals, elsewhere, events)
    else:
        for i, crowd in crowds.items():
            lone = alone(crowd) if policy == "pessimistic" else None
            if lone:
                prove(market, lone, opens + i, events)
            elif any(working.remaining or working.dormant for working in crowd):
                elsewhere[i] = inside(market, crowd, [working for working in closing if working.instrument == i], opens + i, policy, events)
    last: list[Event] = []
    shut(market, closing, last)
    mark_ambiguous(last, elsewhere, events)
    for working in met:
        if working.children:
            release(market, working, tape.closes[opens + working.instrument], False)
    seen: set[int] = set()
    for working in met:
        if working.withdrawn:
            continue
        market.look_back(working, events)
        seen.add(working.id)
        if working.children and not (working.remaining or working.dormant):
            # A parent that took the place of another is younger than its children, which have had their turn.
            older = [child for child in working.children if child.dormant and child.id in seen]
            abandon(working)
            for child in older:
                if not child.remaining:
                    market.look_back(child, events)
    return met


def enter(market: Market, working: Working, market_at: int, crowds: dict[int, list[Working]], closing: list[Working]) -> bool:
    """An order comes to the row: to the crowd of its instrument (True), to those that trade at the close, or to none."""
    working.met = working.blocked = False
    working.fresh = True
    why = before(market, working)
    if why != rules.FILLED:
        working.now = why
        return False
    # One that waits for its parent does not meet the bar before that fills.
    working.met = working.remaining != 0
    if not working.met:
        working.now = rules.PARENT
    if working.kind == rules.MARKET_ON_CLOSE and not at_close(market, working):
        working.now = rules.AUCTION
    elif working.kind == rules.MARKET_ON_CLOSE or (working.kind == rules.MARKET and market_at == rules.AT_CLOSE):
        closing.append(working)
    elif working.kind == rules.MARKET_ON_OPEN and not at_auction(market, working):
        working.now = rules.AUCTION
    else:
        crowds.setdefault(working.instrument, []).append(working)
        return True
    return False


def before(market: Market, working: Working) -> int:
    """Why an order does not meet the bar at all, or FILLED if it does."""
    tape, row = market.tape, market.row
    if working.tif == rules.DAY:
        day = tape.days[row]
        if working.session < 0:
            working.session = day
        elif working.session < day:
            return rules.SESSION_END
    if working.conditions and working.conditions.until and tape.starts[row] >= working.conditions.until:
        return rules.GOOD_TILL
    k = row * tape.width + working.instrument
    if not tape.volumes[k] > 0.0:
        return rules.idle(tape.closes[k], tape.volumes[k])
    return rules.FILLED


def at_auction(market: Market, working: Working) -> bool:
    """Whether the row opens a session for which an order came in time."""
    tape, row = market.tape, market.row
    first = market.opening if market.opening is not None else not row or tape.days[row] != tape.days[row - 1]
    if tape.interval < DAY and not first:
        return False
    # Whoever decides at a daily close has the night.
    cutoff = market.open_cutoff if tape.interval < DAY else 0
    return bool(working.accepted_at <= tape.starts[row] - cutoff)


def at_close(market: Market, working: Working) -> bool:
    """Whether the row closes a session for which an order came in time."""
    tape = market.tape
    cutoff = market.close_cutoff if tape.interval < DAY else 0
    return market.daily and bool(working.accepted_at <= tape.ats[market.row] - cutoff)


def at_once(market: Market, working: Working, k: int, price: float, events: list[Event]) -> None:
    """What an order does at the *price* at which it finds the market: at the open, or where its parent filled inside the bar."""
    working.fresh = False
    buying = working.remaining > 0
    if working.kind == rules.TRAILING_STOP and not working.triggered:
        # The old level first, then the best price so far.
        if reaches(price, working.stop, buying):
            working.triggered = True
        else:
            ratchet(market, working, price)
    if working.kind in (rules.STOP, rules.STOP_LIMIT) and not working.triggered and reaches(price, working.stop, buying):
        working.triggered = True
    if working.kind in (rules.LIMIT, rules.STOP_LIMIT):
        marketable = (working.kind == rules.LIMIT or working.triggered) and reaches(working.limit, price, buying)
    else:
        marketable = working.kind in (rules.MARKET, rules.MARKET_ON_OPEN) or working.triggered
    working.now = rules.FILLED if marketable else rules.NOT_TOUCHED
    if marketable:
        trade(market, working, k, price, True, price, events)


def reaches(price: float, level: float, rising: bool) -> bool:
    """Whether a price that comes from below (or, not *rising*, from above) has got to a level."""
    return price >= level if rising else price <= level


def ratchet(market: Market, working: Working, price: float) -> None:
    """A trailing stop follows a better price."""
    buying = working.remaining + working.dormant > 0
    if working.extreme == working.extreme and not (price < working.extreme if buying else price > working.extreme):
        return
    working.extreme = price
    assert working.conditions is not None
    _, _, _, _, tick_up, tick_down = market.terms[working.instrument]
    level = rules.trail(1 if buying else -1, price, working.conditions.trail, working.conditions.trail_fraction, tick_up, tick_down)
    # It moves one way only, also from a first stop that was given.
    if working.stop != working.stop or (level < working.stop if buying else level > working.stop):
        working.stop = level


def trade(market: Market, working: Working, k: int, price: float, taker: bool, standing: float, events: list[Event]) -> None:
    """Fill what can be filled here, where the market stands at *standing* (NaN: it has closed), and let others hear of it.

    What the volume leaves over waits for the next bar.
    """
    left = working.remaining
    if working.tif == rules.FOK and (working.why_lost or working.dormant):
        # All or nothing: what its parent or its pair leave of it is not all.
        working.now, working.blocked = rules.OCO if working.why_lost else rules.PARENT, True
        return
    market.trade(working, k, price, taker, events)
    working.blocked = True
    traded = left - working.remaining
    if traded:
        working.done += traded
        if working.group:
            working.group.traded(working, traded)
        if working.children and standing == standing:
            release(market, working, standing, True)


def alone(crowd: Sequence[Working]) -> Working | None:
    """The stop-limit that is the only one here with prices of its own, and has not been touched: the paths are one to it but for its limit."""
    there = [working for working in crowd if (working.remaining or working.dormant) and not working.refused]
    priced = [working for working in there if working.kind not in (rules.MARKET, rules.MARKET_ON_OPEN)]
    lone = priced[0] if len(priced) == 1 else None
    return lone if lone and lone.kind == rules.STOP_LIMIT and not (lone.triggered or lone.group or lone.children) else None


def prove(market: Market, lone: Working, k: int, events: list[Event]) -> None:
    """A stop-limit alone trades inside the bar what the bar's close proves."""
    price, _, taker = market.match(lone, k)
    if lone.now == rules.FILLED:
        trade(market, lone, k, price, taker, price, events)


def shut(market: Market, closing: Sequence[Working], events: list[Event]) -> None:
    """The close, at which these orders trade. Nothing is left of the bar for what is sent because of that."""
    for working in closing:
        if working.remaining:
            k = market.row * market.tape.width + working.instrument
            working.now = rules.FILLED
            trade(market, working, k, market.tape.closes[k], True, nan, events)


def inside(market: Market, crowd: Sequence[Working], closing: Sequence[Working], k: int, policy: Policy, events: list[Event]) -> Counter[Trade]:
    """The rest of the bar after its open, for the orders of one instrument, those left out that trade at its close. Returns those trades of the
    other path that this one has not had so far.
    """
    tape, i = market.tape, crowd[0].instrument
    up_first, down_first = (attempt(market, crowd, closing, k, rising) for rising in (True, False))
    # The same trades in another order add up to the same but for rounding: a tie.
    slack = 1e-12 * max(1.0, abs(market.cash), abs(up_first[0]))
    if policy == "pessimistic":
        rises = up_first[0] <= down_first[0] + slack
    elif policy == "optimistic":
        rises = up_first[0] >= down_first[0] - slack
    else:
        rises = rises_first(tape, k, policy)
    chosen, other = (up_first, down_first) if rises else (down_first, up_first)
    bring_back(market, relatives([*crowd, *closing]), chosen[1])
    elsewhere = {i: trades(other[2])}
    mark_ambiguous(chosen[2][: chosen[3]], elsewhere, events)
    return elsewhere[i]


def rises_first(tape: Tape, k: int, policy: Policy) -> bool:
    """Whether the path that the policy names goes to the high first."""
    # As decimal numbers both may be as near, which differences of floats miss by their rounding.
    near = tape.highs[k] - tape.opens[k] <= tape.opens[k] - tape.lows[k] + 1e-12 * tape.opens[k]
    return policy == "ohlc" or (policy == "nearest" and near)


def points(tape: Tape, k: int, rising: bool) -> tuple[float, float, float]:
    """Where a bar's price goes from its open."""
    h, low, c = tape.highs[k], tape.lows[k], tape.closes[k]
    return (h, low, c) if rising else (low, h, c)


def attempt(market: Market, crowd: Sequence[Working], closing: Sequence[Working], k: int, rising: bool) -> tuple[float, Any, list[Event], int]:
    """One path, on copies: what we are worth at its end, the state before the close, and what happened, of which so much before the close."""
    everybody = relatives([*crowd, *closing])
    told: list[Event] = []
    start = keep(market, everybody)
    walk(market, crowd, k, market.tape.opens[k], points(market.tape, k, rising), told)
    state, count = keep(market, everybody), len(told)
    shut(market, closing, told)
    value = worth(market, k % market.tape.width, market.tape.closes[k])
    bring_back(market, everybody, start)
    return value, state, told, count


def in_time(
    market: Market,
    crowds: dict[int, list[Working]],
    closing: list[Working],
    market_at: int,
    policy: Policy,
    arrivals: Arrivals,
    elsewhere: dict[int, Counter[Trade]],
    events: list[Event],
) -> list[Working]:
    """All instruments go along their named paths together, from one arrival to the next. Returns the orders that arrived.

    What *elsewhere* the other path would have traded is without them, so that their trades are ambiguous: another path has another price then.
    """
    tape, row = market.tape, market.row
    opens, start, end = row * tape.width, tape.starts[row], tape.ats[row]
    for i in range(tape.width):
        ours = [working for working in closing if working.instrument == i]
        rising = rises_first(tape, opens + i, policy)
        elsewhere[i] = trades(attempt(market, crowds[i], ours, opens + i, not rising)[2]) if i in crowds else Counter()
    arrived: list[Working] = []
    now = start
    while now < end:
        then = min(int(arrivals.next_at()), end) if arrivals.next_at() < end else end
        told: list[Event] = []
        for i, crowd in crowds.items():
            way = points(tape, opens + i, rises_first(tape, opens + i, policy))
            turns = [tape.opens[opens + i], *way]
            passed = [way[leg - 1] for leg in (1, 2) if 3 * (now - start) < leg * (end - start) <= 3 * (then - start)]
            begin, stop = (_price_at(turns, at - start, end - start) for at in (now, then))
            walk(market, crowd, opens + i, begin, [*passed, stop], told)
        mark_ambiguous(told, elsewhere, events)
        now = then
        if now < end:
            new = arrivals.arrive(now, events)
            for working in new:
                enter(market, working, market_at, crowds, closing)
            arrived += new
    return arrived


def _price_at(turns: Sequence[float], elapsed: int, whole: int) -> float:
    """The price on a path of three legs when this much of its time has passed."""
    leg = min(3 * elapsed // whole, 2)
    share = (3 * elapsed - leg * whole) / whole
    return turns[leg] + (turns[leg + 1] - turns[leg]) * share if share < 1.0 else turns[leg + 1]


def trades(told: Sequence[Event]) -> Counter[Trade]:
    """The trades among these events."""
    return Counter(traded(fill) for fill in told if isinstance(fill, Fill))


def relatives(orders: Sequence[Working]) -> tuple[Working, ...]:
    """These orders, and all that a trade of theirs changes."""
    found = {id(x): x for working in orders for x in (working, *working.children)}
    for working in tuple(found.values()):
        if working.group:
            found.update({id(x): x for x in working.group.members})
    return tuple(found.values())


def mark_ambiguous(told: Sequence[Event], elsewhere: Mapping[int, Counter[Trade]], events: list[Event]) -> None:
    """Pass these events on, marking the fills that the other path did not have, or not so."""
    for event in told:
        if isinstance(event, Fill) and event.instrument in elsewhere:
            left = elsewhere[event.instrument]
            if not left[traded(event)]:
                event = event._replace(ambiguous=True)
            else:
                left[traded(event)] -= 1
        events.append(event)


Trade = tuple[int, int, float]


def traded(fill: Fill) -> Trade:
    """What makes two fills the same trade."""
    return fill.order, fill.lots, fill.price


def worth(market: Market, i: int, close: float) -> float:
    """Cash and what is held of one instrument, at its close."""
    up, down, multiplier, _, _, _ = market.terms[i]
    _, _, change = market.used.get(i, (0, 0, 0))
    held = int(market.portfolio.lots[i]) + change
    value: float = market.cash + held * up / down * multiplier * close
    return value


def keep(market: Market, orders: Sequence[Working]) -> tuple[Any, ...]:
    """Everything that a walk changes."""
    bills = {id(x.bill): (x.bill, (x.bill.shares, x.bill.notional, x.bill.paid, x.bill.extra)) for x in orders if isinstance(x, Slice)}
    return market.kept(), [dict(working.__dict__) for working in orders], bills


def bring_back(market: Market, orders: Sequence[Working], kept: tuple[Any, ...]) -> None:
    """Make everything as it was kept."""
    account, states, bills = kept
    market.bring_back(account)
    for working, state in zip(orders, states, strict=True):
        working.__dict__.clear()
        working.__dict__.update(state)
    for bill, (shares, notional, paid, extra) in bills.values():
        bill.shares, bill.notional, bill.paid, bill.extra = shares, notional, paid, extra


def walk(market: Market, crowd: Sequence[Working], k: int, start: float, points: Sequence[float], events: list[Event]) -> None:
    """Follow the price from *start* through *points*: whatever it comes by first acts first, of equals the oldest."""
    now = start
    for target in points:
        leg = now
        while True:
            acting, at = None, nan
            for working in crowd:
                price = acts_at(market, working, leg, now, target)
                if price == price and (acting is None or abs(price - now) < abs(at - now)):
                    acting, at = working, price
            if acting is None:
                break
            now = at
            act(market, acting, k, now, events)
        for working in crowd:
            if working.kind == rules.TRAILING_STOP and not working.triggered and working.remaining:
                ratchet(market, working, target)
        now = target
    for working in crowd:
        if working.remaining and not working.blocked and working.now == rules.NOT_TOUCHED and is_limit(working):
            best = -min(start, *points) if working.remaining > 0 else max(start, *points)
            if reaches(best, -working.limit if working.remaining > 0 else working.limit, True):
                working.now = rules.NOT_THROUGH


def is_limit(working: Working) -> bool:
    """Whether an order waits for its limit: from the start, or since its stop was touched."""
    return working.kind == rules.LIMIT or (working.kind == rules.STOP_LIMIT and working.triggered)


def acts_at(market: Market, working: Working, leg: float, now: float, target: float) -> float:
    """The price at which an order does something on the way from *leg* to *target*, of which the part up to *now* is behind us; NaN if nowhere."""
    if working.blocked or not working.remaining or working.kind in (rules.MARKET_ON_OPEN, rules.MARKET_ON_CLOSE):
        return nan
    if working.fresh:
        return now
    buying, rising = working.remaining > 0, target > leg
    if is_limit(working):
        _, _, _, _, tick_up, tick_down = market.terms[working.instrument]
        reached: float = rules.reach(working.remaining, working.limit, market.through_ticks, tick_up, tick_down)
        # Buys wait below, and sells above.
        if buying:
            return reached if not rising and target <= reached <= now and reached < leg else nan
        return reached if rising and now <= reached <= target and reached > leg else nan
    if working.kind == rules.MARKET or working.triggered:
        return nan
    level: float = working.stop
    if buying:
        return level if rising and now <= level <= target and level > leg else nan
    return level if not rising and target <= level <= now and level < leg else nan


def act(market: Market, working: Working, k: int, price: float, events: list[Event]) -> None:
    """The price has come to where this order acts."""
    if working.fresh:
        at_once(market, working, k, price, events)
    elif is_limit(working):
        working.now = rules.FILLED
        trade(market, working, k, working.limit, False, price, events)
    else:
        working.triggered = True
        if working.kind == rules.STOP_LIMIT and not reaches(working.limit, price, working.remaining > 0):
            working.now = rules.NOT_TOUCHED
            return
        working.now = rules.FILLED
        trade(market, working, k, price, True, price, events)
