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
from datetime import UTC, datetime
from itertools import chain
from math import fsum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.book.orders import Reason
from simulator.errors import SimulatorError
from simulator.report import attribution, benchmark, holdings, metrics, rolling, tables, trades
from simulator.report.costs import Statement, statement

if TYPE_CHECKING:
    from simulator.loop.prover import Certificate
    from simulator.market.tape import Tape
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
    made = {"equity": tables.equity_tables, "fills": tables.fills_tables, "orders": tables.orders_tables, "journal": tables.journal_tables}
    made |= {} if result.is_vast else {"trips": tables.trips_tables}
    made |= {"plots": tables.plots_tables} if result.plots else {}
    for name, pieces in made.items():
        written = pieces(result)
        first = next(written)
        with pq.ParquetWriter(folder / f"{name}.parquet", first.schema, compression="zstd") as file:
            for piece in chain((first,), written):
                file.write_table(piece)
    (folder / "summary.json").write_text(_json(summary(result)), encoding="utf-8", newline="\n")
    (folder / "report.html").write_text(pages.report(result, doubt, standing, certificate), encoding="utf-8", newline="\n")


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, indent=2, allow_nan=False) + "\n"


def costs(result: Result) -> Costs:
    """Commission, slippage and traded value of all fills, each summed in the order of the fills."""
    traded = commission = slippage = 0.0
    for fills, _, values in result.fill_columns():
        traded = sum(values.tolist(), traded)
        commission, slippage = sum(fills["c"].tolist(), commission), sum(fills["b"].tolist(), slippage)
    return Costs(traded, commission, slippage)


def summary(result: Result) -> dict[str, Any]:
    """The run in numbers, as JSON has them: a metric that is undefined is null, and its reason stands under `undefined`."""
    tape, rows, scenario = result.tape, result.rows, result.scenario
    against = benchmark.benchmark(result) if rows else None
    since = benchmark.since_first_fill(result, against) if against else None
    measured = metrics.measures(result, benchmark=against.equity if against else None)
    ends = metrics.session_ends(tape.sessions[:rows])
    falls = metrics.drawdowns(np.concatenate(([result.cash_start], result.equity[ends])))
    turned = holdings.turnover_of(result)
    ends_of = result.ends
    states: Counter[str] = Counter()
    for (state, _), count in ends_of.items():
        states[state] += count
    # V begins with the starting capital, which stood before the first session.
    days = [_day(day) for day in (tape.sessions[0] - 1, *tape.sessions[:rows][ends])] if rows else []
    return {
        "run_id": result.run_id,
        "code": None if scenario is None else result.journal.header.removeprefix(f"{scenario.text}\n").partition("\n")[0],
        "tape": {"digest": result.digest, "rows": len(tape), "symbols": [instrument.symbol for instrument in tape.instruments]},
        "waiting": _waiting(result),
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
        "costs": _spent(costs(result), statement(result)),
        "booked": _booked(result),
        # Of very many trades there are no round trips and no parts: they would not fit into memory.
        "round_trips": None if result.is_vast else {side: _facts(x._asdict()) for side, x in trades.summarise(result.trips.closed).items()},
        "open_profit": None if result.is_vast else _number(sum(trip.pnl for trip in result.trips.open)),
        "turnover": _facts({"two_sided": turned, "one_sided": metrics.Measured(turned.value / 2.0, turned.reason)}),
        "attribution": None
        if result.is_vast
        else {
            "instrument": [_facts(part._asdict()) for part in attribution.attribution(result)],
            "sleeve": [_facts(part._asdict()) for part in attribution.attribution(result, "sleeve")],
        },
        "regimes": [_facts(each._asdict()) for each in rolling.by_regime(result, against.equity)] if against else [],
        "counts": {
            "fills": len(result.fills),
            "orders": ends_of.total(),
            "orders_by_state": dict(states),
            "forced": len(result.forced),
            "halts": sum(halt.measure not in ("resumed", "released", "reduced") for halt in result.halts),
        },
        "notes": list(result.notes),
        "assumptions": list(result.assumptions),
    }


def _waiting(result: Result) -> list[dict[str, Any]]:
    """What each open order waited for: it has told nobody yet, since the journal has waits that are over."""
    if result.is_vast:
        still = sorted(result.still_waiting, key=lambda wait: wait.order)
        waiting = [(wait.order, (Reason(wait.reason).words, wait.first, wait.last)) for wait in still]
    else:
        waiting = [(order.order, wait) for order in result.orders if order.state in ("accepted", "partially_filled") for wait in order.waits]
    tape = result.tape
    return [{"order": order, "reason": why, "first_bar": _bar(tape, a), "last_bar": _bar(tape, b)} for order, (why, a, b) in waiting]


def _spent(spent: Costs, told: Statement) -> dict[str, Any]:
    """What trading cost: as the journal sums it, and item by item."""
    return {
        "traded": _number(spent.traded),
        "commission": _number(spent.commission),
        "slippage": _number(spent.slippage),
        "commission_bps": _number(spent.bps(spent.commission)),
        "slippage_bps": _number(spent.bps(spent.slippage)),
        "itemised": {cost.name: _number(cost.money) for cost in told.costs},
        "average_equity": _number(told.equity),
    }


def _bar(tape: Tape, at: int) -> int:
    return int(np.searchsorted(tape.closed_at[: len(tape)], at))


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
