"""GARCH: arch's own numbers in the returns' units, and a tail that follows the volatility of now."""

from __future__ import annotations

from math import nan, sqrt

import numpy as np
import pytest
from arch import arch_model

from simulator.errors import DataError
from simulator.loop.randomness import stream
from simulator.models.garch import garch_filter
from simulator.risk.measures import breaches, christoffersen, kupiec, rolling_forecasts, var_historical


def clustered(rows: int = 1500, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Returns of a known GARCH(1, 1), and the volatility of each."""
    shocks, variance = stream(seed, "test.garch").standard_normal(rows), 1e-4
    returns, volatilities = np.empty(rows), np.empty(rows)
    for t, shock in enumerate(shocks):
        volatilities[t] = sqrt(variance)
        returns[t] = 0.0005 + volatilities[t] * shock
        variance = 2e-6 + 0.1 * (returns[t] - 0.0005) ** 2 + 0.88 * variance
    return returns, volatilities


def test_the_filter_is_archs_in_the_units_of_the_returns() -> None:
    r, _ = clustered()
    ours = garch_filter(r)
    theirs = arch_model(100.0 * r, rescale=False).fit(disp="off")
    assert ours.converged
    assert [100 * ours.mean, 1e4 * ours.omega, ours.alpha, ours.beta] == pytest.approx(theirs.params.to_numpy(), rel=2e-3)
    assert 100 * ours.volatilities == pytest.approx(theirs.conditional_volatility, rel=2e-3)
    assert 1e4 * ours.volatility_next**2 == pytest.approx(theirs.forecast(horizon=1).variance.to_numpy()[-1, 0], rel=2e-3)


def test_the_filter_finds_the_volatility_that_there_was() -> None:
    r, truth = clustered(3000)
    found = garch_filter(r)
    assert np.corrcoef(found.volatilities[100:], truth[100:])[0, 1] > 0.98
    assert found.alpha + found.beta == pytest.approx(0.98, abs=0.02)
    assert found.shocks.std() == pytest.approx(1.0, abs=0.02)


def test_the_filter_in_other_units_is_the_same_in_them() -> None:
    r, _ = clustered(400)
    ours, other = garch_filter(r), garch_filter(1000.0 * r)
    assert other.rescaled == pytest.approx(1000.0 * ours.rescaled, abs=1e-4)


def test_a_filtered_tail_follows_the_volatility_of_now() -> None:
    r, _ = clustered(1000)
    calm, wild = np.concatenate([r, 0.001 * np.sign(r[:30])]), np.concatenate([r, 0.05 * np.sign(r[:30])])
    plain = var_historical(wild) / var_historical(calm)
    filtered = var_historical(garch_filter(wild).rescaled) / var_historical(garch_filter(calm).rescaled)
    assert filtered > 2.0 * plain


def test_filtered_forecasts_do_not_breach_in_a_row_where_unfiltered_ones_do() -> None:
    """A market that is wild for its last third: the parameters are of what came before."""
    shocks = stream(4, "test.wild").standard_normal(600)
    r = 0.01 * shocks * np.where(np.arange(600) < 400, 1.0, 3.0)
    plain = breaches(r[300:], rolling_forecasts(r, 300))
    model = garch_filter(clustered()[0])
    variance, hits = model.volatilities.mean() ** 2, []
    quantile = var_historical(model.shocks)
    for t in range(600):
        hits.append(r[t] < model.mean + quantile * sqrt(variance))
        variance = model.omega + model.alpha * (r[t] - model.mean) ** 2 + model.beta * variance
    filtered = np.array(hits[300:])
    assert kupiec(plain).p_value < 1e-6 < 1e-3 < kupiec(filtered).p_value
    assert christoffersen(filtered).conditional.p_value > 1e-3


def test_returns_that_have_no_volatility_to_fit_are_refused() -> None:
    r, _ = clustered(200)
    with pytest.raises(DataError, match=r"at least 100 returns, was \(99,\)"):
        garch_filter(r[:99])
    with pytest.raises(DataError, match="return 7 is nan; leave out what is not known"):
        garch_filter(np.where(np.arange(200) == 7, nan, r))
    with pytest.raises(DataError, match=r"the return is 0\.01 in all 200 rows"):
        garch_filter(np.full(200, 0.01))
