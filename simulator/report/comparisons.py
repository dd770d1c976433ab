"""Runs side by side: headline figures, equity over the sessions that all of them have, drawdowns, costs, and how their returns move together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from simulator.errors import DataError, SimulatorError
from simulator.report import drawing, metrics, words
from simulator.report.drawing import Line
from simulator.report.markup import document, note, section, table
from simulator.report.metrics import FloatArray, IntArray
from simulator.report.telling import Columns, Part

FIGURES: Final[dict[str, tuple[str, str]]] = {
    "cumulative_return": ("Total return", "percent"),
    "annual_return": ("Annual return", "percent"),
    "volatility": ("Volatility", "percent"),
    "sharpe": ("Sharpe ratio", "ratio"),
    "sortino": ("Sortino ratio", "ratio"),
    "max_drawdown": ("Maximum drawdown", "percent"),
    "calmar": ("Calmar ratio", "ratio"),
    "expected_shortfall": ("Expected shortfall 5 %", "percent"),
}
KEPT: Final = "its folder was changed, or an older version wrote it: run the scenario again"


class Kept(NamedTuple):
    """A run folder: its name, what summary.json says, and equity at the close of each session: days since 1970, (n,), and money, (n,)."""

    name: str
    summary: Mapping[str, Any]
    days: IntArray
    equity: FloatArray

    @property
    def start(self) -> float:
        """The starting capital."""
        return float(self.summary["cash_start"])


class Comparison(NamedTuple):
    """Runs, and what they did on the *days* that all of them have: *wealth* is what 1 became, (days + 1, runs), the day before the first in front."""

    runs: tuple[Kept, ...]
    days: IntArray
    wealth: FloatArray

    @property
    def correlations(self) -> FloatArray:
        """Of the returns on common days, (runs, runs); NaN where a run did not move."""
        returns = self.wealth[1:] / self.wealth[:-1] - 1.0
        if len(returns) < 2:
            return np.full((len(self.runs), len(self.runs)), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.atleast_2d(np.corrcoef(returns.T))


def compare(folders: Sequence[Path]) -> Comparison:
    """The runs in these folders of `tradewind run --out`. Raises SimulatorError for fewer than two, and for what is no run folder."""
    if len(folders) < 2:
        raise SimulatorError(f"compare needs at least 2 run folders, was given {len(folders)}")
    runs = tuple(_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True))
    days = runs[0].days
    for run in runs[1:]:
        days = np.intersect1d(days, run.days)
    wealth = np.full((len(days) + 1, len(runs)), np.nan)
    for k, run in enumerate(runs):
        if len(days):
            at = np.searchsorted(run.days, days)
            before = run.equity[at[0] - 1] if at[0] else run.start
            wealth[:, k] = np.concatenate(([1.0], run.equity[at] / before if before > 0.0 else np.full(len(at), np.nan)))
    return Comparison(runs, days, wealth)


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, and their paths where two have the same."""
    own = [folder.resolve().name for folder in folders]
    return [name if own.count(name) == 1 else str(folder) for name, folder in zip(own, folders, strict=True)]


def _read(folder: Path, name: str) -> Kept:
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = folder / "summary.json"
    try:
        summary = json.loads(place.read_text(encoding="utf-8"))
        found = pq.read_table(folder / "equity.parquet", columns=["session", "equity"])
        sessions = found["session"].cast(pa.int32()).to_numpy().astype(np.int64)
        equity = found["equity"].to_numpy()
        ends = metrics.session_ends(sessions)
        missing = [key for key in ("cash_start", "equity", "metrics", "intervals", "costs", "counts", "bars") if key not in summary]
    except OSError:
        raise SimulatorError(f"{folder} is no run folder: it has no summary.json and equity.parquet; `tradewind run --out` writes one") from None
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{folder} cannot be read: {' '.join(str(error).split())}: {KEPT}") from None
    if missing:
        raise DataError(f"{place} has no {missing[0]}: {KEPT}")
    return Kept(name, summary, sessions[ends], np.asarray(equity[ends], np.float64))


# --- In words and numbers


def _rows(found: Comparison) -> Iterator[tuple[str, ...]]:
    """Each figure over all runs: its name, and what it is in each."""

    def each(name: str, say: Callable[[Kept], str]) -> tuple[str, ...]:
        return (name, *(say(run) for run in found.runs))

    def sure(run: Kept, name: str, kind: str) -> str:
        span = run.summary["intervals"]["figures"].get(name)
        return f"{_shown(_number(span['low']), kind)} to {_shown(_number(span['high']), kind)}" if span else ""

    yield each("Scenario", lambda run: (run.summary.get("scenario") or {}).get("name", "none"))
    yield each("From", lambda run: words.date(int(run.days[0])) if len(run.days) else "no bar")
    yield each("To", lambda run: words.date(int(run.days[-1])) if len(run.days) else "no bar")
    yield each("Final equity", lambda run: words.money(_number(run.summary["equity"])))
    for metric, (label, kind) in FIGURES.items():
        yield (label, *(_shown(_number(run.summary["metrics"].get(metric)), kind) for run in found.runs))
        spans = [sure(run, metric, kind) for run in found.runs]
        if any(spans):
            yield ("  90 % of histories", *spans)
    yield each("Fills", lambda run: f"{run.summary['counts']['fills']:,}")
    yield each("Refused orders", lambda run: f"{run.summary['counts']['orders_by_state'].get('rejected', 0):,}")
    yield each("Halts", lambda run: f"{run.summary['counts']['halts']:,}")
    yield each("Traded", lambda run: words.money(_number(run.summary["costs"]["traded"])))
    names = dict.fromkeys(name for run in found.runs for name in run.summary["costs"]["itemised"])
    for name in names:
        yield (name, *(words.money(_number(run.summary["costs"]["itemised"].get(name, 0.0))) for run in found.runs))
    yield each("Costs, bps of traded", lambda run: words.ratio(_bps(run)))


