"""The hours in which jobs are launched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.campaign_requests import Shard
from serving.initiate_validation_window import initiate
from strategy.errors import ConfigError, DataError
from tests.launch_world import CAMPAIGN_ID, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_window_is_shut_until_it_is_opened(world: World) -> None:
    assert world.stack.window.closes_at is None


def test_the_window_closes_by_itself_should_the_closing_event_be_lost(world: World) -> None:
    world.set(launch_window_hours=3)
    world.open_window()
    world.clock.forward(hours=2, minutes=59)
    assert world.stack.window.closes_at is not None
    world.clock.forward(minutes=1)
    assert world.stack.window.closes_at is None


def test_the_window_is_closed_by_its_event(world: World) -> None:
    world.open_window()
    initiate({"action": "close"}, world.stack)
    assert world.stack.window.closes_at is None


def test_an_opening_event_that_comes_twice_does_not_lengthen_the_night(world: World) -> None:
    world.open_window()
    closes_at = world.stack.window.closes_at
    world.clock.forward(hours=1)
    world.open_window()
    assert world.stack.window.closes_at == closes_at


def test_the_window_opens_again_on_the_next_night(world: World) -> None:
    world.set(launch_window_hours=3)
    world.open_window()
    world.clock.forward(hours=24)
    world.open_window()
    closes_at = world.stack.window.closes_at
    assert closes_at is not None
    assert (closes_at - world.clock()).total_seconds() == 3 * 3600


def test_opening_nudges_every_request_that_waits_and_no_other(world: World) -> None:
    for name, status in {"aa": "waiting", "bb": "submitted", "cc": "completed"}.items():
        world.ask(name)
        world.stack.requests.change(
            name,
            lambda request, status=status: request.with_shard(Shard(number=1, status=status)),
        )
    world.ask(shards=2)  # one of them is lost, and to be submitted again
    world.stack.requests.change(
        CAMPAIGN_ID, lambda request: request.with_shard(Shard(number=1, status="submitted"))
    )
    world.queue.receive(10)
    world.open_window()
    nudged = [json.loads(message.body)["campaign_id"] for message in world.queue.receive(10)]
    assert sorted(nudged) == sorted([CAMPAIGN_ID, "aa"])


def test_a_bad_setting_is_told_of_once_a_day_and_keeps_the_window_shut(world: World) -> None:
    world.set(launch_window_hours=0)
    for _ in range(2):
        with pytest.raises(ConfigError, match="launch_window_hours"):
            world.open_window()
    assert world.stack.window.closes_at is None
    assert len(world.told) == 1
    assert "launch_window_hours" in world.told[0][1]


def test_an_event_that_asks_for_neither_is_refused(world: World) -> None:
    with pytest.raises(DataError, match="'opne'"):
        initiate({"action": "opne"}, world.stack)
