"""Searches for a strategy: coverage, then refinement, over the ranking windows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from strategy.config import Config, Selection
from strategy.errors import ConfigError
from strategy.windows import Window
from training.scheduler import Evaluate, walk
from training.search import coverage, next_generation
from training.trial import Trial
from training.walk_forward import TrialParameters, WindowResult


class Listener(Protocol):
    """Hears of results as they come, in no fixed order."""

    def window_done(
        self, number: int, parameters: TrialParameters, result: WindowResult
    ) -> None: ...

    def trial_done(self, trial: Trial) -> None: ...


@dataclass(frozen=True)
class Workforce:
    """Where units are evaluated."""

    executor: Executor
    evaluate: Evaluate
    in_flight: int
    """Units handed over at a time: enough to keep every process busy."""


def split_windows(
    windows: Sequence[Window], selection: Selection
) -> tuple[Sequence[Window], Sequence[Window]]:
    """Ranking windows, and the newest ones that are hidden from the ranking.

    Raises
    ------
    ConfigError
        If no window would be left to rank by.
    """
    hidden = selection.confirmation_windows
    if hidden >= len(windows):
        raise ConfigError(
            f"selection.confirmation_windows = {hidden} leaves none of the {len(windows)} "
            "walk-forward windows to rank by: lower it, or give a longer history"
        )
    return windows[:-hidden], windows[-hidden:]


def discover(
    windows: Sequence[Window], config: Config, workforce: Workforce, listener: Listener
) -> list[Trial]:
    """Walk ``search.max_trials`` trials through the windows: the same ones in every run.

    Parameters
    ----------
    windows
        The ranking windows, in order of time.

    Returns
    -------
    The trials in order of their numbers.
    """
    trials = _walk(coverage(config), 0, windows, config, workforce, listener)
    generation = 0
    while len(trials) < config.search.max_trials:
        size = min(config.search.generation_size, config.search.max_trials - len(trials))
        asked = next_generation(trials, generation, size, config)
        trials += _walk(asked, len(trials), windows, config, workforce, listener)
        generation += 1
    return trials


def confirm(
    trial: Trial, windows: Sequence[Window], workforce: Workforce, listener: Listener
) -> tuple[WindowResult, ...]:
    """Evaluate the one winner on the windows that the ranking has not seen."""
    futures = [
        workforce.executor.submit(workforce.evaluate, trial.parameters, window)
        for window in windows
    ]
    results = tuple(future.result() for future in futures)
    for result in results:
        listener.window_done(trial.number, trial.parameters, result)
    return results


def _walk(
    parameters: Sequence[TrialParameters],
    first_number: int,
    windows: Sequence[Window],
    config: Config,
    workforce: Workforce,
    listener: Listener,
) -> list[Trial]:
    return walk(
        parameters,
        windows,
        first_number=first_number,
        pruning=config.search.pruning,
        executor=workforce.executor,
        evaluate=workforce.evaluate,
        in_flight=workforce.in_flight,
        on_window=listener.window_done,
        on_trial=listener.trial_done,
    )
