"""The system as infra/ deploys it into moto; its functions are called as Lambda calls them."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import registry.connection
from infra.calls import deployed_handler
from rehearsal import imitated_aws
from rehearsal.deployed import KEPT
from rehearsal.imitated_aws import APP, started
from serving import model_retrainer, orchestrator
from store.aws import client
from tests.captured_calls import Call, Captured, capturing

STAGE = "test"
FUNCTIONS = (
    "data_downloader",
    "orchestrator",
    "model_retrainer",
    "trading_bot",
    "config_service",
    "initiate_validation_window",
    "launch_spot_validator",
    "training_job_events",
)


def deploy(folder: Path, **given: str) -> dict[str, str]:
    """Deploy every stack into an empty account; returns main.yaml's outputs."""
    return imitated_aws.deploy(STAGE, folder, given)


@dataclass
class DeployedSystem:
    """What was deployed, and what its functions have asked of AWS.

    Parameters
    ----------
    started
        Functions that AWS was to call, by a function or for a message, with the event.
    """

    outputs: Mapping[str, str]
    captured: Captured
    calls: dict[str, set[Call]] = field(default_factory=lambda: defaultdict(set))
    started: list[tuple[str, Any]] = field(default_factory=list)
    store: str = ""
    """URI of the MLflow store that stands for the App."""
    kept: Sequence[Any] = KEPT
    """What a process keeps from one call to the next, and a new one lacks: each call has one,
    unless this is emptied."""

    @property
    def bucket(self) -> str:
        return self.outputs["BucketName"]

    def call(self, function: str, event: Any) -> Any:
        """Call a function with the variables that it was deployed with."""
        called = deployed_handler(client("lambda"), f"trading-system-{STAGE}-{function}")
        for kept in self.kept:
            kept.cache_clear()
        with pytest.MonkeyPatch.context() as patch, self.as_role(function):
            for place in (registry.connection, model_retrainer, orchestrator):
                patch.setattr(place, "connect", self.open_app)
            return called(event)

    @contextmanager
    def as_role(self, role: str) -> Iterator[None]:
        """What this process asks of AWS meanwhile is asked by that role."""
        self.captured.calls = self.calls[role]
        try:
            yield
        finally:
            self.captured.calls = None

    @contextmanager
    def refusing(self, *operations: str) -> Iterator[None]:
        """Let AWS refuse operations, such as ``sns.Publish``."""
        self.captured.refused.update(operations)
        yield
        self.captured.refused.difference_update(operations)

    def open_app(self, uri: str) -> Any:
        """Stands for the App, whose requests are signed by a plugin of MLflow's own."""
        assert uri == APP
        assert self.captured.calls is not None
        self.captured.calls.add(Call("sagemaker:CallMlflowAppApi", APP))
        return _CONNECT(self.store)


_CONNECT = registry.connection.connect


@contextmanager
def deployed_system(folder: Path) -> Iterator[DeployedSystem]:
    """Deploy, and capture what functions do from then on; within ``fake_aws``."""
    outputs = deploy(folder)
    with capturing() as captured:
        system = DeployedSystem(outputs, captured)
        with started(system.started):
            yield system
        for kept in KEPT:
            kept.cache_clear()


def move_to_bucket(folder: Path, bucket: str) -> str:
    """Have ``mlflow.db`` of a folder say that its files lie in the bucket, and put them there.

    Returns its URI.
    """
    s3 = client("s3")
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "mlflow.db":
            s3.upload_file(str(path), bucket, f"mlflow/{path.relative_to(folder)}")
    with sqlite3.connect(folder / "mlflow.db") as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            for column in _LOCATIONS & {each[1] for each in columns}:
                connection.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                    (folder.as_uri(), f"s3://{bucket}/mlflow"),
                )
    return f"sqlite:///{folder / 'mlflow.db'}"


_LOCATIONS = {"artifact_location", "artifact_uri", "source", "storage_location"}
