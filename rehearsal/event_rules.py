"""EventBridge's rules as they are deployed: when they fire, what passes them, whom they call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.events.models import EventPattern

from infra.cron import DailyCron
from rehearsal.schedule import Rule
from store.aws import client
from strategy.errors import ConfigError


@dataclass(frozen=True)
class EventRules:
    """All rules of one deployment.

    Every method raises ConfigError for a rule that is disabled, or that the function it names
    does not let call it.

    Parameters
    ----------
    prefix
        Of the names of its rules and functions: ``trading-system-prod-``.
    """

    prefix: str

    def scheduled(self) -> list[Rule]:
        """Those that fire by the clock."""
        return [self._rule(each) for each in self._all() if "ScheduleExpression" in each]

    def listener(self, rule: str, event: Any) -> str:
        """The function that a rule calls with an event, which it must let through."""
        found = client("events").describe_rule(Name=self.prefix + rule)
        if not EventPattern.load(found["EventPattern"]).matches_event(event):
            raise ConfigError(f"rule {rule} does not let through: {event}")
        function, target = self._target(found)
        if "Input" in target:
            raise ConfigError(f"rule {rule} hands over something else than the event")
        return function

    def _all(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client("events").list_rules(NamePrefix=self.prefix)["Rules"]
        return found

    def _rule(self, found: Mapping[str, Any]) -> Rule:
        function, target = self._target(found)
        cron = DailyCron(found["ScheduleExpression"])
        name = found["Name"].removeprefix(self.prefix)
        return Rule(name, cron, function, json.loads(target["Input"]))

    def _target(self, rule: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """What a rule calls."""
        if rule["State"] != "ENABLED":
            raise ConfigError(f"rule {rule['Name']} is {rule['State']}")
        [target] = client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"]
        function = target["Arn"].rpartition(":")[2]
        policy = json.loads(client("lambda").get_policy(FunctionName=function)["Policy"])
        callers = [each["Condition"]["ArnLike"]["AWS:SourceArn"] for each in policy["Statement"]]
        if rule["Arn"] not in callers:
            raise ConfigError(f"rule {rule['Name']} may not call {function}")
        return function.removeprefix(self.prefix), target
