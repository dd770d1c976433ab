"""The run folder of real runs: what is in it, that it is whole, and that the same run writes the same bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import simulator
from simulator import Result, SimulatorError
from simulator.report import folders, metrics

near = pytest.approx

BARS = {
    "AAA": {
        "date": ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"],
        "open": [100.0, 101.0, 102.0, 99.0, 98.0],
        "high": [102.0, 103.0, 103.0, 100.0, 99.0],
        "low": [99.0, 100.0, 98.0, 97.0, 95.0],
        "close": [101.0, 102.0, 99.0, 98.0, 96.0],
        "volume": [1000.0, 1000.0, 1000.0, 1000.0, 1000.0],
    }
}
ORDERS: list[dict[str, Any]] = [
    {"client_id": "in", "symbol": "AAA", "quantity": 150, "bar": 0},
    {"client_id": "never", "symbol": "AAA", "quantity": 10, "kind": "limit", "limit": 50.0, "tif": "DAY", "bar": 0},
    {"client_id": "out", "symbol": "AAA", "quantity": -150, "bar": 2},
    {"client_id": "nothing", "symbol": "AAA", "quantity": 0, "bar": 3},
    {"client_id": "waits", "symbol": "AAA", "quantity": -10, "kind": "limit", "limit": 120.0, "bar": 3},
]


def ran(orders: list[dict[str, Any]] = ORDERS) -> Result:
    """Orders over five bars, with a volume cap, a commission and slippage."""
    return simulator.run_orders(
        BARS,
        orders,
        cash=100_000.0,
        commission={"per_order": 1.0},
        slippage={"model": "bps", "bps": 10.0},
        participation=0.1,
        interval="1d",
        stamps="close",
    )


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return found


def test_a_run_folder_holds_everything(tmp_path: Path) -> None:
    folders.write(ran(), tmp_path / "run")
    names = ["equity.parquet", "fills.parquet", "journal.parquet", "orders.parquet", "report.html", "summary.json", "trips.parquet"]
    assert [path.name for path in sorted((tmp_path / "run").iterdir())] == names
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_same_run_writes_the_same_bytes(tmp_path: Path) -> None:
    folders.write(ran(), tmp_path / "one")
    folders.write(ran(), tmp_path / "deep" / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "deep" / "two")


def test_fills_and_equity_read_back_as_they_were(tmp_path: Path) -> None:
    result = ran()
    folders.write(result, tmp_path / "run")
    back = rows(tmp_path / "run", "fills")
    assert [(x["client_id"], x["bar"], x["quantity"], x["price"], x["commission"], x["slippage"]) for x in back] == [
        (x.client_id, x.bar, x.quantity, x.price, x.commission, x.slippage) for x in result.fills
    ]
    assert pq.read_table(tmp_path / "run" / "fills.parquet")["at"].cast("int64").to_pylist() == [x.at for x in result.fills]
    equity = rows(tmp_path / "run", "equity")
    assert [x["equity"] for x in equity] == result.equity.tolist()
    assert str(equity[0]["session"]) == "2024-01-02"


def test_orders_have_state_reason_and_waits(tmp_path: Path) -> None:
    folders.write(ran(), tmp_path / "run")
    back = {x["client_id"]: x for x in rows(tmp_path / "run", "orders")}
    assert {name: x["state"] for name, x in back.items()} == {
        "in": "filled",
        "never": "expired",
        "out": "filled",
        "nothing": "rejected",
        "waits": "accepted",
    }
    assert back["in"]["limit"] is None
    assert back["never"]["limit"] == 50.0
    assert [x["reason"] for x in back["in"]["waits"]] == ["volume cap"]
    assert [x["reason"] for x in back["waits"]["waits"]] == ["price not touched"]
    assert back["nothing"]["reason"] == "quantity rounds to zero lots"


def test_the_journal_is_decoded_row_by_row(tmp_path: Path) -> None:
    result = ran()
    folders.write(result, tmp_path / "run")
    back = rows(tmp_path / "run", "journal")
    assert len(back) == len(result.journal_table())
    fills = [x for x in back if x["kind"] == "fill"]
    assert [(x["symbol"], x["phase"], x["price"], x["commission"]) for x in fills] == [("AAA", "work", x.price, x.commission) for x in result.fills]
    limit = next(x for x in back if x["kind"] == "order" and x["limit"] == 50.0)
    assert (limit["order_kind"], limit["tif"], limit["lots"], limit["price"]) == ("limit", "DAY", 10, None)
    refused = next(x for x in back if x["kind"] == "refused")
    assert refused["reason"] == "quantity rounds to zero lots"
    ended = next(x for x in back if x["kind"] == "ended" and x["state"] == "expired")
    assert ended["order"] == limit["order"]
    waited = next(x for x in back if x["kind"] == "waited" and x["reason"] == "volume cap")
    assert waited["first"] <= waited["last"]
    assert waited["lots"] is None


class Plotting:
    """Puts two numbers on record at each second bar, and trades nothing."""

    def on_bars(self, view: simulator.View) -> tuple[()]:
        if view.row % 2 == 0:
            view.plot("spread", "z", 0.5 * view.row)
            view.plot("spread", "wide", -1.0)
        return ()


def test_what_was_plotted_is_a_table_of_its_own(tmp_path: Path) -> None:
    tape = simulator.tape_from_columns(BARS, interval="1d", stamps="close")
    result = simulator.simulate(tape, Plotting())
    folders.write(result, tmp_path / "run")
    back = pq.read_table(tmp_path / "run" / "plots.parquet")
    assert back["chart"].to_pylist() == ["spread"] * 6
    assert back["series"].to_pylist() == ["z"] * 3 + ["wide"] * 3
    assert back["value"].to_pylist() == [0.0, 1.0, 2.0, -1.0, -1.0, -1.0]
    assert back["closed_at"].cast("int64").to_pylist() == 2 * tape.closed_at[:5:2].tolist()


def test_a_halt_is_in_the_journal(tmp_path: Path) -> None:
    result = simulator.run_orders(BARS, ORDERS[:1], cash=10_000.0, limits=simulator.Limits(drawdown_max=0.01), interval="1d", stamps="close")
    folders.write(result, tmp_path / "run")
    (halt,) = [x for x in rows(tmp_path / "run", "journal") if x["kind"] == "halt"]
    assert (halt["measure"], halt["phase"], halt["equity"]) == ("drawdown", "risk", result.halts[0].equity)
    assert halt["order"] is None


def test_the_summary_has_metrics_reasons_costs_and_counts(tmp_path: Path) -> None:
    result = ran()
    folders.write(result, tmp_path / "run")
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    spent = sum(x.commission for x in result.fills)
    traded = sum(abs(x.quantity) * x.price for x in result.fills)
    assert found["journal_hash"] == result.hash
    assert found["metrics"]["cumulative_return"] == near(result.equity[-1] / 100_000 - 1)
    assert found["metrics"]["sharpe_lo"] is None
    assert found["undefined"]["sharpe_lo"].startswith("its autocorrelations reach over a year")
    assert found["costs"]["commission"] == near(spent)
    assert found["costs"]["commission_bps"] == near(1e4 * spent / traded)
    assert found["counts"]["orders_by_state"] == {"accepted": 1, "expired": 1, "filled": 2, "rejected": 1}
    assert found["drawdowns"][0]["depth"] == near(found["metrics"]["max_drawdown"])
    assert found["drawdowns"][0]["recovery"] is None
    assert found["bars"]["rows"] == 5


def test_a_loss_in_the_first_session_has_its_peak_before_it() -> None:
    result = simulator.run_orders(
        BARS, ORDERS[:1], cash=100_000.0, timing="same_close", commission={"per_order": 5_000.0}, interval="1d", stamps="close"
    )
    assert folders.summary(result)["drawdowns"][0]["peak"] == "2024-01-01"


def test_a_run_without_orders_has_empty_tables_with_their_columns(tmp_path: Path) -> None:
    folders.write(ran([]), tmp_path / "run")
    assert rows(tmp_path / "run", "orders") == rows(tmp_path / "run", "fills") == rows(tmp_path / "run", "journal") == []
    assert pq.read_schema(tmp_path / "run" / "orders.parquet").names[-1] == "waits"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["costs"]["commission_bps"] is None


def test_costs_count_a_contracts_multiplier() -> None:
    future = simulator.Instrument("AAA", tick="0", multiplier=50.0)
    result = simulator.run_orders(BARS, [ORDERS[0]], cash=1e6, instruments={"AAA": future}, commission={"bps": 2.0}, interval="1d", stamps="close")
    spent = folders.costs(result)
    assert spent.traded == near(150 * 101.0 * 50.0)
    assert spent.bps(spent.commission) == near(2.0)


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    folders.write(ran([]), tmp_path / "run")
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(SimulatorError, match=r"run folder .*run is not empty \(it holds mine.txt\): choose another, or delete it"):
        folders.write(ran([]), tmp_path / "run")
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "mine.txt"]


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(SimulatorError, match="run is a file: choose another place"):
        folders.check(tmp_path / "run")
    with pytest.raises(SimulatorError, match=r"cannot (write|look into) the run folder"):
        folders.write(ran([]), tmp_path / "run" / "inside")


class Breaking(Result):
    """A run whose fills cannot be read, to see what is left behind when writing fails halfway."""

    @property
    def fills(self) -> Any:
        raise OSError(28, "No space left on device")


def test_a_failure_halfway_leaves_nothing_behind(tmp_path: Path) -> None:
    good = ran()
    broken = Breaking(good.tape, good.journal, good.cash_start, good.rows)
    with pytest.raises(SimulatorError, match=r"cannot write the run folder .*run: No space left on device"):
        folders.write(broken, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_session_metrics_of_a_run_are_those_of_its_equity() -> None:
    result = ran()
    r = metrics.session_returns(result.equity, result.tape.sessions, result.cash_start)
    assert metrics.measures(result)["volatility"].value == metrics.volatility(r)
    assert metrics.measures(result)["cagr"].reason is None
