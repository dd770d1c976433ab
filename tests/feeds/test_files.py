"""Reading files: what was written comes back, at the times that were declared."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator.errors import DataError
from simulator.feeds.files import Files, read_bars
from simulator.feeds.frames import tape_from_frame
from simulator.feeds.synthetic import Walks
from simulator.market.tape import DAY, SECOND, Tape

HEADER = "date,open,high,low,close,volume\n"
GOOD = "2020-01-02,100,101,99,100.5,1000\n"
NEXT = "2020-01-03,100.5,102,100,101,1000\n"


@pytest.fixture
def frame() -> pd.DataFrame:
    """Two years of two instruments in long form, the second without every tenth day."""
    tape = Walks(bars=500, symbols=("A", "B"), tick="0").load(seed=3, folder=Path())
    dates = pd.Series(tape.sessions.astype("datetime64[D]")).dt.strftime("%Y-%m-%d")
    parts = []
    for i, symbol in enumerate("AB"):
        columns = {name: getattr(tape, name)[:500, i] for name in ("open", "high", "low", "close", "volume")}
        part = pd.DataFrame({"date": dates, "symbol": symbol} | columns)
        parts.append(part[part.index % 10 != 9] if symbol == "B" else part)
    return pd.concat(parts).sort_values(["date", "symbol"], ignore_index=True)


def same(one: Tape, other: Tape) -> bool:
    names = ("opened_at", "closed_at", "sessions", "open", "high", "low", "close", "volume", "ages")
    equal = all(np.array_equal(getattr(one, x)[: len(one)], getattr(other, x)[: len(other)], equal_nan=x not in names[:3]) for x in names)
    return equal and one.instruments == other.instruments and one.interval == other.interval


def write(folder: Path, text: str, name: str = "AAPL.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder / name


def at(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def test_text_parquet_and_frame_give_the_same_tape_to_the_last_bit(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "b.csv.gz", index=False)
    frame.to_parquet(tmp_path / "c.parquet")
    frame.assign(date=pd.to_datetime(frame["date"])).to_parquet(tmp_path / "d.parquet")
    tape = tape_from_frame(frame)
    assert [x.symbol for x in tape.instruments] == ["A", "B"]
    assert np.array_equal(tape.close[:500, 0], frame.loc[frame["symbol"] == "A", "close"])
    for name in ("a.csv", "b.csv.gz", "c.parquet", "d.parquet"):
        assert same(read_bars(tmp_path / name), tape), name


def test_parquet_stamps_may_be_of_any_type(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    prices = {name: [100.0, 100.0] for name in ("open", "high", "low", "close")} | {"volume": [5, 5]}
    days = np.array(["2020-01-02", "2020-01-03"], "datetime64[s]").astype(object)
    cases: list[tuple[Any, dict[str, Any]]] = [
        (pa.array(days, pa.date32()), {}),
        (pa.array(days, pa.timestamp("ms")), {}),
        (pa.array(days, pa.timestamp("us", tz="Asia/Tokyo")), {"stamps": "open", "interval": "1d"}),
    ]
    for stamps, declared in cases:
        pq.write_table(pa.table({"date": stamps, "symbol": pa.array(["A", "A"]).dictionary_encode()} | prices), tmp_path / "x.parquet")
        tape = read_bars(tmp_path / "x.parquet", **declared)
        assert tape.opened_at[:2].tolist() == [at("2020-01-02"), at("2020-01-03")]
        assert tape.instruments[0].symbol == "A"


def test_a_folder_holds_an_instrument_a_file(tmp_path: Path, frame: pd.DataFrame) -> None:
    for symbol, part in frame.groupby("symbol"):
        part.drop(columns="symbol").to_csv(tmp_path / f"{symbol}.csv", index=False)
    write(tmp_path, "what this is", "README.txt")
    assert same(read_bars(tmp_path), tape_from_frame(frame))


def test_a_feed_reads_several_paths_from_its_folder(tmp_path: Path, frame: pd.DataFrame) -> None:
    for symbol, part in frame.groupby("symbol"):
        part.drop(columns="symbol").to_csv(tmp_path / f"{symbol}.csv", index=False)
    tape = Files(paths=("A.csv", "B.csv")).load(seed=0, folder=tmp_path)
    assert same(tape, tape_from_frame(frame))
    assert tape.truth.source == "A.csv, B.csv"


def test_files_of_one_instrument_are_put_one_after_another(tmp_path: Path) -> None:
    write(tmp_path, HEADER + GOOD, "2019.csv")
    write(tmp_path, HEADER + NEXT, "2020.csv")
    assert len(Files(paths=("2019.csv", "2020.csv"), symbol="X").load(seed=0, folder=tmp_path)) == 2
    with pytest.raises(DataError, match=r"2019\.csv, row 2: X must go on after 2020-01-03, where 2020\.csv ends, begins at 2020-01-02"):
        Files(paths=("2020.csv", "2019.csv"), symbol="X").load(seed=0, folder=tmp_path)


def test_the_symbol_is_the_stem_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + GOOD, "BRK.B.csv.gz")
    path.write_bytes(gzip.compress((HEADER + GOOD).encode()))
    assert read_bars(path).instruments[0].symbol == "BRK.B"


def test_dates_name_utc_days_without_any_declaration(tmp_path: Path) -> None:
    tape = read_bars(write(tmp_path, HEADER + GOOD + NEXT))
    assert tape.opened_at[:2].tolist() == [at("2020-01-02"), at("2020-01-03")]
    assert tape.closed_at[:2].tolist() == [at("2020-01-03"), at("2020-01-04")]
    assert tape.interval == DAY


def test_dates_have_the_declared_hours(tmp_path: Path) -> None:
    tape = read_bars(write(tmp_path, HEADER + GOOD), hours="09:30-16:00 America/New_York")
    assert (tape.opened_at[0], tape.closed_at[0]) == (at("2020-01-02T14:30"), at("2020-01-02T21:00"))


@pytest.mark.parametrize(("side", "opened"), [("open", "2020-01-02T09:30"), ("close", "2020-01-02T09:25")])
@pytest.mark.parametrize(
    "stamp", ["2020-01-02 09:30", "2020-01-02T09:30:00", "2020-01-02T09:30Z", "2020-01-02T11:30:00.000+02:00", "2020-01-02 04:30-05:00"]
)
def test_a_stamp_is_the_declared_side_of_its_bar_in_any_zone_form(tmp_path: Path, side: str, opened: str, stamp: str) -> None:
    tape = read_bars(write(tmp_path, HEADER + GOOD.replace("2020-01-02", stamp)), stamps=side, interval="5m")
    assert (tape.opened_at[0], tape.closed_at[0]) == (at(opened), at(opened) + 300 * SECOND)


def test_times_of_a_zone_follow_its_clocks(tmp_path: Path) -> None:
    stamps = ("2020-03-06 15:55", "2020-03-09 15:55")
    text = HEADER + "".join(GOOD.replace("2020-01-02", stamp) for stamp in stamps)
    tape = read_bars(write(tmp_path, text), stamps="open", interval="5m", timezone="America/New_York")
    assert tape.opened_at[:2].tolist() == [at("2020-03-06T20:55"), at("2020-03-09T19:55")]


def test_an_evening_bar_belongs_to_the_local_date(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + GOOD.replace("2020-01-02", "2020-01-02 20:00"))
    assert read_bars(path, stamps="open", interval="1h", timezone="America/New_York").sessions[0] == at("2020-01-02") // DAY
    assert read_bars(path, stamps="open", interval="1h").sessions[0] == at("2020-01-02") // DAY
    assert read_bars(path, stamps="open", interval="1h", timezone="America/New_York").opened_at[0] == at("2020-01-03T01:00")


def test_a_byte_order_mark_dos_lines_quotes_and_no_last_newline_are_fine(tmp_path: Path) -> None:
    plain = read_bars(write(tmp_path, HEADER + GOOD + NEXT))
    odd = "\ufeff" + (HEADER + GOOD + NEXT).rstrip("\n").replace("2020-01-02", '"2020-01-02"').replace("\n", "\r\n")
    assert same(read_bars(write(tmp_path, odd)), plain)


def test_other_columns_are_ignored_and_any_order_and_case_will_do(tmp_path: Path) -> None:
    text = 'Volume,Close,note,Low,HIGH,Open,Timestamp\n1000,100.5,"a, ""b""",99,101,100,2020-01-02\n'
    assert same(read_bars(write(tmp_path, text)), read_bars(write(tmp_path, HEADER + GOOD)))


