"""What a campaign's jobs agree on through the state table, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from store.aws import client
from store.dynamo_state import DynamoState
from store.job_records import JobRecord, campaign_partition, job_key
from store.sqlite_state import SqliteState
from store.state import StateTable
from tests.aws_fakes import create_state_table, fake_aws
from tests.manual_clock import ManualClock

TABLE, CAMPAIGN = "trading-state", "0123456789ab"
SHARDS = 12


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", "dynamodb"])
def state(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> Iterator[StateTable]:
    if request.param == "sqlite":
        yield SqliteState(tmp_path / "state.db", clock)
    else:
        with fake_aws():
            dynamodb = client("dynamodb")
            create_state_table(dynamodb, TABLE)
            yield DynamoState(dynamodb, TABLE, clock)


@pytest.fixture
def job(state: StateTable, clock: ManualClock) -> JobRecord:
    return JobRecord(state, CAMPAIGN, 1, 1, clock)


def test_a_job_that_was_never_begun_has_no_record(job: JobRecord) -> None:
    assert job.values == {}


def test_the_first_start_is_no_resumption(job: JobRecord) -> None:
    assert job.begin() == 0
    assert job.values["status"] == "running"
    assert job.values["began_at"] == "2026-03-01T12:00:00+00:00"


def test_a_job_that_was_submitted_is_not_resumed_by_its_first_start(job: JobRecord) -> None:
    job.write(status="submitted", job_name="campaign-1")
    assert job.begin() == 0
    assert job.values["job_name"] == "campaign-1"


def test_starts_without_progress_are_counted_and_a_checkpoint_begins_anew(job: JobRecord) -> None:
    assert [job.begin() for _ in range(4)] == [0, 1, 2, 3]
    job.checkpointed("ab12", windows_done=1)
    assert job.values["resume_attempts"] == 0
    assert [job.begin() for _ in range(2)] == [1, 2]


def test_the_newest_checkpoint_is_on_the_record(job: JobRecord, clock: ManualClock) -> None:
    job.begin()
    clock.forward(minutes=3)
    job.checkpointed("ab12", windows_done=17)
    found = job.values
    assert (found["checkpoint"], found["windows_done"]) == ("ab12", 17)
    assert found["checkpoint_at"] == found["updated_at"] == "2026-03-01T12:03:00+00:00"
    assert (found["shard"], found["shards"]) == (1, 1)


def test_a_record_lies_where_the_launcher_looks_for_it(job: JobRecord, state: StateTable) -> None:
    job.write(status="submitted")
    item = state.get(campaign_partition(CAMPAIGN), job_key(1, 1))
    assert item is not None and item.value == job.values


def test_two_who_write_at_once_both_succeed(job: JobRecord) -> None:
    together = Barrier(8)

    def writing(number: int) -> None:
        together.wait()
        job.write(**{f"from_{number}": number})

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(writing, range(8)))
    assert {f"from_{number}": number for number in range(8)}.items() <= job.values.items()


def test_exactly_one_of_many_jobs_is_the_last_and_hears_so_again(job: JobRecord) -> None:
    together = Barrier(SHARDS)
    jobs = [replace(job, shard=shard, shards=SHARDS) for shard in range(1, SHARDS + 1)]

    def covering(each: JobRecord) -> bool:
        together.wait()
        return each.covered()

    with ThreadPoolExecutor(SHARDS) as running:
        told = list(running.map(covering, jobs))
    assert told.count(True) == 1
    assert [each.covered() for each in jobs] == told


def test_no_job_is_the_last_while_one_is_missing(job: JobRecord) -> None:
    first, second, third = (replace(job, shard=shard, shards=3) for shard in (1, 2, 3))
    assert [first.covered(), third.covered(), first.covered()] == [False, False, False]
    assert second.covered()
    assert not third.covered()


def test_the_same_campaign_in_another_number_of_jobs_is_counted_apart(job: JobRecord) -> None:
    assert replace(job, shard=1, shards=1).covered()
    assert not replace(job, shard=1, shards=2).covered()
    assert not replace(job, campaign_id="ba9876543210", shard=2, shards=2).covered()


def test_all_jobs_agree_on_one_run(job: JobRecord) -> None:
    together = Barrier(SHARDS)

    def agreeing(number: int) -> str:
        together.wait()
        return job.agree_on_run(f"run-{number}", lambda run: True)

    with ThreadPoolExecutor(SHARDS) as running:
        agreed = set(running.map(agreeing, range(SHARDS)))
    assert len(agreed) == 1
    assert job.agree_on_run("a later one", lambda run: True) in agreed


def test_a_run_that_mlflow_has_lost_is_replaced_for_all(job: JobRecord) -> None:
    job.agree_on_run("lost", lambda run: True)
    assert job.agree_on_run("new", lambda run: run != "lost") == "new"
    assert job.agree_on_run("another", lambda run: run != "lost") == "new"
