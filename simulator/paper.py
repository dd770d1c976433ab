"""Paper trading: bars as they come, through the same step, broker, limits and journal as a replay; and a replay of what came.

A session begins at its first live bar. What the scenario's own feed has up to there is the past that indicators and strategy see, and nothing is
traded in it. Every bar of either kind is in the journal file (loop.recording), so that `replay` needs nobody else's data.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from simulator import assembly, scenarios
from simulator.errors import DataError, ScenarioError
from simulator.feeds.live import LOOK_SECONDS, BarMessage, Gathering, Ignored, Row, Said, Source, parse, parse_trade
from simulator.loop import recording
from simulator.loop.agenda import Agenda
from simulator.loop.clocks import WallClock
from simulator.loop.corporate import CorporateActions
from simulator.loop.guard import Either, Guarded
from simulator.loop.journal import MemoryJournal
from simulator.loop.recording import FAILED, SETTINGS, Recording
from simulator.loop.session import Session, step
from simulator.loop.store import SqliteJournal
from simulator.loop.switches import FileSwitch, RecordedSwitch
from simulator.market.tape import SECOND, Bars, Tape
from simulator.ports import Journal, Switch
from simulator.report import records
from simulator.report.results import Result
from simulator.risk.fresh import Fresh
from simulator.scenarios import Scenario

if TYPE_CHECKING:
    from simulator.book.orders import Due

QUEUED: Final = 1_000
"""So many lines or frames may wait for the loop; then the source waits."""
FOREVER: Final = 2**63 - 1
PAST_SECONDS: Final = 7 * 86_400.0
"""A feed whose bars are this late plays what has been."""


@dataclass(frozen=True)
class Terms:
    """How a live session treats its feed and its strategy.

    An instant whose bars have not all come is run *grace_seconds* after its first one. A feed that says nothing for *silent_seconds* raises an alarm.
    Market orders in an instrument whose last bar closed more than *stale_bars* intervals ago are refused. One call of the strategy may take
    *strategy_seconds*.
    """

    grace_seconds: float = 2.0
    silent_seconds: float = 60.0
    stale_bars: float = 10.0
    strategy_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0.0:
                raise ScenarioError(f"{name} must be above 0, was {getattr(self, name)!r}")


@dataclass
class Status:
    """How the feed of a live session does: for the terminal, and for what is said at the end."""

    connected: bool = False
    why: str = ""
    silent: bool = False
    over: bool = False
    bars: int = 0
    heard_at: float = 0.0
    lag_seconds: float = 0.0
    peak: float = 0.0
    failed: str = ""
    counts: Counter[str] = field(default_factory=Counter)

    def lines(self, now: float) -> list[tuple[str, str]]:
        """How the feed does, as labels and values; *now* in seconds of the wall clock."""
        state = "connected" if self.connected else f"not connected{f' ({self.why})' if self.why else ''}"
        heard = f"heard {now - self.heard_at:,.0f} s ago{', silent' if self.silent else ''}, "
        heard += f"lag {self.lag_seconds:,.1f} s" if self.lag_seconds < PAST_SECONDS else "its bars are of the past"
        said = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.counts.items()))
        return [("feed", f"{state}, {self.bars:,} bars, {heard}"), ("said", said), *([("halted", self.failed)] if self.failed else [])]


class Log:
    """One JSON object a line: when it was on the wall, the close of the last bar, what kind, and words."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file

    def write(self, at: int, kind: str, words: str) -> None:
        """Write one line, and have it out."""
        if self._file:
            self._file.write(json.dumps({"wall": WallClock.wall(), "at": at, "kind": kind, "words": words}) + "\n")
            self._file.flush()


