"""A small scenario to sweep, and what makes two sweeps the same, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from simulator.desks import Trial

TEXT = """
[feed]
kind = "walks"
bars = 300
[strategy]
name = "{name}"
[account]
cash = 100_000.0
[financing]
debit = 0.0
"""


def scenario(folder: Path, name: str = "moving_average_cross") -> Path:
    """The file of a scenario with this strategy."""
    path = folder / "small.toml"
    path.write_text(TEXT.format(name=name))
    return path


def told(trials: Iterable[Trial]) -> list[str]:
    """All that trials have, to the last bit."""
    return [repr(trial._replace(returns=trial.returns.tobytes())) for trial in trials]  # type: ignore[arg-type]  # to be shown
