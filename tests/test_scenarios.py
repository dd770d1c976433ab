"""Scenarios say what they mean, or are refused in one sentence that names file, key, value and way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from math import inf
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator import Account, Limits, ScenarioError, load
from simulator.cli import app
from simulator.scenarios import Choice, bundled, check

FEED = '[feed]\nkind = "flat"\nbars = 10\n'
STRATEGY = '[strategy]\nname = "moving_average_cross"\nfast = 2\nslow = 4\n'
GOOD = FEED + STRATEGY
BROKER = f'{GOOD}[broker]\nname = "simulated"\n'

MINE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    path: str

    def on_bars(self, view):
        return ()

@dataclass
class Broken:
    fast: int = 1

    def __post_init__(self):
        self.slow = [][self.fast]

class Bare:
    def on_bars(self, view):
        return ()

class Idle:
    pass
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a scenario into odd.toml, beside mine.py with some plug-ins."""

    def put(text: str) -> Path:
        (tmp_path / "mine.py").write_text(MINE)
        (tmp_path / "raises.py").write_text("import nowhere\n")
        (tmp_path / "syntax.py").write_text("class Mine\n")
        (tmp_path / "odd.toml").write_text(text)
        return tmp_path / "odd.toml"

    return put


# --- Malformed, each in its own way

