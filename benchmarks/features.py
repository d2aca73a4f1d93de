"""Seconds for the features of all indicator combinations on five years of hours.

python -m benchmarks.features [--candles PATH.parquet]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from strategy.config import IndicatorParameters, parse_config
from strategy.features import FeatureFactory, required_history

BARS = 43_800
BOT_BARS = 1_600
ROOT = Path(__file__).resolve().parents[1]


def random_walk(bars: int, seed: int = 7) -> pd.DataFrame:
    """A candle frame of ``bars`` hours from a seeded random walk of the logarithmic price."""
    random = np.random.default_rng(seed)
    closes = 30_000 * np.exp(np.cumsum(random.normal(0, 0.006, bars)))
    opens = np.concatenate(([30_000.0], closes[:-1]))
    reach = np.abs(random.normal(0, 0.003, (2, bars)))
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * (1 + reach[0]),
            "low": np.minimum(opens, closes) * (1 - reach[1]),
            "close": closes,
            "volume": random.lognormal(7, 0.8, bars),
        },
        index=pd.date_range("2020-01-01", periods=bars, freq="h", tz="UTC", name="timestamp"),
    )


def seconds_for_all(candles: pd.DataFrame, combinations: list[IndicatorParameters]) -> float:
    """Seconds for the matrices of all combinations, each assembled and then dropped."""
    start = time.perf_counter()
    factory = FeatureFactory(candles)
    for parameters in combinations:
        factory.matrix(parameters)
    return time.perf_counter() - start


def seconds_from_scratch(candles: pd.DataFrame, parameters: IndicatorParameters) -> float:
    """Best of ten: seconds for one matrix with nothing computed before, as the bot needs it."""

    def once() -> float:
        start = time.perf_counter()
        FeatureFactory(candles).matrix(parameters)
        return time.perf_counter() - start

    return min(once() for _ in range(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candles", type=Path, help="a parquet file of candles")
    path = parser.parse_args().candles
    candles = random_walk(BARS) if path is None else pd.read_parquet(path)
    grid = parse_config((ROOT / "config.json").read_text()).indicator_parameters
    combinations = list(grid.combinations())
    total = seconds_for_all(candles, combinations)
    slowest = max(combinations, key=lambda parameters: required_history(parameters, 252))
    scratch = seconds_from_scratch(candles.tail(BOT_BARS), slowest)
    print(
        f"{len(combinations)} combinations x {len(candles)} bars: {total:.2f} s, "
        f"{1000 * total / len(combinations):.2f} ms each"
    )
    print(f"one matrix from scratch on {BOT_BARS} bars: {1000 * scratch:.2f} ms")


if __name__ == "__main__":
    main()
