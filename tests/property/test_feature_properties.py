"""No feature sees the future, and none remembers more than its history.

The markets hold what breaks such promises: stretches without a trade, gaps in time, jumps
by orders of magnitude, and bars of zero volume.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from strategy.config import IndicatorParameters
from strategy.features import FEATURE_NAMES, FeatureFactory, required_history

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

parameter_sets = st.builds(
    IndicatorParameters,
    tenkan_sen=st.integers(2, 10),
    kijun_sen=st.integers(2, 28),
    senkou_span_b=st.integers(2, 56),
    rsi_period=st.integers(2, 14),
    atr_period=st.integers(2, 14),
)

stretches = st.tuples(
    st.sampled_from(["walk", "trend", "still", "jump", "no volume", "gap in time"]),
    st.integers(1, 400),
)


@st.composite
def markets(draw: st.DrawFn, bars: int) -> pd.DataFrame:
    """A candle frame of ``bars`` hours, made of stretches of different kinds."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tick = draw(st.sampled_from([0.01, 0.5]))
    plan = draw(st.lists(stretches, min_size=1, max_size=12))
    kinds = np.resize(np.repeat([kind for kind, _ in plan], [length for _, length in plan]), bars)
    changes = np.where(kinds == "trend", 0.004, random.normal(0, 0.01, bars))
    starts = np.append(True, kinds[1:] != kinds[:-1])
    changes[starts & (kinds == "jump")] = draw(st.sampled_from([-7.0, -1.0, 1.0, 7.0]))
    still = kinds == "still"
    changes[still] = 0
    # the logarithm swings back before the price leaves what a tick can express
    level = 5 * np.sin(np.cumsum(changes) / 5)
    close = np.maximum(np.round(1000 * np.exp(level) / tick), 1) * tick
    open_ = np.append(close[0], close[:-1])
    reach = np.where(still, 0, np.round(random.exponential(0.005, (2, bars)) * close / tick))
    high = np.maximum(open_, close) + reach[0] * tick
    low = np.maximum(np.minimum(open_, close) - reach[1] * tick, np.minimum(open_, close) / 2)
    volume = np.where(still | (kinds == "no volume"), 0.0, random.lognormal(3, 1, bars))
    hours = np.cumsum(np.where(starts & (kinds == "gap in time"), 20, 1))
    times = pd.DatetimeIndex(
        pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(hours, unit="h"), name="timestamp"
    )
    return pd.DataFrame(
        {"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=times
    )


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
