"""What must hold for each of very many fills, and after very many round trips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from brokers.costs import Commission
from brokers.simulated import Simulated
from brokers.slippage import Slippage
from simulator import DAY, Account, Bars, Instrument, Order, OrderKind, Portfolio, Proposal, Tape, View, simulate
from simulator.book.fills import FillBatch
from simulator.loop import journal as rows

# A hundred thousand fills at night; every round trip is in each run, since they are booked by compiled code.
FILLS = 100_000 if settings().max_examples > 1_000 else 8_000
ROUND_TRIPS = 1_000_000
CAP, WIDTH = 0.1, 5
KINDS = np.array([OrderKind.MARKET, OrderKind.MARKET, OrderKind.LIMIT, OrderKind.STOP, OrderKind.STOP_LIMIT, OrderKind.MARKET_ON_CLOSE])


@dataclass
class Sender:
    """Sends eight random orders a bar, around the last prices."""

    seed: int

    def on_bars(self, view: View) -> Proposal:
        rng = np.random.default_rng([self.seed, view.row])
        wishes: list[Order] = []
        for i, kind, lots in zip(rng.integers(WIDTH, size=8), rng.choice(KINDS, 8), rng.integers(-60, 61, 8), strict=True):
            limit, stop = (round(float(price), 2) for price in 100.0 * np.exp(rng.standard_normal(2) * 0.02))
            priced, stopped = kind in (OrderKind.LIMIT, OrderKind.STOP_LIMIT), kind in (OrderKind.STOP, OrderKind.STOP_LIMIT)
            prices = {**({"limit": limit} if priced else {}), **({"stop": stop} if stopped else {})}
            wishes.append(view.order(int(lots), int(i), int(kind), **prices))
        return wishes


def random_tape(seed: int, count: int) -> Tape:
    """Bars around 100, with gaps, on the grid of cents."""
    rng = np.random.default_rng(seed)
    open_, close = (100.0 * np.exp(rng.standard_normal((count, WIDTH)) * 0.015) for _ in range(2))
    high = np.maximum(open_, close) * (1.0 + 0.01 * rng.random((count, WIDTH)))
    low = np.minimum(open_, close) * (1.0 - 0.01 * rng.random((count, WIDTH)))
    columns = [np.round(column, 2) for column in (open_, high, low, close)]
    volume = np.floor(rng.random((count, WIDTH)) * 1_000) * (rng.random((count, WIDTH)) > 0.05)
    return Tape.of([Instrument(f"S{i}") for i in range(WIDTH)], np.arange(1, count + 1) * DAY, *columns, volume, interval=DAY)


@pytest.mark.parametrize("path", ["pessimistic", "ohlc"])
def test_no_fill_is_outside_its_bar_through_its_limit_beyond_its_volume_or_of_negative_cost(path: Any) -> None:
    seen = 0
    for seed in range(1_000):
        if seen >= FILLS // 2:
            break
        tape = random_tape(seed, 250)
        broker = Simulated(path=path, participation=CAP, commission=Commission(0.005, 0.0, 2.0, 1.0, 9.0), slippage=Slippage("bps", bps=7.0))
        table = simulate(tape, Sender(seed), broker=broker, account=Account(1e9, "margin")).journal_table()
        fills, orders = table[table["kind"] == rows.FILL], table[table["kind"] == rows.ORDER]
        seen += len(fills)
        t, i = np.searchsorted(tape.closed_at, fills["at"]), fills["instrument"]
        price, lots = fills["a"], fills["lots"]
        reference = price - fills["b"] / lots
        slack = 1e-9 * price
        assert (reference >= tape.low[t, i] - slack).all()
        assert (reference <= tape.high[t, i] + slack).all()
        sent = orders[np.searchsorted(orders["order"], fills["order"])]
        assert (sent["order"] == fills["order"]).all()
        assert (sent["at"] < fills["at"]).all()
        kinds = sent["d"] % 256
        bound = (kinds == OrderKind.LIMIT) | (kinds == OrderKind.STOP_LIMIT)
        # A limit that is on the grid of cents is kept to the last bit.
        assert (np.sign(lots) * (price - sent["a"]) <= 0.0)[bound].all()
        traded = np.zeros(tape.volume.shape, np.int64)
        np.add.at(traded, (t, i), np.abs(lots))
        assert (traded <= np.floor(CAP * tape.volume + 1e-9)).all()
        assert (fills["c"] >= 0.0).all()
        filled = np.zeros(int(orders["order"].max()) + 1, np.int64)
        np.add.at(filled, fills["order"], lots)
        assert (np.abs(filled[orders["order"]]) <= np.abs(orders["lots"])).all()
    assert seen >= FILLS // 2


def test_after_a_million_round_trips_of_awkward_sizes_nothing_is_left_and_cash_is_right() -> None:
    """Each is bought in two parts and sold in three, or the other way about, flips in between included; whole numbers keep the same books."""
    rng = np.random.default_rng(7)
    lot, tick, cent = 1_000, 10_000, 100
    instruments = [Instrument("A", lot="0.001"), Instrument("B", lot="0.001")]
    flat = np.ones((1, 2))
    bars = Bars(Tape.of(instruments, [DAY], flat, flat, flat, flat, flat, interval=DAY))
    bars.row = 0
    portfolio = Portfolio(bars, 1e9)
    exact, count = int(1e9) * lot * tick, ROUND_TRIPS // 10
    for _ in range(10):
        first, second, out = (rng.integers(1, 99_991, count) for _ in range(3))
        side = rng.choice([-1, 1], count)
        # The third part may be more than is held: the fourth brings it back.
        lots = np.stack([first, second, -out, -(first + second) + out - 1, np.ones(count, np.int64)], 1) * side[:, None]
        lots = lots.ravel()
        lots, kept = lots[lots != 0], np.repeat(rng.integers(0, 2, count), 5)[lots != 0]
        ticks, cents = rng.integers(1, 3_000_000, len(lots)), rng.integers(0, 1_000, len(lots))
        money, none = cents / cent, np.zeros(len(lots), np.int64)
        portfolio.book([FillBatch(none, kept, lots, ticks / tick, none * 0.0, money, none)])
        exact -= int((lots * ticks).sum()) + int(cents.sum()) * (lot * tick // cent)
        assert portfolio.lots.tolist() == [0, 0]
        assert portfolio.sizes.tolist() == [0.0, 0.0]
        assert portfolio.averages.tolist() == [0.0, 0.0]
        assert portfolio.cash == pytest.approx(exact / (lot * tick), rel=1e-9)
        assert portfolio.equity == portfolio.cash
