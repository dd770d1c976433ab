"""The report page: what it says of real runs."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workloads import Rotates

import simulator
from simulator import DAY, Account, Instrument, Limits, Result, Tape, Truth
from simulator.loop.prover import Certificate
from simulator.report import charts, metrics, pages, trades
from simulator.report.attribution import attribution
from simulator.report.holdings import turnover_of
from simulator.scenarios import Choice, Scenario

NASTY = '<script>alert("&")</script>'


def tape(symbols: tuple[str, ...] = ("AAA",), rows: int = 300, **truth: Any) -> Tape:
    """A walk for each symbol, on weekdays."""
    draw = np.random.default_rng(11)
    weekdays = np.array([day for day in range(19_000, 19_000 + 2 * rows) if (day + 3) % 7 < 5][:rows])
    close = 100.0 * np.exp(np.cumsum(draw.normal(0.0003, 0.012, (rows, len(symbols))), axis=0))
    open_ = np.vstack([close[:1], close[:-1]])
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    volume = np.full(close.shape, 50_000.0)
    return Tape.of([Instrument(x) for x in symbols], (weekdays + 1) * DAY, open_, high, low, close, volume, interval=DAY, truth=Truth(**truth))


class InAndOut:
    """Buys everything on one bar, sells it ten bars later, and so on; a limit out of reach waits all along."""

    def on_bars(self, view: simulator.View) -> list[simulator.Order]:
        if view.row == 0:
            return [view.order(5, symbol, simulator.OrderKind.LIMIT, 1.0) for symbol in view.symbols]
        if view.row % 10:
            return []
        lots = 1_000 if view.row % 20 else -1_000
        return [view.order(lots, symbol) for symbol in view.symbols]


def ran(over: Tape | None = None, limits: Limits | None = None) -> Result:
    return simulator.simulate(over or tape(), InAndOut(), limits=limits)


def named(result: Result, title: str = "A small run", notes: tuple[str, ...] = (), **parameters: object) -> Result:
    """The same run as if from a scenario."""
    strategy = Choice("in_and_out", parameters)
    scenario = Scenario(
        "small", title, (), 7, Choice("walks", {}), strategy, Choice("simulated", {}), Account(), Limits(gross_max=1.5), Path(), "seed = 7\n"
    )
    words = ("Market orders fill at the open of the next bar.",)
    return Result(result.tape, result.journal, result.cash_start, result.rows, scenario=scenario, run_id="c0ffee", notes=notes, assumptions=words)


def words(page: str) -> str:
    """What a reader sees of a page, without scripts and styles."""
    seen = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", seen).split())).replace("\u00a0", " ")


def drawn(page: str) -> dict[str, Any]:
    """The series that a page draws."""
    found = re.search(r'<script type="application/json" id="drawn">(.*?)</script>', page, re.DOTALL)
    assert found
    series: dict[str, Any] = json.loads(found[1])
    return series


def test_the_page_says_what_ran_and_what_came_of_it() -> None:
    result = named(ran(), fast=20, costs={"bps": 1.5})
    seen = words(pages.report(result))
    assert "A small run AAA, 10 Jan 2022 to 3 Mar 2023: 300 daily bars. Starting capital 1,000,000 USD." in seen
    assert "Strategy in_and_out (fast 20, costs (bps 1.5))" in seen
    assert f"{result.equity[-1]:,.0f}" in seen
    assert f"c0ffee Journal, SHA-256 {result.hash}" in seen
    assert "Risk limits: gross exposure 1.5." in seen
    assert "Market orders fill at the open of the next bar." in seen
    assert "whether its high came before its low is not known" in seen


def test_the_same_run_gives_the_same_page() -> None:
    assert pages.report(named(ran())) == pages.report(named(ran()))


def test_costs_are_in_money_and_in_basis_points() -> None:
    result = ran()
    commission, traded = sum(x.commission for x in result.fills), sum(abs(x.quantity) * x.price for x in result.fills)
    assert f"Commission {commission:,.2f} {1e4 * commission / traded:.2f}" in words(pages.report(result))


def test_orders_are_counted_by_state_and_reason() -> None:
    result = ran()
    filled = sum(order.state == "filled" for order in result.orders)
    seen = words(pages.report(result))
    assert f"filled {filled} " in seen
    assert "accepted price not touched 1 " in seen
    assert "What orders waited for Reason Orders" in seen


def test_a_halt_is_told_with_its_floor() -> None:
    result = ran(limits=Limits(drawdown_max=0.002))
    assert result.halts
    assert f"drawdown {result.halts[0].equity:,.0f} {result.halts[0].floor:,.0f}" in words(pages.report(result))
    assert "Trading was never halted." in words(pages.report(ran()))


def test_the_data_says_what_is_wrong_with_it() -> None:
    seen = words(
        pages.report(named(ran(tape(source="a walk", adjusted=True, volume="none", opens="previous_close")), notes=("Bar 3 was skipped.",) * 2))
    )
    assert "Many opens merely repeat the close before" in seen
    assert "There is no volume" in seen
    assert "Prices are adjusted" in seen
    assert seen.count("Bar 3 was skipped.") == 1


def test_an_undefined_metric_shows_its_reason_and_no_number() -> None:
    seen = words(pages.report(simulator.simulate(tape(rows=20), InAndOut())))
    assert "Sharpe ratio, Lo’s correction — — Undefined: its autocorrelations reach over a year" in seen


def test_a_run_that_was_stopped_says_so() -> None:
    whole = ran()
    part = Result(whole.tape, whole.journal, whole.cash_start, 0, interrupted=True)
    seen = words(pages.report(part))
    assert "This run was stopped after 0 of 300 bars." in seen
    assert "nothing to draw" in seen


def test_what_a_user_wrote_is_escaped_wherever_it_stands() -> None:
    page = pages.report(named(ran(tape((NASTY, "B&B"))), title=NASTY, notes=(NASTY,), name=NASTY))
    assert NASTY not in page
    assert page.count("</script>") == 3
    assert {one["symbol"] for one in drawn(page)["instruments"]} == {html.escape(NASTY), "B&amp;B"}


def test_the_page_sets_the_benchmark_beside_the_strategy() -> None:
    result = ran()
    close = result.tape.close[:, 0]
    seen = words(pages.report(result))
    assert f"Final equity {result.equity[-1]:,.0f} Benchmark {1e6 * close[-1] / close[0]:,.0f}" in seen
    assert f"Total return {100 * (result.equity[-1] / 1e6 - 1):.2f} % Benchmark {100 * (close[-1] / close[0] - 1):.2f} %".replace("-", "−") in seen
    assert seen.count("The benchmark puts all cash in AAA at its first known close and holds it to the end") == 2
    assert re.search(r"Against the benchmark Beta [−\d.]+ cov\(r − rf, m − rf\)", seen)


class Late:
    """Buys after the hundredth bar, and holds."""

    def on_bars(self, view: simulator.View) -> list[simulator.Order]:
        return [view.order(5_000)] if view.row == 100 else []


def test_what_learns_first_is_compared_from_its_first_fill_on() -> None:
    result = simulator.simulate(tape(), Late())
    returns = [path[-1] / path[100] - 1.0 for path in (result.equity, result.tape.close[:, 0])]
    ours, its = (f"{100 * value:.2f} %".replace("-", "−") for value in returns)
    assert f"From the first fill on (from the close before it, 30 May 2022): strategy {ours}, benchmark {its}." in words(pages.report(result))
    assert "From the first fill on" not in words(pages.report(simulator.simulate(tape(), Plots())))


def test_each_month_stands_in_its_year() -> None:
    """The walk begins in January 2022 and ends in March 2023."""
    result = ran()
    table = re.search(r'<div class="wide months">(.*?)</table>', pages.report(result), re.DOTALL)
    assert table
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table[1].split("<tr>")[2:]]
    assert [row[0] for row in rows] == ["2022", "2023"]
    assert all(len(row) == 15 for row in rows)
    assert rows[1][4:13] == [""] * 9
    months = metrics.calendar_returns(result.equity, result.tape.sessions, 1e6, "M")
    shown = [cell.replace("−", "-") for cell in rows[0][1:13] + rows[1][1:4]]
    assert [float(cell) for cell in shown] == pytest.approx([100 * value for value in months.values()], abs=0.051)
    assert 'class="n down"' in table[1]
    assert 'class="n up"' in table[1]


def test_exposure_is_told_in_words() -> None:
    result = ran()
    gross, _ = result.exposure
    assert f"in the market on {100 * (gross > 0).mean():.1f} % of them, gross {100 * gross.mean():.1f} % on average" in words(pages.report(result))


class Plots:
    """Puts a spread and two probabilities on record."""

    def on_bars(self, view: simulator.View) -> tuple[()]:
        if view.row >= 20:
            for symbol in view.symbols:
                view.plot("regime" if len(view.symbols) == 1 else f"regime {symbol}", NASTY, 0.75)
                view.plot("regime" if len(view.symbols) == 1 else f"regime {symbol}", "bull", 0.25)
        view.plot(NASTY, "z & more", float(view.row))
        return ()


def test_what_the_strategy_plotted_has_a_place_on_the_page() -> None:
    page = pages.report(simulator.simulate(tape(), Plots()))
    seen = words(page)
    assert "Regimes The strip has the colour of the most probable state" in seen
    assert f"Plotted by the strategy {NASTY}" in seen
    assert NASTY not in page
    assert page.count("</script>") == 3
    assert "Plotted by the strategy" not in words(pages.report(ran()))


def test_every_place_on_the_page_has_a_figure() -> None:
    for strategy in (Plots(), InAndOut()):
        page = pages.report(simulator.simulate(tape(("AAA", "BBB")), strategy))
        places = set(re.findall(r'<div class="chart \w+" id="([\w-]+)"', page))
        made = drawn(page)
        assert places == {*made["charts"], *(name for name in ("price", "regime") if made["instruments"][0][name])}


def test_a_large_number_is_written_short() -> None:
    """A price that grows without bounds must not make the page wider than a phone."""
    close = np.exp(np.linspace(0.0, 300.0, 60))
    over = Tape.of([Instrument("AAA", tick="0")], (np.arange(60) + 1) * DAY, close, close, close, close, interval=DAY)
    seen = words(pages.report(simulator.simulate(over, Plots())))
    assert "Total return 0.00 % Benchmark 1.94e+132 %" in seen
    assert "Benchmark 1.94e+136" in seen


def test_nothing_in_the_page_points_outside() -> None:
    page = pages.report(ran())
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
    assert "default-src 'none'" in own


def test_the_library_is_in_the_page_once() -> None:
    assert pages.report(ran()).count("* plotly.js v") == 1


def test_of_many_instruments_the_most_traded_can_be_chosen() -> None:
    page = pages.report(ran(tape(tuple(f"S{k}" for k in range(12)))))
    assert len(drawn(page)["instruments"]) == page.count("<option") == charts.INSTRUMENTS_MAX
    assert "The 8 most traded of 12 instruments." in words(page)


def test_a_long_run_makes_no_large_page() -> None:
    minutes = 200_000
    close = 100.0 + np.sin(np.arange(minutes) / 500.0)
    long = Tape.of([Instrument("AAA")], (np.arange(minutes) + 1) * 60_000_000_000, close, close, close, close, interval=60_000_000_000)
    made = drawn(pages.report(ran(long)))
    lines = [line for one in (*made["charts"].values(), made["instruments"][0]["price"]) for line in one["data"]]
    assert max(len(line["x"]) for line in lines) <= charts.POINTS_MAX
    assert re.fullmatch(r"▲ 1,000 of [\d,]+ buys, ▼ 1,000 of [\d,]+ sells\.", made["instruments"][0]["note"])


def test_a_certificate_has_a_section_and_without_one_there_is_none() -> None:
    result = ran()
    kept = Certificate("x", 12, 20, (), ("files",), (DAY,), ("cut off", "noise"), journal_hash="abc")
    seen = words(pages.report(result, certificate=kept))
    assert "Proof against look-ahead No look-ahead found. 20 futures were replaced; of 12 journal rows no byte before them changed." in seen
    assert "1970-01-02 00:00:00. Each time it was cut off, noise. Not covered: files." in seen
    assert "Proof against" not in words(pages.report(result))
    caught = words(pages.report(result, certificate=Certificate("x", 12, 20, ("bar 3: a became b",), (), (), (), "fed by bar 4")))
    assert "LOOKS AHEAD. In 1 of 20 trials" in caught
    assert "bar 3: a became b fed by bar 4" in caught


def test_round_trips_and_parts_of_the_profit_are_told() -> None:
    result = ran(tape(("AAA", "BBB")))
    seen = words(pages.report(result))
    found = trades.summarise(result.trips.closed)["long"]
    assert f"Long {found.trips} {found.pnl:,.2f} {100 * found.win_rate.value:.1f} %".replace("-", "\N{MINUS SIGN}") in seen
    best = attribution(result)[0]
    assert f"Instrument Prices Slippage Commission Profit Of starting capital {best.name} " in seen
    assert f"Turnover a session: {100 * turnover_of(result).value:.2f} % of the mean market value held" in seen


def test_a_run_without_trades_has_no_round_trips() -> None:
    seen = words(pages.report(simulator.simulate(tape(), Plots())))
    assert "Round trips Nothing was closed." in seen
    assert "Where the profit came from" not in seen
    assert "Returns by regime Regime at the close before Sessions Share" in seen


def test_the_page_of_ten_years_of_twenty_instruments_is_at_most_6_mb() -> None:
    """Plotly's script is most of it."""
    market = tape(tuple(f"S{k}" for k in range(20)), rows=2_520)
    page = pages.report(simulator.simulate(market, Rotates()))
    assert len(page.encode()) <= 6_000_000
    assert page.count("plotly.js v") >= 1


def test_worst_periods_are_those_of_the_run() -> None:
    result = ran()
    seen = words(pages.report(result))
    sessions = result.tape.sessions[: result.rows]
    r = metrics.session_returns(result.equity, sessions, result.cash_start)
    months = metrics.calendar_returns(result.equity, sessions, result.cash_start, "M")
    for name, found in (("Sessions", r.tolist()), ("Months", list(months.values()))):
        assert f"{name}: {len(found)} {100.0 * min(found):.2f} %".replace("-", "−") in seen
