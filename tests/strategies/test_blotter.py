"""The blotter: a list of orders, sent one bar after another."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_markets import HOUR, QUIET, flat, hourly, markets, plain

from simulator import OrderError, Result, Tape, Ticket, simulate
from strategies.blotter import Blotter

TAPE = markets(X=[flat(10 + n) for n in range(5)], Y=[flat(20)] * 5)


def run(blotter: Blotter, tape: Tape = TAPE, participation: float = 1.0) -> Result:
    return simulate(tape, blotter, broker=plain(participation=participation), check=True)


def written(folder: Path, text: str) -> Blotter:
    """A blotter of a file beside a scenario."""
    (folder / "orders.csv").write_text(text)
    return Blotter().beside(folder)


def trades(result: Result) -> list[tuple[str, str, int, float]]:
    return [(fill.client_id, fill.symbol, fill.bar, fill.quantity) for fill in result.fills]


def test_each_order_goes_out_after_the_close_of_its_bar() -> None:
    result = run(Blotter.of([Ticket("b", "Y", -3, bar=2), Ticket("a", "X", 5)]))
    assert trades(result) == [("a", "X", 1, 5), ("b", "Y", 3, -3)]
    assert [(order.client_id, order.bar) for order in result.orders] == [("a", 0), ("b", 2)]


def test_a_file_lies_beside_its_scenario(tmp_path: Path) -> None:
    blotter = written(tmp_path, "client_id,symbol,quantity,kind,limit,bar\na,X,5,,,1\nb,X,-5,limit,13.5,2\n")
    assert trades(run(blotter)) == [("a", "X", 2, 5), ("b", "X", 4, -5)]


def test_an_order_with_a_date_goes_out_after_the_first_bar_of_that_session_or_of_the_next(tmp_path: Path) -> None:
    """Bar 0 is the first of January 1970, and there is no fourth."""
    gap = markets(X=[QUIET, QUIET, QUIET, QUIET])
    tape = Tape.of(gap.instruments, gap.closed_at, gap.open, gap.high, gap.low, gap.close, gap.volume, interval=gap.interval, sessions=[0, 1, 2, 9])
    blotter = written(tmp_path, "client_id,symbol,quantity,date\nlast,X,3,1970-01-04\nfirst,X,1,1970-01-01\nsecond,X,2,1970-01-03\n")
    assert [(order.client_id, order.bar) for order in run(blotter, tape).orders] == [("first", 0), ("second", 2), ("last", 3)]


def test_orders_of_one_date_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """Both wish for 60 of the 100 that the bar gives: the first in the file has its 60."""
    blotter = written(tmp_path, "client_id,symbol,quantity,date\nfirst,X,60,1970-01-02\nsecond,X,60,1970-01-02\nearly,X,1,1970-01-01\n")
    assert trades(run(blotter, participation=0.1)) == [("early", "X", 1, 1), ("first", "X", 2, 60), ("second", "X", 2, 40), ("second", "X", 3, 20)]


def test_a_date_on_hourly_bars_is_the_first_bar_of_its_session() -> None:
    result = run(Blotter.of([Ticket("a", "X", 1, date="1970-01-02")]), hourly(*[QUIET] * 30))
    assert [order.bar for order in result.orders] == [24]
    assert result.fills[0].at == 26 * HOUR


def test_a_symbol_that_has_no_bars_is_named() -> None:
    with pytest.raises(OrderError, match="order a: no instrument 'Z'; there is: X, Y"):
        run(Blotter.of([Ticket("a", "Z", 1)]))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OrderError, match=r"orders\.csv: cannot be read as a CSV file of orders"):
        run(Blotter().beside(tmp_path))


def test_a_blotter_runs_anew_each_time(tmp_path: Path) -> None:
    blotter = written(tmp_path, "client_id,symbol,quantity\na,X,5\n")
    assert trades(run(blotter)) == trades(run(blotter.beside(Path("/"))))
