"""One hand-computed example for each sentence of the rules of fills, timing, and of quantity, price and cost."""

from __future__ import annotations

from typing import Any

import pytest
from small_lists import QUIET, bars, markets, run, send, traded


def states(result: Any) -> dict[str, str]:
    """How each order ended, by client_id."""
    return {order.client_id: str(order.state) for order in result.orders}


# --- market orders ---------------------------------------------------------------------------------------------------------------------


def test_a_market_order_fills_at_the_open_of_the_next_bar() -> None:
    result = run(bars(QUIET, (11, 13, 9, 12, 1000)), send("a", 100))
    assert traded(result) == [("a", 1, 100, 11.0)]


def test_a_market_order_to_sell_fills_at_the_open_of_the_next_bar() -> None:
    result = run(bars(QUIET, (11, 13, 9, 12, 1000)), send("a", -100))
    assert traded(result) == [("a", 1, -100, 11.0)]


def test_an_order_never_meets_the_bar_after_whose_close_it_was_sent() -> None:
    result = run(bars(QUIET, (10, 10, 5, 10, 1000), QUIET), send("a", 100, "limit", limit=6.0, bar=1))
    assert traded(result) == []
    assert states(result) == {"a": "accepted"}


def test_a_market_order_waits_where_its_instrument_has_no_bar() -> None:
    result = run(markets(X=(QUIET, None, (12, 12, 12, 12, 1000)), Y=(QUIET, QUIET, QUIET)), send("a", 100))
    assert traded(result) == [("a", 2, 100, 12.0)]


def test_a_market_order_waits_where_a_bar_has_no_volume() -> None:
    result = run(bars(QUIET, (11, 11, 11, 11, 0), (12, 12, 12, 12, 1000)), send("a", 100))
    assert traded(result) == [("a", 2, 100, 12.0)]


def test_an_order_sent_after_the_last_bar_never_fills() -> None:
    result = run(bars(QUIET, QUIET), send("a", 100, bar=1))
    assert traded(result) == []
    assert states(result) == {"a": "accepted"}


# --- limit orders ----------------------------------------------------------------------------------------------------------------------


def test_a_limit_that_the_open_betters_fills_at_the_open() -> None:
    """Price improvement: we wished to pay 9.50 and the market opened at 9.20."""
    result = run(bars(QUIET, (9.2, 9.8, 9.0, 9.6, 1000)), send("a", 100, "limit", limit=9.5))
    assert traded(result) == [("a", 1, 100, 9.2)]


def test_a_limit_that_the_open_meets_exactly_fills_at_the_open_as_a_taker() -> None:
    """A taker slips: 9.50 x 1.01 = 9.595, but a limit is never worse than its limit."""
    result = run(bars(QUIET, (9.5, 9.8, 9.0, 9.6, 1000)), send("a", 100, "limit", limit=9.55), slippage={"model": "bps", "bps": 100})
    assert traded(result) == [("a", 1, 100, 9.55)]


def test_a_limit_touched_inside_the_bar_fills_at_its_limit() -> None:
    result = run(bars(QUIET, (10, 10.2, 9.5, 10, 1000)), send("a", 100, "limit", limit=9.5))
    assert traded(result) == [("a", 1, 100, 9.5)]


def test_a_limit_not_touched_rests() -> None:
    result = run(bars(QUIET, (10, 10.2, 9.51, 10, 1000), (10, 10, 9.4, 10, 1000)), send("a", 100, "limit", limit=9.5))
    assert traded(result) == [("a", 2, 100, 9.5)]


def test_a_limit_to_sell_mirrors_a_limit_to_buy() -> None:
    """The first bar does not reach 10.50, the second does, and 'b' finds the open above its limit."""
    table = bars(QUIET, (10, 10.49, 9, 10, 1000), (10.3, 10.6, 10, 10.1, 1000))
    result = run(table, send("a", -100, "limit", limit=10.5), send("b", -100, "limit", limit=10.2, bar=1))
    assert sorted(traded(result)) == [("a", 2, -100, 10.5), ("b", 2, -100, 10.3)]


def test_a_limit_that_must_be_crossed_does_not_fill_when_it_is_only_touched() -> None:
    """We were last in the queue: 9.50 is touched, 9.49 would be through."""
    terms: dict[str, Any] = {"tick": "0.01", "limit_through_ticks": 1}
    result = run(bars(QUIET, (10, 10.2, 9.5, 10, 1000), (10, 10.2, 9.49, 10, 1000)), send("a", 100, "limit", limit=9.5), **terms)
    assert traded(result) == [("a", 2, 100, 9.5)]


def test_a_limit_to_sell_that_must_be_crossed_by_two_ticks() -> None:
    terms: dict[str, Any] = {"tick": "0.01", "limit_through_ticks": 2}
    result = run(bars(QUIET, (10, 10.51, 9.5, 10, 1000), (10, 10.52, 9.5, 10, 1000)), send("a", -100, "limit", limit=10.5), **terms)
    assert traded(result) == [("a", 2, -100, 10.5)]


@pytest.mark.parametrize("cents", [957, 1602, 1997, 2048])
def test_the_price_one_tick_through_is_exact_at_every_price(cents: int) -> None:
    """The float 16.02 - 0.01 lies below the float 16.01: a bar one tick through a limit fills it all the same."""
    limit, through = cents / 100, (cents - 1) / 100
    table = bars(QUIET, (limit + 0.05, limit + 0.05, through, limit + 0.05, 1000))
    result = run(table, send("a", 100, "limit", limit=limit), tick="0.01", limit_through_ticks=1)
    assert traded(result) == [("a", 1, 100, limit)]


@pytest.mark.parametrize("cents", [957, 1601, 1996, 2048])
def test_the_price_one_tick_through_a_limit_to_sell_is_exact_at_every_price(cents: int) -> None:
    limit, through = cents / 100, (cents + 1) / 100
    table = bars(QUIET, (limit - 0.05, through, limit - 0.05, limit - 0.05, 1000))
    result = run(table, send("a", -100, "limit", limit=limit), tick="0.01", limit_through_ticks=1)
    assert traded(result) == [("a", 1, -100, limit)]


