"""The RSI features on an RSI made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from strategy.features.rsi import rsi_features

NAN = np.nan
equal = np.testing.assert_array_equal


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def features(*rsi: float) -> dict[str, np.ndarray]:
    return rsi_features(np.full(len(rsi), 100.0), column(*rsi))


def test_extremes_and_momentum_zones_exclude_their_bounds() -> None:
    result = features(NAN, 70.01, 70, 60.01, 60, 40, 39.99, 30, 29.99)
    equal(result["rsi_overbought"], column(NAN, 1, 0, 0, 0, 0, 0, 0, 0))
    equal(result["rsi_oversold"], column(NAN, 0, 0, 0, 0, 0, 0, 0, 1))
    equal(result["rsi_in_momentum_zone"], column(NAN, 1, 1, 1, 0, 0, -1, -1, -1))


def test_the_slope_is_the_change_over_three_bars_per_bar() -> None:
    equal(features(NAN, 40, 45, 50, 46, 45)["rsi_slope"], column(NAN, NAN, NAN, NAN, 2, 0))


def test_the_deviation_of_the_rsi_is_the_populations_over_14_bars() -> None:
    result = features(*([40.0, 60.0] * 7), 60.0)["rsi_std"]
    assert np.isnan(result[:13]).all()
    assert result[13] == 10.0
    # 6 times 40, 8 times 60: mean 360/7, variance 19200/49
    assert result[14] == pytest.approx(np.sqrt(20**2 * 6 * 8 / 14**2))
    assert features(*([33.3] * 14))["rsi_std"][13] == 0.0


@pytest.mark.parametrize(
    ("before", "turn", "now", "expected"),
    [
        (48, 50, 48, 1),  # came up to the midline itself and turned down
        (44, 45, 44, 1),
        (44, 44.99, 44, 0),  # too far below the midline
        (50, 50.01, 50, 0),  # broke through
        (48, 49, 49, 0),  # has not turned
        (49, 49, 48, 0),  # did not come up
        (52, 50, 52, -1),  # came down to the midline itself and turned up
        (56, 55, 56, -1),
        (56, 55.01, 56, 0),
        (50, 49.99, 50, 0),
        (52, 51, 51, 0),
        (51, 51, 52, 0),
    ],
)
def test_a_midline_rejection_is_a_turn_within_five_points_of_50(
    before: float, turn: float, now: float, expected: float
) -> None:
    equal(features(before, turn, now)["rsi_midline_rejection"], column(NAN, NAN, expected))


def divergences(close: np.ndarray, rsi: np.ndarray) -> tuple[float, float]:
    result = rsi_features(close, rsi)
    assert np.isnan(result["rsi_bullish_div"][:19]).all()
    return result["rsi_bullish_div"][19], result["rsi_bearish_div"][19]


@pytest.mark.parametrize(
    ("later_close", "later_rsi", "bullish"),
    [(89.99, 25.01, 1), (90.0, 25.01, 0), (89.99, 25.0, 0), (90.01, 25.01, 0), (89.99, 24.0, 0)],
)
def test_a_bullish_divergence_is_a_lower_low_of_the_price_and_a_higher_low_of_the_rsi(
    later_close: float, later_rsi: float, bullish: float
) -> None:
    close, rsi = np.full(20, 100.0), np.full(20, 50.0)
    close[9], rsi[4] = 90.0, 25.0  # lows of the earlier ten bars
    close[10], rsi[19] = later_close, later_rsi  # and of the later ten
    assert divergences(close, rsi) == (bullish, 0)


@pytest.mark.parametrize(
    ("later_close", "later_rsi", "bearish"),
    [(110.01, 74.99, 1), (110.0, 74.99, 0), (110.01, 75.0, 0), (109.99, 74.99, 0)],
)
def test_a_bearish_divergence_is_a_higher_high_of_the_price_and_a_lower_high_of_the_rsi(
    later_close: float, later_rsi: float, bearish: float
) -> None:
    close, rsi = np.full(20, 100.0), np.full(20, 50.0)
    close[0], rsi[9] = 110.0, 75.0
    close[19], rsi[10] = later_close, later_rsi
    assert divergences(close, rsi) == (0, bearish)


def test_a_low_of_more_than_20_bars_ago_makes_no_divergence() -> None:
    close, rsi = np.full(21, 100.0), np.full(21, 50.0)
    close[0], rsi[0] = 90.0, 25.0
    close[15], rsi[15] = 89.0, 40.0
    result = rsi_features(close, rsi)["rsi_bullish_div"]
    assert result[19] == 1  # the low of bar 0 is still among the last 20
    assert result[20] == 0


def test_time_in_an_extreme_zone_counts_both_zones_up_to_252() -> None:
    result = features(NAN, *([71.0] * 300), 50.0, 29.0, 71.0, 70.0)["time_in_extreme_zone"]
    assert np.isnan(result[:252]).all()
    equal(result[252:301], np.full(49, 252.0))
    equal(result[301:], column(0, 1, 2, 0))
