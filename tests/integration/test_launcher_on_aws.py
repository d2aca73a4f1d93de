"""The launcher's functions on AWS's own interfaces: the gate, and what can be wrong there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from serving import launch_spot_validator
from serving.campaign_requests import Campaign
from serving.stack import aws_stack
from store.aws import client
from strategy.errors import ConfigError
from tests.aws_account import CONTEXT, Account, account, keys, refused
from tests.aws_fakes import aws_server
from tests.launch_world import sqs_record

CAMPAIGN = "0a1b2c3d4e5f"
JOB = f"BTCUSDT-1h-{CAMPAIGN}-shard1of1-0"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with aws_server() as url:
        yield url


@pytest.fixture
def aws(server: str) -> Iterator[Account]:
    with account(server) as made:
        made.open_window()
        yield made


def ask(aws: Account, campaign_id: str = CAMPAIGN, **changes: Any) -> None:
    """Ask for a campaign, with an input that is as good as set aside."""
    stack = aws.stack
    uri = stack.input_uri(campaign_id)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    client("s3").put_object(Bucket=bucket, Key=f"{prefix}/market.json", Body=b"{}")
    fields: dict[str, Any] = {
        "campaign_id": campaign_id,
        "asset": "BTCUSDT",
        "timeframe": "1h",
        "config_digest": "c0nf",
        "data_digest": "da7a",
        "code_digest": "c0de",
        "input_uri": uri,
        "checkpoint_uri": f"s3://{bucket}/walk_forward_checkpoints/",
        "max_resume_attempts": 2,
    }
    campaign = Campaign(**(fields | changes))
    stack.requests.ask(stack.queue, campaign, shards=1, requested_by="ana")


def jobs() -> list[str]:
    found = client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    return [each["TrainingJobName"] for each in found]


def waits(aws: Account, obstacle: str, *words: str) -> None:
    """The request waits for this reason, and the operator was told of it once."""
    request = aws.request(CAMPAIGN)
    assert request.status == "waiting"
    ((subject, text),) = aws.told()
    assert subject == f"BTCUSDT-1h: campaign waits, {obstacle}"
    for word in words:
        assert word in request.reason
        assert word in text
    assert (jobs(), aws.stack.gate.ledger.running(), aws.dead()) == ([], [], [])


def goes_on(aws: Account) -> None:
    """Once it was put right, the next nudge launches it."""
    aws.open_window()
    assert aws.deliver() == []
    assert aws.request(CAMPAIGN).status == "running"
    assert jobs() == [JOB]


def test_a_nudge_becomes_a_spot_job_with_the_projects_tag(aws: Account) -> None:
    ask(aws)
    assert aws.deliver() == []
    job = client("sagemaker").describe_training_job(TrainingJobName=JOB)
    assert job["EnableManagedSpotTraining"] is True
    tags = client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert {"Key": "Project", "Value": "CryptoTradingSystem"} in tags
    assert aws.requests_made[JOB]["Environment"]["STATE_URI"] == "dynamodb://trading-state"
    assert aws.stack.gate.ledger.running() == [JOB]


def test_over_the_limit_nothing_is_launched_and_nothing_fails(aws: Account) -> None:
    aws.set("monthly_cost_limit", 1.5)
    ask(aws)
    assert aws.deliver() == []
    waits(aws, "over the monthly limit", "of $1.50")
    decision = aws.request(CAMPAIGN).decision
    assert decision is not None
    assert (decision["month_to_date_usd"], decision["limit_usd"]) == (1, 1.5)
    aws.set("monthly_cost_limit", 10)
    goes_on(aws)


def test_without_data_from_cost_explorer_nothing_is_launched(server: str) -> None:
    with account(server, bill=()) as aws:
        aws.open_window()
        ask(aws)
        assert aws.deliver() == []
        waits(aws, "spending unknown", "Cost Explorer has no data")


def test_a_throttled_cost_explorer_lets_the_request_wait(aws: Account) -> None:
    ask(aws)
    with refused("cost-explorer", "GetCostAndUsage", "LimitExceededException", "Rate exceeded"):
        assert aws.deliver() == []
    waits(aws, "spending unknown", "Rate exceeded")


def test_of_two_launches_at_once_that_do_not_both_fit_one_is_made(aws: Account) -> None:
    aws.set("spot_instance_type", ["ml.c5.xlarge"])  # $1.43 a job at most
    aws.set("monthly_cost_limit", 3.5)  # of which $1.01 is spent
    names = [f"{number:012x}" for number in range(4)]
    for name in names:
        ask(aws, name)
    aws.stack.spending.month_to_date(aws.stack.clock())  # once, for all of them
    together = Barrier(len(names))

    def nudge(name: str) -> Any:
        together.wait()
        record = sqs_record(name, json.dumps({"campaign_id": name}))
        return launch_spot_validator.handler({"Records": [record]}, CONTEXT)

    with ThreadPoolExecutor(len(names)) as launchers:
        answers = list(launchers.map(nudge, names))
    assert answers == [{"batchItemFailures": []}] * len(names)
    assert len(jobs()) == len(aws.stack.gate.ledger.running()) == 1
    statuses = sorted(aws.request(name).status for name in names)
    assert statuses == ["running", "waiting", "waiting", "waiting"]


def test_the_same_campaign_nudged_by_many_at_once_is_launched_once(aws: Account) -> None:
    ask(aws)
    together = Barrier(4)

    def nudge(number: int) -> Any:
        together.wait()
        record = sqs_record(f"m{number}", json.dumps({"campaign_id": CAMPAIGN}))
        return launch_spot_validator.handler({"Records": [record]}, CONTEXT)

    with ThreadPoolExecutor(4) as launchers:
        answers = list(launchers.map(nudge, range(4)))
    assert sum(not answer["batchItemFailures"] for answer in answers) >= 1
    assert jobs() == aws.stack.gate.ledger.running() == [JOB]
    assert aws.request(CAMPAIGN).status == "running"


def test_an_instance_type_that_is_not_for_training_is_named(aws: Account) -> None:
    aws.set("spot_instance_type", '["c6a.2xlarge"]')
    ask(aws)
    assert aws.deliver() == []
    waits(aws, "settings", "c6a.2xlarge", "/trading_system/cost/spot_instance_type")
    aws.set("spot_instance_type", ["ml.c5.xlarge"])
    goes_on(aws)


def test_a_bucket_that_is_missing_is_named(aws: Account) -> None:
    ask(aws, input_uri="s3://no-such-bucket/campaigns/input")
    assert aws.deliver() == []
    waits(aws, "access", "no-such-bucket", "does not exist")


def test_a_bucket_that_refuses_is_named_with_the_permission_that_is_missing(aws: Account) -> None:
    ask(aws)
    with refused("s3", "GetObject", "AccessDenied", "not authorized"):
        assert aws.deliver() == []
    waits(aws, "access", "s3://trading-123456789012", "Allow GetObject")
    goes_on(aws)


def test_an_expired_role_is_told_as_that(aws: Account) -> None:
    ask(aws)
    with refused("sagemaker", "CreateTrainingJob", "ExpiredTokenException", "token has expired"):
        assert aws.deliver() == []
    waits(aws, "access", JOB, "token has expired", "credentials")
    goes_on(aws)


def test_an_input_that_is_gone_fails_the_request(aws: Account) -> None:
    ask(aws)
    client("s3").delete_object(Bucket="trading-123456789012", Key=keys("campaigns")[0])
    assert aws.deliver() == []
    assert aws.request(CAMPAIGN).status == "failed"
    ((subject, text),) = aws.told()
    assert subject == "BTCUSDT-1h: campaign failed"
    assert "ask for it again" in text


def test_a_poisoned_message_ends_in_the_dead_letter_queue_and_holds_up_no_other(
    aws: Account,
) -> None:
    poison = ["{", '{"campaign_id": "dddddddddddd"}']
    for body in poison:
        client("sqs").send_message(QueueUrl=aws.queue, MessageBody=body)
    ask(aws)
    assert sorted(aws.deliver()) == sorted(poison)
    assert aws.request(CAMPAIGN).status == "running"
    for _ in range(4):
        aws.deliver()
    assert sorted(aws.dead()) == sorted(poison)
    assert len(aws.told()) == 2


def test_every_variable_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError) as raised:
        aws_stack({"STATE_URI": "dynamodb://state", "BUCKET": "b", "IMAGE_URI": ""})
    for name in ("QUEUE_URL", "TOPIC_ARN", "ROLE_ARN", "IMAGE_URI", "MLFLOW_TRACKING_URI"):
        assert name in str(raised.value)
    assert "STATE_URI" not in str(raised.value)
