"""What must hold whatever splits, dividends, halts and delistings meet whatever orders: the identities of section 5, checked after every bar."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import Script, markets, plain

from simulator import (
    Account,
    Actions,
    Delisting,
    Dividend,
    OrderKind,
    Pov,
    Split,
    Suspension,
    Tape,
    TimeInForce,
    Twap,
    View,
    Wish,
    simulate,
)
from simulator.feeds.tables import attach
from simulator.loop.journal import MemoryJournal, fold
from simulator.market.actions import Action

ROWS = 8
prices = st.floats(5.0, 20.0).map(lambda x: round(x, 2))
SYMBOLS = ("X", "Y")


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    rows = {}
    for symbol in SYMBOLS:
        table = []
        for _ in range(ROWS):
            o, c = draw(prices), draw(prices)
            table.append((o, max(o, c) + 1.0, min(o, c) - 1.0, c, float(draw(st.integers(0, 400)))))
        for missing in draw(st.sets(st.integers(1, ROWS - 1), max_size=2)):
            table[missing] = None
        rows[symbol] = table
    return markets("0.01", **rows)


@st.composite
def actions(draw: st.DrawFn) -> list[Action]:
    made: list[Action] = []
    for symbol in SYMBOLS:
        for ex in draw(st.sets(st.integers(1, ROWS - 1), max_size=2)):
            up, down = draw(st.sampled_from([(2, 1), (3, 2), (1, 2), (1, 10), (7, 3)]))
            made.append(Split(symbol, ex, up, down))
        paid = draw(st.sets(st.integers(1, ROWS - 1), max_size=2))
        made += [Dividend(symbol, ex, 0.01, draw(st.sampled_from([None, ex, ex + 2, ex + 99]))) for ex in paid]
        if draw(st.booleans()):
            first = draw(st.integers(1, ROWS - 1))
            made.append(Suspension(symbol, first, first + draw(st.integers(0, 2))))
        if draw(st.integers(0, 3)) == 0:
            made.append(Delisting(symbol, draw(st.integers(1, ROWS - 1)), haircut=draw(st.sampled_from([0.0, 0.3]))))
    return made


wishes = st.tuples(
    st.integers(0, ROWS - 1),
    st.integers(0, 1),
    st.integers(-60, 60).filter(bool),
    st.sampled_from([OrderKind.MARKET, OrderKind.LIMIT, OrderKind.STOP, OrderKind.STOP_LIMIT, OrderKind.TRAILING_STOP, "bracket", "batch", "cut"]),
    prices,
    st.sampled_from([TimeInForce.GTC, TimeInForce.DAY, TimeInForce.IOC]),
)


def sent(view: View, lots: int, i: int, kind: object, price: float, tif: TimeInForce) -> list[Wish]:
    if kind == "batch":
        return [view.rebalance(np.where(np.arange(2) == i, lots / 100.0, np.nan))]
    if kind == "bracket":
        gain, loss = (price + 3.0, price - 3.0) if lots > 0 else (price - 3.0, price + 3.0)
        return [*view.bracket(lots, i, OrderKind.LIMIT, price, take_profit=gain, stop_loss=loss)]
    row = view.row
    if kind == "cut":
        cut = [Twap(4, 43_200.0), Pov(0.1, 3 * 86_400.0), Twap(3, 86_400.0, "cancel", 7)][row % 3]
        return [view.order(lots, i, OrderKind.LIMIT if row % 2 else OrderKind.MARKET, price if row % 2 else nan, schedule=cut)]
    assert isinstance(kind, OrderKind)
    return [view.order(lots, i, kind, limit=price, stop=price, tif=tif, trail=1.0)]


@given(tapes(), actions(), st.lists(wishes, max_size=8), st.sampled_from([(0.1, 0.0), (0.5, 3600.0)]))
def test_the_books_agree_after_every_bar_and_the_journal_folds_to_them(
    tape: Tape, made: list[Action], orders: list[tuple[int, int, int, object, float, TimeInForce]], terms: tuple[float, float]
) -> None:
    """Audit checks cash, positions, equity and its explanation; pending lots must go when nothing is open."""
    attach(tape, Actions(made))
    steps = {
        row: lambda view, row=row: [wish for at, i, lots, kind, price, tif in orders if at == row for wish in sent(view, lots, i, kind, price, tif)]
        for row in range(ROWS)
    }
    broker = plain(participation=terms[0], latency_seconds=terms[1])
    script = Script(steps)
    result = simulate(tape, script, broker=broker, account=Account(10_000.0, "margin", 1e9), check=True)
    assert isinstance(result.journal, MemoryJournal)
    state = fold(result.journal, tape, 10_000.0)
    assert state.cash == result.cash
    seen = [equity for _, equity, _, _ in script.seen]
    assert result.equity.tolist() == pytest.approx(seen, rel=1e-12)


@given(tapes(), actions(), st.lists(wishes, max_size=6))
def test_shorts_mirror_longs_exactly_through_whatever_happens(
    tape: Tape, made: list[Action], orders: list[tuple[int, int, int, object, float, TimeInForce]]
) -> None:
    """Market orders of the other side leave the other side's positions, and bookings of the other sign."""
    attach(tape, Actions(made))

    def outcome(sign: int) -> tuple[dict[str, float], list[tuple[int, str, float, float, float]]]:
        steps = {row: lambda view, row=row: [view.order(sign * lots, i) for at, i, lots, _, _, _ in orders if at == row] for row in range(ROWS)}
        result = simulate(tape, Script(steps), broker=plain(), account=Account(10_000.0, "margin", 1e9), check=True)
        bookings = [(row.bar, row.kind, sign * row.amount, sign * row.receivable, sign * row.quantity) for row in result.bookings]
        return {symbol: sign * held for symbol, held in result.positions.items()}, bookings

    assert outcome(1) == outcome(-1)
