"""What it cost to carry decisions out: the implementation shortfall of each order, itemised so that the parts sum to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from math import fsum, nan, prod

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
    arrival, *impact* its slippage (spread and impact; of it, *permanent* is owed to what was held by then) and *timing* the rest of what it lost
    against the arrival; *opportunity* is what the unfilled part lost from decision to closing, and *fees* are commissions. After a split all
    quantities and prices are those of the end. *paper* and *real* are the profits up to closing that differ by their sum. Source: Perold, The
    implementation shortfall: paper versus reality, Journal of Portfolio Management 14 (1988).
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
    permanent: float = 0.0

    @property
    def trading(self) -> float:
        """What the filled part lost against the arrival price: spread and impact, and timing."""
        return self.impact + self.timing

    @property
    def temporary(self) -> float:
        """Impact that was over with its fill."""
        return self.impact - self.permanent

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


def table(result: Result, orders: Sequence[int] | None = None) -> Columns:
    """The shortfalls of these *orders* (all, if None) side by side: each part in basis points of what the order was worth when it was decided, and
    the whole in money too.
    """
    names = ("", "symbol", "units", "filled", "slices", "decision", "arrival", "average", *PARTS, "total", "in money")
    lines = []
    for each in shortfalls(result):
        if orders is not None and each.order not in orders:
            continue
        parts = (each.delay, each.impact, each.timing, each.opportunity, each.fees, each.total)
        sizes = quantity(each.quantity), quantity(each.filled), str(each.children)
        prices = price(each.decision), price(each.arrival), price(each.average)
        in_bps = (money(each.bps(part)) for part in parts)
        lines.append((str(each.client_id) or str(each.order), each.symbol, *sizes, *prices, *in_bps, money(each.total)))
    return Columns("implementation shortfall, in basis points", names, lines, (0, 1))


PARTS = ("delay", "impact", "timing", "opportunity", "fees")


def _ends(result: Result) -> dict[int, int]:
    """The bar in which each order ended that did not end filled; those that were never let through are not among them."""
    ended = result.rows_of(rows.ENDED)
    ended = ended[ended["e"] != Reason.UNKNOWN_ORDER]
    # What ends an order before it meets a bar, a split say, ends it with the bar before.
    bars = times_to_rows(result.tape, ended["at"]) - (ended["phase"] < rows.WORK)
    # Reversed, since the first end of an order is its end.
    return dict(zip(ended["order"][::-1].tolist(), bars[::-1].tolist(), strict=True))


def _each(result: Result, orders: Sequence[OrderRow]) -> Iterator[Shortfall]:
    tape, ends, latency = result.tape, _ends(result), _latency(result)
    parent_of = {order.order: order.parent for order in result.orders if order.parent}
    fills: dict[int, list[FillRow]] = {order.order: [] for order in orders}
    children, permanent = dict.fromkeys(fills, 0), dict.fromkeys(fills, 0.0)
    splits = _Splits(result)
    for parent in parent_of.values():
        if parent in children:
            children[parent] += 1
    lasting = result.items["c"].tolist() or repeat(0.0)
    for fill, part in zip(result.fills, lasting):  # noqa: B905  # one a fill, or none at all
        parent = parent_of.get(fill.order, fill.order)
        if parent in fills:
            fills[parent].append(fill)
            permanent[parent] += part
    for order in orders:
        mine = fills[order.order]
        if order.state == OrderState.FILLED:
            end = mine[-1].bar
        elif order.state == OrderState.REJECTED:
            end = ends.get(order.order, order.bar)
        else:
            end = ends.get(order.order, result.rows - 1)
        arrival, met = _arrival(tape, order, mine, result.rows, latency)
        found = _of(tape, *splits.restated(order, mine, arrival, met, end), children[order.order], end)
        yield replace(found, permanent=permanent[order.order])


def _latency(result: Result) -> int:
    """Nanoseconds from a decision to its arrival, where the run's scenario says so."""
    given = result.scenario.broker.parameters.get("latency_seconds", 0.0) if result.scenario else 0.0
    return round(given * SECOND) if isinstance(given, int | float) else 0


class _Splits:
    """The splits of a run, to tell of an order in the units in which it ended."""

    def __init__(self, result: Result) -> None:
        self.tape = result.tape
        rescaled = result.rows_of(rows.RESCALED)
        at = times_to_rows(result.tape, rescaled["at"]).tolist()
        self.splits = [*zip(at, rescaled["instrument"].tolist(), rescaled["d"].tolist(), rescaled["e"].tolist(), strict=True)]

    def factor(self, i: int, after: int, end: int) -> float:
        """By how much splits after the bar *after*, up to the bar *end*, multiplied a quantity. A bar's splits come before its trades."""
        return prod((up / down for at, of, up, down in self.splits if of == i and after < at <= end), start=1.0)

    def restated(
        self, order: OrderRow, fills: Sequence[FillRow], arrival: float, met: int, end: int
    ) -> tuple[OrderRow, Sequence[FillRow], float, float]:
        """An order, its fills, the price of its decision and that of its arrival, in the units of the bar *end*."""
        i = self.tape.index[order.symbol]
        decision = float(self.tape.marks[order.bar, i])
        scale = self.factor(i, order.bar, end)
        if scale == 1.0:
            return order, fills, decision, arrival
        factors = [self.factor(i, fill.bar, end) for fill in fills]
        made = [fill._replace(quantity=fill.quantity * by, price=fill.price / by) for fill, by in zip(fills, factors, strict=True)]
        # What an order still wanted when it ended is in the shares of then. What was no whole lot any more is not wanted any more.
        left = 0.0 if order.state == OrderState.FILLED else order.quantity - order.filled
        wanted = fsum((*(fill.quantity for fill in made), left))
        return order._replace(quantity=wanted), made, decision / scale, arrival / self.factor(i, met, end)


def _arrival(tape: Tape, order: OrderRow, fills: Sequence[FillRow], end: int, latency: int) -> tuple[float, int]:
    """The open of the first bar that an order could meet, and which that is; the price of its decision where there was none, or where it traded at
    that very close.
    """
    i = tape.index[order.symbol]
    landed = tape.ats[order.bar] + latency
    if not (fills and fills[0].bar == order.bar):
        for row in range(order.bar + 1, end):
            if tape.volumes[row * tape.width + i] > 0.0 and tape.starts[row] >= landed:
                return tape.opens[row * tape.width + i], row
    return tape.marked[order.bar * tape.width + i], order.bar


def _of(tape: Tape, order: OrderRow, fills: Sequence[FillRow], decision: float, arrival: float, children: int, end: int) -> Shortfall:
    i = tape.index[order.symbol]
    multiplier = tape.instruments[i].multiplier
    closing = float(tape.marks[end, i])
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
