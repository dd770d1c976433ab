"""Screening: which of many pairs and baskets of series belong together, with control for how many were tried."""

from __future__ import annotations

from itertools import combinations
from math import nan
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, ScenarioError, nearest
from simulator.loop.clocks import FITTING
from simulator.models.relations import SAME, STILL, Criterion, OrnsteinUhlenbeck, check_lags, cointegration, johansen, ornstein_uhlenbeck

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

Control = Literal["benjamini_hochberg", "holm", "none"]

CONTROLS: Final = {"benjamini_hochberg": "fdr_bh", "holm": "holm"}
TOGETHER: Final = 256
"""How many groups are screened at once."""


class PairTest(NamedTuple):
    """One of the groups that were screened: its *members* (columns), the *weights* of their stationary combination (the first is 1), and the tests.

    *pvalue* is this group's, *adjusted* what is left of it after so many tests; *passed* says whether that is within the level.
    """

    members: tuple[int, ...]
    weights: tuple[float, ...]
    statistic: float
    pvalue: float
    adjusted: float
    passed: bool
    reversion: OrnsteinUhlenbeck


def adjusted(pvalues: npt.ArrayLike, control: Control = "benjamini_hochberg") -> FloatArray:
    """P-values after as many tests as there are, by statsmodels: at a level of 5 %, reject what is at most 0.05 now. NaN stays, and counts as none.

    "benjamini_hochberg" bounds the expected share of false discoveries, "holm" the chance of any; "none" leaves them as they are.
    """
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(pvalues, np.float64)
    known = ~np.isnan(values)
    if values.ndim != 1 or not ((values[known] >= 0.0) & (values[known] <= 1.0)).all():
        raise DataError("adjusted: p-values must be one row of numbers from 0 to 1")
    if control != "none" and control not in CONTROLS:
        raise ScenarioError(f"adjusted: no such control {control!r}{nearest(control, (*CONTROLS, 'none'))}")
    found = values.copy()
    if control != "none" and known.any():
        found[known] = multipletests(values[known], method=CONTROLS[control])[1]
    return found


@FITTING
def screen_pairs(
    x: npt.ArrayLike,
    level: float = 0.05,
    control: Control = "benjamini_hochberg",
    maxlag: int | None = None,
    autolag: Criterion | None = "AIC",
    step: float = 1.0,
) -> list[PairTest]:
    """Test every two columns of *x*, (rows, instruments), for cointegration, the most significant first. Log prices make hedge ratios of money.

    Both directions are tried; the better one stands, and its p-value is doubled for that. Columns with a value that is no number take no part.
    """
    return _screened(x, 2, level, control, maxlag, autolag, step)


@FITTING
def screen_baskets(
    x: npt.ArrayLike,
    legs: int = 3,
    level: float = 0.05,
    control: Control = "benjamini_hochberg",
    maxlag: int | None = None,
    autolag: Criterion | None = "AIC",
    step: float = 1.0,
) -> list[PairTest]:
    """The same for every *legs* columns of *x*, with Johansen's first vector for weights, the most significant first.

    Johansen's statistics have critical values and no p-values, which the control needs: it takes Engle and Granger's, of the first of them on the
    others. A basket passes if that is within the level and Johansen's trace test finds a relation at 5 %.
    """
    return _screened(x, legs, level, control, maxlag, autolag, step)


class _Screened(NamedTuple):
    """A group before the control of many tests; *related* is Johansen's word, where he was asked."""

    members: tuple[int, ...]
    weights: FloatArray
    statistic: float
    pvalue: float
    related: bool


def _screened(
    x: npt.ArrayLike, legs: int, level: float, control: Control, maxlag: int | None, autolag: Criterion | None, step: float
) -> list[PairTest]:
    values = np.asarray(x, np.float64)
    if values.ndim != 2:
        raise DataError(f"screening: x must be (rows, instruments), was {values.shape}")
    if not 0.0 < level < 1.0:
        raise ScenarioError(f"screening: level must be in (0, 1), was {level!r}")
    if not 2 <= legs <= 12:
        raise ScenarioError(f"screening: legs must be from 2 to 12, was {legs!r}")
    check_lags("screening", maxlag, autolag)
    whole = np.flatnonzero(np.isfinite(values).all(axis=0) & (np.ptp(values, axis=0) > 0.0)).tolist() if len(values) else []
    groups = list(combinations(whole, legs))
    found = _pairs(values, groups, maxlag, autolag) if legs == 2 else _baskets(values, groups, maxlag, autolag)
    after = adjusted([test.pvalue for test in found], control)
    tests = []
    for (members, weights, statistic, pvalue, related), p in zip(found, after.tolist(), strict=True):
        shares = weights / weights[0]
        reversion = ornstein_uhlenbeck(values[:, members] @ shares, step)
        tests.append(PairTest(members, tuple(shares.tolist()), statistic, pvalue, p, related and p <= level, reversion))
    return sorted(tests, key=lambda test: (test.adjusted, test.pvalue, test.members))


