"""What the orchestrator may decide to do about a model, or not to do, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from registry.gates import GateVerdict
from registry.lifecycle import Stage


@dataclass(frozen=True)
class Action:
    """Something to be done about a registered model.

    Parameters
    ----------
    model
        Its name, as ``BTCUSDT-1h``.
    why
        In a sentence, with the figures that led to it.
    """

    model: str
    why: str

    name: ClassVar[str]
    changes: ClassVar[bool] = True
    """Whether anything is done at all."""


@dataclass(frozen=True)
class VersionAction(Action):
    """Something to be done about one of its versions, which gates have judged.

    Parameters
    ----------
    gates
        What they said; empty where none was asked.
    """

    version: int
    gates: tuple[GateVerdict, ...] = ()


class Move(VersionAction):
    """Have it go to another stage."""

    stage: ClassVar[Stage]


class Promote(Move):
    """Staging -> Production: real orders."""

    name = "promote"
    stage = Stage.PRODUCTION


class Bury(Move):
    """Production -> Archived: it does not earn any longer."""

    name = "bury"
    stage = Stage.ARCHIVED


class Reject(Move):
    """Staging -> Archived: it does not do on paper what it did in its backtest."""

    name = "reject"
    stage = Stage.ARCHIVED


class Retrain(VersionAction):
    """Have it fitted anew, with the same parameters."""

    name = "retrain"


class RecordOverride(VersionAction):
    """Write down that a person moved it."""

    name = "record override"


class AskForCampaign(Action):
    """Have a new strategy discovered."""

    name = "ask for a campaign"


@dataclass(frozen=True)
class Alarm(Action):
    """Tell the operator of something that only a person can put right.

    Parameters
    ----------
    key
        Tells one alarm from another: it is told once.
    """

    name = "alarm"

    key: str


class Keep(VersionAction):
    """Leave a version where it is."""

    name = "keep"
    changes = False


class Wait(Action):
    """Do nothing about a model that nothing trades."""

    name = "wait"
    changes = False


def action_document(action: Action) -> dict[str, Any]:
    """An action as JSON."""
    document: dict[str, Any] = {"action": action.name, "model": action.model}
    if isinstance(action, VersionAction):
        document["version"] = action.version
    document["why"] = action.why
    if isinstance(action, VersionAction) and action.gates:
        document["gates"] = {gate.name: gate.text for gate in action.gates}
    return document
