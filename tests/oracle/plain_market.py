"""The rules of the simulated market a second time, in the plainest Python, as something to compare the engine with.

Written from the text of the rules alone: a loop over bars, a dict for each order, no cleverness. Sentences in quotation marks are the rules'.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor, inf
from typing import Any

OPEN, INSIDE, CLOSE = 0, 1, 2
OHLC: tuple[str, ...]
OLHC: tuple[str, ...]
OHLC, OLHC = ("high", "low", "close"), ("low", "high", "close")


def simulate(
    bars: dict[str, dict[str, list[Any]]],
    orders: list[dict[str, Any]],
    *,
    cash: float,
    account: str = "margin",
    commission: dict[str, float] | None = None,
    participation: float | None = None,
    timing: str = "next_open",
    slippage: dict[str, Any] | None = None,
    tick: str = "0",
    lot: str = "1",
    through_ticks: int = 0,
    leverage_max: float | None = None,
    path: str = "pessimistic",
) -> dict[str, Any]:
    """Fills, states, reused client_ids, cash and equity of these orders over these bars.

    `knife_edge` says that the rules do not decide: cash, leverage or the worse of two paths hung on less than a rounding error, so that another order
    of additions may decide otherwise; or cash ran out between the paths of two instruments, of which nobody knows which came first.
    """
    instants = sorted({date for table in bars.values() for date in table["date"]})
    world: dict[str, Any] = {
        "account": account,
        "commission": commission or {},
        "slippage": slippage or {"model": "none"},
        "tick": Fraction(tick),
        "lot": Fraction(lot),
        "through_ticks": through_ticks,
        "leverage_max": leverage_max,
        "timing": timing,
        "path": path,
        # What changes: money, lots, orders by client_id in the order of their acceptance, fills, and of the bars of one instant what is left.
        "cash": float(cash),
        "lots": dict.fromkeys(bars, 0),
        "marks": {},
        "knife_edge": False,
        "orders": {},
        "fills": [],
        "here": {},
        "taken": {},
        "now": 0,
        "refused": 0,
    }
    reused: list[str] = []
    equity: list[float] = []

    for now, instant in enumerate(instants):
        here = {symbol: bar_at(table, instant) for symbol, table in bars.items() if instant in table["date"]}
        for bar in here.values():
            # "one volume budget per (instrument, bar) = floor(cap x V + 1e-9) to lots, shared by all our orders"
            bar["budget"] = volume_budget(participation, bar["volume"], world["lot"])
        world["here"], world["now"], world["taken"] = here, now, dict.fromkeys(here, 0)
        for order in world["orders"].values():
            order["filled_before"], order["filled_at_close"] = order["filled"], 0

        # "2 expiries": a good-till date that has passed.
        for order in world["orders"].values():
            if is_open(order) and order["tif"] == "GTD" and instant > order["until"]:
                order["state"] = "expired"
        end_linked(world)

        # "3 resting orders meet the new bar"
        alive = [order for order in world["orders"].values() if is_open(order)]
        work(world)
        end_immediate(world)

        # "DAY orders end at that session's close": a daily bar is a session, so the first instant after acceptance, bar or no bar.
        # A good-till date is over with its last bar.
        for order in alive:
            over = order["tif"] == "DAY" and closes_session(order["sent"] + 1, now, instants)
            if is_open(order) and (over or (order["tif"] == "GTD" and instant >= order["until"])):
                order["state"] = "expired"
                end_linked(world)

        # "4 mark to market": "its last mark stays" where there is no bar.
        for symbol, bar in here.items():
            world["marks"][symbol] = bar["close"]

        # "7 pre-trade checks and acceptance of new orders". "Sells before buys inside one batch" in a cash account.
        batch = []
        firsts = dict(world["orders"])
        for wish in (dict(order) for order in orders if order["bar"] == now):
            first = firsts.setdefault(wish["client_id"], wish)
            if first is wish:
                batch.append(wish)
            elif content(first, world["lot"]) != content(wish, world["lot"]):
                # "resending the same client_id with the same content returns the first answer, with other content is refused": as they were sent.
                reused.append(wish["client_id"])
        if account == "cash":
            batch = sells_first(batch)
        fresh = []
        for wish in batch:
            order = accept(wish, world)
            if is_open(order) and not carried(order, world):
                order["state"] = "rejected"
            # What hangs on an order that was refused is refused with it.
            leader = leads(order, fresh)
            if leader is not None and leader["state"] == "rejected":
                order["state"] = "rejected"
            order["refused"] = order["state"] == "rejected"
            world["orders"][wish["client_id"]] = order
            fresh.append(order)
        end_linked(world)

        # "`same_close`: a market order fills at C of its own bar and is booked and marked in that step; other kinds wait for the next bar."
        if timing == "same_close":
            for order in fresh:
                if order["tif"] == "GTD" and order["kind"] == "market" and is_open(order) and instant > order["until"]:
                    order["state"] = "expired"
            end_linked(world)
            ours = [order for order in fresh if order["kind"] == "market" and is_open(order)]
            legs = {symbol: (bar["close"], bar["close"]) for symbol, bar in here.items() if bar["volume"] > 0}
            move(CLOSE, legs, world, [order["client_id"] for order in ours])
            end_immediate(world)
            # The session that they could first trade in is the one that closes now.
            for order in ours:
                over = order["tif"] == "DAY" and closes_session(now, now, instants)
                if is_open(order) and (over or (order["tif"] == "GTD" and instant >= order["until"])):
                    order["state"] = "expired"
                    end_linked(world)
            end_linked(world)

        # "equity = cash + sum(quantity x mark)"
        equity.append(worth(world, world["marks"]))

    return {
        "fills": world["fills"],
        "states": {client_id: order["state"] for client_id, order in world["orders"].items()},
        "filled": {client_id: float(order["filled"] * world["lot"]) for client_id, order in world["orders"].items()},
        "reused": reused,
        "cash": world["cash"],
        "equity": equity,
        "knife_edge": world["knife_edge"],
    }


def bar_at(table: dict[str, list[Any]], instant: str) -> dict[str, float]:
    """The bar of this instant. "A data set without volume says so and then has no cap"."""
    row = table["date"].index(instant)
    bar = {field: float(table[field][row]) for field in ("open", "high", "low", "close")}
    bar["volume"] = float(table["volume"][row]) if "volume" in table else inf
    return bar


def volume_budget(participation: float | None, volume: float, lot: Fraction) -> float:
    """Lots that all our orders together may take of this bar: "floor(cap x V + 1e-9) to lots"."""
    if participation is None or volume == inf:
        return inf
    # The decimal numbers as written: in floats 0.29 x 100 is less than 29.
    return floor(Fraction(str(participation)) * Fraction(str(volume)) / lot + Fraction(1, 10**9))


def content(order: dict[str, Any], lot: Fraction) -> tuple[Any, ...]:
    """What makes two orders of one client_id the same wish: "quantities round toward zero to the lot"."""
    asked = order.get("asked", order)
    keys = ("symbol", "kind", "limit", "stop", "trail", "trail_percent", "until", "parent", "oco")
    return (*(asked.get(key) for key in keys), asked.get("tif", "GTC"), whole_lots(asked["quantity"], lot))


def accept(wish: dict[str, Any], world: dict[str, Any]) -> dict[str, Any]:
    """The order as the market keeps it, on the grids of price and quantity; rejected where nothing tradable is left."""
    buying = wish["quantity"] > 0
    limit, stop = wish.get("limit"), wish.get("stop")
    order = {
        "asked": wish,
        "client_id": wish["client_id"],
        "symbol": wish["symbol"],
        "kind": wish["kind"],
        "tif": wish.get("tif") or "GTC",
        "until": wish.get("until"),
        "parent": wish.get("parent"),
        "oco": wish.get("oco"),
        "trail": wish.get("trail"),
        "trail_percent": wish.get("trail_percent"),
        "buying": buying,
        "lots": whole_lots(wish["quantity"], world["lot"]),
        # "buy limits round down to the tick, sell limits up, stops the reverse"
        "limit": None if limit is None else on_grid(limit, world["tick"], up=not buying),
        "stop": None if stop is None else on_grid(stop, world["tick"], up=buying),
        "sent": world["now"],
        "triggered": False,
        "filled": 0,
        "filled_before": 0,
        "filled_at_close": 0,
        "notional": 0.0,
        "charged": 0.0,
        "state": "accepted",
        "refused": False,
        # What it would be worth, and whether it adds to what is held when it comes to trade.
        "worth": 0.0,
        "adds": True,
        # Of the bar that it meets: whether it was there, whether it has acted, and whether it has yet to look at the price where it stands.
        "met": False,
        "acted": False,
        "fresh": False,
    }
    # "a zero order is rejected with a reason"; nor is there a price of zero.
    if order["lots"] == 0 or any(price is not None and not price > 0 for price in (order["limit"], order["stop"])):
        order["state"] = "rejected"
    order["worth"] = abs(order["lots"]) * float(world["lot"]) * world["marks"].get(order["symbol"], 0.0)
    # The level of a trailing stop starts from the close at which it was sent, or where there was none from the first price; that of a child, from
    # the price at which its parent fills.
    if order["kind"] == "trailing_stop" and order["parent"] is None and order["symbol"] in world["marks"]:
        ratchet(order, world["marks"][order["symbol"]], world["tick"])
    return order


def sells_first(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Buys last, and with them what hangs on them."""
    later: list[dict[str, Any]] = []
    for place, order in enumerate(batch):
        leader = leads({"parent": None, "oco": None, **order}, batch[:place])
        if order["quantity"] >= 0 or any(leader is each for each in later):
            later.append(order)
    return [order for order in batch if order not in later] + later


