"""The command line, as its user sees it."""

from __future__ import annotations

import json
import os
import pty
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
    done = shown("run", "dotcom_bust")
    assert done.exit_code == 0, done.output
    labels = [line.split("  ")[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert labels == [
        "scenario", "strategy", "period", "bars", "orders", "fills", "refused", "final equity", "return", "max drawdown", "volatility", "Sharpe",
        "commission", "slippage", "halts", "broker", "notes", "journal",
    ]  # fmt: skip
    assert "1999-01-04 to 2003-12-31" in done.stdout
    assert "bars/s" in done.stdout
    assert done.stderr == ""


def test_what_is_set_is_what_runs() -> None:
    done = shown("run", "flat", "--set", "account.cash=50_000", "--set", "broker.commission.per_share=0", "--set", "broker.slippage.model=none")
    assert "49,999.00 from 50,000.00" in done.stdout, "the minimum commission is all that is left"


def test_a_halt_and_its_refusals_are_shown() -> None:
    done = shown("run", "dotcom_bust", "--set", "risk.drawdown_max=0.2")
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
    for fragment in ("dotcom_bust", "A price that never moves", "moving_average_cross", "Hold what is rising", "simulated", "packaged"):
        assert fragment in done.stdout
    assert "cannot be" not in done.stdout


def test_prove_passes_what_does_not_look_ahead() -> None:
    done = shown("prove", "dotcom_bust", "--points", "2", "--set", "feed.end=1999-12-31")
    assert done.exit_code == 0, done.output
    assert "no look-ahead found" in done.stdout


def test_prove_fails_what_looks_ahead(mine: Path) -> None:
    done = shown("prove", str(mine / "mine.toml"), "--points", "6", "--set", "strategy.name=mine.py:Peeks")
    assert done.exit_code == 1, done.output
    assert "LOOKS AHEAD" in done.stdout


def test_prove_needs_a_point() -> None:
    done = shown("prove", "flat", "--points", "0")
    assert (done.exit_code, done.stderr) == (2, "error: flat: prove needs at least 1 point, was 0\n")


def test_the_version_is_the_packages() -> None:
    assert shown("--version").stdout == f"tradewind {simulator.__version__}\n"


def test_help_names_every_command() -> None:
    done = shown("--help")
    assert done.exit_code == 0
    assert all(command in done.stdout for command in ("run", "check", "list", "prove"))
