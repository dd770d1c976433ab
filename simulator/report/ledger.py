"""The trial ledger: how many times a strategy was tried, so that the best of many is not taken for skill.

It is an SQLite file, `.tradewind/trials.sqlite` in the folder of the scenario: one project, one ledger. A scenario that came with the program, that
lies in an installed package, or that is the copy in a run folder has no project of its own, and its trials go to the current folder.

| column | what |
| --- | --- |
| id | the order in which they were made, from 1 on |
| family | the strategy, as the scenario names it |
| identity | SHA-256 of what was decided (name, title and caveats left out), of the bars, and of the session returns that came of it |
| counted | 1 for a trial, 0 for a run that opted out (`run --no-trial`) |
| scenario, settings, run | its name, the strategy's parameters, and the run id |
| sharpe, sessions, periods | the Sharpe ratio of a session (null where it is undefined), how many there were, and how many a year has |

Every `run` is a trial, and every configuration of a sweep; prove, check, rehearsals, and the same run once more are not. Rows are only ever added:
SQLite refuses to change or delete one. Each is one transaction, so that several processes can write at once.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from hashlib import sha256
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from simulator.errors import DataError, SimulatorError, nearest
from simulator.report import metrics, words
from simulator.report.deflated import Standing, dsr, expected_best, min_trl, psr, sharpe_per_period
from simulator.report.metrics import FloatArray
from simulator.report.telling import Columns

if TYPE_CHECKING:
    from simulator.report.results import Result
    from simulator.report.telling import Part
    from simulator.scenarios import Scenario

HOME: Final = Path(".tradewind") / "trials.sqlite"
MAGIC: Final = 0x74776C31
"""What SQLite calls an application id: twl1."""
FORMAT: Final = 1
PATIENCE_SECONDS: Final = 30.0
"""How long one process waits for another to have written its row."""

SCHEMA: Final = (
    "CREATE TABLE trials (id INTEGER PRIMARY KEY, family TEXT NOT NULL, identity TEXT NOT NULL, counted INTEGER NOT NULL,"
    " scenario TEXT NOT NULL, settings TEXT NOT NULL, run TEXT NOT NULL, sharpe REAL, sessions INTEGER NOT NULL, periods INTEGER NOT NULL,"
    " UNIQUE (family, identity, counted))",
    "CREATE TRIGGER no_update BEFORE UPDATE ON trials BEGIN SELECT RAISE(ABORT, 'trials are only ever added'); END",
    "CREATE TRIGGER no_delete BEFORE DELETE ON trials BEGIN SELECT RAISE(ABORT, 'trials are only ever added'); END",
    f"PRAGMA application_id = {MAGIC}",
    f"PRAGMA user_version = {FORMAT}",
)

COLUMNS: Final = "family, identity, counted, scenario, settings, run, sharpe, sessions, periods"
ADD: Final = (
    f"INSERT INTO trials ({COLUMNS}) SELECT :family, :identity, :counted, :scenario, :settings, :run, :sharpe, :sessions, :periods"
    " WHERE NOT EXISTS (SELECT 1 FROM trials WHERE family = :family AND identity = :identity AND counted >= :counted)"
)


class Trial(NamedTuple):
    """One trial as it is written down; see the table above. *sharpe* is NaN where it is undefined."""

    family: str
    identity: str
    counted: bool
    scenario: str
    settings: str
    run: str
    sharpe: float
    sessions: int
    periods: int

    @property
    def sharpe_a_year(self) -> float:
        """The Sharpe ratio as it is usually said."""
        return float(self.sharpe * np.sqrt(self.periods))


class Count(NamedTuple):
    """The trials of a family: how many, how many *opted_out*, and the variance (ddof 1) of the Sharpe ratios of those that have one."""

    trials: int
    opted_out: int
    variance: float


def place_of(scenario: Path | Scenario) -> Path:
    """Where the trials of a scenario, or of a file of one, are written down: see above."""
    from simulator import scenarios

    folder = (scenario.parent if isinstance(scenario, Path) else scenario.folder).resolve()
    bundled = {path.resolve().parent for path in scenarios.bundled().values()}
    installed = {"site-packages", "dist-packages"} & set(folder.parts) or folder.is_relative_to(Path(sys.prefix).resolve())
    kept = (folder / "summary.json").is_file() and (folder / "scenario.toml").is_file()
    return (Path().resolve() if folder in bundled or installed or kept else folder) / HOME


def trial(scenario: Scenario, tape: str, returns: FloatArray, periods: int, *, run: str = "", counted: bool = True) -> Trial:
    """One configuration that was run, as a trial: over the bars with the digest *tape* it had these session *returns*, (N,).

    A configuration of a sweep is the scenario with what is set in it.
    """
    identity = sha256(f"{json.dumps(_decided(scenario.text), sort_keys=True, default=str)}\n{tape}\n".encode())
    identity.update(np.ascontiguousarray(returns).tobytes())
    # What is no number has no Sharpe ratio, and neither has what does not vary.
    known = sharpe_per_period(metrics.Sample(returns, metrics.NO_NUMBERS, 0.0, periods)) if len(returns) > 1 and np.isfinite(returns).all() else nan
    sharpe = nan if isinstance(known, str) else known
    settings = words.settings(scenario.strategy.parameters)
    return Trial(scenario.strategy.name, identity.hexdigest(), counted, scenario.name, settings, run, sharpe, len(returns), periods)


def _decided(text: str) -> dict[str, Any]:
    """What a scenario's text decides. The trials of a sweep differ in one table, so that the rest is read once."""
    before, header, rest = text.partition("\n[strategy]")
    own, other, after = rest.partition("\n[broker]")
    decided = {**_read(before + other + after), **tomllib.loads(header + own)}
    return {key: value for key, value in decided.items() if key not in ("name", "title", "caveats")}


