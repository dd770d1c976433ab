"""Forecasts of returns: one model for all instruments, fitted walk-forward on a panel of features, and asked only about what came after its fit.

A row of a panel is one close. Its features are known then; its target is known *horizon* rows later, so that a fit at a row leaves out the rows
before it whose targets are not known yet (the purge), and *embargo* more. Bounds, centre and scale of the features come from the rows of that fit
alone.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from math import inf, nan, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, ScenarioError, nearest
from simulator.loop.clocks import FITTING
from simulator.loop.randomness import stream

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray

Target = Literal["raw", "risk_adjusted", "market_residual"]
ByRegime = Literal["none", "each", "mixed"]


class Kind(NamedTuple):
    """A learner: where it is, what it is given unless told otherwise, whether it says up or down, and whether it is a line."""

    home: str
    settings: dict[str, Any]
    classifies: bool = False
    linear: bool = False
    seeded: bool = True


KINDS: Final[dict[str, Kind]] = {
    "linear": Kind("sklearn.linear_model.LinearRegression", {}, linear=True, seeded=False),
    "ridge": Kind("sklearn.linear_model.Ridge", {"alpha": 1.0}, linear=True, seeded=False),
    "lasso": Kind("sklearn.linear_model.Lasso", {"alpha": 1e-4}, linear=True),
    "logistic": Kind("sklearn.linear_model.LogisticRegression", {"max_iter": 1_000}, classifies=True, linear=True),
    "random_forest": Kind("sklearn.ensemble.RandomForestRegressor", {"n_estimators": 100, "max_depth": 5, "min_samples_leaf": 50}),
    "random_forest_classifier": Kind(
        "sklearn.ensemble.RandomForestClassifier", {"n_estimators": 100, "max_depth": 5, "min_samples_leaf": 50}, classifies=True
    ),
    "gradient_boosting": Kind("sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 100, "max_depth": 3, "subsample": 0.5}),
    "gradient_boosting_classifier": Kind(
        "sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 100, "max_depth": 3, "subsample": 0.5}, classifies=True
    ),
    "svr": Kind("sklearn.svm.SVR", {"C": 1.0, "epsilon": 0.01}, seeded=False),
    "mlp": Kind("sklearn.neural_network.MLPRegressor", {"hidden_layer_sizes": (32, 16), "alpha": 1e-2, "early_stopping": True}),
    "mlp_classifier": Kind(
        "sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": (32, 16), "alpha": 1e-2, "early_stopping": True}, classifies=True
    ),
    "lightgbm": Kind("lightgbm.LGBMRegressor", {"n_estimators": 100, "max_depth": 4, "verbose": -1, "n_jobs": 1, "deterministic": True}),
    "xgboost": Kind("xgboost.XGBRegressor", {"n_estimators": 100, "max_depth": 3, "n_jobs": 1}),
}
"""The learners by their names. A classifier learns whether the target is above 0; its forecast is 2 P(above) - 1."""


@dataclass(frozen=True, eq=False)
class FeaturePanel:
    """What was known at each close, and what came of it.

    *features* is (rows, instruments, features), *target* (rows, instruments), NaN where something is not known. The target of a row is known
    *horizon* rows later. Raises DataError where shapes differ.
    """

    features: FloatArray
    target: FloatArray
    horizon: int
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.features.ndim != 3 or self.target.shape != self.features.shape[:2]:
            raise DataError(
                f"forecasts: features must be (rows, instruments, features) and target (rows, instruments), "
                f"were {self.features.shape} and {self.target.shape}"
            )
        if self.horizon < 1:
            raise DataError(f"forecasts: horizon must be at least 1, was {self.horizon}")
        if self.names and len(self.names) != self.features.shape[2]:
            raise DataError(f"forecasts: {len(self.names)} names for {self.features.shape[2]} features")

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class ForecastPlan:
    """What is fitted, when, and on what.

    *model* is one of KINDS, *settings* go over its defaults. A fit is made at row *minimum*, and each *refit* rows from there, on the last *window*
    rows (0: all), every *stride*-th of them, without those whose target is not known and *embargo* more. Features and target are bounded at their
    quantiles *winsorise* and 1 - *winsorise* (0: not at all), features then centred and scaled, all within the rows of the fit. *by_regime* fits one
    model for each regime as it was known a row before: "each" takes that of the most probable regime, "mixed" the mean under the probabilities. A
    regime with fewer than *least* samples is given the model of all.
    """

    model: str = "ridge"
    settings: Mapping[str, Any] = field(default_factory=dict)
    minimum: int = 504
    refit: int = 252
    window: int = 0
    stride: int = 1
    embargo: int = 0
    winsorise: float = 0.01
    by_regime: ByRegime = "none"
    least: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model not in KINDS:
            raise ScenarioError(f"model must be one of {', '.join(KINDS)}, was {self.model!r}{nearest(self.model, KINDS)}")
        for name, least in (("minimum", 2), ("refit", 1), ("window", 0), ("stride", 1), ("embargo", 0), ("least", 2)):
            if getattr(self, name) < least:
                raise ScenarioError(f"{name} must be at least {least}, was {getattr(self, name)!r}")
        if not 0.0 <= self.winsorise < 0.5:
            raise ScenarioError(f"winsorise must be in [0, 0.5), was {self.winsorise!r}")
        if self.by_regime not in ("none", "each", "mixed"):
            raise ScenarioError(f"by_regime must be 'none', 'each' or 'mixed', was {self.by_regime!r}")

    def due(self, row: int) -> bool:
        """Whether a fit is made after the close of *row*."""
        return row >= self.minimum and (row - self.minimum) % self.refit == 0


@dataclass(frozen=True, eq=False)
class Forecaster:
    """A fitted model: bounds, centre and scale of the features, (features,), and what was fitted to them: a line, or a learner of scikit-learn.

    *samples* is how many it was fitted to. A line is its *slopes*, (features,), and *level*.
    """

    kind: str
    low: FloatArray
    high: FloatArray
    centre: FloatArray
    scale: FloatArray
    samples: int
    slopes: FloatArray | None = None
    level: float = 0.0
    learner: Any = None
    names: tuple[str, ...] = ()

    def prepared(self, features: npt.ArrayLike) -> FloatArray:
        """Features as the learner sees them: bounded, centred, scaled: (samples, features)."""
        x = np.atleast_2d(np.asarray(features, dtype=np.float64))
        if x.shape[1] != len(self.centre):
            raise DataError(f"forecasts: a {self.kind} of {len(self.centre)} features was given {x.shape[1]}")
        return (np.clip(x, self.low, self.high) - self.centre) / self.scale

    def predict(self, features: npt.ArrayLike) -> FloatArray:
        """The forecast of each sample: (samples,) from (samples, features); NaN where a feature is not known."""
        x = self.prepared(features)
        known = np.isfinite(x).all(axis=1)
        forecast = np.full(len(x), nan)
        if known.any():
            forecast[known] = self._of(x[known])
        return forecast

    def _of(self, x: FloatArray) -> FloatArray:
        if self.slopes is not None:
            score: FloatArray = self.level + (x * self.slopes).sum(axis=1)
            return np.tanh(0.5 * score) if KINDS[self.kind].classifies else score
        if KINDS[self.kind].classifies:
            chances: FloatArray = 2.0 * self.learner.predict_proba(x)[:, 1] - 1.0
            return chances
        return np.asarray(self.learner.predict(x), dtype=np.float64)


class ForecastFit(NamedTuple):
    """What was fitted after the close of *row*: the model of all samples first, then one for each regime, if there are any."""

    row: int
    models: tuple[Forecaster, ...]


class Forecasts(NamedTuple):
    """*values* is (rows, instruments): what was forecast at each close, NaN before the first fit and where features were missing."""

    values: FloatArray
    fits: tuple[ForecastFit, ...]


def forecast_targets(closes: npt.ArrayLike, horizon: int, kind: Target = "raw", window: int = 63, market: npt.ArrayLike | None = None) -> FloatArray:
    """What is to be forecast at each close: (rows, instruments), NaN in the last *horizon* rows, since nothing is known of it there.

    "raw" is the return of the next *horizon* rows; "risk_adjusted" divides it by the deviation (ddof 1) of the last *window* returns, times the root
    of *horizon*; "market_residual" takes off the market's times the slope of the last *window* returns on the market's. *market* is (rows,) of
    prices; without one it is what an equal share of each instrument earned.
    """
    prices = np.asarray(closes, dtype=np.float64)
    if prices.ndim != 2:
        raise DataError(f"forecasts: closes must be (rows, instruments), were {prices.shape}")
    if horizon < 1 or window < 2:
        raise ScenarioError(f"forecasts: horizon must be at least 1 and window at least 2, were {horizon} and {window}")
    if kind not in ("raw", "risk_adjusted", "market_residual"):
        raise ScenarioError(f"target must be 'raw', 'risk_adjusted' or 'market_residual', was {kind!r}")
    ahead = forward(prices, horizon)
    if kind == "raw":
        return ahead
    past = np.vstack([np.full((1, prices.shape[1]), nan), prices[1:] / prices[:-1] - 1.0])
    if kind == "risk_adjusted":
        return _over(ahead, _rolling(past, window, lambda x: x.std(axis=-1, ddof=1)) * sqrt(horizon))
    if market is None:
        means = means_by_row(past)
        level = np.asarray(np.cumprod(1.0 + np.nan_to_num(means)), dtype=np.float64)
    else:
        level = np.asarray(market, dtype=np.float64)
        means = np.append(nan, level[1:] / level[:-1] - 1.0)
    x = _rolling(means[:, None], window, lambda x: x - x.mean(axis=-1, keepdims=True), keep=True)
    y = _rolling(past, window, lambda x: x - x.mean(axis=-1, keepdims=True), keep=True)
    slope = _over((x * y).sum(axis=-1), np.broadcast_to((x * x).sum(axis=-1), prices.shape))
    return ahead - slope * forward(level[:, None], horizon)


def forward(prices: FloatArray, horizon: int) -> FloatArray:
    """The return of the *horizon* rows after each: (rows, columns), NaN at the end."""
    ahead = np.full(prices.shape, nan)
    if len(prices) > horizon:
        ahead[:-horizon] = prices[horizon:] / prices[:-horizon] - 1.0
    return ahead


def means_by_row(values: FloatArray) -> FloatArray:
    """The mean of what is known in each row, NaN where nothing is: (rows,)."""
    known = np.isfinite(values)
    return _over(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))


def _over(above: FloatArray, below: npt.NDArray[Any]) -> FloatArray:
    """A quotient, NaN where it is divided by nothing."""
    found: FloatArray = np.divide(above, below, out=np.full(above.shape, nan), where=below > 0)
    return found


def _rolling(values: FloatArray, window: int, of: Callable[[FloatArray], FloatArray], keep: bool = False) -> FloatArray:
    """Something of the last *window* rows of each column, NaN before there are so many; with *keep* an axis of the window's length is last."""
    found = np.full((*values.shape, window) if keep else values.shape, nan)
    if len(values) >= window:
        found[window - 1 :] = of(np.lib.stride_tricks.sliding_window_view(values, window, axis=0))
    return found


