"""A stage over its deployments: what stays chosen, what is refused, what goes and what is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import __main__ as command
from infra import commands
from infra.deployment import ARTIFACTS, Deployment
from infra.stacks import Change, Stacks
from infra.templates import children, template
from rehearsal.imitated_aws import APP, HASTE, small_build
from store.aws import client
from store.settings import SsmSettings
from tests.aws_fakes import fake_aws
from tests.deployed_system import STAGE, deploy

ROOT = f"trading-system-{STAGE}"
PIPELINE = f"{ROOT}-pipeline"
CHILDREN = [f"{ROOT}-{child.name}" for child in children()]
CONNECTION = "arn:aws:codeconnections:ap-southeast-1:123456789012:connection/0a1b2c3d"
OURS = "git@github.com:ana/trading.git"
TOPIC = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
ANY = json.dumps(TOPIC)


class MotosStacks(Stacks):
    """moto makes no CodeBuild project: of the pipeline's template it gets the parameters."""

    def propose(self, name: str, *arguments: Any, **body: str) -> list[Change]:
        if name == PIPELINE:
            part = {"Parameters": template("pipeline")["Parameters"]} | TOPIC
            body = {"TemplateBody": json.dumps(part)}
        return super().propose(name, *arguments, **body)


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(commands, "Stacks", lambda made: MotosStacks(made, HASTE))
    with fake_aws():
        yield


def stacks() -> Stacks:
    return Stacks(client("cloudformation"), HASTE)


def run(*arguments: str) -> int:
    return command.main([arguments[0], "--stage", STAGE, *arguments[1:]])


def run_deploy(folder: Path, *arguments: str) -> int:
    build = small_build(folder)
    files = ["--layer", str(build.layer), "--functions", str(build.functions)]
    return run("deploy", "--separately", "--image-tag", build.image_tag, *files, *arguments)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# What stays chosen


def test_what_was_chosen_for_the_pipeline_stays_before_it_has_deployed_anything() -> None:
    first = {
        "OperatorEmail": "ana@example.org",
        "ReserveConcurrency": "no",
        "MonthlyCostLimit": "7.5",
        "GithubRepo": OURS,
    }
    chosen = [f"--set={name}={value}" for name, value in first.items()]
    assert run("pipeline", "--connection", CONNECTION, "--branch", "stable", *chosen) == 0
    own = {"ConnectionArn": CONNECTION, "Branch": "stable"}
    assert stacks().parameters(PIPELINE).items() >= (first | own).items()
    assert run("pipeline", "--set", "MonthlyCostLimit=8") == 0
    after = first | own | {"MonthlyCostLimit": "8"}
    assert stacks().parameters(PIPELINE).items() >= after.items()


def test_what_was_chosen_last_counts_before_the_pipeline_has_deployed_it(tmp_path: Path) -> None:
    deploy(tmp_path, OperatorEmail="ana@example.org")
    assert run("pipeline", "--connection", CONNECTION, "--set=OperatorEmail=eva@example.org") == 0
    assert stacks().parameters(PIPELINE)["Branch"] == "main"
    assert run("pipeline", "--branch", "stable") == 0
    assert stacks().parameters(PIPELINE)["OperatorEmail"] == "eva@example.org"


def test_what_one_stack_tells_another_was_chosen_by_nobody() -> None:
    for child, uri in (("mlflow", ""), ("processing", APP)):  # an App of the system's own
        body = json.dumps({"Parameters": {"TrackingUri": {"Type": "String"}}} | TOPIC)
        stacks().put(f"{ROOT}-{child}", {"TrackingUri": uri}, {}, TemplateBody=body)
    assert Deployment(stacks(), STAGE, {}).chosen_before() == {"TrackingUri": ""}


def test_the_pipeline_follows_the_lever_once_a_person_sets_it(tmp_path: Path) -> None:
    deploy(tmp_path)
    assert run("pipeline", "--connection", CONNECTION, f"--set=GithubRepo={OURS}") == 0
    assert run("pipeline", "--branch", "stable") == 0  # the lever is still as it was deployed
    assert stacks().parameters(PIPELINE)["GithubRepo"] == OURS
    theirs = "git@github.com:eva/trading.git"
    SsmSettings(client("ssm")).set("environment/github_repo", theirs)
    assert run("pipeline") == 0
    assert stacks().parameters(PIPELINE)["GithubRepo"] == theirs


