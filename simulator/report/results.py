"""What came of a run: everything here follows from its journal and its tape."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from simulator.book.currencies import CurrencyPortfolio, currencies_of
from simulator.book.fills import Booking, Fill, Waited, venue_of
from simulator.book.futures import futures_of, open_portfolio
from simulator.book.orders import FloatArray, IntArray, OrderKind, OrderState, Reason, TimeInForce
from simulator.kernels import rules
from simulator.loop import journal as rows
from simulator.loop.journal import MemoryJournal, settled, times_to_rows
from simulator.loop.spool import SpooledJournal
from simulator.market.tape import Bars, Tape
from simulator.report.curves import MOVES, Curve
from simulator.report.sent import Sent
from simulator.risk.engine import Measure

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from simulator.book.portfolio import Portfolio
    from simulator.report.bootstrap import Intervals
    from simulator.report.trades import Trips
    from simulator.scenarios import Scenario

LISTED: Final = 100_000
"""Trades that a run whose journal lies in a file tells one by one."""
STATE_OF = {
    rules.CANCELLED: OrderState.CANCELLED,
    rules.EXPIRED: OrderState.EXPIRED,
    rules.REJECTED: OrderState.REJECTED,
    rules.REPLACED: OrderState.REPLACED,
}


class FillRow(NamedTuple):
    """A trade: signed units, the price paid, commission, money lost to slippage, the close of its bar in UTC nanoseconds, and its venue, if known.

    An *ambiguous* one hangs on the order of events inside its bar: see book.fills.Fill.
    """

    client_id: str
    bar: int
    quantity: float
    price: float
    commission: float
    symbol: str
    slippage: float
    order: int
    at: int
    ambiguous: bool = False
    venue: str = ""


class OrderRow(NamedTuple):
    """An order and what became of it. *bar* is the one after whose close it was sent; *waits* are (reason, first close, last close)."""

    client_id: str
    symbol: str
    bar: int
    quantity: float
    kind: str
    limit: float
    stop: float
    tif: str
    state: str
    reason: str
    filled: float
    order: int
    parent: int
    waits: tuple[tuple[str, int, int], ...]


class BookingRow(NamedTuple):
    """Money that moved without a trade: into cash, or into what we are owed, at *price* where it was reckoned at one. *symbol* is empty for the
    whole account; *quantity* is by how much a position changed. A split moves no money, and has its ratio instead.
    """

    at: int
    bar: int
    kind: str
    symbol: str
    amount: float
    receivable: float
    quantity: float
    price: float
    ratio: str = ""


class CurrencyRow(NamedTuple):
    """A currency: *cash* in itself, and profit in the base currency, by prices (*local*) and by its rate (*fx*)."""

    currency: str
    cash: float
    local: float
    fx: float


class HaltRow(NamedTuple):
    """A halt of trading, or its end: what it went by, equity then, and the floor that was broken."""

    at: int
    measure: str
    equity: float
    floor: float


class ForcedRow(NamedTuple):
    """What the account's broker did without being asked: it sent *order* for *quantity* units, or cancelled it (0). *had* is what there was, *needed*
    what there should have been: equity and margin, or shares borrowed and shares to be had.
    """

    at: int
    bar: int
    order: int
    symbol: str
    quantity: float
    reason: str
    had: float
    needed: float


class Listed(Sequence[Any]):
    """Rows that are made anew each time, so that they need not all be in memory."""

    def __init__(self, make: Callable[[], Iterator[Any]], count: int) -> None:
        self._make, self._count = make, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return self._make()

    def __getitem__(self, k: Any) -> Any:
        return [*self][k] if isinstance(k, slice) or k < 0 else next(islice(self._make(), k, None))


class Result:
    """The outcome of a run over the first *rows* bars of *tape*."""

    def __init__(
        self,
        tape: Tape,
        journal: MemoryJournal,
        cash_start: float,
        rows: int,
        *,
        still_waiting: Sequence[Waited] = (),
        scenario: Scenario | None = None,
        run_id: str = "",
        interrupted: bool = False,
        notes: Sequence[str] = (),
        assumptions: Sequence[str] = (),
        names: Mapping[str, Any] | None = None,
        plots: Mapping[str, Mapping[str, tuple[Sequence[int], Sequence[float]]]] | None = None,
        curve: Curve | None = None,
    ) -> None:
        self.tape, self.journal, self.cash_start, self.rows = tape, journal, cash_start, rows
        self.scenario, self.run_id, self.interrupted = scenario, run_id, interrupted
        self.notes, self.assumptions, self.listed = tuple(notes), tuple(assumptions), LISTED
        self._still_waiting, self._names, self._plots, self._streamed = tuple(still_waiting), names or {}, plots or {}, curve

    @cached_property
    def hash(self) -> str:
        """SHA-256 of header, rows, client ids, the digest of the tape, and how many of its bars were run."""
        return self.journal.hash(f"{self.digest} {self.rows}")

    @cached_property
    def digest(self) -> str:
        """The digest of the tape."""
        return self.tape.digest()

    def journal_table(self) -> np.ndarray:
        """The journal's rows as a structured array, see loop.journal.ROW."""
        return self.journal.table()

    def rows_of(self, *kinds: int) -> np.ndarray:
        """The journal's rows of these kinds, in their order."""
        found = [*self.parts_of(*kinds)]
        return found[0] if len(found) == 1 else np.concatenate([np.empty(0, rows.ROW), *found])

    def parts_of(self, *kinds: int) -> Iterator[np.ndarray]:
        """The same, one part after the other where the journal lies in a file."""
        return (part[np.isin(part["kind"], kinds)] for part in self.journal.parts())

    def stretches(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """The bars that were run in stretches that fit into memory, each with the rows that changed cash or positions there: first, end and rows."""
        parts, waiting = self.parts_of(*MOVES), np.empty(0, rows.ROW)
        for first, end in self.tape.spans(0, self.rows):
            last = self.tape.ats[end - 1] if end else 0
            pieces = [waiting]
            while not len(pieces[-1]) or pieces[-1]["at"][-1] <= last:
                part = next(parts, None)
                if part is None:
                    break
                pieces.append(part)
            here = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            cut = int(np.searchsorted(here["at"], last, side="right"))
            waiting = here[cut:]
            yield first, end, here[:cut]

    @cached_property
    def _curve(self) -> tuple[FloatArray, float]:
        if currencies_of(self.tape) or futures_of(self.tape):
            account, equity = self._replayed
            return equity, account.cash
        curve = self._streamed or Curve(self.tape, self.cash_start)
        if curve.done < self.rows:
            curve.take(self.journal_table(), self.rows)
        return curve.equity, curve.cash

    @cached_property
    def _replayed(self) -> tuple[Portfolio, FloatArray]:
        """The account that goes through all that was booked once more, and its equity at each close: (rows,)."""
        account, out, done = open_portfolio(Bars(self.tape), float(self.cash_start)), np.empty(self.rows), 0
        for moves in self.parts_of(*MOVES):
            for t, row in zip(times_to_rows(self.tape, moves["at"]).tolist(), moves.tolist(), strict=True):
                if t > done:
                    out[done:t], done = account.values(done, t), t
                _, _, kind, i, order, lots, a, b, c, d, _ = row
                if kind == rows.FILL:
                    account.book([Fill(order, i, lots, a, b, c, bool(d))])
                else:
                    account.settle([settled(row)])
        out[done:] = account.values(done, self.rows)
        return account, out

    @cached_property
    def currencies(self) -> list[CurrencyRow]:
        """Cash by currency, and the profit of the run by what prices and what rates did, in the base currency, which comes first; the profits sum to
        all profit. Empty where all is in one currency.
        """
        account = self._replayed[0] if currencies_of(self.tape) else None
        if not isinstance(account, CurrencyPortfolio):
            return []
        return [CurrencyRow(*row) for row in zip(account.currencies.names, account.balances, account.local, account.exchange, strict=True)]

    @property
    def equity(self) -> FloatArray:
        """Equity at the close of each bar that was run: (rows,)."""
        return self._curve[0]

    @property
    def cash(self) -> float:
        """Cash at the end."""
        return self._curve[1]

    @cached_property
    def positions(self) -> dict[str, float]:
        """What is held at the end, in signed units by symbol."""
        held = np.zeros(self.tape.width, np.int64)
        for moves in self.parts_of(*MOVES):
            np.add.at(held, moves["instrument"], moves["lots"])
        return {self.tape.instruments[i].symbol: self.tape.instruments[i].units(int(held[i])) for i in np.flatnonzero(held).tolist()}

    def rates(self, instrument: int) -> FloatArray | None:
        """What one unit of an instrument's currency was worth in the base at the close of each bar, (rows,); None where it is the base itself."""
        currencies = currencies_of(self.tape)
        if currencies is None or not currencies.of[instrument]:
            return None
        return self.tape.picked("marks", currencies.rates[currencies.of[instrument]], self.rows)

    def values(self, at: IntArray) -> Iterator[tuple[int, FloatArray]]:
        """Each instrument that was held, and the value of its position at the close of each of these bars, (n,), in the base currency: a short one's
        is below 0.
        """
        lots = np.zeros((len(at) + 1, self.tape.width), np.int64)
        traded = np.zeros(self.tape.width, bool)
        for moves in self.parts_of(*MOVES):
            moves = moves[moves["lots"] != 0]
            traded[moves["instrument"]] = True
            # What was moved after the last of these bars stands in a row of its own.
            np.add.at(lots, (np.searchsorted(at, times_to_rows(self.tape, moves["at"])), moves["instrument"]), moves["lots"])
        lots = np.cumsum(lots[:-1], axis=0)
        marks = self.tape.taken("marks", at)
        for i in np.flatnonzero(traded).tolist():
            yield i, self._worth(i, lots[:, i], marks[:, i], at)

    def _worth(self, instrument: int, lots: IntArray, marks: FloatArray, at: IntArray | slice) -> FloatArray:
        rates = self.rates(instrument)
        worth = marks if rates is None else marks * rates[at]
        return np.where(lots == 0, 0.0, lots * self.tape.terms[instrument, 3] * worth)

    @cached_property
    def held(self) -> tuple[FloatArray, FloatArray]:
        """Gross and net value of all positions in money at the close of each bar, each (rows,)."""
        gross, net, held = np.zeros(self.rows), np.zeros(self.rows), np.zeros(self.tape.width, np.int64)
        for first, end, moves in self.stretches():
            at, here = times_to_rows(self.tape, moves["at"]) - first, slice(first, end)
            moved = moves["lots"] != 0
            for i in np.union1d(np.flatnonzero(held), moves["instrument"][moved]).tolist():
                traded, own = np.zeros(end - first, np.int64), moved & (moves["instrument"] == i)
                np.add.at(traded, at[own], moves["lots"][own])
                lots = held[i] + np.cumsum(traded)
                held[i] = lots[-1]
                value = self._worth(i, lots, self.tape.marks[here, i], here)
                gross[here] += np.abs(value)
                net[here] += value
        return gross, net

    @cached_property
    def exposure(self) -> tuple[FloatArray, FloatArray]:
        """Gross and net exposure at the close of each bar: sum(abs(position value)) / equity and sum(position value) / equity, each (rows,).

        NaN where equity is not above 0.
        """
        gross, net = self.held
        with np.errstate(divide="ignore", invalid="ignore"):
            solvent = np.where(self.equity > 0.0, self.equity, np.nan)
            return gross / solvent, net / solvent

    @cached_property
    def plots(self) -> dict[str, dict[str, tuple[IntArray, FloatArray]]]:
        """What the strategy put on record with `view.plot`: by chart and series, the bars and the values there."""
        found: dict[str, dict[str, tuple[IntArray, FloatArray]]] = {}
        for chart, lines in self._plots.items():
            for series, (bars, values) in lines.items():
                # A bar that was interrupted is no part of the run.
                known = bisect_left(bars, self.rows)
                if known:
                    found.setdefault(chart, {})[series] = np.array(bars[:known], np.int64), np.array(values[:known], np.float64)
        return found

    @cached_property
    def fills(self) -> Sequence[FillRow]:
        """Every trade, in the order in which they happened: a list, or what reads them again where the journal lies in a file."""
        return Listed(self._each_fill, self.fill_count) if isinstance(self.journal, SpooledJournal) else [*self._each_fill()]

    @cached_property
    def fill_count(self) -> int:
        """How many trades there were."""
        return sum(int(np.count_nonzero(part["kind"] == rows.FILL)) for part in self.journal.parts())

    @property
    def is_vast(self) -> bool:
        """Whether the journal lies in a file and has more trades than can be told one by one in bounded memory: then there are no round trips, no
        attribution and no shortfalls, and what became of orders is in `sent`.
        """
        return isinstance(self.journal, SpooledJournal) and self.fill_count > self.listed

    @cached_property
    def sent(self) -> Sent:
        """What became of all orders of a vast run."""
        return Sent(self.journal, self.tape, STATE_OF, self._still_waiting)

    @cached_property
    def ends(self) -> Counter[tuple[str, str]]:
        """How many orders came to which state for which reason."""
        return self.sent.ends if self.is_vast else Counter((order.state, order.reason) for order in self.orders)

    @property
    def still_waiting(self) -> tuple[Waited, ...]:
        """What open orders wait for at the end."""
        return self._still_waiting

    def fill_columns(self) -> Iterator[tuple[np.ndarray, FloatArray, FloatArray]]:
        """Trades as columns, part after part: their rows of the journal, their units and their values at the prices paid, in their currencies."""
        terms = self.tape.terms
        for fills in self.parts_of(rows.FILL):
            up, down, multiplier = terms[fills["instrument"], :3].T
            units = fills["lots"] * up / down
            yield fills, units, np.abs(units) * fills["a"] * multiplier

    def _each_fill(self) -> Iterator[FillRow]:
        instruments, name = self.tape.instruments, self._name
        venues = (venue_of(code) for part in self.parts_of(rows.ITEMISED) for code in part["d"].tolist())
        for fills in self.parts_of(rows.FILL):
            bars = times_to_rows(self.tape, fills["at"]).tolist()
            for bar, (at, _, _, i, order, lots, price, slippage, commission, _, ambiguous) in zip(bars, fills.tolist(), strict=True):
                units, venue = instruments[i].units(lots), next(venues, "")
                yield FillRow(name(order), bar, units, price, commission, instruments[i].symbol, slippage, order, at, bool(ambiguous), venue)

    @cached_property
    def items(self) -> np.ndarray:
        """The journal's rows that say what is behind the costs of each fill, one a fill in their order; none where they are a few plain numbers."""
        return self.rows_of(rows.ITEMISED)

    @cached_property
    def trips(self) -> Trips:
        """Every lot from the fill that opened it to the one that closed it, first in, first out: see report.trades."""
        from simulator.report import trades

        return trades.trips(self)

    @cached_property
    def intervals(self) -> Intervals:
        """How much of the headline figures is chance: see report.bootstrap."""
        from simulator.report import bootstrap

        return bootstrap.of(self)

    def names(self, orders: np.ndarray) -> pa.Array:
        """The client_ids of orders, by their ids, as text: empty where an order, or the one it is a slice of, has none."""
        import pyarrow as pa

        if not self.journal.client_ids:
            return pa.repeat("", len(orders))
        return pa.array([str(self._name(order)) for order in orders.tolist()], pa.string())

    def _name(self, order: int) -> Any:
        text = self.journal.client_ids.get(self._parents.get(order, order), "")
        return self._names.get(text, text)

    @cached_property
    def _parents(self) -> dict[int, int]:
        slices = self.rows_of(rows.SLICED)
        return dict(zip(slices["order"].tolist(), slices["e"].tolist(), strict=True))

    @cached_property
    def orders(self) -> list[OrderRow]:
        """Every order that was sent, refused ones too, oldest first. One that was sent again with the same client_id stands here once."""
        states = _States((row for part in self.journal.parts() for row in part.tolist()), self._parents)
        for wait in self._still_waiting:
            states.waits.setdefault(wait.order, []).append((wait.reason, wait.first, wait.last))
            states.waiting[wait.order] = wait.reason
        made = []
        for order, (at, i, lots, limit, stop, code) in sorted(states.wishes.items()):
            filled = states.filled.get(order, 0)
            state, reason = states.state_of(order, lots)
            if reason == Reason.DUPLICATE:
                continue
            instrument = self.tape.instruments[i]
            waits = tuple((Reason(why).words, first, last) for why, first, last in states.waits.get(order, ()))
            made.append(
                OrderRow(
                    self._name(order),
                    instrument.symbol,
                    int(np.searchsorted(self.tape.closed_at[: self.tape.rows], at)),
                    instrument.units(lots),
                    OrderKind(code % 256).name.lower(),
                    limit,
                    stop,
                    TimeInForce(code // 256).name,
                    str(state),
                    Reason(reason).words,
                    instrument.units(filled),
                    order,
                    self._parents.get(order, 0),
                    waits,
                )
            )
        return made

    @cached_property
    def bookings(self) -> list[BookingRow]:
        """What was booked without a trade, and splits, in the order in which they happened."""
        moves = self.rows_of(rows.BOOKED, rows.RESCALED)
        bars, found = times_to_rows(self.tape, moves["at"]).tolist(), []
        for bar, (at, _, kind, i, _, lots, a, b, c, d, e) in zip(bars, moves.tolist(), strict=True):
            symbol = self.tape.instruments[i].symbol if i >= 0 else ""
            quantity = self.tape.instruments[i].units(lots) if lots else 0.0
            if kind == rows.BOOKED:
                found.append(BookingRow(at, bar, Booking(d).words, symbol, a, b, quantity, c))
            else:
                found.append(BookingRow(at, bar, "split", symbol, 0.0, 0.0, quantity, a, f"{d}:{e}"))
        return found

    @cached_property
    def halts(self) -> list[HaltRow]:
        """Halts of trading, and their ends."""
        halts = self.rows_of(rows.HALT).tolist()
        return [HaltRow(at, Measure(measure).name.lower(), equity, floor) for at, _, _, _, measure, _, equity, floor, _, _, _ in halts]

    @cached_property
    def forced(self) -> list[ForcedRow]:
        """Orders that the account's broker sent or cancelled by itself: recalls, margin calls, bankruptcy."""
        forced, instruments = self.rows_of(rows.FORCED), self.tape.instruments
        bars = times_to_rows(self.tape, forced["at"]).tolist()
        return [
            ForcedRow(at, bar, order, instruments[i].symbol, instruments[i].units(lots), Reason(reason).words, had, needed)
            for bar, (at, _, _, i, order, lots, had, needed, _, _, reason) in zip(bars, forced.tolist(), strict=True)
        ]

    def _repr_html_(self) -> str:
        """The run as a notebook shows it: a few figures and the curve."""
        from simulator.report import notebook

        return notebook.snippet(self)

    def fills_frame(self) -> pd.DataFrame:
        """`fills` as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.fills, columns=list(FillRow._fields))

    def orders_frame(self) -> pd.DataFrame:
        """`orders` as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.orders, columns=list(OrderRow._fields))

    def equity_frame(self) -> pd.DataFrame:
        """Equity by the close of each bar, in UTC."""
        import pandas as pd

        return pd.DataFrame({"equity": self.equity}, index=pd.to_datetime(self.tape.closed_at[: self.rows], utc=True, unit="ns").rename("closed_at"))


class _States:
    """Orders and what the journal says became of each: one pass over its rows."""

    def __init__(self, table: Iterable[tuple[Any, ...]], parents: dict[int, int]) -> None:
        self.wishes: dict[int, tuple[int, int, int, float, float, int]] = {}
        self.filled: dict[int, int] = {}
        self.endings: dict[int, tuple[OrderState, int]] = {}
        self.waits: dict[int, list[tuple[int, int, int]]] = {}
        self.waiting: dict[int, int] = {}
        for at, _, kind, i, order, lots, a, b, c, d, e in table:
            if kind in (rows.ORDER, rows.SLICED, rows.REPLACED) or (kind == rows.REFUSED and not e):
                self.wishes[order] = at, i, lots, a, b, d
                if kind == rows.REFUSED:
                    self.endings[order] = OrderState.REJECTED, int(c)
            elif kind == rows.FILL:
                for id in (order, parents.get(order)):
                    if id is not None:
                        self.filled[id] = self.filled.get(id, 0) + lots
            elif kind == rows.ENDED and order in self.wishes and order not in self.endings and e != Reason.UNKNOWN_ORDER:
                # A request to change an order that is gone is refused by its id, and does not touch what became of it.
                self.endings[order] = STATE_OF[d], e
            elif kind == rows.ADJUSTED and not e:
                # What is asked for is said in the new shares; what was filled before stays as it was.
                sent, _, wanted, _, _, code = self.wishes[order]
                self.wishes[order] = sent, i, wanted + lots, a, b, code
            elif kind == rows.WAITED:
                self.waits.setdefault(order, []).append((e, lots, d))

    def state_of(self, order: int, lots: int) -> tuple[OrderState, int]:
        """The state of an order and the reason for it; of an open one, what it waits for."""
        if order in self.endings:
            return self.endings[order]
        filled = self.filled.get(order, 0)
        if filled == lots:
            return OrderState.FILLED, Reason.FILLED
        return (OrderState.PARTIALLY_FILLED if filled else OrderState.ACCEPTED), self.waiting.get(order, Reason.NO_BAR)
