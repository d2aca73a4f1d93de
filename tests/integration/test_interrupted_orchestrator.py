"""The orchestrator killed before and after every call that changes something, then called again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.broken_off import BrokenOffError, Stepping, Steps
from tests.orchestrator_world import EveryAction

CHANGES = (
    "set_model_version_tag",
    "delete_model_version_tag",
    "transition_model_version_stage",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "put",
    "delete",
    "send",
)


def lived(folder: Path, fatal: int | None = None, *, after: bool = False) -> tuple[Any, Steps]:
    """A day with everything in it, killed at a step and called again a day later."""
    folder.mkdir()
    world, steps = EveryAction(folder), Steps()
    steps.fatal, steps.after = fatal, after
    stack = world.world.stack
    world.world.stack = replace(
        stack,
        state=Stepping(stack.state, steps, CHANGES),
        queue=Stepping(stack.queue, steps, CHANGES),
        notifier=Stepping(stack.notifier, steps, CHANGES),
    )
    registry, world.registry = world.registry, Stepping(world.registry, steps, CHANGES)
    world.retrain = steps.step(world.retrain)
    if fatal is not None:
        try:
            world.orchestrate()
        except BrokenOffError:
            world.clock.forward(minutes=20)  # Lambda calls it again, and claims have run out
    steps.fatal = None
    for _ in range(2):
        [outcome] = world.orchestrate()
        assert not outcome.errors
        world.clock.forward(days=1)
    requests = {each.campaign_id: each.requested_by for each in stack.requests.all()}
    ending = registry.ending, requests, set(world.retrained), Counter(world.told.subjects)
    return ending, steps


def test_it_ends_as_if_it_had_not_been_killed_wherever_that_was(tmp_path: Path) -> None:
    (registry, requests, retrained, told), steps = lived(tmp_path / "undisturbed")
    assert steps.taken > 40
    assert set(told.values()) == {1}
    for fatal in range(steps.taken):
        for after in (False, True):
            folder = tmp_path / f"{fatal}-{after}"
            (found, asked, again, heard), _ = lived(folder, fatal, after=after)
            assert found == registry, (fatal, after)
            assert again == retrained, (fatal, after)
            assert list(asked.values()) == list(requests.values()), (fatal, after)
            assert heard.keys() == told.keys(), (fatal, after)
            # Sent, and killed before that could be noted: it is sent once more.
            assert heard.total() <= told.total() + 1, (fatal, after)
