"""A launcher's surroundings for tests: queue, clock, bill, and jobs that exist on paper only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving.campaign_requests import Campaign, CampaignRequest
from serving.initiate_validation_window import initiate
from serving.launch_spot_validator import launch
from serving.stack import Stack
from serving.training_job_events import hear
from store.prices import load_prices
from store.settings import SettingsFile
from store.spending import MonthToDate
from store.sqlite_queue import SqliteQueue
from store.sqlite_state import SqliteState
from store.state import StateTable
from store.training_jobs import JobDescription, JobSpec
from strategy.errors import RetryError
from tests.manual_clock import ManualClock

EVENTS = Path(__file__).parent / "events"
CAMPAIGN_ID = "0a1b2c3d4e5f"
VISIBILITY = 360.0
"""Seconds; longer than a launcher keeps a request to itself."""


class PaperJobs:
    """Jobs that are noted down, and fare as the test says."""

    def __init__(self, clock: ManualClock) -> None:
        self.specs: dict[str, JobSpec] = {}
        self.fault: Callable[[JobSpec], Exception | None] = lambda spec: None
        self.loses_answers = False
        """Whether a job is created and its creator not told so."""
        self.calls = 0
        self._clock = clock
        self._fates: dict[str, JobDescription] = {}

    def create(self, spec: JobSpec) -> None:
        self.calls += 1
        if fault := self.fault(spec):
            raise fault
        self.specs.setdefault(spec.name, spec)
        if self.loses_answers:
            raise RetryError(f"training job {spec.name}: AWS did not answer")

    def describe(self, name: str) -> JobDescription | None:
        if name not in self.specs:
            return None
        return self._fates.get(name) or self._description(name, "InProgress", "Training")

    def end(self, name: str, status: str = "Completed", **fate: Any) -> None:
        """Let a job end after an hour, of which half is billed."""
        ended = {"training_seconds": 3600, "billable_seconds": 1800, "ended_at": self._clock()}
        self._fates[name] = replace(
            self._description(name, status, fate.pop("detail", status)), **(ended | fate)
        )

    def _description(self, name: str, status: str, detail: str) -> JobDescription:
        spec = self.specs[name]
        return JobDescription(
            name=name,
            status=status,
            detail=detail,
            failure_reason=None,
            instance_type=spec.instance_type,
            volume_gb=spec.volume_gb,
            interruptions=0,
            training_seconds=None,
            billable_seconds=None,
            ended_at=None,
        )


class Bill:
    """Spending as the test says."""

    def __init__(self) -> None:
        self.usd = 0.0
        self.fault: Exception | None = None
        self.discount = 0.7

    def month_to_date(self, now: Any) -> MonthToDate:
        if self.fault:
            raise self.fault
        return MonthToDate(self.usd, 0.0, now)

    def spot_prices(self, instance_types: Sequence[str], now: Any) -> Mapping[str, float]:
        prices = load_prices()
        return {
            name: prices.instance(name).ec2_usd_per_hour * (1 - self.discount)
            for name in instance_types
        }


class Told(list[tuple[str, str]]):
    """A notifier that remembers; with a fault it cannot send."""

    fault: Exception | None = None

    def send(self, subject: str, text: str) -> None:
        if self.fault:
            raise self.fault
        self.append((subject, text))

    @property
    def subjects(self) -> list[str]:
        return [subject for subject, _ in self]


class World:
    """A stack in a folder, and what AWS does between its functions."""

    def __init__(self, folder: Path, state: StateTable | None = None) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.jobs = PaperJobs(self.clock)
        self.bill = Bill()
        self.told = Told()
        self.queue = SqliteQueue(folder / "queue.db", self.clock, VISIBILITY)
        self.settings = folder / "settings.json"
        self.stack = Stack(
            state=state or SqliteState(folder / "state.db", self.clock),
            queue=self.queue,
            jobs=self.jobs,
            notifier=self.told,
            settings=SettingsFile(self.settings),
            spending=self.bill,
            prices=load_prices(),
            clock=self.clock,
            inputs_uri=str(folder / "campaigns"),
            checkpoints=lambda config: config.in_bucket("trading"),
            output_uri="s3://trading/jobs",
            environment={"STATE_URI": "dynamodb://state", "MLFLOW_TRACKING_URI": "http://mlflow"},
        )

    def set(self, **cost: Any) -> None:
        """Change the operator's settings."""
        self.settings.write_text(json.dumps({"cost": cost}))

    def campaign(self, campaign_id: str = CAMPAIGN_ID, **changes: Any) -> Campaign:
        """A campaign whose input was set aside."""
        place = Path(self.stack.input_uri(campaign_id))
        place.mkdir(parents=True, exist_ok=True)
        (place / "market.json").write_text("{}")
        fields: dict[str, Any] = {
            "campaign_id": campaign_id,
            "asset": "BTCUSDT",
            "timeframe": "1h",
            "config_digest": "c0nf",
            "data_digest": "da7a",
            "code_digest": "c0de",
            "input_uri": str(place),
            "checkpoint_uri": "s3://trading/walk_forward_checkpoints/",
            "max_resume_attempts": 2,
        }
        return Campaign(**(fields | changes))

    def ask(
        self, campaign_id: str = CAMPAIGN_ID, shards: int = 1, **changes: Any
    ) -> CampaignRequest:
        return self.stack.requests.ask(
            self.queue, self.campaign(campaign_id, **changes), shards=shards, requested_by="ana"
        )

    def open_window(self) -> None:
        initiate({"action": "open"}, self.stack)

    def deliver(self) -> list[str]:
        """As Lambda polls SQS; returns the ids of the messages that are to come again."""
        messages = {str(message.id): message for message in self.queue.receive(10)}
        if not messages:
            return []
        answer = launch(
            {"Records": [sqs_record(i, m.body) for i, m in messages.items()]}, self.stack
        )
        failed = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
        for number, message in messages.items():
            if number not in failed:
                self.queue.delete(message)
        return failed

    def launched(self, shards: int = 1, **changes: Any) -> CampaignRequest:
        """A request whose jobs run."""
        self.ask(shards=shards, **changes)
        self.open_window()
        self.deliver()
        assert self.request.status == "running"
        return self.request

    def hear(self, job_name: str, status: str = "Completed") -> None:
        hear(state_change(job_name, status), self.stack)

    def report(self, number: int, **values: Any) -> None:
        """What a shard's job writes to its record."""
        shard = self.request.shard(number)
        assert shard is not None
        self.request.job_record(shard, self.stack.state, self.clock).write(**values)

    @property
    def request(self) -> CampaignRequest:
        return self.stack.requests[CAMPAIGN_ID]

    @property
    def reserved(self) -> list[str]:
        """Jobs that hold a reservation."""
        return self.stack.gate.ledger.running()


def job(shard: int = 1, shards: int = 1, submission: int = 0) -> str:
    """Name of a job of the campaign."""
    return f"BTCUSDT-1h-{CAMPAIGN_ID}-shard{shard}of{shards}-{submission}"


def sqs_record(message_id: str, body: str) -> dict[str, Any]:
    """A message as SQS hands it to Lambda."""
    record: dict[str, Any] = json.loads((EVENTS / "sqs_nudges.json").read_text())["Records"][0]
    return {**record, "messageId": message_id, "body": body}


def state_change(job_name: str, status: str = "Completed") -> dict[str, Any]:
    """EventBridge's event when a training job has ended."""
    event: dict[str, Any] = json.loads(
        (EVENTS / "sagemaker_training_job_state_change.json").read_text()
    )
    shard = job_name.split("-shard")[1].split("of")[0]
    event["detail"]["TrainingJobName"] = job_name
    event["detail"]["TrainingJobStatus"] = status
    event["detail"]["HyperParameters"]["shard"] = shard
    return event
