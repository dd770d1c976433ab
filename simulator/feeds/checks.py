"""What every feed refuses: text that breaks the grammar, bars that cannot be true, and bars that do not fit together.

The grammar comes before any parser, and nothing that breaks it is ever skipped. Bars that can be read and cannot be true are refused, or
quarantined and listed where the source was opened with `on_bad_bar = "skip"`. Source: market-rules.md, section 1.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.market.calendars import HOUR, MINUTE, day_text, instant_text
from simulator.market.instruments import Instrument
from simulator.market.tape import DAY, FloatArray, IntArray, Tape, Truth

PRICES: Final = ("open", "high", "low", "close")
JUMP: Final = 0.4
"""A close this far from the one before, as a fraction, is worth a warning."""

CHUNK: Final = 50_000
"""Lines that are parsed together, so that a large file never lies in memory as millions of words."""

NEWLINE: Final = b"\n"
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
QUOTED = re.compile(r'(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*')
MISSING = frozenset(("nan", "na", "n/a", "#n/a", "null", "none", "nil", "-", "."))
INFINITE = frozenset(("inf", "infinity"))

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = _DAY + r"[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
FORMS = {
    "date": re.compile(_DAY),
    "naive": re.compile(_TIME),
    "Z": re.compile(_TIME + "Z"),
    "offset": re.compile(_TIME + r"[+-](?:0[0-9]|1[0-4]):[0-5][0-9]"),
}
SPOKEN = {"date": "a date", "naive": "a time without a zone", "Z": "a time with Z", "offset": "a time with an offset"}

Where = Callable[[int], str]
"""The place of the k-th value of a column, for messages: `prices.csv, row 5`."""


class Stamps(NamedTuple):
    """Times as a source tells them, in nanoseconds since 1970, and how it tells them.

    *form* is "date" (they name sessions), "midnight" (times of some zone that all fall on midnight, as libraries write dates), "naive" (times of some
    zone) or "utc".
    """

    at: IntArray
    form: str


@dataclass(frozen=True, slots=True)
class Read:
    """The bars of one instrument as one place tells them, before any check.

    *rows* says where each bar stands there; times are UTC nanoseconds and sessions days since 1970, all (n,); *fields* has (n,) columns: the close or
    all four prices, and the volume where there is one. *interval* is the length of a bar in nanoseconds.
    """

    symbol: str
    place: str
    rows: IntArray
    opened_at: IntArray
    closed_at: IntArray
    sessions: IntArray
    fields: Mapping[str, FloatArray]
    interval: int

    def where(self, k: int) -> str:
        return f"{self.place}, row {self.rows[k]}"

    def when(self, k: int) -> str:
        """The date of bar *k*, or the instant of its close where bars are shorter than a day."""
        return day_text(self.sessions[k]) if self.interval >= DAY else instant_text(self.closed_at[k])

    def named(self, symbol: str) -> Read:
        return replace(self, symbol=symbol)

    def only(self, kept: npt.NDArray[np.bool_] | IntArray) -> Read:
        """The bars where a mask says so, or at these positions."""
        times = (self.rows[kept], self.opened_at[kept], self.closed_at[kept], self.sessions[kept])
        return Read(self.symbol, self.place, *times, {name: column[kept] for name, column in self.fields.items()}, self.interval)


# The grammar of text.


def text_lines(content: bytes, place: str) -> list[str]:
    """The lines of a text file, its header first: UTF-8 with optional BOM, ended by LF or CRLF, without NUL; at least one line after the header.

    Raises DataError, naming *place* and line, for anything else.
    """

    def at(offset: int) -> str:
        return f"{place}, row {1 + content.count(NEWLINE, 0, offset)}"

    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{place}, row 1: must be UTF-8, begins like UTF-16; save it as UTF-8")
    if (nul := content.find(b"\0")) >= 0:
        raise DataError(f"{at(nul)}: has a NUL byte; the file is damaged or is no text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        raise DataError(f"{at(broken.start)}: must be UTF-8, has the byte 0x{broken.object[broken.start]:02x}; save it as UTF-8") from None
    lines = text.replace("\r\n", "\n").split("\n")
    if "\r" in text and (alone := next((k for k, line in enumerate(lines) if "\r" in line), None)) is not None:
        raise DataError(f"{place}, row {alone + 1}: has a carriage return inside the line; end lines with LF or CRLF")
    if not lines[-1]:
        lines.pop()
    if not lines or not lines[0].strip():
        raise DataError(f"{place}, row 1: must be a header that names the columns, was empty")
    if len(lines) == 1:
        raise DataError(f"{place}: has a header and no bar")
    return lines


def text_header(lines: Sequence[str], place: str) -> list[str]:
    """The names of the columns. Raises DataError where the first line holds values, or is not cut by commas."""
    header, _ = _fields(lines[:1], lambda k: f"{place}, row 1")
    if len(header) == 1 and (mark := next((mark for mark in (";", "\t", "|") if mark in header[0]), None)):
        raise DataError(f"{place}, row 1: fields must be separated by commas, seem to be by {mark!r}")
    if any(NUMBER.fullmatch(name) or _form(name) for name in header):
        raise DataError(f"{place}, row 1: must be a header that names the columns, was {lines[0]!r}")
    return header


def text_columns(lines: Sequence[str], width: int, place: str) -> Iterator[tuple[int, list[list[str]]]]:
    """The lines after the header as columns of words, a chunk at a time: (row of the first line, *width* columns).

    Raises DataError for a blank line, another count of fields, or a quote that is not closed on its line.
    """
    for start in range(1, len(lines), CHUNK):
        chunk = lines[start : start + CHUNK]

        def where(k: int, first: int = start + 1) -> str:
            return f"{place}, row {first + k}"

        if not all(chunk):
            raise DataError(f"{where(chunk.index(''))}: is blank; leave no blank lines")
        words, counts = _fields(chunk, where)
        if (odd := next((k for k, count in enumerate(counts) if count != width), None)) is not None:
            raise DataError(f"{where(odd)}: must have {width} fields as the header has, had {counts[odd]}")
        yield start + 1, [words[k::width] for k in range(width)]


def _fields(lines: Sequence[str], where: Where) -> tuple[list[str], list[int]]:
    """The fields of all *lines*, one after another, and how many each line has."""
    joined = ",".join(lines)
    if '"' not in joined:
        return joined.split(","), [line.count(",") + 1 for line in lines]
    for k, line in enumerate(lines):
        if not QUOTED.fullmatch(line):
            raise DataError(f"{where(k)}: a quote is not closed on its line, or stands inside a field: {line!r}")
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error as broken:
        raise DataError(f"{where(0)} or after: cannot be read ({broken})") from None
    return [field for row in rows for field in row], [len(row) for row in rows]


def unpacked(content: bytes, place: str) -> bytes:
    """What a gzip file holds. Raises DataError where it is damaged or cut off."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as broken:
        raise DataError(f"{place}: must be a whole gzip file, cannot be unpacked ({broken})") from None