class LiveSession:
    """A session over bars that come one by one. Made by `paper`; *watch* of it may look at all that is public, and changes nothing."""

    def __init__(self, scenario: Scenario, journal: SqliteJournal, terms: Terms, log: Log, path: Path, past: Tape | None) -> None:
        self.status, self._log, self._journal = Status(), log, journal
        made = assembly.parts(scenario)
        self._past = assembly.load(scenario, made.feed) if past is None else past
        self.tape = self._past.cut(0)
        self._recording = Recording(journal)
        found = self._recording.found
        if not found.said:
            settings = {"stale_bars": terms.stale_bars}
            self._recording.say(0, SETTINGS, json.dumps(settings))
            self._recording.commit()
        elif found.settings["stale_bars"] != terms.stale_bars:
            raise ScenarioError(f"stale_bars was {found.settings['stale_bars']:g} when this journal was begun, and is {terms.stale_bars:g} now")
        # What is recorded was within the limit then, however long it takes now.
        guard = Guarded(made.strategy, inf, found.failed_at, self._failed)
        self.status.failed = next((x.words for x in found.said if x.kind == FAILED), "")
        through = max(journal.reached, found.bars[-1].closed_at if found.bars else 0)
        switch = RecordedSwitch(journal.committed, through, Either(FileSwitch(assembly.kill_file(path)), guard))
        self.session, self._cursor = _assembled(
            scenario, made, self._past, self.tape, guard, switch, terms.stale_bars, WallClock(), journal, growing=True
        )
        self.first = found.history
        for k, bar in enumerate(found.bars):
            self._append(bar.closed_at, bar.opened_at, bar.session, bar.fields)
            if k + 1 == self.first:
                _pass_over(self.session, bar.session)
            if k >= self.first:
                self._step()
        guard.seconds = terms.strategy_seconds
        self._switch, self._killed = FileSwitch(assembly.kill_file(path)), False
        self.due: list[Due] = []
        self._told, self._behind, self._ran_at = 0, FOREVER, 0.0
        # The last close of which a bar was seen before a connection that does not tell what was missed; and whether bars are made of trades.
        self._seen, self._of_trades = 0, False
        self._recording.found = recording.Recorded([], self.first, [], b"")
        self.gathering = Gathering(self.tape)

    @property
    def rows(self) -> bytearray:
        """The rows of the journal so far."""
        return self._journal.memory.rows

    @property
    def reached(self) -> int:
        """The close of the last bar that reached the loop, in UTC nanoseconds; 0 for none."""
        return self.tape.ats[self.tape.rows - 1] if self.tape.rows else 0

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take one message of the feed."""
        try:
            if message["T"] == "bad":
                raise DataError(str(message["words"]))
            self._of_trades = message["T"] == "t"
            said = parse_trade(message, self.tape) if self._of_trades else self._bar(message)
        except DataError as error:
            self.say("bad", str(error))
            return
        row, ignored = self.gathering.take(said)
        if row is not None:
            self.run(row)
            if row.closed_at < said.closed_at:
                row, ignored = self.gathering.take(said)
                if row is not None:
                    self.run(row)
        if ignored is not None:
            self.ignore(ignored)

    def connect(self, *, backfilled: bool) -> None:
        """There is a new connection. What waited comes again, whole, where it is *backfilled*; else what was missed does not come."""
        if backfilled:
            self.gathering.forget()
        self._seen = 0 if backfilled else self.gathering.reached
        if self._of_trades and self._seen:
            self.say("gap", f"trades may be missing from the bar that closes at {self._seen} on")
            self._seen = 0

    def _bar(self, message: Mapping[str, Any]) -> BarMessage:
        """The bar in a message. That of a day is told again and again while the day goes on."""
        bar = parse(message, self.tape)
        running = message["T"] == "d" and bar.closed_at > WallClock.wall()
        return bar._replace(updated=True, running=True) if running else bar

    def run(self, row: Row) -> None:
        """Take the bars of one instant through the system, and have them and all that they caused on the disk."""
        if not self.tape.rows:
            self._begin(row.opened_at)
        elif self._behind < FOREVER:
            self._look(row.closed_at - 1)
        self.due, self._told = [], 0
        self._recording.bar(*row, live=True)
        self._append(*row)
        self._step()
        self._recording.commit()
        if self._seen and row.closed_at > self._seen:
            if row.opened_at > self._seen:
                self.say("gap", f"bars between {self._seen} and {row.opened_at} are not known, and do not come")
            self._seen = 0
        self.status.bars += 1
        self.status.peak = max(self.status.peak, self.session.portfolio.equity)
        self._behind, self._ran_at = WallClock.wall() - row.closed_at, WallClock.seconds()
        self.status.lag_seconds = self._behind / 1e9

    @property
    def now(self) -> int:
        """What time it is for the feed, in UTC nanoseconds: that of the wall, or where the last bar was of the past already, the time since then on
        top of its close. 0 before the first bar.
        """
        if self._behind == FOREVER:
            return 0
        if 0 <= self._behind <= self.tape.interval:
            return WallClock.wall()
        return self.reached + int((WallClock.seconds() - self._ran_at) * SECOND)

    def beat(self) -> None:
        """What happens between bars, by the wall clock: what is under way arrives, schedules send their slices, orders live their time.

        It is told now (`due`, and the log), and in the session it counts with the bar that comes next, as in a replay. So does a kill switch.
        """
        if self._behind < FOREVER:
            self._look(self.now)
        if self._switch.thrown(self.reached) != self._killed:
            self._killed = not self._killed
            self.say("kill", f"{self._switch.path} is {'there: trading halts with' if self._killed else 'gone: trading goes on with'} the next bar")
        self._recording.tidy()

    def _look(self, at: int) -> None:
        if hasattr(self.session.broker, "ahead"):
            self.due = self.session.broker.ahead(at)
            for due in self.due[self._told :]:
                self._log.write(due.at, due.kind, due.words)
            self._told = len(self.due)

    def say(self, kind: str, words: str) -> None:
        """Put something about the feed into journal and log."""
        self.status.counts[kind] += 1
        self._recording.say(self.reached, kind, words)
        self._recording.commit()
        self._log.write(self.reached, kind, words)

    def ignore(self, ignored: Ignored) -> None:
        """Journal a bar that does not reach the loop."""
        self.say(ignored.kind, f"bar of {ignored.at}: {ignored.words}")

    def _begin(self, opened_at: int) -> None:
        """The past is what closed before the first live bar opened."""
        past = self._past
        self.first = int(np.searchsorted(past.closed_at[: past.rows], opened_at, side="right"))
        for k in range(self.first):
            fields = np.array([getattr(past, name)[k] for name in ("open", "high", "low", "close", "volume")])
            row = int(past.closed_at[k]), int(past.opened_at[k]), int(past.sessions[k]), fields
            self._recording.bar(*row, live=False)
            self._append(*row)
        if self.first:
            _pass_over(self.session, int(past.sessions[self.first - 1]))

    def _append(self, closed_at: int, opened_at: int, session: int, fields: np.ndarray) -> None:
        o, h, low, c, volume = fields
        self.tape.append(closed_at, o, h, low, c, volume, opened_at, session)

    def _step(self) -> None:
        cursor = self._cursor
        cursor.row, cursor.closed_at = self.tape.rows - 1, self.reached
        step(self.session, cursor)

    def _failed(self, at: int, words: str) -> None:
        self.status.failed = words
        self._recording.say(at, FAILED, words)
        self._log.write(at, FAILED, f"{words}; trading halts")


def paper(
    scenario: Scenario,
    source: Source,
    path: Path,
    *,
    resume: bool = False,
    past: Tape | None = None,
    terms: Terms | None = None,
    stopping: Event | None = None,
    log: IO[str] | None = None,
    watch: Callable[[LiveSession], None] | None = None,
) -> tuple[Result, Status]:
    """Trade the bars of *source* with a scenario's strategy, broker and limits, its journal in the file *path*, until it is over or *stopping* is
    set.

    With *resume* it goes on with the journal of a session that was stopped, however it was: what is recorded is run again at once and compared. As
    long as there is a file FILE.kill beside the journal trading is halted. *past* stands in for what the scenario's feed would load. *watch* is
    called with the session after each line or frame, and a few times a second. Raises what `SqliteJournal` raises, and what the source fails with for
    good.
    """
    terms, stopping = terms or Terms(), stopping or Event()
    ended = Event()
    queue: Queue[Any] = Queue(QUEUED)
    with SqliteJournal(path, assembly.header_of(scenario), resume=resume) as journal:
        live = LiveSession(scenario, journal, terms, Log(log), path, past)
        thread = Thread(target=_listen, args=(source, queue, live, ended), daemon=True)
        live.status.heard_at = WallClock.seconds()
        thread.start()
        try:
            with _unhurried_collection():
                _listened(live, queue, terms, stopping, watch)
        finally:
            ended.set()
            thread.join(5.0)
        if live.status.over:
            journal.finish(live.tape.digest(), len(live.tape))
        return _result(scenario, live.session, live.tape, journal.memory), live.status


@contextmanager
def _unhurried_collection() -> Iterator[None]:
    """What is there by now stays: the garbage collector need not look at it again, which would hold up a bar for tens of milliseconds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _listen(source: Source, queue: Queue[Any], live: LiveSession, ended: Event) -> None:
    """What the source's thread does."""

    def put(item: Any) -> None:
        while not ended.is_set():
            try:
                queue.put(item, timeout=LOOK_SECONDS)
                return
            except Full:
                continue

    try:
        source.run(put, lambda: live.reached, ended)
    except Exception as error:
        put(error)


