"""AWS by moto, with credentials that no account knows: in this process, or for others too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from threading import RLock
from typing import Any

import pytest
import requests
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend
from moto.server import ThreadedMotoServer

# DynamoDB checks a condition and writes in one step. moto does not when threads meet in it:
# of two writers that expect the same version both may succeed.
_STEPS = ("get_item", "put_item", "update_item", "delete_item", "query", "transact_write_items")


@contextmanager
def fake_aws() -> Iterator[None]:
    """moto in place of AWS, in the region where everything is; for any number of threads."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        _as_nobody(patch)
        yield


@contextmanager
def aws_server() -> Iterator[str]:
    """The same as a server on the loopback interface, which other processes reach too.

    Yields its address, which boto3 finds in the environment, and child processes inherit.
    """
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            _as_nobody(patch)
            patch.setenv("AWS_ENDPOINT_URL", url)
            yield url
    finally:
        requests.post(f"{url}/moto-api/reset", timeout=30)
        server.stop()


def _as_nobody(patch: pytest.MonkeyPatch) -> None:
    lock = RLock()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        patch.delenv(name, raising=False)
    for name in _STEPS:
        method = getattr(DynamoDBBackend, name)
        patch.setattr(DynamoDBBackend, name, _one_at_a_time(method, lock))


def create_state_table(client: Any, name: str) -> None:
    """Make a table as infra/storage.yaml does."""
    keys = {"partition": "HASH", "key": "RANGE"}
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )


def _one_at_a_time(
    method: Callable[..., Any], lock: AbstractContextManager[Any]
) -> Callable[..., Any]:
    @wraps(method)
    def locked(*arguments: Any, **named: Any) -> Any:
        with lock:
            return method(*arguments, **named)

    return locked
