"""Each way of looking ahead is caught by bytes that differ, and its causal twin passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from leaks import TWINS

from simulator import Result, Tape, load, prove, simulate
from simulator.feeds.synthetic import Walks
from simulator.loop.prover import FUTURES, Certificate, examine, trial


@pytest.fixture(scope="module")
def walk() -> Tape:
    return Walks(bars=120, symbols=("A",)).load(seed=5, folder=Path())


def proof(strategy: type, tape: Tape, points: int = 8) -> Certificate:
    def run(tape: Tape, bars: int | None) -> Result:
        return simulate(tape, strategy(), bars=bars)

    return examine(strategy.__name__, run, tape, points=points, seed=5)


@pytest.mark.parametrize("leak", TWINS, ids=lambda leak: leak.__name__)
def test_a_strategy_that_looks_ahead_is_caught_by_what_it_did_before(leak: Any, walk: Tape) -> None:
    certificate = proof(leak, walk)
    assert not certificate.passed
    assert any(" differs: " in failure for failure in certificate.failures), certificate.words()


@pytest.mark.parametrize("twin", TWINS.values(), ids=lambda twin: twin.__name__)
def test_its_causal_twin_passes(twin: Any, walk: Tape) -> None:
    certificate = proof(twin, walk)
    assert certificate.passed, certificate.words()
    assert certificate.rows > 40


@pytest.mark.parametrize("name", ["ShiftTheWrongWay", "ThroughTheBase", "TomorrowsOpen"])
def test_one_bar_is_enough_and_is_named(name: str, walk: Tape) -> None:
    """A decision that knows the next bar and no other is fed by that bar."""
    leak = next(leak for leak in TWINS if leak.__name__ == name)
    certificate = proof(leak, walk)
    assert ", 1 bar later; its closes: A " in certificate.fed_by
    assert certificate.fed_by in certificate.words()


def test_a_whole_sample_is_fed_by_its_last_bars(walk: Tape) -> None:
    leak = next(leak for leak in TWINS if leak.__name__ == "FullSampleZScore")
    certificate = proof(leak, walk, points=4)
    ahead = int(certificate.fed_by.split(", ")[1].split()[0])
    assert ahead > 10


def test_what_is_drawn_in_one_way_of_replacing_is_caught_by_its_mirror(walk: Tape) -> None:
    """Tomorrow's direction: of the noise and its mirror, one goes the other way."""
    leak = next(leak for leak in TWINS if leak.__name__ == "ShiftTheWrongWay")

    def run(tape: Tape, bars: int | None) -> Result:
        return simulate(tape, leak(), bars=bars)

    base = run(walk, None)
    for bar in (30, 50, 70, 90):
        caught = [trial(run, walk, base, bar, future, 5) is not None for future in ("noise", "mirrored noise")]
        assert any(caught), bar


def test_futures_leave_the_past_alone_and_are_valid_bars(walk: Tape) -> None:
    for name, future in FUTURES.items():
        other = future(walk, 60, 1)
        n = len(other)
        assert other.close[:61].tobytes() == walk.close[:61].tobytes(), name
        assert other.digest() != walk.digest(), name
        assert n == (61 if name == "cut off" else 120) or name == "with bars missing"
        assert (other.low[:n] <= other.close[:n]).all()
        assert (other.close[:n] <= other.high[:n]).all()
        assert n == 61 or other.close[61, 0] != walk.close[61, 0]


def test_the_same_proof_twice_is_the_same(tmp_path: Path) -> None:
    scenario = load("walks", ["feed.bars=200"])
    assert prove(scenario, points=3) == prove(scenario, points=3)
