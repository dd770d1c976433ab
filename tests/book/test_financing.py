"""Financing: what borrowed shares and cash cost, and what is booked for it at the first instant of each session. Rules: market-rules.md, 1 and 3."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import Row, Script, flat, plain

from simulator import DAY, Account, Financing, Instrument, Loan, Result, ScenarioError, Tape, run_orders, simulate
from simulator.book.financing import Lending

OFF = Financing(borrow=0.0, debit=0.0)
MONDAY = 4  # 5 January 1970


def sessions(days: Sequence[int], rows: Sequence[Row], symbol: str = "X", parts: int = 1) -> Tape:
    """Bars of these days since 1970, each day cut into so many equal bars."""
    columns = np.array([row for row in rows for _ in range(parts)], float).T
    closes = [day * DAY + (k + 1) * DAY // parts for day in days for k in range(parts)]
    return Tape.of([Instrument(symbol, tick="0")], closes, *columns, interval=DAY // parts)


def run(tape: Tape, financing: Financing, quantity: float, cash: float = 10_000.0) -> Result:
    """Hold *quantity* from the second bar on, with all identities checked."""
    steps = {0: lambda view: [view.order(quantity)]}
    return simulate(tape, Script(steps), broker=plain(), account=Account(cash, leverage_max=inf), financing=financing, check=True)


def booked(result: Result, kind: str) -> list[tuple[int, Any]]:
    return [(row.bar, row.amount) for row in result.bookings if row.kind == kind]


def test_a_short_pays_for_its_shares_each_calendar_day_weekends_included() -> None:
    """Friday to Monday is three days, at Friday's close. Actual/360."""
    tape = sessions([MONDAY, MONDAY + 1, MONDAY + 4, MONDAY + 7], [flat(10), flat(10), flat(12), flat(9)])
    result = run(tape, Financing(borrow=0.36, debit=0.0), -100)
    assert booked(result, "borrow") == [(2, pytest.approx(-100 * 10 * 0.36 * 3 / 360)), (3, pytest.approx(-100 * 12 * 0.36 * 3 / 360))]
    assert result.cash == pytest.approx(10_000 + 1_000 - 3.0 - 3.6)
    assert result.equity.tolist() == pytest.approx([10_000, 10_000, 9_800 - 3.0, 10_100 - 6.6])


def test_a_hard_loan_has_its_own_rate_from_its_date_on() -> None:
    """Of four days the last two cost ten times as much, though no bar stands between."""
    loans = (Loan("X", 0.36), Loan("X", 3.6, since=date(1970, 1, 8)))
    tape = sessions([MONDAY, MONDAY + 1, MONDAY + 5], [flat(10), flat(10), flat(10)])
    assert booked(run(tape, Financing(borrow=0.0, debit=0.0, loans=loans), -100), "borrow") == [(2, pytest.approx(-(2 * 1.0 + 2 * 10.0)))]


def test_the_lender_pays_a_rebate_on_the_proceeds_that_it_holds() -> None:
    tape = sessions([4, 5, 6], [flat(10)] * 3)
    result = run(tape, Financing(borrow=0.0, debit=0.0, rebate=0.072), -100)
    assert booked(result, "rebate") == [(2, pytest.approx(1_000 * 0.072 / 360))]


def test_cash_that_is_owed_costs_and_cash_that_is_ours_earns_at_rates_of_their_own() -> None:
    tape = sessions([4, 5, 6], [flat(10)] * 3)
    owing = run(tape, Financing(borrow=0.0, debit=0.36, credit=0.18), 1_500, cash=10_000.0)
    assert booked(owing, "interest") == [(1, pytest.approx(10_000 * 0.18 / 360)), (2, pytest.approx((10_000 + 5 - 15_000) * 0.36 / 360))]


def test_proceeds_of_a_short_earn_no_interest_and_pay_for_no_debt() -> None:
    """They lie with the lender, marked to today's value: of 12,000 in cash 3,000 are the lender's when the price has risen by half."""
    tape = sessions([4, 5, 6], [flat(10), (10, 15, 10, 15, 1000), flat(15)])
    result = run(tape, Financing(borrow=0.0, debit=0.0, credit=0.36), -200)
    assert booked(result, "interest")[1] == (2, pytest.approx((12_010 - 3_000) * 0.36 / 360))


def test_days_may_count_against_a_year_of_365() -> None:
    tape = sessions([4, 5, 6], [flat(10)] * 3)
    result = run(tape, Financing(borrow=0.365, debit=0.0, credit=0.365, day_count="act/365"), -100)
    assert booked(result, "borrow") == [(2, pytest.approx(-1.0))]
    assert booked(result, "interest")[0] == (1, pytest.approx(10.0))


def test_what_accrues_is_booked_before_any_order_meets_the_bar() -> None:
    """The position is sold at the open of the third bar, and still owes for the night before it."""
    steps = {0: lambda view: [view.order(-100)], 1: lambda view: [view.order(100)]}
    tape = sessions([4, 5, 6, 7], [flat(10)] * 4)
    result = simulate(tape, Script(steps), broker=plain(), account=Account(1e4), financing=Financing(borrow=0.36, debit=0.0), check=True)
    assert booked(result, "borrow") == [(2, pytest.approx(-1.0))]
    assert [row["phase"] for row in result.journal_table() if row["at"] == tape.ats[2]] == [2, 3]


def test_nothing_is_booked_where_all_rates_are_off() -> None:
    assert run(sessions([4, 5, 6], [flat(10)] * 3), OFF, -100).bookings == []
    assert not OFF.accrues


