"""Implementation shortfall: what each part of it is, that the parts sum to paper less real profit, and the table that puts orders side by side."""

from __future__ import annotations

from math import fsum, inf, isnan

import pytest
from hypothesis import HealthCheck, given, settings
from random_markets import Case, Random, random_cases
from small_markets import Script, daily, flat, market_orders, plain, run

from brokers.costs import Commission
from brokers.slippage import Slippage
from simulator import (
    DAY,
    Account,
    AlmgrenChriss,
    Instrument,
    OrderKind,
    Pov,
    Result,
    SimulatorError,
    Tape,
    TimeInForce,
    Twap,
    Vwap,
    load,
    simulate,
)
from simulator.assembly import run as run_scenario
from simulator.report.execution import Shortfall, shortfall, shortfalls, table

DAILY = 86_400.0
# Decided at a close of 10; then opens of 11, 12, 13 and closes half a unit above them.
CLIMB = daily((10, 10, 10, 10, 1000), (11, 11.5, 11, 11.5, 40), (12, 12.5, 12, 12.5, 40), (13, 13.5, 13, 13.5, 40), (14, 14.5, 14, 14.5, 40))


def parts(found: Shortfall) -> tuple[float, float, float, float, float]:
    return found.delay, found.impact, found.timing, found.opportunity, found.fees


def test_an_order_that_trades_at_the_next_open_is_late_and_nothing_else() -> None:
    found = shortfall(run(CLIMB, {0: lambda view: [view.order(10)]}), 1)
    assert (found.decision, found.arrival, found.average, found.closing) == (10.0, 11.0, 11.0, 11.5)
    assert parts(found) == (10.0, 0.0, 0.0, 0.0, 0.0)
    assert (found.total, found.paper, found.real) == (10.0, 15.0, 5.0)


def test_a_seller_gains_by_waiting_in_a_market_that_climbs() -> None:
    found = shortfall(run(CLIMB, {0: lambda view: [view.order(-10)]}), 1)
    assert (found.delay, found.total) == (-10.0, -10.0)


def test_slippage_is_impact_and_commission_a_fee() -> None:
    broker = plain(slippage=Slippage("bps", bps=100.0), commission=Commission(per_share=0.5, minimum=0.0))
    found = shortfall(run(CLIMB, {0: lambda view: [view.order(10)]}, broker), 1)
    assert found.impact == pytest.approx(10 * 0.11)
    assert found.timing == pytest.approx(0.0, abs=1e-12)
    assert found.fees == 5.0
    assert found.trading == found.impact + found.timing
    assert found.total == pytest.approx(10.0 + 1.1 + 5.0)


def test_what_trades_later_than_it_arrived_loses_by_timing() -> None:
    """4 at 11, 4 at 12 and 2 at 13: 2 x 2 + 4 x 1 against the arrival."""
    found = shortfall(run(CLIMB, {0: lambda view: [view.order(10)]}, plain(participation=0.1)), 1)
    assert parts(found) == (10.0, 0.0, 8.0, 0.0, 0.0)


def test_the_slices_of_an_order_are_counted_with_it() -> None:
    result = run(CLIMB, {0: lambda view: [view.order(9, client_id="cut", schedule=Twap(3, DAILY))]})
    found = shortfall(result, 1)
    assert (found.client_id, found.children, found.filled, found.average) == ("cut", 3, 9.0, 12.0)
    assert parts(found) == (9.0, 0.0, 9.0, 0.0, 0.0)
    assert [each.order for each in shortfalls(result)] == [1]


def test_what_stays_unfilled_is_an_opportunity_from_the_decision_to_the_close_of_its_end() -> None:
    """Cancelled at the close of bar 2, 12.5, with 8 of 10 filled."""
    steps = {0: lambda view: [view.order(10)], 2: lambda view: [view.cancel(1)]}
    found = shortfall(run(CLIMB, steps, plain(participation=0.1)), 1)
    assert (found.filled, found.closing) == (8.0, 12.5)
    assert parts(found) == (8.0, 0.0, 4.0, 5.0, 0.0)
    assert found.total == found.paper - found.real == 25.0 - 8.0


def test_an_order_that_is_open_at_the_end_is_valued_at_the_last_close() -> None:
    found = shortfall(run(CLIMB, {0: lambda view: [view.order(10, kind=OrderKind.LIMIT, limit=9.0)]}), 1)
    assert isnan(found.average)
    assert (found.filled, found.closing) == (0.0, 14.5)
    assert parts(found) == (0.0, 0.0, 0.0, 45.0, 0.0)


def test_a_deadline_leaves_an_opportunity() -> None:
    found = shortfall(run(CLIMB, {0: lambda view: [view.order(500, schedule=Pov(0.1, 2 * DAILY, "cancel"))]}), 1)
    assert (found.filled, found.closing) == (104.0, 12.5)
    assert found.opportunity == 396 * 2.5


def test_an_order_of_the_same_close_arrives_where_it_was_decided() -> None:
    found = shortfall(run(CLIMB, {0: lambda view: [view.order(10)]}, plain(timing="same_close")), 1)
    assert (found.arrival, found.total) == (10.0, 0.0)


def test_a_bar_without_volume_is_none_that_an_order_could_meet() -> None:
    tape = daily(flat(10), flat(11, 0), None, flat(13))
    assert shortfall(run(tape, {0: lambda view: [view.order(10)]}), 1).arrival == 13.0


def test_latency_is_part_of_the_delay() -> None:
    """An hour is too late for the next open, which a scenario's result knows."""
    scenario = load("trend", ["broker.latency_seconds=3600.0", "broker.participation=inf"])
    found = shortfalls(run_scenario(scenario))[0]
    assert found.arrival == pytest.approx(100.0 * 1.001**2)
    assert found.timing == pytest.approx(0.0, abs=1e-6)


