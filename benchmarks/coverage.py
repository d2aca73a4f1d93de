"""What it costs to cover all indicator combinations, here and in FreqAI, and how good it is.

python -m benchmarks.coverage [--candles PATH]

FreqAI is not installed. Its cost is bounded from below by the LightGBM fits that it cannot
avoid (every window of a combination, one after the other, on all cores, in LightGBM's defaults
but for rounds and leaves), times 1.10: its own walk measured 1.10 beside its own bare fits.
Both are measured on a seeded sample of combinations and extrapolated to the whole grid.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from benchmarks._common import TIMEFRAME, load_market, show, start_workers
from strategy.config import Config
from strategy.signal import CLASSES
from strategy.windows import Window
from training.scheduler import evaluate_in_worker, walk, worker_pool
from training.search import coverage
from training.trial import Trial, is_hopeless
from training.walk_forward import PreparedMarket, TrialParameters

CORES = 2
SAMPLE = 6
PEER_SAMPLE = 3
"""So many of the sample in FreqAI's way, which takes ten times as long."""
ONE_THREAD_WINDOWS = 4
FINE_BINS = 255
"""LightGBM's default."""
FREQAI = {"num_leaves": 60, "verbosity": -1, "objective": "multiclass", "num_class": len(CLASSES)}
FREQAI_ROUNDS = 275
FREQAI_OVERHEAD = 1.10
FREQAI_SECONDS = 95

Floats = NDArray[np.float64]


class Walked(NamedTuple):
    trials: list[Trial]
    seconds: float
    """Wall time of them all."""

    @property
    def log_loss(self) -> Floats:
        """Out of sample, shape (trials, windows)."""
        return np.array([[each.log_loss for each in trial.results] for trial in self.trials])


def walked(
    market: PreparedMarket,
    config: Config,
    windows: Sequence[Window],
    sample: Sequence[TrialParameters],
) -> Walked:
    """Walk the sample to the end as a campaign does, in a process a core; nothing is logged."""
    with worker_pool(CORES, market.candles, TIMEFRAME, config) as executor:
        start_workers(executor, CORES, sample[-1], windows[0])
        start = time.perf_counter()
        trials = walk(
            dict(enumerate(sample)),
            windows,
            pruning=config.search.pruning.model_copy(update={"enabled": False}),
            executor=executor,
            evaluate=evaluate_in_worker,
            in_flight=2 * CORES,
            on_window=lambda *_: None,
            on_trial=lambda _: None,
        )
        return Walked(trials, time.perf_counter() - start)


def freqai(
    market: PreparedMarket, parameters: TrialParameters, window: Window, threads: int
) -> tuple[float, float]:
    """Seconds of LightGBM in FreqAI's way, and its log loss out of sample."""
    features, labels = market.training_set(
        parameters.indicators, window.train_start, window.train_end
    )
    bars = slice(window.train_end, window.validation_end)
    matrix, usable = market.features(parameters.indicators)
    validation = matrix[bars][usable[bars]]
    start = time.perf_counter()
    data = lgb.Dataset(features, label=labels.astype(np.float32) - CLASSES[0])
    booster = lgb.train(FREQAI | {"num_threads": threads}, data, FREQAI_ROUNDS)
    predicted = booster.predict(validation, num_threads=threads)
    seconds = time.perf_counter() - start
    probabilities = np.full((bars.stop - bars.start, len(CLASSES)), np.nan)
    probabilities[usable[bars]] = predicted
    return seconds, market.validate(parameters, window, probabilities).log_loss


def show_difference(name: str, ours: Floats, theirs: Floats) -> None:
    """Shape (combinations, windows). Windows are the sample: combinations share their candles."""
    differences = (ours - theirs).mean(axis=0)
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))
    show(name, f"{mean:+.4f} ± {error:.4f}", "<= 2 s.e.", bool(mean <= 2 * error))


def show_ratio(name: str, ratio: float) -> None:
    show(name, f"{ratio:.3f}", "<= 0.200", ratio <= 0.2)


def hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h"


def windows_until_pruned(trial: Trial, config: Config) -> int:
    """Of the ranking windows, how many coverage would have walked."""
    ranking = trial.results[: -config.selection.confirmation_windows]
    pruning = config.search.pruning
    hopeless = (n for n in range(1, len(ranking)) if is_hopeless(ranking[:n], pruning))
    return next(hopeless, len(ranking))


def main() -> None:
    candles, config = load_market(__doc__, "4 minutes")
    market = PreparedMarket(candles, TIMEFRAME, config)
    windows = market.windows
    sample = coverage(config)[:SAMPLE]
    max_bin = config.model_hyperparameters.max_bin
    hyperparameters = config.model_hyperparameters.model_copy(update={"max_bin": FINE_BINS})
    finer = config.model_copy(update={"model_hyperparameters": hyperparameters})
    market.evaluate(sample[0], windows[0])  # leaves the machine code for the workers
    ours = walked(market, config, windows, sample)
    fine = walked(market, finer, windows, sample)
    peer = np.array(
        [
            [freqai(market, parameters, window, CORES) for window in windows]
            for parameters in sample[:PEER_SAMPLE]
        ]
    )
    alone = [freqai(market, sample[0], window, 1)[0] for window in windows[:ONE_THREAD_WINDOWS]]

    combinations = config.indicator_parameters.size
    bare = peer[..., 0].sum(axis=1).mean()
    theirs = FREQAI_OVERHEAD * bare
    here = ours.seconds / SAMPLE
    walked_windows = np.mean([windows_until_pruned(trial, config) for trial in ours.trials])
    pruned = here * walked_windows / len(windows)
    slower = sum(alone) / peer[0, :ONE_THREAD_WINDOWS, 0].sum()
    print(f"{combinations} combinations on {CORES} cores, extrapolated from {SAMPLE} of them:")
    show(f"FreqAI, {len(windows)} windows: fits x {FREQAI_OVERHEAD}", hours(combinations * theirs))
    show(
        f"  a combination (walked by FreqAI itself elsewhere: {FREQAI_SECONDS} s)",
        f"{theirs:.1f} s",
    )
    show(f"  one of its fits: with 1 thread over with {CORES}", f"{slower:.2f}")
    show(f"here, {len(windows)} windows, nothing pruned", hours(combinations * here))
    show_ratio("  over FreqAI", here / theirs)
    show(f"here, pruned: {walked_windows:.1f} windows on average", hours(combinations * pruned))
    show_ratio("  over FreqAI", pruned / theirs)

    print(f"log loss out of sample, nats, over {len(windows)} windows ± 1 standard error:")
    show("here", f"{ours.log_loss[:PEER_SAMPLE].mean():.4f}")
    show("FreqAI's settings", f"{peer[..., 1].mean():.4f}")
    show_difference("  here less FreqAI", ours.log_loss[:PEER_SAMPLE], peer[..., 1])
    show(f"max_bin {FINE_BINS} instead of {max_bin}, else as here", f"{fine.log_loss.mean():.4f}")
    show_difference(f"  {max_bin} less {FINE_BINS} bins", ours.log_loss, fine.log_loss)
    show(f"  wall time, {max_bin} over {FINE_BINS} bins", f"{ours.seconds / fine.seconds:.2f}")


if __name__ == "__main__":
    main()
