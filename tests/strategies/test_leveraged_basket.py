"""The leveraged basket: on margin and through calls, at what leverage, in slices, and rolled in time."""

from __future__ import annotations

from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_markets import Script, plain

from brokers.simulated import Simulated
from simulator import Account, CallTerms, Instrument, Result, Tape, load, prove, simulate
from simulator.feeds.calls import with_calls
from simulator.feeds.synthetic import Walks
from simulator.loop import journal
from strategies.leveraged_basket import LeveragedBasket

TERMS = CallTerms(days=20, overlap=4, moneyness=0.8, window=10)
RICH = Account(1_000_000.0, "margin", 20.0)
QUICK: dict[str, Any] = {"window": 10, "every": 10, "slices": 4, "terms": TERMS, "leverage_max": 3.0}


def tape(bars: int = 90, volatility: float = 0.01, seed: int = 1, drift: float = 0.0) -> Tape:
    stocks = Walks(bars=bars, symbols=("A", "B", "C"), volatility=volatility, drift=drift, tick="0").load(seed=seed, folder=Path())
    return with_calls(stocks, TERMS, paths=500, seed=seed)


def run(on: Tape, **terms: Any) -> Result:
    return simulate(on, LeveragedBasket(**QUICK | terms), broker=plain(timing="next_close"), account=RICH, check=True)


def held(result: Result) -> np.ndarray:
    """Units of each instrument after each bar: (rows, instruments)."""
    found = np.zeros((result.rows, result.tape.width))
    for fill in result.fills:
        found[fill.bar :, result.tape.index[fill.symbol]] += fill.quantity
    return found


def plotted(result: Result, chart: str, series: str) -> np.ndarray:
    rows, values = result.plots[chart][series]
    found = np.full(result.rows, np.nan)
    found[rows] = values
    return found


# The calls.


def test_a_call_has_bars_from_its_listing_to_its_expiry_where_it_is_worth_what_it_pays() -> None:
    found = tape()
    closes = found.close[:90]
    for k, row in enumerate(TERMS.listings(90)):
        prices = closes[:, found.index[f"CALL.{k + 1:03}"]]
        last = row + TERMS.life
        assert np.flatnonzero(np.isfinite(prices)).tolist() == list(range(row, min(last, 89) + 1))
        if last < 90:
            basket = (closes[last, :3] / closes[row, :3]).mean() * 100.0
            assert prices[last] == pytest.approx(max(basket - 80.0, 0.01), abs=0.005)


def test_a_mark_is_never_below_what_the_call_is_worth_at_least() -> None:
    """At a rate above 0 the forward is worth more than what it would pay now; marks are rounded to the cent."""
    found = tape(volatility=0.03)
    closes = found.close[:90]
    for k, row in enumerate(TERMS.listings(90)):
        prices = closes[row : row + TERMS.life + 1, found.index[f"CALL.{k + 1:03}"]]
        basket = (closes[row : row + TERMS.life + 1, :3] / closes[row, :3]).mean(axis=1)[: len(prices)] * 100.0
        assert (prices >= basket - 80.0 - 0.0051).all()


def test_marks_know_nothing_of_what_comes_later() -> None:
    stocks = Walks(bars=60, symbols=("A", "B"), volatility=0.02).load(seed=3, folder=Path())
    whole, half = with_calls(stocks, TERMS, paths=100), with_calls(stocks.cut(40), TERMS, paths=100)
    for symbol in half.index:
        i, j = whole.index[symbol], half.index[symbol]
        assert whole.close[:40, i].tobytes() == half.close[:40, j].tobytes(), symbol


def test_the_basket_is_a_fund_that_holds_the_stocks_from_the_first_bar_on() -> None:
    found = tape()
    expected = 100.0 * (found.close[:90, :3] / found.close[0, :3]).mean(axis=1)
    np.testing.assert_allclose(found.close[:90, found.index["BASKET"]], expected, atol=0.0051)


# What is held.


def test_on_margin_leverage_is_the_target_over_the_basket_s_volatility() -> None:
    """Before it trades, equity is the cash; the last of four slices is filled four bars after the decision at bar 10."""
    found = tape()
    result = run(found, volatility_target=0.3)
    closes = found.close[:11, :3]
    moves = (closes[1:] / closes[:-1] - 1.0).mean(axis=1)
    leverage = min(0.3 / (moves.std(ddof=1) * sqrt(252.0)), 3.0)
    bought = held(result)[14, :3] * closes[10]
    np.testing.assert_allclose(bought, 1_000_000.0 * leverage / 3.0, rtol=1e-3)
    assert leverage > 1.0


def test_a_target_is_reached_in_equal_slices_one_a_bar() -> None:
    lots = held(run(tape(), volatility_target=0.3))[10:16, 0]
    steps = np.diff(lots)
    assert lots[0] == 0.0
    assert steps[4] == 0.0
    assert np.ptp(steps[:4]) <= 1.0


def test_calls_are_held_for_the_same_exposure_and_rolled_before_they_expire() -> None:
    found = tape(bars=120)
    result = run(found, way="calls", volatility_target=0.3)
    lots = held(result)
    calls = [found.index[f"CALL.{k + 1:03}"] for k in range(len(TERMS.listings(120)))]
    for call, row in zip(calls, TERMS.listings(120), strict=True):
        if row + TERMS.life < 120:
            assert lots[row + TERMS.overlap, call] > 0.0
            assert not lots[row + TERMS.life :, call].any()
    assert not lots[:, :4].any()
    known = plotted(result, "leverage", "held")
    steady = plotted(run(found, volatility_target=0.3), "leverage", "held")
    np.testing.assert_allclose(known[15:60], steady[15:60], rtol=0.2)