@FITTING
def fit_forecaster(features: npt.ArrayLike, target: npt.ArrayLike, plan: ForecastPlan | None = None, names: tuple[str, ...] = ()) -> Forecaster:
    """Fit one model to *features*, (samples, features), and *target*, (samples,): all of it is training, so pass what is known.

    Samples with something unknown are left out. Raises DataError where too few are left or the target never changes, ScenarioError where the learner
    is not installed or refuses its settings.
    """
    plan = plan or ForecastPlan()
    x, y = np.asarray(features, dtype=np.float64), np.asarray(target, dtype=np.float64)
    known = np.isfinite(x).all(axis=1) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(y) < max(2 * x.shape[1], 10):
        raise DataError(f"forecasts: {x.shape[1]} features need at least {max(2 * x.shape[1], 10)} samples, were {len(y)}")
    low, high = np.full(x.shape[1], -inf), np.full(x.shape[1], inf)
    if plan.winsorise > 0.0:
        levels = (plan.winsorise, 1.0 - plan.winsorise)
        low, high = np.quantile(x, levels, axis=0)
        y = np.clip(y, *np.quantile(y, levels))
    x = np.clip(x, low, high)
    centre, scale = x.mean(axis=0), x.std(axis=0)
    # A feature that never changes tells nothing, and must not divide by zero.
    scale = np.where(scale > 1e-12 * np.abs(x).max(axis=0), scale, inf)
    x = (x - centre) / scale
    kind, learner = KINDS[plan.model], learner_of(plan)
    known_of = (y > 0.0).astype(np.int64) if kind.classifies else y
    if (known_of == known_of[0]).all():
        raise DataError(f"forecasts: the target is {known_of[0]} in all {len(y)} samples, which teaches nothing")
    try:
        with warnings.catch_warnings():
            # Whoever stops before it has converged has still learnt something, and is judged by its forecasts.
            warnings.simplefilter("ignore")
            learner.fit(x, known_of)
    except (ValueError, TypeError) as error:
        raise ScenarioError(f"forecasts: {plan.model} cannot be fitted with these settings: {error}") from error
    made = Forecaster(plan.model, low, high, centre, scale, len(y), names=names)
    if not kind.linear:
        return replace(made, learner=learner)
    return replace(made, slopes=np.ravel(learner.coef_).astype(np.float64), level=float(np.ravel(learner.intercept_)[0]))


