"""A retrained version takes its predecessor's stage, wherever that is broken off."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import pytest

from registry.lifecycle import STRATEGY_ID, Lifecycle, Stage
from strategy.errors import FixError
from tests.broken_off import BrokenOffError, Stepping, Steps
from tests.unit.test_lifecycle import MemoryRegistry

LIVE = (Stage.STAGING, Stage.PRODUCTION)
WHO, WHY = "model_retrainer", "not worse than its predecessor"
CALLS = (
    "set_model_version_tag",
    "transition_model_version_stage",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "delete_model_version_tag",
)


class Retrained(MemoryRegistry):
    """Version 1 in a stage and version 2, its retrain, in none; remembers who was in the stage."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(2)
        for number in self.tags:
            self.tags[number][STRATEGY_ID] = "BTCUSDT-1h-c0ffee"
        life = lifecycle(self)
        life.move(1, Stage.STAGING, who="model_validator", why="all gates passed")
        life.move(1, stage, who="orchestrator", why="all gates passed")
        self.stage = stage
        self.occupied: list[list[int]] = []

    def transition_model_version_stage(self, *arguments: Any, **named: Any) -> None:
        super().transition_model_version_stage(*arguments, **named)
        if hasattr(self, "occupied"):
            self.occupied.append([n for n, stage in self.stages.items() if stage == self.stage])

    @property
    def ending(self) -> tuple[Any, ...]:
        """All but the times."""
        tags = {
            number: {key: value for key, value in tags.items() if not key.endswith(".at")}
            for number, tags in self.tags.items()
        }
        return self.stages, tags, self.aliases


def lifecycle(registry: Any) -> Lifecycle:
    return Lifecycle(registry, "BTCUSDT-1h", itertools.count(1_700_000_000_000, 60_000).__next__)


def supersede(registry: Any) -> None:
    lifecycle(registry).supersede(1, 2, who=WHO, why=WHY)


def undisturbed(stage: Stage) -> tuple[Any, ...]:
    registry = Retrained(stage)
    supersede(registry)
    return registry.ending


@pytest.mark.parametrize("stage", LIVE)
def test_the_new_version_takes_the_stage_and_the_old_one_is_archived_as_superseded(
    stage: Stage,
) -> None:
    registry = Retrained(stage)
    supersede(registry)
    assert registry.stages == {1: "Archived", 2: str(stage)}
    assert registry.aliases == {stage.lower(): "2"}
    assert (
        registry.tags[2].items()
        >= {
            f"{stage.lower()}.by": WHO,
            f"{stage.lower()}.why": WHY,
            "stage": str(stage),
        }.items()
    )
    assert (
        registry.tags[1].items()
        >= {
            "archived.by": WHO,
            "archived.why": f"superseded by version 2: {WHY}",
            "superseded_by": "2",
            "stage": "Archived",
        }.items()
    )
    assert "stage.moving_to" not in registry.tags[1].keys() | registry.tags[2].keys()
    assert lifecycle(registry).record_overrides() == ()


def test_nobody_ever_sees_two_versions_or_none_in_production() -> None:
    registry = Retrained(Stage.PRODUCTION)
    supersede(registry)
    assert {len(numbers) for numbers in registry.occupied} == {1}


def test_other_strategies_in_staging_are_left_alone() -> None:
    registry = Retrained(Stage.STAGING)
    registry.stages[3], registry.tags[3] = "Staging", {"stage": "Staging"}
    supersede(registry)
    assert registry.stages == {1: "Archived", 2: "Staging", 3: "Staging"}
    assert all(len(numbers) > 1 for numbers in registry.occupied)


@pytest.mark.parametrize("stage", LIVE)
def test_superseding_twice_changes_nothing_the_second_time(stage: Stage) -> None:
    registry = Retrained(stage)
    supersede(registry)
    tags = {number: dict(tags) for number, tags in registry.tags.items()}
    supersede(registry)
    assert (registry.stages, registry.tags) == ({1: "Archived", 2: str(stage)}, tags)


@pytest.mark.parametrize("noticed", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("stage", LIVE)
def test_broken_off_at_any_call_it_is_completed_by_the_next(
    stage: Stage, after: bool, noticed: bool
) -> None:
    """And a look at the registry in between takes none of it for a person's doing."""
    expected = undisturbed(stage)
    for fatal in itertools.count():
        registry, steps = Retrained(stage), Steps()
        steps.fatal, steps.after = fatal, after
        with suppress(BrokenOffError):
            supersede(Stepping(registry, steps, CALLS))
        assert str(stage) in registry.stages.values()
        if stage is Stage.PRODUCTION:
            assert list(registry.stages.values()).count("Production") == 1
        if noticed:
            assert lifecycle(registry).record_overrides() == ()
        supersede(registry)
        assert registry.ending == expected, f"broken off at call {fatal}"
        if steps.taken <= fatal:
            break
    assert fatal > 12


def test_a_version_of_another_strategy_cannot_slip_past_the_gates() -> None:
    registry = Retrained(Stage.PRODUCTION)
    registry.tags[2][STRATEGY_ID] = "BTCUSDT-1h-decaf"
    before = registry.ending
    with pytest.raises(FixError, match="is of strategy BTCUSDT-1h-decaf and cannot supersede"):
        supersede(registry)
    assert registry.ending == before


@pytest.mark.parametrize(("old", "new"), [("Archived", "None"), ("Production", "Archived")])
def test_where_a_person_has_moved_one_of_them_it_is_refused(old: str, new: str) -> None:
    registry = Retrained(Stage.PRODUCTION)
    registry.stages = {1: old, 2: new}
    with pytest.raises(FixError, match=f"version 1 is in stage {old} .* version 2 in stage {new}"):
        supersede(registry)
    assert registry.stages == {1: old, 2: new}


def test_what_a_person_archived_before_the_new_one_came_is_not_taken_for_superseded() -> None:
    registry, steps = Retrained(Stage.PRODUCTION), Steps()
    steps.fatal = 10
    with suppress(BrokenOffError):
        supersede(Stepping(registry, steps, CALLS))
    assert registry.tags[1]["superseded_by"] == "2"
    registry.stages = {1: "Archived", 2: "None"}
    with pytest.raises(FixError, match="version 1 is in stage Archived"):
        supersede(registry)
