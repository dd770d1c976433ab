"""Joining the parts: what runs, what is interrupted, and who is to blame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from small_markets import QUIET, Script, daily, flat, plain, run

import simulator
from brokers.costs import Commission
from brokers.slippage import Slippage
from simulator import (
    Account,
    Indicator,
    Instrument,
    Limits,
    OrderError,
    PluginError,
    Proposal,
    Result,
    ScenarioError,
    Tape,
    Truth,
    View,
    run_orders,
    simulate,
    sma,
)
from simulator.assembly import assemble

TAPE = daily(*[flat(10 + n) for n in range(6)])
TABLE = {"X": {"date": [f"2024-01-0{n}" for n in range(1, 7)], **{name: [10.0 + n for n in range(6)] for name in ("open", "high", "low", "close")}}}


# --- runs ----------------------------------------------------------------------------------------------------------------------------------


def test_a_run_has_all_costs_on_by_default() -> None:
    result = simulate(TAPE, Script({0: lambda view: [view.order(10)]}))
    (fill,) = result.fills
    assert fill.price == pytest.approx(11.0 * 1.0001)
    assert fill.commission == 1.0
    assert result.cash_start == 1_000_000.0


def test_an_account_goes_before_plain_cash() -> None:
    assert simulate(TAPE, Script({}), cash=5.0, account=Account(7.0)).cash == 7.0
    assert simulate(TAPE, Script({}), cash=5.0).cash == 5.0


def test_progress_is_told_and_ends_with_the_whole() -> None:
    told: list[tuple[int, int]] = []
    simulate(daily(*[QUIET] * 450), Script({}), progress=lambda done, total: told.append((done, total)))
    assert told[0] == (2, 450)
    assert told[-1] == (450, 450)
    assert len(told) <= 230


def test_an_empty_tape_runs_to_its_end() -> None:
    tape = Tape([Instrument("X")], 10)
    result = simulate(tape, Script({}))
    assert (result.rows, result.interrupted, result.fills, result.cash) == (0, False, [], 1_000_000.0)


def test_a_strategy_that_was_never_called_is_noted() -> None:
    class Slow(Script):
        def indicators(self) -> dict[str, Indicator]:
            return {"mean": sma(50)}

    assert simulate(TAPE, Slow({})).notes == ("The strategy was never called: on this data no instrument ever had all of its indicators.",)
    assert simulate(TAPE, Script({})).notes == ()


def test_a_source_of_closes_alone_is_traded_at_closes_alone() -> None:
    listed, close = Truth("A list", opens="close_only"), TAPE.close
    closes = Tape.of(TAPE.instruments, TAPE.closed_at, close, close, close, close, TAPE.volume, interval=TAPE.interval, truth=listed)
    with pytest.raises(ScenarioError, match=r"broker\.timing must be 'next_close' for A list, which has closes only; was 'next_open'"):
        assemble(closes, Script({}), broker=plain())
    assert assemble(closes, Script({}), broker=plain(timing="next_close"))


# --- interruptions -------------------------------------------------------------------------------------------------------------------------


def stop(view: View) -> Proposal:
    raise KeyboardInterrupt


def test_an_interrupted_run_keeps_what_it_has() -> None:
    """Ctrl-C at bar 3: bars 0 to 2 are there, as if the tape had ended with them."""
    steps: dict[int, Callable[[View], Any]] = {0: lambda view: [view.order(10)], 3: stop}
    result = run(TAPE, steps)
    whole = run(TAPE.cut(3), {0: steps[0]})
    assert result.interrupted
    assert (result.rows, result.equity.tolist(), result.cash) == (3, whole.equity.tolist(), whole.cash)
    assert result.fills == whole.fills


def test_an_interruption_between_bars_loses_none() -> None:
    """It comes while progress is told after bar 1, in which the order filled."""

    def progress(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    result = simulate(TAPE, Script({0: lambda view: [view.order(10)]}), cash=1000.0, broker=plain(), progress=progress)
    assert (result.interrupted, result.rows, [fill.bar for fill in result.fills]) == (True, 2, [1])
    assert result.cash == 1000.0 - 110.0


def test_an_interruption_at_the_first_bar_leaves_nothing() -> None:
    result = run(TAPE, {0: stop})
    assert (result.interrupted, result.rows, result.equity.tolist(), result.cash) == (True, 0, [], 100_000.0)


# --- blame ---------------------------------------------------------------------------------------------------------------------------------


@dataclass
class Faulty:
    """Raises at one bar."""

    error: Callable[[View], Any]
    at: int = 2
    seen: list[int] = field(default_factory=list)

    def on_bars(self, view: View) -> Proposal:
        if view.row == self.at:
            self.error(view)
        return ()


def complaint(error: Callable[[View], Any]) -> str:
    with pytest.raises(PluginError) as raised:
        simulate(TAPE, Faulty(error))
    return str(raised.value)


def test_a_strategy_that_raises_is_named_with_line_and_bar() -> None:
    """The line is that of the strategy's own file: here, of the little function."""
    words = complaint(lambda view: 1 / 0)
    line = test_a_strategy_that_raises_is_named_with_line_and_bar.__code__.co_firstlineno + 2
    at = "strategy Faulty raised at the bar that closed 1970-01-04 00:00:00 UTC"
    assert words == f"{at} (test_assembly.py, line {line}): ZeroDivisionError: division by zero"


