"""Many runs of one scenario: a grid of settings, or a random part of it, each trial with the fills that `run` would give.

Who runs them is another's business: see simulator.crews.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from math import nan
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from simulator import assembly, scenarios
from simulator.crews import Crew, trials
from simulator.desks import FIGURES, Desk, Task
from simulator.desks import DisagreementError as DisagreementError
from simulator.desks import Trial as Trial
from simulator.errors import DataError, ScenarioError, SimulatorError, nearest
from simulator.loop.randomness import stream
from simulator.report import deflated, ledger
from simulator.report.deflated import Overfit, Standing
from simulator.scenarios import Scenario

Progress = Callable[[int, int], None]

MOST_TRIALS: Final = 1_000_000
MOST_RANKS: Final = 2**22
"""How many ranks, trials by halvings of their sessions, PBO looks at: beyond that the sessions are cut into fewer blocks."""


class Axis(NamedTuple):
    """A key of a scenario and the values that it takes, as TOML."""

    key: str
    values: tuple[str, ...]


def axis(text: str) -> Axis:
    """The axis in `key=5:50:5` (from, to and with, step), `key=60,80,100` or `key=value`. Raises ScenarioError where it is none of these."""
    key, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not key or not values:
        raise ScenarioError(f"'{text}' must be key=value, key=value,value,... or key=from:to:step, such as strategy.fast=5:50:5")
    if values.count(":") == 2 and values[0] not in "\"'":
        return Axis(key, _range(text, *values.split(":")))
    if "," in values and values[0] not in "[{\"'":
        found = tuple(value.strip() for value in values.split(","))
        if not all(found) or len(set(found)) < len(found):
            raise ScenarioError(f"'{text}' must list different values between its commas")
        return Axis(key, found)
    return Axis(key, (values,))


def _range(text: str, first: str, last: str, step: str) -> tuple[str, ...]:
    try:
        low, high, by = Decimal(first), Decimal(last), Decimal(step)
        if not (by > 0 and low <= high and (high - low) / by < MOST_TRIALS):
            raise InvalidOperation
    except InvalidOperation:
        raise ScenarioError(f"'{text}' must count up from:to:step in steps above 0, at most {MOST_TRIALS:,} of them") from None
    return tuple(str(low + k * by) for k in range(int((high - low) / by) + 1))


def grid(axes: Sequence[Axis], count: int | None = None, seed: int = 0) -> list[tuple[str, ...]]:
    """The settings of each trial, the last axis fastest; with *count* so many of them, drawn without repetition by *seed*, in the grid's order."""
    keys = [axis.key for axis in axes]
    if len(set(keys)) < len(keys):
        raise ScenarioError(f"{next(key for key in keys if keys.count(key) > 1)} is given twice: list its values in one --set")
    total = 1
    for one in axes:
        total *= len(one.values)
    if count is None or count >= total:
        if total > MOST_TRIALS:
            raise ScenarioError(f"a grid of {total:,} trials is too large: at most {MOST_TRIALS:,}, or some of it by --random")
        return [
            tuple(f"{key}={value}" for key, value in zip(keys, values, strict=True)) for values in itertools.product(*(one.values for one in axes))
        ]
    if count < 1:
        raise ScenarioError(f"--random must be at least 1 trial, was {count}")
    numbers = stream(seed, "sweep").choice(total, size=count, replace=False) if total < 2**31 else stream(seed, "sweep").integers(total, size=count)
    return [_at(axes, int(number)) for number in sorted(set(numbers.tolist()))]


def _at(axes: Sequence[Axis], number: int) -> tuple[str, ...]:
    """The settings of one trial of the grid, by its number."""
    chosen = []
    for one in reversed(axes):
        number, k = divmod(number, len(one.values))
        chosen.append(f"{one.key}={one.values[k]}")
    return tuple(reversed(chosen))