MALFORMED = {
    # the text
    "an unclosed string": ('title = "Flat\n' + GOOD, ["not valid TOML", "line 1"]),
    "a key without a value": (GOOD + "slow =\n", ["not valid TOML: Invalid value", "line 8"]),
    "a header cut off": (GOOD + "[broker", ["not valid TOML", "at the end, line 8"]),
    "a key twice": (GOOD + "slow = 5\n", ["not valid TOML: Cannot overwrite a value", "line 8"]),
    "a table twice": (GOOD + FEED, ["not valid TOML: Cannot declare ('feed',) twice", "line 8"]),
    "a date that is none": (FEED + "start = 2021-02-29\n" + STRATEGY, ["not valid TOML: Invalid date", "line 4"]),
    "a number with a comma": (FEED + "price = 1,5\n" + STRATEGY, ["not valid TOML", "line 4"]),
    "too deep": ("caveats = " + "[" * 5000, ["not valid TOML: nested too deeply"]),
    # the top
    "nothing": ("", ["feed.kind is missing: one of ", "flat"]),
    "a misspelt table": (FEED + STRATEGY.replace("[strategy]", "[stratgy]"), ["no such key 'stratgy'; did you mean 'strategy'?"]),
    "a parameter above its table": ("fast = 2\n" + GOOD, ["no such key 'fast'", "parameters go below its [table]"]),
    "an empty name": ('name = ""\n' + GOOD, ["name must be a word or two, was ''"]),
    "a title that is a number": ("title = 5\n" + GOOD, ["title must be text in quotes", "was 5"]),
    "a caveat that is no list": ('caveats = "one"\n' + GOOD, ["caveats must be a list in square brackets", "was 'one'"]),
    "a caveat that is a number": ('caveats = ["one", 2]\n' + GOOD, ["caveats[1] must be text in quotes", "was 2"]),
    "a negative seed": ("seed = -1\n" + GOOD, ["seed must be in 0..9223372036854775807, was -1"]),
    "a seed in quotes": ('seed = "7"\n' + GOOD, ["seed must be a whole number (0 by default), was '7'"]),
    "a seed beyond 64 bits": (f"seed = {2**63}\n" + GOOD, ["seed must be in 0..9223372036854775807"]),
    # the feed
    "a feed that is a word": ('feed = "flat"\n' + STRATEGY, ["feed must be a table, [feed], was 'flat'"]),
    "several feeds": (GOOD.replace("[feed]", "[[feed]]"), ["feed must be a table, [feed], was [{"]),
    "no feed": (STRATEGY, ["feed.kind is missing: one of "]),
    "a feed without a kind": ("[feed]\nbars = 10\n" + STRATEGY, ["feed.kind is missing: one of "]),
    "a kind that is a number": ("[feed]\nkind = 7\n" + STRATEGY, ["feed.kind must be text in quotes, was 7"]),
    "a misspelt kind": (GOOD.replace('"flat"', '"flta"'), ["no such feed 'flta'; did you mean 'flat'?"]),
    "a misspelt key of the feed": (GOOD.replace("bars", "barz"), ["feed: no such key 'barz'; did you mean 'bars'?"]),
    "a feed that is a strategy": (
        GOOD.replace('"flat"', '"mine.py:Bare"').replace("bars = 10\n", ""),
        ["feed.kind must be a feed with a method load()"],
    ),
    "a feed without what it needs": ('[feed]\nkind = "packaged"\n' + STRATEGY, ["feed.source is missing: Packaged has no default for it"]),
    "a date in words": (FEED + 'start = "soon"\n' + STRATEGY, ["feed.start must be a valid date", "was 'soon'"]),
    # the strategy
    "no strategy": (FEED, ["strategy.name is missing: one of ", "momentum"]),
    "a misspelt strategy": (
        GOOD.replace("moving_average", "movin_average"),
        ["no such strategy 'movin_average_cross'; did you mean 'moving_average_cross'?"],
    ),
    "a strategy like no other": (GOOD.replace("moving_average_cross", "xyz"), ["no such strategy 'xyz'; there is: blotter", "path/to/file.py:Name"]),
    "a misspelt parameter": (GOOD.replace("slow", "slwo"), ["strategy: no such key 'slwo'; did you mean 'slow'?"]),
    "a word for a number": (GOOD.replace("fast = 2", 'fast = "ten"'), ["strategy.fast must be a whole number (20 by default), was 'ten'"]),
    "a fraction for a count": (GOOD.replace("fast = 2", "fast = 2.5"), ["strategy.fast must be a whole number (20 by default), was 2.5"]),
    "a truth for a number": (GOOD.replace("fast = 2", "fast = true"), ["strategy.fast must be a whole number (20 by default), was true"]),
    "a date for a number": (
        GOOD.replace("fast = 2", "fast = 1999-01-04"),
        ["strategy.fast must be a whole number (20 by default), was '1999-01-04'"],
    ),
    "a list for a number": (GOOD.replace("fast = 2", "fast = [2]"), ["strategy.fast must be a whole number (20 by default), was [2]"]),
    "a table for a number": (GOOD + "[strategy.weight]\nx = 1\n", ["strategy.weight must be a number (1.0 by default), was {'x': 1}"]),
    "no number at all": (GOOD + "weight = nan\n", ["strategy.weight must be a number (1.0 by default), was nan"]),
    "what the strategy itself refuses": (GOOD.replace("fast = 2", "fast = 0"), ["strategy.fast must be at least 1"]),
    # plug-ins from files
    "a file that is not there": (FEED + '[strategy]\nname = "gone.py:Mine"\n', ["strategy: cannot read ", "gone.py: No such file or directory"]),
    "a class that is not in the file": (FEED + '[strategy]\nname = "mine.py:Mien"\n', ["there is no 'Mien' in ", "did you mean 'Mine'?"]),
    "a file that raises": (
        FEED + '[strategy]\nname = "raises.py:Mine"\n',
        ["raises.py, line 1, raised ModuleNotFoundError: No module named 'nowhere'"],
    ),
    "a file with bad syntax": (FEED + '[strategy]\nname = "syntax.py:Mine"\n', ["syntax.py, line 1, raised SyntaxError: expected ':'"]),
    "a parameter that is missing": (FEED + '[strategy]\nname = "mine.py:Mine"\n', ["strategy.path is missing: Mine has no default for it"]),
    "a plain class with parameters": (
        FEED + '[strategy]\nname = "mine.py:Bare"\nfast = 1\n',
        ["Bare is not a dataclass, so it takes no parameters, was given fast"],
    ),
    "a class that is no strategy": (
        FEED + '[strategy]\nname = "mine.py:Idle"\n',
        ["strategy.name must be a strategy with a method on_bars(), and 'mine.py:Idle' has none"],
    ),
    "a class that cannot be built": (
        FEED + '[strategy]\nname = "mine.py:Broken"\n',
        ["strategy: Broken cannot be built: IndexError: list index out of range"],
    ),
    # the broker
    "a misspelt broker": (GOOD + '[broker]\nname = "simulatd"\n', ["no such broker 'simulatd'; did you mean 'simulated'?"]),
    "a misspelt choice": (
        BROKER + 'timing = "next_opne"\n',
        ["broker.timing must be 'next_open', 'next_close' or 'same_close', was 'next_opne'; did you mean 'next_open'?"],
    ),
    "no participation": (BROKER + "participation = 0\n", ["broker.participation must be above 0 (inf is off), was 0.0"]),
    "a table that is a number": (BROKER + "commission = 5\n", ["broker.commission must be a table of per_share, per_order, bps", "was 5"]),
    "a misspelt key in a table of a table": (
        BROKER + "[broker.commission]\nper_shar = 1\n",
        ["broker.commission: no such key 'per_shar'; did you mean 'per_share'?"],
    ),
    "a negative commission": (BROKER + "[broker.commission]\nbps = -1\n", ["broker.commission.bps must be ", "was -1.0"]),
    "a slippage model that is none": (
        BROKER + '[broker.slippage]\nmodel = "linear"\n',
        ["broker.slippage.model must be 'none', 'bps'", "was 'linear'"],
    ),
    "slices without seconds": (BROKER + "[broker.slicing]\nslices = 4\n", ["broker.slicing.seconds is missing"]),
    "no slices": (BROKER + "[broker.slicing]\nslices = 0\nseconds = 60\n", ["broker.slicing.slices must be 1 to 10000, was 0"]),
    "time where there is none": (
        BROKER + 'timing = "same_close"\nlatency_seconds = 1.0\n',
        ["broker.timing 'same_close' leaves no time for latency_seconds"],
    ),
    # the account and the limits
    "no cash": (GOOD + "[account]\ncash = 0\n", ["account.cash must be above 0, was 0.0"]),
    "cash in words": (GOOD + '[account]\ncash = "1_000"\n', ["account.cash must be a number (1000000.0 by default), was '1_000'"]),
    "a misspelt account": (GOOD + '[account]\nkind = "margn"\n', ["account.kind must be 'cash' or 'margin', was 'margn'; did you mean 'margin'?"]),
    "a misspelt key of the account": (GOOD + "[account]\ncsah = 1.0\n", ["account: no such key 'csah'; did you mean 'cash'?"]),
    "a borrow fee below 0": (GOOD + "[financing]\nborrow = -0.1\n", ["financing.borrow must be a yearly rate of 0 (off) or above, was -0.1"]),
    "a rate that is misspelt": (GOOD + "[financing]\nborow = 0.1\n", ["financing: no such key 'borow'; did you mean 'borrow'?"]),
    "a loan without a rate": (GOOD + '[[financing.loans]]\nsymbol = "X"\n', ["financing.loans", "rate"]),
    "a margin of more than all": (GOOD + "[margin]\nmaintenance_long = 2.0\n", ["margin.maintenance_long must be a share of market value in [0, 1]"]),
    "a negative leverage": (GOOD + "[account]\nleverage_max = -1\n", ["account.leverage_max must be above 0 (inf is off), was -1.0"]),
    "a drawdown above all": (GOOD + "[risk]\ndrawdown_max = 1.7\n", ["risk.drawdown_max must be in (0, 1] (inf is off), was 1.7"]),
    "a halt that does nothing known": (GOOD + '[risk]\non_halt = "sell"\n', ["risk.on_halt must be 'freeze', 'cancel' or 'flatten', was 'sell'"]),
    "half an order": (GOOD + "[risk]\nrate_max = 1.5\n", ["risk.rate_max must be a whole number (0 by default), was 1.5"]),
    "a halt of no sessions": (GOOD + "[risk]\nresume_after = 0\n", ["risk.resume_after must be at least 1 session, was 0"]),
    "a limit that is off the wrong way": (GOOD + '[risk]\ngross_max = "off"\n', ["risk.gross_max must be a number (inf by default), was 'off'"]),
    # what only the data can tell
    "a source that is not there": (
        '[feed]\nkind = "packaged"\nsource = "nasdq"\n' + STRATEGY,
        ["feed.source: there is no packaged source 'nasdq'; did you mean 'nasdaq'?"],
    ),
    "dates outside of the source": (
        '[feed]\nkind = "packaged"\nsource = "nasdaq"\nend = 2031-01-01\n' + STRATEGY,
        ["feed.end: nasdaq has 1999-01-04 to 2018-12-31, was 2031-01-01"],
    ),
    "opens where there are none": (
        '[feed]\nkind = "packaged"\nsource = "vix"\n' + STRATEGY,
        ["broker.timing must be 'next_close'", "closes only; was 'next_open'"],
    ),
    "a benchmark that nobody feeds": (
        'benchmark = "FLAP"\n' + GOOD,
        ["benchmark must be an instrument of the feed: there is no 'FLAP'; did you mean 'FLAT'?"],
    ),
    "an empty benchmark": ('benchmark = ""\n' + GOOD, ["benchmark must be the symbol of an instrument, was ''"]),
    "a benchmark that is no text": ("benchmark = 3\n" + GOOD, ["benchmark must be text", "was 3"]),
    "no bars": (GOOD.replace("bars = 10", "bars = 0"), ["feed.bars must be from 1 to 100 million, was 0"]),
}


