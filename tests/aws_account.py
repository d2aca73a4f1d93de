"""An account on moto with all that the launcher uses, and what AWS does between its parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import requests
from botocore.exceptions import ClientError
from moto.sagemaker.models import FakeTrainingJob, sagemaker_backends

from serving import initiate_validation_window, launch_spot_validator, training_job_events
from serving.campaign_requests import CampaignRequest
from serving.stack import Stack, deployed_stack
from store.aws import REGION, client
from tests.aws_fakes import create_state_table
from tests.job_specs import IMAGE_URI, ROLE_ARN
from tests.launch_world import sqs_record, state_change

BUCKET, TABLE = "trading-123456789012", "trading-state"
ACCOUNT_ID = "123456789012"
CONTEXT = SimpleNamespace(
    function_name="trading",
    memory_limit_in_mb=512,
    invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:trading",
    aws_request_id="52fdfc07-2182-154f-163f-5f0f9a621d72",
)
"""What Lambda tells a function of itself."""
MAX_RECEIVES = 3

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Account:
    """The account; its functions are the real ones, called as AWS calls them."""

    url: str
    variables: Mapping[str, str]
    queue: str
    dead_letters: str
    inbox: str
    requests_made: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By job, what SageMaker was asked for: moto keeps only a part of it."""

    @property
    def stack(self) -> Stack:
        return deployed_stack()

    def set(self, name: str, value: Any) -> None:
        """Change one of the operator's settings."""
        client("ssm").put_parameter(
            Name=f"/trading_system/cost/{name}",
            Value=value if isinstance(value, str) else json.dumps(value),
            Type="String",
            Overwrite=True,
        )

    def bill(self, *amounts: str) -> None:
        """What Cost Explorer will say has been spent, USD."""
        results = [
            {"ResultsByTime": [{"Total": {"UnblendedCost": {"Amount": each, "Unit": "USD"}}}]}
            for each in amounts
        ]
        address = f"{self.url}/moto-api/static/ce/cost-and-usage-results"
        requests.post(address, json={"results": results}, timeout=30)

    def open_window(self) -> None:
        initiate_validation_window.handler({"action": "open"}, CONTEXT)

    def deliver(self) -> list[str]:
        """Hand the messages on the queue to the launcher; returns the bodies that failed."""
        sqs = client("sqs")
        received = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        messages = {each["MessageId"]: each for each in received.get("Messages", ())}
        if not messages:
            return []
        event = {"Records": [sqs_record(name, each["Body"]) for name, each in messages.items()]}
        answer = launch_spot_validator.handler(event, CONTEXT)
        failed = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
        for name, message in messages.items():
            handle = {"QueueUrl": self.queue, "ReceiptHandle": message["ReceiptHandle"]}
            if name in failed:
                sqs.change_message_visibility(**handle, VisibilityTimeout=0)
            else:
                sqs.delete_message(**handle)
        return [messages[name]["Body"] for name in failed]

    def tell(self, job_name: str, status: str) -> None:
        """EventBridge's event when a training job has ended."""
        event = state_change(job_name, status)
        event["detail"]["HyperParameters"] = self.requests_made[job_name]["HyperParameters"]
        training_job_events.handler(event, CONTEXT)

    def request(self, campaign_id: str) -> CampaignRequest:
        return self.stack.requests[campaign_id]

    def job_record(self, campaign_id: str, shard: int) -> Mapping[str, Any]:
        request = self.request(campaign_id)
        found = request.shard(shard)
        assert found is not None
        return request.job_record(found, self.stack.state, self.stack.clock).values

    def told(self) -> list[tuple[str, str]]:
        """Notifications that have come in the operator's inbox: subject and text."""
        return [(each["Subject"], each["Message"]) for each in _read_all(self.inbox)]

    def dead(self) -> list[str]:
        return [json.dumps(each) if isinstance(each, dict) else each for each in self._dead()]

    def _dead(self) -> Iterator[Any]:
        client("sqs").receive_message(QueueUrl=self.queue)  # it is this that sets them aside
        yield from _read_all(self.dead_letters)


