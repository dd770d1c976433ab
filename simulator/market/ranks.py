"""Choices among the instruments of one instant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.errors import ViewError
from simulator.kernels import ranks
from simulator.market.tape import FloatArray


def highest(values: npt.ArrayLike, count: int) -> np.ndarray:
    """Which instruments have the *count* highest of these *values*, (instruments,): a mask. Of equals the first in the list, on every machine; NaN
    never is. All that have a value, where there are not so many. For the lowest give the negative values.

    Raises ViewError where *values* is no row of numbers, or *count* is below 0.
    """
    # A copy, since compiled code takes a read-only row for another type.
    row: FloatArray = np.array(values, np.float64)
    if row.ndim != 1:
        raise ViewError(f"values must be one number an instrument, were {row.shape}")
    if count < 0:
        raise ViewError(f"count must be at least 0, was {count!r}")
    chosen = np.empty(len(row), np.bool_)
    ranks.highest(row, int(count), chosen)
    return chosen