def leads(order: dict[str, Any], fresh: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The order that this one hangs on: its parent, or the first of its pair."""
    for other in fresh:
        if other["client_id"] == order["parent"] or (order["parent"] is None and order["oco"] is not None and other.get("oco") == order["oco"]):
            return other
    return None


def carried(order: dict[str, Any], world: dict[str, Any]) -> bool:
    """Whether a margin account's leverage limit lets the order be sent: "at close marks, post-trade, open orders counted"."""
    if world["account"] == "cash" or world["leverage_max"] is None:
        return True
    lots = if_due(order, world)
    before = lots[order["symbol"]]
    after = lots[order["symbol"]] = before + open_lots(order)
    # "Exits (which reduce abs(position) without crossing zero) always pass": what open orders would sell is "reserved".
    if abs(after) < abs(before) and before * after >= 0:
        order["adds"] = False
        return True
    # Nothing can be said of the exposure to what never had a price.
    marks = world["marks"]
    if order["symbol"] not in marks:
        return False
    gross = sum(abs(float(lots[name] * world["lot"])) * marks[name] for name in lots if name in marks)
    equity = worth(world, marks)
    note_knife_edge(Fraction(world["leverage_max"]) * Fraction(equity) - Fraction(gross), gross, world)
    return bool(gross <= world["leverage_max"] * equity)


def if_due(order: dict[str, Any], world: dict[str, Any]) -> dict[str, int]:
    """What is held when this order comes to trade: "open orders counted", those that it waits for among them, and not its own pair.

    Of a pair the one counts that was worth most when it was sent. A child that only reduces what is held by then counts once its parent lets it go.
    """
    ancestors: list[dict[str, Any]] = []
    parent = order["parent"]
    while parent is not None and parent in world["orders"]:
        ancestors.append(world["orders"][parent])
        parent = ancestors[-1]["parent"]
    lots = dict(world["lots"])
    families: dict[str, list[dict[str, Any]]] = {}
    for other in world["orders"].values():
        if is_open(other) and (other["oco"] is None or other["oco"] != order["oco"]):
            families.setdefault(f"pair {other['oco']}" if other["oco"] else f"one {other['client_id']}", []).append(other)
    for family in families.values():
        waited_for = [other for other in family if any(other is ancestor for ancestor in ancestors)]
        counts = waited_for[0] if waited_for else max(family, key=lambda each: float(each["worth"]))
        left = abs(open_lots(counts)) if not share_what_is_left(pair_of(counts, world)) else abs(counts["lots"]) - taken_from(counts, world)
        if counts["parent"] is not None and not counts["adds"] and not waited_for:
            left = may_trade(counts, world, True)
        lots[counts["symbol"]] += left * (1 if counts["buying"] else -1)
    return lots


def taken_from(order: dict[str, Any], world: dict[str, Any]) -> int:
    """Lots of which a pair that shares them has filled so many."""
    return sum(int(other["filled"]) for other in pair_of(order, world))


def open_lots(order: dict[str, Any]) -> int:
    """What the order still wishes to trade, buy > 0."""
    return int((abs(order["lots"]) - order["filled"]) * (1 if order["buying"] else -1))


def whole_lots(quantity: float, lot: Fraction) -> int:
    """ "quantities round toward zero to the lot"; what is within 1e-9 of a whole lot is that lot."""
    exact = Fraction(str(quantity)) / lot
    nearest = round(exact)
    if abs(exact - nearest) <= Fraction(1, 10**9):
        return nearest
    return int(exact)


def on_grid(price: float, tick: Fraction, up: bool) -> float:
    """ "a price within 1e-9 ticks of the grid is on it and passes bit-unchanged"."""
    if tick == 0:
        return float(price)
    exact = Fraction(str(price)) / tick
    if abs(exact - round(exact)) <= Fraction(1, 10**9):
        return float(price)
    return float((floor(exact) + (1 if up else 0)) * tick)


def on_grid_exact(exact: Fraction, tick: Fraction, up: bool) -> float:
    """The same for a price that was computed."""
    if tick == 0:
        return float(exact)
    steps = exact / tick
    if abs(steps - round(steps)) <= Fraction(1, 10**9):
        return float(round(steps) * tick)
    return float((floor(steps) + (1 if up else 0)) * tick)


def beyond(price: float, ticks: int, tick: Fraction) -> float:
    """The price that many ticks away, as the float nearest to the decimal number."""
    if ticks == 0 or tick == 0:
        return price
    return float((round(Fraction(str(price)) / tick) + ticks) * tick)


def is_open(order: dict[str, Any]) -> bool:
    """Whether the order still works."""
    return order["state"] in ("accepted", "partially_filled")


def end_immediate(world: dict[str, Any]) -> None:
    """IOC lives for the one bar that it meets, "the rest goes (IOC), or the order does (FOK)"."""
    for order in world["orders"].values():
        if order["tif"] in ("IOC", "FOK") and order["met"] and is_open(order):
            order["state"] = "cancelled"
    end_linked(world)


def closes_session(first: int, now: int, instants: list[str]) -> bool:
    """Whether the session of instant *first* (its date) ends with instant *now*."""
    if now < first:
        return False
    day = instants[first][:10]
    return instants[now][:10] != day or now == len(instants) - 1 or instants[now + 1][:10] != day


# --- orders that hang together ---------------------------------------------------------------------------------------------------------


def pair_of(order: dict[str, Any], world: dict[str, Any]) -> list[dict[str, Any]]:
    """The orders of which one cancels the other, this one included."""
    if order["oco"] is None:
        return [order]
    return [other for other in world["orders"].values() if other["oco"] == order["oco"] and not other["refused"]]


def hanging_on(order: dict[str, Any], world: dict[str, Any]) -> list[dict[str, Any]]:
    """The children of an order."""
    return [child for child in world["orders"].values() if child["parent"] == order["client_id"] and not child["refused"]]


def share_what_is_left(pair: list[dict[str, Any]]) -> bool:
    """Whether they are of equal lots in one instrument: then "one's partial fill reduces the other"."""
    return len({(order["symbol"], order["lots"]) for order in pair}) == 1


def may_trade(order: dict[str, Any], world: dict[str, Any], later: bool = False) -> int:
    """Lots that the order may trade now: a child in proportion to what its parent has filled, "held quantities" of a pair only once."""
    pair = pair_of(order, world)
    gone = sum(other["filled"] for other in pair) if share_what_is_left(pair) else order["filled"]
    whole: int = abs(order["lots"])
    if order["parent"] is not None:
        parent = world["orders"][order["parent"]]
        # "An order sent because of a fill meets the next bar (default), or only the path after that fill": of two instruments no path tells.
        # After a fill at the close there is no path left in the bar.
        filled = parent["filled"] - (0 if later else parent["filled_at_close"])
        if parent["symbol"] != order["symbol"] and not later:
            filled = parent["filled_before"]
        whole = 0 if parent["lots"] == 0 else whole * filled // abs(parent["lots"])
    return max(whole - int(gone), 0)


def end_linked(world: dict[str, Any]) -> None:
    """End what can never trade again: the children of a parent that ended unfilled, and the other orders of a pair that has filled."""
    again = True
    while again:
        again = False
        for order in world["orders"].values():
            if not is_open(order):
                continue
            pair = pair_of(order, world)
            others = [other for other in pair if other is not order]
            if share_what_is_left(pair):
                over = bool(others) and sum(other["filled"] for other in pair) >= abs(order["lots"])
            else:
                over = any(other["filled"] for other in others)
            orphan = order["parent"] is not None and not is_open(world["orders"][order["parent"]]) and may_trade(order, world, True) == 0
            if over or orphan:
                order["state"] = "cancelled"
                again = True


# --- a bar ---------------------------------------------------------------------------------------------------------------------------------


def work(world: dict[str, Any]) -> None:
    """Let the resting orders meet the bars of this instant.

    A missing bar is "no event for that instrument; resting orders stay; market orders wait", and "a bar with V = 0 does nothing to an order".
    """
    here = {symbol: bar for symbol, bar in world["here"].items() if bar["volume"] > 0}
    count = {}
    for symbol in here:
        mine = orders_in(symbol, world)
        count[symbol] = len([order for order in mine if not order["kind"].startswith("market")])
        for order in mine:
            order["met"], order["acted"], order["fresh"] = False, False, True

    # The open is one moment for all of them.
    move(OPEN, {symbol: (bar["open"], bar["open"]) for symbol, bar in here.items()}, world)
    for symbol, bar in here.items():
        ratchet_all(symbol, bar["open"], world)

    # Between open and close the instruments go their own ways. Where each has one order, it is "by acceptance".
    simple = all(n <= 1 for n in count.values())
    names = [symbol for symbol in here if orders_in(symbol, world)]
    names.sort(key=lambda symbol: list(world["orders"]).index(orders_in(symbol, world)[0]["client_id"]) if orders_in(symbol, world) else -1)
    at_open = world["refused"]
    elsewhere: dict[str, list[dict[str, Any]]] = {}
    for symbol in names:
        # What has traded at the open is no company: the path matters to nobody but the stop-limit.
        left = [order for order in orders_in(symbol, world) if not order["kind"].startswith("market")]
        if len(left) == 1 and world["path"] == "pessimistic" and stop_limit_alone(symbol, world):
            continue
        paths: dict[tuple[str, ...], list[dict[str, Any]]] = {points: try_path(symbol, points, world) for points in (OHLC, OLHC)}
        points = choose(here[symbol], paths, world)
        elsewhere[symbol] = paths[OLHC if points == OHLC else OHLC]
        go(symbol, points, world)
    # The close again is one moment for all.
    move(CLOSE, {symbol: (bar["close"], bar["close"]) for symbol, bar in here.items()}, world)

    if world["refused"] > at_open and len(names) > 1 and not simple:
        world["knife_edge"] = True
    # What the other path would not have done, or not so, depends on an order that nobody knows.
    for fill in world["fills"]:
        if fill["bar"] == world["now"] and fill["moment"] != OPEN and fill["symbol"] in elsewhere:
            fill["ambiguous"] = not any(told(fill) == told(other) for other in elsewhere[fill["symbol"]])


def orders_in(symbol: str, world: dict[str, Any]) -> list[dict[str, Any]]:
    """Open orders, by acceptance."""
    return [order for order in world["orders"].values() if order["symbol"] == symbol and is_open(order)]


def told(fill: dict[str, Any]) -> tuple[Any, ...]:
    """What a fill says of the market."""
    return fill["client_id"], fill["quantity"], fill["price"]


def choose(bar: dict[str, float], paths: dict[tuple[str, ...], list[dict[str, Any]]], world: dict[str, Any]) -> tuple[str, ...]:
    """The path of this bar, by the policy."""
    policy = world["path"]
    if policy == "ohlc":
        return OHLC
    if policy == "olhc":
        return OLHC
    if policy == "nearest":
        # "the extreme nearer the open first"; tie: the high.
        up = Fraction(str(bar["high"])) - Fraction(str(bar["open"]))
        down = Fraction(str(bar["open"])) - Fraction(str(bar["low"]))
        return OHLC if up <= down else OLHC
    # "keep the one with the lower equity at C; tie: O-H-L-C"
    gain = {points: gained(fills, bar["close"]) for points, fills in paths.items()}
    better = gain[OLHC] - gain[OHLC]
    if paths[OHLC] != paths[OLHC]:
        note_knife_edge(better, sum(abs(fill["quantity"]) * fill["price"] for fill in paths[OHLC]), world)
    if policy == "pessimistic":
        return OLHC if better < 0 else OHLC
    return OLHC if better > 0 else OHLC


def gained(fills: list[dict[str, Any]], close: float) -> Fraction:
    """What these fills have added to equity when the bar closes."""
    exact = [tuple(Fraction(str(fill[key])) for key in ("quantity", "price", "commission")) for fill in fills]
    return sum((quantity * (Fraction(str(close)) - price) - commission for quantity, price, commission in exact), Fraction(0))


def try_path(symbol: str, points: tuple[str, ...], world: dict[str, Any]) -> list[dict[str, Any]]:
    """The fills that this path would bring, worked on copies."""
    bar = world["here"][symbol]
    copies = {
        **world,
        "orders": {client_id: dict(order) for client_id, order in world["orders"].items()},
        "lots": dict(world["lots"]),
        "taken": dict(world["taken"]),
        "fills": list(world["fills"]),
    }
    already = len(world["fills"])
    go(symbol, points, copies)
    move(CLOSE, {symbol: (bar["close"], bar["close"])}, copies)
    world["knife_edge"], world["refused"] = copies["knife_edge"], copies["refused"]
    fills: list[dict[str, Any]] = copies["fills"][already:]
    return fills


def go(symbol: str, points: tuple[str, ...], world: dict[str, Any]) -> None:
    """Walk the price of one instrument from its open along the path."""
    bar = world["here"][symbol]
    price = bar["open"]
    for name in points:
        move(INSIDE, {symbol: (price, bar[name])}, world)
        price = bar[name]
        ratchet_all(symbol, price, world)


def move(moment: int, legs: dict[str, tuple[float, float]], world: dict[str, Any], only: list[str] | None = None) -> None:
    """Let prices go from one point to another: orders (or *only* some) act when the price comes to them, at one moment by acceptance."""
    price = {symbol: start for symbol, (start, _) in legs.items()}
    while True:
        coming = []
        for place, order in enumerate(world["orders"].values()):
            symbol = order["symbol"]
            if symbol not in legs or not is_open(order) or may_trade(order, world) == 0 or (only is not None and order["client_id"] not in only):
                continue
            order["met"] = True
            at = when(order, moment, price[symbol], legs[symbol][1], world)
            if at is not None:
                coming.append((abs(at - price[symbol]), place, at, order))
        if not coming:
            break
        _, _, at, order = min(coming, key=lambda each: each[:2])
        if at != price[order["symbol"]]:
            price[order["symbol"]] = at
            look_no_more(order["symbol"], world)
        act(order, moment, at, world)
    for symbol in legs:
        look_no_more(symbol, world)


def look_no_more(symbol: str, world: dict[str, Any]) -> None:
    """The price moves on: who had something to say to it where it stood has said it."""
    for order in orders_in(symbol, world):
        order["fresh"] = False


def when(order: dict[str, Any], moment: int, start: float, end: float, world: dict[str, Any]) -> float | None:
    """The price between these two at which the order acts, None where it does not."""
    if order["acted"]:
        return None
    kind, buying = order["kind"], order["buying"]
    if kind == "market_on_open":
        return start if moment == OPEN else None
    # "market: O", or C in the mode next_close.
    if kind == "market_on_close" or (kind == "market" and world["timing"] == "next_close"):
        return start if moment == CLOSE else None
    # "Once touched it is triggered for good: what the volume cap leaves over is a market order from the next open"
    if kind == "market" or (kind in ("stop", "trailing_stop") and order["triggered"]):
        return start
    if kind == "limit" or (kind == "stop_limit" and order["triggered"]):
        limit = order["limit"]
        # "O <= P: at O (taker, price improvement). Else L <= P - k·tick: at P (maker)."
        if order["fresh"] and (start <= limit if buying else start >= limit):
            return start
        crossed = beyond(limit, world["through_ticks"] * (-1 if buying else 1), world["tick"])
        return crossed if (end <= crossed <= start if buying else start <= crossed <= end) else None
    # "O >= S: gap, at O. Else H >= S: at S."
    stop = order["stop"]
    if stop is None:
        return None
    if order["fresh"] and (start >= stop if buying else start <= stop):
        return start
    return stop if (start <= stop <= end if buying else end <= stop <= start) else None


def act(order: dict[str, Any], moment: int, price: float, world: dict[str, Any]) -> None:
    """What the order does at this price."""
    if order["kind"] == "stop_limit" and not order["triggered"]:
        # From here on it is a limit: at the open that gapped, at S if S <= P, else when the price comes back to P.
        order["triggered"] = order["fresh"] = True
        return
    order["acted"] = True
    resting = order["kind"] in ("limit", "stop_limit") and not (
        order["fresh"] and (price <= order["limit"] if order["buying"] else price >= order["limit"])
    )
    if order["kind"] in ("stop", "trailing_stop"):
        order["triggered"] = True
    trade(order, moment, order["limit"] if resting else price, not resting, price, world)


def ratchet_all(symbol: str, price: float, world: dict[str, Any]) -> None:
    """ "The old level is tested first, then it ratchets with the extreme that the path has reached"."""
    for order in orders_in(symbol, world):
        if order["kind"] == "trailing_stop" and not order["triggered"] and may_trade(order, world):
            ratchet(order, price, world["tick"])


def ratchet(order: dict[str, Any], price: float, tick: Fraction) -> None:
    """Draw the level of a trailing stop after this price; sell levels round down, buy levels up to the tick."""
    exact = Fraction(str(price))
    behind = Fraction(str(order["trail"])) if order["trail"] is not None else exact * Fraction(str(order["trail_percent"])) / 100
    level = on_grid_exact(exact + behind if order["buying"] else exact - behind, tick, up=order["buying"])
    if order["stop"] is None:
        order["stop"] = level
    else:
        order["stop"] = min(order["stop"], level) if order["buying"] else max(order["stop"], level)


def stop_limit_alone(symbol: str, world: dict[str, Any]) -> bool:
    """Work the one order of an instrument, if it is a stop-limit that has not been triggered, by what the bar proves."""
    mine = [order for order in orders_in(symbol, world) if not order["kind"].startswith("market")]
    if not mine or mine[0]["kind"] != "stop_limit" or mine[0]["triggered"] or may_trade(mine[0], world) == 0:
        return False
    # What hangs on others, or others on it, is not alone.
    if len(pair_of(mine[0], world)) > 1 or mine[0]["parent"] is not None or hanging_on(mine[0], world):
        return False
    order, bar = mine[0], world["here"][symbol]
    buying, limit, stop = order["buying"], order["limit"], order["stop"]
    if not (bar["high"] >= stop if buying else bar["low"] <= stop):
        return True
    order["triggered"] = order["acted"] = True
    # "Triggered inside the bar: at S if S <= P"
    if stop <= limit if buying else stop >= limit:
        trade(order, INSIDE, stop, True, stop, world)
        return True
    # "else, where no path is named, at P in that bar only if the close proves the path (C <= P), otherwise it rests as a limit from the next
    # bar". Where a limit must be crossed by k ticks, the close must prove that too.
    crossed = beyond(limit, world["through_ticks"] * (-1 if buying else 1), world["tick"])
    if bar["close"] <= crossed if buying else bar["close"] >= crossed:
        trade(order, INSIDE, limit, False, crossed, world)
    return True


def trade(order: dict[str, Any], moment: int, reference: float, taker: bool, standing: float, world: dict[str, Any]) -> None:
    """Fill what the volume budget leaves, if the account allows it, and book it. *standing* is where the price stands on its path."""
    symbol, lot, bar, taken = order["symbol"], world["lot"], world["here"][order["symbol"]], world["taken"]
    wanted = may_trade(order, world)
    lots = int(min(wanted, bar["budget"] - taken[symbol]))
    if lots == 0 or (order["tif"] == "FOK" and lots < abs(open_lots(order))):
        return
    price = slipped(order, reference, taker, float((taken[symbol] + lots) * lot), bar["volume"], world["slippage"])
    units = float(lots * lot)
    signed_lots = lots if order["buying"] else -lots
    notional = order["notional"] + units * price
    charged = total_commission(float((order["filled"] + lots) * lot), notional, world["commission"])
    fee = charged - order["charged"]
    if not allowed(symbol, signed_lots, price, fee, world):
        order["state"] = "rejected"
        world["refused"] += 1
        end_linked(world)
        return
    taken[symbol] += lots
    order["filled"] += lots
    order["filled_at_close"] += lots if moment == CLOSE else 0
    order["notional"], order["charged"] = notional, charged
    order["state"] = "filled" if order["filled"] == abs(order["lots"]) else "partially_filled"
    world["lots"][symbol] += signed_lots
    world["cash"] -= float(signed_lots * lot) * price + fee
    world["fills"].append(
        {
            "client_id": order["client_id"],
            "symbol": symbol,
            "bar": world["now"],
            "quantity": float(signed_lots * lot),
            "price": price,
            "commission": fee,
            # "`Fill.slippage` is money against the reference price"
            "slippage": units * abs(price - reference),
            "moment": moment,
            "ambiguous": False,
        }
    )
    # "a child never fills before its parent on the path": from here on it may.
    for child in world["orders"].values():
        if child["parent"] == order["client_id"] and child["symbol"] == symbol and is_open(child) and may_trade(child, world, True) > 0:
            if moment != CLOSE:
                child["acted"], child["fresh"] = False, True
            if child["kind"] == "trailing_stop":
                ratchet(child, standing, world["tick"])
    end_linked(world)


def slipped(order: dict[str, Any], reference: float, taker: bool, taken: float, volume: float, model: dict[str, Any]) -> float:
    """The price paid. A maker's price does not slip, and "a limit never fills worse than its limit after slippage"."""
    if not taker:
        return reference
    sign = 1 if order["buying"] else -1
    price: float
    if model["model"] == "bps":
        price = reference * (1 + sign * model["bps"] / 10_000)
    elif model["model"] == "half_spread":
        price = reference + sign * model["spread"] / 2
    elif model["model"] == "volume_share":
        # "volume share: price x (1 ± k share²) with k = 0.1"
        share = taken / volume
        price = reference * (1 + sign * model.get("k", 0.1) * share * share)
    else:
        price = reference
    # Nobody pays to be rid of what is sold.
    price = max(price, 0.0)
    if order["kind"] in ("limit", "stop_limit"):
        price = min(price, order["limit"]) if order["buying"] else max(price, order["limit"])
    return price


def total_commission(units: float, notional: float, terms: dict[str, float]) -> float:
    """What an order with these fills has cost so far: "minimum and maximum are per order, across its partial fills"."""
    cost = terms.get("per_order", 0.0) + terms.get("per_share", 0.0) * units + terms.get("bps", 0.0) / 10_000 * notional
    cost = max(cost, terms.get("minimum", 0.0))
    return min(cost, terms.get("maximum", inf))


def allowed(symbol: str, signed_lots: int, price: float, fee: float, world: dict[str, Any]) -> bool:
    """Whether the account lets this fill happen: "refused, never trimmed"."""
    held = world["lots"][symbol]
    after = held + signed_lots
    units = float(signed_lots * world["lot"])
    # "Exits (which reduce abs(position) without crossing zero) always pass."
    if abs(after) < abs(held) and held * after >= 0:
        return True
    if world["account"] == "cash":
        # "cash accounts refuse shorts and what cash will not cover when it would fill"
        if after < 0:
            return False
        left = Fraction(world["cash"]) - Fraction(units) * Fraction(price) - Fraction(fee)
        note_knife_edge(left, world["cash"], world)
        return left >= 0
    if world["leverage_max"] is None:
        return True
    # Gross exposure after the fill over equity after it, at the last marks; what was never marked counts at this price.
    marks = {symbol: price, **world["marks"]}
    lots = {**world["lots"], symbol: after}
    gross = sum(abs(float(lots[name] * world["lot"])) * marks[name] for name in lots if lots[name])
    equity = world["cash"] - units * price - fee + sum(float(lots[name] * world["lot"]) * marks[name] for name in lots if lots[name])
    note_knife_edge(Fraction(world["leverage_max"]) * Fraction(equity) - Fraction(gross), gross, world)
    return bool(gross <= world["leverage_max"] * equity)


def note_knife_edge(slack: Fraction, size: float, world: dict[str, Any]) -> None:
    """Remember a verdict that rounding could turn. An exact tie is none: round numbers add up to the same in any order."""
    if slack != 0 and abs(slack) <= Fraction(1, 10**9) * Fraction(max(1.0, abs(size))):
        world["knife_edge"] = True


def worth(world: dict[str, Any], marks: dict[str, float]) -> float:
    """Cash and positions at their marks."""
    total: float = world["cash"]
    for symbol, lots in world["lots"].items():
        if lots:
            total += float(lots * world["lot"]) * marks[symbol]
    return total
