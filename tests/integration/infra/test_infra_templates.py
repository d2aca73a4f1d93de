"""The templates themselves: how they fit together, and what moto skips or drops."""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from infra.costs import functions
from infra.privileges import statements_of
from infra.templates import FOLDER, children, defaults, in_words, resources, template
from serving.stack import LAMBDA_TIMEOUT
from store.aws import REGION
from store.config_file import read_config
from store.prices import load_prices
from store.settings import ROOT
from store.settings_sections import SECRETS, SECTIONS
from tests.bot_world import BotWorld
from tests.deployed_system import FUNCTIONS

CHILDREN = [child.name for child in children()]
ALL = ["main", "artifacts", *CHILDREN, "pipeline"]
CONFIG = read_config(FOLDER.parent / "config.json")


def properties(name: str, logical_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = template(name)["Resources"][logical_id]["Properties"]
    return found


@cache
def schema(kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return found


def walk(value: Any) -> Iterator[Mapping[str, Any]]:
    """All mappings in a template."""
    if isinstance(value, Mapping):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


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


# Levers


def levers() -> dict[str, Mapping[str, Any]]:
    return {
        each["Properties"]["Name"].removeprefix(f"{ROOT}/"): each["Properties"]
        for _, each in resources("parameters", "AWS::SSM::Parameter")
    }


UNSET = {f"environment/{name}" for name in SECRETS} | {"environment/telegram_chat_id"}


def test_every_lever_is_there_with_the_codes_own_default() -> None:
    known = {
        f"{section}/{key}" for section, model in SECTIONS.items() for key in model.model_fields
    }
    assert set(levers()) == known - UNSET
    for name, lever in levers().items():
        section, _, key = name.partition("/")
        value = lever["Value"]
        text = defaults("parameters")[value["Ref"]] if isinstance(value, dict) else value
        assert getattr(SECTIONS[section].model_validate({key: text}), key) == getattr(
            SECTIONS[section](), key
        ), name
        assert lever["Type"] == "String"
        assert re.fullmatch(lever["AllowedPattern"], text), name


IN_RANGE: Mapping[str, list[Any]] = {
    "cost/monthly_cost_limit": [0.0, 3.5, 10.0, 250.0],
    "cost/spot_min_discount_perc": [0.0, 0.4, 0.95, 1.0],
    "cost/spot_instance_type": [["ml.c5.xlarge"], ["ml.m5.large", "ml.c6i.xlarge"]],
    "cost/max_runtime_hours": [0.5, 1.0, 6.0, 12.25, 99.5, 120.0],
    "cost/max_wait_hours": [6.5, 24.0, 100.0, 199.9, 239.5, 240.0],
    "cost/launch_window_hours": [0.25, 1.0, 8.0, 10.5, 23.9, 24.0],
    "risk/risk_per_trade": [0.001, 0.0055, 0.01, 0.03],
    "risk/risk_exposition": [0.01, 0.049, 0.05],
    "risk/paper_capital": [0.5, 1000.0, 10000.0],
    "ops/master_trading_switch": [True, False],
    "ops/emergency_stop": [True, False],
    "environment/github_repo": ["git@github.com:owner/name.git"],
    "environment/binance_environment": ["demo", "live"],
}
OUT_OF_RANGE: Mapping[str, list[str]] = {
    "cost/monthly_cost_limit": ["-1", "ten"],
    "cost/spot_min_discount_perc": ["1.1", "-0.1", "95"],
    "cost/max_runtime_hours": ["0", "0.0", "120.5", "121", "1000"],
    "cost/max_wait_hours": ["0", "240.5", "241", "300"],
    "cost/launch_window_hours": ["0", "24.5", "25", "100"],
    "risk/risk_per_trade": ["0.0009", "0.051", "0.06", "0.1", "1", "0"],
    "risk/risk_exposition": ["0.0009", "0.051", "0.5"],
    "risk/paper_capital": ["0", "0.0", "-5"],
    "ops/master_trading_switch": ["on", "1", "True ", ""],
    "ops/emergency_stop": ["yes"],
    "environment/binance_environment": ["testnet", ""],
}


@pytest.mark.parametrize("name", IN_RANGE)
def test_a_lever_takes_what_the_code_writes_and_the_code_takes_what_it_allows(name: str) -> None:
    section, _, key = name.partition("/")
    pattern = levers()[name]["AllowedPattern"]
    for value in IN_RANGE[name]:
        written = value if isinstance(value, str) else json.dumps(value)  # as SsmSettings.set
        assert re.fullmatch(pattern, written), written
        longest = {"max_wait_hours": "240"} if key == "max_runtime_hours" else {}
        SECTIONS[section].model_validate({key: written} | longest)


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_a_lever_refuses_what_is_out_of_its_range(name: str) -> None:
    pattern = levers()[name]["AllowedPattern"]
    assert [text for text in OUT_OF_RANGE[name] if re.fullmatch(pattern, text)] == []


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


# Monitoring


def alarms() -> Mapping[str, Mapping[str, Any]]:
    return {
        in_words(each["Properties"]["AlarmName"]).removeprefix("trading-system-${Stage}-"): each[
            "Properties"
        ]
        for _, each in resources("monitoring", "AWS::CloudWatch::Alarm")
    }


def test_every_function_is_watched_and_every_alarm_tells_the_operator() -> None:
    for name in FUNCTIONS:
        for metric in ("Errors", "Throttles"):
            alarm = alarms()[f"{name}-{metric.lower()}"]
            assert alarm["MetricName"] == metric
            assert in_words(alarm["Dimensions"][0]["Value"]) == f"trading-system-${{Stage}}-{name}"
            assert (alarm["Threshold"], alarm["Statistic"]) == (1, "Sum")
    assert {"no-ticks", "dead-letters", "breaker-tripped"} < set(alarms())
    for alarm in alarms().values():
        assert alarm["AlarmActions"] == [{"Ref": "TopicArn"}]


def test_a_bot_that_says_nothing_is_an_alarm() -> None:
    alarm = alarms()["no-ticks"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("TradingSystem", "Ticks")
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "trading-system"}]
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert alarm["TreatMissingData"] == "breaching"


def test_the_alarm_of_a_tripped_breaker_knows_the_bots_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pattern = properties("monitoring", "BreakerWords")["FilterPattern"]
    words = re.fullmatch(r'\{ \$\.message = "(.+)" \}', pattern)
    assert words is not None
    still, gap = (1000.0, 1005.0, 995.0, 1000.0), (945.0, 946.0, 944.0, 945.0)
    world = BotWorld(still, gap, still, still, signals={0: 1.0})  # it loses 5.5 R of 1 %
    caplog.set_level(logging.INFO, "serving")
    told = []
    for bar in range(4):
        caplog.clear()
        world.at(bar)
        told.append(sum(fnmatch(each, words[1]) for each in caplog.messages))
    assert sum(told) == 1


def test_logs_are_kept_for_a_while_and_go_to_the_bucket() -> None:
    for name in FUNCTIONS:
        logical = "".join(word.capitalize() for word in name.split("_"))
        group = properties("processing", f"{logical}Log")
        assert group["RetentionInDays"] == 90
        sent = properties("monitoring", f"{logical}Log")
        assert sent["LogGroupName"] == group["LogGroupName"]
    stream = properties("monitoring", "LogDelivery")["ExtendedS3DestinationConfiguration"]
    assert stream["Prefix"].startswith("logs/")


def test_the_budget_is_the_limit() -> None:
    budget = properties("monitoring", "MonthlyBudget")["Budget"]
    assert budget["BudgetLimit"] == {"Amount": {"Ref": "MonthlyCostLimit"}, "Unit": "USD"}
    assert budget["CostFilters"] == {"TagKeyValue": ["user:Project$CryptoTradingSystem"]}
    given = {child.name: child.parameters for child in children()}
    assert given["monitoring"]["MonthlyCostLimit"] == given["parameters"]["MonthlyCostLimit"]


def test_the_dashboards_body_is_json_of_metrics_that_exist() -> None:
    body = json.loads(properties("monitoring", "Dashboard")["DashboardBody"]["Fn::Sub"])
    text = json.dumps(body)
    assert [name for name in FUNCTIONS if f"trading-system-${{Stage}}-{name}" not in text] == []
    assert '"TradingSystem", "Ticks", "service", "trading-system"' in text


# Images


def test_images_are_scanned_and_their_tags_stay() -> None:
    repository = properties("artifacts", "TrainingImages")
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])


