"""Random entries must be trades of the one simulator, and fair where there is no edge."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from store.synthetic import NO_EDGE, PLANTED_TREND, synthetic_candles
from strategy.config import BreakEven, Costs, MonteCarlo
from strategy.costs import Charges, charges_on
from strategy.exits import stop_distance
from strategy.indicators import atr, rolling_mean
from strategy.simulate import Bars, outcomes, simulate
from training.random_entries import (
    EntryWindow,
    RandomEntries,
    passes_gate,
    simulate_random_entries,
)

RULE = BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=252)
NO_COSTS = Costs(fee_per_side=0.0, slippage_per_side=0.0, funding_per_8h=0.0)
GATE = MonteCarlo(n_simulations=200, confidence_level=0.95, p_value_threshold=0.05, random_seed=1)
START = pd.Timestamp("2022-01-01", tz="UTC")
NO_EQUITY = np.empty(0, dtype=np.int64)


def market(seed: int, bars: int, trend: float, costs: Costs) -> tuple[Bars, np.ndarray, Charges]:
    rng = np.random.default_rng(seed)
    candles = synthetic_candles(rng, bars, START, trend_strength=trend)
    columns = Bars.of(candles)
    current = atr(columns.high, columns.low, columns.close, 14)
    distance = stop_distance(current, rolling_mean(current, RULE.historical_atr_window), RULE)
    return columns, distance, charges_on(pd.DatetimeIndex(candles.index), "1h", costs)


def random_entries(
    seed: int, bars: int, trend: float, costs: Costs, n_simulations: int
) -> RandomEntries:
    columns, distance, charges = market(seed, bars, trend, costs)
    table = outcomes(columns, distance, charges, start=0, end=bars)
    return simulate_random_entries(
        [EntryWindow(0, *table, 0.25, 0.25)],
        n_simulations=n_simulations,
        seed=seed,
        equity_bars=NO_EQUITY,
    )


def test_a_simulation_makes_the_trades_of_the_one_simulator() -> None:
    bars, distance, charges = market(5, 3_000, PLANTED_TREND, Costs())
    windows = [(900, 1_700), (1_700, 3_000)]
    entries = simulate_random_entries(
        [
            EntryWindow(a, *outcomes(bars, distance, charges, start=a, end=b), 0.1, 0.2)
            for a, b in windows
        ],
        n_simulations=1,
        seed=9,
        equity_bars=np.array([899, 1_699, 2_999]),
    )
    # The same draws as a signal on every bar: replay them, one number for each flat bar.
    rng = np.random.default_rng(np.random.SeedSequence(9).spawn(1)[0])
    expected = []
    for a, b in windows:
        bar = a
        while bar < b - 1:
            draw = rng.random()
            side = 1 if draw < 0.1 else -1 if draw < 0.30000000000000004 else 0
            signals = np.zeros(3_000, dtype=np.int8)
            signals[bar] = side
            trades = simulate(bars, signals, distance, charges, timeframe="1h", start=bar, end=b)
            if len(trades):
                expected.append((trades["exit_bar"][0], trades["r"][0]))
                bar = trades["exit_bar"][0]
            else:
                bar += 1
    assert entries.trades[0] == len(expected) > 50
    r = np.array([value for _, value in expected])
    assert entries.expectancy[0] == pytest.approx(r.mean(), rel=1e-12)
    first = sum(value for exit_bar, value in expected if exit_bar < 1_700)
    assert entries.equity[0] == pytest.approx([0.0, first, r.sum()], rel=1e-5)


def test_the_first_simulations_do_not_depend_on_how_many_are_asked_for() -> None:
    few = random_entries(3, 2_000, PLANTED_TREND, Costs(), 5)
    many = random_entries(3, 2_000, PLANTED_TREND, Costs(), 20)
    assert (few.expectancy == many.expectancy[:5]).all()


def test_random_entries_earn_nothing_on_the_no_edge_market_at_no_cost() -> None:
    # Simulations on one market share its path; only across markets are they independent.
    means = np.array(
        [random_entries(seed, 8_000, NO_EDGE, NO_COSTS, 10).mean_expectancy for seed in range(60)]
    )
    standard_error = means.std(ddof=1) / math.sqrt(len(means))
    assert standard_error < 0.02
    assert abs(means.mean()) < 2 * standard_error


def test_random_entries_fail_the_gate_on_the_no_edge_market_with_costs() -> None:
    for seed in range(5):
        assert not passes_gate(random_entries(seed, 12_000, NO_EDGE, Costs(), 100), GATE)


def test_random_entries_pass_the_gate_where_the_trend_is_planted() -> None:
    for seed in range(5):
        assert passes_gate(random_entries(seed, 12_000, PLANTED_TREND, Costs(), 100), GATE)


def test_no_entries_means_no_expectancy_and_no_pass() -> None:
    bars, distance, charges = market(5, 2_000, PLANTED_TREND, Costs())
    table = outcomes(bars, distance, charges, start=0, end=2_000)
    entries = simulate_random_entries(
        [EntryWindow(0, *table, 0.0, 0.0)], n_simulations=10, seed=1, equity_bars=NO_EQUITY
    )
    assert entries.trades.sum() == 0
    assert math.isnan(entries.mean_expectancy)
    assert entries.share_positive == 0.0
    assert not passes_gate(entries, GATE)
