"""Wake-ups: what wakes a strategy, and that sleeping changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_markets import Case, random_cases
from small_markets import daily, flat, plain

from simulator import (
    DAY,
    SECOND,
    Account,
    AtSessionClose,
    AtTimes,
    Crossing,
    EveryBars,
    Financing,
    Indicator,
    Instrument,
    Limits,
    Margin,
    PluginError,
    Proposal,
    ScenarioError,
    Tape,
    Truth,
    View,
    simulate,
    sma,
)
from simulator.assembly import assemble, drive
from simulator.loop.journal import FORCED
from simulator.loop.session import step
from simulator.loop.wakes import Sleeping, Wake
from simulator.market.exchanges import Exchange
from simulator.market.indicators import Readings

CONDITIONS: list[tuple[Wake, ...]] = [
    (EveryBars(5),),
    (Crossing("trend"),),
    (Crossing("close", "mean"),),
    (EveryBars(7), Crossing("trend")),
    (EveryBars(1),),
]


WATCHED: list[dict[str, Any]] = [
    {},
    {"drawdown_max": 0.02},
    {"drawdown_max": 0.01, "on_halt": "flatten", "resume_after": 2},
    {"daily_loss_max": 0.005, "resume_after": 1},
    {"drawdown_max": 0.05, "drawdown_ladder": ((0.005, 1.0), (0.01, 0.3))},
]
MARGINS = [None, Margin(maintenance_long=0.8, maintenance_short=0.9)]


@dataclass
class Sleeper:
    """Orders at random, whenever it is called; what it draws depends on the bar alone."""

    case: Case
    conditions: tuple[Wake, ...]
    called: list[int]

    def indicators(self) -> dict[str, Indicator]:
        return {"mean": sma(3), "trend": sma(2) - sma(5)}

    def wakes(self) -> tuple[Wake, ...]:
        return self.conditions

    def on_bars(self, view: View) -> Proposal:
        self.called.append(view.row)
        rng = np.random.default_rng([self.case.seed, view.row])
        orders = [view.order(int(rng.integers(-40, 41)) or 1, int(rng.integers(self.case.width))) for _ in range(int(rng.integers(0, 3)))]
        close = view["close"][0]
        if rng.random() < 0.3 and close == close:
            orders.append(view.order(5, 0, 1, round(float(close) * 0.98, 2)))
        return orders


@dataclass
class Woken:
    """The same strategy, called at every bar, which returns nothing where it would sleep."""

    inner: Sleeper
    rows: set[int]

    def indicators(self) -> dict[str, Indicator]:
        return self.inner.indicators()

    def on_bars(self, view: View) -> Proposal:
        return self.inner.on_bars(view) if view.row in self.rows else ()


def rows_by_hand(condition: Wake, tape: Tape, columns: dict[str, Any]) -> set[int]:
    """The rows that wake, one by one."""
    if isinstance(condition, EveryBars):
        return set(range(0, len(tape), condition.count))
    assert isinstance(condition, Crossing)
    found, side = set(), [0] * tape.width
    for row in range(len(tape)):
        for i in range(tape.width):
            a, b = columns[condition.line][row, i], columns[condition.other][row, i] if isinstance(condition.other, str) else condition.other
            now = 1 if a > b else -1 if a < b else 0
            if now and now != side[i]:
                side[i] = now
                found.add(row)
    return found


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(random_cases(), st.sampled_from(CONDITIONS), st.sampled_from(["", "margin", "cash"]), st.sampled_from(WATCHED), st.sampled_from(MARGINS))
def test_a_sleeper_is_the_strategy_that_is_called_at_every_bar(
    case: Case, conditions: tuple[Wake, ...], financed: str, watched: dict[str, Any], margin: Margin | None
) -> None:
    """Byte for byte, with open orders, latency, schedules, limits, halts, margin calls, financing, settlement, missing bars and every timing."""
    tape = case.tape()
    plainly = Sleeper(case, conditions, [])
    readings = Readings(tape, plainly.indicators())
    readings.catch_up()
    columns = {"close": tape.close, **{name: readings.column(name) for name in readings.names}}
    rows = set().union(*(rows_by_hand(condition, tape, columns) for condition in conditions))
    limits = replace(case.limits, **watched)
    terms: dict[str, Any] = {"account": case.owner(), "limits": limits, "margin": margin, "financing": Financing() if financed else None}
    if financed:
        terms["account"] = replace(case.owner(), kind=financed, settlement_days=2 if financed == "cash" else 0)
    asleep = simulate(tape, plainly, broker=case.broker(), **terms)
    awake = simulate(tape, Woken(Sleeper(case, conditions, []), rows), broker=case.broker(), **terms)
    assert asleep.hash == awake.hash
    assert asleep.equity.tobytes() == awake.equity.tobytes()
    assert asleep.rows == awake.rows == len(tape)
    grown = simulate(tape, Sleeper(case, conditions, []), broker=case.broker(), check=True, **terms)
    assert grown.hash == awake.hash


@dataclass
class Leveraged:
    """Goes for twice its equity, or as much short, in two instruments at random, at every 25th bar."""

    seed: int
    asleep: bool = True

    def __post_init__(self) -> None:
        if self.asleep:
            self.wakes = lambda: EveryBars(25)

    def on_bars(self, view: View) -> Proposal:
        if view.row % 25:
            return ()
        first = float(np.random.default_rng([self.seed, view.row]).choice([-0.9, -0.4, 0.0, 0.9, 1.5]))
        return view.rebalance(np.array([first, 1.9 - abs(first)]))


@pytest.mark.parametrize("watched", WATCHED)
def test_who_sleeps_is_called_for_margin_at_the_same_closes(watched: dict[str, Any]) -> None:
    """Twenty accounts with debts through 250 wild days: the same journals, with margin calls, halts and ruin, and interest where it is owed."""
    called = 0
    for seed in range(20):
        steps = np.random.default_rng(seed).normal(0.0, 0.04, (250, 2))
        close = 100.0 * np.exp(np.cumsum(steps, axis=0))
        tape = Tape.of([Instrument("A"), Instrument("B")], np.arange(1, 251) * DAY, close, close, close, close, close * 1e6, interval=DAY)
        terms: dict[str, Any] = {"account": Account(1e5), "margin": Margin(), "limits": Limits(**watched)}
        terms["financing"] = Financing(debit=0.05 * (seed % 2), borrow=0.0)
        asleep, awake = (simulate(tape, Leveraged(seed, sleeps), broker=plain(), **terms) for sleeps in (True, False))
        assert asleep.hash == awake.hash
        assert asleep.equity.tobytes() == awake.equity.tobytes()
        called += int((awake.journal_table()["kind"] == FORCED).any())
    assert called > 0 or "drawdown_max" in watched


def walked(conditions: tuple[Wake, ...], closes: dict[int, float] | None = None, lots: int = 5, **terms: Any) -> list[int]:
    """Which bars the loop goes through, of sixty at 100 but for these *closes*; so many *lots* are bought after the eleventh."""
    prices = [(closes or {}).get(row, 100.0) for row in range(60)]
    tape = daily(*(flat(price) for price in prices))

    class Quiet:
        def wakes(self) -> tuple[Wake, ...]:
            return conditions

        def on_bars(self, view: View) -> Proposal:
            return [view.order(lots)] if view.row == 10 else ()

    session, feed = assemble(tape, Quiet(), broker=plain(), **terms)
    return _counted(session, feed)


def _counted(session: Any, feed: Any) -> list[int]:
    seen: list[int] = []

    def bars() -> Any:
        for one in feed:
            seen.append(one.row)
            yield one

    assert drive(session, bars(), len(feed.tape)) == len(feed.tape)
    return seen


ASLEEP = [0, 10, 11, 20, 30, 40, 50]
SMALL = Account(1_000.0)


@pytest.mark.parametrize("terms", [{}, {"limits": Limits(drawdown_max=0.5)}, {"margin": Margin()}])
def test_the_loop_sleeps_between_wake_ups(terms: dict[str, Any]) -> None:
    """Six rows wake it, and the order of row 10 is met by row 11. What is watched is watched asleep."""
    assert walked((EveryBars(10),), **terms) == ASLEEP


def test_where_nothing_is_owed_nothing_accrues_and_the_loop_sleeps() -> None:
    """Row 12 is there for calendars to note the fill of row 11."""
    assert walked((EveryBars(10),), margin=Margin(), financing=Financing()) == sorted([*ASLEEP, 12])


def test_what_goes_by_sessions_keeps_the_loop_awake() -> None:
    """Interest on what is owed, or earned, and the loss of a day: each bar is a session."""
    assert walked((EveryBars(10),), lots=15, account=SMALL, financing=Financing()) == [0, *range(10, 60)]
    assert walked((EveryBars(10),), financing=Financing(credit=0.01)) == list(range(60))
    assert walked((EveryBars(10),), limits=Limits(daily_loss_max=0.5)) == list(range(60))


def test_the_close_at_which_a_limit_trips_is_walked() -> None:
    """900 is no drawdown of more than 10 % from 1,000, but from the 1,050 that were slept through."""
    limits = Limits(drawdown_max=0.1, on_halt="freeze")
    assert walked((EveryBars(10),), {14: 110.0, 17: 80.0}, account=SMALL, limits=limits) == sorted([*ASLEEP, 17])
    assert walked((EveryBars(10),), {17: 80.0}, account=SMALL, limits=limits) == ASLEEP


def test_the_close_at_which_margin_is_short_is_walked() -> None:
    """15 shares of which 500 are owed: at 44 there are 160, of 660, and 25 % of them are needed. What is sold is sold at the next bar."""
    assert walked((EveryBars(10),), {17: 44.0}, lots=15, account=SMALL, margin=Margin()) == sorted([*ASLEEP, 17, 18])


@pytest.mark.parametrize("condition", [Crossing("trend"), Crossing("close", 100.0), EveryBars(3)])
def test_a_tape_that_grows_wakes_at_the_same_bars(condition: Wake) -> None:
    rng = np.random.default_rng(5)
    close = 100.0 + np.cumsum(rng.integers(-1, 2, 80)).astype(float)
    whole = Tape.of([Instrument("A")], np.arange(1, 81) * DAY, close, close, close, close, interval=DAY)
    at_once, growing = Sleeper(Case, (condition,), []), Sleeper(Case, (condition,), [])  # type: ignore[arg-type]
    for sleeper in (at_once, growing):
        sleeper.on_bars = lambda view, sleeper=sleeper: sleeper.called.append(view.row) or ()  # type: ignore[method-assign,misc]
    simulate(whole, at_once, broker=plain())
    tape = Tape([Instrument("A")], DAY)
    session, _ = assemble(tape, growing, broker=plain(), growing=True)
    bars = session.view.bars
    for row in range(80):
        tape.append(int(whole.ats[row]), *([close[row]] * 4), np.inf)  # type: ignore[misc]
        bars.row, bars.closed_at = row, whole.ats[row]
        step(session, bars)
    assert at_once.called == growing.called
    assert at_once.called


def hourly(days: int = 3, calendar: str = "") -> Tape:
    """Bars of 30 minutes of New York's sessions, from Wednesday, 27 November 2024, the day before Thanksgiving and a half day."""
    sessions = [day for day in range(20_054, 20_054 + 2 * days) if Exchange("XNYS").session(day)][:days]
    ends, of = [], []
    for day in sessions:
        opens, closes = Exchange("XNYS").session(day) or (0, 0)
        for end in range(opens + 1800 * SECOND, closes + 1, 1800 * SECOND):
            ends.append(end)
            of.append(day)
    price = np.full(len(ends), 100.0)
    truth = Truth(calendar=calendar)
    return Tape.of([Instrument("A")], ends, price, price, price, price, interval=1800 * SECOND, sessions=of, truth=truth)


