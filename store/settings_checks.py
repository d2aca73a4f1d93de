"""Says what is wrong with settings, without showing what is secret."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from store.settings_sections import SECTIONS, EnvironmentSettings
from strategy.config_errors import describe
from strategy.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def known(name: str) -> tuple[str, str]:
    """Section and key of a setting's name, such as ``ops/emergency_stop``.

    Raises
    ------
    ConfigError
        There is no such setting; the message names the nearest.
    """
    section, _, key = name.partition("/")
    if section in SECTIONS and key in SECTIONS[section].model_fields:
        return section, key
    names = [f"{each}/{key}" for each, model in SECTIONS.items() for key in model.model_fields]
    raise ConfigError(f"setting {name!r} is unknown{_near(name, names) or ': ' + ', '.join(names)}")


def validated(model: type[M], values: Any, prefix: str) -> M:
    """The model of these values.

    Parameters
    ----------
    prefix
        What stands before a key where it is kept, for the message.

    Raises
    ------
    ConfigError
        All that is wrong, with what is allowed; no value of the environment's.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [prefix + _told(detail, model) for detail in error.errors()]
    raise ConfigError("; ".join(lines))  # not chained: pydantic's details hold the values


def _told(detail: Any, model: type[BaseModel]) -> str:
    if model is EnvironmentSettings or "environment" in detail["loc"]:
        detail = {**detail, "input": _Unshown()}  # who mistakes a key may have put a secret there
    said = describe(detail, model.model_json_schema())
    unknown = detail["type"] == "extra_forbidden"
    return said + _near(detail["loc"][-1], list(model.model_fields)) if unknown else said


class _Unshown:
    def __repr__(self) -> str:
        return "a value that is not shown"


def _near(name: str, names: list[str]) -> str:
    found = get_close_matches(name, names)
    return f" (near: {', '.join(found)})" if found else ""


def sound(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values but for those that are wrong by themselves, so that another can be changed."""
    faulty: set[Any] = set()
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        faulty = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
    return {key: value for key, value in values.items() if key not in faulty}


def opened(value: Any) -> Any:
    """The same, and of a secret what it holds."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value
