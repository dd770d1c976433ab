"""A journal in words: its rows, and the bars that they happened in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from math import floor, isfinite, log10
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from simulator.book.fills import Booking, venue_of
from simulator.book.orders import OrderKind, Reason, TimeInForce
from simulator.loop import journal as rows
from simulator.loop.journal import KINDS, MemoryJournal, times_to_rows
from simulator.market.tape import DAY, SECOND
from simulator.report.results import STATE_OF
from simulator.risk.engine import Measure

if TYPE_CHECKING:
    from simulator.market.tape import Tape

MADE: Final = (rows.ORDER, rows.BATCHED, rows.SLICED, rows.REPLACED)
"""The kinds of rows that an order begins with."""
PRICED: Final = (OrderKind.LIMIT, OrderKind.STOP, OrderKind.STOP_LIMIT)
"""The kinds of orders that their prices say it all of."""


class Entry(NamedTuple):
    """A row of a journal; see loop.journal.ROW."""

    at: int
    phase: int
    kind: int
    instrument: int
    order: int
    lots: int
    a: float
    b: float
    c: float
    d: int
    e: int


class Columns(NamedTuple):
    """A table to print; *texts* are the numbers of the columns that are text, where the others are numbers."""

    title: str
    names: tuple[str, ...]
    rows: list[tuple[str, ...]]
    texts: tuple[int, ...] = (0,)


Part = tuple[str, str] | Columns
"""What an explanation is made of: a label with its value, or a table."""


class Telling:
    """Says what is in a *journal*. Without its *tape* there are lots and not units, and without *symbols* numbers of instruments."""

    def __init__(self, journal: MemoryJournal, tape: Tape | None = None, symbols: Sequence[str] = ()) -> None:
        self.journal, self.tape, self.table = journal, tape, journal.table()
        self.symbols = [instrument.symbol for instrument in tape.instruments] if tape else symbols

    def entries(self, which: np.ndarray | slice) -> list[Entry]:
        """Some of the rows: those of a mask, or of a slice."""
        return [Entry(*row) for row in self.table[which].tolist()]

    def of_kind(self, *kinds: int) -> np.ndarray:
        """Which rows are of these kinds, as a mask."""
        found: np.ndarray = np.isin(self.table["kind"], kinds)
        return found

    def about(self, orders: Iterable[int]) -> dict[int, list[Entry]]:
        """The rows of each of these orders: what was asked, and what came of it."""
        found: dict[int, list[Entry]] = {order: [] for order in orders}
        for entry in self.entries(np.isin(self.table["order"], list(found)) & ~self.of_kind(rows.HALT, rows.CLEARED)):
            found[entry.order].append(entry)
        return found

    def made(self, order: int) -> Entry | None:
        """The row that an order begins with, be it a refusal; None where there is none."""
        return next((x for x in self.about([order])[order] if x.kind in (*MADE, rows.REFUSED)), None)

    def instrument(self, entry: Entry) -> int | None:
        """What a row is about; None if that is the whole account, or nothing that there is."""
        if entry.kind == rows.HALT:
            return None
        if entry.kind != rows.CANCEL and not is_change(entry):
            return entry.instrument if entry.instrument >= 0 else None
        # A wish to change an order does not say of what; the order does.
        made = self.made(entry.order if entry.kind == rows.CANCEL else entry.e)
        return None if made is None or is_change(made) else made.instrument

    def symbol(self, instrument: int) -> str:
        """An instrument's symbol."""
        return self.symbols[instrument] if instrument < len(self.symbols) else f"instrument {instrument}"

    def units(self, instrument: int, lots: int) -> str:
        """So many lots in units, without their sign."""
        return quantity(self.tape.instruments[instrument].units(abs(lots))) if self.tape else f"{abs(lots):,} lots of"

    def name(self, order: int) -> str:
        """An order by its id, and by the client_id that it has."""
        client_id = self.journal.client_ids.get(order)
        return f"order {order}" if client_id is None else f"order {order} {client_id!r}"

    def row(self, at: int) -> int:
        """The row of the bars that closed at that time."""
        assert self.tape is not None
        return int(times_to_rows(self.tape, np.array([at]))[0])

    def words(self, entry: Entry) -> str:
        """What a remark says."""
        return self.journal.client_ids.get(entry.order, "")

    def when(self, at: int) -> str:
        """A bar by its close: the session where bars are daily, else the time in UTC."""
        if self.tape and self.tape.interval >= DAY:
            row = self.row(at)
            if row < len(self.tape) and self.tape.ats[row] == at:
                return session(self.tape, row)
        return moment(at)

    def bar(self, row: int) -> str:
        """A bar by its row."""
        assert self.tape is not None
        return self.when(self.tape.ats[row])

    def prices(self, row: int, instrument: int) -> tuple[str, ...]:
        """Open, high, low, close and volume of a bar; empty where there is none."""
        assert self.tape is not None
        tape = self.tape
        if tape.close[row, instrument] != tape.close[row, instrument]:
            return ("",) * 5
        volume = float(tape.volume[row, instrument])
        told = (price(float(column[row, instrument])) for column in (tape.open, tape.high, tape.low, tape.close))
        return (*told, quantity(volume) if isfinite(volume) else "")

    def range(self, first: int, last: int, instrument: int) -> tuple[str, ...]:
        """As `prices`, of many bars: the highest high and the lowest low."""
        assert self.tape is not None
        high, low = self.tape.high[first : last + 1, instrument], self.tape.low[first : last + 1, instrument]
        known = ~np.isnan(high)
        return ("", price(float(high[known].max())), price(float(low[known].min())), "", "") if known.any() else ("",) * 5

    def wish(self, entry: Entry) -> str:
        """What an order asks for. A wish to replace says what its order is to be, and not of what."""
        asked = [f"{word} {price(value)}" for word, value in (("stop", entry.b), ("limit", entry.a)) if value == value]
        if is_change(entry):
            return ", ".join([f"{entry.lots:+,} lots in all", *asked])
        i, kind = entry.instrument, OrderKind(entry.d % 256)
        if kind not in PRICED:
            asked = ["at market" if kind == OrderKind.MARKET else kind.name.lower().replace("_", " "), *asked]
        what = f"{'buy' if entry.lots > 0 else 'sell'} {self.units(i, entry.lots)} {self.symbol(i)}"
        return f"{what} {', '.join(asked) or 'at no price'}, {TimeInForce(entry.d // 256).name}"

    def event(self, entry: Entry) -> str:
        """A row as a sentence."""
        return EVENTS.get(entry.kind, _plain)(self, entry)


