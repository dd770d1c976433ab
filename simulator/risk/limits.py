"""What a session may not exceed."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from simulator.errors import ScenarioError


@dataclass(frozen=True, slots=True)
class Limits:
    """The risk engine's limits; infinity is off.

    gross_max, net_max and name_max are multiples of equity (1.0 is fully invested), for all positions, their sum and the largest one; they are
    checked at close marks as if every open order had traded. notional_max is money per order. At most rate_max orders (0: any number) pass in
    rate_seconds. drawdown_max is a share of the highest equity so far, daily_loss_max of the equity at the end of the last session: beyond either,
    trading halts. on_halt says what then happens to what is open: `freeze` leaves orders and positions, `cancel` cancels the orders, `flatten`
    also closes the positions. In all three new orders are refused unless they are exits. A halt is final, unless resume_after sessions end it.

    drawdown_ladder is what is done before that: pairs of a drawdown and the gross exposure that is allowed from there on, such as (0.1, 0.5). At each
    rung open orders are cancelled and positions cut in proportion at the next open; at a new peak all rungs are lifted.

    groups names instruments that belong together, and group_max is the gross exposure in each, as a multiple of equity. beta_max is the absolute sum
    of weights times betas to the instrument beta_to, over the last beta_window returns; an instrument with fewer than 20 counts with a beta of 1.
    exit_days_max is how many sessions it may take to leave a position at a share exit_share of its average volume in the last exit_window sessions.
    """

    gross_max: float = inf
    net_max: float = inf
    name_max: float = inf
    notional_max: float = inf
    rate_max: int = 0
    rate_seconds: float = 60.0
    drawdown_max: float = inf
    daily_loss_max: float = inf
    on_halt: Literal["freeze", "cancel", "flatten"] = "cancel"
    resume_after: int | None = None
    drawdown_ladder: tuple[tuple[float, float], ...] = ()
    groups: dict[str, tuple[str, ...]] | None = None
    group_max: float = inf
    beta_max: float = inf
    beta_to: str | None = None
    beta_window: int = 252
    exit_days_max: float = inf
    exit_share: float = 0.1
    exit_window: int = 20

    def __post_init__(self) -> None:
        for name in ("gross_max", "net_max", "name_max", "notional_max", "group_max", "beta_max", "exit_days_max", "exit_share"):
            if not getattr(self, name) > 0.0:
                raise ScenarioError(f"risk.{name} must be above 0 (inf is off), was {getattr(self, name)!r}")
        if not 0.0 < self.rate_seconds < inf:
            raise ScenarioError(f"risk.rate_seconds must be a number above 0, was {self.rate_seconds!r}")
        for name in ("drawdown_max", "daily_loss_max"):
            if not (0.0 < getattr(self, name) <= 1.0 or getattr(self, name) == inf):
                raise ScenarioError(f"risk.{name} must be in (0, 1] (inf is off), was {getattr(self, name)!r}")
        if self.rate_max < 0:
            raise ScenarioError(f"risk.rate_max must be 0 (off) or more orders, was {self.rate_max!r}")
        if self.resume_after is not None and self.resume_after < 1:
            raise ScenarioError(f"risk.resume_after must be at least 1 session, was {self.resume_after!r}")
        for name, least in (("beta_window", 20), ("exit_window", 1)):
            if getattr(self, name) < least:
                raise ScenarioError(f"risk.{name} must be at least {least}, was {getattr(self, name)!r}")
        if self.group_max < inf and not self.groups:
            raise ScenarioError("risk.group_max needs groups: a table [risk.groups] with a list of symbols for each")
        if self.beta_max < inf and self.beta_to is None:
            raise ScenarioError("risk.beta_max needs beta_to, the symbol of the instrument that stands for the market")
        falls = [fall for fall, _ in self.drawdown_ladder]
        if sorted(set(falls)) != falls or not all(0.0 < fall < self.drawdown_max for fall in falls):
            raise ScenarioError(f"risk.drawdown_ladder must have rising drawdowns above 0 and below drawdown_max, had {falls}")
        grosses = [gross for _, gross in self.drawdown_ladder]
        if sorted(grosses, reverse=True) != grosses or not all(0.0 <= gross < inf for gross in grosses):
            raise ScenarioError(f"risk.drawdown_ladder must have falling gross exposures of 0 or more, had {grosses}")
        if self.on_halt not in ("freeze", "cancel", "flatten"):
            raise ScenarioError(f"risk.on_halt must be 'freeze', 'cancel' or 'flatten', was {self.on_halt!r}")

    @property
    def goes_by_session(self) -> bool:
        """Whether a limit counts from the end of the last session, or a halt counts sessions."""
        return self.daily_loss_max < inf or self.resume_after is not None

    @property
    def looks_closer(self) -> bool:
        """Whether any limit is set that looks at groups, betas or volumes for each order."""
        return self.group_max < inf or self.beta_max < inf or self.exit_days_max < inf


@dataclass(frozen=True, slots=True)
class Account:
    """Starting *cash*, and what the account allows.

    What a sale in a cash account brings may buy at once, and is settled *settlement_days* business days later (0: at once).

    A `cash` account holds no shorts and owes nothing. A `margin` account keeps gross exposure within leverage_max times equity, checked when an
    order is accepted and again when it would fill; 2 is what Regulation T's initial margin of 50 % allows.
    """

    cash: float = 1_000_000.0
    kind: Literal["cash", "margin"] = "margin"
    leverage_max: float = 2.0
    settlement_days: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.settlement_days <= 30:
            raise ScenarioError(f"account.settlement_days must be in 0..30, was {self.settlement_days!r}")
        if not 0.0 < self.cash < inf:
            raise ScenarioError(f"account.cash must be above 0, was {self.cash!r}")
        if not self.leverage_max > 0.0:
            raise ScenarioError(f"account.leverage_max must be above 0 (inf is off), was {self.leverage_max!r}")
        if self.kind not in ("cash", "margin"):
            raise ScenarioError(f"account.kind must be 'cash' or 'margin', was {self.kind!r}")
