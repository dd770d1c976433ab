"""Runs over datasets that stream are the runs over the same bars in memory, whatever is in memory at a time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from simulator import assembly, scenarios
from simulator.book.orders import Proposal
from simulator.cli import app
from simulator.errors import ScenarioError
from simulator.feeds.conversion import convert
from simulator.feeds.datasets import By, streamed
from simulator.feeds.files import read_bars
from simulator.feeds.frames import Declared
from simulator.market.actions import Actions, Split, Suspension
from simulator.market.indicators import Indicator, sma, std
from simulator.market.rooms import Room
from simulator.market.tape import Tape
from simulator.market.view import View
from simulator.report import folders
from simulator.report.results import Result

TIMES: dict[str, Any] = {"stamps": "open", "interval": "6h"}
WIDTH = 5


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of five instruments, with holes, one listed late and one delisted early, and beside them as datasets by date and by symbol."""
    folder, rng, count = tmp_path_factory.mktemp("streaming"), np.random.default_rng(4), 240
    (folder / "files").mkdir()
    at = np.datetime64("2020-01-01T00:00") + np.arange(count) * np.timedelta64(6, "h")
    for k in range(WIDTH):
        there = rng.random(count) > 0.15
        there[: 90 if k == 3 else 0] = False
        there[150 if k == 4 else count :] = False
        close = np.round(100.0 + np.cumsum(rng.standard_normal(count)), 2)
        rows = [f"{at[t]},{close[t]:.2f},{close[t] + 1:.2f},{close[t] - 1:.2f},{close[t]:.2f},{1000 + t}\n" for t in np.flatnonzero(there)]
        (folder / "files" / f"S{k}.csv").write_text("date,open,high,low,close,volume\n" + "".join(rows))
    for by in ("date", "symbol"):
        convert([folder / "files"], folder / by, Declared(**TIMES), by="date" if by == "date" else "symbol")
    return folder


@pytest.fixture(scope="module")
def tape(bars: Path) -> Tape:
    return read_bars(bars / "files", **TIMES)


@dataclass
class Mixed:
    """Batches and single orders, by an indicator and by a window of closes; *interrupts* at a row."""

    interrupts: int = -1
    seen: list[float] = field(default_factory=list)

    def indicators(self) -> dict[str, Indicator]:
        return {"mean": sma(10), "spread": std(5, sma(3)), "ours": sma(4) / 2.0}

    def on_bars(self, view: View) -> Proposal:
        if view.row == self.interrupts:
            os.kill(os.getpid(), signal.SIGINT)
        window = view.history("close", min(view.row + 1, 60))
        self.seen.append(float(np.nansum(window)))
        rising = np.nan_to_num(view["mean"]) > np.nan_to_num(np.nanmean(window[-20:], axis=0) if len(window) >= 20 else view["close"])
        wishes: list[Any] = [view.rebalance(np.where(view.ages == 0, rising * 0.2, np.nan))]
        if view.row % 7 == 0 and view.ages[1] == 0:
            wishes.append(view.order(30, 1, kind=1, limit=view.value("close", 1) - 1.5, client_id=f"dip {view.row}"))
            wishes.append(view.remark("looked", 1))
        return wishes


class Woken(Mixed):
    """The same, called at times and when averages cross."""

    def wakes(self) -> tuple[Any, ...]:
        from simulator.loop.wakes import AtTimes, Crossing, EveryBars

        return EveryBars(11), AtTimes("12:00"), Crossing("mean", "close")


