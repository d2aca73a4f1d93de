"""One winner, or the best of those that lost, and never a second candidate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from strategy.config import IndicatorParameters, LightGBMParameters, Selection
from strategy.errors import ConfigError
from strategy.simulate import TRADE
from training.candidate import leading_trial
from training.discovery import split_windows
from training.random_entries import RandomEntries
from training.random_signal_simulator import monte_carlo_gates
from training.trial import Trial
from training.walk_forward import TrialParameters, WindowResult

SELECTION = Selection(confirmation_windows=2, min_trades_per_window=10)
PARAMETERS = TrialParameters(
    IndicatorParameters(9, 26, 52, 14, 14),
    LightGBMParameters(learning_rate=0.1, num_leaves=7, min_data_in_leaf=20, n_estimators=10),
)


def trial(number: int, *windows: list[float], pruned: bool = False) -> Trial:
    results = []
    for index, r in enumerate(windows):
        trades = np.zeros(len(r), dtype=TRADE)
        trades["r"] = r
        results.append(WindowResult(index + 1, trades, (1, 1, 1), np.zeros((3, 3), np.int64), 1.0))
    return Trial(number, PARAMETERS, tuple(results), pruned)


GOOD, BETTER, BAD = [1.0, -0.5] * 10, [1.0, -0.4] * 10, [0.4, -1.0] * 10


def test_the_winner_is_the_first_of_the_ranking() -> None:
    leader, eligible = leading_trial([trial(0, GOOD), trial(1, BETTER)], SELECTION)
    assert (leader.number, eligible) == (1, True)


def test_without_a_survivor_the_trial_that_came_furthest_is_shown_but_not_eligible() -> None:
    trials = [
        trial(0, GOOD, pruned=True),
        trial(1, BAD, BAD, pruned=True),
        trial(2, BAD, GOOD, pruned=True),
    ]
    leader, eligible = leading_trial(trials, SELECTION)
    assert (leader.number, eligible) == (2, False)


def test_a_trial_without_trades_leads_only_where_there_is_no_other() -> None:
    assert leading_trial([trial(0, [])], SELECTION)[1] is False
    leader, eligible = leading_trial([trial(0, []), trial(1, BAD, pruned=True)], SELECTION)
    assert (leader.number, eligible) == (1, False)


def test_the_newest_windows_are_hidden_from_the_ranking() -> None:
    ranking, hidden = split_windows([1, 2, 3, 4, 5], SELECTION)  # type: ignore[list-item]
    assert (list(ranking), list(hidden)) == ([1, 2, 3], [4, 5])
    with pytest.raises(ConfigError, match=r"selection\.confirmation_windows"):
        split_windows([1, 2], SELECTION)  # type: ignore[list-item]


def entries(expectancy: np.ndarray) -> RandomEntries:
    unknown = np.full(len(expectancy), math.nan)
    return RandomEntries(expectancy, unknown, unknown, unknown, unknown, np.empty((0, 0)))


def test_the_monte_carlo_gates_need_enough_gains_and_a_significant_mean() -> None:
    from strategy.config import MonteCarlo

    rule = MonteCarlo(
        n_simulations=1000, confidence_level=0.95, p_value_threshold=0.05, random_seed=1
    )
    ramp = np.linspace(-0.04, 0.96, 1001)  # 4 % at or below zero
    verdicts = {gate.name: gate for gate in monte_carlo_gates(entries(ramp), rule)}
    assert verdicts["monte_carlo_positive_share"].figure == pytest.approx(960 / 1001)
    assert all(gate.passed for gate in verdicts.values())
    lower = {gate.name: gate.passed for gate in monte_carlo_gates(entries(ramp - 0.02), rule)}
    assert lower["monte_carlo_positive_share"] is False  # 6 % at or below zero
    assert lower["monte_carlo_mean"] is True
    noise = np.r_[np.full(10, 1.0), np.full(10, -0.9)]
    unsure = {gate.name: gate.passed for gate in monte_carlo_gates(entries(noise), rule)}
    assert unsure["monte_carlo_mean"] is True
    assert unsure["monte_carlo_p_value"] is False
