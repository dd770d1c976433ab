"""The commands of data: `tradewind data convert`, `check` and `describe`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from simulator.errors import ScenarioError
from simulator.terminal import Format, console_of, plain, progress_bar, shown

data = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, help="Convert, check and describe bars.")


class By(StrEnum):
    """What a dataset is cut by."""

    DATE = "date"
    SYMBOL = "symbol"


class Side(StrEnum):
    """The side of a bar that its stamp is on."""

    OPEN = "open"
    CLOSE = "close"


class Volume(StrEnum):
    """What the volume counts."""

    SHARES = "shares"
    NONE = "none"


class Opens(StrEnum):
    """What the opens are."""

    TRADED = "traded"
    PREVIOUS_CLOSE = "previous_close"
    CLOSE_ONLY = "close_only"


class Bad(StrEnum):
    """What becomes of bars that cannot be true."""

    REFUSE = "refuse"
    SKIP = "skip"


Place = Annotated[Path, typer.Argument(metavar="DATASET", help="The folder of a dataset.")]


@data.command()
def convert(
    paths: Annotated[list[Path], typer.Argument(metavar="IN... OUT", help="CSV and Parquet files, or folders of them; and the dataset's folder.")],
    by: Annotated[By, typer.Option("--by", help="Cut it by month, or by symbol.")] = By.DATE,
    stamps: Annotated[Side | None, typer.Option("--stamps", help="The side of a bar that its time is on.")] = None,
    interval: Annotated[str | None, typer.Option("--interval", metavar="LENGTH", help="How long a bar is, such as 5m.")] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="The zone of times that carry none; UTC unless it is given.")
    ] = None,
    hours: Annotated[str | None, typer.Option("--hours", metavar="HOURS", help="'09:30-16:00 America/New_York', or an exchange: XNYS.")] = None,
    symbol: Annotated[
        str | None, typer.Option("--symbol", metavar="NAME", help="Of files without a column of symbols, unless their names say it.")
    ] = None,
    tick: Annotated[str, typer.Option("--tick", metavar="SIZE", help="The price grid; 0 for none.")] = "0.01",
    lot: Annotated[str, typer.Option("--lot", metavar="SIZE", help="The least quantity.")] = "1",
    volume: Annotated[Volume, typer.Option("--volume", help="What the volume counts.")] = Volume.SHARES,
    adjusted: Annotated[bool, typer.Option("--adjusted", help="Splits and dividends are worked into the prices.")] = False,
    opens: Annotated[Opens, typer.Option("--opens", help="What the opens are.")] = Opens.TRADED,
    on_bad_bar: Annotated[Bad, typer.Option("--on-bad-bar", help="Refuse bars that cannot be true, or skip and list them.")] = Bad.REFUSE,
    columns: Annotated[list[str] | None, typer.Option("--column", metavar="NAME=COLUMN", help="Our name for the files' column: close=Last.")] = None,
    currencies: Annotated[list[str] | None, typer.Option("--currency", metavar="SYMBOL=CODE", help="Of a symbol that is not in dollars.")] = None,
    rates: Annotated[list[str] | None, typer.Option("--rate", metavar="SYMBOL", help="A symbol that is a rate of exchange: EURUSD.")] = None,
) -> None:
    """Make a dataset of files of bars, by the checks of the feed `files`.

    One file is in memory at a time. The dataset is there whole, or not at all. What files cannot say themselves is declared, as in a scenario.
    """
    from simulator.feeds.conversion import convert as write
    from simulator.feeds.frames import Declared

    if len(paths) < 2:
        raise ScenarioError("data convert needs files, or folders of them, and the folder that the dataset is to be: IN... OUT")
    declared = Declared(
        stamps=stamps,
        interval=interval,
        timezone=timezone,
        hours=hours,
        tick=tick,
        lot=lot,
        volume=volume.value,
        adjusted=adjusted,
        opens=opens.value,
        on_bad_bar=on_bad_bar.value,
        columns=_pairs(columns, "--column"),
        currencies=_pairs(currencies, "--currency"),
        rates=tuple(rates or ()),
        key="--",
    )
    with progress_bar("converting", "files") as progress:
        made = write(paths[:-1], paths[-1], declared, by=by.value, symbol=symbol, progress=progress)
    console = console_of()
    for note in made.notes[:12]:
        console.print(note, soft_wrap=True)
    if len(made.notes) > 12:
        console.print(f"... and {len(made.notes) - 12:,} more notes, in its dataset.json")
    console.print(f"dataset: {paths[-1]} ({made.bars:,} bars of {len(made.instruments):,} symbols, by {made.by})", soft_wrap=True)


@data.command()
def check(place: Place) -> None:
    """Read a whole dataset, and say whether it is what it says.

    That is each file's SHA-256, its columns and rows, the truth and the order of its bars, and that each instant has some.
    """
    from simulator.feeds.inspection import check as look

    with progress_bar(f"checking {place}", "files") as progress:
        found = look(place, progress)
    words = f"{len(found.parts) + 1:,} files, {found.bars:,} bars of {len(found.instruments):,} symbols at {found.rows:,} instants"
    console_of().print(f"{place} is what it says: {words}", soft_wrap=True)


@data.command()
def describe(
    place: Annotated[Path, typer.Argument(metavar="PATH", help="A dataset, a file of bars, or a folder of them.")],
    how: Annotated[Format, typer.Option("--format", help="Show it as text, as JSON for machines, or as Markdown for notebooks.")] = Format.TEXT,
) -> None:
    """Show what is in a dataset or in files of bars: symbols, bars, times, what is missing, and what was declared."""
    from simulator.described import describe as tell

    parts = tell(place)
    shown(parts, lambda: plain(parts), how)


def _pairs(given: list[str] | None, option: str) -> dict[str, str] | None:
    """NAME=VALUE, each."""
    if not given:
        return None
    for pair in given:
        if "=" not in pair:
            raise ScenarioError(f"{option} must be NAME=VALUE, was {pair!r}")
    return dict(pair.split("=", 1) for pair in given)
