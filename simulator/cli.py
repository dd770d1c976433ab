"""The command line: `tradewind run` and `rehearse`; `check`, `list` and `prove`; `state`, `why` and `diff` of what was run; `trials`; `new`.

Nothing slow is imported before a command needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from simulator import cli_data, cli_live
from simulator.errors import ScenarioError, SimulatorError
from simulator.terminal import Format, console_of, explained, killing, labelled, plain, progress_bar, shown, stopping

if TYPE_CHECKING:
    from simulator.market.tape import Tape
    from simulator.scenarios import Scenario
    from simulator.sweeps import Store

USER_ERROR: Final = 2
LOOKS_AHEAD: Final = 1
DIFFERENT: Final = 1
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class Commands(TyperGroup):
    """All commands end here: a user's mistake is one line and not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SimulatorError as error:
            typer.echo(f"error: {' '.join(str(error).splitlines())}", err=True)
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt:
            typer.echo("interrupted: nothing was kept", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

Source = Annotated[str, typer.Argument(metavar="SCENARIO", help="A .toml file, or the name of a bundled scenario.")]
Kept = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a journal file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as strategy.fast=10. May be given again and again.")
]

How = Annotated[Format, typer.Option("--format", help="Show it as text, as JSON for machines, or as Markdown for notebooks.")]


def main() -> None:
    """The program. Whoever closes its output early, as `head` does, hears no complaint."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows another, rather than failing after the work is done.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


def _version(wanted: bool) -> None:
    if wanted:
        from simulator import __version__

        typer.echo(f"tradewind {__version__}")
        raise typer.Exit


@app.callback()
def tradewind(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Replay market history through a trading strategy, bar by bar, in a market that cannot be looked ahead in."""


@app.command()
def run(
    source: Source,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Keep the run in this folder, which must be empty or not exist.")] = None,
    settings: Settings = None,
    audit: Annotated[bool, typer.Option("--check", help="Check the books after every bar. Slower.")] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Run it again under each policy for the path inside a bar, and show what hangs on that.")
    ] = False,
    no_trial: Annotated[bool, typer.Option("--no-trial", help="Keep it out of the count of trials; that it was is written down.")] = False,
    how: How = Format.TEXT,
) -> None:
    """Run a scenario, and show what came of it.

    It counts as a trial of its strategy, in .tradewind/trials.sqlite beside the scenario (for a bundled one, in the current folder): the more were
    tried, the less the best of them proves. See `tradewind trials`.
    """
    from time import perf_counter

    from simulator import assembly, scenarios
    from simulator.kernels.compiled import is_cold
    from simulator.loop.clocks import FITTING
    from simulator.report import folders, ledger, outcomes

    scenario = scenarios.load(source, settings or ())
    if out is not None:
        folders.check(out)
    with scenarios.naming(source, settings or ()), progress_bar(scenario.name, "bars") as progress:
        if is_cold():
            console_of(stderr=True).print("compiling the rules of the market, once on this machine", style="dim")
            assembly.warm_up()
        tape = _tape(scenario)
        began, fitted = perf_counter(), FITTING.seconds
        result = assembly.run(scenario, tape=tape, check=audit, progress=progress)
        spent = outcomes.Spent(perf_counter() - began, FITTING.seconds - fitted)

    console = console_of()
    # What was stopped tried nothing to its end.
    standing = None if result.interrupted else ledger.take(result, counted=not no_trial)
    parts = [*outcomes.outcome(result, spent, standing)]
    if how is Format.TEXT:
        labelled(console, parts)
    doubt = None
    if uncertainty and not result.interrupted:
        with scenarios.naming(source, settings or ()), progress_bar("policies", "runs") as progress:
            doubt = assembly.uncertainty(scenario, result, progress)
        parts += outcomes.doubts(doubt)
        if how is Format.TEXT:
            console.print()
            labelled(console, outcomes.doubts(doubt))
    if how is not Format.TEXT:
        beside = {"trials": standing, "uncertainty": doubt}
        shown(parts, lambda: folders.summary(result) | {name: each and each.plain() for name, each in beside.items()}, how)
    if out is not None:
        folders.write(result, out, doubt, standing)
        if how is Format.TEXT:
            console.print(f"\nrun folder: {out}", soft_wrap=True)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)


