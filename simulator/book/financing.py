"""What it costs to owe shares or cash, and what cash earns: accrued for calendar days, booked at the first instant of each session."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from math import fsum, inf
from typing import Final, Literal

from simulator.book.fills import Booked, Booking, Event
from simulator.book.portfolio import Portfolio
from simulator.errors import ScenarioError, nearest
from simulator.kernels import rules
from simulator.market.instruments import Future
from simulator.market.tape import Bars, Tape

EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Loan:
    """The terms on which *symbol* can be borrowed from the session *since* on (None: from the beginning): a yearly fee *rate* on its market value,
    and how many shares are *available* to us (inf: any number).

    A later loan of the same symbol with fewer shares is a recall: what is short beyond them is bought in.
    """

    symbol: str
    rate: float
    available: float = inf
    since: date | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < inf:
            raise ScenarioError(f"financing.loans: the rate of {self.symbol} must be 0 or above, was {self.rate!r}")
        if not self.available >= 0.0:
            raise ScenarioError(f"financing.loans: what is available of {self.symbol} must be 0 shares or more (inf is any), was {self.available!r}")


@dataclass(frozen=True, slots=True)
class Financing:
    """Yearly rates, as fractions; 0 is off.

    *borrow* is the fee for shares that are easy to borrow; *loans* say otherwise for single instruments. It is reckoned on the market value of the
    short position at the last close, without the usual 2 % on top. *rebate* is what the lender pays on that value, since it holds the proceeds.
    *debit* is paid on cash that we owe and *credit* earned on cash that is ours, which the proceeds of shorts, at today's value, are not: they lie
    with the lender. Fees are in the instrument's currency; interest is on the cash of all currencies together, in the base. Days are actual ones over
    360, or over 365 with the *day_count* "act/365". Idle cash earns nothing unless it is said to.

    Sources: market-rules.md, section 3; Federal Reserve, Regulation T, 12 CFR 220; actual/360 is the money market's convention for the dollar.
    """

    borrow: float = 0.003
    rebate: float = 0.0
    debit: float = 0.06
    credit: float = 0.0
    day_count: Literal["act/360", "act/365"] = "act/360"
    loans: tuple[Loan, ...] = ()

    def __post_init__(self) -> None:
        for name in ("borrow", "debit"):
            if not 0.0 <= getattr(self, name) < inf:
                raise ScenarioError(f"financing.{name} must be a yearly rate of 0 (off) or above, was {getattr(self, name)!r}")
        for name in ("rebate", "credit"):
            if not -inf < getattr(self, name) < inf:
                raise ScenarioError(f"financing.{name} must be a yearly rate, 0 is off, was {getattr(self, name)!r}")
        if self.day_count not in ("act/360", "act/365"):
            raise ScenarioError(f"financing.day_count must be 'act/360' or 'act/365', was {self.day_count!r}")
        dates = [(loan.symbol, loan.since) for loan in self.loans]
        for symbol, since in dates:
            if dates.count((symbol, since)) > 1:
                raise ScenarioError(f"financing.loans: two loans of {symbol} since {since or 'the beginning'}; leave one")

    @property
    def accrues(self) -> bool:
        """Whether anything can ever be charged or paid."""
        return any((self.borrow, self.rebate, self.debit, self.credit)) or any(loan.rate for loan in self.loans)

    @property
    def is_steady(self) -> bool:
        """Whether its terms are the same on every day, and shares never run out."""
        return all(loan.since is None and loan.available == inf for loan in self.loans)

    @property
    def basis(self) -> float:
        """How many days are a year."""
        return 365.0 if self.day_count == "act/365" else 360.0

    def squeezed(self, symbols: Sequence[str], rate: float, available: float, since: date) -> Financing:
        """The same terms, but from *since* on these *symbols* cost at least *rate* a year, and at most so many shares of each are *available*."""
        kept, begun = [], []
        for symbol in symbols:
            own = sorted((loan for loan in self.loans if loan.symbol == symbol), key=lambda loan: loan.since or date.min)
            before = [loan for loan in own if (loan.since or date.min) < since]
            standing = before[-1] if before else Loan(symbol, self.borrow)
            later = [replace(standing, since=since), *(loan for loan in own if (loan.since or date.min) > since)]
            later[:1] = [replace(loan, since=since) for loan in own if loan.since == since] or later[:1]
            kept += before
            begun += [replace(loan, rate=max(loan.rate, rate), available=min(loan.available, available)) for loan in later]
        others = [loan for loan in self.loans if loan.symbol not in symbols]
        return replace(self, loans=(*others, *kept, *begun))

    def words(self) -> list[str]:
        """The assumptions, one sentence each."""
        own = f" ({', '.join(dict.fromkeys(loan.symbol for loan in self.loans))} on terms of their own)" if self.loans else ""
        return [
            f"Borrowed shares cost {self.borrow:.2%} a year{own}; their proceeds earn {self.rebate:.2%}.",
            f"Cash that we owe costs {self.debit:.2%} a year, and cash that is ours earns {self.credit:.2%} ({self.day_count}, calendar days).",
        ]


class Lending:
    """On what terms each instrument of a tape can be borrowed, day by day.

    Raises ScenarioError for a loan of what the tape does not have.
    """

    __slots__ = ("_rate", "_starts", "_terms")

    def __init__(self, financing: Financing, tape: Tape) -> None:
        self._rate = financing.borrow
        self._starts: dict[int, list[int]] = {}
        self._terms: dict[int, list[tuple[float, float]]] = {}
        for loan in sorted(financing.loans, key=lambda loan: loan.since or date.min):
            if loan.symbol not in tape.index:
                raise ScenarioError(f"financing.loans: there are no bars of '{loan.symbol}'{nearest(loan.symbol, tape.index)}")
            i = tape.index[loan.symbol]
            self._starts.setdefault(i, []).append(loan.since.toordinal() - EPOCH if loan.since else -(2**62))
            self._terms.setdefault(i, []).append((loan.rate, loan.available))

    @property
    def limited(self) -> tuple[int, ...]:
        """The instruments of which there may be too few shares."""
        return tuple(sorted(i for i, terms in self._terms.items() if any(available < inf for _, available in terms)))

    def available(self, instrument: int, day: int) -> float:
        """How many shares can be borrowed on *day* (days since 1970)."""
        k = bisect_right(self._starts.get(instrument, ()), day) - 1
        return self._terms[instrument][k][1] if k >= 0 else inf

    def rate_days(self, instrument: int, first: int, last: int) -> float:
        """The fee's yearly rate, added up over the days from *first* up to but not *last*."""
        starts = self._starts.get(instrument)
        if starts is None:
            return self._rate * (last - first)
        edges = [first, *(day for day in starts if first < day < last), last]
        parts = []
        for start, end in pairwise(edges):
            k = bisect_right(starts, start) - 1
            parts.append((self._terms[instrument][k][0] if k >= 0 else self._rate) * (end - start))
        return fsum(parts)


