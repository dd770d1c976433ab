"""Remarks: words of a strategy in the journal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from simulator import DAY, Instrument, Limits, Proposal, Remark, Tape, View, ViewError, simulate
from simulator.loop import journal
from simulator.loop.clocks import Stopwatch


def tape() -> Tape:
    price = np.full((6, 1), 10.0)
    return Tape.of([Instrument("A")], np.arange(1, 7) * DAY, price, price, price, price, price * 1e4, interval=DAY)


@dataclass
class Talks:
    """Says what it thinks of each close, and buys once."""

    word: str = "fair"

    def on_bars(self, view: View) -> Proposal:
        remark = view.remark(f"{self.word} at {view.row}", "A")
        return [remark, view.order(1)] if view.row == 2 else [remark]


class Silent(Talks):
    """The same orders without a word."""

    def on_bars(self, view: View) -> Proposal:
        return [x for x in super().on_bars(view) if not isinstance(x, Remark)]


def test_a_remark_stands_in_the_journal_with_its_words() -> None:
    result = simulate(tape(), Talks(), check=True)
    rows = result.journal_table()
    said = rows[rows["kind"] == journal.REMARK]
    assert [result.journal.client_ids[order] for order in said["order"].tolist()] == [f"fair at {row}" for row in range(6)]
    assert said["at"].tolist() == result.tape.closed_at.tolist()
    assert said["instrument"].tolist() == [0] * 6


def test_words_change_the_hash_and_nothing_else() -> None:
    fair, dear, silent = simulate(tape(), Talks()), simulate(tape(), Talks("dear")), simulate(tape(), Silent())
    assert fair.hash != dear.hash
    assert fair.fills == dear.fills == silent.fills
    assert fair.equity.tolist() == silent.equity.tolist()


def test_no_limit_refuses_a_remark() -> None:
    result = simulate(tape(), Talks(), limits=Limits(gross_max=1e-9))
    assert np.count_nonzero(result.journal_table()["kind"] == journal.REMARK) == 6
    assert not result.fills


def test_a_remark_has_words_and_a_known_instrument() -> None:
    class Wrong:
        def on_bars(self, view: View) -> Proposal:
            with pytest.raises(ViewError, match="remark: its words must be a text, were ' '"):
                view.remark(" ")
            with pytest.raises(ViewError, match="no instrument 'B'"):
                view.remark("so", "B")
            return ()

    assert len(simulate(tape(), Wrong()).equity) == 6


def test_a_stopwatch_counts_what_is_inside_another_call_once() -> None:
    watch = Stopwatch()

    @watch
    def inner() -> float:
        return watch.seconds

    @watch
    def outer() -> float:
        return inner() + inner()

    assert outer() == 0.0
    assert watch.seconds > 0.0
