"""The ways in which research looks ahead, each as a strategy, and beside each its causal twin: the same idea, on what was known.

The tape is read through `view.bars.tape`, as a plug-in that means no harm may: what it offers is the whole history. `prove` is what says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


def everything(view: Any, name: str = "close") -> np.ndarray:
    """The whole column of the first instrument, later bars too: what a notebook has in its DataFrame."""
    return np.array(getattr(view.bars.tape, name)[: len(view.bars.tape), 0])


def so_far(view: Any, name: str = "close") -> np.ndarray:
    """The same, of the bars that have closed."""
    return np.array(view.history(name, view.row + 1)[:, 0])


def side(view: Any, signal: float) -> Any:
    """Long half of equity on a positive signal, short on a negative one."""
    return view.rebalance(np.array([0.5 * np.sign(signal)])) if signal == signal else ()


def changes(close: np.ndarray) -> np.ndarray:
    return close[1:] / close[:-1] - 1.0


# --- Full-sample z-score


@dataclass
class FullSampleZScore:
    def on_bars(self, view: Any) -> Any:
        close = everything(view)
        return side(view, -(view.value("close") - close.mean()) / close.std())


@dataclass
class ExpandingZScore:
    def on_bars(self, view: Any) -> Any:
        close = so_far(view)
        return side(view, -(close[-1] - close.mean()) / close.std()) if len(close) > 20 else ()


# --- predict over the sample: states of a hidden Markov model


@dataclass
class PredictsOverTheSample:
    states: Any = field(default=None, init=False)

    def on_bars(self, view: Any) -> Any:
        from simulator import decode_states, fit_regimes

        if self.states is None:
            moves = changes(everything(view))
            model = fit_regimes(moves, 2, restarts=1)
            self.states = decode_states(model.startprob, model.transmat, model.means, model.covars, moves)
        return side(view, float(self.states[view.row - 1]) - 0.5) if view.row else ()


@dataclass
class FiltersForward:
    model: Any = field(default=None, init=False)
    known: Any = field(default=None, init=False)

    def on_bars(self, view: Any) -> Any:
        from simulator import fit_regimes

        if view.row == 60:
            moves = changes(so_far(view))
            self.model = fit_regimes(moves, 2, restarts=1)
            self.known = self.model.filter(moves)[0][-1]
        elif view.row > 60:
            self.known = self.model.after(self.known, changes(so_far(view))[-1:])
        return side(view, self.known[1] - 0.5) if self.model else ()


# --- Rolling window


@dataclass
class CentredWindow:
    def on_bars(self, view: Any) -> Any:
        return side(view, everything(view)[max(0, view.row - 5) : view.row + 6].mean() - view.value("close"))


@dataclass
class TrailingWindow:
    def on_bars(self, view: Any) -> Any:
        return side(view, so_far(view)[-11:].mean() - view.value("close"))


# --- Tomorrow's open in a feature


@dataclass
class TomorrowsOpen:
    def on_bars(self, view: Any) -> Any:
        opens = np.append(everything(view, "open")[1:], np.nan)
        return side(view, opens[view.row] / view.value("close") - 1.0)


@dataclass
class TodaysOpen:
    def on_bars(self, view: Any) -> Any:
        return side(view, view.value("open") / view.value("close") - 1.0)


# --- Regressions: the label, the scaler, the split


def solved(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]


def lagged(close: np.ndarray, lags: int = 3) -> np.ndarray:
    """Each row: the last *lags* returns that were known at a close, oldest first."""
    return np.lib.stride_tricks.sliding_window_view(changes(close), lags)


@dataclass
class LabelInTheFeatures:
    """The return over the next bar is the label, and one of the features is a return over three bars that ends with it."""

    def on_bars(self, view: Any) -> Any:
        close = everything(view)
        if not 40 <= view.row < len(close) - 1:
            return ()
        ahead = close[view.row + 1] / close[view.row - 2] - 1.0
        x, y = close[3 : view.row + 1] / close[: view.row - 2] - 1.0, changes(close)[2 : view.row]
        return side(view, float(np.dot(solved(x[:, None], y), [1.0, ahead])))


@dataclass
class LabelApart:
    def on_bars(self, view: Any) -> Any:
        if view.row < 40:
            return ()
        close = so_far(view)
        x = lagged(close)
        return side(view, float(np.dot(solved(x[:-1], changes(close)[3:]), [1.0, *x[-1]])))


@dataclass
class ScalerFittedOnAllRows:
    def on_bars(self, view: Any) -> Any:
        x = lagged(everything(view))
        mean, spread = x.mean(axis=0), x.std(axis=0)
        return side(view, float(((x[view.row - 3] - mean) / spread).sum())) if view.row >= 3 else ()


@dataclass
class ScalerFittedOnTheFold:
    def on_bars(self, view: Any) -> Any:
        if view.row < 20:
            return ()
        x = lagged(so_far(view))
        return side(view, float(((x[-1] - x.mean(axis=0)) / x.std(axis=0)).sum()))


@dataclass
class ShuffledSplit:
    """Trains on rows drawn from the whole history, as train_test_split does."""

    def on_bars(self, view: Any) -> Any:
        close = everything(view)
        x, y = lagged(close)[:-1], changes(close)[3:]
        train = np.arange(len(x)) * 7919 % 10 < 8
        return side(view, float(np.dot(solved(x[train], y[train]), [1.0, *lagged(close)[view.row - 3]]))) if view.row >= 3 else ()


@dataclass
class SplitByTime:
    fitted: Any = field(default=None, init=False)

    def on_bars(self, view: Any) -> Any:
        if view.row < 60:
            return ()
        close = so_far(view)
        if self.fitted is None:
            self.fitted = solved(lagged(close)[:-1], changes(close)[3:])
        return side(view, float(np.dot(self.fitted, [1.0, *lagged(close)[-1]])))


# --- A higher time frame


@dataclass
class WeekBeforeItsClose:
    """Resamples to weeks of five bars, and reads the week that it is in as if it were over."""

    def on_bars(self, view: Any) -> Any:
        close = everything(view)
        week = view.row // 5
        return side(view, close[min(5 * week + 4, len(close) - 1)] / close[5 * week] - 1.0)


@dataclass
class WeekThatHasClosed:
    def on_bars(self, view: Any) -> Any:
        close, week = so_far(view), (view.row + 1) // 5
        return side(view, close[5 * week - 1] / close[5 * week - 5] - 1.0) if week else ()


# --- A one-bar shift


@dataclass
class ShiftTheWrongWay:
    def on_bars(self, view: Any) -> Any:
        moves = np.append(changes(everything(view)), 0.0)
        return side(view, moves[view.row])


@dataclass
class ShiftTheRightWay:
    def on_bars(self, view: Any) -> Any:
        return side(view, changes(so_far(view))[-1]) if view.row else ()


# --- Through the base of an array


@dataclass
class ThroughTheBase:
    def on_bars(self, view: Any) -> Any:
        seen = view.closes(1)
        while isinstance(seen.base, np.ndarray):
            seen = seen.base
        column = seen[3] if seen.ndim == 3 else seen
        return side(view, column[view.row + 1, 0] / column[view.row, 0] - 1.0 if view.row + 1 < len(column) else 0.0)


@dataclass
class OfTheArray:
    def on_bars(self, view: Any) -> Any:
        seen = view.closes(min(2, view.row + 1))
        return side(view, seen[-1, 0] / seen[0, 0] - 1.0)


# --- Its own account


@dataclass
class ByItsOwnAccount:
    """Causal: what it holds, what it is worth, what it waits for and what was told it."""

    def on_bars(self, view: Any) -> Any:
        if view.open_orders or len(view.events) > 2:
            return [view.cancel(order) for order in view.open_orders]
        price, held = view.value("close"), float(view.position[0])
        wanted = 0.3 * view.equity / price if view.row % 3 else -held
        return [view.remark(f"worth {view.equity:.2f}, cash {view.cash:.2f}"), view.order(int(wanted) or 1, kind=1, limit=round(price * 0.99, 2))]


@dataclass
class RemarksOfTomorrow:
    """Trades nothing; only its words know."""

    def on_bars(self, view: Any) -> Any:
        close = everything(view)
        return [view.remark(f"tomorrow {close[min(view.row + 1, len(close) - 1)]:.2f}")] if view.row % 10 == 0 else ()


TWINS = {
    FullSampleZScore: ExpandingZScore,
    PredictsOverTheSample: FiltersForward,
    CentredWindow: TrailingWindow,
    TomorrowsOpen: TodaysOpen,
    LabelInTheFeatures: LabelApart,
    ScalerFittedOnAllRows: ScalerFittedOnTheFold,
    WeekBeforeItsClose: WeekThatHasClosed,
    ShiftTheWrongWay: ShiftTheRightWay,
    ShuffledSplit: SplitByTime,
    ThroughTheBase: OfTheArray,
    RemarksOfTomorrow: ByItsOwnAccount,
}
