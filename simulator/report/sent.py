"""What became of each order of a run whose journal lies in a file: columns by the orders' ids, in files too, where `Result.orders` has a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from simulator.book.fills import Waited
from simulator.book.orders import IntArray, OrderState, Reason
from simulator.kernels import rules
from simulator.loop import journal
from simulator.loop.journal import PART, MemoryJournal, times_to_rows
from simulator.market.rooms import Room

if TYPE_CHECKING:
    from simulator.market.tape import Tape

COLUMNS: Final[dict[str, type]] = {
    **dict.fromkeys(("at", "lots", "filled", "parent"), np.int64),
    **dict.fromkeys(("limit", "stop"), np.float64),
    **dict.fromkeys(("instrument", "code", "state", "reason"), np.int32),
}
WAIT: Final = np.dtype([("order", "<i8"), ("reason", "<i8"), ("first", "<i8"), ("last", "<i8")])
# States beside those that the journal has, which begin with 1; nothing was sent under an id of 0.
ACCEPTED, PARTIAL, FILLED = 101, 102, 103


class Sent:
    """Every order that was sent, refused ones too, by its id. One that was sent again with the same client_id is none.

    *ended* are the words of the journal's states. Each column has one value an id, from 0 on.
    """

    def __init__(self, record: MemoryJournal, tape: Tape, ended: dict[int, OrderState], waiting: tuple[Waited, ...]) -> None:
        self.words = ended | {ACCEPTED: OrderState.ACCEPTED, PARTIAL: OrderState.PARTIALLY_FILLED, FILLED: OrderState.FILLED}
        self._tape, self._record, self._room = tape, record, Room(tape.room.folder if tape.room else None)
        last, waits = 0, len(waiting)
        for part in record.parts():
            last = max(last, int(part["order"][part["kind"] != journal.HALT].max(initial=0)))
            waits += int(np.count_nonzero(part["kind"] == journal.WAITED))
        self._count = last + 1
        self._columns: dict[str, npt.NDArray[Any]] = {name: self._room.empty((self._count,), kind) for name, kind in COLUMNS.items()}
        self._waits, self._waited = Room(self._room.folder).empty((waits,), WAIT), 0
        for part in record.parts():
            self._take(part)
        now = np.array([(each.order, each.reason, each.first, each.last) for each in waiting], WAIT)
        self._wait(now)
        self._ends: Counter[tuple[int, int]] = Counter()
        for first, end in self._spans():
            self._settle(first, end, now)
        self._by_order = np.argsort(self._waits["order"], kind="stable")

    @property
    def ends(self) -> Counter[tuple[str, str]]:
        """How many orders came to which state for which reason, in words."""
        return Counter({(str(self.words[state]), Reason(reason).words): count for (state, reason), count in self._ends.items()})

    @property
    def waited(self) -> Counter[str]:
        """How many orders waited for what, in words."""
        pairs = np.unique(self._waits[["order", "reason"]]) if len(self._waits) else self._waits
        return Counter(
            {Reason(code).words: count for code, count in zip(*(x.tolist() for x in np.unique(pairs["reason"], return_counts=True)), strict=True)}
        )

    def __len__(self) -> int:
        return self._ends.total()

    def pieces(self) -> Iterator[tuple[IntArray, dict[str, npt.NDArray[Any]], IntArray, np.ndarray]]:
        """So many orders at a time: their ids, their columns (with `bar`), how many waits each has, and these waits, order after order."""
        orders = self._waits["order"]
        for first, end in self._spans():
            here = self._sent(first, end)
            if len(here):
                columns = {name: column[here] for name, column in self._columns.items()}
                columns["bar"] = times_to_rows(self._tape, columns["at"])
                its = self._by_order[np.searchsorted(orders, first, sorter=self._by_order) : np.searchsorted(orders, end, sorter=self._by_order)]
                waits = self._waits[its]
                waits = waits[np.isin(waits["order"], here)]
                yield here, columns, np.searchsorted(waits["order"], here, "right") - np.searchsorted(waits["order"], here), waits

    def _spans(self) -> Iterator[tuple[int, int]]:
        for first in range(0, self._count, PART):
            yield first, min(first + PART, self._count)
            self._room.release(min(first + PART, self._count))

    def _sent(self, first: int, end: int) -> IntArray:
        kept = (self._columns["at"][first:end] != 0) & (self._columns["reason"][first:end] != Reason.DUPLICATE)
        return first + np.flatnonzero(kept).astype(np.int64)

    def _wait(self, rows: np.ndarray) -> None:
        self._waits[self._waited : self._waited + len(rows)] = rows
        self._waited += len(rows)

    def _take(self, part: np.ndarray) -> None:
        """The next rows of the journal, kind after kind: what an order is, what filled, what ended, what it waited for."""
        columns, kind = self._columns, part["kind"]
        refused = (kind == journal.REFUSED) & (part["e"] == 0)
        wishes = part[np.isin(kind, (journal.ORDER, journal.SLICED, journal.REPLACED)) | refused]
        ids = wishes["order"]
        for name, of in (("at", "at"), ("instrument", "instrument"), ("lots", "lots"), ("limit", "a"), ("stop", "b"), ("code", "d")):
            columns[name][ids] = wishes[of]
        sliced = wishes[wishes["kind"] == journal.SLICED]
        columns["parent"][sliced["order"]] = sliced["e"]
        denied = wishes[wishes["kind"] == journal.REFUSED]
        columns["state"][denied["order"]], columns["reason"][denied["order"]] = rules.REJECTED, denied["c"].astype(np.int32)
        fills = part[kind == journal.FILL]
        parents = columns["parent"][fills["order"]]
        np.add.at(columns["filled"], fills["order"], fills["lots"])
        np.add.at(columns["filled"], parents[parents > 0], fills["lots"][parents > 0])
        for row in part[(kind == journal.ADJUSTED) & (part["e"] == 0)].tolist():
            # What is asked for is said in the new shares; what was filled before stays as it was.
            order = row[4]
            columns["instrument"][order], columns["limit"][order], columns["stop"][order] = row[3], row[6], row[7]
            columns["lots"][order] += row[5]
        ended = part[(kind == journal.ENDED) & (part["e"] != Reason.UNKNOWN_ORDER)]
        ended = ended[np.unique(ended["order"], return_index=True)[1]]
        # A request to change an order that is gone is refused by its id, and does not touch what became of it.
        ended = ended[(columns["at"][ended["order"]] != 0) & (columns["state"][ended["order"]] == 0)]
        columns["state"][ended["order"]], columns["reason"][ended["order"]] = ended["d"], ended["e"]
        waited = part[kind == journal.WAITED]
        rows = np.empty(len(waited), WAIT)
        for name, of in (("order", "order"), ("reason", "e"), ("first", "lots"), ("last", "d")):
            rows[name] = waited[of]
        self._wait(rows)
        self._room.release(int(ids.min(initial=self._count)))

    def _settle(self, first: int, end: int, now: np.ndarray) -> None:
        """The state of orders that did not end: filled, or what they wait for *now*."""
        state, reason, filled = (self._columns[name][first:end] for name in ("state", "reason", "filled"))
        on = state == 0
        whole = filled == self._columns["lots"][first:end]
        why = np.full(end - first, Reason.NO_BAR, np.int32)
        here = now[(now["order"] >= first) & (now["order"] < end)]
        why[here["order"] - first] = here["reason"]
        state[on] = np.where(whole, FILLED, np.where(filled != 0, PARTIAL, ACCEPTED))[on]
        reason[on] = np.where(whole, Reason.FILLED, why)[on]
        sent = self._sent(first, end) - first
        codes, counts = np.unique(state[sent] * 1_000 + reason[sent], return_counts=True)
        self._ends.update({(code // 1_000, code % 1_000): count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)})
