"""Files of what is no bar: corporate actions, and values with the times at which they were known. The grammar of text is that of bars."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from simulator.errors import DataError, nearest
from simulator.feeds.checks import NUMBER, numbers, stamps_of, text_columns, text_header, text_lines
from simulator.market.actions import Action, Actions, Delisting, Dividend, Split, Suspension, TradingHalt
from simulator.market.calendars import day_text
from simulator.market.known import Datum, Known
from simulator.market.tape import DAY, Tape

if TYPE_CHECKING:
    from simulator.scenarios import ActionFiles, KnownFiles

ACTION_KEYS: Final = ("kind", "symbol", "date", "ratio", "amount", "currency", "pay_date", "price", "haircut", "until")
"""The columns of a file of actions; kind, symbol and date must be there."""

NEEDS: Final = {"split": ("ratio",), "dividend": ("amount",), "delisting": (), "halt": ("until",)}
MAY: Final = {"split": (), "dividend": ("currency", "pay_date"), "delisting": ("price", "haircut"), "halt": ()}
RATIO = re.compile(r"([1-9][0-9]{0,6}):([1-9][0-9]{0,6})", re.ASCII)


def read_actions(path: str | Path) -> list[Action]:
    """The corporate actions in a CSV file with a header of kind, symbol, date and, where they are needed, the other columns of ACTION_KEYS.

    * `split`: *ratio* "2:1" is two shares for each one from the session *date* on;
    * `dividend`: *amount* a share to who held before the session *date*, paid on *pay_date* (empty: that session), in *currency* (empty: the
      instrument's, which is the only one that there can be);
    * `delisting`: traded no more from the session *date* on, positions closed at *price*, or at the last price less the share *haircut* of it;
    * `halt`: no trading from *date* to *until*: two dates are sessions, both included; two times with Z are instants, the second of them the
      reopening.

    Raises DataError with file, row, column, value and way out.
    """
    header, rows = _rows(Path(path), ACTION_KEYS, ("kind", "symbol", "date"))
    return [_action(dict(zip(header, words, strict=True)), f"{Path(path).name}, row {k}") for k, words in rows]


KNOWN_KEYS: Final = ("known", "name", "symbol", "value")
"""The columns of an as-of table; symbol may be left out."""


def read_known(path: str | Path) -> list[Datum]:
    """The values in a CSV file with the columns known, name, value and, unless all are of the whole market, symbol.

    *known* is when the value could first be known: a time with Z or an offset, or a date, which is taken for its end in UTC, the latest that it can
    mean. *value* is a number or words, one of the two for each name. Raises DataError with file, row, column, value and way out.
    """
    place = Path(path).name
    header, rows = _rows(Path(path), KNOWN_KEYS, ("known", "name", "value"))
    table = [dict(zip(header, words, strict=True)) for _, words in rows]

    def where(k: int) -> str:
        return f"{place}, row {rows[k][0]}"

    at, form = stamps_of([row["known"] for row in table], where, "known")
    if form == "naive":
        raise DataError(f"{where(0)}: known must be a date, or a time with Z or an offset, was {table[0]['known']!r}")
    if form == "date":
        at = at + DAY
    for k, row in enumerate(table):
        for field in ("name", "value"):
            if not row[field].strip():
                raise DataError(f"{where(k)}: {field} must not be empty")
    made = []
    for row, then in zip(table, at.tolist(), strict=True):
        value = float(row["value"]) if NUMBER.fullmatch(row["value"]) else row["value"]
        made.append(Datum(then, row["name"], row.get("symbol", ""), value))
    return made


def actions_of(given: Iterable[Any] | str | Path) -> list[Action]:
    """Actions as they were given: a path to a file, or actions and mappings with the keys of one. Raises DataError naming the one that is wrong."""
    if isinstance(given, str | Path):
        return read_actions(given)
    made: list[Action] = []
    for k, one in enumerate(given):
        if isinstance(one, Action):
            made.append(one)
            continue
        if not isinstance(one, Mapping):
            raise DataError(f"action {k}: must be an action or a mapping with its keys, was {one!r}")
        for key in one:
            if key not in ACTION_KEYS:
                raise DataError(f"action {k}: no such key {key!r}{nearest(str(key), ACTION_KEYS)}")
        made.append(_action({key: "" if value is None else str(value) for key, value in one.items()}, f"action {k}"))
    return made


def attach(tape: Tape, actions: Actions) -> Tape:
    """The same tape, with corporate actions: jumps of prices that these explain are no longer worth a warning. Raises DataError; see Actions.fit."""
    actions.fit(tape)
    explained = tuple(f"{action.symbol}, {day_text(action.ex)}" for action in actions.dated)
    kept = tuple(note for note in tape.notes if not (explained and note.startswith(explained)))
    adjusted = ("The prices are adjusted: splits and dividends are in them, and are not booked again.",) if tape.truth.adjusted else ()
    tape.actions, tape.notes = actions, (*kept, *adjusted)
    if tape.chain is not None:
        # Now, since a dividend that is more than its share was worth is a mistake in the file, wherever it shows.
        tape.chain.factors(0, len(tape))
    return tape


def with_tables(tape: Tape, folder: Path, actions: ActionFiles | None, known: KnownFiles | None) -> Tape:
    """The same tape with the corporate actions and the as-of tables in files that a scenario names, which start in *folder*. Raises DataError."""
    if actions is not None:
        attach(tape, Actions([action for path in actions.paths for action in read_actions(folder / path)], actions.signals))
    if known is not None:
        tape.known = Known(datum for path in known.paths for datum in read_known(folder / path))
        tape.known.fit(tape)
    return tape


def _rows(path: Path, known: Sequence[str], needed: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header of a file, and its rows with their numbers."""
    try:
        content = path.read_bytes()
    except OSError as broken:
        raise DataError(f"{path}: cannot be read ({broken.strerror})") from None
    lines = text_lines(content, path.name)
    header = text_header(lines, path.name)
    for k, name in enumerate(header):
        if name not in known:
            raise DataError(f"{path.name}, row 1: no such column {name!r}{nearest(name, known)}")
        if name in header[:k]:
            raise DataError(f"{path.name}, row 1: has two columns {name!r}; leave one")
    for name in needed:
        if name not in header:
            raise DataError(f"{path.name}, row 1: has no column {name!r}; add it")
    rows: list[tuple[int, list[str]]] = []
    for first, columns in text_columns(lines, len(header), path.name):
        rows += [(first + k, list(words)) for k, words in enumerate(zip(*columns, strict=True))]
    return header, rows


def _action(words: Mapping[str, str], place: str) -> Action:
    """One action from its words."""
    kind, symbol = words.get("kind", ""), words.get("symbol", "")
    if kind not in NEEDS:
        raise DataError(f"{place}: kind must be one of {', '.join(NEEDS)}, was {kind!r}{nearest(kind, NEEDS)}")
    if not symbol.strip():
        raise DataError(f"{place}: symbol must not be empty")
    for key in ("date", *NEEDS[kind]):
        if not words.get(key):
            raise DataError(f"{place}: a {kind} needs {key}, which was empty")
    for key, word in words.items():
        if word and key not in ("kind", "symbol", "date", *NEEDS[kind], *MAY[kind]):
            raise DataError(f"{place}: a {kind} has no {key}, was {word!r}; leave it empty")
    try:
        return MAKERS[kind](words, place)
    except DataError as wrong:
        said = str(wrong)
        raise DataError(said if said.startswith(place) else f"{place}: {said}") from None


def _split(words: Mapping[str, str], place: str) -> Action:
    found = RATIO.fullmatch(words["ratio"])
    if not found:
        raise DataError(f"{place}: ratio must be like 2:1 (new for old, whole numbers), was {words['ratio']!r}")
    return Split(words["symbol"], _day(words, "date", place), int(found[1]), int(found[2]))


def _dividend(words: Mapping[str, str], place: str) -> Action:
    pay = _day(words, "pay_date", place) if words.get("pay_date") else None
    return Dividend(words["symbol"], _day(words, "date", place), _number(words, "amount", place), pay, words.get("currency", ""))


def _delisting(words: Mapping[str, str], place: str) -> Action:
    price = _number(words, "price", place) if words.get("price") else nan
    return Delisting(words["symbol"], _day(words, "date", place), price, _number(words, "haircut", place) if words.get("haircut") else 0.0)


def _halt(words: Mapping[str, str], place: str) -> Action:
    (start,), form = stamps_of([words["date"]], lambda k: place)
    (end,), _ = stamps_of([words["until"]], lambda k: place, "until", form)
    if form == "naive":
        raise DataError(f"{place}: date must be a date, or a time with Z or an offset, was {words['date']!r}")
    if form == "date":
        return Suspension(words["symbol"], int(start) // DAY, int(end) // DAY)
    return TradingHalt(words["symbol"], int(start), int(end))


MAKERS: Final[dict[str, Callable[[Mapping[str, str], str], Action]]] = {
    "split": _split,
    "dividend": _dividend,
    "delisting": _delisting,
    "halt": _halt,
}


def _day(words: Mapping[str, str], field: str, place: str) -> int:
    (at,), _ = stamps_of([words[field]], lambda k: place, field, "date")
    return int(at) // DAY


def _number(words: Mapping[str, str], field: str, place: str) -> float:
    return float(numbers([words[field]], field, lambda k: place)[0])
