"""Runs read back: a run folder is the exact inverse of writing it, and what was changed is refused by its file."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from random_markets import Case, Random, random_cases

from simulator import DAY, Booking, DataError, Proposal, Reason, Remark, Result, ScenarioError, SimulatorError, Tape, View, load, scenarios
from simulator.assembly import assemble, drive, header_of, parts, rehearse, run
from simulator.kernels.rules import REJECTED
from simulator.loop.clocks import PacedClock
from simulator.loop.journal import (
    ADJUSTED,
    BOOKED,
    CONDITIONS,
    ENDED,
    FILL,
    FORCED,
    HALT,
    ORDER,
    REFUSED,
    REMARK,
    REPLACED,
    RESCALED,
    RISK,
    SEND,
    MemoryJournal,
    pack,
)
from simulator.loop.store import Header
from simulator.report import folders, tables
from simulator.report.records import Record, Wait, journal_of, load_tape, read
from simulator.risk.engine import Measure

CSV = "date,open,high,low,close,volume\n" + "".join(f"2024-01-{day:02d},{day},{day + 1},{day - 1},{day},1000\n" for day in range(2, 28))
OWN = '[feed]\nkind = "files"\npaths = ["prices.csv"]\n[strategy]\nname = "buy_and_hold"\n'


@dataclass
class Named(Random):
    """Random orders, some with a client_id, some of these sent again, with remarks, and with prices that are no numbers."""

    def on_bars(self, view: View) -> Proposal:
        rng = np.random.default_rng([self.case.seed, 8, view.row])
        wishes = []
        proposed = super().on_bars(view)
        assert isinstance(proposed, list)
        for wish in proposed:
            named = isinstance(wish, tuple) and len(wish) == 9 and rng.random() < 0.5
            wishes.append(wish._replace(client_id=f"näme {rng.integers(5)}") if named else wish)
            if named and rng.random() < 0.2:
                wishes.append(wishes[-1]._replace(id=view.ids.next(), limit=-np.nan))
        return [*wishes, view.remark("all is well"), Remark(view.ids.next(), 0, "this one")] if view.row % 3 == 0 else wishes


def through_a_file(result: Result) -> MemoryJournal:
    """A journal that was written as a run folder's, and read back."""
    file = io.BytesIO()
    pq.write_table(tables.journal_table(result), file, compression="zstd")
    return journal_of(pq.read_table(io.BytesIO(file.getvalue())), [x.symbol for x in result.tape.instruments])


@given(random_cases())
def test_a_journal_reads_back_byte_for_byte(case: Case) -> None:
    tape = case.tape()
    session, feed = assemble(tape, Named(case), broker=case.broker(), account=case.owner(), limits=case.limits)
    drive(session, feed, len(tape))
    assert isinstance(session.journal, MemoryJournal)
    back = through_a_file(Result(tape, session.journal, case.cash, len(tape)))
    assert back.read() == session.journal.read()
    assert back.client_ids == session.journal.client_ids


@pytest.mark.parametrize(
    "row",
    [
        (CONDITIONS, 1, 7, 3, 0.5, nan, 0.0, 86_400 * 10**9, 2),
        (CONDITIONS, 0, 7, 0, nan, 0.05, 0.0, 0, 0),
        (FILL, 1, 7, -3, 10.0, -0.0, 1.5, 1, 1),
        (FILL, 0, 7, 3, 10.0, 0.0, 0.0, 0, 0),
        (ORDER, 0, 7, -5, -nan, inf, 0.0, 1 + 256 * 2, 0),
        (ENDED, -1, 7, 0, 0.0, 0.0, 0.0, REJECTED, Reason.UNKNOWN_ORDER),
        (REPLACED, 1, 8, 5, 9.5, nan, 0.0, 1, 7),
        (REFUSED, 0, 8, 5, nan, nan, float(Reason.GROSS), 0, 7),
        (REMARK, -1, 9, 0, 0.0, 0.0, 0.0, 0, 0),
        (HALT, 0, 2, 0, -5.0, -inf, 0.0, 0, 0),
        (HALT, 0, Measure.BANKRUPT, 0, -5.0, 0.0, 0.0, 0, 0),
        (BOOKED, -1, 0, 0, -1.5, 0.0, 100.0, Booking.INTEREST, 0),
        (BOOKED, 1, 0, -5, 2.5, 0.5, nan, Booking.DELISTING, 0),
        (RESCALED, 0, 0, -1, 50.0, 0.0, 0.0, 2, 1),
        (ADJUSTED, 1, 7, -3, nan, 12.5, 0.25, 0, 0),
        (FORCED, 1, 7, 0, 1.5, 2.5, 0.0, 0, Reason.MARGIN_CALL),
        (FORCED, 0, 8, -4, -1.5, 0.0, 0.0, 0, Reason.BANKRUPT),
    ],
)
def test_a_row_of_each_sort_reads_back(row: tuple[Any, ...]) -> None:
    kind, instrument, order, lots, a, b, c, d, e = row
    tape, journal = load_walks(8), MemoryJournal()
    journal.rows += pack(tape.ats[3], RISK if kind == HALT else SEND, kind, instrument, order, lots, a, b, c, d, e)
    assert through_a_file(Result(tape, journal, 1.0, len(tape))).read() == journal.read()


