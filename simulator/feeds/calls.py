"""Calls on a basket of bundled stocks as instruments: their daily marks beside the stocks, each computed from what was known at that close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import nan
from pathlib import Path
from typing import Final

import numpy as np

from simulator.errors import DataError, ScenarioError
from simulator.feeds.packaged import Packaged
from simulator.market.actions import Actions, Delisting
from simulator.market.instruments import Instrument
from simulator.market.tape import FloatArray, Tape
from simulator.models.basket_calls import BASE, CallTerms

BASKET: Final = "BASKET"
CALL: Final = "CALL."
TICK: Final = 0.01


@dataclass(frozen=True)
class BasketCalls:
    """The instruments of *underlying*, after them BASKET, which holds their *weights* (equal unless given) from the first bar on, and a call on the
    basket for each listing: CALL.001, CALL.002, ... on the *terms*.

    A call has a bar from its listing to its expiry, where its price is what it pays: in the next session it is settled in cash at that. Prices are
    means of *paths* simulations with the same random numbers each day, rounded to the cent and at least one. Only closes are known of an option that
    is marked once a day, so that all of the tape is reduced to its closes.
    """

    underlying: Packaged
    weights: tuple[float, ...] = ()
    terms: CallTerms = field(default_factory=CallTerms)
    paths: int = 2_000

    def load(self, *, seed: int, folder: Path) -> Tape:
        """The tape; *seed* is that of the random numbers. Raises what the underlying feed raises, and ScenarioError for weights that do not fit."""
        return with_calls(self.underlying.load(seed=seed, folder=folder), self.terms, self.weights, self.paths, seed)


def with_calls(tape: Tape, terms: CallTerms, weights: Sequence[float] = (), paths: int = 2_000, seed: int = 0) -> Tape:
    """The closes of *tape* with a basket of all its instruments and the calls on it; see BasketCalls.

    Raises ScenarioError for weights that are not one a stock, above 0 in sum and none below, and DataError where a bar is missing.
    """
    width, rows = tape.width, len(tape)
    shares = np.full(width, 1.0 / width) if not weights else np.asarray(weights, np.float64)
    if shares.shape != (width,) or not (shares >= 0.0).all() or not shares.sum() > 0.0:
        raise ScenarioError(f"feed.weights must be one number of at least 0 for each of {width} instruments, were {list(weights)}")
    shares = shares / shares.sum()
    closes = np.array(tape.close[:rows])
    if not np.isfinite(closes).all():
        row, i = np.argwhere(~np.isfinite(closes))[0]
        raise DataError(f"a basket needs a bar of each of its instruments: {tape.instruments[i].symbol} has none in row {row}")
    basket = closes @ terms.units(closes[0], shares)
    calls = [marks(closes, terms, terms.units(closes[row], shares), row, paths, seed) for row in terms.listings(rows)]
    columns = np.column_stack([closes, np.rint(basket / TICK) * TICK, *calls])
    names = [BASKET, *(f"{CALL}{k + 1:03}" for k in range(len(calls)))]
    instruments = [*tape.instruments, *(Instrument(name, kind="fund" if name == BASKET else "option") for name in names)]
    caveats = (
        f"{BASKET} is a made-up fund that holds the stocks and costs nothing",
        "calls are marked by a model, and trade at their marks less costs: no dealer has quoted them",
        f"a call that expires worthless still pays {TICK:g}, the smallest price there is",
    )
    truth = replace(tape.truth, opens="close_only", volume="none", caveats=(*tape.truth.caveats, *caveats))
    made = Tape.of(
        instruments,
        tape.closed_at[:rows],
        columns,
        columns,
        columns,
        columns,
        np.where(np.isnan(columns), nan, np.inf),
        interval=tape.interval,
        opened_at=tape.opened_at[:rows],
        sessions=tape.sessions[:rows],
        truth=truth,
        notes=tape.notes,
    )
    # Cash settlement: from the session after its expiry on a call is gone, and what was held of it is paid at its last price.
    ends = [(k, row + terms.life) for k, row in enumerate(terms.listings(rows)) if row + terms.life < rows]
    made.actions = Actions([Delisting(f"{CALL}{k + 1:03}", int(tape.sessions[end]) + 1) for k, end in ends])
    return made


def marks(closes: FloatArray, terms: CallTerms, units: FloatArray, listed: int, paths: int, seed: int) -> FloatArray:
    """A call's prices, (rows,), NaN before it is listed and after it has expired."""
    found = np.full(len(closes), nan)
    for row in range(listed, min(listed + terms.life + 1, len(closes))):
        left = listed + terms.life - row
        known = closes[row - terms.window : row + 1]
        price = terms.mark(known, units, left, paths, seed).price if left else max(float(units @ closes[row]) - terms.moneyness * BASE, 0.0)
        found[row] = max(np.rint(price / TICK), 1.0) * TICK
    return found
