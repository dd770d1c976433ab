"""An example for each sentence of the rules of the path inside a bar: what comes first, which path is taken, and what is marked as ambiguous."""

from __future__ import annotations

import pytest
from small_lists import QUIET, ambiguous, bars, bracket, ends, markets, run, send, traded
from small_markets import daily, fills, hourly, plain, states
from small_markets import run as run_script

from simulator import OrderKind, ScenarioError, Twap

POLICIES = ("pessimistic", "optimistic", "ohlc", "olhc", "nearest")
HOUR = 3600.0

# Both sides of a bracket are inside: 12 for a profit of 2, and 9 for a loss of 1. Its low is the nearer to its open.
BOTH = (10, 12.5, 8.5, 10, 1000)


@pytest.mark.parametrize(
    ("path", "side", "price"),
    [("pessimistic", "loss", 9.0), ("optimistic", "profit", 12.0), ("ohlc", "profit", 12.0), ("olhc", "loss", 9.0), ("nearest", "loss", 9.0)],
)
def test_the_policy_decides_where_a_bar_has_both_sides_of_a_bracket(path: str, side: str, price: float) -> None:
    result = run(bars(QUIET, BOTH), *bracket(5, profit=12.0, loss=9.0), path=path)
    assert traded(result) == [("entry", 1, 5, 10.0), (side, 1, -5, price)]
    assert ambiguous(result) == [side]


def test_nearest_goes_to_the_high_first_where_that_is_nearer_and_where_both_are_as_near() -> None:
    for high, low in ((12.0, 7.5), (12.5, 7.5)):
        result = run(bars(QUIET, (10, high, low, 10, 1000)), *bracket(5, profit=12.0, loss=8.0), path="nearest")
        assert [fill.client_id for fill in result.fills] == ["entry", "profit"]


def test_as_near_is_told_in_decimals() -> None:
    """In floats 5.3 - 5.1 is more than 5.1 - 4.9."""
    result = run(bars((5.1, 5.1, 5.1, 5.1, 1000), (5.1, 5.3, 4.9, 5.1, 1000)), *bracket(5, profit=5.2, loss=5.0), path="nearest")
    assert [fill.client_id for fill in result.fills] == ["entry", "profit"]


def test_shorts_mirror_longs() -> None:
    table = bars(QUIET, (10, 11.5, 7.5, 10, 1000))
    assert traded(run(table, *bracket(-5, profit=8.0, loss=11.0)))[1] == ("loss", 1, 5, 11.0)
    assert traded(run(table, *bracket(-5, profit=8.0, loss=11.0), path="optimistic"))[1] == ("profit", 1, 5, 8.0)


@pytest.mark.parametrize("path", POLICIES)
def test_what_one_side_alone_can_touch_is_the_same_on_every_path_and_not_ambiguous(path: str) -> None:
    result = run(bars(QUIET, (10, 12.5, 9.5, 12, 1000)), *bracket(5, profit=12.0, loss=9.0), path=path)
    assert traded(result) == [("entry", 1, 5, 10.0), ("profit", 1, -5, 12.0)]
    assert ambiguous(result) == []


@pytest.mark.parametrize("path", POLICIES)
def test_a_tie_goes_to_the_high_first(path: str) -> None:
    """Two limits share a bar of which two lots are ours: at the close either path has left us as much."""
    table = bars(QUIET, (10, 11, 9, 10, 20))
    result = run(table, send("sell", -5, "limit", limit=11.0), send("buy", 5, "limit", limit=9.0), path=path, participation=0.1)
    assert traded(result) == [("buy", 1, 2, 9.0) if path == "olhc" else ("sell", 1, -2, 11.0)]
    assert ambiguous(result) == [fill.client_id for fill in result.fills]


def test_a_bar_gives_its_volume_by_the_moment_on_the_path() -> None:
    """The stop is older; but on the way to the high the limit comes first."""
    table = bars(QUIET, (10, 12, 10, 12, 20))
    result = run(table, send("stop", 5, "stop", stop=11.5), send("limit", -5, "limit", limit=11.0), path="ohlc", participation=0.1)
    assert traded(result) == [("limit", 1, -2, 11.0)]
    assert ends(result)["stop"] == "accepted: volume cap"


def test_of_one_price_the_older_order_comes_first() -> None:
    table = bars(QUIET, (10, 12, 10, 12, 20))
    result = run(table, send("b", 5, "stop", stop=11.0), send("a", -5, "limit", limit=11.0), path="ohlc", participation=0.1)
    assert traded(result) == [("b", 1, 2, 11.0)]


# --- stop-limits -------------------------------------------------------------------------------------------------------------------------

STOP_LIMIT = {"stop": 11.0, "limit": 10.5}


