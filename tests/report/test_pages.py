"""The report page: what it says of real runs, and, where there is a browser, how it draws."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simulator
from simulator import DAY, Account, Instrument, Limits, Result, Tape, Truth
from simulator.report import pages
from simulator.scenarios import Choice, Scenario

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
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
    assert "Sharpe ratio, Lo’s correction — Undefined: its autocorrelations reach over a year" in seen


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
    assert {price["symbol"] for price in drawn(page)["prices"]} == {html.escape(NASTY), "B&amp;B"}


def test_nothing_in_the_page_points_outside() -> None:
    page = pages.report(ran())
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
    assert "default-src 'none'" in own


def test_the_library_is_in_the_page_once() -> None:
    assert pages.report(ran()).count("* plotly.js v") == 1


def test_equity_is_drawn_from_the_starting_capital_on() -> None:
    result = ran()
    series = drawn(pages.report(result))
    assert series["equity"]["y"][0] == result.cash_start
    assert series["drawdown"]["y"][0] == 0.0
    assert len(series["equity"]["x"]) == 301
    assert min(series["drawdown"]["y"]) == pytest.approx(min(result.equity / np.maximum.accumulate(np.append(1e6, result.equity))[1:]) - 1, rel=1e-6)


def test_daily_bars_are_drawn_on_the_date_of_their_session() -> None:
    """A bar that covers a UTC day closes at the next midnight."""
    over = tape()
    assert drawn(pages.report(ran(over)))["equity"]["x"][1] == int(over.sessions[0]) * 86_400_000


def test_buys_and_sells_are_marked_at_their_prices() -> None:
    result = ran()
    (price,) = drawn(pages.report(result))["prices"]
    assert price["buys"]["y"] == pytest.approx([x.price for x in result.fills if x.quantity > 0])
    assert price["sells"]["y"] == pytest.approx([x.price for x in result.fills if x.quantity < 0])
    assert price["buys"]["text"][0].startswith("bought 1,000 at ")


def test_of_many_instruments_the_most_traded_can_be_chosen() -> None:
    symbols = tuple(f"S{k}" for k in range(12))
    page = pages.report(ran(tape(symbols)))
    assert len(drawn(page)["prices"]) == page.count("<option") == pages.INSTRUMENTS_MAX
    assert "The 8 most traded of 12 instruments." in words(page)


def test_a_missing_bar_leaves_no_point() -> None:
    full = tape()
    columns = [np.array(column[: len(full)]) for column in (full.open, full.high, full.low, full.close, full.volume)]
    for column in columns:
        column[100:110] = np.nan
    (price,) = drawn(pages.report(ran(full.like(*columns))))["prices"]
    assert len(price["line"]["x"]) == 290


# --- Thinning


def test_a_short_series_is_drawn_whole() -> None:
    assert pages.thin(np.arange(5.0), 10).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [101, 1_000, 99_999, 1_000_000])
def test_thinning_keeps_the_ends_and_the_extremes(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    kept = pages.thin(values, 100)
    assert len(kept) <= 100
    assert (np.diff(kept) > 0).all()
    assert {0, count - 1, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())


def test_a_long_run_makes_no_large_page() -> None:
    minutes = 200_000
    close = 100.0 + np.sin(np.arange(minutes) / 500.0)
    long = Tape.of([Instrument("AAA")], (np.arange(minutes) + 1) * 60_000_000_000, close, close, close, close, interval=60_000_000_000)
    series = drawn(pages.report(ran(long)))
    assert len(series["equity"]["x"]) <= pages.POINTS_MAX
    assert len(series["prices"][0]["buys"]["x"]) <= pages.MARKERS_MAX
    assert re.fullmatch(r"▲ 1,000 of [\d,]+ buys, ▼ 1,000 of [\d,]+ sells\.", series["prices"][0]["note"])


# --- In a browser


def browse(page: str, folder: Path) -> tuple[str, list[str]]:
    """The page's DOM once its scripts have run, and every line of the console."""
    assert BROWSER
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        *quiet,
        f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr",
        "--v=0",
    ]
    done = subprocess.run(
        [*command, "--virtual-time-budget=20000", "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="headless Chromium is not installed: the page was not looked at")
class TestInABrowser:
    def test_the_page_draws_without_a_word_on_the_console(self, tmp_path: Path) -> None:
        """Its content policy forbids every request to the outside, and a forbidden request would be on the console."""
        dom, console = browse(pages.report(named(ran(tape(("AAA", NASTY))), title=NASTY)), tmp_path)
        assert console == []
        assert 'data-drawn="yes"' in dom
        for chart in ("equity", "drawdown", "price"):
            assert re.search(rf'id="{chart}"[^>]*class="[^"]*js-plotly-plot|class="[^"]*js-plotly-plot[^"]*" id="{chart}"', dom)

    def test_a_request_to_the_outside_would_be_seen(self, tmp_path: Path) -> None:
        page = pages.report(ran()).replace("</main>", '<img src="https://example.invalid/x.png"></main>')
        _, console = browse(page, tmp_path)
        assert any("Content Security Policy" in line for line in console)

    def test_a_zoom_in_one_chart_is_a_zoom_in_all(self, tmp_path: Path) -> None:
        zoom = """<script>
          const range = id => document.getElementById(id).layout.xaxis.range.map(at => at.slice(0, 10));
          const wait = () => new Promise(done => setTimeout(done, 500));
          const told = document.documentElement.dataset;
          setTimeout(async () => {
            await Plotly.relayout("drawdown", { "xaxis.range[0]": "2022-03-01", "xaxis.range[1]": "2022-06-01" });
            await wait();
            told.zoomed = JSON.stringify(["equity", "drawdown", "price"].map(range));
          }, 3000);
        </script></body>"""
        dom, console = browse(pages.report(ran()).replace("</body>", zoom), tmp_path)
        assert console == []
        assert html.unescape(re.findall(r'data-zoomed="([^"]*)"', dom)[0]) == json.dumps([["2022-03-01", "2022-06-01"]] * 3, separators=(",", ":"))
