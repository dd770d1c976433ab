"""What can go wrong for a user, as one small tree.

A user's mistake raises a `SimulatorError` whose text gives the place, the value and the way out. Our own mistakes are asserted.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SimulatorError(Exception):
    """Something that the user can mend. The command line prints it as one line, without a traceback."""


class DataError(SimulatorError):
    """Bars that cannot be true, or that nobody declared: the text names file, row and field."""


class ScenarioError(SimulatorError):
    """A scenario that says something impossible: the text names the key."""


class PluginError(SimulatorError):
    """A plug-in that cannot be found, loaded or built, or that raised."""


class ViewError(SimulatorError):
    """A strategy asked its view for something that it cannot see."""


class OrderError(SimulatorError):
    """A plain order that cannot be read: no such symbol, kind or key."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'slow'?` for a misspelt *word*, or a list of what there is."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; there is: {', '.join(names) or 'nothing'}"
