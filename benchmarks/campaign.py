"""A campaign's wall time x workers over the bare LightGBM time of the same fits.

python -m benchmarks.campaign [--candles PATH]

Inside the campaign's time, from the first unit handed out to the last one logged: features,
labels, purge, fit, prediction, simulation, pickling, scheduling, progress bar and logging into
a SQLite store. Outside: starting the processes, the preflight and the judging of the winner.
Bare: binning, training and predicting, on arrays that lie ready in as many processes.

The trials are a campaign's in little: three of coverage to one of refinement, as config.json
shares them out, the latter in the middle of its ranges. Pruning is off and Optuna not asked, so
that the fits are known beforehand.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks._common import ASSET, MIDDLE, TIMEFRAME, load_market, show, start_workers
from registry.connection import connect, ensure_experiment, ensure_store
from registry.fitting import fit, predict
from registry.tracking import CandleSource, open_campaign
from store.clock import milliseconds, utc_now
from strategy.config import Config
from strategy.windows import Window
from training.campaign import UNITS_PER_JOB
from training.campaign_log import CampaignLog
from training.console import SearchProgress
from training.discovery import split_windows
from training.scheduler import evaluate_in_worker, walk, worker_pool
from training.search import coverage
from training.trial import Trial
from training.walk_forward import PreparedMarket, TrialParameters, WindowResult

JOBS = 2
COVERAGE_TRIALS = 3
ROUNDS = 3
"""Bare, campaign, bare, campaign, bare ...: whatever slows the machine slows both."""
TAGS = {"asset": ASSET, "timeframe": TIMEFRAME, "synthetic": "false", "git_commit": "0" * 40} | {
    f"{name}_digest": "0" * 64 for name in ("config", "data", "code")
}

Unit = tuple[TrialParameters, Window]


class Times(NamedTuple):
    """Seconds, summed over the processes that run side by side."""

    wall: float
    cpu: float


class CampaignTimes(NamedTuple):
    """Seconds of one campaign; the parent process works while the workers go on."""

    wall: float
    """Wall time x workers."""
    evaluating_cpu: float
    parent_cpu: float
    logging_cpu: float
    """Of the parent's."""
    logging_wall: float
    """The parent waits for its turn on the workers' cores, too."""


def clocks() -> Times:
    return Times(time.perf_counter(), time.process_time())


def since(start: Times) -> Times:
    now = clocks()
    return Times(now.wall - start.wall, now.cpu - start.cpu)


def total(times: Sequence[Times]) -> Times:
    return Times(*np.sum(times, axis=0))


def bare_worker(candles: pd.DataFrame, config: Config, units: Sequence[Unit]) -> Executor:
    """A process that has the arrays of its units ready."""
    context = multiprocessing.get_context("spawn")
    arguments = (candles, config, units)
    worker = ProcessPoolExecutor(1, context, initializer=prepare_bare, initargs=arguments)
    worker.submit(os.getpid).result()
    return worker


def prepare_bare(candles: pd.DataFrame, config: Config, units: Sequence[Unit]) -> None:
    global bare_fits
    market = PreparedMarket(candles, TIMEFRAME, config)
    settings = {
        "max_bin": config.model_hyperparameters.max_bin,
        "seed": config.monte_carlo_config.random_seed,
    }
    bare_fits = []
    for parameters, window in units:
        bars = slice(window.train_end, window.validation_end)
        matrix, usable = market.features(parameters.indicators)
        training = market.training_set(parameters.indicators, window.train_start, window.train_end)
        bare_fits.append(((*training, parameters.model), settings, matrix[bars][usable[bars]]))


def fit_bare() -> Times:
    start = clocks()
    for training, settings, validation in bare_fits:
        predict(fit(*training, **settings), validation)
    return since(start)


class TimedListener:
    """Passes on what it hears to the log and the progress bar; keeps CPU seconds."""

    def __init__(self, log: CampaignLog, progress: SearchProgress) -> None:
        self._log, self._progress = log, progress
        self.logging = self.logging_wall = self.evaluating = 0.0

    def window_done(self, number: int, parameters: TrialParameters, result: WindowResult) -> None:
        start = clocks()
        self._log.window_done(number, parameters, result)
        self._logged(start)
        self._progress.window_done(number, parameters, result)
        self.evaluating += result.seconds

    def trial_done(self, trial: Trial) -> None:
        start = clocks()
        self._log.trial_done(trial)
        self._logged(start)
        self._progress.trial_done(trial)

    def _logged(self, start: Times) -> None:
        spent = since(start)
        self.logging += spent.cpu
        self.logging_wall += spent.wall


