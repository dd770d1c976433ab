"""Files of corporate actions: the grammar of bars, and errors with file, row, column, value and way out."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator import DAY, SECOND, DataError, Delisting, Dividend, ScenarioError, Split, Suspension, TradingHalt, load, prove, run, run_orders
from simulator.assembly import rehearse
from simulator.cli import app
from simulator.feeds.tables import actions_of, read_actions
from simulator.loop.clocks import PacedClock

BARS = """date,open,high,low,close,volume
2024-01-02,10,10,10,10,1000
2024-01-03,10,10,10,10,1000
2024-01-04,5,5,5,5,1000
2024-01-05,5,6,5,6,1000
2024-01-08,6,6,6,6,1000
"""
ACTIONS = """kind,symbol,date,ratio,amount,pay_date
split,X,2024-01-04,2:1,,
dividend,X,2024-01-05,,0.5,2024-01-08
"""
KNOWN = "known,name,symbol,value\n2024-01-02,sector,X,banks\n2024-01-03,rate,,0.05\n2024-01-05,rate,,0.04\n"
SCENARIO = """
[feed]
kind = "files"
paths = ["X.csv"]
[strategy]
name = "strategy.py:Follows"
[actions]
paths = ["actions.csv"]
signals = "chained"
[known]
paths = ["known.csv"]
"""
STRATEGY = '''
from dataclasses import dataclass

@dataclass
class Follows:
    """Holds by what the tables say."""
    def on_bars(self, view):
        rate = view.known("rate")
        return [view.order(10 if rate == 0.05 else 1)] if rate == rate and view.group("sector", "X") == "banks" else ()
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("X.csv", BARS), ("actions.csv", ACTIONS), ("known.csv", KNOWN), ("s.toml", SCENARIO), ("strategy.py", STRATEGY)):
        (tmp_path / name).write_text(text)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "actions.csv"
    path.write_text(text)
    return path


def test_every_kind_is_read(tmp_path: Path) -> None:
    text = """kind,symbol,date,ratio,amount,currency,pay_date,price,haircut,until
