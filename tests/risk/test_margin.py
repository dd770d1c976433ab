"""Margin: locates and recalls, margin calls, and what is left when nothing is left. Rules: market-rules.md, section 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import QUIET, Script, daily, fills, flat, market_orders, markets, plain, states

from simulator import (
    Account,
    Financing,
    Limits,
    Loan,
    Margin,
    OrderKind,
    Proposal,
    Replace,
    Result,
    ScenarioError,
    Tape,
    Twap,
    View,
    run_orders,
    simulate,
)
from simulator.loop.journal import MARGIN, RISK

Steps = Mapping[int, Callable[[View], Proposal]]
EXACT = Margin(buffer=0.0)
LIMIT = OrderKind.LIMIT


def run(tape: Tape, steps: Steps, cash: float = 10_000.0, leverage: float = inf, **terms: Any) -> Result:
    broker = terms.pop("broker", plain())
    terms = {"margin": EXACT, **terms}
    return simulate(tape, Script(steps), broker=broker, account=Account(cash, leverage_max=leverage), check=True, **terms)


def lent(*loans: Loan) -> Financing:
    """Nothing costs anything, but there may be too few shares."""
    return Financing(borrow=0.0, debit=0.0, loans=loans)


def forced(result: Result) -> list[tuple[int, int, str, float, str]]:
    """What the account's broker did: (bar, order, symbol, quantity, reason)."""
    return [(row.bar, row.order, row.symbol, row.quantity, row.reason) for row in result.forced]


# Locates and recalls.


def test_a_short_needs_shares_that_can_be_borrowed() -> None:
    """Of 50 that there are 30 are taken by the first order, and 20 by the third; a sale of what is held needs none."""
    steps: Steps = {0: lambda view: [view.order(-30), view.order(-21), view.order(-20), view.order(-1)]}
    result = run(daily(QUIET, QUIET), steps, financing=lent(Loan("X", 0.0, 50.0)))
    assert [state.partition(": ")[2] for state in states(result).values()] == ["filled", "no shares to borrow", "filled", "no shares to borrow"]
    long = run(daily(QUIET, QUIET, QUIET), {0: lambda view: [view.order(10)], 1: lambda view: [view.order(-11)]}, financing=lent(Loan("X", 0.0, 0.0)))
    assert states(long)[2] == "rejected: no shares to borrow"


def test_a_batch_and_a_replacement_need_shares_too() -> None:
    steps: Steps = {
        0: lambda view: [market_orders(view, (0, -30), (0, -21), (0, -15))],
        1: lambda view: [view.order(-5, kind=LIMIT, limit=20.0)],
        2: lambda view: [Replace(view.ids.next(), 4, -6)],
    }
    result = run(daily(QUIET, QUIET, QUIET, QUIET), steps, financing=lent(Loan("X", 0.0, 50.0)))
    refused = [state.partition(": ")[2] for state in states(result).values()]
    assert refused == ["filled", "no shares to borrow", "filled", "price not touched"]
    assert result.positions == {"X": -45.0}


def test_an_order_that_is_sent_again_gets_its_first_answer() -> None:
    """Though the shares that it would need now were taken by itself."""
    steps: Steps = {
        0: lambda view: [view.order(-30, client_id="a"), view.order(-40, client_id="b")],
        1: lambda view: [view.order(-30, client_id="a"), view.order(-40, client_id="b"), view.order(-31, client_id="a")],
    }
    result = run(daily(QUIET, QUIET, QUIET), steps, financing=lent(Loan("X", 0.0, 50.0)))
    assert [(order.client_id, order.reason) for order in result.orders] == [
        ("a", "filled"),
        ("b", "no shares to borrow"),
        ("a", "this client_id was used for another order"),
    ]


def test_shares_that_are_recalled_are_bought_in_at_the_next_open() -> None:
    """From the third session on only 20 of the 50 can be had: the rest, and the strategy's own stop, which would buy twice, go."""
    loans = lent(Loan("X", 0.1), Loan("X", 0.1, 20.0, date(1970, 1, 3)))
    steps: Steps = {0: lambda view: [view.order(-50)], 1: lambda view: [view.order(50, kind=OrderKind.STOP, stop=15.0)]}
    result = run(daily(QUIET, QUIET, flat(11), flat(12), flat(16)), steps, financing=loans)
    assert forced(result) == [(2, 2, "X", 0.0, "borrowed shares recalled"), (2, 3, "X", 30.0, "borrowed shares recalled")]
    assert [(row.had, row.needed) for row in result.forced] == [(50.0, 20.0)] * 2
    assert fills(result)[1:] == [(3, 3, 30.0, 12.0)]
    assert result.positions == {"X": -20.0}


