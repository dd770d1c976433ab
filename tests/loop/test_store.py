"""The journal on disk: what is committed stays, what was touched is found, and only one writes."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, Script, market_orders, markets, plain

from simulator import DataError, Limits, OrderKind, Result, ScenarioError, SimulatorError, Tape, View
from simulator.assembly import assemble, drive
from simulator.loop import journal as rows
from simulator.loop.journal import fold
from simulator.loop.store import SIZE, Closing, Header, SqliteJournal, read_journal, recorded, verify

HEADER = Header('name = "busy"\n\n[strategy]\nname = "script"\nfast = 20\n', "0.1.0+abc", 7)
DAYS = 24


def busy(view: View) -> list[Any]:
    """Several orders a day, some with an id of their own, some that rest, are cancelled or refused."""
    made: list[Any] = [
        view.order(2 + view.row, 0, client_id=f"day {view.row}"),
        view.order(3, 1, OrderKind.LIMIT, limit=19.5),
        view.order(10**6, 0, client_id="too many" if view.row == 4 else ""),
        market_orders(view, (0, -1), (1, 1)),
    ]
    return [*made, view.cancel(made[1].id)] if view.row % 3 == 0 else made


def tape(moved: int = -1) -> Tape:
    """Two instruments, one of which fills limits every other day. The bar *moved* has another open."""
    closes = [10.0 + n % 3 for n in range(DAYS)]
    return markets(
        X=[(close + (0.25 if n == moved else 0.0), 13.0, 9.0, close, 4000.0) for n, close in enumerate(closes)],
        Y=[(20.0, 21.0, 19.0 + n % 2, 20.0, 400.0) for n in range(DAYS)],
    )


def session(journal: SqliteJournal, bars: Tape, days: range = range(0, DAYS, 2)) -> Any:
    """The busy days, every other one: what one sends the next one fills."""
    wired, feed = assemble(bars, Script(dict.fromkeys(days, busy)), broker=plain(participation=0.1), limits=Limits(notional_max=1e5), journal=journal)
    return wired, drive(wired, feed, len(bars))


def written(path: Path, upto: int = DAYS, *, resume: bool = False, end: bool = True, moved: int = -1) -> SqliteJournal:
    """The journal of a session over the first *upto* bars, closed, and with its closing row if *end*."""
    bars = tape(moved)
    with SqliteJournal(path, HEADER, resume=resume) as journal:
        _, done = session(journal, bars.cut(upto))
        if end:
            journal.finish(bars.digest(), done)
    return journal


def table(path: Path) -> list[Any]:
    """All that is in a journal file."""
    file = sqlite3.connect(path)
    try:
        return [file.execute(f"SELECT * FROM {name}").fetchall() for name in ("header", "rows", "closing")]
    finally:
        file.close()


def change(path: Path, sql: str, *values: object) -> None:
    """What somebody with an SQLite shell may do."""
    file = sqlite3.connect(path)
    with file:
        file.execute(sql, values)
    file.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "busy.journal"


# --- What it holds


def test_its_rows_are_those_of_a_journal_in_memory(path: Path) -> None:
    journal = written(path)
    wired, feed = assemble(
        tape(), Script(dict.fromkeys(range(0, DAYS, 2), busy)), broker=plain(participation=0.1), limits=Limits(notional_max=1e5), header=HEADER.text
    )
    drive(wired, feed, DAYS)
    found = read_journal(path)
    assert found.read() == journal.read() == wired.journal.read()
    assert found.client_ids == wired.journal.client_ids
    assert len(found.client_ids) == DAYS // 2 + 1
    assert found.hash("x") == wired.journal.hash("x")


def test_a_row_is_chained_to_the_one_before_it_and_the_first_to_the_run(path: Path) -> None:
    journal = written(path)
    header, stored, ends = table(path)
    last = sha256(HEADER.text.encode()).digest()
    assert dict(header) == {**HEADER._asdict(), "run": last.hex()}
    for k, (id, at, client_id, body, digest) in enumerate(stored):
        last = sha256(last + body + client_id.encode()).digest()
        assert (id, at, digest) == (k, int(journal.memory.table()[k]["at"]), last)
    digest = tape().digest()
    assert ends == [(len(stored), DAYS, digest, sha256(last + f"{len(stored)} {DAYS} {digest}".encode()).digest())]


def test_a_callers_id_stands_in_the_row_of_its_order_alone(path: Path) -> None:
    written(path)
    named = {client_id: int(np.frombuffer(body, rows.ROW)["kind"][0]) for _, _, client_id, body, _ in table(path)[1] if client_id}
    assert named == {**{f"day {day}": rows.ORDER for day in range(0, DAYS, 2)}, "too many": rows.REFUSED}


def test_all_rows_of_a_bar_are_one_transaction(path: Path) -> None:
    """Somebody who reads along sees whole bars, and each as soon as it is over."""
    bars = tape()
    with SqliteJournal(path, HEADER) as journal:
        wired, feed = assemble(bars, Script(dict.fromkeys(range(DAYS), busy)), broker=plain(participation=0.1), journal=journal)
        walk = iter(feed)
        for n in range(DAYS):
            drive(wired, islice(walk, 1), 1)
            assert verify(path) == len(journal.read()) // SIZE > n


def test_a_bar_in_which_nothing_happens_is_not_written(path: Path) -> None:
    with SqliteJournal(path, HEADER) as journal:
        session(journal, markets(X=[QUIET] * DAYS, Y=[QUIET] * DAYS), days=range(0))
    assert verify(path) == 0


def test_results_and_folds_work_from_a_file(path: Path) -> None:
    bars = tape()
    with SqliteJournal(path, HEADER) as journal:
        wired, done = session(journal, bars)
    found = read_journal(path)
    assert fold(found, bars, 1_000_000.0).cash == wired.portfolio.cash
    ours, theirs = Result(bars, found, 1_000_000.0, done), Result(bars, journal.memory, 1_000_000.0, done)
    assert ours.hash == theirs.hash
    assert repr((ours.orders, ours.fills)) == repr((theirs.orders, theirs.fills))
    assert ours.equity.tobytes() == theirs.equity.tobytes()


def test_nothing_lies_beside_a_journal_whose_run_has_ended(path: Path) -> None:
    written(path)
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert recorded(path).closing == Closing(verify(path), DAYS, tape().digest())


# --- Going on


@pytest.mark.parametrize("stopped", [0, 1, 2, 7, 16, DAYS])
def test_one_that_was_stopped_goes_on_to_the_same_file(path: Path, tmp_path: Path, stopped: int) -> None:
    written(tmp_path / "whole")
    written(path, stopped, end=False)
    before = table(path)
    written(path, resume=True)
    assert table(path) == table(tmp_path / "whole")
    assert table(path)[1][: len(before[1])] == before[1]
    assert stopped == 0 or before[1]


def test_it_knows_how_far_it_was(path: Path) -> None:
    bars = tape()
    written(path, 7, end=False)
    with SqliteJournal(path, HEADER, resume=True) as journal:
        assert journal.reached == int(bars.ats[6])


def test_a_journal_may_be_stopped_again_before_it_is_where_it_was(path: Path, tmp_path: Path) -> None:
    written(tmp_path / "whole")
    written(path, 16, end=False)
    before = table(path)
    written(path, 5, resume=True, end=False)
    assert table(path) == before
    written(path, resume=True)
    assert table(path) == table(tmp_path / "whole")


def test_other_data_fail_and_name_the_first_row_that_differs_with_what_it_was_and_became(path: Path) -> None:
    written(path, 16, end=False)
    before = table(path)
    first = next(k for k, row in enumerate(recorded(path).journal.table()) if row["kind"] == rows.FILL and row["at"] == tape().ats[9])
    with pytest.raises(
        DataError, match=rf"row {first} differs: fill \d+ of 10 lots .* became fill \d+ of 10 lots .*: a 10.0 became 10.25\. The data changed"
    ):
        written(path, resume=True, moved=9)
    assert table(path) == before


def test_data_that_change_behind_what_is_recorded_are_taken_as_they_are(path: Path, tmp_path: Path) -> None:
    written(tmp_path / "whole", moved=20)
    written(path, 16, end=False)
    written(path, resume=True, moved=20)
    assert table(path)[1] == table(tmp_path / "whole")[1]


def test_rows_that_are_not_recorded_again_are_named(path: Path) -> None:
    written(path, 16, end=False)
    with SqliteJournal(path, HEADER, resume=True) as journal, pytest.raises(DataError, match=r"row 0 differs: order 1 of 2 lots .* became nothing"):
        journal.finish("", 0)


def test_rows_that_come_to_a_bar_that_is_recorded_are_named(path: Path) -> None:
    """A bar is committed as a whole, so that it cannot have more rows than it had."""
    with SqliteJournal(path, HEADER) as journal:
        wired, feed = assemble(tape(), Script({0: lambda view: [view.order(1)]}), broker=plain(), journal=journal)
        drive(wired, feed, 1)
        count = len(journal.read()) // SIZE
    with SqliteJournal(path, HEADER, resume=True) as journal:
        wired, feed = assemble(tape(), Script({0: lambda view: [view.order(1)], 1: lambda view: [view.order(2)]}), broker=plain(), journal=journal)
        with pytest.raises(DataError, match=rf"row {count} differs: nothing became order 2 of 2 lots"):
            drive(wired, feed, DAYS)


def test_another_client_id_is_a_difference(path: Path) -> None:
    for name, resume in (("mine", False), ("yours", True)):
        with SqliteJournal(path, HEADER, resume=resume) as journal:
            wired, feed = assemble(tape(), Script({0: lambda view: [view.order(1, client_id=name)]}), broker=plain(), journal=journal)  # noqa: B023
            if resume:
                with pytest.raises(DataError, match=r"row 0 differs: .*: client_id 'mine' became 'yours'"):
                    drive(wired, feed, 1)
            else:
                drive(wired, feed, 1)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HEADER._replace(seed=8), "seed was 7 and is 8"),
        (HEADER._replace(code="0.2.0+def"), r"code was 0.1.0\+abc and is 0.2.0\+def"),
        (HEADER._replace(scenario=HEADER.scenario.replace("20", "10")), r"\[strategy\] fast = 20 is now fast = 10"),
        (HEADER._replace(scenario=HEADER.scenario + "slow = 50\n"), r"\[strategy\] nothing is now slow = 50"),
    ],
)
def test_the_journal_of_another_run_is_refused_by_its_key(path: Path, header: Header, said: str) -> None:
    written(path, 5, end=False)
    with pytest.raises(ScenarioError, match=said):
        SqliteJournal(path, header, resume=True)
    written(path, resume=True)


def test_a_journal_whose_run_has_ended_says_so_and_is_left_alone(path: Path) -> None:
    written(path)
    before = path.read_bytes()
    with pytest.raises(SimulatorError, match=rf"is finished: {verify(path)} rows over {DAYS} bars"):
        SqliteJournal(path, HEADER, resume=True)
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_there_is_not_written_over(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(SimulatorError, match="is there already: --resume goes on"):
        SqliteJournal(path, HEADER)
    with pytest.raises(DataError, match="not a journal"):
        SqliteJournal(path, HEADER, resume=True)
    assert [(found.name, found.read_text()) for found in path.parent.iterdir()] == [(path.name, "precious")]


def test_there_must_be_something_to_resume_and_a_place_to_write(path: Path) -> None:
    with pytest.raises(SimulatorError, match="does not exist: leave out --resume"):
        SqliteJournal(path, HEADER, resume=True)
    with pytest.raises(SimulatorError, match=r"cannot write the journal .*: No such file or directory"):
        SqliteJournal(path / "deeper", HEADER)
    with pytest.raises(DataError, match="there is no journal here"):
        verify(path)
    assert not list(path.parent.iterdir())


def test_what_lies_about_of_a_journal_that_was_deleted_is_not_taken_for_a_new_one(path: Path) -> None:
    with SqliteJournal(path, HEADER) as journal:
        session(journal, tape())
        left = {Path(f"{path}{end}"): Path(f"{path}{end}").read_bytes() for end in ("-wal", "-shm", ".lock")}
    path.unlink()
    for place, content in left.items():
        place.write_bytes(content)
    written(path, 3, end=False)
    assert verify(path) < DAYS


# --- One writer


def test_a_second_writer_is_refused_and_told_who_the_first_is(path: Path) -> None:
    with SqliteJournal(path, HEADER) as journal:
        for resume in (False, True):
            with pytest.raises(SimulatorError, match=rf"busy.journal is being written by process {os.getpid()}: wait for it, or stop it"):
                SqliteJournal(path, HEADER, resume=resume)
        session(journal, tape())
    written(path, resume=True)


def test_a_claim_that_its_owner_took_with_it_is_free(path: Path) -> None:
    """The file with the pid stays, the lock does not."""
    written(path, 5, end=False)
    Path(f"{path}.lock").write_text(Path(f"{path}.lock").read_text().replace(str(os.getpid()), "999999999", 1))
    written(path, resume=True)


# --- What was touched


def same(path: Path, whole: Any) -> bool:
    """Whether a file still says what it said. It must say so or raise a DataError."""
    found = recorded(path)
    return (found.header, found.journal.read(), found.journal.client_ids, found.last, found.closing) == whole


def damage(originals: dict[str, bytes], folder: Path, damaged: Iterator[tuple[str, bytes]]) -> tuple[list[str], list[str]]:
    """What was said of each file that was found to be *damaged*, and the endings of those that still say the same: there must be no third kind."""
    home = folder / "original" / "j"
    home.parent.mkdir()
    for end, content in originals.items():
        Path(f"{home}{end}").write_bytes(content)
    found = recorded(home)
    whole = (found.header, found.journal.read(), found.journal.client_ids, found.last, found.closing)
    words, intact = [], []
    for n, (end, content) in enumerate(damaged):
        place = folder / str(n) / "j"
        place.parent.mkdir()
        for other, original in originals.items():
            Path(f"{place}{other}").write_bytes(content if other == end else original)
        try:
            assert same(place, whole), f"damage {n} to j{end} changed what it says, and nobody noticed"
            intact.append(end)
        except DataError as error:
            words.append(str(error))
        shutil.rmtree(place.parent)
    return words, intact


def flips(originals: dict[str, bytes], ends: tuple[str, ...], count: int) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(3)
    for n in range(count):
        end = ends[n % len(ends)]
        content = bytearray(originals[end])
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        yield end, bytes(content)


def cuts(originals: dict[str, bytes], ends: tuple[str, ...], count: int) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(4)
    for n in range(count):
        end = ends[n % len(ends)]
        yield end, originals[end][: rng.integers(len(originals[end]))]


def ended(path: Path) -> dict[str, bytes]:
    """The files of a run that has ended."""
    written(path)
    return {"": path.read_bytes()}


def killed(path: Path) -> dict[str, bytes]:
    """The files of a run that was killed, after a first part that was stopped: rows in the file and in SQLite's log."""
    written(path, 12, end=False)
    with SqliteJournal(path, HEADER, resume=True) as journal:
        session(journal, tape())
        return {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal", ".lock")}


def unnamed(words: list[str]) -> list[str]:
    return [said for said in words if not re.search(r"row \d+|the header|the closing row|page level|of format \d+", said)]


def test_every_cut_tail_is_found_and_named(path: Path, tmp_path: Path) -> None:
    originals = ended(path)
    words, intact = damage(originals, tmp_path, cuts(originals, ("",), 200))
    assert (len(words), intact, unnamed(words)) == (200, [], [])


def test_every_cut_tail_of_a_log_is_found_and_named(path: Path, tmp_path: Path) -> None:
    """SQLite takes it for a log that was never longer."""
    originals = killed(path)
    words, intact = damage(originals, tmp_path, cuts(originals, ("-wal",), 200))
    assert (len(words), intact) == (200, [])
    assert [said for said in words if not re.search(r"row \d+ was committed and is gone: the file or its -wal was cut", said)] == []


def test_of_a_cut_file_no_more_is_missing_than_its_log_has(path: Path, tmp_path: Path) -> None:
    originals = killed(path)
    words, intact = damage(originals, tmp_path, cuts(originals, ("",), 100))
    assert (len(words) + len(intact), unnamed(words)) == (100, [])
    assert len(words) > 50


@pytest.mark.parametrize("files", [ended, killed])
def test_no_flipped_bit_changes_what_a_journal_says(path: Path, tmp_path: Path, files: Callable[[Path], dict[str, bytes]]) -> None:
    """One in unused space of a page, in a page that the log has anew, or in a pid, changes nothing; every other is found."""
    originals = files(path)
    words, intact = damage(originals, tmp_path, flips(originals, tuple(originals), 500))
    assert (len(words) + len(intact), unnamed(words)) == (500, [])
    assert len(words) > 150


def test_a_row_that_somebody_changed_or_took_away_is_named(path: Path) -> None:
    written(path)
    last = verify(path) - 1
    for sql, said in (
        ("UPDATE rows SET body = zeroblob(72) WHERE id = 5", "row 5 was changed"),
        ("UPDATE rows SET body = x'00' WHERE id = 5", "row 5 was changed"),
        ("UPDATE rows SET client_id = 'mine' WHERE id = 6", "row 6 was changed"),
        ("UPDATE rows SET at = at + 1 WHERE id = 7", "row 7 was changed"),
        ("UPDATE rows SET hash = zeroblob(32) WHERE id = 8", "row 8 was changed"),
        ("DELETE FROM rows WHERE id = 9", "row 9 is missing: after row 8 comes 10"),
        (f"DELETE FROM rows WHERE id = {last}", f"row {last} is missing: the closing row counts {last + 1}"),
        ("UPDATE closing SET bars = 1", "the closing row was changed"),
        ("INSERT INTO closing SELECT * FROM closing", "the closing row was changed"),
        ("UPDATE header SET value = 8 WHERE key = 'seed'", "the header was changed"),
        ("DELETE FROM header WHERE key = 'code'", "the header was changed: code is missing"),
        ("PRAGMA user_version = 2", "of format 2, and this program reads format 1"),
    ):
        other = path.with_name("other")
        shutil.copy(path, other)
        change(other, sql)
        with pytest.raises(DataError, match=said):
            verify(other)


def test_rows_that_somebody_took_from_the_end_of_a_stopped_journal_are_named(path: Path) -> None:
    """Its chain is whole; FILE.lock tells that it was longer."""
    written(path, 12, end=False)
    count = verify(path)
    change(path, f"DELETE FROM rows WHERE id >= {count - 3}")
    with pytest.raises(DataError, match=f"row {count - 3} was committed and is gone"):
        verify(path)
    with pytest.raises(DataError, match=f"row {count - 3} was committed and is gone"):
        SqliteJournal(path, HEADER, resume=True)


def test_a_process_that_dies_inside_a_commit_leaves_whole_bars(path: Path, tmp_path: Path) -> None:
    """Wherever the log of a commit ends before its mark is written: the bar is there, or it is not; and the rest comes again."""
    written(tmp_path / "whole")
    with SqliteJournal(path, HEADER) as journal:
        wired, feed = assemble(
            tape(), Script(dict.fromkeys(range(0, DAYS, 2), busy)), broker=plain(participation=0.1), limits=Limits(notional_max=1e5), journal=journal
        )
        walk = iter(feed)
        drive(wired, islice(walk, 10), 10)
        before, mark, start = verify(path), Path(f"{path}.lock").read_bytes(), Path(f"{path}-wal").stat().st_size
        drive(wired, islice(walk, 1), 1)
        after, log, file = len(journal.read()) // SIZE, Path(f"{path}-wal").read_bytes(), path.read_bytes()
    seen = set()
    for n, end in enumerate(np.linspace(start, len(log), 12).astype(int).tolist()):
        place = tmp_path / f"{n}" / path.name
        place.parent.mkdir()
        for ending, content in (("", file), ("-wal", log[:end]), (".lock", mark)):
            Path(f"{place}{ending}").write_bytes(content)
        seen.add(verify(place))
        written(place, resume=True)
        assert table(place) == table(tmp_path / "whole")
    assert seen == {before, after}
