"""Covariances: what other libraries say, what holds for any returns, and what is known where the truth is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.moments import EmpiricalCovariance as PortfolioCovariance  # type: ignore[import-untyped]
from skfolio.moments import EWCovariance
from skfolio.prior import LoadingMatrixRegression, TimeSeriesFactorModel  # type: ignore[import-untyped]
from sklearn.covariance import OAS, EmpiricalCovariance, LedoitWolf
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from simulator.errors import DataError, ScenarioError
from simulator.loop.randomness import stream
from simulator.models.covariance import (
    diagnostics,
    ewma,
    factor_model,
    forecast_bias,
    ledoit_wolf,
    marchenko_pastur,
    nonlinear_shrinkage,
    oas,
    rolling,
    sample,
)
from simulator.risk.sizing import minimum_variance

Estimator = Callable[[np.ndarray], np.ndarray]
CENTRED: dict[str, Estimator] = {
    "sample": sample,
    "ledoit_wolf": ledoit_wolf,
    "oas": oas,
    "nonlinear_shrinkage": nonlinear_shrinkage,
    "marchenko_pastur": marchenko_pastur,
    "factor_model": partial(factor_model, k=1),
}
ALL: dict[str, Estimator] = {**CENTRED, "ewma": partial(ewma, decay=0.94)}
fewer = settings(max_examples=settings().max_examples // 3)
SHAPES = [(100, 20), (40, 60), (30, 1)]


def market(rows: int, width: int, seed: int = 1) -> np.ndarray:
    """Returns of a market factor and of what each instrument does by itself, at unlike volatilities."""
    rng = stream(seed, "test.covariance")
    own = rng.standard_normal((rows, width)) * np.exp(0.5 * rng.standard_normal(width))
    return 0.01 * (own + rng.standard_normal((rows, 1))) + 0.0005


def close(ours: np.ndarray, theirs: np.ndarray, to: float = 1e-13) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=to * np.abs(theirs).max())


# --- The same as others


@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_linear_shrinkage_is_scikit_learns(rows: int, width: int) -> None:
    x = market(rows, width)
    close(ledoit_wolf(x), LedoitWolf().fit(x).covariance_)
    close(oas(x), OAS().fit(x).covariance_)


def test_oas_and_ledoit_wolf_are_two_things() -> None:
    x = market(100, 20)
    assert np.abs(oas(x) / ledoit_wolf(x) - 1.0).max() > 1e-3


def test_the_sample_covariance_divides_by_rows_less_one_or_as_scikit_learn_by_rows() -> None:
    x = market(100, 20)
    close(sample(x), PortfolioCovariance().fit(x).covariance_)
    close(sample(x), np.cov(x.T))
    close(sample(x, ddof=0), EmpiricalCovariance().fit(x).covariance_)


def test_ewma_is_skfolios_by_halflife() -> None:
    x = market(100, 20)
    close(ewma(x, halflife=20), EWCovariance(half_life=20, min_observations=1).fit(x).covariance_)


def test_ewma_by_decay_is_the_recursion_started_from_nothing_and_scaled() -> None:
    x = market(50, 3)
    state = np.zeros((3, 3))
    for row in x:
        state = 0.9 * state + 0.1 * np.outer(row, row)
    close(ewma(x, decay=0.9), state / (1.0 - 0.9**50))


def test_ewma_without_decay_is_the_mean_of_products() -> None:
    x = market(50, 3)
    close(ewma(x, decay=1.0), x.T @ x / 50)


def test_a_factor_model_of_given_factors_is_skfolios() -> None:
    import pandas as pd

    x, f = market(120, 6), market(120, 2, seed=2)
    x += f @ np.array([[1.0, 0.5, 0.0, -1.0, 2.0, 0.3], [0.2] * 6])
    fitted = TimeSeriesFactorModel(loading_matrix_estimator=LoadingMatrixRegression(linear_regressor=LinearRegression())).fit(
        pd.DataFrame(x), factors=pd.DataFrame(f)
    )
    close(factor_model(x, factors=f), fitted.return_distribution_.covariance, 1e-12)


def test_a_factor_model_of_principal_components_is_scikit_learns() -> None:
    x = market(120, 6)
    pca = PCA(2).fit(x)
    left = x - pca.inverse_transform(pca.transform(x))
    common = pca.components_.T @ np.diag(pca.explained_variance_) @ pca.components_
    close(factor_model(x, k=2), common + np.diag(left.var(axis=0, ddof=1)), 1e-12)


def test_principal_components_as_given_factors_are_the_statistical_model() -> None:
    x = market(120, 6)
    close(factor_model(x, factors=PCA(2).fit_transform(x)), factor_model(x, k=2), 1e-12)


def by_the_paper(x: np.ndarray) -> np.ndarray:
    """Equations 4.3 to 4.9 and C.4 to C.8 one eigenvalue at a time, as they are printed, in 80 bits."""
    n, p = len(x) - 1, x.shape[1]
    values, vectors = np.linalg.eigh(np.cov(x.T))
    known = values[-min(n, p) :].astype(np.longdouble)
    pi, five, h = np.longdouble("3.14159265358979323846"), np.sqrt(np.longdouble(5)), np.longdouble(n) ** (-1 / np.longdouble(3))
    moved = []
    for a in known:
        density, hilbert = np.longdouble(0), np.longdouble(0)
        for b in known:
            away = (a - b) / (h * b)
            density += 3 / (4 * five) * max(1 - away**2 / 5, np.longdouble(0)) / (h * b * len(known))
            logs = 3 / (4 * five * pi) * (1 - away**2 / 5) * np.log(np.abs((five - away) / (five + away)))
            hilbert += (-3 / (10 * pi) * away + logs) / (h * b * len(known))
        c = np.longdouble(p) / n
        if p <= n:
            moved.append(a / ((pi * c * a * density) ** 2 + (1 - c - pi * c * a * hilbert) ** 2))
        else:
            moved.append(a / (pi**2 * a**2 * (density**2 + hilbert**2)))
    if p > n:
        logs = np.log((1 + five * h) / (1 - five * h))
        at_zero = (3 / (10 * h**2) + 3 / (4 * five * h) * (1 - 1 / (5 * h**2)) * logs) / pi * (1 / known).mean()
        moved = [1 / (pi * np.longdouble(p - n) / n * at_zero)] * (p - n) + moved
    shrunk: np.ndarray = (vectors * np.array(moved, np.float64)) @ vectors.T
    return shrunk


@pytest.mark.parametrize(("rows", "width"), [(80, 12), (40, 36), (24, 40), (13, 2)])
def test_nonlinear_shrinkage_is_the_papers(rows: int, width: int) -> None:
    x = market(rows, width)
    close(nonlinear_shrinkage(x), by_the_paper(x), 1e-8)


def waves(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    t, i = np.meshgrid(np.arange(rows), np.arange(width), indexing="ij")
    return t, i


def test_nonlinear_shrinkage_is_what_nonlinshrink_prints() -> None:
    """nonlinshrink 0.7, with fewer instruments than rows and with more."""
    t, i = waves(40, 3)
    few = nonlinear_shrinkage(0.01 * np.sin(1.0 + t**2 * (i + 1) * 0.37) * (1 + i / 3) + 0.005 * np.cos(t * 1.3))
    np.testing.assert_allclose(few[0] * 1e4, [0.79735178515313, 0.10937543833122, 0.47687066634924], rtol=1e-10)
    t, i = waves(20, 30)
    many = nonlinear_shrinkage(0.01 * np.sin(1.0 + (t * 31 + 7) % 17 * (i + 1) ** 1.5 * 0.37 + t * i) * (1 + i / 20))
    np.testing.assert_allclose(many[0, :3] * 1e4, [1.1574839442354, -0.20160908742566, -0.15305355679377], rtol=1e-8)
    assert np.trace(many) * 1e4 == pytest.approx(43.761301156006, rel=1e-9)


def test_nonlinear_shrinkage_keeps_its_digits_where_eigenvalues_are_far_apart() -> None:
    """The numbers are the formula's in 60 digits. As printed it loses all but two or three of 16 here."""
    t, i = waves(16, 20)
    ours = nonlinear_shrinkage(0.01 * np.sin(1.0 + t**2 * (i + 1) * 0.37) * (1 + i / 20) + 0.005 * np.cos(t * 1.3))
    np.testing.assert_allclose(ours[0, :3] * 1e4, [0.7117704444239, 0.21167567532347, 0.21502797643532], rtol=1e-10)
    assert np.trace(ours) * 1e4 == pytest.approx(24.276337171199, rel=1e-12)