def test_a_buy_in_that_the_volume_holds_up_is_not_sent_twice() -> None:
    loans = lent(Loan("X", 0.1, 50.0), Loan("X", 0.1, 0.0, date(1970, 1, 3)))
    rows = [QUIET, QUIET, *[flat(10, 200)] * 4]
    result = run(daily(*rows), {0: lambda view: [view.order(-50)]}, financing=loans, broker=plain(participation=0.1))
    assert [row[3] for row in forced(result)] == [50.0]
    assert [quantity for _, _, quantity, _ in fills(result)] == [-50.0, 20.0, 20.0, 10.0]


def test_a_recall_counts_toward_the_call_of_the_same_close() -> None:
    """1,000 short at 10 with 10,000, at 16: of 900 that may stay 833 are carried. The recall buys 100, the call the 67 more."""
    loans = lent(Loan("X", 0.0), Loan("X", 0.0, 900.0, date(1970, 1, 3)))
    result = run(daily(QUIET, QUIET, flat(16), flat(16), flat(16)), {0: lambda view: [view.order(-1_000)]}, financing=loans)
    assert [(row[0], *row[3:]) for row in forced(result)] == [(2, 100.0, "borrowed shares recalled"), (2, 67.0, "margin call")]
    assert result.positions == {"X": -833.0}


# Margin calls.


def test_a_short_that_rises_beyond_its_maintenance_margin_is_bought_back() -> None:
    """1,000 short at 10 with 10,000. At 16 equity is 4,000 and 30 % of 16,000 is 4,800: 4,000 carries 833 at 16."""
    result = run(daily(QUIET, QUIET, flat(16), flat(16), flat(16)), {0: lambda view: [view.order(-1_000)]})
    assert forced(result) == [(2, 2, "X", 167.0, "margin call")]
    assert [(row.had, row.needed) for row in result.forced] == [(4_000.0, 4_800.0)]
    assert fills(result)[1] == (2, 3, 167.0, 16.0)
    assert result.positions == {"X": -833.0}


def test_a_long_position_needs_a_quarter_of_its_value() -> None:
    """2,000 at 10 with 10,000. At 6.6 equity is 3,200 below 3,300; at 6.7 it is 3,400 above 3,350."""
    buy: Steps = {0: lambda view: [view.order(2_000)]}
    assert forced(run(daily(QUIET, QUIET, flat(6.7), QUIET), buy)) == []
    assert forced(run(daily(QUIET, QUIET, flat(6.6), QUIET), buy)) == [(2, 2, "X", -61.0, "margin call")]


def test_a_call_restores_a_buffer() -> None:
    """With 10 % more than 25 %: 3,200 carries 3,200 / (6.6 x 0.275) = 1,763."""
    result = run(daily(QUIET, QUIET, flat(6.6), flat(6.6)), {0: lambda view: [view.order(2_000)]}, margin=Margin(buffer=0.1))
    assert result.positions == {"X": 1_763.0}


def test_the_largest_loser_goes_first_until_the_margin_is_restored() -> None:
    """A lost 1,000, B 3,000, C gained. With B gone 12,150 need 3,304.80, and 3,150 are there: 64 of A go, which need 2.448 each."""
    tape = markets(A=[QUIET, QUIET, flat(9), flat(9)], B=[QUIET, QUIET, flat(4), flat(4)], C=[QUIET, QUIET, flat(10.5), flat(10.5)])
    steps: Steps = {0: lambda view: [view.order(1_000, "A"), view.order(500, "B"), view.order(300, "C")]}
    result = run(tape, steps, cash=7_000.0, margin=Margin(0.272, 0.3, 0.0))
    assert [row[2:4] for row in forced(result)] == [("B", -500.0), ("A", -64.0)]
    assert result.forced[0].had == 3_150.0


def test_orders_that_would_add_risk_are_cancelled_and_exits_elsewhere_stay() -> None:
    tape = markets(A=[QUIET, QUIET, flat(16), flat(16)], B=[QUIET] * 4)
    steps: Steps = {
        0: lambda view: [view.order(-1_000, "A"), view.order(10, "B")],
        1: lambda view: [
            view.order(-100, "A", kind=LIMIT, limit=30.0),
            view.order(50, "B", kind=LIMIT, limit=5.0),
            view.order(-10, "B", kind=LIMIT, limit=20.0),
        ],
    }
    result = run(tape, steps)
    assert [row[1:4] for row in forced(result)] == [(3, "A", 0.0), (4, "B", 0.0), (6, "A", 172.0)]
    told = states(result)
    assert (told[3], told[4], told[5]) == ("cancelled: cancelled on request", "cancelled: cancelled on request", "accepted: price not touched")


