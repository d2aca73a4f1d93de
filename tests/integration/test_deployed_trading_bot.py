"""The bot as it is deployed: real registry, the parts on AWS, a real client of the exchange; and
in a process of its own, without the packages that its layer does not have.
"""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import store.binance_futures
import store.binance_market
import store.telegram
from registry.bundle import StrategyBundle
from registry.connection import connect, ensure_experiment, ensure_store
from registry.lifecycle import Lifecycle, Stage
from registry.registration import register
from rehearsal.binance.futures import API_KEY, API_SECRET, FuturesServer
from rehearsal.binance.loopback import futures_server, one_market
from serving import trading_bot
from serving.lambda_logs import logger, structured
from serving.trading.positions import LIVE, PARTITION
from serving.trading_bot import deployed_bot, handler
from store.aws import client
from store.market import ReplayMarket
from store.settings import SsmSettings
from store.state import open_state
from strategy.errors import ConfigError, TradingSystemError
from tests.aws_fakes import create_state_table, fake_aws
from tests.manual_clock import ManualClock
from tests.strategy_bundles import random_candles, trained_bundle
from tests.telegram_server import CHAT, TOKEN, TelegramServer, telegram_server

ROOT = Path(__file__).parents[2]
MODEL = "BTCUSDT-1h"
EVENT = json.loads((ROOT / "tests" / "events" / "tick.json").read_text())
CONTEXT = SimpleNamespace(
    function_name="trading_bot",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:ap-southeast-1:123456789012:function:trading_bot",
    aws_request_id="52fdfc07-2182-454f-963f-5f0f9a621d72",
)
CANDLES = random_candles(1000)
BUCKET, TABLE = "trading", "state"
WRONG_KEY, SECRET = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP"


@dataclass(frozen=True)
class Registered:
    """A registry with the same strategy in Production (version 1) and, another, in Staging (2).

    Parameters
    ----------
    end
        Close of a bar at which it buys or sells.
    """

    folder: Path
    uri: str
    bundle: StrategyBundle
    end: pd.Timestamp
    signal: float


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    ensure_store(uri)
    mlflow = connect(uri)
    experiment = ensure_experiment(mlflow, MODEL, folder / "artifacts")
    bundle = trained_bundle(CANDLES)
    life = Lifecycle(mlflow, MODEL, lambda: 0)
    for each, stages in (
        (bundle, [Stage.STAGING, Stage.PRODUCTION]),
        (replace(bundle, strategy_id=f"{MODEL}-other"), [Stage.STAGING]),
    ):
        number = register(
            mlflow,
            mlflow.create_run(experiment).info.run_id,
            each,
            model_name=MODEL,
            input_example=CANDLES.tail(3),
            description="for a test",
            tags={"synthetic": "false"},
        )
        for stage in stages:
            life.move(number, stage, who="a test", why="to trade")
    signals = bundle.signals(CANDLES)["signal"].dropna()
    last = signals[signals != 0].index[-1]
    return Registered(folder, uri, bundle, last + pd.Timedelta("1h"), signals[last])


# In a process of its own

ALONE = """
import json, sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "matplotlib", "shap", "pyarrow"):
            raise ModuleNotFoundError(f"{name} is not in the layer", name=name)

sys.meta_path.insert(0, Absent())

import pandas as pd
from registry.connection import connect
from serving.trading.bot import TradingBot
from serving.trading.decisions import decide
from serving.trading.roster import Roster
from store.config_file import read_config
from store.market import ReplayMarket
from store.notifications import LogNotifier
from store.settings import SettingsFile
from store.sqlite_state import SqliteState

folder, uri, now = Path(sys.argv[1]), sys.argv[2], pd.Timestamp(sys.argv[3]).to_pydatetime()
candles = pd.read_csv(folder / "candles.csv", index_col="timestamp", parse_dates=True)
clock = lambda: now
market = ReplayMarket({("BTCUSDT", "1h"): candles}, clock, synthetic=True)
roster = Roster(lambda: connect(uri), 12, clock)
state = SqliteState(folder / "state.db", clock)
bot = TradingBot(
    config=read_config(Path("config.json")),
    settings=SettingsFile(folder / "settings.json", {}),
    state=state,
    market=market,
    roster=roster,
    notifier=LogNotifier(folder / "told.log", clock),
    clock=clock,
    open_live=lambda: None,
)
try:
    bot.tick()
except Exception as error:
    failed = str(error)
versions = roster.read(["BTCUSDT-1h"], synthetic_market=True)
[staged] = [each for each in versions if each.book == "paper"]
decision = decide(staged.bundle, market.closed("BTCUSDT", "1h", staged.bundle.required_history))
account = state.get("accounts", f"paper/{staged.strategy_id}").value
status = Path("/proc/self/status").read_text().split()
print(json.dumps({
    "signal": decision.signal,
    "sides": {symbol: held["side"] for symbol, held in account["positions"].items()},
    "megabytes": int(status[status.index("VmHWM:") + 1]) / 1024,
    "absent": sorted({"numba", "matplotlib", "shap", "pyarrow"} & set(sys.modules)),
    "failed": failed,
}))
"""


def test_without_what_its_layer_lacks_it_closes_a_bar_and_enters(
    registered: Registered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CANDLES[CANDLES.index < registered.end].to_csv(tmp_path / "candles.csv")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path), registered.uri, registered.end.isoformat()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\nthe bot's process: signal {found['signal']}, {found['megabytes']:.0f} MB")
    assert found["signal"] == registered.signal
    assert found["sides"] == {"BTCUSDT": registered.signal}
    assert found["absent"] == []
    assert found["megabytes"] <= 400


