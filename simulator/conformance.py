"""What every strategy must keep to, as rules to try it with; and a plug-in for pytest that makes a test of each.

With `-p simulator.conformance` a test that takes the argument `conformance` becomes one test for each rule:

    def test_it_keeps(conformance: Check) -> None:
        conformance(lambda: MyStrategy(window=5))

Without pytest, `conforms(make, rule)` is the same. Rules are tried on a tape of made-up walks, on another of MARKETS by its name, or on one that is
given: `conformance(make, "cointegrated")`. A strategy that sends no order there shows nothing, and is told so. Costs, caps and limits are off, so
that what must be the same is exactly that.
Source: market-rules.md, sections 5 and 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from simulator.errors import PluginError, ScenarioError, nearest

if TYPE_CHECKING:
    from simulator.book.orders import FloatArray
    from simulator.market.tape import Tape
    from simulator.ports import Strategy
    from simulator.report.results import OrderRow, Result

Make: TypeAlias = "Callable[[], Strategy]"
"""Makes a strategy that has not run yet, the same each time."""

CASH: Final = 100_000_000.0
"""So much that lots are small beside it, and rounding to them decides nothing."""
FEW: Final = 4
"""So many lots are as good as none."""
POINTS: Final = 5


class Check:
    """One rule, to be called with what makes a strategy."""

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def __call__(self, make: Make, tape: Tape | str = "walks") -> None:
        """Try it on a tape, or one of MARKETS. Raises PluginError where the strategy breaks the rule."""
        conforms(make, self.rule, tape)

    def __repr__(self) -> str:
        return self.rule


def conforms(make: Make, rule: str, tape: Tape | str = "walks") -> None:
    """Try one of RULES with a strategy on *tape*, or on one of MARKETS: by default 300 days of four made-up instruments.

    Raises PluginError where the rule is broken, or where no order was sent, ScenarioError where there is no such rule or market.
    """
    if rule not in RULES:
        raise ScenarioError(f"conforms: no such rule {rule!r}{nearest(rule, RULES)}")
    if make() is make():
        raise PluginError(f"{rule}: what makes the strategy must make a new one each time, since a strategy remembers its run")
    if isinstance(tape, str):
        if tape not in MARKETS:
            raise ScenarioError(f"conforms: no such market {tape!r}{nearest(tape, MARKETS)}")
        tape = MARKETS[tape]()
    base = run(make, tape)
    if not base.orders:
        raise PluginError(
            f"{rule}: {_name(make)} sent no order on these {len(tape)} bars, which shows nothing: give it other parameters or a longer tape"
        )
    RULES[rule](make, tape, base)


def walks() -> Tape:
    """300 days of four made-up instruments."""
    from pathlib import Path

    from simulator.feeds.synthetic import Walks

    return Walks(bars=300, symbols=("A", "B", "C", "D"), volatility=0.02).load(seed=20, folder=Path())


def cointegrated() -> Tape:
    """300 days of two made-up pairs, each of which parts and comes back within days."""
    from pathlib import Path

    from simulator.feeds.synthetic import Cointegrated

    return Cointegrated(bars=300, pairs=("X", "Y"), spread=0.04, half_life=4.0).load(seed=1, folder=Path())


MARKETS: Final[dict[str, Callable[[], Tape]]] = {market.__name__: market for market in (walks, cointegrated)}
"""The made-up markets by their names."""


def run(make: Make, tape: Tape, bars: int | None = None, cash: float = CASH) -> Result:
    """A run without costs, caps and limits."""
    from simulator import assembly
    from simulator.risk.limits import Account

    return assembly.simulate(tape, make(), broker=_broker(), account=Account(cash, "margin", float("inf")), bars=bars)


def _broker() -> Any:
    from pathlib import Path

    from simulator import plugins

    free = {"participation": float("inf"), "commission": {"per_share": 0.0, "minimum": 0.0}, "slippage": {"model": "none"}}
    kind = plugins.find(plugins.BROKERS, "simulated", Path())
    return plugins.build(kind, free, "conforms")


# --- The rules


def causality(make: Make, tape: Tape, base: Result) -> None:
    """What is decided does not depend on what comes later."""
    from simulator.loop.prover import examine

    def anew(tape: Tape, bars: int | None) -> Result:
        return run(make, tape, bars)

    certificate = examine(_name(make), anew, tape, points=POINTS, base=base)
    if not certificate.passed:
        raise PluginError(certificate.words())


def determinism(make: Make, tape: Tape, base: Result) -> None:
    """The same run twice is the same, byte for byte."""
    again = run(make, tape)
    _same_journal("determinism", "a second run", base, again)


def chunks(make: Make, tape: Tape, base: Result) -> None:
    """A tape that grows bar by bar, as a live feed's does, gives the same journal as a whole one."""
    from simulator import assembly
    from simulator.loop.journal import MemoryJournal
    from simulator.loop.session import step
    from simulator.market.tape import Tape
    from simulator.report.results import Result
    from simulator.risk.limits import Account

    grown = Tape(tape.instruments, tape.interval, capacity=1, truth=tape.truth)
    session, feed = assembly.assemble(grown, make(), broker=_broker(), account=Account(CASH, "margin", float("inf")), growing=True)
    for t in range(len(tape)):
        bars = (tape.open[t], tape.high[t], tape.low[t], tape.close[t], tape.volume[t])
        grown.append(tape.ats[t], *bars, opened_at=tape.starts[t], session=tape.days[t])
        feed.bars.row, feed.bars.closed_at = t, tape.ats[t]
        step(session, feed.bars)
    assert isinstance(session.journal, MemoryJournal)
    _same_journal("chunks", "a tape that grows", base, Result(grown, session.journal, CASH, len(grown)))


