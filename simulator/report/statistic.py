"""A statistic: a formula of columns of numbers that gives a float, and says why where there is none."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from math import nan

import numpy.typing as npt

from simulator.errors import DataError
from simulator.report.metrics import Measured, as_column, undefined


class Statistic:
    """A formula with at least so many rows in its columns. Call it for the number, or `measured` for the number and the reason why there is none.

    Columns are given in their order, and have one length; choices are given by name. A value that is no number makes it NaN, and its row is named.
    """

    def __init__(self, formula: Callable[..., float | str], least: int) -> None:
        self.formula, self.least = formula, least
        self.name = self.__name__ = formula.__name__
        self.__doc__ = formula.__doc__
        self.__signature__ = signature(formula)
        self.convention = " ".join((formula.__doc__ or "").split("\n\n")[0].split())

    def __call__(self, *columns: npt.ArrayLike, **choices: float) -> float:
        return self.measured(*columns, **choices).value

    def measured(self, *columns: npt.ArrayLike, **choices: float) -> Measured:
        """The value, and the reason if it is NaN. Raises DataError where the columns are of different lengths or are no columns."""
        names = list(self.__signature__.parameters)
        given = [as_column(name, values) for name, values in zip(names, columns, strict=False)]
        if not len(given[0]):
            return Measured(nan, "there is nothing to measure")
        if any(len(values) != len(given[0]) for values in given):
            raise DataError(f"{' and '.join(names[: len(given)])} must be of one length, had {', '.join(str(len(values)) for values in given)}")
        for name, values in zip(names, given, strict=False):
            reason = undefined(values, name)
            if reason:
                return Measured(nan, reason)
        if len(given[0]) < self.least:
            return Measured(nan, f"it needs at least {self.least} rows, and there is {len(given[0])}")
        found = self.formula(*given, **choices)
        return Measured(nan, found) if isinstance(found, str) else Measured(float(found))


def statistic(least: int = 1) -> Callable[[Callable[..., float | str]], Statistic]:
    """Make a statistic of a formula."""
    return lambda formula: Statistic(formula, least)