# On AWS


@dataclass
class Deployed:
    """The function on AWS, with an exchange and Telegram on the loopback."""

    ssm: SsmSettings
    server: FuturesServer
    telegram: TelegramServer
    inbox: Callable[[], str]
    clock: ManualClock
    written: io.StringIO

    def tick(self) -> dict[str, Any]:
        return handler(EVENT, CONTEXT)


@pytest.fixture
def deployed(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Deployed]:
    clock = ManualClock(registered.end.to_pydatetime())
    price = f"{CANDLES['open'][registered.end]:.1f}"
    with fake_aws(), futures_server(one_market(price)) as server, telegram_server() as telegram:
        s3, sns, sqs = client("s3"), client("sns"), client("sqs")
        place = {"LocationConstraint": s3.meta.region_name}
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        s3.put_object(Bucket=BUCKET, Key="config.json", Body=(ROOT / "config.json").read_bytes())
        create_state_table(client("dynamodb"), TABLE)
        arn = sns.create_topic(Name="operator")["TopicArn"]
        queue = sqs.create_queue(QueueName="inbox")["QueueUrl"]
        named = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=named["Attributes"]["QueueArn"])
        for name, value in {
            "BUCKET": BUCKET,
            "STATE_URI": f"dynamodb://{TABLE}",
            "TOPIC_ARN": arn,
            "MLFLOW_TRACKING_URI": registered.uri,
        }.items():
            monkeypatch.setenv(name, value)

        def inbox() -> str:
            found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
            return json.dumps([message["Body"] for message in found.get("Messages", [])])

        def connected(key: str, secret: str, environment: str) -> Any:
            exchange = server.redirect(real(key, secret, environment))
            exchange.milliseconds = lambda: server.account.now
            return exchange

        real = store.binance_futures.connect_futures
        server.account.now = round(clock().timestamp() * 1000)
        monkeypatch.setattr(store.binance_futures, "connect_futures", connected)
        monkeypatch.setattr(
            store.binance_market,
            "BinanceMarket",
            lambda exchange, at, gaps: ReplayMarket({("BTCUSDT", "1h"): CANDLES}, at),
        )
        monkeypatch.setattr(trading_bot, "utc_now", clock)
        monkeypatch.setattr(
            store.telegram,
            "TelegramNotifier",
            lambda token, chat: telegram.notifier(token.get_secret_value(), chat),
        )
        settings = SsmSettings(client("ssm"))
        for name, value in {
            "binance_api_secret": SECRET,
            "telegram_token": TOKEN,
            "telegram_chat_id": CHAT,
        }.items():
            settings.set(f"environment/{name}", value)
        deployed_bot.cache_clear()
        yield Deployed(settings, server, telegram, inbox, clock, logged(monkeypatch, caplog))
    deployed_bot.cache_clear()


def logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> io.StringIO:
    """What the function and our packages write for CloudWatch; all others log what they can."""
    written = io.StringIO()
    structured()
    caplog.set_level(logging.DEBUG)
    for log in (logger, *(logging.getLogger(name) for name in ("serving", "store", "strategy"))):
        caplog.set_level(logging.DEBUG, log.name if isinstance(log, logging.Logger) else None)
        for each in log.handlers:
            monkeypatch.setattr(each, "stream", written)
    return written


def items(table: Any) -> str:
    """All that the state table holds."""
    return json.dumps(table.scan(TableName=TABLE)["Items"])


def test_with_a_key_that_may_not_trade_paper_goes_on_and_no_secret_is_told(
    deployed: Deployed, registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    deployed.ssm.set("environment/binance_api_key", WRONG_KEY)
    with pytest.raises(ConfigError) as raised:
        deployed.tick()
    state = open_state(f"dynamodb://{TABLE}")
    paper = state.get(PARTITION, f"paper/{MODEL}-other")
    assert paper is not None
    assert paper.value["positions"]["BTCUSDT"]["side"] == registered.signal
    told = deployed.inbox() + "".join(deployed.telegram.texts)
    assert told.count("Trading bot: ConfigError") == 2
    everything = (
        f"{raised.value!r}{told}{caplog.text}{deployed.written.getvalue()}"
        f"{items(client('dynamodb'))}"
    )
    assert CONTEXT.aws_request_id in deployed.written.getvalue()
    for secret in (WRONG_KEY, SECRET, TOKEN, *deployed.server.signatures()):
        assert secret not in everything

    # Put right, it is used by the next tick of the same process.
    deployed.ssm.set("environment/binance_api_key", API_KEY)
    deployed.ssm.set("environment/binance_api_secret", API_SECRET)
    deployed.clock.forward(minutes=5)
    deployed.server.account.now += 300_000
    answer = deployed.tick()
    assert LIVE in answer["accounts"]
    live = state.get(PARTITION, LIVE)
    assert live is not None
    assert registered.bundle.strategy_id in live.value["decided"]
    assert API_SECRET not in json.dumps(answer) + caplog.text + deployed.written.getvalue()


def test_a_wrong_setting_keeps_neither_positions_from_management_nor_the_operator_from_hearing(
    deployed: Deployed,
) -> None:
    client("ssm").put_parameter(
        Name="/trading_system/environment/binance_environment", Value="testnet", Type="String"
    )
    with pytest.raises(TradingSystemError, match="binance_environment"):
        deployed.tick()
    paper = open_state(f"dynamodb://{TABLE}").get(PARTITION, f"paper/{MODEL}-other")
    assert paper is not None
    assert paper.value["positions"]
    assert "Trading bot: ConfigError" in deployed.inbox()
