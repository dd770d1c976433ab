"""A live session on a terminal: the feed, positions, open orders, last fills, equity and drawdown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from simulator.loop.journal import FILL, KINDS, ROW
from simulator.loop.session import Session
from simulator.risk.engine import Measure

if TYPE_CHECKING:
    from rich.console import Group

    from simulator.book.orders import Due

import numpy as np

MOST: Final = 8
"""So many positions, orders and fills are shown."""


def panel(session: Session, rows: np.ndarray, feed: Sequence[tuple[str, str]], peak: float, due: Sequence[Due] = ()) -> Group:
    """All of it, to be printed. *rows* are the newest of the journal, *peak* is the highest equity so far, *due* what happened since the last bar."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    view, portfolio = session.view, session.portfolio
    tape, here = view.bars.tape, view.bars.row >= 0
    symbols = [instrument.symbol for instrument in tape.instruments]
    top = Table.grid(padding=(0, 2))
    top.add_row("clock", moment(view.bars.closed_at) if here else "no bar yet")
    for label, words in feed:
        top.add_row(label, words)
    if here:
        equity = portfolio.equity
        top.add_row("equity", f"{equity:,.2f}, {1.0 - equity / max(peak, equity):.2%} below its peak")
    held = Table(title="positions", title_justify="left", box=None)
    for i in np.flatnonzero(portfolio.lots)[:MOST].tolist():
        price = float(tape.marks[view.bars.row, i])
        held.add_row(symbols[i], f"{tape.instruments[i].units(int(portfolio.lots[i])):g}", f"at {price:g}")
    waits: dict[int, str] = {}
    if here and hasattr(session.broker, "waiting"):
        from simulator.book.orders import Reason

        waits = {wait.order: Reason(wait.reason).words for wait in session.broker.waiting()}
    orders = Table(title="open orders", title_justify="left", box=None)
    for id in session.broker.open_ids()[:MOST]:
        standing = session.broker.standing(id)
        if standing:
            orders.add_row(str(id), symbols[standing.order.instrument], f"{standing.remaining:+,} lots", waits.get(id, "its next bar"))
    since = Table(title="since the last bar", title_justify="left", box=None)
    for each in due[-MOST:]:
        since.add_row(f"{moment(each.at)}.{each.at // 1_000_000 % 1_000:03}", symbols[each.instrument], each.words)
    fills = Table(title="last fills and halts", title_justify="left", box=None)
    for row in rows[-MOST:]:
        what = f"{row['lots']:+,} at {row['a']:g}" if row["kind"] == FILL else f"{Measure(row['order']).name.lower()}, equity {row['a']:,.2f}"
        fills.add_row(moment(int(row["at"])), KINDS[row["kind"]], symbols[row["instrument"]] if row["kind"] == FILL else "", what)
    return Group(top, Text(), held, orders, *([since] if due else []), fills)


def newest(rows: bytearray, kinds: Sequence[int]) -> np.ndarray:
    """The last rows of these kinds among the newest thousand."""
    table = np.frombuffer(bytes(rows[-1_000 * ROW.itemsize :]), ROW)
    return table[np.isin(table["kind"], kinds)][-MOST:]


def moment(at: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(at // 1_000_000_000, UTC).isoformat(sep=" ").removesuffix("+00:00")
