"""Regimes: hidden Markov models, fitted on the past and filtered forward, and terciles of what was known.

hmmlearn fits the parameters. It is never asked for states: its `predict` and `predict_proba` use rows that come after the one they judge.
Filtering is our own recursion, which sees a row and those before it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, nan, pi, sqrt
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.errors import DataError, ScenarioError, nearest
from simulator.loop.clocks import FITTING
from simulator.loop.randomness import stream

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray, IntArray

Kind = Literal["gaussian", "gmm"]
Covariance = Literal["full", "diag", "tied", "spherical"]

COVARIANCES: Final = ("full", "diag", "tied", "spherical")
TOLERANCE: Final = 1e-2
"""EM stops when an iteration adds less than this to the log likelihood."""
FLOOR: Final = 0.01
"""The scatter that each state is given beforehand, in variances of the whole sample, so that none can shrink to one point."""
UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class RegimeModel:
    """A hidden Markov model in the features' own units. State 0 is the bear, the last is the bull: sorted by the mean of the first feature, and of
    equal means the more volatile first.

    *startprob* is (states,), *transmat* (states, states), *means* (states, features) and *covars* (states, features, features); for mixtures, *means*
    and *covars* have one more axis after the first, and *weights* is (states, mixtures). *centre* and *scale*, (features,), are what the features
    were standardised by. *converged* is False where EM was still gaining after *iterations* steps.
    """

    startprob: FloatArray
    transmat: FloatArray
    means: FloatArray
    covars: FloatArray
    weights: FloatArray | None
    centre: FloatArray
    scale: FloatArray
    log_likelihood: float
    bic: float
    rows: int
    iterations: int
    converged: bool

    @property
    def states(self) -> int:
        """How many states there are."""
        return len(self.startprob)

    def filter(self, features: npt.ArrayLike) -> tuple[FloatArray, float]:
        """`filter_states` with these parameters."""
        return filter_states(self.startprob, self.transmat, self.means, self.covars, features, self.weights)

    def after(self, probabilities: FloatArray, row: npt.ArrayLike) -> FloatArray:
        """The filtered probabilities one row on: (states,), from those before it and the new *row*, (features,)."""
        x = np.asarray(row, dtype=np.float64).reshape(1, -1)
        logs = _log_densities(self.means, self.covars, _rows(x), self.weights)
        return _updated(predict_next(probabilities, self.transmat), logs[0])[0]


@FITTING
def fit_regimes(
    features: npt.ArrayLike,
    states: int | tuple[int, int] = 3,
    kind: Kind = "gaussian",
    covariance: Covariance = "full",
    restarts: int = 5,
    seed: int = 0,
    sticky: float = 10.0,
    mixtures: int = 2,
    iterations: int = 500,
) -> RegimeModel:
    """Fit a hidden Markov model to *features*, (rows, features) or (rows,), oldest first: all of it is training, so pass what has closed.

    Of *restarts* seeded starts the most likely is kept; of a range of *states* such as (2, 4) the number with the smallest BIC. *sticky* is how many
    stays each state is taken to have made beforehand (a Dirichlet prior on the diagonal; 0 is none). Features are standardised first, since
    hmmlearn's prior of 0.01 on each variance would swamp that of daily returns. The model's `converged` says whether EM came to rest within
    *iterations*.

    Raises DataError for values that are not finite, a constant feature or too few rows, and ScenarioError for settings that cannot be meant.
    """
    counts = _counts(states)
    if kind not in ("gaussian", "gmm"):
        raise ScenarioError(f"regimes: kind must be 'gaussian' or 'gmm', was {kind!r}")
    if covariance not in COVARIANCES:
        raise ScenarioError(f"regimes: no such covariance {covariance!r}{nearest(covariance, COVARIANCES)}")
    for name, value in (("restarts", restarts), ("mixtures", mixtures), ("iterations", iterations)):
        if value < 1:
            raise ScenarioError(f"regimes: {name} must be at least 1, was {value!r}")
    if not 0.0 <= sticky < inf:
        raise ScenarioError(f"regimes: sticky must be at least 0, was {sticky!r}")
    x = _rows(features)
    mixed = mixtures if kind == "gmm" else 1
    n, width = x.shape
    needed = max(10 * counts[-1], _free(counts[-1], mixed, width, kind, covariance) + 1)
    if n < needed:
        raise DataError(f"regimes: {counts[-1]} states of {width} features need at least {needed} rows, were {n}")
    centre, scale = x.mean(axis=0), x.std(axis=0)
    for k in range(width):
        if not scale[k] > 1e-12 * np.abs(x[:, k]).max():
            raise DataError(f"regimes: feature {k} is {x[0, k]} in all {n} rows, which tells no regimes apart")

    fitted: list[RegimeModel] = []
    for count in counts:
        fits = [_fit(x, centre, scale, count, kind, mixed, covariance, seed, restart, sticky, iterations) for restart in range(restarts)]
        sound = [fit for fit in fits if fit is not None]
        if sound:
            fitted.append(max(sound, key=lambda fit: fit.log_likelihood))
    if not fitted:
        raise DataError(f"regimes: none of {restarts} starts led to a model of these {n} rows; take fewer states or features, or more rows")
    return min(fitted, key=lambda fit: fit.bic)


def filter_states(
    startprob: npt.ArrayLike,
    transmat: npt.ArrayLike,
    means: npt.ArrayLike,
    covars: npt.ArrayLike,
    x: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> tuple[FloatArray, float]:
    """What was known of the state at each row, from that row and those before it: (rows, states), and the log likelihood of all rows.

    *x* is (rows, features) or (rows,). Covariances are full, (states, features, features), or diagonal, (states, features); with *weights*, (states,
    mixtures), means and covariances have an axis of mixtures after the first. The forward pass is scaled at each row, so that nothing underflows.
    Source: Rabiner, A tutorial on hidden Markov models (1989), sections III.A and V.A.

    Raises DataError for shapes that do not fit, covariances that are none, and rows that are not finite.
    """
    predicted, transitions, logs = _taken(startprob, transmat, means, covars, x, weights)
    filtered, likelihood = np.empty_like(logs), 0.0
    for t, row in enumerate(logs):
        filtered[t], gain = _updated(predicted, row)
        likelihood += gain
        predicted = filtered[t] @ transitions
    return filtered, likelihood


def smooth_states(
    startprob: npt.ArrayLike,
    transmat: npt.ArrayLike,
    means: npt.ArrayLike,
    covars: npt.ArrayLike,
    x: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> FloatArray:
    """HINDSIGHT, for plots of the past and never for a decision: each row's state given all rows, later ones too: (rows, states).

    Takes what `filter_states` takes.
    """
    transitions = np.asarray(transmat, dtype=np.float64)
    smoothed, _ = filter_states(startprob, transmat, means, covars, x, weights)
    for t in range(len(smoothed) - 2, -1, -1):
        predicted = smoothed[t] @ transitions
        ratio = np.divide(smoothed[t + 1], predicted, out=np.zeros_like(predicted), where=predicted > 0.0)
        smoothed[t] *= transitions @ ratio
        smoothed[t] /= smoothed[t].sum()
    return smoothed


def decode_states(
    startprob: npt.ArrayLike,
    transmat: npt.ArrayLike,
    means: npt.ArrayLike,
    covars: npt.ArrayLike,
    x: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> IntArray:
    """HINDSIGHT, for plots of the past and never for a decision: the most likely sequence of states given all rows (Viterbi): (rows,).

    Takes what `filter_states` takes.
    """
    start, transitions, logs = _taken(startprob, transmat, means, covars, x, weights)
    with np.errstate(divide="ignore"):
        best, steps = np.log(start) + logs[0], np.log(transitions)
    came_from = np.zeros(logs.shape, np.int64)
    for t in range(1, len(logs)):
        paths = best[:, None] + steps
        came_from[t] = paths.argmax(axis=0)
        best = paths.max(axis=0) + logs[t]
    states = np.empty(len(logs), np.int64)
    states[-1] = best.argmax()
    for t in range(len(logs) - 1, 0, -1):
        states[t - 1] = came_from[t, states[t]]
    return states


def predict_next(probabilities: npt.ArrayLike, transmat: npt.ArrayLike) -> FloatArray:
    """The probabilities of the next row's state from the filtered ones of this row: (..., states)."""
    ahead: FloatArray = np.asarray(probabilities, dtype=np.float64) @ np.asarray(transmat, dtype=np.float64)
    return ahead


