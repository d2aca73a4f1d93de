"""Searches for a strategy: coverage, then refinement, over the ranking windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from strategy.config import Config, Selection
from strategy.errors import ConfigError
from strategy.windows import Window
from training.scheduler import Evaluate, Recall, fit_in_worker, recall_nothing, walk
from training.search import coverage, next_generation
from training.trial import Trial
from training.walk_forward import TrialParameters, WindowResult


class Part(NamedTuple):
    """Which share of the coverage one of several jobs walks."""

    number: int
    """From 1."""
    parts: int


WHOLE = Part(1, 1)


class Listener(Protocol):
    """Hears of results as they come, in no fixed order."""

    def window_done(
        self, number: int, parameters: TrialParameters, result: WindowResult
    ) -> None: ...

    def trial_done(self, trial: Trial) -> None: ...


class Several:
    """A listener that tells others, in order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def window_done(self, number: int, parameters: TrialParameters, result: WindowResult) -> None:
        for listener in self._listeners:
            listener.window_done(number, parameters, result)

    def trial_done(self, trial: Trial) -> None:
        for listener in self._listeners:
            listener.trial_done(trial)


@dataclass(frozen=True)
class Workforce:
    """Where units are evaluated."""

    executor: Executor
    evaluate: Evaluate
    in_flight: int
    """Units handed over at a time: enough to keep every process busy."""
    recall: Recall = recall_nothing
    """Gives the results that an earlier run of this campaign, or another shard, has left."""


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
    trials = _walk(dict(enumerate(coverage(config))), windows, config, workforce, listener)
    generation = 0
    while len(trials) < config.search.max_trials:
        size = min(config.search.generation_size, config.search.max_trials - len(trials))
        asked = next_generation(trials, generation, size, config)
        numbered = dict(enumerate(asked, start=len(trials)))
        trials += _walk(numbered, windows, config, workforce, listener)
        generation += 1
    return trials


def cover(
    part: Part, windows: Sequence[Window], config: Config, workforce: Workforce, listener: Listener
) -> list[Trial]:
    """Walk one part of the coverage; :func:`discover` then finds its results by recall."""
    numbered = dict(list(enumerate(coverage(config)))[part.number - 1 :: part.parts])
    return _walk(numbered, windows, config, workforce, listener)


def confirm(
    trial: Trial, windows: Sequence[Window], workforce: Workforce, listener: Listener
) -> tuple[WindowResult, ...]:
    """Evaluate the one winner on the windows that the ranking has not seen."""
    known = [workforce.recall(trial.parameters, window) for window in windows]
    futures = {
        window: workforce.executor.submit(workforce.evaluate, trial.parameters, window)
        for window, result in zip(windows, known, strict=True)
        if result is None
    }
    results = tuple(
        futures[window].result() if result is None else result
        for window, result in zip(windows, known, strict=True)
    )
    for result in results:
        listener.window_done(trial.number, trial.parameters, result)
    return results


def train_again(
    parameters: TrialParameters,
    windows: Sequence[Window],
    executor: Executor,
    kept: Callable[[TrialParameters, Window], str | None],
) -> list[str]:
    """The models of one trial's windows, as LightGBM writes them, in order.

    Results are kept without their models, which would be gigabytes; those of the one trial that
    may be registered are trained again from the seed.
    """
    texts = [kept(parameters, window) for window in windows]
    futures = {
        window: executor.submit(fit_in_worker, parameters, window)
        for window, text in zip(windows, texts, strict=True)
        if text is None
    }
    return [
        futures[window].result() if text is None else text
        for window, text in zip(windows, texts, strict=True)
    ]


def _walk(
    trials: Mapping[int, TrialParameters],
    windows: Sequence[Window],
    config: Config,
    workforce: Workforce,
    listener: Listener,
) -> list[Trial]:
    return walk(
        trials,
        windows,
        pruning=config.search.pruning,
        executor=workforce.executor,
        evaluate=workforce.evaluate,
        recall=workforce.recall,
        in_flight=workforce.in_flight,
        on_window=listener.window_done,
        on_trial=listener.trial_done,
    )
