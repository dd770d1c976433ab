"""Walk-forward optimisation: settings are chosen on past sessions, traded on those that follow, and the parts that followed are put together.

    sessions   |--- train ---|purge|- test -|
                        |--- train ---|purge|- test -|
                                 |--- train ---|purge|- test -|

For each fold the whole grid runs over its train sessions, and the best by the metric runs over train, purge and test, of which the test sessions
alone count: nothing that they held had a part in the choice. The *purge* keeps what looks back across the border out of both. Each run begins with
the account's cash, and the returns of the test sessions are compounded from fold to fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulator import scenarios
from simulator.book.orders import FloatArray, IntArray
from simulator.crews import Crew
from simulator.desks import MEASURED, Desk, Span, Task, Trial
from simulator.errors import ScenarioError
from simulator.report import ledger, metrics
from simulator.report.deflated import Standing
from simulator.sweeps import Progress, Store, best_of, check_metric, run_all


class Folds(NamedTuple):
    """How sessions are cut: so many to *train*, then so many to *purge*, then so many to *test*; the next fold begins *test* sessions later."""

    train: int
    test: int
    purge: int = 0

    def spans(self, sessions: int) -> list[tuple[Span, Span]]:
        """(train, all of it with the test sessions counting) of each fold of so many sessions; the last test may be shorter.

        Raises ScenarioError where there are too few for one.
        """
        begin = self.train + self.purge
        if sessions <= begin:
            raise ScenarioError(f"walk-forward needs more than {begin} sessions, to train and to purge, and there are {sessions}")
        return [
            (Span(first, first, first + self.train), Span(first, first + begin, min(first + begin + self.test, sessions)))
            for first in range(0, sessions - begin, self.test)
        ]


def folds(text: str, purge: int = 0) -> Folds:
    """The folds in "TRAIN:TEST". Raises ScenarioError where it is no two whole numbers above 0, or *purge* is below 0."""
    parts = text.split(":")
    if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ScenarioError(f"--walk-forward must be TRAIN:TEST, two numbers of sessions above 0 such as 500:125, was '{text}'")
    if int(parts[0]) < 2:
        raise ScenarioError(f"--walk-forward must train on at least 2 sessions, was {parts[0]}")
    if purge < 0:
        raise ScenarioError(f"--purge must be 0 sessions or more, was {purge}")
    return Folds(int(parts[0]), int(parts[1]), purge)


class Fold(NamedTuple):
    """What was chosen on the sessions of *train*, and came of it on those of *test* (from its *scored* on).

    *chosen* is the best trial, None where none had the metric; *trial* is its run over the test sessions.
    """

    train: Span
    test: Span
    chosen: Trial | None
    trial: Trial | None


class Walk(NamedTuple):
    """A walk forward: its *folds*, and the sessions (days since 1970) that were tested with their *returns*, both (N,), and the *figures* of these.

    Where no settings could be chosen nothing was traded: returns are 0 there. *done* of *planned* trials were run; of a walk that was stopped only
    whole folds are here. *standing* is how it stands in the ledger: as one trial, since what its folds tried was not chosen from by these returns.
    *name* is that of the scenario's file.
    """

    folds: tuple[Fold, ...]
    sessions: IntArray
    returns: FloatArray
    figures: dict[str, float]
    done: int
    planned: int
    metric: str
    standing: Standing | None = None
    name: str = ""


def walk_forward(
    source: str | Path,
    settings: Sequence[tuple[str, ...]],
    cut: Folds,
    *,
    overrides: Sequence[str] = (),
    metric: str = "sharpe",
    workers: int = 1,
    store: Store | None = None,
    progress: Progress | None = None,
    cluster: str = "",
) -> Walk:
    """Walk a grid of *settings* forward over a scenario; the same to the last bit for any number of *workers*.

    With a *store* each trial is kept as it comes, and what is kept already is not run again. Ctrl-C stops it with the folds that are whole. Raises
    ScenarioError for settings of anything that changes the bars, and what `sweeps.sweep` raises.
    """
    check_metric(metric)
    for setting in settings[0] if settings else ():
        if setting.startswith(("feed.", "seed", "actions.", "known.")):
            raise ScenarioError(f"'{setting}' changes the bars, and the folds of a walk are cut from the same ones: set it in the scenario")
    desk = Desk(source, tuple(overrides))
    days = _sessions(desk, settings)
    spans = cut.spans(len(days))
    each = len(settings) + 1
    tasks = [Task(k * each + n, some, train) for k, (train, _) in enumerate(spans) for n, some in enumerate(settings)]
    done = store.trials() if store else {}
    planned = len(spans) * each

    def take(work: list[Task]) -> None:
        run_all(desk, work, done, Crew(workers, cluster), store, lambda: progress and progress(len(done), planned))

    chosen: list[Trial | None] = []
    try:
        take(tasks)
        chosen += [best_of([done[k * each + n] for n in range(len(settings))], metric) for k in range(len(spans))]
        take([Task(k * each + len(settings), best.settings, spans[k][1]) for k, best in enumerate(chosen) if best is not None])
    except KeyboardInterrupt:
        pass
    whole = []
    for k, best in enumerate(chosen):
        trial = done.get(k * each + len(settings))
        if trial is None and best is not None:
            break
        whole.append(Fold(*spans[k], best, trial))
    missing = sum(best is None for best in chosen)
    return _stitched(whole, days, len(done), planned - missing, metric)._replace(name=Path(source).stem)


def _sessions(desk: Desk, settings: Sequence[tuple[str, ...]]) -> IntArray:
    """The sessions there are, by the first settings that a scenario can be made of."""
    for some in settings:
        try:
            return desk.sessions(some)
        except ScenarioError as error:
            first = error
    raise first if settings else ScenarioError("walk-forward needs something to choose from: give --set")


def _stitched(whole: Sequence[Fold], days: IntArray, done: int, planned: int, metric: str) -> Walk:
    tested = np.concatenate([days[fold.test.scored : fold.test.end] for fold in whole]) if whole else days[:0]
    parts = [fold.trial.returns if fold.trial is not None and not fold.trial.error else np.zeros(fold.test.end - fold.test.scored) for fold in whole]
    returns = np.concatenate(parts) if parts else np.empty(0)
    periods = metrics.periods_of(days)
    figures = {one.name: one.measured(returns, periods=periods).value if len(returns) else nan for one in MEASURED}
    figures["fills"] = float(sum(fold.trial.figures["fills"] for fold in whole if fold.trial is not None and not fold.trial.error))
    return Walk(tuple(whole), tested, returns, figures, done, planned, metric)


def judge(
    walk: Walk,
    source: str | Path,
    settings: Sequence[tuple[str, ...]],
    cut: Folds,
    overrides: Sequence[str] = (),
    *,
    counted: bool = True,
) -> Walk:
    """Write a whole walk into the ledger of its project as one trial, unless it is not to be *counted*, and say how it stands there."""
    if walk.done < walk.planned or not len(walk.returns) or walk.folds[0].chosen is None:
        return walk
    scenario = scenarios.load(source, [*overrides, *walk.folds[0].chosen.settings])
    entry = ledger.trial(scenario, plan_text("", cut), walk.returns, metrics.periods_of(walk.sessions))
    entry = entry._replace(settings=f"walk-forward {cut.train}:{cut.test}, purge {cut.purge}, over {len(settings)} settings")
    return walk._replace(standing=ledger.take_all(ledger.place_of(scenario), [entry], entry, walk.returns, counted))


def plan_text(sweep: str, cut: Folds) -> str:
    """What makes two walks the same: that their sweeps are, and how they are cut."""
    return f"{sweep}# walk-forward {cut.train}:{cut.test}, purge {cut.purge}\n"
