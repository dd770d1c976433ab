"""Orders that hang on others are reviewed when they are sent, as the book would be when they trade."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from small_markets import QUIET, Script, daily, flat, markets, plain, run, states

from simulator import DAY, Account, Financing, Future, Limits, Loan, Order, OrderKind, Result, Tape, View, simulate

LIMIT, STOP = OrderKind.LIMIT, OrderKind.STOP
TEN = [QUIET] * 4
PAIR = markets(X=TEN, Y=[flat(20.0)] * 4)
Wish = Callable[[View], list[Order]]


def verdicts(limits: Limits, first: Wish, then: Wish | None = None, tape: Tape = PAIR) -> list[str]:
    """What became of the orders of two steps, at an equity of 1,000."""
    result = run(tape, {0: first, **({1: then} if then else {})}, cash=1000.0, limits=limits)
    return [order.reason if order.state == "rejected" else str(order.state) for order in result.orders]


def waiting(view: View, lots: int, i: int = 0) -> Order:
    """An order that the market does not reach."""
    return view.order(lots, i, LIMIT, 1.0 if lots > 0 else 99.0)


def test_a_child_that_adds_to_its_parent_is_refused_where_both_together_are_too_much() -> None:
    """60 and 41 lots of 10 are more than 1,000; the parent is within it."""
    limits = Limits(gross_max=1.0)
    assert verdicts(limits, lambda view: view.oto(view.order(60), view.order(41))) == ["filled", "gross exposure limit"]
    assert verdicts(limits, lambda view: view.oto(view.order(60), view.order(40))) == ["filled", "filled"]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(net_max=0.9), "net exposure limit"),
        (Limits(name_max=0.5), "per-name weight limit"),
        (Limits(notional_max=700.0), "order notional limit"),
        (Limits(groups={"all": ("X", "Y")}, group_max=0.5), "group exposure limit"),
    ],
)
def test_every_limit_stands_against_a_child_as_against_any_order(limits: Limits, reason: str) -> None:
    assert verdicts(limits, lambda view: view.oto(view.order(20), view.order(40, "Y"))) == ["filled", reason]


def test_exits_of_a_bracket_pass_at_the_limit() -> None:
    """All that may be held is held once the entry fills, and each of the exits only makes it less."""
    limits = Limits(gross_max=1.0, net_max=1.0, name_max=1.0, notional_max=1000.0)
    assert verdicts(limits, lambda view: view.bracket(100, take_profit=12.0, stop_loss=8.0)) == ["filled", "accepted", "accepted"]


def test_a_child_that_turns_the_position_round_is_no_exit() -> None:
    assert verdicts(Limits(gross_max=1.0), lambda view: view.oto(view.order(50), view.order(-151))) == ["filled", "gross exposure limit"]
    assert verdicts(Limits(gross_max=1.0), lambda view: view.oto(view.order(50), view.order(-150))) == ["filled", "filled"]


def test_what_enters_again_after_an_exit_finds_the_room_that_the_exit_made() -> None:
    """Entry, exit, entry: never more than 100 lots at once."""

    def chain(view: View) -> list[Order]:
        entry, out, again = view.order(100), view.order(-100), view.order(100)
        return [entry, view.oto(entry, out)[1], view.oto(out, again)[1]]

    assert verdicts(Limits(gross_max=1.0), chain) == ["filled", "filled", "filled"]


def test_each_of_a_pair_is_reviewed_in_the_place_of_the_other() -> None:
    """Only one of them trades: 100 or 100 are within the limit, 101 are not."""
    limits = Limits(gross_max=1.0)
    assert verdicts(limits, lambda view: view.oco(waiting(view, 100), waiting(view, 100))) == ["accepted", "accepted"]
    assert verdicts(limits, lambda view: view.oco(waiting(view, 100), waiting(view, 101))) == ["accepted", "gross exposure limit"]
    assert verdicts(limits, lambda view: view.oco(waiting(view, 100), waiting(view, 51, 1))) == ["accepted", "gross exposure limit"]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_of_a_pair_the_one_that_is_worth_more_counts_for_others(turned: bool, later: bool) -> None:
    """30 or 80 lots: 20 more go, and 21 do not, whichever came first, with the pair or after it."""

    def pair(view: View) -> list[Order]:
        lots = (80, 30) if turned else (30, 80)
        return view.oco(*(waiting(view, count) for count in lots))

    def more(view: View) -> list[Order]:
        return [waiting(view, 21), waiting(view, 20)]

    steps: tuple[Wish, Wish | None] = (pair, more) if later else (lambda view: [*pair(view), *more(view)], None)
    assert verdicts(Limits(gross_max=1.0), *steps) == ["accepted", "accepted", "gross exposure limit", "accepted"]


def test_of_a_pair_in_two_instruments_the_one_that_is_worth_more_counts() -> None:
    """50 lots of 10, or 40 of 20: 800 of 1,000 are taken."""

    def pair(view: View) -> list[Order]:
        return view.oco(waiting(view, 50), waiting(view, 40, 1))

    assert verdicts(Limits(gross_max=1.0), pair, lambda view: [waiting(view, 21), waiting(view, 20)]) == [
        "accepted",
        "accepted",
        "gross exposure limit",
        "accepted",
    ]


def test_a_child_that_waits_for_its_parent_counts_for_later_orders() -> None:
    """The parent has not filled; with its child it would be 900 of 1,000."""
    first: Wish = lambda view: view.oto(waiting(view, 40), view.order(50))  # noqa: E731  # as short as the others
    assert verdicts(Limits(gross_max=1.0), first, lambda view: [waiting(view, 11), waiting(view, 10)]) == [
        "accepted",
        "accepted",
        "gross exposure limit",
        "accepted",
    ]


def test_an_exit_that_waits_for_its_parent_makes_no_room() -> None:
    """The entry is 60: its exit does not let 41 more in."""
    first: Wish = lambda view: view.oto(waiting(view, 60), view.order(-60))  # noqa: E731  # as short as the others
    assert verdicts(Limits(gross_max=1.0), first, lambda view: [waiting(view, 41), waiting(view, 40)])[2:] == ["gross exposure limit", "accepted"]


def test_what_a_parent_that_ended_will_not_let_go_counts_no_more() -> None:
    steps = {
        0: lambda view: view.oto(waiting(view, 40), view.order(50)),
        1: lambda view: [view.cancel(1)],
        2: lambda view: [waiting(view, 100)],
    }
    result = run(daily(*TEN), steps, cash=1000.0, limits=Limits(gross_max=1.0))
    assert states(result)[3] == "accepted: price not touched"


def test_leverage_is_checked_when_a_child_is_sent() -> None:
    account = Account(1000.0, "margin", 2.0)
    result = run(daily(*TEN), {0: lambda view: view.oto(view.order(100), view.order(101))}, account=account)
    assert states(result) == {1: "filled: filled", 2: "rejected: leverage limit"}


def test_a_child_that_would_be_short_needs_shares_to_borrow() -> None:
    """Fifty can be had: the entry is no short, and what its child goes beyond it is."""
    loans = Financing(borrow=0.0, debit=0.0, loans=(Loan("X", 0.0, 50.0, date(1970, 1, 1)),))

    def ended(child: int) -> str:
        steps = {0: lambda view: view.oto(view.order(10), view.order(child))}
        result: Result = simulate(daily(*TEN), Script(steps), broker=plain(), account=Account(10_000.0), financing=loans, check=True)
        return states(result)[2]

    assert (ended(-60), ended(-61)) == ("filled: filled", "rejected: no shares to borrow")


def test_a_child_in_a_future_needs_its_margin() -> None:
    """Two contracts are 2,000 of margin, three more than there is."""
    tape = Tape.of(
        [Future("F", tick="0", initial_margin=1_000.0, maintenance_margin=800.0)],
        [DAY * (k + 1) for k in range(4)],
        *[[10.0] * 4] * 4,
        [1e6] * 4,
        interval=DAY,
    )

    def ended(child: int) -> str:
        steps = {0: lambda view: view.oto(view.order(1), view.order(child))}
        result = simulate(tape, Script(steps), broker=plain(), account=Account(2_500.0), check=True)
        return states(result)[2]

    assert (ended(1), ended(2), ended(-1)) == ("filled: filled", "rejected: initial margin", "filled: filled")
