"""Venues and the router that splits fills among them, and impact that stays while a position does."""

from __future__ import annotations

from dataclasses import replace
from math import floor, fsum, inf, sqrt
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_markets import Case, Random, random_cases
from small_markets import QUIET, Row, daily, flat, hourly, market_orders, plain, run, states

import simulator
from brokers.costs import Commission, Levy, Tier
from brokers.itemised import Terms
from brokers.slippage import Slippage
from brokers.venues import Venue, capacities, check, route
from simulator import Account, OrderKind, Result, TimeInForce, simulate
from simulator.book.fills import venue_code, venue_of
from simulator.loop.journal import ITEMISED
from simulator.report.explain import story
from simulator.report.records import Record
from simulator.report.telling import Columns, Telling

A, B = Venue("XNAS", 0.5, taker_per_share=0.003, maker_per_share=-0.002), Venue("BATS", 0.3, taker_per_share=-0.001, maker_per_share=0.001)
TEN = daily(*[QUIET] * 10)

# Split by cost and share.


def test_a_venue_has_its_share_of_the_bars_volume() -> None:
    """10 % of 1,000 is 100: 50 at one venue and 30 at the other, the cheapest first; 20 trade where we are not."""
    result = run(TEN, {0: lambda view: [view.order(100)]}, plain(participation=0.1, venues=(A, B)))
    assert [(fill.bar, fill.quantity, fill.venue) for fill in result.fills] == [(1, 30.0, "BATS"), (1, 50.0, "XNAS"), (2, 20.0, "BATS")]
    assert [fill.commission for fill in result.fills] == pytest.approx([-0.03, 0.15, -0.02])
    assert states(result) == {1: "filled: filled"}


def test_pro_rata_gives_each_its_part() -> None:
    result = run(TEN, {0: lambda view: [view.order(40)]}, plain(participation=0.1, venues=(A, B), router="pro_rata"))
    assert [(fill.quantity, fill.venue) for fill in result.fills] == [(25.0, "XNAS"), (15.0, "BATS")]


def test_makers_go_where_makers_earn() -> None:
    tape = daily(QUIET, (10.0, 10.0, 9.0, 10.0, 1000.0))
    result = run(tape, {0: lambda view: [view.order(40, kind=OrderKind.LIMIT, limit=9.5)]}, plain(participation=0.1, venues=(A, B)))
    assert [(fill.venue, fill.commission) for fill in result.fills] == [("XNAS", pytest.approx(-0.08))]


def test_what_a_venue_gave_is_gone_for_the_next_order_of_the_bar() -> None:
    result = run(TEN, {0: lambda view: [view.order(60), view.order(30)]}, plain(participation=0.1, venues=(A, B)))
    assert [(fill.order, fill.quantity, fill.venue) for fill in result.fills] == [
        (1, 30.0, "BATS"),
        (1, 30.0, "XNAS"),
        (2, 20.0, "XNAS"),
        (2, 10.0, "BATS"),
    ]


def test_an_order_that_must_be_whole_may_come_from_several_venues() -> None:
    broker = plain(participation=0.1, venues=(A, B))
    assert len(run(TEN, {0: lambda view: [view.order(80, tif=TimeInForce.FOK)]}, broker).fills) == 2
    assert not run(TEN, {0: lambda view: [view.order(81, tif=TimeInForce.FOK)]}, broker).fills


def test_the_price_is_that_of_the_whole_fill_on_every_venue() -> None:
    """A bar knows one price: the share that moves it is that of the order, and not of the venue."""
    broker = plain(participation=0.1, venues=(A, B), slippage=Slippage("volume_share"))
    result = run(TEN, {0: lambda view: [view.order(80)]}, broker)
    assert {fill.price for fill in result.fills} == {10.0 * (1 + 0.1 * (80 / 1000) * (80 / 1000))}


def test_an_instrument_may_have_venues_of_its_own() -> None:
    result = run(TEN, {0: lambda view: [view.order(10)]}, plain(participation=0.1, venues=(A, B), overrides={"X": Terms(venues=(A,))}))
    assert [fill.venue for fill in result.fills] == ["XNAS"]