def test_a_limit_that_the_open_meets_needs_no_crossing() -> None:
    result = run(bars(QUIET, (9.5, 9.8, 9.5, 9.6, 1000)), send("a", 100, "limit", limit=9.5), tick="0.01", limit_through_ticks=3)
    assert traded(result) == [("a", 1, 100, 9.5)]


# --- stop orders -----------------------------------------------------------------------------------------------------------------------


def test_a_stop_that_the_open_gaps_over_fills_at_the_open() -> None:
    result = run(bars(QUIET, (11, 12, 10.5, 11, 1000)), send("a", 100, "stop", stop=10.5))
    assert traded(result) == [("a", 1, 100, 11.0)]


def test_a_stop_that_the_open_meets_exactly_trades_at_the_open() -> None:
    """Accepted second, it is still before the limit, which trades inside the bar."""
    orders = [send("limit", 100, "limit", limit=9.5), send("stop", 100, "stop", stop=10.0)]
    result = run(bars((9, 9, 9, 9, 1000), (10, 10, 9, 10, 1000)), *orders, participation=0.1)
    assert traded(result) == [("stop", 1, 100, 10.0)]


def test_a_stop_touched_inside_the_bar_fills_at_its_stop() -> None:
    result = run(bars(QUIET, (10, 10.5, 9, 10, 1000)), send("a", 100, "stop", stop=10.5))
    assert traded(result) == [("a", 1, 100, 10.5)]


def test_a_stop_not_touched_rests() -> None:
    result = run(bars(QUIET, (10, 10.49, 9, 10, 1000), (10, 10.6, 9, 10, 1000)), send("a", 100, "stop", stop=10.5))
    assert traded(result) == [("a", 2, 100, 10.5)]


def test_a_stop_to_sell_mirrors_a_stop_to_buy() -> None:
    """'a' is touched inside its bar at 9.50; 'b' at 9.70 finds the open below it."""
    table = bars(QUIET, (10, 11, 9.5, 10, 1000), (9.6, 10, 9.55, 10, 1000))
    result = run(table, send("a", -100, "stop", stop=9.5), send("b", -100, "stop", stop=9.7, bar=1))
    assert traded(result) == [("a", 1, -100, 9.5), ("b", 2, -100, 9.6)]


def test_what_the_volume_cap_leaves_of_a_triggered_stop_is_a_market_order_from_the_next_open() -> None:
    """10 % of 500 is 50 at the stop; the price then falls away from 10.50, and the other 50 trade at 9 all the same."""
    result = run(bars(QUIET, (10, 10.5, 9, 9, 500), (9, 9.1, 8, 8, 1000)), send("a", 100, "stop", stop=10.5), participation=0.1)
    assert traded(result) == [("a", 1, 50, 10.5), ("a", 2, 50, 9.0)]


def test_a_stop_is_triggered_for_good_even_by_a_bar_that_leaves_it_no_volume() -> None:
    """10 % of 5 shares is none."""
    result = run(bars(QUIET, (10, 10.5, 9, 9, 5), (9, 9.1, 8, 8, 1000)), send("a", 100, "stop", stop=10.5), participation=0.1)
    assert traded(result) == [("a", 2, 100, 9.0)]


# --- stop-limit orders -----------------------------------------------------------------------------------------------------------------


def test_a_stop_limit_gapped_over_fills_at_the_open_where_its_limit_allows() -> None:
    result = run(bars(QUIET, (10.6, 11, 10.2, 10.8, 1000)), send("a", 100, "stop_limit", stop=10.5, limit=10.7))
    assert traded(result) == [("a", 1, 100, 10.6)]


def test_a_stop_limit_gapped_over_is_a_limit_in_that_same_bar() -> None:
    """It opens at 11, above the limit, and comes back to 10.70."""
    result = run(bars(QUIET, (11, 11.2, 10.7, 11, 1000)), send("a", 100, "stop_limit", stop=10.5, limit=10.7))
    assert traded(result) == [("a", 1, 100, 10.7)]


def test_a_stop_limit_triggered_inside_the_bar_fills_at_its_stop_where_its_limit_allows() -> None:
    result = run(bars(QUIET, (10, 10.9, 9.5, 10, 1000)), send("a", 100, "stop_limit", stop=10.5, limit=10.7))
    assert traded(result) == [("a", 1, 100, 10.5)]


def test_a_stop_limit_at_its_stop_needs_no_proof() -> None:
    """Touched at 10.50 it may pay 10.50, wherever the bar closes."""
    result = run(bars(QUIET, (10, 10.9, 9.5, 10.8, 1000)), send("a", 100, "stop_limit", stop=10.5, limit=10.5))
    assert traded(result) == [("a", 1, 100, 10.5)]


def test_a_stop_limit_below_its_stop_fills_at_its_limit_if_the_close_proves_the_path() -> None:
    """Up through 10.50, and the close at 10.20 lies beyond the limit of 10.30."""
    result = run(bars(QUIET, (10, 10.6, 9.5, 10.2, 1000)), send("a", 100, "stop_limit", stop=10.5, limit=10.3))
    assert traded(result) == [("a", 1, 100, 10.3)]


def test_a_stop_limit_below_its_stop_rests_as_a_limit_if_the_close_proves_nothing() -> None:
    """The low of 9.50 may have come before the stop was touched. In the next bar it is a limit: at the open of 10.25."""
    result = run(bars(QUIET, (10, 10.6, 9.5, 10.4, 1000), (10.25, 10.3, 10, 10, 1000)), send("a", 100, "stop_limit", stop=10.5, limit=10.3))
    assert traded(result) == [("a", 2, 100, 10.25)]


