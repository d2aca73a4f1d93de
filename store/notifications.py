"""Tells the operator: the port, a text file (embedded), SNS, and several of them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import Any, Protocol

from store.aws import ask, patient
from store.backoff import Backoff
from store.clock import Clock, utc_now
from store.state import StateTable
from strategy.errors import ConflictError, RetryError, StoreError, TradingSystemError

PARTITION = "notification"
"""Of the state table: what the operator was told of, once."""

_SUBJECT_LENGTH = 100  # SNS's own rule, as are ASCII and one line
_CLAIM = timedelta(minutes=5)  # sending takes less, its repetitions included


class Notifier(Protocol):
    """Tells the operator something."""

    def send(self, subject: str, text: str) -> None:
        """Send a message.

        Raises
        ------
        ConfigError, StoreError, RetryError
            It cannot be sent as things are set, at all, or now.
        """
        ...


class PartlyToldError(StoreError):
    """Somebody was told, somebody else could not be; so the event counts as told."""


@dataclass(frozen=True)
class LogNotifier:
    """Appends to a text file: the embedded notifier, for several processes at once."""

    path: Path
    clock: Clock = utc_now

    def send(self, subject: str, text: str) -> None:
        time = self.clock().isoformat(timespec="seconds")
        entry = f"{time} {_one_line(subject)}\n{indent(text.strip(), '    ')}\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(
                    file, entry.encode(errors="replace")
                )  # one call, so that entries do not mingle
            finally:
                os.close(file)
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written to: {error.strerror}; free or unlock it"
            ) from error


@dataclass(frozen=True)
class SnsNotifier:
    """Publishes to a topic of SNS.

    A subject that SNS would refuse is told whole in the text, and what fits in the subject.

    Parameters
    ----------
    client
        boto3's ``sns`` client.
    """

    client: Any
    topic_arn: str
    backoff: Backoff = field(default_factory=patient)

    def send(self, subject: str, text: str) -> None:
        fitting = fitting_subject(subject)
        request = partial(
            self.client.publish,
            TopicArn=self.topic_arn,
            Subject=fitting,
            Message=text if fitting == subject else f"{subject}\n\n{text}",
        )
        ask(f"topic {self.topic_arn}", request, self.backoff)


@dataclass(frozen=True)
class Everyone:
    """Sends to several, and to all of them before it raises.

    PartlyToldError where it got through to some; where it got through to nobody, RetryError if
    that may change, else StoreError.
    """

    notifiers: Sequence[Notifier]

    def send(self, subject: str, text: str) -> None:
        errors: list[TradingSystemError] = []
        for notifier in self.notifiers:
            try:
                notifier.send(subject, text)
            except TradingSystemError as error:
                errors.append(error)
        if not errors:
            return
        said = "; ".join(str(error) for error in errors)
        if len(errors) < len(self.notifiers):
            raise PartlyToldError(f"not everybody could be told {_one_line(subject)!r}: {said}")
        if any(isinstance(error, RetryError) for error in errors):
            raise RetryError(said)
        raise StoreError(said)


def fitting_subject(subject: str) -> str:
    """The subject in SNS's terms: one line of at most 100 ASCII characters."""
    plain = unicodedata.normalize("NFKD", _one_line(subject))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = plain.encode("ascii", "replace").decode()
    return plain if len(plain) <= _SUBJECT_LENGTH else plain[: _SUBJECT_LENGTH - 3] + "..."


def notify_once(
    state: StateTable, notifier: Notifier, key: str, subject: str, text: str, now: datetime
) -> bool:
    """Tell the operator of an event, unless it was told before by anyone.

    The event is claimed in the state table first. A claim whose owner died before the message
    was sent runs out after minutes, so that the event can still be told; one whose message
    failed is given back, unless somebody was told.

    Parameters
    ----------
    key
        What makes two notifications the same, for example ``campaign/<id>/complete``.
    now
        UTC.

    Returns
    -------
    Whether it was sent now.

    Raises
    ------
    PartlyToldError
        Not everybody could be told; the event counts as told, or those who were told would hear
        of it again and again.
    ConfigError, StoreError, RetryError
        As the notifier or the table says; nothing counts as told.
    """
    told = {"subject": subject, "at": now.isoformat(timespec="seconds")}
    try:
        claim = state.put(PARTITION, key, told, expected=0, expires_at=now + _CLAIM)
    except ConflictError:
        return False
    partly: PartlyToldError | None = None
    try:
        notifier.send(subject, text)
    except PartlyToldError as error:
        partly = error
    except Exception:
        with suppress(ConflictError):  # it has run out: there is nothing to give back
            state.delete(PARTITION, key, expected=claim.version)
        raise
    with suppress(ConflictError):  # it ran out, and somebody else tells of it now
        state.put(PARTITION, key, told, expected=claim.version)
    if partly:
        raise partly
    return True


def _one_line(text: str) -> str:
    return " ".join(text.split())