def _bps(run: Kept) -> float:
    spent = run.summary["costs"]
    traded = _number(spent["traded"])
    return 1e4 * (_number(spent["commission"]) + _number(spent["slippage"])) / traded if traded > 0.0 else float("nan")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _shown(value: float, kind: str) -> str:
    return words.percent(value) if kind == "percent" else words.ratio(value)


def _common(found: Comparison) -> Iterator[tuple[str, ...]]:
    """What each run did on the days that all have."""
    periods = metrics.periods_of(found.days)
    for run, path in zip(found.runs, found.wealth.T, strict=True):
        r = metrics.session_returns(path[1:], found.days, 1.0)
        figures = (metrics.cumulative_return(r), metrics.max_drawdown(r), metrics.volatility(r, periods=periods), metrics.sharpe(r, periods=periods))
        yield (run.name, *(words.percent(x) for x in figures[:3]), words.ratio(figures[3]))


COMMON: Final = ("", "Return", "Drawdown", "Volatility", "Sharpe")
HISTORIES: Final = "Histories are made of blocks of each run’s own sessions (stationary bootstrap)."


def _span(found: Comparison) -> str:
    if not len(found.days):
        return "no session is in all of them"
    return f"{len(found.days):,} sessions that all have, {words.date(int(found.days[0]))} to {words.date(int(found.days[-1]))}"


def _moving(found: Comparison) -> list[tuple[str, ...]]:
    return [(run.name, *(words.ratio(float(x)) for x in row)) for run, row in zip(found.runs, found.correlations, strict=True)]


def told(found: Comparison) -> Iterator[Part]:
    """A comparison in words and tables."""
    names = tuple(run.name for run in found.runs)
    yield Columns("runs", ("", *names), list(_rows(found)))
    if len(found.days):
        yield Columns(f"on the {_span(found)}", tuple(name.lower() for name in COMMON), list(_common(found)))
        yield Columns("correlation of session returns", ("", *names), _moving(found))
    else:
        yield "common", _span(found)


def plain(found: Comparison) -> dict[str, Any]:
    """The same as JSON has it: what is undefined is null."""

    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    kept = ("run_id", "journal_hash", "scenario", "cash_start", "equity", "metrics", "intervals", "costs", "counts")
    return {
        "runs": [{"name": run.name, **{key: run.summary.get(key) for key in kept}} for run in found.runs],
        "common": {
            "sessions": len(found.days),
            "first": words.iso(int(found.days[0])) if len(found.days) else None,
            "last": words.iso(int(found.days[-1])) if len(found.days) else None,
            "wealth": {run.name: number(float(path[-1])) for run, path in zip(found.runs, found.wealth.T, strict=True)},
        },
        "correlations": [[number(float(x)) for x in row] for row in found.correlations],
    }


# --- The page


def write(found: Comparison, path: Path) -> None:
    """Write the page, whole or not at all. Raises SimulatorError where it cannot be written, or is not to end in .html."""
    if path.suffix != ".html":
        raise SimulatorError(f"--out must be a file that ends in .html, was {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_text(page(found), encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        raise SimulatorError(f"cannot write the page {path}: {error.strerror or error}") from error


def page(found: Comparison) -> str:
    """One self-contained page without scripts."""
    names = [run.name for run in found.runs]
    opening = f'<header>\n<p class="over">Comparison</p>\n<h1>{escape(" and ".join(names) if len(names) < 3 else f"{len(names)} runs")}</h1>\n'
    body = [f'{opening}<p class="lede">{escape(_span(found)[0].upper() + _span(found)[1:])}.</p>\n</header>']
    if len(found.days):
        days = np.concatenate(([found.days[0] - 1], found.days))
        wealth, under = [], []
        for k, (name, path) in enumerate(zip(names, found.wealth.T, strict=True)):
            colour, dashes = drawing.colour_of(k)
            wealth.append(Line(name, days, path, colour, dashes))
            under.append(Line(name, days, path / np.maximum.accumulate(path) - 1.0, colour, dashes))
        curve = drawing.plot(wealth, "What 1 became in each run", words.short, log=True)
        fall = drawing.plot(under, "Drawdown of each run", lambda share: words.percent(share, 0))
        body += [
            section("What 1 became", drawing.key(wealth) + curve + note("From the close before the first common session on, at session closes.")),
            section("Drawdowns", drawing.key(under) + fall),
            section("On the same days", table(COMMON, _common(found))),
            section("Correlation of session returns", table(("", *names), _moving(found))),
        ]
    body.append(section("Each run as a whole", table(("", *names), _rows(found)) + note(HISTORIES, "What a cost is below 0 was earned.")))
    return document(f"Comparison of {', '.join(names)}", body, drawing.PLOT_STYLE)
