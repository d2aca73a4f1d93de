"""Another time for a whole process: whatever asks for the time asks store/clock.py.

Also for a program in a process of its own, whose clock goes on from there::

    python -m tests.moved_clock 2025-05-01T14:05:00+00:00 training.job
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import store.clock
from store.clock import Clock


@contextmanager
def moved(clock: Clock) -> Iterator[None]:
    """Let this clock be the computer's, also for functions that hold the real one already."""
    module: Any = store.clock
    before = module.datetime
    module.datetime = SimpleNamespace(now=lambda zone: clock())
    try:
        yield
    finally:
        module.datetime = before


def going(since: datetime) -> Clock:
    """A clock that goes on from a moment."""
    begun = time.monotonic()
    return lambda: since + timedelta(seconds=time.monotonic() - begun)


if __name__ == "__main__":
    _, moment, program = sys.argv
    with moved(going(datetime.fromisoformat(moment))):
        runpy.run_module(program, run_name="__main__")
