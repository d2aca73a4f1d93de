"""The eleven features of the Ichimoku cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from strategy.features.catalogue import Columns, FeatureDefinition
from strategy.indicators import (
    DISPLACEMENT,
    FloatArray,
    Ichimoku,
    flag,
    history_of_wilder,
    lag,
    ratio,
)

if TYPE_CHECKING:
    from strategy.config import IndicatorParameters

NEAR_KIJUN = 0.2
"""Distance in ATR within which the price counts as at the Kijun-sen (the document's own)."""

LINES = ("tenkan_sen", "kijun_sen", "senkou_span_b")


def history_of_cloud(parameters: IndicatorParameters) -> int:
    """Bars needed for both Senkou spans."""
    longest = max(parameters.tenkan_sen, parameters.kijun_sen, parameters.senkou_span_b)
    return longest + DISPLACEMENT


def _history_of_kijun_distance(parameters: IndicatorParameters) -> int:
    return max(parameters.kijun_sen, history_of_wilder(parameters.atr_period))


DEFINITIONS = (
    FeatureDefinition(
        name="price_above_cloud",
        group="ichimoku",
        meaning="The price is above the cloud.",
        formula="1 if close > max(senkou_a, senkou_b), else 0; the spans as computed 26 bars ago",
        parameters=LINES,
        history=history_of_cloud,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="price_below_cloud",
        group="ichimoku",
        meaning="The price is below the cloud.",
        formula="1 if close < min(senkou_a, senkou_b), else 0",
        parameters=LINES,
        history=history_of_cloud,
        expected_direction=-1,
    ),
    FeatureDefinition(
        name="price_inside_cloud",
        group="ichimoku",
        meaning="The price is inside the cloud.",
        formula="1 if min(senkou_a, senkou_b) <= close <= max(senkou_a, senkou_b), else 0: "
        "the edges belong to the cloud",
        parameters=LINES,
        history=history_of_cloud,
        expected_direction=None,
    ),
    FeatureDefinition(
        name="cloud_green",
        group="ichimoku",
        meaning="The cloud is green (bullish).",
        formula="1 if senkou_a > senkou_b, else 0",
        parameters=LINES,
        history=history_of_cloud,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="cloud_thickness",
        group="ichimoku",
        meaning="Thickness of the cloud relative to the price; negative in a red cloud.",
        formula="(senkou_a - senkou_b) / close",
        parameters=LINES,
        history=history_of_cloud,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="tenkan_kijun_cross",
        group="ichimoku",
        meaning="The Tenkan-sen crosses the Kijun-sen at this bar.",
        formula="1 if tenkan > kijun now and tenkan <= kijun one bar ago; -1 if tenkan < kijun "
        "now and tenkan >= kijun one bar ago; else 0",
        parameters=("tenkan_sen", "kijun_sen"),
        history=lambda parameters: max(parameters.tenkan_sen, parameters.kijun_sen) + 1,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="price_vs_kijun",
        group="ichimoku",
        meaning="The price is above, below or near the Kijun-sen.",
        formula="sign of dist_price_to_kijun, but 0 (near) if abs(dist_price_to_kijun) < 0.2",
        parameters=("kijun_sen", "atr_period"),
        history=_history_of_kijun_distance,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="chikou_position",
        group="ichimoku",
        meaning="The Chikou span against the price where it is drawn, 26 bars back.",
        formula="1 if close > high of 26 bars ago; -1 if close < low of 26 bars ago; else 0",
        parameters=(),
        history=lambda parameters: DISPLACEMENT + 1,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="dist_price_to_cloud",
        group="ichimoku",
        meaning="Distance of the price to the nearest edge of the cloud, in ATR.",
        formula="(close - edge) / ATR, where edge is max(senkou_a, senkou_b) if close >= "
        "(senkou_a + senkou_b) / 2, else min(senkou_a, senkou_b)",
        parameters=(*LINES, "atr_period"),
        history=lambda parameters: max(
            history_of_cloud(parameters), history_of_wilder(parameters.atr_period)
        ),
        expected_direction=1,
    ),
    FeatureDefinition(
        name="dist_price_to_kijun",
        group="ichimoku",
        meaning="Distance of the price to the Kijun-sen, in ATR.",
        formula="(close - kijun) / ATR",
        parameters=("kijun_sen", "atr_period"),
        history=_history_of_kijun_distance,
        expected_direction=1,
    ),
    FeatureDefinition(
        name="kumo_twist",
        group="ichimoku",
        meaning="The cloud changes colour at this bar.",
        formula="1 if cloud_green differs from cloud_green one bar ago, else 0",
        parameters=LINES,
        history=lambda parameters: history_of_cloud(parameters) + 1,
        expected_direction=None,
    ),
)


def ichimoku_features(
    high: FloatArray, low: FloatArray, close: FloatArray, lines: Ichimoku
) -> Columns:
    """The eight features that do not need the ATR.

    Parameters
    ----------
    high, low, close
        Price, shape (n,).
    lines
        Ichimoku lines as they stand at each bar, shape (n,).
    """
    tenkan, kijun, senkou_a, senkou_b = lines
    top, bottom = np.maximum(senkou_a, senkou_b), np.minimum(senkou_a, senkou_b)
    above, below = close > top, close < bottom
    green = flag(senkou_a > senkou_b, senkou_a, senkou_b)
    green_before = lag(green, 1)
    return {
        "price_above_cloud": flag(above, top),
        "price_below_cloud": flag(below, top),
        "price_inside_cloud": flag(~(above | below), top),
        "cloud_green": green,
        "cloud_thickness": (senkou_a - senkou_b) / close,
        "tenkan_kijun_cross": _cross(tenkan, kijun),
        "chikou_position": _chikou_position(high, low, close),
        "kumo_twist": flag(green != green_before, green_before),
    }


def ichimoku_atr_features(close: FloatArray, lines: Ichimoku, atr: FloatArray) -> Columns:
    """The three features that measure in ATR (price units, shape (n,))."""
    _, kijun, senkou_a, senkou_b = lines
    nearest_edge = np.where(
        close >= (senkou_a + senkou_b) / 2,
        np.maximum(senkou_a, senkou_b),
        np.minimum(senkou_a, senkou_b),
    )
    to_kijun = ratio(close - kijun, atr)
    return {
        "price_vs_kijun": np.where(np.abs(to_kijun) < NEAR_KIJUN, 0.0, np.sign(to_kijun)),
        "dist_price_to_cloud": ratio(close - nearest_edge, atr),
        "dist_price_to_kijun": to_kijun,
    }


def _cross(tenkan: FloatArray, kijun: FloatArray) -> FloatArray:
    lead = tenkan - kijun
    lead_before = lag(lead, 1)
    upwards = (lead > 0) & (lead_before <= 0)
    downwards = (lead < 0) & (lead_before >= 0)
    return flag(upwards, lead_before) - downwards


def _chikou_position(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    high_then, low_then = lag(high, DISPLACEMENT), lag(low, DISPLACEMENT)
    return flag(close > high_then, high_then) - (close < low_then)
