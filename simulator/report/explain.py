"""Why a run is as it is: what a session held at some time, and the story of one order. All of it follows from the journal and the tape."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from itertools import pairwise
from typing import Final

import numpy as np

from simulator.book.orders import OrderState, Reason
from simulator.book.portfolio import Portfolio
from simulator.errors import SimulatorError
from simulator.loop import journal as rows
from simulator.loop.journal import MemoryJournal, accounted, times_to_rows
from simulator.market.tape import DAY, FIELDS, SECOND, Tape
from simulator.report.records import Record, Wait
from simulator.report.results import STATE_OF
from simulator.report.telling import MADE, Columns, Entry, Part, Telling, closing, halt, itemised, money, price, quantity
from simulator.risk.engine import Measure

EPOCH: Final = date(1970, 1, 1)
EDGES: Final = 3
"""Of a long wait so many bars are told at each end."""

LIMITS: Final = {
    Reason.GROSS: "risk.gross_max",
    Reason.NET: "risk.net_max",
    Reason.NAME: "risk.name_max",
    Reason.NOTIONAL: "risk.notional_max",
    Reason.RATE: "risk.rate_max",
    Reason.GROUP: "risk.group_max",
    Reason.BETA: "risk.beta_max",
    Reason.LIQUIDITY: "risk.exit_days_max",
    Reason.LEVERAGE: "account.leverage_max",
}
"""The key of a scenario that has the limit which an order would have broken."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a session held after the close of the bar *row*: its account, lots still to fill by open order, and the halt that was in force."""

    row: int
    portfolio: Portfolio
    open_orders: dict[int, int]
    halt: Entry | None


def last_bar(record: Record, tape: Tape) -> int:
    """The row of the last bar that is known to have been run. Raises SimulatorError where none is."""
    bars = record.bars
    if bars is None and record.journal.rows:
        bars = int(times_to_rows(tape, record.journal.table()["at"][-1:])[0]) + 1
    if not bars:
        raise SimulatorError(f"{record.path}: {'no bar was run' if bars == 0 else 'it has no event yet'}, so that there is nothing to tell")
    return bars - 1


def bar_at(record: Record, tape: Tape, time: str) -> int:
    """The row of the last bar that had closed at *time*: a date (the end of that session), a date and time (UTC unless it says otherwise), or `end`.

    Raises SimulatorError where it is none of them, or outside of what was run.
    """
    last = last_bar(record, tape)
    if time == "end":
        return last
    day, at = _parsed(time)
    ends = tape.days if day is not None else tape.ats
    wanted, first, end = day if day is not None else at, ends[0], ends[last]
    place = f"from {closing(tape, 0)} to {closing(tape, last)}"
    if wanted < first:
        raise SimulatorError(f"--at {time} is before the first bar of {record.path}, which has bars {place}")
    if wanted > end:
        raise SimulatorError(f"--at {time} is after the last bar of {record.path}, which has bars {place}; 'end' is the last")
    found: np.ndarray = tape.sessions if day is not None else tape.closed_at
    return int(np.searchsorted(found[: last + 1], wanted, side="right")) - 1


