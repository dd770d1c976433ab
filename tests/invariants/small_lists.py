"""The least lists of orders that show something, for the public function `run_orders`."""

from __future__ import annotations

import warnings
from datetime import date, timedelta
from typing import Any

import pytest

import simulator

Row = tuple[float, float, float, float, float] | None

QUIET: Row = (10.0, 10.0, 10.0, 10.0, 1000.0)
DATES = [str(date(2024, 1, 1) + timedelta(days=n)) for n in range(40)]


def bars(*rows: Row) -> dict[str, dict[str, list[Any]]]:
    """Daily bars (open, high, low, close, volume) of the one symbol X; None is a missing bar."""
    return markets(X=rows)


def markets(**rows: tuple[Row, ...]) -> dict[str, dict[str, list[Any]]]:
    """Daily bars by symbol, each from the same first day; None is a missing bar."""
    made = {}
    for symbol, table in rows.items():
        there = [(DATES[n], *row) for n, row in enumerate(table) if row is not None]
        made[symbol] = {name: [row[k] for row in there] for k, name in enumerate(("date", "open", "high", "low", "close", "volume"))}
    return made


def hours(*rows: Row, first: str = "2024-01-02T14:30") -> dict[str, dict[str, list[Any]]]:
    """Bars of X, an hour each, from *first* on; their stamps are those of their opens."""
    stamps = [f"{first[:11]}{int(first[11:13]) + n:02d}{first[13:]}Z" for n in range(len(rows))]
    made = bars(*rows)
    made["X"]["date"] = stamps
    return made


def send(client_id: str, quantity: float, kind: str = "market", *, bar: int = 0, symbol: str = "X", **terms: Any) -> dict[str, Any]:
    """A plain order, sent after the close of *bar*."""
    return {"client_id": client_id, "symbol": symbol, "quantity": quantity, "kind": kind, "bar": bar, **terms}


def bracket(quantity: float, *, profit: float, loss: float, **terms: Any) -> list[dict[str, Any]]:
    """An entry, and a limit and a stop that close it, of which one cancels the other."""
    entry = send("entry", quantity, **terms)
    ties = {"parent": "entry", "oco": "exit", "bar": entry["bar"]}
    return [entry, send("profit", -quantity, "limit", limit=profit, **ties), send("loss", -quantity, "stop", stop=loss, **ties)]


def run(table: dict[str, dict[str, Any]], *orders: dict[str, Any], cash: float = 100_000.0, **terms: Any) -> Any:
    """The public function with all identities checked after every bar, and its one warning (same_close) let through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if terms.get("timing") == "same_close" else "error")
        return simulator.run_orders(table, list(orders), cash=cash, check=True, **terms)


def traded(result: Any) -> list[tuple[str, int, float, Any]]:
    """What was traded: (client_id, bar, signed quantity, price)."""
    return [(fill.client_id, fill.bar, fill.quantity, pytest.approx(fill.price, rel=1e-12)) for fill in result.fills]


def ends(result: Any) -> dict[str, str]:
    """How each order stands at the end and why, by client_id."""
    return {order.client_id: f"{order.state}: {order.reason}" for order in result.orders}


def ambiguous(result: Any) -> list[str]:
    """The orders whose trades hang on the path."""
    return [fill.client_id for fill in result.fills if fill.ambiguous]
