"""What is rehearsed, as the rehearsal sees it: functions that are called, and what they start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, order=True)
class Event:
    """A call of a function that is due.

    Parameters
    ----------
    order
        Among events of the same moment.
    attempt
        0, and one more each time Lambda calls again after an error.
    rule
        The schedule's that made it; None for what the system itself started.
    """

    time: datetime
    order: int
    function: str = field(compare=False)
    payload: Mapping[str, Any] = field(compare=False)
    attempt: int = field(default=0, compare=False)
    rule: str | None = field(default=None, compare=False)


class System(Protocol):
    """The functions on their parts, embedded or as deployed."""

    def call(self, function: str, payload: Mapping[str, Any]) -> Any:
        """Call a function with an event, as Lambda does; raises as the function does."""
        ...

    def forget(self, function: str) -> None:
        """Lambda has ended the function's process: the next call begins in a new one."""
        ...

    def started(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Functions that the system has called itself since it was last asked, with the event."""
        ...

    def nudges(self) -> list[Any]:
        """Messages of the queue that are due, as :meth:`records` delivers them."""
        ...

    def launch(self, messages: list[Any]) -> None:
        """Deliver messages to the launcher; those that failed come again by themselves."""
        ...
