"""Sweeps on more machines: a real scheduler and two managers with a worker each, on loopback; what is killed there, and what goes over the wire."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sweeping import scenario, told

import simulator
from simulator import sweeps
from simulator.desks import Desk, Task

STARTED = "from scaler.entry_points.{} import main; main()"

DAWDLING = """
import time
from dataclasses import dataclass

@dataclass(frozen=True)
class Dawdling:
    size: int = 10

    def on_bars(self, view):
        if view.row == 5:
            time.sleep(0.02)
        return [view.order(self.size)] if view.row % 10 == 0 else ()
"""

SIZES = "strategy.size=1:90:1"


class Started(NamedTuple):
    """A cluster: the address of its scheduler, the processes of its two managers, and what has one more machine join."""

    address: str
    managers: tuple[subprocess.Popen[bytes], ...]
    join: Callable[[str], object]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return scenario(tmp_path)


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A scenario whose trials take long enough for something to happen meanwhile."""
    (tmp_path / "dawdling.py").write_text(DAWDLING)
    return scenario(tmp_path, "dawdling.py:Dawdling")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Started]:
    """The programs of the README, each in a process of its own; lost workers are given up after 5 seconds, and not 60."""
    pytest.importorskip("scaler", reason="not run: the extra [cluster] is not installed")
    storage, address = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    manager = ("worker_manager", "baremetal_native", "--max-task-concurrency", "1", "--worker-manager-id")
    commands = (
        ("object_storage_server", storage),
        ("scheduler", "--object-storage-address", storage, "--worker-timeout-seconds", "5", address),
        (*manager, "machine-1", address),
        (*manager, "machine-2", address),
    )
    with (tmp_path / "cluster.log").open("w") as log:
        started: list[subprocess.Popen[bytes]] = []

        def start(name: str, *given: str) -> None:
            command = [sys.executable, "-c", STARTED.format(name), *given]
            started.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))

        for command in commands:
            start(*command)
        yield Started(address, tuple(started[2:]), lambda machine: start(*manager, machine, address))
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def runners(manager: subprocess.Popen[bytes]) -> list[Any]:
    """The processes of a manager in which trials are run: those that have none of their own."""
    import psutil

    found = psutil.Process(manager.pid).children(recursive=True)
    return [process for process in found if process.ppid() != manager.pid and not process.children()]


def test_a_cluster_gives_the_same_trials(source: Path, cluster: Started) -> None:
    settings = sweeps.grid([sweeps.axis("strategy.fast=3:10:1"), sweeps.axis("strategy.slow=20,40")])
    alone, shared = sweeps.sweep(source, settings), sweeps.sweep(source, settings, cluster=cluster.address)
    assert told(alone.trials) == told(shared.trials)


def test_what_is_killed_in_a_cluster_loses_no_trial(slow: Path, cluster: Started) -> None:
    """First the process in which a worker runs trials, as for want of memory, and then a whole machine, whose place another takes.

    Without that one nobody may be left: a worker that has lost its process does not always get over it.
    """
    first, second = cluster.managers
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        # The second machine may be there later than the first.
        if done > 10 and not killed and (found := runners(second)):
            killed.append(found[0].pid)
            found[0].kill()
        elif done > 30 and len(killed) == 1:
            killed.append(first.pid)
            os.killpg(first.pid, signal.SIGKILL)
            cluster.join("machine-3")

    settings = sweeps.grid([sweeps.axis(SIZES)])
    shared = sweeps.sweep(slow, settings, cluster=cluster.address, progress=kill)
    assert len(killed) == 2
    assert told(shared.trials) == told(sweeps.sweep(slow, settings).trials)


def test_ctrl_c_keeps_what_a_cluster_has_done(slow: Path, tmp_path: Path, cluster: Started) -> None:
    settings = sweeps.grid([sweeps.axis(SIZES)])
    plan = sweeps.plan_text(slow, (), settings)

    def stop(done: int, total: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    store = sweeps.Store(tmp_path / "trials.db", plan)
    assert 20 < len(sweeps.sweep(slow, settings, store=store, cluster=cluster.address, progress=stop).trials) < len(settings)
    assert len(store.trials()) > 20
    assert told(sweeps.sweep(slow, settings, store=store, cluster=cluster.address).trials) == told(sweeps.sweep(slow, settings).trials)
    store.close()


def test_a_desk_is_sent_to_each_worker_once(source: Path, cluster: Started) -> None:
    from simulator.cluster import Cluster

    def count(desk: Any) -> tuple[int, int]:
        # What is left in the desk is there at the next call, unless that has another copy.
        desk.calls = getattr(desk, "calls", 0) + 1
        return os.getpid(), desk.calls

    with Cluster(cluster.address, Desk(source)) as there:
        calls = [future.result() for future in [there.submit(count) for _ in range(60)]]
    for worker in {worker for worker, _ in calls}:
        seen = sorted(number for one, number in calls if one == worker)
        assert seen == list(range(1, len(seen) + 1))


def test_a_desk_goes_over_the_wire_with_its_bars_and_a_trial_comes_back_without(source: Path) -> None:
    desk, task = Desk(source), Task(1, ("strategy.fast=5", "strategy.slow=30"))
    here = desk.run(Task(0, ("strategy.fast=4", "strategy.slow=30")))
    sent = pickle.dumps(desk.twin())
    there = pickle.loads(sent)
    assert here.compiled
    trial = there.run(task)
    assert not trial.error
    assert np.array_equal(trial.returns, desk.run(task).returns)
    assert len(pickle.dumps(trial)) < trial.returns.nbytes + 2_000 < len(sent)


def test_a_tape_that_was_sent_is_the_same_tape(source: Path) -> None:
    tape = simulator.run(simulator.load(source)).tape
    assert pickle.loads(pickle.dumps(tape)).digest() == tape.digest()
