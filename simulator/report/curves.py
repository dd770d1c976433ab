"""The equity curve: what the journal books, and what the tape says that it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.kernels import tapes
from simulator.loop import journal
from simulator.loop.journal import times_to_rows

if TYPE_CHECKING:
    from simulator.market.tape import FloatArray, Tape

MOVES = (journal.FILL, journal.BOOKED, journal.RESCALED)
"""The rows that change cash or positions."""
IS_MOVE = np.isin(np.arange(len(journal.KINDS)), MOVES)


class Curve:
    """Equity at the close of each bar of *tape*, stretch by stretch, and the cash and lots that are left: of an account in one currency, without
    futures.
    """

    def __init__(self, tape: Tape, cash: float) -> None:
        self.cash, self.lots, self.done = float(cash), np.zeros(tape.width, np.int64), 0
        self._tape, self._owed = tape, 0.0
        self._equity: FloatArray = np.empty(len(tape)) if tape.room is None else tape.room.empty((len(tape),))

    @property
    def equity(self) -> FloatArray:
        """So far: (rows,)."""
        return self._equity[: self.done]

    def take(self, rows: np.ndarray, end: int) -> None:
        """The *rows* that were journalled since the last time, and the bars up to *end*."""
        moves = rows[IS_MOVE[rows["kind"]]]
        kinds, lots = moves["kind"], np.ascontiguousarray(moves["lots"])
        booked = kinds == journal.BOOKED
        # What was booked without a trade is a trade at no price with a commission of the amount, the other way round: the same sums, bit for bit.
        prices = np.where(kinds == journal.FILL, moves["a"], 0.0)
        commissions = np.where(booked, -moves["a"], np.where(kinds == journal.FILL, moves["c"], 0.0))
        at, instruments = times_to_rows(self._tape, moves["at"]), np.maximum(moves["instrument"], 0).astype(np.int64)
        for first, last in self._tape.spans(self.done, end):
            here = slice(*np.searchsorted(at, [first, last]))
            columns = at[here], instruments[here], lots[here], prices[here], commissions[here]
            tape = self._tape
            self.cash = tapes.equity_curve(self.cash, self.lots, tape.terms, tape.panel_marks, first, last, *columns, self._equity)
        if self._owed or booked.any():
            owed = np.zeros(end - self.done)
            if len(owed):
                owed[0] = self._owed
                inside = booked & (at < end)
                np.add.at(owed, at[inside] - self.done, moves["b"][inside])
                owed = np.cumsum(owed)
                self._equity[self.done : end] += owed
                self._owed = float(owed[-1])
        self.done = max(self.done, end)
