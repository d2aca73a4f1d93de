"""Peak memory of a worker process that has seen the whole grid and trains the largest model.

python -m benchmarks.peak_memory [--candles PATH]

That is the most that a campaign can ask of one: features of all combinations kept, then a fit
at the upper end of every range in config.json.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

from benchmarks._common import TIMEFRAME, load_market, show
from strategy.config import LightGBMParameters
from strategy.windows import walk_forward_windows
from training.scheduler import evaluate_in_worker, worker_pool
from training.walk_forward import TrialParameters

BOUND = 1.5
SMALLEST = LightGBMParameters(
    learning_rate=0.1, num_leaves=2, min_data_in_leaf=1000, n_estimators=1
)
"""Enough to have a combination's features computed."""


def peak_gigabytes() -> float:
    """Largest resident set of this process so far; 1 GB is 1e9 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of Linux counts what the parent held when it started us
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert found
        return int(found[1]) * 1024 / 1e9
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9


def main() -> None:
    candles, config = load_market(__doc__, "1 minute")
    space = config.model_hyperparameters.LightGBM
    largest = LightGBMParameters(
        learning_rate=space.learning_rate.min,
        num_leaves=space.num_leaves.max,
        min_data_in_leaf=space.min_data_in_leaf.min,
        n_estimators=space.n_estimators.max,
    )
    window = walk_forward_windows(candles.index, TIMEFRAME, config.walk_forward_config)[-1]
    combinations = list(config.indicator_parameters.combinations())
    with worker_pool(1, candles, TIMEFRAME, config) as worker:
        started = worker.submit(peak_gigabytes).result()
        for combination in combinations:
            smallest = TrialParameters(combination, SMALLEST)
            worker.submit(evaluate_in_worker, smallest, window).result()
        grid = worker.submit(peak_gigabytes).result()
        slowest = TrialParameters(combinations[0], largest)
        worker.submit(evaluate_in_worker, slowest, window).result()
        peak = worker.submit(peak_gigabytes).result()
    print("peak resident memory of one worker, GB:")
    show("started, market prepared", f"{started:.2f}")
    show(f"after the features of {len(combinations)} combinations", f"{grid:.2f}")
    model = f"{largest.num_leaves} leaves, {largest.n_estimators} rounds"
    show(f"after the largest model, {model}", f"{peak:.2f}", f"<= {BOUND}", peak <= BOUND)


if __name__ == "__main__":
    main()
