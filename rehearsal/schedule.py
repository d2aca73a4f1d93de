"""What EventBridge does: which function is called when, by the templates that are deployed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from infra.cron import DailyCron
from infra.templates import resources


@dataclass(frozen=True)
class Rule:
    """A rule of processing.yaml.

    Parameters
    ----------
    function
        By its module in ``serving``.
    """

    name: str
    cron: DailyCron
    function: str
    event: Mapping[str, Any]


def deployed_rules() -> list[Rule]:
    """All rules that fire by the clock, in the template's order."""
    return [
        Rule(
            name,
            DailyCron(rule["Properties"]["ScheduleExpression"]),
            target["Id"],
            json.loads(target["Input"]),
        )
        for name, rule in resources("processing", "AWS::Events::Rule")
        if "ScheduleExpression" in rule["Properties"]
        for target in rule["Properties"]["Targets"]
    ]


def firings(rules: list[Rule], day: date) -> Iterator[tuple[datetime, Rule]]:
    """What fires on a day, in order of time and then of the rules."""
    found = [
        (moment, number, rule) for number, rule in enumerate(rules) for moment in rule.cron.on(day)
    ]
    yield from ((moment, rule) for moment, _, rule in sorted(found, key=lambda each: each[:2]))
