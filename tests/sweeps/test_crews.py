"""Who runs the trials of a sweep: processes that die lose none of them, and Ctrl-C keeps what is done."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

from sweeping import scenario, told

from simulator import sweeps

DEADLY = """
import os, signal
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Deadly:
    size: int = 10
    dies: int = 0

    def on_bars(self, view):
        if view.row == 9 and self.size == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return [view.order(self.size)] if view.row % 10 == 0 else ()
"""

SETTINGS = sweeps.grid([sweeps.axis("strategy.size=1:40:1")])
# So many that they are not all done while a signal is on its way.
MANY = sweeps.grid([sweeps.axis("strategy.size=1:200:1")])


def deadly(folder: Path) -> Path:
    (folder / "deadly.py").write_text(DEADLY)
    return scenario(folder, "deadly.py:Deadly")


def test_a_process_that_is_killed_loses_no_trial(tmp_path: Path) -> None:
    source, killed = deadly(tmp_path), []

    def kill(done: int, total: int) -> None:
        if done in (3, 15):
            # Who was killed may be listed for a while.
            pid = next(process.pid for process in multiprocessing.active_children() if process.pid not in killed)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    shared = sweeps.sweep(source, SETTINGS, workers=2, progress=kill)
    assert len(killed) == 2
    assert told(shared.trials) == told(sweeps.sweep(source, SETTINGS).trials)


def test_a_trial_that_ends_its_process_every_time_is_listed_and_the_others_are_run(tmp_path: Path) -> None:
    source = deadly(tmp_path)
    shared = sweeps.sweep(source, SETTINGS, overrides=["strategy.dies=7"], workers=2)
    assert [(trial.settings, trial.error) for trial in shared.failed] == [
        (("strategy.size=7",), "its process died 3 times, for want of memory perhaps")
    ]
    alone = sweeps.sweep(source, SETTINGS, overrides=["strategy.dies=0"])
    assert [trial.returns.tobytes() for trial in shared.trials if not trial.error] == [
        trial.returns.tobytes() for trial in alone.trials if trial.number != 6
    ]


def test_ctrl_c_keeps_what_processes_have_done(tmp_path: Path) -> None:
    """The whole group hears it, as from a terminal: the workers bring what they have, and the same command goes on."""
    source = deadly(tmp_path)
    plan = sweeps.plan_text(source, (), MANY)

    def stop(done: int, total: int) -> None:
        if done == 4:
            signal.setitimer(signal.ITIMER_REAL, 0.005)

    def interrupt(number: int, frame: object) -> None:
        for process in multiprocessing.active_children():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGINT)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        store = sweeps.Store(tmp_path / "trials.db", plan)
        stopped = sweeps.sweep(source, MANY, workers=2, store=store, progress=stop)
        store.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert 4 <= len(stopped.trials) < len(MANY)
    store = sweeps.Store(tmp_path / "trials.db", plan)
    assert len(store.trials()) == len(stopped.trials)
    assert told(sweeps.sweep(source, MANY, workers=2, store=store).trials) == told(sweeps.sweep(source, MANY).trials)
    store.close()
