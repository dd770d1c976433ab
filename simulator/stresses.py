"""A scenario under stress: one run for each of a set of worse markets, beside the plain one and its own days in known crises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import nan
from typing import Final, NamedTuple

import numpy as np

from simulator import assembly
from simulator.errors import SimulatorError
from simulator.feeds.stress import Gap, Squeeze, Stop, Stress
from simulator.market.tape import FloatArray, IntArray, Tape
from simulator.report import metrics
from simulator.report.metrics import Measured
from simulator.report.results import Result
from simulator.risk.measures import CRISES, crisis_windows
from simulator.scenarios import Scenario

PLAIN: Final = "as it is"
OWN: Final = "as the scenario says"
HISTORIES: Final = 3
"""How many resampled histories there are."""

BLOCK: Final = 20.0
"""About a month: long enough to keep volatility that clusters."""

STRESSES: Final[dict[str, Stress]] = {
    "gap of −20 %": Stress(gaps=(Gap(-0.2),)),
    "volatility × 2": Stress(volatility=2.0),
    "volatility × 3": Stress(volatility=3.0),
    "correlations to one": Stress(correlation=1.0),
    "spreads × 5": Stress(spread=5.0),
    "liquidity ÷ 10": Stress(liquidity=10.0),
    "5 % of bars missing": Stress(missing=0.05),
    "5 % of bars late": Stress(late=0.05),
    "halt of 20 sessions": Stress(halts=(Stop(20),)),
    "borrow squeeze": Stress(squeezes=(Squeeze(0.5, 0.0),)),
    **{f"resampled history {k}": Stress(bootstrap=BLOCK, seed=k) for k in range(1, HISTORIES + 1)},
}
"""What `tradewind stress` puts a scenario under, by name."""

WINDOWS: Final = CRISES | {
    "1999 to 2002": ("1999-01-04", "2002-12-31"),
    "2007 to 2009": ("2007-10-09", "2009-03-09"),
    "August 2015": ("2015-08-10", "2015-08-25"),
    "end of 2018": ("2018-09-20", "2018-12-24"),
}
"""Crises by name: the date of the close before the first session, and that of the last one."""


UNKNOWN: Final = Measured(nan, "it was not run")


class Endured(NamedTuple):
    """How one run, or one stretch of it, came out.

    *words* say what it was put under; *days* and *equity* are its session closes, the capital at the start before them. *start* and *end* are equity
    there; *forced* is how many orders the account's broker sent or cancelled by itself: margin calls, recalls. What could not be run has an *error*
    and nothing else.
    """

    name: str
    words: tuple[str, ...] = ()
    days: IntArray = np.empty(0, np.int64)
    equity: FloatArray = np.empty(0)
    returned: Measured = UNKNOWN
    drawdown: Measured = UNKNOWN
    sharpe: Measured = UNKNOWN
    fills: int = 0
    refused: int = 0
    halts: int = 0
    forced: int = 0
    error: str = ""

    @property
    def end(self) -> float:
        """Equity at the end."""
        return float(self.equity[-1])


class StressTest(NamedTuple):
    """All runs of a scenario, the plain one first; the stretches of it that were a crisis; and how many runs there should have been."""

    scenario: str
    title: str
    runs: tuple[Endured, ...]
    crises: tuple[Endured, ...]
    planned: int

    @property
    def plain(self) -> Endured:
        """The run without any stress."""
        return self.runs[0]


def stress_test(
    scenario: Scenario, tape: Tape | None = None, progress: Callable[[int, int], None] | None = None, stresses: dict[str, Stress] | None = None
) -> StressTest:
    """Run *scenario* as it is and under each of *stresses* (default: STRESSES, and what the scenario itself says).

    Ctrl-C ends it after the runs that are done. What cannot be run on these bars is there with its reason. *tape* stands in for what the feed loads,
    without stress. Raises KeyboardInterrupt where not even the plain run was done.
    """
    calm = replace(scenario, stress=None)
    feed = assembly.parts(calm).feed
    given = assembly.load(calm, feed) if tape is None else tape
    own = {OWN: scenario.stress} if scenario.stress else {}
    plan: dict[str, Stress | None] = {PLAIN: None, **own, **(STRESSES if stresses is None else stresses)}
    runs: list[Endured] = []
    crises: tuple[Endured, ...] = ()
    for done, (name, stress) in enumerate(plan.items()):
        try:
            if progress:
                progress(done, len(plan))
            found = _run(replace(calm, stress=stress), given, name)
        except KeyboardInterrupt:
            found = None
        if found is None:
            break
        if isinstance(found, Endured):
            runs.append(found)
            continue
        crises = crises if stress else tuple(_crises(found))
        runs.append(_endured(name, found, tuple(stress.words()) if stress else ()))
    if not runs:
        raise KeyboardInterrupt
    return StressTest(scenario.name, scenario.title, tuple(runs), crises, len(plan))


def _run(scenario: Scenario, tape: Tape, name: str) -> Result | Endured | None:
    """A run to its end; why it cannot be; None where it was stopped."""
    stress = scenario.stress
    try:
        if stress and stress.liquidity != 1.0 and np.isinf(tape.volume[: len(tape)]).any():
            raise SimulatorError("there is no volume that could be less")
        if stress and stress.squeezes and scenario.account.kind == "cash":
            raise SimulatorError("a cash account borrows no shares")
        result = assembly.run(scenario, tape=stress.tape(tape, scenario.seed) if stress else tape)
    except SimulatorError as error:
        if stress is None:
            raise
        return Endured(name, tuple(stress.words()), error=str(error))
    return None if result.interrupted else result


def _endured(name: str, result: Result, words: tuple[str, ...] = (), first: int = 0, end: int | None = None) -> Endured:
    """The figures of the sessions from *first* up to but without *end*."""
    sessions = result.tape.sessions[: result.rows]
    ends = metrics.session_ends(sessions)
    path = np.concatenate(([result.cash_start], result.equity[ends]))[first : None if end is None else end + 1]
    days = np.concatenate(([sessions[0] - 1], sessions[ends]))[first : None if end is None else end + 1]
    returns = metrics.session_returns(path[1:], days[1:], float(path[0]))
    # From the first bar after the close before, to the last of the stretch.
    low = int(ends[first - 1]) + 1 if first else 0
    high = int(ends[-1 if end is None else end - 1])
    periods = metrics.periods_of(sessions)
    return Endured(
        name,
        words,
        days.astype(np.int64),
        path,
        metrics.cumulative_return.measured(returns),
        metrics.max_drawdown.measured(returns),
        metrics.sharpe.measured(returns, periods=periods),
        sum(low <= fill.bar <= high for fill in result.fills),
        sum(order.state == "rejected" and low <= order.bar <= high for order in result.orders),
        sum(halt.measure != "resumed" and result.tape.ats[low] <= halt.at <= result.tape.ats[high] for halt in result.halts),
        sum(low <= forced.bar <= high for forced in result.forced),
    )


def _crises(result: Result) -> Iterator[Endured]:
    """The plain run in each crisis that its history holds whole: what it did, having lived through all that came before."""
    sessions = result.tape.sessions[: result.rows]
    days = sessions[metrics.session_ends(sessions)]
    windows = crisis_windows(days, WINDOWS) if len(days) else {}
    for name, (first, end) in sorted(windows.items(), key=lambda x: (x[1], x[0])):
        yield _endured(name, result, (f"{WINDOWS[name][0]} to {WINDOWS[name][1]}",), first, end)
