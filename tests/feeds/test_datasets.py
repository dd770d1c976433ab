"""Datasets: what is converted comes back, to the last bit; what is damaged is refused by its place; and the commands that tell of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.errors import DataError, ScenarioError, SimulatorError
from simulator.feeds.conversion import convert
from simulator.feeds.datasets import By, Dataset, digest_of, read_manifest, streamed
from simulator.feeds.files import read_bars
from simulator.feeds.frames import Declared
from simulator.feeds.inspection import check
from simulator.market.rooms import Room

HEADER = "date,open,high,low,close,volume\n"
TIMES: dict[str, Any] = {"stamps": "open", "interval": "6h"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five instruments' bars of six hours over two and a half months: each with holes, one listed late, one delisted early."""
    folder, rng, count = tmp_path_factory.mktemp("bars"), np.random.default_rng(0), 300
    at = np.datetime64("2020-01-01T00:00") + np.arange(count) * np.timedelta64(6, "h")
    for k in range(5):
        there = rng.random(count) > 0.2
        there[: 100 if k == 3 else 0] = False
        there[200 if k == 4 else count :] = False
        close = np.round(100.0 + np.cumsum(rng.standard_normal(count)), 2)
        rows = [f"{at[t]},{close[t]:.2f},{close[t] + 1:.2f},{close[t] - 1:.2f},{close[t]:.2f},{1000 + t}\n" for t in np.flatnonzero(there)]
        (folder / f"S{k}.csv").write_text(HEADER + "".join(rows))
    return folder


@pytest.fixture
def dataset(source: Path, tmp_path: Path) -> Path:
    convert([source], tmp_path / "bars", Declared(**TIMES))
    return tmp_path / "bars"


@pytest.mark.parametrize("by", ["date", "symbol"])
@pytest.mark.parametrize("resident", [1, 20_000, 1 << 26])
def test_what_is_converted_comes_back_to_the_last_bit(source: Path, tmp_path: Path, by: By, resident: int) -> None:
    convert([source], tmp_path / "bars", Declared(**TIMES), by=by)
    tape, plain = streamed(tmp_path / "bars", room=Room(resident=resident)), read_bars(source, **TIMES)
    assert tape.digest() == plain.digest()
    assert tape.notes == plain.notes
    assert np.array_equal(tape.marks, plain.marks, equal_nan=True)
    assert np.array_equal(tape.ages, plain.ages)


def test_daily_bars_of_one_file_with_a_column_of_symbols_come_back(tmp_path: Path) -> None:
    rows = [f"2020-0{1 + d // 20}-{1 + d % 20:02},{s},{10 + d},{11 + d},{9 + d},{10 + d},5\n" for d in range(60) for s in "ZA" if d > 30 or s == "Z"]
    (tmp_path / "all.csv").write_text("date,symbol,open,high,low,close,volume\n" + "".join(rows))
    for by in ("date", "symbol"):
        made = convert([tmp_path / "all.csv"], tmp_path / by, Declared(), by="date" if by == "date" else "symbol")
        assert made.parts[0].path == ("month=2020-01/part-0.parquet" if by == "date" else "symbol=Z/part-0.parquet")
        assert streamed(tmp_path / by).digest() == read_bars(tmp_path / "all.csv").digest()


def test_a_source_of_closes_without_volume_comes_back(tmp_path: Path) -> None:
    (tmp_path / "X.csv").write_text("date,close\n2020-01-02,1.5\n2020-01-03,2.5\n")
    said = {"opens": "close_only", "volume": "none", "currencies": {"X": "EUR"}, "tick": "0"}
    convert([tmp_path / "X.csv"], tmp_path / "out", Declared(**said))
    tape = streamed(tmp_path / "out")
    assert tape.digest() == read_bars(tmp_path / "X.csv", **said).digest()
    assert tape.instruments[0].currency == "EUR"


