"""What an account allows, when an order is accepted and when it would fill."""

from __future__ import annotations

from small_markets import QUIET, daily, fills, flat, market_orders, markets, plain, run, states

from brokers.costs import Commission
from simulator import Account, Order, OrderKind, View, Wish

TWICE = Account(1000.0, "margin", 2.0)
CASH = Account(1000.0, "cash")


def test_leverage_is_refused_when_an_order_is_accepted() -> None:
    """200 shares at 10 are twice the equity; one more is too many."""
    assert states(run(daily(QUIET, QUIET), {0: lambda view: [view.order(200)]}, account=TWICE)) == {1: "filled: filled"}
    for send in (lambda view: [view.order(201)], lambda view: market_orders(view, (0, 201))):
        assert states(run(daily(QUIET, QUIET), {0: send}, account=TWICE)) == {1: "rejected: leverage limit"}


def test_leverage_counts_open_orders() -> None:
    send = {0: lambda view: [view.order(150, kind=OrderKind.LIMIT, limit=9.0), view.order(51), view.order(50)]}
    assert states(run(daily(QUIET, QUIET), send, account=TWICE)) == {
        1: "accepted: price not touched",
        2: "rejected: leverage limit",
        3: "filled: filled",
    }


def test_leverage_is_refused_again_when_an_order_would_fill() -> None:
    """Accepted at a mark of 10, where 190 shares are within 2,000 of exposure; a fill at 11 costs 190 of equity at that mark: 1900 > 2 x 810."""
    for send in (lambda view: [view.order(190)], lambda view: market_orders(view, (0, 190))):
        result = run(daily(QUIET, flat(11)), {0: send}, account=TWICE)
        assert fills(result) == []
        assert states(result) == {1: "rejected: buying power"}


def test_a_margin_account_is_short_within_its_leverage() -> None:
    assert states(run(daily(QUIET, QUIET), {0: lambda view: [view.order(-200)]}, account=TWICE)) == {1: "filled: filled"}
    assert states(run(daily(QUIET, QUIET), {0: lambda view: [view.order(-201)]}, account=TWICE)) == {1: "rejected: leverage limit"}


def test_an_exit_passes_whatever_the_leverage() -> None:
    """200 shares fall from 10 to 6: 1,200 of exposure on 200 of equity. Selling 50 is still allowed, and buying 1 is not."""
    steps = {0: lambda view: [view.order(200)], 2: lambda view: [view.order(-50), view.order(1)]}
    result = run(daily(QUIET, QUIET, flat(6), flat(6)), steps, account=TWICE)
    assert states(result) == {1: "filled: filled", 2: "filled: filled", 3: "rejected: leverage limit"}


def test_a_cash_account_works_sells_before_buys() -> None:
    """100 X at 10 are all the cash there is: they have to go before Y can be bought."""

    def swap(view: View) -> list[Order]:
        return [view.order(50, 1), view.order(-100, 0)]

    result = run(markets(X=[QUIET] * 4, Y=[flat(20)] * 4), {0: lambda view: [view.order(100)], 1: swap}, account=CASH)
    assert fills(result) == [(1, 1, 100, 10.0), (3, 2, -100, 10.0), (2, 2, 50, 20.0)]


def test_a_cash_account_cancels_and_replaces_what_it_has_just_sent() -> None:
    """Buys go last, and with them what changes them."""

    def send(view: View) -> list[Wish]:
        return [view.order(10), view.order(20), view.cancel(1), view.replace(2, 30), view.cancel(77)]

    result = run(daily(QUIET, QUIET), {0: send}, account=CASH)
    assert fills(result) == [(3, 1, 30, 10.0)]
    assert states(result)[1] == "cancelled: cancelled on request"


def test_what_the_first_fill_took_is_gone_for_those_after_it() -> None:
    """100 shares at 10 are all the cash there is: whatever the open then asks for the second, or a batch's second, it cannot be paid."""
    orders = ((0, 60), (1, 50), (0, 40))
    for send in (lambda view: [view.order(lots, i) for i, lots in orders], lambda view: market_orders(view, *orders)):
        result = run(markets(X=[QUIET] * 3, Y=[flat(8), flat(8.2), flat(8.2)]), {0: send}, account=CASH)
        assert fills(result) == [(1, 1, 60, 10.0), (3, 1, 40, 10.0)]
        assert states(result) == {1: "filled: filled", 2: "rejected: buying power", 3: "filled: filled"}


def test_what_the_first_fill_took_of_the_volume_is_gone_for_those_after_it() -> None:
    """A tenth of 1,000 shares: 60 of them first, then 40 of 50, and the rest in the next bar before what comes after it."""
    orders = ((0, 60), (0, 50), (0, 30))
    for send in (lambda view: [view.order(lots, i) for i, lots in orders], lambda view: market_orders(view, *orders)):
        result = run(daily(*[QUIET] * 3), {0: send}, plain(participation=0.1))
        assert fills(result) == [(1, 1, 60, 10.0), (2, 1, 40, 10.0), (2, 2, 10, 10.0), (3, 2, 30, 10.0)]


def test_a_cash_account_pays_its_commission_from_cash() -> None:
    broker = plain(commission=Commission(0.0, 1.0, 0.0, 0.0))
    for send in (lambda view: [view.order(100), view.order(99)], lambda view: market_orders(view, (0, 100), (0, 99))):
        result = run(daily(QUIET, QUIET), {0: send}, broker, account=CASH)
        assert states(result) == {1: "rejected: buying power", 2: "filled: filled"}


def test_a_cash_account_holds_no_shorts() -> None:
    for send in (lambda view: [view.order(-1)], lambda view: market_orders(view, (0, -1))):
        assert states(run(daily(QUIET, QUIET), {0: send}, account=CASH)) == {1: "rejected: a cash account holds no shorts"}


def test_what_has_no_price_yet_has_no_leverage_that_could_be_checked() -> None:
    tape = markets(X=[QUIET] * 3, Y=[None, flat(20), flat(20)])
    for send in (lambda view: [view.order(1, 1)], lambda view: market_orders(view, (1, 1))):
        assert states(run(tape, {0: send}, account=TWICE)) == {1: "rejected: no price known yet"}
        assert states(run(tape, {0: send})) == {1: "filled: filled"}
