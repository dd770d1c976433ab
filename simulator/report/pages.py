"""The report of a run: one self-contained HTML page that asks nobody outside for anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isnan, sqrt
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from simulator.report import charts, execution, metrics, words
from simulator.report.attribution import ACCOUNT, attribution
from simulator.report.benchmark import benchmark, since_first_fill
from simulator.report.costs import Cost, statement
from simulator.report.folders import Costs, costs
from simulator.report.holdings import turnover_of
from simulator.report.rolling import by_regime
from simulator.report.template import HEAD, SCRIPT, STYLE
from simulator.report.trades import summarise
from simulator.report.uncertainty import FIGURES

if TYPE_CHECKING:
    from simulator.loop.prover import Certificate
    from simulator.market.tape import Truth
    from simulator.report.benchmark import Benchmark
    from simulator.report.deflated import Standing
    from simulator.report.metrics import Measured
    from simulator.report.results import Result
    from simulator.report.uncertainty import Uncertainty
    from simulator.scenarios import Scenario

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

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PARTS_MAX: Final = 20
"""Of more instruments than this, those that brought most and least are shown."""
STRONGEST: Final = {"M": 0.1, "Y": 0.4}
"""The return, of a month and of a year, from which on a cell has its strongest colour."""

SHORTFALLS_MAX: Final = 40
"""How many orders a table of shortfalls has."""

WHAT_A_BAR_CANNOT_TELL: Final = (
    "A bar has four prices and no path between them: whether its high came before its low is not known. Orders that hang on it are decided by rule.",
    "A bar’s volume is all that traded in it, at any price; how much stood at one price, and who was first in the queue, is not known.",
    "History does not answer: our trades move no later bar. Where a part of our impact is said to last, it moves what we pay, and no mark.",
    "What is held at the end is valued at its last close, and not sold.",
)


def report(result: Result, doubt: Uncertainty | None = None, standing: Standing | None = None, certificate: Certificate | None = None) -> str:
    """The page: what ran, headline numbers, equity against the benchmark, months, prices with fills and regimes, costs, caveats and assumptions.

    *doubt* is the fill interval, *standing* how the result stands among its trials, *certificate* the proof that it does not look ahead, where they
    are known. The same run gives the same text. Long series are thinned for drawing and keep their extremes; the numbers are computed from all.
    """
    from plotly.offline import get_plotlyjs

    against, spent = benchmark(result), costs(result)
    ours, its = metrics.measures(result, benchmark=against.equity), metrics.measures(result, against.equity)
    title = (result.scenario.title or result.scenario.name) if result.scenario else words.symbols(result)
    drawn = charts.figures(result, against)
    # "<" cannot end the script element early when it is written as an escape.
    payload = json.dumps(drawn, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    body = "\n".join(
        (
            _header(result, title),
            _headline(result, against, ours, its, spent),
            _luck(standing),
            *(_drawings(result, against, drawn) if drawn else [_section("Equity", "<p>No bar was run, so there is nothing to draw.</p>")]),
            _section("How sure it is", _sureness(result, doubt, standing)),
            _section("Round trips", _trip_table(result)),
            _section("Where the profit came from", _attribution_tables(result)),
            _section("Costs", _cost_table(result)),
            _section("Implementation shortfall", _shortfall_table(result)),
            _section("Orders", _order_tables(result)),
            _section("Halts", _halt_table(result)),
            _section("Metrics, and how each is defined", _metric_table(result, ours, its)),
            _section("Proof against look-ahead", _proof(certificate) if certificate else ""),
            _section("Data: caveats and notes", _list([*_truth(result.tape.truth), *dict.fromkeys(result.notes)])),
            _section("What was assumed", _list([*_assumptions(result), against.words, *WHAT_A_BAR_CANNOT_TELL])),
            _footer(result),
        )
    )
    scripts = f'<script type="application/json" id="drawn">{payload}</script>\n<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script>'
    head = f"<head>\n{HEAD}\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>"
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n<main>\n{body}\n</main>\n{scripts}\n</body>\n</html>\n'


# --- HTML


def _measure(found: Measured, kind: str) -> str:
    return _shown(found.value, kind)


def _shown(value: float, kind: str) -> str:
    return words.percent(value) if kind == "percent" else words.ratio(value)


def _section(heading: str, inner: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{inner}\n</section>" if inner else ""


def _list(sentences: Iterable[str]) -> str:
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>\n{items}\n</ul>" if items else "<p>None.</p>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], wordy: int = 1) -> str:
    """A table of text, which is escaped here; its first *wordy* columns are words, the others numbers."""
    kinds = ["w" if k < wordy else "n" for k in range(len(heads))]
    head = "".join(f'<th class="{kind}" scope="col">{escape(text)}</th>' for kind, text in zip(kinds, heads, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f'<td class="{kind}">{escape(text)}</td>' for kind, text in zip(kinds, row, strict=True)) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _chart(place: str, label: str, size: str, *, heading: str = "", beside: str = "", note: str = "") -> str:
    """The place of a figure: its heading, its key with *beside* right of it, itself and a note. Without a figure all of it is hidden."""
    top = f"<h3>{escape(heading)}</h3>\n" if heading else ""
    above = f'<div class="above"><p class="key" data-key="{place}"></p>{beside}</div>'
    return f'<div data-chart>\n{top}{above}\n<div class="chart {size}" id="{place}" role="img" aria-label="{escape(label)}"></div>\n{note}</div>'


def _log(place: str) -> str:
    """The switch of a figure between a linear and a log scale."""
    return f'<label class="switch"><input type="checkbox" data-log="{place}">Log scale</label>'


def _note(*sentences: str) -> str:
    return f'<p class="note">{escape(" ".join(x for x in sentences if x))}</p>'


# --- Sections


def _header(result: Result, title: str) -> str:
    tape, rows, scenario = result.tape, result.rows, result.scenario
    span = f", {words.date(tape.sessions[0])} to {words.date(tape.sessions[rows - 1])}" if rows else ""
    capital = f"Starting capital {words.money(result.cash_start)} {words.currency(result)}".rstrip()
    what = f"{words.symbols(result)}{span}: {rows:,} {words.bars(tape.interval)} bars. {capital}."
    lines = [f'<p class="over">Backtest</p>\n<h1>{escape(title)}</h1>\n<p class="lede">{escape(what)}</p>']
    if scenario:
        lines.append(f'<p class="lede">{_choices(scenario)}</p>')
    if result.interrupted:
        lines.append(f'<p class="warning">This run was stopped after {rows:,} of {len(tape):,} bars. What follows covers those.</p>')
    return "<header>\n" + "\n".join(lines) + "\n</header>"


def _choices(scenario: Scenario) -> str:
    settings = words.settings(scenario.strategy.parameters)
    return f"Strategy <b>{escape(scenario.strategy.name)}</b>{escape(f' ({settings})' if settings else '')}, broker {escape(scenario.broker.name)}."


def _headline(result: Result, against: Benchmark, ours: Measures, its: Measures, spent: Costs) -> str:
    chance = result.intervals

    def card(label: str, name: str, note: str) -> tuple[str, str, str, str]:
        """A metric beside the benchmark's, with a note, or with the reason why it has no value."""
        reason, kind, span = ours[name].reason, LABELS[name][1], chance.figures.get(name)
        sure = f"{words.percent(chance.level, 0)} from {_shown(span.low, kind)} to {_shown(span.high, kind)}. " if span else ""
        return label, _measure(ours[name], kind), f"Benchmark {_measure(its[name], kind)}", f"Undefined: {reason}" if reason else sure + note

    last, held = (float(path[result.rows - 1]) if result.rows else result.cash_start for path in (result.equity, against.equity))
    periods = metrics.periods_of(result.tape.sessions[: result.rows])
    gain = f"{'A gain' if last >= result.cash_start else 'A loss'} of {words.money(abs(last - result.cash_start))} {words.currency(result)}".rstrip()
    yearly = f"{words.percent(ours['annual_return'].value)} a year by sessions, {words.percent(ours['cagr'].value)} by the calendar"
    lo = (
        ""
        if ours["sharpe_lo"].reason
        else f"; {words.ratio(ours['sharpe_lo'].value)} with Lo’s correction, itself ±{words.percent(_lo_error(result), 0)}"
    )
    worst = [
        f"{peak} to {trough}, {'still open' if recovery == 'still open' else f'recovered {recovery}'}"
        for peak, trough, recovery, *_ in _falls(result)[:1]
    ]
    traded = f"{words.ratio(spent.bps(spent.total))} bps of {words.money(spent.traded)} traded, in {words.count(len(result.fills), 'fill')}"
    cards = (
        ("Final equity", words.money(last), f"Benchmark {words.money(held)}", f"{gain} after all costs, open positions at their last close"),
        card("Total return", "cumulative_return", yearly),
        card("Maximum drawdown", "max_drawdown", "; ".join([*worst, "at session closes, starting capital included"])),
        card("Sharpe ratio", "sharpe", f"Risk-free rate 0{lo}"),
        card("Volatility", "volatility", f"Of session returns, {periods} a year"),
        ("Costs", words.money(spent.total), "Benchmark none", traded if spent.traded else "Nothing was traded"),
    )
    items = "\n".join(
        f'<div><dt>{escape(name)}</dt><dd>{escape(value)}<span class="than">{escape(than)}</span><small>{escape(note)}</small></dd></div>'
        for name, value, than, note in cards
    )
    return f'<dl class="cards">\n{items}\n</dl>\n{_since(result, against)}'


