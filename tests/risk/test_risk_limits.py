"""What each limit refuses and why: refused, never trimmed, with what is open counted, and exits let through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, Row, daily, fills, flat, hourly, market_orders, markets, run, states

from simulator import Account, Limits, Order, OrderBatch, OrderKind, PluginError, Replace, ScenarioError, View
from simulator.loop.journal import REFUSED

LIMIT = OrderKind.LIMIT
TEN = [QUIET] * 6
PAIR = markets(X=TEN, Y=[flat(20)] * 6)
Wanted = Sequence[tuple[int, int]]


def both(limits: Limits, *wanted: tuple[int, int], account: Account | None = None) -> list[str]:
    """The verdicts on orders (instrument, lots) at an equity of 1,000: the same one by one as in a batch."""
    singles = run(PAIR, {0: lambda view: [view.order(lots, i) for i, lots in wanted]}, cash=1000.0, limits=limits, account=account)
    batches = run(PAIR, {0: lambda view: market_orders(view, *wanted)}, cash=1000.0, limits=limits, account=account)
    assert singles.journal.read() == batches.journal.read()
    return [order.reason if order.state == "rejected" else str(order.state) for order in singles.orders]


def test_nothing_is_refused_without_limits() -> None:
    assert both(Limits(), (0, 10**6), (1, -(10**6))) == ["filled", "filled"]


def test_gross_exposure_is_limited() -> None:
    """60 X are 600 and 20 Y short are 400: 1,000 in all. One more of either side is too many."""
    assert both(Limits(gross_max=1.0), (0, 60), (1, -20), (0, 1), (1, -1)) == ["filled", "filled", "gross exposure limit", "gross exposure limit"]


def test_net_exposure_is_limited_on_either_side() -> None:
    assert both(Limits(net_max=0.5), (0, 51), (0, -51), (0, 50), (1, -51)) == [
        "net exposure limit",
        "net exposure limit",
        "filled",
        "net exposure limit",
    ]


def test_the_weight_of_a_name_is_limited() -> None:
    assert both(Limits(name_max=0.5), (0, 50), (0, 1), (1, 25), (1, 1)) == ["filled", "per-name weight limit", "filled", "per-name weight limit"]


def test_the_notional_of_an_order_is_limited() -> None:
    assert both(Limits(notional_max=500.0), (0, 51), (0, -51), (0, 50), (0, 50)) == [
        "order notional limit",
        "order notional limit",
        "filled",
        "filled",
    ]


def test_leverage_is_limited_by_a_margin_account_alone() -> None:
    assert both(Limits(), (0, 201), (0, 200), account=Account(1000.0, "margin", 2.0)) == ["leverage limit", "filled"]
    assert both(Limits(), (0, 101), (0, 100), account=Account(1000.0, "cash")) == ["buying power", "filled"]


def test_a_refused_order_is_not_trimmed_and_the_next_ones_go_on() -> None:
    assert both(Limits(gross_max=1.0), (0, 101), (0, 60), (0, 41), (0, 40)) == ["gross exposure limit", "filled", "gross exposure limit", "filled"]


def test_an_order_for_nothing_is_refused() -> None:
    assert both(Limits(), (0, 0)) == ["quantity rounds to zero lots"]


def test_orders_that_are_open_count_as_if_they_had_traded() -> None:
    steps = {0: lambda view: [view.order(60, kind=LIMIT, limit=9.0)], 1: lambda view: [view.order(41), view.order(40)]}
    result = run(daily(*TEN), steps, cash=1000.0, limits=Limits(gross_max=1.0))
    assert states(result) == {1: "accepted: price not touched", 2: "rejected: gross exposure limit", 3: "filled: filled"}


@pytest.mark.parametrize("limits", [Limits(gross_max=0.5), Limits(net_max=0.5), Limits(name_max=0.5), Limits(notional_max=100.0)])
def test_exits_pass_any_limit(limits: Limits) -> None:
    """50 shares rise from 10 to 40 on 500 in cash: 2,000 of exposure on 2,500. All of it may go, and not one share more."""
    tape = daily(QUIET, QUIET, flat(40), flat(40), flat(40))
    buys = [(0, 10)] * 5
    steps: dict[int, Callable[[View], Any]] = {0: lambda view: market_orders(view, *buys), 2: lambda view: [view.order(-50), view.order(-51)]}
    result = run(tape, steps, cash=1000.0, limits=limits)
    assert [order.filled for order in result.orders[:6]] == [10, 10, 10, 10, 10, -50]
    assert str(result.orders[6].state) == "rejected"
    assert result.positions == {}


def test_an_order_that_crosses_zero_is_no_exit() -> None:
    steps = {0: lambda view: [view.order(50)], 1: lambda view: [view.order(-102), view.order(-50)]}
    result = run(daily(*TEN), steps, cash=1000.0, limits=Limits(gross_max=0.5))
    assert states(result) == {1: "filled: filled", 2: "rejected: gross exposure limit", 3: "filled: filled"}


def test_exits_do_not_sell_twice_what_is_held() -> None:
    """The first sale is on its way: the second would open a short, and is no exit."""
    steps = {0: lambda view: [view.order(50)], 1: lambda view: [view.order(-50), view.order(-60)]}
    result = run(daily(*TEN), steps, cash=1000.0, limits=Limits(gross_max=0.5))
    assert states(result)[3] == "rejected: gross exposure limit"


def test_what_has_no_price_yet_is_refused_where_there_is_a_limit() -> None:
    tape = markets(X=TEN, Y=[None, *TEN[1:]])
    for send in (lambda view: [view.order(1, 1)], lambda view: market_orders(view, (1, 1))):
        assert states(run(tape, {0: send}, limits=Limits(gross_max=9.0))) == {1: "rejected: no price known yet"}
        assert states(run(tape, {0: send})) == {1: "filled: filled"}


def test_what_has_no_price_yet_may_be_for_less() -> None:
    tape = markets(X=TEN, Y=[None, *TEN[1:]])
    for send in (lambda view: [view.order(10, 1), view.order(-4, 1)], lambda view: market_orders(view, (1, 10), (1, -4))):
        assert run(tape, {0: send}).positions == {"Y": 6}


def test_the_rate_of_orders_is_limited() -> None:
    assert both(Limits(rate_max=2), (0, 10), (1, 10), (0, 5), (0, -3)) == ["filled", "filled", "order rate limit", "filled"]


def test_what_is_held_back_by_the_rate_is_not_counted_against_other_limits() -> None:
    """The second order comes too fast, and so does the third, which would have fitted beside the first alone."""
    assert both(Limits(rate_max=1, gross_max=1.0), (0, 50), (0, 40), (0, 40)) == ["filled", "order rate limit", "order rate limit"]


def test_orders_count_for_the_rate_for_so_many_seconds() -> None:
    """Two in two hours: those of bars 0 and 1 hold back bar 1's second; at bar 2 the first no longer counts."""
    steps = {n: lambda view: [view.order(1)] for n in (0, 2, 3)} | {1: lambda view: [view.order(1), view.order(1)]}
    result = run(hourly(*TEN), steps, limits=Limits(rate_max=2, rate_seconds=7200.0))
    assert [order.state for order in result.orders] == ["filled", "filled", "rejected", "filled", "filled"]


