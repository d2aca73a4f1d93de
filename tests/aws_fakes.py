"""AWS in this process: moto, with credentials that no account knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from threading import RLock
from typing import Any

import pytest
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

# DynamoDB checks a condition and writes in one step. moto does not when threads meet in it:
# of two writers that expect the same version both may succeed.
_STEPS = ("get_item", "put_item", "update_item", "delete_item", "query", "transact_write_items")


@contextmanager
def fake_aws() -> Iterator[None]:
    """moto in place of AWS, in the region where everything is; for any number of threads."""
    lock = RLock()
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        for name in _STEPS:
            patch.setattr(
                DynamoDBBackend, name, _one_at_a_time(getattr(DynamoDBBackend, name), lock)
            )
        yield


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