def learner_of(plan: ForecastPlan) -> Any:
    """The learner that a plan names, not fitted yet. Its randomness is a function of the plan's seed."""
    kind = KINDS[plan.model]
    module, _, name = kind.home.rpartition(".")
    package = module.partition(".")[0]
    if find_spec(package) is None:
        raise ScenarioError(f"forecasts: model {plan.model!r} needs {package}, which is not installed: pip install {package}")
    settings = {**kind.settings, **plan.settings}
    if kind.seeded:
        settings = {"random_state": int(stream(plan.seed, "forecasts", plan.model).integers(2**31)), **settings}
    try:
        return getattr(import_module(module), name)(**settings)
    except TypeError as error:
        raise ScenarioError(f"forecasts: {plan.model}: {error}") from None


def fit_as_of(panel: FeaturePanel, row: int, plan: ForecastPlan, probabilities: npt.ArrayLike | None = None) -> ForecastFit:
    """What the plan fits after the close of *row*: only on rows whose targets were known then.

    *probabilities*, (rows, states), are those of the regimes as known at each close. Raises what `fit_forecaster` raises.
    """
    end = row - panel.horizon - plan.embargo + 1
    first = max(0, row + 1 - plan.window) if plan.window else 0
    rows = np.arange(first, end)[::-1][:: plan.stride][::-1] if end > first else np.arange(0)
    x, y = panel.features[rows], panel.target[rows]
    models = [fit_forecaster(x.reshape(-1, x.shape[2]), y.ravel(), plan, panel.names)]
    if plan.by_regime != "none":
        known = before(probabilities, len(panel))
        regimes = np.repeat(known[rows].argmax(axis=1), y.shape[1])
        for state in range(known.shape[1]):
            own = regimes == state
            few = np.isfinite(y.ravel()[own]).sum() < plan.least
            try:
                models.append(models[0] if few else fit_forecaster(x.reshape(-1, x.shape[2])[own], y.ravel()[own], plan, panel.names))
            except DataError:
                models.append(models[0])
    return ForecastFit(row, tuple(models))