def test_the_first_time_the_connection_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pipeline") == 2
    assert "--connection" in capsys.readouterr().err


# What is refused


def test_a_stage_with_a_pipeline_is_not_deployed_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pipeline", "--connection", CONNECTION) == 0
    for more in ([], ["--preview"]):
        assert run("deploy", "--image-tag", "abc", *more) == 2
    assert run_deploy(tmp_path) == 2
    said = words(capsys.readouterr().err)
    assert said.count(f"there is a stack {PIPELINE},") == 3
    assert f"python -m infra teardown --stage {STAGE}" in said
    assert "python -m infra pipeline" in said


def test_a_stage_that_is_one_stack_gets_no_pipeline_and_no_separate_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks().put(ROOT, {}, {}, TemplateBody=ANY)
    assert run("pipeline", "--connection", CONNECTION) == 2
    assert run_deploy(tmp_path) == 2
    said = words(capsys.readouterr().err)
    assert said.count(f"there is a stack {ROOT},") == 2
    assert f"python -m infra deploy --stage {STAGE}" in said
    assert not stacks().exists(PIPELINE)


def test_stacks_that_stand_by_themselves_are_not_nested_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(tmp_path)
    assert run("deploy", "--image-tag", "abc") == 2
    assert f"there is a stack {CHILDREN[0]}," in words(capsys.readouterr().err)
    assert run_deploy(tmp_path) == 0


def test_what_was_only_proposed_is_in_nobodys_way() -> None:
    stacks().propose(ROOT, {}, {}, TemplateBody=ANY)
    assert not stacks().exists(ROOT)
    assert run("pipeline", "--connection", CONNECTION) == 0


# What goes, and what is kept


def test_the_pipeline_goes_after_those_that_its_roles_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(tmp_path)
    assert run("pipeline", "--connection", CONNECTION) == 0
    asked = []
    made = client("cloudformation")
    delete = made.delete_stack

    def recorded(StackName: str) -> Any:
        asked.append(StackName)
        return delete(StackName=StackName)

    monkeypatch.setattr(made, "delete_stack", recorded)
    gone = list(Deployment(Stacks(made, HASTE), STAGE, {}).remove())
    assert asked == gone == [*reversed(CHILDREN), PIPELINE]
    asked.clear()
    for name in (ROOT, PIPELINE):
        stacks().put(name, {}, {}, TemplateBody=ANY)
    list(Deployment(Stacks(made, HASTE), STAGE, {}).remove())
    assert asked == [ROOT, PIPELINE]
    assert stacks().exists(ARTIFACTS)


def test_a_later_deployment_goes_on_with_what_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = deploy(tmp_path)
    item = {"partition": {"S": "accounts"}, "key": {"S": "live"}}
    client("dynamodb").put_item(TableName=before["TableName"], Item=item)
    monkeypatch.setattr("builtins.input", lambda *_: STAGE)
    assert run("teardown") == 0
    [going_on] = re.findall(r"^ +--set .*$", capsys.readouterr().out, re.MULTILINE)
    assert going_on.split()[1::2] == [
        f"KeptBucket={before['BucketName']}",
        f"KeptTable={before['TableName']}",
        f"TrackingUri={APP}",
    ]
    assert run_deploy(tmp_path, *going_on.split()) == 0
    again = Deployment(stacks(), STAGE, {})
    after = again.deploy_separately(again.publish(small_build(tmp_path)))  # once chosen, it stays
    for name in ("BucketName", "TableName", "TrackingUri"):
        assert after[name] == before[name]
    tables = client("dynamodb").list_tables()["TableNames"]
    assert tables == [before["TableName"]]
    assert client("dynamodb").get_item(TableName=tables[0], Key=item)["Item"] == item
    buckets = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    assert [name for name in buckets if name.startswith(f"{ROOT}-")] == [before["BucketName"]]
    bot = client("lambda").get_function_configuration(FunctionName=f"{ROOT}-trading_bot")
    assert bot["Environment"]["Variables"]["STATE_URI"] == f"dynamodb://{before['TableName']}"


def test_without_these_a_later_deployment_starts_afresh(tmp_path: Path) -> None:
    before = deploy(tmp_path)
    list(Deployment(stacks(), STAGE, {}).remove())
    after = deploy(tmp_path)
    for name in ("BucketName", "TableName"):
        assert after[name] != before[name]
    assert before["TableName"] in client("dynamodb").list_tables()["TableNames"]
