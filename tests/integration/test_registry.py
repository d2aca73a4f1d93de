"""Registering, loading and moving strategies in real stores: SQLite, and an MLflow server."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from registry.bundle import StrategyBundle
from registry.connection import connect, ensure_experiment, ensure_store
from registry.lifecycle import PERSON, Lifecycle, Override, Stage
from registry.registration import register
from registry.runs import find_campaign, read_json
from registry.tracking import CampaignTracker, CandleSource, open_campaign
from strategy.errors import StoreError
from tests.mlflow_server import mlflow_server
from tests.strategy_bundles import random_candles, trained_bundle

MODEL = "BTCUSDT-1h"
ROOT = Path(__file__).resolve().parents[2]
CANDLES = random_candles(1000)

LOAD_ELSEWHERE = """
import json, sys, warnings
import mlflow, pandas as pd

warnings.simplefilter("ignore")
uri, model_uri, candles_file, root = sys.argv[1:]
assert root not in sys.path
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model(model_uri)
candles = pd.read_csv(candles_file, parse_dates=["timestamp"])
assert str(candles["timestamp"].dt.tz) == "UTC"
plain = model.predict(candles)
assert plain.equals(model.predict(candles.set_index("timestamp")))
assert plain.equals(model.predict(candles.assign(timestamp=candles["timestamp"].astype(str))))
whole = candles.assign(volume=candles["volume"].round().astype("int64"))
assert model.predict(whole)["signal"].notna().any()
try:
    model.predict(candles.drop(columns="volume"))
    raise AssertionError("a missing column was not noticed")
except mlflow.MlflowException as error:
    assert "volume" in str(error)
assert len(model.predict(model.input_example)) == len(model.input_example)
import registry
assert not registry.__file__.startswith(root)
plain.to_csv(sys.stdout)
"""


@pytest.fixture(scope="module")
def bundle() -> StrategyBundle:
    return trained_bundle(CANDLES)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    ensure_store(f"sqlite:///{path}")
    connect(f"sqlite:///{path}")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def client(empty_store: Path, tmp_path: Path) -> MlflowClient:
    return connect(f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}")


@pytest.fixture
def campaign(client: MlflowClient, tmp_path: Path) -> CampaignTracker:
    return campaign_in(client, tmp_path / "artifacts")


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server on the loopback interface, which keeps the files as well."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    with mlflow_server(
        folder,
        "server",
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ) as address:
        yield address


def campaign_in(
    client: MlflowClient, artifact_root: Path, campaign_id: str = "c1"
) -> CampaignTracker:
    return open_campaign(
        client,
        ensure_experiment(client, "discovery", artifact_root),
        campaign_id,
        name=f"{MODEL} {campaign_id}",
        params={},
        tags={},
        candles=CandleSource(MODEL, "ab" * 32, "candles.csv", "local"),
        clock=clock(),
    )


def clock() -> Any:
    return itertools.count(1_700_000_000_000, 1000).__next__


def put(client: MlflowClient, run_id: str, bundle: StrategyBundle, model_name: str = MODEL) -> int:
    return register(
        client,
        run_id,
        bundle,
        model_name=model_name,
        input_example=CANDLES.tail(5),
        description="found by a test",
        tags={"config_digest": bundle.config_digest},
    )


def predicted_elsewhere(uri: str, model_uri: str, folder: Path) -> pd.DataFrame:
    """Signals of the registered model, in a fresh process that does not know this checkout."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    CANDLES.to_csv(elsewhere / "candles.csv")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    answer = subprocess.run(
        [
            sys.executable, "-c", LOAD_ELSEWHERE, uri, model_uri,
            str(elsewhere / "candles.csv"), str(ROOT),
        ],
        cwd=elsewhere, env=environment, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    (elsewhere / "signals.csv").write_text(answer.stdout)
    return pd.read_csv(elsewhere / "signals.csv", index_col="timestamp", parse_dates=True)


def assert_same_signals(found: pd.DataFrame, bundle: StrategyBundle) -> None:
    pd.testing.assert_frame_equal(
        found, bundle.signals(CANDLES), check_exact=True, check_index_type=False, check_freq=False
    )


def test_a_registered_strategy_loads_anywhere_and_speaks_of_plain_candles(
    client: MlflowClient, campaign: CampaignTracker, bundle: StrategyBundle, tmp_path: Path
) -> None:
    number = put(client, campaign.run_id, bundle)
    version = client.get_model_version(MODEL, str(number))
    assert version.run_id == campaign.run_id
    assert version.description == "found by a test"
    assert version.tags == {
        "config_digest": bundle.config_digest,
        "bundle_digest": bundle.digest,
        "strategy_id": bundle.strategy_id,
    }
    found = predicted_elsewhere(client.tracking_uri, f"models:/{MODEL}/{number}", tmp_path)
    assert_same_signals(found, bundle)