def before(probabilities: npt.ArrayLike | None, rows: int) -> FloatArray:
    """The probabilities that were known a row before each: (rows, states); even ones before the first."""
    if probabilities is None:
        raise ScenarioError("forecasts: by_regime needs the probabilities of the regimes: (rows, states)")
    known = np.asarray(probabilities, dtype=np.float64)
    if known.ndim != 2 or len(known) != rows:
        raise DataError(f"forecasts: probabilities must be ({rows}, states), were {known.shape}")
    even = np.full((1, known.shape[1]), 1.0 / known.shape[1])
    shifted = np.vstack([even, known[:-1]])
    return np.where(np.isfinite(shifted).all(axis=1, keepdims=True), shifted, even)


def predict_with(fit: ForecastFit, features: FloatArray, by_regime: ByRegime = "none", chances: FloatArray | None = None) -> FloatArray:
    """The forecasts of one row: (instruments,) from (instruments, features), under *chances*, (states,), as known a row before."""
    if by_regime == "none":
        return fit.models[0].predict(features)
    assert chances is not None
    if by_regime == "each":
        return fit.models[1 + int(chances.argmax())].predict(features)
    each = np.array([model.predict(features) for model in fit.models[1:]])
    mixed: FloatArray = (chances[:, None] * each).sum(axis=0)
    return mixed


