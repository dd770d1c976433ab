"""The proof that a run does not look ahead: the future is replaced, everything is rebuilt, and the journals are compared byte for byte.

For a moment t, whatever a strategy decided up to t must not depend on anything after t. So the bars after t are replaced by none at all, or by others
that are as valid, and with them what tables say of the time after t (corporate actions, as-of values). The run is built anew on each such tape, and
taken as far as t; and its journal must be the same bytes. A run that reads only the next bar differs at the moments at which it decides, so that half
of the moments are such. Source: market-rules.md, section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from simulator.errors import ScenarioError, SimulatorError
from simulator.loop.journal import ROW, SEND, MemoryJournal
from simulator.loop.randomness import stream
from simulator.market.tape import FIELDS, FloatArray, Tape

if TYPE_CHECKING:
    from simulator.report.results import Result
    from simulator.scenarios import Scenario

Run = Callable[[Tape, int | None], "Result"]
"""Builds everything anew on a tape and runs so many of its bars, None for all of them."""

NOT_COVERED: Final = ("files that the strategy opens by itself, and anything else it reads besides its view",)


class Failure(NamedTuple):
    """A future that changed the past: the bar after which it was replaced, how, the first row of the journal that differs, and that in words."""

    bar: int
    future: str
    row: int
    words: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was tried, and what differed. No failure in *trials* replaced futures is what passing means.

    *rows* are those of the journal whose *journal_hash* that is, *moments* the closes in UTC nanoseconds after which the future was replaced,
    *futures* the ways of replacing it. *fed_by* says of the first event that differs which bar it knew of.
    """

    scenario: str
    rows: int
    trials: int
    failures: tuple[str, ...]
    not_covered: tuple[str, ...]
    moments: tuple[int, ...] = ()
    futures: tuple[str, ...] = ()
    fed_by: str = ""
    journal_hash: str = ""

    @property
    def passed(self) -> bool:
        """No byte differed."""
        return not self.failures

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if self.passed:
            return f"no look-ahead found. {self.trials} futures were replaced; of {self.rows} journal rows no byte before them changed."
        return f"LOOKS AHEAD. In {len(self.failures)} of {self.trials} trials, replacing the future changed the past:"

    def words(self) -> str:
        """The certificate as text."""
        lines = [*self.failures, *([self.fed_by] if self.fed_by else []), *(f"not covered: {line}" for line in self.not_covered)]
        return "\n".join([f"{self.scenario}: {self.verdict}", *(f"  {line}" for line in lines)])

    def plain(self) -> dict[str, Any]:
        """The certificate as JSON has it."""
        return {
            "scenario": self.scenario,
            "passed": self.passed,
            "verdict": self.verdict,
            "journal_hash": self.journal_hash,
            "rows": self.rows,
            "trials": self.trials,
            "moments": [moment_of(at) for at in self.moments],
            "futures": list(self.futures),
            "failures": list(self.failures),
            "fed_by": self.fed_by,
            "not_covered": list(self.not_covered),
        }


def prove(scenario: Scenario, *, points: int = 10, progress: Callable[[int, int], None] | None = None, base: Result | None = None) -> Certificate:
    """Run *scenario* once as it is (or take that it gave *base*), and then for each of *points* moments with each of FUTURES in place of what came.

    Half of the moments are spread evenly; the others are those at which the run sent orders, where a look ahead would show.
    """
    from simulator import assembly

    if points < 1:
        raise ScenarioError(f"prove needs at least 1 point, was {points}")
    tape = base.tape if base else assembly.load(scenario, assembly.parts(scenario)[0])

    def run(tape: Tape, bars: int | None) -> Result:
        return assembly.run(scenario, tape=tape, bars=bars)

    return examine(scenario.name, run, tape, points=points, seed=scenario.seed, progress=progress, base=base)


