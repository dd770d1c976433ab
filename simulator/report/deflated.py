"""Whether a Sharpe ratio would survive a second look: how sure it is, how many trials it was chosen from, and how often such a choice disappoints.

psr, dsr and min_trl are metrics as those of report.metrics are: `psr(returns, rf=0.0, periods=252, threshold=0.0)`. Sharpe ratios in and out of them
are those of one period, never annualised. In the formulas SR is mean(r - rf) / std(r - rf, ddof 1), g3 the skew, and g4 the raw kurtosis, 3 for a
normal distribution.
"""

from __future__ import annotations

from itertools import combinations
from math import ceil, e, nan, sqrt
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError
from simulator.report.metrics import FloatArray, Measured, Sample, metric

NORMAL: Final = NormalDist()
EULER: Final = 0.5772156649015329
"""The constant of Euler and Mascheroni, which the mean of extremes has in it."""
SURE: Final = 0.95
"""A probability below this does not convince."""
BLOCKS: Final = 16


def sharpe_per_period(x: Sample) -> float | str:
    """mean(r - rf) / std(r - rf, ddof 1), or why there is none."""
    spread = x.std(x.excess)
    return float(x.excess.mean()) / float(spread) if spread > 0.0 else "the returns do not vary"


def _spread(x: Sample, ratio: float) -> float:
    """1 - g3 SR + (g4 - 1) / 4 SR^2, by which the variance of a Sharpe ratio is wider than that of a mean."""
    centred = x.r - x.r.mean()
    m2 = float(np.mean(centred**2))
    g3, g4 = float(np.mean(centred**3)) / m2**1.5, float(np.mean(centred**4)) / m2**2
    return float(1.0 - g3 * ratio + (g4 - 1.0) / 4.0 * ratio**2)


def _sureness(x: Sample, threshold: float) -> float | str:
    ratio = sharpe_per_period(x)
    if isinstance(ratio, str):
        return ratio
    spread = _spread(x, ratio)
    # Two values that returns take in equal parts can bring it to 0: then the ratio of a sample is no estimate of anything.
    return NORMAL.cdf((ratio - threshold) * sqrt(len(x.r) - 1) / sqrt(spread)) if spread > 1e-12 else "its Sharpe ratio has no spread"


@metric()
def psr(x: Sample, threshold: float = 0.0) -> float | str:
    """Phi((SR - threshold) sqrt(N - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2)): how probable it is that the true SR is above *threshold*.

    Source: Bailey and López de Prado (2012), "The Sharpe ratio efficient frontier".
    """
    return _sureness(x, threshold)


@metric()
def dsr(x: Sample, trials: float = 1, variance: float = nan) -> float | str:
    """The PSR over the Sharpe ratio that the best of *trials* without skill is expected to have; *variance* is that of the trials' Sharpe ratios.

    Source: Bailey and López de Prado (2014), "The deflated Sharpe ratio".
    """
    bar = expected_best(trials, variance)
    return bar.reason if bar.reason else _sureness(x, bar.value)


@metric()
def min_trl(x: Sample, threshold: float = 0.0, sure: float = SURE) -> float | str:
    """1 + (1 - g3 SR + (g4 - 1) / 4 SR^2) (z / (SR - threshold))^2, z the normal quantile of *sure*: from how many returns on the PSR is that sure.

    Source: Bailey and López de Prado (2012), "The Sharpe ratio efficient frontier".
    """
    if not 0.5 < sure < 1.0:
        raise DataError(f"sure must be in (0.5, 1), was {sure!r}")
    ratio = sharpe_per_period(x)
    if isinstance(ratio, str):
        return ratio
    if not ratio > threshold:
        return "no number of returns is enough: its Sharpe ratio is not above the threshold"
    return 1.0 + _spread(x, ratio) * (NORMAL.inv_cdf(sure) / (ratio - threshold)) ** 2


def expected_best(trials: float, variance: float = nan) -> Measured:
    """The expected highest Sharpe ratio a period of so many independent *trials* whose true ones are 0; *variance* is that of theirs.

    sqrt(variance) ((1 - c) z(1 - 1 / trials) + c z(1 - 1 / (e trials))), c Euler's constant and z the normal quantile; 0 of one trial.
    Raises DataError for less than one trial, or a variance below 0.
    """
    if not 1 <= trials < float("inf"):
        raise DataError(f"trials must be at least 1, was {trials!r}")
    if trials == 1:
        return Measured(0.0)
    if variance < 0.0:
        raise DataError(f"variance must be at least 0, was {variance!r}")
    if variance != variance:
        return Measured(nan, "fewer than two trials have a Sharpe ratio, so that it has no variance")
    return Measured(sqrt(variance) * ((1.0 - EULER) * NORMAL.inv_cdf(1.0 - 1.0 / trials) + EULER * NORMAL.inv_cdf(1.0 - 1.0 / (e * trials))))


# --- How often a choice disappoints


class Overfit(NamedTuple):
    """What became of the best of a half in the other half, over all halvings: *pbo* is the share in which it was no better than the median there.

    *logits* are log(w / (1 - w)) of its relative rank w there, (halvings,). *slope* is that of a regression of its Sharpe ratio there on that in the
    half it was chosen in, and *loss* the share of halvings in which it lost there.
    """

    pbo: float
    logits: FloatArray
    slope: float
    loss: float


def pbo(returns: npt.ArrayLike, blocks: int = BLOCKS) -> float:
    """The probability of backtest overfitting of the configurations of a sweep: see `overfit`."""
    return overfit(returns, blocks).pbo


