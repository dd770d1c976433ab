"""The loop: one bar's way through the system."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.book.portfolio import Portfolio
from simulator.market.tape import Bars
from simulator.market.view import View
from simulator.ports import Broker, Calendar, Clock, Journal, Strategy
from simulator.risk.engine import RiskEngine
from simulator.risk.fresh import Fresh
from simulator.risk.switch import Switched


@dataclass(slots=True)
class Session:
    """All parts of one run, wired by `simulator.assembly`. Modes differ in which parts stand here, never in the step.

    *calendar* is None where nothing ever falls due.
    """

    clock: Clock
    broker: Broker
    portfolio: Portfolio
    view: View
    strategy: Strategy
    risk: RiskEngine | Switched | Fresh
    journal: Journal
    calendar: Calendar | None = None


def step(session: Session, bars: Bars) -> None:
    """Take the bars of one instant through the system: settle, fill, book, mark, decide, check, send."""
    session.clock.wait_until(bars.closed_at)
    if session.calendar is not None and session.calendar.due(bars):
        settled = session.portfolio.settle(session.calendar.take(bars))
        session.view.settle(settled)
        session.journal.note(bars, settled)

    # Orders sent on earlier bars meet these. Nothing sent below can fill before the next.
    events = session.broker.work(bars)
    if events:
        session.portfolio.book(events)
        session.view.remember(events)
    session.portfolio.mark(bars)
    if session.risk.watches:
        halts = session.risk.watch(session.portfolio)
        if halts:
            events += halts
            session.view.remember(events)

    # The strategy sees the past up to this close, and proposes; the risk engine disposes.
    proposed = session.strategy.on_bars(session.view)
    if proposed or events:
        approved, refused = session.risk.review(proposed, session.portfolio)
        # The broker answers at once what it rejects and cancels. Only under `same_close`, which says so, are there fills among its answers.
        answers = session.broker.submit(approved)
        if answers:
            session.portfolio.book(answers)
            session.view.hear(answers)
        session.journal.record(bars, events, approved, refused, answers)
