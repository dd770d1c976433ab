"""Corporate actions as market-rules.md, section 4, has them: one example a rule. Sessions are days since 1970, and row t is session t."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import inf, nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_markets import HOUR, QUIET, Row, Script, daily, flat, hourly, market_orders, markets, plain, run, waits

from brokers.simulated import Simulated
from simulator import (
    DAY,
    Account,
    Actions,
    AlmgrenChriss,
    DataError,
    Delisting,
    Dividend,
    Order,
    OrderIds,
    OrderKind,
    Portfolio,
    Pov,
    Proposal,
    Result,
    ScenarioError,
    Schedule,
    Split,
    Suspension,
    Tape,
    TimeInForce,
    TradingHalt,
    Truth,
    Twap,
    View,
    Vwap,
    simulate,
    sma,
)
from simulator.assembly import assemble, drive
from simulator.feeds.tables import attach
from simulator.loop.journal import ADJUSTED, MemoryJournal, fold
from simulator.loop.session import step
from simulator.market.actions import Action
from simulator.report.telling import Telling

Steps = Mapping[int, Callable[[View], Proposal]]
LIMIT, STOP, TRAILING = OrderKind.LIMIT, OrderKind.STOP, OrderKind.TRAILING_STOP


def acted(tape: Tape, steps: Steps, *actions: Action, broker: Simulated | None = None, cash: float = 100_000.0) -> Result:
    """Run with these actions, and fold the journal: it must give what the session held."""
    result = run(attach(tape, Actions(actions)), steps, broker, cash=cash)
    assert isinstance(result.journal, MemoryJournal)
    state = fold(result.journal, tape, cash)
    assert state.cash == result.cash
    return result


def buy(lots: int) -> Callable[[View], Proposal]:
    return lambda view: [view.order(lots)]


def booked(result: Result, kind: str) -> list[tuple[int, float, float]]:
    """Bookings of a kind: (bar, into cash, receivable)."""
    return [(row.bar, row.amount, row.receivable) for row in result.bookings if row.kind == kind]


# Splits.


@pytest.mark.parametrize("side", [1, -1])
def test_a_split_multiplies_the_position_and_leaves_equity_alone(side: int) -> None:
    result = acted(daily(QUIET, QUIET, flat(5.0)), {0: buy(100 * side)}, Split("X", 2, 2, 1))
    assert result.positions == {"X": 200.0 * side}
    assert result.equity.tolist() == [100_000.0] * 3


@pytest.mark.parametrize("side", [1, -1])
def test_a_fraction_of_a_lot_becomes_cash_at_the_rescaled_last_price(side: int) -> None:
    """7 shares 3 for 2 are 10 and a half; the half is worth its share of the last close. Shorts mirror longs exactly."""
    result = acted(daily(flat(12.0), flat(12.0), flat(8.0)), {0: buy(7 * side)}, Split("X", 2, 3, 2))
    assert result.positions == {"X": 10.0 * side}
    assert booked(result, "fraction") == [(2, 4.0 * side, 0.0)]
    assert result.equity.tolist() == [100_000.0] * 3


def test_a_reverse_split_that_leaves_no_whole_share_closes_the_position() -> None:
    result = acted(daily(QUIET, QUIET, flat(100.0)), {0: buy(7)}, Split("X", 2, 1, 10))
    assert result.positions == {}
    assert booked(result, "fraction") == [(2, 70.0, 0.0)]


def test_the_cost_basis_is_rescaled() -> None:
    seen: list[float] = []
    steps = {0: buy(100), 2: lambda view: seen.append(view.holding().average) or ()}
    acted(daily(QUIET, QUIET, flat(5.0)), steps, Split("X", 2, 2, 1))
    assert seen == [5.0]


def test_a_split_waits_for_the_first_bar_of_its_instrument() -> None:
    """Before it, no price is known that the split would have changed."""
    result = acted(markets(X=[QUIET, QUIET, None, flat(5.0)], Y=[QUIET] * 4), {0: lambda view: [view.order(100, 0)]}, Split("X", 2, 2, 1))
    assert [(row.bar, row.ratio) for row in result.bookings] == [(3, "2:1")]
    assert result.equity.tolist() == [100_000.0] * 4


@pytest.mark.parametrize(
    ("lots", "kind", "price", "becomes"),
    [(10, LIMIT, 9.01, 4.50), (-10, LIMIT, 11.01, 5.51), (10, STOP, 11.01, 5.51), (-10, STOP, 9.01, 4.50)],
)
def test_open_orders_are_rescaled_and_rounded_to_the_tick_as_new_ones_are(lots: int, kind: OrderKind, price: float, becomes: float) -> None:
    """Buy limits and sell stops down, sell limits and buy stops up."""

    def send(view: View) -> list[Order]:
        return [view.order(lots, kind=kind, **({"limit": price} if kind == LIMIT else {"stop": price}))]

    tape = daily(QUIET, QUIET, flat(5.0), flat(becomes), tick="0.01")
    result = acted(tape, {0: send}, Split("X", 2, 2, 1))
    assert [(fill.bar, fill.quantity, fill.price) for fill in result.fills] == [(3, 2.0 * lots, becomes)]
    assert result.orders[0].state == "filled"


def test_an_order_of_which_a_split_leaves_nothing_is_cancelled() -> None:
    result = acted(daily(QUIET, QUIET, flat(100.0)), {0: lambda view: [view.order(7, kind=LIMIT, limit=9.0)]}, Split("X", 2, 1, 10))
    assert (result.orders[0].state, result.orders[0].reason) == ("cancelled", "quantity rounds to zero lots")


def test_a_market_order_sent_before_a_split_trades_the_new_shares() -> None:
    for send in (buy(10), lambda view: market_orders(view, (0, 10))):
        result = acted(daily(QUIET, flat(5.0)), {0: send}, Split("X", 1, 2, 1))
        assert [(fill.quantity, fill.price) for fill in result.fills] == [(20.0, 5.0)]


def test_an_order_on_its_way_is_rescaled_too() -> None:
    broker = plain(latency_seconds=3600.0)
    result = acted(daily(QUIET, flat(5.0), flat(5.0)), {0: buy(10)}, Split("X", 1, 2, 1), broker=broker)
    assert [fill.quantity for fill in result.fills] == [20.0]
    result = acted(daily(QUIET, flat(100.0), flat(100.0)), {0: buy(7)}, Split("X", 1, 1, 10), broker=broker)
    assert (result.orders[0].state, result.orders[0].reason) == ("cancelled", "quantity rounds to zero lots")


def test_a_partly_filled_order_keeps_what_it_filled_and_rescales_the_rest() -> None:
    result = acted(daily(QUIET, QUIET, flat(5.0), flat(5.0)), {0: buy(150)}, Split("X", 2, 2, 1), broker=plain(participation=0.1))
    assert [fill.quantity for fill in result.fills] == [100.0, 100.0]
    assert (result.orders[0].quantity, result.orders[0].state) == (200.0, "filled")


def test_a_trailing_stop_follows_at_half_the_distance_after_a_split() -> None:
    """2 behind the best close of 12 is 10; after 2 for 1 that is 1 behind 6."""
    trail = {0: buy(10), 1: lambda view: [view.order(-10, kind=TRAILING, trail=2.0)]}
    result = acted(daily(flat(12.0), flat(12.0), flat(6.0), (6.0, 6.0, 4.9, 5.0, 1000.0)), trail, Split("X", 2, 2, 1))
    assert [(fill.bar, fill.quantity, fill.price) for fill in result.fills][1:] == [(3, -20.0, 5.0)]


def test_a_bracket_goes_through_a_split_whole() -> None:
    """Both sides are rescaled, and still only one of them trades."""
    tape = daily(QUIET, QUIET, flat(5.0), (5.0, 6.5, 5.0, 6.0, 1000.0), flat(4.0))
    result = acted(tape, {0: lambda view: view.bracket(10, take_profit=12.0, stop_loss=9.0)}, Split("X", 2, 2, 1))
    assert [(fill.quantity, fill.price) for fill in result.fills] == [(10.0, 10.0), (-20.0, 6.0)]
    assert result.positions == {}


def cut(quantity: float, schedule: Schedule, **terms: Any) -> Steps:
    """An order that is sent after the first bar, and cut in time."""
    return {0: lambda view: [view.order(quantity, schedule=schedule, **terms)]}


def sent_slices(result: Result) -> list[float]:
    """What each slice came to, in the shares of its end."""
    return [order.quantity for order in result.orders if order.parent]


def test_an_order_that_is_cut_in_time_is_cut_on_in_new_shares() -> None:
    """One of four slices of 25 has filled, and of 75 there are 150."""
    result = acted(daily(*[QUIET] * 2, *[flat(5.0)] * 4), cut(100, Twap(4, 86_400.0)), Split("X", 2, 2, 1))
    assert [(fill.bar, fill.quantity) for fill in result.fills] == [(1, 25.0), (2, 50.0), (3, 50.0), (4, 50.0)]
    assert (result.orders[0].state, result.orders[0].quantity) == ("filled", 175.0)


def test_a_slice_that_rests_and_the_limits_of_those_to_come_go_through_a_split() -> None:
    """The first slice rests at 9; then all wait for 4.5."""
    tape = daily(QUIET, QUIET, flat(5.0), flat(4.0), flat(4.0), flat(4.0))
    result = acted(tape, cut(100, Twap(4, 86_400.0), kind=LIMIT, limit=9.0), Split("X", 2, 2, 1))
    assert [(fill.bar, fill.quantity, fill.price) for fill in result.fills] == [(3, 50.0, 4.0), (3, 50.0, 4.0), (3, 50.0, 4.0), (4, 50.0, 4.0)]
    assert [order.limit for order in result.orders] == [4.5] * 5


def test_what_is_no_whole_lot_of_a_slice_is_lost_and_told() -> None:
    """Three of ten have filled, four are sent and three to come; at one for two these are two and one: four fewer in all."""
    result = acted(daily(*[QUIET] * 2, *[flat(20.0)] * 4), cut(10, Twap(3, 86_400.0)), Split("X", 2, 1, 2))
    assert sent_slices(result) == [3.0, 2.0, 1.0]
    assert (result.orders[0].state, result.orders[0].quantity) == ("filled", 6.0)
    changed = [(int(row["order"]), int(row["lots"])) for row in result.journal.table() if row["kind"] == ADJUSTED]
    assert changed == [(3, -2), (1, -4)]


def test_slices_stay_whole_round_lots_through_a_split() -> None:
    """A slice of 100 was sent and is 150 now; the 300 still to come are two hundred and one hundred."""
    result = acted(daily(*[QUIET] * 2, *[flat(20.0 / 3)] * 4), cut(400, Twap(4, 86_400.0, round_lot=100)), Split("X", 2, 3, 2))
    assert sent_slices(result) == [100.0, 150.0, 200.0, 100.0]


def test_an_order_of_which_a_split_leaves_nothing_ends() -> None:
    result = acted(daily(*[QUIET] * 2, *[flat(100.0)] * 3), cut(3, Twap(3, 3 * 86_400.0)), Split("X", 2, 1, 10))
    assert (result.orders[0].state, result.orders[0].reason, result.orders[0].filled) == ("cancelled", "quantity rounds to zero lots", 1.0)


def test_an_order_that_follows_the_volume_follows_it_in_new_shares() -> None:
    """A tenth of each bar's thousand: the slice of 100 that was sent is 200 by then, and 50 that are left are 100."""
    result = acted(daily(*[QUIET] * 2, *[flat(5.0)] * 5), cut(250, Pov(0.1, 9 * 86_400.0)), Split("X", 2, 2, 1))
    assert [(fill.bar, fill.quantity) for fill in result.fills] == [(1, 100.0), (2, 200.0), (3, 100.0)]


