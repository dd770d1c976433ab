"""Regime models: filtered forward only, in one order, the same for the same seed; and terciles of the past."""

from __future__ import annotations

from dataclasses import replace
from math import isnan, nan, sqrt
from typing import Any

import numpy as np
import pytest
from hmmlearn.hmm import GMMHMM, GaussianHMM

from simulator.errors import DataError, ScenarioError
from simulator.feeds.synthetic import Markov
from simulator.loop.randomness import stream
from simulator.models.regimes import (
    RegimeModel,
    decode_states,
    filter_states,
    fit_regimes,
    nine_regimes,
    predict_next,
    regime_statistics,
    smooth_states,
    tercile_regimes,
    trailing_volatility,
    volatility_regimes,
)

START = np.array([0.5, 0.3, 0.2])
MOVES = np.array([[0.9, 0.08, 0.02], [0.05, 0.9, 0.05], [0.01, 0.09, 0.9]])


def two_features(rows: int = 120) -> np.ndarray:
    """Returns and something that goes with them, of daily size, with one day that no state expects."""
    x = stream(3, "test").standard_normal((rows, 2)) * [0.01, 0.2] + [0.0, 1.0]
    x[rows // 2] = [-0.2, 4.0]
    return x


def two_regimes(rows: int = 600, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Returns of a market whose regimes are known, and these."""
    feed = Markov(bars=rows + 1)
    states = feed.states(seed)[1:]
    shocks = stream(seed, "test.returns").standard_normal(rows)
    return np.where(states == 1, 0.001 + 0.006 * shocks, -0.002 + 0.02 * shocks), states


def theirs(kind: str, covariance: str) -> Any:
    """A model of hmmlearn's with parameters that are set and not fitted."""
    full = np.array([[[4e-4, 1e-3], [1e-3, 9e-2]], [[1e-4, -5e-4], [-5e-4, 4e-2]], [[2.5e-5, 0.0], [0.0, 1e-2]]])
    means = np.array([[-0.004, 1.3], [0.0, 1.0], [0.002, 0.8]])
    if kind == "gmm":
        model = GMMHMM(3, 2, covariance_type="full", init_params="")
        model.weights_ = np.array([[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]])
        model.means_ = np.stack([means, means + np.array([0.003, 0.1])], axis=1)
        model.covars_ = np.stack([full, 2.0 * full], axis=1)
    else:
        model = GaussianHMM(3, covariance, init_params="")
        model.means_, model.n_features = means, 2
        shapes = {"full": full, "diag": full[:, [0, 1], [0, 1]], "tied": full.mean(axis=0), "spherical": np.array([0.02, 0.01, 0.005])}
        model.covars_ = shapes[covariance]
    model.startprob_, model.transmat_ = START, MOVES
    return model


@pytest.mark.parametrize(("kind", "covariance"), [("gaussian", c) for c in ("full", "diag", "tied", "spherical")] + [("gmm", "full")])
def test_filtering_is_what_hmmlearn_says_of_the_last_row_of_every_prefix(kind: str, covariance: str) -> None:
    model, x = theirs(kind, covariance), two_features()
    weights = model.weights_ if kind == "gmm" else None
    ours, likelihood = filter_states(START, MOVES, model.means_, model.covars_, x, weights)
    last = np.array([model.predict_proba(x[:t])[-1] for t in range(1, len(x) + 1)])
    np.testing.assert_allclose(ours, last, rtol=0.0, atol=1e-8)
    assert likelihood == pytest.approx(model.score(x), rel=1e-8)


def test_smoothing_and_decoding_are_hmmlearns_too() -> None:
    model, x = theirs("gaussian", "full"), two_features()
    np.testing.assert_allclose(smooth_states(START, MOVES, model.means_, model.covars_, x), model.predict_proba(x), rtol=0.0, atol=1e-8)
    assert decode_states(START, MOVES, model.means_, model.covars_, x).tolist() == model.predict(x).tolist()


def test_diagonal_covariances_and_a_single_feature_may_be_written_short() -> None:
    variances, means, x = np.array([[4e-4], [1e-4], [2.5e-5]]), np.array([[-0.004], [0.0], [0.002]]), two_features()[:, 0]
    short, one = filter_states(START, MOVES, means, variances, x)
    whole, two = filter_states(START, MOVES, means, variances[:, :, None], x[:, None])
    np.testing.assert_array_equal(short, whole)
    assert one == two


def test_what_was_known_does_not_change_when_later_rows_come() -> None:
    model, x = theirs("gaussian", "full"), two_features()
    whole, _ = filter_states(START, MOVES, model.means_, model.covars_, x)
    for end in (1, 17, 60, 119):
        np.testing.assert_array_equal(filter_states(START, MOVES, model.means_, model.covars_, x[:end])[0], whole[:end])


def test_hindsight_does_change_when_later_rows_come() -> None:
    model, x = theirs("gaussian", "full"), two_features()
    whole = smooth_states(START, MOVES, model.means_, model.covars_, x)
    early = smooth_states(START, MOVES, model.means_, model.covars_, x[:60])
    assert np.abs(whole[:60] - early).max() > 0.01


def test_one_row_further_is_the_same_as_filtering_anew() -> None:
    returns, _ = two_regimes()
    model = fit_regimes(returns[:400], states=2, restarts=1)
    known = model.filter(returns[:400])[0][-1]
    for row in returns[400:420]:
        known = model.after(known, row)
    np.testing.assert_allclose(known, model.filter(returns[:420])[0][-1], rtol=1e-12)


def test_a_row_that_is_all_but_impossible_does_not_underflow() -> None:
    """State 1 cannot be reached, and only it explains the row."""
    start, moves = [1.0, 0.0], [[1.0, 0.0], [0.5, 0.5]]
    probabilities, likelihood = filter_states(start, moves, [[0.0], [50.0]], [[[1.0]], [[1.0]]], [0.0, 50.0])
    assert probabilities.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert likelihood == pytest.approx(-np.log(2.0 * np.pi) - 1250.0)


def test_the_next_state_is_predicted_by_one_transition() -> None:
    assert predict_next([1.0, 0.0, 0.0], MOVES).tolist() == MOVES[0].tolist()
    assert predict_next(np.eye(3), MOVES).tolist() == MOVES.tolist()


@pytest.mark.parametrize(
    ("kind", "covariance", "width"),
    [("gaussian", c, w) for c in ("full", "diag", "tied", "spherical") for w in (1, 2)]
    + [("gmm", c, 2) for c in ("full", "diag", "tied", "spherical")],
)
def test_every_kind_of_model_is_fitted_in_the_features_own_units(kind: Any, covariance: Any, width: int) -> None:
    returns, _ = two_regimes(300)
    x = np.column_stack([returns, 20.0 + 500.0 * np.abs(returns)])[:, :width]
    model = fit_regimes(x, states=2, kind=kind, covariance=covariance, restarts=2)
    assert model.filter(x)[1] == pytest.approx(model.log_likelihood, rel=1e-8)
    assert model.converged
    middle = model.means if model.weights is None else np.einsum("km,kmd->kd", model.weights, model.means)
    assert middle[0, 0] < middle[1, 0]
    assert (np.abs(middle[:, 0]) < 0.05).all()


def test_fitting_finds_the_regimes_that_made_the_returns() -> None:
    returns, states = two_regimes(1500)
    model = fit_regimes(returns, states=2)
    np.testing.assert_allclose(np.sqrt(model.covars.ravel()), [0.02, 0.006], rtol=0.15)
    known = model.filter(returns)[0].argmax(axis=1)
    assert (known == states).mean() > 0.85


def test_states_are_sorted_from_bear_to_bull() -> None:
    returns, _ = two_regimes()
    for states in (2, 3, 4):
        model = fit_regimes(returns, states=states, restarts=2)
        assert model.means[:, 0].tolist() == sorted(model.means[:, 0].tolist())
    # Upside down, the volatile state is the bull.
    assert fit_regimes(-returns, states=2).covars.ravel().argmax() == 1


def test_features_are_scaled_before_hmmlearn_sees_them() -> None:
    """Unscaled, its prior of 0.01 on a variance makes a day's deviation 0.1 or more of anything."""
    returns, _ = two_regimes()
    fits = [fit_regimes(returns * unit, states=2) for unit in (1.0, 1000.0)]
    np.testing.assert_allclose(fits[0].transmat, fits[1].transmat, rtol=1e-6)
    np.testing.assert_allclose(fits[0].means * 1000.0, fits[1].means, rtol=1e-6)
    one_gaussian = -0.5 * len(returns) * (np.log(2.0 * np.pi * returns.var()) + 1.0)
    assert fits[0].log_likelihood > one_gaussian + 50.0


def test_more_starts_never_end_lower() -> None:
    returns, _ = two_regimes(250)
    likelihoods = [fit_regimes(returns, states=3, restarts=restarts).log_likelihood for restarts in (1, 2, 4)]
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[-1] > likelihoods[0]


def same(one: RegimeModel, other: RegimeModel) -> bool:
    names = ("startprob", "transmat", "means", "covars")
    return one.log_likelihood == other.log_likelihood and all((getattr(one, name) == getattr(other, name)).all() for name in names)


@pytest.mark.parametrize("kind", ["gaussian", "gmm"])
def test_a_fit_is_a_function_of_its_seed(kind: Any) -> None:
    returns, _ = two_regimes(300)
    first = fit_regimes(returns, states=2, kind=kind, restarts=1, seed=7)
    assert same(first, fit_regimes(returns, states=2, kind=kind, restarts=1, seed=7))
    assert not same(first, fit_regimes(returns, states=2, kind=kind, restarts=1, seed=8))


def test_the_number_of_states_is_chosen_by_bic() -> None:
    returns, _ = two_regimes(1000)
    fits = {states: fit_regimes(returns, states=states) for states in (2, 3, 4)}
    best = min(fits, key=lambda states: fits[states].bic)
    assert fit_regimes(returns, states=(2, 4)).states == best == 2
    # One start probability, two transitions, two means, two variances.
    assert fits[2].bic == pytest.approx(7 * np.log(1000) - 2.0 * fits[2].log_likelihood)


def test_a_sticky_prior_makes_regimes_last() -> None:
    noise = stream(1, "test.noise").standard_normal(400)
    loose, sticky = (fit_regimes(noise, states=2, sticky=sticky, restarts=3).transmat.trace() for sticky in (0.0, 200.0))
    assert sticky > loose
    assert sticky > 1.4


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones(100), r"feature 0 is 1.0 in all 100 rows"),
        (np.column_stack([np.arange(100.0), np.ones(100)]), r"feature 1 is 1.0 in all 100 rows"),
        (np.arange(20.0), r"3 states of 1 features need at least 30 rows, were 20"),
        (np.where(np.arange(100) == 7, nan, np.arange(100.0)), r"feature 0 is nan in row 7; leave out"),
        (np.zeros((0, 1)), r"must be \(rows, features\) with something in it, were \(0, 1\)"),
    ],
)
def test_what_cannot_be_fitted_is_said(features: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_regimes(features)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"states": 6}, "states must be from 2 to 5, or a range within, was 6"),
        ({"states": (4, 2)}, r"was \(4, 2\)"),
        ({"kind": "poisson"}, "kind must be 'gaussian' or 'gmm', was 'poisson'"),
        ({"covariance": "ful"}, "did you mean 'full'"),
        ({"restarts": 0}, "restarts must be at least 1, was 0"),
        ({"sticky": -1.0}, "sticky must be at least 0, was -1.0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        fit_regimes(np.arange(100.0), **terms)


def test_parameters_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(DataError, match="must speak of the same states"):
        filter_states([0.5, 0.5], MOVES, np.zeros((3, 1)), np.ones((3, 1)), [0.0])
    with pytest.raises(DataError, match="do not fit rows of 2 features"):
        filter_states(START, MOVES, np.zeros((3, 1)), np.ones((3, 1)), [[0.0, 0.0]])
    with pytest.raises(DataError, match="covariance of state 1 is not positive definite"):
        filter_states(START, MOVES, np.zeros((3, 1)), [[1.0], [-1.0], [1.0]], [0.0])
    with pytest.raises(DataError, match="feature 0 is nan in row 1"):
        filter_states(START, MOVES, np.zeros((3, 1)), np.ones((3, 1)), [0.0, nan])


def test_a_fit_that_was_cut_short_says_so() -> None:
    returns, _ = two_regimes(300)
    assert fit_regimes(returns, states=2, restarts=1).converged
    cut = fit_regimes(returns, states=2, restarts=1, iterations=2)
    assert (cut.converged, cut.iterations) == (False, 2)


def test_terciles_are_of_the_values_before() -> None:
    """Of 1, 2, 3, 4 the edges are 2 and 3."""
    values = [1.0, 2.0, 3.0, 4.0, 2.0, 2.5, 3.5]
    assert tercile_regimes(values, minimum=4).tolist() == [-1, -1, -1, -1, 0, 1, 2]


def test_terciles_of_a_trailing_window_forget() -> None:
    """3.5 is in the lower third of 3, 4, 100 and 101, and in the middle of all six values before it."""
    values = [1.0, 2.0, 3.0, 4.0, 100.0, 101.0, 3.5]
    assert tercile_regimes(values, window=4, minimum=4).tolist() == [-1, -1, -1, -1, 2, 2, 0]
    assert tercile_regimes(values, minimum=4).tolist() == [-1, -1, -1, -1, 2, 2, 1]


def test_a_value_that_is_missing_has_no_regime_and_is_no_past() -> None:
    assert tercile_regimes([1.0, nan, 2.0, 3.0, nan, 9.0], minimum=3).tolist() == [-1, -1, -1, -1, -1, 2]
    assert tercile_regimes([1.0, nan, 2.0, 3.0, nan, 9.0], window=3, minimum=3).tolist() == [-1] * 6


@pytest.mark.parametrize("window", [None, 300])
def test_terciles_do_not_change_when_later_values_come(window: int | None) -> None:
    returns, _ = two_regimes(900)
    whole = volatility_regimes(returns, window=window)
    for end in (300, 500, 899):
        assert volatility_regimes(returns[:end], window=window).tolist() == whole[:end].tolist()
    assert set(whole.tolist()) == {-1, 0, 1, 2}


@pytest.mark.parametrize("window", [None, 40])
def test_terciles_are_numpys_quantiles(window: int | None) -> None:
    values = stream(2, "test.terciles").standard_normal(120)
    values[::13] = nan
    for t, regime in enumerate(tercile_regimes(values, window=window, minimum=30).tolist()):
        past = values[0 if window is None else max(0, t - window) : t]
        past = past[~np.isnan(past)]
        if regime >= 0:
            assert regime == int((values[t] > np.quantile(past, [1 / 3, 2 / 3])).sum())
        else:
            assert len(past) < 30 or isnan(values[t])


def test_terciles_of_the_whole_sample_would_have_told_another_story() -> None:
    """What was known then differs from what a quantile over all rows says, on a good part of the days."""
    returns, _ = two_regimes(1500)
    volatility = trailing_volatility(returns)
    known = volatility_regimes(returns)
    hindsight = (volatility[:, None] > np.nanquantile(volatility, [1 / 3, 2 / 3])).sum(axis=1)
    seen = known >= 0
    assert (known != hindsight)[seen].mean() > 0.05


def test_trailing_volatility_takes_the_mean_off_and_needs_all_its_days() -> None:
    volatility = trailing_volatility([0.01, 0.03, nan, 0.01, 0.02], days=2, periods=100)
    assert volatility[1] == pytest.approx(sqrt(2e-4) * 10.0)
    assert volatility[4] == pytest.approx(sqrt(5e-5) * 10.0)
    assert np.isnan(volatility[[0, 2, 3]]).all()


def test_two_terciles_make_nine_cells() -> None:
    assert nine_regimes([0, 1, 2, -1, 2], [0, 2, 2, 1, -1]).tolist() == [0, 5, 8, -1, -1]


def test_statistics_of_each_regime() -> None:
    bear, bull, never = regime_statistics([-0.01, -0.03, 0.02, 0.02, 0.05, nan], [0, 0, 1, 0, 1, 1], periods=100, count=3)
    assert (bear.rows, bull.rows, never.rows) == (3, 2, 0)
    assert (bear.share, bull.share, never.share) == (0.6, 0.4, 0.0)
    assert bear.mean == pytest.approx(100 * -0.02 / 3)
    assert bull.volatility == pytest.approx(10 * np.std([0.02, 0.05], ddof=1))
    assert bull.sharpe == pytest.approx(bull.mean / bull.volatility)
    assert (bear.duration, bull.duration) == (1.5, 1.0)
    assert all(isnan(value) for value in (never.mean, never.volatility, never.sharpe, never.duration))


def test_statistics_that_are_undefined_are_nan() -> None:
    """One return has no volatility, and three equal ones have no Sharpe ratio."""
    once, still = regime_statistics([0.01, 0.1, 0.1, 0.1], [0, 1, 1, 1])
    assert isnan(once.volatility)
    assert isnan(once.sharpe)
    assert still.volatility == pytest.approx(0.0, abs=1e-12)
    assert isnan(still.sharpe)
    assert regime_statistics([], []) == ()


def test_a_model_can_be_filtered_with_parameters_of_ones_own() -> None:
    returns, _ = two_regimes(300)
    model = fit_regimes(returns, states=2, restarts=1)
    certain = replace(model, startprob=np.array([0.0, 1.0]), transmat=np.eye(2))
    assert certain.filter(returns[:50])[0][:, 1].tolist() == [1.0] * 50
