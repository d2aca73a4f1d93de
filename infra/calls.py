"""Calls a deployed function: on Lambda, or its handler in this process."""

from __future__ import annotations

import importlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class DeployedHandler:
    """The handler of a deployed function, in this process.

    The code is this checkout's, and what it asks of AWS it asks with this process's rights.

    Parameters
    ----------
    configuration
        Lambda's, of the function.
    """

    configuration: Mapping[str, Any]

    def __call__(self, event: Any) -> Any:
        """Call it with the variables that it was deployed with; returns its answer, as Lambda
        would tell it. Its own errors pass.
        """
        found = self.configuration
        module, _, handler = found["Handler"].rpartition(".")
        context = SimpleNamespace(
            function_name=found["FunctionName"],
            memory_limit_in_mb=found["MemorySize"],
            invoked_function_arn=found["FunctionArn"],
            aws_request_id=str(uuid.uuid4()),
            get_remaining_time_in_millis=lambda: found["Timeout"] * 1000,
        )
        with _set(found["Environment"]["Variables"]):
            # By name: which module it is, is known once it is deployed.
            answer = getattr(importlib.import_module(module), handler)(event, context)
        return json.loads(json.dumps(answer))


def deployed_handler(lambdas: Any, name: str) -> DeployedHandler:
    """The handler of the function of that name.

    Raises
    ------
    StoreError, RetryError, ConfigError
        As :func:`store.aws.translated`.
    """
    with translated(f"function {name}"):
        return DeployedHandler(lambdas.get_function_configuration(FunctionName=name))


def called_here(lambdas: Any, name: str, event: Any) -> Any:
    """Call a function's handler in this process, as :class:`DeployedHandler` says."""
    return deployed_handler(lambdas, name)(event)


@contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these in the environment for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
