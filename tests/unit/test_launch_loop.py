"""The loop that plays AWS's part on one machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.campaign_requests import CampaignRequest
from serving.local_launcher import LocalLauncher
from strategy.errors import ConfigError, RetryError, StoreError
from tests.launch_world import CAMPAIGN_ID, VISIBILITY, World, job


class Machine(World):
    """Jobs on paper, which fare as the test says whenever the launcher sleeps."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: list[str] = []
        self.stopped: list[str] = []
        self.happens: list[Callable[[], None]] = []
        self.naps = 0

    def sleep(self, seconds: float) -> None:
        self.naps += 1
        assert self.naps < 100
        self.clock.forward(seconds=seconds)
        if self.happens:
            self.happens.pop(0)()

    def run(self) -> CampaignRequest:
        return self.launcher.run(CAMPAIGN_ID, lambda request: self.seen.append(request.status))

    @property
    def launcher(self) -> LocalLauncher:
        return LocalLauncher(self.stack, self.queue, self, self.sleep)  # type: ignore[arg-type]

    def describe(self, name: str) -> object:
        return self.jobs.describe(name)

    def stop(self, name: str) -> None:
        self.stopped.append(name)
        self.happens.append(lambda: self.jobs.end(name, "Stopped"))

    def ends(self, number: int, **verdict: str) -> None:
        self.report(number, status="completed", **verdict)
        self.jobs.end(job(number, 2))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_campaign_is_launched_watched_and_completed(machine: Machine) -> None:
    machine.ask(shards=2)
    machine.happens = [
        lambda: machine.ends(2, verdict="promoted", reason="all gates passed"),
        lambda: machine.ends(1),
    ]
    assert machine.run().status == "completed"
    assert machine.seen == ["running", "running", "completed"]
    assert machine.told.subjects == ["BTCUSDT-1h: validation complete, promoted"]


def test_a_lost_job_is_launched_again_even_when_the_first_window_has_closed(
    machine: Machine,
) -> None:
    def lost() -> None:
        machine.clock.forward(hours=9)
        machine.jobs.end(job(), "Failed")

    def done() -> None:
        machine.report(1, status="completed", verdict="rejected", reason="no")
        machine.jobs.end(job(submission=1))

    machine.ask()
    machine.happens = [lost, lambda: None, done]
    assert machine.run().status == "completed"
    assert list(machine.jobs.specs) == [job(), job(submission=1)]


def test_a_campaign_that_fails_ends_the_loop(machine: Machine) -> None:
    def fails() -> None:
        machine.report(1, status="failed", worth_retrying=False, reason="DataError: a gap")
        machine.jobs.end(job(), "Failed")

    machine.ask()
    machine.happens = [fails]
    assert machine.run().status == "failed"


def test_what_only_a_person_can_put_right_ends_the_loop_with_the_reason(machine: Machine) -> None:
    machine.ask()
    machine.jobs.fault = lambda spec: StoreError("var/jobs is read-only")
    with pytest.raises(ConfigError, match="var/jobs is read-only"):
        machine.run()
    assert machine.naps == 0
    machine.jobs.fault = lambda spec: None
    machine.ask()
    machine.happens = [lambda: machine.jobs.end(job(), "Stopped")]
    assert machine.run().reason.endswith("stopped by a person")  # it was launched


def test_a_nudge_that_fails_time_and_again_ends_the_loop(machine: Machine) -> None:
    machine.ask()
    machine.jobs.fault = lambda spec: RetryError("the disk is busy")
    machine.happens = [lambda: machine.clock.forward(seconds=VISIBILITY)] * 20
    with pytest.raises(RetryError, match="5 attempts"):
        machine.run()


def test_a_dead_letter_of_an_earlier_run_is_no_reason_to_end(machine: Machine) -> None:
    machine.ask()
    for _ in range(5):
        machine.queue.receive()
        machine.clock.forward(seconds=VISIBILITY)
    assert machine.queue.dead_letters()
    machine.ask()
    machine.happens = [lambda: machine.jobs.end(job(), "Stopped")]
    assert machine.run().status == "failed"


def test_a_launcher_that_comes_back_hears_what_ended_meanwhile(machine: Machine) -> None:
    machine.launched()
    machine.report(1, status="completed", verdict="rejected", reason="no")
    machine.jobs.end(job())
    machine.launcher.report_ends()
    assert machine.request.status == "completed"


def test_stopping_stops_the_jobs_that_run_and_waits_for_them(machine: Machine) -> None:
    machine.launched(shards=2)
    machine.ends(1)
    assert machine.launcher.stop(CAMPAIGN_ID)
    assert machine.stopped == [job(1, 2), job(2, 2)]
    assert [shard.status for shard in machine.request.shards] == ["completed", "failed"]
    assert machine.request.reason == "shard 2 of 2 was stopped by a person"


def test_a_job_that_does_not_stop_is_left_after_two_minutes(machine: Machine) -> None:
    machine.launched()
    began = machine.clock()
    machine.naps = -1000
    machine.stop = lambda name: None  # type: ignore[method-assign]
    assert not machine.launcher.stop(CAMPAIGN_ID)
    assert (machine.clock() - began).total_seconds() == 120
    assert machine.request.status == "running"
