"""What a run folder holds as tables, one function each: Arrow, for Parquet. `records` reads the journal's back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from simulator.report import trades

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.report.results import Result


PIECE: Final = 1 << 18
"""Rows to write at once of a run that streams."""


def _stamps(values: npt.ArrayLike) -> pa.Array:
    import pyarrow as pa

    return pa.array(np.asarray(values, np.int64)).cast(pa.timestamp("ns", "UTC"))


def _columns(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> dict[str, list[Any]]:
    """Rows as columns. There may be none of them."""
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def equity_tables(result: Result) -> Iterator[pa.Table]:
    """closed_at, session and equity of each bar that was run."""
    import pyarrow as pa

    tape = result.tape
    step = result.rows if tape.room is None else PIECE
    for first in range(0, result.rows, step) if result.rows else (0,):
        here = slice(first, min(first + step, result.rows))
        days = pa.array(tape.sessions[here].astype(np.int32)).cast(pa.date32())
        yield pa.table({"closed_at": _stamps(tape.closed_at[here]), "session": days, "equity": pa.array(result.equity[here])})


def fills_tables(result: Result) -> Iterator[pa.Table]:
    """One row a trade; see results.FillRow."""
    import pyarrow as pa

    from simulator.book.fills import venue_of
    from simulator.loop import journal

    names = ("client_id", "bar", "quantity", "price", "commission", "symbol", "slippage", "order", "at", "ambiguous", "venue")
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    kinds = (text, whole, number, number, number, text, number, whole, pa.timestamp("ns", "UTC"), pa.bool_(), text)
    venues = (venue_of(code) or None for part in result.parts_of(journal.ITEMISED) for code in part["d"].tolist())
    for fills, units, _ in result.fill_columns():
        columns = (
            result.names(fills["order"]),
            pa.array(journal.times_to_rows(result.tape, fills["at"])),
            pa.array(units),
            *(pa.array(np.ascontiguousarray(fills[name])) for name in ("a", "c")),
            _symbols(result, fills["instrument"]),
            *(pa.array(np.ascontiguousarray(fills[name])) for name in ("b", "order")),
            _stamps(fills["at"]),
            pa.array(fills["e"] == 1),
            pa.array([*islice(venues, len(fills))] or [None] * len(fills), text),
        )
        yield pa.table(list(columns), schema=pa.schema(list(zip(names, kinds, strict=True))))


def _symbols(result: Result, instruments: npt.NDArray[np.int32]) -> pa.Array:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(instruments), pa.array([x.symbol for x in result.tape.instruments])).cast(pa.string())


def trips_tables(result: Result) -> Iterator[pa.Table]:
    """One row a round trip; see trades.RoundTrip."""
    import pyarrow as pa

    whole, stamps = ("opened", "closed", "opening_order", "closing_order"), ("opened_at", "closed_at")
    names = trades.RoundTrip._fields
    kinds = {name: pa.int64() if name in whole else pa.timestamp("ns", "UTC") if name in stamps else pa.float64() for name in names}
    yield pa.table(_columns(result.trips.closed, names), schema=pa.schema(list((kinds | {"symbol": pa.string()}).items())))


def orders_tables(result: Result) -> Iterator[pa.Table]:
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
    schema = pa.schema(list(kinds.items()))
    if result.is_vast:
        yield from (_of_sent(result, *piece, schema) for piece in result.sent.pieces())
        return
    columns = _columns(result.orders, list(kinds))
    columns["client_id"] = [str(given) for given in columns["client_id"]]
    for name in ("limit", "stop"):
        columns[name] = [price if price == price else None for price in columns[name]]
    columns["parent"] = [parent or None for parent in columns["parent"]]
    columns["waits"] = [[{"reason": why, "first": first, "last": last} for why, first, last in waits] for waits in columns["waits"]]
    yield pa.table(columns, schema=schema)


def _of_sent(
    result: Result,
    ids: npt.NDArray[np.int64],
    columns: dict[str, npt.NDArray[Any]],
    counts: npt.NDArray[np.int64],
    waits: np.ndarray,
    schema: pa.Schema,
) -> pa.Table:
    """A piece of the orders of a vast run."""
    import pyarrow as pa

    from simulator.book.orders import OrderKind, Reason, TimeInForce

    up, down = result.tape.terms[columns["instrument"], :2].T
    reasons = {int(x): x.words for x in Reason}
    struct = pa.StructArray.from_arrays(
        [_words(waits["reason"], reasons), _stamps(waits["first"]), _stamps(waits["last"])], fields=list(schema.field("waits").type.value_type)
    )
    made = {
        "client_id": result.names(ids),
        "symbol": _symbols(result, columns["instrument"]),
        "bar": pa.array(columns["bar"]),
        "quantity": pa.array(columns["lots"] * up / down),
        "kind": _words(columns["code"] % 256, {int(x): x.name.lower() for x in OrderKind}),
        "limit": pa.array(columns["limit"], mask=np.isnan(columns["limit"])),
        "stop": pa.array(columns["stop"], mask=np.isnan(columns["stop"])),
        "tif": _words(columns["code"] // 256, {int(x): x.name for x in TimeInForce}),
        "state": _words(columns["state"], {code: str(state) for code, state in result.sent.words.items()}),
        "reason": _words(columns["reason"], reasons),
        "filled": pa.array(columns["filled"] * up / down),
        "order": pa.array(ids),
        "parent": pa.array(columns["parent"], mask=columns["parent"] == 0),
        "waits": pa.ListArray.from_arrays(pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32)), struct),
    }
    return pa.table(list(made.values()), schema=schema)


def _words(codes: npt.NDArray[Any], known: dict[int, str], there: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Each code's word, as indices into a dictionary: a word for each row would be a million Python strings. Those that are not *there* are null."""
    import pyarrow as pa

    keys = sorted(known)
    at = np.searchsorted(keys, codes if there is None else np.where(there, codes, keys[0])).astype(np.int32)
    coded = pa.array(at) if there is None else pa.array(at, mask=~there)
    return pa.DictionaryArray.from_arrays(coded, pa.array([known[key] for key in keys])).cast(pa.string())