def numbers(words: Sequence[str], field: str, where: Where) -> FloatArray:
    """A column of plain ASCII decimals as float64, each the nearest to its text. Raises DataError at the first word that is none."""
    joined = "".join(words)
    if joined.isascii() and not joined.encode().translate(None, b"0123456789.eE+-"):
        try:
            return np.array([float(word) for word in words])
        except ValueError:
            pass
    wrong = next(k for k, word in enumerate(words) if not NUMBER.fullmatch(word))
    raise DataError(f"{where(wrong)}: {field} must be a decimal number such as 101.25, was {words[wrong]!r}{_why_no_number(words[wrong])}")


def _why_no_number(word: str) -> str:
    plain = word.strip().lower()
    if not plain:
        return ": it is empty; leave the whole row out where there is no bar"
    if plain != word.lower():
        return ": it has white space around it"
    if plain.lstrip("+-") in INFINITE:
        return ": it is infinite"
    if plain.lstrip("+-") in MISSING or plain in MISSING:
        return ": it says that there is none; leave the whole row out where there is no bar"
    if not word.isascii():
        return ": it has characters that are not ASCII"
    reasons = {",": "a comma inside", "_": "an underscore inside", "x": "hexadecimal digits", "$": "a currency sign", "%": "a percent sign"}
    return next((f": it has {reason}" for mark, reason in reasons.items() if mark in plain), "")


