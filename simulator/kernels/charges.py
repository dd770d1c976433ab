"""What the broker of an account charges at the start of a session, and whether it calls for margin at a mark: compiled runs ask here."""

from __future__ import annotations

from typing import Any

from simulator.kernels.compiled import rule
from simulator.kernels.rules import interest, lending, margin_of_lot, size_of
from simulator.kernels.tapes import LOT_DOWN, LOT_UP, MULTIPLIER, SIZE

Array = Any

# What is charged and asked for, as one row of numbers. RATE_MAX is the higher share of the two; where equity is above that of gross exposure no
# margin is short.
ACCRUES, DEBIT, CREDIT, REBATE, BASIS, WATCHED, LONG, SHORT, RATE_MAX = 0, 1, 2, 3, 4, 5, 6, 7, 8
CHARGES = 9


@rule
def lent(cash: float, value: float, days: int, charges: Array, borrow: float) -> float:
    """Cash after a short of this *value* has been paid for; *borrow* is the yearly rate of its fee."""
    fee, rebate = lending(value, borrow * days, charges[REBATE], days / charges[BASIS], charges[BASIS])
    cash = cash - fee
    return cash + rebate if charges[REBATE] != 0.0 else cash


@rule
def with_interest(cash: float, free: float, days: int, charges: Array) -> float:
    """Cash with what the *free* part of it has earned, or what is owed has cost."""
    return cash + interest(free, charges[DEBIT], charges[CREDIT], days / charges[BASIS])


@rule
def accrued(cash: float, days: int, lots: Array, marks: Array, row: int, terms: Array, charges: Array, borrow: Array) -> float:
    """Cash after all that accrues has been booked: fee and rebate of each short at the marks of *row*, in instrument order, and then interest."""
    free = cash
    for i in range(lots.shape[0]):
        if lots[i] < 0:
            value = size_of(-lots[i], terms[i, LOT_UP], terms[i, LOT_DOWN], terms[i, MULTIPLIER]) * marks[row, i]
            free -= value
            cash = lent(cash, value, days, charges, borrow[i])
    return with_interest(cash, free, days, charges)


@rule
def accrued_alone(cash: float, days: int, worth_of: float, mark: float, charges: Array, borrow: Array) -> float:
    """`accrued` where there is one instrument, of which the position is worth so much at a price of 1."""
    free = cash
    if worth_of < 0.0:
        value = -worth_of * mark
        free -= value
        cash = lent(cash, value, days, charges, borrow[0])
    return with_interest(cash, free, days, charges)


@rule
def is_called(equity: float, gross: float, lots: Array, marks: Array, row: int, terms: Array, charges: Array) -> bool:
    """Whether margin is short at a mark, or nothing is left: then MarginEngine acts."""
    if not equity > 0.0:
        return True
    if equity >= charges[RATE_MAX] * gross:
        return False
    needed = 0.0
    for i in range(lots.shape[0]):
        if lots[i] != 0:
            needed += abs(lots[i]) * margin_of_lot(charges[SHORT] if lots[i] < 0 else charges[LONG], terms[i, SIZE], marks[row, i])
    return not equity >= needed


@rule
def is_called_alone(equity: float, gross: float, held: int, size: float, mark: float, charges: Array) -> bool:
    """`is_called` where there is one instrument."""
    if equity > 0.0 and equity >= charges[RATE_MAX] * gross:
        return False
    return not (equity > 0.0 and equity >= abs(held) * margin_of_lot(charges[SHORT] if held < 0 else charges[LONG], size, mark))
