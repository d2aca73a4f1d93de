"""When EventBridge's schedules fire."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from infra.cron import DailyCron
from strategy.errors import ConfigError

DAY = date(2026, 3, 1)


def fires(expression: str) -> list[str]:
    return [f"{moment:%H:%M}" for moment in DailyCron(expression).on(DAY)]


def test_a_cron_fires_at_its_minutes_of_its_hours_in_order() -> None:
    assert fires("cron(0 1 * * ? *)") == ["01:00"]
    assert fires("cron(30,0 6,8-9 * * ? *)") == [
        "06:00",
        "06:30",
        "08:00",
        "08:30",
        "09:00",
        "09:30",
    ]
    assert fires("cron(50/4 23 * * ? *)") == ["23:50", "23:54", "23:58"]


def test_it_fires_on_that_day_in_utc() -> None:
    assert list(DailyCron("cron(5 14 * * ? *)").on(DAY)) == [
        datetime(2026, 3, 1, 14, 5, tzinfo=UTC)
    ]


def test_a_tick_every_five_minutes_fires_on_every_mark_of_the_clock() -> None:
    times = DailyCron("cron(0/5 * * * ? *)").times
    assert len(times) == 288
    assert {each.minute for each in times} == set(range(0, 60, 5))


@pytest.mark.parametrize(
    "expression",
    ["cron(60 1 * * ? *)", "cron(0 24 * * ? *)", "cron(0 9-8 * * ? *)", "cron(70/5 1 * * ? *)"],
)
def test_values_that_no_clock_shows_are_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="values lie from 0"):
        _ = DailyCron(expression).times
