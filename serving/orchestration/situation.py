"""How a model stands: all that the orchestrator's plan follows from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.lifecycle import PERSON, Entry, Stage, StrategyVersion
from serving.campaign_requests import CampaignRequest
from serving.journal import Book
from strategy.config import Config

WHO = "orchestrator"
"""As which it moves versions and asks for campaigns."""
BURIED = "buried: "
"""How the reason of a burial begins, by which it is told from a rejection."""


class Trained(NamedTuple):
    """What counts here of a version's bundle."""

    until: datetime
    """End of its training window, UTC."""
    shap_share: float
    """Of the ten most important features, in [0, 1]; NaN if unknown."""


class Result(NamedTuple):
    """What a trade came to."""

    decided: datetime
    r: float
    """Net R-multiple."""


@dataclass(frozen=True)
class Situation:
    """How a model (``BTCUSDT-1h``) stands.

    Parameters
    ----------
    now
        UTC.
    versions
        All of them, newest first.
    bundles
        By version, for those in Staging and Production: what it was trained on, or why its
        bundle cannot be read.
    results
        By book and strategy id, in order of their decisions.
    campaigns
        All that were ever asked for.
    retrains
        By version: when its retrain was asked for last, UTC.
    """

    model: str
    now: datetime
    config: Config
    versions: tuple[StrategyVersion, ...]
    bundles: Mapping[int, Trained | str] = field(default_factory=dict)
    results: Mapping[tuple[Book, str], Sequence[Result]] = field(default_factory=dict)
    campaigns: tuple[CampaignRequest, ...] = ()
    retrains: Mapping[int, datetime] = field(default_factory=dict)

    def versions_in(self, *stages: Stage) -> list[StrategyVersion]:
        """The versions in any of the stages, newest first."""
        return [version for version in self.versions if version.stage in stages]

    def since(self, version: StrategyVersion, stage: Stage) -> datetime | None:
        """When its strategy came into a stage: the last time by a person's hand, else the first."""
        entries = [entry for each in self._kin(version) if (entry := self._entry(each, stage))]
        by_hand = [entry.at for entry in entries if entry.who == PERSON]
        return max(by_hand) if by_hand else min((entry.at for entry in entries), default=None)

    def r(
        self, version: StrategyVersion, book: Book, since: datetime | None
    ) -> NDArray[np.float64]:
        """Net R-multiples of its strategy's trades since then (None: all), in order of time."""
        found = self.results.get((book, version.strategy_id or ""), ())
        return np.array([each.r for each in found if since is None or each.decided >= since])

    def buried(self, version: StrategyVersion) -> Entry | None:
        """The last burial of its strategy."""
        return max(self._burials(self._kin(version)), key=_time, default=None)

    @property
    def last_burial(self) -> Entry | None:
        """That of any strategy of the model."""
        return max(self._burials(self.versions), key=_time, default=None)

    def _entry(self, version: StrategyVersion, stage: Stage) -> Entry | None:
        if version.override and version.stage is stage:  # as it will be written down
            return Entry(self.now, PERSON, "")
        return version.entry(stage)

    def _kin(self, version: StrategyVersion) -> Sequence[StrategyVersion]:
        """All versions of the same strategy."""
        if version.strategy_id is None:
            return [version]
        return [each for each in self.versions if each.strategy_id == version.strategy_id]

    def _burials(self, versions: Sequence[StrategyVersion]) -> list[Entry]:
        archived = [each for each in versions if each.stage is Stage.ARCHIVED]
        entries = (self._entry(each, Stage.ARCHIVED) for each in archived)
        return [entry for entry in entries if entry and entry.why.startswith(BURIED)]


def _time(entry: Entry) -> datetime:
    return entry.at
