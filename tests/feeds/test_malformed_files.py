"""Files that break the rules, each in its own way: every one is refused with its place and its reason."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import DataError
from simulator.feeds.files import read_bars

HEADER = b"date,open,high,low,close,volume\n"
GOOD = b"2020-01-02,100,101,99,100.5,1000\n"
NEXT = b"2020-01-03,100.5,102,100,101,1000\n"
MINUTES: dict[str, Any] = {"stamps": "close", "interval": "5m"}


def daily(*rows: bytes) -> bytes:
    return HEADER + b"".join(rows)


def minutes(*stamps: str) -> bytes:
    return HEADER + b"".join(f"{stamp},100,101,99,100,10\n".encode() for stamp in stamps)


MALFORMED: list[tuple[str, bytes, dict[str, Any], str]] = [
    # The bytes and lines of text.
    ("empty file", b"", {}, "bars.csv, row 1: must be a header that names the columns, was empty"),
    ("header alone", HEADER, {}, "bars.csv: has a header and no bar"),
    ("no header", GOOD + NEXT, {}, "bars.csv, row 1: must be a header that names the columns, was '2020-01-02,100,101,99,100.5,1000'"),
    ("utf-16", daily(GOOD).decode().encode("utf-16"), {}, "bars.csv, row 1: must be UTF-8, begins like UTF-16"),
    ("latin-1", daily(GOOD, b"2020-01-03,\xa3100,101,99,100,1000\n"), {}, "bars.csv, row 3: must be UTF-8, has the byte 0xa3"),
    ("nul byte", daily(GOOD, b"2020-01-03,100,101,99,1\x0000,1000\n"), {}, "bars.csv, row 3: has a NUL byte"),
    ("old Mac line ends", daily(GOOD + NEXT).replace(b"\n", b"\r"), {}, "bars.csv, row 1: has a carriage return inside the line"),
    ("blank line", daily(GOOD, b"\n", NEXT), {}, "bars.csv, row 3: is blank; leave no blank lines"),
    ("field too few", daily(GOOD, b"2020-01-03,100,101,99,100\n"), {}, "bars.csv, row 3: must have 6 fields as the header has, had 5"),
    ("field too many", daily(GOOD, b"2020-01-03,100,101,99,100,1000,7\n"), {}, "bars.csv, row 3: must have 6 fields as the header has, had 7"),
    ("cut off in the last line", daily(GOOD, b"2020-01-03,100,10"), {}, "bars.csv, row 3: must have 6 fields as the header has, had 3"),
    ("open quote", daily(GOOD, b'"2020-01-03,100,101,99,100,1000\n'), {}, "bars.csv, row 3: a quote is not closed on its line"),
    (
        "quote inside a field",
        daily(GOOD, b'2020-01-03,1"0"0,101,99,100,1000\n'),
        {},
        "bars.csv, row 3: a quote is not closed on its line, or stands inside",
    ),
    ("semicolons", daily(GOOD).replace(b",", b";"), {}, "bars.csv, row 1: fields must be separated by commas, seem to be by ';'"),
    # The columns.
    (
        "column missing",
        daily(GOOD).replace(b"close", b"last"),
        {},
        "bars.csv: has no column 'close' among date, open, high, low, last, volume; map it with columns",
    ),
    ("column twice", daily(GOOD).replace(b"high", b"OPEN"), {}, "bars.csv: has two columns 'open'; leave one"),
    (
        "volume missing",
        b"date,open,high,low,close\n2020-01-02,1,1,1,1\n",
        {},
        "has no column 'volume' among date, open, high, low, close; say volume = 'none'",
    ),
    (
        "two stamps",
        daily(GOOD).replace(b"volume", b"time"),
        {"volume": "none"},
        "bars.csv: both 'date' and 'time' could be the stamps; say which with columns",
    ),
    # The numbers.
    (
        "thousands separator",
        daily(b'2020-01-02,"1,000",1001,999,1000,5\n'),
        {},
        "row 2: open must be a decimal number such as 101.25, was '1,000': it has a comma inside",
    ),
    (
        "underscore",
        daily(b"2020-01-02,1_000,1001,999,1000,5\n"),
        {},
        "bars.csv, row 2: open must be a decimal number such as 101.25, was '1_000': it has an underscore",
    ),
    (
        "full-width digits",
        daily("2020-01-02,100,101,99,１００,5\n".encode()),
        {},
        "row 2: close must be a decimal number such as 101.25, was '１００': it has characters that are not",
    ),
    (
        "hexadecimal",
        daily(b"2020-01-02,100,0x65,99,100,5\n"),
        {},
        "bars.csv, row 2: high must be a decimal number such as 101.25, was '0x65': it has hexadecimal digits",
    ),
    (
        "nan",
        daily(GOOD, b"2020-01-03,100,101,nan,100,5\n"),
        {},
        "bars.csv, row 3: low must be a decimal number such as 101.25, was 'nan': it says that there is none",
    ),
    (
        "infinity",
        daily(b"2020-01-02,100,-Infinity,99,100,5\n"),
        {},
        "row 2: high must be a decimal number such as 101.25, was '-Infinity': it is infinite",
    ),
    ("empty price", daily(b"2020-01-02,100,101,99,,5\n"), {}, "bars.csv, row 2: close must be a decimal number such as 101.25, was '': it is empty"),
    (
        "space",
        daily(b"2020-01-02, 100,101,99,100,5\n"),
        {},
        "bars.csv, row 2: open must be a decimal number such as 101.25, was ' 100': it has white space",
    ),
    ("two points", daily(b"2020-01-02,1.0.0,101,99,100,5\n"), {}, "bars.csv, row 2: open must be a decimal number such as 101.25, was '1.0.0'"),
    ("too large", daily(b"2020-01-02,100,1e999,99,100,5\n"), {}, "bars.csv, row 2: high must be a finite price above 0, was inf (bars, 2020-01-02)"),
    # The stamps.
    (
        "American date",
        daily(b"01/02/2020,100,101,99,100,5\n"),
        {},
        "bars.csv, row 2: date must be like 2020-01-31 or 2020-01-31T09:30:00, then Z, +HH:MM or nothing, was '01/02/2020'",
    ),
    (
        "no such day",
        daily(b"2019-02-29,100,101,99,100,5\n"),
        {},
        "bars.csv, row 2: date must be a day and time that exist, from 1700 to 2261, was '2019-02-29'",
    ),
    (
        "distant year",
        daily(GOOD, b"9999-12-31,100,101,99,100,5\n"),
        {},
        "bars.csv, row 3: date must be a day and time that exist, from 1700 to 2261, was '9999-12-31'",
    ),
    (
        "date among times",
        minutes("2020-01-02T09:30", "2020-01-03"),
        MINUTES,
        "bars.csv, row 3: date must be a time without a zone as in the rows before, was a date: '2020-01-03'",
    ),
    (
        "zone forms mixed",
        minutes("2020-01-02T09:30Z", "2020-01-02T09:35"),
        MINUTES,
        "row 3: date must be a time with Z as in the rows before, was a time without a zone",
    ),
    (
        "side not declared",
        minutes("2020-01-02T09:30"),
        {"interval": "5m"},
        "bars.csv: its stamps have a time of day, so stamps must say which side of a bar they are on",
    ),
    (
        "interval not declared",
        minutes("2020-01-02T09:30"),
        {"stamps": "open"},
        "bars.csv: its stamps have a time of day, so interval must say how long a bar is",
    ),
    (
        "closer than declared",
        minutes("2020-01-02T09:30Z", "2020-01-02T09:31Z"),
        MINUTES,
        "row 3: bars has bars 60 s apart at 2020-01-02T09:31:00Z, but its interval is declared as 300 s",
    ),
    (
        "hour that does not exist",
        minutes("2020-03-08T01:55", "2020-03-08T02:30"),
        MINUTES | {"timezone": "America/New_York"},
        "bars.csv, row 3: date 2020-03-08 02:30:00 does not exist",
    ),
    (
        "hour that exists twice",
        minutes("2020-11-01T01:30"),
        MINUTES | {"timezone": "America/New_York"},
        "bars.csv, row 2: date 2020-11-01 01:30:00 is ambiguous",
    ),
    (
        "outside the hours",
        minutes("2020-01-02T09:30Z", "2020-01-02T16:05Z"),
        MINUTES | {"hours": "09:00-16:00 UTC"},
        "bars.csv, row 3: date must lie within hours, 09:00-16:00 UTC",
    ),
    (
        "interval against dates",
        daily(GOOD),
        {"interval": "1h"},
        "bars.csv: dates name daily sessions, so interval must be '1d' or left out, was '1h'",
    ),
    (
        "two zones told",
        minutes("2020-01-02T09:30Z"),
        MINUTES | {"timezone": "Asia/Tokyo"},
        "bars.csv: its stamps carry their own zone, so timezone must be left out",
    ),
    # The values.
    (
        "price of zero",
        daily(GOOD, b"2020-01-03,0,101,0,100,5\n"),
        {},
        "bars.csv, row 3: open must be a finite price above 0, was 0.0 (bars, 2020-01-03)",
    ),
    ("negative price", daily(b"2020-01-02,100,101,-99,100,5\n"), {}, "bars.csv, row 2: low must be a finite price above 0, was -99.0"),
    ("high below low", daily(b"2020-01-02,100,98,99,100,5\n"), {}, "bars.csv, row 2: high must not be below low (99.0), was 98.0"),
    ("high below open", daily(b"2020-01-02,100,99.5,99,99,5\n"), {}, "bars.csv, row 2: high must not be below open (100.0), was 99.5"),
    ("high below close", daily(b"2020-01-02,99,99.5,99,100,5\n"), {}, "bars.csv, row 2: high must not be below close (100.0), was 99.5"),
    ("low above open", daily(b"2020-01-02,99,101,100,100,5\n"), {}, "bars.csv, row 2: low must not be above open (99.0), was 100.0"),
    ("low above close", daily(b"2020-01-02,100,101,100,99,5\n"), {}, "bars.csv, row 2: low must not be above close (99.0), was 100.0"),
    ("negative volume", daily(GOOD, b"2020-01-03,100,101,99,100,-5\n"), {}, "bars.csv, row 3: volume must be a finite number, 0 or above, was -5.0"),
    ("unsorted", daily(NEXT, GOOD), {}, "bars.csv, row 3: date must increase, but 2020-01-02 is out of order: it comes after 2020-01-03 in row 2"),
    ("twice the same day", daily(GOOD, NEXT, NEXT), {}, "bars.csv, row 4: date must increase, but 2020-01-03 repeats 2020-01-03 in row 3"),
    ("no symbol", b"symbol," + HEADER + b"A," + GOOD + b"," + NEXT, {}, "bars.csv, row 3: symbol must not be empty"),
    ("another symbol", b"symbol," + HEADER + b"A," + GOOD, {"symbol": "B"}, "bars.csv, row 2: symbol must be 'B' as declared, was 'A'"),
]


@pytest.mark.parametrize(("content", "declared", "message"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_a_malformed_file_is_refused_with_its_place_and_reason(tmp_path: Path, content: bytes, declared: dict[str, Any], message: str) -> None:
    path = tmp_path / "bars.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_bars(path, **declared)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_each_file_is_malformed_in_its_own_way() -> None:
    assert len({case[3] for case in MALFORMED}) == len(MALFORMED) >= 40


@pytest.mark.parametrize("content", [b"no gzip at all", gzip.compress(daily(GOOD))[:-10]], ids=["no gzip", "cut off"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bars.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"bars\.csv\.gz: must be a whole gzip file, cannot be unpacked"):
        read_bars(tmp_path / "bars.csv.gz")


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bars.parquet").write_bytes(daily(GOOD))
    with pytest.raises(DataError, match=r"bars\.parquet: must be a Parquet file, cannot be read \(.+\)"):
        read_bars(tmp_path / "bars.parquet")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("close", ["100"], "bars.parquet: close must be a column of numbers, was string"),
        ("close", [None, 100.0], "bars.parquet, row 1: close must be a finite price above 0, was nan"),
        ("close", [100.0, float("inf")], "bars.parquet, row 2: close must be a finite price above 0, was inf"),
        ("volume", [1.0, float("nan")], "bars.parquet, row 2: volume must be a finite number, 0 or above, was nan"),
        ("date", ["2020-01-01", None], "bars.parquet, row 2: date must be there, was empty"),
        ("date", [20200101], "bars.parquet: date must be a column of text, was int64"),
        ("date", [], "bars.parquet: has columns and no bar"),
        ("symbol", ["A", None], "bars.parquet, row 2: symbol must be there, was empty"),
    ],
)
def test_a_malformed_parquet_file_is_refused(tmp_path: Path, column: str, values: list[Any], message: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = len(values)
    columns: dict[str, Any] = {"date": ["2020-01-01", "2020-01-02"][:n], "open": [100.0] * n, "high": [100.0] * n, "low": [100.0] * n}
    pq.write_table(pa.table(columns | {"close": [100.0] * n, "volume": [1.0] * n} | {column: values}), tmp_path / "bars.parquet")
    with pytest.raises(DataError) as refused:
        read_bars(tmp_path / "bars.parquet")
    assert message in str(refused.value)


def test_a_bad_line_far_into_a_file_is_named_by_its_number(tmp_path: Path) -> None:
    """Files are parsed in chunks of 50,000 lines."""
    lines = [f"2020-01-01T{k // 3600:02d}:{k // 60 % 60:02d}:{k % 60:02d}Z,1,1,1,1,1" for k in range(60_000)]
    lines[55_000] = lines[55_000].replace(",1,", ",x,")
    (tmp_path / "bars.csv").write_bytes(HEADER + "\n".join(lines).encode())
    with pytest.raises(DataError, match=r"bars\.csv, row 55002: open must be a decimal number"):
        read_bars(tmp_path / "bars.csv", stamps="close", interval="1s")
