"""Every metric against the package empyrical-reloaded, where both mean the same by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest

from simulator.report import metrics
from simulator.report.metrics import FloatArray, Metric
from simulator.report.rolling import rolling

near = pytest.approx


def sample(seed: int, count: int = 800) -> tuple[FloatArray, FloatArray]:
    """Fat-tailed returns of a strategy and of its benchmark."""
    draw = np.random.default_rng(seed)
    market = 0.0003 + 0.008 * draw.standard_t(4, count)
    return 0.0001 + 0.7 * market + 0.004 * draw.standard_t(5, count), market


ALONE: dict[Metric, Callable[[FloatArray], float]] = {
    metrics.cumulative_return: empyrical.cum_returns_final,
    metrics.annual_return: empyrical.annual_return,
    metrics.volatility: empyrical.annual_volatility,
    metrics.sharpe: empyrical.sharpe_ratio,
    metrics.sortino: empyrical.sortino_ratio,
    metrics.calmar: empyrical.calmar_ratio,
    metrics.omega: empyrical.omega_ratio,
    metrics.max_drawdown: empyrical.max_drawdown,
    metrics.downside_risk: empyrical.downside_risk,
    metrics.var_historical: empyrical.value_at_risk,
    metrics.expected_shortfall: empyrical.conditional_value_at_risk,
    metrics.tail_ratio: empyrical.tail_ratio,
    metrics.stability: empyrical.stability_of_timeseries,
}
AGAINST: dict[Metric, Callable[[FloatArray, FloatArray], float]] = {
    metrics.beta: empyrical.beta,
    metrics.alpha: empyrical.alpha,
    # Its own is of one period: ours is annualised.
    metrics.information_ratio: lambda r, m: empyrical.excess_sharpe(r, m) * 252**0.5,
    metrics.up_capture: empyrical.up_capture,
    metrics.down_capture: empyrical.down_capture,
    metrics.batting_average: lambda r, m: empyrical.batting_average(r, m)["batting average"],
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("metric", ALONE, ids=lambda x: x.name)
def test_a_metric_of_one_series_is_empyricals(metric: Metric, seed: int) -> None:
    r, _ = sample(seed)
    assert metric(r) == near(ALONE[metric](r), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("metric", AGAINST, ids=lambda x: x.name)
def test_a_metric_against_a_benchmark_is_empyricals(metric: Metric, seed: int) -> None:
    r, m = (pd.Series(x, pd.bdate_range("2015-01-01", periods=len(x))) for x in sample(seed))
    assert metric(r.to_numpy(), m.to_numpy()) == near(AGAINST[metric](r, m), rel=1e-8, abs=1e-12)


def test_a_risk_free_rate_is_a_years_here_and_a_periods_there() -> None:
    r, m = sample(9)
    a_day = 1.03 ** (1 / 252) - 1
    assert metrics.sharpe(r, rf=0.03) == near(empyrical.sharpe_ratio(r, risk_free=a_day), rel=1e-8)
    assert metrics.alpha(r, m, rf=0.03) == near(empyrical.alpha(r, m, risk_free=a_day), rel=1e-8)
    assert metrics.sortino(r, mar=0.03) == near(empyrical.sortino_ratio(r, required_return=a_day), rel=1e-8)


ROLLED: list[tuple[Metric, Callable[..., Any], bool]] = [
    (metrics.sharpe, empyrical.roll_sharpe_ratio, False),
    (metrics.volatility, empyrical.roll_annual_volatility, False),
    (metrics.max_drawdown, empyrical.roll_max_drawdown, False),
    (metrics.sortino, empyrical.roll_sortino_ratio, False),
    (metrics.beta, empyrical.roll_beta, True),
    (metrics.alpha, empyrical.roll_alpha, True),
    (metrics.up_capture, empyrical.roll_up_capture, True),
    (metrics.down_capture, empyrical.roll_down_capture, True),
]


@pytest.mark.parametrize(("metric", "its", "relative"), ROLLED, ids=lambda x: x.name if isinstance(x, Metric) else "")
def test_a_rolling_metric_is_empyricals(metric: Metric, its: Callable[..., Any], relative: bool) -> None:
    index = pd.bdate_range("2015-01-01", periods=150)
    r, m = (pd.Series(x, index) for x in sample(3, 150))
    theirs = its(r, m, window=60) if relative else its(r, window=60)
    found = rolling(metric, r.to_numpy(), 60, m.to_numpy() if relative else None)
    assert len(found) == 91
    assert found == near(np.asarray(theirs), rel=1e-8, abs=1e-12)
