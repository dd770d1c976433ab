"""Limits on the whole book, order by order: groups, beta, liquidity; and the ladder on which a drawdown cuts positions before it halts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_markets import QUIET, Row, daily, fills, flat, hourly, market_orders, markets, run, states

from simulator import Limits, Order, Result, ScenarioError, View
from simulator.risk.screen import betas

TECH = {"tech": ("A", "B")}


def three(*rows: Row) -> Any:
    """A and B belong together, C does not; all cost 10."""
    table = list(rows) or [QUIET] * 4
    return markets(A=table, B=table, C=table)


def send(*wishes: tuple[int, float], batch: bool = False) -> Callable[[View], Any]:
    """Market orders for (instrument, quantity), one by one or as one batch."""
    return lambda view: market_orders(view, *wishes) if batch else [view.order(quantity, i) for i, quantity in wishes]


def ends(limits: Limits, *wishes: tuple[int, float], batch: bool = False, tape: Any = None) -> list[str]:
    """How orders stand in the end, sent at the first bar out of 10,000 in cash."""
    result = run(three() if tape is None else tape, {0: send(*wishes, batch=batch)}, cash=10_000.0, limits=limits)
    return [state.removeprefix("rejected: ") for state in states(result).values()]


@pytest.mark.parametrize("batch", [False, True], ids=["orders", "batch"])
def test_a_group_may_hold_so_much_long_and_short_together(batch: bool) -> None:
    """Half of 10,000 is 500 units: 300 and -200 fit, one more does not, and the other instrument is none of theirs."""
    limits = Limits(groups=TECH, group_max=0.5)
    assert ends(limits, (0, 300), (1, -200), (1, -1), (2, 900), batch=batch) == [
        "filled: filled",
        "filled: filled",
        "group exposure limit",
        "filled: filled",
    ]


@pytest.mark.parametrize("batch", [False, True], ids=["orders", "batch"])
def test_a_refused_order_takes_no_room_in_its_group(batch: bool) -> None:
    assert ends(Limits(groups=TECH, group_max=0.5), (0, 600), (1, 500), batch=batch) == ["group exposure limit", "filled: filled"]


def test_an_exit_passes_however_full_its_group_is() -> None:
    tape = three(QUIET, QUIET, flat(30), flat(30))
    steps = {0: send((0, 400)), 2: send((0, -100), (0, 1))}
    result = run(tape, steps, cash=10_000.0, limits=Limits(groups=TECH, group_max=0.4))
    assert list(states(result).values()) == ["filled: filled", "filled: filled", "rejected: group exposure limit"]


def test_an_exchange_inside_a_group_may_not_pass_zero_with_more_than_there_is_room_for() -> None:
    """From 400 long to 600 short is not an exit."""
    result = run(three(), {0: send((0, 400)), 2: send((0, -1000))}, cash=10_000.0, limits=Limits(groups=TECH, group_max=0.5))
    assert list(states(result).values()) == ["filled: filled", "rejected: group exposure limit"]


def moving(count: int = 60) -> Any:
    """M moves at random, twice as much does D, and against it S."""
    steps = np.random.default_rng(1).normal(size=count) * 0.01
    rows = {name: [flat(float(p), 1e6) for p in 100 * np.cumprod(1 + beta * steps)] for name, beta in (("M", 1.0), ("D", 2.0), ("S", -1.0))}
    return markets(**rows)


def test_betas_are_least_squares_slopes() -> None:
    tape = moving()
    assert betas(tape.marks, 0) == pytest.approx([1.0, 2.0, -1.0])
    moves = np.random.default_rng(2).normal(size=(50, 2))
    marks = np.vstack([[1.0, 1.0], np.cumprod(1 + moves * 0.01, axis=0)])
    returns = marks[1:] / marks[:-1] - 1
    assert betas(marks, 0)[1] == pytest.approx(np.polyfit(returns[:, 0], returns[:, 1], 1)[0])


def test_an_instrument_of_which_little_is_known_has_the_markets_beta() -> None:
    assert betas(moving(20).marks, 0).tolist() == [1.0, 1.0, 1.0]


def test_the_books_beta_is_limited_and_a_hedge_brings_it_back() -> None:
    """Nearly 40 % of equity in what moves twice as much is a beta of nearly 0.8."""
    tape = moving()
    shares = {i: 3_900.0 / float(tape.close[50, i]) for i in range(3)}
    limits = Limits(beta_max=0.8, beta_to="M")
    steps: dict[int, Callable[[View], Any]] = {
        50: lambda view: [view.order(shares[1], 1), view.order(shares[0], 0), view.order(shares[2], 2), view.order(shares[0], 0)]
    }
    result = run(tape, steps, cash=10_000.0, limits=limits)
    assert list(states(result).values()) == ["filled: filled", "rejected: beta limit", "filled: filled", "filled: filled"]


def test_a_position_may_be_as_large_as_can_be_left_in_time() -> None:
    """A tenth of 1,000 a day is 100, in two days 200."""
    limits = Limits(exit_days_max=2.0)
    assert ends(limits, (0, 200), (0, 1), (1, -201)) == ["filled: filled", "liquidity limit", "liquidity limit"]


def test_volume_counts_by_session_and_not_by_bar() -> None:
    """24 hours of 1,000 each; the first session is one bar short of being whole, and all there is is counted."""
    tape = hourly(*[QUIET] * 60)
    limits = Limits(exit_days_max=1.0, exit_window=2)
    (state,) = states(run(tape, {47: lambda view: [view.order(2_400)]}, limits=limits)).values()
    assert state == "filled: filled"
    (state,) = states(run(tape, {47: lambda view: [view.order(2_401)]}, limits=limits)).values()
    assert state == "rejected: liquidity limit"


def test_only_sessions_in_the_window_count() -> None:
    """Two days without trades halve the average of the last four."""
    rows: list[Row] = [flat(10, 9000.0)] * 3 + [QUIET] * 2 + [flat(10, 0.0)] * 2 + [QUIET] * 3
    for lots, state in ((50, "filled: filled"), (51, "rejected: liquidity limit")):
        steps: dict[int, Callable[[View], Any]] = {6: lambda view, lots=lots: [view.order(lots)]}
        assert list(states(run(daily(*rows), steps, limits=Limits(exit_days_max=1.0, exit_window=4))).values()) == [state]


# --- The ladder


LADDER = ((0.1, 0.5), (0.2, 0.25))


def hold(*prices: float, limits: Limits, later: dict[int, Callable[[View], Any]] | None = None) -> Result:
    """100 shares from 10 on, out of 1,000: equity is 100 times the price while all are held."""
    steps: dict[int, Callable[[View], Any]] = {0: lambda view: [view.order(100)], **(later or {})}
    return run(daily(QUIET, QUIET, *(flat(price) for price in prices)), steps, cash=1000.0, limits=limits)


def halts(result: Result) -> list[tuple[int, str, float, float]]:
    ats = result.tape.closed_at.tolist()
    return [(ats.index(halt.at), halt.measure, halt.equity, pytest.approx(halt.floor)) for halt in result.halts]


def test_a_drawdown_at_a_rung_cuts_positions_to_what_it_allows() -> None:
    """890 of equity, of which half is 445: 50 shares of 8.9."""
    result = hold(8.9, 8.9, limits=Limits(drawdown_ladder=LADDER))
    assert halts(result) == [(2, "reduced", 890.0, 900.0)]
    assert fills(result)[1:] == [(2, 3, -50, 8.9)]


def test_a_deep_fall_takes_several_rungs_at_once() -> None:
    result = hold(7.9, 7.9, limits=Limits(drawdown_ladder=LADDER))
    assert halts(result) == [(2, "reduced", 790.0, 800.0)]
    assert result.positions == {"X": 25}


def test_on_a_rung_no_more_than_it_allows_may_be_bought() -> None:
    """Half of 890 is 50 shares; the other rung is not reached."""
    steps: dict[int, Callable[[View], Any]] = {4: lambda view: [view.order(1), view.order(-10), view.order(10)]}
    result = hold(8.9, 8.9, 8.9, 8.9, limits=Limits(drawdown_ladder=LADDER), later=steps)
    assert list(states(result).values())[2:] == ["rejected: gross exposure limit", "filled: filled", "filled: filled"]


def test_a_new_peak_lifts_the_ladder() -> None:
    """50 shares and 445 in cash are above 1,000 at 11.2, and the next fall begins from there."""
    steps: dict[int, Callable[[View], Any]] = {5: lambda view: [view.order(40)]}
    result = hold(8.9, 8.9, 11.2, 11.2, 11.2, 9.0, 9.0, limits=Limits(drawdown_ladder=LADDER), later=steps)
    assert [halt[:2] for halt in halts(result)] == [(2, "reduced"), (4, "resumed"), (7, "reduced")]
    assert list(states(result).values())[2] == "filled: filled"


def test_at_the_foot_of_the_ladder_trading_halts() -> None:
    limits = Limits(drawdown_ladder=LADDER, drawdown_max=0.25, on_halt="flatten")
    result = hold(8.9, 7.5, 5.0, 5.0, limits=limits)
    assert [halt[1] for halt in halts(result)] == ["reduced", "reduced", "drawdown"]
    assert result.positions == {}


def test_a_rung_cuts_longs_and_shorts_in_proportion_and_cancels_what_is_open() -> None:
    tape = markets(X=[QUIET, QUIET, flat(8), flat(8)], Y=[flat(20)] * 4)
    steps: dict[int, Callable[[View], Any]] = {
        0: lambda view: [view.order(80, 0), view.order(-20, 1)],
        1: lambda view: [view.order(10, 0, kind=1, limit=5.0)],
    }
    result = run(tape, steps, cash=1000.0, limits=Limits(drawdown_ladder=((0.1, 0.52),)))
    assert result.positions == {"X": 33, "Y": -8}
    assert states(result)[3] == "cancelled: cancelled on request"


def test_without_a_fall_a_ladder_changes_nothing() -> None:
    steps: dict[int, Callable[[View], Any]] = {k: lambda view: [view.order(1), Order(view.ids.next(), 0, -1)] for k in range(2, 5)}
    plain, laddered = (hold(10.5, 11.0, 11.0, limits=limits, later=steps) for limits in (Limits(), Limits(drawdown_ladder=LADDER)))
    assert plain.equity.tolist() == laddered.equity.tolist()
    assert plain.journal.read() == laddered.journal.read()


# --- What cannot be meant


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"group_max": 0.5}, "risk.group_max needs groups"),
        ({"beta_max": 0.5}, "risk.beta_max needs beta_to"),
        ({"exit_days_max": 0.0}, "risk.exit_days_max must be above 0"),
        ({"beta_window": 5}, "risk.beta_window must be at least 20"),
        ({"drawdown_ladder": ((0.2, 0.5), (0.1, 0.2))}, "rising drawdowns"),
        ({"drawdown_ladder": ((0.2, 0.5),), "drawdown_max": 0.2}, "below drawdown_max"),
        ({"drawdown_ladder": ((0.1, 0.5), (0.2, 0.6))}, "falling gross exposures"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        Limits(**keys)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(groups={"tech": ("A", "Z")}, group_max=0.5), "risk.groups.tech: no such instrument 'Z'"),
        (Limits(beta_max=0.5, beta_to="Z"), "risk.beta_to must be an instrument of the feed, was 'Z'"),
    ],
)
def test_instruments_that_are_not_there_are_named(limits: Limits, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        run(three(), {}, limits=limits)


def test_of_a_batch_the_beta_at_its_end_counts_and_of_single_orders_that_of_each() -> None:
    """The hedge comes second; without it the first is refused in a batch too."""
    limits = Limits(beta_max=0.5, beta_to="C")
    assert ends(limits, (0, 600), (2, -600), batch=True) == ["filled: filled", "filled: filled"]
    assert ends(limits, (0, 600), (2, -600)) == ["beta limit", "beta limit"]
    assert ends(limits, (0, 600), (2, -10), batch=True) == ["beta limit", "filled: filled"]


def test_one_by_one_and_as_a_batch_all_other_limits_say_the_same() -> None:
    """Random orders in the same order, under all of them at once."""
    for seed in range(20):
        chance = np.random.default_rng(seed)
        wishes = [(int(i), int(lots)) for i, lots in zip(chance.integers(3, size=12), chance.integers(-400, 400, size=12), strict=True)]
        limits = Limits(groups=TECH, group_max=0.6, exit_days_max=3.0, gross_max=1.2, name_max=0.5, rate_max=9)
        assert ends(limits, *wishes) == ends(limits, *wishes, batch=True)
