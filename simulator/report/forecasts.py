"""The page of a forecast: how good it was out of sample with its errors, predicted against actual, what it resembles, and what mattered to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.report import words
from simulator.report.template import STYLE

if TYPE_CHECKING:
    from simulator.market.tape import FloatArray
    from simulator.models.forecast_quality import Estimate, ForecastQuality

    Line = tuple[FloatArray, FloatArray, FloatArray]


def forecast_page(
    title: str,
    judged: ForecastQuality,
    line: Line,
    *,
    resembles: Mapping[str, Estimate] | None = None,
    importance: Mapping[str, float] | None = None,
    earned: Mapping[str, FloatArray] | None = None,
) -> str:
    """One self-contained HTML page. *line* is what `predicted_against_actual` gives, *resembles* what `forecast_correlations` does; *importance* is
    by feature, *earned* the parts that `attribute_returns` splits returns into. The same numbers give the same text.
    """
    sections = [
        ("Out of sample", _table(("", "value", "error", "t", "rows"), _quality(judged))),
        ("Predicted against actual", figure(line).to_html(full_html=False, include_plotlyjs=True, div_id="line")),
        ("What it resembles", _table(("", "rank correlation", "error", "t", "rows"), [_row(*one) for one in (resembles or {}).items()])),
        ("What mattered", _table(("feature", "importance"), _falling(importance or {}))),
        ("What earned", _table(("part", "sum of returns"), [(name, words.percent(float(part.sum()))) for name, part in (earned or {}).items()])),
    ]
    body = "\n".join(f"<section>\n<h2>{heading}</h2>\n{inner}\n</section>" for heading, inner in sections if inner)
    head = f'<meta charset="utf-8">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n'
    )


def figure(line: Line) -> Any:
    """Mean outcomes of bins of equally many forecasts, each with two standard errors, and the line on which a calibrated forecast would lie."""
    import plotly.graph_objects as go

    means, outcomes, errors = line
    ends = np.array([means.min(), means.max()])
    seen = go.Scatter(x=means, y=outcomes, error_y={"array": 2.0 * errors}, mode="markers", name="outcome, two errors of the mean either way")
    ideal = go.Scatter(x=ends, y=ends, mode="lines", name="outcome = forecast")
    return go.Figure([seen, ideal], {"xaxis": {"title": {"text": "forecast"}}, "yaxis": {"title": {"text": "outcome"}}})


def _quality(judged: ForecastQuality) -> list[tuple[str, ...]]:
    return [
        _row("rank correlation", judged.ic),
        _row("signs that were right", judged.hits),
        _row("mean squared error", judged.mse),
        _row("squared error saved against a forecast of 0", judged.gain),
        ("R², against a forecast of 0", words.percent(judged.r2), "", "", ""),
        ("R², against the mean", words.percent(judged.r2_mean), "", "", ""),
        ("forecasts that came to their end", f"{judged.samples:,}", "", "", ""),
    ]


def _row(name: str, found: Estimate) -> tuple[str, ...]:
    return name, f"{found.value:.4g}", f"{found.error:.2g}", f"{found.t:.2f}", f"{found.rows:,}"


def _falling(importance: Mapping[str, float]) -> list[tuple[str, ...]]:
    return [(name, f"{value:.3g}") for name, value in sorted(importance.items(), key=lambda one: (-one[1], one[0]))]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, whose first column is words; nothing where it has no rows."""
    if not rows:
        return ""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f'<{tag} class="{"n" if k else "w"}">{escape(cell)}</{tag}>' for k, cell in enumerate(cells))

    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{line(heads, "th")}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
