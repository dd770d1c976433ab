"""An example for each sentence of the rules of trailing stops, auctions and good-till dates, and for each mistake in writing them down."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest
from small_lists import DATES, QUIET, bars, ends, hours, markets, run, send, traded
from small_markets import daily, hourly, plain
from small_markets import run as run_script

from simulator import OrderError, OrderKind, Result, TimeInForce, View, ViewError

# --- trailing stops ----------------------------------------------------------------------------------------------------------------------


def test_a_trailing_stop_stands_an_amount_behind_the_close_it_was_sent_at() -> None:
    result = run(bars(QUIET, (10, 10, 9.4, 9.6, 1000), (9.6, 9.6, 8.9, 9.2, 1000)), send("a", -5, "trailing_stop", trail=1.0))
    assert traded(result) == [("a", 2, -5, 9.0)]


def test_a_trailing_stop_stands_a_percentage_behind() -> None:
    result = run(bars(QUIET, (10, 10, 9.4, 9.6, 1000), (9.6, 9.6, 8.9, 9.2, 1000)), send("a", -5, "trailing_stop", trail_percent=10))
    assert traded(result) == [("a", 2, -5, 9.0)]


def test_a_trailing_stop_follows_the_price_up_and_not_down() -> None:
    """From 9 to 11 with the high of 12, where it stays."""
    table = bars(QUIET, (10, 12, 10, 12, 1000), (11.5, 11.6, 11.2, 11.4, 1000), (11.4, 11.4, 10.5, 10.6, 1000))
    assert traded(run(table, send("a", -5, "trailing_stop", trail=1.0), path="olhc")) == [("a", 3, -5, 11.0)]


def test_a_trailing_stop_to_buy_follows_the_price_down() -> None:
    table = bars(QUIET, (10, 10, 8, 8, 1000), (8.5, 8.8, 8.4, 8.6, 1000), (8.6, 9.5, 8.6, 9.4, 1000))
    assert traded(run(table, send("a", 5, "trailing_stop", trail=1.0), path="ohlc")) == [("a", 3, 5, 9.0)]


def test_a_percentage_is_of_the_best_price_so_far() -> None:
    table = bars(QUIET, (10, 20, 10, 20, 1000), (20, 20, 17, 17, 1000))
    assert traded(run(table, send("a", -5, "trailing_stop", trail_percent=10), path="olhc")) == [("a", 2, -5, 18.0)]


def test_the_old_level_is_tested_before_it_follows() -> None:
    """The bar opens below 9, so that its high of 13 comes too late."""
    assert traded(run(bars(QUIET, (8.5, 13, 8.5, 13, 1000)), send("a", -5, "trailing_stop", trail=1.0))) == [("a", 1, -5, 8.5)]


@pytest.mark.parametrize(("path", "expected"), [("ohlc", [("a", 1, -5, 11.0)]), ("olhc", [])])
def test_a_trailing_stop_follows_the_extreme_that_the_path_has_reached(path: str, expected: list[Any]) -> None:
    """Up to 12 first, and the level of 11 is met on the way down to 9.5; the other way about, the high comes last, and the close is above 11."""
    assert traded(run(bars(QUIET, (10, 12, 9.5, 11.5, 1000)), send("a", -5, "trailing_stop", trail=1.0), path=path)) == expected


def test_a_trailing_stop_that_was_touched_and_met_no_volume_is_a_market_order() -> None:
    table = bars(QUIET, (10, 10, 8, 8, 20), (11, 11, 11, 11, 1000))
    assert traded(run(table, send("a", -5, "trailing_stop", trail=1.0), participation=0.1)) == [("a", 1, -2, 9.0), ("a", 2, -3, 11.0)]


def test_a_bar_without_volume_moves_no_trailing_stop() -> None:
    table = bars(QUIET, (10, 20, 5, 10, 0), (10, 10, 9.2, 9.5, 1000))
    assert traded(run(table, send("a", -5, "trailing_stop", trail=1.0))) == []


def test_levels_of_trailing_stops_are_on_the_grid() -> None:
    """10 less 3.3 % is 9.67: a stop to sell rounds down, to 9.65."""
    table = bars(QUIET, (10, 10, 9.6, 9.7, 1000))
    assert traded(run(table, send("a", -5, "trailing_stop", trail_percent=3.3), tick="0.05")) == [("a", 1, -5, 9.65)]


def test_decimal_amounts_give_decimal_levels() -> None:
    """In floats 4.7 + 0.4 is above 5.1."""
    table = bars((4.7, 4.7, 4.7, 4.7, 1000), (4.7, 5.1, 4.7, 5.0, 1000))
    for tick in ("0", "0.01"):
        assert traded(run(table, send("a", 5, "trailing_stop", trail=0.4), tick=tick)) == [("a", 1, 5, 5.1)]


def test_a_trailing_stop_may_be_given_its_first_level() -> None:
    table = daily(QUIET, (10, 10, 9.4, 9.4, 1000))
    result = run_script(table, {0: lambda view: [view.order(-5, kind=OrderKind.TRAILING_STOP, stop=9.5, trail=1.0)]})
    assert [(fill.bar, fill.price) for fill in result.fills] == [(1, 9.5)]


def test_a_trailing_stop_on_what_has_no_price_yet_starts_from_its_first() -> None:
    table = markets(X=(None, (20, 20, 20, 20, 1000), (20, 20, 18, 18, 1000)), Y=(QUIET, QUIET, QUIET))
    assert traded(run(table, send("a", -5, "trailing_stop", trail=1.0))) == [("a", 2, -5, 19.0)]


# --- auctions ----------------------------------------------------------------------------------------------------------------------------


def test_market_on_open_fills_at_the_open_whatever_the_timing() -> None:
    table = bars(QUIET, (11, 13, 9, 12, 1000))
    for timing in ("next_open", "next_close", "same_close"):
        assert traded(run(table, send("a", 5, "market_on_open"), timing=timing)) == [("a", 1, 5, 11.0)]


def test_market_on_close_fills_at_the_close_whatever_the_timing() -> None:
    table = bars(QUIET, (11, 13, 9, 12, 1000))
    for timing in ("next_open", "next_close", "same_close"):
        assert traded(run(table, send("a", 5, "market_on_close"), timing=timing)) == [("a", 1, 5, 12.0)]


def test_auctions_take_what_the_volume_cap_leaves_over_to_the_next() -> None:
    table = bars(QUIET, (11, 13, 9, 12, 20), (14, 15, 13, 13, 1000))
    assert traded(run(table, send("a", 5, "market_on_open"), participation=0.1)) == [("a", 1, 2, 11.0), ("a", 2, 3, 14.0)]
    assert traded(run(table, send("a", 5, "market_on_close"), participation=0.1)) == [("a", 1, 2, 12.0), ("a", 2, 3, 13.0)]


def test_inside_a_day_market_on_open_waits_for_the_next_session() -> None:
    """Sent after the first hour of one day it waits out that day, and trades as the next opens."""
    day, next_day = hours(QUIET, QUIET, QUIET), hours((11, 11, 11, 11, 1000), (12, 12, 12, 12, 1000), first="2024-01-03T14:30")
    table = {"X": {name: [*day["X"][name], *next_day["X"][name]] for name in day["X"]}}
    result = run(table, send("a", 5, "market_on_open"), interval="1h", stamps="open")
    assert traded(result) == [("a", 3, 5, 11.0)]
    assert [reason for reason, _, _ in result.orders[0].waits] == ["not its auction yet"]


@pytest.mark.parametrize(("cutoff", "bar"), [(120.0, 1), (24 * 3600.0, 2)])
def test_market_on_open_must_be_in_time_for_the_cut_off(cutoff: float, bar: int) -> None:
    """Hourly bars around the clock: sent at 23:00 of the first day, an hour before the next opens. With a day's cut-off it has to wait one more."""
    result = run_script(hourly(*[QUIET] * 72), {22: lambda view: [view.order(5, kind=OrderKind.MARKET_ON_OPEN)]}, plain(open_cutoff_seconds=cutoff))
    assert [fill.bar // 24 for fill in result.fills] == [bar]


def test_inside_a_day_nobody_knows_the_last_bar_so_market_on_close_is_refused() -> None:
    result = run(hours(QUIET, QUIET), send("a", 5, "market_on_close"), interval="1h", stamps="open")
    assert ends(result) == {"a": "rejected: no bar of this data is known to be the last of its session"}


# --- good till a date --------------------------------------------------------------------------------------------------------------------


def test_gtd_lives_to_the_end_of_its_date() -> None:
    table = bars(QUIET, QUIET, (9, 9, 9, 9, 1000), (8, 8, 8, 8, 1000))
    given = {"tif": "GTD", "limit": 9.0}
    assert traded(run(table, send("a", 5, "limit", until=DATES[2], **given))) == [("a", 2, 5, 9.0)]
    result = run(table, send("a", 5, "limit", until=DATES[1], **given))
    assert traded(result) == []
    assert ends(result) == {"a": "expired: past its good-till date"}


def test_gtd_ends_where_its_date_has_no_bar() -> None:
    table = markets(X=(QUIET, None, (9, 9, 9, 9, 1000)), Y=(QUIET, None, QUIET))
    result = run(table, send("a", 5, "limit", limit=9.0, tif="GTD", until=DATES[1]))
    assert ends(result) == {"a": "expired: past its good-till date"}


def test_gtd_may_end_inside_a_day() -> None:
    table = hours(QUIET, QUIET, QUIET, (9, 9, 9, 9, 1000))
    result = run(table, send("a", 5, "limit", limit=9.0, tif="GTD", until="2024-01-02T17:30Z"), interval="1h", stamps="open")
    assert traded(result) == []
    later = run(table, send("a", 5, "limit", limit=9.0, tif="GTD", until="2024-01-02T18:00Z"), interval="1h", stamps="open")
    assert traded(later) == [("a", 3, 5, 9.0)]


def test_what_a_partly_filled_gtd_order_has_stays() -> None:
    table = bars(QUIET, (9, 9, 9, 9, 20), (9, 9, 9, 9, 20))
    result = run(table, send("a", 5, tif="GTD", until=DATES[1]), participation=0.1)
    assert traded(result) == [("a", 1, 2, 9.0)]
    assert ends(result) == {"a": "expired: past its good-till date"}


# --- what is written wrong ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"kind": "trailing_stop"}, "order 0: a trailing_stop order needs trail, in price, or trail_percent, and not both"),
        ({"kind": "trailing_stop", "trail": 1.0, "trail_percent": 5.0}, "needs trail, in price, or trail_percent, and not both"),
        ({"kind": "trailing_stop", "trail": 0.0}, "order 0: trail must be above 0, was 0.0"),
        ({"kind": "trailing_stop", "trail_percent": 100.0}, r"order 0: trail_percent must be in \(0, 100\), was 100.0"),
        ({"kind": "trailing_stop", "trail": "wide"}, "order 0: trail must be a number, was 'wide'"),
        ({"kind": "trailing_stop", "trail": 1.0, "limit": 9.0}, "order 0: a trailing_stop order takes no limit, had 9.0"),
        ({"trail": 1.0}, "order 0: a market order takes no trail, had 1.0"),
        ({"trail_percent": 5.0}, "order 0: a market order takes no trail_percent"),
        ({"kind": "market_on_open", "limit": 9.0}, "order 0: a market_on_open order takes no limit, had 9.0"),
        ({"kind": "market_on_close", "stop": 9.0}, "order 0: a market_on_close order takes no stop, had 9.0"),
        ({"kind": "market_on_clsoe"}, "order 0: kind 'market_on_clsoe' is unknown; did you mean 'market_on_close'?"),
        ({"tif": "GTD"}, "order 0: tif 'GTD' and until go together: give both, or none"),
        ({"until": "2024-01-02"}, "order 0: tif 'GTD' and until go together: give both, or none"),
        ({"tif": "GTD", "until": "tomorrow"}, "order 0: until must be a date or a time such as 2024-03-28 or 2024-03-28T16:00Z, was 'tomorrow'"),
        ({"parent": "b"}, "order 0: its parent 'b' must stand before it, and be sent after the same bar"),
        ({"trial": 1.0}, "order 0: no such key 'trial'; did you mean 'trail'?"),
    ],
)
def test_a_wrong_order_says_where_what_and_the_way_out(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(OrderError, match=message):
        run(bars(QUIET, QUIET), {"client_id": "a", "symbol": "X", "quantity": 1, **terms})


def test_orders_of_one_pair_are_sent_together() -> None:
    with pytest.raises(OrderError, match="order 1: all orders of the oco 'p' must be sent after the same bar"):
        run(bars(QUIET, QUIET), send("a", 1, oco="p"), send("b", 1, bar=1, oco="p"))


def sent(wish: dict[str, Any]) -> Result:
    return run_script(daily(QUIET, QUIET), {0: lambda view: [view.order(1, **wish)]})


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"kind": OrderKind.TRAILING_STOP}, "a trailing stop needs trail above 0, or trail_fraction in .0, 1., and not both; was nan and nan"),
        ({"kind": OrderKind.TRAILING_STOP, "trail": 1.0, "trail_fraction": 0.1}, "and not both; was 1.0 and 0.1"),
        ({"kind": OrderKind.TRAILING_STOP, "trail": -1.0}, "was -1.0 and nan"),
        ({"tif": TimeInForce.GTD}, "a GTD order needs until, in UTC nanoseconds, was 0"),
    ],
)
def test_a_strategy_that_leaves_out_what_an_order_needs_is_told(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        sent(wish)


def test_a_view_refuses_to_cut_what_hangs_together() -> None:
    seen: list[str] = []

    def ask(view: View) -> list[Any]:
        for wrong in (lambda: view.oco(view.order(1)), lambda: view.order(1, kind=OrderKind.TRAILING_STOP, trail_fraction=nan)):
            with pytest.raises(ViewError) as error:
                wrong()
            seen.append(str(error.value))
        return []

    run_script(daily(QUIET, QUIET), {0: ask})
    assert seen[0] == "oco needs two orders or more, none of them cut in time"
