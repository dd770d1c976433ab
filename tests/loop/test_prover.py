"""The prover finds strategies that look ahead, and passes those that do not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from simulator import ScenarioError, load, prove
from simulator.assembly import run
from simulator.loop.journal import ROW, MemoryJournal
from simulator.loop.prover import FUTURES, choose, first_difference, with_noise
from simulator.report.results import Result

LEAKY = '''
from dataclasses import dataclass, field
import numpy as np

@dataclass
class Tomorrow:
    """Reads the next close through the base of an array."""
    def on_bars(self, view):
        closes = view.closes(1)
        future = closes if closes.base is None else closes.base
        while future.base is not None and isinstance(future.base, np.ndarray):
            future = future.base
        column = future[3] if future.ndim == 3 else future
        rises = column[view.row + 1, 0] > column[view.row, 0] if view.row + 1 < len(column) else False
        return view.rebalance(np.array([1.0 if rises else 0.0]))

@dataclass
class Yesterday:
    """The causal twin: the same rule on what is known."""
    def on_bars(self, view):
        if view.row == 0:
            return ()
        closes = view.closes(2)
        return view.rebalance(np.array([1.0 if closes[1, 0] > closes[0, 0] else 0.0]))

@dataclass
class WholeSample:
    """Standardises with mean and deviation of the whole history, as a notebook does."""
    def on_bars(self, view):
        tape = view.bars.tape
        everything = tape.close[: len(tape), 0]
        z = (view.value("close") - everything.mean()) / everything.std()
        return view.rebalance(np.array([-np.sign(z) * 0.5]))

@dataclass
class SoFar:
    """The causal twin: mean and deviation of what has closed."""
    def on_bars(self, view):
        if view.row < 20:
            return ()
        closes = view.closes(view.row + 1)[:, 0]
        z = (closes[-1] - closes.mean()) / closes.std()
        return view.rebalance(np.array([-np.sign(z) * 0.5]))

@dataclass
class Length:
    """Knows when the history will end."""
    def on_bars(self, view):
        return [view.order(1)] if view.row == len(view.bars.tape) - 10 else ()
'''


@pytest.fixture
def scenario_of(tmp_path: Path):  # type: ignore[no-untyped-def]  # a small factory
    (tmp_path / "leaky.py").write_text(LEAKY)

    def make(strategy: str, feed: str = 'kind = "walks"\nbars = 120\nsymbols = ["A"]'):  # type: ignore[no-untyped-def]
        path = tmp_path / f"{strategy}.toml"
        path.write_text(f'name = "{strategy}"\nseed = 5\n[feed]\n{feed}\n[strategy]\nname = "leaky.py:{strategy}"\n[account]\nleverage_max = 4.0\n')
        return load(path)

    return make


@pytest.mark.parametrize("strategy", ["Tomorrow", "WholeSample", "Length"])
def test_a_strategy_that_looks_ahead_is_caught(scenario_of, strategy):  # type: ignore[no-untyped-def]
    certificate = prove(scenario_of(strategy), points=8)
    assert not certificate.passed
    assert "LOOKS AHEAD" in certificate.words()
    assert any("differs" in line or "raised" in line for line in certificate.failures)


@pytest.mark.parametrize("strategy", ["Yesterday", "SoFar"])
def test_its_causal_twin_passes(scenario_of, strategy):  # type: ignore[no-untyped-def]
    certificate = prove(scenario_of(strategy), points=8)
    assert certificate.passed, certificate.words()
    assert certificate.trials == len(FUTURES) * len(choose_of(scenario_of(strategy), 8))
    assert certificate.rows > 50


def choose_of(scenario, points):  # type: ignore[no-untyped-def]
    result = run(scenario)
    return choose(result.tape, result.journal_table(), points)


SLOW = {"dotcom_bust": "feed.end=2000-06-30", "lehman": "feed.end=2007-03-30", "regimes": "feed.bars=820", "one_model": "feed.end=1993-03-31"}
"""Those that fit models, and how they end after their first fits. Nightly they run to their own ends."""


@pytest.mark.parametrize("name", ["dotcom_bust", "dotcom_trend", "survivors", "flat", "trend", "jump", "walks", "lehman", "regimes", "one_model"])
def test_every_bundled_scenario_passes(name: str) -> None:
    shorter = [SLOW[name]] if name in SLOW and os.environ.get("TRADEWIND_HYPOTHESIS") != "nightly" else []
    certificate = prove(load(name, shorter), points=2)
    assert certificate.passed, certificate.words()
    assert certificate.rows


def test_a_look_ahead_names_the_first_event_that_differs(scenario_of) -> None:  # type: ignore[no-untyped-def]
    failure = prove(scenario_of("Tomorrow"), points=8).failures[0]
    assert failure.startswith("bar ")
    assert " A at market, GTC (20" in failure or "raised" in failure


def test_noise_leaves_the_past_alone_and_makes_valid_bars_of_the_future(scenario_of) -> None:  # type: ignore[no-untyped-def]
    tape = run(scenario_of("SoFar")).tape
    other = with_noise(tape, 60, seed=1)
    n = len(tape)
    assert tape.close[:61].tobytes() == other.close[:61].tobytes()
    assert (tape.close[61:n] != other.close[61:n]).all()
    assert (other.low[:n] <= np.minimum(other.open[:n], other.close[:n])).all()
    assert (other.high[:n] >= np.maximum(other.open[:n], other.close[:n])).all()
    assert (other.low[:n] > 0).all()


def test_journals_are_compared_up_to_the_moment_and_no_further(scenario_of) -> None:  # type: ignore[no-untyped-def]
    result = run(scenario_of("SoFar"))
    table = result.journal_table()
    changed = table.copy()
    changed["lots"][-1] += 1
    last = int(table["at"][-1])

    def like(rows: np.ndarray) -> Result:
        journal = MemoryJournal()
        journal.rows += rows.tobytes()
        assert len(journal.rows) == len(rows) * ROW.itemsize
        return Result(result.tape, journal, result.cash_start, result.rows)

    assert first_difference(result, like(changed), last - 1) is None
    found = first_difference(result, like(changed), last)
    assert found is not None
    assert found[0] == len(table) - 1
    assert f"row {len(table) - 1} differs" in found[1]
    shorter = first_difference(result, like(table[:-1]), last)
    assert shorter is not None
    assert shorter[1].endswith("became nothing")


def test_too_little_to_cut_is_refused(scenario_of) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ScenarioError, match="2 bars are too few"):
        prove(scenario_of("SoFar", feed='kind = "flat"\nbars = 2'))
    with pytest.raises(ScenarioError, match="at least 1 point, was 0"):
        prove(scenario_of("SoFar"), points=0)
