"""Orders that are cut in time: when each slice is sent, and what becomes of parent and children."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from small_markets import HOUR, QUIET, Script, daily, fills, flat, hourly, market_orders, plain, run, states

from brokers.slicing import Parent, Seen, execute, split
from simulator import SECOND, Order, OrderKind, TimeInForce, Twap, View
from simulator.assembly import assemble, drive
from simulator.loop.journal import SLICED

quantities = st.integers(-(10**7), 10**7)
curves = st.lists(st.sampled_from([0.0, 0.0, 1.0, 0.5, 0.1, 3.0]) | st.floats(0, 1e6), min_size=1, max_size=12).filter(any)


@given(quantities, curves, st.sampled_from([1, 10, 100]))
def test_children_sum_to_their_parent(quantity: int, weights: list[float], lot: int) -> None:
    assert sum(split(quantity, weights, lot)) == quantity


@given(quantities, curves, st.sampled_from([1, 10, 100]))
def test_children_are_whole_round_lots_but_for_one(quantity: int, weights: list[float], lot: int) -> None:
    odd = [child for child in split(quantity, weights, lot) if child % lot]
    assert len(odd) == (1 if quantity % lot else 0)


@given(quantities, curves, st.sampled_from([1, 10, 100]))
def test_children_follow_the_cumulative_weights_within_one_lot(quantity: int, weights: list[float], lot: int) -> None:
    total, due, sent = sum(map(Fraction, weights)), Fraction(0), 0
    for weight, child in zip(weights, split(quantity, weights, lot), strict=True):
        due, sent = due + Fraction(weight), sent + child
        assert abs(sent - quantity * due / total) <= lot


@given(quantities, curves, st.sampled_from([1, 10, 100]))
def test_a_weight_of_zero_gets_nothing_and_no_child_trades_against_its_parent(quantity: int, weights: list[float], lot: int) -> None:
    for weight, child in zip(weights, split(quantity, weights, lot), strict=True):
        assert weight or not child
        assert child * quantity >= 0


@pytest.mark.parametrize("weights", [[], [0.0], [0.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [float("inf")]])
def test_weights_that_cut_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must be numbers of 0 or above, not all of them 0"):
        split(100, weights)


def test_a_round_lot_is_above_nothing() -> None:
    with pytest.raises(ValueError, match="lot must be a number above 0, was 0"):
        split(100, [1.0], 0)


def test_a_remainder_is_spread_and_does_not_all_go_to_the_last_child() -> None:
    """Ten equal children of 15,007: the last of them is no 7 larger than the others."""
    children = split(15_007, [1.0] * 10)
    assert children == [1501, 1500, 1501, 1501, 1501, 1500, 1501, 1501, 1500, 1501]
    assert split(15_000, [1.0] * 10) == [1500] * 10


def test_an_odd_remainder_goes_with_the_last_child_that_has_a_weight() -> None:
    assert split(-4_030, [1.0, 2.0, 1.0, 0.0], 100) == [-1000, -2000, -1030, 0]
    assert split(30, [1.0, 1.0], 100) == [0, 30]


def test_a_lot_may_be_a_decimal_and_floats_are_the_decimals_that_they_were_written_as() -> None:
    assert split(0.35, [1.0, 1.0, 1.0], 0.1) == [0.1, 0.1, 0.15]
    assert split(1_000.0, [3.0, 1.0], 100) == [800.0, 200.0]
    assert all(type(child) is int for child in split(np.int64(100), np.array([0.5, 0.5])))


@given(st.integers(-(10**9), 10**9), curves, st.sampled_from([1, 5, 25]), st.sampled_from(["0.1", "0.00001", "0.25"]))
def test_decimal_children_sum_to_their_parent_in_decimals(quantity: int, weights: list[float], lot: int, unit: str) -> None:
    """The same children as in whole numbers of the unit."""
    children = split(float(quantity * Decimal(unit)), weights, float(lot * Decimal(unit)))
    assert sum(Decimal(repr(child)) for child in children) == quantity * Decimal(unit)
    assert children == [float(child * Decimal(unit)) for child in split(quantity, weights, lot)]


@pytest.mark.parametrize(
    ("terms", "words"), [((nan, [1.0]), "quantity must be a number, was nan"), ((1.0, [1.0], inf), "lot must be a number above 0")]
)
def test_quantities_and_lots_that_are_no_numbers_are_refused(terms: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        split(*terms)


def twap(environment: simpy.Environment, start: int, lots: int, schedule: Twap, send: Callable[[int], None]) -> simpy.Process:
    """The process of an order that looks at nothing and is never cancelled."""
    nothing = Seen(daily(QUIET), 0, 0)
    parent = Parent(Order(1, 0, lots), schedule, start)
    return environment.process(execute(environment, parent, lambda now: nothing, environment.event, send, lambda: None))


def test_a_twap_is_a_simpy_process_that_sends_at_exact_nanoseconds() -> None:
    """The environment is idle at first: its clock lags, and delays must not count from it."""
    environment = simpy.Environment(initial_time=5)
    sent: list[tuple[float, int]] = []
    start = 1_700_000_000_123_456_789
    process = twap(environment, start, 10, Twap(4, 0.25), lambda lots: sent.append((environment.now, lots)))
    assert isinstance(process, simpy.Process)
    environment.run()
    assert sent == [(start, 3), (start + SECOND // 4, 2), (start + SECOND // 2, 3), (start + 3 * SECOND // 4, 2)]
    assert all(type(at) is int for at, _ in sent)


def test_a_twap_that_is_interrupted_sends_no_more() -> None:
    environment = simpy.Environment()
    sent: list[int] = []
    process = twap(environment, 0, 10, Twap(5, 1e-9), sent.append)
    while environment.now < 2:
        environment.step()
    process.interrupt()
    environment.run()
    assert sent[:2] == [2, 2]
    assert len(sent) < 5


def test_slices_of_nothing_are_not_sent() -> None:
    environment = simpy.Environment()
    sent: list[int] = []
    twap(environment, 0, 2, Twap(4, 1e-9), sent.append)
    environment.run()
    assert sent == [1, 1]


@pytest.mark.parametrize(("seconds", "bar"), [(3599.999999999, 2), (3600.0, 2), (3600.000000001, 3)])
def test_a_slice_reaches_the_market_at_its_very_nanosecond(seconds: float, bar: int) -> None:
    """Bar 2 opens an hour after the order: a slice of that moment meets it, and one of a nanosecond later is too late for it."""
    result = run(hourly(*[QUIET] * 5), {0: lambda view: [view.order(20)]}, plain(slicing=Twap(2, seconds)))
    assert [fill[1] for fill in fills(result)] == [1, bar]


@pytest.mark.parametrize(("seconds", "bar"), [(5399.999999999, 3), (5400.0, 3), (5400.000000001, 4)])
def test_slices_of_a_late_order_count_from_its_arrival(seconds: float, bar: int) -> None:
    """It arrives half an hour into bar 1; bar 3 opens an hour and a half after that."""
    result = run(hourly(*[QUIET] * 6), {0: lambda view: [view.order(20)]}, plain(slicing=Twap(2, seconds), latency_seconds=1800.0))
    assert [fill[1] for fill in fills(result)] == [2, bar]


def test_slices_inside_a_bar_trade_at_the_next_open() -> None:
    """Sent at the close of bar 0: at 0, 25, 50 and 75 minutes. The first meets bar 1, two bar 2, and the last bar 3."""
    result = run(hourly(*[flat(10 + n) for n in range(6)]), {0: lambda view: [view.order(100)]}, plain(slicing=Twap(4, 1500.0)))
    assert [fill[1:] for fill in fills(result)] == [(1, 25, 11.0), (2, 25, 12.0), (2, 25, 12.0), (3, 25, 13.0)]
    table = result.journal_table()
    assert table[table["kind"] == SLICED][["at", "order", "lots", "e"]].tolist() == [
        (2 * HOUR, 2, 25, 1),
        (2 * HOUR, 3, 25, 1),
        (2 * HOUR, 4, 25, 1),
        (3 * HOUR, 5, 25, 1),
    ]


def test_a_parent_is_filled_by_its_children() -> None:
    result = run(hourly(*[QUIET] * 6), {0: lambda view: [view.order(-101)]}, plain(slicing=Twap(4, 1500.0)))
    assert sum(fill[2] for fill in fills(result)) == -101
    assert [(order.order, order.parent, order.quantity, order.filled, str(order.state)) for order in result.orders] == [
        (1, 0, -101, -101, "filled"),
        (2, 1, -25, -25, "filled"),
        (3, 1, -26, -26, "filled"),
        (4, 1, -25, -25, "filled"),
        (5, 1, -25, -25, "filled"),
    ]


def test_one_order_may_have_a_schedule_of_its_own() -> None:
    def send(view: View) -> list[Order]:
        return [view.order(30, schedule=Twap(3, 86_400.0)), view.order(5)]

    result = run(daily(*[QUIET] * 5), {0: send})
    assert [fill[1:3] for fill in fills(result)] == [(1, 5), (1, 10), (2, 10), (3, 10)]


def test_a_limit_with_a_schedule_is_cut_into_limits() -> None:
    send = {0: lambda view: [view.order(30, kind=OrderKind.LIMIT, limit=9.0, schedule=Twap(3, 86_400.0))]}
    result = run(daily(QUIET, QUIET, QUIET, flat(9), flat(9)), send)
    assert [fill[1:] for fill in fills(result)] == [(3, 10, 9.0), (3, 10, 9.0), (3, 10, 9.0)]


def test_a_parent_at_no_price_is_never_cut() -> None:
    send = {0: lambda view: [view.order(30, kind=OrderKind.LIMIT, schedule=Twap(3, 86_400.0))]}
    assert states(run(daily(QUIET, QUIET), send)) == {1: "rejected: its limit or stop is not a price above 0"}


def test_a_parent_that_is_cancelled_midway_keeps_what_it_traded() -> None:
    """The second of three slices waits for volume with 6 of its 10, and the third was sent at the very close of the cancel."""
    tape = daily(QUIET, QUIET, flat(10, 40), QUIET, QUIET)
    steps = {0: lambda view: [view.order(30, schedule=Twap(3, 86_400.0))], 2: lambda view: [view.cancel(1)]}
    result = run(tape, steps, plain(participation=0.1))
    assert [fill[1:3] for fill in fills(result)] == [(1, 10), (2, 4)]
    assert states(result) == {
        1: "cancelled: cancelled on request",
        2: "filled: filled",
        3: "cancelled: cancelled on request",
        4: "cancelled: cancelled on request",
    }
    assert result.orders[0].filled == 14


def test_a_parent_can_be_cancelled_before_its_first_slice() -> None:
    steps = {0: lambda view: [view.order(30, schedule=Twap(3, 86_400.0)), view.cancel(1)]}
    result = run(daily(*[QUIET] * 4), steps)
    assert (fills(result), states(result)) == ([], {1: "cancelled: cancelled on request"})


def test_a_cancel_that_arrives_in_the_bar_of_a_slices_fill_finds_it_filled() -> None:
    """Both reach the market half an hour late: the first slice trades in bar 2, inside which the cancel comes for what is left."""
    script = Script({0: lambda view: [view.order(30, schedule=Twap(3, 7200.0))], 1: lambda view: [view.cancel(1)]})
    tape = hourly(*[QUIET] * 6)
    session, feed = assemble(tape, script, broker=plain(latency_seconds=1800.0))
    drive(session, feed, len(tape))
    assert session.portfolio.lots.tolist() == [10]
    assert session.broker.pending.tolist() == [0]
    assert [open_orders for _, _, _, open_orders in script.seen] == [[], [1], [], [], [], []]


def test_a_replaced_parent_is_cut_anew() -> None:
    """10 of 30 are filled; 50 in all leaves 40, in three slices."""
    steps = {0: lambda view: [view.order(30, schedule=Twap(3, 86_400.0))], 1: lambda view: [view.replace(1, 50)]}
    result = run(daily(*[QUIET] * 6), steps)
    assert [fill[1:3] for fill in fills(result)] == [(1, 10), (2, 13), (3, 14), (4, 13)]
    assert states(result)[1] == "replaced: cancelled on request"


def test_a_parent_whose_slices_end_unfilled_ends_with_what_it_has() -> None:
    """Each slice of an IOC order takes what its bar gives: 4 of 10."""
    send = {0: lambda view: [view.order(30, tif=TimeInForce.IOC, schedule=Twap(3, 86_400.0))]}
    result = run(daily(*[flat(10, 40)] * 5), send, plain(participation=0.1))
    assert [fill[1:3] for fill in fills(result)] == [(1, 4), (2, 4), (3, 4)]
    assert states(result)[1] == "cancelled: its slices ended unfilled"


def test_each_slice_of_a_day_order_lives_for_its_own_session() -> None:
    send = {0: lambda view: [view.order(20, tif=TimeInForce.DAY, schedule=Twap(2, 86_400.0))]}
    result = run(daily(QUIET, flat(10, 40), flat(10, 1000), QUIET), send, plain(participation=0.1))
    assert [fill[1:3] for fill in fills(result)] == [(1, 4), (2, 10)]
    assert states(result) == {1: "cancelled: its slices ended unfilled", 2: "expired: end of session", 3: "filled: filled"}


def test_a_slice_that_is_cancelled_is_lost_to_its_parent() -> None:
    """The parent ends when all of its slices have, and is not open for ever."""
    tape = daily(QUIET, flat(10, 40), QUIET, QUIET, QUIET)
    steps = {0: lambda view: [view.order(20, schedule=Twap(2, 86_400.0))], 1: lambda view: [view.cancel(2)]}
    result = run(tape, steps, plain(participation=0.1))
    assert [fill[1:3] for fill in fills(result)] == [(1, 4), (2, 10)]
    assert states(result) == {1: "cancelled: its slices ended unfilled", 2: "cancelled: cancelled on request", 3: "filled: filled"}


def test_the_orders_of_a_batch_are_cut_too() -> None:
    result = run(daily(*[QUIET] * 4), {0: lambda view: market_orders(view, (0, 20))}, plain(slicing=Twap(2, 86_400.0)))
    assert [fill[1:3] for fill in fills(result)] == [(1, 10), (2, 10)]


def test_slices_share_a_table_with_batches() -> None:
    """An unsliced batch order waits in the table; a slice that comes later joins it, and still reports to its parent."""
    steps = {
        0: lambda view: [market_orders(view, (0, 150)), view.order(20, schedule=Twap(2, 86_400.0))],
    }
    result = run(daily(*[QUIET] * 4), steps, plain(participation=0.1))
    assert [fill[:3] for fill in fills(result)] == [(1, 1, 100), (1, 2, 50), (3, 2, 10), (4, 2, 10)]
    assert states(result)[2] == "filled: filled"


def test_a_new_target_takes_back_parent_and_children() -> None:
    steps = {
        0: lambda view: [view.order(30, schedule=Twap(3, 86_400.0)), market_orders(view, (0, 5))],
        1: lambda view: view.rebalance(np.array([0.0])),
    }
    result = run(daily(*[flat(10, 10)] * 5), steps, plain(participation=0.1))
    assert states(result)[1] == "cancelled: replaced by a new target"
    assert result.positions == {}