def permutation(make: Make, tape: Tape, base: Result) -> None:
    """The order in which the instruments stand changes nothing."""
    other = _tape(tape, tuple(reversed(range(tape.width))))
    _same_orders("permutation", "with the instruments in reverse", _quantities(base), _quantities(run(make, other)))


def scale(make: Make, tape: Tape, base: Result) -> None:
    """With all prices and the cash doubled, the same orders are sent."""
    terms = [replace(x, tick=_doubled(x.tick)) for x in tape.instruments]
    other = _tape(tape, prices=2.0, instruments=terms)
    _same_orders("scale", "with prices and cash doubled", _quantities(base), _quantities(run(make, other, cash=2.0 * CASH)))


def stranger(make: Make, tape: Tape, base: Result) -> None:
    """One more instrument that never has a bar is not ordered; the others are held from the same bars on, though perhaps in other sizes."""
    import numpy as np

    from simulator.market.instruments import Instrument

    symbol = next(name for name in ("NONE", "NONE2") if name not in tape.index)
    nothing = np.full((len(tape), 1), np.nan)
    other = _with_columns(tape, [*tape.instruments, Instrument(symbol)], [np.hstack([column, nothing]) for column in _columns(tape)])
    result = run(make, other)
    if any(order.symbol == symbol for order in result.orders):
        raise PluginError(f"stranger: it orders {symbol}, which never had a bar")
    _same_sides("stranger", "beside an instrument that never has a bar", _sides(base), _sides(result))


def units(make: Make, tape: Tape, base: Result) -> None:
    """An instrument that is counted in halves, at half the price and in lots of two, is traded in as many lots."""
    first = tape.instruments[0]
    terms = [replace(first, lot=_doubled(first.lot), tick=_halved(first.tick)), *tape.instruments[1:]]
    other = run(make, _with_columns(tape, terms, _halved_from(tape, 0)))
    ours = [x if x.symbol != first.symbol else x._replace(amount=x.amount * 2.0) for x in _quantities(base)]
    _same_orders("units", f"with {first.symbol} counted in halves", ours, _quantities(other))


def split(make: Make, tape: Tape, base: Result) -> None:
    """A 2:1 split halfway changes nothing that is held but the number of shares: signals come from forward-chained prices."""
    from simulator.market.actions import Actions, Split

    first, half = tape.instruments[0].symbol, len(tape) // 2
    other = _with_columns(tape, list(tape.instruments), _halved_from(tape, half))
    other.actions = Actions([Split(first, int(tape.sessions[half]), 2, 1)], "chained")
    result = run(make, other)
    _same_sides("split", f"with {first} split 2:1 at bar {half}", _sides(base), _sides(result, (first, half)))
    for symbol, units in base.positions.items():
        wanted = units * (2.0 if symbol == first else 1.0)
        if abs(result.positions.get(symbol, 0.0) - wanted) > 1e-3 * abs(wanted) + FEW:
            raise PluginError(
                f"split: with {first} split 2:1 at bar {half}, it ends with {result.positions.get(symbol, 0.0):g} {symbol} and not {wanted:g}"
            )


def _halved_from(tape: Tape, row: int) -> list[FloatArray]:
    """Bars in which the first instrument costs half from a row on, and trades twice as many."""
    columns = _columns(tape)
    for column in columns[:4]:
        column[row:, 0] *= 0.5
    columns[4][row:, 0] *= 2.0
    return columns


def warm_up(make: Make, tape: Tape, base: Result) -> None:
    """An instrument that begins late is not ordered before its first bar, and a history of a few bars is not an error."""
    import numpy as np

    begins, columns = len(tape) // 2, _columns(tape)
    for column in columns:
        column[:begins, -1] = np.nan
    late = tape.instruments[-1].symbol
    if tape.width > 1:
        early = [x for x in run(make, _with_columns(tape, list(tape.instruments), columns)).orders if x.symbol == late and x.bar < begins]
        if early:
            raise PluginError(f"warm_up: it orders {late} at bar {early[0].bar}, and its first bar is {begins}")
    for bars in (1, 2, 3, 5):
        run(make, tape.cut(bars))


