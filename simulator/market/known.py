"""As-of tables: any value with the time at which it was known, seen only from then on.

Fundamentals, rates, groups: what is no bar and was published some day. A later row replaces an earlier one, as a restatement does; the earlier value
is what was known before. Source: market-rules.md, section 7, and issue 4: nothing may be seen before it could be known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.book.orders import FloatArray
from simulator.errors import DataError, ViewError, nearest
from simulator.market.calendars import instant_text

if TYPE_CHECKING:
    from simulator.market.tape import Tape


class Datum(NamedTuple):
    """A *value* (a number, or words) of *name* for a *symbol* (empty: for the market), which was known at *at*, in UTC nanoseconds."""

    at: int
    name: str
    symbol: str
    value: float | str


class Known:
    """All values of some tables, by name and symbol. The values of a name are all numbers, or all words.

    Raises DataError for a value that is there twice at one instant, for numbers that are none, and for names that mix the two.
    """

    __slots__ = ("_series", "rows", "words")

    def __init__(self, rows: Iterable[Datum]) -> None:
        self.rows = tuple(sorted(rows, key=lambda row: (row.at, row.name, row.symbol)))
        # By name and symbol: when each value was known, and the values.
        self._series: dict[str, dict[str, tuple[list[int], list[float | str]]]] = {}
        self.words: set[str] = set()
        for row in self.rows:
            if not row.name.strip():
                raise DataError(f"a value known at {instant_text(row.at)} has no name")
            if isinstance(row.value, str):
                if row.name not in self._series:
                    self.words.add(row.name)
            elif not isfinite(row.value):
                raise DataError(f"{_said(row)}: value must be a finite number, was {row.value!r}")
            times, values = self._series.setdefault(row.name, {}).setdefault(row.symbol, ([], []))
            if times and times[-1] == row.at:
                raise DataError(f"{_said(row)} is there twice; leave one")
            if (row.name in self.words) != isinstance(row.value, str):
                raise DataError(f"{_said(row)}: value must be {'words' if row.name in self.words else 'a number'} as before, was {row.value!r}")
            times.append(row.at)
            values.append(row.value)

    def __iter__(self) -> Iterator[Datum]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def fit(self, tape: Tape) -> None:
        """Refuse symbols that are not on the tape."""
        for series in self._series.values():
            for symbol in series:
                if symbol and symbol not in tape.index:
                    raise DataError(f"known: there are no bars of {symbol!r}{nearest(symbol, tape.index)}; an empty symbol is the whole market")

    def value(self, name: str, symbol: str, now: int) -> float:
        """The number known last at *now*; NaN before any was. Raises ViewError for a name that there is none of, or that has words."""
        found = self._last(name, symbol, now, False)
        return found if isinstance(found, float | int) else nan

    def word(self, name: str, symbol: str, now: int) -> str:
        """The words known last at *now*; empty before any were. Raises ViewError for a name that there is none of, or that has numbers."""
        found = self._last(name, symbol, now, True)
        return found if isinstance(found, str) else ""

    def _last(self, name: str, symbol: str, now: int, words: bool) -> float | str | None:
        if name not in self._series:
            raise ViewError(f"no table has '{name}'{nearest(name, self._series)}")
        if words != (name in self.words):
            way_out = "group" if name in self.words else "known"
            raise ViewError(f"'{name}' has {'words' if name in self.words else 'numbers'}: ask view.{way_out}('{name}')")
        times, values = self._series[name].get(symbol, ((), ()))
        k = bisect_right(times, now)
        return values[k - 1] if k else None

    def across(self, name: str, index: Mapping[str, int]) -> Across:
        """The numbers *name* of all instruments at once, by their numbers in *index*. Raises as `value` does."""
        self._last(name, "", 0, False)
        return Across([row for row in self.rows if row.name == name and row.symbol in index], index)

    def known_by(self, at: int) -> Known:
        """What was known by *at*, and nothing after."""
        return Known(row for row in self.rows if row.at <= at)

    def shuffled(self, at: int, permutation: Callable[[int], Sequence[int]]) -> Known:
        """The same up to *at*; after it each name's values change places, by a *permutation* of so many, and so are somebody else's."""
        kept = [row for row in self.rows if row.at <= at]
        for name in sorted(self._series):
            later = [row for row in self.rows if row.at > at and row.name == name]
            order = permutation(len(later))
            kept += [row._replace(value=later[k].value) for row, k in zip(later, order, strict=True)]
        return Known(kept)


class Across:
    """One number of every instrument, as it was known last: moved on from bar to bar, by what became known in between."""

    __slots__ = ("_instruments", "_latest", "_seen", "_times", "_values")

    def __init__(self, rows: Sequence[Datum], index: Mapping[str, int]) -> None:
        self._times = [row.at for row in rows]
        self._instruments = np.array([index[row.symbol] for row in rows], np.int64)
        self._values = np.array([row.value for row in rows], np.float64)
        self._seen, self._latest = 0, np.full(len(index), nan)
        self._latest.flags.writeable = False

    def at(self, now: int) -> FloatArray:
        """What was known at *now*, which is not before the last time: (instruments,), read-only, NaN before anything was."""
        end = bisect_right(self._times, now)
        if end > self._seen:
            # Whoever has the values of before keeps them. Of several for an instrument the last one stays.
            self._latest = self._latest.copy()
            self._latest[self._instruments[self._seen : end]] = self._values[self._seen : end]
            self._latest.flags.writeable = False
            self._seen = end
        return self._latest


def _said(row: Datum) -> str:
    return f"'{row.name}'{f' of {row.symbol!r}' if row.symbol else ''} known at {instant_text(row.at)}"
