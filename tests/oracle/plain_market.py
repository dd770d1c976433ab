"""The rules of the simulated market a second time, in the plainest Python, as something to compare the engine with.

Written from the text of the rules alone: a loop over bars, a dict for each order, no cleverness. Sentences in quotation marks are the rules'.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor, inf
from typing import Any

OPEN, INSIDE, CLOSE = 0, 1, 2


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
) -> dict[str, Any]:
    """Fills, states, reused client_ids, cash and equity of these orders over these bars.

    `knife_edge` says that cash or leverage decided by less than a rounding error, so that another order of additions may decide otherwise.
    """
    instants = sorted({date for table in bars.values() for date in table["date"]})
    account_book: dict[str, Any] = {"cash": float(cash), "lots": dict.fromkeys(bars, 0), "marks": {}, "knife_edge": False}
    world: dict[str, Any] = {
        "account": account,
        "commission": commission or {},
        "slippage": slippage or {"model": "none"},
        "tick": Fraction(tick),
        "lot": Fraction(lot),
        "through_ticks": through_ticks,
        "leverage_max": leverage_max,
        "timing": timing,
    }
    accepted: list[dict[str, Any]] = []
    known: dict[str, dict[str, Any]] = {}
    reused: list[str] = []
    fills: list[dict[str, Any]] = []
    equity: list[float] = []

    for now, instant in enumerate(instants):
        here = {symbol: bar_at(table, instant) for symbol, table in bars.items() if instant in table["date"]}
        # "one volume budget per (instrument, bar) = floor(cap x V + 1e-9) to lots, shared by all our orders"
        budgets = {symbol: volume_budget(participation, bar["volume"], world["lot"]) for symbol, bar in here.items()}
        taken = dict.fromkeys(here, 0)

        # "3 resting orders meet the new bar". A missing bar is "no event for that instrument; resting orders stay; market orders wait",
        # and "a bar with V = 0 does nothing to an order".
        alive = [order for order in accepted if order["state"] in ("accepted", "partially_filled")]
        met = [order for order in alive if order["symbol"] in here and here[order["symbol"]]["volume"] > 0]
        meetings = []
        for order in met:
            where = meet(order, here[order["symbol"]], world)
            if where is not None:
                meetings.append((where[0], order["sequence"], order, where))
        # "by their moment on the path (the open first), then by acceptance"
        meetings.sort(key=lambda meeting: (meeting[0], meeting[1]))
        for _, _, order, where in meetings:
            trade(order, where, now, here[order["symbol"]], budgets, taken, account_book, world, fills)
        end_immediate(met)

        # "DAY orders end at that session's close": a daily bar is a session, so the first instant after acceptance, bar or no bar.
        for order in alive:
            if order["tif"] == "DAY" and is_open(order) and closes_session(order["sent"] + 1, now, instants):
                order["state"] = "expired"

        # "4 mark to market": "its last mark stays" where there is no bar.
        for symbol, bar in here.items():
            account_book["marks"][symbol] = bar["close"]

        # "7 pre-trade checks and acceptance of new orders". "Sells before buys inside one batch" in a cash account.
        batch = [dict(order) for order in orders if order["bar"] == now]
        if account == "cash":
            batch = [order for order in batch if order["quantity"] < 0] + [order for order in batch if not order["quantity"] < 0]
        fresh = []
        for wish in batch:
            first = known.get(wish["client_id"])
            if first is not None:
                # "resending the same client_id with the same content returns the first answer, with other content is refused"
                if content(first) != content(wish):
                    reused.append(wish["client_id"])
                continue
            order = accept(wish, now, len(known), world)
            if is_open(order) and not carried(order, accepted, account_book, world):
                order["state"] = "rejected"
            known[wish["client_id"]] = order
            accepted.append(order)
            fresh.append(order)

        # "`same_close`: a market order fills at C of its own bar and is booked and marked in that step; other kinds wait for the next bar."
        if timing == "same_close":
            ours = [order for order in fresh if order["kind"] == "market" and is_open(order)]
            met = [order for order in ours if order["symbol"] in here and here[order["symbol"]]["volume"] > 0]
            for order in met:
                bar = here[order["symbol"]]
                trade(order, (CLOSE, bar["close"], True), now, bar, budgets, taken, account_book, world, fills)
            end_immediate(met)
            # The session that they could first trade in is the one that closes now.
            for order in ours:
                if order["tif"] == "DAY" and is_open(order) and closes_session(now, now, instants):
                    order["state"] = "expired"

        # "equity = cash + sum(quantity x mark)"
        equity.append(worth(account_book, account_book["marks"], world["lot"]))

    return {
        "fills": fills,
        "states": {client_id: order["state"] for client_id, order in known.items()},
        "filled": {client_id: float(order["filled"] * world["lot"]) for client_id, order in known.items()},
        "reused": reused,
        "cash": account_book["cash"],
        "equity": equity,
        "knife_edge": account_book["knife_edge"],
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


def content(order: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two orders of one client_id the same wish."""
    asked = order.get("asked", order)
    return (*(asked.get(key) for key in ("symbol", "quantity", "kind", "limit", "stop")), asked.get("tif", "GTC"))


