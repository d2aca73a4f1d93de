"""The preflight must say in advance what the Monte Carlo gate will say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from store.synthetic import NO_EDGE, PLANTED_TREND, synthetic_candles
from strategy.config import Config, config_from
from training.preflight import Preflight, preflight, preflight_table
from training.random_signal_simulator import monte_carlo, monte_carlo_gates
from training.walk_forward import PreparedMarket

START = pd.Timestamp("2023-01-01", tz="UTC")


def config() -> Config:
    document = json.loads((Path(__file__).parents[2] / "config.json").read_text())
    document["walk_forward_config"] |= {
        "history_years": 1, "training_months": 3, "validation_months": 3,
    }  # fmt: skip
    document["indicator_parameters"]["atr"]["period"]["end"] = 14
    document["preflight"]["n_simulations"] = 50
    document["monte_carlo_config"]["n_simulations"] = 50
    return config_from(document)


def candles(trend: float) -> pd.DataFrame:
    return synthetic_candles(np.random.default_rng(3), 24 * 366, START, trend_strength=trend)


def result(trend: float) -> Preflight:
    return preflight(candles(trend), "1h", config())


def test_a_market_without_an_edge_fails_and_one_with_a_planted_trend_passes() -> None:
    assert not result(NO_EDGE).passes
    assert result(PLANTED_TREND).passes


def test_there_is_an_estimate_for_every_atr_period_of_the_grid() -> None:
    configured = result(NO_EDGE).configured
    assert [estimate.scenario.atr_period for estimate in configured] == [7, 14]


def test_costs_are_what_the_no_edge_market_loses_by() -> None:
    outcome = result(NO_EDGE)
    free = next(each for each in outcome.changed if each.scenario.costs.per_side == 0)
    paying = outcome.configured[-1]
    assert free.mean_expectancy - paying.mean_expectancy > 0.1  # 2 x 0.06 % of 1 to 1.5 ATR


def test_changes_are_a_slower_timeframe_and_a_wider_stop() -> None:
    scenarios = [each.scenario for each in result(NO_EDGE).changed]
    assert {scenario.timeframe for scenario in scenarios} == {"1h", "4h"}
    assert {scenario.break_even.min_multiplier for scenario in scenarios} == {1.0, 2.0}


def test_the_estimate_is_that_of_the_monte_carlo_with_the_same_entry_shares() -> None:
    market = PreparedMarket(candles(PLANTED_TREND), "1h", config())
    bars = {window.number: window.validation_end - window.train_end for window in market.windows}
    counts = {number: (n // 4, n - 2 * (n // 4), n // 4) for number, n in bars.items()}
    simulation = monte_carlo(market, 14, counts, 0.0, n_simulations=50, seed=42)
    estimate = result(PLANTED_TREND).configured[-1]
    assert simulation.entries.mean_expectancy == pytest.approx(estimate.mean_expectancy, abs=0.02)
    verdicts = monte_carlo_gates(simulation.entries, config().monte_carlo_config)
    assert all(verdict.passed for verdict in verdicts) == estimate.passes


def test_the_table_names_rules_thresholds_and_verdicts() -> None:
    table = preflight_table(result(NO_EDGE), config())
    assert table.row_count == 2 + 4
    assert "95%" in str(table.caption)
