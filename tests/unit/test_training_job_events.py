"""How training jobs end: what goes on, what is launched again, and what is told."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.campaign_requests import Shard
from serving.training_job_events import after_end, hear
from strategy.errors import DataError, RetryError
from tests.broken_off import BrokenOffError, Stepping, Steps
from tests.launch_world import CAMPAIGN_ID, VISIBILITY, World, job, state_change
from tests.memory_state import MemoryState

FIRST, SECOND = job(1, 2), job(2, 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, MemoryState())
    world.launched(shards=2)
    world.queue.receive(10)
    world.clock.forward(hours=2)
    return world


def everything(world: World) -> dict[str, Any]:
    """All that the state table says of campaign and money."""
    partitions = ("requests", f"campaign#{CAMPAIGN_ID}", "cost", "savings")
    return {p: {i.key: i.value for i in world.stack.state.items(p)} for p in partitions}


def complete(world: World, number: int, **verdict: Any) -> None:
    name = job(number, 2)
    world.report(number, status="completed", windows_done=40, **verdict)
    world.jobs.end(name)
    world.hear(name)


def lose(world: World, number: int = 2, status: str = "Failed", **fate: Any) -> str:
    """Let the shard's present job end without a result; returns its name."""
    shard = world.request.shard(number)
    assert shard is not None
    name = world.request.job_name(shard)
    world.jobs.end(name, status, **fate)
    world.hear(name, status)
    return name


def relaunch(world: World) -> None:
    world.clock.forward(seconds=VISIBILITY)
    world.deliver()
    assert world.request.status == "running"


def test_a_campaign_goes_on_while_one_of_its_jobs_does(world: World) -> None:
    complete(world, 1, reason="its part of the coverage is walked")
    assert [shard.status for shard in world.request.shards] == ["completed", "submitted"]
    assert world.request.status == "running"
    assert world.told == []


def test_a_campaign_is_completed_with_its_last_job_and_the_verdict_is_told(world: World) -> None:
    complete(world, 2, verdict="promoted", reason="all gates passed", model_version=3)
    complete(world, 1, reason="its part of the coverage is walked")
    assert world.request.status == "completed"
    assert world.request.reason == "promoted: all gates passed"
    ((subject, text),) = world.told
    assert subject == "BTCUSDT-1h: validation complete, promoted"
    assert "all gates passed" in text
    assert "Version 3" in text
    assert "50% saved by Spot" in text
    assert CAMPAIGN_ID in text


def test_a_rejection_is_a_result_and_says_why(world: World) -> None:
    complete(world, 1, reason="its part of the coverage is walked")
    complete(world, 2, verdict="rejected", reason="failed: monte_carlo_mean")
    ((subject, text),) = world.told
    assert subject.endswith("validation complete, rejected")
    assert "failed: monte_carlo_mean" in text


def test_what_a_job_cost_takes_the_place_of_its_reservation(world: World) -> None:
    assert world.reserved == [FIRST, SECOND]
    complete(world, 1)
    assert world.reserved == [SECOND]
    ledger = everything(world)["cost"]["ledger"]["jobs"]
    price = world.stack.prices.instance("ml.c5.xlarge").training_usd_per_hour
    assert ledger[FIRST]["usd"] == pytest.approx(price / 2, rel=0.05)


def test_the_record_of_a_shard_notes_what_its_job_went_through(world: World) -> None:
    world.report(1, status="completed")
    world.jobs.end(FIRST, interruptions=3)
    world.hear(FIRST)
    values = everything(world)[f"campaign#{CAMPAIGN_ID}"]["shard-1of2"]
    assert (values["interruptions"], values["savings"]) == (3, 0.5)
    assert (values["training_seconds"], values["billable_seconds"]) == (3600, 1800)
    assert 0 < values["cost_usd"] < 1
    assert values["status"] == "completed"


def test_a_lost_shard_is_launched_again_alone(world: World) -> None:
    world.report(2, status="failed", worth_retrying=True, reason="RetryError: MLflow is away")
    lost = lose(world)
    first, second = world.request.shards
    assert first == Shard(number=1, status="submitted")
    assert (second.status, second.submission, second.failures) == ("waiting", 1, 1)
    assert "MLflow is away" in world.request.reason
    calls = world.jobs.calls
    relaunch(world)  # by the nudge that the event has sent
    assert world.jobs.calls == calls + 1
    assert list(world.jobs.specs) == [FIRST, SECOND, job(2, 2, 1)]
    assert world.reserved == [FIRST, job(2, 2, 1)]
    assert lost == SECOND
    assert world.told == []


