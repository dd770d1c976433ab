"""The HTML that pages are made of: sections, tables, lists and the places of charts. Text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from simulator.report import words
from simulator.report.template import HEAD, STYLE

if TYPE_CHECKING:
    from simulator.report.metrics import Measured


def document(title: str, body: Iterable[str], style: str = "", scripts: str = "") -> str:
    """A page that asks nobody outside for anything: its *body* in the style of all pages and in its own, and its scripts."""
    head = f"<head>\n{HEAD}\n<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>"
    main = "\n".join(part for part in body if part)
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n<main>\n{main}\n</main>\n{scripts}</body>\n</html>\n'


def measured(found: Measured, kind: str) -> str:
    """A metric's value."""
    return shown(found.value, kind)


def shown(value: float, kind: str) -> str:
    """A number as its kind is written: a percent or a ratio."""
    return words.percent(value) if kind == "percent" else words.ratio(value)


def section(heading: str, inner: str) -> str:
    """A section under its heading; nothing where it is empty."""
    return f"<section>\n<h2>{heading}</h2>\n{inner}\n</section>" if inner else ""


def itemised(sentences: Iterable[str]) -> str:
    """Sentences as a list, or that there are none."""
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>\n{items}\n</ul>" if items else "<p>None.</p>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], wordy: int = 1) -> str:
    """A table of text, which is escaped here; its first *wordy* columns are words, the others numbers."""
    kinds = ["w" if k < wordy else "n" for k in range(len(heads))]
    head = "".join(f'<th class="{kind}" scope="col">{escape(text)}</th>' for kind, text in zip(kinds, heads, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f'<td class="{kind}">{escape(text)}</td>' for kind, text in zip(kinds, row, strict=True)) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def chart(place: str, label: str, size: str, *, heading: str = "", beside: str = "", note: str = "") -> str:
    """The place of a figure: its heading, its key with *beside* right of it, itself and a note. Without a figure all of it is hidden."""
    top = f"<h3>{escape(heading)}</h3>\n" if heading else ""
    above = f'<div class="above"><p class="key" data-key="{place}"></p>{beside}</div>'
    return f'<div data-chart>\n{top}{above}\n<div class="chart {size}" id="{place}" role="img" aria-label="{escape(label)}"></div>\n{note}</div>'


def log_switch(place: str) -> str:
    """The switch of a figure between a linear and a log scale."""
    return f'<label class="switch"><input type="checkbox" data-log="{place}">Log scale</label>'


def note(*sentences: str) -> str:
    """Sentences in small print."""
    return f'<p class="note">{escape(" ".join(x for x in sentences if x))}</p>'
