"""The equity curve: what the journal books, and what the tape says that it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.kernels import tapes
from simulator.loop import journal

if TYPE_CHECKING:
    from simulator.market.tape import FloatArray, Tape

MOVES = (journal.FILL, journal.BOOKED, journal.RESCALED)
"""The rows that change cash or positions."""


class Curve:
    """Equity at the close of each bar of *tape*, stretch by stretch, and the cash and lots that are left: of an account in one currency, without
    futures.
    """

    def __init__(self, tape: Tape, cash: float) -> None:
        self.cash, self.lots, self.done = float(cash), np.zeros(tape.width, np.int64), 0
        self._tape, self._owed, self._sizes = tape, 0.0, np.zeros(tape.width)
        self._equity: FloatArray = np.empty(len(tape)) if tape.room is None else tape.room.empty((len(tape),))

    @property
    def equity(self) -> FloatArray:
        """So far: (rows,)."""
        return self._equity[: self.done]

    def take(self, rows: np.ndarray, end: int) -> None:
        """The *rows* that were journalled since the last time, and the bars up to *end*."""
        tape, k = self._tape, 0
        ints, reals = (np.ascontiguousarray(rows).view(kind).reshape(-1, journal.ROW.itemsize // 8) for kind in (np.int64, np.float64))
        # Compiled code takes read-only arrays for another type, and some journals are.
        ints.flags.writeable = reals.flags.writeable = False
        for first, last in tape.spans(self.done, end):
            self.cash, self._owed, k = tapes.equity_curve(
                self.cash,
                self._owed,
                self.lots,
                self._sizes,
                tape.terms,
                tape.panel_marks,
                tape.closed_at,
                first,
                last,
                ints,
                reals,
                k,
                *MOVES,
                self._equity,
            )
        self.done = max(self.done, end)
