"""A sizer's weights are brought within all limits of their session before they are orders, so that none is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_markets import flat, markets, plain

from simulator import Account, FloatArray, Limits, Proposal, Result, View, simulate
from simulator.risk.within import WithinLimits


class AsAsked:
    """A sizer that has nothing to say."""

    def size(self, wanted: FloatArray, view: View) -> FloatArray:
        return wanted.copy()


class Rebalance:
    """Asks for these weights at these bars."""

    def __init__(self, *weights: tuple[int, list[float]]) -> None:
        self.weights = dict(weights)

    def on_bars(self, view: View) -> Proposal:
        return view.rebalance(np.array(self.weights[view.row])) if view.row in self.weights else ()


def market() -> Any:
    """M moves at random, D twice as much, and two others by themselves."""
    chance = np.random.default_rng(4)
    moves = chance.normal(size=(60, 4)) * 0.01
    moves[:, 1] = 2.0 * moves[:, 0]
    prices = 100.0 * np.cumprod(1.0 + moves, axis=0)
    return markets(**{name: [flat(float(price), 1e4) for price in prices[:, i]] for i, name in enumerate("MDAB")})


def run(limits: Limits, *weights: tuple[int, list[float]], within: bool = True) -> Result:
    account = Account(1e6, "margin", 2.0)
    sizer: Any = WithinLimits(AsAsked(), limits, account) if within else AsAsked()
    return simulate(market(), Rebalance(*weights), broker=plain(), account=account, limits=limits, sizer=sizer)


def refused(result: Result) -> int:
    return sum(str(order.state) == "rejected" for order in result.orders)


LIMITS = [
    Limits(gross_max=0.8),
    Limits(name_max=0.2),
    Limits(groups={"ab": ("A", "B")}, group_max=0.3),
    Limits(beta_max=0.5, beta_to="M"),
    Limits(exit_days_max=2.0),
    Limits(gross_max=1.0, name_max=0.3, groups={"ab": ("A", "B")}, group_max=0.4, beta_max=0.6, beta_to="M", exit_days_max=3.0),
]


@pytest.mark.parametrize("limits", LIMITS, ids=["gross", "name", "group", "beta", "liquidity", "all"])
def test_weights_beyond_a_limit_are_refused_and_within_it_are_traded(limits: Limits) -> None:
    asked = (50, [0.4, 0.3, 0.3, 0.4])
    assert refused(run(limits, asked, within=False)) > 0
    sized = run(limits, asked)
    assert refused(sized) == 0
    assert len(sized.positions) == 4


def test_leverage_is_a_limit_too() -> None:
    """At the close that decides; a price that rises before the fill is the broker's to judge."""
    result = run(Limits(), (50, [1.0, 1.0, 1.0, 1.0]))
    tape = result.tape
    wanted = sum(order.quantity * float(tape.close[50, tape.index[order.symbol]]) for order in result.orders)
    assert wanted == pytest.approx(2e6, rel=1e-3)
    assert wanted <= 2e6


def test_weights_within_all_limits_are_traded_as_they_are() -> None:
    asked = (50, [0.1, -0.1, 0.05, 0.0])
    assert run(LIMITS[-1], asked).positions == run(LIMITS[-1], asked, within=False).positions


def test_what_is_left_alone_takes_its_room() -> None:
    """Half of equity is in M; of 80 % three tenths are left."""
    result = run(Limits(gross_max=0.8), (50, [0.5, np.nan, np.nan, np.nan]), (55, [np.nan, np.nan, 0.4, 0.4]))
    assert refused(result) == 0
    held = {
        name: units * float(result.tape.close[55, result.tape.index[name]]) / float(result.equity[55]) for name, units in result.positions.items()
    }
    assert held["A"] + held["B"] == pytest.approx(0.8 - held["M"], abs=1e-3)
    assert held["A"] == pytest.approx(held["B"], abs=1e-3)
