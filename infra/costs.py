"""Estimates a month's bill from the templates' own schedules and sizes, and a table of prices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.cron import DailyCron
from infra.templates import FOLDER, defaults, resources
from store.prices import PriceTable
from store.settings_sections import CostSettings
from strategy.errors import ConfigError

DAYS = 30
MINUTES = DAYS * 24 * 60

SECONDS = {
    "data_downloader": 60,
    "orchestrator": 120,
    "model_retrainer": 240,
    "trading_bot": 5,
    "config_service": 3,
    "initiate_validation_window": 3,
    "launch_spot_validator": 10,
    "training_job_events": 5,
}
"""What a call of a function is assumed to take, generously."""


class UnitPrices(BaseModel):
    """USD by unit; ``source`` says where they are from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    as_of: date
    region: str
    source: str
    usd: dict[str, Annotated[float, Field(ge=0)]]


@dataclass(frozen=True)
class Month:
    """What is assumed of a month, beside what the templates say.

    Parameters
    ----------
    campaigns
        Training jobs that run as long as they may, on demand: Spot can only cost less.
    retrains
        Calls of the retrainer.
    deployments
        Pushes, each with 25 minutes of build and 60 of the pipeline's actions.
    """

    campaigns: float = 1
    retrains: float = 2
    deployments: float = 4
    log_gb: float = 0.3
    stored_gb: float = 5
    images_gb: float = 3
    table_gb: float = 0.1
    writes_a_tick: float = 5
    reads_a_tick: float = 10
    cost_explorer_requests: float = 30


@dataclass(frozen=True)
class Item:
    """A line of the bill."""

    what: str
    quantity: str
    usd: float


def bill(month: Month, prices: UnitPrices, training: PriceTable) -> list[Item]:
    """The lines of a month's bill, USD.

    Raises
    ------
    ConfigError
        A schedule of the templates cannot be read, or a price is missing.
    """
    usd, calls = prices.usd, dict(calls_a_month(month))
    try:
        return [
            *_lambda(calls, usd),
            *_watching(month, usd),
            *_keeping(month, calls["trading_bot"], usd),
            _training(month, training),
            *_delivering(month, usd),
        ]
    except KeyError as error:
        raise ConfigError(f"infra/prices.json has no price {error}: add it") from error


def calls_a_month(month: Month) -> Iterator[tuple[str, float]]:
    """Functions, and how often each is called: by its schedules, or as assumed."""
    scheduled: dict[str, float] = {}
    for _, rule in resources("processing", "AWS::Events::Rule"):
        for target in rule["Properties"]["Targets"]:
            times = times_a_month(rule["Properties"]["ScheduleExpression"])
            scheduled[target["Id"]] = scheduled.get(target["Id"], 0) + times
    assumed = {
        "model_retrainer": month.retrains,
        "config_service": DAYS,
        # Nudged every hour of the window while it waits, and looked at again by events.
        "launch_spot_validator": month.campaigns * 8 * DAYS,
        "training_job_events": month.campaigns * 4,
    }
    yield from (scheduled | assumed).items()


def times_a_month(expression: str) -> float:
    """How often a schedule of EventBridge fires in 30 days.

    Raises
    ------
    ConfigError
        It is neither a rate nor a cron of minutes and hours of every day.
    """
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        return MINUTES / (int(rate[1]) * {"minute": 1, "hour": 60, "day": 1440}[rate[2]])
    return DAYS * len(DailyCron(expression).times)


def read_unit_prices() -> UnitPrices:
    """The table beside this file; ConfigError where it is not valid."""
    path = FOLDER / "prices.json"
    try:
        return UnitPrices.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{path} cannot be used: {error}") from error


def limit_usd() -> float:
    """What a month may cost, as the templates have it."""
    return float(defaults("main")["MonthlyCostLimit"])


def functions() -> Mapping[str, Mapping[str, Any]]:
    """Properties of the functions, by their names in the code."""
    return {
        each["Properties"]["Handler"].split(".")[1]: each["Properties"]
        for _, each in resources("processing", "AWS::Lambda::Function")
    }


def _lambda(calls: Mapping[str, float], usd: Mapping[str, float]) -> Iterator[Item]:
    for name, properties in functions().items():
        gb_seconds = calls[name] * SECONDS[name] * properties["MemorySize"] / 1024
        yield Item(
            f"Lambda {name}",
            f"{calls[name]:,.0f} calls of {SECONDS[name]} s, {properties['MemorySize']} MB",
            gb_seconds * usd["lambda_gb_second"]
            + calls[name] / 1e6 * usd["lambda_million_requests"],
        )


def _watching(month: Month, usd: Mapping[str, float]) -> Iterator[Item]:
    alarms = sum(
        len(list(resources(name, "AWS::CloudWatch::Alarm"))) for name in ("monitoring", "pipeline")
    )
    yield Item("alarms", f"{alarms}", alarms * usd["alarm_month"])
    own = {
        alarm["Properties"]["MetricName"]
        for _, alarm in resources("monitoring", "AWS::CloudWatch::Alarm")
        if alarm["Properties"]["Namespace"] == "TradingSystem"
    } | {"BarsClosed"}
    yield Item("metrics of its own", f"{len(own)}", len(own) * usd["custom_metric_month"])
    yield Item(
        "logs, and their way to the bucket",
        f"{month.log_gb} GB",
        # A record of Firehose counts as 5 KB at least, which makes ten of one.
        month.log_gb * (usd["logs_gb"] + 10 * usd["firehose_gb"]),
    )


def _keeping(month: Month, ticks: float, usd: Mapping[str, float]) -> Iterator[Item]:
    yield Item("S3", f"{month.stored_gb} GB", month.stored_gb * usd["s3_gb_month"])
    yield Item("images", f"{month.images_gb} GB", month.images_gb * usd["ecr_gb_month"])
    yield Item(
        "state table, with point-in-time recovery",
        f"{month.table_gb} GB, {ticks * month.writes_a_tick:,.0f} writes",
        month.table_gb * usd["dynamodb_gb_month"]
        + ticks / 1e6 * month.writes_a_tick * usd["dynamodb_million_writes"]
        # Strongly consistent reads of up to 4 KB.
        + ticks / 1e6 * month.reads_a_tick * usd["dynamodb_million_reads"],
    )
    yield Item("queue and topic", "below 0.1 million", 0.1 * usd["sqs_sns_million_requests"])


def _training(month: Month, training: PriceTable) -> Item:
    levers = CostSettings()
    dearest = max(
        levers.spot_instance_type, key=lambda name: training.instance(name).training_usd_per_hour
    )
    seconds = levers.max_runtime_hours * 3600
    return Item(
        "campaigns",
        f"{month.campaigns:g} of {levers.max_runtime_hours:g} h on {dearest}, without discount",
        month.campaigns * training.usd(dearest, seconds, volume_gb=30),
    )


def _delivering(month: Month, usd: Mapping[str, float]) -> Iterator[Item]:
    asked = month.cost_explorer_requests
    yield Item("Cost Explorer", f"{asked:g} questions", asked * usd["cost_explorer_request"])
    yield Item(
        "builds and pipeline",
        f"{month.deployments:g} pushes",
        month.deployments
        * (25 * usd["codebuild_medium_minute"] + 60 * usd["codepipeline_action_minute"]),
    )