def accept(wish: dict[str, Any], now: int, sequence: int, world: dict[str, Any]) -> dict[str, Any]:
    """The order as the market keeps it, on the grids of price and quantity; rejected where nothing tradable is left."""
    buying = wish["quantity"] > 0
    limit, stop = wish.get("limit"), wish.get("stop")
    order = {
        "asked": wish,
        "client_id": wish["client_id"],
        "symbol": wish["symbol"],
        "kind": wish["kind"],
        "tif": wish.get("tif") or "GTC",
        "buying": buying,
        "lots": whole_lots(wish["quantity"], world["lot"]),
        # "buy limits round down to the tick, sell limits up, stops the reverse"
        "limit": None if limit is None else on_grid(limit, world["tick"], up=not buying),
        "stop": None if stop is None else on_grid(stop, world["tick"], up=buying),
        "sent": now,
        "sequence": sequence,
        "triggered": False,
        "filled": 0,
        "notional": 0.0,
        "charged": 0.0,
        "state": "accepted",
    }
    # "a zero order is rejected with a reason"; nor is there a price of zero.
    if order["lots"] == 0 or any(price is not None and not price > 0 for price in (order["limit"], order["stop"])):
        order["state"] = "rejected"
    return order


def carried(order: dict[str, Any], accepted: list[dict[str, Any]], account_book: dict[str, Any], world: dict[str, Any]) -> bool:
    """Whether a margin account's leverage limit lets the order be sent: "at close marks, post-trade, open orders counted"."""
    if world["account"] == "cash" or world["leverage_max"] is None:
        return True
    lots = dict(account_book["lots"])
    for other in accepted:
        if is_open(other):
            lots[other["symbol"]] += open_lots(other)
    before = lots[order["symbol"]]
    after = lots[order["symbol"]] = before + open_lots(order)
    # "Exits (which reduce abs(position) without crossing zero) always pass": what open orders would sell is "reserved".
    if abs(after) < abs(before) and before * after >= 0:
        return True
    # Nothing can be said of the exposure to what never had a price.
    marks = account_book["marks"]
    if order["symbol"] not in marks:
        return False
    gross = sum(abs(float(lots[name] * world["lot"])) * marks[name] for name in lots if name in marks)
    equity = worth(account_book, marks, world["lot"])
    note_knife_edge(Fraction(world["leverage_max"]) * Fraction(equity) - Fraction(gross), gross, account_book)
    return bool(gross <= world["leverage_max"] * equity)


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


def is_open(order: dict[str, Any]) -> bool:
    """Whether the order still works."""
    return order["state"] in ("accepted", "partially_filled")


def end_immediate(met: list[dict[str, Any]]) -> None:
    """IOC lives for the one bar that it meets, "the rest goes (IOC), or the order does (FOK)"."""
    for order in met:
        if order["tif"] in ("IOC", "FOK") and is_open(order):
            order["state"] = "cancelled"