def test_what_trades_at_the_open_takes_no_proof_off_a_stop_limit() -> None:
    """The limit is done at the open; inside the bar the stop-limit is alone, and its close of 10.40 proves nothing."""
    limit, stop = send("a", 100, "limit", limit=10.0), send("b", 100, "stop_limit", stop=10.5, limit=10.3)
    assert traded(run(bars(QUIET, (9.8, 10.6, 9.5, 10.4, 1000)), limit, stop)) == [("a", 1, 100, 9.8)]


def test_a_stop_limit_that_must_be_crossed_needs_a_close_that_proves_it() -> None:
    """A close at the limit proves a touch, not a crossing. In the next bar it is a limit: at the open of 10.30."""
    table = bars(QUIET, (10, 10.6, 9.5, 10.3, 1000), (10.3, 10.3, 10.3, 10.3, 1000))
    order = send("a", 100, "stop_limit", stop=10.5, limit=10.3)
    assert traded(run(table, order, tick="0.01")) == [("a", 1, 100, 10.3)]
    assert traded(run(table, order, tick="0.01", limit_through_ticks=1)) == [("a", 2, 100, 10.3)]


def test_a_stop_limit_not_touched_rests_though_its_limit_is() -> None:
    result = run(bars(QUIET, (10, 10.4, 9, 10, 1000)), send("a", 100, "stop_limit", stop=10.5, limit=10.3))
    assert traded(result) == []
    assert states(result) == {"a": "accepted"}


def test_a_stop_limit_to_sell_mirrors_each_case() -> None:
    """Gap at the open; gap and back to the limit; inside at the stop; inside, proved by the close; inside, unproved and then a limit."""
    table = bars(QUIET, (9.4, 9.7, 9, 9.6, 1000), (10, 10, 9.4, 9.75, 1000), (9.8, 9.8, 9.8, 9.8, 1000))
    result = run(
        table,
        send("gap", -1, "stop_limit", stop=9.5, limit=9.3),
        send("back", -1, "stop_limit", stop=9.5, limit=9.65),
        send("inside", -1, "stop_limit", stop=9.5, limit=9.3, bar=1),
        send("proved", -1, "stop_limit", stop=9.5, limit=9.7, bar=1),
        send("unproved", -1, "stop_limit", stop=9.5, limit=9.78, bar=1),
    )
    expected = [("back", 1, -1, 9.65), ("gap", 1, -1, 9.4), ("inside", 2, -1, 9.5), ("proved", 2, -1, 9.7), ("unproved", 3, -1, 9.8)]
    assert sorted(traded(result)) == expected


# --- bars without volume ---------------------------------------------------------------------------------------------------------------


def test_a_bar_without_volume_fills_no_limit() -> None:
    result = run(bars(QUIET, (10, 10, 9, 10, 0)), send("a", 100, "limit", limit=9.5))
    assert traded(result) == []


def test_a_bar_without_volume_triggers_no_stop() -> None:
    result = run(bars(QUIET, (10, 11, 10, 10, 0), QUIET), send("a", 100, "stop", stop=10.5))
    assert traded(result) == []
    assert states(result) == {"a": "accepted"}


def test_a_data_set_without_volume_has_no_cap() -> None:
    table = bars(QUIET, QUIET)
    del table["X"]["volume"]
    assert traded(run(table, send("a", 1_000_000), participation=0.1)) == [("a", 1, 1_000_000, 10.0)]


# --- timing modes ----------------------------------------------------------------------------------------------------------------------


def test_next_open_is_the_default() -> None:
    table = bars(QUIET, (11, 13, 9, 12, 1000))
    assert run(table, send("a", 100)).fills == run(table, send("a", 100), timing="next_open").fills


def test_next_close_fills_market_orders_at_the_next_close() -> None:
    result = run(bars(QUIET, (11, 13, 9, 12, 1000)), send("a", 100), timing="next_close")
    assert traded(result) == [("a", 1, 100, 12.0)]


def test_next_close_leaves_limits_and_stops_on_the_path_of_the_bar() -> None:
    orders = [send("limit", 1, "limit", limit=9.5), send("stop", 1, "stop", stop=12.5)]
    result = run(bars(QUIET, (11, 13, 9, 12, 1000)), *orders, timing="next_close")
    assert sorted(traded(result)) == [("limit", 1, 1, 9.5), ("stop", 1, 1, 12.5)]


def test_same_close_fills_market_orders_at_the_close_of_their_own_bar() -> None:
    result = run(bars(QUIET, (11, 13, 9, 12, 1000), QUIET), send("a", 100, bar=1), timing="same_close")
    assert traded(result) == [("a", 1, 100, 12.0)]


def test_same_close_books_and_marks_in_that_step() -> None:
    """100 shares at 12 with a commission of 5 that is gone at once; then the close at 10 loses 200."""
    result = run(bars(QUIET, (11, 13, 9, 12, 1000), QUIET), send("a", 100, bar=1), timing="same_close", commission={"per_order": 5}, cash=10_000.0)
    assert list(result.equity) == [10_000.0, 9_995.0, 9_795.0]


def test_same_close_ends_a_day_order_with_the_close_that_it_traded_at() -> None:
    """10 % of 400 is 40; the session of the order is over."""
    result = run(bars((10, 10, 10, 10, 400), QUIET), send("a", 100, tif="DAY"), timing="same_close", participation=0.1)
    assert traded(result) == [("a", 0, 40, 10.0)]
    assert states(result) == {"a": "expired"}


def test_same_close_makes_other_kinds_wait_for_the_next_bar() -> None:
    orders = [send("limit", 1, "limit", limit=10.0), send("stop", 1, "stop", stop=10.0)]
    result = run(bars(QUIET, (9, 9, 9, 9, 1000), (12, 12, 12, 12, 1000)), *orders, timing="same_close")
    assert sorted(traded(result)) == [("limit", 1, 1, 9.0), ("stop", 2, 1, 12.0)]


# --- time in force ---------------------------------------------------------------------------------------------------------------------