def test_exits_do_not_count_for_the_rate() -> None:
    steps = {0: lambda view: [view.order(10)], 1: lambda view: [view.order(-3), view.order(-7), view.order(1)]}
    result = run(daily(*TEN), steps, limits=Limits(rate_max=1, rate_seconds=1.0))
    assert [order.state for order in result.orders] == ["filled"] * 4


# --- cancels and replacements in the same list ---------------------------------------------------------------------------------------------


def bid(view: View) -> list[Order]:
    return [view.order(60, kind=LIMIT, limit=9.0)]


ONCE = Limits(gross_max=1.0)


def after_a_bid(second: Callable[[View], Any], limits: Limits = ONCE, rows: Sequence[Row] = TEN) -> Any:
    """A bid for 60 shares is open, at an equity of 1,000, when these wishes come."""
    return run(daily(*rows), {0: bid, 1: second}, cash=1000.0, limits=limits)


def test_a_cancel_makes_room_for_what_comes_after_it_in_the_list() -> None:
    assert states(after_a_bid(lambda view: [view.order(100), view.cancel(1)]))[2] == "rejected: gross exposure limit"
    assert states(after_a_bid(lambda view: [view.cancel(1), view.order(100)]))[2] == "filled: filled"


def test_a_cancel_makes_room_only_once() -> None:
    result = after_a_bid(lambda view: [view.cancel(1), view.cancel(1), view.order(101), view.order(100)])
    assert [str(order.state) for order in result.orders] == ["cancelled", "rejected", "filled"]


