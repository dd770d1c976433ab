"""The proof that a run does not look ahead: the future is replaced, everything is rebuilt, and the journals are compared byte for byte.

For a moment t, whatever a strategy decided up to t must not depend on anything after t. So the tape is (a) cut off after t, and (b) given other,
valid bars after t; the scenario runs again on each; and the journal's rows up to t must be the same bytes. Source: market-rules.md, section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import ScenarioError, SimulatorError
from simulator.loop.journal import KINDS, ROW
from simulator.loop.randomness import stream
from simulator.market.tape import Tape

if TYPE_CHECKING:
    from simulator.report.results import Result
    from simulator.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was tried, and what differed. No failure in *trials* perturbed futures, half cut off and half noise, is what passing means."""

    scenario: str
    rows: int
    trials: int
    failures: tuple[str, ...]
    not_covered: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """No byte differed."""
        return not self.failures

    def words(self) -> str:
        """The certificate as text."""
        if self.passed:
            head = (
                f"{self.scenario}: no look-ahead found. {self.trials} futures were replaced; of {self.rows} journal rows no byte before them changed."
            )
        else:
            head = f"{self.scenario}: LOOKS AHEAD. In {len(self.failures)} of {self.trials} trials, replacing the future changed the past:"
        return "\n".join([head, *(f"  {line}" for line in self.failures), *(f"  not covered: {line}" for line in self.not_covered)])


def prove(scenario: Scenario, *, points: int = 10, progress: Callable[[int, int], None] | None = None) -> Certificate:
    """Run *scenario* once as it is and twice for each of *points* moments: with no bars after it, and with other bars after it.

    Half of the moments are spread evenly; the others are those at which the run sent orders, where a look ahead would show.
    """
    from simulator import assembly

    if points < 1:
        raise ScenarioError(f"prove needs at least 1 point, was {points}")
    tape = assembly.load(scenario, assembly.parts(scenario)[0])
    if len(tape) < 3:
        raise ScenarioError(f"{scenario.name}: {len(tape)} bars are too few to cut off a future")
    base = rows_of(assembly.run(scenario, tape=tape))
    moments = choose(tape, base, points)
    failures: list[str] = []
    for done, row in enumerate(moments):
        for name, future in (("cut off", tape.cut(row + 1)), ("noise", with_noise(tape, row, scenario.seed))):
            without_future(future, row, scenario.seed if name == "noise" else None)
            try:
                other = rows_of(assembly.run(scenario, tape=future))
            except (SimulatorError, ArithmeticError, LookupError, ValueError, TypeError) as error:
                failures.append(f"{when(tape, row)} with the future {name}: the strategy raised, and did not on the whole history: {error}")
                continue
            difference = first_difference(base, other, int(tape.ats[row]))
            if difference:
                failures.append(f"{when(tape, row)} with the future {name}: {difference}")
        if progress:
            progress(done + 1, len(moments))
    not_covered = ("files that the strategy opens by itself, and anything else it reads besides its view",)
    return Certificate(scenario.name, len(base), 2 * len(moments), tuple(failures), not_covered)


def rows_of(result: Result) -> np.ndarray:
    """The journal of a whole run: Ctrl-C in a run ends the proof, or the shorter journal would pass for a difference."""
    if result.interrupted:
        raise KeyboardInterrupt
    return result.journal_table()


def choose(tape: Tape, base: np.ndarray, points: int) -> list[int]:
    """Rows after which to replace the future."""
    last = len(tape) - 2
    even = np.linspace(0, last, num=max(1, points - points // 2) + 1)[1:].astype(int).tolist()
    sent = np.unique(np.searchsorted(tape.closed_at[: len(tape)], base["at"]))
    sent = sent[sent <= last]
    busy = sent[np.linspace(0, len(sent) - 1, num=min(points // 2, len(sent))).astype(int)].tolist() if len(sent) and points // 2 else []
    return sorted({*even, *busy})


def with_noise(tape: Tape, row: int, seed: int) -> Tape:
    """The same tape up to *row*, and after it bars that are as valid but different: each price level moved by its own random walk."""
    rng = stream(seed, "prover", str(row))
    n = len(tape) - row - 1
    steps = rng.standard_normal((n, tape.width)) * 0.05
    factor = np.exp(np.clip(np.cumsum(steps, axis=0), -3.0, 3.0))
    columns = [np.array(column[: len(tape)]) for column in (tape.open, tape.high, tape.low, tape.close, tape.volume)]
    for column in columns[:4]:
        column[row + 1 :] *= factor
    volumes = columns[4][row + 1 :]
    columns[4][row + 1 :] = np.where(np.isfinite(volumes), np.ceil(volumes * np.exp(rng.standard_normal(volumes.shape))), volumes)
    return tape.like(*columns)


def without_future(tape: Tape, row: int, seed: int | None) -> None:
    """Take from a tape what its tables say of the time after *row*: corporate actions, and what was not known yet. With a *seed* what becomes known
    later is somebody else's.
    """
    at = int(tape.ats[row])
    if tape.actions is not None:
        tape.actions = tape.actions.known_by(tape.days[row], at)
    if tape.known is not None:
        if seed is None:
            tape.known = tape.known.known_by(at)
        else:
            rng = stream(seed, "prover", f"known {row}")
            tape.known = tape.known.shuffled(at, lambda count: rng.permutation(count).tolist())


def first_difference(base: np.ndarray, other: np.ndarray, at: int) -> str:
    """Where two journals first differ up to *at*; empty if they do not."""
    ours, theirs = base[base["at"] <= at], other[other["at"] <= at]
    if ours.tobytes() == theirs.tobytes():
        return ""
    same = min(len(ours), len(theirs))
    unlike = np.flatnonzero(ours[:same].view((np.void, ROW.itemsize)) != theirs[:same].view((np.void, ROW.itemsize)))
    k = int(unlike[0]) if len(unlike) else same
    return f"row {k} differs: {describe(ours, k)} became {describe(theirs, k)}"


def describe(table: np.ndarray, k: int) -> str:
    """One journal row in words."""
    if k >= len(table):
        return "nothing"
    row = table[k]
    moment = datetime.fromtimestamp(int(row["at"]) / 1e9, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return f"{KINDS[row['kind']]} {row['order']} of {row['lots']} lots (instrument {row['instrument']}, {moment})"


def when(tape: Tape, row: int) -> str:
    """A row and its close."""
    moment = datetime.fromtimestamp(tape.ats[row] / 1e9, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return f"bar {row} ({moment})"