def test_a_cash_account_pays_for_as_many_venues_as_it_can() -> None:
    """30 at 10 on the first leave 100 for the second, where 50 cost 500."""
    result = run(TEN, {0: lambda view: [view.order(80)]}, plain(participation=0.1, venues=(A, B)), account=Account(400.0, "cash", 1.0))
    assert [fill.quantity for fill in result.fills] == [30.0]
    assert states(result) == {1: "rejected: buying power"}


def test_batches_are_split_as_single_orders_are() -> None:
    broker = plain(participation=0.1, venues=(A, B), commission=Commission())
    one = run(TEN, {0: lambda view: [view.order(70), view.order(-30)]}, broker)
    many = run(TEN, {0: lambda view: market_orders(view, (0, 70), (0, -30))}, broker)
    assert one.fills == many.fills


@given(st.integers(0, 10**9), st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6))
def test_capacities_are_whole_and_sum_to_the_budget_of_their_shares(budget: int, weights: list[float]) -> None:
    venues = [Venue(f"V{k}", weight / max(fsum(weights), 1.0)) for k, weight in enumerate(weights)]
    found = capacities(budget, venues)
    assert all(lots >= 0 for lots in found)
    total = 0.0
    for venue in venues:
        total += venue.share
    assert sum(found) == min(floor(budget * total + 1e-9), budget)
    assert all(abs(lots - budget * venue.share) <= 1.0 + 1e-6 * budget**0.5 for lots, venue in zip(found, venues, strict=True))


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.floats(-0.01, 0.01)), min_size=1, max_size=6),
    st.floats(0.0, 1.0),
    st.sampled_from(["cheapest", "pro_rata"]),
    st.booleans(),
)
def test_a_route_sums_to_the_order_and_stays_within_what_is_left(rows: list[tuple[int, float]], part: float, router: Any, taker: bool) -> None:
    left = [lots for lots, _ in rows]
    venues = [Venue(f"V{k}", 1 / len(rows), taker_per_share=rate, maker_per_share=-rate) for k, (_, rate) in enumerate(rows)]
    lots = floor(part * sum(left))
    pieces = route(lots, left, venues, router, taker, 10.0)
    assert sum(piece for _, piece in pieces) == lots
    assert all(0 < piece <= left[k] for k, piece in pieces)
    assert len({k for k, _ in pieces}) == len(pieces)
    if router == "cheapest":
        paid = fsum(venues[k].charge(taker, 0.0, piece) for k, piece in pieces)
        other = fsum(venues[k].charge(taker, 0.0, piece) for k, piece in route(lots, left, venues, "pro_rata", taker, 10.0))
        assert paid <= other + 1e-9


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"name": "", "share": 0.5}, "name must be 1 to 8 ASCII letters or digits, was ''"),
        ({"name": "TOO LONG!", "share": 0.5}, "name must be 1 to 8 ASCII letters or digits, was 'TOO LONG!'"),
        ({"name": "X", "share": 0.0}, "share must be in (0, 1], was 0.0"),
        ({"name": "X", "share": 1.0, "maker_bps": -1e5}, "maker_bps must be between -10000 and 10000, was -100000.0"),
        ({"name": "X", "share": 1.0, "taker_per_share": inf}, "taker_per_share must be a number, was inf"),
    ],
)
def test_a_venue_that_makes_no_sense_is_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the whole text is compared
        Venue(**terms)
    assert str(refused.value) == words


def test_venues_of_one_name_or_of_more_than_all_volume_are_refused() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        check((A, A))
    with pytest.raises(ValueError, match=r"sum to 1 at most, were 0\.6, 0\.5"):
        plain(venues=(Venue("A", 0.6), Venue("B", 0.5)))


@given(st.text("ABCXYZ0189", min_size=1, max_size=8))
def test_a_venue_is_known_by_its_number(name: str) -> None:
    assert venue_of(venue_code(name)) == name
    assert 0 < venue_code(name) < 2**63


def test_a_broker_says_that_venues_are_a_model_of_cost_and_capacity() -> None:
    assert plain(venues=(A, B)).words()[-1] == (
        "Fills are split over XNAS (50% of the volume), BATS (30% of the volume), the cheapest first, all at one price: a model of cost and capacity."
    )


