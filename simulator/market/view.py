"""What a strategy may see: the past up to now, and its own portfolio."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from simulator.book.fills import Event
from simulator.book.orders import Cancel, Conditions, FloatArray, Order, OrderBatch, OrderIds, OrderKind, Remark, Replace, Schedule, TimeInForce
from simulator.errors import PluginError, ViewError, nearest
from simulator.kernels import batches, rules
from simulator.kernels.compiled import direct
from simulator.market.indicators import Readings
from simulator.market.tape import FIELDS, Bars

if TYPE_CHECKING:
    from simulator.book.portfolio import Portfolio
    from simulator.book.positions import Position
    from simulator.market.known import Across, Known
    from simulator.ports import Broker, Sizer

NO_EVENTS: tuple[Event, ...] = ()
MOST_LOTS = 9 * 10**18
_new = tuple.__new__


class Bar(NamedTuple):
    """The bars of one instant: each field is (instruments,), NaN where there was no bar."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


class View:
    """The past up to this close, read-only and without copies, and the session's own portfolio.

    Arrays have one value an instrument, in the order of `symbols`. What is held is in `lots`, whole numbers, one an instrument; `held` is the first
    one's, which is all that a strategy for one instrument asks for. What a strategy wants done it returns: `order`, `cancel`, `replace` and
    `rebalance` only make the wish.
    """

    __slots__ = (
        "_across",
        "_answered",
        "_broker",
        "_brought",
        "_cells",
        "_clears",
        "_columns",
        "_firsts",
        "_instruments",
        "_numbers",
        "_readings",
        "_rebalance",
        "_settled",
        "_wanted",
        "_whole",
        "_width",
        "bars",
        "held",
        "ids",
        "lots",
        "plots",
        "portfolio",
        "sizer",
        "symbols",
    )

    def __init__(self, bars: Bars, portfolio: Portfolio, broker: Broker, readings: Readings, ids: OrderIds) -> None:
        self.bars, self.portfolio, self.ids, self._broker, self._readings = bars, portfolio, ids, broker, readings
        self._settled = self._brought = self._answered = -2, NO_EVENTS
        self._across: dict[str, Across] = {}
        self.plots: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
        self.symbols = tuple(instrument.symbol for instrument in bars.tape.instruments)
        self.lots = portfolio.lots.data.toreadonly()
        # The first instrument's lots, apart, for the reason that its columns are.
        self.held: int = self.lots[0]
        for name in readings.names:
            if name in FIELDS:
                raise PluginError(f"an indicator cannot be called '{name}': that is a field of the bars")
        self._width = width = bars.tape.width
        # An instrument's index, by that or its symbol.
        self._numbers: dict[int | str, int] = {key: i for i, symbol in enumerate(self.symbols) for key in (i, symbol)}
        self._whole = [instrument.lot == "1" for instrument in bars.tape.instruments]
        self._instruments, self._wanted, self._clears = (np.empty(2 * width, np.int64) for _ in range(3))
        self._rebalance = direct(batches.rebalance, batches.REBALANCE)
        self.sizer: Sizer | None = None
        self.refresh()

    def refresh(self) -> None:
        """Look at the tape's buffers anew; a growing tape replaces them."""
        tape, readings = self.bars.tape, self._readings
        self._columns: dict[str, FloatArray] = dict(zip(FIELDS, (tape.open, tape.high, tape.low, tape.close, tape.volume), strict=True))
        self._columns |= {name: readings.column(name) for name in readings.names}
        # In rows and columns, so that an instrument too many is an error: in one row of numbers it would be a bar that is still to come.
        self._cells: dict[str, memoryview[float]] = {name: cast("memoryview[float]", column.data) for name, column in self._columns.items()}
        # The first instrument's, apart: where there is one only, a strategy reads little else.
        self._firsts: dict[str, memoryview[float]] = {name: cast("memoryview[float]", column[:, 0].data) for name, column in self._columns.items()}

    def settle(self, settled: tuple[Event, ...]) -> None:
        """What fell due with these bars."""
        self._settled, self.held = (self.bars.row, settled), self.lots[0]

    def remember(self, events: tuple[Event, ...]) -> None:
        """What these bars brought to our orders and our account."""
        self._brought, self.held = (self.bars.row, events), self.lots[0]

    def hear(self, answers: tuple[Event, ...]) -> None:
        """What the broker said at once to what we sent; the strategy hears of it at the next bar."""
        self._answered, self.held = (self.bars.row, answers), self.lots[0]

    def happened(self, row: int) -> tuple[Event, ...]:
        """What the bars of *row* brought, and what the broker said at once to what was sent then; only the last ones are remembered."""
        return self._came(row) + (self._answered[1] if self._answered[0] == row else NO_EVENTS)

    def _came(self, row: int) -> tuple[Event, ...]:
        """What fell due with the bars of *row*, and then what they brought."""
        settled = self._settled[1] if self._settled[0] == row else NO_EVENTS
        return settled + self._brought[1] if self._brought[0] == row else settled

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened since the bar before: the broker's answers to what was sent then, and what these bars brought."""
        row = self.bars.row
        answered = self._answered[1] if self._answered[0] == row - 1 else NO_EVENTS
        return answered + self._came(row)

    def __getitem__(self, name: str) -> FloatArray:
        """An indicator's values now, or a field's: (instruments,), NaN while it is not warm."""
        try:
            now: FloatArray = self._columns[name][self.bars.row]
            return now
        except KeyError:
            raise ViewError(f"the view has no '{name}'{nearest(name, self._columns)}") from None

    def value(self, name: str, instrument: int | str | None = None) -> float:
        """One instrument's value of an indicator or field now (None: the first's): the quick way to read a single number."""
        try:
            return self._firsts[name][self.bars.row] if instrument is None else self._cells[name][self.bars.row, self._number(instrument)]
        except KeyError:
            raise ViewError(f"the view has no '{name}'{nearest(name, self._cells)}") from None

    @property
    def now(self) -> int:
        """The close of the bars seen last, in UTC nanoseconds."""
        return self.bars.closed_at

    @property
    def session(self) -> int:
        """The session of these bars, in days since 1970."""
        return self.bars.session

    @property
    def row(self) -> int:
        """How many instants there were before this one."""
        return self.bars.row

    @property
    def bar(self) -> Bar:
        """The bars that closed now."""
        tape, row = self.bars.tape, self.bars.row
        return Bar(tape.open[row], tape.high[row], tape.low[row], tape.close[row], tape.volume[row])

    def history(self, field: str, count: int, adjusted: bool = False) -> FloatArray:
        """The last *count* values of a field ("open", "high", "low", "close", "volume", or "marks": the last known closes), oldest first:
        (count, instruments), NaN where there was no bar.

        They are raw, as they traded. *adjusted* ones are forward-chained: equal to raw ones at the first bar, and scaled by each corporate action
        since, so that they never jump with one and are never rewritten; `factor` leads back to raw.

        Raises ViewError if there is no such field, or if fewer than *count* bars have closed.
        """
        if field not in FIELDS and field != "marks":
            raise ViewError(f"the tape has no field '{field}'{nearest(field, [*FIELDS, 'marks'])}")
        end = self.bars.row + 1
        if not 1 <= count <= end:
            raise ViewError(f"asked for the last {count} bars of '{field}', when {end} have closed")
        column: FloatArray = getattr(self.bars.tape, field)
        chain = self.bars.tape.chain if adjusted else None
        if chain is None:
            return column[end - count : end]
        prices, volumes = chain.factors(end - count, end)
        return column[end - count : end] * (volumes if field == "volume" else prices)

    @property
    def factor(self) -> FloatArray:
        """Forward-chained prices over raw ones, now: (instruments,). An adjusted price divided by it is one that can be traded."""
        chain, row = self.bars.tape.chain, self.bars.row
        return np.ones(self._width) if chain is None else chain.factors(row, row + 1)[0][0]

    def known(self, name: str, instrument: int | str | None = None) -> float:
        """The number *name* of an as-of table that was known last by now, of an instrument or (None) of the market; NaN before any was.

        Raises ViewError where no table has that name, or it has words.
        """
        return self._tables().value(name, self._symbol(instrument), self.now)

    def across(self, name: str) -> FloatArray:
        """The number *name* of an as-of table that was known last by now, of every instrument: (instruments,), read-only, NaN before any was.

        So a universe by date is a table of 1 (in) and 0 (out): `view.across("member") == 1.0`. Raises ViewError as `known` does.
        """
        if name not in self._across:
            self._across[name] = self._tables().across(name, self.bars.tape.index)
        return self._across[name].at(self.now)

    def group(self, name: str, instrument: int | str | None = None) -> str:
        """The words *name* of an as-of table, a sector say, that were known last by now; empty before any were. Otherwise as `known`."""
        return self._tables().word(name, self._symbol(instrument), self.now)

    def _tables(self) -> Known:
        tables = self.bars.tape.known
        if tables is None:
            raise ViewError("there are no as-of tables here: name their files in the scenario's [known], or set tape.known")
        return tables

    def _symbol(self, instrument: int | str | None) -> str:
        return "" if instrument is None else self.symbols[self._number(instrument)]

    def closes(self, count: int) -> FloatArray:
        """The last *count* closes, oldest first: (count, instruments), in each instrument's currency, NaN where there was no bar.

        Raises ViewError if fewer than *count* bars have closed.
        """
        return self.history("close", count)

    @property
    def ages(self) -> np.ndarray:
        """Bars since each instrument's last one (0: it has one now, -1: none yet): (instruments,)."""
        row: np.ndarray = self.bars.tape.ages[self.bars.row]
        return row

    @property
    def position(self) -> FloatArray:
        """What is held of each instrument, in signed units: (instruments,). `lots` has the same as exact whole numbers."""
        terms = self.portfolio.terms
        held: FloatArray = self.portfolio.lots * terms[:, 0] / terms[:, 1]
        return held

    def holding(self, instrument: int | str = 0) -> Position:
        """One position with its average cost, realised and unrealised profit."""
        return self.portfolio.position(self._number(instrument))

    @property
    def equity(self) -> float:
        """Cash and positions at the last closes."""
        return self.portfolio.equity

    @property
    def cash(self) -> float:
        """Cash, which may be negative in a margin account."""
        return self.portfolio.cash

    @property
    def settled_cash(self) -> float:
        """Cash without what sales brought and has not settled; in a margin account all of it."""
        if not self.portfolio.settles:
            return self.portfolio.cash
        return self.portfolio.cash - self.portfolio.unsettled - self.portfolio.proceeds(self.happened(self.bars.row))

    @property
    def open_orders(self) -> list[int]:
        """The ids of our open orders, oldest first."""
        return self._broker.open_ids()

    def _number(self, instrument: int | str) -> int:
        """An instrument's index, from that or its symbol."""
        try:
            return self._numbers[instrument]
        except (KeyError, TypeError):
            if isinstance(instrument, str):
                raise ViewError(f"no instrument '{instrument}'{nearest(instrument, self.symbols)}") from None
            raise ViewError(f"no instrument number {instrument}: there are {self._width}, from 0") from None

    def order(
        self,
        quantity: float,
        instrument: int | str = 0,
        kind: int = rules.MARKET,
        limit: float = nan,
        stop: float = nan,
        tif: int = rules.GTC,
        client_id: str = "",
        schedule: Schedule | None = None,
        *,
        trail: float = nan,
        trail_fraction: float = nan,
        until: int = 0,
    ) -> Order:
        """A wish to buy (or, below 0, sell) *quantity* units, rounded toward zero to whole lots.

        A trailing stop needs *trail* (in price) or *trail_fraction*, and may have a first *stop*; a GTD order needs *until* (UTC nanoseconds).
        """
        try:
            i = self._numbers[instrument]
        except (KeyError, TypeError):
            i = self._number(instrument)  # which says what is wrong
        if type(quantity) is int and self._whole[i] and -MOST_LOTS < quantity < MOST_LOTS:
            lots = quantity
        else:
            lots = self.bars.tape.instruments[i].lots(quantity)
        conditions = None
        if kind or tif:
            self._check(kind, tif)
            if kind == rules.TRAILING_STOP or tif == rules.GTD:
                conditions = self._conditions(kind, tif, trail, trail_fraction, until)
        ids = self.ids
        ids.last = made = ids.last + 1
        # The same as calling Order, at half the price.
        return _new(Order, (made, i, lots, kind, limit, stop, tif, client_id, schedule, conditions))

    def _check(self, kind: int, tif: int) -> None:
        """Refuse kinds and times in force that there are none of."""
        for word, given, known in (("kind", kind, OrderKind), ("tif", tif, TimeInForce)):
            if not isinstance(given, int) or given not in set(known):
                raise ViewError(f"{word} must be one of {', '.join(f'{known.__name__}.{x.name}' for x in known)}, was {given!r}")

    def _conditions(self, kind: int, tif: int, trail: float, trail_fraction: float, until: int) -> Conditions:
        """What a trailing stop and a GTD order need."""
        if kind == rules.TRAILING_STOP and not (trail > 0.0) ^ (0.0 < trail_fraction < 1.0):
            raise ViewError(f"a trailing stop needs trail above 0, or trail_fraction in (0, 1), and not both; was {trail!r} and {trail_fraction!r}")
        if tif == rules.GTD and not until > 0:
            raise ViewError(f"a GTD order needs until, in UTC nanoseconds, was {until!r}")
        return Conditions(trail, trail_fraction, until)

    def oto(self, first: Order, *then: Order) -> list[Order]:
        """One triggers other: the orders *then* wait for *first*, and may trade what it has filled, in proportion to their lots.

        Raises ViewError for an order that is cut in time.
        """
        if first.schedule or any(order.schedule for order in then):
            raise ViewError("orders that hang together cannot be cut in time: leave out their schedule")
        return [first, *(_with(order, parent=first.id) for order in then)]

    def oco(self, *orders: Order) -> list[Order]:
        """One cancels other: of equal lots in one instrument they share what is left, others end when the first of them trades.

        Raises ViewError for fewer than two orders, and for one that is cut in time.
        """
        if len(orders) < 2 or any(order.schedule for order in orders):
            raise ViewError("oco needs two orders or more, none of them cut in time")
        return [_with(order, oco=orders[0].id) for order in orders]

    def bracket(
        self,
        quantity: float,
        instrument: int | str = 0,
        kind: int = rules.MARKET,
        limit: float = nan,
        stop: float = nan,
        tif: int = rules.GTC,
        client_id: str = "",
        *,
        take_profit: float,
        stop_loss: float,
    ) -> list[Order]:
        """An order with two that close what it has filled, of which one cancels the other: a limit at *take_profit* and a stop at *stop_loss*.

        A client_id gets "-profit" and "-loss" for these two. Raises ViewError where the two prices are on the wrong sides of each other.
        """
        if not (take_profit > stop_loss if quantity > 0 else take_profit < stop_loss):
            raise ViewError(f"a bracket of {quantity} needs take_profit and stop_loss on its two sides, were {take_profit} and {stop_loss}")
        parent = self.order(quantity, instrument, kind, limit, stop, tif, client_id)
        names = (f"{client_id}-profit", f"{client_id}-loss") if client_id else ("", "")
        gain = self.order(-quantity, instrument, rules.LIMIT, take_profit, client_id=names[0])
        loss = self.order(-quantity, instrument, rules.STOP, stop=stop_loss, client_id=names[1])
        return self.oto(parent, *self.oco(gain, loss))

    def cancel(self, order: int) -> Cancel:
        """A wish to take back an open order."""
        return Cancel(order)

    def replace(self, order: int, quantity: float, limit: float = nan, stop: float = nan) -> Replace:
        """A wish to change an open order: *quantity* is its whole new quantity, what has filled included; prices not given stay."""
        standing = self._broker.standing(order)
        instrument = self.bars.tape.instruments[standing.order.instrument if standing else 0]
        return Replace(self.ids.next(), order, instrument.lots(quantity), limit, stop)

    def remark(self, words: str, instrument: int | str | None = None) -> Remark:
        """Words to put on record: returned with the orders they stand in the journal, so that `prove` and `diff` compare them too.

        Raises ViewError for words that are empty.
        """
        if not isinstance(words, str) or not words.strip():
            raise ViewError(f"remark: its words must be a text, were {words!r}")
        return Remark(self.ids.next(), -1 if instrument is None else self._number(instrument), words)

    def rebalance(self, weights: FloatArray) -> OrderBatch:
        """Market orders that bring each holding to its share of equity at the last closes, in whole lots rounded toward zero, sells first.

        *weights* is (instruments,): NaN leaves an instrument alone, 0 closes it. Our open orders in the others are cancelled first. Where the
        scenario names a sizer it says how much of each of them.
        """
        wanted = np.ascontiguousarray(weights, dtype=np.float64)
        if wanted.shape != (self._width,):
            raise ViewError(f"weights must be one number an instrument, ({self._width},), were {wanted.shape}")
        if self.sizer is not None:
            wanted = np.ascontiguousarray(self.sizer.size(wanted, self), dtype=np.float64)
        portfolio = self.portfolio
        n, cleared = self._rebalance(
            wanted,
            max(portfolio.equity, 0.0),  # who is broke holds nothing
            portfolio.lots,
            self._broker.open_orders,
            portfolio.terms,
            self.bars.tape.panel_marks,
            self.bars.row,
            self._instruments,
            self._wanted,
            self._clears,
        )
        if n < 0:
            raise ViewError(f"a weight of {wanted[cleared]} for {self.symbols[cleared]} is no number of lots at an equity of {portfolio.equity}")
        return OrderBatch(self.ids.block(n), self._instruments[:n].copy(), self._wanted[:n].copy(), clears=self._clears[:cleared].copy())

    def enter(self, weights: FloatArray) -> OrderBatch:
        """`rebalance` for those instruments that are to change sides: long where a weight is above 0, short below, out at 0.

        What is on its side already keeps its quantity, so that its share drifts with its price. NaN leaves an instrument alone.
        """
        wanted = np.asarray(weights, np.float64)
        return self.rebalance(np.where(np.sign(wanted) == np.sign(self.portfolio.lots), np.nan, wanted) if wanted.shape == (self._width,) else wanted)

    def hold(self, quantities: FloatArray) -> OrderBatch | tuple[Order, ...]:
        """Market orders that bring each holding to so many units, in whole lots rounded toward zero, sells first.

        *quantities* is (instruments,): NaN leaves an instrument alone, and so does an order that is open in it.
        """
        wanted = np.ascontiguousarray(quantities, dtype=np.float64)
        if wanted.shape != (self._width,):
            raise ViewError(f"quantities must be one number an instrument, ({self._width},), were {wanted.shape}")
        portfolio = self.portfolio
        n, bad = batches.hold(wanted, portfolio.lots, self._broker.open_orders, portfolio.terms, self._instruments, self._wanted)
        if n < 0:
            raise ViewError(f"{wanted[bad]} of {self.symbols[bad]} is no number of lots")
        if self._width == 1:
            return (Order(self.ids.next(), 0, int(self._wanted[0])),) if n else ()
        return OrderBatch(self.ids.block(n), self._instruments[:n].copy(), self._wanted[:n].copy())

    def plot(self, chart: str, series: str, value: float) -> None:
        """Put a number on record for the report, at this bar: a point of the line *series* in *chart*. It is not journalled, and decides nothing.

        NaN leaves a gap in the line; of several numbers at one bar the last is kept. A chart called "regime" (or "regime SYMBOL", where there are
        several instruments) whose series are probabilities is drawn as a ribbon under the price. Raises ViewError for empty names and for no numbers.
        """
        for word, name in (("chart", chart), ("series", series)):
            if not isinstance(name, str) or not name.strip():
                raise ViewError(f"plot: {word} must be a name, was {name!r}")
        if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
            raise ViewError(f"plot: the value of '{series}' in '{chart}' must be a number, was {value!r}")
        rows, values = self.plots.setdefault(chart, {}).setdefault(series, ([], []))
        if rows and rows[-1] == self.bars.row:
            values[-1] = float(value)
        else:
            rows.append(self.bars.row)
            values.append(float(value))


def _with(order: Order, **conditions: int) -> Order:
    """The same order under more conditions."""
    return order._replace(conditions=(order.conditions or Conditions())._replace(**conditions))
