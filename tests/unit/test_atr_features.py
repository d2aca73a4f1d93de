"""The ATR features on an ATR made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from strategy.features.atr import atr_features

NAN = np.nan
equal = np.testing.assert_array_equal


def features(atr: np.ndarray, **changed: np.ndarray) -> dict[str, np.ndarray]:
    inputs = {
        name: np.full(len(atr), value)
        for name, value in (
            ("high", 101.0), ("low", 99.0), ("close", 100.0), ("volume", 1.0),
            ("fast_atr", 1.0), ("slow_atr", 1.0),
        )
    }  # fmt: skip
    return atr_features(**{**inputs, "atr": atr, **changed})


def last(name: str, atr: np.ndarray, **changed: np.ndarray) -> float:
    return float(features(atr, **changed)[name][-1])


def test_relative_volatility_is_in_percent_of_the_close() -> None:
    result = features(np.array([NAN, 4.0]), close=np.array([100.0, 200.0]))
    equal(result["atr_pct"], [NAN, 2.0])
    equal(result["price_atr_ratio"], [NAN, 0.5])


def test_ratios_over_an_atr_of_zero_are_0() -> None:
    result = features(np.zeros(252), fast_atr=np.zeros(252), slow_atr=np.zeros(252))
    for name in ("atr_pct", "price_atr_ratio", "atr_expanding", "compression_ratio"):
        assert result[name][-1] == 0


def test_expansion_is_measured_against_the_highest_of_252_bars() -> None:
    atr = np.full(254, 1.0)
    atr[1] = 4.0
    result = features(atr)["atr_expanding"]
    assert np.isnan(result[:251]).all()
    equal(result[251:], [0.25, 0.25, 1.0])  # bar 1 has left the window of bar 253


def test_atr_volume_is_the_correlation_over_ten_bars() -> None:
    ramp = np.arange(1.0, 12.0)
    assert np.isnan(features(ramp, volume=ramp)["atr_volume"][:9]).all()
    assert last("atr_volume", ramp, volume=3 * ramp) == pytest.approx(1)
    assert last("atr_volume", ramp, volume=20 - ramp) == pytest.approx(-1)
    assert last("atr_volume", ramp, volume=np.zeros(11)) == 0
    # ATR 1..10 against a single spike at the end: r = 4.5 / sqrt(82.5 * 0.9)
    spike = np.append(np.zeros(9), 1.0)
    assert last("atr_volume", ramp[:10], volume=spike) == pytest.approx(4.5 / np.sqrt(82.5 * 0.9))


def test_compression_compares_the_fast_with_the_slow_atr() -> None:
    result = features(np.ones(2), fast_atr=np.array([1.0, 3.0]), slow_atr=np.array([NAN, 2.0]))
    equal(result["compression_ratio"], [NAN, 1.5])


def ranked(rank: int) -> np.ndarray:
    """252 different values of which the newest is the rank-th smallest."""
    others = [float(value) for value in range(1, 253) if value != rank]
    return np.array([*others, float(rank)])


@pytest.mark.parametrize(
    ("rank", "regime"), [(1, 0), (62, 0), (63, 1), (150, 1), (189, 1), (190, 2), (252, 2)]
)
def test_the_regime_is_normal_between_the_quartiles_bounds_included(
    rank: int, regime: float
) -> None:
    result = features(ranked(rank))["atr_regime"]
    assert result[-1] == regime
    assert np.isnan(result[:-1]).all()


@pytest.mark.parametrize(("rank", "low"), [(1, 1), (25, 1), (26, 0), (252, 0)])
def test_volatility_is_low_below_the_tenth_percentile_of_252_bars(rank: int, low: float) -> None:
    assert last("is_low_volatility", ranked(rank)) == low


def test_low_volatility_is_relative_to_the_price() -> None:
    rising = ranked(252)
    assert last("is_low_volatility", rising) == 0
    assert last("is_low_volatility", rising, close=np.append(np.full(251, 100.0), 1e6)) == 1


def test_a_constant_atr_is_normal_and_neither_breaks_out_nor_trends() -> None:
    result = features(np.full(252, 0.1))
    assert result["atr_regime"][-1] == 1
    for name in ("is_low_volatility", "atr_breakout", "atr_trend"):
        assert result[name][-1] == 0


@pytest.mark.parametrize(("ups", "breakout"), [(5, 0), (3, 1)])
def test_a_breakout_exceeds_the_mean_of_20_by_two_deviations(ups: int, breakout: float) -> None:
    # k of 20 values at 1, the others at 0: mean k/20, deviation sqrt(k (20 - k)) / 20.
    # k = 5: 1 against 0.25 + 2 * 0.433 = 1.116; k = 3: 1 against 0.15 + 2 * 0.357 = 0.864.
    atr = np.append(np.zeros(20 - ups), np.full(ups, 1.0)) + 8.0
    result = features(atr)["atr_breakout"]
    assert result[-1] == breakout
    assert np.isnan(result[:-1]).all()


def test_the_trend_compares_the_means_of_5_and_20_bars() -> None:
    atr = np.full(21, 2.0)
    atr[-2] = 3.0
    result = features(atr)["atr_trend"]
    assert np.isnan(result[:19]).all()
    equal(result[19:], [1, 1])
    atr[-2] = 1.0
    equal(features(atr)["atr_trend"][19:], [0, 0])