# The pipeline

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


# Rights


def all_statements() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name in ALL:
        for logical_id, resource in resources(name, "AWS::IAM::Role"):
            for statement in statements_of(resource["Properties"]):
                yield name, logical_id, statement


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_right_is_a_wildcard() -> None:
    for name, logical_id, statement in all_statements():
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        for action in listed(statement["Action"]):
            assert "*" not in action, (name, logical_id, action)


def test_no_role_has_managed_policies() -> None:
    for name in ALL:
        for _, resource in resources(name, "AWS::IAM::Role"):
            assert "ManagedPolicyArns" not in resource["Properties"]


def test_every_right_on_everything_is_one_that_aws_cannot_narrow_and_says_why() -> None:
    on_all = {
        (action, name)
        for name, _, statement in all_statements()
        if "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }
    assert on_all == {
        ("ce:GetCostAndUsage", "iam"),
        ("ec2:DescribeSpotPriceHistory", "iam"),
        ("ecr:GetAuthorizationToken", "training"),
        ("cloudwatch:PutMetricData", "training"),
        ("ecr:GetAuthorizationToken", "pipeline"),
        ("lambda:CreateEventSourceMapping", "pipeline"),
        ("logs:DescribeLogGroups", "pipeline"),
        ("logs:DescribeResourcePolicies", "pipeline"),
    }
    for name in ALL:
        lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
        for number, line in enumerate(lines):
            if re.search(r'Resource: "\*"', line):
                above = "\n".join(lines[number - 12 : number])
                assert "# AWS knows no resource" in above or "# A denial" in above, (name, number)


def test_prices_are_of_the_region_that_is_deployed_to() -> None:
    assert load_prices().region == REGION
