"""How long the report takes: `pytest -m bench tests/bench/test_report_speed.py`. It is to be at most 3 s and 6 MB."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import Rotates

import simulator
from simulator import DAY, Instrument, Tape
from simulator.report import pages


@pytest.mark.bench
def test_the_report_of_ten_years_of_twenty_instruments(benchmark: BenchmarkFixture) -> None:
    """Each round draws the page of a result of its own, since a result keeps what it has worked out."""
    draw = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(draw.normal(0.0003, 0.012, (2_520, 20)), axis=0))
    tape = Tape.of(
        [Instrument(f"S{k}") for k in range(20)], (10_000 + np.arange(2_520)) * DAY, close, close * 1.01, close * 0.99, close, interval=DAY
    )

    def fresh() -> tuple[tuple[simulator.Result], dict[str, object]]:
        return (simulator.simulate(tape, Rotates()),), {}

    page = benchmark.pedantic(pages.report, setup=fresh, rounds=3, warmup_rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info["megabytes"] = len(page.encode()) / 1e6
    assert len(page.encode()) <= 6_000_000
