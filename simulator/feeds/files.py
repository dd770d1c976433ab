"""Bars from CSV and Parquet files, of one instrument or many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from simulator.errors import DataError
from simulator.feeds.checks import Stamps, numbers, stamps_of, text_columns, text_header, text_lines, unpacked
from simulator.feeds.frames import Declared, Table, floats_in, stamps_in, symbols_in, tape_from_tables
from simulator.market.tape import Tape

ENDINGS: Final = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Files:
    """Bars from files: *paths* are files, or folders of them, and start in the scenario's folder. What they cannot say themselves is declared.

    Stamps that are pure dates (2020-01-31) name daily sessions. All others need *stamps* ("open" or "close", the side of the bar that they are on)
    and *interval* ("5m"). Times without a zone are UTC unless *timezone* names one; *hours* are those of a session:
    "09:30-16:00 America/New_York", or the exchange whose calendar has them ("XNYS"), with its half days and holidays.
    A file without a symbol column is of *symbol*, or of what its name says. *columns* maps our names to the file's: `{close = "Adj Close"}`.
    *currencies* are those of symbols that are not in dollars (`{SAP = "EUR"}`), and *rates* the symbols that are rates of exchange: EURUSD.
    *futures* says of symbols that they are futures: `{ES = {multiplier = 50, expires = "2020-03-20"}}`, and initial_margin and
    maintenance_margin in money a contract.
    """

    paths: tuple[str, ...]
    stamps: Literal["open", "close"] | None = None
    interval: str | None = None
    timezone: str | None = None
    hours: str | None = None
    symbol: str | None = None
    tick: str = "0.01"
    lot: str = "1"
    volume: Literal["shares", "none"] = "shares"
    adjusted: bool = False
    opens: Literal["traded", "previous_close", "close_only"] = "traded"
    on_bad_bar: Literal["refuse", "skip"] = "refuse"
    columns: dict[str, str] = field(default_factory=dict)
    currencies: dict[str, str] = field(default_factory=dict)
    rates: tuple[str, ...] = ()
    futures: dict[str, dict[str, float | str]] = field(default_factory=dict)

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape of all files. *seed* changes nothing. Raises DataError for files that cannot be read or believed."""
        told = {each.name: getattr(self, each.name) for each in fields(Declared) if each.name != "key"}
        declared = Declared(**told, key="feed.")
        if not self.paths:
            raise DataError("feed.paths must name at least one file, was empty")
        return _tape([folder / path for path in self.paths], self.symbol, declared)


def read_bars(
    path: str | Path,
    *,
    stamps: str | None = None,
    interval: str | None = None,
    timezone: str | None = None,
    hours: str | None = None,
    symbol: str | None = None,
    tick: str = "0.01",
    lot: str = "1",
    volume: str = "shares",
    adjusted: bool = False,
    opens: str = "traded",
    on_bad_bar: str = "refuse",
    columns: Mapping[str, str] | None = None,
    currencies: Mapping[str, str] | None = None,
    rates: Sequence[str] = (),
    futures: Mapping[str, Mapping[str, float | str]] | None = None,
) -> Tape:
    """The tape of a CSV (also .csv.gz) or Parquet file, or of a folder of them; see `Files` for what must be declared.

    *opens* is "traded", "previous_close" or "close_only" (then only closes are read); *volume* "none" says that there is none; *adjusted* that splits
    and dividends are worked into the prices. With *on_bad_bar* "skip" bars that cannot be true are left out and listed in `tape.notes`; what breaks
    the grammar of text is refused all the same. Raises DataError with file, row, field, value and reason: rows of text are its lines, those of
    Parquet count from 1.
    """
    declared = Declared(
        stamps=stamps,
        interval=interval,
        timezone=timezone,
        hours=hours,
        tick=tick,
        lot=lot,
        volume=volume,
        adjusted=adjusted,
        opens=opens,
        on_bad_bar=on_bad_bar,
        columns=columns,
        currencies=currencies,
        rates=tuple(rates),
        futures=futures,
    )
    return _tape([Path(path)], symbol, declared)


def _tape(paths: Sequence[Path], symbol: str | None, declared: Declared) -> Tape:
    files = [file for path in paths for file in files_of(path, declared.key)]
    return tape_from_tables([read_table(file, symbol, declared) for file in files], declared, named(files))


def read_table(file: Path, symbol: str | None, declared: Declared) -> Table:
    """The columns of one file. Raises DataError where they cannot be read."""
    return _parquet(file, symbol, declared) if file.suffix.lower() == ".parquet" else _csv(file, symbol, declared)