def _luck(standing: Standing | None) -> str:
    return f'<p class="warning">{escape(standing.warning())}</p>' if standing and standing.warning() else ""


def _sureness(result: Result, doubt: Uncertainty | None, standing: Standing | None) -> str:
    """The headline figures as intervals: what chance makes of them, and what hangs on the paths inside the bars; and the count of trials."""
    found, parts = result.intervals, []
    if found.reason:
        parts.append(f"<p>Nothing can be resampled: {escape(found.reason)}.</p>")
    names = {name: LABELS[name] for name in FIGURES if name in found.figures or doubt}
    if names:
        share = words.percent(found.level, 0)
        heads = ("", "Result", *((f"{share} from", "to") if found.figures else ()), *(("Fills from", "to") if doubt else ()))
        spans = [{name: found.figures[name] for name in names}] if found.figures else []
        spans += [{name: doubt.figures[name] for name in names}] if doubt else []
        rows = [
            (
                label,
                *(_shown(value, kind) for value in (spans[0][name].chosen, *(end for span in spans for end in (span[name].low, span[name].high)))),
            )
            for name, (label, kind) in names.items()
        ]
        parts.append(_table(heads, rows))
    if found.figures:
        how = f"{found.histories:,} histories made of blocks of the run’s own sessions, {found.block:.1f} long on average (stationary bootstrap)"
        parts.append(_note(f"{share} of {how} lie between the ends."))
    if doubt:
        parts.append(
            _note(f"Fills: complete re-runs under each policy for the path inside a bar; {words.count(len(doubt.ambiguous), 'trade')} hang on it.")
        )
    if standing:
        parts.append(f"<h3>Trials</h3>\n<p>{escape(standing.counted())}. {escape(standing.sure())}.</p>")
        parts.append(
            _note("PSR is how probable a true Sharpe ratio above 0 is, DSR one above what the best of so many trials would show without skill.")
        )
    return "\n".join(parts)


