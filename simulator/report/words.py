"""Numbers, times and settings as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isnan
from typing import TYPE_CHECKING

from simulator.market.tape import DAY, SECOND

if TYPE_CHECKING:
    from simulator.report.results import Result


def minus(text: str) -> str:
    """With a real minus sign."""
    return text.replace("-", "−")


def number(value: float, digits: int, most: float = 1e15) -> str:
    """A number with so many digits, or as a power of ten from *most* on; a dash where there is none."""
    if isnan(value):
        return "—"
    return minus(f"{value:.3g}" if abs(value) >= most else f"{value:,.{digits}f}")


def percent(value: float, digits: int = 2) -> str:
    """A share as a percentage, without digits from 1,000 % on; a dash where there is none."""
    return "—" if isnan(value) else f"{number(100.0 * value, 0 if abs(value) >= 10.0 else digits, 1e8)}\u00a0%"


def ratio(value: float) -> str:
    """A number with two digits; a dash where there is none."""
    return number(value, 2)


def money(value: float) -> str:
    """A sum, with cents if it is small; a dash where there is none."""
    return number(value, 0 if abs(value) >= 100_000.0 else 2)


def plain(value: float) -> str:
    """A price or a quantity with the digits that it has."""
    return minus(f"{value:,.10g}")


def short(value: float) -> str:
    """A sum for an axis: 1.5M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1e15:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def date(session: int) -> str:
    """A session, given in days since 1970."""
    day = datetime.fromtimestamp(int(session) * 86_400, UTC)
    return f"{day.day}\u00a0{day:%b %Y}"


def iso(session: int) -> str:
    """The ISO date of a session, given in days since 1970."""
    return datetime.fromtimestamp(int(session) * 86_400, UTC).date().isoformat()


def moment(at: int) -> str:
    """A time, given in UTC nanoseconds."""
    then = datetime.fromtimestamp(int(at) // SECOND, UTC)
    return f"{then.day}\u00a0{then:%b %Y, %H:%M} UTC"


def count(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def bars(interval: int) -> str:
    """A bar's length as an adjective."""
    if interval == DAY:
        return "daily"
    for length, unit in ((DAY, "day"), (3_600 * SECOND, "hour"), (60 * SECOND, "minute"), (SECOND, "second")):
        if interval % length == 0:
            return f"{interval // length}-{unit}"
    return f"{interval / SECOND:g}-second"


def settings(parameters: Mapping[str, object]) -> str:
    """Parameters as a short list of words."""
    parts = []
    for key, value in parameters.items():
        shown = f"({settings(value)})" if isinstance(value, Mapping) else f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(f"{key.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def currency(result: Result) -> str:
    """The currency of all instruments, where they have one."""
    known = {x.currency for x in result.tape.instruments}
    return known.pop() if len(known) == 1 else ""


def symbols(result: Result) -> str:
    """The instruments, or how many there are."""
    tape = result.tape
    return ", ".join(x.symbol for x in tape.instruments) if tape.width <= 3 else count(tape.width, "instrument")
