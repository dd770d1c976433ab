"""What happens in a paper session between two bars: told when it happens, and nothing else than what a replay has."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from live_feeds import Given, assert_replays, frames_of
from rich.console import Console

from simulator import DAY, SECOND, load
from simulator.assembly import run
from simulator.loop import recording
from simulator.loop.clocks import WallClock
from simulator.paper import LiveSession, paper
from simulator.report.screen import panel
from simulator.scenarios import Scenario

BUYS = """
class Buys:
    def on_bars(self, view):
        return [view.order(10)] if view.row in (1, 4) else ()
"""
MINUTE = 60 * SECOND


def scenario_in(folder: Path, broker: str) -> Scenario:
    """Twelve minutes of one instrument, and orders at the second of them and at the fifth."""
    (folder / "mine.py").write_text(BUYS)
    text = f'[feed]\nkind = "walks"\nsymbols = ["A"]\nbars = 12\ninterval = "1m"\n[strategy]\nname = "mine.py:Buys"\n[broker]\n{broker}'
    (folder / "mine.toml").write_text(text)
    return load(folder / "mine.toml")


class Halting(Given):
    """Frames of which one is followed by nothing, until *ready*."""

    def __init__(self, frames: Any, after: int, ready: Event) -> None:
        super().__init__(frames)
        self.after, self.ready = after, ready

    def run(self, put: Any, since: Callable[[], int], stopping: Event) -> None:
        for k, frame in enumerate(self.frames):
            put(frame)
            if k == self.after:
                self.ready.wait(10.0)
        super().__init__([])
        super().run(put, since, stopping)


def test_an_order_is_seen_to_arrive_before_the_next_bar_and_the_journal_is_that_of_a_replay(tmp_path: Path) -> None:
    scenario, ready, shown = scenario_in(tmp_path, "latency_seconds = 0.25\n"), Event(), list[str]()
    tape = run(scenario).tape

    def watch(live: LiveSession) -> None:
        if live.due and not ready.is_set():
            assert live.tape.rows == 2
            console = Console(width=120, record=True, file=io.StringIO())
            console.print(panel(live.session, [], live.status.lines(0.0), live.status.peak, live.due))
            shown.append(console.export_text())
            ready.set()

    with (tmp_path / "log").open("w") as log:
        traded, _ = paper(scenario, Halting(frames_of(tape), 1, ready), tmp_path / "j", past=tape.cut(0), log=log, watch=watch)
    assert ready.is_set()
    assert "00:02:00.250  A  order 1 has reached the market: +10 lots" in shown[0]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["at"] for line in lines if line["kind"] == "arrived"] == [tape.ats[k] + SECOND // 4 for k in (1, 4)]
    assert traded.hash == run(scenario).hash
    assert_replays(tmp_path / "j", tmp_path / "out")


def test_slices_are_seen_at_their_moments_and_told_once(tmp_path: Path) -> None:
    scenario, ready = scenario_in(tmp_path, "[broker.slicing]\nslices = 5\nseconds = 0.2\n"), Event()
    tape, times = run(scenario).tape, list[int]()

    def watch(live: LiveSession) -> None:
        if not ready.is_set() and len(live.due) > len(times):
            times[:] = [due.at for due in live.due]
            assert times[-1] <= live.now
            if len(times) == 4:
                ready.set()

    with (tmp_path / "log").open("w") as log:
        traded, _ = paper(scenario, Halting(frames_of(tape), 1, ready), tmp_path / "j", past=tape.cut(0), log=log, watch=watch)
    begins = [tape.ats[row] + k * SECOND // 5 for row in (1, 4) for k in (1, 2, 3, 4)]
    assert times == begins[:4]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["at"] for line in lines if line["kind"] == "slice"] == begins
    assert traded.hash == run(scenario).hash
    assert_replays(tmp_path / "j", tmp_path / "out")


def test_a_session_that_is_stopped_between_an_order_and_its_slices_goes_on_to_the_same_journal(tmp_path: Path) -> None:
    scenario, stop = scenario_in(tmp_path, "latency_seconds = 0.1\n[broker.slicing]\nslices = 3\nseconds = 70\n"), Event()
    whole = run(scenario)
    frames, past = frames_of(whole.tape), whole.tape.cut(0)
    first = Given(frames[:2], ends=False)
    paper(scenario, first, tmp_path / "j", past=past, stopping=stop, watch=lambda live: stop.set() if len(live.due) > 1 else None)
    traded, _ = paper(scenario, Given(frames), tmp_path / "j", past=past, resume=True)
    assert traded.hash == whole.hash
    assert_replays(tmp_path / "j", tmp_path / "out")


@pytest.mark.parametrize("ago", [0, 90 * DAY])
def test_time_is_that_of_the_wall_or_goes_on_from_a_bar_of_the_past(ago: int, tmp_path: Path) -> None:
    scenario, stop, seen = scenario_in(tmp_path, ""), Event(), list[int]()
    tape, now = run(scenario).tape, WallClock.wall() - ago
    ((bar,),) = frames_of(tape, end=1)

    def watch(live: LiveSession) -> None:
        if live.tape.rows:
            seen.append(live.now)
        if len(seen) > 4:
            stop.set()

    frame = [{**bar, "t": now - MINUTE, "e": now, "s": now // DAY}]
    paper(scenario, Given([frame], ends=False), tmp_path / "j", past=tape.cut(0), stopping=stop, watch=watch)
    assert seen == sorted(seen)
    assert 0 <= seen[0] - now < 5 * SECOND
    assert seen[-1] - seen[0] > SECOND // 10


def test_a_kill_switch_is_seen_before_the_bar_that_it_halts(tmp_path: Path) -> None:
    scenario, stop = scenario_in(tmp_path, ""), Event()
    tape, path = run(scenario).tape, tmp_path / "j"

    def watch(live: LiveSession) -> None:
        kill = Path(f"{path}.kill")
        if live.status.counts["kill"] == 1:
            kill.unlink(missing_ok=True)
        elif live.status.counts["kill"] == 2:
            stop.set()
        elif live.tape.rows == 3:
            kill.touch()

    paper(scenario, Given(frames_of(tape, end=3), ends=False), path, past=tape.cut(0), stopping=stop, watch=watch)
    said = [x for x in recording.read(path).said if x.kind == "kill"]
    assert [x.at for x in said] == [tape.ats[2]] * 2
    assert ["halts with the next bar" in said[0].words, "goes on with the next bar" in said[1].words] == [True, True]
