"""The view: the past up to now, read-only and without copies, and wishes made of it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan, nan
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, Script, daily, flat, market_orders, markets, plain

from simulator import Actions, DataError, Indicator, Order, OrderBatch, OrderKind, PluginError, Split, Tape, View, ViewError, rolling_max, sma
from simulator.assembly import assemble, drive, simulate
from simulator.feeds.tables import attach
from simulator.loop.session import step

TAPE = markets(X=[flat(10), flat(11), None, flat(13)], Y=[None, flat(21), flat(22), flat(23)])


def at(row: int, tape: Tape = TAPE, steps: dict[int, Callable[[View], Any]] | None = None, **terms: Any) -> View:
    """The view as it is after the step of *row*."""
    session, feed = assemble(tape, Script(steps or {}), broker=plain(**terms))
    for bars in feed:
        step(session, bars)
        if bars.row == row:
            break
    return session.view


def test_the_view_tells_time_and_place() -> None:
    view = at(2)
    assert (view.now, view.row, view.session, view.symbols) == (3 * 86_400 * 10**9, 2, 2, ("X", "Y"))


def test_the_bar_has_all_fields_of_all_instruments() -> None:
    bar = at(3, markets(X=[QUIET] * 4, Y=[(1, 4, 0.5, 2, 77)] * 4)).bar
    assert [field.tolist() for field in bar] == [[10, 1], [10, 4], [10, 0.5], [10, 2], [1000, 77]]


def test_a_missing_bar_is_nan_and_its_age_tells_since_when() -> None:
    view = at(2)
    assert isnan(view.bar.close[0])
    assert view.ages.tolist() == [1, 0]
    assert at(0).ages.tolist() == [0, -1]


def test_closes_are_the_last_ones_oldest_first() -> None:
    closes = at(3).closes(3)
    assert closes.shape == (3, 2)
    assert closes[:, 1].tolist() == [21.0, 22.0, 23.0]
    assert np.isnan(closes[:, 0]).tolist() == [False, True, False]


def test_history_has_each_field_and_the_last_known_closes() -> None:
    view = at(3)
    assert view.history("marks", 2)[:, 0].tolist() == [11.0, 13.0]
    for field in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(view.history(field, 4), getattr(TAPE, field), equal_nan=True)


def test_what_the_view_shows_is_the_tape_itself_and_read_only() -> None:
    view = at(2)
    for shown, column in (
        (view.closes(2), TAPE.close),
        (view.history("volume", 3), TAPE.volume),
        (view.bar.high, TAPE.high),
        (view["open"], TAPE.open),
    ):
        assert np.shares_memory(shown, column)
        with pytest.raises(ValueError, match="read-only"):
            shown[...] = 0.0
    with pytest.raises(TypeError, match="read-only"):
        view.lots[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        view.ages[0] = 1


class Averages(Script):
    def indicators(self) -> dict[str, Indicator]:
        return {"mean": sma(2), "top": rolling_max(2)}


def test_an_indicator_is_read_by_its_name_for_all_or_for_one() -> None:
    session, feed = assemble(TAPE, Averages({}), broker=plain())
    drive(session, feed, len(TAPE))
    view = session.view
    assert view["mean"].tolist() == [12.0, 22.5]
    assert [view.value("mean", 1), view.value("top"), view.value("close", "Y"), view.value("volume")] == [22.5, 13.0, 23.0, 1000.0]
    with pytest.raises(ValueError, match="read-only"):
        view["mean"][0] = 1.0


def test_an_indicator_may_not_take_the_name_of_a_field() -> None:
    class Confusing(Script):
        def indicators(self) -> dict[str, Indicator]:
            return {"close": sma(2)}

    with pytest.raises(PluginError, match="an indicator cannot be called 'close': that is a field of the bars"):
        simulate(TAPE, Confusing({}))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda view: view["clsoe"], "the view has no 'clsoe'; did you mean 'close'?"),
        (lambda view: view.value("hihg"), "the view has no 'hihg'; did you mean 'high'?"),
        (lambda view: view.value("close", 2), "no instrument number 2: there are 2, from 0"),
        (lambda view: view.value("close", -1), "no instrument number -1: there are 2, from 0"),
        (lambda view: view.value("close", "Z"), "no instrument 'Z'; there is: X, Y"),
        (lambda view: view.history("opne", 1), "the tape has no field 'opne'; did you mean 'open'?"),
        (lambda view: view.closes(4), "asked for the last 4 bars of 'close', when 3 have closed"),
        (lambda view: view.closes(0), "asked for the last 0 bars of 'close', when 3 have closed"),
        (lambda view: view.order(1, "Z"), "no instrument 'Z'; there is: X, Y"),
        (lambda view: view.order(1, 2), "no instrument number 2: there are 2, from 0"),
        (lambda view: view.order(1, [0]), "no instrument number [0]: there are 2, from 0"),
        (lambda view: view.holding(-1), "no instrument number -1: there are 2, from 0"),
        (lambda view: view.rebalance(np.array([0.5])), "weights must be one number an instrument, (2,), were (1,)"),
        (lambda view: view.rebalance(np.ones((2, 2))), "weights must be one number an instrument, (2,), were (2, 2)"),
        (lambda view: view.rebalance(np.array([0.5, inf])), "a weight of inf for Y is no number of lots at an equity of 1000000.0"),
        (lambda view: view.rebalance(np.array([-1e30, 0.1])), "a weight of -1e+30 for X is no number of lots at an equity of 1000000.0"),
        (lambda view: view.plot("", "z", 1.0), "plot: chart must be a name, was ''"),
        (lambda view: view.plot("spread", " ", 1.0), "plot: series must be a name, was ' '"),
        (lambda view: view.plot("spread", 3, 1.0), "plot: series must be a name, was 3"),
        (lambda view: view.plot("spread", "z", "1.0"), "plot: the value of 'z' in 'spread' must be a number, was '1.0'"),
        (lambda view: view.plot("spread", "z", None), "plot: the value of 'z' in 'spread' must be a number, was None"),
        (lambda view: view.plot("spread", "z", True), "plot: the value of 'z' in 'spread' must be a number, was True"),
    ],
)
def test_what_cannot_be_seen_or_meant_is_said(ask: Callable[[View], Any], words: str) -> None:
    with pytest.raises(ViewError) as refused:
        ask(at(2))
    assert str(refused.value) == words


# --- orders --------------------------------------------------------------------------------------------------------------------------------


def test_an_order_is_for_whole_lots_rounded_toward_zero() -> None:
    view = at(0, daily(QUIET, lot="10"))
    assert [view.order(quantity).lots for quantity in (99, -99.9, 30, 5.0)] == [9, -9, 3, 0]
    assert [at(0).order(quantity).lots for quantity in (99, -99.9, np.float64(7))] == [99, -99, 7]


def test_an_order_may_name_its_instrument_by_symbol_or_number() -> None:
    view = at(1)
    assert [view.order(1, "Y").instrument, view.order(1, 1).instrument, view.order(1).instrument] == [1, 1, 0]


def test_orders_have_ids_in_the_order_of_wishing() -> None:
    view = at(1)
    assert [view.order(1).id, view.replace(7, 1).id, view.order(1).id] == [1, 2, 3]


def test_a_quantity_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="a quantity must be a number of less than 9e18 lots, was nan"):
        at(0).order(nan)


def test_a_replacement_is_in_the_lots_of_its_orders_instrument() -> None:
    tape = markets(lot="10", X=[QUIET] * 2, Y=[QUIET] * 2)
    view = at(0, tape, {0: lambda view: [view.order(100, "Y", OrderKind.LIMIT, 9.0)]})
    assert view.replace(1, 250).lots == 25


# --- the account ---------------------------------------------------------------------------------------------------------------------------


def test_the_view_shows_what_is_held() -> None:
    view = at(3, steps={1: lambda view: [view.order(-10, "Y")]})
    assert view.position.tolist() == [0.0, -10.0]
    assert view.lots.tolist() == [0, -10]
    assert (view.cash, view.equity) == (1_000_220.0, 1_000_220.0 - 230.0)
    position = view.holding("Y")
    assert (position.symbol, position.quantity, position.average, position.unrealised) == ("Y", -10.0, 22.0, -10.0)
    assert view.holding(1) == position


@pytest.mark.parametrize("timing", ["next_open", "next_close", "same_close"])
def test_what_is_held_of_the_first_is_a_number_that_follows_the_account(timing: str) -> None:
    """Through fills, what the broker fills at once, a split, and a short sale."""
    tape = attach(daily(*[QUIET] * 4, flat(5.0), flat(5.0), flat(5.0)), Actions([Split("X", 4, 2, 1)]))
    held = []

    def look(view: View) -> list[Order]:
        held.append((view.held, view.lots[0]))
        return [view.order({0: 3, 5: -8}[view.row])] if view.row in (0, 5) else []

    simulate(tape, Script(dict.fromkeys(range(7), look)), broker=plain(timing=timing))
    assert held == [(lots, lots) for lots in (0, 3, 3, 3, 6, 6, -2)]


# --- rebalance -----------------------------------------------------------------------------------------------------------------------------


def wishes(batch: OrderBatch) -> list[tuple[int, int]]:
    """(instrument, lots) of each order."""
    return list(zip(batch.instruments.tolist(), batch.lots.tolist(), strict=True))


def test_a_target_is_a_share_of_equity_in_whole_lots_toward_zero() -> None:
    """0.3 of 1,000,000 at 11 is 27,272.7 shares; -0.3 at 21 is -14,285.7."""
    assert wishes(at(1).rebalance(np.array([0.3, -0.3]))) == [(1, -14285), (0, 27272)]


def test_sells_come_first_and_in_each_side_the_instruments_in_order() -> None:
    tape = markets(A=[QUIET] * 3, B=[QUIET] * 3, C=[QUIET] * 3, D=[QUIET] * 3)
    view = at(1, tape, {0: lambda view: market_orders(view, (0, 10), (1, 10), (2, 10), (3, 10))})
    assert wishes(view.rebalance(np.array([0.1, 0.0, 0.2, 0.0]))) == [(1, -10), (3, -10), (0, 9990), (2, 19990)]


def test_nan_leaves_an_instrument_alone_and_zero_closes_it() -> None:
    held = {0: lambda view: market_orders(view, (0, 10), (1, -10))}
    tape = markets(X=[QUIET] * 3, Y=[QUIET] * 3)
    assert wishes(at(1, tape, held).rebalance(np.array([nan, 0.0]))) == [(1, 10)]
    assert wishes(at(1, tape, held).rebalance(np.array([0.0, nan]))) == [(0, -10)]


def test_what_has_no_price_yet_cannot_be_sized() -> None:
    assert wishes(at(0).rebalance(np.array([0.5, 0.5]))) == [(0, 50_000)]


def test_what_has_no_bar_now_is_sized_at_its_last_close() -> None:
    assert wishes(at(2).rebalance(np.array([0.11, nan]))) == [(0, 10_000)]


def test_a_target_clears_what_is_open_but_not_where_it_leaves_alone() -> None:
    bids = {0: lambda view: [view.order(1, i, OrderKind.LIMIT, 5.0) for i in (0, 1)]}
    view = at(1, markets(X=[QUIET] * 3, Y=[QUIET] * 3), bids)
    assert view.rebalance(np.array([0.0, nan])).clears.tolist() == [0]
    assert view.rebalance(np.array([nan, nan])).clears.tolist() == []


def test_a_target_that_is_met_already_is_no_order() -> None:
    view = at(2, daily(QUIET, QUIET, QUIET), {0: lambda view: view.rebalance(np.array([0.5]))})
    assert len(view.rebalance(np.array([0.5]))) == 0


def test_weights_may_be_integers_or_a_strided_column() -> None:
    view = at(1)
    assert wishes(view.rebalance(np.array([1, 0]))) == [(0, 90_909)]
    assert wishes(view.rebalance(np.array([[0.0, 9.0], [1.0, 9.0]])[:, 0])) == [(1, 47_619)]


def test_two_batches_of_one_step_do_not_share_their_columns() -> None:
    view = at(1)
    first = view.rebalance(np.array([0.1, 0.1]))
    before = wishes(first)
    view.rebalance(np.array([-0.1, -0.1]))
    assert wishes(first) == before


# --- plots ---------------------------------------------------------------------------------------------------------------------------------


def test_a_plot_is_kept_at_its_bar() -> None:
    def step(view: View) -> tuple[()]:
        view.plot("spread", "z", view.row + 0.5)
        return ()

    view = at(2, steps={0: step, 2: step})
    assert view.plots == {"spread": {"z": ([0, 2], [0.5, 2.5])}}


def test_of_several_plots_at_one_bar_the_last_is_kept() -> None:
    view = at(0)
    values: list[Any] = [1, np.float32(2.0), np.int64(3)]
    for value in values:
        view.plot("spread", "z", value)
    assert view.plots["spread"]["z"] == ([0], [3.0])
    assert type(view.plots["spread"]["z"][1][0]) is float


def test_a_gap_may_be_plotted() -> None:
    view = at(1)
    view.plot("spread", "z", nan)
    assert isnan(view.plots["spread"]["z"][1][0])
