"""Intervals by the stationary bootstrap: against the package arch, and against what is known of made-up series."""

from __future__ import annotations

import os
from math import nan, sqrt

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length

import simulator
from simulator import DataError
from simulator.report import metrics
from simulator.report.bootstrap import block_length, intervals, resamples
from simulator.report.metrics import FloatArray
from simulator.report.uncertainty import FIGURES

near = pytest.approx
NIGHTLY = os.environ.get("TRADEWIND_HYPOTHESIS") == "nightly"


def series(seed: int, count: int = 500, memory: float = 0.0, ratio: float = 0.05) -> FloatArray:
    """Fat-tailed returns of 1 % a day, each with *memory* of the one before, whose true Sharpe ratio a day is *ratio*."""
    shocks = np.random.default_rng(seed).standard_t(6, count + 50) / sqrt(1.5)
    values = np.empty(len(shocks))
    values[0] = shocks[0]
    for k in range(1, len(shocks)):
        values[k] = memory * values[k - 1] + shocks[k] * sqrt(1.0 - memory**2)
    return 0.01 * (values[50:] + ratio)


@pytest.mark.parametrize("count", [20, 63, 300, 2520])
@pytest.mark.parametrize("memory", [-0.5, 0.0, 0.2, 0.9, 0.99])
def test_the_block_length_is_archs(count: int, memory: float) -> None:
    r = series(count, count, memory)
    theirs = float(optimal_block_length(r)["stationary"].iloc[0])
    assert block_length(r) == near(max(theirs, 1.0), rel=1e-9)


def test_blocks_are_as_long_as_they_should_be() -> None:
    places = np.arange(1000.0)
    drawn = np.array(list(resamples(places, 200, 8.0, seed=3)))
    assert drawn.shape == (200, 1000)
    follows = (drawn[:, 1:] - drawn[:, :-1]) % 1000 == 1
    assert np.mean(~follows) == near(1 / 8 * 999 / 1000, rel=0.03)
    assert np.bincount(drawn.astype(int).ravel(), minlength=1000) == near(200, rel=0.5)


def test_the_interval_is_archs_but_for_chance() -> None:
    r = series(5, 800, 0.3)
    ours = intervals(r, seed=1, figures=("sharpe",), count=2000, block=6.0).figures["sharpe"]
    theirs = StationaryBootstrap(6.0, r, seed=np.random.default_rng(2)).conf_int(metrics.sharpe, 1000, method="percentile", size=0.9).ravel()
    assert [ours.low, ours.high] == near(theirs, abs=0.1 * (ours.high - ours.low))


def test_the_same_seed_gives_the_same_interval() -> None:
    r = series(1)
    assert intervals(r, 7, count=100).figures == intervals(r, 7, count=100).figures != intervals(r, 8, count=100).figures
    assert list(intervals(r, 7, count=10).figures) == list(FIGURES)


def test_an_interval_has_the_metric_between_its_ends() -> None:
    r = series(2)
    for name, figure in intervals(r, 3, periods=365).figures.items():
        assert figure.chosen == getattr(metrics, name)(r, periods=365)
        assert figure.low < figure.high


def test_a_wider_level_is_a_wider_interval() -> None:
    r = series(2)
    narrow, wide = (intervals(r, 3, level=level).figures["sharpe"] for level in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_band_ends_where_the_return_does() -> None:
    found = intervals(series(4), 5)
    total = found.figures["cumulative_return"]
    assert (found.low[-1] - 1.0, found.high[-1] - 1.0) == near((total.low, total.high))
    assert found.at[0] == 0
    assert found.at[-1] == 499
    assert (found.low < found.high).all()


@pytest.mark.parametrize(("count", "memory"), [(250, 0.0), *([(1000, 0.2), (2520, 0.0)] if NIGHTLY else [])])
def test_nine_in_ten_intervals_hold_the_true_sharpe_ratio(count: int, memory: float) -> None:
    """At night over more series: of 200 an exact interval may hold 6 % too few or too many by chance."""
    many, held = 1000 if NIGHTLY else 200, 0
    for seed in range(many):
        found = intervals(series(seed, count, memory), seed, figures=("sharpe",), count=300 if NIGHTLY else 200).figures["sharpe"]
        held += found.low <= 0.05 * sqrt(252) <= found.high
    assert 0.85 <= held / many <= 0.95


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        ([], "there are no returns"),
        ([0.01, nan] * 20, "return 1 is nan"),
        ([0.01, 0.02], "it needs at least 20 returns to resample, and there are 2"),
        ([0.01] * 30, "the returns do not vary"),
    ],
)
def test_what_cannot_be_resampled_says_why(returns: list[float], reason: str) -> None:
    found = intervals(returns)
    assert (found.reason, found.figures, len(found.at)) == (reason, {}, 0)


def test_losing_everything_is_within_the_interval() -> None:
    r = series(1, 60)
    r[30] = -1.0
    found = intervals(r).figures
    assert found["cumulative_return"].low == found["max_drawdown"].low == -1.0


def test_impossible_choices_are_refused() -> None:
    for choice, said in (
        ({"level": 1.0}, "level must be in"),
        ({"count": 0}, "count must be at least 1"),
        ({"block": 0.5}, "block must be at least 1"),
    ):
        with pytest.raises(DataError, match=said):
            intervals(series(1), **choice)  # type: ignore[arg-type]


def test_a_run_has_the_intervals_of_its_own_seed() -> None:
    one, same, other = (simulator.run(simulator.load("walks", [f"seed={seed}", "feed.bars=300"])).intervals for seed in (1, 1, 2))
    assert one.figures == same.figures != other.figures