def tercile_regimes(values: npt.ArrayLike, window: int | None = None, minimum: int = 252) -> IntArray:
    """Whether each value is in the lower (0), middle (1) or upper (2) third of the values before it: (rows,).

    A value at an edge belongs to the third below. The past is all of it, or the last *window* rows. NaN values, and those with fewer than *minimum*
    numbers in their past, are UNKNOWN (-1). Quantiles interpolate linearly, as NumPy's do. For the VIX, pass its closes.
    """
    if minimum < 2:
        raise ScenarioError(f"tercile_regimes: minimum must be at least 2, was {minimum}")
    if window is not None and window < minimum:
        raise ScenarioError(f"tercile_regimes: window must be at least minimum ({minimum}), was {window}")
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise DataError(f"tercile_regimes: values must be (rows,), were {series.shape}")
    numbers: list[float] = series.tolist()
    regimes = np.full(len(numbers), UNKNOWN, np.int64)
    past: list[float] = []
    for t, value in enumerate(numbers):
        if window is not None and t > window and (gone := numbers[t - window - 1]) == gone:
            del past[bisect_left(past, gone)]
        if value != value:
            continue
        if len(past) >= minimum:
            regimes[t] = (value > _quantile(past, 1 / 3)) + (value > _quantile(past, 2 / 3))
        insort(past, value)
    return regimes


