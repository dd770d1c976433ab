"""Where the profit came from: by instrument or by strategy sleeve, in parts that sum to the change of equity exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from math import fsum
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from simulator.loop import journal as rows
from simulator.loop.journal import times_to_rows
from simulator.report.curves import MOVES

if TYPE_CHECKING:
    from simulator.report.results import Result

ACCOUNT: Final = "(account)"
"""The part of the whole account: what belongs to no instrument and to no sleeve."""


class Part(NamedTuple):
    """What one instrument or sleeve earned, in money: *prices* is what its positions earned at reference prices, *slippage* and *commission* are what
    trading took away, *bookings* what moved without a trade, such as dividends; *total* is all of it, and *contribution* that over the starting
    capital: the parts' contributions sum to the run's return.
    """

    name: str
    prices: float
    slippage: float
    commission: float
    bookings: float
    total: float
    contribution: float


def attribution(result: Result, by: Literal["instrument", "sleeve"] = "instrument") -> list[Part]:
    """The profit of a run by *instrument*, or by *sleeve*: the largest first, and then the whole account (`ACCOUNT`).

    A sleeve is what stands before the first "/" in the client_id of an order; orders without one belong to the sleeve "". What an instrument brings
    without a trade belongs to the sleeves that hold it, by how much they hold. Prices of another currency count at the rate of their bar. The
    account has what belongs to nobody, what rates did to its balances, and what the rounding of each booking left, so that `math.fsum` of the totals
    is the last equity less the starting capital, to the last bit.
    """
    if not result.rows:
        return []
    flows = _flows(result)
    groups: dict[str, list[Key]] = {}
    for key in flows.lots:
        groups.setdefault(key[0] if by == "sleeve" else result.tape.instruments[key[1]].symbol, []).append(key)
    parts = []
    for name, own in groups.items():
        prices, slippage, commission, bookings = (
            fsum(amount for key in own for amount in column[key]) for column in (flows.prices, flows.slippage, flows.commission, flows.bookings)
        )
        total = fsum((prices, -slippage, -commission, bookings))
        parts.append(Part(name, prices, slippage, commission, bookings, total, total / result.cash_start))
    parts.sort(key=lambda part: (-part.total, part.name))
    rest = fsum((float(result.equity[-1]), -result.cash_start, *(-part.total for part in parts)))
    if rest:
        parts.append(Part(ACCOUNT, 0.0, 0.0, 0.0, rest, rest, rest / result.cash_start))
    return parts


Key = tuple[str, int]
"""A sleeve and an instrument."""


class _Flows(NamedTuple):
    """Money by sleeve and instrument, and the lots that each holds."""

    lots: dict[Key, int | Fraction]
    prices: dict[Key, list[float]]
    slippage: dict[Key, list[float]]
    commission: dict[Key, list[float]]
    bookings: dict[Key, list[float]]


def sleeve_of(client_id: object) -> str:
    """The sleeve of an order: what stands before the first "/" in its client_id."""
    name, slash, _ = str(client_id).partition("/")
    return name if slash else ""


def _flows(result: Result) -> _Flows:
    tape = result.tape
    flows = _Flows({}, defaultdict(list), defaultdict(list), defaultdict(list), defaultdict(list))
    sizes, fills = tape.terms[:, 3].tolist(), iter(result.fills)
    rates = [result.rates(i) for i in range(tape.width)]

    def rate(i: int, bar: int) -> float:
        known = rates[i]
        return 1.0 if known is None else float(known[bar])

    for bar, (_, _, kind, i, _, lots, a, b, c, _, _) in _dated(result):
        if kind == rows.FILL:
            key = sleeve_of(next(fills).client_id), i
            if bar < result.rows:
                flows.lots[key] = flows.lots.get(key, 0) + lots
                flows.prices[key] += -lots * sizes[i] * a * rate(i, bar), b
                flows.slippage[key].append(b)
                flows.commission[key].append(c)
        elif bar < result.rows and i >= 0:
            _share(flows, i, kind == rows.BOOKED, lots, (a + b) * rate(i, bar))
    for (sleeve, i), lots in flows.lots.items():
        if lots:
            flows.prices[sleeve, i].append(float(lots) * sizes[i] * float(tape.marks[result.rows - 1, i]) * rate(i, result.rows - 1))
    return flows


def _dated(result: Result) -> Iterator[tuple[int, tuple[Any, ...]]]:
    for moves in result.parts_of(*MOVES):
        yield from zip(times_to_rows(result.tape, moves["at"]).tolist(), moves.tolist(), strict=True)


def _share(flows: _Flows, instrument: int, booked: bool, lots: int, amount: float) -> None:
    """A booking or a split, among the sleeves that hold the instrument; where they cancel out, to none of them."""
    holders = [key for key in flows.lots if key[1] == instrument]
    held = sum((flows.lots[key] for key in holders), 0)
    if not held:
        return
    for key in holders:
        share = Fraction(flows.lots[key]) / held
        flows.lots[key] += share * lots
        if booked:
            # Where a position is closed without a trade, what it gave is its price.
            (flows.prices if lots else flows.bookings)[key].append(float(share) * amount)
