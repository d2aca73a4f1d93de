"""The preflight as a command: files, what it says on the screen, its run in MLflow, its errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from tests.campaign_place import Place, small_config
from training.preflight_command import main

SMALL_GRID = ("--timeframes", "1h,4h", "--multipliers", "1-1.5,2-3", "--atr-periods", "7,14")


@pytest.fixture
def here(tmp_path: Path) -> Place:
    (tmp_path / "config.json").write_text(json.dumps(small_config()))
    return Place(tmp_path)


def preflight(here: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    return here.run("training.preflight", "--simulations", "50", *SMALL_GRID, *arguments)


def test_it_writes_the_heat_map_and_a_table_of_all_cells_and_logs_both(here: Place) -> None:
    uri = f"sqlite:///{here.folder / 'var' / 'mlflow.db'}"
    ended = preflight(here, "--tracking-uri", uri)
    assert ended.returncode == 0, ended.stderr
    assert "SYNTHETIC MARKET · BTCUSDT" in ended.stdout
    assert "The best 8 of 8 exit rules" in ended.stdout
    folder = here.folder / "var" / "preflight"
    table = pd.read_csv(folder / "preflight_grid.csv")
    assert len(table) == 2 * 2 * 2 * 3
    assert set(table["fee_per_side"]) == {0, 0.0002, 0.0005}
    assert table["passes"].any()  # trends are planted
    assert f"{table['passes'].sum()} of 24 cells pass" in ended.stdout
    assert (folder / "preflight_grid.png").read_bytes().startswith(b"\x89PNG")

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("BTCUSDT-preflight")
    (run,) = client.search_runs([experiment.experiment_id], "tags.run_kind = 'preflight'")
    assert run.info.run_id in ended.stdout
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"cells": 24, "passing": table["passes"].sum()}
    assert run.data.params["n_simulations"] == "50"
    assert run.inputs.dataset_inputs[0].dataset.name.startswith("synthetic(seed 42")
    logged = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert logged == {"preflight_grid.png", "preflight_grid.csv"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--multipliers", "2-1"), "max_multiplier 1.0 lies below min_multiplier 2.0"),
        (("--multipliers", "two"), "'two' is not a list"),
        (("--atr-periods", "1"), "integer >= 2 and <= 500"),
        (("--fees", "0.05"), "costs.fee_per_side"),
        (("--timeframes", "15m"), "cannot resample 1h candles to 15m"),
        (("--out", "config.json"), "--out config.json cannot be written to"),
    ],
)
def test_an_argument_out_of_range_is_named_and_nothing_is_written(
    here: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, str],
    said: str,
) -> None:
    monkeypatch.chdir(here.folder)
    try:
        status = main([*SMALL_GRID, "--simulations", "50", *arguments])
    except SystemExit as exit_:  # argparse
        status = exit_.code
    assert status == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not list(here.folder.glob("**/*.png"))
