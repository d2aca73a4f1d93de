"""The run tree against a real SQLite store."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from registry import connection
from registry.connection import connect, ensure_experiment, ensure_store
from registry.runs import find_campaign, read_json, read_table, read_text, search
from registry.tracking import CampaignTracker, CandleSource, open_campaign
from strategy.errors import ConfigError, RetryError, StoreError

CANDLES = CandleSource("BTCUSDT-1h", "ab" * 32, "candles.parquet", "local")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    ensure_store(f"sqlite:///{path}")
    connect(f"sqlite:///{path}")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))


@pytest.fixture
def client(store: Path) -> MlflowClient:
    return connect(f"sqlite:///{store}")


@pytest.fixture
def open_it(client: MlflowClient, tmp_path: Path) -> Callable[..., CampaignTracker]:
    """Opens the same campaign, as a new process would."""
    clock = itertools.count(1_700_000_000_000, 1000).__next__

    def opened(campaign_id: str = "c1", client: Any = client) -> CampaignTracker:
        experiment = ensure_experiment(client, "discovery", tmp_path / "artifacts")
        return open_campaign(
            client,
            experiment,
            campaign_id,
            name=f"BTCUSDT-1h {campaign_id}",
            params={"seed": 42},
            tags={"asset": "BTCUSDT"},
            candles=CANDLES,
            clock=clock,
        )

    return opened


class Torn:
    """A client that breaks off at one kind of call, once told to."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client
        self.at = ""

    def __getattr__(self, name: str) -> Any:
        if name == self.at:
            raise KeyboardInterrupt
        return getattr(self.client, name)


def runs_of(client: MlflowClient, kind: str) -> list[Run]:
    experiment = client.get_experiment_by_name("discovery")
    return search(client, experiment.experiment_id, f"tags.run_kind = '{kind}'")


def window(tracker: CampaignTracker, trial: int, number: int, expectancy: float = 0.1) -> None:
    tracker.log_window(
        trial, number, metrics={"expectancy": expectancy}, tags={"dates": "2024"}, seconds=2.5
    )


def test_a_campaign_is_a_tree_of_nested_runs(client: MlflowClient, open_it: Any) -> None:
    tracker = open_it()
    trial_run = tracker.open_trial(7, params={"atr_period": 14}, tags={"phase": "coverage"})
    window(tracker, 7, 3)
    tracker.close_trial(
        7,
        summary={"sqn": 1.5},
        series={"expectancy": {3: 0.1, 4: -0.2}},
        tags={"state": "walked"},
    )
    carlo_run = tracker.log_monte_carlo(
        "seed-42", params={"n": 1000}, metrics={"mean": 0.01}, tags={}, seconds=1.0
    )
    tracker.finish("FINISHED", "promoted")

    (campaign,), (trial,) = runs_of(client, "campaign"), runs_of(client, "trial")
    (leaf,), (carlo,) = runs_of(client, "window"), runs_of(client, "monte_carlo")
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in (trial, carlo)}
    assert parents == {trial_run: tracker.run_id, carlo_run: tracker.run_id}
    assert leaf.data.tags["mlflow.parentRunId"] == trial_run
    assert leaf.data.tags["run_key"] == "c1/trial-0007/window-03"
    assert leaf.data.tags["dates"] == "2024"
    assert leaf.info.end_time - leaf.info.start_time == 2500
    assert trial.data.params == {"atr_period": "14"}
    assert trial.data.metrics == {"sqn": 1.5, "window/expectancy": -0.2}
    assert {run.info.status for run in (campaign, trial, leaf, carlo)} == {"FINISHED"}
    assert campaign.data.tags["reason"] == "promoted"
    history = client.get_metric_history(trial_run, "window/expectancy")
    assert [(point.step, point.value) for point in history] == [(3, 0.1), (4, -0.2)]


