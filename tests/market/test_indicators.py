"""Indicators: what each one means, how they combine, and that it does not matter how a tape came about."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import isnan, nan
from threading import Barrier

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import PluginError, ScenarioError, ViewError
from simulator.kernels import folds
from simulator.market.indicators import (
    Indicator,
    Readings,
    atr,
    beta,
    bollinger,
    correlation,
    correlation_change,
    ema,
    field_of,
    flight_to_quality,
    last,
    macd,
    macd_histogram,
    macd_signal,
    momentum_acceleration,
    momentum_score,
    overnight_gap,
    range_zscore,
    realised_volatility,
    returns,
    risk_sentiment,
    rolling_max,
    rolling_min,
    rolling_quantile,
    rolling_skewness,
    rsi,
    sma,
    std,
    volatility_persistence,
    volatility_ratio,
    volatility_to,
    volume_zscore,
    vwap_deviation,
    zscore,
)
from simulator.market.instruments import Instrument
from simulator.market.tape import SECOND, Tape

FloatArray = npt.NDArray[np.float64]

FINITE = {
    "last": last("high"),
    "sma": sma(5),
    "std": std(4),
    "zscore": zscore(4, "volume"),
    "returns": returns(3),
    "momentum": momentum_score(4, 0.5),
    "squares": momentum_score(3, 2.0),
    "bollinger": bollinger(4),
    "max": rolling_max(4, "high"),
    "min": rolling_min(3, "low"),
    "correlation": correlation(4, "A"),
    "beta": beta(3, "A"),
    "vwap": vwap_deviation(3),
    "gap": overnight_gap(),
    "range": range_zscore(4),
    "skewness": rolling_skewness(4),
    "quantile": rolling_quantile(5, 0.3),
    "flight": flight_to_quality("A", 4, 0.6),
    "volatility": realised_volatility(3),
    "persistence": volatility_persistence(3, 2, centred=True),
    "volatilities": volatility_to(3, "A"),
    "acceleration": momentum_acceleration(2, 4),
    "breakdown": correlation_change(3, "A", 4),
    "nested": sma(3, correlation(3, "A")) - 2.0 * last() / sma(5),
}
RECURSIVE = {
    "ema": ema(4),
    "rsi": rsi(3),
    "atr": atr(3),
    "macd": macd(2, 4),
    "signal": macd_signal(2, 4, 3),
    "histogram": macd_histogram(2, 4, 3),
}
ALL = FINITE | RECURSIVE


def empty(width: int, capacity: int = 4) -> Tape:
    return Tape([Instrument(symbol) for symbol in "ABC"[:width]], SECOND, capacity)


def fill(tape: Tape, bars: FloatArray) -> None:
    """Append bars: (rows, 5 fields, instruments)."""
    for bar in bars:
        tape.append((tape.rows + 1) * SECOND, *bar)


def whole(bars: FloatArray) -> Tape:
    tape = empty(bars.shape[2], capacity=max(len(bars), 1))
    fill(tape, bars)
    return tape


def read(tape: Tape, **indicators: Indicator) -> Readings:
    readings = Readings(tape, indicators)
    readings.catch_up()
    return readings


def walk(rows: int = 300, width: int = 1, seed: int = 5, missing: float = 0.0) -> FloatArray:
    """Bars of random walks: (rows, 5 fields, instruments)."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(0.02 * rng.standard_normal((rows, width)), axis=0))
    opens = close * np.exp(0.01 * rng.standard_normal(close.shape))
    high = np.maximum(opens, close) * (1.0 + 0.01 * rng.random(close.shape))
    low = np.minimum(opens, close) * (1.0 - 0.01 * rng.random(close.shape))
    bars = np.stack([opens, high, low, close, rng.integers(0, 5, close.shape) * 100.0], axis=1)
    gone = rng.random((rows, width)) < missing
    bars[np.broadcast_to(gone[:, None, :], bars.shape)] = nan
    return bars


