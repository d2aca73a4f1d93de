"""What checkpoints and the job's record cost, of a campaign's time.

python -m benchmarks.checkpoints [--candles PATH]

Units of coverage, which are the shortest, are evaluated one after the other; after each the
result is kept in a folder and the job's record, from time to time, is written to SQLite. In a
campaign the first is the worker's work and the second the parent's, beside the workers'; here
both count in full against one worker's time.
"""

from __future__ import annotations

import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks._common import TIMEFRAME, load_market, show
from store.checkpoints import Origin, checkpoints_at
from store.clock import utc_now
from store.job_records import JobRecord
from store.state import open_state
from training.checkpointing import NOTHING_RECALLED, WindowCheckpoints
from training.discovery import split_windows
from training.job_progress import JobProgress
from training.search import coverage
from training.walk_forward import PreparedMarket

TRIALS = 3


def main() -> None:
    candles, config = load_market(__doc__, "1 minute")
    market = PreparedMarket(candles, TIMEFRAME, config)
    windows, _ = split_windows(market.windows, config.selection)
    units = list(product(coverage(config)[:TRIALS], windows))
    market.evaluate(*units[0])
    seconds = np.zeros((len(units), 3))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        origin = Origin("benchmark", "0" * 64, "0" * 64, "0" * 64)
        kept = WindowCheckpoints(checkpoints_at(str(folder / "checkpoints"), origin))
        state = open_state(f"sqlite:///{folder}/state.db")
        job = JobRecord(state, "benchmark", 1, 1, utc_now)
        job.begin()
        progress = JobProgress(job, NOTHING_RECALLED)
        for number, (parameters, window) in enumerate(units):
            start = time.perf_counter()
            result = market.evaluate(parameters, window)
            evaluated = time.perf_counter()
            result = kept.keep(parameters, result)
            written = time.perf_counter()
            progress.window_done(number, parameters, result)
            seconds[number] = np.diff([start, evaluated, written, time.perf_counter()])
        start = time.perf_counter()
        recalled = kept.recall()
        reading = (time.perf_counter() - start) / len(recalled.results)
    evaluating, keeping, recording = 1000 * seconds.mean(axis=0)
    print(f"{len(units)} units, ms each:")
    show("evaluated", f"{evaluating:.0f}")
    show("checkpoint written", f"{keeping:.2f}")
    show("job's record written", f"{recording:.2f}")
    show("checkpoint recalled, when a campaign goes on", f"{1000 * reading:.2f}")
    share = (keeping + recording) / evaluating
    show("checkpoints and record, of a unit's time", f"{share:.2%}", "<= 0.5 %", share <= 0.005)


if __name__ == "__main__":
    main()
