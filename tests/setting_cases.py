"""The operator's settings under test, and his hand."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pydantic import SecretStr

from store.settings import Settings

SECRETS = {
    "binance_api_key": "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv",
    "binance_api_secret": "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP",
    "telegram_token": "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5",
}


class Case(NamedTuple):
    """Settings under test, and the operator's hand."""

    settings: Settings
    hand: Callable[[str, dict[str, Any]], None]
    """Sets these keys of a section, and no others of it."""
    prefix: str
    """How a key of ``cost`` is named there."""

    def write(self, values: dict[str, Any], section: str = "cost") -> None:
        self.hand(section, values)

    def name(self, section: str, key: str) -> str:
        """How an error names a setting."""
        return self.prefix.replace("cost", section) + key


def clear(ssm: Any, path: str) -> None:
    for name in parameters(ssm, path):
        ssm.delete_parameter(Name=name)


def parameters(ssm: Any, path: str = "/trading_system/") -> dict[str, tuple[str, str]]:
    """Type and value (an encrypted one as it is kept) of each."""
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True)
    found = [each for page in pages for each in page["Parameters"]]
    return {each["Name"]: (each["Type"], each["Value"]) for each in found}


def opened(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def told(error: BaseException) -> Iterator[str]:
    """All that a log or a debugger might show of an error, which has no other behind it."""
    assert error.__cause__ is error.__context__ is None
    yield "".join(traceback.format_exception(error))
    yield f"{error} {error!r} {error.args}"