# Impact that stays.

CLOSES: list[Row] = [flat(price, 1000) for price in (100, 102, 101, 105, 104, 104, 104, 104)]
LASTING = Slippage("square_root", y=0.5, window=3, permanent=0.4)


def known(row: int) -> float:
    """Daily volatility over the three returns before the bar."""
    closes = [bar[3] for bar in CLOSES if bar]
    return stdev([closes[k] / closes[k - 1] - 1 for k in range(row - 3, row)])


def test_a_later_fill_finds_the_price_moved_by_what_is_held() -> None:
    steps = {k: (lambda view: [view.order(100)]) for k in (3, 4)}
    first, second = run(daily(*CLOSES), steps, plain(slippage=LASTING)).fills
    unit = 0.5 * sqrt(100 / 1000)
    assert first.price == pytest.approx(104 * (1 + unit * known(4)), rel=1e-12)
    assert second.price == pytest.approx(104 * (1 + 0.4 * unit * known(5)) * (1 + unit * known(5)), rel=1e-12)
    assert run(daily(*CLOSES), steps, plain(slippage=replace(LASTING, permanent=0.0))).fills[1].price < second.price


def test_who_sells_what_moved_the_price_gets_that_part_of_it_back() -> None:
    steps = {3: lambda view: [view.order(100)], 4: lambda view: [view.order(-100)], 5: lambda view: [view.order(100)]}
    result = run(daily(*CLOSES), steps, plain(slippage=LASTING))
    unit = 0.5 * sqrt(100 / 1000)
    assert result.fills[1].price == pytest.approx(104 * (1 + 0.4 * unit * known(5)) * (1 - unit * known(5)), rel=1e-12)
    # Nothing is held any more, so that nothing has stayed.
    assert result.fills[2].price == pytest.approx(104 * (1 + unit * known(6)), rel=1e-12)
    assert result.items["c"][1] == pytest.approx(-100 * 104 * 0.4 * unit * known(5), rel=1e-12)
    assert result.items["c"][[0, 2]].tolist() == [0.0, 0.0]


def test_a_limit_is_never_passed_by_what_stayed() -> None:
    steps = {3: lambda view: [view.order(500)], 4: lambda view: [view.order(100, kind=OrderKind.LIMIT, limit=104.5)]}
    assert run(daily(*CLOSES), steps, plain(slippage=LASTING)).fills[1].price == 104.5


@settings(max_examples=40)
@given(st.lists(st.integers(-300, 300), min_size=1, max_size=7), st.floats(0.05, 2.0), st.floats(0.0, 1.0))
def test_no_round_trip_earns_by_its_own_impact(lots: list[int], y: float, permanent: float) -> None:
    """Where the price itself goes nowhere, and volatility and volume are those of the days before, the same all day long."""
    days = [flat(price, 1000) for price in (100.0, 102.0, 99.0, 100.0) for _ in range(24)]
    broker = plain(slippage=Slippage("square_root", y=y, window=3, permanent=permanent))
    steps = {96 + k: (lambda view, n=n: [view.order(n)] if n else ()) for k, n in enumerate([*lots, -sum(lots)])}
    result = run(hourly(*days, *[flat(100.0, 1000)] * 12), steps, broker)
    assert result.positions == {}
    assert result.cash <= 100_000.0 + 1e-6


# All of it, on random markets.


@settings(deadline=None, max_examples=40)
@given(random_cases(), st.booleans(), st.sampled_from(["cheapest", "pro_rata"]))
def test_random_runs_keep_the_identities_with_every_cost_on(case: Case, lasting: bool, router: Any) -> None:
    """Checked after every bar; and no venue gives more than its part, nobody is paid but by rebates, and what is itemised is part of the whole."""
    venues = (Venue("A", 0.45, taker_bps=0.5), Venue("B", 0.25, maker_bps=-0.3))
    terms: dict[str, Any] = {
        "venues": venues,
        "router": router,
        "levies": (Levy("stamp", "1970-01-05", bps=2.0), Levy("stamp", "1970-01-20", bps=1.0)),
        "commission": replace(case.commission, tiers=(Tier(taker_bps=3.0, maker_bps=-1.0), Tier(1e4, taker_bps=1.0)), tier_days=5),
        "overrides": {"S0": Terms(commission=Commission())},
    }
    if lasting:
        terms["slippage"] = Slippage("square_root", window=3, permanent=0.5)
    result = simulate(case.tape(), Random(case), broker=replace(case.broker(), **terms), account=case.owner(), limits=case.limits, check=True)
    assert_within(result, case, venues)


