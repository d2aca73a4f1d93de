"""Whole campaigns through the command line, on a geometry that takes seconds."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from store.synthetic import SyntheticSource
from training import model_validator

ROOT = Path(__file__).parents[2]
TRIALS, WINDOWS, HIDDEN = 5, 10, 2


def small_config() -> dict[str, object]:
    """A year of hours in ten windows, four combinations, small models."""
    document = json.loads((ROOT / "config.json").read_text())
    del document["$schema"]
    document["indicator_parameters"] = {
        "ichimoku": {
            "tenkan_sen": {"start": 8, "end": 9, "step": 1},
            "kijun_sen": {"start": 24, "end": 24, "step": 2},
            "senkou_span_b": {"start": 48, "end": 52, "step": 4},
        },
        "rsi": {"period": {"start": 7, "end": 7, "step": 7}},
        "atr": {"period": {"start": 7, "end": 7, "step": 7}},
    }
    document["walk_forward_config"] = {
        "history_years": 1, "training_months": 2, "validation_months": 1, "step_months": 1,
    }  # fmt: skip
    document["break_even"]["historical_atr_window"] = 50
    document["search"]["max_trials"] = TRIALS
    document["search"]["generation_size"] = 2
    document["search"]["coverage_hyperparameters"]["n_estimators"] = 50
    document["model_hyperparameters"]["LightGBM"]["n_estimators"]["max"] = 60
    document["monte_carlo_config"]["n_simulations"] = 100
    document["preflight"]["n_simulations"] = 20
    return document


@dataclass(frozen=True)
class Place:
    """A folder of its own with config.json and var/ in it."""

    folder: Path

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip

    def discover(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("training.model_validator", *arguments)

    @property
    def env(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        return inherited | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}

    @property
    def client(self) -> MlflowClient:
        uri = f"sqlite:///{self.folder / 'var' / 'mlflow.db'}"
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    def runs(self, kind: str) -> list[Run]:
        experiment = self.client.get_experiment_by_name("BTCUSDT-1h")
        found = self.client.search_runs(
            [experiment.experiment_id],
            f"tags.run_kind = '{kind}'",
            max_results=1000,
            order_by=["attributes.start_time ASC"],
        )
        return list(found)

    def artifact(self, run: Run, path: str) -> Path:
        return Path(self.client.download_artifacts(run.info.run_id, path))


def place(folder: Path, **changes: dict[str, object]) -> Place:
    document = small_config()
    for section, values in changes.items():
        document[section] = {**document[section], **values}  # type: ignore[dict-item]
    (folder / "config.json").write_text(json.dumps(document))
    return Place(folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A campaign on the market with planted trends, by one process."""
    here = place(tmp_path_factory.mktemp("found"))
    finished = here.discover("--candles", "synthetic", "--jobs", "1")
    assert finished.returncode == 0, finished.stderr
    (here.folder / "screen.txt").write_text(finished.stdout)
    return here


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A campaign on the market without an edge."""
    here = place(tmp_path_factory.mktemp("rejected"))
    finished = here.discover("--candles", "synthetic-no-edge", "--jobs", "2")
    assert finished.returncode == 0, finished.stderr
    (here.folder / "screen.txt").write_text(finished.stdout)
    return here


def test_the_screen_says_that_the_market_is_synthetic_and_shows_every_gate(found: Place) -> None:
    screen = (found.folder / "screen.txt").read_text()
    assert "SYNTHETIC MARKET" in screen
    for gate in ("candidates", "incubation_last_30_trades", "monte_carlo_positive_share"):
        assert gate in screen
    assert "Promoted" in screen
    assert found.runs("campaign")[0].info.run_id in screen


def test_any_number_of_processes_gives_the_same_trials_trades_and_model(
    found: Place, tmp_path: Path
) -> None:
    other = place(tmp_path)
    assert other.discover("--candles", "synthetic", "--jobs", "3").returncode == 0
    one, three = found.runs("campaign")[0], other.runs("campaign")[0]
    for path in ("trials.csv", "trades.csv", "gates.json", "candidate.json"):
        assert found.artifact(one, path).read_text() == other.artifact(three, path).read_text()
    versions = [
        each.client.search_model_versions("name = 'BTCUSDT-1h'")[0] for each in (found, other)
    ]
    assert versions[0].tags["bundle_digest"] == versions[1].tags["bundle_digest"]


def test_runs_are_nested_and_complete_and_each_window_is_logged_once(found: Place) -> None:
    (campaign,) = found.runs("campaign")
    trials = found.runs("trial")
    windows = found.runs("window")
    assert len(trials) == TRIALS
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {campaign.info.run_id}
    by_trial: dict[str, int] = {}
    for window in windows:
        parent = window.data.tags["mlflow.parentRunId"]
        by_trial[parent] = by_trial.get(parent, 0) + 1
    winner = json.loads(found.artifact(campaign, "candidate.json").read_text())["trial"]
    for trial in trials:
        walked = int(trial.data.metrics["windows"])
        number = int(trial.info.run_name.split()[-1])
        assert by_trial[trial.info.run_id] == walked + (HIDDEN if number == winner else 0)
    keys = [window.data.tags["run_key"] for window in windows]
    assert len(keys) == len(set(keys))
    statuses = {run.info.status for run in [campaign, *trials, *windows]}
    assert statuses == {"FINISHED"}


def test_a_person_can_compare_trials_in_the_table(found: Place) -> None:
    for trial in found.runs("trial"):
        assert {"sqn", "expectancy", "trades", "max_drawdown", "log_loss"} <= set(
            trial.data.metrics
        )
        assert {"tenkan_sen", "atr_period", "learning_rate"} <= set(trial.data.params)
        assert trial.data.tags["asset"] == "BTCUSDT"
        assert trial.data.tags["synthetic"] == "true"
        assert trial.data.tags["phase"] in ("coverage", "refinement")
        history = found.client.get_metric_history(trial.info.run_id, "window/expectancy")
        steps = [metric.step for metric in history]
        assert steps == list(range(1, int(trial.data.metrics["windows"]) + 1))


def test_the_dataset_and_what_identifies_the_campaign_are_on_its_run(found: Place) -> None:
    (campaign,) = found.runs("campaign")
    (dataset,) = campaign.inputs.dataset_inputs
    assert "synthetic" in dataset.dataset.name
    assert campaign.data.tags["data_digest"].startswith(dataset.dataset.digest)
    for tag in ("config_digest", "git_commit", "code_digest", "first_candle", "last_candle"):
        assert campaign.data.tags[tag]
    assert campaign.data.tags["verdict"] == "promoted"


def test_figures_are_on_the_campaign_and_its_candidate_and_on_no_window(found: Place) -> None:
    (campaign,) = found.runs("campaign")
    winner = json.loads(found.artifact(campaign, "candidate.json").read_text())["trial"]
    candidate = found.runs("trial")[winner]
    expected = {
        "equity", "drawdown", "r_histogram", "confusion_matrix", "shap_summary",
        "optuna_importance", "parameter_heatmaps", "trial_ranking", "monte_carlo_fan",
        "monte_carlo_histogram",
    }  # fmt: skip
    for run in (campaign, candidate):
        listed = found.client.list_artifacts(run.info.run_id, "figures")
        assert {Path(file.path).stem for file in listed} == expected
        assert all(file.file_size > 5_000 for file in listed)
    for window in found.runs("window")[:3]:
        assert found.client.list_artifacts(window.info.run_id) == []


def test_the_winner_is_in_staging_and_gives_signals_on_plain_candles(found: Place) -> None:
    (version,) = found.client.search_model_versions("name = 'BTCUSDT-1h'")
    assert version.current_stage == "Staging"
    assert "passed" in version.tags["gate.monte_carlo_mean"]
    assert version.tags["synthetic"] == "true"
    mlflow.set_tracking_uri(f"sqlite:///{found.folder / 'var' / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/BTCUSDT-1h/1")
    source = SyntheticSource(7, 2_000, pd.Timestamp("2025-06-01", tz="UTC"))
    signals = model.predict(source.load("BTCUSDT", "1h").reset_index())
    assert list(signals.columns) == ["signal", "p_sell", "p_neutral", "p_buy"]
    assert set(signals["signal"].dropna()) <= {-1.0, 0.0, 1.0}
    assert signals["signal"].iloc[:200].isna().all()
    assert signals["signal"].iloc[-500:].notna().all()


def test_the_same_campaign_again_finds_itself_finished(found: Place) -> None:
    before = len(found.runs("window"))
    again = found.discover("--candles", "synthetic", "--jobs", "2")
    assert again.returncode == 0
    assert "already been run" in again.stdout
    assert "Promoted" in again.stdout
    assert len(found.runs("window")) == before
    assert len(found.runs("campaign")) == 1
    assert len(found.client.search_model_versions("name = 'BTCUSDT-1h'")) == 1


def test_monte_carlo_runs_alone_on_the_finished_campaign(found: Place) -> None:
    finished = found.run(
        "training.random_signal_simulator", "--simulations", "300", "--candles", "synthetic"
    )
    assert finished.returncode == 0, finished.stderr
    assert "monte_carlo_positive_share" in finished.stdout
    runs = {run.info.run_name: run for run in found.runs("monte_carlo")}
    again = runs["monte carlo 300-42"]
    assert again.data.params["n_simulations"] == "300"
    table = pd.read_csv(found.artifact(again, "simulations.csv"))
    assert len(table) == 300
    own = runs["monte carlo campaign"]
    first = pd.read_csv(found.artifact(own, "simulations.csv"))
    assert (first["expectancy"] == table["expectancy"].iloc[:100]).all()


def test_monte_carlo_refuses_other_candles_than_the_campaigns(found: Place) -> None:
    refused = found.run("training.random_signal_simulator", "--candles", "synthetic-no-edge")
    assert refused.returncode == 2
    assert "not the candles of the campaign" in refused.stderr


def test_a_market_without_an_edge_is_rejected_and_nothing_is_staged(rejected: Place) -> None:
    screen = (rejected.folder / "screen.txt").read_text()
    assert "Rejected" in screen
    assert "the Monte Carlo gate will reject it" in screen.replace("\n", " ")
    (campaign,) = rejected.runs("campaign")
    assert campaign.info.status == "FINISHED"
    assert campaign.data.tags["verdict"] == "rejected"
    assert "failed" in campaign.data.tags["reason"]
    assert campaign.data.tags["preflight"] == "fails"
    stages = {
        version.current_stage
        for version in rejected.client.search_model_versions("name = 'BTCUSDT-1h'")
    }
    assert stages <= {"None"}


def test_a_trial_that_is_not_eligible_is_never_judged_on_the_hidden_windows(
    rejected: Place,
) -> None:
    (campaign,) = rejected.runs("campaign")
    candidate = json.loads(rejected.artifact(campaign, "candidate.json").read_text())
    walked = {int(number) for number in candidate["signal_counts"]}
    if not candidate["eligible"]:
        assert max(walked) <= WINDOWS - HIDDEN
        assert rejected.client.search_model_versions("name = 'BTCUSDT-1h'") == []


def test_preflight_stop_searches_nothing(tmp_path: Path) -> None:
    here = place(tmp_path)
    finished = here.discover("--candles", "synthetic-no-edge", "--preflight", "stop")
    assert finished.returncode == 0, finished.stderr
    assert "nothing was searched" in finished.stdout
    (campaign,) = here.runs("campaign")
    assert (campaign.info.status, campaign.data.tags["verdict"]) == ("FINISHED", "rejected")
    assert here.runs("trial") == []

    again = here.discover("--candles", "synthetic-no-edge", "--preflight", "stop")
    assert again.returncode == 0, again.stderr
    assert "already been run" in again.stdout
    assert "nothing was searched" in again.stdout


def windows_begun(database: Path) -> int:
    """Without MLflow, which would set about creating the store at the same time."""
    if not database.exists():
        return 0
    with sqlite3.connect(database) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM runs WHERE name LIKE '%window%'")
        except sqlite3.OperationalError:  # no such table yet
            return 0
        return int(found.fetchone()[0])


def heed_ctrl_c() -> None:
    """A shell starts its background jobs, and so tests run by one, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path) -> None:
    here = place(tmp_path)
    command = [sys.executable, "-m", "training.model_validator", "--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=here.env, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while windows_begun(tmp_path / "var" / "mlflow.db") < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal sends to all processes at once
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    (campaign,) = here.runs("campaign")
    assert campaign.info.status == "KILLED"
    assert not [
        run for run in here.runs("trial") + here.runs("window") if run.info.status == "RUNNING"
    ]

    resumed = here.discover("--jobs", "2")
    assert resumed.returncode == 0, resumed.stderr
    (campaign,) = here.runs("campaign")
    assert campaign.info.status == "FINISHED"
    keys = [window.data.tags["run_key"] for window in here.runs("window")]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--asset", "DOGEUSDT"), "asset_timeframes: unknown asset 'DOGEUSDT'"),
        (("--timeframe", "4h"), "asset_timeframes.BTCUSDT: unknown timeframe '4h'"),
        (("--candles", "nowhere.csv"), "nowhere.csv: there is no such file"),
        (("--config", "nowhere.json"), "nowhere.json cannot be read"),
        (("--max-trials", "0"), "search.max_trials"),
        (("--tracking-uri", "sqlite:////proc/mlflow.db"), "sqlite:////proc/mlflow.db"),
    ],
)
def test_bad_input_is_named_and_nothing_is_logged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    named: str,
) -> None:
    here = place(tmp_path)
    assert refused(here, monkeypatch, *arguments) == 2
    assert named in capsys.readouterr().err.replace("\n", "")
    if (tmp_path / "var" / "mlflow.db").exists():
        assert here.client.get_experiment_by_name("BTCUSDT-1h") is None


def refused(here: Place, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of the command, run in this process: it fails before any work begins."""
    monkeypatch.chdir(here.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return model_validator.main(arguments)


def test_too_little_history_is_an_error_that_says_how_much_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = place(tmp_path)
    source = SyntheticSource(1, 24 * 60, pd.Timestamp("2025-06-01", tz="UTC"))
    source.load("BTCUSDT", "1h").reset_index().to_csv(tmp_path / "short.csv", index=False)
    assert refused(here, monkeypatch, "--candles", "short.csv") == 2
    assert "too little history for one window" in capsys.readouterr().err.replace("\n", " ")
