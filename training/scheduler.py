"""Runs (trial, window) units over processes; what comes out does not depend on their order.

A unit is ready when nothing that it depends on is missing: the first ``min_windows`` of a
trial at once, each later one when all before it are done and have not pruned the trial. With
pruning off, all are ready at once.
"""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd

from strategy.config import Config, Pruning
from strategy.windows import Window
from training.checkpointing import WindowCheckpoints
from training.processes import process_pool
from training.trial import Trial, is_hopeless
from training.walk_forward import PreparedMarket, TrialParameters, WindowResult

TRIALS_SIDE_BY_SIDE = 4

_market: PreparedMarket
"""The worker process's own copy, prepared once."""
_checkpoints: WindowCheckpoints | None

Evaluate = Callable[[TrialParameters, Window], WindowResult]
Recall = Callable[[TrialParameters, Window], WindowResult | None]


@contextmanager
def worker_pool(
    jobs: int,
    candles: pd.DataFrame,
    timeframe: str,
    config: Config,
    checkpoints: WindowCheckpoints | None = None,
) -> Iterator[Executor]:
    """Processes that evaluate windows of one market (:func:`training.processes.process_pool`).

    Parameters
    ----------
    checkpoints
        Where a worker keeps each result before it takes the next unit, so that an interruption
        never costs more than one unit a worker; without it nothing is kept.

    Raises
    ------
    RetryError
        A worker process died, as when the machine runs out of memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Handed over in the processes' own start, candles would make each wait for the one before.
        path = Path(folder) / "candles"
        candles.to_pickle(path)
        with process_pool(jobs, _prepare_worker, path, timeframe, config, checkpoints) as executor:
            yield executor


def evaluate_in_worker(parameters: TrialParameters, window: Window) -> WindowResult:
    """Evaluate a unit on the worker's own market, and keep the result."""
    started = time.perf_counter()
    result = _market.evaluate(parameters, window)
    result = replace(result, seconds=time.perf_counter() - started)
    return _checkpoints.keep(parameters, result) if _checkpoints else result


def fit_in_worker(parameters: TrialParameters, window: Window) -> str:
    """Train a window's model once more and keep it; returns it as LightGBM writes it."""
    booster = _market.fit(parameters, window.train_start, window.train_end)
    text: str = booster.model_to_string()
    if _checkpoints:
        _checkpoints.keep_booster(parameters, window, text)
    return text


def _prepare_worker(
    candles: Path, timeframe: str, config: Config, checkpoints: WindowCheckpoints | None
) -> None:
    global _market, _checkpoints
    _market = PreparedMarket(pd.read_pickle(candles), timeframe, config)
    _checkpoints = checkpoints


def recall_nothing(parameters: TrialParameters, window: Window) -> None:
    """A :data:`Recall` of a search that begins from nothing."""


def walk(
    trials: Mapping[int, TrialParameters],
    windows: Sequence[Window],
    *,
    pruning: Pruning,
    executor: Executor,
    evaluate: Evaluate,
    recall: Recall = recall_nothing,
    in_flight: int,
    on_window: Callable[[int, TrialParameters, WindowResult], None],
    on_trial: Callable[[Trial], None],
) -> list[Trial]:
    """Walk trials through windows and return them in order.

    Parameters
    ----------
    trials
        By their numbers.
    windows
        In order of time.
    evaluate
        Called in the executor with (parameters, window).
    recall
        Called in this process with the same; what it returns need not be evaluated.
    in_flight
        Units handed to the executor at a time: enough to keep it busy, few enough that
        little is lost when the search is interrupted.
    on_window, on_trial
        Called in this process as units and trials finish, in no fixed order.
    """
    numbers = list(trials)
    progress = [_Progress(len(windows), pruning) for _ in numbers]
    ready = [
        _in_turn(trial, window)
        for trial in range(len(numbers))
        for window in progress[trial].start()
    ]
    heapq.heapify(ready)
    running: dict[Future[WindowResult], tuple[int, int]] = {}
    finished: dict[int, Trial] = {}

    def take(trial: int, window: int, result: WindowResult) -> None:
        number = numbers[trial]
        on_window(number, trials[number], result)
        for successor in progress[trial].complete(window, result):
            heapq.heappush(ready, _in_turn(trial, successor))
        if progress[trial].finished:
            record, pruned = progress[trial].record(), progress[trial].pruned
            finished[trial] = Trial(number, trials[number], record, pruned)
            on_trial(finished[trial])

    while ready or running:
        while ready and len(running) < in_flight:
            _, window, trial = heapq.heappop(ready)
            unit = trials[numbers[trial]], windows[window]
            known = recall(*unit)
            if known is None:
                running[executor.submit(evaluate, *unit)] = trial, window
            else:
                take(trial, window, known)
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            take(*running.pop(future), future.result())
    return [finished[trial] for trial in range(len(numbers))]


def _in_turn(trial: int, window: int) -> tuple[int, int, int]:
    """Order in which ready units are handed out: a few trials advance side by side.

    One trial after the other would leave the last one's windows, which wait for each other,
    to a single process while the rest idle; all trials at once would outgrow the features
    that a worker keeps.
    """
    return trial // TRIALS_SIDE_BY_SIDE, window, trial


class _Progress:
    """Which windows of one trial are done, and which may be started next."""

    def __init__(self, n_windows: int, pruning: Pruning) -> None:
        self._n_windows = n_windows
        self._pruning = pruning
        self._results: dict[int, WindowResult] = {}
        self._started = 0
        self._judged = 0
        self.pruned = False

    def start(self) -> range:
        """Windows that may be started at once."""
        free = min(self._pruning.min_windows, self._n_windows)
        self._started = free if self._pruning.enabled else self._n_windows
        return range(self._started)

    def complete(self, window: int, result: WindowResult) -> range:
        """Take a window's result; return the windows that it makes ready."""
        self._results[window] = result
        while self._judged in self._results and not self.pruned:
            self._judged += 1
            self.pruned = is_hopeless(self.record(), self._pruning)
        if self.pruned or self._judged < self._started or self._started == self._n_windows:
            return range(0)
        self._started += 1
        return range(self._started - 1, self._started)

    @property
    def finished(self) -> bool:
        return len(self._results) == self._started and (
            self.pruned or self._judged == self._n_windows
        )

    def record(self) -> tuple[WindowResult, ...]:
        """Results of the windows judged so far, in order of time."""
        return tuple(self._results[window] for window in range(self._judged))