def trailing_volatility(returns: npt.ArrayLike, days: int = 21, periods: int = 252) -> FloatArray:
    """The annual standard deviation (ddof 1, mean taken off) of the last *days* returns, this row's included: (rows,), NaN where one is missing."""
    series = np.asarray(returns, dtype=np.float64)
    if days < 2:
        raise ScenarioError(f"trailing_volatility: days must be at least 2, was {days}")
    volatility = np.full(len(series), nan)
    if len(series) >= days:
        volatility[days - 1 :] = np.lib.stride_tricks.sliding_window_view(series, days).std(axis=1, ddof=1) * sqrt(periods)
    return volatility


def volatility_regimes(returns: npt.ArrayLike, days: int = 21, window: int | None = None, minimum: int = 252) -> IntArray:
    """Terciles of trailing volatility within its own past: calm (0), middle (1), wild (2), or UNKNOWN (-1): (rows,)."""
    return tercile_regimes(trailing_volatility(returns, days), window, minimum)


def nine_regimes(volatility: npt.ArrayLike, vix: npt.ArrayLike) -> IntArray:
    """The product of two tercile regimes, 3 x *volatility* + *vix*, from 0 (calm, and expected to stay so) to 8, or UNKNOWN (-1): (rows,)."""
    realised, expected = np.asarray(volatility, dtype=np.int64), np.asarray(vix, dtype=np.int64)
    if realised.shape != expected.shape:
        raise DataError(f"nine_regimes: both must have the same rows, were {realised.shape} and {expected.shape}")
    cells: IntArray = np.where((realised < 0) | (expected < 0), UNKNOWN, 3 * realised + expected)
    return cells


class RegimeStatistics(NamedTuple):
    """How one regime has been. Annual figures are arithmetic: mean x periods, deviation (ddof 1) x sqrt(periods), and their ratio without a risk-free
    rate. *share* is of the rows whose regime and return are known; *duration* is the mean length of its runs in rows, cut-off ones included.
    NaN where undefined: no mean without a row, no volatility with one, no Sharpe without volatility.
    """

    state: int
    rows: int
    share: float
    mean: float
    volatility: float
    sharpe: float
    duration: float


