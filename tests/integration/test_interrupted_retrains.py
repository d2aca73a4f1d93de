"""A retrain that dies at any call that changes something, and is asked for again, ends well."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from registry import identity
from registry.lifecycle import Stage
from serving.model_retrainer import LEASE
from serving.retraining import material
from strategy.errors import DataError, RetryError
from tests.broken_off import BrokenOffError, Stepping, Steps
from tests.integration.interruptions.endings import differences, ending
from tests.retrain_world import (
    BY_MARKET,
    EVENT,
    MISLEADING,
    RETRAINED,
    STEADY,
    RetrainWorld,
    at,
    copy_of,
    moved_by_a_person,
)
from tests.retrain_world import found_strategy as found_strategy_in

OF_MLFLOW = (
    "create_run", "update_run", "log_batch", "log_inputs", "set_terminated", "create_logged_model",
    "log_model_artifacts", "finalize_logged_model", "create_registered_model",
    "create_model_version", "log_outputs", "set_model_version_tag", "delete_model_version_tag",
    "transition_model_version_stage", "set_registered_model_alias", "delete_logged_model",
    "delete_model_version", "delete_registered_model",
)  # fmt: skip
OF_STATE, OF_NOTIFIER = ("put", "delete"), ("send",)
YESTERDAY = pd.DateOffset(days=1)


class Death(Steps):
    """Of a process: once it has died, nothing else that it tries has an effect."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        counted = super().step(method)

        def stepping(*arguments: Any, **named: Any) -> Any:
            if self.fatal is not None and self.taken > self.fatal:
                raise BrokenOffError
            self.names.append(method.__name__)
            return counted(*arguments, **named)

        return stepping


def mortal(world: RetrainWorld, death: Death) -> RetrainWorld:
    world.client = Stepping(world.client, death, OF_MLFLOW)
    world.state = Stepping(world.state, death, OF_STATE)
    world.told = Stepping(world.told, death, OF_NOTIFIER)
    return world


@pytest.fixture(scope="module", autouse=True)
def the_same_code() -> Iterator[None]:
    """Sources that are edited while these tests run would make another retrain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "code_digest", lambda: "c0de" * 16)
        patch.setattr(material, "git_commit", lambda: "c0ffee")
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return found_strategy_in(tmp_path_factory.mktemp("found"), Stage.PRODUCTION)


@pytest.fixture(scope="module")
def undisturbed(
    found: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[float, ...], tuple[dict[str, Any], list[str]]]:
    """By market: what is left in the end, and the calls that led to it."""
    left = {}
    for drifts in (STEADY, MISLEADING):
        var, calls = copy_of(found, tmp_path_factory.mktemp("undisturbed")), Death()
        mortal(RetrainWorld(var, drifts), calls).retrain()
        left[drifts] = (ending(var), calls.names)
    return left


def died_and_asked_again(
    found: Path, var: Path, drifts: tuple[float, ...], death: Death
) -> RetrainWorld:
    """The world after a second call, made when the first one's lease is over."""
    first, second = (RetrainWorld(copy_of(found, var), drifts) for _ in range(2))
    second.told = first.told
    with suppress(BrokenOffError):
        mortal(first, death).retrain()
    assert list(second.stages.values()).count("Production") == 1
    assert second.stages.keys() <= {1, 2}
    second.clock.now += LEASE
    second.retrain()
    return second


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.torture)])
@pytest.mark.parametrize(
    ("drifts", "call"),
    [
        *itertools.product(
            [STEADY],
            [
                "create_run", "log_model_artifacts", "create_model_version",
                "transition_model_version_stage", "set_registered_model_alias", "send",
            ],
        ),
        *itertools.product([MISLEADING], ["log_batch", "set_terminated"]),
    ],
)  # fmt: skip
def test_a_retrain_that_died_is_completed_by_the_next_call(
    found: Path,
    tmp_path: Path,
    undisturbed: dict[tuple[float, ...], tuple[dict[str, Any], list[str]]],
    drifts: tuple[float, ...],
    call: str,
    after: bool,
) -> None:
    expected, calls = undisturbed[drifts]
    death = Death()
    death.fatal, death.after = calls.index(call), after
    world = died_and_asked_again(found, tmp_path, drifts, death)
    assert differences(ending(tmp_path), expected) == []
    # One that died between sending and writing it down cannot know that it has sent.
    assert len(world.told) == (2 if (call, after) == ("send", True) else 1)


