"""The state table: small JSON values under (partition, key), changed by conditional writes only.

Every item has a version, and every write says which one it replaces. So of two writers that
read the same version one succeeds, and the other is told to read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from store.backoff import Backoff
from store.clock import Clock, utc_now
from strategy.errors import ConfigError, ConflictError

Value = Mapping[str, Any]
"""Text, integers, finite floats, booleans, null, lists and maps: see store/json_values.py.
Prices go in as text, so that no digit changes."""
Change = Callable[[Value | None], Value]
"""Makes the new value of the present one (None: there is none)."""

# Conflicts come from writers at work right now: they are over within milliseconds.
_contended = partial(Backoff, attempts=30, first=0.01, longest=0.5)


@dataclass(frozen=True)
class Item:
    """A value and its version: 1 when it is new, one more at every change."""

    partition: str
    key: str
    value: Value
    version: int
    expires_at: datetime | None = None
    """UTC; from then on the item is gone."""


class StateTable(Protocol):
    """Every read sees all writes that ended before it. One contract suite holds for all.

    Versions begin at 1 again when an item is made anew after it was deleted or expired: do not
    delete what another writer may still hold.

    Any method raises StoreError or RetryError where the table cannot be used, or not now; a
    RetryError from a write leaves open whether it was carried out: read again.
    """

    def get(self, partition: str, key: str) -> Item | None:
        """The item, or None."""
        ...

    def items(self, partition: str, prefix: str = "") -> list[Item]:
        """All items of a partition whose key begins so, in order of their keys (UTF-8)."""
        ...

    def put(
        self,
        partition: str,
        key: str,
        value: Value,
        *,
        expected: int,
        expires_at: datetime | None = None,
    ) -> Item:
        """Replace an item, its expiry included.

        Parameters
        ----------
        expected
            The version that the item must have now; 0: it must not exist.
        expires_at
            UTC; from then on (rounded up to a second) the item is gone. None: it stays.

        Raises
        ------
        ConflictError
            It has another version.
        DataError
            The value is not JSON, or not one that every table can hold.
        """
        ...

    def delete(self, partition: str, key: str, *, expected: int) -> None:
        """Remove an item.

        Raises
        ------
        ConflictError
            It has another version, or does not exist.
        """
        ...


def update(
    table: StateTable,
    partition: str,
    key: str,
    change: Change,
    *,
    expires_at: datetime | None = None,
    backoff: Backoff | None = None,
) -> Item:
    """Change an item, again and again while other writers are faster.

    Parameters
    ----------
    change
        Called with the present value at every attempt; what it raises ends the update.
    expires_at
        New expiry of the item; None keeps the one that it has.
    backoff
        When to give up; the default stands against dozens of writers at once.

    Raises
    ------
    ConflictError
        Other writers were faster every time.
    """
    backoff = backoff or _contended()
    pauses = backoff.pauses()
    while True:
        item = table.get(partition, key)
        version, value = (item.version, item.value) if item else (0, None)
        expiry = expires_at or (item.expires_at if item else None)
        try:
            return table.put(partition, key, change(value), expected=version, expires_at=expiry)
        except ConflictError:
            if (pause := next(pauses, None)) is None:
                raise
            backoff.sleep(pause)


def open_state(uri: str, clock: Clock = utc_now) -> StateTable:
    """The table that a URI names: ``sqlite:///var/state.db`` or ``dynamodb://TABLE``.

    Nothing is read or made yet.

    Raises
    ------
    ConfigError
        The URI names neither.
    """
    scheme, _, place = uri.partition("://")
    if scheme == "sqlite" and len(place) > 1 and place.startswith("/"):
        from store.sqlite_state import SqliteState

        return SqliteState(Path(place[1:]), clock)
    if scheme == "dynamodb" and place and "/" not in place:
        from store.aws import client  # loads boto3, which only this table needs
        from store.dynamo_state import DynamoState

        return DynamoState(client("dynamodb"), place, clock)
    raise ConfigError(
        f"state table {uri!r}: give sqlite:///FOLDER/state.db (three slashes, four before an "
        "absolute path) or dynamodb://TABLE"
    )
