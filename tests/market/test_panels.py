"""Panels: thousands of instruments that come and go, and a universe that changes by date, as columns."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from brokers.simulated import Simulated
from simulator import DAY, Account, Actions, Delisting, Instrument, Proposal, Tape, View, ViewError, simulate
from simulator.market.known import Datum, Known

ROWS = 60


class Members:
    """An equal share of each member of the universe that has a bar."""

    def __init__(self, one_by_one: bool = False) -> None:
        self.one_by_one = one_by_one

    def on_bars(self, view: View) -> Proposal:
        if view.row % 5:
            return ()
        numbers = range(len(view.symbols))
        member = np.array([view.known("member", i) for i in numbers]) if self.one_by_one else view.across("member")
        inside = (member == 1.0) & ~np.isnan(view["close"])
        return view.rebalance(inside / max(inside.sum(), 1) * 0.9)


def panel(width: int) -> Tape:
    """A third of the instruments are listed late, a fifth delisted early; each is a member from some day on, and some leave again."""
    rng = np.random.default_rng(7)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (ROWS, width)), axis=0))
    listed = np.where(rng.random(width) < 0.33, rng.integers(1, ROWS // 2, width), 0)
    gone = np.where(rng.random(width) < 0.2, rng.integers(ROWS // 2, ROWS, width), ROWS)
    rows = np.arange(ROWS)[:, None]
    close[(rows < listed) | (rows >= gone)] = nan
    instruments = [Instrument(f"S{i}") for i in range(width)]
    tape = Tape.of(instruments, (np.arange(ROWS) + 1) * DAY, close, close, close, close, np.where(np.isnan(close), nan, 1e6), interval=DAY)
    joins, leaves = rng.integers(0, ROWS, width), rng.integers(0, 2 * ROWS, width)
    tape.known = Known(
        row
        for i in range(width)
        for row in (Datum(int(joins[i]) * DAY, "member", f"S{i}", 1.0), Datum(int(joins[i] + leaves[i] + 1) * DAY, "member", f"S{i}", 0.0))
    )
    tape.actions = Actions([Delisting(f"S{i}", int(gone[i]), price=20.0) for i in np.flatnonzero(gone < ROWS).tolist()])
    return tape


def test_a_universe_by_date_is_the_same_as_columns_and_one_by_one() -> None:
    tape = panel(40)
    runs = [simulate(tape, Members(one_by_one), broker=Simulated(), account=Account(1e7)) for one_by_one in (False, True)]
    assert runs[0].hash == runs[1].hash
    assert len(runs[0].fills) > 100


def test_of_two_thousand_instruments_that_come_and_go_members_alone_are_held() -> None:
    tape = panel(2_000)
    result = simulate(tape, Members(), broker=Simulated(), account=Account(1e8))
    held = {symbol for symbol, units in result.positions.items() if units}
    last = (ROWS - 1) // 5 * 5
    assert tape.known is not None
    members = tape.known.across("member", tape.index).at(int(tape.ats[last]))
    inside = {f"S{i}" for i in np.flatnonzero((members == 1.0) & ~np.isnan(tape.close[last])).tolist()}
    assert held <= inside
    assert len(result.fills) > 2_000


def test_what_was_known_stays_as_it_was_and_cannot_be_written_to() -> None:
    known = Known([Datum(5, "member", "A", 1.0), Datum(7, "member", "A", 0.0), Datum(7, "member", "B", 1.0), Datum(6, "size", "B", 3.0)])
    across = known.across("member", {"A": 0, "B": 1})
    before = across.at(4)
    first = across.at(6)
    assert np.isnan(before).all()
    assert first.tolist()[0] == 1.0
    assert across.at(7).tolist() == [0.0, 1.0]
    assert first.tolist()[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 2.0
    with pytest.raises(ViewError, match="no table has 'membre'; did you mean 'member'"):
        known.across("membre", {"A": 0})
