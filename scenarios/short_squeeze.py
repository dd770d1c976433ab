"""A share that everybody has sold short, one that nobody minds, and an account that is short of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator import DAY, Instrument, Proposal, Tape, Truth, View

QUIET_DAYS = 15
# What the squeezed share gains a day, after the quiet: up nearly sixfold in nine days, and back to where it began in sixteen.
MOVES = (0.06, 0.09, 0.14, 0.08, 0.22, 0.30, 0.45, 0.27, 0.12, -0.18, -0.24, -0.10, -0.20, -0.15, -0.12, -0.10, -0.09, -0.08, -0.07)
LATER = (-0.06, -0.05, -0.05, -0.04, -0.03, -0.02)


@dataclass(frozen=True)
class Squeeze:
    """Daily bars of SQZ and DULL from 4 January 2021 on, the same for every seed.

    Both stand at *price* under small waves. Then SQZ climbs and falls by the moves above, half of each overnight, on *busy* times its *volume*; DULL
    goes on as it was, and falls a little.
    """

    price: float = 20.0
    volume: float = 2_000_000.0
    busy: float = 8.0

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape, the same for every *seed*."""
        moves = np.concatenate((np.zeros(QUIET_DAYS), MOVES, LATER))
        days = np.busday_offset(np.datetime64("2021-01-04"), np.arange(len(moves))).astype(np.int64)
        waves = 1.0 + 0.004 * np.sin(1.3 * np.arange(len(moves)))
        columns = []
        for steps in (moves, np.full(len(moves), -0.001)):
            close = self.price * np.cumprod(1.0 + steps) * waves
            before = np.concatenate(([self.price], close[:-1]))
            open_ = before + 0.5 * (close - before)
            high, low = np.maximum(open_, close) * (1.0 + 0.25 * np.abs(steps)), np.minimum(open_, close) * (1.0 - 0.25 * np.abs(steps))
            volume = self.volume * np.where(np.abs(steps) > 0.02, self.busy, 1.0)
            columns.append(np.array([*(np.round(x, 2) for x in (open_, high, low, close)), volume]))
        listed = [Instrument("SQZ"), Instrument("DULL")]
        return Tape.of(listed, (days + 1) * DAY, *np.array(columns).transpose(1, 2, 0), interval=DAY, truth=Truth("synthetic: a short squeeze"))


@dataclass
class Short:
    """Sells both short after the close of the bar *after*, for the share *weight* of equity each, and holds on."""

    weight: float = 0.35
    after: int = 4

    def on_bars(self, view: View) -> Proposal:
        return view.rebalance(np.full(len(view.symbols), -self.weight)) if view.row == self.after else ()
