"""What a strategy can read off the past: indicators as expressions, and their values over a tape.

An indicator says what to compute and holds no data: `sma(20) - sma(50)` is a value that can be compared, hashed and built upon. `Readings` computes
indicators over a tape, a whole history at once or bar by bar, with the same bits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite, nan, sqrt
from numbers import Real
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from simulator.errors import PluginError, ScenarioError, ViewError, nearest
from simulator.kernels import steps

if TYPE_CHECKING:
    from simulator.market.tape import FloatArray, IntArray, Tape

ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}


@dataclass(frozen=True, slots=True)
class Indicator:
    """A value for each instrument and bar that depends on the past alone.

    Made by `sma`, `ema`, `rsi` and the like, and combined with others and with numbers by + - * /; a division by zero gives infinity or NaN. An
    indicator advances on its instrument's own bars, one of two series where both have bars; between them it keeps its value, with an age. A bar
    whose input is not a finite number is no bar to it (so what is made of volume stays NaN where a source has none). It is NaN until it is warm.
    """

    what: str
    """A field of the tape, a sign of arithmetic, or the fold's name."""
    inputs: tuple[Indicator | float, ...] = ()
    code: int = -1
    window: int = 1
    option: float = 0.0
    symbol: str | None = None
    """Whose field it is; None: the instrument's own."""

    # Makes numpy's numbers leave arithmetic with us to us.
    __array_ufunc__: ClassVar[None] = None

    def __add__(self, other: Indicator | float) -> Indicator:
        return _combined("+", self, other)

    def __radd__(self, other: float) -> Indicator:
        return _combined("+", other, self)

    def __sub__(self, other: Indicator | float) -> Indicator:
        return _combined("-", self, other)

    def __rsub__(self, other: float) -> Indicator:
        return _combined("-", other, self)

    def __mul__(self, other: Indicator | float) -> Indicator:
        return _combined("*", self, other)

    def __rmul__(self, other: float) -> Indicator:
        return _combined("*", other, self)

    def __truediv__(self, other: Indicator | float) -> Indicator:
        return _combined("/", self, other)

    def __rtruediv__(self, other: float) -> Indicator:
        return _combined("/", other, self)

    def __neg__(self) -> Indicator:
        return _combined("*", -1.0, self)


def last(of: str | Indicator = "close") -> Indicator:
    """The series itself: its value at the instrument's last bar."""
    return _fold("last", steps.LAST, (_series("last", of),))


def sma(window: int, of: str | Indicator = "close") -> Indicator:
    """The mean of the last *window* bars. Its sum is exact, so that it does not depend on where history began."""
    return _fold("sma", steps.SMA, (_series("sma", of),), _whole("sma", "window", window))


def ema(window: int, of: str | Indicator = "close") -> Indicator:
    """The exponential mean, alpha = 2 / (window + 1), begun at the first value; NaN for the first *window* - 1 bars.

    A start *n* bars later changes it by less than (1 - alpha)**n times the difference of the two first values.
    """
    return _fold("ema", steps.EMA, (_series("ema", of),), _whole("ema", "window", window))


def std(window: int, of: str | Indicator = "close") -> Indicator:
    """The standard deviation of the last *window* bars, with ddof 1."""
    return _fold("std", steps.STD, (_series("std", of),), _whole("std", "window", window, least=2))


def zscore(window: int, of: str | Indicator = "close") -> Indicator:
    """(x - mean) / standard deviation over the last *window* bars, with ddof 1; NaN where nothing varies."""
    return _fold("zscore", steps.ZSCORE, (_series("zscore", of),), _whole("zscore", "window", window, least=2))


def returns(horizon: int = 1, of: str | Indicator = "close") -> Indicator:
    """The change over *horizon* bars, as a fraction."""
    return _fold("returns", steps.RETURNS, (_series("returns", of),), _whole("returns", "horizon", horizon))


