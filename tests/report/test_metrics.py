"""Every metric against numbers worked by hand, and against the formulas of the empyrical package typed anew."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from math import erf, exp, floor, isnan, nan, pi, sqrt

import numpy as np
import pytest

from simulator.errors import DataError
from simulator.report import metrics
from simulator.report.metrics import FloatArray, Metric

near = pytest.approx


def sample(seed: int, count: int = 500) -> tuple[FloatArray, FloatArray]:
    """Returns of a strategy and of its benchmark."""
    draw = np.random.default_rng(seed)
    market = draw.normal(0.0004, 0.011, count)
    return 0.0001 + 0.6 * market + draw.normal(0.0, 0.006, count), market


# --- empyrical's definitions, one loop or line each


def its_annual_return(r: FloatArray, n: float = 252) -> float:
    total = 1.0
    for x in r:
        total *= 1.0 + x
    return float(total ** (n / len(r)) - 1.0)


def its_max_drawdown(r: FloatArray) -> float:
    level, peak, worst = 100.0, 100.0, 0.0
    for x in r:
        level *= 1.0 + x
        peak = max(peak, level)
        worst = min(worst, (level - peak) / peak)
    return worst


def its_downside_risk(r: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(np.clip(r, -np.inf, 0.0)))) * np.sqrt(252))


def its_stability(r: FloatArray) -> float:
    path, time = np.log1p(r).cumsum(), np.arange(len(r))
    fitted = np.polyval(np.polyfit(time, path, 1), time)
    return float(1.0 - np.sum((path - fitted) ** 2) / np.sum((path - path.mean()) ** 2))


def its_conditional_value_at_risk(r: FloatArray) -> float:
    cutoff = int((len(r) - 1) * 0.05)
    return float(np.mean(np.partition(r, cutoff)[: cutoff + 1]))


EMPYRICAL: dict[Metric, Callable[[FloatArray], float]] = {
    metrics.cumulative_return: lambda r: float((1.0 + r).prod() - 1.0),
    metrics.annual_return: its_annual_return,
    metrics.volatility: lambda r: float(np.std(r, ddof=1) * 252**0.5),
    metrics.sharpe: lambda r: float(np.mean(r) / np.std(r, ddof=1) * np.sqrt(252)),
    metrics.sortino: lambda r: float(np.mean(r) * 252 / its_downside_risk(r)),
    metrics.max_drawdown: its_max_drawdown,
    metrics.calmar: lambda r: its_annual_return(r) / abs(its_max_drawdown(r)),
    metrics.omega: lambda r: float(sum(x for x in r if x > 0.0) / -sum(x for x in r if x < 0.0)),
    metrics.downside_risk: its_downside_risk,
    metrics.stability: its_stability,
    metrics.tail_ratio: lambda r: float(np.abs(np.percentile(r, 95)) / np.abs(np.percentile(r, 5))),
    metrics.var_historical: lambda r: float(np.percentile(r, 5)),
    metrics.expected_shortfall: its_conditional_value_at_risk,
}

AGAINST: dict[Metric, Callable[[FloatArray, FloatArray], float]] = {
    metrics.beta: lambda r, m: float(np.mean((r - r.mean()) * (m - m.mean())) / np.mean((m - m.mean()) ** 2)),
    metrics.alpha: lambda r, m: float((np.mean(r - AGAINST[metrics.beta](r, m) * m) + 1.0) ** 252 - 1.0),
    metrics.information_ratio: lambda r, m: float(np.mean(r - m) / np.std(r - m, ddof=1) * np.sqrt(252)),
    metrics.tracking_error: lambda r, m: float(np.std(r - m, ddof=1) * np.sqrt(252)),
    metrics.up_capture: lambda r, m: its_annual_return(r[m > 0]) / its_annual_return(m[m > 0]),
    metrics.down_capture: lambda r, m: its_annual_return(r[m < 0]) / its_annual_return(m[m < 0]),
    metrics.batting_average: lambda r, m: float(sum(a > b for a, b in zip(r, m, strict=True)) / len(r)),
    metrics.treynor: lambda r, m: float(np.mean(r) * 252 / AGAINST[metrics.beta](r, m)),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("metric", EMPYRICAL, ids=lambda x: x.name)
def test_a_metric_of_one_series_equals_empyricals(metric: Metric, seed: int) -> None:
    r, _ = sample(seed)
    assert metric(r) == near(EMPYRICAL[metric](r), rel=1e-10)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("metric", AGAINST, ids=lambda x: x.name)
def test_a_metric_against_a_benchmark_equals_empyricals(metric: Metric, seed: int) -> None:
    r, m = sample(seed)
    assert metric(r, m) == near(AGAINST[metric](r, m), rel=1e-10)


def test_every_metric_is_called_alike_and_states_its_convention() -> None:
    wanted = ["returns", "benchmark", "rf", "periods", "choices"]
    for metric in metrics.METRICS:
        assert list(inspect.signature(metric).parameters) == wanted
        assert getattr(metrics, metric.name) is metric
        assert metric.convention.endswith(".")


# --- Return and risk, by hand


def test_returns_compound() -> None:
    assert metrics.cumulative_return([0.1, -0.1]) == near(-0.01)
    assert metrics.annual_return([0.1, -0.1], periods=4) == near(0.99**2 - 1.0)


def test_a_year_of_calendar_days_is_not_divided_by_252() -> None:
    year = [0.1 / 252] * 252
    grown = (1.0 + 0.1 / 252) ** 252 - 1.0
    assert metrics.cagr(year, days=365.25) == near(grown)
    assert metrics.cagr(year, days=730.5) == near(sqrt(1.0 + grown) - 1.0)
    assert metrics.annual_return(year) == near(grown)


def test_the_calendar_return_needs_days() -> None:
    assert metrics.cagr.measured([0.1]).reason == "it needs the calendar days that the returns cover"


def test_volatility_is_of_a_sample() -> None:
    assert metrics.volatility([0.01, 0.03], periods=1) == near(sqrt(2 * 0.01**2))


def test_sharpe_takes_a_yearly_risk_free_rate() -> None:
    rf = 1.1**0.5 - 1.0
    assert metrics.sharpe([rf + 0.01, rf + 0.03], rf=0.1, periods=2) == near(0.02 / sqrt(0.0002) * sqrt(2))


def test_sortino_averages_over_all_returns_and_not_over_the_losses() -> None:
    r = [0.03, -0.01, 0.02, -0.02]
    assert metrics.sortino(r, periods=1) == near(0.005 / sqrt((0.0001 + 0.0004) / 4))
    assert metrics.downside_risk(r, periods=4) == near(sqrt((0.0001 + 0.0004) / 4) * 2)


def test_sortino_measures_from_the_minimum_acceptable_return_a_year() -> None:
    mar = 1.21**0.5 - 1.0
    r = [mar + 0.03, mar - 0.01]
    assert metrics.sortino(r, periods=2, mar=0.21) == near(0.01 * 2 / sqrt(2 * 0.0001 / 2))
    assert metrics.downside_risk(r, periods=2, mar=0.21) == near(0.01)
    assert metrics.omega(r, periods=2, mar=0.21) == near(3.0)


def test_los_sharpe_of_two_periods_by_hand() -> None:
    """rho_1 of 1, -1, 2, 2 is (0 x -2 + -2 x 1 + 1 x 1) / (0 + 4 + 1 + 1) = -1/6, so that eta(2) = 2 / sqrt(2 + 2 x 1 x -1/6)."""
    r = [0.01, -0.01, 0.02, 0.02]
    per_period = 0.01 / sqrt(0.0006 / 3)
    assert metrics.sharpe_lo(r, periods=2) == near(per_period * 2 / sqrt(2 - 2 / 6))


def test_los_sharpe_equals_equation_20_written_as_loops() -> None:
    r, _ = sample(7, 60)
    q, d = 12, r - r.mean()
    total = float(q)
    for k in range(1, q):
        total += 2 * (q - k) * sum(d[t] * d[t - k] for t in range(k, len(d))) / sum(x * x for x in d)
    assert metrics.sharpe_lo(r, rf=0.02, periods=q) == near(metrics.sharpe(r, rf=0.02, periods=q) * sqrt(q) / sqrt(total))


def test_los_sharpe_is_below_sharpes_where_returns_trend_and_above_where_they_revert() -> None:
    noise = np.random.default_rng(3).normal(0.0, 0.01, 4000)
    trending = 0.0005 + noise[1:] + 0.5 * noise[:-1]
    reverting = 0.0005 + noise[1:] - 0.5 * noise[:-1]
    assert metrics.sharpe_lo(trending, periods=12) < 0.9 * metrics.sharpe(trending, periods=12)
    assert metrics.sharpe_lo(reverting, periods=12) > 1.1 * metrics.sharpe(reverting, periods=12)


def test_los_sharpe_needs_more_than_a_year() -> None:
    r, _ = sample(1, 252)
    assert metrics.sharpe_lo.measured(r).reason == "its autocorrelations reach over a year: it needs more than 252 returns, and there are 252"
    assert not isnan(metrics.sharpe_lo(sample(1, 253)[0]))


def test_a_first_loss_is_a_drawdown_from_the_starting_capital() -> None:
    assert metrics.max_drawdown([-0.3, 0.1]) == near(-0.3)
    assert metrics.max_drawdown([-0.2]) == near(-0.2)


def test_a_drawdown_compounds() -> None:
    assert metrics.max_drawdown([1.0, -0.5, 0.5, -0.6]) == near(-0.7)


def test_calmar_divides_the_annual_return_by_the_worst_fall() -> None:
    assert metrics.calmar([0.2, -0.1], periods=2) == near(0.08 / 0.1)


def test_omega_divides_gains_by_losses() -> None:
    assert metrics.omega([0.03, -0.01, 0.02]) == near(5.0)


def test_steady_growth_is_perfectly_stable() -> None:
    assert metrics.stability([0.01, 0.01, 0.01, 0.01]) == near(1.0)


def test_skew_and_kurtosis_by_hand() -> None:
    """Around the mean of 0, 0, 0, 4 the moments are m2 = 3, m3 = 6, m4 = 21."""
    r = [0.0, 0.0, 0.0, 0.04]
    assert metrics.skew(r) == near(6 / 3**1.5)
    assert metrics.kurtosis(r) == near(21 / 9 - 3)


def test_kurtosis_is_excess_once_and_near_zero_for_a_normal_sample() -> None:
    assert metrics.kurtosis([-0.01, 0.01, -0.01, 0.01]) == near(-2.0)
    assert abs(metrics.kurtosis(np.random.default_rng(5).normal(0.0, 0.01, 200_000))) < 0.05


def test_value_at_risk_interpolates_and_a_loss_is_negative() -> None:
    r = np.arange(-10, 11) / 100.0
    assert metrics.var_historical(r) == near(-0.09)
    assert metrics.var_historical(r[:11]) == near(-0.095)


def test_normal_value_at_risk_is_a_loss_with_the_lower_quantile() -> None:
    r = [-0.01, 0.01]
    assert metrics.var_normal(r) == near(-1.6448536269514722 * sqrt(0.0002))


@pytest.mark.parametrize("count", [1, 20, 21, 40, 41, 61, 141, 1001])
def test_expected_shortfall_is_the_mean_of_the_worst_floor_of_a_twentieth_and_one(count: int) -> None:
    r = -np.arange(count, dtype=float)[::-1] / 1000
    worst = floor((count - 1) / 20) + 1
    assert metrics.expected_shortfall(r) == near(sum(sorted(r)[:worst]) / worst)
    assert metrics.expected_shortfall(r) <= metrics.var_historical(r)


def test_normal_expected_shortfall_is_the_mean_of_the_normal_tail() -> None:
    """Integrated over the tail in small steps, mean 0 and standard deviation 1."""
    r = np.array([-1.0, 1.0]) / sqrt(2)
    steps = np.linspace(-12.0, -1.6448536269514722, 200_001)
    density = steps * np.exp(-(steps**2) / 2) / sqrt(2 * pi)
    tail = float(np.sum((density[1:] + density[:-1]) / 2) * (steps[1] - steps[0]))
    assert 0.5 * (1 + erf(-1.6448536269514722 / sqrt(2))) == near(0.05)
    assert metrics.expected_shortfall_normal(r) == near(tail / 0.05, rel=1e-6)
    assert metrics.expected_shortfall_normal(r) == near(-exp(-(1.6448536269514722**2) / 2) / sqrt(2 * pi) / 0.05)


# --- Against a benchmark, by hand


def test_alpha_and_beta_of_a_levered_benchmark_with_a_premium() -> None:
    m = np.array([0.01, -0.02, 0.03])
    assert metrics.beta(2 * m + 0.001, m) == near(2.0)
    assert metrics.alpha(2 * m + 0.001, m, periods=10) == near(1.001**10 - 1)


def test_alpha_is_of_excess_returns() -> None:
    rf = 1.02 ** (1 / 10) - 1
    m = np.array([0.01, -0.02, 0.03])
    assert metrics.alpha(rf + 2 * (m - rf), m, rf=0.02, periods=10) == near(0.0, abs=1e-12)


def test_the_information_ratio_is_annualised() -> None:
    assert metrics.information_ratio([0.02, 0.04], [0.01, 0.01], periods=9) == near(0.02 / sqrt(0.0002) * 3)


def test_a_share_of_days_is_not_multiplied_by_the_root_of_the_year() -> None:
    assert metrics.batting_average([0.02, 0.0, 0.01, 0.01], [0.01, 0.01, 0.01, 0.0]) == 0.5


def test_captures_compare_annual_returns_where_the_benchmark_rose_or_fell() -> None:
    r, m = [0.02, -0.01, 0.5, 0.02], [0.01, -0.02, 0.0, 0.01]
    assert metrics.up_capture(r, m, periods=2) == near((1.02**2 - 1) / (1.01**2 - 1))
    assert metrics.down_capture(r, m, periods=1) == near(0.5)


def test_treynor_is_the_yearly_excess_return_for_each_unit_of_beta() -> None:
    m = np.array([0.01, -0.02, 0.03])
    assert metrics.treynor(2 * m, m, periods=252) == near(2 * m.mean() * 252 / 2)


# --- What is undefined


@pytest.mark.parametrize("metric", metrics.METRICS, ids=lambda x: x.name)
@pytest.mark.parametrize("wrong", [nan, float("inf")])
def test_a_return_that_is_no_number_makes_a_metric_nan_and_names_its_row(metric: Metric, wrong: float) -> None:
    found = metric.measured([0.01, 0.02, wrong, -0.01], [0.01, 0.0, 0.01, 0.02], days=4)
    assert isnan(found.value)
    assert found.reason == f"return 2 is {wrong}"


@pytest.mark.parametrize("metric", metrics.METRICS, ids=lambda x: x.name)
def test_no_returns_have_no_metrics(metric: Metric) -> None:
    assert isnan(metric([], []))
    assert metric.measured([], []).reason == "there are no returns"


NEED_TWO = [x for x in metrics.METRICS if x.least == 2]


@pytest.mark.parametrize("metric", NEED_TWO, ids=lambda x: x.name)
def test_one_return_is_not_enough_for_a_ratio(metric: Metric) -> None:
    assert metric.measured([0.01], [0.02]).reason == "it needs at least 2 returns, and there is 1"


@pytest.mark.parametrize("metric", [metrics.sharpe, metrics.sharpe_lo, metrics.skew, metrics.kurtosis], ids=lambda x: x.name)
def test_a_ratio_over_rounding_noise_is_undefined(metric: Metric) -> None:
    """0.1 + 0.2 is not 0.3, by 1e-16: no reason for a Sharpe ratio of 1e15."""
    found = metric.measured([0.3, 0.1 + 0.2, 0.3, 0.3], periods=2)
    assert isnan(found.value)
    assert found.reason == "the returns do not vary"


def test_returns_that_do_not_vary_have_no_volatility() -> None:
    assert metrics.volatility([0.3, 0.1 + 0.2, 0.3]) == 0.0


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (metrics.sortino, "no return is below the minimum acceptable one"),
        (metrics.omega, "no return is below the minimum acceptable one"),
        (metrics.calmar, "equity never fell"),
    ],
    ids=lambda x: x.name if isinstance(x, Metric) else "",
)
def test_what_never_lost_has_no_ratio_to_its_losses(metric: Metric, reason: str) -> None:
    found = metric.measured([0.01, 0.0, 0.02])
    assert isnan(found.value)
    assert found.reason == reason


def test_a_flat_run_is_undefined_where_it_divides_and_zero_where_it_does_not() -> None:
    found = metrics.summary([0.0] * 300, days=420)
    assert found["volatility"].value == found["max_drawdown"].value == found["cumulative_return"].value == 0.0
    for name in ("sharpe", "sharpe_lo", "sortino", "calmar", "omega", "stability", "tail_ratio", "skew", "kurtosis"):
        assert isnan(found[name].value)
        assert found[name].reason


def test_a_benchmark_that_does_not_vary_explains_nothing() -> None:
    for metric in (metrics.beta, metrics.alpha, metrics.treynor):
        assert metric.measured([0.01, 0.02], [0.01, 0.01]).reason == "the benchmark does not vary"


def test_a_run_that_is_its_benchmark_has_no_information_ratio() -> None:
    r, _ = sample(1, 30)
    assert metrics.tracking_error(r, r) == 0.0
    assert isnan(metrics.information_ratio(r, r))


def test_capture_needs_a_benchmark_that_moved_that_way() -> None:
    assert metrics.down_capture.measured([0.01, 0.02], [0.01, 0.02]).reason == "the benchmark never fell"
    assert metrics.up_capture.measured([0.01, 0.02], [-0.01, 0.0]).reason == "the benchmark never rose"


def test_a_relative_metric_without_a_benchmark_says_so() -> None:
    assert metrics.alpha.measured([0.01, 0.02]).reason == "it needs a benchmark"


def test_a_hole_in_the_benchmark_is_named() -> None:
    assert metrics.beta.measured([0.01, 0.02], [0.01, nan]).reason == "the benchmark's return 1 is nan"


def test_losing_everything_is_minus_one() -> None:
    r = [0.1, -1.0, 0.0]
    assert metrics.cumulative_return(r) == metrics.annual_return(r) == metrics.max_drawdown(r) == metrics.cagr(r, days=3) == -1.0
    assert metrics.stability.measured(r).reason == "return 1 lost everything, which has no logarithm"


def test_losing_more_than_everything_has_no_annual_return() -> None:
    r = [0.1, -1.5, -2.5]
    for metric in (metrics.annual_return, metrics.calmar):
        assert metric.measured(r).reason == "return 1 lost more than everything"


def test_a_number_too_large_to_hold_is_undefined() -> None:
    assert metrics.annual_return.measured([20.0]).reason == "it is too large for a number"


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(DataError, match=r"benchmark must have 2 returns, one for each of the run's, had 1"):
        metrics.beta([0.1, 0.2], [0.1])
    with pytest.raises(DataError, match=r"rf must be above -1 a year, was -1.5"):
        metrics.sharpe([0.1, 0.2], rf=-1.5)
    with pytest.raises(DataError, match=r"mar must be above -1 a year, was -2"):
        metrics.sortino([0.1, 0.2], mar=-2.0)
    with pytest.raises(DataError, match=r"periods must be above 0 a year, was 0"):
        metrics.sharpe([0.1, 0.2], periods=0)
    with pytest.raises(DataError, match=r"returns must be one column of numbers, was \(1, 2\)"):
        metrics.sharpe([[0.1, 0.2]])


def test_the_summary_has_benchmark_metrics_only_with_a_benchmark() -> None:
    r, m = sample(2)
    assert "beta" not in metrics.summary(r)
    assert list(metrics.summary(r, m, days=730)) == [x.name for x in metrics.METRICS]


# --- From equity


def test_session_returns_begin_with_the_starting_capital() -> None:
    assert metrics.session_returns([110.0, 99.0], np.array([1, 2]), 100.0).tolist() == near([0.1, -0.1])


def test_a_session_has_one_return_at_any_bar_interval() -> None:
    sessions = np.array([1, 1, 1, 4, 5, 5])
    assert metrics.session_returns([7.0, 8.0, 110.0, 121.0, 3.0, 60.5], sessions, 100.0).tolist() == near([0.1, 0.1, -0.5])
    assert metrics.session_ends(sessions).tolist() == [2, 3, 5]


def test_no_bars_have_no_session_returns() -> None:
    assert metrics.session_returns([], np.array([], np.int64), 100.0).tolist() == []


def test_nothing_is_earned_on_an_equity_of_nothing() -> None:
    found = metrics.session_returns([0.0, 0.0], np.array([1, 2]), 100.0)
    assert found[0] == -1.0
    assert metrics.cumulative_return.measured(found).reason == "return 1 is nan"


def test_equity_and_sessions_must_be_of_one_length() -> None:
    with pytest.raises(DataError, match="equity must have 2 values, one for each bar's session, had 1"):
        metrics.session_returns([1.0], np.array([1, 2]), 1.0)


def test_drawdowns_give_peak_trough_and_recovery() -> None:
    (only,) = metrics.drawdowns([100.0, 110.0, 110.0, 99.0, 88.0, 100.0, 110.0, 120.0])
    assert only.depth == near(-0.2)
    assert only[1:] == (2, 4, 6, 4)
    assert not only.open


def test_a_drawdown_that_has_not_recovered_is_open_and_lasts_to_the_end() -> None:
    (only,) = metrics.drawdowns([100.0, 90.0, 80.0, 95.0])
    assert only.depth == near(-0.2)
    assert only[1:] == (0, 2, None, 3)
    assert only.open


def test_the_five_worst_drawdowns_come_deepest_first() -> None:
    path = [100.0]
    for k, depth in enumerate([3, 1, 6, 2, 5, 4]):
        path += [path[-1] * (1 - depth / 100), 100.0 + k + 1]
    found = metrics.drawdowns(path)
    assert [round(-100 * x.depth) for x in found] == [6, 5, 4, 3, 2]
    assert metrics.drawdowns(path, 1) == found[:1]


@pytest.mark.parametrize("seed", range(5))
def test_the_deepest_drawdown_is_the_maximum_drawdown(seed: int) -> None:
    r, _ = sample(seed)
    assert metrics.drawdowns(metrics.wealth(r))[0].depth == near(metrics.max_drawdown(r))


def test_rising_equity_has_no_drawdowns() -> None:
    assert metrics.drawdowns([100.0, 101.0]) == metrics.drawdowns([100.0]) == metrics.drawdowns([]) == ()


def test_equity_that_is_no_number_is_refused_by_row() -> None:
    with pytest.raises(DataError, match="equity 1 must be a number, was nan"):
        metrics.drawdowns([100.0, nan])
    with pytest.raises(DataError, match=r"equity must begin with a capital above 0, was 0.0"):
        metrics.drawdowns([0.0, 1.0])


def test_a_market_that_trades_all_weekend_has_365_sessions_a_year() -> None:
    """Some exchanges open on Saturdays; a currency's week, by UTC, opens on a Sunday."""
    monday = 4
    assert metrics.periods_of(np.arange(monday, monday + 6)) == 252
    assert metrics.periods_of(np.arange(monday - 1, monday + 5)) == 252
    assert metrics.periods_of(np.arange(monday, monday + 7)) == 365


