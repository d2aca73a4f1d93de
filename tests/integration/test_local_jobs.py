"""Training jobs as processes: what they are given, and how it is known that they live or ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.local_jobs import LocalJobs
from store.training_jobs import JobSpec
from strategy.errors import StoreError
from tests.job_specs import job_spec

# What a job does: its words are Python, run in its own folder.
ENDS_WELL = "(base / 'model/result.json').write_text('{}')"
ENDS_BADLY = "(base / 'output/failure').write_text('ConfigError: no such key'); sys.exit(2)"
LIVES = "(base / 'alive').touch(); time.sleep(60)"
HEEDS = f"signal.signal(15, lambda *_: sys.exit(143)); {LIVES}"
BEGIN = (
    "import json, os, pathlib, signal, subprocess, sys, time; "
    "base = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR']); "
)


class Place:
    """Local jobs in a folder, that do what the test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = folder / "input"
        source.mkdir()
        (source / "market.json").write_text('{"asset": "BTCUSDT"}')
        self.spec: JobSpec = job_spec(
            input_uri=str(source), instance_type="local", environment={"STATE_URI": "sqlite:///x"}
        )

    def jobs(self, words: str = ENDS_WELL) -> LocalJobs:
        return LocalJobs(
            self.folder / "jobs", program=(sys.executable, "-c", BEGIN + words), cores=4
        )

    @property
    def root(self) -> Path:
        return self.folder / "jobs" / self.spec.name

    def start(self, words: str) -> LocalJobs:
        """A job that has come as far as to touch a file named alive."""
        jobs = self.jobs(words)
        jobs.create(self.spec)
        until(lambda: (self.root / "alive").exists())
        return jobs

    @property
    def pid(self) -> int:
        return int((self.root / "pid").read_text())

    def status(self) -> str:
        """As somebody sees it who has not started the job."""
        job = self.jobs().describe(self.spec.name)
        assert job is not None
        return job.status

    def ended(self) -> str:
        until(lambda: self.status() != "InProgress")
        return self.status()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    if (place.root / "pid").exists() and place.status() == "InProgress":
        os.killpg(place.pid, signal.SIGKILL)


def test_a_job_finds_what_sagemaker_would_give_it(place: Place) -> None:
    place.jobs("(base / 'seen').write_text(json.dumps(dict(os.environ))); " + ENDS_WELL).create(
        place.spec
    )
    assert place.ended() == "Completed"
    seen = json.loads((place.root / "seen").read_text())
    assert seen["STATE_URI"] == "sqlite:///x"
    assert seen["WORKERS"] == "2"  # of four cores, for the first of two shards
    handed = json.loads((place.root / "input/config/hyperparameters.json").read_text())
    assert handed == dict(place.spec.hyperparameters)
    assert (place.root / "input/data/campaign/market.json").read_text() == '{"asset": "BTCUSDT"}'


def test_a_name_that_is_taken_starts_nothing(place: Place) -> None:
    jobs = place.jobs("(base / 'runs').open('a').write('x'); " + ENDS_WELL)
    jobs.create(place.spec)
    jobs.create(place.spec)
    assert place.ended() == "Completed"
    jobs.create(place.spec)
    assert (place.root / "runs").read_text() == "x"
    assert place.ended() == "Completed"


def test_a_job_that_was_never_created_is_none(place: Place) -> None:
    assert place.jobs().describe("nothing") is None


def test_a_job_lives_on_when_the_process_that_started_it_dies(place: Place) -> None:
    launcher = (
        "import sys; from pathlib import Path; from store.local_jobs import LocalJobs\n"
        "from tests.job_specs import job_spec\n"
        f"LocalJobs(Path({str(place.folder / 'jobs')!r}), "
        f"program=(sys.executable, '-c', {BEGIN + LIVES!r})).create(job_spec("
        f"input_uri={place.spec.input_uri!r}))"
    )
    subprocess.run([sys.executable, "-c", launcher], check=True)
    until(lambda: (place.root / "alive").exists())
    assert place.status() == "InProgress"
    os.kill(place.pid, signal.SIGKILL)
    assert place.ended() == "Failed"


def test_another_process_with_the_same_number_is_not_taken_for_the_job(place: Place) -> None:
    place.start(LIVES)
    os.kill(place.pid, signal.SIGKILL)
    until(lambda: place.status() == "Failed")
    (place.root / "ended.json").unlink()
    (place.root / "pid").write_text(str(os.getpid()))
    assert place.status() == "Failed"
    place.jobs().stop(place.spec.name)  # and we are not sent a signal


def test_a_job_that_was_killed_has_failed_and_its_log_is_named(place: Place) -> None:
    jobs = place.start("print('so far', flush=True); " + LIVES)
    os.kill(place.pid, signal.SIGKILL)
    assert place.ended() == "Failed"
    job = jobs.describe(place.spec.name)
    assert job is not None
    assert job.failure_reason is not None
    assert str(place.root / "job.log") in job.failure_reason
    assert (place.root / "job.log").read_text() == "so far\n"


def test_why_a_job_failed_is_in_its_own_words(place: Place) -> None:
    jobs = place.jobs(ENDS_BADLY)
    jobs.create(place.spec)
    assert place.ended() == "Failed"
    job = jobs.describe(place.spec.name)
    assert job is not None
    assert job.failure_reason == "ConfigError: no such key"


def test_a_job_is_stopped_by_a_signal_to_its_first_process(place: Place) -> None:
    child = (
        "import pathlib, signal, time; here = pathlib.Path(); "
        "signal.signal(15, lambda *_: (here / 'struck').touch()); "
        "(here / 'ready').touch(); time.sleep(60)"
    )
    start = (
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], cwd=base); "
        "(base / 'child').write_text(str(child.pid))\n"
        "while not (base / 'ready').exists(): time.sleep(0.01)\n"
    )
    jobs = place.start(start + HEEDS)
    jobs.stop(place.spec.name)
    assert place.ended() == "Stopped"  # though its child lives, which is left to the job itself
    assert not (place.root / "struck").exists()
    os.kill(int((place.root / "child").read_text()), signal.SIGKILL)


def test_a_job_that_is_done_before_it_is_stopped_is_completed(place: Place) -> None:
    jobs = place.start(f"{ENDS_WELL}; {HEEDS}")
    jobs.stop(place.spec.name)
    assert place.ended() == "Completed"


def test_stopping_a_job_that_has_ended_changes_nothing(place: Place) -> None:
    jobs = place.jobs(ENDS_BADLY)
    jobs.create(place.spec)
    assert place.ended() == "Failed"
    jobs.stop(place.spec.name)
    assert place.status() == "Failed"


def test_how_a_job_ended_is_said_the_same_for_ever(place: Place) -> None:
    jobs = place.jobs()
    jobs.create(place.spec)
    place.ended()
    first = jobs.describe(place.spec.name)
    time.sleep(0.01)
    assert place.jobs().describe(place.spec.name) == first
    assert first is not None
    assert first.ended_at is not None
    assert first.savings is None  # nothing was paid


def test_a_launcher_that_died_just_before_the_process_began_leaves_a_failed_job(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    jobs = place.jobs()
    monkeypatch.setattr(subprocess, "Popen", dies)
    with pytest.raises(KeyboardInterrupt):
        jobs.create(place.spec)
    monkeypatch.undo()
    assert place.status() == "Failed"


def test_a_folder_that_cannot_be_written_is_named(place: Place) -> None:
    (place.folder / "jobs").write_text("a file")
    with pytest.raises(StoreError, match="jobs"):
        place.jobs().create(place.spec)
