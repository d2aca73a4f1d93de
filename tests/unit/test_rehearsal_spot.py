"""Spot in a rehearsal: jobs in simulated time, their discount, and a bill that is late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rehearsal.clock import SimulatedClock
from rehearsal.spot import SimulatedSpot
from store.prices import load_prices
from store.training_jobs import JobDescription
from tests.job_specs import job_spec

NOON = datetime(2024, 1, 30, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TYPE = "ml.m5.large"


class World:
    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.created: list[tuple[str, datetime]] = []
        self.clock = SimulatedClock(NOON)
        self.spot = SimulatedSpot(
            folder, self.clock, load_prices(), seed, lambda *told: self.created.append(told)
        )

    def ended(self, name: str, at: datetime) -> JobDescription:
        """A job that has run since NOON and ended then, without a process."""
        self.spot.create(job_spec(name=name))
        self.clock.now = at
        self.spot._ended[name] = self.spot._description(name, "Completed", "Completed", None)
        return self.spot._ended[name]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_job_is_created_once_and_takes_some_hours(world: World) -> None:
    for _ in range(2):
        world.spot.create(job_spec(name="a"))
        world.clock.sleep(60)
    ((name, end),) = world.created
    assert name == "a"
    assert HOUR <= end - NOON <= 4 * HOUR
    running = world.spot.describe("a")
    assert running is not None
    assert (running.status, running.ended_at) == ("InProgress", None)
    assert world.spot.describe("b") is None
    assert world.spot.ended == []


def test_how_long_a_job_takes_follows_from_seed_and_name(tmp_path: Path) -> None:
    def ends(seed: int) -> list[tuple[str, datetime]]:
        world = World(tmp_path, seed)
        for name in "abc":
            world.spot.create(job_spec(name=name))
        return world.created

    assert ends(1) == ends(1) != ends(2)
    assert len({end for _, end in ends(1)}) == 3


def test_it_is_billed_for_its_time_less_the_discount_of_the_day(world: World) -> None:
    job = world.ended("a", NOON + 2 * HOUR)
    assert job.training_seconds == 7200
    assert job.billable_seconds is not None
    assert 0.25 * 7200 <= job.billable_seconds <= 0.65 * 7200
    price = load_prices().instance(TYPE)
    spot = world.spot.spot_prices([TYPE], NOON)[TYPE]
    discount = 1 - spot / price.ec2_usd_per_hour
    assert job.billable_seconds == pytest.approx(7200 * (1 - discount), abs=1)
    usd = world.spot.cost(job)
    disk = load_prices().usd(TYPE, 0, job.volume_gb, 7200)
    assert usd - disk == pytest.approx(price.training_usd_per_hour * job.billable_seconds / 3600)


def test_the_discount_is_a_day_s_and_an_instance_type_s(world: World) -> None:
    def price(moment: datetime, name: str = TYPE) -> float:
        return world.spot.spot_prices([name], moment)[name]

    assert price(NOON) == price(NOON + HOUR)
    assert len({price(NOON + number * DAY) for number in range(10)}) == 10
    on_demand = load_prices().instance(TYPE).ec2_usd_per_hour
    assert all(0.25 < price(NOON + n * DAY) / on_demand < 0.65 for n in range(100))


def test_the_bill_is_a_day_late(world: World) -> None:
    job = world.ended("a", NOON + HOUR)
    for later, billed in ((0, False), (23.9, False), (24, True), (30, True)):
        month = world.spot.month_to_date(job.ended_at + later * HOUR)  # type: ignore[operator]
        assert month.usd == (world.spot.cost(job) if billed else 0)
        assert month.asking_usd == 0


def test_the_bill_is_of_the_month_alone(world: World) -> None:
    january = world.ended("a", NOON + HOUR)
    february = world.ended("b", datetime(2024, 2, 1, 3, tzinfo=UTC))
    bill = lambda *when: world.spot.month_to_date(datetime(*when, tzinfo=UTC)).usd  # noqa: E731
    assert bill(2024, 1, 31, 20) == world.spot.cost(january)
    assert bill(2024, 2, 1, 12) == 0
    assert bill(2024, 2, 3) == world.spot.cost(february)
    assert bill(2025, 2, 3) == 0


# Jobs that run: a process of their own, in place of the training program

WRITES_ITS_RESULT = 'echo {} >"$SAGEMAKER_BASE_DIR/model/result.json"'
NEVER_ENDS = 'echo 1 >"$CHECKPOINT_URI/1"; echo 2 >"$CHECKPOINT_URI/2"; exec sleep 600'


def run(
    world: World, folder: Path, program: str, interrupted_after: int | None = None
) -> JobDescription:
    for name in ("input", "checkpoints"):
        (folder / name).mkdir()
    (folder / "checkpoints" / "0").write_text("from before")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rehearsal.spot.PROGRAM", ("/bin/sh", "-c", program))
        spec = job_spec(
            name="a",
            input_uri=str(folder / "input"),
            environment={"CHECKPOINT_URI": str(folder / "checkpoints")},
        )
        world.spot.create(spec)
        world.clock.now = NOON + 2 * HOUR
        return world.spot.end("a", interrupted_after)


def test_a_job_does_its_work_when_it_ends_and_ends_by_the_rehearsal_s_clock(
    world: World, tmp_path: Path
) -> None:
    job = run(world, tmp_path, f"mkdir -p $SAGEMAKER_BASE_DIR/model; {WRITES_ITS_RESULT}")
    assert (job.status, job.ended_at, job.training_seconds) == ("Completed", NOON + 2 * HOUR, 7200)
    assert world.spot.describe("a") == job
    assert world.spot.ended == [job]


def test_an_instance_is_taken_away_once_checkpoints_were_written_anew(
    world: World, tmp_path: Path
) -> None:
    job = run(world, tmp_path, NEVER_ENDS, interrupted_after=2)
    assert job.status == "Failed"
    assert sorted(each.name for each in (tmp_path / "checkpoints").iterdir()) == ["0", "1", "2"]


def test_a_job_that_ends_before_that_is_not_interrupted(world: World, tmp_path: Path) -> None:
    program = f"mkdir -p $SAGEMAKER_BASE_DIR/model; {WRITES_ITS_RESULT}"
    assert run(world, tmp_path, program, interrupted_after=5).status == "Completed"
