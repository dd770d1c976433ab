"""Walking forward: folds, what they choose, and that the future has no part in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sweeping import scenario
from typer.testing import CliRunner

import simulator
from simulator import sweeps, walking
from simulator.cli import app
from simulator.desks import Span
from simulator.errors import ScenarioError
from simulator.report import ledger, metrics, walks

SETTINGS = sweeps.grid([sweeps.axis("strategy.fast=3,5,8"), sweeps.axis("strategy.slow=15,25")])
CUT = walking.Folds(100, 60, 5)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return scenario(tmp_path)


def test_folds_follow_one_another_and_the_last_may_be_shorter() -> None:
    assert CUT.spans(300) == [
        (Span(0, 0, 100), Span(0, 105, 165)),
        (Span(60, 60, 160), Span(60, 165, 225)),
        (Span(120, 120, 220), Span(120, 225, 285)),
        (Span(180, 180, 280), Span(180, 285, 300)),
    ]
    with pytest.raises(ScenarioError, match="more than 105 sessions, to train and to purge, and there are 105"):
        CUT.spans(105)


@pytest.mark.parametrize(
    ("text", "purge", "reason"), [("100", 0, "TRAIN:TEST"), ("0:5", 0, "TRAIN:TEST"), ("1:5", 0, "at least 2"), ("9:5", -1, "--purge")]
)
def test_what_is_no_fold_is_refused(text: str, purge: int, reason: str) -> None:
    with pytest.raises(ScenarioError, match=reason):
        walking.folds(text, purge)


def test_each_fold_trades_what_was_best_before_it(source: Path) -> None:
    """The same by hand: a run of each setting over the train sessions, and one of the best over all of the fold."""
    walk = walking.walk_forward(source, SETTINGS, CUT)
    assert (walk.done, walk.planned, len(walk.folds)) == (28, 28, 4)
    tape = simulator.load(source)
    whole = simulator.run(tape).tape
    fold = walk.folds[1]
    by_hand = {}
    for settings in SETTINGS:
        part = whole.like(*(column[60:160] for column in (whole.open, whole.high, whole.low, whole.close, whole.volume)), kept=np.arange(60, 160))
        result = simulator.run(simulator.load(source, settings), tape=part)
        by_hand[settings] = metrics.sharpe(np.diff(np.append(100_000.0, result.equity)) / np.append(100_000.0, result.equity[:-1]))
    assert fold.chosen is not None
    assert fold.chosen.settings == max(by_hand, key=lambda settings: by_hand[settings])
    assert fold.chosen.figures["sharpe"] == pytest.approx(by_hand[fold.chosen.settings], rel=1e-9)
    part = whole.like(*(column[60:225] for column in (whole.open, whole.high, whole.low, whole.close, whole.volume)), kept=np.arange(60, 225))
    equity = simulator.run(simulator.load(source, fold.chosen.settings), tape=part).equity
    assert fold.trial is not None
    assert np.array_equal(fold.trial.returns, equity[105:] / equity[104:-1] - 1.0)
    assert np.array_equal(walk.returns[60:120], fold.trial.returns)
    assert walk.sessions.tolist() == whole.sessions[105:].tolist()


def test_a_walk_goes_on_where_it_stopped_and_is_the_same_for_any_number_of_workers(source: Path, tmp_path: Path) -> None:
    plan = walking.plan_text(sweeps.plan_text(source, (), SETTINGS), CUT)

    def stop(done: int, total: int) -> None:
        if done == 26:
            raise KeyboardInterrupt

    store = sweeps.Store(tmp_path / "trials.db", plan)
    stopped = walking.walk_forward(source, SETTINGS, CUT, store=store, progress=stop)
    assert len(stopped.folds) == 2
    seen: list[int] = []
    whole = walking.walk_forward(source, SETTINGS, CUT, store=store, workers=2, progress=lambda done, total: seen.append(done))
    store.close()
    assert seen[-1] == 28
    plainly = walking.walk_forward(source, SETTINGS, CUT)
    assert np.array_equal(whole.returns, plainly.returns)
    assert [fold.chosen.settings for fold in whole.folds if fold.chosen] == [fold.chosen.settings for fold in plainly.folds if fold.chosen]
    assert np.array_equal(stopped.returns, plainly.returns[:120])


def test_a_walk_is_one_trial_and_is_kept_with_its_page(source: Path, tmp_path: Path) -> None:
    walk = walking.judge(walking.walk_forward(source, SETTINGS, CUT), source, SETTINGS, CUT)
    assert walk.standing is not None
    assert walk.standing.trials == 1
    (entry,) = ledger.read(tmp_path / ledger.HOME)
    assert entry.settings == "walk-forward 100:60, purge 5, over 6 settings"
    walks.write(walk, tmp_path)
    facts = json.loads((tmp_path / "walk.json").read_text())
    assert [fold["test"] for fold in facts["folds"]] == [[105, 165], [165, 225], [225, 285], [285, 300]]
    assert "Growth of 1, out of sample" in (tmp_path / "walk.html").read_text()
    assert ("trials", "28 of 28, in 4 whole folds") in list(walks.told(walk))


def test_settings_that_change_the_bars_are_refused(source: Path) -> None:
    with pytest.raises(ScenarioError, match="'seed=1' changes the bars"):
        walking.walk_forward(source, [("seed=1",), ("seed=2",)], CUT)


def test_folds_of_which_nothing_can_be_chosen_trade_nothing(source: Path) -> None:
    with pytest.raises(ScenarioError, match="fast must be at least 1 and below slow"):
        walking.walk_forward(source, [("strategy.fast=30", "strategy.slow=20")], CUT)
    walk = walking.walk_forward(source, [("strategy.fast=30", "strategy.slow=200")], CUT)
    assert [fold.chosen for fold in walk.folds] == [None] * 4
    assert not walk.returns.any()


def test_the_command_line_sweeps_walks_and_counts(source: Path, tmp_path: Path) -> None:
    """A sweep is as many trials as it has, a walk one; what opts out is none."""
    grid = ["sweep", str(source), "--set", "strategy.fast=3,5,8", "--set", "strategy.slow=15,25"]
    for more, words in (
        ([], "6 of family moving_average_cross"),
        (["--walk-forward", "100:60", "--purge", "5", "--out", str(tmp_path / "kept")], "7 of family moving_average_cross"),
        (["--no-trial"], "7 of family moving_average_cross. This sweep opted out"),
    ):
        shown = CliRunner().invoke(app, [*grid, *more])
        assert shown.exit_code == 0
        assert words in " ".join(shown.output.split())
    assert (tmp_path / "kept" / "walk.html").exists()
    assert CliRunner().invoke(app, [*grid, "--purge", "5"]).exit_code == 2
    missing = CliRunner().invoke(app, [*grid, "--walk-forward", "400:60"])
    assert "walk-forward needs more than 400 sessions, to train and to purge, and there are 300" in missing.output
