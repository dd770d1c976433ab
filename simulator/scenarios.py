"""A scenario: what to replay, with which strategy, broker and limits. One TOML file, and what may be set over it."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from simulator import plugins
from simulator.book.financing import Financing
from simulator.errors import ScenarioError, SimulatorError, nearest
from simulator.feeds.stress import Stress
from simulator.risk.limits import Account, Limits
from simulator.risk.margin import Margin

CHOICES: Final = {"feed": "kind", "strategy": "name", "broker": "name"}
"""The tables that choose a plug-in, and the key that does."""

SIZER: Final = "sizer"
"""The table that chooses a sizer, by its name, and may be left out."""

GROUPS: Final = {"feed": plugins.FEEDS, "strategy": plugins.STRATEGIES, "broker": plugins.BROKERS, SIZER: plugins.SIZERS}
PORTS: Final = {"feed": "load", "strategy": "on_bars", "broker": "connect", SIZER: "size"}
"""The method that makes a class what its table needs."""

TABLES: Final = {"account": Account, "risk": Limits, "financing": Financing, "margin": Margin}
"""The tables that are settings of our own."""

STRESS: Final = "stress"
"""The table that says what the market is put under: one that a scenario may leave out, and then nothing of it is said."""

BARE_WORD: Final = re.compile(r"[^\s\"'\[\]{},=#]+")
BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Choice:
    """A plug-in by its name, and the parameters it is given."""

    name: str
    parameters: dict[str, object]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to replay, with which strategy, broker, account and limits. Financing and maintenance margin are on unless it says otherwise.

    *benchmark* is the instrument that the report compares with (None: an equal share of each). *sizer* is None where the strategy's weights are
    traded as they are. *folder* is where relative paths start. *text* is
    TOML of everything that decides the result, with defaults and overrides and without *folder*.
    """

    name: str
    title: str
    caveats: tuple[str, ...]
    seed: int
    feed: Choice
    strategy: Choice
    broker: Choice
    account: Account
    risk: Limits
    folder: Path
    text: str
    benchmark: str | None = None
    financing: Financing = field(default_factory=Financing)
    margin: Margin = field(default_factory=Margin)
    actions: ActionFiles | None = None
    known: KnownFiles | None = None
    sizer: Choice | None = None
    stress: Stress | None = None


@dataclass(frozen=True)
class ActionFiles:
    """Corporate actions: *paths* are files that `simulator.feeds.tables.read_actions` reads, and start in the scenario's folder.

    *signals* are the prices that indicators are computed from: "raw" ones, or forward-"chained", which do not jump with an action.
    """

    paths: tuple[str, ...]
    signals: Literal["raw", "chained"] = "raw"


@dataclass(frozen=True)
class KnownFiles:
    """As-of tables: *paths* are files that `simulator.feeds.tables.read_known` reads, and start in the scenario's folder."""

    paths: tuple[str, ...]


FILES: Final = {"actions": ActionFiles, "known": KnownFiles}
"""The tables that name files of what is no bar."""


class Parts(NamedTuple):
    """What a scenario's three choices build."""

    feed: Any
    strategy: Any
    broker: Any


@dataclass(frozen=True)
class _Head:
    """The top keys of a scenario file."""

    name: str
    title: str = ""
    caveats: tuple[str, ...] = ()
    seed: int = 0
    benchmark: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError(f"name must be a word or two, was {self.name!r}")
        if self.benchmark is not None and not self.benchmark.strip():
            raise ValueError(f"benchmark must be the symbol of an instrument, was {self.benchmark!r}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0..{2**63 - 1}, was {self.seed}")


