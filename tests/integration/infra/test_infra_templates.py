"""The templates themselves: how they fit together, and what moto skips or drops."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from infra.costs import functions
from infra.templates import FOLDER, children, defaults, in_words, resources, template
from serving.stack import LAMBDA_TIMEOUT
from store.aws import REGION
from store.config_file import read_config
from store.prices import load_prices
from tests.deployed_system import FUNCTIONS
from tests.integration.infra.template_parts import ALL, CHILDREN, properties, schema, walk

CONFIG = read_config(FOLDER.parent / "config.json")


# How they fit together


def test_every_template_is_a_stack_of_its_own_or_of_main() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(ALL)
    assert CHILDREN == [
        "storage", "messaging", "parameters", "mlflow", "training", "iam", "processing",
        "monitoring",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_cfn_lint_finds_nothing(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    found = lint(text, config=ManualArgs(regions=[REGION], include_checks=["I"]))
    assert [f"{each.rule.id} line {each.linenumber}: {each.message}" for each in found] == []


def test_each_stack_needs_only_those_before_it() -> None:
    before: set[str] = set()
    for child in children():
        for source in child.parameters.values():
            for logical_id, _ in [source.get("Fn::GetAtt", (None, None))]:
                assert logical_id is None or logical_id in before
        depends = template("main")["Resources"][child.logical_id].get("DependsOn")
        assert depends is None or depends in before
        before.add(child.logical_id)


@pytest.mark.parametrize("child", children(), ids=CHILDREN)
def test_a_stack_is_given_what_it_declares(child: Any) -> None:
    declared = set(template(child.name).get("Parameters", {}))
    assert set(child.parameters) <= declared
    assert declared - set(defaults(child.name)) <= set(child.parameters)
    used = {each["Ref"] for each in walk(template(child.name)) if "Ref" in each}
    for each in walk(template(child.name)):
        if "Fn::Sub" in each:
            used |= set(re.findall(r"\$\{(\w+)\}", str(each["Fn::Sub"])))
    assert declared <= used


def test_every_output_is_used_and_every_used_one_exists() -> None:
    used = {
        (logical_id, path.removeprefix("Outputs."))
        for each in walk(template("main"))
        for logical_id, path in [each.get("Fn::GetAtt", (None, ""))]
        if logical_id
    }
    given = {
        (child.logical_id, output)
        for child in children()
        for output in template(child.name).get("Outputs", {})
    }
    assert used == given


@pytest.mark.parametrize("name", ALL)
def test_whatever_can_be_tagged_is_tagged(name: str) -> None:
    for logical_id, resource in resources(name):
        tagging = schema(resource["Type"]).get("tagging") or {"taggable": True}
        tags = resource["Properties"].get("Tags") or resource["Properties"].get("ResourceTags")
        # moto cannot read an SSM parameter's tags: the stack's are handed on to it.
        if (
            tagging["taggable"]
            and resource["Type"] != "AWS::SSM::Parameter"
            and ("Tags" in schema(resource["Type"])["properties"] or name == "main")
        ):
            assert {"Key": "Project", "Value": "CryptoTradingSystem"} in (tags or []), logical_id
    assert json.loads((FOLDER / "stack.json").read_text()) == {
        "Tags": {"Project": "CryptoTradingSystem"}
    }


@pytest.mark.parametrize("name", [*CHILDREN, "artifacts", "pipeline"])
def test_data_outlives_its_stack_and_nothing_else_does(name: str) -> None:
    retained = {
        logical_id
        for logical_id, resource in resources(name)
        if "Retain" in (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
    }
    assert retained == {
        "storage": {"Bucket", "StateTable", "TlsOnly"},
        "mlflow": {"App", "AppRole"},
        "artifacts": {"Bucket", "TlsOnly"},
    }.get(name, set())
    for logical_id in retained:
        resource = template(name)["Resources"][logical_id]
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


# Storage and messaging


@pytest.mark.parametrize("name", ["storage", "artifacts"])
def test_buckets_are_private_encrypted_versioned_and_speak_tls_only(name: str) -> None:
    bucket = properties(name, "Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    policy = properties(name, "TlsOnly")
    [denial] = policy["PolicyDocument"]["Statement"]
    assert policy["Bucket"] == {"Ref": "Bucket"}
    assert (denial["Effect"], denial["Principal"], denial["Action"]) == ("Deny", "*", "s3:*")
    assert denial["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert [in_words(each) for each in denial["Resource"]] == ["${Bucket.Arn}", "${Bucket.Arn}/*"]


def test_files_are_kept_as_long_as_the_config_says() -> None:
    rules = properties("storage", "Bucket")["LifecycleConfiguration"]["Rules"]
    assert {each["Status"] for each in rules} == {"Enabled"}
    days = {each["Prefix"]: each["ExpirationInDays"] for each in rules if "Prefix" in each}
    years = CONFIG.walk_forward_config.history_years
    assert years == 5
    assert days["candles/"] == years * 365 + 2  # and the leap days of any five years
    assert days["walk_forward_checkpoints/"] == CONFIG.checkpoint_config.checkpoint_retention_days
    assert days["logs/"] == 365
    assert "mlflow/" not in days  # the registry's models: they go with their versions
    assert any("NoncurrentVersionExpiration" in each for each in rules)


def test_the_table_is_on_demand_recoverable_and_forgets() -> None:
    table = properties("storage", "StateTable")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [
        ("partition", "HASH"),
        ("key", "RANGE"),
    ]
    assert {each["AttributeType"] for each in table["AttributeDefinitions"]} == {"S"}


def test_a_nudge_is_hidden_for_longer_than_a_launcher_lives() -> None:
    queue = properties("messaging", "Nudges")
    launcher = functions()["launch_spot_validator"]
    assert queue["VisibilityTimeout"] > launcher["Timeout"] == LAMBDA_TIMEOUT.total_seconds()
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


# Functions, and what calls them


def test_every_handler_is_a_function_with_the_variables_that_it_asks_for() -> None:
    assert set(functions()) == set(FUNCTIONS)
    stack = importlib.import_module("serving.stack")._VARIABLES
    for name, function in functions().items():
        module = importlib.import_module(f"serving.{name}")
        assert callable(module.handler)
        wanted = set(getattr(module, "_VARIABLES", stack))
        if name == "orchestrator":
            wanted |= {"RETRAINER_FUNCTION"}
        if name == "model_retrainer":
            wanted |= {"GIT_COMMIT"}
        given = set(function["Environment"]["Variables"]) - {"MLFLOW_DISABLE_TELEMETRY"}
        assert given == wanted, name
        assert (function["Runtime"], function["Architectures"]) == ("python3.12", ["x86_64"])
        assert function["Layers"] == [{"Ref": "Layer"}]
        assert in_words(function["FunctionName"]) == f"trading-system-${{Stage}}-{name}"
        role = in_words(function["Role"])
        assert role.endswith(f":role/trading-system-${{Stage}}-{name}")


def test_functions_are_called_when_they_should_be() -> None:
    called = {
        each["Targets"][0]["Id"] + each["Targets"][0]["Input"]: each["ScheduleExpression"]
        for _, resource in resources("processing", "AWS::Events::Rule")
        for each in [resource["Properties"]]
    }
    assert called == {
        "data_downloader{}": "cron(0 0 * * ? *)",
        "orchestrator{}": "cron(0 1 * * ? *)",
        "trading_bot{}": "cron(0/5 * * * ? *)",
        'initiate_validation_window{"action": "open"}': "cron(0 14-21 * * ? *)",
        'initiate_validation_window{"action": "close"}': "cron(0 22 * * ? *)",
    }
    mapping = properties("processing", "TakeNudges")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    pattern = properties("training", "JobEnds")["EventPattern"]
    assert pattern["detail-type"] == ["SageMaker Training Job State Change"]
    allowed = {
        in_words(each["Properties"]["SourceArn"])
        for _, each in resources("processing", "AWS::Lambda::Permission")
    }
    rules = {f"${{{name}.Arn}}" for name, _ in resources("processing", "AWS::Events::Rule")}
    assert allowed == rules | {"${JobEndsArn}"}


def test_bot_and_launcher_run_one_at_a_time() -> None:
    alone = {name for name, each in functions().items() if "ReservedConcurrentExecutions" in each}
    assert alone == {"trading_bot", "launch_spot_validator"}
    for name in alone:
        reserved = functions()[name]["ReservedConcurrentExecutions"]["Fn::If"]
        assert reserved == ["Reserved", 1, {"Ref": "AWS::NoValue"}]
    assert defaults("processing")["ReserveConcurrency"] == "yes"


# Images


def test_images_are_scanned_and_their_tags_stay() -> None:
    repository = properties("artifacts", "TrainingImages")
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])


def test_prices_are_of_the_region_that_is_deployed_to() -> None:
    assert load_prices().region == REGION
