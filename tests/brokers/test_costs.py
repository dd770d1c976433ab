"""Costs that need history, and settings that make no sense."""

from __future__ import annotations

from math import inf, nan, sqrt
from statistics import stdev
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, Row, daily, fills, flat, hourly, markets, plain, run, states

from brokers.costs import FREE, Commission
from brokers.simulated import Simulated
from brokers.slippage import NO_SLIPPAGE, Slippage
from simulator import DAY, Instrument, Tape, Twap

CLOSES: list[Row] = [flat(100, 1000), flat(102, 3000), flat(101, 2000), flat(105, 4000), flat(104, 6000)]
SIGMA = stdev([102 / 100 - 1, 101 / 102 - 1, 105 / 101 - 1])


def test_who_sells_far_too_much_gets_nothing_and_the_books_still_balance() -> None:
    """7 shares into a bar of one: 10 % x 49 is more than the whole price of 103."""
    result = run(daily(flat(103, 1), flat(103, 1)), {0: lambda view: [view.order(-7)]}, plain(slippage=Slippage("volume_share")))
    assert [(fill.price, fill.slippage) for fill in result.fills] == [(0.0, 721.0)]


def test_square_root_impact_knows_the_sessions_before_the_bar_and_nothing_of_the_bar() -> None:
    """Over the three returns and three volumes before bar 4: sqrt(Q / ADV) of 100 shares against an average of 3,000."""
    result = run(daily(*CLOSES), {3: lambda view: [view.order(100)]}, plain(slippage=Slippage("square_root", y=0.5, window=3)))
    sigma = stdev([102 / 100 - 1, 101 / 102 - 1, 105 / 101 - 1])
    assert result.fills[0].price == pytest.approx(104 * (1 + 0.5 * sigma * sqrt(100 / 3000)), rel=1e-12)
    assert result.fills[0].slippage == pytest.approx(100 * (result.fills[0].price - 104), rel=1e-12)


def test_square_root_impact_counts_whole_sessions_and_not_bars() -> None:
    """Four sessions of 24 hours; the last close of each gives its return, and its hours together its volume."""
    days = [(100, 10), (102, 30), (101, 20), (105, 40)]
    rows: list[Row] = [flat(close, volume) for close, volume in days for _ in range(24)]
    result = run(hourly(*rows, flat(104), flat(104)), {96: lambda view: [view.order(-72)]}, plain(slippage=Slippage("square_root", window=3)))
    assert result.fills[0].price == pytest.approx(104 * (1 - SIGMA * sqrt(72 / (24 * 30))), rel=1e-12)


def test_square_root_impact_is_nothing_while_nothing_is_known() -> None:
    """Two returns are the least that vary."""
    broker = plain(slippage=Slippage("square_root", window=3))
    assert fills(run(daily(*CLOSES), {1: lambda view: [view.order(100)]}, broker)) == [(1, 2, 100, 101.0)]
    assert fills(run(daily(*CLOSES), {2: lambda view: [view.order(100)]}, broker))[0][3] > 105.0


def test_square_root_impact_passes_over_missing_bars() -> None:
    """X has no bar on the third day, so that its last two returns span days 0, 1 and 3."""
    tape = markets(X=[*CLOSES[:2], None, *CLOSES[3:]], Y=[QUIET] * 5)
    result = run(tape, {3: lambda view: [view.order(100)]}, plain(slippage=Slippage("square_root", window=3)))
    sigma = stdev([102 / 100 - 1, 105 / 102 - 1])
    assert result.fills[0].price == pytest.approx(104 * (1 + sigma * sqrt(100 / ((1000 + 3000 + 4000) / 3))), rel=1e-12)


def test_trailing_volume_is_what_could_be_known_at_the_open() -> None:
    """10 % of the mean of 1,000 and 3,000, though the bar itself has 2,000; at first there is nothing to go by, and nothing trades."""
    broker = plain(participation=0.1, volume_basis="trailing", volume_window=2)
    result = run(daily(*CLOSES), {1: lambda view: [view.order(1000)]}, broker)
    assert [fill[1:3] for fill in fills(result)] == [(2, 200), (3, 250), (4, 300)]
    assert states(run(daily(flat(10, 0), QUIET), {0: lambda view: [view.order(1)]}, broker)) == {1: "accepted: volume cap"}


