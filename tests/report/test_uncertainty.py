"""The fill interval: what of a result hangs on the paths inside its bars."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator import load, run
from simulator.assembly import uncertainty
from simulator.cli import app

BRACKETS = '''
from dataclasses import dataclass
from simulator import Proposal, View

@dataclass
class Brackets:
    """Buys whenever it is flat, with a profit and a loss to take a little away."""

    width: float = 0.01

    def on_bars(self, view: View) -> Proposal:
        if view.lots[0] or view.open_orders:
            return ()
        price = view.value("close")
        return view.bracket(100, take_profit=price * (1 + self.width), stop_loss=price * (1 - self.width))
'''
SCENARIO = """
title = "Brackets narrower than the bars"
seed = 5

[feed]
kind = "walks"
bars = 300
volatility = 0.4

[strategy]
name = "brackets.py:Brackets"
width = {width}

[broker]
participation = inf
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A scenario whose bars often hold both sides of a bracket."""
    (tmp_path / "brackets.py").write_text(BRACKETS)
    place = tmp_path / "brackets.toml"
    place.write_text(SCENARIO.format(width=0.01))
    return place


def test_the_interval_holds_every_policy_and_the_chosen_run(path: Path) -> None:
    scenario = load(path)
    chosen = run(scenario)
    doubt = uncertainty(scenario, chosen)
    low, final, high = doubt.figures["final_equity"]
    assert final == chosen.equity[-1]
    assert low == min(final, *doubt.equities.values()) < high == max(final, *doubt.equities.values())
    assert doubt.share == pytest.approx((high - low) / abs(final - chosen.cash_start))
    for figure in doubt.figures.values():
        assert figure.low <= figure.chosen <= figure.high


def test_the_ambiguous_trades_are_those_that_another_path_would_change(path: Path) -> None:
    """Of a bar that holds both sides, the pessimistic path takes the loss and the optimistic one the profit: at another price, so both are marked."""
    scenario = load(path)
    chosen = run(scenario)
    doubt = uncertainty(scenario, chosen)
    assert 0 < len(doubt.ambiguous) < len(chosen.fills)
    assert all(fill.quantity == -100 for fill in doubt.ambiguous)
    tape = chosen.tape
    for fill in doubt.ambiguous:
        assert tape.high[fill.bar, 0] / tape.low[fill.bar, 0] > 1.015


def test_where_nothing_is_unknown_the_interval_is_a_point() -> None:
    scenario = load("trend")
    doubt = uncertainty(scenario, run(scenario))
    assert doubt.figures["final_equity"].low == doubt.figures["final_equity"].high
    assert doubt.share == 0.0
    assert doubt.ambiguous == ()


def test_without_a_profit_the_share_is_undefined() -> None:
    scenario = load("trend", ["risk.gross_max=1e-9"])
    doubt = uncertainty(scenario, run(scenario))
    assert isnan(doubt.share)
    assert doubt.plain()["ambiguous_share"] is None


def test_the_command_shows_it_and_the_run_folder_keeps_it(path: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", str(path), "--uncertainty", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "fill interval" in done.stdout
    assert "ambiguous" in done.stdout
    kept = json.loads((tmp_path / "out" / "uncertainty.json").read_text())
    assert kept["figures"]["final_equity"]["low"] < kept["figures"]["final_equity"]["high"]
    assert len(kept["ambiguous_fills"]) > 0
