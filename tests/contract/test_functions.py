"""Functions on Lambda are called without waiting for them, and what goes wrong is told as ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from store.aws import client
from store.backoff import Backoff
from store.functions import LambdaFunction
from strategy.errors import ConfigError, RetryError, StoreError
from tests.aws_fakes import fake_aws

EVENT = {"model": "BTCUSDT-1h", "version": 3}


@pytest.fixture
def aws() -> Iterator[Any]:
    """A client of Lambda, in an account without functions."""
    with fake_aws():
        yield client("lambda")


def function(aws: Any, attempts: int = 1) -> LambdaFunction:
    return LambdaFunction(aws, "model_retrainer", Backoff(attempts=attempts, sleep=lambda _: None))


def test_the_event_is_sent_and_the_answer_not_waited_for(aws: Any) -> None:
    with Stubber(aws) as stub:
        expected = {
            "FunctionName": "model_retrainer",
            "InvocationType": "Event",
            "Payload": json.dumps(EVENT).encode(),
        }
        stub.add_response("invoke", {"StatusCode": 202}, expected)
        function(aws).start(EVENT)
        stub.assert_no_pending_responses()


def test_a_call_that_was_throttled_is_made_again(aws: Any) -> None:
    with Stubber(aws) as stub:
        stub.add_client_error("invoke", "TooManyRequestsException", http_status_code=429)
        stub.add_response("invoke", {"StatusCode": 202})
        function(aws, attempts=2).start(EVENT)
        stub.assert_no_pending_responses()


def test_a_function_that_does_not_exist_is_a_fault_of_the_deployment(aws: Any) -> None:
    with pytest.raises(StoreError, match=r"function model_retrainer.*deploy it"):
        function(aws).start(EVENT)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 403, StoreError),
        ("ServiceException", 500, RetryError),
        ("RequestTooLargeException", 413, ConfigError),
    ],
)
def test_what_goes_wrong_says_what_to_do(
    aws: Any, code: str, status: int, error: type[Exception]
) -> None:
    with Stubber(aws) as stub:
        stub.add_client_error("invoke", code, http_status_code=status)
        with pytest.raises(error, match="function model_retrainer"):
            function(aws).start(EVENT)
