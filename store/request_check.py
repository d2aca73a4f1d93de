"""Whether AWS would accept a request, judged before it is sent.

By botocore's own model of the service. botocore itself checks names, types and lower bounds
only; values of enumerations, patterns and upper bounds are in its model too, and checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

# The models write patterns for Java, which names classes of characters otherwise than Python.
_JAVA = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": " ", r"\p{Alnum}": "a-zA-Z0-9"}


@lru_cache
def input_shape(service: str, operation: str) -> Any:
    """What an operation takes: a botocore StructureShape. No client, no network."""
    model = Loader().load_service_model(service, "service-2")
    return ServiceModel(model, service).operation_model(operation).input_shape


def faults(shape: Any, request: Mapping[str, Any]) -> list[str]:
    """Why AWS would refuse a request: one line a fault, each naming the field; or nothing.

    Parameters
    ----------
    shape
        What the operation takes (:func:`input_shape`).
    """
    report = ParamValidator().validate(dict(request), shape)
    if report.has_errors():  # of wrong types or names: what follows would stumble over them
        return str(report.generate_report()).splitlines()
    return list(_faults(shape, request, ""))


def _faults(shape: Shape, value: Any, at: str) -> Iterator[str]:
    match shape.type_name:
        case "structure":
            for key, member in value.items():
                yield from _faults(shape.members[key], member, f"{at}.{key}" if at else key)
        case "list":
            yield from _too_much(shape, len(value), f"{at}: {len(value)} elements")
            for number, member in enumerate(value):
                yield from _faults(shape.member, member, f"{at}[{number}]")
        case "map":
            yield from _too_much(shape, len(value), f"{at}: {len(value)} entries")
            for key, member in value.items():
                yield from _faults(shape.key, key, f"{at} key")
                yield from _faults(shape.value, member, f"{at}.{key}")
        case "string":
            yield from _too_much(shape, len(value), f"{at}: {len(value)} characters")
            yield from _not_written_so(shape, value, at)
        case "integer" | "long":
            yield from _too_much(shape, value, f"{at}: {value}")


def _too_much(shape: Shape, size: int, what: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and size > most:
        yield f"{what}, the most is {most}"


def _not_written_so(shape: Any, value: str, at: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        near = ", ".join(get_close_matches(value, shape.enum)) or "the API reference lists them"
        yield f"{at}: {value!r} is none of its {len(shape.enum)} values (near: {near})"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(_for_python(pattern), value):
        yield f"{at}: {value!r} does not match {pattern}"


def _for_python(pattern: str) -> str:
    for java, python in _JAVA.items():
        pattern = pattern.replace(java, python)
    return pattern
