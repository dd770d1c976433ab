"""Bars as they come: the message of the Alpaca market-data dialect, its checks, and how the bars of one instant become a row.

A bar message is a mapping with T ("b", "d" for daily bars, "u" for one that is said again), S, o, h, l, c, v, and t, when the bar opened: RFC 3339,
or nanoseconds since 1970. Only an instrument without volume may leave out v. Two keys are ours, for bars that are not one interval long: e, when it
closed, and s, its session in days since 1970. A message with T "over" says that no more will come. For the rest see
https://docs.alpaca.markets/docs/real-time-stock-pricing-data.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf, isfinite, nan
from pathlib import Path
from threading import Event
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from simulator.errors import DataError, SimulatorError, nearest
from simulator.market.tape import DAY, SECOND, FloatArray, Tape

KINDS: Final = ("b", "d", "u", "t")
STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
LOOK_SECONDS: Final = 0.1
"""How long a source waits before it looks whether it is to stop."""


class Said(NamedTuple):
    """What a source says that is no bar: "connected", "lost" (and why), "over", or "failed" for good. *backfilled*: what was missed will come."""

    kind: str
    words: str = ""
    backfilled: bool = False


class BarMessage(NamedTuple):
    """One bar of one instrument, by its index on the tape. *updated* says that it was said before, *running* that it is not over."""

    instrument: int
    opened_at: int
    closed_at: int
    session: int
    fields: tuple[float, float, float, float, float]
    updated: bool = False
    running: bool = False


class TradeMessage(NamedTuple):
    """One trade, and the bar of the tape's interval that it belongs to: bars of trades begin at multiples of the interval since 1970."""

    instrument: int
    opened_at: int
    closed_at: int
    session: int
    price: float
    size: float


class Row(NamedTuple):
    """All bars of one instant: *fields* are open, high, low, close and volume, (5, instruments), NaN where there is no bar."""

    closed_at: int
    opened_at: int
    session: int
    fields: FloatArray


class Ignored(NamedTuple):
    """A bar that came and did not reach the loop: *kind* is "late", "conflict", "updated" or "bad". It would have closed *at*."""

    kind: str
    at: int
    words: str


Put = Callable[[Sequence[Mapping[str, Any]] | Said], None]


class Source(Protocol):
    """Where messages come from. It runs in a thread of its own and ends soon after *stopping* is set, or when there is nothing more."""

    def run(self, put: Put, since: Callable[[], int], stopping: Event) -> None:
        """Put messages and what else there is to say; *since* is the last close that has been seen, in UTC nanoseconds, 0 for none."""


def _unreadable(noun: str, message: Mapping[str, Any], error: Exception) -> DataError:
    """What is wrong with a message that lacks a key, or has a value of another kind."""
    if isinstance(error, KeyError):
        return DataError(f"a {noun} message needs the key {error}, had {', '.join(map(str, message))}")
    return DataError(f"a {noun} message has a value that cannot be read: {error}")