def momentum_score(window: int, gamma: float = 1.0, of: str | Indicator = "close") -> Indicator:
    """The mean of sign(r) |r|**gamma over the last *window* one-bar returns r.

    *gamma* weighs large moves: 0.5, 1 or 2. Square root and square give the same bits everywhere; other powers do not.
    """
    if gamma not in (0.5, 1.0, 2.0):
        raise ScenarioError(f"momentum_score: gamma must be 0.5, 1 or 2, was {gamma!r}")
    window, moves = _whole("momentum_score", "window", window), returns(1, of)
    return sma(window, moves if gamma == 1.0 else _fold("power", steps.POWER, (moves,), option=float(gamma)))


def rsi(period: int = 14, of: str | Indicator = "close") -> Indicator:
    """Relative strength from 0 to 100, 50 where nothing moved. Source: Wilder, New Concepts in Technical Trading Systems (1978).

    Mean gain and mean loss begin as plain means of *period* changes, then each new change has the weight 1 / period. The part of them that
    depends on where history began shrinks by (1 - 1 / period) a bar.
    """
    return _fold("rsi", steps.RSI, (_series("rsi", of),), _whole("rsi", "period", period))


def atr(period: int = 14) -> Indicator:
    """The average true range in price, smoothed like `rsi`. The first bar has no close before it and does not count. Source: Wilder (1978)."""
    return _fold("atr", steps.ATR, (Indicator("high"), Indicator("low"), Indicator("close")), _whole("atr", "period", period))


def bollinger(window: int = 20, width: float = 2.0, of: str | Indicator = "close") -> Indicator:
    """The place between Bollinger's bands: (x - mean) / (width x standard deviation, ddof 1), so that -1 and 1 are the bands."""
    if not 0.0 < width < float("inf"):
        raise ScenarioError(f"bollinger: width must be above 0, was {width!r}")
    return zscore(_whole("bollinger", "window", window, least=2), of) / width


def macd(fast: int = 12, slow: int = 26, of: str | Indicator = "close") -> Indicator:
    """Appel's moving average convergence: the fast exponential mean less the slow one."""
    return ema(_whole("macd", "fast", fast), of) - ema(_whole("macd", "slow", slow), of)


def macd_signal(fast: int = 12, slow: int = 26, signal: int = 9, of: str | Indicator = "close") -> Indicator:
    """The exponential mean of `macd`, begun where that is warm."""
    return ema(_whole("macd_signal", "signal", signal), macd(fast, slow, of))


def macd_histogram(fast: int = 12, slow: int = 26, signal: int = 9, of: str | Indicator = "close") -> Indicator:
    """`macd` less its signal."""
    return macd(fast, slow, of) - macd_signal(fast, slow, signal, of)


def rolling_max(window: int, of: str | Indicator = "close") -> Indicator:
    """The largest of the last *window* bars."""
    return _fold("rolling_max", steps.EXTREME, (_series("rolling_max", of),), _whole("rolling_max", "window", window), 1.0)


def rolling_min(window: int, of: str | Indicator = "close") -> Indicator:
    """The smallest of the last *window* bars."""
    return _fold("rolling_min", steps.EXTREME, (_series("rolling_min", of),), _whole("rolling_min", "window", window), -1.0)


def correlation(window: int, symbol: str) -> Indicator:
    """The correlation with *symbol* of *window* returns, taken between the instants at which both have bars; NaN where nothing varies."""
    closes = (Indicator("close"), Indicator("close", symbol=symbol))
    return _fold("correlation", steps.CORRELATION, closes, _whole("correlation", "window", window, least=2))


def beta(window: int, symbol: str) -> Indicator:
    """The slope of our returns on those of *symbol*, as in `correlation`: covariance / variance of the other."""
    closes = (Indicator("close"), Indicator("close", symbol=symbol))
    return _fold("beta", steps.BETA, closes, _whole("beta", "window", window, least=2))


def volume_zscore(window: int) -> Indicator:
    """The z-score of volume."""
    return zscore(_whole("volume_zscore", "window", window, least=2), "volume")


