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
    from simulator.assembly import simulate as simulate
    from simulator.book.currencies import CurrencyPortfolio as CurrencyPortfolio
    from simulator.book.fills import Adjusted as Adjusted
    from simulator.book.fills import Booked as Booked
    from simulator.book.fills import Booking as Booking
    from simulator.book.fills import Ended as Ended
    from simulator.book.fills import Event as Event
    from simulator.book.fills import Fill as Fill
    from simulator.book.fills import FillBatch as FillBatch
    from simulator.book.fills import Forced as Forced
    from simulator.book.fills import Halt as Halt
    from simulator.book.fills import Itemised as Itemised
    from simulator.book.fills import Replaced as Replaced
    from simulator.book.fills import Rescaled as Rescaled
    from simulator.book.fills import Sliced as Sliced
    from simulator.book.fills import Waited as Waited
    from simulator.book.financing import Financing as Financing
    from simulator.book.financing import Loan as Loan
    from simulator.book.orders import AlmgrenChriss as AlmgrenChriss
    from simulator.book.orders import Cancel as Cancel
    from simulator.book.orders import Conditions as Conditions
    from simulator.book.orders import Due as Due
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
    from simulator.feeds.stress import Gap as Gap
    from simulator.feeds.stress import Squeeze as Squeeze
    from simulator.feeds.stress import Stop as Stop
    from simulator.feeds.stress import Stress as Stress
    from simulator.loop.prover import prove as prove
    from simulator.loop.wakes import AtSessionClose as AtSessionClose
    from simulator.loop.wakes import AtTimes as AtTimes
    from simulator.loop.wakes import Crossing as Crossing
    from simulator.loop.wakes import EveryBars as EveryBars
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
    from simulator.market.indicators import correlation_change as correlation_change
    from simulator.market.indicators import ema as ema
    from simulator.market.indicators import field_of as field_of
    from simulator.market.indicators import flight_to_quality as flight_to_quality
    from simulator.market.indicators import macd as macd
    from simulator.market.indicators import macd_histogram as macd_histogram
    from simulator.market.indicators import macd_signal as macd_signal
    from simulator.market.indicators import momentum_acceleration as momentum_acceleration
    from simulator.market.indicators import momentum_score as momentum_score
    from simulator.market.indicators import overnight_gap as overnight_gap
    from simulator.market.indicators import range_zscore as range_zscore
    from simulator.market.indicators import realised_volatility as realised_volatility
    from simulator.market.indicators import returns as returns
    from simulator.market.indicators import risk_sentiment as risk_sentiment
    from simulator.market.indicators import rolling_max as rolling_max
    from simulator.market.indicators import rolling_min as rolling_min
    from simulator.market.indicators import rolling_quantile as rolling_quantile
    from simulator.market.indicators import rolling_skewness as rolling_skewness
    from simulator.market.indicators import rsi as rsi
    from simulator.market.indicators import sma as sma
    from simulator.market.indicators import std as std
    from simulator.market.indicators import volatility_persistence as volatility_persistence
    from simulator.market.indicators import volatility_ratio as volatility_ratio
    from simulator.market.indicators import volatility_to as volatility_to
    from simulator.market.indicators import volume_zscore as volume_zscore
    from simulator.market.indicators import vwap_deviation as vwap_deviation
    from simulator.market.indicators import zscore as zscore
    from simulator.market.instruments import Future as Future
    from simulator.market.instruments import Instrument as Instrument
    from simulator.market.ranks import highest as highest
    from simulator.market.tape import DAY as DAY
    from simulator.market.tape import SECOND as SECOND
    from simulator.market.tape import Bars as Bars
    from simulator.market.tape import Tape as Tape
    from simulator.market.tape import Truth as Truth
    from simulator.market.view import Bar as Bar
    from simulator.market.view import View as View
    from simulator.models.basket_calls import CallTerms as CallTerms
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
    from simulator.models.forecast_quality import Estimate as Estimate
    from simulator.models.forecast_quality import ForecastQuality as ForecastQuality
    from simulator.models.forecast_quality import Importance as Importance
    from simulator.models.forecast_quality import attribute_returns as attribute_returns
    from simulator.models.forecast_quality import forecast_correlations as forecast_correlations
    from simulator.models.forecast_quality import impurity_importance as impurity_importance
    from simulator.models.forecast_quality import information_coefficients as information_coefficients
    from simulator.models.forecast_quality import judge_forecasts as judge_forecasts
    from simulator.models.forecast_quality import permutation_importance as permutation_importance
    from simulator.models.forecast_quality import predicted_against_actual as predicted_against_actual
    from simulator.models.forecasts import FeaturePanel as FeaturePanel
    from simulator.models.forecasts import Forecaster as Forecaster
    from simulator.models.forecasts import ForecastFit as ForecastFit
    from simulator.models.forecasts import ForecastPlan as ForecastPlan
    from simulator.models.forecasts import Forecasts as Forecasts
    from simulator.models.forecasts import fit_as_of as fit_as_of
    from simulator.models.forecasts import fit_forecaster as fit_forecaster
    from simulator.models.forecasts import forecast_targets as forecast_targets
    from simulator.models.forecasts import load_forecaster as load_forecaster
    from simulator.models.forecasts import predict_with as predict_with
    from simulator.models.forecasts import save_forecaster as save_forecaster
    from simulator.models.forecasts import walk_forward as walk_forward
    from simulator.models.garch import garch_filter as garch_filter
    from simulator.models.options import Greeks as Greeks
    from simulator.models.options import MonteCarlo as MonteCarlo
    from simulator.models.options import basket_deltas as basket_deltas
    from simulator.models.options import basket_moments as basket_moments
    from simulator.models.options import basket_price as basket_price
    from simulator.models.options import black_scholes as black_scholes
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
    from simulator.models.relations import Cointegration as Cointegration
    from simulator.models.relations import Johansen as Johansen
    from simulator.models.relations import LeadLag as LeadLag
    from simulator.models.relations import LjungBox as LjungBox
    from simulator.models.relations import OrnsteinUhlenbeck as OrnsteinUhlenbeck
    from simulator.models.relations import Regression as Regression
    from simulator.models.relations import UnitRoot as UnitRoot
    from simulator.models.relations import adf as adf
    from simulator.models.relations import cointegration as cointegration
    from simulator.models.relations import johansen as johansen
    from simulator.models.relations import lead_lag as lead_lag
    from simulator.models.relations import ljung_box as ljung_box
    from simulator.models.relations import ols as ols
    from simulator.models.relations import ornstein_uhlenbeck as ornstein_uhlenbeck
    from simulator.models.relations import recursive_hedge as recursive_hedge
    from simulator.models.relations import rolling_hedge as rolling_hedge
    from simulator.models.screening import PairTest as PairTest
    from simulator.models.screening import adjusted as adjusted
    from simulator.models.screening import screen_baskets as screen_baskets
    from simulator.models.screening import screen_pairs as screen_pairs
    from simulator.order_lists import run_orders as run_orders
    from simulator.ports import Broker as Broker
    from simulator.ports import Sizer as Sizer
    from simulator.ports import Strategy as Strategy
    from simulator.report.attribution import Part as Part
    from simulator.report.attribution import attribution as attribution
    from simulator.report.bootstrap import Intervals as Intervals
    from simulator.report.bootstrap import block_length as block_length
    from simulator.report.bootstrap import intervals as intervals
    from simulator.report.comparisons import Comparison as Comparison
    from simulator.report.comparisons import compare as compare
    from simulator.report.deflated import Overfit as Overfit
    from simulator.report.deflated import dsr as dsr
    from simulator.report.deflated import expected_best as expected_best
    from simulator.report.deflated import min_trl as min_trl
    from simulator.report.deflated import overfit as overfit
    from simulator.report.deflated import pbo as pbo
    from simulator.report.deflated import psr as psr
    from simulator.report.holdings import gross_exposure as gross_exposure
    from simulator.report.holdings import leverage as leverage
    from simulator.report.holdings import net_exposure as net_exposure
    from simulator.report.holdings import time_in_market as time_in_market
    from simulator.report.holdings import turnover as turnover
    from simulator.report.metrics import Drawdown as Drawdown
    from simulator.report.metrics import Measured as Measured
    from simulator.report.metrics import Metric as Metric
    from simulator.report.metrics import annual_return as annual_return
    from simulator.report.metrics import batting_average as batting_average
    from simulator.report.metrics import cagr as cagr
    from simulator.report.metrics import calmar as calmar
    from simulator.report.metrics import cumulative_return as cumulative_return
    from simulator.report.metrics import down_capture as down_capture
    from simulator.report.metrics import downside_risk as downside_risk
    from simulator.report.metrics import drawdowns as drawdowns
    from simulator.report.metrics import expected_shortfall as expected_shortfall
    from simulator.report.metrics import expected_shortfall_normal as expected_shortfall_normal
    from simulator.report.metrics import information_ratio as information_ratio
    from simulator.report.metrics import kurtosis as kurtosis
    from simulator.report.metrics import max_drawdown as max_drawdown
    from simulator.report.metrics import omega as omega
    from simulator.report.metrics import session_returns as session_returns
    from simulator.report.metrics import sharpe as sharpe
    from simulator.report.metrics import sharpe_lo as sharpe_lo
    from simulator.report.metrics import skew as skew
    from simulator.report.metrics import sortino as sortino
    from simulator.report.metrics import stability as stability
    from simulator.report.metrics import tail_ratio as tail_ratio
    from simulator.report.metrics import tracking_error as tracking_error
    from simulator.report.metrics import treynor as treynor
    from simulator.report.metrics import up_capture as up_capture
    from simulator.report.metrics import var_historical as var_historical
    from simulator.report.metrics import var_normal as var_normal
    from simulator.report.metrics import volatility as volatility
    from simulator.report.results import Result as Result
    from simulator.report.rolling import conditional as conditional
    from simulator.report.rolling import rolling as rolling
    from simulator.report.trades import RoundTrip as RoundTrip
    from simulator.report.trades import Trips as Trips
    from simulator.report.trades import expectancy as expectancy
    from simulator.report.trades import payoff as payoff
    from simulator.report.trades import profit_factor as profit_factor
    from simulator.report.trades import round_trips as round_trips
    from simulator.report.trades import win_rate as win_rate
    from simulator.risk.limits import Account as Account
    from simulator.risk.limits import Limits as Limits
    from simulator.risk.mandate import Mandate as Mandate
    from simulator.risk.mandate import liquidity_weights as liquidity_weights
    from simulator.risk.mandate import mandate as mandate
    from simulator.risk.margin import Margin as Margin
    from simulator.risk.margin import Requirement as Requirement
    from simulator.risk.measures import christoffersen as christoffersen
    from simulator.risk.measures import crisis_windows as crisis_windows
    from simulator.risk.measures import kupiec as kupiec
    from simulator.risk.measures import stress as stress
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
    from simulator.stresses import StressTest as StressTest
    from simulator.stresses import stress_test as stress_test

