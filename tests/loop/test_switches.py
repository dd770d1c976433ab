"""Kill switches: trading stops from outside, goes on from outside, and comes out the same when it is run again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest
from small_markets import QUIET, Script, daily, flat, plain
from typer.testing import CliRunner

from simulator import Account, Limits, Result, View, load
from simulator.assembly import assemble, drive, kill_file, rehearse
from simulator.cli import app
from simulator.loop.clocks import PacedClock
from simulator.loop.journal import HALT, MemoryJournal
from simulator.loop.store import recorded
from simulator.loop.switches import FileSwitch, RecordedSwitch
from simulator.risk.engine import Measure
from simulator.scenarios import Scenario


class Thrown:
    """A switch that is thrown at some bars, counted by how often it was asked."""

    def __init__(self, *bars: int) -> None:
        self.bars, self.asked = bars, -1

    def thrown(self, at: int) -> bool:
        self.asked += 1
        return self.asked in self.bars


def halted(switch: Any, limits: Limits, steps: dict[int, Callable[[View], Any]], *prices: float) -> tuple[Result, list[tuple[int, str]]]:
    """100 shares from the second bar on, out of 1,000 in cash, and what was halted when."""
    tape = daily(QUIET, QUIET, *(flat(price) for price in prices))
    steps = {0: lambda view: [view.order(100)], **steps}
    session, feed = assemble(tape, Script(steps), broker=plain(), account=Account(1000.0, "margin", inf), limits=limits, switch=switch)
    rows = drive(session, feed, len(tape))
    assert isinstance(session.journal, MemoryJournal)
    result = Result(tape, session.journal, 1000.0, rows)
    ats = tape.closed_at.tolist()
    return result, [(ats.index(halt.at), halt.measure) for halt in result.halts]


def one(view: View) -> Any:
    return [view.order(1)]


def test_a_thrown_switch_refuses_what_is_no_exit_and_does_what_the_scenario_says() -> None:
    result, halts = halted(Thrown(2, 3), Limits(on_halt="flatten"), {2: one, 3: one, 4: one}, 10, 10, 10, 10)
    assert halts == [(2, "killed"), (4, "released")]
    assert [str(order.state) for order in result.orders] == ["filled", "rejected", "filled", "rejected", "filled"]
    assert result.positions == {"X": 1}


def test_a_kill_cancels_what_is_open() -> None:
    result, _ = halted(Thrown(2), Limits(), {1: lambda view: [view.order(-50, kind=1, limit=12.0)]}, 10, 12, 12)
    assert [order.reason for order in result.orders] == ["filled", "cancelled on request"]
    assert result.positions == {"X": 100}


def test_no_session_that_passes_ends_a_kill() -> None:
    limits = Limits(daily_loss_max=0.5, resume_after=1, on_halt="freeze")
    _, halts = halted(Thrown(2, 3, 4, 5), limits, {}, 10, 10, 10, 10, 10)
    assert halts == [(2, "killed"), (6, "released")]


def test_a_halt_by_a_limit_outlasts_a_kill() -> None:
    """The drawdown came first, and is final."""
    result, halts = halted(Thrown(3), Limits(drawdown_max=0.1, on_halt="freeze"), {5: one}, 8, 8, 8, 8)
    assert halts == [(2, "drawdown"), (3, "killed"), (4, "released"), (4, "drawdown")]
    assert str(result.orders[-1].state) == "rejected"


def test_a_drawdown_during_a_kill_halts_when_that_ends() -> None:
    _, halts = halted(Thrown(2, 3), Limits(drawdown_max=0.1, on_halt="freeze"), {}, 10, 8, 8, 8)
    assert halts == [(2, "killed"), (4, "released"), (4, "drawdown")]


def test_a_switch_that_nobody_throws_changes_no_byte() -> None:
    with_one, _ = halted(Thrown(), Limits(), {2: one}, 10, 10, 10)
    without, _ = halted(None, Limits(), {2: one}, 10, 10, 10)
    assert with_one.journal.read() == without.journal.read()


def test_a_file_is_a_switch(tmp_path: Path) -> None:
    switch = FileSwitch(tmp_path / "kill")
    assert not switch.thrown(0)
    switch.path.touch()
    assert switch.thrown(1)


def test_a_record_says_when_a_switch_was_thrown() -> None:
    result, _ = halted(Thrown(1, 2), Limits(), {}, 10, 10, 10)
    ats = result.tape.closed_at.tolist()
    switch = RecordedSwitch(result.journal, ats[3], Thrown(0))
    assert [switch.thrown(at) for at in ats] == [False, True, True, False, True]


# --- In rehearsals


class AtBars(PacedClock):
    """A clock that does not wait, and does something before some bars: what happens outside happens then."""

    def __init__(self, doing: dict[int, Callable[[], object]]) -> None:
        super().__init__(inf, 1)
        self.doing, self.bar = doing, -1

    def wait_until(self, at: int) -> None:
        self.bar += 1
        self.doing.get(self.bar, int)()
        super().wait_until(at)


def scenario() -> Scenario:
    return load("walks", ["risk.on_halt=flatten"])


def turns(path: Path) -> list[str]:
    table = recorded(path).journal.table()
    return [Measure(int(row["order"])).name for row in table[table["kind"] == HALT]]


def test_a_rehearsal_that_was_killed_and_stopped_goes_on_as_it_was(tmp_path: Path) -> None:
    """Killed at bar 100, stopped at 120, gone on with, released at 150, stopped at 170 and gone on with to the end."""
    path, kill = tmp_path / "run.journal", kill_file(tmp_path / "run.journal")
    first = AtBars({100: kill.touch})
    first.doing[120] = first.stop
    rehearse(scenario(), first, path)
    assert turns(path) == ["KILLED"]
    assert kill.exists()

    second = AtBars({150: kill.unlink})
    second.doing[170] = second.stop
    rehearse(scenario(), second, path, resume=True)
    result = rehearse(scenario(), AtBars({}), path, resume=True)
    assert not result.interrupted
    assert turns(path) == ["KILLED", "RELEASED"]

    whole, again = tmp_path / "whole.journal", kill_file(tmp_path / "whole.journal")
    rehearse(scenario(), AtBars({100: again.touch, 150: again.unlink}), whole)
    assert recorded(whole).journal.read() == recorded(path).journal.read()


def test_a_record_of_a_kill_is_kept_to_when_the_file_is_gone(tmp_path: Path) -> None:
    """Who resumes without the file goes on trading from there on, and what was is as it was."""
    path, kill = tmp_path / "run.journal", kill_file(tmp_path / "run.journal")
    clock = AtBars({100: kill.touch})
    clock.doing[120] = clock.stop
    rehearse(scenario(), clock, path)
    kill.unlink()
    rehearse(scenario(), AtBars({}), path, resume=True)
    assert turns(path) == ["KILLED", "RELEASED"]


STRATEGY = """
import os
import signal
from dataclasses import dataclass


@dataclass
class Signalled:
    seen: int = 0

    def on_bars(self, view):
        self.seen += 1
        if self.seen in (20, 30):
            os.kill(os.getpid(), signal.SIGUSR1 if self.seen == 20 else signal.SIGUSR2)
        return [view.order(1)]
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there are no such signals here")
def test_signals_throw_the_switch_of_a_rehearsal(tmp_path: Path) -> None:
    (tmp_path / "signalled.py").write_text(STRATEGY)
    text = (scenario().folder / "walks.toml").read_text()
    (tmp_path / "mine.toml").write_text(text)
    journal = tmp_path / "mine.journal"
    choice = f"strategy.name={tmp_path / 'signalled.py'}:Signalled"
    shown = CliRunner().invoke(app, ["rehearse", str(tmp_path / "mine.toml"), "--journal", str(journal), "--speed", "inf", "--set", choice])
    assert shown.exit_code == 0, shown.output
    assert turns(journal) == ["KILLED", "RELEASED"]
    assert "killed" in shown.output
    assert not kill_file(journal).exists()
