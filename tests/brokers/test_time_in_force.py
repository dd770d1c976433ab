"""How long orders live on bars of a day and of an hour, and what a caller's own id means."""

from __future__ import annotations

import numpy as np
from small_markets import QUIET, daily, fills, flat, hourly, markets, plain, run, states

from simulator import Order, OrderBatch, OrderKind, TimeInForce, View

DAY, FOK, IOC, LIMIT = TimeInForce.DAY, TimeInForce.FOK, TimeInForce.IOC, OrderKind.LIMIT
A_DAY = [QUIET] * 24


def test_a_day_order_on_hourly_bars_lives_to_the_end_of_its_session() -> None:
    """Sent at 02:00: the bar that closes at midnight still fills it, the next one does not."""
    bid = {1: lambda view: [view.order(10, kind=LIMIT, limit=9.0, tif=DAY)]}
    assert fills(run(hourly(*[QUIET] * 23, flat(9)), bid)) == [(1, 23, 10, 9.0)]
    late = run(hourly(*A_DAY, flat(9)), bid)
    assert fills(late) == []
    assert states(late) == {1: "expired: end of session"}
    assert late.orders[0].waits[-1][2] == late.tape.closed_at[23]


def test_a_day_order_sent_at_the_last_close_of_a_session_is_for_the_next_session() -> None:
    result = run(hourly(*A_DAY, QUIET, flat(9)), {23: lambda view: [view.order(10, kind=LIMIT, limit=9.0, tif=DAY)]})
    assert fills(result) == [(1, 25, 10, 9.0)]


def test_a_day_order_on_hourly_bars_ends_though_its_instrument_had_no_bar() -> None:
    tape = markets(interval=3600 * 10**9, X=[QUIET] + [None] * 24 + [QUIET] * 2, Y=[QUIET] * 27)
    result = run(tape, {0: lambda view: [view.order(10, tif=DAY)]})
    assert fills(result) == []
    assert states(result) == {1: "expired: end of session"}


def test_a_day_order_in_a_batch_ends_like_a_single_one() -> None:
    def send(view: View) -> OrderBatch:
        return OrderBatch(view.ids.block(1), np.array([0]), np.array([100]), tifs=np.array([DAY], dtype=np.int64))

    result = run(hourly(*A_DAY, QUIET), {21: send}, plain(participation=0.01))
    assert [fill[:3] for fill in fills(result)] == [(1, 22, 10), (1, 23, 10)]
    assert states(result) == {1: "expired: end of session"}


def test_an_ioc_order_at_a_limit_lives_for_the_one_bar_that_it_meets() -> None:
    result = run(daily(QUIET, QUIET, flat(9)), {0: lambda view: [view.order(10, kind=LIMIT, limit=9.0, tif=IOC)]})
    assert states(result) == {1: "cancelled: price not touched"}


def test_a_fok_order_is_all_or_nothing() -> None:
    result = run(daily(QUIET, QUIET), {0: lambda view: [view.order(101, tif=FOK), view.order(100, tif=FOK)]}, plain(participation=0.1))
    assert fills(result) == [(2, 1, 100, 10.0)]
    assert states(result) == {1: "cancelled: volume cap", 2: "filled: filled"}


def test_the_same_client_id_with_the_same_order_is_sent_once() -> None:
    def twice(view: View) -> list[Order]:
        return [view.order(10, client_id="mine"), view.order(10, client_id="mine")]

    result = run(daily(QUIET, QUIET, QUIET), {0: twice, 1: lambda view: [view.order(10, client_id="mine")]})
    assert fills(result) == [(1, 1, 10, 10.0)]
    assert [(order.order, order.client_id) for order in result.orders] == [(1, "mine")]


def test_the_same_client_id_with_another_order_is_refused() -> None:
    both = {0: lambda view: [view.order(10, client_id="mine"), view.order(11, client_id="mine")]}
    result = run(daily(QUIET, QUIET), both)
    assert fills(result) == [(1, 1, 10, 10.0)]
    assert states(result) == {1: "filled: filled", 2: "rejected: this client_id was used for another order"}
