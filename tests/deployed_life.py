"""Time for a deployed system: a market, schedules, events, training jobs, and an operator.

What is called, when and with what, the deployed rules and mappings say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest
from moto.events.models import EventPattern
from moto.sagemaker.models import sagemaker_backends
from moto.server import ThreadedMotoServer

import store.binance_futures
import store.binance_klines
from infra.cron import DailyCron
from rehearsal.binance.account import Contract, FuturesAccount
from rehearsal.binance.futures import FuturesServer
from rehearsal.binance.loopback import futures_server
from serving import data_downloader
from store.aws import REGION, client
from tests.aws_account import Training
from tests.aws_fakes import fake_aws
from tests.captured_calls import ACCOUNT_ID
from tests.deployed_system import STAGE, DeployedSystem, deployed_system
from tests.launch_world import state_change
from tests.manual_clock import ManualClock
from tests.moved_clock import moved

BTC = "BTCUSDT"
CANDLE = timedelta(minutes=5)
DOWNLOADED = timedelta(days=40)
"""Before the begin: for so long and a bit less the finest candles are kept."""
PREFIX = f"trading-system-{STAGE}-"


@dataclass
class Life:
    """A deployed system and Binance on the loopback, with one clock for all.

    Parameters
    ----------
    finest
        Candles of five minutes, through which the price goes.
    inbox
        Queue that subscribes to the operator's topic.
    url
        Where other processes find AWS.
    """

    system: DeployedSystem
    clock: ManualClock
    binance: FuturesServer
    finest: pd.DataFrame
    inbox: str
    url: str
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name, what SageMaker was asked for: moto keeps only a part of it."""

    def go(self, to: datetime) -> None:
        """Time passes; what is held at Binance meets every price on the way."""
        account = self.binance.account
        if account.holding(BTC).amount:
            held = self.finest.loc[pd.Timestamp(self.clock.now) : pd.Timestamp(to) - CANDLE]
            for opened, candle in zip(held.index, held.to_numpy(), strict=True):
                account.advance(milliseconds(opened + CANDLE / 2))
                account.candle(BTC, *(money(price) for price in candle[:4]))
        self.clock.now = to
        account.advance(milliseconds(to))
        account.jump(BTC, money(self.finest["open"].loc[pd.Timestamp(to)]))

    # What AWS does by itself

    def fire(self, rule: str) -> Any:
        """A schedule's time has come: what it names is called with what it says."""
        found = client("events").describe_rule(Name=PREFIX + rule)
        assert found["State"] == "ENABLED"
        assert due(found["ScheduleExpression"], self.clock.now), found["ScheduleExpression"]
        function, target = self._target(rule, found["Arn"])
        return self.system.call(function, json.loads(target["Input"]))

    def hear(self, rule: str, event: dict[str, Any]) -> None:
        """Something has happened, which the rule lets through."""
        found = client("events").describe_rule(Name=PREFIX + rule)
        assert EventPattern.load(found["EventPattern"]).matches_event(event)
        function, target = self._target(rule, found["Arn"])
        assert "Input" not in target
        self.system.call(function, event)

    def _target(self, rule: str, rule_arn: str) -> tuple[str, dict[str, Any]]:
        """What a rule calls, which it must be allowed to."""
        [target] = client("events").list_targets_by_rule(Rule=PREFIX + rule)["Targets"]
        name = target["Arn"].rpartition(":")[2]
        policy = json.loads(client("lambda").get_policy(FunctionName=name)["Policy"])
        callers = [each["Condition"]["ArnLike"]["AWS:SourceArn"] for each in policy["Statement"]]
        assert rule_arn in callers, f"{rule} may not call {name}"
        return name.removeprefix(PREFIX), target

    def call_started(self) -> list[tuple[str, Any, Any]]:
        """Call what Lambda is to call: functions that others invoked, and the one to which a
        queue's mapping hands messages. Returns name, event and answer of each.
        """
        started, self.system.started[:] = list(self.system.started), []
        return [
            (name.removeprefix(PREFIX), event, self.system.call(name.removeprefix(PREFIX), event))
            for name, event in started
        ]

    def train(self, name: str, folder: Path) -> dict[str, Any]:
        """Run a job's program to its end, as a process; returns the event that tells of it.

        Other than on SageMaker, the process is told the time, and where the store lies that
        stands for the App.
        """
        asked = self.jobs[name]
        entry, store_uri = asked["AlgorithmSpecification"], self.system.store
        assert entry["ContainerEntrypoint"][:2] == ["python", "-m"]
        now = ["-m", "tests.moved_clock", self.clock.now.isoformat()]
        here = {
            "Environment": asked["Environment"] | {"MLFLOW_TRACKING_URI": store_uri},
            "AlgorithmSpecification": {
                "ContainerEntrypoint": ["python", *now, *entry["ContainerEntrypoint"][2:]]
            },
        }
        training = Training(folder, asked | here, self.url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", self.url)
            training.start()
        assert training.wait() == 0, training.log
        training.end("Completed")
        job = sagemaker_backends[ACCOUNT_ID][REGION].training_jobs[name]
        job.training_end_time = f"{self.clock.now:%Y-%m-%dT%H:%M:%SZ}"
        event = state_change(name)
        event["detail"]["HyperParameters"] = asked["HyperParameters"]
        return event

    def told(self) -> list[str]:
        """Subjects of what the operator was told since this was asked last."""
        sqs, subjects = client("sqs"), []
        asked = {"QueueUrl": self.inbox, "MaxNumberOfMessages": 10}
        while found := sqs.receive_message(**asked).get("Messages"):
            for each in found:
                sqs.delete_message(QueueUrl=self.inbox, ReceiptHandle=each["ReceiptHandle"])
                subjects.append(json.loads(each["Body"])["Subject"])
        return subjects


@contextmanager
def deployed_life(folder: Path, hours: pd.DataFrame, begin: datetime) -> Iterator[Life]:
    """Deploy the system into an empty account, beside a market of these hours; time begins."""
    finest = in_five_minutes(hours[hours.index >= begin - DOWNLOADED])
    clock = ManualClock(begin)
    account = FuturesAccount({BTC: Contract(BTC)}, {BTC: Decimal(1), "BNBUSDT": Decimal(500)})
    account.now = milliseconds(begin)
    with (
        fake_aws(),
        reached_by_others() as url,
        futures_server(account, {(BTC, "1h"): hours, (BTC, "5m"): finest}) as binance,
        deployed_system(folder) as system,
        moved(clock),
        pytest.MonkeyPatch.context() as patch,
    ):
        connect_to(binance, patch)
        system.kept = ()  # processes that go on, as Lambda's do
        life = Life(system, clock, binance, finest, listen(system.outputs["TopicArn"]), url)

        def remember(params: dict[str, Any], **_: Any) -> None:
            life.jobs[params["TrainingJobName"]] = params

        asked = "provide-client-params.sagemaker.CreateTrainingJob"
        boto3.DEFAULT_SESSION.events.register(asked, remember)  # type: ignore[union-attr]
        life.go(begin)
        yield life


@contextmanager
def reached_by_others() -> Iterator[str]:
    """Let other processes reach this one's ``fake_aws`` at the address that is yielded."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def connect_to(binance: FuturesServer, patch: pytest.MonkeyPatch) -> None:
    """Let the real clients talk to the loopback, at its time."""
    public, private = store.binance_klines.connect, store.binance_futures.connect_futures

    def connect() -> Any:
        return binance.redirect(public())

    def connect_futures(*arguments: Any) -> Any:
        exchange = binance.redirect(private(*arguments))
        exchange.milliseconds = lambda: binance.account.now
        return exchange

    for module in (store.binance_klines, data_downloader):
        patch.setattr(module, "connect", connect)
    patch.setattr(store.binance_futures, "connect_futures", connect_futures)


def listen(topic: str) -> str:
    """A queue that hears what the operator is told; returns its address."""
    sqs = client("sqs")
    queue: str = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    named = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    endpoint = named["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=endpoint)
    return queue


def due(schedule: str, now: datetime) -> bool:
    """Whether a schedule of EventBridge is due at a moment, UTC."""
    return now in DailyCron(schedule).on(now.date())


def in_five_minutes(hours: pd.DataFrame) -> pd.DataFrame:
    """Candles that make up these: an hour goes from its open by low and high to its close."""
    prices = hours[["open", "low", "high", "close"]].to_numpy()
    path = np.array([np.interp(range(13), (0, 4, 8, 12), row) for row in prices]).round(1)
    opens, closes = path[:, :-1].ravel(), path[:, 1:].ravel()
    index = pd.date_range(
        hours.index[0], periods=len(opens), freq=CANDLE, name="timestamp", unit="ns"
    )
    extremes = {"high": np.maximum(opens, closes), "low": np.minimum(opens, closes)}
    return pd.DataFrame({"open": opens, **extremes, "close": closes, "volume": 1.0}, index)


def money(price: float) -> Decimal:
    """A price as the exchange has it."""
    return Decimal(repr(float(price)))


def milliseconds(moment: datetime) -> int:
    """As the exchange counts time."""
    return round(moment.timestamp() * 1000)
