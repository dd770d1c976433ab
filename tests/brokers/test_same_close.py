"""The labelled exception: market orders that trade at the very close that they were decided on."""

from __future__ import annotations

import numpy as np
import pytest
from small_markets import QUIET, Script, daily, fills, flat, hourly, market_orders, markets, plain, run, states

from brokers.simulated import Simulated
from simulator import Account, Order, OrderBatch, OrderKind, TimeInForce, View, Wish
from simulator.assembly import assemble, drive
from simulator.loop.journal import FILL, SEND

LIMIT = OrderKind.LIMIT
NOW = plain(timing="same_close")


def capped(share: float) -> Simulated:
    return plain(timing="same_close", participation=share)


def test_a_market_order_is_booked_and_marked_in_the_step_that_sends_it() -> None:
    tape = daily((10, 12, 10, 11, 1000), flat(12))
    script = Script({0: lambda view: [view.order(100)]})
    session, feed = assemble(tape, script, broker=NOW)
    drive(session, feed, len(tape))
    assert [(cash - 1e6, equity - 1e6, held) for cash, equity, held, _ in script.seen] == [(0, 0, [0.0]), (-1100, 100, [100.0])]
    table = session.journal.table()  # type: ignore[attr-defined]  # the one in memory
    assert table[table["kind"] == FILL][["at", "phase", "a"]].tolist() == [(86_400 * 10**9, SEND, 11.0)]


def test_a_batch_trades_at_its_own_close_too() -> None:
    result = run(daily((10, 12, 10, 11, 1000), flat(12)), {0: lambda view: market_orders(view, (0, 100), (0, -30))}, NOW)
    assert fills(result) == [(1, 0, 100, 11.0), (2, 0, -30, 11.0)]


def test_single_orders_and_a_batch_trade_in_the_order_in_which_they_were_sent() -> None:
    def send(view: View) -> list[Wish]:
        return [view.order(60), market_orders(view, (0, 30)), view.order(60)]

    result = run(daily(QUIET, flat(12)), {0: send}, capped(0.1))
    assert fills(result) == [(1, 0, 60, 10.0), (2, 0, 30, 10.0), (3, 0, 10, 10.0), (3, 1, 50, 12.0)]


def test_a_bars_volume_is_shared_with_what_it_gave_to_resting_orders() -> None:
    """The bid took 60 of bar 1's 100 shares; its close has 40 left, for a single order or a batch."""
    for send in (lambda view: [view.order(70)], lambda view: market_orders(view, (0, 70))):
        steps = {0: lambda view: [view.order(60, kind=LIMIT, limit=9.0)], 1: send}
        result = run(daily(QUIET, (10, 10, 9, 10, 1000), flat(11)), steps, capped(0.1))
        assert fills(result) == [(1, 1, 60, 9.0), (2, 1, 40, 10.0), (2, 2, 30, 11.0)]


def test_a_bars_volume_is_shared_with_a_batch_that_was_worked_in_it() -> None:
    """What is left of a batch takes 60 at bar 1's open, and its close has 40 left."""
    for send in (lambda view: [view.order(70)], lambda view: market_orders(view, (0, 70))):
        result = run(daily(QUIET, QUIET, flat(11)), {0: lambda view: market_orders(view, (0, 160)), 1: send}, capped(0.1))
        assert fills(result) == [(1, 0, 100, 10.0), (1, 1, 60, 10.0), (2, 1, 40, 10.0), (2, 2, 30, 11.0)]


def test_what_is_left_waits_for_the_next_open() -> None:
    result = run(daily(QUIET, (11, 13, 11, 13, 1000)), {0: lambda view: [view.order(150)]}, capped(0.1))
    assert fills(result) == [(1, 0, 100, 10.0), (1, 1, 50, 11.0)]


def test_a_bar_without_volume_has_no_close_to_trade_at() -> None:
    result = run(daily(flat(10, 0), flat(11)), {0: lambda view: [view.order(10)]}, NOW)
    assert fills(result) == [(1, 1, 10, 11.0)]


def test_orders_sent_over_several_bars_without_volume_trade_together() -> None:
    """The first is looked at in bar 1 and takes nothing; then comes the second."""
    steps = dict.fromkeys((0, 1), lambda view: [view.order(60)])
    assert fills(run(daily(flat(10, 0), flat(10, 0), flat(11)), steps, capped(0.1))) == [(1, 2, 60, 11.0), (2, 2, 40, 11.0)]


def test_an_ioc_order_has_but_this_close() -> None:
    result = run(daily(QUIET, QUIET), {0: lambda view: [view.order(150, tif=TimeInForce.IOC)]}, capped(0.1))
    assert fills(result) == [(1, 0, 100, 10.0)]
    assert states(result) == {1: "cancelled: volume cap"}


def test_a_day_order_ends_with_the_session_of_its_close() -> None:
    for send in (lambda view: [view.order(150, tif=TimeInForce.DAY)], day_batch):
        result = run(daily(QUIET, QUIET), {0: send}, capped(0.1))
        assert fills(result) == [(1, 0, 100, 10.0)]
        assert states(result) == {1: "expired: end of session"}
    hours = run(hourly(*[QUIET] * 26), {22: lambda view: [view.order(350, tif=TimeInForce.DAY)]}, capped(0.1))
    assert [fill[:3] for fill in fills(hours)] == [(1, 22, 100), (1, 23, 100)]
    assert states(hours) == {1: "expired: end of session"}


def day_batch(view: View) -> OrderBatch:
    batch = market_orders(view, (0, 150))
    batch.tifs[:] = TimeInForce.DAY
    return batch


def test_a_cash_account_pays_at_this_close_with_what_it_sells_at_it() -> None:
    """All of it into X at the first close; at the second, sold before the next is bought, whatever the order of the list."""

    def swap(view: View) -> list[Order]:
        return [view.order(50, 1), view.order(-100, 0)]

    tape = markets(X=[QUIET] * 2, Y=[flat(20)] * 2)
    result = run(tape, {0: lambda view: [view.order(100)], 1: swap}, NOW, account=Account(1000.0, "cash"))
    assert fills(result) == [(1, 0, 100, 10.0), (3, 1, -100, 10.0), (2, 1, 50, 20.0)]
    assert result.cash == 0.0


@pytest.mark.parametrize("terms", [{"latency_seconds": 1.0}, {"slicing": {"slices": 2, "seconds": 1.0}}])
def test_this_close_leaves_no_time_for_anything_else(terms: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="timing 'same_close' leaves no time for latency_seconds or slicing"):
        plain(timing="same_close", **terms)


def test_a_target_of_equity_is_met_at_this_close() -> None:
    result = run(daily(QUIET, QUIET), {0: lambda view: view.rebalance(np.array([0.5]))}, NOW)
    assert fills(result) == [(1, 0, 5000, 10.0)]
