"""Random mandates with something to maximise inside: many kinds of limits at once, some in conflict."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from simulator.risk.mandate import Mandate, mandate


def random_problem(seed: int) -> tuple[Mandate, np.ndarray, dict[str, float]]:
    """A mandate for 2 to 40 instruments, alpha, and what a Constructor takes."""
    chance = np.random.default_rng(seed)
    n = int(chance.integers(2, 41))
    rows = int(chance.integers(n // 2 + 2, 3 * n + 3))
    covariance = np.cov((chance.normal(size=(rows, n)) * 0.02 + chance.normal(size=(rows, 1)) * 0.01).T)
    held = chance.normal(size=n)
    keys: dict[str, Any] = {"covariance": covariance, "held": np.zeros(n) if seed % 2 else held * 0.8 / np.abs(held).sum()}
    said: dict[str, Any] = {
        "net": [(0.0, 0.0), (1.0, 1.0), (-0.1, 0.1), (0.5, 1.0)][chance.integers(4)],
        "gross_max": float(chance.choice([0.5, 1.0, 2.0])),
        "name_max": float(chance.choice([0.5, 1.5, 3.0])) / n,
        "long_only": True,
        "turnover_max": float(chance.choice([0.1, 0.5, 2.0])),
        "volatility_max": float(chance.choice([0.002, 0.005, 0.02])),
    }
    keys |= {name: value for name, value in said.items() if chance.random() < 0.5}
    if chance.random() < 0.5:
        k = int(chance.integers(1, 5))
        keys |= {"groups": {f"g{j}": range(j, n, k) for j in range(k)}, "group_max": float(chance.choice([0.1, 0.3, 0.6]))}
    if chance.random() < 0.5:
        factors = {f"f{j}": chance.normal(size=n) + (j == 0) for j in range(int(chance.integers(1, 4)))}
        keys |= {"factors": factors, "factor_max": float(chance.choice([0.0, 0.1]))}
    if rows <= n + 1:
        # Fewer rows than instruments leave books without risk, which must be held in by something else.
        keys.setdefault("gross_max", 2.0)
    costs = {name: float(chance.choice(values)) for name, values in {"linear": [0.0, 1e-4], "square_root": [0.0, 1e-3]}.items()}
    return mandate(n, **keys), chance.normal(size=n) * 1e-3, {"aversion": float(chance.choice([1.0, 10.0])), **costs}


def only(limits: Mandate, names: tuple[str, ...]) -> Mandate:
    """The same mandate with none but these limits."""
    return Mandate(
        limits.count,
        tuple(box for box in limits.boxes if box.name in names),
        tuple(limit for limit in limits.exposures if limit.name in names),
        limits.held,
        limits.turnover_max if "turnover" in names else inf,
        limits.covariance,
        limits.volatility_max if "volatility" in names else inf,
    )
