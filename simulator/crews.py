"""Who runs the trials of a sweep: one thread, several, processes, or the machines of a cluster; the trials are the same, to the last bit.

A process that dies, for want of memory perhaps, loses no trial: those that it may have had are run again, one by one. A trial that ends its process
every time is one that failed.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import suppress
from math import inf
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple, Protocol

import numpy as np

from simulator.assembly import code_version
from simulator.desks import Desk, Task, Trial
from simulator.errors import ScenarioError

Work = Callable[[Sequence[Task]], list[Trial]]

LIVES: Final = 3
"""So many processes may end with a trial that is run alone, before it is given up."""


class Crew(NamedTuple):
    """Who runs trials: so many *workers* on this machine, or those of the *cluster* whose scheduler has this address."""

    workers: int = 1
    cluster: str = ""

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to share with. Raises ScenarioError for less than one worker."""
        if self.workers < 1:
            raise ScenarioError(f"workers must be at least 1, was {self.workers}")
        return self.workers == 1 and not self.cluster


def trials(desk: Desk, tasks: Sequence[Task], crew: Crew) -> Iterator[Trial]:
    """The trials of *tasks* as they are done. Raises what `Desk.run` raises, and ScenarioError where a cluster cannot be reached."""
    return map(desk.run, tasks) if crew.is_alone or len(tasks) < 2 else _shared(desk, tasks, crew)


class Stop(Protocol):
    """What tells workers to come to an end."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...


class Pool(NamedTuple):
    """Workers: an executor, what each of its calls does with some tasks, and how many calls it is given *at_once*.

    *stop* has workers come back with the trials that they have. A call that lost its process ends with BrokenExecutor.
    """

    executor: Executor
    work: Work
    at_once: float
    stop: Stop


def _shared(desk: Desk, tasks: Sequence[Task], crew: Crew) -> Iterator[Trial]:
    """Trials by several workers. The first that does not fail is run here: what is wrong with all arrays is found once, and whether there are any."""
    for begun, task in enumerate(tasks, 1):  # noqa: B007
        first = desk.run(task)
        yield first
        if not first.error:
            break
    size = max(1, min(64, (len(tasks) - begun) // (4 * crew.workers)))
    if crew.cluster:
        # How many work there is theirs to say.
        size = min(size, 16)
    chunks = deque(tasks[k : k + size] for k in range(begun, len(tasks), size))
    lost: list[Task] = []
    while chunks:
        yield from _round(_pool(desk, crew, first.compiled), chunks, lost)

    # Of all that were at work when a process died we do not know which was at fault: from here on we do.
    chunks.extend([task] for task in lost)
    lives = Counter[int]()
    while chunks:
        lost = []
        yield from _round(_pool(desk, crew._replace(workers=1), first.compiled), chunks, lost)
        lives.update(task.number for task in lost)
        for task in lost:
            if lives[task.number] < LIVES:
                chunks.append([task])
            else:
                yield Trial(task.number, task.settings, {}, np.empty(0), error=f"its process died {LIVES} times, for want of memory perhaps")


def _pool(desk: Desk, crew: Crew, compiled: bool) -> Pool:
    if crew.cluster:
        return _clustered(desk, crew.cluster)
    # Compiled code does not hold Python up, so that threads do; and they do not die.
    return _threads(desk, crew.workers) if compiled else _processes(desk, crew.workers)


def _round(pool: Pool, chunks: deque[Sequence[Task]], lost: list[Task]) -> Iterator[Trial]:
    """Trials as one pool has them done, until no chunk is left, or the pool breaks; what went with its processes is then *lost*."""
    waiting: dict[Future[list[Trial]], Sequence[Task]] = {}
    with pool.executor:
        try:
            while chunks or waiting:
                while chunks and len(waiting) < pool.at_once:
                    waiting[pool.executor.submit(pool.work, chunks[0])] = chunks[0]
                    chunks.popleft()
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    chunk = waiting.pop(future)
                    try:
                        yield from future.result()
                    except BrokenExecutor:
                        lost += chunk
        except BrokenExecutor:
            # Found when the next chunk was to be sent.
            lost += [task for chunk in waiting.values() for task in chunk]
        except (KeyboardInterrupt, GeneratorExit) as end:
            pool.stop.set()
            pool.executor.shutdown(wait=False, cancel_futures=True)
            if isinstance(end, KeyboardInterrupt):
                # What is at work comes back with the trials that it has.
                for future in waiting:
                    with suppress(CancelledError, BrokenExecutor):
                        yield from future.result()
            raise


def _until(stop: Stop, desk: Desk, tasks: Sequence[Task]) -> list[Trial]:
    """The trials of *tasks*, or the first of them if it is to stop."""
    done = []
    for task in tasks:
        if stop.is_set():
            break
        done.append(desk.run(task))
    return done


def _threads(desk: Desk, workers: int) -> Pool:
    """Threads, of which each that works has a desk of its own."""
    desks: SimpleQueue[Desk] = SimpleQueue()
    for _ in range(workers):
        desks.put(desk.twin(near=True))
    stop = threading.Event()

    def work(tasks: Sequence[Task]) -> list[Trial]:
        mine = desks.get()
        try:
            return _until(stop, mine, tasks)
        finally:
            desks.put(mine)

    return Pool(ThreadPoolExecutor(workers), work, 2 * workers, stop)


def _processes(desk: Desk, workers: int) -> Pool:
    stop = multiprocessing.Event()
    given = (desk.source, desk.overrides, desk.checked, stop)
    # Little more than is worked on: what waits in the pool when a process dies counts as worked on.
    return Pool(ProcessPoolExecutor(workers, initializer=_sit_down, initargs=given), _work, workers + (workers > 1), stop)


_seats: list[tuple[Stop, Desk]] = []
"""In a worker process: its desk, and what stops it."""


def _sit_down(source: str | Path, overrides: tuple[str, ...], checked: bool, stop: Stop) -> None:
    # Ctrl-C is for the process that people see.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _seats[:] = [(stop, Desk(source, overrides, checked))]


def _work(tasks: Sequence[Task]) -> list[Trial]:
    return _until(*_seats[0], tasks)


def _clustered(desk: Desk, address: str) -> Pool:
    from simulator.cluster import Cluster, work_for

    # The desk comes from the cluster, and so does an end: what runs there is cancelled.
    return Pool(Cluster(address, desk), work_for(code_version()), inf, threading.Event())  # type: ignore[arg-type]
