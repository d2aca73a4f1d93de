"""A queue of SQS, as what fetches its messages for Lambda sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from store.aws import client


class Nudge(NamedTuple):
    """A message that was received.

    Parameters
    ----------
    handle
        Of this very receive.
    receives
        How often, this time included.
    """

    id: str
    handle: str
    body: str
    receives: int


@dataclass(frozen=True)
class NudgeQueue:
    """A queue and its dead letters, by their addresses."""

    url: str
    dead_letters_url: str

    def receive(self, limit: int) -> list[Nudge]:
        """Take messages, which are hidden for a while; they come back unless they are deleted."""
        return list(_received(self.url, limit))

    def delete(self, message: Nudge) -> None:
        client("sqs").delete_message(QueueUrl=self.url, ReceiptHandle=message.handle)

    def dead_letters(self) -> list[Nudge]:
        """What was received as often as allowed and never deleted; hidden from then on."""
        return list(_received(self.dead_letters_url, 10))


def nudge_queue(url: str) -> NudgeQueue:
    """The queue at that address."""
    asked = {"QueueUrl": url, "AttributeNames": ["RedrivePolicy"]}
    policy = json.loads(client("sqs").get_queue_attributes(**asked)["Attributes"]["RedrivePolicy"])
    name = policy["deadLetterTargetArn"].rpartition(":")[2]
    return NudgeQueue(url, client("sqs").get_queue_url(QueueName=name)["QueueUrl"])


def _received(url: str, limit: int) -> Iterator[Nudge]:
    asked = {"QueueUrl": url, "AttributeNames": ["ApproximateReceiveCount"]}
    answer = client("sqs").receive_message(**asked, MaxNumberOfMessages=limit)
    for each in answer.get("Messages", ()):
        receives = int(each["Attributes"]["ApproximateReceiveCount"])
        yield Nudge(each["MessageId"], each["ReceiptHandle"], each["Body"], receives)