def closes_session(first: int, now: int, instants: list[str]) -> bool:
    """Whether the session of instant *first* (its date) ends with instant *now*."""
    if now < first:
        return False
    day = instants[first][:10]
    return instants[now][:10] != day or now == len(instants) - 1 or instants[now + 1][:10] != day


def meet(order: dict[str, Any], bar: dict[str, float], world: dict[str, Any]) -> tuple[int, float, bool] | None:
    """Where on its path this bar gives the order a trade: (moment, price before slippage, taker); None where it does not."""
    if order["kind"] == "market":
        # "market: O", or C in the mode next_close.
        return (CLOSE, bar["close"], True) if world["timing"] == "next_close" else (OPEN, bar["open"], True)
    if order["kind"] == "limit":
        return meet_limit(order, bar, world)
    if order["kind"] == "stop":
        return meet_stop(order, bar)
    return meet_stop_limit(order, bar, world)


def meet_limit(order: dict[str, Any], bar: dict[str, float], world: dict[str, Any]) -> tuple[int, float, bool] | None:
    """ "O <= P: at O (taker, price improvement). Else L <= P - k·tick: at P (maker)." """
    limit = order["limit"]
    if order["buying"]:
        if bar["open"] <= limit:
            return OPEN, bar["open"], True
        if bar["low"] <= beyond(limit, -world["through_ticks"], world["tick"]):
            return INSIDE, limit, False
        return None
    if bar["open"] >= limit:
        return OPEN, bar["open"], True
    if bar["high"] >= beyond(limit, world["through_ticks"], world["tick"]):
        return INSIDE, limit, False
    return None


def beyond(price: float, ticks: int, tick: Fraction) -> float:
    """The price that many ticks away, as the float nearest to the decimal number."""
    if ticks == 0 or tick == 0:
        return price
    return float((round(Fraction(str(price)) / tick) + ticks) * tick)


def meet_stop(order: dict[str, Any], bar: dict[str, float]) -> tuple[int, float, bool] | None:
    """ "O >= S: gap, at O. Else H >= S: at S." """
    # "Once touched it is triggered for good: what the volume cap leaves over is a market order from the next open"
    if order["triggered"]:
        return OPEN, bar["open"], True
    stop = order["stop"]
    gapped = bar["open"] >= stop if order["buying"] else bar["open"] <= stop
    reached = bar["high"] >= stop if order["buying"] else bar["low"] <= stop
    order["triggered"] = gapped or reached
    if gapped:
        return OPEN, bar["open"], True
    if reached:
        return INSIDE, stop, True
    return None


def meet_stop_limit(order: dict[str, Any], bar: dict[str, float], world: dict[str, Any]) -> tuple[int, float, bool] | None:
    """A limit once its stop has been touched, and in the bar that touches it what that bar can prove."""
    if order["triggered"]:
        return meet_limit(order, bar, world)
    buying, limit, stop = order["buying"], order["limit"], order["stop"]
    # "gap over the stop (O >= S): triggered at the open, then a limit in that same bar"
    if bar["open"] >= stop if buying else bar["open"] <= stop:
        order["triggered"] = True
        return meet_limit(order, bar, world)
    if not (bar["high"] >= stop if buying else bar["low"] <= stop):
        return None
    order["triggered"] = True
    # "Triggered inside the bar: at S if S <= P"
    if stop <= limit if buying else stop >= limit:
        return INSIDE, stop, True
    # "else, where no path is named, at P in that bar only if the close proves the path (C <= P), otherwise it rests as a limit from the next
    # bar". Where a limit must be crossed by k ticks, the close must prove that too.
    if buying and bar["close"] <= beyond(limit, -world["through_ticks"], world["tick"]):
        return INSIDE, limit, False
    if not buying and bar["close"] >= beyond(limit, world["through_ticks"], world["tick"]):
        return INSIDE, limit, False
    return None


