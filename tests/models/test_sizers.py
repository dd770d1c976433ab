"""Sizers that a scenario names: they stand between a strategy's weights and its orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_markets import flat, markets, plain

from simulator import Account, Proposal, ScenarioError, Tape, View, load, prove, run, simulate
from simulator.models.sizers import (
    AlphaOverVolatility,
    EqualRisk,
    FixedFraction,
    InverseVolatility,
    Kelly,
    MeanVariance,
    MinimumVariance,
    TargetReturn,
    VolatilityTarget,
)
from simulator.plugins import SIZERS, names
from simulator.risk import sizing
from simulator.risk.measures import volatility_contributions

ALL = (
    AlphaOverVolatility(),
    EqualRisk(60),
    FixedFraction(),
    InverseVolatility(60),
    Kelly(window=60),
    MeanVariance(window=60),
    MinimumVariance(60),
    TargetReturn(window=60),
    VolatilityTarget(),
)


@dataclass
class Wants:
    """Asks for these weights at one bar, and notes what a sizer makes of them there."""

    weights: tuple[float, ...]
    at: int = 70
    got: list[np.ndarray] = field(default_factory=list, init=False)

    def on_bars(self, view: View) -> Proposal:
        if view.row != self.at:
            return ()
        if view.sizer is not None:
            self.got.append(view.sizer.size(np.array(self.weights), view))
        return view.rebalance(np.array(self.weights))


def market(count: int = 4, rows: int = 80) -> Tape:
    """Instruments that move more the further down the list they are, with something in common."""
    chance = np.random.default_rng(5)
    moves = chance.normal(size=(rows, count)) * np.arange(1, count + 1) * 0.004 + chance.normal(size=(rows, 1)) * 0.005 + 0.0005
    prices = 100.0 * np.cumprod(1.0 + moves, axis=0)
    return markets(lot="0.0001", **{f"I{i}": [flat(float(price), 1e9) for price in prices[:, i]] for i in range(count)})


def sized(sizer: Any, *weights: float, at: int = 70) -> np.ndarray:
    strategy = Wants(weights, at)
    simulate(market(len(weights)), strategy, broker=plain(), account=Account(1e6, "margin", np.inf), sizer=sizer)
    return strategy.got[0]


def past(count: int = 4, window: int = 60) -> np.ndarray:
    marks = market(count).marks[70 - window : 71]
    return np.asarray(marks[1:] / marks[:-1] - 1.0)


def test_every_sizer_is_named_in_a_scenario() -> None:
    assert names(SIZERS) == [
        "alpha_over_volatility",
        "equal_risk",
        "fixed_fraction",
        "inverse_volatility",
        "kelly",
        "mean_variance",
        "minimum_variance",
        "target_return",
        "volatility_target",
    ]


@pytest.mark.parametrize("sizer", ALL, ids=lambda sizer: type(sizer).__name__)
def test_a_sizer_keeps_directions_and_what_is_closed_or_left_alone(sizer: Any) -> None:
    got = sized(sizer, 0.25, -0.25, 0.0, np.nan, 0.5)
    assert (got[[0, 4]] >= 0.0).all()
    assert got[1] <= 0.0
    assert np.abs(got[[0, 1, 4]]).sum() > 0.0
    assert got[2] == 0.0
    assert np.isnan(got[3])


def test_orders_are_made_of_what_the_sizer_says() -> None:
    tape, strategy = market(), Wants((0.25, 0.25, 0.25, 0.25))
    result = simulate(tape, strategy, broker=plain(), sizer=InverseVolatility(60))
    held = np.array([result.positions[instrument.symbol] for instrument in tape.instruments]) * tape.close[70] / 1e6
    assert held == pytest.approx(strategy.got[0], abs=1e-4)
    assert held[0] > held[3]


def test_inverse_volatility_shares_out_the_gross_that_was_asked_for() -> None:
    got = sized(InverseVolatility(60), 0.5, -0.1, 0.1, 0.1)
    assert np.abs(got) == pytest.approx(0.8 * sizing.inverse_volatility(past().std(axis=0, ddof=1)))


def test_equal_risk_counts_a_short_position_as_a_hedge() -> None:
    """Contributions of the book as it is held are equal, which they are not where a short one is taken for a long one."""
    got = sized(EqualRisk(60, "sample"), 0.25, -0.25, 0.25, 0.25)
    shares = volatility_contributions(got, np.cov(past().T)).component
    assert shares == pytest.approx(np.full(4, shares.mean()), abs=1e-8)


def test_a_volatility_target_is_hit_and_keeps_proportions() -> None:
    got = sized(VolatilityTarget(0.08, 60, "sample"), 0.1, -0.2, 0.3, 0.1)
    assert np.sqrt(got @ np.cov(past().T) @ got * 252) == pytest.approx(0.08)
    assert got / got[0] == pytest.approx([1.0, -2.0, 3.0, 1.0])


def test_a_target_beyond_reach_is_the_nearest_that_there_is() -> None:
    got = sized(TargetReturn(9.0, 60), 0.25, 0.25, 0.25, 0.25)
    assert got == pytest.approx(np.eye(4)[np.argmax(past().mean(axis=0))], abs=1e-9)


def test_what_has_not_enough_past_is_left_alone() -> None:
    assert np.isnan(sized(InverseVolatility(60), 0.25, 0.25, 0.0, 0.25, at=59)).tolist() == [True, True, False, True]
    assert not np.isnan(sized(InverseVolatility(60), 0.25, 0.25, 0.0, 0.25, at=60)).any()


def scenario(tmp_path: Path, sizer: str) -> Path:
    text = f"""
