"""The catalogue and the factory: names, order, history, and what depends on what."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from strategy.config import IndicatorParameters
from strategy.features import (
    CATALOGUE,
    FEATURE_NAMES,
    FeatureFactory,
    feature_frame,
    required_history,
)
from strategy.indicators import atr

SMALL = IndicatorParameters(3, 5, 8, 3, 4)
CLOUD_LAST = IndicatorParameters(9, 900, 52, 2, 2)
"""A Kijun-sen so slow that the cloud needs more bars than any Wilder average."""

DOCUMENTED_NAMES = [
    "price_above_cloud", "price_below_cloud", "price_inside_cloud", "cloud_green",
    "cloud_thickness", "tenkan_kijun_cross", "price_vs_kijun", "chikou_position",
    "dist_price_to_cloud", "dist_price_to_kijun", "kumo_twist",
    "rsi_overbought", "rsi_oversold", "rsi_bullish_div", "rsi_bearish_div", "rsi_slope",
    "rsi_std", "rsi_midline_rejection", "rsi_in_momentum_zone", "time_in_extreme_zone",
    "atr_pct", "atr_expanding", "price_atr_ratio", "atr_volume", "compression_ratio",
    "atr_regime", "atr_breakout", "is_low_volatility", "atr_trend",
    "body_size_ratio", "upper_shadow_ratio", "lower_shadow_ratio", "hammer", "hanging_man",
    "engulfing_bullish", "piercing_pattern", "distance_to_ma", "volume_spike",
    "up_trend_strength", "consecutive_body_growth", "high_volume_reversal", "marubozu", "doji",
    "wick_dominance", "three_white_soldiers", "three_black_crows",
    "kumo_support_rsi", "kumo_resistance_rsi", "atr_high_rsi_extreme", "kumo_thickness_atr",
    "atr_body_ratio", "oversold_hammer", "kumo_breakout_candle", "rsi_price_divergence",
    "trend_confirmation", "volatility_squeeze_breakout", "divergence_in_cloud",
    "reversal_at_kijun",
]  # fmt: skip


def candles(bars: int, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.01, bars))), 2)
    open_ = np.append(100.0, close[:-1])[:bars]
    high = np.maximum(open_, close) + np.round(random.exponential(0.5, bars), 2)
    low = np.minimum(open_, close) - np.round(random.exponential(0.5, bars), 2)
    times = pd.date_range("2024-01-01", periods=bars, freq="h", tz="UTC", name="timestamp")
    return pd.DataFrame(
        {"open": open_, "high": high, "low": low, "close": close,
         "volume": random.lognormal(3, 1, bars)}, index=times,
    )  # fmt: skip


def test_the_catalogue_holds_the_documents_58_features_in_its_order() -> None:
    assert list(FEATURE_NAMES) == DOCUMENTED_NAMES
    assert len(FEATURE_NAMES) == 58
    assert Counter(definition.group for definition in CATALOGUE) == {
        "ichimoku": 11, "rsi": 9, "atr": 9, "candlestick": 17, "combined": 12,
    }  # fmt: skip


@pytest.mark.parametrize("definition", CATALOGUE, ids=FEATURE_NAMES)
def test_every_entry_of_the_catalogue_is_complete(definition) -> None:
    assert definition.meaning.endswith(".")
    assert definition.formula
    assert set(definition.parameters) <= set(IndicatorParameters._fields)
    assert definition.expected_direction in (1, -1, None)


@pytest.mark.parametrize("parameters", [SMALL, CLOUD_LAST])
def test_each_feature_is_unknown_for_exactly_its_history_and_known_from_there_on(
    parameters: IndicatorParameters,
) -> None:
    matrix = FeatureFactory(candles(1400)).matrix(parameters)
    for name, definition, values in zip(FEATURE_NAMES, CATALOGUE, matrix.T, strict=True):
        warm_up = definition.history(parameters) - 1
        assert np.isnan(values[:warm_up]).all(), name
        assert np.isfinite(values[warm_up:]).all(), name


@pytest.mark.parametrize("parameters", [SMALL, CLOUD_LAST])
def test_the_required_history_is_the_least_that_makes_the_last_row_valid(
    parameters: IndicatorParameters,
) -> None:
    bars = required_history(parameters, historical_atr_window=2)
    frame = candles(bars)
    assert np.isfinite(FeatureFactory(frame).matrix(parameters)[-1]).all()
    assert np.isnan(FeatureFactory(frame.iloc[1:]).matrix(parameters)[-1]).any()


def test_the_required_history_covers_the_mean_of_the_atr() -> None:
    bars = required_history(SMALL, historical_atr_window=1500)
    values = FeatureFactory(candles(bars)).atr(SMALL.atr_period)
    assert np.count_nonzero(np.isfinite(values)) == 1500


def test_the_required_history_of_the_default_grid() -> None:
    assert required_history(IndicatorParameters(10, 28, 56, 28, 28), 252) == 1349
    # even with the fastest periods the fixed ATR(20) needs 765 bars
    assert required_history(IndicatorParameters(8, 24, 48, 7, 7), 252) == 765


def test_a_matrix_is_laid_out_by_columns_and_is_the_callers_own() -> None:
    factory = FeatureFactory(candles(900))
    matrix = factory.matrix(SMALL)
    assert matrix.shape == (900, 58)
    assert matrix.dtype == np.float64
    assert matrix.flags.f_contiguous
    before = matrix.copy()
    matrix[:] = -7
    np.testing.assert_array_equal(factory.matrix(SMALL), before)


def test_a_shared_factory_gives_what_a_new_one_gives() -> None:
    frame = candles(900)
    shared = FeatureFactory(frame)
    combinations = [
        SMALL,
        SMALL._replace(tenkan_sen=4),
        SMALL._replace(kijun_sen=6),
        SMALL._replace(senkou_span_b=9),
        SMALL._replace(rsi_period=5),
        SMALL._replace(atr_period=5),
        SMALL._replace(atr_period=20),
    ]
    for parameters in [*combinations, *combinations]:
        np.testing.assert_array_equal(
            shared.matrix(parameters), FeatureFactory(frame).matrix(parameters)
        )


@pytest.mark.parametrize("field", IndicatorParameters._fields)
def test_a_feature_depends_on_the_parameters_that_the_catalogue_names_and_no_others(
    field: str,
) -> None:
    factory = FeatureFactory(candles(3000))
    other = SMALL._replace(**{field: getattr(SMALL, field) + 9})
    columns = zip(CATALOGUE, factory.matrix(SMALL).T, factory.matrix(other).T, strict=True)
    for definition, values, changed in columns:
        same = np.array_equal(values, changed, equal_nan=True)
        assert same != (field in definition.parameters), definition.name


def test_the_factorys_atr_is_wilders_and_the_same_for_features_and_exits() -> None:
    frame = candles(900)
    factory = FeatureFactory(frame)
    expected = atr(*(frame[name].to_numpy() for name in ("high", "low", "close")), 4)
    np.testing.assert_array_equal(factory.atr(4), expected)
    atr_pct = factory.matrix(SMALL)[:, FEATURE_NAMES.index("atr_pct")]
    np.testing.assert_array_equal(atr_pct, factory.atr(4) / frame["close"].to_numpy() * 100)


def test_a_feature_frame_carries_the_candles_times_and_the_features_names() -> None:
    frame = candles(800)
    result = feature_frame(frame, SMALL)
    assert result.index.equals(frame.index)
    assert tuple(result.columns) == FEATURE_NAMES
    np.testing.assert_array_equal(result.to_numpy(), FeatureFactory(frame).matrix(SMALL))


@pytest.mark.parametrize("bars", [1, 2, 30])
def test_a_history_that_is_too_short_is_all_warm_up_and_no_error(bars: int) -> None:
    matrix = FeatureFactory(candles(bars)).matrix(SMALL)
    assert matrix.shape == (bars, 58)
    assert np.isnan(matrix).any(axis=1).all()


def test_features_can_be_imported_where_there_is_no_numba() -> None:
    program = "import sys, strategy.features; print('numba' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert answer.stdout.strip() == b"False"
