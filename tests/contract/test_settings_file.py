"""What holds for settings in a file alone: its form, its owner, and the process's variables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from store.settings import SettingsFile
from store.settings_sections import RiskSettings
from strategy.errors import ConfigError, StoreError
from tests.setting_cases import SECRETS, opened, told


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
    assert {name: opened(getattr(read, name)) for name in SECRETS} == expected
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
