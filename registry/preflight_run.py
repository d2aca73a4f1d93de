"""The run of a preflight over a grid of exit rules: its figures and files, on no campaign."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from registry.connection import translated
from registry.runs import RUN_KIND
from registry.tracking import CandleSource, Clock, Metrics, Values, dataset_input


def log_preflight(
    client: MlflowClient,
    experiment_id: str,
    *,
    name: str,
    params: Values,
    metrics: Metrics,
    candles: CandleSource,
    files: Sequence[Path],
    clock: Clock,
) -> str:
    """Log a preflight, whole, and return its run's id; every call makes a run of its own.

    Raises
    ------
    StoreError, RetryError
        As :func:`registry.connection.translated` says.
    """
    with translated(client):
        now = clock()
        run = client.create_run(experiment_id, start_time=now, run_name=name)
        run_id: str = run.info.run_id
        client.log_inputs(run_id, datasets=[dataset_input(candles)])
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
            tags=[RunTag(RUN_KIND, "preflight")],
        )
        for file in files:
            client.log_artifact(run_id, str(file))
        client.set_terminated(run_id, "FINISHED", end_time=clock())
    return run_id