def test_there_are_forty_malformed_scenarios_at_least() -> None:
    assert len(MALFORMED) >= 40
    assert len({text for text, _ in MALFORMED.values()}) == len(MALFORMED)


@pytest.mark.parametrize("malformed", MALFORMED)
def test_a_malformed_scenario_is_refused_in_one_line(write: Write, malformed: str) -> None:
    text, fragments = MALFORMED[malformed]
    path = write(text)
    before = sorted(path.parent.iterdir())
    shown = CliRunner().invoke(app, ["run", str(path), "--out", str(path.parent / "out")])
    assert shown.exit_code == 2
    assert isinstance(shown.exception, SystemExit)
    assert shown.stdout == ""
    assert shown.stderr.startswith(f"error: {path}: ")
    assert shown.stderr.count("\n") == 1
    assert "Traceback" not in shown.stderr
    for fragment in fragments:
        assert fragment in shown.stderr
    assert sorted(path.parent.iterdir()) == before


def test_what_is_not_utf_8_is_refused(write: Write) -> None:
    path = write("")
    path.write_bytes(b'title = "Stra\xdfe"\n')
    with pytest.raises(ScenarioError, match=r"odd\.toml: not UTF-8 text: byte 13 is 0xdf"):
        load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"gone\.toml: cannot read this scenario: No such file or directory"):
        load(tmp_path / "gone.toml")


