"""How sure a Sharpe ratio is: against the papers' own numbers, formulas written anew, and noise."""

from __future__ import annotations

from itertools import combinations
from math import e, inf, isnan, log, nan, sqrt

import numpy as np
import pytest
import scipy.stats as st

from simulator import DataError
from simulator.report.deflated import dsr, expected_best, min_trl, overfit, pbo, psr
from simulator.report.metrics import FloatArray, Metric

near = pytest.approx


def sample(seed: int, count: int = 750, mean: float = 0.0006) -> FloatArray:
    """Fat-tailed, skewed returns."""
    draw = np.random.default_rng(seed)
    return mean + 0.01 * (draw.standard_t(5, count) - 0.3 * (draw.exponential(1.0, count) - 1.0))


def its_psr(r: FloatArray, threshold: float) -> float:
    ratio = r.mean() / r.std(ddof=1)
    spread = 1 - st.skew(r) * ratio + (st.kurtosis(r, fisher=False) - 1) / 4 * ratio**2
    return float(st.norm.cdf((ratio - threshold) * sqrt(len(r) - 1) / sqrt(spread)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.0, 0.02, -0.05])
def test_the_psr_is_its_formula(seed: int, threshold: float) -> None:
    assert psr(sample(seed), threshold=threshold) == near(its_psr(sample(seed), threshold), rel=1e-12)


def test_the_kurtosis_in_it_is_raw() -> None:
    """Of -1, 1, 3, 1 the mean is 1, g3 is 0 and g4 is 2: SR is 1 / sqrt(8 / 3)."""
    ratio = 1 / sqrt(8 / 3)
    assert psr([-0.01, 0.01, 0.03, 0.01]) == near(st.norm.cdf(ratio * sqrt(3) / sqrt(1 + ratio**2 / 4)))


def test_a_probability_is_not_annualised() -> None:
    assert psr(sample(1), periods=252) == psr(sample(1), periods=1)
    assert 0.0 < psr(sample(1)) < 1.0


def test_the_best_of_a_hundred_is_that_of_the_paper() -> None:
    """Bailey and López de Prado (2014), page 10: 100 trials whose Sharpe ratios a year have a variance of 1/2 give 0.1132 a day of 250 a year."""
    assert expected_best(100, 0.5 / 250).value == near(0.1132, abs=5e-5)


def test_the_best_of_many_is_about_what_noise_brings() -> None:
    best = np.random.default_rng(2).normal(size=(4000, 50)).max(axis=1).mean()
    assert expected_best(50, 1.0).value == near(best, rel=0.03)


def test_the_dsr_is_the_psr_over_the_best_of_the_trials() -> None:
    r = sample(3)
    c = 0.5772156649015329
    bar = 0.02 * ((1 - c) * st.norm.ppf(1 - 1 / 30) + c * st.norm.ppf(1 - 1 / (30 * e)))
    assert dsr(r, trials=30, variance=0.0004) == near(its_psr(r, bar), rel=1e-12)
    assert dsr(r, trials=31, variance=0.0004) < dsr(r, trials=30, variance=0.0004) < dsr(r, trials=1) == psr(r)


def test_trials_without_a_variance_have_no_dsr() -> None:
    assert dsr.measured(sample(1), trials=2).reason == "fewer than two trials have a Sharpe ratio, so that it has no variance"
    with pytest.raises(DataError, match="trials must be at least 1, was 0"):
        expected_best(0)
    with pytest.raises(DataError, match="variance must be at least 0, was -1"):
        expected_best(2, -1.0)


def test_the_minimum_track_length_is_where_the_psr_is_sure() -> None:
    r = sample(4, 300, 0.0012)
    length = min_trl(r, threshold=0.01)
    ratio = r.mean() / r.std(ddof=1)
    spread = 1 - st.skew(r) * ratio + (st.kurtosis(r, fisher=False) - 1) / 4 * ratio**2
    assert st.norm.cdf((ratio - 0.01) * sqrt(length - 1) / sqrt(spread)) == near(0.95, rel=1e-9)
    assert min_trl.measured(r, threshold=1.0).reason == "no number of returns is enough: its Sharpe ratio is not above the threshold"
    with pytest.raises(DataError, match=r"sure must be in \(0.5, 1\), was 1.0"):
        min_trl(r, sure=1.0)


