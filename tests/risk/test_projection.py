"""Limits that hold jointly after the last transform, and by name where they cannot."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from simulator.errors import DataError
from simulator.risk.mandate import Mandate, liquidity_weights, mandate
from simulator.risk.measures import volatility_contributions
from simulator.risk.projection import project, settle, whole_lots

CHANCE = np.random.default_rng


def some_covariance(count: int, seed: int = 0) -> np.ndarray:
    x = CHANCE(seed).normal(size=(3 * count, count)) * 0.02 + CHANCE(seed + 1).normal(size=(3 * count, 1)) * 0.01
    return np.asarray(np.cov(x.T))


def test_weights_within_all_limits_come_back_as_they_are() -> None:
    allowed = project([0.2, -0.1], mandate(2, gross_max=0.5, name_max=0.2))
    assert allowed.weights.tolist() == [0.2, -0.1]
    assert allowed.conflict is None


def test_the_nearest_weights_with_a_sum_are_those_moved_all_alike() -> None:
    assert project([0.5, 0.2, 0.0], mandate(3, net=(1.0, 1.0))).weights == pytest.approx([0.6, 0.3, 0.1], abs=1e-9)


def test_the_nearest_weights_of_a_gross_are_soft_thresholded() -> None:
    """Duchi et al. (2008): all absolute weights less one number, and none below 0."""
    assert project([1.0, -0.6, 0.1], mandate(3, gross_max=1.0)).weights == pytest.approx([0.7, -0.3, 0.0], abs=1e-8)


def test_the_nearest_long_weights_that_sum_to_one_are_on_the_simplex() -> None:
    allowed = project([0.9, 0.5, -0.4], mandate(3, net=(1.0, 1.0), long_only=True))
    assert allowed.weights == pytest.approx([0.7, 0.3, 0.0], abs=1e-8)


def test_scaling_to_a_volatility_after_caps_breaks_them_and_a_projection_does_not() -> None:
    """What the founding text does: weights clipped to 0.5 %, and then scaled to a volatility, are at 1.8 %."""
    covariance, alpha = some_covariance(30), CHANCE(4).normal(size=30)
    clipped = np.clip(np.linalg.solve(covariance, alpha), -0.005, 0.005)
    scaled = clipped * (0.02 / np.sqrt(clipped @ covariance @ clipped))
    limits = mandate(30, name_max=0.005, gross_max=0.1, net=(0.0, 0.0), covariance=covariance, volatility_max=0.02)
    assert [breach.limit for breach in limits.breaches(scaled)] == ["name", "net", "gross"]
    assert limits.breaches(project(scaled, limits).weights, 1e-12) == ()


def test_every_limit_holds_jointly() -> None:
    n, chance = 40, CHANCE(3)
    held = project(chance.normal(size=n) * 0.02, mandate(n, gross_max=0.5)).weights
    limits = mandate(
        n,
        net=(-0.02, 0.02),
        gross_max=0.8,
        name_max=0.03,
        groups={"tech": range(10), "banks": range(10, 25)},
        group_max={"tech": 0.1, "banks": 0.2},
        factors={"beta": 1.0 + chance.normal(size=n) / 4, "size": chance.normal(size=n)},
        factor_max={"beta": 0.01, "size": 0.0},
        liquidity=chance.uniform(0.001, 0.05, size=n),
        held=held,
        turnover_max=0.4,
        covariance=some_covariance(n),
        volatility_max=0.004,
    )
    wild = chance.normal(size=n)
    assert len(limits.breaches(wild)) == 10
    allowed = project(wild, limits)
    assert limits.breaches(allowed.weights, 1e-12) == ()
    assert project(allowed.weights, limits).weights == pytest.approx(allowed.weights, abs=1e-12)


def test_limits_in_conflict_are_named_with_what_would_end_it() -> None:
    limits = mandate(10, net=(1.0, 1.0), name_max=0.05, turnover_max=3.0, held=np.zeros(10))
    allowed = project(np.full(10, 0.1), limits)
    assert np.isnan(allowed.weights).all()
    assert allowed.conflict is not None
    assert allowed.conflict.limits == ("name", "net")
    ((limit, by),) = allowed.conflict.giving
    assert (limit, by) == ("name", pytest.approx(0.05, abs=1e-6))
    assert allowed.conflict.words == "these limits cannot all hold: name, net; move name by 0.05"


def test_a_volatility_that_no_invested_book_has_is_named() -> None:
    covariance = some_covariance(5)
    least = 1.0 / np.sqrt(np.linalg.inv(covariance).sum())
    limits = mandate(5, net=(1.0, 1.0), covariance=covariance, volatility_max=0.9 * least)
    conflict = project(np.full(5, 0.2), limits).conflict
    assert conflict is not None
    assert conflict.limits == ("net", "volatility")
    assert project(np.full(5, 0.2), mandate(5, net=(1.0, 1.0), covariance=covariance, volatility_max=1.1 * least)).conflict is None


def test_two_limits_that_meet_in_one_point_leave_that_point() -> None:
    assert project([1.0, 0.0, 0.0], mandate(3, net=(0.9, 0.9), name_max=0.3)).weights == pytest.approx([0.3, 0.3, 0.3], abs=1e-9)


def test_what_a_solver_leaves_is_settled_to_rounding() -> None:
    """Ten thousand times the solver's tolerance off, and within all limits after."""
    covariance = some_covariance(20)
    limits = mandate(20, net=(0.0, 0.0), gross_max=0.5, name_max=0.06, covariance=covariance, volatility_max=0.002)
    found = project(CHANCE(5).normal(size=20), limits).weights
    off = found + CHANCE(6).normal(size=20) * 1e-5
    assert limits.breaches(off)
    settled = settle(off, limits)
    assert limits.breaches(settled, 1e-12) == ()
    assert settled == pytest.approx(found, abs=1e-4)


