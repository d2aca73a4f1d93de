"""The orchestrator's handler as it is deployed: AWS by moto, MLflow in a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from registry.connection import connect, ensure_experiment, ensure_store
from registry.lifecycle import Lifecycle, Stage
from registry.registration import register
from serving.journal import Journal
from serving.orchestrator import handler
from store.aws import REGION, client
from store.candle_archive import open_archive
from store.clock import utc_now
from store.objects import open_objects
from store.state import open_state
from tests.aws_account import CONTEXT
from tests.aws_fakes import create_state_table, fake_aws
from tests.orchestrator_world import record
from tests.strategy_bundles import random_candles, trained_bundle

MODEL = "BTCUSDT-1h"
ROOT = Path(__file__).parents[2]
DRY_RUN = json.loads((ROOT / "tests" / "events" / "orchestrate.json").read_text())
CANDLES = random_candles(1000)


@dataclasses.dataclass
class Deployed:
    """The account, and the model's life until now."""

    queue_url: str
    inbox_url: str
    life: Lifecycle

    def received(self, url: str) -> list[Any]:
        answer = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """A version that has lost in Production for half a year, and was trained four months ago."""
    with fake_aws():
        client("s3").create_bucket(
            Bucket="trading", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        create_state_table(client("dynamodb"), "state")
        sns, sqs = client("sns"), client("sqs")
        topic = sns.create_topic(Name="operator")["TopicArn"]
        urls = [sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("nudges", "inbox")]
        arn = sqs.get_queue_attributes(QueueUrl=urls[1], AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
        tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
        variables = {
            "STATE_URI": "dynamodb://state",
            "QUEUE_URL": urls[0],
            "TOPIC_ARN": topic,
            "BUCKET": "trading",
            "ROLE_ARN": "arn:aws:iam::123456789012:role/jobs",
            "IMAGE_URI": "image",
            "MLFLOW_TRACKING_URI": tracking,
            "RETRAINER_FUNCTION": "model_retrainer",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        open_objects("s3://trading").replace("config.json", (ROOT / "config.json").read_bytes())
        hours = pd.date_range(end=utc_now(), periods=len(CANDLES), freq="h").floor("h")
        open_archive("s3://trading/candles", 24).write(
            "BTCUSDT", "1h", CANDLES.set_axis(hours.rename("timestamp"))
        )
        ensure_store(tracking)
        yield Deployed(*urls, half_a_year(tmp_path, tracking))


def half_a_year(folder: Path, tracking: str) -> Lifecycle:
    registry = connect(tracking)
    experiment = ensure_experiment(registry, MODEL, folder / "artifacts")
    bundle = dataclasses.replace(
        trained_bundle(CANDLES), training_end=pd.Timestamp(utc_now()) - pd.DateOffset(months=4)
    )
    version = register(
        registry,
        registry.create_run(experiment).info.run_id,
        bundle,
        model_name=MODEL,
        input_example=CANDLES.tail(5),
        description="",
        tags={},
    )
    began = utc_now() - timedelta(days=183)
    life = Lifecycle(registry, MODEL, lambda: round(began.timestamp() * 1000))
    for stage in (Stage.STAGING, Stage.PRODUCTION):
        life.move(version, stage, who="orchestrator", why="passed")
    lose(bundle.strategy_id, began)
    return life


def lose(strategy_id: str, began: datetime) -> None:
    journal = Journal(open_state("dynamodb://state", utc_now))
    for days in range(1, 15):
        journal.add_trade(record(strategy_id, "live", began + timedelta(days=days), -1.0))


def names(outcome: dict[str, Any]) -> list[str]:
    return [action["action"] for action in outcome["actions"]]


def test_the_handler_buries_asks_for_a_campaign_and_tells_the_operator(deployed: Deployed) -> None:
    [said] = handler(DRY_RUN, CONTEXT)
    assert names(said) == ["bury", "ask for a campaign"]
    assert deployed.life.version(1).stage is Stage.PRODUCTION

    [outcome] = handler({}, CONTEXT)
    assert (names(outcome), outcome["errors"]) == (names(said), [])
    assert deployed.life.version(1).stage is Stage.ARCHIVED
    [nudge] = deployed.received(deployed.queue_url)
    place = open_objects(f"s3://trading/campaigns/{nudge['campaign_id']}/input")
    assert place.read("candles.csv.gz")
    assert sorted(message["Subject"] for message in deployed.received(deployed.inbox_url)) == [
        "BTCUSDT-1h: campaign queued",
        "BTCUSDT-1h: version 1 buried",
    ]

    [again] = handler({}, CONTEXT)
    assert names(again) == ["wait"]
    assert not deployed.received(deployed.queue_url)
    assert not deployed.received(deployed.inbox_url)


def test_a_retrainer_that_is_not_deployed_is_told_to_the_operator(deployed: Deployed) -> None:
    state = open_state("dynamodb://state", utc_now)
    for item in state.items("trades/BTCUSDT-1h-c0ffee"):
        state.delete(item.partition, item.key, expected=item.version)
    [outcome] = handler({}, CONTEXT)
    assert names(outcome) == ["keep"]
    assert "function model_retrainer" in outcome["errors"][0]
    assert "deploy it" in outcome["errors"][0]
    subjects = [message["Subject"] for message in deployed.received(deployed.inbox_url)]
    assert subjects.count("BTCUSDT-1h: the orchestrator failed") == 1
