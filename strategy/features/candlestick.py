"""The seventeen features of candles and volume."""

from __future__ import annotations

import numpy as np

from strategy.features.catalogue import Columns, FeatureDefinition
from strategy.indicators import (
    FloatArray,
    flag,
    history_of_wilder,
    lag,
    ratio,
    rolling_mean,
    run_length,
)

LONG_SHADOW = 0.7
SMALL_BODY = 0.3
DOJI_BODY = 0.05
MARUBOZU_BODY = 0.95
SPIKE = 2.5
MEAN_WINDOW = 20
STRENGTH_WINDOW = 5
COUNT_CAP = 252
REVERSAL_PATTERNS = ("hammer", "hanging_man", "engulfing_bullish", "piercing_pattern")


DEFINITIONS = (
    FeatureDefinition(
        name="body_size_ratio",
        group="candlestick",
        meaning="Size of the body relative to the candle.",
        formula="abs(close - open) / (high - low)",
        parameters=(),
        history=lambda parameters: 1,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="upper_shadow_ratio",
        group="candlestick",
        meaning="Share of the upper shadow in the candle.",
        formula="(high - max(open, close)) / (high - low)",
        parameters=(),
        history=lambda parameters: 1,
        expected_direction=-1,
    ),
    FeatureDefinition(
        name="lower_shadow_ratio",
        group="candlestick",
        meaning="Share of the lower shadow in the candle.",
        formula="(min(open, close) - low) / (high - low)",
        parameters=(),
        history=lambda parameters: 1,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="hammer",
        group="candlestick",
        meaning="Hammer: a bullish reversal.",
        formula="1 if lower_shadow_ratio > 0.7, body_size_ratio < 0.3 and the market was in a "
        "downtrend (close < mean(close, 20), both one bar ago), else 0",
        parameters=(),
        history=lambda parameters: MEAN_WINDOW + 1,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="hanging_man",
        group="candlestick",
        meaning="Hanging man: a bearish reversal.",
        formula="1 if upper_shadow_ratio > 0.7 (the upper one, as the document has it), "
        "body_size_ratio < 0.3 and the market was in an uptrend (close > mean(close, 20), "
        "both one bar ago), else 0",
        parameters=(),
        history=lambda parameters: MEAN_WINDOW + 1,
        expected_direction=-1,
    ),
    FeatureDefinition(
        name="engulfing_bullish",
        group="candlestick",
        meaning="A green body engulfs the red one before it.",
        formula="1 if close > open, previous close < previous open, open <= previous close and "
        "close >= previous open, one of these two strictly, else 0",
        parameters=(),
        history=lambda parameters: 2,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="piercing_pattern",
        group="candlestick",
        meaning="A green candle closes above the middle of the red body before it.",
        formula="1 if close > open, previous close < previous open and close > (previous open + "
        "previous close) / 2, else 0; there is no upper limit, an engulfing counts",
        parameters=(),
        history=lambda parameters: 2,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="distance_to_ma",
        group="candlestick",
        meaning="Distance of the price to its moving average, in ATR.",
        formula="(close - mean(close, 20)) / ATR",
        parameters=("atr_period",),
        history=lambda parameters: max(MEAN_WINDOW, history_of_wilder(parameters.atr_period)),
        expected_direction=None,
    ),
    FeatureDefinition(
        name="volume_spike",
        group="candlestick",
        meaning="Abnormal volume.",
        formula="1 if volume > 2.5 * mean(volume, 20), else 0",
        parameters=(),
        history=lambda parameters: MEAN_WINDOW,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="up_trend_strength",
        group="candlestick",
        meaning="Strength of the recent uptrend, in percent.",
        formula="percentage (0 to 100) of the last 5 candles that are green (close > open)",
        parameters=(),
        history=lambda parameters: STRENGTH_WINDOW,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="consecutive_body_growth",
        group="candlestick",
        meaning="How long bodies have been growing.",
        formula="consecutive candles, the current one included, whose abs(close - open) exceeds "
        "that of the candle before, counted up to 252",
        parameters=(),
        history=lambda parameters: COUNT_CAP + 1,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="high_volume_reversal",
        group="candlestick",
        meaning="A reversal candle on abnormal volume.",
        formula="1 if volume_spike and a reversal candle (hammer, hanging_man, engulfing_bullish "
        "or piercing_pattern), else 0",
        parameters=(),
        history=lambda parameters: MEAN_WINDOW + 1,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="marubozu",
        group="candlestick",
        meaning="Marubozu: a candle (almost) without shadows.",
        formula="1 if body_size_ratio > 0.95 and close > open; -1 if body_size_ratio > 0.95 and "
        "close < open; else 0",
        parameters=(),
        history=lambda parameters: 1,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="doji",
        group="candlestick",
        meaning="Doji: indecision.",
        formula="1 if body_size_ratio < 0.05, else 0",
        parameters=(),
        history=lambda parameters: 1,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="wick_dominance",
        group="candlestick",
        meaning="Which shadow dominates: selling pressure above or buying pressure below.",
        formula="upper_shadow_ratio - lower_shadow_ratio",
        parameters=(),
        history=lambda parameters: 1,
        expected_direction=-1,
    ),
    FeatureDefinition(
        name="three_white_soldiers",
        group="candlestick",
        meaning="Three long green candles, each closing higher.",
        formula="1 if the last 3 candles are green (close > open), each is long (abs(close - "
        "open) > its mean over the 20 bars that end there) and the second and third close "
        "above the one before, else 0",
        parameters=(),
        history=lambda parameters: MEAN_WINDOW + 2,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="three_black_crows",
        group="candlestick",
        meaning="Three long red candles, each closing lower.",
        formula="1 if the last 3 candles are red (close < open), each is long (abs(close - open) "
        "> its mean over the 20 bars that end there) and the second and third close below "
        "the one before, else 0",
        parameters=(),
        history=lambda parameters: MEAN_WINDOW + 2,
        expected_direction=-1,
    ),
)


