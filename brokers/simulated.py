"""The settings of the simulated market, and what they assume in words. Rules and sources: market-rules.md, sections 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

from brokers.costs import US_EQUITIES, Commission, CostModel, Levy
from brokers.desk import SimulatedBroker
from brokers.itemised import COSTS, SLIPPAGES, Regulation, Terms
from brokers.matching import numbers
from brokers.paths import Policy
from brokers.slippage import Slippage, SlippageModel
from brokers.venues import Router, Venue, check
from simulator import Account, FloatArray, OrderIds, Portfolio, ScenarioError, Schedule, Tape
from simulator.kernels import rules


@dataclass(frozen=True)
class Simulated:
    """How the simulated market treats orders. All costs are on by default, and each has an off value (0, `none`, or inf for *participation*).

    *timing*: a market order that was decided at a close fills at the next open, the next close or, with a warning, that same close.
    *participation*: the share of a bar's volume that all our orders in an instrument may take together; *volume_basis* "trailing" takes it of the
    average volume of the *volume_window* bars before, which could be known at the open. *limit_through_ticks*: how far beyond a limit the bar must
    trade before it fills. *latency_seconds* is from a decision to its arrival. *slicing* cuts every plain market order in time.

    *path* orders the events inside a bar: "ohlc" and "olhc" name the path, "nearest" goes to the extreme nearer the open first, "pessimistic" and
    "optimistic" take for each instrument and bar the path that leaves us with less or more. On a named path what reaches the market inside a bar
    (slices, and orders and cancels after their latency) finds the price of its moment, else it meets the next bar. A market-on-open order must be
    at the market *open_cutoff_seconds* before the open (2 minutes at NASDAQ), a market-on-close order *close_cutoff_seconds* before the close (10
    minutes at NYSE); where bars are shorter than a session, only the calendar of an exchange tells which is the last of it.

    *commission* and *slippage* may be models of one's own, see brokers.costs and brokers.slippage. *regulation* "us_equities" is the dated schedule
    of US fees on sales (off by default: no data says that its symbols are US shares), and *levies* are dated fees of one's own on top. With *venues*
    a symbol trades in several places, and *router* says where a fill goes. *overrides* are an instrument's own terms, by symbol.
    """

    timing: Literal["next_open", "next_close", "same_close"] = "next_open"
    participation: float = 0.1
    volume_basis: Literal["bar", "trailing"] = "bar"
    volume_window: int = 20
    limit_through_ticks: int = 0
    commission: Commission | CostModel = field(default_factory=Commission, metadata=COSTS)
    slippage: Slippage | SlippageModel = field(default_factory=Slippage, metadata=SLIPPAGES)
    latency_seconds: float = 0.0
    path: Policy = "pessimistic"
    open_cutoff_seconds: float = 120.0
    close_cutoff_seconds: float = 600.0
    slicing: Schedule | None = None
    regulation: Regulation = "none"
    levies: tuple[Levy, ...] = ()
    venues: tuple[Venue, ...] = ()
    router: Router = "cheapest"
    overrides: Mapping[str, Terms] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.participation > 0.0:
            raise ValueError(f"participation must be above 0 (inf is off), was {self.participation!r}")
        if self.limit_through_ticks < 0:
            raise ValueError(f"limit_through_ticks must be 0 or above, was {self.limit_through_ticks!r}")
        if self.volume_window < 1:
            raise ValueError(f"volume_window must be at least 1 bar, was {self.volume_window!r}")
        if not 0.0 <= self.latency_seconds < inf:
            raise ValueError(f"latency_seconds must be 0 (off) or above, was {self.latency_seconds!r}")
        if not 0.0 <= self.open_cutoff_seconds < inf:
            raise ValueError(f"open_cutoff_seconds must be 0 or above, was {self.open_cutoff_seconds!r}")
        if not 0.0 <= self.close_cutoff_seconds < inf:
            raise ValueError(f"close_cutoff_seconds must be 0 or above, was {self.close_cutoff_seconds!r}")
        check(self.venues)
        if self.timing == "same_close" and (self.latency_seconds or self.slicing):
            raise ValueError("timing 'same_close' leaves no time for latency_seconds or slicing: take these out, or use 'next_open'")

    @property
    def itemises(self) -> bool:
        """Whether costs are more than the few numbers that compiled code knows."""
        tariff, slippage = self.commission, self.slippage
        plain = isinstance(tariff, Commission) and not tariff.tiers and isinstance(slippage, Slippage) and not slippage.permanent
        return not plain or self.regulation != "none" or bool(self.levies or self.venues or self.overrides)

    def widened(self, times: float) -> Simulated:
        """The same market with so many *times* the slippage. Raises ScenarioError for a model of one's own that cannot say what that is."""

        def wider(model: Slippage | SlippageModel) -> Any:
            if not hasattr(model, "widened"):
                raise ScenarioError(f"stress.spread: the slippage model {type(model).__name__} needs widened(times), which returns a wider one")
            return model.widened(times)

        own = {symbol: replace(terms, slippage=terms.slippage and wider(terms.slippage)) for symbol, terms in self.overrides.items()}
        return replace(self, slippage=wider(self.slippage), overrides=own)

    def connect(self, tape: Tape, portfolio: Portfolio, account: Account, ids: OrderIds) -> SimulatedBroker:
        """The broker of one session. Raises ScenarioError for terms of an instrument that there is none of."""
        for symbol in self.overrides:
            if symbol not in tape.index:
                raise ScenarioError(f"broker.overrides: no such instrument '{symbol}'; there is: {', '.join(sorted(tape.index))}")
        return SimulatedBroker(self, tape, portfolio, account, ids)

    def numbers(self, tape: Tape, account: Account) -> tuple[int, FloatArray] | None:
        """These settings for compiled runs: (the moment at which market orders trade, the numbers of simulator.kernels.batches).

        None where only the loop can tell what happens: where orders take time or are cut, at the same close, with corporate actions, in several
        currencies, and where costs are itemised.
        """
        slow = self.latency_seconds or self.slicing or self.timing == "same_close" or self.itemises
        if slow or tape.actions is not None or len({x.currency for x in tape.instruments}) > 1:
            return None
        return (rules.AT_CLOSE if self.timing == "next_close" else rules.AT_OPEN), numbers(self, tape, account)

    def caveats(self, tape: Tape) -> tuple[str, ...]:
        """What is wrong with these settings on this tape, to be printed as warnings."""
        found = []
        if self.timing == "same_close":
            found.append("warning: timing 'same_close' fills orders at the very close that they were decided on, which no market does")
        gridless = [instrument.symbol for instrument in tape.instruments if not instrument.tick_size]
        if self.limit_through_ticks and gridless:
            found.append(f"warning: limit_through_ticks does nothing for {', '.join(gridless)}: no price grid, since tick is '0'")
        return tuple(found)

    def words(self) -> list[str]:
        """The assumptions, one sentence each."""
        when = {
            "next_open": "the open of the next bar",
            "next_close": "the close of the next bar",
            "same_close": "the close that they were decided on",
        }
        touch = "as soon as a bar touches them" if not self.limit_through_ticks else f"when a bar goes {self.limit_through_ticks} ticks through them"
        of = "the bar's volume" if self.volume_basis == "bar" else f"the average volume of the {self.volume_window} bars before"
        sentences = [
            f"Market orders fill at {when[self.timing]}; limits {touch}.",
            f"All our orders together take at most {self.participation:.0%} of {of}."
            if self.participation < inf
            else "Volume sets no bound to what we trade.",
            f"Commission: {_said(self.commission)}.",
            f"Slippage of takers: {_said(self.slippage)}.",
        ]
        if self.regulation != "none" or self.levies:
            names = dict.fromkeys(levy.name for levy in ((*US_EQUITIES,) if self.regulation != "none" else ()) + self.levies)
            sentences.append(f"Fees of regulators, by dated schedules: {', '.join(names)}.")
        if self.venues:
            sentences.append(
                f"Fills are split over {', '.join(f'{venue.name} ({venue.share:.0%} of the volume)' for venue in self.venues)}, "
                f"{'the cheapest first' if self.router == 'cheapest' else 'by what each has left'}, all at one price: a model of cost and capacity."
            )
        if self.overrides:
            sentences.append(f"Terms of their own have {', '.join(self.overrides)}.")
        if self.latency_seconds:
            sentences.append(f"An order reaches the market {self.latency_seconds:g} s after the decision.")
        if self.slicing:
            sentences.append(f"Market orders are {self.slicing.words()}.")
        return sentences


def _said(model: object) -> str:
    """A model in words, or by its name where it has none."""
    return str(model.words()) if hasattr(model, "words") else f"{type(model).__name__} (a plug-in)"
