"""What a risk engine would see at closes that nobody looks at: compiled, with the expressions of the loop."""

from __future__ import annotations

from math import nan
from typing import Any

from simulator.kernels.compiled import compiled
from simulator.kernels.runs import floor_of
from simulator.kernels.tapes import worth

Array = Any


@compiled
def quiet_until(
    cash: float,
    receivable: float,
    sizes: Array,
    marks: Array,
    first: int,
    end: int,
    called: bool,
    rate: float,
    watched: bool,
    halted: bool,
    climbs: bool,
    peak: float,
    fall: float,
    floor: float,
    day_floor: float,
) -> tuple[int, float, float, float]:
    """The first of the rows from *first* up to *end* at whose mark something is to be done, or *end*; and peak, floor and equity as they were left.

    An account that is *called* needs equity above 0, and of the share *rate* of gross exposure. Where equity is *watched*, a new *peak* moves the
    *floor*, a loss of the share *fall* below it, and a halted account is past that; one that *climbs* is let off at a new peak.
    """
    last = nan
    for t in range(first, end):
        total, gross = worth(cash, sizes, marks, t)
        equity = total + receivable
        if called and not (equity > 0.0 and equity >= rate * gross):
            return t, peak, floor, last
        if watched:
            if equity > peak:
                if climbs and not halted:
                    return t, peak, floor, last
                if not halted and not (equity >= day_floor):
                    return t, peak, floor, last
                peak = equity
                floor = floor_of(peak, fall)
            elif not halted and not (equity >= floor and equity >= day_floor):
                return t, peak, floor, last
        last = equity
    return end, peak, floor, last
