"""Stressed tapes: valid bars, the same for the same seed, the tape itself where a transform is off, and each what it says."""

from __future__ import annotations

from datetime import date
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import DAY, Actions, Dividend, Financing, Future, Instrument, Loan, ScenarioError, Split, Tape, assembly, scenarios
from simulator.feeds.stress import (
    Draws,
    Gap,
    Squeeze,
    Stop,
    Stress,
    bootstrapped,
    correlated,
    gapped,
    more_volatile,
    thinner,
    with_late,
    with_missing,
)
from simulator.loop import prover
from simulator.report import folders, records

HOUR = DAY // 24
RANDOM = Draws(7, 0)
FIELDS = ("open", "high", "low", "close", "volume")
START = date(2022, 1, 8)  # day 19,000
ON_GRID = ("0.01", "0.05", "0")


def walks(rows: int = 60, width: int = 2, seed: int = 1, ticks: tuple[str, ...] = ON_GRID, per_session: int = 1, gaps: float = 0.1) -> Tape:
    """Walks with some bars missing, so many bars a session, on their price grids."""
    draw = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(draw.normal(0.0, 0.02, (rows, width)), axis=0))
    opens = close * np.exp(draw.normal(0.0, 0.01, close.shape))
    high, low = np.maximum(opens, close) * 1.004, np.minimum(opens, close) * 0.996
    up = np.array([float(ticks[k % len(ticks)]) for k in range(width)])
    columns = [np.where(up > 0.0, np.round(x / np.where(up > 0.0, up, 1.0)) * up, x) for x in (opens, high, low, close)]
    columns.append(np.floor(draw.uniform(1e3, 1e5, close.shape)))
    gone = draw.random(close.shape) < gaps
    gone[:, 0] = False
    for column in columns:
        column[gone] = np.nan
    span = DAY if per_session == 1 else HOUR
    days, hours = np.divmod(np.arange(rows), per_session)
    closed_at = (19_000 + days) * DAY + (hours + 1) * span
    instruments = [Instrument(f"S{k}", tick=ticks[k % len(ticks)]) for k in range(width)]
    return Tape.of(instruments, closed_at, *columns, interval=span, sessions=19_000 + days)


def of(tape: Tape, name: str) -> np.ndarray:
    return np.array(getattr(tape, name)[: len(tape)])


def check_valid(tape: Tape) -> None:
    """What every feed promises of its bars."""
    opens, high, low, close, volume = (of(tape, name) for name in FIELDS)
    there = ~np.isnan(close)
    assert len(tape)
    assert there.any(axis=1).all()
    for column in (opens, high, low, volume):
        assert np.array_equal(there, ~np.isnan(column))
    assert (low[there] > 0.0).all()
    assert np.isfinite(high[there]).all()
    assert (low[there] <= np.minimum(opens, close)[there]).all()
    assert (high[there] >= np.maximum(opens, close)[there]).all()
    assert (volume[there] >= 0.0).all()
    for k, instrument in enumerate(tape.instruments):
        if instrument.tick_size:
            for column in (opens, high, low, close):
                own = column[there[:, k], k]
                assert np.allclose(own / instrument.tick_size, np.round(own / instrument.tick_size), atol=1e-6, rtol=0)


EVERYTHING = Stress(
    bootstrap=5.0,
    volatility=2.5,
    correlation=0.7,
    gaps=(Gap(-0.3), Gap(0.1)),
    liquidity=7.0,
    missing=0.1,
    late=0.1,
    halts=(Stop(2),),
)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(2, 4),
    per_session=st.sampled_from([1, 3]),
    volatility=st.floats(0.01, 20.0),
    correlation=st.floats(0.0, 1.0),
    size=st.floats(-0.99, 3.0),
    share=st.floats(0.0, 0.6),
)
def test_bars_stay_valid(seed: int, width: int, per_session: int, volatility: float, correlation: float, size: float, share: float) -> None:
    tape = walks(seed=seed, width=width, per_session=per_session)
    stress = Stress(
        bootstrap=3.0, volatility=volatility, correlation=correlation, gaps=(Gap(size),), liquidity=9.0, missing=share, late=share, halts=(Stop(),)
    )
    check_valid(stress.tape(tape, seed))


