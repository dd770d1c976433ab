"""The simulated market on bars that are shorter than a session, where the calendar of an exchange says when sessions open and close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokers.matching import Market
from simulator import Account, Exchange, Portfolio, Tape
from simulator.kernels import batches

if TYPE_CHECKING:
    from brokers.simulated import Simulated


class SessionMarket(Market):
    """A market that knows with each bar whether it has the opening auction, and whether it is the last of its session: DAY orders end with it."""

    __slots__ = ("_exchange",)

    def __init__(self, settings: Simulated, tape: Tape, portfolio: Portfolio, account: Account) -> None:
        super().__init__(settings, tape, portfolio, account)
        self._exchange = Exchange(tape.truth.calendar)
        self.knows_closes = True

    def begin(self, row: int) -> None:
        """As any market; and the row's place in its session."""
        super().begin(row)
        tape = self.tape
        opens, closes = self._exchange.session(tape.days[row]) or (tape.starts[row], tape.ats[row])
        self.daily = tape.ats[row] >= closes
        self.opening = tape.starts[row] <= opens < tape.ats[row]
        self.settings[batches.DAILY] = self.daily
