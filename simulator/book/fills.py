"""What happened to orders and to the account: the events of a bar. All of it is past, and none of it is edited."""

from __future__ import annotations

from typing import NamedTuple

from simulator.book.orders import FloatArray, IntArray, Order


class Fill(NamedTuple):
    """A trade that happened. *price* is what was paid, *slippage* the money lost against the price before it, *commission* is apart.

    An *ambiguous* one hangs on the order of events inside its bar, which nobody knows: on another path it would have been another, or none.
    """

    order: int
    instrument: int
    lots: int
    price: float
    slippage: float
    commission: float
    taker: bool
    ambiguous: bool = False


class FillBatch(NamedTuple):
    """Many fills as columns, in the order in which they happened."""

    orders: IntArray
    instruments: IntArray
    lots: IntArray
    prices: FloatArray
    slippages: FloatArray
    commissions: FloatArray
    takers: IntArray


class Ended(NamedTuple):
    """An order that left the book with *lots* unfilled: *state* is a code of book.orders.ENDINGS."""

    order: int
    instrument: int
    lots: int
    state: int
    reason: int


class Waited(NamedTuple):
    """For what an order waited, over the bars that closed from *first* to *last*."""

    order: int
    instrument: int
    reason: int
    first: int
    last: int


class Sliced(NamedTuple):
    """A parent order sent a child to the market."""

    child: Order
    parent: int


class Replaced(NamedTuple):
    """A new order took the place of an *old* one: its lots are those that the replacement still wanted."""

    order: Order
    old: int


class Halt(NamedTuple):
    """The risk engine stopped trading: *measure* fell below *floor*, at this equity. With reason RESUMED, it goes on."""

    measure: int
    equity: float
    floor: float


Event = Fill | FillBatch | Ended | Waited | Sliced | Replaced | Halt
