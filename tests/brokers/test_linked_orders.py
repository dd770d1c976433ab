"""Orders that hang together: one triggers other (parent), one cancels other (oco), brackets; what partial fills, ends and changes do to them."""

from __future__ import annotations

from math import inf

import pytest
from small_lists import DATES, QUIET, bars, bracket, ends, markets, run, send, traded
from small_markets import daily, fills, flat, plain, states
from small_markets import run as run_script

from simulator import Account, Actions, Limits, Order, OrderKind, PluginError, Reason, Result, Split, View
from simulator.feeds.tables import attach
from simulator.loop.journal import ADJUSTED, ENDED, REFUSED
from simulator.report.telling import Telling

LIMIT, STOP = OrderKind.LIMIT, OrderKind.STOP

# --- one triggers other ------------------------------------------------------------------------------------------------------------------


def test_a_child_waits_for_its_parent() -> None:
    table = bars(QUIET, (10, 10, 8, 8, 1000), (8, 9, 8, 9, 1000))
    result = run(table, send("parent", 5, "limit", limit=8.5), send("child", -5, "limit", limit=8.8, parent="parent"), path="ohlc")
    assert traded(result) == [("parent", 1, 5, 8.5), ("child", 2, -5, 8.8)]


def test_a_child_never_trades_before_its_parent_on_the_path() -> None:
    """The high of 11 comes before the low that fills the parent: it is no profit."""
    table = bars(QUIET, (10, 11, 8, 9, 1000))
    orders = send("parent", 5, "limit", limit=8.5), send("child", -5, "limit", limit=10.5, parent="parent")
    assert traded(run(table, *orders, path="ohlc")) == [("parent", 1, 5, 8.5)]
    assert traded(run(table, *orders, path="olhc")) == [("parent", 1, 5, 8.5), ("child", 1, -5, 10.5)]


def test_a_market_child_trades_where_its_parent_filled() -> None:
    result = run(bars(QUIET, (10, 11, 8, 9, 1000)), send("parent", 5, "limit", limit=8.5), send("child", -5, parent="parent"))
    assert traded(result) == [("parent", 1, 5, 8.5), ("child", 1, -5, 8.5)]


def test_a_stop_that_its_parent_fill_is_already_beyond_trades_there() -> None:
    result = run(bars(QUIET, (10, 11, 8, 9, 1000)), send("parent", 5, "limit", limit=8.5), send("child", -5, "stop", stop=9.5, parent="parent"))
    assert traded(result) == [("parent", 1, 5, 8.5), ("child", 1, -5, 8.5)]


def test_a_trailing_child_starts_from_the_price_at_which_its_parent_filled() -> None:
    table = bars(QUIET, (10, 10, 8, 8, 1000), (8, 8, 7.4, 7.4, 1000))
    orders = send("parent", 5, "limit", limit=8.5), send("child", -5, "trailing_stop", trail=1.0, parent="parent")
    assert traded(run(table, *orders)) == [("parent", 1, 5, 8.5), ("child", 2, -5, 7.5)]


def test_what_a_fill_at_the_close_sets_free_meets_the_next_bar() -> None:
    table = bars(QUIET, (10, 11, 8, 9, 1000), (9.5, 9.5, 9.5, 9.5, 1000))
    orders = send("parent", 5, "market_on_close"), send("child", -5, "limit", limit=9.0, parent="parent")
    assert traded(run(table, *orders)) == [("parent", 1, 5, 9.0), ("child", 2, -5, 9.5)]


def test_a_child_in_another_instrument_meets_the_next_bar() -> None:
    """No bar tells which of two instruments came first."""
    table = markets(X=(QUIET, QUIET, QUIET), Y=(QUIET, (20, 20, 20, 20, 1000), (21, 21, 21, 21, 1000)))
    assert traded(run(table, send("parent", 5), send("child", -5, symbol="Y", parent="parent"))) == [("parent", 1, 5, 10.0), ("child", 2, -5, 21.0)]


