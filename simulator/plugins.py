"""Strategies, brokers and feeds that others write: found by name or by file, and built from a scenario's keys."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import traceback
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date, time
from functools import lru_cache
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from simulator.errors import PluginError, ScenarioError, SimulatorError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

STRATEGIES: Final = "tradewind.strategies"
BROKERS: Final = "tradewind.brokers"
FEEDS: Final = "tradewind.feeds"
COSTS: Final = "tradewind.costs"
SLIPPAGES: Final = "tradewind.slippage"
SIZERS: Final = "tradewind.sizers"

WORDS: Final = {STRATEGIES: "strategy", BROKERS: "broker", FEEDS: "feed", COSTS: "cost model", SLIPPAGES: "slippage model", SIZERS: "sizer"}
MODELS: Final = {COSTS: "charge", SLIPPAGES: "slipped"}
"""The method of the models that a plug-in's own parameters may choose: fields with the metadata {"plugin": group}."""
ROOT: Final = Path(__file__).resolve().parent.parent


def find(group: str, name: str, folder: Path) -> type:
    """The class that *name* stands for: an entry point of *group*, or `path/to/file.py:Name` with a path relative to *folder*.

    Raises PluginError where there is no such plug-in or it cannot be imported.
    """
    path, _, attribute = name.rpartition(":")
    if path.endswith(".py"):
        return _from_file(WORDS[group], folder / path, attribute)
    known = _entries(group)
    if name not in known:
        raise PluginError(f"no such {WORDS[group]} '{name}'{nearest(name, known)} (a file is given as path/to/file.py:Name)")
    return _from_entry(WORDS[group], known[name])


def names(group: str) -> list[str]:
    """The names of all installed plug-ins of *group*, sorted."""
    return sorted(_entries(group))


def build(kind: type, parameters: Mapping[str, object], where: str, folder: Path | None = None) -> object:
    """One *kind* with these *parameters*, each of exactly the type that its dataclass field declares.

    A field that is itself a dataclass takes a table, one of several of them a list or a table of tables; where it may be one of several, which each
    have a field `model`, the table's `model` says which. A field with the metadata {"plugin": group} may also have the `model` of a plug-in, whose
    file's path is relative to *folder*. *where* is the table's name, empty for the top of a scenario. Raises ScenarioError naming
    `where.key`, the value and the way out, PluginError where the class itself is at fault.
    """
    if not is_dataclass(kind):
        if parameters:
            raise PluginError(f"{where}: {kind.__name__} is not a dataclass, so it takes no parameters, was given {', '.join(sorted(parameters))}")
        return _made(kind, {}, where)
    known = {field.name: field for field in fields(kind) if field.init}
    for key in parameters:
        if key not in known:
            raise ScenarioError(f"{where}: no such key '{key}'{nearest(key, known)}")
    for key, field in known.items():
        if key not in parameters and field.default is MISSING and field.default_factory is MISSING:
            raise ScenarioError(f"{_at(where, key)} is missing: {kind.__name__} has no default for it")
    values = {key: _value(kind, known[key], value, _at(where, key), folder or Path()) for key, value in parameters.items()}
    return _made(kind, values, where)


def source_digest(name: str, folder: Path) -> str | None:
    """SHA-256 of the file of a plug-in that is given as `path/to/file.py:Name`; None for one that is installed."""
    path = name.rpartition(":")[0]
    return hashlib.sha256((folder / path).read_bytes()).hexdigest() if path.endswith(".py") else None


def _entries(group: str) -> dict[str, EntryPoint]:
    return _installed(group, tuple(sys.path))


