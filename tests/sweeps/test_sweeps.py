"""Sweeps: grids, and trials that are the runs that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sweeping import scenario, told
from typer.testing import CliRunner

import simulator
from simulator import scenarios, sweeps
from simulator.cli import app
from simulator.errors import DataError, ScenarioError
from simulator.report import deflated, ledger

AHEAD = """
from dataclasses import dataclass
import numpy as np

@dataclass(frozen=True)
class Ahead:
    size: int = 10

    def on_bars(self, view):
        rises = view["close"] > view.history("close", 2)[0] if view.row else np.zeros(len(view.symbols))
        return view.hold(np.where(rises, self.size, 0.0))

    def holdings(self, past):
        close = past["close"]
        return np.where(np.vstack((close[1:], close[-1:])) > close, float(self.size), 0.0)
"""


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("strategy.fast=5:20:5", ("5", "10", "15", "20")),
        ("strategy.fast=5:19:5", ("5", "10", "15")),
        ("broker.slippage.bps=0.1:0.3:0.1", ("0.1", "0.2", "0.3")),
        ("strategy.slow=60, 80,100", ("60", "80", "100")),
        ("strategy.name=momentum", ("momentum",)),
        ('title="a, b"', ('"a, b"',)),
    ],
)
def test_an_axis_is_a_range_a_list_or_a_value(text: str, values: tuple[str, ...]) -> None:
    assert sweeps.axis(text).values == values


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("strategy.fast", "must be key=value"),
        ("strategy.fast=", "must be key=value"),
        ("strategy.fast=9:5:1", "must count up from:to:step"),
        ("strategy.fast=1:5:0", "must count up from:to:step"),
        ("strategy.fast=1:x:1", "must count up from:to:step"),
        ("strategy.fast=1:2000000:1", "at most 1,000,000"),
        ("strategy.fast=1,,2", "different values between its commas"),
        ("strategy.fast=1,1", "different values between its commas"),
    ],
)
def test_what_is_no_axis_is_refused_with_the_way_out(text: str, reason: str) -> None:
    with pytest.raises(ScenarioError, match=reason):
        sweeps.axis(text)


def test_a_grid_has_every_combination_and_a_random_part_of_it_none_twice() -> None:
    axes = [sweeps.axis("a=1,2"), sweeps.axis("b=1:3:1")]
    assert sweeps.grid(axes) == [(f"a={a}", f"b={b}") for a in (1, 2) for b in (1, 2, 3)]
    some = sweeps.grid(axes, count=4, seed=3)
    assert len(set(some)) == 4
    assert set(some) < set(sweeps.grid(axes))
    assert some == sweeps.grid(axes, count=4, seed=3)
    with pytest.raises(ScenarioError, match="a is given twice"):
        sweeps.grid([sweeps.axis("a=1"), sweeps.axis("a=2")])


def test_a_trial_is_the_run_with_its_settings(tmp_path: Path) -> None:
    """Compiled or by the loop; one that cannot be built is listed, with why."""
    source = scenario(tmp_path)
    settings = sweeps.grid([sweeps.axis("strategy.fast=5,10,30"), sweeps.axis("strategy.slow=20")])
    done = sweeps.sweep(source, settings)
    assert [trial.compiled for trial in done.trials] == [True, True, False]
    assert [trial.number for trial in done.failed] == [2]
    assert "fast must be at least 1 and below slow, were 30 and 20" in done.failed[0].error
    for trial in done.trials[:2]:
        result = simulator.run(simulator.load(source, trial.settings))
        assert trial.figures["final_equity"] == result.equity[-1]
        assert trial.figures["fills"] == len(result.fills)
    assert done.best is not None
    assert done.best.figures["sharpe"] == max(trial.figures["sharpe"] for trial in done.trials[:2])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_trials_that_fail_are_listed_by_kind_wherever_they_stand_in_the_grid(tmp_path: Path, workers: str) -> None:
    """The first five of the grid cannot be built, and a table of numbers is one."""
    given = ["sweep", str(scenario(tmp_path)), "--set", "strategy.fast=30,5", "--set", "strategy.slow=10:30:5", "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, [*given, "--workers", workers])
    words = " ".join(shown.output.split())
    assert shown.exit_code == 0
    assert "10 of 10, 5 of them compiled, 5 failed" in words
    assert "were 30 and 10 (5 trials, such as strategy.fast=30, strategy.slow=10)" in words
    table = pd.read_parquet(tmp_path / "out" / "trials.parquet")
    assert table.loc[table["error"] == "", "strategy.slow"].tolist() == [10, 15, 20, 25, 30]
    assert "<h1>Sweep of small</h1>" in (tmp_path / "out" / "sweep.html").read_text()


def test_a_sweep_of_nothing_and_one_in_which_nothing_can_be_built_are_refused(tmp_path: Path) -> None:
    source = str(scenario(tmp_path))
    for more, reason in (
        ([], "sweep needs something to vary: give --set KEY=VALUES"),
        (["--set", "strategy.fst=3,5"], "no such key 'fst'; did you mean 'fast'"),
        (["--set", "strategy.fast=30,40", "--set", "strategy.slow=20"], "fast must be at least 1 and below slow, were 30 and 20"),
    ):
        shown = CliRunner().invoke(app, ["sweep", source, *more])
        assert shown.exit_code == 2
        assert reason in " ".join(shown.output.split())


@pytest.mark.parametrize("name", ["momentum", "buy_and_hold"])
def test_processes_give_the_same_trials(tmp_path: Path, name: str) -> None:
    source = scenario(tmp_path, name)
    settings = sweeps.grid([sweeps.axis("broker.slippage.bps=0:10:2"), sweeps.axis("seed=1,2")])
    alone, shared = (sweeps.sweep(source, settings, workers=workers) for workers in (1, 2))
    assert told(alone.trials) == told(shared.trials)
    assert all(trial.compiled == (name == "momentum") for trial in alone.trials)


def test_arrays_that_look_ahead_are_found_out_by_the_first_trial(tmp_path: Path) -> None:
    (tmp_path / "ahead.py").write_text(AHEAD)
    source = scenario(tmp_path, "ahead.py:Ahead")
    with pytest.raises(sweeps.DisagreementError, match=r"Ahead.holdings does not say what on_bars does: fill 1 of the loop is .* lots of "):
        sweeps.sweep(source, sweeps.grid([sweeps.axis("strategy.size=10,20")]))


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    source = scenario(tmp_path)
    settings = sweeps.grid([sweeps.axis("strategy.fast=5,8,10"), sweeps.axis("strategy.slow=20,40")])
    plan = sweeps.plan_text(source, (), settings)
    seen: list[int] = []

    def stop_after_two(done: int, total: int) -> None:
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    store = sweeps.Store(tmp_path / "trials.db", plan)
    first = sweeps.sweep(source, settings, store=store, progress=stop_after_two)
    store.close()
    assert [trial.number for trial in first.trials] == [0, 1]
    store = sweeps.Store(tmp_path / "trials.db", plan)
    whole = sweeps.sweep(source, settings, store=store, progress=lambda done, total: seen.append(done))
    assert seen == [1, 2, 3, 4, 5, 6]
    plainly = sweeps.sweep(source, settings)
    assert [(trial.settings, trial.figures) for trial in whole.trials] == [(trial.settings, trial.figures) for trial in plainly.trials]
    store.close()
    with pytest.raises(DataError, match="holds another sweep"):
        sweeps.Store(tmp_path / "trials.db", plan + "other")
    (tmp_path / "no.db").write_text("not a database at all, and long enough to be looked at")
    with pytest.raises(DataError, match="not the file of a sweep"):
        sweeps.Store(tmp_path / "no.db", plan)


def test_a_sweep_goes_by_a_metric_that_there_is(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such metric 'sharp'; did you mean 'sharpe'"):
        sweeps.sweep(scenario(tmp_path), [()], metric="sharp")
    with pytest.raises(ScenarioError, match="workers must be at least 1, was 0"):
        sweeps.sweep(scenario(tmp_path), [()], workers=0)


@pytest.mark.parametrize(
    ("overrides", "compiled"),
    [
        ([], True),
        (["financing.debit=0.06"], True),
        (["financing.credit=0.01"], True),
        (["financing.debit=0.06", "account.kind=cash"], True),
        (["margin.maintenance_long=1.0"], False),
    ],
)
def test_a_trial_that_owes_something_runs_compiled_until_it_is_called_for_margin(tmp_path: Path, overrides: list[str], compiled: bool) -> None:
    """A purchase for all of equity overdraws the account where it fills above the close."""
    source, settings = scenario(tmp_path, "moving_average_cross"), ("strategy.fast=5", "strategy.slow=20")
    (trial,) = sweeps.sweep(source, [settings], overrides=overrides).trials
    assert trial.compiled == compiled
    assert trial.figures["final_equity"] == simulator.run(simulator.load(source, [*overrides, *settings])).equity[-1]


def test_the_trials_of_a_sweep_are_those_of_its_runs(tmp_path: Path) -> None:
    """The ledger knows a run by what was decided, the bars and the returns: to run one again adds none."""
    source = scenario(tmp_path)
    settings = sweeps.grid([sweeps.axis("strategy.fast=5,8,10"), sweeps.axis("strategy.slow=20,40")])
    done = sweeps.judge(sweeps.sweep(source, settings), source)
    assert done.standing is not None
    assert (done.standing.trials, done.standing.why_not) == (6, "")
    result = simulator.run(simulator.load(source, settings[3]))
    assert ledger.take(result).trials == 6
    assert not isinstance(done.overfit, str)
    assert done.overfit.pbo == deflated.pbo(np.column_stack([trial.returns for trial in done.trials]))


def test_a_sweep_that_opted_out_still_counts_for_its_best(tmp_path: Path) -> None:
    source = scenario(tmp_path)
    done = sweeps.judge(sweeps.sweep(source, sweeps.grid([sweeps.axis("strategy.fast=5,8,10")])), source, counted=False)
    assert done.standing is not None
    assert (done.standing.trials, done.standing.opted_out) == (3, 0)
    assert "opted out" in done.standing.why_not
    assert [entry.counted for entry in ledger.read(tmp_path / ledger.HOME)] == [False] * 3


def test_a_scenario_is_varied_as_it_would_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "ahead.py").write_text(AHEAD)
    for name, before, after in (
        ("moving_average_cross", ["strategy.fast=5"], ["strategy.fast=7", "strategy.slow=30"]),
        ("ahead.py:Ahead", ["strategy.size=5"], ["strategy.size=3"]),
    ):
        source = scenario(tmp_path, name)
        varied, loaded = scenarios.vary(simulator.load(source, before), after), simulator.load(source, [*before, *after])
        assert varied == loaded
        assert varied.text == loaded.text
