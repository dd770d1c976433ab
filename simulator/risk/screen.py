"""Limits that look at the whole book for each order: groups, beta, and how long it would take to get out.

They stand apart from `risk.engine`, which asks them only if a scenario sets one of them.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.book.orders import Reason
from simulator.errors import ScenarioError, nearest
from simulator.kernels import rules
from simulator.risk.limits import Limits

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray, IntArray, OrderBatch
    from simulator.book.portfolio import Portfolio
    from simulator.market.tape import Tape

LEAST_RETURNS: Final = 20
"""Of fewer common returns no beta is estimated."""


class Screen:
    """Whether an order may be sent, as far as its group, the book's beta and its instrument's volume are concerned.

    As all limits these are checked at close marks as if every open order had traded. Exits pass before they are asked, and so does an order that
    brings the book nearer to a limit that it is beyond.
    """

    __slots__ = ("_betas", "_groups", "_limits", "_market", "_row", "_tape", "_volumes")

    def __init__(self, limits: Limits, tape: Tape) -> None:
        self._limits, self._tape, self._row = limits, tape, -1
        self._betas: FloatArray = np.ones(tape.width)
        self._volumes: FloatArray = np.zeros(tape.width)
        self._groups: dict[str, FloatArray] = {}
        for group, symbols in (limits.groups or {}).items() if limits.group_max < inf else ():
            inside = np.zeros(tape.width)
            for symbol in symbols:
                if symbol not in tape.index:
                    raise ScenarioError(f"risk.groups.{group}: no such instrument '{symbol}'{nearest(symbol, tape.index)}")
                inside[tape.index[symbol]] = 1.0
            self._groups[group] = inside
        self._market = -1
        if limits.beta_max < inf:
            market = limits.beta_to or ""
            if market not in tape.index:
                raise ScenarioError(f"risk.beta_to must be an instrument of the feed, was '{market}'{nearest(market, tape.index)}")
            self._market = tape.index[market]
        if limits.exit_days_max < inf and tape.truth.volume == "none":
            raise ScenarioError(f"risk.exit_days_max needs volumes, and {tape.truth.source} has none: leave it out")

    def review(
        self, batch: OrderBatch, portfolio: Portfolio, pending: IntArray, bounds: tuple[float, ...], halted: bool, quota: int, reasons: IntArray
    ) -> tuple[int, int]:
        """What `kernels.batches.review` does, order by order, with these limits besides: (how many were refused, how many counted).

        Of the beta only the end of the batch counts, if that is within its limit: on the way there a hedge may come after what it hedges.
        """
        refused, counted, then = self._go_through(batch, portfolio, pending, bounds, halted, quota, reasons, betas_too=False)
        if self._market < 0:
            return refused, counted
        before = self._beta(portfolio, portfolio.lots + pending)
        beta = self._beta(portfolio, portfolio.lots + then)
        if abs(beta) <= self._limits.beta_max * portfolio.equity or abs(beta) < abs(before):
            return refused, counted
        return self._go_through(batch, portfolio, pending, bounds, halted, quota, reasons, betas_too=True)[:2]

    def _go_through(
        self,
        batch: OrderBatch,
        portfolio: Portfolio,
        pending: IntArray,
        bounds: tuple[float, ...],
        halted: bool,
        quota: int,
        reasons: IntArray,
        betas_too: bool,
    ) -> tuple[int, int, IntArray]:
        """(How many were refused, how many counted, and lots on their way after that)."""
        waiting = pending.copy()
        waiting[batch.clears] = 0
        marks, sizes, equity = self._tape.panel_marks[portfolio.row], portfolio.terms[:, 3], portfolio.equity
        gross, net = portfolio.exposure(waiting)
        gross_max, net_max, name_max, notional_max, leverage_max = bounds
        refused = counted = 0
        for k, (i, lots) in enumerate(zip(batch.instruments.tolist(), batch.lots.tolist(), strict=True)):
            held, before = int(portfolio.lots[i] + waiting[i]), (gross, net)
            reason, gross, net = rules.permit(
                lots, held, float(marks[i]), float(sizes[i]), gross, net, equity, gross_max, net_max, name_max, notional_max, leverage_max, halted
            )
            if not reason and not rules.reduces(held, lots):
                reason = self.refuses(portfolio, portfolio.lots + waiting, i, lots, equity, betas_too) or (
                    rules.RATE if counted == quota else rules.FILLED
                )
                if reason:
                    gross, net = before
                else:
                    counted += 1
            reasons[k] = reason
            if reason:
                refused += 1
            else:
                waiting[i] += lots
        return refused, counted, waiting

    def refuses(self, portfolio: Portfolio, then: IntArray, instrument: int, lots: int, equity: float, beta_too: bool = True) -> Reason | None:
        """Why not to send an order for *lots* more, when *then* are the lots of each instrument if all that is on its way trades."""
        limits, row = self._limits, portfolio.row
        marks = self._tape.panel_marks[row]
        if row != self._row:
            self._look(row)
        size = portfolio.terms[:, 3]
        if limits.exit_days_max < inf:
            # Unknown volume is no volume: what cannot be seen to trade cannot be seen to be left.
            units = abs(int(then[instrument]) + lots) * portfolio.terms[instrument, 0] / portfolio.terms[instrument, 1]
            if not units <= limits.exit_days_max * limits.exit_share * self._volumes[instrument]:
                return Reason.LIQUIDITY
        values = np.nan_to_num(then * size * marks)
        change = lots * size[instrument] * marks[instrument]
        after = abs(values[instrument] + change) - abs(values[instrument])
        for inside in self._groups.values():
            if inside[instrument] and after > 0.0 and not float(np.abs(values) @ inside) + after <= limits.group_max * equity:
                return Reason.GROUP
        if self._market >= 0 and beta_too:
            before = float(values @ self._betas)
            beta = before + change * self._betas[instrument]
            if not abs(beta) <= limits.beta_max * equity and not abs(beta) < abs(before):
                return Reason.BETA
        return None

    def _beta(self, portfolio: Portfolio, then: IntArray) -> float:
        """The sum of values times betas of these lots."""
        self.knows(portfolio.row)
        return float(np.nan_to_num(then * portfolio.terms[:, 3] * self._tape.panel_marks[portfolio.row]) @ self._betas)

    def knows(self, row: int) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
        """As of *row*: average volumes a session and betas, both (instruments,), and who is in which group."""
        if row != self._row:
            self._look(row)
        return self._volumes, self._betas, self._groups

    def _look(self, row: int) -> None:
        """What the bars up to *row* say of betas and volumes."""
        self._row, limits, tape = row, self._limits, self._tape
        if self._market >= 0:
            self._betas = betas(tape.panel_marks[max(0, row - limits.beta_window) : row + 1], self._market)
        if limits.exit_days_max < inf:
            days, rows = tape.sessions[: row + 1], limits.exit_window
            while len(sessions := np.unique(days[-rows:])) <= limits.exit_window and rows <= row:
                rows *= 2
            sessions = sessions[-limits.exit_window :]
            # By session and not by bar; days on which an instrument did not trade count too.
            self._volumes = np.nansum(tape.volume[int(np.searchsorted(days, sessions[0])) : row + 1], axis=0) / len(sessions)


def betas(marks: FloatArray, market: int) -> FloatArray:
    """Each instrument's beta to the instrument *market*, over simple returns of *marks*, (rows, instruments): (instruments,).

    Where there are fewer than 20 returns of both, or the market did not move, it is taken to be 1, the average of all.
    """
    moves = marks[1:] / marks[:-1] - 1.0
    found = np.ones(marks.shape[1])
    for i in range(marks.shape[1]):
        both = np.isfinite(moves[:, i]) & np.isfinite(moves[:, market])
        if both.sum() < LEAST_RETURNS:
            continue
        its, ours = moves[both, market], moves[both, i]
        spread = float(((its - its.mean()) ** 2).sum())
        if spread > 0.0:
            found[i] = float(((its - its.mean()) * (ours - ours.mean())).sum()) / spread
    return found