class Backward:
    """Looks back to the first bar, at every bar."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def on_bars(self, view: View) -> Proposal:
        self.seen.append(view.history("marks", view.row + 1).tobytes())
        return ()


def same(one: Result, other: Result) -> None:
    assert one.journal.read() == other.journal.read()
    assert one.hash == other.hash
    assert np.array_equal(one.equity, other.equity)
    assert one.cash == other.cash
    assert [*one.fills] == [*other.fills]
    assert one.positions == other.positions


STRATEGIES: dict[str, Callable[[], Any]] = {"every bar": Mixed, "woken": Woken}


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("by", ["date", "symbol"])
@pytest.mark.parametrize("resident", [1, 5_000, 1 << 26])
@pytest.mark.parametrize("kind", STRATEGIES)
def test_the_journal_equity_and_fills_are_those_in_memory(bars: Path, tape: Tape, by: By, resident: int, kind: str) -> None:
    plain, ours = STRATEGIES[kind](), STRATEGIES[kind]()
    known = assembly.simulate(tape, plain)
    assert len(known.fills) > 50
    found = assembly.simulate(streamed(bars / by, room=Room(resident=resident)), ours)
    same(found, known)
    assert ours.seen == plain.seen
    assert repr(found.orders) == repr(known.orders)
    assert repr(found.trips) == repr(known.trips)
    assert folders.summary(found) == folders.summary(known)


def test_a_look_back_past_what_is_in_memory_sees_what_was_there(bars: Path, tape: Tape) -> None:
    plain, ours = Backward(), Backward()
    assembly.simulate(tape, plain)
    assembly.simulate(streamed(bars / "date", room=Room(resident=1)), ours)
    assert ours.seen == plain.seen


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_what_was_done_before_ctrl_c_is_kept(bars: Path, tape: Tape) -> None:
    known = assembly.simulate(tape, Mixed(), bars=120)
    found = assembly.simulate(streamed(bars / "date", room=Room(resident=3_000)), Mixed(interrupts=120))
    assert found.interrupted
    assert found.rows == 120
    assert np.array_equal(found.equity, known.equity)
    assert found.journal.read()[: len(known.journal.read())] == known.journal.read()


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_bookings_between_trades_are_in_the_equity(bars: Path, tape: Tape) -> None:
    """Splits and financing, which are booked stretch by stretch."""
    from simulator.book.financing import Financing

    actions = Actions([Split("S1", int(tape.sessions[120]), 2, 1)])
    tape.actions = actions
    try:
        known = assembly.simulate(tape, Mixed(), financing=Financing(debit=0.1, credit=0.05))
        for resident in (1, 5_000):
            ours = streamed(bars / "symbol", room=Room(resident=resident))
            ours.actions = actions
            same(assembly.simulate(ours, Mixed(), financing=Financing(debit=0.1, credit=0.05)), known)
    finally:
        tape.actions = None
    assert known.bookings


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_the_folder_of_a_run_with_very_many_trades_has_the_same_tables(bars: Path, tape: Tape, tmp_path: Path) -> None:
    found = assembly.simulate(streamed(bars / "date", room=Room(resident=5_000)), Mixed())
    found.listed = 10
    known = assembly.simulate(tape, Mixed())
    for name, result in (("ours", found), ("plain", known)):
        folders.write(result, tmp_path / name)
    for name in ("equity", "fills", "orders", "journal"):
        ours, plain = (pq.read_table(tmp_path / each / f"{name}.parquet") for each in ("ours", "plain"))
        assert ours.equals(plain), name
    assert not (tmp_path / "ours" / "trips.parquet").exists()
    ours, plain = folders.summary(found), folders.summary(known)
    told = {"round_trips", "open_profit", "attribution"}
    assert {key: value for key, value in ours.items() if key not in told} == {key: value for key, value in plain.items() if key not in told}
    assert "are not told of" in (tmp_path / "ours" / "report.html").read_text()
    assert "are not told of" not in (tmp_path / "plain" / "report.html").read_text()


def test_what_needs_all_bars_in_memory_is_refused(bars: Path) -> None:
    ours = streamed(bars / "date")
    day = int(ours.sessions[50])
    for actions in (Actions([Suspension("S1", day, day + 2)]), Actions([Split("S1", day, 2, 1)], "chained")):
        ours.actions = actions
        with pytest.raises(ScenarioError, match="halts and chained signals need bars that are all there, in memory: a dataset that streams can have"):
            assembly.simulate(ours, Mixed())


SCENARIO = """
[feed]
kind = "{kind}"
{where}

[strategy]
name = "momentum"
lookback = 5
top = 2
every = 3
"""


def test_a_scenario_runs_a_dataset_as_it_runs_files(bars: Path, tmp_path: Path) -> None:
    lines = {"files": f'paths = ["{bars}/files"]\nstamps = "open"\ninterval = "6h"', "dataset": f'path = "{bars}/date"\nmemory_mib = 1'}
    hashes = set()
    for kind, where in lines.items():
        (tmp_path / f"{kind}.toml").write_text(SCENARIO.format(kind=kind, where=where))
        done = CliRunner().invoke(app, ["run", str(tmp_path / f"{kind}.toml"), "--no-trial", "--out", str(tmp_path / kind)])
        assert done.exit_code == 0, done.output
        hashes.add(pq.read_table(tmp_path / kind / "journal.parquet").num_rows)
        found = assembly.run(scenarios.load(str(tmp_path / f"{kind}.toml")), bars=60)
        assert found.rows == 60
    assert len(hashes) == 1
    for name in ("equity", "fills", "orders", "journal", "trips"):
        ours, plain = (pq.read_table(tmp_path / each / f"{name}.parquet") for each in ("dataset", "files"))
        assert ours.equals(plain), name
    stressed = CliRunner().invoke(app, ["run", str(tmp_path / "dataset.toml"), "--set", "stress.volatility=2"])
    assert stressed.exit_code == 2
    assert "a dataset that streams can have none" in stressed.output
