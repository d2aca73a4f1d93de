"""The life of a registered strategy: its stages, who moves it between them, and the gates.

A version's stage in MLflow's registry *is* its life, and no other place says so:
``None`` (discovered) -> ``Staging`` (paper trading) -> ``Production`` (real orders) ->
``Archived`` (buried). This is the only file that moves a version. Each move is written on the
version as tags (``staging.by``, ``staging.at``, ``staging.why``, and likewise for the other
stages), and an alias named like the stage points to the newest version in it. A person may
move a version in the UI as well: that is obeyed, and :meth:`Lifecycle.record_overrides` writes
it down.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from registry.connection import translated
from strategy.config import IncubationPromotion
from strategy.errors import FixError
from strategy.performance import expectancy, standard_error

if TYPE_CHECKING:
    from mlflow import MlflowClient

STAGE, MOVING_TO = "stage", "stage.moving_to"
"""Tags: the stage that was written down last, and the one that a move has begun to."""
PERSON = "a person, outside the program"


class Stage(StrEnum):
    """MLflow's four stages, in the order of a strategy's life."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


LEGAL_MOVES: Mapping[Stage, frozenset[Stage]] = {
    Stage.NONE: frozenset({Stage.STAGING, Stage.ARCHIVED}),
    Stage.STAGING: frozenset({Stage.PRODUCTION, Stage.ARCHIVED}),
    Stage.PRODUCTION: frozenset({Stage.ARCHIVED}),
    Stage.ARCHIVED: frozenset(),
}
"""What the program may do; a person may do anything."""
ALIASED = (Stage.STAGING, Stage.PRODUCTION)


@dataclass(frozen=True)
class StrategyVersion:
    """A version of a registered model as the registry has it now."""

    number: int
    stage: Stage
    run_id: str | None
    tags: Mapping[str, str]

    @property
    def recorded_stage(self) -> Stage:
        """The stage that was last written down; another one than ``stage`` after an override."""
        return Stage(self.tags.get(STAGE, Stage.NONE))


@dataclass(frozen=True)
class Override:
    """A move that someone made past the program."""

    version: int
    before: Stage
    now: Stage


