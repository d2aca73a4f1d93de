"""The rights that the templates give: none is wider than it must be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.privileges import statements_of
from infra.templates import FOLDER, resources
from tests.integration.infra.template_parts import ALL, listed


def all_statements() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name in ALL:
        for logical_id, resource in resources(name, "AWS::IAM::Role"):
            for statement in statements_of(resource["Properties"]):
                yield name, logical_id, statement


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