def test_nothing_is_the_tape_itself() -> None:
    tape = walks()
    assert Stress().tape(tape, 1) is tape
    assert Stress(gaps=(Gap(0.0),)).tape(tape, 1) is tape


def test_the_same_seed_gives_the_same_bars() -> None:
    tape = walks()
    assert EVERYTHING.tape(tape, 3).digest() == EVERYTHING.tape(tape, 3).digest()
    assert EVERYTHING.tape(tape, 3).digest() != EVERYTHING.tape(tape, 4).digest()
    assert EVERYTHING.tape(tape, 3).digest() != Stress(**{**_fields(EVERYTHING), "seed": 1}).tape(tape, 3).digest()


def _fields(stress: Stress) -> dict[str, object]:
    return {name: getattr(stress, name) for name in stress.__dataclass_fields__}


def test_what_one_transform_draws_does_not_hang_on_the_others() -> None:
    tape = walks(gaps=0.0)
    alone, both = Stress(missing=0.2).tape(tape, 1), Stress(missing=0.2, liquidity=2.0).tape(tape, 1)
    assert np.array_equal(of(alone, "close"), of(both, "close"), equal_nan=True)


# --- Volatility and correlation


def test_volatility_doubles_and_the_mean_return_stays() -> None:
    tape = walks(rows=400, width=3, ticks=("0",), gaps=0.05)
    wilder = more_volatile(tape, 2.0)
    for k in range(3):
        ours, its = (np.log(x[~np.isnan(x)]) for x in (of(wilder, "close")[:, k], of(tape, "close")[:, k]))
        moved, was = np.diff(ours), np.diff(its)
        assert moved.std() == pytest.approx(2.0 * was.std(), rel=1e-9)
        assert np.expm1(moved).mean() == pytest.approx(np.expm1(was).mean(), abs=1e-12)


def test_closes_alone_stay_closes_alone() -> None:
    close = of(walks(width=1, gaps=0.0), "close")
    flat = Tape.of([Instrument("A")], np.arange(1, 61) * DAY, close, close, close, close, interval=DAY)
    wilder = more_volatile(flat, 3.0)
    assert all(np.array_equal(of(wilder, name), of(wilder, "close")) for name in FIELDS[:3])
    assert np.isinf(of(wilder, "volume")).all()


def test_correlations_go_to_one_at_the_same_means_and_volatilities() -> None:
    tape = walks(rows=400, width=3, ticks=("0",), gaps=0.0)
    alike = correlated(tape, 1.0)
    ours, its = (np.diff(np.log(of(x, "close")), axis=0) for x in (alike, tape))
    assert np.corrcoef(ours.T) == pytest.approx(np.ones((3, 3)))
    assert ours.std(axis=0) == pytest.approx(its.std(axis=0))
    halfway = np.corrcoef(np.diff(np.log(of(correlated(tape, 0.5), "close")), axis=0).T)
    assert (np.abs(np.corrcoef(its.T)[0, 1:]) < halfway[0, 1:]).all()
    assert (halfway[0, 1:] < 1.0).all()


def test_one_instrument_has_no_correlation() -> None:
    with pytest.raises(ScenarioError, match=r"stress\.correlation needs at least 2 instruments, there is S0 only"):
        correlated(walks(width=1), 1.0)


def test_a_split_is_no_volatility() -> None:
    """The price halves because there are twice as many shares: a wilder market does not make that a fall to a quarter."""
    close = np.where(np.arange(40) < 20, 100.0, 50.0) * np.where(np.arange(40) % 2, 1.0, 1.01)
    tape = Tape.of([Instrument("A")], (19_001 + np.arange(40)) * DAY, close, close, close, close, interval=DAY)
    tape.actions = Actions([Split("A", 19_020, 2, 1)])
    wilder = of(more_volatile(tape, 2.0), "close")[:, 0]
    assert wilder[20] / wilder[19] == pytest.approx(0.5 * 1.01**2, rel=1e-3)


