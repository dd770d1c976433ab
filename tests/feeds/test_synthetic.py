"""Made-up markets do what they say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import DataError, ScenarioError
from simulator.feeds.synthetic import Cointegrated, Flat, Jump, Markov, Trend, Walks
from simulator.market.tape import DAY, SECOND, Tape

FIELDS = ("open", "high", "low", "close", "volume")
RANDOM: list[Any] = [
    Walks(bars=300, symbols=("A", "B"), jump_chance=0.05),
    Markov(bars=300),
    Cointegrated(bars=300, pairs=("P", "Q")),
]
ALL: list[Any] = [Flat(), Trend(), Jump(), *RANDOM]


def load(feed: Any, seed: int = 1) -> Tape:
    tape = feed.load(seed=seed, folder=Path())
    assert isinstance(tape, Tape)
    return tape


def column(tape: Tape, field: str, symbol: str) -> bytes:
    return np.ascontiguousarray(getattr(tape, field)[: len(tape), tape.index[symbol]]).tobytes()


def test_a_flat_market_earns_nothing() -> None:
    tape = load(Flat(bars=10, price=50.0))
    assert all((getattr(tape, name)[:10] == 50.0).all() for name in FIELDS[:4])
    assert len(tape) == 10


def test_a_trend_earns_what_its_formula_says() -> None:
    tape = load(Trend(bars=101, growth=0.01, tick="0"))
    assert tape.close[100, 0] / tape.open[1, 0] - 1.0 == pytest.approx(1.01**99 - 1.0, rel=1e-12)
    rounded = load(Trend(bars=101, growth=0.01))
    assert np.abs(rounded.close[:101] - tape.close[:101]).max() <= 0.005 + 1e-9


def test_a_jump_happens_once_at_its_bar_and_warns_if_it_is_large() -> None:
    tape = load(Jump(bars=10, at=4, size=-0.5))
    assert tape.close[:10, 0].tolist() == [100.0] * 4 + [50.0] * 6
    assert tape.notes == ("JUMP, 2020-01-07: the close jumps by -50.0%, from 100.0 to 50.0, with no corporate action",)
    assert load(Jump()).notes == ()


@pytest.mark.parametrize("feed", ALL, ids=lambda feed: type(feed).__name__)
def test_every_bar_is_possible_and_on_the_tick(feed: Any) -> None:
    tape = load(feed)
    o, h, low, c, v = (getattr(tape, name)[: len(tape)] for name in FIELDS)
    assert (low > 0).all()
    assert (h >= np.maximum(o, c)).all()
    assert (low <= np.minimum(o, c)).all()
    assert (v >= 1).all()
    for prices in (o, h, low, c):
        assert (prices == np.round(prices, 2)).all()


@pytest.mark.parametrize("feed", RANDOM, ids=lambda feed: type(feed).__name__)
def test_a_market_is_a_function_of_its_seed(feed: Any) -> None:
    assert load(feed, 5).digest() == load(feed, 5).digest()
    assert not np.array_equal(load(feed, 5).close, load(feed, 6).close)


@pytest.mark.parametrize("feed", ALL, ids=lambda feed: type(feed).__name__)
def test_a_longer_market_begins_as_the_shorter_one_does(feed: Any) -> None:
    short, long = load(replace(feed, bars=200)), load(replace(feed, bars=260))
    assert all(np.array_equal(getattr(short, name)[:200], getattr(long, name)[:200]) for name in (*FIELDS, "closed_at"))


@pytest.mark.parametrize("feed", [RANDOM[0], replace(RANDOM[0], tick="0")], ids=["on the tick", "no grid"])
def test_one_more_walk_disturbs_no_other(feed: Walks) -> None:
    two, three = load(feed), load(replace(feed, symbols=("C", "B", "A")))
    assert all(column(two, field, symbol) == column(three, field, symbol) for field in FIELDS for symbol in "AB")


def test_one_more_pair_disturbs_no_other() -> None:
    one, two = load(Cointegrated(pairs=("P",))), load(Cointegrated(pairs=("Q", "P")))
    assert all(column(one, field, symbol) == column(two, field, symbol) for field in FIELDS for symbol in ("P.A", "P.B"))


def test_walks_have_the_moments_that_they_were_given() -> None:
    feed = Walks(bars=40_000, symbols=("A", "B"), price=1000.0, drift=0.0, volatility=0.01, correlation=0.6, tick="0")
    tape = load(feed)
    logs = np.log(tape.close[: len(tape)])
    moves = np.diff(logs, axis=0)
    error = 4 / np.sqrt(len(moves))
    assert np.abs(moves.mean(axis=0)).max() < 0.01 * error
    assert np.abs(moves.std(axis=0) / 0.01 - 1.0).max() < error
    assert abs(float(np.corrcoef(moves.T)[0, 1]) - 0.6) < error
    gaps = np.log(tape.open[1 : len(tape)]) - logs[:-1]
    assert np.abs(gaps.var(axis=0) / 0.01**2 - 0.25).max() < error
    assert np.abs(tape.volume[: len(tape)].mean(axis=0) / 1_000_000 - 1.0).max() < error


def test_the_range_of_a_walk_is_that_of_brownian_motion() -> None:
    """By the reflection principle, how far it rises above its start has the distribution of abs(normal): its mean square is the variance."""
    tape = load(Walks(bars=40_000, drift=0.0, overnight=0.0, price=1000.0, tick="0"))
    up = np.log(tape.high[: len(tape), 0] / tape.open[: len(tape), 0])
    assert float((up**2).mean()) == pytest.approx(0.01**2, rel=0.04)


def test_jumps_come_as_often_and_as_large_as_they_were_given() -> None:
    calm = load(Walks(bars=20_000, volatility=0.0, drift=0.0, jump_chance=0.1, jump_size=0.02, tick="0"))
    moves = np.diff(np.log(calm.close[: len(calm), 0]))
    jumped = moves[np.abs(moves) > 1e-12]
    assert len(jumped) / len(moves) == pytest.approx(0.1, abs=0.01)
    assert float(jumped.std()) == pytest.approx(0.02, rel=0.08)


def test_the_true_regimes_of_a_markov_market_can_be_had() -> None:
    feed = Markov(bars=30_000, price=1000.0, tick="0")
    states = feed.states(1)
    moves = np.diff(np.log(load(feed).close[:30_000, 0]), prepend=np.log(1000.0))
    assert set(states.tolist()) == {0, 1}
    assert float(moves[states == 0].std()) == pytest.approx(0.02, rel=0.05)
    assert float(moves[states == 1].std()) == pytest.approx(0.007, rel=0.05)
    assert float(moves[states == 1].mean()) > 0 > float(moves[states == 0].mean())
    stays = [float((states[1:] == k)[states[:-1] == k].mean()) for k in (0, 1)]
    assert stays == pytest.approx([0.95, 0.98], abs=0.01)


def test_the_spread_of_a_pair_comes_back_with_its_half_life() -> None:
    feed = Cointegrated(bars=40_000, beta=1.5, spread=0.03, half_life=10.0, volatility=0.002, price=1000.0, tick="0")
    tape = load(feed)
    a, b = (np.log(tape.close[: len(tape), k] / 1000.0) for k in (0, 1))
    spread = a - 1.5 * b
    assert float(spread.std()) == pytest.approx(0.03, rel=0.06)
    assert float(np.corrcoef(spread[10:], spread[:-10])[0, 1]) == pytest.approx(0.5, abs=0.04)
    assert [x.symbol for x in tape.instruments] == ["PAIR.A", "PAIR.B"]


def test_daily_bars_are_business_days() -> None:
    tape = load(Flat(bars=4, start=date(2020, 1, 3)))
    assert tape.sessions[:4].astype("datetime64[D]").astype(str).tolist() == ["2020-01-03", "2020-01-06", "2020-01-07", "2020-01-08"]


def test_shorter_bars_run_round_the_clock() -> None:
    tape = load(Walks(bars=300, interval="5m"))
    assert (np.diff(tape.closed_at[:300]) == 300 * SECOND).all()
    assert tape.opened_at[0] == int(np.datetime64("2020-01-01", "D").astype(np.int64)) * DAY
    assert tape.sessions[287:289].tolist() == [tape.sessions[0], tape.sessions[0] + 1]


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        (Flat(bars=0), "feed.bars must be from 1 to 100 million, was 0"),
        (Flat(price=0.0), "feed.price must be a number above 0, was 0.0"),
        (Flat(volume=float("nan")), "feed.volume must be a number above 0, was nan"),
        (Flat(interval="2d"), "feed.interval must be '1d' or shorter, was '2d'"),
        (Flat(interval="daily"), "feed.interval must be a whole number of s, m, h or d"),
        (Flat(tick="a cent"), "tick must be a decimal string such as '0.01', was 'a cent'"),
        (Trend(growth=-1.0), "feed.growth must be above -1, since a price stays above 0, was -1.0"),
        (Trend(growth=10.0, bars=1000), "feed.growth of 10.0 over 1000 bars is more than a number can hold"),
        (Jump(size=-1.0), "feed.size must be above -1, since a price stays above 0, was -1.0"),
        (Jump(at=252), "feed.at must be a bar from 1 to 251, was 252"),
        (Walks(correlation=1.5), "feed.correlation must be from 0.0 to 1.0, was 1.5"),
        (Walks(symbols=("A", "A")), "feed.symbols must be different and at least one, was ['A', 'A']"),
        (Walks(symbols=()), "feed.symbols must be different and at least one, was []"),
        (Markov(bull_stay=1.0), "feed.bull_stay must be in (0, 1), was 1.0"),
        (Markov(bear_drift=0.1), "feed.bear_drift must be below feed.bull_drift, was 0.1 and 0.0008"),
        (Cointegrated(half_life=0.0), "feed.half_life must be a number above 0, was 0.0"),
        (Cointegrated(pairs=()), "feed.pairs must be different and at least one, was []"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named_by_its_key(feed: Any, message: str) -> None:
    with pytest.raises((ScenarioError, DataError)) as refused:
        load(feed)
    assert message in str(refused.value)
