"""The pipeline's template: a stage for each stack, in order, by a role of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

import pytest
from moto.events.models import EventPattern

from infra.privileges import statements_of
from infra.templates import FOLDER, children, in_words, resources
from store.aws import REGION
from tests.deployed_system import FUNCTIONS
from tests.integration.infra.template_parts import CHILDREN, listed, properties, schema

STAGES = properties("pipeline", "Pipeline")["Stages"]
BUILT = {"LayerKey": "LAYER_KEY", "CodeKey": "CODE_KEY", "ImageTag": "IMAGE_TAG"}


def actions(stage: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each["Name"]: each for each in stage["Actions"]}


def test_every_stack_is_a_stage_in_mains_order() -> None:
    order = [stage["Name"] for stage in STAGES]
    assert order == ["Source", "Build", *(child.logical_id for child in children())]


@pytest.mark.parametrize("child", children(), ids=CHILDREN)
def test_a_stage_gives_a_stack_what_main_gives_it(child: Any) -> None:
    [stage] = [each for each in STAGES if each["Name"] == child.logical_id]
    propose = actions(stage)["Propose"]["Configuration"]
    text = propose["ParameterOverrides"]["Fn::Sub"]
    expected = {}
    for name, source in child.parameters.items():
        if "Ref" in source:
            ref = source["Ref"]
            expected[name] = f"#{{Build.{BUILT[ref]}}}" if ref in BUILT else f"${{{ref}}}"
        else:
            other, path = source["Fn::GetAtt"]
            expected[name] = f"#{{{other}.{path.removeprefix('Outputs.')}}}"
    assert json.loads(text) == expected
    assert len(text) <= 1000  # CodePipeline takes a kilobyte
    assert propose["TemplatePath"] == f"Build::infra/{child.name}.yaml"
    deploy = actions(stage)["Deploy"]
    assert deploy["Namespace"] == child.logical_id  # what later stages call its outputs by
    for each in (propose, deploy["Configuration"]):
        assert in_words(each["StackName"]) == f"trading-system-${{Stage}}-{child.name}"
        assert each["ChangeSetName"] == "proposed"
    makes_roles = any(resources(child.name, "AWS::IAM::Role"))
    assert (propose.get("Capabilities") == "CAPABILITY_NAMED_IAM") == makes_roles


def test_the_build_exports_what_the_stages_take() -> None:
    build = (FOLDER.parent / "buildspec.yml").read_text()
    exported = build.partition("exported-variables:")[2].partition("phases:")[0]
    assert [name for name in BUILT.values() if f"- {name}\n" not in exported] == []


def test_a_person_approves_what_is_critical_once_it_is_seen() -> None:
    approved = {stage["Name"] for stage in STAGES if "Approve" in actions(stage)}
    assert approved == {"Storage", "Iam"}
    for stage in STAGES:
        if stage["Name"] in approved:
            order = {name: each["RunOrder"] for name, each in actions(stage).items()}
            assert order["Propose"] < order["Approve"] < order["Deploy"]


def test_functions_that_fail_after_a_deployment_are_taken_back() -> None:
    [stage] = [each for each in STAGES if each["Name"] == "Processing"]
    assert stage["OnFailure"]["Result"] == "ROLLBACK"
    [condition] = stage["OnSuccess"]["Conditions"]
    [rule] = condition["Rules"]
    assert condition["Result"] == "ROLLBACK"
    assert rule["RuleTypeId"]["Provider"] == "CloudWatchAlarm"
    assert rule["Configuration"]["AlarmName"] == {"Ref": "FunctionsFail"}
    watched = [
        in_words(each["MetricStat"]["Metric"]["Dimensions"][0]["Value"])
        for each in properties("pipeline", "FunctionsFail")["Metrics"]
        if "MetricStat" in each
    ]
    assert watched == [f"trading-system-${{Stage}}-{name}" for name in FUNCTIONS]


def test_every_step_has_a_role_of_its_own() -> None:
    roles: dict[str, set[str]] = {}
    for stage in STAGES:
        for name, action in actions(stage).items():
            if action["ActionTypeId"]["Category"] != "Approval":
                kind = action["ActionTypeId"]["Provider"]
                roles.setdefault(in_words(action["RoleArn"]), set()).add(kind)
            if name == "Propose":
                used = in_words(action["Configuration"]["RoleArn"])
                assert used == f"${{{stage['Name']}StackRole.Arn}}"
    assert sorted(roles.values()) == sorted(
        [{"CodeStarSourceConnection"}, {"CodeBuild"}, {"CloudFormation"}, {"S3"}]
    )


def event(kind: str, state: str, **detail: Any) -> dict[str, Any]:
    """As CodePipeline sends them."""
    return {
        "version": "0",
        "detail-type": f"CodePipeline {kind} Execution State Change",
        "source": "aws.codepipeline",
        "region": REGION,
        "detail": {
            "pipeline": "trading-system-prod",
            "execution-id": "01234567-0123-0123-0123-012345678901",
            "state": state,
            **detail,
        },
    }


def action(category: str, state: str) -> dict[str, Any]:
    kind = {"owner": "AWS", "category": category, "provider": "Manual", "version": "1"}
    return event("Action", state, stage="Storage", action="Approve", type=kind)


def told(sent: Mapping[str, Any]) -> list[str]:
    """What the operator reads of an event."""
    notices = []
    for _, resource in resources("pipeline", "AWS::Events::Rule"):
        rule = resource["Properties"]
        pattern = json.dumps(rule["EventPattern"])
        assert '{"Ref": "Pipeline"}' in pattern
        pattern = pattern.replace('{"Ref": "Pipeline"}', '"trading-system-prod"')
        if EventPattern.load(pattern).matches_event(sent):
            [target] = rule["Targets"]
            assert target["Arn"] == {"Ref": "Notices"}
            text = target["InputTransformer"]["InputTemplate"]
            for name, path in target["InputTransformer"]["InputPathsMap"].items():
                value: Any = sent
                for step in path.removeprefix("$.").split("."):
                    value = value[step]
                text = text.replace(f"<{name}>", value)
            notices.append(json.loads(text))
    return notices


def test_the_operator_hears_of_an_approval_that_waits_and_of_a_failure() -> None:
    place = f"https://{REGION}.console.aws.amazon.com/codesuite/codepipeline/pipelines/"
    place += "trading-system-prod/view"
    [waits] = told(action("Approval", "STARTED"))
    assert waits.startswith("Pipeline trading-system-prod: the change of Storage waits")
    assert waits.endswith(place)
    [failed] = told(event("Pipeline", "FAILED"))
    assert failed.startswith("Pipeline trading-system-prod failed, execution 01234567-")
    assert failed.endswith(place)


@pytest.mark.parametrize(
    "sent",
    [
        action("Deploy", "STARTED"),
        action("Approval", "SUCCEEDED"),
        event("Pipeline", "STARTED"),
        event("Pipeline", "SUPERSEDED"),
        event("Stage", "FAILED", stage="Build"),
        {**event("Pipeline", "FAILED"), "detail": {"pipeline": "another", "state": "FAILED"}},
    ],
    ids=lambda sent: f"{sent['detail-type'].split()[1]} {sent['detail']['state']}",
)
def test_the_operator_hears_of_nothing_else(sent: Mapping[str, Any]) -> None:
    assert told(sent) == []


def test_rules_may_speak_to_the_operator_whom_the_stack_itself_knows() -> None:
    email = properties("pipeline", "Email")
    assert email["TopicArn"] == {"Ref": "Notices"}
    assert email["Endpoint"] == {"Ref": "OperatorEmail"}
    allowed, denied = properties("pipeline", "NoticesPolicy")["PolicyDocument"]["Statement"]
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert (allowed["Action"], allowed["Resource"]) == ("sns:Publish", {"Ref": "Notices"})
    assert "Condition" not in allowed  # EventBridge fulfils none at a topic
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


NOT_NEEDED = (
    # Features that no template uses.
    "*Replica", "*Import*", "dynamodb:*Kinesis*", "dynamodb:*Item", "dynamodb:Query",
    "dynamodb:Scan", "dynamodb:*ResourcePolicy", "dynamodb:UpdateContributorInsights",
    "*Metadata*", "*Abac", "s3:*Object*", "s3:ListBucket", "s3:Put*Configuration",
    "s3:PutBucketAcl", "s3:PutBucketCORS", "s3:PutBucketLogging", "s3:PutBucketNotification",
    "s3:PutBucketReplication", "s3:PutBucketWebsite", "s3:DeleteBucket*", "*PermissionsBoundary",
    "iam:AttachRolePolicy", "iam:DetachRolePolicy", "*PutDataProtectionPolicy",
    "*DeleteDataProtectionPolicy", "logs:*IndexPolicy", "lambda:*CodeSigning*",
    "*CapacityProvider", "lambda:Put*Config", "lambda:AssociateRuntimeAlias",
    "logs:*ResourcePolicy", "logs:CreateLogDelivery", "logs:*KmsKey", "*BearerToken*",
    "*DeletionProtection",
    # What is kept is not deleted.
    "dynamodb:DeleteTable", "sagemaker:DeleteMlflowApp",
)  # fmt: skip
SERVICE = {"KinesisFirehose": "firehose"}


@pytest.mark.parametrize("child", children(), ids=CHILDREN)
def test_a_stacks_role_can_make_what_its_template_has(child: Any) -> None:
    """By AWS's own schemas, which say what each kind of resource takes of its service."""
    role = properties("pipeline", f"{child.logical_id}StackRole")
    allowed = {each for one in statements_of(role) for each in listed(one["Action"])}
    needed, services = set(), {"iam"}
    for kind in sorted({resource["Type"] for _, resource in resources(child.name)}):
        service = SERVICE.get(kind.split("::")[1], kind.split("::")[1].lower())
        services.add(service)
        for handler in ("create", "read", "update", "delete"):
            said = schema(kind).get("handlers", {}).get(handler, {})
            for permission in said.get("permissions", ()):
                if permission.startswith(f"{service}:"):
                    needed.add(permission)
    wanted = {each for each in needed if not any(fnmatch(each, no) for no in NOT_NEEDED)}
    assert sorted(wanted - allowed) == []
    code = {"s3"} if child.name == "processing" else set()  # of the functions
    assert {each.split(":")[0] for each in allowed} <= services | code