def test_children_trade_in_proportion_to_what_their_parent_has_filled() -> None:
    """Two of ten lots fill, then eight: a child of five may trade one, and then four."""
    table = bars(QUIET, (10, 10, 10, 10, 20), (10, 10, 10, 10, 1000))
    result = run(table, send("parent", 10), send("child", -5, parent="parent"), participation=0.5)
    assert traded(result) == [("parent", 1, 10, 10.0), ("child", 2, -5, 10.0)]
    result = run(table, send("parent", 10), send("child", -5, parent="parent"), participation=0.1)
    assert traded(result) == [("parent", 1, 2, 10.0), ("parent", 2, 8, 10.0), ("child", 2, -5, 10.0)]


def test_a_parent_that_ends_partly_filled_leaves_its_children_that_much() -> None:
    table = bars(QUIET, (10, 10, 10, 10, 40), (12, 12, 12, 12, 1000))
    result = run(table, *bracket(10, profit=11.0, loss=9.0, tif="IOC"), participation=0.1)
    assert traded(result) == [("entry", 1, 4, 10.0), ("profit", 2, -4, 12.0)]
    assert ends(result)["entry"] == "cancelled: volume cap"
    assert ends(result)["loss"] == "cancelled: the other order of its pair filled"


@pytest.mark.parametrize("tif", ["DAY", "IOC", "FOK"])
def test_a_parent_that_ends_unfilled_takes_its_children_with_it(tif: str) -> None:
    result = run(bars(QUIET, QUIET, QUIET), *bracket(5, profit=11.0, loss=8.0, kind="limit", limit=9.0, tif=tif))
    assert traded(result) == []
    assert ends(result)["profit"] == ends(result)["loss"] == "cancelled: its parent ended"


def test_a_parent_that_is_refused_takes_its_children_with_it() -> None:
    result = run(bars(QUIET, QUIET), *bracket(0.4, profit=11.0, loss=9.0))
    assert ends(result)["entry"] == "rejected: quantity rounds to zero lots"
    big = run(bars(QUIET, QUIET), *bracket(50_000, profit=11.0, loss=9.0), leverage_max=1.0)
    assert ends(big) == {"entry": "rejected: leverage limit", "profit": "rejected: its parent ended", "loss": "rejected: its parent ended"}


def test_a_child_of_no_lots_is_refused_alone() -> None:
    result = run(bars(QUIET, QUIET), send("parent", 5), send("child", -0.4, parent="parent"))
    assert ends(result) == {"parent": "filled: filled", "child": "rejected: quantity rounds to zero lots"}


def test_chains_go_on_from_fill_to_fill() -> None:
    table = bars(QUIET, QUIET, (10, 10, 8, 8, 1000), (8, 12, 8, 12, 1000))
    orders = send("a", 5), send("b", 5, "limit", limit=8.5, parent="a"), send("c", -5, "limit", limit=11.0, parent="b")
    assert traded(run(table, *orders)) == [("a", 1, 5, 10.0), ("b", 2, 5, 8.5), ("c", 3, -5, 11.0)]


def test_a_chain_is_no_longer_than_what_has_filled() -> None:
    """Of ten lots five are a's child; c may trade what b has, and not what it could have."""
    table = bars(QUIET, (10, 10, 10, 10, 40), (10, 10, 10, 10, 40))
    result = run(table, send("a", 10, tif="IOC"), send("b", 10, parent="a"), send("c", -10, parent="b"), participation=0.1)
    assert traded(result) == [("a", 1, 4, 10.0), ("b", 2, 4, 10.0)]
    held = run(
        bars(QUIET, (10, 10, 10, 10, 40), *[QUIET] * 3),
        send("a", 10, tif="IOC"),
        send("b", 10, parent="a"),
        send("c", -10, parent="b"),
        participation=0.1,
    )
    assert [fill.quantity for fill in held.fills] == [4, 4, -4]


