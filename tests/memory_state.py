"""A state table in memory, for properties that try thousands of writes."""

from __future__ import annotations

import json
from datetime import datetime

from store.state import Item, Value
from strategy.errors import ConflictError


class MemoryState:
    """Implements :class:`store.state.StateTable` for one thread; nothing in it expires."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Item] = {}

    def get(self, partition: str, key: str) -> Item | None:
        return self._items.get((partition, key))

    def items(self, partition: str, prefix: str = "") -> list[Item]:
        found = [i for i in self._items.values() if i.partition == partition]
        return sorted((i for i in found if i.key.startswith(prefix)), key=lambda i: i.key)

    def put(
        self,
        partition: str,
        key: str,
        value: Value,
        *,
        expected: int,
        expires_at: datetime | None = None,
    ) -> Item:
        self._check(partition, key, expected)
        plain = json.loads(json.dumps(value, allow_nan=False))
        item = Item(partition, key, plain, expected + 1, expires_at)
        self._items[partition, key] = item
        return item

    def delete(self, partition: str, key: str, *, expected: int) -> None:
        self._check(partition, key, expected)
        del self._items[partition, key]

    def _check(self, partition: str, key: str, expected: int) -> None:
        present = self._items.get((partition, key))
        if (present.version if present else 0) != expected:
            raise ConflictError(f"{partition}/{key} is not at version {expected}")
