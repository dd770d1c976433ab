"""Wishes that take time to reach the market."""

from __future__ import annotations

import numpy as np
from small_markets import QUIET, daily, fills, flat, hourly, markets, plain, run, states, waits

from simulator import SECOND, OrderKind

LIMIT = OrderKind.LIMIT
HALF_AN_HOUR, AN_HOUR = 1800.0, 3600.0


def test_an_order_that_arrives_inside_a_bar_meets_the_next_one() -> None:
    """It is sent at the close of bar 0 and arrives half an hour into bar 1, whose open is past."""
    result = run(hourly(QUIET, flat(11), flat(12)), {0: lambda view: [view.order(10)]}, plain(latency_seconds=HALF_AN_HOUR))
    assert fills(result) == [(1, 2, 10, 12.0)]
    assert waits(result) == {1: []}


def test_an_order_that_arrives_as_a_bar_opens_meets_that_bar() -> None:
    result = run(hourly(QUIET, flat(11), flat(12)), {0: lambda view: [view.order(10)]}, plain(latency_seconds=AN_HOUR))
    assert fills(result) == [(1, 2, 10, 12.0)]
    assert waits(result) == {1: []}


def test_an_order_may_be_under_way_for_many_bars() -> None:
    result = run(hourly(*[QUIET] * 4, flat(11), flat(12)), {0: lambda view: [view.order(10)]}, plain(latency_seconds=3.5 * AN_HOUR))
    assert fills(result) == [(1, 5, 10, 12.0)]


def test_an_order_under_way_counts_as_open() -> None:
    result = run(hourly(QUIET, QUIET), {0: lambda view: [view.order(10)]}, plain(latency_seconds=5 * AN_HOUR))
    assert fills(result) == []
    assert states(result)[1].startswith("accepted")


def test_a_bad_price_is_refused_where_the_order_arrives() -> None:
    result = run(hourly(*[QUIET] * 3), {0: lambda view: [view.order(10, kind=LIMIT)]}, plain(latency_seconds=AN_HOUR))
    assert states(result) == {1: "rejected: its limit or stop is not a price above 0"}


def test_a_cancel_takes_its_time_too() -> None:
    """The bid is hit in bar 3, inside which the cancel arrives that was sent at the close of bar 2: no path through the bar says which was first."""
    steps = {0: lambda view: [view.order(10, kind=LIMIT, limit=9.0)], 2: lambda view: [view.cancel(1)]}
    tape = hourly(QUIET, QUIET, QUIET, flat(9), QUIET)
    assert fills(run(tape, steps, plain(latency_seconds=HALF_AN_HOUR))) == [(1, 3, 10, 9.0)]
    assert fills(run(tape, steps, plain(latency_seconds=AN_HOUR))) == [(1, 3, 10, 9.0)]
    assert fills(run(tape, steps)) == []


def test_an_order_cancelled_inside_a_bar_waited_to_the_end_of_it() -> None:
    steps = {0: lambda view: [view.order(10, kind=LIMIT, limit=9.0)], 2: lambda view: [view.cancel(1)]}
    result = run(hourly(*[QUIET] * 5), steps, plain(latency_seconds=HALF_AN_HOUR))
    assert waits(result) == {1: [("price not touched", 2, 3)]}


def test_a_cancel_reaches_an_order_that_is_resting() -> None:
    steps = {0: lambda view: [view.order(10, kind=LIMIT, limit=9.0)], 2: lambda view: [view.cancel(1)]}
    result = run(hourly(QUIET, QUIET, QUIET, QUIET, flat(9)), steps, plain(latency_seconds=HALF_AN_HOUR))
    assert fills(result) == []
    assert states(result) == {1: "cancelled: cancelled on request"}


def test_a_replacement_that_arrives_inside_a_bar_meets_the_next_one() -> None:
    """At 10 it would have filled in bar 3, had it been there at the open."""
    steps = {0: lambda view: [view.order(10, kind=LIMIT, limit=5.0)], 2: lambda view: [view.replace(1, 10, limit=10.0)]}
    result = run(hourly(*[QUIET] * 4, flat(7)), steps, plain(latency_seconds=HALF_AN_HOUR))
    assert fills(result) == [(2, 4, 10, 7.0)]


def test_an_order_under_way_is_cancelled_only_once_it_is_there() -> None:
    """Order and cancel travel equally fast, so that the one arrives before the other."""
    result = run(hourly(*[QUIET] * 3), {0: lambda view: [view.order(10, kind=LIMIT, limit=9.0), view.cancel(1)]}, plain(latency_seconds=HALF_AN_HOUR))
    assert states(result) == {1: "cancelled: cancelled on request"}


def test_an_order_that_is_still_under_way_can_be_cancelled_and_replaced() -> None:
    """Both wishes arrive an hour after what they are about."""
    steps = {0: lambda view: [view.order(10), view.order(20)], 1: lambda view: [view.cancel(1), view.replace(2, 30)]}
    tape = markets(interval=3600 * 10**9, X=[*[QUIET] * 3, *[flat(10, 0)] * 2, flat(12)])
    result = run(tape, steps, plain(latency_seconds=2.5 * AN_HOUR))
    assert fills(result) == [(3, 5, 30, 12.0)]
    assert states(result)[1] == "cancelled: cancelled on request"


def test_the_cancels_of_a_new_target_take_as_long_as_any_other() -> None:
    """The limit rests when they arrive, half a day into bar 2; the market order has filled at that bar's open."""
    steps = {
        0: lambda view: [view.order(10), view.order(10, kind=OrderKind.LIMIT, limit=1.0)],
        1: lambda view: view.rebalance(np.array([0.0])),
    }
    result = run(daily(*[QUIET] * 4), steps, plain(latency_seconds=12 * AN_HOUR))
    assert fills(result) == [(1, 2, 10, 10.0)]
    assert states(result) == {1: "filled: filled", 2: "cancelled: replaced by a new target"}
    assert result.journal_table()[-1]["at"] == 3 * 24 * AN_HOUR * SECOND


def test_a_batch_travels_order_by_order() -> None:
    tape = markets(X=[QUIET] * 3, Y=[flat(20)] * 3)
    result = run(tape, {0: lambda view: view.rebalance(np.array([0.1, 0.2]))}, plain(latency_seconds=HALF_AN_HOUR))
    assert fills(result) == [(1, 2, 1000, 10.0), (2, 2, 1000, 20.0)]