split,X,1970-01-02,3:2,,,,,,
dividend,X,1970-01-03,,0.25,USD,1970-01-05,,,
dividend,X,1970-01-04,,0.25,,,,,
delisting,X,1970-01-06,,,,,4.5,,
delisting,Y,1970-01-06,,,,,,0.3,
halt,X,1970-01-02,,,,,,,1970-01-03
"""
    assert repr(read_actions(written(tmp_path, text))) == repr(
        [
            Split("X", 1, 3, 2),
            Dividend("X", 2, 0.25, 4, "USD"),
            Dividend("X", 3, 0.25),
            Delisting("X", 5, 4.5),
            Delisting("Y", 5, haircut=0.3),
            Suspension("X", 1, 2),
        ]
    )
    text = "kind,symbol,date,until\nhalt,X,1970-01-01T00:00:01Z,1970-01-02T00:00:00Z\n"
    assert read_actions(written(tmp_path, text)) == [TradingHalt("X", SECOND, DAY)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind,symbol,date,ratios\nsplit,X,2024-01-04,2:1\n", "actions.csv, row 1: no such column 'ratios'; did you mean 'ratio'"),
        ("kind,date\nsplit,2024-01-04\n", "actions.csv, row 1: has no column 'symbol'"),
        ("kind,symbol,date,ratio\nsplot,X,2024-01-04,2:1\n", "row 2: kind must be one of .* was 'splot'; did you mean 'split'"),
        ("kind,symbol,date,ratio\nsplit,,2024-01-04,2:1\n", "row 2: symbol must not be empty"),
        ("kind,symbol,date,ratio\nsplit,X,2024-01-04,2\n", "row 2: ratio must be like 2:1 .*, was '2'"),
        ("kind,symbol,date,ratio\nsplit,X,2024-02-30,2:1\n", "row 2: date must be a day and time that exist"),
        ("kind,symbol,date,ratio\nsplit,X,2024-01-04,\n", "row 2: a split needs ratio"),
        ("kind,symbol,date,ratio,amount\nsplit,X,2024-01-04,2:1,5\n", "row 2: a split has no amount, was '5'"),
        ("kind,symbol,date,amount\ndividend,X,2024-01-04,1x\n", "row 2: amount must be a decimal number such as 101.25, was '1x'"),
        ("kind,symbol,date,amount\ndividend,X,2024-01-04,-1\n", "row 2: dividend of 'X': amount must be above 0"),
        ("kind,symbol,date,until\nhalt,X,2024-01-04T00:00:00,2024-01-05T00:00:00\n", "row 2: date must be a date, or a time with Z"),
        ("kind,symbol,date,until\nhalt,X,2024-01-04,2024-01-05T00:00:00Z\n", "row 2: until must be a date as in the rows before"),
    ],
)
def test_a_file_that_cannot_be_believed_is_refused_by_its_row(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_actions(written(tmp_path, text))


def test_actions_may_be_given_as_mappings_too() -> None:
    assert actions_of([{"kind": "split", "symbol": "X", "date": "1970-01-02", "ratio": "2:1"}]) == [Split("X", 1, 2, 1)]
    with pytest.raises(DataError, match="action 0: no such key 'ratoi'; did you mean 'ratio'"):
        actions_of([{"kind": "split", "symbol": "X", "date": "1970-01-02", "ratoi": "2:1"}])
    with pytest.raises(DataError, match="action 0: must be an action"):
        actions_of([7])


def test_run_orders_takes_a_path_of_actions(folder: Path) -> None:
    columns = {"date": ["2024-01-02", "2024-01-03", "2024-01-04"], **{name: [10.0, 10.0, 5.0] for name in ("open", "high", "low", "close")}}
    result = run_orders({"X": columns}, [{"symbol": "X", "quantity": 3, "bar": 0}], cash=100.0, actions=folder / "actions.csv", check=True)
    assert result.positions == {"X": 6.0}


def test_a_scenario_names_its_files_and_remembers_what_was_in_them(folder: Path) -> None:
    scenario = load(folder / "s.toml")
    assert "[actions] # SHA-256 of its files: " in scenario.text
    result = run(scenario, check=True)
    assert [(row.kind, row.bar) for row in result.bookings] == [("split", 2), ("dividend", 3), ("payment", 4)]
    assert [(order.bar, order.quantity) for order in result.orders] == [(1, 20.0), (2, 10.0), (3, 1.0), (4, 1.0)]
    (folder / "actions.csv").write_text(ACTIONS.replace("0.5", "0.6"))
    assert load(folder / "s.toml").text != scenario.text


def test_the_proof_replaces_the_tables_too_and_finds_no_look_ahead(folder: Path) -> None:
    assert prove(load(folder / "s.toml"), points=3).failures == ()


def test_a_look_into_a_table_of_the_future_is_found(folder: Path) -> None:
    peeks = STRATEGY.replace('view.known("rate")', 'view.bars.tape.known.value("rate", "", 10**19)')
    (folder / "strategy.py").write_text(peeks)
    assert prove(load(folder / "s.toml"), points=3).failures


def test_a_look_at_actions_of_the_future_is_found(folder: Path) -> None:
    (folder / "strategy.py").write_text(STRATEGY.replace("if rate == rate", "if len(view.bars.tape.actions) == 2"))
    assert prove(load(folder / "s.toml"), points=3).failures


def test_a_missing_file_and_a_misspelt_key_are_refused(folder: Path) -> None:
    (folder / "s.toml").write_text(SCENARIO.replace("actions.csv", "nothing.csv"))
    with pytest.raises(ScenarioError, match=r"actions\.paths: cannot read nothing\.csv"):
        load(folder / "s.toml")
    (folder / "s.toml").write_text(SCENARIO.replace("signals", "signal"))
    with pytest.raises(ScenarioError, match="did you mean 'signals'"):
        load(folder / "s.toml")


def test_a_rehearsal_that_was_stopped_goes_on_through_its_bookings(folder: Path, tmp_path: Path) -> None:
    """Its journal in SQLite has splits, bookings and rescaled orders among its rows, which the bars that are run again must give again."""
    scenario, path, clock = load(folder / "s.toml"), tmp_path / "journal", PacedClock(inf, DAY)

    def stop(done: int, total: int) -> None:
        clock.stopping = done == 4

    rehearse(scenario, clock, path, progress=stop)
    resumed = rehearse(scenario, PacedClock(inf, DAY), path, resume=True)
    assert resumed.journal.read() == run(scenario).journal.read()
    assert [row.kind for row in resumed.bookings] == ["split", "dividend", "payment"]


def test_the_command_line_runs_with_the_files_of_a_scenario(folder: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["run", str(folder / "s.toml"), "--out", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    told = CliRunner().invoke(app, ["state", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    assert "32" in told.output, "20 after the split, and 10, 1 and 1 bought after it; the last order has no bar"
