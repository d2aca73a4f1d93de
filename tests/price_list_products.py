"""Products as AWS's Pricing API gives them: each one a JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

REGION, LOCATION = "ap-southeast-1", "Asia Pacific (Singapore)"
_TERM, _RATE = "JRTCKXETXF", "6YS6EN2CT7"


def training_product(name: str, usd: str, *, sku: str = "TRAIN0000000SKU1") -> str:
    """SageMaker training on an instance type."""
    attributes = {
        "component": "Training",
        "instanceName": name,
        "instanceType": f"{name}-Training",
        "location": LOCATION,
        "locationType": "AWS Region",
        "operation": "RunInstance",
        "regionCode": REGION,
        "servicecode": "AmazonSageMaker",
        "servicename": "Amazon SageMaker",
        "usagetype": f"APS1-Train:{name}",
    }
    product = {"productFamily": "ML Instance", "attributes": attributes, "sku": sku}
    return _priced("AmazonSageMaker", product, {_RATE: ("Hrs", usd)})


def volume_product(usd: str) -> str:
    """Storage of a SageMaker training job."""
    attributes = {
        "location": LOCATION,
        "locationType": "AWS Region",
        "operation": "CreateVolume-Gp2",
        "platoclassificationtype": "Train:VolumeUsage",
        "regionCode": REGION,
        "servicecode": "AmazonSageMaker",
        "servicename": "Amazon SageMaker",
        "usagetype": "APS1-Train:VolumeUsage.gp2",
        "volumeType": "General Purpose-Training",
    }
    product = {"productFamily": "Storage", "attributes": attributes, "sku": "VOLUME000000SKU1"}
    return _priced("AmazonSageMaker", product, {_RATE: ("GB-Mo", usd)})


def ec2_product(
    name: str, usd: str, *, vcpu: str = "4", memory: str = "8 GiB", free_hours: bool = False
) -> str:
    """A Linux instance of EC2; with free hours its price has two tiers."""
    attributes = {
        "capacitystatus": "Used",
        "instanceType": name,
        "licenseModel": "No License required",
        "location": LOCATION,
        "locationType": "AWS Region",
        "marketoption": "OnDemand",
        "memory": memory,
        "operatingSystem": "Linux",
        "operation": "RunInstances",
        "preInstalledSw": "NA",
        "regionCode": REGION,
        "servicecode": "AmazonEC2",
        "servicename": "Amazon Elastic Compute Cloud",
        "tenancy": "Shared",
        "usagetype": f"APS1-BoxUsage:{name}",
        "vcpu": vcpu,
    }
    product = {"productFamily": "Compute Instance", "attributes": attributes, "sku": "EC2000SKU1"}
    tiers = {_RATE: ("Hrs", usd)}
    if free_hours:
        tiers = {"FREE000000": ("Hrs", "0.0000000000"), **tiers}
    return _priced("AmazonEC2", product, tiers)


def unpriced(product: str) -> str:
    """The same product, sold by reservation only."""
    content = json.loads(product)
    content["terms"] = {"Reserved": content["terms"].pop("OnDemand")}
    return json.dumps(content)


def _priced(service: str, product: Mapping[str, Any], tiers: Mapping[str, tuple[str, str]]) -> str:
    term = f"{product['sku']}.{_TERM}"
    dimensions = {
        f"{term}.{rate}": {
            "appliesTo": [],
            "beginRange": "0",
            "description": f"${usd} per {unit}",
            "endRange": "Inf",
            "pricePerUnit": {"USD": usd},
            "rateCode": f"{term}.{rate}",
            "unit": unit,
        }
        for rate, (unit, usd) in tiers.items()
    }
    on_demand = {
        "effectiveDate": "2026-11-01T00:00:00Z",
        "offerTermCode": _TERM,
        "priceDimensions": dimensions,
        "sku": product["sku"],
        "termAttributes": {},
    }
    content = {
        "product": product,
        "publicationDate": "2026-11-20T17:01:23Z",
        "serviceCode": service,
        "terms": {"OnDemand": {term: on_demand}},
        "version": "20261120170123",
    }
    return json.dumps(content)
