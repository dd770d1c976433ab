"""Where the trials of a sweep are run, one after another: each gives the fills that `run` would give.

A strategy that states its decisions as arrays runs compiled, all others by the loop; which it was changes no number. The first compiled trial runs
both ways, since only the loop can tell that arrays do not look ahead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from simulator import assembly, scenarios
from simulator.book.orders import FloatArray, IntArray
from simulator.errors import PluginError, SimulatorError
from simulator.loop.journal import FILL, times_to_rows
from simulator.loop.whole import Whole, form_of, run_whole
from simulator.market.actions import Actions
from simulator.market.indicators import Readings
from simulator.market.tape import Tape
from simulator.report import ledger, metrics
from simulator.report.results import Result
from simulator.scenarios import Parts, Scenario

if TYPE_CHECKING:
    from pathlib import Path

MOST_VALUES: Final = 2**28
"""How many values of indicators are kept from trial to trial (2 GiB)."""

MEASURED: Final = (
    metrics.sharpe,
    metrics.cumulative_return,
    metrics.annual_return,
    metrics.volatility,
    metrics.max_drawdown,
    metrics.sortino,
    metrics.calmar,
)
FIGURES: Final = tuple(metric.name for metric in MEASURED)


class Span(NamedTuple):
    """Sessions of a tape, by their numbers: from *first* up to *end*, of which those from *scored* on count."""

    first: int
    scored: int
    end: int


class Task(NamedTuple):
    """A trial to be run: its number, its settings (`key=value`), and over which sessions, if not over all."""

    number: int
    settings: tuple[str, ...]
    span: Span | None = None


class Trial(NamedTuple):
    """One run of a sweep. *settings* are `key=value`; *returns* one a session; *error* says why there is nothing else, if it failed.

    *figures* has the final equity, the number of fills, and the metrics of FIGURES, NaN where one is not defined. *entry* is how the ledger of
    trials has it: None for one that was run over some of the sessions only.
    """

    number: int
    settings: tuple[str, ...]
    figures: dict[str, float]
    returns: FloatArray
    compiled: bool = False
    error: str = ""
    entry: ledger.Trial | None = None


@dataclass(frozen=True)
class Ground:
    """What trials have in common that differ in nothing but the parameters *varied* of their strategy."""

    settings: tuple[str, ...]
    varied: tuple[str, ...]
    scenario: Scenario
    parts: Parts


@dataclass
class Loaded:
    """A tape that trials run over, as the feed gives it or a part of that, and what was reckoned over it. Sessions up to *scored* do not count."""

    key: tuple[str, Span | None]
    tape: Tape
    scored: int = 0
    readings: Readings | None = None

    @cached_property
    def digest(self) -> str:
        """What the ledger knows the bars by."""
        return self.tape.digest()


@dataclass
class Desk:
    """Where trials of one scenario are run, one after another: what they have in common is kept from trial to trial."""

    source: str | Path
    overrides: tuple[str, ...] = ()
    checked: bool = False
    _ground: Ground | None = None
    _whole: dict[str, Loaded] = field(default_factory=dict)
    _part: Loaded | None = None

    def twin(self, near: bool = False) -> Desk:
        """A desk like this one, for another machine or, *near*, another thread: it has the same bars, and there what is reckoned over them too."""
        whole = {key: Loaded(loaded.key, loaded.tape, readings=loaded.readings if near else None) for key, loaded in self._whole.items()}
        return Desk(self.source, self.overrides, self.checked, _whole=whole)

    def sessions(self, settings: tuple[str, ...] = ()) -> IntArray:
        """The sessions that a scenario with these settings has bars of, in days since 1970."""
        found: IntArray = np.unique(self._loaded(self._scenario(settings), None).tape.sessions)
        return found

    def run(self, task: Task) -> Trial:
        """One trial. What is wrong with it is written in it; what is wrong with arrays that look ahead is raised."""
        try:
            scenario = self._scenario(task.settings)
            loaded = self._loaded(scenario, task.span)
            whole = self._compiled(scenario, loaded)
            if whole is None:
                result = assembly.run(scenario, tape=loaded.tape)
                if result.interrupted:
                    raise KeyboardInterrupt
                table = result.journal_table()
                ats = table["at"][table["kind"] == FILL]
                return measured(task, scenario, loaded, result.equity, times_to_rows(loaded.tape, ats))
            if not self.checked:
                self._check(scenario, loaded.tape, whole)
            return measured(task, scenario, loaded, whole.equity, whole.fills[0])._replace(compiled=True)
        except DisagreementError:
            raise
        except SimulatorError as error:
            return Trial(task.number, task.settings, {}, np.empty(0), error=str(error))

    def _scenario(self, settings: tuple[str, ...]) -> Scenario:
        """The scenario with these settings. Where only parameters of the strategy change from trial to trial, nothing else is made anew."""
        own = tuple(setting for setting in settings if scenarios.varies_strategy(setting))
        rest = tuple(setting for setting in settings if setting not in own)
        varied = tuple(setting.partition("=")[0] for setting in own)
        ground = self._ground
        if ground is None or (ground.settings, ground.varied) != (rest, varied):
            scenario = scenarios.load(self.source, [*self.overrides, *settings])
            self._ground = Ground(rest, varied, scenario, assembly.parts(scenario))
            return scenario
        with scenarios.naming(self.source, [*self.overrides, *settings]):
            return scenarios.vary(ground.scenario, own)

    def _loaded(self, scenario: Scenario, span: Span | None) -> Loaded:
        assert self._ground is not None
        tables = scenario.actions, scenario.known, scenario.stress
        key = json.dumps([scenario.seed, scenario.feed.name, scenario.feed.parameters, *tables], default=str, sort_keys=True)
        if key not in self._whole:
            self._whole = {key: Loaded((key, None), assembly.load(scenario, self._ground.parts.feed))}
        if span is None:
            return self._whole[key]
        if self._part is None or self._part.key != (key, span):
            self._part = Loaded((key, span), part_of(self._whole[key].tape, span), span.scored - span.first)
        return self._part

    def _compiled(self, scenario: Scenario, loaded: Loaded) -> Whole | None:
        assert self._ground is not None
        strategy, broker, tape = scenarios.strategy_of(scenario), self._ground.parts.broker, loaded.tape
        if form_of(strategy) is None or scenario.sizer is not None or (scenario.stress and scenario.stress.squeezes):
            return None
        known = loaded.readings
        if known is not None and known.count * len(tape) * tape.width > MOST_VALUES:
            known = None
        readings = loaded.readings = Readings(tape, strategy.indicators() if hasattr(strategy, "indicators") else {}, known)
        readings.catch_up()
        return run_whole(tape, strategy, broker, scenario.account, scenario.risk, readings, scenario.financing, scenario.margin)

    def _check(self, scenario: Scenario, tape: Tape, whole: Whole) -> None:
        """Run the loop as well, and refuse arrays that trade otherwise."""
        result = assembly.run(scenario, tape=tape)
        if result.interrupted:
            raise KeyboardInterrupt
        difference = differs(result, whole)
        if difference:
            strategy = scenarios.strategy_of(scenario)
            name = f"{type(strategy).__name__}.{form_of(strategy)}"
            raise DisagreementError(f"{name} does not say what on_bars does: {difference}. Mend it, or take it out: the loop then runs every trial")
        self.checked = True


class DisagreementError(PluginError):
    """Arrays that trade otherwise than the loop: what they say of a bar may come from after it."""


def part_of(tape: Tape, span: Span) -> Tape:
    """The sessions of *span* as a tape of their own, of which the first has nothing before it."""
    first = np.append(metrics.session_ends(tape.sessions) + 1, 0)
    begin, end = int(first[span.first - 1]), int(first[span.end - 1])
    rows = np.arange(begin, end)
    columns = (tape.open[rows], tape.high[rows], tape.low[rows], tape.close[rows], tape.volume[rows])
    part = tape.like(*columns, kept=rows)
    if tape.actions is not None:
        # What went before is in the prices, and nobody held anything then.
        gone = set(tape.actions.known_by(int(tape.sessions[begin]), 0).dated)
        part.actions = Actions([action for action in tape.actions if action not in gone], tape.actions.signals)
    return part


def measured(task: Task, scenario: Scenario, loaded: Loaded, equity: FloatArray, bars: IntArray) -> Trial:
    """What came of a trial with this *equity*, (rows,), and fills in these *bars*: of the sessions that count."""
    tape, cash = loaded.tape, float(scenario.account.cash)
    returns = metrics.session_returns(equity, tape.sessions, cash)[loaded.scored :]
    first = int(metrics.session_ends(tape.sessions)[loaded.scored - 1]) + 1 if loaded.scored else 0
    periods = metrics.periods_of(tape.sessions)
    figures = {"final_equity": float(equity[-1]) if len(equity) else cash, "fills": float(np.count_nonzero(bars >= first))}
    figures |= {metric.name: metric.measured(returns, periods=periods).value for metric in MEASURED}
    entry = None
    if task.span is None:
        entry = ledger.trial(scenario, loaded.digest, returns, periods, run=assembly.header_of(scenario).run)
    return Trial(task.number, task.settings, figures, returns, entry=entry)


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