def walk_forward(panel: FeaturePanel, plan: ForecastPlan | None = None, probabilities: npt.ArrayLike | None = None) -> Forecasts:
    """Fit and forecast a whole panel as it would have been done at the time: each row by the last model fitted at it or before.

    Raises DataError where no fit was possible.
    """
    plan = plan or ForecastPlan()
    known = None if plan.by_regime == "none" else before(probabilities, len(panel))
    values, fits = np.full(panel.target.shape, nan), []
    for row in range(len(panel)):
        if plan.due(row):
            fits.append(fit_as_of(panel, row, plan, probabilities))
        if fits:
            values[row] = predict_with(fits[-1], panel.features[row], plan.by_regime, None if known is None else known[row])
    if not fits:
        raise DataError(f"forecasts: {len(panel)} rows are too few for a first fit at row {plan.minimum}")
    return Forecasts(values, tuple(fits))


# --- Keeping

ARRAYS: Final = {"low": -inf, "high": inf, "centre": nan, "scale": inf, "slopes": nan}
"""The arrays of a line, and what a null in each stands for."""


def save_forecaster(model: Forecaster, path: Path) -> None:
    """Keep a model as JSON: those that are lines (linear, ridge, lasso, logistic).

    Raises ScenarioError for the others: they are no data but objects of a library, and reading such back runs code. Fit them again instead.
    """
    if model.slopes is None:
        lines = ", ".join(name for name, kind in KINDS.items() if kind.linear)
        raise ScenarioError(f"forecasts: a {model.kind} cannot be kept as data, only {lines} can: keep its plan and seed, and fit it again")
    # JSON has no infinity: what does not bound, or does not vary, is null.
    arrays = {name: [value if np.isfinite(value) else None for value in getattr(model, name).tolist()] for name in ARRAYS}
    said = {"kind": model.kind, "names": list(model.names), "samples": model.samples, "level": model.level, **arrays}
    path.write_text(json.dumps(said, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8", newline="\n")


def load_forecaster(path: Path) -> Forecaster:
    """A model that `save_forecaster` kept, with the same forecasts bit for bit. Raises DataError where the file is none."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        arrays = {name: np.array([ARRAYS[name] if x is None else x for x in said[name]], dtype=np.float64) for name in ARRAYS}
        if said["kind"] not in KINDS or len({len(array) for array in arrays.values()}) != 1:
            raise ValueError("its parts do not fit together")
        return Forecaster(said["kind"], samples=int(said["samples"]), level=float(said["level"]), names=tuple(said["names"]), **arrays)
    except OSError as error:
        raise DataError(f"{path}: cannot read this model: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no model that tradewind kept: {error}") from None
