"""What a book can lose: the same numbers as the report's, parts that sum to the whole, tests with published answers, and stress by hand."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, norm  # type: ignore[import-untyped]

from simulator import load
from simulator.assembly import parts
from simulator.errors import DataError
from simulator.loop.randomness import stream
from simulator.report import metrics
from simulator.risk.measures import (
    breaches,
    christoffersen,
    crisis_windows,
    expected_shortfall,
    expected_shortfall_normal,
    kupiec,
    replay,
    rolling_forecasts,
    shortfall_contributions,
    stress,
    var_historical,
    var_historical_contributions,
    var_normal,
    var_normal_contributions,
    volatility_contributions,
)

seeds = st.integers(0, 100_000)
fewer = settings(max_examples=settings().max_examples // 3)
tails = st.floats(0.005, 0.5)


def returns(seed: int = 1, rows: int = 250, width: int = 4) -> np.ndarray:
    return 0.01 * stream(seed, "test.measures").standard_t(4, (rows, width)) + 0.0003


def weights(seed: int = 1, width: int = 4) -> np.ndarray:
    """A book with long and short positions."""
    return stream(seed, "test.weights").standard_normal(width)


# --- Value at risk and expected shortfall


@pytest.mark.parametrize("rows", [2, 20, 21, 41, 250])
def test_the_measures_of_five_percent_are_the_reports(rows: int) -> None:
    r = returns(rows=rows)[:, 0]
    assert var_historical(r) == pytest.approx(metrics.var_historical(r), rel=1e-14)
    assert var_normal(r) == pytest.approx(metrics.var_normal(r), rel=1e-14)
    assert expected_shortfall(r) == pytest.approx(metrics.expected_shortfall(r), rel=1e-14)
    assert expected_shortfall_normal(r) == pytest.approx(metrics.expected_shortfall_normal(r), rel=1e-14)


def test_a_loss_is_negative_in_the_value_at_risk_as_in_the_shortfall() -> None:
    """A mean of 0 and a deviation of 1 %: -1.64 %, and -2.06 %."""
    r = 0.01 * sqrt(0.5) * np.array([1.0, -1.0])
    assert var_normal(r) == pytest.approx(-0.0164485, abs=1e-7)
    assert expected_shortfall_normal(r) == pytest.approx(-0.0206271, abs=1e-7)


def test_the_measures_of_a_hundred_known_returns_at_one_percent() -> None:
    r = np.arange(-50, 51) / 100.0
    assert var_historical(r, 0.01) == pytest.approx(-0.49)
    assert expected_shortfall(r, 0.01) == pytest.approx(-0.495)
    assert var_historical(r, 0.015) == pytest.approx(-0.485)


@fewer
@given(seed=seeds, tail=tails)
def test_normal_measures_are_scipys(seed: int, tail: float) -> None:
    r = returns(seed)[:, 0]
    fitted = norm(r.mean(), r.std(ddof=1))
    assert var_normal(r, tail) == pytest.approx(fitted.ppf(tail), rel=1e-9, abs=1e-15)
    assert expected_shortfall_normal(r, tail) == pytest.approx(fitted.expect(lb=-inf, ub=fitted.ppf(tail), conditional=True), rel=1e-6)


@given(seed=seeds, tail=tails, scale=st.floats(0.01, 100.0), more=st.floats(-1.0, 1.0))
def test_a_shortfall_is_no_better_than_the_value_at_risk_and_both_move_with_the_returns(seed: int, tail: float, scale: float, more: float) -> None:
    r = returns(seed)[:, 0]
    for measure in (var_historical, var_normal, expected_shortfall, expected_shortfall_normal):
        assert measure(scale * r + more, tail) == pytest.approx(scale * measure(r, tail) + more, rel=1e-9, abs=1e-12)
    assert expected_shortfall(r, tail) <= var_historical(r, tail)
    assert expected_shortfall_normal(r, tail) <= var_normal(r, tail)


@given(seed=seeds, tail=tails)
def test_a_shortfall_of_two_books_together_is_no_worse_than_of_each_apart(seed: int, tail: float) -> None:
    a, b = returns(seed, 100, 2).T
    assert expected_shortfall(a + b, tail) >= expected_shortfall(a, tail) + expected_shortfall(b, tail) - 1e-15


def test_returns_that_do_not_vary_have_no_deviation() -> None:
    assert var_normal([0.1, 0.1, 0.1]) == pytest.approx(0.1, abs=1e-16)


# --- Who contributes


@given(seed=seeds, tail=tails)
def test_contributions_sum_to_the_whole_which_is_the_books_own_measure(seed: int, tail: float) -> None:
    r, w = returns(seed, 60), weights(seed)
    book, mean, c = r @ w, r.mean(axis=0), np.cov(r.T)
    for found, whole in (
        (volatility_contributions(w, c), book.std(ddof=1)),
        (var_normal_contributions(w, mean, c, tail), var_normal(book, tail)),
        (var_historical_contributions(w, r, tail), var_historical(book, tail)),
        (shortfall_contributions(w, r, tail), expected_shortfall(book, tail)),
    ):
        assert found.total == pytest.approx(whole, rel=1e-9, abs=1e-14)
        assert found.component.sum() == pytest.approx(found.total, rel=1e-9, abs=1e-14)
        assert found.component == pytest.approx(w * found.marginal, rel=1e-12)


@given(seed=seeds)
def test_marginals_are_what_a_little_more_of_each_adds(seed: int) -> None:
    r, w, step = returns(seed, 60), weights(seed), 1e-6
    mean, c = r.mean(axis=0), np.cov(r.T)
    cases: list[tuple[np.ndarray, Callable[[np.ndarray], float]]] = [
        (volatility_contributions(w, c).marginal, lambda x: sqrt(x @ c @ x)),
        (var_normal_contributions(w, mean, c).marginal, lambda x: var_normal(r @ x)),
        (var_historical_contributions(w, r).marginal, lambda x: var_historical(r @ x)),
        (shortfall_contributions(w, r).marginal, lambda x: expected_shortfall(r @ x)),
    ]
    for marginal, measure in cases:
        slopes = [(measure(w + step * unit) - measure(w - step * unit)) / (2 * step) for unit in np.eye(4)]
        assert marginal == pytest.approx(slopes, rel=1e-4, abs=1e-6)


def test_contributions_of_two_by_hand() -> None:
    """Half in each of 20 % and 10 %, uncorrelated: the variance is 0.0125, of which 0.01 and 0.0025."""
    found = volatility_contributions([0.5, 0.5], [[0.04, 0.0], [0.0, 0.01]])
    assert found.component / found.total == pytest.approx([0.8, 0.2])


def test_a_book_of_nothing_has_no_risk_to_contribute_to() -> None:
    found = volatility_contributions([0.0, 0.0], np.eye(2))
    assert found.total == 0.0
    assert found.component.tolist() == [0.0, 0.0]
    assert np.isnan(found.marginal).all()


# --- Whether forecasts held


def counted(hits: np.ndarray) -> list[int]:
    """How often a row without and one with a breach is followed by each."""
    return [
        int((~hits[:-1] & ~hits[1:]).sum()),
        int((~hits[:-1] & hits[1:]).sum()),
        int((hits[:-1] & ~hits[1:]).sum()),
        int((hits[:-1] & hits[1:]).sum()),
    ]


def test_kupiecs_test_of_a_banks_published_record() -> None:
    """J.P. Morgan in 1998: 20 losses beyond its 95 % VaR in 252 days. Source: Jorion (2007), "Value at Risk", section 6.2: 3.91."""
    found = kupiec(np.arange(252) < 20)
    assert found.statistic == pytest.approx(3.91, abs=0.005)
    assert found.p_value == pytest.approx(0.048, abs=0.0005)


def test_christoffersens_test_of_the_same_record() -> None:
    """14 breaches came after a day without one and 6 after another. Source: Jorion (2007), section 6.2.4: 9.53, and with Kupiec's 13.44."""
    hits = np.zeros(253, bool)
    starts = 10 + 16 * np.arange(14)
    hits[starts] = True
    hits[starts[:6] + 1] = True
    assert counted(hits) == [218, 14, 14, 6]
    found = christoffersen(hits)
    assert found.independence.statistic == pytest.approx(9.53, abs=0.005)
    assert found.conditional.statistic == pytest.approx(13.44, abs=0.005)


