"""What happened to orders and to the account: the events of a bar. All of it is past, and none of it is edited."""

from __future__ import annotations

from enum import IntEnum
from math import nan
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


class Itemised(NamedTuple):
    """What is behind the fill of *order* that was told just before: its *venue* ("" where there is but one), and in money *regulatory* fees and the
    *venue_fee* (a rebate is below 0), both of them parts of its commission, and *permanent*, the part of its slippage that is owed to how far our
    own holding had moved the price before.
    """

    order: int
    instrument: int
    venue: str
    regulatory: float
    venue_fee: float
    permanent: float


def venue_code(venue: str) -> int:
    """A venue's name as one whole number, as the journal keeps it: its ASCII letters, at most eight of them."""
    return int.from_bytes(venue.encode("ascii").ljust(8, b"\0"), "big")


def venue_of(code: int) -> str:
    """The venue's name behind its number."""
    return code.to_bytes(8, "big").rstrip(b"\0").decode("ascii")


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
    """The risk engine stopped trading: *measure* fell below *floor*, at this equity. With measure RESUMED it goes on, with REDUCED it may hold less,
    and with KILLED somebody outside stopped it, until RELEASED; these have no floor.
    """

    measure: int
    equity: float
    floor: float


class Forced(NamedTuple):
    """What the account's broker did without being asked: it sent *order* for so many *lots*, or cancelled it (0 lots), for a `Reason`.

    *had* is what there was and *needed* what there should have been: equity and margin, or shares borrowed and shares to be had.
    """

    order: int
    instrument: int
    lots: int
    reason: int
    had: float
    needed: float


class Booking(IntEnum):
    """Why money moves without a trade. Those from BORROW on are financing, and come after all others of their instant."""

    DIVIDEND = 1
    PAYMENT = 2
    FRACTION = 3
    DELISTING = 4
    SETTLEMENT = 5
    EXPIRY = 6
    BORROW = 20
    REBATE = 21
    INTEREST = 22
    VARIATION = 23
    FEE = 24

    @property
    def words(self) -> str:
        """The booking as a person would say it."""
        return self.name.lower()


class Booked(NamedTuple):
    """Money that moved without a trade, for the reason *kind* (a `Booking`): *amount* into cash and *receivable* into what we are owed, in the
    instrument's currency; below 0 they are paid and owed. An *instrument* of -1 is the whole account.

    Where a position is closed without a trade, *lots* is by how much it changed, at *price*. Else *price* is what the amount was reckoned at.
    """

    kind: int
    instrument: int
    amount: float
    receivable: float = 0.0
    lots: int = 0
    price: float = nan


class Rescaled(NamedTuple):
    """A split: *up* shares for each *down*. The position changed by *lots*, and *mark* is the last price, rescaled.

    What is no whole lot has left the position; a booking of kind FRACTION says what it gave.
    """

    instrument: int
    up: int
    down: int
    lots: int
    mark: float


class Adjusted(NamedTuple):
    """*lots* more (or, against its side, less) are left of an open order, and these are its prices now: a split rescaled it, or, with a *reason*,
    others took so much from it.
    """

    order: int
    instrument: int
    lots: int
    limit: float
    stop: float
    trail: float = nan
    reason: int = 0


Event = Fill | FillBatch | Itemised | Ended | Waited | Sliced | Replaced | Halt | Forced | Booked | Rescaled | Adjusted
