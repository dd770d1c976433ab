"""The trial ledger: every run counts once, nobody can take one back, and the more there are the less the best proves."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import chdir, closing
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from simulator import SimulatorError, load, run
from simulator.cli import app
from simulator.report import ledger
from simulator.report.deflated import expected_best
from simulator.report.ledger import HOME, Trial

SCENARIO = """
title = "Which pair of averages"
seed = 4

[feed]
kind = "walks"
bars = 300

[strategy]
name = "moving_average_cross"
fast = 5
slow = 20
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A scenario in a project of its own."""
    place = tmp_path / "project" / "averages.toml"
    place.parent.mkdir()
    place.write_text(SCENARIO)
    return place


def shown(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def ran(path: Path, *more: str) -> str:
    done = shown("run", str(path), *more)
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def said(text: str) -> tuple[int, float]:
    """The trials and the DSR that a run printed."""
    found = re.search(r"trials (\d+) of family moving_average_cross.*?DSR ([\d.]+)", text)
    assert found, text
    return int(found[1]), float(found[2])


def trial(k: int, family: str = "mine", sharpe: float = 0.05) -> Trial:
    return Trial(family, f"{k}", True, "s", "fast 1", "run", sharpe, 250, 252)


def test_one_more_trial_changes_the_printed_dsr(path: Path) -> None:
    ran(path)
    ran(path, "--set", "strategy.fast=4")
    before, dsr = said(ran(path))
    ran(path, "--set", "strategy.fast=10")
    after, deflated = said(ran(path))
    assert (before, after) == (2, 3)
    assert dsr != deflated


def test_the_printed_numbers_are_those_of_the_ledger(path: Path) -> None:
    for fast in (3, 4, 6, 8):
        ran(path, "--set", f"strategy.fast={fast}")
    trials = ledger.read(path.parent / HOME)
    sharpes = np.array([each.sharpe for each in trials])
    assert len(trials) == 4
    found = ledger.count(trials, "moving_average_cross")
    assert found == (4, 0, np.var(sharpes, ddof=1))
    result = run(load(path, ["strategy.fast=8"]))
    standing = ledger.standing(result, trials)
    assert (standing.trials, standing.bar) == (4, expected_best(4, float(np.var(sharpes, ddof=1))))
    assert ledger.trial_of(result)._replace(run="") == trials[-1]._replace(run="")


def test_the_same_run_once_more_is_no_trial_and_neither_is_another_title(path: Path) -> None:
    ran(path)
    ran(path)
    ran(path, "--set", "title=Better")
    ran(path, "--check")
    assert len(ledger.read(path.parent / HOME)) == 1
    ran(path, "--set", "seed=5")
    assert len(ledger.read(path.parent / HOME)) == 2


def test_checking_proving_and_rehearsing_are_no_trials(path: Path, tmp_path: Path) -> None:
    for arguments in (["check"], ["prove", "--points=2"], ["rehearse", "--speed=inf", f"--journal={tmp_path / 'journal'}"]):
        done = shown(arguments[0], str(path), *arguments[1:])
        assert done.exit_code == 0, done.output
    assert not (path.parent / HOME).exists()


def test_the_runs_of_a_fill_interval_are_one_trial(path: Path) -> None:
    ran(path, "--uncertainty")
    assert len(ledger.read(path.parent / HOME)) == 1


def test_opting_out_is_written_down(path: Path) -> None:
    ran(path)
    text = ran(path, "--no-trial", "--set", "strategy.fast=7")
    assert "This one opted out, and is counted here alone" in text
    assert said(text)[0] == 2, "for itself it is one more"
    trials = ledger.read(path.parent / HOME)
    assert [each.counted for each in trials] == [True, False]
    assert "1 of family moving_average_cross, and 1 that opted out" in ran(path)
    ran(path, "--set", "strategy.fast=7")
    assert ledger.count(ledger.read(path.parent / HOME), "moving_average_cross")[:2] == (2, 0)


def test_what_was_counted_cannot_opt_out(path: Path) -> None:
    ran(path)
    assert "opted out" not in ran(path, "--no-trial")
    assert [each.counted for each in ledger.read(path.parent / HOME)] == [True]


def test_nothing_is_changed_or_deleted(tmp_path: Path) -> None:
    place = tmp_path / HOME
    ledger.record(place, [trial(1)])
    with closing(sqlite3.connect(place)) as file:
        for sql in ("UPDATE trials SET counted = 0", "DELETE FROM trials"):
            with pytest.raises(sqlite3.IntegrityError, match="trials are only ever added"):
                file.execute(sql)
    assert ledger.read(place) == [trial(1)]


def test_a_sweep_writes_all_of_its_configurations_at_once(tmp_path: Path, path: Path) -> None:
    scenario = load(path)
    draw = np.random.default_rng(1)
    made = [ledger.trial(load(path, [f"strategy.fast={fast}"]), "tape", draw.normal(0.0, 0.01, 100), 252) for fast in (3, 4, 5)]
    ledger.record(ledger.place_of(scenario), [*made, made[0]])
    assert ledger.read(path.parent / HOME) == made
    assert made[0].settings.startswith("fast 3")


def test_a_trial_without_a_sharpe_ratio_is_a_trial(tmp_path: Path) -> None:
    place = tmp_path / HOME
    ledger.record(place, [trial(1, sharpe=nan), trial(2)])
    assert isnan(ledger.read(place)[0].sharpe)
    count = ledger.count(ledger.read(place), "mine")
    assert count.trials == 2
    assert isnan(count.variance)


def test_families_are_counted_apart(tmp_path: Path) -> None:
    place = tmp_path / HOME
    ledger.record(place, [trial(1), trial(2, sharpe=0.1), trial(1, "yours")])
    assert [ledger.count(ledger.read(place), name).trials for name in ("mine", "yours", "nobody's")] == [2, 1, 0]


WRITER = """
import sys
from pathlib import Path
from simulator.report.ledger import Trial, record
for k in range(25):
    record(Path(sys.argv[1]), [Trial("mine", f"{name} {k}", True, "s", "", "", 0.1, 250, 252) for name in (sys.argv[2], "both")])
