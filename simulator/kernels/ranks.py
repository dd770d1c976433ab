"""Compiled choices among many instruments at one instant."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np

from simulator.kernels.compiled import compiled

Array = Any


@compiled
def highest(values: Array, count: int, chosen: Array) -> None:
    """Mark the *count* highest values, or all there are where there are fewer: of equals the first, and never a NaN.

    Each value is written to both sides of the pivot, and a comparison only says which side has grown: there is no branch to guess wrong, and order
    stays as it was. Source: C. A. R. Hoare, "Algorithm 65: Find", Communications of the ACM 4 (1961).
    """
    source, low, high = np.empty(values.shape[0]), np.empty(values.shape[0]), np.empty(values.shape[0])
    n = 0
    for i in range(values.shape[0]):
        source[n] = values[i]
        chosen[i] = values[i] == values[i]
        n += 1 if values[i] == values[i] else 0
    if n <= count:
        return
    if count == 0:
        chosen[:] = False
        return
    # The value at *place* is where it would be if all were sorted.
    place, bound = n - count, nan
    while bound != bound:
        a, b, c = source[n // 4], source[n // 2], source[3 * n // 4]
        pivot = max(min(a, b), min(max(a, b), c))
        lower, higher = 0, 0
        for j in range(n):
            x = source[j]
            low[lower] = x
            lower += 1 if x < pivot else 0
            high[higher] = x
            higher += 1 if x > pivot else 0
        if place < lower:
            source, low, n = low, source, lower
        elif place < n - higher:
            bound = pivot
        else:
            place -= n - higher
            source, high, n = high, source, higher
    room = count
    for i in range(values.shape[0]):
        chosen[i] = values[i] > bound
        room -= 1 if values[i] > bound else 0
    for i in range(values.shape[0]):
        if values[i] == bound:
            chosen[i] = True
            room -= 1
            if room == 0:
                break
