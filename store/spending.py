"""What this system has spent this month, and what Spot instances cost now."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from store.aws import ask, patient, translated
from store.state import StateTable
from store.training_jobs import PROJECT
from strategy.errors import RetryError

LAG = timedelta(hours=48)
"""Cost Explorer has every cost after at most 24 hours; twice that is relied on."""
MAX_AGE = timedelta(hours=6)
USD_PER_REQUEST = 0.01
"""What Cost Explorer itself costs, which bears no tag and so is in none of its answers."""

_PARTITION, _KEY = "cost", "month-to-date"
_ASKING = timedelta(minutes=1)  # for so long the answer of another process is awaited


@dataclass(frozen=True)
class MonthToDate:
    """Cost of the present month, UTC.

    Parameters
    ----------
    usd
        What Cost Explorer says this project has cost.
    asking_usd
        What the questions to Cost Explorer have cost.
    at
        When Cost Explorer was asked, UTC: it knew what had been spent :data:`LAG` before.
    """

    usd: float
    asking_usd: float
    at: datetime


class Spending(Protocol):
    """Says what was spent and what Spot costs."""

    def month_to_date(self, now: datetime) -> MonthToDate:
        """Cost of the month that ``now`` (UTC) is in.

        Raises
        ------
        RetryError
            There is no figure, which is not the same as 0, or there is none yet.
        StoreError
            Cost Explorer may not be used.
        """
        ...

    def spot_prices(self, instance_types: Sequence[str], now: datetime) -> Mapping[str, float]:
        """USD per hour of Spot instances of these types (``ml.…``); a type may be missing.

        Raises
        ------
        RetryError, StoreError
            There are no prices now; they may not be read.
        """
        ...


@dataclass(frozen=True)
class AwsSpending:
    """What AWS charges.

    Parameters
    ----------
    cost_explorer, ec2
        boto3 clients of ``ce`` and ``ec2``.
    state
        Keeps Cost Explorer's last answer, for all who ask: each question costs a cent.
    max_age
        For how long an answer is good.
    """

    cost_explorer: Any
    ec2: Any
    state: StateTable
    max_age: timedelta = MAX_AGE

    def month_to_date(self, now: datetime) -> MonthToDate:
        month = f"{now:%Y-%m}"
        item = self.state.get(_PARTITION, _KEY)
        kept: Mapping[str, Any] = {"month": month, "requests": 0}
        if item and item.value["month"] == month:
            kept = item.value
        if "usd" in kept and now - datetime.fromisoformat(kept["at"]) < self.max_age:
            return _month_to_date(kept)
        asked_at = kept.get("asked_at")
        if asked_at and now - datetime.fromisoformat(asked_at) < _ASKING:
            raise RetryError(
                "Cost Explorer was asked less than a minute ago and has not answered; it is asked "
                "again after that"
            )
        # Whoever writes this first asks; the others are told to come again.
        asking = {**kept, "asked_at": now.isoformat(), "requests": kept["requests"] + 1}
        claim = self.state.put(_PARTITION, _KEY, asking, expected=item.version if item else 0)
        usd = month_to_date_usd(self.cost_explorer, now)
        answer = {**claim.value, "usd": usd, "at": now.isoformat()}
        return _month_to_date(
            self.state.put(_PARTITION, _KEY, answer, expected=claim.version).value
        )

    def spot_prices(self, instance_types: Sequence[str], now: datetime) -> Mapping[str, float]:
        return spot_prices(self.ec2, instance_types, now)


@dataclass(frozen=True)
class FreeOfCharge:
    """Jobs that run on this machine cost nothing; implements :class:`Spending`."""

    def month_to_date(self, now: datetime) -> MonthToDate:
        return MonthToDate(usd=0.0, asking_usd=0.0, at=now)

    def spot_prices(self, instance_types: Sequence[str], now: datetime) -> Mapping[str, float]:
        return dict.fromkeys(instance_types, 0.0)


def month_to_date_usd(cost_explorer: Any, now: datetime) -> float:
    """Ask Cost Explorer, once, for the unblended cost of this month under the project's tag.

    Credits and refunds are left out: they would hide what the project really uses.

    Raises
    ------
    RetryError
        It has no data, or asks to slow down.
    StoreError, ConfigError
        As :func:`store.aws.translated` says.
    """
    tag, project = PROJECT
    reductions = {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}
    with translated("Cost Explorer"):
        try:
            answer = cost_explorer.get_cost_and_usage(
                TimePeriod={
                    "Start": f"{now:%Y-%m}-01",
                    "End": f"{now + timedelta(days=1):%Y-%m-%d}",  # exclusive
                },
                Granularity="MONTHLY",
                Metrics=["UnblendedCost"],
                Filter={
                    "And": [
                        {"Tags": {"Key": tag, "Values": [project]}},
                        {"Not": {"Dimensions": reductions}},
                    ]
                },
            )
        except cost_explorer.exceptions.DataUnavailableException as error:
            raise RetryError(f"Cost Explorer has no data: {error}") from error
    totals = [
        period["Total"]["UnblendedCost"]
        for period in answer["ResultsByTime"]
        if "UnblendedCost" in period.get("Total", {})
    ]
    if not totals:
        raise RetryError(
            f"Cost Explorer has no data for {now:%Y-%m}; it takes a day to be prepared after it "
            "is first opened in the Billing console"
        )
    return sum(float(total["Amount"]) for total in totals)


def spot_prices(ec2: Any, instance_types: Sequence[str], now: datetime) -> dict[str, float]:
    """Newest Linux Spot price of each type, USD per hour: the median of its zones.

    Parameters
    ----------
    instance_types
        Of SageMaker, ``ml.c5.xlarge``: EC2's of the same name, without ``ml.``, are asked for.
    now
        UTC.

    Raises
    ------
    RetryError, StoreError, ConfigError
        As :func:`store.aws.translated` says.
    """
    names = {name.removeprefix("ml."): name for name in instance_types}

    def request() -> list[Mapping[str, Any]]:
        # From now on, there is the price in force of each zone, and nothing older.
        pages = ec2.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=sorted(names), ProductDescriptions=["Linux/UNIX"], StartTime=now
        )
        return [price for page in pages for price in page["SpotPriceHistory"]]

    history = ask("Spot price history", request, patient())
    newest: dict[tuple[str, str], float] = {}
    for price in sorted(history, key=lambda price: price["Timestamp"]):
        newest[price["InstanceType"], price["AvailabilityZone"]] = float(price["SpotPrice"])
    by_type: dict[str, list[float]] = {}
    for (ec2_type, _), usd in newest.items():
        by_type.setdefault(names[ec2_type], []).append(usd)
    return {name: statistics.median(prices) for name, prices in by_type.items()}


def _month_to_date(kept: Mapping[str, Any]) -> MonthToDate:
    return MonthToDate(
        usd=float(kept["usd"]),
        asking_usd=kept["requests"] * USD_PER_REQUEST,
        at=datetime.fromisoformat(kept["at"]),
    )