def overfit(returns: npt.ArrayLike, blocks: int = BLOCKS) -> Overfit:
    """Combinatorially symmetric cross-validation of a sweep's *returns*, (N, configurations), in *blocks* even parts of time.

    Each half of the blocks in turn chooses the configuration with the highest Sharpe ratio (of equals the first), and the other half ranks it (of
    equals the mean). Returns that do not vary in a half have a Sharpe ratio of 0 there. Raises DataError for fewer than two configurations, an odd
    number of blocks or more than 20 of them, blocks of less than two returns, and returns that are no numbers.
    Source: Bailey, Borwein, López de Prado and Zhu (2017), "The probability of backtest overfitting".
    """
    r = np.asarray(returns, np.float64)
    if r.ndim != 2 or r.shape[1] < 2:
        raise DataError(f"returns must be (N, configurations) of at least two configurations, were {r.shape}")
    if blocks % 2 or not 2 <= blocks <= 20:
        raise DataError(f"blocks must be an even number from 2 to 20, was {blocks}")
    if len(r) < 2 * blocks:
        raise DataError(f"returns must be at least {2 * blocks} rows for {blocks} blocks, were {len(r)}")
    wrong = np.argwhere(~np.isfinite(r))
    if len(wrong):
        raise DataError(f"return {wrong[0][0]} of configuration {wrong[0][1]} is {r[tuple(wrong[0])]}")
    # Sums over blocks say all that a half's mean and deviation need; from the mean of all, so that little is lost in the squares.
    parts = np.array_split(r - r.mean(axis=0), blocks)
    counts = np.array([len(part) for part in parts], np.float64)
    sums, squares = (np.array([total.sum(axis=0) for total in column]) for column in (parts, [part**2 for part in parts]))
    halves = np.zeros((len(list(combinations(range(blocks), blocks // 2))), blocks))
    for k, chosen in enumerate(combinations(range(blocks), blocks // 2)):
        halves[k, list(chosen)] = 1.0
    inside, outside = (_sharpes(half @ counts, half @ sums, half @ squares, r) for half in (halves, 1.0 - halves))
    best = inside.argmax(axis=1)
    rows = np.arange(len(best))
    theirs = outside[rows, best]
    rank = (outside < theirs[:, None]).sum(axis=1) + ((outside == theirs[:, None]).sum(axis=1) + 1) / 2.0
    share = rank / (r.shape[1] + 1)
    logits = np.log(share / (1.0 - share))
    ours = inside[rows, best]
    slope = float(np.polyfit(ours, theirs, 1)[0]) if np.ptp(ours) > 0.0 else nan
    return Overfit(float(np.mean(logits <= 0.0)), logits, slope, float(np.mean(theirs < 0.0)))


def _sharpes(counts: FloatArray, sums: FloatArray, squares: FloatArray, r: FloatArray) -> FloatArray:
    """Sharpe ratios a period, (halves, configurations), from counts (halves,), and sums and squares of returns less their mean."""
    n, mean = counts[:, None], sums / counts[:, None]
    deviation = np.sqrt(np.maximum(squares - n * mean**2, 0.0) / (n - 1.0))
    still = deviation <= 1e-12 * np.abs(r).max(axis=0)
    found: FloatArray = np.divide(mean + r.mean(axis=0), deviation, out=np.zeros_like(mean), where=~still)
    return found


# --- What a run says of itself


class Standing(NamedTuple):
    """How a result stands among the *trials* of its *family*, beside which *opted_out* runs were kept out of the count.

    *bar* is the expected best Sharpe ratio a period of so many trials without skill, *length* the sessions from which on its own would surely be
    above that; *why_not* says why this run is not in the ledger.
    """

    family: str
    trials: int
    opted_out: int
    bar: Measured
    psr: Measured
    dsr: Measured
    length: Measured
    why_not: str = ""

    def counted(self) -> str:
        """How many trials there were, in words."""
        others = f", and {self.opted_out} that opted out" if self.opted_out else ""
        return f"{self.trials} of family {self.family}{others}{f'. {self.why_not}' if self.why_not else ''}"

    def sure(self) -> str:
        """How sure it is, in words."""
        if self.psr.reason:
            return f"undefined: {self.psr.reason}"
        deflated = f"undefined: {self.dsr.reason}" if self.dsr.reason else _floor(self.dsr.value)
        return f"PSR {_floor(self.psr.value)}, DSR {deflated}"

    def warning(self) -> str:
        """Why the result would not survive; empty if its DSR is at least SURE, or if there is no Sharpe ratio to speak of."""
        if self.psr.reason or self.dsr.value >= SURE:
            return ""
        among = "the only trial" if self.trials == 1 else f"one of {self.trials:,} trials"
        length = "no number of sessions would be" if self.length.reason else f"{ceil(self.length.value):,} sessions would be"
        return f"Would not survive a second look: as {among}, this Sharpe ratio may be luck (DSR below {SURE:.2f}; {length} enough)."

    def plain(self) -> dict[str, Any]:
        """The same as JSON has it: what is undefined is null."""
        facts = {name: fact.value if isinstance(fact, Measured) else fact for name, fact in self._asdict().items()}
        return {name: None if fact != fact else fact for name, fact in facts.items()} | {"warning": self.warning()}


def _floor(probability: float) -> str:
    """Three digits, never rounded up to what would convince, or to certainty."""
    return f"{int(probability * 1000) / 1000:.3f}"
