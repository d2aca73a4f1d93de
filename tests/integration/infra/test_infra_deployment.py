"""The stacks deployed into moto by the real commands, in main.yaml's own order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.cloudformation.models import ChangeSet

from infra import __main__ as command
from infra import commands
from infra.deployment import ARTIFACTS, Deployment
from infra.stacks import Stacks
from infra.templates import children, resources
from rehearsal.imitated_aws import APP, HASTE, small_build
from store.aws import client
from strategy.errors import ConfigError, StoreError
from tests.aws_fakes import fake_aws
from tests.deployed_system import STAGE, deploy

QUEUE = """
Parameters:
  Name:
    Type: String
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Ref Name
Outputs:
  Url:
    Value: !Ref Queue
"""


@pytest.fixture
def aws() -> Iterator[None]:
    with fake_aws():
        yield


@pytest.fixture
def stacks(aws: None, monkeypatch: pytest.MonkeyPatch) -> Stacks:
    """With a moto that gives a stack its outputs once a change set was carried out."""

    def apply(self: ChangeSet) -> None:
        real(self)
        self.stack.template = self.template
        self.stack._parse_template()
        self.stack.output_map = self.stack._create_output_map()

    real = ChangeSet.apply
    monkeypatch.setattr(ChangeSet, "apply", apply)
    return Stacks(client("cloudformation"), HASTE)


def statuses() -> dict[str, str]:
    found = client("cloudformation").describe_stacks()["Stacks"]
    return {each["StackName"]: each["StackStatus"] for each in found}


def test_every_stack_is_deployed_in_mains_order_and_complete(aws: None, tmp_path: Path) -> None:
    outputs = deploy(tmp_path)
    names = [ARTIFACTS, *(f"trading-system-{STAGE}-{child.name}" for child in children())]
    assert statuses() == dict.fromkeys(names, "CREATE_COMPLETE")
    assert outputs["TrackingUri"] == APP
    found = client("cloudformation").describe_stacks()["Stacks"]
    for stack in found:
        assert {"Key": "Project", "Value": "CryptoTradingSystem"} in stack["Tags"]
        for output in stack.get("Outputs", ()):
            assert output["OutputValue"], (stack["StackName"], output)


def test_what_was_deployed_carries_one_stacks_outputs_to_another(aws: None, tmp_path: Path) -> None:
    outputs = deploy(tmp_path)
    deployed = client("lambda").list_functions()["Functions"]
    assert len(deployed) == len(list(resources("processing", "AWS::Lambda::Function"))) == 8
    launcher = client("lambda").get_function_configuration(
        FunctionName=f"trading-system-{STAGE}-launch_spot_validator"
    )
    role = f"arn:aws:iam::123456789012:role/trading-system-{STAGE}"
    repository = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/trading-system/training"
    assert launcher["Role"] == f"{role}-launch_spot_validator"
    assert launcher["Environment"]["Variables"] == {
        "BUCKET": outputs["BucketName"],
        "IMAGE_URI": f"{repository}:0a1b2c3",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": APP,
        "QUEUE_URL": outputs["QueueUrl"],
        "ROLE_ARN": f"{role}-training_job",
        "STATE_URI": f"dynamodb://{outputs['TableName']}",
        "TOPIC_ARN": outputs["TopicArn"],
    }
    iam_roles = {each["Arn"] for each in client("iam").list_roles()["Roles"]}
    assert {each["Role"] for each in deployed} <= iam_roles
    config = client("s3").get_object(Bucket=outputs["BucketName"], Key="config.json")
    assert json.loads(config["Body"].read())["asset_timeframes"]
    [mapping] = client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["FunctionArn"] == launcher["FunctionArn"]


def test_deployed_again_nothing_is_made_anew_and_choices_stay(aws: None, tmp_path: Path) -> None:
    first = deploy(tmp_path, OperatorEmail="ana@example.org", MonthlyCostLimit="7.5")
    stack_ids = {each["StackId"] for each in client("cloudformation").describe_stacks()["Stacks"]}
    again = Deployment(Stacks(client("cloudformation"), HASTE), STAGE, {})
    parameters = again.publish(small_build(tmp_path))
    assert parameters["OperatorEmail"] == "ana@example.org"
    assert parameters["MonthlyCostLimit"] == "7.5"
    assert again.deploy_separately(parameters) == first
    after = {each["StackId"] for each in client("cloudformation").describe_stacks()["Stacks"]}
    assert after == stack_ids
    limit = client("ssm").get_parameter(Name="/trading_system/cost/monthly_cost_limit")
    assert limit["Parameter"]["Value"] == "7.5"
    messaging = again.stacks.parameters(f"trading-system-{STAGE}-messaging")
    assert messaging["OperatorEmail"] == "ana@example.org"


def test_a_stage_that_cannot_be_part_of_names_is_refused(aws: None) -> None:
    for stage in ("Prod", "1st", "a" * 17, ""):
        with pytest.raises(ConfigError, match="stage"):
            Deployment(Stacks(client("cloudformation")), stage, {})


def test_what_cannot_be_chosen_is_named(aws: None) -> None:
    with pytest.raises(ConfigError, match="Colour"):
        Deployment(Stacks(client("cloudformation")), "test", {"Colour": "red"})


# One stack


def test_what_is_proposed_is_shown_and_changes_nothing(stacks: Stacks) -> None:
    changes = stacks.propose("queues", {"Name": "one"}, {}, TemplateBody=QUEUE)
    assert [(each.action, each.logical_id, each.kind) for each in changes] == [
        ("Add", "Queue", "AWS::SQS::Queue")
    ]
    assert client("sqs").list_queues().get("QueueUrls", []) == []
    stacks.withdraw("queues")
    assert statuses() == {}


def test_what_was_proposed_is_carried_out(stacks: Stacks) -> None:
    stacks.propose("queues", {"Name": "one"}, {"Project": "P"}, TemplateBody=QUEUE)
    assert stacks.carry_out("queues")["Url"].endswith("/one")
    assert stacks.parameters("queues") == {"Name": "one"}
    assert stacks.propose("queues", {"Name": "one"}, {}, TemplateBody=QUEUE) == []
    assert stacks.remove("queues")
    assert not stacks.remove("queues")
    assert stacks.outputs("queues") is None


def test_a_template_that_is_refused_says_why(stacks: Stacks) -> None:
    with pytest.raises(ConfigError, match=r"stack queues: .*Missing"):
        stacks.put("queues", {}, {}, TemplateBody=QUEUE.replace("!Ref Name", "!Ref Missing"))


def test_what_failed_is_named_with_its_reason(stacks: Stacks, monkeypatch: Any) -> None:
    stacks.put("queues", {"Name": "one"}, {}, TemplateBody=QUEUE)
    events = [
        {"ResourceStatus": "UPDATE_ROLLBACK_IN_PROGRESS", "LogicalResourceId": "queues"},
        {
            "ResourceStatus": "UPDATE_FAILED",
            "LogicalResourceId": "Other",
            "ResourceStatusReason": "Resource update cancelled",
        },
        {
            "ResourceStatus": "UPDATE_FAILED",
            "LogicalResourceId": "Queue",
            "ResourceStatusReason": "the name is taken",
        },
    ]
    monkeypatch.setattr(stacks.client, "describe_stack_events", lambda **_: {"StackEvents": events})
    monkeypatch.setattr(stacks.client, "update_stack", lambda **_: None)
    described = stacks.client.describe_stacks(StackName="queues")
    described["Stacks"][0]["StackStatus"] = "UPDATE_ROLLBACK_COMPLETE"
    with monkeypatch.context() as patch:
        patch.setattr(stacks.client, "_make_api_call", lambda name, _: described)
        with pytest.raises(StoreError, match=r"^stack queues: Queue: the name is taken$"):
            stacks._await("queues", "stack_update_complete")


# Commands


@pytest.fixture
def hasty(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "Stacks", lambda made: Stacks(made, HASTE))


def test_the_command_deploys_and_says_what_a_shell_needs(
    hasty: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = small_build(tmp_path)
    arguments = ["deploy", "--stage", "test", "--separately", "--image-tag", "abc"]
    arguments += ["--layer", str(build.layer), "--functions", str(build.functions)]
    assert command.main([*arguments, "--set", f"TrackingUri={APP}"]) == 0
    shown = capsys.readouterr().out
    assert f"export MLFLOW_TRACKING_URI={APP}" in shown
    assert "export IMAGE_URI=123456789012.dkr.ecr." in shown
    assert "export STATE_URI=dynamodb://trading-system-test-storage-" in shown


def test_a_build_that_is_missing_is_named(
    hasty: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["deploy", "--stage", "test", "--image-tag", "abc"]
    assert command.main([*arguments, "--layer", str(tmp_path / "none.zip")]) == 2
    said = capsys.readouterr().err
    assert "none.zip" in said
    assert "infra.layer build" in said


def test_teardown_says_what_it_keeps_and_asks(
    hasty: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deploy(tmp_path)
    before = statuses()
    monkeypatch.setattr("builtins.input", lambda *_: "no")
    assert command.main(["teardown", "--stage", STAGE]) == 1
    assert statuses() == before
    monkeypatch.setattr("builtins.input", lambda *_: STAGE)
    assert command.main(["teardown", "--stage", STAGE]) == 0
    shown = capsys.readouterr().out
    for kept in ("Bucket of storage.yaml", "StateTable of storage.yaml", "App of mlflow.yaml"):
        assert kept in shown
    assert set(statuses()) == {ARTIFACTS}


def test_secrets_are_written_encrypted_and_never_shown(
    aws: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"binance_api_key": "vmPUZE6mv9SD5VNH", "binance_api_secret": "NhqPtmdSJYdKjVHj"}

    def asked(prompt: str) -> str:
        return given.get(prompt.split()[0], "")

    monkeypatch.setattr(commands, "getpass", asked)
    assert commands.run_secrets(None, asked) == 0  # type: ignore[arg-type]
    shown = capsys.readouterr()
    for name, value in given.items():
        assert value not in shown.out + shown.err
        found = client("ssm").get_parameter(
            Name=f"/trading_system/environment/{name}", WithDecryption=True
        )["Parameter"]
        assert (found["Type"], found["Value"]) == ("SecureString", value)
    below = client("ssm").get_parameters_by_path(Path="/trading_system/environment")["Parameters"]
    assert len(below) == len(given)
