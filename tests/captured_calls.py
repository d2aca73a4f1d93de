"""What functions ask of AWS, as IAM sees it: actions on resources, captured on their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import ClientError

from rehearsal.imitated_aws import ACCOUNT_ID, new_clients
from store.aws import REGION

Conditions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, order=True)
class Call:
    """One thing that somebody wants to do."""

    action: str
    resource: str = "*"
    conditions: Conditions = ()


@dataclass
class Captured:
    """Everything that this process asks of AWS, and what AWS is to refuse.

    Parameters
    ----------
    calls
        Where to note it; None while what is asked is a test's own.
    refused
        Operations that fail, as ``sns.Publish``.
    """

    calls: set[Call] | None = None
    refused: set[str] = field(default_factory=set)

    def see(self, params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        if self.calls is None:
            return
        service, operation = model.service_model.service_name, model.name
        found = list(calls_of(service, operation, params))
        assert found, f"{service} {operation} is not known to tests/captured_calls.py"
        self.calls.update(found)
        context["bucket"] = params.get("Bucket")

    def refuse(self, model: Any, **_: Any) -> None:
        if f"{model.service_model.service_name}.{model.name}" in self.refused:
            answer = {"Error": {"Code": "AccessDenied", "Message": "refused by the test"}}
            raise ClientError(answer, model.name)

    def miss(self, http_response: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
        """S3 says that a file is absent only to those that may list the whole bucket."""
        if (
            self.calls is not None
            and model.name == "GetObject"
            and http_response.status_code == 404
        ):
            self.calls.add(Call("s3:ListBucket", f"arn:aws:s3:::{context['bucket']}"))


@contextmanager
def capturing() -> Iterator[Captured]:
    """See all requests of clients that are made from now on, in this process."""
    captured = Captured()
    with new_clients():
        events = boto3.DEFAULT_SESSION.events
        events.register("before-parameter-build", captured.see)
        events.register("before-call", captured.refuse)
        events.register("after-call", captured.miss)
        yield captured


def calls_of(service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Call]:
    """An operation as IAM sees it: what it needs may be more than one right.

    The names are of AWS's service authorization reference.
    """
    match service, operation:
        case "s3", "GetObject" | "PutObject" | "DeleteObject":
            yield Call(f"s3:{operation}", f"arn:aws:s3:::{params['Bucket']}/{params['Key']}")
        case "s3", "HeadObject":
            yield Call("s3:GetObject", f"arn:aws:s3:::{params['Bucket']}/{params['Key']}")
        case "s3", "DeleteObjects":
            for each in params["Delete"]["Objects"]:
                key = f"{params['Bucket']}/{each['Key']}"
                yield Call("s3:DeleteObject", f"arn:aws:s3:::{key}")
        case "s3", "ListObjectsV2":
            prefix = (("s3:prefix", params.get("Prefix", "")),)
            yield Call("s3:ListBucket", f"arn:aws:s3:::{params['Bucket']}", prefix)
        case "dynamodb", _:
            yield Call(f"dynamodb:{operation}", arn("dynamodb", f"table/{params['TableName']}"))
        case "sqs", _:
            yield Call(f"sqs:{operation}", arn("sqs", params["QueueUrl"].rpartition("/")[2]))
        case "sns", "Publish":
            yield Call("sns:Publish", params["TopicArn"])
        case "ssm", "GetParametersByPath":
            yield Call("ssm:GetParametersByPath", arn("ssm", f"parameter{params['Path']}"))
        case "lambda", "Invoke":
            yield Call("lambda:InvokeFunction", arn("lambda", f"function:{params['FunctionName']}"))
        case "sagemaker", "DescribeTrainingJob":
            yield Call(f"sagemaker:{operation}", job_arn(params["TrainingJobName"]))
        case "sagemaker", "CreateTrainingJob":
            job = job_arn(params["TrainingJobName"])
            yield Call("sagemaker:CreateTrainingJob", job)
            yield Call("sagemaker:AddTags", job)
            to = (("iam:PassedToService", "sagemaker.amazonaws.com"),)
            yield Call("iam:PassRole", params["RoleArn"], to)
        case "ce", "GetCostAndUsage":
            yield Call("ce:GetCostAndUsage")
        case "ec2", "DescribeSpotPriceHistory":
            yield Call("ec2:DescribeSpotPriceHistory")


def arn(service: str, resource: str) -> str:
    """A resource of the account that moto makes up."""
    separator = f"arn:aws:{service}:{REGION}:{ACCOUNT_ID}:"
    return f"{separator}{resource}"


def job_arn(name: str) -> str:
    """Of a training job; SageMaker writes its name in lower case."""
    return arn("sagemaker", f"training-job/{name.lower()}")