def regime_statistics(returns: npt.ArrayLike, states: npt.ArrayLike, periods: int = 252, count: int | None = None) -> tuple[RegimeStatistics, ...]:
    """Statistics for each state from 0 to the highest there is (or *count* of them). Rows with a NaN return or a negative state are left out.

    A row's state goes with its own return. To see what a state known at a close says of the next bar, pass `returns[1:]` and `states[:-1]`.
    """
    gains, labels = np.asarray(returns, dtype=np.float64), np.asarray(states, dtype=np.int64)
    if gains.shape != labels.shape or gains.ndim != 1:
        raise DataError(f"regime_statistics: returns and states must have the same rows, were {gains.shape} and {labels.shape}")
    known = (labels >= 0) & np.isfinite(gains)
    total = int(known.sum())
    starts = np.flatnonzero(np.diff(np.where(known, labels, UNKNOWN), prepend=UNKNOWN - 1))
    lengths, owners = np.diff(starts, append=len(labels)), np.where(known, labels, UNKNOWN)[starts]
    found = []
    for state in range(int(labels.max(initial=UNKNOWN)) + 1 if count is None else count):
        own = gains[known & (labels == state)]
        mean = float(own.mean()) * periods if len(own) else nan
        # A deviation as small as rounding is none: three equal returns have no Sharpe ratio of 1e16.
        spread = float(own.std(ddof=1)) * sqrt(periods) if len(own) > 1 else nan
        still = not spread > 1e-12 * abs(mean)
        runs = lengths[owners == state]
        found.append(
            RegimeStatistics(
                state,
                len(own),
                len(own) / total if total else nan,
                mean,
                spread,
                nan if still else mean / spread,
                float(runs.mean()) if len(runs) else nan,
            )
        )
    return tuple(found)


def _counts(states: int | Sequence[int]) -> range:
    low, high = (states, states) if isinstance(states, int) else states
    if not 2 <= low <= high <= 5:
        raise ScenarioError(f"regimes: states must be from 2 to 5, or a range within, was {states!r}")
    return range(low, high + 1)


