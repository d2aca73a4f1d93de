"""One place to ask how the system is configured; as a Lambda function it shows all of it.

config.json says what a strategy is, the settings are the operator's levers, and the state table
says what came of both. The function takes ``{}`` and answers as JSON; of secrets it tells
whether they are set.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import BaseModel, SecretStr

from serving.campaign_requests import CampaignRequest, Requests
from serving.lambda_logs import logger, structured
from serving.launch_window import LaunchWindow
from store.aws import client
from store.clock import Clock, utc_now
from store.config_file import config_at
from store.settings import Settings, SsmSettings
from store.settings_sections import CostSettings, EnvironmentSettings, OpsSettings, RiskSettings
from store.state import StateTable, Value, open_state
from strategy.config import Config
from strategy.errors import ConfigError, FixError

T = TypeVar("T")

_log = logging.getLogger(__name__)

ACCOUNTS = "accounts"
"""Partition of the state table; keys ``live`` and ``paper/<strategy id>``."""
MAX_AGE = timedelta(seconds=60)

_VARIABLES = {
    "BUCKET": "the bucket of config.json",
    "STATE_URI": "the state table, as dynamodb://TABLE",
}


@dataclass(frozen=True)
class ConfigService:
    """Config, settings and state, each read again once it is too old.

    It is itself a :class:`store.settings.Settings`. What cannot be read again is an error and
    not the value of before, for that might hide an emergency stop: RetryError, StoreError or
    ConfigError as the stores say.

    Parameters
    ----------
    config_uri
        Of config.json: a file, or ``s3://bucket/config.json``.
    max_age
        For how long what was read counts. A change made through this object counts at once.
    """

    config_uri: str
    settings: Settings
    state: StateTable
    clock: Clock
    max_age: timedelta = MAX_AGE
    _read: dict[str, tuple[datetime, Any]] = field(default_factory=dict, init=False, repr=False)

    def config(self) -> Config:
        """config.json."""
        return self._fresh("config", lambda: config_at(self.config_uri))

    def cost(self) -> CostSettings:
        """What a campaign may cost."""
        return self._fresh("cost", self.settings.cost)

    def risk(self) -> RiskSettings:
        """What trades may lose."""
        return self._fresh("risk", self.settings.risk)

    def ops(self) -> OpsSettings:
        """The operator's switches."""
        return self._fresh("ops", self.settings.ops)

    def environment(self) -> EnvironmentSettings:
        """With whom the system speaks, secrets included."""
        return self._fresh("environment", self.settings.environment)

    def set(self, name: str, value: Any) -> None:
        """Change a setting, such as ``ops/emergency_stop``."""
        self._read.pop(name.partition("/")[0], None)
        self.settings.set(name, value)

    def accounts(self) -> dict[str, Value]:
        """Every account with its circuit breaker, by its key in the state table."""
        return self._fresh(
            ACCOUNTS, lambda: {item.key: item.value for item in self.state.items(ACCOUNTS)}
        )

    def campaigns(self) -> list[CampaignRequest]:
        """Every campaign that was asked for, in order of their ids."""
        return self._fresh("campaigns", Requests(self.state, self.clock).all)

    def launch_window_closes_at(self) -> datetime | None:
        """UTC; None while it is shut."""
        return self._fresh("window", lambda: LaunchWindow(self.state, self.clock).closes_at)

    def document(self) -> dict[str, Any]:
        """The effective configuration as JSON; of secrets only whether they are set.

        What a person must put right stands as ``{"error": ...}`` in its own place, so that it
        hides nothing else.

        Raises
        ------
        RetryError
            Something cannot be read now.
        """
        return {
            "at": self.clock().isoformat(timespec="seconds"),
            "config": _or_error(lambda: _config_document(self.config_uri, self.config())),
            "settings": {
                "cost": _or_error(lambda: _settings_document(self.cost())),
                "risk": _or_error(lambda: _settings_document(self.risk())),
                "ops": _or_error(lambda: _settings_document(self.ops())),
                "environment": _or_error(lambda: _settings_document(self.environment())),
            },
            "state": {
                "accounts": _or_error(
                    lambda: {key: dict(value) for key, value in self.accounts().items()}
                ),
                "campaigns": _or_error(lambda: [_campaign(each) for each in self.campaigns()]),
                "launch_window_closes_at": _or_error(self._window_document),
            },
        }

    def _window_document(self) -> str | None:
        closes_at = self.launch_window_closes_at()
        return closes_at.isoformat() if closes_at else None

    def _fresh(self, name: str, read: Callable[[], T]) -> T:
        now = self.clock()  # before it is read, so that nothing is older than it is said to be
        if name in self._read:
            at, value = self._read[name]
            if timedelta(0) <= now - at < self.max_age:
                return cast(T, value)
        self._read[name] = now, read()
        return cast(T, self._read[name][1])


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What Lambda calls."""
    structured()
    document = deployed_service().document()
    _log.info("effective configuration shown")
    return document


@cache
def deployed_service() -> ConfigService:
    """The parts on AWS: made at this process's first call, then kept; of what they hold, nothing.

    Raises
    ------
    ConfigError
        A variable is not set; all that are not are named.
    """
    missing = [f"{name} ({what})" for name, what in _VARIABLES.items() if not os.environ.get(name)]
    if missing:
        raise ConfigError(f"set the environment variables {', '.join(missing)}")
    return ConfigService(
        f"s3://{os.environ['BUCKET']}/config.json",
        SsmSettings(client("ssm")),
        open_state(os.environ["STATE_URI"]),
        utc_now,
        max_age=timedelta(0),  # who has just changed something looks whether it counts
    )


def _or_error(document: Callable[[], Any]) -> Any:
    try:
        return document()
    except FixError as error:
        return {"error": str(error)}


def _config_document(uri: str, config: Config) -> dict[str, Any]:
    return {"uri": uri, "digest": config.digest, "values": config.model_dump(mode="json")}


def _settings_document(section: BaseModel) -> dict[str, dict[str, Any]]:
    """Every setting with its value, and whether that is its default."""
    defaults, shown = type(section)(), section.model_dump(mode="json")
    return {
        name: {
            "value": _masked(value) if isinstance(value, SecretStr) else shown[name],
            "is_default": value == getattr(defaults, name),
        }
        for name, value in section
    }


def _masked(secret: SecretStr) -> str:
    return "set" if secret.get_secret_value() else "not set"


def _campaign(request: CampaignRequest) -> dict[str, Any]:
    return {
        "campaign_id": request.campaign_id,
        "market": request.market,
        "status": request.status,
        "reason": request.reason,
        "requested_by": request.requested_by,
        "requested_at": request.requested_at.isoformat(),
    }
