"""Plain orders from mappings, objects, DataFrames and CSV files, and what is said of those that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulator import OrderError, OrderKind, Ticket, TimeInForce, read_tickets
from simulator.book.tickets import tickets


def test_only_symbol_and_quantity_are_needed() -> None:
    (made,) = tickets([{"symbol": "X", "quantity": 10}])
    assert made[:4] == ("0", "X", 10, OrderKind.MARKET)
    assert isnan(made.limit)
    assert isnan(made.stop)
    assert made[6:9] == (TimeInForce.GTC, 0, "")


def test_an_order_may_say_everything() -> None:
    given = {"client_id": 7, "symbol": "X", "quantity": "-2.5", "kind": "stop-limit", "limit": "9", "stop": 10, "tif": "day", "bar": "3"}
    assert tickets([given]) == [Ticket("7", "X", -2.5, OrderKind.STOP_LIMIT, 9.0, 10, TimeInForce.DAY, 3, "")]


def test_words_are_read_whatever_their_case_and_their_hyphens() -> None:
    for word in ("stop_limit", "Stop Limit", " STOP-LIMIT ", OrderKind.STOP_LIMIT):
        (made,) = tickets([{"symbol": "X", "quantity": 1, "kind": word, "limit": 9.0, "stop": 10.0}])
        assert made.kind is OrderKind.STOP_LIMIT


def test_what_an_order_leaves_empty_is_not_said() -> None:
    empty = dict.fromkeys(("client_id", "kind", "limit", "stop", "tif", "bar", "date"), "")
    for nothing in ("", None, nan):
        (made,) = tickets([{"symbol": "X", "quantity": 1} | dict.fromkeys(empty, nothing)])
        assert repr(made) == repr(Ticket("0", "X", 1))


@dataclass
class Wish:
    symbol: str
    quantity: int
    date: str = ""


def test_an_object_is_read_by_its_attributes() -> None:
    (made,) = tickets([Wish("X", 5, "2024-02-29")])
    assert (made.symbol, made.quantity, made.date) == ("X", 5, "2024-02-29")


def test_a_ticket_is_one_already() -> None:
    ticket = Ticket("a", "X", 1)
    assert tickets([ticket])[0] is ticket


def test_the_rows_of_a_frame_are_orders_with_holes_where_they_say_nothing() -> None:
    """A hole is NaN: no client_id, no date and no price."""
    frame = pd.DataFrame(
        {
            "client_id": ["first", None, None],
            "symbol": ["X", "Y", "X"],
            "quantity": [1, 2, 3],
            "kind": ["limit", None, None],
            "limit": [9.0, nan, nan],
            "bar": [4.0, nan, nan],
            "date": [None, "2024-01-02", None],
        }
    )
    made = tickets(frame)
    assert [ticket.client_id for ticket in made] == ["first", "1", "2"]
    assert [(ticket.kind, ticket.bar, ticket.date) for ticket in made] == [
        (OrderKind.LIMIT, 4, ""),
        (OrderKind.MARKET, 0, "2024-01-02"),
        (OrderKind.MARKET, 0, ""),
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"quantity": 1}, "order 0: symbol is missing"),
        ({"symbol": "X"}, "order 0: quantity is missing"),
        ({"symbol": "", "quantity": 1}, "order 0: symbol is missing"),
        ({"symbol": "X", "quantity": nan}, "order 0: quantity is missing"),
        ({"symbol": "X", "quantity": "many"}, "order 0: quantity must be a number, was 'many'"),
        ({"symbol": "X", "quantity": "nan"}, "order 0: quantity must be a number, was 'nan'"),
        ({"symbol": "X", "quantity": 1, "limt": 9}, "order 0: no such key 'limt'; did you mean 'limit'?"),
        ({"symbol": "X", "quantity": 1, "kind": "markt"}, "order 0: kind 'markt' is unknown; did you mean 'market'?"),
        ({"symbol": "X", "quantity": 1, "tif": "GTX"}, "order 0: tif 'GTX' is unknown; did you mean 'gtd'?"),
        ({"symbol": "X", "quantity": 1, "kind": "limit"}, "order 0: a limit order needs a limit price"),
        ({"symbol": "X", "quantity": 1, "kind": "stop"}, "order 0: a stop order needs a stop price"),
        ({"symbol": "X", "quantity": 1, "kind": "stop_limit", "limit": 9}, "order 0: a stop_limit order needs a stop price"),
        ({"symbol": "X", "quantity": 1, "limit": 9}, "order 0: a market order takes no limit, had 9"),
        ({"symbol": "X", "quantity": 1, "kind": "limit", "limit": 9, "stop": 8}, "order 0: a limit order takes no stop, had 8"),
        ({"symbol": "X", "quantity": 1, "kind": "limit", "limit": [9]}, "order 0: limit must be a number, was [9]"),
        ({"symbol": "X", "quantity": 1, "bar": -1}, "order 0: bar must be the index of a bar, 0 or above, was -1"),
        ({"symbol": "X", "quantity": 1, "bar": 1.5}, "order 0: bar must be the index of a bar, 0 or above, was 1.5"),
        ({"symbol": "X", "quantity": 1, "bar": "nan"}, "order 0: bar must be the index of a bar, 0 or above, was 'nan'"),
        ({"symbol": "X", "quantity": 1, "date": "2023-02-29"}, "order 0: date must be YYYY-MM-DD, was '2023-02-29'"),
    ],
)
def test_an_order_that_cannot_be_read_is_named_with_its_key(given: dict[str, Any], words: str) -> None:
    with pytest.raises(OrderError) as refused:
        tickets([given])
    assert str(refused.value) == words


def test_a_file_of_orders(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("\ufeffclient_id,symbol,quantity,kind,limit,bar\na,X,10,,,1\n,Y,-5,limit,9.5,2\n", encoding="utf-8")
    made = read_tickets(path)
    assert [(ticket.client_id, ticket.symbol, ticket.quantity, ticket.kind, ticket.bar) for ticket in made] == [
        ("a", "X", 10.0, OrderKind.MARKET, 1),
        ("line 3", "Y", -5.0, OrderKind.LIMIT, 2),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol,quantity\nX,1,2\n", "line 2: has more or fewer fields than the header"),
        ("symbol,quantity\nX,1\nX\n", "line 3: has more or fewer fields than the header"),
        ("symbol,quantity\n\n\nX,many\n", "line 4: quantity must be a number, was 'many'"),
        ('symbol,quantity\n"X,1\n', "cannot be read as a CSV file of orders"),
        ("symbol,quantity\nX,1\xff\n".encode("latin-1"), "cannot be read as a CSV file of orders"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OrderError) as refused:
        read_tickets(path)
    assert str(refused.value).startswith(str(path))
    assert words in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OrderError, match=r"nothing\.csv: cannot be read"):
        read_tickets(tmp_path / "nothing.csv")
