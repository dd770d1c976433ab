"""Plug-ins are found by name or by file, and built from exactly what their fields declare."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from simulator import PluginError, ScenarioError, plugins
from simulator.plugins import BROKERS, STRATEGIES, build, find, names

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]  # as plug-in authors do for run state

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts text into mine.py, and gives its folder."""

    def put(text: str) -> Path:
        (tmp_path / "mine.py").write_text(text)
        return tmp_path

    return put


@dataclass(frozen=True)
class Fee:
    bps: float = 1.0
    floor: int = 0

    def __post_init__(self) -> None:
        if self.bps < 0.0:
            raise ValueError(f"bps must be 0 or above, was {self.bps!r}")


@dataclass
class Example:
    fast: int = 20
    weight: float = 1.0
    loud: bool = False
    mode: Literal["open", "close"] = "open"
    legs: tuple[str, ...] = ()
    pair: tuple[int, int] = (1, 2)
    since: date | None = None
    limit: int | None = None
    fee: Fee = field(default_factory=Fee)
    extra: Fee | None = None
    fees: tuple[Fee, ...] = ()
    seen: Unknown = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.fast < 1:
            raise ValueError(f"fast must be at least 1, was {self.fast}")
        if self.fast == 13:
            raise ZeroDivisionError("thirteen")
        if self.fast == 17:
            raise ScenarioError("17 is\nnot allowed")


@dataclass(frozen=True)
class Needy:
    path: str


@dataclass(frozen=True)
class Odd:
    opaque: Plain | None = None
    unresolved: Unknown = None


class Plain:
    pass


class Untold:
    def __init__(self, fast: int) -> None:
        self.fast = fast


# --- Finding


def test_an_entry_point_is_found_by_its_name() -> None:
    assert find(STRATEGIES, "momentum", Path()).__name__ == "Momentum"


def test_names_lists_what_is_installed() -> None:
    assert names(BROKERS) == ["simulated"]
    assert {"blotter", "buy_and_hold", "momentum", "moving_average_cross"} <= set(names(STRATEGIES))


def test_a_misspelt_name_is_told_the_nearest() -> None:
    with pytest.raises(PluginError, match=r"no such strategy 'momentun'; did you mean 'momentum'\?"):
        find(STRATEGIES, "momentun", Path())


def test_a_name_like_no_other_is_told_what_there_is() -> None:
    with pytest.raises(PluginError, match=r"no such broker 'xyz'; there is: simulated"):
        find(BROKERS, "xyz", Path())


def test_a_class_is_found_in_a_file_beside_the_scenario(write: Write) -> None:
    folder = write("class Mine:\n    pass\n")
    assert find(STRATEGIES, "mine.py:Mine", folder).__name__ == "Mine"


def test_a_path_may_be_absolute(write: Write) -> None:
    folder = write("class Mine:\n    pass\n")
    assert find(STRATEGIES, f"{folder / 'mine.py'}:Mine", Path("elsewhere")).__name__ == "Mine"


def test_a_file_may_hold_dataclasses_with_postponed_annotations(write: Write) -> None:
    """dataclasses looks the module up in sys.modules while it runs."""
    folder = write("from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass(slots=True)\nclass Mine:\n    fast: int = 3\n")
    kind = find(STRATEGIES, "mine.py:Mine", folder)
    assert kind.__module__.startswith("tradewind_plugin_")
    assert sys.modules[kind.__module__].__file__ == str(folder / "mine.py")
    assert build(kind, {"fast": 5}, "strategy") == kind(5)


def test_an_edited_file_is_run_anew_and_an_unchanged_one_is_not(write: Write) -> None:
    first = find(STRATEGIES, "mine.py:Mine", write("class Mine:\n    old = True\n"))
    assert find(STRATEGIES, "mine.py:Mine", write("class Mine:\n    old = True\n")) is first
    assert find(STRATEGIES, "mine.py:Mine", write("class Mine:\n    new = True\n")) is not first


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"strategy: cannot read .*gone\.py: No such file"):
        find(STRATEGIES, "gone.py:Mine", tmp_path)


def test_a_missing_class_is_told_the_nearest_in_the_file(write: Write) -> None:
    with pytest.raises(PluginError, match=r"there is no 'Mien' in .*mine\.py; did you mean 'Mine'\?"):
        find(STRATEGIES, "mine.py:Mien", write("from pathlib import Path\nclass Mine:\n    pass\n"))


def test_a_file_without_a_class_name_is_told_what_there_is(write: Write) -> None:
    with pytest.raises(PluginError, match=r"there is no '' in .*mine\.py; there is: Mine"):
        find(STRATEGIES, "mine.py:", write("class Mine:\n    pass\n"))


