"""The bundled squeeze: a short position is recalled and called, and the account adds up to the cent."""

from __future__ import annotations

from math import fsum, inf
from pathlib import Path

import pytest

from simulator import DAY, Result, load, run
from simulator.assembly import rehearse
from simulator.loop.clocks import PacedClock
from simulator.loop.prover import prove
from simulator.report import folders, tables
from simulator.report.explain import find_order, story
from simulator.report.records import journal_of


@pytest.fixture(scope="module")
def squeezed() -> Result:
    """The run, with all identities checked after every bar."""
    return run(load("short_squeeze"), check=True)


def test_shares_are_recalled_and_then_the_account_is_called(squeezed: Result) -> None:
    reasons = [row.reason for row in squeezed.forced]
    assert reasons[0] == "borrowed shares recalled"
    assert set(reasons[1:]) == {"margin call"}
    recalled = squeezed.forced[0]
    assert (recalled.symbol, recalled.had - recalled.quantity, recalled.needed) == ("SQZ", 9_000.0, 9_000.0)
    assert all(row.had < row.needed for row in squeezed.forced[1:])


def test_what_is_forced_fills_at_the_next_open_and_the_largest_loser_goes_first(squeezed: Result) -> None:
    fills = {fill.order: fill for fill in squeezed.fills}
    tape = squeezed.tape
    for row in squeezed.forced:
        fill = fills[row.order]
        assert (fill.bar, fill.quantity) == (row.bar + 1, row.quantity)
        assert fill.price - fill.slippage / fill.quantity == pytest.approx(tape.open[fill.bar, tape.index[fill.symbol]], rel=1e-12)
    assert [row.symbol for row in squeezed.forced] == ["SQZ"] * 4 + ["DULL"]


def test_the_account_adds_up(squeezed: Result) -> None:
    """Cash is what was there, less what was bought and sold, commissions, and what was booked; equity is cash and what is held."""
    traded = fsum(-fill.quantity * fill.price - fill.commission for fill in squeezed.fills)
    booked = fsum(row.amount for row in squeezed.bookings)
    assert squeezed.cash == pytest.approx(1_000_000.0 + traded + booked, rel=1e-12)
    held = fsum(units * squeezed.tape.close[-1, squeezed.tape.index[symbol]] for symbol, units in squeezed.positions.items())
    assert squeezed.equity[-1] == pytest.approx(squeezed.cash + held, rel=1e-12)
    assert squeezed.equity.min() > 0.0


def test_fees_are_those_of_each_nights_short_value(squeezed: Result) -> None:
    """Reckoned anew from the fills: the position after each session, its close, the rate of each calendar day."""
    tape = squeezed.tape
    days = tape.sessions.tolist()
    dear = {18_654: 0.60, 18_659: 1.20}  # 27 January and 1 February 2021
    for symbol in ("SQZ", "DULL"):
        owed = 0.0
        for t in range(len(tape) - 1):
            lots = sum(fill.quantity for fill in squeezed.fills if fill.symbol == symbol and fill.bar <= t)
            rates = [
                ([0.05, *(rate for since, rate in dear.items() if since <= day)][-1] if symbol == "SQZ" else 0.003) for day in range(*days[t : t + 2])
            ]
            owed += -lots * tape.close[t, tape.index[symbol]] * sum(rates) / 360
        assert fsum(row.amount for row in squeezed.bookings if row.symbol == symbol) == pytest.approx(-owed, rel=1e-12)


def test_a_liquidation_tells_its_story(squeezed: Result, tmp_path: Path) -> None:
    from simulator.report.records import read

    folders.write(squeezed, tmp_path / "run")
    record = read(tmp_path / "run")
    assert record.journal.read() == squeezed.journal.read()
    order = squeezed.forced[1].order
    told = dict(part for part in story(record, squeezed.tape, find_order(record, str(order))) if isinstance(part, tuple) and len(part) == 2)
    assert "margin call: equity 280,914.43 is below the margin of 281,168.85" in str(told["sent by"])


def test_a_rehearsal_that_was_stopped_goes_on_with_the_same_rows(squeezed: Result, tmp_path: Path) -> None:
    """The journal file has bookings and forced orders too, and resuming compares them."""
    scenario, path = load("short_squeeze"), tmp_path / "journal"

    def stop(done: int, total: int) -> None:
        if done > 22:
            raise KeyboardInterrupt

    first = rehearse(scenario, PacedClock(inf, DAY), path, progress=stop)
    assert first.interrupted
    second = rehearse(scenario, PacedClock(inf, DAY), path, resume=True)
    assert second.journal.read() == squeezed.journal.read()


def test_it_does_not_look_ahead() -> None:
    assert prove(load("short_squeeze"), points=4).passed


def test_a_journal_table_is_the_journal(squeezed: Result) -> None:
    table = tables.journal_table(squeezed)
    assert journal_of(table, ["SQZ", "DULL"]).read() == squeezed.journal.read()
    assert set(table["booking"].drop_null().to_pylist()) == {"borrow"}
