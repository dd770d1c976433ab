"""The kit for authors: the built-in strategies keep its rules, and each rule catches what breaks it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from simulator import DAY, Instrument, PluginError, Proposal, ScenarioError, Tape, View, plugins
from simulator.conformance import RULES, conforms
from strategies.blotter import Blotter

SMALL: Final[dict[str, dict[str, Any]]] = {
    "buy_and_hold": {},
    "moving_average_cross": {"fast": 3, "slow": 8},
    "momentum": {"lookback": 5, "top": 2, "every": 3},
    "one_model": {"horizons": (1, 3, 8), "spreads": (5,), "horizon": 3, "every": 3, "minimum": 20, "refit": 20, "target_window": 10},
    "regime": {"states": 2, "window": 240, "refit": 200, "restarts": 1},
    "pairs": {"formation": 120, "rescreen": 30, "window": 30, "half_life_min": 1.0, "entry": 1.0, "patience": 9.0, "most": 2},
    "leveraged_basket": {"window": 20, "every": 10, "slices": 2},
}
"""The built-in strategies, with parameters for a short tape."""
MARKET: Final = {"pairs": "cointegrated"}
"""The markets of those that do not trade on any."""


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SMALL)
def test_the_built_in_strategies_conform(name: str, rule: str) -> None:
    entry = next(entry for entry in entry_points(group=plugins.STRATEGIES) if entry.name == name)
    kind = entry.load()
    conforms(lambda: kind(**SMALL[name]), rule, MARKET.get(name, "walks"))


ORDERS: Final = "client_id,symbol,quantity,kind,bar\na,A,100,market,3\nb,B,50,market,10\nc,A,-40,market,50\nd,C,70,market,60\n"


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"units"}))
def test_a_list_of_orders_conforms(rule: str, tmp_path: Path) -> None:
    """But for one rule: its orders are for so many shares, whatever a share is."""
    (tmp_path / "orders.csv").write_text(ORDERS)
    conforms(lambda: Blotter(str(tmp_path / "orders.csv")), rule)


def test_every_strategy_is_tried() -> None:
    names = {entry.name for entry in entry_points(group=plugins.STRATEGIES) if entry.dist and entry.dist.name == "tradewind"}
    assert names == {*SMALL, "blotter"}


@dataclass
class InTurn:
    """Buys and sells one instrument after the other: what each case below does wrong in its own way."""

    wrong: str = ""
    memory: dict[str, int] = field(default_factory=dict)

    def on_bars(self, view: View) -> Proposal:
        if view.row < 3 or view.row % 5:
            return ()
        side = 1 if view.row % 10 else -1
        if self.wrong == "causality":
            tape = view.bars.tape
            side = 1 if tape.close[min(view.row + 1, len(tape) - 1), 0] > view.value("close") else -1
        elif self.wrong == "determinism":
            self.memory["runs"] = self.memory.get("runs", 0) + 1
            side *= self.memory["runs"]
        elif self.wrong == "chunks":
            side = len(view.bars.tape) % 7 + 1
        elif self.wrong == "permutation":
            return [view.order(100 * side, 0)]
        elif self.wrong == "scale":
            side = 1 if view.value("close", "C" if "C" in view.symbols else 0) > 100.0 else -1
        elif self.wrong == "stranger":
            return [view.order(side * 100, i) for i in range(len(view.symbols))]
        elif self.wrong == "warm_up":
            return [view.order(100 * side, symbol) for symbol in view.symbols if symbol != "NONE"]
        prices = view["close"]
        return [view.order(int(1e6 / prices[i]) * 2 * side, i) for i in np.flatnonzero(view.ages == 0).tolist()]


SHARED: Final[dict[str, int]] = {}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("scale", "units", "split")])
def test_a_strategy_that_breaks_a_rule_is_told_which(rule: str) -> None:
    with pytest.raises(PluginError, match=r"LOOKS AHEAD" if rule == "causality" else f"^{rule}: "):
        conforms(lambda: InTurn(rule, SHARED), rule)


@dataclass
class AbovePrice:
    """Holds what costs more than a number."""

    price: float

    def on_bars(self, view: View) -> Proposal:
        wanted = np.where(view["close"] > self.price, 0.1, 0.0)
        return view.rebalance(np.where((wanted > 0.0) != (view.position > 0.0), wanted, np.nan))


@dataclass
class EachBar:
    """Brings all back to equal shares at each bar: how much of which way depends on how many there are, what is held does not."""

    crowd: int = 99

    def on_bars(self, view: View) -> Proposal:
        rising = view["close"] > view["open"]
        few = np.count_nonzero(np.isnan(view["close"])) < self.crowd
        return view.rebalance(np.where(rising & few, 1.0 / len(rising), 0.0)) if view.row % 3 == 0 else ()


def test_a_stranger_may_change_sizes_but_not_what_is_held() -> None:
    conforms(EachBar, "stranger")
    with pytest.raises(PluginError, match=r"^stranger: beside an instrument that never has a bar, 'long . at bar .*' became 'holds as before'"):
        conforms(lambda: EachBar(crowd=1), "stranger")


@pytest.mark.parametrize("rule", ["scale", "units", "split"])
def test_a_price_that_stands_in_the_code_is_found(rule: str) -> None:
    with pytest.raises(PluginError, match=f"^{rule}: with "):
        conforms(lambda: AbovePrice(98.0), rule)


def test_who_sends_nothing_shows_nothing() -> None:
    with pytest.raises(PluginError, match="InTurn sent no order on these 2 bars, which shows nothing"):
        conforms(InTurn, "scale", flat(2))


def test_the_same_strategy_twice_is_refused() -> None:
    one = InTurn()
    with pytest.raises(PluginError, match="must make a new one each time"):
        conforms(lambda: one, "determinism")


def test_an_unknown_rule_or_market_is_refused() -> None:
    with pytest.raises(ScenarioError, match="no such market 'walk'; did you mean 'walks'"):
        conforms(InTurn, "causality", "walk")
    with pytest.raises(ScenarioError, match="no such rule 'causalty'; did you mean 'causality'"):
        conforms(InTurn, "causalty")


def flat(bars: int) -> Tape:
    price = np.full(bars, 100.0)
    return Tape.of([Instrument("X")], (np.arange(bars) + 1) * DAY, price, price, price, price, price, interval=DAY)


def test_with_the_plug_in_one_test_becomes_one_for_each_rule(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from strategies.buy_and_hold import BuyAndHold\n\n\ndef test_it_keeps(conformance):\n    conformance(BuyAndHold)\n"
    )
    command = [sys.executable, "-m", "pytest", "-v", "-p", "simulator.conformance", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(plugins.ROOT)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for rule in RULES:
        assert f"test_it_keeps[{rule}] PASSED" in done.stdout