def vwap_deviation(window: int) -> Indicator:
    """(close - vwap) / vwap, where vwap weighs the typical prices (high + low + close) / 3 of *window* bars by volume; NaN where none traded."""
    window = _whole("vwap_deviation", "window", window)
    turnover = _fold("turnover", steps.TURNOVER, (Indicator("high"), Indicator("low"), Indicator("close"), Indicator("volume")))
    return _fold("vwap_deviation", steps.VWAP_DEVIATION, (sma(window, turnover), sma(window, "volume"), Indicator("close")))


def overnight_gap() -> Indicator:
    """The open against the close of the bar before: open / close - 1."""
    return _fold("overnight_gap", steps.GAP, (Indicator("open"), Indicator("close")))


def range_zscore(window: int) -> Indicator:
    """The z-score of (high - low) / close."""
    window = _whole("range_zscore", "window", window, least=2)
    return zscore(window, (Indicator("high") - Indicator("low")) / Indicator("close"))


def field_of(symbol: str, field: str = "close") -> Indicator:
    """A field of another instrument, for every instrument: `returns(1, field_of("VIX"))` is how the VIX changed."""
    return replace(_series("field_of", field), symbol=symbol)


def realised_volatility(window: int, centred: bool = False, periods: int = 252, of: str | Indicator = "close") -> Indicator:
    """The volatility of *window* returns in a year of *periods*: sqrt(periods x mean of r^2), or, *centred*, their standard deviation with ddof 1."""
    name = "realised_volatility"
    moves, year = returns(1, of), sqrt(_whole(name, "periods", periods))
    if centred:
        return std(_whole(name, "window", window, least=2), moves) * year
    return _root(sma(_whole(name, "window", window), moves * moves)) * year


def volatility_ratio(fast: int = 5, slow: int = 20, centred: bool = False, of: str | Indicator = "close") -> Indicator:
    """Realised volatility of the last *fast* bars over that of the last *slow* ones: above 1, it rises."""
    return realised_volatility(fast, centred, of=of) / realised_volatility(slow, centred, of=of)


def volatility_persistence(window: int = 5, mean: int = 5, centred: bool = False, periods: int = 252, of: str | Indicator = "close") -> Indicator:
    """The mean over *mean* bars of the realised volatility of *window* returns: high where high volatility has lasted."""
    return sma(_whole("volatility_persistence", "mean", mean), realised_volatility(window, centred, periods, of))


def volatility_to(window: int, symbol: str, centred: bool = False) -> Indicator:
    """Our realised volatility over that of *symbol*, such as that of equities to that of bonds."""
    return realised_volatility(window, centred) / realised_volatility(window, centred, of=field_of(symbol))


def momentum_acceleration(fast: int = 5, slow: int = 20, of: str | Indicator = "close") -> Indicator:
    """The return over *fast* bars less that over *slow* ones, each for a single bar: unequal horizons cannot be subtracted as they are."""
    if not _whole("momentum_acceleration", "fast", fast) < _whole("momentum_acceleration", "slow", slow):
        raise ScenarioError(f"momentum_acceleration: fast must be below slow ({slow}), was {fast}")
    return returns(fast, of) / float(fast) - returns(slow, of) / float(slow)


def correlation_change(window: int, symbol: str, mean: int = 60) -> Indicator:
    """The correlation with *symbol* less its own mean over *mean* bars: how far it has left what was usual."""
    related = correlation(window, symbol)
    return related - sma(_whole("correlation_change", "mean", mean), related)


def risk_sentiment(fear: str, safe: str, horizon: int = 1) -> Indicator:
    """The return of *safe* (a bond) less the change of *fear* (the VIX): above 0 where fear falls. The same for every instrument."""
    return returns(horizon, field_of(safe)) - returns(horizon, field_of(fear))


def flight_to_quality(safe: str, window: int = 252, level: float = 0.8) -> Indicator:
    """1 where *safe* (a bond) returns more than the quantile *level* of its *window* returns before this one, and we fall; else 0."""
    shares = (returns(1, field_of(safe)), returns(1))
    return _fold("flight_to_quality", steps.FLIGHT, shares, _whole("flight_to_quality", "window", window), _level("flight_to_quality", level))