def test_the_campaign_shows_the_model_that_it_made(
    client: MlflowClient, campaign: CampaignTracker, bundle: StrategyBundle
) -> None:
    put(client, campaign.run_id, bundle)
    (output,) = client.get_run(campaign.run_id).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.status == "READY"
    assert model.params["atr_period"] == "14"
    assert model.params["num_leaves"] == "7"


def test_registering_the_same_bundle_twice_gives_the_same_version(
    client: MlflowClient, campaign: CampaignTracker, bundle: StrategyBundle
) -> None:
    assert [put(client, campaign.run_id, bundle) for _ in range(2)] == [1, 1]
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 1


def test_another_bundle_or_another_campaign_makes_another_version(
    client: MlflowClient, campaign: CampaignTracker, bundle: StrategyBundle, tmp_path: Path
) -> None:
    other_campaign = campaign_in(client, tmp_path / "artifacts", "c2")
    retrained = dataclasses.replace(bundle, data_digest="e" * 64)
    assert put(client, campaign.run_id, bundle) == 1
    assert put(client, campaign.run_id, retrained) == 2
    assert put(client, other_campaign.run_id, bundle) == 3


class Failing:
    """A client one of whose calls fails, before or after it has been carried out."""

    def __init__(self, client: MlflowClient, call: str, after: bool) -> None:
        self.client, self.call, self.after = client, call, after

    def __getattr__(self, name: str) -> Any:
        working = getattr(self.client, name)
        if name != self.call:
            return working

        def failing(*args: Any, **kwargs: Any) -> None:
            if self.after:
                working(*args, **kwargs)
            raise MlflowException("the answer was lost")

        return failing


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        "log_model_artifacts",
        "finalize_logged_model",
        "create_registered_model",
        "create_model_version",
    ],
)
def test_a_registration_that_fails_leaves_nothing_behind(
    client: MlflowClient, campaign: CampaignTracker, bundle: StrategyBundle, call: str, after: bool
) -> None:
    with pytest.raises(StoreError, match="the answer was lost"):
        put(Failing(client, call, after), campaign.run_id, bundle)  # type: ignore[arg-type]
    assert client.search_registered_models() == []
    assert client.search_model_versions() == []
    experiment = client.get_run(campaign.run_id).info.experiment_id
    assert client.search_logged_models([experiment]) == []
    assert put(client, campaign.run_id, bundle) == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_version_that_is_not_listed_by_its_run_is_listed_when_registered_again(
    client: MlflowClient, campaign: CampaignTracker, bundle: StrategyBundle, after: bool
) -> None:
    with pytest.raises(StoreError, match="the answer was lost"):
        put(Failing(client, "log_outputs", after), campaign.run_id, bundle)  # type: ignore[arg-type]
    assert put(client, campaign.run_id, bundle) == 1
    (output,) = client.get_run(campaign.run_id).outputs.model_outputs
    experiment = client.get_run(campaign.run_id).info.experiment_id
    assert [each.model_id for each in client.search_logged_models([experiment])] == [
        output.model_id
    ]


def test_a_registration_that_fails_spares_the_versions_that_are_there(
    client: MlflowClient, campaign: CampaignTracker, bundle: StrategyBundle
) -> None:
    put(client, campaign.run_id, bundle)
    retrained = dataclasses.replace(bundle, data_digest="e" * 64)
    failing = Failing(client, "create_model_version", after=True)
    with pytest.raises(StoreError):
        put(failing, campaign.run_id, retrained)  # type: ignore[arg-type]
    (left,) = client.search_model_versions(f"name = '{MODEL}'")
    assert left.tags["bundle_digest"] == bundle.digest


def test_a_version_is_moved_and_found_by_stage_and_alias(
    client: MlflowClient, campaign: CampaignTracker, bundle: StrategyBundle
) -> None:
    life = Lifecycle(client, MODEL, clock())
    assert life.versions() == ()
    number = put(client, campaign.run_id, bundle)
    life.move(number, Stage.STAGING, who="model_validator", why="all gates passed")
    (version,) = life.versions_in(Stage.STAGING)
    assert version.number == number
    assert version.run_id == campaign.run_id
    assert version.tags["staging.by"] == "model_validator"
    assert int(client.get_model_version_by_alias(MODEL, "staging").version) == number

    client.transition_model_version_stage(MODEL, str(number), "Production")  # as the UI does
    assert life.record_overrides() == (Override(number, Stage.STAGING, Stage.PRODUCTION),)
    assert life.record_overrides() == ()
    assert life.version(number).tags["production.by"] == PERSON
    assert client.get_registered_model(MODEL).aliases.keys() == {"production"}


