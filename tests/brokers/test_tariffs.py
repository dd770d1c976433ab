"""Tiers and rebates, dated fees on sales, terms of one instrument, and bounds that are an order's even where it is cut in time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from math import fsum, inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_markets import QUIET, daily, flat, markets, plain, run

import simulator
from brokers.costs import FREE, US_EQUITIES, Commission, Levy, Schedule, Tier, Trade, cents, day_of
from brokers.itemised import Terms
from brokers.simulated import Simulated
from brokers.slippage import NO_SLIPPAGE, Slippage
from simulator import DAY, Account, OrderKind, PluginError, Pov, Replace, ScenarioError, Twap, load
from simulator.assembly import run as run_scenario

TEN = daily(*[QUIET] * 10)
TIERS = (Tier(taker_bps=10.0, maker_bps=4.0), Tier(1_000.0, taker_bps=5.0, maker_bps=-2.0))


def tiered(**terms: Any) -> Commission:
    return Commission(**{"per_share": 0.0, "minimum": 0.0, "tiers": TIERS, **terms})


def day(text: str) -> int:
    found = day_of(text)
    assert found is not None
    return found


# Bounds of an order that is cut in time.


def test_the_minimum_of_a_sliced_order_comes_once() -> None:
    """Three slices of 3 shares at half a cent each: the first pays the minimum of 1, and the others nothing more."""
    result = run(TEN, {0: lambda view: [view.order(9, schedule=Twap(3, 86_400.0))]}, plain(commission=Commission(0.005, minimum=1.0)))
    assert [fill.commission for fill in result.fills] == [1.0, 0.0, 0.0]


def test_the_maximum_of_a_sliced_order_is_all_that_its_slices_pay() -> None:
    result = run(TEN, {0: lambda view: [view.order(9, schedule=Twap(3, 86_400.0))]}, plain(commission=Commission(1.0, minimum=0.0, maximum=5.0)))
    assert [fill.commission for fill in result.fills] == [3.0, 2.0, 0.0]


def test_slices_that_trade_in_one_bar_are_one_order_too() -> None:
    """One at the open and one that rests: the second knows what the first has paid."""
    steps = {0: lambda view: [view.order(8, kind=OrderKind.LIMIT, limit=10.0, schedule=Twap(4, 3600.0))]}
    result = run(TEN, steps, plain(commission=Commission(0.005, minimum=1.0)))
    assert fsum(fill.commission for fill in result.fills) == 1.0


def test_what_a_sliced_order_paid_counts_for_the_one_that_replaces_it() -> None:
    def replace(view: simulator.View) -> list[Any]:
        return [Replace(view.ids.next(), 1, 12)]

    steps = {0: lambda view: [view.order(9, schedule=Twap(3, 86_400.0))], 1: replace}
    result = run(TEN, steps, plain(commission=Commission(0.005, minimum=1.0)))
    assert fsum(fill.quantity for fill in result.fills) == 12.0
    assert fsum(fill.commission for fill in result.fills) == 1.0


def test_an_order_batch_beside_slices_changes_nothing_of_their_bill() -> None:
    steps = {
        0: lambda view: [view.order(9, schedule=Twap(3, 86_400.0))],
        1: lambda view: [view.rebalance([0.5])],
    }
    result = run(TEN, steps, plain(commission=Commission(0.005, minimum=1.0)))
    parents = {order.order: order.parent or order.order for order in result.orders}
    assert fsum(fill.commission for fill in result.fills if parents[fill.order] == 1) == 1.0


@given(st.integers(1, 60), st.integers(1, 6), st.floats(0.0, 0.1), st.floats(0.0, 2.0), st.sampled_from([inf, 2.5]), st.booleans(), st.booleans())
def test_slices_pay_together_what_the_order_would_have_paid_alone(
    lots: int, slices: int, per_share: float, minimum: float, maximum: float, rounded: bool, tiers: bool
) -> None:
    """The price does not move, so that only the tariff could tell the two apart."""
    tariff = Commission(per_share, 0.25, 3.0, minimum, max(minimum, maximum), rounded, TIERS[:1] if tiers else ())
    paid = []
    for schedule in (None, Twap(slices, 86_400.0), Pov(0.01, 5 * 86_400.0)):
        result = run(TEN, {0: lambda view, schedule=schedule: [view.order(lots, schedule=schedule)]}, plain(commission=tariff))
        assert fsum(fill.quantity for fill in result.fills) == lots
        paid.append(fsum(fill.commission for fill in result.fills))
    assert paid[1] == pytest.approx(paid[0], rel=1e-12, abs=1e-12)
    assert paid[2] == pytest.approx(paid[0], rel=1e-12, abs=1e-12)


# Tiers.


def test_a_tier_is_that_of_the_volume_of_the_days_before() -> None:
    """100 units at 10 are the 1,000 of the second tier, from the next session on."""
    steps = {k: (lambda view: [view.order(100)]) for k in range(3)}
    result = run(TEN, steps, plain(commission=tiered()))
    assert [fill.commission for fill in result.fills] == [1.0, 0.5, 0.5]


def test_volume_is_forgotten_after_its_days() -> None:
    steps = {k: (lambda view: [view.order(100)]) for k in (0, 3)}
    assert [fill.commission for fill in run(TEN, steps, plain(commission=tiered(tier_days=2))).fills] == [1.0, 1.0]
    assert [fill.commission for fill in run(TEN, steps, plain(commission=tiered(tier_days=3))).fills] == [1.0, 0.5]


def test_volume_may_be_counted_in_units() -> None:
    steps = {k: (lambda view: [view.order(100)]) for k in range(2)}
    assert [fill.commission for fill in run(TEN, steps, plain(commission=tiered(tier_unit="shares"))).fills] == [1.0, 1.0]


def test_a_maker_earns_a_rebate_that_no_minimum_takes_back() -> None:
    """Bought as a taker for a tier; then 50 sold at a limit of 11 inside the bar: 2 bps of 550 come back."""
    tape = daily(QUIET, QUIET, QUIET, (10.0, 12.0, 10.0, 10.0, 1000.0))
    steps = {0: lambda view: [view.order(100)], 2: lambda view: [view.order(-50, kind=OrderKind.LIMIT, limit=11.0)]}
    result = run(tape, steps, plain(commission=tiered(minimum=0.3)))
    assert [fill.commission for fill in result.fills] == [1.0, pytest.approx(0.3 - 0.11)]
    assert [fill.commission for fill in run(tape, steps, plain(commission=tiered())).fills] == [1.0, pytest.approx(-0.11)]


def test_rates_of_shares_and_of_value_add_up() -> None:
    tariff = Commission(0.01, minimum=0.0, tiers=(Tier(taker_bps=10.0, taker_per_share=0.02),))
    assert run(TEN, {0: lambda view: [view.order(100)]}, plain(commission=tariff)).fills[0].commission == pytest.approx(1.0 + 1.0 + 2.0)


@given(st.lists(st.integers(-60, 60), min_size=1, max_size=6), st.floats(-20.0, 20.0), st.floats(0.0, 3.0))
def test_no_commission_is_negative_without_a_rebate(lots: list[int], rate: float, minimum: float) -> None:
    tariff = Commission(0.0, minimum=minimum, tiers=(Tier(taker_bps=rate),))
    result = run(TEN, {k: (lambda view, n=n: [view.order(n)] if n else ()) for k, n in enumerate(lots)}, plain(commission=tariff))
    for fill in result.fills:
        assert fill.commission >= min(rate, 0.0) / 10_000.0 * abs(fill.quantity) * fill.price - 1e-12


# Dated fees.


@pytest.mark.parametrize(
    ("since", "before", "after"),
    [
        ("2012-02-21", 19.20, 18.00),
        ("2014-03-18", 17.40, 22.10),
        ("2018-05-22", 23.10, 13.00),
        ("2019-04-16", 13.00, 20.70),
        ("2020-02-18", 20.70, 22.10),
        ("2021-02-25", 22.10, 5.10),
        ("2023-02-27", 22.90, 8.00),
        ("2025-05-14", 27.80, 0.00),
        ("2026-04-04", 0.00, 20.60),
    ],
)
def test_the_rates_of_section_31_are_those_of_the_notices_that_name_both(since: str, before: float, after: float) -> None:
    """Dollars a million, by a notice or an order that says from when on, and what was asked before."""
    schedule = Schedule(tuple(levy for levy in US_EQUITIES if levy.name == "SEC Section 31"))
    asked = [schedule.charge(day(since) - ago, False, 1e6, 0.0) for ago in (1, 0)]
    assert asked == pytest.approx([before, after], abs=1e-12)


@pytest.mark.parametrize(
    ("when", "a_share", "most"),
    [
        ("2012-02-29", 0.000090, 4.50),
        ("2012-03-01", 0.000095, 4.75),
        ("2012-07-01", 0.000119, 5.95),
        ("2026-09-30", 0.000195, 9.79),
        ("2026-10-01", 0.0, 0.0),
        ("2026-12-31", 0.0, 0.0),
        ("2027-01-01", 0.000195, 9.79),
    ],
)
def test_the_trading_activity_fee_has_its_rate_its_maximum_and_its_holiday(when: str, a_share: float, most: float) -> None:
    schedule = Schedule(tuple(levy for levy in US_EQUITIES if levy.name == "FINRA TAF"))
    assert [schedule.charge(day(when), False, 1.0, units) for units in (1_000.0, 1e9)] == pytest.approx([1_000.0 * a_share, most], abs=1e-12)


def test_regulators_ask_of_sales_by_the_day() -> None:
    """Section 31 was 27.80 dollars a million up to 13 May 2025, and nothing from the 14th on; the TAF was 0.000166 a share on both days."""
    schedule = Schedule(US_EQUITIES)
    assert schedule.charge(day("2025-05-13"), False, 1e6, 1_000.0) == pytest.approx(27.80 + 0.166)
    assert schedule.charge(day("2025-05-14"), False, 1e6, 1_000.0) == pytest.approx(0.166)
    assert schedule.charge(day("2025-05-13"), True, 1e6, 1_000.0) == 0.0
    assert schedule.charge(day("2025-05-14"), False, 1e6, 1e6) == 8.30
    assert schedule.charge(day("1999-12-31"), False, 1e6, 1e6) == 0.0


def test_the_schedule_of_the_us_is_in_order() -> None:
    for name in ("SEC Section 31", "FINRA TAF"):
        days = [date.fromisoformat(levy.since) for levy in US_EQUITIES if levy.name == name]
        assert days == sorted(set(days))


def test_a_sale_pays_the_fee_and_a_purchase_does_not() -> None:
    levies = (
        Levy("stamp", "1970-01-01", bps=50.0),
        Levy("stamp", "1970-01-05", bps=25.0),
        Levy("clearing", "1970-01-01", per_share=0.01, side="both"),
    )
    steps = {0: lambda view: [view.order(100)], 1: lambda view: [view.order(-50)], 5: lambda view: [view.order(-50)]}
    result = run(TEN, steps, plain(levies=levies))
    assert [fill.commission for fill in result.fills] == pytest.approx([1.0, 2.5 + 0.5, 1.25 + 0.5])
    assert result.items["a"].tolist() == pytest.approx([1.0, 3.0, 1.75])


def test_a_levy_has_a_maximum_a_fill() -> None:
    assert Levy("x", "2020-01-01", per_share=1.0, maximum=3.0).charge(False, 0.0, 10.0) == 3.0


def test_cents_are_rounded_as_the_commission_is() -> None:
    assert (cents(0.125), cents(0.1249), cents(-0.006)) == (0.13, 0.12, -0.01)
    tariff = Commission(0.0, minimum=0.0, round_to_cents=True)
    result = run(TEN, {0: lambda view: [view.order(-33)]}, plain(commission=tariff, levies=(Levy("stamp", "1970-01-01", bps=1.0),)))
    assert result.fills[0].commission == 0.03


# An instrument's own terms.


def test_an_instrument_may_have_terms_of_its_own() -> None:
    tape = markets(X=[QUIET] * 4, Y=[QUIET] * 4)
    own = Terms(commission=Commission(0.0, 2.0, minimum=0.0), slippage=Slippage("bps", bps=100.0), participation=0.05)
    broker = plain(commission=Commission(0.0, 1.0, minimum=0.0), overrides={"Y": own})
    result = run(tape, {0: lambda view: [view.order(100, "X"), view.order(100, "Y")]}, broker)
    assert [(fill.symbol, fill.quantity, fill.price, fill.commission) for fill in result.fills] == [
        ("X", 100.0, 10.0, 1.0),
        ("Y", 50.0, 10.1, 2.0),
        ("Y", 50.0, 10.1, 0.0),
    ]


def test_terms_of_an_instrument_that_is_not_there_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"broker.overrides: no such instrument 'Z'; there is: X"):
        run(TEN, {}, plain(overrides={"Z": Terms()}))


# Models of one's own.


@dataclass(frozen=True)
class Flat:
    """A fixed sum a fill, of which half comes back to makers."""

    money: float = 2.0

    def charge(self, trade: Trade) -> float:
        return self.money if trade.taker else -self.money / 2.0


@dataclass(frozen=True)
class Recent:
    """A taker pays a daily volatility more."""

    def slipped(self, trade: Trade) -> float:
        sigma, volume = trade.recent(3)
        return trade.price * (1.0 + sigma) if sigma == sigma and volume == volume else trade.price


class Broken:
    """Says nothing of use."""

    def charge(self, trade: Trade) -> float:
        return nan

    def slipped(self, trade: Trade) -> float:
        return nan


def test_a_model_of_costs_of_ones_own_is_asked_for_each_fill() -> None:
    tape = daily(QUIET, QUIET, (10.0, 12.0, 10.0, 10.0, 1000.0))
    steps = {0: lambda view: [view.order(10)], 1: lambda view: [view.order(-5, kind=OrderKind.LIMIT, limit=11.0)]}
    assert [fill.commission for fill in run(tape, steps, plain(commission=Flat())).fills] == [2.0, -1.0]


def test_a_model_of_slippage_of_ones_own_sees_no_later_than_the_session_before() -> None:
    tape = daily(flat(10), flat(11), flat(10), flat(11), flat(10))
    result = run(
        tape, {0: lambda view: [view.order(10)], 3: lambda view: [view.order(10, kind=OrderKind.LIMIT, limit=10.5)]}, plain(slippage=Recent())
    )
    assert result.fills[0].price == 11.0
    assert result.fills[1].price == 10.5


def test_a_model_that_gives_no_number_is_named() -> None:
    with pytest.raises(PluginError, match=r"cost model Broken.charge must give money, gave nan"):
        run(TEN, {0: lambda view: [view.order(10)]}, plain(commission=Broken()))
    with pytest.raises(PluginError, match=r"slippage model Broken.slipped must give a price, gave nan"):
        run(TEN, {0: lambda view: [view.order(10)]}, plain(slippage=Broken()))


PLUGIN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Twice:
    money: float = 1.0

    def charge(self, trade):
        return 2.0 * self.money

class Worse:
    def slipped(self, trade):
        return trade.price * 1.01

class Neither:
    pass
"""


