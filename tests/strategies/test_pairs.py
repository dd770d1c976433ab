"""Pairs: what is screened, when a spread is opened and closed, how its legs are sized, and that it only knows the past."""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_markets import plain

from simulator import DAY, Account, Instrument, Limits, Proposal, Result, Scenario, Tape, View, load, prove, simulate
from simulator.feeds.synthetic import Cointegrated, Walks
from simulator.loop import journal
from strategies.pairs import Pairs, Spread

FREE = Account(100_000.0, "margin", 10.0)
QUICK: dict[str, Any] = {"formation": 120, "rescreen": 60, "window": 30, "half_life_min": 1.0, "most": 4}


class Watching(Pairs):
    """Pairs that were screened already: one spread, log A - 0.5 log B, around 0 with a deviation of 0.1 and a half-life of 4 bars."""

    def on_bars(self, view: View) -> Proposal:
        if not view.row:
            self.spreads = [Spread((0, 1), np.array([1.0, -0.5]), 0.0, 0.1, 4.0)]
        return super().on_bars(view)


def spread_tape(*scores: float | None, volume: float = np.inf) -> Tape:
    """B stays at 1; the log of A is 0.1 x score. None: A has no bar."""
    a = [np.nan if score is None else exp(0.1 * score) for score in scores]
    close = np.column_stack([a, np.where(np.isnan(a), 1.0, 1.0)])
    volumes = np.where(np.isnan(close), np.nan, volume)
    instruments = [Instrument("A", tick="0"), Instrument("B", tick="0")]
    return Tape.of(instruments, (np.arange(len(close)) + 1) * DAY, close, close, close, close, volumes, interval=DAY)


def watch(*scores: float | None, volume: float = np.inf, broker: Any = None, limits: Limits | None = None, **terms: Any) -> Result:
    strategy = Watching(**{"formation": 10_000, "most": 1, "invest": 0.3} | terms)
    return simulate(spread_tape(*scores, volume=volume), strategy, broker=broker or plain(), account=FREE, limits=limits, check=True)


def trades(result: Result) -> list[tuple[str, int, float]]:
    return [(fill.symbol, fill.bar, fill.quantity) for fill in result.fills]


def words(result: Result) -> list[str]:
    rows = result.journal_table()
    return [result.journal.client_ids[order] for order in rows[rows["kind"] == journal.REMARK]["order"].tolist()]


def test_a_spread_that_fell_far_is_bought_by_its_hedge_ratio_and_sold_when_it_is_back() -> None:
    """30,000 in all: two thirds of it in A at exp(-0.2), one third short in B."""
    result = watch(0.0, -2.0, -1.0, 0.0, 0.0)
    lots = int(20_000 / exp(-0.2))
    assert trades(result) == [("B", 2, -10_000), ("A", 2, lots), ("A", 4, -lots), ("B", 4, 10_000)]
    assert words(result)[0].startswith("buys A/B (+1.000, -0.500) at a score of -2.00, half-life 4.0 bars")
    assert words(result)[1] == "closes A/B at a score of +0.00: it is back"


def test_a_spread_that_rose_far_is_sold_short() -> None:
    result = watch(0.0, 2.5, 2.5)
    assert [(symbol, np.sign(quantity)) for symbol, _, quantity in trades(result)] == [("A", -1.0), ("B", 1.0)]


def test_a_spread_beyond_its_stop_is_closed_and_left_alone_until_it_was_near_its_mean() -> None:
    result = watch(0.0, 2.0, 3.0, 4.0, 3.0, 2.5, 0.9, 2.0, 2.0)
    assert [(bar, np.sign(quantity)) for symbol, bar, quantity in trades(result) if symbol == "A"] == [(2, -1.0), (4, 1.0), (8, -1.0)]
    assert words(result)[1] == "closes A/B at a score of +4.00: it went on: stopped"


def test_a_spread_is_closed_after_its_half_lives() -> None:
    result = watch(*[2.0] * 20, patience=2.0)
    assert [bar for symbol, bar, _ in trades(result) if symbol == "A"] == [1, 9]
    assert words(result)[1] == "closes A/B at a score of +2.00: it took longer than 2 half-lives"


def test_a_score_beyond_the_stop_opens_nothing() -> None:
    assert not trades(watch(0.0, 5.0, 5.0))


def test_a_rolling_score_is_of_the_last_window() -> None:
    """Around its own mean of 10 deviations the last value is the only one that stands out."""
    result = watch(10.0, 10.1, 9.9, 10.0, 10.0, 13.0, 13.0, signal="zscore", window=6)
    assert [(symbol, bar) for symbol, bar, _ in trades(result)] == [("A", 6), ("B", 6)]


def test_a_leg_that_waits_is_put_on_record_and_the_other_closed_after_a_while() -> None:
    """A has no bars after its order is sent: B is filled alone."""
    result = watch(0.0, -2.0, None, None, None, -2.0, -2.0, -2.0, uneven_max=3)
    said = words(result)
    assert "one leg alone: A/B still lacks +24428 lots of A at 0.818731" in said
    assert any("one leg stood alone for 3 bars" in word for word in said)
    assert result.positions == {}


def test_a_leg_that_risk_refuses_is_asked_for_again_and_then_given_up() -> None:
    result = watch(0.0, *[-2.0] * 8, limits=Limits(name_max=0.15), uneven_max=2)
    assert {order.symbol for order in result.orders if order.state == "rejected"} == {"A"}
    assert any("one leg alone" in word for word in words(result))
    assert result.positions == {}


def test_fills_in_parts_are_waited_for() -> None:
    result = watch(0.0, *[-2.0] * 6, volume=9_000.0, broker=plain(participation=1.0), uneven_max=9)
    assert sum(quantity for symbol, _, quantity in trades(result) if symbol == "A") == int(20_000 / exp(-0.2))
    assert len([order for order in result.orders if order.symbol == "A"]) == 1


