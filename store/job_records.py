"""What the state table knows of a campaign's jobs while they run: progress, and who is last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from store.clock import Clock
from store.state import StateTable, update

Values = Mapping[str, Any]


def campaign_partition(campaign_id: str) -> str:
    """Partition of the state table that holds a campaign's jobs."""
    return f"campaign#{campaign_id}"


def job_key(shard: int, shards: int) -> str:
    """Key of a job within its campaign."""
    return f"shard-{shard}of{shards}"


@dataclass(frozen=True)
class JobRecord:
    """The record of one job; the launcher and the job itself both write to it.

    Its values: ``status`` (``submitted``, ``running``, ``completed`` or ``failed``),
    ``windows_done``, ``checkpoint`` (hash of the last one) and ``checkpoint_at``,
    ``resume_attempts`` since then, ``monte_carlo`` (status), ``verdict`` and ``reason``.
    Times are UTC, ISO 8601.

    Parameters
    ----------
    shard, shards
        Which of how many jobs share the campaign; the first is 1.
    """

    state: StateTable
    campaign_id: str
    shard: int
    shards: int
    clock: Clock

    @property
    def values(self) -> Values:
        """The record as it is now; empty before the job was submitted or begun."""
        found = self.state.get(campaign_partition(self.campaign_id), self._key)
        return found.value if found else {}

    def write(self, **changes: Any) -> Values:
        """Change some values, whoever else writes to the record meanwhile."""
        return self._update(lambda values: changes)

    def begin(self) -> int:
        """Note that the job runs; returns how often in a row it was resumed without progress."""

        def begun(values: Values) -> Values:
            began_before = "began_at" in values
            return {
                "status": "running",
                "began_at": self._now(),
                "resume_attempts": values.get("resume_attempts", 0) + began_before,
            }

        attempts: int = self._update(begun)["resume_attempts"]
        return attempts

    def checkpointed(self, sha256: str, windows_done: int) -> None:
        """Note the newest checkpoint; having made one, the job may be resumed as often again."""
        self.write(
            checkpoint=sha256,
            checkpoint_at=self._now(),
            windows_done=windows_done,
            resume_attempts=0,
        )

    def covered(self) -> bool:
        """Note that this job's part is walked; True for the one job that was the last.

        Decided by one conditional write, so that exactly one job is told so, and always the
        same one: asked again after an interruption it hears the same.
        """

        def one_more(values: Values | None) -> Values:
            done = set(values["covered"]) if values else set()
            last = values["last"] if values else None
            if len(done | {self.shard}) == self.shards and last is None:
                last = self.shard
            return {"covered": sorted(done | {self.shard}), "last": last}

        partition, key = campaign_partition(self.campaign_id), f"coverage-of-{self.shards}"
        return bool(update(self.state, partition, key, one_more).value["last"] == self.shard)

    def agree_on_run(self, run_id: str, is_there: Callable[[str], bool]) -> str:
        """The campaign's one run in MLflow: this one, unless another job was faster.

        Parameters
        ----------
        is_there
            Whether MLflow has a run of this id: a store that was begun anew has lost the one
            that was agreed on before.
        """

        def first(values: Values | None) -> Values:
            return values if values and is_there(values["run_id"]) else {"run_id": run_id}

        partition = campaign_partition(self.campaign_id)
        agreed: str = update(self.state, partition, "mlflow", first).value["run_id"]
        return agreed

    @property
    def _key(self) -> str:
        return job_key(self.shard, self.shards)

    def _update(self, change: Any) -> Values:
        now = self._now()

        def changed(values: Values | None) -> Values:
            before = values or {"shard": self.shard, "shards": self.shards}
            return {**before, **change(before), "updated_at": now}

        return update(self.state, campaign_partition(self.campaign_id), self._key, changed).value

    def _now(self) -> str:
        return self.clock().isoformat(timespec="seconds")