class Sweep(NamedTuple):
    """What came of a sweep: its trials in the order of their numbers, of *planned* ones, and the *metric* that it goes by.

    *standing* is how the best stands among all trials of its family, and *overfit* how often such a choice disappoints, or why nobody knows: see
    `judge`. *name* is that of the scenario's file.
    """

    trials: tuple[Trial, ...]
    planned: int
    metric: str
    standing: Standing | None = None
    overfit: Overfit | str = "it was not looked at"
    name: str = ""

    @property
    def best(self) -> Trial | None:
        """The trial with the largest metric; of equals the first. None where no trial has one."""
        return best_of(self.trials, self.metric)

    @property
    def failed(self) -> tuple[Trial, ...]:
        """The trials that could not be run."""
        return tuple(trial for trial in self.trials if trial.error)


def best_of(trials: Sequence[Trial], metric: str) -> Trial | None:
    """The trial with the largest *metric*; of equals the first. None where no trial has one."""
    known = [trial for trial in trials if not trial.error and trial.figures[metric] == trial.figures[metric]]
    return max(known, key=lambda trial: (trial.figures[metric], -trial.number)) if known else None


def sweep(
    source: str | Path,
    settings: Sequence[tuple[str, ...]],
    *,
    overrides: Sequence[str] = (),
    metric: str = "sharpe",
    workers: int = 1,
    store: Store | None = None,
    progress: Progress | None = None,
    cluster: str = "",
) -> Sweep:
    """Run each of *settings* over a scenario; the same trials, to the last bit, for any number of *workers* (threads or processes), and for those of
    a *cluster* (see simulator.cluster).

    With a *store* each trial is kept as it comes, and what is kept already is not run again. Ctrl-C stops it with what there is. Raises ScenarioError
    for a metric that there is none of, DisagreementError where arrays trade otherwise than the loop.
    """
    check_metric(metric)
    tasks = [Task(number, some) for number, some in enumerate(settings)]
    done = store.trials() if store else {}
    with suppress(KeyboardInterrupt):
        run_all(Desk(source, tuple(overrides)), tasks, done, Crew(workers, cluster), store, lambda: progress and progress(len(done), len(tasks)))
    return Sweep(tuple(done[number] for number in sorted(done)), len(tasks), metric, name=Path(source).stem)


def check_metric(metric: str) -> None:
    """Refuse a metric that trials do not have."""
    if metric not in (*FIGURES, "final_equity"):
        raise ScenarioError(f"no such metric '{metric}'{nearest(metric, [*FIGURES, 'final_equity'])}")


def judge(done: Sweep, source: str | Path, overrides: Sequence[str] = (), *, counted: bool = True) -> Sweep:
    """Write the trials of a sweep into the ledger of its project, unless they are not to be *counted*, and say what the best of them is worth."""
    entries = [trial.entry for trial in done.trials if trial.entry is not None]
    best, standing = done.best, None
    if entries and best is not None and best.entry is not None:
        place = ledger.place_of(scenarios.load(source, [*overrides, *best.settings]))
        standing = ledger.take_all(place, entries, best.entry, best.returns, counted)
    return done._replace(standing=standing, overfit=overfit_of(done.trials))


def overfit_of(trials: Sequence[Trial]) -> Overfit | str:
    """How often the best of some sessions is no better than the median in the others, by the Sharpe ratio; or why that cannot be said."""
    columns = [trial.returns for trial in trials if not trial.error and np.isfinite(trial.returns).all()]
    if len(columns) < 2:
        return "fewer than two trials have returns"
    if len({len(column) for column in columns}) > 1:
        return "the trials are not over the same sessions"
    blocks = [16, 14, 12, 10, 8, 6, 4]
    fit = [n for n in blocks if len(columns[0]) >= 2 * n]
    if not fit:
        return f"{len(columns[0])} sessions are too few"
    few = [n for n in fit if HALVINGS[n] * len(columns) <= MOST_RANKS]
    return deflated.overfit(np.column_stack(columns), (few or fit[-1:])[0])