def test_a_contract_counts_by_its_multiplier() -> None:
    closes = DAY * (1 + CLIMB.closed_at // DAY)
    contract = Tape.of([Instrument("F", multiplier=50.0)], closes, CLIMB.open, CLIMB.high, CLIMB.low, CLIMB.close, CLIMB.volume, interval=DAY)
    found = shortfall(run(contract, {0: lambda view: [view.order(10)]}), 1)
    assert (found.delay, found.value, found.bps(found.total)) == (500.0, 5_000.0, 1_000.0)


def test_orders_that_never_reached_the_market_have_no_shortfall() -> None:
    steps = {0: lambda view: [view.order(10, kind=OrderKind.LIMIT), view.order(0), view.order(5)]}
    assert [found.order for found in shortfalls(run(CLIMB, steps))] == [3]


def test_an_order_that_cannot_be_paid_for_when_it_fills_has_one() -> None:
    steps = {0: lambda view: [view.order(10)]}
    found = shortfalls(run(CLIMB, steps, account=Account(105.0, "cash", 1.0)))[0]
    assert (found.filled, found.opportunity) == (0.0, 15.0)


def test_the_orders_of_a_batch_have_their_shortfalls() -> None:
    assert [found.total for found in shortfalls(run(CLIMB, {0: lambda view: market_orders(view, (0, 10), (0, -5))}))] == [10.0, -5.0]


def test_there_is_no_shortfall_of_a_slice_or_of_nothing() -> None:
    result = run(CLIMB, {0: lambda view: [view.order(9, schedule=Twap(3, DAILY))]})
    with pytest.raises(SimulatorError, match="order 3 is a slice: ask for its parent, order 1"):
        shortfall(result, 3)
    with pytest.raises(SimulatorError, match="the run has no order 9"):
        shortfall(result, 9)


def sums(result: Result) -> None:
    """The parts of every order sum to paper less real profit, and the real profits and fees to those of the account."""
    for found in shortfalls(result):
        scale = max(abs(found.paper), abs(found.real), found.value, 1.0)
        assert abs(found.total - (found.paper - found.real)) <= 1e-9 * scale
        assert found == shortfall(result, found.order)
    every = shortfalls(result)
    assert fsum(found.fees for found in every) == pytest.approx(fsum(fill.commission for fill in result.fills), rel=1e-12)
    assert fsum(found.impact for found in every) == pytest.approx(fsum(fill.slippage for fill in result.fills), rel=1e-12)
    paid = fsum(-found.filled * found.average for found in every if found.filled) - fsum(found.fees for found in every)
    assert result.cash_start + paid == pytest.approx(result.cash, rel=1e-9, abs=1e-6)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(random_cases())
def test_the_parts_sum_to_paper_less_real_profit(case: Case) -> None:
    result = simulate(case.tape(), Random(case), broker=case.broker(), account=case.owner(), limits=case.limits)
    sums(result)


@pytest.mark.parametrize("tif", [TimeInForce.GTC, TimeInForce.IOC])
@pytest.mark.parametrize("schedule", [Vwap(3, DAILY, residual="cancel"), Pov(0.2, 3 * DAILY, "cancel"), AlmgrenChriss(3, DAILY, 1e-2)])
def test_the_parts_of_each_algorithm_sum(schedule: Vwap | Pov | AlmgrenChriss, tif: TimeInForce) -> None:
    broker = plain(participation=0.1, slippage=Slippage("volume_share"), commission=Commission())
    sums(simulate(CLIMB, Script({0: lambda view: [view.order(37, tif=tif, schedule=schedule)]}), broker=broker, account=Account(1e5, "margin", inf)))


def test_a_table_puts_orders_side_by_side() -> None:
    steps = {0: lambda view: [view.order(9, client_id="cut", schedule=Twap(3, DAILY)), view.order(10)]}
    told = table(run(CLIMB, steps))
    assert told.names == (
        *("", "symbol", "units", "filled", "slices", "decision", "arrival", "average"),
        *("delay", "impact", "timing", "opportunity", "fees", "total", "in money"),
    )
    assert told.rows == [
        ("cut", "X", "9", "9", "3", "10.00", "11.00", "12.00", "1,000.00", "0.00", "1,000.00", "0.00", "0.00", "2,000.00", "18.00"),
        ("2", "X", "10", "10", "0", "10.00", "11.00", "11.00", "1,000.00", "0.00", "0.00", "0.00", "0.00", "1,000.00", "10.00"),
    ]


def test_forty_lots_show_what_each_algorithm_costs() -> None:
    """At once pays impact; in a market that climbs, waiting pays timing; who weighs risk is between them. All bought the same."""
    found = {each.client_id: each for each in shortfalls(run_scenario(load("forty_lots"), check=True))}
    assert list(found) == ["once", "twap", "vwap", "pov", "ac"]
    assert {each.filled for each in found.values()} == {4_000.0}
    assert found["once"].impact > found["ac"].impact > found["twap"].impact > found["vwap"].impact
    assert found["once"].timing < found["ac"].timing < found["twap"].timing
    assert min(found.values(), key=lambda each: each.total) == found["ac"]


def test_forty_lots_left_undone_cost_their_opportunity() -> None:
    found = {each.client_id: each for each in shortfalls(run_scenario(load("forty_lots", ["strategy.residual=cancel", "strategy.rate=0.05"])))}
    assert [name for name, each in found.items() if each.opportunity] == ["pov"]
    assert found["pov"].opportunity > 0.0
