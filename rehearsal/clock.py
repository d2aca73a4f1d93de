"""The clock of a rehearsal, which goes on when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np

import store.backoff
import store.clock
from store.clock import Clock


@dataclass
class SimulatedClock:
    """Stands still until it is moved; never goes back.

    Parameters
    ----------
    now
        UTC.
    """

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    @property
    def milliseconds(self) -> int:
        """Since 1970, UTC."""
        return round(self.now.timestamp() * 1000)

    def advance_to(self, moment: datetime) -> None:
        """Be at that moment, if it is not past."""
        self.now = max(self.now, moment)

    def sleep(self, seconds: float) -> None:
        """Let that time pass at once."""
        self.now += timedelta(seconds=seconds)


def from_milliseconds(milliseconds: int) -> datetime:
    """The moment, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@contextmanager
def moved(clock: Clock, sleep: Callable[[float], None]) -> Iterator[None]:
    """Let this clock be the computer's, and chance be the same every time.

    Also for functions that hold the real ones already: whatever was not given a clock, or a way
    to wait, asks ``store/clock.py``.
    """
    with ExitStack() as patches:
        for place, name, other in (
            (store.clock, "datetime", SimpleNamespace(now=lambda _: clock())),
            (store.clock, "time", SimpleNamespace(sleep=sleep)),
            (store.backoff, "Random", lambda: np.random.default_rng(0)),
        ):
            patches.enter_context(patch.object(place, name, other))
        yield
