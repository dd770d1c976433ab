"""The highest values of a row: the same few on every machine."""

from __future__ import annotations

import re
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import ViewError, highest
from simulator.kernels import ranks

VALUES = st.lists(st.sampled_from([nan, -inf, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, inf]) | st.floats(-10.0, 10.0), max_size=40)


def sorted_out(values: list[float], count: int) -> list[bool]:
    """The same by sorting: the highest first, and of equals the first in the list."""
    best = sorted((i for i, value in enumerate(values) if value == value), key=lambda i: (-values[i], i))[:count]
    return [i in best for i in range(len(values))]


@given(VALUES, st.integers(0, 45))
def test_they_are_those_that_sorting_finds(values: list[float], count: int) -> None:
    assert highest(values, count).tolist() == sorted_out(values, count)


def test_values_that_are_in_order_already_are_found_as_quickly() -> None:
    rows = np.arange(100_000.0)
    assert np.flatnonzero(highest(rows, 3)).tolist() == [99_997, 99_998, 99_999]
    assert np.flatnonzero(highest(-rows, 3)).tolist() == [0, 1, 2]


def test_what_is_given_stays_as_it_is_and_is_compiled_once() -> None:
    given_row = np.array([1.0, nan, 3.0])
    fixed = given_row.copy()
    fixed.flags.writeable = False
    for row in (given_row, fixed, given_row[::-1], [1, 2, 3]):
        assert highest(row, 1).sum() == 1
    assert given_row.tolist()[2] == 3.0
    compiled: Any = ranks.highest
    assert len(getattr(compiled, "signatures", [1])) == 1


@pytest.mark.parametrize(
    ("values", "count", "words"),
    [([[1.0, 2.0]], 1, "values must be one number an instrument, were (1, 2)"), ([1.0], -1, "count must be at least 0, was -1")],
)
def test_what_cannot_be_ranked_is_refused(values: Any, count: int, words: str) -> None:
    with pytest.raises(ViewError, match=re.escape(words)):
        highest(values, count)
