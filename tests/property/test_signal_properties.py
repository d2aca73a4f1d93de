"""No signal and no stop distance sees the future, and both need a bounded history only."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.bundle import StrategyBundle
from strategy.exits import stop_distance, volatility_multiplier
from strategy.features import FeatureFactory
from strategy.indicators import rolling_mean
from tests.markets import markets
from tests.strategy_bundles import random_candles, trained_bundle


@cache
def bundle() -> StrategyBundle:
    return trained_bundle(random_candles(2_500))


def stops(candles: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Multiplier and stop distance of the bundle's own rule."""
    rule = bundle().break_even
    atr = FeatureFactory(candles).atr(bundle().indicators.atr_period)
    mean = rolling_mean(atr, rule.historical_atr_window)
    return volatility_multiplier(atr, mean, rule), stop_distance(atr, mean, rule)


@given(market=markets(bars=1_400), other=markets(bars=300))
@settings(max_examples=60)
def test_no_signal_or_stop_distance_changes_when_later_candles_change(
    market: pd.DataFrame, other: pd.DataFrame
) -> None:
    known = len(market) - len(other)
    changed = market.copy()
    changed.iloc[known:] = other.to_numpy()
    before, after = bundle().signals(market), bundle().signals(changed)
    np.testing.assert_array_equal(before[:known], after[:known])
    assert before["signal"][:known].notna().any()
    for one, two in zip(stops(market), stops(changed), strict=True):
        np.testing.assert_array_equal(one[:known], two[:known])


@given(market=markets(bars=1_400), data=st.data())
@settings(max_examples=60)
def test_the_last_signal_on_the_required_history_is_that_of_the_full_history(
    market: pd.DataFrame, data: st.DataObject
) -> None:
    history = bundle().required_history
    end = data.draw(st.integers(history, len(market)))
    short = market.iloc[end - history : end]
    signal = bundle().signals(short)["signal"].iloc[-1]
    assert signal == bundle().signals(market)["signal"].iloc[end - 1]
    for brief, full in zip(stops(short), stops(market), strict=True):
        np.testing.assert_allclose(brief[-1], full[end - 1], rtol=1e-9)