def stamps_of(words: Sequence[str], where: Where, field: str = "date", form: str | None = None) -> tuple[IntArray, str]:
    """Stamps as nanoseconds since 1970, and their form: a key of `FORMS`. Those with Z or an offset are UTC already.

    Raises DataError at the first that is no ISO stamp, is of another form than the first (or than *form*), or is no day or time that exists.
    """
    form = form or _form(words[0])
    fits = FORMS[form].fullmatch if form else None
    wrong = 0 if fits is None else next((k for k, word in enumerate(words) if not fits(word)), None)
    if wrong is not None:
        word, other = words[wrong], _form(words[wrong])
        if form and other:
            raise DataError(f"{where(wrong)}: {field} must be {SPOKEN[form]} as in the rows before, was {SPOKEN[other]}: {word!r}")
        raise DataError(f"{where(wrong)}: {field} must be like 2020-01-31 or 2020-01-31T09:30:00, then Z, +HH:MM or nothing, was {word!r}")
    assert form is not None
    plain = [word[:-1] for word in words] if form == "Z" else [word[:-6] for word in words] if form == "offset" else words
    try:
        # A year beyond what int64 nanoseconds hold would wrap around without a word.
        at = np.array(plain).astype("datetime64[ns]").astype(np.int64) if min(plain) >= "1700" and max(plain) < "2262" else None
    except ValueError:
        at = None
    if at is None:
        wrong = next(k for k, word in enumerate(plain) if not _exists(word))
        raise DataError(f"{where(wrong)}: {field} must be a day and time that exist, from 1700 to 2261, was {words[wrong]!r}")
    if form == "offset":
        ahead = {text: (int(text[1:3]) * HOUR + int(text[4:]) * MINUTE) * (-1 if text[0] == "-" else 1) for text in {word[-6:] for word in words}}
        at -= np.array([ahead[word[-6:]] for word in words], np.int64)
    return at, form


def _form(word: str) -> str | None:
    return next((form for form, pattern in FORMS.items() if pattern.fullmatch(word)), None)


def _exists(word: str) -> bool:
    try:
        return "1700" <= word < "2262" and not np.isnat(np.datetime64(word))
    except ValueError:
        return False


# The checks on values.


def troubles(read: Read) -> dict[int, str]:
    """What is wrong with which bar: the first reason of each, by its position."""
    found: dict[int, str] = {}

    def report(wrong: npt.NDArray[np.bool_], field: str, reason: Callable[[int], str]) -> None:
        for k in np.flatnonzero(wrong).tolist():
            found.setdefault(k, f"{read.where(k)}: {field} {reason(k)}, was {read.fields[field][k]} ({read.symbol}, {read.when(k)})")

    for name in PRICES:
        if name in read.fields:
            column = read.fields[name]
            report(~(np.isfinite(column) & (column > 0.0)), name, lambda k: "must be a finite price above 0")
    if "high" in read.fields:
        o, h, low, c = (read.fields[name] for name in PRICES)
        report(h < low, "high", lambda k: f"must not be below low ({low[k]})")
        report(h < o, "high", lambda k: f"must not be below open ({o[k]})")
        report(h < c, "high", lambda k: f"must not be below close ({c[k]})")
        report(low > o, "low", lambda k: f"must not be above open ({o[k]})")
        report(low > c, "low", lambda k: f"must not be above close ({c[k]})")
    if "volume" in read.fields:
        volume = read.fields["volume"]
        report(~(np.isfinite(volume) & (volume >= 0.0)), "volume", lambda k: "must be a finite number, 0 or above")

    # A bar that fell out above cannot put the ones after it out of order.
    good = np.array([k for k in range(len(read.rows)) if k not in found], np.int64) if found else np.arange(len(read.rows))
    ends = read.closed_at[good]
    latest = np.maximum.accumulate(ends)
    risen = np.concatenate([[True], ends[1:] > latest[:-1]])[: len(ends)]
    holder = np.maximum.accumulate(np.where(risen, np.arange(len(ends)), 0))
    for j in np.flatnonzero(~risen).tolist():
        k, before = int(good[j]), int(good[holder[j]])
        how = "repeats" if ends[j] == latest[j] else "is out of order: it comes after"
        found[k] = f"{read.where(k)}: date must increase, but {read.when(k)} {how} {read.when(before)} in row {read.rows[before]} ({read.symbol})"
    return dict(sorted(found.items()))


def jumps(read: Read) -> list[str]:
    """A warning for each close that is more than 40 % away from the one before."""
    closes = read.fields["close"]
    moves = closes[1:] / closes[:-1] - 1.0
    return [
        f"{read.symbol}, {read.when(k + 1)}: the close jumps by {moves[k]:+.1%}, from {closes[k]} to {closes[k + 1]}, with no corporate action"
        for k in np.flatnonzero(np.abs(moves) > JUMP).tolist()
    ]


# The tape of what passed.


def passed(reads: Sequence[Read], instruments: Sequence[Instrument], *, truth: Truth, on_bad_bar: str = "refuse") -> Tape:
    """The tape of all bars that pass the checks, on the union of their instants, NaN where an instrument has no bar.

    *reads* may hold several parts of one instrument, in the order of time. Raises DataError at the first bar that fails; with *on_bad_bar* "skip"
    such bars are left out and listed in `tape.notes`, as are jumps of more than 40 %.
    """
    passing = Passing(on_bad_bar)
    parts: dict[str, list[Read]] = {instrument.symbol: [] for instrument in instruments}
    for read in reads:
        good = passing.take(read)
        if len(good.rows):
            parts[read.symbol].append(good)
    whole = [_whole(pieces) for pieces in parts.values() if pieces]
    if not whole:
        raise DataError(f"{reads[0].place}: no bar is left, all {sum(len(read.rows) for read in reads)} are bad")
    return _joined(whole, instruments, truth, passing.notes(parts))