def _since(result: Result, against: Benchmark) -> str:
    """How both did from the first fill on, for strategies that must first learn."""
    since = since_first_fill(result, against)
    if since is None:
        return ""
    closed = words.date(result.tape.sessions[since.row])
    returns = f"strategy {words.percent(since.strategy)}, benchmark {words.percent(since.benchmark)}"
    return f'<p class="since"><b>From the first fill on</b> (from the close before it, {closed}): {returns}.</p>'


def _lo_error(result: Result) -> float:
    """The relative standard error of Lo's correction on independent returns, about sqrt(n / 3 N).

    Half of that of the variance of a sum with all lags of a year: sqrt(4 n / 3 N). Source: Priestley (1981), "Spectral Analysis and Time Series",
    section 6.2.4, for Bartlett's weights.
    """
    sessions = result.tape.sessions[: result.rows]
    return sqrt(metrics.periods_of(sessions) / (3.0 * len(metrics.session_ends(sessions))))


def _drawings(result: Result, against: Benchmark, drawn: Mapping[str, Any]) -> list[str]:
    """The sections with figures, from equity to what the strategy plotted."""
    thinned = f"Drawn from {charts.POINTS_MAX:,} of the points, extremes kept." if result.rows > charts.POINTS_MAX else ""
    gross, net = result.exposure
    return [
        '<noscript><p class="warning">The charts need JavaScript. All numbers are in the tables.</p></noscript>',
        _section(
            "Equity against the benchmark",
            _chart("equity", "Equity over time, of the strategy and of the benchmark", "tall", beside=_log("equity"))
            + _note(against.words, "The dotted line is the starting capital.", _banded(result), thinned),
        ),
        _section(
            "Drawdowns",
            _chart("drawdown", "Drawdown over time, of the strategy and of the benchmark", "low")
            + _note("Below the highest equity so far, at bar closes.")
            + _drawdown_table(result),
        ),
        _section("Returns by month", _month_table(result, against)),
        _section("Price and fills", _price(result, drawn) + _regime_table(result, against)),
        _section("Exposure", _chart("exposure", "Gross and net exposure over time", "low") + _note(_exposed(gross, net), _turned(result))),
        _section("Plotted by the strategy", _plots(result)),
    ]


