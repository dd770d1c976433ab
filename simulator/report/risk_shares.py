"""Where risk came from: the share of each instrument in the variance of a run's returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.market.actions import chained
from simulator.report.metrics import periods_of, session_ends

if TYPE_CHECKING:
    from simulator.report.results import Result


class RiskShare(NamedTuple):
    """One instrument: its *share* of the variance of all returns, the *volatility* a year that this is of the run's, its mean and largest *weight*.

    A share below 0 is a hedge: without it, risk would have been more.
    """

    symbol: str
    share: float
    volatility: float
    weight: float
    weight_max: float


def risk_shares(result: Result) -> list[RiskShare]:
    """The instruments by their share of risk, the largest first; nothing where nothing was held or returns did not vary.

    A session's return of an instrument is its weight at the close before times its own return; its share is cov(own, all) / var(all), so that the
    shares sum to 1 (Euler). Weights are absolute for their mean. What was traded inside a session, costs and interest are in no share.
    """
    sessions = result.tape.sessions[: result.rows]
    ends = session_ends(sessions)
    if len(ends) < 3:
        return []
    marks, equity = chained(result.tape).taken("marks", ends), result.equity[ends]
    solvent = np.where(equity > 0.0, equity, np.nan)
    names, own, weights = [], [], []
    for i, value in result.values(ends):
        rates = result.rates(i)
        price = marks[:, i] if rates is None else marks[:, i] * rates[ends]
        weight = value / solvent
        moved = np.diff(price) / price[:-1]
        names.append(result.tape.instruments[i].symbol)
        own.append(np.where(weight[:-1] == 0.0, 0.0, weight[:-1] * moved))
        weights.append(np.abs(weight))
    returns = np.array(own).reshape(len(names), len(ends) - 1)
    known = np.isfinite(returns).all(axis=0)
    returns = returns[:, known]
    total = returns.sum(axis=0)
    if returns.shape[1] < 2 or not total.var() > 0.0:
        return []
    centred = total - total.mean()
    shares = (returns - returns.mean(axis=1, keepdims=True)) @ centred / (centred @ centred)
    a_year = float(total.std(ddof=1) * np.sqrt(periods_of(sessions)))
    found = [
        RiskShare(name, share, share * a_year, float(np.nanmean(weight)), float(np.nanmax(weight)))
        for name, share, weight in zip(names, shares.tolist(), weights, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.share, one.symbol))
