"""The request for a training job, and what SageMaker's answers mean."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.request_check import faults, input_shape
from store.sagemaker_jobs import job_description, training_job_request
from store.training_jobs import job_name
from strategy.errors import ConfigError
from tests.job_specs import IMAGE_URI, ROLE_ARN, job_spec

CAMPAIGN = "0a1b2c3d4e5f"
ENDED = datetime(2026, 3, 1, 20, 30, tzinfo=timezone(timedelta(hours=8)))


def request_for(**changes: Any) -> dict[str, Any]:
    return training_job_request(job_spec(**changes), role_arn=ROLE_ARN, image_uri=IMAGE_URI)


def answer(*history: str, **changes: Any) -> dict[str, Any]:
    """What SageMaker answers about a job with this history of secondary statuses."""
    fields: dict[str, Any] = {
        "TrainingJobName": "job",
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "SecondaryStatusTransitions": [{"Status": status} for status in history],
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "TrainingTimeInSeconds": 500,
        "BillableTimeInSeconds": 100,
        "TrainingEndTime": ENDED,
    }
    return fields | changes


def test_the_job_runs_on_managed_spot_and_waits_for_it() -> None:
    request = request_for(max_runtime_seconds=3600, max_wait_seconds=7200)
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 3600,
        "MaxWaitTimeInSeconds": 7200,
    }
    assert request["ResourceConfig"] == {
        "InstanceType": "ml.m5.large",
        "InstanceCount": 1,
        "VolumeSizeInGB": 30,
    }


def test_it_may_wait_exactly_as_long_as_it_may_run() -> None:
    assert request_for(max_runtime_seconds=3600, max_wait_seconds=3600)


def test_checkpoints_are_kept_beside_the_campaigns_own() -> None:
    assert request_for()["CheckpointConfig"] == {
        "S3Uri": f"s3://trading/campaigns/{CAMPAIGN}/checkpoints",
        "LocalPath": "/opt/ml/checkpoints",
    }


def test_the_program_is_executed_directly_so_that_it_is_the_one_that_gets_sigterm() -> None:
    assert request_for()["AlgorithmSpecification"] == {
        "TrainingImage": IMAGE_URI,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python", "-m", "training.job"],
    }


def test_the_campaign_is_one_channel_of_files() -> None:
    (channel,) = request_for()["InputDataConfig"]
    assert channel["ChannelName"] == "campaign"
    assert channel["InputMode"] == "File"
    source = channel["DataSource"]["S3DataSource"]
    assert source["S3DataType"] == "S3Prefix"
    assert source["S3Uri"] == f"s3://trading/campaigns/{CAMPAIGN}/input"


def test_it_is_in_no_vpc() -> None:
    assert "VpcConfig" not in request_for()


def test_hyperparameters_environment_role_and_output_are_those_that_were_given() -> None:
    spec, request = job_spec(), request_for()
    assert request["HyperParameters"] == spec.hyperparameters
    assert request["Environment"] == spec.environment
    assert request["RoleArn"] == ROLE_ARN
    assert request["OutputDataConfig"]["S3OutputPath"] == spec.output_uri


def test_the_projects_tag_is_always_there_and_nothing_overrides_it() -> None:
    tags = request_for(tags={"shard": "1of2", "Project": "another"})["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "shard": "1of2",
        "Project": "CryptoTradingSystem",
    }
    assert len(tags) == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "BTCUSDT_1h"}, "TrainingJobName: 'BTCUSDT_1h' does not match"),
        ({"name": "a" * 64}, "TrainingJobName: 64 characters, the most is 63"),
        ({"name": ""}, "TrainingJobName"),
        ({"instance_type": "ml.c6i.large"}, "ResourceConfig.InstanceType: 'ml.c6i.large' is none"),
        ({"instance_type": "m5.large"}, "ml.m5.large"),
        ({"instance_type": None}, "ResourceConfig.InstanceType"),
        ({"volume_gb": "30"}, "ResourceConfig.VolumeSizeInGB"),
        ({"input_uri": "trading/input"}, "InputDataConfig[0].DataSource.S3DataSource.S3Uri"),
        ({"input_uri": "s3://b/" + "x" * 1024}, "S3Uri: 1031 characters, the most is 1024"),
        ({"output_uri": "/tmp/output"}, "OutputDataConfig.S3OutputPath: '/tmp/output'"),
        ({"checkpoint_uri": "s3:/b"}, "CheckpointConfig.S3Uri: 's3:/b'"),
        ({"max_runtime_seconds": 0}, "StoppingCondition.MaxRuntimeInSeconds"),
        (
            {"max_runtime_seconds": 3600, "max_wait_seconds": 3599},
            "StoppingCondition.MaxWaitTimeInSeconds: 3599 is less than",
        ),
        ({"hyperparameters": {"shard": 1}}, "HyperParameters.shard"),
        ({"hyperparameters": {"note": "x" * 2501}}, "HyperParameters.note: 2501 characters"),
        ({"hyperparameters": {"note": "two\nlines"}}, "HyperParameters.note: 'two\\nlines'"),
        ({"hyperparameters": {f"h{n}": "" for n in range(101)}}, "HyperParameters: 101 entries"),
        ({"environment": {"A-B": "1"}}, "Environment key: 'A-B' does not match"),
        ({"environment": {"A": "x" * 513}}, "Environment.A: 513 characters, the most is 512"),
        ({"tags": {"asset": "BTC#USDT"}}, "Tags[0].Value: 'BTC#USDT' does not match"),
        ({"tags": {"aws:asset": "BTCUSDT"}}, "Tags: 'aws:asset'"),
        ({"tags": {f"t{n}": "" for n in range(50)}}, "Tags: 51 elements, the most is 50"),
    ],
)
def test_what_sagemaker_would_refuse_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        request_for(**changes)


@pytest.mark.parametrize(
    ("role_arn", "image_uri", "named"),
    [
        ("trading-training-job", IMAGE_URI, "RoleArn: 'trading-training-job' does not match"),
        ("", IMAGE_URI, "RoleArn"),
        (ROLE_ARN, "", "AlgorithmSpecification.TrainingImage: is empty"),
        (ROLE_ARN, "x" * 256, "AlgorithmSpecification.TrainingImage: 256 characters"),
    ],
)
def test_a_wrong_role_or_image_is_named(role_arn: str, image_uri: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        training_job_request(job_spec(), role_arn=role_arn, image_uri=image_uri)


def test_the_message_names_the_job_and_every_fault() -> None:
    with pytest.raises(ConfigError) as raised:
        request_for(instance_type="ml.c6i.large", output_uri="/tmp/output")
    message = str(raised.value)
    assert message.startswith(f"training job {job_spec().name}: ")
    assert "InstanceType" in message
    assert "S3OutputPath" in message


def test_letters_of_any_language_and_spaces_may_stand_in_a_tag() -> None:
    assert request_for(tags={"descrição": "BTCUSDT 1h: número 7 / @ + - = _ ."})


def test_what_takes_no_more_than_the_most_is_accepted() -> None:
    assert request_for(
        name="a" * 63,
        environment={"A": "x" * 512},
        hyperparameters={f"h{n}": "x" * 2500 for n in range(100)},
        tags={f"t{n}": "x" * 256 for n in range(49)},
    )


ASSETS = st.from_regex(r"[A-Z0-9]{1,15}", fullmatch=True)
TIMEFRAMES = st.sampled_from(["1m", "15m", "1h", "4h", "12h", "1d"])
CAMPAIGNS = st.from_regex(r"[0-9a-f]{12}", fullmatch=True)
SHARDS = st.tuples(st.integers(1, 112), st.integers(1, 112)).map(sorted)
SUBMISSIONS = st.integers(0, 112)


def named(asset: str, timeframe: str, campaign: str, shards: list[int], submission: int) -> str:
    return job_name(asset, timeframe, campaign, shards[0], shards[1], submission)


@given(ASSETS, TIMEFRAMES, CAMPAIGNS, SHARDS, SUBMISSIONS)
def test_sagemaker_accepts_the_name_of_every_job(
    asset: str, timeframe: str, campaign: str, shards: list[int], submission: int
) -> None:
    name = named(asset, timeframe, campaign, shards, submission)
    assert faults(input_shape("sagemaker", "DescribeTrainingJob"), {"TrainingJobName": name}) == []


@given(SHARDS, SUBMISSIONS, SHARDS, SUBMISSIONS)
def test_no_two_jobs_of_a_campaign_share_a_name(
    shards: list[int], submission: int, others: list[int], another: int
) -> None:
    names = {
        named("BTCUSDT", "1h", CAMPAIGN, *job) for job in ((shards, submission), (others, another))
    }
    assert len(names) == len({(*shards, submission), (*others, another)})


def test_a_jobs_name_reads_as_people_say_it() -> None:
    assert job_name("BTCUSDT", "1h", CAMPAIGN, 1, 2, 0) == "BTCUSDT-1h-0a1b2c3d4e5f-shard1of2-0"


@pytest.mark.parametrize(
    ("history", "interruptions"),
    [
        # The lifecycles of "Managed Spot Training Lifecycle" in SageMaker's developer guide.
        ("Starting Downloading Training Uploading Completed", 0),
        (
            "Starting Downloading Training Interrupted "
            "Starting Downloading Training Uploading Completed",
            1,
        ),
        (
            "Starting Downloading Training Interrupted Starting Downloading Training Interrupted "
            "Downloading Training Stopping MaxWaitTimeExceeded",
            2,
        ),
        ("Starting Stopping MaxWaitTimeExceeded", 0),
    ],
)
def test_interruptions_are_counted_from_the_history(history: str, interruptions: int) -> None:
    assert job_description(answer(*history.split())).interruptions == interruptions


def test_savings_are_the_share_of_the_time_that_was_not_charged() -> None:
    assert job_description(answer()).savings == pytest.approx(0.8)


@pytest.mark.parametrize("missing", ["TrainingTimeInSeconds", "BillableTimeInSeconds"])
def test_savings_are_not_known_before_sagemaker_says_both_times(missing: str) -> None:
    running = answer()
    del running[missing]
    assert job_description(running).savings is None


def test_a_job_that_never_ran_saved_nothing_that_could_be_told() -> None:
    never = answer(TrainingTimeInSeconds=0, BillableTimeInSeconds=0)
    assert job_description(never).savings is None


def test_a_running_job_has_neither_an_end_nor_a_reason() -> None:
    running = answer("Starting", TrainingJobStatus="InProgress", SecondaryStatus="Starting")
    del running["TrainingEndTime"]
    job = job_description(running)
    assert (job.status, job.detail) == ("InProgress", "Starting")
    assert job.ended_at is None
    assert job.failure_reason is None


def test_times_are_utc_whatever_zone_boto3_gives_them_in() -> None:
    ended = job_description(answer()).ended_at
    assert ended == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    assert ended.tzinfo is UTC


def test_a_failed_job_says_why() -> None:
    failed = answer(TrainingJobStatus="Failed", FailureReason="AlgorithmError: the candles differ")
    assert job_description(failed).failure_reason == "AlgorithmError: the candles differ"
