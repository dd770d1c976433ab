"""VWAP, POV and Almgren-Chriss at work in the market: what is sent when, from what was known then, and what is left at the deadline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_markets import HOUR, QUIET, Script, daily, fills, flat, hourly, market_orders, markets, plain, run, states

from brokers.simulated import Simulated
from brokers.slicing import almgren_chriss, participate, split
from simulator import AlmgrenChriss, Order, OrderKind, Pov, Result, ScenarioError, Schedule, Tape, TimeInForce, Twap, View, Vwap, load, prove
from simulator.assembly import assemble, drive
from simulator.kernels import tapes
from simulator.plugins import build

HOUR_SECONDS = 3600.0


def send(quantity: float, schedule: Schedule, **terms: Any) -> Callable[[View], list[Order]]:
    return lambda view: [view.order(quantity, schedule=schedule, **terms)]


def slices(result: Result, parent: int = 1) -> list[float]:
    """What was sent of an order, in turn."""
    return [order.quantity for order in result.orders if order.parent == parent]


def days(*volumes: list[float], price: float = 10.0) -> Tape:
    """Hourly bars, 24 a session, of one price; a session's volumes are given from midnight on, and the rest of it has 1."""
    return hourly(*[flat(price, volume) for day in volumes for volume in (*day, *[1.0] * (24 - len(day)))])


# --- VWAP


def test_a_vwap_follows_the_volume_that_these_hours_had_before() -> None:
    """Decided an hour into the third session: the next three hours had 100, 300 and 100 on average."""
    tape = days([5, 50, 300, 0], [5, 150, 300, 200], [5, 1000, 1000, 1000])
    result = run(tape, {48: send(50, Vwap(3, HOUR_SECONDS))})
    assert [fill[1:3] for fill in fills(result)] == [(49, 10), (50, 30), (51, 10)]


def test_the_volume_of_its_own_session_changes_no_slice_of_a_vwap() -> None:
    past = [5.0, 100.0, 300.0, 100.0]
    quiet = run(days(past, [5, 1, 1, 1]), {24: send(50, Vwap(3, HOUR_SECONDS))})
    wild = run(days(past, [999, 9e6, 3, 4e5]), {24: send(50, Vwap(3, HOUR_SECONDS))})
    assert slices(quiet) == slices(wild) == [10, 30, 10]


def test_a_vwap_sends_nothing_where_nothing_traded_before() -> None:
    result = run(days([5, 200, 0, 300], [5, 9, 9, 9]), {24: send(50, Vwap(3, HOUR_SECONDS))})
    assert [fill[1:3] for fill in fills(result)] == [(25, 20), (27, 30)]


def test_a_vwap_without_an_earlier_session_has_equal_slices() -> None:
    assert slices(run(days([5, 200, 0, 300]), {0: send(60, Vwap(3, HOUR_SECONDS))})) == [20, 20, 20]


def test_a_vwap_where_volume_is_not_known_has_equal_slices() -> None:
    tape = days([1], [1])
    unknown = Tape.of(tape.instruments, tape.closed_at, tape.open, tape.high, tape.low, tape.close, None, interval=HOUR)
    assert slices(run(unknown, {24: send(60, Vwap(3, HOUR_SECONDS))})) == [20, 20, 20]


def test_a_vwap_of_daily_bars_has_equal_slices() -> None:
    """A day is one slot, and every slice has all of it."""
    assert slices(run(daily(*[QUIET] * 9), {4: send(60, Vwap(3, 86_400.0))})) == [20, 20, 20]


def test_a_slice_of_half_an_hour_has_half_of_the_hours_volume() -> None:
    """Two slices meet the same bar."""
    result = run(days([5, 100, 300], [5]), {24: send(80, Vwap(4, 1800.0))})
    assert (slices(result), [fill[1] for fill in fills(result)]) == ([10, 10, 30, 30], [25, 26, 26, 27])


# --- POV