def _banded(result: Result) -> str:
    found = result.intervals
    return (
        f"The band holds {words.percent(found.level, 0)} of what the same returns, resampled, would have come to at each close."
        if found.figures
        else ""
    )


def _price(result: Result, drawn: Mapping[str, Any]) -> str:
    some: list[dict[str, Any]] = drawn["instruments"]
    options = "".join(f'<option value="{k}">{one["symbol"]}</option>' for k, one in enumerate(some))
    chosen = f'<label>Instrument <select id="instrument">{options}</select></label>' if len(some) > 1 else ""
    more = f" The {len(some)} most traded of {result.tape.width} instruments." if result.tape.width > len(some) else ""
    notes = f'<p class="note"><span id="fills"></span>{more}</p>'
    price = _chart("price", "Price over time, with fills", "tall", beside=chosen + _log("price"), note=notes)
    if not any(one["regime"] for one in some):
        return price
    strip = "The strip has the colour of the most probable state; the areas are the probabilities that the strategy put on record at each close."
    return price + "\n" + _chart("regime", "Probability of each regime over time", "ribbon", heading="Regimes", note=_note(strip))


def _exposed(gross: np.ndarray, net: np.ndarray) -> str:
    known = ~np.isnan(gross)
    if not known.any():
        return "Undefined: equity was never above 0."
    held, most = float(np.mean(gross[known] > 0.0)), float(gross[known].max())
    sides = f"gross {words.percent(float(gross[known].mean()), 1)} on average and {words.percent(most, 1)} at most"
    span = f"net from {words.percent(float(net[known].min()), 1)} to {words.percent(float(net[known].max()), 1)}"
    return f"Value of positions as a share of equity at bar closes: in the market on {words.percent(held, 1)} of them, {sides}, {span}."


def _turned(result: Result) -> str:
    found = turnover_of(result)
    if found.reason:
        return f"Turnover is undefined: {found.reason}."
    return (
        f"Turnover a session: {words.percent(found.value)} of the mean market value held at the closes before and after it, buys and sells together; "
        f"one-sided {words.percent(found.value / 2.0)}."
    )


def _regime_table(result: Result, against: Benchmark) -> str:
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
    note = _note("A session counts to the state that was most probable at the close before it, so that what it returned could not be known.")
    return "\n<h3>Returns by regime</h3>\n" + _table(heads, rows) + note


def _plots(result: Result) -> str:
    names = charts.plotted(result)
    places = [_chart(f"plot-{k}", name, "low", heading=name) for k, name in enumerate(names[: charts.PLOTS_MAX])]
    left_out = [_note(f"The first {charts.PLOTS_MAX} of {len(names)} charts; all are in plots.parquet.")] if len(names) > charts.PLOTS_MAX else []
    return "\n".join(places + left_out)


