"""What came of a sweep, to read, to keep and to look at: the best trials, a heat map, and how much hangs on each key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from simulator.report.telling import Columns, Part
from simulator.report.template import HEAD, STYLE

if TYPE_CHECKING:
    from simulator.report.deflated import Overfit
    from simulator.sweeps import Sweep, Trial

SHOWN: Final = 20
PRINTED: Final = 10
BESIDE: Final = ("sharpe", "cumulative_return", "max_drawdown", "final_equity", "fills")
"""What is shown beside the metric that a sweep goes by."""
SHORT: Final = {"cumulative_return": "return", "annual_return": "a year", "max_drawdown": "drawdown", "final_equity": "equity"}
PERCENT: Final = ("cumulative_return", "annual_return", "volatility", "max_drawdown")
MOST_CELLS: Final = 60
"""A heat map with more rows or columns than this is nothing that one can look at."""


def told(done: Sweep) -> Iterator[Part]:
    """A sweep in words and tables."""
    compiled = sum(trial.compiled for trial in done.trials)
    yield (
        "trials",
        f"{len(done.trials):,} of {done.planned:,}, {compiled:,} of them compiled" + (f", {len(done.failed):,} failed" if done.failed else ""),
    )
    if done.best is not None:
        yield f"best {done.metric}", f"{said(done.metric, done.best.figures[done.metric])} with {', '.join(done.best.settings)}"
        figures = [name for name in BESIDE if name != done.metric]
        rows = [tuple(_row(trial, [done.metric, *figures])) for trial in ranked(done)[:PRINTED]]
        yield Columns(f"The best {len(rows)} by {done.metric}", ("settings", *(SHORT.get(name, name) for name in (done.metric, *figures))), rows)
        if done.standing is not None:
            yield "ledger", f"{done.standing.counted()}: the best is {done.standing.sure()}"
            if done.standing.warning():
                yield "warning", done.standing.warning()
        yield "overfitting", disappointing(done)
        yield "beware", f"the best of {len(done.trials):,} trials is better than it will be: it was chosen for what it did here"
    for why, trials in _failures(done):
        yield "failed", f"{why} ({len(trials):,} trial{'s' * (len(trials) > 1)}, such as {', '.join(trials[0].settings)})"


def disappointing(done: Sweep) -> str:
    """How often such a choice disappoints, in words."""
    if isinstance(done.overfit, str):
        return f"undefined: {done.overfit}"
    found = done.overfit
    return (
        f"PBO {found.pbo:.1%}: so often the best of half of the sessions (by Sharpe ratio) is no better than the median in the other half;"
        f" it loses there in {found.loss:.1%}, of {len(found.logits):,} halvings"
    )


def ranked(done: Sweep) -> list[Trial]:
    """The trials that have the metric, the best first, of equals in their order."""
    known = [trial for trial in done.trials if not trial.error and trial.figures[done.metric] == trial.figures[done.metric]]
    return sorted(known, key=lambda trial: (-trial.figures[done.metric], trial.number))


def said(name: str, value: float) -> str:
    """A figure as people read it."""
    if value != value:
        return "undefined"
    if name in PERCENT:
        return f"{value:+.2%}"
    return f"{value:,.0f}" if name == "fills" else f"{value:,.2f}"


def frame(done: Sweep) -> Any:
    """One row a trial: its number, each key of its settings (a number where all of them are), the figures, how it was run, and why it failed."""
    import pandas as pd

    figures = next((list(trial.figures) for trial in done.trials if not trial.error), [])
    rows = [
        {
            "trial": trial.number,
            **dict(setting.split("=", 1) for setting in trial.settings),
            **{name: trial.figures.get(name, float("nan")) for name in figures},
            "compiled": trial.compiled,
            "error": trial.error,
        }
        for trial in done.trials
    ]
    table = pd.DataFrame(rows)
    for key in varying(done):
        # What is a number for every trial is one in the table.
        with suppress(ValueError):
            table[key] = pd.to_numeric(table[key])
    return table


def write(done: Sweep, folder: Path) -> None:
    """Keep a sweep as `trials.parquet`, `sweep.json` and `sweep.html`, each whole or not at all."""
    table = frame(done)
    facts: dict[str, Any] = {"metric": done.metric, "planned": done.planned, "trials": len(done.trials), "failed": len(done.failed), "best": None}
    facts["standing"] = None if done.standing is None else done.standing.plain()
    facts["overfit"] = {"undefined": done.overfit} if isinstance(done.overfit, str) else _plain(_overfit(done.overfit))
    if done.best is not None:
        facts["best"] = {"trial": done.best.number, "settings": done.best.settings, **_plain(done.best.figures)}
    put(folder / "trials.parquet", lambda path: table.to_parquet(path, index=False))
    put(folder / "sweep.json", lambda path: path.write_text(json.dumps(facts, indent=2) + "\n"))
    put(folder / "sweep.html", lambda path: path.write_text(page(done)))


def put(path: Path, write_to: Callable[[Path], object]) -> None:
    """Have a file written whole or not at all."""
    part = path.with_name(path.name + ".part")
    write_to(part)
    part.replace(path)


def _overfit(found: Overfit) -> dict[str, float]:
    return {"pbo": found.pbo, "loss": found.loss, "slope": found.slope, "halvings": float(len(found.logits))}


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def _row(trial: Trial, names: Sequence[str]) -> Iterator[str]:
    yield ", ".join(setting.removeprefix("strategy.") for setting in trial.settings)
    for name in names:
        yield said(name, trial.figures[name])


def _failures(done: Sweep) -> list[tuple[str, list[Trial]]]:
    """What is wrong, in the words of the first trial of each kind, with all trials of which the same is said but for its numbers."""
    found: dict[str, tuple[str, list[Trial]]] = {}
    for trial in done.failed:
        # Without the settings that it begins with.
        why = trial.error.partition(": ")[2] or trial.error
        found.setdefault(re.sub(r"[-+]?\d[\d.,]*", "0", why), (why, []))[1].append(trial)
    return list(found.values())


def varying(done: Sweep) -> dict[str, list[str]]:
    """The keys that differ from trial to trial, with their values in the order of the grid."""
    values: dict[str, dict[str, None]] = {}
    for trial in done.trials:
        for setting in trial.settings:
            key, _, value = setting.partition("=")
            values.setdefault(key, {})[value] = None
    return {key: list(found) for key, found in values.items() if len(found) > 1}


def page(done: Sweep) -> str:
    """The sweep as one self-contained page without scripts: the best trials, a heat map for each pair of keys, and each key by itself."""
    axes = varying(done)
    keys = [key for key, values in axes.items() if len(values) <= MOST_CELLS]
    parts = [_worth(done), _best(done)]
    parts += [_heat(done, down, across, axes) for k, down in enumerate(keys) for across in keys[k + 1 :]]
    parts += [_stability(done, key, axes[key]) for key in keys]
    failures = "".join(
        f"<li>{escape(why)} ({len(trials):,}, such as {escape(', '.join(trials[0].settings))})</li>" for why, trials in _failures(done)
    )
    parts.append(f"<section><h2>Trials that failed</h2><ul>{failures}</ul></section>" if failures else "")
    lede = f"{len(done.trials):,} of {done.planned:,} trials, by {escape(done.metric)}. The best of many is better than it will be."
    title = escape(f"Sweep of {done.name}" if done.name else "Sweep")
    head = f"<head>\n{HEAD}\n<title>{title}</title>\n<style>{STYLE}{OWN_STYLE}</style>\n</head>"
    body = "\n".join(part for part in parts if part)
    main = f'<main>\n<h1>{title}</h1>\n<p class="lede">{lede}</p>\n{body}\n</main>'
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{main}\n</body>\n</html>\n'


OWN_STYLE: Final = """
.heat { border-collapse: separate; border-spacing: 2px; width: auto; }
.heat td, .heat th { padding: 5px 9px; border: 0; text-align: right; white-space: nowrap; font-size: 14px; }
.heat td { background: color-mix(in srgb, var(--gain) var(--a), transparent); }
.heat td.low { background: color-mix(in srgb, var(--loss) var(--a), transparent); }
.heat td.none { background: none; color: var(--muted); }
.spread { display: grid; grid-template-columns: max-content 1fr max-content; gap: 4px 14px; align-items: center; font-size: 14px; max-width: 72ch; }
.spread div { position: relative; height: 10px; background: var(--rule); border-radius: 5px; }
.spread i { position: absolute; top: 0; height: 10px; background: var(--line); opacity: 0.45; border-radius: 5px; }
.spread b { position: absolute; top: -3px; width: 2px; height: 16px; background: var(--ink); }
"""


def _worth(done: Sweep) -> str:
    """What the best of so many is worth."""
    lines = [disappointing(done)]
    if done.standing is not None:
        lines = [f"{done.standing.counted()}: the best is {done.standing.sure()}", done.standing.warning(), *lines]
    said_so = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return f"<section><h2>What the best is worth</h2>{said_so}</section>" if done.best is not None else ""


def _best(done: Sweep) -> str:
    names = [done.metric, *(name for name in BESIDE if name != done.metric)]
    heads = [("w", "settings"), *(("n", name.replace("_", " ")) for name in names)]
    head = "".join(f'<th class="{kind}" scope="col">{escape(name)}</th>' for kind, name in heads)
    rows = "\n".join(
        "<tr>" + "".join(f'<td class="{"n" if k else "w"}">{escape(text)}</td>' for k, text in enumerate(_row(trial, names))) + "</tr>"
        for trial in ranked(done)[:SHOWN]
    )
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"<section><h2>The best trials</h2>{table}</section>" if rows else ""


def _by(done: Sweep, *keys: str) -> dict[tuple[str, ...], list[float]]:
    """The metric of all trials, by the values of some keys."""
    found: dict[tuple[str, ...], list[float]] = {}
    for trial in ranked(done):
        settings = dict(setting.split("=", 1) for setting in trial.settings)
        found.setdefault(tuple(settings.get(key, "") for key in keys), []).append(trial.figures[done.metric])
    return found


def _heat(done: Sweep, down: str, across: str, axes: dict[str, list[str]]) -> str:
    """The median of the metric for each pair of values: blue above zero, red below, stronger the farther."""
    cells = {at: float(np.median(values)) for at, values in _by(done, down, across).items()}
    if not cells:
        return ""
    most = max(abs(value) for value in cells.values()) or 1.0
    head = "".join(f'<th scope="col">{escape(value)}</th>' for value in axes[across])
    rows = []
    for value in axes[down]:
        row = [f'<th scope="row">{escape(value)}</th>']
        for other in axes[across]:
            cell = cells.get((value, other))
            if cell is None:
                row.append('<td class="none">·</td>')
            else:
                row.append(f'<td class="{"low" if cell < 0 else ""}" style="--a:{0.7 * abs(cell) / most:.0%}">{said(done.metric, cell)}</td>')
        rows.append(f"<tr>{''.join(row)}</tr>")
    heading = f"{escape(down)} down, {escape(across)} across"
    note = (
        f'<p class="note">The median {escape(done.metric)} of the trials with both values. Look for wide plateaus, and not for the one dark cell.</p>'
    )
    table = f'<div class="wide"><table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    return f"<section><h2>{heading}</h2>{table}{note}</section>"


def _stability(done: Sweep, key: str, values: Sequence[str]) -> str:
    """For each value of one key: the metric from the worst trial to the best, and its median."""
    spreads = {at[0]: found for at, found in _by(done, key).items()}
    if not spreads:
        return ""
    low, high = min(min(found) for found in spreads.values()), max(max(found) for found in spreads.values())
    width = (high - low) or 1.0
    rows = []
    for value in values:
        if value not in spreads:
            continue
        least, middle, most = min(spreads[value]), float(np.median(spreads[value])), max(spreads[value])
        left, right, at = ((x - low) / width for x in (least, most, middle))
        bar = f'<div><i style="left:{left:.1%};width:{max(right - left, 0.004):.1%}"></i><b style="left:{at:.1%}"></b></div>'
        numbers = f"{said(done.metric, least)} to {said(done.metric, most)}, median {said(done.metric, middle)}"
        rows.append(f"<span>{escape(value)}</span>{bar}<span>{numbers}</span>")
    note = '<p class="note">From the worst trial to the best; the mark is the median. A key whose neighbours differ wildly is fitted to noise.</p>'
    return f'<section><h2>{escape(key)}</h2><div class="spread">{"".join(rows)}</div>{note}</section>'
