"""What came of a stress test, to read, to keep and to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from simulator.report import drawing, words
from simulator.report.drawing import Line
from simulator.report.markup import document, itemised, note, section, table
from simulator.report.telling import Columns, Part

if TYPE_CHECKING:
    from simulator.stresses import Endured, StressTest

HEADS: Final = ("", "Final equity", "Return", "Drawdown", "Sharpe", "Fills", "Refused", "Halts", "Forced")
COUNTS: Final = HEADS.index("Fills") + 1
"""From here on a column is left out where it is all zeros."""
FORCED: Final = "Forced are orders that the account’s broker sent or cancelled by itself: margin calls, recalls, bankruptcy."
NO_CRISIS: Final = "This history holds no crisis that has a name here."


def told(done: StressTest) -> Iterator[Part]:
    """A stress test in words and tables."""
    yield "scenario", f"{done.scenario}: {done.title}" if done.title != done.scenario else done.scenario
    yield "runs", f"{len(done.runs):,} of {done.planned:,}"
    yield _columns("under stress", [_row(run) for run in done.runs if not run.error])
    if done.crises:
        yield _columns("the plain run in crises", [_row(run) for run in done.crises])
    else:
        yield "crises", NO_CRISIS
    yield from (("not run", f"{run.name}: {run.error}") for run in done.runs if run.error)


def _columns(title: str, rows: list[tuple[str, ...]]) -> Columns:
    """The table without the counts that are 0 in every row: a terminal is narrow."""
    kept = [k for k in range(len(HEADS)) if k < COUNTS or any(row[k] != "0" for row in rows)]
    return Columns(title, tuple(HEADS[k].lower() for k in kept), [tuple(row[k] for k in kept) for row in rows])


def _row(run: Endured) -> tuple[str, ...]:
    figures = words.money(run.end), words.percent(run.returned.value), words.percent(run.drawdown.value), words.ratio(run.sharpe.value)
    return (run.name, *figures, *(f"{count:,}" for count in (run.fills, run.refused, run.halts, run.forced)))


def plain(done: StressTest) -> dict[str, Any]:
    """The same as JSON has it: what is undefined is null."""

    def facts(run: Endured) -> dict[str, Any]:
        if run.error:
            return {"name": run.name, "words": list(run.words), "error": run.error}
        measured = {"return": run.returned, "max_drawdown": run.drawdown, "sharpe": run.sharpe}
        return {
            "name": run.name,
            "words": list(run.words),
            "equity": run.end,
            **{name: each.value if np.isfinite(each.value) else None for name, each in measured.items()},
            **{name: getattr(run, name) for name in ("fills", "refused", "halts", "forced")},
        }

    runs, crises = ([facts(run) for run in some] for some in (done.runs, done.crises))
    return {"scenario": done.scenario, "title": done.title, "planned": done.planned, "runs": runs, "crises": crises}


def write(done: StressTest, folder: Path) -> None:
    """Keep a stress test as `stress.json` and `stress.html`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("stress.json", json.dumps(plain(done), indent=2, allow_nan=False) + "\n"), ("stress.html", page(done))):
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(folder / name)


def page(done: StressTest) -> str:
    """One self-contained page without scripts: the table, each run beside the plain one, the crises, and what each stress is."""
    ran = [run for run in done.runs if not run.error]
    stopped = "" if len(done.runs) == done.planned else f" It was stopped after {len(done.runs):,} of {done.planned:,} runs."
    lede = f"{done.title}: the same strategy, account and costs in {words.count(len(ran) - 1, 'worse market')}.{stopped}"
    start = float(done.plain.equity[0])
    body = (
        f'<header>\n<p class="over">Stress test</p>\n<h1>{escape(done.scenario)}</h1>\n<p class="lede">{escape(lede)}</p>\n</header>',
        section("Under stress", table(HEADS, [_row(run) for run in ran]) + note(f"Starting capital {words.money(start)}, after all costs.", FORCED)),
        section("Each beside the plain run", _panels(done.plain, ran[1:])),
        section(
            "The plain run in crises",
            table(("", "Sessions", *HEADS[1:]), [(row[0], _dates(run), *row[1:]) for run, row in ((run, _row(run)) for run in done.crises)], 2)
            + note("What the plain run did on those days, having lived through all before; equity at the last of them.")
            if done.crises
            else f"<p>{NO_CRISIS}</p>",
        ),
        section(
            "What each is", itemised([f"{run.name}: {' '.join(x.removeprefix('Stress: ') for x in run.words)}" for run in done.runs if run.words])
        ),
        section("Not run", itemised([f"{run.name}: {run.error}" for run in done.runs if run.error])) if len(ran) < len(done.runs) else "",
    )
    return document(f"Stress test of {done.scenario}", body, drawing.PLOT_STYLE)


def _dates(run: Endured) -> str:
    return f"{words.date(int(run.days[1]))} to {words.date(int(run.days[-1]))}"


def _panels(plain: Endured, runs: Sequence[Endured]) -> str:
    """Small charts, one a run, with the plain run in each."""
    before = Line("as it is", plain.days, plain.equity, "benchmark")
    figures = []
    for run in runs:
        lines = [before, Line(run.name, run.days, run.equity, "line")]
        chart = drawing.plot(lines, f"Equity over time, {run.name}, beside the plain run", words.short, log=True, x_ticks=3, y_ticks=4)
        figures.append(f"<figure><figcaption>{escape(run.name)}<span>{words.money(run.end)}</span></figcaption>{chart}</figure>")
    if not figures:
        return ""
    lines = [Line("under stress", plain.days, plain.equity, "line"), before]
    return f'{drawing.key(lines)}<div class="panels">{"".join(figures)}</div>'
