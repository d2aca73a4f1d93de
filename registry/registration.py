"""Putting a strategy bundle into MLflow's model registry, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema

import registry
import strategy
from registry.bundle import BUNDLE_ARTIFACT, SIGNAL_COLUMNS, StrategyBundle
from registry.connection import translated
from registry.lifecycle import STRATEGY_ID
from strategy.candles import COLUMNS

BUNDLE_DIGEST = "bundle_digest"
REQUIREMENTS = ("mlflow", "lightgbm", "numpy", "pandas", "pydantic")
"""What it takes to run the model; the versions of this very environment are written down."""

CODE = tuple(Path(path) for package in (strategy, registry) for path in package.__path__)
"""The packages that are stored with the model."""

# MLflow refuses times with a zone where a signature says datetime, and whole numbers where it
# says double. The signature therefore fixes the names, and candle_frame judges the values.
ANY = AnyType()  # type: ignore[no-untyped-call]
SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(ANY, "timestamp", required=False),  # it may be the index instead
            *(ColSpec(ANY, name) for name in COLUMNS),
        ]
    ),
    outputs=Schema([ColSpec(DataType.double, name) for name in SIGNAL_COLUMNS]),
)


def register(
    client: MlflowClient,
    run_id: str,
    bundle: StrategyBundle,
    *,
    model_name: str,
    input_example: pd.DataFrame,
    description: str,
    tags: Mapping[str, object],
) -> int:
    """Register a bundle as a new version of a model; returns the version's number.

    The same bundle registered again for the same run gives the version that is there already.
    The version is made by one call, tags included, when all its files are in place; whatever
    fails before, what was made by then is taken back. Where the process itself was killed, what
    it left is taken back, or completed, when the same bundle is registered again.

    Parameters
    ----------
    run_id
        The campaign's run, which becomes the version's source.
    input_example
        A candle frame, a few bars long, for whoever looks at the model in the UI.
    tags
        Of the version; the bundle's digest and ``strategy_id`` are added.

    Raises
    ------
    StoreError, RetryError
        See :func:`registry.connection.translated`.
    """
    with translated(client), ExitStack() as undo:
        experiment = client.get_run(run_id).info.experiment_id
        models = _models(client, experiment, run_id, bundle.digest)
        if existing := _registered(client, model_name, run_id, bundle.digest):
            _show(client, run_id, models)
            return int(existing[0].version)
        for left in models:
            client.delete_logged_model(left.model_id)
        identity = {BUNDLE_DIGEST: bundle.digest, STRATEGY_ID: bundle.strategy_id}
        model = client.create_logged_model(
            experiment,
            name=model_name,
            source_run_id=run_id,
            params=_parameters(bundle),
            tags=identity,
            model_type="strategy",
        )
        undo.callback(client.delete_logged_model, model.model_id)
        _upload(client, run_id, model.model_id, bundle, input_example)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        undo.callback(_withdraw, client, model_name, run_id, bundle.digest)
        _ensure_name(client, model_name)
        made = client.create_model_version(
            model_name,
            source=model.artifact_location,
            run_id=run_id,
            model_id=model.model_id,
            description=description,
            tags={**tags, **identity},
        )
        undo.pop_all()
        _show(client, run_id, [model])
        return int(made.version)


def _registered(
    client: MlflowClient, model_name: str, run_id: str, digest: str
) -> list[ModelVersion]:
    versions = client.search_model_versions(f"name = '{model_name}'")
    return [
        each
        for each in versions
        if each.run_id == run_id and each.tags.get(BUNDLE_DIGEST) == digest
    ]


def _models(
    client: MlflowClient, experiment: str, run_id: str, digest: str
) -> Sequence[LoggedModel]:
    """What was made for this bundle and run: one model below a version, else leftovers."""
    condition = f"source_run_id = '{run_id}' AND tags.{BUNDLE_DIGEST} = '{digest}'"
    return client.search_logged_models([experiment], condition)


def _show(client: MlflowClient, run_id: str, models: Sequence[LoggedModel]) -> None:
    """List models as what the run made, which MLflow takes once for each."""
    outputs = client.get_run(run_id).outputs
    shown = {output.model_id for output in outputs.model_outputs} if outputs else set()
    new = [
        LoggedModelOutput(each.model_id, step=0) for each in models if each.model_id not in shown
    ]
    if new:
        client.log_outputs(run_id, new)


def _ensure_name(client: MlflowClient, model_name: str) -> None:
    try:
        client.create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _withdraw(client: MlflowClient, model_name: str, run_id: str, digest: str) -> None:
    """Remove a version whose making was not confirmed, and its name if nothing else bears it."""
    for made in _registered(client, model_name, run_id, digest):
        client.delete_model_version(model_name, str(made.version))
    if client.search_registered_models(f"name = '{model_name}'") and not (
        client.search_model_versions(f"name = '{model_name}'")
    ):
        client.delete_registered_model(model_name)


def _upload(
    client: MlflowClient,
    run_id: str,
    model_id: str,
    bundle: StrategyBundle,
    input_example: pd.DataFrame,
) -> None:
    """Lay the model out in a scratch folder, as MLflow wants it, and store it."""
    with tempfile.TemporaryDirectory() as scratch:
        model_folder, bundle_folder = Path(scratch) / "model", Path(scratch) / BUNDLE_ARTIFACT
        bundle.save(bundle_folder)
        mlflow.pyfunc.save_model(
            model_folder,
            python_model=str(Path(__file__).with_name("strategy_model.py")),
            artifacts={BUNDLE_ARTIFACT: str(bundle_folder)},
            code_paths=[str(folder) for folder in CODE],
            # By the modules: Lambda's layer has MLflow as mlflow-skinny.
            pip_requirements=[
                f"{name}=={import_module(name).__version__}" for name in REQUIREMENTS
            ],
            signature=SIGNATURE,
            input_example=input_example.reset_index(),
            mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
        )
        client.log_model_artifacts(model_id, str(model_folder))


def registered_version(client: MlflowClient, model_name: str, run_id: str) -> int | None:
    """The version that a campaign's run registered; None if there is none."""
    with translated(client):
        found = client.search_model_versions(f"name = '{model_name}' and run_id = '{run_id}'")
    return max((int(version.version) for version in found), default=None)


def _parameters(bundle: StrategyBundle) -> dict[str, str]:
    """What makes this strategy different from another, for the UI's table of models."""
    values = {
        **bundle.indicators._asdict(),
        **bundle.hyperparameters.model_dump(),
        **bundle.break_even.model_dump(),
        "training_start": bundle.training_start,
        "training_end": bundle.training_end,
    }
    return {key: str(value) for key, value in values.items()}