def test_a_strategys_own_exit_is_taken_back_where_its_position_is_liquidated() -> None:
    """Two closes never sell twice."""
    steps: Steps = {0: lambda view: [view.order(2_000)], 1: lambda view: [view.order(-2_000, kind=LIMIT, limit=12.0)]}
    result = run(daily(QUIET, QUIET, flat(6.6), flat(12), QUIET), steps)
    assert forced(result) == [(2, 2, "X", 0.0, "margin call"), (2, 3, "X", -61.0, "margin call")]
    assert result.positions == {"X": 1_939.0}


def test_a_liquidation_that_the_volume_holds_up_is_not_sent_twice() -> None:
    """At most 20 a bar, and the call is for 167: what is on its way counts."""
    rows = [QUIET, flat(10, 1e6), flat(16, 200), flat(16, 200), flat(16, 200), flat(16, 200)]
    result = run(daily(*rows), {0: lambda view: [view.order(-1_000)]}, broker=plain(participation=0.1))
    assert forced(result) == [(2, 2, "X", 167.0, "margin call")]
    assert [fill[1:3] for fill in fills(result)[1:]] == [(3, 20.0), (4, 20.0), (5, 20.0)]


def test_a_call_that_goes_on_falling_calls_again() -> None:
    result = run(daily(QUIET, QUIET, flat(16), flat(16.5), flat(16.5)), {0: lambda view: [view.order(-1_000)]})
    assert [row[0] for row in forced(result)] == [2, 3]


def test_a_call_comes_at_the_close_before_limits_are_looked_at() -> None:
    """Phase 4 before phase 5; a halt that flattens closes everything, once."""
    limits = Limits(drawdown_max=0.5, on_halt="flatten")
    result = run(daily(QUIET, QUIET, flat(16), flat(16)), {0: lambda view: [view.order(-1_000)]}, limits=limits)
    assert forced(result) == []
    calm = run(daily(QUIET, QUIET, flat(16), flat(16)), {0: lambda view: [view.order(-1_000)]}, limits=replace(limits, on_halt="cancel"))
    table = calm.journal_table()
    assert table[table["at"] == calm.tape.ats[2]]["phase"].tolist()[:2] == [MARGIN, RISK]
    assert [quantity for _, _, quantity, _ in fills(result)] == [-1_000.0, 1_000.0]


def test_a_halt_that_cancels_leaves_what_is_sent_for_margin() -> None:
    limits = Limits(drawdown_max=0.5, on_halt="cancel")
    steps: Steps = {0: lambda view: [view.order(-1_000)], 1: lambda view: [view.order(-1, kind=LIMIT, limit=99.0)]}
    result = run(daily(QUIET, QUIET, flat(16), flat(16)), steps, limits=limits)
    assert result.positions == {"X": -833.0}
    assert [halt.measure for halt in result.halts] == ["drawdown"]


def test_initial_margin_keeps_an_account_that_was_called_from_adding() -> None:
    steps: Steps = {0: lambda view: [view.order(-1_000)], 2: lambda view: [view.order(-10), view.order(10)]}
    told = states(run(daily(QUIET, QUIET, flat(16), flat(16)), steps, leverage=2.0))
    assert (told[3], told[4]) == ("rejected: leverage limit", "filled: filled")


def test_without_margin_nothing_is_called() -> None:
    result = run(daily(QUIET, QUIET, flat(30), flat(30)), {0: lambda view: [view.order(-1_000)]}, margin=None)
    assert (forced(result), result.halts, result.equity[-1]) == ([], [], -10_000.0)


def test_maintenance_of_nothing_calls_nobody_before_the_end() -> None:
    result = run(daily(QUIET, QUIET, flat(19.9), flat(19.9)), {0: lambda view: [view.order(-1_000)]}, margin=Margin(0.0, 0.0, 0.0))
    assert (forced(result), result.halts) == ([], [])


# Bankruptcy.


def test_an_account_without_equity_is_closed_and_never_trades_again() -> None:
    """The gap from 10 to 25 leaves -5,000. The fall to 1 that would have made it whole comes after the position is closed at 25."""
    steps: Steps = {
        0: lambda view: [view.order(-1_000), view.order(1, kind=LIMIT, limit=1.0)],
        2: lambda view: [view.order(1)],
        4: lambda view: [view.order(1), market_orders(view, (0, 5))],
    }
    result = run(daily(QUIET, QUIET, flat(25), flat(25), flat(1), flat(1)), steps)
    assert [(halt.measure, halt.equity, halt.floor) for halt in result.halts] == [("bankrupt", -5_000.0, 0.0)]
    assert forced(result) == [(2, 2, "X", 0.0, "the account is bankrupt"), (2, 3, "X", 1_000.0, "the account is bankrupt")]
    assert (result.cash, result.positions, result.equity[-1]) == (-5_000.0, {}, -5_000.0)
    assert list(states(result).values())[-3:] == ["rejected: the account is bankrupt"] * 3


