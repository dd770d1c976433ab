"""As-of tables: what is known is known from its time on, and not before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_markets import QUIET, Script, daily, markets, plain

from simulator import DAY, DataError, Proposal, View, ViewError, simulate
from simulator.feeds.tables import read_known
from simulator.market.known import Datum, Known


def seen(rows: list[Datum], ask: Callable[[View], object]) -> list[object]:
    """What a strategy was told at each of three daily closes."""
    told: list[object] = []

    def note(view: View) -> Proposal:
        told.append(ask(view))
        return ()

    tape = daily(QUIET, QUIET, QUIET)
    tape.known = Known(rows)
    simulate(tape, Script({0: note, 1: note, 2: note}), broker=plain())
    return told


def test_a_value_is_seen_from_the_close_at_which_it_was_known_and_not_a_nanosecond_before() -> None:
    assert str(seen([Datum(2 * DAY, "pe", "X", 12.0)], lambda view: view.known("pe", "X"))) == "[nan, 12.0, 12.0]"
    assert str(seen([Datum(2 * DAY + 1, "pe", "X", 12.0)], lambda view: view.known("pe", "X"))) == "[nan, nan, 12.0]"


def test_a_restatement_replaces_what_was_known_and_does_not_change_what_was_seen() -> None:
    assert seen([Datum(0, "pe", "X", 12.0), Datum(2 * DAY, "pe", "X", 9.0)], lambda view: view.known("pe", 0)) == [12.0, 9.0, 9.0]


def test_words_are_groups_and_an_empty_symbol_is_the_market() -> None:
    rows = [Datum(0, "sector", "X", "banks"), Datum(0, "rate", "", 0.05)]
    assert seen(rows, lambda view: (view.group("sector", "X"), view.known("rate"), view.group("sector"))) == [("banks", 0.05, "")] * 3


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda view: view.known("rat"), "no table has 'rat'; did you mean 'rate'"),
        (lambda view: view.group("rate"), r"'rate' has numbers: ask view.known\('rate'\)"),
        (lambda view: view.known("rate", "Z"), "no instrument 'Z'"),
    ],
)
def test_asking_for_what_there_is_not_is_refused(ask: Callable[[View], object], reason: str) -> None:
    with pytest.raises(Exception, match=reason) as caught:
        seen([Datum(0, "rate", "", 0.05)], ask)
    assert isinstance(caught.value.__cause__ or caught.value, ViewError)


def test_a_session_without_tables_says_so() -> None:
    with pytest.raises(Exception, match="there are no as-of tables here"):
        simulate(daily(QUIET), Script({0: lambda view: view.known("rate") or ()}), broker=plain())


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([Datum(5, "pe", "X", 1.0), Datum(5, "pe", "X", 2.0)], "is there twice"),
        ([Datum(5, "pe", "X", 1.0), Datum(6, "pe", "X", "n/a")], "value must be a number as before|words as before"),
        ([Datum(5, "pe", "X", float("nan"))], "must be a finite number"),
        ([Datum(5, " ", "X", 1.0)], "has no name"),
    ],
)
def test_tables_that_cannot_be_are_refused(rows: list[Datum], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        Known(rows)


def test_a_symbol_without_bars_is_refused() -> None:
    with pytest.raises(DataError, match="no bars of 'Y'"):
        Known([Datum(0, "pe", "Y", 1.0)]).fit(markets(X=[QUIET]))


# The file.


def written(folder: Path, text: str) -> Path:
    path = folder / "known.csv"
    path.write_text(text)
    return path


def test_a_date_is_known_at_its_end_and_a_time_at_itself(tmp_path: Path) -> None:
    assert read_known(written(tmp_path, "known,name,value\n1970-01-02,rate,0.05\n")) == [Datum(2 * DAY, "rate", "", 0.05)]
    timed = read_known(written(tmp_path, "known,name,symbol,value\n1970-01-01T00:00:01Z,sector,X,banks\n"))
    assert timed == [Datum(10**9, "sector", "X", "banks")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("known,name\n1970-01-01,rate\n", "known.csv, row 1: has no column 'value'"),
        ("known,name,valu\n1970-01-01,rate,1\n", "known.csv, row 1: no such column 'valu'; did you mean 'value'"),
        ("known,name,value\n1970-01-01T00:00:00,rate,1\n", "row 2: known must be a date, or a time with Z"),
        ("known,name,value\n1970-13-01,rate,1\n", "row 2: known must be a day and time that exist"),
        ("known,name,value\n1970-01-01,rate,\n", "row 2: value must not be empty"),
        ("known,name,value\n1970-01-01,rate,1\n1970-01-02\n", "row 3: must have 3 fields"),
    ],
)
def test_a_file_that_cannot_be_believed_is_refused_by_its_row(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_known(written(tmp_path, text))
