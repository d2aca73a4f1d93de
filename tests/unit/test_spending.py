"""Cost Explorer and Spot prices: what is asked, how often, and what the answers mean."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from store.spending import AwsSpending, MonthToDate
from strategy.errors import ConflictError, RetryError, StoreError
from tests.memory_state import MemoryState

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Aws:
    """Stubbed clients, and the spending that asks them."""

    def __init__(self) -> None:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        clients = [boto3.client(name, region_name="ap-southeast-1", **keys) for name in SERVICES]
        self.cost_explorer, self.ec2 = (Stubber(client) for client in clients)
        self.state = MemoryState()
        self.spending = AwsSpending(*clients, self.state)

    def bill(self, *amounts: str, start: str = "2026-11-01", end: str = "2026-11-21") -> None:
        """Cost Explorer's next answer: the months' amounts."""
        expected = {
            "TimePeriod": {"Start": start, "End": end},
            "Granularity": "MONTHLY",
            "Metrics": ["UnblendedCost"],
            "Filter": {
                "And": [
                    {"Tags": {"Key": "Project", "Values": ["CryptoTradingSystem"]}},
                    {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}},
                ]
            },
        }
        periods = [
            {"Total": {"UnblendedCost": {"Amount": amount, "Unit": "USD"}}, "Estimated": True}
            for amount in amounts
        ]
        self.cost_explorer.add_response("get_cost_and_usage", {"ResultsByTime": periods}, expected)

    def refuses(self, code: str) -> None:
        self.cost_explorer.add_client_error("get_cost_and_usage", code, http_status_code=400)

    def spot(self, *prices: tuple[str, str, str, datetime]) -> None:
        """EC2's next answer: type, zone, price, time of each price."""
        names = ("InstanceType", "AvailabilityZone", "SpotPrice", "Timestamp")
        history: list[Any] = [dict(zip(names, price, strict=True)) for price in prices]
        self.ec2.add_response("describe_spot_price_history", {"SpotPriceHistory": history})


SERVICES = ("ce", "ec2")


@pytest.fixture(scope="module")
def clients() -> Aws:
    return Aws()  # making them takes longer than all tests


@pytest.fixture
def aws(clients: Aws) -> Iterator[Aws]:
    clients.state = MemoryState()
    clients.spending = AwsSpending(
        clients.spending.cost_explorer, clients.spending.ec2, clients.state
    )
    with clients.cost_explorer, clients.ec2:
        yield clients
        clients.cost_explorer.assert_no_pending_responses()
        clients.ec2.assert_no_pending_responses()


# --- the month to date --------------------------------------------------------------------------


def test_the_projects_cost_of_this_month_is_asked_for(aws: Aws) -> None:
    aws.bill("3.2512345678")
    assert aws.spending.month_to_date(NOW) == MonthToDate(3.2512345678, asking_usd=0.01, at=NOW)


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (datetime(2026, 12, 1, 0, 5, tzinfo=UTC), "2026-12-01", "2026-12-02"),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2026-12-01", "2027-01-01"),
    ],
)
def test_the_month_ends_with_today(aws: Aws, now: datetime, start: str, end: str) -> None:
    aws.bill("1.0", start=start, end=end)
    assert aws.spending.month_to_date(now).usd == 1.0


def test_nothing_spent_is_a_figure(aws: Aws) -> None:
    aws.bill("0")
    assert aws.spending.month_to_date(NOW).usd == 0


def test_no_figure_is_not_nothing_spent(aws: Aws) -> None:
    aws.bill()
    with pytest.raises(RetryError, match="Cost Explorer has no data for 2026-11"):
        aws.spending.month_to_date(NOW)


@pytest.mark.parametrize("code", ["DataUnavailableException", "LimitExceededException"])
def test_cost_explorer_may_answer_later(aws: Aws, code: str) -> None:
    aws.refuses(code)
    with pytest.raises(RetryError, match="Cost Explorer"):
        aws.spending.month_to_date(NOW)


def test_a_missing_permission_must_be_given(aws: Aws) -> None:
    aws.refuses("AccessDeniedException")
    with pytest.raises(StoreError, match="Allow GetCostAndUsage"):
        aws.spending.month_to_date(NOW)


