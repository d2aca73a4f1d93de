"""The clock of a rehearsal, which goes on when it is told to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


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
