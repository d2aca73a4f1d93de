"""A folder in which campaigns run through the command line, on a geometry that takes seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

ROOT = Path(__file__).parents[1]
WINDOWS, HIDDEN = 10, 2


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
    document["search"]["max_trials"] = 5
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

    def in_process(
        self, patch: pytest.MonkeyPatch, main: Callable[[Sequence[str]], int], *arguments: str
    ) -> int:
        """Exit status of a command that is run in this process, which has imported it all."""
        patch.chdir(self.folder)
        patch.setenv("MLFLOW_TRACKING_URI", self.uri)  # MLflow keeps a store open, by its name
        patch.setenv("PYTHONPATH", str(ROOT))  # of the workers
        return main(arguments)

    @property
    def env(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        return inherited | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @property
    def config(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        return document

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'var' / 'mlflow.db'}"

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
