"""Rehearsals: the journal of a replay, at a pace, and through whatever stops it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator import DAY, DataError, load
from simulator.assembly import header_of, parts, rehearse, run
from simulator.cli import app
from simulator.loop.clocks import PacedClock
from simulator.loop.journal import FILL
from simulator.loop.store import recorded, verify
from simulator.scenarios import bundled

NIGHTLY = os.environ.get("TRADEWIND_HYPOTHESIS") == "nightly"
KILLS = 50 if NIGHTLY else 5

# A process that is warm, and forks a rehearsal for each line that it reads: seconds of imports would hide the moments that matter.
FORKS = """
import os, sys
from math import inf
from pathlib import Path
from simulator import load
from simulator.assembly import rehearse, run
from simulator.loop.clocks import PacedClock

scenario = load("walks")
tape = run(scenario).tape
for line in sys.stdin:
    path = Path(line.rstrip("\\n"))
    child = os.fork()
    if not child:
        rehearse(scenario, PacedClock(inf, tape.interval), path, resume=path.exists(), tape=tape)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until then its pid is nobody else's
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

STRATEGY = """
import os
import signal
from dataclasses import dataclass


@dataclass
class Stopped:
    at: int = 50
    seen: int = 0

    def on_bars(self, view):
        self.seen += 1
        if self.seen == self.at and not os.path.exists("again"):
            os.kill(os.getpid(), signal.SIGINT)
        return [view.order(1)]
"""


