"""Stages and their moves, against a registry held in memory."""

from __future__ import annotations

import itertools
import math
import warnings
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from registry.gates import GateVerdict, verdict_tags
from registry.lifecycle import (
    LEGAL_MOVES,
    PERSON,
    Entry,
    Lifecycle,
    Override,
    Stage,
)
from strategy.errors import FixError


class MemoryRegistry:
    """The few calls of MlflowClient that a lifecycle makes; ``dies_at`` breaks one of them off."""

    tracking_uri = "memory"
    dies_at = ""

    def __init__(self, versions: int) -> None:
        self.stages = dict.fromkeys(range(1, versions + 1), "None")
        self.tags: dict[int, dict[str, str]] = {number: {} for number in self.stages}
        self.aliases: dict[str, str] = {}

    def __getattribute__(self, name: str) -> Any:
        if name != "dies_at" and name == self.dies_at:
            raise KeyboardInterrupt
        return super().__getattribute__(name)

    def search_model_versions(self, condition: str) -> list[SimpleNamespace]:
        if condition != "name = 'BTCUSDT-1h'":
            return []
        return [
            SimpleNamespace(
                version=str(number),  # a str over REST, an int on SQLite
                current_stage=stage,
                run_id="run",
                tags=dict(self.tags[number]),
            )
            for number, stage in self.stages.items()
        ]

    def get_registered_model(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(aliases=dict(self.aliases))

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases[alias] = version

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        del self.aliases[alias]

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.tags[int(version)][key] = value

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        del self.tags[int(version)][key]

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool = False
    ) -> None:
        warnings.warn("stages are deprecated", FutureWarning, stacklevel=2)
        if archive_existing_versions:  # in the same transaction
            others = [number for number, held in self.stages.items() if held == stage]
            self.stages |= dict.fromkeys(others, "Archived")
        self.stages[int(version)] = str(stage)


def lifecycle(registry: MemoryRegistry, name: str = "BTCUSDT-1h") -> Lifecycle:
    clock = itertools.count(1_700_000_000_000, 60_000).__next__
    return Lifecycle(registry, name, clock)  # type: ignore[arg-type]


def test_a_move_writes_who_when_and_why_and_mirrors_an_alias() -> None:
    registry = MemoryRegistry(2)
    lifecycle(registry).move(2, Stage.STAGING, who="model_validator", why="all gates passed")
    assert registry.stages == {1: "None", 2: "Staging"}
    assert registry.tags[2] == {
        "stage": "Staging",
        "staging.by": "model_validator",
        "staging.at": "2023-11-14T22:13:20Z",
        "staging.why": "all gates passed",
    }
    assert registry.aliases == {"staging": "2"}


def test_the_whole_life_stays_readable_and_the_alias_follows() -> None:
    registry = MemoryRegistry(1)
    life = lifecycle(registry)
    life.move(1, Stage.STAGING, who="a", why="x")
    life.move(1, Stage.PRODUCTION, who="b", why="y")
    assert registry.aliases == {"production": "1"}
    life.move(1, Stage.ARCHIVED, who="c", why="z")
    assert registry.aliases == {}
    tags = registry.tags[1]
    assert [tags[f"{s}.by"] for s in ("staging", "production", "archived")] == ["a", "b", "c"]
    assert tags["stage"] == "Archived"


def test_an_alias_falls_back_to_the_version_that_is_left_in_the_stage() -> None:
    registry = MemoryRegistry(2)
    life = lifecycle(registry)
    life.move(1, Stage.STAGING, who="a", why="x")
    life.move(2, Stage.STAGING, who="a", why="x")
    assert registry.aliases == {"staging": "2"}
    life.move(2, Stage.ARCHIVED, who="a", why="x")
    assert registry.aliases == {"staging": "1"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (before, after)
        for before in Stage
        for after in Stage
        if before is not after and after not in LEGAL_MOVES[before]
    ],
)
def test_what_is_no_legal_move_is_refused_and_leaves_no_trace(before: Stage, after: Stage) -> None:
    registry = MemoryRegistry(1)
    registry.stages[1] = str(before)
    registry.tags[1] = {"stage": str(before)}
    with pytest.raises(FixError, match=f"is in stage {before} and may go to .* not to {after}"):
        lifecycle(registry).move(1, after, who="a", why="x")
    assert registry.stages == {1: str(before)}
    assert registry.tags == {1: {"stage": str(before)}}


def test_only_the_way_through_paper_trading_leads_to_production() -> None:
    into_production = {stage for stage in Stage if Stage.PRODUCTION in LEGAL_MOVES[stage]}
    assert into_production == {Stage.STAGING}


def test_moving_twice_changes_nothing_the_second_time() -> None:
    registry = MemoryRegistry(1)
    life = lifecycle(registry)
    life.move(1, Stage.STAGING, who="a", why="x")
    tags = dict(registry.tags[1])
    life.move(1, Stage.STAGING, who="b", why="y")
    assert registry.tags[1] == tags