def _plain(telling: Telling, entry: Entry) -> str:
    return f"{KINDS[entry.kind] if entry.kind < len(KINDS) else f'kind {entry.kind}'} {entry.order}"


def is_change(entry: Entry) -> bool:
    """Whether a row is a wish to replace, be it refused."""
    return entry.kind == rows.REPLACE or (entry.kind == rows.REFUSED and entry.e > 0)


def _wished(telling: Telling, entry: Entry) -> str:
    of = f" is to replace {telling.name(entry.e)}" if is_change(entry) else ""
    refused = f": refused: {Reason(int(entry.c)).words}" if entry.kind == rows.REFUSED else ""
    return f"{telling.name(entry.order)}{of}: {telling.wish(entry)}{refused}"


def _filled(telling: Telling, entry: Entry) -> str:
    what = f"{'bought' if entry.lots > 0 else 'sold'} {telling.units(entry.instrument, entry.lots)} {telling.symbol(entry.instrument)}"
    return f"{telling.name(entry.order)} {what} at {price(entry.a)}, slippage {money(entry.b)}, commission {money(entry.c)}"


def itemised(entry: Entry) -> str:
    """What is behind the costs of a fill."""
    parts = [f"at {venue_of(entry.d)}"] if entry.d else []
    named = (("of it regulatory fees", entry.a), ("venue fee" if entry.b > 0.0 else "venue rebate", abs(entry.b)), ("permanent impact", entry.c))
    return ", ".join([*parts, *(f"{word} {money(value)}" for word, value in named if value)])


def _ended(telling: Telling, entry: Entry) -> str:
    left = f", {telling.units(entry.instrument, entry.lots)} {telling.symbol(entry.instrument)} unfilled" if entry.lots else ""
    return f"{telling.name(entry.order)} {STATE_OF[entry.d]}: {Reason(entry.e).words}{left}"


def _waited(telling: Telling, entry: Entry) -> str:
    return f"{telling.name(entry.order)} waited from {telling.when(entry.lots)} to {telling.when(entry.d)}: {Reason(entry.e).words}"


def _conditions(telling: Telling, entry: Entry) -> str:
    said = [f"{word} {price(value)}" for word, value in (("trails by", entry.a), ("trails by the share", entry.b)) if value == value]
    said += [f"is good until {moment(entry.d)} UTC"] if entry.d else []
    said += [f"waits for {telling.name(entry.e)}"] if entry.e else []
    said += [f"is one of those of which one cancels the other, with {telling.name(entry.lots)}"] if entry.lots else []
    return f"{telling.name(entry.order)} {', '.join(said) or 'has no conditions'}"


def _booked(telling: Telling, entry: Entry) -> str:
    where = telling.symbol(entry.instrument) if entry.instrument >= 0 else "the account"
    kind = Booking(entry.d).words
    if entry.d == Booking.SETTLEMENT:
        return f"settlement of {where}: {money(entry.c)} that sales brought"
    if entry.a:
        return f"{kind} of {where}: {money(abs(entry.a))} {'received' if entry.a > 0 else 'paid'}"
    return f"{kind} of {where}: {money(abs(entry.b))} {'to come' if entry.b > 0 else 'to be paid'}"