def plots_tables(result: Result) -> Iterator[pa.Table]:
    """chart, series, closed_at and value of each number that the strategy plotted, one series after the other."""
    import pyarrow as pa

    lines = [(chart, series, rows, values) for chart, drawn in result.plots.items() for series, (rows, values) in drawn.items()]
    schema = pa.schema([("chart", pa.string()), ("series", pa.string()), ("closed_at", pa.timestamp("ns", "UTC")), ("value", pa.float64())])
    parts = [
        pa.table([pa.repeat(chart, len(rows)), pa.repeat(series, len(rows)), _stamps(result.tape.closed_at[rows]), pa.array(values)], schema=schema)
        for chart, series, rows, values in lines
    ]
    yield pa.concat_tables(parts).combine_chunks()


def journal_table(result: Result) -> pa.Table:
    """The journal's rows as one table; see `journal_tables`."""
    import pyarrow as pa

    return pa.concat_tables(journal_tables(result))


def journal_tables(result: Result) -> Iterator[pa.Table]:
    """The journal's rows in their order, decoded: what a row's kind does not have is null. `records.journal_of` is the inverse."""
    for rows in result.journal.parts():
        yield _decoded(result, rows)


def _decoded(result: Result, rows: np.ndarray) -> pa.Table:
    import pyarrow as pa

    from simulator.book.fills import Booking, venue_of
    from simulator.book.orders import OrderKind, Reason, TimeInForce
    from simulator.loop import journal
    from simulator.report.results import STATE_OF
    from simulator.risk.engine import Measure

    kind, d, e = rows["kind"], rows["d"], rows["e"]

    def where(*kinds: int) -> npt.NDArray[np.bool_]:
        return np.isin(kind, kinds)

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
            "phase": _words(rows["phase"], journal.PHASES, everywhere),
            "kind": _words(kind, dict(enumerate(journal.KINDS)), everywhere),
            "symbol": _words(rows["instrument"], symbols, placed),
            "order": numbers(rows["order"], ~(halted | booked | split | where(journal.CLEARED))),
            "client_id": pa.nulls(len(rows), pa.string()) if client_ids is None else pa.array(client_ids, pa.string()),
            "lots": numbers(rows["lots"], priced | filled | ended | settled),
            "order_kind": _words(d % 256, {int(x): x.name.lower() for x in OrderKind}, wished),
            "tif": _words(d // 256, {int(x): x.name for x in TimeInForce}, wished),
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
            "venue": _words(d, {code: venue_of(code) for code in np.unique(d[itemised]).tolist() if code} or {0: ""}, itemised & (d != 0)),
            "regulatory": numbers(rows["a"], itemised),
            "venue_fee": numbers(rows["b"], itemised),
            "permanent": numbers(rows["c"], itemised),
            "state": _words(d, {code: str(state) for code, state in STATE_OF.items()}, ended),
            "reason": _words(whys, {int(x): x.words for x in Reason}, ended | waited | refused | forced | (adjusted & (e != 0))),
            "first": stamps(rows["lots"], waited),
            "last": stamps(d, waited),
            "measure": _words(rows["order"], {int(x): x.name.lower() for x in Measure}, halted),
            "equity": numbers(rows["a"], halted),
            "floor": numbers(rows["b"], halted),
            "booking": _words(d, {int(x): x.words for x in Booking}, booked),
            "amount": numbers(rows["a"], booked),
            "receivable": numbers(rows["b"], booked),
            "up": numbers(d, split),
            "down": numbers(e, split),
            "had": numbers(rows["a"], forced),
            "needed": numbers(rows["b"], forced),
        }
    )
