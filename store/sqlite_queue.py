"""The embedded queue: a SQLite file, with the delivery rules of SQS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from store.clock import Clock, utc_now
from store.queue import checked
from store.sqlite_file import SqliteFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL,
    receives INTEGER NOT NULL DEFAULT 0,
    hidden_until REAL NOT NULL DEFAULT 0
);
"""


@dataclass(frozen=True)
class Message:
    """A message that was received."""

    id: int
    body: str
    receives: int
    """How often, this time included."""


@dataclass(frozen=True)
class SqliteQueue:
    """A queue in a file, for any number of processes and threads; may be pickled.

    Who receives a message deletes it when its work is done. A message that is not deleted
    comes back after a while: its receiver has failed or died. After too many receives it
    stays aside as a dead letter. Implements :class:`store.queue.Queue`; every method raises
    StoreError or RetryError as :class:`store.sqlite_file.SqliteFile` says.

    Parameters
    ----------
    visibility_seconds
        How long a received message is hidden from other receivers: longer than its work takes.
    max_receives
        How often a message is received at most.
    """

    path: Path
    clock: Clock = utc_now
    visibility_seconds: float = 300.0
    max_receives: int = 5

    def send(self, body: str) -> None:
        """Add a message (:meth:`store.queue.Queue.send`)."""
        with self._file.writing() as database:
            database.execute("INSERT INTO messages (body) VALUES (?)", (checked(body),))

    def receive(self, limit: int = 1) -> list[Message]:
        """Take up to ``limit`` messages, the oldest first, and hide them for a while."""
        now = self._now()
        with self._file.writing() as database:
            rows = database.execute(
                "UPDATE messages SET receives = receives + 1, hidden_until = ? WHERE id IN ("
                "  SELECT id FROM messages WHERE hidden_until <= ? AND receives < ?"
                "  ORDER BY id LIMIT ?"
                ") RETURNING id, body, receives",
                (now + self.visibility_seconds, now, self.max_receives, limit),
            ).fetchall()
        return [Message(*row) for row in sorted(rows)]

    def delete(self, message: Message) -> None:
        """Remove a message, received or dead, for good; one that is gone already is no error."""
        with self._file.writing() as database:
            database.execute("DELETE FROM messages WHERE id = ?", (message.id,))

    def dead_letters(self) -> list[Message]:
        """What was received as often as allowed and never deleted, the oldest first."""
        with self._file.reading() as database:
            rows = database.execute(
                "SELECT id, body, receives FROM messages"
                " WHERE hidden_until <= ? AND receives >= ? ORDER BY id",
                (self._now(), self.max_receives),
            ).fetchall()
        return [Message(*row) for row in rows]

    @property
    def _file(self) -> SqliteFile:
        return SqliteFile(self.path, _SCHEMA)

    def _now(self) -> float:
        return self.clock().timestamp()
