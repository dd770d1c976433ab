"""Several calendars as one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from simulator import DAY, Bars, Event, Instrument, Tape
from simulator.book.fills import Booked, Booking
from simulator.loop.agenda import Agenda, agenda


class Paid:
    """Pays once, at the row it was made for."""

    def __init__(self, row: int, amount: float) -> None:
        self.row, self.amount = row, amount

    def due(self, bars: Bars) -> bool:
        return bars.row == self.row

    def take(self, bars: Bars) -> Iterator[Event]:
        yield Booked(Booking.FEE, -1, self.amount)


@pytest.fixture
def bars() -> Bars:
    price = np.full(2, 100.0)
    cursor = Bars(Tape.of([Instrument("A")], [DAY, 2 * DAY], price, price, price, price, interval=DAY))
    cursor.row = 1
    return cursor


def test_calendars_take_their_turns_in_order_and_only_those_that_are_due(bars: Bars) -> None:
    both = Agenda([Paid(1, -1.0), Paid(0, -2.0), Paid(1, -3.0)])
    assert both.due(bars)
    assert [event.amount for event in both.take(bars) if isinstance(event, Booked)] == [-1.0, -3.0]


def test_nothing_is_due_when_no_part_is(bars: Bars) -> None:
    assert not Agenda([Paid(0, -1.0), Paid(0, -2.0)]).due(bars)


def test_no_calendars_are_none_and_one_is_itself() -> None:
    alone = Paid(0, -1.0)
    assert agenda([]) is None
    assert agenda([alone]) is alone
