"""The market of live trading's tests: candles, what a strategy says of them, and the simulation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from serving.journal import InterventionRecord, TradeRecord
from strategy.candles import open_times
from strategy.config import BreakEven, Costs, IndicatorParameters
from strategy.costs import FUNDING_INTERVAL, charges_on
from strategy.exit_rule import ExitRule
from strategy.exits import ExitReason
from strategy.simulate import Bars, Intervention, InterventionKind, simulate

BTC, TIMEFRAME = "BTCUSDT", "1h"
TICK = Decimal("0.00001")
COSTS = Costs(fee_per_side=0.0005, slippage_per_side=0.0, funding_per_8h=0.0001)
INDICATORS = IndicatorParameters(9, 26, 52, 14, 14)
BREAK_EVEN = BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=252)
RULE = ExitRule(INDICATORS.atr_period, BREAK_EVEN)
QUIET = RULE.required_history + 20
"""Bars of a scripted market before its first scripted one."""


@dataclass(frozen=True)
class Script:
    """In place of a bundle: says at each close what the test wants."""

    signal_of: pd.Series
    indicators: IndicatorParameters = INDICATORS
    break_even: BreakEven = BREAK_EVEN
    required_history: int = RULE.required_history
    model_name: str = f"{BTC}-{TIMEFRAME}"

    def signals(self, candles: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"signal": self.signal_of.reindex(candles.index).astype(float)})


def scripted(*bars: tuple[float, float, float, float], side: int = 1) -> pd.DataFrame:
    """Candles of a quiet market, and bars after it: open, best, worst and close for that side.

    In R, counted from the last quiet close: at which the first of them should open, to be 0.
    """
    rng = np.random.default_rng(5)
    close = np.round(20_000 + 20 * rng.standard_normal(QUIET).cumsum(), 2)
    opens = np.r_[20_000.0, close[:-1]]
    reach = np.round(rng.uniform(5, 60, (2, QUIET)), 2)
    quiet = np.c_[
        opens, np.maximum(opens, close) + reach[0], np.minimum(opens, close) - reach[1], close
    ]
    index = pd.date_range(
        "2024-01-01", periods=QUIET + len(bars), freq="h", tz="UTC", unit="ns", name="timestamp"
    )
    columns = ["open", "high", "low", "close"]
    one_r = RULE.distances(pd.DataFrame(quiet, index[:QUIET], columns))[-1]
    wild = np.round(close[-1] + side * one_r * np.array(bars), 2)
    if side < 0:
        wild = wild[:, [0, 2, 1, 3]]
    frame = pd.DataFrame(np.r_[quiet, wild], index, columns)
    return frame.assign(volume=1.0)


def money(price: float) -> Decimal:
    """A price as the exchange has it."""
    return Decimal(repr(float(price)))


def simulated(
    candles: pd.DataFrame,
    signal_of: pd.Series,
    interventions: Iterable[InterventionRecord],
    first: int,
    last: int,
) -> list[np.void]:
    """The simulation's trades from the first bar on, given the interventions, ended by the last.

    Funding is Binance's: longs pay it to shorts.
    """
    index = open_times(candles)
    times = pd.date_range(index[0].floor(FUNDING_INTERVAL), index[-1], freq=FUNDING_INTERVAL)
    rates = pd.Series(COSTS.funding_per_8h, index=times)
    trades = simulate(
        Bars.of(candles),
        signal_of.to_numpy().astype(np.int8),
        RULE.distances(candles),
        charges_on(index, TIMEFRAME, COSTS, rates),
        timeframe=TIMEFRAME,
        start=first - 1,
        end=last + 2,
        interventions=[
            Intervention(
                pd.Timestamp(each.time),
                InterventionKind[each.kind.upper()],
                np.nan if each.price is None else each.price,
            )
            for each in interventions
        ],
    )
    return [trade for trade in trades if trade["exit_bar"] <= last]


def differences(
    recorded: Sequence[TradeRecord], expected: Sequence[np.void], index: pd.DatetimeIndex
) -> list[str]:
    """Between the trades that were recorded and the simulation's.

    Fills may be a tick apart: stops are rounded to it, and so is what Binance tells of a fill.
    """
    found = [
        f"{_shown(trade)}\n  simulated: {_simulated(other, index)}"
        for trade, other in zip(recorded, expected, strict=False)
        if not _same(trade, other, index)
    ]
    if len(recorded) != len(expected):
        found.append(f"{len(recorded)} trades are recorded, {len(expected)} simulated")
    return found


def _same(trade: TradeRecord, expected: np.void, index: pd.DatetimeIndex) -> bool:
    tick, risk = float(TICK), trade.risk
    return (
        pd.Timestamp(trade.decision_time) == index[expected["entry_bar"]]
        and pd.Timestamp(trade.exit_time).floor(TIMEFRAME) == index[expected["exit_bar"]]
        and trade.side == expected["side"]
        and trade.reason == ExitReason(expected["reason"]).name.lower()
        and risk == expected["risk"]
        and abs(trade.entry_price - expected["entry_price"]) <= tick
        and abs(trade.exit_price - expected["exit_price"]) <= tick
        and abs(trade.r - expected["r"]) <= 3 * tick / risk  # two fills, and their fees
    )


def _shown(trade: TradeRecord) -> str:
    return (
        f"{trade.decision_time} to {trade.exit_time} side {trade.side} {trade.entry_price} to "
        f"{trade.exit_price} {trade.reason} {trade.r}"
    )


def _simulated(trade: np.void, index: pd.DatetimeIndex) -> str:
    return (
        f"{index[trade['entry_bar']]} to {index[trade['exit_bar']]} side {trade['side']} "
        f"{trade['entry_price']} to {trade['exit_price']} "
        f"{ExitReason(trade['reason']).name.lower()} {trade['r']}"
    )
