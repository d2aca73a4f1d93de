"""Seconds for the features of all indicator combinations, beside the fits that they serve.

python -m benchmarks.features [--candles PATH]
"""

from __future__ import annotations

import time
from statistics import median

import pandas as pd

from benchmarks._common import TIMEFRAME, load_market, show
from registry.fitting import fit
from strategy.config import IndicatorParameters
from strategy.features import FeatureFactory, required_history
from strategy.windows import Window
from training.discovery import split_windows
from training.walk_forward import PreparedMarket

BOT_BARS = 1_600


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


def seconds_of_a_fit(market: PreparedMarket, indicators: IndicatorParameters) -> float:
    """Median over the windows: LightGBM alone, under the hyperparameters of coverage."""

    def once(window: Window) -> float:
        features, labels = market.training_set(indicators, window.train_start, window.train_end)
        start = time.perf_counter()
        fit(
            features,
            labels,
            market.config.search.coverage_hyperparameters,
            max_bin=market.config.model_hyperparameters.max_bin,
            seed=market.config.monte_carlo_config.random_seed,
        )
        return time.perf_counter() - start

    return median(once(window) for window in market.windows)


def main() -> None:
    candles, config = load_market(__doc__, "20 seconds")
    combinations = list(config.indicator_parameters.combinations())
    total = seconds_for_all(candles, combinations)
    slowest = max(combinations, key=lambda parameters: required_history(parameters, 252))
    scratch = seconds_from_scratch(candles.tail(BOT_BARS), slowest)
    market = PreparedMarket(candles, TIMEFRAME, config)
    ranking, _ = split_windows(market.windows, config.selection)
    one_fit = seconds_of_a_fit(market, combinations[0])
    share = total / (len(combinations) * len(ranking) * one_fit)
    show(f"features of {len(combinations)} combinations", f"{total:.2f} s")
    show("  of one combination, on average", f"{1000 * total / len(combinations):.2f} ms")
    show("one LightGBM fit of coverage", f"{1000 * one_fit:.0f} ms")
    show(
        f"features over a fit for each combination and {len(ranking)} windows",
        f"{share:.3%}",
        "<= 0.1 %",
        share <= 0.001,
    )
    show(
        f"one matrix from scratch on {BOT_BARS} bars, as the bot needs it",
        f"{1000 * scratch:.2f} ms",
    )


if __name__ == "__main__":
    main()
