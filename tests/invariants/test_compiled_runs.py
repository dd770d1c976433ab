"""A compiled run gives the very fills of the loop: random plans, orders, costs, limits, gaps and missing bars."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import inf, nan

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_markets import Case, random_cases
from small_markets import daily, flat, plain

from brokers.costs import Commission
from brokers.slippage import Slippage
from simulator import Account, Financing, Indicator, Limits, Loan, Margin, Order, Past, Proposal, Strategy, Tape, Twap, View, sma
from simulator.assembly import assemble, drive
from simulator.book.fills import Booking
from simulator.kernels import rules, runs
from simulator.loop import journal as rows
from simulator.loop.session import Session, step
from simulator.loop.whole import Whole, run_plan, run_whole
from simulator.report.results import Result
from simulator.risk.margin import MarginEngine, Requirement
from strategies.momentum import Momentum
from strategies.moving_average_cross import MovingAverageCross

CHARGED = {Booking.INTEREST: "interest", Booking.BORROW: "fees", Booking.REBATE: "rebates"}
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
    kinds = rng.choice([0, 0, 1, 2, 3, 3], n)
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


@dataclass(frozen=True)
class Lender:
    """What the account's broker charges and asks for, if anything."""

    financing: Financing | None = None
    margin: Margin | None = None


@st.composite
def lent_cases(draw: st.DrawFn) -> tuple[Case, Lender]:
    """Half of the markets have nobody who charges or asks for anything; in the others many have little money and much leverage."""
    case = settled(draw(random_cases()))
    case = replace(case, rows=draw(st.sampled_from([case.rows, 40, 40])))
    if draw(st.booleans()):
        return case, Lender()
    rates = st.sampled_from([0.0, 0.05, 2.0])
    loans = draw(st.sampled_from([(), (Loan("S0", 3.0),)]))
    financing = Financing(draw(rates), draw(rates), draw(rates), draw(rates), draw(st.sampled_from(["act/360", "act/365"])), loans)
    margin = draw(st.sampled_from([None, Margin(), Margin(0.0, 0.0), Margin(1.0, 1.0), Margin(1.0, 1.0)]))
    if draw(st.booleans()):
        limits = replace(case.limits, gross_max=inf, net_max=inf, name_max=inf, notional_max=inf)
        leverage, cash = draw(st.sampled_from([inf, 4.0])), draw(st.sampled_from([1e3, 1e4]))
        case = replace(case, account="margin", leverage=leverage, cash=cash, participation=1.0, limits=limits)
    return case, Lender(draw(st.sampled_from([None, financing, financing])), margin)


def both(case: Case, plan: Plan, lender: Lender) -> tuple[Tape, Result, Whole | None, bool]:
    """The same plan by the loop and compiled, and whether margin was called for at any mark, or nothing was left."""
    tape, broker, account = case.tape(), case.broker(), case.owner()
    session, feed = assemble(tape, plan, broker=broker, account=account, limits=case.limits, financing=lender.financing, margin=lender.margin)
    called = False
    for bars in feed:
        step(session, bars)
        called = called or is_called(session, lender.margin)
    by_loop = Result(tape, session.journal, account.cash, len(tape))  # type: ignore[arg-type]
    numbers = broker.numbers(tape, account)
    assert numbers is not None
    orders = plan.orders, plan.prices
    whole = run_plan(tape, FORMS[plan.form], plan.wanted, orders, numbers, account, case.limits, 0, lender.financing, lender.margin)
    return tape, by_loop, whole, called


def is_called(session: Session, margin: Margin | None) -> bool:
    """Whether equity is below the margin of what is held, or nothing is left of it."""
    portfolio = session.portfolio
    if not isinstance(session.risk, MarginEngine) or margin is None:
        return False
    needed = Requirement.maintenance(portfolio, margin).of(enumerate(portfolio.lots.tolist()), portfolio.mark_of)
    return not portfolio.equity > 0.0 or portfolio.equity < needed


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
    booked = table["d"][table["kind"] == rows.BOOKED]
    return found | {name for kind, name in CHARGED.items() if (booked == kind).any()}


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large])
@given(lent_cases(), st.sampled_from(["weights", "signals", "holdings"]))
def test_a_compiled_run_of_targets_is_the_run_of_the_loop_unless_that_is_called_for_margin(lent: tuple[Case, Lender], form: str) -> None:
    case, lender = lent
    plan = plan_of(case, form)
    tape, by_loop, whole, called = both(case, plan, lender)
    assert (whole is None) == called
    if whole is not None:
        compare(tape, by_loop, whole)


@given(lent_cases())
def test_a_compiled_run_of_orders_is_the_run_of_the_loop_or_none(lent: tuple[Case, Lender]) -> None:
    case, lender = lent
    plan = plan_of(case, "orders")
    tape, by_loop, whole, called = both(case, plan, lender)
    if whole is not None:
        assert not called
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
CLASSES = ("partial fills", "gaps", "limits", "stops", "stop-limits", "missing bars", "costs", "halts", *CHARGED.values(), "calls")


def test_what_makes_a_run_hard_is_in_the_cases() -> None:
    """The share of cases with each; a class that hardly occurs would prove nothing."""
    seen: Counter[str] = Counter()
    cases: list[Case] = []

    @settings(max_examples=300, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(lent_cases(), st.sampled_from([*FORMS, "orders", "orders"]))
    def gather(lent: tuple[Case, Lender], form: str) -> None:
        case, lender = lent
        plan = plan_of(case, form)
        tape, by_loop, whole, called = both(case, plan, lender)
        if whole is not None:
            cases.append(case)
            seen.update(seen_in(case, tape, by_loop, plan))
        elif called:
            cases.append(case)
            seen["calls"] += 1

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


@dataclass(frozen=True)
class Above:
    """So many units while the close is above its mean."""

    units: float

    def indicators(self) -> dict[str, Indicator]:
        return {"mean": sma(7)}

    def holdings(self, past: Past) -> np.ndarray:
        return np.where(past["close"] > past["mean"], self.units, 0.0)

    def on_bars(self, view: View) -> Proposal:
        return view.hold(np.where(view["close"] > view["mean"], self.units, 0.0))


@pytest.mark.parametrize("daily", [True, False])
@pytest.mark.parametrize("units", [5.0, 300.0, -30.0])
@pytest.mark.parametrize(
    "financing", [Financing(debit=0.0, credit=0.05), Financing(debit=0.5), Financing(borrow=0.4, rebate=0.1, day_count="act/365")]
)
def test_one_instrument_accrues_what_the_loop_accrues_before_and_between_its_trades(units: float, financing: Financing, daily: bool) -> None:
    case = replace(NAMED, width=1, missing=0.0, daily=daily, cash=1e4, leverage=inf, participation=1.0, limits=Limits())
    tape, broker, account = case.tape(), case.broker(), case.owner()
    session, feed = assemble(tape, Above(units), broker=broker, account=account, limits=case.limits, financing=financing)
    drive(session, feed, len(tape))
    by_loop = Result(tape, session.journal, account.cash, len(tape))  # type: ignore[arg-type]
    whole = run_whole(tape, Above(units), broker, account, case.limits, financing=financing)
    assert whole is not None
    assert len(by_loop.fills) > 10
    assert np.count_nonzero(by_loop.journal_table()["kind"] == rows.BOOKED) > 3 or (financing.credit == 0.0 and units == 5.0)
    compare(tape, by_loop, whole)