@pytest.mark.parametrize("metric", [psr, dsr, min_trl], ids=lambda x: x.name)
def test_what_has_no_sharpe_ratio_has_none_of_them(metric: Metric) -> None:
    assert metric.measured([]).reason == "there are no returns"
    assert metric.measured([0.01]).reason == "it needs at least 2 returns, and there is 1"
    assert metric.measured([0.01, nan, 0.02]).reason == "return 1 is nan"
    assert metric.measured([0.3, 0.1 + 0.2, 0.3]).reason == "the returns do not vary"
    assert not isnan(psr([0.1, -1.0, 0.05]))


def test_of_pure_noise_the_best_of_a_hundred_rarely_convinces() -> None:
    """The best's PSR nearly always does, which is what the DSR is for."""
    fooled, convinced = 0, 0
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0.0, 0.01, (250, 100))
        sharpes = noise.mean(axis=0) / noise.std(axis=0, ddof=1)
        best = noise[:, sharpes.argmax()]
        convinced += psr(best) >= 0.95
        fooled += dsr(best, trials=100, variance=float(sharpes.var(ddof=1))) >= 0.95
    assert fooled <= 10
    assert convinced >= 90


# --- PBO


def its_overfit(r: FloatArray, blocks: int) -> tuple[float, list[float]]:
    """Every halving by itself, in plain loops."""
    parts, logits = np.array_split(r, blocks), []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[k] for k in chosen])
        outside = np.concatenate([parts[k] for k in range(blocks) if k not in chosen])
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        share = st.rankdata(outside.mean(axis=0) / outside.std(axis=0, ddof=1))[best] / (r.shape[1] + 1)
        logits.append(log(share / (1 - share)))
    return float(np.mean([x <= 0 for x in logits])), logits


@pytest.mark.parametrize(("seed", "shape", "blocks"), [(1, (101, 7), 6), (2, (64, 20), 8), (3, (40, 2), 4)])
def test_the_pbo_is_that_of_every_halving_by_itself(seed: int, shape: tuple[int, int], blocks: int) -> None:
    r = np.random.default_rng(seed).normal(0.0005, 0.01, shape)
    found, (theirs, logits) = overfit(r, blocks), its_overfit(r, blocks)
    assert found.pbo == theirs == pbo(r, blocks)
    assert found.logits == near(np.array(logits))


def test_where_one_is_better_by_far_the_choice_does_not_disappoint() -> None:
    r = np.random.default_rng(1).normal(0.0, 0.01, (500, 10))
    r[:, 3] += 0.01
    assert pbo(r) == 0.0
    assert overfit(r).loss == 0.0


def test_of_noise_the_choice_disappoints_about_every_other_time() -> None:
    found = [pbo(np.random.default_rng(seed).normal(0.0, 0.01, (400, 30)), 8) for seed in range(40)]
    assert 0.4 < np.mean(found) < 0.65


def test_a_configuration_that_never_trades_is_neither_best_nor_an_error() -> None:
    r = np.column_stack([np.zeros(64), np.random.default_rng(1).normal(0.002, 0.01, (64, 2))])
    assert 0.0 <= pbo(r, 4) <= 1.0


def test_a_sweep_that_cannot_be_halved_is_refused() -> None:
    r = np.random.default_rng(1).normal(size=(64, 3))
    for wrong, blocks, said in (
        (r[:, :1], 4, "at least two configurations"),
        (r, 5, "blocks must be an even number from 2 to 20, was 5"),
        (r[:7], 4, "returns must be at least 8 rows for 4 blocks, were 7"),
        (np.where(np.arange(3) == 1, inf, r), 4, "return 0 of configuration 1 is inf"),
    ):
        with pytest.raises(DataError, match=said):
            overfit(wrong, blocks)