@pytest.mark.parametrize(("path", "there"), [("pessimistic", False), ("ohlc", True), ("olhc", False), ("optimistic", True)])
def test_a_stop_limit_whose_limit_is_behind_its_stop_follows_the_path(path: str, there: bool) -> None:
    """The close of 10.8 proves nothing. On the way from the high to the low the price comes back to 10.5."""
    result = run(bars(QUIET, (10, 12, 9, 10.8, 1000)), send("a", 5, "stop_limit", **STOP_LIMIT), path=path)
    assert traded(result) == ([("a", 1, 5, 10.5)] if there else [])


@pytest.mark.parametrize("path", POLICIES)
def test_a_close_back_at_the_limit_proves_the_path(path: str) -> None:
    result = run(bars(QUIET, (10, 12, 9, 10.5, 1000)), send("a", 5, "stop_limit", **STOP_LIMIT), path=path)
    assert traded(result) == [("a", 1, 5, 10.5)]


def test_a_stop_limit_alone_is_the_same_whatever_happens_in_other_instruments() -> None:
    """With costs, a trade just above the close costs more than it gains; that it happened is still not proved."""
    table = markets(X=(QUIET, (10, 12, 9, 10.51, 1000)), Y=(QUIET, QUIET))
    ours = send("a", 5, "stop_limit", **STOP_LIMIT)
    for others in ([], [send("b", 5, "market_on_close", symbol="Y")], [send("c", 5)]):
        assert "a" not in [fill.client_id for fill in run(table, ours, *others, commission={"per_order": 1.0}).fills]


def test_a_stop_limit_whose_company_was_refused_at_the_open_is_alone() -> None:
    """The cash account sells nothing short at the open: one order is left, and the close of 10.25 does not prove that its limit came after."""
    table = bars(QUIET, (10, 10.25, 10, 10.25, 1000))
    ours = send("a", 1000, "stop_limit", stop=10.25, limit=10.0)
    result = run(table, send("b", -1, "limit", limit=10.0), ours, cash=3000.0, account="cash")
    assert {order.client_id: str(order.state) for order in result.orders} == {"b": "rejected", "a": "accepted"}


# --- what is taken together --------------------------------------------------------------------------------------------------------------


def test_the_worse_path_counts_costs() -> None:
    """Up first buys at the stop of 11 and gains 1 by the close of 12; down first only sells at 9. Nothing links them, so both paths have both."""
    table = bars(QUIET, (10, 12, 9, 12, 1000))
    result = run(table, send("up", 5, "stop", stop=11.0), send("down", -5, "stop", stop=9.0))
    assert sorted(fill.client_id for fill in result.fills) == ["down", "up"]
    assert ambiguous(result) == []


def test_each_instrument_has_its_own_path() -> None:
    """Long and short brackets lose on opposite paths."""
    table = markets(X=(QUIET, (10, 12.5, 8.5, 10, 1000)), Y=(QUIET, (10, 11.5, 7.5, 10, 1000)))
    short = [{**order, "client_id": f"y {order['client_id']}", "symbol": "Y"} for order in bracket(-5, profit=8.0, loss=11.0)]
    for order in short:
        if "oco" in order:
            order.update(oco="y exit", parent="y entry")
    result = run(table, *bracket(5, profit=12.0, loss=9.0), *short)
    assert [fill.client_id for fill in result.fills if fill.ambiguous] == ["loss", "y loss"]


def test_at_the_close_too_another_path_gives_another_fill() -> None:
    """A market-on-close order of a pair trades only where the limit did not: on one path as on the other."""
    pair = [
        send("limit", -5, "limit", limit=12.0, oco="p"),
        send("stop", -5, "stop", stop=9.0, oco="p"),
        send("close", -5, "market_on_close", oco="p"),
    ]
    assert traded(run(bars(QUIET, (10, 11, 9.5, 10, 1000)), *pair)) == [("close", 1, -5, 10.0)]
    result = run(bars(QUIET, BOTH), *pair)
    assert traded(result) == [("stop", 1, -5, 9.0)]
    assert ambiguous(result) == ["stop"]


def test_volume_that_another_path_would_have_left_makes_a_fill_at_the_close_ambiguous() -> None:
    """The trailing stop trades on the way down from the high alone, and so takes from the close what that would have had."""
    table = bars(QUIET, (10, 12, 9.5, 11.5, 20))
    orders = [send("trail", -5, "trailing_stop", trail=1.0), send("close", 5, "market_on_close")]
    up_first = run(table, *orders, path="ohlc", participation=0.1)
    assert traded(up_first) == [("trail", 1, -2, 11.0)]
    down_first = run(table, *orders, path="olhc", participation=0.1)
    assert traded(down_first) == [("close", 1, 2, 11.5)]
    assert ambiguous(up_first) == ["trail"]
    assert ambiguous(down_first) == ["close"]


