"""One interface over config, settings and state: how old what it says may be, and what it shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.campaign_requests import Campaign, Requests
from serving.config_service import MAX_AGE, ConfigService
from serving.launch_window import LaunchWindow
from store.config_file import read_config
from store.settings import SettingsFile
from store.settings_sections import SECTIONS
from strategy.errors import ConfigError, RetryError, StoreError
from tests.manual_clock import ManualClock
from tests.memory_state import MemoryState

SECRETS = {
    "BINANCE_API_KEY": "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv",
    "TELEGRAM_TOKEN": "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5",
}
REPOSITORY = Path(__file__).parents[2]


class Counting:
    """Another object, whose calls are counted, and fail as the test says."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.calls: Counter[str] = Counter()
        self.fault: Exception | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            if self.fault:
                raise self.fault
            return getattr(self.wrapped, name)(*arguments, **named)

        return call


class Nudges:
    """A queue that nobody reads."""

    def send(self, body: str) -> None:
        """Forget it."""


class Desk:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.path = folder / "settings.json"
        self.config = folder / "config.json"
        self.config.write_text((REPOSITORY / "config.json").read_text())
        self.settings = Counting(SettingsFile(self.path, SECRETS))
        self.state = Counting(MemoryState())
        self.service = ConfigService(str(self.config), self.settings, self.state, self.clock)

    def ask_for_a_campaign(self) -> None:
        campaign = Campaign(
            campaign_id="0a1b2c3d4e5f",
            asset="BTCUSDT",
            timeframe="1h",
            config_digest="c0nf",
            data_digest="da7a",
            code_digest="c0de",
            input_uri="campaigns/0a1b2c3d4e5f/input",
            checkpoint_uri="checkpoints",
            max_resume_attempts=2,
        )
        Requests(self.state, self.clock).ask(Nudges(), campaign, shards=1, requested_by="ana")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_every_section_of_the_settings_and_config_json_are_read_through_it(desk: Desk) -> None:
    for name, model in SECTIONS.items():
        assert isinstance(getattr(desk.service, name)(), model)
    assert desk.service.environment().binance_api_key.get_secret_value() in SECRETS.values()
    assert desk.service.config() == read_config(desk.config)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_read_again_only_once_it_is_too_old(desk: Desk, section: str) -> None:
    read = getattr(desk.service, section)
    read()
    desk.clock.forward(seconds=MAX_AGE.total_seconds() - 0.001)
    read()
    assert desk.settings.calls == {section: 1}
    desk.clock.forward(seconds=0.001)
    read()
    assert desk.settings.calls == {section: 2}
    desk.clock.forward(seconds=-1)  # the clock was set back: nobody knows how old it is
    read()
    assert desk.settings.calls == {section: 3}


def test_an_emergency_stop_by_another_is_seen_within_a_minute(desk: Desk) -> None:
    assert not desk.service.ops().emergency_stop
    SettingsFile(desk.path, {}).set("ops/emergency_stop", True)
    desk.clock.forward(seconds=60)
    assert desk.service.ops().emergency_stop


def test_how_old_it_may_be_can_be_chosen(desk: Desk) -> None:
    service = ConfigService(
        str(desk.config), desk.settings, desk.state, desk.clock, timedelta(seconds=5)
    )
    for _ in range(3):
        service.ops()
        desk.clock.forward(seconds=4)
    assert desk.settings.calls == {"ops": 2}


def test_what_takes_long_to_read_is_as_old_as_the_question(desk: Desk) -> None:
    class Slow:
        reads = 0

        def ops(self) -> int:
            desk.clock.forward(seconds=59)
            self.reads += 1
            return self.reads

    service = ConfigService("", Slow(), desk.state, desk.clock)  # type: ignore[arg-type]
    assert service.ops() == 1
    desk.clock.forward(seconds=1)
    assert service.ops() == 2


def test_a_change_through_it_counts_at_once(desk: Desk) -> None:
    assert desk.service.ops().master_trading_switch
    assert desk.service.risk().risk_per_trade == 0.01
    desk.service.set("ops/master_trading_switch", False)
    assert not desk.service.ops().master_trading_switch
    desk.service.risk()
    assert desk.settings.calls == {"ops": 2, "risk": 1, "set": 1}
    with pytest.raises(ConfigError, match="near: ops/emergency_stop"):
        desk.service.set("ops/emergency_stp", True)


@pytest.mark.parametrize("fault", [RetryError("throttled"), StoreError("denied")])
def test_what_cannot_be_read_again_is_an_error_and_not_the_value_of_before(
    desk: Desk, fault: Exception
) -> None:
    desk.service.ops()
    desk.clock.forward(seconds=60)
    desk.settings.fault = fault
    for _ in range(2):
        with pytest.raises(type(fault), match=str(fault)):
            desk.service.ops()
    desk.settings.fault = None
    assert desk.service.ops().master_trading_switch


