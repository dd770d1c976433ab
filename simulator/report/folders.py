"""The run folder: everything that a run leaves behind, whole or not there at all.

| file | what |
| --- | --- |
| scenario.toml | the scenario as it was run, overrides included (absent where there was none) |
| equity.parquet | equity at the close of each bar |
| fills.parquet, orders.parquet | every trade; every order with its state, reason and waits |
| journal.parquet | the journal's rows, each column by its own name |
| trips.parquet | every round trip, first in, first out |
| plots.parquet | what the strategy plotted (absent where it plotted nothing) |
| summary.json | ids, metrics, counts, costs, drawdowns and notes, and what `records` needs to read the run back |
| uncertainty.json | the fill interval of each figure (only with `--uncertainty`) |
| certificate.json | what was tried to catch it looking ahead, and what was found (only of `prove --out`) |
| trials.json | how the result stands among the trials of its family (only where they are counted) |
| report.html | the page to look at |

The same run writes the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from math import fsum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import SimulatorError
from simulator.report import attribution, benchmark, holdings, metrics, rolling, trades
from simulator.report.costs import statement

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.loop.prover import Certificate
    from simulator.report.bootstrap import Intervals
    from simulator.report.deflated import Standing
    from simulator.report.results import Result
    from simulator.report.uncertainty import Uncertainty


class Costs(NamedTuple):
    """What trading cost, in money: *traded* is the value of all fills at the prices paid, both sides."""

    traded: float
    commission: float
    slippage: float

    @property
    def total(self) -> float:
        """Commission and slippage."""
        return self.commission + self.slippage

    def bps(self, money: float) -> float:
        """*money* in basis points of the traded value; NaN where nothing was traded."""
        return 1e4 * money / self.traded if self.traded > 0.0 else float("nan")


def write(
    result: Result, folder: Path, doubt: Uncertainty | None = None, standing: Standing | None = None, certificate: Certificate | None = None
) -> None:
    """Write the run folder, first to a hidden place beside it, then by one rename.

    With what hangs on the paths inside the bars, how the result stands among its trials, and the proof that it does not look ahead, where these are
    known.

    Raises SimulatorError where the folder holds something already or cannot be written.
    """
    check(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as hidden:
            whole = Path(hidden) / folder.name
            whole.mkdir()
            _fill(result, whole, doubt, standing, certificate)
            if certificate:
                (whole / "certificate.json").write_text(_json(certificate.plain()), encoding="utf-8", newline="\n")
            if standing:
                (whole / "trials.json").write_text(_json(standing.plain()), encoding="utf-8", newline="\n")
            if doubt:
                (whole / "uncertainty.json").write_text(_json(doubt.plain()), encoding="utf-8", newline="\n")
            whole.replace(folder)
    except OSError as error:
        check(folder)
        raise SimulatorError(f"cannot write the run folder {folder}: {error.strerror or error}") from error


def check(folder: Path) -> None:
    """Refuse a place where no run folder can be, which is worth knowing before the run.

    Raises SimulatorError where the folder holds something already or is a file.
    """
    try:
        if folder.is_dir():
            first = min((path.name for path in folder.iterdir()), default=None)
            if first is not None:
                raise SimulatorError(f"the run folder {folder} is not empty (it holds {first}): choose another, or delete it")
        elif folder.exists() or folder.is_symlink():
            raise SimulatorError(f"the run folder {folder} is a file: choose another place")
    except OSError as error:
        raise SimulatorError(f"cannot look into the run folder {folder}: {error.strerror or error}") from error


def _fill(result: Result, folder: Path, doubt: Uncertainty | None, standing: Standing | None, certificate: Certificate | None) -> None:
    import pyarrow.parquet as pq

    from simulator.report import pages

    if result.scenario is not None:
        (folder / "scenario.toml").write_text(result.scenario.text, encoding="utf-8", newline="\n")
    tables = {"equity": equity_table(result), "fills": fills_table(result), "orders": orders_table(result)}
    tables |= {"trips": trips_table(result), "journal": journal_table(result)}
    if result.plots:
        tables["plots"] = plots_table(result)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    (folder / "summary.json").write_text(_json(summary(result)), encoding="utf-8", newline="\n")
    (folder / "report.html").write_text(pages.report(result, doubt, standing, certificate), encoding="utf-8", newline="\n")


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, indent=2, allow_nan=False) + "\n"


def costs(result: Result) -> Costs:
    """Commission, slippage and traded value of all fills, each summed in the order of the fills."""
    multipliers = {x.symbol: x.multiplier for x in result.tape.instruments}
    fills = result.fills
    traded = sum(abs(fill.quantity) * fill.price * multipliers[fill.symbol] for fill in fills)
    return Costs(float(traded), float(sum(fill.commission for fill in fills)), float(sum(fill.slippage for fill in fills)))


def summary(result: Result) -> dict[str, Any]:
    """The run in numbers, as JSON has them: a metric that is undefined is null, and its reason stands under `undefined`."""
    tape, rows, scenario = result.tape, result.rows, result.scenario
    against = benchmark.benchmark(result) if rows else None
    since = benchmark.since_first_fill(result, against) if against else None
    measured, spent = metrics.measures(result, benchmark=against.equity if against else None), costs(result)
    ends = metrics.session_ends(tape.sessions[:rows])
    told = statement(result)
    falls = metrics.drawdowns(np.concatenate(([result.cash_start], result.equity[ends])))
    turned = holdings.turnover_of(result)
    # V begins with the starting capital, which stood before the first session.
    days = [_day(day) for day in (tape.sessions[0] - 1, *tape.sessions[:rows][ends])] if rows else []
    # What was open at the end has told nobody yet what it waited for: the journal has waits that are over.
    waiting = [(order.order, wait) for order in result.orders if order.state in ("accepted", "partially_filled") for wait in order.waits]
    bars = {at: row for row, at in enumerate(tape.ats[:rows])} if waiting else {}
    return {
        "run_id": result.run_id,
        "code": None if scenario is None else result.journal.header.removeprefix(f"{scenario.text}\n").partition("\n")[0],
        "tape": {"digest": tape.digest(), "rows": len(tape), "symbols": [instrument.symbol for instrument in tape.instruments]},
        "waiting": [{"order": order, "reason": why, "first_bar": bars[a], "last_bar": bars[b]} for order, (why, a, b) in waiting],
        "journal_hash": result.hash,
        "scenario": None if scenario is None else {"name": scenario.name, "title": scenario.title, "seed": scenario.seed},
        "interrupted": result.interrupted,
        "bars": {
            "rows": rows,
            "sessions": len(ends),
            "instruments": tape.width,
            "first_open": _moment(tape.opened_at[0]) if rows else None,
            "last_close": _moment(tape.closed_at[rows - 1]) if rows else None,
            "sessions_a_year": metrics.periods_of(tape.sessions[:rows]),
        },
        "benchmark": None if against is None else {"name": against.name, "words": against.words, "equity": _number(against.equity[-1])},
        "since_first_fill": None if since is None else {"bar": since.row, "strategy": since.strategy, "benchmark": since.benchmark},
        "cash_start": float(result.cash_start),
        "cash": _number(result.cash),
        "equity": _number(result.equity[-1]) if rows else float(result.cash_start),
        "positions": {symbol: float(units) for symbol, units in result.positions.items()},
        "metrics": {name: _number(found.value) for name, found in measured.items()},
        "undefined": {name: found.reason for name, found in measured.items() if found.reason},
        "intervals": _chance(result.intervals),
        "drawdowns": [
            {
                "depth": fall.depth,
                "peak": days[fall.start],
                "trough": days[fall.trough],
                "recovery": None if fall.recovery is None else days[fall.recovery],
                "sessions": fall.duration,
            }
            for fall in falls
        ],
        "costs": {
            "traded": _number(spent.traded),
            "commission": _number(spent.commission),
            "slippage": _number(spent.slippage),
            "commission_bps": _number(spent.bps(spent.commission)),
            "slippage_bps": _number(spent.bps(spent.slippage)),
            "itemised": {cost.name: _number(cost.money) for cost in told.costs},
            "average_equity": _number(told.equity),
        },
        "booked": _booked(result),
        "round_trips": {side: _facts(found._asdict()) for side, found in trades.summarise(result.trips.closed).items()},
        "open_profit": _number(sum(trip.pnl for trip in result.trips.open)),
        "turnover": _facts({"two_sided": turned, "one_sided": metrics.Measured(turned.value / 2.0, turned.reason)}),
        "attribution": {
            "instrument": [_facts(part._asdict()) for part in attribution.attribution(result)],
            "sleeve": [_facts(part._asdict()) for part in attribution.attribution(result, "sleeve")],
        },
        "regimes": [_facts(each._asdict()) for each in rolling.by_regime(result, against.equity)] if against else [],
        "counts": {
            "fills": len(result.fills),
            "orders": len(result.orders),
            "orders_by_state": dict(Counter(order.state for order in result.orders)),
            "forced": len(result.forced),
            "halts": sum(halt.measure not in ("resumed", "released", "reduced") for halt in result.halts),
        },
        "notes": list(result.notes),
        "assumptions": list(result.assumptions),
    }


def _booked(result: Result) -> dict[str, float | None]:
    """What was booked without a trade, by its kind: into cash, and what of it is still to come."""
    sums: dict[str, list[float]] = {}
    for booking in (x for x in result.bookings if not x.ratio):
        sums.setdefault(booking.kind, []).append(booking.amount + booking.receivable)
    return {kind: _number(fsum(amounts)) for kind, amounts in sorted(sums.items())}


def _chance(found: Intervals) -> dict[str, Any]:
    figures = {name: {"low": _number(figure.low), "high": _number(figure.high)} for name, figure in found.figures.items()}
    return {"level": found.level, "block": _number(found.block), "histories": found.histories, "figures": figures, "undefined": found.reason}


def _facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has: what is undefined is null."""
    values = {name: fact.value if isinstance(fact, metrics.Measured) else fact for name, fact in facts.items()}
    return {name: _number(value) if isinstance(value, float) else value for name, value in values.items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _day(session: int) -> str:
    return str(np.datetime64(int(session), "D"))


def _moment(at: int) -> str:
    return datetime.fromtimestamp(int(at) // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")


# --- Tables


def _stamps(values: npt.ArrayLike) -> pa.Array:
    import pyarrow as pa

    return pa.array(np.asarray(values, np.int64)).cast(pa.timestamp("ns", "UTC"))


def _columns(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> dict[str, list[Any]]:
    """Rows as columns. There may be none of them."""
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def equity_table(result: Result) -> pa.Table:
    """closed_at, session and equity of each bar that was run."""
    import pyarrow as pa

    tape, rows = result.tape, result.rows
    days = pa.array(tape.sessions[:rows].astype(np.int32)).cast(pa.date32())
    return pa.table({"closed_at": _stamps(tape.closed_at[:rows]), "session": days, "equity": pa.array(result.equity)})


def fills_table(result: Result) -> pa.Table:
    """One row a trade; see results.FillRow."""
    import pyarrow as pa

    names = ("client_id", "bar", "quantity", "price", "commission", "symbol", "slippage", "order", "at", "ambiguous", "venue")
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    kinds = (text, whole, number, number, number, text, number, whole, pa.timestamp("ns", "UTC"), pa.bool_(), text)
    columns = _columns(result.fills, names)
    columns["client_id"] = [str(given) for given in columns["client_id"]]
    columns["venue"] = [venue or None for venue in columns["venue"]]
    return pa.table(columns, schema=pa.schema(list(zip(names, kinds, strict=True))))


def trips_table(result: Result) -> pa.Table:
    """One row a round trip; see trades.RoundTrip."""
    import pyarrow as pa

    whole, stamps = ("opened", "closed", "opening_order", "closing_order"), ("opened_at", "closed_at")
    names = trades.RoundTrip._fields
    kinds = {name: pa.int64() if name in whole else pa.timestamp("ns", "UTC") if name in stamps else pa.float64() for name in names}
    return pa.table(_columns(result.trips.closed, names), schema=pa.schema(list((kinds | {"symbol": pa.string()}).items())))


def orders_table(result: Result) -> pa.Table:
    """One row an order; see results.OrderRow. A limit or stop that it does not have is null, and so is the parent of one that has none."""
    import pyarrow as pa

    wait = pa.struct([("reason", pa.string()), ("first", pa.timestamp("ns", "UTC")), ("last", pa.timestamp("ns", "UTC"))])
    kinds = {
        "client_id": pa.string(),
        "symbol": pa.string(),
        "bar": pa.int64(),
        "quantity": pa.float64(),
        "kind": pa.string(),
        "limit": pa.float64(),
        "stop": pa.float64(),
        "tif": pa.string(),
        "state": pa.string(),
        "reason": pa.string(),
        "filled": pa.float64(),
        "order": pa.int64(),
        "parent": pa.int64(),
        "waits": pa.list_(wait),
    }
    columns = _columns(result.orders, list(kinds))
    columns["client_id"] = [str(given) for given in columns["client_id"]]
    for name in ("limit", "stop"):
        columns[name] = [price if price == price else None for price in columns[name]]
    columns["parent"] = [parent or None for parent in columns["parent"]]
    columns["waits"] = [[{"reason": why, "first": first, "last": last} for why, first, last in waits] for waits in columns["waits"]]
    return pa.table(columns, schema=pa.schema(list(kinds.items())))


def plots_table(result: Result) -> pa.Table:
    """chart, series, closed_at and value of each number that the strategy plotted, one series after the other."""
    import pyarrow as pa

    lines = [(chart, series, rows, values) for chart, drawn in result.plots.items() for series, (rows, values) in drawn.items()]
    schema = pa.schema([("chart", pa.string()), ("series", pa.string()), ("closed_at", pa.timestamp("ns", "UTC")), ("value", pa.float64())])
    parts = [
        pa.table([pa.repeat(chart, len(rows)), pa.repeat(series, len(rows)), _stamps(result.tape.closed_at[rows]), pa.array(values)], schema=schema)
        for chart, series, rows, values in lines
    ]
    return pa.concat_tables(parts).combine_chunks()


def journal_table(result: Result) -> pa.Table:
    """The journal's rows in their order, decoded: what a row's kind does not have is null. `records.journal_of` is the inverse."""
    import pyarrow as pa

    from simulator.book.fills import Booking, venue_of
    from simulator.book.orders import OrderKind, Reason, TimeInForce
    from simulator.loop import journal
    from simulator.report.results import STATE_OF
    from simulator.risk.engine import Measure

    rows = result.journal_table()
    kind, d, e = rows["kind"], rows["d"], rows["e"]

    def where(*kinds: int) -> npt.NDArray[np.bool_]:
        return np.isin(kind, kinds)

    def words(codes: npt.ArrayLike, known: dict[int, str], there: npt.NDArray[np.bool_]) -> pa.Array:
        """Each code's word, as indices into a dictionary: a word for each row would be a million Python strings."""
        keys = sorted(known)
        at = np.searchsorted(keys, np.where(there, codes, keys[0]))
        return pa.DictionaryArray.from_arrays(pa.array(at.astype(np.int32), mask=~there), pa.array([known[key] for key in keys])).cast(pa.string())

    def numbers(values: npt.NDArray[Any], there: npt.NDArray[np.bool_]) -> pa.Array:
        return pa.array(np.ascontiguousarray(values), mask=~there)

    def stamps(values: npt.NDArray[Any], there: npt.NDArray[np.bool_]) -> pa.Array:
        return numbers(values, there).cast(pa.timestamp("ns", "UTC"))

    def is_given(prices: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        # No price is the one NaN of Python. A strategy may have computed another, which was a price that cannot be.
        given: npt.NDArray[np.bool_] = prices.view(np.int64) != np.float64(np.nan).view(np.int64)
        return given

    # A refused replacement is a refused row that names the order it was to replace.
    replacing = where(journal.REPLACE) | (where(journal.REFUSED) & (e > 0))
    replaced = where(journal.REPLACED)
    wished = replaced | where(journal.ORDER, journal.BATCHED, journal.SLICED, journal.REFUSED) & ~replacing
    priced = wished | replacing
    filled, ended, waited, halted = where(journal.FILL), where(journal.ENDED), where(journal.WAITED), where(journal.HALT)
    itemised = where(journal.ITEMISED)
    sliced, refused, conditions = where(journal.SLICED), where(journal.REFUSED), where(journal.CONDITIONS)
    booked, split, adjusted, forced = where(journal.BOOKED), where(journal.RESCALED), where(journal.ADJUSTED), where(journal.FORCED)
    settled = booked | split | adjusted | forced
    placed = (wished | filled | itemised | ended | waited | conditions | settled | where(journal.CLEARED, journal.REMARK)) & (rows["instrument"] >= 0)
    everywhere = np.ones(len(rows), np.bool_)
    whys = np.where(refused, np.where(refused, rows["c"], 0.0).astype(np.int64), e)
    symbols = {i: x.symbol for i, x in enumerate(result.tape.instruments)}
    ids, named = result.journal.client_ids, where(journal.ORDER, journal.REFUSED, journal.REMARK)
    client_ids = [ids.get(order) if there else None for order, there in zip(rows["order"].tolist(), named.tolist(), strict=True)] if ids else None
    return pa.table(
        {
            "at": stamps(rows["at"], everywhere),
            "phase": words(rows["phase"], journal.PHASES, everywhere),
            "kind": words(kind, dict(enumerate(journal.KINDS)), everywhere),
            "symbol": words(rows["instrument"], symbols, placed),
            "order": numbers(rows["order"], ~(halted | booked | split | where(journal.CLEARED))),
            "client_id": pa.nulls(len(rows), pa.string()) if client_ids is None else pa.array(client_ids, pa.string()),
            "lots": numbers(rows["lots"], priced | filled | ended | settled),
            "order_kind": words(d % 256, {int(x): x.name.lower() for x in OrderKind}, wished),
            "tif": words(d // 256, {int(x): x.name for x in TimeInForce}, wished),
            "limit": numbers(rows["a"], (priced | adjusted) & is_given(rows["a"])),
            "stop": numbers(rows["b"], (priced | adjusted) & is_given(rows["b"])),
            "trail": numbers(np.where(adjusted, rows["c"], rows["a"]), (conditions & is_given(rows["a"])) | (adjusted & is_given(rows["c"]))),
            "trail_fraction": numbers(rows["b"], conditions & is_given(rows["b"])),
            "until": stamps(d, conditions & (d != 0)),
            "oco": numbers(rows["lots"], conditions & (rows["lots"] != 0)),
            "parent": numbers(e, sliced | (conditions & (e != 0))),
            "replaces": numbers(e, replacing | replaced),
            "price": numbers(np.where(booked, rows["c"], rows["a"]), filled | split | (booked & is_given(rows["c"]))),
            "slippage": numbers(rows["b"], filled),
            "commission": numbers(rows["c"], filled),
            "taker": pa.array(d == 1, mask=~filled),
            "ambiguous": pa.array(e == 1, mask=~filled),
            "venue": words(d, {code: venue_of(code) for code in np.unique(d[itemised]).tolist() if code} or {0: ""}, itemised & (d != 0)),
            "regulatory": numbers(rows["a"], itemised),
            "venue_fee": numbers(rows["b"], itemised),
            "permanent": numbers(rows["c"], itemised),
            "state": words(d, {code: str(state) for code, state in STATE_OF.items()}, ended),
            "reason": words(whys, {int(x): x.words for x in Reason}, ended | waited | refused | forced),
            "first": stamps(rows["lots"], waited),
            "last": stamps(d, waited),
            "measure": words(rows["order"], {int(x): x.name.lower() for x in Measure}, halted),
            "equity": numbers(rows["a"], halted),
            "floor": numbers(rows["b"], halted),
            "booking": words(d, {int(x): x.words for x in Booking}, booked),
            "amount": numbers(rows["a"], booked),
            "receivable": numbers(rows["b"], booked),
            "up": numbers(d, split),
            "down": numbers(e, split),
            "had": numbers(rows["a"], forced),
            "needed": numbers(rows["b"], forced),
        }
    )
