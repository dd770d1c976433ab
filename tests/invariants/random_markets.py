"""Random markets, and strategies that do random but repeatable things in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan
from typing import Any

import numpy as np
from hypothesis import strategies as st

from brokers.costs import Commission
from brokers.simulated import Simulated
from brokers.slippage import Slippage
from simulator import (
    DAY,
    SECOND,
    Account,
    AlmgrenChriss,
    Instrument,
    Limits,
    Order,
    OrderBatch,
    Pov,
    Proposal,
    Replace,
    Schedule,
    Tape,
    Twap,
    View,
    Vwap,
)

MINUTE = 60 * SECOND
SCHEDULES = [
    *(None, None, None, None, Twap(3, 1800.0), Twap(4, 86_400.0, "cancel")),
    *(Vwap(3, 3600.0, 3, round_lot=10), Pov(0.3, 7200.0), Pov(0.05, 3 * 86_400.0, "cancel"), AlmgrenChriss(4, 1800.0, 1e-2, residual="cancel")),
]


@dataclass(frozen=True)
class Case:
    """One random market, and what meets in it."""

    seed: int
    rows: int
    width: int
    daily: bool
    missing: float
    round_prices: bool
    timing: str
    cash: float
    account: str
    leverage: float
    commission: Commission
    slippage: Slippage
    participation: float
    through: int
    trailing: bool
    latency: float
    slicing: Schedule | None
    limits: Limits
    busy: float

    def tape(self, width: int | None = None) -> Tape:
        """Random walks with gaps, ties, bars without volume and missing bars. Each instrument's bars depend on its own number only."""
        width = width or self.width
        columns = np.array([instrument_bars(self, i) for i in range(width)]).transpose(1, 2, 0)
        lots, ticks = ("1", "0.1", "100", "0.001"), ("0", "0.01", "0.25")
        traded = [
            Instrument(f"S{i}", lot=lots[(self.seed + i) % 4], tick=ticks[(self.seed + i) % 3] if self.through == 0 else "0.25") for i in range(width)
        ]
        interval = DAY if self.daily else 30 * MINUTE
        closes = np.arange(1, self.rows + 1) * interval if self.daily else session_closes(self.rows)
        return Tape.of(traded, closes, *columns, interval=interval)

    def broker(self) -> Simulated:
        plain = self.timing == "same_close"
        return Simulated(
            timing=self.timing,  # type: ignore[arg-type]
            participation=self.participation,
            volume_basis="trailing" if self.trailing else "bar",
            volume_window=5,
            limit_through_ticks=self.through,
            commission=self.commission,
            slippage=self.slippage,
            latency_seconds=0.0 if plain else self.latency,
            slicing=None if plain else self.slicing,
        )

    def owner(self) -> Account:
        return Account(self.cash, self.account, self.leverage)  # type: ignore[arg-type]