def of_closes(*closes: float, volume: float = 100.0) -> Tape:
    """One instrument whose prices are all its close."""
    bars = np.array([[[x]] * 4 + [[nan if isnan(x) else volume]] for x in closes])
    return whole(bars)


def values(indicator: Indicator, tape: Tape, instrument: int = 0) -> list[float]:
    return [float(x) for x in read(tape, x=indicator).column("x")[:, instrument]]


# How a tape came about does not matter.


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 3),
    rows=st.integers(1, 40),
    missing=st.sampled_from([0.0, 0.2, 0.6]),
    cuts=st.lists(st.integers(0, 40), max_size=5),
)
def test_a_whole_tape_and_one_bar_at_a_time_and_chunks_give_the_same_bytes(seed: int, width: int, rows: int, missing: float, cuts: list[int]) -> None:
    bars = walk(rows, width, seed, missing)
    at_once = read(whole(bars), **ALL)
    for stops in (list(range(rows)), sorted(min(cut, rows) for cut in cuts)):
        tape = empty(width)
        readings = Readings(tape, ALL)
        for first, end in zip([0, *stops], [*stops, rows], strict=True):
            fill(tape, bars[first:end])
            readings.catch_up()
        for name in ALL:
            assert readings.column(name).tobytes() == at_once.column(name).tobytes(), name
            assert readings.ages(name).tobytes() == at_once.ages(name).tobytes(), name
        assert readings.first_warm() == at_once.first_warm()


def test_threads_that_know_the_same_reckon_each_expression_once() -> None:
    """A fold that was run twice, or by two at a time, would have gone on from its own end: no byte would be as of one thread."""
    tape = whole(walk(4_000, 2, missing=0.1))
    alone, names, together = read(tape, **ALL), list(ALL), Barrier(4)
    for turn in range(5):
        known = Readings(tape, {})

        def work(k: int, known: Readings = known, turn: int = turn) -> Readings:
            mine = names[(turn + k) % len(names) :] + names[: (turn + k) % len(names)]
            together.wait(10.0)
            readings = Readings(tape, {name: ALL[name] for name in mine[:: (-1) ** k]}, known)
            readings.catch_up()
            return readings

        with ThreadPoolExecutor(4) as pool:
            several = list(pool.map(work, range(4)))
        for name in names:
            assert several[0].column(name).tobytes() == alone.column(name).tobytes(), name
            assert all(np.shares_memory(other.column(name), several[0].column(name)) for other in several), name


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), missing=st.sampled_from([0.0, 0.3]), later=st.integers(1, 40))
def test_finite_windows_do_not_depend_on_where_history_began(seed: int, missing: float, later: int) -> None:
    bars = walk(60, 2, seed, missing)
    full, late = read(whole(bars), **FINITE), read(whole(bars[later:]), **FINITE)
    for name in FINITE:
        mine, known = full.column(name)[later:], ~np.isnan(late.column(name))
        assert np.array_equal(mine[known], late.column(name)[known]), name


def test_what_an_exponential_mean_remembers_of_its_start_fades_as_stated() -> None:
    bars = walk(200)
    full, late = values(ema(10), whole(bars)), values(ema(10), whole(bars[50:]))
    assert abs(full[-1] - late[-1]) <= (1.0 - 2.0 / 11.0) ** 149 * abs(full[50] - bars[50, 3, 0]) + 1e-12


def test_readings_see_no_further_than_the_tape() -> None:
    bars = walk(50, 2)
    assert read(whole(bars[:30]), **ALL).column("signal").tobytes() == read(whole(bars), **ALL).column("signal")[:30].tobytes()


# What each one means.


def series(bars: FloatArray, field: int = 3) -> pd.Series[float]:
    return pd.Series(bars[:, field, 0])


def score(s: pd.Series[float], window: int, ddof: int = 1) -> pd.Series[float]:
    return (s - s.rolling(window).mean()) / s.rolling(window).std(ddof=ddof)