def scenario(folder: Path, text: str) -> simulator.Scenario:
    (folder / "mine.py").write_text(PLUGIN)
    head = 'seed = 1\n[feed]\nkind = "flat"\n[strategy]\nname = "buy_and_hold"\n[broker]\nparticipation = inf\n'
    (folder / "case.toml").write_text(head + text)
    return load(str(folder / "case.toml"))


def test_a_scenario_names_models_by_file(tmp_path: Path) -> None:
    text = '[broker.commission]\nmodel = "mine.py:Twice"\nmoney = 3.0\n[broker.slippage]\nmodel = "mine.py:Worse"\n'
    made = scenario(tmp_path, text)
    result = run_scenario(made)
    assert (result.fills[0].commission, result.fills[0].price) == (6.0, 101.0)
    # The run's own text names them, and what is in the file.
    assert 'model = "mine.py:Twice"\nmoney = 3.0' in made.text
    assert "# SHA-256 of the file of mine.py:Worse: " in made.text
    (tmp_path / "again.toml").write_text(made.text)
    assert load(str(tmp_path / "again.toml")).text == made.text


def test_a_scenario_names_terms_of_instruments_tiers_and_levies(tmp_path: Path) -> None:
    text = """levies = [{name = "stamp", since = "1970-01-01", bps = 50.0, side = "buy"}]
[broker.commission]
minimum = 0.0
tiers = [{taker_bps = 10.0}, {volume = 1e6, taker_bps = 5.0}]
[broker.overrides.FLAT.commission]
model = "mine.py:Twice"
"""
    made = scenario(tmp_path, text)
    result = run_scenario(made)
    fill = result.fills[0]
    assert fill.commission == pytest.approx(2.0 + 0.005 * fill.quantity * fill.price)
    (tmp_path / "again.toml").write_text(made.text)
    assert load(str(tmp_path / "again.toml")).text == made.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('levies = "us"\n', "broker.levies must be a list of tables, was 'us'"),
        ("levies = [1]\n", "broker.levies[0] must be a table of name, since, bps, per_share, maximum, side, was 1"),
        ('levies = [{name = "x", since = "2020"}]\n', "broker.levies[0].since must be a day, YYYY-MM-DD, was '2020'"),
        ('levies = [{name = "x", since = "2020-01-01", bsp = 1.0}]\n', "broker.levies[0]: no such key 'bsp'; did you mean 'bps'?"),
        ('regulation = "eu"\n', "broker.regulation must be 'none' or 'us_equities', was 'eu'"),
        ("overrides = 3\n", "broker.overrides must be a table of tables, was 3"),
        ("[broker.overrides.FLAT]\nparticipation = -1.0\n", "broker.overrides.FLAT.participation must be above 0 (inf is off), was -1.0"),
        ("[broker.commission]\ntiers = [{volume = 5.0}]\n", "broker.commission.tiers must begin at volume 0 and rise, were at 5"),
        ("[broker.commission]\ntier_days = 0\n", "broker.commission.tier_days must be 1 to 366, was 0"),
        (
            '[broker.commission]\nmodel = "mine.py:Neither"\n',
            "broker.commission.model must be a cost model with a method charge(), and 'mine.py:Neither' has none",
        ),
        (
            '[broker.slippage]\nmodel = "linear"\n',
            "broker.slippage.model must be 'none', 'bps', 'half_spread', 'volume_share' or 'square_root', was 'linear'",
        ),
        (
            "[broker.slippage]\npermanent = 0.5\n",
            "broker.slippage.permanent needs the model 'square_root', which alone has an impact that lasts; the model was 'bps'",
        ),
    ],
)
def test_terms_that_make_no_sense_are_refused_by_their_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        scenario(tmp_path, text)
    assert str(refused.value).removeprefix(f"{tmp_path / 'case.toml'}: ").startswith(words)


