"""Sizes that keep the limits of their session: all limits at once, and in the whole lots that will be traded."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.ports import Sizer
from simulator.risk.limits import Account, Limits
from simulator.risk.mandate import Exposure, Mandate, mandate
from simulator.risk.projection import whole_lots
from simulator.risk.screen import Screen

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray
    from simulator.market.view import View

INSIDE: Final = 1e-8
"""How far inside a limit sizes stay, as a share of equity: the engine adds the same numbers up in another order."""


class WithinLimits:
    """Another sizer, whose weights are brought within the scenario's limits by the least change, after the last transform.

    What is left alone keeps its share and takes its room. Where the rest has no room at all, the weights stay as they are, and the risk engine says
    by order which limit stands against them.
    """

    __slots__ = ("_account", "_limits", "_screen", "_sizer")

    def __init__(self, sizer: Sizer, limits: Limits, account: Account) -> None:
        self._sizer, self._limits, self._account = sizer, limits, account
        self._screen: Screen | None = None

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        """The other sizer's weights, within the limits."""
        sized = self._sizer.size(wanted, view)
        equity = view.equity
        if not equity > 0.0:
            return sized
        lot = view.portfolio.terms[:, 3] * view.history("marks", 1)[0] / equity
        on = np.isfinite(sized) & (lot > 0.0)
        if not on.any():
            return sized
        allowed = whole_lots(sized[on], lot[on], self._mandate(view, lot, on, equity))
        if allowed.conflict is None:
            # Half a lot more, which rounding toward zero takes off again.
            sized[on] = (allowed.lots + 0.5 * np.sign(allowed.lots)) * lot[on]
        return sized

    def _mandate(self, view: View, lot: FloatArray, on: np.ndarray, equity: float) -> Mandate:
        """The limits on those instruments that are *on*, less what the others take of them."""
        limits, count = self._limits, int(on.sum())
        rest = np.where(on, 0.0, np.nan_to_num(view.portfolio.lots * lot))
        gross_max = min(limits.gross_max, self._account.leverage_max if self._account.kind == "margin" else inf)
        sums = [Exposure("gross", np.ones(count), -inf, _room(gross_max, float(np.abs(rest).sum())), absolute=True)]
        sums += [_around("net", np.ones(count), limits.net_max, float(rest.sum()))]
        caps = np.full(count, _room(limits.name_max, 0.0))
        if limits.looks_closer:
            self._screen = self._screen or Screen(limits, view.bars.tape)
            volumes, betas, groups = self._screen.knows(view.row)
            lots = view.portfolio.terms[on, 0] / view.portfolio.terms[on, 1]
            if limits.exit_days_max < inf:
                caps = np.minimum(caps, np.maximum(limits.exit_days_max * limits.exit_share * volumes[on] / lots * lot[on] - INSIDE, 0.0))
            for name, inside in groups.items():
                sums.append(Exposure(f"group {name}", inside[on], -inf, _room(limits.group_max, float(np.abs(rest) @ inside)), absolute=True))
            if limits.beta_max < inf:
                sums.append(_around("beta", betas[on], limits.beta_max, float(rest @ betas)))
        kept = mandate(count, name_max=caps)
        return Mandate(count, kept.boxes, tuple(limit for limit in sums if limit.high < inf))


def _room(most: float, taken: float) -> float:
    """What is left of a limit."""
    return max(most - taken - INSIDE, 0.0)


def _around(name: str, loadings: FloatArray, most: float, taken: float) -> Exposure:
    """What is left of a limit to both sides; where the rest is beyond it already, nothing more to that side."""
    room = most - INSIDE
    return Exposure(name, loadings, min(-room - taken, 0.0), max(room - taken, 0.0))