def test_a_campaign_lives_through_a_server_from_its_first_run_to_staging(
    server: str, bundle: StrategyBundle, tmp_path: Path
) -> None:
    client = connect(server)
    tracker = campaign_in(client, tmp_path)
    tracker.open_trial(1, params={"atr_period": 14}, tags={})
    tracker.log_window(1, 1, metrics={"r": 0.5, "unknown": math.nan}, tags={}, seconds=1.0)
    tracker.close_trial(1, summary={"sqn": math.inf}, series={"r": {1: 0.5}}, tags={})
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "candidate.json").write_text('{"winner": 1}')
    tracker.log_folder(tracker.run_id, tmp_path / "files")

    again = campaign_in(client, tmp_path)
    assert again.run_id == tracker.run_id
    assert again.window_is_finished(1, 1)
    again.finish("FINISHED", "promoted")
    run = find_campaign(client, "discovery", "latest")
    assert run.info.run_id == tracker.run_id
    assert read_json(client, run.info.run_id, "candidate.json") == {"winner": 1}
    windows = client.search_runs(
        [run.info.experiment_id], "tags.run_kind = 'window'", ViewType.ACTIVE_ONLY
    )
    assert [window.data.metrics["r"] for window in windows] == [0.5]
    assert np.isnan(windows[0].data.metrics["unknown"])

    number = put(client, run.info.run_id, bundle)
    assert put(client, run.info.run_id, bundle) == number
    life = Lifecycle(client, MODEL, clock())
    life.move(number, Stage.STAGING, who="model_validator", why="all gates passed")
    assert [version.number for version in life.versions_in(Stage.STAGING)] == [number]
    client.transition_model_version_stage(MODEL, str(number), "Archived")
    assert life.record_overrides() == (Override(number, Stage.STAGING, Stage.ARCHIVED),)
    client.transition_model_version_stage(MODEL, str(number), "Staging")
    assert life.record_overrides() == (Override(number, Stage.ARCHIVED, Stage.STAGING),)

    found = predicted_elsewhere(server, f"models:/{MODEL}@staging", tmp_path)
    assert_same_signals(found, bundle)


ARN = "arn:aws:sagemaker:ap-southeast-1:123456789012:mlflow-app/app-0A1B2C3D4E5F"


def test_an_mlflow_app_of_sagemaker_is_reached_by_its_arn(
    server: str, bundle: StrategyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through SageMaker's own plugin, which signs each request; the app is a local server."""
    monkeypatch.setenv("SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-1")
    before = mlflow.get_tracking_uri()
    try:
        client = connect(ARN)
        # The app hands files to its bucket, not through itself; here the bucket is a folder.
        experiment = client.create_experiment("by-arn", (tmp_path / "bucket").as_uri())
        tracker = open_campaign(
            client, experiment, "byarn", name="by arn", params={}, tags={},
            candles=CandleSource("x", "0" * 64, "x", "local"), clock=clock(),
        )  # fmt: skip
        tracker.open_trial(1, params={"atr_period": 14}, tags={})
        tracker.log_window(1, 1, metrics={"r": 0.5}, tags={}, seconds=1.0)
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "candidate.json").write_text('{"winner": 1}')
        tracker.log_folder(tracker.run_id, tmp_path / "files")
        number = put(client, tracker.run_id, bundle, model_name="by-arn")
        Lifecycle(client, "by-arn", clock()).move(number, Stage.STAGING, who="test", why="passed")
        tracker.finish("FINISHED", "promoted")
    finally:
        mlflow.set_tracking_uri(before)
    directly = connect(server)
    run = find_campaign(directly, "by-arn", "latest")
    assert read_json(directly, run.info.run_id, "candidate.json") == {"winner": 1}
    (version,) = Lifecycle(directly, "by-arn", clock()).versions_in(Stage.STAGING)
    assert version.run_id == run.info.run_id


def test_reading_a_bundle_takes_nothing_that_a_small_lambda_lacks() -> None:
    """Run apart, where what other tests have imported does not count."""
    blocked = json.dumps(["numba", "matplotlib", "shap", "pyarrow", "mlflow"])
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"  # importing None fails
        "import registry.bundle\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