def called_at(tape: Tape, *conditions: Wake) -> list[int]:
    seen: list[int] = []

    class Clerk:
        def wakes(self) -> tuple[Wake, ...]:
            return conditions

        def on_bars(self, view: View) -> Proposal:
            seen.append(view.row)
            return ()

    simulate(tape, Clerk(), broker=plain())
    return seen


def test_the_close_of_a_half_day_is_a_close() -> None:
    """13 bars on Wednesday, none on Thanksgiving, 7 on Friday, 13 on Monday."""
    assert called_at(hourly(calendar="XNYS"), AtSessionClose()) == [12, 19, 32]
    with pytest.raises(ScenarioError, match="needs the calendar of an exchange"):
        called_at(hourly(), AtSessionClose())


def test_a_time_of_day_is_that_of_its_zone_and_wakes_at_the_first_close_from_then_on() -> None:
    """15:45 in New York is the bar that closes at 16:00, and there is none on the half day."""
    assert called_at(hourly(), AtTimes("15:45", zone="America/New_York")) == [12, 32]
    assert called_at(hourly(), AtTimes("10:00", "12:30", zone="America/New_York")) == [0, 5, 13, 18, 20, 25]


def test_what_is_no_wake_up_is_refused() -> None:
    with pytest.raises(ScenarioError, match="count must be at least 1, was 0"):
        EveryBars(0)
    with pytest.raises(ScenarioError, match="must be HH:MM"):
        AtTimes("9:30")
    with pytest.raises(ScenarioError, match="at least one time"):
        AtTimes()
    tape = daily(flat(100.0), flat(100.0))
    with pytest.raises(ScenarioError, match="no indicator or field 'colse'; did you mean 'close'"):
        called_at(tape, Crossing("colse"))
    with pytest.raises(PluginError, match="wakes must return EveryBars"):
        called_at(tape, "often")  # type: ignore[arg-type]


def test_a_sleeping_feed_ends_where_it_is_told() -> None:
    """As if the bars that it passed over had gone through the loop."""
    session, feed = assemble(daily(*[flat(100.0)] * 9), Sleeper(Case, (EveryBars(2),), []), broker=plain(), account=Account(1e6))  # type: ignore[arg-type]
    assert isinstance(feed, Sleeping)
    feed.end = 5
    assert [bars.row for bars in feed] == [0, 4]
    assert session.view.row == 4
