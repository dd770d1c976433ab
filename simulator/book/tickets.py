"""Plain orders, as a person or another engine writes them down: what `run_orders` and the blotter take."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from simulator.book.orders import OrderKind, TimeInForce
from simulator.errors import OrderError, nearest


class Ticket(NamedTuple):
    """A plain order: a signed *quantity* of *symbol*, sent after the close of the bar with index *bar* (or, from a file, on a session *date*)."""

    client_id: str
    symbol: str
    quantity: float
    kind: OrderKind = OrderKind.MARKET
    limit: float = nan
    stop: float = nan
    tif: TimeInForce = TimeInForce.GTC
    bar: int = 0
    date: str = ""


KEYS = ("client_id", "symbol", "quantity", "kind", "limit", "stop", "tif", "bar")


def tickets(orders: Iterable[Any]) -> list[Ticket]:
    """Tickets from mappings, objects or rows of a DataFrame with the keys client_id, symbol, quantity, kind, limit, stop, tif and bar.

    Only symbol and quantity are needed; client_id defaults to the order's place in the list. Raises OrderError naming order, key and value.
    """
    if hasattr(orders, "to_dict") and hasattr(orders, "columns"):
        orders = orders.to_dict("records")
    return [ticket(order, f"order {k}", str(k)) for k, order in enumerate(orders)]


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
    )
    try:
        date.fromisoformat(made.date or "1970-01-01")
    except ValueError:
        raise OrderError(f"{place}: date must be YYYY-MM-DD, was {made.date!r}") from None
    if made.quantity != made.quantity:
        raise OrderError(f"{place}: quantity must be a number, was {given['quantity']!r}")
    for key, needed in (("limit", kind in (OrderKind.LIMIT, OrderKind.STOP_LIMIT)), ("stop", kind in (OrderKind.STOP, OrderKind.STOP_LIMIT))):
        value = getattr(made, key)
        if needed and not value == value:
            raise OrderError(f"{place}: a {kind.name.lower()} order needs a {key} price")
        if not needed and value == value:
            raise OrderError(f"{place}: a {kind.name.lower()} order takes no {key}, had {value}")
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
    return [ticket(row, f"{path}, line {line}", f"line {line}") for line, row in rows]