def test_gtc_is_the_default_and_rests_until_the_end() -> None:
    result = run(bars(QUIET, *[QUIET] * 8, (10, 10, 9, 10, 1000)), send("a", 100, "limit", limit=9.5))
    assert traded(result) == [("a", 9, 100, 9.5)]


def test_a_day_order_fills_in_its_session() -> None:
    result = run(bars(QUIET, (10, 10, 9, 10, 1000)), send("a", 100, "limit", limit=9.5, tif="DAY"))
    assert states(result) == {"a": "filled"}


def test_a_day_order_ends_at_the_close_of_its_session() -> None:
    result = run(bars(QUIET, QUIET, (10, 10, 9, 10, 1000)), send("a", 100, "limit", limit=9.5, tif="DAY"))
    assert traded(result) == []
    assert states(result) == {"a": "expired"}


def test_a_day_order_ends_with_its_session_though_its_instrument_had_no_bar() -> None:
    table = markets(X=(QUIET, None, QUIET), Y=(QUIET, QUIET, QUIET))
    result = run(table, send("a", 100, tif="DAY"))
    assert traded(result) == []
    assert states(result) == {"a": "expired"}


def test_a_day_order_keeps_what_it_traded_and_loses_the_rest() -> None:
    result = run(bars(QUIET, (10, 10, 10, 10, 400), QUIET), send("a", 100, tif="DAY"), participation=0.1)
    assert traded(result) == [("a", 1, 40, 10.0)]
    assert states(result) == {"a": "expired"}


def test_a_day_order_lives_through_all_bars_of_its_session() -> None:
    """Sent in the first hour: 'a' trades in the third, 'b' ends with the session, and the next day's low comes too late for it."""
    hours = [f"2024-01-02 {hour}:00:00+00:00" for hour in (15, 16, 17)] + ["2024-01-03 15:00:00+00:00"]
    lows = (10.0, 10.0, 9.5, 9.0)
    table = {"X": {"date": hours, "open": [10.0] * 4, "high": [10.0] * 4, "low": lows, "close": [10.0] * 4, "volume": [1000.0] * 4}}
    orders = [send("a", 1, "limit", limit=9.5, tif="DAY"), send("b", 1, "limit", limit=9.2, tif="DAY")]
    result = run(table, *orders, interval="1h", stamps="open")
    assert traded(result) == [("a", 2, 1, 9.5)]
    assert states(result) == {"a": "filled", "b": "expired"}


def test_a_day_order_sent_at_the_close_lives_in_the_next_session() -> None:
    hours = ["2024-01-02 20:00:00+00:00"] + [f"2024-01-03 {hour}:00:00+00:00" for hour in (15, 16)]
    table = {"X": {"date": hours, "open": [10.0] * 3, "high": [10.0] * 3, "low": [10.0, 10.0, 9.0], "close": [10.0] * 3, "volume": [1000.0] * 3}}
    result = run(table, send("a", 1, "limit", limit=9.5, tif="DAY"), interval="1h", stamps="open")
    assert traded(result) == [("a", 2, 1, 9.5)]


def test_a_gtc_order_waits_for_the_volume_that_it_lacks() -> None:
    """10 % of 400 is 40, twice, and then the last 20."""
    result = run(bars(QUIET, *[(10, 10, 10, 10, 400)] * 3), send("a", 100), participation=0.1)
    assert traded(result) == [("a", 1, 40, 10.0), ("a", 2, 40, 10.0), ("a", 3, 20, 10.0)]
    assert states(result) == {"a": "filled"}


def test_an_ioc_order_takes_what_there_is_and_goes() -> None:
    result = run(bars(QUIET, (10, 10, 10, 10, 400), QUIET), send("a", 100, tif="IOC"), participation=0.1)
    assert traded(result) == [("a", 1, 40, 10.0)]
    assert states(result) == {"a": "cancelled"}


def test_an_ioc_order_that_its_bar_does_not_touch_goes() -> None:
    result = run(bars(QUIET, QUIET, (9, 9, 9, 9, 1000)), send("a", 100, "limit", limit=9.5, tif="IOC"))
    assert traded(result) == []
    assert states(result) == {"a": "cancelled"}


def test_an_ioc_order_waits_for_the_first_bar_with_volume() -> None:
    result = run(bars(QUIET, (11, 11, 11, 11, 0), (12, 12, 12, 12, 1000)), send("a", 100, tif="IOC"))
    assert traded(result) == [("a", 2, 100, 12.0)]


def test_a_fok_order_fills_whole() -> None:
    result = run(bars(QUIET, (10, 10, 10, 10, 1000)), send("a", 100, tif="FOK"), participation=0.1)
    assert traded(result) == [("a", 1, 100, 10.0)]


def test_a_fok_order_that_cannot_fill_whole_goes_untraded() -> None:
    result = run(bars(QUIET, (10, 10, 10, 10, 990), QUIET), send("a", 100, tif="FOK"), participation=0.1)
    assert traded(result) == []
    assert states(result) == {"a": "cancelled"}


def test_a_partly_filled_order_says_so_at_the_end() -> None:
    result = run(bars(QUIET, (10, 10, 10, 10, 400)), send("a", 100), participation=0.1)
    assert states(result) == {"a": "partially_filled"}
    assert [order.filled for order in result.orders] == [40]


# --- quantity --------------------------------------------------------------------------------------------------------------------------


def test_quantities_round_toward_zero_to_the_lot() -> None:
    result = run(bars(QUIET, QUIET), send("a", 199.0), send("b", -199.0), lot="100")
    assert traded(result) == [("a", 1, 100, 10.0), ("b", 1, -100, 10.0)]


def test_a_lot_is_a_decimal_and_units_are_rounded_once() -> None:
    """3 lots of 0.1 are the float 0.3, not 0.30000000000000004."""
    result = run(bars(QUIET, QUIET), send("a", 0.3), lot="0.1")
    assert [fill.quantity for fill in result.fills] == [0.3]