def test_a_wrong_question_to_the_view_is_the_strategys_too() -> None:
    words = complaint(lambda view: view.closes(9))
    assert words.startswith("strategy Faulty raised at the bar that closed 1970-01-04 00:00:00 UTC (test_assembly.py, line ")
    assert words.endswith("): asked for the last 9 bars of 'close', when 3 have closed")


def test_an_error_inside_a_library_is_told_with_the_strategys_line() -> None:
    assert "(test_assembly.py, line " in complaint(lambda view: int("one"))


def test_a_bad_list_of_orders_is_no_fault_of_the_blotter() -> None:
    with pytest.raises(OrderError, match=r"^order 0: no bars for symbol 'Z'; there is: X$"):
        run_orders(TABLE, [{"symbol": "Z", "quantity": 1}], cash=1000.0)


# --- run_orders ----------------------------------------------------------------------------------------------------------------------------


def orders(*wanted: dict[str, Any], **terms: Any) -> Result:
    return run_orders(TABLE, list(wanted), cash=1000.0, **terms)


def test_costs_may_be_given_as_mappings_or_as_the_brokers_own() -> None:
    wish = {"symbol": "X", "quantity": 10}
    mappings = orders(wish, commission={"per_share": 1}, slippage={"model": "bps", "bps": 100})
    own = orders(wish, commission=Commission(1.0, minimum=0.0), slippage=Slippage("bps", bps=100.0))
    assert mappings.fills == own.fills
    assert own.fills[0].price == pytest.approx(11.11)
    assert own.fills[0].commission == 10.0


def test_costs_that_are_neither_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"run_orders\.slippage must be a mapping such as \{'bps': 10\}, was 0\.01"):
        orders(slippage=0.01)


def test_an_order_after_the_last_bar_is_refused() -> None:
    with pytest.raises(OrderError, match=r"order 0: bar must be in 0\.\.5, was 6"):
        orders({"symbol": "X", "quantity": 1, "bar": 6})


def test_fills_bear_the_ids_that_the_caller_gave_of_whatever_kind() -> None:
    result = orders({"client_id": 7, "symbol": "X", "quantity": 1}, {"client_id": "b", "symbol": "X", "quantity": 2}, {"symbol": "X", "quantity": 3})
    assert [fill.client_id for fill in result.fills] == [7, "b", "2"]


def test_orders_may_be_a_frame_or_objects() -> None:
    import pandas as pd

    frame = pd.DataFrame({"client_id": ["a"], "symbol": ["X"], "quantity": [5]})
    record = simulator.Ticket("a", "X", 5)
    assert run_orders(TABLE, frame, cash=1000.0).fills == run_orders(TABLE, [record], cash=1000.0).fills


def test_limits_and_leverage_are_off_unless_they_are_given() -> None:
    wish = {"symbol": "X", "quantity": 10_000}
    assert [str(order.state) for order in orders(wish).orders] == ["filled"]
    assert [order.reason for order in orders(wish, leverage_max=2).orders] == ["leverage limit"]
    assert [order.reason for order in orders(wish, limits=Limits(notional_max=10.0)).orders] == ["order notional limit"]
    assert [order.reason for order in orders(wish, account="cash").orders] == ["buying power"]
