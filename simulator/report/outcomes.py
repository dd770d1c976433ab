"""What came of a run, and what would run, as labels and values: the words of the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from simulator.report import folders

if TYPE_CHECKING:
    from simulator.market.tape import Tape
    from simulator.report.deflated import Standing
    from simulator.report.results import Result
    from simulator.report.uncertainty import Uncertainty
    from simulator.scenarios import Scenario

NOTES_SHOWN: Final = 12


class Spent(NamedTuple):
    """Seconds of wall time that a run took: in all, and for fitting models."""

    total: float
    fitting: float


def outcome(result: Result, spent: Spent, standing: Standing | None = None) -> Iterator[tuple[str, str]]:
    """The summary of a run, as labels and values."""
    assert result.scenario is not None
    tape, rows = result.tape, result.rows
    facts = folders.summary(result)
    numbers, undefined, costs, counts = facts["metrics"], facts["undefined"], facts["costs"], facts["counts"]

    def metric(name: str, form: str) -> str:
        return f"undefined: {undefined[name]}" if name in undefined else format(numbers[name], form)

    chance = facts["intervals"]

    def sure(name: str, form: str, scale: float = 1.0, start: float = 0.0) -> str:
        """The interval of a figure, where there is one."""
        ends = chance["figures"].get(name)
        if ends is None or ends["low"] is None:
            return ""
        return f" [{', '.join(format(start + scale * ends[end], form) for end in ('low', 'high'))}]"

    yield from _what(result.scenario)
    yield "period", _period(tape, rows)
    if result.interrupted:
        yield "interrupted", f"after bar {rows:,} of {len(tape):,}" + (f", which closed {_moment(tape.closed_at[rows - 1])} UTC" if rows else "")
    pace = f"{rows / max(spent.total, 1e-9):,.0f} bars/s" + (f", {spent.fitting:.2f} s of it fitting models" if spent.fitting else "")
    yield "bars", f"{rows:,} of {tape.width} instrument{'s' * (tape.width > 1)} in {spent.total:.2f} s ({pace})"
    refused = Counter({reason: count for (state, reason), count in result.ends.items() if state == "rejected"})
    yield "orders", f"{counts['orders']:,}"
    yield "fills", f"{counts['fills']:,}"
    yield "refused", f"{refused.total():,}" + (f" ({', '.join(f'{why}: {count:,}' for why, count in refused.most_common())})" if refused else "")
    start = facts["cash_start"]
    yield "final equity", f"{facts['equity']:,.2f} from {start:,.2f}{sure('cumulative_return', ',.2f', start, start)}"
    a_year = f"{metric('annual_return', '+.2%')} a year{sure('annual_return', '+.2%')}"
    yield "return", f"{metric('cumulative_return', '+.2%')} ({a_year})"
    if facts["benchmark"]:
        yield "benchmark", f"{facts['benchmark']['equity'] / facts['cash_start'] - 1.0:+.2%}: {facts['benchmark']['words']}"
    if facts["since_first_fill"] and facts["since_first_fill"]["bar"] > 0:
        since = facts["since_first_fill"]
        yield "", f"from the first fill on: strategy {since['strategy']:+.2%}, benchmark {since['benchmark']:+.2%}"
    for label, name, form in (("max drawdown", "max_drawdown", ".2%"), ("volatility", "volatility", ".2%"), ("Sharpe", "sharpe", ".2f")):
        yield label, metric(name, form) + sure(name, form)
    if chance["figures"]:
        yield "", f"in brackets: {chance['level']:.0%} of resampled histories (stationary bootstrap, blocks of {chance['block']:.1f} sessions)"
    if standing:
        yield "trials", f"{standing.counted()}: {standing.sure()}"
        if standing.warning():
            yield "warning", standing.warning()
    for name in ("commission", "slippage"):
        bps = costs[f"{name}_bps"]
        yield name, f"{costs[name]:,.2f}" + ("" if bps is None else f" ({bps:.2f} bps of {costs['traded']:,.2f} traded)")
    yield from ((kind, f"{amount:+,.2f}") for kind, amount in facts["booked"].items())
    if result.forced:
        reasons = Counter(x.reason for x in result.forced)
        yield "forced", f"{counts['forced']:,} ({', '.join(f'{why}: {count:,}' for why, count in reasons.most_common())})"
    trips, open_profit = facts["round_trips"] and facts["round_trips"]["all"], facts["open_profit"]
    if trips and trips["trips"]:
        factor = f", profit factor {trips['profit_factor']:.2f}" if trips["profit_factor"] is not None else ""
        mean = f", {trips['expectancy']:+,.2f} each, held {trips['days']:,.1f} days on average"
        yield "round trips", f"{trips['trips']:,}: {trips['win_rate']:.1%} won{factor}{mean}; open at the end {open_profit:+,.2f}"
    yield "halts", "; ".join(f"{_moment(x.at)} {x.measure} (equity {x.equity:,.2f}, floor {x.floor:,.2f})" for x in result.halts) or "none"
    yield from _listed("broker", result.assumptions)
    yield from _listed("notes", result.notes)
    yield "journal", facts["journal_hash"]


def doubts(doubt: Uncertainty) -> Iterator[tuple[str, str]]:
    """What hangs on the path inside the bars, as labels and values."""
    yield "fill interval", "least, as it came out, most; over the policies for the path inside a bar, and with limits that must be traded through"
    for name, figure in doubt.figures.items():
        form = ",.2f" if name in ("final_equity", "sharpe") else ".2%"
        yield name.replace("_", " "), "  ".join(format(value, form) if value == value else "undefined" for value in figure)
    for name, equity in doubt.equities.items():
        yield f"  {name}", f"{equity:,.2f}"
    share = f"{doubt.share:.2%} of the profit" if doubt.share == doubt.share else "undefined: there is no profit"
    yield "ambiguous", f"{share}; {len(doubt.ambiguous):,} trades"
    lines = [f"{_moment(fill.at)} {fill.symbol} {fill.quantity:+g} at {fill.price:g} (order {fill.order})" for fill in doubt.ambiguous]
    yield from _listed("", lines)


def plan(scenario: Scenario, tape: Tape) -> Iterator[tuple[str, str]]:
    """What would run, as labels and values."""
    from simulator import scenarios

    symbols = [instrument.symbol for instrument in tape.instruments]
    yield from _what(scenario)
    yield "instruments", f"{len(symbols)}: {', '.join(symbols[:20])}{', ...' if len(symbols) > 20 else ''}"
    yield "period", _period(tape, len(tape))
    yield "bars", f"{len(tape):,}"
    truth = tape.truth
    prices = "adjusted for splits and dividends" if truth.adjusted else "as they were traded"
    yield "source", f"{truth.source}: prices {prices}; opens: {truth.opens.replace('_', ' ')}; volume: {truth.volume}"
    yield "account", f"{scenario.account.kind}, {scenario.account.cash:,.2f}, leverage at most {scenario.account.leverage_max:g}"
    broker = scenarios.check(scenario).broker
    yield from _listed("broker", broker.words() if hasattr(broker, "words") else ())
    yield from _listed("notes", (*scenario.caveats, *truth.caveats, *tape.notes))


def _what(scenario: Scenario) -> Iterator[tuple[str, str]]:
    yield "scenario", f"{scenario.name}: {scenario.title}" if scenario.title != scenario.name else scenario.name
    given = ", ".join(f"{key} {value}" for key, value in scenario.strategy.parameters.items())
    yield "strategy", f"{scenario.strategy.name}{f' ({given})' if given else ''}"


def _listed(label: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each line on its own, the label before the first; of very many, the first ones."""
    shown = [*lines[:NOTES_SHOWN], *([f"... and {len(lines) - NOTES_SHOWN:,} more"] if len(lines) > NOTES_SHOWN else [])]
    for k, line in enumerate(shown):
        yield "" if k else label, line


def _period(tape: Tape, rows: int) -> str:
    days = tape.sessions[:rows].tolist()
    return f"{date.fromordinal(719163 + days[0])} to {date.fromordinal(719163 + days[-1])}" if rows else "none"


def _moment(at: int) -> str:
    return datetime.fromtimestamp(int(at) // 1_000_000_000, UTC).isoformat(sep=" ").removesuffix("+00:00")
