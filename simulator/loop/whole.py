"""A whole run at once: a strategy that can state its decisions as arrays needs no loop, and gives the same fills.

Besides `on_bars` such a strategy has one of these methods, which say for each bar what `on_bars` would return at its close:

| method | shape | what `on_bars` returns |
| --- | --- | --- |
| `weights(past)` | (rows, instruments) | `view.rebalance(weights[row])`; nothing where a row is all NaN |
| `signals(past)` | (rows, instruments) | `view.enter(signals[row])` |
| `holdings(past)` | (rows, instruments), units | `view.hold(holdings[row])` |

*past* has columns where the view has rows: `past["close"]`, `past["fast"]`, each (rows, instruments). A value of row t may use rows up to t alone.
That it does shows only beside a run by the loop, which is why a sweep compares the two. A whole run knows nothing of financing and maintenance
margin: whoever has these asks `is_charged`, and leaves what is to the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from simulator.book.financing import Financing
from simulator.book.futures import futures_of
from simulator.book.orders import FloatArray, IntArray
from simulator.errors import PluginError, ViewError, nearest
from simulator.kernels import runs
from simulator.market.indicators import Readings
from simulator.market.tape import FIELDS, Tape
from simulator.risk.limits import Account, Limits
from simulator.risk.margin import Margin

FORMS = {"weights": runs.WEIGHTS, "signals": runs.SIGNALS, "holdings": runs.HOLDINGS}
ON_HALT = {"freeze": runs.FREEZE, "cancel": runs.CANCEL, "flatten": runs.FLATTEN}
NO_PLAN: FloatArray = np.empty((0, 0))
NO_ORDERS: tuple[IntArray, FloatArray] = np.empty((5, 0), np.int64), np.empty((2, 0))


class Past(Mapping[str, FloatArray]):
    """The whole of a tape by column: its fields, and a strategy's indicators. Read-only, (rows, instruments)."""

    def __init__(self, tape: Tape, readings: Readings) -> None:
        self.tape, self._readings = tape, readings
        self.symbols = tuple(instrument.symbol for instrument in tape.instruments)
        fields = dict(zip(FIELDS, (tape.open, tape.high, tape.low, tape.close, tape.volume), strict=True))
        self._columns = {**fields, "marks": tape.marks, **{name: readings.column(name) for name in readings.names}}

    def __getitem__(self, name: str) -> FloatArray:
        try:
            return self._columns[name]
        except KeyError:
            raise ViewError(f"the past has no '{name}'{nearest(name, self._columns)}") from None

    def __iter__(self) -> Any:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def ages(self) -> IntArray:
        """Bars since each instrument's last one (0: it has one now, -1: none yet): (rows, instruments)."""
        ages: IntArray = self.tape.ages
        return ages


@dataclass(frozen=True, slots=True)
class Whole:
    """What came of a compiled run: equity at each close (rows,), fills as columns, how many orders were refused and how often trading was halted.

    *fills* are (5, n): the bar, the order's id, the instrument, signed lots, 1 for a taker. *money* is (3, n): price, slippage, commission.
    """

    equity: FloatArray
    fills: IntArray
    money: FloatArray
    refused: int
    halts: int


def is_charged(whole: Whole, tape: Tape, account: Account, financing: Financing, margin: Margin) -> bool:
    """Whether what a compiled run owes, or has idle, would have cost or earned something, or would have been called: then it went otherwise."""
    bars, _, instruments, lots, _ = whole.fills
    prices, _, commissions = whole.money
    spent = lots * tape.terms[instruments, 0] / tape.terms[instruments, 1] * tape.terms[instruments, 2] * prices + commissions
    cash = account.cash - np.bincount(bars, spent, len(whole.equity)).cumsum()
    own = np.argsort(instruments, kind="stable")
    held = lots[own].cumsum()
    first = np.flatnonzero(np.append(True, instruments[own][1:] != instruments[own][:-1])[: len(own)])
    before = np.repeat(held[first] - lots[own][first], np.diff(np.append(first, len(own))))
    called = account.kind == "margin" and bool(margin.maintenance_long or margin.maintenance_short)
    if (held < before).any():
        return called or financing.accrues
    if called and not (whole.equity >= margin.maintenance_long * (whole.equity - cash)).all():
        return True
    return bool(financing.credit or (financing.debit and (cash < 0.0).any()))


def form_of(strategy: object) -> str | None:
    """The name of the method by which a strategy states its decisions as arrays, if it has one."""
    return next((name for name in FORMS if callable(getattr(strategy, name, None))), None)


def run_whole(tape: Tape, strategy: Any, settings: Any, account: Account, limits: Limits, readings: Readings | None = None) -> Whole | None:
    """Run a strategy over a whole tape in compiled code. None where only the loop can tell what happens. *readings* are its indicators."""
    form = form_of(strategy)
    numbers = settings.numbers(tape, account) if hasattr(settings, "numbers") else None
    if form is None or numbers is None or limits.rate_max or limits.looks_closer or limits.drawdown_ladder or not len(tape):
        return None
    if readings is None:
        readings = Readings(tape, strategy.indicators() if hasattr(strategy, "indicators") else {})
        readings.catch_up()
    first = readings.first_warm()
    plan = np.asarray(getattr(strategy, form)(Past(tape, readings)), np.float64)
    if plan.shape != (len(tape), tape.width):
        raise PluginError(f"{type(strategy).__name__}.{form} must be (rows, instruments), {(len(tape), tape.width)}, was {plan.shape}")
    started = len(tape) if first is None else first
    return run_plan(tape, FORMS[form], np.ascontiguousarray(plan), NO_ORDERS, numbers, account, limits, started)


def run_plan(
    tape: Tape,
    form: int,
    plan: FloatArray,
    orders: tuple[IntArray, FloatArray],
    numbers: tuple[int, FloatArray],
    account: Account,
    limits: Limits,
    first: int = 0,
) -> Whole | None:
    """Run weights, holdings or a list of orders (see simulator.kernels.runs) from the row *first* on; None where only the loop can tell."""
    if futures_of(tape):
        return None
    market_at, settings = numbers
    leverage = account.leverage_max if account.kind == "margin" else inf
    maxima = np.array([limits.gross_max, limits.net_max, limits.name_max, limits.notional_max, leverage])
    halts = np.array([limits.drawdown_max, limits.daily_loss_max, ON_HALT[limits.on_halt], limits.resume_after or 0], np.float64)
    cash = float(account.cash)
    if form == runs.HOLDINGS and tape.width == 1:
        done = runs.run_single(tape.panel, tape.panel_days, tape.terms, settings, market_at, maxima, halts, cash, first, plan[:, 0])
    else:
        done = runs.run(tape.panel, tape.panel_days, tape.terms, settings, market_at, maxima, halts, cash, first, form, plan, *orders)
    status, _, fills, money, equity, counts = done
    return Whole(equity, fills, money, int(counts[0]), int(counts[1])) if status == runs.DONE else None
