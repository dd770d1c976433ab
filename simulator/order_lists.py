"""A plain list of orders over plain bars, without a scenario or a strategy: for comparing fills with another engine's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from simulator import plugins
from simulator.assembly import carry_out
from simulator.book.financing import Financing, Loan
from simulator.book.tickets import Ticket, tickets
from simulator.errors import OrderError, ScenarioError, nearest
from simulator.market.actions import Actions
from simulator.market.instruments import Instrument
from simulator.market.tape import Tape
from simulator.report.results import Result
from simulator.risk.limits import Account, Limits
from simulator.risk.margin import NO_MARGIN, Margin


def run_orders(
    bars: Mapping[str, Mapping[str, Any]],
    orders: Iterable[Any],
    *,
    cash: float,
    account: str = "margin",
    commission: Mapping[str, float] | Any = None,
    participation: float | None = None,
    timing: str = "next_open",
    slippage: Mapping[str, Any] | Any = None,
    tick: str = "0",
    lot: str = "1",
    limit_through_ticks: int = 0,
    leverage_max: float | None = None,
    financing: Mapping[str, Any] | Financing | None = None,
    margin: Mapping[str, float] | Margin | None = None,
    limits: Limits | None = None,
    interval: str | None = None,
    stamps: str | None = None,
    hours: str | None = None,
    instruments: Mapping[str, Instrument] | None = None,
    latency_seconds: float = 0.0,
    path: str = "pessimistic",
    actions: Iterable[Any] | str | Path | None = None,
    settlement_days: int = 0,
    regulation: str = "none",
    levies: Sequence[Any] = (),
    venues: Sequence[Any] = (),
    router: str = "cheapest",
    overrides: Mapping[str, Any] | None = None,
    check: bool = False,
) -> Result:
    """Run a plain list of orders over plain bars, so that the fills can be compared with another engine's. Every cost and cap is off by default.

    *bars* maps a symbol to columns: date, open, high, low, close and (optional) volume. An order is a mapping (or object, or row of a DataFrame)
    with client_id, symbol, quantity (signed), kind ("market", "limit", "stop", "stop_limit", "trailing_stop", "market_on_open", "market_on_close"),
    limit, stop, trail or trail_percent, tif ("GTC", "DAY", "IOC", "FOK", "GTD"), until (for GTD), parent (a client_id: it may trade what that order
    has filled), oco (a name shared by orders of which one cancels the other), and bar, the index of the bar after whose close it is sent, counted
    over the instants of all symbols together. *path* orders the events inside a bar: see brokers.simulated.Simulated.
    *hours* are those of a session, or an exchange such as "XNYS", which closing auctions inside a session need.

    *commission* has any of per_share, per_order, bps, minimum, maximum, round_to_cents, tiers, tier_days, tier_unit, or is a fraction of the traded
    value; *slippage* has model ("none", "bps", "half_spread", "volume_share", "square_root") and its number: bps, spread, k, y, permanent; either may
    be a model of one's own, by name as in a scenario or as an object. *regulation* "us_equities" is the dated schedule of US fees on sales; *levies*
    are dated fees (mappings with name, since, bps, per_share, maximum, side), *venues* places to trade (name, share, taker_bps, maker_bps,
    taker_per_share, maker_per_share), and *overrides* an instrument's own terms by symbol: see brokers/README.md. *participation* is the share of a
    bar's volume that may be taken (None: all and more). *actions* are corporate actions: simulator.Split, Dividend, Delisting, Suspension and
    TradingHalt, mappings with the keys of a file of them, or its path; see simulator.feeds.tables.read_actions. *settlement_days* are those of a cash
    account. *tick* "0" is no price grid. *leverage_max* None is no limit. *financing* has any of the yearly rates borrow, rebate, debit and credit,
    the day_count ("act/360", "act/365"), and loans, mappings with symbol, rate, available and since (see simulator.Financing); *margin* any of
    initial (1 / leverage_max), maintenance_long, maintenance_short and buffer; what is left out is off. *instruments* may have a simulator.Future.
    The result has `fills`, `orders`, `bookings`, `forced` (what the account's broker did), `cash` and `equity`.
    """
    from simulator.feeds.frames import tape_from_columns

    tape = tape_from_columns(bars, interval=interval, stamps=stamps, hours=hours, tick=tick, lot=lot, instruments=instruments)
    if actions is not None:
        from simulator.feeds.tables import actions_of, attach

        attach(tape, Actions(actions_of(actions)))
    wanted = list(orders.to_dict("records")) if hasattr(orders, "to_dict") else list(orders)
    plain = tickets(wanted)
    _check(plain, tape)
    settings = {
        "timing": timing,
        "participation": inf if participation is None else float(participation),
        "limit_through_ticks": limit_through_ticks,
        "latency_seconds": float(latency_seconds),
        "path": path,
        "commission": _terms("commission", commission),
        "slippage": _terms("slippage", slippage),
        "regulation": regulation,
        "levies": tuple(levies),
        "venues": tuple(venues),
        "router": router,
        "overrides": {symbol: _overridden(terms) for symbol, terms in (overrides or {}).items()},
    }
    here = Path()
    broker = plugins.build(plugins.find("tradewind.brokers", "simulated", here), settings, "run_orders")
    blotter: Any = plugins.find("tradewind.strategies", "blotter", here)
    owner, upkeep = _owner(cash, account, leverage_max, settlement_days, margin)
    terms = None if financing is None else _financing(financing)
    names = {str(given): given for given in (_client_id(order) for order in wanted) if given is not None}
    about = {"names": names, "financing": terms, "margin": upkeep}
    return carry_out(tape, blotter.of(plain), broker, owner, limits or Limits(), None, check, about)


def _check(plain: Sequence[Ticket], tape: Tape) -> None:
    """Refuse orders for symbols and bars that there are none of."""
    for k, order in enumerate(plain):
        if order.symbol not in tape.index:
            raise OrderError(f"order {k}: no bars for symbol '{order.symbol}'{nearest(order.symbol, tape.index)}")
        if order.bar >= len(tape):
            raise OrderError(f"order {k}: bar must be in 0..{len(tape) - 1}, was {order.bar}")


def _owner(
    cash: float, account: str, leverage_max: float | None, settlement_days: int, margin: Mapping[str, float] | Margin | None
) -> tuple[Account, Any]:
    """The account, and the margin that it has to maintain. An initial margin is a limit on leverage by another name."""
    asked = _keys("margin", margin)
    share = asked.pop("initial", 0.0)
    if not 0.0 <= share <= 1.0:
        raise ScenarioError(f"margin.initial must be a share of market value in [0, 1], 0 is off, was {share!r}")
    most = min(inf if leverage_max is None else float(leverage_max), 1.0 / share if share else inf)
    owner = Account(float(cash), account, most, settlement_days)  # type: ignore[arg-type]  # checked by Account itself
    return owner, None if margin is None else plugins.build(Margin, {**_fields(NO_MARGIN), **asked}, "margin")


def _financing(given: Mapping[str, Any] | Financing) -> Financing:
    """Rates of which those that are not given are off."""
    if isinstance(given, Financing):
        return given
    asked = _keys("financing", given)
    loans = tuple(loan if isinstance(loan, Loan) else plugins.build(Loan, dict(loan), "financing.loans") for loan in asked.pop("loans", ()))
    made: Any = plugins.build(Financing, {"borrow": 0.0, "debit": 0.0, **asked}, "financing")
    priced: Financing = replace(made, loans=loans)
    return priced


def _fields(given: Any) -> dict[str, Any]:
    return {key: getattr(given, key) for key in given.__dataclass_fields__}


OFF: dict[str, dict[str, Any]] = {"commission": {"per_share": 0.0, "minimum": 0.0}, "slippage": {"model": "none"}}
"""What trading costs where a plain run is not told otherwise."""


def _terms(name: str, given: Any) -> Any:
    """The commission or slippage of a plain run: what is not given is off. A model of one's own stands as it is."""
    if any(callable(getattr(given, method, None)) for method in plugins.MODELS.values()) or (
        name == "commission" and isinstance(given, Mapping) and "model" in given
    ):
        return given
    return {**OFF[name], **_keys(name, given)}


def _overridden(terms: Any) -> Any:
    """An instrument's own terms, of which commission and slippage are given as in a plain run."""
    if not isinstance(terms, Mapping):
        return terms
    return {key: _terms(key, value) if key in OFF else value for key, value in terms.items()}


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _keys(name: str, given: Any) -> dict[str, Any]:
    """Settings given as a mapping, or as the plug-in's own dataclass."""
    if given is None:
        return {}
    if _is_number(given) and name == "commission":
        return {"bps": given * 10_000.0}
    if isinstance(given, Mapping):
        return {key: float(value) if _is_number(value) and key not in ("window", "tier_days") else value for key, value in given.items()}
    if hasattr(given, "__dataclass_fields__"):
        return _fields(given)
    raise ScenarioError(f"run_orders.{name} must be a mapping such as {{'bps': 10}}, was {given!r}")


def _client_id(order: Any) -> Any:
    return order.get("client_id") if isinstance(order, Mapping) else getattr(order, "client_id", None)