@pytest.mark.parametrize(
    "dies_at",
    ["transition_model_version_stage", "set_registered_model_alias", "delete_model_version_tag"],
)
def test_a_move_that_was_interrupted_is_completed_as_our_own(dies_at: str) -> None:
    registry = MemoryRegistry(1)
    life = lifecycle(registry)
    registry.dies_at = dies_at
    with pytest.raises(KeyboardInterrupt):
        life.move(1, Stage.STAGING, who="orchestrator", why="all gates passed")
    registry.dies_at = ""
    assert life.record_overrides() == ()
    life.move(1, Stage.STAGING, who="orchestrator", why="all gates passed")
    assert registry.stages == {1: "Staging"}
    assert registry.tags[1]["staging.by"] == "orchestrator"
    assert registry.tags[1]["stage"] == "Staging"
    assert "stage.moving_to" not in registry.tags[1]
    assert registry.aliases == {"staging": "1"}


def test_a_move_made_by_a_person_is_obeyed_and_recorded_once() -> None:
    registry = MemoryRegistry(2)
    life = lifecycle(registry)
    life.move(1, Stage.STAGING, who="orchestrator", why="x")
    registry.stages[1] = "Production"
    assert life.record_overrides() == (Override(1, Stage.STAGING, Stage.PRODUCTION),)
    assert life.record_overrides() == ()
    assert registry.tags[1]["stage"] == "Production"
    assert registry.tags[1]["production.by"] == PERSON
    assert registry.tags[1]["production.why"] == (
        "override: moved from Staging to Production by hand"
    )
    assert registry.aliases == {"production": "1"}
    assert [version.number for version in life.versions_in(Stage.PRODUCTION)] == [1]


def test_a_person_who_moves_a_version_back_and_forth_is_not_taken_for_the_program() -> None:
    registry = MemoryRegistry(1)
    life = lifecycle(registry)
    life.move(1, Stage.STAGING, who="orchestrator", why="x")
    registry.stages[1] = "None"
    life.record_overrides()
    registry.stages[1] = "Staging"
    assert life.record_overrides() == (Override(1, Stage.NONE, Stage.STAGING),)
    assert registry.tags[1]["staging.by"] == PERSON


def test_a_move_that_a_person_made_first_is_recorded_as_theirs() -> None:
    registry = MemoryRegistry(1)
    registry.stages[1] = "Staging"
    lifecycle(registry).move(1, Stage.STAGING, who="orchestrator", why="x")
    assert registry.tags[1]["staging.by"] == PERSON


def test_a_move_out_of_an_overridden_stage_starts_from_where_the_person_put_it() -> None:
    registry = MemoryRegistry(1)
    registry.stages[1] = "Archived"
    with pytest.raises(FixError, match="is in stage Archived"):
        lifecycle(registry).move(1, Stage.STAGING, who="orchestrator", why="x")


def test_a_model_that_was_never_registered_has_no_versions() -> None:
    life = lifecycle(MemoryRegistry(1), "ETHUSDT-4h")
    assert life.versions() == ()
    assert life.versions_in(Stage.PRODUCTION) == ()
    assert life.record_overrides() == ()
    with pytest.raises(FixError, match="ETHUSDT-4h has no version 1"):
        life.move(1, Stage.STAGING, who="a", why="x")


def test_versions_come_newest_first_with_numbers_of_one_type() -> None:
    assert [version.number for version in lifecycle(MemoryRegistry(11)).versions()] == list(
        range(11, 0, -1)
    )


def test_no_warning_about_deprecated_stages_gets_through() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lifecycle(MemoryRegistry(1)).move(1, Stage.STAGING, who="a", why="x")


def test_verdicts_become_tags_of_the_version() -> None:
    registry = MemoryRegistry(1)
    verdicts = (
        GateVerdict("edge", 0.1234, 0.01, ">", "R per trade"),
        GateVerdict("p", math.nan, 0.05, "<", "t-test"),
    )
    lifecycle(registry).record_verdicts(1, verdicts)
    assert registry.tags[1] == verdict_tags(verdicts)
    assert registry.tags[1] == {
        "gate.edge": "passed: 0.1234, wanted > 0.01 (R per trade)",
        "gate.p": "failed: unknown, wanted < 0.05 (t-test)",
    }


def test_a_version_tells_how_it_came_into_a_stage_and_what_is_not_written_down_yet() -> None:
    registry = MemoryRegistry(1)
    life = lifecycle(registry)
    life.move(1, Stage.STAGING, who="orchestrator", why="all gates passed")
    version = life.version(1)
    at = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert version.entry(Stage.STAGING) == Entry(at, "orchestrator", "all gates passed")
    assert version.entry(Stage.PRODUCTION) is None
    assert (version.settled, version.override) == (True, None)
    registry.stages[1] = "Archived"
    moved = life.version(1)
    assert (moved.settled, moved.override) == (False, Override(1, Stage.STAGING, Stage.ARCHIVED))
    registry.stages[1], registry.tags[1]["stage.moving_to"] = "Staging", "Production"
    begun = life.version(1)
    assert (begun.settled, begun.override) == (False, None)