# --- Whole lots


def test_weights_in_whole_lots_are_rounded_toward_zero() -> None:
    assert whole_lots([0.259, -0.251, 0.1], [0.01, 0.02, 0.1], mandate(3, gross_max=1.0)).lots.tolist() == [25, -12, 1]


def test_rounding_breaks_a_net_exposure_and_single_lots_mend_it() -> None:
    """Toward zero, 0.25 - 0.25 is 0.24 - 0.21: beyond 2 %."""
    limits = mandate(2, net=(-0.02, 0.02), gross_max=1.0)
    unit = np.array([0.03, 0.07])
    assert limits.breaches(np.array([8, -3]) * unit)
    lots = whole_lots([0.25, -0.25], unit, limits).lots
    assert limits.breaches(lots * unit) == ()


@pytest.mark.parametrize("seed", range(20))
def test_every_limit_holds_in_whole_lots(seed: int) -> None:
    n, chance = 15, CHANCE(seed)
    limits = mandate(
        n,
        net=(-0.01, 0.01),
        gross_max=1.0,
        name_max=0.15,
        groups={"first": range(7)},
        group_max=0.4,
        factors={"beta": 1.0 + chance.normal(size=n) / 4},
        factor_max=0.02,
        held=np.zeros(n),
        turnover_max=0.9,
        covariance=some_covariance(n, seed),
        volatility_max=0.006,
    )
    unit = chance.uniform(0.0005, 0.004, size=n)
    found = whole_lots(chance.normal(size=n), unit, limits)
    assert found.conflict is None
    assert limits.breaches(found.lots * unit) == ()


def test_lots_too_coarse_for_a_limit_are_named() -> None:
    conflict = whole_lots([0.5, -0.5], [0.3, 0.4], mandate(2, net=(0.01, 0.02), gross_max=1.0)).conflict
    assert conflict is not None
    assert conflict.limits == ("net", "whole lots")


# --- What a mandate is


def test_liquid_weights_are_what_can_be_left_in_time() -> None:
    """A tenth of a million shares at 50 is 5 million a day; in two days ten, of a hundred."""
    assert liquidity_weights([1_000_000.0], [50.0], equity=1e8, days=2.0) == pytest.approx([0.1])


def test_a_book_at_its_volatility_limit_contributes_it_in_parts() -> None:
    covariance = some_covariance(8)
    book = project(np.ones(8), mandate(8, covariance=covariance, volatility_max=0.01)).weights
    assert volatility_contributions(book, covariance).component.sum() == pytest.approx(0.01, abs=1e-9)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gross_max": -1.0}, "gross_max must be at least 0"),
        ({"gross_max": np.nan}, "gross_max must be at least 0"),
        ({"net": (1.0, 0.0)}, "net must be from a low to a high"),
        ({"name_max": [1.0, 2.0]}, "name must be at least 0, one or"),
        ({"groups": {"tech": [3]}, "group_max": 0.5}, "group tech has no instrument 3"),
        ({"factors": {"beta": [1.0]}}, "the loadings of beta must be"),
        ({"turnover_max": 0.5}, "turnover_max needs the weights that are held"),
        ({"volatility_max": 0.5}, "volatility_max needs a covariance"),
        ({"covariance": np.eye(2)}, "the covariance must be of 3 instruments"),
    ],
)
def test_a_mandate_that_cannot_be_meant_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        mandate(3, **wrong)  # type: ignore[arg-type]


def test_no_limit_is_no_limit() -> None:
    assert mandate(3).breaches([100.0, -100.0, 7.0]) == ()
    assert isinstance(mandate(3, gross_max=inf, group_max=0.1), Mandate)