def test_the_smallest_lot_of_a_coin_can_be_traded() -> None:
    result = run(bars(QUIET, QUIET), send("a", 0.00000001), lot="0.00000001")
    assert [fill.quantity for fill in result.fills] == [0.00000001]


@pytest.mark.parametrize("quantity", [10.7, -33.3, 123.45678912])
def test_a_quantity_of_many_small_lots_is_not_cut_by_the_rounding_of_floats(quantity: float) -> None:
    """10.7 x 100,000,000 is 1069999999.9999999 in floats, and 1,070,000,000 lots."""
    result = run(bars(QUIET, QUIET), send("a", quantity), lot="0.00000001")
    assert [fill.quantity for fill in result.fills] == [quantity]


def test_a_closed_position_is_exactly_zero() -> None:
    """0.1 + 0.2 - 0.3 is not zero in floats; in lots it is, and a cash account does not see the last sale as a short."""
    orders = [send("a", 0.1), send("b", 0.2), send("c", -0.3, bar=1)]
    result = run(bars(QUIET, QUIET, QUIET, (1e9, 1e9, 1e9, 1e9, 1)), *orders, lot="0.1", account="cash")
    assert states(result) == {"a": "filled", "b": "filled", "c": "filled"}
    assert result.equity[-1] == result.cash


@pytest.mark.parametrize("quantity", [0, 0.5, -0.99])
def test_an_order_for_no_lots_is_rejected_with_a_reason(quantity: float) -> None:
    result = run(bars(QUIET, QUIET), send("a", quantity))
    assert states(result) == {"a": "rejected"}
    assert result.orders[0].reason


# --- the price grid --------------------------------------------------------------------------------------------------------------------


def test_a_limit_to_buy_rounds_down_to_the_tick() -> None:
    result = run(bars(QUIET, (10, 10, 9.5, 10, 1000), (10, 10, 9, 10, 1000)), send("a", 100, "limit", limit=9.547), tick="0.05")
    assert traded(result) == [("a", 1, 100, 9.5)]


def test_a_limit_to_sell_rounds_up_to_the_tick() -> None:
    result = run(bars(QUIET, (10, 10.55, 10, 10, 1000)), send("a", -100, "limit", limit=10.503), tick="0.05")
    assert traded(result) == [("a", 1, -100, 10.55)]


def test_a_stop_to_buy_rounds_up_to_the_tick() -> None:
    result = run(bars(QUIET, (10, 10.6, 10, 10, 1000)), send("a", 100, "stop", stop=10.503), tick="0.05")
    assert traded(result) == [("a", 1, 100, 10.55)]


def test_a_stop_to_sell_rounds_down_to_the_tick() -> None:
    result = run(bars(QUIET, (10, 10, 9, 10, 1000)), send("a", -100, "stop", stop=9.547), tick="0.05")
    assert traded(result) == [("a", 1, -100, 9.5)]


def test_a_price_on_the_grid_passes_unchanged_in_every_bit() -> None:
    """0.1 + 0.2 is within 1e-9 ticks of 0.30: it stays the float that it was."""
    price = 0.1 + 0.2
    result = run(bars((1, 1, 1, 1, 1000), (1, 1, 0.2, 1, 1000)), send("a", 100, "limit", limit=price), tick="0.01")
    assert [fill.price for fill in result.fills] == [price]


def test_a_price_on_a_fine_grid_passes_unchanged_too() -> None:
    """10.7 is 1,070,000,000 ticks, though the floats say 1069999999.9999999."""
    result = run(bars(QUIET, (20, 20, 9, 20, 1000)), send("a", 100, "limit", limit=10.7), tick="0.00000001")
    assert [fill.price for fill in result.fills] == [10.7]


def test_no_tick_means_no_grid() -> None:
    result = run(bars(QUIET, (10, 10, 9, 10, 1000)), send("a", 100, "limit", limit=9.54321), tick="0")
    assert [fill.price for fill in result.fills] == [9.54321]


# --- participation ---------------------------------------------------------------------------------------------------------------------


def test_the_volume_budget_is_the_floor_of_the_cap() -> None:
    """10 % of 1239 is 123.9."""
    result = run(bars(QUIET, (10, 10, 10, 10, 1239)), send("a", 1000), participation=0.1)
    assert traded(result) == [("a", 1, 123, 10.0)]


def test_the_volume_budget_forgives_the_rounding_of_floats() -> None:
    """0.29 x 100 is 28.999999999999996 in floats, and 29 shares in any broker's books."""
    result = run(bars(QUIET, (10, 10, 10, 10, 100)), send("a", 1000), participation=0.29)
    assert traded(result) == [("a", 1, 29, 10.0)]


def test_the_volume_budget_is_in_whole_lots() -> None:
    """10 % of 1239 is 12 lots of 10."""
    result = run(bars(QUIET, (10, 10, 10, 10, 1239)), send("a", 1000), participation=0.1, lot="10")
    assert traded(result) == [("a", 1, 120, 10.0)]


def test_our_orders_share_one_budget_by_acceptance_whatever_their_side() -> None:
    result = run(bars(QUIET, (10, 10, 10, 10, 1000)), send("a", 70), send("b", -70), send("c", 70), participation=0.1)
    assert traded(result) == [("a", 1, 70, 10.0), ("b", 1, -30, 10.0)]


def test_what_fills_at_the_open_takes_of_the_budget_before_what_fills_later() -> None:
    """The limit was accepted first, but the market order trades first."""
    orders = [send("limit", 70, "limit", limit=9.5), send("market", 70)]
    result = run(bars(QUIET, (10, 10, 9, 10, 1000)), *orders, participation=0.1)
    assert sorted(traded(result)) == [("limit", 1, 30, 9.5), ("market", 1, 70, 10.0)]


