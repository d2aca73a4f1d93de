"""Reads a registered version's bundle back out of MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow.artifacts import download_artifacts

from registry.bundle import BUNDLE_ARTIFACT, StrategyBundle
from registry.connection import Client, translated


def load_bundle(client: Client, model_name: str, version: int) -> StrategyBundle:
    """The strategy that was registered as a version of a model.

    Raises
    ------
    StoreError, RetryError
        There is no such version, its files are gone, or the store cannot be read now.
    DataError
        Its files are not what was saved.
    FixError
        It was trained on other features than this code computes.
    """
    with translated(client), tempfile.TemporaryDirectory() as scratch:
        place = client.get_model_version_download_uri(model_name, str(version))
        # An MLflow model keeps its artifacts in a folder of that name; the rest is not needed.
        folder = download_artifacts(
            artifact_uri=f"{place.rstrip('/')}/artifacts/{BUNDLE_ARTIFACT}",
            dst_path=scratch,
            tracking_uri=client.tracking_uri,
        )
        return StrategyBundle.load(Path(folder))
