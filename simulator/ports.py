"""The ports: what the loop asks of its parts. Each has a real adapter in memory, which tests use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from simulator.book.fills import Event
    from simulator.book.orders import FloatArray, IntArray, Proposal, Refusal, Standing, Wish
    from simulator.market.indicators import Indicator
    from simulator.market.tape import Bars
    from simulator.market.view import View


class Clock(Protocol):
    """Where time comes from, in UTC nanoseconds."""

    @property
    def now(self) -> int: ...

    def wait_until(self, at: int) -> None: ...


class Feed(Protocol):
    """Where bars come from: iterate it. The cursor that it yields is one object, moved on."""

    def __iter__(self) -> Iterator[Bars]: ...


class Strategy(Protocol):
    """Proposes orders from a view of the past. May also have `indicators()`; see HasIndicators, and `wakes()`; see loop.wakes."""

    def on_bars(self, view: View) -> Proposal: ...


class Sizer(Protocol):
    """Says how much of each: it stands between the weights that a strategy asks for and the orders that are made of them."""

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        """The weights to trade to, (instruments,), for those *wanted*: NaN leaves an instrument alone, 0 closes it."""


class HasIndicators(Protocol):
    """A strategy that reads indicators: `view[name]` gives today's values of each."""

    def indicators(self) -> dict[str, Indicator]: ...


class Broker(Protocol):
    """Takes orders, works them against bars, gives fills.

    *pending* is lots on their way and *open_orders* how many orders are open, both (instruments,) and always up to date.
    """

    pending: IntArray
    open_orders: IntArray

    def submit(self, approved: Sequence[Wish]) -> tuple[Event, ...]:
        """Take these wishes, in this order; what comes back happened at once: rejections and cancellations."""

    def work(self, bars: Bars) -> tuple[Event, ...]:
        """What happened to open orders in these bars."""

    def standing(self, order: int) -> Standing | None:
        """The open order with this id, if there is one."""

    def open_ids(self) -> list[int]:
        """The ids of all open orders (children of a parent apart), oldest first."""


class Calendar(Protocol):
    """What happens to the account and to open orders because it is time: corporate actions, settlement, financing."""

    def due(self, bars: Bars) -> bool:
        """Whether anything happens with these bars. It is asked at every bar."""

    def take(self, bars: Bars) -> Iterator[Event]:
        """What happens, before any order meets these bars. Each event is settled before the next is made, so that it builds on it."""


class Switch(Protocol):
    """What stops trading from outside."""

    def thrown(self, at: int) -> bool:
        """Whether trading is to stop, asked at the bar that closed *at*, in UTC nanoseconds."""


class Journal(Protocol):
    """The append-only record of a run."""

    def record(
        self,
        bars: Bars,
        events: Sequence[Event],
        approved: Sequence[Wish],
        refused: Sequence[Refusal],
        answers: Sequence[Event],
    ) -> None: ...

    def note(self, bars: Bars, settled: Sequence[Event]) -> None:
        """Append what fell due with these bars, before anything else of them."""

    def read(self) -> bytes: ...