# --- History


def test_a_resampled_history_is_made_of_sessions_that_were() -> None:
    tape = walks(rows=90, width=2, ticks=("0",), per_session=3, gaps=0.0)
    other = bootstrapped(tape, 4.0, RANDOM)
    assert len(other) == len(tape)
    assert np.array_equal(other.closed_at[: len(other)], tape.closed_at[: len(tape)])
    ratios = {tuple(np.round(of(tape, "close")[k : k + 3, 0] / of(tape, "open")[k, 0], 9)) for k in range(0, 90, 3)}
    drawn = [tuple(np.round(of(other, "close")[k : k + 3, 0] / of(other, "open")[k, 0], 9)) for k in range(0, 90, 3)]
    assert set(drawn) <= ratios
    assert len(set(drawn)) < 30, "some session came twice"


def test_sessions_of_other_lengths_bring_their_hours() -> None:
    days = np.array([0, 0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5])
    hours = np.array([1, 2, 3, 1, 1, 2, 3, 1, 1, 2, 3, 1])
    close = 100.0 + np.arange(12.0)
    tape = Tape.of([Instrument("A")], (19_000 + days) * DAY + hours * HOUR, close, close, close, close, interval=HOUR, sessions=19_000 + days)
    other = bootstrapped(tape, 1.0, RANDOM)
    check_valid(other)
    assert np.unique(other.sessions[: len(other)]).tolist() == np.unique(tape.sessions[:12]).tolist()


@pytest.mark.parametrize("what", ["corporate actions belong", "a contract that expires belongs"])
def test_what_belongs_to_dates_is_not_resampled(what: str) -> None:
    tape = walks(width=1)
    if "actions" in what:
        tape.actions = Actions([Dividend("S0", 19_005, 1.0)])
    else:
        close = of(walks(width=1, gaps=0.0), "close")
        tape = Tape.of([Future("ES", expires="2022-02-01")], tape.closed_at[:60], close, close, close, close, interval=DAY)
    with pytest.raises(ScenarioError, match=f"stress.bootstrap changes which session comes when, and {what} to dates"):
        bootstrapped(tape, 5.0, RANDOM)


# --- Events


def test_a_gap_leaves_what_was_before_it_to_the_bit() -> None:
    tape = walks(ticks=("0.01",))
    fallen = gapped(tape, Gap(-0.2, START.replace(day=28), ("S1",)), RANDOM)
    for name in FIELDS[:4]:
        assert np.array_equal(of(fallen, name)[:20], of(tape, name)[:20], equal_nan=True)
        assert np.array_equal(of(fallen, name)[:, 0], of(tape, name)[:, 0])
        assert of(fallen, name)[20:, 1] == pytest.approx(0.8 * of(tape, name)[20:, 1], abs=0.0051, nan_ok=True)


def test_a_halt_is_a_suspension_for_so_many_sessions() -> None:
    stress = Stress(halts=(Stop(3, START.replace(day=10), ("S0",)),))
    (halt,) = stress.tape(walks(), 1).actions or ()
    assert halt.symbol == "S0"
    assert (getattr(halt, "first", 0), getattr(halt, "last", 0)) == (19_002, 19_004)


def test_what_has_no_date_is_drawn_from_the_middle() -> None:
    tape = walks(ticks=("0",))
    for seed in range(20):
        fallen = gapped(tape, Gap(-0.5), Draws(seed, 0))
        first = int(np.flatnonzero(of(fallen, "close")[:, 0] != of(tape, "close")[:, 0])[0])
        assert 15 <= first < 45