def test_a_file_that_raises_is_shown_with_its_line_and_last_words(write: Write) -> None:
    before = set(sys.modules)
    with pytest.raises(PluginError, match=r"mine\.py, line 2, raised ZeroDivisionError"):
        find(STRATEGIES, "mine.py:Mine", write("def bad():\n    return 1 // 0\n\nbad()\n"))
    assert set(sys.modules) == before


def test_a_file_with_bad_syntax_is_shown_with_its_line(write: Write) -> None:
    with pytest.raises(PluginError, match=r"mine\.py, line 2, raised SyntaxError: "):
        find(STRATEGIES, "mine.py:Mine", write("x = 1\nclass Mine\n"))


def test_a_file_that_imports_what_is_not_there_is_shown_with_its_line(write: Write) -> None:
    with pytest.raises(PluginError, match=r"mine\.py, line 1, raised ModuleNotFoundError: No module named 'nowhere'"):
        find(STRATEGIES, "mine.py:Mine", write("import nowhere\n"))


def test_a_script_that_ends_the_program_is_not_a_plug_in(write: Write) -> None:
    with pytest.raises(PluginError, match=r"mine\.py, line 2, raised SystemExit: 3"):
        find(STRATEGIES, "mine.py:Mine", write("import sys\nsys.exit(3)\n"))


def test_what_is_not_a_class_is_refused(write: Write) -> None:
    with pytest.raises(PluginError, match=r"mine\.py:Mine must be a class, was function"):
        find(STRATEGIES, "mine.py:Mine", write("def Mine():\n    pass\n"))


def python(code: str, folder: Path, *path: str) -> str:
    """What Python, started in *folder*, says on its last line."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": ":".join(path)}, capture_output=True, text=True, timeout=60)
    return (done.stdout + done.stderr).strip().splitlines()[-1]


FIND = "from simulator.plugins import find; from pathlib import Path; print(find('tradewind.strategies', {name!r}, Path()))"


def test_a_local_folder_that_hides_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "__init__.py").write_text("raise SystemError('the wrong one was run')")
    said = python(FIND.format(name="momentum"), tmp_path)
    assert f"{tmp_path / 'strategies' / '__init__.py'} has the same name and hides it" in said


def test_a_local_module_of_the_same_class_does_not_pass_for_ours(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "__init__.py").write_text("")
    (tmp_path / "strategies" / "momentum.py").write_text("class Momentum:\n    pass\n")
    assert "strategies/__init__.py has the same name and hides it" in python(FIND.format(name="momentum"), tmp_path)


def distribution(folder: Path, name: str, entry: str) -> None:
    """A distribution as an installer leaves it, with one entry point."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[tradewind.strategies]\n{entry}\n")


def test_a_plug_in_of_another_distribution_is_found(tmp_path: Path) -> None:
    distribution(tmp_path, "theirs", "carry = theirs:Carry")
    (tmp_path / "theirs.py").write_text("class Carry:\n    pass\n")
    assert python(FIND.format(name="carry"), tmp_path, str(tmp_path)) == "<class 'theirs.Carry'>"


def test_one_name_from_two_distributions_is_refused(tmp_path: Path) -> None:
    distribution(tmp_path, "theirs", "momentum = theirs:Momentum")
    said = python(FIND.format(name="momentum"), tmp_path, str(tmp_path))
    assert "strategy 'momentum' is registered twice, by theirs and tradewind" in said


def test_a_distribution_that_does_not_keep_its_word_is_named(tmp_path: Path) -> None:
    distribution(tmp_path, "theirs", "carry = theirs:Carry")
    (tmp_path / "theirs.py").write_text("")
    said = python(FIND.format(name="carry"), tmp_path, str(tmp_path))
    assert "strategy 'carry' (theirs:Carry) cannot be loaded: AttributeError: module 'theirs' has no attribute 'Carry'" in said


# --- Building


def test_values_become_what_the_fields_declare() -> None:
    given = {
        "fast": 5,
        "weight": 2,
        "mode": "close",
        "legs": ("a", "b"),
        "pair": (3, 4),
        "since": "1999-01-04",
        "limit": 7,
        "fee": {"bps": 3},
        "extra": {},
        "fees": ({"floor": 1},),
    }
    built = build(Example, given, "strategy")
    assert built == Example(5, 2.0, False, "close", ("a", "b"), (3, 4), date(1999, 1, 4), 7, Fee(3.0), Fee(), (Fee(floor=1),))
    assert isinstance(built, Example)
    assert isinstance(built.weight, float)


def test_a_whole_number_stays_whole_and_infinity_is_a_number() -> None:
    assert build(Example, {"weight": float("inf")}, "strategy") == Example(weight=float("inf"))