@app.command()
def rehearse(
    source: Source,
    file: Annotated[Path, typer.Option("--journal", metavar="FILE", help="Keep the journal in this file.")],
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", help="How many times as fast as it did history passes, from 1 on; inf does not wait.")
    ] = 60.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the journal of a rehearsal that was stopped, however it was.")] = False,
    settings: Settings = None,
) -> None:
    """Rehearse a scenario: history at a pace, and a journal that survives whatever stops it.

    Between two bars at most one interval of theirs passes: nights, weekends, holidays and missing bars are skipped. Ctrl-C stops after the bar
    that is being run.

    As long as there is a file FILE.kill, trading is halted, and what is open is treated as risk.on_halt says. SIGUSR1 makes that file, SIGUSR2
    takes it away.
    """
    from shlex import join
    from time import perf_counter

    from simulator import assembly, scenarios
    from simulator.kernels.compiled import is_cold
    from simulator.loop.clocks import FITTING, PacedClock
    from simulator.report import ledger, outcomes

    scenario = scenarios.load(source, settings or ())
    with scenarios.naming(source, settings or ()), progress_bar(scenario.name, "bars") as progress:
        if is_cold():
            console_of(stderr=True).print("compiling the rules of the market, once on this machine", style="dim")
            assembly.warm_up()
        tape = _tape(scenario)
        clock = PacedClock(speed, tape.interval)
        began, fitted = perf_counter(), FITTING.seconds
        with stopping(clock), killing(assembly.kill_file(file)):
            result = assembly.rehearse(scenario, clock, file, resume=resume, tape=tape, progress=progress)
        spent = outcomes.Spent(perf_counter() - began, FITTING.seconds - fitted)

    console = console_of()
    standing = None if result.interrupted else ledger.look(result)
    labelled(console, outcomes.outcome(result, spent, standing))
    console.print(f"\njournal file: {file}", soft_wrap=True)
    if result.interrupted:
        given = [f"--set={setting}" for setting in settings or ()]
        again = join(["tradewind", "rehearse", source, f"--speed={speed:g}", f"--journal={file}", "--resume", *given])
        console.print(f"to go on: {again}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)


for command in (cli_live.paper, cli_live.play, cli_live.replay):
    app.command()(command)
app.add_typer(cli_data.data, name="data")


@app.command()
def sweep(
    source: Source,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUES", help="A key and what it takes: strategy.fast=5:50:5, =60,80,100, or one value. May be given again."
        ),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", metavar="NAME", help="What the best trial has most of.")] = "sharpe",
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="How many threads or processes share the work.")] = 1,
    random: Annotated[int | None, typer.Option("--random", metavar="N", help="Only so many trials of the grid, drawn by --seed.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Where --random starts.")] = 0,
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="ADDRESS", help="Share the work with the machines of this scheduler, such as tcp://10.0.0.5:6378.")
    ] = "",
    walk_forward: Annotated[
        str, typer.Option("--walk-forward", metavar="TRAIN:TEST", help="Choose on so many sessions, trade the next ones, and so on to the end.")
    ] = "",
    purge: Annotated[int, typer.Option("--purge", metavar="N", help="So many sessions lie between those to train and those to test.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep the trials here as they come; a sweep that was stopped goes on.")
    ] = None,
    no_trial: Annotated[bool, typer.Option("--no-trial", help="Keep its trials out of the count; that they were is written down.")] = False,
) -> None:
    """Run a scenario once for every combination of settings.

    A strategy that can state its decisions as arrays runs compiled, others bar by bar: the fills are the same. Trials that fail are listed. Each
    that does not is a trial of its strategy, as those of `tradewind run` are; a walk forward is one.
    """
    from simulator import sweeps
    from simulator.report import grids

    if not settings:
        raise ScenarioError("sweep needs something to vary: give --set KEY=VALUES, such as --set strategy.fast=5:50:5")
    trying = sweeps.grid([sweeps.axis(text) for text in settings], random, seed)
    if walk_forward:
        _walk(source, trying, walk_forward, purge, metric, workers, cluster, out, not no_trial)
        return
    if purge:
        raise ScenarioError(f"--purge is for --walk-forward, and was {purge} without it")
    with _stored(out, sweeps.plan_text(source, (), trying)) as store:
        with progress_bar(f"sweeping {source}", "trials") as progress:
            done = sweeps.sweep(source, trying, metric=metric, workers=workers, store=store, progress=progress, cluster=cluster)
        done = sweeps.judge(done, source, counted=not no_trial)
        if out is not None:
            grids.write(done, out)
    explained(grids.told(done))
    _kept(out, len(done.trials) == done.planned)


