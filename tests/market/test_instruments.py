"""Instruments: lots and ticks as the decimals that they are."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import DataError, Instrument

LOTS = ["1", "0.1", "0.01", "100", "0.00000001", "2.5", "1e-3"]


def test_three_lots_of_a_tenth_are_exactly_three_tenths() -> None:
    tenth = Instrument("X", lot="0.1")
    assert tenth.units(3) == 0.3
    assert 3 * 0.1 != 0.3
    assert (tenth.lots(0.3), tenth.lots(-0.3)) == (3, -3)


@given(st.sampled_from(LOTS), st.integers(-(10**6), 10**6))
def test_units_are_the_nearest_float_and_come_back_as_the_same_lots(lot: str, lots: int) -> None:
    instrument = Instrument("X", lot=lot)
    assert instrument.units(lots) == float(Fraction(lot) * lots)
    assert instrument.lots(instrument.units(lots)) == lots


def test_quantities_round_toward_zero_to_whole_lots() -> None:
    hundred = Instrument("X", lot="100")
    assert [hundred.lots(quantity) for quantity in (99.0, 199.99, -199.99, -99.0, 0.0)] == [0, 1, -1, 0, 0]


def test_a_quantity_within_a_billionth_of_a_lot_is_that_lot() -> None:
    one = Instrument("X")
    assert [one.lots(quantity) for quantity in (3 - 0.9e-9, 3 - 1.1e-9, -3 + 0.9e-9, -3 + 1.1e-9)] == [3, 2, -3, -2]


@pytest.mark.parametrize("quantity", [float("nan"), float("inf"), -float("inf"), 1e19])
def test_a_quantity_that_cannot_be_counted_is_refused(quantity: float) -> None:
    with pytest.raises(DataError, match="instrument 'X': a quantity must be a number of less than 9e18 lots, was"):
        Instrument("X").lots(quantity)


def test_a_tick_is_a_fraction_of_whole_numbers() -> None:
    quarter = Instrument("X", tick="0.25")
    assert (quarter.tick_up, quarter.tick_down, quarter.tick_size) == (1.0, 4.0, 0.25)
    assert Instrument("X", tick="0").tick_size == 0.0


def test_instruments_are_equal_by_what_they_say() -> None:
    assert Instrument("X", lot="0.1") == Instrument("X", lot="0.1")
    assert Instrument("X") != Instrument("X", currency="EUR")


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"lot": "0"}, "instrument 'X': lot must be above 0, was '0'"),
        ({"lot": "-1"}, "instrument 'X': lot must be above 0, was '-1'"),
        ({"tick": "-0.01"}, "instrument 'X': tick must be 0 (no grid) or above, was '-0.01'"),
        ({"tick": "a cent"}, "instrument 'X': tick must be a decimal string such as '0.01', was 'a cent'"),
        ({"lot": "NaN"}, "instrument 'X': lot must be a decimal string such as '0.01', was 'NaN'"),
        ({"lot": "Infinity"}, "instrument 'X': lot must be a decimal string such as '0.01', was 'Infinity'"),
        ({"lot": 0.1}, "instrument 'X': lot 0.1 has more digits than can be counted exactly"),
        ({"lot": "0.12345678901234567890"}, "instrument 'X': lot '0.12345678901234567890' has more digits than can be counted exactly"),
        ({"multiplier": 0.0}, "instrument 'X': multiplier must be a number above 0, was 0.0"),
        ({"multiplier": float("nan")}, "instrument 'X': multiplier must be a number above 0, was nan"),
        ({"symbol": ""}, "an instrument needs a symbol, and this one has none"),
    ],
)
def test_an_instrument_that_makes_no_sense_is_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as refused:
        Instrument(**{"symbol": "X"} | terms)
    assert str(refused.value) == words
