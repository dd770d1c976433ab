"""What a strategy proposes is looked at before compiled code is: an instrument that there is none of, and lots that are not whole, are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, fills, market_orders, markets, plain, run

from simulator import Limits, Margin, Order, OrderBatch, PluginError, Proposal, View, simulate

NO_SUCH = "on_bars returned an order for instrument number {}: there are 2, from 0"
NOT_WHOLE = "on_bars returned an order with instrument {!r} and lots {!r}: both must be whole numbers; view.order"
IN_BATCH = "on_bars returned a batch whose {} have number {}: there are 2, from 0"


def one(instrument: Any, lots: Any) -> Callable[[View], Proposal]:
    """One order, made by hand."""
    return lambda view: (Order(view.ids.next(), instrument, lots),)


def beside(instrument: Any, lots: Any) -> Callable[[View], Proposal]:
    """One that is right, and one that was made by hand."""
    return lambda view: [view.order(1), Order(view.ids.next(), instrument, lots)]


def batch(instrument: int, *clears: int) -> Callable[[View], Proposal]:
    """A batch of one order."""

    def send(view: View) -> OrderBatch:
        made = market_orders(view, (instrument, 1))
        return OrderBatch(made.ids, made.instruments, made.lots, clears=np.array(clears, np.int64))

    return send


WRONG = [
    (one(2, 1), NO_SUCH.format(2)),
    (one(-1, 1), NO_SUCH.format(-1)),
    (beside(9, 1), NO_SUCH.format(9)),
    (one(0, 10.5), NOT_WHOLE.format(0, 10.5)),
    (one("X", 10), NOT_WHOLE.format("X", 10)),
    (beside(0, "ten"), NOT_WHOLE.format(0, "ten")),
    (batch(2), IN_BATCH.format("instruments", 2)),
    (batch(-1), IN_BATCH.format("instruments", -1)),
    (batch(0, 7), IN_BATCH.format("clears", 7)),
    (lambda view: [batch(5)(view)], IN_BATCH.format("instruments", 5)),
]
ENGINES: list[dict[str, Any]] = [
    {},
    {"limits": Limits(rate_max=5, rate_seconds=60.0)},
    {"limits": Limits(groups={"all": ("X", "Y")}, group_max=1.0)},
    {"margin": Margin(), "limits": Limits(gross_max=1.0)},
]


class Sends:
    """Proposes something once."""

    def __init__(self, send: Callable[[View], Proposal]) -> None:
        self.send = send

    def on_bars(self, view: View) -> Proposal:
        return self.send(view) if view.row == 0 else ()


@pytest.mark.parametrize(("send", "words"), WRONG)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_wrong_is_refused_in_words(send: Callable[[View], Proposal], words: str, engine: dict[str, Any]) -> None:
    with pytest.raises(PluginError) as caught:
        simulate(markets(X=[QUIET] * 3, Y=[QUIET] * 3), Sends(send), broker=plain(), **engine)
    assert words in str(caught.value)


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    for send in (one(np.int64(1), np.int32(5)), beside(np.int64(1), np.int64(5))):
        result = run(markets(X=[QUIET] * 3, Y=[QUIET] * 3), {0: send})
        assert fills(result)[-1][1:] == (1, 5, 10.0)
        assert result.fills[-1].symbol == "Y"