def expected_vwap(bars: FloatArray) -> pd.Series[float]:
    typical, volume = pd.Series(bars[:, 1:4, 0].sum(axis=1) / 3.0), series(bars, 4)
    vwap = (typical * volume).rolling(20).sum() / volume.rolling(20).sum()
    return (series(bars) - vwap) / vwap


def expected_momentum(bars: FloatArray, gamma: float) -> pd.Series[float]:
    r = series(bars).pct_change()
    return (r.abs() ** gamma).where(r > 0.0, -(r.abs() ** gamma)).rolling(10).mean()


def expected_macd(bars: FloatArray) -> pd.Series[float]:
    s = series(bars)
    return s.ewm(span=12, adjust=False, min_periods=12).mean() - s.ewm(span=26, adjust=False, min_periods=26).mean()


def expected_signal(bars: FloatArray) -> pd.Series[float]:
    line = expected_macd(bars)
    return line.dropna().ewm(span=9, adjust=False, min_periods=9).mean().reindex(line.index)


def expected_volatility(bars: FloatArray, window: int) -> pd.Series[float]:
    squares: pd.Series[float] = series(bars).pct_change() ** 2
    return (252.0 * squares.rolling(window).mean()) ** 0.5


ORACLES: dict[str, tuple[Indicator, Callable[[FloatArray], object]]] = {
    "sma": (sma(20), lambda b: series(b).rolling(20).mean()),
    "ema": (ema(20), lambda b: series(b).ewm(span=20, adjust=False, min_periods=20).mean()),
    "std": (std(20), lambda b: series(b).rolling(20).std()),
    "zscore": (zscore(20), lambda b: score(series(b), 20)),
    "returns": (returns(5), lambda b: series(b).pct_change(5)),
    "momentum, gamma 0.5": (momentum_score(10, 0.5), lambda b: expected_momentum(b, 0.5)),
    "momentum, gamma 1": (momentum_score(10), lambda b: expected_momentum(b, 1.0)),
    "momentum, gamma 2": (momentum_score(10, 2), lambda b: expected_momentum(b, 2.0)),
    "rsi": (rsi(14), lambda b: talib.RSI(b[:, 3, 0].copy(), 14)),
    "atr": (atr(14), lambda b: talib.ATR(b[:, 1, 0].copy(), b[:, 2, 0].copy(), b[:, 3, 0].copy(), 14)),
    "bollinger": (bollinger(20, 1.5), lambda b: score(series(b), 20) / 1.5),
    "macd": (macd(), expected_macd),
    "macd signal": (macd_signal(), expected_signal),
    "macd histogram": (macd_histogram(), lambda b: expected_macd(b) - expected_signal(b)),
    "rolling max": (rolling_max(10, "high"), lambda b: series(b, 1).rolling(10).max()),
    "rolling min": (rolling_min(10, "low"), lambda b: series(b, 2).rolling(10).min()),
    "volume z-score": (volume_zscore(20), lambda b: score(series(b, 4), 20)),
    "vwap deviation": (vwap_deviation(20), expected_vwap),
    "overnight gap": (overnight_gap(), lambda b: series(b, 0) / series(b).shift(1) - 1.0),
    "rolling skewness": (rolling_skewness(20, returns()), lambda b: series(b).pct_change().rolling(20).skew()),
    "rolling quantile": (rolling_quantile(20, 0.8), lambda b: series(b).rolling(20).quantile(0.8)),
    "rolling median": (rolling_quantile(7, 0.5), lambda b: series(b).rolling(7).median()),
    "realised volatility": (realised_volatility(20), lambda b: expected_volatility(b, 20)),
    "its centred form": (realised_volatility(20, centred=True), lambda b: series(b).pct_change().rolling(20).std() * 252.0**0.5),
    "volatility ratio": (volatility_ratio(), lambda b: expected_volatility(b, 5) / expected_volatility(b, 20)),
    "volatility persistence": (volatility_persistence(), lambda b: expected_volatility(b, 5).rolling(5).mean()),
    "momentum acceleration": (momentum_acceleration(), lambda b: series(b).pct_change(5) / 5.0 - series(b).pct_change(20) / 20.0),
    "range z-score": (range_zscore(20), lambda b: score((series(b, 1) - series(b, 2)) / series(b), 20)),
}


