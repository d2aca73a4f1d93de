"""The grid must say of every cell what the campaign's own preflight says of its rules and fee."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from store.synthetic import NO_EDGE, PLANTED_TREND, synthetic_candles
from strategy.config import BreakEven, Config, config_from
from training.preflight import Scenario, estimate
from training.preflight_grid import Cell, Grid, evaluate

START = pd.Timestamp("2023-01-01", tz="UTC")
SIMULATIONS = 60
NARROW = BreakEven(min_multiplier=1.0, max_multiplier=1.5, historical_atr_window=252)
WIDE = BreakEven(min_multiplier=2.0, max_multiplier=3.0, historical_atr_window=100)
GRID = Grid(("1h", "4h"), (NARROW, WIDE), (7, 14), (0.0, 0.0002, 0.0005))


def config(seed: int = 42) -> Config:
    document = json.loads((Path(__file__).parents[2] / "config.json").read_text())
    document["walk_forward_config"] |= {
        "history_years": 1, "training_months": 3, "validation_months": 3, "step_months": 2,
    }  # fmt: skip
    document["preflight"]["n_simulations"] = SIMULATIONS
    document["monte_carlo_config"] |= {"n_simulations": SIMULATIONS, "random_seed": seed}
    return config_from(document)


@functools.cache
def candles(trend: float) -> pd.DataFrame:
    """A year of hours, some of them missing."""
    hours = synthetic_candles(np.random.default_rng(3), 24 * 366, START, trend_strength=trend)
    return hours.drop(hours.index[[5000, 5001, 7000]])


def cells(trend: float = PLANTED_TREND, grid: Grid = GRID, seed: int = 42) -> list[Cell]:
    return list(evaluate(candles(trend), "1h", grid, config(seed)))


def test_there_is_one_cell_for_every_combination_of_the_grid() -> None:
    found = [(cell.rules, cell.fee) for cell in cells()]
    assert len(found) == len(set(found)) == GRID.size == 24


@pytest.mark.parametrize("trend", [NO_EDGE, PLANTED_TREND])
def test_a_cell_has_the_figures_of_the_campaigns_preflight_under_the_same_rules(
    trend: float,
) -> None:
    for cell in cells(trend):
        timeframe, break_even, period = cell.rules
        costs = config().costs.model_copy(update={"fee_per_side": cell.fee})
        scenario = Scenario("the same", timeframe, period, break_even, costs)
        expected = estimate(candles(trend), "1h", config(), scenario)
        assert cell.mean_expectancy == pytest.approx(expected.mean_expectancy, rel=1e-9)
        assert cell.share_positive == expected.share_positive
        assert cell.p_value == pytest.approx(expected.p_value, rel=1e-6)
        assert 4 * cell.trades_per_window == pytest.approx(expected.trades)
        assert cell.passes == expected.passes


def test_enough_simulations_are_positive_below_the_fee_limit_and_too_few_at_it() -> None:
    level = config().monte_carlo_config.confidence_level
    for cell in cells(grid=GRID._replace(fees=(0.0,))):
        assert cell.fee_limit > 0
        around = GRID._replace(
            timeframes=(cell.rules.timeframe,),
            break_evens=(cell.rules.break_even,),
            atr_periods=(cell.rules.atr_period,),
            fees=(cell.fee_limit * (1 - 1e-9), cell.fee_limit * (1 + 1e-9)),
        )
        below, above = cells(grid=around)
        assert below.share_positive > level >= above.share_positive


def test_rules_that_fail_without_a_fee_have_no_positive_fee_limit() -> None:
    for cell in cells(NO_EDGE, GRID._replace(fees=(0.0,))):
        assert not cell.passes
        assert cell.fee_limit < 0


def test_the_same_seed_makes_the_same_cells_and_another_one_others() -> None:
    assert cells() == cells()
    assert cells(seed=43) != cells()


@pytest.mark.filterwarnings("error")
def test_rules_whose_warm_up_never_ends_offer_no_trades_and_fail() -> None:
    (cell,) = cells(grid=Grid(("4h",), (NARROW,), (500,), (0.0,)))
    assert cell.trades_per_window == 0
    assert math.isnan(cell.mean_expectancy)
    assert not cell.passes
