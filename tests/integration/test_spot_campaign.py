"""Campaigns on AWS from end to end: the real command, functions and jobs, against moto.

SageMaker is played by the test: it starts the program that it was asked to, in its own layout
of files, as a process that is struck as a Spot instance is.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import __main__ as command
from serving.asking import ask_as_told
from store.aws import client
from tests.aws_account import BUCKET, Account, Training, account, keys, until
from tests.aws_fakes import aws_server
from tests.integration.interruptions.campaigns import Campaign, pruning_config
from tests.integration.interruptions.endings import differences, ending


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with aws_server() as url:
        yield url


@pytest.fixture
def aws(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account, and in this folder the config of the undisturbed campaign."""
    (tmp_path / "config.json").write_text(json.dumps(pruning_config()))
    (tmp_path / "var").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'var' / 'mlflow.db'}")
    with account(server) as made:
        yield made


def checkpoints() -> int:
    return sum("/window-" in key for key in keys("walk_forward_checkpoints/"))


@pytest.mark.torture
def test_a_campaign_of_two_spot_jobs_is_interrupted_and_ends_as_one_left_alone(
    aws: Account,
    undisturbed: Campaign,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["campaign", "--candles", "synthetic", "--shards", "2", "--launcher", "sagemaker"]
    assert command.main(arguments) == 0
    shown = capsys.readouterr().out
    (request,) = aws.stack.requests.all()
    assert request.campaign_id in shown
    assert "waiting" in shown

    assert aws.deliver() == []  # outside the window nothing is launched
    assert aws.requests_made == {}
    aws.open_window()
    assert aws.deliver() == []
    first, second = (
        Training(tmp_path / "sagemaker", made, aws.url) for made in aws.requests_made.values()
    )
    assert aws.request(request.campaign_id).status == "running"
    assert aws.stack.gate.ledger.running() == sorted([first.name, second.name])

    # The first job's instance is lost for good, the second job's is taken away and given back.
    first.start()
    second.start()
    until(lambda: checkpoints() >= 4)
    first.interrupt()
    first.end("Failed", "InternalServerError: We encountered an internal error")
    aws.tell(first.name, "Failed")
    assert aws.request(request.campaign_id).status == "waiting"
    second.interrupt()
    second.start()
    assert aws.deliver() == []
    *_, again = aws.requests_made.values()
    assert again["TrainingJobName"] == first.name.removesuffix("-0") + "-1"
    third = Training(tmp_path / "sagemaker", again, aws.url)
    third.start()
    for training in (second, third):
        assert training.wait() == 0, training.log
        training.end("Completed")
        aws.tell(training.name, "Completed")
        aws.tell(training.name, "Completed")  # as EventBridge may

    assert differences(ending(tmp_path / "var"), ending(undisturbed.var)) == []
    ended = aws.request(request.campaign_id)
    assert (ended.status, ended.reason) == ("completed", "promoted: all gates passed")
    record = aws.job_record(request.campaign_id, 2)
    assert (record["status"], record["interruptions"]) == ("completed", 1)
    assert record["savings"] == pytest.approx(0.7)
    ((subject, text),) = aws.told()
    assert subject == "BTCUSDT-1h: validation complete, promoted"
    assert "1 interruptions" in text
    assert aws.stack.gate.ledger.running() == []
    settled = aws.stack.state.get("cost", "ledger")
    assert settled is not None
    assert settled.value["jobs"].keys() == {first.name, second.name, third.name}
    assert aws.dead() == []

    assert command.main(["status", "--state", aws.variables["STATE_URI"], "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["requests"]
    assert [shard["status"] for shard in found["shards"]] == ["completed", "completed"]


def one_job(aws: Account, folder: Path) -> Training:
    """The job of a campaign that was asked for and launched."""
    options = Namespace(
        asset="BTCUSDT",
        timeframe="1h",
        candles="synthetic",
        config="config.json",
        max_trials=None,
        seed=None,
        preflight=None,
        shards=1,
    )
    ask_as_told(aws.stack, options)
    aws.open_window()
    assert aws.deliver() == []
    (made,) = aws.requests_made.values()
    return Training(folder / "sagemaker", made, aws.url)


def fails(aws: Account, job: Training, *words: str) -> None:
    """The job fails, in these words, wherever one looks; and nothing is launched again."""
    job.start()
    assert job.wait() == 2, job.log
    job.end("Failed")
    aws.tell(job.name, "Failed")
    (request,) = aws.stack.requests.all()
    assert request.status == "failed"
    record = aws.job_record(request.campaign_id, 1)
    ((subject, text),) = aws.told()
    assert subject == "BTCUSDT-1h: campaign failed"
    for word in words:
        for where in (job.failure, record["reason"], request.reason, text):
            assert where is not None
            assert word in where
    assert aws.deliver() == []
    assert aws.stack.gate.ledger.running() == []


def test_a_config_digest_that_does_not_match_is_told_wherever_one_looks(
    aws: Account, tmp_path: Path
) -> None:
    job = one_job(aws, tmp_path)
    path = next((tmp_path / "sagemaker").rglob("hyperparameters.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "config_digest": "0" * 64}))
    fails(aws, job, "config_digest is ", "was asked for 000000000000")


@pytest.mark.torture
def test_an_asset_that_the_input_does_not_hold_is_told_wherever_one_looks(
    aws: Account, tmp_path: Path
) -> None:
    job = one_job(aws, tmp_path)
    path = next((tmp_path / "sagemaker").rglob("hyperparameters.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "asset": "DOGEUSDT"}))
    fails(aws, job, "holds BTCUSDT 1h, not DOGEUSDT 1h")


@pytest.mark.torture
def test_a_bucket_for_checkpoints_that_is_gone_is_told_wherever_one_looks(
    aws: Account, tmp_path: Path
) -> None:
    job = one_job(aws, tmp_path)
    s3: Any = client("s3")
    for key in keys(""):
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.delete_bucket(Bucket=BUCKET)
    fails(aws, job, BUCKET, "does not exist")