class Passing:
    """Bars on their way through the checks, one part of an instrument after the other; it remembers the last bar of each."""

    def __init__(self, on_bad_bar: str = "refuse") -> None:
        self._refuses = on_bad_bar == "refuse"
        self._skipped: list[str] = []
        self._jumps: dict[str, list[str]] = {}
        self._last: dict[str, Read] = {}

    def take(self, read: Read) -> Read:
        """The bars of *read* that pass. Raises DataError at the first that fails, unless such are skipped."""
        wrong = troubles(read)
        if wrong and self._refuses:
            more = f"; {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
            raise DataError(f"{next(iter(wrong.values()))}{more}")
        self._skipped += [f"skipped {reason}" for reason in wrong.values()]
        kept = np.ones(len(read.rows), np.bool_)
        kept[list(wrong)] = False
        good = read.only(kept) if wrong else read
        if len(good.rows):
            last = self._last.get(read.symbol)
            _follows(good, last)
            self._jumps.setdefault(read.symbol, []).extend(jumps(good if last is None else _whole([last, good])))
            self._last[read.symbol] = good.only(np.array([len(good.rows) - 1]))
        return good

    def notes(self, symbols: Iterable[str]) -> list[str]:
        """What was skipped, and each jump of more than 40 %, in the order of *symbols*."""
        return [*self._skipped, *(said for symbol in symbols for said in self._jumps.get(symbol, ()))]


def _whole(pieces: Sequence[Read]) -> Read:
    """The parts of one instrument as one. They have the same fields, since one declaration stands for all."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    rows, opened_at, closed_at, sessions = (
        np.concatenate(x) for x in zip(*((p.rows, p.opened_at, p.closed_at, p.sessions) for p in pieces), strict=True)
    )
    fields = {name: np.concatenate([piece.fields[name] for piece in pieces]) for name in first.fields}
    return Read(first.symbol, first.place, rows, opened_at, closed_at, sessions, fields, first.interval)


def _follows(read: Read, last: Read | None) -> None:
    """Refuse bars that are closer than their interval, or that do not come after the *last* one of the part before."""
    close = np.flatnonzero(read.opened_at[1:] < read.closed_at[:-1])
    if len(close):
        k = int(close[0]) + 1
        raise DataError(
            f"{read.where(k)}: {read.symbol} has bars {(read.closed_at[k] - read.closed_at[k - 1]) / 1e9:g} s apart at {read.when(k)}, "
            f"but its interval is declared as {read.interval / 1e9:g} s"
        )
    if last is not None and read.opened_at[0] < last.closed_at[-1]:
        raise DataError(
            f"{read.where(0)}: {read.symbol} must go on after {last.when(-1)}, where {last.place} ends, begins at {read.when(0)}; "
            "give the files in the order of time"
        )


def _joined(reads: Sequence[Read], instruments: Sequence[Instrument], truth: Truth, notes: Sequence[str]) -> Tape:
    ends = np.unique(np.concatenate([read.closed_at for read in reads]))
    starts, sessions = np.empty_like(ends), np.empty_like(ends)
    columns = np.full((5, len(ends), len(instruments)), np.nan)
    index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
    for read in reads:
        rows, i = np.searchsorted(ends, read.closed_at), index[read.symbol]
        starts[rows], sessions[rows] = read.opened_at, read.sessions
        for field, name in enumerate(PRICES):
            columns[field, rows, i] = read.fields.get(name, read.fields["close"])
        columns[4, rows, i] = read.fields.get("volume", np.inf)
    apart(ends, starts)
    interval = min(read.interval for read in reads)
    o, h, low, c, v = columns
    return Tape.of(instruments, ends, o, h, low, c, v, interval=interval, opened_at=starts, sessions=sessions, truth=truth, notes=notes)


def apart(ends: IntArray, starts: IntArray) -> None:
    """Refuse instants of which one begins before the one before has ended."""
    late = np.flatnonzero(starts[1:] < ends[:-1])
    if len(late):
        begins, inside = instant_text(starts[late[0] + 1]), instant_text(ends[late[0]])
        raise DataError(f"bars of different instruments overlap: one opens at {begins}, before another closes at {inside}; load them apart")