@pytest.mark.parametrize("schedule", [Twap(5, 86_400.0), Vwap(5, 86_400.0), Pov(0.03, 4 * 86_400.0), AlmgrenChriss(5, 86_400.0)])
def test_a_split_of_two_for_one_changes_nothing_but_the_count_for_an_order_that_is_cut(schedule: Schedule) -> None:
    """Identity 6: twice as many at half the price from then on, whatever slices there were."""
    prices = [10.0, 10.5, 9.5, 10.0, 11.0, 10.5, 9.0, 10.0, 10.0]
    before = acted(daily(*map(flat, prices)), cut(222, schedule), broker=plain(participation=0.1))
    halves = [flat(price / 2, 2000.0) if row > 2 else flat(price) for row, price in enumerate(prices)]
    after = acted(daily(*halves), cut(222, schedule), Split("X", 3, 2, 1), broker=plain(participation=0.1))
    made = [(fill.bar, fill.quantity * (2 if fill.bar > 2 else 1), fill.price / (2 if fill.bar > 2 else 1)) for fill in before.fills]
    assert [(fill.bar, fill.quantity, fill.price) for fill in after.fills] == made
    assert after.cash == before.cash


def test_a_split_costs_no_buying_power() -> None:
    """At the old mark the doubled position would be a leverage of two."""
    account = Account(1_000.0, "margin", 1.0)
    tape = attach(daily(QUIET, QUIET, flat(5.0)), Actions([Split("X", 2, 2, 1)]))
    result = run(tape, {0: buy(90), 1: buy(5)}, account=account)
    assert [fill.quantity for fill in result.fills] == [90.0, 10.0]


