"""Queues of short messages that are delivered at least once: the port, and SQS."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from store.aws import ask, patient
from store.backoff import Backoff
from strategy.errors import DataError

MAX_BYTES = 256 * 1024
"""Of a message, in UTF-8: what SQS takes."""


class Queue(Protocol):
    """Takes messages; who receives them is the affair of Lambda, or of the embedded launcher."""

    def send(self, body: str) -> None:
        """Add a message. It may arrive more than once, and in another order.

        Raises
        ------
        DataError
            The body is empty or too long.
        StoreError, RetryError
            The queue cannot be used, or not now.
        """
        ...


@dataclass(frozen=True)
class SqsQueue:
    """A queue of SQS; implements :class:`Queue`.

    Parameters
    ----------
    client
        boto3's ``sqs`` client.
    url
        Of the queue.
    """

    client: Any
    url: str
    backoff: Backoff = field(default_factory=patient)

    def send(self, body: str) -> None:
        request = partial(self.client.send_message, QueueUrl=self.url, MessageBody=checked(body))
        ask(f"queue {self.url}", request, self.backoff)


def checked(body: str) -> str:
    """The body, if every queue can carry it; else raises DataError."""
    if not 0 < len(body.encode()) <= MAX_BYTES:
        raise DataError(f"message {body[:50]!r}: must have 1 to {MAX_BYTES:,} bytes")
    return body