# --- moments on a named path -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "prices"), [("ohlc", [10.0, 11.5, 10.0, 8.75]), ("olhc", [10.0, 8.5, 10.0, 11.75]), ("nearest", [10.0, 11.5, 10.0, 8.75])]
)
def test_on_a_named_path_slices_find_the_price_of_their_moment(path: str, prices: list[float]) -> None:
    """At a quarter of the day three quarters of the first leg are behind us, at half of it half of the second."""
    tape = daily(QUIET, (10, 12, 8, 11, 1000))
    result = run_script(tape, {0: lambda view: [view.order(60, schedule=Twap(4, 6 * HOUR))]}, plain(path=path))
    assert [(fill.bar, fill.price) for fill in result.fills] == [(1, price) for price in prices]
    assert [fill.ambiguous for fill in result.fills] == [False, True, True, True]


@pytest.mark.parametrize("path", ["pessimistic", "optimistic"])
def test_where_no_path_is_named_slices_wait_for_the_next_open(path: str) -> None:
    tape = daily(QUIET, (10, 12, 8, 11, 1000), QUIET)
    result = run_script(tape, {0: lambda view: [view.order(60, schedule=Twap(4, 6 * HOUR))]}, plain(path=path))
    assert [(fill.bar, fill.price) for fill in result.fills] == [(1, 10.0), (2, 10.0), (2, 10.0), (2, 10.0)]


def test_slices_share_the_volume_of_their_bar_by_their_moments() -> None:
    """Three lots are ours: the limit at 11 is on the way up, after the first slice and before the second."""
    tape = daily(QUIET, (10, 12, 8, 11, 30))
    steps = {0: lambda view: [view.order(4, schedule=Twap(2, 12 * HOUR)), view.order(-9, kind=OrderKind.LIMIT, limit=11.0)]}
    result = run_script(tape, steps, plain(path="ohlc", participation=0.1))
    assert [(fill.order, fill.quantity, fill.price) for fill in result.fills] == [(3, 2, 10.0), (2, -1, 11.0)]


def test_an_order_that_arrives_inside_a_bar_sees_the_rest_of_it_alone() -> None:
    """It arrives at noon, on the way down from the high: what the high would have filled is past, the low is still to come."""
    tape = daily(QUIET, (10, 12, 8, 11, 1000))
    wishes = {0: lambda view: [view.order(-1, kind=OrderKind.LIMIT, limit=11.5), view.order(2, kind=OrderKind.LIMIT, limit=9.0)]}
    result = run_script(tape, wishes, plain(path="ohlc", latency_seconds=12 * HOUR))
    assert fills(result) == [(2, 1, 2, 9.0)]
    assert states(result)[1] == "accepted: price not touched"


def test_a_cancel_that_arrives_inside_a_bar_is_in_time_for_what_comes_later() -> None:
    """Sent with the orders, and as late: at noon the first is gone before the low, and the second was filled at the high."""
    tape = daily(QUIET, QUIET, (10, 12, 8, 11, 1000))
    steps = {
        0: lambda view: [view.order(2, kind=OrderKind.LIMIT, limit=9.0), view.order(-1, kind=OrderKind.LIMIT, limit=11.5)],
        1: lambda view: [view.cancel(1), view.cancel(2)],
    }
    result = run_script(tape, steps, plain(path="ohlc", latency_seconds=12 * HOUR))
    assert fills(result) == [(2, 2, -1, 11.5)]
    assert states(result)[1] == "cancelled: cancelled on request"


def test_a_schedule_that_is_cancelled_at_its_deadline_inside_a_bar_takes_its_slices_back() -> None:
    """The limit of 9 is reached only after the deadline at noon."""
    tape = daily(QUIET, (10, 12, 8, 11, 1000))
    schedule = Twap(2, 6 * HOUR, "cancel")
    result = run_script(tape, {0: lambda view: [view.order(4, kind=OrderKind.LIMIT, limit=9.0, schedule=schedule)]}, plain(path="ohlc"))
    assert fills(result) == []
    assert set(states(result).values()) == {"cancelled: not done by its deadline"}


@pytest.mark.parametrize("path", POLICIES)
def test_where_nothing_moves_the_path_is_no_matter(path: str) -> None:
    steps = {0: lambda view: [view.order(60, schedule=Twap(4, 900.0)), *view.bracket(5, take_profit=11.0, stop_loss=9.0)]}
    result = run_script(hourly(*[QUIET] * 4), steps, plain(path=path))
    assert {fill.price for fill in result.fills} == {10.0}


def test_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(ScenarioError, match="path"):
        run(bars(QUIET, QUIET), path="olch")


def test_orders_that_do_not_hang_on_it_trade_the_same_on_every_path() -> None:
    """Without orders that hang on it, all paths give the same result."""
    table = bars(QUIET, (10, 12, 8, 11, 1000), (11, 13, 9, 10, 1000))
    orders = [send("a", 5, "limit", limit=9.0), send("b", -3, "stop", stop=9.5), send("c", 2)]
    results = [run(table, *orders, path=path) for path in POLICIES]
    assert len({(tuple(sorted(result.fills)), tuple(result.equity.tolist())) for result in results}) == 1
