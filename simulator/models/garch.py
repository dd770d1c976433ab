"""Volatility that comes in clusters: GARCH(1, 1), and the past's returns as they would be at the volatility of now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

LEAST: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class GarchFilter:
    """A GARCH(1, 1) with a constant *mean*: variance = omega + alpha (last return - mean)^2 + beta (last variance), all per period.

    *volatilities*, (rows,), is each row's as known before it, given the parameters; *volatility_next* that of the return to come. *converged* is
    False where the search for the parameters did not come to rest.
    """

    mean: float
    omega: float
    alpha: float
    beta: float
    returns: FloatArray
    volatilities: FloatArray
    volatility_next: float
    converged: bool

    @property
    def shocks(self) -> FloatArray:
        """Returns less their mean over their volatility: (rows,)."""
        return (self.returns - self.mean) / self.volatilities

    @property
    def rescaled(self) -> FloatArray:
        """The past's shocks at the volatility of the return to come, (rows,): measure these for a filtered VaR or expected shortfall.

        Source: Barone-Adesi, Giannopoulos and Vosper (1999), "VaR without correlations for portfolios of derivative securities"; Hull and White
        (1998).
        """
        return self.mean + self.volatility_next * self.shocks


def garch_filter(returns: npt.ArrayLike) -> GarchFilter:
    """Fit a GARCH(1, 1) by normal quasi maximum likelihood to *returns*, (rows,), oldest first: all of it is training, so pass what has closed.

    arch searches in units of the returns' deviation, which its optimiser wants. Raises DataError for a return that is no number, fewer than 100, or
    returns that do not vary.
    """
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 1 or len(r) < LEAST:
        raise DataError(f"garch: it needs one column of at least {LEAST} returns, was {r.shape}")
    wrong = np.flatnonzero(~np.isfinite(r))
    if len(wrong):
        raise DataError(f"garch: return {wrong[0]} is {r[wrong[0]]}; leave out what is not known")
    scale = float(r.std())
    if not scale > 1e-12 * float(np.abs(r).max()):
        raise DataError(f"garch: the return is {r[0]} in all {len(r)} rows, which has no volatility")

    from arch import arch_model

    fitted = arch_model(r / scale, mean="Constant", vol="GARCH", p=1, q=1, dist="normal", rescale=False).fit(disp="off", show_warning=False)
    mean, omega, alpha, beta = (float(value) for value in np.asarray(fitted.params, dtype=np.float64))
    volatilities = np.array(fitted.conditional_volatility, dtype=np.float64) * scale
    mean, omega = mean * scale, omega * scale**2
    variance = omega + alpha * float(r[-1] - mean) ** 2 + beta * float(volatilities[-1]) ** 2
    return GarchFilter(mean, omega, alpha, beta, r, volatilities, variance**0.5, fitted.convergence_flag == 0)
