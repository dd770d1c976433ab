"""The page of costs: what each assumption took, that the parts sum to what the fills say, and where an order is cut, its shortfall."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import fsum, inf, isnan
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from random_markets import Case, Random, random_cases
from small_markets import QUIET, Script, daily, flat, plain, run

from brokers.costs import Commission, Levy
from brokers.slippage import Slippage
from brokers.venues import Venue
from simulator import Account, Bars, Event, Result, Tape, Twap, load, simulate
from simulator.assembly import assemble, drive
from simulator.assembly import run as run_scenario
from simulator.book.fills import Booked, Booking
from simulator.feeds.tables import attach
from simulator.market.actions import Actions, Split
from simulator.report import pages
from simulator.report.costs import statement
from simulator.report.execution import shortfall
from simulator.report.folders import summary

TEN = daily(*[QUIET] * 10)


class Due:
    """A calendar on which things fall due with certain bars."""

    def __init__(self, events: dict[int, list[Event]]) -> None:
        self.events = events

    def due(self, bars: Bars) -> bool:
        return bars.row in self.events

    def take(self, bars: Bars) -> Iterator[Event]:
        return iter(self.events[bars.row])


def with_calendar(tape: Tape, steps: Any, events: dict[int, list[Event]], **terms: Any) -> Result:
    session, feed = assemble(tape, Script(steps), broker=plain(**terms), account=Account(100_000.0, "margin", inf))
    session.calendar = Due(events)
    rows = drive(session, feed, len(tape))
    return Result(tape, session.journal, 100_000.0, rows)  # type: ignore[arg-type]


def told(result: Result) -> dict[str, float]:
    return {cost.name: cost.money for cost in statement(result).costs}


def test_each_assumption_is_told_apart() -> None:
    """100 bought and sold at 10: 1 bps slippage, half a cent a share at one venue of 0.3 cents, and 20 bps of the sale."""
    broker = plain(
        commission=Commission(0.005, minimum=0.0),
        slippage=Slippage("bps", bps=1.0),
        venues=(Venue("XNAS", 1.0, taker_per_share=0.003),),
        levies=(Levy("stamp", "1970-01-01", bps=20.0),),
    )
    result = run(TEN, {0: lambda view: [view.order(100)], 2: lambda view: [view.order(-100)]}, broker)
    found = told(result)
    assert found == pytest.approx({"Commission": 1.0, "Regulatory fees": 1.9998, "Venue fees less rebates": 0.6, "Slippage": 0.2})
    whole = statement(result)
    assert whole.total == pytest.approx(3.7998)
    assert whole.traded == pytest.approx(2_000.0)
    assert whole.of_turnover(whole.total) == pytest.approx(18.999)
    assert whole.of_equity(whole.total) == pytest.approx(3.7998 / 10, rel=1e-3)


def test_bookings_are_summed_by_what_they_are_for() -> None:
    """A dividend counts when it is owed, and not again when it is paid."""
    events: dict[int, list[Event]] = {
        2: [Booked(Booking.DIVIDEND, 0, 0.0, 50.0), Booked(Booking.BORROW, 0, -3.0)],
        3: [Booked(Booking.PAYMENT, 0, 50.0, -50.0), Booked(Booking.BORROW, 0, -4.0), Booked(Booking.INTEREST, -1, -2.0)],
        4: [Booked(Booking.INTEREST, -1, 5.0), Booked(Booking.REBATE, 0, 1.0), Booked(Booking.FEE, -1, -0.5), Booked(Booking.VARIATION, 0, 9.0)],
        5: [Booked(Booking.DIVIDEND, 0, -7.0)],
    }
    assert told(with_calendar(TEN, {}, events)) == {
        "Commission": 0.0,
        "Slippage": 0.0,
        "Borrow fees": 7.0,
        "Short rebates": -1.0,
        "Interest paid": 2.0,
        "Interest received": -5.0,
        "Dividends received": -50.0,
        "Dividends paid on shorts": 7.0,
        "Other fees": 0.5,
    }


def test_lasting_impact_is_told_apart_from_the_temporary() -> None:
    tape = daily(*[flat(price) for price in (100, 102, 101, 105, 104, 104, 104)])
    broker = plain(slippage=Slippage("square_root", window=3, permanent=0.5))
    result = run(tape, {3: lambda view: [view.order(200, schedule=Twap(2, 86_400.0), client_id="cut")]}, broker)
    found = told(result)
    assert found["Impact, permanent"] > 0.0
    assert found["Slippage"] + found["Impact, permanent"] == pytest.approx(fsum(fill.slippage for fill in result.fills))
    cut = shortfall(result, 1)
    assert cut.permanent == pytest.approx(found["Impact, permanent"])
    assert cut.temporary + cut.permanent == pytest.approx(cut.impact)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(random_cases())
def test_the_parts_sum_to_what_the_fills_paid(case: Case) -> None:
    result = simulate(case.tape(), Random(case), broker=case.broker(), account=case.owner(), limits=case.limits)
    paid = fsum(fill.commission + fill.slippage for fill in result.fills)
    assert statement(result).total == pytest.approx(paid, rel=1e-9, abs=1e-9)


def test_a_run_without_trades_has_no_costs() -> None:
    whole = statement(run(TEN, {}))
    assert (whole.total, whole.traded) == (0.0, 0.0)
    assert isnan(whole.of_turnover(1.0))


def test_a_scenario_says_what_its_slippage_stands_for() -> None:
    found = statement(run_scenario(load("forty_lots")))
    assert [(cost.name, cost.assumed) for cost in found.costs] == [
        ("Commission", "0.005 a share, at least 1 an order"),
        ("Impact, temporary", "0.1 x (share of the bar's volume)²"),
    ]


def test_the_summary_has_the_items() -> None:
    found = summary(run_scenario(load("flat")))["costs"]
    assert found["itemised"] == {"Commission": 50.0, "Spread and slippage": pytest.approx(100.0)}
    assert found["average_equity"] == pytest.approx(999_850.0, rel=1e-4)
    json.dumps(found, allow_nan=False)


def test_one_page_compares_the_algorithms() -> None:
    """One 40-lot parent by each, side by side."""
    page = pages.report(run_scenario(load("forty_lots")))
    section = page[page.index("<h2>Implementation shortfall</h2>") :]
    section = section[: section.index("</section>")]
    assert [section.count(f">{name}<") for name in ("once", "twap", "vwap", "pov", "ac")] == [1] * 5
    assert section.count(">4,000<") == 10
    assert "<h2>Implementation shortfall</h2>" not in pages.report(run_scenario(load("flat")))


def test_of_many_orders_only_those_that_were_cut_are_shown() -> None:
    def many(view: Any) -> list[Any]:
        return [view.order(1) for _ in range(50)] + [view.order(4, schedule=Twap(2, 86_400.0), client_id="cut")]

    page = pages.report(run(TEN, {0: many}))
    section = page[page.index("<h2>Implementation shortfall</h2>") :]
    section = section[: section.index("</section>")]
    assert section.count("<tr>") == 2
    assert ">cut<" in section
    assert "The first 1 of 1 orders that were cut in time." in section


# Splits.


def split_market(*rows: tuple[float, ...]) -> Tape:
    """Bars of 100 shares; from the third session on there are two shares for each."""
    tape = daily(*[(price, price, price, price, 100.0) for (price,) in rows])
    attach(tape, Actions((Split("X", int(tape.days[2]), 2, 1),)))
    return tape


def test_a_split_between_two_fills_is_no_gain() -> None:
    """10 at 10 each before, 10 at 5 after: in the shares of the end 20, 20 and 10, all at 5."""
    result = run(split_market((10.0,), (10.0,), (5.0,), (5.0,)), {0: lambda view: [view.order(15)]}, plain(participation=0.1))
    found = shortfall(result, 1)
    assert (found.quantity, found.filled, found.decision, found.arrival, found.average) == (30.0, 30.0, 5.0, 5.0, 5.0)
    assert (found.delay, found.timing, found.total) == (0.0, 0.0, 0.0)


def test_what_a_split_left_open_is_an_opportunity_in_new_shares() -> None:
    """10 of 25 before and 20 of what are 30 then; 10 are open when the price has come to 6."""
    result = run(split_market((10.0,), (10.0,), (5.0,), (5.0,), (6.0,)), {0: lambda view: [view.order(30)]}, plain(participation=0.1))
    found = shortfall(result, 1)
    assert (found.quantity, found.filled, found.closing) == (60.0, 50.0, 6.0)
    assert found.opportunity == 10.0
    assert found.timing == 10.0
    assert found.total == found.paper - found.real == 20.0


def test_an_order_that_is_cut_through_a_split_is_told_in_the_shares_of_its_end() -> None:
    """Three of nine at 11 before, and the rest as twelve at 6 after: decided at 5 in the end's shares, six at half of 11."""
    result = run(split_market((10.0,), (11.0,), (6.0,), (6.0,)), {0: lambda view: [view.order(9, schedule=Twap(3, 86_400.0))]}, plain())
    found = shortfall(result, 1)
    assert (found.quantity, found.filled, found.children, found.decision, found.closing) == (18.0, 18.0, 3, 5.0, 6.0)
    assert found.delay + found.timing == pytest.approx(6 * 0.5 + 12 * 1.0)
    assert found.total == found.paper - found.real