@pytest.mark.parametrize(("rows", "width"), [(100, 20), (40, 60)])
def test_clipping_is_what_its_definition_says_one_eigenvalue_at_a_time(rows: int, width: int) -> None:
    x = market(rows, width)
    values, vectors = np.linalg.eigh(np.corrcoef(x.T))
    edge = (1.0 + sqrt(width / rows)) ** 2
    noise = [value for value in values if value < edge]
    cleaned = np.zeros((width, width))
    for value, vector in zip(values, vectors.T, strict=True):
        cleaned += np.outer(vector, vector) * (value if value >= edge else sum(noise) / len(noise))
    spreads = x.std(axis=0, ddof=1)
    close(
        marchenko_pastur(x),
        np.array([[cleaned[i, j] / sqrt(cleaned[i, i] * cleaned[j, j]) for j in range(width)] for i in range(width)]) * np.outer(spreads, spreads),
        1e-12,
    )
    assert 0 < len(noise) < width


# --- What holds for any returns


@pytest.mark.parametrize("name", ALL)
@fewer
@given(seed=st.integers(0, 10_000), rows=st.integers(13, 60), width=st.integers(1, 40))
def test_a_covariance_is_symmetric_and_gives_no_book_a_negative_variance(name: str, seed: int, rows: int, width: int) -> None:
    matrix = ALL[name](market(rows, width, seed))
    assert (matrix == matrix.T).all()
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-14 * np.abs(matrix).max() * width