def test_importing_metrics_loads_no_more_than_numpy() -> None:
    code = (
        "import sys; import simulator.report.metrics; print(*sorted({'pandas', 'numba', 'scipy', 'plotly', 'pyarrow', 'simpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- Months and years


def test_a_month_is_measured_from_the_last_close_of_the_one_before() -> None:
    """Two sessions in January 2000, two in February, one in April: March has none."""
    sessions = np.array(["2000-01-28", "2000-01-31", "2000-02-01", "2000-02-29", "2000-04-03"], "datetime64[D]").astype(np.int64)
    equity = np.array([110.0, 120.0, 90.0, 132.0, 66.0])
    months = metrics.calendar_returns(equity, sessions, 100.0, "M")
    assert months == {360: near(0.2), 361: near(0.1), 363: near(-0.5)}
    assert metrics.calendar_returns(equity, sessions, 100.0, "Y") == {30: near(-0.34)}


def test_months_compound_to_their_year_and_years_to_the_whole() -> None:
    sessions = np.arange(10_000, 10_900)
    equity = 100.0 * np.cumprod(1.0 + np.random.default_rng(5).normal(0.0, 0.01, 900))
    months, years = (metrics.calendar_returns(equity, sessions, 100.0, unit) for unit in ("M", "Y"))
    for year, total in years.items():
        assert np.prod([1.0 + months[12 * year + k] for k in range(12) if 12 * year + k in months]) - 1.0 == near(total)
    assert np.prod([1.0 + total for total in years.values()]) == near(equity[-1] / 100.0)


def test_no_sessions_make_no_months() -> None:
    assert metrics.calendar_returns([], np.empty(0, np.int64), 100.0, "M") == {}
