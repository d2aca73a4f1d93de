"""Coverage, pruning, refinement and ranking of trials."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strategy.config import Config, IndicatorParameters, LightGBMParameters, Pruning, config_from
from strategy.errors import ConfigError
from strategy.simulate import TRADE
from training.search import (
    coverage,
    coverage_size,
    hyperparameter_importance,
    next_generation,
    overfitting,
    rank,
)
from training.trial import Trial, is_hopeless
from training.walk_forward import TrialParameters, WindowResult

CONFIG = Path(__file__).parents[2] / "config.json"


def config(**search: Any) -> Config:
    document = json.loads(CONFIG.read_text())
    document["search"] |= search
    return config_from(document)


def result(window: int, r: list[float]) -> WindowResult:
    trades = np.zeros(len(r), dtype=TRADE)
    trades["r"] = r
    return WindowResult(window, trades, (1, 1, 1), np.zeros((3, 3), np.int64), 1.0)


def trial(number: int, *windows: list[float], pruned: bool = False, rate: float = 0.05) -> Trial:
    model = LightGBMParameters(
        learning_rate=rate, num_leaves=20 + number, min_data_in_leaf=50, n_estimators=100
    )
    indicators = IndicatorParameters(8 + number % 3, 24, 48, 7, 7)
    results = tuple(result(i + 1, r) for i, r in enumerate(windows))
    return Trial(number, TrialParameters(indicators, model), results, pruned)


def test_coverage_walks_every_combination_once_under_the_same_hyperparameters() -> None:
    whole = config()
    trials = coverage(whole)
    assert len(trials) == 432
    assert {each.indicators for each in trials} == set(whole.indicator_parameters.combinations())
    assert {each.model.model_dump_json() for each in trials} == {
        whole.search.coverage_hyperparameters.model_dump_json()
    }


def test_a_small_budget_covers_its_share_of_the_grid_first() -> None:
    small = config(max_trials=24)
    assert coverage_size(small) == 18
    assert coverage(small) == coverage(config())[:18]


def test_another_seed_covers_in_another_order() -> None:
    document = json.loads(CONFIG.read_text())
    document["monte_carlo_config"]["random_seed"] = 7
    assert coverage(config_from(document)) != coverage(config())


def test_a_trial_is_hopeless_when_even_the_upper_bound_of_its_expectancy_is_negative() -> None:
    pruning = Pruning(enabled=True, min_windows=2, confidence=0.975)
    # Mean -0.2 R, sd 1.0 R: after n trades the bound is about -0.2 + 1.96 / sqrt(n).
    swings = [-1.2, 0.8]
    assert not is_hopeless([result(1, swings * 100)], pruning)  # one window: too early
    assert not is_hopeless([result(1, swings * 20), result(2, swings * 20)], pruning)  # +0.02
    assert is_hopeless([result(1, swings * 100), result(2, swings * 100)], pruning)  # -0.10
    off = Pruning(enabled=False, min_windows=2, confidence=0.975)
    assert not is_hopeless([result(1, swings * 100), result(2, swings * 100)], off)


def test_trials_without_trades_are_not_hopeless_but_cannot_win() -> None:
    pruning = Pruning(enabled=True, min_windows=1, confidence=0.975)
    assert not is_hopeless([result(1, [])], pruning)
    assert rank([trial(0, [])], min_trades_per_window=0) == []


def test_trials_rank_by_sqn_of_pooled_trades() -> None:
    steady = trial(0, [0.4, 0.6] * 10)  # mean 0.5, small spread
    wild = trial(1, [3.0, -1.0] * 10)  # mean 1.0, spread 2
    lost = trial(2, [-0.5, 0.1] * 10)
    assert [each.number for each in rank([lost, wild, steady], 10)] == [0, 1, 2]


def test_equal_trials_keep_the_order_of_their_numbers() -> None:
    twins = [trial(number, [1.0, -0.5] * 10) for number in (2, 0, 1)]
    assert [each.number for each in rank(twins, 10)] == [0, 1, 2]


def test_pruned_trials_and_those_with_too_few_trades_per_window_cannot_win() -> None:
    good = [1.0, -0.5]
    ten = trial(0, good * 5, good * 5)
    fourteen_and_a_half = trial(1, good * 10, [*good * 4, 1.0])
    pruned = trial(2, good * 50, pruned=True)
    trials = [ten, fourteen_and_a_half, pruned]
    assert {each.number for each in rank(trials, 10)} == {0, 1}
    assert {each.number for each in rank(trials, 14)} == {1}
    assert rank(trials, 15) == []


def history() -> list[Trial]:
    rng = np.random.default_rng(3)
    walked = [
        trial(number, list(rng.normal(0.02 * number, 1, 40)), list(rng.normal(0, 1, 40)))
        for number in range(8)
    ]
    return [*walked, trial(8, [-1.0, -0.9] * 10, pruned=True), trial(9, [])]


def test_a_generation_follows_from_the_trials_before_it_and_nothing_else() -> None:
    asked = next_generation(history(), 0, 4, config())
    assert asked == next_generation(history(), 0, 4, config())
    assert len(asked) == 4
    assert asked != next_generation(history(), 1, 4, config())
    assert asked != next_generation(history()[:5], 0, 4, config())


def test_refinement_asks_only_for_what_config_json_allows() -> None:
    allowed = config()
    space = allowed.model_hyperparameters.LightGBM
    for asked in next_generation(history(), 2, 16, allowed):
        assert asked.indicators in set(allowed.indicator_parameters.combinations())
        assert space.learning_rate.min <= asked.model.learning_rate <= space.learning_rate.max
        assert space.num_leaves.min <= asked.model.num_leaves <= space.num_leaves.max
        assert space.n_estimators.min <= asked.model.n_estimators <= space.n_estimators.max
        assert (
            space.min_data_in_leaf.min <= asked.model.min_data_in_leaf <= space.min_data_in_leaf.max
        )


def test_importance_needs_trials_that_differ() -> None:
    assert hyperparameter_importance([trial(0, [1.0, -0.5] * 10)], config()) == {}
    shares = hyperparameter_importance(history(), config())
    assert math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9)
    assert shares == hyperparameter_importance(history(), config())


def test_overfitting_is_judged_over_the_trials_walked_to_the_end() -> None:
    always_best = trial(0, [1.0, 0.5] * 5, [1.0, 0.5] * 5)
    never = trial(1, [-1.0, 0.5] * 5, [-1.0, 0.5] * 5)
    assert overfitting([always_best, never]) == 0.0
    assert math.isnan(overfitting([always_best, trial(1, [0.1, 0.2], pruned=True)]))


@pytest.mark.parametrize("key", ["learning_rate", "num_leaves", "min_data_in_leaf", "n_estimators"])
def test_coverage_hyperparameters_outside_the_search_space_are_refused(key: str) -> None:
    document = json.loads(CONFIG.read_text())
    value = 0.9 if key == "learning_rate" else 900
    document["search"]["coverage_hyperparameters"][key] = value
    with pytest.raises(ConfigError, match=f"search.coverage_hyperparameters.{key}"):
        config_from(document)
