"""What the templates hold, for tests that look into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from infra.templates import children, template
from store.aws import REGION

CHILDREN = [child.name for child in children()]
ALL = ["main", "artifacts", *CHILDREN, "pipeline"]


def properties(name: str, logical_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = template(name)["Resources"][logical_id]["Properties"]
    return found


@cache
def schema(kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return found


def walk(value: Any) -> Iterator[Mapping[str, Any]]:
    """All mappings in a template."""
    if isinstance(value, Mapping):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
