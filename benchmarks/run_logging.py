"""Time to log 1000 window runs to SQLite, beside the same calls made on a bare client.

Run as ``python -m benchmarks.run_logging``.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric

import registry  # noqa: F401  (before mlflow: it switches MLflow's telemetry off)
from registry.connection import connect, ensure_experiment, ensure_store
from registry.tracking import CampaignTracker, CandleSource, open_campaign

RUNS = 1000
WINDOWS = 16
METRICS = {f"metric_{number}": float(number) for number in range(12)}
TAGS = {"asset": "BTCUSDT", "timeframe": "1h", "validation_start": "2024-01-01"}
BLOCK = 50
"""Tracker and bare client take turns, so that a busy machine slows both alike."""


def main() -> None:
    clock = itertools.count(1_700_000_000_000, 10).__next__
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        bare_uri = f"sqlite:///{folder}/bare.db"
        tracker = _campaign(uri, Path(folder), clock)
        ensure_store(bare_uri)
        bare = connect(bare_uri)
        bare_experiment = bare.create_experiment("bare", artifact_location=folder)
        ours = theirs = 0.0
        for first in range(0, RUNS, BLOCK):
            numbers = range(first, first + BLOCK)
            started = time.perf_counter()
            for number in numbers:
                tracker.log_window(
                    number // WINDOWS,
                    number % WINDOWS,
                    metrics=METRICS,
                    tags=TAGS,
                    seconds=0.5,
                )
            between = time.perf_counter()
            for number in numbers:
                _bare_run(bare, bare_experiment, number, clock())
            ours += between - started
            theirs += time.perf_counter() - between
        started = time.perf_counter()
        _campaign(uri, Path(folder), clock)
        resume = time.perf_counter() - started
    print(f"{RUNS} window runs logged to SQLite in {ours:.1f} s (at most 35 s wanted)")
    print(f"bare create_run + log_batch + set_terminated, on a like store: {theirs:.1f} s")
    print(f"ratio {ours / theirs:.2f}; opening the campaign again, its runs found: {resume:.1f} s")


def _campaign(uri: str, folder: Path, clock: itertools.count[int]) -> CampaignTracker:
    ensure_store(uri)
    client = connect(uri)
    tracker = open_campaign(
        client,
        ensure_experiment(client, "benchmark", folder / "artifacts"),
        "benchmark",
        name="benchmark",
        params={},
        tags=TAGS,
        candles=CandleSource("candles", "0" * 64, "none", "synthetic"),
        clock=clock,
    )
    for trial in range(1 + RUNS // WINDOWS):
        tracker.open_trial(trial, params={}, tags={})
    return tracker


def _bare_run(client: MlflowClient, experiment: str, number: int, now: int) -> None:
    tags = {**TAGS, "run_key": f"{number}", "run_kind": "window", "campaign_id": "bare"}
    run_id = client.create_run(experiment, start_time=now, tags=tags).info.run_id
    client.log_batch(run_id, [Metric(key, value, now, 0) for key, value in METRICS.items()])
    client.set_terminated(run_id, end_time=now)


if __name__ == "__main__":
    main()