# Dividends.


@pytest.mark.parametrize("side", [1, -1])
def test_who_held_before_the_ex_date_is_owed_the_dividend_and_paid_at_the_pay_date(side: int) -> None:
    """Shorts owe and pay."""
    result = acted(daily(QUIET, QUIET, flat(9.0), flat(9.0)), {0: buy(100 * side)}, Dividend("X", 2, 1.0, 3))
    assert booked(result, "dividend") == [(2, 0.0, 100.0 * side)]
    assert booked(result, "payment") == [(3, 100.0 * side, -100.0 * side)]
    assert result.equity.tolist() == [100_000.0] * 4
    assert result.cash == 100_000.0 - 1_000.0 * side + 100.0 * side


def test_without_a_pay_date_a_dividend_is_cash_at_once() -> None:
    result = acted(daily(QUIET, QUIET, flat(9.0)), {0: buy(100)}, Dividend("X", 2, 1.0))
    assert booked(result, "dividend") == [(2, 100.0, 0.0)]


def test_who_buys_at_the_ex_date_gets_no_dividend_and_who_sells_then_does() -> None:
    tape = [QUIET, QUIET, flat(9.0), flat(9.0)]
    assert booked(acted(daily(*tape), {1: buy(100)}, Dividend("X", 2, 1.0)), "dividend") == []
    assert booked(acted(daily(*tape), {0: buy(100), 1: buy(-100)}, Dividend("X", 2, 1.0)), "dividend") == [(2, 100.0, 0.0)]


