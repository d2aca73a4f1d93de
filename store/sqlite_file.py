"""A SQLite file that several processes and threads use at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from strategy.errors import RetryError, StoreError

_PATIENCE = 60.0  # seconds to wait for other writers

# A journal that is emptied instead of deleted saves a fifth of a write's time. No WAL: who opens
# the file while its last user tidies the WAL away is refused without a wait.
_JOURNAL = "PRAGMA journal_mode = TRUNCATE;"
LASTING = "EXTRA"
"""A write that returned has reached the disk, its folder entries too, even if the power fails."""
FLEETING = "OFF"
"""A write that returned survives its process, but not the computer: many times as fast."""


class _Opened(NamedTuple):
    connection: sqlite3.Connection
    inode: tuple[int, int] | None
    """Device and number of the file that it is connected to; None where that is not certain."""


_How = tuple[str, str, str, float]
"""How a connection was opened: path, schema, synchronous, patience."""
_idle: dict[_How, _Opened] = {}
"""Connections that nobody uses now and that hold no lock: one a file, and few in all."""
_MOST_IDLE = 8
_of_parents: list[dict[_How, _Opened]] = []


def _forget_parents_connections() -> None:
    """A connection must not be used, nor even closed, by a child of who opened it."""
    global _idle
    _of_parents.append(_idle)
    _idle = {}


os.register_at_fork(after_in_child=_forget_parents_connections)


@dataclass(frozen=True)
class SqliteFile:
    """A database file, made when it is first used.

    To open one and see to its schema takes ten times as long as a small read: so a connection
    is used again, by one operation at a time, while the path still names the same file. What
    fails is closed. The object itself holds none, and may be copied, pickled and shared between
    threads and forks.

    Parameters
    ----------
    schema
        Statements that make what is not there yet.
    synchronous
        SQLite's pragma of that name: :data:`LASTING` or :data:`FLEETING`.
    """

    path: Path
    schema: str
    synchronous: str = LASTING

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read what has been committed.

        Raises
        ------
        RetryError
            Other processes did not let go of the file for a minute.
        StoreError
            The file cannot be used: it cannot be made, is read-only or not a database.
        """
        with self._connection() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The only writer until the block ends: all of it is committed, or, on an error, nothing.

        Raises as :meth:`reading` does.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back
                yield connection

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        how = (str(self.path), self.schema, self.synchronous, _PATIENCE)
        try:
            opened = _idle.pop(how, None)
            if opened is None or opened.inode != _inode(self.path):
                if opened is not None:
                    opened.connection.close()
                opened = self._opened()
            finished = False
            try:
                yield opened.connection
                finished = True
            finally:
                if not finished or not _put_back(how, opened):
                    opened.connection.close()
        except (OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise RetryError(
                    f"{self.path} is locked by another process ({error}); try again when it is done"
                ) from error
            raise StoreError(
                f"{self.path} cannot be used: {error}; it must be a SQLite file of this system "
                "in a folder that can be written to"
            ) from error

    def _opened(self) -> _Opened:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before = _inode(self.path)
        connection = sqlite3.connect(
            self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            durability = f"PRAGMA synchronous = {self.synchronous};"
            connection.executescript(durability + _JOURNAL + self.schema)
        except BaseException:
            connection.close()
            raise
        return _Opened(connection, before if before == _inode(self.path) else None)


def _put_back(how: _How, opened: _Opened) -> bool:
    """Keep a connection for the next one who needs it; False if that cannot be."""
    if opened.inode is None or opened.connection.in_transaction:
        return False
    for oldest in list(_idle)[: max(0, len(_idle) - _MOST_IDLE + 1)]:
        if (other := _idle.pop(oldest, None)) is not None:
            other.connection.close()
    return _idle.setdefault(how, opened) is opened


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