def test_a_plain_run_takes_all_of_it_as_mappings_and_has_none_of_it_by_default() -> None:
    bars = {
        "X": {
            "date": ["2025-05-12", "2025-05-13", "2025-05-14"],
            **{name: [10.0] * 3 for name in ("open", "high", "low", "close")},
            "volume": [1e5] * 3,
        }
    }
    orders = [{"symbol": "X", "quantity": -1_000, "bar": 0}]
    free = simulator.run_orders(bars, orders, cash=1e6)
    assert [(fill.commission, fill.slippage, fill.venue) for fill in free.fills] == [(0.0, 0.0, "")]
    assert not len(free.items)
    terms: dict[str, Any] = {
        "commission": {"tiers": [{"taker_bps": 10}]},
        "regulation": "us_equities",
        "levies": [{"name": "stamp", "since": "2000-01-01", "bps": 1.0}],
        "overrides": {"X": {"slippage": {"model": "bps", "bps": 10}}},
    }
    fill = simulator.run_orders(bars, orders, cash=1e6, **terms).fills[0]
    assert fill.price == pytest.approx(9.99)
    assert fill.commission == pytest.approx(9.99 + 9.99 * 1e-3 * 27.8 + 0.166 + 0.999)
    assert simulator.run_orders(bars, orders, cash=1e6, commission=Flat(3.0)).fills[0].commission == 3.0


