"""Training jobs on SageMaker managed Spot training.

SageMaker gives an interrupted Spot job another instance by itself, with the checkpoints of
the earlier one in place; only a job that ended without a result is submitted again, under
the next name.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import boto3
from botocore.exceptions import ClientError

from store.aws import ask, client, patient
from store.backoff import Backoff
from store.request_check import faults, input_shape
from store.training_jobs import JobDescription, JobSpec
from strategy.errors import ConfigError

CHANNEL = "campaign"
"""Input channel: what lies below ``input_uri`` is found in /opt/ml/input/data/campaign."""
CHECKPOINT_FOLDER = "/opt/ml/checkpoints"
"""SageMaker keeps it equal to ``checkpoint_uri`` while the job runs, and fills it at the start."""
ENTRY_POINT = ("python", "-m", "training.job")
"""Executed directly, as the container's first process, so that it receives SIGTERM itself."""


def training_job_request(spec: JobSpec, *, role_arn: str, image_uri: str) -> dict[str, Any]:
    """The CreateTrainingJob request of a job; without a VPC, on one managed Spot instance.

    Parameters
    ----------
    role_arn
        The role that the job runs as.
    image_uri
        The training image in ECR.

    Raises
    ------
    ConfigError
        SageMaker would refuse it; every fault is named with its field.
    """
    request = {
        "TrainingJobName": spec.name,
        "RoleArn": role_arn,
        "AlgorithmSpecification": {
            "TrainingImage": image_uri,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": list(ENTRY_POINT),
        },
        "HyperParameters": dict(spec.hyperparameters),
        "Environment": dict(spec.environment),
        "InputDataConfig": [
            {
                "ChannelName": CHANNEL,
                "InputMode": "File",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": spec.input_uri,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": spec.output_uri, "CompressionType": "GZIP"},
        "CheckpointConfig": {"S3Uri": spec.checkpoint_uri, "LocalPath": CHECKPOINT_FOLDER},
        "ResourceConfig": {
            "InstanceType": spec.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": spec.volume_gb,
        },
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {
            "MaxRuntimeInSeconds": spec.max_runtime_seconds,
            "MaxWaitTimeInSeconds": spec.max_wait_seconds,
        },
        "Tags": [{"Key": key, "Value": value} for key, value in spec.all_tags.items()],
    }
    shape = input_shape("sagemaker", "CreateTrainingJob")
    if found := faults(shape, request) or _beyond_the_model(spec, image_uri):
        raise ConfigError(f"training job {spec.name}: SageMaker would refuse {'; '.join(found)}")
    return request


@dataclass(frozen=True)
class SageMakerJobs:
    """Jobs on SageMaker managed Spot training.

    Parameters
    ----------
    client
        boto3's, of SageMaker.
    role_arn, image_uri
        As for :func:`training_job_request`.
    backoff
        What to do when a request is throttled, or there is no capacity.
    """

    client: Any
    role_arn: str
    image_uri: str
    backoff: Backoff = field(default_factory=patient)

    def create(self, spec: JobSpec) -> None:
        request = training_job_request(spec, role_arn=self.role_arn, image_uri=self.image_uri)

        def create() -> None:
            with suppress(self.client.exceptions.ResourceInUse):  # it was created already
                self.client.create_training_job(**request)

        ask(f"training job {spec.name}", create, self.backoff)

    def describe(self, name: str) -> JobDescription | None:
        return describe_training_job(self.client, name, self.backoff)


def describe_training_job(client: Any, name: str, backoff: Backoff) -> JobDescription | None:
    """As :meth:`Jobs.describe`: to look at a job takes no role and no image."""

    def describe() -> Any:
        try:
            return client.describe_training_job(TrainingJobName=name)
        except ClientError as error:
            if _says_missing(error):
                return None
            raise

    answer = ask(f"training job {name}", describe, backoff)
    return None if answer is None else job_description(answer)


def job_description(answer: Mapping[str, Any]) -> JobDescription:
    """What SageMaker's answer to DescribeTrainingJob says."""
    resources = answer["ResourceConfig"]
    history = answer.get("SecondaryStatusTransitions", ())
    ended = answer.get("TrainingEndTime")
    return JobDescription(
        name=answer["TrainingJobName"],
        status=answer["TrainingJobStatus"],
        detail=answer["SecondaryStatus"],
        failure_reason=answer.get("FailureReason"),
        instance_type=resources["InstanceType"],
        volume_gb=resources["VolumeSizeInGB"],
        # Training -> Interrupted -> Starting -> …, once for every instance that was taken away.
        interruptions=sum(step["Status"] == "Interrupted" for step in history),
        training_seconds=answer.get("TrainingTimeInSeconds"),
        billable_seconds=answer.get("BillableTimeInSeconds"),
        ended_at=ended.astimezone(UTC) if ended else None,
    )


def sdk_session() -> boto3.Session:
    """What the SageMaker SDK makes its own clients from: in the region of all others."""
    return boto3.Session(region_name=client("sagemaker").meta.region_name)


def _says_missing(error: ClientError) -> bool:
    """The API reference has ResourceNotFound; SageMaker answers with ValidationException."""
    said = error.response["Error"]
    return said["Code"] == "ResourceNotFound" or (
        said["Code"] == "ValidationException"
        and any(words in said["Message"] for words in ("not found", "not find"))
    )


def _beyond_the_model(spec: JobSpec, image_uri: str) -> list[str]:
    """What SageMaker refuses and its model does not say."""
    found = []
    if not image_uri:
        found.append("AlgorithmSpecification.TrainingImage: is empty")
    if spec.max_wait_seconds < spec.max_runtime_seconds:
        found.append(
            f"StoppingCondition.MaxWaitTimeInSeconds: {spec.max_wait_seconds} is less than "
            f"MaxRuntimeInSeconds, {spec.max_runtime_seconds}"
        )
    for key in spec.tags:
        if key.lower().startswith("aws:"):
            found.append(f"Tags: {key!r} begins with aws:, which is AWS's own")
    return found