@contextmanager
def account(url: str, bill: Sequence[str] = ("1.00",)) -> Iterator[Account]:
    """Make everything in an empty account, and call its functions with its variables.

    Parameters
    ----------
    bill
        As for :meth:`Account.bill`; without one, Cost Explorer has no data.
    """
    requests.post(f"{url}/moto-api/reset", timeout=30)
    create_state_table(client("dynamodb"), TABLE)
    place = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
    client("s3").create_bucket(Bucket=BUCKET, **place)
    sqs, sns = client("sqs"), client("sns")
    dead_letters = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    redrive = {"deadLetterTargetArn": _arn(dead_letters), "maxReceiveCount": MAX_RECEIVES}
    queue = sqs.create_queue(QueueName="nudges", Attributes={"RedrivePolicy": json.dumps(redrive)})[
        "QueueUrl"
    ]
    topic = sns.create_topic(Name="operator")["TopicArn"]
    inbox = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=_arn(inbox))
    variables = {
        "STATE_URI": f"dynamodb://{TABLE}",
        "QUEUE_URL": queue,
        "TOPIC_ARN": topic,
        "BUCKET": BUCKET,
        "ROLE_ARN": ROLE_ARN,
        "IMAGE_URI": IMAGE_URI,
        "MLFLOW_TRACKING_URI": os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:1"),
    }
    before = dict(os.environ)
    os.environ.update(variables)
    deployed_stack.cache_clear()
    try:
        made = Account(url, variables, queue, dead_letters, inbox)
        made.bill(*bill)
        _remember(deployed_stack().jobs.client, made.requests_made)  # type: ignore[attr-defined]
        yield made
    finally:
        deployed_stack.cache_clear()
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def refused(service: str, operation: str, code: str, message: str) -> Iterator[None]:
    """Let AWS answer an operation with an error, for clients that are made from now on."""

    def refuse(**_: Any) -> None:
        answer = {"Error": {"Code": code, "Message": message}}
        raise ClientError(answer, operation)  # type: ignore[arg-type]

    boto3.setup_default_session()
    events = boto3.DEFAULT_SESSION.events  # type: ignore[union-attr]
    events.register(f"before-call.{service}.{operation}", refuse)
    deployed_stack.cache_clear()
    try:
        yield
    finally:
        boto3.setup_default_session()
        deployed_stack.cache_clear()


class Training:
    """One job of SageMaker's, run here: its files below a folder, its program a process.

    Parameters
    ----------
    request
        What SageMaker was asked for.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any], url: str) -> None:
        self.name: str = request["TrainingJobName"]
        self.interruptions = 0
        self._base = folder / self.name
        self._request = request
        self._url = url
        self._process: subprocess.Popen[bytes] | None = None
        self._job.training_job_status, self._job.secondary_status = "InProgress", "Training"
        self._job.training_end_time = None
        self._lay_out()

    def start(self) -> None:
        """Put it on an instance, its first or the one after an interruption."""
        log = (self._base / "job.log").open("ab")
        entry_point = self._request["AlgorithmSpecification"]["ContainerEntrypoint"]
        self._process = subprocess.Popen(
            [sys.executable, *entry_point[1:]],
            cwd=self._base,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")},
                **self._request["Environment"],
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "PYTHONPATH": str(ROOT),  # as the image has it
                "SAGEMAKER_BASE_DIR": str(self._base),
                "WORKERS": "1",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def interrupt(self) -> None:
        """Take its instance away."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.interruptions += 1

    def wait(self) -> int:
        """Until its program ends; returns the exit status."""
        assert self._process is not None
        return self._process.wait(280)

    def end(self, status: str, reason: str | None = None) -> None:
        """Let SageMaker say how it ended, after an hour of which 18 minutes are billed."""
        job = self._job
        job.training_job_status = job.secondary_status = status
        job.failure_reason = reason or self.failure
        job.training_end_time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251
        job.training_time_in_seconds, job.billable_time_in_seconds = 3600, 1080
        step = dict(job.secondary_status_transitions[0], Status="Interrupted")
        job.secondary_status_transitions = [step] * self.interruptions

    @property
    def failure(self) -> str | None:
        path = self._base / "output" / "failure"
        return path.read_text() if path.exists() else None

    @property
    def log(self) -> str:
        return (self._base / "job.log").read_text()

    def _lay_out(self) -> None:
        told = client("sagemaker").describe_training_job(TrainingJobName=self.name)
        path = self._base / "input" / "config" / "hyperparameters.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(told["HyperParameters"]))
        (channel,) = told["InputDataConfig"]
        target = self._base / "input" / "data" / channel["ChannelName"]
        target.mkdir(parents=True)
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        s3 = client("s3")
        for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
            name = entry["Key"].removeprefix(prefix).lstrip("/")
            s3.download_file(bucket, entry["Key"], str(target / name))
        for name in ("model", "output"):
            (self._base / name).mkdir()

    @property
    def _job(self) -> FakeTrainingJob:
        found: FakeTrainingJob = sagemaker_backends[ACCOUNT_ID][REGION].training_jobs[self.name]
        return found


def until(condition: Callable[[], bool], seconds: float = 280) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def keys(prefix: str) -> list[str]:
    """What lies in the bucket."""
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def _remember(sagemaker: Any, made: dict[str, dict[str, Any]]) -> None:
    def remember(params: dict[str, Any], **_: Any) -> None:
        made[params["TrainingJobName"]] = params

    events = sagemaker.meta.events
    events.register("provide-client-params.sagemaker.CreateTrainingJob", remember)


def _read_all(url: str) -> Iterator[Any]:
    sqs = client("sqs")
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            try:
                yield json.loads(message["Body"])
            except ValueError:
                yield message["Body"]


def _arn(queue_url: str) -> str:
    answer = client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    arn: str = answer["Attributes"]["QueueArn"]
    return arn