def _rows(features: npt.ArrayLike) -> FloatArray:
    """Features as (rows, features), all finite."""
    x = np.asarray(features, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or 0 in x.shape:
        raise DataError(f"regimes: features must be (rows, features) with something in it, were {x.shape}")
    if not np.isfinite(x).all():
        row, feature = np.argwhere(~np.isfinite(x))[0]
        raise DataError(f"regimes: feature {feature} is {x[row, feature]} in row {row}; leave out rows that are not known")
    return x


def _free(count: int, mixed: int, width: int, kind: Kind, covariance: Covariance) -> int:
    """How many numbers a model may choose freely."""
    full = width * (width + 1) // 2
    # hmmlearn ties covariances over the states of a Gaussian model, and over the mixtures inside each state of a mixture.
    tied = full * (count if kind == "gmm" else 1)
    spreads = {"full": full * count * mixed, "diag": width * count * mixed, "spherical": count * mixed, "tied": tied}[covariance]
    return (count - 1) + count * (count - 1) + count * mixed * width + spreads + count * (mixed - 1)


def _fit(
    x: FloatArray,
    centre: FloatArray,
    scale: FloatArray,
    count: int,
    kind: Kind,
    mixed: int,
    covariance: Covariance,
    seed: int,
    restart: int,
    sticky: float,
    iterations: int,
) -> RegimeModel | None:
    """One run of EM from one start, back in the features' own units and sorted; None where it ended in a model that is none."""
    z = (x - centre) / scale
    learner = _learner(z, count, kind, mixed, covariance, seed, restart, sticky)
    learner.n_iter, learner.monitor_ = iterations, _Gains(iterations)
    try:
        # A start that dies divides 0 by 0 on its way; what comes of it is looked at below.
        with np.errstate(all="ignore"):
            learner.fit(z)
            likelihood = float(learner.score(z))
    except (ValueError, np.linalg.LinAlgError):
        return None
    transmat, startprob = np.array(learner.transmat_), np.array(learner.startprob_)
    means, covars = np.array(learner.means_), _full(learner, kind, covariance, count, mixed, x.shape[1])
    weights = np.array(learner.weights_) if kind == "gmm" else None
    parts = [transmat, startprob, means, covars] + ([] if weights is None else [weights])
    if not (np.isfinite(likelihood) and all(np.isfinite(part).all() for part in parts) and np.allclose(transmat.sum(axis=1), 1.0)):
        return None
    firsts, spreads = means[..., 0], covars[..., 0, 0]
    if weights is not None:
        second = (weights * (spreads + firsts**2)).sum(axis=1)
        firsts = (weights * firsts).sum(axis=1)
        spreads = second - firsts**2
    order = np.lexsort((-spreads, firsts))
    likelihood -= len(x) * float(np.log(scale).sum())
    return RegimeModel(
        startprob=startprob[order],
        transmat=transmat[np.ix_(order, order)],
        means=centre + scale * means[order],
        covars=covars[order] * np.outer(scale, scale),
        weights=None if weights is None else weights[order],
        centre=centre,
        scale=scale,
        log_likelihood=likelihood,
        bic=_free(count, mixed, x.shape[1], kind, covariance) * log(len(x)) - 2.0 * likelihood,
        rows=len(x),
        iterations=learner.monitor_.iter,
        converged=learner.monitor_.settled,
    )


class _Gains:
    """Stands where hmmlearn's monitor does and stops EM as it does, without its log: with a prior, the likelihood may fall a little at the end."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._reset()

    def _reset(self) -> None:
        self.iter, self.last, self.gain = 0, -inf, inf

    def report(self, likelihood: float) -> None:
        self.iter, self.last, self.gain = self.iter + 1, likelihood, likelihood - self.last

    @property
    def settled(self) -> bool:
        return self.gain < TOLERANCE

    @property
    def converged(self) -> bool:
        return self.settled or self.iter == self.most


def _learner(z: FloatArray, count: int, kind: Kind, mixed: int, covariance: Covariance, seed: int, restart: int, sticky: float) -> Any:
    """hmmlearn's model of standardised rows, ready to fit from a start of ours.

    Each state starts from the mean and covariance of a random stretch of rows, since regimes last. hmmlearn's own start draws from NumPy's global
    generator where a cluster is small, and spends most of the time of a fit on k-means.
    """
    from hmmlearn.hmm import GMMHMM, GaussianHMM

    n, width = z.shape
    rng = stream(seed, "regimes", f"{count} states, start {restart}")
    length = max(n // 10, width + 2)
    firsts = rng.choice(n - length + 1, size=count, replace=False)
    stretches = [z[first : first + length] for first in firsts.tolist()]
    means = np.array([stretch.mean(axis=0) for stretch in stretches])
    spreads = np.array([np.cov(stretch.T).reshape(width, width) + 0.05 * np.eye(width) for stretch in stretches])

    alike: dict[str, Any] = {
        "n_components": count,
        "covariance_type": covariance,
        "transmat_prior": np.ones((count, count)) + sticky * np.eye(count),
        "init_params": "",
    }
    if kind == "gaussian":
        floor = FLOOR * np.eye(width) if covariance in ("full", "tied") else FLOOR
        learner = GaussianHMM(**alike, covars_prior=floor)
        learner.means_ = means
        learner.covars_ = _shaped(spreads, covariance, tied_over_states=True)
    else:
        # Each prior is one that leaves the maximum likelihood estimate as it is but for the floor; the defaults of "spherical" do not.
        priors: dict[str, dict[str, Any]] = {
            "full": {"covars_prior": FLOOR * np.eye(width)},
            "tied": {"covars_prior": FLOOR * np.eye(width)},
            "diag": {"covars_prior": -1.5, "covars_weight": FLOOR / 2.0},
            "spherical": {"covars_prior": -(width + 2.0) / 2.0, "covars_weight": FLOOR / 2.0},
        }
        learner = GMMHMM(**alike, n_mix=mixed, **priors[covariance])
        learner.weights_ = np.full((count, mixed), 1.0 / mixed)
        learner.means_ = np.array([stretch[rng.choice(length, size=mixed, replace=length < mixed)] for stretch in stretches])
        shaped = _shaped(spreads, covariance, tied_over_states=False)
        learner.covars_ = shaped if covariance == "tied" else np.repeat(shaped[:, None], mixed, axis=1)
        # A mixture looks for clusters even where it is told to start from what it has.
        learner._init = lambda rows, lengths=None: None
    learner.startprob_ = np.full(count, 1.0 / count)
    learner.transmat_ = 0.9 * np.eye(count) + 0.1 / count
    return learner


def _shaped(spreads: FloatArray, covariance: Covariance, tied_over_states: bool) -> FloatArray:
    """Covariances (states, features, features) as hmmlearn wants them for one type."""
    variances = np.diagonal(spreads, axis1=1, axis2=2)
    if covariance == "diag":
        return variances.copy()
    if covariance == "spherical":
        level: FloatArray = variances.mean(axis=1)
        return level
    return spreads.mean(axis=0) if covariance == "tied" and tied_over_states else spreads


def _full(learner: Any, kind: Kind, covariance: Covariance, count: int, mixed: int, width: int) -> FloatArray:
    """hmmlearn's fitted covariances as whole matrices, one a state, or one a state and mixture."""
    # The public `covars_` of a fitted spherical Gaussian model has the wrong shape where there are several features (0.3.3).
    covars = np.array(learner._covars_ if kind == "gaussian" else learner.covars_, dtype=np.float64)
    if covariance == "full":
        return covars
    if covariance == "tied":
        return np.repeat(covars[None], count, axis=0) if kind == "gaussian" else np.repeat(covars[:, None], mixed, axis=1)
    shape = (count, width) if kind == "gaussian" else (count, mixed, width)
    variances = covars[..., None] if covars.ndim < len(shape) else covars
    return np.broadcast_to(variances, shape)[..., None] * np.eye(width)


def _taken(
    startprob: npt.ArrayLike,
    transmat: npt.ArrayLike,
    means: npt.ArrayLike,
    covars: npt.ArrayLike,
    x: npt.ArrayLike,
    weights: npt.ArrayLike | None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The start, the transitions, and the log density of each row in each state."""
    start, transitions = np.asarray(startprob, dtype=np.float64), np.asarray(transmat, dtype=np.float64)
    centres, spreads = np.asarray(means, dtype=np.float64), np.asarray(covars, dtype=np.float64)
    count = len(start)
    if transitions.shape != (count, count) or len(centres) != count or len(spreads) != count:
        shapes = f"{start.shape}, {transitions.shape}, {centres.shape} and {spreads.shape}"
        raise DataError(f"regimes: startprob, transmat, means and covars must speak of the same states, were {shapes}")
    return start, transitions, _log_densities(centres, spreads, _rows(x), None if weights is None else np.asarray(weights, dtype=np.float64))


def _log_densities(means: FloatArray, covars: FloatArray, x: FloatArray, weights: FloatArray | None) -> FloatArray:
    """The log density of each row in each state: (rows, states)."""
    if weights is None:
        means, covars = means[:, None], covars[:, None]
    if means.ndim != 3 or means.shape[2] != x.shape[1] or covars.shape not in (means.shape, (*means.shape, means.shape[2])):
        raise DataError(f"regimes: means of {means.shape} and covars of {covars.shape} do not fit rows of {x.shape[1]} features")
    diagonal = covars.ndim == 3
    logs = np.empty((len(x), *means.shape[:2]))
    for state, mixture in np.ndindex(means.shape[:2]):
        away = x - means[state, mixture]
        spread = np.diag(covars[state, mixture]) if diagonal else covars[state, mixture]
        try:
            root = np.linalg.cholesky(spread)
        except np.linalg.LinAlgError:
            raise DataError(f"regimes: the covariance of state {state} is not positive definite: {spread.tolist()}") from None
        # Solved feature by feature, each row by itself: how many others there are does not change a density, not even in its last bit.
        whitened = np.empty((x.shape[1], len(x)))
        for k in range(x.shape[1]):
            whitened[k] = (away[:, k] - (root[k, :k, None] * whitened[:k]).sum(axis=0)) / root[k, k]
        squares = (whitened**2).sum(axis=0)
        logs[:, state, mixture] = -0.5 * (squares + x.shape[1] * log(2.0 * pi)) - np.log(np.diagonal(root)).sum()
    if weights is None:
        alone: FloatArray = logs[:, :, 0]
        return alone
    with np.errstate(divide="ignore"):
        logs += np.log(weights)
    tops = logs.max(axis=2)
    mixed: FloatArray = tops + np.log(np.exp(logs - tops[:, :, None]).sum(axis=2))
    return mixed


def _updated(predicted: FloatArray, logs: FloatArray) -> tuple[FloatArray, float]:
    """Bayes' rule for one row: the probabilities of its states after it was seen, and its log likelihood."""
    top = logs.max()
    joint = predicted * np.exp(logs - top)
    total = joint.sum()
    if not total > 1e-200:
        # What the row points to was impossible or nearly so, and what was possible has underflowed: weigh in logs.
        with np.errstate(divide="ignore"):
            joint = np.log(predicted) + logs
        top = joint.max()
        if not top > -inf:
            raise DataError("regimes: a row is impossible in every state; are the features in the units that the model was fitted in?")
        joint = np.exp(joint - top)
        total = joint.sum()
    return joint / total, float(top + np.log(total))


def _quantile(ordered: list[float], level: float) -> float:
    """A quantile of sorted numbers, linear between neighbours."""
    place = level * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
