"""What holds for the operator's settings, wherever they are kept."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from store.aws import client
from store.settings import Settings, SettingsFile, SsmSettings
from store.settings_sections import (
    SECTIONS,
    CostSettings,
    EnvironmentSettings,
    OpsSettings,
    RiskSettings,
)
from strategy.errors import ConfigError, StoreError
from tests.aws_fakes import fake_aws

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


def clear(ssm: Any, path: str) -> None:
    for name in parameters(ssm, path):
        ssm.delete_parameter(Name=name)


def parameters(ssm: Any, path: str = "/trading_system/") -> dict[str, tuple[str, str]]:
    """Type and value (an encrypted one as it is kept) of each."""
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True)
    found = [each for page in pages for each in page["Parameters"]]
    return {each["Name"]: (each["Type"], each["Value"]) for each in found}


def test_what_is_not_set_has_its_default(case: Case) -> None:
    cost = case.settings.cost()
    assert cost == CostSettings()
    assert cost.monthly_cost_limit == 10.0
    assert cost.spot_min_discount_perc == 0.4
    assert cost.max_runtime_hours == 6
    assert cost.max_wait_hours == 24
    assert cost.launch_window_hours == 8
    assert cost.spot_instance_type[0] == "ml.c5.xlarge"


def test_every_setting_can_be_set(case: Case) -> None:
    values: dict[str, Any] = {
        "monthly_cost_limit": 25.5,
        "spot_min_discount_perc": 0.6,
        "spot_instance_type": ["ml.m5.xlarge"],
        "max_runtime_hours": 2,
        "max_wait_hours": 3.5,
        "launch_window_hours": 4,
    }
    assert set(values) == set(CostSettings.model_fields)
    case.write(values)
    assert case.settings.cost() == CostSettings(
        monthly_cost_limit=25.5,
        spot_min_discount_perc=0.6,
        spot_instance_type=("ml.m5.xlarge",),
        max_runtime_hours=2.0,
        max_wait_hours=3.5,
        launch_window_hours=4.0,
    )


def test_a_change_is_seen_by_the_next_read(case: Case) -> None:
    case.write({"monthly_cost_limit": 1})
    assert case.settings.cost().monthly_cost_limit == 1.0
    case.write({"monthly_cost_limit": 2})
    assert case.settings.cost().monthly_cost_limit == 2.0


@pytest.mark.parametrize(
    "written",
    [
        ["c5.xlarge", "ml.m5.xlarge"],
        '["c5.xlarge", "m5.xlarge"]',
        "['c5.xlarge', 'm5.xlarge']",
        "c5.xlarge,m5.xlarge",
        " c5.xlarge , m5.xlarge, ",
    ],
)
def test_ec2_names_in_any_list_become_those_of_sagemaker(case: Case, written: Any) -> None:
    case.write({"spot_instance_type": written})
    assert case.settings.cost().spot_instance_type == ("ml.c5.xlarge", "ml.m5.xlarge")


def test_the_document_s_own_list_is_refused_for_the_two_that_do_not_train(case: Case) -> None:
    """c6i.large and c6a.2xlarge are EC2 types that SageMaker does not train on."""
    own = "['c6i.large', 'c5.xlarge', 'c6a.2xlarge', 'm6i.large', 'm5.xlarge']"
    case.write({"spot_instance_type": own})
    with pytest.raises(ConfigError) as raised:
        case.settings.cost()
    assert f"{case.prefix}spot_instance_type" in str(raised.value)
    assert "'c6i.large'" in str(raised.value)
    assert "'c6a.2xlarge'" in str(raised.value)
    assert "'c5.xlarge'" not in str(raised.value)


def test_the_default_instance_types_are_all_for_training(case: Case) -> None:
    default = CostSettings().spot_instance_type
    case.write({"spot_instance_type": list(default)})
    assert case.settings.cost().spot_instance_type == default


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("monthly_cost_limit", -0.01, ">= 0"),
        ("monthly_cost_limit", "ten", "number"),
        ("monthly_cost_limit", True, "number"),
        ("monthly_cost_limit", float("nan"), "finite"),
        ("monthly_cost_limit", float("inf"), "finite"),
        ("spot_min_discount_perc", 95, "<= 1"),
        ("spot_min_discount_perc", -0.1, ">= 0"),
        ("spot_instance_type", [], "at least 1"),
        ("spot_instance_type", ",", "at least 1"),
        ("spot_instance_type", ["xyz"], "'xyz'"),
        ("max_runtime_hours", 0, "> 0"),
        ("max_runtime_hours", 121, "<= 120"),
        ("max_wait_hours", 241, "<= 240"),
        ("launch_window_hours", 25, "<= 24"),
        ("launch_window_hours", 0, "> 0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(
    case: Case, key: str, value: Any, allowed: str
) -> None:
    case.write({key: value})
    with pytest.raises(ConfigError) as raised:
        case.settings.cost()
    assert f"{case.prefix}{key}" in str(raised.value)
    assert allowed in str(raised.value)


def test_a_wait_that_is_shorter_than_the_runtime_is_refused(case: Case) -> None:
    case.write({"max_runtime_hours": 25})
    with pytest.raises(ConfigError, match="max_wait_hours 24 lies below max_runtime_hours 25"):
        case.settings.cost()


def test_an_unknown_setting_is_refused_by_name(case: Case) -> None:
    case.write({"monthly_cost_limt": 20})
    with pytest.raises(ConfigError) as raised:
        case.settings.cost()
    assert f"{case.prefix}monthly_cost_limt: unknown key" in str(raised.value)


def test_all_that_is_wrong_is_told_at_once(case: Case) -> None:
    case.write({"monthly_cost_limit": -1, "launch_window_hours": 99})
    with pytest.raises(ConfigError, match=r"(?s)monthly_cost_limit.*launch_window_hours"):
        case.settings.cost()


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
    assert {key: _open(value) for key, value in read.items()} == environment


def _open(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


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


def told(error: BaseException) -> Iterator[str]:
    """All that a log or a debugger might show of an error, which has no other behind it."""
    assert error.__cause__ is error.__context__ is None
    yield "".join(traceback.format_exception(error))
    yield f"{error} {error!r} {error.args}"


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
    assert {name: _open(getattr(read, name)) for name in SECRETS} == SECRETS
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


def test_settings_do_not_change_once_read(case: Case) -> None:
    with pytest.raises(ValueError, match="frozen"):
        case.settings.cost().monthly_cost_limit = 1000.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON at line 1, column 2"),
        ('{"costs": {}}', "costs: unknown key"),
        ("[]", "valid dictionary"),
        ('{"cost": 3}', "cost: "),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"settings\.json: .*{says}"):
        SettingsFile(path).cost()


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        SettingsFile(tmp_path).cost()
    (tmp_path / "latin.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"latin\.json cannot be read"):
        SettingsFile(tmp_path / "latin.json").cost()


def test_no_malformed_file_shows_what_is_in_it(tmp_path: Path) -> None:
    path, secret = tmp_path / "settings.json", SECRETS["binance_api_key"]
    texts = [
        f'{{"binance_api_key": "{secret}" oops',
        f'{{"environment": "{secret}"}}',
        f'["{secret}"]',
    ]
    for content in (*(text.encode() for text in texts), secret.encode() + b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as raised:
            SettingsFile(path, variables={}).environment()
        assert not any(secret in text for text in told(raised.value))


def test_variables_of_the_environment_count_instead_of_the_file_s_secrets(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"environment": {"binance_api_key": "old", "telegram_token": "t"}}))
    variables = {
        "BINANCE_API_KEY": SECRETS["binance_api_key"] + "\n",
        "BINANCE_API_SECRET": SECRETS["binance_api_secret"],
        "TELEGRAM_TOKEN": "",
        "BINANCE_ENVIRONMENT": "live",
    }
    settings = SettingsFile(path, variables)
    read = settings.environment()
    expected = {**SECRETS, "telegram_token": "t"}
    assert {name: _open(getattr(read, name)) for name in SECRETS} == expected
    assert read.binance_environment == "demo"
    assert not any(secret in repr(settings) for secret in SECRETS.values())


def test_a_variable_that_counts_cannot_be_overruled_by_setting_the_file_s_key(
    tmp_path: Path,
) -> None:
    settings = SettingsFile(tmp_path / "settings.json", {"TELEGRAM_TOKEN": "1:a"})
    with pytest.raises(ConfigError, match="TELEGRAM_TOKEN"):
        settings.set("environment/telegram_token", "2:b")
    settings.set("environment/telegram_chat_id", "@ana")
    assert json.loads(settings.path.read_text()) == {"environment": {"telegram_chat_id": "@ana"}}


def test_the_process_s_own_variables_are_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SettingsFile(tmp_path / "settings.json")
    monkeypatch.setenv("TELEGRAM_TOKEN", "1:a")
    assert settings.environment().telegram_token.get_secret_value() == "1:a"


def test_a_file_that_was_set_is_its_owner_s_alone_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "var" / "settings.json"
    settings = SettingsFile(path, variables={})
    settings.set("environment/telegram_token", "1:a")
    settings.set("ops/emergency_stop", True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["settings.json"]
    assert json.loads(path.read_text()) == {
        "environment": {"telegram_token": "1:a"},
        "ops": {"emergency_stop": True},
    }


def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SettingsFile(tmp_path / "settings.json", variables={})
    settings.set("ops/emergency_stop", True)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"settings\.json cannot be written: No space left"):
        settings.set("ops/emergency_stop", False)
    assert settings.ops().emergency_stop
    assert [each.name for each in tmp_path.iterdir()] == ["settings.json"]
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"settings\.json cannot be written"):
        SettingsFile(tmp_path / "file" / "settings.json", {}).set("ops/emergency_stop", True)


SETTING = """
import sys
from pathlib import Path
from store.settings import SettingsFile

settings, key = SettingsFile(Path(sys.argv[1]), {}), sys.argv[2]
for number in range(1, 21):
    settings.set(f"risk/{key}", number / 1000 + 0.02)
"""


def test_processes_that_set_at_once_lose_no_change(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    SettingsFile(path, {}).set("risk/risk_exposition", 0.05)
    keys = ("risk_per_trade", "paper_capital")
    running = [subprocess.Popen([sys.executable, "-c", SETTING, str(path), key]) for key in keys]
    seen = []
    while any(process.poll() is None for process in running):
        seen.append(SettingsFile(path, {}).risk().risk_exposition)
    assert [process.wait() for process in running] == [0, 0]
    assert set(seen) == {0.05}
    assert SettingsFile(path, {}).risk() == RiskSettings(
        risk_per_trade=0.04, risk_exposition=0.05, paper_capital=0.04
    )


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
