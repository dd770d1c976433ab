"""One source, two executions: a step taken bar by bar in Python and over a panel in compiled code gives the same bits."""

from __future__ import annotations

from fractions import Fraction
from math import fsum, isnan, nan

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.kernels import folds, steps

FloatArray = npt.NDArray[np.float64]

CODES = {name: getattr(steps, name) for name in vars(steps) if name.isupper() and isinstance(getattr(steps, name), int)}
FOLDS = {name: code for name, code in CODES.items() if name not in {"WINDOW", "OPTION", "SEEN", "AT", "VALUES", "RING"}}

prices = st.one_of(st.floats(1e-3, 1e7), st.sampled_from([100.0, 100.01, 0.0, nan, np.inf, -nan]))


def column(values: list[float], width: int = 1) -> FloatArray:
    """As the tape hands out its columns: C-contiguous and read-only."""
    panel = np.array(values, np.float64).reshape(-1, width)
    panel.flags.writeable = False
    return panel


def in_python(code: int, window: int, option: float, panels: list[FloatArray]) -> FloatArray:
    gate, a, b, c, d = panels
    out = np.full(gate.shape, nan)
    for i in range(gate.shape[1]):
        state, value = steps.start(code, window, option), nan
        for t in range(len(gate)):
            value = steps.take(code, state, *(float(x[t, i]) for x in (gate, a, b, c, d)), value)  # type: ignore[call-arg]
            out[t, i] = value
    return out


def compiled(code: int, window: int, option: float, panels: list[FloatArray], cuts: list[int]) -> FloatArray:
    rows, width = panels[0].shape
    states, out = np.array([steps.start(code, window, option)] * width), np.full((rows, width), nan)
    for first, last in zip([0, *cuts], [*cuts, rows], strict=True):
        # Where numba is switched off, numpy's numbers would warn of what Python's and compiled ones pass over.
        with np.errstate(all="ignore"):
            folds.run(code, states, *panels, out, first, last)  # type: ignore[call-arg, arg-type]
    return out


def mean_of(values: list[float], window: int) -> list[float]:
    panel = column(values)
    return [float(x) for x in compiled(steps.SMA, window, 0.0, [panel] * 5, [])[:, 0]]


@pytest.mark.parametrize("name", FOLDS)
@settings(max_examples=40, deadline=None)
@given(given_=st.data())
def test_a_whole_tape_compiled_is_the_same_bytes_as_bar_by_bar_in_python(name: str, given_: st.DataObject) -> None:
    width, window = given_.draw(st.integers(1, 3)), given_.draw(st.integers(1, 9))
    window = max(window, {"STD": 2, "ZSCORE": 2, "CORRELATION": 2, "BETA": 2, "SKEWNESS": 3}.get(name, 1))
    options = {"EXTREME": [-1.0, 1.0], "QUANTILE": [0.0, 0.3, 1.0], "FLIGHT": [0.0, 0.8]}
    option = given_.draw(st.sampled_from(options.get(name, [0.5, 2.0])))
    rows = given_.draw(st.integers(1, 40))
    panels = [column(given_.draw(st.lists(prices, min_size=rows * width, max_size=rows * width)), width) for _ in range(2)]
    gate, a, b, c, d = panels[0], panels[0], panels[1], panels[0], panels[1]
    cuts = sorted(given_.draw(st.lists(st.integers(0, rows), max_size=4)))
    expected = in_python(FOLDS[name], window, option, [gate, a, b, c, d])
    assert compiled(FOLDS[name], window, option, [gate, a, b, c, d], []).tobytes() == expected.tobytes()
    assert compiled(FOLDS[name], window, option, [gate, a, b, c, d], cuts).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", FOLDS)
def test_a_long_tape_compiled_is_the_same_bytes_as_bar_by_bar_in_python(name: str) -> None:
    """Long enough for several blocks of rows."""
    rng = np.random.default_rng(7)
    close = 50.0 * np.exp(np.cumsum(rng.standard_normal((500, 2)) * 0.02, axis=0))
    close[rng.random(close.shape) < 0.1] = nan
    other = rng.integers(0, 5, close.shape).astype(float)
    panels = [column(x.ravel().tolist(), 2) for x in (close, close, other, close, other)]
    expected = in_python(FOLDS[name], 20, 1.0, panels)
    assert compiled(FOLDS[name], 20, 1.0, panels, [1, 130]).tobytes() == expected.tobytes()


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=60), window=st.integers(1, 12))
def test_a_mean_is_the_exact_sum_rounded_once_and_divided(values: list[float], window: int) -> None:
    for t, mean in enumerate(mean_of(values, window)):
        if t + 1 < window:
            assert isnan(mean)
        else:
            assert mean == fsum(values[t + 1 - window : t + 1]) / window


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats(0.0, 1e300), min_size=1, max_size=40), window=st.integers(1, 6))
def test_a_mean_of_numbers_of_any_size_is_right_to_the_last_bits(values: list[float], window: int) -> None:
    """Two floats cannot hold such a sum. What they lose must not stay in later windows."""
    for t, mean in enumerate(mean_of(values, window)):
        if t + 1 >= window:
            exact = sum((Fraction(x) for x in values[t + 1 - window : t + 1]), Fraction()) / window
            assert abs(Fraction(mean) - exact) <= exact * Fraction(1, 2**51) + Fraction(5e-324)


def test_a_sum_that_overflowed_recovers_when_the_window_has_moved_on() -> None:
    means = mean_of([1.7e308, 1.7e308, 1.0, 2.0, 3.0], 2)
    assert isnan(means[1])
    assert means[3:] == [1.5, 2.5]


def test_a_window_of_nothing_sums_to_exactly_nothing() -> None:
    """A plain rolling sum would keep a residue."""
    assert mean_of([0.1, 0.7, 1e9, 0.3, 0.0, 0.0, 0.0], 3)[-1] == 0.0


def test_a_bar_without_a_price_or_with_an_infinite_input_is_no_bar_to_a_fold() -> None:
    assert mean_of([1.0, nan, np.inf, 3.0], 2)[1:] == pytest.approx([nan, nan, 2.0], nan_ok=True)
    assert mean_of([1.0, 3.0, nan, np.inf], 2)[1:] == [2.0, 2.0, 2.0]


def test_the_kernel_has_one_signature_after_use() -> None:
    panel = column([1.0, 2.0, 3.0, 4.0], 2)
    for code in FOLDS.values():
        compiled(code, 3, 1.0, [panel] * 5, [1])
    assert [len(getattr(kernel, "signatures", [()])) for kernel in (folds.run_common, folds.run_any)] == [1, 1]
