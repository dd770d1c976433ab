"""The append-only record of a run, in memory: fixed rows of bytes, the same that a hash or a file takes.

Bytes, because a million small objects would cost the garbage collector more than the run. The state of a session is the fold of its journal
over its tape: see `fold`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from struct import Struct
from typing import Any, Final

import numpy as np

from simulator.book.fills import (
    Adjusted,
    Booked,
    Booking,
    Ended,
    Event,
    Fill,
    FillBatch,
    Forced,
    Halt,
    Itemised,
    Replaced,
    Rescaled,
    Sliced,
    Waited,
    venue_code,
)
from simulator.book.futures import open_portfolio
from simulator.book.orders import Cancel, FloatArray, IntArray, Order, OrderBatch, Refusal, Remark, Replace, Wish
from simulator.book.portfolio import Portfolio
from simulator.kernels import batches
from simulator.market.tape import Bars, Tape

# The phases of one instant that write: corporate actions and settlement, financing, resting orders meet the bar, margin, risk
# limits, new orders.
SETTLE: Final = 1
FINANCE: Final = 2
WORK: Final = 3
MARGIN: Final = 4
RISK: Final = 5
SEND: Final = 7

ORDER: Final = 1
BATCHED: Final = 2
CANCEL: Final = 3
REPLACE: Final = 4
REFUSED: Final = 5
FILL: Final = 6
ENDED: Final = 7
WAITED: Final = 8
SLICED: Final = 9
HALT: Final = 10
CLEARED: Final = 11
REPLACED: Final = 12
REMARK: Final = 13
CONDITIONS: Final = 14
BOOKED: Final = 15
RESCALED: Final = 16
ADJUSTED: Final = 17
FORCED: Final = 18
ITEMISED: Final = 19

KINDS: Final = (
    *("", "order", "order", "cancel", "replace", "refused", "fill", "ended", "waited", "slice", "halt", "clear", "replaced", "remark", "conditions"),
    *("booked", "split", "adjusted", "forced", "itemised"),
)
PHASES: Final = {SETTLE: "settle", FINANCE: "finance", WORK: "work", MARGIN: "margin", RISK: "risk", SEND: "send"}
"""The words for the phases."""

ROW: Final = np.dtype(
    [
        ("at", "<i8"),
        ("phase", "<i2"),
        ("kind", "<i2"),
        ("instrument", "<i4"),
        ("order", "<i8"),
        ("lots", "<i8"),
        ("a", "<f8"),
        ("b", "<f8"),
        ("c", "<f8"),
        ("d", "<i8"),
        ("e", "<i8"),
    ]
)
"""One row. What a to e hold depends on the kind:

