"""The report page as a reader meets it: in headless Chromium, at desktop and phone width, in light and dark."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simulator
from simulator import DAY, Instrument, Tape
from simulator.report import comparisons, pages, stresses
from simulator.report.comparisons import Comparison, Kept
from simulator.report.metrics import Measured
from simulator.stresses import Endured, StressTest

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="not run: no Chromium")]

DESKTOP, PHONE = 1280, 390
NASTY = '<script>alert("&")</script>'
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars")

# What a reader would call ugly: charts that are empty, labels that are cut off or lie on one another.
FAULTS = """[...document.querySelectorAll(".chart")].filter(chart => !chart.closest("[hidden]")).flatMap(chart => {
  const box = chart.getBoundingClientRect(), faults = [];
  const drawn = [...chart.querySelectorAll(".js-line, .js-fill, .point, .hm image")].map(mark => mark.getBoundingClientRect());
  if (!drawn.some(mark => mark.width > box.width / 4)) faults.push(`${chart.id} is empty`);
  for (const text of chart.querySelectorAll(".xtick text, .ytick text")) {
    const at = text.getBoundingClientRect();
    if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1)
      faults.push(`${chart.id}: '${text.textContent}' is cut off`);
  }
  const ticks = [...chart.querySelectorAll(".xtick text")].map(text => text.getBoundingClientRect()).sort((a, b) => a.left - b.left);
  ticks.slice(1).forEach((tick, k) => { if (tick.left < ticks[k].right) faults.push(`${chart.id}: dates lie on one another`); });
  return faults;
})"""


SUMMARY = {
    "cash_start": 1e6,
    "equity": 1.1e6,
    "metrics": {"sharpe": 1.0},
    "intervals": {"figures": {"sharpe": {"low": 0.5, "high": 1.5}}},
    "costs": {"traded": 1e6, "commission": 10.0, "slippage": 20.0, "itemised": {"Commission": 10.0}},
    "counts": {"fills": 3, "orders_by_state": {}, "halts": 0},
}


class Pipe:
    """The two ends by which Chromium is told what to do and tells what happens: messages of the DevTools protocol, each ended by a zero byte."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM
        reads, self.orders = os.pipe()
        self.news, writes = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4; ours must be out of their way before they are put there.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (reads, writes)]

        def wire() -> None:
            os.dup2(theirs[0], 3)
            os.dup2(theirs[1], 4)

        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, preexec_fn=wire, close_fds=False, stdin=quiet, stdout=quiet, stderr=quiet)
        for end in (reads, writes, *theirs):
            os.close(end)
        self.last, self.rest = 0, b""
        self.heard: list[dict[str, Any]] = []

    def ask(self, method: str, session: str = "", **terms: Any) -> dict[str, Any]:
        """Send one order and wait for its answer; what is heard meanwhile is kept."""
        self.last += 1
        order = {"id": self.last, "method": method, "params": terms} | ({"sessionId": session} if session else {})
        os.write(self.orders, json.dumps(order).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self.last:
                assert "error" not in told, told
                answer: dict[str, Any] = told["result"]
                return answer
            self.heard.append(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            assert select.select([self.news], [], [], 60.0)[0], "Chromium says nothing"
            more = os.read(self.news, 1 << 20)
            assert more, "Chromium has gone"
            self.rest += more
        one, _, self.rest = self.rest.partition(b"\0")
        told: dict[str, Any] = json.loads(one)
        return told

    def close(self) -> None:
        """End the browser that was started here."""
        self.ask("Browser.close")
        self.process.wait(timeout=30)
        os.close(self.orders)
        os.close(self.news)


@dataclass
class Seen:
    """A page that is open in the browser."""

    pipe: Pipe
    session: str

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.pipe.ask("Runtime.evaluate", self.session, expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait for what must come."""
        for _ in range(600):
            if self.run(script):
                return
            time.sleep(0.05)
        raise AssertionError(f"never came: {script}")

    def dark(self, dark: bool) -> None:
        """What the reader's device prefers."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.pipe.ask("Emulation.setEmulatedMedia", self.session, features=features)

    @property
    def complaints(self) -> list[str]:
        """Everything on the console, and every error."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [json.dumps(told["params"]) for told in self.pipe.heard if told["method"] in kinds]

    @property
    def outside(self) -> list[str]:
        """The addresses outside the page that it asked."""
        asked = [told["params"]["request"]["url"] for told in self.pipe.heard if told["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith(("file:", "data:", "blob:"))]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path_factory.mktemp("profile"))
    yield pipe
    pipe.close()


def opened(chromium: Pipe, folder: Path, page: str, width: int = DESKTOP, dark: bool = False) -> Seen:
    """The page in a window of its own, once it has drawn itself."""
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    target = chromium.ask("Target.createTarget", url="about:blank")["targetId"]
    seen = Seen(chromium, chromium.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
    for domain in ("Page", "Runtime", "Log", "Network"):
        chromium.ask(f"{domain}.enable", seen.session)
    chromium.ask("Emulation.setDeviceMetricsOverride", seen.session, width=width, height=900, deviceScaleFactor=1, mobile=width == PHONE)
    seen.dark(dark)
    chromium.heard.clear()
    chromium.ask("Page.navigate", seen.session, url=file.as_uri())
    seen.until('document.readyState === "complete" && document.documentElement.dataset.drawn === "yes"')
    return seen


class Everything:
    """Goes long and short in two instruments, and plots regimes of one of them and another chart."""

    def on_bars(self, view: simulator.View) -> object:
        chance = 0.5 + 0.4 * np.sin(view.row / 25.0)
        for name, value in ((NASTY, chance), ("middle", 0.1), ("bull", 0.9 - chance)):
            view.plot("regime ABC", name, float(value))
        view.plot(f"spread {NASTY}", "z", float(np.cos(view.row / 9.0)))
        return view.rebalance(np.array([0.8 if view.row % 60 < 40 else -0.5, 0.3])) if view.row % 20 == 0 else ()


def page(rows: int = 700, interval: int = DAY) -> str:
    """Two walks, one of them with a name that must be escaped; the other grows to thirty times its price."""
    draw = np.random.default_rng(3)
    close = 100.0 * np.exp(np.cumsum(draw.normal((0.0, 3.4 / rows), 0.01, (rows, 2)), axis=0))
    columns = close, close * 1.01, close * 0.99, close
    tape = Tape.of([Instrument("ABC"), Instrument(NASTY)], (19_000 * DAY) + np.arange(1, rows + 1) * interval, *columns, interval=interval)
    return pages.report(simulator.simulate(tape, Everything()))  # type: ignore[arg-type]


@pytest.mark.parametrize("interval", [DAY, DAY // 96], ids=["daily", "quarter-hourly"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_draws_and_fits(chromium: Pipe, tmp_path: Path, width: int, dark: bool, interval: int) -> None:
    """No word on the console, no request, no scrolling sideways, no chart without a line, no label that is cut off."""
    seen = opened(chromium, tmp_path, page(interval=interval), width, dark)
    assert seen.complaints == []
    assert seen.outside == []
    assert seen.run("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
    assert seen.run('[...document.querySelectorAll(".chart.js-plotly-plot")].map(chart => chart.id)') == [
        "equity",
        "drawdown",
        # A week of quarter-hours has too few sessions for windows of them.
        *(("rolling-sharpe", "rolling-volatility") if interval == DAY else ()),
        "price",
        "regime",
        "exposure",
        "plot-0",
    ]
    assert seen.run(FAULTS) == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_run_in_which_nothing_happened_draws_and_fits(chromium: Pipe, tmp_path: Path, width: int) -> None:
    price = np.full(30, 100.0)
    still = Tape.of([Instrument("STILL")], np.arange(1, 31) * DAY, price, price, price, price, interval=DAY)
    seen = opened(chromium, tmp_path, pages.report(simulator.simulate(still, Nothing())), width)
    assert (seen.complaints, seen.outside) == ([], [])
    assert seen.run("document.documentElement.scrollWidth") == width
    assert seen.run(FAULTS) == []


class Nothing:
    """Stays in cash."""

    def on_bars(self, view: simulator.View) -> tuple[()]:
        return ()


def test_a_request_to_the_outside_would_be_seen(chromium: Pipe, tmp_path: Path) -> None:
    """And forbidden by the page's own policy."""
    seen = opened(chromium, tmp_path, page().replace("</main>", '<img src="https://example.invalid/x.png"></main>'))
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)


def test_an_error_of_the_script_would_be_seen(chromium: Pipe, tmp_path: Path) -> None:
    seen = opened(chromium, tmp_path, page().replace("</body>", "<script>nowhere()</script></body>"))
    assert any("nowhere is not defined" in complaint for complaint in seen.complaints)


def test_a_zoom_in_one_chart_is_a_zoom_in_all(chromium: Pipe, tmp_path: Path) -> None:
    """And each is as high as what it shows then; a double click shows everything again."""
    seen = opened(chromium, tmp_path, page())
    ranges = 'JSON.stringify([...document.querySelectorAll(".chart")].map(chart => chart.layout.xaxis.range.map(at => at.slice(0, 10))))'
    shown = 'document.getElementById("exposure").layout.yaxis.range'
    whole = (seen.run(ranges), seen.run(shown))
    seen.run('Plotly.relayout("drawdown", { "xaxis.range[0]": "2022-03-01", "xaxis.range[1]": "2022-03-11" }).then(() => true)')
    seen.until(f"{ranges} === JSON.stringify(Array(8).fill(['2022-03-01', '2022-03-11']))")
    low, high = seen.run(shown)
    assert high - low < whole[1][1] - whole[1][0]
    seen.run('document.getElementById("price").emit("plotly_doubleclick")')
    seen.until(f"{ranges} === {json.dumps(whole[0])}")
    assert seen.run(shown) == pytest.approx(whole[1])
    assert seen.complaints == []


def test_another_instrument_can_be_chosen(chromium: Pipe, tmp_path: Path) -> None:
    """The regimes are those of the instrument that is shown, and its scale is what its range demands."""
    seen = opened(chromium, tmp_path, page())
    state = '[document.getElementById("regime").closest("[data-chart]").hidden, document.getElementById("price").layout.yaxis.type]'
    names: list[str] = seen.run('[...document.querySelectorAll("#instrument option")].map(option => option.textContent)')
    found = {}
    for k, name in enumerate(names):
        seen.run(
            f'(() => {{ const picker = document.getElementById("instrument"); picker.value = "{k}"; picker.dispatchEvent(new Event("change")); }})()'
        )
        seen.until(f'document.getElementById("price").data[0].name.replace("&lt;", "<").startsWith({json.dumps(name[:4])})')
        found[name] = seen.run(state)
    assert found == {"ABC": [False, "linear"], NASTY: [True, "log"]}
    assert seen.complaints == []


def test_on_paper_the_page_is_light_and_as_wide_as_paper(chromium: Pipe, tmp_path: Path) -> None:
    """Whatever the device prefers; and afterwards it is as it was."""
    seen = opened(chromium, tmp_path, page(), dark=True)
    shown = """(() => {
      const drawn = document.getElementById("equity"), paper = getComputedStyle(document.documentElement).backgroundColor;
      return [paper, drawn.data.at(-1).line.color, drawn.getElementsByTagName("svg")[0].clientWidth];
    })()"""
    before = seen.run(shown)
    seen.run('dispatchEvent(new Event("beforeprint"))')
    seen.until(f"{shown}[2] === 680")
    paper, line, _ = seen.run(shown)
    assert (paper, line) == ("rgb(255, 255, 255)", "#27507a")
    assert seen.run(FAULTS) == []
    seen.run('dispatchEvent(new Event("afterprint"))')
    seen.until(f"{shown}[2] !== 680")
    assert seen.run(shown) == before
    assert seen.complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_without_scripts_fit(chromium: Pipe, tmp_path: Path, width: int, dark: bool) -> None:
    """Stress tests and comparisons: no word on the console, no request, no scrolling sideways, no label over the edge."""
    days = 14_000 + np.arange(900)
    path = 1e6 * np.exp(np.cumsum(np.random.default_rng(5).normal(0.0, 0.03, 900)))
    runs = tuple(Endured(f"{NASTY} {k}", ("So.",), days, path * (1.0 + k), Measured(0.1), Measured(-0.2), Measured(1.0)) for k in range(4))
    stress = stresses.page(StressTest(NASTY, NASTY, runs, runs[:1], 9))
    kept = [Kept(f"{NASTY} {k}", SUMMARY, days, path) for k in range(3)]
    beside = comparisons.page(Comparison(tuple(kept), days[1:], np.column_stack([path / path[0]] * 3)))
    for made in (stress, beside):
        seen = opened(chromium, tmp_path, made.replace("<html", '<html data-drawn="yes"'), width, dark)
        assert (seen.complaints, seen.outside) == ([], [])
        assert seen.run("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
        labels = "[...document.querySelectorAll('.plot span')].map(label => label.getBoundingClientRect())"
        assert seen.run(f"{labels}.filter(at => at.left < 0 || at.right > innerWidth).length") == 0


def test_the_log_scale_is_a_switch(chromium: Pipe, tmp_path: Path) -> None:
    seen = opened(chromium, tmp_path, page())
    kind = 'document.getElementById("equity").layout.yaxis.type'
    first = seen.run(kind)
    seen.run("document.querySelector('[data-log=\"equity\"]').click()")
    seen.until(f'{kind} !== "{first}"')
    assert seen.run(FAULTS) == []


def test_a_device_that_turns_dark_turns_the_page_dark(chromium: Pipe, tmp_path: Path) -> None:
    seen = opened(chromium, tmp_path, page())
    colours = '[getComputedStyle(document.documentElement).backgroundColor, document.getElementById("equity").data[1].line.color]'
    light = seen.run(colours)
    seen.dark(True)
    seen.until(f'document.getElementById("equity").data[1].line.color !== "{light[1]}"')
    assert seen.run(colours)[0] != light[0]
    assert seen.complaints == []
