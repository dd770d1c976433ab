"""Several calendars as one: what falls due with the same bars happens in the order of the phases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulator.book.fills import Event
from simulator.market.tape import Bars
from simulator.ports import Calendar


class Agenda:
    """Calendars one after the other: corporate actions, then settlement, then financing. Each sees what those before it have settled.

    Whether a part is due is asked again when its turn comes, since a part before it may have changed that; asking must change nothing.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Calendar]) -> None:
        self.parts = tuple(parts)

    def due(self, bars: Bars) -> bool:
        """Whether any part is due with these bars."""
        return any(part.due(bars) for part in self.parts)

    def take(self, bars: Bars) -> Iterator[Event]:
        """What falls due in each part, in their order."""
        for part in self.parts:
            if part.due(bars):
                yield from part.take(bars)


def agenda(parts: Sequence[Calendar]) -> Calendar | None:
    """These calendars as one, in their order; None where there are none, which costs nothing a bar."""
    if len(parts) < 2:
        return parts[0] if parts else None
    return Agenda(parts)
