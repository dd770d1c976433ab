"""Trials on more machines, by opengris-scaler (the extra `cluster`): an executor beside threads and processes.

Its traffic is pickled code without authentication: private networks only. Every worker needs this program in the same version, and the files that a
scenario names at the same paths. A worker that is lost costs time and no trial: its tasks go to another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

from simulator.assembly import code_version
from simulator.desks import Desk, Task, Trial
from simulator.errors import ScenarioError


class Cluster(Executor):
    """Workers behind the scheduler at *address*, such as "tcp://10.0.0.5:6378". The *desk* is sent once; each call gets it as its first argument.

    Raises ScenarioError where the extra is not installed, or nobody answers.
    """

    def __init__(self, address: str, desk: Desk) -> None:
        try:
            from scaler import Client
            from scaler.utility.exceptions import ProcessorDiedError, WorkerDiedError
        except ImportError:
            raise ScenarioError("--cluster needs opengris-scaler: pip install 'tradewind[cluster]'") from None
        try:
            self._client: Any = Client(address=address, timeout_seconds=30)
        except Exception as error:
            raise ScenarioError(f"--cluster: no scheduler answers at {address}: {error}") from error
        # A worker that is lost hands its tasks on, but one that loses the process in which it runs them does not.
        self.losses: tuple[type[Exception], ...] = (ProcessorDiedError, WorkerDiedError, BrokenExecutor)
        self._desk = self._client.send_object(desk.twin(), name="desk")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have *fn* called with the desk and *args* by some worker."""
        made: Future[Any] = self._client.submit(fn, self._desk, *args, **kwargs)
        return made

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, which goes on without us."""
        if cancel_futures:
            self._client.clear()
        self._client.disconnect()


def work_for(code: str) -> Callable[[Desk, Sequence[Task]], list[Trial]]:
    """What a worker does for a program of the version *code*."""

    def work(desk: Desk, tasks: Sequence[Task]) -> list[Trial]:
        if code_version() != code:
            raise ScenarioError(f"a worker runs {code_version()}, and this is {code}: install the same version on every machine")
        try:
            return [desk.run(task) for task in tasks]
        except KeyboardInterrupt:
            raise BrokenExecutor("this worker was stopped") from None

    return work
