"""Taking orders back, and putting others in their place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from small_markets import QUIET, daily, fills, flat, market_orders, plain, run, states

from brokers.costs import Commission
from simulator import Order, OrderBatch, OrderKind, Reason, Replace, View
from simulator.loop.journal import CANCEL, ENDED, REPLACE, REPLACED, WAITED

LIMIT, STOP, STOP_LIMIT = OrderKind.LIMIT, OrderKind.STOP, OrderKind.STOP_LIMIT


def bid(view: View, lots: int = 100, at: float = 9.0) -> list[Order]:
    return [view.order(lots, kind=LIMIT, limit=at)]


def replaced_by(wanted: int) -> Callable[[View], list[Replace]]:
    return lambda view: [view.replace(1, wanted)]


def test_a_cancelled_order_fills_no_more() -> None:
    result = run(daily(QUIET, QUIET, flat(8)), {0: bid, 1: lambda view: [view.cancel(1)]})
    assert fills(result) == []
    assert states(result) == {1: "cancelled: cancelled on request"}


def test_a_partly_filled_order_keeps_what_it_traded_when_it_is_cancelled() -> None:
    result = run(daily(QUIET, QUIET, QUIET), {0: lambda view: [view.order(100)], 1: lambda view: [view.cancel(1)]}, plain(participation=0.03))
    assert fills(result) == [(1, 1, 30, 10.0)]
    assert states(result) == {1: "cancelled: cancelled on request"}


def test_an_order_can_be_cancelled_in_the_step_that_sends_it() -> None:
    result = run(daily(QUIET, QUIET), {0: lambda view: [view.order(100), view.cancel(1)]})
    assert states(result) == {1: "cancelled: cancelled on request"}


def test_cancelling_what_is_not_open_is_answered_and_changes_nothing() -> None:
    result = run(daily(QUIET, QUIET, QUIET), {0: lambda view: [view.order(100)], 1: lambda view: [view.cancel(1), view.cancel(77)]})
    assert states(result) == {1: "filled: filled"}
    answers = result.journal_table()
    assert answers[answers["kind"] == ENDED][["order", "instrument", "lots"]].tolist() == [(1, -1, 0), (77, -1, 0)]


def test_a_replacement_is_a_new_order_with_an_id_of_its_own() -> None:
    result = run(daily(QUIET, QUIET, flat(9.5)), {0: bid, 1: lambda view: [view.replace(1, 100, limit=9.5)]})
    assert fills(result) == [(2, 2, 100, 9.5)]
    assert states(result) == {1: "replaced: cancelled on request", 2: "filled: filled"}
    assert result.journal_table()["kind"].tolist()[1:5] == [REPLACE, WAITED, ENDED, REPLACED]


def test_a_replacement_loses_its_place_in_the_queue() -> None:
    """Both wish for 60 of the 100 that the bar gives; the first was replaced by its like, and is now behind the second."""
    both = {0: lambda view: [*bid(view, 60), *bid(view, 60)], 1: lambda view: [view.replace(1, 60)]}
    result = run(daily(QUIET, QUIET, flat(9)), both, plain(participation=0.1))
    assert fills(result) == [(2, 2, 60, 9.0), (3, 2, 40, 9.0)]


def test_a_replacement_gives_the_whole_quantity_with_what_has_filled() -> None:
    """30 of 100 are filled; 150 in all leaves 120."""
    result = run(daily(*[QUIET] * 4), {0: lambda view: [view.order(100)], 1: lambda view: [view.replace(1, 150)]}, plain(participation=0.03))
    assert [fill[:3] for fill in fills(result)] == [(1, 1, 30), (2, 2, 30), (2, 3, 30)]
    assert [(order.order, order.quantity, order.filled) for order in result.orders] == [(1, 100, 30), (2, 120, 60)]


def test_a_replacement_down_to_what_has_filled_leaves_nothing_open() -> None:
    """Nor does one to less than that; what was traded stays traded."""
    for wanted in (30, 20, 0):
        result = run(daily(*[QUIET] * 4), {0: lambda view: [view.order(100)], 1: replaced_by(wanted)}, plain(participation=0.03))
        assert result.positions == {"X": 30}
        assert states(result)[1] == "replaced: cancelled on request"
        ended = result.journal_table()
        assert ended[ended["kind"] == ENDED]["order"].tolist() == [1, 2]


def test_a_replacement_keeps_the_side() -> None:
    """An order to buy does not become one to sell."""
    result = run(daily(QUIET, QUIET, QUIET), {0: bid, 1: lambda view: [view.replace(1, -100, limit=9.0)]})
    assert fills(result) == []
    assert states(result) == {1: "replaced: cancelled on request"}


def test_a_replacement_keeps_prices_that_are_not_given() -> None:
    """The stop stays at 11 and the limit moves from 11.5 to 12, which the gap to 11.8 needs."""
    steps = {0: lambda view: [view.order(50, kind=STOP_LIMIT, limit=11.5, stop=11.0)], 1: lambda view: [view.replace(1, 60, limit=12.0)]}
    result = run(daily(QUIET, QUIET, flat(11.8)), steps)
    assert fills(result) == [(2, 2, 60, 11.8)]
    assert [(order.limit, order.stop) for order in result.orders] == [(11.5, 11.0), (12.0, 11.0)]


def test_a_replacement_may_move_the_stop() -> None:
    steps = {0: lambda view: [view.order(50, kind=STOP, stop=11.0)], 1: lambda view: [view.replace(1, 50, stop=12.0)]}
    result = run(daily(QUIET, QUIET, flat(11.8), flat(12.5)), steps)
    assert fills(result) == [(2, 3, 50, 12.5)]


def test_a_replacement_of_an_order_that_is_gone_is_answered_and_trades_nothing() -> None:
    result = run(daily(*[QUIET] * 4), {0: lambda view: [view.order(100)], 1: lambda view: [view.replace(1, 200)]})
    assert fills(result) == [(1, 1, 100, 10.0)]
    ended = result.journal_table()
    assert ended[ended["kind"] == ENDED][["order", "instrument"]].tolist() == [(2, -1)]


def test_a_replacement_at_no_price_leaves_the_order_that_it_was_to_replace() -> None:
    result = run(daily(*[QUIET] * 3), {0: bid, 1: lambda view: [view.replace(1, 100, limit=-1.0)]})
    assert states(result) == {1: "accepted: price not touched"}
    refused = result.journal_table()[-1]
    assert (int(refused["order"]), int(refused["e"])) == (2, Reason.BAD_PRICE)


def test_a_replacement_in_a_replacements_place() -> None:
    steps = {0: lambda view: [*bid(view, 10), view.replace(1, 20), view.replace(2, 30, limit=10.0)]}
    assert fills(run(daily(QUIET, QUIET), steps)) == [(3, 1, 30, 10.0)]


def test_the_minimum_commission_is_not_paid_again_by_a_replacement() -> None:
    """30 shares at 1 cent are 0.30: the minimum of 1. The replacement's 100 more make 1.30 in all, of which 0.30 are left to pay."""
    tape = daily(QUIET, flat(10, 300), flat(10, 10_000))
    broker = plain(participation=0.1, commission=Commission(per_share=0.01, minimum=1.0))
    for send in (lambda view: [view.order(100)], lambda view: market_orders(view, (0, 100))):
        result = run(tape, {0: send, 1: lambda view: [view.replace(1, 130)]}, broker)
        assert [round(fill.commission, 12) for fill in result.fills] == [1.0, 0.3]