"""


def test_processes_can_write_at_once(tmp_path: Path) -> None:
    place = tmp_path / HOME
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(place), name], stderr=subprocess.PIPE) for name in ("one", "two", "three")]
    for writer in writers:
        assert writer.communicate(timeout=120)[1] == b""
    names = [each.identity for each in ledger.read(place)]
    assert sorted(names) == sorted(f"{name} {k}" for name in ("one", "two", "three", "both") for k in range(25))


# --- Where it lies


def test_the_ledger_lies_beside_the_scenario(path: Path) -> None:
    assert ledger.place_of(load(path)) == ledger.place_of(path) == path.parent / HOME
    ran(path)
    assert sorted(x.name for x in path.parent.iterdir()) == [".tradewind", "averages.toml"]


def test_what_has_no_project_counts_in_the_current_folder(path: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    with chdir(here):
        assert ledger.place_of(load("flat")) == here / HOME
        ran(path, "--out", "kept")
        assert ledger.place_of(here / "kept" / "scenario.toml") == here / HOME
        installed = tmp_path / "lib" / "site-packages" / "theirs" / "idea.toml"
        installed.parent.mkdir(parents=True)
        installed.write_text(SCENARIO)
        assert ledger.place_of(installed) == here / HOME


def test_a_run_is_not_lost_where_the_ledger_cannot_be_written(path: Path) -> None:
    (path.parent / ".tradewind").write_text("in the way")
    text = ran(path)
    assert "It could not be counted: the trial ledger" in text
    assert "final equity" in text


def test_a_file_that_is_no_ledger_is_not_touched(path: Path) -> None:
    place = path.parent / HOME
    place.parent.mkdir()
    with closing(sqlite3.connect(place)) as file:
        file.execute("CREATE TABLE mine (x)")
    with pytest.raises(SimulatorError, match="is no trial ledger of this program"):
        ledger.record(place, [trial(1)])
    with closing(sqlite3.connect(place)) as file:
        assert file.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    place.write_bytes(b"no database" * 1000)
    with pytest.raises(SimulatorError, match="cannot be used: file is not a database"):
        ledger.read(place)


def test_an_interrupted_run_is_no_trial(path: Path) -> None:
    stops = "class Stops:\n    def on_bars(self, view):\n        if view.row == 50:\n            raise KeyboardInterrupt\n        return ()\n"
    (path.parent / "stops.py").write_text(stops)
    done = shown("run", str(path), "--set", "strategy.name=stops.py:Stops")
    assert done.exit_code == 130, done.output
    assert not (path.parent / HOME).exists()


# --- Shown


def test_trials_are_shown_by_family_and_one_by_one(path: Path) -> None:
    for fast in (3, 4):
        ran(path, "--set", f"strategy.fast={fast}")
    ran(path, "--no-trial")
    for place in (str(path), str(path.parent), str(path.parent / HOME)):
        seen = " ".join(shown("trials", place).stdout.split())
        assert re.search(r"moving_average_cross 2 1 -?[\d.]+ -?[\d.]+ [\d.]+ [\d.]+$", seen), seen
    each = " ".join(shown("trials", str(path), "--family", "moving_average_cross").stdout.split())
    assert "1 averages fast 3, slow 20" in each
    assert each.count("opted out") == 1


def test_a_ledger_that_is_not_there_is_a_mistake(tmp_path: Path, path: Path) -> None:
    done = shown("trials", str(tmp_path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"there is no trial ledger at {tmp_path / HOME}" in done.stderr
    ran(path)
    done = shown("trials", str(path), "--family", "moving_average_crss")
    assert "did you mean 'moving_average_cross'?" in done.stderr


def test_the_run_folder_and_the_report_say_how_it_stands(path: Path, tmp_path: Path) -> None:
    ran(path, "--set", "strategy.fast=3")
    printed = ran(path, "--out", str(tmp_path / "out"), "--uncertainty")
    kept = json.loads((tmp_path / "out" / "trials.json").read_text())
    assert (kept["trials"], kept["family"]) == (2, "moving_average_cross")
    assert kept["dsr"] == pytest.approx(said(printed)[1], abs=0.001)
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"2 of family moving_average_cross. PSR {int(kept['psr'] * 1000) / 1000:.3f}, DSR" in page
    assert page.count("Would not survive a second look") == (1 if kept["warning"] else 0)
    assert "Fills from" in page
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary["intervals"]["figures"]) >= {"sharpe", "max_drawdown"}


def test_the_warning_is_printed_where_it_would_not_survive(path: Path) -> None:
    """A walk without drift has no skill to find."""
    text = ran(path, "--set", "feed.drift=0.0")
    assert "warning Would not survive a second look: as the only trial" in text
