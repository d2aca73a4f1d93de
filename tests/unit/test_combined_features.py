"""The combined features on columns and indicators made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from strategy.features.combined import (
    atr_candle_features,
    cloud_atr_features,
    cloud_candle_features,
    cloud_rsi_features,
    rsi_atr_features,
    rsi_candle_features,
)

NAN = np.nan
equal = np.testing.assert_array_equal


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


ABOVE = {"price_above_cloud": 1, "price_inside_cloud": 0, "price_below_cloud": 0}
INSIDE = {"price_above_cloud": 0, "price_inside_cloud": 1, "price_below_cloud": 0}
BELOW = {"price_above_cloud": 0, "price_inside_cloud": 0, "price_below_cloud": 1}


def with_rsi(
    place: dict[str, float],
    rsi: float,
    *,
    thickness: float = 0.0,
    bullish_div: float = 0,
    bearish_div: float = 0,
) -> dict[str, float]:
    ichimoku = {**place, "cloud_green": float(thickness > 0), "cloud_thickness": thickness}
    divergences = {"rsi_bullish_div": bullish_div, "rsi_bearish_div": bearish_div}
    result = cloud_rsi_features(
        {name: column(value) for name, value in ichimoku.items()},
        {name: column(value) for name, value in divergences.items()},
        column(rsi),
    )
    return {name: float(values[0]) for name, values in result.items()}


def test_support_is_a_weak_rsi_above_the_cloud_and_resistance_a_strong_one_below() -> None:
    for place, rsi, support, resistance in (
        (ABOVE, 49.99, 1, 0),
        (ABOVE, 50, 0, 0),
        (INSIDE, 40, 0, 0),
        (BELOW, 40, 0, 0),
        (BELOW, 50, 0, 0),
        (BELOW, 50.01, 0, 1),
        (ABOVE, 60, 0, 0),
    ):
        result = with_rsi(place, rsi)
        assert result["kumo_support_rsi"] == support
        assert result["kumo_resistance_rsi"] == resistance


@pytest.mark.parametrize(
    ("place", "thickness", "rsi", "expected"),
    [
        (ABOVE, 0.01, 50.01, 1),
        (ABOVE, 0.01, 50, 0),
        (ABOVE, 0.0, 60, 0),
        (ABOVE, -0.01, 60, 0),
        (INSIDE, 0.01, 60, 0),
        (BELOW, -0.01, 49.99, -1),
        (BELOW, -0.01, 50, 0),
        (BELOW, 0.0, 40, 0),  # neither green nor red
        (BELOW, 0.01, 40, 0),
        (INSIDE, -0.01, 40, 0),
    ],
)
def test_a_trend_is_confirmed_by_place_colour_and_rsi_together(
    place: dict[str, float], thickness: float, rsi: float, expected: float
) -> None:
    assert with_rsi(place, rsi, thickness=thickness)["trend_confirmation"] == expected


def test_a_divergence_of_either_kind_counts_inside_the_cloud_only() -> None:
    assert with_rsi(INSIDE, 50, bullish_div=1)["divergence_in_cloud"] == 1
    assert with_rsi(INSIDE, 50, bearish_div=1)["divergence_in_cloud"] == 1
    assert with_rsi(INSIDE, 50, bullish_div=1, bearish_div=1)["divergence_in_cloud"] == 1
    assert with_rsi(INSIDE, 50)["divergence_in_cloud"] == 0
    assert with_rsi(ABOVE, 50, bullish_div=1)["divergence_in_cloud"] == 0


def test_what_is_unknown_in_one_part_is_unknown_in_the_combination() -> None:
    assert all(np.isnan(value) for name, value in with_rsi(ABOVE, NAN).items()
               if name != "divergence_in_cloud")  # fmt: skip
    assert np.isnan(with_rsi(INSIDE, 50, bullish_div=NAN)["divergence_in_cloud"])
    unknown = dict.fromkeys(ABOVE, NAN)
    assert all(np.isnan(value) for value in with_rsi(unknown, 40, thickness=NAN).values())


def test_an_rsi_extreme_counts_while_the_atr_exceeds_its_mean_of_20() -> None:
    atr = np.append(np.full(19, 1.0), [1.1, 1.1, 1.0])
    for overbought, oversold, expected in ((1, 0, 1), (0, 1, 1), (0, 0, 0)):
        columns = {
            "rsi_overbought": np.full(22, float(overbought)),
            "rsi_oversold": np.full(22, float(oversold)),
        }
        result = rsi_atr_features(columns, atr)["atr_high_rsi_extreme"]
        equal(result, [NAN] * 19 + [expected, expected, 0])


def test_an_atr_that_never_changes_does_not_exceed_its_mean() -> None:
    extreme = {"rsi_overbought": np.ones(20), "rsi_oversold": np.zeros(20)}
    assert rsi_atr_features(extreme, np.full(20, 0.1))["atr_high_rsi_extreme"][-1] == 0


def cloud_atr(
    to_kijun: float, *, pattern: str | None = None, thickness: float = 0.0, atr_pct: float = 1.0
) -> dict[str, float]:
    patterns = ("hammer", "hanging_man", "engulfing_bullish", "piercing_pattern")
    result = cloud_atr_features(
        {"dist_price_to_kijun": column(to_kijun), "cloud_thickness": column(thickness)},
        {"atr_pct": column(atr_pct)},
        {name: column(name == pattern) for name in (*patterns, "doji")},
    )
    return {name: float(values[0]) for name, values in result.items()}


@pytest.mark.parametrize(
    ("to_kijun", "expected"), [(0.199, 1), (0.2, 0), (0, 1), (-0.199, 1), (-0.2, 0)]
)
def test_a_reversal_candle_counts_within_a_fifth_of_an_atr_of_the_kijun(
    to_kijun: float, expected: float
) -> None:
    for pattern in ("hammer", "hanging_man", "engulfing_bullish", "piercing_pattern"):
        assert cloud_atr(to_kijun, pattern=pattern)["reversal_at_kijun"] == expected
    assert cloud_atr(to_kijun, pattern="doji")["reversal_at_kijun"] == 0
    assert cloud_atr(to_kijun)["reversal_at_kijun"] == 0


def test_the_thickness_of_the_cloud_is_relative_to_volatility() -> None:
    assert cloud_atr(0, thickness=-0.03, atr_pct=1.5)["kumo_thickness_atr"] == -0.02
    assert cloud_atr(0, thickness=0.03, atr_pct=0.0)["kumo_thickness_atr"] == 0
    assert np.isnan(cloud_atr(0, thickness=NAN, atr_pct=0.0)["kumo_thickness_atr"])


@pytest.mark.parametrize(
    ("rsi", "hammer", "expected"), [(29.99, 1, 1), (30, 1, 0), (20, 0, 0), (NAN, 1, NAN)]
)
def test_an_oversold_hammer_needs_both(rsi: float, hammer: float, expected: float) -> None:
    result = rsi_candle_features(column(100), column(rsi), column(hammer))
    equal(result["oversold_hammer"], column(expected))


def test_price_and_rsi_are_correlated_by_their_changes_over_ten_bars() -> None:
    changes = column(1, -2, 3, 1, -1, 2, -3, 1, 2, -1)
    close = 100 + np.append(0, np.cumsum(changes))
    together = 50 + 2 * (close - 100) + np.arange(11)  # another trend, the same turns
    result = rsi_candle_features(close, together, np.zeros(11))["rsi_price_divergence"]
    assert np.isnan(result[:10]).all()
    assert result[10] == pytest.approx(1)
    apart = rsi_candle_features(close, 100 - together, np.zeros(11))["rsi_price_divergence"]
    assert apart[10] == pytest.approx(-1)
    still = rsi_candle_features(np.full(11, 0.1), together, np.zeros(11))["rsi_price_divergence"]
    assert still[10] == 0


def test_the_body_is_measured_in_atr_whatever_its_colour() -> None:
    result = atr_candle_features(
        column(100, 103, 100, 100), column(103, 100, 103, 103), column(2, 2, 0, NAN), np.ones(4)
    )
    equal(result["atr_body_ratio"], column(1.5, 1.5, 0, NAN))


def squeeze(low_at: int | None, jump: float) -> float:
    """A market that alternates between 99 and 101 for 40 bars, and then closes at 100 + jump."""
    close = 100 + np.append(np.tile([-1.0, 1.0], 20), jump)
    low = np.zeros(41)
    if low_at is not None:
        low[low_at] = 1.0
    atr = np.ones(41)
    return float(atr_candle_features(close, close, atr, low)["volatility_squeeze_breakout"][-1])


# Last 20 closes: 10 at +1, 9 at -1 and j. Mean (1 + j) / 20, mean square (19 + j^2) / 20:
# |j - mean| > 2 deviations from j = 2.36 up and j = -2.25 down.
@pytest.mark.parametrize(("jump", "breakout"), [(2.4, 1), (2.3, 0), (-2.3, 1), (-2.2, 0)])
def test_a_squeeze_breakout_leaves_the_bollinger_bands_on_either_side(
    jump: float, breakout: float
) -> None:
    assert squeeze(low_at=30, jump=jump) == breakout
    assert squeeze(low_at=None, jump=jump) == 0


@pytest.mark.parametrize(("low_at", "breakout"), [(40, 0), (39, 1), (20, 1)])
def test_the_squeeze_lies_within_the_20_bars_before_the_breakout(
    low_at: int, breakout: float
) -> None:
    assert squeeze(low_at=low_at, jump=9.0) == breakout


def test_a_squeeze_of_21_bars_ago_is_too_old() -> None:
    assert squeeze(low_at=19, jump=9.0) == 0


@pytest.mark.parametrize(
    ("place", "body", "volume", "expected"),
    [
        (ABOVE, 0.71, 1.1, 1),
        (BELOW, 0.71, 1.1, 1),
        (INSIDE, 0.71, 1.1, 0),
        (ABOVE, 0.7, 1.1, 0),
        (ABOVE, 0.71, 1.0, 0),
        (ABOVE, 0.71, 0.9, 0),
    ],
)
def test_a_breakout_candle_closes_outside_the_cloud_with_a_large_body_and_volume(
    place: dict[str, float], body: float, volume: float, expected: float
) -> None:
    result = cloud_candle_features(
        {name: np.full(5, float(value)) for name, value in place.items()},
        {"body_size_ratio": np.full(5, body)},
        column(1, 1, 1, 1, volume),
    )
    equal(result["kumo_breakout_candle"], column(NAN, NAN, NAN, NAN, expected))
