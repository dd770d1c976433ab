"""The commands of a market as it comes: `tradewind paper` trades a feed, `play` is one, and `replay` runs a paper session once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from simulator.errors import ScenarioError, SimulatorError

if TYPE_CHECKING:
    from threading import Event

    from simulator.feeds.live import Source
    from simulator.market.tape import Tape
    from simulator.paper import LiveSession

STRATEGY_HALTED: Final = 3
SIGNALLED: Final = 128

Name = Annotated[str, typer.Argument(metavar="SCENARIO", help="A .toml file, or the name of a bundled scenario.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as strategy.fast=10. May be given again and again.")
]


def paper(
    source: Name,
    feed: Annotated[
        str, typer.Option("--feed", metavar="URL", help="Where bars come from: ws://, wss://, redis://, a file, or - for standard input.")
    ],
    file: Annotated[Path, typer.Option("--journal", metavar="FILE", help="Keep the journal in this file.")],
    backfill: Annotated[
        str,
        typer.Option(
            "--backfill", metavar="URL", help="Where a websocket feed asks for bars that it missed, or none. By itself that of Alpaca, or the player."
        ),
    ] = "",
    trades: Annotated[bool, typer.Option("--trades", help="Make bars from trades, of the scenario's interval; for websocket feeds.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the journal of a session that was stopped, however it was.")] = False,
    grace: Annotated[float, typer.Option("--grace", metavar="SECONDS", help="How long an instant waits for its other bars.")] = 2.0,
    silent: Annotated[float, typer.Option("--silent", metavar="SECONDS", help="A feed that says nothing for so long raises an alarm.")] = 60.0,
    stale: Annotated[
        float, typer.Option("--stale", metavar="BARS", help="No market order where the last bar is older than so many intervals.")
    ] = 10.0,
    limit: Annotated[float, typer.Option("--limit", metavar="SECONDS", help="A strategy that takes longer for a bar is stopped.")] = 5.0,
    settings: Settings = None,
) -> None:
    """Trade a live feed on paper: a scenario's strategy, broker and limits, and a journal that survives whatever stops it.

    What the scenario's own feed has before the first live bar is the past that the strategy sees. Ctrl-C and SIGTERM stop after the bar that is being
    run. A strategy that raises or hangs is never called again, trading halts at the next bar as risk.on_halt says, and the command ends with 3.

    As long as there is a file FILE.kill, trading is halted; SIGUSR1 makes that file, SIGUSR2 takes it away. FILE.log tells in JSON lines what the
    feed did. A websocket feed takes its key and secret from APCA_API_KEY_ID and APCA_API_SECRET_KEY.
    """
    from shlex import join

    from simulator import assembly, scenarios, terminal
    from simulator.paper import Terms
    from simulator.paper import paper as trade

    terms = Terms(grace, silent, stale, limit)
    scenario = scenarios.load(source, settings or ())
    with scenarios.naming(source, settings or ()), stopping() as (stop, numbers), terminal.killing(assembly.kill_file(file)), screen() as watch:
        past = assembly.load(scenario, assembly.parts(scenario).feed)
        listened = source_of(feed, past, scenario.seed, trades=trades, backfill=backfill)
        with writing(Path(f"{file}.log")) as log:
            result, status = trade(scenario, listened, file, resume=resume, past=past, terms=terms, stopping=stop, log=log, watch=watch)
    console = terminal.console_of()
    terminal.labelled(
        console,
        [
            ("scenario", scenario.title),
            ("bars", f"{status.bars:,} live of {result.rows:,}"),
            ("fills", f"{len(result.fills):,}"),
            ("equity", f"{result.equity[-1]:,.2f} from {result.cash_start:,.2f}" if result.rows else f"{result.cash_start:,.2f}"),
            ("feed", ", ".join(f"{kind}: {count:,}" for kind, count in sorted(status.counts.items())) or "said nothing"),
            *([("", f"never connected: {status.why}")] if status.why and not status.counts["connected"] else []),
            *([("halted", status.failed)] if status.failed else []),
            ("journal", str(file)),
        ],
    )
    if not status.over:
        given = [f"--set={setting}" for setting in settings or ()]
        given += [
            *([f"--backfill={without_password(backfill)}"] if backfill else []),
            *(["--trades"] if trades else []),
            *([f"--stale={stale:g}"] if stale != 10.0 else []),
        ]
        again = join(["tradewind", "paper", source, f"--feed={without_password(feed)}", f"--journal={file}", "--resume", *given])
        console.print(f"to go on: {again}", soft_wrap=True)
    if status.failed:
        raise typer.Exit(STRATEGY_HALTED)
    if not status.over:
        raise typer.Exit(SIGNALLED + (numbers[0] if numbers else 0))


def play(
    source: Name,
    serve: Annotated[str, typer.Option("--serve", metavar="URL", help="Where to serve.")] = "ws://127.0.0.1:8765",
    speed: Annotated[float, typer.Option("--speed", metavar="N", help="How many times as fast as it did history passes; inf does not wait.")] = 600.0,
    backfill: Annotated[bool, typer.Option("--backfill/--no-backfill", help="Tell a client that comes back what it missed.")] = True,
    settings: Settings = None,
) -> None:
    """Play a scenario's bars as a live feed in the Alpaca dialect, so that everything can be tried on one machine.

    Time begins with the first subscription, and then goes on whoever listens. Ctrl-C ends it.
    """
    from urllib.parse import urlsplit

    from simulator import assembly, scenarios, terminal
    from simulator.feeds.player import Player
    from simulator.loop.clocks import PacedClock

    place = urlsplit(serve)
    try:
        port = place.port
    except ValueError:
        port = None
    if place.scheme != "ws" or not place.hostname or port is None:
        raise ScenarioError(f"--serve must be like ws://127.0.0.1:8765, was {serve!r}")
    scenario = scenarios.load(source, settings or ())
    with scenarios.naming(source, settings or ()), stopping() as (stop, _):
        tape = assembly.load(scenario, assembly.parts(scenario).feed)
        with Player(tape, PacedClock(speed, tape.interval), host=place.hostname, port=port, backfills=backfill) as player:
            terminal.console_of().print(f"playing {len(tape):,} bars at ws://{place.hostname}:{player.port}", soft_wrap=True)
            while not stop.wait(0.2):
                pass


def replay(
    kept: Annotated[Path, typer.Argument(metavar="JOURNAL", help="The journal file of `tradewind paper`.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Keep the run in this folder, which must be empty or not exist.")],
) -> None:
    """Run the bars of a paper session once more, as a backtest. `tradewind diff JOURNAL DIR` finds nothing."""
    from simulator import terminal
    from simulator.paper import replay as again
    from simulator.report import folders

    folders.check(out)
    result = again(kept)
    folders.write(result, out)
    terminal.labelled(
        terminal.console_of(),
        [
            ("bars", f"{result.rows:,}"),
            ("fills", f"{len(result.fills):,}"),
            ("equity", f"{result.equity[-1]:,.2f}" if result.rows else "none"),
            ("run folder", str(out)),
        ],
    )


@contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """A file to which lines are added."""
    try:
        with path.open("a", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise SimulatorError(f"cannot write the log {path}: {error.strerror or error}") from error


def source_of(url: str, tape: Tape, seed: int, *, trades: bool = False, backfill: str = "") -> Source:
    """The live feed at a URL, a path, or "-", of the instruments of *tape*; *backfill* is where a websocket feed asks for what it missed."""
    from urllib.parse import urlsplit

    from simulator.feeds.live import Lines
    from simulator.feeds.live_backfill import shown

    if "://" in url:
        try:
            known = urlsplit(url).scheme in ("ws", "wss", "redis") and urlsplit(url).hostname and (urlsplit(url).port or True)
        except ValueError:
            known = False
        if not known:
            raise ScenarioError(
                f"--feed must be like ws://host:port, wss://host/path or redis://host:port/0?stream=NAME, a file, or -, was {shown(url)!r}"
            )
    if url.startswith(("ws://", "wss://")):
        from simulator.feeds.live_backfill import backfill_of
        from simulator.feeds.live_websocket import Websocket, login
        from simulator.market.tape import DAY

        symbols, given = tuple(tape.index), login()
        # Of an interval that is under way a trade is missing for good: bars of trades have no back-fill.
        missed = None if trades else backfill_of(url, backfill, symbols, given, tape.interval, seed)
        return Websocket(url, symbols, given, daily=tape.interval >= DAY, trades=trades, backfill=missed, seed=seed)
    if url.startswith("redis://"):
        from simulator.feeds.live_redis import RedisStream

        return RedisStream(url, seed=seed)
    return Lines(url)


def without_password(url: str) -> str:
    """A URL to be printed: what was given as its password has to be given again."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    if not parts.password:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:PASSWORD@{parts.netloc.rpartition('@')[2]}"))


@contextmanager
def stopping() -> Iterator[tuple[Event, list[int]]]:
    """An event that Ctrl-C and SIGTERM set, and which of them came; the second time Ctrl-C stops what does not end."""
    import signal
    from threading import Event

    asked, numbers = Event(), list[int]()

    def stop(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        numbers.append(number)
        asked.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked, numbers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def screen() -> Iterator[Callable[[LiveSession], None] | None]:
    """The view of a session on a terminal; nothing where nobody watches."""
    from simulator import terminal

    console = terminal.console_of(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.live import Live

    from simulator.loop.clocks import WallClock
    from simulator.loop.journal import FILL, HALT
    from simulator.report.screen import newest, panel

    with Live(console=console, auto_refresh=False) as shown:
        last = 0.0

        def watch(live: LiveSession) -> None:
            nonlocal last
            if WallClock.seconds() - last > 0.25:
                last = WallClock.seconds()
                seen = panel(live.session, newest(live.rows, (FILL, HALT)), live.status.lines(last), live.status.peak, live.due)
                shown.update(seen, refresh=True)

        yield watch
