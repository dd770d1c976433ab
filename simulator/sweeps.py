"""Many runs of one scenario: a grid of settings, or a random part of it, each trial with the fills that `run` would give.

A strategy that states its decisions as arrays runs compiled, all others by the loop; which it was changes no number. The first trial of a compiled
sweep runs both ways, since only the loop can tell that arrays do not look ahead.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from math import nan
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from simulator import assembly, scenarios
from simulator.book.orders import FloatArray
from simulator.errors import DataError, PluginError, ScenarioError, SimulatorError, nearest
from simulator.loop.journal import FILL, times_to_rows
from simulator.loop.randomness import stream
from simulator.loop.whole import Whole, form_of, is_charged, run_whole
from simulator.market.indicators import Readings
from simulator.market.tape import Tape
from simulator.report import metrics
from simulator.report.results import Result
from simulator.scenarios import Scenario

Progress = Callable[[int, int], None]

MOST_TRIALS: Final = 1_000_000
MOST_VALUES: Final = 2**28
"""How many values of indicators are kept from trial to trial (2 GiB)."""

FIGURES: Final = ("sharpe", "cumulative_return", "annual_return", "volatility", "max_drawdown", "sortino", "calmar")


class Axis(NamedTuple):
    """A key of a scenario and the values that it takes, as TOML."""

    key: str
    values: tuple[str, ...]


class Trial(NamedTuple):
    """One run of a sweep. *settings* are `key=value`; *returns* one a session; *error* says why there is nothing else, if it failed.

    *figures* has the final equity, the number of fills, and the metrics of FIGURES, NaN where one is not defined.
    """

    number: int
    settings: tuple[str, ...]
    figures: dict[str, float]
    returns: FloatArray
    compiled: bool = False
    error: str = ""


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


@dataclass
class Desk:
    """Where trials of one scenario are run, one after another: the tape and the indicators are kept from trial to trial."""

    source: str | Path
    overrides: tuple[str, ...] = ()
    checked: bool = False
    _tapes: dict[str, Tape] = field(default_factory=dict)
    _readings: Readings | None = None

    def run(self, number: int, settings: tuple[str, ...]) -> Trial:
        """One trial. What is wrong with it is written in it; what is wrong with arrays that look ahead is raised."""
        try:
            scenario = scenarios.load(self.source, [*self.overrides, *settings])
            tape = self._tape(scenario)
            whole = self._compiled(scenario, tape)
            if whole is None:
                result = assembly.run(scenario, tape=tape)
                if result.interrupted:
                    raise KeyboardInterrupt
                return self._trial(number, settings, scenario, tape, result.equity, len(result.fills))
            if not self.checked:
                self._check(scenario, tape, whole)
            return self._trial(number, settings, scenario, tape, whole.equity, whole.fills.shape[1])._replace(compiled=True)
        except DisagreementError:
            raise
        except SimulatorError as error:
            return Trial(number, settings, {}, np.empty(0), error=str(error))

    def _tape(self, scenario: Scenario) -> Tape:
        tables = scenario.actions, scenario.known, scenario.stress
        key = json.dumps([scenario.seed, scenario.feed.name, scenario.feed.parameters, *tables], default=str, sort_keys=True)
        if key not in self._tapes:
            feed, _, _ = assembly.parts(scenario)
            self._tapes.clear()
            self._readings = None
            self._tapes[key] = assembly.load(scenario, feed)
        return self._tapes[key]

    def _compiled(self, scenario: Scenario, tape: Tape) -> Whole | None:
        _, strategy, broker = assembly.parts(scenario)
        if form_of(strategy) is None or scenario.sizer is not None or (scenario.stress and scenario.stress.squeezes):
            return None
        if self._readings is not None and self._readings.count * len(tape) * tape.width > MOST_VALUES:
            self._readings = None
        readings = Readings(tape, strategy.indicators() if hasattr(strategy, "indicators") else {}, self._readings)
        readings.catch_up()
        self._readings = readings
        whole = run_whole(tape, strategy, broker, scenario.account, scenario.risk, readings)
        if whole is not None and is_charged(whole, tape, scenario.account, scenario.financing, scenario.margin):
            return None
        return whole

    def _check(self, scenario: Scenario, tape: Tape, whole: Whole) -> None:
        """Run the loop as well, and refuse arrays that trade otherwise."""
        result = assembly.run(scenario, tape=tape)
        if result.interrupted:
            raise KeyboardInterrupt
        difference = differs(result, whole)
        if difference:
            _, strategy, _ = assembly.parts(scenario)
            name = f"{type(strategy).__name__}.{form_of(strategy)}"
            raise DisagreementError(f"{name} does not say what on_bars does: {difference}. Mend it, or take it out: the loop then runs every trial")
        self.checked = True

    def _trial(self, number: int, settings: tuple[str, ...], scenario: Scenario, tape: Tape, equity: FloatArray, fills: int) -> Trial:
        returns = metrics.session_returns(equity, tape.sessions, float(scenario.account.cash))
        days = float(tape.closed_at[-1] - tape.opened_at[0]) / 86_400e9 if len(tape) else nan
        measured = metrics.summary(returns, None, periods=metrics.periods_of(tape.sessions), days=days)
        figures = {"final_equity": float(equity[-1]) if len(equity) else float(scenario.account.cash), "fills": float(fills)}
        return Trial(number, settings, {**figures, **{name: measured[name].value for name in FIGURES}}, returns)


class DisagreementError(PluginError):
    """Arrays that trade otherwise than the loop: what they say of a bar may come from after it."""


def differs(result: Result, whole: Whole) -> str:
    """Where the fills of a run by the loop and of a compiled one part, in words; nothing if they are the same to the last bit."""
    table = result.journal_table()
    fills = table[table["kind"] == FILL]
    bars = times_to_rows(result.tape, fills["at"])
    ours = np.array([bars, fills["order"], fills["instrument"], fills["lots"]])
    money, n = np.array([fills["a"], fills["b"], fills["c"]]), min(len(fills), whole.fills.shape[1])
    unlike = np.flatnonzero((ours[:, :n] != whole.fills[:4, :n]).any(axis=0) | (money[:, :n] != whole.money[:, :n]).any(axis=0))
    if not len(unlike) and len(fills) == whole.fills.shape[1]:
        return ""
    k = int(unlike[0]) if len(unlike) else n
    said = [
        f"{lots} lots of {result.tape.instruments[i].symbol} in bar {bar} at {price}"
        for bar, _, i, lots, price in (
            [*columns[:4, k].tolist(), paid[0, k]] for columns, paid in ((ours, money), (whole.fills, whole.money)) if k < columns.shape[1]
        )
    ]
    if len(said) == 2:
        return f"fill {k + 1} of the loop is {said[0]}, and of the arrays {said[1]}"
    return f"after {n} fills {'the loop' if len(fills) > n else 'the arrays'} goes on with {said[0]}"


class Sweep(NamedTuple):
    """What came of a sweep: its trials in the order of their numbers, of *planned* ones, and the *metric* that it goes by."""

    trials: tuple[Trial, ...]
    planned: int
    metric: str

    @property
    def best(self) -> Trial | None:
        """The trial with the largest metric; of equals the first. None where no trial has one."""
        known = [trial for trial in self.trials if not trial.error and trial.figures[self.metric] == trial.figures[self.metric]]
        return max(known, key=lambda trial: (trial.figures[self.metric], -trial.number)) if known else None

    @property
    def failed(self) -> tuple[Trial, ...]:
        """The trials that could not be run."""
        return tuple(trial for trial in self.trials if trial.error)


def sweep(
    source: str | Path,
    settings: Sequence[tuple[str, ...]],
    *,
    overrides: Sequence[str] = (),
    metric: str = "sharpe",
    workers: int = 1,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Run each of *settings* over a scenario; the same trials, to the last bit, for any number of *workers* (processes).

    With a *store* each trial is kept as it comes, and what is kept already is not run again. Ctrl-C stops it with what there is. Raises ScenarioError
    for a metric that there is none of, DisagreementError where arrays trade otherwise than the loop.
    """
    if metric not in (*FIGURES, "final_equity"):
        raise ScenarioError(f"no such metric '{metric}'{nearest(metric, [*FIGURES, 'final_equity'])}")
    if workers < 1:
        raise ScenarioError(f"workers must be at least 1, was {workers}")
    done = {trial.number: trial for trial in store.trials()} if store else {}
    left = [(number, some) for number, some in enumerate(settings) if number not in done]
    desk = Desk(source, tuple(overrides))
    try:
        for trial in _serial(desk, left) if workers == 1 or len(left) < 2 else _parallel(desk, left, workers):
            done[trial.number] = trial
            if store:
                store.keep(trial)
            if progress:
                progress(len(done), len(settings))
    except KeyboardInterrupt:
        pass
    return Sweep(tuple(done[number] for number in sorted(done)), len(settings), metric)


