"""The history inside installed packages: what there is, and what it says of itself."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import arch.data.nasdaq
import arch.data.wti
import numpy as np
import pytest

from simulator.errors import ScenarioError
from simulator.feeds.packaged import HISTORIES, Packaged
from simulator.market.calendars import day_text
from simulator.market.tape import Tape


def load(source: str, **settings: Any) -> Tape:
    return Packaged(source, **settings).load(seed=0, folder=Path())


@pytest.mark.parametrize(
    ("source", "rows", "symbols", "first", "last"),
    [
        ("nasdaq", 5031, 1, ("1999-01-04", 2208.050049), ("2018-12-31", 6635.279785)),
        ("sp500", 5031, 1, ("1999-01-04", 1228.099976), ("2018-12-31", 2506.850098)),
        ("vix", 1259, 1, ("2014-01-03", 13.76), ("2019-01-03", 25.45)),
        ("wti", 8321, 1, ("1986-01-02", 25.56), ("2019-01-03", 46.92)),
        ("stocks", 8313, 20, ("1990-01-02", 0.264), ("2022-12-28", 125.674)),
        ("sp500_index", 8313, 1, ("1990-01-02", 359.69), ("2022-12-28", 3783.22)),
    ],
)
def test_a_source_has_its_bars(source: str, rows: int, symbols: int, first: tuple[str, float], last: tuple[str, float]) -> None:
    tape = load(source)
    assert (len(tape), tape.width) == (rows, symbols)
    assert (day_text(tape.sessions[0]), tape.close[0, 0]) == first
    assert (day_text(tape.sessions[rows - 1]), tape.close[rows - 1, 0]) == last


def test_every_source_has_been_tried() -> None:
    assert set(HISTORIES) == {"nasdaq", "sp500", "vix", "wti", "stocks", "sp500_index"}


def test_the_values_are_those_that_the_package_loads() -> None:
    frame, tape = arch.data.nasdaq.load(), load("nasdaq")
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(tape, name)[: len(tape), 0], frame[name.title()].to_numpy())
    assert tape.sessions[: len(tape)].tolist() == frame.index.to_numpy().astype("datetime64[D]").astype(np.int64).tolist()


def test_a_day_without_a_price_is_no_bar() -> None:
    frame, tape = arch.data.wti.load().dropna(), load("wti")
    assert tape.sessions[: len(tape)].tolist() == frame.index.to_numpy().astype("datetime64[D]").astype(np.int64).tolist()
    assert not np.isnan(tape.close[: len(tape)]).any()


@pytest.mark.parametrize(
    ("source", "opens", "volume", "adjusted"),
    [
        ("nasdaq", "traded", "shares", False),
        ("sp500", "previous_close", "shares", False),
        ("vix", "close_only", "none", False),
        ("wti", "close_only", "none", False),
        ("stocks", "close_only", "none", True),
        ("sp500_index", "close_only", "none", False),
    ],
)
def test_a_source_says_what_it_is(source: str, opens: str, volume: str, adjusted: bool) -> None:
    tape = load(source)
    assert (tape.truth.opens, tape.truth.volume, tape.truth.adjusted) == (opens, volume, adjusted)
    assert tape.truth.caveats
    assert np.isinf(tape.volume[: len(tape)]).all() == (volume == "none")
    assert (tape.open == tape.close).all() == (opens == "close_only")


def test_what_is_said_of_opens_and_volume_is_so() -> None:
    for source, repeated in (("sp500", 0.9625), ("nasdaq", 0.0017)):
        tape = load(source, end=date(2005, 12, 30))
        assert (tape.open[1:, 0] == tape.close[:-1, 0])[: len(tape) - 1].sum() / len(tape) == pytest.approx(repeated, abs=1e-4)
    nasdaq = load("nasdaq")
    assert [day_text(nasdaq.sessions[k]) for k in np.flatnonzero(nasdaq.volume[: len(nasdaq), 0] == 0)] == ["2015-05-12", "2018-01-09"]


def test_no_bundled_bar_breaks_the_checks_and_jumps_are_listed() -> None:
    assert load("nasdaq").notes == load("sp500").notes == load("wti").notes == load("sp500_index").notes == ()
    assert [note.split(":")[0] for note in load("stocks").notes] == ["AAPL, 2000-09-29", "AMD, 2016-04-22", "RRC, 1990-04-10", "RRC, 1998-10-19"]
    assert len(load("vix").notes) == 7


def test_sessions_have_new_york_hours_in_summer_and_winter() -> None:
    tape = load("nasdaq", start=date(2004, 4, 2), end=date(2004, 4, 5))
    assert tape.closed_at[:2].astype("datetime64[ns]").astype("datetime64[m]").astype(str).tolist() == ["2004-04-02T21:00", "2004-04-05T20:00"]


def test_dates_and_symbols_can_be_chosen() -> None:
    tape = load("stocks", start=date(2000, 1, 1), end=date(2000, 1, 31), symbols=("XOM", "AAPL"))
    assert [x.symbol for x in tape.instruments] == ["XOM", "AAPL"]
    assert (day_text(tape.sessions[0]), day_text(tape.sessions[len(tape) - 1]), len(tape)) == ("2000-01-03", "2000-01-31", 20)
    whole = load("stocks")
    row = int(np.flatnonzero(whole.sessions[: len(whole)] == tape.sessions[0])[0])
    assert tape.close[0].tolist() == [whole.close[row, whole.index["XOM"]], whole.close[row, whole.index["AAPL"]]]


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("nasdak", {}, "feed.source: there is no packaged source 'nasdak'; did you mean 'nasdaq'?"),
        ("stocks", {"symbols": ("APPL",)}, "feed.symbols: stocks has no symbol 'APPL'; did you mean 'AAPL'?"),
        ("stocks", {"symbols": ("XOM", "XOM")}, "feed.symbols must name each symbol once, names 'XOM' twice"),
        ("nasdaq", {"symbols": ("QQQ",)}, "feed.symbols: nasdaq has no symbol 'QQQ'; there is: NASDAQ"),
        ("nasdaq", {"start": date(1998, 12, 31)}, "feed.start: nasdaq has 1999-01-04 to 2018-12-31, was 1998-12-31"),
        ("nasdaq", {"end": date(2019, 1, 1)}, "feed.end: nasdaq has 1999-01-04 to 2018-12-31, was 2019-01-01"),
        ("nasdaq", {"start": date(2001, 1, 1), "end": date(2000, 1, 1)}, "feed.end must not be before feed.start, and bars must lie between"),
        ("nasdaq", {"start": date(2018, 12, 29), "end": date(2018, 12, 30)}, "bars must lie between: was 2018-12-29 to 2018-12-30"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(source: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        load(source, **settings)
    assert message in str(refused.value)


def test_loading_imports_neither_pandas_nor_the_packages() -> None:
    code = (
        "import sys, pathlib, simulator.feeds.packaged as p; p.Packaged('nasdaq').load(seed=0, folder=pathlib.Path()); "
        "p.Packaged('stocks').load(seed=0, folder=pathlib.Path()); print({'pandas', 'pyarrow', 'arch', 'skfolio', 'sklearn'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


# --- Several sources


def test_sources_beside_each_other_are_on_one_tape_with_their_own_bars() -> None:
    start, end = date(2014, 1, 2), date(2014, 12, 31)
    tape = Packaged("nasdaq", start, end, beside=("wti", "sp500")).load(seed=0, folder=Path())
    assert [x.symbol for x in tape.instruments] == ["NASDAQ", "WTI", "SP500"]
    alone = Packaged("sp500", start, end).load(seed=0, folder=Path())
    own = ~np.isnan(tape.close[: len(tape), 2])
    assert tape.close[: len(tape)][own, 2].tolist() == alone.close[: len(alone), 0].tolist()
    assert tape.closed_at[: len(tape)][own].tolist() == alone.closed_at[: len(alone)].tolist()


def test_sources_together_promise_the_least_of_each() -> None:
    truth = Packaged("nasdaq", date(2014, 1, 2), date(2014, 3, 31), beside=("sp500",)).load(seed=0, folder=Path()).truth
    assert (truth.opens, truth.volume) == ("previous_close", "shares")
    truth = Packaged("nasdaq", date(2014, 1, 2), date(2014, 3, 31), beside=("wti",)).load(seed=0, folder=Path()).truth
    assert (truth.opens, truth.volume) == ("close_only", "none")
    assert any("spot price" in caveat for caveat in truth.caveats)
    assert any("index value" in caveat for caveat in truth.caveats)


def test_what_cannot_stand_beside_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"feed\.beside: there is no packaged source 'sp5000'; did you mean 'sp500'"):
        Packaged("nasdaq", beside=("sp5000",)).load(seed=0, folder=Path())
    with pytest.raises(ScenarioError, match=r"feed\.beside: two of the sources have the same symbol"):
        Packaged("sp500", beside=("sp500_index",)).load(seed=0, folder=Path())
