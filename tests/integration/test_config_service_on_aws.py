"""The function that shows the effective configuration, on moto; and that it keeps secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import config_service
from serving.config_service import handler
from serving.lambda_logs import logger, structured
from serving.stack import local_stack
from store.aws import client
from store.prices import LOCAL
from store.settings import SsmSettings
from store.state import open_state
from strategy.errors import ConfigError
from tests.aws_account import BUCKET, CONTEXT, TABLE
from tests.aws_fakes import create_state_table, fake_aws

ROOT = Path(__file__).parents[2]
EVENT = json.loads((ROOT / "tests" / "events" / "config_service.json").read_text())
SECRETS = {
    "binance_api_key": "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv",
    "binance_api_secret": "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP",
    "telegram_token": "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5",
}


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with fake_aws():
        s3 = client("s3")
        place = {"LocationConstraint": s3.meta.region_name}
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        s3.put_object(Bucket=BUCKET, Key="config.json", Body=(ROOT / "config.json").read_bytes())
        create_state_table(client("dynamodb"), TABLE)
        monkeypatch.setenv("BUCKET", BUCKET)
        monkeypatch.setenv("STATE_URI", f"dynamodb://{TABLE}")
        config_service.deployed_service.cache_clear()
        yield client("ssm")
    config_service.deployed_service.cache_clear()


@pytest.fixture
def lambda_logs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> io.StringIO:
    """What the function and our packages write for CloudWatch, from level DEBUG on."""
    written = io.StringIO()
    structured()
    packages = ("serving", "store", "strategy")
    for name in packages:
        caplog.set_level(logging.DEBUG, name)
    for log in (logger, *(logging.getLogger(name) for name in packages)):
        for each in log.handlers:
            monkeypatch.setattr(each, "stream", written)
    return written


def test_deployed_it_shows_all_three(ssm: Any) -> None:
    SsmSettings(ssm).set("ops/emergency_stop", True)
    open_state(f"dynamodb://{TABLE}").put("accounts", "live", {"equity": "1000"}, expected=0)
    shown = handler(EVENT, CONTEXT)
    assert json.loads(json.dumps(shown)) == shown
    assert shown["config"]["uri"] == f"s3://{BUCKET}/config.json"
    assert shown["config"]["values"]["asset_timeframes"] == {"BTCUSDT": ["1h"]}
    assert shown["settings"]["ops"]["emergency_stop"] == {"value": True, "is_default": False}
    assert shown["state"]["accounts"] == {"live": {"equity": "1000"}}


def test_deployed_it_shows_a_change_at_once(ssm: Any) -> None:
    for value in (True, False):
        SsmSettings(ssm).set("ops/emergency_stop", value)
        shown = handler(EVENT, CONTEXT)
        assert shown["settings"]["ops"]["emergency_stop"]["value"] is value


@pytest.mark.parametrize("neighbour", ["demo", "testnet"])
def test_no_secret_leaves_it(
    ssm: Any,
    neighbour: str,
    caplog: pytest.LogCaptureFixture,
    lambda_logs: io.StringIO,
) -> None:
    """Though one beside it is out of range, and everything logs all that it can."""
    for name, secret in SECRETS.items():
        SsmSettings(ssm).set(f"environment/{name}", secret)
    put = {"Name": "/trading_system/environment/binance_environment", "Type": "String"}
    ssm.put_parameter(**put, Value=neighbour)
    caplog.clear()
    logging.getLogger("botocore").setLevel(logging.NOTSET)  # as in a new process
    caplog.set_level(logging.DEBUG)
    shown = handler(EVENT, CONTEXT)["settings"]["environment"]
    if neighbour == "demo":
        assert {name: shown[name]["value"] for name in SECRETS} == dict.fromkeys(SECRETS, "set")
    else:
        assert "binance_environment" in shown["error"]
    assert '"message":"effective configuration shown"' in lambda_logs.getvalue()
    everything = json.dumps(shown) + caplog.text + lambda_logs.getvalue()
    assert not [name for name, secret in SECRETS.items() if secret in everything]


def test_what_is_not_set_is_named_at_once(ssm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "")
    monkeypatch.delenv("STATE_URI")
    with pytest.raises(ConfigError, match=r"BUCKET \(.*STATE_URI \("):
        handler(EVENT, CONTEXT)


def test_the_settings_of_this_machine_are_its_file_s_but_for_where_jobs_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name.upper(), raising=False)
    settings = local_stack(tmp_path, "sqlite://").settings
    settings.set("risk/risk_per_trade", 0.02)
    settings.set("ops/emergency_stop", True)
    settings.set("cost/max_runtime_hours", 2)
    settings.set("environment/telegram_token", SECRETS["telegram_token"])
    assert settings.risk().risk_per_trade == 0.02
    assert settings.ops().emergency_stop
    assert settings.cost().max_runtime_hours == 2.0
    assert settings.cost().spot_instance_type == (LOCAL,)
    token = settings.environment().telegram_token
    assert token.get_secret_value() == SECRETS["telegram_token"]
    assert set(json.loads((tmp_path / "settings.json").read_text())) == {
        "risk",
        "ops",
        "cost",
        "environment",
    }
