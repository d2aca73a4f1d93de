"""Reads CloudFormation templates, and what main.yaml says of its stacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from strategy.errors import ConfigError

FOLDER = Path(__file__).parent
STACK = "AWS::CloudFormation::Stack"

Template = Mapping[str, Any]


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's short forms."""


def _long_form(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    """``!Ref X`` as ``{"Ref": "X"}``, ``!GetAtt X.Y`` as ``{"Fn::GetAtt": ["X", "Y"]}``."""
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)


@cache
def template(name: str) -> Template:
    """The template of that name, ``storage`` for storage.yaml, short forms written out.

    Raises
    ------
    ConfigError
        It is not there, or is no YAML.
    """
    path = FOLDER / f"{name}.yaml"
    try:
        found: Template = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: no template can be read: {error}") from error
    return found


@dataclass(frozen=True)
class Child:
    """A stack of main.yaml.

    Parameters
    ----------
    name
        Of its template, without ``.yaml``.
    parameters
        As main.yaml has them: a parameter of its own, ``{"Ref": "Stage"}``, or another child's
        output, ``{"Fn::GetAtt": ["Storage", "Outputs.BucketName"]}``.
    """

    logical_id: str
    name: str
    parameters: Mapping[str, Mapping[str, Any]]

    def resolved(
        self, given: Mapping[str, str], outputs: Mapping[str, Mapping[str, str]]
    ) -> dict[str, str]:
        """The parameters' values.

        Parameters
        ----------
        given
            Values of main.yaml's own parameters.
        outputs
            Of the children before this one, by their logical ids.

        Raises
        ------
        ConfigError
            One of them is nowhere to be had.
        """
        return {
            parameter: self._value(parameter, source, given, outputs)
            for parameter, source in self.parameters.items()
        }

    def _value(
        self,
        parameter: str,
        source: Mapping[str, Any],
        given: Mapping[str, str],
        outputs: Mapping[str, Mapping[str, str]],
    ) -> str:
        match source:
            case {"Ref": str(name)} if name in given:
                return given[name]
            case {"Fn::GetAtt": [str(child), str(path)]}:
                output = path.removeprefix("Outputs.")
                if output in outputs.get(child, {}):
                    return outputs[child][output]
        raise ConfigError(
            f"main.yaml: parameter {parameter} of {self.logical_id}: there is no {dict(source)}"
        )


def children() -> list[Child]:
    """The stacks of main.yaml, in its order: each needs only those before it."""
    return [
        Child(
            logical_id,
            resource["Properties"]["TemplateURL"]["Fn::Sub"]
            .rpartition("/")[2]
            .removesuffix(".yaml"),
            resource["Properties"]["Parameters"],
        )
        for logical_id, resource in template("main")["Resources"].items()
        if resource["Type"] == STACK
    ]


def defaults(name: str) -> dict[str, str]:
    """The template's parameters that have a default, as text."""
    return {
        parameter: str(declared["Default"])
        for parameter, declared in template(name).get("Parameters", {}).items()
        if "Default" in declared
    }


def resources(name: str, kind: str | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Logical ids and resources of a template, of one type or all."""
    for logical_id, resource in template(name)["Resources"].items():
        if kind in (None, resource["Type"]):
            yield logical_id, resource


def in_words(value: Any) -> str:
    """A value as text, with what is known only when it is deployed as ``${Name}``."""
    match value:
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [*path]}:
            return f"${{{'.'.join(path)}}}"
        case {"Fn::Sub": str(text)}:
            return text
    return str(value)