def _month_table(result: Result, against: Benchmark) -> str:
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
    table = (
        f'<table>\n<thead><tr><th class="w"></th>{head}<th class="n h" scope="col">Benchmark</th></tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
    )
    note = _note("Percent, of the strategy after costs. The first and the last month may be parts of one.")
    return f'<div class="wide months">{table}</div>{note}'


def _falls(result: Result) -> list[tuple[str, str, str, str, str]]:
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


def _drawdown_table(result: Result) -> str:
    falls = _falls(result)
    if not falls:
        return _note("Equity never fell below an earlier session close.")
    note = _note("Of the strategy, at session closes. Length is from the peak to the recovery, or to the end.")
    return "<h3>The five deepest</h3>\n" + _table(("Peak", "Trough", "Recovery", "Depth", "Sessions"), falls, 3) + note


def _cost_table(result: Result) -> str:
    told = statement(result)
    rows = [
        (cost.name, cost.assumed, words.money(cost.money), words.ratio(told.of_turnover(cost.money)), words.ratio(told.of_equity(cost.money)))
        for cost in (*told.costs, Cost("Together", told.total, ""))
    ]
    heads = ("", "Assumed", f"Money {words.currency(result)}".strip(), "Bps of turnover", "Bps of average equity")
    sums = f"{words.count(len(result.fills), 'fill')}, {words.money(told.traded)} traded, buys and sells together."
    average = f"Average equity at bar closes {words.money(told.equity)}."
    return _table(heads, rows, 2) + _note(sums, average, "Slippage and impact are already in the prices paid. What is below 0 was earned.")


def _trip_table(result: Result) -> str:
    closed, still = result.trips
    held = (
        f"Not among them: {words.count(len(still), 'lot')} open at the end, with {words.money(sum(x.pnl for x in still))} of profit at last closes."
    )
    if not closed:
        return f"<p>Nothing was closed. {escape(held) if still else ''}</p>"
    heads = ("", "Trips", "Profit", "Won", "Profit factor", "Mean profit", "Mean win / loss", "Mean days", "Mean worst", "Mean best")
    rows = [
        (
            side.capitalize(),
            f"{found.trips:,}",
            words.money(found.pnl),
            words.percent(found.win_rate.value, 1),
            words.ratio(found.profit_factor.value),
            words.money(found.expectancy.value),
            words.ratio(found.payoff.value),
            words.number(found.days.value, 1),
            words.money(found.mae.value),
            words.money(found.mfe.value),
        )
        for side, found in summarise(closed).items()
        if found.trips
    ]
    if len(rows) == 2:
        rows = rows[1:]
    how = "One for each pair of an opening and a closing fill, first in, first out; money after all fees."
    worst = "Worst and best are the most that a trip was down and up while it was held, before fees, at prices that it certainly saw."
    return _table(heads, rows) + _note(how, worst, held if still else "")


