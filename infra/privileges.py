"""Writes who may do what: the roles of the templates, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.templates import FOLDER, in_words, resources

PATH = FOLDER.parent / "docs" / "privileges.md"
TEMPLATES = ("iam", "training", "mlflow", "monitoring", "pipeline")
ROLE = "AWS::IAM::Role"

_HEAD = """# Who may do what

Written by `python -m infra privileges` from the templates; the tests compare. A role may do what
stands here and nothing else: there are no managed policies. `${…}` is known when it is deployed.
That everything here is needed, and that it is enough, is proved for the functions and training
jobs by `tests/integration/infra/test_infra_privileges.py`, on what they ask of AWS.
"""


def table() -> str:
    """The document: every role's actions with their resources."""
    rows = {name: list(_roles(name)) for name in TEMPLATES}
    roles = sum(len(found) for found in rows.values())
    statements = [each for found in rows.values() for _, _, each in found]
    actions = sum(len(_listed(one["Action"])) for each in statements for one in each)
    counts = f"{roles} roles, {sum(map(len, statements))} statements, {actions} actions.\n"
    sections = [
        f"\n## {name}.yaml\n\n" + "\n".join(_section(*role) for role in found)
        for name, found in rows.items()
        if found
    ]
    return f"{_HEAD}\n{counts}{''.join(sections)}"


def statements_of(role: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of all policies of a role's properties."""
    return [
        statement
        for policy in role.get("Policies", ())
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def _roles(name: str) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    for logical_id, resource in resources(name, ROLE):
        properties = resource["Properties"]
        [trust] = properties["AssumeRolePolicyDocument"]["Statement"]
        principals = trust["Principal"]
        who = ", ".join(in_words(each) for value in principals.values() for each in _listed(value))
        yield logical_id, who, statements_of(properties)


def _section(logical_id: str, who: str, statements: list[Mapping[str, Any]]) -> str:
    lines = [f"### {logical_id}", "", f"Of `{who}`.", ""]
    lines += ["| actions | on | only if |", "|---|---|---|"]
    for statement in statements:
        actions = ", ".join(f"`{each}`" for each in _listed(statement["Action"]))
        on = "<br>".join(f"`{_short(each)}`" for each in _listed(statement["Resource"]))
        lines.append(f"| {actions} | {on} | {_condition(statement.get('Condition', {}))} |")
    return "\n".join(lines) + "\n"


def _condition(condition: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(
        f"`{key}` is {' or '.join(f'`{in_words(each)}`' for each in _listed(values))}"
        for pairs in condition.values()
        for key, values in pairs.items()
    )


def _short(resource: Any) -> str:
    """Without what is the same in all ARNs."""
    text = in_words(resource)
    for part in ("${AWS::Partition}", "${AWS::Region}", "${AWS::AccountId}"):
        text = text.replace(part, "")
    return text.replace("arn::", "")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