def test_a_folder_is_not_a_scenario(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot read this scenario: Is a directory"):
        load(tmp_path)


def test_a_bundled_name_is_told_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"no bundled scenario 'dotcom_buts'; did you mean 'dotcom_bust'\?"):
        load("dotcom_buts")


# --- Well formed


def test_what_is_left_out_is_the_default(write: Write) -> None:
    scenario = load(write(GOOD))
    assert (scenario.name, scenario.title, scenario.caveats, scenario.seed) == ("odd", "odd", (), 0)
    assert scenario.feed == Choice("flat", {"bars": 10})
    assert scenario.strategy == Choice("moving_average_cross", {"fast": 2, "slow": 4})
    assert scenario.broker == Choice("simulated", {})
    assert (scenario.account, scenario.risk) == (Account(), Limits())


def test_everything_that_is_said_is_kept(write: Write) -> None:
    top = 'name = "Odd one"\ntitle = "Größe"\ncaveats = ["a", "b"]\nseed = 3\n'
    rest = "[broker]\nparticipation = inf\n[broker.commission]\nbps = 2\n[account]\ncash = 5\n[risk]\ngross_max = 2\nresume_after = 3\n"
    path = write(top + GOOD + rest)
    scenario = load(path)
    assert (scenario.name, scenario.title, scenario.caveats, scenario.seed) == ("Odd one", "Größe", ("a", "b"), 3)
    assert scenario.broker == Choice("simulated", {"participation": inf, "commission": {"bps": 2}})
    assert (scenario.account.cash, scenario.risk.gross_max, scenario.risk.resume_after) == (5.0, 2.0, 3)
    assert scenario.folder == path.parent


