"""Round trips, lot by lot: who is closed first, who pays which fee, and how far it went meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simulator
from simulator import DAY, Instrument, Result, RoundTrip, Tape
from simulator.book.fills import Booked, Booking, Rescaled
from simulator.loop.journal import MemoryJournal
from simulator.market.tape import Bars
from simulator.report import trades

near = pytest.approx


def ran(orders: Sequence[tuple[int, float]], opens: Sequence[float], **settings: Any) -> Result:
    """Market orders of (bar, quantity), filled at the next open, over bars that close 1 above their open, 3 above and 2 below at their extremes."""
    o = np.array(opens, float)
    bars = {"date": np.datetime64("2024-01-01") + np.arange(len(o)), "open": o, "high": o + 3, "low": o - 2, "close": o + 1}
    listed = [{"symbol": "A", "quantity": quantity, "bar": bar} for bar, quantity in orders]
    return simulator.run_orders({"A": bars}, listed, cash=1e6, interval="1d", stamps="close", **settings)


def money(trips: Sequence[RoundTrip]) -> list[float]:
    return [trip.pnl for trip in trips]


def test_a_round_trip_is_a_lot_from_its_fill_to_its_close() -> None:
    (trip,) = ran([(0, 10), (2, -10)], [100, 101, 105, 110]).trips.closed
    assert (trip.symbol, trip.quantity, trip.opened, trip.closed, trip.entry, trip.exit) == ("A", 10.0, 1, 3, 101.0, 110.0)
    assert (trip.gross, trip.fees, trip.pnl, trip.bars, trip.days) == (90.0, 0.0, 90.0, 2, 2.0)
    assert (trip.opening_order, trip.closing_order) == (1, 2)


def test_what_came_first_goes_first() -> None:
    trips = ran([(0, 10), (1, 10), (2, -15), (3, -5)], [100, 100, 110, 120, 130]).trips.closed
    assert [(trip.quantity, trip.entry, trip.exit) for trip in trips] == [(10, 100, 120), (5, 110, 120), (5, 110, 130)]
    assert money(trips) == [200.0, 50.0, 100.0]


def test_a_fill_through_zero_closes_first_and_opens_with_the_rest() -> None:
    result = ran([(0, 10), (1, -25), (2, 15)], [100, 100, 110, 105])
    assert [(trip.quantity, trip.entry, trip.exit, trip.pnl) for trip in result.trips.closed] == [(10, 100, 110, 100), (-15, 110, 105, 75)]
    assert result.trips.open == []


def test_fees_are_shared_by_quantity_and_none_is_lost() -> None:
    result = ran([(0, 10), (1, -4), (2, -9), (3, 3)], [100, 100, 110, 120, 130], commission={"per_order": 6.0})
    trips = result.trips.closed
    assert [trip.fees for trip in trips] == near([6 * 0.4 + 6, 6 * 0.6 + 6 * 6 / 9, 6 * 3 / 9 + 6])
    assert sum(trip.fees for trip in trips) == near(4 * 6.0)
    assert trips[0].pnl == near(40.0 - 8.4)


def test_excursions_are_of_prices_that_were_certainly_seen() -> None:
    """Bought at the open of bar 1, sold at the open of bar 3: bars 1 and 2 were seen whole (98 to 105, 93 to 98), of bar 3 only its open."""
    (trip,) = ran([(0, 10), (2, -10)], [100, 100, 95, 107]).trips.closed
    assert (trip.mae, trip.mfe) == (10 * (93.0 - 100.0), 10 * (107.0 - 100.0))
    (short,) = ran([(0, -10), (2, 10)], [100, 100, 95, 107]).trips.closed
    assert (short.mae, short.mfe) == (-10 * (107.0 - 100.0), 10 * (100.0 - 93.0))


def test_of_a_bar_that_was_entered_inside_only_the_close_was_certainly_seen() -> None:
    """A limit at 99 fills inside bar 1, whose high of 103 may have been before it; its close of 101 was not."""
    (whole,) = ran([(0, 10), (1, -10)], [100, 100, 100.5]).trips.closed
    assert whole.mfe == 30.0
    o = [100.0, 100.0, 100.5]
    bars = {
        "date": ["2024-01-01", "2024-01-02", "2024-01-03"],
        "open": o,
        "high": [x + 3 for x in o],
        "low": [x - 2 for x in o],
        "close": [101.0] * 3,
    }
    orders = [{"symbol": "A", "quantity": 10, "kind": "limit", "limit": 99.0, "bar": 0}, {"symbol": "A", "quantity": -10, "bar": 1}]
    (inside,) = simulator.run_orders({"A": bars}, orders, cash=1e6, interval="1d", stamps="close").trips.closed
    assert (inside.entry, inside.mae, inside.mfe) == (99.0, 0.0, 20.0)


def test_a_losing_trip_was_at_least_as_low_as_it_ended() -> None:
    (trip,) = ran([(0, 10), (1, -10)], [100, 100, 80]).trips.closed
    assert (trip.gross, trip.mae) == (-200.0, -200.0)


def test_what_is_open_is_valued_at_the_last_close() -> None:
    result = ran([(0, 10)], [100, 100, 110])
    assert result.trips.closed == []
    (trip,) = result.trips.open
    assert (trip.exit, trip.pnl, trip.closing_order) == (111.0, 110.0, 0)


@given(st.lists(st.tuples(st.integers(0, 18), st.integers(-30, 30).filter(bool)), max_size=12), st.floats(0.0, 3.0))
def test_all_lots_together_are_the_change_of_equity(orders: list[tuple[int, int]], fee: float) -> None:
    opens = 100.0 + np.round(10 * np.sin(np.arange(20)), 2)
    settings = {"commission": {"per_order": fee}, "slippage": {"model": "bps", "bps": 7.0}}
    result = ran(sorted(orders), opens, **settings)
    closed, still = result.trips
    assert sum(money(closed)) + sum(money(still)) == near(result.equity[-1] - 1e6, abs=1e-6)
    assert sum(trip.quantity for trip in still) == result.positions.get("A", 0.0)
    assert sum(trip.fees for trip in (*closed, *still)) == near(sum(fill.commission for fill in result.fills))
    for trip in (*closed, *still):
        assert trip.mae <= min(0.0, trip.gross) + 1e-9
        assert trip.mfe >= max(0.0, trip.gross) - 1e-9
    for earlier, later in pairwise(closed):
        assert (earlier.closed, earlier.opened) <= (later.closed, later.opened), "first in, first out"


def split_run(fraction: bool) -> Result:
    """15 shares bought at 100, and 1 more at 100; a split of 3 for 2 with 0.5 paid out (of 15 alone); all at 70 at the end."""
    quantity = 15 if fraction else 16
    close = [100.0, 100.0, 100.0, 70.0]
    bars = {"date": ["1970-01-01", "1970-01-02", "1970-01-03", "1970-01-04"], **dict.fromkeys(("open", "high", "low", "close"), close)}
    result = simulator.run_orders({"A": bars}, [{"symbol": "A", "quantity": quantity, "bar": 0}], cash=1e4, interval="1d", stamps="close")
    journal = MemoryJournal()
    journal.rows += result.journal.rows
    at = Bars(Tape.of([Instrument("A")], np.arange(1, 5) * DAY, close, close, close, close, interval=DAY))
    at.row, at.closed_at = 3, int(result.tape.closed_at[3])
    settled = [Rescaled(0, 3, 2, 7, 200 / 3), Booked(Booking.FRACTION, 0, 0.5 * 68.0, price=68.0)] if fraction else [Rescaled(0, 3, 2, 8, 200 / 3)]
    journal.note(at, settled)
    return Result(result.tape, journal, 1e4, 4)


def test_a_split_changes_the_lots_and_not_what_they_cost() -> None:
    (lot,) = split_run(fraction=False).trips.open
    assert (lot.quantity, lot.entry) == (24.0, near(200 / 3))
    assert lot.pnl == near(24 * 70 - 1600)
    assert lot.mfe == near(24 * (70 - 200 / 3))


def test_a_fraction_that_is_paid_out_is_a_round_trip() -> None:
    closed, still = split_run(fraction=True).trips
    assert [(trip.quantity, trip.exit) for trip in closed] == [(0.5, 68.0)]
    assert [trip.quantity for trip in still] == [22.0]
    assert closed[0].pnl + still[0].pnl == near(0.5 * 68 + 22 * 70 - 1500)


# --- Statistics


def test_statistics_by_hand() -> None:
    profits = [30.0, -10.0, 20.0, 0.0, -15.0]
    assert trades.win_rate(profits) == 0.4
    assert trades.profit_factor(profits) == 2.0
    assert trades.expectancy(profits) == 5.0
    assert trades.payoff(profits) == 2.0


@pytest.mark.parametrize("statistic", trades.STATISTICS, ids=lambda x: x.name)
def test_nothing_and_no_numbers_are_undefined(statistic: trades.Statistic) -> None:
    assert statistic.measured([]).reason == "there is nothing to measure"
    assert statistic.measured([1.0, nan]).reason == "profits 1 is nan"
    assert isnan(statistic([]))
    assert statistic.convention.endswith(".")


def test_without_losses_there_is_no_factor() -> None:
    assert trades.profit_factor.measured([1.0, 2.0]).reason == "no round trip lost"
    assert trades.payoff.measured([1.0]).reason == "no round trip lost"
    assert trades.payoff.measured([-1.0]).reason == "no round trip won"
    assert trades.win_rate([-1.0]) == 0.0


def test_long_and_short_stand_apart() -> None:
    found = trades.summarise(ran([(0, 10), (1, -25), (2, 15)], [100, 100, 110, 115]).trips.closed)
    assert [(side, found[side].trips, found[side].pnl) for side in trades.SIDES] == [("all", 2, 25.0), ("long", 1, 100.0), ("short", 1, -75.0)]
    assert found["short"].win_rate.value == 0.0
    assert found["all"].profit_factor.value == near(100 / 75)
