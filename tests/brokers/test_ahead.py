"""What is due between two bars: told before the bar that it counts with, and changed by nothing that asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import HOUR, QUIET, Script, hourly, plain

from simulator import SECOND, Account, AlmgrenChriss, Due, OrderKind, Pov, Schedule, Tape, TimeInForce, Twap, View, Vwap
from simulator.assembly import assemble
from simulator.loop.journal import ENDED, SLICED, MemoryJournal
from simulator.loop.session import step

LIMIT = OrderKind.LIMIT
TAPE = hourly(*[(10.0, 10.0, 10.0, 10.0, 400.0 + 150.0 * (k % 5)) for k in range(60)])


def told(tape: Tape, steps: Mapping[int, Callable[[View], Any]], asks: bool = True, **terms: Any) -> tuple[list[list[Due]], MemoryJournal]:
    """What is told after each bar of the time before the next one closes; and the journal."""
    found: list[list[Due]] = []
    session, feed = assemble(tape, Script(steps), broker=plain(**terms), account=Account(100_000.0, "margin", inf))
    for bars in feed:
        step(session, bars)
        if asks and bars.row + 1 < len(tape):
            middle = (tape.ats[bars.row] + tape.ats[bars.row + 1]) // 2
            first = session.broker.ahead(middle)
            found.append(session.broker.ahead(tape.ats[bars.row + 1] - 1))
            assert found[-1][: len(first)] == first
            assert all(tape.ats[bars.row] < due.at for due in found[-1])
    assert isinstance(session.journal, MemoryJournal)
    return found, session.journal


def test_an_order_arrives_when_its_latency_is_over() -> None:
    found, _ = told(TAPE, {1: lambda view: [view.order(10)]}, latency_seconds=0.25)
    assert found[1] == [Due(2 * HOUR + SECOND // 4, 1, 0, 10, "arrived")]
    assert found[2] == []
    assert found[1][0].words == "order 1 has reached the market: +10 lots"


def test_an_order_may_arrive_many_bars_later() -> None:
    found, _ = told(TAPE, {1: lambda view: [view.order(10)]}, latency_seconds=3.5 * 3600)
    assert [len(each) for each in found[:6]] == [0, 0, 0, 0, 1, 0]
    assert found[4][0].at == 5 * HOUR + HOUR // 2


def test_each_slice_is_told_at_its_moment_and_the_end_of_the_schedule_at_its_own() -> None:
    """The order arrives at minute 10, and has a slice each quarter of an hour from there on. What is sent last meets no bar before it is over."""
    found, _ = told(TAPE, {0: lambda view: [view.order(10)]}, latency_seconds=600.0, slicing=Twap(6, 900.0, residual="cancel"))
    due = [(due.at // (60 * SECOND) - 60, due.kind, due.lots) for each in found for due in each]
    slices = [(10, "slice", 2), (25, "slice", 1), (40, "slice", 2), (55, "slice", 2), (70, "slice", 1), (85, "slice", 2)]
    assert due == [(10, "arrived", 10), *slices, (100, "deadline", 0)]


def test_a_cancel_under_way_stops_the_slices_that_come_after_it() -> None:
    steps = {0: lambda view: [view.order(100)], 1: lambda view: [view.cancel(1)]}
    found, journal = told(TAPE, steps, latency_seconds=1800.0, slicing=Twap(10, 600.0))
    assert [(due.at // (60 * SECOND) - 60, due.kind) for due in found[1]] == [(70, "slice"), (80, "slice"), (90, "cancel")]
    assert int((journal.table()["kind"] == SLICED).sum()) == 6


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda view: [view.replace(1, 60)], ["replace", "slice"]),
        (lambda view: view.rebalance(np.array([0.01])), ["cancel", "arrived", "slice"]),
    ],
)
def test_what_takes_the_place_of_an_order_that_is_cut_is_cut_anew(change: Callable[[View], Any], kinds: list[str]) -> None:
    """It is under way for half an hour, while three more slices of the old one go."""
    found, _ = told(TAPE, {0: lambda view: [view.order(100)], 1: change}, latency_seconds=1800.0, slicing=Twap(10, 700.0))
    assert [due.kind for due in found[1]] == ["slice"] * 3 + kinds + ["slice"] * 2
    assert [due.order for due in found[1]][:3] == [1, 1, 1]
    assert {due.order for due in found[1][-3:]} == {5}


def test_an_order_that_lives_to_a_moment_of_its_own_is_over_at_it() -> None:
    until = 3 * HOUR + 7
    found, journal = told(TAPE, {0: lambda view: [view.order(10, kind=LIMIT, limit=5.0, tif=TimeInForce.GTD, until=until)]})
    assert found[2] == [Due(until, 1, 0, 10, "expired")]
    assert [each for each in found if each] == [found[2]]
    assert int((journal.table()["kind"] == ENDED).sum()) == 1


SCHEDULES: list[Schedule] = [
    Twap(7, 1000.0),
    Twap(3, 5401.0, residual="cancel"),
    Vwap(9, 700.0),
    AlmgrenChriss(5, 1300.0, risk_aversion=1e-6),
    Pov(0.1, 9000.0),
    Pov(0.05, 5000.0, residual="cancel"),
]


@given(
    st.sampled_from(SCHEDULES),
    st.sampled_from([0.0, 0.25, 601.0, 5003.0]),
    st.lists(st.tuples(st.integers(0, 50), st.integers(-400, 400).filter(bool)), min_size=1, max_size=4),
    st.sampled_from([0, 0, 30, 40]),
)
def test_the_slices_that_are_told_are_those_that_the_next_bar_has(
    schedule: Schedule, latency: float, orders: list[tuple[int, int]], clear: int
) -> None:
    """Whether anybody asked or not, the journal is the same."""
    steps: dict[int, Callable[[View], Any]] = {bar: lambda view, lots=lots: [view.order(lots)] for bar, lots in orders}
    if clear:
        steps[clear] = lambda view: [view.cancel(order) for order in view.open_orders]
    found, journal = told(TAPE, steps, latency_seconds=latency, slicing=schedule)
    assert journal.read() == told(TAPE, steps, asks=False, latency_seconds=latency, slicing=schedule)[1].read()
    table = journal.table()
    sent = table[table["kind"] == SLICED]
    for row, each in enumerate(found):
        between = sent[sent["at"] == TAPE.ats[row + 1]]
        slices = [(due.order, due.lots) for due in each if due.kind == "slice"]
        became = [(int(r["e"]), int(r["lots"])) for r in between]
        # What goes as an order is sent, or as the very bar closes, is of no moment between.
        first = len(orders) if not latency else 0
        last = len(orders) if isinstance(schedule, Pov) else 0
        assert any(became[k : k + len(slices)] == slices for k in range(first + 1))
        assert len(became) - len(slices) <= first + last


def test_where_nothing_takes_time_nothing_is_due() -> None:
    found, _ = told(hourly(*[QUIET] * 9), {2: lambda view: [view.order(5)]})
    assert not any(found)
