"""The identities of market-rules.md, section 5, checked after every bar by books kept apart from the session's own.

A broken identity is our mistake, never the user's: it fails an assertion.
"""

from __future__ import annotations

from math import fsum, isclose
from typing import Any

import numpy as np

from simulator.book.currencies import CurrencyPortfolio, currencies_of
from simulator.book.fills import Fill
from simulator.book.futures import futures_of, open_portfolio
from simulator.loop import journal as rows
from simulator.loop.journal import ROW, MemoryJournal, OpenOrders
from simulator.loop.session import Session, step
from simulator.market.tape import Bars


class Audit:
    """A second pair of books, kept from the journal's rows alone."""

    def __init__(self, session: Session) -> None:
        assert isinstance(session.journal, MemoryJournal)
        portfolio = session.portfolio
        self.journal, self.read = session.journal, 0
        self.tape = portfolio.bars.tape
        self.shadow = open_portfolio(portfolio.bars, portfolio.cash)
        self.currencies, self.futures = currencies_of(self.tape), futures_of(self.tape)
        self.start = portfolio.cash
        self.equity = portfolio.cash
        self.marks = np.zeros(self.tape.width)
        self.wanted: dict[int, int] = {}
        self.filled: dict[int, int] = {}
        self.sent_at: dict[int, int] = {}
        self.orders = OpenOrders()

    def step(self, session: Session, bars: Bars) -> None:
        """Take one instant through the system, and check all identities at its close."""
        step(session, bars)
        self.look(session, bars)

    def look(self, session: Session, bars: Bars) -> None:
        """Check all identities at the close of *bars*."""
        new = np.frombuffer(bytes(self.journal.rows[self.read :]), ROW).tolist()
        self.read = len(self.journal.rows)
        costs, traded_gain, moved = [], [], []
        marks = np.nan_to_num(self.tape.marks[bars.row])
        for row in new:
            if row[2] in (rows.BOOKED, rows.RESCALED):
                moved.append(self._settled(row))
            elif row[2] == rows.ADJUSTED and not row[10]:
                self.wanted[row[4]] += row[5]
        before = self.shadow.sizes.copy()
        for row in new:
            self.orders.take(row)
            if row[2] == rows.ADJUSTED and row[10]:
                self.wanted[row[4]] += row[5]
            elif row[2] in (rows.ORDER, rows.SLICED, rows.REPLACED):
                self._sent(row)
            elif row[2] == rows.FILL:
                gain, cost = self._filled(row, bars, marks)
                traded_gain.append(gain)
                costs.append(cost)
        self.shadow.mark(bars)
        portfolio = session.portfolio
        state, kept = ((x.cash, x.receivable, x.lots.tobytes(), x.averages.tobytes(), x.realised.tobytes()) for x in (portfolio, self.shadow))
        assert state == kept, f"bar {bars.row}: the journal's fold is not the session's state: {kept} against {state}"
        standing = {order: session.broker.standing(order) for order in session.broker.open_ids()}
        left = {order: x.remaining for order, x in standing.items() if x}
        folded = {order: lots for order, lots in self.orders.left.items() if lots and order not in self.orders.parents}
        assert left == folded, f"bar {bars.row}: of open orders the journal's fold has {folded} left, and the broker {left}"
        units = [self.tape.instruments[i].units(int(portfolio.lots[i])) * self.tape.instruments[i].multiplier for i in range(self.tape.width)]
        rates = [self._rate(i, marks) for i in range(self.tape.width)]
        # A future counts from its last settlement, which its average is.
        bases = [portfolio.averages[i] if i in self.futures else 0.0 for i in range(self.tape.width)]
        values = [unit * (mark - base) * rate for unit, mark, base, rate in zip(units, marks.tolist(), bases, rates, strict=True)]
        worth = fsum([portfolio.cash, portfolio.receivable, *values])
        equity = portfolio.equity
        scale = max(abs(equity), abs(portfolio.cash), 1.0)
        assert isclose(equity, worth, rel_tol=0.0, abs_tol=1e-9 * scale), (
            f"bar {bars.row}: equity {equity} is not cash, receivables and positions, {worth}"
        )
        held_gain = [float(size * (mark - old)) for size, mark, old in zip(before, marks, self.marks, strict=True) if size]
        if isinstance(self.shadow, CurrencyPortfolio):
            explained = fsum([self.start, *self.shadow.local, *self.shadow.exchange])
        else:
            explained = fsum([self.equity, *held_gain, *traded_gain, *moved, *(-cost for cost in costs)])
        assert isclose(equity, explained, rel_tol=0.0, abs_tol=1e-9 * scale), (
            f"bar {bars.row}: equity {equity} is not explained by gains and costs, {explained}"
        )
        self.equity, self.marks = equity, marks

    def _settled(self, row: tuple[Any, ...]) -> float:
        """Take what fell due into the books: what it changes in equity, by the last marks. A split
        takes what its fraction then gives in cash."""
        _, _, kind, i, _, _, amount, receivable, _, _, _ = row
        size = float(self.shadow.sizes[i]) if i >= 0 else 0.0
        self.shadow.settle([rows.settled(row)])
        if i < 0:
            return float(amount + receivable)
        if i in self.futures:
            # What is settled was equity before.
            return 0.0
        if kind == rows.RESCALED:
            old, self.marks[i] = float(self.marks[i]), amount
            return float(self.shadow.sizes[i]) * amount - size * old if size else 0.0
        return float(amount + receivable + (float(self.shadow.sizes[i]) - size) * self.marks[i])

    def _rate(self, i: int, marks: np.ndarray) -> float:
        """An instrument's currency in the base, at these marks."""
        rate = self.currencies.rates[self.currencies.of[i]] if self.currencies else -1
        return 1.0 if rate < 0 else float(marks[rate])

    def _sent(self, row: tuple[Any, ...]) -> None:
        at, _, _, _, order, lots, _, _, _, _, origin = row
        assert order not in self.wanted, f"order {order} was sent twice"
        self.wanted[order], self.filled[order], self.sent_at[order] = lots, 0, at
        if origin:
            # What arrives inside a bar is journalled at its close; the wish behind it is older.
            self.sent_at[order] = self.sent_at[origin]

    def _filled(self, row: tuple[Any, ...], bars: Bars, marks: np.ndarray) -> tuple[float, float]:
        """Check one fill: (its gain from the reference price to the mark, its costs)."""
        at, phase, _, i, order, lots, price, slippage, commission, taker, _ = row
        tape, t = self.tape, bars.row
        for id in (order, self.orders.parents.get(order)):
            if id is not None:
                self.filled[id] += lots
                whole, so_far = self.wanted[id], self.filled[id]
                assert lots * whole > 0, f"order {id} for {whole} lots has a fill of {lots}"
                assert abs(so_far) <= abs(whole), f"order {id} for {whole} lots has filled {so_far}"
        assert at == bars.closed_at, f"order {order} filled at {at}, in the bar that closed at {bars.closed_at}"
        assert self.sent_at[order] < at or phase == rows.SEND, f"order {order} filled at {at}, before it was accepted"
        value = lots * tape.terms[i, 0] / tape.terms[i, 1] * tape.terms[i, 2]
        reference = price - slippage / (value * self._rate(i, marks if phase == rows.SEND else self.marks)) if slippage else price
        slack = 1e-9 * max(abs(price), abs(reference))
        assert tape.low[t, i] - slack <= reference <= tape.high[t, i] + slack, f"order {order} filled at {reference}, outside its bar"
        assert tape.volume[t, i] > 0.0, f"order {order} filled in a bar without volume"
        assert taker or not slippage, f"order {order} made its price and slipped"
        self.shadow.book([Fill(order, i, lots, price, slippage, commission, bool(taker))])
        return value * (marks[i] - reference), slippage + commission