def test_the_candles_are_a_dataset_input_of_the_campaign(
    client: MlflowClient, open_it: Any
) -> None:
    tracker = open_it()
    (entry,) = client.get_run(tracker.run_id).inputs.dataset_inputs
    assert entry.dataset.name == "BTCUSDT-1h"
    assert entry.dataset.digest == ("ab" * 32)[:36]
    assert "candles.parquet" in entry.dataset.source


def test_logging_a_window_twice_leaves_one_run(client: MlflowClient, open_it: Any) -> None:
    tracker = open_it()
    tracker.open_trial(1, params={}, tags={})
    window(tracker, 1, 1, expectancy=0.1)
    window(tracker, 1, 1, expectancy=0.9)
    (leaf,) = runs_of(client, "window")
    assert leaf.data.metrics == {"expectancy": 0.1}


def test_an_interrupted_campaign_goes_on_with_its_own_runs(
    client: MlflowClient, open_it: Any
) -> None:
    first = open_it()
    trial_run = first.open_trial(1, params={"a": 1}, tags={})
    window(first, 1, 1)

    second = open_it()
    assert second.run_id == first.run_id
    assert second.window_is_finished(1, 1)
    assert not second.window_is_finished(1, 2)
    assert second.open_trial(1, params={"a": 1}, tags={}) == trial_run
    window(second, 1, 1)
    window(second, 1, 2)
    assert len(runs_of(client, "window")) == 2
    assert len(runs_of(client, "trial")) == 1


@pytest.mark.parametrize("torn_at", ["log_batch", "set_terminated"])
def test_a_torn_window_is_completed_on_its_own_run_without_a_second_point(
    client: MlflowClient, open_it: Any, torn_at: str
) -> None:
    torn = Torn(client)
    tracker = open_it(client=torn)
    tracker.open_trial(1, params={}, tags={})
    torn.at = torn_at
    with pytest.raises(KeyboardInterrupt):
        window(tracker, 1, 1, expectancy=0.1)
    (leaf,) = runs_of(client, "window")
    assert leaf.info.status == "RUNNING"

    again = open_it()
    again.open_trial(1, params={}, tags={})
    again.log_window(1, 1, metrics={"expectancy": 0.1, "extra": 1.0}, tags={}, seconds=9.0)
    (completed,) = runs_of(client, "window")
    assert completed.info.run_id == leaf.info.run_id
    assert completed.info.status == "FINISHED"
    assert completed.data.metrics == {"expectancy": 0.1, "extra": 1.0}
    assert len(client.get_metric_history(leaf.info.run_id, "expectancy")) == 1


def test_a_figure_that_differs_on_the_second_attempt_keeps_its_first_value(
    client: MlflowClient, open_it: Any
) -> None:
    torn = Torn(client)
    tracker = open_it(client=torn)
    trial_run = tracker.open_trial(1, params={}, tags={})
    torn.at = "set_terminated"
    with pytest.raises(KeyboardInterrupt):
        tracker.close_trial(1, summary={"seconds": 3.0}, series={"r": {1: 0.5}}, tags={})
    again = open_it()
    again.open_trial(1, params={}, tags={})
    again.close_trial(1, summary={"seconds": 4.0}, series={"r": {1: 0.6, 2: 0.7}}, tags={})
    assert [p.value for p in client.get_metric_history(trial_run, "seconds")] == [3.0]
    points = client.get_metric_history(trial_run, "window/r")
    assert sorted((p.step, p.value) for p in points) == [(1, 0.5), (2, 0.7)]


def test_a_campaign_torn_at_its_birth_gets_its_dataset_when_it_is_resumed(
    client: MlflowClient, open_it: Any
) -> None:
    torn = Torn(client)
    torn.at = "log_inputs"
    with pytest.raises(KeyboardInterrupt):
        open_it(client=torn)
    tracker = open_it()
    run = client.get_run(tracker.run_id)
    assert len(runs_of(client, "campaign")) == 1
    assert len(run.inputs.dataset_inputs) == 1
    assert run.data.params == {"seed": "42"}