@pytest.mark.parametrize("name", ORACLES)
def test_it_agrees_with_pandas_or_talib(name: str) -> None:
    indicator, oracle = ORACLES[name]
    bars = walk(400)
    np.testing.assert_allclose(values(indicator, whole(bars)), np.asarray(oracle(bars)), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ORACLES)
def test_missing_bars_are_as_if_they_had_not_been(name: str) -> None:
    indicator, _ = ORACLES[name]
    bars = walk(200, missing=0.3)
    there = ~np.isnan(bars[:, 3, 0])
    assert np.array_equal(read(whole(bars), x=indicator).column("x")[there], read(whole(bars[there]), x=indicator).column("x"), equal_nan=True)


def test_correlation_and_beta_are_of_returns_between_the_instants_at_which_both_have_bars() -> None:
    bars = walk(300, width=2, missing=0.2)
    both = pd.DataFrame(bars[:, 3, :]).dropna().pct_change()
    readings = read(whole(bars), c=correlation(20, "A"), b=beta(20, "A"))
    with_other = both[1].rolling(20).corr(both[0])
    slope = both[1].rolling(20).cov(both[0]) / both[0].rolling(20).var()
    np.testing.assert_allclose(readings.column("c")[both.index, 1], with_other, rtol=1e-9)
    np.testing.assert_allclose(readings.column("b")[both.index, 1], slope, rtol=1e-9)


def test_what_looks_at_another_asset_agrees_with_pandas() -> None:
    """B beside A and C: an equity beside a bond and a measure of fear."""
    bars = walk(300, width=3)
    moves = pd.DataFrame(bars[:, 3, :]).pct_change()
    related = moves[1].rolling(20).corr(moves[0])
    wild = moves.pow(2).rolling(20).mean().pow(0.5)
    bound = moves[0].rolling(60).quantile(0.8).shift(1)
    expected = {
        "change": (correlation_change(20, "A", 30), related - related.rolling(30).mean()),
        "ratio": (volatility_to(20, "A"), wild[1] / wild[0]),
        "sentiment": (risk_sentiment("C", "A"), moves[0] - moves[2]),
        "flight": (flight_to_quality("A", 60), ((moves[0] > bound) & (moves[1] < 0.0)).astype(float).where(bound.notna())),
    }
    readings = read(whole(bars), **{name: indicator for name, (indicator, _) in expected.items()})
    for name, (_, oracle) in expected.items():
        np.testing.assert_allclose(readings.column(name)[:, 1], oracle, rtol=1e-9, atol=1e-10, err_msg=name)
    assert 0.0 < np.nanmean(readings.column("flight")[:, 1]) < 0.2


def test_a_flight_is_judged_by_what_was_known_before_it() -> None:
    """The founding text took the quantile of the whole sample, in which a later rise decides what a large one was."""
    bars = walk(200, width=2)
    later = bars.copy()
    later[150:, 1:4] *= 3.0
    known = [read(whole(x), f=flight_to_quality("A", 40)).column("f")[:150] for x in (bars, later)]
    assert known[0].tobytes() == known[1].tobytes()


def test_the_field_of_another_is_the_same_for_all() -> None:
    bars = walk(20, 2)
    readings = read(whole(bars), a=field_of("A", "high"), r=returns(1, field_of("A")))
    assert np.array_equal(readings.column("a"), np.repeat(bars[:, 1, :1], 2, axis=1))
    assert np.array_equal(readings.column("r")[:, 1], readings.column("r")[:, 0], equal_nan=True)


