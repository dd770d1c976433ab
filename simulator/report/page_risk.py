"""What the report page says of returns and risk: months, drawdowns, worst periods, exposure, regimes, and where risk comes from."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.report import metrics, words
from simulator.report.holdings import turnover_of
from simulator.report.markup import note, table
from simulator.report.risk_shares import risk_shares
from simulator.report.rolling import by_regime

if TYPE_CHECKING:
    from simulator.report.benchmark import Benchmark
    from simulator.report.results import Result

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STRONGEST: Final = {"M": 0.1, "Y": 0.4}
"""The return, of a month and of a year, from which on a cell has its strongest colour."""

PERIODS: Final = ("session", "week", "month", "quarter", "year")
RISKS_MAX: Final = 20
"""Of more instruments than this, those with most risk and least are shown."""


def month_table(result: Result, against: Benchmark) -> str:
    """The return of each month and year, in colours."""
    sessions, paths = result.tape.sessions[: result.rows], (result.equity, against.equity)
    months = metrics.calendar_returns(result.equity, sessions, result.cash_start, "M")
    years, held = (metrics.calendar_returns(path, sessions, result.cash_start, "Y") for path in paths)

    def cell(value: float | None, unit: str, kind: str = "n") -> str:
        if value is None or isnan(value):
            return f'<td class="{kind}">{"" if value is None else "—"}</td>'
        text = words.number(100.0 * value, 0 if abs(value) >= 10.0 else 1, 1e6)
        if text in ("0.0", "−0.0"):
            return f'<td class="{kind} zero">0.0</td>'
        strength = round(55 * min(abs(value) / STRONGEST[unit], 1.0))
        return f'<td class="{kind} {"up" if value > 0.0 else "down"}" style="--a:{strength}%">{text}</td>'

    rows = "\n".join(
        f'<tr><th class="w" scope="row">{1970 + year}</th>{"".join(cell(months.get(12 * year + k), "M") for k in range(12))}'
        f"{cell(total, 'Y', 'n y')}{cell(held[year], 'Y')}</tr>"
        for year, total in years.items()
    )
    head = "".join(f'<th class="n" scope="col">{name}</th>' for name in (*MONTHS, "Year"))
    cells = (
        f'<table>\n<thead><tr><th class="w"></th>{head}<th class="n h" scope="col">Benchmark</th></tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
    )
    below = note("Percent, of the strategy after costs. The first and the last month may be parts of one.")
    return f'<div class="wide months">{cells}</div>{below}'


def deepest(result: Result) -> list[tuple[str, str, str, str, str]]:
    """The deepest drawdowns in words: peak, trough, recovery, depth, sessions."""
    sessions = result.tape.sessions[: result.rows]
    ends = metrics.session_ends(sessions)
    days = ["the start", *(words.date(day) for day in sessions[ends])]
    return [
        (
            days[fall.start],
            days[fall.trough],
            "still open" if fall.recovery is None else days[fall.recovery],
            words.percent(fall.depth),
            f"{fall.duration:,}",
        )
        for fall in metrics.drawdowns(np.concatenate(([result.cash_start], result.equity[ends])))
    ]


def drawdown_table(result: Result) -> str:
    """The five deepest drawdowns."""
    falls = deepest(result)
    if not falls:
        return note("Equity never fell below an earlier session close.")
    below = note("Of the strategy, at session closes. Length is from the peak to the recovery, or to the end.")
    return "<h3>The five deepest</h3>\n" + table(("Peak", "Trough", "Recovery", "Depth", "Sessions"), falls, 3) + below


def exposed(gross: np.ndarray, net: np.ndarray) -> str:
    """How much was held, in a sentence."""
    known = ~np.isnan(gross)
    if not known.any():
        return "Undefined: equity was never above 0."
    held, most = float(np.mean(gross[known] > 0.0)), float(gross[known].max())
    sides = f"gross {words.percent(float(gross[known].mean()), 1)} on average and {words.percent(most, 1)} at most"
    span = f"net from {words.percent(float(net[known].min()), 1)} to {words.percent(float(net[known].max()), 1)}"
    return f"Value of positions as a share of equity at bar closes: in the market on {words.percent(held, 1)} of them, {sides}, {span}."


def turned(result: Result) -> str:
    """How much was traded of what was held, in a sentence."""
    found = turnover_of(result)
    if found.reason:
        return f"Turnover is undefined: {found.reason}."
    return (
        f"Turnover a session: {words.percent(found.value)} of the mean market value held at the closes before and after it, buys and sells together; "
        f"one-sided {words.percent(found.value / 2.0)}."
    )


def regime_table(result: Result, against: Benchmark) -> str:
    """How the run did in each regime that it saw; nothing where it plotted none."""
    found = by_regime(result, against.equity)
    if not found:
        return ""
    heads = ("Regime at the close before", "Sessions", "Share", "Return", "Benchmark", "A year", "Volatility", "Sharpe", "Worst session")
    rows = [
        (
            each.name,
            f"{each.sessions:,}",
            words.percent(each.share, 1),
            *(words.percent(x.value) for x in (each.returned, each.benchmark, each.annual, each.volatility)),
            words.ratio(each.sharpe.value),
            words.percent(each.worst),
        )
        for each in found
    ]
    below = note("A session counts to the state that was most probable at the close before it, so that what it returned could not be known.")
    return "\n<h3>Returns by regime</h3>\n" + table(heads, rows) + below


def period_table(result: Result, against: Benchmark) -> str:
    """The worst and the best session, week, month, quarter and year, and what the benchmark did in each."""
    sessions = result.tape.sessions[: result.rows]
    months = sessions.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    # 1970-01-01 was a Thursday; weeks begin on Mondays.
    keys = dict(zip(PERIODS, (sessions, (sessions + 3) // 7, months, months // 3, months // 12), strict=True))
    rows = []
    for period, places in keys.items():
        ours, its = (metrics.session_returns(path[: result.rows], places, result.cash_start) for path in (result.equity, against.equity))
        if len(ours) < 3 or not np.isfinite(ours).all():
            continue
        days = sessions[metrics.session_ends(places)]
        cells = [f"{period.capitalize()}s: {len(ours):,}"]
        for k in (int(ours.argmin()), int(ours.argmax())):
            cells += [words.percent(float(ours[k])), words.percent(float(its[k])), words.date(int(days[k]))]
        rows.append(cells)
    if not rows:
        return ""
    heads = ("", "Worst", "Benchmark", "Its end", "Best", "Benchmark", "Its end")
    return table(heads, rows) + note("By the calendar, after costs, at session closes. The first and the last may be parts of one.")


def risk_table(result: Result) -> str:
    """Each instrument's share of the variance of returns, where there is more than one."""
    found = risk_shares(result)
    if len(found) < 2:
        return ""
    left_out = max(len(found) - RISKS_MAX, 0)
    some = [*found[: RISKS_MAX // 2], *found[-RISKS_MAX // 2 :]] if left_out else found
    rows = [
        (x.symbol, words.percent(x.share, 1), words.percent(x.volatility), words.percent(x.weight, 1), words.percent(x.weight_max, 1)) for x in some
    ]
    more = f"Those with the most and the least; {left_out:,} between them are left out." if left_out else ""
    how = "The share of each in the variance of session returns, by what was held at the close before; all shares sum to 100 %. Below 0 is a hedge."
    return table(("Instrument", "Share of risk", "Volatility, a year", "Mean weight", "Largest weight"), rows) + note(how, more)
