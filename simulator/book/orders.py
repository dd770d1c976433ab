"""What can be wished for: orders, one at a time or as columns, and the words for what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from math import nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.kernels import rules

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class OrderKind(IntEnum):
    """What makes an order trade. The numbers are those of kernels.rules."""

    MARKET = rules.MARKET
    LIMIT = rules.LIMIT
    STOP = rules.STOP
    STOP_LIMIT = rules.STOP_LIMIT


class TimeInForce(IntEnum):
    """How long an order lives: until cancelled, to the end of its session, or for the one bar it meets."""

    GTC = rules.GTC
    DAY = rules.DAY
    IOC = rules.IOC
    FOK = rules.FOK


class OrderState(StrEnum):
    """Where an order is in its life."""

    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REPLACED = "replaced"


class Reason(IntEnum):
    """Why an order waits, ended or was refused: a closed list."""

    FILLED = rules.FILLED
    NOT_TOUCHED = rules.NOT_TOUCHED
    NOT_THROUGH = rules.NOT_THROUGH
    VOLUME_CAP = rules.VOLUME_CAP
    NO_BAR = rules.NO_BAR
    ZERO_VOLUME = rules.ZERO_VOLUME
    BUYING_POWER = rules.BUYING_POWER
    SHORT_SALE = rules.SHORT_SALE
    SESSION_END = rules.SESSION_END
    GROSS = rules.GROSS
    NET = rules.NET
    NAME = rules.NAME
    NOTIONAL = rules.NOTIONAL
    RATE = rules.RATE
    LEVERAGE = rules.LEVERAGE
    HALTED = rules.HALTED
    EMPTY = rules.EMPTY
    NO_PRICE = rules.NO_PRICE
    BAD_PRICE = rules.BAD_PRICE
    ASKED = 20
    TARGET = 21
    UNKNOWN_ORDER = 22
    DUPLICATE = 23
    CLIENT_ID_REUSED = 24
    CHILDREN_ENDED = 25

    @property
    def words(self) -> str:
        """The reason as a person would say it."""
        return _WORDS[self]


_WORDS = {
    Reason.FILLED: "filled",
    Reason.NOT_TOUCHED: "price not touched",
    Reason.NOT_THROUGH: "price touched but not through",
    Reason.VOLUME_CAP: "volume cap",
    Reason.NO_BAR: "no bar",
    Reason.ZERO_VOLUME: "zero volume",
    Reason.BUYING_POWER: "buying power",
    Reason.SHORT_SALE: "a cash account holds no shorts",
    Reason.SESSION_END: "end of session",
    Reason.GROSS: "gross exposure limit",
    Reason.NET: "net exposure limit",
    Reason.NAME: "per-name weight limit",
    Reason.NOTIONAL: "order notional limit",
    Reason.RATE: "order rate limit",
    Reason.LEVERAGE: "leverage limit",
    Reason.HALTED: "trading halted",
    Reason.EMPTY: "quantity rounds to zero lots",
    Reason.NO_PRICE: "no price known yet",
    Reason.BAD_PRICE: "its limit or stop is not a price above 0",
    Reason.ASKED: "cancelled on request",
    Reason.TARGET: "replaced by a new target",
    Reason.UNKNOWN_ORDER: "no such open order",
    Reason.DUPLICATE: "sent before: the first answer stands",
    Reason.CLIENT_ID_REUSED: "this client_id was used for another order",
    Reason.CHILDREN_ENDED: "its slices ended unfilled",
}


@dataclass(frozen=True, slots=True)
class Twap:
    """Work an order in *slices* equal market orders, one every *seconds*, the first at once."""

    slices: int
    seconds: float

    def __post_init__(self) -> None:
        if not 1 <= self.slices <= 10_000:
            raise ValueError(f"slices must be 1 to 10000, was {self.slices!r}")
        if not 1e-9 <= self.seconds <= 1e9:
            raise ValueError(f"seconds must be a nanosecond to a billion seconds, was {self.seconds!r}")


class Order(NamedTuple):
    """A wish to trade *lots* (buy > 0) of the instrument with that index. Never edited."""

    id: int
    instrument: int
    lots: int
    kind: int = rules.MARKET
    limit: float = nan
    stop: float = nan
    tif: int = rules.GTC
    client_id: str = ""
    schedule: Twap | None = None


class Cancel(NamedTuple):
    """Take back the open order with this id."""

    order: int


class Replace(NamedTuple):
    """Put a new order *id* in the place of the open *order*: *lots* is its whole quantity, what has filled included.

    It keeps the side, kind, limit and stop that are not given, and loses its place in the queue.
    """

    id: int
    order: int
    lots: int
    limit: float = nan
    stop: float = nan


class OrderBatch:
    """Many orders as columns of equal length, worked in that order: market orders, GTC, unless columns say otherwise.

    *clears* are the instruments in which all our open orders are cancelled first.
    """

    __slots__ = ("clears", "ids", "instruments", "kinds", "limits", "lots", "stops", "tifs")

    def __init__(
        self,
        ids: IntArray,
        instruments: IntArray,
        lots: IntArray,
        kinds: IntArray | None = None,
        limits: FloatArray | None = None,
        stops: FloatArray | None = None,
        tifs: IntArray | None = None,
        clears: IntArray | None = None,
    ) -> None:
        n = len(ids)
        self.ids, self.instruments, self.lots = ids, instruments, lots
        self.kinds = np.zeros(n, np.int64) if kinds is None else kinds
        self.limits = _no_prices(n) if limits is None else limits
        self.stops = _no_prices(n) if stops is None else stops
        self.tifs = np.zeros(n, np.int64) if tifs is None else tifs
        self.clears = NO_INSTRUMENTS if clears is None else clears

    def __len__(self) -> int:
        return len(self.ids)

    def __bool__(self) -> bool:
        return len(self.ids) > 0 or len(self.clears) > 0

    def chosen(self, rows: npt.NDArray[np.bool_]) -> OrderBatch:
        """The orders of these rows."""
        ids, instruments, lots, kinds, tifs = (column[rows] for column in (self.ids, self.instruments, self.lots, self.kinds, self.tifs))
        return OrderBatch(ids, instruments, lots, kinds, self.limits[rows], self.stops[rows], tifs, self.clears)


def _no_prices(count: int) -> FloatArray:
    prices = np.empty(count)
    prices.fill(nan)
    return prices


NO_INSTRUMENTS: IntArray = np.empty(0, np.int64)


Wish = Order | Cancel | Replace | OrderBatch
Proposal = Sequence[Wish] | OrderBatch
"""What a strategy may return: a sequence of orders, cancels, replacements and batches, or one batch."""


class OrderIds:
    """The one sequence of order ids of a session: *last* is the newest."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        """A new id."""
        self.last += 1
        return self.last

    def block(self, count: int) -> IntArray:
        """*count* new ids."""
        first = self.last + 1
        self.last += count
        return np.arange(first, first + count, dtype=np.int64)


class Standing(NamedTuple):
    """An open order as the broker has it: how many lots are filled and how many are left."""

    order: Order
    filled: int
    remaining: int


class Refusal(NamedTuple):
    """An order that the risk engine did not let through, and why."""

    order: Order | Cancel | Replace
    reason: int
