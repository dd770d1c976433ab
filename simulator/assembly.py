"""The one place where the parts are joined: plug-ins by their names, and the parts of a session with each other."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import simulator
from simulator import plugins, scenarios
from simulator.book.currencies import currencies_of
from simulator.book.fills import Waited
from simulator.book.financing import Accruals, Financing, Lending
from simulator.book.futures import Settlements, futures_of, open_portfolio
from simulator.book.orders import OrderIds, OrderKind, Proposal
from simulator.book.portfolio import Portfolio
from simulator.errors import OrderError, PluginError, ScenarioError, SimulatorError, nearest
from simulator.loop.agenda import agenda
from simulator.loop.audit import Audit
from simulator.loop.clocks import PacedClock, ReplayClock
from simulator.loop.corporate import CorporateActions
from simulator.loop.journal import MemoryJournal
from simulator.loop.session import Session, step
from simulator.loop.settlement import Settlement
from simulator.loop.spool import SpooledJournal
from simulator.loop.store import Header, SqliteJournal
from simulator.loop.switches import FileSwitch, RecordedSwitch
from simulator.loop.wakes import Alarm, Sleep, Sleeping, Waking, alarm_of, calls_of, never
from simulator.market.actions import chained, traded
from simulator.market.indicators import Indicator, Readings, sma
from simulator.market.instruments import Instrument
from simulator.market.ranks import highest
from simulator.market.rooms import Room
from simulator.market.tape import DAY, Replay, Tape
from simulator.market.view import View
from simulator.ports import Calendar, Clock, Feed, Journal, Sizer, Strategy, Switch
from simulator.report import uncertainty as uncertain
from simulator.report.curves import Curve
from simulator.report.results import Result
from simulator.report.uncertainty import Uncertainty
from simulator.risk.engine import RiskEngine
from simulator.risk.limits import Account, Limits
from simulator.risk.margin import NO_MARGIN, Margin, MarginEngine
from simulator.risk.switch import Switched
from simulator.risk.within import WithinLimits

if TYPE_CHECKING:
    from simulator.scenarios import Scenario

Progress = Callable[[int, int], None]
TERMS = ("financing", "margin", "sizer")
"""What `about_of` has for the session, and not for the result."""


class WarmingUp:
    """Stands where a strategy will: lets bars pass until some instrument has all its indicators, and then steps aside."""

    __slots__ = ("first", "session", "strategy")

    def __init__(self, session: Session, strategy: Strategy, first: int | None) -> None:
        self.session, self.strategy, self.first = session, strategy, first

    def on_bars(self, view: View) -> Proposal:
        if self.first is None or view.row < self.first:
            return ()
        self.session.strategy = self.strategy
        return self.strategy.on_bars(view)


class Following:
    """Stands before a strategy on a tape that grows: brings its indicators, and what wakes it, up to each new bar."""

    __slots__ = ("alarm", "readings", "strategy", "warm")

    def __init__(self, strategy: Strategy, readings: Readings, alarm: Alarm | None = None) -> None:
        self.strategy, self.readings, self.alarm, self.warm = strategy, readings, alarm, False

    def on_bars(self, view: View) -> Proposal:
        self.readings.catch_up()
        view.refresh()
        self.warm = self.warm or self.readings.first_warm() is not None
        awake = self.alarm is None or self.alarm.catch_up()[-1]
        return self.strategy.on_bars(view) if self.warm and awake else ()


class Streaming:
    """What comes of a run over a tape that lies in a file goes to disk as it comes: its journal and its equity, stretch by stretch."""

    def __init__(self, tape: Tape, room: Room, header: str, cash: float, progress: Progress | None) -> None:
        self.journal, self.stretch = SpooledJournal(header, room.folder), room.rows
        self.curve = None if currencies_of(tape) or futures_of(tape) else Curve(tape, cash)
        self._room, self._progress = room, progress

    def passed(self, done: int, total: int) -> None:
        """So many bars were run."""
        fresh = self.journal.spill()
        if self.curve:
            self.curve.take(fresh, done)
        self._room.release(done)
        if self._progress:
            self._progress(done, total)


def assemble(
    tape: Tape,
    strategy: Strategy,
    *,
    broker: Any = None,
    account: Account | None = None,
    limits: Limits | None = None,
    financing: Financing | None = None,
    margin: Margin | None = None,
    header: str = "",
    growing: bool = False,
    clock: Clock | None = None,
    journal: Journal | None = None,
    switch: Switch | None = None,
    sizer: Sizer | None = None,
    sleeps: bool = True,
) -> tuple[Session, Replay]:
    """Wire a session over *tape*, and the feed that replays it. A *growing* tape is fed row by row, by whoever owns it. Unless it *sleeps*, the feed
    of a strategy that says when to wake it has every bar all the same.

    *strategy* is an instance that has not run yet; *broker* are the settings of a broker plug-in (default: the simulated one's). Without *financing*
    nothing accrues, and without *margin* no maintenance margin is asked for. ScenarioError where these do not fit each other or the
    data.
    """
    account = account or Account()
    settings = plugins.find("tradewind.brokers", "simulated", Path())() if broker is None else broker
    _check_fit(tape, settings, account, growing)
    feed, ids, actions = Replay(tape), OrderIds(), tape.actions
    portfolio = open_portfolio(feed.bars, float(account.cash))
    market = settings.connect(tape if growing or actions is None else traded(tape), portfolio, account, ids)
    seen = chained(tape) if actions is not None and actions.signals == "chained" else tape
    readings = Readings(seen, strategy.indicators() if hasattr(strategy, "indicators") else {})
    readings.catch_up()
    view = View(feed.bars, portfolio, market, readings, ids)
    view.sizer = sizer
    lending = Lending(financing, tape) if financing and financing.loans else None
    if futures_of(tape) or (lending and lending.limited) or (margin and account.kind == "margin"):
        risk: RiskEngine = MarginEngine(limits or Limits(), account, market, portfolio, ids, margin or NO_MARGIN, lending)
    else:
        risk = RiskEngine(limits or Limits(), account, market, portfolio, ids)
    watched = Switched(risk, switch) if switch else risk
    calendars = _calendars(tape, market, view, portfolio, account, financing)
    session = Session(clock or ReplayClock(), market, portfolio, view, strategy, watched, journal or MemoryJournal(header), agenda(calendars))
    alarm = alarm_of(strategy, tape, readings)
    if growing:
        session.strategy = Following(strategy, readings, alarm)
        return session, feed
    first = readings.first_warm()
    if alarm is not None:
        awake = alarm.catch_up()
        # What time passes for is walked bar by bar, and so is what is watched in an account that compiled code does not know.
        if sleeps and clock is None and switch is None and hasattr(market, "is_idle") and (not risk.watches or type(portfolio) is Portfolio):
            counts = risk.watches and risk.limits.goes_by_session
            rests = [getattr(each, "rests", never) for each in calendars] + [never] * counts
            feed = Sleeping(feed, calls_of(awake, first), Sleep(session, tape, rests))
        strategy = Waking(strategy, awake)
    session.strategy = WarmingUp(session, strategy, first)
    return session, feed


def _check_fit(tape: Tape, settings: Any, account: Account, growing: bool) -> None:
    """Refuse a broker or an account that the data do not fit."""
    if tape.truth.opens == "close_only" and getattr(settings, "timing", "next_close") != "next_close":
        raise ScenarioError(f"broker.timing must be 'next_close' for {tape.truth.source}, which has closes only; was {settings.timing!r}")
    futures, actions = futures_of(tape), tape.actions
    if futures and account.kind == "cash":
        raise ScenarioError(f"account.kind must be 'margin' to trade futures, and {tape.instruments[min(futures)].symbol} is one; was 'cash'")
    if actions is not None:
        actions.fit(tape)
        if (growing or tape.room) and (actions.halts or actions.signals == "chained"):
            kind = "a dataset that streams" if tape.room else "a tape that grows"
            raise ScenarioError(f"halts and chained signals need bars that are all there, in memory: {kind} can have neither")


def _calendars(tape: Tape, market: Any, view: View, portfolio: Portfolio, account: Account, financing: Financing | None) -> list[Calendar]:
    """What happens because it is time, in the order of the phases: corporate actions, settlement, financing."""
    calendars: list[Calendar] = []
    if tape.actions is not None and tape.actions.dated:
        if not (hasattr(market, "split") and hasattr(market, "delist")):
            raise ScenarioError("this broker knows no corporate actions: it needs split() and delist(), see simulator.loop.corporate.Registrar")
        calendars.append(CorporateActions(tape.actions, tape, portfolio, market, market))
    if account.kind == "cash" and account.settlement_days:
        portfolio.settles = True
        calendars.append(Settlement(view, portfolio, account.settlement_days))
    if futures_of(tape):
        if not hasattr(market, "expire"):
            raise ScenarioError("this broker knows no futures: it needs expire(instrument), see simulator.book.futures.Settlements")
        calendars.append(Settlements(portfolio, market.expire))
    if financing and financing.accrues:
        calendars.append(Accruals(financing, portfolio))
    return calendars


def drive(
    session: Session, feed: Feed, bars_total: int, progress: Progress | None = None, audit: Audit | None = None, stretch: int | None = None
) -> int:
    """Step through a feed; how many bars went through the system. Ctrl-C stops it after what it has done so far. *progress* hears of it every 200th
    part of all bars, or every *stretch* of them.
    """
    done, part = 0, max(1, min(bars_total // 200, stretch or bars_total))
    walk = iter(feed)
    strategy = session.strategy
    while isinstance(strategy, WarmingUp | Following | Waking):
        strategy = strategy.strategy
    take = audit.step if audit else step
    try:
        while True:
            for bars in islice(walk, part) if progress else walk:
                take(session, bars)
            # A feed that passes over bars may have passed over the last ones.
            before, done = done, session.view.row + 1
            if progress:
                progress(done, bars_total)
            if done == before:
                return done
    except KeyboardInterrupt:
        # The bar that it was at may not have gone through to its end.
        return max(done, session.view.row)
    except Exception as error:
        raise blame(error, strategy, session) from error


def blame(error: Exception, strategy: Strategy, session: Session) -> Exception:
    """A PluginError that names the strategy and its line, if that is where *error* came from; else the error itself, which is ours."""
    own = getattr(type(strategy).on_bars, "__code__", None)
    frames = list(traceback.walk_tb(error.__traceback__))
    if isinstance(error, OrderError) or not any(frame.f_code is own for frame, _ in frames):
        return error
    inside = [(frame, line) for frame, line in frames if frame.f_code.co_filename == own.co_filename] if own else []
    frame, line = inside[-1]
    at = datetime.fromtimestamp(session.clock.now / 1e9, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    kind = "" if isinstance(error, SimulatorError) else f"{type(error).__name__}: "
    place = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return PluginError(f"strategy {type(strategy).__name__} raised at the bar that closed {at} UTC ({place}): {kind}{error}")


def simulate(
    tape: Tape,
    strategy: Strategy,
    *,
    cash: float = 1_000_000.0,
    broker: Any = None,
    account: Account | None = None,
    limits: Limits | None = None,
    financing: Financing | None = None,
    margin: Margin | None = None,
    sizer: Sizer | None = None,
    check: bool = False,
    progress: Progress | None = None,
    bars: int | None = None,
) -> Result:
    """Run *strategy* over *tape*, or over its first *bars* bars, with all costs of trading on unless *broker* says otherwise. *account* overrides
    *cash*. Corporate actions are those of the tape: `tape.actions = Actions([...])`. Nothing accrues without *financing*, and no margin is called
    without *margin*.
    """
    account = account or Account(cash=cash)
    about = {"financing": financing, "margin": margin, "sizer": sizer}
    return carry_out(tape, strategy, broker, account, limits or Limits(), progress, check, about, bars=bars)


def carry_out(
    tape: Tape,
    strategy: Strategy,
    broker: Any,
    account: Account,
    limits: Limits,
    progress: Progress | None,
    check: bool,
    about: dict[str, Any],
    header: str = "",
    clock: Clock | None = None,
    journal: SqliteJournal | None = None,
    bars: int | None = None,
    switch: Switch | None = None,
) -> Result:
    """Run a strategy to the end. What of *about* is named in TERMS is for the session; the rest is for the result."""
    financing, margin, sizer = (about.pop(name, None) for name in TERMS)
    # What is larger than memory is walked stretch by stretch, and so is what comes of it.
    streaming = Streaming(tape, tape.room, header, account.cash, progress) if tape.room and not (check or journal) else None
    session, feed = assemble(
        tape,
        strategy,
        sizer=sizer,
        broker=broker,
        account=account,
        limits=limits,
        financing=financing,
        margin=margin,
        header=header,
        clock=clock,
        journal=streaming.journal if streaming else journal,
        switch=switch,
        sleeps=not check,
    )
    feed.end = wanted = len(tape) if bars is None else min(bars, len(tape))
    if streaming:
        rows = drive(session, feed, wanted, streaming.passed, stretch=streaming.stretch)
        streaming.passed(rows, wanted)
        about["curve"] = streaming.curve
    else:
        rows = drive(session, feed, wanted, progress, Audit(session) if check else None)
    finished = rows == wanted
    waiting: list[Waited] = session.broker.waiting() if hasattr(session.broker, "waiting") else []
    warnings = broker.caveats(tape) if hasattr(broker, "caveats") else ()
    notes = (*about.pop("notes", ()), *warnings, *tape.truth.caveats, *tape.notes)
    if finished and isinstance(session.strategy, WarmingUp):
        notes = (*notes, "The strategy was never called: on this data no instrument ever had all of its indicators.")
    memory = journal.memory if journal else session.journal
    assert isinstance(memory, MemoryJournal)
    plots = session.view.plots
    return Result(tape, memory, account.cash, rows, still_waiting=waiting, interrupted=not finished, notes=notes, plots=plots, **about)


class _Exercise:
    """Sends a batch and a single order, so that each kernel is called that nearly every run needs."""

    def indicators(self) -> dict[str, Indicator]:
        return {"sma": sma(2)}

    def on_bars(self, view: View) -> Proposal:
        return [view.rebalance(0.2 * highest(view["close"], 2)), view.order(1, kind=OrderKind.LIMIT, limit=1e-3)] if view.row % 2 else ()


def warm_up() -> None:
    """Compile now what nearly every run needs, if that was not done on this machine yet. Takes seconds once, then nothing.

    Sweeps, and indicators other than means and returns, compile their own kernels when they are first asked for.
    """
    price = np.full((8, 2), 100.0)
    tape = Tape.of([Instrument("A"), Instrument("B")], np.arange(1, 9) * DAY, price, price, price, price, price * 1000, interval=DAY)
    settings = {"volume_basis": "trailing", "slippage": {"model": "square_root"}}
    broker = plugins.build(plugins.find("tradewind.brokers", "simulated", Path()), settings, "broker")
    limits = Limits(gross_max=2.0, drawdown_max=0.5)
    assert len(simulate(tape, _Exercise(), broker=broker, limits=limits).equity) == len(tape)


@lru_cache(maxsize=1)
def code_version() -> str:
    """The version of this program, and a digest of the sources of its engine and brokers."""
    seen = hashlib.sha256()
    here = Path(__file__).parent
    for folder in (here, here.parent / "brokers", here.parent / "strategies"):
        for path in sorted(folder.rglob("*.py")):
            seen.update(path.relative_to(here.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{simulator.__version__}+{seen.hexdigest()[:12]}"


def parts(scenario: Scenario) -> scenarios.Parts:
    """The feed, strategy and broker settings that a scenario names, built anew; a strategy's own files lie beside the scenario's."""
    made = scenarios.check(scenario)
    if scenario.stress and scenario.stress.spread != 1.0:
        if not hasattr(made.broker, "widened"):
            raise ScenarioError(f"stress.spread: the broker '{scenario.broker.name}' knows no spreads: it needs widened(times)")
        made = made._replace(broker=made.broker.widened(scenario.stress.spread))
    return made._replace(strategy=scenarios.beside(made.strategy, scenario.folder))


def run(scenario: Scenario, *, progress: Progress | None = None, check: bool = False, tape: Tape | None = None, bars: int | None = None) -> Result:
    """Run a scenario, or its first *bars* bars only.

    *tape* stands in for what its feed would load; *check* tests the identities of section 5 after every bar.
    """
    feed, strategy, broker = parts(scenario)
    if tape is None:
        tape = load(scenario, feed)
    _know(scenario, tape)
    header = header_of(scenario)
    about = about_of(scenario, broker, tape)
    return carry_out(tape, strategy, broker, scenario.account, scenario.risk, progress, check, about, header.text, bars=bars)


def uncertainty(scenario: Scenario, chosen: Result, progress: Progress | None = None) -> Uncertainty:
    """Run a scenario again under each policy for the path inside a bar, and with limits that must be traded through: see report.uncertainty.

    *chosen* is the run that it belongs to. Raises ScenarioError for a broker that knows no such policies, KeyboardInterrupt when it is stopped.
    """
    known = scenario.broker.parameters
    through = max(1, int(str(known.get("limit_through_ticks", 0))))
    changes: dict[str, dict[str, object]] = {policy: {"path": policy} for policy in uncertain.POLICIES}
    changes[uncertain.THROUGH] = {"path": "pessimistic", "limit_through_ticks": through}
    runs = {}
    for done, (name, change) in enumerate(changes.items()):
        if progress:
            progress(done, len(changes))
        runs[name] = run(replace(scenario, broker=replace(scenario.broker, parameters={**known, **change})), tape=chosen.tape)
        if runs[name].interrupted:
            raise KeyboardInterrupt
    return uncertain.measure(chosen, runs)


def rehearse(
    scenario: Scenario,
    clock: PacedClock,
    path: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    tape: Tape | None = None,
    switch: Switch | None = None,
) -> Result:
    """Run a scenario at the pace of *clock* with its journal in the file *path*: the same step and the same broker, and so the same rows as `run`.

    With *resume* it goes on with the journal of a rehearsal that was stopped: the bars that are recorded are run again at once and compared with it,
    and the clock's time passes from there on. *switch* stops trading from outside (default: the file FILE.kill beside the journal, as long as it is
    there); what it did to the recorded bars it does again. Raises what `SqliteJournal` raises.
    """
    feed, strategy, broker = parts(scenario)
    if tape is None:
        tape = load(scenario, feed)
    _know(scenario, tape)
    header = header_of(scenario)
    with SqliteJournal(path, header, resume=resume) as journal:
        clock.through = journal.reached
        killer = RecordedSwitch(journal.committed, journal.reached, switch or FileSwitch(kill_file(path)))
        about = about_of(scenario, broker, tape)
        result = carry_out(
            tape, strategy, broker, scenario.account, scenario.risk, progress, False, about, header.text, clock, journal, switch=killer
        )
        if not result.interrupted:
            journal.finish(tape.digest(), result.rows)
    return result


def load(scenario: Scenario, feed: Any) -> Tape:
    """The tape of a scenario's feed, with what its files of actions and as-of tables say, under its stress."""
    tape: Tape = feed.load(seed=scenario.seed, folder=scenario.folder)
    if scenario.actions or scenario.known:
        from simulator.feeds.tables import with_tables

        tape = with_tables(tape, scenario.folder, scenario.actions, scenario.known)
    return scenario.stress.tape(tape, scenario.seed) if scenario.stress and len(tape) else tape


