"""AWS by moto in this process, for it and for those that it starts, and what is deployed there."""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any
from unittest.mock import patch

import boto3
from mlflow.store.artifact import s3_artifact_repo
from moto import mock_aws
from moto.awslambda.models import LambdaFunction
from moto.dynamodb.models import DynamoDBBackend
from moto.server import ThreadedMotoServer

from infra.deployment import Build, Deployment
from infra.stacks import Stacks
from store.aws import REGION, client

ACCOUNT_ID = "123456789012"
APP = f"arn:aws:sagemaker:{REGION}:{ACCOUNT_ID}:mlflow-app/app-TEST123"
"""Stands for an App of MLflow's, which moto does not have."""
IMAGE_TAG = "0a1b2c3"
HASTE = {"Delay": 0, "MaxAttempts": 3}
"""How stacks are waited for that are there at once."""

# DynamoDB checks a condition and writes in one step. moto does not when threads meet in it:
# of two writers that expect the same version both may succeed.
_STEPS = ("get_item", "put_item", "update_item", "delete_item", "query", "transact_write_items")


@contextmanager
def fake_aws() -> Iterator[None]:
    """moto in place of AWS, in the region where everything is; for any number of threads."""
    with as_nobody(), mock_aws():
        yield


@contextmanager
def as_nobody() -> Iterator[None]:
    """Credentials that no account knows, and a moto that keeps DynamoDB's promises."""
    lock = RLock()
    with ExitStack() as patches:
        credentials = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
        patches.enter_context(patch.dict(os.environ, credentials))
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
            os.environ.pop(name, None)
        for name in _STEPS:
            locked = _one_at_a_time(getattr(DynamoDBBackend, name), lock)
            patches.enter_context(patch.object(DynamoDBBackend, name, locked))
        yield


@contextmanager
def reached_by_others() -> Iterator[str]:
    """Let other processes reach this one's :func:`fake_aws` at the address that is yielded."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it logs every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def new_clients() -> Iterator[None]:
    """Let all clients be made anew, here and afterwards."""
    _forget_clients()
    try:
        yield
    finally:
        _forget_clients()


@contextmanager
def started(functions: list[tuple[str, Any]]) -> Iterator[None]:
    """Note functions that are to be called, by name and with the event.

    Stands for Lambda, which moto would have in Docker.
    """

    def start(function: LambdaFunction, body: str, *_: Any, **__: Any) -> bytes:
        functions.append((function.function_name, json.loads(body)))
        return b"{}"

    with patch.object(LambdaFunction, "invoke", start):
        yield


def deploy(stage: str, folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Deploy every stack into an empty account; returns main.yaml's outputs.

    Parameters
    ----------
    folder
        For what is uploaded.
    given
        Values of main.yaml's parameters.
    """
    deployment = Deployment(
        Stacks(client("cloudformation"), HASTE), stage, {"TrackingUri": APP, **given}
    )
    outputs = deployment.deploy_separately(deployment.publish(small_build(folder)))
    deployment.upload_config(outputs)
    return outputs


def small_build(folder: Path) -> Build:
    """Two zips, as good as a layer and the functions' code."""
    for name in ("layer", "functions"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as file:
            file.writestr(zipfile.ZipInfo(f"{name}.txt"), name)  # without the time
    return Build(folder / "layer.zip", folder / "functions.zip", IMAGE_TAG)


def _forget_clients() -> None:
    boto3.setup_default_session()
    s3_artifact_repo._cached_get_s3_client.cache_clear()


def _one_at_a_time(
    method: Callable[..., Any], lock: AbstractContextManager[Any]
) -> Callable[..., Any]:
    @wraps(method)
    def locked(*arguments: Any, **named: Any) -> Any:
        with lock:
            return method(*arguments, **named)

    return locked
