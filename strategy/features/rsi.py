"""The nine features of the relative strength index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strategy.features.catalogue import Columns, FeatureDefinition
from strategy.indicators import (
    FloatArray,
    flag,
    history_of_wilder,
    lag,
    rolling_min,
    rolling_std,
    run_length,
)

if TYPE_CHECKING:
    from strategy.config import IndicatorParameters

OVERBOUGHT = 70.0
OVERSOLD = 30.0
MIDLINE = 50.0
BULLISH_ZONE = 60.0
BEARISH_ZONE = 40.0
MIDLINE_ZONE = 5.0
"""RSI points around the midline within which a turn counts as its rejection."""

DIVERGENCE_HALF = 10
"""Bars in each half of the 20 that are searched for a divergence."""

SLOPE_BARS = 3
STD_WINDOW = 14
COUNT_CAP = 252
PARAMETERS = ("rsi_period",)


def history_of_rsi(parameters: IndicatorParameters) -> int:
    """Bars needed for one value of the RSI."""
    return history_of_wilder(parameters.rsi_period)


def history_of_divergence(parameters: IndicatorParameters) -> int:
    """Bars needed for 20 values of the RSI."""
    return history_of_rsi(parameters) + 2 * DIVERGENCE_HALF - 1


DEFINITIONS = (
    FeatureDefinition(
        name="rsi_overbought",
        group="rsi",
        meaning="The market is overbought.",
        formula="1 if RSI > 70, else 0",
        parameters=PARAMETERS,
        history=history_of_rsi,
        expected_direction=-1,
    ),
    FeatureDefinition(
        name="rsi_oversold",
        group="rsi",
        meaning="The market is oversold.",
        formula="1 if RSI < 30, else 0",
        parameters=PARAMETERS,
        history=history_of_rsi,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="rsi_bullish_div",
        group="rsi",
        meaning="Bullish divergence: the price makes a lower low, the RSI a higher one.",
        formula="1 if, within the last 20 bars, the lowest close of the later 10 lies below the "
        "lowest close of the earlier 10 while the lowest RSI of the later 10 lies above the "
        "lowest RSI of the earlier 10, else 0",
        parameters=PARAMETERS,
        history=history_of_divergence,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="rsi_bearish_div",
        group="rsi",
        meaning="Bearish divergence: the price makes a higher high, the RSI a lower one.",
        formula="1 if, within the last 20 bars, the highest close of the later 10 lies above the "
        "highest close of the earlier 10 while the highest RSI of the later 10 lies below the "
        "highest RSI of the earlier 10, else 0",
        parameters=PARAMETERS,
        history=history_of_divergence,
        expected_direction=-1,
    ),
    FeatureDefinition(
        name="rsi_slope",
        group="rsi",
        meaning="Slope of the RSI, in points per bar.",
        formula="(RSI - RSI of 3 bars ago) / 3",
        parameters=PARAMETERS,
        history=lambda parameters: history_of_rsi(parameters) + SLOPE_BARS,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="rsi_std",
        group="rsi",
        meaning="Volatility of the RSI.",
        formula="population standard deviation of the RSI over 14 bars",
        parameters=PARAMETERS,
        history=lambda parameters: history_of_rsi(parameters) + STD_WINDOW - 1,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="rsi_midline_rejection",
        group="rsi",
        meaning="The RSI came up to its midline and was turned down there (1: rejected from "
        "below), or came down to it and was turned up (-1: rejected from above).",
        formula="1 if the RSI of one bar ago lies in [45, 50] and is higher than both its "
        "neighbours; -1 if it lies in [50, 55] and is lower than both; else 0",
        parameters=PARAMETERS,
        history=lambda parameters: history_of_rsi(parameters) + 2,
        expected_direction=-1,
    ),
    FeatureDefinition(
        name="rsi_in_momentum_zone",
        group="rsi",
        meaning="The RSI is in a zone of strong momentum.",
        formula="1 if RSI > 60; -1 if RSI < 40; else 0",
        parameters=PARAMETERS,
        history=history_of_rsi,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="time_in_extreme_zone",
        group="rsi",
        meaning="How long the RSI has been in an extreme zone.",
        formula="consecutive bars, the current one included, with RSI > 70 or RSI < 30, "
        "counted up to 252",
        parameters=PARAMETERS,
        history=lambda parameters: history_of_rsi(parameters) + COUNT_CAP - 1,
        expected_direction=None,
    ),
)


def rsi_features(close: FloatArray, rsi: FloatArray) -> Columns:
    """All nine features.

    Parameters
    ----------
    close
        Price, shape (n,).
    rsi
        0 to 100, shape (n,), NaN in its warm-up.
    """
    overbought, oversold = rsi > OVERBOUGHT, rsi < OVERSOLD
    return {
        "rsi_overbought": flag(overbought, rsi),
        "rsi_oversold": flag(oversold, rsi),
        "rsi_bullish_div": _bullish_divergence(close, rsi),
        "rsi_bearish_div": _bearish_divergence(close, rsi),
        "rsi_slope": (rsi - lag(rsi, SLOPE_BARS)) / SLOPE_BARS,
        "rsi_std": rolling_std(rsi, STD_WINDOW),
        "rsi_midline_rejection": _midline_rejection(rsi),
        "rsi_in_momentum_zone": flag(rsi > BULLISH_ZONE, rsi) - (rsi < BEARISH_ZONE),
        "time_in_extreme_zone": run_length(flag(overbought | oversold, rsi), COUNT_CAP),
    }


def _bullish_divergence(close: FloatArray, rsi: FloatArray) -> FloatArray:
    price_low, rsi_low = rolling_min(close, DIVERGENCE_HALF), rolling_min(rsi, DIVERGENCE_HALF)
    earlier_rsi_low = lag(rsi_low, DIVERGENCE_HALF)
    lower_low = price_low < lag(price_low, DIVERGENCE_HALF)
    return flag(lower_low & (rsi_low > earlier_rsi_low), earlier_rsi_low)


def _bearish_divergence(close: FloatArray, rsi: FloatArray) -> FloatArray:
    # The same market upside down: both its price and its RSI change sign.
    return _bullish_divergence(-close, -rsi)


def _midline_rejection(rsi: FloatArray) -> FloatArray:
    turn, before = lag(rsi, 1), lag(rsi, 2)
    peak = (turn > before) & (turn > rsi)
    trough = (turn < before) & (turn < rsi)
    from_below = peak & (turn >= MIDLINE - MIDLINE_ZONE) & (turn <= MIDLINE)
    from_above = trough & (turn >= MIDLINE) & (turn <= MIDLINE + MIDLINE_ZONE)
    return flag(from_below, before) - from_above
