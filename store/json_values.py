"""What a state table takes as a value: JSON, within what every table can hold exactly.

A value equals itself after a round trip, whichever table it went through. DynamoDB sets the
bounds: its numbers have 38 digits and lie between 1e-130 and 1e125, an item has 400 KB.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from strategy.errors import DataError

MAX_BYTES = 256 * 1024
"""Of a value as JSON; DynamoDB's own encoding takes at most half as much again."""
MAX_KEY_BYTES = 1024
_MAX_DEPTH = 30  # DynamoDB nests 32 deep
_MAX_INTEGER = 10**38
_MIN_FRACTION = 1e-130


def checked_value(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The value as a table stores it: tuples as lists, floats without a fraction as int.

    Parameters
    ----------
    where
        Names the item, for the error.

    Raises
    ------
    DataError
        Something in it is not JSON (NaN and infinities are not), or beyond what a table can
        hold exactly; the message says where.
    """
    plain: dict[str, Any] = _plain(value, where, 0)
    size = len(json.dumps(plain, ensure_ascii=False).encode())
    if size > MAX_BYTES:
        raise DataError(f"{where}: {size:,} bytes, a state table takes {MAX_BYTES:,}; use a file")
    return plain


def checked_place(partition: str, key: str) -> str:
    """The place of an item, for messages, if every table can have one there.

    Raises
    ------
    DataError
        A name is empty, too long or not Unicode text.
    """
    return f"{checked_partition(partition)}/{_key(key, 'key')}"


def checked_partition(partition: str) -> str:
    """The partition, if every table can have it; raises as :func:`checked_place` does."""
    return _key(partition, "partition")


def _key(text: str, name: str) -> str:
    if not 0 < len(_text(text, name).encode()) <= MAX_KEY_BYTES:
        raise DataError(f"{name} {text[:50]!r}: must have 1 to {MAX_KEY_BYTES} bytes")
    return text


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise DataError(f"{where}: nested deeper than {_MAX_DEPTH}")
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, where)
        case int() | float():
            return _number(value, where)
        case list() | tuple():
            return [_plain(part, f"{where}[{i}]", depth + 1) for i, part in enumerate(value)]
        case Mapping():
            return {
                _name(key, where): _plain(part, f"{where}.{key}", depth + 1)
                for key, part in value.items()
            }
    raise DataError(f"{where}: {type(value).__name__} is not JSON; make it text or a number")


def _number(value: float, where: str) -> int | float:
    if not math.isfinite(value):
        raise DataError(f"{where}: {value} cannot be stored; leave it out, or use null")
    if value == int(value):
        if abs(value) >= _MAX_INTEGER:
            raise DataError(f"{where}: {value:.3g} has more than 38 digits; store it as text")
        return int(value)
    if abs(value) < _MIN_FRACTION:
        raise DataError(f"{where}: {value} is too near to 0 to be stored; round it, or use text")
    return float(value)


def _name(key: Any, where: str) -> str:
    if not isinstance(key, str) or not key:
        raise DataError(f"{where}: the name {key!r} must be a text of one character or more")
    return _text(key, where)


def _text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: {text[:50]!r} is not Unicode text") from error
    return text
