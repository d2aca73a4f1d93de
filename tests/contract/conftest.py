"""Settings in a file and in SSM, for the tests of what holds for both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.aws import client
from store.settings import SettingsFile, SsmSettings
from tests.aws_fakes import fake_aws
from tests.setting_cases import SECRETS, Case, clear


@pytest.fixture(scope="module")
def ssm() -> Iterator[Any]:
    with fake_aws():
        yield client("ssm")


@pytest.fixture(params=["file", "ssm"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param == "file":
        path = tmp_path / "settings.json"

        def to_file(section: str, values: dict[str, Any]) -> None:
            document = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps({**document, section: values}))

        yield Case(SettingsFile(path, variables={}), to_file, "cost.")
        return
    ssm = request.getfixturevalue("ssm")

    def to_ssm(section: str, values: dict[str, Any]) -> None:
        clear(ssm, f"/trading_system/{section}/")
        for key, value in values.items():
            name = f"/trading_system/{section}/{key}"
            text = value if isinstance(value, str) else json.dumps(value)
            kind = "SecureString" if key in SECRETS else "String"
            ssm.put_parameter(Name=name, Value=text, Type=kind, Overwrite=True)

    yield Case(SsmSettings(ssm), to_ssm, "/trading_system/cost/")
    clear(ssm, "/trading_system/")
