"""The life of a registered strategy: its stages, and who moves it between them.

A version's stage in MLflow's registry *is* its life, and no other place says so:
``None`` (discovered) -> ``Staging`` (paper trading) -> ``Production`` (real orders) ->
``Archived`` (buried). This is the only file that moves a version. Each move is written on the
version as tags (``staging.by``, ``staging.at``, ``staging.why``, and likewise for the other
stages), and an alias named like the stage points to the newest version in it. A person may
move a version in the UI as well: that is obeyed, and :meth:`Lifecycle.record_overrides` writes
it down.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from registry.connection import translated
from registry.gates import GateVerdict, verdict_tags
from strategy.errors import FixError

if TYPE_CHECKING:
    from mlflow import MlflowClient

STAGE, MOVING_TO = "stage", "stage.moving_to"
"""Tags: the stage that was written down last, and the one that a move has begun to."""
STRATEGY_ID = "strategy_id"
"""Tag: what stays the same across retrains."""
SUPERSEDED_BY = "superseded_by"
"""Tag of an archived version: the number of the one that took its place."""
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
"""What the program may do; a person may do anything. A version that was retrained besides takes
its predecessor's stage (:meth:`Lifecycle.supersede`)."""
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

    @property
    def strategy_id(self) -> str | None:
        """The same across retrains; None if the version was not registered by this program."""
        return self.tags.get(STRATEGY_ID)

    @property
    def settled(self) -> bool:
        """Whether all that befell it is written down."""
        return self.stage is self.recorded_stage and MOVING_TO not in self.tags

    @property
    def override(self) -> Override | None:
        """The move past the program that brought it here, if it is not written down yet."""
        if self.stage in (self.recorded_stage, self.tags.get(MOVING_TO)):
            return None
        return Override(self.number, self.recorded_stage, self.stage)

    def entry(self, stage: Stage) -> Entry | None:
        """How it came into a stage the last time, as far as that was written down."""
        key = stage.lower()
        if (at := self.tags.get(f"{key}.at")) is None:
            return None
        who, why = self.tags.get(f"{key}.by", ""), self.tags.get(f"{key}.why", "")
        return Entry(datetime.fromisoformat(at), who, why)


@dataclass(frozen=True)
class Entry:
    """A version's way into a stage: when (UTC), by whom and why."""

    at: datetime
    who: str
    why: str


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

    def supersede(self, old: int, new: int, *, who: str, why: str) -> None:
        """Put a retrained version into the stage of the one that it replaces, which is archived.

        The stage is never empty meanwhile. Production holds one version at any time; in Staging
        there may be both for a moment. Calling it again changes nothing, and completes what was
        interrupted.

        Parameters
        ----------
        old
            In Staging or Production.
        new
            In no stage yet, and of the same strategy: that is why it need not pass the gates.
        who, why
            As :meth:`move`.

        Raises
        ------
        FixError
            There is no such version, the two are of different strategies, or one of them is not
            where it must be (a person may have moved it).
        """
        before, after = self.version(old), self.version(new)
        for version in (before, after):
            self._catch_up(version)
        replaced = before.stage is Stage.ARCHIVED and before.tags.get(SUPERSEDED_BY) == str(new)
        if replaced and after.stage is not Stage.NONE:
            return
        self._check_succession(before, after)
        stage = before.stage
        if after.stage is not stage:
            self._tag(new, self._story(stage, who, why) | {MOVING_TO: stage})
        story = self._story(Stage.ARCHIVED, who, f"superseded by version {new}: {why}")
        self._tag(old, story | {SUPERSEDED_BY: str(new), MOVING_TO: Stage.ARCHIVED})
        if after.stage is not stage:
            # One call takes the old one out of Production, so that nobody ever sees two there.
            # It would take out every other version as well, and Staging may hold several.
            live = [version.number for version in self.versions_in(Stage.PRODUCTION)]
            self._transition(new, stage, archive_others=live == [old])
        if self.version(old).stage is stage:
            self._transition(old, Stage.ARCHIVED)
        for number in (new, old):
            self._settle(self.version(number))

    def _check_succession(self, old: StrategyVersion, new: StrategyVersion) -> None:
        if old.strategy_id is None or old.strategy_id != new.strategy_id:
            raise FixError(
                f"{self._name} version {new.number} is of strategy {new.strategy_id} and cannot "
                f"supersede version {old.number} of strategy {old.strategy_id}: promote it instead"
            )
        if old.stage not in ALIASED or new.stage not in (Stage.NONE, old.stage):
            raise FixError(
                f"{self._name} version {old.number} is in stage {old.stage} and cannot be "
                f"superseded by version {new.number} in stage {new.stage}: the one must be in "
                "Staging or Production, the other in no stage yet"
            )

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
        if version.settled:
            return None
        override = version.override
        if override:
            why = f"override: moved from {override.before} to {override.now} by hand"
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

    def _transition(self, number: int, stage: Stage, *, archive_others: bool = False) -> None:
        with translated(self._client), warnings.catch_warnings():
            # Stages are deprecated upstream but work in the pinned version; aliases, which are
            # to replace them, cannot be moved in the UI's way of promoting a model.
            warnings.simplefilter("ignore", FutureWarning)
            self._client.transition_model_version_stage(
                self._name, str(number), stage, archive_existing_versions=archive_others
            )

    def _tag(self, number: int, tags: Mapping[str, str]) -> None:
        with translated(self._client):
            for key, value in tags.items():
                self._client.set_model_version_tag(self._name, str(number), key, str(value))
