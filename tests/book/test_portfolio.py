"""Booking: what fills make of cash and positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import QUIET, flat, markets

from simulator import Bars, Ended, Fill, FillBatch, Instrument, Portfolio, Position, Tape

TWO = markets(X=[QUIET, flat(12)], Y=[flat(20), flat(15)])


def portfolio(*fills: Fill, tape: Tape = TWO, cash: float = 1000.0) -> Portfolio:
    """A portfolio at the first row, after these fills."""
    made = Portfolio(Bars(tape), cash)
    made.bars.row = 0
    made.mark(made.bars)
    made.book(fills)
    return made


def fill(lots: int, price: float, instrument: int = 0, commission: float = 0.0) -> Fill:
    return Fill(1, instrument, lots, price, 0.0, commission, True)


def held(book: Portfolio, instrument: int = 0) -> tuple[int, float, float]:
    """(lots, average, realised) of a position."""
    position = book.position(instrument)
    return position.lots, position.average, position.realised


def test_a_purchase_costs_its_price_and_its_commission() -> None:
    book = portfolio(fill(10, 9.0, commission=1.5))
    assert book.cash == 1000.0 - 90.0 - 1.5
    assert book.position(0) == Position("X", 10, 10.0, 9.0, 0.0, 10.0)


def test_adding_to_a_position_averages_its_cost() -> None:
    assert held(portfolio(fill(10, 9.0), fill(30, 13.0))) == (40, 12.0, 0.0)


def test_reducing_a_position_keeps_its_cost_and_realises_a_profit() -> None:
    assert held(portfolio(fill(10, 9.0), fill(-4, 11.0))) == (6, 9.0, 8.0)


def test_closing_a_position_leaves_exactly_nothing_of_it() -> None:
    book = portfolio(fill(10, 9.0), fill(-10, 8.0))
    assert held(book) == (0, 0.0, -10.0)
    assert (book.sizes[0], book.position(0).unrealised) == (0.0, 0.0)


def test_a_flip_closes_first_and_opens_the_rest_at_the_fills_price() -> None:
    assert held(portfolio(fill(10, 9.0), fill(-15, 11.0))) == (-5, 11.0, 20.0)
    assert held(portfolio(fill(-10, 9.0), fill(15, 11.0))) == (5, 11.0, -20.0)


def test_a_short_position_gains_when_the_price_falls() -> None:
    book = portfolio(fill(-10, 12.0))
    assert (book.cash, book.equity, book.position(0).unrealised) == (1120.0, 1020.0, 20.0)
    assert held(portfolio(fill(-10, 12.0), fill(4, 11.0))) == (-6, 12.0, 4.0)


def test_values_are_taken_at_the_row_that_was_marked_last() -> None:
    book = portfolio(fill(10, 10.0), fill(-5, 20.0, 1))
    assert (book.equity, book.worth()) == (1000.0, (1000.0, 200.0))
    book.bars.row = 1
    assert book.equity == 1000.0
    book.mark(book.bars)
    assert (book.equity, book.worth()) == (1045.0, (1045.0, 195.0))


def test_exposure_counts_what_is_on_its_way() -> None:
    book = portfolio(fill(10, 10.0), fill(-5, 20.0, 1))
    assert book.exposure(np.array([0, 0])) == (200.0, 0.0)
    assert book.exposure(np.array([-20, 5])) == (100.0, -100.0)


def test_what_has_no_price_yet_has_no_exposure() -> None:
    tape = markets(X=[None], Y=[flat(20)])
    assert portfolio(tape=tape).exposure(np.array([7, 1])) == (20.0, 20.0)
    assert portfolio(tape=markets(X=[None])).exposure(np.array([7])) == (0.0, 0.0)


def test_a_portfolio_of_one_instrument_counts_as_one_of_many() -> None:
    one = portfolio(fill(10, 9.0), tape=markets(X=[QUIET, flat(12)]))
    many = portfolio(fill(10, 9.0))
    assert (one.equity, one.worth()) == (many.equity, many.worth())
    for pending in (0, -10, 5):
        assert one.exposure(np.array([pending])) == many.exposure(np.array([pending, 0]))
    assert portfolio(tape=markets(X=[QUIET])).worth() == (1000.0, 0.0)


def test_a_position_that_was_never_marked_has_made_nothing_yet() -> None:
    book = Portfolio(Bars(TWO), 1000.0)
    book.book([fill(10, 9.0)])
    assert book.position(0).unrealised == 0.0


def test_what_else_happens_to_orders_changes_nothing() -> None:
    book = portfolio()
    book.book([Ended(1, 0, 5, 1, 20)])
    assert (book.cash, book.lots.tolist()) == (1000.0, [0, 0])


def test_a_contracts_multiplier_counts_in_money() -> None:
    tape = Tape.of([Instrument("F", multiplier=50.0)], [86_400 * 10**9], [10.0], [10.0], [10.0], [10.0], interval=86_400 * 10**9)
    book = portfolio(fill(2, 9.0), fill(-1, 11.0), tape=tape)
    assert (book.cash, book.equity, held(book)) == (1000.0 - 900.0 + 550.0, 650.0 + 500.0, (1, 9.0, 100.0))


COINS = Tape.of(
    [Instrument("C", tick="0", lot="0.1"), Instrument("D", tick="0", lot="0.00000001")],
    [1_000],
    *[[[0.3, 0.7]]] * 4,
    interval=1_000,
)
trades = st.lists(st.tuples(st.integers(0, 1), st.integers(-1000, 1000).filter(bool), st.floats(0.01, 1e5)), min_size=1, max_size=20)


@given(trades)
def test_an_awkward_round_trip_ends_at_exactly_nothing(wanted: Sequence[tuple[int, int, float]]) -> None:
    """Lots of 0.1 have no float; they are counted, not summed."""
    book = portfolio(*[fill(lots, price, i) for i, lots, price in wanted], tape=COINS)
    book.book([fill(-int(book.lots[i]), 0.1, i) for i in (0, 1) if book.lots[i]])
    assert (book.lots.tolist(), book.sizes.tolist(), book.averages.tolist()) == ([0, 0], [0.0, 0.0], [0.0, 0.0])
    assert book.equity == book.cash


@given(trades)
def test_a_batch_of_fills_is_booked_like_single_ones(wanted: Sequence[tuple[int, int, float]]) -> None:
    """To the last bit."""
    single = portfolio(*[fill(lots, price, i, 0.35) for i, lots, price in wanted], tape=COINS)
    instruments, lots, prices = zip(*wanted, strict=True)
    ones = np.ones(len(wanted))
    whole = (np.array(instruments), np.array(lots))
    batch = portfolio(tape=COINS)
    batch.book([FillBatch(np.arange(len(wanted)), *whole, np.array(prices), ones, ones * 0.35, ones.astype(np.int64))])
    assert batch.cash == single.cash
    for name in ("lots", "sizes", "averages", "realised"):
        assert getattr(batch, name).tobytes() == getattr(single, name).tobytes()


def test_three_lots_of_a_tenth_are_three_tenths() -> None:
    assert portfolio(fill(3, 1.0), tape=COINS).position(0).quantity == 0.3
    assert portfolio(fill(3, 1.0), tape=COINS).cash == pytest.approx(999.7, rel=1e-15)