def test_columns_are_mapped_by_name(tmp_path: Path) -> None:
    text = "Day,open,high,low,close,Adj Close,volume\n2020-01-02,100,101,99,100.5,99.5,1000\n"
    tape = read_bars(write(tmp_path, text), columns={"date": "day", "close": "Adj Close"}, adjusted=True)
    assert tape.close[0, 0] == 99.5
    assert tape.truth.adjusted


def test_a_source_without_volume_has_no_cap(tmp_path: Path) -> None:
    tape = read_bars(write(tmp_path, "date,open,high,low,close\n2020-01-02,100,101,99,100\n"), volume="none")
    assert np.isinf(tape.volume[0, 0])
    assert tape.truth.volume == "none"


def test_closes_alone_stand_for_the_whole_bar(tmp_path: Path) -> None:
    tape = read_bars(write(tmp_path, "date,close\n2020-01-02,100.5\n"), opens="close_only", volume="none")
    assert [getattr(tape, name)[0, 0] for name in ("open", "high", "low", "close")] == [100.5] * 4


def test_a_missing_bar_is_nan_and_nothing_is_filled_in(tmp_path: Path) -> None:
    write(tmp_path, HEADER + GOOD + NEXT, "A.csv")
    write(tmp_path, HEADER + NEXT + NEXT.replace("03", "06"), "B.csv")
    tape = read_bars(tmp_path)
    assert np.isnan(tape.close[:3]).tolist() == [[False, True], [False, False], [True, False]]
    assert np.isnan(tape.volume[:3]).tolist() == np.isnan(tape.close[:3]).tolist() == np.isnan(tape.open[:3]).tolist()
    assert tape.marks[2, 0] == 101.0
    assert tape.ages[:3, 0].tolist() == [0, 0, 1]


