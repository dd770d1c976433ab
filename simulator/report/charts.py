"""What the report draws: plotly figures as plain dicts, with times in UTC milliseconds.

A colour is a name of the page's style ("@line", or "@loss/0.16" with its opacity), since the page is light or dark as its reader's device is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from simulator.market.tape import DAY
from simulator.report import metrics, words
from simulator.report.rolling import rolled

if TYPE_CHECKING:
    from simulator.market.tape import FloatArray, IntArray
    from simulator.report.benchmark import Benchmark
    from simulator.report.results import FillRow, Result

    Lines = Mapping[str, tuple[IntArray, FloatArray]]

POINTS_MAX: Final = 5_000
POINTS_LEAST: Final = 500
MARKERS_MAX: Final = 1_000
INSTRUMENTS_MAX: Final = 8
PLOTS_MAX: Final = 12
STATES_MAX: Final = 9
"""The style has so many colours from bear to bull, `state-0` to `state-8`."""

COLOURS_OF_LINES: Final = 6
TICKS_MAX: Final = 8
LOG_FROM: Final = 5.0
"""Equity or a price is drawn on a log scale at first where its highest point is so many times its lowest."""


def figures(result: Result, against: Benchmark) -> dict[str, Any]:
    """All figures of a run: `charts` by the id of their place on the page, and one `price` and perhaps `regime` for each of `instruments`.

    Where nothing was run there are none.
    """
    tape, rows = result.tape, result.rows
    if not rows:
        return {}
    daily = len(metrics.session_ends(tape.sessions[:rows])) == rows
    # A day's bar is drawn at its session's date: its close may already be the next day in UTC.
    times = tape.sessions[:rows] * (DAY // 1_000_000) if daily else tape.closed_at[:rows] // 1_000_000
    start = int(times[0]) - 86_400_000 if daily else int(tape.opened_at[0]) // 1_000_000
    moments = np.concatenate(([start], times))
    when = "%-d %b %Y" if daily else "%-d %b %Y %H:%M"
    ours, its = (np.concatenate(([result.cash_start], path[:rows])) for path in (result.equity, against.equity))
    charts = {
        "equity": _equity(moments, ours, its, against, result, escape(words.currency(result))),
        "drawdown": _drawdown(moments, ours, its, against),
        "exposure": _exposure(times, *result.exposure),
        **_rolling(times, result),
    }
    for k, name in enumerate(plotted(result)[:PLOTS_MAX]):
        charts[f"plot-{k}"] = _plot(times, result.plots[name], max(POINTS_LEAST, POINTS_MAX // len(plotted(result))))
    return {"when": when, "span": [start, int(times[-1])], "charts": charts, "instruments": _instruments(result, times, when)}


# --- Thinning


def thin(values: FloatArray, most: int = POINTS_MAX) -> IntArray:
    """At most *most* indices of *values*, in order, that keep the first, the last, and the lowest and highest of every stretch."""
    count = len(values)
    if count <= most:
        return np.arange(count, dtype=np.int64)
    width = ceil(count / ((most - 2) // 2))
    starts = np.arange(0, count, width, dtype=np.int64)
    padded = np.concatenate((values, np.full(len(starts) * width - count, values[-1])))
    block = padded.reshape(len(starts), width)
    gaps = np.isnan(block)
    low, high = np.where(gaps, np.inf, block).argmin(axis=1), np.where(gaps, -np.inf, block).argmax(axis=1)
    return np.unique(np.minimum(np.concatenate(([0, count - 1], starts + low, starts + high)), count - 1)).astype(np.int64)


def thin_alike(columns: Sequence[FloatArray], most: int = POINTS_MAX) -> IntArray:
    """Indices at which all *columns* are drawn, at most *most*, so that what is drawn together has the same moments."""
    if len(columns[0]) <= most:
        return np.arange(len(columns[0]), dtype=np.int64)
    return np.unique(np.concatenate([thin(column, most // len(columns)) for column in columns]))


def _rounded(values: Iterable[float]) -> list[float | None]:
    """Nine digits are more than a screen shows; what is no number leaves a gap."""
    return [float(f"{value:.9g}") if abs(value) < float("inf") else None for value in values]


def _line(times: IntArray, values: FloatArray, name: str, colour: str, shown: str, width: float = 1.6, **more: Any) -> dict[str, Any]:
    """One line; *shown* is how its value is shown to who points at it."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": times.tolist(),
        "y": _rounded(values.tolist()),
        "name": name,
        "line": {"color": colour, "width": width},
        "hovertemplate": f"{name} {shown}<extra></extra>",
        **more,
    }


