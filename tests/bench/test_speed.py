"""The benchmarks, and quick tests that what they run is right.

The timed ones have the marker `bench` and run on request (`pytest -m bench`); they assert results, never times, since machines are noisy. For times
against targets see compare.py.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import CHECKSUMS, COMPILED, LARGE_WORK, ORDERS, RESTING, W1, W2, W3, WORKS, checksum, minute_bars, panel

from simulator import intervals
from simulator.loop.journal import FILL, ORDER, REFUSED

# Correctness: quick, in every run of the tests.


def test_the_minute_bars_are_those_of_the_published_baseline() -> None:
    assert checksum(minute_bars(100_000)) == CHECKSUMS["minute 100000"]


def test_the_panel_is_that_of_the_published_baseline() -> None:
    assert checksum(panel()) == CHECKSUMS["panel 2520 x 500"]


def test_one_share_on_moving_averages_ends_where_six_other_engines_do() -> None:
    """W1 on 100,000 bars: backtrader, backtesting.py, vectorbt, bt, pybroker and zipline agree to 1e-6."""
    assert round(float(WORKS[W1].run().equity[-1]), 6) == 9801.241187


@pytest.mark.parametrize("name", [COMPILED, W3])
def test_compiled_runs_end_where_the_loop_and_the_peers_do(name: str) -> None:
    """W3 is the sum of 100 backtests, as vectorbt has it to 4 digits."""
    WORKS[name].run()


def test_a_panel_rebalanced_daily_ends_where_pybroker_does() -> None:
    """W2 in whole lots, sized at a close and filled at the next open."""
    assert round(float(WORKS[W2].run().equity[-1]), 2) == 16_850_242.06


@pytest.mark.parametrize("name", [ORDERS, RESTING])
def test_the_order_path_does_what_it_is_timed_for(name: str) -> None:
    """Every order of the one trades, and none of the other's."""
    result = WORKS[name].run()
    kinds = result.journal_table()["kind"]
    sent, filled, refused = (int((kinds == kind).sum()) for kind in (ORDER, FILL, REFUSED))
    assert (sent, filled, refused) == ((100_000, 99_999, 0) if name == ORDERS else (10, 0, 0))


# Times: on request.


@pytest.mark.bench
def test_the_long_minute_bars_are_those_of_the_published_baseline() -> None:
    assert checksum(minute_bars(1_000_000)) == CHECKSUMS["minute 1000000"]


@pytest.mark.bench
@pytest.mark.parametrize("name", WORKS)
def test_speed(name: str, benchmark: BenchmarkFixture) -> None:
    """Work.run asserts the equity that a work must end with."""
    work = WORKS[name]
    tape = work.tape()
    benchmark.extra_info["bars"] = len(tape) * tape.width
    result = benchmark.pedantic(work.run, (tape,), rounds=3, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert len(result.equity) == len(tape)


@pytest.mark.bench
@pytest.mark.skipif(os.environ.get("TRADEWIND_HYPOTHESIS") != "nightly", reason="5,000 symbols are for the nightly run")
def test_speed_of_a_large_panel(benchmark: BenchmarkFixture) -> None:
    tape = LARGE_WORK.tape()
    result = benchmark.pedantic(LARGE_WORK.run, (tape,), rounds=2, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert len(result.equity) == len(tape)
    assert len(result.journal_table()) > 1_000_000


@pytest.mark.bench
def test_speed_of_intervals_over_ten_years(benchmark: BenchmarkFixture) -> None:
    returns = np.random.default_rng(1).standard_normal(2_520) * 0.01
    found = benchmark.pedantic(intervals, (returns,), rounds=3, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert found.figures["sharpe"].low < found.figures["sharpe"].high
