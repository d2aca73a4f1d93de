"""Where a job of this package finds the MLflow store."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from store import embedded


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """``--tracking-uri``: the MLflow store."""
    parser.add_argument(
        "--tracking-uri",
        default=None,
        help=f"MLflow store (MLFLOW_TRACKING_URI, else {embedded.TRACKING})",
    )


def tracking_uri(argument: str | None) -> str:
    """The MLflow store: from the command line, the environment, or the embedded one."""
    return argument or os.environ.get("MLFLOW_TRACKING_URI") or embedded.TRACKING


def artifact_root(uri: str) -> Path:
    """Folder for the files of an embedded store's runs: beside its database."""
    return Path(uri.removeprefix("sqlite:///")).parent / "artifacts"