def test_a_job_that_died_without_a_word_is_launched_again(world: World) -> None:
    world.report(2, status="running", reason="interrupted")
    lose(world, failure_reason="InternalServerError: please retry")
    assert world.request.status == "waiting"
    assert "InternalServerError" in world.request.reason


def test_a_job_that_completed_without_a_result_is_launched_again(world: World) -> None:
    world.report(2, status="running")
    lose(world, status="Completed")
    assert world.request.status == "waiting"


@pytest.mark.parametrize("detail", ["MaxWaitTimeExceeded", "MaxRuntimeExceeded"])
def test_a_job_that_ran_out_of_time_goes_on_as_the_next(world: World, detail: str) -> None:
    lose(world, status="Stopped", detail=detail)
    assert world.request.status == "waiting"
    assert detail in world.request.reason


def test_a_job_that_a_person_stopped_stays_so_until_it_is_asked_for_again(world: World) -> None:
    world.report(2, status="running", reason="interrupted")
    lose(world, status="Stopped")
    assert (world.request.status, world.request.reason) == (
        "failed",
        "shard 2 of 2 was stopped by a person",
    )
    assert world.told.subjects == ["BTCUSDT-1h: campaign failed"]
    world.clock.forward(minutes=1)
    world.ask()
    relaunch(world)
    assert list(world.jobs.specs) == [FIRST, SECOND, job(2, 2, 1)]


def test_a_fault_that_would_come_again_fails_the_campaign(world: World) -> None:
    reason = "ConfigError: code_digest is abc here, but the job was asked for def"
    world.report(2, status="failed", worth_retrying=False, reason=reason)
    lose(world)
    assert world.request.status == "failed"
    assert reason in world.request.reason
    ((subject, text),) = world.told
    assert subject == "BTCUSDT-1h: campaign failed"
    assert reason in text
    assert world.reserved == [FIRST]


def test_a_shard_that_never_gets_anywhere_is_given_up(world: World) -> None:
    for failures in (1, 2):
        lose(world, failure_reason="AlgorithmError: exit code 139")
        assert world.request.shards[1].failures == failures
        relaunch(world)
    lose(world, failure_reason="AlgorithmError: exit code 139")
    assert world.request.status == "failed"
    assert "max_resume_attempts = 2" in world.request.reason
    assert "exit code 139" in world.request.reason
    assert len(world.jobs.specs) == 1 + 3


def test_a_shard_that_got_somewhere_once_is_given_up_when_it_does_so_no_more(
    world: World,
) -> None:
    world.report(2, checkpoint="hash")
    for failures in (0, 1, 2):
        lose(world)
        assert world.request.shards[1].failures == failures
        relaunch(world)
    lose(world)
    assert world.request.status == "failed"


def test_a_shard_that_gets_on_a_little_each_time_is_never_given_up(world: World) -> None:
    for attempt in range(6):
        world.report(2, checkpoint=f"hash {attempt}")
        lose(world)
        assert world.request.shards[1].failures == 0
        relaunch(world)


def test_what_an_earlier_job_wrote_does_not_speak_for_the_next(world: World) -> None:
    world.report(2, status="failed", worth_retrying=True, reason="RetryError: MLflow is away")
    lose(world)
    relaunch(world)
    lose(world, failure_reason="CapacityError: taken away")
    assert "taken away" in world.request.reason
    assert "MLflow" not in world.request.reason


def test_what_an_earlier_job_found_hopeless_the_next_may_try_again(world: World) -> None:
    world.report(2, status="failed", worth_retrying=False, reason="ConfigError: no such image")
    lose(world)
    world.clock.forward(minutes=1)
    world.ask()
    relaunch(world)
    world.report(2, status="failed", reason="it died before it could say more")
    lose(world)
    assert world.request.status == "waiting"


def test_of_two_events_at_once_the_slower_changes_nothing(world: World) -> None:
    complete(world, 1)
    request = world.request
    ended = world.jobs.describe(FIRST)
    assert ended is not None
    assert after_end(request, request.shards[0], ended, {"status": "running"}) == request


def test_an_event_that_comes_twice_changes_nothing(world: World) -> None:
    lose(world)
    relaunch(world)
    before = everything(world)
    world.clock.forward(minutes=5)
    world.hear(SECOND, "Failed")
    assert everything(world) == before
    complete(world, 1)
    before = everything(world)
    world.clock.forward(minutes=5)
    world.hear(FIRST)
    assert everything(world) == before


