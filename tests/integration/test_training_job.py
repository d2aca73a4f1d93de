"""The program in the training container, on SageMaker's files: what it refuses, in plain words."""

from __future__ import annotations

import json
import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.job_records import JobRecord
from strategy.errors import StoreError
from tests.integration.interruptions.campaigns import Job, Strike, pruning_config
from training import campaign as campaigns
from training.job import FAILURE_LENGTH, main

CONFIG = pruning_config()
FIX, RETRY = 2, 75


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each job is begun with."""
    job = Job(tmp_path_factory.mktemp("job"), CONFIG)
    job.prepare()
    return job.base


@pytest.fixture
def job(laid_out: Path, tmp_path: Path) -> Iterator[Job]:
    """Asked for and laid out, but not begun; the program's way with signals ends with the test."""
    found = Job(tmp_path, CONFIG)
    shutil.copytree(laid_out, found.base)
    ways = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield found
    root.setLevel(level)
    root.handlers[:] = handlers
    for number, way in ways.items():
        signal.signal(number, way)


def hyperparameters(job: Job) -> dict[str, str]:
    path = job.base / "input" / "config" / "hyperparameters.json"
    found: dict[str, str] = json.loads(path.read_text())
    return found


def refused(job: Job, **environment: str) -> str:
    """The failure file of a job that is wrong, which begins nothing."""
    assert main({**job.environment(), **environment}) == FIX
    assert not (job.var / "checkpoints").exists()
    assert job.failure is not None
    return job.failure


@pytest.mark.parametrize("name", ["campaign_id", "asset", "shard", "data_digest"])
def test_a_missing_hyperparameter_is_named(job: Job, name: str) -> None:
    given = hyperparameters(job)
    del given[name]
    job.write_hyperparameters(**given)
    failure = refused(job)
    assert failure.startswith("ConfigError: ")
    assert "hyperparameters.json" in failure
    assert f"'{name}'" in failure


def test_an_unknown_hyperparameter_is_named(job: Job) -> None:
    job.write_hyperparameters(**hyperparameters(job), colour="red")
    assert "'colour'" in refused(job)


@pytest.mark.parametrize(
    ("shard", "shards", "says"),
    [
        ("one", "1", "'one'"),
        ("1.0", "1", "'1.0'"),
        ("0", "1", "shard 0 of 1 does not exist"),
        ("3", "2", "shard 3 of 2 does not exist"),
    ],
)
def test_a_shard_that_is_none_is_named(job: Job, shard: str, shards: str, says: str) -> None:
    job.write_hyperparameters(**hyperparameters(job) | {"shard": shard, "shards": shards})
    assert says in refused(job)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"not json", b"\xff\xfe"])
def test_hyperparameters_that_cannot_be_read_are_named(job: Job, content: bytes | None) -> None:
    path = job.base / "input" / "config" / "hyperparameters.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert f"{path}: the job's hyperparameters cannot be used" in refused(job)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("config_digest", "the config that was set aside was changed"),
        ("data_digest", "the candles that were set aside were changed"),
        ("code_digest", "the image holds another version of the code"),
        ("campaign_id", "it is another campaign's"),
    ],
)
def test_a_job_of_another_campaign_is_refused_and_what_differs_is_named(
    job: Job, name: str, why: str
) -> None:
    job.write_hyperparameters(**hyperparameters(job) | {name: "0123456789ab" + "c" * 52})
    failure = refused(job)
    assert f"ConfigError: {name} is " in failure
    assert "was asked for 0123456789ab" in failure
    assert why in failure
    values = job.record.values
    assert (values["status"], values["worth_retrying"]) == ("failed", False)
    assert values["reason"] == failure


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "STATE_URI", "CHECKPOINT_URI"])
def test_a_missing_environment_variable_is_named(job: Job, name: str) -> None:
    assert f"the environment variable {name} is not set" in refused(job, **{name: ""})


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5"])
def test_a_number_of_workers_that_is_none_is_named(job: Job, workers: str) -> None:
    assert f"WORKERS is '{workers}'" in refused(job, WORKERS=workers)


@pytest.mark.parametrize("name", ["config.json", "candles.csv.gz", "market.json"])
def test_a_missing_input_file_is_named(job: Job, name: str) -> None:
    (job.base / "input" / "data" / "campaign" / name).unlink()
    assert name in refused(job)
    assert name in job.record.values["reason"]


def test_a_placeholder_for_the_bucket_is_named(job: Job) -> None:
    assert "s3://[BUCKET_NAME]" in refused(job, CHECKPOINT_URI="s3://[BUCKET_NAME]/checkpoints/")


def test_a_server_that_does_not_answer_is_worth_a_retry(job: Job) -> None:
    assert main({**job.environment(), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}) == RETRY
    assert job.failure is not None
    assert job.failure.startswith("RetryError: http://127.0.0.1:9")
    values = job.record.values
    assert (values["status"], values["worth_retrying"]) == ("failed", True)


def test_a_job_that_is_resumed_too_often_without_a_checkpoint_gives_up(job: Job) -> None:
    for _ in range(CONFIG["checkpoint_config"]["max_resume_attempts"] + 1):
        job.record.begin()
    assert "resumed 101 times in a row without finishing a single window" in refused(job)
    assert job.record.values["status"] == "failed"


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(request: object) -> None:
        raise error

    monkeypatch.setattr(campaigns, "run_campaign", fails)


def test_an_unexpected_error_is_told_in_full_to_the_log_and_in_short_to_sagemaker(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, KeyError("x" * 5000))
    with pytest.raises(KeyError):
        main(job.environment())
    assert job.failure is not None
    assert job.failure.startswith("KeyError: 'xxx")
    assert len(job.failure) == FAILURE_LENGTH
    assert job.record.values["status"] == "failed"


def test_a_record_that_cannot_be_written_does_not_hide_what_failed_first(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise StoreError("the state table is gone too")

    failing(monkeypatch, StoreError("the disk is full"))
    monkeypatch.setattr(JobRecord, "write", refuses)
    assert refused(job) == "StoreError: the disk is full"


@pytest.mark.torture
def test_a_job_that_is_killed_before_any_window_gives_up_unless_one_came_between(
    tmp_path: Path,
) -> None:
    config = pruning_config()
    config["checkpoint_config"]["max_resume_attempts"] = 1
    job = Job(tmp_path, config)
    for place in ("dataset-logged", "record-written", "dataset-logged"):
        ended = job.attempt(Strike(place))
        assert (ended.status, ended.strikes) == (-signal.SIGKILL, 1), ended.output
        assert job.failure is None
    assert job.attempt().status == FIX
    assert job.failure is not None
    assert job.failure.startswith("FixError: the job was resumed 2 times in a row")
    assert "max_resume_attempts = 1" in job.failure
