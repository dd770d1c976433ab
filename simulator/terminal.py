"""What the command line shows, and how: labels with values, tables and progress on a terminal, or the same as JSON or Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from simulator.loop.clocks import PacedClock
    from simulator.report.telling import Columns, Part


class Format(StrEnum):
    """How something is shown: as text for people, as JSON for machines, or as Markdown for notebooks."""

    TEXT = "text"
    JSON = "json"
    MD = "md"


def shown(parts: Iterable[Part], facts: Callable[[], Mapping[str, Any]], how: Format) -> None:
    """Print the same thing as text or as Markdown, which is made of *parts*, or as JSON, which is made of *facts*."""
    if how is Format.TEXT:
        explained(parts)
    elif how is Format.MD:
        print(markdown(parts), end="")
    else:
        print(json.dumps(facts(), indent=2, sort_keys=True, allow_nan=False))


def markdown(parts: Iterable[Part]) -> str:
    """Labels with their values as a list, and tables as tables."""
    from simulator.report.telling import Columns

    blocks: list[str] = []
    listed = False
    for part in parts:
        if isinstance(part, Columns):
            rows = [part.names, *part.rows]
            lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
            rule = "| " + " | ".join("---" if k in part.texts else "---:" for k in range(len(part.names))) + " |"
            blocks.append(f"**{part.title}**\n\n" + "\n".join([lines[0], rule, *lines[1:]]))
            listed = False
            continue
        label, value = part
        line = f"- **{label}**: {value}" if label else f"  {value}"
        if listed:
            blocks[-1] += f"\n{line}"
        else:
            blocks.append(line)
        listed = True
    return "\n\n".join(blocks) + "\n"


def plain(parts: Iterable[Part]) -> dict[str, Any]:
    """The same as JSON has it: values by their labels, and tables, each a list of rows by the names of their columns."""
    from simulator.report.telling import Columns

    found: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, Columns):
            found[part.title] = [dict(zip(part.names, row, strict=True)) for row in part.rows]
        else:
            found[part[0]] = part[1]
    return found


def console_of(stderr: bool = False) -> Console:
    """A console that prints what it is given: brackets in a title are brackets."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def labelled(console: Console, rows: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> None:
    """Print labels, each with its value beside it."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(label, value)
    console.print(table)


def explained(parts: Iterable[Part]) -> None:
    """Print labels with their values, and tables among them, with an empty line between."""
    from simulator.report.telling import Columns

    blocks: list[Columns | list[tuple[str, str]]] = []
    for part in parts:
        if isinstance(part, Columns):
            blocks.append(part)
        elif blocks and isinstance(blocks[-1], list):
            blocks[-1].append(part)
        else:
            blocks.append([part])
    console = console_of()
    for k, block in enumerate(blocks):
        if k:
            console.print()
        if isinstance(block, Columns):
            _columns(console, block)
        else:
            labelled(console, block)


def _columns(console: Console, columns: Columns) -> None:
    """A table under its title: numbers to the right."""
    from rich.table import Table

    if not columns.rows:
        console.print(f"{columns.title}: none")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for k, name in enumerate(columns.names):
        table.add_column(name, justify="left" if k in columns.texts else "right", overflow="fold")
    for row in columns.rows:
        table.add_row(*row)
    console.print(f"{columns.title}:")
    console.print(table)


@contextmanager
def stopping(clock: PacedClock) -> Iterator[None]:
    """Ctrl-C stops *clock*, which is between two bars; a second one stops a bar that does not end."""
    import signal

    def stop(number: int, frame: Any) -> None:
        if clock.stopping:
            raise KeyboardInterrupt
        clock.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def killing(file: Path) -> Iterator[None]:
    """SIGUSR1 makes *file*, which halts trading, and SIGUSR2 takes it away. Where there are no such signals only the file does."""
    import signal

    if not hasattr(signal, "SIGUSR1"):
        yield
        return
    before = {
        signal.SIGUSR1: signal.signal(signal.SIGUSR1, lambda number, frame: file.touch()),
        signal.SIGUSR2: signal.signal(signal.SIGUSR2, lambda number, frame: file.unlink(missing_ok=True)),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal's standard error; nothing where nobody watches."""
    console = console_of(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
