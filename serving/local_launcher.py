"""Runs a campaign on this machine, on the path that it takes on AWS.

The embedded queue stands for SQS, processes for training jobs, and this loop for what AWS does
between them: it hands messages and events to the very functions that AWS would call.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from serving.campaign_requests import CampaignRequest, Shard
from serving.initiate_validation_window import initiate
from serving.launch_spot_validator import launch
from serving.stack import Stack
from serving.training_job_events import ENDED, hear
from store.local_jobs import LocalJobs
from store.sqlite_queue import SqliteQueue
from store.training_jobs import JobDescription
from strategy.errors import ConfigError, RetryError

_log = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds between two looks."""
_PATIENCE = 240
"""Looks at jobs that were asked to stop: two minutes, as SageMaker gives them."""
_BATCH = 10  # as SQS has it


class Received(Protocol):
    """A message that was received; ``receives`` says how often, this time included."""

    @property
    def id(self) -> object: ...
    @property
    def body(self) -> str: ...
    @property
    def receives(self) -> int: ...


@dataclass(frozen=True)
class LocalLauncher:
    """Plays the part of AWS for campaigns on this machine.

    Several may be at work at once: what one does, the others find done.

    Parameters
    ----------
    stack
        With ``queue`` and ``jobs`` in it.
    sleep
        Waits that many seconds.
    """

    stack: Stack
    queue: SqliteQueue
    jobs: LocalJobs
    sleep: Callable[[float], None]

    def run(self, campaign_id: str, show: Callable[[CampaignRequest], None]) -> CampaignRequest:
        """Work until a campaign is completed or has failed; others that wait are launched too.

        Raises
        ------
        ConfigError
            It can only wait for something that a person must put right.
        RetryError
            Its nudge could not be worked on, time and again.
        """
        dead_before = {message.id for message in self.queue.dead_letters()}
        while True:
            done_with = self.deliver_messages()
            request = self.stack.requests[campaign_id]
            if campaign_id in done_with and _only_waits(request):
                raise ConfigError(f"{request.reason}. Put it right, then run the same command")
            self._refuse_the_dead(campaign_id, dead_before)
            self.report_ends()
            request = self.stack.requests[campaign_id]
            show(request)
            if request.status in ("completed", "failed"):
                return request
            self.sleep(PAUSE)

    def deliver_messages(self) -> set[str]:
        """As Lambda polls SQS; returns the campaigns whose messages are done with."""
        if self.stack.window.closes_at is None:
            initiate({"action": "open"}, self.stack)
        messages = {str(message.id): message for message in self.queue.receive(_BATCH)}
        if not messages:
            return set()
        answer = launch({"Records": [sqs_record(each) for each in messages.values()]}, self.stack)
        for failed in answer["batchItemFailures"]:
            del messages[failed["itemIdentifier"]]  # it comes again by itself
        for message in messages.values():
            self.queue.delete(message)
        return {json.loads(message.body)["campaign_id"] for message in messages.values()}

    def report_ends(self) -> None:
        """As EventBridge tells of jobs that have ended."""
        for request in self.stack.requests.all():
            for shard, job in self._jobs_of(request):
                if job.status in ENDED:
                    hear(_event(request, shard, job), self.stack)

    def stop(self, campaign_id: str) -> bool:
        """Stop a campaign's jobs, each after the window in hand; False if one goes on."""
        request = self.stack.requests[campaign_id]
        for _, job in self._jobs_of(request):
            self.jobs.stop(job.name)
        for _ in range(_PATIENCE):
            if all(job.status in ENDED for _, job in self._jobs_of(request)):
                self.report_ends()
                return True
            self.sleep(PAUSE)
        return False

    def _jobs_of(self, request: CampaignRequest) -> Iterator[tuple[Shard, JobDescription]]:
        """Jobs of the shards that have not ended, as far as they were created."""
        for shard in request.shards:
            job = self.jobs.describe(request.job_name(shard)) if shard.open else None
            if job is not None:
                yield shard, job

    def _refuse_the_dead(self, campaign_id: str, before: set[int]) -> None:
        for message in self.queue.dead_letters():
            if message.id not in before and campaign_id in message.body:
                raise RetryError(
                    f"campaign {campaign_id} could not be launched in {message.receives} attempts"
                )


def _only_waits(request: CampaignRequest) -> bool:
    """Whether nothing of it runs, and nobody is about to change that."""
    idle = all(shard.status != "submitted" for shard in request.shards)
    return request.status == "waiting" and idle and request.launching_until is None


def sqs_record(message: Received) -> dict[str, Any]:
    """A message as SQS hands it to Lambda."""
    return {
        "messageId": str(message.id),
        "receiptHandle": str(message.id),
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.receives)},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }


def _event(request: CampaignRequest, shard: Shard, job: JobDescription) -> dict[str, Any]:
    """The end of a job as EventBridge tells it, as far as it is read."""
    handed = {"campaign_id": request.campaign_id, "shard": str(shard.number)}
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Training Job State Change",
        "detail": {
            "TrainingJobName": job.name,
            "TrainingJobStatus": job.status,
            "SecondaryStatus": job.detail,
            "HyperParameters": handed,
        },
    }
