"""Momentum over a cross-section of a few instruments, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from small_markets import flat, markets, plain

from simulator import DAY, Result, simulate
from strategies.momentum import Momentum


def run(rows: dict[str, list[float | None]], **terms: Any) -> Result:
    bars = {symbol: [None if price is None else flat(price) for price in prices] for symbol, prices in rows.items()}
    tape = markets("0", "1", DAY, **bars)
    return simulate(tape, Momentum(**{"lookback": 1, "top": 1, "every": 2, "invest": 1.0} | terms), cash=1000.0, broker=plain(), check=True)


def trades(result: Result) -> list[tuple[str, int, float]]:
    return [(fill.symbol, fill.bar, fill.quantity) for fill in result.fills]


def test_it_holds_what_rose_most_and_looks_again_every_few_bars() -> None:
    """At bar 1 B has doubled; at bar 3 A rises most, while bar 2, at which C did, is not looked at."""
    result = run({"A": [10, 10, 10, 20, 20], "B": [10, 20, 20, 20, 20], "C": [10, 10, 40, 40, 40]})
    assert trades(result) == [("B", 2, 50), ("B", 4, -50), ("A", 4, 50)]


def test_the_best_few_have_equal_shares() -> None:
    """Half of 90 % of 1,000 each, at 20 and 15."""
    assert trades(run({"A": [10, 20, 20], "B": [10, 9, 9], "C": [10, 15, 15]}, top=2, invest=0.9)) == [("A", 2, 22), ("C", 2, 30)]


def test_of_equals_the_first_in_the_list_are_held() -> None:
    assert trades(run({symbol: [10.0, 20.0, 20.0] for symbol in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}, top=2)) == [("A", 2, 25), ("B", 2, 25)]


def test_more_places_than_instruments_leave_cash() -> None:
    assert trades(run({"A": [10, 20, 20], "B": [10, 10, 10]}, top=4)) == [("A", 2, 12), ("B", 2, 25)]


def test_what_has_no_history_yet_is_not_held() -> None:
    assert trades(run({"A": [10, 9, 9], "B": [None, 50, 50]}, top=2)) == [("A", 2, 55)]


def test_what_has_no_bar_now_is_left_as_it_is() -> None:
    """A is held and has no bar at bar 3, where B is best: B is bought, and A stays."""
    result = run({"A": [10, 20, 20, None, 20], "B": [10, 10, 10, 30, 30]})
    assert trades(result) == [("A", 2, 50), ("B", 4, 33)]


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"lookback": 0}, "lookback must be at least 1, was 0"),
        ({"top": 0}, "top must be at least 1, was 0"),
        ({"every": -1}, "every must be at least 1, was -1"),
        ({"invest": 0.0}, "invest must be above 0, was 0.0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Momentum(**terms)
