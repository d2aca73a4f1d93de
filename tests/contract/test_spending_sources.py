"""What holds for everything that says what was spent and what Spot costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests

from store.aws import client
from store.dynamo_state import DynamoState
from store.prices import load_prices
from store.spending import AwsSpending, FreeOfCharge, Spending
from strategy.errors import RetryError
from tests.aws_fakes import create_state_table, fake_aws

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SEEDS = "http://motoapi.amazonaws.com/moto-api/static/ce/cost-and-usage-results"


@pytest.fixture
def aws() -> Iterator[AwsSpending]:
    with fake_aws():
        dynamodb = client("dynamodb")
        create_state_table(dynamodb, "state")
        state = DynamoState(dynamodb, "state", lambda: NOW)
        yield AwsSpending(client("ce"), client("ec2"), state)


@pytest.fixture(params=["aws", "free of charge"])
def spending(request: pytest.FixtureRequest) -> Spending:
    if request.param == "free of charge":
        return FreeOfCharge()
    aws: AwsSpending = request.getfixturevalue("aws")
    seed("3.5")
    return aws


def seed(*amounts: str) -> None:
    """Queue Cost Explorer's answers."""
    results = [
        {"ResultsByTime": [{"Total": {"UnblendedCost": {"Amount": amount, "Unit": "USD"}}}]}
        for amount in amounts
    ]
    requests.post(SEEDS, json={"results": results}, timeout=5)


def test_there_is_a_figure_of_the_month(spending: Spending) -> None:
    figure = spending.month_to_date(NOW)
    assert figure.usd >= 0
    assert figure.asking_usd >= 0
    assert figure.at == NOW


def test_the_figure_stays_for_a_while(spending: Spending) -> None:
    figure = spending.month_to_date(NOW)
    assert spending.month_to_date(NOW + timedelta(hours=1)).usd == figure.usd


def test_every_instance_type_has_a_spot_price(spending: Spending) -> None:
    types = sorted(load_prices().instances)
    prices = spending.spot_prices(types, NOW)
    assert sorted(prices) == types
    assert all(usd >= 0 for usd in prices.values())


def test_cost_explorers_amount_is_what_was_spent(aws: AwsSpending) -> None:
    seed("3.2512345678", "4.5")
    assert aws.month_to_date(NOW).usd == 3.2512345678
    tomorrow = NOW + timedelta(days=1)
    assert (aws.month_to_date(tomorrow).usd, aws.month_to_date(tomorrow).asking_usd) == (4.5, 0.02)


def test_an_account_without_data_has_no_figure(aws: AwsSpending) -> None:
    with pytest.raises(RetryError, match="no data for 2026-11"):
        aws.month_to_date(NOW)
