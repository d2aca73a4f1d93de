"""What can be set, what it may be, and what it is where nobody has set it.

Values come as JSON or, from SSM and command lines, as text: ``0.02``, ``True``,
``c5.xlarge,m5.xlarge``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)


@cache
def training_instance_types() -> frozenset[str]:
    """All that SageMaker trains on, by botocore's model of it (0.1 s to read, once)."""
    from store.request_check import input_shape

    resources = input_shape("sagemaker", "CreateTrainingJob").members["ResourceConfig"]
    return frozenset(resources.members["InstanceType"].enum)


def _number(value: str) -> float | str:
    with suppress(ValueError):
        return float(value)
    return value


def _switch(value: str) -> bool | str:
    """Only true and false: a switch that says ``on`` or ``1`` is refused, not guessed at."""
    return {"true": True, "false": False}.get(value.strip().lower(), value)


def _names(value: str) -> list[str]:
    names = value.strip().removeprefix("[").removesuffix("]").split(",")
    return [name for name in (name.strip(" \t\n'\"") for name in names) if name]


_FROM_TEXT: Mapping[Any, Callable[[str], Any]] = {
    float: _number,
    bool: _switch,
    tuple[str, ...]: _names,
}
"""By a setting's type; of any other text the ends are stripped, for what is pasted often ends in
a line break."""


class Section(BaseModel):
    """Settings below one name: immutable, refusing names it does not know.

    Pydantic's own errors show no values, which may be secrets.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            kind = cls.model_fields[str(info.field_name)].annotation
            value = _FROM_TEXT.get(kind, str.strip)(value)
        return tuple(value) if isinstance(value, list) else value


def _sendable(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]*", value.get_secret_value()):
        raise ValueError("must be ASCII without spaces and line breaks (its value is not shown)")
    return value


def _chat(value: Any) -> Any:
    """In JSON it is often a number."""
    return str(value) if type(value) is int else value


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


Secret = Annotated[SecretStr, AfterValidator(_sendable)]


class CostSettings(Section):
    """What a campaign may cost, and on what it runs; ``/trading_system/cost/...``."""

    monthly_cost_limit: Annotated[float, Field(ge=0, description="USD, all of the project")] = 10.0
    spot_min_discount_perc: Annotated[
        float, Field(ge=0, le=1, description="Smallest Spot discount, 0.4 is 40 %")
    ] = 0.4
    spot_instance_type: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Which to try; EC2's names stand for SageMaker's"),
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


class RiskSettings(Section):
    """What a trade and all trades together may lose; ``/trading_system/risk/...``."""

    risk_per_trade: Annotated[
        float, Field(ge=0.001, le=0.05, description="Of free capital, at the stop; 0.01 is 1 %")
    ] = 0.01
    risk_exposition: Annotated[
        float, Field(ge=0.001, le=0.05, description="Of equity, all open positions together")
    ] = 0.03
    paper_capital: Annotated[
        float, Field(gt=0, description="USD with which a paper account begins")
    ] = 10_000.0

    @model_validator(mode="after")
    def _leaves_room_for_a_trade(self) -> Self:
        if self.risk_per_trade > self.risk_exposition:
            raise ValueError(
                f"risk_per_trade {self.risk_per_trade:g} lies above risk_exposition "
                f"{self.risk_exposition:g}, so that no position could ever open"
            )
        return self


class OpsSettings(Section):
    """The operator's switches; ``/trading_system/ops/...``."""

    master_trading_switch: Annotated[
        bool, Field(description="false: nothing new opens, what is open is managed")
    ] = True
    emergency_stop: Annotated[bool, Field(description="true: everything is closed")] = False


class EnvironmentSettings(Section):
    """With whom the system speaks, and as whom; ``/trading_system/environment/...``.

    Secrets are empty where they are not set, and never shown.
    """

    github_repo: str = "git@github.com:tpompeu/cripto-trading-system.git"
    binance_environment: Annotated[
        Literal["demo", "live"], Field(description="live: real money")
    ] = "demo"
    binance_api_key: Secret = SecretStr("")
    binance_api_secret: Secret = SecretStr("")
    telegram_token: Annotated[Secret, Field(description="As @BotFather gives it")] = SecretStr("")
    telegram_chat_id: Annotated[
        str,
        Field(pattern=r"^(-?\d+|@\w+)?$", description="A number, or @channel"),
        BeforeValidator(_chat),
    ] = ""


SECTIONS: Mapping[str, type[Section]] = {
    "cost": CostSettings,
    "risk": RiskSettings,
    "ops": OpsSettings,
    "environment": EnvironmentSettings,
}

SECRETS = frozenset(
    name
    for name, field in EnvironmentSettings.model_fields.items()
    if field.annotation is SecretStr
)
"""Of ``environment``; no other section has any."""