def test_a_toml_date_may_be_text_or_a_date() -> None:
    assert build(Example, {"since": date(1999, 1, 4)}, "strategy") == Example(since=date(1999, 1, 4))
    assert build(Needy, {"path": date(1999, 1, 4)}, "strategy") == Needy("1999-01-04")


def test_a_nested_dataclass_may_be_given_as_itself() -> None:
    assert build(Example, {"fee": Fee(9.0)}, "strategy") == Example(fee=Fee(9.0))


def test_a_plain_class_without_parameters_is_fine() -> None:
    assert isinstance(build(Plain, {}, "strategy"), Plain)


def test_each_build_is_a_new_one() -> None:
    assert build(Example, {}, "strategy") is not build(Example, {}, "strategy")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"fasst": 1}, "strategy: no such key 'fasst'; did you mean 'fast'?"),
        ({"seen": 1}, "strategy: no such key 'seen'; there is: "),
        ({"fast": "ten"}, "strategy.fast must be a whole number (20 by default), was 'ten'"),
        ({"fast": 1.0}, "strategy.fast must be a whole number (20 by default), was 1.0"),
        ({"fast": True}, "strategy.fast must be a whole number (20 by default), was true"),
        ({"weight": "1"}, "strategy.weight must be a number (1.0 by default), was '1'"),
        ({"weight": True}, "strategy.weight must be a number (1.0 by default), was true"),
        ({"weight": float("nan")}, "strategy.weight must be a number (1.0 by default), was nan"),
        ({"loud": 1}, "strategy.loud must be true or false (false by default), was 1"),
        ({"mode": "clsoe"}, "strategy.mode must be 'open' or 'close', was 'clsoe'; did you mean 'close'?"),
        ({"mode": 3}, "strategy.mode must be 'open' or 'close', was 3"),
        ({"legs": "a"}, "strategy.legs must be a list in square brackets, was 'a'"),
        ({"legs": ("a", 1)}, "strategy.legs[1] must be text in quotes, was 1"),
        ({"pair": (1, 2, 3)}, "strategy.pair should have at most 2 items"),
        ({"since": "soon"}, "strategy.since must be a valid date"),
        ({"limit": "x"}, "strategy.limit must be a whole number, was 'x'"),
        ({"fee": 3}, "strategy.fee must be a table of bps, floor, was 3"),
        ({"fee": {"bsp": 3}}, "strategy.fee: no such key 'bsp'; did you mean 'bps'?"),
        ({"fee": {"floor": 0.5}}, "strategy.fee.floor must be a whole number (0 by default), was 0.5"),
        ({"fee": {"bps": -1}}, "strategy.fee.bps must be 0 or above, was -1.0"),
        ({"extra": "x"}, "strategy.extra must be a table of bps, floor, was 'x'"),
        ({"fees": ({"bsp": 1},)}, "strategy.fees[0]: no such key 'bsp'"),
        ({"fast": 0}, "strategy.fast must be at least 1, was 0"),
        ({"fast": 17}, "strategy: 17 is not allowed"),
        pytest.param({"fast": object()}, "strategy.fast must be text, a number, true, false, a date, a list or a table, was <object", id="an object"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_its_key_itself_and_the_way_out(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        build(Example, given, "strategy")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ScenarioError, match=r"strategy\.path is missing: Needy has no default for it"):
        build(Needy, {}, "strategy")


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (Plain, {"b": 1, "a": 2}, "strategy: Plain is not a dataclass, so it takes no parameters, was given a, b"),
        (Untold, {}, "strategy: Untold cannot be built: TypeError: "),
        (Example, {"fast": 13}, "strategy: Example cannot be built: ZeroDivisionError: thirteen"),
        (Odd, {"opaque": 1}, "strategy.opaque is of a type that a scenario cannot give"),
        (Odd, {"unresolved": 1}, "strategy.unresolved: Odd declares it as 'Unknown', which cannot be resolved: NameError"),
    ],
    ids=["no dataclass", "its own init", "raised", "opaque", "unresolved"],
)
def test_what_its_author_got_wrong_is_a_plug_in_error(kind: type, given: dict[str, object], sentence: str) -> None:
    with pytest.raises(PluginError) as caught:
        build(kind, given, "strategy")
    assert str(caught.value).startswith(sentence)


def test_the_digest_of_a_file_follows_its_contents(write: Write) -> None:
    first = plugins.source_digest("mine.py:Mine", write("class Mine: ..."))
    assert first != plugins.source_digest("mine.py:Mine", write("class Mine:  ..."))
    assert plugins.source_digest("momentum", Path()) is None