def test_an_ioc_child_lives_for_the_bar_in_which_it_may_trade() -> None:
    table = bars(QUIET, QUIET, (10, 10, 8, 8, 1000), QUIET)
    result = run(table, send("parent", 5, "limit", limit=8.5), send("child", -5, "limit", limit=11.0, tif="IOC", parent="parent"))
    assert ends(result) == {"parent": "filled: filled", "child": "cancelled: price not touched"}
    assert [reason for reason, _, _ in result.orders[1].waits] == ["its parent has not filled", "price not touched"]


def test_a_fok_child_trades_all_or_nothing() -> None:
    table = bars(QUIET, (10, 10, 10, 10, 20), QUIET)
    result = run(table, send("parent", 5, tif="IOC"), send("child", -5, tif="FOK", parent="parent"), participation=0.1)
    assert traded(result) == [("parent", 1, 2, 10.0)]
    assert ends(result)["child"].startswith("cancelled")


def test_a_gtd_child_may_end_before_its_parent_fills() -> None:
    result = run(bars(QUIET, QUIET, QUIET), send("parent", 5, "limit", limit=9.0), send("child", -5, tif="GTD", until=DATES[1], parent="parent"))
    assert ends(result) == {"parent": "accepted: price not touched", "child": "expired: past its good-till date"}


def test_in_a_cash_account_the_sells_of_a_bracket_stay_behind_its_buy() -> None:
    table = bars(QUIET, QUIET, (12, 12, 12, 12, 1000))
    result = run(table, *bracket(5, profit=11.0, loss=9.0), account="cash")
    assert traded(result) == [("entry", 1, 5, 10.0), ("profit", 2, -5, 12.0)]


def test_at_the_same_close_a_parent_fills_and_its_child_waits_for_the_next_bar() -> None:
    table = bars(QUIET, (11, 11, 11, 11, 1000))
    result = run(table, send("parent", 5), send("child", -5, parent="parent"), timing="same_close")
    assert traded(result) == [("parent", 0, 5, 10.0), ("child", 1, -5, 11.0)]


# --- one cancels other -------------------------------------------------------------------------------------------------------------------


def test_the_first_that_fills_ends_the_other() -> None:
    result = run(
        bars(QUIET, (10, 12, 10, 12, 1000), (12, 12, 8, 8, 1000)), send("a", 5, "limit", limit=9.0, oco="p"), send("b", 5, "stop", stop=11.0, oco="p")
    )
    assert traded(result) == [("b", 1, 5, 11.0)]
    assert ends(result)["a"] == "cancelled: the other order of its pair filled"


def test_of_equal_lots_a_partial_fill_leaves_the_other_the_rest() -> None:
    """Two of five lots fill at 9; the stop has three, and takes them all."""
    table = bars(QUIET, (10, 10, 9, 9.5, 20), (10, 12, 10, 12, 1000))
    result = run(table, send("a", 5, "limit", limit=9.0, oco="p"), send("b", 5, "stop", stop=11.0, oco="p"), participation=0.1)
    assert traded(result) == [("a", 1, 2, 9.0), ("b", 2, 3, 11.0)]
    assert result.positions == {"X": 5.0}
    assert ends(result)["a"] == "cancelled: the other order of its pair filled"


def test_of_other_lots_the_first_fill_ends_the_others() -> None:
    table = bars(QUIET, (10, 10, 9, 9.5, 20), (10, 12, 10, 12, 1000))
    result = run(table, send("a", 5, "limit", limit=9.0, oco="p"), send("b", 4, "stop", stop=11.0, oco="p"), participation=0.1)
    assert traded(result) == [("a", 1, 2, 9.0)]
    assert ends(result)["b"] == "cancelled: the other order of its pair filled"


