"""What holds for jobs wherever they run, and how SageMaker's refusals are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from store.aws import CapacityError, client, patient
from store.backoff import Backoff
from store.local_jobs import LocalJobs
from store.sagemaker_jobs import SageMakerJobs, describe_training_job, training_job_request
from store.training_jobs import Jobs
from strategy.errors import ConfigError, RetryError, StoreError
from tests.aws_fakes import fake_aws
from tests.job_specs import IMAGE_URI, ROLE_ARN, job_spec

SPEC = job_spec()
REQUEST = training_job_request(SPEC, role_arn=ROLE_ARN, image_uri=IMAGE_URI)
ARN = f"arn:aws:sagemaker:ap-southeast-1:123456789012:training-job/{SPEC.name}"
NAME = {"TrainingJobName": SPEC.name}
ENDS_WELL = (
    "import os, pathlib; "
    "pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'model/result.json').write_text('{}')"
)


class Naps(list[float]):
    """Counts what would have been waited for, seconds."""

    def backoff(self) -> Backoff:
        return patient(sleep=self.append)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def sagemaker() -> Iterator[Any]:
    with fake_aws():
        yield client("sagemaker")


@pytest.fixture
def on_sagemaker(sagemaker: Any) -> Jobs:
    return SageMakerJobs(sagemaker, ROLE_ARN, IMAGE_URI)


@pytest.fixture(params=["sagemaker", "local"])
def jobs(request: pytest.FixtureRequest, sagemaker: Any, tmp_path: Path) -> Jobs:
    if request.param == "sagemaker":
        found: Jobs = request.getfixturevalue("on_sagemaker")
        return found
    place = {"LocationConstraint": "ap-southeast-1"}
    client("s3").create_bucket(Bucket="trading", CreateBucketConfiguration=place)
    return LocalJobs(tmp_path / "jobs", program=(sys.executable, "-c", ENDS_WELL))


@pytest.fixture
def stub(sagemaker: Any) -> Iterator[Stubber]:
    """SageMaker answers as the test says, in that order, and is asked nothing more."""
    with Stubber(sagemaker) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def stubbed(sagemaker: Any, naps: Naps) -> SageMakerJobs:
    return SageMakerJobs(sagemaker, ROLE_ARN, IMAGE_URI, naps.backoff())


def test_a_job_that_was_created_can_be_described(jobs: Jobs) -> None:
    jobs.create(SPEC)
    job = jobs.describe(SPEC.name)
    assert job is not None
    assert job.name == SPEC.name
    assert job.status in ("InProgress", "Completed")
    assert job.instance_type == SPEC.instance_type
    assert job.interruptions == 0
    assert job.ended_at is None or job.ended_at.tzinfo is UTC


def test_a_job_that_was_never_created_is_none(jobs: Jobs) -> None:
    assert jobs.describe(SPEC.name) is None


def test_creating_a_job_again_makes_no_second_one(on_sagemaker: Jobs, sagemaker: Any) -> None:
    on_sagemaker.create(SPEC)
    on_sagemaker.create(SPEC)
    assert len(sagemaker.list_training_jobs()["TrainingJobSummaries"]) == 1


def test_a_job_is_found_by_its_tags_in_the_console(on_sagemaker: Jobs, sagemaker: Any) -> None:
    on_sagemaker.create(SPEC)
    arn = sagemaker.describe_training_job(**NAME)["TrainingJobArn"]
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags == {**SPEC.tags, "Project": "CryptoTradingSystem"}


def test_sagemaker_keeps_what_makes_it_a_resumable_spot_job(
    on_sagemaker: Jobs, sagemaker: Any
) -> None:
    on_sagemaker.create(SPEC)
    job = sagemaker.describe_training_job(**NAME)
    for field in ("EnableManagedSpotTraining", "StoppingCondition", "CheckpointConfig"):
        assert job[field] == REQUEST[field]
    assert job["HyperParameters"] == SPEC.hyperparameters


def test_a_name_that_is_taken_counts_as_created(
    stub: Stubber, stubbed: SageMakerJobs, naps: Naps
) -> None:
    stub.add_client_error("create_training_job", "ResourceInUse", "names must be unique")
    stubbed.create(SPEC)
    assert naps == []


def test_a_throttled_request_is_repeated_after_a_pause(
    stub: Stubber, stubbed: SageMakerJobs, naps: Naps
) -> None:
    stub.add_client_error("create_training_job", "ThrottlingException", "Rate exceeded")
    stub.add_client_error("create_training_job", "ServiceUnavailable", http_status_code=503)
    stub.add_response("create_training_job", {"TrainingJobArn": ARN}, REQUEST)
    stubbed.create(SPEC)
    assert len(naps) == 2
    assert 0 < naps[0] < naps[1]


def test_a_request_whose_answer_was_lost_ends_in_one_job(
    stub: Stubber, stubbed: SageMakerJobs
) -> None:
    stub.add_client_error("create_training_job", "InternalFailure", http_status_code=500)
    stub.add_client_error("create_training_job", "ResourceInUse", "names must be unique")
    stubbed.create(SPEC)


def test_a_request_that_stays_throttled_may_work_later(
    stub: Stubber, stubbed: SageMakerJobs
) -> None:
    for _ in range(patient().attempts):
        stub.add_client_error("create_training_job", "ThrottlingException", "Rate exceeded")
    with pytest.raises(RetryError, match=SPEC.name) as raised:
        stubbed.create(SPEC)
    assert not isinstance(raised.value, CapacityError)


def test_an_exhausted_quota_is_a_lack_of_capacity(stub: Stubber, stubbed: SageMakerJobs) -> None:
    reason = "The account-level service limit 'ml.m5.large for spot training job usage' is 0"
    for _ in range(patient().attempts):
        stub.add_client_error("create_training_job", "ResourceLimitExceeded", reason)
    with pytest.raises(CapacityError, match="spot training job usage"):
        stubbed.create(SPEC)


@pytest.mark.parametrize(
    ("code", "reason", "error", "told"),
    [
        ("ValidationException", "No S3 objects found under S3 URL", ConfigError, "No S3 objects"),
        ("AccessDeniedException", "not authorized", StoreError, "CreateTrainingJob"),
        ("ExpiredTokenException", "token has expired", StoreError, "credentials"),
    ],
)
def test_what_a_person_must_change_is_told_at_once(
    stub: Stubber,
    stubbed: SageMakerJobs,
    naps: Naps,
    code: str,
    reason: str,
    error: type[Exception],
    told: str,
) -> None:
    stub.add_client_error("create_training_job", code, reason, http_status_code=400)
    with pytest.raises(error, match=told) as raised:
        stubbed.create(SPEC)
    assert SPEC.name in str(raised.value)
    assert naps == []


def test_what_sagemaker_would_refuse_is_not_even_sent(
    stub: Stubber, stubbed: SageMakerJobs
) -> None:
    with pytest.raises(ConfigError, match="InstanceType"):
        stubbed.create(job_spec(instance_type="ml.c6i.large"))


def test_sagemakers_own_words_for_an_unknown_job_are_understood(
    stub: Stubber, stubbed: SageMakerJobs
) -> None:
    words = "Requested resource not found."
    stub.add_client_error("describe_training_job", "ValidationException", words)
    stub.add_client_error("describe_training_job", "ResourceNotFound", "as documented")
    assert stubbed.describe(SPEC.name) is None
    assert stubbed.describe(SPEC.name) is None


def test_a_name_that_no_job_can_have_is_an_error(stub: Stubber, stubbed: SageMakerJobs) -> None:
    words = "failed to satisfy constraint: Member must satisfy regular expression pattern"
    stub.add_client_error("describe_training_job", "ValidationException", words)
    with pytest.raises(ConfigError, match="regular expression"):
        stubbed.describe("no_such_name")


def test_looking_at_a_job_is_repeated_too(stub: Stubber, sagemaker: Any, naps: Naps) -> None:
    stub.add_client_error("describe_training_job", "ThrottlingException", "Rate exceeded")
    stub.add_client_error("describe_training_job", "ResourceNotFound")
    assert describe_training_job(sagemaker, SPEC.name, naps.backoff()) is None
    assert len(naps) == 1