def trade(
    order: dict[str, Any],
    where: tuple[int, float, bool],
    now: int,
    bar: dict[str, float],
    budgets: dict[str, float],
    taken: dict[str, int],
    account_book: dict[str, Any],
    world: dict[str, Any],
    fills: list[dict[str, Any]],
) -> None:
    """Fill what the volume budget leaves, if the account allows it, and book it."""
    symbol, lot = order["symbol"], world["lot"]
    wanted = abs(open_lots(order))
    lots = int(min(wanted, budgets[symbol] - taken[symbol]))
    if lots == 0 or (order["tif"] == "FOK" and lots < wanted):
        return
    _, reference, taker = where
    price = slipped(order, reference, taker, float((taken[symbol] + lots) * lot), bar["volume"], world["slippage"])
    units = float(lots * lot)
    signed_lots = lots if order["buying"] else -lots
    notional = order["notional"] + units * price
    charged = total_commission(float((order["filled"] + lots) * lot), notional, world["commission"])
    fee = charged - order["charged"]
    if not allowed(symbol, signed_lots, price, fee, account_book, world):
        order["state"] = "rejected"
        return
    taken[symbol] += lots
    order["filled"] += lots
    order["notional"], order["charged"] = notional, charged
    order["state"] = "filled" if order["filled"] == abs(order["lots"]) else "partially_filled"
    account_book["lots"][symbol] += signed_lots
    account_book["cash"] -= float(signed_lots * lot) * price + fee
    fills.append(
        {
            "client_id": order["client_id"],
            "symbol": symbol,
            "bar": now,
            "quantity": float(signed_lots * lot),
            "price": price,
            "commission": fee,
            # "`Fill.slippage` is money against the reference price"
            "slippage": units * abs(price - reference),
        }
    )


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
    if order["kind"] in ("limit", "stop_limit"):
        price = min(price, order["limit"]) if order["buying"] else max(price, order["limit"])
    return price


def total_commission(units: float, notional: float, terms: dict[str, float]) -> float:
    """What an order with these fills has cost so far: "minimum and maximum are per order, across its partial fills"."""
    cost = terms.get("per_order", 0.0) + terms.get("per_share", 0.0) * units + terms.get("bps", 0.0) / 10_000 * notional
    cost = max(cost, terms.get("minimum", 0.0))
    return min(cost, terms.get("maximum", inf))


def allowed(symbol: str, signed_lots: int, price: float, fee: float, account_book: dict[str, Any], world: dict[str, Any]) -> bool:
    """Whether the account lets this fill happen: "refused, never trimmed"."""
    held = account_book["lots"][symbol]
    after = held + signed_lots
    units = float(signed_lots * world["lot"])
    # "Exits (which reduce abs(position) without crossing zero) always pass."
    if abs(after) < abs(held) and held * after >= 0:
        return True
    if world["account"] == "cash":
        # "cash accounts refuse shorts and what cash will not cover when it would fill"
        if after < 0:
            return False
        left = Fraction(account_book["cash"]) - Fraction(units) * Fraction(price) - Fraction(fee)
        note_knife_edge(left, account_book["cash"], account_book)
        return left >= 0
    if world["leverage_max"] is None:
        return True
    # Gross exposure after the fill over equity after it, at the last marks; what was never marked counts at this price.
    marks = {symbol: price, **account_book["marks"]}
    lots = {**account_book["lots"], symbol: after}
    gross = sum(abs(float(lots[name] * world["lot"])) * marks[name] for name in lots if lots[name])
    equity = account_book["cash"] - units * price - fee + sum(float(lots[name] * world["lot"]) * marks[name] for name in lots if lots[name])
    note_knife_edge(Fraction(world["leverage_max"]) * Fraction(equity) - Fraction(gross), gross, account_book)
    return bool(gross <= world["leverage_max"] * equity)


def note_knife_edge(slack: Fraction, size: float, account_book: dict[str, Any]) -> None:
    """Remember a verdict that rounding could turn. An exact tie is none: round numbers add up to the same in any order."""
    if slack != 0 and abs(slack) <= Fraction(1, 10**9) * Fraction(max(1.0, abs(size))):
        account_book["knife_edge"] = True


def worth(account_book: dict[str, Any], marks: dict[str, float], lot: Fraction) -> float:
    """Cash and positions at their marks."""
    total: float = account_book["cash"]
    for symbol, lots in account_book["lots"].items():
        if lots:
            total += float(lots * lot) * marks[symbol]
    return total