def test_a_pair_may_be_in_two_instruments() -> None:
    table = markets(X=(QUIET, (10, 10, 10, 10, 1000)), Y=(QUIET, (10, 10, 8, 8, 1000)))
    result = run(table, send("a", 5, "limit", limit=9.0, oco="p"), send("b", 5, "limit", limit=9.0, oco="p", symbol="Y"))
    assert traded(result) == [("b", 1, 5, 9.0)]
    assert ends(result)["a"].startswith("cancelled")


def test_one_of_a_pair_that_is_cancelled_or_expires_leaves_the_other_alone() -> None:
    orders = send("a", 5, "limit", limit=9.0, oco="p", tif="DAY"), send("b", 5, "stop", stop=11.0, oco="p")
    result = run(bars(QUIET, QUIET, (10, 12, 10, 12, 1000)), *orders)
    assert traded(result) == [("b", 2, 5, 11.0)]
    assert ends(result)["a"] == "expired: end of session"


# --- held quantities ---------------------------------------------------------------------------------------------------------------------


def test_both_sides_of_a_bracket_hold_the_position_once() -> None:
    """Nothing more than it is on its way: what is left of equity may still be used."""
    tape, seen = daily(QUIET, QUIET, QUIET), []

    def look(view: View) -> list[object]:
        seen.append(view._broker.pending.tolist())  # what the limits count
        return []

    run_script(tape, {0: lambda view: view.bracket(5, take_profit=11.0, stop_loss=9.0), 1: look})
    assert seen == [[-5]]


def test_two_closes_never_sell_twice() -> None:
    """The second is no exit any more, and meets the limits."""
    result = run_script(
        daily(QUIET, QUIET, QUIET), {0: lambda view: [view.order(5)], 1: lambda view: [view.order(-5), view.order(-5)]}, limits=Limits(gross_max=1e-9)
    )
    assert states(result)[1] == "rejected: gross exposure limit"
    held = run_script(
        daily(QUIET, QUIET, QUIET),
        {0: lambda view: [view.order(5)], 1: lambda view: [view.order(-5), view.order(-5)]},
        account=Account(100.0, "margin", 0.5),
    )
    assert states(held) == {1: "filled: filled", 2: "filled: filled", 3: "filled: filled"}
    cash = run_script(
        daily(QUIET, QUIET, QUIET),
        {0: lambda view: [view.order(5)], 1: lambda view: [view.order(-5), view.order(-5)]},
        account=Account(100.0, "cash", inf),
    )
    assert states(cash)[3] == "rejected: a cash account holds no shorts"


# --- changes -----------------------------------------------------------------------------------------------------------------------------


def test_cancelling_a_parent_cancels_what_waits_for_it() -> None:
    steps = {0: lambda view: view.bracket(5, kind=LIMIT, limit=9.0, take_profit=11.0, stop_loss=8.0), 1: lambda view: [view.cancel(1)]}
    assert states(run_script(daily(QUIET, QUIET, QUIET), steps)) == {
        1: "cancelled: cancelled on request",
        2: "cancelled: its parent ended",
        3: "cancelled: its parent ended",
    }


def test_cancelling_a_partly_filled_parent_leaves_its_children_what_it_has() -> None:
    steps = {0: lambda view: view.bracket(10, take_profit=11.0, stop_loss=8.0), 1: lambda view: [view.cancel(1)]}
    result = run_script(daily(QUIET, (10, 10, 10, 10, 40), (12, 12, 12, 12, 1000)), steps, plain(participation=0.1))
    assert fills(result) == [(1, 1, 4, 10.0), (2, 2, -4, 12.0)]


def test_a_child_can_be_given_another_price_and_keeps_its_ties() -> None:
    steps = {0: lambda view: view.bracket(5, take_profit=11.0, stop_loss=8.0), 1: lambda view: [view.replace(2, -5, limit=10.5)]}
    result = run_script(daily(QUIET, QUIET, (10, 10.6, 10, 10, 1000), (10, 10, 7, 7, 1000)), steps)
    assert fills(result) == [(1, 1, 5, 10.0), (4, 2, -5, 10.5)]
    assert states(result)[3] == "cancelled: the other order of its pair filled"