@given(seed=seeds, tail=tails, chance=st.floats(0.05, 0.9))
def test_both_tests_are_ratios_of_likelihoods_multiplied_out(seed: int, tail: float, chance: float) -> None:
    hits = stream(seed, "test.hits").random(60) < chance
    n, x = len(hits), int(hits.sum())
    ratio = 2.0 * (np.log(np.where(hits, x / n, 1 - x / n)).sum() - np.log(np.where(hits, tail, 1 - tail)).sum())
    found = kupiec(hits, tail)
    assert found.statistic == pytest.approx(ratio, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(chi2.sf(found.statistic, 1), rel=1e-9, abs=1e-300)
    if not 0 < hits[:-1].sum() < n - 1:
        return
    after, before = hits[1:], hits[:-1]
    chain = np.where(before, after[before].mean(), after[~before].mean())
    each, none = np.where(after, chain, 1 - chain), np.where(after, after.mean(), 1 - after.mean())
    both = christoffersen(hits, tail)
    assert both.independence.statistic == pytest.approx(2.0 * (np.log(each).sum() - np.log(none).sum()), rel=1e-9, abs=1e-9)
    assert both.independence.p_value == pytest.approx(chi2.sf(both.independence.statistic, 1), rel=1e-9)
    assert both.conditional.statistic == pytest.approx(both.independence.statistic + kupiec(after, tail).statistic)
    assert both.conditional.p_value == pytest.approx(chi2.sf(both.conditional.statistic, 2), rel=1e-9, abs=1e-300)


def test_as_many_breaches_as_there_should_be_are_no_evidence() -> None:
    assert kupiec(np.arange(100) < 5, 0.05) == pytest.approx((0.0, 1.0), abs=1e-7)


def test_no_breach_at_all_is_a_finding_of_kupiecs_and_none_of_independence() -> None:
    none = np.zeros(250, bool)
    assert kupiec(none, 0.05).statistic == pytest.approx(-500 * np.log(0.95))
    assert np.isnan(christoffersen(none).independence).all()
    assert np.isnan(christoffersen(none).conditional).all()


def test_right_forecasts_are_rejected_about_as_often_as_they_should_be() -> None:
    """At the 5 % level, of 400 records of 500 rows."""
    hits = stream(8, "test.size").random((400, 500)) < 0.05
    assert np.mean([kupiec(row).p_value < 0.05 for row in hits]) == pytest.approx(0.05, abs=0.035)
    assert np.mean([christoffersen(row).conditional.p_value < 0.05 for row in hits]) == pytest.approx(0.05, abs=0.04)


def test_forecasts_are_made_of_what_came_before() -> None:
    r = returns()[:, 0]
    forecasts = rolling_forecasts(r, 100, var_normal)
    assert len(forecasts) == 150
    assert forecasts[7] == var_normal(r[7:107])
    later = np.concatenate([r[:200], r[200:] + 1.0])
    assert (rolling_forecasts(later, 100, var_normal)[:101] == forecasts[:101]).all()
    assert breaches(r[100:], forecasts).tolist() == [x < f for x, f in zip(r[100:], forecasts, strict=True)]


# --- Stress


def test_a_book_is_shocked_by_name() -> None:
    rates, crash = stress([0.6, 0.5, -0.1], ["SPY", "TLT", "GLD"], {"rates": {"TLT": -0.1}, "crash": {"*": -0.2, "TLT": 0.05}})
    assert [rates.name, crash.name] == ["rates", "crash"]
    assert rates[1:3] == pytest.approx((-0.05, -0.05))
    assert rates.by == pytest.approx([0.0, -0.05, 0.0])
    assert crash.by == pytest.approx([-0.12, 0.025, 0.02])
    assert crash.total == pytest.approx(-0.075)


def test_a_shock_that_pays_is_no_drawdown() -> None:
    assert stress([-1.0], ["SPY"], {"crash": {"SPY": -0.2}})[0][1:3] == (0.2, 0.0)


def test_a_misspelt_shock_is_not_a_harmless_one() -> None:
    with pytest.raises(DataError, match="shock 'crash': no such symbol 'SPX'; did you mean 'SPY'"):
        stress([1.0, 1.0], ["SPY", "TLT"], {"crash": {"SPX": -0.2}})
    with pytest.raises(DataError, match="shock 'crash': the return of 'SPY' must be a number, was nan"):
        stress([1.0], ["SPY"], {"crash": {"SPY": nan}})


def test_a_book_is_held_through_a_window_and_not_rebalanced() -> None:
    """Half in what halves and doubles, half short of what does not move: back where it was, and by a quarter down on the way."""
    r = np.array([[0.9, 0.9], [-0.5, 0.0], [1.0, 0.0], [0.9, 0.9]])
    (found,) = replay([0.5, -0.5], r, {"crisis": (1, 3)})
    assert found.total == pytest.approx(0.0)
    assert found.worst == pytest.approx(-0.25)
    assert found.by == pytest.approx([0.0, 0.0])


@given(seed=seeds)
def test_a_replay_is_made_by_instrument_and_its_drawdown_is_the_reports(seed: int) -> None:
    r, w = returns(seed, 40), 0.3 * weights(seed)
    (found,) = replay(w, r, {"all": (0, 40)})
    values = w * np.cumprod(1.0 + r, axis=0)
    path = np.concatenate(([1.0], 1.0 - w.sum() + values.sum(axis=1)))
    assert found.total == pytest.approx(path[-1] - 1.0, abs=1e-12)
    assert found.by.sum() == pytest.approx(found.total, abs=1e-12)
    assert found.worst == pytest.approx(metrics.max_drawdown(path[1:] / path[:-1] - 1.0), abs=1e-12)


def test_a_replay_needs_its_rows_and_known_returns() -> None:
    r = returns(rows=10, width=2)
    with pytest.raises(DataError, match="window 'crisis' must lie within the 10 rows, was 5 to 11"):
        replay([1.0, 1.0], r, {"crisis": (5, 11)})
    r[6, 1] = nan
    with pytest.raises(DataError, match="window 'crisis': the return of instrument 1 is nan in row 6; take another for it"):
        replay([1.0, 1.0], r, {"crisis": (5, 10)})
    assert len(replay([1.0, 1.0], r, {"before": (0, 6), "after": (7, 10)})) == 2


def test_what_cannot_be_measured_says_why() -> None:
    r, w = returns(rows=10), weights()
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: var_historical([]), r"at least 1 returns, was \(0,\)"),
        (lambda: var_normal([0.1]), r"at least 2 returns, was \(1,\)"),
        (lambda: var_historical(r), r"one column of at least 1 returns, was \(10, 4\)"),
        (lambda: expected_shortfall([0.1, nan]), r"returns\[1\] must be a number, was nan"),
        (lambda: var_historical([0.1], 5), "tail must be a share between 0 and 1, such as 0.05, was 5"),
        (lambda: volatility_contributions(w[:3], np.eye(4)), r"weights must be \(4,\), one number for each, was \(3,\)"),
        (lambda: volatility_contributions(w, r), r"must be \(instruments, instruments\), was \(10, 4\)"),
        (lambda: shortfall_contributions(w, np.full((10, 4), inf)), "the return of instrument 0 is inf in row 0; leave out"),
        (lambda: var_historical_contributions(w, r[:, 0]), r"must be \(rows, instruments\) with something in it, were \(10,\)"),
        (lambda: kupiec([0.1, 0.2]), "breached must be one column of bools, one a row, was float64"),
        (lambda: christoffersen([True]), "needs at least 2 rows"),
        (lambda: breaches([0.1, 0.2], [0.1]), r"forecasts must be \(2,\)"),
        (lambda: rolling_forecasts([0.1, 0.2], 2), "window must be from 1 to 1, .* was 2"),
        (lambda: replay([1.0], [0.1], {}), r"returns must be \(rows, instruments\), were \(1,\)"),
    ]
    for call, message in wrong:
        with pytest.raises(DataError, match=message):
            call()


