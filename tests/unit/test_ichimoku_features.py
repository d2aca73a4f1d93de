"""The Ichimoku features on lines made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from strategy.features.ichimoku import ichimoku_atr_features, ichimoku_features
from strategy.indicators import Ichimoku

NAN = np.nan
equal = np.testing.assert_array_equal


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def features(
    close: np.ndarray,
    *,
    tenkan: np.ndarray | None = None,
    kijun: np.ndarray | None = None,
    senkou_a: np.ndarray | None = None,
    senkou_b: np.ndarray | None = None,
    high: np.ndarray | None = None,
    low: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    lines = [close if line is None else line for line in (tenkan, kijun, senkou_a, senkou_b)]
    high, low = close if high is None else high, close if low is None else low
    return ichimoku_features(high, low, close, Ichimoku(*lines))


@pytest.mark.parametrize("upside_down", [False, True])
def test_the_price_is_above_below_or_inside_the_cloud_whose_edges_belong_to_it(
    upside_down: bool,
) -> None:
    close = column(9.99, 10, 11, 12, 12.01)
    spans = [np.full(5, 10.0), np.full(5, 12.0)]
    if upside_down:
        spans.reverse()
    result = features(close, senkou_a=spans[0], senkou_b=spans[1])
    equal(result["price_below_cloud"], column(1, 0, 0, 0, 0))
    equal(result["price_inside_cloud"], column(0, 1, 1, 1, 0))
    equal(result["price_above_cloud"], column(0, 0, 0, 0, 1))


def test_the_cloud_is_green_only_if_span_a_is_above_span_b() -> None:
    result = features(np.full(3, 50.0), senkou_a=column(11, 10, 9), senkou_b=np.full(3, 10.0))
    equal(result["cloud_green"], column(1, 0, 0))
    equal(result["cloud_thickness"], column(1 / 50, 0, -1 / 50))


def test_the_cloud_is_unknown_until_both_spans_are() -> None:
    result = features(np.full(3, 10.0), senkou_a=column(NAN, 11, 11), senkou_b=column(NAN, NAN, 9))
    for name in (
        "price_above_cloud", "price_below_cloud", "price_inside_cloud", "cloud_green",
        "cloud_thickness",
    ):  # fmt: skip
        equal(np.isnan(result[name]), [True, True, False])
    assert np.isnan(result["kumo_twist"]).all()


def test_a_cross_needs_the_lines_to_change_sides_at_this_bar() -> None:
    lead = column(NAN, -1, 1, 2, 0, -1, -1, 0, 1)
    result = features(np.full(9, 10.0), tenkan=10 + lead, kijun=np.full(9, 10.0))
    # from equality counts as a cross, reaching equality does not
    equal(result["tenkan_kijun_cross"], column(NAN, NAN, 1, 0, 0, -1, 0, 0, 1))


def test_a_twist_is_a_change_of_colour_in_either_direction() -> None:
    lead = column(NAN, 1, 1, -1, -1, 0, 1)
    result = features(np.full(7, 50.0), senkou_a=10 + lead, senkou_b=np.full(7, 10.0))
    equal(result["kumo_twist"], column(NAN, NAN, 0, 1, 0, 0, 1))


@pytest.mark.parametrize(
    ("close_now", "position"), [(12.01, 1), (12.0, 0), (11.0, 0), (8.0, 0), (7.99, -1)]
)
def test_chikou_compares_the_close_with_the_candle_of_26_bars_ago(
    close_now: float, position: float
) -> None:
    close, high, low = np.full(27, 10.0), np.full(27, 100.0), np.full(27, 1.0)
    close[26], high[0], low[0] = close_now, 12.0, 8.0
    result = features(close, high=high, low=low)["chikou_position"]
    assert result[26] == position
    assert np.isnan(result[:26]).all()


def test_the_distance_to_the_cloud_is_measured_from_its_nearest_edge_in_atr() -> None:
    close = column(16, 11.5, 11, 10.9, 7)
    lines = Ichimoku(close, close, np.full(5, 10.0), np.full(5, 12.0))
    result = ichimoku_atr_features(close, lines, np.full(5, 2.0))["dist_price_to_cloud"]
    # in the very middle the upper edge counts; below it the lower one
    np.testing.assert_allclose(result, column(2, -0.25, -0.5, 0.45, -1.5))


def test_near_the_kijun_is_less_than_a_fifth_of_an_atr() -> None:
    close = column(100.5, 100.25, 100.24, 100, 99.76, 99.75, 99.5)
    kijun = np.full(7, 100.0)
    lines = Ichimoku(kijun, kijun, kijun, kijun)
    result = ichimoku_atr_features(close, lines, np.full(7, 1.25))
    np.testing.assert_allclose(result["dist_price_to_kijun"], (close - 100) / 1.25)
    equal(result["price_vs_kijun"], column(1, 1, 0, 0, 0, -1, -1))


def test_distances_in_an_atr_of_zero_are_0_and_unknown_while_the_lines_are() -> None:
    close = column(10, 11)
    lines = Ichimoku(close, column(NAN, 10), column(NAN, 9), column(NAN, 8))
    result = ichimoku_atr_features(close, lines, np.zeros(2))
    for name in ("price_vs_kijun", "dist_price_to_cloud", "dist_price_to_kijun"):
        equal(result[name], column(NAN, 0))