def test_an_order_of_a_batch_is_cancelled_and_replaced_like_any_other() -> None:
    def send(view: View) -> OrderBatch:
        prices = np.array([9.0, 9.0])
        kinds = np.array([LIMIT, LIMIT], np.int64)
        return OrderBatch(view.ids.block(2), np.array([0, 0]), np.array([10, 20]), kinds, prices)

    result = run(daily(QUIET, QUIET, flat(9)), {0: send, 1: lambda view: [view.cancel(1), view.replace(2, 30)]})
    assert fills(result) == [(3, 2, 30, 9.0)]
    assert result.orders[0].waits == (("price not touched", 2 * 86_400 * 10**9, 2 * 86_400 * 10**9),)


def test_wishes_are_journalled_as_they_were_made() -> None:
    table = run(daily(QUIET, QUIET), {0: lambda view: [*bid(view, 10, 9.0), view.replace(1, 20, limit=8.0), view.cancel(2)]}).journal_table()
    assert table[table["kind"] == CANCEL]["order"].tolist() == [2]
    assert table[table["kind"] == REPLACE][["order", "lots", "a", "e"]].tolist() == [(2, 20, 8.0, 1)]


def test_a_new_target_takes_back_a_bracket_whole() -> None:
    """Its two sides go with their parent, and are not taken back again."""
    steps = {
        0: lambda view: view.bracket(1, kind=OrderKind.LIMIT, limit=5.0, take_profit=12.0, stop_loss=4.0),
        1: lambda view: [view.rebalance(np.array([0.0]))],
    }
    result = run(daily(QUIET, QUIET, QUIET), steps)
    assert [order.reason for order in result.orders] == ["replaced by a new target", "its parent ended", "its parent ended"]