def rolling_quantile(window: int, level: float, of: str | Indicator = "close") -> Indicator:
    """The quantile *level* of the last *window* bars, linear between neighbours, as NumPy's and pandas' are."""
    series = (_series("rolling_quantile", of),)
    return _fold("rolling_quantile", steps.QUANTILE, series, _whole("rolling_quantile", "window", window), _level("rolling_quantile", level))


def rolling_skewness(window: int, of: str | Indicator = "close") -> Indicator:
    """The skewness of the last *window* bars, adjusted for their number (G1, as in pandas); NaN where nothing varies."""
    return _fold("rolling_skewness", steps.SKEWNESS, (_series("rolling_skewness", of),), _whole("rolling_skewness", "window", window, least=3))


def _root(of: Indicator) -> Indicator:
    return _fold("power", steps.POWER, (of,), option=0.5)


def _level(what: str, level: float) -> float:
    if not 0.0 <= level <= 1.0:
        raise ScenarioError(f"{what}: level must be from 0 to 1, was {level!r}")
    return float(level)


def _fold(what: str, code: int, inputs: tuple[Indicator, ...], window: int = 1, option: float = 0.0) -> Indicator:
    return Indicator(what, inputs, code, window, option)


def _combined(sign: str, left: object, right: object) -> Indicator:
    """An expression of two operands, of which one may be a number."""
    operands: list[Indicator | float] = []
    for operand in (left, right):
        if isinstance(operand, Indicator):
            operands.append(operand)
            continue
        if not isinstance(operand, Real) or not isfinite(operand):
            raise ScenarioError(f"an indicator combines by {sign} with indicators and finite numbers, not with {operand!r}")
        # Zero has one sign here, since indicators that are equal are computed once.
        operands.append(float(operand) + 0.0)
    return Indicator(sign, tuple(operands))


def _series(what: str, of: str | Indicator) -> Indicator:
    from simulator.market.tape import FIELDS

    if isinstance(of, Indicator):
        return of
    if of not in FIELDS:
        raise ScenarioError(f"{what}: of must be a field of the tape or an indicator, was {of!r}{nearest(str(of), FIELDS)}")
    return Indicator(of)


def _whole(what: str, name: str, value: int, least: int = 1) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ScenarioError(f"{what}: {name} must be a whole number of at least {least}, was {value!r}") from None
    if number < least:
        raise ScenarioError(f"{what}: {name} must be at least {least}, was {number}")
    return number


