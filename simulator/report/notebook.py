"""A run in a notebook: its headline figures and its equity, in a few kilobytes that need nothing else."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.report import metrics, words
from simulator.report.benchmark import benchmark
from simulator.report.drawing import PLOT_STYLE, Line, key, plot

if TYPE_CHECKING:
    from simulator.report.results import Result

FIGURES: Final = {
    "cumulative_return": "Return",
    "max_drawdown": "Maximum drawdown",
    "sharpe": "Sharpe ratio",
    "volatility": "Volatility",
}
STYLE: Final = (
    ".tradewind { --line: #27507a; --benchmark: #a3874d; --rule: #8884; --muted: #888; --high: 200px; max-width: 760px;"
    " font: 14px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }\n"
    "@media (prefers-color-scheme: dark) { .tradewind { --line: #86b3de; --benchmark: #c4a765; } }\n"
    ".tradewind table { border-collapse: collapse; margin: 6px 0 14px; }\n"
    ".tradewind td, .tradewind th { padding: 2px 18px 2px 0; text-align: right; font-weight: 400; background: none; }\n"
    ".tradewind td:first-child { text-align: left; } .tradewind th { color: var(--muted); }\n"
    ".tradewind .key span { margin-right: 16px; }\n"
)


def snippet(result: Result) -> str:
    """HTML of the run: what it was, its figures between the ends of their intervals, beside the benchmark, and both curves."""
    tape, rows = result.tape, result.rows
    name = result.scenario.title if result.scenario else words.symbols(result)
    if not rows:
        return f'<div class="tradewind"><b>{escape(name)}</b>: no bar was run.</div>'
    against = benchmark(result)
    ours, its = metrics.measures(result), metrics.measures(result, against.equity)
    chance = result.intervals
    sessions = tape.sessions[:rows]
    ends = metrics.session_ends(sessions)
    start = f"{words.money(result.cash_start)} {words.currency(result)}".rstrip()
    span = f"{words.date(int(sessions[0]))} to {words.date(int(sessions[-1]))}, {words.count(rows, 'bar')}, {words.count(len(result.fills), 'fill')}"
    lines = [("Final equity", words.money(float(result.equity[-1])), "", words.money(float(against.equity[rows - 1])))]
    for metric, label in FIGURES.items():
        say = words.ratio if metric == "sharpe" else words.percent
        ends_of = chance.figures.get(metric)
        sure = f"{say(ends_of.low)} to {say(ends_of.high)}" if ends_of else ""
        lines.append((label, say(ours[metric].value), sure, say(its[metric].value)))
    heads = ("", "Run", f"{words.percent(chance.level, 0)} of histories" if chance.figures else "", "Benchmark")
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in line)}</tr>" for line in lines)
    days = np.concatenate(([sessions[0] - 1], sessions[ends]))
    drawn = [
        Line(against.name, days, np.concatenate(([result.cash_start], against.equity[ends])), "benchmark"),
        Line("run", days, np.concatenate(([result.cash_start], result.equity[ends])), "line"),
    ]
    stopped = " It was stopped." if result.interrupted else ""
    own = PLOT_STYLE.replace("\n.", "\n.tradewind .")
    return (
        f'<div class="tradewind"><style>{STYLE}{own}</style>\n<div><b>{escape(name)}</b>: {escape(span)}, from {escape(start)}.{stopped}</div>\n'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>\n"
        f"{key(drawn)}\n{plot(drawn, 'Equity over time, of the run and of the benchmark', words.short, log=True)}</div>"
    )
