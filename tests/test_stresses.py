"""A scenario under stress: the set of runs, the crises in its history, what is kept and what is shown."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import simulator
from simulator import DAY, Instrument, Tape, scenarios, stresses
from simulator.cli import app
from simulator.feeds.stress import Stress
from simulator.report import stresses as reports
from simulator.scenarios import Scenario

MINE = """
[feed]
kind = "walks"
bars = 200
symbols = ["A", "B"]
volume = 20_000.0
[strategy]
name = "momentum"
lookback = 20
top = 1
every = 5
[account]
cash = 100_000.0
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    (tmp_path / "mine.toml").write_text(MINE)
    return scenarios.load(tmp_path / "mine.toml")


def test_the_plain_run_is_that_of_run(scenario: Scenario) -> None:
    done = stresses.stress_test(scenario, stresses={"as ever": Stress()})
    result = simulator.run(scenario)
    assert done.plain.end == done.runs[1].end == result.equity[-1]
    assert done.plain.fills == len(result.fills)
    assert done.plain.equity[0] == 100_000.0


def test_the_whole_set_runs_and_worse_is_different(scenario: Scenario) -> None:
    done = stresses.stress_test(scenario)
    assert [run.name for run in done.runs] == [stresses.PLAIN, *stresses.STRESSES]
    assert not [run.error for run in done.runs if run.error]
    same = [run.name for run in done.runs[1:] if run.end == done.plain.end]
    assert same in ([], ["borrow squeeze"]), "who sells nothing short borrows nothing"


def test_what_the_scenario_says_is_a_run_of_its_own(scenario: Scenario, tmp_path: Path) -> None:
    mine = scenarios.load(tmp_path / "mine.toml", ["stress.spread=9"])
    done = stresses.stress_test(mine, stresses={"spreads": Stress(spread=9.0)})
    assert [run.name for run in done.runs] == [stresses.PLAIN, stresses.OWN, "spreads"]
    assert done.runs[1].end == done.runs[2].end < done.plain.end


def test_what_cannot_be_run_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('[feed]\nkind = "flat"\n[strategy]\nname = "buy_and_hold"\n[account]\nkind = "cash"\n')
    done = stresses.stress_test(scenarios.load(tmp_path / "one.toml"))
    failed = {run.name: run.error for run in done.runs if run.error}
    assert failed["correlations to one"] == "stress.correlation needs at least 2 instruments, there is FLAT only"
    assert failed["borrow squeeze"] == "a cash account borrows no shares"
    assert "Not run" in reports.page(done)


def test_ctrl_c_keeps_what_is_done(scenario: Scenario) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    done = stresses.stress_test(scenario, progress=stop)
    assert [run.name for run in done.runs] == [stresses.PLAIN, *list(stresses.STRESSES)[:1]]
    assert done.planned == 1 + len(stresses.STRESSES)
    assert "stopped after 2 of" in reports.page(done)


def crisis_tape() -> Tape:
    """A price that falls by a quarter in the crash of 2008, and is the same before and after."""
    days = np.arange(np.datetime64("2008-08-01"), np.datetime64("2009-06-01")).astype(np.int64)
    first, last = (np.datetime64(day).astype(np.int64) for day in ("2008-09-12", "2009-03-09"))
    close = np.interp(days, [first, last], [100.0, 75.0])
    return Tape.of([Instrument("X", tick="0")], (days + 1) * DAY, close, close, close, close, interval=DAY)


def test_a_crisis_is_its_own_days_of_the_plain_run(tmp_path: Path) -> None:
    (tmp_path / "held.toml").write_text('[feed]\nkind = "flat"\n[strategy]\nname = "buy_and_hold"\n[broker.slippage]\nmodel = "none"\n')
    done = stresses.stress_test(scenarios.load(tmp_path / "held.toml"), crisis_tape(), stresses={})
    (lehman,) = done.crises
    assert lehman.name == "Lehman"
    assert lehman.returned.value == pytest.approx(-0.25, abs=1e-3)
    assert lehman.drawdown.value == pytest.approx(-0.25, abs=1e-3)
    assert lehman.fills == 0
    assert done.plain.fills == 1
    assert lehman.end == pytest.approx(done.plain.end)


def test_the_command_shows_and_keeps_it(scenario: Scenario, tmp_path: Path) -> None:
    source, out = str(tmp_path / "mine.toml"), tmp_path / "stressed"
    shown = CliRunner().invoke(app, ["stress", source, "--out", str(out), "--format", "json"])
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert json.loads((out / "stress.json").read_text()) == facts
    assert [run["name"] for run in facts["runs"]] == [stresses.PLAIN, *stresses.STRESSES]
    page = (out / "stress.html").read_text()
    assert page.count("<figure>") == len(stresses.STRESSES)
    assert "<script" not in page
    assert not (tmp_path / ".tradewind").exists(), "it is no trial"