@lru_cache(maxsize=8)
def _read(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def trial_of(result: Result, counted: bool = True) -> Trial:
    """A run of a scenario as a trial."""
    assert result.scenario is not None
    return trial(result.scenario, result.digest, *_returns(result), run=result.run_id, counted=counted)


def _returns(result: Result) -> tuple[FloatArray, int]:
    sessions = result.tape.sessions[: result.rows]
    return metrics.session_returns(result.equity, sessions, result.cash_start), metrics.periods_of(sessions)


def record(place: Path, trials: Iterable[Trial]) -> None:
    """Write trials down, all of them or none. Folder and file are made where they are missing.

    What is there already is not written again, and what was counted once cannot opt out. Raises SimulatorError where it cannot be written.
    """
    rows = [{**made._asdict(), "sharpe": None if isnan(made.sharpe) else made.sharpe} for made in trials]
    with _naming(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(place, timeout=PATIENCE_SECONDS, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            if not file.execute("SELECT 1 FROM sqlite_master").fetchone():
                for line in SCHEMA:
                    file.execute(line)
            _know(place, file)
            file.executemany(ADD, rows)
            file.execute("COMMIT")


def read(place: Path) -> list[Trial]:
    """All trials in the order in which they were made; none where there is no ledger yet. Raises SimulatorError where it cannot be read."""
    if not place.exists():
        return []
    with _naming(place), closing(sqlite3.connect(f"{place.resolve().as_uri()}?mode=ro", uri=True, timeout=PATIENCE_SECONDS)) as file:
        _know(place, file)
        rows = file.execute(f"SELECT {COLUMNS} FROM trials ORDER BY id").fetchall()
    made = [Trial(*row) for row in rows]
    return [each._replace(counted=bool(each.counted), sharpe=nan if each.sharpe is None else each.sharpe) for each in made]


def count(trials: Iterable[Trial], family: str) -> Count:
    """How many trials a *family* has. One that opted out and was run again as a trial is a trial."""
    own = [each for each in trials if each.family == family]
    counted = {each.identity for each in own if each.counted}
    sharpes = np.array([each.sharpe for each in own if each.counted and not isnan(each.sharpe)])
    variance = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else nan
    return Count(len(counted), len({each.identity for each in own} - counted), variance)


def standing(result: Result, trials: Iterable[Trial], why_not: str = "") -> Standing:
    """How a run of a scenario stands among *trials*. One that is not among them counts as one more, and *why_not* says why it is not."""
    return _standing(trial_of(result), _returns(result)[0], list(trials), why_not)


def _standing(own: Trial, r: FloatArray, known: list[Trial], why_not: str) -> Standing:
    own = own._replace(counted=True)
    there = any((each.identity, each.counted) == (own.identity, True) for each in known if each.family == own.family)
    found = count(known if there else [*(each for each in known if each.identity != own.identity), own], own.family)
    bar, periods = expected_best(found.trials, found.variance), own.periods
    length = metrics.Measured(nan, bar.reason) if bar.reason else min_trl.measured(r, periods=periods, threshold=bar.value)
    sure, deflated = psr.measured(r, periods=periods), dsr.measured(r, periods=periods, trials=found.trials, variance=found.variance)
    return Standing(own.family, found.trials, found.opted_out, bar, sure, deflated, length, "" if there else why_not)


def take(result: Result, counted: bool = True) -> Standing:
    """Write a run of a scenario into the ledger of its project, and say how it stands there. What cannot be written is said, and is no error."""
    assert result.scenario is not None
    place, own = place_of(result.scenario), trial_of(result, counted)
    try:
        record(place, [own])
        return _standing(own, _returns(result)[0], read(place), "This one opted out, and is counted here alone")
    except SimulatorError as error:
        return _standing(own, _returns(result)[0], [], f"It could not be counted: {error}")


def take_all(place: Path, made: Sequence[Trial], best: Trial, returns: FloatArray, counted: bool = True) -> Standing:
    """Write the trials of a sweep down, and say how the *best* of them, with these session *returns*, stands among them and all before.

    All that were *made* count for it, whatever their families are and whether they opted out or not: it was chosen from them. What cannot be written
    is said, and is no error.
    """
    try:
        record(place, [each._replace(counted=counted) for each in made])
        known, why_not = read(place), "" if counted else "This sweep opted out, and is counted here alone"
    except SimulatorError as error:
        known, why_not = [], f"The sweep could not be counted: {error}"
    there = {each.identity for each in known if each.counted and each.family == best.family}
    more = {each.identity: each._replace(family=best.family, counted=True) for each in made if each.identity not in there}
    return _standing(best, returns, [*known, *more.values()], "")._replace(why_not=why_not)


def look(result: Result) -> Standing:
    """How a run of a scenario stands in the ledger of its project, which is not written to; one that is not there counts as one more."""
    assert result.scenario is not None
    try:
        return standing(result, read(place_of(result.scenario)))
    except SimulatorError as error:
        return standing(result, [], f"The others are not known: {error}")


def find(place: str) -> Path:
    """The ledger that is meant by a folder, a scenario (a file, or the name of a bundled one), or its own file.

    Raises SimulatorError where there is none.
    """
    from simulator import scenarios

    given = Path(place)
    if given.is_dir():
        found = given / HOME
    elif given.suffix == ".toml" or place in scenarios.bundled():
        found = place_of(scenarios.locate(place))
    else:
        found = given
    if not found.exists():
        raise SimulatorError(f"there is no trial ledger at {found}: each `tradewind run` writes one, beside its scenario")
    return found


def told(place: Path, family: str = "") -> list[Part]:
    """The trials of each family in numbers, or, of one *family*, one by one. Raises SimulatorError for a family that was never tried."""
    trials = read(place)
    known = list(dict.fromkeys(each.family for each in trials))
    if family and family not in known:
        raise SimulatorError(f"no trial of '{family}' in {place}{nearest(family, known)}")
    if family:
        names = ("", "scenario", "settings", "sessions", "Sharpe", "run", "")
        rows: list[tuple[str, ...]] = [
            (str(k), x.scenario, x.settings, f"{x.sessions:,}", _ratio(x.sharpe_a_year), x.run[:12], "" if x.counted else "opted out")
            for k, x in enumerate(trials, 1)
            if x.family == family
        ]
        return [("ledger", str(place)), Columns(f"trials of {family}", names, rows, (1, 2, 5, 6))]
    names = ("family", "trials", "opted out", "best", "mean", "spread", "by luck")
    title = "trials, with Sharpe ratios a year (by luck: what the best of so many would show without skill)"
    return [("ledger", str(place)), Columns(title, names, [_row(trials, name) for name in known])]


def _row(trials: list[Trial], family: str) -> tuple[str, ...]:
    found = count(trials, family)
    known = [each for each in trials if each.family == family and each.counted and not isnan(each.sharpe)]
    sharpes = np.array([each.sharpe_a_year for each in known])
    best, mean = (float(sharpes.max()), float(sharpes.mean())) if len(known) else (nan, nan)
    spread = float(np.std(sharpes, ddof=1)) if len(known) > 1 else nan
    a_year = float(np.sqrt(np.mean([each.periods for each in known]))) if known else nan
    bar = expected_best(found.trials, found.variance).value * a_year if found.trials else nan
    return family, f"{found.trials:,}", f"{found.opted_out:,}", *map(_ratio, (best, mean, spread, bar))


def _ratio(value: float) -> str:
    return "undefined" if isnan(value) else f"{value:.2f}"


def _know(place: Path, file: sqlite3.Connection) -> None:
    ((magic,),), ((version,),) = file.execute("PRAGMA application_id"), file.execute("PRAGMA user_version")
    if (magic, version) != (MAGIC, FORMAT):
        raise DataError(f"{place} is no trial ledger of this program (its application id is {magic}, its format {version}): put it elsewhere")


@contextmanager
def _naming(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        said: Any = error.strerror if isinstance(error, OSError) else None
        raise SimulatorError(f"the trial ledger {place} cannot be used: {said or error}") from error
