"""Campaigns that were asked for: one item of the state table each, and nudges to look at it.

A request is the truth about what is to be launched; a message on the queue only says that there
may be something to do, and may be lost, late or doubled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field

from store.clock import Clock
from store.job_records import JobRecord
from store.queue import Queue
from store.state import StateTable, Value, update
from store.training_jobs import job_name
from strategy.errors import DataError

PARTITION = "requests"
"""Of the state table; the key is the campaign's id."""

Status = Literal["waiting", "running", "completed", "failed"]


class Shard(BaseModel):
    """One of the jobs that share a campaign, as the launcher sees it.

    ``waiting`` to be launched, ``submitted``, ``completed`` or ``failed`` (a person must act).

    Parameters
    ----------
    submission
        How often it was submitted anew: a part of its job's name.
    failures
        How often in a row it ended without a result and without a new checkpoint.
    checkpoint
        Hash of the newest checkpoint when it ended so last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=1)]
    status: Literal["waiting", "submitted", "completed", "failed"] = "waiting"
    submission: int = 0
    failures: int = 0
    checkpoint: str | None = None

    @property
    def open(self) -> bool:
        """Whether a job of it may be running, or is still to be launched."""
        return self.status in ("waiting", "submitted")


class Campaign(BaseModel):
    """What is asked for, set aside at ``input_uri``; digests are SHA-256."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    campaign_id: str
    asset: str
    timeframe: str
    config_digest: str
    data_digest: str
    code_digest: str
    input_uri: str
    checkpoint_uri: str
    max_resume_attempts: int
    """How often in a row a shard may end without a new checkpoint and be submitted again."""


class CampaignRequest(Campaign):
    """A campaign that was asked for, and how far it has come. Times are UTC.

    Parameters
    ----------
    reason
        Why it is where it is, in plain words.
    decision
        The last one of the cost gate, with its figures.
    launching_until
        Until then one launcher works on it, and no other does.
    """

    requested_by: str
    requested_at: datetime
    updated_at: datetime
    shards: Annotated[tuple[Shard, ...], Field(min_length=1)]
    reason: str = ""
    decision: dict[str, Any] | None = None
    launching_until: datetime | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def status(self) -> Status:
        """Follows from its shards, so that the two never disagree."""
        statuses = {shard.status for shard in self.shards}
        if "failed" in statuses:
            return "failed"
        if statuses == {"completed"}:
            return "completed"
        return "waiting" if "waiting" in statuses else "running"

    @property
    def market(self) -> str:
        """The registered model, as ``BTCUSDT-1h``."""
        return f"{self.asset}-{self.timeframe}"

    @property
    def waiting_shards(self) -> list[Shard]:
        return [shard for shard in self.shards if shard.status == "waiting"]

    def shard(self, number: int) -> Shard | None:
        return next((shard for shard in self.shards if shard.number == number), None)

    def job_name(self, shard: Shard) -> str:
        """Name of the job of a shard's present submission."""
        return job_name(
            self.asset,
            self.timeframe,
            self.campaign_id,
            shard.number,
            len(self.shards),
            shard.submission,
        )

    def job_record(self, shard: Shard, state: StateTable, clock: Clock) -> JobRecord:
        """What the job itself, or the one before it, has told of its progress."""
        return JobRecord(state, self.campaign_id, shard.number, len(self.shards), clock)

    def changed(self, **values: Any) -> CampaignRequest:
        return self.model_copy(update=values)

    def with_shard(self, shard: Shard) -> CampaignRequest:
        """The request with this shard in the place of the one of its number."""
        others = (shard if each.number == shard.number else each for each in self.shards)
        return self.changed(shards=tuple(others))


@dataclass(frozen=True)
class Requests:
    """The requests in the state table; raises as that does.

    Every change is one conditional write of one item.
    """

    state: StateTable
    clock: Clock

    def ask(
        self, queue: Queue, campaign: Campaign, *, shards: int, requested_by: str
    ) -> CampaignRequest:
        """Ask for a campaign, and nudge the launcher.

        A campaign that was asked for before is the same request, with the number of shards it
        had then. One that failed is armed again: what failed of it may be launched, and
        resumed, as often as anew. One that is completed stays so.
        """
        before = self.get(campaign.campaign_id)
        for shard in before.shards if before else ():
            if before and shard.status == "failed":
                before.job_record(shard, self.state, self.clock).write(resume_attempts=0)
        now = self.clock()

        def asked(value: Value | None) -> Value:
            if value is None:
                numbers = range(1, shards + 1)
                return _document(
                    CampaignRequest(
                        **campaign.model_dump(),
                        requested_by=requested_by,
                        requested_at=now,
                        updated_at=now,
                        shards=tuple(Shard(number=number) for number in numbers),
                        reason="asked for",
                    )
                )
            request = _request(value, campaign.campaign_id)
            if request.status != "failed":
                return value
            return _document(_armed(request).changed(requested_by=requested_by, requested_at=now))

        update(self.state, PARTITION, campaign.campaign_id, asked)
        request = self[campaign.campaign_id]
        if request.status == "waiting":
            nudge(queue, request)
        return request

    def get(self, campaign_id: str) -> CampaignRequest | None:
        """The request; None if the campaign was never asked for.

        Raises
        ------
        DataError
            What is in the table is not a request.
        """
        item = self.state.get(PARTITION, campaign_id)
        return _request(item.value, campaign_id) if item else None

    def __getitem__(self, campaign_id: str) -> CampaignRequest:
        request = self.get(campaign_id)
        if request is None:
            raise DataError(f"campaign {campaign_id!r} was never asked for")
        return request

    def all(self) -> list[CampaignRequest]:
        """Every request, in order of campaign id."""
        return [_request(item.value, item.key) for item in self.state.items(PARTITION)]

    def waiting(self) -> list[CampaignRequest]:
        """Those with a shard to be launched, for the first time or again."""
        return [request for request in self.all() if request.status == "waiting"]

    def change(
        self, campaign_id: str, change: Callable[[CampaignRequest], CampaignRequest]
    ) -> CampaignRequest:
        """Change a request, whoever else does meanwhile; what ``change`` raises ends it.

        Raises
        ------
        DataError
            There is no such request.
        """
        now = self.clock()

        def changed(value: Value | None) -> Value:
            if value is None:
                raise DataError(f"campaign {campaign_id!r} was never asked for")
            before = _request(value, campaign_id)
            after = change(before)
            return value if after == before else _document(after.changed(updated_at=now))

        item = update(self.state, PARTITION, campaign_id, changed)
        return _request(item.value, campaign_id)


def nudge(queue: Queue, request: CampaignRequest) -> None:
    """Have the launcher look at a request; raises as the queue does."""
    queue.send(json.dumps({"campaign_id": request.campaign_id}))


def _armed(request: CampaignRequest) -> CampaignRequest:
    shards = tuple(
        Shard(number=shard.number, submission=shard.submission + 1)
        if shard.status == "failed"
        else shard
        for shard in request.shards
    )
    return request.changed(shards=shards, reason="asked for again", launching_until=None)


def _document(request: CampaignRequest) -> Value:
    return request.model_dump(mode="json")


def _request(value: Value, campaign_id: str) -> CampaignRequest:
    try:
        return CampaignRequest.model_validate(value)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        raise DataError(
            f"the request for campaign {campaign_id!r} in the state table cannot be read "
            f"({places}): correct or remove it"
        ) from error
