"""A whole run at once: a strategy that can state its decisions as arrays needs no loop, and gives the same fills.

Besides `on_bars` such a strategy has one of these methods, which say for each bar what `on_bars` would return at its close:

| method | shape | what `on_bars` returns |
| --- | --- | --- |
| `weights(past)` | (rows, instruments) | `view.rebalance(weights[row])`; nothing where a row is all NaN |
| `signals(past)` | (rows, instruments) | `view.enter(signals[row])` |
| `holdings(past)` | (rows, instruments), units | `view.hold(holdings[row])` |

*past* has columns where the view has rows: `past["close"]`, `past["fast"]`, each (rows, instruments). A value of row t may use rows up to t alone.
That it does shows only beside a run by the loop, which is why a sweep compares the two. A whole run accrues what the loop would. What an account that
is called for margin does next is left to the loop, and so are terms of borrowing that change from day to day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from simulator.book.financing import Financing, Lending
from simulator.book.futures import futures_of
from simulator.book.orders import FloatArray, IntArray
from simulator.errors import PluginError, ViewError, nearest
from simulator.kernels import charges, runs
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


def charges_of(tape: Tape, account: Account, financing: Financing | None, margin: Margin | None) -> tuple[FloatArray, FloatArray] | None:
    """What the account's broker charges and asks for as numbers, see simulator.kernels.charges: (the row, the fee's yearly rate of each instrument).

    None where terms change from day to day or shares run out.
    """
    row, borrow = np.zeros(charges.CHARGES), np.zeros(tape.width)
    row[charges.BASIS] = 1.0
    if financing is not None:
        if not financing.is_steady:
            return None
        lending = Lending(financing, tape)
        borrow[:] = [lending.rate_days(i, 0, 1) for i in range(tape.width)]
        row[charges.ACCRUES] = financing.accrues
        row[[charges.DEBIT, charges.CREDIT, charges.REBATE, charges.BASIS]] = financing.debit, financing.credit, financing.rebate, financing.basis
    if margin is not None and account.kind == "margin":
        row[charges.WATCHED] = 1.0
        row[[charges.LONG, charges.SHORT]] = margin.maintenance_long, margin.maintenance_short
        row[charges.RATE_MAX] = max(margin.maintenance_long, margin.maintenance_short)
    return row, borrow


def form_of(strategy: object) -> str | None:
    """The name of the method by which a strategy states its decisions as arrays, if it has one."""
    return next((name for name in FORMS if callable(getattr(strategy, name, None))), None)


def run_whole(
    tape: Tape,
    strategy: Any,
    settings: Any,
    account: Account,
    limits: Limits,
    readings: Readings | None = None,
    financing: Financing | None = None,
    margin: Margin | None = None,
) -> Whole | None:
    """Run a strategy over a whole tape in compiled code. None where only the loop can tell what happens. *readings* are its indicators.

    Nothing accrues without *financing*, and no margin is called without *margin*.
    """
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
    return run_plan(tape, FORMS[form], np.ascontiguousarray(plan), NO_ORDERS, numbers, account, limits, started, financing, margin)


def run_plan(
    tape: Tape,
    form: int,
    plan: FloatArray,
    orders: tuple[IntArray, FloatArray],
    numbers: tuple[int, FloatArray],
    account: Account,
    limits: Limits,
    first: int = 0,
    financing: Financing | None = None,
    margin: Margin | None = None,
) -> Whole | None:
    """Run weights, holdings or a list of orders (see simulator.kernels.runs) from the row *first* on; None where only the loop can tell."""
    terms = charges_of(tape, account, financing, margin)
    if terms is None or futures_of(tape):
        return None
    market_at, settings = numbers
    leverage = account.leverage_max if account.kind == "margin" else inf
    maxima = np.array([limits.gross_max, limits.net_max, limits.name_max, limits.notional_max, leverage])
    halts = np.array([limits.drawdown_max, limits.daily_loss_max, ON_HALT[limits.on_halt], limits.resume_after or 0], np.float64)
    cash = float(account.cash)
    market = tape.panel, tape.panel_days, tape.terms, settings, market_at, maxima, halts, *terms, cash, first
    is_single = form == runs.HOLDINGS and tape.width == 1
    done = runs.run_single(*market, plan[:, 0]) if is_single else runs.run(*market, form, plan, *orders)
    status, _, fills, money, equity, counts = done
    return Whole(equity, fills, money, int(counts[0]), int(counts[1])) if status == runs.DONE else None