def test_a_wish_with_rates_that_cannot_be_is_refused() -> None:
    for made, words in (
        (lambda: Financing(borrow=-0.1), "financing.borrow must be a yearly rate of 0"),
        (lambda: Financing(credit=inf), "financing.credit must be a yearly rate, 0 is off, was inf"),
        (lambda: Financing(day_count="30/360"), "financing.day_count must be 'act/360' or 'act/365', was '30/360'"),  # type: ignore[arg-type]
        (lambda: Loan("X", -0.1), "the rate of X must be 0 or above, was -0.1"),
        (lambda: Loan("X", 0.1, -5.0), "what is available of X must be 0 shares or more"),
        (lambda: Financing(loans=(Loan("X", 0.1), Loan("X", 0.2))), "two loans of X since the beginning; leave one"),
        (lambda: run(sessions([4], [flat(10)]), Financing(loans=(Loan("XX", 0.1),)), 1), "there are no bars of 'XX'; did you mean 'X'?"),
    ):
        with pytest.raises(ScenarioError, match="financing") as error:
            made()
        assert words in str(error.value)


def test_plain_orders_accrue_nothing_unless_they_are_asked_to() -> None:
    bars = {"X": {"date": ["2024-01-02", "2024-01-03", "2024-01-05"], **{name: [10.0] * 3 for name in ("open", "high", "low", "close")}}}
    order = [{"symbol": "X", "quantity": -100}]
    assert run_orders(bars, order, cash=1e4).bookings == []
    asked = {"borrow": 0.36, "loans": [{"symbol": "X", "rate": 0.72, "since": date(2024, 1, 4)}]}
    result = run_orders(bars, order, cash=1e4, financing=asked, check=True)
    assert [(row.kind, row.symbol) for row in result.bookings] == [("borrow", "X")]
    assert result.cash == pytest.approx(11_000 - 1.0 - 2.0)


gaps = st.lists(st.integers(1, 5), min_size=2, max_size=8)


@given(gaps, st.integers(-300, 300).filter(bool), st.sampled_from([1, 2, 4]))
def test_accruals_do_not_depend_on_how_a_session_is_cut_into_bars(steps: list[int], quantity: int, parts: int) -> None:
    """Whole days and parts of days book the same sums, at the same sessions."""
    days = np.cumsum([MONDAY, *steps]).tolist()
    terms = Financing(borrow=0.05, rebate=0.01, debit=0.06, credit=0.02)
    whole = run(sessions(days, [flat(10, 1e9)] * len(days)), terms, quantity)
    cut = sessions(days, [flat(10, 1e9)] * len(days), parts=parts)
    # Sent at the last bar of the first day, to fill with the first of the second.
    script = Script({parts - 1: lambda view: [view.order(quantity)]})
    fine = simulate(cut, script, broker=plain(), account=Account(10_000.0, leverage_max=inf), financing=terms, check=True)
    assert [(row.kind, row.amount) for row in fine.bookings] == [(row.kind, row.amount) for row in whole.bookings]


@given(gaps, st.integers(1, 300))
def test_borrow_fees_add_up_over_days_whatever_days_have_bars(steps: list[int], shares: int) -> None:
    """At one price the fee of a week is the same with seven sessions in it or two, dated rates included."""
    days = np.cumsum([MONDAY, 1, *steps]).tolist()
    daily = [MONDAY, *range(MONDAY + 1, days[-1] + 1)]
    terms = Financing(borrow=0.0, debit=0.0, loans=(Loan("X", 0.1), Loan("X", 0.9, since=date(1970, 1, 9))))
    few, all_ = (run(sessions(chosen, [flat(10)] * len(chosen)), terms, -shares) for chosen in (days, daily))
    assert few.cash == pytest.approx(all_.cash, rel=1e-12)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_rates_of_neighbouring_days_add_up(first: int, more: int, rest: int) -> None:
    loans = (Loan("X", 0.1, since=date(1970, 1, 9)), Loan("X", 0.5, 7.0, since=date(1970, 1, 20)))
    lending = Lending(Financing(loans=loans), sessions([4], [flat(10)]))
    middle, last = first + more, first + more + rest
    parts = lending.rate_days(0, first, middle) + lending.rate_days(0, middle, last)
    assert lending.rate_days(0, first, last) == pytest.approx(parts, rel=1e-12, abs=1e-12)
    assert lending.available(0, last) == (7.0 if last >= 19 else inf)


def test_a_foreign_short_pays_its_fee_in_its_own_currency_and_interest_is_on_all_cash_in_the_base() -> None:
    """100 short at 10 euros with the euro at 2 dollars: a euro a day from the euros, and no interest on the proceeds."""
    columns = np.array([[flat(10)] * 3, [flat(2.0)] * 3], float).transpose(2, 1, 0)
    instruments = [Instrument("X", tick="0", currency="EUR"), Instrument("EURUSD", "rate", tick="0")]
    tape = Tape.of(instruments, [5 * DAY, 6 * DAY, 7 * DAY], *columns, interval=DAY)
    result = run(tape, Financing(borrow=0.36, debit=0.0, credit=0.36), -100)
    assert booked(result, "borrow") == [(2, pytest.approx(-1.0))]
    assert booked(result, "interest") == [(1, pytest.approx(10.0)), (2, pytest.approx(10.0 + 0.01))]
    assert result.equity[-1] == pytest.approx(10_000.0 + 20.01 - 2.0)
