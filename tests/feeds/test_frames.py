"""Frames and plain columns: the same declarations, the same checks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator.errors import DataError
from simulator.feeds.frames import tape_from_columns, tape_from_frame, tape_from_frames
from simulator.market.instruments import Instrument
from simulator.market.tape import DAY, SECOND

MINUTE = 60 * SECOND


def bars(n: int = 3, **other: Any) -> dict[str, Any]:
    return {"open": [100.0] * n, "high": [101.0] * n, "low": [99.0] * n, "close": [100.5] * n, "volume": [1000] * n} | other


def at(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


DAYS = ["2020-01-02", "2020-01-03", "2020-01-06"]
TIMES = ["2020-01-02T09:30", "2020-01-02T09:35", "2020-01-02T09:45"]


@pytest.mark.parametrize(
    "dates",
    [
        DAYS,
        [date.fromisoformat(day) for day in DAYS],
        [datetime.fromisoformat(day) for day in DAYS],
        [pd.Timestamp(day) for day in DAYS],
        [np.datetime64(day) for day in DAYS],
        np.array(DAYS, "datetime64[D]"),
        np.array(DAYS, "datetime64[ns]"),
        pd.to_datetime(DAYS),
        pd.Series(DAYS),
    ],
    ids=["text", "date", "datetime", "Timestamp", "datetime64", "array of days", "array of nanoseconds", "index", "series"],
)
def test_days_of_any_type_name_sessions(dates: Any) -> None:
    tape = tape_from_columns({"A": bars(date=dates)})
    assert tape.sessions[:3].tolist() == [at(day) // DAY for day in DAYS]
    assert tape.closed_at[:3].tolist() == [at(day) + DAY for day in DAYS]
    assert tape.interval == DAY


@pytest.mark.parametrize(
    "dates",
    [
        TIMES,
        [f"{x}Z" for x in TIMES],
        [datetime.fromisoformat(x) for x in TIMES],
        [datetime.fromisoformat(x).replace(tzinfo=UTC) for x in TIMES],
        [pd.Timestamp(x, tz="UTC").tz_convert("Asia/Tokyo") for x in TIMES],
        np.array(TIMES, "datetime64[s]"),
        pd.to_datetime(TIMES).tz_localize("UTC").tz_convert("America/New_York"),
    ],
    ids=["text", "text with Z", "datetime", "datetime in UTC", "Timestamp in Tokyo", "array of seconds", "index in New York"],
)
def test_times_of_any_type_are_closes_and_their_smallest_step_is_the_interval(dates: Any) -> None:
    tape = tape_from_columns({"A": bars(date=dates)})
    assert tape.closed_at[:3].tolist() == [at(x) for x in TIMES]
    assert tape.opened_at[:3].tolist() == [at(x) - 5 * MINUTE for x in TIMES]
    assert tape.interval == 5 * MINUTE


def test_what_is_declared_of_columns_is_not_inferred() -> None:
    tape = tape_from_columns({"A": bars(date=TIMES)}, stamps="open", interval="1m", timezone="America/New_York")
    assert (tape.opened_at[0], tape.interval) == (at("2020-01-02T14:30"), MINUTE)


def test_nanoseconds_of_a_timestamp_are_kept() -> None:
    dates = [pd.Timestamp(at("2020-01-02T09:30") + k * (SECOND + 1)) for k in range(3)]
    assert tape_from_columns({"A": bars(date=dates)}, interval="1s").closed_at[:3].tolist() == [x.value for x in dates]
    with pytest.raises(DataError, match="its stamps are 1000000001 ns apart, so interval must say how long a bar is"):
        tape_from_columns({"A": bars(date=dates)})


def test_plain_columns_have_no_price_grid_unless_an_instrument_gives_one() -> None:
    tape = tape_from_columns({"A": bars(date=DAYS), "B": bars(date=DAYS)}, instruments={"B": Instrument("B", tick="0.05", lot="0.1")})
    assert [(x.symbol, x.tick, x.lot) for x in tape.instruments] == [("A", "0", "1"), ("B", "0.05", "0.1")]
    with pytest.raises(DataError, match=r"instruments: there are no bars of 'C'; there is: A"):
        tape_from_columns({"A": bars(date=DAYS)}, instruments={"C": Instrument("C")})


def test_columns_without_volume_have_no_cap() -> None:
    columns = bars(date=DAYS)
    del columns["volume"]
    tape = tape_from_columns({"A": columns})
    assert np.isinf(tape.volume[:3]).all()
    assert tape.truth.volume == "none"


def test_columns_may_be_a_frame() -> None:
    frame = pd.DataFrame(bars(), index=pd.DatetimeIndex(DAYS))
    assert tape_from_columns({"A": frame}).digest() == tape_from_columns({"A": bars(date=DAYS)}).digest()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (bars(), "bars of 'A': has no column 'date' among open, high, low, close, volume"),
        (bars(date=DAYS, high=[101.0, 90.0, 101.0]), "bars of 'A', row 1: high must not be below low (99.0), was 90.0 (A, 2020-01-03)"),
        (bars(date=DAYS, close=["1", "2", "3"]), "bars of 'A', row 0: close must be a number, was '1'"),
        (bars(date=DAYS, close=[1.0, None, 3.0]), "bars of 'A', row 1: close must be a number, was None"),
        (bars(date=DAYS, close=[True, False, True]), "bars of 'A', row 0: close must be a number, was True"),
        (bars(date=DAYS, close=[100.5]), "bars of 'A': columns must be of one length, were date 3, open 3, high 3, low 3, close 1, volume 3"),
        (bars(0, date=[]), "bars of 'A': has no bar"),
        (bars(date=[1, 2, 3]), "bars of 'A', row 0: date must be a datetime, a date or ISO text, the same in all rows, was 1"),
        (bars(date=[*DAYS[:2], date(2020, 1, 6)]), "date must be a datetime, a date or ISO text, the same in all rows"),
        (bars(date=[*DAYS[:2], "6 January"]), "bars of 'A', row 2: date must be like 2020-01-31"),
        (bars(date=np.array([*DAYS[:2], "NaT"], "datetime64[s]")), "bars of 'A', row 2: date must be a time, was NaT"),
        (bars(date=np.array([*DAYS[:2], "9999-01-01"], "datetime64[s]")), "bars of 'A', row 2: date must lie from 1700 to 2261, was 9999-01-01"),
        (bars(date=[pd.Timestamp("2020-01-02"), pd.NaT, pd.NaT]), "bars of 'A', row 1: date must be a time, was NaT"),
        (bars(date=[datetime(2020, 1, 2), datetime(2020, 1, 3, tzinfo=UTC), datetime(2020, 1, 4)]), "row 1: date must be without a zone"),
        (bars(date=[DAYS[0], DAYS[0], DAYS[1]]), "bars of 'A', row 1: date must increase, but 2020-01-02 repeats 2020-01-02 in row 0"),
    ],
)
def test_columns_that_cannot_be_true_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as refused:
        tape_from_columns({"A": columns})
    assert message in str(refused.value)


def test_no_bars_at_all_are_refused() -> None:
    with pytest.raises(DataError, match="bars must map at least one symbol to its columns, was empty"):
        tape_from_columns({})


def test_a_frame_is_read_by_its_index_or_its_date_column() -> None:
    plain = tape_from_frame(pd.DataFrame(bars(date=DAYS)), "A")
    by_index = tape_from_frame(pd.DataFrame(bars(), index=pd.DatetimeIndex(DAYS)), "A")
    by_name = tape_from_frame(pd.DataFrame(bars(Date=DAYS)).set_index("Date"), "A")
    assert np.array_equal(plain.close[:3], by_index.close[:3])
    assert plain.closed_at[:3].tolist() == by_index.closed_at[:3].tolist() == by_name.closed_at[:3].tolist() == [at(day) + DAY for day in DAYS]


def test_a_frame_of_times_must_declare_them() -> None:
    frame = pd.DataFrame(bars(), index=pd.DatetimeIndex(TIMES))
    with pytest.raises(DataError, match=r"frame 'A': its stamps have a time of day, so stamps must say which side"):
        tape_from_frame(frame, "A")
    assert tape_from_frame(frame, "A", stamps="open", interval="5m").opened_at[:3].tolist() == [at(x) for x in TIMES]


def test_midnights_are_times_where_that_was_declared() -> None:
    frame = pd.DataFrame(bars(), index=pd.DatetimeIndex(DAYS))
    tape = tape_from_frame(frame, "A", stamps="close", interval="1d")
    assert tape.closed_at[:3].tolist() == [at(day) for day in DAYS]


def test_midnights_in_a_zone_are_times() -> None:
    with pytest.raises(DataError, match="so stamps must say which side"):
        tape_from_frame(pd.DataFrame(bars(), index=pd.DatetimeIndex(DAYS, tz="America/New_York")), "A")


def test_a_long_frame_a_wide_one_and_a_mapping_say_the_same() -> None:
    a, b = pd.DataFrame(bars(), index=pd.DatetimeIndex(DAYS)), pd.DataFrame(bars(2, close=[99.5, 100.0]), index=pd.DatetimeIndex(DAYS[1:]))
    mapped = tape_from_frames({"A": a, "B": b})
    assert np.isnan(mapped.close[:3]).tolist() == [[False, True], [False, False], [False, False]]
    long = pd.concat([a.assign(symbol="A"), b.assign(symbol="B")]).rename_axis("date").reset_index()
    wide = pd.concat({"A": a, "B": b}, axis=1)
    others = [tape_from_frame(x) for x in (long, long.set_index(["date", "symbol"]), wide, wide.swaplevel(axis=1))]
    for other in others:
        assert other.instruments == mapped.instruments
        assert other.closed_at[:3].tolist() == mapped.closed_at[:3].tolist()
        assert np.array_equal(other.close[:3], mapped.close[:3], equal_nan=True)


def test_a_hole_in_one_field_of_a_wide_frame_is_no_missing_bar() -> None:
    frame = pd.concat({"A": pd.DataFrame(bars(), index=pd.DatetimeIndex(DAYS)), "B": pd.DataFrame(bars(), index=pd.DatetimeIndex(DAYS))}, axis=1)
    frame.loc["2020-01-03", ("B", ["open", "high", "low", "close", "volume"])] = np.nan
    frame.loc["2020-01-06", ("B", "low")] = np.nan
    with pytest.raises(DataError, match=r"frame 'B', row 2: low must be a finite price above 0, was nan \(B, 2020-01-06\)"):
        tape_from_frame(frame)


def test_a_frame_must_say_of_which_instrument_it_is() -> None:
    with pytest.raises(DataError, match="frame: must say of which instrument it is, by symbol or in a column 'symbol'"):
        tape_from_frame(pd.DataFrame(bars(date=DAYS)))
    with pytest.raises(DataError, match="frames must hold at least one frame, was empty"):
        tape_from_frames({})


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame(bars(date=DAYS) | {"Close": [1.0] * 3})
    with pytest.raises(DataError, match="frame 'A': has two columns 'close'; leave one"):
        tape_from_frame(frame, "A")


def test_bad_bars_of_columns_are_quarantined_on_request() -> None:
    tape = tape_from_columns({"A": bars(date=DAYS, low=[99.0, 200.0, 99.0])}, on_bad_bar="skip")
    assert len(tape) == 2
    assert tape.notes == ("skipped bars of 'A', row 1: high must not be below low (200.0), was 101.0 (A, 2020-01-03)",)
    with pytest.raises(DataError, match="on_bad_bar must be 'refuse' or 'skip', was 'drop'"):
        tape_from_columns({"A": bars(date=DAYS)}, on_bad_bar="drop")
