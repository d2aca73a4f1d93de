"""Candle frames for tests that do not care what the market does."""

from __future__ import annotations

import numpy as np
import pandas as pd


def candles(
    bars: int = 100, start: str = "2024-01-30T00:00:00Z", freq: str = "h", seed: int = 0
) -> pd.DataFrame:
    """Candles of prices with all their digits, over the turn of a month."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(0.01 * rng.standard_normal(bars).cumsum())
    open_ = np.concatenate([[100.0], close[:-1]])
    spread = 1 + 0.01 * rng.random(bars)
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * spread,
            "low": np.minimum(open_, close) / spread,
            "close": close,
            "volume": rng.exponential(1000, bars),
        },
        index=pd.date_range(start, periods=bars, freq=freq, name="timestamp", unit="ns"),
    )


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True, check_freq=False)
