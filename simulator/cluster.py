"""Trials on more machines, by opengris-scaler (the extra `cluster`): an executor beside threads and processes.

Its traffic is pickled code without authentication: private networks only. Every worker needs this program in the same version, and the files that a
scenario names at the same paths. What all trials share goes to each worker once. A worker that is lost costs time and no trial: the scheduler gives
its tasks to another, and those whose process alone was lost are sent again by whoever sent them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, InvalidStateError
from contextlib import suppress
from typing import Any

from simulator.assembly import code_version
from simulator.desks import Desk, Task, Trial
from simulator.errors import ScenarioError


class Cluster(Executor):
    """Workers behind the scheduler at *address*, such as "tcp://10.0.0.5:6378". The *desk* is sent once; each call gets it as its first argument.

    A call whose process was lost raises BrokenExecutor, and may be sent again. Raises ScenarioError where the extra is not installed, nobody
    answers, or the scheduler is lost.
    """

    def __init__(self, address: str, desk: Desk) -> None:
        try:
            from scaler import Client
        except ImportError:
            raise ScenarioError("--cluster needs opengris-scaler: pip install 'tradewind[cluster]'") from None
        try:
            self._client: Any = Client(address=address, timeout_seconds=30)
        except Exception as error:
            raise ScenarioError(f"--cluster: no scheduler answers at {address}: {error}") from error
        self._lost = f"--cluster: the scheduler at {address} or its object storage was lost: start it, and then the same command again"
        self._answers: set[Future[Any]] = set()
        self._desk = self._client.send_object(desk.twin(), name="desk")
        threading.Thread(target=self._despair, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have *fn* called with the desk and *args* by some worker."""
        from scaler.utility import exceptions

        def settle(made: Future[Any]) -> None:
            self._answers.discard(answer)
            with suppress(InvalidStateError):
                try:
                    answer.set_result(made.result())
                except CancelledError:
                    answer.cancel()
                except (exceptions.ProcessorDiedError, exceptions.WorkerDiedError) as error:
                    answer.set_exception(BrokenExecutor(str(error)))
                except exceptions.DisconnectedError:
                    answer.set_exception(ScenarioError(self._lost))
                except BaseException as error:
                    answer.set_exception(error)

        answer: Future[Any] = Future()
        self._answers.add(answer)
        try:
            self._client.submit(fn, self._desk, *args, **kwargs).add_done_callback(settle)
        except Exception as error:
            raise ScenarioError(f"{self._lost} ({error})") from error
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, which goes on without us."""
        for answer in list(self._answers):
            answer.cancel()
        if cancel_futures:
            self._client.clear()
        self._client.disconnect()

    def _despair(self) -> None:
        """Where the client has come to an end, nothing else is answered: it does not always say so itself."""
        self._client._stop_event.wait()
        for answer in list(self._answers):
            with suppress(InvalidStateError):
                answer.set_exception(ScenarioError(self._lost))


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