def test_each_instrument_and_each_bar_has_its_own_budget() -> None:
    table = markets(X=(QUIET, QUIET, QUIET), Y=(QUIET, QUIET, QUIET))
    result = run(table, send("x", 150), send("y", 150, symbol="Y"), participation=0.1)
    assert sorted(traded(result)) == [("x", 1, 100, 10.0), ("x", 2, 50, 10.0), ("y", 1, 100, 10.0), ("y", 2, 50, 10.0)]


def test_an_order_that_goes_untraded_leaves_its_budget_to_the_next() -> None:
    result = run(bars(QUIET, (10, 10, 10, 10, 1000)), send("a", 101, tif="FOK"), send("b", 100), participation=0.1)
    assert traded(result) == [("b", 1, 100, 10.0)]


def test_there_is_no_cap_unless_one_is_asked_for() -> None:
    assert traded(run(bars(QUIET, QUIET), send("a", 5000))) == [("a", 1, 5000, 10.0)]


# --- slippage --------------------------------------------------------------------------------------------------------------------------


def test_no_slippage_is_the_default() -> None:
    assert run(bars(QUIET, QUIET), send("a", 100)).fills == run(bars(QUIET, QUIET), send("a", 100), slippage={"model": "none"}).fills


def test_fixed_slippage_is_in_basis_points_against_us() -> None:
    """20 bps of 10.00 are 0.02."""
    result = run(bars(QUIET, QUIET), send("a", 100), send("b", -100), slippage={"model": "bps", "bps": 20})
    assert traded(result) == [("a", 1, 100, 10.02), ("b", 1, -100, 9.98)]


def test_half_of_the_spread_is_lost_by_who_takes() -> None:
    result = run(bars(QUIET, QUIET), send("a", 100), send("b", -100), slippage={"model": "half_spread", "spread": 0.06})
    assert traded(result) == [("a", 1, 100, 10.03), ("b", 1, -100, 9.97)]


def test_volume_share_slippage_grows_with_the_square_of_the_share() -> None:
    """200 of 1000 are 20 %: 10 x (1 + 0.1 x 0.04) = 10.04."""
    result = run(bars(QUIET, QUIET), send("a", 200), slippage={"model": "volume_share", "k": 0.1})
    assert traded(result) == [("a", 1, 200, 10.04)]


def test_volume_share_slippage_has_a_default_of_one_tenth() -> None:
    result = run(bars(QUIET, QUIET), send("a", -200), slippage={"model": "volume_share"})
    assert traded(result) == [("a", 1, -200, 9.96)]


def test_volume_share_slippage_counts_all_that_we_have_taken_of_the_bar() -> None:
    """The second order brings our share to 50 %: 10 x (1 - 0.1 x 0.25) = 9.75."""
    result = run(bars(QUIET, QUIET), send("a", 200), send("b", -300), slippage={"model": "volume_share", "k": 0.1})
    assert traded(result) == [("a", 1, 200, 10.04), ("b", 1, -300, 9.75)]


def test_a_stop_is_a_taker_and_slips() -> None:
    result = run(bars(QUIET, (10, 11, 10, 10, 1000)), send("a", 100, "stop", stop=10.5), slippage={"model": "bps", "bps": 100})
    assert traded(result) == [("a", 1, 100, 10.605)]


def test_a_limit_met_inside_the_bar_is_a_maker_and_does_not_slip() -> None:
    result = run(bars(QUIET, (10, 10, 9, 10, 1000)), send("a", 100, "limit", limit=9.5), slippage={"model": "bps", "bps": 100})
    assert traded(result) == [("a", 1, 100, 9.5)]
    assert result.fills[0].slippage == 0


def test_a_limit_never_fills_worse_than_its_limit_after_slippage() -> None:
    """Selling at 10 less 1 % would be 9.90, below the limit of 9.95."""
    result = run(bars(QUIET, QUIET), send("a", -100, "limit", limit=9.95), slippage={"model": "bps", "bps": 100})
    assert traded(result) == [("a", 1, -100, 9.95)]


def test_a_stop_limit_never_fills_worse_than_its_limit_after_slippage() -> None:
    """Triggered at 10.50: 1 % more would be 10.605, above the limit of 10.55."""
    terms: dict[str, Any] = {"slippage": {"model": "bps", "bps": 100}}
    result = run(bars(QUIET, (10, 11, 10, 10, 1000)), send("a", 100, "stop_limit", stop=10.5, limit=10.55), **terms)
    assert traded(result) == [("a", 1, 100, 10.55)]


# --- commission ------------------------------------------------------------------------------------------------------------------------


def commissions(result: Any) -> list[Any]:
    """The commission of each fill."""
    return [pytest.approx(fill.commission, rel=1e-12, abs=1e-12) for fill in result.fills]


def test_there_is_no_commission_unless_one_is_asked_for() -> None:
    assert commissions(run(bars(QUIET, QUIET), send("a", 100))) == [0.0]


def test_a_commission_per_share() -> None:
    assert commissions(run(bars(QUIET, QUIET), send("a", -300), commission={"per_share": 0.005})) == [1.5]


def test_a_commission_per_order_is_paid_once_across_its_partial_fills() -> None:
    table = bars(QUIET, *[(10, 10, 10, 10, 400)] * 3)
    assert commissions(run(table, send("a", 100), commission={"per_order": 5}, participation=0.1)) == [5.0, 0.0, 0.0]


def test_a_commission_in_basis_points_of_what_is_paid() -> None:
    """100 shares at 10.02 after slippage are 1002; 10 bps of that are 1.002."""
    terms: dict[str, Any] = {"commission": {"bps": 10}, "slippage": {"model": "bps", "bps": 20}}
    assert commissions(run(bars(QUIET, QUIET), send("a", 100), **terms)) == [1.002]


def test_the_parts_of_a_commission_add_up() -> None:
    """300 x 0.01 + 2 + 3000 x 0.001 = 8."""
    assert commissions(run(bars(QUIET, QUIET), send("a", 300), commission={"per_share": 0.01, "per_order": 2, "bps": 10})) == [8.0]