[feed]
kind = "walks"
[strategy]
name = "momentum"
every = 20
lookback = 40
top = 2
[sizer]
{sizer}
"""
    (tmp_path / "sized.toml").write_text(text)
    return tmp_path / "sized.toml"


def test_a_scenario_names_a_sizer_and_a_bundled_strategy_trades_by_it(tmp_path: Path) -> None:
    named = load(scenario(tmp_path, 'name = "volatility_target"\ntarget = 0.05'))
    assert '[sizer]\nname = "volatility_target"\ntarget = 0.05\nwindow = 63' in named.text
    calm, wild = run(named), run(load(tmp_path / "sized.toml", ["sizer.target=0.2"]))
    assert len(calm.fills) > 0
    assert np.diff(calm.equity).std() < 0.5 * np.diff(wild.equity).std()


def test_a_sized_scenario_does_not_look_ahead(tmp_path: Path) -> None:
    assert prove(load(scenario(tmp_path, 'name = "equal_risk"\nwindow = 30')), points=2).passed


def test_choosing_another_sizer_drops_what_was_set_for_the_one_before(tmp_path: Path) -> None:
    path = scenario(tmp_path, 'name = "volatility_target"\ntarget = 0.05')
    found = load(path, ["sizer.name=equal_risk"]).sizer
    assert found is not None
    assert (found.name, found.parameters) == ("equal_risk", {})


@pytest.mark.parametrize(
    ("sizer", "words"),
    [
        ('name = "volatility_targt"', "no such sizer 'volatility_targt'; did you mean 'volatility_target'"),
        ('name = "volatility_target"\ntaget = 0.1', "no such key 'taget'; did you mean 'target'"),
        ('name = "volatility_target"\ntarget = -0.1', "sizer.target must be above 0, was -0.1"),
        ('name = "equal_risk"\ncovariance = "best"', "sizer.covariance"),
        ('name = "kelly"\nwindow = 3', "sizer.window must be at least 13 returns, was 3"),
        ("target = 0.1", "sizer.name is missing: one of alpha_over_volatility"),
    ],
)
def test_what_a_sizer_cannot_be_is_refused_with_its_key(sizer: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=words):
        load(scenario(tmp_path, sizer))


def test_without_a_sizer_a_scenarios_text_does_not_speak_of_one() -> None:
    assert "sizer" not in load("walks").text