def _serial(desk: Desk, trials: Iterable[tuple[int, tuple[str, ...]]]) -> Iterator[Trial]:
    for number, settings in trials:
        yield desk.run(number, settings)


def _parallel(desk: Desk, trials: Sequence[tuple[int, tuple[str, ...]]], workers: int) -> Iterator[Trial]:
    """Trials as they are done. The first is run here, so that what is wrong with all of them is found once."""
    yield desk.run(*trials[0])
    size = max(1, min(64, (len(trials) - 1) // (4 * workers)))
    chunks = [list(trials[k : k + size]) for k in range(1, len(trials), size)]
    with ProcessPoolExecutor(workers, initializer=_sit_down, initargs=(desk.source, desk.overrides, desk.checked)) as pool:
        waiting: set[Future[list[Trial]]] = {pool.submit(_work, chunk) for chunk in chunks}
        try:
            while waiting:
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ready:
                    yield from future.result()
        except (KeyboardInterrupt, GeneratorExit):
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_desks: list[Desk] = []
"""In a worker process: its desk."""


def _sit_down(source: str | Path, overrides: tuple[str, ...], checked: bool) -> None:
    # Ctrl-C is for the process that people see.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _desks[:] = [Desk(source, overrides, checked)]


def _work(trials: Sequence[tuple[int, tuple[str, ...]]]) -> list[Trial]:
    return list(_serial(_desks[0], trials))


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
                    number INTEGER PRIMARY KEY, settings TEXT, figures TEXT, returns BLOB, compiled INTEGER, error TEXT
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

    def trials(self) -> list[Trial]:
        """What is kept so far."""
        rows = self._file.execute("SELECT number, settings, figures, returns, compiled, error FROM trials ORDER BY number")
        return [
            Trial(number, tuple(json.loads(settings)), _numbers(json.loads(figures)), np.frombuffer(returns), bool(compiled), error)
            for number, settings, figures, returns, compiled, error in rows
        ]

    def keep(self, trial: Trial) -> None:
        """Have a trial on the disk."""
        figures = {name: value if value == value else None for name, value in trial.figures.items()}
        row = (trial.number, json.dumps(trial.settings), json.dumps(figures), trial.returns.tobytes(), int(trial.compiled), trial.error)
        self._file.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        """Leave the file."""
        self._file.close()


def _numbers(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: nan if value is None else value for name, value in figures.items()}


def plan_text(source: str | Path, overrides: Sequence[str], settings: Sequence[tuple[str, ...]]) -> str:
    """What makes two sweeps the same: the scenario as it would be run, the code, and the settings of every trial."""
    scenario = scenarios.load(source, [*overrides, *settings[0]]) if settings else scenarios.load(source, overrides)
    digest = hashlib.sha256(json.dumps([list(some) for some in settings]).encode()).hexdigest()
    return f"{assembly.header_of(scenario).text}\n# {len(settings)} trials, SHA-256 of their settings: {digest}\n"
