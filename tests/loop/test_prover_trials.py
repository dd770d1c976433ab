"""The built-in strategies on short made-up tapes, each trial with another future: no byte before it may differ. 50 trials in CI, 1,000 nightly."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any, Final

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import DAY, Instrument, Result, Tape, plugins, simulate
from simulator.loop.prover import FUTURES, trial
from simulator.loop.randomness import stream

TRIALS: Final = 1_000 if os.environ.get("TRADEWIND_HYPOTHESIS") == "nightly" else 50

SMALL: Final[dict[str, dict[str, Any]]] = {
    "moving_average_cross": {"fast": 3, "slow": 8},
    "momentum": {"lookback": 5, "top": 2, "every": 3},
    "one_model": {"horizons": (1, 3, 8), "spreads": (5,), "horizon": 3, "every": 3, "minimum": 20, "refit": 20, "target_window": 10},
    "regime": {"states": 2, "window": 30, "refit": 15, "restarts": 1, "dwell": 1, "volatility_window": 5},
}
"""Parameters with which a strategy trades on a short tape. One that is not here is tried with its own."""

NAMES: Final = sorted(
    entry.name for entry in entry_points(group=plugins.STRATEGIES) if entry.dist and entry.dist.name == "tradewind" and entry.name != "blotter"
)


def short_tape(seed: int, width: int, gaps: float) -> Tape:
    """Eighty days of walks, some of them without a bar."""
    rng = stream(seed, "trials")
    close = 50.0 * np.exp(np.cumsum(rng.standard_normal((80, width)) * 0.03, axis=0))
    opened = close * np.exp(rng.standard_normal(close.shape) * 0.01)
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    columns = [opened, high, low, close, np.full(close.shape, 1e5)]
    gone = rng.random(close.shape) < gaps
    gone[:, 0] = False
    for column in columns:
        column[gone] = np.nan
    return Tape.of([Instrument(f"S{i}") for i in range(width)], (np.arange(80) + 1) * DAY, *columns, interval=DAY)


@settings(max_examples=TRIALS)
@given(
    name=st.sampled_from(NAMES),
    future=st.sampled_from(sorted(FUTURES)),
    seed=st.integers(0, 2**32),
    width=st.integers(1, 4),
    gaps=st.sampled_from([0.0, 0.1]),
    bar=st.integers(5, 78),
)
def test_no_future_changes_the_past_of_a_built_in_strategy(name: str, future: str, seed: int, width: int, gaps: float, bar: int) -> None:
    kind, tape = plugins.find(plugins.STRATEGIES, name, plugins.ROOT), short_tape(seed, width, gaps)

    def run(tape: Tape, bars: int | None) -> Result:
        strategy: Any = plugins.build(kind, SMALL.get(name, {}), "strategy")
        return simulate(tape, strategy, bars=bars)

    assert trial(run, tape, run(tape, None), bar, future, seed) is None