@pytest.mark.parametrize(
    ("stress", "words"),
    [
        (Stress(gaps=(Gap(-0.1, date(2030, 1, 1)),)), r"stress.gaps\[0\].at must be within the bars, 2022-01-08 to 2022-03-08, was 2030-01-01"),
        (Stress(halts=(Stop(symbols=("S9",)),)), r"stress.halts\[0\].symbols: there are no bars of 'S9'; there is: S0, S1"),
    ],
)
def test_symbols_and_dates_that_are_not_there_are_refused(stress: Stress, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        stress.tape(walks(), 1)


# --- What can be traded, and what is wrong with the bars


def test_liquidity_is_whole_lots() -> None:
    tape = walks(gaps=0.0)
    assert np.array_equal(of(thinner(tape, 3.0), "volume"), np.floor(of(tape, "volume") / 3.0))


def test_bars_are_missing_at_about_the_share() -> None:
    tape = walks(rows=3_000, gaps=0.0)
    other = with_missing(tape, 0.2, RANDOM)
    assert np.isnan(of(other, "close")).mean() == pytest.approx(0.2 - 0.04, abs=0.02), "where both are missing there is no instant"
    kept = np.searchsorted(tape.closed_at[:3_000], other.closed_at[: len(other)])
    there = ~np.isnan(of(other, "close"))
    assert np.array_equal(of(other, "close")[there], of(tape, "close")[kept][there])


def test_late_bars_are_one_with_the_next() -> None:
    tape = walks(rows=300)
    other = with_late(tape, 0.3, RANDOM)
    check_valid(other)
    ends = np.searchsorted(tape.closed_at[:300], other.closed_at[: len(other)])
    assert 60 <= 300 - len(other) <= 120
    assert np.nansum(of(other, "volume")) == np.nansum(of(tape, "volume"))
    first = 0
    for row, last in enumerate(ends.tolist()):
        own = slice(first, last + 1)
        for k in range(tape.width):
            known = np.flatnonzero(~np.isnan(of(tape, "close")[own, k]))
            if len(known):
                assert other.open[row, k] == of(tape, "open")[own, k][known[0]]
                assert other.close[row, k] == of(tape, "close")[own, k][known[-1]]
                assert other.high[row, k] == np.nanmax(of(tape, "high")[own, k])
                assert other.low[row, k] == np.nanmin(of(tape, "low")[own, k])
        assert other.opened_at[row] == tape.opened_at[first]
        first = last + 1


def test_bars_are_not_joined_over_a_split() -> None:
    tape = walks(rows=60, width=1)
    tape.actions = Actions([Split("S0", 19_030, 2, 1)])
    other = with_late(tape, 0.9, RANDOM)
    assert 19_029 in other.sessions[: len(other)]


# --- Settings


def test_a_squeeze_makes_dear_and_scarce_what_was_cheap() -> None:
    plain = Financing(loans=(Loan("A", 0.01), Loan("A", 0.9, 500.0, date(2022, 3, 1))))
    squeezed = plain.squeezed(["A", "B"], 0.5, 1_000.0, date(2022, 2, 1))
    assert sorted(squeezed.loans, key=lambda x: (x.symbol, x.since or date.min)) == [
        Loan("A", 0.01),
        Loan("A", 0.5, 1_000.0, date(2022, 2, 1)),
        Loan("A", 0.9, 500.0, date(2022, 3, 1)),
        Loan("B", 0.5, 1_000.0, date(2022, 2, 1)),
    ]
    assert Financing().squeezed([], 0.5, inf, date(2022, 2, 1)) == Financing()


SCENARIO = """
[feed]
kind = "walks"
bars = 120
symbols = ["A", "B"]
[strategy]
name = "buy_and_hold"
weight = 0.9
"""


def held(folder: Path, weight: float) -> str:
    """The name of a strategy in a file that holds one weight from its first bar on."""
    lines = ("import numpy as np", "class Held:", "    def on_bars(self, view):")
    then = f"        return view.rebalance(np.array([{weight}])) if view.row == 0 else ()"
    (folder / "held.py").write_text("\n".join((*lines, then, "")))
    return "held.py:Held"


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "calm.toml"
    path.write_text(SCENARIO)
    return path


def test_a_scenario_says_its_stress(scenario: Path) -> None:
    plain = scenarios.load(scenario)
    stressed = scenarios.load(scenario, ["stress.volatility=2", "stress.gaps=[{size=-0.2}]", "stress.spread=4"])
    assert "stress" not in plain.text
    assert "[stress]" in stressed.text
    assert "volatility = 2.0" in stressed.text
    assert "size = -0.2" in stressed.text
    ours, its = assembly.run(stressed), assembly.run(plain)
    assert ours.tape.digest() != its.tape.digest()
    assert any(sentence.startswith("Stress: All prices are -20.0%") for sentence in ours.assumptions)
    assert "Slippage of takers: 4 bps." in ours.assumptions


def test_a_spread_of_four_costs_four_times(scenario: Path) -> None:
    runs = [assembly.run(scenarios.load(scenario, overrides)) for overrides in ([], ["stress.spread=4"])]
    plain, wide = ((sum(fill.slippage for fill in run.fills)) for run in runs)
    assert wide == pytest.approx(4.0 * plain, rel=1e-2)
    assert plain > 0.0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stress.volatilty=2", "stress: no such key 'volatilty'; did you mean 'volatility'?"),
        ("stress.volatility=0", r"stress.volatility must be above 0 and at most 1000, 1 is off, was 0.0"),
        ("stress.missing=1.0", r"stress.missing must be a share in \[0, 1\), 0 is off, was 1.0"),
        ("stress.gaps=[{size=-1.5}]", r"stress.gaps\[0\].size must be above -1, a share of the price, was -1.5"),
        ("stress.gaps=[{sze=-0.5}]", r"stress.gaps\[0\]: no such key 'sze'; did you mean 'size'"),
        ("stress.bootstrap=0.5", "stress.bootstrap must be a mean block of at least 1 session, or 0"),
        ("stress=2", "stress must be a table"),
    ],
)
def test_a_stress_that_cannot_be_is_refused(scenario: Path, override: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        scenarios.load(scenario, [override])


def test_squeezed_shorts_are_bought_in() -> None:
    assert Stress(squeezes=(Squeeze(0.5, 0.0, date(2022, 2, 1), ("S1",)),)).squeezed(walks(), 1) == ((("S1",), 0.5, 0.0, date(2022, 2, 1)),)


def test_a_stressed_run_is_proven_and_read_back(scenario: Path, tmp_path: Path) -> None:
    """Its bars are made anew from its scenario: the same ones, or `state` would refuse them."""
    settings = ["strategy.name=momentum", "strategy.lookback=10", "strategy.top=1", "strategy.every=5", "stress.volatility=2", "stress.bootstrap=5"]
    stressed = scenarios.load(scenario, [*settings, "stress.missing=0.05", "stress.late=0.05"])
    assert prover.prove(stressed, points=2).passed
    result = assembly.run(stressed)
    folders.write(result, tmp_path / "kept")
    assert records.load_tape(records.read(tmp_path / "kept")).digest() == result.tape.digest()


def test_a_short_pays_the_squeeze_and_is_bought_in(scenario: Path) -> None:
    """From its first session on; before that it is as it was."""
    settings = ["stress.squeezes=[{rate=2.0, available=0.0, at=2020-03-02, symbols=['A']}]"]
    short = held(scenario.parent, -0.4)
    runs = []
    for overrides in ([], settings):
        one = scenarios.load(scenario, [*overrides, "feed.symbols=['A']", f"strategy.name={short}"])
        runs.append(assembly.run(one))
    plain, squeezed = runs
    assert plain.positions["A"] < 0.0
    assert squeezed.positions == {}
    assert {x.reason for x in squeezed.forced} == {"borrowed shares recalled"}
    first = int(np.searchsorted(plain.tape.sessions[:120], (date(2020, 3, 2) - date(1970, 1, 1)).days))
    assert np.array_equal(plain.equity[:first], squeezed.equity[:first])
