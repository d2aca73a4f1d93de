"""What holds for every notifier, and that an event is told once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, NamedTuple

import pytest

from store.aws import client
from store.notifications import (
    PARTITION,
    Everyone,
    LogNotifier,
    Notifier,
    SnsNotifier,
    fitting_subject,
    notify_once,
)
from store.sqlite_state import SqliteState
from store.state import StateTable
from strategy.errors import ConfigError, RetryError, StoreError
from tests.aws_fakes import fake_aws
from tests.manual_clock import ManualClock
from tests.telegram_server import TelegramServer, telegram_server

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Case(NamedTuple):
    """A notifier under test, and what arrived."""

    notifier: Notifier
    arrived: Callable[[], str]
    """All of it, in one text."""
    missing: Notifier
    """One that cannot be used."""


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[Any, Any]]:
    """Clients of SNS and SQS."""
    with fake_aws():
        yield client("sns"), client("sqs")


@pytest.fixture
def topic(aws: tuple[Any, Any]) -> Iterator[tuple[SnsNotifier, Callable[[], list[dict[str, str]]]]]:
    """A topic, and what it delivered to a subscribed queue."""
    sns, sqs = aws
    arn = sns.create_topic(Name="operator")["TopicArn"]
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue["QueueArn"])

    def delivered() -> list[dict[str, str]]:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    yield SnsNotifier(sns, arn), delivered
    sqs.delete_queue(QueueUrl=url)
    sns.delete_topic(TopicArn=arn)


@pytest.fixture
def telegram() -> Iterator[TelegramServer]:
    with telegram_server() as running:
        yield running


@pytest.fixture(params=["log", "sns", "telegram", "everyone"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    if request.param == "telegram":
        server: TelegramServer = request.getfixturevalue("telegram")
        return Case(
            server.notifier(), lambda: "\n".join(server.texts), server.notifier(chat_id="@missing")
        )
    if request.param == "everyone":
        paths = [tmp_path / "one.log", tmp_path / "two.log"]
        (tmp_path / "file").touch()
        missing = LogNotifier(tmp_path / "file" / "missing.log", lambda: NOW)
        return Case(
            Everyone([LogNotifier(path, lambda: NOW) for path in paths]),
            lambda: min(path.read_text(encoding="utf-8") for path in paths),
            Everyone([missing, missing]),
        )
    if request.param == "log":
        path = tmp_path / "var" / "notifications.log"
        (tmp_path / "file").touch()
        return Case(
            LogNotifier(path, lambda: NOW),
            lambda: path.read_text(encoding="utf-8"),
            LogNotifier(tmp_path / "file" / "missing.log", lambda: NOW),
        )
    notifier, delivered = request.getfixturevalue("topic")
    return Case(
        notifier,
        lambda: "\n".join(f"{entry['Subject']}\n{entry['Message']}" for entry in delivered()),
        SnsNotifier(notifier.client, notifier.topic_arn.replace("operator", "missing")),
    )


def test_subject_and_text_arrive(case: Case) -> None:
    case.notifier.send("Validation complete", "btc-1h: rejected\nexpectancy −0.28 R")
    arrived = case.arrived()
    assert "Validation complete" in arrived
    assert "btc-1h: rejected" in arrived
    assert "expectancy −0.28 R" in arrived


def test_every_message_arrives(case: Case) -> None:
    for number in range(3):
        case.notifier.send(f"Subject {number}", "text")
    arrived = case.arrived()
    assert all(f"Subject {number}" in arrived for number in range(3))


@pytest.mark.parametrize("subject", ["Rejeição: −0.28 R", "a subject of\ntwo lines", "x" * 101])
def test_a_subject_of_any_kind_is_told_whole(case: Case, subject: str) -> None:
    case.notifier.send(subject, "text")
    assert " ".join(subject.split()) in " ".join(case.arrived().split())


def test_a_notifier_that_cannot_be_used_is_an_error_that_names_it(case: Case) -> None:
    with pytest.raises((ConfigError, StoreError), match="missing"):
        case.missing.send("subject", "text")


def test_the_log_has_an_entry_per_message_below_its_time(tmp_path: Path) -> None:
    path = tmp_path / "notifications.log"
    for subject in ("First", "Second\nline"):
        LogNotifier(path, lambda: NOW).send(subject, "one\ntwo\n")
    assert path.read_text() == (
        "2026-03-01T12:00:00+00:00 First\n    one\n    two\n"
        "2026-03-01T12:00:00+00:00 Second line\n    one\n    two\n"
    )


@pytest.mark.parametrize(
    ("subject", "fits"),
    [
        ("Validation complete", "Validation complete"),
        ("Rejeição −0.28", "Rejeicao ?0.28"),
        ("two\n  lines", "two lines"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 97 + "..."),
    ],
)
def test_a_subject_is_made_to_fit_what_sns_takes(subject: str, fits: str) -> None:
    assert fitting_subject(subject) == fits


def test_a_subject_that_fits_is_not_repeated_in_the_text(
    topic: tuple[SnsNotifier, Callable[[], list[dict[str, str]]]],
) -> None:
    notifier, delivered = topic
    notifier.send("Subject", "text")
    (entry,) = delivered()
    assert (entry["Subject"], entry["Message"]) == ("Subject", "text")


class Recorder:
    """A notifier that fails some times, then remembers what it sent."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.sent: list[str] = []

    def send(self, subject: str, text: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(f"{subject}: {text}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def state(tmp_path: Path, clock: ManualClock) -> StateTable:
    return SqliteState(tmp_path / "state.db", clock)


def test_an_event_is_told_once(state: StateTable, clock: ManualClock) -> None:
    notifier = Recorder()
    assert notify_once(state, notifier, "btc/complete", "Complete", "text", NOW)
    clock.forward(days=365)
    assert not notify_once(state, notifier, "btc/complete", "Complete", "text", clock.now)
    assert notify_once(state, notifier, "eth/complete", "Complete", "other", clock.now)
    assert notifier.sent == ["Complete: text", "Complete: other"]


def test_threads_that_see_the_same_event_tell_it_once(state: StateTable) -> None:
    notifier, together = Recorder(), Barrier(6)

    def tell() -> None:
        together.wait()
        notify_once(state, notifier, "btc/complete", "Complete", "text", NOW)

    threads = [Thread(target=tell) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notifier.sent == ["Complete: text"]


def test_a_message_that_failed_is_told_the_next_time(state: StateTable) -> None:
    notifier = Recorder(RetryError("throttled"))
    with pytest.raises(RetryError, match="throttled"):
        notify_once(state, notifier, "btc/complete", "Complete", "text", NOW)
    assert notify_once(state, notifier, "btc/complete", "Complete", "text", NOW)
    assert notifier.sent == ["Complete: text"]


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_claim_whose_owner_died_runs_out(state: StateTable, clock: ManualClock) -> None:
    class DiesWhileSending:
        def send(self, subject: str, text: str) -> None:
            raise Killed

    notifier = Recorder()
    with pytest.raises(Killed):
        notify_once(state, DiesWhileSending(), "btc/complete", "Complete", "text", NOW)
    assert not notify_once(state, notifier, "btc/complete", "Complete", "text", NOW)
    clock.forward(minutes=5)
    assert notify_once(state, notifier, "btc/complete", "Complete", "text", clock.now)
    assert notifier.sent == ["Complete: text"]


def test_the_state_table_says_what_was_told_and_when(state: StateTable) -> None:
    notify_once(state, Recorder(), "btc/complete", "Complete", "text", NOW)
    (item,) = state.items(PARTITION)
    assert item.key == "btc/complete"
    assert item.value == {"subject": "Complete", "at": "2026-03-01T12:00:00+00:00"}
