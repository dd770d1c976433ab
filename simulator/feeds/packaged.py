"""History that lies inside installed packages, each with what it says of itself.

The files are read where they are; the packages (arch, skfolio) are never imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from simulator.errors import DataError, ScenarioError, nearest
from simulator.feeds.checks import PRICES, Read, numbers, passed, stamps_of, text_columns, text_header, text_lines, unpacked
from simulator.market.calendars import day_text, session_times
from simulator.market.instruments import Instrument
from simulator.market.tape import DAY, IntArray, Tape, Truth

NEW_YORK: Final = "09:30-16:00 America/New_York"
INDEX: Final = "an index value cannot be traded as such: read it as a fund that holds the index and costs nothing"
HALF_DAYS: Final = "half days are given the hours of whole ones"


@dataclass(frozen=True, slots=True)
class History:
    """One bundled file: the package it is in, its path there, our symbols for its columns, its price grid, session hours and truth.

    *columns* maps a symbol to the column of its closes; None takes every column but the date. *gap* is what the file writes where there is no bar.
    """

    package: str
    path: str
    truth: Truth
    columns: dict[str, str] | None
    tick: str = "0.01"
    hours: str | None = NEW_YORK
    gap: str | None = None


HISTORIES: Final = {
    "nasdaq": History(
        "arch",
        "data/nasdaq/nasdaq.csv.gz",
        Truth(
            "NASDAQ composite, daily 1999-2018, bundled with arch",
            caveats=(
                INDEX,
                "prices are 32-bit floats written out, up to 0.0005 off the published cents",
                "volume is that of all member stocks; it is 0 on 2015-05-12 and 2018-01-09, when nothing can fill",
                HALF_DAYS,
            ),
        ),
        {"NASDAQ": "Close"},
    ),
    "sp500": History(
        "arch",
        "data/sp500/sp500.csv.gz",
        Truth(
            "S&P 500, daily 1999-2018, bundled with arch",
            opens="previous_close",
            caveats=(
                INDEX,
                "the open repeats the previous close on 96 % of days before 2006, and on 9 % since: fills at the open are too good to be true",
                "prices are 32-bit floats written out, up to 0.0005 off the published cents",
                "volume is that of all member stocks",
                HALF_DAYS,
            ),
        ),
        {"SP500": "Close"},
    ),
    "vix": History(
        "arch",
        "data/vix/vix.csv.gz",
        Truth(
            "VIX, daily closes from 2014 to 2019-01-03, bundled with arch",
            volume="none",
            opens="close_only",
            caveats=("the VIX cannot be bought or held: use it as a signal", "holidays that the file lists without a value are no bars"),
        ),
        {"VIX": "vix"},
        hours="09:30-16:15 America/New_York",
        gap=".",
    ),
    "wti": History(
        "arch",
        "data/wti/wti.csv.gz",
        Truth(
            "WTI crude oil at Cushing, daily spot prices from 1986 to 2019-01-03, from FRED, bundled with arch",
            volume="none",
            opens="close_only",
            caveats=("a spot price without storage or financing", "days that the file lists without a price are no bars", "sessions are UTC days"),
        ),
        {"WTI": "DCOILWTICO"},
        hours=None,
        gap=".",
    ),
    "stocks": History(
        "skfolio",
        "datasets/data/sp500_dataset.csv.gz",
        Truth(
            "20 stocks of the S&P 500, daily adjusted closes 1990-2022, bundled with skfolio",
            adjusted=True,
            volume="none",
            opens="close_only",
            caveats=(
                "survivors: all 20 were chosen knowing that they would still be there in 2022",
                "adjusted for splits and dividends, so that early prices are far below what was paid",
                "closes alone: no opens, no range, no volume, so no participation cap",
                HALF_DAYS,
            ),
        ),
        None,
        tick="0.001",
    ),
    "sp500_index": History(
        "skfolio",
        "datasets/data/sp500_index.csv.gz",
        Truth(
            "S&P 500, daily closes 1990-2022, bundled with skfolio",
            volume="none",
            opens="close_only",
            caveats=(INDEX, "closes alone: no opens, no range, no volume, so no participation cap; dividends are not in it", HALF_DAYS),
        ),
        {"SP500": "SP500"},
    ),
}


@dataclass(frozen=True)
class Packaged:
    """History bundled in an installed package: *source* is one of nasdaq, sp500, vix, wti (arch), stocks, sp500_index (skfolio).

    *beside* are more of these, on one tape: each instrument has its own bars, and a source without hours those of the others. *start* and *end* are
    the first and last date, both within what there is of each; *symbols* picks instruments of *source*, in that order. What the sources say of
    themselves, and their caveats, are in `tape.truth`, which promises what all of them do.
    """

    source: str
    start: date | None = None
    end: date | None = None
    symbols: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape. *seed* and *folder* change nothing. Raises ScenarioError for a source, symbol or date that is not there."""
        names = (self.source, *self.beside)
        for k, name in enumerate(names):
            if name not in HISTORIES:
                raise ScenarioError(f"feed.{'beside' if k else 'source'}: there is no packaged source {name!r}{nearest(name, HISTORIES)}")
        parts = [self._reads(name, self.symbols if name == self.source else ()) for name in names]
        reads = [read for part in parts for read in part]
        symbols = [read.symbol for read in reads]
        if len(set(symbols)) != len(symbols):
            raise ScenarioError(f"feed.beside: two of the sources have the same symbol, one of {', '.join(sorted(set(symbols)))}")
        ticks = [HISTORIES[name].tick for name, part in zip(names, parts, strict=True) for _ in part]
        instruments = [Instrument(symbol, tick=tick) for symbol, tick in zip(symbols, ticks, strict=True)]
        return passed(reads, instruments, truth=_together([HISTORIES[name].truth for name in names]))

    def _reads(self, source: str, wanted: tuple[str, ...]) -> list[Read]:
        """What one source has of each of its instruments, or of those *wanted*."""
        history = HISTORIES[source]
        place, header, words = _words(history)
        columns = history.columns or {name: name for name in header if name != "Date"}
        for k, symbol in enumerate(wanted):
            if symbol not in columns:
                raise ScenarioError(f"feed.symbols: {source} has no symbol {symbol!r}{nearest(symbol, columns)}")
            if symbol in wanted[:k]:
                raise ScenarioError(f"feed.symbols must name each symbol once, names {symbol!r} twice")

        days = _days(words["Date"], place)
        kept = self._kept(source, days)
        hours = history.hours or next((HISTORIES[name].hours for name in (self.source, *self.beside) if HISTORIES[name].hours), None)
        opened_at, closed_at = session_times(days[kept], hours)
        reads = []
        for symbol in wanted or tuple(columns):
            names = {"close": columns[symbol]} if history.truth.opens == "close_only" else {name: name.title() for name in PRICES}
            if history.truth.volume == "shares":
                names["volume"] = "Volume"
            told = np.array([word != history.gap for word in words[columns[symbol]][kept]])
            rows = np.arange(kept.start, kept.stop)[told]

            def where(k: int, rows: IntArray = rows) -> str:
                return f"{place}, row {rows[k] + 2}"

            fields = {name: numbers([words[column][k] for k in rows.tolist()], name, where) for name, column in names.items()}
            reads.append(Read(symbol, place, rows + 2, opened_at[told], closed_at[told], days[rows], fields, DAY))
        return reads

    def _kept(self, source: str, days: IntArray) -> slice:
        """The rows from start to end."""
        epoch, first, last = date(1970, 1, 1), int(days[0]), int(days[-1])
        ends = {}
        for name, told, otherwise in (("start", self.start, first), ("end", self.end, last)):
            ends[name] = otherwise if told is None else (told - epoch).days
            if not first <= ends[name] <= last:
                raise ScenarioError(f"feed.{name}: {source} has {day_text(first)} to {day_text(last)}, was {told}")
        kept = slice(int(np.searchsorted(days, ends["start"])), int(np.searchsorted(days, ends["end"], side="right")))
        if kept.start >= kept.stop:
            raise ScenarioError(f"feed.end must not be before feed.start, and bars must lie between: was {self.start} to {self.end}")
        return kept


