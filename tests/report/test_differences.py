"""Where two runs part, and what fed it."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest
from small_markets import QUIET, daily, flat, run

from simulator import DAY, Limits, Result, load
from simulator.assembly import parts, rehearse
from simulator.assembly import run as run_scenario
from simulator.loop.clocks import PacedClock
from simulator.loop.journal import ROW, MemoryJournal
from simulator.loop.store import Header
from simulator.report import folders
from simulator.report.differences import compare, difference, first_unlike
from simulator.report.records import Record, read
from simulator.report.telling import Columns, Part


def record(result: Result, header: Header | None = None, **changes: Any) -> Record:
    return Record(Path("r"), header, result.journal, result.rows, "digest")._replace(**changes)


def sends(*lots: int, client_id: str = "") -> Result:
    """So many lots, one order a bar."""
    steps = {row: lambda view, n=n: [view.order(n, client_id=client_id and f"{client_id}{n}")] for row, n in enumerate(lots)}
    return run(daily(*[QUIET] * 6), steps)


def said(first: Record, second: Record) -> list[str]:
    return [f"{part[0]}: {part[1]}" for part in difference(first, second) if not isinstance(part, Columns)]


def about(found: list[str], label: str) -> list[str]:
    return [line.removeprefix(f"{label}: ") for line in found if line.startswith(f"{label}: ")]


def test_the_same_run_twice_differs_in_nothing() -> None:
    assert not compare(record(sends(1, 2)), record(sends(1, 2)))
    assert said(record(sends(1, 2)), record(sends(1, 2)))[2:] == ["same: all 4 events, and how far both were run"]


def test_the_first_event_that_differs_is_named() -> None:
    """Each bar has the fill of the last order and then the next order."""
    one, two = record(sends(1, 2, 3), symbols=("X",)), record(sends(1, 2, 4), symbols=("X",))
    assert compare(one, two).row == 4
    found = said(one, two)
    assert about(found, "same") == ["the first 4 events, the last of them:"]
    assert about(found, "")[-1] == "1970-01-04 00:00  order 2 bought 2 lots of X at 10.00, slippage 0.00, commission 0.00"
    assert about(found, "run 1")[1] == "1970-01-04 00:00  order 3: buy 3 lots of X at market, GTC"
    assert about(found, "run 2")[1] == "1970-01-04 00:00  order 3: buy 4 lots of X at market, GTC"


def test_another_client_id_is_another_order() -> None:
    assert compare(record(sends(1, 2, client_id="a")), record(sends(1, 2, client_id="b"))).row == 0
    assert compare(record(sends(1, 2, client_id="a")), record(sends(1, 2))).row == 0
    one, two = sends(1, 2, client_id="a"), sends(1, 2, client_id="a")
    two.journal.client_ids[2] = "z"
    assert compare(record(one), record(two)).row == 2
    assert about(said(record(one), record(two)), "run 2")[1].endswith("order 2 'z': buy 2 lots of instrument 0 at market, GTC")


def test_one_that_ends_sooner_says_where() -> None:
    whole, part = sends(1, 2, 3), sends(1, 2)
    found = said(record(whole), record(part, bars=None))
    assert compare(record(whole), record(part)).row == 4
    assert about(found, "run 2")[1] == "nothing more: it ends after the bar 1970-01-04 00:00, and has not ended"
    none = record(sends(), bars=3)
    assert about(said(none, record(whole)), "run 1")[1] == "nothing more: it ends before its first event, and ended after 3 bars"
    assert about(said(none, record(whole)), "same") == ["the first 0 events"]


def test_agreeing_events_are_not_enough_where_one_went_farther() -> None:
    result = sends(1, 2)
    found = compare(record(result), record(result, bars=None, digest=None))
    assert found
    assert found.row is None
    assert about(said(record(result), record(result, bars=None)), "differ") == ["run 1 ended after 6 bars, run 2 has not ended"]
    assert about(said(record(result), record(result, bars=5)), "differ") == ["run 1 ended after 6 bars, run 2 ended after 5 bars"]


def test_other_headers_alone_are_a_note() -> None:
    result = sends(1)
    one = record(result, Header('name = "a"\nseed = 1\n[feed]\n[account]\n[risk]\n[strategy] # SHA-256 of its file: 12\nfast = 20\n', "v1", 1))
    two = record(
        result,
        Header('name = "a"\nseed = 1\n[feed]\n[account]\n[risk]\n[strategy] # SHA-256 of its file: 34\nfast = 10\nslow = 3\n', "v2", 1),
        digest="other",
    )
    assert not compare(one, two)
    assert about(said(one, two), "note") == [
        "strategy.file: SHA-256 of its file: 12 in run 1, SHA-256 of its file: 34 in run 2",
        "strategy.fast: 20 in run 1, 10 in run 2",
        "strategy.slow: not there in run 1, 3 in run 2",
        "code: v1 in run 1, v2 in run 2",
        "the bars are not the same, so that what is held may be worth something else",
    ]
    assert about(said(one, record(result)), "note") == ["run 2 had no scenario"]


@pytest.mark.parametrize("where", [0, 7, 71, 72 * 3 + 5])
def test_every_byte_of_a_row_counts(where: int) -> None:
    one, two = sends(1, 2, 3).journal, sends(1, 2, 3).journal
    two.rows[where] ^= 1
    assert first_unlike(one, two) == first_unlike(two, one) == where // ROW.itemsize


def test_empty_journals_agree() -> None:
    assert first_unlike(MemoryJournal(), MemoryJournal()) is None


# --- What fed it


def walks(tmp_path: Path, name: str, *settings: str) -> Record:
    folders.write(run_scenario(load("walks", ["feed.bars=300", *settings])), tmp_path / name)
    return read(tmp_path / name)


def tables(found: list[Part]) -> list[Columns]:
    return [part for part in found if isinstance(part, Columns)]


def test_the_same_bars_are_shown_once_with_what_the_scenarios_have_otherwise(tmp_path: Path) -> None:
    one, two = walks(tmp_path, "one"), walks(tmp_path, "two", "strategy.top=2")
    (bars,) = tables(list(difference(one, two)))
    assert {line[0] for line in bars.rows} == {"both"}
    assert bars.title.startswith("bars of 2020-")
    assert about(said(one, two), "fed by") == ["the same bars up to there", "strategy.top: 3 in run 1, 2 in run 2"]


def test_other_bars_are_shown_side_by_side(tmp_path: Path) -> None:
    one, two = walks(tmp_path, "one"), walks(tmp_path, "two", "seed=8")
    (bars,) = tables(list(difference(one, two)))
    assert {line[0] for line in bars.rows} == {"run 1", "run 2"}
    assert about(said(one, two), "fed by") == ["other bars from bar 0 on: 2020-01-01 (closed 2020-01-02 00:00 UTC)", "seed: 7 in run 1, 8 in run 2"]


def test_other_instruments_are_said(tmp_path: Path) -> None:
    one, two = walks(tmp_path, "one"), walks(tmp_path, "two", 'feed.symbols=["W1", "W2", "W3"]')
    assert about(said(one, two), "fed by")[0] == "other instruments, or other terms of theirs"


def test_bars_that_are_gone_are_said_and_the_rest_is_told(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    lines = "".join(f"2024-01-{day:02d},{day},{day + 1},{day - 1},{day},1000\n" for day in range(2, 28))
    (tmp_path / "own" / "prices.csv").write_text("date,open,high,low,close,volume\n" + lines)
    (tmp_path / "own" / "s.toml").write_text('[feed]\nkind = "files"\npaths = ["prices.csv"]\n[strategy]\nname = "buy_and_hold"\n')
    for name, weight in (("one", 1.0), ("two", 0.5)):
        folders.write(run_scenario(load(tmp_path / "own" / "s.toml", [f"strategy.weight={weight}"])), tmp_path / "own" / name)
    (tmp_path / "own" / "prices.csv").unlink()
    one, two = (read(tmp_path / "own" / name) for name in ("one", "two"))
    found = said(one, two)
    assert about(found, "run 1")[1].endswith("buy 500,000 lots of prices at market, GTC")
    assert all("its bars cannot be loaded" in line for line in about(found, "bars"))
    assert about(found, "fed by") == ["strategy.weight: 1.0 in run 1, 0.5 in run 2"]


def test_a_folder_and_a_journal_file_of_the_same_scenario_are_the_same(tmp_path: Path) -> None:
    scenario = load("walks", ["feed.bars=300"])
    tape = parts(scenario).feed.load(seed=scenario.seed, folder=scenario.folder)
    rehearse(scenario, PacedClock(inf, DAY), tmp_path / "whole", tape=tape)
    clock = PacedClock(inf, DAY)
    rehearse(scenario, clock, tmp_path / "part", tape=tape, progress=lambda done, total: clock.stop() if done > 200 else None)
    folder, whole, part = walks(tmp_path, "run"), read(tmp_path / "whole"), read(tmp_path / "part")
    assert not compare(folder, whole)
    assert compare(folder, part).row == len(part.journal.table())
    assert about(said(folder, part), "run 2")[1].endswith("and has not ended")


def test_a_halt_is_told_in_words() -> None:
    send: dict[int, Any] = {0: lambda view: [view.order(50)]}
    halted, free = (run(daily(QUIET, QUIET, flat(5)), send, cash=1_000.0, limits=limits) for limits in (Limits(drawdown_max=0.1), Limits()))
    assert compare(record(halted), record(free)).row == 2
    assert about(said(record(halted), record(free)), "run 1")[1] == "1970-01-04 00:00  drawdown: equity 750.00 fell below 900.00"
