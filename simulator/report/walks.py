"""What came of a walk forward, to read and to keep: what each fold chose, and the returns of the sessions that had no part in the choice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.report import words
from simulator.report.grids import put, said
from simulator.report.telling import Columns, Part
from simulator.report.template import HEAD, STYLE

if TYPE_CHECKING:
    from simulator.walking import Fold, Walk


def told(walk: Walk) -> Iterator[Part]:
    """A walk forward in words and tables."""
    yield "trials", f"{walk.done:,} of {walk.planned:,}, in {len(walk.folds):,} whole folds"
    if walk.folds:
        yield Columns("What each fold chose, and what came of it", _heads(walk), [_row(fold, walk.metric) for fold in walk.folds], (0, 1, 2))
        yield "out of sample", f"{len(walk.returns):,} sessions, {words.date(walk.sessions[0])} to {words.date(walk.sessions[-1])}"
        for name, value in walk.figures.items():
            yield name.replace("_", " "), said(name, value)
    if walk.standing is not None:
        yield "ledger", f"{walk.standing.counted()}: {walk.standing.sure()}"
        if walk.standing.warning():
            yield "warning", walk.standing.warning()


def _heads(walk: Walk) -> tuple[str, ...]:
    return "tested from", "to", "settings", f"{walk.metric} in train", f"{walk.metric} in test", "return in test"


def _row(fold: Fold, metric: str) -> tuple[str, ...]:
    dates = f"session {fold.test.scored + 1:,}", f"{fold.test.end:,}"
    if fold.chosen is None or fold.trial is None:
        return *dates, "none had the metric: nothing was traded", "undefined", "undefined", "+0.00%"
    settings = ", ".join(setting.removeprefix("strategy.") for setting in fold.chosen.settings)
    if fold.trial.error:
        return *dates, f"{settings}: {fold.trial.error}", said(metric, fold.chosen.figures[metric]), "undefined", "+0.00%"
    figures = fold.trial.figures
    return (
        *dates,
        settings,
        said(metric, fold.chosen.figures[metric]),
        said(metric, figures[metric]),
        said("cumulative_return", figures["cumulative_return"]),
    )


def write(walk: Walk, folder: Path) -> None:
    """Keep a walk as `walk.parquet` (a row a tested session), `walk.json` and `walk.html`, each whole or not at all."""
    import pandas as pd

    numbers = np.repeat(np.arange(len(walk.folds)), [fold.test.end - fold.test.scored for fold in walk.folds])
    table = pd.DataFrame({"session": walk.sessions.astype("datetime64[D]"), "fold": numbers, "return": walk.returns})
    put(folder / "walk.parquet", lambda path: table.to_parquet(path, index=False))
    put(folder / "walk.json", lambda path: path.write_text(json.dumps(facts(walk), indent=2) + "\n"))
    put(folder / "walk.html", lambda path: path.write_text(page(walk)))


def facts(walk: Walk) -> dict[str, Any]:
    """A walk as JSON has it: what is undefined is null."""
    return {
        "metric": walk.metric,
        "planned": walk.planned,
        "trials": walk.done,
        "figures": {name: value if isfinite(value) else None for name, value in walk.figures.items()},
        "standing": None if walk.standing is None else walk.standing.plain(),
        "folds": [
            {
                "train": [fold.train.first, fold.train.end],
                "test": [fold.test.scored, fold.test.end],
                "settings": None if fold.chosen is None else fold.chosen.settings,
                "error": "" if fold.trial is None else fold.trial.error,
            }
            for fold in walk.folds
        ],
    }


def page(walk: Walk) -> str:
    """The walk as one self-contained page without scripts: the curve of the tested sessions, their figures, and what each fold chose."""
    title = escape(f"{walk.name}, walked forward" if walk.name else "Walk forward")
    head = f"<head>\n{HEAD}\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>"
    lede = f"{len(walk.folds):,} folds, chosen by {escape(walk.metric)}; {len(walk.returns):,} sessions that had no part in the choice."
    figures = "".join(
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{escape(said(name, value))}</td></tr>" for name, value in walk.figures.items()
    )
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in _heads(walk))
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _row(fold, walk.metric))}</tr>" for fold in walk.folds)
    standing = ""
    if walk.standing is not None:
        lines = f"{walk.standing.counted()}: {walk.standing.sure()}", walk.standing.warning()
        standing = f"<section><h2>What it is worth</h2>{''.join(f'<p>{escape(line)}</p>' for line in lines if line)}</section>"
    parts = [
        f"<section><h2>Growth of 1, out of sample</h2>{_curve(walk)}</section>" if len(walk.returns) > 1 else "",
        f"<section><h2>Out of sample</h2><table><tbody>{figures}</tbody></table></section>",
        standing,
        f'<section><h2>Folds</h2><div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>',
    ]
    body = "\n".join(part for part in parts if part)
    main = f'<main>\n<h1>{title}</h1>\n<p class="lede">{lede}</p>\n{body}\n</main>'
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{main}\n</body>\n</html>\n'


def _curve(walk: Walk) -> str:
    """What 1 became, as a line; a thin one stands where each fold begins."""
    growth = np.concatenate(([1.0], np.cumprod(1.0 + np.nan_to_num(walk.returns))))
    wide, high = 1_000.0, 260.0
    low, span = float(growth.min()), float(np.ptp(growth)) or 1.0
    x = np.linspace(0.0, wide, len(growth))
    y = high - (growth - low) / span * high
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    first = walk.folds[0].test.scored
    edges = "".join(
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{high:g}" stroke="var(--rule)"/>'
        for at in ((fold.test.scored - first) / len(walk.returns) * wide for fold in walk.folds[1:])
    )
    line = f'<polyline points="{points}" fill="none" stroke="var(--line)" stroke-width="2" vector-effect="non-scaling-stroke"/>'
    label = f"from {growth.min():.3f} to {growth.max():.3f}, {growth[-1]:.3f} at the end"
    return f'<svg viewBox="0 0 {wide:g} {high:g}" width="100%" role="img" aria-label="{label}">{edges}{line}</svg><p class="note">{label}</p>'