def test_futures_and_skipped_bars_keep_what_was_said_of_them(tmp_path: Path) -> None:
    (tmp_path / "ES.csv").write_text(HEADER + "2020-01-02,1,2,1,2,5\n2020-01-03,3,2,1,2,5\n2020-01-06,9,9,9,9,5\n")
    said = {"on_bad_bar": "skip", "futures": {"ES": {"multiplier": 50.0, "expires": "2020-03-20"}}}
    convert([tmp_path / "ES.csv"], tmp_path / "out", Declared(**said))
    tape, plain = streamed(tmp_path / "out"), read_bars(tmp_path / "ES.csv", **said)
    assert (tape.instruments, tape.notes) == (plain.instruments, plain.notes)
    assert len(tape.notes) == 2


def test_only_the_sessions_between_start_and_end_are_read(source: Path, dataset: Path) -> None:
    tape, plain = streamed(dataset, date(2020, 1, 20), date(2020, 2, 10)), read_bars(source, **TIMES)
    kept = (plain.sessions >= (date(2020, 1, 20) - date(1970, 1, 1)).days) & (plain.sessions <= (date(2020, 2, 10) - date(1970, 1, 1)).days)
    assert np.array_equal(tape.closed_at, plain.closed_at[kept])
    assert np.array_equal(tape.close, plain.close[kept], equal_nan=True)
    with pytest.raises(ScenarioError, match=r"feed.start and feed.end must have bars between them: there are some from 2020-01-01 to 2020-03-15"):
        streamed(dataset, date(2021, 1, 1))


def test_a_room_reads_again_what_left_memory() -> None:
    room = Room(resident=1)
    column = room.empty((3, 5_000, 7), axis=1)
    column[:] = np.arange(105_000.0).reshape(column.shape)
    room.release(5_000)
    assert np.array_equal(column.reshape(-1), np.arange(105_000.0))
    assert room.rows == 1


def test_a_disk_without_room_is_named() -> None:
    with pytest.raises(DataError, match=r"bars that stream need a file of .* GiB there .*feed.spool"):
        Room().empty((1 << 44,))


# What is damaged.


def rewritten(folder: Path, change: Callable[[pa.Table], pa.Table], part: int = 0, name: str = "") -> None:
    """Change a file of a dataset, and its manifest with it, as somebody would who is up to no good."""
    manifest = read_manifest(folder)
    its = manifest.instants if name else manifest.parts[part]
    table = change(pq.read_table(folder / its.path))
    pq.write_table(table, folder / its.path)
    made = replace(its, sha256=digest_of(folder / its.path), bars=len(table))
    parts = manifest.parts if name else tuple(made if one is its else one for one in manifest.parts)
    (folder / "dataset.json").write_text(replace(manifest, parts=parts, instants=made if name else manifest.instants).text())


def put(name: str, row: int, value: float) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        column = table.column(name).to_numpy().copy()
        column[row] = value
        return table.set_column(table.column_names.index(name), name, pa.array(column))

    return change


def moved(table: pa.Table) -> pa.Table:
    return table.take([1, 0, *range(2, len(table))])


def later(table: pa.Table) -> pa.Table:
    at = pa.array(table.column("closed_at").cast(pa.int64()).to_numpy() + 7).cast(pa.timestamp("ns", "UTC"))
    return table.set_column(0, "closed_at", at)


def empty(table: pa.Table) -> pa.Table:
    column = table.column("close").to_pylist()
    column[3] = None
    return table.set_column(table.column_names.index("close"), "close", pa.array(column, pa.float64()))


