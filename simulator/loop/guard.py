"""What stands before a strategy that trades live: when it raises or hangs it is stopped, and the feed, the broker and the limits go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from simulator.book.orders import Cancel, Order, OrderBatch, OrderIds, Proposal, Remark, Replace, check_batch, sound
from simulator.loop.clocks import TookTooLongError, within
from simulator.market.indicators import Indicator
from simulator.market.view import View
from simulator.ports import Strategy, Switch

WISHES: Final = (Order, Cancel, Replace, Remark, OrderBatch)


class Guarded:
    """A strategy that is called until it raises, returns what is no proposal, or takes more than *seconds*.

    From that bar on it is never called again; what it had begun to propose is forgotten, its order ids too. At the next bar trading is halted as by
    the kill switch, so that risk.on_halt says what happens to what is open. The halt is final: a resumed session keeps to it (*failed_at*, the close
    of that bar). *tell* hears of it once, with that close and the reason.
    """

    def __init__(self, strategy: Strategy, seconds: float, failed_at: int | None, tell: Callable[[int, str], None]) -> None:
        self.strategy, self.failed_at = strategy, failed_at
        self.ids: OrderIds | None = None
        self.seconds, self._tell = seconds, tell

    def indicators(self) -> dict[str, Indicator]:
        """Those of the strategy."""
        return self.strategy.indicators() if hasattr(self.strategy, "indicators") else {}

    def thrown(self, at: int) -> bool:
        """Whether trading is to stop at the bar that closed *at*: it is a switch as well."""
        return self.failed_at is not None and at > self.failed_at

    def on_bars(self, view: View) -> Proposal:
        """What the strategy proposes, while it can be asked."""
        at = view.bars.closed_at
        if self.failed_at is not None and at >= self.failed_at:
            return ()
        assert self.ids is not None
        before = self.ids.last
        try:
            if self.seconds == inf:
                return self.strategy.on_bars(view)
            with within(self.seconds):
                proposed = self.strategy.on_bars(view)
            if not (proposed is None or isinstance(proposed, OrderBatch) or _is_wishes(proposed)):
                raise TypeError(f"on_bars must return orders, was {str(proposed)[:80]!r}")
            if isinstance(proposed, OrderBatch):
                check_batch(proposed, len(view.symbols))
                return proposed
            return sound(proposed, len(view.symbols)) if proposed else proposed
        except TookTooLongError:
            why = f"took more than {self.seconds:g} s"
        except Exception as error:
            if self.seconds == inf:
                raise
            why = f"raised {type(error).__name__}: {error}"
        self.ids.last, self.failed_at = before, at
        self._tell(at, f"{type(self.strategy).__name__} {why}")
        return ()


def _is_wishes(proposed: object) -> bool:
    return isinstance(proposed, Sequence) and all(isinstance(wish, WISHES) for wish in proposed)


class Either:
    """Thrown while one of these switches is."""

    __slots__ = ("_switches",)

    def __init__(self, *switches: Switch) -> None:
        self._switches = switches

    def thrown(self, at: int) -> bool:
        """Whether one of them is thrown at the bar that closed *at*."""
        return any(switch.thrown(at) for switch in self._switches)
