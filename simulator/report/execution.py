"""What it cost to carry decisions out: the implementation shortfall of each order, itemised so that the parts sum to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum, nan

from simulator.book.orders import OrderState, Reason
from simulator.errors import SimulatorError
from simulator.loop import journal as rows
from simulator.loop.journal import times_to_rows
from simulator.market.tape import SECOND, Tape
from simulator.report.results import FillRow, OrderRow, Result
from simulator.report.telling import Columns, money, price, quantity


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What an order earned less than on paper, where all of it trades at the price of its decision, at once and for nothing; above 0 is a cost.

    *decision* is the last close when it was sent, *arrival* the open of the first bar that it could meet, *average* what it paid (NaN where nothing
    traded) and *closing* the close of the bar in which it ended, or of the last one. In money: *delay* is what the filled part lost from decision to
    arrival, *impact* its slippage (spread and impact) and *timing* the rest of what it lost against the arrival; *opportunity* is what the unfilled
    part lost from decision to closing, and *fees* are commissions. *paper* and *real* are the profits up to closing that differ by their sum.
    Source: Perold, The implementation shortfall: paper versus reality, Journal of Portfolio Management 14 (1988).
    """

    order: int
    client_id: str
    symbol: str
    quantity: float
    filled: float
    children: int
    decision: float
    arrival: float
    average: float
    closing: float
    delay: float
    impact: float
    timing: float
    opportunity: float
    fees: float
    paper: float
    real: float
    value: float

    @property
    def trading(self) -> float:
        """What the filled part lost against the arrival price: spread and impact, and timing."""
        return self.impact + self.timing

    @property
    def total(self) -> float:
        """All parts: paper less real profit."""
        return fsum((self.delay, self.impact, self.timing, self.opportunity, self.fees))

    def bps(self, part: float) -> float:
        """A *part* in money as basis points of *value*, the whole order at its decision price; NaN where that is nothing."""
        return part / self.value * 10_000.0 if self.value else nan


def shortfall(result: Result, parent: int) -> Shortfall:
    """The shortfall of the order with this id, its slices included. Raises SimulatorError where there is none, or where it is a slice itself."""
    found = [order for order in result.orders if order.order == parent]
    if not found:
        raise SimulatorError(f"the run has no order {parent}")
    if found[0].parent:
        raise SimulatorError(f"order {parent} is a slice: ask for its parent, order {found[0].parent}")
    return next(_each(result, found))


def shortfalls(result: Result) -> list[Shortfall]:
    """The shortfall of every order that reached the market, slices counted with their parents, oldest first."""
    ends = _ends(result)
    there = [order for order in result.orders if order.state != OrderState.REJECTED or ends.get(order.order, order.bar) > order.bar]
    return list(_each(result, [order for order in there if not order.parent]))


def table(result: Result) -> Columns:
    """The shortfalls side by side: each part in basis points of what the order was worth when it was decided, and the whole in money too."""
    names = ("", "symbol", "units", "filled", "slices", "decision", "arrival", "average", *PARTS, "total", "in money")
    lines = []
    for each in shortfalls(result):
        parts = (each.delay, each.impact, each.timing, each.opportunity, each.fees, each.total)
        sizes = quantity(each.quantity), quantity(each.filled), str(each.children)
        prices = price(each.decision), price(each.arrival), price(each.average)
        in_bps = (money(each.bps(part)) for part in parts)
        lines.append((str(each.client_id) or str(each.order), each.symbol, *sizes, *prices, *in_bps, money(each.total)))
    return Columns("implementation shortfall, in basis points", names, lines, (0, 1))


PARTS = ("delay", "impact", "timing", "opportunity", "fees")


def _ends(result: Result) -> dict[int, int]:
    """The bar in which each order ended that did not end filled; those that were never let through are not among them."""
    journal = result.journal_table()
    ended = journal[(journal["kind"] == rows.ENDED) & (journal["e"] != Reason.UNKNOWN_ORDER)]
    # Reversed, since the first end of an order is its end.
    return dict(zip(ended["order"][::-1].tolist(), times_to_rows(result.tape, ended["at"][::-1]).tolist(), strict=True))


def _each(result: Result, orders: Sequence[OrderRow]) -> Iterator[Shortfall]:
    tape, ends, latency = result.tape, _ends(result), _latency(result)
    parent_of = {order.order: order.parent for order in result.orders if order.parent}
    fills: dict[int, list[FillRow]] = {order.order: [] for order in orders}
    children = dict.fromkeys(fills, 0)
    for parent in parent_of.values():
        if parent in children:
            children[parent] += 1
    for fill in result.fills:
        parent = parent_of.get(fill.order, fill.order)
        if parent in fills:
            fills[parent].append(fill)
    for order in orders:
        mine = fills[order.order]
        if order.state == OrderState.FILLED:
            end = mine[-1].bar
        elif order.state == OrderState.REJECTED:
            end = ends.get(order.order, order.bar)
        else:
            end = ends.get(order.order, result.rows - 1)
        yield _of(tape, order, mine, children[order.order], _arrival(tape, order, mine, result.rows, latency), end)


def _latency(result: Result) -> int:
    """Nanoseconds from a decision to its arrival, where the run's scenario says so."""
    given = result.scenario.broker.parameters.get("latency_seconds", 0.0) if result.scenario else 0.0
    return round(given * SECOND) if isinstance(given, int | float) else 0


def _arrival(tape: Tape, order: OrderRow, fills: Sequence[FillRow], end: int, latency: int) -> float:
    """The open of the first bar that an order could meet; the price of its decision where there was none, or where it traded at that very close."""
    i = tape.index[order.symbol]
    landed = tape.ats[order.bar] + latency
    if not (fills and fills[0].bar == order.bar):
        for row in range(order.bar + 1, end):
            if tape.volumes[row * tape.width + i] > 0.0 and tape.starts[row] >= landed:
                return tape.opens[row * tape.width + i]
    return tape.marked[order.bar * tape.width + i]


def _of(tape: Tape, order: OrderRow, fills: Sequence[FillRow], children: int, arrival: float, end: int) -> Shortfall:
    i = tape.index[order.symbol]
    multiplier = tape.instruments[i].multiplier
    decision, closing = float(tape.marks[order.bar, i]), float(tape.marks[end, i])
    filled = fsum(fill.quantity for fill in fills)
    # What nothing traded of has no average, and what all traded of no opportunity, whatever the prices.
    left = 0.0 if order.state == OrderState.FILLED else order.quantity - filled
    fees, slippage = fsum(fill.commission for fill in fills), fsum(fill.slippage for fill in fills)
    against_arrival = [fill.quantity * multiplier * (fill.price - arrival) for fill in fills]
    return Shortfall(
        order=order.order,
        client_id=order.client_id,
        symbol=order.symbol,
        quantity=order.quantity,
        filled=filled,
        children=children,
        decision=decision,
        arrival=arrival,
        average=fsum(fill.quantity * fill.price for fill in fills) / filled if fills else nan,
        closing=closing,
        delay=filled * multiplier * (arrival - decision) if fills else 0.0,
        impact=slippage,
        timing=fsum((*against_arrival, -slippage)),
        opportunity=left * multiplier * (closing - decision) if left else 0.0,
        fees=fees,
        paper=order.quantity * multiplier * (closing - decision),
        real=fsum((*(fill.quantity * multiplier * (closing - fill.price) for fill in fills), -fees)),
        value=abs(order.quantity) * multiplier * decision,
    )
