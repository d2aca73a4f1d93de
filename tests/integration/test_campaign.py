"""Whole campaigns through the command line, on a geometry that takes seconds."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest

from registry.gates import GateVerdict
from store.synthetic import SyntheticSource
from tests.campaign_place import HIDDEN, WINDOWS, Place, place
from tests.integration.interruptions.campaigns import Campaign, Job, Strike
from tests.integration.interruptions.figures import KILL, TERMINATE, TERMINATED, Figures
from training.model_validator import main as discover
from training.random_signal_simulator import main as simulate


@pytest.fixture(scope="module")
def found(undisturbed: Campaign) -> Place:
    """A campaign on the market with planted trends, by two processes."""
    return Place(undisturbed.folder)


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A campaign on the market without an edge."""
    here = place(tmp_path_factory.mktemp("rejected"), search={"max_trials": 3})
    with (
        pytest.MonkeyPatch.context() as patch,
        (here.folder / "screen.txt").open("w") as screen,
        redirect_stdout(screen),
    ):
        arguments = ("--candles", "synthetic-no-edge", "--jobs", "1")
        assert here.in_process(patch, discover, *arguments) == 0
    return here


def test_the_screen_says_that_the_market_is_synthetic_and_shows_every_gate(found: Place) -> None:
    screen = (found.folder / "screen.txt").read_text()
    assert "SYNTHETIC MARKET" in screen
    for gate in ("candidates", "incubation_last_100_trades", "monte_carlo_positive_share"):
        assert gate in screen
    assert "Promoted" in screen
    assert found.runs("campaign")[0].info.run_id in screen


def test_a_campaign_that_is_killed_ends_as_one_left_alone(
    undisturbed: Campaign, tmp_path: Path, figures: Figures
) -> None:
    """As a job by one process, which ends on SIGTERM; the other one was asked for on the command
    line, of two.
    """
    job = Job(tmp_path, undisturbed.config, jobs=1)
    torn = job.attempt(Strike("checkpoint-linked", passing=6, whom="campaign", tears=True))
    assert (torn.status, torn.strikes) == (-KILL, 1)
    stopped = job.attempt(Strike("window-logged", passing=12, signal=TERMINATE, whom="campaign"))
    assert (stopped.status, stopped.strikes) == (TERMINATED, 1)
    assert "is damaged" in stopped.output
    told = job.record.values
    assert (told["status"], told["reason"], job.failure) == ("running", "interrupted", None)
    assert job.attempt().status == 0
    assert (job.record.values["status"], job.result["verdict"]) == ("completed", "promoted")
    figures.add(job, Counter({"SIGKILL": 1, "SIGTERM": 1}), undisturbed, torn=1)


def test_runs_are_nested_and_complete_and_each_window_is_logged_once(found: Place) -> None:
    (campaign,) = found.runs("campaign")
    trials = found.runs("trial")
    windows = found.runs("window")
    assert len(trials) == found.config["search"]["max_trials"]
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
    (candidate,) = (
        trial for trial in found.runs("trial") if int(trial.info.run_name.split()[-1]) == winner
    )
    expected = {
        "equity", "drawdown", "r_histogram", "confusion_matrix", "shap_summary",
        "optuna_importance", "parameter_heatmaps", "trial_ranking", "monte_carlo_fan",
        "monte_carlo_histogram", "cost_sensitivity", "neighbours",
    }  # fmt: skip
    for run in (campaign, candidate):
        listed = found.client.list_artifacts(run.info.run_id, "figures")
        assert {Path(file.path).stem for file in listed} == expected
        assert all(file.file_size > 5_000 for file in listed)
    for window in found.runs("window")[:3]:
        assert found.client.list_artifacts(window.info.run_id) == []


def test_the_report_says_the_verdicts_and_is_with_the_campaign_alone(
    found: Place, rejected: Place
) -> None:
    verdicts = {found: "Accepted for paper trading", rejected: "Rejected: nothing will be traded"}
    for here, verdict in verdicts.items():
        (campaign,) = here.runs("campaign")
        content = here.artifact(campaign, "report.html").read_text()
        assert verdict in content
        assert "This market is synthetic" in content
        assert content.count("<img") == 9
        assert len(content) < 3_000_000
        gates = json.loads(here.artifact(campaign, "gates.json").read_text())
        passed = sum(GateVerdict(**gate).passed for gate in gates)
        assert content.count(">passed</b>") == passed
        assert content.count(">failed</b>") == len(gates) - passed
        listed = here.client.list_artifacts(here.runs("trial")[0].info.run_id)
        assert "report.html" not in {file.path for file in listed}


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


def test_the_same_campaign_again_finds_itself_finished(
    found: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(found.runs("window"))
    assert found.in_process(monkeypatch, discover, "--candles", "synthetic", "--jobs", "2") == 0
    said = capsys.readouterr().out
    assert "already been run" in said
    assert "Promoted" in said
    assert len(found.runs("window")) == before
    assert len(found.runs("campaign")) == 1
    assert len(found.client.search_model_versions("name = 'BTCUSDT-1h'")) == 1


def test_monte_carlo_runs_alone_on_the_finished_campaign(
    found: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--simulations", "300", "--candles", "synthetic")
    assert found.in_process(monkeypatch, simulate, *arguments) == 0
    assert "monte_carlo_positive_share" in capsys.readouterr().out
    runs = {run.info.run_name: run for run in found.runs("monte_carlo")}
    again = runs["monte carlo 300-42"]
    assert again.data.params["n_simulations"] == "300"
    table = pd.read_csv(found.artifact(again, "simulations.csv"))
    assert len(table) == 300
    own = runs["monte carlo campaign"]
    first = pd.read_csv(found.artifact(own, "simulations.csv"))
    assert (first["expectancy"] == table["expectancy"].iloc[:100]).all()


def test_monte_carlo_refuses_other_candles_than_the_campaigns(
    found: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found.in_process(monkeypatch, simulate, "--candles", "synthetic-no-edge") == 2
    assert "not the candles of the campaign" in " ".join(capsys.readouterr().err.split())


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
