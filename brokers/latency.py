"""How long a wish takes to reach the market."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import simpy

from simulator import Cancel, IntArray, Order, Replace


class Clear(NamedTuple):
    """The wish that no order in these instruments which is older than the id *newer* stays open."""

    instruments: IntArray
    newer: int


Sent = Order | Cancel | Replace | Clear
"""What can be under way to the market."""


def arrive(environment: simpy.Environment, at: int, deliver: Callable[[], None]) -> Generator[Any, None, None]:
    """A process that delivers at *at*, in UTC nanoseconds."""
    yield environment.timeout(at - environment.now)
    deliver()
