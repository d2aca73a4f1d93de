"""Positions that the operator wants closed: written down here, done by the bot's next tick."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from store.state import Item, StateTable
from strategy.errors import ConflictError

PARTITION = "close_requests"
"""Of the state table; the key is account and symbol."""


@dataclass(frozen=True)
class CloseRequests:
    """What was asked for and is not done yet."""

    state: StateTable

    def ask(self, account: str, symbol: str, who: str, now: datetime) -> None:
        """Ask for a position to be closed; once is enough."""
        request = {"by": who, "at": now.isoformat(timespec="seconds")}
        with suppress(ConflictError):  # it was asked for already
            self.state.put(PARTITION, f"{account}/{symbol}", request, expected=0)

    def of(self, account: str) -> Mapping[str, Item]:
        """Those of an account that wait, by symbol."""
        prefix = f"{account}/"
        items = self.state.items(PARTITION, prefix)
        return {item.key.removeprefix(prefix): item for item in items}

    def done(self, item: Item) -> None:
        """Strike one out."""
        with suppress(ConflictError):  # another bot was faster
            self.state.delete(PARTITION, item.key, expected=item.version)
