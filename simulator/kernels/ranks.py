"""Compiled choices among many instruments at one instant."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.kernels.compiled import compiled

Array = Any


@compiled
def highest(values: Array, count: int, chosen: Array) -> None:
    """Mark the *count* highest values, or all there are where there are fewer: of equals the first, and never a NaN.

    Source: C. A. R. Hoare, "Algorithm 65: Find", Communications of the ACM 4 (1961).
    """
    known = np.empty(values.shape[0])
    n = 0
    for i in range(values.shape[0]):
        chosen[i] = values[i] == values[i]
        if chosen[i]:
            known[n] = values[i]
            n += 1
    if n <= count:
        return
    if count == 0:
        chosen[:] = False
        return
    # The value at *place* is where it would be if all were sorted; those left of it are no higher, and those right of it no lower.
    place = n - count
    first, last = 0, n - 1
    while first < last:
        pivot = known[(first + last) // 2]
        i, j = first, last
        while i <= j:
            while known[i] < pivot:
                i += 1
            while known[j] > pivot:
                j -= 1
            if i <= j:
                known[i], known[j] = known[j], known[i]
                i += 1
                j -= 1
        if place <= j:
            last = j
        elif place >= i:
            first = i
        else:
            break
    bound = known[place]
    room = count
    for i in range(values.shape[0]):
        if values[i] > bound:
            room -= 1
    for i in range(values.shape[0]):
        level = values[i] == bound and room > 0
        chosen[i] = values[i] > bound or level
        if level:
            room -= 1
