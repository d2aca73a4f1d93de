"""Time for a deployed system: a market, schedules, events, training jobs, and an operator.

What is called, when and with what, the deployed rules and mappings say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import ccxt
import pandas as pd
import pytest
from moto.sagemaker.models import sagemaker_backends

from rehearsal.binance.account import Contract, FuturesAccount
from rehearsal.binance.clients import Redirect, redirected
from rehearsal.binance.futures import FuturesServer
from rehearsal.binance.loopback import futures_server
from rehearsal.clock import moved
from rehearsal.event_rules import EventRules
from rehearsal.imitated_aws import ACCOUNT_ID, reached_by_others
from rehearsal.market import in_five_minutes
from store.aws import REGION, client
from store.sagemaker_jobs import ENTRY_POINT
from tests.aws_account import Training
from tests.aws_fakes import fake_aws
from tests.deployed_system import STAGE, DeployedSystem, deployed_system
from tests.launch_world import state_change
from tests.manual_clock import ManualClock

BTC = "BTCUSDT"
CANDLE = timedelta(minutes=5)
DOWNLOADED = timedelta(days=40)
"""Before the begin: for so long and a bit less the finest candles are kept."""
PREFIX = f"trading-system-{STAGE}-"
RULES = EventRules(PREFIX)


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
        [found] = [each for each in RULES.scheduled() if each.name == rule]
        assert self.clock.now in found.cron.on(self.clock.now.date()), found.cron
        return self.system.call(found.function, found.event)

    def hear(self, rule: str, event: dict[str, Any]) -> None:
        """Something has happened, which the rule lets through."""
        self.system.call(RULES.listener(rule, event), event)

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
        asked, store_uri = self.jobs[name], self.system.store
        assert asked["AlgorithmSpecification"]["ContainerEntrypoint"] == list(ENTRY_POINT)
        here = {
            "Environment": asked["Environment"] | {"MLFLOW_TRACKING_URI": store_uri},
            "AlgorithmSpecification": {"ContainerEntrypoint": ["python", "-m", "rehearsal.job"]},
        }
        training = Training(folder, asked | here, self.url)
        started = json.dumps({"at": self.clock.now.isoformat()})
        (folder / name / "started.json").write_text(started)
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
    finest = in_five_minutes(hours[hours.index >= begin - DOWNLOADED], "1h")
    clock = ManualClock(begin)
    account = FuturesAccount({BTC: Contract(BTC)}, {BTC: Decimal(1), "BNBUSDT": Decimal(500)})
    account.now = milliseconds(begin)
    with (
        fake_aws(),
        reached_by_others() as url,
        futures_server(account, {(BTC, "1h"): hours, (BTC, "5m"): finest}) as binance,
        deployed_system(folder) as system,
        moved(clock, time.sleep),
        redirected(by_the_account(binance)),
    ):
        system.kept = ()  # processes that go on, as Lambda's do
        life = Life(system, clock, binance, finest, listen(system.outputs["TopicArn"]), url)

        def remember(params: dict[str, Any], **_: Any) -> None:
            life.jobs[params["TrainingJobName"]] = params

        asked = "provide-client-params.sagemaker.CreateTrainingJob"
        boto3.DEFAULT_SESSION.events.register(asked, remember)  # type: ignore[union-attr]
        life.go(begin)
        yield life


def by_the_account(binance: FuturesServer) -> Redirect:
    """Let clients talk to the loopback, at its time."""

    def redirect(made: ccxt.binanceusdm) -> ccxt.binanceusdm:
        made.milliseconds = lambda: binance.account.now
        return binance.redirect(made)

    return redirect


def listen(topic: str) -> str:
    """A queue that hears what the operator is told; returns its address."""
    sqs = client("sqs")
    queue: str = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    named = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    endpoint = named["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=endpoint)
    return queue


def money(price: float) -> Decimal:
    """A price as the exchange has it."""
    return Decimal(repr(float(price)))


def milliseconds(moment: datetime) -> int:
    """As the exchange counts time."""
    return round(moment.timestamp() * 1000)