class Accruals:
    """The calendar of what accrues: at the first instant of each session, for all calendar days since the last, on what stood at its close."""

    __slots__ = ("_basis", "_day", "_futures", "_lots", "_terms", "lending", "portfolio")

    def __init__(self, financing: Financing, portfolio: Portfolio) -> None:
        tape = portfolio.bars.tape
        self.portfolio, self.lending = portfolio, Lending(financing, tape)
        self._terms = financing
        self._basis = financing.basis
        self._futures = frozenset(i for i, x in enumerate(tape.instruments) if isinstance(x, Future))
        self._lots = [tuple(row) for row in tape.terms[:, :3].tolist()]
        self._day: int | None = None

    def due(self, bars: Bars) -> bool:
        """Whether a new session begins."""
        return bars.tape.days[bars.row] != self._day

    def rests(self) -> bool:
        """Whether nothing accrues as long as nothing is traded: nothing is short, nothing is owed, and cash earns nothing."""
        return self.portfolio.cash >= 0.0 and not self._terms.credit and not (self.portfolio.lots < 0).any()

    def take(self, bars: Bars) -> Iterator[Event]:
        """Fee and rebate of each short position, in the order of the instruments, and then the interest on cash."""
        first, self._day = self._day, bars.session
        if first is None:
            return
        portfolio, terms, last = self.portfolio, self._terms, bars.session
        years = (last - first) / self._basis
        # Before anything is booked: what one short costs does not depend on what another did.
        free = portfolio.cash
        for i in range(portfolio.width):
            if portfolio.sizes[i] < 0.0 and i not in self._futures:
                price = portfolio.mark_of(i)
                free -= -float(portfolio.sizes[i]) * price
                # In its own currency, where the account counts in another.
                value = rules.size_of(-int(portfolio.lots[i]), *self._lots[i]) * price
                fee, rebate = rules.lending(value, self.lending.rate_days(i, first, last), terms.rebate, years, self._basis)
                if fee:
                    yield Booked(Booking.BORROW, i, -fee, price=price)
                if terms.rebate:
                    yield Booked(Booking.REBATE, i, rebate, price=price)
        interest = rules.interest(free, terms.debit, terms.credit, years)
        if interest:
            yield Booked(Booking.INTEREST, -1, interest, price=free)