def test_a_source_without_volume_sets_no_bound_and_has_no_impact() -> None:
    closes = np.array([100.0, 102.0, 101.0, 105.0])
    tape = Tape.of([Instrument("X")], np.arange(1, 5) * DAY, closes, closes, closes, closes, interval=DAY)
    result = run(tape, {2: lambda view: [view.order(100)]}, plain(participation=0.1, slippage=Slippage("square_root", window=3)))
    assert fills(result) == [(1, 3, 100, 105.0)]


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"per_share": -1.0}, "commission.per_share must be 0 (off) or above, was -1.0"),
        ({"bps": nan}, "commission.bps must be 0 (off) or above, was nan"),
        ({"minimum": inf}, "commission.minimum must be 0 (off) or above, was inf"),
        ({"minimum": 2.0, "maximum": 1.0}, "commission.maximum must be at least the minimum of 2.0, was 1.0"),
    ],
)
def test_a_tariff_that_makes_no_sense_is_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the whole text is compared
        Commission(**terms)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"model": "linear"}, "slippage.model must be one of none, bps, half_spread, volume_share, square_root, was 'linear'"),
        ({"spread": -0.1}, "slippage.spread must be 0 (off) or above, was -0.1"),
        ({"bps": 10_000.0}, "slippage.bps must be below 10000, was 10000.0"),
        ({"window": 2}, "slippage.window must be at least 3 sessions, was 2"),
    ],
)
def test_a_model_of_slippage_that_makes_no_sense_is_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the whole text is compared
        Slippage(**terms)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"participation": 0.0}, "participation must be above 0 (inf is off), was 0.0"),
        ({"limit_through_ticks": -1}, "limit_through_ticks must be 0 or above, was -1"),
        ({"volume_window": 0}, "volume_window must be at least 1 bar, was 0"),
        ({"latency_seconds": -1.0}, "latency_seconds must be 0 (off) or above, was -1.0"),
    ],
)
def test_settings_of_a_broker_that_make_no_sense_are_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the whole text is compared
        Simulated(**terms)
    assert str(refused.value) == words


def test_a_broker_says_what_it_assumes() -> None:
    assert Simulated().words() == [
        "Market orders fill at the open of the next bar; limits as soon as a bar touches them.",
        "All our orders together take at most 10% of the bar's volume.",
        "Commission: 0.005 a share, at least 1 an order.",
        "Slippage of takers: 1 bps.",
    ]
    other = Simulated("next_close", inf, limit_through_ticks=2, commission=FREE, slippage=NO_SLIPPAGE, latency_seconds=0.5, slicing=Twap(3, 60.0))
    assert other.words() == [
        "Market orders fill at the close of the next bar; limits when a bar goes 2 ticks through them.",
        "Volume sets no bound to what we trade.",
        "Commission: none.",
        "Slippage of takers: none.",
        "An order reaches the market 0.5 s after the decision.",
        "Market orders are cut into 3 slices, one every 60 s.",
    ]
    assert Simulated(volume_basis="trailing").words()[1] == "All our orders together take at most 10% of the average volume of the 20 bars before."


def test_a_broker_warns_of_what_no_market_does_and_of_what_does_nothing() -> None:
    assert plain().caveats(daily(QUIET)) == ()
    assert plain(limit_through_ticks=1).caveats(daily(QUIET, tick="0.01")) == ()
    assert plain(timing="same_close", limit_through_ticks=1).caveats(daily(QUIET)) == (
        "warning: timing 'same_close' fills orders at the very close that they were decided on, which no market does",
        "warning: limit_through_ticks does nothing for X: no price grid, since tick is '0'",
    )


def test_costs_say_what_they_are() -> None:
    assert Commission(0.0, 1.5, 2.0, 3.0, 9.0).words() == "1.5 an order + 2 bps of value, at least 3 an order, at most 9"
    assert [Slippage(model).words() for model in ("half_spread", "volume_share", "square_root")] == [
        "half of a spread of 0.02",
        "0.1 x (share of the bar's volume)²",
        "1 x daily volatility x sqrt(quantity / average daily volume), over 20 sessions",
    ]
