"""What a person and a program are shown of a training job."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from rich.console import Console

from store.prices import InstancePrice, PriceTable
from store.training_jobs import JobDescription
from training.spot_job import job_cost, job_document, job_table

PRICES = PriceTable(
    as_of=date(2026, 11, 22),
    region="ap-southeast-1",
    source="a test",
    volume_usd_per_gb_month=0.168,
    instances={
        "ml.m5.large": InstancePrice(
            vcpus=2, memory_gib=8, training_usd_per_hour=0.144, ec2_usd_per_hour=0.12
        )
    },
)
DONE = JobDescription(
    name="BTCUSDT-1h-0a1b2c3d4e5f-shard1of2-0",
    status="Completed",
    detail="Completed",
    failure_reason=None,
    instance_type="ml.m5.large",
    volume_gb=30,
    interruptions=2,
    training_seconds=3600,
    billable_seconds=900,
    ended_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
)
RUNNING = replace(
    DONE,
    status="InProgress",
    detail="Interrupted",
    training_seconds=None,
    billable_seconds=None,
    ended_at=None,
)


def shown(job: JobDescription) -> str:
    console = Console(width=200, record=True)
    with console.capture() as capture:
        console.print(job_table(job, PRICES))
    return capture.get()


def test_a_job_costs_its_billable_time_with_its_volume() -> None:
    # A quarter of an hour is billed at 0.144; 30 GB are there for the hour that it took in all,
    # of a month of 28 days.
    assert job_cost(DONE, PRICES) == pytest.approx(0.25 * 0.144 + 30 * 0.168 / (28 * 24))


def test_what_a_running_job_costs_is_not_known() -> None:
    assert job_cost(RUNNING, PRICES) is None


def test_without_a_price_the_cost_is_not_known() -> None:
    assert job_cost(replace(DONE, instance_type="ml.p5.48xlarge"), PRICES) is None


def test_the_table_shows_how_the_job_fared() -> None:
    lines = [" ".join(line.split()) for line in shown(DONE).splitlines()]
    for line in (
        DONE.name,
        "status Completed",
        "instance ml.m5.large",
        "interruptions 2",
        "billable time 0:15:00 of 1:00:00",
        "saved by Spot 75.0%",
        "cost $0.0435 at the prices of 2026-11-22",
        "ended 2026-03-01 12:30:00 UTC",
    ):
        assert line in lines


def test_what_is_not_known_yet_is_a_dash() -> None:
    lines = [" ".join(line.split()) for line in shown(RUNNING).splitlines()]
    for line in (
        "status InProgress, Interrupted",
        "billable time - of -",
        "saved by Spot -",
        "cost -",
        "ended -",
    ):
        assert line in lines


def test_a_reason_is_shown_as_it_was_given_with_its_brackets() -> None:
    failed = replace(DONE, status="Failed", detail="Failed", failure_reason="[red] candles differ")
    assert "[red] candles differ" in shown(failed)


def test_a_program_reads_the_same_as_json() -> None:
    document = json.loads(json.dumps(job_document(DONE, PRICES)))
    assert document["interruptions"] == 2
    assert document["savings"] == 0.75
    assert document["cost_usd"] == job_cost(DONE, PRICES)
    assert datetime.fromisoformat(document["ended_at"]) == DONE.ended_at


def test_a_program_reads_null_where_something_is_not_known() -> None:
    document = json.loads(json.dumps(job_document(RUNNING, PRICES)))
    names = ("ended_at", "savings", "cost_usd", "billable_seconds")
    assert [document[name] for name in names] == [None] * 4
