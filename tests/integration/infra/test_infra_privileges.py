"""Least privilege: each role may do what its function does, needs all that it may, and no more.

What the functions ask of AWS is captured; moto's evaluator judges it by the very policies that the
templates made.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest
from moto.iam.access_control import IAMPolicyStatement, PermissionResult

from infra.privileges import table
from infra.templates import FOLDER
from rehearsal.imitated_aws import APP
from store.aws import client
from tests.aws_fakes import fake_aws
from tests.captured_calls import Call, arn, job_arn
from tests.deployed_scenarios import run_all
from tests.deployed_system import FUNCTIONS, STAGE, deployed_system

ROLES = (*FUNCTIONS, "training_job")


@dataclass(frozen=True)
class World:
    """The policies' statements, the calls by role, and what the stacks made."""

    statements: Mapping[str, list[dict[str, Any]]]
    calls: Mapping[str, set[Call]]
    bucket: str
    table: str
    queue: str
    topic: str

    def allowing(self, role: str, call: Call) -> list[dict[str, Any]]:
        return [each for each in self.statements[role] if permits(each, call)]


OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringLike": fnmatchcase,
}


def permits(statement: Mapping[str, Any], call: Call) -> bool:
    """Whether one statement allows a call: by moto's evaluator, which knows no StringLike and
    takes a condition on what the call does not tell as met; so conditions are judged here.
    """
    bare = {key: value for key, value in statement.items() if key != "Condition"}
    answer = IAMPolicyStatement(bare).is_action_permitted(call.action, call.resource)
    told = dict(call.conditions)
    return answer is PermissionResult.PERMITTED and all(
        key in told and any(OPERATORS[operator](told[key], each) for each in listed(wanted))
        for operator, pairs in statement.get("Condition", {}).items()
        for key, wanted in pairs.items()
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("deployed")
    with fake_aws(), deployed_system(folder) as system:
        run_all(system, folder)
        outputs = system.outputs
        queue = arn("sqs", outputs["QueueUrl"].rpartition("/")[2])
        calls = {
            role: system.calls[role] | set(of_services(role, queue, system.bucket))
            for role in ROLES
        }
        yield World(
            {role: statements_of(role) for role in ROLES},
            calls,
            f"arn:aws:s3:::{system.bucket}",
            arn("dynamodb", f"table/{outputs['TableName']}"),
            queue,
            outputs["TopicArn"],
        )


def statements_of(role: str) -> list[dict[str, Any]]:
    """Of the role's one policy, as the template made it; it has no other."""
    name = f"trading-system-{STAGE}-{role}"
    iam = client("iam")
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == [role]
    answer: Any = iam.get_role_policy(RoleName=name, PolicyName=role)["PolicyDocument"]
    document = ast.literal_eval(answer)  # moto writes a template's policy as Python does
    found: list[dict[str, Any]] = document["Statement"]
    return found


def of_services(role: str, queue: str, bucket: str) -> Iterator[Call]:
    """What AWS's services do by themselves with a role, by their documentation."""
    if role != "training_job":
        log = arn("logs", f"log-group:/aws/lambda/trading-system-{STAGE}-{role}:log-stream:2026")
        yield from (Call(f"logs:{each}", log) for each in ("CreateLogStream", "PutLogEvents"))
    if role == "launch_spot_validator":  # Lambda's event source mapping
        for each in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage"):
            yield Call(f"sqs:{each}", queue)
    if role == "training_job":  # SageMaker, before, beside and after the program
        repository = arn("ecr", "repository/trading-system/training")
        for each in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
            yield Call(f"ecr:{each}", repository)
        yield Call("ecr:GetAuthorizationToken")
        group = arn("logs", "log-group:/aws/sagemaker/TrainingJobs")
        yield Call("logs:CreateLogGroup", group)
        yield Call("logs:DescribeLogStreams", group)
        for each in ("CreateLogStream", "PutLogEvents"):
            yield Call(f"logs:{each}", f"{group}:log-stream:job/algo-1")
        namespace = (("cloudwatch:namespace", "/aws/sagemaker/TrainingJobs"),)
        yield Call("cloudwatch:PutMetricData", "*", namespace)
        yield Call("s3:GetObject", f"arn:aws:s3:::{bucket}/campaigns/c0ffee/input/config.json")
        yield Call("s3:PutObject", f"arn:aws:s3:::{bucket}/jobs/job/output/model.tar.gz")


@pytest.mark.parametrize("role", ROLES)
def test_everything_that_a_function_asks_for_is_allowed(world: World, role: str) -> None:
    assert world.calls[role]
    denied = [call for call in world.calls[role] if not world.allowing(role, call)]
    assert sorted(denied) == []


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_allowed_that_is_not_asked_for(world: World, role: str) -> None:
    """Neither a statement, nor an action or a resource of one."""
    unused = []
    for statement in world.statements[role]:
        for part in parts(statement):
            if not any(permits(part, call) for call in world.calls[role]):
                unused.append((part["Sid"], part["Action"], part["Resource"]))
    assert unused == []


def parts(statement: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The statement with one of its actions, then with one of its resources."""
    for action in listed(statement["Action"]):
        yield {**statement, "Action": action}
    for resource in listed(statement["Resource"]):
        yield {**statement, "Resource": resource}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def forbidden(world: World) -> Iterator[Call]:
    """What no function may do."""
    for action in ("DeleteTable", "UpdateTable", "CreateTable", "UpdateTimeToLive", "Scan"):
        yield Call(f"dynamodb:{action}", world.table)
    yield Call("dynamodb:GetItem", arn("dynamodb", "table/another"))
    for action in ("DeleteBucket", "PutBucketPolicy", "PutLifecycleConfiguration"):
        yield Call(f"s3:{action}", world.bucket)
    yield Call("s3:PutObject", f"{world.bucket}/config.json")
    yield Call("s3:DeleteObject", f"{world.bucket}/mlflow/1/model")
    yield Call("s3:GetObject", "arn:aws:s3:::another/config.json")
    yield Call("s3:ListBucket", "arn:aws:s3:::another")
    yield Call("ssm:PutParameter", arn("ssm", "parameter/trading_system/ops/emergency_stop"))
    yield Call("ssm:GetParametersByPath", arn("ssm", "parameter/another/secret/"))
    yield Call("ssm:GetParametersByPath", arn("ssm", "parameter/"))
    yield Call("sns:DeleteTopic", world.topic)
    yield Call("sqs:PurgeQueue", world.queue)
    yield Call("sagemaker:DeleteMlflowApp", APP)
    yield Call("sagemaker:CreateTrainingJob", job_arn("somebody-elses"))
    yield Call("sagemaker:StopTrainingJob", job_arn("BTCUSDT-1h-c0ffee-shard1of1-0"))
    yield Call(
        "lambda:UpdateFunctionCode", arn("lambda", "function:trading-system-test-trading_bot")
    )
    yield Call("lambda:InvokeFunction", arn("lambda", "function:trading-system-test-trading_bot"))
    role = "arn:aws:iam::123456789012:role/trading-system-test-trading_bot"
    for action in ("CreateRole", "PutRolePolicy", "PassRole", "AttachRolePolicy"):
        yield Call(f"iam:{action}", role, (("iam:PassedToService", "lambda.amazonaws.com"),))
    yield Call("sts:AssumeRole", role)
    yield Call("kms:Decrypt", arn("kms", "key/1234"))
    yield Call("ec2:RunInstances")
    yield Call("cloudformation:UpdateStack", arn("cloudformation", "stack/trading-system-test/1"))


ALONE = {
    "ssm:GetParametersByPath environment": {"config_service", "trading_bot"},
    "sagemaker:CreateTrainingJob": {"launch_spot_validator"},
    "iam:PassRole": {"launch_spot_validator"},
    "sqs:SendMessage": {"initiate_validation_window", "orchestrator", "training_job_events"},
    "lambda:InvokeFunction": {"orchestrator"},
    "s3:PutObject candles": {"data_downloader"},
    "s3:PutObject campaigns": {"orchestrator"},
    "s3:PutObject mlflow": {"model_retrainer", "orchestrator", "training_job"},
    "s3:PutObject checkpoints": {"training_job"},
    "dynamodb:PutItem": set(ROLES) - {"config_service"},
}
"""What some may do, and nobody else."""


def guarded(world: World) -> Mapping[str, Call]:
    passed = (("iam:PassedToService", "sagemaker.amazonaws.com"),)
    retrainer = arn("lambda", f"function:trading-system-{STAGE}-model_retrainer")
    job_role = f"arn:aws:iam::123456789012:role/trading-system-{STAGE}-training_job"
    return {
        "ssm:GetParametersByPath environment": Call(
            "ssm:GetParametersByPath", arn("ssm", "parameter/trading_system/environment/")
        ),
        "sagemaker:CreateTrainingJob": Call(
            "sagemaker:CreateTrainingJob", job_arn("BTCUSDT-1h-c0ffee-shard1of1-0")
        ),
        "iam:PassRole": Call("iam:PassRole", job_role, passed),
        "sqs:SendMessage": Call("sqs:SendMessage", world.queue),
        "lambda:InvokeFunction": Call("lambda:InvokeFunction", retrainer),
        "s3:PutObject candles": Call("s3:PutObject", f"{world.bucket}/candles/BTCUSDT/1h/x"),
        "s3:PutObject campaigns": Call("s3:PutObject", f"{world.bucket}/campaigns/c/input/x"),
        "s3:PutObject mlflow": Call("s3:PutObject", f"{world.bucket}/mlflow/1/x"),
        "s3:PutObject checkpoints": Call(
            "s3:PutObject", f"{world.bucket}/walk_forward_checkpoints/c/x"
        ),
        "dynamodb:PutItem": Call("dynamodb:PutItem", world.table),
    }


@pytest.mark.parametrize("role", ROLES)
def test_what_no_function_may_do_is_refused(world: World, role: str) -> None:
    assert [call for call in forbidden(world) if world.allowing(role, call)] == []


@pytest.mark.parametrize("what", ALONE)
def test_what_some_may_do_nobody_else_may(world: World, what: str) -> None:
    call = guarded(world)[what]
    assert {role for role in ROLES if world.allowing(role, call)} == ALONE[what]


def test_a_job_role_is_handed_to_nobody_but_sagemaker(world: World) -> None:
    job_role = f"arn:aws:iam::123456789012:role/trading-system-{STAGE}-training_job"
    call = Call("iam:PassRole", job_role, (("iam:PassedToService", "ec2.amazonaws.com"),))
    assert not world.allowing("launch_spot_validator", call)


def test_the_table_in_the_documents_is_that_of_the_templates() -> None:
    path = FOLDER.parent / "docs" / "privileges.md"
    assert path.read_text(encoding="utf-8") == table(), "run: python -m infra privileges"


def test_the_judge_sees_a_condition_and_a_missing_right() -> None:
    """Of the evaluator itself: what it takes for granted would prove nothing."""
    listing = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::b",
        "Condition": {"StringLike": {"s3:prefix": ["candles/*", "mlflow/*"]}},
    }
    judged = [
        permits(listing, Call("s3:ListBucket", "arn:aws:s3:::b", (("s3:prefix", prefix),)))
        for prefix in ("candles/BTCUSDT/", "mlflow/1", "campaigns/", "")
    ]
    assert judged == [True, True, False, False]
    assert not permits(listing, Call("s3:ListBucket", "arn:aws:s3:::b"))
    assert not permits(listing, Call("s3:GetObject", "arn:aws:s3:::b"))
    assert not permits(listing, Call("s3:ListBucket", "arn:aws:s3:::bb"))
