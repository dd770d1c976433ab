"""Plain orders, as a person or another engine writes them down: what `run_orders` and the blotter take."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from simulator.book.orders import OrderKind, TimeInForce
from simulator.errors import OrderError, nearest


class Ticket(NamedTuple):
    """A plain order: a signed *quantity* of *symbol*, sent after the close of the bar with index *bar* (or, from a file, on a session *date*).

    *trail*, *trail_fraction* and *until* are those of book.orders.Conditions. *parent* is the client_id of the order that it waits for, *oco* a name
    that it shares with those of which one cancels the other; both are sent after the same bar.
    """

    client_id: str
    symbol: str
    quantity: float
    kind: OrderKind = OrderKind.MARKET
    limit: float = nan
    stop: float = nan
    tif: TimeInForce = TimeInForce.GTC
    bar: int = 0
    date: str = ""
    trail: float = nan
    trail_fraction: float = nan
    until: int = 0
    parent: str = ""
    oco: str = ""


KEYS = ("client_id", "symbol", "quantity", "kind", "limit", "stop", "tif", "bar", "trail", "trail_percent", "until", "parent", "oco")
WITH_LIMIT = (OrderKind.LIMIT, OrderKind.STOP_LIMIT)
WITH_STOP = (OrderKind.STOP, OrderKind.STOP_LIMIT)


def tickets(orders: Iterable[Any]) -> list[Ticket]:
    """Tickets from mappings, objects or rows of a DataFrame with the keys client_id, symbol, quantity, kind, limit, stop, tif, bar, trail,
    trail_percent, until (a date or time in UTC), parent and oco.

    Only symbol and quantity are needed; client_id defaults to the order's place in the list. Raises OrderError naming order, key and value.
    """
    if hasattr(orders, "to_dict") and hasattr(orders, "columns"):
        orders = orders.to_dict("records")
    return linked([ticket(order, f"order {k}", str(k)) for k, order in enumerate(orders)], "order {}".format)


def linked(made: list[Ticket], place: Callable[[int], str]) -> list[Ticket]:
    """The same tickets, if those that hang together are sent together. Raises OrderError naming the one that is not.

    One that is sent again may be sent at any time: it is no new order.
    """
    sent: dict[str, tuple[int, str]] = {}
    pairs: dict[str, tuple[int, str]] = {}
    for k, order in enumerate(made):
        at = order.bar, order.date
        if order.client_id in sent:
            continue
        if order.parent and sent.get(order.parent) != at:
            raise OrderError(f"{place(k)}: its parent '{order.parent}' must stand before it, and be sent after the same bar")
        if order.oco and pairs.setdefault(order.oco, at) != at:
            raise OrderError(f"{place(k)}: all orders of the oco '{order.oco}' must be sent after the same bar")
        sent[order.client_id] = at
    return made


def ticket(order: Any, place: str, name: str) -> Ticket:
    """One plain order; *place* says where it stands, *name* is its client_id if it gives none."""
    if isinstance(order, Ticket):
        return order
    given = dict(order) if isinstance(order, Mapping) else {key: getattr(order, key) for key in (*KEYS, "date") if hasattr(order, key)}
    for key in given:
        if key not in KEYS and key != "date":
            raise OrderError(f"{place}: no such key '{key}'{nearest(str(key), KEYS)}")
    # A table of orders has an empty text or NaN where an order says nothing.
    given = {key: value for key, value in given.items() if not (value is None or value == "" or (isinstance(value, float) and value != value))}
    for key in ("symbol", "quantity"):
        if key not in given:
            raise OrderError(f"{place}: {key} is missing")
    kind = _choice(OrderKind, given.get("kind"), OrderKind.MARKET, place, "kind")
    percent = _number(given.get("trail_percent"), place, "trail_percent")
    made = Ticket(
        client_id=str(given.get("client_id", name)),
        symbol=str(given["symbol"]),
        quantity=_number(given["quantity"], place, "quantity"),
        kind=kind,
        limit=_number(given.get("limit"), place, "limit"),
        stop=_number(given.get("stop"), place, "stop"),
        tif=_choice(TimeInForce, given.get("tif"), TimeInForce.GTC, place, "tif"),
        bar=_whole(given.get("bar"), place, "bar"),
        date=str(given.get("date", "")),
        trail=_number(given.get("trail"), place, "trail"),
        trail_fraction=percent / 100.0 if percent == percent else nan,
        until=_instant(given.get("until"), place),
        parent=str(given.get("parent", "")),
        oco=str(given.get("oco", "")),
    )
    try:
        date.fromisoformat(made.date or "1970-01-01")
    except ValueError:
        raise OrderError(f"{place}: date must be YYYY-MM-DD, was {made.date!r}") from None
    if made.quantity != made.quantity:
        raise OrderError(f"{place}: quantity must be a number, was {given['quantity']!r}")
    name, trails = kind.name.lower(), kind == OrderKind.TRAILING_STOP
    for key, needed, taken in (("limit", kind in WITH_LIMIT, False), ("stop", kind in WITH_STOP, trails), ("trail", False, trails)):
        value = getattr(made, key)
        if needed and not value == value:
            raise OrderError(f"{place}: a {name} order needs a {key} price")
        if not (needed or taken) and value == value:
            raise OrderError(f"{place}: a {name} order takes no {key}, had {value}")
    if trails and (made.trail == made.trail) == (made.trail_fraction == made.trail_fraction):
        raise OrderError(f"{place}: a trailing_stop order needs trail, in price, or trail_percent, and not both")
    if made.trail <= 0.0:
        raise OrderError(f"{place}: trail must be above 0, was {made.trail}")
    if percent <= 0.0 or percent >= 100.0:
        raise OrderError(f"{place}: trail_percent must be in (0, 100), was {percent}")
    if not trails and made.trail_fraction == made.trail_fraction:
        raise OrderError(f"{place}: a {name} order takes no trail_percent")
    if (made.tif == TimeInForce.GTD) != (made.until > 0):
        raise OrderError(f"{place}: tif 'GTD' and until go together: give both, or none")
    return made


def _choice(words: Any, given: Any, default: Any, place: str, key: str) -> Any:
    if given is None:
        return default
    if isinstance(given, words):
        return given
    word = str(given).strip().upper().replace("-", "_").replace(" ", "_")
    if word not in words.__members__:
        raise OrderError(f"{place}: {key} '{given}' is unknown{nearest(word.lower(), [name.lower() for name in words.__members__])}")
    return words[word]


def _number(given: Any, place: str, key: str) -> float:
    if given is None:
        return nan
    try:
        return int(given) if isinstance(given, int) else float(given)
    except (TypeError, ValueError):
        raise OrderError(f"{place}: {key} must be a number, was {given!r}") from None


def _whole(given: Any, place: str, key: str) -> int:
    value = 0.0 if given is None else _number(given, place, key)
    if value != value or value != int(value) or value < 0:
        raise OrderError(f"{place}: {key} must be the index of a bar, 0 or above, was {given!r}")
    return int(value)


def _instant(given: Any, place: str) -> int:
    """A date, which means its end, or a time, in UTC nanoseconds; 0 for none."""
    if given is None:
        return 0
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    try:
        if isinstance(given, date) and not isinstance(given, datetime):
            given = given.isoformat()
        at = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
    except ValueError:
        raise OrderError(f"{place}: until must be a date or a time such as 2024-03-28 or 2024-03-28T16:00Z, was {given!r}") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    whole_day = timedelta(days=1) if isinstance(given, str) and len(given) == 10 else timedelta()
    return (at + whole_day - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def read_tickets(path: Path) -> list[Ticket]:
    """Tickets from a CSV file with a header of the keys above; `date` (YYYY-MM-DD) may stand for `bar`. Raises OrderError naming file and line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OrderError(f"{path}: cannot be read as a CSV file of orders: {error}") from None
    for line, row in rows:
        if None in row or None in row.values():
            raise OrderError(f"{path}, line {line}: has more or fewer fields than the header")
    made = [ticket(row, f"{path}, line {line}", f"line {line}") for line, row in rows]
    return linked(made, lambda k: f"{path}, line {rows[k][0]}")