DAMAGES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "a high below": (put("high", 5, 1.0), r"part-0.parquet, row 6: high must not be below low .*, was 1.0 \(S"),
    "no price": (put("open", 2, np.nan), r"part-0.parquet, row 3: open must be a finite price above 0, was nan"),
    "infinite": (put("high", 2, np.inf), r"row 3: high must be a finite price above 0, was inf"),
    "no volume": (put("volume", 4, np.inf), r"row 5: volume must be a finite number, 0 or above, was inf"),
    "less than none": (put("volume", 4, -1.0), r"row 5: volume must be a finite number, 0 or above, was -1.0"),
    "out of order": (lambda table: table.take([*range(9, -1, -1), *range(10, len(table))]), r"date must increase, but .* is out of order"),
    "twice": (lambda table: table.take([0, 0, *range(1, len(table))]), r"row 2: date must increase, but S0 has a bar at .* already"),
    "no instant": (later, r"must be one of the dataset's instants, and is none"),
    "empty": (empty, r"close must be there in each row, was empty in 1"),
    "no column": (lambda table: table.drop_columns(["low"]), r"has no column 'low'"),
    "text": (lambda table: table.set_column(2, "open", table.column("open").cast(pa.string())), r"open must be a column of double, was string"),
    "fewer": (lambda table: table.slice(0, len(table) - 1), r"dataset.json: must have 1022 bars as it says, has 1021"),
    "a stranger": (
        lambda table: table.set_column(1, "symbol", pa.array(["X"] * len(table)).dictionary_encode()),
        r"'X' is no instrument of the dataset",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_dataset_is_refused_with_file_row_and_value(dataset: Path, damage: str) -> None:
    change, words = DAMAGES[damage]
    rewritten(dataset, change)
    with pytest.raises(DataError, match=words):
        streamed(dataset)
    with pytest.raises(DataError, match=words):
        check(dataset)


def test_a_damaged_dataset_by_symbol_is_refused_as_well(source: Path, tmp_path: Path) -> None:
    convert([source], tmp_path / "bars", Declared(**TIMES), by="symbol")
    rewritten(tmp_path / "bars", moved, part=1)
    with pytest.raises(DataError, match=r"symbol=S1/part-0.parquet, row 2: date must increase, but .* is out of order: it comes after .* \(S1\)"):
        streamed(tmp_path / "bars", room=Room(resident=1 << 26))


def test_parts_in_another_order_are_refused(dataset: Path) -> None:
    manifest = read_manifest(dataset)
    (dataset / "dataset.json").write_text(replace(manifest, parts=manifest.parts[::-1]).text())
    with pytest.raises(DataError, match=r"date must increase, but this row comes before those that were read before"):
        streamed(dataset)


def test_instants_that_run_backwards_are_refused(dataset: Path) -> None:
    rewritten(dataset, moved, name="instants")
    with pytest.raises(DataError, match=r"times must increase"):
        streamed(dataset)


def test_an_instant_without_bars_is_found(dataset: Path) -> None:
    manifest = read_manifest(dataset)
    part = manifest.parts[-1]
    table = pq.read_table(dataset / part.path)
    last = table.filter(pa.compute.not_equal(table.column("closed_at"), table.column("closed_at")[-1]))
    rewritten(dataset, lambda _: last, part=len(manifest.parts) - 1)
    fewer = replace(read_manifest(dataset), bars=manifest.bars - len(table) + len(last))
    (dataset / "dataset.json").write_text(fewer.text())
    with pytest.raises(DataError, match=r"instants.parquet, row 299: .* must have at least one bar, and has none"):
        check(dataset)


def test_the_bytes_of_a_dataset_are_checked(dataset: Path) -> None:
    pq.write_table(pq.read_table(dataset / "instants.parquet"), dataset / "instants.parquet", compression="zstd")
    assert len(streamed(dataset)) == 299
    with pytest.raises(DataError, match=r"instants.parquet: its SHA-256 must be .* as the manifest says, and is not"):
        check(dataset)


def test_files_that_are_missing_too_many_or_no_parquet_are_named(dataset: Path) -> None:
    (dataset / "more.txt").write_text("")
    with pytest.raises(DataError, match=r"more.txt: the manifest names no such file"):
        check(dataset)
    part = dataset / "month=2020-02" / "part-0.parquet"
    part.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"month=2020-02/part-0.parquet: must be a Parquet file, cannot be read"):
        streamed(dataset)
    part.unlink()
    with pytest.raises(DataError, match=r"month=2020-02/part-0.parquet: the file is not there, and the manifest names it"):
        streamed(dataset)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "dataset.json: is damaged"),
        ("[]", "dataset.json: is damaged"),
        ('{"format": "other", "version": 1}', "must be a 'tradewind dataset' of version 1, was 'other' of version 1"),
        ('{"format": "tradewind dataset", "version": 1, "by": "week"}', "by must be 'date' or 'symbol', was 'week'"),
    ],
)
def test_a_manifest_that_says_nothing_is_refused(dataset: Path, text: str, words: str) -> None:
    (dataset / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_manifest(dataset)


def test_a_folder_that_is_no_dataset_is_to_be_converted_first(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no dataset: it has no dataset.json; convert it first: tradewind data convert"):
        Dataset(str(source)).load(seed=0, folder=Path())
    with pytest.raises(DataError, match=r"there is no dataset"):
        Dataset("nowhere").load(seed=0, folder=tmp_path)
    with pytest.raises(DataError, match=r"feed.path must be the folder of a dataset, was empty"):
        Dataset("").load(seed=0, folder=tmp_path)
    with pytest.raises(DataError, match=r"feed.spool must be a folder"):
        Dataset(str(source), spool="nowhere").load(seed=0, folder=tmp_path)
    with pytest.raises(DataError, match=r"feed.memory_mib must be at least 1, was 0"):
        Dataset(str(source), memory_mib=0).load(seed=0, folder=tmp_path)


# Converting: whole, or not there at all.


def test_a_conversion_that_fails_leaves_nothing(source: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(HEADER + "2020-01-02T00:00,5,4,3,4,1\n")
    with pytest.raises(DataError, match=r"bad.csv, row 2: high must not be below open"):
        convert([source, bad], tmp_path / "made" / "out", Declared(**TIMES))
    assert list((tmp_path / "made").iterdir()) == []


def test_a_conversion_that_is_stopped_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert([source], tmp_path / "out", Declared(**TIMES), progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(source: Path, dataset: Path) -> None:
    with pytest.raises(SimulatorError, match=r"there is something at .* already: choose another place, or delete it"):
        convert([source], dataset, Declared(**TIMES))


def test_files_of_one_instrument_must_come_in_the_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + "2020-01-03,1,1,1,1,1\n")
    (tmp_path / "b.csv").write_text(HEADER + "2020-01-02,1,1,1,1,1\n")
    with pytest.raises(DataError, match=r"give the files in the order of time"):
        convert([tmp_path], tmp_path / "out", Declared(), symbol="X")


# The commands.


def command(*words: object) -> Any:
    return CliRunner().invoke(app, ["data", *map(str, words)])


def test_the_commands_convert_check_and_describe(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command("convert", source, out, "--by", "symbol", "--stamps", "open", "--interval", "6h")
    assert done.exit_code == 0
    assert f"dataset: {out} (1,022 bars of 5 symbols, by symbol)" in done.output
    assert "is what it says: 6 files, 1,022 bars of 5 symbols at 299 instants" in command("check", out).output
    told = json.loads(command("describe", out, "--format", "json").output)
    assert told["bars"] == "1,022 at 299 instants"
    assert told["symbols"][3] == {
        **{"symbol": "S3", "kind": "equity", "bars": "147", "from": "2020-01-26T06:00:00Z", "to": "2020-03-16T00:00:00Z"},
        "missing": "26.50%",
    }
    assert json.loads(command("describe", source, "--format", "json").output)["symbols"][0]["stamps"] == "times without a zone"


def test_the_commands_tell_mistakes_in_one_line(source: Path, tmp_path: Path) -> None:
    for words, said in (
        (("convert", source, tmp_path / "out"), "--stamps must say which side of a bar they are on"),
        (("convert", source), "data convert needs files, or folders of them, and the folder that the dataset is to be"),
        (("convert", source, tmp_path / "out", "--column", "close"), "--column must be NAME=VALUE, was 'close'"),
        (("convert", tmp_path / "none.csv", tmp_path / "out"), "there is no file"),
        (("check", source), "convert it first"),
        (("describe", tmp_path / "none"), "there is no file"),
    ):
        done = command(*words)
        assert done.exit_code == 2, words
        assert said in done.output
        assert len(done.output.strip().splitlines()) == 1