def test_a_call_that_is_held_to_its_end_is_settled_in_cash_at_what_it_pays_and_costs_nothing() -> None:
    """Ten are bought after bar 10, at the close of bar 11, and never sold."""
    found = tape(bars=70)
    call, expiry = found.index["CALL.001"], 10 + TERMS.life
    basket = (found.close[expiry, :3] / found.close[10, :3]).mean() * 100.0
    once = Script({10: lambda view: [view.order(10, "CALL.001")]})
    result = simulate(found, once, broker=Simulated(timing="next_close", participation=np.inf), account=RICH, check=True)
    (paid,) = result.fills
    assert once.seen[expiry][2][call] == 10.0
    assert once.seen[expiry + 1][2][call] == 0.0
    earned = once.seen[expiry + 1][0] - once.seen[expiry][0]
    assert earned == pytest.approx(10.0 * found.close[expiry, call], abs=1e-9)
    assert earned == pytest.approx(10.0 * (basket - 80.0), abs=0.05)
    assert result.equity[-1] == pytest.approx(1_000_000.0 - 10.0 * paid.price - paid.commission + earned)


def test_both_ways_have_a_half_each_and_are_plotted_side_by_side() -> None:
    found = tape(bars=120, drift=0.002)
    result = run(found, way="both", volatility_target=0.3)
    margin, calls = plotted(result, "sleeves", "margin"), plotted(result, "sleeves", "calls")
    assert margin[10] == calls[10] == 500_000.0
    np.testing.assert_allclose((margin + calls)[10:], result.equity[10:], rtol=1e-9)
    assert log(calls[-1] / 5e5) == pytest.approx(log(margin[-1] / 5e5), abs=0.1)


def test_leverage_is_left_alone_within_its_band() -> None:
    wide, narrow = run(tape(), band=5.0), run(tape(), band=0.0)
    assert len(wide.fills) == 0
    assert len(narrow.fills) > 50


def test_a_basket_of_given_weights_holds_no_others() -> None:
    found = tape()
    result = run(found, weights=(3.0, 1.0, 0.0), volatility_target=0.3)
    money = held(result)[14, :3] * found.close[10, :3]
    assert money[0] == pytest.approx(3.0 * money[1], rel=1e-3)
    assert money[2] == 0.0


def test_a_change_of_leverage_is_put_on_record() -> None:
    result = run(tape())
    rows = result.journal_table()
    said = [result.journal.client_ids[order] for order in rows[rows["kind"] == journal.REMARK]["order"].tolist()]
    assert said[0].startswith("leverage was 0.00 and shall be ")
    assert said[0].endswith(", in 4 slices")


@pytest.mark.parametrize("way", ["margin", "both"])
def test_it_is_proved_not_to_look_ahead(way: str, tmp_path: Path) -> None:
    path = tmp_path / "basket_small.toml"
    feed = '[feed]\nkind = "basket_calls"\npaths = 100\n[feed.terms]\ndays = 20\noverlap = 4\nwindow = 10\n[feed.underlying]\nsource = "stocks"\n'
    dates = 'start = 2010-01-04\nend = 2010-06-30\nsymbols = ["AAPL", "JPM"]\n'
    terms = f'[strategy]\nname = "leveraged_basket"\nway = "{way}"\nwindow = 10\nslices = 4\n[strategy.terms]\ndays = 20\noverlap = 4\nwindow = 10\n'
    path.write_text(f'seed = 1\n{feed}{dates}{terms}[broker]\ntiming = "next_close"\n[account]\nleverage_max = 9.0\n')
    certificate = prove(load(path), points=2)
    assert certificate.passed, certificate.words()
    assert certificate.rows > 20


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LeveragedBasket(every=0), "every must be at least 1, was 0"),
        (lambda: LeveragedBasket(volatility_target=0.0), "volatility_target must be above 0, was 0.0"),
        (lambda: LeveragedBasket(way="calls", slices=6), r"slices must be at most terms.overlap \(5\)"),
        (lambda: LeveragedBasket(weights=(0.0, 0.0)), "weights must be at least 0 and not all 0"),
        (lambda: CallTerms(days=5, overlap=5), r"terms.overlap must be below days \(5\), was 5"),
        (lambda: CallTerms(moneyness=-1.0), "terms.moneyness must be at least 0, was -1.0"),
        (lambda: CallTerms(window=2), "terms.window must be at least 3, was 2"),
        (lambda: with_calls(tape(), TERMS, weights=(1.0,)), "feed.weights must be one number of at least 0"),
        (lambda: run(tape(), weights=(1.0,)), "weights must be one for each of 3 stocks, were 1"),
        (lambda: with_calls(gappy(), TERMS), "X has none in row 3"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Any, told: str) -> None:
    with pytest.raises(Exception, match=told):
        make()


def gappy() -> Tape:
    price = np.full((30, 1), 10.0)
    price[3] = np.nan
    return Tape.of([Instrument("X")], np.arange(1, 31), price, price, price, price, price, interval=1)