def test_lists_are_tuples(write: Write) -> None:
    assert load(write('[feed]\nkind = "walks"\nsymbols = ["A", "B"]\n' + STRATEGY)).feed.parameters == {"symbols": ("A", "B")}


def test_a_byte_order_mark_is_no_fault(write: Write) -> None:
    path = write(GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path).strategy.name == "moving_average_cross"


def test_each_check_builds_the_parts_anew(write: Write) -> None:
    scenario = load(write(GOOD))
    first, second = check(scenario), check(scenario)
    assert first == second
    assert first.strategy is not second.strategy
    assert first.broker.commission.per_share == 0.005


def test_a_scenario_made_in_python_is_checked_too(write: Write) -> None:
    scenario = replace(load(write(GOOD)), strategy=Choice("momentum", {"top": 0}))
    with pytest.raises(ScenarioError, match=r"strategy\.top must be at least 1, was 0"):
        check(scenario)


def test_a_plug_in_may_lie_beside_the_scenario(write: Write) -> None:
    scenario = load(write(FEED + '[strategy]\nname = "mine.py:Mine"\npath = "x.csv"\n'))
    assert check(scenario).strategy.path == "x.csv"


# --- The text of a scenario


def test_the_text_says_what_decides_and_loads_as_itself(write: Write) -> None:
    odd = 'title = "tab\\t, quote \\", DEL \\u007f, ü"\n'
    first = load(write(odd + GOOD + "[broker.slicing]\nslices = 4\nseconds = 60\n[broker.slippage]\nbps = 1e-7\n"))
    again = load(write(first.text))
    assert again.text == first.text
    assert (again.title, check(again)) == (first.title, check(first))


def test_the_text_holds_defaults_so_that_saying_one_changes_nothing(write: Write) -> None:
    assert load(write(GOOD)).text == load(write(GOOD + '[broker]\ntiming = "next_open"\n[account]\ncash = 1_000_000\n')).text


def test_a_benchmark_is_in_the_text_only_where_there_is_one(write: Write) -> None:
    without = load(write(GOOD))
    named = load(write('benchmark = "FLAT"\n' + GOOD))
    assert (without.benchmark, named.benchmark) == (None, "FLAT")
    assert named.text.replace('benchmark = "FLAT"\n', "") == without.text
    assert load(write(named.text)).benchmark == "FLAT"


def test_the_text_does_not_say_where_the_scenario_lies(write: Write) -> None:
    path = write(GOOD)
    assert str(path.parent) not in load(path).text


@pytest.mark.parametrize("override", ["seed=9", "strategy.fast=3", "broker.commission.bps=1", "account.kind=cash", "risk.net_max=1", "title=other"])
def test_the_text_follows_what_is_set(write: Write, override: str) -> None:
    path = write(GOOD)
    assert load(path, [override]).text != load(path).text