def test_a_broker_says_what_else_it_charges() -> None:
    broker = Simulated(commission=Flat(), slippage=NO_SLIPPAGE, regulation="us_equities", overrides={"X": Terms()})
    assert broker.words()[2:] == [
        "Commission: Flat (a plug-in).",
        "Slippage of takers: none.",
        "Fees of regulators, by dated schedules: SEC Section 31, FINRA TAF.",
        "Terms of their own have X.",
    ]
    assert tiered().words() == "by 2 tiers of 30 days' volume"
    assert not Simulated().itemises
    assert not Simulated(commission=FREE, slippage=NO_SLIPPAGE).itemises


def test_fees_count_for_what_a_cash_account_can_pay() -> None:
    levies = (Levy("stamp", "1970-01-01", bps=100.0, side="buy"),)
    account = Account(1_000.0, "cash", 1.0)
    assert not run(TEN, {0: lambda view: [view.order(100)]}, plain(levies=levies), account=account).fills
    assert run(TEN, {0: lambda view: [view.order(99)]}, plain(levies=levies), account=account).fills[0].commission == pytest.approx(9.9)


def test_a_day_is_a_day() -> None:
    assert (day_of("1970-01-02"), day_of("2020"), day_of("2020-13-01")) == (1, None, None)
    assert DAY // 10**9 == 86_400


INSTALLED = """
import simulator
days = ["2024-01-02", "2024-01-03", "2024-01-04"]
bars = {"X": {"date": days, **{name: [10.0] * 3 for name in ("open", "high", "low", "close")}}}
orders = [{"symbol": "X", "quantity": 10, "bar": 0}]
fill = simulator.run_orders(bars, orders, cash=1e6, commission={"model": "twice", "money": 3.0}, slippage={"model": "worse"}).fills[0]
print(fill.commission, fill.price)
"""


def test_an_installed_model_goes_by_its_entry_point(tmp_path: Path) -> None:
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tradewind.costs]\ntwice = theirs:Twice\n[tradewind.slippage]\nworse = theirs:Worse\n")
    (tmp_path / "theirs.py").write_text(PLUGIN)
    root = Path(simulator.__file__).parent.parent
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(root)))}
    done = subprocess.run([sys.executable, "-c", INSTALLED], capture_output=True, text=True, env=paths, check=False)
    assert done.stdout.split() == ["6.0", "10.1"], done.stderr
