"""Who trades a market now; where the registry cannot say, who did when it last could."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.trading.desk import Notice
from serving.trading.roster import Entrant, Roster
from store.clock import Clock
from store.state import StateTable
from strategy.errors import ConflictError, TradingSystemError

_log = logging.getLogger(__name__)

PARTITION, KEY = "bot", "roster"
"""Of the state table: by model, what was last seen in the registry."""


@dataclass(frozen=True)
class KnownRoster:
    """The registry, and what was last seen in it."""

    roster: Roster
    state: StateTable
    clock: Clock

    def read(
        self, models: Sequence[str], *, synthetic_market: bool
    ) -> tuple[list[Entrant], list[Notice]]:
        """The versions that trade these models, and what the operator is to hear of them."""
        item = self.state.get(PARTITION, KEY)
        before: Mapping[str, Any] = item.value if item else {}
        try:
            found = self.roster.read(models, synthetic_market=synthetic_market)
        except TradingSystemError as error:
            why = f"the registry cannot be read: {error}"
            _log.error("%s", why)
            remembered = [
                Entrant(**row, bundle=None, problem=why)
                for model in models
                for row in before.get(model, [])
            ]
            hourly = Notice(f"registry/{self.clock():%Y-%m-%dT%H}", "Registry unreachable", why)
            return remembered, [hourly]
        after = {**before, **{model: _rows(found, model) for model in models}}
        if after != before:
            try:
                self.state.put(PARTITION, KEY, after, expected=item.version if item else 0)
            except ConflictError:
                _log.info("another bot has written the roster")
        return found, [self._alarm(each) for each in found if each.problem is not None]

    def _alarm(self, entrant: Entrant) -> Notice:
        """Once a day: a problem that stays must not be forgotten."""
        return Notice(
            f"roster/{self.clock():%Y-%m-%d}/{entrant.model}/{entrant.version}",
            f"{entrant.model} version {entrant.version} opens nothing",
            str(entrant.problem),
        )


def _rows(found: Sequence[Entrant], model: str) -> list[dict[str, Any]]:
    return [
        {
            "model": each.model,
            "version": each.version,
            "strategy_id": each.strategy_id,
            "book": each.book,
        }
        for each in found
        if each.model == model
    ]
