"""What can be wished for: orders, one at a time or as columns, and the words for what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from math import inf, nan
from operator import index
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import PluginError
from simulator.kernels import rules

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class OrderKind(IntEnum):
    """What makes an order trade. The numbers are those of kernels.rules."""

    MARKET = rules.MARKET
    LIMIT = rules.LIMIT
    STOP = rules.STOP
    STOP_LIMIT = rules.STOP_LIMIT
    TRAILING_STOP = rules.TRAILING_STOP
    MARKET_ON_OPEN = rules.MARKET_ON_OPEN
    MARKET_ON_CLOSE = rules.MARKET_ON_CLOSE


class TimeInForce(IntEnum):
    """How long an order lives: until cancelled, to the end of its session, for the one bar it meets, or until a time of its own."""

    GTC = rules.GTC
    DAY = rules.DAY
    IOC = rules.IOC
    FOK = rules.FOK
    GTD = rules.GTD


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
    DEADLINE = 26
    PARENT = rules.PARENT
    PARENT_ENDED = rules.PARENT_ENDED
    OCO = rules.OCO
    AUCTION = rules.AUCTION
    GOOD_TILL = rules.GOOD_TILL
    LINKED = 33
    NO_AUCTION = 34
    DELISTED = 41
    NO_LOCATE = 60
    MARGIN = 61
    CONTRACT_ENDED = 62
    RECALLED = 63
    MARGIN_CALL = 64
    BANKRUPT = 65
    GROUP = 70
    BETA = 71
    LIQUIDITY = 72
    STALE = 80

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
    Reason.GROUP: "group exposure limit",
    Reason.BETA: "beta limit",
    Reason.LIQUIDITY: "liquidity limit",
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
    Reason.DEADLINE: "not done by its deadline",
    Reason.PARENT: "its parent has not filled",
    Reason.PARENT_ENDED: "its parent ended",
    Reason.OCO: "the other order of its pair filled",
    Reason.AUCTION: "not its auction yet",
    Reason.GOOD_TILL: "past its good-till date",
    Reason.LINKED: "the quantity of a linked order stays as it is",
    Reason.NO_AUCTION: "no bar of this data is known to be the last of its session",
    Reason.DELISTED: "delisted",
    Reason.NO_LOCATE: "no shares to borrow",
    Reason.MARGIN: "initial margin",
    Reason.CONTRACT_ENDED: "the contract has expired",
    Reason.RECALLED: "borrowed shares recalled",
    Reason.MARGIN_CALL: "margin call",
    Reason.BANKRUPT: "the account is bankrupt",
    Reason.STALE: "no market order on stale data",
}


Residual = Literal["market", "cancel"]


@dataclass(frozen=True, slots=True)
class Twap:
    """Work an order in *slices* equal orders, one every *seconds*, the first at once: time-weighted average price.

    What every schedule has in common: slices are whole multiples of *round_lot* of the instrument's lots, but for one that carries an odd remainder,
    and are orders of the parent's own kind and limit. The deadline comes when the last slice has had its time. With *residual* "market" what is not
    sent by then is sent at once, and what was sent stays at the market; with "cancel" the order ends there, and its open slices with it.
    """

    slices: int
    seconds: float
    residual: Residual = "market"
    round_lot: int = 1
    model: Literal["twap"] = field(default="twap", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.slices, self.seconds, self.residual, self.round_lot)

    def words(self) -> str:
        """The schedule as a person would say it."""
        return f"cut into {self.slices} slices, one every {self.seconds:g} s{_ending(self.residual)}"


@dataclass(frozen=True, slots=True)
class Vwap:
    """Work an order in *slices*, one every *seconds*, each in proportion to the volume that its time of the session had on average over the
    *sessions* before: volume-weighted average price.

    Today's own volume changes nothing. Where no earlier session is known, or none traded at these times, slices are equal. The rest as in `Twap`.
    """

    slices: int
    seconds: float
    sessions: int = 20
    residual: Residual = "market"
    round_lot: int = 1
    model: Literal["vwap"] = field(default="vwap", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.slices, self.seconds, self.residual, self.round_lot)
        _at_least("sessions", self.sessions, 1)

    def words(self) -> str:
        """The schedule as a person would say it."""
        return (
            f"cut into {self.slices} slices, one every {self.seconds:g} s, by the volume of the {self.sessions} sessions before"
            f"{_ending(self.residual)}"
        )


@dataclass(frozen=True, slots=True)
class Pov:
    """Work an order as a share *rate* of the volume (POV, participation): each time a bar has closed, a slice of that share of its volume is sent.

    The first is sent at once, by the last bar that has closed. A slice never exceeds that share, so that what whole lots leave over is not caught up.
    The deadline is *seconds* after the order reached the market. Data without volume has all sent at once. The rest as in `Twap`.
    """

    rate: float
    seconds: float
    residual: Residual = "market"
    round_lot: int = 1
    model: Literal["pov"] = field(default="pov", kw_only=True)

    def __post_init__(self) -> None:
        if not 0.0 < self.rate <= 1.0:
            raise ValueError(f"rate must be in (0, 1], was {self.rate!r}")
        _check(1, self.seconds, self.residual, self.round_lot)

    def words(self) -> str:
        """The schedule as a person would say it."""
        return f"sent as {self.rate:.4g} of each bar's volume once it has closed, for {self.seconds:g} s{_ending(self.residual)}"


@dataclass(frozen=True, slots=True)
class AlmgrenChriss:
    """Work an order in *slices*, one every *seconds*, larger at first: the least of expected cost + *risk_aversion* x its variance.

    *risk_aversion* is per unit of money; 0 is an equal pace. Trading at the pace of one average day's volume a day moves the price by *impact* daily
    volatilities while it lasts. Volatility and volume are those of the *sessions* before; slices are equal where these are not known. A permanent
    impact costs the same at any pace, up to the length of a slice, and is left out. The rest as in `Twap`. Source: Almgren and Chriss, Optimal
    execution of portfolio transactions, Journal of Risk 3 (2000).
    """

    slices: int
    seconds: float
    risk_aversion: float = 1e-6
    impact: float = 1.0
    sessions: int = 20
    residual: Residual = "market"
    round_lot: int = 1
    model: Literal["almgren_chriss"] = field(default="almgren_chriss", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.slices, self.seconds, self.residual, self.round_lot)
        _at_least("sessions", self.sessions, 3)
        if not 0.0 <= self.risk_aversion < inf:
            raise ValueError(f"risk_aversion must be 0 or above, was {self.risk_aversion!r}")
        if not 0.0 < self.impact < inf:
            raise ValueError(f"impact must be above 0, was {self.impact!r}")

    def words(self) -> str:
        """The schedule as a person would say it."""
        return (
            f"cut into {self.slices} slices, one every {self.seconds:g} s, larger at first (Almgren-Chriss, risk aversion {self.risk_aversion:g})"
            f"{_ending(self.residual)}"
        )


Schedule = Twap | Vwap | Pov | AlmgrenChriss
"""How an order is cut in time."""


def _check(slices: int, seconds: float, residual: str, round_lot: int) -> None:
    """Refuse what no schedule can have."""
    if not 1 <= slices <= 10_000:
        raise ValueError(f"slices must be 1 to 10000, was {slices!r}")
    if not 1e-9 <= seconds <= 1e9:
        raise ValueError(f"seconds must be a nanosecond to a billion seconds, was {seconds!r}")
    if residual not in ("market", "cancel"):
        raise ValueError(f"residual must be 'market' or 'cancel', was {residual!r}")
    _at_least("round_lot", round_lot, 1)


def _at_least(name: str, value: int, least: int) -> None:
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, was {value!r}")


def _ending(residual: str) -> str:
    return "; what is left at the deadline is cancelled" if residual == "cancel" else ""


class Conditions(NamedTuple):
    """What a plain order does without.

    A trailing stop stands *trail* in price, or the share *trail_fraction*, behind the best price since it was sent. A GTD order lives up to *until*,
    in UTC nanoseconds. An order with a *parent* (an id of the same proposal) waits for it: it may trade what its parent has filled, in proportion to
    their lots. Orders with the same *oco* (the id of the first of them) are one cancels other: of equal lots in one instrument they share what is
    left, others end when the first of them trades.
    """

    trail: float = nan
    trail_fraction: float = nan
    until: int = 0
    parent: int = 0
    oco: int = 0


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
    schedule: Schedule | None = None
    conditions: Conditions | None = None


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

    *clears* are the instruments in which all our open orders are cancelled first. Raises ValueError for columns of different lengths,
    and for such that should be whole numbers and are not.
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
        for column in (instruments, lots, kinds, limits, stops, tifs):
            if column is not None and len(column) != n:
                raise ValueError(f"the columns of a batch must be as long as its ids, which are {n}; one has {len(column)}")
        self.ids, self.instruments, self.lots = _whole("ids", ids), _whole("instruments", instruments), _whole("lots", lots)
        self.kinds = np.zeros(n, np.int64) if kinds is None else _whole("kinds", kinds)
        self.limits = _no_prices(n) if limits is None else np.ascontiguousarray(limits, np.float64)
        self.stops = _no_prices(n) if stops is None else np.ascontiguousarray(stops, np.float64)
        self.tifs = np.zeros(n, np.int64) if tifs is None else _whole("tifs", tifs)
        self.clears = NO_INSTRUMENTS if clears is None else _whole("clears", clears)

    def __len__(self) -> int:
        return len(self.ids)

    def __bool__(self) -> bool:
        return len(self.ids) > 0 or len(self.clears) > 0

    def chosen(self, rows: npt.NDArray[np.bool_]) -> OrderBatch:
        """The orders of these rows."""
        ids, instruments, lots, kinds, tifs = (column[rows] for column in (self.ids, self.instruments, self.lots, self.kinds, self.tifs))
        return OrderBatch(ids, instruments, lots, kinds, self.limits[rows], self.stops[rows], tifs, self.clears)


def _whole(name: str, values: IntArray) -> IntArray:
    """A column as compiled code takes it."""
    if type(values) is np.ndarray and values.dtype is WHOLE and values.flags.c_contiguous:
        return values
    column = np.ascontiguousarray(values)
    if column.dtype.kind not in "iu" and len(column):
        raise ValueError(f"the {name} of a batch must be whole numbers, were {column.dtype}")
    return column.astype(np.int64)


def _no_prices(count: int) -> FloatArray:
    prices = np.empty(count)
    prices.fill(nan)
    return prices


WHOLE: Final = np.dtype(np.int64)
NO_INSTRUMENTS: IntArray = np.empty(0, np.int64)


class Remark(NamedTuple):
    """Words that a strategy wants on record, under an *id* from the sequence of orders: that a model changed, say. It changes nothing.

    *instrument* is what they are about; -1 is none.
    """

    id: int
    instrument: int
    words: str


Wish = Order | Cancel | Replace | OrderBatch | Remark
Proposal = Sequence[Wish] | OrderBatch
"""What a strategy may return: a sequence of orders, cancels, replacements, batches and remarks, or one batch."""


def sound(wishes: Sequence[Wish], width: int) -> list[Wish]:
    """These wishes of a strategy, orders with plain whole numbers.

    Raises PluginError for an instrument that is not one of the *width* that there are, and for lots that are not whole: compiled code sees neither.
    """
    return [_sound(wish, width) for wish in wishes]


def _sound(wish: Wish, width: int) -> Wish:
    if isinstance(wish, OrderBatch):
        check_batch(wish, width)
    if not isinstance(wish, Order) or (type(wish.instrument) is int and type(wish.lots) is int and 0 <= wish.instrument < width):
        return wish
    try:
        i, lots = index(wish.instrument), index(wish.lots)
    except TypeError:
        given = f"instrument {wish.instrument!r} and lots {wish.lots!r}"
        raise PluginError(f"on_bars returned an order with {given}: both must be whole numbers; view.order(quantity, symbol) makes them") from None
    if not 0 <= i < width:
        raise PluginError(f"on_bars returned an order for instrument number {i}: there are {width}, from 0")
    return wish._replace(instrument=i, lots=lots)


def check_batch(batch: OrderBatch, width: int) -> None:
    """Raise PluginError where a batch is about an instrument that there is none of."""
    for name, column in (("instruments", batch.instruments), ("clears", batch.clears)):
        wrong = np.flatnonzero((column < 0) | (column >= width))
        if len(wrong):
            raise PluginError(f"on_bars returned a batch whose {name} have number {column[wrong[0]]}: there are {width}, from 0")


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


DUE: Final = {
    "arrived": "has reached the market",
    "slice": "has a slice at the market",
    "cancel": "is asked to be cancelled",
    "replace": "is asked to be replaced",
    "deadline": "is at the end of its schedule, and cancelled",
    "expired": "has lived its time",
}
"""What can be due between two bars, and the words for it."""


class Due(NamedTuple):
    """What reaches the market *at* a moment between two bars, in UTC nanoseconds: of which order, how many lots, and what it is: see DUE."""

    at: int
    order: int
    instrument: int
    lots: int
    kind: str

    @property
    def words(self) -> str:
        """It in words."""
        return f"order {self.order} {DUE[self.kind]}{f': {self.lots:+,} lots' if self.lots else ''}"


class Refusal(NamedTuple):
    """An order that the risk engine did not let through, and why."""

    order: Order | Cancel | Replace
    reason: int
