"""Nudges in, training jobs out: what is launched, what waits, and what is told of it."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.launch_spot_validator import launch
from store.aws import CapacityError
from store.training_jobs import JobSpec
from strategy.errors import ConfigError, RetryError, StoreError
from tests.broken_off import BrokenOffError, Stepping, Steps
from tests.launch_world import CAMPAIGN_ID, VISIBILITY, World, job, sqs_record
from tests.memory_state import MemoryState

CHEAPEST = "ml.c5.xlarge"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, MemoryState())


def nudge(world: World, body: str = json.dumps({"campaign_id": CAMPAIGN_ID})) -> list[str]:
    """Deliver one message; the ids that failed."""
    answer = launch({"Records": [sqs_record("m1", body)]}, world.stack)
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def test_a_request_is_launched_as_one_job_a_shard(world: World) -> None:
    request = world.launched(shards=2)
    assert list(world.jobs.specs) == [job(1, 2), job(2, 2)]
    assert request.reason == f"launched on {CHEAPEST}"
    assert world.reserved == [job(1, 2), job(2, 2)]
    assert world.told == []
    spec = world.jobs.specs[job(2, 2)]
    assert spec.hyperparameters == {
        "campaign_id": CAMPAIGN_ID,
        "asset": "BTCUSDT",
        "timeframe": "1h",
        "shard": "2",
        "shards": "2",
        "config_digest": "c0nf",
        "data_digest": "da7a",
        "code_digest": "c0de",
    }
    assert spec.input_uri == request.input_uri
    assert spec.environment == {
        "STATE_URI": "dynamodb://state",
        "MLFLOW_TRACKING_URI": "http://mlflow",
        "CHECKPOINT_URI": "s3://trading/walk_forward_checkpoints/",
    }
    assert (spec.max_runtime_seconds, spec.max_wait_seconds) == (6 * 3600, 24 * 3600)
    assert spec.tags["shard"] == "2of2"


def test_the_record_of_each_job_says_which_it_is(world: World) -> None:
    request = world.launched(shards=2)
    values = request.job_record(request.shards[1], world.stack.state, world.clock).values
    assert values["status"] == "submitted"
    assert (values["job_name"], values["instance_type"]) == (job(2, 2), CHEAPEST)
    assert values["submission"] == 0


def test_a_nudge_that_comes_again_launches_nothing_again(world: World) -> None:
    request = world.launched()
    calls = world.jobs.calls
    assert nudge(world) == []
    assert world.jobs.calls == calls
    assert world.request == request


def test_a_nudge_about_what_runs_changes_nothing_outside_the_window_either(world: World) -> None:
    request = world.launched()
    world.clock.forward(hours=12)
    assert nudge(world) == []
    assert world.request == request


def test_outside_the_window_a_request_keeps_waiting_and_says_so(world: World) -> None:
    world.ask()
    assert world.deliver() == []
    assert world.jobs.specs == {}
    assert (world.request.status, world.told) == ("waiting", [])
    assert "window" in world.request.reason
    world.open_window()
    world.deliver()
    assert world.request.status == "running"


def test_over_the_limit_a_request_waits_with_the_figures_and_the_operator_hears_once(
    world: World,
) -> None:
    world.ask(shards=2)
    world.open_window()
    world.bill.usd = 9.9
    for _ in range(3):
        assert nudge(world) == []
    request = world.request
    assert (request.status, world.jobs.specs, world.reserved) == ("waiting", {}, [])
    assert request.decision is not None
    assert request.decision["allowed"] is False
    assert request.decision["month_to_date_usd"] == 9.9
    assert request.decision["instance_type"] == CHEAPEST
    assert request.decision["total_usd"] > request.decision["limit_usd"] == 10
    assert world.told.subjects == ["BTCUSDT-1h: campaign waits, over the monthly limit"]
    assert "$9.90" in world.told[0][1]
    assert CAMPAIGN_ID in world.told[0][1]
    world.bill.usd = 0.0
    nudge(world)
    assert world.request.status == "running"


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        (lambda world: setattr(world.bill, "usd", 99.0), "over the monthly limit"),
        (
            lambda world: setattr(world.bill, "fault", RetryError("throttled")),
            "spending unknown",
        ),
        (lambda world: setattr(world.bill, "discount", 0.1), "Spot discount too small"),
    ],
)
def test_each_objection_of_the_gate_is_told_by_its_kind(
    world: World, change: Any, obstacle: str
) -> None:
    world.ask()
    world.open_window()
    change(world)
    assert nudge(world) == []
    assert world.told.subjects == [f"BTCUSDT-1h: campaign waits, {obstacle}"]


def test_a_bill_that_knows_nothing_of_past_jobs_is_told_as_a_tag_to_be_activated(
    world: World,
) -> None:
    world.launched()
    world.jobs.end(job())
    world.hear(job())
    world.clock.forward(days=6)
    world.ask("ffffffffffff")
    world.told.clear()
    world.open_window()
    world.deliver()
    assert "BTCUSDT-1h: campaign waits, cost-allocation tag not active" in world.told.subjects


def test_a_second_kind_of_objection_is_told_too(world: World) -> None:
    world.ask()
    world.open_window()
    world.bill.usd = 99.0
    nudge(world)
    world.bill.usd, world.bill.discount = 0.0, 0.1
    nudge(world)
    assert len(world.told) == 2


def test_a_campaign_whose_shards_do_not_all_fit_reserves_nothing(world: World) -> None:
    # One job costs $1.43 at most.
    world.set(monthly_cost_limit=2.0, spot_instance_type=[CHEAPEST])
    world.ask(shards=2)
    world.open_window()
    assert nudge(world) == []
    assert (world.jobs.specs, world.reserved) == ({}, [])
    world.ask("ffffffffffff", shards=1)
    world.deliver()
    assert len(world.jobs.specs) == 1  # nothing was left reserved in its way


def test_without_capacity_the_next_type_in_order_of_cost_is_tried(world: World) -> None:
    tried: list[str] = []

    def full(spec: JobSpec) -> Exception | None:
        tried.append(spec.instance_type)
        return CapacityError("no capacity") if len(tried) < 3 else None

    world.jobs.fault = full
    request = world.launched()
    offers = world.stack.gate.offers(world.stack.settings.cost().spot_instance_type)
    assert tried == [offer.instance_type for offer in offers][:3]
    assert request.reason == f"launched on {tried[-1]}"
    values = request.job_record(request.shards[0], world.stack.state, world.clock).values
    assert values["instance_type"] == tried[-1]
    assert request.decision is not None
    assert request.decision["instance_type"] == tried[-1]


def test_capacity_that_ends_half_way_gives_the_other_shard_another_type(world: World) -> None:
    def only_one(spec: JobSpec) -> Exception | None:
        taken = spec.instance_type == CHEAPEST and world.jobs.specs
        return CapacityError("no more") if taken else None

    world.jobs.fault = only_one
    world.launched(shards=2)
    types = [spec.instance_type for spec in world.jobs.specs.values()]
    assert types[0] == CHEAPEST != types[1]
    assert world.reserved == [job(1, 2), job(2, 2)]


def test_with_no_capacity_at_all_a_request_waits_and_holds_no_money(world: World) -> None:
    world.jobs.fault = lambda spec: CapacityError("spot training job usage is 0")
    world.ask(shards=2)
    world.open_window()
    for _ in range(2):
        assert nudge(world) == []
    assert (world.request.status, world.reserved) == ("waiting", [])
    assert "spot training job usage" in world.request.reason
    assert world.told.subjects == ["BTCUSDT-1h: campaign waits, no capacity"]


def test_a_shard_that_found_no_capacity_waits_alone(world: World) -> None:
    world.jobs.fault = lambda spec: CapacityError("full") if world.jobs.specs else None
    world.ask(shards=2)
    world.open_window()
    nudge(world)
    assert [shard.status for shard in world.request.shards] == ["submitted", "waiting"]
    assert (world.request.status, world.reserved) == ("waiting", [job(1, 2)])
    world.jobs.fault = lambda spec: None
    calls = world.jobs.calls
    nudge(world)
    assert world.request.status == "running"
    assert world.jobs.calls == calls + 1


def test_a_launch_whose_outcome_is_not_known_comes_again_and_finds_its_job(world: World) -> None:
    world.ask()
    world.open_window()
    world.jobs.loses_answers = True
    assert nudge(world) == ["m1"]
    assert (world.request.status, world.reserved) == ("waiting", [job()])
    world.jobs.loses_answers = False
    world.clock.forward(seconds=VISIBILITY)
    calls = world.jobs.calls
    assert nudge(world) == []
    assert (world.request.status, world.jobs.calls) == ("running", calls)


def test_a_launch_that_was_not_made_after_all_is_made_when_it_comes_again(world: World) -> None:
    world.ask()
    world.open_window()
    world.jobs.fault = lambda spec: RetryError("AWS did not answer")
    assert nudge(world) == ["m1"]
    assert world.reserved == [job()]
    world.jobs.fault = lambda spec: None
    world.clock.forward(seconds=VISIBILITY)
    assert nudge(world) == []
    assert (world.request.status, list(world.jobs.specs)) == ("running", [job()])
    assert world.reserved == [job()]


def test_of_two_launchers_one_is_told_to_come_again(world: World) -> None:
    world.ask()
    world.open_window()
    second: list[list[str]] = []

    def meanwhile(spec: JobSpec) -> None:
        second.append(nudge(world))

    world.jobs.fault = meanwhile
    assert nudge(world) == []
    assert second == [["m1"]]
    assert world.jobs.calls == 1
    assert world.request.status == "running"


def test_a_job_that_ends_while_the_next_is_created_stays_ended(world: World) -> None:
    def first_ends(spec: JobSpec) -> None:
        if spec.name == job(2, 2):
            world.report(1, status="completed")
            world.jobs.end(job(1, 2))
            world.hear(job(1, 2))

    world.jobs.fault = first_ends
    world.launched(shards=2)
    assert [shard.status for shard in world.request.shards] == ["completed", "submitted"]


def test_what_an_operator_can_put_right_keeps_the_request_waiting(world: World) -> None:
    world.ask(shards=2)
    world.open_window()
    world.jobs.fault = lambda spec: StoreError("role trading-launcher: not allowed")
    for _ in range(2):
        assert nudge(world) == []
    assert (world.request.status, world.reserved) == ("waiting", [])
    assert world.request.reason == "role trading-launcher: not allowed"
    assert world.told.subjects == ["BTCUSDT-1h: campaign waits, access"]
    assert "role trading-launcher" in world.told[0][1]
    world.jobs.fault = lambda spec: None
    nudge(world)
    assert world.request.status == "running"


def test_an_instance_type_that_is_not_for_training_is_named(world: World) -> None:
    world.ask()
    world.open_window()
    world.set(spot_instance_type=["c6a.2xlarge"])
    for _ in range(2):
        assert nudge(world) == []
    assert world.request.status == "waiting"
    assert "c6a.2xlarge" in world.request.reason
    assert world.told.subjects == ["BTCUSDT-1h: campaign waits, settings"]
    assert "c6a.2xlarge" in world.told[0][1]


def test_another_fault_of_the_same_kind_is_told_too(world: World) -> None:
    world.ask()
    world.open_window()
    world.set(spot_instance_type=["c6a.2xlarge"])
    nudge(world)
    world.set()
    world.jobs.fault = lambda spec: ConfigError("training job: no such image")
    nudge(world)
    assert len(world.told) == 2
    assert "no such image" in world.told[1][1]


def test_a_request_whose_input_is_gone_fails_and_can_be_asked_for_again(world: World) -> None:
    request = world.ask()
    world.open_window()
    (Path(request.input_uri) / "market.json").unlink()
    assert nudge(world) == []
    assert world.request.status == "failed"
    assert request.input_uri in world.request.reason
    assert world.told.subjects == ["BTCUSDT-1h: campaign failed"]
    assert nudge(world) == []  # it is done with
    assert len(world.told) == 1
    world.clock.forward(minutes=1)
    world.ask()
    assert nudge(world) == []
    assert world.request.status == "running"


def test_a_failure_that_could_not_be_told_is_told_when_the_message_comes_again(
    world: World,
) -> None:
    request = world.ask()
    world.open_window()
    (Path(request.input_uri) / "market.json").unlink()
    world.told.fault = RetryError("throttled")
    assert nudge(world) == ["m1"]
    world.told.fault = None
    assert nudge(world) == []
    assert world.told.subjects == ["BTCUSDT-1h: campaign failed"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("not JSON", "no nudge"),
        ("[]", "no nudge"),
        ('{"campaign": "x"}', "no nudge"),
        ('{"campaign_id": 7}', "nobody asked for"),
        ('{"campaign_id": "dddddddddddd"}', "nobody asked for"),
    ],
)
def test_a_message_that_means_nothing_fails_and_is_told_of_once(
    world: World, body: str, why: str
) -> None:
    for _ in range(3):
        assert nudge(world, body) == ["m1"]
    assert len(world.told) == 1
    assert why in world.told[0][1]
    assert body in world.told[0][1]


def test_one_bad_message_does_not_hold_up_the_others(world: World) -> None:
    world.ask()
    world.ask("ffffffffffff")
    world.open_window()
    records = [
        sqs_record("good", json.dumps({"campaign_id": CAMPAIGN_ID})),
        sqs_record("bad", "{"),
        sqs_record("fine", json.dumps({"campaign_id": "ffffffffffff"})),
    ]
    answer = launch({"Records": records}, world.stack)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert len(world.jobs.specs) == 2


def test_a_message_that_always_fails_ends_as_a_dead_letter_and_nothing_is_lost(
    world: World,
) -> None:
    world.queue.send("poison")
    world.ask()
    world.open_window()
    for _ in range(8):
        world.deliver()
        world.clock.forward(seconds=VISIBILITY)
    assert [message.body for message in world.queue.dead_letters()] == ["poison"]
    assert world.request.status == "running"
    assert len(world.told) == 1


def test_an_unforeseen_error_loses_no_message(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.ask()
    world.open_window()
    world.jobs.fault = lambda spec: ZeroDivisionError("a defect")
    with caplog.at_level(logging.ERROR):
        assert nudge(world) == ["m1"]
    assert "a defect" in caplog.text


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_launcher_that_dies_at_any_step_leaves_what_one_that_lived_does(
    tmp_path: Path, after: bool
) -> None:
    def attempt(fatal: int | None) -> tuple[World, int]:
        folder = tmp_path / f"{fatal}-{after}"
        folder.mkdir()
        world = World(folder, MemoryState())
        world.ask(shards=2)
        world.open_window()
        # The cheapest type is full from the second job on: both paths are walked.
        world.jobs.fault = lambda spec: (
            CapacityError("full") if spec.instance_type == CHEAPEST and world.jobs.specs else None
        )
        steps = Steps()
        steps.fatal, steps.after = fatal, after
        whole = world.stack
        world.stack = replace(
            whole,
            state=Stepping(whole.state, steps, ("put", "delete")),
            jobs=Stepping(whole.jobs, steps, ("create", "describe")),
        )
        with suppress(BrokenOffError):
            nudge(world)
        taken = steps.taken
        world.stack = whole
        world.clock.forward(seconds=VISIBILITY)
        assert nudge(world) == []
        return world, taken

    whole, steps = attempt(None)
    assert steps > 12
    for fatal in range(steps):
        world, _ = attempt(fatal)
        assert world.request.status == "running", fatal
        assert list(world.jobs.specs) == list(whole.jobs.specs), fatal
        assert world.reserved == whole.reserved == [job(1, 2), job(2, 2)], fatal
        assert world.told == [], fatal
