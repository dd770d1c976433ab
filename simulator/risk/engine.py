"""The risk engine: approves or refuses each order with a reason, and may halt trading."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import IntEnum
from math import inf
from typing import Final

import numpy as np

from simulator.book.fills import Event, Halt
from simulator.book.orders import Cancel, Order, OrderBatch, OrderIds, Proposal, Reason, Refusal, Remark, Replace, Standing, Wish, check_batch, sound
from simulator.book.portfolio import Portfolio
from simulator.errors import PluginError
from simulator.kernels import batches, rules
from simulator.kernels.compiled import direct
from simulator.kernels.rules import permit
from simulator.kernels.watches import quiet_until
from simulator.market.tape import SECOND
from simulator.ports import Broker
from simulator.risk.limits import Account, Limits
from simulator.risk.screen import Screen

NOTHING: Final[tuple[Event, ...]] = ()


class Measure(IntEnum):
    """What a halt goes by."""

    DRAWDOWN = 1
    DAILY_LOSS = 2
    RESUMED = 3
    BANKRUPT = 4
    REDUCED = 5
    KILLED = 6
    RELEASED = 7


def floor_of(equity: float, loss_max: float) -> float:
    """The equity below which a loss of the share *loss_max* is exceeded; an infinite share is never."""
    return equity * (1.0 - loss_max) if loss_max < inf else -inf


class RiskEngine:
    """Splits proposals into approved and refused. Orders are refused, never trimmed; exits always pass.

    Limits are checked at close marks as if all open orders had traded. *watches* says whether equity is looked at on each bar.
    """

    __slots__ = (
        "_bounds",
        "_cause",
        "_daily",
        "_looks_closer",
        "_lots",
        "_pending",
        "_permitted",
        "_reducing",
        "_rung",
        "_sent_as",
        "_sizes",
        "acting",
        "broker",
        "day",
        "day_floor",
        "floor",
        "halted",
        "halted_sessions",
        "ids",
        "killed",
        "last_equity",
        "limits",
        "maxima",
        "peak",
        "screen",
        "sent",
        "watches",
    )

    def __init__(self, limits: Limits, account: Account, broker: Broker, portfolio: Portfolio, ids: OrderIds) -> None:
        self.limits, self.broker, self.ids = limits, broker, ids
        self._lots, self._pending = portfolio.lots.data, broker.pending.data
        self._sizes = portfolio.lot_values
        leverage = account.leverage_max if account.kind == "margin" else inf
        self.maxima = np.array([limits.gross_max, limits.net_max, limits.name_max, limits.notional_max, leverage])
        self._bounds = tuple(self.maxima.tolist())
        self._permitted = direct(batches.review_one, batches.REVIEW_ONE)
        self._daily = limits.goes_by_session
        self.watches = limits.drawdown_max < inf or limits.daily_loss_max < inf or bool(limits.drawdown_ladder)
        self.halted = self.acting = self._reducing = False
        # What looks at groups, betas and volumes, where a limit does; how many rungs of the drawdown ladder equity has fallen.
        self.screen = Screen(limits, portfolio.bars.tape) if limits.looks_closer else None
        self._looks_closer = bool(limits.rate_max) or self.screen is not None
        self._rung = 0
        # Whether somebody outside stopped trading, and the halt that a limit had called before.
        self.killed, self._cause = False, NOTHING
        self.halted_sessions, self.day = 0, -1
        # The highest equity so far includes the starting capital; so does the first session's start.
        self.peak = self.last_equity = account.cash
        self.floor = self._next_floor()
        self.day_floor = floor_of(account.cash, limits.daily_loss_max)
        self.sent: deque[int] = deque()
        self._sent_as: dict[str, Order] = {}

    def watch(self, portfolio: Portfolio) -> tuple[Event, ...]:
        """Halt when equity has fallen too far from its peak, or since the end of the last session."""
        equity = portfolio.equity
        if self._daily and portfolio.bars.session != self.day:
            resumed = self._turn(portfolio.bars.session, equity)
            if resumed:
                return resumed
        self.last_equity = equity
        if equity > self.peak:
            self.peak = equity
            if self._rung and not self.halted:
                return self._climb(0, Measure.RESUMED, 0.0)
            self.floor = self._next_floor()
        elif not (equity >= self.floor) and not self.halted:
            return self._fall(equity)
        if self._daily and not (equity >= self.day_floor) and not self.halted:
            return self._halt(Measure.DAILY_LOSS, equity, self.day_floor)
        return NOTHING

    def pass_over(self, portfolio: Portfolio, first: int, end: int) -> int:
        """The first of the rows from *first* up to *end* whose mark has to be watched, or *end*. None begins a session that a limit goes by.

        What is kept from mark to mark is brought up to there, as if `watch` had been called each time, while nothing is booked.
        """
        return self._pass_over(portfolio, first, end, False, 0.0, True)

    def _pass_over(self, portfolio: Portfolio, first: int, end: int, called: bool, rate: float, watched: bool) -> int:
        ladder = self.limits.drawdown_ladder
        fall = ladder[self._rung][0] if self._rung < len(ladder) else self.limits.drawdown_max
        # Compiled code takes a whole number for another type.
        of_equity = self.halted, self._rung > 0, float(self.peak), float(fall), float(self.floor), float(self.day_floor)
        marks = portfolio.bars.tape.panel_marks
        row, peak, floor, last = quiet_until(
            portfolio.cash, portfolio.receivable, portfolio.sizes, marks, first, end, called, float(rate), watched, *of_equity
        )
        if watched and row > first:
            self.peak, self.floor, self.last_equity = peak, floor, last
        return row

    def _turn(self, day: int, equity: float) -> tuple[Event, ...]:
        """A new session: yesterday's last equity is what today's loss counts from, and a halt may have served its time."""
        self.day = day
        self.day_floor = floor_of(self.last_equity, self.limits.daily_loss_max)
        if not self.halted or self.killed:
            return NOTHING
        self.halted_sessions += 1
        if self.limits.resume_after is None or self.halted_sessions < self.limits.resume_after:
            return NOTHING
        self.halted, self._cause = False, NOTHING
        # What was lost is lost: the next drawdown counts from here, or the halt would come back at once.
        self.peak = self.last_equity = equity
        self.day_floor = floor_of(equity, self.limits.daily_loss_max)
        return self._climb(0, Measure.RESUMED, 0.0)

    def _next_floor(self) -> float:
        """The equity below which the next rung of the drawdown ladder is reached, or the halt at its foot."""
        ladder = self.limits.drawdown_ladder
        return floor_of(self.peak, ladder[self._rung][0] if self._rung < len(ladder) else self.limits.drawdown_max)

    def _fall(self, equity: float) -> tuple[Event, ...]:
        """Equity is below the floor: halt, or take as many rungs of the ladder as it has fallen."""
        foot, rung = floor_of(self.peak, self.limits.drawdown_max), self._rung
        if not (equity >= foot):
            return self._halt(Measure.DRAWDOWN, equity, foot)
        floors = [floor_of(self.peak, fall) for fall, _ in self.limits.drawdown_ladder]
        while rung < len(floors) and not (equity >= floors[rung]):
            rung += 1
        self.acting = self._reducing = True
        return self._climb(rung, Measure.REDUCED, floors[rung - 1], equity)

    def _climb(self, rung: int, measure: Measure, floor: float, equity: float | None = None) -> tuple[Event, ...]:
        """Stand on a rung of the ladder: what is allowed from here on, and the floor of the next."""
        self._rung = rung
        allowed = self.limits.drawdown_ladder[rung - 1][1] if rung else inf
        self.maxima[0] = min(self.limits.gross_max, allowed)
        self._bounds = tuple(self.maxima.tolist())
        self.floor = self._next_floor()
        return (Halt(measure, self.peak if equity is None else equity, floor),)

    def _halt(self, measure: Measure, equity: float, floor: float) -> tuple[Event, ...]:
        self.halted = self.acting = True
        self.halted_sessions = 0
        self.watches = self.limits.resume_after is not None
        self._cause = (Halt(measure, equity, floor),)
        return self._cause

    def kill(self, equity: float) -> tuple[Event, ...]:
        """Stop, because somebody outside says so, and do what any halt does; no session that passes ends it."""
        self.halted = self.acting = self.killed = True
        return (Halt(Measure.KILLED, equity, 0.0),)

    def release(self, equity: float) -> tuple[Event, ...]:
        """Go on after `kill`; a halt that a limit had called before is still one."""
        self.killed, self.halted = False, bool(self._cause)
        return (Halt(Measure.RELEASED, equity, 0.0), *self._cause)

    def review(self, proposed: Proposal, portfolio: Portfolio) -> tuple[Sequence[Wish], Sequence[Refusal]]:
        """(approved, refused with reasons). In the step of a halt, what the halt itself does comes first."""
        if self.acting:
            return self._act(proposed, portfolio)
        if not proposed:
            return NO_WISHES
        if isinstance(proposed, OrderBatch):
            return self._review_batch(proposed, portfolio, {})
        kind = type(proposed)
        if (kind is tuple or kind is list) and len(proposed) == 1 and type(proposed[0]) is Order and not self._looks_closer:
            _, i, lots, _, _, _, _, client_id, _, conditions = wish = proposed[0]
            if type(i) is int and type(lots) is int and not (client_id or conditions):
                # As `_review_each` would: nothing else is proposed that could change what it finds.
                pending, marks = self.broker.pending, portfolio.bars.tape.panel_marks
                reason = self._permitted(
                    i, lots, portfolio.row, portfolio.equity, portfolio.lots, pending, portfolio.terms, marks, self.maxima, self.halted
                )
                if not reason:
                    return proposed, ()
                if reason > 0:
                    return (), (Refusal(wish, reason),)
        return self._review_each(sound(proposed, portfolio.width), portfolio, [], {}, [])

    def _act(self, proposed: Proposal, portfolio: Portfolio) -> tuple[Sequence[Wish], Sequence[Refusal]]:
        """Do what a halt asks for, then look at the proposals as any others."""
        self.acting = False
        approved, added = self._measures(portfolio)
        wishes: Sequence[Wish] = [proposed] if isinstance(proposed, OrderBatch) else proposed or ()
        return self._review_each(sound(wishes, portfolio.width), portfolio, approved, added, [])

    def _measures(self, portfolio: Portfolio) -> tuple[list[Wish], dict[int, int]]:
        """What a halt asks for (cancel, flatten or nothing) or a rung of the ladder (less of everything), and what is held by instrument if that
        trades.
        """
        approved: list[Wish] = []
        added: dict[int, int] = {}
        reducing, self._reducing = self._reducing and not self.halted, False
        if reducing or self.limits.on_halt != "freeze":
            approved += [Cancel(order) for order in self.broker.open_ids()]
            for i in np.flatnonzero(self.broker.open_orders).tolist():
                added[i] = int(portfolio.lots[i])
        if reducing or self.limits.on_halt == "flatten":
            equity, gross = portfolio.worth()
            share = min(1.0, max(0.0, self._bounds[0] * equity) / gross) if reducing and gross else 0.0
            for i in np.flatnonzero(portfolio.lots).tolist():
                held = int(portfolio.lots[i])
                # Toward zero, so that what is kept is within the share.
                kept = int(held * share) if share < 1.0 else held
                if kept != held:
                    approved.append(Order(self.ids.next(), i, kept - held))
                added[i] = kept
        return approved, added

    def _review_each(
        self,
        proposed: Sequence[Wish],
        portfolio: Portfolio,
        approved: list[Wish],
        added: dict[int, int],
        refused: list[Refusal],
        pairs: dict[int, Order] | None = None,
    ) -> tuple[Sequence[Wish], Sequence[Refusal]]:
        """Each wish in turn. *added* is what this review has changed: by instrument, the lots held if all that was let through trades. Of *pairs* of
        which one cancels the other (by their oco) these orders are counted in that.
        """
        bars, portfolio_lots, pending, halted = portfolio.bars, self._lots, self._pending, self.halted
        tape, base, terms = bars.tape, portfolio.row * portfolio.width, self._sizes
        gross_max, net_max, name_max, notional_max, leverage_max = self._bounds
        equity, gross, net = portfolio.prospects(self._on_the_way(portfolio, added) if added else self.broker.pending)
        for wish in proposed:
            if isinstance(wish, Order):
                _, i, lots, _, _, _, _, client_id, _, conditions = wish
                if client_id and self._is_known(wish, refused):
                    continue
                if conditions and (conditions.parent or conditions.oco not in (0, wish.id)):
                    pairs = {} if pairs is None else pairs
                    self._review_follower(wish, portfolio, approved, added, refused, pairs)
                    gross, net = portfolio.exposure(self._on_the_way(portfolio, added))
                    continue
            elif isinstance(wish, OrderBatch):
                gross, net = self._take_in(wish, portfolio, approved, refused, added)
                continue
            elif isinstance(wish, Remark):
                approved.append(wish)
                continue
            else:
                change = self._change(wish, portfolio, approved, added)
                if change is None:
                    approved.append(wish)
                    gross, net = portfolio.exposure(self._on_the_way(portfolio, added))
                    continue
                i, lots, whole = change
                # Its notional is that of the whole order, and not of what is added to it.
                is_too_big = notional_max < inf and not abs(whole) * terms[i] * tape.marked[base + i] <= notional_max
                if is_too_big and not rules.reduces(self._held(i, portfolio, added), lots):
                    refused.append(Refusal(wish, rules.NOTIONAL))
                    continue
            held = added[i] if i in added else portfolio_lots[i] + pending[i]
            size, before = terms[i], (gross, net)
            reason, gross, net = permit(
                lots, held, tape.marked[base + i], size, gross, net, equity, gross_max, net_max, name_max, notional_max, leverage_max, halted
            )
            if self._looks_closer and not reason and not rules.reduces(held, lots):
                reason = self._look_closer(portfolio, added, i, lots, equity)
                if reason:
                    gross, net = before
            if reason:
                refused.append(Refusal(wish, reason))
            else:
                approved.append(wish)
                added[i] = held + lots
        return approved, refused

    def _review_follower(
        self,
        order: Order,
        portfolio: Portfolio,
        approved: list[Wish],
        added: dict[int, int],
        refused: list[Refusal],
        pairs: dict[int, Order],
    ) -> None:
        """An order that hangs on another of the same proposal: the book is looked at as it would be when this one trades, its parent having filled,
        and the other orders of its pair not.

        Of a pair the order that is worth most counts. A child that reduces what is held by then counts once its parent lets it go, and not before.
        """
        assert order.conditions is not None
        oco, parent, i = order.conditions.oco, order.conditions.parent, order.instrument
        if not order.lots:
            refused.append(Refusal(order, Reason.EMPTY))
            return
        if any(refusal.order.id == (parent or oco) for refusal in refused if isinstance(refusal.order, Order)):
            refused.append(Refusal(order, Reason.PARENT_ENDED))
            return
        lead, without = self._as_if_due(order, portfolio, approved, added, pairs)
        held, mark, equity = self._held(i, portfolio, without), portfolio.mark_of(i), portfolio.equity
        gross, net = portfolio.exposure(self._on_the_way(portfolio, without))
        gross_max, net_max, name_max, notional_max, leverage_max = self._bounds
        reason, _, _ = permit(
            order.lots, held, mark, self._sizes[i], gross, net, equity, gross_max, net_max, name_max, notional_max, leverage_max, self.halted
        )
        reduces = rules.reduces(held, order.lots)
        if self._looks_closer and not reason and not reduces:
            reason = self._look_closer(portfolio, without, i, order.lots, equity)
        if reason:
            refused.append(Refusal(order, reason))
            return
        approved.append(order)
        if not (parent and reduces) and (lead is None or self._worth(lead, portfolio) < self._worth(order, portfolio)):
            pairs[oco or order.id] = order
            if lead is not None:
                added[lead.instrument] = self._held(lead.instrument, portfolio, added) - lead.lots
            added[i] = self._held(i, portfolio, added) + order.lots

    def _as_if_due(
        self, order: Order, portfolio: Portfolio, approved: Sequence[Wish], added: dict[int, int], pairs: dict[int, Order]
    ) -> tuple[Order | None, dict[int, int]]:
        """The order of its pair that counts so far, if one does; and what is held if all that was let through trades, but with those filled that
        *order* waits for, and without that pair.
        """
        sent = {wish.id: wish for wish in approved if isinstance(wish, Order)}
        lead, then = _lead(order, sent, pairs), dict(added)
        if lead is not None:
            then[lead.instrument] = self._held(lead.instrument, portfolio, then) - lead.lots
        parent = sent.get(order.conditions.parent) if order.conditions else None
        while parent is not None:
            other = _lead(parent, sent, pairs)
            if other is not parent:
                if other is not None:
                    then[other.instrument] = self._held(other.instrument, portfolio, then) - other.lots
                then[parent.instrument] = self._held(parent.instrument, portfolio, then) + parent.lots
            parent = sent.get(parent.conditions.parent) if parent.conditions else None
        return lead, then

    def _worth(self, order: Order, portfolio: Portfolio) -> float:
        """What all of an order is worth at the last mark; nothing, where there is none."""
        value: float = abs(order.lots) * self._sizes[order.instrument] * portfolio.mark_of(order.instrument)
        return value if value == value else 0.0

    def _look_closer(self, portfolio: Portfolio, added: dict[int, int], i: int, lots: int, equity: float) -> int:
        """What else stands against an order that is no exit: groups, beta, liquidity, or the rate, which counts it if it passes."""
        if self.screen is not None:
            found = self.screen.refuses(portfolio, portfolio.lots + self._on_the_way(portfolio, added), i, lots, equity)
            if found:
                return found
        if self.limits.rate_max:
            if not self._quota(portfolio.bars.closed_at):
                return rules.RATE
            self.sent.append(portfolio.bars.closed_at)
        return rules.FILLED

    def _is_known(self, order: Order, refused: list[Refusal]) -> bool:
        """Whether this client_id was used before, in which case the first answer stands: the same order again is none, and another is refused."""
        known = self._sent_as.setdefault(order.client_id, order)
        if known is order:
            return False
        refused.append(Refusal(order, Reason.DUPLICATE if self._says_the_same(known, order, refused) else Reason.CLIENT_ID_REUSED))
        return True

    def _says_the_same(self, known: Order, order: Order, refused: Sequence[Refusal]) -> bool:
        """Whether two orders differ in nothing but ids. Those that they hang on are the same where their client_ids are."""
        if known.conditions is not None and order.conditions is not None:
            again = {order.id: known.id}
            for wish, _ in refused:
                if isinstance(wish, Order) and wish.client_id in self._sent_as:
                    again[wish.id] = self._sent_as[wish.client_id].id
            _, _, _, parent, oco = order.conditions
            order = order._replace(conditions=order.conditions._replace(parent=again.get(parent, parent), oco=again.get(oco, oco)))
        return repr(known._replace(id=0)) == repr(order._replace(id=0))

    def _change(self, wish: object, portfolio: Portfolio, approved: Sequence[Wish], added: dict[int, int]) -> tuple[int, int, int] | None:
        """What a replacement adds: (instrument, lots, whole order). None where there is nothing to review: a cancel, a new price, or an order that
        is gone.
        """
        if not isinstance(wish, Cancel | Replace):
            raise PluginError(
                f"on_bars must return a list of orders, cancels, replacements, batches and remarks, or one batch; {wish!r} is none of them"
            )
        standing = self._standing(wish.order, approved)
        if standing is None:
            # The broker says so, in the same words as if it had just been filled.
            return None
        i = standing.order.instrument
        lots = -standing.remaining if isinstance(wish, Cancel) else wish.lots - standing.filled - standing.remaining
        if isinstance(wish, Cancel) or lots == 0:
            added[i] = self._held(i, portfolio, added) + lots
            return None
        return i, lots, wish.lots

    def _standing(self, order: int, approved: Sequence[Wish]) -> Standing | None:
        """An open order as the broker will have it after what this review has let through so far."""
        standing = self.broker.standing(order)
        for wish in approved:
            if isinstance(wish, Order):
                if wish.id == order:
                    standing = Standing(wish, 0, wish.lots)
            elif isinstance(wish, OrderBatch):
                if standing and standing.order.instrument in wish.clears:
                    standing = None
                for k in np.flatnonzero(wish.ids == order).tolist():
                    lots = int(wish.lots[k])
                    standing = Standing(Order(order, int(wish.instruments[k]), lots), 0, lots)
            elif isinstance(wish, Remark):
                continue
            elif wish.order == order:
                standing = None
            elif isinstance(wish, Replace) and wish.id == order:
                old = self._standing(wish.order, approved[: approved.index(wish)])
                left = wish.lots - old.filled if old else 0
                standing = Standing(old.order._replace(id=order, lots=left), 0, left) if old and left else None
        return standing

    def _take_in(
        self, batch: OrderBatch, portfolio: Portfolio, approved: list[Wish], refused: list[Refusal], added: dict[int, int]
    ) -> tuple[float, float]:
        """A batch among other wishes: gross and net exposure after it."""
        passed, turned_down = self._review_batch(batch, portfolio, added)
        approved += passed
        refused += turned_down
        for kept in passed:
            for i in kept.clears.tolist():
                added[i] = int(portfolio.lots[i])
            for i, lots in zip(kept.instruments.tolist(), kept.lots.tolist(), strict=True):
                added[i] = self._held(i, portfolio, added) + lots
        return portfolio.exposure(self._on_the_way(portfolio, added))

    def _held(self, i: int, portfolio: Portfolio, added: dict[int, int]) -> int:
        """Lots of an instrument if all that is on its way trades."""
        return added[i] if i in added else int(portfolio.lots[i]) + int(self.broker.pending[i])

    def _on_the_way(self, portfolio: Portfolio, added: dict[int, int]) -> np.ndarray:
        """Lots on their way by instrument, with what this review has let through."""
        if not added:
            return self.broker.pending
        pending = self.broker.pending.copy()
        for i, lots in added.items():
            pending[i] = lots - portfolio.lots[i]
        return pending

    def _quota(self, now: int) -> int:
        """How many more orders may pass at *now*: exits are not counted."""
        if not self.limits.rate_max:
            return NO_QUOTA
        start = now - int(self.limits.rate_seconds * SECOND)
        while self.sent and self.sent[0] <= start:
            self.sent.popleft()
        return self.limits.rate_max - len(self.sent)

    def _review_batch(self, batch: OrderBatch, portfolio: Portfolio, added: dict[int, int]) -> tuple[Sequence[OrderBatch], Sequence[Refusal]]:
        """A batch in one compiled call."""
        bars = portfolio.bars
        reasons = np.empty(len(batch), np.int64)
        pending = self._on_the_way(portfolio, added)
        now = bars.closed_at
        if self.screen is not None:
            check_batch(batch, portfolio.width)
            refused, counted = self.screen.review(batch, portfolio, pending, self._bounds, self.halted, self._quota(now), reasons)
        else:
            refused, counted = batches.review(
                batch.instruments,
                batch.lots,
                batch.clears,
                portfolio.lots,
                pending,
                portfolio.terms,
                bars.tape.panel_marks,
                bars.row,
                portfolio.equity,
                self.maxima,
                self.halted,
                self._quota(now),
                reasons,
            )
        if refused < 0:
            check_batch(batch, portfolio.width)
        if self.limits.rate_max:
            self.sent.extend([now] * counted)
        if not refused:
            return (batch,), ()
        wishes = [
            Refusal(Order(id, i, lots, kind, limit, stop, tif), reason)
            for id, i, lots, kind, limit, stop, tif, reason in zip(
                *(x.tolist() for x in (batch.ids, batch.instruments, batch.lots, batch.kinds, batch.limits, batch.stops, batch.tifs, reasons)),
                strict=True,
            )
            if reason
        ]
        kept = batch.chosen(reasons == 0)
        return ((kept,) if kept else ()), wishes


def _lead(order: Order, sent: Mapping[int, Order], pairs: Mapping[int, Order]) -> Order | None:
    """The order of its pair that counts, or itself where it is alone and counts. Those that hang on no other were *sent* like any order."""
    first = (order.conditions.oco if order.conditions else 0) or order.id
    if first in pairs:
        return pairs[first]
    found = sent.get(first)
    return None if found is None or (found.conditions and found.conditions.parent) else found


NO_QUOTA: Final = 2**62
NO_WISHES: Final[tuple[tuple[Order, ...], tuple[Refusal, ...]]] = ((), ())
