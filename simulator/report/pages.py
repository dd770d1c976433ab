"""The report of a run: one self-contained HTML page that asks nobody outside for anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from math import ceil, isnan, sqrt
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from simulator.market.tape import DAY, SECOND
from simulator.report import metrics
from simulator.report.folders import Costs, costs

if TYPE_CHECKING:
    from simulator.market.tape import FloatArray, IntArray, Truth
    from simulator.report.metrics import Measured
    from simulator.report.results import FillRow, Result
    from simulator.scenarios import Scenario

POINTS_MAX: Final = 5_000
MARKERS_MAX: Final = 1_000
INSTRUMENTS_MAX: Final = 8

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
}

WHAT_A_BAR_CANNOT_TELL: Final = (
    "A bar has four prices and no path between them: whether its high came before its low is not known. Orders that hang on it are decided by rule.",
    "A bar’s volume is all that traded in it, at any price; how much stood at one price, and who was first in the queue, is not known.",
    "History does not answer: our trades move no later price.",
    "What is held at the end is valued at its last close, and not sold.",
)


def report(result: Result) -> str:
    """The page: what ran, headline numbers, equity, drawdown, prices with fills, costs, orders, caveats and assumptions.

    The same run gives the same text. Long series are thinned for drawing and keep their extremes; the numbers are computed from all of them.
    """
    from plotly.offline import get_plotlyjs

    measured, spent = metrics.measures(result), costs(result)
    title = (result.scenario.title or result.scenario.name) if result.scenario else _symbols(result)
    drawn = _charts(result) if result.rows else {}
    # "<" cannot end the script element early when it is written as an escape.
    payload = json.dumps(drawn, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    body = "\n".join(
        (
            _header(result, title),
            _headline(result, measured, spent),
            _drawings(result, drawn),
            _section("Drawdowns", _drawdown_table(result)),
            _section("Costs", _cost_table(result, spent)),
            _section("Orders", _order_tables(result)),
            _section("Halts", _halt_table(result)),
            _section("Metrics, and how each is defined", _metric_table(result, measured)),
            _section("Data: caveats and notes", _list([*_truth(result.tape.truth), *dict.fromkeys(result.notes)])),
            _section("What was assumed", _list([*_assumptions(result), *WHAT_A_BAR_CANNOT_TELL])),
            _footer(result),
        )
    )
    scripts = f'<script type="application/json" id="drawn">{payload}</script>\n<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script>'
    head = f"<head>\n{HEAD}\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>"
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n<main>\n{body}\n</main>\n{scripts}\n</body>\n</html>\n'


# --- Numbers and words for people


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _percent(value: float, digits: int = 2) -> str:
    return "—" if isnan(value) else _minus(f"{100.0 * value:,.{digits}f} %")


def _ratio(value: float) -> str:
    return "—" if isnan(value) else _minus(f"{value:,.2f}")


def _money(value: float) -> str:
    return "—" if isnan(value) else _minus(f"{value:,.0f}" if abs(value) >= 100_000.0 else f"{value:,.2f}")


def _plain(value: float) -> str:
    """A price or a quantity with the digits that it has."""
    return _minus(f"{value:,.10g}")


def _measure(found: Measured, kind: str) -> str:
    return _percent(found.value) if kind == "percent" else _ratio(found.value)


def _date(session: int) -> str:
    day = datetime.fromtimestamp(int(session) * 86_400, UTC)
    return f"{day.day}\u00a0{day:%b %Y}"


def _moment(at: int) -> str:
    moment = datetime.fromtimestamp(int(at) // SECOND, UTC)
    return f"{moment.day}\u00a0{moment:%b %Y, %H:%M} UTC"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _currency(result: Result) -> str:
    """The currency of all instruments, where they have one."""
    known = {x.currency for x in result.tape.instruments}
    return known.pop() if len(known) == 1 else ""


def _symbols(result: Result) -> str:
    """The instruments, or how many there are."""
    tape = result.tape
    return ", ".join(x.symbol for x in tape.instruments) if tape.width <= 3 else _count(tape.width, "instrument")


def _bars(interval: int) -> str:
    """A bar's length as an adjective."""
    if interval == DAY:
        return "daily"
    for length, unit in ((DAY, "day"), (3_600 * SECOND, "hour"), (60 * SECOND, "minute"), (SECOND, "second")):
        if interval % length == 0:
            return f"{interval // length}-{unit}"
    return f"{interval / SECOND:g}-second"


