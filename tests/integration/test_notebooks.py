"""Notebooks and what they are made of, on a small campaign that then traded on paper."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from registry.connection import connect
from registry.lifecycle import Lifecycle, Stage
from registry.runs import campaign_ids
from serving.__main__ import main as serve
from strategy.errors import ConfigError, DataError, StoreError
from tests.campaign_place import ROOT, place
from tests.launch_world import World, job
from training.model_validator import main as discover
from training.research.campaign import find, gate_table
from training.research.chance import whole
from training.research.live import find as find_live

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PNG, HTML, MARKDOWN = "image/png", "text/html", "text/markdown"
MODEL = "BTCUSDT-1h"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A campaign of a year in four windows, whose winner has traded some days on paper."""
    here = place(
        tmp_path_factory.mktemp("store"),
        walk_forward_config={"training_months": 4, "validation_months": 2, "step_months": 2},
        search={"max_trials": 3},
        preflight={"mode": "off"},
        monte_carlo_config={"n_simulations": 40},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here.folder)
        for variable in ("MLFLOW_TRACKING_URI", "STATE_URI"):
            patch.delenv(variable, raising=False)
        patch.setenv("PYTHONPATH", str(ROOT))  # of the worker
        assert discover(["--candles", "synthetic", "--jobs", "1"]) == 0
        uri = f"sqlite:///{here.folder / 'var' / 'mlflow.db'}"
        lifecycle = Lifecycle(connect(uri), MODEL, lambda: 1_767_225_600_000)
        (version,) = lifecycle.versions()
        if version.stage is not Stage.STAGING:
            lifecycle.move(version.number, Stage.STAGING, who="a test", why="to trade on paper")
        assert serve(["paper", "--days", "3"]) == 0
    return uri


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The state table of two launched jobs, of which one has ended."""
    folder = tmp_path_factory.mktemp("jobs")
    world = World(folder)
    world.launched(shards=2)
    world.jobs.end(job(1, 2), interruptions=1)
    world.hear(job(1, 2))
    return f"sqlite:///{folder / 'state.db'}"


def executed(path: Path, folder: Path, **variables: str) -> nbformat.NotebookNode:
    """A notebook with its outputs, run in a folder; nbclient raises where a cell does."""
    notebook = nbformat.read(path, as_version=4)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    return client.execute(env=environment)


def outputs(notebook: nbformat.NotebookNode) -> Iterator[Any]:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield from cell.outputs


def shown(notebook: nbformat.NotebookNode) -> list[str]:
    """The richest form of each output."""
    kinds = [set(each.data) for each in outputs(notebook) if "data" in each]
    return [next((kind for kind in (PNG, HTML, MARKDOWN) if kind in of), "") for of in kinds]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_figures_and_tables_and_ends_with_an_answer(
    path: Path, store: str, jobs: str
) -> None:
    # As Jupyter starts it (beside the notebook), and, one of them, as a plain script would.
    folder = ROOT if path == NOTEBOOKS[0] else path.parent
    notebook = executed(path, folder, MLFLOW_TRACKING_URI=store, STATE_URI=jobs)
    said = [each.text for each in outputs(notebook) if each.get("name") == "stderr"]
    assert said == []
    kinds = shown(notebook)
    assert PNG in kinds
    assert HTML in kinds
    assert "" not in kinds  # each has a form that a person can read
    (answer,) = notebook.cells[-1].outputs
    assert answer.data[MARKDOWN].startswith("- **")
    assert "nan" not in answer.data[MARKDOWN]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_results(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
        assert cell["metadata"] == {}
    assert set(document["metadata"]) == {"kernelspec", "language_info"}
    nbformat.validate(document)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_question_and_what_it_needs(path: Path) -> None:
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.splitlines()[0].endswith("?")
    assert "**Before:**" in first.source
    assert "**Set:**" in first.source


def test_there_is_a_notebook_for_each_question() -> None:
    assert {path.stem for path in NOTEBOOKS} == {
        "combinations", "live_against_backtest", "monte_carlo", "shap", "spot_jobs",
    }  # fmt: skip


def test_a_campaign_found_again_is_the_one_that_was_run(store: str) -> None:
    campaign = find(MODEL, uri=store)
    assert campaign_ids(campaign.client, MODEL) == [campaign.tags["campaign_id"]]
    assert campaign_ids(campaign.client, "ETHUSDT-4h") == []
    assert campaign.eligible
    assert len(campaign.trials) == campaign.metrics["trials"] == 3
    assert campaign.trades["exit_time"].dt.tz is not None
    assert sorted(campaign.signal_counts) == [1, 2, 3, 4]
    row = campaign.trials.set_index("trial").loc[campaign.candidate]
    assert row["sqn"] == campaign.trials["sqn"].max()
    assert campaign.parameters.indicators.atr_period == row["atr_period"]
    assert "SYNTHETIC MARKET" in campaign.subtitle
    shown = gate_table(campaign.gates)
    assert shown["verdict"].eq("passed").all() == all(gate.passed for gate in campaign.gates)
    assert shown["figure"].tolist() == [gate.figure for gate in campaign.gates]


def test_other_candles_than_the_campaigns_are_refused(store: str) -> None:
    campaign = find(MODEL, uri=store)
    assert len(campaign.market().windows) == 4
    with pytest.raises(DataError, match="not the candles of the campaign"):
        campaign.market("synthetic-no-edge")


def test_candles_of_a_file_have_to_be_given(store: str) -> None:
    campaign = find(MODEL, uri=store)
    campaign.tags["candles"] = "mine.parquet"  # type: ignore[index]
    with pytest.raises(ConfigError, match="say where these candles are"):
        campaign.market()


def test_random_entries_made_again_from_the_seed_are_the_campaigns_own(store: str) -> None:
    campaign = find(MODEL, uri=store)
    atr_period = campaign.parameters.indicators.atr_period
    simulation = whole(campaign.market(), atr_period, campaign.signal_counts, campaign.trades)
    assert simulation.model_percentile == campaign.metrics["random_entries_percentile"]


def test_a_live_run_is_found_with_the_backtest_of_its_campaign(store: str) -> None:
    found = find_live(MODEL, uri=store)
    assert found.backtest_r.tolist() == find(MODEL, uri=store).trades["r"].tolist()
    assert len(found.r) == found.days["trades"].iloc[-1]
    assert found.days["equity_r"].iloc[-1] == pytest.approx(found.r.sum())
    with pytest.raises(StoreError, match="no live run of the strategy 'another'"):
        find_live(MODEL, "another", uri=store)