def kill_file(journal: Path) -> Path:
    """The file beside a rehearsal's journal that stops its trading."""
    return Path(f"{journal}.kill")


def _know(scenario: Scenario, tape: Tape) -> None:
    """Refuse a benchmark that is none of the instruments."""
    if scenario.benchmark is not None and scenario.benchmark not in tape.index:
        raise ScenarioError(
            f"benchmark must be an instrument of the feed: there is no '{scenario.benchmark}'{nearest(scenario.benchmark, tape.index)}"
        )


def header_of(scenario: Scenario) -> Header:
    """What a scenario's journal begins with."""
    return Header(scenario.text, code_version(), scenario.seed)


def about_of(scenario: Scenario, broker: Any, tape: Tape) -> dict[str, Any]:
    """What of a scenario its session is told (TERMS), and what its result."""
    sizer = scenarios.sizer_of(scenario)
    return {
        "financing": _terms_of_loans(scenario, tape),
        "margin": scenario.margin,
        "sizer": sizer and WithinLimits(sizer, scenario.risk, scenario.account),
        "scenario": scenario,
        "run_id": header_of(scenario).run,
        "notes": scenario.caveats,
        "assumptions": (
            *(scenario.stress.words() if scenario.stress else ()),
            *(broker.words() if hasattr(broker, "words") else ()),
            *_lent(scenario),
        ),
    }


def _terms_of_loans(scenario: Scenario, tape: Tape) -> Financing:
    """What borrowing costs, under the stress of a scenario."""
    terms = scenario.financing
    for squeeze in scenario.stress.squeezed(tape, scenario.seed) if scenario.stress and len(tape) else ():
        terms = terms.squeezed(*squeeze)
    return terms


def _lent(scenario: Scenario) -> list[str]:
    """What the account's broker lends, and on what terms."""
    return [*scenario.financing.words(), *(scenario.margin.words() if scenario.account.kind == "margin" else ())]