def _walk(
    source: str, trying: list[tuple[str, ...]], text: str, purge: int, metric: str, workers: int, cluster: str, out: Path | None, counted: bool
) -> None:
    """Walk forward."""
    from simulator import sweeps, walking
    from simulator.report import walks

    cut = walking.folds(text, purge)
    plan = walking.plan_text(sweeps.plan_text(source, (), trying), cut)
    with _stored(out, plan) as store:
        with progress_bar(f"walking {source} forward", "trials") as progress:
            walk = walking.walk_forward(source, trying, cut, metric=metric, workers=workers, store=store, progress=progress, cluster=cluster)
        walk = walking.judge(walk, source, trying, cut, counted=counted)
        if out is not None:
            walks.write(walk, out)
    explained(walks.told(walk))
    _kept(out, walk.done == walk.planned)


@contextmanager
def _stored(out: Path | None, plan: str) -> Iterator[Store | None]:
    """The file in which a sweep keeps its trials, if it is to keep any: whatever stops it, they are there."""
    from contextlib import closing

    from simulator import sweeps

    if out is None:
        yield None
        return
    out.mkdir(parents=True, exist_ok=True)
    with closing(sweeps.Store(out / "trials.db", plan)) as store:
        try:
            yield store
        except KeyboardInterrupt:
            _kept(out, False)


def _kept(out: Path | None, whole: bool) -> None:
    """Say where a sweep is, and how it goes on if it is not whole."""
    console = console_of()
    if out is not None:
        console.print(f"\nsweep folder: {out}", soft_wrap=True)
    if not whole:
        console.print("to go on: the same command again" if out else "nothing was kept: give --out DIR to be able to go on", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)


@app.command()
def stress(
    source: Source,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Keep stress.html and stress.json in this folder.")] = None,
    settings: Settings = None,
    how: How = Format.TEXT,
) -> None:
    """Run a scenario in worse markets, and show what came of it beside the plain run.

    A gap, wilder prices, correlations of one, thin volume, wide spreads, bars that are missing or late, a halt, a borrow squeeze, resampled
    histories, what [stress] of the scenario says, and the crises that its history holds. These are no trials. Ctrl-C keeps the runs that are done.
    """
    from simulator import scenarios, stresses
    from simulator.report import stresses as reports

    scenario = scenarios.load(source, settings or ())
    with scenarios.naming(source, settings or ()), progress_bar(f"stressing {scenario.name}", "runs") as progress:
        done = stresses.stress_test(scenario, progress=progress)
    if out is not None:
        reports.write(done, out)
    shown(reports.told(done), lambda: reports.plain(done), how)
    if out is not None and how is Format.TEXT:
        console_of().print(f"\nstress folder: {out}", soft_wrap=True)
    if len(done.runs) < done.planned:
        raise typer.Exit(INTERRUPTED)


@app.command()
def compare(
    kept: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Two run folders or more.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write a page with them side by side, which ends in .html.")] = None,
    how: How = Format.TEXT,
) -> None:
    """Put runs side by side: headline figures, equity, drawdowns, costs, and how their returns move together."""
    from simulator.report import comparisons

    found = comparisons.compare(kept)
    if out is not None:
        comparisons.write(found, out)
    shown(comparisons.told(found), lambda: comparisons.plain(found), how)
    if out is not None and how is Format.TEXT:
        console_of().print(f"\npage: {out}", soft_wrap=True)


@app.command()
def check(source: Source, settings: Settings = None) -> None:
    """Check a scenario and its data, and show what would run."""
    from simulator import scenarios
    from simulator.report import outcomes

    scenario = scenarios.load(source, settings or ())
    with scenarios.naming(source, settings or ()):
        tape = _tape(scenario)
    labelled(console_of(), outcomes.plan(scenario, tape))


@app.command("list")
def list_all() -> None:
    """List scenarios, strategies, brokers and feeds."""
    from simulator import plugins, scenarios

    console = console_of()
    for heading, rows in (
        ("scenarios", [(name, _title(path)) for name, path in scenarios.bundled().items()]),
        *((f"{word} plug-ins", [(name, _purpose(group, name)) for name in plugins.names(group)]) for group, word in plugins.WORDS.items()),
    ):
        if rows:
            console.print(f"{heading}:")
            labelled(console, [(f"  {name}", words) for name, words in rows])


