"""Wishes: ids, batches and the words for reasons."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np
import pytest

from simulator import OrderBatch, OrderIds, OrderKind, Reason, TimeInForce, Twap


def test_ids_are_one_sequence() -> None:
    ids = OrderIds()
    assert [ids.next(), ids.block(3).tolist(), ids.next(), ids.block(0).tolist(), ids.last] == [1, [2, 3, 4], 5, [], 5]


def test_a_batch_is_of_market_orders_until_cancelled_unless_its_columns_say_otherwise() -> None:
    batch = OrderBatch(np.array([1, 2]), np.array([0, 1]), np.array([5, -5]))
    assert batch.kinds.tolist() == [OrderKind.MARKET] * 2
    assert batch.tifs.tolist() == [TimeInForce.GTC] * 2
    assert np.isnan(batch.limits).all()
    assert np.isnan(batch.stops).all()
    assert batch.clears.tolist() == []


def test_a_batch_keeps_its_clears_and_all_columns_of_the_orders_that_are_chosen() -> None:
    batch = OrderBatch(
        np.array([1, 2, 3]),
        np.array([0, 1, 2]),
        np.array([5, -5, 7]),
        np.array([0, 1, 2]),
        np.array([np.nan, 9.0, np.nan]),
        np.array([np.nan, np.nan, 11.0]),
        np.array([0, 1, 2]),
        np.array([4]),
    )
    chosen = batch.chosen(np.array([False, True, True]))
    assert (len(chosen), chosen.ids.tolist(), chosen.instruments.tolist(), chosen.lots.tolist()) == (2, [2, 3], [1, 2], [-5, 7])
    assert (chosen.kinds.tolist(), chosen.tifs.tolist(), chosen.clears.tolist()) == ([1, 2], [1, 2], [4])
    assert (chosen.limits[0], chosen.stops[1]) == (9.0, 11.0)
    assert isnan(chosen.limits[1])


def test_a_batch_is_something_while_it_has_orders_or_clears() -> None:
    nothing = np.empty(0, np.int64)
    assert not OrderBatch(nothing, nothing, nothing)
    assert OrderBatch(nothing, nothing, nothing, clears=np.array([0]))
    assert OrderBatch(np.array([1]), np.array([0]), np.array([1]))


def test_every_reason_has_words_of_its_own() -> None:
    assert len({reason.words for reason in Reason}) == len(Reason)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ((0, 1.0), "slices must be 1 to 10000, was 0"),
        ((10_001, 1.0), "slices must be 1 to 10000, was 10001"),
        ((2, 0.0), "seconds must be a nanosecond to a billion seconds, was 0.0"),
        ((2, float("nan")), "seconds must be a nanosecond to a billion seconds, was nan"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(terms: tuple[Any, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Twap(*terms)


def test_columns_of_other_whole_numbers_are_taken_and_others_are_refused() -> None:
    batch = OrderBatch(np.array([1, 2], np.int32), [0, 1], np.array([5, 1, -5, 1])[::2], limits=np.array([1.0, 2.0], np.float32))  # type: ignore[arg-type]
    columns: Any = (batch.ids, batch.instruments, batch.lots)
    assert [(column.dtype, column.flags.c_contiguous, column.tolist()) for column in columns] == [
        (np.int64, True, wanted) for wanted in ([1, 2], [0, 1], [5, -5])
    ]
    assert batch.limits.dtype == np.float64
    with pytest.raises(ValueError, match="the columns of a batch must be as long as its ids, which are 2; one has 1"):
        OrderBatch(np.array([1, 2]), np.array([0]), np.array([5, -5]))
    with pytest.raises(ValueError, match="the lots of a batch must be whole numbers, were float64"):
        OrderBatch(np.array([1, 2]), np.array([0, 1]), np.array([5.5, -5.0]))  # type: ignore[arg-type]
