"""How much of a result hangs on what a bar cannot tell: the fill interval of a run. Source: market-rules.md, section 2."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from simulator.report import metrics

if TYPE_CHECKING:
    from simulator.report.results import FillRow, Result

POLICIES: Final = ("pessimistic", "optimistic", "ohlc", "olhc", "nearest")
THROUGH: Final = "pessimistic, limits traded through"
FIGURES: Final = ("cumulative_return", "annual_return", "max_drawdown", "volatility", "sharpe")


class Interval(NamedTuple):
    """A figure as it came out, between the least and the most that complete re-runs made of it."""

    low: float
    chosen: float
    high: float


class Uncertainty(NamedTuple):
    """The fill interval of each headline figure, by name.

    *share* is the width of the final profit's interval over the profit that came out (NaN where that is 0); *ambiguous* are the trades that would
    have been others, or none, on another path through their bar; *equities* the final equity under each policy.
    """

    figures: Mapping[str, Interval]
    share: float
    ambiguous: tuple[FillRow, ...]
    equities: Mapping[str, float]

    def plain(self) -> dict[str, Any]:
        """The same as JSON has it: NaN is null."""

        def number(value: float) -> float | None:
            return float(value) if np.isfinite(value) else None

        return {
            "figures": {name: {end: number(value) for end, value in figure._asdict().items()} for name, figure in self.figures.items()},
            "ambiguous_share": number(self.share),
            "ambiguous_fills": [{**fill._asdict(), "client_id": str(fill.client_id)} for fill in self.ambiguous],
            "final_equity": {name: number(value) for name, value in self.equities.items()},
        }


def measure(chosen: Result, runs: Mapping[str, Result]) -> Uncertainty:
    """The interval over complete *runs* of the same scenario under each policy; *chosen* is the one that the user asked for."""
    found = {"final_equity": Interval(*_interval(_last(chosen), [_last(run) for run in runs.values()]))}
    ours = metrics.measures(chosen)
    theirs = [metrics.measures(run) for run in runs.values()]
    for name in FIGURES:
        found[name] = Interval(*_interval(float(ours[name].value), [float(each[name].value) for each in theirs]))
    low, final, high = found["final_equity"]
    profit = final - chosen.cash_start
    return Uncertainty(found, (high - low) / abs(profit) if profit else nan, ambiguous(chosen), {name: _last(run) for name, run in runs.items()})


def ambiguous(result: Result) -> tuple[FillRow, ...]:
    """The trades of a run that hang on the order of events inside their bar."""
    return tuple(fill for fill in result.fills if fill.ambiguous)


def _last(result: Result) -> float:
    return float(result.equity[-1]) if result.rows else float(result.cash_start)


def _interval(chosen: float, values: list[float]) -> tuple[float, float, float]:
    """The least, the chosen, the most; NaN where nothing is defined."""
    known = [value for value in (chosen, *values) if value == value]
    return (min(known), chosen, max(known)) if known else (nan, nan, nan)
