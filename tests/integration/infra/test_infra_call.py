"""Functions called by the operator's command: by Lambda, or here on what was deployed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber

from infra import commands
from infra.__main__ import main
from infra.calls import called_here, invoked
from infra.templates import FOLDER
from store.aws import client
from store.settings import SsmSettings
from strategy.errors import FixError, RetryError, StoreError
from tests.aws_fakes import aws_server
from tests.deployed_system import STAGE, deploy

NAME = f"trading-system-{STAGE}-config_service"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with aws_server():
        yield deploy(tmp_path_factory.mktemp("build"))


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "infra", "call", "--stage", STAGE, *arguments],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_function_is_called_here_with_what_it_was_deployed_with(
    deployed: dict[str, str],
) -> None:
    SsmSettings(client("ssm")).set("risk/risk_per_trade", 0.002)
    ran = call("--here", "config_service", "{}")
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout[ran.stdout.index("\n{\n") :])  # after the handler's log
    assert answer["settings"]["risk"]["risk_per_trade"]["value"] == 0.002
    assert answer["config"]["uri"] == f"s3://{deployed['BucketName']}/config.json"


def test_what_a_handler_refuses_is_told(deployed: dict[str, str]) -> None:
    ran = call("--here", "initiate_validation_window", '{"action": "ajar"}')
    assert ran.returncode == 2
    assert "ajar" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_function_that_is_not_there_and_an_event_that_is_no_json_are_named(
    deployed: dict[str, str],
) -> None:
    assert call("config_service", "{").returncode == 2
    for more in ([], ["--here"]):
        ran = call(*more, "config_servant", "{}")
        assert ran.returncode == 2
        assert f"trading-system-{STAGE}-config_servant" in ran.stderr


def test_here_the_context_is_the_functions_own(
    deployed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    seen: list[Any] = []
    monkeypatch.setattr(
        "serving.config_service.handler", lambda *given: seen.extend(given) or {"done": (1, 2)}
    )
    assert called_here(client("lambda"), NAME, {"a": 1}) == {"done": [1, 2]}  # as JSON has it
    event, context = seen
    assert event == {"a": 1}
    assert (context.function_name, context.memory_limit_in_mb) == (NAME, 512)
    assert context.get_remaining_time_in_millis() == 60_000
    assert context.invoked_function_arn.endswith(NAME)


# By Lambda, which moto has in Docker alone


class Body:
    def __init__(self, answer: Any) -> None:
        self.content = json.dumps(answer).encode()

    def read(self) -> bytes:
        return self.content


@pytest.fixture
def lambdas(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    made = client("lambda")
    monkeypatch.setattr(commands, "client", lambda _: made)
    with Stubber(made) as stub:
        yield stub


def test_lambda_is_asked_unless_it_is_to_be_here(
    lambdas: Stubber, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"FunctionName": NAME, "Payload": b'{"a": 1}'}
    lambdas.add_response("invoke", {"StatusCode": 200, "Payload": Body({"b": 2})}, asked)
    assert main(["call", "--stage", STAGE, "config_service", '{"a": 1}']) == 0
    lambdas.assert_no_pending_responses()
    assert json.loads(capsys.readouterr().out) == {"b": 2}


def test_what_a_function_raised_is_told(lambdas: Stubber) -> None:
    raised = {"errorType": "DataError", "errorMessage": "candles are missing"}
    lambdas.add_response(
        "invoke", {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": Body(raised)}
    )
    with pytest.raises(FixError, match=rf"{NAME}: DataError: candles are missing\. Its log"):
        invoked(lambdas.client, NAME, {})


def test_where_lambda_is_imitated_the_way_to_call_it_is_named(lambdas: Stubber) -> None:
    body = Body(None)
    body.content = b"error running docker"
    lambdas.add_response("invoke", {"StatusCode": 200, "Payload": body})
    with pytest.raises(FixError, match=r"error running docker.* --here"):
        invoked(lambdas.client, NAME, {})


def test_a_slow_function_is_asked_once_and_its_log_named(
    lambdas: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def times_out(**request: Any) -> None:
        asked.append(request)
        raise ReadTimeoutError(endpoint_url="https://lambda")

    monkeypatch.setattr(lambdas.client, "invoke", times_out)
    with pytest.raises(RetryError, match=f"goes on by itself: see the log /aws/lambda/{NAME}"):
        invoked(lambdas.client, NAME, {})
    assert len(asked) == 1


def test_a_function_that_lambda_does_not_know_is_named(lambdas: Stubber) -> None:
    lambdas.add_client_error("invoke", "ResourceNotFoundException", http_status_code=404)
    with pytest.raises(StoreError, match=NAME):
        invoked(lambdas.client, NAME, {})