def test_a_parent_can_be_given_another_price_and_keeps_its_children() -> None:
    steps = {
        0: lambda view: view.bracket(5, kind=LIMIT, limit=8.0, take_profit=11.0, stop_loss=7.0),
        1: lambda view: [view.replace(1, 5, limit=9.0)],
    }
    result = run_script(daily(QUIET, QUIET, (10, 10, 9, 9, 1000), (9, 12, 9, 12, 1000)), steps)
    assert fills(result) == [(4, 2, 5, 9.0), (2, 3, -5, 11.0)]


def test_the_quantity_of_a_linked_order_stays_as_it_is() -> None:
    steps = {0: lambda view: view.bracket(5, take_profit=11.0, stop_loss=8.0), 1: lambda view: [view.replace(2, -4, limit=10.5)]}
    result = run_script(daily(QUIET, QUIET, (10, 12, 10, 12, 1000)), steps)
    assert fills(result) == [(1, 1, 5, 10.0), (2, 2, -5, 11.0)]


def test_a_bracket_needs_its_prices_on_two_sides() -> None:
    with pytest.raises(PluginError, match=r"a bracket of 5 needs take_profit and stop_loss on its two sides, were 8.0 and 11.0"):
        run_script(daily(QUIET, QUIET), {0: lambda view: view.bracket(5, take_profit=8.0, stop_loss=11.0)})


def test_an_open_child_has_filled_nothing() -> None:
    """What it waits for is not what it has."""
    seen = []

    def look(view: View) -> list[object]:
        seen.append(view._broker.standing(2)[1:])  # what a replacement counts from
        return []

    run_script(daily(QUIET, QUIET), {0: lambda view: view.bracket(5, kind=LIMIT, limit=9.0, take_profit=11.0, stop_loss=8.0), 1: look})
    assert seen == [(0, -5)]


def test_a_replaced_parent_that_is_rejected_at_its_fill_takes_its_children_with_it() -> None:
    """The order that took its place is younger than they are."""
    steps = {0: lambda view: view.oto(view.order(-5, 0, LIMIT, 12.0), view.order(5)), 1: lambda view: [view.replace(1, -5, limit=10.0)]}
    result = run_script(daily(*[QUIET] * 4), steps, account=Account(1_000.0, "cash"))
    assert states(result) == {
        1: "replaced: cancelled on request",
        2: "cancelled: its parent ended",
        3: "rejected: a cash account holds no shorts",
    }


# --- the same orders once more -----------------------------------------------------------------------------------------------------------


def said(result: Result) -> list[tuple[str, str]]:
    """Every order that was sent, and what was said to it."""
    return [(order.client_id, order.reason) for order in result.orders]


def test_a_bracket_that_is_sent_again_is_known_with_its_children() -> None:
    """Such orders are told once."""
    orders = bracket(10, profit=12.0, loss=8.0)
    result = run(bars(QUIET, QUIET, QUIET), *orders, *({**order, "bar": 1} for order in orders))
    assert said(result) == [("entry", "filled"), ("profit", "price not touched"), ("loss", "price not touched")]
    assert traded(result) == [("entry", 1, 10, 10.0)]


def test_a_strategy_that_sends_its_bracket_again_hears_that_it_is_known() -> None:
    """Ids are new each time: what its orders hang on is the same where its client_ids are."""

    def send_it(view: View) -> list[Order]:
        return view.bracket(10, 0, client_id="mine", take_profit=12.0, stop_loss=8.0)

    result = run_script(daily(*[QUIET] * 4), {0: send_it, 1: send_it, 2: lambda view: send_it(view)[1:]})
    refused = [row["c"] for row in result.journal.table() if row["kind"] == REFUSED]
    # The last time only the children came, and had another parent.
    assert refused == [Reason.DUPLICATE] * 3 + [Reason.CLIENT_ID_REUSED] * 2