def test_the_end_of_an_earlier_submission_only_settles_its_cost(world: World) -> None:
    """Its event was late: the shard was asked for again meanwhile."""
    world.stack.requests.change(
        CAMPAIGN_ID,
        lambda request: request.with_shard(Shard(number=2, status="submitted", submission=1)),
    )
    before = everything(world)["requests"]
    world.jobs.end(SECOND, "Failed")
    world.hear(SECOND, "Failed")
    assert everything(world)["requests"] == before
    assert world.reserved == [FIRST]


def test_an_event_that_is_overtaken_by_the_job_is_judged_by_the_job(world: World) -> None:
    world.report(1, status="completed")
    world.jobs.end(FIRST, "Completed")
    world.hear(FIRST, "Failed")
    assert world.request.shards[0].status == "completed"


def test_ends_whose_events_were_lost_are_found_when_the_window_opens(world: World) -> None:
    world.report(1, status="completed", windows_done=40)
    world.jobs.end(FIRST)
    world.jobs.end(SECOND, "Failed")
    world.open_window()
    statuses = [(shard.status, shard.submission) for shard in world.request.shards]
    assert statuses == [("completed", 0), ("waiting", 1)]
    relaunch(world)
    assert len(world.jobs.specs) == 3
    assert FIRST not in world.stack.gate.ledger.running()


def test_a_job_that_runs_is_no_news(world: World) -> None:
    before = everything(world)
    world.hear(FIRST, "InProgress")
    world.hear(FIRST, "Completed")  # as the event says, but SageMaker does not
    assert everything(world) == before


def test_a_job_of_somebody_else_is_none_of_our_business(world: World) -> None:
    event = state_change("their-job-shard1of1-0")
    event["detail"]["HyperParameters"] = {"epochs": "3"}
    before = everything(world)
    hear(event, world.stack)
    assert everything(world) == before


def test_the_cost_of_a_job_nobody_asked_for_is_settled_too(world: World) -> None:
    event = state_change(FIRST)
    event["detail"]["HyperParameters"]["campaign_id"] = "ffffffffffff"
    world.jobs.end(FIRST)
    hear(event, world.stack)
    assert world.reserved == [SECOND]
    assert world.request.status == "running"


def test_an_event_that_is_none_is_refused(world: World) -> None:
    with pytest.raises(DataError, match="TrainingJobName"):
        hear({"detail": {}}, world.stack)


def test_an_event_is_heard_again_when_sagemaker_cannot_be_asked(world: World) -> None:
    class Away:
        def describe(self, name: str) -> None:
            raise RetryError("throttled")

    world.stack = replace(world.stack, jobs=Away())  # type: ignore[arg-type]
    with pytest.raises(RetryError):
        world.hear(FIRST)


def test_a_job_that_ends_before_its_launcher_has_noted_it_counts(world: World) -> None:
    world.stack.requests.change(
        CAMPAIGN_ID, lambda request: request.with_shard(Shard(number=1, status="waiting"))
    )
    complete(world, 1)
    assert world.request.shards[0].status == "completed"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("end", ["lost", "judged", "stopped"])
def test_an_event_that_is_broken_off_at_any_step_ends_the_same_when_it_comes_again(
    tmp_path: Path, after: bool, end: str
) -> None:
    def attempt(fatal: int | None) -> tuple[World, int]:
        folder = tmp_path / f"{fatal}-{after}-{end}"
        folder.mkdir()
        world = World(folder)  # in its table a claim on a notification runs out
        world.launched(shards=2)
        for message in world.queue.receive(10):
            world.queue.delete(message)
        complete(world, 1)
        if end == "judged":
            world.report(2, status="completed", verdict="promoted", reason="all gates passed")
        status = {"lost": "Failed", "judged": "Completed", "stopped": "Stopped"}[end]
        world.jobs.end(SECOND, status)
        steps = Steps()
        steps.fatal, steps.after = fatal, after
        whole = world.stack
        world.stack = replace(
            whole,
            state=Stepping(whole.state, steps, ("put", "delete")),
            queue=Stepping(whole.queue, steps, ("send",)),
            notifier=Stepping(whole.notifier, steps, ("send",)),
        )
        with suppress(BrokenOffError):
            world.hear(SECOND, status)
        world.stack = whole
        world.clock.forward(minutes=10)
        world.hear(SECOND, status)
        return world, steps.taken

    whole, steps = attempt(None)
    assert steps > 3
    for fatal in range(steps):
        world, _ = attempt(fatal)
        assert world.request.shards == whole.request.shards, fatal
        assert world.reserved == whole.reserved == []
        assert bool(world.queue.receive(1)) == (end == "lost"), fatal
        assert set(world.told.subjects) == set(whole.told.subjects), fatal