def test_the_text_follows_the_source_of_a_plug_in_from_a_file(write: Write) -> None:
    path = write(FEED + '[strategy]\nname = "mine.py:Bare"\n')
    first = load(path).text
    assert "mine.py:Bare" in first
    (path.parent / "mine.py").write_text(MINE + "\n")
    assert load(path).text != first


# --- Overrides


def test_overrides_are_set_over_the_file_in_turn(write: Write) -> None:
    scenario = load(write(GOOD), ["strategy.fast=3", "strategy.slow = 30", "strategy.slow=40", "broker.commission.bps=2.5", "seed=8"])
    assert scenario.strategy.parameters == {"fast": 3, "slow": 40}
    assert scenario.broker.parameters == {"commission": {"bps": 2.5}}
    assert scenario.seed == 8


def test_a_bare_word_is_text(write: Write) -> None:
    scenario = load(
        write(GOOD), ["broker.timing=next_close", "feed.symbol=A.B-C/D", 'title="two words"', "feed.start=2021-03-01", "risk.gross_max=inf"]
    )
    assert scenario.broker.parameters == {"timing": "next_close"}
    assert scenario.feed.parameters == {"bars": 10, "symbol": "A.B-C/D", "start": date(2021, 3, 1)}
    assert (scenario.title, scenario.risk.gross_max) == ("two words", inf)


def test_choosing_another_plug_in_drops_what_was_set_for_the_one_before(write: Write) -> None:
    scenario = load(write(GOOD), ["strategy.name=momentum", "strategy.top=1"])
    assert scenario.strategy == Choice("momentum", {"top": 1})


def test_choosing_the_same_plug_in_keeps_what_was_set(write: Write) -> None:
    scenario = load(write(GOOD + "[broker.commission]\nbps = 2\n"), ["strategy.name=moving_average_cross", "broker.name=simulated"])
    assert scenario.strategy.parameters == {"fast": 2, "slow": 4}
    assert scenario.broker.parameters == {"commission": {"bps": 2}}


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("strategy.fast", "'strategy.fast' must be key=value with a dotted key"),
        ("=3", "'=3' must be key=value with a dotted key"),
        ("strategy..fast=3", "'strategy..fast=3' must be key=value with a dotted key"),
        ("strategy.fast=[1,", "'strategy.fast=[1,' has no TOML value after the '='"),
        ("strategy.fast=", "'strategy.fast=' has no TOML value after the '='"),
        ("title=two words", "text of several words goes in quotes"),
        ("seed=1\nname=2", "must set one key"),
        ("strategy.fast.x=3", "sets a key of strategy.fast, which is 2 and not a table"),
        ("strategy.fast=ten", "strategy.fast must be a whole number (20 by default), was 'ten'"),
        ("strategy.slwo=3", "strategy: no such key 'slwo'; did you mean 'slow'?"),
        ("sed=3", "no such key 'sed'; did you mean 'seed'?"),
        ("strategy=3", "strategy must be a table, [strategy], was 3"),
    ],
)
def test_a_wrong_override_is_named(write: Write, override: str, sentence: str) -> None:
    path = write(GOOD)
    with pytest.raises(ScenarioError) as caught:
        load(path, [override])
    assert str(caught.value).startswith(f"{path} with {override}: ")
    assert sentence in str(caught.value)


# --- Bundled


def test_the_bundled_scenarios_load_and_say_what_they_are() -> None:
    assert {"dotcom_bust", "dotcom_trend", "survivors", "flat", "trend", "jump", "walks"} <= set(bundled())
    for name in bundled():
        scenario = load(name)
        assert scenario.name == name
        assert scenario.title != name
        assert scenario.caveats


def test_the_readme_tells_of_every_bundled_scenario() -> None:
    folder = next(iter(bundled().values())).parent
    told = (folder / "README.md").read_text(encoding="utf-8")
    assert [name for name in bundled() if f"## {name}\n" not in told] == []
