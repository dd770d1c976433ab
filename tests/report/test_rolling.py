"""Metrics of each window, and of each regime."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

import simulator
from simulator import DAY, DataError, Instrument, Tape, View
from simulator.report import metrics
from simulator.report.benchmark import benchmark
from simulator.report.rolling import UNKNOWN, by_regime, conditional, rolling

near = pytest.approx


def test_each_window_is_measured_by_itself() -> None:
    assert rolling(metrics.cumulative_return, [0.1, 0.2, -0.5], 2).tolist() == near([0.32, -0.4])


def test_a_window_longer_than_the_returns_has_no_values() -> None:
    assert rolling(metrics.sharpe, [0.1, 0.2], 3).tolist() == rolling(metrics.sharpe, [], 3).tolist() == []


def test_a_hole_is_undefined_only_in_the_windows_that_see_it() -> None:
    found = rolling(metrics.volatility, [0.1, 0.2, nan, 0.1, 0.3], 2)
    assert np.isnan(found).tolist() == [False, True, True, False]


def test_windows_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="window must be at least 1 return, was 0"):
        rolling(metrics.sharpe, [0.1], 0)
    with pytest.raises(DataError, match="benchmark must have 2 returns"):
        rolling(metrics.beta, [0.1, 0.2], 2, [0.1])


def test_a_state_is_measured_over_its_own_returns() -> None:
    r, m, states = [0.1, -0.1, 0.2, 0.0, 0.5], [0.1, -0.05, 0.2, 0.0, 0.5], [1, 0, 1, 0, -1]
    assert conditional(metrics.cumulative_return, r, states) == {0: near(-0.1), 1: near(0.32)}
    assert conditional(metrics.batting_average, [0.2, -0.1, 0.2, 0.0, 0.5], states, m) == {0: 0.0, 1: 0.5}
    assert list(conditional(metrics.sharpe, r, [-1] * 5)) == []


def test_states_must_be_as_many_as_returns() -> None:
    with pytest.raises(DataError, match=r"states must have 2 values, one for each return, had \(1,\)"):
        conditional(metrics.sharpe, [0.1, 0.2], [1])


class Knows:
    """Buys at the first close, and calls every second day a bull market, from the third close on."""

    def on_bars(self, view: View) -> list[simulator.Order]:
        if view.row >= 2:
            view.plot("regime", "bear", float(view.row % 2))
            view.plot("regime", "bull", 1.0 - view.row % 2)
        return [view.order(1_000)] if view.row == 0 else []


def test_a_session_belongs_to_the_regime_known_before_it() -> None:
    close = np.array([100.0, 100.0, 100.0, 110.0, 99.0, 103.0, 102.0])
    tape = Tape.of([Instrument("A")], (np.arange(7) + 1) * DAY, close, close, close, close, interval=DAY)
    result = simulator.simulate(tape, Knows(), cash=1e6)
    found = {each.name: each for each in by_regime(result, benchmark(result).equity)}
    r = metrics.session_returns(result.equity, tape.sessions, 1e6)
    assert [each.sessions for each in found.values()] == [2, 2, 3]
    assert list(found) == ["bear", "bull", UNKNOWN]
    # Bars 2, 4 and 6 were called a bull's at their closes: sessions 3 and 5 come after them.
    assert found["bull"].returned.value == near((1 + r[3]) * (1 + r[5]) - 1)
    assert found["bear"].returned.value == near((1 + r[4]) * (1 + r[6]) - 1)
    assert found["bull"].benchmark.value == near(1.1 * 103 / 99 - 1)
    assert sum(each.share for each in found.values()) == near(1.0)


def test_without_regimes_there_is_no_table() -> None:
    result = simulator.run(simulator.load("flat"))
    assert by_regime(result, benchmark(result).equity) == []
