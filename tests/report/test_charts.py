"""The figures of the report: what is drawn, from which points, and that thinning loses nothing that matters."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from small_markets import HOUR, Script, daily, flat, hourly, markets, plain, run

from simulator import Proposal, Result, Tape, View, simulate
from simulator.report import charts
from simulator.report.benchmark import benchmark

PRICES = (10.0, 20.0, 15.0, 30.0)
RISING = daily(*[flat(price) for price in PRICES])
MILLISECONDS_A_DAY = 86_400_000


def figures(result: Result) -> dict[str, Any]:
    return charts.figures(result, benchmark(result))


def bought(tape: Tape = RISING) -> Result:
    """50 units at the second bar, with 1,000."""
    return run(tape, {0: lambda view: [view.order(50)]}, cash=1_000.0)


def plotting(plot: Callable[[View], object]) -> Result:
    """Six bars at each of which something is plotted, and nothing traded."""

    def step(view: View) -> Proposal:
        plot(view)
        return ()

    return simulate(daily(*[flat(10.0)] * 6), Script(dict.fromkeys(range(6), step)), broker=plain())


# --- Equity, drawdown, exposure


def test_equity_is_drawn_from_the_starting_capital_on_beside_the_benchmark() -> None:
    its, ours = figures(bought())["charts"]["equity"]["data"]
    assert ours["y"] == [1_000.0, 1_000.0, 1_000.0, 750.0, 1_500.0]
    assert its["y"] == [1_000.0, 1_000.0, 2_000.0, 1_500.0, 3_000.0]
    assert (ours["name"], its["name"]) == ("strategy", "X held")
    assert ours["x"] == its["x"]


def test_both_fall_below_their_own_highest_equity() -> None:
    ours, its = figures(bought())["charts"]["drawdown"]["data"]
    assert ours["y"] == [0.0, 0.0, 0.0, -0.25, 0.0]
    assert its["y"] == [0.0, 0.0, 0.0, -0.25, 0.0]


def test_where_nothing_fell_there_is_a_scale_all_the_same() -> None:
    chart = figures(run(daily(*[flat(10.0)] * 3), {}))["charts"]["drawdown"]
    assert chart["layout"]["yaxis"]["range"] == [-0.01, 0]
    assert chart["fixed"]
    assert not figures(bought())["charts"]["drawdown"]["fixed"]


def test_exposure_of_longs_alone_is_one_line_and_with_shorts_two() -> None:
    assert [line["name"] for line in figures(bought())["charts"]["exposure"]["data"]] == ["net and gross"]
    short = figures(run(RISING, {0: lambda view: [view.order(-50)]}, cash=10_000.0))["charts"]["exposure"]["data"]
    assert [line["name"] for line in short] == ["gross", "net"]
    assert short[0]["y"] == [-value for value in short[1]["y"]]


def test_a_daily_bar_is_drawn_on_the_date_of_its_session() -> None:
    """A bar that covers a UTC day closes at the next midnight."""
    assert figures(bought())["charts"]["equity"]["data"][0]["x"] == [(k - 1) * MILLISECONDS_A_DAY for k in range(5)]


def test_a_shorter_bar_is_drawn_at_its_close() -> None:
    made = figures(run(hourly(*[flat(10.0)] * 30), {}))
    assert made["charts"]["equity"]["data"][0]["x"] == [k * HOUR // 1_000_000 for k in range(31)]
    assert made["when"].endswith("%H:%M")


def test_nothing_is_drawn_of_a_run_of_no_bars() -> None:
    whole = bought()
    assert figures(Result(whole.tape, whole.journal, whole.cash_start, 0)) == {}


# --- Log scales


def test_a_log_scale_is_there_at_first_where_the_range_demands_it() -> None:
    assert not figures(run(daily(flat(10.0), flat(40.0)), {}))["charts"]["equity"]["log_first"]
    assert figures(run(daily(flat(10.0), flat(60.0)), {}))["charts"]["equity"]["log_first"]
    assert figures(run(daily(flat(10.0), flat(60.0)), {}))["instruments"][0]["price"]["log_first"]


def test_equity_that_was_lost_has_no_logarithm() -> None:
    lost = run(daily(flat(10.0), flat(10.0), flat(1.0)), {0: lambda view: [view.order(200)]}, cash=1_000.0)
    assert lost.equity[-1] < 0.0
    assert "log" not in figures(lost)["charts"]["equity"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1.0, 1000.0, [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]),
        (0.9, 45.0, [1.0, 2.0, 5.0, 10.0, 20.0]),
        (900_000.0, 2_300_000.0, [1e6, 1.2e6, 1.4e6, 1.6e6, 1.8e6, 2e6, 2.2e6]),
        (99.0, 103.0, [99.0, 100.0, 101.0, 102.0, 103.0]),
        (1.0, 1e40, [1.0, 1e6, 1e12, 1e18, 1e24, 1e30, 1e36]),
    ],
)
def test_the_ticks_of_a_log_scale_are_round_and_few(low: float, high: float, ticks: list[float]) -> None:
    assert charts.log_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("low", [1e-9, 0.37, 99.99, 1e6, 7e14])
@pytest.mark.parametrize("times", [1.0, 1.0001, 1.3, 2.0, 5.0, 47.0, 1e4, 1e60])
def test_any_log_scale_has_ticks_inside_and_not_many(low: float, times: float) -> None:
    ticks = charts.log_ticks(low, low * times)
    assert len(ticks) <= 10
    assert all(low * (1 - 1e-9) <= tick <= low * times * (1 + 1e-9) for tick in ticks)
    assert times < 1.3 or len(ticks) >= 2


# --- Prices and fills


def test_buys_and_sells_are_marked_at_their_prices() -> None:
    result = run(RISING, {0: lambda view: [view.order(50)], 1: lambda view: [view.order(-20)]}, cash=1_000.0)
    (one,) = figures(result)["instruments"]
    line, buys, sells = one["price"]["data"]
    assert line["y"] == list(PRICES)
    assert (buys["y"], buys["text"]) == ([20.0], ["bought 50 at 20"])
    assert (sells["y"], sells["text"]) == ([15.0], ["sold 20 at 15"])
    assert one["note"] == "▲ 1 buy, ▼ 1 sell."


def test_a_missing_bar_leaves_no_point() -> None:
    result = run(markets(A=[flat(10.0), None, flat(12.0)], B=[flat(1.0)] * 3), {})
    assert figures(result)["instruments"][0]["price"]["data"][0]["y"] == [10.0, 12.0]


def test_an_instrument_without_bars_is_an_empty_chart() -> None:
    result = run(markets(A=[None, None], B=[flat(1.0)] * 2), {})
    assert figures(result)["instruments"][0]["price"]["data"][0]["y"] == []


# --- Regimes


def two_states(view: View) -> None:
    """Bear, bear, bull, bull, bear, ..."""
    chance = 0.9 if view.row // 2 % 2 == 0 else 0.2
    view.plot("regime", "bear", chance)
    view.plot("regime", "bull", 1.0 - chance)


def test_regimes_are_a_stack_of_probabilities_under_a_strip_of_the_most_probable() -> None:
    result = plotting(two_states)
    ribbon = figures(result)["instruments"][0]["regime"]
    bear, bull, strip = ribbon["data"]
    assert bear["y"] == [0.9, 0.9, 0.2, 0.2, 0.9, 0.9]
    assert bull["y"] == pytest.approx([0.1, 0.1, 0.8, 0.8, 0.1, 0.1])
    assert bear["stackgroup"] == bull["stackgroup"]
    assert strip["z"] == [[0, 1, 0]]
    assert strip["x"] == [k * MILLISECONDS_A_DAY for k in (0, 2, 4, 6)]
    assert charts.plotted(result) == []


def test_states_have_the_colours_from_bear_to_bull_in_the_order_in_which_they_were_plotted() -> None:
    def states(view: View) -> None:
        for name in ("low", "middle", "high"):
            view.plot("regime", name, 1.0 / 3.0)

    ribbon = figures(plotting(states))["instruments"][0]["regime"]
    assert ribbon["key"] == [["low", "@state-0"], ["middle", "@state-4"], ["high", "@state-8"]]


def test_regimes_begin_where_they_were_first_known() -> None:
    ribbon = figures(plotting(lambda view: two_states(view) if view.row >= 3 else None))["instruments"][0]["regime"]
    assert ribbon["data"][0]["x"] == [k * MILLISECONDS_A_DAY for k in (3, 4, 5)]


def test_each_of_several_instruments_has_its_own_regimes() -> None:
    def step(view: View) -> Proposal:
        for name, chance in (("bear", 0.3), ("bull", 0.7)):
            view.plot("regime Y", name, chance)
        return [view.order(1, symbol) for symbol in view.symbols]

    result = simulate(markets(X=[flat(10.0)] * 4, Y=[flat(20.0)] * 4), Script(dict.fromkeys(range(4), step)), broker=plain())
    drawn = {one["symbol"]: one["regime"] for one in figures(result)["instruments"]}
    assert drawn["X"] is None
    assert [line["name"] for line in drawn["Y"]["data"][:2]] == ["bear", "bull"]
    assert charts.plotted(result) == []


@pytest.mark.parametrize(
    "values", [(0.5, 0.6), (-0.1, 1.1), (nan, 1.0), (1.0,), tuple([0.1] * 10)], ids=["above one", "below zero", "unknown", "one state", "ten states"]
)
def test_what_is_no_probability_of_states_is_drawn_as_lines(values: tuple[float, ...]) -> None:
    def states(view: View) -> None:
        for k, value in enumerate(values):
            view.plot("regime", f"state {k}", value)

    result = plotting(states)
    assert figures(result)["instruments"][0]["regime"] is None
    assert charts.plotted(result) == ["regime"]


# --- What else was plotted


def test_any_other_chart_is_drawn_as_lines_with_gaps_where_there_is_no_number() -> None:
    def lines(view: View) -> None:
        view.plot("spread", "z", (1.0, nan, inf)[view.row % 3])
        if view.row >= 4:
            view.plot("spread", "late", -1.0)

    result = plotting(lines)
    chart = figures(result)["charts"]["plot-0"]
    assert [line["y"] for line in chart["data"]] == [[1.0, None, None, 1.0, None, None], [-1.0, -1.0]]
    assert [name for name, _ in chart["key"]] == ["z", "late"]
    assert len({colour for _, colour in chart["key"]}) == 2


def test_of_very_many_charts_the_first_are_drawn() -> None:
    def many(view: View) -> None:
        for k in range(30):
            view.plot(f"chart {k}", "x", 1.0)

    result = plotting(many)
    assert sum(name.startswith("plot-") for name in figures(result)["charts"]) == charts.PLOTS_MAX
    assert len(charts.plotted(result)) == 30


def test_names_are_escaped() -> None:
    result = plotting(lambda view: view.plot("a", "<b>", 1.0))
    assert figures(result)["charts"]["plot-0"]["key"][0][0] == "&lt;b&gt;"


# --- Thinning


def test_a_short_series_is_drawn_whole() -> None:
    assert charts.thin(np.arange(5.0), 10).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [101, 1_000, 99_999, 1_000_000])
def test_thinning_keeps_the_ends_and_the_extremes(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    kept = charts.thin(values, 100)
    assert len(kept) <= 100
    assert (np.diff(kept) > 0).all()
    assert {0, count - 1, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())


def test_gaps_do_not_hide_extremes() -> None:
    values = np.random.default_rng(1).normal(size=10_000)
    values[::3] = nan
    assert {int(np.nanargmin(values)), int(np.nanargmax(values))} <= set(charts.thin(values, 100).tolist())


def test_what_is_drawn_together_is_thinned_alike() -> None:
    one, two = np.random.default_rng(2).normal(size=(2, 50_000))
    kept = charts.thin_alike((one, two), 1_000)
    assert len(kept) <= 1_000
    assert {int(column.argmin()) for column in (one, two)} | {int(column.argmax()) for column in (one, two)} <= set(kept.tolist())
