"""Markets that look at more than their bars: at the calendar of an exchange, or at rates of exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokers.itemised import ItemisedMarket
from brokers.matching import Market
from simulator import DAY, Account, CurrencyPortfolio, Exchange, Portfolio, Tape
from simulator.kernels import batches

if TYPE_CHECKING:
    from brokers.simulated import Simulated


def market_of(settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account, margined: type[Market] | None = None) -> Market:
    """The market for what is on the tape, and for what it costs: the plain one where bars are sessions, or name no exchange, all is in one currency,
    and costs are a few numbers.
    """
    timed = bool(tape.truth.calendar) and tape.interval < DAY
    foreign = isinstance(portfolio, CurrencyPortfolio)
    wide: tuple[type[Market], ...] = (margined,) if margined else (WideMarket,) if timed or foreign else ()
    kinds = wide + ((ItemisedMarket,) if settings.itemises else ())
    kind: type[Market] = type("Together", kinds, {}) if len(kinds) > 1 else (*kinds, Market)[0]
    return kind(settings, tape, portfolio, account)


class WideMarket(Market):
    """A market that knows with each bar whether it has the opening auction and whether it is the last of its session, with which DAY orders end; and
    that counts money in the base currency of the account, at the rates of the last marks.
    """

    __slots__ = ("_exchange", "_foreign")

    def __init__(self, settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account) -> None:
        super().__init__(settings, tape, portfolio, account)
        self._foreign = isinstance(portfolio, CurrencyPortfolio)
        self._exchange = Exchange(tape.truth.calendar) if tape.truth.calendar and tape.interval < DAY else None
        if self._exchange:
            self.knows_closes = True
        if self._foreign:
            self.columns = portfolio.terms

    def begin(self, row: int) -> None:
        """As any market; and the row's place in its session, and what a lot is worth in the base currency."""
        super().begin(row)
        if self._exchange:
            tape = self.tape
            opens, closes = self._exchange.session(tape.days[row]) or (tape.starts[row], tape.ats[row])
            self.daily = tape.ats[row] >= closes
            self.opening = tape.starts[row] <= opens < tape.ats[row]
            self.settings[batches.DAILY] = self.daily
        if self._foreign:
            self.terms = [tuple(terms) for terms in self.columns.tolist()]
