"""Margin: what an account must have behind its positions, and what its broker does when it has not. Source: market-rules.md, section 3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf
from typing import Final

import numpy as np

from simulator.book.fills import Event, Forced, Halt
from simulator.book.financing import Lending
from simulator.book.futures import futures_of
from simulator.book.orders import Cancel, Order, OrderBatch, OrderIds, Proposal, Reason, Refusal, Remark, Replace, Wish, sound
from simulator.book.portfolio import Portfolio
from simulator.errors import ScenarioError
from simulator.kernels import rules
from simulator.market.instruments import Future
from simulator.ports import Broker
from simulator.risk.engine import NOTHING, Measure, RiskEngine
from simulator.risk.limits import Account, Limits


@dataclass(frozen=True, slots=True)
class Margin:
    """The maintenance margin of a margin account, as shares of market value; 0 is off. The initial margin is 1 / account.leverage_max.

    When equity is below the margin of all positions at a mark, orders that increase risk are cancelled and positions closed at the next open, the
    largest loser first, until equity is *buffer* above the margin of what is left (0.05 is 5 % more). Of a future the margin is its own.

    Source: FINRA rule 4210 (25 % long, 30 % short); Regulation T, 12 CFR 220.12 (initially 50 %).
    """

    maintenance_long: float = 0.25
    maintenance_short: float = 0.30
    buffer: float = 0.05

    def __post_init__(self) -> None:
        for name in ("maintenance_long", "maintenance_short"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ScenarioError(f"margin.{name} must be a share of market value in [0, 1], 0 is off, was {getattr(self, name)!r}")
        if not 0.0 <= self.buffer < inf:
            raise ScenarioError(f"margin.buffer must be 0 or above, was {self.buffer!r}")

    def words(self) -> list[str]:
        """The assumptions, one sentence each."""
        return [
            f"Maintenance margin is {self.maintenance_long:.0%} of long and {self.maintenance_short:.0%} of short positions.",
            f"Where equity is below it, the largest losers are closed first, until it is {self.buffer:.0%} above.",
        ]


NO_MARGIN: Final = Margin(0.0, 0.0, 0.0)


class Requirement:
    """How much equity positions need: a share of market value, and for futures money a contract.

    *long* and *short* are these shares, *future* takes the money from a future.
    """

    __slots__ = ("_lot", "_rate_of", "_size", "long", "short")

    def __init__(self, portfolio: Portfolio, long: float, short: float, future: Callable[[Future], float]) -> None:
        self.long, self.short = long, short
        # In the base currency: the portfolio keeps these at the rates of the last marks.
        self._size, self._rate_of = portfolio.lot_values, portfolio.rate_of
        self._lot = {i: future(x) * x.units(1) for i, x in futures_of(portfolio.bars.tape).items()}

    @classmethod
    def initial(cls, portfolio: Portfolio, account: Account) -> Requirement:
        """The initial margin: 1 / leverage_max of a share's value, and a future's own."""
        share = 1.0 / account.leverage_max
        return cls(portfolio, share, share, lambda future: future.initial_margin)

    @classmethod
    def maintenance(cls, portfolio: Portfolio, margin: Margin) -> Requirement:
        """The maintenance margin."""
        return cls(portfolio, margin.maintenance_long, margin.maintenance_short, lambda future: future.maintenance_margin)

    def of_lot(self, instrument: int, is_short: bool, mark: float) -> float:
        """What one more lot needs at this mark. What has no price yet needs nothing, unless it is a future."""
        if instrument in self._lot:
            return self._lot[instrument] * self._rate_of(instrument)
        return rules.margin_of_lot(self.short if is_short else self.long, self._size[instrument], mark)

    def of(self, lots: Iterable[tuple[int, int]], mark_of: Callable[[int], float]) -> float:
        """What these (instrument, lots) need together."""
        total = 0.0
        for i, held in lots:
            if held:
                total += abs(held) * self.of_lot(i, held < 0, mark_of(i))
        return total


class MarginEngine(RiskEngine):
    """The risk engine of an account whose broker watches it: it lends shares or does not, wants initial margin for futures, and acts by itself when
    shares are recalled, margin is short, or nothing is left.

    Whether the account is called is looked at on each mark; what follows from it meets the next bar, like any order.
    """

    __slots__ = (
        "_ends",
        "_halt_acts",
        "_initial",
        "_limited",
        "_limits_watch",
        "_maintenance",
        "_own",
        "_quiet",
        "_rate_max",
        "_reviews",
        "_sent",
        "bankrupt",
        "buffer",
        "lending",
    )

    def __init__(
        self,
        limits: Limits,
        account: Account,
        broker: Broker,
        portfolio: Portfolio,
        ids: OrderIds,
        margin: Margin,
        lending: Lending | None = None,
    ) -> None:
        tape = portfolio.bars.tape
        futures = futures_of(tape)
        # Where there are futures, the margin of all positions stands in for a limit on their value.
        super().__init__(limits, replace(account, leverage_max=inf) if futures else account, broker, portfolio, ids)
        self._initial = Requirement.initial(portfolio, account) if futures else None
        self._ends = {i: future.expiry for i, future in futures.items()}
        self._maintenance, self.buffer = Requirement.maintenance(portfolio, margin), margin.buffer
        # Where equity is above this share of gross exposure no margin is short.
        self._rate_max = inf if futures else max(margin.maintenance_long, margin.maintenance_short)
        self.lending = lending
        self._limited = lending.limited if lending else ()
        # Whether orders are looked at for what no other engine knows.
        self._reviews = bool(self._limited or self._ends)
        self._limits_watch, self.watches = self.watches, True
        # Whether a mark at which no margin is short says nothing else.
        self._quiet = not self._limited and not self._limits_watch
        self.bankrupt = self._halt_acts = False
        # What is to be sent with this review, and orders of ours that the broker may still have, by instrument.
        self._own: list[Wish] = []
        self._sent: dict[int, list[int]] = {}

    # At each mark.

    def watch(self, portfolio: Portfolio) -> tuple[Event, ...]:
        """Recalls, margin calls and bankruptcy, and then what limits say."""
        equity, gross = portfolio.worth()
        if self._quiet and not self.acting and equity > 0.0 and equity >= self._rate_max * gross:
            return NOTHING
        found: list[Event] = []
        if not self.bankrupt:
            if not equity > 0.0:
                self._ruin(portfolio, equity, found)
            else:
                if self._limited:
                    self._recall(portfolio, found)
                if gross and not (equity >= self._rate_max * gross):
                    self._call(portfolio, equity, found)
        elif any(portfolio.lots):
            self._close_all(portfolio, equity, found)
        # A kill switch stands before this, and has acted by now.
        self._halt_acts = self.acting
        if self._limits_watch and not self.bankrupt:
            halts = super().watch(portfolio)
            self._limits_watch, self.watches, self._halt_acts = self.watches, True, self.acting
            if self.acting and self.limits.on_halt == "flatten":
                # Everything is closed, and once.
                self._own, found = [], []
            found += halts
        if self._own:
            self.acting = True
        return tuple(found) if found else NOTHING

    def pass_over(self, portfolio: Portfolio, first: int, end: int) -> int:
        """As any engine's; and where margin may be short, or shares are recalled, there is no passing over."""
        if self.bankrupt or (self._limited and any(portfolio.lots)):
            return first
        return self._pass_over(portfolio, first, end, True, self._rate_max, self._limits_watch)

    def _standing_lots(self, instrument: int) -> int:
        """Lots that orders of ours will still trade in an instrument."""
        left = 0
        alive = []
        # Those of this very mark have not reached the broker yet.
        fresh = {wish.id: wish.lots for wish in self._own if isinstance(wish, Order)}
        for order in self._sent.get(instrument, ()):
            standing = self.broker.standing(order)
            if standing is not None or order in fresh:
                left += fresh[order] if standing is None else standing.remaining
                alive.append(order)
        if alive:
            self._sent[instrument] = alive
        else:
            self._sent.pop(instrument, None)
        return left

    def _send(self, instrument: int, lots: int, reason: Reason, had: float, needed: float, found: list[Event]) -> None:
        """Have an order of ours sent at this close."""
        order = Order(self.ids.next(), instrument, lots)
        self._own.append(order)
        self._sent.setdefault(instrument, []).append(order.id)
        found.append(Forced(order.id, instrument, lots, reason, had, needed))

    def _withdraw(self, which: Callable[[int, int], bool], reason: Reason, had: float, needed: float, found: list[Event]) -> None:
        """Have the open orders cancelled that are *which* (instrument, lots left), but for our own."""
        ours = {order for orders in self._sent.values() for order in orders}
        going = {wish.order for wish in self._own if isinstance(wish, Cancel)}
        for id in self.broker.open_ids():
            standing = self.broker.standing(id)
            if id in ours or id in going or standing is None:
                continue
            i = standing.order.instrument
            if which(i, standing.remaining or standing.order.lots):
                self._own.append(Cancel(id))
                found.append(Forced(id, i, 0, reason, had, needed))

    def _recall(self, portfolio: Portfolio, found: list[Event]) -> None:
        """Buy in what is short beyond the shares that can be borrowed, with the instrument's other orders taken back: two closes never buy twice."""
        assert self.lending is not None
        day = portfolio.bars.session
        for i in self._limited:
            if portfolio.lots[i] >= 0:
                continue
            traded = portfolio.bars.tape.instruments[i]
            borrowed = -(int(portfolio.lots[i]) + self._standing_lots(i))
            available = self.lending.available(i, day)
            if available == inf or borrowed <= floor(available / traded.units(1) + 1e-9):
                continue
            excess = borrowed - floor(available / traded.units(1) + 1e-9)
            had = traded.units(borrowed)
            self._withdraw(lambda j, _, i=i: j == i, Reason.RECALLED, had, available, found)  # type: ignore[misc]  # bound now
            self._send(i, excess, Reason.RECALLED, had, available, found)

    def _call(self, portfolio: Portfolio, equity: float, found: list[Event]) -> None:
        """Where margin is short: take back what increases risk, and close the largest losers until the buffer is restored, costs apart."""
        held = {i: lots for i, lots in enumerate(portfolio.lots.tolist()) if lots}
        left = {i: lots + self._standing_lots(i) for i, lots in held.items()}
        if equity >= self._maintenance.of(held.items(), portfolio.mark_of):
            return
        wanted = 1.0 + self.buffer
        needed = self._maintenance.of(left.items(), portfolio.mark_of)
        had, was = equity, self._maintenance.of(held.items(), portfolio.mark_of)
        self._withdraw(lambda i, lots: not rules.reduces(held.get(i, 0), lots), Reason.MARGIN_CALL, had, was, found)
        for _, i in sorted((portfolio.position(i).unrealised * portfolio.rate_of(i), i) for i in held):
            if equity >= wanted * needed:
                break
            a_lot = self._maintenance.of_lot(i, left[i] < 0, portfolio.mark_of(i))
            if not left[i] or not a_lot > 0.0:
                continue
            lots = min(abs(left[i]), ceil((wanted * needed - equity) / (wanted * a_lot) - 1e-9))
            self._withdraw(lambda j, _, i=i: j == i, Reason.MARGIN_CALL, had, was, found)  # type: ignore[misc]  # bound now
            self._send(i, -lots if left[i] > 0 else lots, Reason.MARGIN_CALL, had, was, found)
            needed -= lots * a_lot

    def _ruin(self, portfolio: Portfolio, equity: float, found: list[Event]) -> None:
        """Nothing is left: close everything, and never trade again, whatever prices do."""
        self.bankrupt = self.halted = True
        self._quiet = False
        self._close_all(portfolio, equity, found)
        found.append(Halt(Measure.BANKRUPT, equity, 0.0))

    def _close_all(self, portfolio: Portfolio, equity: float, found: list[Event]) -> None:
        left = {i: lots + self._standing_lots(i) for i, lots in enumerate(portfolio.lots.tolist()) if lots}
        self._withdraw(lambda i, lots: True, Reason.BANKRUPT, equity, 0.0, found)
        for i, lots in left.items():
            if lots:
                self._send(i, -lots, Reason.BANKRUPT, equity, 0.0, found)

    # At each review.

    def review(self, proposed: Proposal, portfolio: Portfolio) -> tuple[Sequence[Wish], Sequence[Refusal]]:
        """As any engine's; a bankrupt account sends nothing but what closes it."""
        if self.bankrupt:
            own, self._own, self.acting = self._own, [], False
            return own, refusals(proposed, Reason.BANKRUPT)
        if not self._reviews or (not proposed and not self.acting):
            return super().review(proposed, portfolio)
        return self._review_own(proposed, portfolio)

    def _measures(self, portfolio: Portfolio) -> tuple[list[Wish], dict[int, int]]:
        """What a halt does, and what the account's broker does."""
        own, self._own = self._own, []
        approved, added = super()._measures(portfolio) if self._halt_acts else ([], {})
        self._halt_acts = False
        gone = {wish.order for wish in approved if isinstance(wish, Cancel)}
        for wish in own:
            if isinstance(wish, Order):
                i = wish.instrument
                added[i] = self._held(i, portfolio, added) + wish.lots
                approved.append(wish)
            elif isinstance(wish, Cancel) and wish.order not in gone:
                standing = self.broker.standing(wish.order)
                if standing is not None:
                    i = standing.order.instrument
                    added[i] = self._held(i, portfolio, added) - standing.remaining
                approved.append(wish)
        return approved, added

    def _review_own(self, proposed: Proposal, portfolio: Portfolio) -> tuple[Sequence[Wish], Sequence[Refusal]]:
        """Each wish in turn: first whether shares can be borrowed and futures carried, and then as in any engine."""
        approved: list[Wish] = []
        added: dict[int, int] = {}
        refused: list[Refusal] = []
        pairs: dict[int, Order] = {}
        if self.acting:
            self.acting = False
            approved, added = self._measures(portfolio)
        for wish in sound([proposed] if isinstance(proposed, OrderBatch) else proposed, portfolio.width):
            if isinstance(wish, OrderBatch):
                passed: list[Wish] = self._of_batch(wish, portfolio, added, refused)
            else:
                if isinstance(wish, Order) and wish.client_id and self._is_known(wish, refused):
                    continue
                reason = self._against(wish, portfolio, approved, added, pairs)
                passed = [wish]
                if reason and isinstance(wish, Order | Replace):
                    refused.append(Refusal(wish, reason))
                    continue
            self._review_each(passed, portfolio, approved, added, refused, pairs)
        return approved, refused

    def _against(self, wish: Wish, portfolio: Portfolio, approved: Sequence[Wish], added: dict[int, int], pairs: dict[int, Order]) -> int:
        """The reason against one wish, or 0."""
        if isinstance(wish, Order):
            i, lots = wish.instrument, wish.lots
            if wish.conditions:
                _, added = self._as_if_due(wish, portfolio, approved, added, pairs)
        elif isinstance(wish, Replace):
            standing = self._standing(wish.order, approved)
            if standing is None:
                return 0
            i, lots = standing.order.instrument, wish.lots - standing.filled - standing.remaining
        else:
            return 0
        return self._verdict(i, lots, self._held(i, portfolio, added), portfolio, added)

    def _verdict(self, i: int, lots: int, held: int, portfolio: Portfolio, added: dict[int, int]) -> int:
        """The reason against *lots* more of what is *held* already or on its way. Exits always pass."""
        if self._ends.get(i, inf) < portfolio.bars.session:
            return Reason.CONTRACT_ENDED
        if not lots or (held and rules.reduces(held, lots)):
            return 0
        if i in self._limited and lots < 0 and held + lots < 0:
            assert self.lending is not None
            size = portfolio.bars.tape.instruments[i].units(1)
            if -(held + lots) > floor(min(self.lending.available(i, portfolio.bars.session) / size, 9e18) + 1e-9):
                return Reason.NO_LOCATE
        if self._initial is not None:
            if i not in self._ends and self._initial.long and not portfolio.mark_of(i) > 0.0:
                return Reason.NO_PRICE
            every = {j: self._held(j, portfolio, added) for j in range(portfolio.width)}
            every[i] = held + lots
            if not self._initial.of(every.items(), portfolio.mark_of) <= portfolio.equity:
                return Reason.MARGIN
        return 0

    def _of_batch(self, batch: OrderBatch, portfolio: Portfolio, added: dict[int, int], refused: list[Refusal]) -> list[Wish]:
        """The rows of a batch that nothing stands against."""
        then = dict(added)
        for i in batch.clears.tolist():
            then[i] = int(portfolio.lots[i])
        keeps = []
        for k, (i, lots) in enumerate(zip(batch.instruments.tolist(), batch.lots.tolist(), strict=True)):
            held = self._held(i, portfolio, then)
            reason = self._verdict(i, lots, held, portfolio, then)
            keeps.append(not reason)
            if reason:
                refused.append(Refusal(row_of(batch, k), reason))
            else:
                then[i] = held + lots
        if all(keeps):
            return [batch]
        kept = batch.chosen(np.array(keeps))
        return [kept] if kept else []


def row_of(batch: OrderBatch, k: int) -> Order:
    """One order of a batch."""
    columns = (batch.ids, batch.instruments, batch.lots, batch.kinds, batch.limits, batch.stops, batch.tifs)
    values = [column[k].item() for column in columns]
    return Order(*values)


def refusals(proposed: Proposal, reason: Reason) -> list[Refusal]:
    """Everything that was proposed, refused; remarks are nothing to refuse."""
    found: list[Refusal] = []
    for wish in [proposed] if isinstance(proposed, OrderBatch) else proposed or ():
        if isinstance(wish, OrderBatch):
            found += [Refusal(row_of(wish, k), reason) for k in range(len(wish))]
        elif not isinstance(wish, Remark):
            found.append(Refusal(wish, reason))
    return found
