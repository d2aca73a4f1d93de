"""The operator's levers: settings that change while the system runs.

They are parameters of SSM below ``/trading_system``, or keys of a JSON file (embedded). What is
not set has its default; what is unknown or out of range is an error that names it. The sections
stand in :mod:`store.settings_sections`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from store.aws import ask, patient
from store.backoff import Backoff
from store.settings_checks import M, known, opened, sound, validated
from store.settings_sections import (
    SECRETS,
    SECTIONS,
    CostSettings,
    EnvironmentSettings,
    OpsSettings,
    RiskSettings,
)
from strategy.errors import ConfigError, StoreError

ROOT = "/trading_system"


class Settings(Protocol):
    """Reads the settings anew at every call; one contract suite holds for all.

    Every method raises ConfigError where a setting of its section is unknown or out of range
    (the message names it and what is allowed, and shows nothing of the environment's values),
    StoreError or RetryError where the settings cannot be read or written, or not now.
    """

    def cost(self) -> CostSettings:
        """What a campaign may cost."""
        ...

    def risk(self) -> RiskSettings:
        """What trades may lose."""
        ...

    def ops(self) -> OpsSettings:
        """The operator's switches."""
        ...

    def environment(self) -> EnvironmentSettings:
        """With whom the system speaks, secrets included."""
        ...

    def set(self, name: str, value: Any) -> None:
        """Change one setting, such as ``ops/emergency_stop``.

        It is validated first, together with what its section holds; a neighbour that is wrong
        by itself is no obstacle. An empty text counts as not set.

        Parameters
        ----------
        value
            As in JSON, as text, or a SecretStr.
        """
        ...


class _Sections(ABC):
    """The same for all: which sections there are, and that a change is validated."""

    def cost(self) -> CostSettings:
        return self._section("cost", CostSettings)

    def risk(self) -> RiskSettings:
        return self._section("risk", RiskSettings)

    def ops(self) -> OpsSettings:
        return self._section("ops", OpsSettings)

    def environment(self) -> EnvironmentSettings:
        return self._section("environment", EnvironmentSettings)

    def _section(self, name: str, model: type[M]) -> M:
        return validated(model, self._values(name), self._prefix(name))

    def _settled(self, section: str, key: str, value: Any) -> Any:
        """The value as it is to be written."""
        model, value = SECTIONS[section], opened(value)
        values = {**sound(model, self._values(section)), key: value}
        return opened(getattr(validated(model, values, self._prefix(section)), key))

    @abstractmethod
    def _values(self, section: str) -> Mapping[str, Any]:
        """What is set of a section, as it is kept."""

    @abstractmethod
    def _prefix(self, section: str) -> str:
        """What stands before a key of a section where it is kept."""


class _Document(BaseModel):
    """The file, whose sections are not looked into: a fault in one must not hide another."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    cost: dict[str, Any] = {}
    risk: dict[str, Any] = {}
    ops: dict[str, Any] = {}
    environment: dict[str, Any] = {}


@dataclass(frozen=True)
class SettingsFile(_Sections):
    """A JSON file: ``{"cost": {"monthly_cost_limit": 20}}``. Without a file, the defaults.

    Secrets need not lie in it: the variables BINANCE_API_KEY, BINANCE_API_SECRET and
    TELEGRAM_TOKEN, where they are not empty, count instead of the keys of the same names. A
    file that is written here can be read by its owner alone.

    Parameters
    ----------
    variables
        Of the process's environment.
    """

    path: Path
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def set(self, name: str, value: Any) -> None:
        section, key = known(name)
        if section == "environment" and key in self._given():
            raise ConfigError(
                f"{key} cannot be set: the variable {key.upper()} of this process's environment "
                "counts instead. Change or remove that"
            )
        with self._alone():
            document = self._document().model_dump(exclude_unset=True)
            settled = self._settled(section, key, value)
            document[section] = {**document.get(section, {}), key: settled}
            self._replace(json.dumps(document, indent=2) + "\n")

    def _values(self, section: str) -> Mapping[str, Any]:
        values = getattr(self._document(), section)
        return {**values, **self._given()} if section == "environment" else values

    def _prefix(self, section: str) -> str:
        return f"{self.path}: {section}."

    def _given(self) -> dict[str, str]:
        found = {name: self.variables.get(name.upper(), "").strip() for name in SECRETS}
        return {name: value for name, value in found.items() if value}

    def _document(self) -> _Document:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return validated(_Document, content, f"{self.path}: ")
        except FileNotFoundError:
            return _Document()
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            fault = f"{self.path}: not valid JSON at {place}: {error.msg}"
        except (OSError, UnicodeDecodeError) as error:
            fault = f"{self.path} cannot be read: {error}"
        raise ConfigError(fault)  # not chained: those errors hold the text, and with it secrets

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes the file meanwhile; one that dies lets go."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _replace(self, text: str) -> None:
        part: str | None = None
        try:
            descriptor, part = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # an emergency stop must outlive a power cut
            os.replace(part, self.path)
        except OSError as error:
            if part:
                with suppress(OSError):
                    os.unlink(part)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(f"{self.path} cannot be written: {error.strerror}; free or unlock it")


@dataclass(frozen=True)
class SsmSettings(_Sections):
    """Parameters of SSM, such as ``/trading_system/cost/monthly_cost_limit``.

    Secrets are written as SecureStrings. Only the environment's are decrypted, so that no other
    reader needs the key.

    Parameters
    ----------
    client
        boto3's ``ssm`` client.
    """

    client: Any
    backoff: Backoff = field(default_factory=patient)

    def set(self, name: str, value: Any) -> None:
        section, key = known(name)
        settled = self._settled(section, key, value)
        full = f"{self._prefix(section)}{key}"
        if settled == "":  # SSM knows no empty parameter
            delete = {"Names": [full]}
            ask(f"parameter {full}", lambda: self.client.delete_parameters(**delete), self.backoff)
            return
        put = {
            "Name": full,
            "Value": settled if isinstance(settled, str) else json.dumps(settled),
            "Type": "SecureString" if key in SECRETS else "String",
            "Overwrite": True,
        }
        ask(f"parameter {full}", lambda: self.client.put_parameter(**put), self.backoff)

    def _values(self, section: str) -> Mapping[str, Any]:
        path = self._prefix(section)
        secret = section == "environment"
        if secret:
            # At level DEBUG botocore logs what it sends and receives. This stays so from here
            # on: to switch it back would expose another thread's secrets.
            logging.getLogger("botocore").setLevel(logging.INFO)
        pages = self.client.get_paginator("get_parameters_by_path").paginate(
            Path=path, Recursive=True, WithDecryption=secret
        )
        found = ask(
            f"parameters below {path}",
            lambda: [parameter for page in pages for parameter in page["Parameters"]],
            self.backoff,
        )
        return {entry["Name"].removeprefix(path): entry["Value"] for entry in found}

    def _prefix(self, section: str) -> str:
        return f"{ROOT}/{section}/"