def _together(truths: list[Truth]) -> Truth:
    """What several sources promise together: of each thing the least."""
    if len(truths) == 1:
        return truths[0]
    opens = next(kind for kind in ("close_only", "previous_close", "traded") if any(truth.opens == kind for truth in truths))
    return Truth(
        "; ".join(truth.source for truth in truths),
        any(truth.adjusted for truth in truths),
        "none" if any(truth.volume == "none" for truth in truths) else "shares",
        opens,
        tuple(dict.fromkeys(caveat for truth in truths for caveat in truth.caveats)),
    )


def _words(history: History) -> tuple[str, list[str], dict[str, list[str]]]:
    """The name of the file, its header, and its columns as words."""
    found = find_spec(history.package)
    if found is None or not found.submodule_search_locations:
        raise DataError(f"feed.source: the package {history.package} is not installed; pip install {history.package}")
    path = Path(found.submodule_search_locations[0]) / history.path
    if not path.is_file():
        raise DataError(f"feed.source: the installed {history.package} has no {history.path}; install the version that tradewind asks for")
    lines = text_lines(unpacked(path.read_bytes(), path.name), path.name)
    header = text_header(lines, path.name)
    words: dict[str, list[str]] = {name: [] for name in header}
    for _, columns in text_columns(lines, len(header), path.name):
        for name, column in zip(header, columns, strict=True):
            words[name] += column
    return path.name, header, words


def _days(words: list[str], place: str) -> IntArray:
    """Dates written 2018-12-31 or, as arch does, 12/31/2018."""
    plain = words
    if "/" in words[0]:
        cut = [word.split("/") for word in words]
        plain = [f"{year}-{int(month):02d}-{int(day):02d}" for month, day, year in cut]
    at, form = stamps_of(plain, lambda k: f"{place}, row {k + 2}")
    assert form == "date", f"{place} has dates"
    return at // DAY
