"""Paper sessions: the journal of a replay, whatever the feed does to them."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from live_feeds import Given, assert_replays, frames_of
from rich.console import Console
from typer.testing import CliRunner

from simulator import DAY, SimulatorError, load
from simulator.assembly import run
from simulator.cli import app
from simulator.cli_live import source_of, without_password
from simulator.errors import DataError
from simulator.feeds.live import Lines, Said, trades_of
from simulator.loop import recording
from simulator.loop.clocks import WallClock
from simulator.loop.journal import FILL, HALT
from simulator.paper import LiveSession, Terms, paper, replay
from simulator.report.screen import newest, panel

NIGHTLY = os.environ.get("TRADEWIND_HYPOTHESIS") == "nightly"
WALKS = load("walks", ["feed.bars=200", "strategy.lookback=20", "strategy.every=5"])

STRATEGY = """
from dataclasses import dataclass


@dataclass
class Breaks:
    at: int = 10
    how: str = "raises"
    seen: int = 0

    def on_bars(self, view):
        self.seen += 1
        if self.seen == self.at:
            made = view.order(7)
            if self.how == "raises":
                raise ZeroDivisionError("one over none")
            if self.how == "returns":
                return 17
            if self.how == "strays":
                return [made._replace(instrument=7)]
            while True:
                made
        return [view.order(10)]
"""


BUYS = """
from dataclasses import dataclass

import numpy as np

from simulator import OrderKind


@dataclass
class Buys:
    how: str = "single"

    def on_bars(self, view):
        if self.how == "batch":
            return view.rebalance(np.full(2, 0.01 * (view.row + 1)))
        return [view.order(1, "A"), view.order(1, "B"), view.order(1, "B", kind=OrderKind.LIMIT, limit=1.0)]