def test_a_pov_sends_its_share_of_each_bar_that_has_closed() -> None:
    """Decided at the close of a bar with 200: that share goes at once, and meets a bar with 70."""
    tape = hourly(*[flat(10, volume) for volume in (200, 70, 250, 90, 1000, 1000)])
    result = run(tape, {0: send(100, Pov(0.1, 24 * HOUR_SECONDS))})
    assert [fill[1:3] for fill in fills(result)] == [(1, 20), (2, 7), (3, 25), (4, 9), (5, 39)]
    assert states(result)[1] == "filled: filled"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3000), min_size=2, max_size=12), st.integers(-500, 500).filter(bool), st.sampled_from([0.05, 0.1, 0.5]))
def test_a_pov_sends_what_taking_part_in_the_closed_bars_would(volumes: list[int], quantity: int, rate: float) -> None:
    result = run(hourly(*[flat(10, volume) for volume in volumes]), {0: send(quantity, Pov(rate, 24 * HOUR_SECONDS))})
    children, _ = participate(quantity, volumes, rate)
    assert slices(result) == [child for child in children if child]


def test_a_pov_takes_no_part_in_a_bar_that_is_missing() -> None:
    tape = markets(interval=HOUR, X=[flat(10, 100), None, flat(10, 300), flat(10, 100)], Y=[QUIET] * 4)
    assert slices(run(tape, {0: send(100, Pov(0.1, 24 * HOUR_SECONDS))})) == [10, 30, 10]


def test_a_pov_that_arrives_inside_a_bar_knows_the_bar_before() -> None:
    """It lands half an hour into bar 1, and then hears bar 1 close; bar 2 is the first that it can meet."""
    tape = hourly(*[flat(10, volume) for volume in (200, 70, 1000, 1000)])
    result = run(tape, {0: send(27, Pov(0.1, 24 * HOUR_SECONDS))}, plain(latency_seconds=1800.0))
    assert [fill[1:3] for fill in fills(result)] == [(2, 20), (2, 7)]


def test_a_pov_keeps_to_round_lots_until_the_last() -> None:
    tape = hourly(*[flat(10, volume) for volume in (2900, 900, 1100, 1100, 1100)])
    assert slices(run(tape, {0: send(350, Pov(0.1, 24 * HOUR_SECONDS, round_lot=100))})) == [200, 100, 50]


def test_two_povs_each_hear_of_every_close() -> None:
    tape = markets(interval=HOUR, X=[flat(10, 100)] * 5, Y=[flat(10, 200)] * 5)

    def both(view: View) -> list[Order]:
        return [view.order(30, name, schedule=Pov(0.1, 24 * HOUR_SECONDS)) for name in "XY"]

    result = run(tape, {0: both})
    assert (slices(result, 1), slices(result, 2)) == ([10, 10, 10], [20, 10])


def test_a_pov_where_volume_is_not_known_sends_all_at_once() -> None:
    tape = days([1])
    unknown = Tape.of(tape.instruments, tape.closed_at, tape.open, tape.high, tape.low, tape.close, None, interval=HOUR)
    assert slices(run(unknown, {0: send(60, Pov(0.1, HOUR_SECONDS))})) == [60]


# --- Almgren-Chriss


def waves(rows: int) -> Tape:
    """Hourly bars that move, and trade 1,000 each."""
    price = 50.0 * np.exp(0.01 * np.sin(0.7 * np.arange(rows)))
    return hourly(*[flat(float(x), 1000.0) for x in price])


def test_almgren_chriss_trades_more_at_first() -> None:
    result = run(waves(24 * 6), {24 * 5: send(6_000, AlmgrenChriss(6, HOUR_SECONDS, risk_aversion=1e-2))})
    sent = slices(result)
    assert sum(sent) == 6_000
    assert sent == sorted(sent, reverse=True)
    assert sent[0] > 2 * sent[-1]


