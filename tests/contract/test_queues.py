"""What holds for every queue, and how the embedded one delivers."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from store.aws import client
from store.queue import MAX_BYTES, Queue, SqsQueue
from store.sqlite_queue import Message, SqliteQueue
from strategy.errors import DataError, StoreError
from tests.aws_fakes import fake_aws
from tests.manual_clock import ManualClock


class Case(NamedTuple):
    """A queue under test, and its other end."""

    queue: Queue
    received: Callable[[], list[str]]
    missing: Queue
    """One that cannot be used."""


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    with fake_aws():
        yield client("sqs")


@pytest.fixture(params=["sqlite", "sqs"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param == "sqlite":
        queue = SqliteQueue(tmp_path / "var" / "queue.db")
        (tmp_path / "file").touch()
        yield Case(
            queue,
            lambda: [message.body for message in queue.receive(limit=10)],
            SqliteQueue(tmp_path / "file" / "missing.db"),
        )
        return
    sqs = request.getfixturevalue("sqs")
    url = sqs.create_queue(QueueName="nudges")["QueueUrl"]

    def received() -> list[str]:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]

    yield Case(SqsQueue(sqs, url), received, SqsQueue(sqs, url.replace("nudges", "missing")))
    sqs.delete_queue(QueueUrl=url)


def test_what_is_sent_arrives_as_it_is(case: Case) -> None:
    case.queue.send('{"campaign_id": "btc-1", "note": "Ação ✓"}')
    assert case.received() == ['{"campaign_id": "btc-1", "note": "Ação ✓"}']


def test_equal_messages_all_arrive(case: Case) -> None:
    for body in ("a", "b", "a"):
        case.queue.send(body)
    assert sorted(case.received()) == ["a", "a", "b"]


def test_a_received_message_is_hidden_from_the_next_receiver(case: Case) -> None:
    case.queue.send("a")
    assert case.received() == ["a"]
    assert case.received() == []


@pytest.mark.parametrize("body", ["", "x" * (MAX_BYTES + 1), "é" * (MAX_BYTES // 2 + 1)])
def test_a_message_that_no_queue_can_carry_is_refused(case: Case, body: str) -> None:
    with pytest.raises(DataError, match=r"must have 1 to 262,144 bytes"):
        case.queue.send(body)
    case.queue.send("x" * MAX_BYTES)
    assert case.received() == ["x" * MAX_BYTES]


def test_a_queue_that_cannot_be_used_is_an_error_that_names_it(case: Case) -> None:
    with pytest.raises(StoreError, match="missing"):
        case.missing.send("a")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(tmp_path: Path, clock: ManualClock) -> SqliteQueue:
    return SqliteQueue(tmp_path / "queue.db", clock, visibility_seconds=60, max_receives=2)


def test_the_oldest_messages_come_first_and_no_more_than_asked_for(queue: SqliteQueue) -> None:
    for body in ("a", "b", "c"):
        queue.send(body)
    assert [message.body for message in queue.receive(limit=2)] == ["a", "b"]
    assert [message.body for message in queue.receive(limit=2)] == ["c"]


def test_a_message_that_is_not_deleted_comes_back(queue: SqliteQueue, clock: ManualClock) -> None:
    queue.send("a")
    assert queue.receive() == [Message(1, "a", receives=1)]
    clock.forward(seconds=59)
    assert queue.receive() == []
    clock.forward(seconds=1)
    assert queue.receive() == [Message(1, "a", receives=2)]


def test_a_deleted_message_does_not_come_back(queue: SqliteQueue, clock: ManualClock) -> None:
    queue.send("a")
    queue.send("b")
    first, _ = queue.receive(limit=2)
    queue.delete(first)
    queue.delete(first)
    clock.forward(seconds=60)
    assert [message.body for message in queue.receive(limit=2)] == ["b"]


def test_a_message_received_too_often_is_a_dead_letter(
    queue: SqliteQueue, clock: ManualClock
) -> None:
    queue.send("poisoned")
    queue.receive()
    clock.forward(seconds=60)
    assert queue.dead_letters() == [], "it may be received once more"
    queue.receive()
    assert queue.dead_letters() == [], "its last receiver is still at work"
    clock.forward(seconds=60)
    assert queue.receive() == []
    (letter,) = queue.dead_letters()
    assert letter == Message(1, "poisoned", receives=2)
    queue.delete(letter)
    assert queue.dead_letters() == []


def test_a_dead_letter_does_not_hold_up_the_others(queue: SqliteQueue, clock: ManualClock) -> None:
    queue.send("poisoned")
    for _ in range(2):
        queue.receive()
        clock.forward(seconds=60)
    queue.send("a")
    assert [message.body for message in queue.receive()] == ["a"]


def test_a_deleted_message_s_number_is_not_given_again(queue: SqliteQueue) -> None:
    queue.send("a")
    (first,) = queue.receive()
    queue.delete(first)
    queue.send("b")
    queue.delete(first)
    assert [message.body for message in queue.receive()] == ["b"]


def test_a_queue_can_be_sent_to_another_process(tmp_path: Path) -> None:
    queue = SqliteQueue(tmp_path / "queue.db")
    pickle.loads(pickle.dumps(queue)).send("a")
    assert [message.body for message in queue.receive()] == ["a"]


def drain(queue: SqliteQueue) -> list[str]:
    """Receive and delete until nothing is left."""
    bodies = []
    while messages := queue.receive():
        for message in messages:
            bodies.append(message.body)
            queue.delete(message)
    return bodies


def test_processes_that_receive_together_get_every_message_once(tmp_path: Path) -> None:
    queue = SqliteQueue(tmp_path / "queue.db")
    sent = [f"{number:02d}" for number in range(60)]
    for body in sent:
        queue.send(body)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        received = [body for bodies in pool.map(drain, [queue] * 3) for body in bodies]
    assert sorted(received) == sent