def examine(
    name: str,
    run: Run,
    tape: Tape,
    *,
    points: int = 10,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    base: Result | None = None,
) -> Certificate:
    """Prove whatever *run* builds on *tape*: the way for those who have no scenario. Raises ScenarioError where there is no future to cut off."""
    if len(tape) < 3:
        raise ScenarioError(f"{name}: {len(tape)} bars are too few to cut off a future")
    base = whole(base or run(tape, None))
    table = base.journal_table()
    moments = choose(tape, table, points)
    failures: list[Failure] = []
    for done, bar in enumerate(moments):
        failures += [found for future in FUTURES if (found := trial(run, tape, base, bar, future, seed))]
        if progress:
            progress(done + 1, len(moments))
    return Certificate(
        name,
        len(table),
        len(FUTURES) * len(moments),
        tuple(failure.words for failure in failures),
        NOT_COVERED,
        tuple(int(tape.ats[bar]) for bar in moments),
        tuple(FUTURES),
        fed_by(run, tape, base, min(failures, key=lambda failure: failure.row), seed) if failures else "",
        base.hash,
    )


def trial(run: Run, tape: Tape, base: Result, bar: int, future: str, seed: int) -> Failure | None:
    """Replace what comes after *bar* in one of the ways of FUTURES, and find the first difference to *base* up to there."""
    place = f"{when(tape, bar)} with the future {future}"
    try:
        other = whole(run(replaced(tape, bar, future, seed), bar + 1))
    except (SimulatorError, ArithmeticError, LookupError, ValueError, TypeError) as error:
        return Failure(bar, future, len(base.journal_table()), f"{place}: the strategy raised, and did not on the whole history: {error}")
    difference = first_difference(base, other, int(tape.ats[bar]))
    return Failure(bar, future, difference[0], f"{place}: {difference[1]}") if difference else None


def whole(result: Result) -> Result:
    """A run as it is: Ctrl-C in a run ends the proof, or the shorter journal would pass for a difference."""
    if result.interrupted:
        raise KeyboardInterrupt
    return result


