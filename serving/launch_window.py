"""The hours in which jobs are launched: a time-boxed window in the state table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from store.clock import Clock
from store.state import StateTable, Value, update

_PARTITION, _KEY = "launch", "window"


@dataclass(frozen=True)
class LaunchWindow:
    """Opened and closed by events; it closes by itself too, should the closing event be lost.

    Times are UTC. Every method raises as the state table does.
    """

    state: StateTable
    clock: Clock

    def open(self, length: timedelta) -> datetime:
        """Open it, and say until when. One that is open stays as it is: the event came twice."""
        now = self.clock()

        def opened(value: Value | None) -> Value:
            if value and now < datetime.fromisoformat(value["closes_at"]):
                return value
            return {"opened_at": now.isoformat(), "closes_at": (now + length).isoformat()}

        item = update(self.state, _PARTITION, _KEY, opened)
        return datetime.fromisoformat(item.value["closes_at"])

    def close(self) -> None:
        """Launch nothing from now on; what runs goes on."""
        if self.closes_at is None:
            return
        now = self.clock().isoformat()

        def closed(value: Value | None) -> Value:
            return {"opened_at": now, **(value or {}), "closes_at": now}

        update(self.state, _PARTITION, _KEY, closed)

    @property
    def closes_at(self) -> datetime | None:
        """None while it is shut."""
        item = self.state.get(_PARTITION, _KEY)
        closes_at = datetime.fromisoformat(item.value["closes_at"]) if item else None
        return closes_at if closes_at and self.clock() < closes_at else None
