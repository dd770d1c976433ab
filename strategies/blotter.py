"""Replays a list of orders: how another system's decisions meet this market."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from simulator import Order, OrderError, Proposal, Ticket, View, read_tickets


@dataclass
class Blotter:
    """Sends each order of a CSV file at *path* after the close of its bar: the header names client_id, symbol, quantity, kind, limit, stop, tif, and
    bar (an index) or date (a session). A relative path starts at the scenario's folder.
    """

    path: str = "orders.csv"
    tickets: Sequence[Ticket] | None = field(default=None, init=False, repr=False)
    due: dict[int, list[Ticket]] = field(default_factory=dict, init=False, repr=False)
    dated: list[tuple[int, Ticket]] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def of(cls, tickets: Sequence[Ticket]) -> Blotter:
        """A blotter of orders that are already at hand."""
        blotter = cls()
        blotter.tickets = tickets
        return blotter

    def beside(self, folder: Path) -> Blotter:
        """The same blotter with its path taken from *folder*."""
        return replace(self, path=str(folder / self.path))

    def on_bars(self, view: View) -> Proposal:
        if self.tickets is None or view.row == 0:
            self._sort(view)
        orders = [self._order(view, ticket) for ticket in self.due.pop(view.row, ())]
        while self.dated and self.dated[-1][0] <= view.session:
            orders.append(self._order(view, self.dated.pop()[1]))
        return orders

    def _sort(self, view: View) -> None:
        """Sort the orders by the bar after which they go out: those with a date after the first bar of that session, or of the next there is."""
        if self.tickets is None:
            self.tickets = read_tickets(Path(self.path))
        for ticket in self.tickets:
            if ticket.symbol not in view.symbols:
                raise OrderError(f"order {ticket.client_id}: no instrument '{ticket.symbol}'; there is: {', '.join(view.symbols)}")
            if ticket.date:
                self.dated.append(((date.fromisoformat(ticket.date) - date(1970, 1, 1)).days, ticket))
            else:
                self.due.setdefault(ticket.bar, []).append(ticket)
        # Taken from the end: the earliest date last, and of one date the first in the file.
        self.dated.sort(key=lambda due: due[0])
        self.dated.reverse()

    def _order(self, view: View, ticket: Ticket) -> Order:
        return view.order(ticket.quantity, ticket.symbol, ticket.kind, ticket.limit, ticket.stop, ticket.tif, ticket.client_id)