def test_almgren_chriss_is_the_closed_form_with_what_was_known() -> None:
    """Volatility and volume of the earlier sessions, a day of 24 hours, and the last close."""
    tape, row = waves(24 * 6), 24 * 5 + 3
    sigma, volumes = tapes.trailing(tape.panel_days, tape.panel[3], tape.panel[4], 0, row, 4)
    assert volumes == 24_000.0
    price = float(tape.close[row, 0])
    holdings, _, _ = almgren_chriss(6_000, 6, 1 / 24, sigma * price, 2.0 * sigma * price / volumes, risk_aversion=1e-3)
    result = run(tape, {row: send(-6_000, AlmgrenChriss(6, HOUR_SECONDS, 1e-3, impact=2.0, sessions=4, round_lot=100))})
    assert slices(result) == split(-6_000, -np.diff(holdings), 100)


def test_almgren_chriss_without_risk_aversion_has_equal_slices() -> None:
    assert slices(run(waves(24 * 6), {24 * 5: send(600, AlmgrenChriss(6, HOUR_SECONDS, 0.0))})) == [100] * 6


def test_almgren_chriss_where_nothing_is_known_yet_has_equal_slices() -> None:
    assert slices(run(waves(24), {3: send(600, AlmgrenChriss(6, HOUR_SECONDS, 1.0))})) == [100] * 6


# --- What is left at the deadline


def test_a_pov_that_is_late_sends_the_rest_at_its_deadline() -> None:
    """Two hours after the close of bar 0: what the close of bar 2 allows is no longer asked."""
    result = run(hourly(*[flat(10, 100)] * 6), {0: send(100, Pov(0.1, 2 * HOUR_SECONDS))})
    assert [fill[1:3] for fill in fills(result)] == [(1, 10), (2, 10), (3, 80)]


def test_an_order_that_is_not_done_by_its_deadline_may_be_cancelled() -> None:
    result = run(hourly(*[flat(10, 100)] * 6), {0: send(100, Pov(0.1, 2 * HOUR_SECONDS, "cancel"))})
    assert [fill[1:3] for fill in fills(result)] == [(1, 10), (2, 10)]
    assert states(result) == {1: "cancelled: not done by its deadline", 2: "filled: filled", 3: "filled: filled"}
    assert result.orders[0].filled == 20


@pytest.mark.parametrize(
    "schedule", [Twap(2, HOUR_SECONDS, "cancel"), Vwap(2, HOUR_SECONDS, residual="cancel"), AlmgrenChriss(2, 3600.0, residual="cancel")]
)
def test_slices_that_wait_for_volume_are_cancelled_with_their_order(schedule: Schedule) -> None:
    """Two bars of two slices: the cap leaves 4 of each 10, and the deadline is the close of bar 2."""
    script = Script({0: send(20, schedule)})
    tape = hourly(*[flat(10, 40)] * 6)
    session, feed = assemble(tape, script, broker=plain(participation=0.1))
    drive(session, feed, len(tape))
    assert session.portfolio.lots.tolist() == [8]
    assert (session.broker.pending.tolist(), session.broker.open_orders.tolist()) == ([0], [0])
    assert [open_orders for _, _, _, open_orders in script.seen] == [[], [1], [], [], [], []]


def test_slices_that_wait_for_volume_stay_at_the_market_after_the_deadline() -> None:
    result = run(hourly(*[flat(10, 40)] * 7), {0: send(20, Twap(2, HOUR_SECONDS))}, plain(participation=0.1))
    assert [fill[1:3] for fill in fills(result)] == [(1, 4), (2, 4), (3, 2), (3, 2), (4, 4), (5, 4)]


def test_a_deadline_at_an_open_comes_before_that_bar_trades() -> None:
    """Bar 2 opens as bar 1 closes, an hour after the order; a nanosecond later the deadline is inside bar 2, which the order has met by then."""
    steps = {0: send(20, Twap(1, HOUR_SECONDS, "cancel"))}
    assert [fill[1] for fill in fills(run(hourly(*[flat(10, 40)] * 5), steps, plain(participation=0.1)))] == [1]
    steps = {0: send(20, Twap(1, 3600.000000001, "cancel"))}
    assert [fill[1] for fill in fills(run(hourly(*[flat(10, 40)] * 5), steps, plain(participation=0.1)))] == [1, 2]


