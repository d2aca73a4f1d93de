"""The candlestick features on candle tables made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from strategy.features.candlestick import candlestick_atr_features, candlestick_features

NAN = np.nan
equal = np.testing.assert_array_equal

Candle = tuple[float, float, float, float]
"""open, high, low, close"""

STILL: Candle = (100, 100, 100, 100)
GREEN_4: Candle = (100, 104, 100, 104)
RED_4: Candle = (104, 104, 100, 100)


def features(candles: list[Candle], volume: list[float] | None = None) -> dict[str, np.ndarray]:
    prices = np.array(candles, dtype=np.float64).T
    traded = np.ones(len(candles)) if volume is None else np.array(volume, dtype=np.float64)
    return candlestick_features(*prices, traded)


def last(name: str, candles: list[Candle], volume: list[float] | None = None) -> float:
    return float(features(candles, volume)[name][-1])


def after_trend(step: float, candle: Candle) -> list[Candle]:
    """Twenty closes that rise or fall by ``step`` to 100, and then the candle."""
    closes = [100 - step * (19 - bar) for bar in range(20)]
    return [*((close, close, close, close) for close in closes), candle]


def test_body_and_shadows_are_shares_of_the_candle() -> None:
    for candle in ((103, 110, 100, 105), (105, 110, 100, 103)):
        assert last("body_size_ratio", [candle]) == 0.2
        assert last("upper_shadow_ratio", [candle]) == 0.5
        assert last("lower_shadow_ratio", [candle]) == 0.3
        assert last("wick_dominance", [candle]) == pytest.approx(0.2)


def test_a_candle_without_range_has_no_shares_and_is_a_doji() -> None:
    result = features([STILL])
    for name in ("body_size_ratio", "upper_shadow_ratio", "lower_shadow_ratio", "wick_dominance"):
        assert result[name][0] == 0
    assert result["doji"][0] == 1
    assert result["marubozu"][0] == 0


@pytest.mark.parametrize(("close", "doji"), [(104.99, 1), (105, 0), (95.01, 1), (95, 0)])
def test_a_doji_has_a_body_below_a_twentieth_of_the_candle(close: float, doji: float) -> None:
    assert last("doji", [(100, 150, 50, close)]) == doji


@pytest.mark.parametrize(
    ("candle", "marubozu"),
    [
        ((2, 100, 0, 98), 1),
        ((98, 100, 0, 2), -1),
        ((0, 100, 0, 95), 0),
        ((0, 100, 0, 95.01), 1),
        ((100, 100, 0, 4.99), -1),
    ],
)
def test_a_marubozu_has_a_body_above_nineteen_twentieths(candle: Candle, marubozu: float) -> None:
    assert last("marubozu", [candle]) == marubozu


@pytest.mark.parametrize(
    ("candle", "hammer"),
    [
        ((99, 100, 90, 99.5), 1),
        ((97, 100, 90, 99.5), 0),  # lower shadow exactly 0.7
        ((97.1, 100, 90, 100), 1),  # body 0.29
        ((97, 100, 89.9, 100), 1),  # lower shadow just above 0.7
        ((93, 100, 90, 99.5), 0),
    ],
)
def test_a_hammer_has_a_long_lower_shadow_and_a_small_body_in_a_downtrend(
    candle: Candle, hammer: float
) -> None:
    assert last("hammer", after_trend(-1, candle)) == hammer
    assert last("hammer", after_trend(+1, candle)) == 0
    assert last("hammer", after_trend(0, candle)) == 0


@pytest.mark.parametrize(
    ("candle", "hanging_man"),
    [
        ((91, 100, 90, 90.5), 1),
        ((93, 100, 90, 90.5), 0),  # upper shadow exactly 0.7
        ((92.9, 100, 90, 90.5), 1),
        ((99, 100, 90, 99.5), 0),  # a lower shadow does not count
    ],
)
def test_a_hanging_man_has_a_long_upper_shadow_and_a_small_body_in_an_uptrend(
    candle: Candle, hanging_man: float
) -> None:
    assert last("hanging_man", after_trend(+1, candle)) == hanging_man
    assert last("hanging_man", after_trend(-1, candle)) == 0
    assert last("hanging_man", after_trend(0, candle)) == 0


def test_a_pattern_in_a_trend_needs_20_bars_before_it() -> None:
    result = features(after_trend(-1, (99, 100, 90, 99.5)))
    for name in ("hammer", "hanging_man", "high_volume_reversal"):
        equal(np.isnan(result[name]), [True] * 20 + [False])


RED: Candle = (105, 106, 99, 100)


@pytest.mark.parametrize(
    ("before", "now", "engulfing"),
    [
        (RED, (100, 107, 99, 105.01), 1),  # opens at the previous close, closes higher
        (RED, (99.9, 107, 99, 105), 1),
        (RED, (100, 107, 99, 105), 0),  # the same body
        (RED, (100.01, 107, 99, 106), 0),  # opens inside the body
        (RED, (99, 107, 99, 104.99), 0),  # closes inside the body
        (RED, (106, 107, 99, 99.5), 0),  # red
        ((100, 106, 99, 105), (99, 107, 99, 106), 0),  # green before
        (STILL, (99, 107, 99, 106), 0),  # neither before
    ],
)
def test_a_bullish_engulfing_covers_a_red_body_with_a_larger_green_one(
    before: Candle, now: Candle, engulfing: float
) -> None:
    equal(features([before, now])["engulfing_bullish"], [NAN, engulfing])


@pytest.mark.parametrize(
    ("before", "now", "piercing"),
    [
        (RED, (100, 104, 99, 102.51), 1),
        (RED, (100, 104, 99, 102.5), 0),  # the middle itself
        (RED, (100, 107, 99, 106), 1),  # an engulfing counts too
        (RED, (104, 104, 99, 103), 0),  # red
        ((100, 106, 99, 105), (100, 104, 99, 103), 0),  # green before
    ],
)
def test_a_piercing_candle_is_green_and_closes_above_the_middle_of_a_red_body(
    before: Candle, now: Candle, piercing: float
) -> None:
    equal(features([before, now])["piercing_pattern"], [NAN, piercing])


# 19 volumes of 1 and v: v > 2.5 (19 + v) / 20 from v = 19 / 7 = 2.714 on
@pytest.mark.parametrize(("volume", "spike"), [(2.72, 1), (2.71, 0), (0, 0)])
def test_a_volume_spike_exceeds_two_and_a_half_times_the_mean_of_20(
    volume: float, spike: float
) -> None:
    result = features([STILL] * 20, [1.0] * 19 + [volume])["volume_spike"]
    equal(result, [NAN] * 19 + [spike])


def test_no_volume_at_all_is_no_spike() -> None:
    assert last("volume_spike", [STILL] * 20, [0.0] * 20) == 0


@pytest.mark.parametrize(
    ("pattern", "reversal"),
    [
        ([RED, (100, 107, 99, 106)], 1),  # engulfing and piercing
        ([RED, (100, 104, 99, 103)], 1),  # piercing alone
        ([STILL, (100, 107, 99, 106)], 0),
    ],
)
def test_a_high_volume_reversal_is_a_reversal_candle_on_a_volume_spike(
    pattern: list[Candle], reversal: float
) -> None:
    candles = [STILL] * 19 + pattern
    assert last("high_volume_reversal", candles, [1.0] * 20 + [9.0]) == reversal
    assert last("high_volume_reversal", candles, [1.0] * 21) == 0


def test_a_hammer_and_a_hanging_man_are_reversal_candles() -> None:
    spike = [1.0] * 20 + [9.0]
    assert last("high_volume_reversal", after_trend(-1, (99.5, 100, 90, 99)), spike) == 1
    assert last("high_volume_reversal", after_trend(+1, (91, 100, 90, 90.5)), spike) == 1


def test_the_strength_of_an_uptrend_is_the_percentage_of_green_candles_in_five() -> None:
    result = features([STILL, RED_4, GREEN_4, GREEN_4, GREEN_4, GREEN_4, RED_4])
    np.testing.assert_allclose(result["up_trend_strength"], [NAN] * 4 + [60, 80, 80])


def test_body_growth_counts_bodies_larger_than_the_one_before_up_to_252() -> None:
    growing: list[Candle] = [(100, 900, 1, 100 + body) for body in range(300)]
    falling: list[Candle] = [(500, 900, 1, 500 - body) for body in (300, 300, 301)]
    result = features(growing + falling)["consecutive_body_growth"]
    assert np.isnan(result[:252]).all()
    equal(result[252:300], np.full(48, 252.0))
    equal(result[300:], [252, 0, 1])  # the colour does not matter, an equal body does


def soldiers(closes: tuple[float, float, float], opens: tuple[float, float, float]) -> float:
    # 19 bodies of 1 before them: a body of 4 exceeds the mean of its 20 bars
    quiet: list[Candle] = [(100, 101, 100, 101)] * 19
    candles = [(o, max(o, c), min(o, c), c) for o, c in zip(opens, closes, strict=True)]
    return last("three_white_soldiers", quiet + candles)


def test_three_white_soldiers_are_long_green_candles_that_close_ever_higher() -> None:
    assert soldiers(closes=(104, 108, 112), opens=(100, 104, 108)) == 1
    assert soldiers(closes=(104, 108, 108), opens=(100, 104, 104)) == 0  # not higher
    assert soldiers(closes=(104, 104, 108), opens=(100, 100, 104)) == 0
    assert soldiers(closes=(104, 108, 107), opens=(100, 104, 111)) == 0  # red
    assert soldiers(closes=(104, 105, 109), opens=(100, 104, 105)) == 0  # short
    assert soldiers(closes=(101, 105, 109), opens=(100, 101, 105)) == 0


def test_a_long_candle_exceeds_the_mean_body_of_the_20_bars_that_end_there() -> None:
    rising: list[Candle] = [(100 + bar, 101 + bar, 100 + bar, 101 + bar) for bar in range(22)]
    assert last("three_white_soldiers", rising) == 0  # all bodies equal: none is long
    longer = [(o, h, low, c) if bar < 19 else (o - 0.01, h, low - 0.01, c)
              for bar, (o, h, low, c) in enumerate(rising)]  # fmt: skip
    result = features(longer)["three_white_soldiers"]
    equal(result, [NAN] * 21 + [1])


def test_three_black_crows_are_long_red_candles_that_close_ever_lower() -> None:
    quiet: list[Candle] = [(100, 101, 100, 101)] * 19
    crows: list[Candle] = [(112, 112, 108, 108), (108, 108, 104, 104), (104, 104, 100, 100)]
    assert last("three_black_crows", quiet + crows) == 1
    assert last("three_white_soldiers", quiet + crows) == 0
    assert last("three_black_crows", [*quiet, crows[1], crows[1], crows[2]]) == 0
    assert last("three_black_crows", [*quiet, crows[0], GREEN_4, crows[2]]) == 0
    assert last("three_black_crows", [*quiet, (112, 112, 111, 111), *crows[1:]]) == 0


def test_the_distance_to_the_mean_of_20_closes_is_in_atr() -> None:
    close = np.append(np.full(19, 100.0), 120.0)  # mean 101
    result = candlestick_atr_features(close, np.full(20, 2.0))["distance_to_ma"]
    equal(result, [NAN] * 19 + [9.5])
    assert candlestick_atr_features(close, np.zeros(20))["distance_to_ma"][-1] == 0