# --- Equity, and how it fell


def _equity(times: IntArray, ours: FloatArray, its: FloatArray, against: Benchmark, result: Result, currency: str) -> dict[str, Any]:
    kept, capital = thin_alike((ours, its)), result.cash_start
    low, high = min(ours.min(), its.min()), max(ours.max(), its.max())
    shown, start = f"%{{y:,.2f}} {currency}".rstrip(), {"color": "@muted", "width": 1, "dash": "dot"}
    figure = {
        "data": [
            *_band(times, result),
            _line(times[kept], its[kept], escape(against.name), "@benchmark", shown, 1.3),
            _line(times[kept], ours[kept], "strategy", "@line", shown, 1.8),
        ],
        "layout": {
            "hovermode": "x unified",
            "yaxis": {"tickformat": "~s", "hoverformat": ",.2f"},
            "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": float(capital), "y1": float(capital), "line": start}],
        },
        "key": [["strategy", "@line"], [escape(against.name), "@benchmark"], *([["by chance", "@line/0.3"]] if result.intervals.figures else [])],
    }
    return figure | _log_scale(float(low), float(high), words.short)


def _band(times: IntArray, result: Result) -> list[dict[str, Any]]:
    """Between which equities the resampled histories were, from the starting capital on."""
    found = result.intervals
    if not found.figures:
        return []
    ends = metrics.session_ends(result.tape.sessions[: result.rows])[found.at] + 1
    at = times[np.concatenate(([0], ends))]
    low, high = (result.cash_start * np.concatenate(([1.0], path)) for path in (found.low, found.high))
    still = {"hoverinfo": "skip", "hovertemplate": None}
    return [
        _line(at, low, "", "@line/0.12", "", 0.0, **still),
        _line(at, high, "", "@line/0.12", "", 0.0, fill="tonexty", fillcolor="@line/0.12", **still),
    ]


