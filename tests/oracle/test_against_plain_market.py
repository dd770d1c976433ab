"""The engine against the plain market, on random bars and random orders."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import simulator

DATES = [str(date(2024, 1, 1) + timedelta(days=n)) for n in range(40)]
SYMBOLS = ("A", "B", "C")

# Prices are steps around a middle, so that ties of limits, stops and bars are common.
steps = st.sampled_from([0, 1, -1, 2, -2, 3, -3, 4, -4])
volumes = st.sampled_from([1000.0, 300.0, 100.0, 37.0, 9.0, 0.0, 0.0, 100_000.0])


@st.composite
def markets(draw: st.DrawFn) -> tuple[dict[str, dict[str, list[Any]]], float, float]:
    """Valid bars of one to three symbols with gaps, ties, zero volume and missing bars; with their middle price and its step."""
    count = draw(st.one_of(st.integers(4, 12), st.integers(1, 40)))
    middle, step = draw(st.sampled_from([(10.0, 0.25), (20.0, 0.01), (5.0, 0.1), (10.0, 1.0), (30.0, 0.0137)]))
    counted = draw(st.integers(0, 9)) > 0
    made = {}
    # Most bars are there; the first symbol has them all, so that the bars of an instant can be counted.
    for symbol in SYMBOLS[: draw(st.integers(1, 3))]:
        table: dict[str, list[Any]] = {name: [] for name in ("date", "open", "high", "low", "close", "volume")}
        rows = draw(st.lists(st.tuples(st.integers(0, 4), steps, steps, steps, steps, volumes), min_size=count, max_size=count))
        for day, (there, *path, volume) in zip(DATES, rows, strict=False):
            if there == 0 and (symbol != SYMBOLS[0] or len(table["date"]) % 2):
                continue
            first, second, third, last = (round(middle + step * x, 6) for x in path)
            for name, value in zip(table, (day, first, max(first, second, third, last), min(first, second, third, last), last, volume), strict=True):
                table[name].append(value)
        if not counted:
            del table["volume"]
        if table["date"]:
            made[symbol] = table
    assume(made)
    return made, middle, step


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, dict[str, list[Any]]], list[dict[str, Any]], dict[str, Any]]:
    """Bars, orders and terms of trade."""
    bars, middle, step = draw(markets())
    instants = len({day for table in bars.values() for day in table["date"]})
    prices = st.tuples(st.integers(-5, 5), st.sampled_from([0.0, 0.0, 0.0, 0.003])).map(lambda x: round(middle + step * x[0] + x[1], 6))
    order = st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(sorted(bars)),
            "quantity": st.one_of(st.integers(-120, 120), st.sampled_from([-1.0, 1.0, 10.7, -33.3, 0.4, 1000, -1000])),
            "kind": st.sampled_from(["market", "limit", "stop", "stop_limit"]),
            "limit": prices,
            "stop": prices,
            "tif": st.sampled_from(["GTC", "GTC", "DAY", "IOC", "FOK"]),
            "bar": st.one_of(st.integers(0, max(instants - 2, 0)), st.integers(0, min(2, instants - 1)), st.integers(0, instants - 1)),
        }
    )
    orders: list[dict[str, Any]] = []
    for n, wish in enumerate(draw(st.one_of(st.lists(order, max_size=4), st.lists(order, min_size=6, max_size=25)))):
        if wish["kind"] not in ("limit", "stop_limit"):
            del wish["limit"]
        if wish["kind"] not in ("stop", "stop_limit"):
            del wish["stop"]
        orders.append({"client_id": f"order {n}", **wish})
    # Some are sent again, a few of these with other content.
    for n, more in draw(st.lists(st.tuples(st.integers(0, 24), st.sampled_from([0, 0, 1])), max_size=3)):
        if n < len(orders):
            orders.append({**orders[n], "quantity": orders[n]["quantity"] + more})
    terms = draw(
        st.fixed_dictionaries(
            {
                "cash": st.sampled_from([3_000.0, 1_234.56, 10_000.0, 100_000.0]),
                "account": st.sampled_from(["margin", "cash"]),
                "commission": st.sampled_from(
                    [
                        None,
                        {"per_share": 0.01},
                        {"per_order": 1.0, "bps": 5.0},
                        {"per_share": 0.02, "minimum": 1.0, "maximum": 1.75},
                        {"bps": 20.0, "minimum": 0.5},
                        {"per_order": 2.0, "per_share": 0.005, "maximum": 2.25},
                    ]
                ),
                "participation": st.sampled_from([None, 0.1, 0.29, 1.0, 0.025]),
                "timing": st.sampled_from(["next_open", "next_close", "same_close"]),
                "slippage": st.sampled_from(
                    [
                        None,
                        {"model": "none"},
                        {"model": "bps", "bps": 25.0},
                        {"model": "half_spread", "spread": 0.06},
                        {"model": "volume_share", "k": 0.1},
                    ]
                ),
                "tick": st.sampled_from(["0", "0.01", "0.05", "0.25"]),
                "lot": st.sampled_from(["1", "1", "10", "0.1", "0.00000001"]),
                "through_ticks": st.integers(0, 2),
                "leverage_max": st.sampled_from([None, 1.0, 2.0, 0.5]),
            }
        )
    )
    if terms["account"] == "cash":
        terms["leverage_max"] = None
    if terms["tick"] == "0":
        # Where there are no ticks, none can be asked for.
        terms["through_ticks"] = 0
    return bars, orders, terms


PRICED = ("limit", "stop_limit")
STOPPED = ("stop", "stop_limit")
KINDS = ["market", "limit", "stop", "stop_limit", "trailing_stop", "trailing_stop", "market_on_open", "market_on_close"]
PATHS = ["pessimistic", "optimistic", "ohlc", "olhc", "nearest"]


@st.composite
def tied_situations(draw: st.DrawFn) -> tuple[dict[str, dict[str, list[Any]]], list[dict[str, Any]], dict[str, Any]]:
    """Bars, orders of every kind, alone, one after another (parent), one or another (oco) and as brackets, and terms of trade with a path."""
    bars, middle, step = draw(markets())
    days = sorted({day for table in bars.values() for day in table["date"]})
    prices = st.tuples(st.integers(-5, 5), st.sampled_from([0.0, 0.0, 0.0, 0.003])).map(lambda x: round(middle + step * x[0] + x[1], 6))
    order = st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(sorted(bars)),
            "quantity": st.one_of(st.integers(-120, 120), st.sampled_from([-50, 50, 10.7, -33.3, 0.4, 1000, -1000])),
            "kind": st.sampled_from(KINDS),
            "limit": prices,
            "stop": prices,
            "trail": st.one_of(st.none(), st.integers(1, 6).map(lambda n: round(n * step, 6))),
            "trail_percent": st.sampled_from([1.0, 2.5, 5.0, 10.0]),
            "tif": st.sampled_from(["GTC", "GTC", "GTC", "DAY", "IOC", "FOK", "GTD"]),
            "until": st.sampled_from(DATES[: len(days) + 2]),
        }
    )
    orders: list[dict[str, Any]] = []
    bar = st.one_of(st.integers(0, max(len(days) - 2, 0)), st.integers(0, min(2, len(days) - 1)))
    shapes = st.sampled_from(["one", "one", "oco", "oto", "bracket", "chain"])
    for at, shape in draw(st.lists(st.tuples(bar, shapes), min_size=1, max_size=8)):
        wishes = [draw(order) for _ in range({"one": 1, "oco": draw(st.integers(2, 3)), "oto": 2, "bracket": 3, "chain": 3}[shape])]
        first = len(orders)
        # Most that hang together are for as many lots of one instrument, as a bracket is.
        if draw(st.integers(0, 3)):
            for wish in wishes:
                wish["symbol"] = wishes[0]["symbol"]
                wish["quantity"] = wishes[0]["quantity"]
            if shape in ("bracket", "oto"):
                for wish in wishes[1:]:
                    wish["quantity"] = -wishes[0]["quantity"]
        for n, wish in enumerate(wishes):
            ties: dict[str, Any] = {}
            if n and shape in ("oto", "bracket", "chain"):
                ties["parent"] = f"order {first if shape != 'chain' else first + n - 1}"
            if shape == "oco" or (n and shape == "bracket"):
                ties["oco"] = f"pair {first}"
            orders.append(written({"client_id": f"order {first + n}", **wish, **ties, "bar": at}))
    # Some are sent again, at the same bar or later, a few of these for other quantities.
    for n, later, more in draw(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 2), st.sampled_from([0, 0, 1])), max_size=3)):
        if n < len(orders):
            orders.append({**orders[n], "quantity": orders[n]["quantity"] + more, "bar": min(orders[n]["bar"] + later, len(days) - 1)})
    terms = draw(
        st.fixed_dictionaries(
            {
                "cash": st.sampled_from([3_000.0, 10_000.0, 100_000.0]),
                "account": st.sampled_from(["margin", "margin", "cash"]),
                "commission": st.sampled_from([None, {"per_share": 0.01}, {"per_order": 1.0, "bps": 5.0}, {"bps": 20.0, "minimum": 0.5}]),
                "participation": st.sampled_from([None, 0.1, 0.29, 1.0]),
                "timing": st.sampled_from(["next_open", "next_open", "next_close", "same_close"]),
                "slippage": st.sampled_from([None, {"model": "bps", "bps": 25.0}, {"model": "volume_share", "k": 0.1}]),
                "tick": st.sampled_from(["0", "0.01", "0.05", "0.25"]),
                "lot": st.sampled_from(["1", "1", "10", "0.1"]),
                "through_ticks": st.integers(0, 2),
                "leverage_max": st.sampled_from([None, 2.0, 1.0, 0.3]),
                "path": st.sampled_from(PATHS),
            }
        )
    )
    if terms["account"] == "cash":
        terms["leverage_max"] = None
    if terms["tick"] == "0":
        terms["through_ticks"] = 0
    return bars, orders, terms


def written(wish: dict[str, Any]) -> dict[str, Any]:
    """The wish with those keys alone that its kind and time in force take."""
    kind, out = wish["kind"], dict(wish)
    if kind not in PRICED:
        del out["limit"]
    if kind not in STOPPED:
        del out["stop"]
    if kind != "trailing_stop" or wish["trail"] is None:
        del out["trail"]
    if kind != "trailing_stop" or wish["trail"] is not None:
        del out["trail_percent"]
    if wish["tif"] != "GTD":
        del out["until"]
    return out


def engine(bars: dict[str, dict[str, list[Any]]], orders: list[dict[str, Any]], terms: dict[str, Any]) -> Any:
    """The public function, with its one warning (same_close) let through."""
    named = {("limit_through_ticks" if name == "through_ticks" else name): value for name, value in terms.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if terms["timing"] == "same_close" else "error")
        return simulator.run_orders(bars, orders, **named)


# How many examples is the loaded profile's to say. No deadline: the first run also loads compiled code.
@settings(deadline=None)
@given(situation=situations())
def test_the_engine_trades_as_the_plain_market_does(
    plain_simulate: Callable[..., dict[str, Any]], situation: tuple[dict[str, dict[str, list[Any]]], list[dict[str, Any]], dict[str, Any]]
) -> None:
    """Same fills, states, cash and equity, wherever the last bit of a float does not decide."""
    compare(plain_simulate, *situation)


@settings(deadline=None)
@given(situation=tied_situations())
def test_orders_that_hang_together_trade_along_every_path_as_in_the_plain_market(
    plain_simulate: Callable[..., dict[str, Any]], situation: tuple[dict[str, dict[str, list[Any]]], list[dict[str, Any]], dict[str, Any]]
) -> None:
    """Every kind, GTD, parents and pairs under the five policies; and the fills that another path would not have given are marked."""
    compare(plain_simulate, *situation)


def compare(
    plain_simulate: Callable[..., dict[str, Any]],
    bars: dict[str, dict[str, list[Any]]],
    orders: list[dict[str, Any]],
    terms: dict[str, Any],
) -> None:
    """Same fills, states, cash and equity."""
    expected = plain_simulate(bars, orders, **terms)
    assume(not expected["knife_edge"])
    # Without a cap, a sale of several times the volume of its bar would slip below zero, of which the rules say nothing.
    assume(all(fill["price"] > 0 for fill in expected["fills"]))
    result = engine(bars, orders, terms)

    mine = sorted(expected["fills"], key=lambda fill: (fill["bar"], fill["client_id"], fill["quantity"], fill["price"]))
    theirs = sorted(result.fills, key=lambda fill: (fill.bar, fill.client_id, fill.quantity, fill.price))
    assert [(x.bar, x.client_id, x.quantity) for x in theirs] == [(x["bar"], x["client_id"], x["quantity"]) for x in mine]
    for fill, plain in zip(theirs, mine, strict=True):
        price = plain["price"]
        assert fill.price == pytest.approx(price, rel=1e-9)
        assert fill.commission == pytest.approx(plain["commission"], rel=1e-9, abs=1e-9)
        assert fill.slippage == pytest.approx(plain["slippage"], rel=1e-9, abs=1e-9 * max(1.0, abs(fill.quantity * price)))
        assert fill.ambiguous is plain["ambiguous"]

    assert [x.client_id for x in result.orders if x.reason == simulator.Reason.CLIENT_ID_REUSED.words] == expected["reused"]
    # The first answer to a client_id is the one that counts.
    answers: dict[str, str] = {}
    for order in result.orders:
        answers.setdefault(order.client_id, str(order.state))
    assert answers == expected["states"]

    turnover = math.fsum(abs(fill["quantity"]) * fill["price"] for fill in expected["fills"]) + terms["cash"]
    assert result.cash == pytest.approx(expected["cash"], rel=1e-9, abs=1e-12 * turnover)
    assert list(result.equity) == pytest.approx(expected["equity"], rel=1e-9, abs=1e-12 * turnover)