order, slice   a limit, b stop, d kind + 256 x time in force, e parent (0: none)
cancel         order: the one to cancel
replace        order: the new id, a limit, b stop, e the order to replace: a wish
replaced       as order, e the order that it took the place of
refused        as order; c the reason (an order batch's too)
fill           a price, b slippage, c commission, d 1 for a taker, e 1 where it hangs on the unknown path inside the bar
ended          lots unfilled, d state, e reason
waited         lots: first close in UTC ns, d last close, e reason
halt           order: the measure, a equity, b floor
clear          instrument: the one in which all our orders are cancelled
remark         order: its id, under which its words are kept as a client_id is; instrument -1: about none
conditions     of the order before: lots the oco, a trail, b trail_fraction, d until, e parent
booked         instrument: -1 is the whole account; lots by how much the position changed, a amount, b receivable, c price, d kind
split          lots by how much the position changed, a the rescaled mark, d up, e down
adjusted       lots more that are left of the order, a limit, b stop, c trail, e the reason for which it lost them (0: a split)
forced         lots: 0 where the order was cancelled, a what there was, b what was needed, e reason
itemised       of the fill before: a regulatory fees, b venue fee, c permanent impact, d venue (see book.fills.venue_code)
"""
PART: Final = 1 << 16
"""Rows to take at once of a journal that lies in a file."""
pack: Final = Struct("<qhhiqqdddqq").pack


class MemoryJournal:
    """Orders, fills, refusals, ends and halts as they happened, the client_id of each order that has one, and the words of remarks."""

    __slots__ = ("client_ids", "header", "rows")

    def __init__(self, header: str = "") -> None:
        self.header = header
        self.rows = bytearray()
        self.client_ids: dict[int, str] = {}

    def record(
        self,
        bars: Bars,
        events: Sequence[Event],
        approved: Sequence[Wish],
        refused: Sequence[Refusal],
        answers: Sequence[Event],
    ) -> None:
        """Append one instant: what the bar brought, what was let through, what was not, and what the broker answered at once."""
        at, rows = bars.closed_at, self.rows
        for event in events:
            if type(event) is Fill:
                order, instrument, lots, price, slippage, commission, taker, ambiguous = event
                rows += pack(at, WORK, FILL, instrument, order, lots, price, slippage, commission, taker, ambiguous)
            else:
                self._happened(at, WORK, event)
        for wish in approved:
            if type(wish) is Order:
                order, instrument, lots, kind, limit, stop, tif, client_id, _, conditions = wish
                rows += pack(at, SEND, ORDER, instrument, order, lots, limit, stop, 0.0, kind + 256 * tif, 0)
                if client_id:
                    self.client_ids[order] = client_id
                if conditions:
                    trail, fraction, until, parent, oco = conditions
                    rows += pack(at, SEND, CONDITIONS, instrument, order, oco, trail, fraction, 0.0, until, parent)
            elif not isinstance(wish, Order):
                self._wished(at, wish)
        for refusal in refused:
            self._refused(at, refusal)
        for answer in answers:
            self._happened(at, SEND, answer)

    def note(self, bars: Bars, settled: Sequence[Event]) -> None:
        """Append what fell due with these bars: corporate actions and settlement, then financing."""
        for event in settled:
            self._happened(bars.closed_at, FINANCE if isinstance(event, Booked) and event.kind >= Booking.BORROW else SETTLE, event)

    def _happened(self, at: int, phase: int, event: Event) -> None:
        rows = self.rows
        if isinstance(event, Fill):
            order, instrument, lots, price, slippage, commission, taker, ambiguous = event
            rows += pack(at, phase, FILL, instrument, order, lots, price, slippage, commission, taker, ambiguous)
        elif isinstance(event, FillBatch):
            orders, instruments, many, prices, slippages, commissions, takers = event
            self._batch(at, phase, FILL, orders, instruments, many, prices, slippages, commissions, takers, np.zeros(len(orders), np.int64))
        elif isinstance(event, Itemised):
            order, instrument, venue, regulatory, venue_fee, permanent = event
            rows += pack(at, phase, ITEMISED, instrument, order, 0, regulatory, venue_fee, permanent, venue_code(venue), 0)
        elif isinstance(event, Ended):
            rows += pack(at, phase, ENDED, event.instrument, event.order, event.lots, 0.0, 0.0, 0.0, event.state, event.reason)
        elif isinstance(event, Waited):
            rows += pack(at, phase, WAITED, event.instrument, event.order, event.first, 0.0, 0.0, 0.0, event.last, event.reason)
        elif isinstance(event, Sliced):
            order, instrument, lots, kind, limit, stop, tif, _, _, _ = event.child
            rows += pack(at, phase, SLICED, instrument, order, lots, limit, stop, 0.0, kind + 256 * tif, event.parent)
        elif isinstance(event, Replaced):
            order, instrument, lots, kind, limit, stop, tif, _, _, _ = event.order
            rows += pack(at, phase, REPLACED, instrument, order, lots, limit, stop, 0.0, kind + 256 * tif, event.old)
        elif isinstance(event, Halt):
            rows += pack(at, RISK, HALT, 0, event.measure, 0, event.equity, event.floor, 0.0, 0, 0)
        elif isinstance(event, Forced):
            rows += pack(at, MARGIN, FORCED, event.instrument, event.order, event.lots, event.had, event.needed, 0.0, 0, event.reason)
        elif isinstance(event, Booked):
            rows += pack(at, phase, BOOKED, event.instrument, 0, event.lots, event.amount, event.receivable, event.price, event.kind, 0)
        elif isinstance(event, Rescaled):
            rows += pack(at, phase, RESCALED, event.instrument, 0, event.lots, event.mark, 0.0, 0.0, event.up, event.down)
        elif isinstance(event, Adjusted):
            rows += pack(at, phase, ADJUSTED, event.instrument, event.order, event.lots, event.limit, event.stop, event.trail, 0, event.reason)

    def _wished(self, at: int, wish: Cancel | Replace | OrderBatch | Remark) -> None:
        if isinstance(wish, Cancel):
            self.rows += pack(at, SEND, CANCEL, 0, wish.order, 0, 0.0, 0.0, 0.0, 0, 0)
        elif isinstance(wish, Replace):
            self.rows += pack(at, SEND, REPLACE, 0, wish.id, wish.lots, wish.limit, wish.stop, 0.0, 0, wish.order)
        elif isinstance(wish, Remark):
            self.rows += pack(at, SEND, REMARK, wish.instrument, wish.id, 0, 0.0, 0.0, 0.0, 0, 0)
            self.client_ids[wish.id] = wish.words
        else:
            if len(wish.clears):
                nothing, no_money = np.zeros(len(wish.clears), np.int64), np.zeros(len(wish.clears))
                self._batch(at, SEND, CLEARED, nothing, wish.clears, nothing, no_money, no_money, no_money, nothing, nothing)
            none = np.zeros(len(wish))
            self._batch(at, SEND, ORDER, wish.ids, wish.instruments, wish.lots, wish.limits, wish.stops, none, wish.kinds, wish.tifs)

    def _refused(self, at: int, refusal: Refusal) -> None:
        wish, reason = refusal
        if isinstance(wish, Order):
            order, instrument, lots, kind, limit, stop, tif, client_id, _, _ = wish
            self.rows += pack(at, SEND, REFUSED, instrument, order, lots, limit, stop, float(reason), kind + 256 * tif, 0)
            if client_id:
                self.client_ids[order] = client_id
        elif isinstance(wish, Replace):
            self.rows += pack(at, SEND, REFUSED, 0, wish.id, wish.lots, wish.limit, wish.stop, float(reason), 0, wish.order)

    def _batch(
        self,
        at: int,
        phase: int,
        kind: int,
        ids: IntArray,
        instruments: IntArray,
        lots: IntArray,
        a: FloatArray,
        b: FloatArray,
        c: FloatArray,
        d: IntArray,
        tifs: IntArray,
    ) -> None:
        block = np.empty((len(ids), ROW.itemsize // 8))
        batches.journal_rows(at, phase, kind, ids, instruments, lots, a, b, c, d, tifs, block.view(np.int64), block)
        self.rows += block.data

    def read(self) -> bytes:
        """All rows so far."""
        return bytes(self.rows)

    def parts(self) -> Iterator[np.ndarray]:
        """All rows so far as structured arrays of dtype ROW, one after the other: in one where they are all in memory."""
        yield self.table()

    def table(self) -> np.ndarray:
        """All rows so far as a structured array of dtype ROW. It is no copy: nothing more can be recorded while somebody holds it."""
        return np.frombuffer(memoryview(self.rows).toreadonly(), ROW)

    def hash(self, closing: str = "") -> str:
        """SHA-256 of header, rows, client ids, and a *closing* word: what was run, and how far."""
        seen = hashlib.sha256(self.header.encode())
        seen.update(self.rows)
        return self._closed(seen, closing)

    def _closed(self, seen: hashlib._Hash, closing: str) -> str:
        for order in sorted(self.client_ids):
            seen.update(f"{order} {self.client_ids[order]}\n".encode())
        seen.update(closing.encode())
        return seen.hexdigest()


@dataclass(frozen=True, slots=True)
class State:
    """What a journal says that a session holds: cash, positions, and lots still to fill of each open order."""

    cash: float
    receivable: float
    lots: bytes
    averages: bytes
    realised: bytes
    open_orders: dict[int, int]


def fold(journal: MemoryJournal, tape: Tape, cash: float) -> State:
    """The state that follows from a journal over its tape, byte for byte that of the session that wrote it."""
    portfolio, open_orders = accounted(journal, tape, cash)
    return State(
        portfolio.cash,
        portfolio.receivable,
        portfolio.lots.tobytes(),
        portfolio.averages.tobytes(),
        portfolio.realised.tobytes(),
        open_orders,
    )


def accounted(journal: MemoryJournal, tape: Tape, cash: float) -> tuple[Portfolio, dict[int, int]]:
    """The account after a whole journal over its tape, at the last marks, and the lots still to fill of each open order."""
    portfolio, orders = open_portfolio(Bars(tape), cash), OpenOrders()
    for row in journal.table().tolist():
        _, _, kind, instrument, order, lots, a, b, c, d, _ = row
        if kind == FILL:
            portfolio.book([Fill(order, instrument, lots, a, b, c, bool(d))])
        elif kind in (BOOKED, RESCALED):
            portfolio.settle([settled(row)])
        orders.take(row)
    bars = Bars(tape)
    bars.row = len(tape) - 1
    if len(tape):
        portfolio.mark(bars)
    return portfolio, {order: lots for order, lots in orders.left.items() if lots}


class OpenOrders:
    """The lots *left* to fill of each open order, as a journal's rows say one after another, and which *parents* those have that are slices."""

    def __init__(self) -> None:
        self.left: dict[int, int] = {}
        self.parents: dict[int, int] = {}

    def take(self, row: Sequence[Any]) -> None:
        """What the next row changes."""
        _, _, kind, _, order, lots, _, _, _, _, origin = row
        left, parents = self.left, self.parents
        if kind in (ORDER, REPLACED):
            left[order] = lots
        elif kind == SLICED:
            left[order], parents[order] = lots, origin
        elif kind == FILL:
            left[order] -= lots
            if order in parents:
                left[parents[order]] -= lots
        elif kind == ADJUSTED:
            left[order] += lots
        elif kind == ENDED:
            lost = left.pop(order, 0)
            if parents.get(order) in left:
                left[parents[order]] -= lost


def settled(row: Sequence[Any]) -> Booked | Rescaled:
    """The booking or the split that such a row records."""
    _, _, kind, instrument, _, lots, a, b, c, d, e = row
    return Booked(d, instrument, a, b, lots, c) if kind == BOOKED else Rescaled(instrument, d, e, lots, a)


def describe(table: np.ndarray, k: int) -> str:
    """One row in words, without its tape."""
    if k >= len(table):
        return "nothing"
    row = table[k]
    moment = datetime.fromtimestamp(int(row["at"]) / 1e9, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return f"{KINDS[row['kind']]} {row['order']} of {row['lots']} lots (instrument {row['instrument']}, {moment})"


def times_to_rows(tape: Tape, times: IntArray) -> IntArray:
    """The tape's row for each close time."""
    return np.searchsorted(tape.closed_at[: tape.rows], times).astype(np.int64)
