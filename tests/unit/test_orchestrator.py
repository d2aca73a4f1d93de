"""The orchestrator's plan carried out: once, told once, and each model for itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from registry.lifecycle import PERSON
from serving.orchestration.parts import RETRAINS
from serving.orchestration.steps import Outcome, orchestrate, propose
from serving.orchestration.table import outcome_table
from serving.orchestrator import answer, deployed_orchestrator
from strategy.errors import (
    ConfigError,
    ConflictError,
    DataError,
    RetryError,
    StoreError,
    TradingSystemError,
)
from tests.manual_clock import ManualClock
from tests.orchestrator_world import Candles, EveryAction, Failing, OrchestratorWorld
from tests.situations import CONFIG, live

EVENTS = Path(__file__).parents[1] / "events"
ALL = ["record override", "bury", "reject", "promote", "retrain", "ask for a campaign"]


@pytest.fixture
def world(tmp_path: Path) -> EveryAction:
    return EveryAction(tmp_path)


def done(outcomes: list[Outcome]) -> list[str]:
    return [each.name for outcome in outcomes for each in outcome.actions if each.changes]


def test_a_day_with_everything_in_it_is_carried_out_once(world: EveryAction) -> None:
    assert done(world.orchestrate()) == ALL
    assert world.registry.stages == {1: "Archived", 2: "Production", 3: "Archived", 4: "Archived"}
    assert world.registry.aliases == {"production": "2"}
    assert world.retrained == [("BTCUSDT-1h", 2)]
    assert [request.requested_by for request in world.world.stack.requests.all()] == [
        "orchestrator"
    ]
    assert [json.loads(m.body) for m in world.world.queue.receive(10)] == [
        {"campaign_id": request.campaign_id} for request in world.world.stack.requests.all()
    ]
    told = sorted(world.told.subjects)
    assert told == [
        "BTCUSDT-1h: campaign queued",
        "BTCUSDT-1h: version 1 buried",
        "BTCUSDT-1h: version 2 promoted to Production",
        "BTCUSDT-1h: version 3 rejected from Staging",
        "BTCUSDT-1h: version 4 moved to Archived by hand",
    ]
    ending = world.registry.ending
    for _ in range(3):
        assert done(world.orchestrate()) == []
        world.clock.forward(days=1)
    assert sorted(world.told.subjects) == told
    assert world.registry.ending == ending
    assert world.retrained == [("BTCUSDT-1h", 2)]


def test_a_move_bears_who_why_and_what_the_gates_said(world: EveryAction) -> None:
    world.orchestrate()
    tags = world.registry.tags[1]
    assert tags["archived.by"] == "orchestrator"
    assert tags["archived.why"].startswith("buried: -0.5 R per trade over 20 live trades")
    assert tags["gate.gravedigger_expectancy"].startswith("passed: -0.5, wanted < 0")
    assert world.registry.tags[2]["gate.production_trades"].startswith("passed: 20, wanted >= 10")
    assert world.registry.tags[4]["archived.by"] == PERSON


def test_a_dry_run_says_the_same_and_changes_nothing(world: EveryAction) -> None:
    before = world.registry.ending, dict(world.state._items)
    assert done(propose(world.orchestrator)) == ALL
    assert (world.registry.ending, world.state._items) == before
    assert not world.told
    assert not world.retrained
    assert not world.world.queue.receive(10)


def test_live_runs_that_cannot_be_recorded_now_make_lambda_call_again(
    world: EveryAction,
) -> None:
    def unreachable(_: datetime) -> None:
        raise RetryError("MLflow does not answer")

    orchestrator = replace(world.orchestrator, record=unreachable)
    with pytest.raises(RetryError, match="live runs: MLflow"):
        answer({}, orchestrator)


def test_the_event_decides_whether_it_is_a_dry_run(world: EveryAction) -> None:
    event = json.loads((EVENTS / "orchestrate.json").read_text())
    [said] = answer(event, world.orchestrator)
    assert [action["action"] for action in said["actions"]] == ALL
    assert not world.told
    assert not world.recorded
    [record] = answer({}, world.orchestrator)
    assert world.recorded == [world.clock.now]
    assert json.loads(json.dumps(record)) == record
    assert [action["action"] for action in record["actions"]] == ALL
    assert world.told


def test_an_event_that_is_neither_is_refused(world: EveryAction) -> None:
    with pytest.raises(DataError, match="dry_run 'yes': give true or false"):
        answer({"dry_run": "yes"}, world.orchestrator)


@pytest.mark.parametrize("error", [RetryError("slow down"), StoreError("no permission")])
def test_a_model_that_fails_does_not_keep_another_from_its_plan(
    tmp_path: Path, error: TradingSystemError
) -> None:
    world = EveryAction(tmp_path)
    world.config = CONFIG.model_copy(
        update={"asset_timeframes": {"ETHUSDT": ["1h"], "BTCUSDT": ["1h"]}}
    )
    world.registry = Failing(world.registry, "search_model_versions", error, "name = 'ETHUSDT-1h'")
    failed, led = world.orchestrate()
    assert (failed.actions, failed.errors) == ((), (error,))
    assert done([led]) == ALL
    assert world.told.subjects.count("ETHUSDT-1h: the orchestrator failed") == 1
    world.orchestrate()
    assert world.told.subjects.count("ETHUSDT-1h: the orchestrator failed") == 1
    world.clock.forward(days=1)
    world.orchestrate()
    assert world.told.subjects.count("ETHUSDT-1h: the orchestrator failed") == 2


def test_what_may_work_later_is_raised_when_all_is_done_so_that_it_is_called_again(
    world: EveryAction,
) -> None:
    world.retrain = failing(RetryError("function model_retrainer: slow down"))
    with pytest.raises(RetryError, match="BTCUSDT-1h: function model_retrainer: slow down"):
        answer({}, world.orchestrator)
    assert world.registry.stages[2] == "Production"
    assert len(world.world.stack.requests.all()) == 1


def test_what_a_person_must_mend_is_told_and_not_raised(world: EveryAction) -> None:
    world.retrain = failing(StoreError("function model_retrainer does not exist"))
    [record] = answer({}, world.orchestrator)
    assert record["errors"] == ["function model_retrainer does not exist"]
    [text] = [text for subject, text in world.told if subject.endswith("the orchestrator failed")]
    assert text.startswith("function model_retrainer does not exist\n\nIt needs you.")


def test_nothing_is_promoted_where_the_place_was_not_made_free(world: EveryAction) -> None:
    held = world.registry
    world.registry = Failing(
        held, "transition_model_version_stage", StoreError("read-only"), "BTCUSDT-1h", "1"
    )
    [outcome] = world.orchestrate()
    assert held.stages == {1: "Production", 2: "Staging", 3: "Archived", 4: "Archived"}
    assert [str(error) for error in outcome.errors] == ["read-only"]
    assert not world.world.stack.requests.all()
    world.registry = held
    assert done(world.orchestrate())[:2] == ["bury", "promote"]
    assert list(held.stages.values()).count("Production") == 1


def test_an_operator_who_cannot_be_told_keeps_nothing_from_being_done_and_is_told_later(
    world: EveryAction,
) -> None:
    world.told.fault = RetryError("topic: slow down")
    [outcome] = world.orchestrate()
    assert done([outcome]) == ALL
    assert outcome.errors
    world.told.fault = None
    world.clock.forward(days=1)
    assert done(world.orchestrate()) == []
    assert len(world.told) == len(set(world.told.subjects)) == 5


def test_an_alarm_is_told_once(tmp_path: Path) -> None:
    world = OrchestratorWorld(tmp_path, live(1), live(2, strategy="B"))
    for _ in range(3):
        assert done(world.orchestrate()) == ["alarm"]
        world.clock.forward(days=1)
    assert world.told.subjects == ["BTCUSDT-1h: needs you"]
    assert "versions 2 and 1 are in Production together" in world.told[0][1]


def test_a_bundle_that_is_gone_is_an_alarm_and_no_failure(tmp_path: Path) -> None:
    world = OrchestratorWorld(tmp_path, live(1))
    orchestrator = replace(world.orchestrator, bundle=failing(StoreError("booster.txt is missing")))
    [outcome] = propose(orchestrator)
    assert done([outcome]) == ["alarm"]
    assert not outcome.errors


def test_a_store_that_does_not_answer_is_no_alarm(tmp_path: Path) -> None:
    world = OrchestratorWorld(tmp_path, live(1))
    [outcome] = propose(replace(world.orchestrator, bundle=failing(RetryError("slow down"))))
    assert outcome.actions == ()
    assert [str(error) for error in outcome.errors] == ["slow down"]


def test_a_retrain_that_could_not_be_asked_for_is_asked_for_the_next_time(
    world: EveryAction,
) -> None:
    asked, world.retrain = world.retrain, failing(RetryError("slow down"))
    assert "retrain" not in done(world.orchestrate())
    world.retrain = asked
    assert done(world.orchestrate()) == ["retrain"]
    assert done(world.orchestrate()) == []


def test_a_second_try_that_could_not_be_asked_for_leaves_the_day_of_the_first(
    world: EveryAction,
) -> None:
    world.orchestrate()
    [first] = [item.value for item in world.state.items(RETRAINS)]
    world.clock.forward(days=31)
    asked, world.retrain = world.retrain, failing(RetryError("slow down"))
    world.orchestrate()
    assert [item.value for item in world.state.items(RETRAINS)] == [first]
    world.retrain = asked
    assert done(world.orchestrate()) == ["retrain"]
    assert len(world.retrained) == 2


def test_a_retrain_that_another_orchestrator_asks_for_right_now_is_left_to_it(
    world: EveryAction,
) -> None:
    stack = world.world.stack
    overtaken = Failing(stack.state, "put", ConflictError("not at version 0"), RETRAINS)
    world.world.stack = replace(stack, state=overtaken)
    [outcome] = world.orchestrate()
    assert not outcome.errors
    assert not world.retrained


def test_two_orchestrators_at_once_ask_for_one_retrain(world: EveryAction) -> None:
    def meanwhile(model: str, version: int) -> None:
        world.retrained.append((model, version))
        world.orchestrate()

    world.retrain = meanwhile
    world.orchestrate()
    assert world.retrained == [("BTCUSDT-1h", 2)]


def test_a_campaign_on_the_candles_of_the_last_one_is_refused_with_what_may_be_wrong(
    tmp_path: Path,
) -> None:
    world = OrchestratorWorld(tmp_path, live(1))
    world.trade("A", "live", -0.5)
    world.orchestrate()
    [request] = world.world.stack.requests.all()
    shards = tuple(shard.model_copy(update={"status": "completed"}) for shard in request.shards)
    world.world.stack.requests.change(request.campaign_id, lambda now: now.changed(shards=shards))
    world.clock.forward(days=100)
    stale = Candles(ManualClock(request.requested_at))
    [outcome] = orchestrate(replace(world.orchestrator, source=stale))
    [error] = outcome.errors
    assert "was run on these very candles" in str(error)


def test_the_plan_is_shown_with_what_the_gates_said_and_what_failed(world: EveryAction) -> None:
    world.retrain = failing(StoreError("function [gone]"))
    console = Console(width=200, file=StringIO())
    console.print(outcome_table(world.orchestrate()))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "buried: -0.5 R per trade over 20 live trades" in shown
    assert "production_trades: passed: 20, wanted >= 10" in shown
    assert "function [gone]" in shown


def test_what_is_not_set_is_named() -> None:
    with pytest.raises(ConfigError, match="RETRAINER_FUNCTION"):
        deployed_orchestrator({})
    with pytest.raises(ConfigError, match=r"STATE_URI .*BUCKET"):
        deployed_orchestrator({"RETRAINER_FUNCTION": "model_retrainer"})


def failing(error: Exception) -> Any:
    def fail(*_: Any) -> Any:
        raise error

    return fail