def session_closes(rows: int) -> np.ndarray:
    """Closes of half-hour bars, six to a day, so that sessions end and begin."""
    k = np.arange(rows)
    return (k // 6) * DAY + (k % 6 + 27) * 30 * MINUTE


def instrument_bars(case: Case, i: int) -> np.ndarray:
    """One instrument's (5, rows) columns."""
    rng = np.random.default_rng([case.seed, i])
    close = 100.0 * np.exp(np.cumsum(rng.standard_normal(case.rows) * 0.02))
    open_ = np.concatenate(([100.0], close[:-1])) * np.exp(rng.standard_normal(case.rows) * 0.01)
    high = np.maximum(open_, close) * (1 + np.abs(rng.standard_normal(case.rows)) * 0.01)
    low = np.minimum(open_, close) * (1 - np.abs(rng.standard_normal(case.rows)) * 0.01)
    bars = np.array([open_, high, low, close])
    if case.round_prices:
        bars = np.round(bars)
    volume = np.floor(rng.random(case.rows) * 400)
    volume[rng.random(case.rows) < 0.1] = 0
    columns = np.vstack((bars, volume))
    columns[:, rng.random(case.rows) < case.missing] = nan
    return columns


@dataclass
class Random:
    """Sends random orders of every kind, cancels and replaces, from the case's seed and the row alone: what it sees changes nothing."""

    case: Case
    as_batches: bool = False
    plain: bool = False
    links: bool = True
    sent: list[Order] = field(default_factory=list)

    def on_bars(self, view: View) -> Proposal:
        case = self.case
        rng = np.random.default_rng([case.seed, 7, view.row])
        wishes: list[Any] = [self.order(view, rng) for _ in range(rng.poisson(case.busy))]
        if self.as_batches:
            return batch(wishes)
        if not self.plain and self.sent and rng.random() < 0.3:
            wishes.append(view.cancel(self.sent[int(rng.integers(len(self.sent)))].id))
        if not self.plain and self.sent and rng.random() < 0.3:
            old = self.sent[int(rng.integers(len(self.sent)))]
            wishes.append(Replace(view.ids.next(), old.id, old.lots + int(np.sign(old.lots)) * int(rng.integers(-3, 4)), old.limit * 1.01, nan))
        if self.links and not self.plain and rng.random() < 0.4:
            wishes += self.linked(view, rng)
        self.sent += [wish for wish in wishes if isinstance(wish, Order)]
        if not self.plain and rng.random() < 0.1:
            weights = rng.uniform(-0.3, 0.5, view.lots.shape[0])
            weights[rng.random(len(weights)) < 0.3] = nan
            wishes.append(view.rebalance(weights))
        return wishes

    def linked(self, view: View, rng: np.random.Generator) -> list[Order]:
        """A pair, an order with another that waits for it, or a bracket; of equal lots, or not."""
        first, second, third = (self.order(view, rng) for _ in range(3))
        if rng.random() < 0.7:
            second = second._replace(instrument=first.instrument, lots=first.lots)
            third = third._replace(instrument=first.instrument, lots=-first.lots)
        shape = int(rng.integers(4))
        if shape == 0:
            return view.oco(first, second)
        if shape == 1:
            return view.oto(first, third)
        if shape == 2:
            return view.oto(third, *view.oco(first, second))
        return view.oto(first, third, second)

    def order(self, view: View, rng: np.random.Generator) -> Order:
        kind, tif = int(rng.integers(4)), int(rng.choice([0, 0, 0, 1, 2, 3]))
        near = 100.0 * float(np.exp(rng.standard_normal() * 0.05))
        near = round(near) if rng.random() < 0.3 else near
        limit = near if kind in (1, 3) else nan
        stop = near * float(np.exp(rng.standard_normal() * 0.02)) if kind in (2, 3) else nan
        instrument = int(rng.integers(self.case.width))
        lots = int(rng.integers(-60, 61))
        return Order(view.ids.next(), instrument, lots, kind, limit, stop, tif)


def batch(orders: list[Order]) -> OrderBatch:
    """The same orders as columns."""
    columns = list(zip(*[order[:7] for order in orders], strict=True)) or [[]] * 7
    ids, instruments, lots, kinds, limits, stops, tifs = columns
    whole = [np.array(x, np.int64) for x in (ids, instruments, lots, kinds, tifs)]
    return OrderBatch(whole[0], whole[1], whole[2], whole[3], np.array(limits, float), np.array(stops, float), whole[4])


@st.composite
def random_cases(draw: Any) -> Case:
    slippage = draw(
        st.sampled_from(
            [Slippage("none"), Slippage("bps", bps=5.0), Slippage("half_spread", spread=0.1), Slippage("volume_share"), Slippage("square_root")]
        )
    )
    commission = Commission(
        draw(st.sampled_from([0.0, 0.005, 0.01])),
        draw(st.sampled_from([0.0, 0.5])),
        draw(st.sampled_from([0.0, 10.0])),
        draw(st.sampled_from([0.0, 1.0])),
        draw(st.sampled_from([inf, 20.0])),
        draw(st.booleans()),
    )
    limits = Limits(
        draw(st.sampled_from([inf, 2.0, 0.5])),
        draw(st.sampled_from([inf, 1.0])),
        draw(st.sampled_from([inf, 0.3])),
        draw(st.sampled_from([inf, 5_000.0])),
        draw(st.sampled_from([0, 3])),
        drawdown_max=draw(st.sampled_from([inf, 0.02])),
        daily_loss_max=draw(st.sampled_from([inf, 0.01])),
        on_halt=draw(st.sampled_from(["freeze", "cancel", "flatten"])),
        resume_after=draw(st.sampled_from([None, 1, 2])),
    )
    return Case(
        seed=draw(st.integers(0, 2**31)),
        rows=draw(st.integers(1, 40)),
        width=draw(st.integers(1, 3)),
        daily=draw(st.booleans()),
        missing=draw(st.sampled_from([0.0, 0.2])),
        round_prices=draw(st.booleans()),
        timing=draw(st.sampled_from(["next_open", "next_open", "next_close", "same_close"])),
        cash=draw(st.sampled_from([1e4, 1e6])),
        account=draw(st.sampled_from(["margin", "margin", "cash"])),
        leverage=draw(st.sampled_from([inf, 2.0, 1.0])),
        commission=commission,
        slippage=slippage,
        participation=draw(st.sampled_from([0.1, 1.0, 0.03, inf])),
        through=draw(st.sampled_from([0, 0, 1])),
        trailing=draw(st.booleans()),
        latency=draw(st.sampled_from([0.0, 0.0, 60.0, 7200.0])),
        slicing=draw(st.sampled_from(SCHEDULES)),
        limits=limits,
        busy=draw(st.sampled_from([0.3, 1.0, 3.0])),
    )
