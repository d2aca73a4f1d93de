"""Who trades a market now; where the registry cannot say, who did when it last could."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serving.trading.desk import Notice
from serving.trading.roster import Entrant, Roster
from serving.trading.tenures import KEY, PARTITION, Tenure, read_tenures, succeeded
from store.clock import Clock
from store.state import StateTable
from strategy.errors import ConflictError, TradingSystemError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownRoster:
    """The registry, and what was last seen in it."""

    roster: Roster
    state: StateTable
    clock: Clock

    def read(
        self, bars: Mapping[str, datetime], *, synthetic_market: bool
    ) -> tuple[list[Entrant], list[Notice]]:
        """The versions that trade these models, and what the operator is to hear of them.

        Parameters
        ----------
        bars
            By model: the close (UTC) of the bar that is to be decided on.
        """
        item = self.state.get(PARTITION, KEY)
        before: Mapping[str, Any] = item.value if item else {}
        tenures = {model: read_tenures(before.get(model, [])) for model in bars}
        try:
            found = self.roster.read(list(bars), synthetic_market=synthetic_market)
        except TradingSystemError as error:
            why = f"the registry cannot be read: {error}"
            _log.error("%s", why)
            remembered = [
                _entrant(model, each, why)
                for model in bars
                for each in tenures[model]
                if each.goes_on
            ]
            hourly = Notice(f"registry/{self.clock():%Y-%m-%dT%H}", "Registry unreachable", why)
            return remembered, [hourly]
        after = {**before}
        for model, close in bars.items():
            own = [each for each in found if each.model == model]
            rows = succeeded(tenures[model], own, close)
            after[model] = [row.model_dump(mode="json") for row in rows]
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


def _entrant(model: str, tenure: Tenure, problem: str) -> Entrant:
    return Entrant(model, tenure.version, tenure.strategy_id, tenure.book, None, problem)
