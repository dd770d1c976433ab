"""One model for all instruments: each is a sample of the same law, and what the others do is among its features.

Idea: features of every instrument (momentum over several horizons, volatility, reversal), of all of them together (the market's momentum, volatility,
dispersion), and of each against all, go into one learner, fitted walk-forward. Its forecasts are ranked, and ranks are weights. Sources: Gu, Kelly
and Xiu (2020), "Empirical asset pricing via machine learning"; the founding text's multi-factor "One Model", whose code shuffled past and future and
forecast its own training rows.

Risks: what is learnt was true then. Monthly returns are nearly all noise, so that an R² of 1 % would be much, and many features find what is not
there. Costs eat a turnover that no forecast pays for. What was forecast, and what came of it, is on record at each refit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, inf, nan
from typing import Literal

import numpy as np

from simulator import (
    Constructor,
    DataError,
    FeaturePanel,
    FloatArray,
    ForecastFit,
    ForecastPlan,
    Indicator,
    Proposal,
    Remark,
    View,
    fit_as_of,
    forecast_targets,
    judge_forecasts,
    ledoit_wolf,
    mandate,
    returns,
    rsi,
    std,
    zscore,
)


@dataclass
class OneModel:
    """Every *every* bars, rank all instruments by one model's forecast of their next *horizon* bars, and hold them by rank: the upper half long and,
    if *side* is "long_short", the lower half short, *gross* of equity in all.

    The *model* is a learner of `simulator.models.forecasts`, fitted after *minimum* bars of features and each *refit* bars from there, on the last
    *window* bars (0: all), each *stride*-th, without the labels that are not known yet and *embargo* more. *target* is what it learns, with risk or
    market as in the last *target_window* bars. At one time at most *turnover* of equity is traded, both sides together: of a larger change that part.

    With *book* "construction" the forecasts are alphas instead, and the book is the best one for an *aversion* to the risk of the last *risk_window*
    bars (Ledoit and Wolf's covariance) with gross, turnover and at most *name_max* of equity in each inside the optimisation, and, if it is
    "long_short", a net of at most a twentieth of *gross*. Limits that cannot all hold are a remark, and nothing is traded.

    Features are returns over each of *horizons* and their deviations over each of *spreads*, RSI and z-score; the mean of all instruments of each
    return and deviation, and how far apart the longest returns are; and each return less that mean.
    """

    model: str = "ridge"
    target: Literal["raw", "risk_adjusted", "market_residual"] = "market_residual"
    target_window: int = 63
    horizon: int = 21
    every: int = 21
    minimum: int = 504
    refit: int = 252
    window: int = 0
    stride: int = 5
    embargo: int = 0
    winsorise: float = 0.01
    side: Literal["long_short", "long_only"] = "long_short"
    gross: float = 0.95
    turnover: float = 0.5
    horizons: tuple[int, ...] = (1, 5, 21, 63, 252)
    spreads: tuple[int, ...] = (21, 63)
    book: Literal["ranks", "construction"] = "ranks"
    aversion: float = 5.0
    risk_window: int = 252
    name_max: float = 0.2
    seed: int = 0

    constructor: Constructor | None = field(default=None, init=False, repr=False)
    fit: ForecastFit | None = field(default=None, init=False, repr=False)
    features: list[FloatArray] = field(default_factory=list, init=False, repr=False)
    forecasts: list[FloatArray] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("horizon", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, was {getattr(self, name)!r}")
        for name in ("gross", "turnover"):
            if not 0.0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0, was {getattr(self, name)!r}")
        for name, least in (("horizons", 1), ("spreads", 2)):
            if not getattr(self, name) or min(getattr(self, name)) < least:
                raise ValueError(f"{name} must be whole numbers of at least {least}, were {getattr(self, name)!r}")
        for name in ("aversion", "name_max"):
            if not 0.0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0, was {getattr(self, name)!r}")
        if self.risk_window < 2:
            raise ValueError(f"risk_window must be at least 2, was {self.risk_window!r}")
        if self.minimum <= self.horizon + self.embargo:
            raise ValueError(f"minimum must be above horizon and embargo together, {self.horizon + self.embargo}, was {self.minimum!r}")
        self.own = tuple(self.indicators())
        self.plan = ForecastPlan(
            self.model,
            minimum=self.minimum,
            refit=self.refit,
            window=self.window,
            stride=self.stride,
            embargo=self.embargo,
            winsorise=self.winsorise,
            seed=self.seed,
        )

    def indicators(self) -> dict[str, Indicator]:
        moves = {f"return {bars}": returns(bars) for bars in self.horizons}
        deviations = {f"deviation {bars}": std(bars, returns(1)) for bars in self.spreads}
        return {**moves, **deviations, "rsi": rsi(14), "zscore": zscore(20)}

    @property
    def names(self) -> tuple[str, ...]:
        """The features, in their order."""
        own = tuple(self.indicators())
        moves, means = own[: len(self.horizons)], own[:-2]
        return (*own, *(f"mean {name}" for name in means), "dispersion", *(f"{name} less mean" for name in moves))

    def on_bars(self, view: View) -> Proposal:
        self.features.append(self.seen(view))
        row = len(self.features) - 1
        remarks: list[Remark] = []
        if self.plan.due(row):
            remarks.append(view.remark(self.learn(view)))
        forecast = np.full(len(view.symbols), nan) if self.fit is None else self.fit.models[0].predict(self.features[-1])
        self.forecasts.append(forecast)
        if self.fit is None or (row - self.minimum) % self.every:
            return remarks
        weights = self.weights(view, forecast) if self.book == "ranks" else self.constructed(view, forecast, remarks)
        return [*remarks, view.rebalance(weights)]

    def seen(self, view: View) -> FloatArray:
        """The features of this close: (instruments, features), NaN for what has no bar now."""
        own = np.column_stack([view[name] for name in self.own])
        own[view.ages != 0] = nan
        known, moves = np.isfinite(own).all(axis=1), len(self.horizons)
        if not known.any():
            return np.full((len(own), len(self.names)), nan)
        means = own[known, :-2].mean(axis=0)
        of_all = [*means, own[known, moves - 1].std()]
        return np.hstack([own, np.tile(of_all, (len(own), 1)), own[:, :moves] - means[:moves]])

    def learn(self, view: View) -> str:
        """Fit anew on what is known, and say so, with how good the forecasts have been that have come to their end."""
        count = len(self.features)
        target = forecast_targets(view.history("close", view.row + 1, adjusted=True), self.horizon, self.target, self.target_window)[-count:]
        panel = FeaturePanel(np.array(self.features), target, self.horizon, self.names)
        try:
            self.fit = fit_as_of(panel, count - 1, self.plan)
        except DataError as error:
            return f"the model stays: {error}"
        said = f"the model is fitted anew to {self.fit.models[0].samples} samples"
        # Those that were traded on, which overlap no more than their horizons do.
        traded = slice(self.minimum, count - 1, self.every)
        forecasts, outcomes = np.array(self.forecasts[traded]), target[traded]
        if not len(forecasts) or not (np.isfinite(forecasts) & np.isfinite(outcomes)).any():
            return said
        judged = judge_forecasts(forecasts, outcomes, ceil(self.horizon / self.every))
        return f"{said}; out of sample so far: rank correlation {judged.ic.value:+.3f} (error {judged.ic.error:.3f}), R² {judged.r2:+.2%}"

    def weights(self, view: View, forecast: FloatArray) -> FloatArray:
        """The weights that the ranks deserve, as far as *turnover* lets: NaN where there is no forecast."""
        known = np.isfinite(forecast) & (view.ages == 0)
        wanted = np.full(len(forecast), nan)
        if known.sum() < 2:
            return wanted
        # Equal forecasts have equal ranks, around 0.
        ordered = np.sort(forecast[known])
        ranks = 0.5 * (np.searchsorted(ordered, forecast[known]) + np.searchsorted(ordered, forecast[known], side="right") - len(ordered))
        if self.side == "long_only":
            ranks = np.maximum(ranks, 0.0)
        total = np.abs(ranks).sum()
        wanted[known] = self.gross * ranks / total if total > 0.0 else 0.0
        held = np.where(known, view.position * view["close"] / max(view.equity, 1e-9), 0.0)
        change = np.abs(np.where(known, wanted, 0.0) - held).sum()
        return held + (wanted - held) * min(1.0, self.turnover / change) if change > 0.0 else wanted

    def constructed(self, view: View, forecast: FloatArray, remarks: list[Remark]) -> FloatArray:
        """The best book for the forecasts as alphas: NaN where there is none, or no history to tell its risk from."""
        wanted = np.full(len(forecast), nan)
        closes = view.history("close", min(self.risk_window, view.row) + 1, adjusted=True)
        known = np.isfinite(forecast) & np.isfinite(closes).all(axis=0)
        if known.sum() < 2 or len(closes) < 3:
            return wanted
        covariance = ledoit_wolf(closes[1:, known] / closes[:-1, known] - 1.0) * self.horizon
        held = (view.position * closes[-1])[known] / max(view.equity, 1e-9)
        long_short = self.side == "long_short"
        limits = mandate(
            int(known.sum()),
            net=(-self.gross / 20.0, self.gross / 20.0) if long_short else (-inf, inf),
            gross_max=self.gross,
            name_max=self.name_max,
            long_only=not long_short,
            held=held,
            turnover_max=self.turnover,
            covariance=covariance,
        )
        self.constructor = self.constructor or Constructor(self.aversion)
        allowed = self.constructor.weights(forecast[known], limits)
        if allowed.conflict:
            remarks.append(view.remark(f"no book: {allowed.conflict.words}"))
        wanted[known] = allowed.weights
        return wanted