def test_bankruptcy_never_recovers_though_prices_do_before_it_is_closed() -> None:
    """No volume at first: by the time that it can be closed the account would be rich."""
    rows = [QUIET, QUIET, flat(25), flat(1, 0), flat(1), flat(1)]
    result = run(daily(*rows), {0: lambda view: [view.order(-1_000)], 4: lambda view: [view.order(5)]})
    assert (result.positions, result.equity[-1]) == ({}, 19_000.0)
    assert list(states(result).values())[-1] == "rejected: the account is bankrupt"
    assert len(result.halts) == 1


def test_what_is_held_is_closed_though_its_orders_are_held_up() -> None:
    """Orders in slices are taken back too."""
    rows = [QUIET, flat(10, 1e6), flat(25, 3_000), flat(25, 3_000), flat(25, 3_000), flat(25, 9_000), flat(25)]
    steps: Steps = {0: lambda view: [view.order(-1_000)], 1: lambda view: [view.order(90, schedule=Twap(3, 86_400.0))]}
    result = run(daily(*rows), steps, broker=plain(participation=0.1))
    assert result.positions == {}
    assert sum(row[3] for row in forced(result)) > 900.0


# Settings.


def test_margins_that_cannot_be_are_refused() -> None:
    for terms, words in (
        ({"maintenance_long": 1.5}, r"margin.maintenance_long must be a share of market value in \[0, 1\], 0 is off, was 1.5"),
        ({"maintenance_short": -0.1}, "margin.maintenance_short must be a share"),
        ({"buffer": inf}, "margin.buffer must be 0 or above, was inf"),
    ):
        with pytest.raises(ScenarioError, match=words):
            Margin(**terms)


def test_plain_orders_are_called_when_they_ask_for_margin() -> None:
    """An initial margin of 50 % is a leverage of two."""
    bars = {"X": {"date": [f"2024-01-0{d}" for d in range(2, 6)], **{x: [10.0, 10.0, 16.0, 16.0] for x in ("open", "high", "low", "close")}}}
    orders = [{"symbol": "X", "quantity": -2_001}, {"symbol": "X", "quantity": -1_000}]
    margin = {"initial": 0.5, "maintenance_short": 0.3}
    result = run_orders(bars, orders, cash=1e4, margin=margin, check=True)
    assert states(result)[1] == "rejected: leverage limit"
    assert forced(result) == [(2, 3, "X", 167.0, "margin call")]
    for wrong, words in (({"initial": 2.0}, "margin.initial must be a share"), ({"initail": 0.5}, "no such key 'initail'")):
        with pytest.raises(ScenarioError, match=words):
            run_orders(bars, orders, cash=1e4, margin=wrong)


walks = st.lists(st.tuples(st.integers(-12, 12), st.integers(-12, 12)), min_size=4, max_size=14)


@given(walks, st.integers(-1500, 1500), st.integers(-1500, 1500), st.floats(0.0, 0.3))
def test_a_call_restores_the_margin_at_its_marks_and_no_more_than_it_must(steps: list[tuple[int, int]], a: int, b: int, buffer: float) -> None:
    """After all that was sent trades at the marks of the call, equity is the buffer above the margin; with one lot less of the last it is not."""
    prices = np.maximum(100.0 + np.cumsum(np.array(steps) * 2.0, axis=0), 5.0)
    tape = markets(A=[flat(100), *[flat(float(x)) for x in prices[:, 0]]], B=[flat(100), *[flat(float(x)) for x in prices[:, 1]]])
    margin = Margin(0.25, 0.3, buffer)
    script = Script({0: lambda view: [view.order(a, "A"), view.order(b, "B")]})
    result = simulate(tape, script, broker=plain(), account=Account(100_000.0, leverage_max=inf), margin=margin, check=True)
    for bar in sorted({row.bar for row in result.forced if row.reason == "margin call"}):
        held = dict(zip(("A", "B"), script.seen[bar][2], strict=True))
        marks = dict(zip(("A", "B"), tape.close[bar].tolist(), strict=True))
        sent = [row for row in result.forced if row.bar == bar and row.quantity]

        def needs(left: dict[str, float], marks: dict[str, float] = marks) -> float:
            return sum((0.25 if lots > 0 else 0.3) * abs(lots) * marks[symbol] for symbol, lots in left.items())

        assert sent[0].had < needs(held)
        assert sent[0].had == pytest.approx(script.seen[bar][1])
        after = {symbol: lots + sum(row.quantity for row in sent if row.symbol == symbol) for symbol, lots in held.items()}
        assert sent[0].had >= (1.0 + buffer) * needs(after) - 1e-6
        last = sent[-1]
        less = {**after, last.symbol: after[last.symbol] - np.sign(last.quantity)}
        assert sent[0].had < (1.0 + buffer) * needs(less) + 1e-6
    if result.halts:
        assert result.halts[0].equity <= 0.0
