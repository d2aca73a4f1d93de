"""Says what is wrong with a key of config.json, and what would be allowed there."""

from __future__ import annotations

from typing import Any


def describe(detail: Any, schema: dict[str, Any]) -> str:
    """One of pydantic's error details, in words.

    Parameters
    ----------
    detail
        As ``ValidationError.errors()`` lists them.
    schema
        JSON Schema of the whole document, for the allowed ranges.
    """
    key = ".".join(str(part) for part in detail["loc"])
    if not key:  # of several keys together; the message names them
        return str(detail["ctx"]["error"]) if detail["type"] == "value_error" else detail["msg"]
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its spelling"
    if detail["type"] == "missing":
        return f"{key}: required key is missing"
    if detail["type"] == "value_error":
        return f"{key}: {detail['ctx']['error']}"
    return f"{key}: {detail['msg']} (got {detail['input']!r}; allowed: {_allowed(detail, schema)})"


def _allowed(detail: Any, root: dict[str, Any]) -> str:
    """The whole allowed range of the key, not only the bound that was broken."""
    schema = _schema_at(detail["loc"], root)
    bounds = {
        "minimum": ">= {}",
        "exclusiveMinimum": "> {}",
        "maximum": "<= {}",
        "exclusiveMaximum": "< {}",
        "pattern": "text matching {}",
        "enum": "one of {}",
        "const": "exactly {!r}",
        "minLength": "at least {} characters",
        "minItems": "at least {} items",
        "minProperties": "at least {} entries",
    }
    parts = [text.format(schema[key]) for key, text in bounds.items() if key in schema]
    return f"{schema.get('type', 'value')} {' and '.join(parts)}".strip()


def _schema_at(path: tuple[str | int, ...], root: dict[str, Any]) -> dict[str, Any]:
    node = root
    for part in path:
        node = _resolve(node, root)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties", {})
    return _resolve(node, root)


def _resolve(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node