class Readings:
    """The values of named indicators over a tape, kept up with it by `catch_up`. Expressions that several of them share are computed once; what
    other readings of the same tape have in *known* is theirs too, and those of other threads that know the same.

    Raises PluginError where something is no indicator, ScenarioError where an indicator needs a symbol that the tape does not have.
    """

    def __init__(self, tape: Tape, indicators: Mapping[str, Indicator], known: Readings | None = None) -> None:
        self.rows = 0
        self._tape = tape
        # What all that share it have, and what this one asks for, in the order of computation.
        self._columns: dict[Indicator, _Column] = known._columns if known else {}
        self._own: dict[Indicator, _Column] = {}
        self._lock: Lock = known._lock if known else Lock()
        self._named: dict[str, _Column] = {}
        for name, indicator in indicators.items():
            if not isinstance(indicator, Indicator):
                raise PluginError(f"indicators: {name!r} must be an indicator such as sma(20), was {indicator!r}")
            with self._lock:
                self._named[name] = self._column(indicator)
        self._closes: FloatArray | None = None
        self._searched, self._warm = 0, None if indicators else 0
        self._make_room()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the indicators, in the order in which they were given."""
        return tuple(self._named)

    @property
    def count(self) -> int:
        """How many columns are kept, those that others share included."""
        return len(self._columns)

    def catch_up(self) -> bool:
        """Bring all indicators up to the tape's last row. True if the buffers were replaced: then `flat` and `column` are to be asked for anew."""
        moved = self._make_room()
        first, end = self.rows, self._tape.rows
        # One more bar of one instrument is a step in Python, which takes about as long as calling compiled code.
        single = end - first == 1 and self._tape.width == 1
        for _, last in self._tape.spans(first, end) if end > first else ():
            for column in self._own.values():
                # Who comes second waits until the first is done.
                with column.lock:
                    if column.rows < last:
                        column.reckon(self._tape, column.rows, last, single)
                        column.rows = last
        self.rows = end
        return moved

    def column(self, name: str) -> FloatArray:
        """The values of an indicator so far: (rows, instruments), read-only, C-contiguous, NaN where it is not warm."""
        return self._known(name).seen[: self.rows]

    def flat(self, name: str) -> memoryview:
        """The same, row after row, for reading one float quickly: that of instrument i is at row x instruments + i.

        It sees the bars that later calls of `catch_up` add, until one of them says that the buffers were replaced. What lies beyond the last row
        means nothing.
        """
        return self._known(name).flat

    def ages(self, name: str) -> IntArray:
        """Rows since an indicator last advanced, as old as the oldest of what it combines; -1 where it has not yet: (rows, instruments)."""
        return self._known(name).ages(self.rows)

    def first_warm(self) -> int | None:
        """The first row at which some instrument has all indicators; None if there was none yet. With no indicators it is row 0."""
        while self._warm is None and self._searched < self.rows:
            first, end = self._searched, min(self._searched + 4096, self.rows)
            warm = np.ones((end - first, self._tape.width), bool)
            for column in self._named.values():
                warm &= ~np.isnan(column.seen[first:end])
            rows = np.flatnonzero(warm.any(axis=1))
            if len(rows):
                self._warm = first + int(rows[0])
            self._searched = end
        return self._warm

    def _known(self, name: str) -> _Column:
        if name not in self._named:
            raise ViewError(f"no such indicator {name!r}{nearest(name, self._named)}")
        return self._named[name]

    def _column(self, indicator: Indicator) -> _Column:
        """The column of *indicator*, after those of its inputs."""
        if indicator not in self._own:
            tape = self._tape
            if indicator.symbol is not None and indicator.symbol not in tape.index:
                raise ScenarioError(
                    f"an indicator needs {indicator.symbol!r}, and the tape has no such symbol{nearest(indicator.symbol, tape.index)}"
                )
            operands = [self._column(x) if isinstance(x, Indicator) else x for x in indicator.inputs]
            gate = self._column(_gate(indicator)) if indicator.code >= 0 else None
            if indicator not in self._columns:
                self._columns[indicator] = _Column(indicator, operands, gate, tape.width)
            self._own[indicator] = self._columns[indicator]
        return self._own[indicator]

    def _make_room(self) -> bool:
        """Follow the tape, which replaces its buffers when it grows."""
        tape = self._tape
        if tape.close is self._closes:
            return False
        self._closes = tape.close
        for column in self._own.values():
            with column.lock:
                if len(column.values) != len(tape.close):
                    column.grow(tape)
        return True


def _gate(indicator: Indicator) -> Indicator:
    """A series that is a number where a fold advances: at its instrument's bars, and at those of all symbols that its inputs depend on."""
    gate = Indicator("close")
    for symbol in sorted({symbol for x in indicator.inputs if isinstance(x, Indicator) and x.inputs for symbol in _symbols(x)}):
        gate = gate + Indicator("close", symbol=symbol)
    return gate


def _symbols(indicator: Indicator) -> set[str]:
    found = {symbol for x in indicator.inputs if isinstance(x, Indicator) for symbol in _symbols(x)}
    return found if indicator.symbol is None else found | {indicator.symbol}