def parse(message: Mapping[str, Any], tape: Tape) -> BarMessage:
    """The bar in a message. Raises DataError for one that cannot be read or cannot be true."""
    try:
        symbol, said = message["S"], message["T"]
        opened_at = instant(message["t"])
        closed_at = instant(message["e"]) if "e" in message else opened_at + tape.interval
        session = int(message["s"]) if "s" in message else opened_at // DAY
        o, h, low, c = (float(message[key]) for key in ("o", "h", "l", "c"))
        # Beside an index that has no volume there may be one that has.
        volume = inf if "v" not in message and tape.truth.volume == "none" else float(message["v"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _unreadable("bar", message, error) from None
    if symbol not in tape.index:
        raise DataError(f"no such instrument {symbol!r}{nearest(str(symbol), tape.index)}")
    prices = (o, h, low, c)
    if not all(isfinite(x) and x > 0.0 for x in prices):
        raise DataError(f"{symbol}: prices must be finite and above 0, were {prices}")
    if not (h >= max(o, c) and low <= min(o, c)):
        raise DataError(f"{symbol}: high {h} and low {low} must span open {o} and close {c}")
    if not volume >= 0.0:
        raise DataError(f"{symbol}: volume must be at least 0, was {volume}")
    if not closed_at > opened_at:
        raise DataError(f"{symbol}: a bar that opens at {opened_at} cannot close at {closed_at}")
    return BarMessage(tape.index[symbol], opened_at, closed_at, session, (o, h, low, c, volume), said == "u")


def parse_trade(message: Mapping[str, Any], tape: Tape) -> TradeMessage:
    """The trade in a message with S, p (price), s (size) and t. Raises DataError for one that cannot be read or cannot be true."""
    try:
        symbol, at = message["S"], instant(message["t"])
        price = float(message["p"])
        size = inf if "s" not in message and tape.truth.volume == "none" else float(message["s"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _unreadable("trade", message, error) from None
    if symbol not in tape.index:
        raise DataError(f"no such instrument {symbol!r}{nearest(str(symbol), tape.index)}")
    if not (isfinite(price) and price > 0.0 and size >= 0.0):
        raise DataError(f"{symbol}: a trade has a price above 0 and a size, was {price} for {size}")
    opened_at = at // tape.interval * tape.interval
    return TradeMessage(tape.index[symbol], opened_at, opened_at + tape.interval, opened_at // DAY, price, size)


def instant(value: Any) -> int:
    """UTC nanoseconds of a time in a message. Raises ValueError where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if hasattr(value, "to_unix_nano"):
        return int(value.to_unix_nano())
    found = STAMP.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"{value!r} is no time such as '2024-01-02T14:30:00Z'")
    whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * SECOND + int((found[2] or "").ljust(9, "0"))


def messages_of(tape: Tape, row: int) -> list[dict[str, Any]]:
    """The bars of one row as messages, exact to the bit."""
    opened_at, closed_at, session, first = tape.starts[row], tape.ats[row], tape.days[row], row * tape.width
    found = []
    for i, instrument in enumerate(tape.instruments):
        k = first + i
        if tape.closes[k] == tape.closes[k]:
            values = {"o": tape.opens[k], "h": tape.highs[k], "l": tape.lows[k], "c": tape.closes[k]}
            values |= {} if tape.volumes[k] == inf else {"v": tape.volumes[k]}
            kind = "d" if tape.interval >= DAY else "b"
            found.append({"T": kind, "S": instrument.symbol, **values, "t": opened_at, "e": closed_at, "s": session})
    return found


def trades_of(tape: Tape, row: int) -> list[dict[str, Any]]:
    """Four trades for each bar of one row (open, high, low, close; a quarter of the volume each) that make this bar again."""
    opened_at, quarter = tape.starts[row], (tape.ats[row] - tape.starts[row]) // 4
    found = []
    for bar in messages_of(tape, row):
        share = bar["v"] // 4 if "v" in bar else inf
        for k, key in enumerate("ohlc"):
            size = {} if share == inf else {"s": share if k < 3 else bar["v"] - 3 * share}
            found.append({"T": "t", "S": bar["S"], "p": bar[key], "t": opened_at + k * quarter, **size})
    return sorted(found, key=lambda trade: trade["t"])


class Gathering:
    """Puts the bars of one instant together, and drops what has been there. It never goes back: what *tape* has is final.

    A row is whole when every instrument has its bar, when a bar of a later instant comes, or when nobody waits any longer (`let_go`). A bar that
    comes twice is dropped and counted in *duplicates*; one that comes too late, or says something else, is Ignored.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._waiting: dict[int, BarMessage] = {}
        self.duplicates = 0

    @property
    def is_waiting(self) -> bool:
        """Whether bars of an instant are here that is not whole."""
        return bool(self._waiting)

    @property
    def reached(self) -> int:
        """The last close that has been seen, in UTC nanoseconds; 0 for none."""
        return self._now or (self._tape.ats[self._tape.rows - 1] if self._tape.rows else 0)

    @property
    def _now(self) -> int:
        return next(iter(self._waiting.values())).closed_at if self._waiting else 0

    def is_due(self, wall: int) -> bool:
        """Whether the instant that waits is over by the time on the *wall*. A bar comes when it is; trades, and bars that run, come before."""
        return wall >= self._now

    def take(self, said: BarMessage | TradeMessage) -> tuple[Row | None, Ignored | None]:
        """Take a bar or a trade: the row that it completes, if there is one to be run, and why it is ignored, if it is.

        One of a later instant completes the row before, and is to be taken again. What is still running completes no row.
        """
        tape, now = self._tape, self._now
        bar = self._with(said) if isinstance(said, TradeMessage) else said
        if tape.rows and bar.closed_at <= tape.ats[tape.rows - 1]:
            return None, self._repeated(bar, self._past(bar))
        if now and bar.closed_at > now:
            return self.let_go(), None
        if now and bar.closed_at < now:
            return None, self._ignored("late", bar, "its instant is over")
        last = self._waiting.get(bar.instrument)
        if last is not None and not bar.updated:
            return None, self._repeated(bar, last.fields)
        wrong = self._misfit(bar)
        if wrong:
            return None, self._ignored("bad", bar, wrong)
        self._waiting[bar.instrument] = bar._replace(updated=False)
        whole = len(self._waiting) == tape.width and not any(waiting.running for waiting in self._waiting.values())
        return (self.let_go() if whole else None), None

    def forget(self) -> None:
        """Drop the bars that wait."""
        self._waiting = {}

    def let_go(self) -> Row:
        """The row as far as it has come."""
        first = next(iter(self._waiting.values()))
        fields = np.full((5, self._tape.width), nan)
        for bar in self._waiting.values():
            fields[:, bar.instrument] = bar.fields
        self._waiting = {}
        return Row(first.closed_at, first.opened_at, first.session, fields)

    def _with(self, trade: TradeMessage) -> BarMessage:
        """The bar of a trade as far as it has come with it."""
        price, size = trade.price, trade.size
        fields = price, price, price, price, size
        before = self._waiting.get(trade.instrument)
        if before is not None and before.closed_at == trade.closed_at:
            o, h, low, _, volume = before.fields
            fields = o, max(h, price), min(low, price), price, volume + size
        return BarMessage(trade.instrument, trade.opened_at, trade.closed_at, trade.session, fields, updated=True, running=True)

    def _past(self, bar: BarMessage) -> tuple[float, ...] | None:
        tape = self._tape
        row = int(np.searchsorted(tape.closed_at[: tape.rows], bar.closed_at))
        if tape.ats[row] != bar.closed_at:
            return None
        k = row * tape.width + bar.instrument
        found = tape.opens[k], tape.highs[k], tape.lows[k], tape.closes[k], tape.volumes[k]
        return found if found[3] == found[3] else None

    def _repeated(self, bar: BarMessage, before: tuple[float, ...] | None) -> Ignored | None:
        if before == bar.fields:
            self.duplicates += 1
            return None
        kind = "updated" if bar.updated and before is not None else "late" if before is None else "conflict"
        return self._ignored(kind, bar, "its instant is over" if before is None else f"it was {_said(before)}")

    def _misfit(self, bar: BarMessage) -> str:
        """Why a bar cannot follow what the tape has, or stand beside what came with it; empty if it can."""
        tape = self._tape
        beside = next(iter(self._waiting.values()), bar)
        if (bar.opened_at, bar.session) != (beside.opened_at, beside.session):
            return f"it opens at {bar.opened_at} in session {bar.session}, and others of its instant at {beside.opened_at} in {beside.session}"
        if tape.rows and (bar.opened_at < tape.ats[tape.rows - 1] or bar.session < tape.days[tape.rows - 1]):
            return f"it opens at {bar.opened_at} in session {bar.session}, before the bar before it closed"
        return ""

    def _ignored(self, kind: str, bar: BarMessage, why: str) -> Ignored:
        symbol = self._tape.instruments[bar.instrument].symbol
        return Ignored(kind, bar.closed_at, f"{symbol} {_said(bar.fields)}: {why}")


def _said(fields: Sequence[float]) -> str:
    return " ".join(f"{name}={value!r}" for name, value in zip("ohlcv", fields, strict=True))


class Lines:
    """JSON lines, a message or a list of them each, from standard input ("-"), a pipe, or a file that is followed as it grows.

    Whoever closes standard input or a pipe has said all; a file has never said all, unless by a message {"T": "over"}.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        if place != "-" and not Path(place).exists():
            raise SimulatorError(f"{place}: there is no such file to follow")

    def run(self, put: Put, since: Callable[[], int], stopping: Event) -> None:
        """Read from the beginning: what was seen before is dropped by whoever takes it."""
        follows = self._place != "-" and Path(self._place).is_file()
        handle = os.open(self._place, os.O_RDONLY) if self._place != "-" else sys.stdin.fileno()
        put(Said("connected", self._place, backfilled=follows))
        rest = b""
        try:
            while not stopping.is_set():
                if not select.select([handle], [], [], LOOK_SECONDS)[0]:
                    continue
                got = os.read(handle, 1 << 16)
                if not got and follows:
                    stopping.wait(LOOK_SECONDS)
                    continue
                *whole, rest = (rest + (got or b"\n")).split(b"\n")
                for line in whole:
                    if line.strip() and self._is_over(line, put):
                        put(Said("over"))
                        return
                if not got:
                    put(Said("over"))
                    return
        finally:
            if self._place != "-":
                os.close(handle)

    def _is_over(self, line: bytes, put: Put) -> bool:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            put([{"T": "bad", "words": f"not JSON: {error}"}])
            return False
        return deliver(found, put)


def deliver(found: Any, put: Put) -> bool:
    """Put the messages of one line or frame; True if it says that no more will come."""
    several = found if isinstance(found, list) else [found]
    messages = [x if isinstance(x, Mapping) else {"T": "bad", "words": f"not a message: {str(x)[:80]}"} for x in several]
    over = any(message.get("T") == "over" for message in messages)
    kept = [message for message in messages if message.get("T") in (*KINDS, "bad")]
    if kept:
        put(kept)
    return over
