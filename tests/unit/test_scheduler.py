"""The search must not depend on how many workers there are or on who finishes first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strategy.config import IndicatorParameters, LightGBMParameters, Pruning
from strategy.simulate import TRADE
from strategy.windows import Window
from training.scheduler import walk
from training.trial import Trial
from training.walk_forward import TrialParameters, WindowResult

MODEL = LightGBMParameters(learning_rate=0.05, num_leaves=20, min_data_in_leaf=50, n_estimators=100)
PRUNING = Pruning(enabled=True, min_windows=3, confidence=0.975)
TIME = pd.Timestamp("2024-01-01", tz="UTC")


def parameters(count: int) -> list[TrialParameters]:
    return [TrialParameters(IndicatorParameters(9, 26, 52, 14, 7 + i), MODEL) for i in range(count)]


def windows(count: int) -> list[Window]:
    return [Window(i + 1, 0, i, i + 1, TIME, TIME, TIME) for i in range(count)]


def result(window: Window, r: list[float]) -> WindowResult:
    trades = np.zeros(len(r), dtype=TRADE)
    trades["r"] = r
    return WindowResult(window.number, trades, (1, 1, 1), np.zeros((3, 3), np.int64), 1.0)


def losing_from(first_loss: dict[int, int]) -> Callable[[TrialParameters, Window], WindowResult]:
    """Trials (by ATR period) that win 0.1 R on average until a window, then lose heavily."""

    def evaluate(trial: TrialParameters, window: Window) -> WindowResult:
        loses = window.number >= first_loss.get(trial.indicators.atr_period, 10**6)
        base = -1.0 if loses else 0.1
        return result(window, [base - 0.05, base + 0.05] * 10)

    return evaluate


def _walk(
    executor: Executor,
    in_flight: int,
    trials: int = 6,
    numbers: Sequence[int] = (),
    **changes: Any,
) -> list[Trial]:
    settings: dict[str, Any] = {
        "pruning": PRUNING,
        "evaluate": losing_from({8: 1, 10: 4, 11: 5}),
        "on_window": lambda number, parameters, result: None,
        "on_trial": lambda trial: None,
    }
    numbered = dict(zip(numbers or range(trials), parameters(trials), strict=True))
    return walk(numbered, windows(8), executor=executor, in_flight=in_flight, **settings | changes)


def record(trials: list[Trial]) -> list[tuple[int, bool, int, tuple[float, ...]]]:
    return [(each.number, each.pruned, len(each.results), tuple(each.r)) for each in trials]


def slowly(
    evaluate: Callable[[TrialParameters, Window], WindowResult], seed: int
) -> Callable[[TrialParameters, Window], WindowResult]:
    """The same results after random waits, so that units finish out of order."""
    rng = np.random.default_rng(seed)
    waits = {
        (period, number): float(rng.uniform(0, 0.004))
        for period in range(7, 20)
        for number in range(1, 9)
    }

    def wait_then_evaluate(trial: TrialParameters, window: Window) -> WindowResult:
        time.sleep(waits[trial.indicators.atr_period, window.number])
        return evaluate(trial, window)

    return wait_then_evaluate


@pytest.mark.parametrize(("workers", "in_flight", "seed"), [(1, 1, 0), (2, 4, 1), (5, 17, 2)])
def test_any_number_of_workers_in_any_order_gives_the_same_trials(
    workers: int, in_flight: int, seed: int
) -> None:
    evaluate = losing_from({8: 1, 10: 4, 11: 5})
    with ThreadPoolExecutor(1) as alone:
        expected = record(_walk(alone, 1))
    with ThreadPoolExecutor(workers) as executor:
        walked = _walk(executor, in_flight, evaluate=slowly(evaluate, seed))
    assert record(walked) == expected


def test_a_hopeless_trial_stops_after_the_windows_that_rule_it_out() -> None:
    with ThreadPoolExecutor(2) as executor:
        trials = _walk(executor, 4)
    # Trial 1 loses from the start and goes after min_windows = 3. Trials 3 and 4 lose from
    # windows 4 and 5 on: means (3 * 0.1 - 1) / 4 = -0.175 and (4 * 0.1 - 1) / 5 = -0.12 R,
    # standard errors 0.054 and 0.044 R, so bounds of -0.07 and -0.03 R: out at once.
    assert [(trial.pruned, len(trial.results)) for trial in trials] == [
        (False, 8), (True, 3), (False, 8), (True, 4), (True, 5), (False, 8),
    ]  # fmt: skip


def test_without_pruning_every_trial_is_walked_to_the_end() -> None:
    off = Pruning(enabled=False, min_windows=3, confidence=0.975)
    with ThreadPoolExecutor(2) as executor:
        trials = _walk(executor, 4, pruning=off)
    assert [(trial.pruned, len(trial.results)) for trial in trials] == [(False, 8)] * 6


def test_each_unit_is_evaluated_once_and_reported_once() -> None:
    evaluated: list[tuple[int, int]] = []
    reported: list[tuple[int, int]] = []
    evaluate = losing_from({8: 1})

    def counting(trial: TrialParameters, window: Window) -> WindowResult:
        evaluated.append((trial.indicators.atr_period - 7, window.number))
        return evaluate(trial, window)

    with ThreadPoolExecutor(3) as executor:
        _walk(
            executor,
            6,
            evaluate=counting,
            on_window=lambda number, parameters, result: reported.append((number, result.window)),
        )
    expected = [(0, 8), (1, 3), (2, 8), (3, 8), (4, 8), (5, 8)]
    units = sorted((trial, n) for trial, count in expected for n in range(1, count + 1))
    assert sorted(evaluated) == units
    assert sorted(reported) == units


def test_trials_keep_the_numbers_that_they_were_given() -> None:
    finished: list[int] = []
    with ThreadPoolExecutor(2) as executor:
        trials = _walk(
            executor, 4, trials=2, numbers=[3, 40], on_trial=lambda t: finished.append(t.number)
        )
    assert [trial.number for trial in trials] == [3, 40]
    assert sorted(finished) == [3, 40]


@pytest.mark.parametrize("left", range(0, 44, 4))
def test_what_is_recalled_is_not_evaluated_and_changes_nothing(left: int) -> None:
    """After an interruption at any point: the search ends as if it had not been interrupted."""
    evaluate = losing_from({8: 1, 10: 4, 11: 5})
    kept: dict[tuple[TrialParameters, int], WindowResult] = {}

    def keeping(trial: TrialParameters, window: Window) -> WindowResult:
        kept[trial, window.number] = evaluate(trial, window)
        return kept[trial, window.number]

    with ThreadPoolExecutor(1) as alone:
        expected = record(_walk(alone, 1, evaluate=keeping))
    recalled = dict(list(kept.items())[:left])
    evaluated: list[tuple[TrialParameters, int]] = []

    def counting(trial: TrialParameters, window: Window) -> WindowResult:
        evaluated.append((trial, window.number))
        return evaluate(trial, window)

    with ThreadPoolExecutor(2) as executor:
        resumed = _walk(
            executor, 4, evaluate=counting, recall=lambda trial, w: recalled.get((trial, w.number))
        )
    assert record(resumed) == expected
    assert sorted(evaluated, key=str) == sorted(kept.keys() - recalled.keys(), key=str)


def test_an_error_in_a_unit_reaches_the_caller() -> None:
    def fails(trial: TrialParameters, window: Window) -> WindowResult:
        raise ValueError("window 1 of trial 0")

    with ThreadPoolExecutor(2) as executor, pytest.raises(ValueError, match="window 1"):
        _walk(executor, 4, evaluate=fails)


def test_a_few_trials_advance_side_by_side_so_that_none_is_left_to_one_process() -> None:
    order: list[tuple[int, int]] = []

    def noting(trial: TrialParameters, window: Window) -> WindowResult:
        order.append((trial.indicators.atr_period - 7, window.number))
        return result(window, [0.05, 0.15] * 10)

    with ThreadPoolExecutor(1) as executor:
        _walk(executor, 1, trials=6, evaluate=noting)
    together = [(trial, window) for window in range(1, 9) for trial in range(4)]
    rest = [(trial, window) for window in range(1, 9) for trial in (4, 5)]
    assert order == together + rest
