"""Halts: when trading stops, what is then done with what is open, and when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, Row, daily, fills, flat, hourly, market_orders, markets, plain, run, states

from simulator import Limits, Order, OrderKind, Result, Twap, View

LIMIT = OrderKind.LIMIT


def halts(result: Result) -> list[tuple[int, str, float, float]]:
    """When and why trading stopped: (bar, measure, equity, floor)."""
    ats = result.tape.closed_at.tolist()
    return [(ats.index(halt.at), halt.measure, halt.equity, halt.floor) for halt in result.halts]


def hold(*rows: Row, limits: Limits, later: dict[int, Callable[[View], Any]] | None = None) -> Result:
    """100 shares from 10 on, out of 1,000 in cash: equity is 100 times the price."""
    steps: dict[int, Callable[[View], Any]] = {0: lambda view: [view.order(100)], **(later or {})}
    return run(daily(QUIET, QUIET, *rows), steps, cash=1000.0, limits=limits)


def test_a_drawdown_beyond_its_limit_halts_and_one_at_it_does_not() -> None:
    """From the peak of 1,200 a fifth is 240."""
    limits = Limits(drawdown_max=0.2, on_halt="freeze")
    assert halts(hold(flat(12), flat(9.6), limits=limits)) == []
    assert halts(hold(flat(12), flat(9.59), limits=limits)) == [(3, "drawdown", 959.0, 960.0)]


def test_the_peak_includes_the_starting_capital() -> None:
    assert halts(hold(flat(8.9), limits=Limits(drawdown_max=0.1))) == [(2, "drawdown", 890.0, 900.0)]


def test_a_halt_is_final() -> None:
    """Prices recover; orders are refused all the same, and there is no second halt."""
    result = hold(flat(8), flat(20), flat(5), limits=Limits(drawdown_max=0.1, on_halt="freeze"), later={3: lambda view: [view.order(1)]})
    assert [halt[0] for halt in halts(result)] == [2]
    assert states(result)[2] == "rejected: trading halted"


def test_what_is_proposed_in_the_step_of_the_halt_is_refused_unless_it_is_an_exit() -> None:
    for send in (lambda view: [view.order(1), view.order(-100)], lambda view: market_orders(view, (0, 1), (0, -100))):
        result = hold(flat(8), flat(8), limits=Limits(drawdown_max=0.1, on_halt="freeze"), later={2: send})
        assert states(result) == {1: "filled: filled", 2: "rejected: trading halted", 3: "filled: filled"}


def test_a_freeze_leaves_orders_and_positions() -> None:
    result = hold(
        flat(8), flat(9), limits=Limits(drawdown_max=0.1, on_halt="freeze"), later={1: lambda view: [view.order(-50, kind=LIMIT, limit=9.0)]}
    )
    assert fills(result)[1:] == [(2, 3, -50, 9.0)]
    assert result.positions == {"X": 50}


def test_a_halt_cancels_what_is_open_and_leaves_positions() -> None:
    result = hold(flat(8), flat(9), limits=Limits(drawdown_max=0.1), later={1: lambda view: [view.order(-50, kind=LIMIT, limit=9.0)]})
    assert states(result)[2] == "cancelled: cancelled on request"
    assert result.positions == {"X": 100}


def test_a_halt_flattens_at_the_next_open() -> None:
    result = hold(
        flat(8), flat(7), limits=Limits(drawdown_max=0.1, on_halt="flatten"), later={1: lambda view: [view.order(-50, kind=LIMIT, limit=9.0)]}
    )
    assert states(result) == {1: "filled: filled", 2: "cancelled: cancelled on request", 3: "filled: filled"}
    assert fills(result)[1:] == [(3, 3, -100, 7.0)]
    assert result.positions == {}


def test_a_halt_flattens_longs_and_shorts_of_every_instrument() -> None:
    tape = markets(X=[QUIET, QUIET, flat(6), flat(6)], Y=[flat(20)] * 4, Z=[QUIET] * 4)
    steps = {0: lambda view: [view.order(50, 0), view.order(-10, 1)]}
    result = run(tape, steps, cash=1000.0, limits=Limits(drawdown_max=0.1, on_halt="flatten"))
    assert fills(result)[2:] == [(3, 3, -50, 6.0), (4, 3, 10, 20.0)]
    assert result.positions == {}


def test_an_exit_beside_the_halts_own_does_not_open_a_short() -> None:
    """The halt sells all 100; the strategy's own exit finds nothing left to close."""
    result = hold(flat(8), flat(7), limits=Limits(drawdown_max=0.1, on_halt="flatten"), later={2: lambda view: [view.order(-100)]})
    assert states(result) == {1: "filled: filled", 2: "rejected: trading halted", 3: "filled: filled"}
    assert result.positions == {}