def choose(tape: Tape, base: np.ndarray, points: int) -> list[int]:
    """Rows after which to replace the future."""
    last = len(tape) - 2
    even = np.linspace(0, last, num=max(1, points - points // 2) + 1)[1:].astype(int).tolist()
    sent = np.unique(np.searchsorted(tape.closed_at[: len(tape)], base["at"][base["phase"] == SEND]))
    sent = sent[sent <= last]
    busy = sent[np.linspace(0, len(sent) - 1, num=min(points // 2, len(sent))).astype(int)].tolist() if len(sent) and points // 2 else []
    return sorted({*even, *busy})


# --- Futures


def cut_off(tape: Tape, bar: int, seed: int) -> Tape:
    """No future."""
    return tape.cut(bar + 1)


def with_noise(tape: Tape, bar: int, seed: int, sign: float = 1.0) -> Tape:
    """After *bar*, bars that are as valid but different: each price level moved by its own random walk."""
    rng = stream(seed, "prover", str(bar))
    n = len(tape) - bar - 1
    steps = rng.standard_normal((n, tape.width)) * 0.05
    factor = np.exp(np.clip(sign * np.cumsum(steps, axis=0), -3.0, 3.0))
    columns = columns_of(tape)
    for column in columns[:4]:
        column[bar + 1 :] *= factor
    volumes = columns[4][bar + 1 :]
    columns[4][bar + 1 :] = np.where(np.isfinite(volumes), np.ceil(volumes * np.exp(rng.standard_normal(volumes.shape))), volumes)
    return tape.like(*columns)


def with_mirrored_noise(tape: Tape, bar: int, seed: int) -> Tape:
    """The noise the other way: what one future makes rise falls in the other, so that whichever way tomorrow went, one of them differs."""
    return with_noise(tape, bar, seed, sign=-1.0)


def shuffled(tape: Tape, bar: int, seed: int) -> Tape:
    """The bars after *bar* in another order, and another one first."""
    order = np.arange(len(tape))
    order[bar + 1 :] = bar + 1 + stream(seed, "prover, shuffled", str(bar)).permutation(len(tape) - bar - 1)
    if order[bar + 1] == bar + 1:
        order[bar + 1 :] = np.roll(order[bar + 1 :], 1)
    return tape.like(*(column[order] for column in columns_of(tape)))


def with_gaps(tape: Tape, bar: int, seed: int) -> Tape:
    """The next bar missing, and of those after it three in ten."""
    rng = stream(seed, "prover, gaps", str(bar))
    columns = columns_of(tape)
    gone = rng.random((len(tape) - bar - 1, tape.width)) < 0.3
    gone[:1] = True
    for column in columns:
        column[bar + 1 :][gone] = np.nan
    # An instant at which nothing has a bar is none.
    kept = np.flatnonzero((np.arange(len(tape)) <= bar) | ~np.isnan(columns[3]).all(axis=1))
    return tape.like(*(column[kept] for column in columns), kept=kept)


FUTURES: Final[dict[str, Callable[[Tape, int, int], Tape]]] = {
    "cut off": cut_off,
    "noise": with_noise,
    "mirrored noise": with_mirrored_noise,
    "shuffled": shuffled,
    "with bars missing": with_gaps,
}
"""The ways of replacing what comes after a bar, by their names: (tape, bar, seed) to a tape that is the same up to that bar."""
FEWER: Final = ("cut off", "with bars missing")
"""Those in which there are fewer bars."""


def replaced(tape: Tape, bar: int, future: str, seed: int) -> Tape:
    """The same up to *bar*, and another future: of the bars, and of what the tape's tables say of the time after it.

    Corporate actions that have not happened are left out. What becomes known later is never known where there are fewer bars, and elsewhere somebody
    else's.
    """
    other, at = FUTURES[future](tape, bar, seed), tape.ats[bar]
    if tape.actions is not None:
        other.actions = tape.actions.known_by(tape.days[bar], at)
    if tape.known is not None and future in FEWER:
        other.known = tape.known.known_by(at)
    elif tape.known is not None:
        rng = stream(seed, "prover", f"{future}, known {bar}")
        other.known = tape.known.shuffled(at, lambda count: rng.permutation(count).tolist())
    return other


def columns_of(tape: Tape) -> list[FloatArray]:
    """A tape's columns, to be changed."""
    return [np.array(getattr(tape, field)[: len(tape)]) for field in FIELDS]


# --- Differences


def first_difference(base: Result, other: Result, at: int) -> tuple[int, str] | None:
    """Where the journals of two runs first differ up to *at*: the row, and what became of what; None if they do not."""
    from simulator.report.differences import first_unlike
    from simulator.report.telling import Telling

    journals = upto(base.journal, at), upto(other.journal, at)
    row = first_unlike(*journals)
    if row is None:
        return None
    told = []
    for journal, tape in zip(journals, (base.tape, other.tape), strict=True):
        telling = Telling(journal, tape)
        told += [f"{telling.event(entry)} ({moment_of(entry.at)})" for entry in telling.entries(slice(row, row + 1))] or ["nothing"]
    return row, f"row {row} differs: {told[0]} became {told[1]}"


def upto(journal: MemoryJournal, at: int) -> MemoryJournal:
    """The rows up to *at*, with the names of their orders and the words of their remarks."""
    table = journal.table()
    n = int(np.searchsorted(table["at"], at, side="right"))
    known = set(table["order"][:n].tolist())
    kept = MemoryJournal(journal.header)
    kept.rows += journal.read()[: n * ROW.itemsize]
    kept.client_ids = {order: words for order, words in journal.client_ids.items() if order in known}
    return kept


def fed_by(run: Run, tape: Tape, base: Result, failure: Failure, seed: int) -> str:
    """The last bar after the decision on which *failure* hangs: replacing what comes after it changes nothing. Found by halving."""
    at = int(tape.ats[failure.bar])

    def changes(bar: int) -> bool:
        try:
            other = whole(run(replaced(tape, bar, failure.future, seed), failure.bar + 1))
        except (SimulatorError, ArithmeticError, LookupError, ValueError, TypeError):
            return True
        return first_difference(base, other, at) is not None

    known, unknown = failure.bar, len(tape) - 1
    while unknown - known > 1:
        middle = (known + unknown) // 2
        known, unknown = (middle, unknown) if changes(middle) else (known, middle)
    ahead, closes = known + 1 - failure.bar, tape.close[known + 1]
    some = ", ".join(f"{x.symbol} {closes[i]:g}" for i, x in enumerate(tape.instruments[:5])) + (", ..." if tape.width > 5 else "")
    return f"fed by {when(tape, known + 1)}, {ahead} bar{'s' * (ahead > 1)} later; its closes: {some}"


def moment_of(at: int) -> str:
    """A time in words."""
    return datetime.fromtimestamp(at / 1e9, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def when(tape: Tape, row: int) -> str:
    """A row and its close."""
    return f"bar {row} ({moment_of(tape.ats[row])})"
