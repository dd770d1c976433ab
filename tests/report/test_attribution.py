"""Where the profit came from: the parts are the whole."""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest

import simulator
from simulator import DAY, Instrument, Order, Tape, View
from simulator.book.fills import Booked, Booking, Rescaled
from simulator.loop.journal import MemoryJournal
from simulator.market.tape import Bars
from simulator.report.attribution import ACCOUNT, Part, attribution
from simulator.report.holdings import turnover_of

near = pytest.approx


class TwoSleeves:
    """A trend and a reversal desk trade the same two instruments, each on its own days."""

    def on_bars(self, view: View) -> list[Order]:
        lots = int(1_000 * np.sin(view.row))
        name = "trend" if view.row % 2 else "reversal"
        orders = [view.order(lots, symbol, client_id=f"{name}/{view.row}/{symbol}") for symbol in view.symbols] if lots else []
        return [*orders, view.order(7, "A")] if view.row == 20 else orders


def tape(rows: int = 120) -> Tape:
    draw = np.random.default_rng(8)
    close = np.round(100.0 * np.exp(np.cumsum(draw.normal(0.0, 0.02, (rows, 2)), axis=0)), 2)
    open_ = np.vstack([close[:1], close[:-1]])
    return Tape.of(
        [Instrument("A"), Instrument("B", multiplier=10.0)], (np.arange(rows) + 1) * DAY, open_, np.maximum(open_, close), np.minimum(open_, close),
        close, np.full(close.shape, 1e6), interval=DAY,
    )  # fmt: skip


@pytest.mark.parametrize("by", ["instrument", "sleeve"])
def test_the_parts_sum_to_the_change_of_equity_to_the_last_bit(by: str) -> None:
    result = simulator.simulate(tape(), TwoSleeves(), cash=1e6)
    parts = attribution(result, by)  # type: ignore[arg-type]
    assert fsum(part.total for part in parts) == result.equity[-1] - result.cash_start
    assert fsum(part.contribution for part in parts) == near(result.equity[-1] / 1e6 - 1.0, rel=1e-12)
    assert all(abs(part.total) < 1e-6 for part in parts if part.name == ACCOUNT)
    assert {part.name for part in parts} - {ACCOUNT} == ({"A", "B"} if by == "instrument" else {"trend", "reversal", ""})


def test_an_instruments_part_is_what_it_earns_alone() -> None:
    result = simulator.simulate(tape(), TwoSleeves(), cash=1e6)
    parts = {part.name: part for part in attribution(result)}
    for i, name in enumerate("AB"):
        fills, size = [fill for fill in result.fills if fill.symbol == name], (1.0, 10.0)[i]
        held = sum(fill.quantity for fill in fills) * result.tape.close[-1, i] * size
        assert parts[name].total == near(held - sum(fill.quantity * fill.price * size + fill.commission for fill in fills))
        assert parts[name].commission == near(sum(fill.commission for fill in fills))
        assert parts[name].slippage == near(sum(fill.slippage for fill in fills))
        assert parts[name].prices - parts[name].slippage - parts[name].commission == near(parts[name].total)


def test_nothing_traded_has_no_parts() -> None:
    bars = {"date": ["2024-01-02"], **{x: [100.0] for x in ("open", "high", "low", "close")}}
    assert attribution(simulator.run_orders({"A": bars}, [], cash=100.0, interval="1d", stamps="close")) == []


def booked() -> simulator.Result:
    """Two sleeves buy 30 and 10 shares at 100; then a dividend of 80, a split of 2 for 1, 5 of interest, and a close of 60."""
    close = np.array([100.0, 100.0, 100.0, 60.0])
    bars = Tape.of([Instrument("A")], (np.arange(4) + 1) * DAY, close, close, close, close, interval=DAY)
    orders = [{"symbol": "A", "quantity": q, "client_id": f"{name}/1", "bar": 0} for name, q in (("one", 30), ("two", 10))]
    plain = {"A": {"date": ["1970-01-01", "1970-01-02", "1970-01-03", "1970-01-04"], **dict.fromkeys(("open", "high", "low", "close"), close)}}
    result = simulator.run_orders(plain, orders, cash=10_000.0, interval="1d", stamps="open")
    journal = MemoryJournal()
    journal.rows += result.journal.rows
    journal.client_ids.update(result.journal.client_ids)
    at = Bars(bars)
    at.row, at.closed_at = 3, int(result.tape.closed_at[3])
    journal.note(at, [Booked(Booking.DIVIDEND, 0, 80.0), Rescaled(0, 2, 1, 40, 50.0), Booked(Booking.INTEREST, -1, 5.0)])
    return simulator.Result(result.tape, journal, 10_000.0, 4, names={})


def test_a_dividend_and_a_split_belong_to_those_who_hold() -> None:
    parts = {part.name: part for part in attribution(booked(), "sleeve")}
    assert parts["one"]._replace(contribution=0.0) == Part("one", 30 * 2 * 60 - 3000, 0.0, 0.0, 60.0, 600.0 + 60.0, 0.0)
    assert parts["two"]._replace(contribution=0.0) == Part("two", 10 * 2 * 60 - 1000, 0.0, 0.0, 20.0, 200.0 + 20.0, 0.0)


def test_a_sleeves_part_is_what_its_fills_earn() -> None:
    result = simulator.simulate(tape(), TwoSleeves(), cash=1e6)
    parts = {part.name: part.total for part in attribution(result, "sleeve")}
    fills = [fill for fill in result.fills if str(fill.client_id).startswith("trend/")]
    sizes, last = {"A": 1.0, "B": 10.0}, dict(zip("AB", result.tape.close[-1].tolist(), strict=True))
    assert parts["trend"] == near(sum(x.quantity * sizes[x.symbol] * (last[x.symbol] - x.price) - x.commission for x in fills))


class BuysThenSells:
    """Ten shares in, after two closes more they are out."""

    def on_bars(self, view: View) -> list[Order]:
        return [view.order(10 if view.row == 0 else -10, "SAP")] if view.row in (0, 2) else []


def test_what_rates_do_to_balances_belongs_to_the_account() -> None:
    """Ten shares rise from 100 to 110 EUR, which are then worth 1.5 USD each; the 100 EUR gained rise to 2 USD each afterwards."""
    prices = np.array([[100.0, 1.0], [100.0, 1.0], [110.0, 1.5], [110.0, 1.5], [110.0, 2.0]])
    instruments = Instrument("SAP", currency="EUR"), Instrument("EURUSD", kind="rate", tick="0")
    over = Tape.of(instruments, np.arange(1, 6) * DAY, prices, prices, prices, prices, np.full(prices.shape, 1e6), interval=DAY)
    result = simulator.simulate(over, BuysThenSells(), cash=10_000.0)
    parts = {part.name: part for part in attribution(result)}
    assert fsum(part.total for part in parts.values()) == result.equity[-1] - 10_000.0
    assert parts["SAP"].prices == near(10 * 110 * 1.5 - 10 * 100 * 1.0, rel=1e-3)
    (trip,) = result.trips.closed
    assert trip.gross == near(10 * (110 - 100) * 1.5, rel=0.02)
    assert turnover_of(result).value == near((0 + 2 + 0 + 2 + 0) / 5, rel=0.01)
