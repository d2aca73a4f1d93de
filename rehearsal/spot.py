"""SageMaker managed Spot in a rehearsal: real jobs on this machine, in the rehearsal's time.

A job is asked for, takes some hours, and ends: all that it does, in a process of its own, it does
at that moment. What it costs follows from the table of prices and the day's Spot discount.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from rehearsal.clock import SimulatedClock
from store.local_jobs import LocalJobs
from store.objects import Objects, open_objects
from store.prices import PriceTable
from store.spending import MonthToDate
from store.training_jobs import JobDescription, JobSpec
from strategy.errors import RetryError

PROGRAM = (sys.executable, "-m", "rehearsal.job")
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 1800.0
_BILL_IS_LATE = timedelta(hours=24)


@dataclass
class SimulatedSpot:
    """Jobs and their bill; implements :class:`store.training_jobs.Jobs` and
    :class:`store.spending.Spending`.

    Parameters
    ----------
    on_created
        Told of a job and when it will have ended.
    """

    folder: Path
    clock: SimulatedClock
    prices: PriceTable
    seed: int
    on_created: Callable[[str, datetime], None]
    _specs: dict[str, JobSpec] = field(default_factory=dict, init=False, repr=False)
    _begun: dict[str, datetime] = field(default_factory=dict, init=False, repr=False)
    _ended: dict[str, JobDescription] = field(default_factory=dict, init=False, repr=False)

    # What the functions use

    def create(self, spec: JobSpec) -> None:
        if spec.name not in self._specs:
            self._specs[spec.name], self._begun[spec.name] = spec, self.clock()
            self.on_created(spec.name, self.clock() + self._length(spec.name))

    def describe(self, name: str) -> JobDescription | None:
        if name not in self._specs:
            return None
        return self._ended.get(name) or self._description(name, "InProgress", "Training", None)

    def month_to_date(self, now: datetime) -> MonthToDate:
        """What was billed by a day ago: bills are late."""
        known = now - _BILL_IS_LATE
        usd = sum(self.cost(job) for job in self._ended.values() if _ended_by(job, now, known))
        return MonthToDate(usd=usd, asking_usd=0.0, at=now)

    def spot_prices(self, instance_types: Sequence[str], now: datetime) -> Mapping[str, float]:
        return {
            name: self.prices.instance(name).ec2_usd_per_hour * (1 - self._discount(name, now))
            for name in instance_types
        }

    # What the rehearsal uses

    @property
    def ended(self) -> list[JobDescription]:
        """All jobs that have ended, in order."""
        return list(self._ended.values())

    def cost(self, job: JobDescription) -> float:
        """What a job that has ended cost, USD."""
        return self.prices.usd(
            job.instance_type, job.billable_seconds or 0, job.volume_gb, job.training_seconds or 0
        )

    def end(self, name: str, interrupted_after: int | None = None) -> JobDescription:
        """Let a job do what it does, in a process of its own, and end.

        Parameters
        ----------
        interrupted_after
            Its instance is taken away, without a warning, when so many checkpoints were written
            anew; None: it is left alone.

        Raises
        ------
        RetryError
            It has not ended within half an hour of real time.
        """
        spec = self._specs[name]
        local = LocalJobs(self.folder, self.clock, PROGRAM)
        checkpoints = self._checkpoints(name)
        before = len(checkpoints.entries())  # the job may write its first ones at once
        local.create(spec)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (job := local.describe(name)) is not None and job.status == "InProgress":
            if interrupted_after is not None and (
                len(checkpoints.entries()) - before >= interrupted_after
            ):
                _kill(self.folder / name)
            if time.monotonic() > deadline:
                raise RetryError(f"job {name} runs for half an hour: see {self.folder / name}")
            time.sleep(_POLL_SECONDS)
        if job is None:
            raise RetryError(f"job {name} was not created")
        self._ended[name] = self._description(name, job.status, job.detail, job.failure_reason)
        return self._ended[name]

    def spoil_a_checkpoint(self, name: str, dice: float) -> bool:
        """Flip a byte in one of a job's checkpoints; False where there are none."""
        checkpoints = self._checkpoints(name)
        found = [entry.name for entry in checkpoints.entries()]
        if not found:
            return False
        chosen = found[int(dice * len(found))]
        content = bytearray(checkpoints.read(chosen) or b"")
        content[int(dice * len(content))] ^= 0xFF
        checkpoints.replace(chosen, bytes(content))
        return True

    def state_change(self, name: str) -> Mapping[str, Any]:
        """The event by which EventBridge tells that a training job has ended."""
        job = self._ended[name]
        return {
            "source": "aws.sagemaker",
            "detail-type": "SageMaker Training Job State Change",
            "detail": {
                "TrainingJobName": name,
                "TrainingJobStatus": job.status,
                "SecondaryStatus": job.detail,
                "HyperParameters": dict(self._specs[name].hyperparameters),
            },
        }

    def _checkpoints(self, name: str) -> Objects:
        return open_objects(self._specs[name].environment["CHECKPOINT_URI"])

    def _description(
        self, name: str, status: str, detail: str, reason: str | None
    ) -> JobDescription:
        spec, running = self._specs[name], status == "InProgress"
        seconds = round((self.clock() - self._begun[name]).total_seconds())
        discount = self._discount(spec.instance_type, self._begun[name])
        return JobDescription(
            name=name,
            status=status,
            detail=detail,
            failure_reason=reason,
            instance_type=spec.instance_type,
            volume_gb=spec.volume_gb,
            interruptions=0,
            training_seconds=None if running else seconds,
            billable_seconds=None if running else round(seconds * (1 - discount)),
            ended_at=None if running else self.clock(),
        )

    def _length(self, name: str) -> timedelta:
        rng = np.random.default_rng([self.seed, crc32(name.encode())])
        # Half a minute: whether a tick of the same moment comes before or after would be chance.
        return timedelta(minutes=int(rng.integers(60, 240)), seconds=30)

    def _discount(self, instance_type: str, now: datetime) -> float:
        rng = np.random.default_rng([self.seed, now.toordinal(), crc32(instance_type.encode())])
        return float(rng.uniform(0.35, 0.75))


def _ended_by(job: JobDescription, now: datetime, known: datetime) -> bool:
    """Whether a job ended in the month of ``now``, and long enough ago to be on its bill."""
    ended = job.ended_at
    if ended is None or ended > known:
        return False
    return (ended.year, ended.month) == (now.year, now.month)


def _kill(place: Path) -> None:
    """The job and all its processes, at once."""
    with suppress(ProcessLookupError, FileNotFoundError, ValueError):
        os.killpg(int((place / "pid").read_text()), signal.SIGKILL)
