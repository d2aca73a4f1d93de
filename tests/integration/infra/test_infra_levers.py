"""The operator's settings as the templates declare them: the code's own defaults and ranges."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from infra.templates import defaults, resources
from store.settings import ROOT
from store.settings_sections import SECRETS, SECTIONS


def levers() -> dict[str, Mapping[str, Any]]:
    return {
        each["Properties"]["Name"].removeprefix(f"{ROOT}/"): each["Properties"]
        for _, each in resources("parameters", "AWS::SSM::Parameter")
    }


UNSET = {f"environment/{name}" for name in SECRETS} | {"environment/telegram_chat_id"}


def test_every_lever_is_there_with_the_codes_own_default() -> None:
    known = {
        f"{section}/{key}" for section, model in SECTIONS.items() for key in model.model_fields
    }
    assert set(levers()) == known - UNSET
    for name, lever in levers().items():
        section, _, key = name.partition("/")
        value = lever["Value"]
        text = defaults("parameters")[value["Ref"]] if isinstance(value, dict) else value
        assert getattr(SECTIONS[section].model_validate({key: text}), key) == getattr(
            SECTIONS[section](), key
        ), name
        assert lever["Type"] == "String"
        assert re.fullmatch(lever["AllowedPattern"], text), name


IN_RANGE: Mapping[str, list[Any]] = {
    "cost/monthly_cost_limit": [0.0, 3.5, 10.0, 250.0],
    "cost/spot_min_discount_perc": [0.0, 0.4, 0.95, 1.0],
    "cost/spot_instance_type": [["ml.c5.xlarge"], ["ml.m5.large", "ml.c6i.xlarge"]],
    "cost/max_runtime_hours": [0.5, 1.0, 6.0, 12.25, 99.5, 120.0],
    "cost/max_wait_hours": [6.5, 24.0, 100.0, 199.9, 239.5, 240.0],
    "cost/launch_window_hours": [0.25, 1.0, 8.0, 10.5, 23.9, 24.0],
    "risk/risk_per_trade": [0.001, 0.0055, 0.01, 0.03],
    "risk/risk_exposition": [0.01, 0.049, 0.05],
    "risk/paper_capital": [0.5, 1000.0, 10000.0],
    "ops/master_trading_switch": [True, False],
    "ops/emergency_stop": [True, False],
    "environment/github_repo": ["git@github.com:owner/name.git"],
    "environment/binance_environment": ["demo", "live"],
}
OUT_OF_RANGE: Mapping[str, list[str]] = {
    "cost/monthly_cost_limit": ["-1", "ten"],
    "cost/spot_min_discount_perc": ["1.1", "-0.1", "95"],
    "cost/max_runtime_hours": ["0", "0.0", "120.5", "121", "1000"],
    "cost/max_wait_hours": ["0", "240.5", "241", "300"],
    "cost/launch_window_hours": ["0", "24.5", "25", "100"],
    "risk/risk_per_trade": ["0.0009", "0.051", "0.06", "0.1", "1", "0"],
    "risk/risk_exposition": ["0.0009", "0.051", "0.5"],
    "risk/paper_capital": ["0", "0.0", "-5"],
    "ops/master_trading_switch": ["on", "1", "True ", ""],
    "ops/emergency_stop": ["yes"],
    "environment/binance_environment": ["testnet", ""],
}


@pytest.mark.parametrize("name", IN_RANGE)
def test_a_lever_takes_what_the_code_writes_and_the_code_takes_what_it_allows(name: str) -> None:
    section, _, key = name.partition("/")
    pattern = levers()[name]["AllowedPattern"]
    for value in IN_RANGE[name]:
        written = value if isinstance(value, str) else json.dumps(value)  # as SsmSettings.set
        assert re.fullmatch(pattern, written), written
        longest = {"max_wait_hours": "240"} if key == "max_runtime_hours" else {}
        SECTIONS[section].model_validate({key: written} | longest)


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_a_lever_refuses_what_is_out_of_its_range(name: str) -> None:
    pattern = levers()[name]["AllowedPattern"]
    assert [text for text in OUT_OF_RANGE[name] if re.fullmatch(pattern, text)] == []