@lru_cache(maxsize=16)
def _installed(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """The entry points of *group* on this *path*. Asking for them reads a file of every installed package, which a sweep would do for each trial."""
    from importlib.metadata import entry_points

    known: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = known.setdefault(entry.name, entry)
        if other.value != entry.value:
            packages = " and ".join(sorted(x.dist.name if x.dist else x.value for x in (other, entry)))
            raise PluginError(f"{WORDS[group]} '{entry.name}' is registered twice, by {packages}: uninstall one, or give a file.py:Name")
    return known


@lru_cache(maxsize=64)
def _from_entry(word: str, entry: EntryPoint) -> type:
    from importlib.util import find_spec

    top = entry.module.partition(".")[0]
    ours = entry.dist is not None and entry.dist.name == "tradewind"
    if ours and (spec := find_spec(top)) is not None:
        # With the current folder first on sys.path, a user's own ./strategies/__init__.py hides ours.
        found = Path(spec.origin).resolve() if spec.origin else None
        if found != ROOT / top / "__init__.py":
            raise PluginError(
                f"{word} '{entry.name}' is in tradewind's package '{top}', but {found or 'a folder'} has the same name and hides it: "
                "rename that one, or run from another folder"
            )
    try:
        return _a_class(word, entry.value, entry.load())
    except SimulatorError:
        raise
    except Exception as error:
        raise PluginError(f"{word} '{entry.name}' ({entry.value}) cannot be loaded: {_last_line(error)}") from error


def _from_file(word: str, path: Path, attribute: str) -> type:
    place = path.resolve()
    try:
        source = place.read_bytes()
    except OSError as error:
        raise PluginError(f"{word}: cannot read {path}: {error.strerror}") from None
    module = _module(word, place, source)
    if not hasattr(module, attribute):
        classes = [key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__]
        raise PluginError(f"{word}: there is no '{attribute}' in {path}{nearest(attribute, classes)}")
    return _a_class(word, f"{path}:{attribute}", getattr(module, attribute))


def _module(word: str, place: Path, source: bytes) -> types.ModuleType:
    """The module in the file at *place*, run once for each content of the file."""
    digest = hashlib.sha256(bytes(place) + b"\0" + source).hexdigest()
    name = f"tradewind_plugin_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = str(place)
    # Before it runs: dataclasses look their module up to resolve annotations.
    sys.modules[name] = module
    try:
        exec(compile(source, str(place), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"{word}: {place.name}{_line_of(error, str(place))} raised {_last_line(error)}") from error
    return module


def _a_class(word: str, place: str, found: object) -> type:
    if not isinstance(found, type):
        raise PluginError(f"{word}: {place} must be a class, was {type(found).__name__} {found!r:.60}")
    return found


def _line_of(error: BaseException, filename: str) -> str:
    if isinstance(error, SyntaxError) and error.filename == filename:
        return f", line {error.lineno},"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    return f", line {lines[-1]}," if lines else ""


def _last_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}".split())


def _made(kind: type, values: Mapping[str, object], where: str) -> object:
    """Call the class. What its `__post_init__` says against a value is the user's to read; anything else is the author's."""
    try:
        return kind(**values)
    except (ValueError, SimulatorError) as error:
        raise ScenarioError(_placed(" ".join(str(error).split()), kind, where)) from error
    except Exception as error:
        raise PluginError(f"{where}: {kind.__name__} cannot be built: {_last_line(error)}") from error


def _placed(message: str, kind: type, where: str) -> str:
    """*message* with its key in front: `fast must be ...` becomes `strategy.fast must be ...`."""
    parent, _, own = where.rpartition(".")
    first = message.replace(":", " ").split(" ")[0].partition(".")[0]
    if not where or message.startswith((f"{where}.", f"{where}:")):
        return message
    if parent and first == own:
        return f"{parent}.{message}"
    if is_dataclass(kind) and first in {field.name for field in fields(kind)}:
        return f"{where}.{message}"
    return f"{where}: {message}"


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _value(kind: type, field: Field[Any], value: object, where: str, folder: Path) -> object:
    """*value* as the type of *field*."""
    hint = _hint(kind, field, where)
    nested = [member for member in (hint, *_members(hint)) if isinstance(member, type) and is_dataclass(member)]
    if any(isinstance(value, member) for member in nested):
        return value
    group = field.metadata.get("plugin")
    if group and isinstance(value, Mapping) and "model" in value:
        model = value["model"]
        own = [choice for member in nested for x in fields(member) if x.name == "model" for choice in typing.get_args(_hint(member, x, where))]
        if model not in own and (not own or (isinstance(model, str) and (".py:" in model or model in names(group)))):
            if not isinstance(model, str):
                raise ScenarioError(f"{where}.model must be text in quotes, was {said(model)}")
            found = find(group, model, folder)
            if not callable(getattr(found, MODELS[group], None)):
                raise ScenarioError(f"{where}.model must be a {WORDS[group]} with a method {MODELS[group]}(), and '{model}' has none")
            return build(found, {key: x for key, x in value.items() if key != "model"}, where, folder)
    if group and callable(getattr(value, MODELS[group], None)):
        return value
    many = _tables(hint)
    if many and isinstance(value, Mapping if many[0] is Mapping else list | tuple):
        inner = many[1]
        if isinstance(value, Mapping):
            return {str(key): _table_of(inner, item, f"{where}.{key}", folder) for key, item in value.items()}
        assert isinstance(value, list | tuple)
        return tuple(_table_of(inner, item, f"{where}[{k}]", folder) for k, item in enumerate(value))
    models = _models(nested)
    if len(nested) == 1 or (nested and len(models) == len(nested)):
        if not isinstance(value, Mapping):
            keys = ", ".join(x.name for x in fields(nested[0]) if x.init)
            raise ScenarioError(f"{where} must be a table of {keys}, was {value!r:.60}")
        model = str(value.get("model", next(iter(models), "")))
        if len(nested) > 1 and model not in models:
            raise ScenarioError(f"{where}.model must be one of {', '.join(models)}, was {value['model']!r:.60}{nearest(model, models)}")
        return build(models.get(model, nested[0]), value, where, folder)
    if many:
        shape = "a table of tables" if many[0] is Mapping else "a list of tables"
        raise ScenarioError(f"{where} must be {shape}, was {said(value)}")
    return _leaf(hint, value, where, _default(field))


def _tables(hint: object) -> tuple[type, type] | None:
    """What a type of many dataclasses is made of: (tuple, the dataclass) for a list of tables, (Mapping, the dataclass) for a table of them."""
    for member in (hint, *_members(hint)):
        origin, args = typing.get_origin(member), typing.get_args(member)
        if origin is tuple and len(args) == 2 and args[1] is Ellipsis and isinstance(args[0], type) and is_dataclass(args[0]):
            return tuple, args[0]
        if origin in (dict, Mapping) and len(args) == 2 and isinstance(args[1], type) and is_dataclass(args[1]):
            return Mapping, args[1]
    return None


def _table_of(kind: type, value: object, where: str, folder: Path) -> object:
    """One of many tables."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise ScenarioError(f"{where} must be a table of {', '.join(x.name for x in fields(kind) if x.init)}, was {said(value)}")
    return build(kind, value, where, folder)


def _models(kinds: Sequence[type]) -> dict[str, type]:
    """Several classes of which a table's `model` chooses one (the first, where it has none), by what their own field `model` is."""
    return {str(field.default): kind for kind in kinds for field in fields(kind) if field.name == "model"} if len(kinds) > 1 else {}


def _members(hint: object) -> tuple[object, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()


def _hint(kind: type, field: Field[Any], where: str) -> object:
    """The type of *field*, resolved where its class was written. Other fields may name what is imported for type checkers only."""
    if not isinstance(field.type, str):
        return field.type
    try:
        return _resolved(kind, field.name, field.type)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise PluginError(f"{where}: {kind.__name__} declares it as {field.type!r}, which cannot be resolved: {_last_line(error)}") from error


@lru_cache(maxsize=1024)
def _resolved(kind: type, name: str, written: str) -> object:
    """What a class means by the type *written* for one of its fields. A sweep asks for the same few again and again."""
    owner = next(base for base in kind.__mro__ if name in inspect.get_annotations(base))
    annotated = types.SimpleNamespace(__annotations__={name: written})
    return typing.get_type_hints(annotated, vars(sys.modules[owner.__module__]), include_extras=True)[name]


def _default(field: Field[Any]) -> str:
    return f" ({said(field.default)} by default)" if isinstance(field.default, str | int | float) and field.default != "" else ""


def said(value: object) -> str:
    """A value as its user wrote it, at most 60 characters of it."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@lru_cache(maxsize=1024)
def _adapter(hint: Any) -> Any:
    """What checks values of a type. It takes far longer to make than to use."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(extra="forbid"))


def _leaf(hint: Any, value: object, where: str, default: str) -> object:
    from pydantic import ValidationError
    from pydantic.errors import PydanticUserError

    if isinstance(value, float) and isnan(value):
        raise ScenarioError(f"{where} must be a number{default}, was nan")
    try:
        adapter = _adapter(hint)
    except (PydanticUserError, TypeError) as error:
        raise PluginError(f"{where} is of a type that a scenario cannot give ({hint}): leave the key out") from error
    try:
        # Strict, by way of JSON: there lists may be tuples, tables dataclasses and text dates, but nothing else may be something else.
        checked: object = adapter.validate_json(json.dumps(value, default=_textual), strict=True)
        return checked
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise ScenarioError(" or ".join(dict.fromkeys(_fault(fault, where, default) for fault in faults))) from None
    except TypeError:
        raise ScenarioError(f"{where} must be text, a number, true, false, a date, a list or a table, was {said(value)}") from None


def _textual(value: object) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError


MUST: Final = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "tuple_type": "must be a list in square brackets",
    "list_type": "must be a list in square brackets",
    "dict_type": "must be a table",
    "dataclass_type": "must be a table",
}


def _fault(fault: Any, where: str, default: str) -> str:
    """One of pydantic's findings as our sentence."""
    for step in fault["loc"]:
        where += f"[{step}]" if isinstance(step, int) else ""
    kind, value = fault["type"], said(fault["input"])
    if kind in ("missing", "unexpected_keyword_argument"):
        key = fault["loc"][-1]
        return f"{where}: no such key '{key}'" if kind != "missing" else f"{where}.{key} is missing"
    if kind == "literal_error":
        expected = fault["ctx"]["expected"]
        # Every choice is named already; only a near miss has something to add.
        hint = nearest(str(fault["input"]), expected.replace("'", "").replace(" or ", ", ").split(", "))
        return f"{where} must be {expected}, was {value}{hint if 'did you mean' in hint else ''}"
    must = MUST.get(kind) or fault["msg"].replace("Input should be", "must be").removeprefix("Tuple ")
    return f"{where} {must}{default}, was {value}"
