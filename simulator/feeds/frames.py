"""Bars that are in memory already: columns and pandas frames, and how what a source declares makes bars of its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, nearest
from simulator.feeds.checks import PRICES, Read, Stamps, Where, passed, stamps_of
from simulator.market.calendars import is_exchange, local_date, parse_hours, parse_interval, parse_zone, session_times, utc_of
from simulator.market.exchanges import Exchange
from simulator.market.instruments import Future, Instrument
from simulator.market.tape import DAY, FloatArray, IntArray, Tape, Truth

if TYPE_CHECKING:
    import pandas as pd

STAMP_NAMES: Final = ("date", "datetime", "timestamp", "time")
CONTRACT: Final = ("multiplier", "initial_margin", "maintenance_margin", "expires")
WANTED: Final = ("date", *PRICES, "volume", "symbol")


class Declarations(TypedDict, total=False):
    """What may be said of frames; see `Declared`."""

    stamps: str | None
    interval: str | None
    timezone: str | None
    hours: str | None
    tick: str
    lot: str
    volume: str
    adjusted: bool
    opens: str
    on_bad_bar: str
    columns: Mapping[str, str] | None
    currencies: Mapping[str, str] | None
    rates: tuple[str, ...]
    futures: Mapping[str, Mapping[str, float | str]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a source says of its bars, since nobody else can know.

    Stamps that are pure dates name daily sessions. All others need *stamps*, the side of the bar that they are on ("open" or "close"), and
    *interval*, its length. Times without a zone are UTC unless *timezone* names one. *hours* ("09:30-16:00 America/New_York") are those of a session:
    without them it is the UTC day, or that of *timezone*. *columns* maps our names (date, open, high, low, close, volume, symbol) to the source's.
    *currencies* are those of symbols that are not in dollars, and *rates* the symbols that are rates of exchange; see simulator.book.currencies.
    *futures* says of symbols that they are futures: multiplier, initial_margin, maintenance_margin and expires, see market.instruments.Future.
    Raises DataError, with *key* before the setting's name, for what cannot be meant.
    """

    stamps: str | None = None
    interval: str | None = None
    timezone: str | None = None
    hours: str | None = None
    tick: str = "0.01"
    lot: str = "1"
    volume: str = "shares"
    adjusted: bool = False
    opens: str = "traded"
    on_bad_bar: str = "refuse"
    columns: Mapping[str, str] | None = field(default=None, hash=False)
    currencies: Mapping[str, str] | None = field(default=None, hash=False)
    rates: tuple[str, ...] = ()
    futures: Mapping[str, Mapping[str, float | str]] | None = field(default=None, hash=False)
    key: str = ""

    def __post_init__(self) -> None:
        for name, known in (
            ("stamps", (None, "open", "close")),
            ("volume", ("shares", "none")),
            ("opens", ("traded", "previous_close", "close_only")),
            ("on_bad_bar", ("refuse", "skip")),
        ):
            if getattr(self, name) not in known:
                raise DataError(f"{self.key}{name} must be {' or '.join(repr(x) for x in known if x)}, was {getattr(self, name)!r}")
        for symbol, terms in (self.futures or {}).items():
            for name in terms:
                if name not in CONTRACT:
                    raise DataError(f"{self.key}futures.{symbol}: no such key {name!r}{nearest(name, CONTRACT)}")
                if isinstance(terms[name], str) != (name == "expires"):
                    raise DataError(f"{self.key}futures.{symbol}: {name} must be {'text' if name == 'expires' else 'a number'}, was {terms[name]!r}")
            self.instrument(symbol)
        for name in self.columns or ():
            if name not in WANTED:
                raise DataError(f"{self.key}columns: no such key {name!r}{nearest(name, WANTED)}")
        if self.interval is not None:
            parse_interval(self.interval, f"{self.key}interval")
        if self.timezone is not None:
            parse_zone(self.timezone, f"{self.key}timezone")
        if self.hours is not None and not is_exchange(self.hours):
            parse_hours(self.hours, f"{self.key}hours")

    @property
    def prices(self) -> tuple[str, ...]:
        """The price columns that this source has."""
        return ("close",) if self.opens == "close_only" else PRICES

    def chosen(self, header: Sequence[str], place: str) -> dict[str, int]:
        """Which column of *header* holds what, by our names. Raises DataError for one that is missing or there twice."""
        lowered = [name.lower() for name in header]
        twice = next((name for k, name in enumerate(lowered) if name in lowered[:k]), None)
        if twice is not None:
            raise DataError(f"{place}: has two columns {twice!r}; leave one")
        told = self.columns or {}
        found: dict[str, int] = {}
        for name in ("date", *self.prices, *(("volume",) if self.volume == "shares" else ()), "symbol"):
            if name in told:
                if told[name].lower() not in lowered:
                    raise DataError(f"{place}: {self.key}columns names {told[name]!r} for {name}, and there is none{nearest(told[name], header)}")
                found[name] = lowered.index(told[name].lower())
                continue
            there = [lowered.index(x) for x in (STAMP_NAMES if name == "date" else (name,)) if x in lowered]
            if len(there) > 1:
                both = " and ".join(repr(header[k]) for k in there)
                raise DataError(f"{place}: both {both} could be the stamps; say which with {self.key}columns = {{date = ...}}")
            if not there and name != "symbol":
                way_out = f"; say {self.key}volume = 'none' if there is none" if name == "volume" else f"; map it with {self.key}columns"
                raise DataError(f"{place}: has no column {name!r} among {', '.join(header)}{way_out}")
            if there:
                found[name] = there[0]
        return found

    def times(self, told: Stamps, place: str, where: Where) -> Times:
        """When the bars of these stamps open and close. Raises DataError where that was not declared, or contradicts the stamps."""
        at, form = told
        if form == "midnight":
            form = "date" if self.stamps is None and self.interval in (None, "1d") else "naive"
        if form == "date":
            if self.interval not in (None, "1d"):
                raise DataError(f"{place}: dates name daily sessions, so {self.key}interval must be '1d' or left out, was {self.interval!r}")
            if self.timezone is not None:
                raise DataError(f"{place}: dates have no time of day, so {self.key}timezone says nothing; give {self.key}hours")
            opened_at, closed_at = session_times(at // DAY, self.hours)
            return Times(opened_at, closed_at, at // DAY, DAY)
        if self.stamps is None:
            raise DataError(
                f"{place}: its stamps have a time of day, so {self.key}stamps must say which side of a bar they are on, 'open' or 'close'"
            )
        if self.interval is None:
            raise DataError(f"{place}: its stamps have a time of day, so {self.key}interval must say how long a bar is, such as '5m'")
        zone = None if self.timezone is None else parse_zone(self.timezone)
        if zone is not None and form == "utc":
            raise DataError(f"{place}: its stamps carry their own zone, so {self.key}timezone must be left out, was {self.timezone!r}")
        length = parse_interval(self.interval)
        utc = at if zone is None else utc_of(at, zone, lambda k: f"{where(k)}: date ")
        opened_at = utc if self.stamps == "open" else utc - length
        closed_at = opened_at + length
        if self.hours is None:
            return Times(opened_at, closed_at, opened_at // DAY if zone is None else local_date(opened_at, zone), length)
        sessions = Exchange(self.hours).sessions_of(opened_at) if is_exchange(self.hours) else local_date(opened_at, parse_hours(self.hours).zone)
        first, last = session_times(sessions, self.hours)
        outside = np.flatnonzero((opened_at < first) | (closed_at > last))
        if len(outside):
            raise DataError(f"{where(int(outside[0]))}: date must lie within {self.key}hours, {self.hours}; the bar lies outside them")
        return Times(opened_at, closed_at, sessions, length)

    def instrument(self, symbol: str) -> Instrument:
        kind = "rate" if symbol in self.rates else "equity"
        currency = (self.currencies or {}).get(symbol, symbol[3:] if kind == "rate" else "USD")
        if self.futures and symbol in self.futures:
            terms: dict[str, Any] = dict(self.futures[symbol])
            return Future(symbol, tick=self.tick, lot=self.lot, currency=currency, **terms)
        return Instrument(symbol, kind, self.tick, self.lot, currency=currency)

    def instruments(self, symbols: Iterable[str]) -> list[Instrument]:
        """The instruments that have bars. Raises DataError where something is declared of one that has none."""
        known = list(symbols)
        for name, said in (("currencies", self.currencies or ()), ("rates", self.rates), ("futures", self.futures or ())):
            for symbol in said:
                if symbol not in known:
                    raise DataError(f"{self.key}{name}: there are no bars of {symbol!r}{nearest(symbol, known)}")
        return [self.instrument(symbol) for symbol in known]

    def truth(self, source: str) -> Truth:
        return Truth(source, self.adjusted, self.volume, self.opens, calendar=self.calendar)

    @property
    def calendar(self) -> str:
        """The exchange whose sessions these are; empty where hours name none."""
        return self.hours if self.hours is not None and is_exchange(self.hours) else ""


class Times(NamedTuple):
    """When bars open and close (UTC nanoseconds), their sessions (days since 1970), all (n,), and their length in nanoseconds."""

    opened_at: IntArray
    closed_at: IntArray
    sessions: IntArray
    interval: int


@dataclass(frozen=True, slots=True)
class Table:
    """Columns as they were read, a row a bar: of one instrument, or of several, where *which* indexes *symbols*. *rows* says where each stands."""

    place: str
    rows: IntArray
    stamps: Stamps
    fields: Mapping[str, FloatArray]
    symbols: Sequence[str]
    which: IntArray | None = None

    def where(self, k: int) -> str:
        return f"{self.place}, row {self.rows[k]}"

    def by_instrument(self, declared: Declared) -> list[Read]:
        """The bars of each instrument, in the order of the first one of each."""
        times = declared.times(self.stamps, self.place, self.where)
        whole = Read(self.symbols[0], self.place, self.rows, times.opened_at, times.closed_at, times.sessions, self.fields, times.interval)
        if self.which is None:
            return [whole]
        order = np.argsort(self.which, kind="stable")
        cuts = np.searchsorted(self.which[order], np.arange(len(self.symbols) + 1))
        return [whole.only(order[a:b]).named(symbol) for symbol, a, b in zip(self.symbols, cuts[:-1], cuts[1:], strict=True)]


def tape_from_tables(tables: Sequence[Table], declared: Declared, source: str) -> Tape:
    """The tape of *tables* that were declared alike; instruments stand in the order in which they come."""
    reads = [read for table in tables for read in table.by_instrument(declared)]
    instruments = declared.instruments(dict.fromkeys(read.symbol for read in reads))
    return passed(reads, instruments, truth=declared.truth(source), on_bad_bar=declared.on_bad_bar)


def tape_from_frame(frame: pd.DataFrame, symbol: str | None = None, **declared: Unpack[Declarations]) -> Tape:
    """The tape of a pandas frame: of one instrument named *symbol*, or of several told apart by a symbol column, an index level or column level.

    Stamps are the index or a date column. An index of times without zone that all fall on midnight is one of dates. Where columns have two levels
    (field and symbol, in either order), a row that is NaN in all of an instrument's fields is no bar of it. Declarations are those of `read_bars`.
    Messages count rows from 0, as `iloc` does. Raises DataError.
    """
    told = Declared(**declared)
    if frame.columns.nlevels == 2:
        return tape_from_tables([_table(part, name, told, f"frame {name!r}", rows) for name, part, rows in _parts(frame, told)], told, "frame")
    return tape_from_tables([_table(frame, symbol, told, "frame" if symbol is None else f"frame {symbol!r}")], told, "frame")


def tape_from_frames(frames: Mapping[str, pd.DataFrame], **declared: Unpack[Declarations]) -> Tape:
    """The tape of several frames, by symbol; as `tape_from_frame` otherwise."""
    told = Declared(**declared)
    if not frames:
        raise DataError("frames must hold at least one frame, was empty")
    return tape_from_tables([_table(frame, symbol, told, f"frame {symbol!r}") for symbol, frame in frames.items()], told, "frames")


def tape_from_columns(
    bars: Mapping[str, Mapping[str, Any] | pd.DataFrame],
    *,
    stamps: str | None = None,
    interval: str | None = None,
    timezone: str | None = None,
    hours: str | None = None,
    tick: str = "0",
    lot: str = "1",
    adjusted: bool = False,
    opens: str = "traded",
    on_bad_bar: str = "refuse",
    instruments: Mapping[str, Instrument] | None = None,
) -> Tape:
    """The tape of plain columns: *bars* maps a symbol to date, open, high, low, close and, where there is one, volume; or to a frame.

    Dates may be datetime64, datetime, date or Timestamp objects, or ISO strings. What is not declared is taken from the dates, which suits the
    comparing of engines: those that all fall on midnight name sessions; other stamps are closes, and the smallest step between them is the interval.
    Prices have no grid unless *tick* or *instruments* give one. Messages count rows from 0. Raises DataError.
    """
    if not bars:
        raise DataError("bars must map at least one symbol to its columns, was empty")
    given = instruments or {}
    for symbol in given:
        if symbol not in bars:
            raise DataError(f"instruments: there are no bars of {symbol!r}{nearest(symbol, bars)}")
    reads: list[Read] = []
    for symbol, columns in bars.items():
        place, header = f"bars of {symbol!r}", [str(name) for name in columns]
        told = Declared(
            stamps=stamps,
            interval=interval,
            timezone=timezone,
            hours=hours,
            adjusted=adjusted,
            opens=opens,
            on_bad_bar=on_bad_bar,
            volume="shares" if "volume" in (name.lower() for name in header) else "none",
        )
        if isinstance(columns, Mapping):
            table = _columns(header, list(columns.values()), symbol, told, place)
        else:
            table = _table(columns, symbol, told, place)
        reads += table.by_instrument(_inferred(told, table))
    known = [given.get(symbol, Instrument(symbol, tick=tick, lot=lot)) for symbol in bars]
    truth = Truth("given", adjusted, "shares" if any("volume" in read.fields for read in reads) else "none", opens, calendar=told.calendar)
    return passed(reads, known, truth=truth, on_bad_bar=on_bad_bar)


def _inferred(told: Declared, table: Table) -> Declared:
    """What plain columns leave unsaid: stamps are closes, and bars as long as the smallest step between them."""
    at, form = table.stamps
    if form == "date" or (form == "midnight" and told.stamps is None and told.interval in (None, "1d")):
        return told
    steps = np.diff(at)
    step = int(steps[steps > 0].min(initial=DAY))
    interval = f"{step // 10**9}s" if step % 10**9 == 0 else None
    if told.interval is None and interval is None:
        raise DataError(f"{table.place}: its stamps are {step} ns apart, so interval must say how long a bar is, in whole seconds")
    return replace(told, stamps=told.stamps or "close", interval=told.interval or interval)


def _table(frame: Any, symbol: str | None, declared: Declared, place: str, rows: IntArray | None = None) -> Table:
    import pandas as pd

    index = frame.index
    told = {name.lower() for name in (declared.columns or {}).values()}
    known = {*STAMP_NAMES, "symbol", *told}
    if isinstance(index, pd.MultiIndex) or str(index.name).lower() in known:
        frame = frame.reset_index()
    elif isinstance(index, pd.DatetimeIndex):
        frame = frame.rename_axis("date").reset_index()
    return _columns([str(name) for name in frame.columns], [frame.iloc[:, k] for k in range(frame.shape[1])], symbol, declared, place, rows)


def _parts(frame: pd.DataFrame, declared: Declared) -> Iterable[tuple[str, Any, IntArray]]:
    """One frame an instrument, out of one whose columns have the levels field and symbol, and the rows in which it has a bar."""
    close = (declared.columns or {}).get("close", "close").lower()
    level = next((k for k in (0, 1) if close in (str(x).lower() for x in frame.columns.get_level_values(k))), None)
    if level is None:
        raise DataError(f"frame: no level of its columns has {close!r}; one must name the fields, the other the symbols")
    for symbol in dict.fromkeys(frame.columns.get_level_values(1 - level)):
        part = frame.xs(symbol, axis=1, level=1 - level)
        rows = np.flatnonzero(part.notna().to_numpy().any(axis=1))
        yield str(symbol), part.iloc[rows], rows


def _columns(
    header: Sequence[Any], columns: Sequence[Any], symbol: str | None, declared: Declared, place: str, rows: IntArray | None = None
) -> Table:
    chosen = declared.chosen([str(name) for name in header], place)
    lengths = {name: len(columns[k]) for name, k in chosen.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{place}: columns must be of one length, were {', '.join(f'{name} {n}' for name, n in lengths.items())}")
    if not lengths["date"]:
        raise DataError(f"{place}: has no bar")
    counted = np.arange(lengths["date"]) if rows is None else rows

    def where(k: int) -> str:
        return f"{place}, row {counted[k]}"

    stamps = stamps_in(columns[chosen["date"]], where)
    fields = {name: floats_in(columns[k], name, where) for name, k in chosen.items() if name not in ("date", "symbol")}
    words = [str(word) for word in columns[chosen["symbol"]]] if "symbol" in chosen else None
    return Table(place, counted, stamps, fields, *symbols_in(words, symbol, place, where))


def symbols_in(words: Sequence[str] | None, symbol: str | None, place: str, where: Where) -> tuple[list[str], IntArray | None]:
    """The symbols of a column in the order of their first bars, and the index of each row's; without a column just *symbol*.

    Raises DataError where one is empty, where there is neither, or where the two disagree.
    """
    if words is None:
        if symbol is None:
            raise DataError(f"{place}: must say of which instrument it is, by symbol or in a column 'symbol'")
        return [symbol], None
    seen: dict[str, int] = {}
    which = [seen.setdefault(word, len(seen)) for word in words]
    for name in seen:
        if not name.strip():
            raise DataError(f"{where(words.index(name))}: symbol must not be empty")
        if symbol not in (None, name):
            raise DataError(f"{where(words.index(name))}: symbol must be {symbol!r} as declared, was {name!r}")
    return list(seen), np.array(which, np.int64)


def stamps_in(values: Any, where: Where) -> Stamps:
    """The stamps of a column of datetime64, datetime, date or Timestamp objects or ISO strings. Raises DataError for anything else."""
    zoned = getattr(getattr(values, "dtype", None), "tz", None) is not None
    array = np.asarray(values, "datetime64[ns]") if zoned else np.asarray(values)
    if array.dtype.kind == "M":
        return _stamps_from_datetime64(array, zoned, where)
    listed = array.tolist() if array.dtype.kind == "U" else list(values)
    kinds = {str if isinstance(x, str) else datetime if isinstance(x, datetime) else date if isinstance(x, date) else type(x) for x in listed}
    if kinds == {str}:
        at, form = stamps_of(listed, where)
        return Stamps(at, "utc" if form in ("Z", "offset") else form)
    if kinds == {date}:
        return Stamps(np.array(listed, "datetime64[D]").astype("datetime64[ns]").astype(np.int64), "date")
    if kinds == {datetime}:
        return _stamps_from_datetimes(listed, where)
    wrong = next((k for k, x in enumerate(listed) if not isinstance(x, str | date)), 0)
    raise DataError(f"{where(wrong)}: date must be a datetime, a date or ISO text, the same in all rows, was {listed[wrong]!r}")


def _stamps_from_datetime64(array: npt.NDArray[Any], zoned: bool, where: Where) -> Stamps:
    lost = np.flatnonzero(np.isnat(array))
    if len(lost):
        raise DataError(f"{where(int(lost[0]))}: date must be a time, was NaT")
    exact = array.astype("datetime64[ns]")
    wrapped = np.flatnonzero(exact.astype(array.dtype) != array)
    if len(wrapped):
        raise DataError(f"{where(int(wrapped[0]))}: date must lie from 1700 to 2261, was {array[wrapped[0]]}")
    at = exact.astype(np.int64)
    if zoned:
        return Stamps(at, "utc")
    if np.datetime_data(array.dtype)[0] == "D":
        return Stamps(at, "date")
    return Stamps(at, "naive" if (at % DAY).any() else "midnight")


def _stamps_from_datetimes(listed: Sequence[datetime], where: Where) -> Stamps:
    zoned = listed[0].tzinfo is not None
    mixed = next((k for k, x in enumerate(listed) if (x.tzinfo is not None) != zoned), None)
    if mixed is not None:
        raise DataError(f"{where(mixed)}: date must {'have' if zoned else 'be without'} a zone as in the rows before, was {listed[mixed]}")
    if (lost := next((k for k, x in enumerate(listed) if x != x), None)) is not None:
        raise DataError(f"{where(lost)}: date must be a time, was NaT")
    plain = [(x - x.utcoffset()).replace(tzinfo=None) if zoned else x for x in listed]  # type: ignore[operator]
    # A pandas Timestamp has nanoseconds beside what a datetime has.
    finer = np.array([getattr(x, "nanosecond", 0) for x in listed], np.int64)
    whole = np.array([x.isoformat(timespec="microseconds")[:26] for x in plain], "datetime64[us]")
    stamps = _stamps_from_datetime64(whole, zoned, where)
    return Stamps(stamps.at + finer, "naive" if finer.any() and not zoned else stamps.form)


def floats_in(values: Any, name: str, where: Where) -> FloatArray:
    """A column of numbers as float64. Raises DataError where it holds anything else."""
    array = np.asarray(values)
    if array.dtype.kind in "iuf":
        return array.astype(np.float64)
    listed = list(values)
    wrong = next((k for k, x in enumerate(listed) if isinstance(x, bool | np.bool_) or not isinstance(x, int | float | Decimal | np.number)), None)
    if wrong is not None or array.dtype.kind == "c":
        raise DataError(f"{where(wrong or 0)}: {name} must be a number, was {listed[wrong or 0]!r}")
    return np.array([float(x) for x in listed])