def test_bars_that_overlap_across_instruments_are_refused(tmp_path: Path) -> None:
    write(tmp_path, HEADER + GOOD.replace("2020-01-02", "2020-01-02 09:00"), "A.csv")
    write(tmp_path, HEADER + GOOD.replace("2020-01-02", "2020-01-02 09:30"), "B.csv")
    with pytest.raises(DataError, match="overlap: one opens at 2020-01-02T08:30:00Z, before another closes at 2020-01-02T09:00:00Z"):
        read_bars(tmp_path, stamps="close", interval="1h")


def test_bad_bars_are_quarantined_and_listed_on_request(tmp_path: Path) -> None:
    bad = ("2020-01-06,100,98,99,100,5\n", "2020-01-07,-1,98,97,98,5\n", GOOD)
    tape = read_bars(write(tmp_path, HEADER + GOOD + NEXT + "".join(bad) + NEXT.replace("03", "08")), on_bad_bar="skip")
    assert len(tape) == 3
    assert tape.notes == (
        "skipped AAPL.csv, row 4: high must not be below low (99.0), was 98.0 (AAPL, 2020-01-06)",
        "skipped AAPL.csv, row 5: open must be a finite price above 0, was -1.0 (AAPL, 2020-01-07)",
        "skipped AAPL.csv, row 6: date must increase, but 2020-01-02 is out of order: it comes after 2020-01-03 in row 3 (AAPL)",
    )


def test_a_bar_that_was_skipped_does_not_make_another_a_duplicate(tmp_path: Path) -> None:
    tape = read_bars(write(tmp_path, HEADER + GOOD.replace("101", "1") + GOOD), on_bad_bar="skip")
    assert len(tape) == len(tape.notes) == 1


def test_skipping_never_skips_the_grammar(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"AAPL\.csv, row 2: close must be a decimal number"):
        read_bars(write(tmp_path, HEADER + GOOD.replace("100.5", "null")), on_bad_bar="skip")


def test_a_file_of_bad_bars_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"AAPL\.csv: no bar is left, all 1 are bad"):
        read_bars(write(tmp_path, HEADER + GOOD.replace("101", "1")), on_bad_bar="skip")


def test_a_refusal_says_how_many_more_bars_are_bad(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2: high must not .*; 1 more like it"):
        read_bars(write(tmp_path, HEADER + GOOD.replace("101", "1") + NEXT.replace("102", "1")))


def test_a_jump_of_more_than_40_percent_warns(tmp_path: Path) -> None:
    rows = [f"2020-01-0{day},{price},{price},{price},{price},5\n" for day, price in ((1, 100), (2, 140), (3, 197), (6, 118))]
    tape = read_bars(write(tmp_path, HEADER + "".join(rows)))
    assert tape.notes == (
        "AAPL, 2020-01-03: the close jumps by +40.7%, from 140.0 to 197.0, with no corporate action",
        "AAPL, 2020-01-06: the close jumps by -40.1%, from 197.0 to 118.0, with no corporate action",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paths": ()}, "feed.paths must name at least one file, was empty"),
        ({"paths": ("nothing.csv",)}, "feed.paths: there is no file "),
        ({"paths": ("notes.txt",)}, "notes.txt: must end in .csv, .csv.gz, .parquet"),
        ({"paths": ("empty",)}, "feed.paths: the folder "),
        ({"interval": "5 minutes"}, "feed.interval must be a whole number of s, m, h or d such as '5m' or '1d', was '5 minutes'"),
        ({"timezone": "New York"}, "feed.timezone: there is no time zone 'New York'"),
        ({"hours": "9-5"}, "feed.hours must look like '09:30-16:00 America/New_York', was '9-5'"),
        ({"stamps": "left"}, "feed.stamps must be 'open' or 'close', was 'left'"),
        ({"on_bad_bar": "ignore"}, "feed.on_bad_bar must be 'refuse' or 'skip', was 'ignore'"),
        ({"columns": {"clsoe": "Adj Close"}}, "feed.columns: no such key 'clsoe'; did you mean 'close'?"),
        ({"timezone": "UTC"}, "AAPL.csv: dates have no time of day, so feed.timezone says nothing; give feed.hours"),
        ({"columns": {"close": "Adj"}}, "AAPL.csv: feed.columns names 'Adj' for close, and there is none"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named_by_its_key(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    write(tmp_path, HEADER + GOOD)
    write(tmp_path, "", "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as refused:
        Files(**({"paths": ("AAPL.csv",)} | settings)).load(seed=0, folder=tmp_path)  # type: ignore[arg-type]
    assert message in str(refused.value)


def test_reading_text_imports_neither_pandas_nor_pyarrow(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + GOOD)
    code = f"import sys, simulator.feeds.files as f; f.read_bars({str(path)!r}); print({{'pandas', 'pyarrow'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