HALVINGS: Final = {4: 6, 6: 20, 8: 70, 10: 252, 12: 924, 14: 3_432, 16: 12_870}
"""How many ways there are to take half of so many blocks."""


def run_all(desk: Desk, tasks: Sequence[Task], done: dict[int, Trial], crew: Crew, store: Store | None, after_each: Callable[[], object]) -> None:
    """Run those of *tasks* that are not *done* yet; each trial goes there, and to the *store*, as it comes. Raises what `Desk.run` raises."""
    left = [task for task in tasks if task.number not in done]
    for trial in trials(desk, left, crew):
        done[trial.number] = trial
        if store:
            store.keep(trial)
        after_each()


class Store:
    """The trials of one sweep in an SQLite file, each kept as it comes. *plan* says what the sweep is: a file of another one is refused.

    Raises DataError where the file is that of another sweep, or none.
    """

    def __init__(self, path: Path, plan: str) -> None:
        self.path = path
        self._file = sqlite3.connect(path, isolation_level=None)
        try:
            self._file.executescript("""
                PRAGMA journal_mode = WAL;
                CREATE TABLE IF NOT EXISTS plan (text TEXT);
                CREATE TABLE IF NOT EXISTS trials (
                    number INTEGER PRIMARY KEY, settings TEXT, figures TEXT, returns BLOB, compiled INTEGER, error TEXT,
                    entry TEXT
                );
            """)
            found = self._file.execute("SELECT text FROM plan").fetchone()
        except sqlite3.DatabaseError as error:
            self._file.close()
            raise DataError(f"{path}: not the file of a sweep: {error}") from None
        if found is None:
            self._file.execute("INSERT INTO plan VALUES (?)", (plan,))
        elif found[0] != plan:
            self._file.close()
            raise DataError(f"{path}: holds another sweep (of another scenario, other settings or other code): choose another --out")

    def trials(self) -> dict[int, Trial]:
        """What is kept so far, by number."""
        rows = self._file.execute("SELECT number, settings, figures, returns, compiled, error, entry FROM trials ORDER BY number")
        return {
            number: Trial(
                number,
                tuple(json.loads(settings)),
                _numbers(json.loads(figures)),
                np.frombuffer(returns),
                bool(compiled),
                error,
                None if entry is None else ledger.Trial(*json.loads(entry)),
            )
            for number, settings, figures, returns, compiled, error, entry in rows
        }

    def keep(self, trial: Trial) -> None:
        """Have a trial on the disk."""
        figures = {name: value if value == value else None for name, value in trial.figures.items()}
        row = (
            trial.number,
            json.dumps(trial.settings),
            json.dumps(figures),
            trial.returns.tobytes(),
            int(trial.compiled),
            trial.error,
            # NaN is written as it is, and read again.
            None if trial.entry is None else json.dumps(trial.entry),
        )
        self._file.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        """Leave the file."""
        self._file.close()


def _numbers(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: nan if value is None else value for name, value in figures.items()}


MOST_BAD: Final = 2_000


def first_of(source: str | Path, settings: Sequence[tuple[str, ...]], overrides: Sequence[str] = ()) -> Scenario:
    """The first scenario that can be made of these settings, of which 2,000 are tried. Raises what is wrong with the first where none can."""
    wrong: SimulatorError | None = None
    for some in settings[:MOST_BAD]:
        try:
            return scenarios.load(source, [*overrides, *some])
        except SimulatorError as error:
            wrong = wrong or error
    assert wrong is not None
    raise wrong


def plan_text(source: str | Path, overrides: Sequence[str], settings: Sequence[tuple[str, ...]]) -> str:
    """What makes two sweeps the same: the scenario as it would be run, the code, and the settings of every trial."""
    scenario = first_of(source, settings, overrides) if settings else scenarios.load(source, overrides)
    digest = hashlib.sha256(json.dumps([list(some) for some in settings]).encode()).hexdigest()
    return f"{assembly.header_of(scenario).text}\n# {len(settings)} trials, SHA-256 of their settings: {digest}\n"