def test_the_rest_of_an_order_with_a_limit_keeps_it() -> None:
    """Nobody who named a price pays more because time is up."""
    tape = hourly(*[flat(price, 100) for price in (10, 10, 10, 12, 12, 9)])
    result = run(tape, {0: send(100, Pov(0.1, 2 * HOUR_SECONDS), kind=OrderKind.LIMIT, limit=10.0)})
    assert [fill[1:] for fill in fills(result)] == [(1, 10, 10.0), (2, 10, 10.0), (5, 80, 9.0)]


def test_an_order_that_is_done_before_its_deadline_is_left_alone() -> None:
    result = run(hourly(*[QUIET] * 6), {0: send(20, Twap(2, HOUR_SECONDS, "cancel"))})
    assert set(states(result).values()) == {"filled: filled"}


def test_a_deadline_after_a_cancel_does_nothing() -> None:
    steps = {0: send(100, Pov(0.1, 2 * HOUR_SECONDS, "cancel")), 1: lambda view: [view.cancel(1)]}
    assert states(run(hourly(*[flat(10, 100)] * 6), steps))[1] == "cancelled: cancelled on request"


def test_a_pov_that_is_replaced_is_worked_anew() -> None:
    """10 and 10 have filled of 100; of 30 in all 10 are left."""
    steps = {0: send(100, Pov(0.1, 24 * HOUR_SECONDS)), 2: lambda view: [view.replace(1, 30)]}
    result = run(hourly(*[flat(10, 100)] * 6), steps)
    assert [fill[1:3] for fill in fills(result)] == [(1, 10), (2, 10), (3, 10)]
    assert states(result)[1] == "replaced: cancelled on request"


def test_slices_lost_to_their_time_in_force_do_not_come_back() -> None:
    steps = {0: send(30, Pov(0.1, 2 * HOUR_SECONDS), tif=TimeInForce.IOC)}
    result = run(hourly(*[flat(10, 100)] * 2, *[flat(10, 40)] * 4), steps, plain(participation=0.1))
    assert [fill[1:3] for fill in fills(result)] == [(1, 10), (2, 4), (3, 4)]
    assert states(result)[1] == "cancelled: its slices ended unfilled"


# --- Settings


@pytest.mark.parametrize(
    ("table", "schedule"),
    [
        ({"slices": 4, "seconds": 60.0}, Twap(4, 60.0)),
        ({"model": "twap", "slices": 4, "seconds": 60.0, "residual": "cancel"}, Twap(4, 60.0, "cancel")),
        ({"model": "vwap", "slices": 4, "seconds": 60.0, "sessions": 5}, Vwap(4, 60.0, 5)),
        ({"model": "pov", "rate": 0.2, "seconds": 60.0, "round_lot": 100}, Pov(0.2, 60.0, round_lot=100)),
        ({"model": "almgren_chriss", "slices": 4, "seconds": 60.0, "risk_aversion": 1e-5}, AlmgrenChriss(4, 60.0, 1e-5)),
    ],
)
def test_a_scenario_chooses_an_algorithm_by_its_model(table: dict[str, Any], schedule: Schedule) -> None:
    broker = build(Simulated, {"slicing": table}, "broker")
    assert isinstance(broker, Simulated)
    assert broker.slicing == schedule


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"model": "vwp"}, "broker.slicing.model must be one of twap, vwap, pov, almgren_chriss, was 'vwp'; did you mean 'vwap'?"),
        ({"model": 3}, "broker.slicing.model must be one of twap, vwap, pov, almgren_chriss, was 3"),
        ({"model": "pov", "seconds": 60.0}, "broker.slicing.rate is missing: Pov has no default for it"),
        ({"model": "pov", "rate": 0.0, "seconds": 60.0}, "broker.slicing.rate must be in (0, 1], was 0.0"),
        ({"model": "pov", "rate": 0.1, "seconds": 60.0, "slices": 3}, "broker.slicing: no such key 'slices'"),
        ({"slices": 3, "seconds": 60.0, "residual": "rest"}, "broker.slicing.residual must be 'market' or 'cancel', was 'rest'"),
        ({"slices": 3, "seconds": 60.0, "round_lot": 0}, "broker.slicing.round_lot must be at least 1, was 0"),
        ({"model": "vwap", "slices": 3, "seconds": 60.0, "sessions": 0}, "broker.slicing.sessions must be at least 1, was 0"),
        ({"model": "almgren_chriss", "slices": 3, "seconds": 60.0, "impact": 0.0}, "broker.slicing.impact must be above 0, was 0.0"),
        (
            {"model": "almgren_chriss", "slices": 3, "seconds": 60.0, "risk_aversion": -1.0},
            "broker.slicing.risk_aversion must be 0 or above, was -1.0",
        ),
        (4, "broker.slicing must be a table of slices, seconds, residual, round_lot, model, was 4"),
    ],
)
def test_an_algorithm_that_makes_no_sense_is_refused(table: Any, words: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        build(Simulated, {"slicing": table}, "broker")
    assert str(refused.value).startswith(words)


def test_a_residual_that_there_is_none_of_is_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match="residual must be 'market' or 'cancel', was 'rest'"):
        Twap(2, 1.0, "rest")  # type: ignore[arg-type]