def _adjusted(telling: Telling, entry: Entry) -> str:
    prices = [f"{word} {price(value)}" for word, value in (("stop", entry.b), ("limit", entry.a), ("trails by", entry.c)) if value == value]
    made = telling.made(entry.order)
    if entry.e:
        return f"{telling.name(entry.order)} loses {telling.units(entry.instrument, abs(entry.lots))}: {Reason(entry.e).words}"
    grows = made is not None and (entry.lots > 0) == (made.lots > 0)
    more = f"{telling.units(entry.instrument, entry.lots)} {'more' if grows else 'fewer'} to trade" if entry.lots else "as many to trade"
    return f"{telling.name(entry.order)} is rescaled by the split: {', '.join([more, *prices])}"


def _forced(telling: Telling, entry: Entry) -> str:
    what = f"{'buy' if entry.lots > 0 else 'sell'} {telling.units(entry.instrument, entry.lots)} {telling.symbol(entry.instrument)}"
    done = f"is sent to {what}" if entry.lots else "is to be cancelled"
    reason = Reason(entry.e)
    if reason == Reason.RECALLED:
        why = f"{quantity(entry.a)} are borrowed, {quantity(entry.b)} can be"
    elif reason == Reason.MARGIN_CALL:
        why = f"equity {money(entry.a)} is below the margin of {money(entry.b)}"
    else:
        why = f"equity is {money(entry.a)}"
    return f"{telling.name(entry.order)} {done} by the account's broker: {reason.words}: {why}"


def halt(entry: Entry) -> str:
    """A halt of trading, or its end."""
    measure = Measure(entry.order)
    if measure == Measure.BANKRUPT:
        return f"the account is bankrupt, with an equity of {money(entry.a)}: trading stops for good"
    if measure in (Measure.RESUMED, Measure.RELEASED):
        return f"trading goes on, at an equity of {money(entry.a)}"
    if measure == Measure.KILLED:
        return f"stopped from outside, at an equity of {money(entry.a)}"
    return f"{measure.name.lower().replace('_', ' ')}: equity {money(entry.a)} fell below {money(entry.b)}"


EVENTS: Final[dict[int, Callable[[Telling, Entry], str]]] = {
    rows.ORDER: _wished,
    rows.BATCHED: _wished,
    rows.REPLACE: _wished,
    rows.REFUSED: _wished,
    rows.SLICED: lambda telling, x: f"{telling.name(x.order)}, a slice of {telling.name(x.e)}: {telling.wish(x)}",
    rows.REPLACED: lambda telling, x: f"{telling.name(x.order)} takes the place of {telling.name(x.e)}: {telling.wish(x)}",
    rows.CONDITIONS: _conditions,
    rows.CANCEL: lambda telling, x: f"{telling.name(x.order)} is to be cancelled",
    rows.CLEARED: lambda telling, x: f"all orders in {telling.symbol(x.instrument)} are to be cancelled for a new target",
    rows.FILL: _filled,
    rows.ITEMISED: lambda telling, x: f"{telling.name(x.order)}, of that fill: {itemised(x) or 'nothing more'}",
    rows.ENDED: _ended,
    rows.WAITED: _waited,
    rows.HALT: lambda telling, x: halt(x),
    rows.BOOKED: _booked,
    rows.FORCED: _forced,
    rows.RESCALED: lambda telling, x: f"{telling.symbol(x.instrument)} is split {x.d} for {x.e}: its last price becomes {price(x.a)}",
    rows.ADJUSTED: _adjusted,
    rows.REMARK: lambda telling, x: f"the strategy remarks{f' of {telling.symbol(x.instrument)}' if x.instrument >= 0 else ''}: {telling.words(x)}",
}
"""The words for each kind of row."""


def price(value: float) -> str:
    """A price with the digits that tell it: at least cents, at least six in all."""
    if not isfinite(value) or not value:
        return "none" if value != value else f"{value:,.2f}"
    digits = min(max(2, 5 - floor(log10(abs(value)))), 10)
    whole, _, cents = f"{value:,.{digits}f}".partition(".")
    return f"{whole}.{cents.rstrip('0').ljust(2, '0')}"


def money(value: float) -> str:
    """A sum with its cents. What rounds to nothing has no sign."""
    return f"{value if abs(value) >= 0.005 else 0.0:,.2f}"


def quantity(value: float) -> str:
    """Units, with the digits that they have."""
    text = f"{value:,.8f}"
    return text.rstrip("0").rstrip(".")


def session(tape: Tape, row: int) -> str:
    """The date of a bar's session."""
    return str(np.datetime64(tape.days[row], "D"))


def closing(tape: Tape, row: int) -> str:
    """A bar's close; where bars are daily, its session too."""
    told = f"{moment(tape.ats[row])} UTC"
    return f"{session(tape, row)} (closed {told})" if tape.interval >= DAY else told


def moment(at: int) -> str:
    """A time in UTC, with seconds where there are any."""
    then = datetime.fromtimestamp(int(at) // SECOND, UTC)
    return f"{then:%Y-%m-%d %H:%M:%S}" if then.second else f"{then:%Y-%m-%d %H:%M}"