def test_a_settings_fault_is_seen_when_it_is_read_again(desk: Desk) -> None:
    desk.service.risk()
    desk.path.write_text('{"risk": {"risk_per_trade": 0.5}}')
    desk.service.risk()
    desk.clock.forward(seconds=60)
    with pytest.raises(ConfigError, match=r"risk\.risk_per_trade"):
        desk.service.risk()


def test_config_json_is_read_again_once_it_is_too_old(desk: Desk) -> None:
    before = desk.service.config()
    document = json.loads(desk.config.read_text())
    document["gravedigger"]["min_trades"] += 1
    desk.config.write_text(json.dumps(document))
    assert desk.service.config() == before
    desk.clock.forward(seconds=60)
    assert desk.service.config().gravedigger.min_trades == before.gravedigger.min_trades + 1


def test_the_state_is_told_and_kept_as_long_as_the_rest(desk: Desk) -> None:
    assert desk.service.accounts() == {}
    assert desk.service.campaigns() == []
    assert desk.service.launch_window_closes_at() is None
    desk.state.put("accounts", "live", {"equity": "1000.50"}, expected=0)
    desk.state.put("accounts", "paper/btc-1", {"equity": "10000"}, expected=0)
    desk.ask_for_a_campaign()
    closes_at = LaunchWindow(desk.state, desk.clock).open(timedelta(hours=8))
    assert desk.service.accounts() == {}
    assert desk.service.campaigns() == []
    assert desk.service.launch_window_closes_at() is None
    desk.clock.forward(seconds=60)
    assert desk.service.accounts() == {
        "live": {"equity": "1000.50"},
        "paper/btc-1": {"equity": "10000"},
    }
    (campaign,) = desk.service.campaigns()
    assert campaign.market == "BTCUSDT-1h"
    assert desk.service.launch_window_closes_at() == closes_at


def test_the_document_is_json_and_says_everything(desk: Desk) -> None:
    desk.path.write_text('{"risk": {"risk_per_trade": 0.02, "risk_exposition": 0.03}}')
    desk.state.put("accounts", "live", {"equity": "1000.50"}, expected=0)
    desk.ask_for_a_campaign()
    LaunchWindow(desk.state, desk.clock).open(timedelta(hours=8))
    document = desk.service.document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["at"] == "2026-03-01T12:00:00+00:00"
    config = read_config(desk.config)
    assert document["config"] == {
        "uri": str(desk.config),
        "digest": config.digest,
        "values": config.model_dump(mode="json"),
    }
    shown = document["settings"]
    assert {name: set(section) for name, section in shown.items()} == {
        name: set(model.model_fields) for name, model in SECTIONS.items()
    }
    assert shown["risk"] == {
        "risk_per_trade": {"value": 0.02, "is_default": False},
        "risk_exposition": {"value": 0.03, "is_default": True},
        "paper_capital": {"value": 10_000.0, "is_default": True},
    }
    assert shown["ops"]["emergency_stop"] == {"value": False, "is_default": True}
    assert shown["cost"]["spot_instance_type"]["value"][0] == "ml.c5.xlarge"
    assert document["state"] == {
        "accounts": {"live": {"equity": "1000.50"}},
        "campaigns": [
            {
                "campaign_id": "0a1b2c3d4e5f",
                "market": "BTCUSDT-1h",
                "status": "waiting",
                "reason": "asked for",
                "requested_by": "ana",
                "requested_at": "2026-03-01T12:00:00+00:00",
            }
        ],
        "launch_window_closes_at": "2026-03-01T20:00:00+00:00",
    }


def test_of_secrets_the_document_says_whether_they_are_set(desk: Desk) -> None:
    document = desk.service.document()
    shown = document["settings"]["environment"]
    assert shown["binance_api_key"] == {"value": "set", "is_default": False}
    assert shown["telegram_token"] == {"value": "set", "is_default": False}
    assert shown["binance_api_secret"] == {"value": "not set", "is_default": True}
    for text in (json.dumps(document), repr(desk.service), str(document)):
        assert not any(secret in text for secret in SECRETS.values())


def test_what_must_be_put_right_hides_nothing_else(desk: Desk) -> None:
    desk.path.write_text('{"cost": {"monthly_cost_limit": -1}, "ops": {"emergency_stop": true}}')
    desk.config.write_text("{")
    desk.state.put("requests", "0a1b2c3d4e5f", {"unknown": 1}, expected=0)
    document = desk.service.document()
    assert "cost.monthly_cost_limit" in document["settings"]["cost"]["error"]
    assert "not valid JSON" in document["config"]["error"]
    assert "0a1b2c3d4e5f" in document["state"]["campaigns"]["error"]
    assert document["settings"]["ops"]["emergency_stop"]["value"] is True


def test_a_document_that_cannot_be_read_now_is_not_half_shown(desk: Desk) -> None:
    desk.settings.fault = RetryError("throttled")
    with pytest.raises(RetryError, match="throttled"):
        desk.service.document()
