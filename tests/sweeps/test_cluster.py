"""Sweeps on more machines: a real scheduler with two workers, on loopback."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sweeping import scenario, told

import simulator
from simulator import sweeps
from simulator.desks import Desk, Task

STARTED = "from scaler.entry_points.{} import main; main()"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return scenario(tmp_path)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The three programs of the README, each in a process of its own; the address of the scheduler."""
    pytest.importorskip("scaler", reason="not run: the extra [cluster] is not installed")
    storage, address = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    commands = (
        ("object_storage_server", storage),
        ("scheduler", "--object-storage-address", storage, address),
        ("worker_manager", "baremetal_native", "--worker-manager-id", "here", "--max-task-concurrency", "2", address),
    )
    with (tmp_path / "cluster.log").open("w") as log:
        started = [subprocess.Popen([sys.executable, "-c", STARTED.format(name), *given], stdout=log, stderr=log) for name, *given in commands]
        yield address
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_a_cluster_gives_the_same_trials(source: Path, scheduler: str) -> None:
    settings = sweeps.grid([sweeps.axis("strategy.fast=3:10:1"), sweeps.axis("strategy.slow=20,40")])
    alone, shared = sweeps.sweep(source, settings), sweeps.sweep(source, settings, cluster=scheduler)
    assert told(alone.trials) == told(shared.trials)


def test_a_desk_goes_over_the_wire_with_its_bars(source: Path) -> None:
    desk, task = Desk(source), Task(1, ("strategy.fast=5", "strategy.slow=30"))
    here = desk.run(Task(0, ("strategy.fast=4", "strategy.slow=30")))
    there = pickle.loads(pickle.dumps(desk.twin()))
    assert here.compiled
    trial = there.run(task)
    assert not trial.error
    assert np.array_equal(trial.returns, desk.run(task).returns)


def test_a_tape_that_was_sent_is_the_same_tape(source: Path) -> None:
    tape = simulator.run(simulator.load(source)).tape
    assert pickle.loads(pickle.dumps(tape)).digest() == tape.digest()