def test_a_batch_beyond_mlflows_limits_arrives_whole(client: MlflowClient, open_it: Any) -> None:
    tracker = open_it()
    tracker.log(
        tracker.run_id,
        params={f"p{i}": i for i in range(250)},
        metrics={f"m{i}": float(i) for i in range(1100)},
        series={"r": dict.fromkeys(range(1500), 0.0)},
        tags={f"t{i}": i for i in range(130)},
    )
    data = client.get_run(tracker.run_id).data
    assert len(data.params) == 251
    assert len(data.metrics) == 1101
    assert {f"t{i}" for i in range(130)} <= data.tags.keys()
    assert len(client.get_metric_history(tracker.run_id, "window/r")) == 1500


def test_what_is_not_known_and_what_is_infinite_is_logged_as_nan(
    client: MlflowClient, open_it: Any
) -> None:
    tracker = open_it()
    tracker.log(tracker.run_id, metrics={"unknown": math.nan, "no_loss": math.inf, "fine": 1.0})
    metrics = client.get_run(tracker.run_id).data.metrics
    assert math.isnan(metrics["unknown"])
    assert math.isnan(metrics["no_loss"])
    assert metrics["fine"] == 1.0


def test_a_killed_campaign_leaves_nothing_running_and_can_be_taken_up_again(
    client: MlflowClient, open_it: Any
) -> None:
    tracker = open_it()
    tracker.open_trial(1, params={}, tags={})
    tracker.finish("KILLED", "interrupted by the user")
    (trial,), (campaign,) = runs_of(client, "trial"), runs_of(client, "campaign")
    assert (trial.info.status, campaign.info.status) == ("KILLED", "KILLED")

    again = open_it()
    assert client.get_run(again.run_id).info.status == "RUNNING"
    assert not again.is_finished
    again.open_trial(1, params={}, tags={})
    again.close_trial(1, summary={}, series={}, tags={})
    again.finish("FINISHED", "rejected: Monte Carlo")
    assert client.get_run(again.run_id).info.status == "FINISHED"
    assert client.get_run(again.run_id).data.tags["reason"] == "rejected: Monte Carlo"


def test_a_finished_campaign_stays_as_it_is_but_takes_another_monte_carlo(
    client: MlflowClient, open_it: Any
) -> None:
    open_it().finish("FINISHED", "promoted")
    again = open_it()
    assert again.is_finished
    again.finish("FAILED", "should not be written")
    again.log_monte_carlo("seed-7", params={}, metrics={"mean": 0.1}, tags={}, seconds=0.0)
    campaign = client.get_run(again.run_id)
    assert campaign.info.status == "FINISHED"
    assert campaign.data.tags["reason"] == "promoted"
    assert len(runs_of(client, "monte_carlo")) == 1


def test_files_of_a_run_read_back_as_they_were_written(
    client: MlflowClient, open_it: Any, tmp_path: Path
) -> None:
    tracker = open_it()
    folder = tmp_path / "files"
    (folder / "tables").mkdir(parents=True)
    (folder / "figures").mkdir()
    table = pd.DataFrame({"trial": [1, 2], "r": [0.1 + 0.2, float("nan")]})
    table.to_csv(folder / "tables" / "trials.csv", index=False)
    (folder / "winner.json").write_text(json.dumps({"winner": 7, "name": "Nuvem – ação"}))
    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    figure.savefig(folder / "figures" / "equity.png")
    tracker.log_folder(tracker.run_id, folder)
    pd.testing.assert_frame_equal(
        read_table(client, tracker.run_id, "tables/trials.csv"), table, check_exact=True
    )
    assert read_json(client, tracker.run_id, "winner.json") == {"winner": 7, "name": "Nuvem – ação"}
    assert [f.path for f in client.list_artifacts(tracker.run_id, "figures")] == [
        "figures/equity.png"
    ]
    with pytest.raises(StoreError, match="has no file tables/other"):
        read_text(client, tracker.run_id, "tables/other.csv")


