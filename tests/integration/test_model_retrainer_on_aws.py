"""The function that retrains, as Lambda calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from registry.lifecycle import Stage
from serving import model_retrainer
from serving.model_retrainer import deployed_retrainer, handler
from store.aws import REGION, client
from store.candle_archive import open_archive
from strategy.errors import ConfigError
from tests.aws_fakes import create_state_table, fake_aws
from tests.retrain_world import (
    EVENT,
    RETRAINED,
    STEADY,
    RetrainWorld,
    config,
    found_strategy,
    market,
)

CONTEXT = SimpleNamespace(
    function_name="model-retrainer",
    memory_limit_in_mb=3008,
    invoked_function_arn="arn:aws:lambda:ap-southeast-1:123456789012:function:model-retrainer",
    aws_request_id="9f8e7d",
)


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A strategy in Production, its market in a bucket, and a queue that hears of it."""
    found_strategy(tmp_path, Stage.PRODUCTION)
    with fake_aws():
        place = {"LocationConstraint": REGION}
        client("s3").create_bucket(Bucket="trading", CreateBucketConfiguration=place)
        client("s3").put_object(
            Bucket="trading", Key="config.json", Body=config().model_dump_json().encode()
        )
        open_archive("s3://trading/candles", 0).write("BTCUSDT", "1h", market(*STEADY))
        create_state_table(client("dynamodb"), "state")
        topic = client("sns").create_topic(Name="operator")["TopicArn"]
        queue = client("sqs").create_queue(QueueName="inbox")["QueueUrl"]
        arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"]
        )
        monkeypatch.setenv("BUCKET", "trading")
        monkeypatch.setenv("STATE_URI", "dynamodb://state")
        monkeypatch.setenv("TOPIC_ARN", topic)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
        now = RETRAINED.to_pydatetime() + timedelta(minutes=10)
        monkeypatch.setattr(model_retrainer, "utc_now", lambda: now)
        yield queue


def test_deployed_it_retrains_and_tells(inbox: str, tmp_path: Path) -> None:
    record = handler(EVENT, CONTEXT)
    assert json.loads(json.dumps(record)) == record
    assert (record["verdict"], record["retrain_of"], record["version"]) == ("admitted", 1, 2)
    world = RetrainWorld(tmp_path)
    assert world.stages == {2: "Production", 1: "Archived"}
    assert world.version(2).tags["synthetic"] == "true"  # as it began, whatever came later
    assert handler(EVENT, CONTEXT) == record
    answer = client("sqs").receive_message(QueueUrl=inbox, MaxNumberOfMessages=10)
    subjects = [json.loads(each["Body"])["Subject"] for each in answer["Messages"]]
    assert subjects == ["BTCUSDT-1h: version 2 takes the place of version 1, retrained"]


def test_variables_that_are_not_set_are_named() -> None:
    with pytest.raises(ConfigError, match=r"STATE_URI .*, MLFLOW_TRACKING_URI"):
        deployed_retrainer({"BUCKET": "trading", "TOPIC_ARN": "arn"})
