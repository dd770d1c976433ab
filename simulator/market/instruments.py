"""What can be traded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from simulator.errors import DataError
from simulator.kernels import rules

CLOSE = Fraction(1, 10**9)
NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Instrument:
    """One thing that can be traded: its symbol, kind, price grid, lot, contract multiplier and currency.

    *tick* and *lot* are decimal strings, so that a lot of "0.00000001" is that number and not the float beside it. A tick of "0" means that
    prices have no grid. Quantities are kept as whole lots; `units` says what they are worth in shares, rounded once.
    """

    symbol: str
    kind: str = "equity"
    tick: str = "0.01"
    lot: str = "1"
    multiplier: float = 1.0
    currency: str = "USD"
    tick_size: float = field(init=False, compare=False, repr=False)
    tick_up: float = field(init=False, compare=False, repr=False)
    tick_down: float = field(init=False, compare=False, repr=False)
    lot_up: float = field(init=False, compare=False, repr=False)
    lot_down: float = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        lot, tick = self._decimal("lot", self.lot), self._decimal("tick", self.tick)
        if not lot > 0:
            raise DataError(f"instrument {self.symbol!r}: lot must be above 0, was {self.lot!r}")
        if tick < 0:
            raise DataError(f"instrument {self.symbol!r}: tick must be 0 (no grid) or above, was {self.tick!r}")
        if not 0.0 < self.multiplier < float("inf"):
            raise DataError(f"instrument {self.symbol!r}: multiplier must be a number above 0, was {self.multiplier!r}")
        if not self.symbol:
            raise DataError("an instrument needs a symbol, and this one has none")
        for name, text, value in (("lot", self.lot, lot), ("tick", self.tick, tick)):
            if value.numerator > 2**53 or value.denominator > 2**53:
                raise DataError(f"instrument {self.symbol!r}: {name} {text!r} has more digits than can be counted exactly")
            object.__setattr__(self, f"{name}_up", float(value.numerator))
            object.__setattr__(self, f"{name}_down", float(value.denominator))
        object.__setattr__(self, "tick_size", float(tick))

    def _decimal(self, name: str, text: str) -> Fraction:
        try:
            return Fraction(Decimal(text))
        except (InvalidOperation, ValueError, TypeError, OverflowError):
            raise DataError(f"instrument {self.symbol!r}: {name} must be a decimal string such as '0.01', was {text!r}") from None

    def lots(self, quantity: float) -> int:
        """Whole lots in *quantity* units, rounded toward zero; what is within 1e-9 of a lot is that lot. Source: market-rules.md, section 3.

        Raises DataError where *quantity* is not a number or has more lots than an int64 holds.
        """
        if not -9.0e18 < quantity * self.lot_down / self.lot_up < 9.0e18:
            raise DataError(f"instrument {self.symbol!r}: a quantity must be a number of less than 9e18 lots, was {quantity!r}")
        # In decimals, as the quantity was written: 10.7 is 1,070,000,000 lots of 0.00000001, and the float beside it is one less.
        wanted = Fraction(Decimal(repr(float(quantity)))) * int(self.lot_down) / int(self.lot_up)
        return int(wanted + CLOSE) if wanted >= 0 else -int(CLOSE - wanted)

    def units(self, lots: int) -> float:
        """*lots* in shares or contracts, rounded once."""
        return rules.units(lots, self.lot_up, self.lot_down)


@dataclass(frozen=True, slots=True)
class Future(Instrument):
    """A contract that is settled in cash each day: nothing is paid for it, and what it gains or loses moves at the next session's first instant.

    *initial_margin* and *maintenance_margin* are money a contract (0 is none). After the session *expires* ("2020-03-20"; empty: never) it is settled
    at its last close. A lot is one contract, of *multiplier* times the price.
    """

    kind: str = "future"
    initial_margin: float = 0.0
    maintenance_margin: float = 0.0
    expires: str = ""
    expiry: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        Instrument.__post_init__(self)
        for name in ("initial_margin", "maintenance_margin"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise DataError(f"future {self.symbol!r}: {name} must be money a contract, 0 or above, was {getattr(self, name)!r}")
        if self.maintenance_margin > self.initial_margin:
            raise DataError(
                f"future {self.symbol!r}: maintenance_margin must be at most initial_margin, {self.initial_margin:g}, was {self.maintenance_margin!r}"
            )
        try:
            day = date.fromisoformat(self.expires).toordinal() - date(1970, 1, 1).toordinal() if self.expires else NEVER
        except ValueError:
            raise DataError(f"future {self.symbol!r}: expires must be a date such as '2020-03-20', was {self.expires!r}") from None
        object.__setattr__(self, "expiry", day)
