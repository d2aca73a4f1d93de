"""The nine features of the average true range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strategy.features.catalogue import Columns, FeatureDefinition
from strategy.indicators import (
    FloatArray,
    above_percentile,
    below_percentile,
    flag,
    history_of_wilder,
    ratio,
    rolling_correlation,
    rolling_max,
    rolling_mean,
    rolling_std,
)

if TYPE_CHECKING:
    from strategy.config import IndicatorParameters

LONG_WINDOW = 252
"""Bars that maxima and percentiles look back over."""

LOW_REGIME_PERCENT = 25
HIGH_REGIME_PERCENT = 75
LOW_VOLATILITY_PERCENT = 10
CORRELATION_WINDOW = 10
BREAKOUT_WINDOW = 20
BREAKOUT_DEVIATIONS = 2
FAST_WINDOW = 5
SLOW_WINDOW = 20
FAST_ATR = 5
SLOW_ATR = 20
PARAMETERS = ("atr_period",)


def history_of_atr(parameters: IndicatorParameters) -> int:
    """Bars needed for one value of the ATR."""
    return history_of_wilder(parameters.atr_period)


def history_of_low_volatility(parameters: IndicatorParameters) -> int:
    """Bars needed for 252 values of the ATR."""
    return history_of_atr(parameters) + LONG_WINDOW - 1


DEFINITIONS = (
    FeatureDefinition(
        name="atr_pct",
        group="atr",
        meaning="Volatility relative to the price, in percent.",
        formula="(ATR / close) * 100",
        parameters=PARAMETERS,
        history=history_of_atr,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="atr_expanding",
        group="atr",
        meaning="Volatility relative to its highest of 252 bars.",
        formula="ATR / (highest ATR of 252 bars)",
        parameters=PARAMETERS,
        history=history_of_low_volatility,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="price_atr_ratio",
        group="atr",
        meaning="Range of the candle, in ATR.",
        formula="(high - low) / ATR",
        parameters=PARAMETERS,
        history=history_of_atr,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="atr_volume",
        group="atr",
        meaning="Whether volatility and volume move together.",
        formula="Pearson correlation of ATR and volume over 10 bars",
        parameters=PARAMETERS,
        history=lambda parameters: history_of_atr(parameters) + CORRELATION_WINDOW - 1,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="compression_ratio",
        group="atr",
        meaning="Volatility is compressed (below 1) or expanded (above 1).",
        formula="ATR(5) / ATR(20), whatever the combination's own period",
        parameters=(),
        history=lambda parameters: history_of_wilder(SLOW_ATR),
        expected_direction=None,
    ),
    FeatureDefinition(
        name="atr_regime",
        group="atr",
        meaning="Volatility is low (0), normal (1) or high (2).",
        formula="0 if ATR < 25th percentile of its last 252 values, 2 if ATR > 75th percentile, "
        "else 1; percentiles by nearest rank (the 63rd and the 189th smallest)",
        parameters=PARAMETERS,
        history=history_of_low_volatility,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="atr_breakout",
        group="atr",
        meaning="Volatility rises suddenly.",
        formula="1 if ATR > mean(ATR, 20) + 2 * std(ATR, 20), else 0",
        parameters=PARAMETERS,
        history=lambda parameters: history_of_atr(parameters) + BREAKOUT_WINDOW - 1,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="is_low_volatility",
        group="atr",
        meaning="Volatility is extremely low.",
        formula="1 if atr_pct < 10th percentile of its last 252 values, else 0; percentile by "
        "nearest rank (the 26th smallest)",
        parameters=PARAMETERS,
        history=history_of_low_volatility,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="atr_trend",
        group="atr",
        meaning="Volatility is in a rising trend.",
        formula="1 if mean(ATR, 5) > mean(ATR, 20), else 0",
        parameters=PARAMETERS,
        history=lambda parameters: history_of_atr(parameters) + SLOW_WINDOW - 1,
        expected_direction=None,
    ),
)


def atr_features(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    atr: FloatArray,
    fast_atr: FloatArray,
    slow_atr: FloatArray,
) -> Columns:
    """All nine features.

    Parameters
    ----------
    high, low, close
        Price, shape (n,).
    volume
        Base asset, shape (n,).
    atr
        Price units, shape (n,), NaN in its warm-up.
    fast_atr, slow_atr
        ATR(5) and ATR(20), whatever the period of ``atr``; price units, shape (n,).
    """
    atr_pct = atr / close * 100
    average, deviation = rolling_mean(atr, BREAKOUT_WINDOW), rolling_std(atr, BREAKOUT_WINDOW)
    fast, slow = rolling_mean(atr, FAST_WINDOW), rolling_mean(atr, SLOW_WINDOW)
    low_regime = below_percentile(atr, LOW_REGIME_PERCENT, LONG_WINDOW)
    high_regime = above_percentile(atr, HIGH_REGIME_PERCENT, LONG_WINDOW)
    return {
        "atr_pct": atr_pct,
        "atr_expanding": ratio(atr, rolling_max(atr, LONG_WINDOW)),
        "price_atr_ratio": ratio(high - low, atr),
        "atr_volume": rolling_correlation(atr, volume, CORRELATION_WINDOW),
        "compression_ratio": ratio(fast_atr, slow_atr),
        "atr_regime": 1 - low_regime + high_regime,
        "atr_breakout": flag(atr > average + BREAKOUT_DEVIATIONS * deviation, deviation),
        "is_low_volatility": below_percentile(atr_pct, LOW_VOLATILITY_PERCENT, LONG_WINDOW),
        "atr_trend": flag(fast > slow, slow),
    }