@pytest.mark.parametrize("proposal", [None, (), np.array([0.5])])
def test_a_halt_acts_whatever_the_strategy_proposes(proposal: Any) -> None:
    def propose(view: View) -> Any:
        return view.rebalance(proposal) if isinstance(proposal, np.ndarray) else proposal

    result = hold(flat(8), flat(7), limits=Limits(drawdown_max=0.1, on_halt="flatten"), later={2: propose})
    assert result.positions == {}


def test_a_replacement_of_what_the_halt_cancels_comes_too_late() -> None:
    steps: dict[int, Callable[[View], Any]] = {
        1: lambda view: [view.order(-50, kind=LIMIT, limit=9.0)],
        2: lambda view: [view.replace(2, -60, limit=7.0)],
    }
    result = hold(flat(8), flat(7), limits=Limits(drawdown_max=0.1), later=steps)
    assert states(result) == {1: "filled: filled", 2: "cancelled: cancelled on request"}


def test_a_daily_loss_counts_from_the_end_of_the_last_session() -> None:
    """Each day loses 9 %, and none 10 %."""
    result = hold(flat(9.1), flat(8.3), flat(7.6), limits=Limits(daily_loss_max=0.1))
    assert halts(result) == []
    ((bar, measure, equity, floor),) = halts(hold(flat(9.1), flat(8.1), limits=Limits(daily_loss_max=0.1)))
    assert (bar, measure, equity) == (3, "daily_loss", 810.0)
    assert floor == pytest.approx(819.0)


def test_a_daily_loss_sums_up_over_the_bars_of_its_session() -> None:
    """5 % lost before midnight and 6 % after are not 10 % in one session; 6 % and 6 % within one are."""
    rows: list[Row] = [QUIET] * 48
    rows[23:] = [flat(9.5)] * 25
    rows[30:] = [flat(8.94)] * 18
    limits = Limits(daily_loss_max=0.1)
    assert halts(run(hourly(*rows), {0: lambda view: [view.order(100)]}, cash=1000.0, limits=limits)) == []
    rows[40:] = [flat(8.5)] * 8
    assert [halt[0] for halt in halts(run(hourly(*rows), {0: lambda view: [view.order(100)]}, cash=1000.0, limits=limits))] == [40]


def test_the_first_sessions_loss_counts_from_the_starting_capital() -> None:
    rows: list[Row] = [QUIET, QUIET, flat(8.9)]
    result = run(hourly(*rows), {0: lambda view: [view.order(100)]}, cash=1000.0, limits=Limits(daily_loss_max=0.1))
    assert halts(result) == [(2, "daily_loss", 890.0, 900.0)]


def test_the_drawdown_is_named_where_both_limits_are_broken() -> None:
    assert [halt[1] for halt in halts(hold(flat(5), limits=Limits(drawdown_max=0.1, daily_loss_max=0.1)))] == ["drawdown"]


def test_a_halt_ends_after_so_many_sessions() -> None:
    """Halted at bar 2; sessions 3 and 4 pass, and with the second of them it is over."""

    def one(view: View) -> list[Order]:
        return [view.order(1)]

    limits = Limits(drawdown_max=0.1, on_halt="freeze", resume_after=2)
    result = hold(flat(8), flat(8), flat(8), flat(8), limits=limits, later={2: one, 3: one, 4: one})
    assert halts(result) == [(2, "drawdown", 800.0, 900.0), (4, "resumed", 800.0, 0.0)]
    assert [str(order.state) for order in result.orders] == ["filled", "rejected", "rejected", "filled"]


def test_after_a_halt_the_next_drawdown_counts_from_where_it_ended() -> None:
    """Resumed at 800: 730 is within a tenth of it, and 710 is not."""
    limits = Limits(drawdown_max=0.1, on_halt="freeze", resume_after=1)
    result = hold(flat(8), flat(8), flat(7.3), flat(7.1), flat(7.1), limits=limits)
    assert [halt[:2] for halt in halts(result)] == [(2, "drawdown"), (3, "resumed"), (5, "drawdown"), (6, "resumed")]


def test_a_halt_on_hourly_bars_ends_with_a_session_and_not_with_a_bar() -> None:
    rows: list[Row] = [QUIET, QUIET, *[flat(8)] * 30]
    limits = Limits(daily_loss_max=0.1, on_halt="freeze", resume_after=1)
    result = run(hourly(*rows), {0: lambda view: [view.order(100)]}, cash=1000.0, limits=limits)
    assert [halt[:2] for halt in halts(result)] == [(2, "daily_loss"), (24, "resumed")]


def test_a_halt_cancels_parents_with_their_slices() -> None:
    broker = plain(slicing=Twap(4, 86_400.0))
    tape = daily(QUIET, QUIET, flat(5), flat(5), flat(5))
    result = run(tape, {0: lambda view: [view.order(400)]}, broker, cash=1000.0, limits=Limits(drawdown_max=0.1))
    assert states(result)[1] == "cancelled: cancelled on request"
    assert result.positions == {"X": 200}
