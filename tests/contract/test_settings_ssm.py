"""What holds for settings in SSM alone: encryption, pages, rights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from store.settings import SsmSettings
from store.settings_sections import SECTIONS, CostSettings
from strategy.errors import ConfigError, StoreError
from tests.setting_cases import SECRETS, clear, parameters


def test_secrets_are_kept_encrypted_in_ssm_and_nothing_else_is(ssm: Any) -> None:
    settings = SsmSettings(ssm)
    try:
        for name, secret in SECRETS.items():
            settings.set(f"environment/{name}", secret)
        settings.set("environment/binance_environment", "live")
        settings.set("ops/emergency_stop", True)
        settings.set("risk/risk_per_trade", 0.02)
        settings.set("cost/spot_instance_type", ["c5.xlarge"])
        kept = parameters(ssm)
    finally:
        clear(ssm, "/trading_system/")
    for name, secret in SECRETS.items():
        kind, value = kept.pop(f"/trading_system/environment/{name}")
        assert kind == "SecureString"
        assert value != secret
    assert kept == {
        "/trading_system/environment/binance_environment": ("String", "live"),
        "/trading_system/ops/emergency_stop": ("String", "true"),
        "/trading_system/risk/risk_per_trade": ("String", "0.02"),
        "/trading_system/cost/spot_instance_type": ("String", '["ml.c5.xlarge"]'),
    }


def test_only_the_environment_is_decrypted(ssm: Any) -> None:
    asked: list[tuple[str, bool]] = []

    class Listens:
        def get_paginator(self, operation: str) -> Any:
            return self

        def paginate(self, **arguments: Any) -> list[Any]:
            asked.append((arguments["Path"], arguments["WithDecryption"]))
            return []

    for section in SECTIONS:
        getattr(SsmSettings(Listens()), section)()
    assert asked == [
        (f"/trading_system/{section}/", section == "environment") for section in SECTIONS
    ]


def test_parameters_beyond_a_page_are_read(ssm: Any) -> None:
    """SSM gives ten a page."""
    names = [f"/trading_system/cost/unknown_{number:02d}" for number in range(12)]
    for name in names:
        ssm.put_parameter(Name=name, Value="1", Type="String")
    try:
        with pytest.raises(ConfigError) as raised:
            SsmSettings(ssm).cost()
    finally:
        ssm.delete_parameters(Names=names[:10])
        ssm.delete_parameters(Names=names[10:])
    assert all(name in str(raised.value) for name in names)


def test_parameters_of_other_sections_do_not_matter(ssm: Any) -> None:
    names = ["/trading_system/risk/unknown", "/trading_system/cost_of_something"]
    for name in names:
        ssm.put_parameter(Name=name, Value="1", Type="String")
    try:
        assert SsmSettings(ssm).cost() == CostSettings()
    finally:
        ssm.delete_parameters(Names=names)


def test_parameters_that_may_not_be_read_are_an_error_that_says_so() -> None:
    class Refuses:
        def get_paginator(self, operation: str) -> Any:
            return self

        def paginate(self, **arguments: Any) -> Iterator[Any]:
            error = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
            raise ClientError(error, "GetParametersByPath")
            yield

    with pytest.raises(StoreError, match="Allow GetParametersByPath"):
        SsmSettings(Refuses()).cost()


def test_importing_the_settings_reads_no_service_model() -> None:
    """It takes a tenth of a second, which a Lambda function should not wait for."""
    code = (
        "import store.settings, store.settings_sections as s; s.CostSettings(); "
        "print(s.training_instance_types.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
