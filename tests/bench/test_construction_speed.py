"""How long a rebalance takes with every kind of limit at once, in CPU seconds: `pytest -m bench -s tests/bench/test_construction_speed.py`."""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest

from simulator.models.construction import Constructor
from simulator.risk.mandate import mandate


@pytest.mark.bench
@pytest.mark.parametrize(("count", "seconds_max"), [(50, 0.010), (500, 0.5)])
def test_a_rebalance_with_all_limits_is_quick_enough_for_every_day(count: int, seconds_max: float) -> None:
    """The median over days on which alpha moves a little, each from the book of the day before; the first day is not counted."""
    chance = np.random.default_rng(count)
    returns = chance.normal(size=(2 * count, count)) * 0.02 + chance.normal(size=(2 * count, 5)) @ chance.normal(size=(5, count)) * 0.01
    covariance, alpha, held = np.cov(returns.T), chance.normal(size=count) * 1e-3, np.zeros(count)
    factors = {f"factor{k}": chance.normal(size=count) for k in range(8)}
    groups = {f"group{k}": range(k, count, 11) for k in range(11)}
    constructor, spent = Constructor(5.0, linear=1e-4, square_root=1e-3), []
    for _ in range(12):
        alpha = 0.97 * alpha + 0.03 * chance.normal(size=count) * 1e-3
        began = process_time()
        limits = mandate(
            count,
            net=(0.0, 0.0),
            gross_max=1.5,
            name_max=5.0 / count,
            groups=groups,
            group_max=0.25,
            factors=factors,
            liquidity=np.full(count, 6.0 / count),
            held=held,
            turnover_max=0.6,
            covariance=covariance,
            volatility_max=0.005,
        )
        allowed = constructor.weights(alpha, limits)
        spent.append(process_time() - began)
        assert allowed.conflict is None
        assert limits.breaches(allowed.weights, 1e-10) == ()
        held = allowed.weights
    median = float(np.median(spent[1:]))
    print(
        f"\n{count} names, all limits: {median * 1e3:.1f} ms of CPU a rebalance (at most {max(spent[1:]) * 1e3:.1f}), wanted {seconds_max * 1e3:.0f}"
    )
    assert median <= seconds_max
