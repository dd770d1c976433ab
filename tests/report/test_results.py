"""What a result says of a run besides its fills and orders: exposure, and what the strategy plotted."""

from __future__ import annotations

import numpy as np
from small_markets import Script, daily, flat, markets, plain, run

from simulator import Proposal, Result, View, simulate
from simulator.report.results import Result as Made

near = np.testing.assert_allclose
RISING = daily(*[flat(price) for price in (10.0, 10.0, 20.0, 20.0)])


def test_exposure_is_the_value_of_positions_at_each_close_over_equity() -> None:
    """50 of 10 bought at bar 1 are half of 1,000; at 20 they are 1,000 of 1,500."""
    result = run(RISING, {0: lambda view: [view.order(50)]}, cash=1_000.0)
    gross, net = result.exposure
    near(gross, [0.0, 0.5, 2.0 / 3.0, 2.0 / 3.0])
    near(net, gross)


def test_a_short_counts_for_gross_and_against_net() -> None:
    tape = markets(A=[flat(10.0)] * 3, B=[flat(10.0)] * 3)
    gross, net = run(tape, {0: lambda view: [view.order(60, "A"), view.order(-20, "B")]}, cash=1_000.0).exposure
    near(gross, [0.0, 0.8, 0.8])
    near(net, [0.0, 0.4, 0.4])


def test_a_position_is_valued_at_its_last_close_where_a_bar_is_missing() -> None:
    tape = markets(A=[flat(10.0), flat(10.0), None, flat(10.0)], B=[flat(5.0)] * 4)
    near(run(tape, {0: lambda view: [view.order(50, "A")]}, cash=1_000.0).exposure[0], [0.0, 0.5, 0.5, 0.5])


def test_exposure_is_undefined_where_nothing_is_left() -> None:
    """200 of 10 bought with 1,000 are worth less than the debt at 4."""
    gross, net = run(daily(flat(10.0), flat(10.0), flat(4.0)), {0: lambda view: [view.order(200)]}, cash=1_000.0).exposure
    near(gross[:2], [0.0, 2.0])
    assert np.isnan([gross[2], net[2]]).all()


def plot(view: View) -> Proposal:
    view.plot("spread", "z", 2.0 * view.row)
    return [view.order(5)]


def plotted() -> Result:
    return simulate(RISING, Script(dict.fromkeys((0, 1, 3), plot)), broker=plain())


def test_plots_are_bars_and_values_by_chart_and_series() -> None:
    rows, values = plotted().plots["spread"]["z"]
    assert (rows.dtype.name, values.dtype.name) == ("int64", "float64")
    assert rows.tolist() == [0, 1, 3]
    assert values.tolist() == [0.0, 2.0, 6.0]


def test_a_strategy_that_plots_nothing_has_no_plots() -> None:
    assert simulate(RISING, Script({}), broker=plain()).plots == {}


def test_a_bar_that_was_interrupted_is_not_plotted() -> None:
    whole = plotted()
    part = Made(whole.tape, whole.journal, whole.cash_start, 1, plots={"spread": {"z": ([0, 1], [0.0, 2.0])}, "late": {"z": ([1], [1.0])}})
    assert {chart: [rows.tolist() for rows, _ in lines.values()] for chart, lines in part.plots.items()} == {"spread": [[0]]}


def test_plots_change_nothing_in_the_journal() -> None:
    without = Script({row: lambda view: [view.order(5)] for row in (0, 1, 3)})
    assert simulate(RISING, without, broker=plain()).hash == plotted().hash
