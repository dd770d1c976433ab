"""Taking part in volume: how much of it a share allows, and what earlier sessions say of a day's volume."""

from __future__ import annotations

from fractions import Fraction
from math import floor, inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.slicing import curve_weights, participate, volume_curve
from simulator import DAY, IntArray

HOUR = 3_600_000_000_000
rates = st.integers(0, 1000).map(lambda permille: permille / 1000)
markets = st.lists(st.integers(0, 10**6) | st.floats(0, 1e6), max_size=20)


def test_each_child_is_its_share_of_the_volume_until_all_is_done() -> None:
    assert participate(100, [300, 0, 255, 1000, 1000], 0.1) == ([30, 0, 25, 45, 0], 0)


def test_what_the_volume_does_not_allow_is_unfilled() -> None:
    assert participate(-100, [300, 255], 0.1) == ([-30, -25], -45)
    assert participate(100, [], 0.1) == ([], 100)


def test_a_share_is_that_of_the_decimals() -> None:
    """0.29 x 100 is 28.999999999999996 in floats; the market's own budget is 29, too."""
    assert participate(1000, [100], 0.29) == ([29], 971)


def test_children_are_whole_round_lots_but_for_the_one_that_completes() -> None:
    assert participate(250, [1500, 1490, 400, 600], 0.1, 100) == ([100, 100, 0, 50], 0)


def test_volume_that_nobody_knows_gives_nothing_and_endless_volume_all() -> None:
    assert participate(50, [nan, 100.0, inf], 0.1) == ([0, 10, 40], 0)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ((1, [1], 1.1), "rate must be in"),
        ((1, [1], nan), "rate must be in"),
        ((1, [-1], 0.1), "volumes must be"),
        ((1, [1], 0.1, 0), "lot must be at"),
    ],
)
def test_taking_part_in_what_cannot_be_is_refused(terms: tuple[int, list[float], float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        participate(*terms)


@given(st.integers(-(10**6), 10**6), markets, rates, st.sampled_from([1, 10, 100]))
def test_no_child_is_beyond_its_share_and_all_sum_to_the_parent(quantity: int, volumes: list[float], rate: float, lot: int) -> None:
    children, unfilled = participate(quantity, volumes, rate, lot)
    assert len(children) == len(volumes)
    assert sum(children) + unfilled == quantity
    assert all(child * quantity >= 0 for child in [*children, unfilled])
    assert sum(1 for child in children if child % lot) <= 1
    for child, volume in zip(children, volumes, strict=True):
        assert abs(child) <= floor(Fraction(rate) * Fraction(volume) + Fraction(2, 10**9))


@given(st.integers(1, 10**6), markets, rates)
def test_nobody_waits_who_may_trade(quantity: int, volumes: list[float], rate: float) -> None:
    """While something is left, a child falls short of its share by less than one unit."""
    left = quantity
    for child, volume in zip(participate(quantity, volumes, rate)[0], volumes, strict=True):
        assert child == left or child > rate * volume - 1.0 - 1e-6
        left -= child


# --- What a day's volume looks like


def sessions_of(*days: list[float]) -> tuple[IntArray, IntArray, np.ndarray]:
    """Hourly bars from nine o'clock on, one list of volumes a session: (sessions, starts, volumes)."""
    sessions = [day for day, volumes in enumerate(days) for _ in volumes]
    starts = [day * DAY + (9 + k) * HOUR for day, volumes in enumerate(days) for k in range(len(volumes))]
    return np.array(sessions), np.array(starts), np.array([volume for volumes in days for volume in volumes], float)


def test_a_curve_is_the_average_volume_by_time_of_session() -> None:
    offsets, averages = volume_curve(*sessions_of([100, 10, 50], [300, 30, 70], [0, 0, 0]), 2)
    assert offsets.tolist() == [0, HOUR, 2 * HOUR]
    assert averages.tolist() == [200.0, 20.0, 60.0]


def test_a_curve_looks_at_earlier_sessions_alone() -> None:
    days = [[100.0, 10.0], [300.0, 30.0], [500.0, 90.0]]
    before = volume_curve(*sessions_of(*days), 2)
    after = volume_curve(*sessions_of(days[0], days[1], [1.0, 1e9], [7.0]), 2)
    assert np.array_equal(before, after)


def test_a_curve_forgets_what_is_older_than_its_window() -> None:
    assert volume_curve(*sessions_of([1e6, 0], [100, 10], [300, 30]), 3, window=2)[1].tolist() == [200.0, 20.0]


def test_a_bar_that_is_missing_counts_as_no_volume() -> None:
    """So does the afternoon of a half day."""
    assert volume_curve(*sessions_of([100, nan], [300]), 2)[1].tolist() == [200.0, 0.0]


def test_without_an_earlier_session_there_is_no_curve() -> None:
    assert [len(part) for part in volume_curve(*sessions_of([100, 10]), 0)] == [0, 0]


def test_a_span_expects_its_share_of_each_bar_that_it_covers() -> None:
    offsets, averages = np.array([0, HOUR, 2 * HOUR]), np.array([200.0, 20.0, 60.0])
    half = HOUR // 2
    assert curve_weights(offsets, averages, HOUR, 0, HOUR, 4).tolist() == [200.0, 20.0, 60.0, 0.0]
    assert curve_weights(offsets, averages, HOUR, half, HOUR, 3).tolist() == [110.0, 40.0, 30.0]
    assert curve_weights(offsets, averages, HOUR, half, half, 3).tolist() == [100.0, 10.0, 10.0]


def test_a_curve_begins_again_a_day_later() -> None:
    assert curve_weights(np.array([0, HOUR]), np.array([5.0, 3.0]), HOUR, HOUR, DAY, 2).tolist() == [8.0, 8.0]
    assert curve_weights(np.array([0, HOUR]), np.array([5.0, 3.0]), HOUR, DAY + HOUR, HOUR, 2).tolist() == [3.0, 0.0]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=24), st.integers(0, 3 * DAY), st.integers(1, DAY), st.integers(1, 30))
def test_spans_one_after_another_expect_what_the_whole_does(averages: list[int], start: int, gap: int, slices: int) -> None:
    offsets = HOUR * np.arange(len(averages))
    parts = curve_weights(offsets, np.array(averages, float), HOUR, start, gap, slices)
    whole = curve_weights(offsets, np.array(averages, float), HOUR, start, gap * slices, 1)
    assert (parts >= 0).all()
    assert float(parts.sum()) == pytest.approx(float(whole[0]), rel=1e-9, abs=1e-6)