def test_an_instrument_correlates_perfectly_with_itself() -> None:
    readings = read(whole(walk(60, 2)), c=correlation(10, "A"), b=beta(10, "A"))
    assert readings.column("c")[-1, 0] == pytest.approx(1.0, abs=1e-15)
    assert readings.column("c").max(initial=-1.0, where=~np.isnan(readings.column("c"))) <= 1.0
    assert readings.column("b")[-1, 0] == 1.0


def test_what_is_built_on_two_series_advances_only_where_both_have_bars() -> None:
    bars = walk(12, 2)
    bars[8, :, 0] = nan
    readings = read(whole(bars), c=sma(3, correlation(3, "A")))
    assert readings.column("c")[8, 1] == readings.column("c")[7, 1]
    assert readings.ages("c")[7:10, 1].tolist() == [0, 1, 0]


def test_wilders_means_begin_with_a_plain_mean() -> None:
    """Gains 1, 0, 2 and losses 0, 1, 0 with a period of 2: (1 + 0) / 2, then (0.5 + 2) / 2."""
    assert values(rsi(2), of_closes(10.0, 11.0, 10.0, 12.0)) == pytest.approx([nan, nan, 50.0, 100.0 * 1.25 / 1.5], nan_ok=True)


def test_a_momentum_score_keeps_the_sign_of_a_move() -> None:
    assert values(momentum_score(1, 0.5), of_closes(1.0, 1.25, 0.9375))[1:] == [0.5, -0.5]
    assert values(momentum_score(1, 2.0), of_closes(1.0, 1.25, 0.9375))[1:] == [0.0625, -0.0625]


# Edges.


def test_a_series_that_never_moves_has_no_spread_and_no_strength() -> None:
    readings = read(of_closes(*[0.1] * 30), m=sma(7), s=std(7), z=zscore(7), r=rsi(7), a=atr(7), c=correlation(7, "A"), b=beta(7, "A"))
    assert {name: float(readings.column(name)[-1, 0]) for name in "msra"} == {"m": 0.1, "s": 0.0, "r": 50.0, "a": 0.0}
    assert all(isnan(readings.column(name)[-1, 0]) for name in "zcb")


def test_a_series_that_never_moves_has_no_skewness_and_one_quantile() -> None:
    readings = read(of_closes(*[0.1] * 9), s=rolling_skewness(5), q=rolling_quantile(5, 0.9), v=realised_volatility(5))
    assert [float(readings.column(name)[-1, 0]) for name in "qv"] == [0.1, 0.0]
    assert isnan(readings.column("s")[-1, 0])


def test_a_window_of_one_bar_is_the_bar() -> None:
    tape = of_closes(1.0, 4.0, 2.0)
    for indicator in (sma(1), ema(1), rolling_max(1), rolling_min(1), last()):
        assert values(indicator, tape) == [1.0, 4.0, 2.0]
    assert values(rsi(1), tape)[1:] == [100.0, 0.0]
    assert values(atr(1), tape)[1:] == [3.0, 2.0]


@pytest.mark.parametrize("volume", [0.0, np.inf], ids=["zero", "unknown"])
def test_volume_that_is_zero_or_unknown_gives_nan(volume: float) -> None:
    tape = of_closes(*range(1, 20), volume=volume)
    readings = read(tape, d=vwap_deviation(5), z=volume_zscore(5), r=sma(3) / last("volume"))
    assert np.isnan(readings.column("d")).all()
    assert np.isnan(readings.column("z")).all()


def test_trading_that_resumes_after_bars_without_volume_leaves_no_residue() -> None:
    bars = walk(20)
    bars[:, 4] = 0.0
    bars[3:5, 4], bars[15, 4] = 0.1, 0.3
    deviation = values(vwap_deviation(3), whole(bars))
    typical = bars[15, 1:4, 0].sum() / 3.0
    assert all(isnan(x) for x in deviation[7:15])
    assert deviation[17] == pytest.approx(bars[17, 3, 0] / typical - 1.0, rel=1e-12)