def _listened(live: LiveSession, queue: Queue[Any], terms: Terms, stopping: Event, watch: Callable[[LiveSession], None] | None) -> None:
    """The loop around the loop: bars when they come, and a heartbeat while none does."""
    status, waiting_since, beaten_at = live.status, 0.0, 0.0
    while not stopping.is_set() and not status.over:
        try:
            item = queue.get(timeout=LOOK_SECONDS)
        except Empty:
            item = None
        now = WallClock.seconds()
        if isinstance(item, Exception):
            raise item
        if isinstance(item, Said):
            status.connected = item.kind in ("connected", "over")
            status.why = "" if status.connected else item.words
            if item.kind == "connected":
                live.connect(backfilled=item.backfilled)
            if item.kind == "over":
                if live.gathering.is_waiting:
                    live.run(live.gathering.let_go())
                status.over = True
            live.say(item.kind, item.words)
        elif item is not None:
            if status.silent:
                status.silent = False
                live.say("heard", "the feed speaks again")
            status.heard_at = now
            for message in item:
                at, waited = live.tape.rows, live.gathering.is_waiting
                live.hear(message)
                if not waited or live.tape.rows > at or message["T"] == "t":
                    waiting_since = now
        elif not status.silent and now - status.heard_at > terms.silent_seconds:
            status.silent = True
            live.say("stale", f"the feed has said nothing for {terms.silent_seconds:g} s: nothing is decided until it does")
        patient = live.gathering.is_waiting and (now - waiting_since <= terms.grace_seconds or not queue.empty())
        if live.gathering.is_waiting and not patient and live.gathering.is_due(WallClock.wall() - int(terms.grace_seconds * SECOND)):
            live.run(live.gathering.let_go())
        if item is None or now - beaten_at > LOOK_SECONDS:
            beaten_at = now
            live.beat()
        if watch:
            watch(live)


