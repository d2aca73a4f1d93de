"""EventBridge's schedules: when a rule of a template fires."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property

from strategy.errors import ConfigError


@dataclass(frozen=True)
class DailyCron:
    """``cron(0/5 14-21 * * ? *)``: minutes and hours of every day, UTC.

    Parameters
    ----------
    expression
        As EventBridge has it; minutes and hours as numbers, lists, ranges, steps or ``*``.
    """

    expression: str

    @cached_property
    def times(self) -> tuple[time, ...]:
        """Of every day, in order.

        Raises
        ------
        ConfigError
            It is not a cron of every day, or a field of it is not understood.
        """
        fields = re.fullmatch(r"cron\((\S+) (\S+) \* \* \? \*\)", self.expression)
        if fields is None:
            raise ConfigError(
                f"schedule {self.expression!r} is not understood: write it as a daily cron"
            )
        minutes, hours = _values(fields[1], 60), _values(fields[2], 24)
        return tuple(time(hour, minute, tzinfo=UTC) for hour in hours for minute in minutes)

    def on(self, day: date) -> Iterator[datetime]:
        """When it fires on a day, in order."""
        for each in self.times:
            yield datetime.combine(day, each)


def _values(field: str, of: int) -> list[int]:
    """The values of a field, below ``of``."""
    if field == "*":
        return list(range(of))
    found: set[int] = set()
    for part in field.split(","):
        if steps := re.fullmatch(r"(\d+)/([1-9]\d*)", part):
            found.update(range(int(steps[1]), of, int(steps[2])))
        elif span := re.fullmatch(r"(\d+)(?:-(\d+))?", part):
            found.update(range(int(span[1]), int(span[2] or span[1]) + 1))
        else:
            raise ConfigError(
                f"cron field {field!r} is not understood: write numbers, ranges or steps"
            )
    if not found or max(found) >= of:
        raise ConfigError(f"cron field {field!r}: values lie from 0 to {of - 1}")
    return sorted(found)
