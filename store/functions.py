"""Other functions on Lambda, called without waiting for what they answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from store.aws import ask, patient
from store.backoff import Backoff


@dataclass(frozen=True)
class LambdaFunction:
    """A function on Lambda.

    Parameters
    ----------
    client
        boto3's ``lambda`` client.
    name
        Of the function, or its ARN.
    """

    client: Any
    name: str
    backoff: Backoff = field(default_factory=patient)

    def start(self, event: Mapping[str, Any]) -> None:
        """Have it called with this event soon, at least once.

        Lambda itself calls it again, twice at most, when it fails.

        Raises
        ------
        StoreError, RetryError
            There is no such function, it may not be called, or not now.
        """

        def invoke() -> None:
            self.client.invoke(
                FunctionName=self.name,
                InvocationType="Event",
                Payload=json.dumps(event).encode(),
            )

        ask(f"function {self.name}", invoke, self.backoff)
