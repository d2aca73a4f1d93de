"""The function that Lambda calls: what it answers, logs and wants to be given."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving import trading_bot
from serving.lambda_logs import logger, structured
from serving.trading_bot import Operator, deployed_bot, handler
from store.notifications import LogNotifier
from store.settings import SettingsFile
from strategy.errors import ConfigError, RetryError
from tests.bot_world import BEGIN, BTC, HOUR, STILL, BotWorld
from tests.launch_world import Told

EVENT = json.loads((Path(__file__).parents[1] / "events" / "tick.json").read_text())
CONTEXT = SimpleNamespace(
    function_name="trading_bot",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:ap-southeast-1:123456789012:function:trading_bot",
    aws_request_id="52fdfc07-2182-454f-963f-5f0f9a621d72",
)
TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5"
VARIABLES = ("BUCKET", "STATE_URI", "TOPIC_ARN", "MLFLOW_TRACKING_URI")


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> io.StringIO:
    """What the function and our packages write for CloudWatch."""
    written = io.StringIO()
    structured()
    for log in (logger, *(logging.getLogger(name) for name in ("serving", "store", "strategy"))):
        caplog.set_level(logging.INFO, log.name if isinstance(log, logging.Logger) else None)
        for each in log.handlers:
            monkeypatch.setattr(each, "stream", written)
    return written


def deploy(world: BotWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trading_bot, "deployed_bot", lambda: world.bot)


def test_its_answer_is_json_that_says_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    world = BotWorld(STILL, signals={0: 1})
    deploy(world, monkeypatch)
    answer = handler(EVENT, CONTEXT)
    assert json.loads(json.dumps(answer)) == answer
    assert answer == {
        "time": BEGIN.isoformat(),
        "bars": [f"{BTC} {HOUR} {BEGIN}"],
        "accounts": ["paper/BTCUSDT-1h-c0ffee"],
        "notices": [f"{BTC}: long opened"],
    }


def test_all_that_a_tick_logs_is_json_with_the_id_of_the_request(
    monkeypatch: pytest.MonkeyPatch, logs: io.StringIO
) -> None:
    world = BotWorld(STILL, (1000, 1001, 980, 985), STILL, signals={0: 1})
    deploy(world, monkeypatch)
    for _ in range(3):
        handler(EVENT, CONTEXT)
        world.clock.forward(hours=1)
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    said = [line["message"] for line in lines]
    assert "position opened" in said
    assert "trade closed" in said
    assert {line["function_request_id"] for line in lines} == {CONTEXT.aws_request_id}


def test_an_error_reaches_lambda_which_calls_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = BotWorld(STILL, signals={0: 1})
    world.market.faults["price"] = RetryError("Binance does not answer")
    deploy(world, monkeypatch)
    with pytest.raises(RetryError, match="Binance does not answer"):
        handler(EVENT, CONTEXT)
    world.market.faults.clear()
    assert handler(EVENT, CONTEXT)["notices"] == [f"{BTC}: long opened"]


@pytest.mark.parametrize("given", [(), VARIABLES[:1], VARIABLES[1:]])
def test_it_names_the_variables_that_are_not_set(
    given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "x" if name in given else "")
    deployed_bot.cache_clear()
    with pytest.raises(ConfigError) as raised:
        handler(EVENT, CONTEXT)
    for name in VARIABLES:
        assert (f"{name} (" in str(raised.value)) == (name not in given)


# Telling


def test_the_operator_is_told_by_the_topic_although_a_setting_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SettingsFile(tmp_path / "settings.json", {"TELEGRAM_TOKEN": TOKEN})
    settings.path.write_text('{"environment": {"binance_environment": "testnet"}}')
    topic = Told()
    Operator(settings, topic).send("Stopped", "all of it")
    assert topic == [("Stopped", "all of it")]
    assert "binance_environment" in caplog.text
    assert TOKEN not in caplog.text


def test_a_token_that_is_set_later_is_used_from_then_on(tmp_path: Path) -> None:
    settings = SettingsFile(tmp_path / "settings.json", {})
    operator = Operator(settings, LogNotifier(tmp_path / "told.log"))
    operator.send("first", "by the topic alone")
    settings.set("environment/telegram_token", TOKEN)  # and no chat, which is an error of its own
    with pytest.raises(Exception, match="telegram_chat_id"):
        operator.send("second", "by both")


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    variables: dict[str, Any] = {"TELEGRAM_TOKEN": TOKEN, "BINANCE_API_SECRET": "s3cr3t"}
    operator = Operator(SettingsFile(tmp_path / "settings.json", variables), Told())
    assert TOKEN not in repr(operator)
    assert "s3cr3t" not in repr(operator)