def _parsed(time: str) -> tuple[int | None, int]:
    """A session in days since 1970, if *time* is a bare date; and UTC nanoseconds."""
    try:
        day = (date.fromisoformat(time) - EPOCH).days
    except ValueError:
        pass
    else:
        return day, day * DAY
    try:
        given = datetime.fromisoformat(time)
        since = (given if given.tzinfo else given.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise SimulatorError(f"--at must be a date (2001-09-17), a date and time in UTC (2001-09-17T14:30), or end, was {time!r}") from None
    return None, (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1_000


def holdings(record: Record, tape: Tape, row: int) -> Holdings:
    """Fold the journal up to the close of the bar *row*."""
    table = record.journal.table()
    table = table[: int(np.searchsorted(table["at"], tape.ats[row], side="right"))]
    journal = MemoryJournal()
    journal.rows += table.data
    portfolio, open_orders = accounted(journal, tape, record.scenario["account"]["cash"])
    bars = portfolio.bars
    bars.row, bars.closed_at = row, tape.ats[row]
    portfolio.mark(bars)
    halts = table[table["kind"] == rows.HALT]
    last = Entry(*halts[-1].tolist()) if len(halts) else None
    return Holdings(row, portfolio, open_orders, None if last is None or last.order in (Measure.RESUMED, Measure.RELEASED) else last)


def state(record: Record, tape: Tape, time: str) -> Iterator[Part]:
    """What the session held at *time*, as `bar_at` reads it, to be printed."""
    held = holdings(record, tape, bar_at(record, tape, time))
    telling, portfolio, row = Telling(record.journal, tape), held.portfolio, held.row
    profits = [portfolio.position(i) for i in range(portfolio.width)]
    positions = [(i, position) for i, position in enumerate(profits) if position.lots]
    yield "run", record.words()
    yield "at", f"bar {row:,}: {closing(tape, row)}"
    yield "equity", money(portfolio.equity)
    yield "cash", money(portfolio.cash)
    fills = telling.of_kind(rows.FILL) & (telling.table["at"] <= tape.ats[row])
    yield "realised", f"{money(sum(position.realised for position in profits))}, commissions of {money(telling.table['c'][fills].sum())} apart"
    yield "unrealised", money(sum(position.unrealised for _, position in positions))
    yield "halts", "none in force" if held.halt is None else f"since {telling.when(held.halt.at)}, {halt(held.halt)}"
    if record.bars is None:
        yield (
            "note",
            "the run has not ended: no digest says yet whether these are the bars that it sees, and what open orders wait for is not on record",
        )
    marks = tape.marks[row].tolist()
    lines = [
        (
            position.symbol,
            quantity(position.quantity),
            *map(price, (position.average, marks[i])),
            *map(money, (portfolio.sizes[i] * marks[i], position.unrealised, position.realised)),
        )
        for i, position in positions
    ]
    yield Columns("positions", ("", "units", "average", "mark", "value", "unrealised", "realised"), lines)
    yield Columns("open orders", ("", "wish", "left", "waits for"), list(_open(telling, record, tape, held)), (0, 1, 3))


def _open(telling: Telling, record: Record, tape: Tape, held: Holdings) -> Iterator[tuple[str, ...]]:
    """Each open order: its id, its wish, what is left of it and what it waits for."""
    table, at = telling.table, tape.ats[held.row]
    mine = np.isin(table["order"], list(held.open_orders))
    waits = {x.order: Reason(x.e).words for x in telling.entries(mine & telling.of_kind(rows.WAITED) & (table["lots"] <= at) & (table["d"] >= at))}
    waits |= {order: wait.reason for order, many in record.waiting.items() for wait in many if wait.first <= held.row <= wait.last}
    slices = Counter(table["e"][telling.of_kind(rows.SLICED) & (table["at"] <= at)].tolist())
    # What comes later in the journal tells that an order went on to another bar.
    later = {entry.order for entry in telling.entries(mine & (table["at"] > at))} | set(record.waiting)
    for entry in telling.entries(mine & telling.of_kind(*MADE) & (table["at"] <= at)):
        if entry.order in slices:
            waiting = f"its slices: {slices[entry.order]:,} sent so far"
        elif entry.order in waits:
            waiting = waits[entry.order]
        else:
            waiting = "its next bar" if entry.at == at or entry.order in later else "not on record: a wait is told when it is over"
        of = f", a slice of {telling.name(entry.e)}" if entry.kind == rows.SLICED else ""
        left = telling.units(entry.instrument, held.open_orders[entry.order])
        yield telling.name(entry.order).removeprefix("order "), telling.wish(entry) + of, left, waiting


# --- The story of an order


def find_order(record: Record, given: str) -> int:
    """The id of the order that a person calls *given*: its id, or a client_id (its first order, if it was sent again).

    Raises SimulatorError where there is none, and says what there is.
    """
    table = record.journal.table()
    known = set(table["order"][np.isin(table["kind"], (*MADE, rows.REFUSED, rows.REPLACE))].tolist())
    if given.isascii() and given.isdecimal() and len(given) < 19 and int(given) in known:
        return int(given)
    # The words of remarks are kept beside the client_ids.
    ids = {order: client_id for order, client_id in record.journal.client_ids.items() if order in known}
    named = [order for order, client_id in ids.items() if client_id == given]
    if named:
        return min(named)
    there = f"there are {len(known):,}, from {min(known)} to {max(known)}" if known else "it has none"
    # Neighbours in the alphabet are enough: to compare with a million of them takes too long.
    words = sorted(set(ids.values()))
    place = bisect_left(words, given)
    close = get_close_matches(given, words[max(0, place - 500) : place + 500], n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise SimulatorError(f"{record.path} has no order '{given}': {there}{hint}")


def story(record: Record, tape: Tape, order: int) -> Iterator[Part]:
    """All that came of one order, to be printed. It is there: see `find_order`."""
    telling = Telling(record.journal, tape)
    own = telling.about([order])[order]
    made = next((x for x in own if x.kind in (*MADE, rows.REFUSED)), own[0])
    children = telling.about(telling.table["order"][telling.of_kind(rows.SLICED) & (telling.table["e"] == order)].tolist())
    # Each fill with what is behind its costs, where that was told.
    traded = [
        (x, after if after is not None and after.kind == rows.ITEMISED else None)
        for entries in (own, *children.values())
        for x, after in pairwise((*entries, None))
        if x is not None and x.kind == rows.FILL
    ]
    traded.sort(key=lambda pair: (pair[0].at, pair[0].order))
    fills = [x for x, _ in traded]
    yield "run", record.words()
    yield "order", telling.name(order).removeprefix("order ")
    yield from _decision(telling, record, own, made)
    yield from _changes(telling, order)
    if children:
        yield Columns("slices", ("", "sent", "units", "filled", "end"), [_slice(telling, x) for x in children.values()], (0, 1, 4))
    waits = [Wait(Reason(x.e).words, telling.row(x.lots), telling.row(x.d)) for x in own if x.kind == rows.WAITED]
    bars = _bars(telling, made, [*waits, *record.waiting.get(order, ())], fills, _ended(own, made))
    if bars:
        yield Columns("bars", ("", *FIELDS, ""), bars, (0, 6))
    if fills:
        yield Columns(
            "fills",
            ("", "units", "price", "reference", "slippage", "commission", ""),
            [_fill(telling, x, items, made) for x, items in traded],
            (0, 6),
        )
    yield "end", _end(telling, record, own, made, fills)
    yield "cost", _cost(tape, fills)


def _decision(telling: Telling, record: Record, own: Sequence[Entry], made: Entry) -> Iterator[Part]:
    """Where an order comes from, what it asks for, what the bar was like after which it was decided, and how the checks went."""
    assert telling.tape is not None
    asked, instrument = next(x for x in own if x.kind != rows.FORCED), telling.instrument(made)
    if made.e:
        origin = telling.made(made.e)
        yield "slice of" if made.kind == rows.SLICED else "replaces", telling.event(origin) if origin else f"order {made.e}, which there never was"
    yield "wish", telling.wish(made)
    linked = telling.of_kind(rows.CONDITIONS) & ((telling.table["order"] == made.order) | (telling.table["e"] == made.order))
    yield from (("with", telling.event(entry)) for entry in telling.entries(linked))
    row = telling.row(asked.at)
    yield "sent in" if made.kind == rows.SLICED else "decided", f"bar {row:,}: {closing(telling.tape, row)}"
    bar = zip(FIELDS, telling.prices(row, instrument) if instrument is not None else (), strict=False)
    yield "bar", ", ".join(f"{name} {value}" for name, value in bar if value) or "there was none"
    for entry in telling.entries(telling.of_kind(rows.HALT) & (telling.table["at"] == asked.at)):
        yield "halt", halt(entry)
    for entry in own:
        if entry.kind == rows.FORCED and entry.lots:
            yield "sent by", telling.event(entry)
    for entry in telling.entries(telling.of_kind(rows.REMARK) & (telling.table["at"] == asked.at)):
        if entry.instrument in (-1, instrument):
            yield "remark", telling.words(entry)
    if made.kind == rows.REFUSED:
        yield "checks", f"refused: {_why_not(telling, record, made)}"
    elif made.kind != rows.SLICED:
        yield "checks", "approved"


def _why_not(telling: Telling, record: Record, made: Entry) -> str:
    """The reason for a refusal, with the limit or the order that it goes by."""
    reason = Reason(int(made.c))
    if reason in LIMITS:
        table, key = LIMITS[reason].split(".")
        return f"{reason.words} ({table}.{key} is {record.scenario[table][key]:g})"
    ids = telling.journal.client_ids
    if reason in (Reason.DUPLICATE, Reason.CLIENT_ID_REUSED):
        return f"{reason.words} (order {min(order for order, client_id in ids.items() if client_id == ids[made.order])})"
    return reason.words


def _changes(telling: Telling, order: int) -> Iterator[Part]:
    """What was asked of an order later: to be cancelled, replaced, or sent again."""
    table, ids = telling.table, telling.journal.client_ids
    own = table["order"] == order
    cancels = own & telling.of_kind(rows.CANCEL)
    gone = own & telling.of_kind(rows.ENDED) & (table["e"] == Reason.UNKNOWN_ORDER) & cancels.any()
    replacements = (table["e"] == order) & telling.of_kind(rows.REPLACE, rows.REPLACED, rows.REFUSED)
    again = [other for other, client_id in ids.items() if order in ids and client_id == ids[order] and other > order]
    for entry in telling.entries(cancels | gone | replacements | (np.isin(table["order"], again) & telling.of_kind(rows.REFUSED))):
        said = "it was gone, so that there was nothing to cancel" if entry.kind == rows.ENDED else telling.event(entry)
        yield "change", f"{telling.when(entry.at)}: {said}"


def _ended(own: Sequence[Entry], made: Entry) -> Entry | None:
    """The end of an order. That there was nothing to cancel any more is none."""
    return next((x for x in own if x.kind == rows.ENDED and (x.e != Reason.UNKNOWN_ORDER or made.kind == rows.REPLACE)), None)


def _slice(telling: Telling, entries: Sequence[Entry]) -> tuple[str, ...]:
    """A child: its id, when it was sent, its units, what of them was filled, and how it ended."""
    made, ended = entries[0], _ended(entries, entries[0])
    filled = sum(x.lots for x in entries if x.kind == rows.FILL)
    became = f"{STATE_OF[ended.d]}: {Reason(ended.e).words}" if ended else "filled" if filled == made.lots else "open"
    return str(made.order), telling.when(made.at), *(telling.units(made.instrument, lots) for lots in (made.lots, filled)), became


def _bars(telling: Telling, made: Entry, waits: Sequence[Wait], fills: Sequence[Entry], ended: Entry | None) -> list[tuple[str, ...]]:
    """The bars that an order met, and what came of it in each: of a long wait in which nothing happened only the ends."""
    told: dict[int, list[str]] = {}
    for x in fills:
        told.setdefault(telling.row(x.at), []).append(f"{'bought' if x.lots > 0 else 'sold'} {telling.units(x.instrument, x.lots)}")
    if ended and ended.at > made.at:
        told.setdefault(telling.row(ended.at), [])
    lines: list[tuple[int, str, tuple[str, ...], str]] = []
    for reason, first, last in waits:
        for row, words in told.items():
            if first <= row <= last:
                words.append(reason)
        for quiet in _stretches(first, last, told):
            shown = [*quiet]
            if len(quiet) > 2 * EDGES + 1:
                between, shown = quiet[EDGES:-EDGES], [*quiet[:EDGES], *quiet[-EDGES:]]
                lines.append((between[0], f"{len(between):,} more", telling.range(between[0], between[-1], made.instrument), reason))
            lines += [(row, telling.bar(row), telling.prices(row, made.instrument), reason) for row in shown]
    if ended and ended.at > made.at:
        told[telling.row(ended.at)].append(STATE_OF[ended.d].value)
    lines += [(row, telling.bar(row), telling.prices(row, made.instrument), "; ".join(words)) for row, words in told.items()]
    return [(bar, *prices, words) for _, bar, prices, words in sorted(lines)]


def _stretches(first: int, last: int, without: Iterable[int]) -> Iterator[range]:
    """What is left of the rows from *first* to *last* without some."""
    for row in (*sorted(row for row in without if first <= row <= last), last + 1):
        if first < row:
            yield range(first, row)
        first = row + 1


def _fill(telling: Telling, fill: Entry, items: Entry | None, made: Entry) -> tuple[str, ...]:
    """A fill: its bar, units, price, the price before slippage, slippage, commission, and whether it took or made the price.

    An ambiguous one hangs on the path inside the bar, which nobody knows.
    """
    assert telling.tape is not None
    up, down, multiplier = telling.tape.terms[fill.instrument, :3].tolist()
    reference = fill.a - fill.b / (fill.lots * up / down * multiplier)
    words = ("taker" if fill.d else "maker") + (f", slice {fill.order}" if fill.order != made.order else "") + (", ambiguous" if fill.e else "")
    words += f", {itemised(items)}" if items and itemised(items) else ""
    units = telling.units(fill.instrument, fill.lots)
    return telling.when(fill.at), units, price(fill.a), price(reference), money(fill.b), money(fill.c), words


def _end(telling: Telling, record: Record, own: Sequence[Entry], made: Entry, fills: Sequence[Entry]) -> str:
    """What became of an order."""
    if made.kind == rows.REFUSED:
        return "rejected"
    ended, left = _ended(own, made), made.lots - sum(x.lots for x in fills)
    unfilled = (
        f", {telling.units(made.instrument, left)} of {telling.units(made.instrument, made.lots)} unfilled" if left and made.kind in MADE else ""
    )
    if ended:
        words = "as asked" if STATE_OF[ended.d] == OrderState.REPLACED else Reason(ended.e).words
        return f"{STATE_OF[ended.d]} {telling.when(ended.at)}: {words}{unfilled}"
    if not left:
        bars = telling.row(fills[-1].at) - telling.row(own[0].at)
        return f"filled {telling.when(fills[-1].at)}, {f'{bars:,} bars later' if bars > 1 else 'one bar later' if bars else 'in that very bar'}"
    waiting = record.waiting.get(made.order, ())
    why = f": {waiting[-1].reason}" if waiting else "" if record.path.is_dir() else "; what it waited for is told when a wait is over"
    return f"still open after the last bar{unfilled}{why}"


def _cost(tape: Tape, fills: Sequence[Entry]) -> str:
    """What trading an order cost."""
    if not fills:
        return "nothing"
    traded = sum(abs(x.lots) * tape.terms[x.instrument, 3] * x.a for x in fills)
    slippage, commission = sum(x.b for x in fills), sum(x.c for x in fills)
    bps = f", {1e4 * (slippage + commission) / traded:.2f} bps of the {money(traded)} traded" if traded > 0.0 else ""
    return f"{money(slippage + commission)}: slippage {money(slippage)}, commission {money(commission)}{bps}"