class _Column:
    """One expression's values over the tape: (capacity, instruments), with the states of its fold, if it is one. Who changes it holds its *lock*."""

    __slots__ = ("flat", "indicator", "lock", "operands", "rows", "seen", "sources", "states", "values")

    def __init__(self, indicator: Indicator, operands: list[_Column | float], gate: _Column | None, width: int) -> None:
        self.indicator, self.operands, self.rows, self.lock = indicator, operands, 0, Lock()
        self.values: FloatArray = np.empty((0, width))
        self.states: FloatArray | None = None
        if gate is not None:
            self.states = np.tile(np.array(steps.start(indicator.code, indicator.window, indicator.option)), (width, 1))
            # A fold reads its gate and four inputs, of which it may use fewer.
            inputs = [x for x in operands if isinstance(x, _Column)]
            a, b, c, d = (inputs + inputs[:1] * 3)[:4]
            self.sources = gate, a, b, c, d

    def grow(self, tape: Tape) -> None:
        """Take a buffer as long as the tape's, with our rows so far in it. A field of the instruments' own is the tape's buffer itself."""
        if self.indicator.inputs or self.indicator.symbol is not None:
            values = tape.column()
            values[: self.rows] = self.values[: self.rows]
        else:
            values = getattr(tape, self.indicator.what)
        self.values, self.seen = values, values.view()
        # What compiled code reads is read-only, always: another kind of array would be compiled anew.
        self.seen.flags.writeable = False
        self.flat = self.seen.reshape(-1).data

    def reckon(self, tape: Tape, first: int, end: int, single: bool) -> None:
        """Take these bars of the tape, a *single* one in Python."""
        if self.states is not None and single:
            self.take(first)
        elif self.states is not None:
            self.run(first, end)
        elif self.indicator.inputs:
            self.combine(first, end)
        elif self.indicator.symbol is not None:
            self.repeat(tape, first, end)

    def run(self, first: int, end: int) -> None:
        """Take many bars in compiled code."""
        from simulator.kernels import folds

        gate, a, b, c, d = self.sources
        folds.run(self.indicator.code, self.states, gate.seen, a.seen, b.seen, c.seen, d.seen, self.values, first, end)

    def take(self, row: int) -> None:
        """Take one bar of one instrument in Python."""
        assert self.states is not None
        gate, a, b, c, d = self.sources
        before = self.flat[row - 1] if row else nan
        state = self.states[0].data
        self.values[row, 0] = steps.take(self.indicator.code, state, gate.flat[row], a.flat[row], b.flat[row], c.flat[row], d.flat[row], before)

    def combine(self, first: int, end: int) -> None:
        """Do the arithmetic of two operands. NumPy's + - * / are IEEE's, one value at a time, so that it does not matter how many rows there are."""
        left, right = (x.seen[first:end] if isinstance(x, _Column) else x for x in self.operands)
        out = self.values[first:end]
        with np.errstate(all="ignore"):
            ARITHMETIC[self.indicator.what](left, right, out=out)
        # There are many NaNs, and which one comes out depends on the machine.
        np.copyto(out, nan, where=np.isnan(out))

    def repeat(self, tape: Tape, first: int, end: int) -> None:
        """Give every instrument the field of another."""
        assert self.indicator.symbol is not None
        other = tape.index[self.indicator.symbol]
        self.values[first:end] = getattr(tape, self.indicator.what)[first:end, other : other + 1]

    def ages(self, rows: int) -> IntArray:
        """Rows since the last advance: (rows, instruments), -1 where there was none yet."""
        parts = [x for x in self.operands if isinstance(x, _Column)]
        if self.states is None and parts:
            ages = [x.ages(rows) for x in parts]
            oldest = np.maximum(ages[0], ages[-1])
            oldest[(ages[0] < 0) | (ages[-1] < 0)] = -1
            return oldest
        gate = self if self.states is None else self.sources[0]
        advanced = ~np.isnan(gate.seen[:rows])
        for part in parts:
            advanced &= np.isfinite(part.seen[:rows])
        at = np.arange(rows)[:, None]
        latest = np.maximum.accumulate(np.where(advanced, at, -1), axis=0)
        return np.where(latest >= 0, at - latest, -1)
