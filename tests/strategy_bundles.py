"""A small strategy bundle, trained on noise, for tests that need one that works."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd

from registry.bundle import StrategyBundle
from strategy.config import BreakEven, IndicatorParameters, LightGBMParameters
from strategy.features import FEATURE_NAMES, FeatureFactory

INDICATORS = IndicatorParameters(9, 26, 52, 14, 14)


def random_candles(bars: int) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    opens = np.r_[100.0, close[:-1]]
    spread = 1 + rng.uniform(0, 0.005, bars)
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, close) * spread,
            "low": np.minimum(opens, close) / spread,
            "close": close,
            "volume": rng.uniform(1, 10, bars),
        },
        index=pd.date_range("2024-01-01", periods=bars, freq="h", tz="UTC", name="timestamp"),
    )


def trained_bundle(candles: pd.DataFrame) -> StrategyBundle:
    features = FeatureFactory(candles).matrix(INDICATORS)
    known = ~np.isnan(features).any(axis=1)
    labels = np.random.default_rng(1).integers(0, 3, known.sum())
    booster = lgb.train(
        {"objective": "multiclass", "num_class": 3, "num_leaves": 7, "verbosity": -1},
        lgb.Dataset(features[known], labels),
        num_boost_round=5,
    )
    return StrategyBundle(
        strategy_id="BTCUSDT-1h-c0ffee",
        asset="BTCUSDT",
        timeframe="1h",
        indicators=INDICATORS,
        hyperparameters=LightGBMParameters(
            learning_rate=0.1, num_leaves=7, min_data_in_leaf=20, n_estimators=5
        ),
        max_bin=63,
        seed=42,
        break_even=BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=252),
        feature_names=FEATURE_NAMES,
        training_start=candles.index[0],
        training_end=candles.index[-1],
        config_digest="c" * 64,
        data_digest="d" * 64,
        code_version="abc1234",
        booster_text=booster.model_to_string(),
        metadata={"shap_top10_share": 0.61, "flagged_features": ["doji"]},
    )
