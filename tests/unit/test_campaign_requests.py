"""Asking for campaigns: what is one request, and what is asked for anew."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from serving.campaign_requests import PARTITION, CampaignRequest, Shard
from strategy.errors import DataError
from tests.launch_world import CAMPAIGN_ID, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def shards_are(world: World, *statuses: str) -> None:
    """Let the shards have come to these statuses."""
    shards = tuple(
        Shard(number=number, status=status, submission=1, failures=2, checkpoint="abc")  # type: ignore[arg-type]
        for number, status in enumerate(statuses, start=1)
    )
    world.stack.requests.change(CAMPAIGN_ID, lambda request: request.changed(shards=shards))


def nudges(world: World) -> list[str]:
    messages = world.queue.receive(10)
    for message in messages:
        world.queue.delete(message)
    return [message.body for message in messages]


def test_a_campaign_that_is_asked_for_waits_and_the_launcher_is_nudged(world: World) -> None:
    request = world.ask(shards=3)
    assert (request.status, request.requested_by) == ("waiting", "ana")
    assert [shard.number for shard in request.waiting_shards] == [1, 2, 3]
    assert world.request == request
    assert nudges(world) == [json.dumps({"campaign_id": CAMPAIGN_ID})]


def test_the_same_campaign_asked_twice_is_one_request_with_its_first_shards(world: World) -> None:
    first = world.ask(shards=2)
    world.clock.forward(hours=1)
    assert world.ask(shards=5) == first
    assert world.stack.requests.all() == [first]


def test_a_campaign_that_runs_is_left_alone_when_it_is_asked_for_again(world: World) -> None:
    world.ask(shards=2)
    nudges(world)
    shards_are(world, "submitted", "completed")
    before = world.request
    assert world.ask() == before
    assert nudges(world) == []


def test_a_completed_campaign_stays_completed(world: World) -> None:
    world.ask()
    nudges(world)
    shards_are(world, "completed")
    assert world.ask().status == "completed"
    assert nudges(world) == []


def test_a_failed_campaign_is_armed_again_in_what_failed_of_it(world: World) -> None:
    world.ask(shards=3)
    nudges(world)
    shards_are(world, "completed", "failed", "submitted")
    done, _, running = world.request.shards
    world.report(2, resume_attempts=3, windows_done=7)
    world.clock.forward(hours=1)
    again = world.ask(shards=9)
    assert again.shards == (done, Shard(number=2, submission=2), running)
    assert (again.status, again.requested_at) == ("waiting", world.clock())
    record = again.job_record(again.shards[1], world.stack.state, world.clock).values
    assert (record["resume_attempts"], record["windows_done"]) == (0, 7)
    assert len(nudges(world)) == 1


def test_a_campaign_asked_for_by_many_at_once_is_one_request(world: World) -> None:
    together = Barrier(6)

    def ask(shards: int) -> int:
        together.wait()
        return len(world.ask(shards=shards).shards)

    with ThreadPoolExecutor(6) as threads:
        seen = set(threads.map(ask, range(1, 7)))
    assert seen == {len(world.request.shards)}


@pytest.mark.parametrize(
    ("shards", "status"),
    [
        (("waiting",), "waiting"),
        (("submitted", "waiting"), "waiting"),
        (("submitted", "completed"), "running"),
        (("completed", "completed"), "completed"),
        (("completed", "failed", "waiting"), "failed"),
    ],
)
def test_the_status_follows_from_the_shards(
    world: World, shards: tuple[str, ...], status: str
) -> None:
    world.ask(shards=len(shards))
    shards_are(world, *shards)
    assert world.request.status == status
    item = world.stack.state.get(PARTITION, CAMPAIGN_ID)
    assert item is not None
    assert item.value["status"] == status  # for whoever reads the table
    assert (CAMPAIGN_ID in [each.campaign_id for each in world.stack.requests.waiting()]) == (
        status == "waiting"
    )


def test_a_change_sees_what_another_writer_changed_meanwhile(world: World) -> None:
    world.ask(shards=2)
    interfered = False

    def submit_the_first(request: CampaignRequest) -> CampaignRequest:
        nonlocal interfered
        if not interfered:
            interfered = True
            other = Shard(number=2, status="submitted")
            world.stack.requests.change(CAMPAIGN_ID, lambda present: present.with_shard(other))
        return request.with_shard(Shard(number=1, status="submitted"))

    world.stack.requests.change(CAMPAIGN_ID, submit_the_first)
    assert world.request.status == "running"


def test_what_is_no_request_is_named(world: World) -> None:
    world.stack.state.put(PARTITION, CAMPAIGN_ID, {"asset": "BTCUSDT"}, expected=0)
    with pytest.raises(DataError, match=f"{CAMPAIGN_ID}.*timeframe"):
        world.stack.requests.get(CAMPAIGN_ID)


def test_a_campaign_nobody_asked_for_cannot_be_changed(world: World) -> None:
    with pytest.raises(DataError, match="never asked for"):
        world.stack.requests.change("unknown", lambda request: request)
