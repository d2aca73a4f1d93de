"""The operator's levers: settings that change while the system runs.

They are parameters of SSM below ``/trading_system``, or keys of a JSON file (embedded). What is
not set has its default; what is unknown or out of range is an error that names it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from store.aws import ask, patient
from store.backoff import Backoff
from strategy.config_errors import describe
from strategy.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

ROOT = "/trading_system"


@cache
def training_instance_types() -> frozenset[str]:
    """All that SageMaker trains on, by botocore's model of it (0.1 s to read, once)."""
    from store.request_check import input_shape

    resources = input_shape("sagemaker", "CreateTrainingJob").members["ResourceConfig"]
    return frozenset(resources.members["InstanceType"].enum)


def _listed(value: Any) -> Any:
    """Names as a tuple; SSM also has lists as text: ``c5.xlarge,m5.xlarge``."""
    if isinstance(value, str):
        names = value.strip().removeprefix("[").removesuffix("]").split(",")
        value = [name for name in (name.strip(" \t\n'\"") for name in names) if name]
    return tuple(value) if isinstance(value, list) else value


def _trainable(names: tuple[str, ...]) -> tuple[str, ...]:
    """SageMaker's names of EC2's instance types: ``ml.c5.xlarge`` for ``c5.xlarge``."""
    known = training_instance_types()
    full = {name: name if name.startswith("ml.") else f"ml.{name}" for name in names}
    wrong = [
        f"{name!r} (near: {', '.join(get_close_matches(own, known)) or 'none'})"
        for name, own in full.items()
        if own not in known
    ]
    if wrong:
        raise ValueError(f"SageMaker does not train on {', nor on '.join(wrong)}")
    return tuple(full.values())


class CostSettings(BaseModel):
    """What a campaign may cost, and on what it runs; ``/trading_system/cost/...``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    monthly_cost_limit: Annotated[float, Field(ge=0, description="USD, all of the project")] = 10.0
    spot_min_discount_perc: Annotated[
        float, Field(ge=0, le=1, description="Smallest Spot discount, 0.4 is 40 %")
    ] = 0.4
    spot_instance_type: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Which to try; EC2's names stand for SageMaker's"),
        BeforeValidator(_listed),
        AfterValidator(_trainable),
    ] = (
        "ml.c5.xlarge",
        "ml.m5.xlarge",
        "ml.m6i.large",
        "ml.m5.large",
        "ml.c6i.xlarge",
        "ml.c7i.large",
    )
    max_runtime_hours: Annotated[float, Field(gt=0, le=120, description="Of a training job")] = 6.0
    max_wait_hours: Annotated[
        float, Field(gt=0, le=240, description="The same, with what it waits for Spot")
    ] = 24.0
    launch_window_hours: Annotated[
        float, Field(gt=0, le=24, description="How long jobs are launched once it opens")
    ] = 8.0

    @model_validator(mode="after")
    def _waits_for_its_runtime(self) -> Self:
        if self.max_wait_hours < self.max_runtime_hours:
            raise ValueError(
                f"max_wait_hours {self.max_wait_hours:g} lies below max_runtime_hours "
                f"{self.max_runtime_hours:g}, which it includes"
            )
        return self


class _Document(BaseModel):
    """All settings, by section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost: CostSettings = CostSettings()


class Settings(Protocol):
    """Reads the settings anew at every call; one contract suite holds for all."""

    def cost(self) -> CostSettings:
        """What a campaign may cost.

        Raises
        ------
        ConfigError
            A setting is unknown or out of range; the message names it and what is allowed.
        StoreError, RetryError
            The settings cannot be read, or not now.
        """
        ...


@dataclass(frozen=True)
class SettingsFile:
    """A JSON file: ``{"cost": {"monthly_cost_limit": 20}}``. Without a file, the defaults."""

    path: Path

    def cost(self) -> CostSettings:
        return self._read().cost

    def _read(self) -> _Document:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return _Document()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path} cannot be read: {error}") from error
        try:
            return _validated(_Document, json.loads(text), f"{self.path}: ")
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{self.path}: not valid JSON at line {error.lineno}, column {error.colno}: "
                f"{error.msg}"
            ) from error


@dataclass(frozen=True)
class SsmSettings:
    """Parameters of SSM, such as ``/trading_system/cost/monthly_cost_limit``.

    Parameters
    ----------
    client
        boto3's ``ssm`` client.
    """

    client: Any
    backoff: Backoff = field(default_factory=patient)

    def cost(self) -> CostSettings:
        path = f"{ROOT}/cost/"
        pages = self.client.get_paginator("get_parameters_by_path").paginate(
            Path=path, Recursive=True
        )
        found = ask(
            f"parameters below {path}",
            lambda: [parameter for page in pages for parameter in page["Parameters"]],
            self.backoff,
        )
        values = {entry["Name"].removeprefix(path): _parsed(entry["Value"]) for entry in found}
        return _validated(CostSettings, values, path)


def _parsed(text: str) -> Any:
    """A parameter is text: a number, a list as JSON, or just text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _validated(model: type[M], values: Any, prefix: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        schema = model.model_json_schema()
        lines = [prefix + describe(detail, schema) for detail in error.errors()]
        raise ConfigError("; ".join(lines)) from error
