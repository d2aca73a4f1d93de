"""The state table in DynamoDB."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from store.aws import ask, patient
from store.backoff import Backoff
from store.clock import Clock, utc_now
from store.json_values import checked_partition, checked_place, checked_value
from store.state import Item, Value
from strategy.errors import ConflictError, StoreError

Attributes = dict[str, dict[str, Any]]
"""By name, an attribute as DynamoDB's protocol has it: ``{"S": "text"}``."""

# DynamoDB removes what has expired within days: until then it must look removed.
_GONE = "(attribute_not_exists(#v) OR #e <= :now)"
_AT_VERSION = "#v = :expected AND (attribute_not_exists(#e) OR #e > :now)"


@dataclass(frozen=True)
class DynamoState:
    """A state table in DynamoDB: ``partition`` is its hash key, ``key`` its range key.

    ``value`` is a native map, so that a person can read it in the console; ``expires_at``, in
    seconds since 1970, is for the table's time to live. Implements
    :class:`store.state.StateTable`.

    Parameters
    ----------
    client
        boto3's ``dynamodb`` client.
    table
        Name of the table.
    backoff
        How requests that may succeed later are repeated.
    """

    client: Any
    table: str
    clock: Clock = utc_now
    backoff: Backoff = field(default_factory=patient)

    def get(self, partition: str, key: str) -> Item | None:
        where = checked_place(partition, key)
        answer = ask(
            f"{where} in table {self.table}",
            partial(
                self.client.get_item,
                TableName=self.table,
                Key=_key(partition, key),
                ConsistentRead=True,
            ),
            self.backoff,
        )
        return self._living(answer.get("Item", {}), where)

    def items(self, partition: str, prefix: str = "") -> list[Item]:
        where = checked_partition(partition)
        condition, names, values = "#p = :p", {"#p": "partition"}, {":p": {"S": partition}}
        if prefix:  # DynamoDB refuses an empty one
            condition += " AND begins_with(#k, :k)"
            names["#k"], values[":k"] = "key", {"S": prefix}
        pages = self.client.get_paginator("query").paginate(
            TableName=self.table,
            KeyConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
        )
        found = ask(
            f"{where} in table {self.table}",
            lambda: [attributes for page in pages for attributes in page["Items"]],
            self.backoff,
        )
        items = [self._living(attributes, where) for attributes in found]
        return [item for item in items if item]

    def put(
        self,
        partition: str,
        key: str,
        value: Value,
        *,
        expected: int,
        expires_at: datetime | None = None,
    ) -> Item:
        where = checked_place(partition, key)
        content = {
            "partition": partition,
            "key": key,
            "value": checked_value(value, where),
            "version": expected + 1,
            # Tells this write from another's when its own answer was lost and it is repeated.
            "write_id": uuid.uuid4().hex,
        }
        if expires_at is not None:
            content["expires_at"] = math.ceil(expires_at.timestamp())
        row = _attributes(content)
        present = self._write(
            "put_item", _AT_VERSION if expected else _GONE, expected, where, Item=row
        )
        if present is not None and present.get("write_id") != row["write_id"]:
            raise self._conflict(where, expected, present)
        return _item(row, where)

    def delete(self, partition: str, key: str, *, expected: int) -> None:
        where = checked_place(partition, key)
        present = self._write("delete_item", _AT_VERSION, expected, where, Key=_key(partition, key))
        if present is not None:
            raise self._conflict(where, expected, present)

    def _write(
        self, operation: str, condition: str, expected: int, where: str, **arguments: Any
    ) -> Attributes | None:
        """Write if the condition holds; if it does not, give the attributes that are there."""
        values = {":now": math.floor(self.clock().timestamp())}
        if condition == _AT_VERSION:
            values[":expected"] = expected

        def request() -> Attributes | None:
            try:
                getattr(self.client, operation)(
                    TableName=self.table,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#v": "version", "#e": "expires_at"},
                    ExpressionAttributeValues=_attributes(values),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **arguments,
                )
            except self.client.exceptions.ConditionalCheckFailedException as failed:
                found: Attributes = failed.response.get("Item", {})
                return found
            return None

        return ask(f"{where} in table {self.table}", request, self.backoff)

    def _conflict(self, where: str, expected: int, present: Attributes) -> ConflictError:
        item = self._living(present, where)
        return ConflictError(f"{where} is at version {item.version if item else 0}, not {expected}")

    def _living(self, attributes: Attributes, where: str) -> Item | None:
        """The item, unless there is none or it has expired."""
        item = _item(attributes, where) if attributes else None
        expired = item and item.expires_at and item.expires_at <= self.clock()
        return None if expired else item


def _key(partition: str, key: str) -> Attributes:
    return {"partition": {"S": partition}, "key": {"S": key}}


def _attributes(content: Mapping[str, Any]) -> Attributes:
    exact = json.loads(json.dumps(content), parse_float=Decimal)
    attributes: Attributes = TypeSerializer().serialize(exact)["M"]
    return attributes


def _item(attributes: Attributes, where: str) -> Item:
    """The item that these attributes are; StoreError if somebody's hand has spoilt it."""
    try:
        content = TypeDeserializer().deserialize({"M": attributes})
        row = json.loads(json.dumps(content, default=_number))
        expiry = row.get("expires_at")
        return Item(
            row["partition"],
            row["key"],
            row["value"],
            row["version"],
            None if expiry is None else datetime.fromtimestamp(expiry, UTC),
        )
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{where} is not an item of this system: {error!r}; correct or remove it"
        ) from error


def _number(value: Any) -> int | float:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return int(value) if value == value.to_integral_value() else float(value)