def test_an_extreme_is_forgotten_when_it_leaves_the_window() -> None:
    tape = of_closes(5.0, 9.0, 9.0, 1.0, 2.0, 3.0, 1.0)
    assert values(rolling_max(3), tape)[2:] == [9.0, 9.0, 9.0, 3.0, 3.0]
    assert values(rolling_min(3), tape)[2:] == [5.0, 1.0, 1.0, 1.0, 1.0]


# Missing bars and warm-up.


def test_a_missing_bar_leaves_the_value_and_grows_the_age() -> None:
    readings = read(of_closes(nan, 1.0, 3.0, nan, nan, 5.0), x=sma(2), d=sma(2) - sma(1))
    assert readings.column("x")[:, 0].tolist() == pytest.approx([nan, nan, 2.0, 2.0, 2.0, 4.0], nan_ok=True)
    assert readings.ages("x")[:, 0].tolist() == [-1, 0, 0, 1, 2, 0]
    assert readings.column("d")[:, 0].tolist() == pytest.approx([nan, nan, -1.0, -1.0, -1.0, -1.0], nan_ok=True)
    assert readings.ages("d")[:, 0].tolist() == [-1, 0, 0, 1, 2, 0]


def test_the_first_warm_row_is_where_some_instrument_has_all_indicators() -> None:
    bars = walk(30, 2)
    bars[:10, :, 0] = nan
    bars[3, :, 1] = nan
    assert read(whole(bars), a=sma(5), b=returns(7)).first_warm() == 8
    assert read(whole(bars[:8]), a=sma(5), b=returns(7)).first_warm() is None
    assert read(whole(bars)).first_warm() == 0


def test_warmth_is_found_in_rows_that_come_later() -> None:
    tape = empty(1)
    readings = Readings(tape, {"x": sma(3)})
    found = []
    for bar in walk(5):
        fill(tape, bar[None])
        readings.catch_up()
        found.append(readings.first_warm())
    assert found == [None, None, 2, 2, 2]


# Expressions.


def test_indicators_combine_by_arithmetic_with_each_other_and_with_numbers() -> None:
    tape = whole(walk(60))
    readings = read(tape, e=ema(10), s=sma(10), x=2 * ema(10) / sma(10) - 1, y=1 - -ema(10), z=np.float64(3) / (sma(10) + ema(10) * 0.5))
    e, s = readings.column("e"), readings.column("s")
    assert np.array_equal(readings.column("x"), 2.0 * e / s - 1.0, equal_nan=True)
    assert np.array_equal(readings.column("y"), 1.0 + e, equal_nan=True)
    assert np.array_equal(readings.column("z"), 3.0 / (s + e * 0.5), equal_nan=True)


def test_a_division_by_zero_is_infinite_or_nan_and_no_accident() -> None:
    tape = of_closes(1.0, 2.0, 2.0, 1.0)
    assert values(1.0 / returns(1), tape)[1:] == [1.0, np.inf, -2.0]
    assert values(returns(1) / returns(1), tape)[1:] == pytest.approx([1.0, nan, 1.0], nan_ok=True)
    assert values(sma(2, 1.0 / returns(1)), tape)[2:] == pytest.approx([nan, -0.5], nan_ok=True)


def test_indicators_take_other_indicators() -> None:
    bars = walk(80)
    expected = series(bars).pct_change().rolling(5).mean().rolling(8).std()
    np.testing.assert_allclose(values(std(8, sma(5, returns(1))), whole(bars)), expected, rtol=1e-9)


def test_equal_expressions_are_equal_and_computed_once() -> None:
    assert sma(20) - sma(50) == sma(20) - sma(50)
    assert len({sma(20), sma(20), sma(21), sma(20, "open"), ema(20)}) == 4
    readings = read(whole(walk(30)), a=sma(5), b=sma(5), c=ema(5))
    assert np.shares_memory(readings.column("a"), readings.column("b"))
    assert not np.shares_memory(readings.column("a"), readings.column("c"))


# Reading.


