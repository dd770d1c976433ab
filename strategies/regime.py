"""Regimes: hold more in a bull market than in a bear market, where a hidden Markov model, or volatility among its own past, says which of them it is.

Idea: returns come from a few states that last, each with its own mean and volatility; who knows the state knows how much to hold. Sources: Hamilton
(1989), "A new approach to the economic analysis of nonstationary time series"; Ang and Bekaert (2002) for allocation; terciles of trailing volatility
are the plain rival.

Risks: states are told apart by their volatility and named by their mean, which a few years tell badly; a switch comes late by the bars that it takes
to be sure, and twice if it was none; each refit may change its mind about what was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, inf, isfinite, log, nan, sqrt
from typing import Literal, NamedTuple

import numpy as np

from simulator import DataError, FloatArray, IntArray, OrderBatch, Proposal, RegimeModel, View, fit_regimes


class Fit(NamedTuple):
    """A model that was fitted after the close of bar *row*, or, where *why_not* says so, was not, so that the one before stays."""

    row: int
    instrument: int
    model: RegimeModel | None
    why_not: str = ""


@dataclass
class Track:
    """What the strategy knows of one instrument, from its own bars only: a missing one says nothing. The next fit is due at *fit_at* returns."""

    log_close: float = nan
    returns: list[float] = field(default_factory=list)
    volatilities: list[float] = field(default_factory=list)
    model: RegimeModel | None = None
    posterior: FloatArray | None = None
    fit_at: int = 0
    held: int = -1
    since: int = 0

    def remember(self, close: float) -> None:
        """Take in a new close."""
        self.log_close, before = log(close), self.log_close
        if before == before:
            self.returns.append(self.log_close - before)
            self.since += 1
            if self.model is not None and self.posterior is not None:
                self.posterior = self.model.after(self.posterior, self.returns[-1])

    def place(self, days: int, window: int) -> None:
        """Take the third in which the deviation of the last *days* returns is among the *window* before it: the upper is the bear, for certain."""
        if len(self.returns) < days:
            return
        self.volatilities.append(float(np.std(self.returns[-days:], ddof=1)))
        past = self.volatilities[-window - 1 : -1]
        if len(past) == window:
            self.posterior = np.zeros(3)
            self.posterior[2 - int((self.volatilities[-1] > np.quantile(past, (1 / 3, 2 / 3))).sum())] = 1.0

    def settle(self, hysteresis: float, dwell: int) -> bool:
        """Whether the held regime changes: to the most probable, if that is at least *hysteresis* sure and this one has lasted *dwell* bars."""
        if self.posterior is None:
            return False
        likely = int(self.posterior.argmax())
        if likely == self.held or not self.posterior[likely] >= hysteresis or (self.held >= 0 and self.since < dwell):
            return False
        self.held, self.since = likely, 0
        return True


@dataclass
class Regime:
    """Hold each instrument by its regime: an equal share of equity, times a weight from *bear_weight* in the lowest state to *bull_weight* in the
    highest, evenly in between. With -1 and 1, three states are short, flat and long.

    Each instrument has a hidden Markov model of its log returns, fitted at a close on the last *window* of them, and again every *refit* bars. That
    window is then filtered with the new parameters, and each later bar forward. Mode "switch" takes the weight of the regime that is held, which
    changes when another has a posterior of *hysteresis* and this one has lasted *dwell* bars; "posterior" takes the average weight under the filtered
    posterior, and then leaves the holding alone for *dwell* bars.

    With *kind* "quantile" there is no model: of three regimes, the volatility of the last *volatility_window* returns is in the upper, middle or
    lower third of the *window* values before it. With *compare* the kind that is not held is followed too, and the report has a chart of what a unit
    of money would have become under both, and held all along, before costs.

    With a *volatility_target* (annual; 0 is off) weights are scaled by target / deviation of the last *volatility_window* returns. A holding is
    changed when its regime does (in mode "switch"), or when its weight is *band* or more from what was last asked for. *weight_max* bounds weights.
    Before its first fit an instrument is not held; returns that cannot be fitted (of a price that never moved) leave the model that there is.
    """

    kind: Literal["hmm", "quantile"] = "hmm"
    compare: bool = False
    states: int = 3
    window: int = 756
    refit: int = 21
    restarts: int = 5
    seed: int = 0
    mode: Literal["switch", "posterior"] = "switch"
    bull_weight: float = 1.0
    bear_weight: float = 0.0
    hysteresis: float = 0.6
    dwell: int = 5
    volatility_target: float = 0.0
    volatility_window: int = 21
    periods: int = 252
    band: float = 0.1
    weight_max: float = 1.0

    fits: list[Fit] = field(default_factory=list, init=False, repr=False)
    tracks: list[Track] = field(default_factory=list, init=False, repr=False)
    asked: FloatArray = field(default_factory=lambda: np.zeros(0), init=False, repr=False)
    quiet: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), init=False, repr=False)
    rivals: list[Track] = field(default_factory=list, init=False, repr=False)
    grown: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    shares: dict[str, FloatArray] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 2 <= self.states <= 5:
            raise ValueError(f"states must be from 2 to 5, was {self.states!r}")
        if self.states != 3 and (self.compare or self.kind == "quantile"):
            raise ValueError(f"states must be 3, since quantiles are thirds, was {self.states!r}")
        for name, least in (("refit", 1), ("restarts", 1), ("dwell", 0), ("volatility_window", 2), ("periods", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, was {getattr(self, name)!r}")
        least = max(10 * self.states, self.volatility_window)
        if self.window < least:
            raise ValueError(
                f"window must be at least {least} for {self.states} states and a volatility_window of {self.volatility_window}, was {self.window!r}"
            )
        if not 0.0 <= self.hysteresis <= 1.0:
            raise ValueError(f"hysteresis must be in [0, 1], was {self.hysteresis!r}")
        for name in ("volatility_target", "band"):
            if not 0.0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be at least 0, was {getattr(self, name)!r}")
        if not 0.0 < self.weight_max < inf:
            raise ValueError(f"weight_max must be above 0, was {self.weight_max!r}")
        for name in ("bull_weight", "bear_weight"):
            if not isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number, was {getattr(self, name)!r}")

    def on_bars(self, view: View) -> Proposal:
        width = len(view.symbols)
        if not len(self.asked):
            self.tracks = self.tracks or [Track(fit_at=self.window) for _ in range(width)]
            self.asked, self.quiet = np.zeros(width), np.zeros(width, np.int64)
        # Forward-chained, so that a split is no crash.
        closes = view["close"] * view.factor
        fresh, fitted = view.ages == 0, len(self.fits)
        wanted, switched = np.full(width, nan), np.zeros(width, bool)
        for i in np.flatnonzero(fresh).tolist():
            track = self.tracks[i]
            track.remember(float(closes[i]))
            if self.kind == "quantile":
                track.place(self.volatility_window, self.window)
            elif len(track.returns) >= track.fit_at:
                self.fits.append(self._fit(view.row, i, track))
            switched[i] = track.settle(self.hysteresis, self.dwell)
            wanted[i] = self.weight(track)
        self._plot(view)
        if self.compare:
            self._compare(view, closes, fresh, wanted)
        remarks = [view.remark(self.told(fit), fit.instrument) for fit in self.fits[fitted:]]
        orders = self._orders(view, fresh, wanted / width, switched)
        return [*remarks, orders] if remarks and orders else remarks or orders or ()

    def weight(self, track: Track) -> float:
        """The weight that a regime deserves, of the whole of one instrument's share."""
        if track.posterior is None or (self.mode == "switch" and track.held < 0):
            return 0.0
        weights = np.linspace(self.bear_weight, self.bull_weight, self.states)
        weight = float(weights[track.held] if self.mode == "switch" else track.posterior @ weights)
        if self.volatility_target > 0.0:
            volatility = float(np.std(track.returns[-self.volatility_window :], ddof=1)) * sqrt(self.periods)
            # What does not move at all has no volatility to scale by, and keeps its weight.
            weight *= self.volatility_target / volatility if volatility > 0.0 else 1.0
        return min(max(weight, -self.weight_max), self.weight_max)

    def _fit(self, row: int, instrument: int, track: Track) -> Fit:
        """Fit on the past up to this close, and filter it anew: the new states have the same order, so that a regime keeps its number."""
        track.fit_at += self.refit
        past = np.array(track.returns[-self.window :])
        try:
            track.model = fit_regimes(past, self.states, restarts=self.restarts, seed=self.seed)
        except DataError as error:
            return Fit(row, instrument, None, str(error))
        track.posterior = track.model.filter(past)[0][-1]
        return Fit(row, instrument, track.model)

    def _compare(self, view: View, closes: FloatArray, fresh: np.ndarray, wanted: FloatArray) -> None:
        """Follow the kind that is not held, and put on record what a unit would have become under each, by weights of the close before."""
        width, kinds = len(fresh), {"hmm": "hidden Markov", "quantile": "quantiles"}
        ours, theirs = kinds.pop(self.kind), kinds.popitem()[1]
        self.rivals = self.rivals or [Track(fit_at=self.window) for _ in range(width)]
        self.shares = self.shares or {name: np.zeros(width) for name in (ours, theirs, "always held")}
        for i in np.flatnonzero(fresh).tolist():
            rival = self.rivals[i]
            rival.remember(float(closes[i]))
            if self.kind == "hmm":
                rival.place(self.volatility_window, self.window)
            elif len(rival.returns) >= rival.fit_at:
                self._fit(view.row, i, rival)
            rival.settle(self.hysteresis, self.dwell)
            move = exp(rival.returns[-1]) - 1.0 if rival.returns else 0.0
            for name, shares in self.shares.items():
                self.grown[name] = self.grown.get(name, 1.0) * (1.0 + shares[i] / width * move)
            # All begin when both know: before that neither holds anything.
            known = rival.posterior is not None and self.tracks[i].posterior is not None
            self.shares[ours][i], self.shares[theirs][i] = (wanted[i], self.weight(rival)) if known else (0.0, 0.0)
            self.shares["always held"][i] = float(known)
        for name, value in self.grown.items():
            view.plot("A unit under each kind of regime, rebalanced at each close, before costs", name, value)

    def _plot(self, view: View) -> None:
        """Put the filtered probabilities on record, each instrument's from its first fit on."""
        for symbol, track in zip(view.symbols, self.tracks, strict=True):
            if track.posterior is not None:
                chart = "regime" if len(self.tracks) == 1 else f"regime {symbol}"
                for state, probability in enumerate(track.posterior.tolist()):
                    view.plot(chart, self.name(state), probability)

    def told(self, fit: Fit) -> str:
        """A change of the model in words; numbers are rounded, since the last digits of a fit differ from machine to machine."""
        if fit.model is None:
            return f"the model stays: {fit.why_not}"
        means, deviations = fit.model.means.ravel().tolist(), np.sqrt(fit.model.covars).ravel().tolist()
        states = ", ".join(f"{self.name(k)} {x:+.4%} and {y:.4%}" for k, (x, y) in enumerate(zip(means, deviations, strict=True)))
        return f"the model is fitted anew to {fit.model.rows} returns; mean and deviation of each: {states}"

    def name(self, state: int) -> str:
        """A state's name, counted from 1: the lowest is the bear, the highest the bull."""
        return f"state {state + 1}" + {0: " (bear)", self.states - 1: " (bull)"}.get(state, "")

    def _orders(self, view: View, fresh: np.ndarray, wanted: FloatArray, switched: np.ndarray) -> OrderBatch | None:
        self.quiet += fresh
        moved = np.abs(wanted - self.asked) >= max(self.band / len(wanted), 1e-9)
        due = fresh & ((moved & (self.quiet >= self.dwell)) if self.mode == "posterior" else (moved | switched)) & (wanted != self.asked)
        # An order that was rejected on its way (the open was dearer than our cash) leaves us without what we asked for: ask again.
        if not due.all() and not view.open_orders:
            due |= fresh & (wanted != 0.0) & (self.asked != 0.0) & (view.position == 0.0)
        if not due.any():
            return None
        self.asked = np.where(due, wanted, self.asked)
        self.quiet[due] = 0
        return view.rebalance(np.where(due, wanted, nan))