def load(source: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario in a .toml file, or the bundled one of that name, with `key=value` *overrides* over it.

    A key is dotted (`strategy.fast`); a value is TOML, or a bare word for text. Choosing another plug-in (`strategy.name=momentum`) drops what was
    set for the one before. Everything is checked that can be without loading data. Raises ScenarioError naming the file, the key, the value and
    the way out.
    """
    path = locate(source)
    tables = _read(path)
    with naming(source, overrides):
        if isinstance(broker := tables.setdefault("broker", {}), dict):
            broker.setdefault("name", "simulated")
        for override in overrides:
            _override(tables, override)
        return _scenario(tables, path)


def vary(scenario: Scenario, overrides: Sequence[str]) -> Scenario:
    """*scenario* with other parameters of its strategy: what `load` gives with these `strategy.key=value` *overrides* as well, much sooner.

    Raises ScenarioError naming the key, the value and the way out.
    """
    tables: dict[str, Any] = {"strategy": {CHOICES["strategy"]: scenario.strategy.name, **deepcopy(scenario.strategy.parameters)}}
    for override in overrides:
        assert varies_strategy(override), override
        _override(tables, override)
    choice = _choice("strategy", _table(tables, "strategy"))
    section = _choice_lines("strategy", choice, _part("strategy", choice, scenario.folder), scenario.folder)
    # A line that begins with a table's header is nothing else: text in quotes has no line breaks.
    begin, end = scenario.text.index("\n[strategy]"), scenario.text.index("\n[broker]")
    text = scenario.text[:begin] + "\n".join([*section, ""]) + scenario.text[end:]
    return replace(scenario, strategy=choice, text=text)


def varies_strategy(override: str) -> bool:
    """Whether `key=value` sets a parameter of the strategy, and does not choose another one."""
    key = override.partition("=")[0].strip()
    return key.startswith("strategy.") and key != f"strategy.{CHOICES['strategy']}"


def read_back(text: str, folders: Sequence[Path]) -> Scenario:
    """The scenario of which *text* is the canonical TOML, in the first of *folders* where all that it names is as it was then.

    Raises ScenarioError where it is in none.
    """
    failed = ""
    for folder in folders:
        try:
            found = _scenario(tomllib.loads(text), folder / "scenario.toml")
        except (SimulatorError, ValueError) as error:
            failed = failed or str(error)
            continue
        if found.text == text:
            return found
        failed = failed or "a file that it names is not what it was"
    raise ScenarioError(f"the scenario that was run cannot be read back: {failed}: go to the folder of its scenario")


def check(scenario: Scenario) -> Parts:
    """Build all that *scenario* chooses, anew, which checks all that can be checked without data.

    Raises PluginError where a plug-in cannot be found or is not what its place needs, ScenarioError where it cannot be built with these parameters.
    """
    return Parts(**{table: _part(table, getattr(scenario, table), scenario.folder) for table in CHOICES})


def sizer_of(scenario: Scenario) -> Any:
    """The sizer that *scenario* chooses, built anew; None if it chooses none. Raises what `check` does."""
    return None if scenario.sizer is None else _part(SIZER, scenario.sizer, scenario.folder)


def strategy_of(scenario: Scenario) -> Any:
    """The strategy that a scenario chooses, built anew; its own files lie beside the scenario's. Raises what `check` raises."""
    return beside(_part("strategy", scenario.strategy, scenario.folder), scenario.folder)


def beside(strategy: Any, folder: Path) -> Any:
    """A strategy whose own files, if it has any, lie in *folder*."""
    return strategy.beside(folder) if hasattr(strategy, "beside") else strategy


def bundled() -> dict[str, Path]:
    """The scenarios that come with the program, by name: those of a checkout, else those that were installed."""
    checkout = plugins.ROOT / "scenarios"
    folder = checkout if (plugins.ROOT / "pyproject.toml").is_file() else Path(sys.prefix) / "share" / "tradewind" / "scenarios"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def locate(source: str | Path) -> Path:
    """The file that *source* stands for: a path that ends in .toml, or the name of a bundled scenario."""
    if isinstance(source, Path) or source.endswith(".toml"):
        return Path(source)
    known = bundled()
    if source not in known:
        raise ScenarioError(f"no bundled scenario '{source}'{nearest(source, known)} (a file's name ends in .toml)")
    return known[source]


@contextmanager
def naming(source: str | Path, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Put *source*, and what was set over it, before what goes wrong inside."""
    try:
        yield
    except SimulatorError as error:
        place = f"{source} with {', '.join(overrides)}" if overrides else source
        raise ScenarioError(f"{place}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot read this scenario: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except ValueError as error:
        raise ScenarioError(f"{str(path)!r}: cannot be a path: {error}") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ScenarioError(f"{path}: not valid TOML: nested too deeply") from None
    except ValueError as error:
        # The parser speaks of lines, but for what is missing at the very end.
        said = str(error).replace("at end of document", f"at the end, line {len(text.splitlines())}")
        raise ScenarioError(f"{path}: not valid TOML: {said}") from None


def _override(tables: dict[str, Any], override: str) -> None:
    """Set one `key=value` in *tables*."""
    dotted, equals, text = override.partition("=")
    keys, text = dotted.strip().split("."), text.strip()
    if not equals or not all(BARE_KEY.fullmatch(key) for key in keys):
        raise ScenarioError(f"'{override}' must be key=value with a dotted key, such as strategy.fast=10")
    table = tables
    for depth, key in enumerate(keys[:-1], 1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ScenarioError(f"'{override}' sets a key of {'.'.join(keys[:depth])}, which is {plugins.said(table)} and not a table")
    value = _toml_value(text, override)
    if len(keys) == 2 and {**CHOICES, SIZER: "name"}.get(keys[0]) == keys[1] and table.get(keys[1]) != value:
        table.clear()
    table[keys[-1]] = value


def _toml_value(text: str, override: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        if BARE_WORD.fullmatch(text):
            return text
        raise ScenarioError(f"'{override}' has no TOML value after the '=': text of several words goes in quotes") from None
    if len(parsed) != 1:
        raise ScenarioError(f"'{override}' must set one key")
    return parsed["value"]


def _scenario(tables: dict[str, Any], path: Path) -> Scenario:
    known = {"name", "title", "caveats", "seed", "benchmark", *CHOICES, SIZER, *TABLES, *FILES, STRESS}
    for key, value in tables.items():
        if key not in known:
            raise ScenarioError(f"no such key '{key}'{nearest(key, known)}{_home(key, value)}")
    rest = {key: _tuples(value) for key, value in tables.items() if key not in (*CHOICES, SIZER, *TABLES, *FILES, STRESS)}
    head: Any = plugins.build(_Head, {"name": path.stem, **rest}, "")
    terms: Any = {name: plugins.build(kind, _table(tables, name), name) for name, kind in TABLES.items()}
    choices: Any = {table: _choice(table, _table(tables, table)) for table in CHOICES}
    folder = path.resolve().parent
    parts = {table: _part(table, choice, folder) for table, choice in choices.items()}
    sizer = _choice(SIZER, _table(tables, SIZER)) if SIZER in tables else None
    if sizer:
        choices[SIZER], parts[SIZER] = sizer, _part(SIZER, sizer, folder)
    named = {table: files(table, tables) for table in FILES if table in tables}
    if (stress := stress_of(tables)) is not None:
        named[STRESS] = stress
    text = _text(head, choices, parts, {**terms, **named}, folder)
    return Scenario(
        head.name,
        head.title or head.name,
        head.caveats,
        head.seed,
        **choices,
        **terms,
        folder=folder,
        text=text,
        benchmark=head.benchmark,
        actions=named.get("actions"),
        known=named.get("known"),
        stress=stress,
    )


def _home(key: str, value: object) -> str:
    """In TOML a key that comes after a table's header belongs to it, and one before the first header to none: say where it may belong."""
    if isinstance(value, dict) or get_close_matches(key, ("name", "title", "caveats", "seed", "benchmark"), cutoff=0.6):
        return ""
    return " (a plug-in's parameters go below its [table])"


def _table(tables: Mapping[str, Any], name: str) -> dict[str, object]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise ScenarioError(f"{name} must be a table, [{name}], was {plugins.said(table)}")
    return {key: _tuples(value) for key, value in table.items()}


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def _choice(table: str, keys: dict[str, object]) -> Choice:
    key = CHOICES.get(table, "name")
    installed = plugins.names(GROUPS[table])
    name = keys.pop(key, None)
    if name is None:
        raise ScenarioError(f"{table}.{key} is missing: one of {', '.join(installed)}, or path/to/file.py:Name")
    if not isinstance(name, str):
        raise ScenarioError(f"{table}.{key} must be text in quotes, was {plugins.said(name)}; there is: {', '.join(installed)}")
    return Choice(name, keys)


def _part(table: str, choice: Choice, folder: Path) -> Any:
    kind = plugins.find(GROUPS[table], choice.name, folder)
    part = plugins.build(kind, choice.parameters, table, folder)
    if not callable(getattr(part, PORTS[table], None)):
        raise ScenarioError(f"{table}.{CHOICES.get(table, 'name')} must be a {table} with a method {PORTS[table]}(), and '{choice.name}' has none")
    return part


def _text(head: _Head, choices: Mapping[str, Choice], parts: Mapping[str, Any], others: Mapping[str, Any], folder: Path) -> str:
    """Everything that decides the result, as canonical TOML: for a plug-in from a file, what is in the file too."""
    lines = _lines("", _sayable(head))
    for table, choice in choices.items():
        lines += _choice_lines(table, choice, parts[table], folder)
    for table, part in others.items():
        digest = _digest(table, part, folder) if table in FILES else ""
        lines += _lines(table, _sayable(part), f" # SHA-256 of its files: {digest}" if digest else "")
    return "\n".join(lines).lstrip() + "\n"


def _choice_lines(table: str, choice: Choice, part: Any, folder: Path) -> list[str]:
    """A table that chooses a plug-in."""
    digest = plugins.source_digest(choice.name, folder)
    said = {CHOICES.get(table, "name"): choice.name, **_sayable(part, choice.parameters)}
    lines = _lines(table, said, f" # SHA-256 of its file: {digest}" if digest else "")
    for model in _models_in(choice.parameters):
        digest = plugins.source_digest(model, folder)
        lines += [f"# SHA-256 of the file of {model}: {digest}"] if digest else []
    return lines


def files(table: str, tables: Mapping[str, Any]) -> Any:
    """What the *table* (a key of FILES) of a scenario names; None where it has none."""
    return plugins.build(FILES[table], _table(tables, table), table) if table in tables else None


def stress_of(tables: Mapping[str, Any]) -> Stress | None:
    """What a scenario's [stress] says; None where it has none."""
    if STRESS not in tables:
        return None
    made = plugins.build(Stress, _table(tables, STRESS), STRESS)
    assert isinstance(made, Stress)
    return made


def _digest(table: str, part: ActionFiles | KnownFiles, folder: Path) -> str:
    """What is in the files that a table names."""
    seen = hashlib.sha256()
    for path in part.paths:
        try:
            seen.update((folder / path).read_bytes())
        except OSError as error:
            raise ScenarioError(f"{table}.paths: cannot read {path}: {error.strerror or error}") from None
    return seen.hexdigest()


def _models_in(given: object) -> Iterator[str]:
    """Every `model` that parameters name, however deep."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            if key == "model" and isinstance(value, str):
                yield value
            yield from _models_in(value)
    elif isinstance(given, list | tuple):
        for value in given:
            yield from _models_in(value)


def _sayable(part: object, given: object = None) -> dict[str, Any]:
    """The parameters of *part* that TOML can say, in the order of its fields; None is left out. Of a plug-in within, *given* has the name."""
    if not is_dataclass(part):
        return {}
    known: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    said = {field.name: _plain(getattr(part, field.name), known.get(field.name)) for field in fields(part) if field.init}
    for one in fields(part):
        own = known.get(one.name)
        if "plugin" in one.metadata and isinstance(own, Mapping) and "model" in own:
            said[one.name] = {"model": own["model"], **(said[one.name] or {})}
    return {key: value for key, value in said.items() if value is not None}


def _plain(value: Any, given: Any = None) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str | int | float | date | time):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        known = given if isinstance(given, Mapping) else {}
        return {str(key): _plain(item, known.get(key)) for key, item in value.items()}
    return _sayable(value, given) if is_dataclass(value) else None


def _lines(table: str, keys: Mapping[str, Any], comment: str = "") -> list[str]:
    """A table's own keys, and then the tables inside it."""
    inner = {key: value for key, value in keys.items() if isinstance(value, dict)}
    lines = ["", f"[{table}]{comment}"] if table else []
    lines += [f"{_key(key)} = {_said(value)}" for key, value in keys.items() if key not in inner]
    for key, value in inner.items():
        lines += _lines(f"{table}.{_key(key)}" if table else _key(key), value)
    return lines


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _said(key)


def _said(value: Any) -> str:
    """A TOML value. JSON's strings are TOML's, but that TOML wants DEL escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(_said(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_said(item)}' for key, item in value.items())}}}"
    return value.isoformat() if isinstance(value, date | time) else repr(value)