def _attribution_tables(result: Result) -> str:
    """By instrument and by sleeve, where there is more than one of them."""
    tables = []
    for heading, parts in (("Instrument", attribution(result)), ("Sleeve", attribution(result, "sleeve"))):
        named = [part for part in parts if part.name != ACCOUNT]
        if len(named) < 2:
            continue
        # What rounding left of a booking is no part that anybody asks for.
        shown = [part for part in parts if part.name != ACCOUNT or abs(part.total) >= 0.005]
        left_out = len(shown) - PARTS_MAX if len(shown) > PARTS_MAX else 0
        shown = [*shown[: PARTS_MAX // 2], *shown[-PARTS_MAX // 2 :]] if left_out else shown
        rows = [
            (part.name or "none", *map(words.money, (part.prices, -part.slippage, -part.commission, part.total)), words.percent(part.contribution))
            for part in shown
        ]
        note = f"The best and the worst; {left_out:,} between them are left out." if left_out else ""
        heads = (heading, "Prices", "Slippage", "Commission", "Profit", "Of starting capital")
        tables.append(_table(heads, rows) + (_note(note) if note else ""))
    return "\n".join(tables)


def _shortfall_table(result: Result) -> str:
    """The shortfalls side by side, where orders were cut in time: of all orders, or, of many, of those that were cut."""
    parents = {order.parent for order in result.orders if order.parent}
    if not parents:
        return ""
    alone = sum(not order.parent for order in result.orders)
    told = execution.table(result, None if alone <= SHORTFALLS_MAX else sorted(parents)[:SHORTFALLS_MAX])
    more = "" if alone <= SHORTFALLS_MAX else f"The first {len(told.rows):,} of {len(parents):,} orders that were cut in time."
    note = _note(
        "In basis points of the order at the price of its decision; below 0 is a gain. Delay is from the decision to the arrival.",
        "Impact is what fills paid beyond their bar’s price, and timing the rest against the arrival; opportunity is what the unfilled part lost.",
        "The parts sum to paper less real profit.",
        more,
    )
    return _table([name.capitalize() for name in told.names], told.rows, 2) + note


def _order_tables(result: Result) -> str:
    orders = result.orders
    if not orders:
        return "<p>No order was sent.</p>"
    ends = Counter((order.state, order.reason) for order in orders)
    rows = [
        (state.replace("_", " "), "" if state == reason else reason, f"{count:,}", words.percent(count / len(orders), 1))
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
        (
            words.moment(halt.at),
            halt.measure.replace("_", " "),
            words.money(halt.equity),
            "" if halt.measure in ("resumed", "killed", "released") else words.money(halt.floor),
        )
        for halt in result.halts
    ]
    return _table(("When", "What for", "Equity", "Floor"), rows, 2)


def _metric_table(result: Result, ours: Measures, its: Measures) -> str:
    rows, relative = [], False
    for metric in metrics.METRICS:
        if metric.relative and not relative:
            rows.append('<tr><th class="g" colspan="4" scope="rowgroup">Against the benchmark</th></tr>')
        relative, (label, kind), found = metric.relative, LABELS[metric.name], ours[metric.name]
        than = "" if relative else _measure(its[metric.name], kind)
        why = f"<b>Undefined: {escape(found.reason)}.</b> " if found.reason else ""
        rows.append(
            f'<tr><td class="w">{label}</td><td class="n">{_measure(found, kind)}</td><td class="n">{than}</td>'
            f'<td class="c">{why}{escape(_formula(metric.convention))}</td></tr>'
        )
    sessions = result.tape.sessions[: result.rows]
    days, periods = len(metrics.session_ends(sessions)), metrics.periods_of(sessions)
    symbols = f"r are the {days:,} session returns, m the benchmark’s, N their count, n = {periods} sessions a year"
    note = _note(f"{symbols}, V the equity with the starting capital in front; rf and mar are 0 here.")
    head = (
        '<th class="w"></th><th class="n" scope="col">Strategy</th><th class="n" scope="col">Benchmark</th><th class="c" scope="col">Definition</th>'
    )
    body = "\n".join(rows)
    return f'<table class="metrics">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>{note}'


def _formula(convention: str) -> str:
    """A convention, set as mathematics is."""
    return convention.replace(" - ", " − ").replace(" -1", " −1").replace("sqrt", "√").replace("^2", "²").replace("_k", "ₖ").replace("rho", "ρ")


def _proof(certificate: Certificate) -> str:
    """What was tried to catch the run looking ahead, and what was found."""
    opening = "<p>" if certificate.passed else '<p class="warning">'
    found = f"{opening}{escape(certificate.verdict[0].upper() + certificate.verdict[1:])}</p>"
    differed = [*certificate.failures, *([certificate.fed_by] if certificate.fed_by else [])]
    plain = certificate.plain()
    tried = f"Replaced after each of these closes (UTC): {', '.join(plain['moments'])}. Each time it was {', '.join(certificate.futures)}."
    covered = f"Not covered: {'; '.join(certificate.not_covered)}. The journal that this is about: {certificate.journal_hash}."
    return found + (_list(differed) if differed else "") + _note(tried, covered)


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
