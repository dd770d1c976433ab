"""Exposure and turnover, by hand and as pyfolio has them."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

import simulator
from simulator import DataError
from simulator.report.holdings import gross_exposure, leverage, net_exposure, time_in_market, turnover, turnover_of

near = pytest.approx


def test_gross_counts_both_sides_and_net_sets_them_against_each_other() -> None:
    values, equity = [[60.0, -40.0], [0.0, 0.0], [50.0, 50.0]], [100.0, 100.0, 50.0]
    assert gross_exposure(values, equity).tolist() == near([1.0, 0.0, 2.0])
    assert net_exposure(values, equity).tolist() == near([0.2, 0.0, 2.0])
    assert leverage(gross_exposure(values, equity)) == near(1.0)
    assert time_in_market(gross_exposure(values, equity)) == near(2 / 3)


def test_without_equity_there_is_no_exposure() -> None:
    assert np.isnan(gross_exposure([[1.0], [1.0]], [0.0, -5.0])).all()
    assert leverage.measured(gross_exposure([[1.0]], [0.0])).reason == "exposure 0 is nan"
    with pytest.raises(DataError, match=r"values must be \(rows, instruments\) and equity \(rows,\), were \(2,\) and \(2,\)"):
        gross_exposure([1.0, 2.0], [1.0, 2.0])


def test_turnover_sets_what_was_traded_against_the_mean_of_what_was_held_before_and_after() -> None:
    """Bought for 100, which is then worth 110; half of it sold; nothing traded."""
    assert turnover([100.0, 55.0, 0.0], [110.0, 55.0, 60.0]) == near((100 / 55 + 55 / 82.5 + 0) / 3)


def test_turnover_is_pyfolios() -> None:
    """Its txn.get_turnover with the actual gross book as denominator, in its own steps."""
    import pandas as pd

    draw = np.random.default_rng(4)
    traded, gross = pd.Series(draw.uniform(0, 50, 40)), pd.Series(draw.uniform(50, 150, 40))
    traded[5:8] = gross[4:8] = 0.0
    denominator = gross.rolling(2).mean()
    denominator.iloc[0] = gross.iloc[0] / 2
    assert turnover(traded, gross) == near(traded.div(denominator).fillna(0).mean(), rel=1e-12)


def test_what_is_undefined_says_why() -> None:
    assert turnover.measured([], []).reason == "there is nothing to measure"
    assert turnover.measured([10.0, 5.0], [10.0, nan]).reason == "gross 1 is nan"
    assert turnover.measured([1.0, 5.0], [0.0, 10.0]).reason == "on day 0 there was trading, and nothing was held at either close"
    with pytest.raises(DataError, match="traded and gross must be of one length, had 2, 1"):
        turnover([1.0, 2.0], [1.0])


def test_the_turnover_of_a_run_has_a_day_a_session() -> None:
    bars = {"date": ["2024-01-02", "2024-01-03", "2024-01-04"], **{x: [100.0, 100.0, 100.0] for x in ("open", "high", "low", "close")}}
    orders = [{"symbol": "A", "quantity": 10, "bar": 0}, {"symbol": "A", "quantity": -5, "bar": 1}]
    result = simulator.run_orders({"A": bars}, orders, cash=10_000.0, interval="1d", stamps="close")
    assert turnover_of(result).value == near((0 + 1000 / 500 + 500 / 750) / 3)
    still = simulator.run_orders({"A": bars}, [], cash=10_000.0, interval="1d", stamps="close")
    assert turnover_of(still).value == 0.0