def test_until_the_lease_is_over_the_next_call_is_told_to_come_again(
    found: Path, tmp_path: Path
) -> None:
    first, second = (RetrainWorld(copy_of(found, tmp_path)) for _ in range(2))
    death = Death()
    death.fatal = 5
    with suppress(BrokenOffError):
        mortal(first, death).retrain()
    second.clock.now += LEASE - timedelta(seconds=1)
    with pytest.raises(RetryError, match=f"ends within {LEASE}"):
        second.retrain()


def died_before(
    found: Path, var: Path, call: str, calls: list[str], ago: pd.DateOffset = YESTERDAY
) -> RetrainWorld:
    """The world today, with today's candles; the call that it died at had its effect."""
    first, second = (at(RetrainWorld(copy_of(found, var)), RETRAINED - ago) for _ in range(2))
    death = Death()
    death.fatal, death.after = calls.index(call), True
    with suppress(BrokenOffError):
        mortal(first, death).retrain()
    return at(second, RETRAINED)


def test_a_retrain_that_died_without_a_version_is_made_anew_on_the_newest_candles(
    found: Path,
    tmp_path: Path,
    undisturbed: dict[tuple[float, ...], tuple[dict[str, Any], list[str]]],
) -> None:
    world = died_before(found, tmp_path, "log_inputs", undisturbed[STEADY][1])
    assert world.retrain().verdict == "admitted"
    assert world.stages == {2: "Production", 1: "Archived"}
    new, old = world.runs
    assert (new.info.status, old.info.status) == ("FINISHED", "KILLED")
    assert new.data.tags["until"] == "2025-09-01T00:00Z"


@pytest.mark.parametrize("event", [EVENT, BY_MARKET])
def test_a_version_that_is_in_the_stage_already_is_completed_whatever_candles_there_are(
    found: Path,
    tmp_path: Path,
    undisturbed: dict[tuple[float, ...], tuple[dict[str, Any], list[str]]],
    event: dict[str, Any],
) -> None:
    calls = undisturbed[STEADY][1]
    world = died_before(found, tmp_path, "transition_model_version_stage", calls)
    assert world.stages == {2: "Production", 1: "Archived"}
    with suppress(DataError):  # asked for the market, it goes on to version 2, which is too young
        assert world.retrain(event).version == 2
    assert len(world.told) == 1
    (run,) = world.runs
    assert run.info.status == "FINISHED"
    assert world.version(1).tags["stage"] == "Archived"
    assert world.life.record_overrides() == ()


def test_what_a_person_has_done_about_an_interrupted_retrain_stands(
    found: Path,
    tmp_path: Path,
    undisturbed: dict[tuple[float, ...], tuple[dict[str, Any], list[str]]],
) -> None:
    calls, month = undisturbed[STEADY][1], pd.DateOffset(months=1)
    world = died_before(found, tmp_path, "create_model_version", calls, month)
    moved_by_a_person(world, "1", "Archived")
    moved_by_a_person(world, "2", "Production")
    assert world.retrain(BY_MARKET).version == 3
    assert world.stages == {3: "Production", 2: "Archived", 1: "Archived"}
    assert "superseded_by" not in world.version(1).tags


def test_of_two_that_are_left_in_staging_the_old_one_goes_whatever_candles_there_are(
    tmp_path: Path, undisturbed: dict[tuple[float, ...], tuple[dict[str, Any], list[str]]]
) -> None:
    staged = found_strategy_in(tmp_path / "staged", Stage.STAGING)
    calls = undisturbed[STEADY][1]
    world = died_before(staged, tmp_path / "var", "transition_model_version_stage", calls)
    assert world.stages == {2: "Staging", 1: "Staging"}
    assert world.retrain().version == 2
    assert world.stages == {2: "Staging", 1: "Archived"}
    assert [run.info.status for run in world.runs] == ["FINISHED"]


@pytest.mark.torture
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("drifts", [STEADY, MISLEADING])
def test_it_may_die_at_every_call_in_turn(
    found: Path,
    tmp_path: Path,
    undisturbed: dict[tuple[float, ...], tuple[dict[str, Any], list[str]]],
    drifts: tuple[float, ...],
    after: bool,
) -> None:
    expected, calls = undisturbed[drifts]
    for fatal, call in enumerate(calls):
        death = Death()
        death.fatal, death.after = fatal, after
        var = tmp_path / str(fatal)
        died_and_asked_again(found, var, drifts, death)
        assert differences(ending(var), expected) == [], f"{call}, step {fatal}"
    assert len(calls) > 10
