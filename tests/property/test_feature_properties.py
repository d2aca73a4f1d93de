"""No feature sees the future, and none remembers more than its history."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from strategy.config import IndicatorParameters
from strategy.features import FEATURE_NAMES, FeatureFactory, required_history
from tests.markets import markets, parameter_sets

HISTORICAL_ATR_WINDOW = 252

MEASURES = {
    "cloud_thickness", "dist_price_to_cloud", "dist_price_to_kijun", "rsi_slope", "rsi_std",
    "atr_pct", "atr_expanding", "price_atr_ratio", "atr_volume", "compression_ratio",
    "body_size_ratio", "upper_shadow_ratio", "lower_shadow_ratio", "distance_to_ma",
    "up_trend_strength", "wick_dominance", "kumo_thickness_atr", "atr_body_ratio",
    "rsi_price_divergence",
}  # fmt: skip
"""Continuous features; all others are conditions or counts and must be equal exactly."""

CONDITIONS = [index for index, name in enumerate(FEATURE_NAMES) if name not in MEASURES]


@given(parameters=parameter_sets, market=markets(bars=900), other=markets(bars=300))
@settings(max_examples=100)
def test_no_feature_changes_when_later_candles_change(
    parameters: IndicatorParameters, market: pd.DataFrame, other: pd.DataFrame
) -> None:
    known = len(market) - len(other)
    changed = market.copy()
    changed.iloc[known:] = other.to_numpy()
    first, second = FeatureFactory(market), FeatureFactory(changed)
    np.testing.assert_array_equal(
        first.matrix(parameters)[:known], second.matrix(parameters)[:known]
    )
    np.testing.assert_array_equal(
        first.atr(parameters.atr_period)[:known], second.atr(parameters.atr_period)[:known]
    )


@given(parameters=parameter_sets, market=markets(bars=1500), data=st.data())
@settings(max_examples=100)
def test_the_last_row_on_the_required_history_is_that_of_the_full_history(
    parameters: IndicatorParameters, market: pd.DataFrame, data: st.DataObject
) -> None:
    history = required_history(parameters, HISTORICAL_ATR_WINDOW)
    full = FeatureFactory(market)
    matrix, average_range = full.matrix(parameters), full.atr(parameters.atr_period)
    for end in data.draw(st.lists(st.integers(history, len(market)), min_size=1, max_size=5)):
        short = FeatureFactory(market.iloc[end - history : end])
        row = short.matrix(parameters)[-1]
        assert np.isfinite(row).all()
        np.testing.assert_allclose(row, matrix[end - 1], rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(row[CONDITIONS], matrix[end - 1, CONDITIONS])
        np.testing.assert_allclose(
            short.atr(parameters.atr_period)[-HISTORICAL_ATR_WINDOW:],
            average_range[end - HISTORICAL_ATR_WINDOW : end],
            rtol=1e-9,
        )


@given(parameters=parameter_sets, market=markets(bars=900))
@settings(max_examples=50)
def test_no_feature_is_infinite_and_none_is_unknown_again_after_its_warm_up(
    parameters: IndicatorParameters, market: pd.DataFrame
) -> None:
    matrix = FeatureFactory(market).matrix(parameters)
    assert not np.isinf(matrix).any()
    unknown = np.isnan(matrix)
    assert not (unknown[1:] & ~unknown[:-1]).any()