def evaluate(parameters: TrialParameters, window: Window) -> WindowResult:
    """Evaluate a unit in a worker; its seconds are those of the CPU."""
    start = clocks()
    return replace(evaluate_in_worker(parameters, window), seconds=since(start).cpu)


def campaign(
    market: PreparedMarket, windows: Sequence[Window], trials: Sequence[TrialParameters]
) -> CampaignTimes:
    """Walk the trials as a campaign does, into a store of its own."""
    idle = coverage(market.config)[COVERAGE_TRIALS]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        uri = f"sqlite:///{folder}/mlflow.db"
        ensure_store(uri)
        client = connect(uri)
        tracker = open_campaign(
            client,
            ensure_experiment(client, "benchmark", Path(folder)),
            "benchmark",
            name="benchmark",
            params={},
            tags=TAGS,
            candles=CandleSource("candles", "0" * 64, "candles", "local"),
            clock=milliseconds(utc_now),
        )
        executor = stack.enter_context(worker_pool(JOBS, market.candles, TIMEFRAME, market.config))
        start_workers(executor, JOBS, idle, windows[0])
        progress = stack.enter_context(SearchProgress(len(trials), len(windows)))
        listener = TimedListener(CampaignLog(tracker, market, TAGS), progress)
        start = clocks()
        walk(
            dict(enumerate(trials)),
            windows,
            pruning=market.config.search.pruning.model_copy(update={"enabled": False}),
            executor=executor,
            evaluate=evaluate,
            in_flight=UNITS_PER_JOB * JOBS,
            on_window=listener.window_done,
            on_trial=listener.trial_done,
        )
        parent = since(start)
    return CampaignTimes(
        JOBS * parent.wall, listener.evaluating, parent.cpu, listener.logging, listener.logging_wall
    )


def main() -> None:
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    candles, config = load_market(__doc__, "5 minutes")
    market = PreparedMarket(candles, TIMEFRAME, config)
    windows, _ = split_windows(market.windows, config.selection)
    # The longest first: a campaign of hours has no worker waiting at its end.
    covered = coverage(config)[:COVERAGE_TRIALS]
    trials = [TrialParameters(covered[0].indicators, MIDDLE), *covered]
    units = [(parameters, window) for parameters in trials for window in windows]
    market.evaluate(trials[-1], windows[0])  # leaves the machine code for the workers
    workers = [bare_worker(candles, config, units[job::JOBS]) for job in range(JOBS)]

    def bare() -> Times:
        futures = [worker.submit(fit_bare) for worker in workers]
        return total([future.result() for future in futures])

    bares, campaigns = [bare()], []
    for _ in range(ROUNDS):
        campaigns.append(campaign(market, windows, trials))
        bares.append(bare())

    bare_fits = Times(*np.mean(bares, axis=0))
    done = CampaignTimes(*np.mean(campaigns, axis=0))
    ratios = [
        each.wall / np.mean([before.wall, after.wall])
        for each, (before, after) in zip(campaigns, pairwise(bares), strict=True)
    ]
    cpu = done.evaluating_cpu + done.parent_cpu
    each = 1000 / len(units)
    print(f"{len(trials)} trials x {len(windows)} windows, {JOBS} processes, ms a unit:")
    show("bare LightGBM", f"{each * bare_fits.wall:.0f}")
    show("campaign, wall x workers", f"{each * done.wall:.0f}")
    show("CPU time: bare LightGBM", f"{each * bare_fits.cpu:.0f}")
    show("  evaluated in the workers", f"{each * done.evaluating_cpu:.0f}")
    show("  logged by the parent process", f"{each * done.logging_cpu:.1f}")
    show("  all else in it", f"{each * (done.parent_cpu - done.logging_cpu):.1f}")
    ratio, error = np.mean(ratios), np.std(ratios, ddof=1) / np.sqrt(ROUNDS)
    show("campaign over bare", f"{ratio:.3f} ± {error:.3f}", "<= 1.05", ratio <= 1.05)
    show("  in CPU time, which other programs disturb less", f"{cpu / bare_fits.cpu:.3f}")
    share = JOBS * done.logging_wall / done.wall
    show("logging, of the campaign's wall time", f"{share:.1%}", "<= 3 %", share <= 0.03)
    show("  of its CPU time", f"{done.logging_cpu / cpu:.1%}")


if __name__ == "__main__":
    main()