def test_a_payment_does_not_wait_for_a_bar_of_its_instrument() -> None:
    tape = markets(X=[QUIET, QUIET, flat(9.0), None], Y=[QUIET] * 4)
    result = acted(tape, {0: lambda view: [view.order(100, 0)]}, Dividend("X", 2, 1.0, 3))
    assert booked(result, "payment") == [(3, 100.0, -100.0)]


def test_a_dividend_on_the_day_of_a_split_is_for_each_of_the_new_shares() -> None:
    result = acted(daily(QUIET, QUIET, flat(4.0)), {0: buy(100)}, Dividend("X", 2, 1.0), Split("X", 2, 2, 1))
    assert booked(result, "dividend") == [(2, 200.0, 0.0)]
    assert result.equity.tolist() == [100_000.0] * 3


def test_adjusted_data_books_no_dividends_and_no_splits() -> None:
    tape = daily(QUIET, QUIET, QUIET)
    tape.truth = Truth(adjusted=True)
    result = acted(tape, {0: buy(100)}, Dividend("X", 2, 1.0), Split("X", 2, 2, 1))
    assert result.bookings == []
    assert any("adjusted" in note for note in result.notes)


# Delistings and halts.


@pytest.mark.parametrize(("delisting", "price"), [(Delisting("X", 2), 10.0), (Delisting("X", 2, haircut=0.25), 7.5), (Delisting("X", 2, 3.0), 3.0)])
@pytest.mark.parametrize("side", [1, -1])
def test_a_delisting_closes_the_position_at_its_price_or_the_last_less_the_haircut(delisting: Delisting, price: float, side: int) -> None:
    result = acted(markets(X=[QUIET, QUIET, None], Y=[QUIET] * 3), {0: lambda view: [view.order(100 * side, 0)]}, delisting)
    assert result.positions == {}
    assert booked(result, "delisting") == [(2, 100.0 * price * side, 0.0)]
    assert len(result.fills) == 1


def test_a_delisting_cancels_orders_also_those_that_come_after_it() -> None:
    steps = {0: lambda view: [view.order(1, kind=LIMIT, limit=5.0)], 2: lambda view: [view.order(1)]}
    result = acted(daily(*[QUIET] * 5), steps, Delisting("X", 2))
    assert [(order.state, order.reason) for order in result.orders] == [("cancelled", "delisted")] * 2
    assert result.fills == []


