"""A package of one's own to begin with: a strategy as a plug-in, a scenario that runs it, and a test that it does not look ahead."""

from __future__ import annotations

import keyword
import re
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import simulator
from simulator import plugins
from simulator.errors import SimulatorError

NAME: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_]{0,38}[A-Za-z0-9])?")

FILES: Final = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"

[project]
name = "my_strategy"
version = "0.1.0"
description = "A trading strategy for tradewind"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["tradewind"]

[project.optional-dependencies]
test = ["pytest", "mypy", "ruff"]

[project.entry-points."tradewind.strategies"]
my_strategy = "my_strategy.strategy:MyStrategy"

[tool.setuptools.package-dir]
"" = "src"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
my_strategy = ["py.typed"]

[tool.ruff]
line-length = 120

[tool.mypy]
strict = true
mypy_path = "src"
files = ["src", "tests"]

[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = "-p simulator.conformance" # a test that takes `conformance` becomes one for each rule that every strategy must keep
""",
    "README.md": """\
# my_strategy

A trading strategy for tradewind, as a plug-in. Install it beside tradewind, from the folder that this one is in:

    pip install --editable my_strategy

Then, from anywhere, `tradewind list` names it. From that same folder,

    tradewind run my_strategy/scenario.toml                          # what came of it
    tradewind run my_strategy/scenario.toml --set strategy.fallen=30 # with another parameter
    tradewind prove my_strategy/scenario.toml                        # that it does not look ahead
    tradewind run my_strategy/scenario.toml --out runs/first         # keep the run: equity, fills, journal, report.html
    tradewind state runs/first --at 2001-09-17                       # what it held then
    tradewind why runs/first 1                                       # the story of its first order

and in this folder the tests, types and style: `pip install --editable ".[test]"`, then `pytest`, `mypy` and `ruff check`.

| file | what |
| --- | --- |
| src/my_strategy/strategy.py | the strategy: its fields are its parameters |
| scenario.toml | which history it is run on, with which costs and limits |
| tests/test_my_strategy.py | that it trades as it says, does not look ahead, and keeps what every strategy must (`simulator.conformance`) |
""",
    "scenario.toml": """\
# What to replay, with which strategy, costs and limits. Any key may be overridden: tradewind run scenario.toml --set strategy.window=50

name = "my_strategy"
title = "Pullbacks of the NASDAQ composite, 1999 to 2003"
caveats = ["one index and one crash: an example, and no evidence"]
seed = 1

[feed]
kind = "packaged" # or "files", with paths = ["prices.csv"]: your own bars
source = "nasdaq"
start = 1999-01-04
end = 2003-12-31

[strategy]
name = "my_strategy"
window = 100
fallen = 40.0
recovered = 60.0
weight = 1.0

[broker]
timing = "next_open"
participation = 0.1 # of a bar's volume, for all our orders together

[broker.commission]
per_share = 0.005
minimum = 1.0 # an order

[broker.slippage]
model = "bps"
bps = 5.0

[account]
cash = 1_000_000.0

[risk]
gross_max = 1.0
drawdown_max = 0.5
on_halt = "flatten"
""",
    "src/my_strategy/__init__.py": '''\
"""A trading strategy for tradewind."""

from my_strategy.strategy import MyStrategy

__all__ = ["MyStrategy"]
''',
    "src/my_strategy/py.typed": "",
    "src/my_strategy/strategy.py": '''\
"""Buy what has fallen a little in a rising market, and sell it when it has recovered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from simulator import Indicator, Proposal, View, rsi, sma


@dataclass(frozen=True)
class MyStrategy:
    """Hold an equal share of equity in each instrument that is above its average of *window* bars and has fallen: its RSI is below *fallen*.

    It is sold when its RSI is above *recovered*, or when it is below its average. *weight* is the share of equity that all of them get together.
    """

    window: int = 100
    fallen: float = 40.0
    recovered: float = 60.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.window < 2:
            raise ValueError(f"window must be at least 2 bars, was {self.window!r}")
        if not 0.0 < self.fallen <= self.recovered < 100.0:
            raise ValueError(f"fallen must be in (0, recovered], were {self.fallen!r} and {self.recovered!r}")
        if not 0.0 < self.weight < float("inf"):
            raise ValueError(f"weight must be above 0, was {self.weight!r}")

    def indicators(self) -> dict[str, Indicator]:
        # Both sides are indicators, so that a split, from which these can be kept clear, is none between them: sma(1) is the close.
        return {"trend": sma(1) - sma(self.window), "rsi": rsi(14)}

    def on_bars(self, view: View) -> Proposal:
        # Arrays have one value an instrument. What is not known yet is NaN, and NaN compares false: then nothing is held.
        held = view.position > 0.0
        rising = view["trend"] > 0.0
        wanted = rising & np.where(held, view["rsi"] < self.recovered, view["rsi"] < self.fallen)
        changed = wanted != held
        if not changed.any():
            return ()
        weights = np.where(wanted, self.weight / len(wanted), 0.0)
        # NaN leaves an instrument alone; one without a bar now has no close to size an order by.
        return view.rebalance(np.where(changed & (view.ages == 0), weights, np.nan))
''',
    "tests/test_my_strategy.py": '''\
"""It trades as it says, and does not look ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simulator
from simulator import DAY, Instrument, Tape
from simulator.conformance import Check

from my_strategy import MyStrategy

SCENARIO = Path(__file__).parent.parent / "scenario.toml"


def test_it_buys_what_fell_in_a_rising_market_and_sells_it_again() -> None:
    """Up for 60 days, down for five, up again: one purchase on the way down, and one sale on the way up."""
    steps = np.concatenate((np.full(60, 0.01), np.full(5, -0.02), np.full(10, 0.01)))
    close = 100.0 * np.exp(np.cumsum(steps))
    days = (np.arange(len(close)) + 1) * DAY
    tape = Tape.of([Instrument("X")], days, close, close, close, close, np.full(len(close), 1e6), interval=DAY)
    strategy = MyStrategy(window=50, fallen=60.0, recovered=65.0)
    bought, sold = simulator.simulate(tape, strategy).fills
    assert bought.quantity > 0.0
    assert sold.quantity == -bought.quantity
    assert 60 < bought.bar <= 66 < sold.bar


def test_the_scenario_runs_and_trades() -> None:
    assert simulator.run(simulator.load(SCENARIO)).fills


def test_it_keeps_what_every_strategy_must(conformance: Check) -> None:
    """Causality, determinism, bars one by one, instruments in another order, other units, late beginnings: one test for each rule."""
    conformance(lambda: MyStrategy(window=20, fallen=50.0, recovered=60.0))


def test_it_does_not_look_ahead() -> None:
    """The future is replaced after several moments, everything runs again, and no byte of the past may change."""
    certificate = simulator.prove(simulator.load(SCENARIO), points=4)
    assert certificate.passed, certificate.words()


@pytest.mark.parametrize("wrong", [{"window": 1}, {"fallen": 0.0}, {"fallen": 70.0}, {"weight": 0.0}])
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MyStrategy(**wrong)  # type: ignore[arg-type]
''',
}
"""The files of a package called my_strategy, each as it is written once its name is another."""


def write(name: str, parent: Path) -> Path:
    """Make the package *name* in a new folder of *parent*, whole or not at all; where it is.

    Raises SimulatorError where it cannot have that name, or where something is there already.
    """
    folder = parent / name
    title = check(name, folder)
    try:
        with TemporaryDirectory(prefix=f".{name}.", dir=parent) as hidden:
            whole = Path(hidden) / name
            for path, text in FILES.items():
                file = whole / path.replace("my_strategy", name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text.replace("my_strategy", name).replace("MyStrategy", title), encoding="utf-8", newline="\n")
            whole.rename(folder)
    except OSError as error:
        raise SimulatorError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder


def check(name: str, folder: Path) -> str:
    """The name of the strategy's class in the package *name*. Raises SimulatorError where there can be none of that name, or not in that folder."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise SimulatorError(f"a package's name is 1 to 40 ASCII letters, digits and _, a letter first and no _ last, and no keyword; was {name!r}")
    if folder.exists() or folder.is_symlink():
        raise SimulatorError(f"{folder} is there already: choose another name, or delete it")
    title = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    if find_spec(name) is not None or is_installed(name):
        raise SimulatorError(f"there is a package '{name}' already, which this one would hide: choose another name")
    if name in plugins.names(plugins.STRATEGIES):
        raise SimulatorError(f"there is a strategy '{name}' already: choose another name")
    if title in simulator.__all__ or keyword.iskeyword(title):
        raise SimulatorError(f"the strategy's class would be called {title}, which is something else already: choose another name than '{name}'")
    return title


def is_installed(name: str) -> bool:
    """Whether there is a distribution of that name, whatever its modules are called."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def commands(name: str) -> str:
    """What to do first with a package that was made."""
    return f"    pip install --editable {name}\n    tradewind run {name}/scenario.toml\n    tradewind prove {name}/scenario.toml"
