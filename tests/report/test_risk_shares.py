"""Where risk came from, and how it went through time."""

from __future__ import annotations

import numpy as np
import pytest

import simulator
from simulator import DAY, Actions, Instrument, Result, Split, Tape
from simulator.report import metrics
from simulator.report.risk_shares import risk_shares
from simulator.report.rolling import WINDOW, rolled, rolling


class Weights:
    """Holds these weights from the first bar on, and does not rebalance."""

    def __init__(self, *weights: float) -> None:
        self.weights = np.array(weights)

    def on_bars(self, view: simulator.View) -> object:
        return view.rebalance(self.weights) if view.row == 0 else ()


def held(moves: np.ndarray, *weights: float) -> Result:
    close = 100.0 * np.exp(np.cumsum(moves, axis=0))
    instruments = [Instrument(f"S{k}", tick="0", lot="0.0001") for k in range(moves.shape[1])]
    tape = Tape.of(instruments, np.arange(1, len(close) + 1) * DAY, close, close, close, close, interval=DAY)
    return simulator.simulate(tape, Weights(*weights))  # type: ignore[arg-type]


def test_shares_sum_to_one_and_follow_the_variances() -> None:
    """Of two independent halves of which one moves twice as far, it has four fifths of the risk."""
    moves = np.random.default_rng(2).normal(0.0, 1.0, (4_000, 2)) * [0.002, 0.001]
    found = risk_shares(held(moves, 0.5, 0.5))
    assert sum(one.share for one in found) == pytest.approx(1.0)
    assert [one.symbol for one in found] == ["S0", "S1"]
    assert found[0].share == pytest.approx(0.8, abs=0.05)
    assert found[0].weight == pytest.approx(0.5, abs=0.1)


def test_a_hedge_has_a_share_below_nothing() -> None:
    common = np.random.default_rng(3).normal(0.0, 0.001, (1_000, 1))
    found = {one.symbol: one for one in risk_shares(held(np.hstack([common, common]), 0.8, -0.3))}
    assert found["S1"].share == pytest.approx(-0.3 / 0.5, abs=0.1)
    assert found["S1"].weight > 0.0


def test_the_volatilities_are_parts_of_the_runs() -> None:
    result = held(np.random.default_rng(4).normal(0.0, 0.002, (800, 3)), 0.3, 0.3, 0.3)
    whole = metrics.volatility(metrics.session_returns(result.equity, result.tape.sessions[:800], result.cash_start), periods=365)
    assert sum(one.volatility for one in risk_shares(result)) == pytest.approx(whole, rel=0.02)


def test_a_split_is_no_risk() -> None:
    close = np.where(np.arange(60) < 30, 100.0, 50.0) * (1.0 + 0.001 * (np.arange(60) % 3))
    tape = Tape.of([Instrument("A")], np.arange(1, 61) * DAY, close, close, close, close, interval=DAY)
    tape.actions = Actions([Split("A", 30, 2, 1)])
    (only,) = risk_shares(simulator.simulate(tape, Weights(1.0)))  # type: ignore[arg-type]
    assert only.share == pytest.approx(1.0)
    assert only.volatility < 0.05


def test_what_holds_nothing_has_no_risk() -> None:
    assert risk_shares(held(np.zeros((50, 2)), 0.0, 0.0)) == []


def test_through_time_is_the_metrics_of_each_window() -> None:
    result = held(np.random.default_rng(6).normal(0.0, 0.01, (400, 1)), 0.9)
    found = rolled(result)
    assert found is not None
    assert found.window == WINDOW
    r = metrics.session_returns(result.equity, result.tape.sessions[:400], result.cash_start)
    for metric, values in ((metrics.sharpe, found.sharpe), (metrics.volatility, found.volatility)):
        assert values == pytest.approx(rolling(metric, r, WINDOW, periods=365)[found.at - WINDOW + 1], nan_ok=True)
    assert found.at[-1] == 399


def test_too_few_sessions_have_no_windows() -> None:
    assert rolled(held(np.full((30, 1), 0.01), 1.0)) is None
