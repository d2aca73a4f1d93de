"""What this process asks of AWS in a rehearsal, on its way to moto: it may fail, or be struck.

What AWS knows by itself and moto has no life in (the bill, Spot prices, how jobs fare) is
:class:`rehearsal.spot.SimulatedSpot`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest.mock import patch
from zlib import crc32

from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError
from moto.sagemaker.models import sagemaker_backends

from rehearsal.clock import SimulatedClock
from rehearsal.fate import Fate
from rehearsal.imitated_aws import ACCOUNT_ID
from rehearsal.spot import SimulatedSpot
from store.aws import REGION, CapacityError
from store.notifications import LogNotifier
from store.training_jobs import JobDescription, JobSpec
from strategy.errors import RetryError

Ask = Callable[[], Any]
_PARTS = {
    "dynamodb": "table",
    "s3": "bucket",
    "sqs.SendMessage": "queue",
    "sns.Publish": "notifier",
    "sagemaker.CreateTrainingJob": "capacity",
}
"""What of AWS may fail, as :mod:`rehearsal.fate` names it: services, or single operations."""


class Down(NamedTuple):
    """A request that fails as often as it is repeated, while one function is at work."""

    what: str
    params: Mapping[str, Any]
    error: Exception


@dataclass
class AwsRequests:
    """Every request passes through here.

    Parameters
    ----------
    told
        Hears what is published.
    environment
        Variables that training jobs have on this machine, beside those they are given.
    asked
        How often each operation was asked for by functions.
    """

    clock: SimulatedClock
    fate: Fate
    spot: SimulatedSpot
    told: LogNotifier
    environment: Mapping[str, str]
    asked: dict[str, int] = field(default_factory=dict)
    sent: bool = False
    """Whether something was sent to a queue since this was set to False."""
    _by_functions: bool = field(default=False, init=False)
    _down: Down | None = field(default=None, init=False, repr=False)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Let all requests of this process pass through here meanwhile."""
        original = BaseClient._make_api_call

        def made(client: Any, operation: str, params: dict[str, Any]) -> Any:
            return self._made(
                client, operation, params, lambda: original(client, operation, params)
            )

        with patch.object(BaseClient, "_make_api_call", made):
            yield

    @contextmanager
    def by_functions(self) -> Iterator[None]:
        """What is asked meanwhile is asked by a function, and may fail."""
        self._by_functions, self._down = True, None
        try:
            yield
        finally:
            self._by_functions = False

    def job_ended(self, job: JobDescription) -> None:
        """Have SageMaker say so."""
        told: Any = sagemaker_backends[ACCOUNT_ID][REGION].training_jobs[job.name]
        told.training_job_status, told.secondary_status = job.status, job.detail
        told.failure_reason = job.failure_reason
        told.training_end_time = f"{job.ended_at:%Y-%m-%dT%H:%M:%SZ}"
        told.training_time_in_seconds = job.training_seconds
        told.billable_time_in_seconds = job.billable_seconds

    def _made(self, client: Any, operation: str, params: dict[str, Any], ask: Ask) -> Any:
        service = client.meta.service_model.service_name
        what = f"{service}.{operation}"
        if not self._by_functions:
            return self._answered(what, client, params, ask)
        self.asked[what] = self.asked.get(what, 0) + 1
        part = _PARTS.get(what) or _PARTS.get(service)
        if part is None:
            return self._answered(what, client, params, ask)
        if self._down is not None and self._down[:2] == (what, params):
            raise self._down.error
        try:
            return self.fate.call(part, lambda: self._answered(what, client, params, ask))
        except CapacityError as error:
            said: Any = {"Error": {"Code": "ResourceLimitExceeded", "Message": str(error)}}
            self._down = Down(what, params, ClientError(said, operation))
            raise self._down.error from error
        except RetryError as error:
            failed = ReadTimeoutError(endpoint_url=client.meta.endpoint_url)
            # One half of such faults is over when the request is made again, the other is not.
            if crc32(self.fate.struck[-1].key.encode()) % 2:
                self._down = Down(what, params, failed)
            raise failed from error

    def _answered(self, what: str, client: Any, params: dict[str, Any], ask: Ask) -> Any:
        match what:
            case "ce.GetCostAndUsage":
                return self._bill()
            case "ec2.DescribeSpotPriceHistory":
                return self._spot_prices(params)
            case "sagemaker.CreateTrainingJob":
                if self.spot.describe(params["TrainingJobName"]) is not None:
                    said = {"Error": {"Code": "ResourceInUse", "Message": "it is there"}}
                    raise client.exceptions.ResourceInUse(said, "CreateTrainingJob")
                answer = ask()
                self._job_created(params)
                return answer
            case "sqs.SendMessage":
                self.sent = True
                return ask()
            case "sns.Publish":
                answer = ask()
                self.told.send(params["Subject"], params["Message"])
                return answer
        return ask()

    def _job_created(self, asked: Mapping[str, Any]) -> None:
        name = asked["TrainingJobName"]
        told: Any = sagemaker_backends[ACCOUNT_ID][REGION].training_jobs[name]
        told.training_job_status, told.secondary_status = "InProgress", "Training"
        told.training_end_time = None
        [channel] = asked["InputDataConfig"]
        resources, ends = asked["ResourceConfig"], asked["StoppingCondition"]
        self.spot.create(
            JobSpec(
                name=name,
                hyperparameters=asked["HyperParameters"],
                input_uri=channel["DataSource"]["S3DataSource"]["S3Uri"],
                checkpoint_uri=asked["CheckpointConfig"]["S3Uri"],
                output_uri=asked["OutputDataConfig"]["S3OutputPath"],
                instance_type=resources["InstanceType"],
                volume_gb=resources["VolumeSizeInGB"],
                max_runtime_seconds=ends["MaxRuntimeInSeconds"],
                max_wait_seconds=ends["MaxWaitTimeInSeconds"],
                environment={**asked["Environment"], **self.environment},
                tags={each["Key"]: each["Value"] for each in asked["Tags"]},
            )
        )

    def _bill(self) -> Mapping[str, Any]:
        usd = self.spot.month_to_date(self.clock()).usd
        total = {"UnblendedCost": {"Amount": str(usd), "Unit": "USD"}}
        return {"ResultsByTime": [{"Total": total}]}

    def _spot_prices(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        now = self.clock()
        names = [f"ml.{name}" for name in asked["InstanceTypes"]]
        return {
            "SpotPriceHistory": [
                {
                    "AvailabilityZone": f"{REGION}a",
                    "InstanceType": name.removeprefix("ml."),
                    "ProductDescription": "Linux/UNIX",
                    "SpotPrice": str(price),
                    "Timestamp": now,
                }
                for name, price in self.spot.spot_prices(names, now).items()
            ]
        }
