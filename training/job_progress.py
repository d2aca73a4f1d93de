"""Keeps the job's record up to date while a campaign's windows come in."""

from __future__ import annotations

from datetime import datetime, timedelta

from store.job_records import JobRecord
from training.checkpointing import Recalled
from training.trial import Trial
from training.walk_forward import TrialParameters, WindowResult

RECORD_EVERY = timedelta(seconds=5)
"""Checkpoints come several a second, and people read the record; resuming does not need it."""


class JobProgress:
    """A :class:`training.discovery.Listener` that writes to the state table.

    A window that was recalled is counted; only one that is new is a new checkpoint.
    """

    def __init__(self, job: JobRecord, recalled: Recalled) -> None:
        self._job = job
        self._old = {result.checkpoint for result in recalled.results.values()}
        self._done = 0
        self._newest: str | None = None
        self._recorded: datetime | None = None

    def window_done(self, number: int, parameters: TrialParameters, result: WindowResult) -> None:
        self._done += 1
        if result.checkpoint is None or result.checkpoint in self._old:
            return
        self._newest = result.checkpoint
        if self._recorded is None or self._job.clock() - self._recorded >= RECORD_EVERY:
            self.record()

    def trial_done(self, trial: Trial) -> None:
        """Trials say nothing that their windows have not said."""

    def record(self) -> None:
        """Write the newest checkpoint down now, if there is a new one."""
        if self._newest is not None:
            self._job.checkpointed(self._newest, self._done)
            self._newest, self._recorded = None, self._job.clock()