def _log_scale(low: float, high: float, say: Callable[[float], str]) -> dict[str, Any]:
    """What makes a figure's scale logarithmic, and whether it is at first; nothing where not all is above 0."""
    if not 0.0 < low <= high:
        return {}
    ticks = log_ticks(low, high)
    axis = {"type": "log", "tickvals": ticks, "ticktext": [say(tick) for tick in ticks]}
    return {"log": axis, "log_first": high > LOG_FROM * low}


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from *low* to *high* for a log scale: parts of each power of ten, some of the powers, or, in a narrow range, even steps."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    best = [10.0**power for power in powers if power % ceil(len(powers) / TICKS_MAX) == 0 and low <= 10.0**power <= high]
    for parts in ((1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        ticks = [part * 10.0**power for power in powers for part in parts if low <= part * 10.0**power <= high]
        best = ticks if len(ticks) <= TICKS_MAX else best
    if len(best) >= 4:
        return best
    rough = max(high - low, 1e-6 * high) / 4.0
    size = 10.0 ** floor(log10(rough))
    step = size * max(part for part in (1, 2, 5) if part * size <= rough)
    return [k * step for k in range(ceil(low / step), floor(high / step) + 1)]


def _drawdown(times: IntArray, ours: FloatArray, its: FloatArray, against: Benchmark) -> dict[str, Any]:
    under, benchmark = (path / np.maximum.accumulate(path) - 1.0 for path in (ours, its))
    kept = thin_alike((under, benchmark))
    fell = bool(min(under.min(), benchmark.min()) < 0.0)
    below = {"fill": "tozeroy", "fillcolor": "@line/0.14"}
    return {
        "data": [
            _line(times[kept], under[kept], "strategy", "@line", "%{y:.2%}", 1.3, **below),
            _line(times[kept], benchmark[kept], escape(against.name), "@benchmark", "%{y:.2%}", 1.1),
        ],
        "layout": {"hovermode": "x unified", "yaxis": {"tickformat": ".3~%", "rangemode": "tozero", **({} if fell else {"range": [-0.01, 0]})}},
        "key": [["strategy", "@line"], [escape(against.name), "@benchmark"]],
        "fixed": not fell,
    }


def _rolling(times: IntArray, result: Result) -> dict[str, Any]:
    """The Sharpe ratio and the volatility of each window of sessions."""
    found = rolled(result)
    if found is None:
        return {}
    at = times[metrics.session_ends(result.tape.sessions[: result.rows])[found.at]]
    named = {"sharpe": (found.sharpe, "Sharpe ratio", "%{y:.2f}", ".3~g"), "volatility": (found.volatility, "volatility", "%{y:.2%}", ".3~%")}
    drawn = {}
    for name, (values, said, shown, form) in named.items():
        level = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "line": {"color": "@muted", "width": 1, "dash": "dot"}}
        axis = {"tickformat": form} | ({"rangemode": "tozero"} if name == "volatility" else {})
        layout = {"hovermode": "x unified", "yaxis": axis, "shapes": [level] if name == "sharpe" else []}
        drawn[f"rolling-{name}"] = {"data": [_line(at, values, said, "@line", shown, 1.3)], "layout": layout, "fixed": not np.isfinite(values).any()}
    return drawn


def _exposure(times: IntArray, gross: FloatArray, net: FloatArray) -> dict[str, Any]:
    kept = thin_alike((gross, net))
    held = bool((gross > 0.0).any())
    layout = {"hovermode": "x unified", "yaxis": {"tickformat": ".3~%", "rangemode": "tozero", **({} if held else {"range": [0, 1]})}}
    area = {"fill": "tozeroy", "fillcolor": "@line/0.12"}
    if np.array_equal(gross, net, equal_nan=True):
        return {"data": [_line(times[kept], net[kept], "net and gross", "@line", "%{y:.2%}", 1.2, **area)], "layout": layout, "fixed": not held}
    return {
        "data": [
            _line(times[kept], gross[kept], "gross", "@line", "%{y:.2%}", 1.2, **area),
            _line(times[kept], net[kept], "net", "@sell", "%{y:.2%}", 1.2),
        ],
        "layout": layout,
        "key": [["gross", "@line"], ["net", "@sell"]],
    }


# --- Prices, with fills and regimes


def _instruments(result: Result, times: IntArray, when: str) -> list[dict[str, Any]]:
    """The most traded instruments (if none was traded, the first), each with its closes, its fills, and its regimes if the strategy plotted some."""
    tape = result.tape
    by_symbol: dict[str, list[FillRow]] = {}
    # Of very many trades none is drawn.
    for fill in () if result.is_vast else result.fills:
        if fill.bar >= result.rows:
            break  # of a bar that was interrupted
        by_symbol.setdefault(fill.symbol, []).append(fill)
    traded = {symbol: sum(abs(fill.quantity) * fill.price for fill in fills) for symbol, fills in by_symbol.items()}
    most_traded = sorted(traded, key=lambda symbol: (-traded[symbol], symbol))[:INSTRUMENTS_MAX] or [tape.instruments[0].symbol]
    points, markers = max(POINTS_LEAST, POINTS_MAX // len(most_traded)), MARKERS_MAX // len(most_traded)
    drawn = []
    for symbol in most_traded:
        closes = tape.picked("close", tape.index[symbol], result.rows)
        known = np.flatnonzero(~np.isnan(closes))
        kept = known[thin(closes[known], points)]
        fills = by_symbol.get(symbol, [])
        buys, sells = [fill for fill in fills if fill.quantity > 0], [fill for fill in fills if fill.quantity < 0]
        shown = [_markers(buys, times, markers, "buy", when), _markers(sells, times, markers, "sell", when)]
        name = escape(symbol)
        line = _line(times[kept], closes[kept], name, "@muted", f"%{{y:,.6~g}}<br>%{{x|{when}}}", 1.2)
        scale = _log_scale(float(closes[known].min()), float(closes[known].max()), words.plain) if len(known) else {}
        ribbon = next((result.plots[chart] for chart in (f"regime {symbol}", "regime") if _is_regime(result, chart)), None)
        drawn.append(
            {
                "symbol": name,
                "price": {"data": [line, *shown], "layout": {"yaxis": {"tickformat": ",~g"}}, **scale},
                "regime": None if ribbon is None else _regime(times, ribbon, points, tape.interval // 1_000_000),
                "note": f"▲ {_shown(buys, shown[0], 'buy')}, ▼ {_shown(sells, shown[1], 'sell')}.",
            }
        )
    return drawn


def _markers(fills: Sequence[FillRow], times: IntArray, most: int, side: str, when: str) -> dict[str, Any]:
    """These fills, or so many of them, evenly spaced."""
    kept = [fills[k] for k in np.linspace(0, len(fills) - 1, min(len(fills), most)).astype(np.int64).tolist()]
    many = len(kept) > 200
    size = 5 if many else 8 if len(kept) > 40 else 11
    marker = {
        "symbol": "triangle-up" if side == "buy" else "triangle-down",
        "size": size,
        "opacity": 0.7 if many else 1,
        "color": f"@{side}",
        "line": {"color": "@paper", "width": 0 if many else 1},
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [int(times[fill.bar]) for fill in kept],
        "y": _rounded(fill.price for fill in kept),
        "text": [f"{'bought' if fill.quantity > 0 else 'sold'} {words.plain(abs(fill.quantity))} at {words.plain(fill.price)}" for fill in kept],
        "name": side,
        "cliponaxis": False,
        "hovertemplate": f"%{{text}}<br>%{{x|{when}}}<extra></extra>",
        "marker": marker,
    }


def _shown(fills: Sequence[FillRow], shown: Mapping[str, Any], noun: str) -> str:
    drawn = len(shown["x"])
    return words.count(len(fills), noun) if drawn == len(fills) else f"{drawn:,} of {words.count(len(fills), noun)}"


def _is_regime(result: Result, chart: str) -> bool:
    """Whether the strategy plotted a chart of this name, and its series are probabilities of two to nine states."""
    lines = list(result.plots.get(chart, {}).values())
    if not 2 <= len(lines) <= STATES_MAX or any(not np.array_equal(rows, lines[0][0]) for rows, _ in lines):
        return False
    chances = np.array([values for _, values in lines])
    return bool((chances >= 0.0).all() and (np.abs(chances.sum(axis=0) - 1.0) <= 1e-6).all())


def _regime(times: IntArray, lines: Lines, most: int, interval: int) -> dict[str, Any]:
    """A strip in the colour of the most probable state, over the probabilities of all as a stacked area."""
    chances = np.array([values for _, values in lines.values()])
    rows = next(iter(lines.values()))[0]
    kept = thin_alike(list(chances), most)
    x, states = times[rows[kept]], len(chances)
    colours = [f"@state-{round((STATES_MAX - 1) * k / (states - 1))}" for k in range(states)]
    likely = chances[:, kept].argmax(axis=0)
    first = np.flatnonzero(np.diff(likely, prepend=-1))
    strip = {
        "type": "heatmap",
        # The borders of its cells: a bar's state holds until the next close.
        "x": [*x[first].tolist(), int(x[-1]) + interval],
        "y": [0, 1],
        "z": [likely[first].tolist()],
        "zmin": -0.5,
        "zmax": states - 0.5,
        "colorscale": [[at / states, colour] for k, colour in enumerate(colours) for at in (k, k + 1)],
        "showscale": False,
        "hoverinfo": "skip",
        "yaxis": "y2",
    }
    areas = [
        _line(x, chances[k, kept], escape(name), colours[k], "%{y:.1%}", 0.0, stackgroup="states", fillcolor=colours[k])
        for k, name in enumerate(lines)
    ]
    return {
        "data": [*areas, strip],
        "layout": {
            "hovermode": "x unified",
            "yaxis": {"tickformat": ".0%", "range": [0, 1], "domain": [0, 0.78], "tickvals": [0, 0.5, 1], "showgrid": False},
            "yaxis2": {"range": [0, 1], "domain": [0.86, 1], "fixedrange": True, "visible": False},
        },
        "key": [[escape(name), colour] for name, colour in zip(lines, colours, strict=True)],
        "fixed": True,
    }


# --- What else the strategy plotted


def plotted(result: Result) -> list[str]:
    """The names of the strategy's charts that are drawn as lines: all but the regimes."""
    regimes = {"regime", *(f"regime {x.symbol}" for x in result.tape.instruments)}
    return [name for name in result.plots if not (name in regimes and _is_regime(result, name))]


def _plot(times: IntArray, lines: Lines, most: int) -> dict[str, Any]:
    data, points = [], max(POINTS_LEAST, most // len(lines))
    for k, (name, (rows, values)) in enumerate(lines.items()):
        kept = thin(values, points)
        data.append(_line(times[rows[kept]], values[kept], escape(name), f"@line-{k % COLOURS_OF_LINES}", "%{y:,.6~g}", 1.3))
    key = [[line["name"], line["line"]["color"]] for line in data]
    return {"data": data, "layout": {"hovermode": "x unified", "yaxis": {"tickformat": ",~g"}}, "key": key}
