"""How often and how patiently something that failed is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random  # noqa: TID251 - spreads retries over time; no result depends on it
from typing import Protocol

from store import clock


class Uniform(Protocol):
    """Draws evenly between two bounds: numpy's generators do, and the standard library's."""

    def uniform(self, low: float, high: float, /) -> float: ...


@dataclass(frozen=True)
class Backoff:
    """How often and how patiently a failed request is repeated.

    Parameters
    ----------
    sleep
        Waits that many seconds.
    rng
        Draws the jitter. The default is another one in every process.
    attempts
        Requests in all, the first included.
    first, longest
        Seconds after the first failure, doubling from there; and the most ever waited.
    """

    sleep: Callable[[float], None] = clock.sleep
    # Looked up when it is made: a rehearsal, which is to be the same again, has another there.
    rng: Uniform = field(default_factory=lambda: Random())
    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0

    def pauses(self) -> Iterator[float]:
        """Seconds to wait after each failure but the last: doubling, half of it by chance."""
        for retry in range(self.attempts - 1):
            yield min(self.longest, self.first * 2**retry) * float(self.rng.uniform(0.5, 1.0))