def test_a_halt_lets_orders_rest_and_the_first_bar_after_it_fills_them() -> None:
    result = acted(daily(*[QUIET] * 5), {0: buy(10)}, Suspension("X", 1, 2))
    assert [fill.bar for fill in result.fills] == [3]
    assert waits(result) == {1: [("trading halted", 1, 2)]}


def test_a_batch_and_a_resting_order_wait_through_a_halt_too() -> None:
    result = acted(daily(*[QUIET] * 4), {0: lambda view: market_orders(view, (0, 10))}, Suspension("X", 1, 2))
    assert waits(result) == {1: [("trading halted", 1, 2)]}
    result = acted(daily(QUIET, QUIET, flat(9.0), QUIET, flat(9.0)), {0: lambda view: [view.order(1, kind=LIMIT, limit=9.0)]}, Suspension("X", 2, 2))
    assert waits(result) == {1: [("price not touched", 1, 1), ("trading halted", 2, 2), ("price not touched", 3, 3)]}
    assert [fill.bar for fill in result.fills] == [4]


def test_a_halt_within_a_session_ends_with_the_first_bar_that_opens_after_it() -> None:
    result = acted(hourly(*[QUIET] * 6), {0: buy(10)}, TradingHalt("X", HOUR, 3 * HOUR))
    assert [fill.bar for fill in result.fills] == [3]


def test_only_the_halted_instrument_waits() -> None:
    tape = markets(X=[QUIET] * 4, Y=[QUIET] * 4)
    result = acted(tape, {0: lambda view: market_orders(view, (0, 10), (1, 10))}, Suspension("X", 1, 2))
    assert [(fill.symbol, fill.bar) for fill in result.fills] == [("Y", 1), ("X", 3)]


# Prices.


