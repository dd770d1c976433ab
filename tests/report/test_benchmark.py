"""The benchmark: what it buys and when, and what it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_markets import daily, flat, markets, plain, run

from simulator import Account, Limits, Result, Scenario, ScenarioError, Tape, load
from simulator.assembly import run as run_scenario
from simulator.report.benchmark import Since, benchmark, held, since_first_fill
from simulator.scenarios import Choice

near = np.testing.assert_allclose
TWO = markets(A=[flat(10.0), flat(20.0), flat(40.0)], B=[None, flat(5.0), flat(10.0)])


def idle(tape: Tape, symbol: str | None = None) -> Result:
    """A run without a trade, as if from a scenario with this benchmark."""
    result = run(tape, {}, cash=1_000.0)
    nothing = Choice("none", {})
    result.scenario = Scenario("small", "", (), 0, nothing, nothing, nothing, Account(), Limits(), Path(), "", symbol)
    return result


def test_one_instrument_takes_all_the_cash_at_its_first_close() -> None:
    found = benchmark(run(daily(flat(10.0), flat(15.0), flat(5.0)), {}, cash=1_000.0))
    near(found.equity, [1_000.0, 1_500.0, 500.0])
    assert found.name == "X held"
    assert found.words.startswith("The benchmark puts all cash in X at its first known close and holds it to the end")


def test_several_instruments_take_equal_parts_each_at_its_own_first_close() -> None:
    """500 in A at 10 become 2,000; 500 wait for B, and double from 5 to 10."""
    found = benchmark(idle(TWO))
    near(found.equity, [1_000.0, 1_500.0, 3_000.0])
    assert found.name == "all 2 instruments held"
    assert "equal cash in each of the 2 instruments" in found.words


def test_a_scenario_may_name_its_benchmark() -> None:
    """Before B's first close there is nothing but cash."""
    found = benchmark(idle(TWO, "B"))
    near(found.equity, [1_000.0, 1_000.0, 2_000.0])
    assert found.name == "B held"


def test_where_a_bar_is_missing_the_last_close_stands() -> None:
    near(benchmark(run(markets(A=[flat(10.0), None, flat(20.0)], B=[flat(1.0)] * 3), {}, cash=100.0)).equity, [100.0, 100.0, 150.0])


def test_what_never_has_a_price_stays_cash() -> None:
    near(held(np.full((3, 1), np.nan), 100.0), [100.0, 100.0, 100.0])
    near(held(np.array([[0.0], [2.0], [3.0]]), 100.0), [100.0, 100.0, 150.0])


def test_a_run_of_no_bars_has_an_empty_benchmark() -> None:
    part = Result(TWO, run(TWO, {}).journal, 1_000.0, 0)
    assert benchmark(part).equity.shape == (0,)
    assert since_first_fill(part, benchmark(part)) is None


def test_from_the_first_fill_on_both_begin_at_the_close_before_it() -> None:
    """Ordered at the close of bar 2 and filled in bar 3: from 20 to 30, the strategy with half of its cash."""
    result = run(daily(*[flat(price) for price in (10.0, 15.0, 20.0, 20.0, 30.0)]), {2: lambda view: [view.order(25)]}, cash=1_000.0)
    found = since_first_fill(result, benchmark(result))
    assert found
    near(found, Since(row=2, strategy=0.25, benchmark=0.5))


def test_where_the_first_fill_is_in_the_second_bar_there_is_nothing_to_add() -> None:
    result = run(daily(flat(10.0), flat(10.0), flat(20.0)), {0: lambda view: [view.order(5)]}, cash=1_000.0)
    assert since_first_fill(result, benchmark(result)) is None
    idle_run = run(daily(flat(10.0), flat(10.0)), {})
    assert since_first_fill(idle_run, benchmark(idle_run)) is None


def test_a_benchmark_that_is_not_fed_is_refused_before_the_run() -> None:
    with pytest.raises(ScenarioError, match=r"^benchmark must be an instrument of the feed: there is no 'W9'; there is: W1, W2"):
        run_scenario(load("walks", ["benchmark=W9"]))


def test_a_scenarios_benchmark_is_what_its_result_is_compared_with() -> None:
    result = run_scenario(load("walks", ["benchmark=W3"]))
    prices = result.tape.close[: result.rows, result.tape.index["W3"]]
    near(benchmark(result).equity, result.cash_start * prices / prices[0], rtol=1e-12)


def test_holding_the_market_for_nothing_equals_the_benchmark() -> None:
    """Bought at the first close, a strategy without costs that can pay for whole units is the benchmark."""
    tape = daily(*[flat(price) for price in (10.0, 12.0, 9.0, 14.0)])
    result = run(tape, {0: lambda view: [view.order(100)]}, plain(timing="same_close"), cash=1_000.0)
    near(result.equity, benchmark(result).equity)