def assert_within(result: Result, case: Case, venues: tuple[Venue, ...]) -> None:
    """What holds of every fill."""
    took: dict[tuple[int, str, str], float] = {}
    for fill, item in zip(result.fills, result.items, strict=True):
        took[fill.bar, fill.symbol, fill.venue] = took.get((fill.bar, fill.symbol, fill.venue), 0.0) + abs(fill.quantity)
        worth = abs(fill.quantity) * fill.price
        assert fill.commission >= -1.3e-4 * worth - 0.011
        assert float(item["a"]) >= 0.0
        assert (float(item["a"]) == 0.0) or fill.quantity < 0.0
        assert (fill.order, fill.at) == (int(item["order"]), int(item["at"]))
    if case.participation < inf and not case.trailing:
        for (bar, symbol, venue), units in took.items():
            i = result.tape.index[symbol]
            instrument, share = result.tape.instruments[i], next(x.share for x in venues if x.name == venue)
            budget = case.participation * float(result.tape.volume[bar, i])
            assert units <= budget * share + instrument.units(1) * (1 + 1e-9)


def test_venues_and_what_is_itemised_survive_the_run_folder(tmp_path: Any) -> None:
    from simulator.report.records import journal_of
    from simulator.report.tables import journal_table

    broker = plain(participation=0.1, venues=(A, B), levies=(Levy("stamp", "1970-01-01", bps=2.0),))
    result = run(TEN, {0: lambda view: [view.order(100)], 4: lambda view: [view.order(-60)]}, broker)
    table = journal_table(result)
    assert table["venue"].drop_null().to_pylist()[:2] == ["BATS", "XNAS"]
    back = journal_of(table, ["X"])
    assert bytes(back.rows) == bytes(result.journal.rows)


def test_the_story_of_an_order_tells_venues_and_what_is_behind_its_costs() -> None:
    broker = plain(participation=0.1, venues=(A, B), levies=(Levy("stamp", "1970-01-01", bps=20.0),))
    result = run(TEN, {0: lambda view: [view.order(-70)]}, broker)
    telling = Telling(result.journal, TEN)
    told = [telling.event(entry) for entry in telling.entries(telling.of_kind(ITEMISED))]
    assert told == [
        "order 1, of that fill: at BATS, of it regulatory fees 0.60, venue rebate 0.03",
        "order 1, of that fill: at XNAS, of it regulatory fees 0.80, venue fee 0.12",
    ]
    parts = [
        part for part in story(Record(Path("run"), None, result.journal, 10, None), TEN, 1) if isinstance(part, Columns) and part.title == "fills"
    ]
    assert [row[-1] for row in parts[0].rows] == [
        "taker, at BATS, of it regulatory fees 0.60, venue rebate 0.03",
        "taker, at XNAS, of it regulatory fees 0.80, venue fee 0.12",
    ]


def test_a_plain_run_takes_venues_as_mappings() -> None:
    days = [f"2024-01-{k:02d}" for k in range(2, 6)]
    bars = {"X": {"date": days, **{name: [10.0] * 4 for name in ("open", "high", "low", "close")}, "volume": [1000.0] * 4}}
    venues = [{"name": "XNAS", "share": 0.5, "taker_bps": 1}, {"name": "BATS", "share": 0.5}]
    result = simulator.run_orders(bars, [{"symbol": "X", "quantity": 60, "bar": 0}], cash=1e6, participation=0.1, venues=venues)
    assert [(fill.venue, fill.quantity, fill.commission) for fill in result.fills] == [("BATS", 50.0, 0.0), ("XNAS", 10.0, pytest.approx(0.01))]
    assert np.isfinite(result.cash)