def test_a_child_that_is_sent_again_under_another_parent_is_another_order() -> None:
    first = [send("entry", 10, "limit", limit=9.0), send("exit", -10, parent="entry")]
    again = [send("other", 10, "limit", limit=9.0, bar=1), send("exit", -10, parent="other", bar=1)]
    result = run(bars(QUIET, QUIET, QUIET), *first, *again)
    assert said(result)[-1] == ("exit", "this client_id was used for another order")


def test_a_child_that_is_sent_again_at_another_price_is_another_order() -> None:
    orders = bracket(10, profit=12.0, loss=8.0)
    again = [{**order, "bar": 1} for order in orders]
    again[1]["limit"] = 12.5
    result = run(bars(QUIET, QUIET, QUIET), *orders, *again)
    assert said(result)[3:] == [("profit", "this client_id was used for another order")]


# --- what others took is on record at once -----------------------------------------------------------------------------------------------


def lost(result: Result) -> list[tuple[int, int, int, Reason]]:
    """(order, bar, lots, why) of each row that says that an order has less to trade."""
    ats = result.tape.closed_at.tolist()
    return [(row["order"], ats.index(row["at"]), row["lots"], Reason(row["e"])) for row in result.journal.table() if row["kind"] == ADJUSTED]


def test_what_a_pair_takes_from_an_order_is_told_with_the_bar_that_took_it() -> None:
    """Two of ten lots fill; the other order has eight left from then on, and ends with all of the rest."""
    table = bars(QUIET, (10, 10, 10, 10, 20), QUIET, (10, 12, 10, 12, 1000))
    result = run(table, send("gain", -10, "limit", limit=10.0, oco="pair"), send("loss", -10, "stop", stop=5.0, oco="pair"), participation=0.1)
    assert lost(result) == [(2, 1, 2, Reason.OCO)]
    assert ends(result)["loss"] == "cancelled: the other order of its pair filled"
    ended = [row["lots"] for row in result.journal.table() if row["kind"] == ENDED and row["order"] == 2]
    assert ended == [-8]
    assert [order.quantity for order in result.orders] == [-10.0, -10.0]


def test_what_a_parent_will_not_fill_is_told_with_its_end() -> None:
    """An IOC entry fills four of ten: its exits are for four from then on."""
    result = run(bars(QUIET, (10, 10, 10, 10, 40), QUIET), *bracket(10, profit=11.0, loss=9.0, tif="IOC"), participation=0.1)
    assert lost(result) == [(2, 1, 6, Reason.PARENT_ENDED), (3, 1, 6, Reason.PARENT_ENDED)]
    telling = Telling(result.journal, result.tape)
    said = [telling.event(entry) for entry in telling.entries(telling.of_kind(ADJUSTED))]
    assert said == ["order 2 'profit' loses 6: its parent ended", "order 3 'loss' loses 6: its parent ended"]


def test_a_pair_that_lost_lots_goes_through_a_split_with_what_is_left() -> None:
    """Two of ten are gone; a split of two for one leaves sixteen, of which none was filled."""
    table = attach(daily(QUIET, (10, 10, 10, 10, 20), flat(4.5), flat(4.5)), Actions([Split("X", 2, 2, 1)]))
    pair = {0: lambda view: view.oco(view.order(-10, 0, LIMIT, 10.0), view.order(-10, 0, STOP, stop=8.0))}
    broker = plain(participation=0.1)
    result = run_script(table, {**pair, 2: lambda view: [view.replace(2, -16, stop=3.9)]}, broker)
    # A linked order may have another price for the same quantity, which is what is left.
    assert states(result)[3] == "accepted: price not touched"
    assert [(row["lots"], row["e"]) for row in result.journal.table() if row["kind"] == ADJUSTED and row["order"] == 2] == [(2, Reason.OCO), (-8, 0)]