def test_an_answer_is_good_for_six_hours(aws: Aws) -> None:
    aws.bill("3.0")
    first = aws.spending.month_to_date(NOW)
    assert aws.spending.month_to_date(NOW + 6 * HOUR - MINUTE) == first
    aws.bill("4.0")
    later = NOW + 6 * HOUR
    assert aws.spending.month_to_date(later) == MonthToDate(4.0, asking_usd=0.02, at=later)


def test_an_answer_is_not_good_for_another_month(aws: Aws) -> None:
    aws.bill("9.0", end="2026-12-01")
    aws.spending.month_to_date(datetime(2026, 11, 30, 23, tzinfo=UTC))
    aws.bill("0.5", start="2026-12-01", end="2026-12-02")
    new_year = datetime(2026, 12, 1, 1, tzinfo=UTC)
    assert aws.spending.month_to_date(new_year) == MonthToDate(0.5, 0.01, new_year)


def test_questions_without_an_answer_are_paid_for_too(aws: Aws) -> None:
    for minute in range(3):
        aws.refuses("LimitExceededException")
        with pytest.raises(RetryError):
            aws.spending.month_to_date(NOW + minute * MINUTE)
    aws.bill("3.0")
    assert aws.spending.month_to_date(NOW + 3 * MINUTE).asking_usd == pytest.approx(0.04)


def test_one_asks_and_the_others_come_again(aws: Aws) -> None:
    aws.refuses("LimitExceededException")
    with pytest.raises(RetryError, match="LimitExceeded"):
        aws.spending.month_to_date(NOW)
    with pytest.raises(RetryError, match="asked less than a minute ago"):
        aws.spending.month_to_date(NOW + timedelta(seconds=59))


def test_who_is_overtaken_before_asking_does_not_ask(aws: Aws) -> None:
    class Overtaken(MemoryState):
        def put(self, *place: str, **write: Any) -> Any:  # type: ignore[override]
            raise ConflictError("another one asks")

    spending = AwsSpending(aws.spending.cost_explorer, aws.spending.ec2, Overtaken())
    with pytest.raises(ConflictError):
        spending.month_to_date(NOW)


# --- Spot prices --------------------------------------------------------------------------------


def test_the_median_of_the_newest_price_of_every_zone_counts(aws: Aws) -> None:
    aws.spot(
        ("c5.xlarge", "ap-southeast-1a", "0.0900", NOW - HOUR),
        ("c5.xlarge", "ap-southeast-1a", "0.5000", NOW - 5 * HOUR),
        ("c5.xlarge", "ap-southeast-1b", "0.0800", NOW - 2 * HOUR),
        ("c5.xlarge", "ap-southeast-1c", "0.2000", NOW - 3 * HOUR),
        ("m5.large", "ap-southeast-1a", "0.0400", NOW - HOUR),
        ("m5.large", "ap-southeast-1b", "0.0600", NOW - HOUR),
    )
    assert aws.spending.spot_prices(["ml.c5.xlarge", "ml.m5.large"], NOW) == {
        "ml.c5.xlarge": pytest.approx(0.09),
        "ml.m5.large": pytest.approx(0.05),
    }


def test_the_price_of_linux_in_force_now_is_asked_for_under_ec2s_name(aws: Aws) -> None:
    wanted = {
        "InstanceTypes": ["c5.xlarge"],
        "ProductDescriptions": ["Linux/UNIX"],
        "StartTime": NOW,
    }
    aws.ec2.add_response("describe_spot_price_history", {"SpotPriceHistory": []}, wanted)
    assert aws.spending.spot_prices(["ml.c5.xlarge"], NOW) == {}


def test_spot_prices_may_come_in_pages(aws: Aws) -> None:
    page = {
        "InstanceType": "c5.xlarge",
        "AvailabilityZone": "ap-southeast-1a",
        "SpotPrice": "0.08",
        "Timestamp": NOW,
    }
    first = {"SpotPriceHistory": [page], "NextToken": "more"}
    aws.ec2.add_response("describe_spot_price_history", first)
    second = {"SpotPriceHistory": [{**page, "AvailabilityZone": "b", "SpotPrice": "0.12"}]}
    aws.ec2.add_response(
        "describe_spot_price_history",
        second,
        {
            "InstanceTypes": ANY,
            "ProductDescriptions": ANY,
            "StartTime": ANY,
            "NextToken": "more",
        },
    )
    assert aws.spending.spot_prices(["ml.c5.xlarge"], NOW) == {"ml.c5.xlarge": pytest.approx(0.1)}