def test_a_run_without_events_reads_back() -> None:
    tape = load_walks(8)
    assert through_a_file(Result(tape, MemoryJournal(), 1.0, len(tape))).read() == b""


def load_walks(bars: int) -> Tape:
    scenario = load("walks", [f"feed.bars={bars}"])
    tape: Tape = parts(scenario).feed.load(seed=1, folder=Path())
    return tape


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of `walks`, and its result's journal file beside it."""
    folder = tmp_path_factory.mktemp("runs")
    scenario = load("walks", ["feed.bars=300"])
    folders.write(run(scenario), folder / "run")
    rehearse(scenario, PacedClock(inf, DAY), folder / "journal")
    return folder


def test_a_folder_and_a_journal_file_hold_the_same_run(written: Path) -> None:
    folder, file = read(written / "run"), read(written / "journal")
    assert folder.journal.read() == file.journal.read() != b""
    assert folder.journal.client_ids == file.journal.client_ids
    assert (folder.header, folder.bars, folder.digest) == (file.header, file.bars, file.digest)
    assert folder.header == header_of(load("walks", ["feed.bars=300"]))
    assert folder.bars == 300


def test_what_open_orders_waited_for_is_kept(tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text(
        "from simulator import OrderKind\nclass Patient:\n    def on_bars(self, view):\n"
        "        return [view.order(1, kind=OrderKind.LIMIT, limit=0.01)] if view.row == 3 else []\n"
    )
    (tmp_path / "s.toml").write_text('[feed]\nkind = "trend"\nbars = 9\n[strategy]\nname = "patient.py:Patient"\n')
    folders.write(run(load(tmp_path / "s.toml")), tmp_path / "run")
    assert read(tmp_path / "run").waiting == {1: (Wait("price not touched", 4, 8),)}


def edit_summary(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        kept = json.loads((folder / "summary.json").read_text())
        change(kept)
        (folder / "summary.json").write_text(json.dumps(kept))

    return edit


def edit_journal(column: str, change: Callable[[list[Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        table = pq.read_table(folder / "journal.parquet")
        values = table[column].to_pylist()
        change(values)
        at = table.column_names.index(column)
        pq.write_table(table.set_column(at, column, [type(table[column].combine_chunks()).from_pandas(values)]), folder / "journal.parquet")

    return edit


def cut(name: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return edit


def swap(values: list[Any]) -> None:
    there = [k for k, value in enumerate(values) if value is not None]
    values[there[0]] = values[there[0]] + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit_journal("price", swap), r"journal\.parquet is not the journal that was written: its hash is"),
        (edit_journal("lots", swap), r"journal\.parquet is not the journal that was written"),
        (edit_journal("kind", lambda kinds: kinds.__setitem__(0, "wished")), r"column kind of journal\.parquet has 'wished'"),
        (cut("journal.parquet"), r"journal\.parquet cannot be read"),
        (lambda folder: (folder / "journal.parquet").unlink(), r"journal\.parquet cannot be read"),
        (lambda folder: (folder / "scenario.toml").write_text("seed = 1\n"), r"scenario\.toml is not the scenario that was run"),
        (lambda folder: (folder / "scenario.toml").write_bytes(b"\xff"), r"scenario\.toml was changed: it is not UTF-8 text"),
        (lambda folder: (folder / "scenario.toml").unlink(), r"scenario\.toml cannot be read: No such file"),
        (cut("summary.json"), r"summary\.json was changed: it is not JSON"),
        (lambda folder: (folder / "summary.json").write_text("[]"), r"summary\.json was changed: it is not the summary of a run"),
        (lambda folder: (folder / "summary.json").unlink(), r"is no run folder: it has no summary\.json"),
        (edit_summary(lambda kept: kept.pop("tape")), r"summary\.json has no 'tape': it was changed, or an older version wrote it"),
        (edit_summary(lambda kept: kept.update(bars=3)), r"summary\.json is not as it was written"),
        (edit_summary(lambda kept: kept["bars"].update(rows=299)), r"journal\.parquet is not the journal that was written"),
        (edit_summary(lambda kept: kept["tape"].update(digest="0" * 64)), r"journal\.parquet is not the journal that was written"),
        (edit_summary(lambda kept: kept["scenario"].update(seed=2)), r"scenario\.toml is not the scenario that was run"),
    ],
)
def test_a_folder_that_was_changed_is_refused_by_its_file(change: Callable[[Path], Any], said: str, written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written / "run", tmp_path / "run")
    change(folder)
    with pytest.raises(SimulatorError, match=said):
        read(folder)


def test_a_folder_may_lose_what_nothing_is_read_from(written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written / "run", tmp_path / "elsewhere")
    for name in ("equity.parquet", "fills.parquet", "orders.parquet", "report.html"):
        (folder / name).unlink()
    assert read(folder).journal.read() == read(written / "run").journal.read()


def test_what_is_no_run_is_said(written: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello" * 1000)
    for path, said in (
        (tmp_path / "walks", "there is no such run"),
        (tmp_path / "text", "not a journal"),
        (tmp_path, "is no run folder"),
        (written / "run" / "journal.parquet", "is a file of a run folder: give the folder"),
    ):
        with pytest.raises(SimulatorError, match=said):
            read(path)


# --- The bars of a run


def test_bars_are_loaded_anew(written: Path) -> None:
    for name in ("run", "journal"):
        record = read(written / name)
        assert load_tape(record).digest() == record.digest


def test_files_are_found_beside_the_run_or_above_it_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, runs = tmp_path / "mine", tmp_path / "far" / "away"
    mine.mkdir()
    runs.mkdir(parents=True)
    (mine / "prices.csv").write_text(CSV)
    (mine / "s.toml").write_text(OWN)
    result = run(load(mine / "s.toml"))
    for folder in (mine / "run", mine / "runs" / "first", runs / "run"):
        folders.write(result, folder)
    for folder in (mine / "run", mine / "runs" / "first"):
        assert load_tape(read(folder)).digest() == result.tape.digest()
    with pytest.raises(
        ScenarioError, match=r"its bars cannot be loaded: feed.paths: there is no file .*prices.csv \(its paths are looked for beside"
    ):
        load_tape(read(runs / "run"))
    monkeypatch.chdir(mine)
    assert load_tape(read(runs / "run")).digest() == result.tape.digest()


def test_files_of_a_bundled_scenario_are_found(tmp_path: Path) -> None:
    for name in scenarios.bundled():
        scenario = load(name)
        if ".py:" in scenario.feed.name:
            assert len(load_tape(Record(tmp_path / "journal", header_of(scenario), MemoryJournal(), None, None)))


def test_other_bars_are_refused(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(CSV)
    (tmp_path / "s.toml").write_text(OWN)
    folders.write(run(load(tmp_path / "s.toml")), tmp_path / "run")
    (tmp_path / "prices.csv").write_text(CSV.replace("2024-01-26,26,27", "2024-01-26,26,28"))
    with pytest.raises(DataError, match=r"the bars that its feed gives now \(26, digest .*\) are not those that were run"):
        load_tape(read(tmp_path / "run"))


def test_bars_of_a_run_that_has_not_ended_must_have_its_times(written: Path) -> None:
    record = read(written / "journal")._replace(bars=None, digest=None)
    assert len(load_tape(record)) == 300
    assert record.header is not None
    shorter = record._replace(header=record.header._replace(scenario=record.header.scenario.replace("bars = 300", "bars = 150")))
    with pytest.raises(DataError, match=r"of the bars that its feed gives now none closed at .* ns, when row \d+ was written"):
        load_tape(shorter)


def test_a_run_without_a_scenario_has_no_bars_to_load() -> None:
    with pytest.raises(ScenarioError, match="a run without a scenario"):
        load_tape(Record(Path("r"), None, MemoryJournal(), 1, "x"))


@pytest.mark.parametrize(("text", "said"), [("scenario", "is no scenario: "), ("seed = 1\nname = 'x'\n", "is no scenario: it has no feed")])
def test_a_header_that_is_no_scenario_is_said(text: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        load_tape(Record(Path("r"), Header(text, "code", 1), MemoryJournal(), 1, "x"))


def test_a_strategy_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Still:\n    def on_bars(self, view):\n        return []\n")
    (tmp_path / "s.toml").write_text('[feed]\nkind = "flat"\n[strategy]\nname = "mine.py:Still"\n')
    folders.write(run(load(tmp_path / "s.toml")), tmp_path / "run")
    (tmp_path / "mine.py").unlink()
    assert len(load_tape(read(tmp_path / "run"))) == 252
