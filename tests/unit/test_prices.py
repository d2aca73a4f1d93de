"""The table of prices, and writing it anew from AWS's price list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.stub import Stubber

from store import price_list
from store.prices import LOCAL, LOCAL_PRICES, PRICES, PriceTable, load_prices, main, read_prices
from strategy.errors import ConfigError, StoreError
from tests.price_list_products import (
    REGION,
    ec2_product,
    training_product,
    unpriced,
    volume_product,
)

TODAY = date(2026, 12, 1)
OLD = {
    "as_of": "2026-01-01",
    "region": REGION,
    "source": "long ago",
    "volume_usd_per_gb_month": 0.5,
    "instances": {
        "ml.c5.xlarge": {
            "vcpus": 1,
            "memory_gib": 1,
            "training_usd_per_hour": 1.0,
            "ec2_usd_per_hour": 1.0,
        }
    },
}

# --- the table ----------------------------------------------------------------------------------


def test_every_type_of_the_table_is_one_that_sagemaker_trains_on() -> None:
    service = botocore.session.get_session().get_service_model("sagemaker")
    assert set(load_prices().instances) <= set(service.shape_for("TrainingInstanceType").enum)


def test_the_table_is_of_the_systems_region_and_says_what_is_an_estimate() -> None:
    assert load_prices().region == REGION
    assert "ESTIMATES" in load_prices().source


def test_training_costs_more_than_the_bare_instance_and_no_more_than_half_as_much_again() -> None:
    for name, price in load_prices().instances.items():
        assert 1.15 < price.training_usd_per_hour / price.ec2_usd_per_hour < 1.5, name


def test_a_job_costs_its_billed_hours_and_its_disk() -> None:
    table = PriceTable.model_validate(OLD)
    # 2 h at $1; 672 GB at $0.5 a month of 672 hours are $0.5 an hour
    assert table.usd("ml.c5.xlarge", 7200, 672) == pytest.approx(2 + 1)
    assert table.usd("ml.c5.xlarge", 3600, 672, training_seconds=7200) == pytest.approx(1 + 1)


def test_a_type_that_the_table_does_not_have_is_named_with_those_it_has() -> None:
    with pytest.raises(ConfigError, match=r"'ml\.c6i\.large' has no price.* ml\.c5\.xlarge"):
        load_prices().instance("ml.c6i.large")


def test_a_process_on_this_machine_costs_nothing() -> None:
    assert LOCAL_PRICES.usd(LOCAL, 3600, 100) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume_usd_per_gb_month": 0}, "volume_usd_per_gb_month: .*allowed: number > 0"),
        ({"currency": "EUR"}, "currency: unknown key"),
        ({"instances": {}}, "instances"),
        ({"instances": {"ml.c5.xlarge": {"vcpus": 4}}}, "instances.ml.c5.xlarge.memory_gib"),
    ],
)
def test_a_table_with_a_mistake_is_refused_by_key(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(OLD | change))
    with pytest.raises(ConfigError, match=f"{path}: .*{message}"):
        read_prices(path)


def test_a_table_that_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prices(tmp_path / "prices.json")
    (tmp_path / "prices.json").write_text("{")
    with pytest.raises(ConfigError, match="Invalid JSON"):
        read_prices(tmp_path / "prices.json")


# --- refreshing it ------------------------------------------------------------------------------


class PriceList:
    """AWS's price list: the stubbed client, told what is asked and what comes back."""

    def __init__(self) -> None:
        self.client = boto3.client(
            "pricing",
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self.stubber = Stubber(self.client)

    def answers(
        self, service: str, usage: str, *products: str, operation: str = "", **page: str
    ) -> None:
        wanted = {"regionCode": REGION, "usagetype": usage}
        if operation:
            wanted["operation"] = operation
        expected = {
            "ServiceCode": service,
            "FormatVersion": "aws_v1",
            "Filters": [
                {"Type": "TERM_MATCH", "Field": field, "Value": value}
                for field, value in wanted.items()
            ],
        }
        token = page.pop("after", None)
        if token:
            expected["NextToken"] = token
        answer = {"FormatVersion": "aws_v1", "PriceList": list(products), **page}
        self.stubber.add_response("get_products", answer, expected)

    def volume(self, *products: str) -> None:
        self.answers("AmazonSageMaker", "APS1-Train:VolumeUsage.gp2", *products)

    def ec2(self, *products: str) -> None:
        usage = "APS1-BoxUsage:c5.xlarge"
        self.answers("AmazonEC2", usage, *products, operation="RunInstances")

    def training(self, *products: str, **page: str) -> None:
        self.answers("AmazonSageMaker", "APS1-Train:ml.c5.xlarge", *products, **page)

    def refreshed(self) -> PriceTable:
        return price_list.refreshed(PriceTable.model_validate(OLD), self.client, TODAY)


@pytest.fixture
def aws() -> Iterator[PriceList]:
    prices = PriceList()
    with prices.stubber:
        yield prices


def test_a_refreshed_table_has_the_prices_of_aws_and_the_date_of_today(aws: PriceList) -> None:
    aws.volume(volume_product("0.1680000000"))
    aws.ec2(ec2_product("c5.xlarge", "0.1960000000"))
    aws.training(training_product("ml.c5.xlarge", "0.2350000000"))
    table = aws.refreshed()
    assert table.model_dump(mode="json") == {
        "as_of": "2026-12-01",
        "region": REGION,
        "source": table.source,
        "volume_usd_per_gb_month": 0.168,
        "instances": {
            "ml.c5.xlarge": {
                "vcpus": 4,
                "memory_gib": 8.0,
                "training_usd_per_hour": 0.235,
                "ec2_usd_per_hour": 0.196,
            }
        },
    }
    assert "price list" in table.source
    aws.stubber.assert_no_pending_responses()


def test_a_price_may_be_on_a_later_page(aws: PriceList) -> None:
    aws.volume(volume_product("0.168"))
    aws.ec2(ec2_product("c5.xlarge", "0.196"))
    aws.training(NextToken="more")
    aws.training(training_product("ml.c5.xlarge", "0.235"), after="more")
    assert aws.refreshed().instance("ml.c5.xlarge").training_usd_per_hour == 0.235
    aws.stubber.assert_no_pending_responses()


def test_of_a_price_with_free_hours_what_is_paid_counts(aws: PriceList) -> None:
    aws.volume(volume_product("0.168"))
    aws.ec2(ec2_product("c5.xlarge", "0.196", memory="1,024 GiB", free_hours=True))
    aws.training(training_product("ml.c5.xlarge", "0.235"))
    price = aws.refreshed().instance("ml.c5.xlarge")
    assert (price.ec2_usd_per_hour, price.memory_gib) == (0.196, 1024)


@pytest.mark.parametrize(
    "products",
    [[], [unpriced(training_product("ml.c5.xlarge", "0.235"))]],
    ids=["not there", "not on demand"],
)
def test_a_type_without_a_price_is_named(aws: PriceList, products: list[str]) -> None:
    aws.volume(volume_product("0.168"))
    aws.ec2(ec2_product("c5.xlarge", "0.196"))
    aws.training(*products)
    with pytest.raises(ConfigError, match=r"has no prices for 'APS1-Train:ml\.c5\.xlarge'"):
        aws.refreshed()


def test_two_prices_for_one_thing_are_an_error(aws: PriceList) -> None:
    aws.volume(volume_product("0.168"))
    aws.ec2(ec2_product("c5.xlarge", "0.196"))
    aws.training(
        training_product("ml.c5.xlarge", "0.235"),
        training_product("ml.c5.xlarge", "0.335", sku="TRAIN0000000SKU2"),
    )
    with pytest.raises(ConfigError, match="has 2 prices for"):
        aws.refreshed()


def test_a_table_of_a_region_whose_usage_is_not_known_is_refused(aws: PriceList) -> None:
    table = PriceTable.model_validate(OLD | {"region": "eu-west-1"})
    with pytest.raises(ConfigError, match="'eu-west-1'"):
        price_list.refreshed(table, aws.client, TODAY)


def test_a_missing_permission_is_said(aws: PriceList) -> None:
    aws.stubber.add_client_error("get_products", "AccessDeniedException", http_status_code=400)
    with pytest.raises(StoreError, match="Allow GetProducts"):
        aws.refreshed()


# --- the command --------------------------------------------------------------------------------


def command(path: Path, *arguments: str, aws: PriceList | None = None) -> int:
    now = datetime(2026, 12, 1, 9, tzinfo=UTC)
    return main(arguments, client=lambda: aws and aws.client, now=lambda: now, path=path)


def test_the_command_shows_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(PRICES) == 0
    shown = capsys.readouterr().out
    assert "ESTIMATES" in shown
    assert "ml.m6i.xlarge       4   16    0.2880  0.2400" in shown


def test_the_command_writes_the_table_anew(aws: PriceList, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(OLD))
    aws.volume(volume_product("0.168"))
    aws.ec2(ec2_product("c5.xlarge", "0.196"))
    aws.training(training_product("ml.c5.xlarge", "0.235"))
    assert command(path, "--refresh", aws=aws) == 0
    assert read_prices(path).as_of == TODAY
    assert read_prices(path).instance("ml.c5.xlarge").training_usd_per_hour == 0.235


def test_a_refresh_that_fails_leaves_the_table_and_says_why(
    aws: PriceList, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(OLD))
    aws.volume()
    assert command(path, "--refresh", aws=aws) == 2
    assert "error: AmazonSageMaker in ap-southeast-1 has no prices" in capsys.readouterr().err
    assert json.loads(path.read_text()) == OLD
