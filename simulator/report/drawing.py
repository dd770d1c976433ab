"""Line charts without a script: drawn in SVG, in the colours of the page's style, as wide as there is room.

The lines are stretched to their box and the labels are text beside them, so that both stay sharp on a phone, in print and in the dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final, NamedTuple

import numpy as np

from simulator.market.tape import FloatArray, IntArray
from simulator.report.charts import log_ticks, thin

POINTS: Final = 500
WIDTH, HEIGHT = 1000, 300
LOG_FROM: Final = 5.0
COLOURS: Final = 6
DASHES: Final = ("", "7 4", "2 3")

PLOT_STYLE: Final = """
.plot { position: relative; height: var(--high, 300px); margin: 0 0 26px 58px; border: solid var(--rule); border-width: 0 0 1px 1px;
  break-inside: avoid; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot path { fill: none; vector-effect: non-scaling-stroke; stroke-width: 1.5; stroke-linejoin: round; }
.plot line { stroke: var(--rule); vector-effect: non-scaling-stroke; }
.plot span { position: absolute; font-size: 12px; color: var(--muted); white-space: nowrap; }
.plot .y { right: 100%; margin-right: 7px; transform: translateY(50%); }
.plot .x { top: 100%; margin-top: 4px; transform: translateX(-50%); }
p.key:has(svg) { margin-bottom: 12px; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 22px 34px; }
.panels figure { margin: 0; break-inside: avoid; }
.panels figcaption { font-size: 14px; margin: 0 0 6px; display: flex; justify-content: space-between; gap: 12px; }
.panels figcaption span { color: var(--muted); white-space: nowrap; }
.panels .plot { --high: 110px; margin-left: 46px; margin-bottom: 22px; }
.key svg { width: 22px; height: 10px; margin-right: 7px; }
.key path { stroke-width: 2.5; }
"""


class Line(NamedTuple):
    """A line: its name, its days (since 1970, (n,)), its values there, its colour in the page's style, and its dashes, if it has some."""

    name: str
    days: IntArray
    values: FloatArray
    colour: str
    dashes: str = ""


def colour_of(k: int) -> tuple[str, str]:
    """The colour and the dashes of the k-th of many lines: no two of the first 18 are alike."""
    return f"line-{k % COLOURS}", DASHES[k // COLOURS % len(DASHES)]


def plot(lines: Sequence[Line], label: str, say: Callable[[float], str], *, log: bool = False, x_ticks: int = 6, y_ticks: int = 5) -> str:
    """The lines in one box; *say* writes a value on the scale, which is logarithmic where *log* allows it and the range is wide."""
    known = [line for line in lines if np.isfinite(line.values).any()]
    if not known:
        return ""
    values = np.concatenate([line.values[np.isfinite(line.values)] for line in known])
    low, high = float(values.min()), float(values.max())
    logged = log and low > 0.0 and high > LOG_FROM * low
    ticks = log_ticks(low, high) if logged else even_ticks(low, high, y_ticks)
    if logged:
        ticks = ticks[:: ceil(len(ticks) / y_ticks)]
    else:
        low, high = min(low, ticks[0]), max(high, ticks[-1])
    first, last = min(int(line.days[0]) for line in known), max(int(line.days[-1]) for line in known)

    def up(value: FloatArray | float) -> FloatArray:
        ends = (np.log(low), np.log(high)) if logged else (low, high)
        return np.asarray((np.log(value) if logged else np.asarray(value)) - ends[0]) / ((ends[1] - ends[0]) or 1.0)

    def across(day: IntArray | int) -> FloatArray:
        return np.asarray(day - first) / max(last - first, 1)

    drawn = []
    for value in ticks:
        y = HEIGHT * (1.0 - float(up(value)))
        drawn.append(f'<line x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for line in known:
        kept = thin(line.values, POINTS)
        kept = kept[np.isfinite(line.values[kept])]
        x, y_ = WIDTH * across(line.days[kept]), HEIGHT * (1.0 - up(line.values[kept]))
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y_.tolist(), strict=True))
        dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
        drawn.append(f'<path style="stroke:var(--{line.colour})"{dashes} d="M{path}"><title>{escape(line.name)}</title></path>')
    labels = [f'<span class="y" style="bottom:{100.0 * float(up(value)):.1f}%">{escape(say(value))}</span>' for value in ticks]
    labels += [f'<span class="x" style="left:{100.0 * float(across(day)):.1f}%">{text}</span>' for day, text in date_ticks(first, last, x_ticks)]
    box = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{"".join(drawn)}</svg>'
    return f'<div class="plot" role="img" aria-label="{escape(label)}">{box}{"".join(labels)}</div>'


def key(lines: Sequence[Line]) -> str:
    """The names of lines beside a piece of each."""
    items = []
    for line in lines:
        dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
        piece = f'<svg viewBox="0 0 22 10" aria-hidden="true"><path style="stroke:var(--{line.colour})"{dashes} d="M0 5L22 5"/></svg>'
        items.append(f"<span>{piece}{escape(line.name)}</span>")
    return f'<p class="key">{"".join(items)}</p>'


def even_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers in even steps, at most so many, from the last at or below *low* to the first at or above *high*."""
    span = (high - low) or max(abs(high), 1.0)
    size = 10.0 ** floor(log10(span / max(most - 1, 1)))
    for part in (1.0, 2.0, 5.0, 10.0, 20.0):
        step = part * size
        first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
        if last - first + 1 <= most:
            break
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def date_ticks(first: int, last: int, most: int) -> list[tuple[int, str]]:
    """First days of years, quarters or months between two days, at most so many, with their names; of a shorter span its two ends."""
    for months in (1, 2, 3, 6, 12, 24, 60, 120, 240):
        begun = int(np.datetime64(first, "D").astype("datetime64[M]").astype(np.int64))
        ended = int(np.datetime64(last, "D").astype("datetime64[M]").astype(np.int64))
        found = range(begun - begun % months, ended + 1, months)
        days = [(int(np.datetime64(month, "M").astype("datetime64[D]").astype(np.int64)), month) for month in found]
        days = [(day, month) for day, month in days if first <= day <= last]
        if len(days) <= most:
            break
    if len(days) < 2:
        return [(day, str(np.datetime64(day, "D"))) for day in ((first, last) if last > first else (first,))]
    return [(day, str(1970 + month // 12) if months >= 12 else str(np.datetime64(month, "M"))) for day, month in days]
