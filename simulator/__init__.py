"""tradewind: an event-driven simulator that cannot look ahead, and proves it.

These are the public names: all that a plug-in author imports. They load when first used, so that the command line starts quickly.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# One thread for linear algebra: results must not depend on the machine's cores, and small problems are quicker so. Before numpy loads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from simulator.assembly import assemble as assemble
    from simulator.assembly import run as run
    from simulator.assembly import run_orders as run_orders
    from simulator.assembly import simulate as simulate
    from simulator.book.currencies import CurrencyPortfolio as CurrencyPortfolio
    from simulator.book.fills import Adjusted as Adjusted
    from simulator.book.fills import Booked as Booked
    from simulator.book.fills import Booking as Booking
    from simulator.book.fills import Ended as Ended
    from simulator.book.fills import Event as Event
    from simulator.book.fills import Fill as Fill
    from simulator.book.fills import FillBatch as FillBatch
    from simulator.book.fills import Halt as Halt
    from simulator.book.fills import Replaced as Replaced
    from simulator.book.fills import Rescaled as Rescaled
    from simulator.book.fills import Sliced as Sliced
    from simulator.book.fills import Waited as Waited
    from simulator.book.orders import AlmgrenChriss as AlmgrenChriss
    from simulator.book.orders import Cancel as Cancel
    from simulator.book.orders import Conditions as Conditions
    from simulator.book.orders import FloatArray as FloatArray
    from simulator.book.orders import IntArray as IntArray
    from simulator.book.orders import Order as Order
    from simulator.book.orders import OrderBatch as OrderBatch
    from simulator.book.orders import OrderIds as OrderIds
    from simulator.book.orders import OrderKind as OrderKind
    from simulator.book.orders import OrderState as OrderState
    from simulator.book.orders import Pov as Pov
    from simulator.book.orders import Proposal as Proposal
    from simulator.book.orders import Reason as Reason
    from simulator.book.orders import Refusal as Refusal
    from simulator.book.orders import Remark as Remark
    from simulator.book.orders import Replace as Replace
    from simulator.book.orders import Schedule as Schedule
    from simulator.book.orders import Standing as Standing
    from simulator.book.orders import TimeInForce as TimeInForce
    from simulator.book.orders import Twap as Twap
    from simulator.book.orders import Vwap as Vwap
    from simulator.book.orders import Wish as Wish
    from simulator.book.portfolio import Portfolio as Portfolio
    from simulator.book.positions import Position as Position
    from simulator.book.tickets import Ticket as Ticket
    from simulator.book.tickets import read_tickets as read_tickets
    from simulator.errors import DataError as DataError
    from simulator.errors import OrderError as OrderError
    from simulator.errors import PluginError as PluginError
    from simulator.errors import ScenarioError as ScenarioError
    from simulator.errors import SimulatorError as SimulatorError
    from simulator.errors import ViewError as ViewError
    from simulator.feeds.files import read_bars as read_bars
    from simulator.feeds.frames import tape_from_columns as tape_from_columns
    from simulator.feeds.frames import tape_from_frame as tape_from_frame
    from simulator.feeds.frames import tape_from_frames as tape_from_frames
    from simulator.loop.prover import prove as prove
    from simulator.loop.whole import Past as Past
    from simulator.market.actions import Actions as Actions
    from simulator.market.actions import Delisting as Delisting
    from simulator.market.actions import Dividend as Dividend
    from simulator.market.actions import Split as Split
    from simulator.market.actions import Suspension as Suspension
    from simulator.market.actions import TradingHalt as TradingHalt
    from simulator.market.exchanges import Exchange as Exchange
    from simulator.market.indicators import Indicator as Indicator
    from simulator.market.indicators import atr as atr
    from simulator.market.indicators import beta as beta
    from simulator.market.indicators import bollinger as bollinger
    from simulator.market.indicators import correlation as correlation
    from simulator.market.indicators import ema as ema
    from simulator.market.indicators import macd as macd
    from simulator.market.indicators import macd_histogram as macd_histogram
    from simulator.market.indicators import macd_signal as macd_signal
    from simulator.market.indicators import momentum_score as momentum_score
    from simulator.market.indicators import overnight_gap as overnight_gap
    from simulator.market.indicators import range_zscore as range_zscore
    from simulator.market.indicators import returns as returns
    from simulator.market.indicators import rolling_max as rolling_max
    from simulator.market.indicators import rolling_min as rolling_min
    from simulator.market.indicators import rsi as rsi
    from simulator.market.indicators import sma as sma
    from simulator.market.indicators import std as std
    from simulator.market.indicators import volume_zscore as volume_zscore
    from simulator.market.indicators import vwap_deviation as vwap_deviation
    from simulator.market.indicators import zscore as zscore
    from simulator.market.instruments import Instrument as Instrument
    from simulator.market.tape import DAY as DAY
    from simulator.market.tape import SECOND as SECOND
    from simulator.market.tape import Bars as Bars
    from simulator.market.tape import Tape as Tape
    from simulator.market.tape import Truth as Truth
    from simulator.market.view import Bar as Bar
    from simulator.market.view import View as View
    from simulator.models.construction import Constructor as Constructor
    from simulator.models.construction import construct as construct
    from simulator.models.construction import impact_costs as impact_costs
    from simulator.models.covariance import ewma as ewma
    from simulator.models.covariance import factor_model as factor_model
    from simulator.models.covariance import forecast_bias as forecast_bias
    from simulator.models.covariance import ledoit_wolf as ledoit_wolf
    from simulator.models.covariance import marchenko_pastur as marchenko_pastur
    from simulator.models.covariance import nonlinear_shrinkage as nonlinear_shrinkage
    from simulator.models.covariance import oas as oas
    from simulator.models.garch import garch_filter as garch_filter
    from simulator.models.regimes import RegimeModel as RegimeModel
    from simulator.models.regimes import RegimeStatistics as RegimeStatistics
    from simulator.models.regimes import decode_states as decode_states
    from simulator.models.regimes import filter_states as filter_states
    from simulator.models.regimes import fit_regimes as fit_regimes
    from simulator.models.regimes import nine_regimes as nine_regimes
    from simulator.models.regimes import predict_next as predict_next
    from simulator.models.regimes import regime_statistics as regime_statistics
    from simulator.models.regimes import smooth_states as smooth_states
    from simulator.models.regimes import tercile_regimes as tercile_regimes
    from simulator.models.regimes import trailing_volatility as trailing_volatility
    from simulator.models.regimes import volatility_regimes as volatility_regimes
    from simulator.ports import Broker as Broker
    from simulator.ports import Sizer as Sizer
    from simulator.ports import Strategy as Strategy
    from simulator.report.results import Result as Result
    from simulator.risk.limits import Account as Account
    from simulator.risk.limits import Limits as Limits
    from simulator.risk.mandate import Mandate as Mandate
    from simulator.risk.mandate import liquidity_weights as liquidity_weights
    from simulator.risk.mandate import mandate as mandate
    from simulator.risk.measures import christoffersen as christoffersen
    from simulator.risk.measures import crisis_windows as crisis_windows
    from simulator.risk.measures import expected_shortfall as expected_shortfall
    from simulator.risk.measures import kupiec as kupiec
    from simulator.risk.measures import stress as stress
    from simulator.risk.measures import var_historical as var_historical
    from simulator.risk.measures import var_normal as var_normal
    from simulator.risk.measures import volatility_contributions as volatility_contributions
    from simulator.risk.projection import project as project
    from simulator.risk.projection import whole_lots as whole_lots
    from simulator.risk.sizing import alpha_over_volatility as alpha_over_volatility
    from simulator.risk.sizing import equal_risk as equal_risk
    from simulator.risk.sizing import fixed_fraction as fixed_fraction
    from simulator.risk.sizing import inverse_volatility as inverse_volatility
    from simulator.risk.sizing import kelly as kelly
    from simulator.risk.sizing import kelly_many as kelly_many
    from simulator.risk.sizing import mean_variance as mean_variance
    from simulator.risk.sizing import minimum_variance as minimum_variance
    from simulator.risk.sizing import target_return as target_return
    from simulator.risk.sizing import volatility_target as volatility_target
    from simulator.scenarios import Scenario as Scenario
    from simulator.scenarios import load as load

_HOMES = {
    "simulator.assembly": "assemble run run_orders simulate",
    "simulator.book.currencies": "CurrencyPortfolio",
    "simulator.book.fills": "Adjusted Booked Booking Ended Event Fill FillBatch Halt Replaced Rescaled Sliced Waited",
    "simulator.book.orders": (
        "AlmgrenChriss Cancel Conditions FloatArray IntArray Order OrderBatch OrderIds OrderKind OrderState Pov Proposal Reason Refusal "
        "Remark Replace Schedule Standing TimeInForce Twap Vwap Wish"
    ),
    "simulator.book.portfolio": "Portfolio",
    "simulator.book.positions": "Position",
    "simulator.book.tickets": "Ticket read_tickets",
    "simulator.errors": "DataError OrderError PluginError ScenarioError SimulatorError ViewError",
    "simulator.feeds.files": "read_bars",
    "simulator.feeds.frames": "tape_from_columns tape_from_frame tape_from_frames",
    "simulator.loop.prover": "prove",
    "simulator.loop.whole": "Past",
    "simulator.market.actions": "Actions Delisting Dividend Split Suspension TradingHalt",
    "simulator.market.exchanges": "Exchange",
    "simulator.market.indicators": (
        "Indicator atr beta bollinger correlation ema macd macd_histogram macd_signal momentum_score overnight_gap range_zscore returns "
        "rolling_max rolling_min rsi sma std volume_zscore vwap_deviation zscore"
    ),
    "simulator.market.instruments": "Instrument",
    "simulator.market.tape": "DAY SECOND Bars Tape Truth",
    "simulator.market.view": "Bar View",
    "simulator.models.construction": "Constructor construct impact_costs",
    "simulator.models.covariance": "ewma factor_model forecast_bias ledoit_wolf marchenko_pastur nonlinear_shrinkage oas",
    "simulator.models.garch": "garch_filter",
    "simulator.models.regimes": (
        "RegimeModel RegimeStatistics decode_states filter_states fit_regimes nine_regimes predict_next regime_statistics smooth_states "
        "tercile_regimes trailing_volatility volatility_regimes"
    ),
    "simulator.ports": "Broker Sizer Strategy",
    "simulator.report.results": "Result",
    "simulator.risk.limits": "Account Limits",
    "simulator.risk.mandate": "Mandate liquidity_weights mandate",
    "simulator.risk.measures": ("christoffersen crisis_windows expected_shortfall kupiec stress var_historical var_normal volatility_contributions"),
    "simulator.risk.projection": "project whole_lots",
    "simulator.risk.sizing": (
        "alpha_over_volatility equal_risk fixed_fraction inverse_volatility kelly kelly_many mean_variance minimum_variance target_return "
        "volatility_target"
    ),
    "simulator.scenarios": "Scenario load",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME_OF)  # the names above, which a test keeps equal to those that type checkers see


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'simulator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