def test_the_minimum_is_paid_with_the_first_fill_and_later_only_the_excess() -> None:
    """At 0.02 a share 40 cost 0.80 and 80 cost 1.60, both within the minimum of 1.50 or just above it; 100 cost 2.00."""
    table = bars(QUIET, *[(10, 10, 10, 10, 400)] * 3)
    terms: dict[str, Any] = {"commission": {"per_share": 0.02, "minimum": 1.5}, "participation": 0.1}
    assert commissions(run(table, send("a", 100), **terms)) == [1.5, 0.1, 0.4]


def test_the_maximum_is_per_order_across_its_partial_fills() -> None:
    """At 0.02 a share: 0.80, then 0.80 of which 0.20 are left to the maximum of 1.00, then nothing."""
    table = bars(QUIET, *[(10, 10, 10, 10, 400)] * 3)
    terms: dict[str, Any] = {"commission": {"per_share": 0.02, "maximum": 1.0}, "participation": 0.1}
    assert commissions(run(table, send("a", 100), **terms)) == [0.8, 0.2, 0.0]


def test_the_minimum_is_per_order_and_not_per_day() -> None:
    assert commissions(run(bars(QUIET, QUIET), send("a", 10), send("b", 10), commission={"per_share": 0.01, "minimum": 1})) == [1.0, 1.0]


def test_commissions_are_not_rounded() -> None:
    assert commissions(run(bars(QUIET, QUIET), send("a", 1), commission={"per_share": 0.00123})) == [0.00123]


# --- price, slippage, commission -------------------------------------------------------------------------------------------------------


def test_the_price_is_what_was_paid_the_slippage_is_money_and_the_commission_is_apart() -> None:
    """Reference 10, paid 10.02: 100 x 0.02 = 2 of slippage, and 1 of commission. Cash: 10000 - 1002 - 1."""
    terms: dict[str, Any] = {"slippage": {"model": "bps", "bps": 20}, "commission": {"per_share": 0.01}}
    result = run(bars(QUIET, QUIET), send("a", 100), cash=10_000.0, **terms)
    fill = result.fills[0]
    assert (fill.price, fill.slippage, fill.commission) == pytest.approx((10.02, 2.0, 1.0), rel=1e-9)
    assert result.cash == pytest.approx(8_997.0, rel=1e-12)


def test_the_slippage_of_a_sale_is_a_loss_too() -> None:
    result = run(bars(QUIET, QUIET), send("a", -100), slippage={"model": "bps", "bps": 20})
    assert result.fills[0].slippage == pytest.approx(2.0, rel=1e-9)


# --- positions, cash and equity --------------------------------------------------------------------------------------------------------


def test_equity_is_cash_and_positions_at_the_last_close() -> None:
    """100 shares at 11: 8900 of cash, and 12 and 13 at the closes."""
    result = run(bars(QUIET, (11, 12, 11, 12, 1000), (12, 13, 12, 13, 1000)), send("a", 100), cash=10_000.0)
    assert list(result.equity) == [10_000.0, 10_100.0, 10_200.0]


def test_the_last_mark_stays_where_there_is_no_bar() -> None:
    table = markets(X=(QUIET, (11, 12, 11, 12, 1000), None, (13, 13, 13, 13, 1000)), Y=(QUIET,) * 4)
    assert list(run(table, send("a", 100), cash=10_000.0).equity) == [10_000.0, 10_100.0, 10_100.0, 10_200.0]


def test_a_flip_closes_first_and_opens_the_rest_at_the_fill_price() -> None:
    """Long 100 from 10; sold 150 at 12: 200 realised, short 50 from 12; at 11 the short has won 50."""
    table = bars(QUIET, QUIET, (12, 12, 12, 12, 1000), (11, 11, 11, 11, 1000))
    result = run(table, send("a", 100), send("b", -150, bar=1), cash=10_000.0)
    assert traded(result) == [("a", 1, 100, 10.0), ("b", 2, -150, 12.0)]
    assert result.cash == 10_000.0 - 1000 + 1800
    assert list(result.equity) == [10_000.0, 10_000.0, 10_200.0, 10_250.0]


# --- cash accounts ---------------------------------------------------------------------------------------------------------------------


def test_a_cash_account_refuses_a_short_and_the_next_orders_go_on() -> None:
    result = run(bars(QUIET, QUIET), send("a", -100), send("b", 50), account="cash")
    assert traded(result) == [("b", 1, 50, 10.0)]
    assert states(result) == {"a": "rejected", "b": "filled"}
    assert result.orders[0].reason


def test_a_cash_account_refuses_to_sell_more_than_it_holds() -> None:
    result = run(bars(QUIET, QUIET, QUIET), send("a", 100), send("b", -101, bar=1), send("c", -100, bar=1), account="cash")
    assert states(result) == {"a": "filled", "b": "rejected", "c": "filled"}


def test_a_cash_account_never_sells_twice_what_it_holds() -> None:
    result = run(bars(QUIET, QUIET, QUIET), send("a", 100), send("b", -100, bar=1), send("c", -100, bar=1), account="cash")
    assert states(result) == {"a": "filled", "b": "filled", "c": "rejected"}


def test_a_cash_account_refuses_what_cash_will_not_cover_when_it_would_fill() -> None:
    """100 at 10 were affordable when it was sent; at the open of 11 they are not. The next order, of 90, is."""
    result = run(bars(QUIET, (11, 11, 11, 11, 1000)), send("a", 100), send("b", 90), account="cash", cash=1000.0)
    assert traded(result) == [("b", 1, 90, 11.0)]
    assert states(result) == {"a": "rejected", "b": "filled"}
    assert result.orders[0].reason


def test_cash_must_cover_the_commission_too() -> None:
    terms: dict[str, Any] = {"account": "cash", "commission": {"per_order": 1}}
    assert states(run(bars(QUIET, QUIET), send("a", 100), cash=1000.0, **terms)) == {"a": "rejected"}
    assert states(run(bars(QUIET, QUIET), send("a", 100), cash=1001.0, **terms)) == {"a": "filled"}


