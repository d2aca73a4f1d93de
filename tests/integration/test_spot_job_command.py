"""``python -m training.spot_job``, against moto."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from store.aws import client
from store.sagemaker_jobs import SageMakerJobs
from tests.aws_fakes import fake_aws
from tests.job_specs import IMAGE_URI, ROLE_ARN, job_spec
from training.spot_job import main

SPEC = job_spec()


@pytest.fixture(autouse=True)
def created() -> Iterator[None]:
    with fake_aws():
        SageMakerJobs(client("sagemaker"), ROLE_ARN, IMAGE_URI).create(SPEC)
        yield


def test_a_person_sees_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", SPEC.name]) == 0
    shown = capsys.readouterr().out
    assert SPEC.name in shown
    assert "Completed" in shown


def test_a_program_reads_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", SPEC.name, "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert job["name"] == SPEC.name
    assert job["instance_type"] == SPEC.instance_type


def test_a_job_that_is_not_there_is_an_error_that_says_where(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["describe", "no-such-job"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no training job 'no-such-job' in ap-southeast-1" in said