RULES: Final[dict[str, Callable[[Make, Tape, Result], None]]] = {
    rule.__name__: rule for rule in (causality, determinism, chunks, permutation, scale, units, split, stranger, warm_up)
}
"""The rules by their names; what each asks for is its docstring."""


# --- Comparing


class _Sent(NamedTuple):
    """An order, without its id and its place among others."""

    symbol: str
    bar: int
    kind: str
    amount: float
    tif: str
    state: str


def _sent(order: OrderRow, amount: float) -> _Sent:
    return _Sent(order.symbol, order.bar, order.kind, amount, order.tif, order.state)


def _quantities(result: Result) -> list[_Sent]:
    return [_sent(order, order.quantity) for order in result.orders]


def _sides(result: Result, split: tuple[str, int] = ("", 0)) -> list[str]:
    """When each instrument began to be long, short or neither; a few lots are neither, since rounding may leave them. After a *split*, of a symbol
    and from a bar on, two shares are what one was.
    """
    held, told = dict.fromkeys((x.symbol for x in result.tape.instruments), 0.0), []
    few = {x.symbol: x.units(FEW) for x in result.tape.instruments}
    for fill in sorted(result.fills, key=lambda fill: (fill.bar, fill.symbol)):
        was = held[fill.symbol]
        held[fill.symbol] = now = was + fill.quantity * (0.5 if fill.symbol == split[0] and fill.bar >= split[1] else 1.0)
        small = few[fill.symbol]
        if (was > small, was < -small) != (now > small, now < -small):
            told.append(f"{'long' if now > small else 'short' if now < -small else 'out of'} {fill.symbol} at bar {fill.bar}")
    return told


def _same_sides(rule: str, how: str, ours: list[str], theirs: list[str]) -> None:
    """The same instruments long, short and neither from the same bars on."""
    for a, b in zip_longest(ours, theirs, fillvalue="holds as before"):
        if a != b:
            raise PluginError(f"{rule}: {how}, '{a}' became '{b}'")


def _same_orders(rule: str, how: str, ours: list[_Sent], theirs: list[_Sent]) -> None:
    """The same orders in whatever order within a bar."""
    first, second = (sorted(orders, key=lambda x: (x.bar, *x)) for orders in (ours, theirs))
    for a, b in zip(first, second, strict=False):
        if a != b:
            raise PluginError(f"{rule}: {how}, {_told(a)} became {_told(b)}")
    if len(first) != len(second):
        raise PluginError(f"{rule}: {how}, it sends {len(second)} orders and not {len(first)}")


def _told(order: _Sent) -> str:
    return f"{order.kind} order for {order.amount:g} {order.symbol} at bar {order.bar} ({order.state})"


def _same_journal(rule: str, how: str, base: Result, other: Result) -> None:
    from simulator.loop.prover import first_difference

    difference = first_difference(base, other, int(base.tape.ats[len(base.tape) - 1]))
    if difference:
        raise PluginError(f"{rule}: in {how}, {difference[1]}")


def _name(make: Make) -> str:
    return type(make()).__name__


# --- Other tapes


def _columns(tape: Tape) -> list[FloatArray]:
    from simulator.loop.prover import columns_of

    return columns_of(tape)


def _tape(tape: Tape, order: tuple[int, ...] = (), prices: float = 1.0, instruments: Any = None) -> Tape:
    """The same bars with their instruments in another order, or at *prices* times their prices."""
    which = list(order or range(tape.width))
    columns = [column[:, which] * (prices if k < 4 else 1.0) for k, column in enumerate(_columns(tape))]
    return _with_columns(tape, [(instruments or tape.instruments)[i] for i in which], columns)


def _with_columns(tape: Tape, instruments: list[Any], columns: list[FloatArray]) -> Tape:
    from simulator.market.tape import Tape

    n = len(tape)
    opened_at, sessions = tape.opened_at[:n], tape.sessions[:n]
    return Tape.of(instruments, tape.closed_at[:n], *columns, interval=tape.interval, opened_at=opened_at, sessions=sessions, truth=tape.truth)


def _doubled(decimal: str) -> str:
    from decimal import Decimal

    return str(2 * Decimal(decimal))


def _halved(decimal: str) -> str:
    from decimal import Decimal

    return str(Decimal(decimal) / 2)


# --- The plug-in for pytest


def pytest_generate_tests(metafunc: Any) -> None:
    """A test that takes `conformance` becomes one for each rule."""
    if "conformance" in metafunc.fixturenames:
        metafunc.parametrize("conformance", [Check(rule) for rule in RULES], ids=list(RULES))