"""


def kinds(path: Path) -> list[str]:
    """What was said, but for connections."""
    return [x.kind for x in recording.read(path).said if x.kind not in ("settings", "connected", "over", "lost")]


@pytest.mark.parametrize("name", ["trend", "short_squeeze", "forty_lots"])
def test_the_journal_of_a_paper_session_is_that_of_a_replay_of_its_scenario(name: str, tmp_path: Path) -> None:
    scenario, path = load(name), tmp_path / "j"
    whole = run(scenario)
    traded, status = paper(scenario, Given(frames_of(whole.tape)), path)
    assert (traded.hash, status.bars) == (whole.hash, len(whole.tape))
    assert replay(path).hash == whole.hash
    assert_replays(path, tmp_path / "out")


def test_what_was_before_the_first_live_bar_is_seen_and_not_traded(tmp_path: Path) -> None:
    """The strategy needs twenty bars, and has them at its first."""
    path = tmp_path / "j"
    whole = run(WALKS)
    traded, _ = paper(WALKS, Given(frames_of(whole.tape, first=100)), path)
    assert whole.orders[0].bar < 100
    assert traded.orders[0].bar == 100
    assert (recording.read(path).history, traded.rows) == (100, 200)
    assert_replays(path, tmp_path / "out")


def test_duplicates_are_dropped_and_late_and_conflicting_bars_are_journalled_and_ignored(tmp_path: Path) -> None:
    path, whole, rng = tmp_path / "j", run(WALKS), np.random.default_rng(5)
    frames, late, conflicts, doubled = [], 0, 0, 0
    clean = frames_of(whole.tape)
    for k, frame in enumerate(clean):
        frames.append(frame)
        if rng.uniform() < 0.1:
            frames.append([clean[int(rng.integers(0, k + 1))][0]])
            doubled += 1
        if k and rng.uniform() < 0.05:
            frames.append([{**clean[k - 1][1], "h": clean[k - 1][1]["h"] + 1.0}])
            conflicts += 1
        if k and rng.uniform() < 0.05:
            frames.append([{**clean[k - 1][1], "e": clean[k - 1][1]["e"] - 1}])
            late += 1
    traded, status = paper(WALKS, Given(frames), path)
    assert traded.hash == whole.hash
    assert (kinds(path).count("late"), kinds(path).count("conflict")) == (late, conflicts)
    assert min(late, conflicts, doubled) > 2
    assert status.counts["late"] == late


def test_a_bar_that_cannot_be_true_is_journalled_and_ignored(tmp_path: Path) -> None:
    whole = run(WALKS)
    clean = frames_of(whole.tape)
    first = clean[0][0]
    wrong = [{**first, "h": -1.0}, {**first, "S": "W9"}, {**first, "t": "yesterday"}, {"T": "b"}, {**first, "v": float("nan")}, {**first, "e": 1}]
    traded, _ = paper(WALKS, Given([wrong, *clean]), tmp_path / "j")
    assert traded.hash == whole.hash
    assert kinds(tmp_path / "j") == ["bad"] * len(wrong)
    assert any("no such instrument 'W9'" in x.words for x in recording.read(tmp_path / "j").said)


def test_an_updated_bar_counts_while_its_instant_waits_and_not_later(tmp_path: Path) -> None:
    whole = run(WALKS)
    clean = frames_of(whole.tape)
    first, *others = clean[0]
    frames = [[{**first, "c": first["o"], "v": 1.0}, {**first, "T": "u"}, *others], [{**first, "T": "u", "v": 2.0}], *clean[1:]]
    traded, _ = paper(WALKS, Given(frames), tmp_path / "j")
    assert traded.hash == whole.hash
    assert kinds(tmp_path / "j") == ["updated"]


def test_an_instant_that_is_not_whole_is_run_after_a_grace(tmp_path: Path) -> None:
    whole = run(WALKS)
    clean = frames_of(whole.tape, end=3)
    stop = Event()

    def watch(live: LiveSession) -> None:
        if live.tape.rows == 3:
            stop.set()

    clean[2] = clean[2][:5]
    traded, _ = paper(WALKS, Given(clean, ends=False), tmp_path / "j", terms=Terms(grace_seconds=0.05), stopping=stop, watch=watch)
    assert np.isnan(traded.tape.close[2]).tolist() == [False] * 5 + [True] * 3
    assert_replays(tmp_path / "j", tmp_path / "out")


def test_a_silent_feed_raises_an_alarm_that_ends_with_its_next_bar(tmp_path: Path) -> None:
    alarm = Event()

    class Silent(Given):
        def run(self, put: Any, since: Callable[[], int], stopping: Event) -> None:
            put(self.frames[0])
            assert alarm.wait(30.0)
            put(self.frames[1])
            put(Said("over"))

    def watch(live: LiveSession) -> None:
        if live.status.silent:
            alarm.set()

    paper(WALKS, Silent(frames_of(run(WALKS).tape, end=2)), tmp_path / "j", terms=Terms(silent_seconds=0.1), watch=watch)
    assert kinds(tmp_path / "j") == ["stale", "heard"]


def test_a_drop_that_cannot_be_filled_is_one_gap_each(tmp_path: Path) -> None:
    """Of 1 to 30 bars, with a connection that comes and goes meanwhile."""
    drops, rng = 200 if NIGHTLY else 4, np.random.default_rng(2)
    scenario = load("walks", [f"feed.bars={40 * drops}", "strategy.lookback=20", "strategy.every=5"])
    clean, frames = frames_of(run(scenario).tape), list[Any]()
    for k in range(drops):
        part = clean[40 * k : 40 * k + 40]
        frames += [*part[int(rng.integers(1, 31)) if k else 0 :], *[Said("lost"), Said("connected")] * 5]
    paper(scenario, Given(frames), tmp_path / "j")
    assert kinds(tmp_path / "j") == ["gap"] * (drops - 1)
    assert_replays(tmp_path / "j", tmp_path / "out")


def test_a_connection_that_is_back_before_anything_was_missed_leaves_no_gap(tmp_path: Path) -> None:
    """Nor does what comes after a night, bars later."""
    clean = frames_of(run(WALKS).tape, end=20)
    paper(WALKS, Given([*clean[:6], Said("lost"), Said("connected"), *clean[6:]]), tmp_path / "j")
    assert clean[6][0]["t"] == clean[5][0]["e"]
    assert any(frame[0]["t"] > before[0]["e"] for before, frame in pairwise(clean[6:]))
    assert kinds(tmp_path / "j") == []


def test_a_connection_that_breaks_a_bar_of_trades_leaves_a_gap(tmp_path: Path) -> None:
    """What was missed may be in the very bar that goes on."""
    tape = run(WALKS).tape
    first, second, *others = trades_of(tape, 0)
    paper(WALKS, Given([[first, second], Said("lost"), Said("connected"), others, trades_of(tape, 1)]), tmp_path / "j")
    assert kinds(tmp_path / "j") == ["gap"]


def test_the_bar_of_a_day_that_is_not_over_waits_for_its_end(tmp_path: Path) -> None:
    """It is told again and again meanwhile, and only the last of it counts."""
    tape = run(WALKS).tape
    (frame,), empty = frames_of(tape, end=1), tape.cut(0)
    tomorrow = (WallClock.wall() // DAY + 1) * DAY
    running = [{**bar, "t": tomorrow - DAY, "e": tomorrow, "s": tomorrow // DAY - 1} for bar in frame]
    stop, seen = Event(), list[int]()

    def watch(live: LiveSession) -> None:
        seen.append(live.tape.rows)
        if len(seen) > 5:
            stop.set()

    later = [{**bar, "c": bar["o"]} for bar in running]
    traded, _ = paper(
        WALKS, Given([running, later], ends=False), tmp_path / "j", terms=Terms(grace_seconds=0.01), past=empty, stopping=stop, watch=watch
    )
    assert traded.rows == 0
    traded, _ = paper(WALKS, Given([running, later]), tmp_path / "k", past=empty)
    assert traded.tape.close[0].tolist() == [bar["o"] for bar in running]


@pytest.mark.parametrize("how", ["single", "batch"])
def test_no_market_order_goes_out_where_the_last_bar_is_old(how: str, tmp_path: Path) -> None:
    """The bars of the second of two instruments stop, and a limit order in it still goes."""
    (tmp_path / "mine.py").write_text(BUYS)
    text = f'[feed]\nkind = "walks"\nbars = 40\nsymbols = ["A", "B"]\n[strategy]\nname = "mine.py:Buys"\nhow = "{how}"\n'
    (tmp_path / "mine.toml").write_text(text)
    scenario, path = load(tmp_path / "mine.toml"), tmp_path / "j"
    frames = [[m for m in frame if m["S"] == "A" or k < 20] for k, frame in enumerate(frames_of(run(scenario).tape))]
    traded, _ = paper(scenario, Given(frames), path, terms=Terms(stale_bars=5.0))
    stale = [order for order in traded.orders if order.reason == "no market order on stale data"]
    assert {(order.symbol, order.kind) for order in stale} == {("B", "market")}
    assert min(order.bar for order in stale) == int(np.flatnonzero(traded.tape.closed_at[:40] - traded.tape.closed_at[19] > 5 * DAY)[0])
    assert {order.bar for order in traded.orders if order.symbol == "A" and order.state == "filled"} >= set(range(30, 39))
    assert_replays(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "raised ZeroDivisionError: one over none"),
        ("hangs", "more than 0.2 s"),
        ("returns", "must return"),
        ("strays", "an order for instrument number 7: there are 1, from 0"),
    ],
)
@pytest.mark.parametrize("on_halt", ["flatten", "cancel"])
def test_a_strategy_that_breaks_is_stopped_and_its_session_goes_on(how: str, said: str, on_halt: str, tmp_path: Path) -> None:
    """At the next bar trading halts, once and for all, and what is open is treated as the scenario says."""
    (tmp_path / "mine.py").write_text(STRATEGY)
    text = '[feed]\nkind = "walks"\nbars = 40\n[strategy]\nname = "mine.py:Breaks"\nhow = "{}"\n[risk]\non_halt = "{}"\n'
    (tmp_path / "mine.toml").write_text(text.format(how, on_halt))
    scenario, path = load(tmp_path / "mine.toml"), tmp_path / "j"
    tape = run(scenario, bars=1).tape
    traded, status = paper(scenario, Given(frames_of(tape)), path, terms=Terms(strategy_seconds=0.2))
    assert said in status.failed
    assert traded.rows == 40
    assert [halt.measure for halt in traded.halts] == ["killed"]
    assert traded.halts[0].at == tape.ats[10]
    assert bool(traded.positions) is (on_halt == "cancel")
    assert_replays(path, tmp_path / "out")


def test_a_stopped_session_is_resumed_to_the_journal_of_one_that_was_not(tmp_path: Path) -> None:
    whole, path, stop = run(WALKS), tmp_path / "j", Event()
    frames = frames_of(whole.tape)
    paper(WALKS, Given(frames), path, stopping=stop, watch=lambda live: stop.set() if live.tape.rows >= 77 else None)
    assert len(recording.read(path).bars) == 77
    assert_replays(path, tmp_path / "first")
    traded, _ = paper(WALKS, Given(frames), path, resume=True)
    assert traded.hash == whole.hash
    assert_replays(path, tmp_path / "second")


def test_a_session_is_not_resumed_on_other_terms_or_after_its_end(tmp_path: Path) -> None:
    path, frames = tmp_path / "j", frames_of(run(WALKS).tape, end=9)
    paper(WALKS, Given(frames), path)
    with pytest.raises(SimulatorError, match="is finished"):
        paper(WALKS, Given(frames), path, resume=True)
    stop = Event()
    stop.set()
    paper(WALKS, Given(frames), tmp_path / "k", stopping=stop)
    with pytest.raises(SimulatorError, match="stale_bars was 10 when this journal was begun, and is 3 now"):
        paper(WALKS, Given(frames), tmp_path / "k", resume=True, terms=Terms(stale_bars=3.0))


def test_a_recorded_bar_that_was_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j"
    paper(WALKS, Given(frames_of(run(WALKS).tape, end=9)), path)
    file = sqlite3.connect(path)
    file.execute("UPDATE bars SET session = session + 1 WHERE id = 4")
    file.commit()
    file.close()
    with pytest.raises(DataError, match="bar 4 is missing or was changed"):
        replay(path)


def test_the_kill_file_halts_a_paper_session_and_its_replay(tmp_path: Path) -> None:
    path = tmp_path / "j"

    def watch(live: LiveSession) -> None:
        if live.tape.rows == 50:
            Path(f"{path}.kill").touch()

    class Slow(Given):
        def run(self, put: Any, since: Callable[[], int], stopping: Event) -> None:
            for k, frame in enumerate(self.frames):
                put(frame)
                stopping.wait(0.5 if k == 49 else 0.0)
            put(Said("over"))

    traded, _ = paper(WALKS, Slow(frames_of(run(WALKS).tape)), path, watch=watch)
    assert [halt.measure for halt in traded.halts] == ["killed"]
    assert_replays(path, tmp_path / "out")


def test_the_log_has_a_line_of_json_for_what_was_said(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        paper(WALKS, Given(frames_of(run(WALKS).tape, end=3)), tmp_path / "j", log=log)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["connected", "over"]


def test_corporate_actions_fall_due_in_a_paper_session_as_in_a_replay(tmp_path: Path) -> None:
    (tmp_path / "actions.csv").write_text("kind,symbol,date,ratio,amount\nsplit,W1,2020-02-10,2:1,\ndividend,W1,2020-03-10,,0.5\n")
    text = '[feed]\nkind = "walks"\nbars = 90\nsymbols = ["W1", "W2"]\n[strategy]\nname = "buy_and_hold"\n[actions]\npaths = ["actions.csv"]\n'
    (tmp_path / "mine.toml").write_text(text)
    scenario, path = load(tmp_path / "mine.toml"), tmp_path / "j"
    whole = run(scenario)
    assert {x.kind for x in whole.bookings} >= {"split"}
    traded, _ = paper(scenario, Given(frames_of(whole.tape)), path)
    assert traded.hash == whole.hash
    late, _ = paper(scenario, Given(frames_of(whole.tape, first=60)), tmp_path / "late")
    assert [x.kind for x in late.bookings if x.kind == "split"] == []
    assert_replays(tmp_path / "late", tmp_path / "out")


def test_lines_of_a_file_are_followed_and_a_broken_strategy_ends_the_command_with_3(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STRATEGY)
    (tmp_path / "mine.toml").write_text('[feed]\nkind = "walks"\nbars = 40\n[strategy]\nname = "mine.py:Breaks"\n')
    tape = run(load(tmp_path / "mine.toml"), bars=1).tape
    lines = [json.dumps(frame) for frame in frames_of(tape)]
    (tmp_path / "feed.jsonl").write_text("\n".join([*lines[:20], "no JSON", *lines[20:], '{"T": "over"}', ""]))
    given = ["paper", str(tmp_path / "mine.toml"), f"--feed={tmp_path / 'feed.jsonl'}", f"--journal={tmp_path / 'j'}"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 3, done.output
    assert "Breaks raised ZeroDivisionError: one over none" in done.output
    assert [json.loads(line)["kind"] for line in (tmp_path / "j.log").read_text().splitlines()] == ["connected", "strategy", "bad", "over"]
    told = CliRunner().invoke(app, ["state", str(tmp_path / "j")]).output
    assert "stopped from outside" in told
    assert "commission 1.00" in CliRunner().invoke(app, ["why", str(tmp_path / "j"), "1"]).output


@pytest.mark.parametrize("url", ["http://127.0.0.1:8765", "ws://127.0.0.1:99999", "wss://", "ws://user:canary@127.0.0.1:x"])
def test_a_feed_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(SimulatorError, match="--feed must be like ws://host:port") as told:
        source_of(url, run(WALKS, bars=1).tape, 0)
    assert "canary" not in str(told.value)


def test_how_to_go_on_is_said_without_a_password() -> None:
    assert without_password("redis://me:canary@[::1]:6379/0?stream=bars") == "redis://me:PASSWORD@[::1]:6379/0?stream=bars"
    assert without_password("ws://127.0.0.1:8765") == "ws://127.0.0.1:8765"
    assert without_password("-") == "-"


def test_a_pipe_has_said_all_when_it_is_closed(tmp_path: Path) -> None:
    whole, pipe = run(WALKS), tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("w") as file:
            for frame in frames_of(whole.tape):
                file.write(json.dumps(frame) + "\n")

    thread = Thread(target=write)
    thread.start()
    traded, status = paper(WALKS, Lines(str(pipe)), tmp_path / "j")
    thread.join()
    assert (traded.hash, status.over) == (whole.hash, True)


def test_the_screen_shows_feed_positions_orders_and_fills(tmp_path: Path) -> None:
    seen: list[str] = []

    def watch(live: LiveSession) -> None:
        if live.tape.rows > 100 and not seen:
            console = Console(width=120, record=True, file=io.StringIO())
            console.print(panel(live.session, newest(live.rows, (FILL, HALT)), live.status.lines(0.0), live.status.peak))
            seen.append(console.export_text())

    paper(WALKS, Given(frames_of(run(WALKS).tape)), tmp_path / "j", watch=watch)
    for words in ("connected", "equity", "below its peak", "positions", "open orders", "last fills", "fill"):
        assert words in seen[0]
