"""Calls a deployed function: on Lambda, or its handler in this process."""

from __future__ import annotations

import importlib
import json
import os
import uuid
from types import SimpleNamespace
from typing import Any

from store.aws import translated
from strategy.errors import FixError, RetryError


def invoked(lambdas: Any, name: str, event: Any) -> Any:
    """Have Lambda call a function; returns its answer.

    Parameters
    ----------
    lambdas
        boto3's ``lambda`` client.

    Raises
    ------
    FixError
        The function failed; says what it raised.
    RetryError
        It has not answered as long as the client waits. It goes on nevertheless.
    StoreError, ConfigError
        As :func:`store.aws.translated`.
    """
    try:
        with translated(f"function {name}"):  # once: a second request would be a second call
            answer = lambdas.invoke(FunctionName=name, Payload=json.dumps(event).encode())
            told = _parsed(name, answer["Payload"].read())
    except RetryError as error:
        raise RetryError(
            f"{error}. What takes longer goes on by itself: see the log /aws/lambda/{name}"
        ) from error
    if "FunctionError" in answer:
        raise FixError(
            f"function {name}: {told.get('errorType')}: {told.get('errorMessage')}. "
            f"Its log tells more: /aws/lambda/{name}"
        )
    return told


def _parsed(name: str, answer: bytes) -> Any:
    try:
        return json.loads(answer or "null")
    except ValueError as error:  # so it is where moto stands for Lambda, and finds no Docker
        said = answer[:200].decode(errors="replace")
        raise FixError(
            f"function {name} was not run: {said!r}. Where Lambda is imitated, give --here"
        ) from error


def called_here(lambdas: Any, name: str, event: Any) -> Any:
    """Call a function's handler in this process; returns its answer, as Lambda would tell it.

    Handler and variables are those that it was deployed with, and the variables stay. The code is
    this checkout's, and what it asks of AWS it asks with this shell's rights.

    Raises
    ------
    StoreError, RetryError, ConfigError
        As :func:`store.aws.translated`. The handler's own errors pass.
    """
    with translated(f"function {name}"):
        found = lambdas.get_function_configuration(FunctionName=name)
    os.environ.update(found["Environment"]["Variables"])
    module, _, handler = found["Handler"].rpartition(".")
    context = SimpleNamespace(
        function_name=name,
        memory_limit_in_mb=found["MemorySize"],
        invoked_function_arn=found["FunctionArn"],
        aws_request_id=str(uuid.uuid4()),
        get_remaining_time_in_millis=lambda: found["Timeout"] * 1000,
    )
    # By name: which module it is, is known once it is deployed.
    answer = getattr(importlib.import_module(module), handler)(event, context)
    return json.loads(json.dumps(answer))
