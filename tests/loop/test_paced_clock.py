"""A paced clock waits for as long as the speed says, by a wall that is an argument."""

from __future__ import annotations

from math import inf, nan

import pytest

from simulator import DAY, SECOND, ScenarioError
from simulator.loop.clocks import LOOK_SECONDS, PacedClock

MONDAY = 4 * DAY


class Wall:
    """A clock on a wall that moves only while somebody sleeps, or is slow."""

    def __init__(self) -> None:
        self.seconds, self.naps = 1000.0, 0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.naps += 1

    def monotonic(self) -> float:
        return self.seconds

    def paced(self, speed: float, longest: int = DAY) -> PacedClock:
        return PacedClock(speed, longest, sleep=self.sleep, monotonic=self.monotonic)


def test_the_first_bar_is_there_at_once() -> None:
    wall = Wall()
    clock = wall.paced(1.0)
    clock.wait_until(MONDAY)
    assert (clock.now, wall.seconds) == (MONDAY, 1000.0)


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 60.0), (60.0, 1.0), (10_000.0, 0.006)])
def test_history_passes_as_many_times_faster_as_the_speed(speed: float, seconds: float) -> None:
    wall = Wall()
    clock = wall.paced(speed)
    for minute in range(11):
        clock.wait_until(MONDAY + minute * 60 * SECOND)
    assert wall.seconds - 1000.0 == pytest.approx(10 * seconds, rel=1e-6)


def test_infinitely_fast_does_not_sleep() -> None:
    wall = Wall()
    clock = wall.paced(inf)
    for day in range(100):
        clock.wait_until(MONDAY + day * DAY)
    assert (wall.naps, clock.now) == (0, MONDAY + 99 * DAY)


def test_a_weekend_is_skipped() -> None:
    """Of the three days from Friday's close to Monday's, one passes: the bar's own."""
    wall = Wall()
    clock = wall.paced(8640.0)
    clock.wait_until(MONDAY - 3 * DAY)
    clock.wait_until(MONDAY)
    assert wall.seconds == pytest.approx(1010.0)


def test_a_night_between_minute_bars_is_one_minute() -> None:
    wall = Wall()
    clock = wall.paced(60.0, 60 * SECOND)
    clock.wait_until(MONDAY)
    clock.wait_until(MONDAY + 17 * 3600 * SECOND)
    assert wall.seconds == pytest.approx(1001.0)


def test_a_slow_bar_is_caught_up_with() -> None:
    """It was 2.5 bars late: two come at once, and the third when it was due all along."""
    wall = Wall()
    clock = wall.paced(60.0)
    seen = []
    for minute in range(5):
        clock.wait_until(MONDAY + minute * 60 * SECOND)
        seen.append(wall.seconds)
        wall.seconds += 2.5 if minute == 1 else 0.0
    assert seen == pytest.approx([1000.0, 1001.0, 1003.5, 1003.5, 1004.0])


def test_what_is_recorded_already_takes_no_time() -> None:
    wall = Wall()
    clock = wall.paced(8640.0)
    clock.through = MONDAY + 5 * DAY
    for day in range(6):
        clock.wait_until(MONDAY + day * DAY)
    assert wall.seconds == 1000.0
    wall.seconds += 77.0  # the next bar is due 10 s after the last of them was asked for
    clock.wait_until(MONDAY + 6 * DAY)
    clock.wait_until(MONDAY + 7 * DAY)
    assert wall.seconds == 1077.0
    clock.wait_until(MONDAY + 16 * DAY)
    assert clock.now == MONDAY + 16 * DAY


def test_one_that_is_asked_to_stop_does_not_begin_another_bar() -> None:
    wall = Wall()
    clock = wall.paced(1.0)
    clock.wait_until(MONDAY)
    clock.stop()
    with pytest.raises(KeyboardInterrupt):
        clock.wait_until(MONDAY + DAY)
    assert (clock.now, wall.seconds) == (MONDAY, 1000.0)


def test_it_looks_often_whether_it_was_asked_to_stop() -> None:
    """A bar may be due in hours."""
    wall = Wall()

    def sleep(seconds: float) -> None:
        wall.sleep(seconds)
        if wall.naps == 7:
            clock.stop()

    clock = PacedClock(1.0, DAY, sleep=sleep, monotonic=wall.monotonic)
    clock.wait_until(MONDAY)
    with pytest.raises(KeyboardInterrupt):
        clock.wait_until(MONDAY + DAY)
    assert wall.seconds == pytest.approx(1000.0 + 7 * LOOK_SECONDS)


@pytest.mark.parametrize("speed", [0.0, 0.99, -60.0, nan])
def test_a_speed_below_that_of_life_is_refused(speed: float) -> None:
    with pytest.raises(ScenarioError, match=f"speed must be at least 1 \\(inf does not wait\\), was {speed:g}"):
        PacedClock(speed, DAY)
