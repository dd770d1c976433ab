"""A compiled run gives the very fills of the loop: random plans, orders, costs, limits, gaps and missing bars."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_markets import Case, random_cases
from small_markets import daily, flat, plain

from brokers.costs import Commission
from brokers.simulated import Simulated
from brokers.slippage import Slippage
from simulator import Account, Limits, Order, Proposal, Strategy, Tape, Twap, View
from simulator.assembly import assemble, drive
from simulator.kernels import rules, runs
from simulator.loop import journal as rows
from simulator.loop.whole import Whole, run_plan, run_whole
from simulator.report.results import Result
from strategies.momentum import Momentum
from strategies.moving_average_cross import MovingAverageCross

FORMS = {"weights": runs.WEIGHTS, "signals": runs.SIGNALS, "holdings": runs.HOLDINGS, "orders": runs.ORDERS}


@dataclass(frozen=True)
class Plan:
    """What is wanted at each close: weights or units (rows, instruments), or orders as columns in the order of their rows."""

    form: str
    wanted: np.ndarray
    orders: np.ndarray
    prices: np.ndarray

    def on_bars(self, view: View) -> Proposal:
        if self.form == "weights":
            return view.rebalance(self.wanted[view.row])
        if self.form == "signals":
            return view.enter(self.wanted[view.row])
        if self.form == "holdings":
            return view.hold(self.wanted[view.row])
        mine = np.flatnonzero(self.orders[0] == view.row).tolist()
        return [Order(view.ids.next(), *self.orders[1:4, k].tolist(), *self.prices[:, k].tolist(), int(self.orders[4, k])) for k in mine]


def plan_of(case: Case, form: str) -> Plan:
    """Plans that change their mind now and then, leave things alone, and ask for more than there is."""
    rng = np.random.default_rng([case.seed, 99])
    shape = (case.rows, case.width)
    wanted = rng.uniform(-0.6, 0.9, shape) if form in ("weights", "signals") else rng.integers(-90, 91, shape).astype(float)
    keeps = rng.random(shape) < 0.5
    for t in range(1, case.rows):
        wanted[t, keeps[t]] = wanted[t - 1, keeps[t]]
    wanted[rng.random(shape) < 0.15] = nan
    wanted[rng.random(shape) < 0.1] = 0.0
    counts = rng.poisson(min(case.busy, 1.0) / 2, case.rows)
    n = int(counts.sum())
    kinds = rng.choice([0, 0, 1, 2, 3], n)
    near = 100.0 * np.exp(rng.standard_normal(n) * 0.05)
    stops = near * np.exp(rng.standard_normal(n) * 0.02)
    columns = [
        np.repeat(np.arange(case.rows), counts),
        rng.integers(case.width, size=n),
        rng.integers(-60, 61, n),
        kinds,
        rng.choice([0, 0, 0, 1, 2, 3], n),
    ]
    prices = [np.where(np.isin(kinds, (1, 3)), near, nan), np.where(np.isin(kinds, (2, 3)), stops, nan)]
    return Plan(form, wanted, np.array(columns, np.int64).reshape(5, n), np.array(prices).reshape(2, n))


def both(case: Case, plan: Plan) -> tuple[Tape, Result, Whole | None, Simulated]:
    """The same plan by the loop and compiled."""
    tape, broker, account = case.tape(), case.broker(), case.owner()
    session, feed = assemble(tape, plan, broker=broker, account=account, limits=case.limits)
    assert drive(session, feed, len(tape)) == len(tape)
    by_loop = Result(tape, session.journal, account.cash, len(tape))  # type: ignore[arg-type]
    numbers = broker.numbers(tape, account)
    assert numbers is not None
    whole = run_plan(tape, FORMS[plan.form], plan.wanted, (plan.orders, plan.prices), numbers, account, case.limits)
    return tape, by_loop, whole, broker


def compare(tape: Tape, by_loop: Result, whole: Whole) -> None:
    """Every number, to the last bit."""
    table = by_loop.journal_table()
    fills = table[table["kind"] == rows.FILL]
    bars = rows.times_to_rows(tape, fills["at"])
    expected = [bars, fills["order"], fills["instrument"], fills["lots"], fills["d"]]
    assert [column.tolist() for column in expected] == whole.fills.tolist()
    assert np.array([fills["a"], fills["b"], fills["c"]]).tobytes() == whole.money.tobytes()
    assert by_loop.equity.tobytes() == whole.equity.tobytes()
    assert whole.refused == np.count_nonzero(table["kind"] == rows.REFUSED)
    assert whole.halts == np.count_nonzero(table["kind"] == rows.HALT)


def settled(case: Case) -> Case:
    """The case without what only the loop can do."""
    timing = "next_open" if case.timing == "same_close" else case.timing
    return replace(case, latency=0.0, slicing=None, timing=timing, limits=replace(case.limits, rate_max=0))


def seen_in(case: Case, tape: Tape, by_loop: Result, plan: Plan) -> set[str]:
    """Which of the things that make a run hard this one had."""
    fills, found = by_loop.fills, set()
    orders = Counter(fill.order for fill in fills)
    if any(times > 1 for times in orders.values()):
        found.add("partial fills")
    if any(fill.price != fill.price or fill.slippage for fill in fills) or any(fill.commission for fill in fills):
        found.add("costs")
    if np.isnan(tape.close).any():
        found.add("missing bars")
    kinds = {rules.LIMIT: "limits", rules.STOP: "stops", rules.STOP_LIMIT: "stop-limits"}
    traded = {fill.order for fill in fills}
    table = by_loop.journal_table()
    for kind, name in kinds.items():
        sent = table[(table["kind"] == rows.ORDER) & (table["d"] % 256 == kind)]["order"].tolist()
        if traded & set(sent):
            found.add(name)
    moves = tape.open[1:] / tape.marks[:-1] - 1.0
    if any(abs(moves[fill.bar - 1]).max() > 0.01 for fill in fills if fill.bar and np.isfinite(moves[fill.bar - 1]).all()):
        found.add("gaps")
    if len(by_loop.halts):
        found.add("halts")
    return found


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large])
@given(random_cases(), st.sampled_from(["weights", "signals", "holdings"]))
def test_a_compiled_run_of_targets_is_the_run_of_the_loop(case: Case, form: str) -> None:
    case = settled(case)
    plan = plan_of(case, form)
    tape, by_loop, whole, _ = both(case, plan)
    assert whole is not None
    compare(tape, by_loop, whole)


@given(random_cases())
def test_a_compiled_run_of_orders_is_the_run_of_the_loop_or_none(case: Case) -> None:
    case = settled(case)
    plan = plan_of(case, "orders")
    tape, by_loop, whole, _ = both(case, plan)
    if whole is not None:
        compare(tape, by_loop, whole)


NAMED = Case(
    0,
    200,
    3,
    True,
    0.1,
    False,
    "next_open",
    1e5,
    "margin",
    2.0,
    Commission(),
    Slippage("bps"),
    0.1,
    0,
    False,
    0.0,
    None,
    Limits(drawdown_max=0.2),
    0.0,
)
CLASSES = ("partial fills", "gaps", "limits", "stops", "stop-limits", "missing bars", "costs", "halts")


def test_what_makes_a_run_hard_is_in_the_cases() -> None:
    """The share of cases with each; a class that hardly occurs would prove nothing."""
    seen: Counter[str] = Counter()
    cases: list[Case] = []

    @settings(max_examples=120, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(random_cases(), st.sampled_from([*FORMS, "orders"]))
    def gather(case: Case, form: str) -> None:
        case = settled(case)
        plan = plan_of(case, form)
        tape, by_loop, whole, _ = both(case, plan)
        if whole is not None:
            cases.append(case)
            seen.update(seen_in(case, tape, by_loop, plan))

    gather()
    shares = {name: seen[name] / len(cases) for name in CLASSES}
    print(len(cases), "cases;", ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    assert min(shares.values()) >= 0.01, shares


def test_what_takes_time_is_left_to_the_loop() -> None:
    tape, account = daily(flat(10), flat(10)), Account()
    assert plain().numbers(tape, account) is not None
    for terms in ({"latency_seconds": 1.0}, {"slicing": Twap(2, 60.0)}, {"timing": "same_close"}):
        assert plain(**terms).numbers(tape, account) is None


@pytest.mark.parametrize("strategy", [MovingAverageCross(5, 20), Momentum(10, 2, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_built_in_strategies_state_as_arrays_what_they_do_bar_by_bar(strategy: Strategy, seed: int) -> None:
    """On walks with missing bars and little volume, so that orders wait and fill in parts."""
    case = replace(NAMED, seed=seed)
    tape, broker, account = case.tape(), case.broker(), case.owner()
    session, feed = assemble(tape, strategy, broker=broker, account=account, limits=case.limits)
    drive(session, feed, len(tape))
    by_loop, whole = Result(tape, session.journal, account.cash, len(tape)), run_whole(tape, strategy, broker, account, case.limits)  # type: ignore[arg-type]
    assert whole is not None
    assert len(by_loop.fills) > 10
    compare(tape, by_loop, whole)