def test_the_text_of_a_scenario_has_its_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "sliced.toml"
    path.write_text(
        '[feed]\nkind = "flat"\nbars = 9\n[strategy]\nname = "buy_and_hold"\n'
        '[broker.slicing]\nmodel = "almgren_chriss"\nslices = 4\nseconds = 60\nrisk_aversion = 1e-5\n'
    )
    text = load(path).text
    assert 'model = "almgren_chriss"' in text
    path.write_text(text)
    assert load(path).text == text


def test_a_broker_says_by_which_algorithm_it_cuts() -> None:
    assert [
        plain(slicing=schedule).words()[-1] for schedule in (Vwap(3, 60.0), Pov(0.1, 600.0, "cancel"), AlmgrenChriss(3, 60.0, residual="cancel"))
    ] == [
        "Market orders are cut into 3 slices, one every 60 s, by the volume of the 20 sessions before.",
        "Market orders are sent as 0.1 of each bar's volume once it has closed, for 600 s; what is left at the deadline is cancelled.",
        "Market orders are cut into 3 slices, one every 60 s, larger at first (Almgren-Chriss, risk aversion 1e-06); "
        "what is left at the deadline is cancelled.",
    ]


def test_an_algorithm_of_the_broker_cuts_the_orders_of_a_batch() -> None:
    result = run(hourly(*[flat(10, 100)] * 5), {0: lambda view: market_orders(view, (0, 30))}, plain(slicing=Pov(0.1, 24 * HOUR_SECONDS)))
    assert [fill[1:3] for fill in fills(result)] == [(1, 10), (2, 10), (3, 10)]


# --- All of them


@pytest.mark.parametrize("residual", ["market", "cancel"])
def test_no_algorithm_looks_ahead(residual: str) -> None:
    """Whatever comes after a bar changes nothing that was sent by then."""
    certificate = prove(load("forty_lots", [f"strategy.residual={residual}", "strategy.rate=0.05", "feed.sessions=21"]), points=4)
    assert certificate.passed, certificate.failures


@pytest.mark.parametrize("schedule", [Vwap(5, 1800.0), Pov(0.3, 9 * HOUR_SECONDS, "cancel"), AlmgrenChriss(5, 1800.0, 1e-2, residual="cancel")])
def test_every_child_obeys_the_participation_cap(schedule: Schedule) -> None:
    result = run(waves(24 * 5), {24 * 4: send(2_000, schedule)}, plain(participation=0.2))
    by_bar: dict[int, float] = {}
    for _, bar, quantity, _ in fills(result):
        by_bar[bar] = by_bar.get(bar, 0.0) + quantity
    assert by_bar
    assert max(by_bar.values()) <= 200.0