def test_a_finished_campaign_is_found_by_id_by_name_by_run_or_as_the_latest(
    client: MlflowClient, open_it: Any
) -> None:
    older, newer, unfinished = open_it("c1"), open_it("c2"), open_it("c3")
    older.finish("FINISHED", "promoted")
    newer.finish("FINISHED", "rejected")
    for reference in ("c1", "BTCUSDT-1h c1", older.run_id):
        assert find_campaign(client, "discovery", reference).info.run_id == older.run_id
    assert find_campaign(client, "discovery", "latest").info.run_id == newer.run_id
    with pytest.raises(StoreError, match=r"no finished campaign 'c3'.*BTCUSDT-1h c2"):
        find_campaign(client, "discovery", unfinished.campaign_id)
    with pytest.raises(StoreError, match="no MLflow experiment 'elsewhere'"):
        find_campaign(client, "elsewhere", "latest")


def test_a_parameter_that_changed_under_the_same_campaign_id_is_refused(open_it: Any) -> None:
    tracker = open_it()
    with pytest.raises(StoreError, match="Changing param values is not allowed"):
        tracker.log(tracker.run_id, params={"seed": 43})


def test_a_campaign_id_that_breaks_filters_is_refused(open_it: Any) -> None:
    with pytest.raises(ConfigError, match="campaign id"):
        open_it("it's/broken")


def test_an_experiment_that_was_deleted_is_named_with_the_way_to_restore_it(
    client: MlflowClient, tmp_path: Path
) -> None:
    experiment = ensure_experiment(client, "old", tmp_path)
    assert ensure_experiment(client, "old", tmp_path) == experiment
    client.delete_experiment(experiment)
    with pytest.raises(StoreError, match=f"experiments restore --experiment-id {experiment}"):
        ensure_experiment(client, "old", tmp_path)


def test_a_store_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no MLflow store"):
        connect(f"sqlite:///{tmp_path}/mlflow.db")
    assert not list(tmp_path.iterdir())


def test_a_store_whose_folder_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot create the MLflow store"):
        ensure_store(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_read_only_store_is_refused_before_the_work_begins(store: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened for writing"):
        connect(f"sqlite:///file:{store}?mode=ro&uri=true")


def test_a_store_that_turns_read_only_during_the_work_is_named(
    client: MlflowClient, open_it: Any
) -> None:
    class ReadOnly(Torn):
        def create_run(self, *_: Any, **__: Any) -> None:
            raise MlflowException("(sqlite3.OperationalError) attempt to write a readonly database")

    with pytest.raises(StoreError, match="cannot be written"):
        open_it(client=ReadOnly(client))


@pytest.mark.parametrize("revision", ["0584bdc529eb", "ffffffffffff"])
def test_a_store_of_another_mlflow_version_is_refused_and_left_as_it_is(
    store: Path, revision: str
) -> None:
    with sqlite3.connect(store) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
        database.execute("DROP TABLE logged_models")
    uri = f"sqlite:///{store}"
    with pytest.raises(StoreError, match=f"schema {revision}.*mlflow db upgrade {uri}"):
        connect(uri)
    with sqlite3.connect(store) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        database.execute("CREATE TABLE studies (id INTEGER)")
    with pytest.raises(StoreError, match="belongs to another program"):
        connect(f"sqlite:///{tmp_path}/optuna.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database at all, only some text" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        connect(f"sqlite:///{tmp_path}/mlflow.db")


def test_a_store_in_memory_is_refused() -> None:
    with pytest.raises(StoreError, match="in memory"):
        connect("sqlite:///:memory:")


def test_a_locked_store_can_be_tried_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 100)  # a minute, otherwise
    holder = sqlite3.connect(store, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(RetryError, match="another process holds"):
        connect(f"sqlite:///{store}?timeout=0.1")
    holder.close()


def test_a_server_that_does_not_answer_can_be_tried_again() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(RetryError, match="no MLflow server answers"):
        connect(f"http://127.0.0.1:{port}")


def test_the_ui_may_read_while_a_campaign_writes(store: Path, client: MlflowClient) -> None:
    with sqlite3.connect(store) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
