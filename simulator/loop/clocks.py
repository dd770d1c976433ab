"""Where time comes from: event time at once, or event time at a pace. The only file that may read a wall clock."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from simulator.errors import ScenarioError

SECOND: Final = 1_000_000_000
LOOK_SECONDS: Final = 0.2
"""How long a paced clock sleeps before it looks whether it was asked to stop."""


P = ParamSpec("P")
R = TypeVar("R")


class Stopwatch:
    """How many *seconds* of wall time the functions that it wraps have taken in this process so far. For summaries: no result may depend on it."""

    __slots__ = ("_depth", "seconds")

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """*function*, timed. What one timed function spends in another counts once."""

        @wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            began, self._depth = time.perf_counter(), self._depth + 1
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - began

        return timed


FITTING: Final = Stopwatch()
"""What the fitting of models takes: see simulator.models."""


class ReplayClock:
    """A clock that is always there already: history does not wait."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0

    def wait_until(self, at: int) -> None:
        """Be at *at*, in UTC nanoseconds."""
        self.now = at


class WallClock(ReplayClock):
    """The clock of a live session. Its event time is that of the last bar, which is here already when it is waited for; the time on the wall is for
    what happens while no bar comes.
    """

    __slots__ = ()

    @staticmethod
    def wall() -> int:
        """The time on the wall, in UTC nanoseconds."""
        return time.time_ns()

    @staticmethod
    def seconds() -> float:
        """Seconds that only ever go forward, for waits."""
        return time.monotonic()


class TookTooLongError(BaseException):
    """A call did not end within its time. No `except Exception` of that call can hold it up."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TookTooLongError where what stands inside does not end in time. It reaches Python code of the main thread only: a call into compiled
    code ends first.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


class PacedClock:
    """A clock on which history passes *speed* times as fast as it did; at speed inf it does not wait.

    Between two bars at most *longest* nanoseconds of history pass, which is the interval of the bars: nights, weekends, holidays and missing bars
    are skipped, and nothing else. The first bar is there at once. Bars are due by one schedule from there: after a slow one, the next come sooner
    until it is caught up with. Up to *through*, in UTC nanoseconds, no time passes: a resumed rehearsal does not wait for what is recorded already.
    *sleep* and *monotonic* count wall time in seconds. Raises ScenarioError for a speed below 1.
    """

    __slots__ = ("_due", "_longest", "_monotonic", "_sleep", "_speed", "now", "stopping", "through")

    def __init__(
        self,
        speed: float,
        longest: int,
        *,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not speed >= 1.0:
            raise ScenarioError(f"speed must be at least 1 (inf does not wait), was {speed:g}")
        self._speed, self._longest, self._sleep, self._monotonic = speed, longest, sleep, monotonic
        self.now, self.through, self.stopping, self._due = 0, 0, False, 0.0

    def wait_until(self, at: int) -> None:
        """Be at *at*, in UTC nanoseconds, when it is due. Raises KeyboardInterrupt instead if asked to stop: no part of that bar was run."""
        if self.now and at > self.through:
            self._due += min(at - self.now, self._longest) / SECOND / self._speed
        else:
            self._due = self._monotonic()
        while not self.stopping and (left := self._due - self._monotonic()) > 0.0:
            self._sleep(min(left, LOOK_SECONDS))
        if self.stopping:
            raise KeyboardInterrupt
        self.now = at

    def stop(self) -> None:
        """Let the bar that is being run be the last one."""
        self.stopping = True
