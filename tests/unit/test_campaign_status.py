"""What an operator sees of campaigns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from serving.__main__ import main
from serving.status import status_document, status_tables
from tests.launch_world import CAMPAIGN_ID, World, job


def shown(world: World) -> str:
    screen = Console(width=200)
    with screen.capture() as capture:
        for part in status_tables(world.stack.state, world.clock):
            screen.print(part)
    return capture.get()


def test_nothing_was_asked_for(tmp_path: Path) -> None:
    assert "No campaign was asked for." in shown(World(tmp_path))


def test_a_person_sees_each_shard_why_it_waits_and_what_the_gate_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ask(shards=2)
    world.open_window()
    world.bill.usd = 9.5
    world.deliver()
    screen = shown(world)
    assert CAMPAIGN_ID in screen
    assert "2 of 2" in screen
    assert "over the monthly limit: $9.50 spent" in screen
    assert "open until 2026-03-01 20:00 UTC" in screen


def test_a_person_sees_how_far_a_job_is_and_what_it_holds(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.launched(shards=2)
    world.report(2, status="running", windows_done=17, resume_attempts=1)
    screen = shown(world)
    assert "17" in screen
    assert job(2, 2) in screen
    assert "$2.89 reserved" in screen


def test_another_program_is_told_everything_in_json(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.launched(shards=2)
    world.report(2, status="running", windows_done=17)
    document = json.loads(json.dumps(status_document(world.stack.state, world.clock)))
    (request,) = document["requests"]
    assert (request["status"], request["decision"]["allowed"]) == ("running", True)
    assert request["shards"][1]["job_name"] == job(2, 2)
    assert request["shards"][1]["job"]["windows_done"] == 17
    assert document["cost"]["ledger"]["jobs"].keys() == {job(1, 2), job(2, 2)}


def test_a_state_table_that_cannot_be_opened_is_an_error_with_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["status", "--state", "nowhere://x"]) == 2
    assert "nowhere://x" in capsys.readouterr().err