_HOMES = {
    "simulator.assembly": "assemble run simulate",
    "simulator.book.currencies": "CurrencyPortfolio",
    "simulator.book.fills": "Adjusted Booked Booking Ended Event Fill FillBatch Forced Halt Itemised Replaced Rescaled Sliced Waited",
    "simulator.book.financing": "Financing Loan",
    "simulator.book.orders": (
        "AlmgrenChriss Cancel Conditions Due FloatArray IntArray Order OrderBatch OrderIds OrderKind OrderState Pov Proposal Reason Refusal "
        "Remark Replace Schedule Standing TimeInForce Twap Vwap Wish"
    ),
    "simulator.book.portfolio": "Portfolio",
    "simulator.book.positions": "Position",
    "simulator.book.tickets": "Ticket read_tickets",
    "simulator.errors": "DataError OrderError PluginError ScenarioError SimulatorError ViewError",
    "simulator.feeds.files": "read_bars",
    "simulator.feeds.frames": "tape_from_columns tape_from_frame tape_from_frames",
    "simulator.feeds.stress": "Gap Squeeze Stop Stress",
    "simulator.loop.prover": "prove",
    "simulator.loop.wakes": "AtSessionClose AtTimes Crossing EveryBars",
    "simulator.loop.whole": "Past",
    "simulator.market.actions": "Actions Delisting Dividend Split Suspension TradingHalt",
    "simulator.market.exchanges": "Exchange",
    "simulator.market.indicators": (
        "Indicator atr beta bollinger correlation correlation_change ema field_of flight_to_quality macd macd_histogram macd_signal "
        "momentum_acceleration momentum_score overnight_gap range_zscore realised_volatility returns risk_sentiment rolling_max rolling_min "
        "rolling_quantile rolling_skewness rsi sma std volatility_persistence volatility_ratio volatility_to volume_zscore vwap_deviation "
        "zscore"
    ),
    "simulator.market.instruments": "Future Instrument",
    "simulator.market.ranks": "highest",
    "simulator.market.tape": "DAY SECOND Bars Tape Truth",
    "simulator.market.view": "Bar View",
    "simulator.models.basket_calls": "CallTerms",
    "simulator.models.options": "Greeks MonteCarlo basket_deltas basket_moments basket_price black_scholes",
    "simulator.models.forecast_quality": (
        "Estimate ForecastQuality Importance attribute_returns forecast_correlations "
        "impurity_importance information_coefficients judge_forecasts permutation_importance predicted_against_actual"
    ),
    "simulator.models.forecasts": (
        "FeaturePanel ForecastFit ForecastPlan Forecaster Forecasts fit_as_of "
        "fit_forecaster forecast_targets load_forecaster predict_with save_forecaster walk_forward"
    ),
    "simulator.models.construction": "Constructor construct impact_costs",
    "simulator.models.covariance": "ewma factor_model forecast_bias ledoit_wolf marchenko_pastur nonlinear_shrinkage oas",
    "simulator.models.garch": "garch_filter",
    "simulator.models.regimes": (
        "RegimeModel RegimeStatistics decode_states filter_states fit_regimes nine_regimes predict_next regime_statistics smooth_states "
        "tercile_regimes trailing_volatility volatility_regimes"
    ),
    "simulator.models.relations": (
        "Cointegration Johansen LeadLag LjungBox OrnsteinUhlenbeck Regression UnitRoot adf cointegration johansen lead_lag ljung_box ols "
        "ornstein_uhlenbeck recursive_hedge rolling_hedge"
    ),
    "simulator.models.screening": "PairTest adjusted screen_baskets screen_pairs",
    "simulator.report.attribution": "Part attribution",
    "simulator.report.bootstrap": "Intervals block_length intervals",
    "simulator.report.comparisons": "Comparison compare",
    "simulator.report.deflated": "Overfit dsr expected_best min_trl overfit pbo psr",
    "simulator.report.holdings": "gross_exposure leverage net_exposure time_in_market turnover",
    "simulator.report.metrics": (
        "Drawdown Measured Metric annual_return batting_average cagr calmar cumulative_return down_capture downside_risk "
        "drawdowns expected_shortfall expected_shortfall_normal information_ratio kurtosis max_drawdown omega session_returns "
        "sharpe sharpe_lo skew sortino stability tail_ratio tracking_error treynor up_capture var_historical var_normal "
        "volatility"
    ),
    "simulator.order_lists": "run_orders",
    "simulator.ports": "Broker Sizer Strategy",
    "simulator.report.results": "Result",
    "simulator.report.rolling": "conditional rolling",
    "simulator.report.trades": "RoundTrip Trips expectancy payoff profit_factor round_trips win_rate",
    "simulator.risk.limits": "Account Limits",
    "simulator.risk.margin": "Margin Requirement",
    "simulator.risk.mandate": "Mandate liquidity_weights mandate",
    "simulator.risk.measures": ("christoffersen crisis_windows kupiec stress volatility_contributions"),
    "simulator.risk.projection": "project whole_lots",
    "simulator.risk.sizing": (
        "alpha_over_volatility equal_risk fixed_fraction inverse_volatility kelly kelly_many mean_variance minimum_variance target_return "
        "volatility_target"
    ),
    "simulator.scenarios": "Scenario load",
    "simulator.stresses": "StressTest stress_test",
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
