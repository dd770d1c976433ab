"""The command line, as its user sees it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import simulator
from simulator.cli import app

STRATEGY = """
import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Stopped:
    at: int = 50
    seen: int = 0

    def on_bars(self, view):
        self.seen += 1
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return [view.order(1)]


class Raises:
    def on_bars(self, view):
        return [view.order(1, "NOBODY")]


class Divides:
    def on_bars(self, view):
        return 1 // 0


class Peeks:
    # What it buys depends on whether the last close is above the first.
    def on_bars(self, view):
        future = view.bars.tape.close
        return [view.order(1 if future[-1, 0] > future[0, 0] else 2)]
"""


def shown(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "simulator.cli", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with mine.py and mine.toml, which runs what `strategy.name` says over a walk."""
    (tmp_path / "mine.py").write_text(STRATEGY)
    (tmp_path / "mine.toml").write_text('title = "Mine [own]"\n[feed]\nkind = "walks"\nbars = 400\n[strategy]\nname = "mine.py:Stopped"\n')
    return tmp_path


# --- Run


@pytest.mark.parametrize(
    ("name", "equity"),
    [
        ("flat", 1_000_000 - 10_000 * 0.01 - 50),
        ("trend", 1_000_000 + 10_000 * (100 * 1.001**251 - 100.1 * 1.0001) - 50),
        ("jump", 1_000_000 - 10_000 * 0.01 - 50 - 10_000 * 20),
    ],
)
def test_a_scenario_with_a_closed_form_ends_there(tmp_path: Path, name: str, equity: float) -> None:
    done = shown("run", name, "--check", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert f"{equity:,.2f} from 1,000,000.00" in done.stdout
    kept = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert kept["equity"] == pytest.approx(equity, abs=1e-6)


def test_a_run_shows_what_came_of_it() -> None:
    done = shown("run", "dotcom_trend")
    assert done.exit_code == 0, done.output
    labels = [line.split("  ")[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert labels == [
        "scenario", "strategy", "period", "bars", "orders", "fills", "refused", "final equity", "return", "benchmark",
        "max drawdown", "volatility", "Sharpe", "trials", "warning",
        "commission", "slippage", "interest", "round trips", "halts", "broker", "notes", "journal",
    ]  # fmt: skip
    assert "1999-01-04 to 2003-12-31" in done.stdout
    assert "bars/s" in done.stdout
    assert done.stderr == ""


def test_what_is_set_is_what_runs() -> None:
    done = shown("run", "flat", "--set", "account.cash=50_000", "--set", "broker.commission.per_share=0", "--set", "broker.slippage.model=none")
    assert "49,999.00 from 50,000.00" in done.stdout, "the minimum commission is all that is left"


def test_a_halt_and_its_refusals_are_shown() -> None:
    done = shown("run", "dotcom_trend", "--set", "risk.drawdown_max=0.2")
    assert "drawdown (equity " in done.stdout
    assert "(trading halted: " in done.stdout


def test_an_undefined_metric_says_why() -> None:
    done = shown("run", "flat", "--set", "feed.bars=1")
    assert done.exit_code == 0, done.output
    assert "undefined: " in done.stdout


def test_the_run_folder_holds_the_run_and_runs_again_to_the_same_journal(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    first = shown("run", "walks", "--set", "seed=3", "--out", str(out))
    assert f"run folder: {out}" in first.stdout
    assert {path.name for path in out.iterdir()} >= {"scenario.toml", "equity.parquet", "fills.parquet", "orders.parquet", "report.html"}
    again = shown("run", str(out / "scenario.toml"))
    assert journal(again) == journal(first)


def journal(done: Result) -> str:
    return next(line for line in done.stdout.splitlines() if line.startswith("journal"))


def test_a_folder_that_holds_something_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    done = shown("run", "flat", "--out", str(tmp_path))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: the run folder {tmp_path} is not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_strategy_that_raises_is_named_and_leaves_no_folder(mine: Path) -> None:
    done = shown("run", str(mine / "mine.toml"), "--set", "strategy.name=mine.py:Divides", "--out", str(mine / "out"))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "strategy Divides raised at the bar that closed " in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert not (mine / "out").exists()


def test_an_order_for_nobody_is_named(mine: Path) -> None:
    done = shown("run", str(mine / "mine.toml"), "--set", "strategy.name=mine.py:Raises")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "NOBODY" in done.stderr


def test_brackets_in_a_title_are_brackets(mine: Path) -> None:
    assert "mine: Mine [own]" in shown("check", str(mine / "mine.toml")).stdout


def test_ctrl_c_keeps_what_was_done(mine: Path) -> None:
    done = run(mine, "run", "mine.toml", "--out", "out")
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stdout
    assert "of 400, which closed 2020-" in done.stdout
    assert done.stderr == ""
    kept = json.loads((mine / "out" / "summary.json").read_text())
    assert kept["interrupted"] is True
    assert 48 <= kept["bars"]["rows"] <= 51


def test_a_mistake_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[feed]\nkind = "flat"\n[strategy]\nname = "momentum"\ntpo = 5\n')
    done = run(tmp_path, "run", "bad.toml", "--out", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: bad.toml: strategy: no such key 'tpo'; did you mean 'top'?\n"
    assert not (tmp_path / "out").exists()


def test_an_option_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "flat", "--speed", "3")
    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "simulator.cli", "list"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode != 0


def test_a_terminal_without_unicode_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text('title = "Größe"\n[feed]\nkind = "flat"\n[strategy]\nname = "buy_and_hold"\n', encoding="utf-8")
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "simulator.cli", "check", "odd.toml"], cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Gr??e" in done.stdout


def test_a_terminal_sees_a_progress_bar(mine: Path) -> None:
    watched, end = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "simulator.cli", "run", "flat", "--set", "feed.bars=1000"],
            cwd=mine,
            env={**os.environ, "TERM": "xterm"},
            stdout=subprocess.DEVNULL,
            stderr=end,
            check=True,
            timeout=120,
        )
        seen = os.read(watched, 65536).decode(errors="replace")
    finally:
        os.close(end)
        os.close(watched)
    assert "flat" in seen
    assert "bars" in seen


# --- Check, list, prove


def test_check_shows_what_would_run() -> None:
    done = shown("check", "survivors")
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    for fragment in ("20: AAPL, AMD", "8,313", "1990-01-02 to 2022-12-28", "close only", "Slippage of takers: 5 bps", "survivors: all 20", "margin"):
        assert fragment in words


def test_check_finds_what_only_the_data_tells(mine: Path) -> None:
    done = shown("check", str(mine / "mine.toml"), "--set", "feed.drift=9")
    assert done.exit_code == 2
    assert done.stderr == f"error: {mine / 'mine.toml'} with feed.drift=9: feed.drift must be from -1.0 to 1.0, was 9.0\n"


def test_list_tells_of_scenarios_and_plug_ins() -> None:
    done = shown("list")
    assert done.exit_code == 0
    for fragment in ("dotcom_trend", "A price that never moves", "moving_average_cross", "Hold what is rising", "simulated", "packaged"):
        assert fragment in done.stdout
    assert "cannot be" not in done.stdout


def test_prove_passes_what_does_not_look_ahead() -> None:
    done = shown("prove", "dotcom_trend", "--points", "2", "--set", "feed.end=1999-12-31")
    assert done.exit_code == 0, done.output
    assert "no look-ahead found" in done.stdout


def test_prove_fails_what_looks_ahead(mine: Path) -> None:
    done = shown("prove", str(mine / "mine.toml"), "--points", "6", "--set", "strategy.name=mine.py:Peeks")
    assert done.exit_code == 1, done.output
    assert "LOOKS AHEAD" in done.stdout


def test_prove_keeps_the_run_with_its_certificate_pass_or_fail(mine: Path) -> None:
    for strategy, passed in (("buy_and_hold", True), ("mine.py:Peeks", False)):
        folder = mine / str(passed)
        done = shown("prove", str(mine / "mine.toml"), "--points", "4", "--set", f"strategy.name={strategy}", "--out", str(folder))
        assert done.exit_code == (0 if passed else 1), done.output
        certificate = json.loads((folder / "certificate.json").read_text())
        assert certificate["passed"] is passed
        assert certificate["journal_hash"] == json.loads((folder / "summary.json").read_text())["journal_hash"]
        page = (folder / "report.html").read_text()
        assert "Proof against look-ahead" in page
        assert ("no look-ahead found" in page.lower(), "LOOKS AHEAD" in page) == (passed, not passed)
        assert shown("prove", str(mine / "mine.toml"), "--out", str(folder)).exit_code == 2


def test_prove_needs_a_point() -> None:
    done = shown("prove", "flat", "--points", "0")
    assert (done.exit_code, done.stderr) == (2, "error: flat: prove needs at least 1 point, was 0\n")


# --- State, why, diff, new


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of `walks`, one with another seed, and the journal file of a rehearsal of the first."""
    folder = tmp_path_factory.mktemp("walked")
    for out, seed in (("one", 7), ("two", 8)):
        assert shown("run", "walks", "--set", f"seed={seed}", "--out", str(folder / out)).exit_code == 0
    assert shown("rehearse", "walks", "--speed=inf", f"--journal={folder / 'journal'}").exit_code == 0
    return folder


@pytest.mark.parametrize("name", ["one", "journal"])
def test_state_ends_where_the_run_ended(walked: Path, name: str) -> None:
    ended = next(line for line in shown("run", "walks").stdout.splitlines() if line.startswith("final equity")).split()[2]
    done = shown("state", str(walked / name))
    assert done.exit_code == 0, done.output
    assert f"equity      {ended}" in done.stdout
    assert "positions:" in done.stdout
    at = shown("state", str(walked / name), "--at", "2020-01-05")
    assert "bar 2: 2020-01-03 (closed 2020-01-04 00:00 UTC)" in at.stdout
    assert "positions: none" in at.stdout


@pytest.mark.parametrize("name", ["one", "journal"])
def test_why_tells_the_story_of_an_order(walked: Path, name: str) -> None:
    done = shown("why", str(walked / name), "1")
    assert done.exit_code == 0, done.output
    labels = [line.split("  ")[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert [label for label in labels if not label.startswith("20")] == [
        "run", "order", "wish", "decided", "bar", "checks", "bars:", "fills:", "end", "cost",
    ]  # fmt: skip
    assert "volume cap" in done.stdout


@pytest.mark.parametrize("width", ["80", "160"])
def test_no_digit_is_lost_where_the_terminal_is_narrow(walked: Path, width: str) -> None:
    """Lines break, and nothing is cut off."""
    one, two = str(walked / "one"), str(walked / "two")
    for arguments in (["state", one], ["why", one, "1"], ["diff", one, two]):
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": width})
        assert done.stderr == ""
        assert max(map(len, done.stdout.splitlines())) <= int(width)
        assert "\N{HORIZONTAL ELLIPSIS}" not in done.stdout


def test_diff_ends_with_0_only_if_nothing_differs(walked: Path) -> None:
    same, other = shown("diff", str(walked / "one"), str(walked / "journal")), shown("diff", str(walked / "one"), str(walked / "two"))
    assert (same.exit_code, other.exit_code) == (0, 1), same.output + other.output
    assert "and how far both were run" in same.stdout
    for fragment in ("the first 0 events", "from row 0 on", "run 1  W", "other bars from bar 0 on", "seed: 7 in run 1, 8 in run 2"):
        assert fragment in other.stdout, other.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["state", "walks"], "walks: there is no such run"),
        (["state", "{}"], "is no run folder: it has no summary.json"),
        (["state", "{}/one/summary.json"], "is a file of a run folder: give the folder"),
        (["state", "{}/one", "--at", "tomorrow"], "--at must be a date"),
        (["state", "{}/one", "--at", "2001-01-01"], "--at 2001-01-01 is before the first bar of"),
        (["why", "{}/one", "mine"], "has no order 'mine': there are "),
        (["diff", "{}/one", "{}/three"], "three: there is no such run"),
        (["new", "a-b"], "was 'a-b'"),
    ],
)
def test_what_cannot_be_explained_is_one_line(arguments: list[str], said: str, walked: Path) -> None:
    done = shown(*(argument.format(walked) for argument in arguments))
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_a_journal_with_a_row_changed_is_refused_by_that_row(walked: Path, tmp_path: Path) -> None:
    shutil.copy(walked / "journal", tmp_path / "journal")
    file = sqlite3.connect(tmp_path / "journal")
    with file:
        file.execute("UPDATE rows SET at = at + 1 WHERE id = 3")
    file.close()
    for arguments in (["state", "{}/journal"], ["why", "{}/journal", "1"], ["diff", "{}/journal", f"{walked}/one"]):
        done = shown(*(argument.format(tmp_path) for argument in arguments))
        assert (done.exit_code, done.stdout) == (2, "")
        assert "row 3 was changed" in done.stderr


def test_new_makes_a_package_and_says_how_to_go_on(tmp_path: Path) -> None:
    done = run(tmp_path, "new", "my_ideas")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pip install --editable my_ideas" in done.stdout
    assert (tmp_path / "my_ideas" / "pyproject.toml").is_file()
    again = run(tmp_path, "new", "my_ideas")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "error: my_ideas is there already: choose another name, or delete it\n"


def test_the_version_is_the_packages() -> None:
    assert shown("--version").stdout == f"tradewind {simulator.__version__}\n"


def test_help_names_every_command() -> None:
    done = shown("--help")
    assert done.exit_code == 0
    assert all(command in done.stdout for command in ("run", "rehearse", "check", "list", "prove", "state", "why", "diff", "trials", "new"))
