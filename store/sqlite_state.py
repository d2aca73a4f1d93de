"""The state table in a SQLite file."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

from store.clock import Clock, utc_now
from store.json_values import checked_partition, checked_place, checked_value
from store.sqlite_file import LASTING, SqliteFile
from store.state import Item, Value
from strategy.errors import ConflictError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    partition TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    version INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (partition, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
"""
_COLUMNS = "partition, key, value, version, expires_at"
_ALIVE = "(expires_at IS NULL OR expires_at > :now)"


@dataclass(frozen=True)
class SqliteState:
    """A state table in a file, for any number of processes and threads; may be pickled.

    Implements :class:`store.state.StateTable`.

    Parameters
    ----------
    synchronous
        As :class:`store.sqlite_file.SqliteFile` has it.
    """

    path: Path
    clock: Clock = utc_now
    synchronous: str = LASTING

    def get(self, partition: str, key: str) -> Item | None:
        checked_place(partition, key)
        with self._file.reading() as database:
            row = database.execute(
                f"SELECT {_COLUMNS} FROM items "
                f"WHERE partition = :partition AND key = :key AND {_ALIVE}",
                {"partition": partition, "key": key, "now": self._now()},
            ).fetchone()
        return None if row is None else _item(*row)

    def items(self, partition: str, prefix: str = "") -> list[Item]:
        checked_partition(partition)
        with self._file.reading() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM items "
                f"WHERE partition = :partition AND key >= :prefix AND {_ALIVE} ORDER BY key",
                {"partition": partition, "prefix": prefix, "now": self._now()},
            )
            return [_item(*row) for row in takewhile(lambda row: row[1].startswith(prefix), rows)]

    def put(
        self,
        partition: str,
        key: str,
        value: Value,
        *,
        expected: int,
        expires_at: datetime | None = None,
    ) -> Item:
        where = checked_place(partition, key)
        text = json.dumps(checked_value(value, where), ensure_ascii=False)
        expiry = None if expires_at is None else math.ceil(expires_at.timestamp())
        with self._file.writing() as database:
            database.execute("DELETE FROM items WHERE expires_at <= ?", (self._now(),))
            present = _version(database, partition, key)
            if present != expected:
                raise ConflictError(f"{where} is at version {present}, not {expected}")
            row = (partition, key, text, expected + 1, expiry)
            database.execute(f"REPLACE INTO items ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)
        return _item(*row)

    def delete(self, partition: str, key: str, *, expected: int) -> None:
        where = checked_place(partition, key)
        with self._file.writing() as database:
            removed = database.execute(
                "DELETE FROM items WHERE partition = :partition AND key = :key "
                f"AND version = :expected AND {_ALIVE}",
                {"partition": partition, "key": key, "expected": expected, "now": self._now()},
            ).rowcount
        if not removed:
            raise ConflictError(f"{where} is not at version {expected}")

    @property
    def _file(self) -> SqliteFile:
        return SqliteFile(self.path, _SCHEMA, self.synchronous)

    def _now(self) -> float:
        return self.clock().timestamp()


def _version(database: sqlite3.Connection, partition: str, key: str) -> int:
    row = database.execute(
        "SELECT version FROM items WHERE partition = ? AND key = ?", (partition, key)
    ).fetchone()
    return 0 if row is None else int(row[0])


def _item(partition: str, key: str, value: str, version: int, expires_at: int | None) -> Item:
    expiry = None if expires_at is None else datetime.fromtimestamp(expires_at, UTC)
    return Item(partition, key, json.loads(value), version, expiry)
