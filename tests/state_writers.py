"""Writers that change a state table at the same time; light to import, for other processes."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Barrier
from typing import Any

from store.state import StateTable, update

COUNTER = ("test", "counter")


def count_up(table: StateTable, times: int, together: Barrier) -> None:
    """Add 1 to the counter, so many times, from the moment that all writers are ready."""
    together.wait()
    for _ in range(times):
        update(table, *COUNTER, _one_more)


def _one_more(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {"count": (value["count"] if value else 0) + 1}
