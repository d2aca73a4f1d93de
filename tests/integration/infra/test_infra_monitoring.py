"""Alarms, logs, budget and dashboard of the templates."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

import pytest

from infra.templates import children, in_words, resources
from tests.bot_world import BotWorld
from tests.deployed_system import FUNCTIONS
from tests.integration.infra.template_parts import properties


def alarms() -> Mapping[str, Mapping[str, Any]]:
    return {
        in_words(each["Properties"]["AlarmName"]).removeprefix("trading-system-${Stage}-"): each[
            "Properties"
        ]
        for _, each in resources("monitoring", "AWS::CloudWatch::Alarm")
    }


def test_every_function_is_watched_and_every_alarm_tells_the_operator() -> None:
    for name in FUNCTIONS:
        for metric in ("Errors", "Throttles"):
            alarm = alarms()[f"{name}-{metric.lower()}"]
            assert alarm["MetricName"] == metric
            assert in_words(alarm["Dimensions"][0]["Value"]) == f"trading-system-${{Stage}}-{name}"
            assert (alarm["Threshold"], alarm["Statistic"]) == (1, "Sum")
    assert {"no-ticks", "dead-letters", "breaker-tripped"} < set(alarms())
    for alarm in alarms().values():
        assert alarm["AlarmActions"] == [{"Ref": "TopicArn"}]


def test_a_bot_that_says_nothing_is_an_alarm() -> None:
    alarm = alarms()["no-ticks"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("TradingSystem", "Ticks")
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "trading-system"}]
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert alarm["TreatMissingData"] == "breaching"


def test_the_alarm_of_a_tripped_breaker_knows_the_bots_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pattern = properties("monitoring", "BreakerWords")["FilterPattern"]
    words = re.fullmatch(r'\{ \$\.message = "(.+)" \}', pattern)
    assert words is not None
    still, gap = (1000.0, 1005.0, 995.0, 1000.0), (945.0, 946.0, 944.0, 945.0)
    world = BotWorld(still, gap, still, still, signals={0: 1.0})  # it loses 5.5 R of 1 %
    caplog.set_level(logging.INFO, "serving")
    told = []
    for bar in range(4):
        caplog.clear()
        world.at(bar)
        told.append(sum(fnmatch(each, words[1]) for each in caplog.messages))
    assert sum(told) == 1


def test_logs_are_kept_for_a_while_and_go_to_the_bucket() -> None:
    for name in FUNCTIONS:
        logical = "".join(word.capitalize() for word in name.split("_"))
        group = properties("processing", f"{logical}Log")
        assert group["RetentionInDays"] == 90
        sent = properties("monitoring", f"{logical}Log")
        assert sent["LogGroupName"] == group["LogGroupName"]
    stream = properties("monitoring", "LogDelivery")["ExtendedS3DestinationConfiguration"]
    assert stream["Prefix"].startswith("logs/")


def test_the_budget_is_the_limit() -> None:
    budget = properties("monitoring", "MonthlyBudget")["Budget"]
    assert budget["BudgetLimit"] == {"Amount": {"Ref": "MonthlyCostLimit"}, "Unit": "USD"}
    assert budget["CostFilters"] == {"TagKeyValue": ["user:Project$CryptoTradingSystem"]}
    given = {child.name: child.parameters for child in children()}
    assert given["monitoring"]["MonthlyCostLimit"] == given["parameters"]["MonthlyCostLimit"]


def test_the_dashboards_body_is_json_of_metrics_that_exist() -> None:
    body = json.loads(properties("monitoring", "Dashboard")["DashboardBody"]["Fn::Sub"])
    text = json.dumps(body)
    assert [name for name in FUNCTIONS if f"trading-system-${{Stage}}-{name}" not in text] == []
    assert '"TradingSystem", "Ticks", "service", "trading-system"' in text
