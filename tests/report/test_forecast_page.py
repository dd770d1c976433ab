"""The page of a forecast says what was measured, and asks nobody outside for anything."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import attribute_returns, forecast_correlations, judge_forecasts, predicted_against_actual
from simulator.report.forecasts import figure, forecast_page


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    actual = 0.02 * rng.standard_normal((200, 8))
    return 0.3 * actual + 0.01 * rng.standard_normal(actual.shape), actual


def test_the_page_has_all_that_was_measured_and_is_the_same_twice(sample: tuple[np.ndarray, np.ndarray]) -> None:
    forecast, actual = sample
    judged, line = judge_forecasts(forecast, actual, 1), predicted_against_actual(forecast, actual, 10)
    parts = attribute_returns(forecast, actual, forecast[:, :, None], {"signal": [0]})
    more = {
        "resembles": forecast_correlations(forecast, {"<size>": forecast}),
        "importance": {"one feature": 0.1, "another feature": 0.7},
        "earned": parts,
    }
    page = forecast_page("A & B", judged, line, **more)  # type: ignore[arg-type]
    for fragment in ("A &amp; B", f"{judged.ic.value:.4g}", "&lt;size&gt;", "Predicted against actual", "signal", "residual", "What mattered"):
        assert fragment in page
    assert page.index("another feature") < page.index("one feature"), "the feature that mattered most comes first"
    assert 'src="http' not in page
    assert page == forecast_page("A & B", judged, line, **more)  # type: ignore[arg-type]
    short = forecast_page("A", judged, line)
    assert "What mattered" not in short


def test_the_figure_has_the_bins_with_their_errors_and_the_line(sample: tuple[np.ndarray, np.ndarray]) -> None:
    line = predicted_against_actual(*sample, bins=10)
    seen, ideal = figure(line).data
    assert list(seen.y) == line[1].tolist()
    assert list(seen.error_y.array) == (2.0 * line[2]).tolist()
    assert list(ideal.x) == list(ideal.y) == [line[0].min(), line[0].max()]
