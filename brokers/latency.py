"""How long a wish takes to reach the market."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy


def arrive(environment: simpy.Environment, at: int, deliver: Callable[[], None]) -> Generator[Any, None, None]:
    """A process that delivers at *at*, in UTC nanoseconds."""
    yield environment.timeout(at - environment.now)
    deliver()
