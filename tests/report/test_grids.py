"""A sweep in words, in files and on its page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from simulator.report import grids
from simulator.report.telling import Columns
from simulator.sweeps import Sweep, Trial

FIGURES = {"final_equity": 1.0, "fills": 2.0, "sharpe": 0.0, "cumulative_return": 0.1, "max_drawdown": -0.2}


def trial(number: int, sharpe: float, *settings: str) -> Trial:
    return Trial(number, settings, {**FIGURES, "sharpe": sharpe}, np.zeros(3), True)


DONE = Sweep(
    (
        trial(0, 0.5, "strategy.fast=5", "strategy.slow=20"),
        trial(1, 1.5, "strategy.fast=5", "strategy.slow=40"),
        trial(2, -1.0, "strategy.fast=10", "strategy.slow=20"),
        trial(3, nan, "strategy.fast=10", "strategy.slow=40"),
        Trial(4, ("strategy.fast=50", "strategy.slow=20"), {}, np.empty(0), error="s with strategy.fast=50: fast must be below <slow>"),
    ),
    6,
    "sharpe",
)


class Unbroken(HTMLParser):
    """Whether every element that begins ends, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_best_come_first_and_what_is_undefined_or_failed_is_none_of_them() -> None:
    assert [one.number for one in grids.ranked(DONE)] == [1, 0, 2]
    assert DONE.best is not None
    assert DONE.best.number == 1
    parts = list(grids.told(DONE))
    assert parts[0] == ("trials", "5 of 6, 4 of them compiled, 1 failed")
    assert parts[1] == ("best sharpe", "1.50 with strategy.fast=5, strategy.slow=40")
    table = parts[2]
    assert isinstance(table, Columns)
    assert table.rows[0][:3] == ("fast=5, slow=40", "1.50", "+10.00%")
    assert parts[-1] == ("failed", "fast must be below <slow> (1 trial, such as strategy.fast=50, strategy.slow=20)")


def test_a_folder_holds_every_trial_and_the_best_one(tmp_path: Path) -> None:
    grids.write(DONE, tmp_path)
    table = pd.read_parquet(tmp_path / "trials.parquet")
    assert table["strategy.fast"].tolist() == [5, 5, 10, 10, 50]
    assert table["sharpe"].tolist()[:3] == [0.5, 1.5, -1.0]
    assert table["error"].tolist()[-1].endswith("fast must be below <slow>")
    facts = json.loads((tmp_path / "sweep.json").read_text())
    assert facts["best"]["settings"] == ["strategy.fast=5", "strategy.slow=40"]
    assert not list(tmp_path.glob("*.part"))


def test_the_page_has_a_heat_map_and_each_key_by_itself() -> None:
    page = grids.page(DONE)
    reader = Unbroken()
    reader.feed(page)
    assert reader.open == []
    assert "strategy.fast down, strategy.slow across" in page
    assert 'class="low" style="--a:47%">-1.00' in page
    assert "-1.00 to 0.50, median -0.25" in page
    assert "fast must be below &lt;slow&gt; (1, such as strategy.fast=50, strategy.slow=20)" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_sweep_of_nothing_is_no_error() -> None:
    empty = Sweep((), 0, "sharpe")
    assert empty.best is None
    assert "0 of 0 trials" in grids.page(empty)