def replay(path: Path) -> Result:
    """Run what a live session recorded once more, as a backtest over a tape that is all there. Its journal has the same rows.

    Raises DataError where the file is damaged or of no live session, ScenarioError where the plug-ins are not there any more as they were.
    """
    kept = records.read(path)
    found = recording.read(path)
    assert kept.header is not None
    scenario = scenarios.read_back(kept.header.scenario, records.folders_of(path))
    made = assembly.parts(scenario)
    past = assembly.load(scenario, made.feed)
    tape = recording.tape_of(found.bars, past)
    guard = Guarded(made.strategy, inf, found.failed_at, lambda at, words: None)
    switch = RecordedSwitch(kept.journal, FOREVER, guard)
    journal = MemoryJournal(assembly.header_of(scenario).text)
    stale_bars = float(found.settings.get("stale_bars", inf))
    session, bars = _assembled(scenario, made, past, tape, guard, switch, stale_bars, WallClock(), journal, growing=False)
    if found.history:
        _pass_over(session, int(tape.sessions[found.history - 1]))
    for bars.row in range(found.history, len(tape)):
        bars.closed_at = tape.ats[bars.row]
        try:
            step(session, bars)
        except Exception as error:
            raise assembly.blame(error, made.strategy, session) from error
    return _result(scenario, session, tape, journal)


def _assembled(
    scenario: Scenario,
    made: scenarios.Parts,
    past: Tape,
    tape: Tape,
    guard: Guarded,
    switch: Switch,
    stale_bars: float,
    clock: WallClock,
    journal: Journal,
    *,
    growing: bool,
) -> tuple[Session, Bars]:
    about = assembly.about_of(scenario, made.broker, past)
    session, feed = assembly.assemble(
        tape,
        guard,
        broker=made.broker,
        account=scenario.account,
        limits=scenario.risk,
        growing=growing,
        clock=clock,
        journal=journal,
        switch=switch,
        **{name: about[name] for name in assembly.TERMS},
    )
    guard.ids = session.view.ids
    assert not isinstance(session.risk, Fresh)
    session.risk = Fresh(session.risk, int(min(stale_bars * tape.interval, FOREVER)))
    return session, feed.bars


def _pass_over(session: Session, day: int) -> None:
    """Corporate actions up to this session are of the past: nothing was held then."""
    calendar = session.calendar
    for part in calendar.parts if isinstance(calendar, Agenda) else (calendar,):
        if isinstance(part, CorporateActions):
            part.skip(day)


def _result(scenario: Scenario, session: Session, tape: Tape, journal: MemoryJournal) -> Result:
    about = assembly.about_of(scenario, assembly.parts(scenario).broker, tape)
    about = {name: told for name, told in about.items() if name not in assembly.TERMS}
    waiting = session.broker.waiting() if hasattr(session.broker, "waiting") and len(tape) else []
    notes = (*about.pop("notes", ()), *tape.truth.caveats, *tape.notes)
    return Result(tape, journal, scenario.account.cash, len(tape), still_waiting=waiting, notes=notes, plots=session.view.plots, **about)