@pytest.mark.parametrize("name", ALL)
@fewer
@given(seed=st.integers(0, 10_000), rows=st.integers(13, 60), width=st.integers(1, 20), scale=st.sampled_from([1e-9, 0.01, 3.0, 1e6]))
def test_instruments_in_another_order_or_unit_are_the_same_covariance_in_that_order_and_unit(
    name: str, seed: int, rows: int, width: int, scale: float
) -> None:
    x, order = market(rows, width, seed), stream(seed, "test.order").permutation(width)
    matrix = ALL[name](x)
    close(ALL[name](scale * x[:, order]), scale**2 * matrix[np.ix_(order, order)], 1e-7)


@pytest.mark.parametrize("name", CENTRED)
@fewer
@given(seed=st.integers(0, 10_000))
def test_a_constant_added_to_returns_changes_nothing(name: str, seed: int) -> None:
    x = market(30, 8, seed)
    close(CENTRED[name](x + np.arange(8.0)), CENTRED[name](x), 1e-7)


@pytest.mark.parametrize("name", ["sample", "marchenko_pastur", "factor_model"])
def test_these_keep_each_instruments_sample_variance(name: str) -> None:
    x = market(40, 60)
    np.testing.assert_allclose(np.diagonal(ALL[name](x)), x.var(axis=0, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("name", ["ledoit_wolf", "oas", "nonlinear_shrinkage"])
def test_these_can_be_inverted_where_there_are_more_instruments_than_rows(name: str) -> None:
    assert diagnostics(sample(market(40, 60))).condition == inf
    assert diagnostics(ALL[name](market(40, 60))).condition < 1e4


@pytest.mark.parametrize("name", ALL)
def test_returns_are_left_as_they_were(name: str) -> None:
    x = market(30, 8)
    before = x.copy()
    ALL[name](x)
    assert (x == before).all()


# --- Where the truth is known


def spread_out(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal returns with known variances, a fifth of them 1, two fifths 3 and two fifths 10: the example of Ledoit and Wolf."""
    variances = np.repeat([1.0, 3.0, 3.0, 10.0, 10.0], width // 5)
    return stream(5, "test.truth").standard_normal((rows, width)) * np.sqrt(variances), np.diag(variances)


@pytest.mark.parametrize(("rows", "width"), [(200, 100), (100, 200)])
def test_nonlinear_shrinkage_is_nearer_to_the_truth_than_linear_and_that_than_the_sample(rows: int, width: int) -> None:
    x, truth = spread_out(rows, width)
    errors = [float(((estimator(x) - truth) ** 2).sum()) for estimator in (nonlinear_shrinkage, ledoit_wolf, sample)]
    assert errors[0] < errors[1] < errors[2]


def test_a_rule_of_thumb_for_shrinking_eigenvalues_is_not_nonlinear_shrinkage() -> None:
    """value / (1 + c (1 - value / mean)) is below 0 for values above (1 + 1/c) times the mean, and shrinks small ones further."""
    x = market(60, 40)
    values, vectors = np.linalg.eigh(sample(x))
    c = 40 / 60
    thumb = values / (1.0 + c * (1.0 - values / values.mean()))
    ours = np.diagonal(vectors.T @ nonlinear_shrinkage(x) @ vectors)
    assert thumb[-1] < 0.0 < ours[-1] < values[-1]
    assert thumb[0] < values[0] < ours[0]


def test_instruments_that_combine_to_nothing_are_treated_as_the_fewer_that_they_are() -> None:
    x = market(60, 5)
    alone = nonlinear_shrinkage(x)
    with_still = nonlinear_shrinkage(np.column_stack([x, np.full(60, 0.1)]))
    close(with_still[:5, :5], alone, 1e-12)
    assert np.abs(with_still[5]).max() <= 1e-15 * alone.max()
    twice = nonlinear_shrinkage(x[:, [0, 0, 1, 2, 3, 4]])
    spread = np.array([1.0, -1.0, 0, 0, 0, 0])
    assert abs(spread @ twice @ spread) <= 1e-15 * alone.max()
    assert (nonlinear_shrinkage(np.full((20, 3), 0.1)) == 0.0).all()


def test_clipping_leaves_one_factor_of_a_market_with_one_and_no_correlation_where_there_is_none() -> None:
    noise = stream(6, "test.noise").standard_normal((400, 40))
    np.testing.assert_allclose(marchenko_pastur(noise), np.diag(noise.var(axis=0, ddof=1)), atol=1e-12)
    values = np.linalg.eigvalsh(marchenko_pastur(noise + stream(6, "test.factor").standard_normal((400, 1))))
    assert values[-1] > 10.0 * values[-2]


# --- Through time


def test_a_rolling_covariance_sees_its_window_and_no_later_row() -> None:
    x = market(30, 3)
    known = dict(rolling(x, 10, sample))
    assert list(known) == list(range(9, 30))
    for row, matrix in known.items():
        assert (matrix == sample(x[row - 9 : row + 1])).all()
    later = x.copy()
    later[20:] = 9.0
    assert all((matrix == known[row]).all() for row, matrix in rolling(later, 10, sample) if row < 20)


def test_a_rolling_covariance_can_be_made_less_often() -> None:
    assert [row for row, _ in rolling(market(30, 3), 10, sample, every=7)] == [9, 16, 23]


def test_the_diagnostics_of_an_identity_of_one_factor_and_of_two_by_hand() -> None:
    assert diagnostics(np.eye(4)) == pytest.approx((1.0, 4.0))
    assert diagnostics(np.ones((4, 4))) == pytest.approx((inf, 1.0))
    # Shares 3/4 and 1/4: e to 3/4 log(4/3) + 1/4 log 4.
    assert diagnostics(np.diag([3.0, 1.0])) == pytest.approx((3.0, (4 / 3) ** 0.75 * 4**0.25))
    assert np.isnan(diagnostics(np.zeros((2, 2)))).all()


def test_the_bias_of_a_forecast_is_1_for_a_book_that_was_not_chosen() -> None:
    found = forecast_bias(market(1500, 10), 250, sample)
    assert found.rows == 1250
    assert found.bias == pytest.approx(1.0, abs=0.07)
    assert found.realised == pytest.approx(found.predicted, rel=0.07)


def test_a_book_chosen_for_little_risk_has_more_than_the_sample_says_and_shrinkage_says_so() -> None:
    x = market(400, 50)
    biases = [forecast_bias(x, 70, estimator, minimum_variance, every=20).bias for estimator in (sample, nonlinear_shrinkage)]
    assert biases[0] > 3.0
    assert 1.0 < biases[1] < biases[0] / 2.0


def test_a_forecast_is_made_by_hand() -> None:
    x = np.array([[0.01], [-0.01], [0.03], [-0.02], [0.04]])
    found = forecast_bias(x, 2, sample, weights=[2.0])
    variances = [4 * np.var(x[t : t + 2], ddof=1) for t in range(3)]
    ratios = [2 * x[t + 2, 0] / sqrt(variances[t]) for t in range(3)]
    assert found == pytest.approx((2 * np.std(x[2:], ddof=1), sqrt(np.mean(variances)), np.std(ratios, ddof=1), 3))


def test_a_forecast_judges_each_row_once_by_the_last_matrix_before_it() -> None:
    x = market(40, 3)
    assert forecast_bias(x, 10, sample, every=7).rows == 30


def test_a_book_predicted_without_risk_has_no_bias() -> None:
    x = np.column_stack([market(20, 1), np.zeros(20)])
    assert np.isnan(forecast_bias(x, 10, sample, weights=[0.0, 1.0]).bias)


# --- What cannot be


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("returns", "message"),
    [
        (np.zeros(20), r"must be \(rows, instruments\) with something in it, were \(20,\); one instrument alone is returns\[:, None\]"),
        (np.zeros((20, 0)), "with something in it"),
        (np.where(np.arange(40).reshape(20, 2) == 7, nan, 0.01), "must be numbers, was nan in row 3, column 1; leave out what is not known"),
        (np.full((20, 2), inf), "was inf in row 0, column 0"),
        (np.zeros((0, 2)), "with something in it"),
    ],
)
def test_returns_that_cannot_be_say_why(name: str, returns: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ALL[name](returns)


def test_too_few_rows_and_instruments_without_correlation_are_refused() -> None:
    with pytest.raises(DataError, match="at least 13 rows of returns, and there are 12"):
        nonlinear_shrinkage(market(12, 3))
    for estimator in (sample, ledoit_wolf, oas, marchenko_pastur):
        with pytest.raises(DataError, match="at least 2 rows of returns, and there are 1"):
            estimator(np.array([[0.01, 0.02]]))
    with pytest.raises(DataError, match=r"instrument 1 is 0\.1 in all 20 rows, which has no correlation; leave it out"):
        marchenko_pastur(np.column_stack([market(20, 1), np.full(20, 0.1)]))


def test_settings_that_cannot_be_meant_are_refused() -> None:
    x = market(20, 3)
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: sample(x, ddof=2), "ddof must be 0 or 1, was 2"),
        (lambda: ewma(x), "either a decay or a halflife"),
        (lambda: ewma(x, decay=0.9, halflife=3), "either a decay or a halflife"),
        (lambda: ewma(x, decay=1.5), "decay must be above 0 and at most 1, was 1.5"),
        (lambda: ewma(x, halflife=0), "halflife must be a number of rows above 0, was 0"),
        (lambda: factor_model(x), "either factors, or a number k"),
        (lambda: factor_model(x, k=4), "k must be from 1 to 3, the components that"),
        (lambda: rolling(x, 21, sample), "window must be from 1 to the 20 rows that there are, was 21"),
        (lambda: rolling(x, 5, sample, every=0), "every must be at least 1 row, was 0"),
    ]
    for call, message in wrong:
        with pytest.raises(ScenarioError, match=message):
            call()


def test_factors_matrices_and_weights_must_fit() -> None:
    x = market(20, 3)
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: factor_model(x, factors=np.zeros(19)), "factors must have 20 rows, as the returns have, had 19"),
        (lambda: factor_model(x, factors=np.zeros((20, 19))), "19 factors need at least 21 rows, and there are 20"),
        (lambda: factor_model(x, factors=np.full(20, nan)), "factors must be numbers, was nan in row 0"),
        (lambda: diagnostics(x), "square and of numbers only"),
        (lambda: diagnostics([[1.0, 2.0], [0.0, 1.0]]), "must be symmetric"),
        (lambda: diagnostics([[1.0, 2.0], [2.0, 1.0]]), "no eigenvalue below 0"),
        (lambda: forecast_bias(x, 19, sample), "needs at least 21 rows, and there are 20"),
        (lambda: forecast_bias(x, 10, sample, weights=[1.0]), "weights must be 3 numbers"),
    ]
    for call, message in wrong:
        with pytest.raises(DataError, match=message):
            call()