def named(files: Sequence[Path]) -> str:
    """Some files in words."""
    names = [file.name for file in files]
    return ", ".join(names) if len(names) < 4 else f"{len(names)} files from {names[0]} to {names[-1]}"


def files_of(path: Path, key: str) -> Iterator[Path]:
    """The file *path*, or the files of the folder *path* in the order of their names."""
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if file.name.lower().endswith(ENDINGS))
        if not inside:
            raise DataError(f"{key}{'paths' if key else 'path'}: the folder {path} has no file that ends in {', '.join(ENDINGS)}")
        yield from inside
    elif not path.is_file():
        raise DataError(f"{key}{'paths' if key else 'path'}: there is no file {path}")
    elif not path.name.lower().endswith(ENDINGS):
        raise DataError(f"{path.name}: must end in {', '.join(ENDINGS)}")
    else:
        yield path


def _stem(path: Path) -> str:
    name = path.name
    return name[: -len(next(ending for ending in ENDINGS if name.lower().endswith(ending)))]


def _csv(path: Path, symbol: str | None, declared: Declared) -> Table:
    place, content = path.name, _content(path)
    lines = text_lines(unpacked(content, place) if place.lower().endswith(".gz") else content, place)
    header = text_header(lines, place)
    chosen = declared.chosen(header, place)
    prices = [name for name in chosen if name not in ("date", "symbol")]
    parts: dict[str, list[Any]] = {name: [] for name in ("date", *prices)}
    words: list[str] = []
    form = None

    for first, columns in text_columns(lines, len(header), place):

        def where(k: int, first: int = first) -> str:
            return f"{place}, row {first + k}"

        at, form = stamps_of(columns[chosen["date"]], where, form=form)
        parts["date"].append(at)
        for name in prices:
            parts[name].append(numbers(columns[chosen[name]], name, where))
        if "symbol" in chosen:
            words += columns[chosen["symbol"]]

    assert form is not None, "text has at least one row"
    stamps = Stamps(np.concatenate(parts.pop("date")), "utc" if form in ("Z", "offset") else form)
    found = {name: np.concatenate(parts[name]) for name in prices}
    who = (words, symbol) if "symbol" in chosen else (None, symbol or _stem(path))
    symbols, which = symbols_in(who[0], who[1], place, lambda k: f"{place}, row {k + 2}")
    return Table(place, np.arange(2, len(stamps.at) + 2), stamps, found, symbols, which)


def _parquet(path: Path, symbol: str | None, declared: Declared) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = path.name

    def where(k: int) -> str:
        return f"{place}, row {k + 1}"

    try:
        file = pq.ParquetFile(path)
        header = list(file.schema_arrow.names)
        chosen = declared.chosen(header, place)
        table = file.read(columns=[header[k] for k in chosen.values()])
    except (pa.ArrowException, OSError) as broken:
        raise DataError(f"{place}: must be a Parquet file, cannot be read ({str(broken).splitlines()[0]})") from None
    if not table.num_rows:
        raise DataError(f"{place}: has columns and no bar")
    columns = {name: table.column(header[k]) for name, k in chosen.items()}

    def told(name: str) -> list[str]:
        column = columns[name].cast(pa.string()) if pa.types.is_dictionary(columns[name].type) else columns[name]
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise DataError(f"{place}: {name} must be a column of text, was {column.type}")
        words: list[str | None] = column.to_pylist()
        if None in words:
            raise DataError(f"{where(words.index(None))}: {name} must be there, was empty")
        return [word for word in words if word is not None]

    dates = columns["date"]
    if dates.null_count:
        raise DataError(f"{where(dates.is_null().to_pylist().index(True))}: date must be there, was empty")
    if pa.types.is_date(dates.type):
        stamps = stamps_in(dates.to_numpy().astype("datetime64[D]"), where)
    elif pa.types.is_timestamp(dates.type):
        stamps = stamps_in(dates.to_numpy(), where)
        stamps = Stamps(stamps.at, "utc") if dates.type.tz is not None else stamps
    else:
        stamps = stamps_in(told("date"), where)

    found = {}
    for name in (name for name in chosen if name not in ("date", "symbol")):
        kind = columns[name].type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise DataError(f"{place}: {name} must be a column of numbers, was {kind}")
        found[name] = floats_in(columns[name].cast(pa.float64(), safe=False).to_numpy(), name, where)
    who = (told("symbol"), symbol) if "symbol" in chosen else (None, symbol or _stem(path))
    symbols, which = symbols_in(who[0], who[1], place, where)
    return Table(place, np.arange(1, table.num_rows + 1), stamps, found, symbols, which)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as broken:
        raise DataError(f"{path.name}: cannot be read ({broken.strerror})") from None
