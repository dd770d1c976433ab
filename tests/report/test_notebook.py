"""A run in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

import simulator
from simulator import DAY, Instrument, Tape
from simulator.report import words

NASTY = '<script>alert("&")</script>'


class Hold:
    def on_bars(self, view: simulator.View) -> object:
        return view.rebalance(np.array([0.9])) if view.row == 0 else ()


def shown(rows: int) -> tuple[simulator.Result, str]:
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(0.0, 0.01, rows)))
    tape = Tape.of([Instrument(NASTY)], np.arange(1, rows + 1) * DAY, close, close, close, close, interval=DAY)
    result = simulator.simulate(tape, Hold())  # type: ignore[arg-type]
    return result, result._repr_html_()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in ("line", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "path"):
            assert self.open.pop() == tag


def test_it_has_the_figures_and_both_curves_and_no_script() -> None:
    result, html = shown(300)
    assert words.money(float(result.equity[-1])) in html
    assert words.money(result.cash_start) in html
    assert "90\u00a0% of histories" in html
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert "script" not in tags.seen
    assert html.count("<path") == 4, "two curves, and their pieces in the key"


def test_it_is_small_and_asks_nobody() -> None:
    _, html = shown(3_000)
    assert len(html) < 40_000
    assert "http" not in html


def test_a_short_run_has_no_interval_and_is_shown() -> None:
    _, html = shown(3)
    assert "of histories" not in html
