"""An AWS account whose true spend is known, and whose Cost Explorer learns of it a day late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from store.prices import PriceTable
from store.training_jobs import JobDescription

SPOT_USD_PER_HOUR = {"c5.xlarge": 0.08, "c6i.xlarge": 0.09, "m5.xlarge": 0.09, "m5.large": 0.05}


@dataclass(frozen=True)
class Job:
    """A training job; it pays its cost evenly while it is on an instance."""

    name: str
    instance_type: str
    started_at: datetime
    ended_at: datetime
    billable_seconds: int
    volume_gb: int
    usd: float

    def paid(self, since: datetime, until: datetime) -> float:
        """Its cost between two moments, USD."""
        seconds = (min(until, self.ended_at) - max(since, self.started_at)).total_seconds()
        whole = (self.ended_at - self.started_at).total_seconds()
        return self.usd * max(0.0, seconds) / whole

    @property
    def description(self) -> JobDescription:
        return JobDescription(
            name=self.name,
            status="Completed",
            detail="Completed",
            failure_reason=None,
            instance_type=self.instance_type,
            volume_gb=self.volume_gb,
            interruptions=0,
            training_seconds=round((self.ended_at - self.started_at).total_seconds()),
            billable_seconds=self.billable_seconds,
            ended_at=self.ended_at,
        )


class SimulatedAccount:
    """The account, and the clock of the world that it is in.

    Parameters
    ----------
    lag
        How late Cost Explorer learns of a cost.
    upkeep
        USD per hour that all else costs, beside the jobs.
    """

    def __init__(
        self, now: datetime, prices: PriceTable, lag: timedelta, upkeep: float = 0.0
    ) -> None:
        self.now = now
        self.jobs: dict[str, Job] = {}
        self.asked = 0
        self.fault: Exception | None = None
        """What Cost Explorer answers with instead."""
        self._prices = prices
        self._lag = lag
        self._upkeep = upkeep

    def __call__(self) -> datetime:
        return self.now

    def run(
        self,
        name: str,
        instance_type: str,
        *,
        waits: timedelta,
        training_seconds: int,
        billable_seconds: int,
        volume_gb: int,
    ) -> None:
        """Start a job, once; it waits for a Spot instance first."""
        started = self.now + waits
        ended = started + timedelta(seconds=training_seconds)
        usd = self._prices.usd(instance_type, billable_seconds, volume_gb, training_seconds)
        job = Job(name, instance_type, started, ended, billable_seconds, volume_gb, usd)
        self.jobs.setdefault(name, job)

    def ended(self) -> Iterator[Job]:
        return (job for job in self.jobs.values() if job.ended_at <= self.now)

    def running(self) -> Iterator[Job]:
        return (job for job in self.jobs.values() if job.ended_at > self.now)

    def spent(self, month: datetime, until: datetime | None = None) -> float:
        """True spend of the month that a moment is in, until now or before, USD."""
        begin = month.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        end = min((begin + timedelta(days=32)).replace(day=1), until or self.now)
        upkeep = self._upkeep * max(0.0, (end - begin) / timedelta(hours=1))
        return upkeep + sum(job.paid(begin, end) for job in self.jobs.values())

    def get_cost_and_usage(self, *, TimePeriod: dict[str, str], **query: Any) -> dict[str, Any]:
        """Cost Explorer's answer, for boto3's client."""
        self.asked += 1
        if self.fault:
            raise self.fault
        month = datetime.fromisoformat(TimePeriod["Start"]).replace(tzinfo=self.now.tzinfo)
        usd = self.spent(month, self.now - self._lag)
        total = {"UnblendedCost": {"Amount": repr(usd), "Unit": "USD"}}
        return {"ResultsByTime": [{"TimePeriod": TimePeriod, "Total": total, "Estimated": True}]}

    class exceptions:  # noqa: N801 - as boto3's client has it
        class DataUnavailableException(Exception):  # noqa: N818
            """Cost Explorer has nothing."""

    def get_paginator(self, operation: str) -> SimulatedAccount:
        assert operation == "describe_spot_price_history"
        return self

    def paginate(self, *, InstanceTypes: list[str], **query: Any) -> Iterator[dict[str, Any]]:
        """EC2's Spot prices, for boto3's client."""
        yield {
            "SpotPriceHistory": [
                {
                    "InstanceType": name,
                    "AvailabilityZone": "ap-southeast-1a",
                    "SpotPrice": str(SPOT_USD_PER_HOUR[name]),
                    "Timestamp": self.now,
                }
                for name in InstanceTypes
            ]
        }