def test_columns_are_read_only_and_contiguous() -> None:
    readings = read(whole(walk(30, 2)), x=sma(5))
    column = readings.column("x")
    assert column.shape == (30, 2)
    assert column.flags.c_contiguous
    assert not column.flags.writeable
    assert readings.flat("x").readonly


def test_a_flat_reading_is_right_after_each_catch_up_that_replaced_the_buffers() -> None:
    tape = empty(1, capacity=2)
    readings = Readings(tape, {"x": sma(1)})
    flat = readings.flat("x")
    moves = 0
    for row, bar in enumerate(walk(20)):
        fill(tape, bar[None])
        if readings.catch_up():
            flat, moves = readings.flat("x"), moves + 1
        assert [flat[t] for t in range(row + 1)] == tape.close[: row + 1, 0].tolist()
    assert moves == 4


def test_the_kernel_keeps_one_signature_however_it_is_used() -> None:
    read(whole(walk(30)), **ALL)
    read(whole(walk(30, 3, missing=0.2)), **ALL)
    tape = empty(2, capacity=1)
    readings = Readings(tape, ALL)
    for bar in walk(9, 2):
        fill(tape, bar[None])
        readings.catch_up()
    assert [len(getattr(kernel, "signatures", [()])) for kernel in (folds.run_common, folds.run_any)] == [1, 1]


# Mistakes.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sma(0), "sma: window must be at least 1, was 0"),
        (lambda: std(1), "std: window must be at least 2, was 1"),
        (
            lambda: sma(2.5),  # type: ignore[arg-type]
            "sma: window must be a whole number of at least 1, was 2.5",
        ),
        (lambda: returns(-1), "returns: horizon must be at least 1, was -1"),
        (lambda: momentum_score(5, 1.5), "momentum_score: gamma must be 0.5, 1 or 2, was 1.5"),
        (lambda: bollinger(20, 0.0), "bollinger: width must be above 0, was 0.0"),
        (lambda: sma(5, of="clsoe"), "sma: of must be a field of the tape or an indicator, was 'clsoe'; did you mean 'close'?"),
        (lambda: sma(5) + nan, r"an indicator combines by \+ with indicators and finite numbers, not with nan"),
        (
            lambda: "5" * sma(5),  # type: ignore[operator]
            r"an indicator combines by \* with indicators and finite numbers, not with '5'",
        ),
        (lambda: volume_zscore(1), "volume_zscore: window must be at least 2, was 1"),
        (lambda: rolling_skewness(2), "rolling_skewness: window must be at least 3, was 2"),
        (lambda: rolling_quantile(5, 80), "rolling_quantile: level must be from 0 to 1, was 80"),
        (lambda: momentum_acceleration(20, 5), r"momentum_acceleration: fast must be below slow \(5\), was 20"),
        (lambda: realised_volatility(5, periods=0), "realised_volatility: periods must be at least 1, was 0"),
        (lambda: field_of("A", "clsoe"), "field_of: of must be a field of the tape or an indicator, was 'clsoe'; did you mean 'close'?"),
        (lambda: macd(0), "macd: fast must be at least 1, was 0"),
    ],
)
def test_a_mistake_is_told_with_place_value_and_way_out(make: Callable[[], Indicator], message: str) -> None:
    with pytest.raises(ScenarioError, match=f"^{message.replace('?', '[?]')}$"):
        make()


def test_an_unknown_symbol_or_name_is_told_with_the_nearest() -> None:
    tape = whole(walk(5))
    with pytest.raises(ScenarioError, match="needs 'SPY', and the tape has no such symbol; there is: A"):
        Readings(tape, {"x": beta(5, "SPY")})
    with pytest.raises(PluginError, match="'x' must be an indicator such as sma"):
        Readings(tape, {"x": 3})  # type: ignore[dict-item]
    with pytest.raises(ViewError, match="no such indicator 'fats'; did you mean 'fast'"):
        read(tape, fast=sma(5)).column("fats")
