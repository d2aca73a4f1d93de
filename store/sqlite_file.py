"""A SQLite file that several processes and threads use at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from strategy.errors import RetryError, StoreError

_PATIENCE = 60.0  # seconds to wait for other writers

# A write that returned has reached the disk, its folder entries too, even if the power fails.
# No WAL: who opens the file while its last user tidies the WAL away is refused without a wait.
_SETTINGS = "PRAGMA synchronous = EXTRA;"


@dataclass(frozen=True)
class SqliteFile:
    """A database file, made when it is first used.

    Every operation opens its own connection (0.1 ms; a write takes 1 ms and more anyway):
    so the object may be copied, pickled and shared between threads and forks.

    Parameters
    ----------
    schema
        Statements that make what is not there yet.
    """

    path: Path
    schema: str

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
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            ) as connection:
                connection.executescript(_SETTINGS + self.schema)
                yield connection
        except (OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise RetryError(
                    f"{self.path} is locked by another process ({error}); try again when it is done"
                ) from error
            raise StoreError(
                f"{self.path} cannot be used: {error}; it must be a SQLite file of this system "
                "in a folder that can be written to"
            ) from error