class Lifecycle:
    """The versions of one registered model and their stages.

    Every method raises StoreError or RetryError as
    :func:`registry.connection.translated` says. A model that was never registered is one
    without versions.

    Parameters
    ----------
    clock
        Milliseconds since the epoch, UTC.
    """

    def __init__(self, client: MlflowClient, model_name: str, clock: Callable[[], int]) -> None:
        self._client = client
        self._name = model_name
        self._clock = clock

    def versions(self) -> tuple[StrategyVersion, ...]:
        """All versions, newest first."""
        with translated(self._client):
            found = self._client.search_model_versions(f"name = '{self._name}'")
        versions = (
            StrategyVersion(
                int(each.version), Stage(each.current_stage or "None"), each.run_id, each.tags
            )
            for each in found
        )
        return tuple(sorted(versions, key=lambda version: version.number, reverse=True))

    def versions_in(self, stage: Stage) -> tuple[StrategyVersion, ...]:
        """The versions in a stage, newest first; empty where there are none."""
        return tuple(version for version in self.versions() if version.stage is stage)

    def version(self, number: int) -> StrategyVersion:
        """One version as it is now.

        Raises
        ------
        FixError
            There is no such version.
        """
        for version in self.versions():
            if version.number == number:
                return version
        raise FixError(f"the model {self._name} has no version {number} in the registry")

    def move(self, number: int, stage: Stage, *, who: str, why: str) -> None:
        """Move a version to another stage and write down who did it, when and why.

        Calling it again changes nothing, and completes a move that was interrupted.

        Parameters
        ----------
        who
            The program that moves it, for example ``orchestrator``.
        why
            In a sentence, with the figures that led to it.

        Raises
        ------
        FixError
            There is no such version, or the move is not legal (:data:`LEGAL_MOVES`).
        """
        version = self.version(number)
        self._catch_up(version)
        if version.stage is stage:
            return
        if stage not in LEGAL_MOVES[version.stage]:
            allowed = ", ".join(sorted(LEGAL_MOVES[version.stage])) or "no other stage"
            raise FixError(
                f"{self._name} version {number} is in stage {version.stage} and may go to "
                f"{allowed}, not to {stage}; a person may do so in the MLflow UI"
            )
        # Who and why are written before the move: should this process die in between, the
        # next reader knows that it was no person's doing.
        self._tag(number, self._story(stage, who, why) | {MOVING_TO: stage})
        self._transition(number, stage)
        self._settle(self.version(number))

    def record_overrides(self) -> tuple[Override, ...]:
        """Write down the moves that were made past the program, and mirror their aliases.

        Returns
        -------
        Those moves, newest version first; a second call finds none. A move of our own that was
        interrupted is completed, and is not among them.
        """
        found = (self._catch_up(version) for version in self.versions())
        return tuple(override for override in found if override)

    def _catch_up(self, version: StrategyVersion) -> Override | None:
        """Bring tags and aliases in line with the stage; an Override if a person set it."""
        recorded, begun = version.recorded_stage, version.tags.get(MOVING_TO)
        if version.stage is recorded and begun is None:
            return None
        override = None
        if version.stage not in (recorded, begun):
            override = Override(version.number, recorded, version.stage)
            why = f"override: moved from {recorded} to {version.stage} by hand"
            self._tag(version.number, self._story(version.stage, PERSON, why))
        self._settle(version)
        return override

    def record_verdicts(self, number: int, verdicts: Sequence[GateVerdict]) -> None:
        """Write what gates said about a version as its tags (:func:`verdict_tags`)."""
        self._tag(number, verdict_tags(verdicts))

    def _story(self, stage: Stage, who: str, why: str) -> dict[str, str]:
        at = datetime.fromtimestamp(self._clock() / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        key = stage.lower()
        return {f"{key}.by": who, f"{key}.at": at, f"{key}.why": why}

    def _settle(self, version: StrategyVersion) -> None:
        """After a move: aliases first, then the tag that says that all of it is done."""
        versions = self.versions()
        with translated(self._client):
            aliases = self._client.get_registered_model(self._name).aliases
            for stage in ALIASED:
                newest = next((each.number for each in versions if each.stage is stage), None)
                alias = stage.lower()
                if newest is None and alias in aliases:
                    self._client.delete_registered_model_alias(self._name, alias)
                elif newest is not None and str(aliases.get(alias)) != str(newest):
                    self._client.set_registered_model_alias(self._name, alias, str(newest))
        self._tag(version.number, {STAGE: version.stage})
        if MOVING_TO in version.tags:
            with translated(self._client):
                self._client.delete_model_version_tag(self._name, str(version.number), MOVING_TO)

    def _transition(self, number: int, stage: Stage) -> None:
        with translated(self._client), warnings.catch_warnings():
            # Stages are deprecated upstream but work in the pinned version; aliases, which are
            # to replace them, cannot be moved in the UI's way of promoting a model.
            warnings.simplefilter("ignore", FutureWarning)
            self._client.transition_model_version_stage(self._name, str(number), stage)

    def _tag(self, number: int, tags: Mapping[str, str]) -> None:
        with translated(self._client):
            for key, value in tags.items():
                self._client.set_model_version_tag(self._name, str(number), key, str(value))


@dataclass(frozen=True)
class GateVerdict:
    """A figure beside its threshold; an unknown figure (NaN) never passes."""

    name: str
    figure: float
    threshold: float
    comparison: Literal[">", ">=", "<", "<="]
    detail: str

    @property
    def passed(self) -> bool:
        """Whether the figure is on the right side of the threshold."""
        return bool(_COMPARISONS[self.comparison](self.figure, self.threshold))

    @property
    def text(self) -> str:
        """For people, for example ``failed: 0.0031, wanted > 0.01 (30 trades, ...)``."""
        figure = "unknown" if math.isnan(self.figure) else f"{self.figure:.4g}"
        outcome = "passed" if self.passed else "failed"
        return f"{outcome}: {figure}, wanted {self.comparison} {self.threshold:g} ({self.detail})"


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def verdict_tags(verdicts: Sequence[GateVerdict]) -> dict[str, str]:
    """Tags ``gate.<name>`` that say of each gate its verdict, figure and threshold."""
    return {f"gate.{verdict.name}": verdict.text for verdict in verdicts}


def incubation_gates(
    confirmation_r: NDArray[np.float64], rule: IncubationPromotion
) -> tuple[GateVerdict, ...]:
    """Judge the gate None -> Staging on the trades of the confirmation windows.

    The expectancy is judged twice, because the rule's few trades say little: 30 trades with a
    standard deviation of 1.6 R have a standard error of 0.3 R.

    Parameters
    ----------
    confirmation_r
        Net R-multiples of all confirmation trades in order of time, shape (n,).

    Returns
    -------
    Verdicts on the number of trades within the rule's period, on their expectancy, and on the
    expectancy of all confirmation trades. All must pass.
    """
    last = confirmation_r[-rule.last_trades :]
    return (
        GateVerdict(
            "incubation_trades",
            float(len(last)),
            float(rule.min_trades),
            ">=",
            f"confirmation trades within {rule.period}",
        ),
        _expectancy_gate(f"incubation_{rule.period}", last, rule),
        _expectancy_gate("incubation_all_trades", confirmation_r, rule),
    )


def _expectancy_gate(name: str, r: NDArray[np.float64], rule: IncubationPromotion) -> GateVerdict:
    error = standard_error(r)
    shown = "unknown" if math.isnan(error) else f"{error:.2g} R"
    return GateVerdict(
        name,
        expectancy(r),
        rule.expectancy_threshold,
        ">",
        f"R per trade over {len(r)} confirmation trades, standard error {shown}; "
        f"at least {rule.min_trades} wanted",
    )