def test_a_replacement_is_reviewed_for_what_it_adds() -> None:
    assert states(after_a_bid(lambda view: [view.replace(1, 100, limit=10.0)]))[2] == "filled: filled"
    refused = after_a_bid(lambda view: [view.replace(1, 101, limit=10.0)])
    assert states(refused) == {1: "accepted: price not touched"}
    table = refused.journal_table()
    assert table[table["kind"] == REFUSED][["order", "lots", "e"]].tolist() == [(2, 101, 1)]


def test_a_replacement_may_always_be_for_less_or_at_another_price() -> None:
    assert states(after_a_bid(lambda view: [view.replace(1, 10, limit=10.0)], Limits(gross_max=0.61)))[2] == "filled: filled"
    moved = after_a_bid(lambda view: [view.replace(1, 60, limit=10.0), view.order(40), view.order(1)])
    assert [str(order.state) for order in moved.orders[1:]] == ["filled", "filled", "rejected"]


def test_a_replacement_does_not_slip_a_larger_order_past_the_notional_limit() -> None:
    """60 and 40 more are 100 shares at 10 in one order, however it came to be."""
    limited = Limits(notional_max=700.0)
    assert states(after_a_bid(lambda view: [view.replace(1, 100, limit=10.0)], limited)) == {1: "accepted: price not touched"}
    assert states(after_a_bid(lambda view: [view.replace(1, 70, limit=10.0)], limited))[2] == "filled: filled"


def test_a_larger_exit_passes_the_notional_limit() -> None:
    steps = {
        0: lambda view: [view.order(70), view.order(70)],
        2: lambda view: [view.order(-70, kind=LIMIT, limit=11.0)],
        3: lambda view: [view.replace(3, -140, limit=9.0)],
    }
    assert run(daily(*TEN), steps, limits=Limits(notional_max=700.0)).positions == {}


def test_a_replacement_of_an_order_in_the_same_list_is_reviewed_too() -> None:
    """A small order first, and then in its place a large one: the review knows what the broker will have by then."""

    def grow(view: View) -> list[Any]:
        return [view.order(1), Replace(view.ids.next(), 1, 101), Replace(view.ids.next(), 1, 100)]

    result = run(daily(*TEN), {0: grow}, cash=1000.0, limits=ONCE)
    assert fills(result) == [(3, 1, 100, 10.0)]


def test_a_replacement_of_a_replacement_in_the_same_list_is_reviewed_too() -> None:
    def grow(view: View) -> list[Any]:
        return [Replace(view.ids.next(), 1, 50, 10.0), Replace(view.ids.next(), 2, 101), Replace(view.ids.next(), 2, 100)]

    assert fills(after_a_bid(grow)) == [(4, 2, 100, 10.0)]


def test_a_replacement_of_what_was_replaced_or_cancelled_before_adds_nothing() -> None:
    """The broker answers that there is no such order; the room that it would have taken is free."""

    def twice(view: View) -> list[Any]:
        return [Replace(view.ids.next(), 1, 50, 10.0), Replace(view.ids.next(), 1, 40, 10.0), view.cancel(1), view.order(50), view.order(1)]

    result = after_a_bid(twice)
    assert [str(order.state) for order in result.orders] == ["replaced", "filled", "filled", "rejected"]


