"""The story of every version, as a rehearsal's page tells it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from registry.lifecycle import PERSON, Lifecycle, Stage
from rehearsal.clock import SimulatedClock
from rehearsal.diary import Diary
from rehearsal.system import Event
from store.clock import milliseconds
from tests.situations import CONFIG, MODEL
from tests.unit.test_lifecycle import MemoryRegistry

NOW = datetime(2024, 6, 3, 12, tzinfo=UTC)
STRATEGY = "BTCUSDT-1h-c0ffee"


class World:
    """A registry in memory, and a diary that is kept of it."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(NOW)
        self.registry = MemoryRegistry(1)
        self.registry.tags[1]["strategy_id"] = STRATEGY
        system: Any = SimpleNamespace(config=CONFIG, registry=self.registry, clock=self.clock)
        self.diary = Diary(system)

    def program_moves(self, stage: Stage, who: str, why: str) -> None:
        client: Any = self.registry
        Lifecycle(client, MODEL, milliseconds(self.clock)).move(1, stage, who=who, why=why)

    def person_moves(self, stage: Stage) -> None:
        self.registry.stages[1] = stage

    def look(self) -> None:
        self.clock.sleep(3600)
        self.diary.after(Event(self.clock(), 1, "people", {}), None)

    def told(self) -> tuple[str, str, str]:
        """Of the newest move, after an hour: the stage, who and why."""
        self.look()
        move = self.diary.moves[-1]
        assert (move.time, move.model, move.version) == (self.clock(), MODEL, 1)
        assert move.strategy_id == STRATEGY
        return move.stage, move.who, move.why


@pytest.fixture
def world() -> World:
    return World()


def test_a_version_that_was_found_is_nobody_s_move(world: World) -> None:
    assert world.told() == (Stage.NONE, "", "")


def test_a_program_s_move_is_told_with_its_reason(world: World) -> None:
    world.program_moves(Stage.STAGING, "model_validator", "all gates passed")
    assert world.told() == (Stage.STAGING, "model_validator", "all gates passed")


def test_a_person_s_move_back_is_not_told_as_the_program_s_of_long_ago(world: World) -> None:
    world.program_moves(Stage.STAGING, "model_validator", "all gates passed")
    world.program_moves(Stage.PRODUCTION, "orchestrator", "passed: 0.4 R per trade")
    assert world.told() == (Stage.PRODUCTION, "orchestrator", "passed: 0.4 R per trade")
    world.person_moves(Stage.STAGING)
    assert world.told() == (Stage.STAGING, PERSON, "")


def test_a_stage_is_told_once(world: World) -> None:
    world.look()
    world.look()
    assert len(world.diary.moves) == 1
