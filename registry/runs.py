"""The run tree as it is read: tags that place a run, finding runs, and their files."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run as Run  # other packages name it from here

from registry.connection import translated
from strategy.errors import StoreError

RunKind = Literal["campaign", "trial", "window", "monte_carlo", "retrain"]

RUN_KEY, RUN_KIND, CAMPAIGN_ID, REASON = "run_key", "run_kind", "campaign_id", "reason"
PARENT = "mlflow.parentRunId"
_PAGE = 1000


def search(client: MlflowClient, experiment_id: str, condition: str) -> list[Run]:
    """All runs of an experiment that fit MLflow's filter string, newest first."""
    runs: list[Run] = []
    token: str | None = None
    with translated(client):
        while True:
            page = client.search_runs(
                [experiment_id], condition, max_results=_PAGE, page_token=token
            )
            runs.extend(page)
            token = page.token
            if not token:
                return runs


def logged_points(client: MlflowClient, run: Run) -> set[tuple[str, int]]:
    """The (metric, step) pairs that a run already holds."""
    with translated(client):
        return {
            (key, metric.step)
            for key in run.data.metrics
            for metric in client.get_metric_history(run.info.run_id, key)
        }


def campaign_ids(client: MlflowClient, experiment_name: str) -> list[str]:
    """Ids of all campaigns of an experiment, unfinished ones too, newest first."""
    with translated(client):
        experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        return []
    runs = search(client, experiment.experiment_id, f"tags.{RUN_KIND} = 'campaign'")
    return [str(run.data.tags[CAMPAIGN_ID]) for run in runs]


def find_campaign(client: MlflowClient, experiment_name: str, reference: str) -> Run:
    """Find a finished campaign's run, for example to run a Monte Carlo on it later.

    Parameters
    ----------
    reference
        Campaign id, run id, name of the run, or ``latest``; the newest one that fits is taken.

    Raises
    ------
    StoreError
        No such experiment or campaign; names the newest that there are.
    """
    with translated(client):
        experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        raise StoreError(
            f"{client.tracking_uri}: there is no MLflow experiment {experiment_name!r}; run a "
            "campaign first, or check the tracking URI"
        )
    finished = f"tags.{RUN_KIND} = 'campaign' and attributes.status = 'FINISHED'"
    runs = search(client, experiment.experiment_id, finished)
    for run in runs:
        names = ("latest", run.data.tags[CAMPAIGN_ID], run.info.run_id, run.info.run_name)
        if reference in names:
            return run
    known = ", ".join(str(run.info.run_name) for run in runs[:5]) or "none"
    raise StoreError(
        f"{client.tracking_uri}: no finished campaign {reference!r} in the experiment "
        f"{experiment_name!r}; the newest there are: {known}"
    )


def read_text(client: MlflowClient, run_id: str, path: str) -> str:
    """Read a text that was saved with a run.

    Raises
    ------
    StoreError
        The run has no such file.
    """
    folder = path.rpartition("/")[0] or None
    with translated(client), tempfile.TemporaryDirectory() as scratch:
        if path not in {file.path for file in client.list_artifacts(run_id, folder)}:
            raise StoreError(f"{client.tracking_uri}: the run {run_id} has no file {path}")
        return Path(client.download_artifacts(run_id, path, scratch)).read_text(encoding="utf-8")


def read_json(client: MlflowClient, run_id: str, path: str) -> Any:
    """Read a JSON document that was saved with a run; raises as :func:`read_text`."""
    return json.loads(read_text(client, run_id, path))


def read_table(client: MlflowClient, run_id: str, path: str) -> pd.DataFrame:
    """Read a CSV table that was saved with a run; raises as :func:`read_text`.

    Numbers come back as they were written, to the last bit; times come back as text.
    """
    return pd.read_csv(io.StringIO(read_text(client, run_id, path)))
