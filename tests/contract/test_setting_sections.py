"""What holds for the settings of every section, wherever they are kept."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from store.settings_sections import SECTIONS, EnvironmentSettings, OpsSettings, RiskSettings
from strategy.errors import ConfigError
from tests.setting_cases import SECRETS, Case, opened, told


def test_the_other_sections_have_their_defaults(case: Case) -> None:
    assert case.settings.risk() == RiskSettings(
        risk_per_trade=0.01, risk_exposition=0.03, paper_capital=10_000.0
    )
    assert case.settings.ops() == OpsSettings(master_trading_switch=True, emergency_stop=False)
    environment = case.settings.environment()
    assert environment.binance_environment == "demo"
    assert environment.github_repo == "git@github.com:tpompeu/cripto-trading-system.git"
    assert environment.telegram_chat_id == ""
    assert not any(getattr(environment, name).get_secret_value() for name in SECRETS)


def test_every_setting_of_the_other_sections_can_be_set(case: Case) -> None:
    risk = {"risk_per_trade": 0.02, "risk_exposition": 0.05, "paper_capital": 500}
    ops = {"master_trading_switch": False, "emergency_stop": True}
    environment = {
        "github_repo": "git@github.com:ana/trading.git",
        "binance_environment": "live",
        "telegram_chat_id": "@ana_trades",
        **SECRETS,
    }
    assert set(risk) == set(RiskSettings.model_fields)
    assert set(ops) == set(OpsSettings.model_fields)
    assert set(environment) == set(EnvironmentSettings.model_fields)
    case.write(risk, "risk")
    case.write(ops, "ops")
    case.write(environment, "environment")
    assert case.settings.risk().model_dump() == risk
    assert case.settings.ops().model_dump() == ops
    read = case.settings.environment().model_dump()
    assert {key: opened(value) for key, value in read.items()} == environment


@pytest.mark.parametrize(
    ("written", "read"),
    [("true", True), ("True", True), (" TRUE\n", True), ("false", False), ("False", False)],
)
def test_a_switch_is_text_in_any_case(case: Case, written: str, read: bool) -> None:
    case.write({"master_trading_switch": written, "emergency_stop": written}, "ops")
    assert case.settings.ops() == OpsSettings(master_trading_switch=read, emergency_stop=read)


@pytest.mark.parametrize("written", ["0.02", " 0.02\n", "2e-2"])
def test_a_number_may_be_text(case: Case, written: str) -> None:
    case.write({"risk_per_trade": written}, "risk")
    assert case.settings.risk().risk_per_trade == 0.02


@pytest.mark.parametrize("chat", ["-1001234567890", -1001234567890, " -1001234567890\n"])
def test_what_is_text_stays_text_though_it_looks_like_a_number(case: Case, chat: Any) -> None:
    case.write({"telegram_chat_id": chat, "telegram_token": "0123"}, "environment")
    environment = case.settings.environment()
    assert environment.telegram_chat_id == "-1001234567890"
    assert environment.telegram_token.get_secret_value() == "0123"


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("risk", "risk_per_trade", 0.0009, ">= 0.001 and <= 0.05"),
        ("risk", "risk_per_trade", 0.051, ">= 0.001 and <= 0.05"),
        ("risk", "risk_exposition", 0.0009, ">= 0.001 and <= 0.05"),
        ("risk", "risk_exposition", 0.051, ">= 0.001 and <= 0.05"),
        ("risk", "risk_exposition", "3 %", "number"),
        ("risk", "risk_per_trade", float("nan"), "finite"),
        ("risk", "paper_capital", 0, "> 0"),
        ("risk", "paper_capital", float("inf"), "finite"),
        ("ops", "master_trading_switch", "on", "boolean"),
        ("ops", "emergency_stop", "1", "boolean"),
        ("ops", "emergency_stop", 0, "boolean"),
        ("ops", "emergency_stop", "yes", "boolean"),
        ("environment", "binance_environment", "testnet", "'demo' or 'live'"),
        ("environment", "telegram_chat_id", "Ana's chat", "text matching"),
        ("environment", "telegram_token", "two words", "without spaces"),
        ("environment", "binance_api_key", "a\nb", "without spaces"),
    ],
)
def test_no_section_takes_a_value_out_of_range(
    case: Case, section: str, key: str, value: Any, allowed: str
) -> None:
    case.write({key: value}, section)
    with pytest.raises(ConfigError) as raised:
        getattr(case.settings, section)()
    assert f"{case.name(section, key)}: " in str(raised.value)
    assert allowed in str(raised.value)


@pytest.mark.parametrize("value", [0.001, 0.05])
def test_the_bounds_of_a_risk_are_allowed(case: Case, value: float) -> None:
    case.write({"risk_per_trade": value, "risk_exposition": value}, "risk")
    assert case.settings.risk().risk_per_trade == case.settings.risk().risk_exposition == value


def test_a_trade_may_not_risk_more_than_all_together(case: Case) -> None:
    case.write({"risk_per_trade": 0.04}, "risk")
    with pytest.raises(ConfigError, match=r"risk_per_trade 0\.04 .*above risk_exposition 0\.03"):
        case.settings.risk()


@pytest.mark.parametrize("section", ["cost", "risk", "ops", "environment"])
def test_an_unknown_name_of_any_section_is_refused_with_the_nearest(
    case: Case, section: str
) -> None:
    right = next(iter(SECTIONS[section].model_fields))
    case.write({right[:-1]: "1"}, section)
    with pytest.raises(ConfigError) as raised:
        getattr(case.settings, section)()
    assert f"{case.name(section, right[:-1])}: unknown" in str(raised.value)
    assert f"near: {right}" in str(raised.value)


def test_a_fault_in_one_section_hides_no_other(case: Case) -> None:
    case.write({"monthly_cost_limit": -1})
    case.write({"emergency_stop": True}, "ops")
    assert case.settings.ops().emergency_stop
    with pytest.raises(ConfigError, match="monthly_cost_limit"):
        case.settings.cost()


@pytest.mark.parametrize(
    "wrong",
    [
        {"binance_environment": "testnet"},
        {"telegram_chat_id": SECRETS["telegram_token"]},
        {"telegram_token": SECRETS["telegram_token"] + " \t."},
        {"binance_api_sceret": SECRETS["binance_api_secret"]},
        {"binance_environment": SECRETS["binance_api_key"], "unknown": 7},
    ],
)
def test_no_secret_is_shown_though_a_neighbour_is_wrong(
    case: Case, wrong: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    case.write(SECRETS | wrong, "environment")
    caplog.clear()  # of what was logged in writing
    with pytest.raises(ConfigError) as raised:
        case.settings.environment()
    for text in (*told(raised.value), caplog.text, repr(case.settings)):
        assert not any(secret in text for secret in SECRETS.values())


def test_secrets_that_are_right_are_not_shown_either(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    case.write(SECRETS, "environment")
    caplog.clear()
    environment = case.settings.environment()
    logging.getLogger("trading").error("%s %r", environment, environment.model_dump())
    for text in (f"{environment!r} {environment}", environment.model_dump_json(), caplog.text):
        assert not any(secret in text for secret in SECRETS.values())
