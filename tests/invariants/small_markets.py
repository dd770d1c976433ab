"""The least markets that show something, and a strategy that does what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, nan
from typing import Any

import numpy as np

from brokers.costs import FREE
from brokers.simulated import Simulated
from brokers.slippage import NO_SLIPPAGE
from simulator import DAY, SECOND, Account, Instrument, Limits, OrderBatch, Proposal, Result, Tape, View, simulate

Row = tuple[float, float, float, float, float] | None

HOUR = 3600 * SECOND
QUIET: Row = (10.0, 10.0, 10.0, 10.0, 1000.0)


def flat(price: float, volume: float = 1000.0) -> Row:
    """A bar in which nothing moves."""
    return (price, price, price, price, volume)


def markets(tick: str = "0", lot: str = "1", interval: int = DAY, **rows: list[Row]) -> Tape:
    """Bars of several instruments, one after another from the beginning of 1970; None is a missing bar."""
    columns = np.array([[(nan,) * 5 if row is None else row for row in table] for table in rows.values()], float).transpose(2, 1, 0)
    closes = (np.arange(columns.shape[1]) + 1) * interval
    return Tape.of([Instrument(symbol, tick=tick, lot=lot) for symbol in rows], closes, *columns, interval=interval)


def daily(*rows: Row, tick: str = "0", lot: str = "1") -> Tape:
    """Daily bars of the one instrument X."""
    return markets(tick, lot, X=list(rows))


def hourly(*rows: Row) -> Tape:
    """Hourly bars of X around the clock: 24 a session."""
    return markets(interval=HOUR, X=list(rows))


def plain(**terms: Any) -> Simulated:
    """A broker without costs or caps, except for what is asked for."""
    return Simulated(**{"participation": inf, "commission": FREE, "slippage": NO_SLIPPAGE, **terms})


@dataclass
class Script:
    """Does what is written for a bar, and notes what it saw of its account at each: (cash, equity, position, open orders)."""

    steps: Mapping[int, Callable[[View], Proposal]]
    seen: list[tuple[float, float, list[float], list[int]]] = field(default_factory=list)

    def on_bars(self, view: View) -> Proposal:
        self.seen.append((view.cash, view.equity, view.position.tolist(), view.open_orders))
        step = self.steps.get(view.row)
        return step(view) if step else ()


def run(
    tape: Tape,
    steps: Mapping[int, Callable[[View], Proposal]],
    broker: Simulated | None = None,
    *,
    cash: float = 100_000.0,
    account: Account | None = None,
    limits: Limits | None = None,
) -> Result:
    """Run a script, with all identities checked after every bar. Leverage is free unless an account says otherwise."""
    return simulate(tape, Script(steps), broker=broker or plain(), account=account or Account(cash, "margin", inf), limits=limits, check=True)


def market_orders(view: View, *wishes: tuple[int, float]) -> OrderBatch:
    """Market orders for (instrument, lots), as one batch."""
    return OrderBatch(view.ids.block(len(wishes)), np.array([i for i, _ in wishes], np.int64), np.array([lots for _, lots in wishes], np.int64))


def fills(result: Result) -> list[tuple[int, int, float, float]]:
    """What was traded: (order, bar, signed quantity, price)."""
    return [(fill.order, fill.bar, fill.quantity, fill.price) for fill in result.fills]


def states(result: Result) -> dict[int, str]:
    """How each order stands at the end, and why."""
    return {order.order: f"{order.state}: {order.reason}" for order in result.orders}


def waits(result: Result) -> dict[int, list[tuple[str, int, int]]]:
    """What each order waited for: (reason, first bar, last bar)."""
    ats = result.tape.closed_at.tolist()
    return {order.order: [(reason, ats.index(first), ats.index(last)) for reason, first, last in order.waits] for order in result.orders}
