"""What the report page rests on: how each metric is defined, the proof against look-ahead, what the data says of itself, and what was assumed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Final

from simulator.report import metrics
from simulator.report.markup import itemised, measured, note

if TYPE_CHECKING:
    from simulator.loop.prover import Certificate
    from simulator.market.tape import Truth
    from simulator.report.metrics import Measured
    from simulator.report.results import Result

    Measures = Mapping[str, Measured]

LABELS: Final[dict[str, tuple[str, str]]] = {
    "cumulative_return": ("Total return", "percent"),
    "annual_return": ("Annual return", "percent"),
    "cagr": ("Annual return, by calendar", "percent"),
    "volatility": ("Volatility", "percent"),
    "sharpe": ("Sharpe ratio", "ratio"),
    "sharpe_lo": ("Sharpe ratio, Lo’s correction", "ratio"),
    "sortino": ("Sortino ratio", "ratio"),
    "calmar": ("Calmar ratio", "ratio"),
    "omega": ("Omega ratio", "ratio"),
    "max_drawdown": ("Maximum drawdown", "percent"),
    "downside_risk": ("Downside risk", "percent"),
    "var_historical": ("Value at risk 5 %, historical", "percent"),
    "var_normal": ("Value at risk 5 %, normal", "percent"),
    "expected_shortfall": ("Expected shortfall 5 %, historical", "percent"),
    "expected_shortfall_normal": ("Expected shortfall 5 %, normal", "percent"),
    "tail_ratio": ("Tail ratio", "ratio"),
    "skew": ("Skew", "ratio"),
    "kurtosis": ("Excess kurtosis", "ratio"),
    "stability": ("Stability", "ratio"),
    "beta": ("Beta", "ratio"),
    "alpha": ("Alpha, a year", "percent"),
    "tracking_error": ("Tracking error", "percent"),
    "information_ratio": ("Information ratio", "ratio"),
    "treynor": ("Treynor ratio", "ratio"),
    "up_capture": ("Up capture", "percent"),
    "down_capture": ("Down capture", "percent"),
    "batting_average": ("Batting average", "percent"),
}

WHAT_A_BAR_CANNOT_TELL: Final = (
    "A bar has four prices and no path between them: whether its high came before its low is not known. Orders that hang on it are decided by rule.",
    "A bar’s volume is all that traded in it, at any price; how much stood at one price, and who was first in the queue, is not known.",
    "History does not answer: our trades move no later bar. Where a part of our impact is said to last, it moves what we pay, and no mark.",
    "What is held at the end is valued at its last close, and not sold.",
)


def metric_table(result: Result, ours: Measures, its: Measures) -> str:
    """Each metric beside the benchmark's, with its definition."""
    rows, relative = [], False
    for metric in metrics.METRICS:
        if metric.relative and not relative:
            rows.append('<tr><th class="g" colspan="4" scope="rowgroup">Against the benchmark</th></tr>')
        relative, (label, kind), found = metric.relative, LABELS[metric.name], ours[metric.name]
        than = "" if relative else measured(its[metric.name], kind)
        why = f"<b>Undefined: {escape(found.reason)}.</b> " if found.reason else ""
        rows.append(
            f'<tr><td class="w">{label}</td><td class="n">{measured(found, kind)}</td><td class="n">{than}</td>'
            f'<td class="c">{why}{escape(_formula(metric.convention))}</td></tr>'
        )
    sessions = result.tape.sessions[: result.rows]
    days, periods = len(metrics.session_ends(sessions)), metrics.periods_of(sessions)
    symbols = f"r are the {days:,} session returns, m the benchmark’s, N their count, n = {periods} sessions a year"
    below = note(f"{symbols}, V the equity with the starting capital in front; rf and mar are 0 here.")
    head = (
        '<th class="w"></th><th class="n" scope="col">Strategy</th><th class="n" scope="col">Benchmark</th><th class="c" scope="col">Definition</th>'
    )
    body = "\n".join(rows)
    return f'<table class="metrics">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>{below}'


def _formula(convention: str) -> str:
    """A convention, set as mathematics is."""
    return convention.replace(" - ", " − ").replace(" -1", " −1").replace("sqrt", "√").replace("^2", "²").replace("_k", "ₖ").replace("rho", "ρ")


def proof(certificate: Certificate) -> str:
    """What was tried to catch the run looking ahead, and what was found."""
    opening = "<p>" if certificate.passed else '<p class="warning">'
    found = f"{opening}{escape(certificate.verdict[0].upper() + certificate.verdict[1:])}</p>"
    differed = [*certificate.failures, *([certificate.fed_by] if certificate.fed_by else [])]
    plain = certificate.plain()
    tried = f"Replaced after each of these closes (UTC): {', '.join(plain['moments'])}. Each time it was {', '.join(certificate.futures)}."
    covered = f"Not covered: {'; '.join(certificate.not_covered)}. The journal that this is about: {certificate.journal_hash}."
    return found + (itemised(differed) if differed else "") + note(tried, covered)


def truths(truth: Truth) -> list[str]:
    """What the data says of itself, in sentences."""
    opens = {
        "traded": "Opens are traded prices.",
        "previous_close": "Many opens merely repeat the close before, so a fill at the open may be a fill at yesterday’s price.",
        "close_only": "There are closes only: open, high and low repeat them.",
    }
    return [
        f"Source: {truth.source}.",
        "Prices are adjusted: splits and dividends are worked into them."
        if truth.adjusted
        else "Prices are as traded, not adjusted for splits and dividends.",
        opens.get(truth.opens, f"Opens: {truth.opens}."),
        *(["There is no volume, so nothing caps what may be traded."] if truth.volume == "none" else []),
    ]


def assumptions(result: Result) -> list[str]:
    """What broker, account and limits took for granted."""
    sentences = list(result.assumptions)
    if result.scenario:
        account, limits = result.scenario.account, result.scenario.risk
        kind = "A cash account: no shorts, no debt." if account.kind == "cash" else f"A margin account, up to {account.leverage_max:g} times equity."
        known = {
            "gross exposure": limits.gross_max,
            "net exposure": limits.net_max,
            "one name": limits.name_max,
            "money an order": limits.notional_max,
            "drawdown": limits.drawdown_max,
            "daily loss": limits.daily_loss_max,
        }
        active = ", ".join(f"{name} {value:g}" for name, value in known.items() if value < float("inf"))
        sentences += [kind, f"Risk limits: {active}." if active else "No risk limits."]
    return sentences