def test_a_leg_of_less_than_a_lot_is_left_alone() -> None:
    result = watch(0.0, -2.0, -2.0, invest=1e-5)
    assert not trades(result)
    assert words(result) == ["leaves A/B alone: a leg of it is less than a lot"]


@pytest.mark.parametrize("interval", ["1d", "5m"])
def test_many_cointegrated_pairs_are_found_and_earn_on_daily_and_on_intraday_bars(interval: str) -> None:
    feed = Cointegrated(bars=420, pairs=("X", "Y", "Z"), half_life=4.0, spread=0.03, volatility=0.02, interval=interval)
    result = simulate(feed.load(seed=2, folder=Path()), Pairs(**QUICK | {"formation": 240, "level": 0.01}), broker=plain(), account=FREE, check=True)
    said = words(result)
    opened = {word.split()[1] for word in said if word.startswith(("buys", "sells"))}
    assert {frozenset(name.split("/")) for name in opened} == {frozenset((f"{pair}.A", f"{pair}.B")) for pair in "XYZ"}
    assert said[0].startswith("screening: of 15 groups 2 pass")
    assert result.equity[-1] > 1.05 * FREE.cash


def test_baskets_of_three_are_traded_with_johansens_weights() -> None:
    """C is half of A and half of B and a spread."""
    feed = Cointegrated(bars=420, pairs=("X",), half_life=4.0, spread=0.05).load(seed=3, folder=Path())
    walk = Walks(bars=420, symbols=("W",), volatility=0.01, correlation=0.0).load(seed=3, folder=Path())
    close = np.column_stack([np.sqrt(feed.close[:420, 0] * walk.close[:420, 0]), feed.close[:420, 1], walk.close[:420, 0]])
    tape = Tape.of([Instrument(x, tick="0") for x in "CAB"], feed.closed_at[:420], close, close, close, close, interval=DAY)
    result = simulate(tape, Pairs(**QUICK | {"legs": 3, "most": 1, "formation": 160}), broker=plain(), account=FREE, check=True)
    assert result.equity[-1] > 1.01 * FREE.cash
    first = next(fill.bar for fill in result.fills)
    assert {fill.symbol for fill in result.fills if fill.bar == first} == {"A", "B", "C"}


def test_random_walks_give_little_to_trade() -> None:
    tape = Walks(bars=420, symbols=tuple("ABCDEF"), correlation=0.0).load(seed=5, folder=Path())
    controlled = simulate(tape, Pairs(**QUICK), broker=plain(), account=FREE)
    free = simulate(tape, Pairs(**QUICK | {"control": "none", "level": 0.2}), broker=plain(), account=FREE)
    assert len(controlled.fills) < len(free.fills)


def test_what_is_long_of_both_legs_is_no_spread() -> None:
    """A and 1 / B belong together: the founding document's own pair had such a hedge ratio."""
    pair = Cointegrated(bars=420, pairs=("X",), half_life=4.0, volatility=0.02).load(seed=3, folder=Path())
    close = np.column_stack([pair.close[:420, 0], 10_000.0 / pair.close[:420, 1]])
    tape = Tape.of([Instrument(x, tick="0") for x in "AB"], pair.closed_at[:420], close, close, close, close, interval=DAY)
    result = simulate(tape, Pairs(**QUICK | {"formation": 240}), broker=plain(), account=FREE)
    assert not result.fills
    assert words(result)[0].startswith("screening: of 1 groups 1 pass and 0 have two sides")


def scenario(folder: Path, strategy: str) -> Scenario:
    path = folder / "pairs_small.toml"
    feed = 'kind = "cointegrated"\nbars = 260\npairs = ["X", "Y"]\nhalf_life = 5.0'
    path.write_text(f"seed = 2\n[feed]\n{feed}\n[strategy]\n{strategy}\n[account]\nleverage_max = 10.0\n")
    return load(path)


def test_it_is_proved_not_to_look_ahead(tmp_path: Path) -> None:
    small = scenario(tmp_path, 'name = "pairs"\nformation = 120\nrescreen = 60\nwindow = 30\nhalf_life_min = 1.0')
    certificate = prove(small, points=3)
    assert certificate.passed, certificate.words()
    assert certificate.rows > 10


TOY = '''
from dataclasses import dataclass
import numpy as np

@dataclass
class Toy:
    """The founding document's way: a regression and a z-score over the whole sample."""

    def on_bars(self, view):
        tape = view.bars.tape
        a, b = np.log(tape.close[: len(tape), 0]), np.log(tape.close[: len(tape), 1])
        slope, level = np.polyfit(b, a, 1)
        spread = a - slope * b - level
        z = spread[view.row] / spread.std()
        return view.rebalance(np.array([0.5, -0.5 * slope, 0.0, 0.0]) * (-np.sign(z) if abs(z) > 1.0 else 0.0))
'''


def test_the_founding_documents_way_is_caught(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    assert not prove(scenario(tmp_path, 'name = "toy.py:Toy"'), points=2).passed


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({"legs": 1}, "legs must be at least 2, was 1"),
        ({"formation": 30}, "formation must be at least 60 for 2 legs and a window of 60, was 30"),
        ({"level": 1.0}, r"level must be in \(0, 1\), was 1.0"),
        ({"stop": 1.5}, "exit, entry and stop must rise"),
        ({"patience": 0.0}, "patience must be above 0, was 0.0"),
        ({"half_life_max": 1.0}, r"half_life_max must be above half_life_min \(2.0\), was 1.0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(terms: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Pairs(**terms)
