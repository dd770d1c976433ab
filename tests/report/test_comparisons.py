"""Runs side by side, from their folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import simulator
from simulator import Result, SimulatorError, scenarios
from simulator.cli import app
from simulator.report import comparisons, folders

WALKS = '[feed]\nkind = "walks"\nbars = {bars}\nsymbols = ["A", "B"]\n[strategy]\nname = "{name}"\n'


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Result]]:
    """Three runs of one market: held, in and out, and held for fewer sessions."""
    place = tmp_path_factory.mktemp("runs")
    made = {}
    for name, strategy, bars, more in (
        ("held", "buy_and_hold", 120, []),
        ("moved", "momentum", 120, ["strategy.lookback=10", "strategy.top=1", "strategy.every=5"]),
        ("short", "buy_and_hold", 80, []),
    ):
        (place / f"{name}.toml").write_text(WALKS.format(bars=bars, name=strategy))
        result = simulator.run(scenarios.load(place / f"{name}.toml", more))
        folders.write(result, place / name)
        made[name] = place / name, result
    return made


def of(kept: dict[str, tuple[Path, Result]], *names: str) -> comparisons.Comparison:
    return comparisons.compare([kept[name][0] for name in names])


def test_wealth_and_correlations_are_those_of_the_runs(kept: dict[str, tuple[Path, Result]]) -> None:
    found = of(kept, "held", "moved")
    held, moved = (kept[name][1] for name in ("held", "moved"))
    assert found.wealth[-1] == pytest.approx([held.equity[-1] / 1e6, moved.equity[-1] / 1e6])
    returns = [np.diff(np.concatenate(([1e6], x.equity))) / np.concatenate(([1e6], x.equity[:-1])) for x in (held, moved)]
    assert found.correlations == pytest.approx(np.corrcoef(returns))


def test_only_sessions_that_all_have_are_compared(kept: dict[str, tuple[Path, Result]]) -> None:
    found = of(kept, "held", "short")
    assert len(found.days) == 80
    assert found.correlations[0, 1] == pytest.approx(1.0), "the same strategy in the same market"
    assert found.wealth[-1, 0] == pytest.approx(kept["held"][1].equity[79] / 1e6)


def test_later_runs_are_rebased_at_the_close_before(tmp_path: Path, kept: dict[str, tuple[Path, Result]]) -> None:
    (tmp_path / "late.toml").write_text(WALKS.format(bars=30, name="buy_and_hold").replace('"walks"', '"walks"\nstart = 2020-03-02'))
    late = simulator.run(scenarios.load(tmp_path / "late.toml"))
    folders.write(late, tmp_path / "late")
    found = comparisons.compare([kept["held"][0], tmp_path / "late"])
    held = kept["held"][1]
    first = int(np.searchsorted(held.tape.sessions[:120], found.days[0]))
    assert found.wealth[0].tolist() == [1.0, 1.0]
    assert found.wealth[1, 0] == pytest.approx(held.equity[first] / (held.equity[first - 1] if first else 1e6))


def test_the_page_has_no_script_and_every_run(kept: dict[str, tuple[Path, Result]]) -> None:
    page = comparisons.page(of(kept, "held", "moved", "short"))
    assert "<script" not in page
    assert page.count("<path") >= 6
    assert all(f'scope="col">{name}</th>' in page for name in kept)


def test_the_command_shows_it_in_three_ways(kept: dict[str, tuple[Path, Result]], tmp_path: Path) -> None:
    folders = [str(kept[name][0]) for name in ("held", "moved")]
    text, md, plain = (CliRunner().invoke(app, ["compare", *folders, "--format", how]).stdout for how in ("text", "md", "json"))
    assert "Sharpe ratio" in text
    assert "correlation of session returns" in text
    assert md.startswith("**runs**\n\n|  | held | moved |\n| --- | ---: | ---: |\n")
    facts = json.loads(plain)
    assert [run["name"] for run in facts["runs"]] == ["held", "moved"]
    assert facts["runs"][1]["equity"] == kept["moved"][1].equity[-1]
    assert facts["correlations"][0][1] == facts["correlations"][1][0]
    shown = CliRunner().invoke(app, ["compare", *folders, "--out", str(tmp_path / "both.html")])
    assert shown.exit_code == 0
    assert (tmp_path / "both.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("names", "words"), [(["held"], "compare needs at least 2 run folders, was given 1"), (["held", "nowhere"], "nowhere is no run folder")]
)
def test_what_cannot_be_compared_is_refused(kept: dict[str, tuple[Path, Result]], names: list[str], words: str) -> None:
    place = kept["held"][0].parent
    with pytest.raises(SimulatorError, match=words):
        comparisons.compare([place / name for name in names])


def test_two_folders_of_one_name_are_told_by_their_paths(kept: dict[str, tuple[Path, Result]]) -> None:
    folder = kept["held"][0]
    assert [run.name for run in comparisons.compare([folder, folder]).runs] == [str(folder)] * 2
