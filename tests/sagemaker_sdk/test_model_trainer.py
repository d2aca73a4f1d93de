"""The SageMaker SDK's ModelTrainer starts the very job that the launcher starts.

The SDK is 730 MB and has an environment of its own: ``make testsdk``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient

pytest.importorskip("sagemaker", reason="the SageMaker SDK is not installed: make testsdk")

from store.aws import client
from store.sagemaker_jobs import SageMakerJobs, training_job_request
from strategy.errors import ConfigError
from tests.aws_fakes import fake_aws
from tests.job_specs import IMAGE_URI, ROLE_ARN, job_spec
from training.spot_job import launch_with_model_trainer

SPEC = job_spec()


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The SDK would look into the role's policies, of which moto simulates none.
    monkeypatch.setenv("SAGEMAKER_VALIDATE_ROLE", "false")
    with fake_aws():
        yield


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every request to AWS, whoever makes it, as (operation, parameters)."""
    made: list[tuple[str, dict[str, Any]]] = []
    send = BaseClient._make_api_call

    def record(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        made.append((operation, parameters))
        return send(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return made


def test_it_creates_the_same_training_job(requests: list[tuple[str, dict[str, Any]]]) -> None:
    launch_with_model_trainer(SPEC, role_arn=ROLE_ARN, image_uri=IMAGE_URI)
    created = [parameters for operation, parameters in requests if operation == "CreateTrainingJob"]
    assert created == [training_job_request(SPEC, role_arn=ROLE_ARN, image_uri=IMAGE_URI)]


def test_sagemaker_shows_both_alike() -> None:
    other = job_spec(name="the-launchers")
    launch_with_model_trainer(SPEC, role_arn=ROLE_ARN, image_uri=IMAGE_URI)
    SageMakerJobs(client("sagemaker"), ROLE_ARN, IMAGE_URI).create(other)
    assert _shown(SPEC.name) == _shown(other.name)


def test_it_asks_for_nothing_else_but_to_see_the_job(
    requests: list[tuple[str, dict[str, Any]]],
) -> None:
    """Neither a bucket of the SDK's own nor, for its makers, whose account this is."""
    launch_with_model_trainer(SPEC, role_arn=ROLE_ARN, image_uri=IMAGE_URI)
    for thread in threading.enumerate():
        if thread.name == "sagemaker-telemetry":
            thread.join()
    assert [operation for operation, _ in requests] == ["CreateTrainingJob", "DescribeTrainingJob"]


def test_a_job_that_sagemaker_would_refuse_is_named_before_the_sdk_is_asked() -> None:
    with pytest.raises(ConfigError, match=r"ResourceConfig\.InstanceType: 'ml\.c6i\.large'"):
        launch_with_model_trainer(
            job_spec(instance_type="ml.c6i.large"), role_arn=ROLE_ARN, image_uri=IMAGE_URI
        )


def _shown(name: str) -> dict[str, Any]:
    """What the console shows of a job, without its name and the times."""
    sagemaker = client("sagemaker")
    job = sagemaker.describe_training_job(TrainingJobName=name)
    tags = sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    fields = (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "EnableManagedSpotTraining",
        "HyperParameters",
        "InputDataConfig",
        "OutputDataConfig",
        "ResourceConfig",
        "RoleArn",
        "StoppingCondition",
    )
    return {"Tags": tags, **{field: job[field] for field in fields}}
