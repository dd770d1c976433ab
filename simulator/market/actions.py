"""Corporate actions: what happens to an instrument without a trade, and the forward-chained prices that do not jump with it.

Raw prices trade. A chained price is the raw one times a factor that is 1 at the first bar: each action scales later prices only, so that history is
never rewritten. Source: market-rules.md, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from simulator.errors import DataError, nearest
from simulator.kernels import rules
from simulator.market.calendars import day_text

if TYPE_CHECKING:
    from simulator.market.tape import FloatArray, Tape

MOST_SHARES: Final = 10**6
"""A split of more shares than this for one is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Split:
    """From the session *ex* on (days since 1970) there are *up* shares for each *down* that were held: 2 for 1, or 1 for 10."""

    symbol: str
    ex: int
    up: int
    down: int

    def __post_init__(self) -> None:
        for name in ("up", "down"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= MOST_SHARES:
                raise DataError(f"split of {self.symbol!r}: {name} must be a whole number from 1 to {MOST_SHARES}, was {value!r}")
        if self.up == self.down:
            raise DataError(f"split of {self.symbol!r}: {self.up} for {self.down} changes nothing; leave it out")


@dataclass(frozen=True, slots=True)
class Dividend:
    """Who held at the close before the session *ex* is owed *amount* a share from then on, in the instrument's currency, and paid at the session
    *pay* (None: at *ex*); both are days since 1970.
    """

    symbol: str
    ex: int
    amount: float
    pay: int | None = None
    currency: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.amount < inf:
            raise DataError(f"dividend of {self.symbol!r}: amount must be above 0, was {self.amount!r}")
        if self.pay is not None and self.pay < self.ex:
            raise DataError(f"dividend of {self.symbol!r}: pay must be {day_text(self.ex)} (ex) or later, was {day_text(self.pay)}")


@dataclass(frozen=True, slots=True)
class Delisting:
    """From the session *ex* on (days since 1970) it is traded no more: orders end, and positions are closed at *price*, or at the last price less the
    share *haircut* of it.
    """

    symbol: str
    ex: int
    price: float = nan
    haircut: float = 0.0

    def __post_init__(self) -> None:
        if not (self.price != self.price or 0.0 <= self.price < inf):
            raise DataError(f"delisting of {self.symbol!r}: price must be 0 or above, was {self.price!r}")
        if not 0.0 <= self.haircut <= 1.0:
            raise DataError(f"delisting of {self.symbol!r}: haircut must be in 0..1, was {self.haircut!r}")
        if self.haircut and self.price == self.price:
            raise DataError(f"delisting of {self.symbol!r}: has a price and a haircut; leave one")


@dataclass(frozen=True, slots=True)
class TradingHalt:
    """No trading in bars that open from *start* on and before *end* (UTC nanoseconds); the first bar after is the reopening."""

    symbol: str
    start: int
    end: int

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise DataError(f"halt of {self.symbol!r}: must end after it begins, was {self.start} to {self.end}")


@dataclass(frozen=True, slots=True)
class Suspension:
    """No trading in the sessions from *first* to *last*, both included (days since 1970)."""

    symbol: str
    first: int
    last: int

    def __post_init__(self) -> None:
        if not self.first <= self.last:
            raise DataError(f"halt of {self.symbol!r}: must not end before it begins, was {day_text(self.first)} to {day_text(self.last)}")


Halted = TradingHalt | Suspension
Action = Split | Dividend | Delisting | Halted
DATED: Final = (Split, Dividend, Delisting)
"""The kinds that happen with a session, in the order in which they happen within one: dividends are a share of after the split."""


class Actions:
    """The corporate actions of a tape's instruments, in the order in which they happen.

    With *signals* "chained", indicators are computed from forward-chained prices, and else from raw ones, like all that trades. Raises DataError for
    an action that is there twice, and for more than one delisting of an instrument.
    """

    __slots__ = ("dated", "halts", "signals")

    def __init__(self, actions: Iterable[Action] = (), signals: Literal["raw", "chained"] = "raw") -> None:
        if signals not in ("raw", "chained"):
            raise DataError(f"actions.signals must be 'raw' or 'chained', was {signals!r}")
        given = list(actions)
        self.signals = signals
        self.halts: tuple[Halted, ...] = tuple(sorted((x for x in given if isinstance(x, Halted)), key=repr))
        self.dated = tuple(sorted((x for x in given if not isinstance(x, Halted)), key=lambda x: (x.ex, DATED.index(type(x)), x.symbol)))
        gone: set[str] = set()
        for k, action in enumerate(self.dated):
            same = [x for x in self.dated[k + 1 : k + 2] if (type(x), x.symbol, x.ex) == (type(action), action.symbol, action.ex)]
            if same and (isinstance(action, Split) or same[0] == action):
                raise DataError(f"{type(action).__name__.lower()} of {action.symbol!r} on {day_text(action.ex)} is there twice; leave one")
            if isinstance(action, Delisting):
                if action.symbol in gone:
                    raise DataError(f"delisting of {action.symbol!r} on {day_text(action.ex)}: it was delisted before; leave one")
                gone.add(action.symbol)

    def __iter__(self) -> Iterator[Action]:
        yield from self.dated
        yield from self.halts

    def __len__(self) -> int:
        return len(self.dated) + len(self.halts)

    def fit(self, tape: Tape) -> None:
        """Refuse what does not fit these bars: instruments that are not there, and amounts in another currency than theirs."""
        for action in self:
            if action.symbol not in tape.index:
                raise DataError(f"{type(action).__name__.lower()} of {action.symbol!r}: there are no bars of it{nearest(action.symbol, tape.index)}")
            currency = tape.instruments[tape.index[action.symbol]].currency
            if isinstance(action, Dividend) and action.currency not in ("", currency):
                raise DataError(
                    f"dividend of {action.symbol!r} on {day_text(action.ex)}: currency must be the instrument's, {currency}, was {action.currency!r};"
                    f" convert the amount"
                )

    def known_by(self, day: int, at: int) -> Actions:
        """Those that have happened by the session *day* and the instant *at*."""
        dated = (action for action in self.dated if action.ex <= day)
        halts = (halt for halt in self.halts if (halt.first <= day if isinstance(halt, Suspension) else halt.start <= at))
        return Actions([*dated, *halts], self.signals)

    def chain(self, tape: Tape) -> Chain:
        """The factors of forward-chained prices that these give *tape*."""
        return Chain(tape, [action for action in self.dated if isinstance(action, Split | Dividend)])

    def words(self) -> str:
        """How many there are of each kind."""
        kinds = {"splits": (Split,), "dividends": (Dividend,), "delistings": (Delisting,), "halts": (TradingHalt, Suspension)}
        counts = {name: sum(isinstance(x, kind) for x in self) for name, kind in kinds.items()}
        return ", ".join(f"{count} {name if count > 1 else name[:-1]}" for name, count in counts.items() if count) or "none"


class Chain:
    """The factors of forward-chained prices over a tape: 1 at first, times up / down at a split, and at a dividend times P / (P - amount), where P is
    the close before, so that the return is that of who keeps the dividend in the share (CRSP's factor, forward in time).

    An action takes effect with its instrument's first bar of the session *ex* or later: before that bar no price is known that it would change.
    """

    __slots__ = ("_due", "_steps", "_tape", "_until")

    def __init__(self, tape: Tape, actions: Sequence[Split | Dividend]) -> None:
        self._tape = tape
        self._due: dict[int, list[Split | Dividend]] = {}
        for action in actions:
            self._due.setdefault(tape.index[action.symbol], []).append(action)
        # By instrument: (row from which it holds, price factor, how many of the first shares one is now).
        self._steps: dict[int, list[tuple[int, float, float]]] = {i: [] for i in self._due}
        self._until = 0

    def factors(self, first: int, end: int) -> tuple[FloatArray, FloatArray]:
        """What raw prices, and raw volumes, of the rows *first* to *end* are multiplied by: both (end - first, instruments)."""
        self._look(end)
        prices, volumes = np.ones((2, end - first, self._tape.width))
        for i, steps in self._steps.items():
            for row, factor, shares in steps:
                if row < end:
                    prices[max(row - first, 0) :, i], volumes[max(row - first, 0) :, i] = factor, shares
        return prices, volumes

    def _look(self, end: int) -> None:
        """Find where actions took effect in rows before *end*."""
        if end <= self._until:
            return
        tape, first = self._tape, self._until
        for i, due in self._due.items():
            while due:
                began = max(first, int(np.searchsorted(tape.sessions[:end], due[0].ex)))
                there = np.flatnonzero(tape.close[began:end, i] == tape.close[began:end, i])
                if not len(there):
                    break
                row = began + int(there[0])
                self._step(i, row, due.pop(0))
        self._until = end

    def _step(self, i: int, row: int, action: Split | Dividend) -> None:
        steps = self._steps[i]
        _, factor, shares = steps[-1] if steps else (0, 1.0, 1.0)
        if isinstance(action, Split):
            steps.append((row, factor * action.up / action.down, shares * action.down / action.up))
            return
        # The close before, in the shares of now and without what else left it today.
        earlier = next((x for at, x, _ in reversed(steps) if at < row), 1.0)
        before = float(self._tape.marks[row - 1, i]) * earlier / factor if row else nan
        if before <= action.amount:
            raise DataError(
                f"dividend of {action.symbol!r} on {day_text(action.ex)}: amount must be below the close before, {before!r}, was {action.amount!r}"
            )
        if before == before:
            steps.append((row, factor * before / (before - action.amount), shares))


def chained(tape: Tape) -> Tape:
    """The same bars at forward-chained prices, and volumes in the shares of the first bar. Where nothing is chained, the tape itself."""
    if tape.chain is None:
        return tape
    prices, volumes = tape.chain.factors(0, len(tape))
    n = len(tape)
    columns = (tape.open[:n] * prices, tape.high[:n] * prices, tape.low[:n] * prices, tape.close[:n] * prices, tape.volume[:n] * volumes)
    return tape.like(*columns)


def traded(tape: Tape) -> Tape:
    """The same bars for a broker of its own, which restates what was before a split; those in a halt, and those from a delisting on, have a volume
    that nothing can be taken of. Where there are none of these, the tape itself.
    """
    stops = [x for x in tape.actions or () if isinstance(x, Halted | Delisting)]
    if not stops and not any(isinstance(x, Split) for x in tape.actions or ()):
        return tape
    n = len(tape)
    volume, opened_at, sessions = np.array(tape.volume[:n]), tape.opened_at[:n], tape.sessions[:n]
    for stop in stops:
        if isinstance(stop, TradingHalt):
            inside = (opened_at >= stop.start) & (opened_at < stop.end)
        elif isinstance(stop, Suspension):
            inside = (sessions >= stop.first) & (sessions <= stop.last)
        else:
            inside = sessions >= stop.ex
        own = volume[:, tape.index[stop.symbol]]
        own[inside & (own == own)] = rules.HALT_VOLUME
    return tape.like(tape.open[:n], tape.high[:n], tape.low[:n], tape.close[:n], volume)