class Wall:
    """A clock on a wall that moves only while somebody sleeps."""

    seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def shown(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def tradewind(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "simulator.cli", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def table(path: Path) -> list[Any]:
    """All that is in a journal file, ids and hashes too."""
    file = sqlite3.connect(path)
    try:
        return [file.execute(f"SELECT * FROM {name}").fetchall() for name in ("header", "rows", "closing")]
    finally:
        file.close()


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Look until it is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


LONG = {
    **dict.fromkeys(("leveraged_basket", "leveraged_basket_options"), "feed.underlying.end=2010-12-31"),
    **{"pairs": "feed.end=2012-12-31", "one_model": "feed.end=1993-03-31", "two_regimes": "feed.end=2002-06-28"},
}
"""Scenarios of thousands of bars of many instruments, and how they end after they have traded. Nightly they run to their own ends."""


@pytest.mark.parametrize("name", sorted(bundled()))
def test_the_journal_of_a_rehearsal_is_that_of_a_replay(name: str, tmp_path: Path) -> None:
    scenario, path = load(name, [LONG[name]] if name in LONG and not NIGHTLY else []), tmp_path / "j"
    replay = run(scenario)
    wall = Wall()
    rehearsal = rehearse(scenario, PacedClock(10_000.0, DAY, sleep=wall.sleep, monotonic=lambda: wall.seconds), path)
    found = recorded(path)
    assert found.journal.read() == rehearsal.journal.read() == replay.journal.read()
    assert (rehearsal.hash, rehearsal.run_id, rehearsal.notes) == (replay.hash, replay.run_id, replay.notes)
    assert found.journal.hash(f"{replay.tape.digest()} {replay.rows}") == replay.hash
    assert (found.header, found.closing and found.closing.tape) == (header_of(scenario), replay.tape.digest())
    gaps = np.minimum(np.diff(replay.tape.closed_at), DAY)
    assert wall.seconds == pytest.approx(float(gaps.sum()) / 1e9 / 10_000.0)


def test_the_command_shows_what_run_shows_and_where_the_journal_is(tmp_path: Path) -> None:
    path = tmp_path / "j"
    done, replayed = shown("rehearse", "trend", "--speed", "inf", "--journal", str(path)), shown("run", "trend")
    assert done.exit_code == 0, done.output
    alike = [line for line in replayed.stdout.splitlines() if not line.startswith("bars ")]
    assert [line for line in done.stdout.splitlines() if not line.startswith("bars ")] == [*alike, "", f"journal file: {path}"]
    assert done.stderr == ""
    assert verify(path) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--speed", "0.5"], "error: trend: speed must be at least 1 (inf does not wait), was 0.5"),
        (["--speed", "nan"], "error: trend: speed must be at least 1 (inf does not wait), was nan"),
        (["--resume"], "does not exist: leave out --resume to begin it"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = shown("rehearse", "trend", "--journal", str(tmp_path / "j"), *arguments)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_resuming_what_is_finished_or_other_is_refused_and_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    assert shown("rehearse", "trend", "--speed=inf", f"--journal={path}").exit_code == 0
    before = path.read_bytes()
    for arguments, said in (
        ([], "is there already"),
        (["--resume"], "is finished: 2 rows over 252 bars, and nothing to resume"),
        (["--resume", "--set", "seed=2"], "is the journal of another run: seed = 1 is now seed = 2"),
        (["--resume", "--set", "feed.growth=0.002"], "[feed] growth = 0.001 is now growth = 0.002"),
    ):
        done = shown("rehearse", "trend", "--speed=inf", f"--journal={path}", *arguments)
        assert done.exit_code == 2
        assert said in done.stderr
    assert path.read_bytes() == before


def test_ctrl_c_stops_after_the_bar_and_says_how_to_go_on(tmp_path: Path) -> None:
    """In the middle of its bar 50 the strategy is interrupted, and that bar's order is still recorded."""
    (tmp_path / "mine.py").write_text(STRATEGY)
    (tmp_path / "mine.toml").write_text('[feed]\nkind = "walks"\nbars = 400\n[strategy]\nname = "mine.py:Stopped"\n')
    given = ("rehearse", "mine.toml", "--speed=inf", "--journal=my file", "--set=seed=3")
    first = tradewind(tmp_path, *given)
    out, err = first.communicate(timeout=120)
    assert first.returncode == 130, err
    assert "after bar 50 of 400" in out
    assert "to go on: tradewind rehearse mine.toml --speed=inf '--journal=my file' --resume --set=seed=3" in out
    before = table(tmp_path / "my file")
    assert (verify(tmp_path / "my file"), before[2]) == (50 + 49, [])
    (tmp_path / "again").write_text("")
    second = tradewind(tmp_path, *given, "--resume")
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    after = table(tmp_path / "my file")
    assert after[1][: len(before[1])] == before[1]
    assert len(after[1]) == 400 + 399


def test_ctrl_c_in_a_long_wait_stops_soon(tmp_path: Path) -> None:
    """At speed 1 the next daily bar is due tomorrow."""
    waiting = tradewind(tmp_path, "rehearse", "trend", "--speed=1", "--journal=j")
    wait_for((tmp_path / "j.lock").exists)
    time.sleep(0.3)
    waiting.send_signal(signal.SIGINT)
    out, _ = waiting.communicate(timeout=10)
    assert waiting.returncode == 130
    assert "after bar 1 of 252" in out


def test_of_two_writers_one_wins_and_the_other_names_it(tmp_path: Path) -> None:
    first = tradewind(tmp_path, "rehearse", "trend", "--speed=1", "--journal=j")
    try:
        wait_for(lambda: (tmp_path / "j").exists())
        for arguments in ((), ("--resume",)):
            began = time.monotonic()
            second = shown("rehearse", "trend", "--speed=1", f"--journal={tmp_path / 'j'}", *arguments)
            assert time.monotonic() - began < 1.0
            assert second.exit_code == 2
            assert f"{tmp_path / 'j'} is being written by process {first.pid}: wait for it, or stop it" in second.stderr
    finally:
        first.kill()
        first.communicate(timeout=10)
    assert shown("rehearse", "trend", "--speed=inf", f"--journal={tmp_path / 'j'}", "--resume").exit_code == 0


@contextmanager
def forks() -> Iterator[Callable[[Path, float | None], int]]:
    """Rehearse `walks` into a path, and kill -9 it so many seconds after it began; its exit status, -9 if it was killed."""
    with subprocess.Popen([sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def rehearsed(path: Path, seconds: float | None = None) -> int:
            stdin.write(f"{path}\n")
            stdin.flush()
            child = int(stdout.readline())
            if seconds is not None:
                time.sleep(seconds)
                os.kill(child, signal.SIGKILL)
            stdin.write("\n")
            stdin.flush()
            return int(stdout.readline())

        try:
            yield rehearsed
        finally:
            stdin.close()
            process.wait(timeout=60)


def test_a_rehearsal_that_is_killed_goes_on_to_the_journal_of_one_that_was_not(tmp_path: Path) -> None:
    """At random moments, most of which lie in a commit, since that is where a rehearsal at full speed spends its time."""
    rng = np.random.default_rng()
    with forks() as rehearsed:
        whole = tmp_path / "whole"
        rehearsed(tmp_path / "first")
        began = time.monotonic()
        assert rehearsed(whole) == 0
        seconds = time.monotonic() - began
        killed = []
        for n in range(KILLS):
            path = tmp_path / str(n)
            status = rehearsed(path, (n + float(rng.uniform())) / KILLS * seconds)
            before = recorded(path) if path.exists() else None
            if not before or not before.closing:
                assert status == -signal.SIGKILL
                assert rehearsed(path) == 0
                killed.append(len(before.journal.rows) if before else 0)
                assert not list(tmp_path.glob(f"{n}[-.]*")), "nothing lies beside a journal whose run has ended"
            assert table(path) == table(whole)
    assert any(killed), "some in the middle"


def test_other_data_are_refused_and_the_row_is_named(tmp_path: Path) -> None:
    """The bar of the third fill is another: that fill, or the wait for it, is the first row that differs."""
    scenario, path = load("walks"), tmp_path / "j"
    tape = parts(scenario).feed.load(seed=scenario.seed, folder=scenario.folder)
    clock = PacedClock(inf, DAY)
    stopped = rehearse(scenario, clock, path, tape=tape, progress=lambda done, total: clock.stop() if done > 700 else None)
    assert stopped.interrupted
    third = stopped.fills[2]
    columns = [np.array(column[: len(tape)]) for column in (tape.open, tape.high, tape.low, tape.close, tape.volume)]
    for column in columns[:4]:
        column[third.bar, tape.index[third.symbol]] *= 1.5
    row = int(np.flatnonzero(stopped.journal_table()["kind"] == FILL)[2])
    before = table(path)
    with pytest.raises(DataError, match=rf"row {row} differs: fill {third.order} of .* became .*: a {third.price} became "):
        rehearse(scenario, PacedClock(inf, DAY), path, resume=True, tape=tape.like(*columns))
    assert table(path) == before
    assert not rehearse(scenario, PacedClock(inf, DAY), path, resume=True, tape=tape).interrupted
