"""The twelve features that combine indicators with each other and with candles.

They come by the pair of groups that they depend on, so that what many combinations of
parameters share is computed once. Flags are 1, 0 or NaN (warm-up), so a product is "and",
and the maximum is "or".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from strategy.features.atr import history_of_atr, history_of_low_volatility
from strategy.features.candlestick import MEAN_WINDOW, reversal_candle
from strategy.features.catalogue import Columns, FeatureDefinition
from strategy.features.ichimoku import LINES, NEAR_KIJUN, history_of_cloud
from strategy.features.rsi import MIDLINE, OVERSOLD, history_of_divergence, history_of_rsi
from strategy.indicators import (
    FloatArray,
    flag,
    lag,
    ratio,
    rolling_correlation,
    rolling_max,
    rolling_mean,
    rolling_std,
)

if TYPE_CHECKING:
    from strategy.config import IndicatorParameters

LARGE_BODY = 0.7
VOLUME_WINDOW = 5
CORRELATION_WINDOW = 10
SQUEEZE_WINDOW = 20
"""Bars before a breakout in which volatility must have been low at least once."""

BAND_DEVIATIONS = 2


def history_of_cloud_and_rsi(parameters: IndicatorParameters) -> int:
    """Bars needed for the cloud and one value of the RSI."""
    return max(history_of_cloud(parameters), history_of_rsi(parameters))


DEFINITIONS = (
    FeatureDefinition(
        name="kumo_support_rsi",
        group="combined",
        meaning="Pullback in an uptrend: above the cloud with a weak RSI.",
        formula="1 if price_above_cloud and RSI < 50, else 0",
        parameters=(*LINES, "rsi_period"),
        history=history_of_cloud_and_rsi,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="kumo_resistance_rsi",
        group="combined",
        meaning="Rejection at a resistance: below the cloud with a strong RSI.",
        formula="1 if price_below_cloud and RSI > 50, else 0",
        parameters=(*LINES, "rsi_period"),
        history=history_of_cloud_and_rsi,
        expected_direction=-1,
    ),
    FeatureDefinition(
        name="atr_high_rsi_extreme",
        group="combined",
        meaning="High volatility with the RSI at an extreme.",
        formula="1 if ATR > mean(ATR, 20) and (RSI > 70 or RSI < 30), else 0",
        parameters=("rsi_period", "atr_period"),
        history=lambda parameters: max(
            history_of_rsi(parameters), history_of_atr(parameters) + MEAN_WINDOW - 1
        ),
        expected_direction=None,
    ),
    FeatureDefinition(
        name="kumo_thickness_atr",
        group="combined",
        meaning="Thickness of the cloud relative to volatility.",
        formula="cloud_thickness / atr_pct",
        parameters=(*LINES, "atr_period"),
        history=lambda parameters: max(history_of_cloud(parameters), history_of_atr(parameters)),
        expected_direction=1,
    ),
    FeatureDefinition(
        name="atr_body_ratio",
        group="combined",
        meaning="Size of the body, in ATR.",
        formula="abs(close - open) / ATR",
        parameters=("atr_period",),
        history=history_of_atr,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="oversold_hammer",
        group="combined",
        meaning="A hammer in an oversold market.",
        formula="1 if hammer and RSI < 30, else 0",
        parameters=("rsi_period",),
        history=lambda parameters: max(history_of_rsi(parameters), MEAN_WINDOW + 1),
        expected_direction=1,
    ),
    FeatureDefinition(
        name="kumo_breakout_candle",
        group="combined",
        meaning="Breakout from the cloud, confirmed by candle and volume.",
        formula="1 if (price_above_cloud or price_below_cloud), body_size_ratio > 0.7 and volume "
        "> mean(volume, 5), else 0; where the bar before closed does not matter",
        parameters=LINES,
        history=lambda parameters: max(history_of_cloud(parameters), VOLUME_WINDOW),
        expected_direction=None,
    ),
    FeatureDefinition(
        name="rsi_price_divergence",
        group="combined",
        meaning="Whether price and RSI move together (1) or apart (-1).",
        formula="Pearson correlation of the changes of close and RSI from bar to bar over 10 bars",
        parameters=("rsi_period",),
        history=lambda parameters: history_of_rsi(parameters) + CORRELATION_WINDOW,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="trend_confirmation",
        group="combined",
        meaning="Cloud and RSI agree on the trend.",
        formula="1 if price_above_cloud, cloud_green and RSI > 50; -1 if price_below_cloud, the "
        "cloud is red (senkou_a < senkou_b) and RSI < 50; else 0",
        parameters=(*LINES, "rsi_period"),
        history=history_of_cloud_and_rsi,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="volatility_squeeze_breakout",
        group="combined",
        meaning="The price leaves its channel after volatility was compressed.",
        formula="1 if is_low_volatility on at least one of the 20 bars before this one and close "
        "lies outside the Bollinger bands mean(close, 20) +- 2 * std(close, 20), on "
        "either side, else 0",
        parameters=("atr_period",),
        history=lambda parameters: history_of_low_volatility(parameters) + SQUEEZE_WINDOW,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="divergence_in_cloud",
        group="combined",
        meaning="A divergence of the RSI while the price is inside the cloud.",
        formula="1 if price_inside_cloud and (rsi_bullish_div or rsi_bearish_div), else 0",
        parameters=(*LINES, "rsi_period"),
        history=lambda parameters: max(
            history_of_cloud(parameters), history_of_divergence(parameters)
        ),
        expected_direction=None,
    ),
    FeatureDefinition(
        name="reversal_at_kijun",
        group="combined",
        meaning="A reversal candle near the Kijun-sen.",
        formula="1 if abs(dist_price_to_kijun) < 0.2 and a reversal candle (hammer, hanging_man, "
        "engulfing_bullish or piercing_pattern), else 0",
        parameters=("kijun_sen", "atr_period"),
        history=lambda parameters: max(
            parameters.kijun_sen, history_of_atr(parameters), MEAN_WINDOW + 1
        ),
        expected_direction=None,
    ),
)


def rsi_candle_features(close: FloatArray, rsi: FloatArray, hammer: FloatArray) -> Columns:
    """The two features of RSI and candles; ``rsi`` is 0 to 100, all of shape (n,)."""
    return {
        "oversold_hammer": hammer * flag(rsi < OVERSOLD, rsi),
        "rsi_price_divergence": rolling_correlation(
            close - lag(close, 1), rsi - lag(rsi, 1), CORRELATION_WINDOW
        ),
    }


def atr_candle_features(
    open_: FloatArray, close: FloatArray, atr: FloatArray, is_low_volatility: FloatArray
) -> Columns:
    """The two features of ATR and candles; prices and ``atr`` in price units, shape (n,)."""
    recently_low = lag(rolling_max(is_low_volatility, SQUEEZE_WINDOW), 1)
    middle, deviation = rolling_mean(close, MEAN_WINDOW), rolling_std(close, MEAN_WINDOW)
    outside = np.abs(close - middle) > BAND_DEVIATIONS * deviation
    return {
        "atr_body_ratio": ratio(np.abs(close - open_), atr),
        "volatility_squeeze_breakout": recently_low * flag(outside, deviation),
    }


def cloud_candle_features(ichimoku: Columns, candlestick: Columns, volume: FloatArray) -> Columns:
    """The feature of cloud and candles.

    Parameters
    ----------
    ichimoku, candlestick
        Columns of these groups, shape (n,).
    volume
        Base asset, shape (n,).
    """
    average = rolling_mean(volume, VOLUME_WINDOW)
    body = candlestick["body_size_ratio"]
    outside = ichimoku["price_above_cloud"] + ichimoku["price_below_cloud"]
    confirmed = flag((body > LARGE_BODY) & (volume > average), body, average)
    return {"kumo_breakout_candle": outside * confirmed}


def rsi_atr_features(rsi_columns: Columns, atr: FloatArray) -> Columns:
    """The feature of RSI and ATR: RSI columns and ``atr`` (price units), shape (n,)."""
    average = rolling_mean(atr, MEAN_WINDOW)
    extreme = rsi_columns["rsi_overbought"] + rsi_columns["rsi_oversold"]
    return {"atr_high_rsi_extreme": flag(atr > average, average) * extreme}


def cloud_rsi_features(ichimoku: Columns, rsi_columns: Columns, rsi: FloatArray) -> Columns:
    """The four features of cloud and RSI.

    Parameters
    ----------
    ichimoku, rsi_columns
        Columns of these groups, shape (n,).
    rsi
        0 to 100, shape (n,).
    """
    above, below = ichimoku["price_above_cloud"], ichimoku["price_below_cloud"]
    thickness = ichimoku["cloud_thickness"]
    green, red = ichimoku["cloud_green"], flag(thickness < 0, thickness)
    strong, weak = flag(rsi > MIDLINE, rsi), flag(rsi < MIDLINE, rsi)
    divergence = np.maximum(rsi_columns["rsi_bullish_div"], rsi_columns["rsi_bearish_div"])
    return {
        "kumo_support_rsi": above * weak,
        "kumo_resistance_rsi": below * strong,
        "trend_confirmation": above * green * strong - below * red * weak,
        "divergence_in_cloud": ichimoku["price_inside_cloud"] * divergence,
    }


def cloud_atr_features(ichimoku: Columns, atr_columns: Columns, candlestick: Columns) -> Columns:
    """The two features of Ichimoku and ATR, from all columns of these groups, shape (n,)."""
    to_kijun = ichimoku["dist_price_to_kijun"]
    near = flag(np.abs(to_kijun) < NEAR_KIJUN, to_kijun)
    return {
        "kumo_thickness_atr": ratio(ichimoku["cloud_thickness"], atr_columns["atr_pct"]),
        "reversal_at_kijun": near * reversal_candle(candlestick),
    }