def test_a_cash_account_may_spend_all_it_has() -> None:
    result = run(bars(QUIET, QUIET), send("a", 100), account="cash", cash=1000.0)
    assert states(result) == {"a": "filled"}
    assert result.cash == 0.0


def test_a_cash_account_works_sells_before_buys_inside_one_batch() -> None:
    """All cash is in X. The order to buy Y comes first, but the sale of X pays for it: unsettled proceeds may buy."""
    table = markets(X=(QUIET,) * 3, Y=(QUIET,) * 3)
    orders = [send("first", 100), send("buy", 100, symbol="Y", bar=1), send("sell", -100, bar=1)]
    result = run(table, *orders, account="cash", cash=1000.0)
    assert states(result) == {"first": "filled", "buy": "filled", "sell": "filled"}
    assert result.cash == 0.0


def test_the_sells_of_a_batch_keep_their_order() -> None:
    """A budget of 100 shares: the first of the two sales has it."""
    result = run(bars(QUIET, QUIET, QUIET), send("x", 100), send("a", -60, bar=1), send("b", -60, bar=1), account="cash", participation=0.1)
    assert traded(result) == [("x", 1, 100, 10.0), ("a", 2, -60, 10.0), ("b", 2, -40, 10.0)]


def test_a_refused_fill_takes_nothing_of_the_volume_budget() -> None:
    result = run(bars(QUIET, QUIET), send("a", 5000), send("b", 90), account="cash", cash=950.0, participation=0.1)
    assert traded(result) == [("b", 1, 90, 10.0)]


# --- margin accounts with a leverage limit ---------------------------------------------------------------------------------------------


def test_a_margin_account_may_be_short_and_borrow() -> None:
    result = run(bars(QUIET, QUIET), send("a", -100), send("b", 700), cash=1000.0)
    assert states(result) == {"a": "filled", "b": "filled"}
    assert result.cash == -5000.0


def test_without_limits_a_margin_account_trades_on_though_its_equity_is_gone() -> None:
    """Short 100 from 10 with 500 of cash; at 16 the equity is -100, and no limit was asked for."""
    result = run(bars(QUIET, QUIET, (16, 16, 16, 16, 1000), QUIET), send("a", -100), send("b", -1, bar=2), cash=500.0)
    assert states(result) == {"a": "filled", "b": "filled"}
    assert list(result.equity) == [500.0, 500.0, -100.0, 500.0]


def test_a_leverage_limit_refuses_what_would_exceed_it() -> None:
    """1000 of equity at leverage 2 carry 200 shares at 10, not 201. The refused order stops nothing; an open one counts."""
    result = run(bars(QUIET, QUIET), send("a", 201), send("b", 200), send("c", 1), cash=1000.0, leverage_max=2.0)
    assert states(result) == {"a": "rejected", "b": "filled", "c": "rejected"}
    assert traded(result) == [("b", 1, 200, 10.0)]


def test_a_leverage_limit_counts_open_orders() -> None:
    """90 shares wait at 5 for a market that stands at 10; 90 more would make 1800 of 1000."""
    result = run(bars(QUIET, QUIET, QUIET), send("rest", 90, "limit", limit=5.0), send("a", 90, bar=1), cash=1000.0, leverage_max=1.0)
    assert states(result) == {"rest": "accepted", "a": "rejected"}


def test_a_leverage_limit_is_checked_again_at_the_fill() -> None:
    """When 'b' was sent, 190 shares at the mark of 10 were within twice 1000. Bought at 20 they would leave 1000 + 90 x (10 - 20) = 100."""
    table = bars(QUIET, QUIET, (20, 20, 20, 20, 1000))
    result = run(table, send("a", 100), send("b", 90, bar=1), cash=1000.0, leverage_max=2.0)
    assert states(result) == {"a": "filled", "b": "rejected"}


def test_a_leverage_limit_counts_what_the_fill_costs() -> None:
    """After a commission of 1 the equity of 999 does not carry 2000 at leverage 2."""
    result = run(bars(QUIET, QUIET), send("a", 200), cash=1000.0, leverage_max=2.0, commission={"per_order": 1})
    assert states(result) == {"a": "rejected"}


def test_an_exit_always_passes_the_leverage_limit() -> None:
    """200 shares from 10 at leverage 2; at 6 the equity is 200 and the exposure 1200. Selling 50 leaves too much, and passes."""
    table = bars(QUIET, QUIET, (6, 6, 6, 6, 1000), (6, 6, 6, 6, 1000))
    result = run(table, send("a", 200), send("exit", -50, bar=2), send("more", 1, bar=2), cash=1000.0, leverage_max=2.0)
    assert states(result) == {"a": "filled", "exit": "filled", "more": "rejected"}


# --- ids -------------------------------------------------------------------------------------------------------------------------------


def test_resending_the_same_order_changes_nothing() -> None:
    result = run(bars(QUIET, QUIET, QUIET), send("a", 100), send("a", 100), send("a", 100, bar=1))
    assert traded(result) == [("a", 1, 100, 10.0)]


def test_a_client_id_used_for_another_order_is_refused() -> None:
    result = run(bars(QUIET, QUIET), send("a", 100), send("a", 200))
    assert traded(result) == [("a", 1, 100, 10.0)]


def test_a_refused_order_was_sent_too_and_its_client_id_is_taken() -> None:
    result = run(bars(QUIET, QUIET), send("a", 0), send("a", 100))
    assert traded(result) == []


def test_resending_a_refused_order_returns_the_first_answer() -> None:
    """110 shares at 10 are more than 1000. At 5 they would not be, but the first answer stands."""
    table = bars(QUIET, (5, 5, 5, 5, 1000), (5, 5, 5, 5, 1000))
    result = run(table, send("a", 110), send("a", 110, bar=1), cash=1000.0, leverage_max=1.0)
    assert traded(result) == []