@app.command()
def prove(
    source: Source,
    points: Annotated[int, typer.Option("--points", metavar="N", help="The number of moments whose future is replaced.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Keep the run, with its certificate, in this folder, which must be empty or not exist."),
    ] = None,
    settings: Settings = None,
) -> None:
    """Prove that a scenario does not look ahead.

    The future is replaced (by none, by noise, shuffled, with bars missing), and the past must not change. Ends with 1 if it does.
    """
    from simulator import assembly, scenarios
    from simulator.loop import prover
    from simulator.report import folders

    scenario = scenarios.load(source, settings or ())
    if out is not None:
        folders.check(out)
    with scenarios.naming(source, settings or ()), progress_bar(f"proving {scenario.name}", "points") as progress:
        base = prover.whole(assembly.run(scenario, tape=_tape(scenario)))
        certificate = prover.prove(scenario, points=points, progress=progress, base=base)
    console = console_of()
    console.print(certificate.words(), soft_wrap=True)
    if out is not None:
        folders.write(base, out, certificate=certificate)
        console.print(f"\nrun folder: {out}", soft_wrap=True)
    if not certificate.passed:
        raise typer.Exit(LOOKS_AHEAD)


@app.command()
def state(
    kept: Kept,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="A date, which means the end of that session, a date and time in UTC, or end.")
    ] = "end",
) -> None:
    """Show what a run held at some time.

    That is cash, equity, positions, open orders with what they wait for, and halts. RUN is the folder of `run --out`, or the journal file of
    `rehearse`, be that finished, stopped, killed or still going on.
    """
    from simulator.report import explain, records

    record = records.read(kept)
    explained(explain.state(record, records.load_tape(record), at))


@app.command()
def why(kept: Kept, order: Annotated[str, typer.Argument(metavar="ORDER", help="The id of an order, or its client_id.")]) -> None:
    """Tell the story of an order.

    That is its decision, checks, waits bar by bar, fills, end and costs. A number is taken for an id first, and for a client_id if there is no
    such id.
    """
    from simulator.report import explain, records

    record = records.read(kept)
    wanted = explain.find_order(record, order)
    explained(explain.story(record, records.load_tape(record), wanted))


@app.command()
def diff(
    first: Kept,
    second: Annotated[Path, typer.Argument(metavar="RUN", help="Another.")],
) -> None:
    """Find where two runs part, and what fed it.

    Ends with 0 if all events and client_ids agree and both runs went equally far, else with 1. What differs only in the scenario, the code or the
    bars, and changed no event, is a note.
    """
    from simulator.report import differences, records

    runs = records.read(first), records.read(second)
    explained(differences.difference(*runs))
    if differences.compare(*runs):
        raise typer.Exit(DIFFERENT)


@app.command()
def trials(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="A folder, a scenario, or the ledger itself; the current folder where it is left out.")
    ] = ".",
    family: Annotated[str, typer.Option("--family", metavar="NAME", help="Show each trial of this strategy.")] = "",
    how: How = Format.TEXT,
) -> None:
    """Show how many times each strategy was tried, and what the best of so many would show without skill.

    The numbers are Sharpe ratios a year.
    """
    from simulator.report import ledger

    parts = list(ledger.told(ledger.find(place), family))
    shown(parts, lambda: plain(parts), how)


@app.command()
def new(name: Annotated[str, typer.Argument(metavar="NAME", help="The package's name, and its folder's.")]) -> None:
    """Begin a strategy package of your own.

    It has a strategy, a scenario that runs it, and a test that it does not look ahead.
    """
    from simulator import scaffold

    folder = scaffold.write(name, Path())
    console_of().print(
        f"made {folder}{os.sep}: its README.md says how to go on, which is to begin with:\n\n{scaffold.commands(name)}", soft_wrap=True
    )


def _tape(scenario: Scenario) -> Tape:
    """The bars of a scenario. One that has none cannot be run."""
    from simulator import assembly, scenarios

    tape = assembly.load(scenario, scenarios.check(scenario).feed)
    if not len(tape):
        raise ScenarioError(f"its feed '{scenario.feed.name}' has no bars: widen its dates, or name another source")
    return tape


def _title(path: Path) -> str:
    from simulator import scenarios

    try:
        return scenarios.load(path).title
    except SimulatorError as error:
        return f"cannot be run: {error}"


def _purpose(group: str, name: str) -> str:
    """The first sentence of a plug-in's docstring."""
    import re

    from simulator import plugins

    try:
        words = " ".join((plugins.find(group, name, Path()).__doc__ or "").replace("*", "").split())
    except SimulatorError as error:
        return f"cannot be loaded: {error}"
    return re.split(r"(?<=[.]) (?=[A-Z])", words)[0]


if __name__ == "__main__":
    main()
