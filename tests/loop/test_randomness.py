"""Streams of random numbers: functions of their key, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.loop.randomness import stream


def test_a_stream_is_the_same_each_time_and_on_each_machine() -> None:
    assert stream(7, "walks", "A").integers(0, 1_000_000, 3).tolist() == [580331, 501778, 341412]


@pytest.mark.parametrize("other", [(8, "walks", "A"), (7, "walk", "sA"), (7, "walks", "B"), (7, "walks", ""), (-7, "walks", "A")])
def test_another_key_is_another_stream(other: tuple[int, str, str]) -> None:
    assert stream(7, "walks", "A").integers(0, 2**62) != stream(*other).integers(0, 2**62)


def test_drawing_from_one_stream_does_not_move_another() -> None:
    first, second = stream(7, "walks", "A"), stream(7, "walks", "B")
    expected = stream(7, "walks", "B").standard_normal(4)
    first.standard_normal(1000)
    assert np.array_equal(second.standard_normal(4), expected)


def test_streams_of_one_seed_are_not_correlated() -> None:
    a, b = (stream(7, "walks", name).standard_normal(20_000) for name in "AB")
    assert abs(float(np.corrcoef(a, b)[0, 1])) < 4 / np.sqrt(20_000)
