"""Runs (trial, window) units over processes; what comes out does not depend on their order.

A unit is ready when nothing that it depends on is missing: the first ``min_windows`` of a
trial at once, each later one when all before it are done and have not pruned the trial. With
pruning off, all are ready at once.
"""

from __future__ import annotations

import heapq
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd

from strategy.config import Config, Pruning
from strategy.windows import Window
from training.trial import Trial, is_hopeless
from training.walk_forward import PreparedMarket, TrialParameters, WindowResult

TRIALS_SIDE_BY_SIDE = 4

_market: PreparedMarket
"""The worker process's own copy, prepared once."""

Evaluate = Callable[[TrialParameters, Window], WindowResult]


@contextmanager
def worker_pool(
    jobs: int, candles: pd.DataFrame, timeframe: str, config: Config
) -> Iterator[Executor]:
    """Processes that evaluate windows of one market.

    They are spawned, not forked (LightGBM's OpenMP threads do not survive a fork), and leave
    Ctrl-C to the parent, which drops what waits and lets them finish the window in hand.
    """
    executor = ProcessPoolExecutor(
        max_workers=jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare_worker,
        initargs=(candles, timeframe, config),
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def evaluate_in_worker(parameters: TrialParameters, window: Window) -> WindowResult:
    """Evaluate a unit on the worker's own market."""
    started = time.perf_counter()
    result = _market.evaluate(parameters, window)
    return replace(result, seconds=time.perf_counter() - started)


def _prepare_worker(candles: pd.DataFrame, timeframe: str, config: Config) -> None:
    global _market
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _market = PreparedMarket(candles, timeframe, config)


def walk(
    parameters: Sequence[TrialParameters],
    windows: Sequence[Window],
    *,
    first_number: int,
    pruning: Pruning,
    executor: Executor,
    evaluate: Evaluate,
    in_flight: int,
    on_window: Callable[[int, TrialParameters, WindowResult], None],
    on_trial: Callable[[Trial], None],
) -> list[Trial]:
    """Walk trials through windows and return them in order.

    Parameters
    ----------
    windows
        In order of time.
    first_number
        Number of the first trial; the others count on from it.
    evaluate
        Called in the executor with (parameters, window).
    in_flight
        Units handed to the executor at a time: enough to keep it busy, few enough that
        little is lost when the search is interrupted.
    on_window, on_trial
        Called in this process as units and trials finish, in no fixed order.
    """
    progress = [_Progress(len(windows), pruning) for _ in parameters]
    ready = [
        _in_turn(trial, window)
        for trial in range(len(parameters))
        for window in progress[trial].start()
    ]
    heapq.heapify(ready)
    running: dict[Future[WindowResult], tuple[int, int]] = {}
    finished: dict[int, Trial] = {}
    while ready or running:
        while ready and len(running) < in_flight:
            _, window, trial = heapq.heappop(ready)
            future = executor.submit(evaluate, parameters[trial], windows[window])
            running[future] = trial, window
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            trial, window = running.pop(future)
            result = future.result()
            on_window(first_number + trial, parameters[trial], result)
            for successor in progress[trial].complete(window, result):
                heapq.heappush(ready, _in_turn(trial, successor))
            if progress[trial].finished:
                finished[trial] = Trial(
                    first_number + trial,
                    parameters[trial],
                    progress[trial].record(),
                    progress[trial].pruned,
                )
                on_trial(finished[trial])
    return [finished[trial] for trial in range(len(parameters))]


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
