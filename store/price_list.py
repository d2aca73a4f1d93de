"""AWS's own price list, asked through its Pricing API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import boto3

from store.aws import ask, patient
from store.prices import InstancePrice, PriceTable
from strategy.errors import ConfigError

_REGIONS_CODE = {"ap-southeast-1": "APS1"}
"""What usage types of the region begin with. A usage type, with its operation for EC2, is what
a bill counts: so it names one price, where other attributes are missing for some types."""


def connect() -> Any:
    """The boto3 client; the Pricing API is in a few regions only."""
    return boto3.client("pricing", region_name="us-east-1")


def refreshed(table: PriceTable, pricing: Any, as_of: date) -> PriceTable:
    """The same table with the prices of today.

    Parameters
    ----------
    pricing
        boto3 client of the Pricing API (:func:`connect`).
    as_of
        Today, UTC.

    Raises
    ------
    ConfigError
        There is no price for a type, or the region's usage types are not known.
    RetryError, StoreError
        As :func:`store.aws.translated` says.
    """
    code = _REGIONS_CODE.get(table.region)
    if code is None:
        raise ConfigError(f"region {table.region!r}: refreshing knows {', '.join(_REGIONS_CODE)}")

    def usd(usage: str) -> float:
        return _usd(_product(pricing, "AmazonSageMaker", table.region, f"{code}-{usage}"))

    def instance(name: str) -> InstancePrice:
        usage = f"{code}-BoxUsage:{name.removeprefix('ml.')}"
        ec2 = _product(pricing, "AmazonEC2", table.region, usage, operation="RunInstances")
        attributes = ec2["product"]["attributes"]
        return InstancePrice(
            vcpus=int(attributes["vcpu"]),
            memory_gib=float(attributes["memory"].removesuffix(" GiB").replace(",", "")),
            training_usd_per_hour=usd(f"Train:{name}"),
            ec2_usd_per_hour=_usd(ec2),
        )

    return PriceTable(
        as_of=as_of,
        region=table.region,
        source="AWS's price list through its Pricing API: on demand, EC2 with Linux",
        volume_usd_per_gb_month=usd("Train:VolumeUsage.gp2"),
        instances={name: instance(name) for name in table.instances},
    )


def _product(
    pricing: Any, service: str, region: str, usage_type: str, **attributes: str
) -> Mapping[str, Any]:
    """The one product that has a price for this usage."""
    wanted = {"regionCode": region, "usagetype": usage_type, **attributes}
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in wanted.items()]

    def request() -> list[str]:
        pages = pricing.get_paginator("get_products").paginate(
            ServiceCode=service, FormatVersion="aws_v1", Filters=filters
        )
        return [product for page in pages for product in page["PriceList"]]

    found: list[dict[str, Any]] = [
        json.loads(text) for text in ask(f"price list of {service}", request, patient())
    ]
    priced = [product for product in found if _usd(product) > 0]
    if len(priced) != 1:
        raise ConfigError(
            f"{service} in {region} has {len(priced) or 'no'} prices for {usage_type!r}: it may "
            "not be offered there. Remove the instance type from store/prices.json"
        )
    return priced[0]


def _usd(product: Mapping[str, Any]) -> float:
    """Price per unit on demand; of tiers, as a free one, the dearest; 0 if there is none."""
    return max(
        (
            float(dimension["pricePerUnit"].get("USD", 0))
            for term in product["terms"].get("OnDemand", {}).values()
            for dimension in term["priceDimensions"].values()
        ),
        default=0.0,
    )