class Reader:
    """Notes adjusted closes and factors."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[float], float]] = []

    def on_bars(self, view: View) -> Proposal:
        self.seen.append((view.history("close", view.row + 1, adjusted=True)[:, 0].tolist(), float(view.factor[0])))
        return ()


def chained_closes(rows: list[Row], *actions: Action) -> list[tuple[list[float], float]]:
    reader = Reader()
    simulate(attach(daily(*rows), Actions(actions)), reader, broker=plain())
    return reader.seen


def test_chained_prices_scale_only_what_comes_after_an_action() -> None:
    seen = chained_closes([QUIET, flat(12.0), flat(6.0), flat(7.0)], Split("X", 2, 2, 1))
    assert seen[-1] == ([10.0, 12.0, 12.0, 14.0], 2.0)
    for earlier, later in pairwise(seen):
        assert later[0][: len(earlier[0])] == earlier[0], "history is never rewritten"


def test_a_chained_price_keeps_the_dividend_in_the_share() -> None:
    """A close of 10 that pays 2 and opens at 8 has lost nothing."""
    closes, factor = chained_closes([QUIET, QUIET, flat(8.0)], Dividend("X", 2, 2.0))[-1]
    assert closes == pytest.approx([10.0, 10.0, 10.0])
    assert factor == 1.25


def test_chained_volumes_are_in_the_shares_of_the_first_bar() -> None:
    tape = attach(daily(QUIET, flat(5.0, 2000.0)), Actions([Split("X", 1, 2, 1)]))
    assert tape.chain is not None
    assert (tape.volume[:, 0] * tape.chain.factors(0, 2)[1][:, 0]).tolist() == [1000.0, 1000.0]


def test_the_price_before_a_dividend_on_the_day_of_a_split_is_in_the_new_shares() -> None:
    closes, _ = chained_closes([QUIET, QUIET, flat(4.0)], Dividend("X", 2, 1.0), Split("X", 2, 2, 1))[-1]
    assert closes == pytest.approx([10.0, 10.0, 10.0])


class Rising:
    """Holds what has closed above the average of its last two closes; decides by indicators alone."""

    def indicators(self) -> dict[str, object]:
        return {"one": sma(1), "two": sma(2)}

    def on_bars(self, view: View) -> Proposal:
        return view.rebalance(np.where(view["one"] > view["two"], 0.5, 0.0))


def test_a_split_halfway_changes_no_decision_where_signals_are_chained() -> None:
    """market-rules.md, section 5, 6: a 2:1 split halfway gives the same decisions, and twice the lots."""
    prices = [10.0, 12.0, 14.0, 8.0, 12.0, 16.0, 10.0]
    whole = simulate(daily(*[flat(p) for p in prices], lot="0.00000001"), Rising(), broker=plain(), cash=1_000.0, check=True)
    halved = daily(*[flat(p if t < 3 else p / 2.0) for t, p in enumerate(prices)], lot="0.00000001")
    split = simulate(attach(halved, Actions([Split("X", 3, 2, 1)], "chained")), Rising(), broker=plain(), cash=1_000.0, check=True)
    assert len(whole.fills) > 2
    assert [x.bar for x in split.fills] == [x.bar for x in whole.fills]
    assert [x.quantity for x in split.fills] == pytest.approx([x.quantity * (2 if x.bar >= 3 else 1) for x in whole.fills])
    assert split.equity == pytest.approx(whole.equity)


# What is said, and what is refused.


def test_bookings_splits_and_rescaled_orders_are_told_in_words() -> None:
    steps = {0: lambda view: [view.order(7), view.order(-7, kind=LIMIT, limit=20.0)]}
    result = acted(daily(flat(12.0), flat(12.0), flat(8.0), flat(8.0)), steps, Split("X", 2, 3, 2), Dividend("X", 3, 1.0))
    assert isinstance(result.journal, MemoryJournal)
    telling = Telling(result.journal, result.tape)
    said = [telling.event(entry) for entry in telling.entries(slice(None))]
    assert "X is split 3 for 2: its last price becomes 8.00" in said
    assert "fraction of X: 4.00 received" in said
    assert "order 2 is rescaled by the split: 3 more to trade, limit 13.3333" in said
    assert "dividend of X: 10.00 received" in said


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Split("X", 1, 0, 1), "up must be a whole number"),
        (lambda: Split("X", 1, 2, 2), "changes nothing"),
        (lambda: Dividend("X", 1, -1.0), "amount must be above 0"),
        (lambda: Dividend("X", 5, 1.0, 4), "pay must be 1970-01-06"),
        (lambda: Delisting("X", 1, haircut=2.0), "haircut must be in 0..1"),
        (lambda: Delisting("X", 1, 2.0, 0.5), "leave one"),
        (lambda: Delisting("X", 1, -inf), "price must be 0 or above"),
        (lambda: TradingHalt("X", 5, 5), "must end after it begins"),
        (lambda: Suspension("X", 5, 4), "must not end before it begins"),
        (lambda: Actions([Split("X", 1, 2, 1), Split("X", 1, 3, 1)]), "is there twice"),
        (lambda: Actions([Delisting("X", 1), Delisting("X", 2)]), "delisted before"),
        (lambda: Actions([], "both"), "signals must be"),
        (lambda: attach(daily(QUIET), Actions([Split("Z", 1, 2, 1)])), "no bars of it; there is: X"),
        (lambda: attach(daily(QUIET), Actions([Dividend("X", 1, 1.0, currency="EUR")])), "currency must be the instrument's, USD"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        make()


def test_a_dividend_of_more_than_the_price_is_refused() -> None:
    with pytest.raises(DataError, match=r"amount must be below the close before, 10\.0, was 11\.0"):
        chained_closes([QUIET, QUIET], Dividend("X", 1, 11.0))


def test_a_day_order_is_rescaled_and_then_ends_with_its_session() -> None:
    send = {0: lambda view: [view.order(10, kind=LIMIT, limit=9.0, tif=TimeInForce.DAY)]}
    result = acted(daily(QUIET, flat(5.0), flat(4.0)), send, Split("X", 1, 2, 1))
    assert (result.orders[0].state, result.orders[0].quantity, result.fills) == ("expired", 20.0, [])


def test_a_jump_that_a_split_explains_is_no_warning() -> None:
    tape = daily(QUIET, flat(5.0))
    tape.notes = ("X, 1970-01-02: the close jumps by -50.0%", "X, 1970-01-05: the close jumps by -50.0%")
    assert attach(tape, Actions([Split("X", 1, 2, 1)])).notes == ("X, 1970-01-05: the close jumps by -50.0%",)


def test_actions_without_bars_in_the_run_change_nothing() -> None:
    result = acted(daily(QUIET, QUIET), {0: buy(1)}, Split("X", 9, 2, 1), Dividend("X", 9, 1.0))
    assert result.bookings == []
    assert nan not in result.equity.tolist()


def test_a_script_sees_the_dividend_among_its_events() -> None:
    seen: list[int] = []

    class Listener(Script):
        def on_bars(self, view: View) -> Proposal:
            seen.extend(view.row for event in view.events if type(event).__name__ == "Booked")
            return super().on_bars(view)

    tape = attach(daily(QUIET, QUIET, flat(9.0)), Actions([Dividend("X", 2, 1.0)]))
    simulate(tape, Listener({0: buy(1)}), broker=plain(), check=True)
    assert seen == [2]


def test_compiled_runs_leave_tapes_with_actions_to_the_loop() -> None:
    tape = daily(QUIET, QUIET)
    assert plain().numbers(tape, Account()) is not None
    assert plain().numbers(attach(tape, Actions([Split("X", 1, 2, 1)])), Account()) is None


def test_an_average_volume_of_the_bars_before_a_split_is_in_the_new_shares() -> None:
    """1,000 shares a bar were traded before 2 for 1: a tenth of that is 200 of the new ones."""
    tape = daily(QUIET, QUIET, flat(5.0, 2000.0), flat(5.0, 2000.0))
    broker = plain(participation=0.1, volume_basis="trailing")
    result = acted(tape, {1: buy(1000)}, Split("X", 2, 2, 1), broker=broker)
    assert [fill.quantity for fill in result.fills] == [200.0, 200.0]
    assert tape.close[0, 0] == 10.0, "what strategies see is raw"


def test_actions_that_are_replaced_give_another_chain() -> None:
    tape = attach(daily(QUIET, flat(5.0)), Actions([Split("X", 1, 2, 1)]))
    attach(tape, Actions([Split("X", 1, 4, 1)]))
    assert tape.chain is not None
    assert tape.chain.factors(0, 2)[0][:, 0].tolist() == [1.0, 4.0]


def test_a_tape_that_grows_gives_the_same_journal_as_a_whole_one() -> None:
    """Splits, dividends and delistings fall due as their sessions come; only halts need bars that are all there."""
    actions = Actions([Split("X", 2, 3, 2), Dividend("X", 3, 0.5, 5), Delisting("Y", 4)])
    full = markets(X=[QUIET, QUIET, flat(7.0), None, flat(7.0), flat(8.0)], Y=[QUIET] * 6)
    full.actions = actions
    steps = {0: lambda view: [view.order(7, 0), view.order(5, 1), view.order(-7, 0, LIMIT, limit=12.0)], 2: lambda view: market_orders(view, (0, 3))}
    whole, feed = assemble(full, Script(steps), broker=plain())
    drive(whole, feed, len(full))
    tape = Tape(full.instruments, full.interval, capacity=1)
    tape.actions = actions
    live, cursor = assemble(tape, Script(steps), broker=plain(), growing=True)
    for t in range(len(full)):
        tape.append(full.ats[t], *(column[t] for column in (full.open, full.high, full.low, full.close, full.volume)))
        cursor.bars.row, cursor.bars.closed_at = t, full.ats[t]
        step(live, cursor.bars)
    assert len(whole.journal.read()) > 0
    assert live.journal.read() == whole.journal.read()


@pytest.mark.parametrize("actions", [Actions([Suspension("X", 1, 2)]), Actions([], "chained")])
def test_a_tape_that_grows_has_no_halts_and_no_chained_signals(actions: Actions) -> None:
    tape = Tape(daily(QUIET).instruments, DAY)
    tape.actions = actions
    with pytest.raises(ScenarioError, match="halts and chained signals need bars that are all there"):
        assemble(tape, Script({}), broker=plain(), growing=True)


def test_a_broker_that_knows_no_corporate_actions_is_refused() -> None:
    class Plain:
        def connect(self, tape: Tape, portfolio: Portfolio, account: Account, ids: OrderIds) -> object:
            whole = plain().connect(tape, portfolio, account, ids)
            return SimpleNamespace(pending=whole.pending, open_orders=whole.open_orders)

    with pytest.raises(ScenarioError, match="this broker knows no corporate actions"):
        assemble(attach(daily(QUIET), Actions([Split("X", 1, 2, 1)])), Script({}), broker=Plain())