def _settings(parameters: Mapping[str, object]) -> str:
    """Parameters as a short list of words."""
    parts = []
    for key, value in parameters.items():
        shown = f"({_settings(value)})" if isinstance(value, Mapping) else f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(f"{key.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def _section(heading: str, inner: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{inner}\n</section>" if inner else ""


def _list(sentences: Iterable[str]) -> str:
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>\n{items}\n</ul>" if items else "<p>None.</p>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table of text, which is escaped here; its first *words* columns are words, the others numbers."""
    kinds = ["w" if k < words else "n" for k in range(len(heads))]
    head = "".join(f'<th class="{kind}" scope="col">{escape(text)}</th>' for kind, text in zip(kinds, heads, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f'<td class="{kind}">{escape(text)}</td>' for kind, text in zip(kinds, row, strict=True)) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


# --- Sections


def _header(result: Result, title: str) -> str:
    tape, rows, scenario = result.tape, result.rows, result.scenario
    span = f", {_date(tape.sessions[0])} to {_date(tape.sessions[rows - 1])}" if rows else ""
    what = (
        f"{_symbols(result)}{span}: {rows:,} {_bars(tape.interval)} bars. Starting capital {_money(result.cash_start)} {_currency(result)}".rstrip()
        + "."
    )
    lines = [f'<p class="over">Backtest</p>\n<h1>{escape(title)}</h1>\n<p class="lede">{escape(what)}</p>']
    if scenario:
        lines.append(f'<p class="lede">{_choices(scenario)}</p>')
    if result.interrupted:
        lines.append(f'<p class="warning">This run was stopped after {rows:,} of {len(tape):,} bars. What follows covers those.</p>')
    return "<header>\n" + "\n".join(lines) + "\n</header>"


def _choices(scenario: Scenario) -> str:
    settings = _settings(scenario.strategy.parameters)
    return f"Strategy <b>{escape(scenario.strategy.name)}</b>{escape(f' ({settings})' if settings else '')}, broker {escape(scenario.broker.name)}."


def _headline(result: Result, measured: Mapping[str, Measured], spent: Costs) -> str:
    def card(label: str, name: str, note: str) -> tuple[str, str, str]:
        """A metric with a note, or with the reason why it has no value."""
        reason = measured[name].reason
        return label, _measure(measured[name], LABELS[name][1]), f"Undefined: {reason}" if reason else note

    last = float(result.equity[result.rows - 1]) if result.rows else result.cash_start
    periods = metrics.periods_of(result.tape.sessions[: result.rows])
    gain = f"{'A gain' if last >= result.cash_start else 'A loss'} of {_money(abs(last - result.cash_start))} {_currency(result)}".rstrip()
    yearly = f"{_percent(measured['annual_return'].value)} a year by sessions, {_percent(measured['cagr'].value)} by the calendar"
    lo = (
        ""
        if measured["sharpe_lo"].reason
        else f"; {_ratio(measured['sharpe_lo'].value)} with Lo’s correction, itself ±{_percent(_lo_error(result), 0)}"
    )
    worst = [
        f"{peak} to {trough}, {'still open' if recovery == 'still open' else f'recovered {recovery}'}"
        for peak, trough, recovery, *_ in _falls(result)[:1]
    ]
    traded = f"{_ratio(spent.bps(spent.total))} bps of {_money(spent.traded)} traded, in {_count(len(result.fills), 'fill')}"
    cards = (
        ("Final equity", _money(last), f"{gain} after all costs, open positions at their last close"),
        card("Total return", "cumulative_return", yearly),
        card("Maximum drawdown", "max_drawdown", "; ".join([*worst, "at session closes, starting capital included"])),
        card("Sharpe ratio", "sharpe", f"Risk-free rate 0{lo}"),
        card("Volatility", "volatility", f"Of session returns, {periods} a year"),
        ("Costs", _money(spent.total), traded if spent.traded else "Nothing was traded"),
    )
    items = "\n".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>" for name, value, note in cards)
    return f'<dl class="cards">\n{items}\n</dl>'


def _lo_error(result: Result) -> float:
    """The relative standard error of Lo's correction on independent returns, about sqrt(n / 3 N).

    Half of that of the variance of a sum with all lags of a year: sqrt(4 n / 3 N). Source: Priestley (1981), "Spectral Analysis and Time Series",
    section 6.2.4, for Bartlett's weights.
    """
    sessions = result.tape.sessions[: result.rows]
    return sqrt(metrics.periods_of(sessions) / (3.0 * len(metrics.session_ends(sessions))))


def _drawings(result: Result, drawn: Mapping[str, Any]) -> str:
    if not drawn:
        return _section("Equity", "<p>No bar was run, so there is nothing to draw.</p>")
    notes = "The dotted line is the starting capital." + (
        f" Drawn from {POINTS_MAX:,} of the points, extremes kept." if result.rows > POINTS_MAX else ""
    )
    prices: list[dict[str, Any]] = drawn["prices"]
    options = "".join(f'<option value="{k}">{price["symbol"]}</option>' for k, price in enumerate(prices))
    chosen = f'<label>Instrument <select id="instrument">{options}</select></label>' if len(prices) > 1 else ""
    more = f" The {len(prices)} most traded of {result.tape.width} instruments." if result.tape.width > len(prices) else ""
    return "\n".join(
        (
            '<noscript><p class="warning">The charts need JavaScript. All numbers are in the tables.</p></noscript>',
            _section("Equity", f'<div class="chart tall" id="equity" role="img" aria-label="Equity over time"></div>\n<p class="note">{notes}</p>'),
            _section(
                "Drawdown",
                '<div class="chart low" id="drawdown" role="img" aria-label="Drawdown over time"></div>\n'
                '<p class="note">Below the highest equity so far, at bar closes.</p>',
            ),
            _section(
                "Price and fills",
                f'{chosen}\n<div class="chart tall" id="price" role="img" aria-label="Price over time, with fills"></div>\n'
                f'<p class="note"><span id="fills"></span>{more}</p>',
            ),
        )
    )


def _falls(result: Result) -> list[tuple[str, str, str, str, str]]:
    """The deepest drawdowns in words: peak, trough, recovery, depth, sessions."""
    sessions = result.tape.sessions[: result.rows]
    ends = metrics.session_ends(sessions)
    days = ["the start", *(_date(day) for day in sessions[ends])]
    return [
        (
            days[fall.start],
            days[fall.trough],
            "still open" if fall.recovery is None else days[fall.recovery],
            _percent(fall.depth),
            f"{fall.duration:,}",
        )
        for fall in metrics.drawdowns(np.concatenate(([result.cash_start], result.equity[ends])))
    ]


def _drawdown_table(result: Result) -> str:
    falls = _falls(result)
    if not falls:
        return "<p>Equity never fell below an earlier session close.</p>"
    note = '<p class="note">The five deepest, at session closes. Length is from the peak to the recovery, or to the end.</p>'
    return _table(("Peak", "Trough", "Recovery", "Depth", "Sessions"), falls, 3) + note


def _cost_table(result: Result, spent: Costs) -> str:
    lines = (("Commission", spent.commission), ("Slippage", spent.slippage), ("Together", spent.total))
    rows = [(name, _money(value), _ratio(spent.bps(value)), _percent(value / result.cash_start)) for name, value in lines]
    sums = f"{_count(len(result.fills), 'fill')}, {_money(spent.traded)} traded, buys and sells together. Slippage is already in the price paid."
    note = f'<p class="note">{sums}</p>'
    return _table(("", f"Money {_currency(result)}".strip(), "Bps of traded value", "Of starting capital"), rows) + note


def _order_tables(result: Result) -> str:
    orders = result.orders
    if not orders:
        return "<p>No order was sent.</p>"
    ends = Counter((order.state, order.reason) for order in orders)
    rows = [
        (state.replace("_", " "), "" if state == reason else reason, f"{count:,}", _percent(count / len(orders), 1))
        for (state, reason), count in sorted(ends.items(), key=lambda x: (-x[1], x[0]))
    ]
    tables = _table(("State at the end", "Reason", "Orders", "Share"), rows, 2)
    waits = Counter(reason for order in orders for reason in sorted({reason for reason, _, _ in order.waits}))
    if waits:
        waited = [(reason, f"{count:,}") for reason, count in sorted(waits.items(), key=lambda x: (-x[1], x[0]))]
        tables += "\n<h3>What orders waited for</h3>\n" + _table(("Reason", "Orders"), waited)
    return tables


def _halt_table(result: Result) -> str:
    if not result.halts:
        return "<p>Trading was never halted.</p>"
    rows = [
        (_moment(halt.at), halt.measure.replace("_", " "), _money(halt.equity), "" if halt.measure == "resumed" else _money(halt.floor))
        for halt in result.halts
    ]
    return _table(("When", "What for", "Equity", "Floor"), rows, 2)


def _metric_table(result: Result, measured: Mapping[str, Measured]) -> str:
    conventions = {x.name: x.convention for x in metrics.METRICS}
    rows = "\n".join(
        f'<tr><td class="w">{LABELS[name][0]}</td><td class="n">{_measure(found, LABELS[name][1])}</td>'
        f'<td class="c">{f"<b>Undefined: {escape(found.reason)}.</b> " if found.reason else ""}{escape(_formula(conventions[name]))}</td></tr>'
        for name, found in measured.items()
    )
    sessions = result.tape.sessions[: result.rows]
    days, periods = len(metrics.session_ends(sessions)), metrics.periods_of(sessions)
    symbols = f"r are the {days:,} session returns, N their count, n = {periods} sessions a year, V the equity with the starting capital in front"
    note = f'<p class="note">{symbols}; rf and mar are 0 here.</p>'
    return f'<table class="metrics">\n<tbody>\n{rows}\n</tbody>\n</table>{note}'


def _formula(convention: str) -> str:
    """A convention, set as mathematics is."""
    return convention.replace(" - ", " − ").replace(" -1", " −1").replace("sqrt", "√").replace("^2", "²").replace("_k", "ₖ").replace("rho", "ρ")


def _truth(truth: Truth) -> list[str]:
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


def _assumptions(result: Result) -> list[str]:
    """What broker, account and limits took for granted."""
    sentences = list(result.assumptions)
    if result.scenario:
        account, limits = result.scenario.account, result.scenario.risk
        kind = (
            "A cash account: no shorts, no debt."
            if account.kind == "cash"
            else f"A margin account, up to {account.leverage_max:g} times equity; borrowing is free."
        )
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


def _footer(result: Result) -> str:
    lines = [("Run", result.run_id), ("Journal, SHA-256", result.hash)]
    if result.scenario:
        lines += [("Scenario", result.scenario.name), ("Seed", str(result.scenario.seed))]
    items = "\n".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in lines if value)
    return f"<footer>\n<dl>\n{items}\n</dl>\n</footer>"


# --- What is drawn


def thin(values: FloatArray, most: int = POINTS_MAX) -> IntArray:
    """At most *most* indices of *values*, in order, that keep the first, the last, and the lowest and highest of every stretch."""
    count = len(values)
    if count <= most:
        return np.arange(count, dtype=np.int64)
    width = ceil(count / ((most - 2) // 2))
    starts = np.arange(0, count, width, dtype=np.int64)
    padded = np.concatenate((values, np.full(len(starts) * width - count, values[-1])))
    block = padded.reshape(len(starts), width)
    kept = np.concatenate(([0, count - 1], starts + block.argmin(axis=1), starts + block.argmax(axis=1)))
    return np.unique(np.minimum(kept, count - 1)).astype(np.int64)


def _charts(result: Result) -> dict[str, Any]:
    """Everything that the page's script draws, with times in UTC milliseconds."""
    tape, rows = result.tape, result.rows
    daily = len(metrics.session_ends(tape.sessions[:rows])) == rows
    # A day's bar is drawn at its session's date: its close may already be the next day in UTC.
    times = tape.sessions[:rows] * (DAY // 1_000_000) if daily else tape.closed_at[:rows] // 1_000_000
    start = int(times[0]) - 86_400_000 if daily else int(tape.opened_at[0]) // 1_000_000
    moments = np.concatenate(([start], times))
    path = np.concatenate(([result.cash_start], result.equity[:rows]))
    under = path / np.maximum.accumulate(path) - 1.0
    return {
        "daily": daily,
        "capital": float(result.cash_start),
        "currency": escape(_currency(result)),
        "equity": _line(moments, path),
        "drawdown": _line(moments, under),
        "prices": _prices(result, times),
    }


def _line(times: IntArray, values: FloatArray, most: int = POINTS_MAX) -> dict[str, list[Any]]:
    kept = thin(values, most)
    return {"x": times[kept].tolist(), "y": _rounded(values[kept].tolist())}


def _rounded(values: Iterable[float]) -> list[float]:
    """Nine digits are more than a screen shows."""
    return [float(f"{value:.9g}") for value in values]


def _prices(result: Result, times: IntArray) -> list[dict[str, Any]]:
    """The most traded instruments (if none was traded, the first), each with its closes and its fills."""
    tape = result.tape
    by_symbol: dict[str, list[FillRow]] = {}
    for fill in result.fills:
        by_symbol.setdefault(fill.symbol, []).append(fill)
    traded = {symbol: sum(abs(fill.quantity) * fill.price for fill in fills) for symbol, fills in by_symbol.items()}
    most_traded = sorted(traded, key=lambda symbol: (-traded[symbol], symbol))[:INSTRUMENTS_MAX] or [tape.instruments[0].symbol]
    points, markers = POINTS_MAX // len(most_traded), MARKERS_MAX // len(most_traded)
    drawn = []
    for symbol in most_traded:
        closes = tape.close[: result.rows, tape.index[symbol]]
        known = np.flatnonzero(~np.isnan(closes))
        fills = by_symbol.get(symbol, [])
        buys, sells = [fill for fill in fills if fill.quantity > 0], [fill for fill in fills if fill.quantity < 0]
        shown = [_markers(some, times, markers) for some in (buys, sells)]
        drawn.append(
            {
                "symbol": escape(symbol),
                "line": _line(times[known], closes[known], max(points, 500)),
                "buys": shown[0],
                "sells": shown[1],
                "note": f"▲ {_shown(buys, shown[0], 'buy')}, ▼ {_shown(sells, shown[1], 'sell')}.",
            }
        )
    return drawn


def _markers(fills: Sequence[FillRow], times: IntArray, most: int) -> dict[str, list[Any]]:
    """These fills, or so many of them, evenly spaced."""
    kept = [fills[k] for k in np.linspace(0, len(fills) - 1, min(len(fills), most)).astype(np.int64).tolist()]
    return {
        "x": [int(times[fill.bar]) for fill in kept],
        "y": _rounded(fill.price for fill in kept),
        "text": [f"{'bought' if fill.quantity > 0 else 'sold'} {_plain(abs(fill.quantity))} at {_plain(fill.price)}" for fill in kept],
    }


def _shown(fills: Sequence[FillRow], shown: Mapping[str, Sequence[Any]], noun: str) -> str:
    count = len(shown["x"])
    return _count(len(fills), noun) if count == len(fills) else f"{count:,} of {_count(len(fills), noun)}"


# --- The page's own text

HEAD: Final = """<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">"""

STYLE: Final = """
:root { --paper: #fbfaf7; --ink: #1d1c1a; --muted: #6a665f; --rule: #e3dfd6; --line: #27507a; --loss: #ad4330; --buy: #1d7a5f; --sell: #bd5a17;
  --text: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --display: "Iowan Old Style", Charter, "Palatino Linotype", Palatino, Georgia, serif; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #151517; --ink: #e9e6e0; --muted: #a09b92; --rule: #303034; --line: #86b3de; --loss: #e2826c; --buy: #5cbd9b; --sell: #e7a066; } }
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%; }
body { margin: 0; font: 16px/1.55 var(--text); font-variant-numeric: tabular-nums; }
main { max-width: 1060px; margin: 0 auto; padding: 72px 40px 96px; }
h1 { font: 400 44px/1.12 var(--display); letter-spacing: -0.01em; margin: 6px 0 18px; text-wrap: balance; overflow-wrap: anywhere; }
h2 { font: 400 25px/1.2 var(--display); margin: 0 0 14px; }
h3 { font: 600 14px/1.4 var(--text); margin: 26px 0 8px; }
p, li { max-width: 72ch; text-wrap: pretty; }
p { margin: 0 0 10px; }
.over { font-size: 13px; letter-spacing: 0.09em; text-transform: uppercase; color: var(--muted); margin: 0; }
.lede { color: var(--muted); margin: 0 0 4px; max-width: 84ch; overflow-wrap: anywhere; }
.lede b { color: var(--ink); font-weight: 600; }
.note { color: var(--muted); font-size: 14px; margin: 10px 0 0; }
.warning { border-left: 3px solid var(--loss); padding: 6px 0 6px 14px; margin: 20px 0 0; }
section { margin-top: 64px; }
.cards { display: grid; grid-template-columns: repeat(3, 1fr); gap: 34px 40px; margin: 48px 0 0; padding: 34px 0;
  border: solid var(--rule); border-width: 1px 0; }
.cards dt { color: var(--muted); font-size: 14px; }
.cards dd { margin: 0; font: 400 36px/1.25 var(--display); font-variant-numeric: lining-nums tabular-nums; white-space: nowrap; }
.cards small { display: block; font: 13px/1.45 var(--text); color: var(--muted); margin-top: 4px; white-space: normal; }
.chart { width: 100%; }
.tall { height: 380px; }
.low { height: 220px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
th { font-weight: 400; font-size: 13px; color: var(--muted); }
th, td { padding: 9px 18px 9px 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: baseline; }
th.n, td.n { text-align: right; padding-right: 0; padding-left: 18px; }
td.n { white-space: nowrap; }
.metrics td.w { width: 30%; }
.metrics td.n { width: 12%; }
.metrics td.c { color: var(--muted); font-size: 13px; line-height: 1.45; padding: 9px 0 9px 28px; }
.metrics td.c b { font-weight: 500; color: var(--ink); }
ul { margin: 0; padding-left: 1.1em; }
li { margin: 0 0 7px; overflow-wrap: anywhere; }
label { display: block; font-size: 14px; color: var(--muted); margin-bottom: 6px; }
select { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--rule); border-radius: 4px;
  padding: 5px 8px; margin-left: 6px; max-width: 60vw; }
footer { margin-top: 72px; padding-top: 22px; border-top: 1px solid var(--rule); }
footer dl { margin: 0; }
footer div { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; color: var(--muted); }
footer dt { width: 130px; }
footer dd { margin: 0; font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; min-width: 0; }
@media (max-width: 720px) {
  main { padding: 36px 20px 64px; }
  h1 { font-size: 32px; }
  section { margin-top: 48px; }
  .cards { grid-template-columns: repeat(2, 1fr); gap: 26px 20px; margin-top: 32px; padding: 26px 0; }
  .cards dd { font-size: 26px; }
  .tall { height: 280px; }
  .low { height: 170px; }
  table { font-size: 14px; }
  th, td { padding-right: 12px; }
  th.n, td.n { padding-left: 12px; }
  .metrics tr { display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid var(--rule); padding: 8px 0; }
  .metrics td { border: 0; padding: 0; }
  .metrics td.w, .metrics td.n { width: auto; }
  .metrics td.c { grid-column: 1 / -1; padding: 2px 0 0; }
}
@media print { section { break-inside: avoid; } main { padding: 0; } }
"""

SCRIPT: Final = r"""
(() => {
  const drawn = JSON.parse(document.getElementById("drawn").textContent);
  if (!drawn.equity) return;
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const faint = (name, share) => colour(name) + Math.round(share * 255).toString(16).padStart(2, "0");
  const when = drawn.daily ? "%{x|%-d %b %Y}" : "%{x|%-d %b %Y %H:%M}";
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = { displayModeBar: false, responsive: true, showTips: false, doubleClick: "reset" };
  const charts = ["equity", "drawdown", "price"].map(id => document.getElementById(id));
  const picker = document.getElementById("instrument");
  const full = [drawn.equity.x[0], drawn.equity.x.at(-1)].map(at => new Date(at).toISOString());
  let range = full;

  const layout = (format, extra) => {
    const axis = { gridcolor: colour("rule"), linecolor: colour("rule"), zeroline: false,
      tickfont: { size: 12, color: colour("muted") } };
    return Object.assign({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 58, r: 4, t: 8, b: 30 }, showlegend: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
      hovermode: "closest", dragmode: touch ? false : "zoom",
      hoverlabel: { bgcolor: colour("paper"), bordercolor: colour("rule"), font: { color: colour("ink"), size: 13 }, align: "left" },
      xaxis: { ...axis, type: "date", showgrid: false, ticks: "outside", ticklen: 5, tickcolor: colour("rule"), nticks: innerWidth < 720 ? 5 : 10,
        range: range.slice(), autorange: false },
      yaxis: { ...axis, tickformat: format, side: "left", nticks: 7 },
    }, extra);
  };
  const line = (series, name, format, extra) => ({ type: "scatter", mode: "lines", x: series.x, y: series.y, name,
    line: { color: colour("line"), width: 1.6 }, hovertemplate: when + "<br>" + format + "<extra></extra>", ...extra });
  const fills = (series, name, shape) => {
    const many = series.x.length > 200, edge = { color: colour("paper"), width: many ? 0 : 1 };
    return { type: "scatter", mode: "markers", x: series.x, y: series.y, text: series.text, name, cliponaxis: false,
      hovertemplate: when + "<br>%{text}<extra></extra>",
      marker: { symbol: shape, size: many ? 5 : 12, opacity: many ? 0.7 : 1, color: colour(name), line: edge } };
  };

  const price = () => {
    const one = drawn.prices[picker ? Number(picker.value) : 0];
    document.getElementById("fills").textContent = one.note;
    return Plotly.react("price", [
      line(one.line, one.symbol, one.symbol + " %{y:,.6~g}", { line: { color: colour("muted"), width: 1.2 } }),
      fills(one.buys, "buy", "triangle-up"), fills(one.sells, "sell", "triangle-down"),
    ], layout(",~g"), config);
  };
  const draw = () => {
    const { capital, currency } = drawn, dotted = { color: colour("muted"), width: 1, dash: "dot" };
    const below = { line: { color: colour("loss"), width: 1.2 }, fill: "tozeroy", fillcolor: faint("loss", 0.16) };
    const start = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: capital, y1: capital, line: dotted }];
    return Promise.all([
      Plotly.react("equity", [line(drawn.equity, "equity", "%{y:,.2f} " + currency)], layout(",~s", { shapes: start }), config),
      Plotly.react("drawdown", [line(drawn.drawdown, "drawdown", "%{y:.2%}", below)], layout(".3~%"), config),
      price(),
    ]);
  };

  // A zoom in one chart is a zoom in all.
  const follow = (source, change) => {
    if (change["yaxis.autorange"] && !change["xaxis.range[0]"]) range = full;
    else if (change["xaxis.range[0]"]) range = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    else return;
    const moment = at => new Date(at).getTime();
    for (const chart of charts) {
      const now = chart.layout.xaxis.range;
      if (chart !== source && range.some((at, k) => moment(at) !== moment(now[k])))
        Plotly.relayout(chart, { "xaxis.range[0]": range[0], "xaxis.range[1]": range[1], ...(range === full ? { "yaxis.autorange": true } : {}) });
    }
  };
  draw().then(() => {
    for (const chart of charts) chart.on("plotly_relayout", change => follow(chart, change));
    document.documentElement.dataset.drawn = "yes";
  });
  if (picker) picker.addEventListener("change", price);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
"""
