"""Training jobs: what is asked for, and how they fare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

PROJECT = ("Project", "CryptoTradingSystem")
"""Tag of everything that this system pays for; Cost Explorer sums by it."""
_CAMPAIGN_ID_LENGTH = 12


@dataclass(frozen=True)
class JobSpec:
    """What one training job is to do, and what it may use for it.

    Parameters
    ----------
    name
        Of the job (:func:`job_name`): the same job always has the same.
    hyperparameters
        Texts that the program in the container reads.
    input_uri, checkpoint_uri, output_uri
        ``s3://`` prefixes: what the job reads, where its checkpoints are synchronised with (a
        prefix used before restores what is there: one per campaign), where its results go.
    instance_type
        ``ml.…``, as SageMaker training has it.
    volume_gb
        Disk of the instance.
    max_runtime_seconds
        The job is stopped when it has run that long in all.
    max_wait_seconds
        The job is stopped when it has run and waited for Spot instances that long in all.
    environment
        Variables of the container.
    tags
        Shown in the console beside the project's own.
    """

    name: str
    hyperparameters: Mapping[str, str]
    input_uri: str
    checkpoint_uri: str
    output_uri: str
    instance_type: str
    volume_gb: int
    max_runtime_seconds: int
    max_wait_seconds: int
    environment: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def all_tags(self) -> dict[str, str]:
        """The tags with the project's own, which nothing overrides."""
        return {**self.tags, PROJECT[0]: PROJECT[1]}


@dataclass(frozen=True)
class JobDescription:
    """How a job fares.

    Parameters
    ----------
    status
        ``InProgress``, ``Completed``, ``Failed``, ``Stopping`` or ``Stopped``.
    detail
        SageMaker's secondary status; for a stopped job the reason: ``MaxRuntimeExceeded``,
        ``MaxWaitTimeExceeded`` or ``Stopped`` (by a person).
    interruptions
        How often its Spot instance was taken away so far.
    training_seconds, billable_seconds
        Time on instances and what of it is charged, at the price of an instance that is not
        Spot. None until SageMaker says.
    ended_at
        UTC; None while it runs.
    """

    name: str
    status: str
    detail: str
    failure_reason: str | None
    instance_type: str
    volume_gb: int
    interruptions: int
    training_seconds: int | None
    billable_seconds: int | None
    ended_at: datetime | None

    @property
    def savings(self) -> float | None:
        """Share of the price that Spot saved, by SageMaker's own formula; None until known."""
        if not self.training_seconds or self.billable_seconds is None:
            return None
        return 1 - self.billable_seconds / self.training_seconds


class Jobs(Protocol):
    """Starts training jobs and tells how they fare."""

    def create(self, spec: JobSpec) -> None:
        """Start a job; a name that is taken counts as started, so it may be called again.

        Raises
        ------
        ConfigError
            The job is not valid; the message names what is wrong with which field.
        CapacityError
            There is no instance now, or no quota: another type or a later time may do.
        RetryError
            It is not known whether the job was started: call again.
        StoreError
            Not allowed, or the credentials are not valid.
        """

    def describe(self, name: str) -> JobDescription | None:
        """How the job fares; None where there is none of that name.

        Raises
        ------
        RetryError, StoreError
            As for :meth:`create`.
        """


def job_name(
    asset: str, timeframe: str, campaign_id: str, shard: int, shards: int, submission: int
) -> str:
    """Name of a job, as ``BTCUSDT-1h-0a1b2c3d4e5f-shard1of2-0``: the same job, the same name.

    Parameters
    ----------
    campaign_id
        Its first twelve characters count.
    shard
        From 1 to ``shards``.
    submission
        0, and one more each time the job is submitted again after it ended without a result.
    """
    campaign = campaign_id[:_CAMPAIGN_ID_LENGTH]
    return f"{asset}-{timeframe}-{campaign}-shard{shard}of{shards}-{submission}"
