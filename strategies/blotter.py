"""Replays a list of orders: how another system's decisions meet this market."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from simulator import Conditions, Order, OrderError, Proposal, Ticket, View, read_tickets


@dataclass
class Blotter:
    """Sends each order of a CSV file at *path* after the close of its bar: the header names client_id, symbol, quantity, kind, limit, stop, tif, and
    bar (an index) or date (a session). A relative path starts at the scenario's folder.
    """

    path: str = "orders.csv"
    tickets: Sequence[Ticket] | None = field(default=None, init=False, repr=False)
    due: dict[int, list[Ticket]] = field(default_factory=dict, init=False, repr=False)
    dated: list[tuple[int, Ticket]] = field(default_factory=list, init=False, repr=False)
    # By client_id and by the name of a pair, the first order that had it: those that are sent again are tied as they were.
    ids: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    pairs: dict[str, int] = field(default_factory=dict, init=False, repr=False)

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
        due = self.due.pop(view.row, [])
        while self.dated and self.dated[-1][0] <= view.session:
            due.append(self.dated.pop()[1])
        return self._orders(view, due)

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

    def _orders(self, view: View, due: Sequence[Ticket]) -> list[Order]:
        """The orders of these tickets, with what ties them to each other."""
        ids, pairs = self.ids, self.pairs
        orders = []
        for x in due:
            order = view.order(
                x.quantity,
                x.symbol,
                x.kind,
                x.limit,
                x.stop,
                x.tif,
                x.client_id,
                trail=x.trail,
                trail_fraction=x.trail_fraction,
                until=x.until,
            )
            ids.setdefault(x.client_id, order.id)
            if x.parent or x.oco:
                ties = (order.conditions or Conditions())._replace(parent=ids.get(x.parent, 0), oco=pairs.setdefault(x.oco, order.id) if x.oco else 0)
                order = order._replace(conditions=ties)
            orders.append(order)
        return orders
