"""Compiled choices among many instruments at one instant."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.kernels.compiled import compiled

Array = Any


@compiled
def highest(values: Array, count: int, chosen: Array) -> None:
    """Mark the *count* highest values, or all there are where there are fewer: of equals the first, and never a NaN.

    Values change places whatever a comparison says, and it only says how far to go on: there is no branch to guess wrong. Source: C. A. R. Hoare,
    "Algorithm 65: Find", Communications of the ACM 4 (1961), with the partition of N. Lomuto.
    """
    known = np.empty(values.shape[0] + 1)
    n = 0
    for i in range(values.shape[0]):
        chosen[i] = values[i] == values[i]
        known[n] = values[i]
        n += 1 if values[i] == values[i] else 0
    if n <= count:
        return
    if count == 0:
        chosen[:] = False
        return
    # The value at *place* is where it would be if all were sorted; those left of it are no higher, and those right of it no lower.
    place = n - count
    first, last = 0, n - 1
    while first < last:
        a, b, c = known[first], known[(first + last) // 2], known[last]
        pivot = max(min(a, b), min(max(a, b), c))
        i = first
        for j in range(first, last + 1):
            x = known[j]
            known[j] = known[i]
            known[i] = x
            i += 1 if x < pivot else 0
        if place < i:
            last = i - 1
            continue
        if i == first:
            # None is lower. Those that are equal are in their place.
            for j in range(first, last + 1):
                x = known[j]
                known[j] = known[i]
                known[i] = x
                i += 1 if x == pivot else 0
            if place < i:
                break
        first = i
    bound = known[place]
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
