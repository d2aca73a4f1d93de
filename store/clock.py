"""The computer's clock, which is handed to whatever needs to know the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present moment: aware, UTC."""


def milliseconds(clock: Clock) -> Callable[[], int]:
    """The same clock as MLflow counts time: in milliseconds since 1970, UTC."""
    return lambda: round(clock().timestamp() * 1000)


def utc_now() -> datetime:
    """The present moment, for a process that starts."""
    return datetime.now(UTC)  # noqa: TID251 - the edge


def sleep(seconds: float) -> None:
    """Wait, where nothing else was said: what waits for time to pass waits here."""
    time.sleep(seconds)
