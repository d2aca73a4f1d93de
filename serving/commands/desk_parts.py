"""What the operator's commands work on: this machine, or what STATE_URI names on AWS."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from store import embedded

if TYPE_CHECKING:
    from registry.connection import Client
    from store.settings import Settings
    from store.state import StateTable


def say(answer: Mapping[str, Any], sentence: str, *, as_json: bool) -> None:
    """The answer of a command that changed something, to a program or to a person."""
    if as_json:
        print(json.dumps(answer))  # no console, which would break its lines
    else:
        Console().print(sentence, highlight=False, markup=False)


def add_state_argument(parser: argparse.ArgumentParser) -> None:
    """``--state --json``: whose state is meant, and for whom the answer is."""
    parser.add_argument("--json", action="store_true", help="for other programs")
    parser.add_argument(
        "--state",
        default=os.environ.get("STATE_URI", embedded.STATE),
        help="state table (STATE_URI, else %(default)s)",
    )


def state_of(options: argparse.Namespace) -> StateTable:
    """The state table of ``--state``."""
    from store.state import open_state

    return open_state(options.state)


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that go with the state table: SSM's beside DynamoDB, else a file."""
    if options.state.startswith("dynamodb:"):
        from store.aws import client
        from store.settings import SsmSettings

        return SsmSettings(client("ssm"))
    from store.settings import SettingsFile

    return SettingsFile(embedded.FOLDER / "settings.json")


def tracking_uri() -> str:
    """The MLflow store: MLFLOW_TRACKING_URI, else the embedded one."""
    return os.environ.get("MLFLOW_TRACKING_URI") or embedded.TRACKING


def registry_client() -> Client:
    """The registry of :func:`tracking_uri`."""
    from registry.connection import connect

    return connect(tracking_uri())
