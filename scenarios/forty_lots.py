"""One share with five listings, and a desk that works the same order in each of them by another algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from simulator import SECOND, AlmgrenChriss, Instrument, Pov, Proposal, Schedule, Tape, Truth, Twap, View, Vwap

HALF_HOUR = 1800 * SECOND
BARS = 13


@dataclass(frozen=True)
class Listings:
    """Half-hour bars of business days from 6 January 2020 on, 14:30 to 21:00 UTC, the same for each of *symbols*; no seed changes them.

    The price is *price* under waves, and climbs by *climb* of itself a bar. A bar opens within *gap* of the close before, and its range goes *reach*
    beyond open and close. Of about *volume* shares a day three times as many trade in the first and last half-hour as around noon.
    """

    symbols: tuple[str, ...] = ("ONCE", "TWAP", "VWAP", "POV", "AC")
    sessions: int = 22
    price: float = 50.0
    climb: float = 0.0001
    gap: float = 0.0006
    reach: float = 0.0005
    volume: float = 60_000.0

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape, the same for every *seed*."""
        days = np.busday_offset(np.datetime64("2020-01-06"), np.arange(self.sessions)).astype(np.int64)
        opened_at = (days[:, None] * 86_400 * SECOND + 14 * 3600 * SECOND + (1 + np.arange(BARS)) * HALF_HOUR).ravel()
        t = np.arange(-1, self.sessions * BARS)
        path = self.price * np.exp(self.climb * t + 0.004 * np.sin(0.25 * t + 2.5) + 0.002 * np.sin(1.9 * t))
        close = np.round(path[1:], 2)
        open_ = np.round(path[:-1] * (1.0 + self.gap * np.sin(2.9 * t[1:])), 2)
        high, low = np.maximum(open_, close) * (1 + self.reach), np.minimum(open_, close) * (1 - self.reach)
        of_day = 1.0 + 2.0 * ((np.arange(BARS) - BARS // 2) / (BARS // 2)) ** 2
        busy = 1.0 + 0.2 * np.sin(1.7 * np.arange(self.sessions))
        volume = np.round(self.volume * (busy[:, None] * of_day / of_day.sum()).ravel())
        columns = (np.repeat(x[:, None], len(self.symbols), axis=1) for x in (open_, np.round(high, 2), np.round(low, 2), close, volume))
        listed = [Instrument(symbol) for symbol in self.symbols]
        return Tape.of(
            listed,
            opened_at + HALF_HOUR,
            *columns,
            interval=HALF_HOUR,
            opened_at=opened_at,
            sessions=np.repeat(days, BARS),
            truth=Truth("synthetic: listings of one share"),
        )


@dataclass
class Desk:
    """Sends an order for *quantity* in every listing after the close of the bar *after*: at once, or by the algorithm that the listing is named for.

    The parameters are those of the schedules: see simulator.Twap, Vwap, Pov and AlmgrenChriss.
    """

    quantity: float = 4_000.0
    after: int = 260
    slices: int = 12
    seconds: float = 1_800.0
    rate: float = 0.08
    risk_aversion: float = 1e-3
    residual: Literal["market", "cancel"] = "market"
    round_lot: int = 100

    def on_bars(self, view: View) -> Proposal:
        if view.row != self.after:
            return ()
        left, lot = self.residual, self.round_lot
        schedules: dict[str, Schedule] = {
            "TWAP": Twap(self.slices, self.seconds, left, lot),
            "VWAP": Vwap(self.slices, self.seconds, residual=left, round_lot=lot),
            "POV": Pov(self.rate, self.slices * self.seconds, left, lot),
            "AC": AlmgrenChriss(self.slices, self.seconds, self.risk_aversion, residual=left, round_lot=lot),
        }
        return [view.order(self.quantity, symbol, client_id=symbol.lower(), schedule=schedules.get(symbol)) for symbol in view.symbols]
