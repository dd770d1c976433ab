"""What the report page says of trading: round trips, where profit came from, costs, shortfalls, orders and halts."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Final

from simulator.report import execution, words
from simulator.report.attribution import ACCOUNT, attribution
from simulator.report.costs import Cost, statement
from simulator.report.markup import note, table
from simulator.report.trades import summarise

if TYPE_CHECKING:
    from simulator.report.results import Result

PARTS_MAX: Final = 20
"""Of more instruments than this, those that brought most and least are shown."""
SHORTFALLS_MAX: Final = 40
"""How many orders a table of shortfalls has."""


def trip_table(result: Result) -> str:
    """Round trips by side, and what is still open."""
    if result.is_vast:
        return _left_out(result, "Round trips")
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
    return table(heads, rows) + note(how, worst, held if still else "")


def _left_out(result: Result, what: str) -> str:
    """Why a section is not there."""
    return f"<p>{what} are not told of {result.fill_count:,} trades, which are more than fit into memory one by one; all are in fills.parquet.</p>"


def attribution_tables(result: Result) -> str:
    """By instrument and by sleeve, where there is more than one of them."""
    if result.is_vast:
        return _left_out(result, "Parts by instrument")
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
        below = f"The best and the worst; {left_out:,} between them are left out." if left_out else ""
        heads = (heading, "Prices", "Slippage", "Commission", "Profit", "Of starting capital")
        tables.append(table(heads, rows) + (note(below) if below else ""))
    return "\n".join(tables)


def cost_table(result: Result) -> str:
    """What each assumption took."""
    told = statement(result)
    rows = [
        (cost.name, cost.assumed, words.money(cost.money), words.ratio(told.of_turnover(cost.money)), words.ratio(told.of_equity(cost.money)))
        for cost in (*told.costs, Cost("Together", told.total, ""))
    ]
    heads = ("", "Assumed", f"Money {words.currency(result)}".strip(), "Bps of turnover", "Bps of average equity")
    sums = f"{words.count(len(result.fills), 'fill')}, {words.money(told.traded)} traded, buys and sells together."
    average = f"Average equity at bar closes {words.money(told.equity)}."
    return table(heads, rows, 2) + note(sums, average, "Slippage and impact are already in the prices paid. What is below 0 was earned.")


def shortfall_table(result: Result) -> str:
    """The shortfalls side by side, where orders were cut in time: of all orders, or, of many, of those that were cut."""
    if result.is_vast:
        return _left_out(result, "Shortfalls")
    parents = {order.parent for order in result.orders if order.parent}
    if not parents:
        return ""
    alone = sum(not order.parent for order in result.orders)
    told = execution.table(result, None if alone <= SHORTFALLS_MAX else sorted(parents)[:SHORTFALLS_MAX])
    more = "" if alone <= SHORTFALLS_MAX else f"The first {len(told.rows):,} of {len(parents):,} orders that were cut in time."
    below = note(
        "In basis points of the order at the price of its decision; below 0 is a gain. Delay is from the decision to the arrival.",
        "Impact is what fills paid beyond their bar’s price, and timing the rest against the arrival; opportunity is what the unfilled part lost.",
        "The parts sum to paper less real profit.",
        more,
    )
    return table([name.capitalize() for name in told.names], told.rows, 2) + below


def order_tables(result: Result) -> str:
    """What became of orders, and what they waited for."""
    ends = result.ends
    if not ends:
        return "<p>No order was sent.</p>"
    rows = [
        (state.replace("_", " "), "" if state == reason else reason, f"{count:,}", words.percent(count / ends.total(), 1))
        for (state, reason), count in sorted(ends.items(), key=lambda x: (-x[1], x[0]))
    ]
    tables = table(("State at the end", "Reason", "Orders", "Share"), rows, 2)
    if result.is_vast:
        waits = result.sent.waited
    else:
        waits = Counter(reason for order in result.orders for reason in sorted({reason for reason, _, _ in order.waits}))
    if waits:
        waited = [(reason, f"{count:,}") for reason, count in sorted(waits.items(), key=lambda x: (-x[1], x[0]))]
        tables += "\n<h3>What orders waited for</h3>\n" + table(("Reason", "Orders"), waited)
    return tables


def halt_table(result: Result) -> str:
    """When trading was halted, and why."""
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
    return table(("When", "What for", "Equity", "Floor"), rows, 2)