def test_a_crisis_is_found_by_its_dates_where_history_holds_it_whole() -> None:
    """From the return after the close of its first date to that of its last; what began before history, or is not over, is left out."""
    days = np.arange(np.datetime64("2020-02-18"), np.datetime64("2022-10-01")).astype(np.int64)
    assert list(crisis_windows(days)) == ["Covid"]
    first, end = crisis_windows(days)["Covid"]
    assert (str(days[first].astype("datetime64[D]")), str(days[end - 1].astype("datetime64[D]"))) == ("2020-02-20", "2020-03-23")
    assert crisis_windows(days[10:]) == {}


def test_a_book_is_replayed_through_crises_by_name() -> None:
    tape = load("survivors")
    prices = parts(tape).feed.load(seed=0, folder=tape.folder)
    returns = prices.marks[1:] / prices.marks[:-1] - 1.0
    windows = crisis_windows(prices.sessions[1:])
    assert list(windows) == ["dot-com bust", "Lehman", "downgrade of the US", "Covid", "rates of 2022"]
    covid = next(found for found in replay(np.full(20, 0.05), returns, windows) if found.name == "Covid")
    first, end = windows["Covid"]
    held = float((prices.marks[end] / prices.marks[first]).mean()) - 1.0
    assert covid.total == pytest.approx(held, abs=1e-12)
    assert -0.5 < covid.worst <= covid.total < -0.2