def _pairs(values: FloatArray, groups: list[tuple[int, ...]], maxlag: int | None, autolag: Criterion | None) -> list[_Screened]:
    """Each pair in the direction that is further from a unit root. Pairs that are one series are left out."""
    there = _engle_granger(values, groups, maxlag, autolag)
    back = _engle_granger(values, [members[::-1] for members in groups], maxlag, autolag)
    found = []
    for members, first, second in zip(groups, zip(*there, strict=True), zip(*back, strict=True), strict=True):
        if not (first[0] == first[0] and second[0] == second[0]):
            continue
        turned = second[0] < first[0]
        statistic, slopes = second if turned else first
        pvalue = min(1.0, 2.0 * _mackinnon(float(statistic), 2))
        found.append(_Screened(members[::-1] if turned else members, np.array([1.0, -slopes[0]]), float(statistic), pvalue, True))
    return found


def _baskets(values: FloatArray, groups: list[tuple[int, ...]], maxlag: int | None, autolag: Criterion | None) -> list[_Screened]:
    """Each basket with Johansen's vector. Baskets of which a series is a combination of the others, or has no weight, are left out."""
    found = []
    for members, statistic in zip(groups, _engle_granger(values, groups, maxlag, autolag)[0].tolist(), strict=True):
        try:
            relation = johansen(values[:, members])
        except DataError:
            continue
        weights = relation.vectors[:, 0]
        if statistic == statistic and abs(weights[0]) > STILL * float(np.abs(weights).max()):
            found.append(_Screened(members, weights, statistic, _mackinnon(statistic, len(members)), relation.rank() > 0))
    return found


def _engle_granger(values: FloatArray, groups: list[tuple[int, ...]], maxlag: int | None, autolag: Criterion | None) -> tuple[FloatArray, FloatArray]:
    """`cointegration` of the first of each group on its others: statistics, (groups,), and hedge ratios, (groups, others).

    Both are NaN where the group is one series. With a fixed number of lags it is two regressions, which are done for many groups at once.
    """
    others = len(groups[0]) - 1 if groups else 1
    statistics, slopes = np.full(len(groups), nan), np.full((len(groups), others), nan)
    if autolag is not None or maxlag is None:
        for g, members in enumerate(groups):
            try:
                test = cointegration(values[:, members[0]], values[:, members[1:]], maxlag=maxlag, autolag=autolag)
            except DataError:
                continue
            statistics[g], slopes[g] = test.statistic, test.hedge_ratios
        return statistics, slopes
    rows = len(values) - 1 - maxlag
    if groups and rows <= maxlag + 1:
        raise DataError(f"screening: {maxlag} lags need more than {2 * maxlag + 2} rows, were {len(values)}")
    centred = values - values.mean(axis=0)
    for first in range(0, len(groups), TOGETHER):
        part = slice(first, first + TOGETHER)
        columns = centred.T[np.array(groups[part])]
        y, x = columns[:, 0], columns[:, 1:]
        slopes[part], left = _regressed(x, y)
        changes = np.diff(left, axis=1)
        lagged = [left[:, -rows - 1 : -1], *(changes[:, maxlag - k : maxlag - k + rows] for k in range(1, maxlag + 1))]
        roots, noise = _regressed(np.stack(lagged, axis=1), changes[:, -rows:])
        # The first diagonal element of the inverse is one over what the others leave of the first column.
        alone = _regressed(np.stack(lagged[1:], axis=1), lagged[0])[1] if maxlag else lagged[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = np.sqrt((noise**2).sum(axis=1) / (rows - maxlag - 1) / (alone**2).sum(axis=1))
            distinct = (left**2).sum(axis=1) > SAME * (y**2).sum(axis=1)
            statistics[part] = np.where(distinct, roots[:, 0] / errors, nan)
    return statistics, slopes


def _regressed(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slopes, (groups, k), of *y*, (groups, rows), on *x*, (groups, k, rows), and what is left, (groups, rows)."""
    size = np.sqrt((x**2).sum(axis=2))
    scaled = x / np.where(size > 0.0, size, 1.0)[:, :, None]
    inverse = np.linalg.pinv(scaled @ scaled.transpose(0, 2, 1), rcond=1e-14, hermitian=True)
    slopes = np.zeros(x.shape[:2])
    left = y
    # Once more on what is left: the squares of nearly parallel columns cost digits.
    for _ in range(2):
        more = (inverse @ (scaled @ left[:, :, None]))[:, :, 0]
        slopes, left = slopes + more, left - (more[:, None, :] @ scaled)[:, 0, :]
    return slopes / np.where(size > 0.0, size, 1.0), left


def _mackinnon(statistic: float, series: int) -> float:
    """The p-value of an Engle-Granger statistic of so many series. Source: MacKinnon (1994, 2010)."""
    from statsmodels.tsa.adfvalues import mackinnonp

    return float(mackinnonp(statistic, regression="c", N=series))
