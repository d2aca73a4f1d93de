"""Training jobs as processes on this machine, in the folders that SageMaker would give them.

A job outlives the process that started it: whether it runs is told by a lock that it alone
holds, which survives a restart of its launcher and cannot be mistaken for another process.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from store.clock import Clock, utc_now
from store.objects import FolderObjects, open_objects
from store.training_jobs import JobDescription, JobSpec
from strategy.errors import StoreError

PROGRAM = (sys.executable, "-m", "training.job")
FAILURE_LENGTH = 1024


@dataclass(frozen=True)
class _Place:
    """The files of one job; SageMaker's own have its names."""

    root: Path

    @property
    def hyperparameters(self) -> Path:
        return self.root / "input" / "config" / "hyperparameters.json"

    @property
    def campaign(self) -> Path:
        return self.root / "input" / "data" / "campaign"

    @property
    def result(self) -> Path:
        return self.root / "model" / "result.json"

    @property
    def failure(self) -> Path:
        return self.root / "output" / "failure"

    @property
    def log(self) -> Path:
        return self.root / "job.log"

    @property
    def started(self) -> Path:
        """When; it is there from just before the process is."""
        return self.root / "started.json"

    @property
    def process(self) -> Path:
        return self.root / "pid"

    @property
    def stop(self) -> Path:
        """It is there once the job was asked to stop."""
        return self.root / "stop"

    @property
    def ended(self) -> Path:
        """How it ended, as it was first found."""
        return self.root / "ended.json"

    @property
    def creation(self) -> Path:
        """Locked by who creates the job."""
        return self.root / "creation.lock"

    @property
    def life(self) -> Path:
        """Locked by the job for as long as it lives."""
        return self.root / "life.lock"


@dataclass(frozen=True)
class LocalJobs:
    """Jobs on this machine; implements :class:`store.training_jobs.Jobs`.

    They run as long as they take: limits of time, and the instance type, are SageMaker's.

    Parameters
    ----------
    folder
        Each job has a folder of its name in it, with ``job.log``.
    program
        What a job runs.
    cores
        Of this machine, shared evenly by the jobs of a campaign.
    """

    folder: Path
    clock: Clock = utc_now
    program: Sequence[str] = PROGRAM
    cores: int = os.cpu_count() or 1

    def create(self, spec: JobSpec) -> None:
        place = _Place(self.folder / spec.name)
        with _told(place.root), _locked(place.creation, fcntl.LOCK_EX):
            if place.started.exists():
                return
            self._lay_out(place, spec)
            # Held by whoever has this descriptor open: us, and from then on the job alone.
            with _locked(place.life, fcntl.LOCK_EX) as descriptor:
                _write(place.started, {"at": self.clock().isoformat(), "type": spec.instance_type})
                process = self._start(place, spec, descriptor)
                _write(place.process, process.pid)

    def describe(self, name: str) -> JobDescription | None:
        place = _Place(self.folder / name)
        with _told(place.root):
            if not place.started.exists():
                return None
            if not place.ended.exists():
                if _is_held(place.life):
                    return _description(place, ("InProgress", "Training", None))
                at = self.clock().isoformat()
                _write(place.ended, {"at": at, "how": _how_it_ended(place)})
            return _description(place, tuple(json.loads(place.ended.read_bytes())["how"]))

    def stop(self, name: str) -> None:
        """Ask a job that runs to stop: SIGTERM, to its first process only, as SageMaker does.

        Raises
        ------
        StoreError
            It may not be stopped, or its process is not known.
        """
        place = _Place(self.folder / name)
        with _told(place.root):
            if not (place.started.exists() and _is_held(place.life)):
                return
            place.stop.touch()
            try:
                os.kill(int(place.process.read_text()), signal.SIGTERM)
            except (ProcessLookupError, PermissionError, FileNotFoundError, ValueError) as error:
                if _is_held(place.life):
                    raise StoreError(f"{name} runs, but cannot be stopped: {error}") from error

    def _lay_out(self, place: _Place, spec: JobSpec) -> None:
        source = open_objects(spec.input_uri)
        target = FolderObjects(place.campaign)
        for name, content in source.read_all([entry.name for entry in source.entries()]):
            target.replace(name, content)
        for folder in (place.hyperparameters.parent, place.result.parent, place.failure.parent):
            folder.mkdir(parents=True, exist_ok=True)
        _write(place.hyperparameters, dict(spec.hyperparameters))

    def _start(self, place: _Place, spec: JobSpec, life: int) -> subprocess.Popen[bytes]:
        shards = int(spec.hyperparameters.get("shards", "1"))
        own = {
            "SAGEMAKER_BASE_DIR": str(place.root),
            "WORKERS": str(max(1, self.cores // shards)),
        }
        with place.log.open("ab") as log:
            return subprocess.Popen(
                self.program,
                env={**os.environ, **spec.environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(life,),
                start_new_session=True,  # Ctrl-C is for the launcher
            )


def _how_it_ended(place: _Place) -> tuple[str, str, str | None]:
    """Status, detail and reason, in SageMaker's words, of a job that runs no more."""
    if place.result.exists():
        return "Completed", "Completed", None
    if place.stop.exists():
        return "Stopped", "Stopped", None
    if place.failure.exists():
        return "Failed", "Failed", place.failure.read_text(encoding="utf-8")[:FAILURE_LENGTH]
    return "Failed", "Failed", f"the process ended without a result; see {place.log}"


def _description(place: _Place, how: tuple[str, str, str | None]) -> JobDescription:
    status, detail, reason = how
    started = json.loads(place.started.read_bytes())
    ended_at = None
    if status != "InProgress":
        ended_at = datetime.fromisoformat(json.loads(place.ended.read_bytes())["at"])
    seconds = None
    if ended_at is not None:
        seconds = round((ended_at - datetime.fromisoformat(started["at"])).total_seconds())
    return JobDescription(
        name=place.root.name,
        status=status,
        detail=detail,
        failure_reason=reason,
        instance_type=started["type"],
        volume_gb=0,
        interruptions=0,
        training_seconds=seconds,
        billable_seconds=None,
        ended_at=ended_at,
    )


@contextmanager
def _locked(path: Path, how: int) -> Iterator[int]:
    """Lock a file; the lock ends with the last process that has inherited the descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_held(path: Path) -> bool:
    try:
        with _locked(path, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


def _write(path: Path, content: object) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)


@contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{place} cannot be used: {error}; free or unlock it") from error