def test_orders_of_a_batch_can_be_changed_in_the_same_list() -> None:
    def send(view: View) -> list[Any]:
        made = market_orders(view, (0, 10), (0, 20))
        return [made, view.cancel(2), Replace(view.ids.next(), 3, 101), Replace(view.ids.next(), 3, 100)]

    result = after_a_bid(lambda view: [view.cancel(1), *send(view)])
    assert fills(result) == [(5, 2, 100, 10.0)]


def test_a_cancel_of_what_a_new_target_has_cleared_makes_no_room() -> None:
    result = after_a_bid(lambda view: [view.rebalance(np.array([0.5])), view.cancel(1), view.order(51), view.order(50)])
    assert [str(order.state) for order in result.orders] == ["cancelled", "filled", "rejected", "filled"]


def test_a_replacement_with_nothing_left_to_trade_is_no_order_to_replace() -> None:
    def shrink(view: View) -> list[Any]:
        return [Replace(view.ids.next(), 1, 0), Replace(view.ids.next(), 2, 100, 10.0), view.order(100)]

    assert fills(after_a_bid(shrink)) == [(4, 2, 100, 10.0)]


def test_a_batch_among_single_orders_is_reviewed_in_its_place() -> None:
    def send(view: View) -> list[Any]:
        return [view.order(50), market_orders(view, (0, 51), (0, 30)), view.order(21), view.order(20)]

    result = run(daily(*TEN), {0: send}, cash=1000.0, limits=ONCE)
    assert [str(order.state) for order in result.orders] == ["filled", "rejected", "filled", "rejected", "filled"]


def test_the_refused_orders_of_a_batch_do_not_take_its_clears_with_them() -> None:
    def retarget(view: View) -> OrderBatch:
        return view.rebalance(np.array([2.0]))

    assert states(after_a_bid(retarget)) == {1: "cancelled: replaced by a new target", 2: "rejected: gross exposure limit"}


@pytest.mark.parametrize("wish", [None, 7, "buy", (1, 0, 10)])
def test_what_is_no_wish_is_refused_in_words(wish: Any) -> None:
    with pytest.raises(PluginError, match="on_bars must return a list of orders, cancels, replacements, batches and remarks, or one batch"):
        run(daily(*TEN), {0: lambda view: [wish]})


def test_a_single_order_outside_a_list_is_refused_in_words() -> None:
    with pytest.raises(PluginError, match="on_bars must return a list"):
        run(daily(*TEN), {0: lambda view: view.order(1)})  # type: ignore[dict-item,return-value]  # the mistake


# --- limits that make no sense -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"gross_max": 0.0}, "risk.gross_max must be above 0 (inf is off), was 0.0"),
        ({"net_max": -1.0}, "risk.net_max must be above 0 (inf is off), was -1.0"),
        ({"name_max": nan}, "risk.name_max must be above 0 (inf is off), was nan"),
        ({"notional_max": 0.0}, "risk.notional_max must be above 0 (inf is off), was 0.0"),
        ({"rate_seconds": 0.0}, "risk.rate_seconds must be a number above 0, was 0.0"),
        ({"rate_seconds": inf}, "risk.rate_seconds must be a number above 0, was inf"),
        ({"drawdown_max": 1.7}, "risk.drawdown_max must be in (0, 1] (inf is off), was 1.7"),
        ({"daily_loss_max": 0.0}, "risk.daily_loss_max must be in (0, 1] (inf is off), was 0.0"),
        ({"rate_max": -1}, "risk.rate_max must be 0 (off) or more orders, was -1"),
        ({"resume_after": 0}, "risk.resume_after must be at least 1 session, was 0"),
        ({"on_halt": "panic"}, "risk.on_halt must be 'freeze', 'cancel' or 'flatten', was 'panic'"),
    ],
)
def test_limits_that_make_no_sense_are_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        Limits(**terms)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"cash": 0.0}, "account.cash must be above 0, was 0.0"),
        ({"cash": inf}, "account.cash must be above 0, was inf"),
        ({"leverage_max": nan}, "account.leverage_max must be above 0 (inf is off), was nan"),
        ({"kind": "piggy bank"}, "account.kind must be 'cash' or 'margin', was 'piggy bank'"),
    ],
)
def test_an_account_that_makes_no_sense_is_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        Account(**terms)
    assert str(refused.value) == words
