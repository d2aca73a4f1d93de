"""AWS by moto, with credentials that no account knows: in this process, or for others too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import requests
from moto.server import ThreadedMotoServer

from rehearsal.imitated_aws import as_nobody, fake_aws

__all__ = ["aws_server", "create_state_table", "fake_aws"]


@contextmanager
def aws_server() -> Iterator[str]:
    """moto as a server on the loopback interface, which other processes reach too.

    Yields its address, which boto3 finds in the environment, and child processes inherit.
    """
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        with as_nobody(), patch.dict(os.environ, {"AWS_ENDPOINT_URL": url}):
            yield url
    finally:
        requests.post(f"{url}/moto-api/reset", timeout=30)
        server.stop()


def create_state_table(client: Any, name: str) -> None:
    """Make a table as infra/storage.yaml does."""
    keys = {"partition": "HASH", "key": "RANGE"}
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
