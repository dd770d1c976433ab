"""The report of a run: one self-contained HTML page that asks nobody outside for anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from math import sqrt
from typing import TYPE_CHECKING, Any

from simulator.report import charts, metrics, page_grounds, page_risk, page_trading, words
from simulator.report.benchmark import benchmark, since_first_fill
from simulator.report.folders import Costs, costs
from simulator.report.markup import chart, document, itemised, log_switch, measured, note, section, shown, table
from simulator.report.rolling import rolled
from simulator.report.template import SCRIPT
from simulator.report.uncertainty import FIGURES

if TYPE_CHECKING:
    from simulator.loop.prover import Certificate
    from simulator.report.benchmark import Benchmark
    from simulator.report.deflated import Standing
    from simulator.report.metrics import Measured
    from simulator.report.results import Result
    from simulator.report.uncertainty import Uncertainty
    from simulator.scenarios import Scenario

    Measures = Mapping[str, Measured]


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
    body = (
        _header(result, title),
        _headline(result, against, ours, its, spent),
        _luck(standing),
        *(_drawings(result, against, drawn) if drawn else [section("Equity", "<p>No bar was run, so there is nothing to draw.</p>")]),
        section("How sure it is", _sureness(result, doubt, standing)),
        section("Round trips", page_trading.trip_table(result)),
        section("Where the profit came from", page_trading.attribution_tables(result)),
        section("Costs", page_trading.cost_table(result)),
        section("Implementation shortfall", page_trading.shortfall_table(result)),
        section("Orders", page_trading.order_tables(result)),
        section("Halts", page_trading.halt_table(result)),
        section("Metrics, and how each is defined", page_grounds.metric_table(result, ours, its)),
        section("Proof against look-ahead", page_grounds.proof(certificate) if certificate else ""),
        section("Data: caveats and notes", itemised([*page_grounds.truths(result.tape.truth), *dict.fromkeys(result.notes)])),
        section("What was assumed", itemised([*page_grounds.assumptions(result), against.words, *page_grounds.WHAT_A_BAR_CANNOT_TELL])),
        _footer(result),
    )
    scripts = f'<script type="application/json" id="drawn">{payload}</script>\n<script>{get_plotlyjs()}</script>\n<script>{SCRIPT}</script>\n'
    return document(title, body, scripts=scripts)


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
        reason, kind, span = ours[name].reason, page_grounds.LABELS[name][1], chance.figures.get(name)
        sure = f"{words.percent(chance.level, 0)} from {shown(span.low, kind)} to {shown(span.high, kind)}. " if span else ""
        return label, measured(ours[name], kind), f"Benchmark {measured(its[name], kind)}", f"Undefined: {reason}" if reason else sure + note

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
        for peak, trough, recovery, *_ in page_risk.deepest(result)[:1]
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
    names = {name: page_grounds.LABELS[name] for name in FIGURES if name in found.figures or doubt}
    if names:
        share = words.percent(found.level, 0)
        heads = ("", "Result", *((f"{share} from", "to") if found.figures else ()), *(("Fills from", "to") if doubt else ()))
        spans = [{name: found.figures[name] for name in names}] if found.figures else []
        spans += [{name: doubt.figures[name] for name in names}] if doubt else []
        rows = [
            (
                label,
                *(shown(value, kind) for value in (spans[0][name].chosen, *(end for span in spans for end in (span[name].low, span[name].high)))),
            )
            for name, (label, kind) in names.items()
        ]
        parts.append(table(heads, rows))
    if found.figures:
        how = f"{found.histories:,} histories made of blocks of the run’s own sessions, {found.block:.1f} long on average (stationary bootstrap)"
        parts.append(note(f"{share} of {how} lie between the ends."))
    if doubt:
        parts.append(
            note(f"Fills: complete re-runs under each policy for the path inside a bar; {words.count(len(doubt.ambiguous), 'trade')} hang on it.")
        )
    if standing:
        parts.append(f"<h3>Trials</h3>\n<p>{escape(standing.counted())}. {escape(standing.sure())}.</p>")
        parts.append(
            note("PSR is how probable a true Sharpe ratio above 0 is, DSR one above what the best of so many trials would show without skill.")
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
        section(
            "Equity against the benchmark",
            chart("equity", "Equity over time, of the strategy and of the benchmark", "tall", beside=log_switch("equity"))
            + note(against.words, "The dotted line is the starting capital.", _banded(result), thinned),
        ),
        section(
            "Drawdowns",
            chart("drawdown", "Drawdown over time, of the strategy and of the benchmark", "low")
            + note("Below the highest equity so far, at bar closes.")
            + page_risk.drawdown_table(result),
        ),
        section("Sharpe ratio and volatility through time", _through_time(result, drawn)),
        section("Returns by month", page_risk.month_table(result, against)),
        section("Worst and best periods", page_risk.period_table(result, against)),
        section("Price and fills", _price(result, drawn) + page_risk.regime_table(result, against)),
        section(
            "Exposure", chart("exposure", "Gross and net exposure over time", "low") + note(page_risk.exposed(gross, net), page_risk.turned(result))
        ),
        section("Where the risk came from", page_risk.risk_table(result)),
        section("Plotted by the strategy", _plots(result)),
    ]


def _through_time(result: Result, drawn: Mapping[str, Any]) -> str:
    found = rolled(result)
    if found is None or "rolling-sharpe" not in drawn["charts"]:
        return ""
    window = f"Of the last {found.window} session returns, a year, at each of {words.count(len(found.at), 'session close')}."
    sharpe = chart("rolling-sharpe", "Sharpe ratio of each window of sessions", "low", heading="Sharpe ratio")
    volatility = chart("rolling-volatility", "Volatility of each window of sessions", "low", heading="Volatility")
    return sharpe + "\n" + volatility + note(window, "So few returns tell a Sharpe ratio badly: what goes up and down here is mostly chance.")


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
    price = chart("price", "Price over time, with fills", "tall", beside=chosen + log_switch("price"), note=notes)
    if not any(one["regime"] for one in some):
        return price
    strip = "The strip has the colour of the most probable state; the areas are the probabilities that the strategy put on record at each close."
    return price + "\n" + chart("regime", "Probability of each regime over time", "ribbon", heading="Regimes", note=note(strip))


def _plots(result: Result) -> str:
    names = charts.plotted(result)
    places = [chart(f"plot-{k}", name, "low", heading=name) for k, name in enumerate(names[: charts.PLOTS_MAX])]
    left_out = [note(f"The first {charts.PLOTS_MAX} of {len(names)} charts; all are in plots.parquet.")] if len(names) > charts.PLOTS_MAX else []
    return "\n".join(places + left_out)


def _footer(result: Result) -> str:
    lines = [("Run", result.run_id), ("Journal, SHA-256", result.hash)]
    if result.scenario:
        lines += [("Scenario", result.scenario.name), ("Seed", str(result.scenario.seed))]
    items = "\n".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in lines if value)
    return f"<footer>\n<dl>\n{items}\n</dl>\n</footer>"
