"""What holds when a setting is set, wherever it is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from store.settings_sections import (
    SECTIONS,
    CostSettings,
    EnvironmentSettings,
    OpsSettings,
    RiskSettings,
)
from strategy.errors import ConfigError
from tests.setting_cases import SECRETS, Case, opened, told


def test_a_setting_that_is_set_is_read_by_the_next(case: Case) -> None:
    case.settings.set("ops/emergency_stop", True)
    case.settings.set("ops/master_trading_switch", "False")
    case.settings.set("risk/risk_per_trade", "0.02")
    case.settings.set("cost/max_runtime_hours", 3)
    case.settings.set("cost/spot_instance_type", "c5.xlarge, m5.xlarge")
    case.settings.set("environment/telegram_chat_id", -100123)
    assert case.settings.ops() == OpsSettings(master_trading_switch=False, emergency_stop=True)
    assert case.settings.risk() == RiskSettings(risk_per_trade=0.02)
    assert case.settings.cost() == CostSettings(
        max_runtime_hours=3.0, spot_instance_type=("ml.c5.xlarge", "ml.m5.xlarge")
    )
    assert case.settings.environment() == EnvironmentSettings(telegram_chat_id="-100123")


def test_a_setting_can_be_set_again(case: Case) -> None:
    for value in (True, False, True):
        case.settings.set("ops/emergency_stop", value)
        assert case.settings.ops().emergency_stop is value


@pytest.mark.parametrize("form", [str, SecretStr])
def test_a_secret_can_be_set_and_taken_away(case: Case, form: Callable[[str], Any]) -> None:
    for name, secret in SECRETS.items():
        case.settings.set(f"environment/{name}", form(secret + "\n"))
    read = case.settings.environment()
    assert {name: opened(getattr(read, name)) for name in SECRETS} == SECRETS
    case.settings.set("environment/telegram_token", form(""))
    case.settings.set("environment/telegram_token", form(""))
    read = case.settings.environment()
    assert read.telegram_token.get_secret_value() == ""
    assert read.binance_api_key.get_secret_value() == SECRETS["binance_api_key"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("risk/risk_per_trade", 0.06, "<= 0.05"),
        ("risk/risk_per_trade", 0.04, "above risk_exposition 0.03"),
        ("risk/risk_exposition", 0.005, "risk_per_trade 0.01 lies above"),
        ("ops/emergency_stop", "on", "boolean"),
        ("ops/emergency_stp", True, "near: ops/emergency_stop"),
        ("op/emergency_stop", True, "near: ops/emergency_stop"),
        ("emergency_stop", True, "near: ops/emergency_stop"),
        ("ops", True, "ops/master_trading_switch"),
        ("/trading_system/ops/emergency_stop", True, "near: ops/emergency_stop"),
        ("cost/monthly_cost_limit", None, "number"),
        ("cost/spot_instance_type", "c6i.large", "does not train on 'c6i.large'"),
    ],
)
def test_what_is_wrong_is_not_set(case: Case, name: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        case.settings.set(name, value)
    assert says in str(raised.value)
    for section, model in SECTIONS.items():
        assert getattr(case.settings, section)() == model()


def test_a_secret_that_is_wrong_is_not_shown_when_it_is_set(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = SECRETS["binance_api_secret"]
    for value in (f"{secret} .", SecretStr(f"{secret} ."), [secret], {secret: 1}):
        with pytest.raises(ConfigError, match="binance_api_secret") as raised:
            case.settings.set("environment/binance_api_secret", value)
        assert not any(secret in text for text in told(raised.value))
    case.settings.set("environment/binance_api_secret", secret)
    assert secret not in caplog.text


def test_a_neighbour_that_is_wrong_is_no_obstacle_to_an_emergency_stop(case: Case) -> None:
    case.write({"master_trading_switch": "perhaps", "unknown": "1"}, "ops")
    case.settings.set("ops/emergency_stop", True)
    with pytest.raises(ConfigError, match="master_trading_switch"):
        case.settings.ops()
    case.write({"emergency_stop": "perhaps"}, "ops")
    case.settings.set("ops/emergency_stop", True)
    assert case.settings.ops().emergency_stop


def test_settings_that_contradict_each_other_can_be_put_right(case: Case) -> None:
    case.write({"risk_per_trade": 0.04}, "risk")
    case.settings.set("risk/risk_exposition", 0.05)
    assert case.settings.risk() == RiskSettings(risk_per_trade=0.04, risk_exposition=0.05)
