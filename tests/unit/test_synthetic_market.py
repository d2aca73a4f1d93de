"""The embedded market: a trend where one is planted, and no free lunch where none is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest

from store import synthetic
from store.synthetic import (
    NO_EDGE,
    PLANTED_TREND,
    SyntheticSource,
    bridge_extremes,
    synthetic_candles,
)
from strategy.candles import candle_frame, resample
from strategy.config import BreakEven, Costs
from strategy.costs import charges_on
from strategy.exits import stop_distance
from strategy.indicators import atr, rolling_mean
from strategy.simulate import Bars, simulate

START = pd.Timestamp("2020-01-01T00:00:00Z")
END = pd.Timestamp("2024-01-01T00:00:00Z")
FOUR_YEARS = 4 * 8766
FREE = Costs(fee_per_side=0, slippage_per_side=0, funding_per_8h=0)
DEFAULT_EXITS = BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=252)


def generate(seed: int, bars: int, trend_strength: float = NO_EDGE) -> pd.DataFrame:
    rng = np.random.default_rng([seed, bars])
    return synthetic_candles(rng, bars, START, trend_strength=trend_strength)


def random_entries(candles: pd.DataFrame, costs: Costs, simulations: int) -> NDArray[np.float64]:
    """Mean R of each simulation, entering at random (25 % buy, 25 % sell) with default exits."""
    bars = Bars.of(candles)
    range_14 = atr(bars.high, bars.low, bars.close, 14)
    mean_range = rolling_mean(range_14, DEFAULT_EXITS.historical_atr_window)
    distance = stop_distance(range_14, mean_range, DEFAULT_EXITS)
    charges = charges_on(candles.index, "1h", costs)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(simulations):
        signals = rng.choice(np.array([-1, 0, 0, 1], dtype=np.int8), size=len(candles))
        trades = simulate(bars, signals, distance, charges, timeframe="1h")
        means.append(trades["r"].mean())
    return np.array(means)


def mean_over_markets(costs: Costs, markets: int = 60, bars: int = 4000) -> tuple[float, float]:
    """Mean R over independent markets without an edge, and its standard error.

    Simulations of one market share its path; only whole markets are independent.
    """
    means = [random_entries(generate(seed, bars), costs, 2).mean() for seed in range(markets)]
    return float(np.mean(means)), float(np.std(means, ddof=1) / np.sqrt(markets))


def test_without_edge_and_cost_random_entries_earn_nothing() -> None:
    mean, standard_error = mean_over_markets(FREE)
    assert standard_error < 0.01
    assert abs(mean) < 2 * standard_error


def test_without_edge_random_entries_lose_their_costs() -> None:
    mean, standard_error = mean_over_markets(Costs())
    assert mean < -10 * standard_error


def test_extremes_of_the_known_points_alone_would_give_a_false_profit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        synthetic,
        "bridge_extremes",
        lambda rng, begin, end, variance: (np.maximum(begin, end), np.minimum(begin, end)),
    )
    mean, standard_error = mean_over_markets(FREE)
    assert mean > 10 * standard_error


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_the_planted_trend_random_entries_earn_beyond_their_costs(seed: int) -> None:
    means = random_entries(generate(seed, FOUR_YEARS, PLANTED_TREND), Costs(), 25)
    assert (means > 0).mean() > 0.95
    assert 0.15 < means.mean() < 0.35


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_edge_no_simulation_earns_its_costs(seed: int) -> None:
    assert (random_entries(generate(seed, FOUR_YEARS), Costs(), 25) < 0).all()


def test_the_price_is_a_martingale_without_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    # At ten times the usual volatility a forgotten -sigma**2 / 2 is 11 standard errors.
    monkeypatch.setattr(synthetic, "_VOLATILITY", 0.05)
    candles = generate(1, 200_000)
    returns = candles["close"] / candles["open"] - 1
    assert abs(returns.mean()) < 2 * returns.std() / np.sqrt(len(returns))


@pytest.mark.parametrize("end", [-1.0, 0.0, 0.3, 2.0])
def test_bridge_extremes_have_the_law_of_the_brownian_bridge(end: float) -> None:
    n, variance = 20_000, 1.7
    ends, variances = np.full(n, end), np.full(n, variance)
    high, low = bridge_extremes(np.random.default_rng(1), np.zeros(n), ends, variances)

    def maximum_below(m: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 - np.exp(-2 * np.maximum(m, 0) * np.maximum(m - end, 0) / variance)

    assert (high >= max(0.0, end)).all()
    assert (low <= min(0.0, end)).all()
    assert kstest(high, maximum_below).pvalue > 0.01
    assert kstest(end - low, maximum_below).pvalue > 0.01, "the bridge seen from its other side"


def test_the_mean_range_is_twice_the_mean_absolute_return() -> None:
    # Feller (1951): E[range] = sqrt(8 / pi) sigma, and E|W| = sqrt(2 / pi) sigma.
    candles = generate(1, FOUR_YEARS)
    ranges = np.log(candles["high"] / candles["low"])
    moves = np.log(candles["close"] / candles["open"]).abs()
    assert ranges.mean() / moves.mean() == pytest.approx(2, rel=0.02)


def test_trends_last_for_hundreds_of_hours() -> None:
    still = np.zeros(200_000)
    directions = synthetic._directions(np.random.default_rng(1), still, still)
    changes = np.flatnonzero(np.diff(directions))
    durations = np.diff(changes)
    trending = directions[changes[:-1] + 1] != 0
    assert 250 < durations[trending].mean() < 350
    assert np.abs(directions).mean() == pytest.approx(0.75, abs=0.05)


def test_volatility_clusters_and_volume_follows_the_range() -> None:
    candles = generate(1, FOUR_YEARS)
    ranges = np.log(candles["high"] / candles["low"])
    assert ranges.autocorr(24) > 0.1
    assert ranges.corr(candles["volume"]) > 0.5


@pytest.mark.parametrize("trend_strength", [NO_EDGE, PLANTED_TREND])
def test_candles_are_valid_and_open_at_the_close_before(trend_strength: float) -> None:
    candles = generate(1, 10_000, trend_strength)
    pd.testing.assert_frame_equal(candle_frame(candles, "1h", max_gap_bars=0), candles)
    assert (candles["open"].iloc[1:].to_numpy() == candles["close"].iloc[:-1].to_numpy()).all()


def test_five_years_of_trends_stay_within_prices_of_a_market() -> None:
    for seed in range(5):
        candles = generate(seed, 5 * 8766, PLANTED_TREND)
        assert candles["low"].min() > 1_000
        assert candles["high"].max() < 1_000_000


def test_the_same_seed_and_asset_make_the_same_market() -> None:
    market = SyntheticSource(seed=7, bars=1000, end=END)
    once = market.load("BTCUSDT", "1h")
    pd.testing.assert_frame_equal(once, SyntheticSource(7, 1000, END).load("BTCUSDT", "1h"))
    assert (market.load("ETHUSDT", "1h")["close"] != once["close"]).all()
    assert (SyntheticSource(8, 1000, END).load("BTCUSDT", "1h")["close"] != once["close"]).all()


def test_the_last_candle_closes_on_the_hour_at_or_before_the_end() -> None:
    hour = pd.Timedelta(hours=1)
    assert SyntheticSource(7, 100, END).load("BTCUSDT", "1h").index[-1] == END - hour
    later = END + pd.Timedelta(minutes=25)
    assert SyntheticSource(7, 100, later).load("BTCUSDT", "1h").index[-1] == END - hour


def test_coarser_candles_are_made_of_the_hours() -> None:
    market = SyntheticSource(seed=7, bars=1000, end=END)
    hours, coarse = market.load("BTCUSDT", "1h"), market.load("BTCUSDT", "4h")
    assert len(hours) == 1000
    pd.testing.assert_frame_equal(coarse, resample(hours, "1h", "4h"))


def test_its_name_says_that_it_is_synthetic_and_with_what_edge() -> None:
    assert SyntheticSource(7, 100, END).name == "synthetic(seed 7, trend 0.3)"
    assert SyntheticSource(7, 100, END, NO_EDGE).name == "synthetic(seed 7, no edge)"
    assert SyntheticSource(7, 100, END).synthetic


def test_what_comes_after_the_end_continues_the_history_and_does_not_change_it() -> None:
    end = pd.Timestamp("2026-01-01T00:00Z")
    history = SyntheticSource(42, 500, end).load("BTCUSDT", "1h")
    longer = SyntheticSource(42, 500, end, beyond=800).load("BTCUSDT", "1h")
    longest = SyntheticSource(42, 500, end, beyond=1500).load("BTCUSDT", "1h")
    assert longer.iloc[:500].equals(history)
    assert longest.iloc[:1300].equals(longer)
    assert np.allclose(longest["open"].iloc[1:], longest["close"].iloc[:-1])


def test_what_comes_after_the_end_is_another_path_than_the_history() -> None:
    end = pd.Timestamp("2026-01-01T00:00Z")
    market = SyntheticSource(42, 720, end, beyond=720).load("BTCUSDT", "1h")
    moves = np.log(market["close"] / market["open"]).to_numpy()
    assert abs(np.corrcoef(moves[:720], moves[720:])[0, 1]) < 0.2
