"""The run of a retrain in MLflow: one for each version and end of its candles.

Its key follows from what is retrained on what. So a call that comes again finds what an earlier
one has finished, and goes on in the run that an interrupted one has left.
"""

from __future__ import annotations

import math

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from registry.connection import translated
from registry.lifecycle import STRATEGY_ID
from registry.runs import REASON, RUN_KEY, RUN_KIND, RunKind, logged_points, search
from registry.tracking import CandleSource, Clock, Metrics, Status, Values, dataset_input

KIND: RunKind = "retrain"
RETRAIN_OF = "retrain_of"
"""Tag of the run and of the version that it registers: the number of the version retrained."""
UNTIL = "until"
"""Tag of the run: when the candles end."""


class RetrainRun:
    """One retrain's run; every method raises StoreError or RetryError as
    :func:`registry.connection.translated` says.
    """

    def __init__(self, client: MlflowClient, run: Run, clock: Clock) -> None:
        self._client = client
        self._run = run
        self._clock = clock
        self.run_id: str = run.info.run_id
        self.tags: dict[str, str] = dict(run.data.tags)
        self.is_finished: bool = run.info.status == "FINISHED"
        """Whether the retrain came to its end, admitted or not."""

    @property
    def key(self) -> str:
        """Its place among all runs, for example ``<strategy id>/retrain-of-3-<end>``."""
        return self.tags[RUN_KEY]

    def log(self, *, metrics: Metrics, tags: Values) -> None:
        """Add to the run; a metric keeps its first value, and one that is not finite stays out."""
        logged = {name for name, _ in logged_points(self._client, self._run)}
        at = self._run.info.start_time  # so that a repeated batch falls on the same rows
        fresh = [
            Metric(name, float(value), at, 0)
            for name, value in metrics.items()
            if math.isfinite(value) and name not in logged
        ]
        texts = {name: str(value) for name, value in tags.items()}
        with translated(self._client):
            self._client.log_batch(
                self.run_id, metrics=fresh, tags=[RunTag(*tag) for tag in texts.items()]
            )
        self.tags |= texts

    def finish(self, status: Status, reason: str) -> None:
        """End the run, saying why."""
        self.log(metrics={}, tags={REASON: reason})
        with translated(self._client):
            self._client.set_terminated(self.run_id, status, end_time=self._clock())
        self.is_finished = status == "FINISHED"


def origin(client: MlflowClient, run_id: str, clock: Clock) -> tuple[str, RetrainRun | None]:
    """Where a version is from, by its run: the experiment's id, and the retrain if it was one."""
    with translated(client):
        run = client.get_run(run_id)
    is_retrain = run.data.tags.get(RUN_KIND) == KIND
    return str(run.info.experiment_id), RetrainRun(client, run, clock) if is_retrain else None


def retrain_key(strategy_id: str, number: int, until: str) -> str:
    """What makes two retrains the same one."""
    return f"{strategy_id}/retrain-of-{number}-{until}"


def find_retrain(
    client: MlflowClient, experiment_id: str, key: str, clock: Clock
) -> RetrainRun | None:
    """The run of this key, if one was begun."""
    found = search(client, experiment_id, f"tags.{RUN_KEY} = '{key}'")
    return RetrainRun(client, found[-1], clock) if found else None


def begin_retrain(
    client: MlflowClient,
    experiment_id: str,
    key: str,
    *,
    name: str,
    params: Values,
    tags: Values,
    candles: CandleSource,
    clock: Clock,
) -> RetrainRun:
    """Begin the run of this key, or take it up. For one process at a time a strategy.

    Parameters
    ----------
    tags
        With the strategy's id: its other retrains that still run were killed, and are ended so.
    """
    for run in search(client, experiment_id, _running(str(tags[STRATEGY_ID]))):
        if run.data.tags[RUN_KEY] != key:
            RetrainRun(client, run, clock).finish("KILLED", f"given up for {key}")
    known = find_retrain(client, experiment_id, key, clock)
    texts = {each: str(value) for each, value in {**tags, RUN_KEY: key, RUN_KIND: KIND}.items()}
    with translated(client):
        if known is None:
            run = client.create_run(experiment_id, start_time=clock(), tags=texts, run_name=name)
            known = RetrainRun(client, run, clock)
        else:
            client.update_run(known.run_id, status="RUNNING")
        client.log_batch(
            known.run_id, params=[Param(each, str(value)) for each, value in params.items()]
        )
        client.log_inputs(known.run_id, datasets=[dataset_input(candles)])
    return known


def _running(strategy_id: str) -> str:
    return (
        f"tags.{RUN_KIND} = '{KIND}' and tags.{STRATEGY_ID} = '{strategy_id}' "
        "and attributes.status = 'RUNNING'"
    )