def candlestick_features(
    open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray
) -> Columns:
    """The sixteen features that do not need the ATR.

    Parameters
    ----------
    open_, high, low, close
        Price, shape (n,).
    volume
        Base asset, shape (n,).
    """
    body, size = np.abs(close - open_), high - low
    body_ratio = ratio(body, size)
    upper = ratio(high - np.maximum(open_, close), size)
    lower = ratio(np.minimum(open_, close) - low, size)
    green, red = close > open_, close < open_
    shape = {
        "body_size_ratio": body_ratio,
        "upper_shadow_ratio": upper,
        "lower_shadow_ratio": lower,
        "marubozu": flag(green & (body_ratio > MARUBOZU_BODY), body)
        - (red & (body_ratio > MARUBOZU_BODY)),
        "doji": flag(body_ratio < DOJI_BODY, body),
        "wick_dominance": upper - lower,
    }
    small = body_ratio < SMALL_BODY
    patterns = {
        "hammer": flag((lower > LONG_SHADOW) & small, body) * _downtrend(close),
        "hanging_man": flag((upper > LONG_SHADOW) & small, body) * _downtrend(-close),
        "engulfing_bullish": _engulfing_bullish(open_, close),
        "piercing_pattern": _piercing(open_, close),
        "three_white_soldiers": _three_soldiers(open_, close),
        "three_black_crows": _three_soldiers(-open_, -close),
    }
    average_volume = rolling_mean(volume, MEAN_WINDOW)
    spike = flag(volume > SPIKE * average_volume, average_volume)
    body_before = lag(body, 1)
    return {
        **shape,
        **patterns,
        "volume_spike": spike,
        "up_trend_strength": 100 * rolling_mean(flag(green, body), STRENGTH_WINDOW),
        "consecutive_body_growth": run_length(flag(body > body_before, body_before), COUNT_CAP),
        "high_volume_reversal": spike * reversal_candle(patterns),
    }


def candlestick_atr_features(close: FloatArray, atr: FloatArray) -> Columns:
    """The feature that measures in ATR (price units, shape (n,))."""
    return {"distance_to_ma": ratio(close - rolling_mean(close, MEAN_WINDOW), atr)}


def reversal_candle(columns: Columns) -> FloatArray:
    """1 where any of :data:`REVERSAL_PATTERNS` is 1, else 0; NaN where one is not known."""
    result: FloatArray = np.maximum.reduce([columns[name] for name in REVERSAL_PATTERNS])
    return result


def _downtrend(close: FloatArray) -> FloatArray:
    """1 if the market was falling before this candle; of ``-close``, if it was rising."""
    before = lag(close, 1)
    average = lag(rolling_mean(close, MEAN_WINDOW), 1)
    return flag(before < average, average)


def _engulfing_bullish(open_: FloatArray, close: FloatArray) -> FloatArray:
    open_before, close_before = lag(open_, 1), lag(close, 1)
    green_after_red = (close > open_) & (close_before < open_before)
    covers = (open_ <= close_before) & (close >= open_before)
    larger = (open_ < close_before) | (close > open_before)
    return flag(green_after_red & covers & larger, close_before)


def _piercing(open_: FloatArray, close: FloatArray) -> FloatArray:
    open_before, close_before = lag(open_, 1), lag(close, 1)
    green_after_red = (close > open_) & (close_before < open_before)
    return flag(green_after_red & (close > (open_before + close_before) / 2), close_before)


def _three_soldiers(open_: FloatArray, close: FloatArray) -> FloatArray:
    """Three white soldiers; of the negated prices, three black crows."""
    body = np.abs(close - open_)
    average = rolling_mean(body, MEAN_WINDOW)
    long_green = flag((close > open_) & (body > average), average)
    close_before = lag(close, 1)
    higher = flag(close > close_before, close_before)
    return long_green * lag(long_green, 1) * lag(long_green, 2) * higher * lag(higher, 1)
