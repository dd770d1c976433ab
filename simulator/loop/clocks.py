"""Where time comes from. Event time only: the one clock so far replays."""

from __future__ import annotations


class ReplayClock:
    """A clock that is always there already: history does not wait."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0

    def wait_until(self, at: int) -> None:
        """Be at *at*, in UTC nanoseconds."""
        self.now = at
